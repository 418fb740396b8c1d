"""Pictures brought into a folder of their answer, never over another file."""

import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from cvgssl.heads.verdicts import NOT_SURE, UNKNOWN
from cvgssl.recognizer.config import SortMode
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import remove_left_by_kills, writing
from cvgssl.runtime.parsing import printable

_LONGEST = 255  # bytes of a name, on most file systems


class Sorter:
    """Brings pictures into FOLDER/ANSWER/.

    A picture that is there already, by its content, is not brought twice; another one of the same
    name gets a number: `a.png`, `a (2).png`.
    """

    def __init__(self, folder: Path, mode: SortMode, classes: Sequence[str]) -> None:
        """Raises UserError for a class whose name cannot be that of a folder.

        folder: locked, for what a killed process left half-copied in it is removed.
        """
        self.folder, self._move = folder, mode == "move"
        self._answers = (*classes, UNKNOWN, NOT_SURE)
        for name in classes:
            if not _is_folder_name(name):
                raise UserError(
                    f"--sort-into {folder}: a class is called {printable(name)!r}, which no folder "
                    "can be called; rename the class and make the recognizer again"
                )
        for answer in self._answers:
            remove_left_by_kills(folder / answer)

    def bring(self, path: Path, answer: str) -> Path | None:
        """Copy or move the picture `path`; gives its new place, None when it is gone meanwhile.

        Raises OSError that names what cannot be read, written or removed.
        """
        try:
            before = path.stat()
            target, is_renamed = self._bring(path, answer)
            # not a new picture that has come under this name meanwhile
            if self._move and not is_renamed and os.path.samestat(before, path.stat()):
                path.unlink()
        except FileNotFoundError:
            if path.exists():
                raise
            return None
        return target

    def has(self, path: Path) -> bool:
        """Whether an earlier call has copied `path`, by name, size and time, or else content."""
        if self._move:
            return False
        try:
            return any(
                filecmp.cmp(path, place)
                for answer in self._answers
                for place in _taken(self.folder / answer / path.name)
            )
        except OSError:  # the picture is gone or cannot be read
            return False

    def _bring(self, path: Path, answer: str) -> tuple[Path, bool]:
        """The new place, and whether the file itself went there."""
        first = self.folder / answer / path.name
        target = first
        for target in _names(first):
            if not target.exists():
                break
            if filecmp.cmp(path, target, shallow=False):
                return target, False
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._move and not path.is_symlink():
            with suppress(OSError):  # another disk, to which it is copied
                return path.rename(target), True
        with writing(target) as aside:
            with path.open("rb") as source, aside.open("wb") as copy:
                shutil.copyfileobj(source, copy)  # copyfile would blame the source for a full disk
            with suppress(OSError):  # times, which some shares cannot set
                shutil.copystat(path, aside)
        return target, False


def _names(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_stem(f"{path.stem} ({number})")


def _taken(path: Path) -> Iterator[Path]:
    for name in _names(path):
        if not name.exists():
            return
        yield name


def _is_folder_name(name: str) -> bool:
    usable = name not in (".", "..") and not set(name) & {"/", "\\", "\0"}
    return usable and 0 < len(name.encode("utf-8", "surrogateescape")) <= _LONGEST
