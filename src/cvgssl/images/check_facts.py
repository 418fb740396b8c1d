"""What the data check knows: which pictures there are, facts of each, how findings are reported."""

import csv
import hashlib
import os
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.duplicates import perceptual_hash, thumbnail
from cvgssl.images.geometry import MAX_MEGAPIXELS
from cvgssl.images.listing import entries, is_picture, list_pictures, subfolders
from cvgssl.images.reader import Decoded, UnreadablePicture, decoding, reading, whole
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Listed:
    """split: train, test or empty. label: the class, empty for an unlabelled picture."""

    path: Path
    split: str
    label: str


def list_data(data: Path) -> list[Listed]:
    """Pictures of train/ and test/, of a folder of classes, of a plain folder or of a split CSV.

    Unlike training, checking lists what is wrong instead of stopping at it: one half may be
    missing, and a file that links or rows name in several places is listed in each.
    Raises UserError when `data` is not there or its CSV cannot be understood.
    """
    if data.is_file():
        return _of_csv(data)
    if not data.is_dir():
        raise UserError(f"{data}: no such folder or CSV file")
    halves = {path.name.lower(): path for path in subfolders(data) if path.name.lower() in SPLITS}
    if not halves:
        return _of_folder(data, "")
    return [item for name in SPLITS if name in halves for item in _of_folder(halves[name], name)]


def shown_path(path: Path, root: Path) -> str:
    """`path` as the user knows it, below `root`; bytes that are no UTF-8 as escapes."""
    return _printable(str(path.relative_to(root) if path.is_relative_to(root) else path))


def _of_folder(folder: Path, split: str) -> list[Listed]:
    """Pictures in class folders, and those beside them without a label."""
    found = [Listed(path, split, "") for path in entries(folder) if is_picture(path)]
    for class_folder in subfolders(folder):
        label = _normal(class_folder.name)
        found += [Listed(path, split, label) for path in list_pictures(class_folder)]
    return found


def _of_csv(file: Path) -> list[Listed]:
    """Rows path,label,split, of which only path is needed; paths may lead nowhere."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text; give a folder or a CSV") from error
    head = lines[0] if lines else ""
    delimiter = ";" if ";" in head and "," not in head else ","
    rows = [
        {(key or "").strip().lower(): value for key, value in row.items() if isinstance(value, str)}
        for row in csv.DictReader(lines, delimiter=delimiter)
    ]
    if not rows or "path" not in rows[0]:
        raise UserError(f"{file}: no column path; needed: path,label,split")
    found = []
    for number, row in enumerate(rows, start=2):
        split = row.get("split", "").strip().lower()
        if split not in ("", *SPLITS):
            raise UserError(f"{file} row {number}: split {split!r} is neither train nor test")
        path = file.parent / row["path"]
        if not path.is_file():  # written on Windows
            path = file.parent / row["path"].replace("\\", "/")
        found.append(Listed(path, split, _normal(row.get("label", ""))))
    return found


def _normal(label: str) -> str:
    return unicodedata.normalize("NFC", _printable(label))


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Facts:
    """Of one readable file.

    kind: format by content, such as PNG. size: (height, width). gray: one channel.
    content: SHA-256 of the decoded pixels, the same for a BMP and its PNG copy.
    hash: 64-bit perceptual hash. thumbnail: uint8 [64, 64].
    brightest: brightest sample of a file that may use fewer bits than it has, else None.
    """

    kind: str
    size: tuple[int, int]
    gray: bool
    content: str
    hash: int
    thumbnail: NDArray[np.uint8]
    brightest: int | None


def measure(path: Path, max_megapixels: int = MAX_MEGAPIXELS) -> Facts | str:
    """Read and decode one file; a text says why it cannot be read."""
    try:
        with (
            reading(path, max_megapixels) as data,
            decoding(data, path, max_megapixels) as picture,
        ):
            return _facts(whole(picture))
    except UnreadablePicture as error:
        return error.reason


def _facts(decoded: Decoded) -> Facts:
    pixels = np.ascontiguousarray(decoded.pixels)
    return Facts(
        kind=decoded.kind,
        size=(pixels.shape[0], pixels.shape[1]),
        gray=pixels.ndim == 2,
        content=hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest(),
        hash=perceptual_hash(pixels),
        thumbnail=thumbnail(pixels),
        brightest=decoded.brightest,
    )


def measure_all(paths: Sequence[Path], max_megapixels: int = MAX_MEGAPIXELS) -> list[Facts | str]:
    """Facts of every file or why it cannot be read, in order; files are read in threads."""
    facts: list[Facts | str] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress("checking", len(paths)) as advance,
    ):
        for fact in pool.map(partial(measure, max_megapixels=max_megapixels), paths):
            facts.append(fact)
            advance(1)
    return facts


Severity = Literal["spoils", "warning", "hint"]


@dataclass(frozen=True)
class Finding:
    """One kind of oddity. `items` are groups of files (pairs, or one file and a remark)."""

    kind: str
    severity: Severity
    message: str
    items: list[list[str]]


@dataclass(frozen=True)
class Picture:
    """A readable file: where it stands and what is in it."""

    entry: Listed
    facts: Facts
    shown: str  # path as the user reads it


def counted(number: int, noun: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
