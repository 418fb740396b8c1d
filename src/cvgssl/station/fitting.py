"""From the labels of the pool and of reviews to the next version: `cvgssl fit` as a job."""

import shutil
from collections.abc import Iterable
from pathlib import Path, PurePath

from cvgssl.runtime.errors import UserError
from cvgssl.selection.label_list import UNSURE, read_labels, write_labels
from cvgssl.station.answering import Answering
from cvgssl.station.config import StationConfig
from cvgssl.station.jobs import Job, Jobs
from cvgssl.station.labels import Labels
from cvgssl.station.pool import Pool
from cvgssl.station.review import REVIEWED, LearnedPicture, Reviews

FIT = "fit"
FOLDER = "fits"  # of recognizers on their way to a version


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
        given, last = labels.all()
        own = [
            LearnedPicture(label.picture, label.sha256, label.label, label.number)
            for label in given
            if label.label != UNSURE
        ]
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


def write_learned(
    pool: Iterable[LearnedPicture], reviewed: Iterable[LearnedPicture], path: Path
) -> int:
    """Write the labels of the next fit as `cvgssl fit POOL --labels PATH` takes them.

    pool: of the pool's pictures, by their names there. reviewed: of `Reviews.learned`, whose
    folder is to be given as --unlabelled. Where a picture is in both, the newer label counts.
    Gives how many there are.
    """
    labels = {picture.sha256: picture for picture in pool}
    for picture in reviewed:
        own = labels.get(picture.sha256)
        if own is None:
            labels[picture.sha256] = picture
        elif own.number < picture.number:
            labels[picture.sha256] = own._replace(label=picture.label)
    rows = [(picture.path, picture.label) for picture in labels.values()]
    write_labels(rows, path)
    return len(rows)


def _out(job: Job) -> Path:
    return Path(job.words[job.words.index("--out") + 1])
