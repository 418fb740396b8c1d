"""Files made to cost time or memory: refused, or read in little of both."""

import io
import lzma
import os
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cvgssl.images.opening import UnusableError
from cvgssl.images.png import _Inflated
from cvgssl.images.reader import Memory, UnreadablePicture, decode, read_picture

ROWS = np.arange(144, dtype=np.uint8).reshape(12, 12)


def refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadablePicture, match=reason):
        decode(data, Path("a"))


def test_comments_in_a_header_are_read_in_one_way_only() -> None:
    refused(b"P6\n" + b"#" * 1000 + b"\n12 12\n255x" + bytes(432), "header")
    refused(b"P5\n" + b"#" * 10**6 + b"\n12 12\n255\n" + bytes(144), "header")
    commented = b"P5 #" + b"#" * 1000 + b"\n# 7 7\r12\n#\n\n12 255\n" + ROWS.tobytes()
    np.testing.assert_array_equal(decode(commented, Path("a")).pixels, ROWS)


def test_comments_between_numbers_cost_no_more_than_their_bytes() -> None:
    numbers = b"\n".join(b"%d #" % value for value in ROWS.ravel())
    many = b"P2 12 12 255\n" + b"#\n" * 10**6 + numbers
    np.testing.assert_array_equal(decode(many, Path("a")).pixels, ROWS)
    more = b"P2 12 12 255\n" + b" ".join(b"%d" % value for value in ROWS.ravel()) + b" 1" * 10**6
    np.testing.assert_array_equal(decode(more, Path("a")).pixels, ROWS)
    refused(b"P2 12 12 255\n" + b"1" * 10**6, "digits")
    refused(b"P2 12 12 99\n" + b"100 " * 144, "over its own white level 99")
    refused(b"P1 12 12\n" + b"2" * 144, "other digits")


def inflating(size: int) -> bytes:
    """Zeros of `size` bytes, deflated; some 200 times smaller."""
    packed = zlib.compressobj(1)
    return b"".join(packed.compress(bytes(2**20)) for _ in range(size >> 20)) + packed.flush()


@pytest.mark.parametrize("compression", ["zlib", "lzma"])
@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_a_strip_that_inflates_to_more_than_its_pixels_is_refused(
    tmp_path: Path, dtype: Any, compression: str
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((20, 20), dtype), compression=compression)
    bomb = inflating(2**24) if compression == "zlib" else lzma.compress(bytes(2**24))
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].aspage().tags
        tags["StripOffsets"].overwrite(path.stat().st_size)
        tags["StripByteCounts"].overwrite(len(bomb))
    path.write_bytes(path.read_bytes() + bomb)
    with pytest.raises(UnreadablePicture, match="inflates to more than its pixels"):
        read_picture(path)


def tiff_of(tags: dict[int, list[int]], body: bytes = bytes(1000)) -> bytes:
    """A TIFF of one directory, all values long integers, that ends with `body`."""
    place = 8 + 2 + 12 * len(tags) + 4
    entries, behind = [], b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, behind = struct.pack("<I", place + len(behind)), behind + packed
        entries.append(struct.pack("<HHI", tag, 4, len(values)) + packed)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return b"".join([head, *entries, b"\0" * 4, behind, body])


