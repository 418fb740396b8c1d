"""Comparing two versions as a job: pictures are chosen, `cvgssl predict` classifies them.

What the first version said when the newest kept pictures came is compared with what the second
says of them now. Where the first has not answered anything yet, both name the pool's pictures.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cvgssl.recognizer.config import EXPORTED
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import read_json, write_json
from cvgssl.runtime.parsing import parsing
from cvgssl.station.answers import Answers
from cvgssl.station.comparing import (
    MOST_COMPARED,
    Comparison,
    GivenAnswer,
    compare,
    given_before,
    learned_pictures,
    read_given,
)
from cvgssl.station.config import StationConfig
from cvgssl.station.evidence import About
from cvgssl.station.jobs import Job, Jobs
from cvgssl.station.models import Version

FOLDER, TASK = "compare", "compare"
_BEFORE, _AFTER, _PICTURES, _KEPT = "before.jsonl", "after.jsonl", "pictures", "kept.json"


@dataclass(frozen=True)
class Compared:
    """of_kept: whether the pictures are those of answers, by hash; else the pool's, by name."""

    comparison: Comparison
    of_kept: bool


class ComparisonJobs:
    """Comparisons of a station, each in a folder of its own until it is asked for again.

    pool: gives the folder of pictures that is labelled, None where there is none.
    """

    def __init__(
        self,
        config: StationConfig,
        jobs: Jobs,
        answers: Answers,
        pool: Callable[[], Path | None],
    ) -> None:
        self._config, self._jobs, self._answers, self._pool = config, jobs, answers, pool
        jobs.after[TASK] = self._clear

    def ask(self, before: Version, after: Version, who: str) -> None:
        """Have them compared; raises UserError where there are no pictures."""
        if before.number == after.number:
            raise UserError("choose two versions")
        state = self.job(before.number, after.number)
        if state is not None and not state.is_over:
            return
        given = given_before(self._answers, before.number, MOST_COMPARED)
        pool = None if given else self._pool()
        if not given and pool is None:
            raise UserError("there are no pictures to compare on yet")
        place = self._place(before.number, after.number)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if pool is None:
            pictures = place / _PICTURES
            given = self._linked(given, pictures)
            write_json(place / _KEPT, given)
            self._predict(after, pictures, place / _AFTER, who)
        else:
            self._predict(before, pool, place / _BEFORE, who)
            self._predict(after, pool, place / _AFTER, who)

    def job(self, before: int, after: int) -> Job | None:
        """What classifies the pictures by the second version, which comes last."""
        out = str(self._place(before, after) / _AFTER)
        return next((job for job in reversed(self._jobs.jobs()) if out in job.words), None)

    def result(
        self,
        versions: tuple[About, About],
        numbers: tuple[int, int],
        truths: Mapping[str, str],
        labels: Mapping[str, tuple[str, str]],
    ) -> Compared | None:
        """What came of it; None where that is not there yet.

        versions: what is known of them. truths: classes by hash of the picture, of reviews.
        labels: hash and class of labelled pictures of the pool, by name.
        """
        place = self._place(*numbers)
        kept = place / _KEPT
        if not (place / _AFTER).is_file() or not (kept.is_file() or (place / _BEFORE).is_file()):
            return None
        classes = (versions[0].classes, versions[1].classes)
        if kept.is_file():
            with parsing(kept, "answers to compare"):
                before = {name: GivenAnswer(*values) for name, values in read_json(kept).items()}
            hashes = {name: sha256 for name, (sha256, _) in labels.items()}
            learned = learned_pictures(versions[0], hashes) | learned_pictures(versions[1], hashes)
            after = read_given(place / _AFTER, place / _PICTURES)
            return Compared(compare(before, after, classes, truths, learned), of_kept=True)
        folder = self._pool()
        if folder is None:
            return None
        before = read_given(place / _BEFORE, folder)
        after = read_given(place / _AFTER, folder)
        named = {name: label for name, (_, label) in labels.items()}
        learned = {name for version in versions for name, _ in version.labels}
        return Compared(compare(before, after, classes, named, learned), of_kept=False)

    def _linked(self, given: Mapping[str, GivenAnswer], folder: Path) -> dict[str, GivenAnswer]:
        """The pictures in a folder by their hashes, which stay while room is made elsewhere."""
        folder.mkdir()
        linked = {}
        for sha256, answer in given.items():
            path = self._answers.pictures.path(sha256)
            if path is None:
                continue
            try:
                os.link(path, folder / sha256)
            except OSError:  # a file system without links
                shutil.copyfile(path, folder / sha256)
            linked[sha256] = answer
        return linked

    def _clear(self, job: Job) -> None:
        """Remove the links, without which the pictures can make room; what was said stays."""
        pictures = Path(job.words[2])
        if pictures.name == _PICTURES and pictures.parent.parent == self._config.folder / FOLDER:
            shutil.rmtree(pictures, ignore_errors=True)

    def _predict(self, version: Version, pictures: Path, out: Path, who: str) -> None:
        words: list[str | Path] = [
            "predict",
            version.path,
            pictures,
            "--jsonl",
            out,
            "--skip-corrupt",
            "true",
        ]
        if self._config.unknown:
            words += ["--unknown", "true"]
        if self._config.runtime != "auto" and version.path.suffix.lower() not in EXPORTED:
            words += ["--runtime", self._config.runtime]
        words += ["--max-megapixels", str(self._config.max_megapixels)]
        self._jobs.ask(TASK, words, who)

    def _place(self, before: int, after: int) -> Path:
        return self._config.folder / FOLDER / f"{before:04}-{after:04}"
