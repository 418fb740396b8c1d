"""Answers are written while pictures are recognized, and go on after an interruption."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.decoding import Square
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.answer_files import Output, write_answers
from cvgssl.recognizer.answer_table import ParquetFormat
from cvgssl.recognizer.answers import CsvFormat, JsonFormat
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.predict import Recognizing, recognition
from cvgssl.runtime.errors import UserError

Command = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Interrupted:
    """A recognizer that is stopped before its batch number `at`, from 0."""

    inner: Recognizing
    at: int
    batches: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        return self.inner.classes

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        return self.inner.geometries

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        if self.batches == self.at:
            raise KeyboardInterrupt
        self.batches += 1
        return self.inner(squares)


def write(options: PredictOptions, folder: Path, at: int = 1000) -> tuple[dict[str, int], int, int]:
    """Counts of answers, pictures that were done before, batches recognized now."""
    work = recognition(options)
    counted = Interrupted(work.recognizer, at)
    outputs = [Output(CsvFormat(), folder / "p.csv"), Output(JsonFormat(), folder / "p.json")]
    counts, begun = write_answers(replace(work, recognizer=counted), options, outputs)
    return counts, begun, counted.batches


@pytest.fixture
def options(run_folder: Path, pictures: Path) -> PredictOptions:
    """Seven pictures in batches of two."""
    return PredictOptions(recognizer=run_folder, pictures=(pictures,), batch_size=2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_interrupted_call_goes_on_with_the_same_files(
    options: PredictOptions, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    counts, begun, batches = write(options, whole)
    assert (begun, batches, sum(counts.values())) == (0, 4, 7)
    assert names(whole) == ["p.csv", "p.json"]
    assert len(json.loads((whole / "p.json").read_text())) == 7
    for at, there in ((1, 0), (2, 2), (0, 6)):
        with pytest.raises(KeyboardInterrupt):
            write(options, cut, at)
        assert names(cut) == ["p.csv.part", "p.csv.part.log", "p.json.part"]
        lines = (cut / "p.csv.part").read_text().splitlines()
        assert len(lines) == 1 + there + 2 * at, "whole rows"
    with (cut / "p.csv.part").open("a") as file:
        file.write("half a ro")
    assert write(options, cut) == (counts, 6, 1)
    for name in ("p.csv", "p.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    assert names(cut) == ["p.csv", "p.json"]


@pytest.mark.parametrize(
    "line",
    [
        {"done": "2"},
        {"done": -1},
        {"sizes": ["9"]},
        {"sizes": [-1, 0]},
        {"counts": [1]},
        {"unreadable": [[1]]},
    ],
)
def test_a_log_that_was_edited_is_not_gone_on_from(
    options: PredictOptions, tmp_path: Path, line: dict[str, object]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    counts, *_ = write(options, whole)
    with pytest.raises(KeyboardInterrupt):
        write(options, cut, 1)
    log = cut / "p.csv.part.log"
    first, *_, last = log.read_text().splitlines()
    log.write_text(f"{first}\n{json.dumps(json.loads(last) | line)}\n")
    assert write(options, cut) == (counts, 0, 4)
    assert (cut / "p.json").read_bytes() == (whole / "p.json").read_bytes()


def test_an_interrupted_table_goes_on_and_has_row_groups(
    options: PredictOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("cvgssl.recognizer.answer_table.GROUP", 3)
    path = tmp_path / "p.parquet"
    work = recognition(options)
    outputs = [Output(CsvFormat(), tmp_path / "p.csv"), Output(ParquetFormat(), path)]
    with pytest.raises(KeyboardInterrupt):
        stopped = replace(work, recognizer=Interrupted(work.recognizer, 2))
        write_answers(stopped, options, outputs)
    assert names(tmp_path) == ["p.csv.part", "p.csv.part.log", "p.parquet.part"]
    _, begun = write_answers(work, options, outputs)
    assert begun == 4 and names(tmp_path) == ["p.csv", "p.parquet"]
    file = parquet.ParquetFile(path)
    assert file.metadata.num_row_groups == 3
    rows = file.read().to_pylist()
    assert [row["path"] for row in rows] == [str(each) for each in work.reading.paths]
    assert list(rows[0]["probabilities"]) == list(work.recognizer.classes)


# gets a signal before its third batch
STOPPED = """
import os, signal, sys
from cvgssl.cli.main import main
from cvgssl.recognizer.trained import TrainedRecognizer
number = int(sys.argv.pop())
batches, call = 0, TrainedRecognizer.__call__
def counted(self, squares):
    global batches
    batches += 1
    if batches == 3:
        os.kill(os.getpid(), number)
    return call(self, squares)
