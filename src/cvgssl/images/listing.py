"""Finding the picture files below a folder, in an order that no file system decides.

Links are followed. Every real file counts once however many links lead to it, and a link back to
a folder above is not entered, so loops end. Hidden files and folders and `__MACOSX` are left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from cvgssl.images.reader import EXTENSIONS
from cvgssl.runtime.errors import UserError

_IGNORED_FOLDERS = frozenset(("__macosx", "$recycle.bin", "system volume information"))

NaturalKey = tuple[tuple[int, str], ...]


def list_pictures(folder: Path) -> list[Path]:
    """All picture files in `folder` and below, by extension, in natural order (2 before 10).

    Raises UserError when `folder` is no folder; an empty list is the caller's to judge.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    real = folder.resolve()
    return list(_walk(folder, real, {real, *real.parents}, set()))


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in `folder` that may hold pictures, in natural order."""
    return [path for path in entries(folder) if path.is_dir()]


def is_picture(path: Path) -> bool:
    """Whether the name ends like a picture's and the path leads to a file."""
    return path.suffix.lower() in EXTENSIONS and path.is_file()


def entries(folder: Path) -> list[Path]:
    """What lies directly in `folder`, without hidden things, in natural order."""
    shown = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in _IGNORED_FOLDERS
    ]
    return sorted(shown, key=lambda path: natural(path.name))


def natural(name: str) -> NaturalKey:
    """Sort key under which numbers inside names compare as numbers; different names differ."""
    parts = re.split("([0-9]+)", name)  # text, number, text, number, ..., text
    return tuple((int(part), part) if i % 2 else (0, part) for i, part in enumerate(parts))


def natural_path(path: PurePath) -> tuple[NaturalKey, ...]:
    """Sort key of a path: part by part, each in natural order."""
    return tuple(natural(part) for part in path.parts)


def _walk(folder: Path, real: Path, folders: set[Path], files: set[Path]) -> Iterator[Path]:
    """Pictures below `folder`, whose resolved path is `real`; the sets hold what was seen."""
    for path in entries(folder):
        if path.is_dir():
            target = _target(path, real)
            if target not in folders:
                folders.add(target)
                yield from _walk(path, target, folders, files)
        elif is_picture(path):
            target = _target(path, real)
            if target not in files:
                files.add(target)
                yield path


def _target(path: Path, real_parent: Path) -> Path:
    return path.resolve() if path.is_symlink() else real_parent / path.name
