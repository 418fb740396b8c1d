"""Answers that are kept: by many threads, found again, not doubled, not lost at the end."""

import csv
import hashlib
import io
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cvgssl.runtime.errors import MachineError
from cvgssl.station import answer_writing as module
from cvgssl.station.answer_rows import PAGE, PROGRAM, WATCH, Wanted
from cvgssl.station.answers import Answers
from cvgssl.station.events import EventLog
from cvgssl.station.picture_store import PictureStore

Keep = Callable[..., "Future[int]"]


def told(data: bytes, answer: str = "crack", name: str = "a.bmp") -> dict[str, Any]:
    label = answer if answer not in ("unknown", "not sure") else "crack"
    return {
        "name": name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "answer": answer,
        "class": label,
        "probability": 0.75,
        "probabilities": {label: 0.75, "pit / 点": 0.25},
    }


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    store = PictureStore(tmp_path, 10**6)
    kept = Answers(tmp_path / "log", store)
    yield kept
    kept.close()
    store.close()


@pytest.fixture
def keep(answers: Answers) -> Keep:
    def keeping(data: bytes, answer: str = "crack", **words: Any) -> "Future[int]":
        name = words.pop("name", "a.bmp")
        words = {"version": 1, "source": PROGRAM} | words
        return answers.keep(told(data, answer, name), data, **words)

    return keeping


def test_an_answer_comes_back_with_its_picture(answers: Answers, keep: Keep) -> None:
    number = keep(b"one", who="anna", source=PAGE, version=3, ms=12.5).result(30)
    (found,) = answers.page(Wanted())
    assert found == answers.get(number)
    assert (found.who, found.source, found.version, found.ms) == ("anna", "page", 3, 12.5)
    assert (found.answer, found.predicted_class, found.probability) == ("crack", "crack", 0.75)
    assert found.probabilities == {"crack": 0.75, "pit / 点": 0.25}
    assert answers.pictures.read(found.sha256) == b"one"
    assert found.right is None
    with pytest.raises(LookupError, match="answer 99"):
        answers.get(99)


def test_many_threads(answers: Answers, keep: Keep) -> None:
    """Every answer has a row of its own, and what asked for it gets its number."""

    def ask(thread: int) -> list[tuple[int, str]]:
        asked = [(keep(b"%d" % n, name=f"{thread}/{n}"), f"{thread}/{n}") for n in range(60)]
        return [(future.result(30), name) for future, name in asked]

    with ThreadPoolExecutor(8) as pool:
        numbers = [pair for each in pool.map(ask, range(8)) for pair in each]
    found = answers.page(Wanted(), most=1000)
    assert sorted((each.number, each.name) for each in found) == sorted(numbers)
    assert len({number for number, _ in numbers}) == 480


