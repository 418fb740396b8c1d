"""Past answers again, what they rest on, and the way from a mistake to the next version."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.predict import predict
from cvgssl.runtime.errors import UserError
from cvgssl.selection.label_list import read_labels
from cvgssl.station.answer_rows import PROGRAM
from cvgssl.station.answering import Answering
from cvgssl.station.answers import Answers
from cvgssl.station.comparing import GivenAnswer, compare, given_before, learned_pictures
from cvgssl.station.config import StationConfig
from cvgssl.station.events import EventLog
from cvgssl.station.evidence import Evidence, about
from cvgssl.station.fitting import write_learned
from cvgssl.station.models import Models
from cvgssl.station.picture_store import PictureStore
from cvgssl.station.replay import replay
from cvgssl.station.review import LearnedPicture, Reviews


@dataclass
class Station:
    """All that is at work in a process."""

    folder: Path
    models: Models
    answering: Answering
    answers: Answers
    evidence: Evidence

    def ask(self, path: Path, number: int = 1) -> int:
        """The number of the answer to a picture."""
        data = path.read_bytes()
        said = self.evidence.predict(data, number)
        told = {
            "name": path.name,
            "sha256": sha256(data),
            "answer": said.answer,
            "class": said.predicted_class,
            "probability": round(said.probability, 6),
            "probabilities": {name: round(p, 6) for name, p in said.ranked()},
        }
        return self.answers.keep(told, data, version=number, source=PROGRAM).result(30)


def sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def station(tmp_path: Path, recognizer: Path) -> Iterator[Station]:
    folder = tmp_path / "station"
    folder.mkdir()
    models = Models(folder, EventLog(folder / "log"))
    version = models.add(recognizer, "anna")
    config = StationConfig(folder=folder, batch_wait_ms=0)
    answering = Answering(Models(folder, EventLog(folder / "log")), config, version)
    store = PictureStore(folder, 10**8)
    answers = Answers(folder / "log", store)
    yield Station(folder, models, answering, answers, Evidence(answering))
    answers.close()
    store.close()
    answering.close()


@pytest.fixture(scope="module")
def pictures(steel: Path) -> list[Path]:
    return sorted((steel / "test").glob("*/*"))


def test_the_same_answer(station: Station, pictures: list[Path]) -> None:
    for path in pictures[:4]:
        found = replay(station.ask(path), station.answers, station.models, station.evidence.predict)
        assert found.again is not None and found.is_whole and found.has_picture
        assert found.again.same and found.again.same_answer and found.again.difference < 1e-5
        assert found.about is not None and len(found.about.labels) == 18
        assert found.version.number == 1 and found.answer.name == path.name


def test_what_cannot_be_computed_again(station: Station, pictures: list[Path]) -> None:
    number = station.ask(pictures[0])
    path = station.answers.pictures.path(station.answers.get(number).sha256)
    assert path is not None
    path.unlink()
    ask = station.evidence.predict
    found = replay(number, station.answers, station.models, ask)
    assert (found.again, found.has_picture) == (None, False)
    assert found.reason == "the picture is not kept any more"
    card = station.models.version(1).path / "labels.csv"
    card.write_text(card.read_text(encoding="utf-8") + "train/x.bmp,crazing\n", encoding="utf-8")
    assert not replay(number, station.answers, station.models, ask).is_whole
    (station.models.version(1).path / "train.npz").write_bytes(b"no features")
    found = replay(number, station.answers, station.models, ask)
    assert found.about is None and "train.npz" in found.reason
    with pytest.raises(LookupError):
        replay(9999, station.answers, station.models, ask)


def test_another_answer_is_told(station: Station, pictures: list[Path]) -> None:
    """Of a row that says something else than the version does."""
    answer = station.answers.get(station.ask(pictures[0]))
    said = {
        "name": "x",
        "sha256": answer.sha256,
        "answer": "unknown",
        "class": answer.predicted_class,
    }
    less = {
        name: p - 2e-4 if name == answer.predicted_class else p
        for name, p in answer.probabilities.items()
    }
    said |= {"probability": answer.probability, "probabilities": less}
    number = station.answers.keep(said, None, version=1, source=PROGRAM).result(30)
    again = replay(number, station.answers, station.models, station.evidence.predict).again
    assert again is not None and not again.same
    assert again.difference == pytest.approx(2e-4, abs=1e-5)
    assert again.same_answer == (again.prediction.answer == "unknown")


def test_the_nearest_labelled_pictures(station: Station, recognizer: Path, steel: Path) -> None:
    """Of a labelled picture itself it is the first."""
    for line in read_labels(recognizer / "labels.csv", "--labels")[::5]:
        data = (steel / line.path).read_bytes()
        found = station.evidence.nearest(data, 1)
        assert (found[0].name, found[0].label) == (line.path, line.label)
        assert found[0].similarity == pytest.approx(1, abs=1e-4) and len(found) == 5
        cosines = [each.similarity for each in found]
        assert cosines == sorted(cosines, reverse=True)
    with pytest.raises(UserError, match="not a picture"):
        station.evidence.nearest(b"text", 1)
    with pytest.raises(LookupError):
        station.evidence.nearest(data, 9)


def test_what_is_known_of_a_version(station: Station) -> None:
    fitted = about(station.models.version(1))
    assert fitted.kind == "fit" and fitted.head == "kernel-ridge" and "test_vit" in fitted.encoder
    assert set(fitted.label_counts.values()) == {3} and fitted.unlabelled == 24
    assert fitted.figures is not None and fitted.figures["pictures"] == 18
    assert fitted.decision is None and fitted.decided() == ""
    assert "shot: 3" in fitted.options and len(fitted.hashes["weights"][0]) == 64


def test_from_a_mistake_to_the_next_version(
    station: Station, steel: Path, teacher_file: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    """A class that the first version does not know, by reviews; what would change is listed."""
    pool = Path(shutil.copytree(steel, tmp_path / "pool"))
    new = sorted((pool / "train").iterdir())[-1]
    scratches = [path for path in pictures if path.parent.name == new.name]
    others = [path for path in pictures if path.parent.name != new.name]
    shutil.rmtree(pool / "test")
    labels = tmp_path / "labels.csv"
    known = [
        LearnedPicture(path.relative_to(pool).as_posix(), sha256(path.read_bytes()), folder.name, 1)
        for folder in sorted((pool / "train").iterdir())[:-1]
        for path in sorted(folder.iterdir())[:3]
    ]

    def fitted(name: str) -> Path:
        folder, _ = fit(
            FitConfig(
                data=pool,
                class_folders=False,
                labels=labels,
                unlabelled=reviews.folder if reviews.folder.exists() else None,
                encoder=(f"test_vit={teacher_file}",),
                image_size=32,
                head="kernel-ridge",
                out=tmp_path / name,
            )
        )
        return folder

    reviews = Reviews(station.folder, station.folder / "log", station.answers, 0.5)
    write_learned(known, [], labels)
    first = station.models.add(fitted("first"), "anna").number
    numbers = {path: station.ask(path, first) for path in pictures}
    classes = station.answers.get(numbers[pictures[0]]).probabilities
    assert new.name not in classes
    for path in (*scratches[:2], others[0]):
        answer = station.answers.get(numbers[path])
        truth = path.parent.name
        right = (
            truth == answer.predicted_class if answer.answer != "unknown" else truth not in classes
        )
        reviews.review(answer.number, "bo", right, truth)
    write_learned(known, reviews.learned(), labels)
    second = station.models.add(fitted("second"), "anna")
    kept = about(second)
    assert new.name in kept.classes and kept.label_counts[new.name] == 2
    before = given_before(station.answers, first)
    paths = [station.answers.pictures.path(each) for each in before]
    said = predict(second.path, [path for path in paths if path], unknown=True)
    after = {
        each.path.name: GivenAnswer(each.answer, each.predicted_class, each.probability)
        for each in said
    }
    assert before.keys() == after.keys() and len(before) == len(pictures)
    # random weights make all answers "not sure"; the likely classes are compared
    before = {
        picture: each._replace(answer=each.predicted_class) for picture, each in before.items()
    }
    after = {picture: each._replace(answer=each.predicted_class) for picture, each in after.items()}
    learned = learned_pictures(kept, {each.path: each.sha256 for each in known})
    assert {sha256(path.read_bytes()) for path in (*scratches[:2], others[0])} < learned
    found = compare(before, after, (tuple(classes), kept.classes), reviews.truths(), learned)
    assert found.pictures == len(pictures) and found.learned == 3 and found.paired is None
    changed = {each.picture for each in found.changes}
    for path in scratches[:2]:  # what was learned is named so now
        assert after[sha256(path.read_bytes())].predicted_class == new.name
        assert sha256(path.read_bytes()) in changed
    reviews.close()


def test_pages_and_programs_at_once(station: Station, pictures: list[Path]) -> None:
    """The nearest pictures are asked for between batches, and change no answer."""
    from concurrent.futures import ThreadPoolExecutor

    data = [path.read_bytes() for path in pictures]
    alone = [station.evidence.predict(each, 1).probabilities for each in data]
    near = [station.evidence.nearest(each, 1)[0].name for each in data]
    with ThreadPoolExecutor(8) as pool:
        again = [pool.submit(station.evidence.predict, each, 1) for each in data * 3]
        names = [pool.submit(station.evidence.nearest, each, 1) for each in data * 3]
        for place, said in enumerate(again):
            np.testing.assert_allclose(
                said.result().probabilities, alone[place % len(data)], atol=1e-5
            )
        assert [each.result()[0].name for each in names] == near * 3
