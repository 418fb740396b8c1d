"""Large pictures in bands: the same pixels and squares as from the whole, in little memory."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images import bands
from cvgssl.images.decoding import square_of_picture, square_of_pixels
from cvgssl.images.geometry import Geometry, ResizeMode
from cvgssl.images.reader import UnreadablePicture, decode
from tests.images.test_reader import write_png

RNG = np.random.default_rng(3)
GRAY = RNG.integers(0, 256, (61, 43), dtype=np.uint8)
RGB = RNG.integers(0, 256, (61, 43, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (61, 43), dtype=np.uint16)
DEEP_RGB = RNG.integers(0, 65536, (61, 43, 3), dtype=np.uint16)
ALPHA = RNG.integers(0, 65536, (61, 43, 4), dtype=np.uint16)


def saved(samples: NDArray[Any] | Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image = samples if isinstance(samples, Image.Image) else Image.fromarray(samples)
    image.save(file, format=kind, **options)
    return file.getvalue()


def tiff(samples: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    photometric = "rgb" if samples.ndim == 3 else "minisblack"
    tifffile.imwrite(file, samples, **({"photometric": photometric} | options))
    return file.getvalue()


def deep_png(samples: NDArray[Any], colour: int, folder: Path) -> bytes:
    write_png(folder / "deep.png", samples, colour, 16)
    return (folder / "deep.png").read_bytes()


def files(folder: Path) -> dict[str, bytes]:
    """All kinds that are divisible."""
    planes = np.moveaxis(DEEP_RGB, -1, 0)
    many = {"rowsperstrip": 5}
    return {
        "png gray": saved(GRAY, "PNG"),
        "png rgb": saved(RGB, "PNG"),
        "png equal channels": saved(np.dstack([GRAY] * 3), "PNG"),
        "png rgba": saved(np.dstack([RGB, GRAY]), "PNG"),
        "png gray and alpha": saved(np.dstack([GRAY, GRAY]), "PNG"),
        "png palette": saved(Image.fromarray(RGB).quantize(16), "PNG", transparency=3),
        "png one bit": saved(Image.fromarray(GRAY > 99), "PNG"),
        "png 16": deep_png(DEEP, 0, folder),
        "png 16 rgb": deep_png(DEEP_RGB, 2, folder),
        "png 16 rgba": deep_png(ALPHA, 6, folder),
        "png 16 gray and alpha": deep_png(ALPHA[..., :2], 4, folder),
        "tiff gray": tiff(GRAY, compression="zlib", **many),
        "tiff rgb": tiff(RGB, compression="zlib", predictor=True, **many),
        "tiff one strip": tiff(GRAY),
        "tiff one strip, rgb": tiff(RGB),
        "tiff one strip, 16": tiff(DEEP, byteorder=">"),
        "tiff 16": tiff(DEEP, compression="zlib", predictor=True, **many),
        "tiff 16 rgb": tiff(DEEP_RGB, **many),
        "tiff planes": tiff(planes, planarconfig="separate", photometric="rgb", **many),
        "tiff tiles": tiff(RGB, tile=(16, 16)),
        "tiff tiles 16": tiff(DEEP, tile=(16, 32), compression="zlib"),
        "tiff 32": tiff(DEEP.astype(np.int32), **many),
        "tiff float": tiff(GRAY / 255, **many),
        "tiff white is 0": tiff(GRAY, photometric="miniswhite", **many),
        "tiff lzw": saved(RGB, "TIFF", compression="tiff_lzw", tiffinfo={278: 5}),
        "tiff jpeg": saved(RGB, "TIFF", compression="jpeg", strip_size=43 * 16),
        "tiff fax": saved(Image.fromarray(GRAY > 99), "TIFF", compression="group4", strip_size=60),
        "tiff palette": saved(Image.fromarray(RGB).quantize(16), "TIFF"),
        "bmp gray": saved(GRAY, "BMP"),
        "bmp rgb": saved(RGB, "BMP"),
        "pgm": saved(GRAY, "PPM"),
        "ppm": saved(RGB, "PPM"),
        "pgm 16": b"P5 43 61 65535\n" + DEEP.astype(">u2").tobytes(),
        "pgm 7": b"P5 43 61 127\n" + (GRAY >> 1).tobytes(),
        "plain ppm": b"P3 43 61 255\n" + " ".join(map(str, RGB.ravel())).encode(),
        "pbm": saved(Image.fromarray(GRAY > 99), "PPM"),
    }  # fmt: skip


def test_bands_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = files(tmp_path)
    whole = {name: decode(data, Path(name)) for name, data in kinds.items()}
    monkeypatch.setattr(bands, "LARGE", 0)
    monkeypatch.setattr(bands, "_BAND", 43 * 7)
    for name, data in kinds.items():
        picture = bands.open_picture(data, 1)
        assert picture.size == (43, 61), name
        assert len(list(picture.bands(16))) > 1, name
        in_bands = decode(data, Path(name))
        np.testing.assert_array_equal(in_bands.pixels, whole[name].pixels, name)
        assert in_bands.brightest == whole[name].brightest
        for resize in ("stretch", "crop", "pad"):
            compare_squares(data, whole[name].pixels, resize)


def compare_squares(data: bytes, pixels: NDArray[np.uint8], resize: ResizeMode) -> None:
    geometry = Geometry(20, resize, "bicubic")
    square, _ = square_of_picture(bands.open_picture(data, 1), geometry)
    np.testing.assert_array_equal(square, square_of_pixels(pixels, geometry))


def test_a_narrow_picture_is_not_widened_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """224 pixels for each of nine million rows would be 6 GB."""
    pixels = RNG.integers(0, 256, (900, 7, 3), dtype=np.uint8)
    data = saved(pixels, "PNG")
    monkeypatch.setattr(bands, "LARGE", 0)
    monkeypatch.setattr(bands, "_BAND", 7 * 50)
    for resize in ("stretch", "pad"):
        geometry = Geometry(20, resize)
        square, _ = square_of_picture(bands.open_picture(data, 1), geometry)
        wanted = square_of_pixels(pixels, geometry)
        assert np.abs(square.astype(int) - wanted).max() <= 1
    low = Image.fromarray(pixels).resize((7, 20), Image.Resampling.BILINEAR)
    wanted = square_of_pixels(np.asarray(low), Geometry(20))
    square, _ = square_of_picture(bands.open_picture(data, 1), Geometry(20))
    np.testing.assert_array_equal(square, wanted)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_a_small_picture_is_enlarged_as_pillow_does(
    resize: ResizeMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "LARGE", 0)
    monkeypatch.setattr(bands, "_BAND", 33 * 5)
    pixels = RNG.integers(0, 256, (21, 33), dtype=np.uint8)
    geometry = Geometry(48, resize, "bicubic")
    square, _ = square_of_picture(bands.open_picture(saved(pixels, "PNG"), 1), geometry)
    np.testing.assert_array_equal(square, square_of_pixels(pixels, geometry))


def test_turned_and_interlaced_pictures_are_read_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exif = Image.Exif()
    exif[274] = 6
    monkeypatch.setattr(bands, "LARGE", 0)
    monkeypatch.setattr(bands, "_BAND", 43 * 7)
    for kind in ("PNG", "TIFF"):
        data = saved(GRAY, kind, exif=exif)
        assert bands.open_picture(data, 1).size is None
        np.testing.assert_array_equal(decode(data, Path(kind)).pixels, np.rot90(GRAY, -1))


@pytest.mark.parametrize("kind", ["png rgb", "png 16", "tiff gray", "tiff 32", "bmp rgb", "ppm"])
def test_a_truncated_band_is_an_error(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = files(tmp_path)[kind]
    monkeypatch.setattr(bands, "LARGE", 0)
    monkeypatch.setattr(bands, "_BAND", 43 * 7)
    with pytest.raises(UnreadablePicture, match=r"truncated|damaged"):
        decode(data[:-1500] if kind.startswith(("tiff", "png")) else data[:-100], Path(kind))


def test_a_webp_picture_that_needs_too_much_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = saved(GRAY, "WEBP", lossless=True)
    np.testing.assert_array_equal(decode(data, Path("a.webp")).pixels, GRAY)
    monkeypatch.setattr(bands, "MOST_WEBP", GRAY.size - 1)
    with pytest.raises(UnreadablePicture, match=r"too large for WebP, 43 x 61 pixels; save it as"):
        decode(data, Path("a.webp"))
    with pytest.raises(UnreadablePicture, match=r"--max-megapixels 1$"):
        decode(data, Path("a.webp"), max_megapixels=0)