GRAY_TIFF = {256: [20], 257: [20], 258: [8], 259: [1], 262: [1], 277: [1]}


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({273: [300], 278: [20], 279: [400], 277: [60_000]}, "60000 samples per pixel"),
        ({322: [30_000], 323: [30_000], 324: [300], 325: [400]}, "tiles of 30000 x 30000"),
        ({273: [300] * 9000, 278: [1], 279: [20] * 9000}, "9000 strips or tiles where 20"),
        ({273: [300], 279: [400], 256: [2**31], 257: [2**31]}, "too large, 2147483648 x"),
        (
            {256: [1], 257: [4096 * 99], 322: [4096], 323: [4096], 324: [9] * 99, 325: [9] * 99},
            "1,660,944,384 bytes for 1 x 405504",
        ),
        ({322: [0], 323: [20], 324: [300], 325: [400]}, "tiles of 0 x 20"),
        (  # tiles are told by their width
            {257: [600_000], 273: [9], 278: [1], 279: [9], 324: [9], 325: [9]},
            "600,000 strips or tiles",
        ),
        ({257: [600_000], 273: [9], 278: [1], 279: [9]}, "600,000 strips or tiles; save it with"),
        (
            {257: [9000], 273: [9] * 9000, 278: [1], 279: [2**20] * 9000},
            r"strips or tiles of [\d,]{11} bytes",
        ),
        ({}, "damaged|not a picture"),
    ],
)
def test_absurd_claims_of_a_tiff_are_refused(tags: dict[int, list[int]], reason: str) -> None:
    refused(tiff_of(GRAY_TIFF | tags), reason)


def test_numbers_of_a_wrong_type_are_refused() -> None:
    data = tiff_of(GRAY_TIFF | {322: [4096], 323: [4096], 324: [300], 325: [400]})
    for tag in (258, 277, 322):
        entry = data.index(struct.pack("<HHI", tag, 4, 1))
        real = data[: entry + 2] + struct.pack("<H", 11) + data[entry + 4 :]
        refused(real, f"tag {tag} is no unsigned number")
        signed = data[: entry + 2] + struct.pack("<HIi", 9, 1, -4) + data[entry + 12 :]
        refused(signed, f"tag {tag} is no unsigned number")


def test_positive_signed_numbers_and_strips_that_share_bytes_are_read(tmp_path: Path) -> None:
    """As some programs write them: equal strips once."""
    rows = 3000
    wide = {256: [3000], 257: [rows], 278: [1], 279: [3000] * rows}
    data = tiff_of(GRAY_TIFF | wide | {273: [8 + 2 + 12 * 9 + 4 + 8 * rows] * rows}, bytes(3000))
    entry = data.index(struct.pack("<HHI", 278, 4, 1))
    path = tmp_path / "shared.tif"
    path.write_bytes(data[: entry + 2] + struct.pack("<H", 9) + data[entry + 4 :])
    pixels = read_picture(path)
    assert pixels.shape == (rows, 3000) and not pixels.any()


def test_a_great_many_tags_are_refused() -> None:
    entry = struct.pack("<HHQQ", 9000, 99, 1, 0)
    refused(b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 5000) + 5000 * entry, "5000 tags")


def test_tags_that_claim_the_same_bytes_are_refused() -> None:
    tags = tiff_of(GRAY_TIFF | {tag: [9] * 20_000 for tag in range(900, 970)} | {273: [9]})
    (first,) = struct.unpack_from("<I", tags, tags.index(struct.pack("<HHI", 900, 4, 20_000)) + 8)
    for tag in range(901, 970):
        place = tags.index(struct.pack("<HHI", tag, 4, 20_000)) + 8
        tags = tags[:place] + struct.pack("<I", first) + tags[place + 4 :]
    refused(tags[: first + 80_000], "tags of 5,6")


FLOATS = {256: [20], 257: [20], 258: [32], 259: [32773], 262: [1], 277: [1], 278: [20], 339: [3]}


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"\x81\0" * 20_000, "inflates to more than its pixels"),
        (b"\x80" * 2**21 + b"\x81\0" * 13, "inflates to more than its pixels"),
        (b"\x80\x81\0" * 13, ""),
    ],
    ids=["long runs", "runs of nothing", "as many as are needed"],
)
def test_packbits_are_decoded_for_the_pixels_alone(packed: bytes, reason: str) -> None:
    """tifffile does it in Python, whatever comes out."""
    whole = tiff_of(FLOATS | {273: [0], 279: [0]}, packed)
    whole = tiff_of(FLOATS | {273: [len(whole) - len(packed)], 279: [len(packed)]}, packed)
    if reason:
        refused(whole, reason)
    else:
        assert not decode(whole, Path("a")).pixels.any()


