"""The pictures that are labelled: a folder that somebody chose, or what was uploaded.

Requests name pictures only by their names in the features table, and folders by their place in a
list, so no path of a request reaches the disk.
"""

import hashlib
import io
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.listing import Inventory, list_pictures, subfolders
from cvgssl.images.names import is_utf8
from cvgssl.images.reader import decode, read_picture
from cvgssl.report.gallery import pictures_below
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.files import writing
from cvgssl.station.events import LOG, EventLog

CHOSEN, BROUGHT = "pool", "picture brought"
FOLDER, UPLOADS = "pool", "uploads"
FEATURES, CHECK = "features.npz", "check.json"
_DEPTH = 2  # folders below those of --pictures that can be chosen
_MOST_FOLDERS = 200
_DARK = 64  # of 255: pictures whose brightest pixel is below
_KEPT = 64 * 2**20  # bytes of pictures to be shown that are in memory


@dataclass(frozen=True)
class Choice:
    """A folder that can be chosen. name: shown. pictures: in it and below."""

    name: str
    folder: Path
    pictures: int


class Pool:
    """What is chosen, and its pictures as browsers show them."""

    def __init__(self, folder: Path, roots: Sequence[Path], log_path: Path, most: int) -> None:
        """folder: of the station, resolved. roots: folders that may be chosen, with what is below.

        most: megapixels of a picture.
        """
        self.folder, self._most = folder, most
        self.uploads = folder / UPLOADS
        self._roots = list(dict.fromkeys(root.resolve() for root in roots))
        self._names = _root_names(self._roots)
        self._log = EventLog(log_path)
        self._lock = threading.Lock()
        self._called: dict[str, str] = {}  # file names of uploads, and their senders' names
        self._included = 0  # number of an event
        self._shown: OrderedDict[tuple[str, int, int, int], bytes] = OrderedDict()

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()

    @property
    def features(self) -> Path:
        """Where the embeddings of the pool are, once they are computed."""
        return self._place() / FEATURES

    @property
    def check(self) -> Path:
        """Where the findings of `data check` are."""
        return self._place() / CHECK

    def key(self) -> str | None:
        """Of what is chosen, which labels are kept by: "uploads", or the path of a folder."""
        with self._lock:
            folders = [event.facts["folder"] for event in self._log.events(CHOSEN)]
        if not folders:
            return None
        return UPLOADS if self._are_uploads(folders[-1]) else str(folders[-1])

    def chosen(self) -> Path | None:
        """The folder whose pictures are labelled, if one was chosen."""
        key = self.key()
        return None if key is None else self.folder_of(key)

    def folder_of(self, key: str) -> Path:
        """The folder that a key means."""
        return self.uploads if key == UPLOADS else Path(key)

    def choices(self) -> list[Choice]:
        """Folders that may be chosen: those with pictures, uploads the last."""
        counts = self._counts()
        return [
            Choice(self._name(folder), folder, counts[folder])
            for folder in self._folders()
            if counts[folder]
        ]

    def choose(self, name: str, who: str) -> Path:
        """Choose a folder by its name in `choices`; raises LookupError where there is none."""
        choice = next((choice for choice in self.choices() if choice.name == name), None)
        if choice is None:
            raise LookupError(name)
        key = UPLOADS if choice.folder == self.uploads else str(choice.folder)
        if self.key() != key:
            with self._lock:
                self._log.append(CHOSEN, who, folder=key)
        return choice.folder

    def upload(self, data: bytes, name: str, who: str) -> Path:
        """Keep a picture that was sent, called by what it holds; raises UserError for others.

        name: that its sender has for it; see `called`.
        """
        picture = decode(data, Path("picture"), max_megapixels=self._most)
        digest = hashlib.sha256(data).hexdigest()[:20]
        path = self.uploads / f"{digest}.{picture.kind.lower()}"
        if not path.exists():
            with writing(path) as aside:
                aside.write_bytes(data)
        if name and self.called(path.name) != name:
            with self._lock:
                self._log.append(BROUGHT, who, picture=path.name, name=name)
        return path

    def called(self, picture: str) -> str:
        """What the sender of an upload calls it; "" for other pictures."""
        with self._lock:
            for event in list(self._log.events(BROUGHT, after=self._included)):
                self._called[event.facts["picture"]] = event.facts["name"]
                self._included = event.number
            return self._called.get(picture, "")

    def path(self, name: str, key: str | None = None) -> Path:
        """The file of a picture below the folder of a key, or of what is chosen.

        Raises LookupError for others.
        """
        folder = self.chosen() if key is None else self.folder_of(key)
        if folder is None:
            raise LookupError(name)
        files, _ = pictures_below(folder, [name], "")
        with suppress(OSError):  # such as a name too long for any file
            if name in files and files[name].is_file():
                return files[name]
        raise LookupError(name)

    def shown(self, path: Path, side: int) -> bytes:
        """A picture file as JPEG with at most `side` pixels a side; raises UserError."""
        about = path.stat()  # a file that took the place of another one is another picture
        key = (str(path), about.st_mtime_ns, about.st_size, side)
        with self._lock:
            if key in self._shown:
                self._shown.move_to_end(key)
                return self._shown[key]
        made = as_jpeg(read_picture(path, max_megapixels=self._most), side)
        with self._lock:
            self._shown[key] = made
            while sum(map(len, self._shown.values())) > _KEPT:
                self._shown.popitem(last=False)
        return made

    def _place(self) -> Path:
        """What is computed of a folder has a folder of its own."""
        return self.folder / FOLDER / id_of(self.key() or "")

    def _are_uploads(self, folder: str) -> bool:
        """Whether a row of the log means what was uploaded; old ones name its path of then."""
        path = Path(folder)
        if folder == UPLOADS or path.name != UPLOADS:
            return folder == UPLOADS
        is_root = any(path.is_relative_to(root) for root in self._roots)
        return not is_root and (not path.is_dir() or (path.parent / LOG).is_file())

    def _counts(self) -> Counter[Path]:
        """Pictures in each folder and below; the disk is walked once, however deep they are."""
        counts: Counter[Path] = Counter()
        for root in (*self._roots, self.uploads):
            own: Counter[Path] = Counter()
            pictures = _pictures(root) if root.is_dir() else []
            for folder, count in Counter(path.parent for path in pictures).items():
                for above in (folder, *folder.parents):
                    own[above] += count
            counts |= own  # where one root is inside another, they are the same pictures
        return counts

    def _folders(self) -> list[Path]:
        folders: list[Path] = []
        for root in self._roots:
            below = [root]
            for _ in range(_DEPTH + 1):
                # a link leads to a folder that is listed anyway, or out of the root
                below = [each for each in below if _is_folder(each) and each.resolve() == each]
                folders += [each for each in below if is_utf8(str(each))]
                below = [each for folder in below for each in _subfolders(folder)]
        return [*dict.fromkeys(folders[:_MOST_FOLDERS]), self.uploads]

    def _name(self, folder: Path) -> str:
        """How it is shown: below the root that it belongs to."""
        for root, name in self._names.items():
            if folder == root:
                return name
            if folder.is_relative_to(root):
                return f"{name}/{folder.relative_to(root).as_posix()}"
        return UPLOADS


