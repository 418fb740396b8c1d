import csv
import io
from dataclasses import replace

import pytest

from cvgssl.bench.statistics import Difference, ResultRow
from cvgssl.bench.tables import grid, tables_of, to_csv, to_latex, to_markdown
from cvgssl.heads.metrics import mean_interval


def row(
    head: str, setting: str, shot: int, uses: bool = False, p: float | None = None
) -> ResultRow:
    figures = mean_interval([80.0, 90.0])
    difference = None if p is None else Difference(mean_interval([1.0, 2.0]), p / 2, p)
    return ResultRow(
        "a_b|c", "vit", setting, head, uses, shot, 2, figures, figures, 0.0123, difference
    )  # fmt: skip


ROWS = [
    row("mean", "inductive", 1),
    row("mean", "inductive", 4),
    row("graph", "inductive", 4, uses=True, p=0.04),
    row("mean", "semi-supervised", 1),
    row("graph", "semi-supervised", 1, uses=True, p=0.06),
]


def test_settings_never_share_a_table() -> None:
    inductive, semi = tables_of(ROWS)
    assert {one.setting for one in inductive.cells.values()} == {"inductive"}
    assert (inductive.shots, semi.shots) == ((1, 4), (1,))


def test_what_was_not_run_is_a_dash_and_significance_a_star() -> None:
    inductive, semi = tables_of(ROWS)
    assert grid(inductive) == [
        ["mean", "85.00 ± 63.53", "85.00 ± 63.53"],
        ["graph", "–", "85.00 ± 63.53"],
    ]
    assert grid(inductive, "difference")[1] == ["graph", "–", "+1.50 ± 6.35 *"]
    assert grid(semi, "difference") == [["mean (labels alone)", "–"], ["graph", "+1.50 ± 6.35"]]
    assert grid(semi, "seconds")[0][1] == "0.012"


def test_markdown_escapes_names_and_keeps_columns() -> None:
    text = to_markdown(tables_of(ROWS), "mean", ["a note on a|b"])
    assert r"## a\_b\|c, vit, inductive" in text
    lines = [line.replace(r"\|", "") for line in text.splitlines() if line.startswith("|")]
    blocks = "\n".join(lines)
    assert {line.count("|") for line in blocks.splitlines()} == {3, 4}


def test_latex_has_a_table_for_each_figure_with_even_columns() -> None:
    text = to_latex(tables_of(ROWS), "mean")
    assert text.count(r"\begin{table}") == 6
    assert r"a\_b|c" in text
    for block in text.split(r"\begin{tabular}")[1:]:
        columns = block[: block.index("\n")].strip("{}")
        body = [line for line in block.splitlines() if line.endswith(r" \\")]
        assert {line.count(" & ") + 1 for line in body} == {len(columns)}


def test_csv_reads_back() -> None:
    (first, *_, last) = csv.DictReader(io.StringIO(to_csv(ROWS)))
    assert first["data"] == "a_b|c"
    assert first["difference_mean"] == first["p"] == ""
    assert float(last["p_holm"]) == pytest.approx(0.06)
    assert float(last["macro_recall_ci95"]) == pytest.approx(63.531, abs=0.001)


def test_controls_and_bytes_that_are_no_utf8_become_escapes() -> None:
    strange = [replace(one, data="a\x1b[2Jb\udce9", encoder="v\u202ei") for one in ROWS]
    tables = tables_of(strange)
    notes = ["c\udce9\x00"]
    for text in (to_markdown(tables, "mean", notes), to_latex(tables, "mean"), to_csv(strange)):
        assert all(char.isprintable() or char == "\n" for char in text)
        assert "x1b" in text and "xe9" in text and "u202e" in text
