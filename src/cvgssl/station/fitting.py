"""From the labels of the pool and of reviews to the next version: `cvgssl fit` as a job."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import counted
from cvgssl.selection.label_list import UNSURE, read_labels, write_labels
from cvgssl.station.answering import Answering
from cvgssl.station.config import StationConfig
from cvgssl.station.jobs import Job, Jobs
from cvgssl.station.labels import Labels
from cvgssl.station.lines import write_line
from cvgssl.station.pool import Pool
from cvgssl.station.review import REVIEWED, LearnedPicture, Reviews

FIT = "fit"
FOLDER = "fits"  # of recognizers on their way to a version
# what a version was called before it was copied: the last label that it knows, and how many
_MADE = re.compile(r"^(\d+)/(\d+) labels$")


@dataclass(frozen=True)
class LiveFit:
    """The live version, which was made here. labels: that it learned. since: given after those."""

    version: int
    labels: int
    since: int


class Fitting:
    """Asks for recognizers of the labels that there are, and takes them in."""

    def __init__(
        self,
        config: StationConfig,
        pool: Pool,
        reviews: Reviews,
        jobs: Jobs,
        answering: Answering,
    ) -> None:
        self._config, self._pool, self._jobs = config, pool, jobs
        self._reviews, self._answering = reviews, answering
        jobs.before[FIT] = self._prepare
        jobs.after[FIT] = self._take

    def ask(self, labels: Labels, who: str) -> int:
        """Number of the job; raises UserError where labels and reviews are too few.

        labels: of the pool.
        """
        folder = self._pool.chosen()
        own, last = _own(labels)
        if folder is not None:
            own = _present(own, folder)
        reviewed = self._reviews.learned()
        if folder is None or len({picture.label for picture in (*own, *reviewed)}) < 2:
            raise UserError("a recognizer needs labels of two classes")
        last = max([last, *(picture.number for picture in reviewed)])
        listed = self._pool.features.with_name(f"labels_{last}.csv")
        count = write_learned(own, reviewed, listed)
        words = ["fit", folder, "--class-folders", "false", "--labels", listed]
        words += ["--unlabelled", self._reviews.folder] if reviewed else []
        # the last part is what the version is called
        words += ["--out", self._config.folder / FOLDER / str(last) / f"{count} labels"]
        words += ["--encoder", *self._config.encoder, "--runtime", self._config.runtime]
        words += ["--skip-corrupt", "true"]
        words += ["--max-megapixels", self._config.max_megapixels]
        return self._jobs.ask(FIT, [str(word) for word in words], who)

    def last(self) -> Job | None:
        """The last job that was asked for."""
        return next((job for job in reversed(self._jobs.jobs()) if job.task == FIT), None)

    def learned(self, labels: Labels) -> list[LearnedPicture]:
        """Labels of the pool and of reviews, as the next recognizer learns them."""
        return merged(_own(labels)[0], self._reviews.learned())

    def from_reviews(self, learned: Iterable[LearnedPicture]) -> int:
        """How many of them have no label in the pool."""
        return sum(Path(each.path).parent == self._reviews.folder for each in learned)

    def waits(self, job: Job) -> bool:
        """Whether what a job made is still to be made live: neither it nor a newer one is."""
        live, versions = self._answering.live, self._answering.versions()
        made = [each.number for each in versions if _call(each.name) == _call(str(_out(job)))]
        return live is None or not made or live.version.number < made[-1]

    def live(self, learned: Iterable[LearnedPicture]) -> LiveFit | None:
        """The live version, where it was made of labels here; learned: labels of now."""
        live = self._answering.live
        if live is None or (match := _MADE.search(_call(live.version.name))) is None:
            return None
        last, count = int(match[1]), int(match[2])
        since = sum(each.number > last for each in learned)
        return LiveFit(live.version.number, count, since)

    def _clear(self, job: Job) -> None:
        # what a station that was killed had made and not taken in
        shutil.rmtree(_out(job).parent, ignore_errors=True)

    def _prepare(self, job: Job) -> None:
        """The same, and the list's reviewed pictures are called by where the station is now."""
        self._clear(job)
        listed = Path(job.words[job.words.index("--labels") + 1])
        if listed.is_file():
            lines = read_labels(listed, "--labels")
            write_labels([(self._place(line.path), line.label) for line in lines], listed)

    def _place(self, written: str) -> str:
        path = PurePath(written)
        is_reviewed = path.parent.name == REVIEWED and len(path.name) == 64
        return str(self._reviews.folder / path.name) if is_reviewed else written

    def _take(self, job: Job) -> None:
        self._answering.add(_out(job), job.who)
        self._clear(job)


def _own(labels: Labels) -> tuple[list[LearnedPicture], int]:
    """Those of the pool that name a class, and the number of the last event."""
    given, last = labels.all()
    own = [
        LearnedPicture(each.picture, each.sha256, each.label, each.number)
        for each in given
        if each.label != UNSURE
    ]
    return own, last


def _present(own: list[LearnedPicture], folder: Path) -> list[LearnedPicture]:
    """Those that were not deleted since, which `fit` refuses; their labels count when they return.

    Pictures that cannot be read `fit` leaves out itself.
    """
    present = [each for each in own if (folder / each.path).is_file()]
    if missing := len(own) - len(present):
        message = f"{counted(missing, 'label')} left out, of pictures that are not there"
        write_line(level="warning", message=message)
    return present


def merged(
    pool: Iterable[LearnedPicture], reviewed: Iterable[LearnedPicture]
) -> list[LearnedPicture]:
    """Labels of both; where a picture is in both, the newer label counts, at its path in the pool.

    pool: of the pool's pictures, by their names there. reviewed: of `Reviews.learned`.
    """
    labels = {picture.sha256: picture for picture in pool}
    for picture in reviewed:
        own = labels.get(picture.sha256)
        if own is None:
            labels[picture.sha256] = picture
        elif own.number < picture.number:
            labels[picture.sha256] = picture._replace(path=own.path)
    return list(labels.values())


def write_learned(
    pool: Iterable[LearnedPicture], reviewed: Iterable[LearnedPicture], path: Path
) -> int:
    """Write `merged` as `cvgssl fit POOL --labels PATH --unlabelled REVIEWED` takes it.

    Gives how many labels there are.
    """
    rows = [(each.path, each.label) for each in merged(pool, reviewed)]
    write_labels(rows, path)
    return len(rows)


def _call(path: str) -> str:
    """What a recognizer made here is called, wherever the station was then."""
    return "/".join(PurePath(path).parts[-2:])


def _out(job: Job) -> Path:
    return Path(job.words[job.words.index("--out") + 1])
