"""Comparisons as jobs, by real commands: on the pool before any answer, then on answers."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvgssl.recognizer.predict import predict
from cvgssl.runtime.errors import UserError
from cvgssl.station.answer_rows import PROGRAM
from cvgssl.station.answers import Answers
from cvgssl.station.comparison_jobs import ComparisonJobs
from cvgssl.station.config import StationConfig
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.evidence import about
from cvgssl.station.jobs import Jobs
from cvgssl.station.models import Models, Version
from cvgssl.station.picture_store import PictureStore
from tests.station.conftest import until

pytestmark = pytest.mark.slow


class Parts:
    """Of a station with two versions, which differ in a note alone."""

    def __init__(self, folder: Path, recognizer: Path) -> None:
        folder.mkdir()
        self.folder, self.log = folder, EventLog(folder / LOG)
        self.store = PictureStore(folder, 10**8)
        self.answers = Answers(folder / LOG, self.store)
        self.jobs = Jobs(folder, folder / LOG)
        self.pool: Path | None = None
        config = StationConfig(folder=folder, runtime="torch")
        self.comparisons = ComparisonJobs(config, self.jobs, self.answers, lambda: self.pool)
        models = Models(folder, self.log)
        other = Path(shutil.copytree(recognizer, folder.with_name("other")))
        (other / "note.txt").write_text("another file")
        self.versions = [models.add(each, "anna") for each in (recognizer, other)]

    def compared(self, before: Version, after: Version) -> None:
        self.comparisons.ask(before, after, "anna")
        until(lambda: (job := self.comparisons.job(before.number, after.number)) and job.is_over)
        job = self.comparisons.job(before.number, after.number)
        assert job and job.state == "done", job


@pytest.fixture
def parts(
    tmp_path: Path, recognizer: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Parts]:
    monkeypatch.setattr("sys.executable", python)
    found = Parts(tmp_path / "station", recognizer)
    found.jobs.begin()
    yield found
    found.jobs.close()
    found.answers.close()
    found.store.close()


def test_on_the_pool_and_on_answers(parts: Parts, steel: Path) -> None:
    first, second = parts.versions
    known = (about(first), about(second))
    with pytest.raises(UserError, match="no pictures to compare on"):
        parts.comparisons.ask(first, second, "anna")
    with pytest.raises(UserError, match="two versions"):
        parts.comparisons.ask(first, first, "anna")
    assert parts.comparisons.result(known, (1, 2), {}, {}) is None
    parts.pool = steel
    parts.compared(first, second)
    labelled = known[0].labels[0][0]
    names = sorted(path.relative_to(steel).as_posix() for path in (steel / "test").glob("*/*"))
    labels = {name: ("0" * 64, Path(name).parent.name) for name in (labelled, *names)}
    found = parts.comparisons.result(known, (1, 2), {}, labels)
    assert found is not None and not found.of_kept
    every = len(list(steel.glob("*/*/*.bmp")))
    assert found.comparison.pictures == every and found.comparison.agreement == 100
    assert found.comparison.learned == 1 and found.comparison.paired is not None
    assert found.comparison.paired.pictures == len(names)
    # the first says something else of a picture by now
    pictures = sorted((steel / "test").glob("*/*"))[:3]
    for path, said in zip(pictures, predict(first.path, pictures, unknown=True), strict=True):
        data = path.read_bytes()
        told = {
            "name": path.name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "answer": "unknown" if path == pictures[0] else said.answer,
            "class": said.predicted_class,
            "probability": said.probability,
            "probabilities": dict(said.ranked()),
        }
        parts.answers.keep(told, data, version=1, source=PROGRAM)
    parts.answers.settle()
    parts.compared(first, second)
    found = parts.comparisons.result(known, (1, 2), {}, {})
    assert found is not None and found.of_kept and found.comparison.pictures == 3
    (change,) = found.comparison.changes
    assert change.picture == hashlib.sha256(pictures[0].read_bytes()).hexdigest()
    assert change.before.answer == "unknown" != change.after.answer
    assert not (parts.folder / "compare" / "0001-0002" / "pictures").exists()
    assert all(parts.store.path(digest) for digest in (change.picture,))
