"""A job that was stopped in any way resumes and ends with the numbers it would have had."""

import json
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ends_itself import AT_LINE, MAIN

from cvgssl.adapt import training
from cvgssl.adapt.config import FinetuneConfig, LinearConfig
from cvgssl.adapt.protocol import adapt
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.run import RunFolder

OPTIONS = [
    "--arch",
    "test_resnet",
    "--shot",
    "3",
    "--num-draws",
    "2",
    "--epochs",
    "4",
    "--ema",
    "0.9",
]
OPTIONS += ["--image-size", "32", "--batch-size", "8", "--lr", "0.05", "--augment"]


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def start(python: str) -> Start:
    """Begin `cvgssl finetune` with the options above, or with words in their place.

    at: the beginning of a line and the signal that the process gets when it has logged that.
    """

    def call(
        data: Path, out: Path, *words: str, at: tuple[str, int] | None = None, **options: Any
    ) -> "subprocess.Popen[str]":
        words = ("finetune", *(words or (str(data), *OPTIONS, "--out", str(out))))
        program = ["-c", AT_LINE + MAIN, at[0], str(int(at[1]))] if at else ["-m", "cvgssl"]
        return subprocess.Popen(
            [python, *program, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return call


def outcome(folder: Path) -> tuple[Any, list[str], list[str]]:
    """Everything of a run that must not depend on interruptions."""
    summary = json.loads((folder / "summary.json").read_text())
    figures = {key: summary[key] for key in ("last_epoch", "ema_last_epoch", "best_on_test")}
    log = (folder / "log.txt").read_text().splitlines()
    return figures, (folder / "metrics.jsonl").read_text().splitlines(), log


@pytest.fixture(scope="module")
def undisturbed(steel: Path, tmp_path_factory: pytest.TempPathFactory, start: Start) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    process = start(steel, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return out


@pytest.mark.parametrize(
    ("line", "sign"),
    [
        ("[Run 1] Epoch [3/", signal.SIGTERM),
        ("[Run 1] Epoch [2/4] Train", signal.SIGINT),
        ("[Run 1] Best", signal.SIGHUP),
        ("[Run 2] Epoch [3/", signal.SIGKILL),
    ],
)
def test_signal(
    steel: Path, tmp_path: Path, undisturbed: Path, line: str, sign: signal.Signals, start: Start
) -> None:
    out = tmp_path / "run"
    process = start(steel, out, at=(line, sign))
    said, _ = process.communicate()
    assert not (out / "summary.json").exists()
    assert process.returncode == (-sign if sign == signal.SIGKILL else 128 + sign)
    assert (f"--resume {out}" in said) == (sign != signal.SIGKILL)

    resumed = start(steel, out, "--resume", str(out))
    _, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert outcome(out) == outcome(undisturbed)
    same = "weights/draw_1.safetensors", "weights/draw_1_ema.safetensors"
    for name in same:
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes()
    again = start(steel, out, "--resume", str(out))
    _, errors = again.communicate()
    assert again.returncode == 2
    assert "finished" in errors


def test_a_run_that_was_killed_before_its_figures_gets_them(
    steel: Path, tmp_path: Path, undisturbed: Path, start: Start
) -> None:
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    (out / "curves.png").unlink()
    process = start(steel, out, "--resume", str(out))
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "Recall per class" in said
    assert (out / "curves.png").read_bytes() == (undisturbed / "curves.png").read_bytes()
    assert outcome(out) == outcome(undisturbed)
    (out / "curves.png").unlink()
    (out / "summary.json").write_text("{}")
    process = start(steel, out, "--resume", str(out))
    _, errors = process.communicate()
    assert process.returncode == 2
    assert "summary.json cannot be read as a run's summary" in errors


def test_full_disk(steel: Path, tmp_path: Path, undisturbed: Path, start: Start) -> None:
    """A limit of the system on file size: the log still fits, the snapshot does not."""
    out = tmp_path / "run"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    process = start(steel, out, preexec_fn=limit)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert "Traceback" not in errors
    assert "too large" in errors.lower()
    assert not list(out.rglob("*.pt")), "nothing half-written stays"

    resumed = start(steel, out, "--resume", str(out))
    _, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert outcome(out) == outcome(undisturbed)


def test_crash_between_snapshots(
    steel: Path, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines written after the last snapshot are neither lost nor doubled."""
    monkeypatch.setattr(training, "SNAPSHOT_EVERY", 0.0)
    config = _config(steel, tmp_path / "run")
    log = RunFolder.log

    def failing(self: RunFolder, line: str) -> None:
        log(self, line)
        if line.startswith("[Run 2] Epoch [3/"):
            raise OSError("pulled the plug")

    monkeypatch.setattr(RunFolder, "log", failing)
    with pytest.raises(OSError, match="plug"):
        adapt(config)
    monkeypatch.setattr(RunFolder, "log", log)
    path, _ = adapt(_config(steel, None, resume=tmp_path / "run"))
    assert outcome(path) == outcome(undisturbed)


def test_resuming_with_other_pictures_is_refused(steel: Path, tmp_path: Path, start: Start) -> None:
    data = tmp_path / "data"
    shutil.copytree(steel, data)
    process = start(data, tmp_path / "run", at=("[Run 1] Epoch [2/", signal.SIGKILL))
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    victim = next((data / "test").rglob("*.bmp"))
    content = bytearray(victim.read_bytes())
    content[-1] ^= 255
    victim.write_bytes(content)
    with pytest.raises(UserError, match="changed since"):
        adapt(_config(data, None, resume=tmp_path / "run"))


def test_resuming_with_the_other_command_is_refused(steel: Path, undisturbed: Path) -> None:
    config = LinearConfig(data=steel, arch="test_resnet", image_size=32, resume=undisturbed)
    with pytest.raises(UserError, match="was started by `cvgssl finetune`"):
        adapt(config)


def _config(data: Path, out: Path | None, resume: Path | None = None) -> FinetuneConfig:
    return FinetuneConfig(
        data=data,
        arch="test_resnet",
        shot=3,
        num_draws=2,
        epochs=4,
        ema=0.9,
        image_size=32,
        batch_size=8,
        lr=0.05,
        augment=True,
        out=out,
        resume=resume,
    )
