"""Finding the picture files below a folder, in an order that no file system decides.

A file is a picture by its ending, or, without a known ending, by its first bytes. Links are
followed. Every real file counts once however many links lead to it, and a link back to a folder
above is not entered, so loops end. A link with a picture's ending that leads nowhere is listed:
it is a picture that cannot be read. Hidden files and folders and `__MACOSX` are left out; what is
left out is counted.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Literal

from cvgssl.images.names import comparable
from cvgssl.images.reader import EXTENSIONS
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import machine_trouble, printable

log = logging.getLogger(__name__)

_IGNORED_FOLDERS = frozenset(
    ("__macosx", "$recycle.bin", "lost+found", "system volume information")
)
_CLUTTER = frozenset((".ds_store", "thumbs.db", "desktop.ini", ".directory", ".gitkeep"))
# not opened to look for a picture: texts, archives, and camera raw files, which look like TIFF
_OTHER = """.txt .csv .tsv .json .jsonl .xml .yaml .yml .md .html .log .py .zip .gz .tar .npy .npz
    .parquet .mat .h5 .pt .pth .safetensors .pdf .xlsx .docx .db .md5 .sha256 .dvc
    .dng .nef .nrw .cr2 .arw .orf .rw2 .pef .srw"""
_NO_PICTURES = frozenset(_OTHER.split())
_SIGNATURES = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}"  # BMP with the sizes of its headers
    rb"|II[*+]\0|MM\0[*+]"  # TIFF
    rb"|RIFF.{4}WEBP"
    rb"|P[1-6]\s(?:\s*#[^\n]*\n)*\s*\d+\s",  # PBM, PGM, PPM
    re.DOTALL,
)
_HEAD = 128  # bytes that are looked at
_SHOWN_ENDINGS = 5

NaturalKey = tuple[tuple[int, str], ...]
EntryKind = Literal["folder", "file", "broken", "other"]
DirEntry = os.DirEntry[str]


class Inventory:
    """The pictures of some folders, listed one folder after the other, and what is left out.

    others: files that are not pictures, counted by ending. hidden: number of hidden files and
    folders. broken: links that lead nowhere and have no picture's ending. special: pipes and
    devices.
    """

    def __init__(self) -> None:
        self.others = Counter[str]()
        self.hidden = self.broken = self.special = 0

    def pictures(self, folder: Path) -> list[Path]:
        """All pictures in `folder` and below, in natural order (2 before 10).

        Raises UserError when `folder` is not a folder or a folder cannot be read; an empty list is
        the caller's to judge.
        """
        if not folder.is_dir():
            raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
        real = Path(os.path.realpath(folder))
        return list(_walk(folder, real, {real, *real.parents}, set(), self))

    def loose(self, folder: Path) -> list[Path]:
        """The pictures directly in `folder`; other things there are not counted."""
        return [
            folder / entry.name
            for entry in _entries(folder)
            if not _hidden(entry.name) and _is_picture(entry, _kind(entry))
        ]

    def left_out(self) -> list[str]:
        """What was left out: one sentence for each kind."""
        sentences = []
        if count := self.others.total():
            ordered = sorted(self.others.items(), key=lambda item: (-item[1], item[0]))
            kinds = [f"{number} {ending}" for ending, number in ordered[:_SHOWN_ENDINGS]]
            more = ", ..." if len(self.others) > _SHOWN_ENDINGS else ""
            sentences.append(f"{_files(count, 'no picture')}: {', '.join(kinds)}{more}")
        if self.hidden:
            sentences.append(_files(self.hidden, "hidden", "hidden"))
        if self.broken:
            sentences.append(
                _files(self.broken, "a link that leads nowhere", "links that lead nowhere")
            )
        if self.special:
            sentences.append(_files(self.special, "a pipe or device", "pipes or devices"))
        return sentences

    def log(self, folder: Path) -> None:
        """Say what was left out, in a line that names `folder`."""
        if sentences := self.left_out():
            log.warning("%s: left out: %s", printable(str(folder)), "; ".join(sentences))


def list_pictures(folder: Path) -> list[Path]:
    """All pictures in `folder` and below; see `Inventory.pictures`. Says what is left out."""
    inventory = Inventory()
    pictures = inventory.pictures(folder)
    inventory.log(folder)
    return pictures


def has_pictures(folder: Path) -> bool:
    """Whether a picture is in `folder` or below; looks no further than the first."""
    real = Path(os.path.realpath(folder))
    walk = _walk(folder, real, {real, *real.parents}, set(), Inventory())
    return next(walk, None) is not None


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in `folder` that may hold pictures, in natural order."""
    return [
        folder / entry.name
        for entry in _entries(folder)
        if not _hidden(entry.name) and _kind(entry) == "folder"
    ]


