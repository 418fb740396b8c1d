import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cvgssl.encoders.timm_import import timm

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(command: Command) -> Command:
    def call(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "CVGSSL_WEIGHTS": str(folder) if folder else ""}
        return command("weights", "list", *words, env=environment)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file(timm.create_model("resnet18").state_dict(), tmp_path / "a.safetensors")
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict()
    moco = {f"module.encoder_q.{name}": tensor for name, tensor in vit.items()}
    torch.save({"state_dict": moco}, tmp_path / "b.pth.tar")
    (tmp_path / "c.pt").write_bytes(b"broken")
    (tmp_path / "README.md").write_text("no weights")
    return tmp_path


def test_list_and_json(run: Command, folder: Path) -> None:
    done = run("--json", str(folder / "list.json"), folder=folder)
    assert done.returncode == 0, done.stderr
    first, *blocks = done.stdout.split("\n\n")
    assert first == f"3 weight files in {folder}"
    assert "architecture   resnet18" in blocks[0] and "224 px bicubic" in blocks[0]
    assert "mean 0.485 0.456 0.406, std 0.229 0.224 0.225" in blocks[0]
    assert "vit_tiny_patch16_224" in blocks[1] and "MoCo v1/v2" in blocks[1]
    assert "cannot be read: not a weight file" in blocks[2]
    records = json.loads((folder / "list.json").read_text())
    assert [record["arch"] for record in records] == ["resnet18", "vit_tiny_patch16_224", None]
    assert len(records[0]["sha256"]) == 64 and records[0]["sha256"][:8] in blocks[0]
    assert records[1]["tensors"] == 150 and records[1]["parameters"] == 5524416
    assert records[0]["tensors"] == 120  # without the classifier
    assert records[2]["problem"]


def test_json_alone_on_the_screen(run: Command, folder: Path) -> None:
    done = run(str(folder), "--json", "-")
    assert [record["file"] for record in json.loads(done.stdout)] == [
        "a.safetensors",
        "b.pth.tar",
        "c.pt",
    ]


def test_missing_folder_is_an_error_with_a_remedy(run: Command, tmp_path: Path) -> None:
    done = run(folder=tmp_path / "none")
    assert done.returncode == 2
    assert "no such folder" in done.stderr and "CVGSSL_WEIGHTS" in done.stderr
