"""Changed pictures on a line: told once, with examples, whatever happens to the program."""

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvgssl.heads.change import ChangeDetector
from cvgssl.recognizer.alarm_file import embeddings_around
from cvgssl.recognizer.changes import LOOKED_AT, ChangeAlarm, ChangeLog
from cvgssl.recognizer.config import AlarmOptions, FitConfig
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.measuring import Arrival
from cvgssl.runtime.errors import UserError
from tests.conftest import Command, MadeOnce

TRAIN = [f"train/{number}.png" for number in range(50)]
Open = Callable[..., ChangeLog]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    def call(recognizer: str = "r", name: str = "line.alarm", **options: Any) -> ChangeLog:
        return ChangeLog(tmp_path / name, recognizer, TRAIN, AlarmOptions(**options))

    return call


def made_up(number: int, level: float = 0.0) -> Arrival:
    """A picture that is decided by its number."""
    generator = np.random.default_rng(number)
    values = generator.standard_normal(4 + 6)
    values[1] += level
    embedding = generator.standard_normal(5).astype(np.float32)
    return Arrival(f"{number}.png", number % 2, embedding, values, number % len(TRAIN))


def feed(log: ChangeLog, numbers: range, level: float = 0.0, at_once: int = 1) -> list[ChangeAlarm]:
    pictures = [made_up(number, level) for number in numbers]
    parts = (pictures[at : at + at_once] for at in range(0, len(pictures), at_once))
    return [alarm for part in parts for alarm in log.take(part)]


def test_a_log_goes_on_where_a_process_ended(opened: Open, tmp_path: Path) -> None:
    whole = opened(name="whole")
    feed(whole, range(700))
    for start in range(0, 700, 140):
        log = opened()
        assert log.count == start
        feed(log, range(start, start + 140))
        del log  # not closed, as of a process that was killed
    log = opened()
    assert log.detector.nearness == whole.detector.nearness
    kept, others = (embeddings_around(tmp_path / each, 655, 6) for each in ("line.alarm", "whole"))
    assert [part.values.shape for part in kept] == [(649, 5), (51, 5)]
    assert [part.names[0] for part in kept] == ["0.png", "649.png"]
    assert all((one.values == other.values).all() for one, other in zip(kept, others, strict=True))
    (alarm,) = feed(log, range(700, 740), level=4.0)
    assert alarm.alarm == "light" and alarm.words == "brighter"
    assert abs(alarm.pictures - alarm.since - 700) < 20
    assert {int(each.name.removesuffix(".png")) >= 700 for each in alarm.examples} >= {True}
    shown = int(alarm.examples[0].name.removesuffix(".png"))
    assert alarm.examples[0].nearest == TRAIN[shown % len(TRAIN)]
    assert f"about {alarm.since} pictures ago" in alarm.line()
    assert opened().alarms() == [alarm]