def natural(name: str) -> NaturalKey:
    """Sort key under which numbers inside names compare as numbers.

    Different names differ, except those that differ only in their form of Unicode.
    """
    parts = re.split("([0-9]+)", comparable(name))  # text, number, text, number, ..., text
    return tuple((int(part), part) if i % 2 else (0, part) for i, part in enumerate(parts))


def natural_path(path: PurePath) -> tuple[NaturalKey, ...]:
    """Sort key of a path: part by part, each in natural order."""
    return tuple(natural(part) for part in path.parts)


def _entries(folder: Path) -> list[DirEntry]:
    """What is directly in `folder`, hidden things too, in natural order."""
    try:
        with os.scandir(folder) as opened:
            keyed = [(natural(entry.name), entry) for entry in opened]
    except OSError as error:
        if trouble := machine_trouble(error):
            raise MachineError(f"{folder}: {trouble}") from error
        raise UserError(
            f"{folder}: the folder cannot be read ({error.strerror}); correct its permissions or "
            "move it out of the data"
        ) from error
    keyed.sort(key=lambda pair: pair[0])
    for (key, entry), (following, other) in pairwise(keyed):
        if key == following:
            raise UserError(
                f"{folder}: two names differ only in how their letters are composed (Unicode NFC "
                f"and NFD): {printable(entry.name)} and {printable(other.name)}; rename one of them"
            )
    return [entry for _, entry in keyed]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED_FOLDERS or name.lower() in _CLUTTER


def _kind(entry: DirEntry) -> EntryKind:
    """What an entry is or leads to; "broken" for a link whose end cannot be reached."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        link = entry.is_symlink()
        return "broken" if link and not Path(entry.path).exists() else "other"
    except OSError:  # a circle of links, or no permission on the way
        return "broken"


def _is_picture(entry: DirEntry, kind: EntryKind) -> bool:
    ending = _ending(entry.name)
    if ending in EXTENSIONS:
        return kind in ("file", "broken")
    return kind == "file" and ending not in _NO_PICTURES and _looks_like_picture(entry.path)


def _looks_like_picture(path: str) -> bool:
    try:
        with Path(path).open("rb", buffering=0) as file:
            return _SIGNATURES.match(file.read(_HEAD)) is not None
    except OSError as error:
        if trouble := machine_trouble(error):
            raise MachineError(f"{path}: {trouble}") from error
        return False


def _walk(
    folder: Path, real: Path, folders: set[Path], files: set[Path], left_out: Inventory
) -> Iterator[Path]:
    """Pictures below `folder`, whose resolved path is `real`; the sets hold what was seen."""
    for entry in _entries(folder):
        if _hidden(entry.name):
            left_out.hidden += not _is_clutter(entry.name)
        elif (kind := _kind(entry)) == "folder":
            path = folder / entry.name
            target = _target(path, entry, real)
            if target not in folders:
                folders.add(target)
                yield from _walk(path, target, folders, files, left_out)
        elif _is_picture(entry, kind):
            path = folder / entry.name
            target = _target(path, entry, real)
            if target not in files:
                files.add(target)
                yield path
        elif kind == "file":
            left_out.others[printable(_ending(entry.name)) or "without ending"] += 1
        elif kind == "broken":
            left_out.broken += 1
        else:
            left_out.special += 1


def _is_clutter(name: str) -> bool:
    """Whether systems put such files everywhere, so that they need no word."""
    lowered = name.lower()
    return lowered in _CLUTTER or lowered in _IGNORED_FOLDERS or name.startswith("._")


def _target(path: Path, entry: DirEntry, real_parent: Path) -> Path:
    linked = entry.is_symlink()
    return Path(os.path.realpath(path)) if linked else real_parent / entry.name


def _ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if stem and dot else ""


def _files(count: int, kind: str, kinds: str = "") -> str:
    return f"1 file is {kind}" if count == 1 else f"{count} files are {kinds or kind + 's'}"
