"""Pre-training killed at any moment goes on inside the epoch, to the very same weights."""

import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

OPTIONS = ["--arch", "test_resnet", "--image-size", "48", "--view-size", "32", "--batch-size", "4"]
OPTIONS += ["--epochs", "4", "--warmup-epochs", "1", "--mlp-dim", "32", "--out-dim", "16"]
OPTIONS += ["--print-freq", "2", "--ema", "0.9", "--save-freq", "2", "--guidance", "published"]
# snapshots at every look instead of once a minute, so that kills fall between and into them
PROGRAM = "from cvgssl.pretrain import loop; loop.SNAPSHOT_EVERY = 0.0; "
PROGRAM += "from cvgssl.cli.main import main; raise SystemExit(main())"


def start(*words: str | Path, **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "pretrain", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def outcome(folder: Path) -> list[Any]:
    """Everything of a run that must not depend on interruptions."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["views_per_second"]
    names = ("backbone.safetensors", "backbone_ema.safetensors")
    return [rows, *((folder / name).read_bytes() for name in names)]


@pytest.fixture(scope="module")
def words(steel: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    bank = tmp_path_factory.mktemp("bank")
    teacher = ["--teacher", f"test_vit={teacher_file}", "--bank", "2", "--bank-dir", str(bank)]
    return [str(steel), *OPTIONS, *teacher]


@pytest.fixture(scope="module")
def undisturbed(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    process = start(*words, "--out", out)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return out


@pytest.mark.slow
def test_killed_again_and_again(words: list[str], undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    moments = random.Random(3)
    kills = 0
    for _ in range(7):
        begun = (out / "config.yaml").exists()
        process = start(*(["--resume", out] if begun else [*words, "--out", out]))
        give_up = time.monotonic() + 60
        size = _size(out)
        while process.poll() is None and _size(out) == size and time.monotonic() < give_up:
            time.sleep(0.02)  # start-up does nothing that could be lost
        time.sleep(moments.uniform(0, 0.8))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate(timeout=60)
        if (out / "summary.json").exists():
            break
    else:
        process = start("--resume", out)
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    assert kills >= 2
    assert outcome(out) == outcome(undisturbed)
    # a kill may leave a hidden file that was being written, never one under a name that counts
    visible = [
        {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        for folder in (out, undisturbed)
    ]
    assert visible[0] == visible[1]


def _size(folder: Path) -> int:
    """Grows when a snapshot or a log line is written."""
    if not folder.exists():
        return 0
    stats = [path.stat() for path in list(folder.iterdir()) if path.exists()]
    return sum(stat.st_mtime_ns for stat in stats)


def test_asked_to_stop(words: list[str], undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(*words, "--out", out)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Epoch [1/"):
            break
    process.terminate()
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"--resume {out}" in rest
    resumed = start("--resume", out)
    _, errors = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, errors
    assert outcome(out) == outcome(undisturbed)


def test_full_disk(words: list[str], undisturbed: Path, tmp_path: Path) -> None:
    """A limit of the system on file size: the log still fits, snapshots do not."""
    out = tmp_path / "run"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    process = start(*words, "--out", out, preexec_fn=limit)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 2
    assert "Traceback" not in errors
    assert "too large" in errors.lower()
    assert not list(out.glob("*.p*t*")), "nothing half-written stays"
    resumed = start("--resume", out)
    _, errors = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, errors
    assert outcome(out) == outcome(undisturbed)


def test_another_teacher_is_refused(words: list[str], tmp_path: Path, teacher_file: Path) -> None:
    out = tmp_path / "run"
    other = tmp_path / "teacher.safetensors"
    other.write_bytes(teacher_file.read_bytes())
    place = words.index("--teacher") + 1
    process = start(*words[:place], f"test_vit={other}", *words[place + 1 :], "--out", out)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Epoch [1/"):
            break
    process.kill()
    process.communicate(timeout=60)
    content = bytearray(other.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    resumed = start("--resume", out)
    _, errors = resumed.communicate(timeout=240)
    assert resumed.returncode == 2
    assert "is not the encoder recorded" in errors
    assert "sha256" in errors
