"""Pictures of a request to answers, by the live version or another one."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvgssl.heads.verdicts import KNOWN
from cvgssl.images.decoding import Square, cores, decode_bytes
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.finding import find_recognizer
from cvgssl.recognizer.predict import Recognizing, open_recognizer
from cvgssl.runtime.errors import UserError
from cvgssl.station.config import StationConfig
from cvgssl.station.gathering import Gatherer, RecognizedPicture
from cvgssl.station.models import VERSIONS_FOLDER, Models, Version

_KEPT = 2  # versions that are in memory beside the live one


@dataclass(frozen=True)
class SentPicture:
    """A file of a request. name: as the client calls it, for the answer alone."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Loaded:
    """A version in memory."""

    version: Version
    recognizer: Recognizing


class Answering:
    """Recognizers in memory, threads that decode, and the one that recognizes.

    live: the version that answers where a request names none; None while there is none, for the
    `problem`.
    """

    def __init__(self, models: Models, config: StationConfig, live: Version | None) -> None:
        """Load the version that is to answer; raises UserError where it cannot be."""
        self.models, self.config = models, config
        self.gatherer = Gatherer(config.queue, config.batch_size, config.batch_wait_ms / 1000)
        self._decoding = ThreadPoolExecutor(cores(), thread_name_prefix="decode")
        # one, so that versions which take long to load hold no thread of other requests
        self._opening = ThreadPoolExecutor(1, thread_name_prefix="load")
        # the second only while the log is read, or a version is copied in
        self._loading, self._log = threading.Lock(), threading.Lock()
        self._loaded: dict[int, Loaded] = {}
        self.problem = "no recognizer is live yet"
        self.live = None if live is None else self._load(live)

    def use(self, number: int) -> None:
        """Have a version answer from now on, where a request names none.

        Raises LookupError where there is none, and UserError where it cannot be used.
        """
        self.live = self.load(number)

    def add(self, source: Path, who: str) -> Version:
        """Copy a recognizer in as the next version; raises UserError for what is none."""
        with self._log:
            return self.models.add(source, who)

    def versions(self) -> list[Version]:
        """All versions, by number."""
        with self._log:  # it is for one thread at a time
            return self.models.versions()

    def load(self, number: int) -> Loaded:
        """A version by number, read from the disk if it must be.

        Raises LookupError where there is none, and UserError where it cannot be used.
        """
        with self._loading:
            if self.live is not None and self.live.version.number == number:
                return self.live
            loaded = self._loaded.pop(number, None)
            if loaded is None:
                versions = {each.number: each for each in self.versions()}
                loaded = self._load(versions[number])
            self._loaded[number] = loaded  # the last used is the last to go
            while len(self._loaded) > _KEPT:
                del self._loaded[next(iter(self._loaded))]
            return loaded

    async def loaded(self, number: int) -> Loaded:
        """As `load`, for requests; cancelled, the version is loaded all the same, for the next."""
        live = self.live
        if live is not None and live.version.number == number:
            return live
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._opening, self.load, number))

    async def answer(self, pictures: Sequence[SentPicture], loaded: Loaded) -> list[dict[str, Any]]:
        """What is said of each picture, as JSON values; raises BusyError."""
        with self.gatherer.place_for(len(pictures)):
            asked = [asyncio.ensure_future(self._one(each, loaded)) for each in pictures]
            try:
                return list(await asyncio.gather(*asked))
            finally:  # after an error or the end of the time none of them works on unseen
                for each in asked:
                    each.cancel()
                await asyncio.gather(*asked, return_exceptions=True)

    async def _one(self, picture: SentPicture, loaded: Loaded) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        with self.gatherer.decoding():
            squares = await loop.run_in_executor(self._decoding, self._decode, picture, loaded)
        about = {"name": picture.name, "sha256": squares[0].digest}
        reason = next((square.reason for square in squares if square.pixels is None), "")
        if reason:
            return about | {"error": reason}
        recognition = await asyncio.wrap_future(self.gatherer.ask(loaded.recognizer, squares))
        return about | _values(loaded.recognizer.classes, recognition)

    def _decode(self, picture: SentPicture, loaded: Loaded) -> list[Square]:
        # names of clients reach neither the disk nor messages
        return [
            decode_bytes(picture.data, geometry, self.config.max_megapixels, Path("picture"))
            for geometry in loaded.recognizer.geometries
        ]

    def close(self) -> None:
        """Finish what was asked."""
        self._opening.shutdown(cancel_futures=True)
        self._decoding.shutdown()
        self.gatherer.close()

    def _load(self, version: Version) -> Loaded:
        options = PredictOptions(
            recognizer=version.path,
            pictures=(version.path,),
            unknown=self.config.unknown,
            runtime=self.config.runtime,
            batch_size=self.config.batch_size,
        )
        try:
            return Loaded(version, open_recognizer(find_recognizer(options), options))
        except UserError as error:
            if not self.models.is_whole(version):
                raise UserError(
                    f"version {version.number}: its files are not those that were added; put back "
                    f"a copy of {VERSIONS_FOLDER}/{version.path.parent.name}, or make another "
                    "version live"
                ) from error
            if self.config.unknown:
                raise UserError(f"{error}; or give --unknown false") from error
            raise


def _values(classes: Sequence[str], recognition: RecognizedPicture) -> dict[str, Any]:
    best = int(recognition.probabilities.argmax())
    label = classes[best]
    return {
        "answer": label if recognition.verdict in (None, KNOWN) else recognition.verdict,
        "class": label,
        "probability": round(float(recognition.probabilities[best]), 6),
        "probabilities": {
            name: round(float(number), 6)
            for name, number in zip(classes, recognition.probabilities, strict=True)
        },
    }
