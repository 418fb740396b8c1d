"""Pictures become squares: torchvision's, Pillow's, and none where nothing would be left."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.images.decoding import square_of_pixels
from cvgssl.images.geometry import Geometry, Interpolation, ResizeMode
from cvgssl.images.store import load_pictures
from cvgssl.runtime.errors import UserError


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(50, 40), (300, 31), (9, 200), (7, 7)])
@pytest.mark.parametrize("gray", [True, False])
def test_stretch_and_crop_equal_torchvision(
    interpolation: Interpolation, size: tuple[int, int], gray: bool
) -> None:
    transforms = pytest.importorskip("cvgssl.encoders.timm_import").torchvision.transforms
    shape = size if gray else (*size, 3)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    mode = transforms.InterpolationMode(interpolation)
    image = Image.fromarray(pixels)
    for resize, steps in {
        "stretch": [transforms.Resize((33, 33), mode)],
        "crop": [transforms.Resize(33, mode), transforms.CenterCrop(33)],
    }.items():
        wanted = np.asarray(transforms.Compose(steps)(image))
        found = square_of_pixels(
            pixels, Geometry(33, "crop" if resize == "crop" else "stretch", mode.value)
        )
        np.testing.assert_array_equal(found.transpose(1, 2, 0).reshape(wanted.shape), wanted)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (40, 10, 3), (1, 500), (21, 21)])
def test_pad_keeps_the_aspect_and_fills_with_the_mean(shape: tuple[int, ...]) -> None:
    pixels = np.zeros(shape, np.uint8)
    pixels[: shape[0] // 2] = 200
    mean = round(float(pixels.mean()))
    found = square_of_pixels(pixels, Geometry(20, "pad"))
    assert found.shape == (3 if len(shape) == 3 else 1, 20, 20)
    wide = max(1, round(20 * shape[1] / max(shape[:2])))
    high = max(1, round(20 * shape[0] / max(shape[:2])))
    left, top = (20 - wide) // 2, (20 - high) // 2
    border = np.ones((20, 20), bool)
    border[top : top + high, left : left + wide] = False
    assert (found[:, border] == mean).all()
    inner = np.asarray(Image.fromarray(pixels).resize((wide, high), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(
        found[:, top : top + high, left : left + wide],
        inner[None] if inner.ndim == 2 else inner.transpose(2, 0, 1),
    )


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_constant_pictures_stay_constant(resize: ResizeMode) -> None:
    assert (square_of_pixels(np.full((31, 77), 93, np.uint8), Geometry(24, resize)) == 93).all()


def test_a_picture_too_thin_to_crop_is_unreadable(tmp_path: Path) -> None:
    Image.new("L", (200_000, 1)).save(tmp_path / "line.png")
    with pytest.raises(UserError, match=r"line\.png: too thin for --resize crop .*stretch or pad"):
        load_pictures([tmp_path / "line.png"], Geometry(224, "crop"))
