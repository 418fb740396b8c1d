"""Exported recognizers that share little: with a map, of labels alone, trained."""

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import onnx
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
from tests.conftest import CLIP, MadeOnce


class Exported(NamedTuple):
    """A run folder, the file made of it, and what `cvgssl export` printed."""

    folder: Path
    file: Path
    printed: str


@pytest.fixture(scope="session")
def export_once(made_once: MadeOnce) -> Callable[..., Exported]:
    """`export_once(NAME, FOLDER_OF, WORDS..., to="it.onnx")`: exported for all workers together.

    FOLDER_OF(place) makes the run folder in the new folder `place`, or gives another one.
    """

    def export(
        name: str, folder_of: Callable[[Path], Path], *words: str, to: str = "it.onnx"
    ) -> Exported:
        def make(place: Path) -> None:
            place.mkdir(parents=True)
            folder, printed = folder_of(place), io.StringIO()
            with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
                patch.setenv("CVGSSL_CACHE", str(place / "cache"))
                code = main(["export", str(folder), str(place / to), *words])
            assert code == 0
            (place / "folder").write_text(str(folder.name if folder.parent == place else folder))
            (place / "printed").write_text(printed.getvalue())

        place = made_once(name, make)
        folder = place / (place / "folder").read_text()
        return Exported(folder, place / to, (place / "printed").read_text())

    return export


def fitted(options: dict[str, Any]) -> Callable[[Path], Path]:
    """A function that fits a recognizer in a folder."""

    def fit_in(place: Path) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CVGSSL_CACHE", str(place / "cache"))
            usual = {"out": place / "fit", "shot": 2, "runtime": "torch"}  # as export computes
            return fit(FitConfig(**usual | options))[0]

    return fit_in


@pytest.fixture(scope="session")
def with_map(plates: Path, teacher_file: Path, export_once: Callable[..., Exported]) -> Exported:
    """Head `auto` on two layers, cls and mean, of encoders that share a run; pictures of 32 px."""
    options = {"pooling": "mean", "layers": (2, 6), "image_size": 32}
    encoder = (f"test_vit,pooling=cls={teacher_file}", f"test_vit={teacher_file}")
    made = export_once(
        "with_map", fitted({"data": plates, "encoder": encoder, **options}), "--check", "20"
    )
    assert '"gate_open": true' in (made.folder / "summary.json").read_text()
    return made


@pytest.fixture(scope="session")
def of_labels(steel: Path, teacher_file: Path, export_once: Callable[..., Exported]) -> Exported:
    """Head `logistic` on mirrored crops by two encoders; cut out, bicubic, 12 bits."""
    options = {
        "data": steel,
        "encoder": ("test_resnet=random", f"test_vit={teacher_file}:2"),
        "head": "logistic",
        "preparation": "center",
        "image_size": 48,
        "resize": "crop",
        "interpolation": "bicubic",
        "crops": 2,
        "flips": "horizontal",
        "bit_depth": 12,
    }
    return export_once("of_labels", fitted(options), "--check", "20")


@pytest.fixture(scope="session")
def of_texts(plates: Path, clip_file: Path, export_once: Callable[..., Exported]) -> Exported:
    """Head `text-ridge` by a CLIP; a pool large enough for a map, which the score has."""
    options = {"encoder": (f"{CLIP}={clip_file}",), "image_size": 64, "head": "text-ridge"}
    return export_once("of_texts", fitted({"data": plates, "shot": 4} | options), "--check", "20")


@pytest.fixture(scope="session")
def for_openvino(of_labels: Exported, export_once: Callable[..., Exported]) -> Exported:
    """The recognizer `of_labels` as OpenVINO's files, of the graph that is in its ONNX file."""

    def write_graph(
        _graph: object, outputs: Sequence[str], metadata: Mapping[str, str], path: Path
    ) -> None:
        model = onnx.load(of_labels.file)
        assert [each.name for each in model.graph.output] == list(outputs) and not metadata
        del model.metadata_props[:]
        onnx.save(model, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cvgssl.export.job.write_graph", write_graph)
        folder = of_labels.folder
        return export_once("for_openvino", lambda _: folder, "--check", "20", to="it.xml")


@pytest.fixture(scope="session")
def in_int8(plates: Path, export_once: Callable[..., Exported]) -> Exported:
    """Encoders in int8; class means, whose answers are far enough from each other."""
    encoder = ("test_resnet=random", "test_resnet,image_size=32=random")
    options = {"data": plates, "encoder": encoder, "image_size": 48, "head": "nearest-mean"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cvgssl.export.int8.MOST_CHANGED", 0.1)  # weights are random
        return export_once("in_int8", fitted(options | {"shot": 4}), "--int8", to="it.xml")


@pytest.fixture(scope="session")
def trained(export_once: Callable[..., Exported]) -> Exported:
    """The averaged weights of a run's second model, a ResNet on pictures with a border."""

    def train(place: Path) -> Path:
        torch.manual_seed(4)
        card = ModelCard("test_resnet", ("crack", "pit, deep", "夹杂"), Geometry(48, "pad"), HALF)
        model = Recognizer(build_backbone("test_resnet", 48), 3)
        torch.nn.init.normal_(model.head.weight, std=20.0)
        with torch.no_grad():  # no class wins always
            noise = torch.randint(0, 256, (16, 3, 48, 48), dtype=torch.uint8)
            model.head.bias -= model.eval()(noise).mean(dim=0)
        save_model(place / "run" / "weights" / "draw_2_ema.safetensors", model, card)
        return place / "run"

    return export_once("trained", train, "--draw", "2", "--checkpoint", "ema")