def test_a_stack_of_pictures_that_is_not_there_is_refused() -> None:
    floats = {258: [32], 339: [3], 273: [200], 278: [20], 279: [1600]}
    stack = {32997: [2**20]}  # depth of volumes, which tifffile takes
    refused(tiff_of(GRAY_TIFF | floats | stack, bytes(4000)), "more samples than it has pixels")


def test_a_circle_of_directories_is_one_picture() -> None:
    data = bytearray(tiff_of(GRAY_TIFF | {273: [200], 278: [20], 279: [400]}))
    place = 10 + 12 * 9
    data[place : place + 4] = struct.pack("<I", 8)
    assert decode(bytes(data), Path("a")).pixels.shape == (20, 20)


@pytest.mark.parametrize("kind", ["text", "itxt", "profile"])
def test_long_side_data_are_no_damage(kind: str) -> None:
    info, options = PngInfo(), {}
    if kind == "text":
        info.add_text("parameters", "x" * 2_000_000, zip=True)
    elif kind == "itxt":
        info.add_itxt("XML:com.adobe.xmp", "x" * 2_000_000, zip=True)
    else:
        options["icc_profile"] = bytes(2_000_000)
    file = io.BytesIO()
    Image.fromarray(ROWS).save(file, format="PNG", pnginfo=info, **options)
    np.testing.assert_array_equal(decode(file.getvalue(), Path("a")).pixels, ROWS)


def test_side_data_still_tell_the_orientation() -> None:
    info = PngInfo()
    info.add_text("parameters", "x" * 2_000_000, zip=True)
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>', zip=True)
    file = io.BytesIO()
    Image.fromarray(ROWS).save(file, format="PNG", pnginfo=info)
    np.testing.assert_array_equal(decode(file.getvalue(), Path("a")).pixels, np.rot90(ROWS, -1))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_broken_exif_is_no_damage(kind: str) -> None:
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(ROWS).save(file, format=kind, exif=b"Exif\0\0no TIFF at all", **options)
    assert decode(file.getvalue(), Path("a")).pixels.shape == (12, 12)