def _pictures(folder: Path) -> list[Path]:
    """Pictures in a folder and below, but those in folders that cannot be read.

    The other ones can be chosen all the same; `data check` of a folder above says what is wrong.
    """
    try:
        return list_pictures(folder)
    except MachineError:
        raise
    except UserError:
        pictures = []
        with suppress(UserError):
            pictures = Inventory().loose(folder)
        below = [each for each in _subfolders(folder) if not each.is_symlink()]  # no circles
        return pictures + [picture for each in below for picture in _pictures(each)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # no right on the way
        return False


def _subfolders(folder: Path) -> list[Path]:
    try:
        return subfolders(folder)
    except MachineError:
        raise
    except UserError:
        return []


def _root_names(roots: Sequence[Path]) -> dict[Path, str]:
    """Names of folders, numbered where they are the same, or what the uploads are called."""
    names: dict[Path, str] = {}
    for root in roots:
        name, number = root.name or str(root), 1
        while name in (UPLOADS, *names.values()):
            number += 1
            name = f"{root.name} ({number})"
        names[root] = name
    return names


def id_of(key: str) -> str:
    """What pages call a key of `Pool`, which may be a path of this machine."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def as_jpeg(pixels: NDArray[np.uint8], side: int) -> bytes:
    """Pixels uint8 [H, W] or [H, W, 3] as JPEG with at most `side` pixels a side.

    Pictures of few of 16 bits, which are nearly black, are made visible.
    """
    brightest = int(pixels.max(initial=0))
    if 0 < brightest < _DARK:
        pixels = (pixels.astype(np.uint16) * 255 // brightest).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
