"""What programs ask is compared with what they asked before, whatever happens to the station."""

import asyncio
import contextlib
import io
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cvgssl.recognizer.card import load_recognizer
from cvgssl.recognizer.changes import ChangeAlarm, ChangeLog, identity
from cvgssl.recognizer.config import AlarmOptions
from cvgssl.recognizer.measuring import Arrival
from cvgssl.runtime.errors import MachineError
from cvgssl.station.alarms import StationAlarm
from cvgssl.station.answering import Answering, Loaded, SentPicture
from cvgssl.station.answers import Answers
from cvgssl.station.config import StationConfig
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.models import Models, Version
from cvgssl.station.picture_store import PictureStore
from cvgssl.station.routes import Routes
from cvgssl.station.sinks import ALARM
from cvgssl.station.streams import change_log
from cvgssl.station.watch_config import WatchOptions
from cvgssl.station.watching import Watching
from tests.recognizer.conftest import make_model
from tests.station.conftest import Running, Start
from tests.station.test_http import form
from tests.station.test_station_watching import until


def png(number: int, gain: float = 1.0) -> bytes:
    noise = np.random.default_rng(number).integers(60, 200, (24, 24))
    buffer = io.BytesIO()
    Image.fromarray((gain * noise).astype(np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def compared(folder: Path, version: int = 1) -> int:
    """Pictures of programs that are on the disk."""
    path = change_log(folder, "program", version)
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(path)) as rows:
        try:
            (count,) = rows.execute("select count(*) from pictures").fetchone()
        except sqlite3.OperationalError:  # it is being made
            return 0
    return int(count)


def alarms(folder: Path) -> list[dict[str, Any]]:
    with contextlib.closing(EventLog(folder / LOG)) as log:
        return [event.facts for event in log.events(ALARM)]


def send(running: Running, numbers: range, gain: float = 1.0) -> list[str]:
    """In forms of ten; gives their hashes."""
    told = []
    for start in range(numbers.start, numbers.stop, 10):
        names = {f"{n}.png": png(n, gain) for n in range(start, min(start + 10, numbers.stop))}
        body, kind = form(names)
        answer = running.ask("POST", "/v1/predict", body, Content_Type=kind)
        told += [each["sha256"] for each in answer.json["pictures"]]
    return told


def test_a_lamp_fails_behind_programs_and_the_station_is_killed(
    start: Start, recognizer: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "station"
    words = ("--false-alarm-every", "1000", "--unknown", "false")
    with start(folder, "--recognizer", recognizer, *words) as running:
        until(lambda: change_log(folder, "program", 1).exists())
        until(lambda: send(running, range(1000, 1001)) and compared(folder))
        assert running.predict(png(1001), "?version=1").status == 200  # the live one by its number
        until(lambda: compared(folder) >= 2)
        before = compared(folder)
        send(running, range(80))
        until(lambda: compared(folder) >= before + 80)
        running.process.kill()  # by SIGKILL
        running.process.wait()
    count = compared(folder)
    with start(folder, *words) as running:
        before_dark = send(running, range(1002, 1003))
        until(lambda: send(running, range(1002, 1003)) and compared(folder) > count)
        dark: list[str] = []
        for at in range(100, 160, 10):
            dark += send(running, range(at, at + 10), gain=0.4)
        (alarm,) = until(lambda: alarms(folder))
        assert alarm["source"] == "program" and alarm["version"] == 1
        assert alarm["pictures"] > count
        assert alarm["first"] in before_dark + dark or alarm["since"] > alarm["pictures"] - count
        assert sum(each["name"] in dark for each in alarm["examples"]) >= 4
        shown = running.ask("GET", "/watch", Accept="text/html").body.decode()
        assert "<h3>POST /v1/predict</h3>" in shown and "than before from HTTP." in shown
        pictures = [f'/kept/160/{each["name"]}" alt="' for each in alarm["examples"]]
        assert all(each in shown for each in pictures)
        assert shown.count("<figure data-picture=") == 3  # since the first that changed
        running.process.kill()
        running.process.wait()
    with start(folder, *words) as running:
        send(running, range(200, 210), gain=0.4)
        assert running.end() == 0
    assert alarms(folder) == [alarm]


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., tuple[Watching, Answering]]]:
    """`watching(MODEL)`: one at work in tmp_path/station, with what answers."""
    folder = tmp_path / "station"
    folder.mkdir()
    with contextlib.ExitStack() as opened:

        def begin(model: Path) -> tuple[Watching, Answering]:
            config = StationConfig(folder=folder, batch_size=8, unknown=False)
            log = EventLog(folder / LOG)
            models = Models(folder, log)
            models.go_live(models.add(model, "test").number, "test")
            answering = Answering(models, config, models.live())
            store = PictureStore(folder, 10**8)
            answers = Answers(folder / LOG, store)
            made = Watching(config, WatchOptions(), answering, answers)
            made.begin()
            for end in (log.close, store.close, answering.close, answers.close, made.close):
                opened.callback(end)
            return made, answering

        yield begin


def until_compared(answering: Answering, work: Watching) -> None:
    """Until what the live version sees from now on is compared; its state shows before that."""
    live = answering.live
    assert live is not None
    until(
        lambda: work.programs.asked(live) is not live and work.programs.state().nearness is not None
    )


