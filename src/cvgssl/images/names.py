r"""Names of pictures: one form to compare them by, and what people write for them in lists.

A picture's name is its path relative to the data folder, with slashes, in Unicode's composed
form (NFC). macOS stores decomposed letters; by the composed form both systems give the same
order, draws and look-ups. Files are opened by the path that the disk has. Lists hold bytes that
are no UTF-8 as \xNN, and are understood so.
"""

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line

_ESCAPED_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")
_LONGEST_PATH = 4096  # of every system, in bytes
_MOST_MISSING = 10_000  # paths of a list; one of that many is for another folder


def comparable(name: str) -> str:
    """The form of a name or path by which it is compared, ordered and kept: composed letters.

    A text longer than any path stays as it is: composing takes time by the square of its marks.
    """
    plain = name.isascii() or len(name) > _LONGEST_PATH
    return name if plain else unicodedata.normalize("NFC", name)


def name_bytes(name: str) -> bytes:
    """UTF-8 of a name, for hashes; bytes of the disk that are no UTF-8 stay what they are."""
    return name.encode("utf-8", "surrogateescape")


def is_utf8(name: str) -> bool:
    """Whether the bytes of a name on disk are UTF-8, so that a text file can hold it."""
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


def text_form(name: str) -> str:
    r"""A name as a text file can hold it: bytes that are no UTF-8 become \xNN."""
    return name if is_utf8(name) else name_bytes(name).decode("utf-8", "backslashreplace")


def from_text_form(text: str) -> str:
    r"""The name on disk that `text_form` gave as `text`; \xNN of UTF-8 bytes stay as they are."""
    return _ESCAPED_BYTE.sub(lambda match: chr(0xDC00 + int(match[1], 16)), text)


def spellings(written: str) -> list[str]:
    """Paths that a person may have meant, as written first; all but that with plain slashes."""
    bare = written.strip()
    slashes = bare.replace("\\", "/")
    return list(dict.fromkeys((written, bare, posixpath.normpath(slashes) if slashes else "")))


class KnownNames:
    """The names of a data set, to be looked up as people write them in lists."""

    def __init__(self, names: Iterable[str], root: Path | None = None) -> None:
        """names: as `picture_names` gives them. root: the data folder or split CSV, if known."""
        self._names = {name: name for name in names}
        for name in list(self._names):  # as a text file or a spreadsheet program has them
            for text in (text_form(name), name.strip()):
                self._names.setdefault(text, name)
        self._root = root if root is None or not root.is_file() else root.parent
        self._below = None if self._root is None else _Below(self._root)
        self._files: dict[str, str] | None = None
        self._missing = _Missing(" are no pictures of the data")

    def find(self, written: str) -> str | None:
        r"""The name that is meant, or None.

        Understood are backslashes, `./`, `a//b`, absolute paths and paths from the working
        folder that lead below the data folder, the data folder's own name in front, and other
        paths to the same file (links). Raises UserError when 10,000 others were asked for.
        """
        texts = spellings(comparable(written))
        for text in texts:
            if text in self._names:
                return self._names[text]
        name = None
        if self._below is not None and self._root is not None and texts[-1]:
            known = (inside for inside in self._below.places(texts[-1]) if inside in self._names)
            inside = next(known, None)
            name = self._by_file(texts[-1], self._root) if inside is None else self._names[inside]
        if name is None:
            self._missing.add(written)
        return name

    def _by_file(self, path: str, root: Path) -> str | None:
        """The name of the real file that `path` leads to; all names are resolved once for it."""
        places = [place for place in (root / path, Path(path)) if _is_file(place)]
        if not places:
            return None
        if self._files is None:
            self._files = {os.path.realpath(root / name): name for name in self._names.values()}
        return next(
            (name for place in places if (name := self._files.get(os.path.realpath(place)))), None
        )


class FilesBelow:
    """Finds files below a folder by names of either Unicode form and either kind of slash."""

    def __init__(self, folder: Path, source: Path | None = None) -> None:
        """source: the list that has the names, for messages."""
        self._folder = folder
        self._base = str(folder)
        self._own_name = f"{comparable(folder.absolute().name)}/"
        self._listed: dict[Path, dict[str, str]] = {}
        of = f" of {source}" if source else ""
        self._missing = _Missing(f"{of} lead to no file below its folder")

    def find(self, written: str) -> Path | None:
        """The file, under the name that it has on disk; None when there is none.

        Raises UserError when 10,000 files that are not there were asked for.
        """
        texts = spellings(written)
        plain = comparable(texts[-1])
        if "\\x" in written:
            texts.append(from_text_form(written.strip()))
        if plain.startswith(self._own_name):  # as seen from the folder above
            texts.append(plain.removeprefix(self._own_name))
        for text in texts:
            # not with Path: lists have hundreds of thousands of lines
            if text and os.path.isfile(os.path.join(self._base, text)):  # noqa: PTH113, PTH118
                return self._folder / text
        by_form = (self._by_form(text) for text in texts if not text.isascii())
        path = next((path for path in by_form if path is not None), None)
        if path is None:
            self._missing.add(written)
        return path

    def _by_form(self, text: str) -> Path | None:
        """Part by part, the entry with the same composed form."""
        place = self._folder
        for part in Path(text).parts:
            if part in ("/", ".."):
                place = place / part
                continue
            actual = self._names_in(place).get(comparable(part))
            if actual is None:
                return None
            place = place / actual
        return place if _is_file(place) else None

    def _names_in(self, folder: Path) -> dict[str, str]:
        if folder not in self._listed:
            try:
                names = [path.name for path in folder.iterdir()]
            except OSError:  # no folder, or none that can be read
                names = []
            self._listed[folder] = {comparable(name): name for name in names}
        return self._listed[folder]


class _Missing:
    """Counts paths that lead nowhere, for each takes ten times as long as one that is known."""

    def __init__(self, what: str) -> None:
        self._what, self._count, self._first = what, 0, ""

    def add(self, written: str) -> None:
        """One more; raises UserError for too many."""
        self._first = self._first or written
        self._count += 1
        if self._count == _MOST_MISSING:
            raise UserError(
                f"{self._count:,} paths and perhaps more{self._what}; the first is "
                f"{one_line(self._first)}"
            )


class _Below:
    """What a path may be as a path relative to a folder."""

    def __init__(self, root: Path) -> None:
        self._ends = _absolute(root).split("/")
        self._here = _absolute(Path())
        self._bases = dict.fromkeys((_absolute(root), _absolute(Path(os.path.realpath(root)))))

    def places(self, path: str) -> Iterable[str]:
        """All that it may be, the likeliest first."""
        parts, ends = path.split("/"), self._ends
        for count in range(min(len(parts), len(ends)), 0, -1):
            if parts[:count] == ends[-count:]:
                yield "/".join(parts[count:])
        for base in self._bases:
            for start in (base, self._here):
                # with os.path, for drives; not with Path, as in FilesBelow
                whole = os.path.join(start, path)  # noqa: PTH118
                inside = os.path.normpath(whole).replace(os.sep, "/")
                if inside.startswith(base.rstrip("/") + "/"):
                    yield inside.removeprefix(base.rstrip("/") + "/")


def _absolute(path: Path) -> str:
    return comparable(Path(os.path.normpath(Path.cwd() / path)).as_posix())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, for example
        return False
