"""The recognizers of a station: numbered versions, never changed, one of them live."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvgssl.recognizer.answers import path_text
from cvgssl.recognizer.config import OPENVINO_SUFFIX, WEIGHTS_SUFFIX, PredictOptions
from cvgssl.recognizer.finding import find_recognizer, is_fitted
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import new_folder, sha256_file
from cvgssl.runtime.yaml_files import is_text
from cvgssl.station.events import Event, EventLog

ADDED, LIVE = "model added", "model live"
VERSIONS_FOLDER = "models"
_NAME = "recognizer"  # of every copy, before its suffix


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
        self.folder, self.log = folder / VERSIONS_FOLDER, log

    def versions(self) -> list[Version]:
        """All, in the order in which they were added."""
        return [self._version(event) for event in self.log.events(ADDED)]

    def live(self) -> Version | None:
        """The version that answers, if there is one."""
        numbers = [event.facts.get("number") for event in self.log.events(LIVE)]
        return self.version(numbers[-1]) if numbers else None

    def version(self, number: object) -> Version:
        """Raises UserError where there is none of that number."""
        versions = self.versions()
        for version in versions:
            if version.number == number:
                return version
        last = f"; there are 1 to {versions[-1].number}" if versions else ""
        raise UserError(f"version {number}: there is none{last}")

    def add(self, source: Path, who: str) -> Version:
        """Copy a recognizer in; one that is there already, byte for byte, is not copied again.

        Raises UserError for what is no recognizer.
        """
        files = files_of(source)
        digest = digest_of(files)
        with self.log.alone():
            versions = self.versions()
            for version in versions:
                if version.sha256 == digest:
                    return version
            number = len(versions) + 1
            place = self._place(number)
            shutil.rmtree(place, ignore_errors=True)  # of a copy that was never in the log
            with new_folder(place, "version") as aside:
                copies = {name: aside / name for name in files}
                for name, path in files.items():
                    copies[name].parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, copies[name])
                if digest_of(copies) != digest:
                    raise UserError(f"{source}: was changed while it was copied")
            added = self.log.append(
                ADDED,
                who,
                number=number,
                name=path_text(source),
                file=next(iter(files)).split("/")[0],
                sha256=digest,
            )
        return self._version(added)

    def go_live(self, number: int, who: str) -> Version:
        """Make a version answer from now on; raises UserError where there is none."""
        version = self.version(number)
        if self.live() != version:
            self.log.append(LIVE, who, number=number)
        return version

    def is_whole(self, version: Version) -> bool:
        """Whether its files are still those that were added."""
        try:
            return digest_of(files_of(version.path)) == version.sha256
        except (OSError, UserError):
            return False

    def _version(self, added: Event) -> Version:
        number: Any = added.facts.get("number")
        texts: list[Any] = [added.facts.get(name) for name in ("name", "file", "sha256")]
        if type(number) is not int or not all(isinstance(t, str) and is_text(t) for t in texts):
            raise self.log.damaged(f"row {added.number}")
        name, file, sha256 = texts
        return Version(number, name, self._place(number) / file, sha256, added.at)

    def _place(self, number: int) -> Path:
        return self.folder / f"{number:04}"


def files_of(source: Path) -> dict[str, Path]:
    """The files of a recognizer by the names of their copies; the first names the recognizer.

    Raises UserError for what is no recognizer.
    """
    if is_fitted(source):
        within = sorted(path for path in source.rglob("*") if path.is_file())
        return {f"{_NAME}/{path.relative_to(source).as_posix()}": path for path in within}
    path = find_recognizer(PredictOptions(recognizer=source, pictures=(source,)))
    files = {f"{_NAME}{path.suffix}": path}
    if path.suffix.lower() == OPENVINO_SUFFIX:
        files[f"{_NAME}{WEIGHTS_SUFFIX}"] = path.with_suffix(WEIGHTS_SUFFIX)
    return files


def digest_of(files: Mapping[str, Path]) -> str:
    """SHA-256 of the names and contents of all files."""
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + sha256_file(path).encode())
    return digest.hexdigest()
