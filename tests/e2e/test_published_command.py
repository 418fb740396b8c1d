"""The published command works as printed, with its log lines."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Published = Callable[..., subprocess.CompletedProcess[str]]
EPOCH = re.compile(
    r"\[Run \d+\] Epoch \[\d+/\d+\] Train Loss: \d+\.\d{4}, Acc: \d+\.\d{2}% "
    r"\| Val Loss: \d+\.\d{4}, Acc: \d+\.\d{2}%"
)
BEST = re.compile(r"\[Run \d+\] Best Val Acc: \d+\.\d{2}%")


@pytest.fixture
def published(tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch) -> Published:
    """Run `python finetune_and_lincls.py WORDS` in a folder of its own."""
    monkeypatch.delenv("CVGSSL_WEIGHTS", raising=False)

    def call(words: str, python: str = python) -> subprocess.CompletedProcess[str]:
        script = ROOT / "finetune_and_lincls.py"
        return subprocess.run(
            [python, str(script), *words.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return call


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A file as CVGSSL's pre-training writes it, with random ViT-Tiny weights."""
    import torch

    from cvgssl.encoders.backbone import build_backbone

    body = build_backbone("vit_tiny_patch16_224", 32).body
    state = {f"module.base_encoder.{name}": value for name, value in body.state_dict().items()}
    path = tmp_path / "pretrained" / "checkpoint_0299.pth.tar"
    path.parent.mkdir()
    arch = "vit_tiny_patch16_224"
    torch.save({"epoch": 300, "arch": arch, "state_dict": state, "optimizer": {}}, path)
    return path


def test_finetuning_as_printed(
    steel: Path, checkpoint: Path, tmp_path: Path, published: Published
) -> None:
    done = published(
        f"--data {steel} --pretrained {checkpoint} --arch vit_tiny_patch16_224 --builder cgssl "
        "--softmax_lincls False --finetune_model True --optimizer sgd --lr 0.003 --shot 4 --n 2 "
        "--class_num 6 --epochs 3 --gpu 0 --weight_decay 1e-4 --momentum 0.9 --start_epoch 0 "
        "--batch_size 256 --workers 2 --log_dir logs --seed 1 --image_size 32",
    )
    assert done.returncode == 0, done.stderr
    assert "--gpu 0: no GPU here, the CPU is used" in done.stderr
    (folder,) = (tmp_path / "logs").iterdir()
    log = (folder / "log.txt").read_text().splitlines()
    assert sum(bool(EPOCH.fullmatch(line)) for line in log) == 6
    assert sum(bool(BEST.fullmatch(line)) for line in log) == 2
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 6
    assert any("of vit_tiny_patch16_224" in line and "CVGSSL" in line for line in log)
    assert "optimistic" in done.stdout
    for name in ("config.yaml", "environment.json", "draws.json", "split.csv", "confusion.png"):
        assert (folder / name).stat().st_size > 0


@pytest.mark.parametrize(
    "flags", ["--softmax_lincls True", "--softmax_lincls=true --finetune_model False"]
)
def test_linear_evaluation_from_scratch(
    steel: Path, tmp_path: Path, flags: str, published: Published
) -> None:
    done = published(
        f"--data {steel} --arch test_resnet {flags} --builder cvgssl --pretrained= --shot 2 --n 1 "
        "--epochs 2 --image_size 32",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("from scratch: no --pretrained") == 1
    (folder,) = (tmp_path / "logs").iterdir()
    assert json.loads((folder / "summary.json").read_text())["mode"] == "linear evaluation"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--pretrained missing.pth.tar", "missing.pth.tar"),
        ("--class_num 7", "--class-num 7: {steel} has 6 classes"),
        ("--shot 8", "--shot 8: too few training pictures in 6 of 6 classes"),
        ("--finetune_model False --softmax_lincls False", "exactly one of them must be true"),
        ("--finetune_model True --softmax_lincls True", "exactly one of them must be true"),
        ("--softmax_lincls True --augment True --trainable norm", "--augment, --trainable: only"),
        ("--arch resnet18 --trainable lora:8", "--trainable lora:8: resnet18 has no attention"),
        ("--arch resnet19", "resnet18"),
    ],
)
def test_mistakes_end_with_one_clear_line(
    steel: Path, tmp_path: Path, words: str, message: str, published: Published
) -> None:
    done = published(f"--data {steel} --image_size 32 {words}")
    assert done.returncode == 2
    assert message.format(steel=steel) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "logs").exists(), "a mistake leaves nothing behind"


def test_all_mistakes_at_once(published: Published) -> None:
    done = published("--lr -1 --shot zero --epoch 3 --optimizer rmsprop", python=sys.executable)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    for flag in ("--lr", "--shot", "--epoch", "--optimizer", "--data"):
        assert sum(flag in line for line in lines) >= 1, f"{flag} missing in {lines}"
    assert "Traceback" not in done.stderr
