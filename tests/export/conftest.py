"""Two exported recognizers that share little: a transformer's with a map, a ResNet's without."""

import contextlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cvgssl.cli.main import main
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit


class Exported(NamedTuple):
    """A folder of `fit`, the file made of it, and what `cvgssl export` printed."""

    folder: Path
    file: Path
    printed: str


def make(out: Path, options: dict[str, Any]) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CVGSSL_CACHE", str(out / "cache"))
        folder, _ = fit(FitConfig(out=out / "fit", shot=2, **options))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = main(["export", str(folder), str(out / "it.onnx"), "--check", "20"])
    assert code == 0
    return Exported(folder, out / "it.onnx", printed.getvalue())


@pytest.fixture(scope="session")
def plates(made_once: Any) -> Path:
    """Six classes, 22 training and 4 test pictures each, 48 px."""
    from cvgssl.images.surfaces import synthesize

    made: Path = made_once(
        "plates", lambda to: synthesize(to, 26, seed=3, size=48, test_fraction=4 / 26)
    )
    return made


@pytest.fixture(scope="session")
def with_map(
    plates: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """Head `auto` on two layers, cls and mean; pictures of 32 px."""
    options = {"pooling": "cls+mean", "layers": (2, 6), "image_size": 32}
    encoder = (f"test_vit={teacher_file}",)
    made = make(tmp_path_factory.mktemp("map"), {"data": plates, "encoder": encoder, **options})
    assert '"gate_open": true' in (made.folder / "summary.json").read_text()
    return made


@pytest.fixture(scope="session")
def of_labels(steel: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Head `logistic` on mirrored crops by a random ResNet; cut out, bicubic, 12 bits."""
    options = {
        "data": steel,
        "encoder": ("test_resnet=random",),
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
