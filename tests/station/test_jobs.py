"""Long work in the queue of a station: real commands in real processes."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.selection.label_list import read_labels, write_labels
from cvgssl.station import jobs as module
from cvgssl.station.answering import Answering
from cvgssl.station.answers import Answers
from cvgssl.station.config import StationConfig
from cvgssl.station.events import LOG, Event, EventLog
from cvgssl.station.fitting import Fitting
from cvgssl.station.jobs import Job, Jobs, Progress, _progress
from cvgssl.station.labels import Labels, NewLabel
from cvgssl.station.models import Models
from cvgssl.station.picture_store import PictureStore
from cvgssl.station.pool import Pool
from cvgssl.station.review import Reviews
from tests.station.conftest import until


@pytest.fixture
def jobs(tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    monkeypatch.setattr("sys.executable", python)
    found = Jobs(tmp_path, tmp_path / LOG)
    yield found
    found.close()


def is_over(jobs: Jobs, number: int) -> bool:
    return jobs.job(number).is_over


def test_one_after_the_other_and_what_follows(jobs: Jobs, tmp_path: Path, steel: Path) -> None:
    seen: list[Job] = []
    jobs.after["check"] = seen.append
    jobs.begin()
    findings = tmp_path / "check.json"
    check = jobs.ask("check", ["data", "check", steel, "--json", findings], "Li")
    wrong = jobs.ask("embed", ["embed", tmp_path / "nowhere"], "Li")
    until(lambda: is_over(jobs, wrong))
    assert jobs.job(check).state == "done" and findings.is_file()
    assert [job.number for job in seen] == [check]
    failed = jobs.job(wrong)
    assert failed.state == "failed" and "nowhere" in failed.message and failed.who == "Li"
    with pytest.raises(LookupError):
        jobs.job(99)


def test_what_waits_is_done_where_the_station_has_been_moved_to(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch, steel: Path
) -> None:
    monkeypatch.setattr("sys.executable", python)
    (tmp_path / "old").mkdir()
    before = Jobs(tmp_path / "old", tmp_path / "old" / LOG)
    out = tmp_path / "old" / "pool" / "check.json"
    out.parent.mkdir()
    number = before.ask("check", ["data", "check", steel, "--json", out], "Li")
    assert before.job(number).words[-1] == str(out)
    assert before.ask("check", ["data", "check", steel, "--json", out], "Wang") == number
    before.close()
    (tmp_path / "old").rename(tmp_path / "new")
    after = Jobs(tmp_path / "new", tmp_path / "new" / LOG)
    after.begin()
    until(lambda: is_over(after, number))
    assert after.job(number).state == "done", after.job(number).message
    assert (tmp_path / "new" / "pool" / "check.json").is_file()
    after.close()


def test_a_list_of_labels_follows_the_station(tmp_path: Path) -> None:
    """Reviewed pictures are called by their place, which is another one after a move."""
    config = StationConfig(folder=tmp_path)
    log = EventLog(tmp_path / LOG)
    store = PictureStore(tmp_path, 10**6)
    answers = Answers(tmp_path / LOG, store)
    reviews = Reviews(tmp_path, tmp_path / LOG, answers, 0.05)
    pool = Pool(tmp_path, (), tmp_path / LOG, 128)
    jobs = Jobs(tmp_path, tmp_path / LOG)
    answering = Answering(Models(tmp_path, log), config, None)
    Fitting(config, pool, reviews, jobs, answering)
    listed, sha256 = tmp_path / "labels_3.csv", "0" * 64
    write_labels([("line/1.png", "good"), (f"/old/reviewed/{sha256}", "burr")], listed)
    words = ("fit", "line", "--labels", str(listed), "--out", str(tmp_path / "fits" / "3" / "x"))
    jobs.before["fit"](Job(1, "fit", words, "Li", "waiting"))
    places = {line.path: line.label for line in read_labels(listed, "--labels")}
    assert places == {"line/1.png": "good", str(tmp_path / "reviewed" / sha256): "burr"}
    for each in (jobs, pool, answering, reviews, answers, store, log):
        each.close()


def test_labels_of_deleted_pictures_keep_no_recognizer_from_being_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, station = tmp_path / "line", tmp_path / "station"
    for path in (folder, station):
        path.mkdir()
    labels = Labels(station / LOG)
    for number, label in enumerate(("good", "burr", "good")):
        data = f"picture {number}".encode()
        (folder / f"{number}.png").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        labels.give(NewLabel(f"{number}.png", sha256, label), "Li")
    config = StationConfig(folder=station, pictures=(folder,))
    store = PictureStore(station, 10**6)
    answers = Answers(station / LOG, store)
    reviews = Reviews(station, station / LOG, answers, 0.05)
    pool = Pool(station, (folder,), station / LOG, 128)
    pool.choose("line", "Li")
    jobs, log = Jobs(station, station / LOG), EventLog(station / LOG)
    fitting = Fitting(config, pool, reviews, jobs, Answering(Models(station, log), config, None))
    (folder / "2.png").unlink()
    words = jobs.job(fitting.ask(labels, "Li")).words
    listed = Path(words[words.index("--labels") + 1])
    kept = [line[1:] for line in read_labels(listed, "--labels")]
    assert kept == [("0.png", "good"), ("1.png", "burr")]
    assert "1 label left out, of pictures that are not there" in capfd.readouterr().err
    (folder / "1.png").unlink()
    with pytest.raises(UserError, match="needs labels of two classes"):
        fitting.ask(labels, "Li")
    for each in (jobs, pool, reviews, answers, store, labels, log):
        each.close()


def test_what_follows_may_fail(jobs: Jobs, steel: Path) -> None:
    def refuse(_: Job) -> None:
        raise UserError("this cannot be used")

    jobs.after["check"] = refuse
    jobs.begin()
    number = jobs.ask("check", ["data", "check", steel], "Li")
    until(lambda: is_over(jobs, number))
    assert (jobs.job(number).state, jobs.job(number).message) == ("failed", "this cannot be used")


def test_cancelling_what_runs_and_what_waits(jobs: Jobs, tmp_path: Path) -> None:
    jobs.begin()
    endless = ["data", "synth", tmp_path / "plant", "--per-class", "3000"]
    first = jobs.ask("synth", endless, "Li")
    assert jobs.ask("synth", endless, "Wang") == first, "asked for twice"
    second = jobs.ask("synth", ["data", "synth", tmp_path / "other", "--per-class", "2"], "Li")
    until(lambda: jobs.job(first).state == "running")
    jobs.cancel(second)
    jobs.cancel(first)
    until(lambda: is_over(jobs, first) and is_over(jobs, second))
    assert {jobs.job(number).state for number in (first, second)} == {"cancelled"}
    assert not (tmp_path / "other").exists() and not (tmp_path / "plant").exists()


def test_a_station_that_was_killed_goes_on(
    tmp_path: Path, python: str, steel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", python)
    findings = tmp_path / "check.json"
    script = f"""
