"""From a picture in a watched folder to the log, to alarms and what is made of them."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvgssl.recognizer.card import load_recognizer
from cvgssl.recognizer.changes import ChangeAlarm
from cvgssl.runtime.errors import UserError
from cvgssl.station import alarms as alarms_module
from cvgssl.station.alarms import SETTLED, StationAlarm
from cvgssl.station.answer_rows import ANSWER, Wanted
from cvgssl.station.answering import Answering
from cvgssl.station.answers import Answers
from cvgssl.station.config import StationConfig
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.judging import verdict
from cvgssl.station.models import Models
from cvgssl.station.picture_store import PictureStore
from cvgssl.station.review import Reviews
from cvgssl.station.sinks import ALARM
from cvgssl.station.watch_config import WatchOptions
from cvgssl.station.watching import WATCHED, Watching
from tests.station.conftest import until


@pytest.fixture
def watching(folder: Path, recognizer: Path, tmp_path: Path) -> Iterator[Callable[..., Watching]]:
    """`watching()`: one at work on tmp_path/line."""
    (tmp_path / "line").mkdir()
    with contextlib.ExitStack() as opened:

        def start(**options: Any) -> Watching:
            config = StationConfig(folder=folder, batch_size=8)
            log = EventLog(folder / LOG)
            models = Models(folder, log)
            models.go_live(models.add(recognizer, "test").number, "test")
            answering = Answering(models, config, models.live())
            store = PictureStore(folder, 10**8)
            answers = Answers(folder / LOG, store)
            made = Watching(
                config,
                WatchOptions(watch=tmp_path / "line", poll_seconds=0.05, **options),
                answering,
                answers,
            )
            made.begin()
            for end in (log.close, store.close, answering.close, answers.close, made.close):
                opened.callback(end)
            return made

        yield start


def answered(folder: Path) -> list[dict[str, Any]]:
    with contextlib.closing(EventLog(folder / LOG)) as log:
        return [event.facts for event in log.events(ANSWER)]


def picture(path: Path, number: int, gain: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(60, 200, (24, 24))
    Image.fromarray((gain * noise).astype(np.uint8)).save(path)


def test_pictures_of_a_folder_are_answered_once(
    watching: Callable[..., Watching], folder: Path, tmp_path: Path
) -> None:
    line = tmp_path / "line"
    picture(line / "shift 1" / "0.png", 0)
    (line / "bad.png").write_bytes(b"no picture")
    first = watching(csv=tmp_path / "a.csv")
    until(lambda: len(answered(folder)) == 1)
    picture(line / "1.png", 1)
    until(lambda: len(answered(folder)) == 2)
    table = tmp_path / "a.csv"
    until(lambda: table.is_file() and table.read_text().count("\n") == 3)
    assert [each["name"] for each in answered(folder)] == ["shift 1/0.png", "1.png"]
    assert {each["source"] for each in answered(folder)} == {"watch"}
    assert first.folder == str(line)
    until(lambda: first.sources()[0].pictures == 2)
    assert [each.name for each in first.sinks()] == ["csv"]
    hours, counts = first.counts(3)
    assert len(hours) == 3 and sum(map(sum, counts.values())) == 2
    first.close()
    picture(line / "2.png", 2)
    second = watching()
    until(lambda: len(answered(folder)) == 3)
    until(lambda: second.sources()[0].pictures == 3)
    picture(line / "3.png", 3)
    until(lambda: len(answered(folder)) == 4)
    assert [each["name"] for each in answered(folder)][2:] == ["2.png", "3.png"]
    with contextlib.closing(EventLog(folder / LOG)) as log:
        assert [event.facts["folder"] for event in log.events(WATCHED)] == [str(line)] * 2


def test_a_lamp_fails(watching: Callable[..., Watching], folder: Path, tmp_path: Path) -> None:
    line = tmp_path / "line"
    work = watching(false_alarm_every=1000)
    for number in range(80):
        picture(line / f"{number:03}.png", number)
    until(lambda: len(answered(folder)) == 80)
    assert work.alarms.all() == [] and 0 <= (work.sources()[0].nearness or 0) < 1
    for number in range(80, 140):
        picture(line / f"{number:03}.png", number, gain=0.4)
    until(lambda: len(answered(folder)) == 140)
    (alarm,) = until(work.alarms.all)
    # the encoder is tiny and was never trained: all dark pictures are of one class to it
    assert alarm.facts["alarm"] in ("light", "shares") and alarm.settled is None
    assert alarm.version == 1 and alarm.source == "watch"
    assert int(Path(alarm.facts["first"]).stem) >= 70
    with pytest.raises(LookupError):
        work.alarms.settle(alarm.number + 10_000, "nothing", "Li")
    work.alarms.settle(alarm.number, "nothing", "Li")
    (alarm,) = work.alarms.all()
    assert (alarm.settled, alarm.who) == ("nothing", "Li")
    with pytest.raises(UserError, match=f"alarm {alarm.number}: Li has dealt with it"):
        work.alarms.settle(alarm.number, "labelled", "Wang")
    with contextlib.closing(EventLog(folder / LOG)) as log:
        assert len(list(log.events(SETTLED))) == 1
    _recentred_with_labels(work, folder, alarm)


def _recentred_with_labels(work: Watching, folder: Path, alarm: StationAlarm) -> None:
    """Named pictures of the dark ones are learned by the re-centred version, and no others."""
    store = PictureStore(folder, 10**8)
    answers = Answers(folder / LOG, store)
    reviews = Reviews(folder, folder / LOG, answers, 0.05)
    bright, *_ = answers.page(Wanted(name="003.png"))
    dark, other, unsure = (answers.page(Wanted(name=f"13{n}.png"))[0] for n in (1, 2, 3))
    reviews.review(bright.number, "Li", verdict(bright, "burr"), "burr")
    reviews.review(dark.number, "Li", verdict(dark, "burr"), "burr")
    reviews.review(other.number, "Li", True)
    wrong = reviews.review(unsure.number, "Li", verdict(unsure, "burr"), "burr")
    reviews.review(unsure.number, "Li", None, "?", wrong.number)  # the last one counts
    number, labels = work.alarms.recentre(alarm.number, "Li", reviews.truths())
    assert labels == 2
    (place,) = (folder / "models" / f"{number:04}").iterdir()
    card, kept = load_recognizer(place)
    listed = dict(zip(kept.train.names, kept.train.labels, strict=True))
    named = {Path(name).name: card.classes[label] for name, label in listed.items() if label >= 0}
    assert named[dark.sha256] == "burr" and named[other.sha256] == other.predicted_class
    assert not {bright.sha256, unsure.sha256} & {*named} and "burr" in card.classes
    assert next(each for each in work.alarms.all()).settled == "recentred"
    reviews.close()
    answers.close()
    store.close()


def test_another_pictures_per_part_begins_again_and_spoils_nothing(
    watching: Callable[..., Watching], folder: Path, tmp_path: Path
) -> None:
    line = tmp_path / "line"
    for at, (pictures_per_part, seen) in enumerate([(1, 1), (25, 1), (1, 2)]):
        work = watching(pictures_per_part=pictures_per_part)
        picture(line / f"{at}.png", at)
        until(lambda at=at: len(answered(folder)) == at + 1)
        until(lambda work=work, seen=seen: work.sources()[0].pictures == seen)
        assert work.sources()[0].reason == ""
        alarm = ChangeAlarm("light", "darker", "", 70, 9, f"{at}.png", ())
        for _ in range(2):  # told once for each way of comparing
            work.alarms.add("watch", 1, [alarm])
        work.close()
        with contextlib.closing(EventLog(folder / LOG)) as log:
            runs = [event.facts["pictures_per_part"] for event in log.events(ALARM)]
        assert runs == [1, 25][: at + 1]


def test_a_version_is_recentred_by_one_person_at_a_time(
    watching: Callable[..., Watching], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, go, asked = watching(), threading.Event(), []

    def wait(*words: Any) -> None:
        asked.append(words)
        assert go.wait(30)
        raise UserError("too few pictures")

    monkeypatch.setattr(alarms_module, "embeddings_around", wait)
    work.alarms.add("watch", 1, [ChangeAlarm("light", "darker", "", 70, 9, "a.png", ())])
    (alarm,) = work.alarms.all()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(work.alarms.recentre, alarm.number, "Li", {})
        until(lambda: asked)
        with pytest.raises(UserError, match="is being re-centred"):
            work.alarms.recentre(alarm.number, "Wang", {})
        go.set()
        assert isinstance(first.exception(30), UserError)
    with pytest.raises(UserError, match="too few"):
        work.alarms.recentre(alarm.number, "Wang", {})
    assert len(asked) == 2


def test_a_folder_that_is_away_for_a_while(
    watching: Callable[..., Watching], folder: Path, tmp_path: Path
) -> None:
    line = tmp_path / "line"
    picture(line / "0.png", 0)
    work = watching()
    until(lambda: len(answered(folder)) == 1)
    line.rename(tmp_path / "away")
    assert "line" in until(lambda: work.sources()[0].trouble)
    (tmp_path / "away").rename(line)
    picture(line / "1.png", 1)
    until(lambda: len(answered(folder)) == 2)
    until(lambda: not work.sources()[0].trouble)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to_webhook": "ftp://x/y"}, "must begin with http://HOST or https://HOST"),
        ({"to_webhook": "http://a:b@x/"}, "leave it out"),
        ({"to_webhook": "http://x:99999/"}, "--to-webhook"),
        ({"to_webhook": "http://x/é"}, "write other letters and spaces as %"),
        ({"to_webhook": "http://x/a b"}, "write other letters and spaces as %"),
        ({"to_webhook": f"http://{'x' * 64}.plant/"}, "cannot be the name of a host"),
        ({"to_mqtt": "mqtt://a..b/topic"}, "cannot be the name of a host"),
        ({"to_mqtt": "mqtt://x"}, "a topic is missing"),
        ({"to_mqtt": "mqtt://x/a/#"}, r"\+ and # cannot"),
        ({"mqtt_user": "me"}, "have no effect without --to-mqtt"),
        ({"poll_seconds": 2}, "no effect without --watch"),
        ({"watch": "x", "sort_into": "x/y"}, "is inside x"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WatchOptions(**options)
