"""Pictures are named as they arrive, each once, whatever happens to them and to the program."""

import csv
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from PIL import Image

from cvgssl.recognizer.watching import LAST_TRY, Arrivals
from cvgssl.runtime.errors import UserError
from tests.conftest import Command


def save(path: Path, gray: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 30), gray).save(path)
    return path


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A folder with one picture."""
    save(tmp_path / "line" / "0.png")
    return tmp_path / "line"


@pytest.fixture
def arrivals(line: Path) -> Arrivals:
    return Arrivals(line, lambda path: path.name.startswith("known"))


def claimed(arrivals: Arrivals) -> list[str]:
    return [path.name for path in arrivals.poll() if arrivals.claim(path)]


def test_a_picture_is_ready_when_it_has_stopped_growing(line: Path, arrivals: Arrivals) -> None:
    assert claimed(arrivals) == []
    data = (line / "0.png").read_bytes()
    (line / "below").mkdir()
    (line / "below" / "1.png").write_bytes(data[:40])
    assert claimed(arrivals) == ["0.png"]
    (line / "below" / "1.png").write_bytes(data)
    assert claimed(arrivals) == []
    assert claimed(arrivals) == ["1.png"]
    assert claimed(arrivals) == []


def test_a_picture_that_is_written_over_is_new(line: Path, arrivals: Arrivals) -> None:
    claimed(arrivals)
    assert claimed(arrivals) == ["0.png"]
    save(line / "0.png", 17)
    os.utime(line / "0.png", (10**9, 10**9))
    assert claimed(arrivals) == []
    assert claimed(arrivals) == ["0.png"]


def test_a_picture_that_changes_or_vanishes_is_left_alone(line: Path, arrivals: Arrivals) -> None:
    save(line / "1.png")
    arrivals.poll()
    ready = arrivals.poll()
    assert [path.name for path in ready] == ["0.png", "1.png"]
    (line / "0.png").unlink()
    (line / "1.png").write_bytes(b"longer" * 100)
    assert [arrivals.claim(path) for path in ready] == [False, False]
    arrivals.give_up({line / "0.png": "gone", line / "1.png": "cut"})
    assert claimed(arrivals) == []
    assert claimed(arrivals) == ["1.png"]


def test_an_unreadable_picture_is_tried_again_and_given_up(
    line: Path, arrivals: Arrivals, caplog: pytest.LogCaptureFixture
) -> None:
    bad = line / "bad.png"
    bad.write_bytes(b"no picture")
    tries = []
    for poll in range(1, LAST_TRY + 5):
        ready = arrivals.poll()
        if bad in ready:
            tries.append(poll)
            arrivals.give_up({bad: "damaged"})
        if line / "0.png" in ready:
            arrivals.claim(line / "0.png")
    assert tries == [2, LAST_TRY]
    assert caplog.messages == [f"{bad}: damaged; left out"]
    save(bad)
    assert claimed(arrivals) == []
    assert claimed(arrivals) == ["bad.png"]


def test_what_was_named_before_is_known_at_the_first_look_only(
    line: Path, arrivals: Arrivals
) -> None:
    save(line / "known.png")
    for _ in range(2):
        names = claimed(arrivals)
    assert names == ["0.png"]
    save(line / "known 2.png")
    claimed(arrivals)
    assert claimed(arrivals) == ["known 2.png"]


def test_a_folder_that_is_away_for_a_while(
    line: Path, arrivals: Arrivals, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        claimed(arrivals)
    line.rename(line.with_name("away"))
    for _ in range(2):
        with pytest.raises(UserError, match="no such folder") as away:
            arrivals.poll()
        arrivals.warn(away.value)
    assert caplog.messages == [f"{line}: no such folder; trying again"]
    line.with_name("away").rename(line)
    save(line / "1.png")
    claimed(arrivals)
    assert claimed(arrivals) == ["1.png"], "0.png is the same as before"


class Watch:
    """`cvgssl predict RUN --watch line ...` at work."""

    def __init__(self, python: str, folder: Path, run: Path, *words: str) -> None:
        options = ["--watch", "line", "--poll-seconds", "0.05", *words]
        self.process = subprocess.Popen(
            [python, "-m", "cvgssl", "predict", str(run), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        assert self.process.stdout is not None
        self.lines: IO[str] = self.process.stdout

    def next(self) -> list[str]:
        """The cells of its next line."""
        return self.lines.readline().rstrip("\n").split("\t")

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Exit code and standard error after a signal."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@pytest.fixture
def watches() -> Iterator[list[Watch]]:
    started: list[Watch] = []
    yield started
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def rows(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["path"] for row in csv.DictReader(file)]


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_from_arrival_to_the_end_and_on(
    line: Path,
    tmp_path: Path,
    run_folder: Path,
    python: str,
    watches: list[Watch],
    command: Command,
) -> None:
    words = ["--csv", "a.csv", "--jsonl", "a.jsonl", "--sort-into", "sorted"]

    def start() -> Watch:
        watches.append(Watch(python, tmp_path, run_folder, *words))
        return watches[-1]

    watch = start()
    path, answer, probability, place = watch.next()
    assert path == "line/0.png" and place == f"sorted/{answer}/0.png"
    assert (tmp_path / place).read_bytes() == (line / "0.png").read_bytes()
    assert 1 / 3 <= float(probability) <= 1
    (line / "bad.png").write_bytes(b"no picture")
    data = save(tmp_path / "slow.png", 60).read_bytes()
    (line / "slow.png").write_bytes(
        data[: len(data) // 2]
    )  # its writer pauses for longer than a look
    for name in ("shift 2/1.png", "shift 2/2.png"):
        save(line / name, 10)
        assert watch.next()[0] == f"line/{name}"
    (line / "slow.png").write_bytes(data)
    assert watch.next()[0] == "line/slow.png"
    first = ["line/0.png", "line/shift 2/1.png", "line/shift 2/2.png", "line/slow.png"]
    assert rows(tmp_path / "a.csv") == first
    code, errors = watch.end()
    assert code == 0 and "4 pictures: " in errors and "Traceback" not in errors

    save(line / "2.png", 200)
    watch = start()
    assert watch.next()[0] == "line/2.png"
    watch.end(signal.SIGKILL)
    shutil.rmtree(tmp_path / "sorted")  # what is missing there is brought again
    with (tmp_path / "a.csv").open("a") as file:
        file.write("line/3.p")
    save(line / "3.png", 30)
    watch = start()
    assert watch.next()[0] == "line/3.png"
    code, errors = watch.end(signal.SIGTERM)
    assert code == 0 and "1 picture: " in errors
    named = [*first, "line/2.png", "line/3.png"]
    assert rows(tmp_path / "a.csv") == named
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(text)["path"] for text in lines] == named
    names = sorted(path.name for path in (tmp_path / "sorted").rglob("*.png"))
    assert names == sorted(Path(path).name for path in named)
    done = command("predict", run_folder, "line", *words, "--skip-corrupt")
    assert done.returncode == 0 and "no new pictures" in done.stderr and done.stdout == ""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_pictures_are_moved_and_known_by_that(
    line: Path, tmp_path: Path, run_folder: Path, python: str, watches: list[Watch]
) -> None:
    for gray in (90, 20):  # a camera that begins its numbers again
        save(line / "0.png", gray)
        watches.append(
            Watch(python, tmp_path, run_folder, "--sort-into", "sorted", "--sort-mode", "move")
        )
        watches[-1].next()
        assert watches[-1].end()[0] == 0
        assert not (line / "0.png").exists()
    assert len(list((tmp_path / "sorted").rglob("0*.png"))) == 2


@pytest.mark.skipif(os.name == "nt", reason="a limit of Unix")
def test_a_full_disk_ends_it_with_one_line(
    line: Path, tmp_path: Path, run_folder: Path, command: Command
) -> None:
    import resource

    for number in range(1, 12):
        save(line / f"{number}.png", number)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, before[1]))
    try:
        done = command(
            "predict", run_folder, "--watch", "line", "--poll-seconds", "0.05", "--csv", "a.csv"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "a.csv: " in done.stderr
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")
    named = rows(tmp_path / "a.csv")
    assert text.endswith("\n") and named == [f"line/{i}.png" for i in range(len(named))] and named
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == named


def test_listed_pictures_are_sorted_too(
    pictures: Path, tmp_path: Path, run_folder: Path, command: Command
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    words = ("predict", run_folder, pictures, "bad.png", "--sort-into", "sorted")
    done = command(*words)
    assert done.returncode == 2 and "bad.png: " in done.stderr and "--skip-corrupt" in done.stderr
    places = [row.split("\t")[3] for row in done.stdout.splitlines()]
    assert len(places) == 7 and all((tmp_path / place).is_file() for place in places)
    done = command(*words, "--skip-corrupt")
    assert done.returncode == 0 and done.stdout == ""
    assert len([path for path in (tmp_path / "sorted").rglob("*.*") if path.is_file()]) == 7


def test_json_lines_of_a_whole_job(pictures: Path, run_folder: Path, command: Command) -> None:
    done = command("predict", run_folder, pictures, "--jsonl", "-")
    values = [json.loads(text) for text in done.stdout.splitlines()]
    whole = json.loads(command("predict", run_folder, pictures, "--json", "-").stdout)
    assert len(values) == 7 and values == whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--watch", "none"], "--watch none: no such folder"),
        (["line", "--watch", "line"], "PICTURES, --watch: name one of them"),
        ([], "PICTURES is needed (or --watch FOLDER)"),
        (["--watch", "line", "--json", "a.json"], "--watch and --sort-into take --jsonl"),
        (["line", "--poll-seconds", "2"], "--poll-seconds: has no effect without --watch"),
        (["line", "--sort-mode", "move"], "--sort-mode: has no effect without --sort-into"),
        (["--watch", "line", "--sort-into", "line/x"], "--sort-into line/x: is inside line"),
        (["line", "--csv", "-", "--jsonl", "-"], "only one of them can go to standard output"),
    ],
)
def test_options_that_do_not_go_together(
    words: list[str], message: str, line: Path, run_folder: Path, command: Command
) -> None:
    done = command("predict", run_folder, *words)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert message in done.stderr and list(line.iterdir()) == [line / "0.png"]
