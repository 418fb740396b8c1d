"""Making the folder of a pre-training run, or opening that of an interrupted one."""

from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from cvgssl.encoders.teacher import check_identity
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.inputs import Inputs
from cvgssl.runtime.environment import environment
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import read_json, write_json, write_text
from cvgssl.runtime.options import CONFIG, read_yaml, to_yaml
from cvgssl.runtime.run import RunFolder, new_run_path

ENVIRONMENT, SUMMARY = "environment.json", "summary.json"


def open_folder(inputs: Inputs) -> RunFolder:
    """The folder of `--resume`, or a new one with options and environment.

    Raises UserError when the place of a new folder is taken, or when the run to resume is finished
    or was started with other pictures or teachers.
    """
    config, writes = inputs.config, inputs.accelerator.is_main_process
    if config.resume is not None:
        _check_resumable(config.resume, inputs)
        return RunFolder(config.resume, writes)
    # the first process chooses, so that all agree
    path = broadcast_object_list([_new_path(config) if writes else None])[0]
    if writes:
        path.mkdir(parents=True, exist_ok=True)
        facts: dict[str, Any] = {
            "pictures_sha256": inputs.data.pictures.digest,
            "teachers": [teacher.identity() for teacher in inputs.teachers],
        }
        write_json(path / ENVIRONMENT, environment() | facts)
        write_text(path / CONFIG, to_yaml(config))  # last: a folder with it can be resumed
    return RunFolder(path, writes)


def _check_resumable(path: Path, inputs: Inputs) -> None:
    teachers = inputs.teachers
    if "builder" not in read_yaml(path / CONFIG):  # an option of pre-training alone
        raise UserError(f"--resume {path}: not a pre-training run")
    if (path / SUMMARY).exists():
        raise UserError(f"--resume {path}: this run is finished; its result is in {SUMMARY}")
    before = read_json(path / ENVIRONMENT)
    if before["pictures_sha256"] != inputs.data.pictures.digest:
        raise UserError(
            f"--resume {path}: the pictures changed since the run started; start a new run"
        )
    if len(before["teachers"]) != len(teachers):
        raise UserError(f"--resume {path}: the run had {len(before['teachers'])} teachers")
    for recorded, teacher in zip(before["teachers"], teachers, strict=True):
        check_identity(recorded, teacher)


def _new_path(config: PretrainConfig) -> Path:
    arch = config.arch.replace(":", "-").partition(",")[0]
    name = f"{config.data.resolve().stem}_{arch}_pretrain_{config.builder}"
    return new_run_path(config.out, config.log_dir, name)
