"""Rows are appended whole, and what a file holds is known when it is opened again."""

import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cvgssl.recognizer.answer_files import Output
from cvgssl.recognizer.answers import CsvFormat, JsonLinesFormat
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.growing import GrowingFile, picture_key
from cvgssl.recognizer.predict import Prediction, Recognition, recognition
from cvgssl.runtime.errors import UserError
from tests.recognizer.conftest import CLASSES

FORMS = [CsvFormat(), JsonLinesFormat()]
ODD = [
    "plain.png",
    'quote".png',
    "two\nlines.png",
    "comma, 夹杂.png",
    "=1+1.png",
    os.fsdecode(b"gr\xfcn.png"),
]


@pytest.fixture(scope="session")
def work(run_folder: Path, pictures: Path) -> Recognition:
    return recognition(PredictOptions(recognizer=run_folder, pictures=(pictures,)))


def prediction(name: str, place: int = 0) -> Prediction:
    return Prediction(Path(name), CLASSES, np.eye(3, dtype=np.float32)[place])


def write(path: Path, form: CsvFormat | JsonLinesFormat, work: Recognition, *names: str) -> None:
    file = GrowingFile(Output(form, path), work)
    for number, name in enumerate(names):
        file.append(prediction(name, number % 3))
    file.close()


@pytest.mark.parametrize("form", FORMS)
def test_names_of_all_kinds_are_known_again(
    form: CsvFormat | JsonLinesFormat, work: Recognition, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "rows"
    write(path, form, work, *ODD)
    before = path.read_bytes()
    again = GrowingFile(Output(form, path), work)
    assert again.answers == {
        picture_key(Path(name)): CLASSES[number % 3] for number, name in enumerate(ODD)
    }
    again.append(prediction(ODD[1]))  # is there
    again.append(prediction("new.png"))
    again.append(prediction(ODD[1]))  # a new picture of the name
    again.close()
    whole = tmp_path / "whole"
    write(whole, form, work, "a.png", "a.png", "new.png", ODD[1])
    rows = form.text(prediction("new.png")) + form.text(prediction(ODD[1]))
    assert path.read_bytes() == before + rows.encode()


@pytest.mark.parametrize("form", FORMS)
def test_a_row_that_was_cut_is_written_again(
    form: CsvFormat | JsonLinesFormat, work: Recognition, tmp_path: Path
) -> None:
    path, whole = tmp_path / "rows", tmp_path / "whole"
    write(whole, form, work, "a.png", "two\nlines.png")
    data = whole.read_bytes()
    write(path, form, work, "a.png")
    least = len(path.read_bytes())
    for size in range(len(data)):
        path.write_bytes(data[:size])
        file = GrowingFile(Output(form, path), work)
        assert len(file.answers) == (size >= least)
        if size < least:
            file.append(prediction("a.png"))
        file.append(prediction("two\nlines.png", 1))
        file.close()
        assert path.read_bytes() == data


def test_files_of_others_are_left_as_they_are(work: Recognition, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    for text in ("path,label\na,b\n", "path,class,probability,a,b\n"):
        other.write_text(text)
        with pytest.raises(UserError, match="another; name another file"):
            GrowingFile(Output(CsvFormat(), other), work)
        assert other.read_text() == text
    for text in ("path\n", "3\n", '{"path": 1}\n'):
        other.write_text(text)
        with pytest.raises(UserError, match="cannot be read as a file of answers"):
            GrowingFile(Output(JsonLinesFormat(), other), work)
        assert other.read_text() == text


def test_a_full_disk_leaves_whole_rows(work: Recognition, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    file = GrowingFile(Output(JsonLinesFormat(), path), work)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, before[1]))
    try:
        with pytest.raises(OSError) as full:
            for number in range(10):
                file.append(prediction(f"{number}.png"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    file.close()
    assert full.value.filename == str(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert 0 < len(lines) < 10
    assert [json.loads(line)["path"] for line in lines] == [f"{i}.png" for i in range(len(lines))]


def test_a_pipe_is_written_to(work: Recognition, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as reader:
        text = reader.submit(pipe.read_text, encoding="utf-8")
        write(pipe, CsvFormat(), work, "a.png", "b.png")
        header, *rows = text.result(timeout=30).splitlines()
    assert header.startswith("path,") and [row.split(",")[0] for row in rows] == ["a.png", "b.png"]