async def ask(answering: Answering, work: Watching, number: int) -> Any:
    assert answering.live is not None
    loaded = work.programs.asked(answering.live)
    (told,) = await answering.answer([SentPicture("", png(number))], loaded)
    return told


def test_an_alarm_that_was_kept_but_not_told_is_told_once(
    watching: Callable[..., tuple[Watching, Answering]], recognizer: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "station"
    _, kept = load_recognizer(recognizer)
    log = ChangeLog(
        change_log(folder, "program", 1), identity(recognizer), kept.train.names, AlarmOptions()
    )
    width = kept.train.values.shape[1]
    for number in range(260):
        values = np.random.default_rng(number).standard_normal(10)
        values[1] += 4 if number >= 200 else 0
        log.take([Arrival(f"{number:064x}", 0, np.zeros(width), values, 0)])
    (kept_alarm,) = log.alarms()
    log.close()
    for _ in range(2):
        work, answering = watching(recognizer)
        asyncio.run(ask(answering, work, 0))

        def told(work: Watching = work) -> list[StationAlarm]:
            return work.alarms.all()

        (alarm,) = until(told)
        assert (alarm.source, alarm.facts["pictures"]) == ("program", kept_alarm.pictures)
        until(lambda work=work: work.programs.state().pictures >= 260)
        work.close()


def test_each_version_has_a_stream_of_its_own(
    watching: Callable[..., tuple[Watching, Answering]], recognizer: Path, tmp_path: Path
) -> None:
    work, answering = watching(recognizer)
    folder = answering.config.folder
    until_compared(answering, work)
    for number in range(5):
        assert asyncio.run(ask(answering, work, number))["class"]
    until(lambda: work.programs.state().pictures == 5)
    make_model(tmp_path / "run.safetensors", seed=1)
    other = answering.add(tmp_path / "run.safetensors", "test")  # which keeps no embeddings
    answering.use(other.number)
    assert asyncio.run(ask(answering, work, 5))["class"]
    until(lambda: work.programs.state().reason)
    assert work.programs.state().reason == "keeps no embeddings"
    assert work.programs.state().nearness is None and work.programs.state().last
    answering.use(1)
    assert asyncio.run(ask(answering, work, 6))["class"]
    until_compared(answering, work)
    assert work.programs.state().pictures == 5
    assert asyncio.run(ask(answering, work, 7))["class"]
    until(lambda: work.programs.state().pictures == 6)
    assert compared(folder) == 6 and compared(folder, 2) == 0


def test_a_disk_that_takes_no_rows_for_a_while(
    watching: Callable[..., tuple[Watching, Answering]], recognizer: Path
) -> None:
    work, answering = watching(recognizer)
    until_compared(answering, work)
    place = change_log(answering.config.folder, "program", 1)
    with contextlib.closing(sqlite3.connect(place)) as rows:
        rows.execute("drop table pictures")
    assert asyncio.run(ask(answering, work, 1))["class"]  # the answer does not suffer
    assert "no such table" in until(lambda: work.programs.state().trouble)


def test_a_log_that_takes_no_alarm_gets_it_later(
    watching: Callable[..., tuple[Watching, Answering]],
    recognizer: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, answering = watching(recognizer)
    until_compared(answering, work)
    found = ChangeAlarm("light", "darker", "", 1, 1, "a" * 64, ())
    monkeypatch.setattr(ChangeLog, "take", lambda *_: [found])
    monkeypatch.setattr(ChangeLog, "alarms", lambda *_: [found])
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise MachineError("the disk is full")

        patch.setattr(EventLog, "append", full)
        asyncio.run(ask(answering, work, 0))
        assert "disk is full" in until(lambda: work.programs.state().trouble)
    until(lambda: asyncio.run(ask(answering, work, 1)) and work.alarms.all())
    (alarm,) = work.alarms.all()
    assert alarm.facts["words"] == "darker"
    until(lambda: not work.programs.state().trouble)


def test_a_version_that_takes_long_to_load(
    watching: Callable[..., tuple[Watching, Answering]],
    recognizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, answering = watching(recognizer)
    make_model(tmp_path / "run.safetensors", seed=1)
    other = answering.add(tmp_path / "run.safetensors", "test")
    load, loads, go = answering._load, [], threading.Event()

    def slowly(version: Version) -> Loaded:
        loads.append(version.number)
        assert go.wait(60), "a request waits for the whole of it"
        return load(version)

    monkeypatch.setattr(answering, "_load", slowly)
    routes = Routes(answering, work._answers, work.programs)
    request = Request({"type": "http", "query_string": b"version=%d" % other.number})

    async def ask_twice() -> Loaded:
        routes._config = replace(answering.config, timeout_seconds=0.1)
        with pytest.raises(HTTPException) as told:
            await routes._meant(request)
        assert told.value.status_code == 503 and "is being loaded" in told.value.detail
        assert told.value.headers == {"Retry-After": "5"}
        go.set()
        routes._config = replace(answering.config, timeout_seconds=60)
        return await routes._meant(request)

    assert asyncio.run(ask_twice()).version == other
    assert loads == [other.number]