def png_with(*chunks: tuple[bytes, bytes], colour: int = 0) -> bytes:
    """A sound PNG of 4 x 4 pixels with these chunks before its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    head = struct.pack(">IIBBBBB", 4, 4, 8, colour, 0, 0, 0)
    rows = (b"\0" + bytes(range(4 + 4 * colour))) * 4
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(
    ("kind", "content", "colour"),
    [
        (b"gAMA", b"", 0),
        (b"cHRM", b"x", 0),
        (b"sRGB", b"", 0),
        (b"pHYs", b"abc", 0),
        (b"tRNS", b"", 0),
        (b"tRNS", b"\0\0", 2),
        (b"vpAg", b"x", 0),
    ],
)
def test_side_chunks_that_are_too_short_are_no_damage(
    kind: bytes, content: bytes, colour: int
) -> None:
    plain = decode(png_with(colour=colour), Path("a")).pixels
    data = png_with((kind, content), colour=colour)
    np.testing.assert_array_equal(decode(data, Path("a")).pixels, plain)


def test_many_long_texts_are_no_damage() -> None:
    packed = zlib.compress(bytes(2**20 - 10), 9)
    text = (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed)
    assert decode(png_with(*[text] * 80), Path("a")).pixels.shape == (4, 4)


def test_a_great_many_chunks_are_refused() -> None:
    out = io.BytesIO()
    Image.fromarray(ROWS).save(out, "PNG")
    data = out.getvalue()
    empty = struct.pack(">I4sI", 0, b"zzZZ", zlib.crc32(b"zzZZ"))
    few = data[:33] + 5000 * empty + data[33:]
    np.testing.assert_array_equal(decode(few, Path("a")).pixels, ROWS)
    refused(data[:33] + 10_000 * empty + data[33:], "a great many chunks")


def test_rare_encodings_that_are_decoded_slowly_are_not_read_from_large_files() -> None:
    samples = bytes(range(100)) * 4
    small = decode(b"PyRGBA 10 10 200\n" + samples, Path("a")).pixels
    np.testing.assert_array_equal(small[0, 0], [0, 1, 3])
    refused(b"PyRGBA #" + b"x" * 70_000 + b"\n10 10 200\n" + samples, "no header")
    refused(b"PyRGBA 2000 2000 200\n" + bytes(2**24), "16,777,237 bytes; save it as PNG")
    head = struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", 0, 0, 0, 1078, 40, 9000, 9000, 1, 8, 1, 0, 0, 0, 0, 0
    )
    refused(head + bytes(1024) + bytes([0, 2, 0, 0]) * 2**21 + b"\0\1", "rare encoding")


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 255, marker, 2 + len(content)) + content


def test_side_data_of_a_jpeg_cost_no_more_than_their_bytes() -> None:
    out = io.BytesIO()
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(ROWS[:6]).save(out, "JPEG", quality=95, exif=turned)
    data = out.getvalue()
    wanted = decode(data, Path("a")).pixels
    assert wanted.shape == (12, 6)
    exif = segment(0xE1, b"Exif\0\0" + bytes(20))
    for side in (
        20_000 * segment(0xED, b"Photoshop 3.0\0"),
        20_000 * segment(0xE2, b"ICC_PROFILE\0\1\1"),
        segment(0xE2, b"MPF\0II*\0" + b"\xff" * 50),
        50_000 * b"\xff\0" + b"\xff" * 50_000 + bytes(50_000),
        40 * segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(60_000)),
    ):
        for padded in (data[:2] + side + data[2:], data.replace(b"\xff\xda", side + b"\xff\xda")):
            np.testing.assert_array_equal(decode(padded, Path("a")).pixels, wanted)
    refused(data[:2] + 20_000 * exif + data[2:], "a great many segments")
    refused(data[:2] + 20_000 * b"\xff\xd0" + data[2:], "a great many segments")
    refused(data[:40], "truncated|damaged")


def test_a_row_longer_than_any_camera_gives_is_refused() -> None:
    refused(b"P5 20000000 1 255\n" + bytes(100), "too long, 20000000 x 1 pixels; cut it")
    refused(b"P5 9000000 1 255\n" + bytes(100), "truncated")


def test_samples_that_are_complex_numbers_are_refused() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((4, 4), np.complex64))
    refused(file.getvalue(), "samples are complex64")


def test_a_damaged_text_chunk_is_damage() -> None:
    info = PngInfo()
    info.add_text("parameters", "x" * 100)
    file = io.BytesIO()
    Image.fromarray(ROWS).save(file, format="PNG", pnginfo=info)
    refused(file.getvalue().replace(b"xxxx", b"xyxx", 1), "damaged")


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s.png"))
        for name in ("fifo.png", "zero.png", "s.png"):
            with pytest.raises(UnreadablePicture, match=f"{name}: is no regular file"):
                read_picture(tmp_path / name)
    with pytest.raises(UnreadablePicture, match="null"):
        read_picture(tmp_path / "a\0.png")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_without_a_size_is_empty(tmp_path: Path) -> None:
    """Files of /proc have none; reading some of them blocks."""
    (tmp_path / "a.png").symlink_to("/proc/self/status")
    with pytest.raises(UnreadablePicture, match="empty"):
        read_picture(tmp_path / "a.png")


def test_a_file_far_larger_than_any_picture_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    Image.fromarray(ROWS).save(path)
    os.truncate(path, 6 * 2**30)  # sparse
    with pytest.raises(UnreadablePicture, match=r"6,442,450,944 bytes.*--max-megapixels"):
        read_picture(path)
    os.truncate(path, 10**9)
    with pytest.raises(UnreadablePicture, match=r"damaged \(1,000,000,000 bytes for 12 x 12"):
        read_picture(path)


def test_the_limit_of_pixels_is_the_callers(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "a.jpg", "a.bmp", "a.webp", "a.pgm"):
        Image.new("L", (1500, 1000)).save(tmp_path / name)
        with pytest.raises(UnreadablePicture, match=r"1500 x 1000 pixels.* --max-megapixels 2"):
            read_picture(tmp_path / name, max_megapixels=1)
        assert read_picture(tmp_path / name, max_megapixels=2).shape == (1000, 1500)


PEAK = """
import resource, sys
from pathlib import Path
from cvgssl.images import bands
from cvgssl.images.decoding import decode_squares
from cvgssl.images.picture_options import DecodingOptions
from cvgssl.images.geometry import Geometry
import tifffile
bands.LARGE, bands._BAND = 2**20, 2**18
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
single = DecodingOptions(workers=1)
for square in decode_squares([Path(name) for name in sys.argv[1:]], Geometry(32), single):
    assert square.pixels is not None, square.reason
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_large_pictures_take_little_memory(tmp_path: Path) -> None:
    """As a whole, each takes about 80 MB."""
    side = 2800
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": head, b"IDAT": inflating((side * 3 + 1) * side + 2**20), b"IEND": b""}
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content)) + kind + content
            + struct.pack(">I", zlib.crc32(kind + content))
            for kind, content in chunks.items()
        )
    )  # fmt: skip
    samples = np.zeros((side, side), np.int32)
    tifffile.imwrite(tmp_path / "a.tif", samples, rowsperstrip=256, compression="zlib")
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "a.png"), str(tmp_path / "a.tif")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 40 * 1024


