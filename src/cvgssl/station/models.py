"""The recognizers of a station: numbered versions, never changed, one of them live."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.finding import find_recognizer, is_fitted
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import new_folder, sha256_file
from cvgssl.station.events import EventLog

ADDED, LIVE = "model added", "model live"
FOLDER = "models"


@dataclass(frozen=True)
class Version:
    """number: from 1. name: it had before it was copied. path: of the copy, a file or a folder.

    sha256: of all its files. at: when it was added, UTC.
    """

    number: int
    name: str
    path: Path
    sha256: str
    at: str


class Models:
    """The versions of the station in `folder`, as its log tells them."""

    def __init__(self, folder: Path, log: EventLog) -> None:
        self.folder, self.log = folder / FOLDER, log

    def versions(self) -> list[Version]:
        """All, in the order in which they were added."""
        return [
            Version(
                event.facts["number"],
                event.facts["name"],
                self._place(event.facts["number"]) / event.facts["file"],
                event.facts["sha256"],
                event.at,
            )
            for event in self.log.events(ADDED)
        ]

    def live(self) -> Version | None:
        """The version that answers, if there is one."""
        numbers = [event.facts["number"] for event in self.log.events(LIVE)]
        return self.version(numbers[-1]) if numbers else None

    def version(self, number: int) -> Version:
        """Raises UserError where there is none of that number."""
        versions = self.versions()
        for each in versions:
            if each.number == number:
                return each
        last = f"; there are 1 to {versions[-1].number}" if versions else ""
        raise UserError(f"version {number}: there is none{last}")

    def add(self, source: Path, who: str) -> Version:
        """Copy a recognizer in; one that is there already, byte for byte, is not copied again.

        Raises UserError for what is no recognizer.
        """
        path = _meant(source)
        digest = hash_recognizer(path)
        with self.log.alone():
            versions = self.versions()
            for each in versions:
                if each.sha256 == digest:
                    return each
            number = len(versions) + 1
            place = self._place(number)
            shutil.rmtree(place, ignore_errors=True)  # of a copy that was never told of
            with new_folder(place, "--model") as aside:
                copy = shutil.copytree if path.is_dir() else shutil.copy2
                copy(path, aside / path.name)
                if hash_recognizer(aside / path.name) != digest:
                    raise UserError(f"--model {source}: was changed while it was copied")
            added = self.log.append(
                ADDED, who, number=number, name=str(source), file=path.name, sha256=digest
            )
        return Version(number, str(source), place / path.name, digest, added.at)

    def go_live(self, number: int, who: str) -> Version:
        """Make a version answer from now on; raises UserError where there is none."""
        version = self.version(number)
        if self.live() != version:
            self.log.append(LIVE, who, number=number)
        return version

    def _place(self, number: int) -> Path:
        return self.folder / f"{number:04}"


def hash_recognizer(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a folder."""
    if not path.is_dir():
        return sha256_file(path)
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        name = file.relative_to(path).as_posix().encode("utf-8", "surrogateescape")
        digest.update(name + b"\0" + sha256_file(file).encode())
    return digest.hexdigest()


def _meant(source: Path) -> Path:
    """The folder of a fitted recognizer, or the file of another one."""
    if is_fitted(source):
        return source
    return find_recognizer(PredictOptions(model=source, images=(source,)))