def test_what_is_wanted(answers: Answers, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    for hour, (answer, source) in enumerate(
        [("crack", PROGRAM), ("unknown", PAGE), ("crack", WATCH), ("not sure", PROGRAM)] * 3
    ):
        monkeypatch.setattr(module, "now", lambda hour=hour: f"2026-05-01T{hour:02}:00:00.000")
        keep(b"%d" % hour, answer, source=source, version=1 + hour // 6, name=f"Part_{hour}.png")
    answers_at = lambda **words: [each.at[11:13] for each in answers.page(Wanted(**words))]  # noqa: E731
    keep(b"last").result(30)
    assert answers_at(answer="unknown") == ["09", "05", "01"]
    assert answers_at(source="watch") == ["10", "06", "02"]
    assert answers_at(version=2, answer="crack") == ["10", "08", "06"]
    assert answers_at(since="2026-05-01T09", until="2026-05-01T11") == ["10", "09"]
    assert answers_at(until="2026-05-01T02") == ["01", "00"]
    assert answers_at(since="2027") == [] and answers_at(until="2026-05") == []
    assert answers_at(name="part_1.") == ["01"]
    assert answers.counts(Wanted(since="2026-05-01T06", until="2026-05-01T11")) == {
        "crack": 3,
        "not sure": 1,
        "unknown": 1,
    }


def test_times_of_a_clock_that_was_set_back(answers: Answers, tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log")
    for hour in (8, 9, 10, 7, 8, 11):
        facts = told(b"") | {"version": 1, "source": PROGRAM, "ms": None}
        log.append_all([(f"2026-05-01T{hour:02}:30", "program", "answer", facts)])
    log.close()

    def hours(**words: str) -> list[int]:
        return [int(each.at[11:13]) for each in answers.page(Wanted(**words))]

    assert hours(since="2026-05-01T09") == [11, 10, 9]
    assert hours(until="2026-05-01T09") == [8, 7, 8]
    assert hours(since="2026-05-01T08", until="2026-05-01T10") == [8, 9, 8]
    assert hours(since="2026-05-01T12") == hours(until="2026-05-01T07") == []


def test_pages_have_every_answer_once(answers: Answers, keep: Keep) -> None:
    numbers = [keep(b"%d" % n) for n in range(25)]
    wanted = [future.result(30) for future in numbers]
    seen: list[int] = []
    before = None
    while found := answers.page(Wanted(answer="crack"), before, most=7):
        seen += [each.number for each in found]
        before = found[-1].number
        keep(b"new").result(30)  # what comes meanwhile moves nothing
    assert seen == sorted(wanted, reverse=True)


def test_pages_do_not_become_slow(answers: Answers, tmp_path: Path) -> None:
    """By indexes: what is read is what is shown, not all that was ever answered."""
    log = EventLog(tmp_path / "log")
    facts = told(b"") | {"version": 1, "source": PROGRAM, "ms": None}
    log.append_all(
        (f"2026-05-01T00:00:{n % 60:02}", "program", "answer", facts | {"name": str(n)})
        for n in range(30_000)
    )
    log.append_all([("2026-05-02", "program", "answer", facts | {"answer": "unknown"})])
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    answers._reading._file._rows.set_progress_handler(count, 1000)
    assert len(answers.page(Wanted(answer="unknown"))) == 1
    assert len(answers.page(Wanted(sha256=told(b"")["sha256"]))) == 50
    assert len(answers.page(Wanted(since="2026-05-02"))) == 1
    assert len(answers.page(Wanted(since="2026-05-03"))) == 0
    assert len(answers.page(Wanted(until="2026-05-01"))) == 0
    assert len(answers.page(Wanted(review="wrong"))) == 0
    assert steps < 100


def test_csv_of_names_that_are_formulas(answers: Answers, keep: Keep) -> None:
    keep(b"1", name='=cmd|"x"!A0', who="+anna")
    keep(b"2", "unknown", name="b,\nc").result(30)
    text = "".join(answers.csv(Wanted()))
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["name"] for row in rows] == ["b,\nc", '\'=cmd|"x"!A0']
    assert rows[1]["who"] == "'+anna" and rows[0]["answer"] == "unknown"
    assert rows[0]["review"] == "" and rows[0]["probability"] == "0.75"


def test_a_name_of_any_bytes(answers: Answers, keep: Keep) -> None:
    number = keep(b"1", name="rou\udce9\ud800\0.bmp").result(30)
    assert answers.get(number).name == "rou\\udce9\\ud800\0.bmp"


def test_no_number_is_the_callers_error(answers: Answers, keep: Keep) -> None:
    with pytest.raises(ValueError, match="JSON"):
        answers.keep(told(b"1") | {"probability": float("nan")}, None, version=1, source=PAGE)
    assert answers.get(keep(b"2").result(30)).answer == "crack"


def test_once(keep: Keep) -> None:
    """A file that is answered again after a kill has one row; others are others."""
    first = keep(b"1", source=WATCH, once=True).result(30)
    together = [keep(b"1", source=WATCH, once=True) for _ in range(3)]
    together += [keep(b"2", source=WATCH, once=True) for _ in range(3)]
    numbers = [future.result(30) for future in together]
    assert numbers[:3] == [first] * 3 and len(set(numbers[3:])) == 1
    others = [keep(b"1", source=PAGE, once=True), keep(b"1", source=WATCH, name="b", once=True)]
    others += [keep(b"1", source=WATCH)]
    assert len({first, *numbers, *(future.result(30) for future in others)}) == 5


def test_the_end_writes_what_waits(tmp_path: Path) -> None:
    store = PictureStore(tmp_path, 10**6)
    answers = Answers(tmp_path / "log", store)
    for number in range(500):
        answers.keep(told(b"x", name=str(number)), b"x", version=1, source=PROGRAM)
        if number == 99:
            answers.settle()
            assert len(answers.page(Wanted(), most=1000)) == 100
    answers.close()
    store.close()
    names = [event.facts["name"] for event in EventLog(tmp_path / "log").events("answer")]
    assert names == [str(number) for number in range(500)]


def test_a_disk_that_takes_no_rows_for_a_while(
    answers: Answers, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AGAIN", 0.01)
    append, failures = EventLog.append_all, 3

    def full(log: EventLog, rows: Any) -> list[int]:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise MachineError("log: database or disk is full")
        return append(log, rows)

    monkeypatch.setattr(EventLog, "append_all", full)
    number = keep(b"1").result(30)
    assert failures == -1 and [each.number for each in answers.page(Wanted())] == [number]


def test_more_than_may_wait_for_such_a_disk(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 0)
    with pytest.raises(MachineError, match="takes no more answers"):
        keep(b"1")


def test_killed_while_it_answers(tmp_path: Path, python: str) -> None:
    """What was said to be kept is; no answer is there twice, though the client asks again."""
    script = (
        "import hashlib, os\nfrom pathlib import Path\n"
        "from cvgssl.station.answers import Answers\n"
        "from cvgssl.station.picture_store import PictureStore\n"
        "answers = Answers(Path('log'), PictureStore(Path(), 10**7))\n"
        "def keep(n):\n"
        "    data = b'%d' % n * 1000\n"
        "    told = {'name': str(n), 'sha256': hashlib.sha256(data).hexdigest(), 'answer': 'crack',"
        " 'class': 'crack', 'probability': 1.0, 'probabilities': {'crack': 1.0}}\n"
        "    return answers.keep(told, data, version=1, source='watch', once=True)\n"
        "for start in range(0, 100000, 20):\n"
        "    futures = [keep(n) for n in range(start, start + 20)]\n"
        "    for n, future in enumerate(futures):\n"
        "        os.write(1, b'%d %d\\n' % (start + n, future.result()))\n"
    )
    said: dict[int, int] = {}
    for lines in (1, 30, 75):  # after so many, at different places of twenty that are kept together
        process = subprocess.Popen([python, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE)
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        printed += process.stdout.read().splitlines(keepends=True)
        process.wait()
        for line in printed:
            if line.endswith(b"\n"):
                name, number = map(int, line.split())
                assert said.setdefault(name, number) == number
    events = list(EventLog(tmp_path / "log").events("answer"))
    numbers = {int(event.facts["name"]): event.number for event in events}
    assert len(numbers) == len(events) >= len(said) > 20
    assert {name: numbers[name] for name in said} == said
    store = PictureStore(tmp_path, 10**7)
    assert all(store.read(event.facts["sha256"]) for event in events)
    store.close()