import time
from pathlib import Path
from cvgssl.station.jobs import Jobs
jobs = Jobs(Path({str(tmp_path)!r}), Path({str(tmp_path / LOG)!r}))
jobs.ask("check", ["data", "check", {str(steel)!r}, "--json", {str(findings)!r}], "Li")
print("asked", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([python, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "asked\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    again = Jobs(tmp_path, tmp_path / LOG)
    (job,) = again.jobs()
    assert job.state == "waiting"
    again.begin()
    until(lambda: is_over(again, job.number))
    assert again.job(job.number).state == "done" and findings.is_file()
    again.close()


def test_ending_interrupts_and_leaves_the_job_in_the_queue(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", python)
    jobs = Jobs(tmp_path, tmp_path / LOG)
    jobs.begin()
    words = ["data", "synth", tmp_path / "plant", "--per-class", "3000"]
    number = jobs.ask("synth", words, "Li")
    until(lambda: jobs.job(number).state == "running")
    jobs.close()
    log = EventLog(tmp_path / LOG)
    assert [event.kind for event in log.events()] == ["job"]
    log.close()


def test_progress_is_that_of_the_last_line() -> None:
    text = "warning\npictures: 3 of 10, 1.5/s, 5 s left\npictures: 9 of 10, 2.0/s, 1 s left, x\nend"
    assert _progress(text) == Progress(9, 10, 2.0, 1)
    assert _progress("nothing") is None


ONE_JOB = """
import sys, time
from pathlib import Path
from cvgssl.station.jobs import Jobs
sys.executable, folder, log, *words = sys.argv[1:]
jobs = Jobs(Path(folder), Path(log))
jobs.ask("synth", words, "Li")
jobs.begin()
while not (jobs._process and jobs.output(1)):
    time.sleep(0.01)
print(jobs._process.pid, flush=True)
time.sleep(60)
"""


def is_there(process: int) -> bool:
    """Whether a process that is not our child lives."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes")
def test_a_command_ends_with_a_station_that_is_killed_before_it_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[BlockingIOError] = []
    assert module.fcntl is not None

    def lock(file: BinaryIO, operation: int, flock: Any = module.fcntl.flock) -> None:
        try:
            flock(file, operation)
        except BlockingIOError as error:
            refused.append(error)
            raise

    words = ["data", "synth", str(tmp_path / "plant"), "--per-class", "3000"]
    slow, may_end = tmp_path / "slow", tmp_path / "may_end"
    slow.write_text(
        f'#!/bin/sh\n{sys.executable} "$@"\nwhile [ ! -e {may_end} ]; do sleep 0.02; done\n'
    )
    slow.chmod(0o755)
    station = subprocess.Popen(
        [sys.executable, "-c", ONE_JOB, slow, tmp_path, tmp_path / LOG, *words],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert station.stdout is not None
    child = int(station.stdout.readline())
    station.kill()
    station.wait()
    again = Jobs(tmp_path, tmp_path / LOG)
    begun: list[Job] = []
    again.before["synth"] = begun.append
    monkeypatch.setattr(module.fcntl, "flock", lock)
    again.begin()
    until(lambda: again.job(1).state == "running")
    until(lambda: len(refused) >= 3)  # it has looked, and goes on looking
    assert is_there(child) and not begun and again._process is None
    may_end.touch()
    until(lambda: again._process is not None)
    assert not is_there(child) and len(begun) == 1
    again.cancel(1)
    until(lambda: is_over(again, 1))
    assert again.job(1).state == "cancelled" and not (tmp_path / "plant").exists()
    again.close()


def test_a_disk_that_takes_no_rows_for_a_while_stops_no_later_job(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_AGAIN", 0.05)
    append, full = jobs._log.append, [True]

    def appended(kind: str, who: str, **facts: Any) -> Event:
        if kind == module.ENDED and full[0]:
            raise MachineError("station.sqlite: database or disk is full")
        return append(kind, who, **facts)

    monkeypatch.setattr(jobs._log, "append", appended)
    jobs.begin()
    first = jobs.ask("embed", ["embed", tmp_path / "nowhere"], "Li")
    until(lambda: "long work waits: station.sqlite: database or disk" in capsys.readouterr().err)
    assert jobs.job(first).state == "running"
    full[0] = False
    until(lambda: is_over(jobs, first))
    second = jobs.ask("embed", ["embed", tmp_path / "nowhere either"], "Li")
    until(lambda: is_over(jobs, second))
    assert jobs.job(first).state == jobs.job(second).state == "failed"
