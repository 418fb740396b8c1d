"""Sound pictures of every kind that is read, of a few kilobytes each."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from benchmarks.fuzz.picture_mutations import PNG_MAGIC, png_chunk

_ADAM7 = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2),
          (1, 2, 0, 1))  # fmt: skip


def write(place: Path) -> list[Path]:
    """Write them into the folder `place`; gives the files."""
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    colour = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    deep = rng.integers(0, 65536, (20, 30)).astype(np.uint16)
    deep_colour = rng.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    _with_pillow(place, gray, colour, deep)
    _png(place / "deep_colour.png", deep_colour.astype(">u2"), 16, 2)
    _png(place / "deep_alpha.png", deep_colour[..., :2].astype(">u2"), 16, 4)
    _png(place / "interlaced.png", colour, 8, 2, interlaced=True)
    _png(place / "interlaced_deep.png", deep_colour.astype(">u2"), 16, 2, interlaced=True)
    _png(place / "large.png", np.zeros((4200, 4000), np.uint8), 8, 0)
    _run_length_bitmap(place / "run_length.bmp", gray)
    for name, kind, samples in (("text", 2, gray), ("text", 3, colour), ("text", 1, gray % 2)):
        numbers = " ".join(map(str, samples.ravel()))
        white = "" if kind == 1 else "255\n"
        path = place / f"{name}.{('pbm', 'pgm', 'ppm')[kind - 1]}"
        path.write_text(f"P{kind}\n# made\n30 20\n{white}{numbers}\n")
    (place / "twelve.pgm").write_bytes(b"P5 30 20 4095\n" + (deep // 16).astype(">u2").tobytes())
    floats = (gray / 255).astype("<f4").tobytes()
    (place / "float.pfm").write_bytes(b"Pf\n30 20\n-1.0\n" + floats)
    _tiffs(place, gray, colour, deep, deep_colour)
    return sorted(place.iterdir())


def _with_pillow(place: Path, gray: NDArray[Any], colour: NDArray[Any], deep: NDArray[Any]) -> None:
    for ending in ("png", "jpg", "bmp", "pgm", "tif", "webp"):
        Image.fromarray(gray).save(place / f"gray.{ending}")
    for ending in ("png", "jpg", "bmp", "ppm", "tif", "webp"):
        Image.fromarray(colour).save(place / f"colour.{ending}")
    image = Image.fromarray(colour)
    alpha = Image.merge("RGBA", (*image.split(), Image.fromarray(gray)))
    turned = Image.Exif()
    turned[274] = 6
    image.quantize(16).save(place / "palette.png")
    image.quantize(16).save(place / "clear_palette.png", transparency=bytes(range(16)))
    image.quantize(4).save(place / "palette.bmp")
    Image.fromarray(gray > 99).save(place / "bits.png")
    Image.fromarray(gray > 99).save(place / "bits.pbm")
    Image.fromarray(gray > 99).save(place / "bits.bmp")
    Image.fromarray(deep).save(place / "deep.png")
    alpha.save(place / "alpha.png")
    alpha.save(place / "alpha.bmp")
    alpha.save(place / "alpha.webp", exif=turned)
    alpha.convert("LA").save(place / "gray_alpha.png")
    image.save(place / "turned.png", exif=turned)
    image.save(place / "moving.png", save_all=True, append_images=[image.rotate(180)] * 2)
    image.save(place / "moving.webp", save_all=True, append_images=[image.rotate(180)] * 2)
    image.save(place / "lossless.webp", lossless=True)
    image.save(place / "several.jpg", "MPO", save_all=True, append_images=[image.rotate(180)])
    image.save(place / "turned.jpg", progressive=True, exif=turned, icc_profile=bytes(200))
    image.convert("CMYK").save(place / "cmyk.jpg")
    image.save(place / "restarts.jpg", restart_marker_rows=1, subsampling=1)


def _tiffs(
    place: Path,
    gray: NDArray[Any],
    colour: NDArray[Any],
    deep: NDArray[Any],
    deep_colour: NDArray[Any],
) -> None:
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        Image.fromarray(deep).save(place / f"deep_{compression}.tif", compression=compression)
    for compression in ("group3", "group4", "tiff_ccitt"):
        Image.fromarray(gray > 99).save(place / f"{compression}.tif", compression=compression)
    image = Image.fromarray(colour)
    image.save(place / "jpeg.tif", compression="jpeg")
    image.quantize(16).save(place / "palette.tif", compression="tiff_lzw")
    image.convert("CMYK").save(place / "cmyk.tif")
    image.convert("RGBA").save(place / "alpha.tif", compression="tiff_adobe_deflate")
    image.convert("YCbCr").save(place / "luma.tif")
    image.save(place / "pages.tif", save_all=True, append_images=[image] * 3)
    tifffile.imwrite(place / "deflate.tif", deep, compression="zlib", predictor=True)
    tifffile.imwrite(place / "float.tif", gray.astype(np.float32) / 255)
    tifffile.imwrite(place / "double.tif", gray.astype(np.float64) / 255, byteorder=">")
    tifffile.imwrite(place / "signed.tif", (deep // 2).astype(np.int16))
    tifffile.imwrite(place / "big.tif", deep, bigtiff=True, byteorder=">")
    tifffile.imwrite(place / "tiled.tif", np.tile(deep, (2, 2)), tile=(16, 16))
    tifffile.imwrite(
        place / "planes.tif", np.moveaxis(deep_colour, -1, 0), photometric="rgb",
        planarconfig="separate", rowsperstrip=1, compression="zlib",
    )  # fmt: skip
    tifffile.imwrite(place / "thin.tif", np.resize(deep, (400, 3)), rowsperstrip=1)
    large = np.zeros((4200, 4000), np.uint8)
    tifffile.imwrite(place / "large.tif", large, compression="zlib", rowsperstrip=300)
    tifffile.imwrite(place / "large_tiled.tif", large, compression="zlib", tile=(1024, 1024))


def _png(
    path: Path, pixels: NDArray[Any], bits: int, colour: int, interlaced: bool = False
) -> None:
    """Kinds that Pillow does not write: 16-bit colour, interlaced."""
    high, wide = pixels.shape[:2]
    passes = [pixels]
    if interlaced:
        passes = [pixels[top::down, left::across] for top, down, left, across in _ADAM7]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    header = struct.pack(">IIBBBBB", wide, high, bits, colour, 0, 0, interlaced)
    path.write_bytes(
        PNG_MAGIC
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def _run_length_bitmap(path: Path, gray: NDArray[np.uint8]) -> None:
    """A BMP of 8 bits with RLE8."""
    high, wide = gray.shape
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    rows = b"".join(b"".join(bytes((1, level)) for level in row) + b"\0\0" for row in gray[::-1])
    data = rows + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, wide, high, 1, 8, 1, len(data), 0, 0, 256, 256)
    start = 14 + len(head) + len(palette)
    path.write_bytes(
        b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + palette + data
    )
