"""What the data check knows: which pictures there are, facts of each, how findings are reported."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.assemble import normal
from cvgssl.images.duplicates import perceptual_hash
from cvgssl.images.geometry import MAX_MEGAPIXELS
from cvgssl.images.layout import HALVES, layout_of
from cvgssl.images.likeness import thumbnail
from cvgssl.images.listing import Inventory, subfolders
from cvgssl.images.names import FilesBelow
from cvgssl.images.reader import Decoded, UnreadablePicture, decoding, reading, whole
from cvgssl.images.splits import is_split
from cvgssl.runtime.csv_files import read_rows
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import printable
from cvgssl.runtime.progress import progress

_AT_A_TIME = 8  # files that a thread is given; lists of files that are not there have many

# how a mask or label map is known
_MOST_LEVELS = 16  # of a map that was saved without loss
_FLAT = 0.5  # share of pixels equal to their right neighbour; most photographs have below 0.3
_PURE = 0.4  # share of the pixels near a value of a blurred mask that have exactly this value
_NEAR = 16  # gray levels around a mode that JPEG or resizing spreads it over
_APART = 64  # gray levels between the two values of a mask
_IN_MODES = 0.85  # share of the pixels of a mask that are near one of its two values
_ROWS = 512  # of a large picture that are looked at


@dataclass(frozen=True)
class Listed:
    """split: train, test or empty. label: the class, empty for an unlabelled picture."""

    path: Path
    split: str
    label: str


@dataclass(frozen=True)
class FolderContents:
    """What a data set holds. left_out: sentences on what is there and not used.

    beside: folders beside train/ or test/ that are splits under other names.
    """

    listed: list[Listed]
    left_out: list[str]
    beside: tuple[str, ...] = ()


def list_contents(data: Path) -> FolderContents:
    """Pictures of train/ and test/, of a folder of classes, of a plain folder or of a split CSV.

    Unlike training, checking lists what is wrong instead of stopping at it: one half may be
    missing, and a file that links or rows name in several places is listed in each.
    Raises UserError when `data` is not there, its CSV cannot be understood, or its folders are
    splits under other names.
    """
    if is_split(data):
        return FolderContents(_of_csv(data), [])
    if not data.is_dir():
        raise UserError(f"{data}: no such folder or CSV file")
    layout = layout_of(data)
    inventory = Inventory()
    parts = {name: layout.halves[name] for name in HALVES if name in layout.halves} or {"": data}
    listed = [
        item for name, folder in parts.items() for item in _of_folder(folder, name, inventory)
    ]
    return FolderContents(listed, inventory.left_out(), tuple(path.name for path in layout.beside))


def shown_path(path: Path, root: Path) -> str:
    """`path` as the user knows it, below `root`; bytes that are no UTF-8 as escapes."""
    return printable(str(below(path, root)))


def below(path: Path, root: Path) -> Path:
    """`path` as seen from `root`, or as it is when it is elsewhere."""
    try:
        return path.relative_to(root)
    except ValueError:
        return path


def _of_folder(folder: Path, split: str, inventory: Inventory) -> list[Listed]:
    """Pictures in class folders, and those beside them without a label."""
    listed = [Listed(path, split, "") for path in inventory.loose(folder)]
    for class_folder in subfolders(folder):
        label = normal(printable(class_folder.name))
        listed += [Listed(path, split, label) for path in inventory.pictures(class_folder)]
    return listed


def _of_csv(file: Path) -> list[Listed]:
    """Rows path,label,split, of which only path is needed; paths may lead nowhere."""
    listed = []
    files = FilesBelow(file.parent, file)
    for row in read_rows(file, ("path",), ("label", "split")):
        split = row["split"].lower()
        if split not in ("", *HALVES):
            raise UserError(
                f"{file} line {row.line}: split {printable(split)!r} is neither train nor test"
            )
        path = files.find(row.written("path")) or file.parent / row["path"]
        listed.append(Listed(path, split, normal(printable(row["label"]))))
    return listed


@dataclass(frozen=True)
class PictureFacts:
    """Of one readable file.

    kind: format by content, such as PNG. size: (height, width). gray: one channel.
    content: SHA-256 of the decoded pixels, the same for a BMP and its PNG copy.
    hash: 64-bit perceptual hash. thumbnail: uint8 [64, 64].
    brightest: brightest sample of a file that may use fewer bits than it has, else None.
    constant: the gray value of a picture that has one all over, else None.
    map_like: whether it looks like a mask or label map.
    """

    kind: str
    size: tuple[int, int]
    gray: bool
    content: str
    hash: int
    thumbnail: NDArray[np.uint8]
    brightest: int | None
    constant: int | None
    map_like: bool


def measure(path: Path, max_megapixels: int = MAX_MEGAPIXELS) -> PictureFacts | str:
    """Read and decode one file; a text says why it cannot be read."""
    try:
        with (
            reading(path, max_megapixels) as data,
            decoding(data, path, max_megapixels) as picture,
        ):
            return _facts(whole(picture))
    except UnreadablePicture as error:
        return error.reason


def _facts(decoded: Decoded) -> PictureFacts:
    pixels = np.ascontiguousarray(decoded.pixels)
    gray = np.asarray(Image.fromarray(pixels).convert("L"))
    same = gray.min() == gray.max() and bool((pixels == pixels[0, 0]).all())
    return PictureFacts(
        kind=decoded.kind,
        size=(pixels.shape[0], pixels.shape[1]),
        gray=pixels.ndim == 2,
        content=hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest(),
        hash=perceptual_hash(gray),
        thumbnail=thumbnail(gray),
        brightest=decoded.brightest,
        constant=int(gray[0, 0]) if same else None,
        map_like=looks_like_map(gray, lossy=decoded.kind in ("JPEG", "WEBP")),
    )


def looks_like_map(gray: NDArray[np.uint8], lossy: bool) -> bool:
    """Whether uint8 [H, W] is a mask or label map: constant, few levels in patches, or two blurred.

    lossy: whether the file's format blurs values, as JPEG does; then a photograph that is nearly
    black has few levels as well, and only two levels far apart tell a mask.
    """
    some = gray[:: max(len(gray) // _ROWS, 1)]
    counts = np.array(Image.fromarray(some).histogram())
    levels = np.flatnonzero(counts)
    if len(levels) == 1:
        return True
    if counts.max() * _MOST_LEVELS < counts.sum():  # as of most photographs: quickly told
        return False
    flat = float((some[:, 1:] == some[:, :-1]).mean()) if some.shape[1] > 1 else 0.0
    if not lossy and len(levels) <= _MOST_LEVELS and flat >= _FLAT:
        return True
    values = np.arange(256)
    first = int(counts.argmax())
    second = int(np.where(np.abs(values - first) >= _APART, counts, 0).argmax())
    held = [int(counts[np.abs(values - mode) <= _NEAR].sum()) for mode in (first, second)]
    return (
        flat >= _FLAT
        and abs(second - first) >= _APART
        and sum(held) >= _IN_MODES * counts.sum()
        and bool(counts[first] >= _PURE * held[0] and counts[second] >= _PURE * held[1] > 0)
    )


def _measure_some(paths: Sequence[Path], max_megapixels: int) -> list[PictureFacts | str]:
    return [measure(path, max_megapixels) for path in paths]


def measure_all(
    paths: Sequence[Path], max_megapixels: int = MAX_MEGAPIXELS
) -> list[PictureFacts | str]:
    """Facts of every file or why it cannot be read, in order; files are read in threads."""
    facts: list[PictureFacts | str] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress("checking", len(paths)) as advance,
    ):
        some = [paths[start : start + _AT_A_TIME] for start in range(0, len(paths), _AT_A_TIME)]
        for measured in pool.map(partial(_measure_some, max_megapixels=max_megapixels), some):
            facts += measured
            advance(len(measured))
    return facts


Severity = Literal["spoils", "warning", "hint"]


@dataclass(frozen=True)
class Finding:
    """One kind of oddity. `items` are groups of files (pairs, or one file and a remark)."""

    kind: str
    severity: Severity
    message: str
    items: list[list[str]]


@dataclass(frozen=True, eq=False)
class CheckedPicture:
    """A readable file: how it is listed and what is in it."""

    entry: Listed
    facts: PictureFacts
    shown: str  # path as the user reads it
