"""What decided in the head `auto`: kept with the cell, summarised over its draws."""

from dataclasses import replace
from pathlib import Path

from clouds import clouds

from cvgssl.bench.cells import Cell, read_cell, write_cell
from cvgssl.bench.decisions import decision_table
from cvgssl.bench.entries import FeatureSource, HeadChoice
from cvgssl.bench.recorded import digest_of_draws, draws_of
from cvgssl.bench.running import CellJob, compute_cell
from cvgssl.bench.sources import load_sources
from cvgssl.bench.statistics import summarize
from cvgssl.bench.tables import tables_of
from cvgssl.features.table import save_features
from cvgssl.heads.auto_decision import FEW_UNLABELLED, MAP_AGREES, MAP_DISAGREES, AutoDecision

OPEN = AutoDecision(
    ("kernel-ridge", "diffusion", "transport"),
    True,
    "a reason",
    300,
    6,
    0.9,
    (0.02, 0.04),
    (0.2, 0.5, 0.3),
    (1.0, 0.5, 0.7),
    1.0,
)
CLOSED = AutoDecision(
    ("kernel-ridge",), False, "r", 300, 6, None, (0.06, 0.04), (1.0,), (2.0,), 1.0
)
GUESS = replace(OPEN, held_out=0, agreement=0.6, temperatures=(1.0, 1.0, 1.0), temperature=0.6)


def job(path: Path, head: str, setting: str, train: int = 12) -> CellJob:
    table = clouds(train)
    save_features(table, path)
    (source,) = load_sources([FeatureSource(file=path, data="steel")])
    draws, _ = draws_of(table, (2,), 3, 0)
    choice = HeadChoice(head=head, label=head, params={})
    digest = digest_of_draws(draws[2], None)
    return CellJob(Cell(source, choice, setting, 2, "power", digest), draws[2], None)


def test_a_cell_keeps_what_decided_in_every_draw(tmp_path: Path) -> None:
    auto = job(tmp_path / "f.npz", "auto", "semi-supervised", train=60)
    result = compute_cell(auto)
    assert len(result.decisions) == 3
    assert all(decision.unlabelled == 174 for decision in result.decisions)
    assert all(decision.held_out == 6 for decision in result.decisions)
    path = auto.cell.path(tmp_path)
    write_cell(result, path)
    kept = read_cell(path, auto.cell.key())
    assert kept is not None and kept.decisions == result.decisions
    assert compute_cell(job(tmp_path / "g.npz", "knn", "inductive")).decisions == []


def test_few_unlabelled_pictures_are_the_ground_in_the_inductive_setting(tmp_path: Path) -> None:
    result = compute_cell(job(tmp_path / "f.npz", "auto", "inductive"))
    (table,) = tables_of(summarize([result], "auto"))
    columns, (row,) = decision_table(table, [result])
    assert columns[6:] == ["kernel-ridge", "T of mean"]
    assert row[:6] == ["auto", "2", "0 of 3 draws", FEW_UNLABELLED, "–", "–"]
    assert row[6].startswith("1.00 (T ") and 0.5 < float(row[7]) < 2


def test_decisions_are_summarised_over_the_draws(tmp_path: Path) -> None:
    result = compute_cell(job(tmp_path / "f.npz", "knn", "semi-supervised"))
    result = replace(result, head="auto", decisions=[OPEN, OPEN, CLOSED, GUESS])
    one_label = replace(result, shot=1, decisions=[GUESS])
    other = replace(result, setting="inductive")
    nearest = replace(result, head="nearest-mean", decisions=[])
    results = [result, nearest, one_label, other]
    table = tables_of(summarize(results, "nearest-mean"))[0]
    columns, (first, second) = decision_table(table, results)
    assert dict(zip(columns, second, strict=True)) == {
        "head": "auto",
        "shot": "2",
        "unlabelled used": "3 of 4 draws",
        "why": f"{MAP_AGREES} (3); {MAP_DISAGREES} (1)",
        "map / labels": "3.0 / 4.0 %",
        "agreement": "80 %",
        "kernel-ridge": "0.40 (T 1.33)",
        "diffusion": "0.38 (T 0.50)",
        "transport": "0.22 (T 0.70)",
        "T of mean": "0.90",
    }
    assert first == ["auto", "1", "1 of 1 draws", MAP_AGREES, "2.0 / 4.0 %", "60 %",
                     "0.20", "0.50", "0.30", "0.60"]  # fmt: skip
    assert decision_table(table, [nearest])[1] == []
