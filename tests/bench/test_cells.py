"""One cell at a time: what may and what may not change its numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clouds import clouds

from cvgssl.bench import running, source_rows
from cvgssl.bench.cells import Cell, CellResult, code_files, read_cell, write_cell
from cvgssl.bench.config import SETTINGS
from cvgssl.bench.entries import FeatureSource, HeadChoice
from cvgssl.bench.recorded import digest_of_draws, dirichlet_queries, draws_of
from cvgssl.bench.running import CellJob, compute_cell
from cvgssl.bench.sources import load_sources, read_table
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable, save_features
from cvgssl.heads import HEADS
from cvgssl.runtime.files import read_sealed_json, write_sealed_json

ALONE, USING = "nearest-mean", "propagation"


def work(path: Path, setting: str, head: str, table: FeatureTable, shot: int = 2) -> CellJob:
    save_features(table, path)
    (source,) = load_sources([FeatureSource(file=path, data="steel")])
    draws, _ = draws_of(table, (shot,), 6, 0)
    queries = (
        dirichlet_queries(table.split("test"), 6, 0, 2.0, 5) if "dirichlet" in setting else None
    )
    choice = HeadChoice(head=head, label=head, params={})
    digest = digest_of_draws(draws[shot], queries)
    return CellJob(Cell(source, choice, setting, shot, "power", digest), draws[shot], queries)


def changed(table: FeatureTable, rows: np.ndarray, by: float) -> FeatureTable:
    values = table.values.copy()
    values[rows] += np.random.default_rng(9).normal(size=values[rows].shape).astype("f4") * by
    return replace(table, values=values)


def rows_of(table: FeatureTable, split: str) -> np.ndarray:
    return np.flatnonzero(np.array(table.splits) == split)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("head", [ALONE, USING])
def test_every_setting_classifies_the_pictures_that_are_asked(
    setting: str, head: str, tmp_path: Path
) -> None:
    job = work(tmp_path / "f.npz", setting, head, clouds())
    result = compute_cell(job)
    asked = sum(map(len, job.queries)) if job.queries else 6 * 19
    assert np.sum(result.confusion) == asked
    assert len(result.accuracy) == len(result.macro_recall) == len(result.seconds) == 6
    assert np.mean(result.accuracy) > 50, "three clouds; chance is 33 %"
    assert all(seconds > 0 for seconds in result.seconds)
    assert 100 * np.trace(result.confusion) / asked == pytest.approx(
        np.average(result.accuracy, weights=[len(q) for q in job.queries or [[0]] * 6])
    )


def test_semi_supervised_is_what_the_head_itself_gives(tmp_path: Path) -> None:
    table = clouds()
    job = work(tmp_path / "f.npz", "semi-supervised", USING, table)
    result = compute_cell(job)
    order = np.argsort(table.names)
    train, test = table.take(order).split("train"), table.take(order).split("test")
    preparation = Preparation(blocks=train.blocks).fit(train.values)
    for number, support in enumerate(job.draws.supports):
        names = [name for paths in support.values() for name in paths]
        target = np.array([
            label if name in names else -1
            for name, label in zip(train.names, train.labels, strict=True)
        ])  # fmt: skip
        head = HEADS[USING]().fit(preparation.transform(train.values), target)
        right = head.predict(preparation.transform(test.values)) == test.labels
        assert result.accuracy[number] == pytest.approx(100 * right.mean())


def test_inductive_looks_at_no_unlabelled_picture(tmp_path: Path) -> None:
    table = clouds()
    job = work(tmp_path / "f.npz", "inductive", ALONE, table)
    named = {name for support in job.draws.supports for paths in support.values() for name in paths}
    others = np.array([row for row in rows_of(table, "train") if table.names[row] not in named])
    assert len(others) > 5
    other = work(tmp_path / "g.npz", "inductive", ALONE, changed(table, others, 30))
    assert compute_cell(job).confusion == compute_cell(other).confusion


@pytest.mark.parametrize("setting", ["inductive", "semi-supervised"])
def test_a_test_picture_changes_nothing_for_the_others(setting: str, tmp_path: Path) -> None:
    table = clouds()
    test = rows_of(table, "test")
    first = compute_cell(work(tmp_path / "f.npz", setting, USING, table)).mistakes
    moved = compute_cell(
        work(tmp_path / "g.npz", setting, USING, changed(table, test[:1], 30))
    ).mistakes
    name = table.names[test[0]]
    assert {k: v for k, v in first.items() if k != name} == {
        k: v for k, v in moved.items() if k != name
    }


@pytest.mark.parametrize("setting", ["semi-supervised", "transductive"])
def test_labels_of_test_change_no_prediction(setting: str, tmp_path: Path) -> None:
    table = clouds()
    labels = table.labels.copy()
    test = rows_of(table, "test")
    labels[test] = np.roll(labels[test], 5)
    first = compute_cell(work(tmp_path / "f.npz", setting, USING, table))
    other = compute_cell(work(tmp_path / "g.npz", setting, USING, replace(table, labels=labels)))
    assert np.sum(first.confusion, axis=0).tolist() == np.sum(other.confusion, axis=0).tolist()
    assert first.confusion != other.confusion


def test_the_order_of_a_file_changes_nothing(tmp_path: Path) -> None:
    table = clouds()
    first = work(tmp_path / "f.npz", "transductive", USING, table)
    mixed = table.take(np.random.default_rng(3).permutation(len(table)))
    other = work(tmp_path / "g.npz", "transductive", USING, mixed)
    assert first.cell.key() == other.cell.key()
    assert compute_cell(first).accuracy == compute_cell(other).accuracy


def test_rows_of_a_source_are_read_once_and_dropped_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = list[Path]()

    def counted(file: Path) -> FeatureTable:
        reads.append(file)
        return read_table(file)

    monkeypatch.setattr(source_rows, "read_table", counted)
    job = work(tmp_path / "f.npz", "semi-supervised", USING, clouds())
    other = replace(job, cell=replace(job.cell, setting="inductive"))
    run = running.run_all([job, other], tmp_path, 1)
    for _, result in run:
        assert isinstance(result, CellResult)
        assert running._rows_of.cache_info().currsize == 1
    assert len(reads) == 1
    assert running._rows_of.cache_info().currsize == 0


def test_mistakes_say_what_was_asked_and_named(tmp_path: Path) -> None:
    result = compute_cell(work(tmp_path / "f.npz", "inductive", ALONE, clouds()))
    wrong = np.sum(result.confusion) - np.trace(result.confusion)
    assert sum(often for _, _, often, _ in result.mistakes.values()) <= wrong
    assert len(result.mistakes) > 0
    for name, (label, named, often, asked) in result.mistakes.items():
        assert name.split("/")[1] == result.classes[label] != result.classes[named]
        assert 1 <= often <= asked == 6


def test_a_key_depends_on_all_that_changes_numbers(tmp_path: Path) -> None:
    table = clouds()
    cell = work(tmp_path / "f.npz", "transductive", "knn", table).cell
    test = rows_of(table, "test")
    keys = {
        cell.key(),
        replace(cell, setting="inductive").key(),
        replace(cell, preparation="whiten").key(),
        replace(cell, draws_digest="other").key(),
        replace(cell, choice=HeadChoice(head="ridge", label="knn", params={})).key(),
        replace(cell, source=replace(cell.source, digest="other")).key(),
        work(tmp_path / "g.npz", "transductive", "knn", changed(table, test[:1], 0.1)).cell.key(),
    }
    assert len(keys) == 7
    renamed = HeadChoice(head="knn", label="another name", params={})
    assert replace(cell, choice=renamed).key() == cell.key()


def test_a_cell_is_read_only_if_whole_and_of_the_same_key(tmp_path: Path) -> None:
    job = work(tmp_path / "f.npz", "inductive", ALONE, clouds())
    path, key = job.cell.path(tmp_path), job.cell.key()
    assert read_cell(path, key) is None
    result = compute_cell(job)
    write_cell(result, path)
    found = read_cell(path, key)
    assert isinstance(found, CellResult)
    assert found.accuracy == result.accuracy
    assert {k: tuple(v) for k, v in found.mistakes.items()} == result.mistakes
    assert read_cell(path, "another key") is None
    path.write_text(path.read_text()[:-30])
    assert read_cell(path, key) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"accuracy": None},
        {"accuracy": ["90"]},
        {"accuracy": [90.0]},
        {"accuracy": [], "macro_recall": [], "seconds": []},
        {"shot": "2"},
        {"classes": ["a"]},
        {"confusion": [[1, 2], [3]]},
        {"mistakes": {"a.png": [0, 1]}},
        {"mistakes": {"a.png": [0, 99, 1, 1]}},
    ],
)
def test_a_cell_with_the_right_key_and_wrong_values_is_computed_again(
    damage: dict[str, object], tmp_path: Path
) -> None:
    job = work(tmp_path / "f.npz", "inductive", ALONE, clouds())
    path, key = job.cell.path(tmp_path), job.cell.key()
    write_cell(compute_cell(job), path)
    write_sealed_json(path, read_sealed_json(path) | damage)
    assert read_cell(path, key) is None


def test_a_cell_that_somebody_changed_is_computed_again(tmp_path: Path) -> None:
    job = work(tmp_path / "f.npz", "inductive", ALONE, clouds())
    path, key = job.cell.path(tmp_path), job.cell.key()
    result = compute_cell(job)
    write_cell(result, path)
    changed = json.loads(path.read_text())
    changed["value"]["accuracy"][0] += 1
    path.write_text(json.dumps(changed))
    assert read_cell(path, key) is None


@pytest.mark.parametrize("content", ["[]", "null", "{}", "\xff"])
def test_a_cell_that_is_something_else_is_computed_again(content: str, tmp_path: Path) -> None:
    (tmp_path / "cell.json").write_text(content, encoding="latin-1")
    assert read_cell(tmp_path / "cell.json", "key") is None


def test_the_code_of_heads_and_what_they_import_is_part_of_the_key() -> None:
    names = {"/".join(path.parts[-2:]) for path in code_files()}
    assert {"heads/base.py", "heads/propagation.py", "features/preparation.py"} <= names
    assert "features/graph.py" in names, "propagation imports it"
    assert "bench/tables.py" not in names
