"""Pre-training killed at any moment goes on inside the epoch, to the very same weights."""

import json
import random
import resource
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ends_itself import AT_FILE, AT_LINE, MAIN

OPTIONS = ["--arch", "test_resnet", "--image-size", "48", "--view-size", "32", "--batch-size", "6"]
OPTIONS += ["--epochs", "3", "--warmup-epochs", "1", "--mlp-dim", "32", "--out-dim", "16"]
OPTIONS += ["--nmb-crops", "1", "--min-scale-crops", "0.2", "--max-scale-crops", "1"]
OPTIONS += ["--print-freq", "2", "--ema", "0.9", "--save-freq", "2", "--guidance", "published"]
# snapshots at every look instead of once a minute, so that kills fall between and into them
PROGRAM = "from cvgssl.pretrain import loop; loop.SNAPSHOT_EVERY = 0.0; " + MAIN


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def start(python: str) -> Start:
    def call(
        *words: str | Path, before: str = "", at: Sequence[object] = (), **options: Any
    ) -> "subprocess.Popen[str]":
        """Pre-train, after the code `before`, which takes the words `at`."""
        return subprocess.Popen(
            [python, "-c", before + PROGRAM, *map(str, (*at, "pretrain", *words))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return call


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
    teacher = [
        "--teacher",
        f"test_vit,image_size=32={teacher_file}",
        "--bank",
        "2",
        "--bank-dir",
        str(bank),
    ]
    return [str(steel), *OPTIONS, *teacher]


@pytest.fixture(scope="module")
def undisturbed(words: list[str], tmp_path_factory: pytest.TempPathFactory, start: Start) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    process = start(*words, "--out", out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return out


@pytest.mark.slow
def test_killed_again_and_again(
    words: list[str], undisturbed: Path, tmp_path: Path, start: Start
) -> None:
    out = tmp_path / "run"
    chance = random.Random(3)
    for _ in range(5):
        begun = (out / "config.yaml").exists()
        process = start(
            *(["--resume", out] if begun else [*words, "--out", out]),
            before=AT_FILE,
            # the start, which does nothing that could be lost, has eleven files
            at=[chance.randint(1, 25) + (0 if begun else 11), out],
        )
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = start("--resume", out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert outcome(out) == outcome(undisturbed)
    # a kill may leave a hidden file that was being written, never one under a name that counts
    visible = [
        {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        for folder in (out, undisturbed)
    ]
    assert visible[0] == visible[1]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(
    words: list[str], undisturbed: Path, tmp_path: Path, start: Start, sign: signal.Signals
) -> None:
    out = tmp_path / "run"
    asked = {"before": AT_LINE, "at": ["Epoch [1/", int(sign)]}
    process = start(*words, "--out", out, **asked)
    said, _ = process.communicate()
    assert process.returncode == 128 + sign
    assert f"--resume {out}" in said
    assert not (out / "summary.json").exists()
    resumed = start("--resume", out)
    _, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert outcome(out) == outcome(undisturbed)


def test_full_disk(words: list[str], undisturbed: Path, tmp_path: Path, start: Start) -> None:
    """A limit of the system on file size: the log still fits, snapshots do not."""
    out = tmp_path / "run"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    process = start(*words, "--out", out, preexec_fn=limit)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert "Traceback" not in errors
    assert "too large" in errors.lower()
    assert not list(out.glob("*.p*t*")), "nothing half-written stays"
    resumed = start("--resume", out)
    _, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert outcome(out) == outcome(undisturbed)


def test_another_teacher_is_refused(
    words: list[str], tmp_path: Path, teacher_file: Path, start: Start
) -> None:
    out = tmp_path / "run"
    other = tmp_path / "teacher.safetensors"
    other.write_bytes(teacher_file.read_bytes())
    place = words.index("--teacher") + 1
    others = [*words[:place], f"test_vit,image_size=32={other}", *words[place + 1 :], "--out", out]
    process = start(*others, before=AT_LINE, at=["Epoch [1/", int(signal.SIGKILL)])
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    content = bytearray(other.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    resumed = start("--resume", out)
    _, errors = resumed.communicate()
    assert resumed.returncode == 2
    assert "is not the encoder recorded" in errors
    assert "sha256" in errors
