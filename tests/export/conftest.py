"""Exported recognizers that share little: with a map, of labels alone, trained."""

import contextlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from cvgssl.adapt.model_file import ModelCard, save_model
from cvgssl.adapt.network import Recognizer
from cvgssl.cli.main import main
from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.normalization import HALF
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit


class Exported(NamedTuple):
    """A run folder, the file made of it, and what `cvgssl export` printed."""

    folder: Path
    file: Path
    printed: str


def make(out: Path, options: dict[str, Any]) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CVGSSL_CACHE", str(out / "cache"))
        folder, _ = fit(FitConfig(out=out / "fit", shot=2, **options))
        return exported(folder, "--check", "20")


def exported(folder: Path, *words: str, name: str = "it.onnx") -> Exported:
    file, printed = folder.parent / name, io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(["export", str(folder), str(file), *words])
    assert code == 0
    return Exported(folder, file, printed.getvalue())


@pytest.fixture(scope="session")
def with_map(
    plates: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """Head `auto` on two layers, cls and mean, of encoders that share a run; pictures of 32 px."""
    options = {"pooling": "mean", "layers": (2, 6), "image_size": 32}
    encoder = (f"test_vit,pooling=cls={teacher_file}", f"test_vit={teacher_file}")
    made = make(tmp_path_factory.mktemp("map"), {"data": plates, "encoder": encoder, **options})
    assert '"gate_open": true' in (made.folder / "summary.json").read_text()
    return made


@pytest.fixture(scope="session")
def of_labels(
    steel: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """Head `logistic` on mirrored crops by two encoders; cut out, bicubic, 12 bits."""
    options = {
        "data": steel,
        "encoder": ("test_resnet=random", f"test_vit={teacher_file}:2"),
        "head": "logistic",
        "preparation": "center",
        "image_size": 48,
        "fit": "crop",
        "interpolation": "bicubic",
        "crops": 2,
        "flips": "horizontal",
        "bit_depth": 12,
    }
    return make(tmp_path_factory.mktemp("labels"), options)


@pytest.fixture(scope="session")
def for_openvino(of_labels: Exported) -> Exported:
    """The recognizer `of_labels` as OpenVINO's files."""
    return exported(of_labels.folder, "--check", "20", name="it.xml")


@pytest.fixture(scope="session")
def in_int8(plates: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Encoders in int8; class means, whose answers are far enough from each other."""
    out = tmp_path_factory.mktemp("int8")
    encoder = ("test_resnet=random", "test_resnet,image_size=32=random")
    options = {"encoder": encoder, "image_size": 48, "head": "nearest-mean"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CVGSSL_CACHE", str(out / "cache"))
        patch.setattr("cvgssl.export.int8.MOST_CHANGED", 0.1)  # weights are random
        folder, _ = fit(FitConfig(out=out / "fit", data=plates, shot=4, **options))
        return exported(folder, "--int8", name="it.xml")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The averaged weights of a run's second model, a ResNet on pictures with a border."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    torch.manual_seed(4)
    card = ModelCard("test_resnet", ("crack", "pit, deep", "夹杂"), Geometry(48, "pad"), HALF)
    model = Recognizer(build_backbone("test_resnet", 48), 3)
    torch.nn.init.normal_(model.head.weight, std=20.0)
    with torch.no_grad():  # no class wins always
        noise = torch.randint(0, 256, (16, 3, 48, 48), dtype=torch.uint8)
        model.head.bias -= model.eval()(noise).mean(dim=0)
    save_model(folder / "weights" / "run_2_ema.safetensors", model, card)
    return exported(folder, "--run", "2", "--checkpoint", "ema")
