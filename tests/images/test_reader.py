"""Every format with its exact pixels, and every kind of broken file with its reason."""

import io
import math
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.reader import EXTENSIONS, UnreadablePicture, decode, picture_format, read_picture

RNG = np.random.default_rng(7)
GRAY = RNG.integers(0, 256, (11, 14), dtype=np.uint8)
RGB = RNG.integers(0, 256, (11, 14, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (11, 14), dtype=np.uint16)
DEEP_RGB = RNG.integers(0, 65536, (11, 14, 3), dtype=np.uint16)
DEEP_RGBA = RNG.integers(0, 65536, (11, 14, 4), dtype=np.uint16)
DEEP_LA = RNG.integers(0, 65536, (11, 14, 2), dtype=np.uint16)


def scaled(samples: NDArray[Any], white: int = 65535) -> NDArray[np.uint8]:
    return np.floor(samples.astype(np.float64) * 255 / white + 0.5).astype(np.uint8)


def write_png(path: Path, samples: NDArray[Any], colour_type: int, bits: int) -> None:
    """PNG by the specification: Pillow cannot write 16-bit colour."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    height, width = samples.shape[:2]
    big_endian = samples.astype(">u2" if bits == 16 else "u1")
    # filter 1 (difference to the left pixel) on odd lines, so that unfiltering is tested as well
    lines = []
    for y in range(height):
        line = np.frombuffer(big_endian[y].tobytes(), np.uint8)
        step = len(line) // width
        left = np.concatenate([np.zeros(step, np.uint8), line[:-step]])
        lines.append(bytes([y % 2]) + (line - left if y % 2 else line).tobytes())
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(lines)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".pgm", ".webp"])
def test_eight_bit_gray_is_read_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(GRAY).save(path, lossless=True)  # for WebP
    np.testing.assert_array_equal(read_picture(path), GRAY)
    assert suffix in EXTENSIONS


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".webp"])
def test_rgb_is_read_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RGB).save(path, lossless=True)  # for WebP
    np.testing.assert_array_equal(read_picture(path), RGB)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_equals_pillow(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).convert(mode).save(path)
    np.testing.assert_array_equal(read_picture(path), np.asarray(Image.open(path)))


def test_three_equal_channels_are_gray(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([GRAY] * 3)).save(path)
    np.testing.assert_array_equal(read_picture(path), GRAY)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_one_bit_becomes_black_and_white(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(GRAY > 99).save(path)
    np.testing.assert_array_equal(read_picture(path), np.where(GRAY > 99, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped(tmp_path: Path, mode: str) -> None:
    colours = GRAY[..., None] if mode == "LA" else RGB
    path = tmp_path / "a.png"
    image = Image.fromarray(np.dstack([colours, GRAY[::-1]]))
    assert image.mode == mode
    image.save(path)
    np.testing.assert_array_equal(read_picture(path), GRAY if mode == "LA" else RGB)


@pytest.mark.parametrize("transparency", [None, 3, bytes([0, 128, 255])])
def test_palette_gives_its_colours_without_a_warning(tmp_path: Path, transparency: Any) -> None:
    image = Image.fromarray(RGB).quantize(16)
    path = tmp_path / "a.png"
    image.save(path, **({} if transparency is None else {"transparency": transparency}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = read_picture(path)
    np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    flat = np.full((8, 8, 3), (200, 30, 90), np.uint8)
    Image.fromarray(flat).convert("CMYK").save(path)
    assert np.abs(read_picture(path).astype(int) - flat).max() <= 3


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"rowsperstrip": 3},
        {"tile": (16, 16)},
    ],
)
def test_sixteen_bit_tiff_is_scaled_and_rounded(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "gray.tif", DEEP, **options)
    tifffile.imwrite(tmp_path / "rgb.tif", DEEP_RGB, photometric="rgb", **options)
    np.testing.assert_array_equal(read_picture(tmp_path / "gray.tif"), scaled(DEEP))
    np.testing.assert_array_equal(read_picture(tmp_path / "rgb.tif"), scaled(DEEP_RGB))


def test_sixteen_bit_tiff_with_lzw(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(DEEP).save(path, compression="tiff_lzw")
    np.testing.assert_array_equal(read_picture(path), scaled(DEEP))


def test_sixteen_bit_tiff_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    planes = np.ascontiguousarray(np.moveaxis(DEEP_RGB, -1, 0))
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_picture(path), scaled(DEEP_RGB))
    tifffile.imwrite(path, DEEP_RGBA, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_picture(path), scaled(DEEP_RGBA[..., :3]))
    tifffile.imwrite(path, DEEP, photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(path), scaled(65535 - DEEP))


def test_sixteen_bit_png_is_scaled_and_rounded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_png(path, DEEP, 0, 16)
    np.testing.assert_array_equal(read_picture(path), scaled(DEEP))
    write_png(path, DEEP_RGB, 2, 16)
    np.testing.assert_array_equal(read_picture(path), scaled(DEEP_RGB))
    write_png(path, DEEP_RGBA, 6, 16)
    np.testing.assert_array_equal(read_picture(path), scaled(DEEP_RGBA[..., :3]))
    write_png(path, DEEP_LA, 4, 16)
    np.testing.assert_array_equal(read_picture(path), scaled(DEEP_LA[..., 0]))


@pytest.mark.parametrize("plain", [False, True])
def test_deep_netpbm_is_scaled_by_its_own_white_level(tmp_path: Path, plain: bool) -> None:
    def body(samples: NDArray[Any]) -> bytes:
        if plain:
            return " ".join(map(str, samples.ravel())).encode()
        return samples.astype(">u2").tobytes()

    path = tmp_path / "a.pgm"
    for white in (1023, 4095, 65535):
        gray, colour = DEEP & white, DEEP_RGB & white
        path.write_bytes(b"P%d # 9\n14 11\n%d\n" % (2 if plain else 5, white) + body(gray))
        np.testing.assert_array_equal(read_picture(path), scaled(gray, white))
        path.write_bytes(b"P%d 14 11 %d\n" % (3 if plain else 6, white) + body(colour))
        np.testing.assert_array_equal(read_picture(path), scaled(colour, white))
    path.write_bytes(b"P2 2 1 4095\n7")
    with pytest.raises(UnreadablePicture, match="truncated"):
        read_picture(path)


@pytest.mark.parametrize("bit_depth", [10, 12, 14])
def test_bit_depth_sets_the_white_level(tmp_path: Path, bit_depth: int) -> None:
    white = 2**bit_depth - 1
    gray, colour = DEEP & white, DEEP_RGB & white
    gray[0, 0] = white
    tifffile.imwrite(tmp_path / "a.tif", gray)
    write_png(tmp_path / "b.png", colour, 2, 16)
    assert read_picture(tmp_path / "a.tif", bit_depth)[0, 0] == 255
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", bit_depth), scaled(gray, white))
    np.testing.assert_array_equal(
        read_picture(tmp_path / "b.png", bit_depth), scaled(colour, white)
    )


def test_bit_depth_does_not_touch_eight_bit_files(tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", bit_depth=10), GRAY)


def test_a_value_over_the_white_level_names_the_flag(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    samples = np.full((4, 4), 4095, np.uint16)
    samples[2, 1] = 4096
    tifffile.imwrite(path, samples)
    with pytest.raises(UnreadablePicture, match=r"a\.tif: value 4096 .* 4095; set --bit-depth 13"):
        read_picture(path, bit_depth=12)


def test_brightest_value_is_known_only_where_bit_depth_decides(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.minimum(DEEP, 4000))
    data = (tmp_path / "a.tif").read_bytes()
    assert decode(data, tmp_path / "a.tif").brightest == 4000
    pgm = b"P5 14 11 4095\n" + np.minimum(DEEP, 4000).astype(">u2").tobytes()
    assert decode(pgm, Path("a.pgm")).brightest is None


@pytest.mark.parametrize("dtype", [np.uint32, np.int32, np.int16])
def test_wide_integers_use_the_same_white_level(tmp_path: Path, dtype: Any) -> None:
    samples = (DEEP // 3).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", samples)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), scaled(samples))


@pytest.mark.parametrize(
    ("value", "reason"), [(70000, "over the white level 65535; convert"), (-1, "negative")]
)
def test_wide_integers_out_of_range_are_refused(tmp_path: Path, value: int, reason: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((3, 3), value, np.int32))
    with pytest.raises(UnreadablePicture, match=reason):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_is_read_from_0_to_1_only(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "a.tif"
    samples = (GRAY / 255).astype(dtype)
    tifffile.imwrite(path, samples)
    np.testing.assert_array_equal(read_picture(path), GRAY)
    for bad in (1.5, -0.1, np.nan):
        samples[0, 0] = bad
        tifffile.imwrite(path, samples)
        with pytest.raises(UnreadablePicture, match=r"outside 0\.\.1"):
            read_picture(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = np.kron(np.arange(6).reshape(2, 3) * 40, np.ones((16, 16))).astype(np.uint8)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    pixels = read_picture(path)
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).max() <= (0 if suffix in (".png", ".tif") else 8)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["gray", "rgb", "wide"])
def test_orientation_of_deep_tiff_is_applied_once(
    tmp_path: Path, kind: str, compression: str | None
) -> None:
    kinds: dict[str, NDArray[Any]] = {"gray": DEEP, "rgb": DEEP_RGB, "wide": DEEP.astype(np.int32)}
    samples = kinds[kind]
    photometric = "rgb" if kind == "rgb" else "minisblack"
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples,
        photometric=photometric,
        compression=compression,
        extratags=[(274, "H", 1, 6, True)],  # turn clockwise to see it upright
    )
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), scaled(np.rot90(samples, -1)))


def test_first_page_counts(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "deep.tif", np.stack([DEEP, DEEP // 2]), photometric="minisblack")
    np.testing.assert_array_equal(read_picture(tmp_path / "deep.tif"), scaled(DEEP))
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GRAY, GRAY // 2]), photometric="minisblack")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), GRAY)


def test_content_decides_not_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "really a png.jpg"
    Image.fromarray(GRAY).save(path, format="PNG")
    np.testing.assert_array_equal(read_picture(path), GRAY)
    assert picture_format(path) == "PNG"


def test_formats_by_content(tmp_path: Path) -> None:
    for name, suffix in {"JPEG": "jpeg", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp"}.items():
        Image.fromarray(RGB).save(tmp_path / f"a.{suffix}")
        assert picture_format(tmp_path / f"a.{suffix}") == name
    tifffile.imwrite(tmp_path / "f64.tif", GRAY / 255)
    assert picture_format(tmp_path / "f64.tif") == "TIFF"
    Image.fromarray(GRAY).save(tmp_path / "a.pgm")
    assert picture_format(tmp_path / "a.pgm") == "PPM"


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg", ".webp", ".pgm", ".ppm"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_truncated_files_are_errors(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"half{suffix}"
    big = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(big).convert("L" if suffix == ".pgm" else "RGB").save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadablePicture, match=f"half{suffix}: (truncated|damaged|not a picture)"):
        read_picture(path)


@pytest.mark.parametrize("samples", [DEEP, DEEP_RGB], ids=["gray", "rgb"])
def test_truncated_deep_files_are_errors(tmp_path: Path, samples: NDArray[Any]) -> None:
    write_png(tmp_path / "a.png", samples, 0 if samples.ndim == 2 else 2, 16)
    photometric = "minisblack" if samples.ndim == 2 else "rgb"
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric=photometric)
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(UnreadablePicture, match=r"truncated|damaged"):
            read_picture(path)


def encoded(kind: str) -> bytes:
    data = io.BytesIO()
    if kind == "DEEP":
        tifffile.imwrite(data, DEEP_RGB, photometric="rgb", compression="zlib")
    else:
        Image.fromarray(RGB).save(data, format=kind)
    return data.getvalue()


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "DEEP"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0, 1),
)
def test_whatever_the_damage_there_is_a_picture_or_a_reason(
    kind: str, damage: list[tuple[float, int]], kept: float
) -> None:
    data = bytearray(encoded(kind))
    for place, value in damage:
        data[int(place * len(data))] = value
    data = data[: math.ceil(kept * len(data))]
    try:
        pixels = decode(bytes(data), Path("a.png")).pixels
    except UnreadablePicture as error:
        assert str(error).startswith("a.png: ")
        assert "\n" not in str(error)
    else:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 2 or pixels.shape[2] == 3


def test_what_is_no_picture_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.touch()
    with pytest.raises(UnreadablePicture, match=r"a\.png: the file is empty"):
        read_picture(path)
    path.write_text("Lieferschein 12", encoding="utf-8")
    with pytest.raises(UnreadablePicture, match="not a picture in a known format"):
        read_picture(path)
    with pytest.raises(UnreadablePicture, match="not a picture"):
        picture_format(path)
    with pytest.raises(UnreadablePicture, match="No such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(UnreadablePicture, match="is a folder"):
        read_picture(tmp_path)


def test_an_unsupported_kind_says_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "lab.tif")
    with tifffile.TiffFile(tmp_path / "lab.tif", mode="r+") as file:
        file.pages[0].aspage().tags["PhotometricInterpretation"].overwrite(8)
    tifffile.imwrite(tmp_path / "bands.tif", DEEP_RGBA, photometric="minisblack", planarconfig=1)
    for name in ("lab.tif", "bands.tif"):
        with pytest.raises(UnreadablePicture, match=r"unsupported .*; save it as gray or RGB"):
            read_picture(tmp_path / name)


def test_formats_beyond_the_list_are_not_decoded(tmp_path: Path) -> None:
    """PostScript, for one, would start an interpreter."""
    Image.fromarray(RGB).save(tmp_path / "a.png", format="EPS")
    with pytest.raises(UnreadablePicture, match="not a picture in a known format"):
        read_picture(tmp_path / "a.png")


def test_decompression_bomb_is_an_error_and_not_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    for side in (12_000, 30_000):  # over Pillow's limit (warns), and over twice the limit (raises)
        line = b"\0" + b"\0" * (side // 8)
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        body = zlib.compress(line * side)
        chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + b"".join(
                struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
                for k, d in chunks
            )
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UnreadablePicture, match=r"bomb\.png: too large"):
                read_picture(path)
    tifffile.imwrite(tmp_path / "bomb.tif", np.zeros((8, 8)))
    with tifffile.TiffFile(tmp_path / "bomb.tif", mode="r+") as file:
        for tag in ("ImageWidth", "ImageLength"):
            file.pages[0].aspage().tags[tag].overwrite(30_000)
    with pytest.raises(UnreadablePicture, match="too large"):
        read_picture(tmp_path / "bomb.tif")
