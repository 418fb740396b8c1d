"""The log: rows that stay, several writers, files that are none."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.station.events import EventLog


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log")
    first = log.append("label", "anna", picture="a" * 64, to="crack / 裂纹")
    second = log.append("undo", "bo", of=first.number)
    third = log.append("label", "anna", picture="b" * 64, to=None)
    assert (first.number, second.number, third.number) == (1, 2, 3)
    again = EventLog(tmp_path / "log")
    assert list(again.events()) == [first, second, third]
    assert list(again.events("label", after=1)) == [third]
    assert list(again.events("label", "undo")) == [first, second, third]
    assert first.facts["to"] == "crack / 裂纹" and first.at <= third.at


def test_nothing_changes_a_row(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log")
    log.append("label", "anna", to="crack")
    other = sqlite3.connect(tmp_path / "log")
    for statement in ("update events set who = 'bo'", "delete from events"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            other.execute(statement)
    assert [event.who for event in log.events()] == ["anna"]


def test_several_write_at_once(tmp_path: Path) -> None:
    def write(who: str) -> None:
        log = EventLog(tmp_path / "log")
        for number in range(20):
            log.append("label", who, number=number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    events = list(EventLog(tmp_path / "log").events())
    assert [event.number for event in events] == list(range(1, 81))
    for who in "abcd":
        assert [e.facts["number"] for e in events if e.who == who] == list(range(20))


def test_what_is_alone_is_whole_or_not_there(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log")
    with pytest.raises(ZeroDivisionError), log.alone():
        log.append("label", "anna")
        raise ZeroDivisionError
    assert list(log.events()) == []
    with log.alone():
        log.append("label", "anna")
    assert len(list(log.events())) == 1


def test_killed_while_writing(tmp_path: Path, python: str) -> None:
    """What `append` said is there; the row that was being written is whole or not there."""
    script = (
        "import itertools, os, signal, sys\nfrom pathlib import Path\n"
        "from cvgssl.station.events import EventLog\n"
        "log = EventLog(Path('log'))\n"
        "for number in itertools.count():\n"
        "    log.append('label', 'anna', number=number)\n"
        "    os.write(1, b'%d\\n' % number)\n"
    )
    process = subprocess.Popen([python, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(30)]
    process.kill()
    said += [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    kept = [event.facts["number"] for event in EventLog(tmp_path / "log").events()]
    assert kept[: len(said)] == said and len(kept) <= len(said) + 1


def test_others_that_look_cost_nothing(tmp_path: Path, python: str) -> None:
    """Several objects of a process, a second process that looks and ends, and then a kill.

    POSIX locks go when a process closes the file once, however often it has it open.
    """
    script = (
        "import sys\nfrom pathlib import Path\nfrom cvgssl.station.events import EventLog\n"
        "logs = [EventLog(Path('log')) for _ in range(3)]\n"
        "for line in sys.stdin:\n"
        "    logs[0].append('label', 'anna', number=int(line))\n"
        "    print(line, end='', flush=True)\n"
    )
    process = subprocess.Popen(
        [python, "-c", script], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    for number in range(4):
        process.stdin.write(b"%d\n" % number)
        process.stdin.flush()
        assert int(process.stdout.readline()) == number
        looking = EventLog(tmp_path / "log")
        assert len(list(looking.events())) == number + 1
        looking.close()
    process.kill()
    process.wait()
    kept = [event.facts["number"] for event in EventLog(tmp_path / "log").events()]
    assert kept == [0, 1, 2, 3]


@pytest.mark.parametrize("content", [b"no database, but long enough to be looked at" * 40, b"x"])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(UserError, match=r"log: is damaged or no file of a station"):
        EventLog(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == content


def test_another_format(tmp_path: Path) -> None:
    EventLog(tmp_path / "log").close()
    other = sqlite3.connect(tmp_path / "log")
    other.execute("pragma user_version = 7")
    other.close()
    with pytest.raises(UserError, match=r"log: has format 7, this version of cvgssl reads 1"):
        EventLog(tmp_path / "log")


def test_a_place_that_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"missing/log: unable to open"):
        EventLog(tmp_path / "missing" / "log")


def test_a_reader_that_ends_takes_no_rows_away(tmp_path: Path) -> None:
    """SQLite's locks must hold while other objects of the same process come and go."""
    path = tmp_path / "station.sqlite"
    first = EventLog(path)
    first.append("kind", "who", at_first=True)
    EventLog(path).close()
    read = (
        "import sqlite3, sys; rows = sqlite3.connect(sys.argv[1]);"
        "print(*rows.execute('select count(*) from events').fetchone()); rows.close()"
    )
    words = [sys.executable, "-c", read, path]
    for count in (1, 2, 3):
        found = subprocess.run(words, capture_output=True, text=True, check=True)
        assert int(found.stdout) == count
        first.append("kind", "who", after=count)
    first.close()
