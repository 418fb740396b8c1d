"""Making a run folder, or opening that of an interrupted run."""

from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from cvgssl.adapt.config import AdaptConfig, FinetuneConfig
from cvgssl.adapt.data import Task
from cvgssl.adapt.draws import save_draws
from cvgssl.adapt.summary import SUMMARY
from cvgssl.images.splits import write_split
from cvgssl.runtime.environment import environment
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import read_json, write_json, write_text
from cvgssl.runtime.options import CONFIG, read_yaml, to_yaml
from cvgssl.runtime.run import RunFolder, new_run_path

ENVIRONMENT, DRAWS, SPLIT = "environment.json", "draws.json", "split.csv"


def open_folder(config: AdaptConfig, task: Task, accelerator: Accelerator) -> RunFolder:
    """The folder of `config.resume`, or a new one with options, environment, draws and split.

    Raises UserError when a new folder's place is taken, or when the run to resume is finished or
    was started with other pictures.
    """
    writes = accelerator.is_main_process
    fingerprint = task.fingerprint()
    if config.resume is not None:
        _check_resumable(config, config.resume, fingerprint)
        return RunFolder(config.resume, writes)
    # the first process chooses, so that all agree
    path = broadcast_object_list([_new_path(config) if writes else None])[0]
    if writes:
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / ENVIRONMENT, environment() | {"pictures_sha256": fingerprint})
        save_draws(task.draws, path / DRAWS)
        write_split(task.loaded.dataset, path / SPLIT)
        write_text(path / CONFIG, to_yaml(config))  # last: a folder with it can be resumed
    return RunFolder(path, writes)


def _check_resumable(config: AdaptConfig, path: Path, fingerprint: str) -> None:
    finetuned = "layer_decay" in read_yaml(path / CONFIG)  # an option of fine-tuning alone
    if finetuned != isinstance(config, FinetuneConfig):
        raise UserError(
            f"--resume {path}: was started as the other of fine-tuning and linear evaluation; "
            "resume it with the command that started it"
        )
    if (path / SUMMARY).exists():
        raise UserError(f"--resume {path}: this run is finished; its result is in {SUMMARY}")
    if read_json(path / ENVIRONMENT)["pictures_sha256"] != fingerprint:
        raise UserError(
            f"--resume {path}: the pictures, the split or the draws changed since the run "
            "started; start a new run"
        )


def _new_path(config: AdaptConfig) -> Path:
    mode = "finetune" if isinstance(config, FinetuneConfig) else "linear"
    name = f"{config.data.resolve().stem}_{config.arch.replace(':', '-')}_{mode}_{config.shot}shot"
    return new_run_path(config.out, config.log_dir, name)
