import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cvgssl.adapt.model_file import ModelCard, load_model, save_model
from cvgssl.adapt.network import Recognizer
from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.normalization import HALF, IMAGENET
from cvgssl.images.geometry import Geometry
from cvgssl.runtime.errors import UserError

CARD = ModelCard(
    arch="test_resnet",
    classes=("夹杂", "red iron", "Ölfleck"),
    geometry=Geometry(32, "pad", "bicubic", 12),
    normalization=IMAGENET,
    pretrained="w.safetensors",
    pretrained_sha256="ab" * 32,
    layout="timm",
)


def recognizer(card: ModelCard) -> Recognizer:
    torch.manual_seed(0)
    backbone = build_backbone(card.arch, card.geometry.size, card.normalization)
    model = Recognizer(backbone, len(card.classes))
    model.train()
    model(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))  # moves batch-norm statistics
    return model.eval()


@pytest.fixture(scope="module")
def model() -> Recognizer:
    return recognizer(CARD)


@pytest.fixture
def saved(tmp_path: Path, model: Recognizer) -> Path:
    path = tmp_path / "weights" / "draw_1.safetensors"
    save_model(path, model, CARD)
    return path


def edit_header(path: Path, **changes: Any) -> None:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["cvgssl"])
    save_file(load_file(path), path, {"cvgssl": json.dumps(header | changes)})


@pytest.mark.parametrize("arch", ["resnet18", "vit_tiny_patch16_224", "torchvision:squeezenet1_1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_loaded_model_gives_bit_identical_logits(tmp_path: Path, arch: str, channels: int) -> None:
    card = replace(CARD, arch=arch, normalization=HALF if channels == 1 else IMAGENET)
    model = recognizer(card)
    model.backbone.normalization = card.normalization
    save_model(tmp_path / "m.safetensors", model, card)
    loaded, read = load_model(tmp_path / "m.safetensors")
    assert read == card
    assert not loaded.training
    pixels = torch.randint(0, 256, (5, channels, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded(pixels), model(pixels))


def test_same_model_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "again.safetensors", recognizer(CARD), CARD)
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()
    assert [path.name for path in saved.parent.iterdir()] == ["draw_1.safetensors"]


def test_loading_leaves_random_numbers_alone(saved: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(saved)
    assert torch.equal(torch.rand(3), expected)


def test_a_changed_byte_of_the_weights_is_noticed(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[-5] ^= 1
    saved.write_bytes(data)
    with pytest.raises(UserError, match=r"draw_1\.safetensors: damaged"):
        load_model(saved)


def test_a_changed_card_is_noticed(saved: Path) -> None:
    data = saved.read_bytes()
    assert data.count("Ölfleck".encode()) == 1
    saved.write_bytes(data.replace("Ölfleck".encode(), "Ölflack".encode()))
    with pytest.raises(UserError, match="damaged"):
        load_model(saved)


@pytest.mark.parametrize("keep", [0, 5, 100, 2000, -1])
def test_a_cut_file_is_noticed(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"draw_1\.safetensors.* damaged"):
        load_model(saved)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_model(tmp_path / "none.safetensors")
    text = tmp_path / "notes.safetensors"
    text.write_text("not tensors")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_model(text)
    weights = tmp_path / "vit.safetensors"
    save_file({"a": torch.zeros(2)}, weights)
    with pytest.raises(UserError, match="not a model that cvgssl saved"):
        load_model(weights)
    save_file({"a": torch.zeros(2)}, weights, {"cvgssl": "[1]"})
    with pytest.raises(UserError, match="not a model that cvgssl saved"):
        load_model(weights)
    huge = tmp_path / "huge.safetensors"
    huge.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(UserError, match="damaged"):
        load_model(huge)


def test_another_format_is_refused(saved: Path) -> None:
    edit_header(saved, format=5)
    with pytest.raises(UserError, match="has model format 5, this version of cvgssl reads 3 and 4"):
        load_model(saved)


def test_an_architecture_that_does_not_fit_is_named(tmp_path: Path, model: Recognizer) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model, replace(CARD, arch="resnet34"))
    with pytest.raises(UserError, match=r"m\.safetensors: .*resnet34.*Missing key"):
        load_model(path)
    save_model(path, model, replace(CARD, arch="hf-hub:someone/something"))
    with pytest.raises(UserError, match="no such architecture"):
        load_model(path)


def test_a_card_with_wrong_values_is_refused(tmp_path: Path, model: Recognizer) -> None:
    path = tmp_path / "m.safetensors"
    wrong = replace(CARD, geometry=Geometry(32, "shear"))  # type: ignore[arg-type]
    save_model(path, model, wrong)
    with pytest.raises(
        UserError, match=r"m\.safetensors: its model card is wrong at geometry.resize"
    ):
        load_model(path)


def test_the_card_needs_no_torch() -> None:
    code = "import sys, cvgssl.adapt.model_file; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
