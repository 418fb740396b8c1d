"""Which pictures `data check` looks at, with their split and label, without judging them."""

import csv
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from cvgssl.images.listing import entries, is_picture, list_pictures, subfolders
from cvgssl.runtime.errors import UserError

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
