"""Masks, constant pictures and two pictures of one name, as the data check reports them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from cvgssl.images.check import check_data
from cvgssl.images.check_facts import Finding, looks_like_map

SIDE = 96
Gray = NDArray[np.uint8]


def field(seed: int, sigma: float) -> NDArray[np.float64]:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), sigma)
    return smooth / smooth.std()


def steel(seed: int) -> Gray:
    pixels: Gray = np.clip(128 + 25 * field(seed, 1.0), 0, 255).astype("u1")
    return pixels


def mask(seed: int) -> Gray:
    """A few white patches on black."""
    return np.where(field(seed, 6.0) > 1.3, 255, 0).astype("u1")


def save(path: Path, pixels: Gray, **how: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)


def found(data: Path) -> dict[str, Finding]:
    return {finding.kind: finding for finding in check_data(data).findings}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of four JPEG pictures."""
    for number in range(8):
        save(tmp_path / "d" / f"class{number % 2}" / f"{number}.jpg", steel(number))
    return tmp_path / "d"


def with_masks(data: Path, ending: str, blank: int = 0) -> None:
    """A mask beside every picture, the first ones all black."""
    for path in sorted(data.rglob("*.jpg")):
        number = int(path.stem)
        pixels = np.zeros((SIDE, SIDE), np.uint8) if number < blank else mask(number)
        save(path.with_name(path.stem + ending), pixels)


@pytest.mark.parametrize("ending", [".png", "_mask.png", "_GT.png", "_label.bmp", "_mask.jpg"])
def test_masks_beside_pictures_spoil_and_count_as_nothing_else(pictures: Path, ending: str) -> None:
    with_masks(pictures, ending, blank=5)
    findings = found(pictures)
    assert set(findings) == {"masks"}
    assert findings["masks"].severity == "spoils"
    assert "counted as pictures of a class: 8; move them out of DATA" in findings["masks"].message
    assert [f"class0/0{ending}", "class0/0.jpg"] in findings["masks"].items


def test_label_maps_and_masks_in_a_folder_beside(pictures: Path) -> None:
    for path in sorted(pictures.rglob("*.jpg")):
        levels = np.digitize(field(int(path.stem), 8.0), [-1, 0, 1]).astype("u1")
        save(pictures / "masks" / f"{path.stem}.png", levels)
    findings = found(pictures)
    assert set(findings) == {"masks"}
    assert len(findings["masks"].items) == 8


def test_masks_of_a_plain_folder_are_a_warning(pictures: Path) -> None:
    with_masks(pictures / "class0", ".png")
    (finding,) = check_data(pictures / "class0").findings
    assert (finding.kind, finding.severity) == ("masks", "warning")


def test_a_black_picture_whose_number_is_common_is_no_mask(pictures: Path) -> None:
    save(pictures / "class1" / "0.png", np.full((SIDE, SIDE), 7, np.uint8))
    save(pictures / "class1" / "9.png", np.full((SIDE, SIDE), 255, np.uint8))
    findings = found(pictures)
    assert set(findings) == {"constant"}
    assert findings["constant"].severity == "warning"
    assert findings["constant"].items == [
        ["class1/0.png", "value 7"],
        ["class1/9.png", "value 255"],
    ]
    assert "nothing to see: 2 pictures; remove them" in findings["constant"].message


def test_a_converted_copy_under_the_same_name(pictures: Path) -> None:
    with Image.open(pictures / "class0/0.jpg") as picture:
        picture.resize((48, 48)).save(pictures / "class0/0.png")
    findings = found(pictures)
    assert findings["same_name"].items == [["class0/0.jpg", "class0/0.png"]]
    assert "keep one of them" in findings["same_name"].message
    assert "masks" not in findings


def test_unlike_pictures_under_the_same_name(pictures: Path) -> None:
    save(pictures / "class0/0.png", np.clip(128 + 40 * field(50, 12.0), 0, 255).astype("u1"))
    findings = found(pictures)
    assert set(findings) == {"same_name_unlike"}
    assert findings["same_name_unlike"].severity == "warning"


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_a_mask_saved_as_jpeg_looks_like_one(tmp_path: Path, quality: int) -> None:
    save(tmp_path / "m.jpg", mask(3), quality=quality)
    assert looks_like_map(np.asarray(Image.open(tmp_path / "m.jpg")), lossy=True)


@pytest.mark.parametrize("share", [1.0, 0.15, 0.03])
def test_photographs_do_not_look_like_masks_even_when_dark(tmp_path: Path, share: float) -> None:
    noise = np.random.default_rng(1).normal(size=(SIDE, SIDE))
    dark = np.clip(steel(0) * share + noise, 0, 255).astype("u1")
    assert not looks_like_map(dark, lossy=False)
    save(tmp_path / "dark.jpg", dark)
    assert not looks_like_map(np.asarray(Image.open(tmp_path / "dark.jpg")), lossy=True)