TrainedRecognizer.__call__ = counted
raise SystemExit(main())
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize(
    ("number", "code", "text"),
    [
        (signal.SIGKILL, -signal.SIGKILL, ""),
        (signal.SIGTERM, 143, "what is done is kept; the same command goes on there\n"),
    ],
)
def test_a_stopped_command_goes_on(
    run_folder: Path,
    pictures: Path,
    tmp_path: Path,
    python: str,
    command: Command,
    number: int,
    code: int,
    text: str,
) -> None:
    words = ["predict", str(run_folder), str(pictures), "--batch-size", "2", "--csv", "p.csv"]
    stopped = subprocess.run(
        [python, "-c", STOPPED, *words, str(number)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stopped.returncode == code
    assert text in stopped.stderr
    assert len((tmp_path / "p.csv.part").read_text().splitlines()) == 5
    done = command(*words)
    assert "the first 4 pictures were done before" in done.stderr
    assert command(*words[:-1], "whole.csv").returncode == done.returncode == 0
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert names(tmp_path) == ["p.csv", "whole.csv"]


@pytest.mark.parametrize("change", ["model", "picture", "option", "part", "log", "gone"])
def test_it_begins_again_when_something_differs(
    options: PredictOptions, pictures: Path, run_folder: Path, tmp_path: Path, change: str
) -> None:
    own = Path(shutil.copytree(pictures, tmp_path / "pictures"))
    options = replace(options, pictures=(own,))
    with pytest.raises(KeyboardInterrupt):
        write(options, tmp_path / "out", 2)
    log = tmp_path / "out" / "p.csv.part.log"
    if change == "model":
        options = replace(options, recognizer=run_folder / "weights" / "draw_1_ema.safetensors")
    elif change == "picture":
        (own / "gray_1.bmp").write_bytes((own / "gray_0.bmp").read_bytes())
    elif change == "option":
        options = replace(options, batch_size=3)
    elif change == "part":
        (tmp_path / "out" / "p.json.part").write_text("[")
    elif change == "log":
        log.write_text(log.read_text().replace('"sizes"', '"size"'))
    else:
        log.unlink()
    counts, begun, _ = write(options, tmp_path / "out")
    assert begun == 0 and sum(counts.values()) == 7
    expected, _, _ = write(options, tmp_path / "again")
    assert counts == expected
    for name in ("p.csv", "p.json"):
        again = (tmp_path / "again" / name).read_bytes()
        assert (tmp_path / "out" / name).read_bytes() == again


def test_warnings_are_those_of_all_pictures(
    options: PredictOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A dark 16-bit picture and an unreadable one before the interruption."""
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"no picture")
    Image.fromarray(np.full((30, 30), 4000, np.uint16)).save(folder / "1.tif")
    for number in range(2, 6):
        Image.fromarray(np.full((30, 30), number, np.uint8)).save(folder / f"{number}.png")
    options = replace(options, pictures=(folder,), skip_corrupt=True)
    with pytest.raises(KeyboardInterrupt):
        write(options, tmp_path / "out", 2)
    caplog.clear()
    counts, begun, _ = write(options, tmp_path / "out")
    assert (begun, sum(counts.values())) == (4, 5)
    assert "0.png" in caplog.text and "--bit-depth 12" in caplog.text


def test_a_mistake_leaves_no_files(options: PredictOptions, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    options = replace(options, pictures=(*options.pictures, tmp_path / "bad.png"))
    with pytest.raises(UserError, match=r"bad\.png"):
        write(options, tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_the_longest_names_are_written(options: PredictOptions, tmp_path: Path) -> None:
    path = tmp_path / f"{'a' * 251}.csv"
    counts, _ = write_answers(recognition(options), options, [Output(CsvFormat(), path)])
    assert names(tmp_path) == [path.name]
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1 + sum(counts.values())


def test_a_device_is_written_to_directly(options: PredictOptions) -> None:
    outputs = [Output(CsvFormat(), Path("/dev/null"))]
    counts, _ = write_answers(recognition(options), options, outputs)
    assert sum(counts.values()) == 7
    assert not Path("/dev/null.part").exists()


def test_rows_come_batch_by_batch(options: PredictOptions, tmp_path: Path) -> None:
    stream: Any = (tmp_path / "stream").open("wb")
    work = recognition(options)
    stopped = replace(work, recognizer=Interrupted(work.recognizer, 2))
    with pytest.raises(KeyboardInterrupt):
        write_answers(stopped, options, [Output(CsvFormat(), stream)])
    assert len((tmp_path / "stream").read_text().splitlines()) == 5