def test_memory_is_shared_and_given_back() -> None:
    memory = Memory(2**22)
    with memory.held(2**21), memory.held(2**21), memory.held(100):
        assert memory.free == 0
    with memory.held(2**40):  # more than there is: all of it
        assert memory.free == 0
    with pytest.raises(KeyError), memory.held(2**21):
        raise KeyError
    assert memory.free == 2**22


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_progressive_jpeg_of_empty_scans_is_refused(kind: str) -> None:
    """Each goes over all pixels; a small picture may have more than 30."""
    file = io.BytesIO()
    Image.new("L", (1000, 1000)).save(file, format="JPEG", progressive=True)
    data = file.getvalue()
    last = data[data.rfind(b"\xff\xda") : -2]
    data = data[:-2] + last * 30 + b"\xff\xd9"
    if kind == "TIFF":
        tags = GRAY_TIFF | {256: [1000], 257: [1000], 259: [7], 278: [1000], 279: [len(data)]}
        data = tiff_of(tags | {273: [len(tiff_of(tags | {273: [0]}, b""))]}, data)
    assert decode(data, Path("a")).pixels.shape == (1000, 1000)
    with pytest.raises(UnreadablePicture, match=r"damaged \(\d+ scans\)"):
        decode(data, Path("a"), max_megapixels=1)


def test_damaged_tags_log_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tags.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.float64))
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<H", data, start, 200)  # tags, most of which are no tags
    path.write_bytes(data + bytes(range(256)) * 8)
    assert read_picture(path).shape == (8, 8)
    assert not caplog.records


def test_pixel_data_that_end_early_are_truncated() -> None:
    """zlib's stream ends, more bytes follow, and as many are asked for as had fitted."""
    rows = b"".join(b"\0" + bytes(1000) for _ in range(900))
    compressed = zlib.compress(rows[:250_000]) + bytes(500)
    header = struct.pack(">IIBBBBB", 1000, 900, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in ((b"IHDR", header), (b"IDAT", compressed), (b"IEND", b""))
    )
    for asked in (250_000, 250_001):
        stream = _Inflated(iter([compressed]))
        if asked == 250_000:
            assert len(stream.take(asked)) == asked
        with pytest.raises(UnusableError, match="truncated"):
            stream.take(asked)
    refused(data, "truncated")
