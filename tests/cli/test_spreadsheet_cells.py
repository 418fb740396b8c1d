"""No CSV that the project writes has a formula in it, and its own readers give the names back."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.bench.cells import CellResult
from cvgssl.bench.statistics import summarize
from cvgssl.bench.tables import draws_to_csv, to_csv
from cvgssl.images.scan import load_dataset
from cvgssl.images.splits import read_split, write_split
from cvgssl.recognizer.answers import CsvFormat
from cvgssl.recognizer.predict import Prediction
from cvgssl.runtime.csv_writing import FORMULA, unescape_cell
from cvgssl.selection.label_list import read_labels, write_labels

CLASSES = ("=1+1", "-x", "+y", "@SUM(A1)", "'=quoted", "don't")


def words(text: str) -> list[str]:
    """All cells that are not numbers; none of them is a formula."""
    cells = [cell for row in csv.reader(text.removeprefix("\ufeff").splitlines()) for cell in row]
    texts = []
    for cell in cells:
        try:
            float(cell)
        except ValueError:
            assert not cell.startswith(FORMULA)
            texts.append(unescape_cell(cell))
    return texts


def test_lists_of_labels(tmp_path: Path) -> None:
    pictures = [(f"{name}.png", name) for name in CLASSES]
    path = tmp_path / "selection.csv"
    write_labels(pictures, path)
    assert [(line.path, line.label) for line in read_labels(path, "--labels")] == pictures
    assert set(CLASSES) < set(words(path.read_text(encoding="utf-8")))


def test_splits(tmp_path: Path) -> None:
    for name in CLASSES:
        for place in range(2):
            picture = tmp_path / "data" / name / f"={place}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), 40 * place, np.uint8)).save(picture)
    dataset = load_dataset(tmp_path / "data", test_fraction=0.5, seed=0)
    path = tmp_path / "data" / "split.csv"
    write_split(dataset, path)
    again = read_split(path)
    assert again.train.classes == dataset.train.classes == tuple(sorted(CLASSES))
    assert again.train.paths == dataset.train.paths
    assert set(CLASSES) < set(words(path.read_text(encoding="utf-8")))


def test_predictions() -> None:
    shares = np.full(len(CLASSES), 1 / len(CLASSES), dtype=np.float32)
    form = CsvFormat()
    text = form.begin(CLASSES, with_verdicts=False) + form.text(
        Prediction(Path("-1.png"), CLASSES, shares)
    )
    assert words(text) == ["path", "class", "probability", *CLASSES, "-1.png", "=1+1"]


@pytest.mark.parametrize("data", ["=steel", "st\x1beel\udce9"])
def test_tables_of_a_benchmark(data: str) -> None:
    cells = [
        CellResult("key", data, "@vit", head, "inductive", 1, "draws", False, {}, figures, figures,
                   [0.1, 0.2], ["a"], [[2]], {}, [])
        for head, figures in (("+h", [90.0, 80.0]), ("-h", [85.0, 70.0]))
    ]  # fmt: skip
    shown = {"=steel": "=steel"}.get(data, "st\\x1beel\\xe9")
    text = to_csv(summarize(cells, "+h"))
    assert {shown, "@vit", "+h", "-h"} < set(words(text))
    assert ",-7.5," in text, "a number below 0 is no text"
    assert {shown, "@vit", "+h", "-h"} < set(words(draws_to_csv(cells)))