def test_an_alarm_that_could_not_be_told_is_told_later(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened()
    feed(log, range(200))
    with monkeypatch.context() as patch:

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(ChangeLog, "_keep", killed)
        with pytest.raises(KeyboardInterrupt):
            feed(log, range(200, 240), level=4.0)
    log = opened()
    (untold,) = log.untold
    assert untold.words == "brighter" and log.alarms() == [untold]
    assert opened().untold == []


def test_many_at_once_are_as_one_after_the_other(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, together = opened(name="alone"), opened(name="together")
    told = []
    for numbers, level in ((range(610), 0.0), (range(610, 660), 4.0)):
        told += [feed(alone, numbers, level), feed(together, numbers, level, at_once=50)]
    assert told[0] == told[1] == []
    assert [replace(each, at="") for each in told[2]] == [replace(each, at="") for each in told[3]]
    assert len(told[2]) == 1 and alone.detector.nearness == together.detector.nearness
    # the end comes in the middle of a batch that is on the disk
    with monkeypatch.context() as patch:
        calls = []

        def killed(*_: object) -> None:
            calls.append(1)
            if len(calls) == 30:
                raise KeyboardInterrupt

        patch.setattr(ChangeDetector, "observe", killed)
        with pytest.raises(KeyboardInterrupt):
            feed(together, range(700, 740), at_once=40)
    feed(alone, range(700, 740))
    again = opened(name="together")
    assert again.count == alone.count == 700
    assert again.detector.nearness == alone.detector.nearness


def test_one_of_a_run_is_compared(opened: Open) -> None:
    log = opened(pictures_per_part=3)
    feed(log, range(600))
    assert log.detector.count == 200 and log.count == 600
    (alarm,) = feed(log, range(600, 700), level=4.0)
    assert abs(alarm.pictures - alarm.since - 600) < 60
    with pytest.raises(UserError, match="--pictures-per-part 3"):
        opened(pictures_per_part=4)


def test_it_does_not_grow_without_end(opened: Open, tmp_path: Path) -> None:
    log = opened(false_alarm_every=10**9)
    feed(log, range(LOOKED_AT + 1100))
    log.close()
    with sqlite3.connect(tmp_path / "line.alarm") as rows:
        (kept,) = rows.execute("select count(*) from pictures").fetchone()
    assert kept < LOOKED_AT + 600


def test_other_files_are_refused_and_left_as_they_are(opened: Open, tmp_path: Path) -> None:
    log = opened()
    feed(log, range(3))
    log.close()
    with pytest.raises(UserError, match="of another recognizer; name another file"):
        opened("s")
    (tmp_path / "note").write_text("hello")
    with pytest.raises(UserError, match=r"note: .* no file of --alarm"):
        opened(name="note")
    assert (tmp_path / "note").read_text() == "hello"
    data = bytearray((tmp_path / "line.alarm").read_bytes())
    data[100:] = bytes(len(data) - 100)
    (tmp_path / "cut").write_bytes(data)
    with pytest.raises(UserError, match=r"cut: "):
        opened(name="cut")


@pytest.fixture(scope="module")
def recognizer(made_once: MadeOnce, plates: Path, teacher_file: Path) -> Path:
    def make(to: Path) -> None:
        encoder = (f"test_vit={teacher_file}",)
        config = FitConfig(
            data=plates, encoder=encoder, image_size=32, shot=4, head="kernel-ridge", out=to
        )
        fit(config)

    return made_once("changes", make)


def bring(pictures: list[Path], line: Path, first: int, gain: float = 1.0) -> None:
    """Copies under rising numbers, as from a camera."""
    for number, path in enumerate(pictures, first):
        with Image.open(path) as picture:
            picture.point([round(gain * gray) for gray in range(256)]).save(
                line / f"{number:04}.png"
            )


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_lamp_fails_while_the_program_is_away(
    recognizer: Path, plates: Path, tmp_path: Path, python: str
) -> None:
    line = tmp_path / "line"
    line.mkdir()
    pictures = sorted(plates.rglob("*.bmp"))
    pictures = [pictures[i] for i in np.random.default_rng(0).permutation(len(pictures))]
    words = ["predict", recognizer, "--watch", "line", "--poll-seconds", "0.05"]
    words += ["--jsonl", "a.jsonl", "--alarm", "line.alarm", "--false-alarm-every", "1000"]

    def start() -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [python, "-m", "cvgssl", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        )  # fmt: skip
        assert process.stdout is not None
        return process

    bring(pictures, line, 0)
    process = start()
    for _ in pictures:
        assert process.stdout.readline()
    process.kill()
    process.communicate()
    bring(pictures[:60], line, len(pictures), gain=0.3)
    process = start()
    for _ in range(60):
        assert process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors.count("the pictures have changed since about") == 1, errors
    records = [json.loads(text) for text in (tmp_path / "a.jsonl").read_text().splitlines()]
    (alarm,) = [each for each in records if "alarm" in each]
    assert len(records) == len(pictures) + 61
    first = int(Path(alarm["first"]).stem)
    assert abs(first - len(pictures)) < 15
    assert alarm["pictures"] < len(pictures) + 60
    assert sum(int(Path(each["name"]).stem) >= len(pictures) for each in alarm["examples"]) >= 4
    assert all((plates / each["nearest"]).is_file() for each in alarm["examples"])


def test_what_cannot_be_asked_for(command: Command, run_folder: Path, recognizer: Path) -> None:
    done = command("predict", recognizer, "x", "--alarm", "a")
    assert done.returncode == 2 and "--alarm: has no effect without --watch" in done.stderr
    done = command("predict", recognizer, "--watch", "x", "--pictures-per-part", "4")
    assert (
        done.returncode == 2 and "--pictures-per-part: has no effect without --alarm" in done.stderr
    )
    Path(recognizer).parent.joinpath("line").mkdir(exist_ok=True)
    done = command(
        "predict", run_folder, "--watch", Path(recognizer).parent / "line", "--alarm", "a"
    )
    assert done.returncode == 2 and "it needs a folder of `cvgssl fit`" in done.stderr
    assert done.stderr.count("\n") == 1
