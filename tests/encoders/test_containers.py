import argparse
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cvgssl.encoders.containers import read_contents
from cvgssl.runtime.errors import UserError

WEIGHTS = OrderedDict(a=torch.arange(6.0).view(2, 3).t(), b=torch.ones(2, dtype=torch.float16))


@pytest.mark.parametrize("name", ["w.pth.tar", "w.pt", "w.bin", "w.safetensors", "w"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_whatever_their_name(tmp_path: Path, name: str, zipped: bool) -> None:
    path = tmp_path / name
    torch.save({"state_dict": WEIGHTS}, path, _use_new_zipfile_serialization=zipped)
    read = read_contents(path)
    assert read.container == "torch"
    assert torch.equal(read.tree["state_dict"]["a"], WEIGHTS["a"])


def test_safetensors_under_another_name_and_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar"
    save_file({"a": torch.ones(2)}, path, metadata={"arch": "x"})
    read = read_contents(path)
    assert read.container == "safetensors" and read.metadata == {"arch": "x"}
    assert torch.equal(read.tree["a"], torch.ones(2))


@pytest.mark.parametrize("zipped", [True, False])
def test_leftovers_of_training_are_read_as_nothing(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "moco.pth.tar"
    tree = {
        "args": argparse.Namespace(lr=0.03),
        "best_acc1": np.float64(71.1),
        "state_dict": WEIGHTS,
        "optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1).state_dict(),
    }
    torch.save(tree, path, _use_new_zipfile_serialization=zipped)
    read = read_contents(path)
    assert torch.equal(read.tree["state_dict"]["a"], WEIGHTS["a"])
    assert not hasattr(read.tree["args"], "lr")


def test_a_module_beside_the_state_dict_is_read_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": WEIGHTS, "models": nn.Sequential(nn.Linear(2, 2))}, path)
    assert not isinstance(read_contents(path).tree["models"], nn.Module)


class Malice:
    """Unpickled carelessly, this makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain", "torchscript"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "evil.pt", tmp_path / "ran"
    if kind == "plain":
        path.write_bytes(pickle.dumps({"state_dict": Malice(target)}, protocol=2))
    elif kind == "torchscript":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("m/data.pkl", pickle.dumps(Malice(target), protocol=2))
            archive.writestr("m/constants.pkl", b"")
    else:
        torch.save(
            {"state_dict": WEIGHTS, "x": Malice(target)},
            path,
            _use_new_zipfile_serialization=kind == "zip",
        )
    with pytest.raises(UserError, match=r"evil\.pt: refused"):
        read_contents(path)
    assert not target.exists()


def test_unknown_class_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"state_dict": WEIGHTS, "x": argparse.ArgumentParser}, path)
    assert "state_dict" in read_contents(path).tree
    torch.save({"state_dict": WEIGHTS, "x": zipfile.ZipFile}, path)
    with pytest.raises(UserError, match=r"zipfile.ZipFile.*safetensors"):
        read_contents(path)


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("input_resolution", torch.tensor(224))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.visual(x) * self.scale


@pytest.mark.parametrize("traced", [True, False])
def test_torchscript_gives_the_state_dict(tmp_path: Path, traced: bool) -> None:
    path = tmp_path / "clip.pt"
    tower = Tower().eval()
    if traced:
        scripted = torch.jit.trace(tower, torch.zeros(1, 3, 8, 8))
    else:
        scripted = torch.jit.script(tower)
    scripted.save(str(path))
    read = read_contents(path)
    assert read.container == "torchscript"
    assert read.tree.keys() == tower.state_dict().keys()
    for name, tensor in tower.state_dict().items():
        assert torch.equal(read.tree[name], tensor)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy", "torchscript"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.98])
def test_damaged_files_are_errors_that_name_them(tmp_path: Path, kind: str, keep: float) -> None:
    path = tmp_path / "broken.bin"
    big = {"a": torch.randn(100, 100)}
    if kind == "safetensors":
        save_file(big, path)
    elif kind == "torchscript":
        torch.jit.script(Tower()).save(str(path))
    else:
        torch.save({"state_dict": big}, path, _use_new_zipfile_serialization=kind == "zip")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match=r"broken\.bin"):
        read_contents(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_flipped_bytes_are_read_or_refused_but_nothing_else(tmp_path: Path, zipped: bool) -> None:
    path, random = tmp_path / "flipped.pt", np.random.default_rng(0)
    torch.save({"state_dict": WEIGHTS}, path, _use_new_zipfile_serialization=zipped)
    data, refused = path.read_bytes(), 0
    for _ in range(100):
        flipped = bytearray(data)
        for place in random.integers(len(data), size=3):
            flipped[place] = random.integers(256)
        path.write_bytes(flipped)
        try:
            read_contents(path)
        except UserError:
            refused += 1
    assert refused > 10


def test_other_files_are_not_weights(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not weights, but long enough to be looked at")
    with pytest.raises(UserError, match="not a weight file"):
        read_contents(path)
    torch.save(torch.ones(3), path)
    with pytest.raises(UserError, match="state_dict"):
        read_contents(path)
