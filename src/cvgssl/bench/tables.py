"""The benchmark's rows as Markdown, CSV and LaTeX: one table for each data set, encoder, setting.

Settings never share a table, so never a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cvgssl.bench.cells import CellResult
from cvgssl.bench.statistics import ResultRow
from cvgssl.runtime.csv_writing import CsvValue, csv_text
from cvgssl.runtime.parsing import printable

EXPLAINED = {
    "inductive": "labelled pictures only; each test picture alone",
    "semi-supervised": "train/ pictures without labels too; each test picture alone",
    "transductive": "train/ without labels, and all test pictures together",
    "transductive-balanced": "train/ without labels, and test pictures together, equally many of "
    "each class",
    "transductive-dirichlet": "train/ without labels, and test pictures together, class shares "
    "drawn from a Dirichlet distribution",
}
ALONE = " (labels alone)"  # after a head that takes no advantage of what the setting allows


@dataclass(frozen=True)
class Table:
    """Heads by shots. cells: row of each (head, shot) that was run."""

    data: str
    encoder: str
    setting: str
    heads: tuple[str, ...]
    shots: tuple[int, ...]
    cells: dict[tuple[str, int], ResultRow]

    @property
    def title(self) -> str:
        """Data set, encoder and setting."""
        return f"{self.data}, {self.encoder}, {self.setting}"

    def name_of(self, head: str) -> str:
        """The head as the table calls it: told apart when the setting gives it nothing."""
        uses = any(row.uses_unlabelled for (name, _), row in self.cells.items() if name == head)
        return head if uses or self.setting == "inductive" else head + ALONE


def tables_of(rows: Sequence[ResultRow]) -> list[Table]:
    """One table for each data set, encoder and setting, in the order of the rows."""
    groups: dict[tuple[str, str, str], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.data, row.encoder, row.setting), []).append(row)
    return [
        Table(
            *group,
            tuple(dict.fromkeys(row.head for row in members)),
            tuple(sorted({row.shot for row in members})),
            {(row.head, row.shot): row for row in members},
        )
        for group, members in groups.items()
    ]


def grid(table: Table, figure: str = "macro_recall") -> list[list[str]]:
    """Rows of text: head, then for each shot mean ± half width of the 95 % interval, or a dash.

    figure: macro_recall, accuracy, difference (of macro-recall, with `*` where the corrected p is
    below 0.05) or seconds.
    """
    return [
        [table.name_of(head)]
        + [_text(table.cells.get((head, shot)), figure) for shot in table.shots]
        for head in table.heads
    ]


def to_markdown(tables: Sequence[Table], baseline: str, notes: Sequence[str]) -> str:
    """All tables as Markdown."""
    parts = ["# Benchmark\n", *(f"- {_markdown(note)}" for note in notes)]
    for table in tables:
        parts += [f"\n## {_markdown(table.title)}\n", f"{EXPLAINED[table.setting]}.\n"]
        for figure, title in captions(baseline).items():
            if figure == "difference" and len(table.heads) < 2:
                continue
            parts += [f"{_markdown(title)}:\n", _markdown_table(table, figure), ""]
    return "\n".join(parts).rstrip() + "\n"


def captions(baseline: str) -> dict[str, str]:
    """What each kind of table shows."""
    return {
        "macro_recall": "Macro-recall on test, %",
        "accuracy": "Accuracy on test, %",
        "difference": f"Macro-recall minus that of {baseline}, draw by draw, points "
        "(*: p < 0.05, paired t-test, Holm-corrected over this table)",
        "seconds": "Seconds for one draw (fit and prediction, one thread)",
    }


def to_latex(tables: Sequence[Table], baseline: str) -> str:
    """All tables of macro-recall and differences as LaTeX (booktabs)."""
    parts = ["% needs \\usepackage{booktabs}"]
    texts = captions(baseline)
    for table in tables:
        for figure in ("macro_recall", "accuracy", "difference"):
            if figure == "difference" and len(table.heads) < 2:
                continue
            caption = f"{table.title} ({EXPLAINED[table.setting]}). {texts[figure]}"
            lines = [" & ".join(map(_latex, row)) + r" \\" for row in grid(table, figure)]
            head = " & ".join(["Head", *(f"{shot} shot" for shot in table.shots)]) + r" \\"
            parts += [
                "",
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{_latex(caption)}}}",
                rf"\begin{{tabular}}{{l{'r' * len(table.shots)}}}",
                r"\toprule",
                head,
                r"\midrule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
    return "\n".join(parts) + "\n"


def to_csv(rows: Sequence[ResultRow]) -> str:
    """One line for each cell, all its figures."""
    spreads = [f"{name}_{part}" for name in ("accuracy", "macro_recall", "difference")
               for part in ("mean", "std", "ci95")]  # fmt: skip
    header = ["data", "encoder", "setting", "head", "uses_unlabelled", "shot", "draws", *spreads,
              "p", "p_holm", "seconds"]  # fmt: skip
    lines: list[list[CsvValue]] = []
    for row in rows:
        figures = [row.accuracy, row.macro_recall, row.difference and row.difference.points]
        numbers = [
            value
            for figure in figures
            for value in ((figure.mean, figure.std, figure.ci95) if figure else (None, None, None))
        ]
        tests = (row.difference.p, row.difference.p_holm) if row.difference else (None, None)
        lines.append(
            [row.data, row.encoder, row.setting, row.head, int(row.uses_unlabelled), row.shot,
             row.draws, *numbers, *tests, row.seconds]
        )  # fmt: skip
    return _csv(header, lines)


def draws_to_csv(results: Sequence[CellResult]) -> str:
    """One line for each draw of each cell."""
    header = ["data", "encoder", "setting", "head", "shot", "draw", "accuracy", "macro_recall",
              "seconds"]  # fmt: skip
    lines: list[list[CsvValue]] = []
    for cell in results:
        figures = zip(cell.accuracy, cell.macro_recall, cell.seconds, strict=True)
        for draw, numbers in enumerate(figures, start=1):
            lines.append(
                [cell.data, cell.encoder, cell.setting, cell.head, cell.shot, draw, *numbers]
            )
    return _csv(header, lines)


def _csv(header: Sequence[str], lines: Sequence[Sequence[CsvValue]]) -> str:
    return csv_text(
        header,
        ([printable(cell) if isinstance(cell, str) else cell for cell in line] for line in lines),
    )


def _text(row: ResultRow | None, figure: str) -> str:
    if row is None:
        return "–"
    if figure == "seconds":
        return f"{row.seconds:.2g}"
    if figure == "difference":
        if row.difference is None:
            return "–"
        points, p = row.difference.points, row.difference.p_holm
        text = f"{points.mean:+.2f}" + ("" if points.ci95 is None else f" ± {points.ci95:.2f}")
        return text + (" *" if p is not None and p < 0.05 else "")
    return str(getattr(row, figure))


def _markdown_table(table: Table, figure: str) -> str:
    lines = [
        "| head | " + " | ".join(f"{shot} shot" for shot in table.shots) + " |",
        "|---|" + "---:|" * len(table.shots),
    ]
    for row in grid(table, figure):
        lines.append("| " + " | ".join(_markdown(cell) for cell in row) + " |")
    return "\n".join(lines)


def _markdown(text: str) -> str:
    """`text` with what Markdown would read as marks made plain."""
    text = printable(" ".join(text.split()))
    return "".join("\\" + char if char in r"\|*_`<>[]#" else char for char in text)


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\^{}", "~": r"\~{}", "±": r"$\pm$", "–": "--", "<": "$<$",
    ">": "$>$", "*": "$^*$",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in printable(" ".join(text.split())))
