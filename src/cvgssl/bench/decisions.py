"""What decided in the head `auto`, summarised over the draws of a cell for people to read."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cvgssl.bench.cells import CellResult
from cvgssl.bench.tables import Table
from cvgssl.heads.auto_decision import AutoDecision

EXPLANATION = (
    "What decided in the head auto. It uses unlabelled pictures where the classes by the diffusion "
    "map separate fewer neighbours (by edge weight) than those by labels alone (map / labels), and "
    "the less, the fewer of them diffusion and transport name alike (agreement). For each head in "
    "the mean: its weight and, where labels could be held out, the temperature (T) of its "
    "probabilities. Figures are means over the draws."
)
_FIRST = ("head", "shot", "unlabelled used", "why", "map / labels", "agreement")
_LAST = "T of mean"


def decision_table(
    table: Table, results: Sequence[CellResult]
) -> tuple[list[str], list[list[str]]]:
    """Columns, and a row for each of the table's cells in which `auto` decided; else no rows."""
    cells = [
        cell
        for cell in results
        if (cell.data, cell.encoder, cell.setting) == (table.data, table.encoder, table.setting)
        and cell.decisions
    ]
    cells.sort(key=lambda cell: (table.heads.index(cell.head), cell.shot))
    candidates = list(
        dict.fromkeys(
            name for cell in cells for decision in cell.decisions for name in decision.candidates
        )
    )
    rows = [
        [
            cell.head,
            str(cell.shot),
            _used(cell.decisions),
            _grounds(cell.decisions),
            _crossed(cell.decisions),
            _agreement(cell.decisions),
            *(_weight(cell.decisions, name) for name in candidates),
            f"{np.mean([decision.temperature for decision in cell.decisions]):.2f}",
        ]
        for cell in cells
    ]
    return [*_FIRST, *candidates, _LAST], rows


def _used(decisions: Sequence[AutoDecision]) -> str:
    return f"{sum(decision.gate_open for decision in decisions)} of {len(decisions)} draws"


def _grounds(decisions: Sequence[AutoDecision]) -> str:
    counts = Counter(decision.ground for decision in decisions)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{ground} ({count})" for ground, count in counts.most_common())


def _crossed(decisions: Sequence[AutoDecision]) -> str:
    known = [decision.crossed for decision in decisions if decision.crossed is not None]
    if not known:
        return "–"
    by_map, by_labels = 100 * np.mean(known, axis=0)
    return f"{by_map:.1f} / {by_labels:.1f} %"


def _agreement(decisions: Sequence[AutoDecision]) -> str:
    known = [decision.agreement for decision in decisions if decision.agreement is not None]
    return f"{100 * np.mean(known):.0f} %" if known else "–"


def _weight(decisions: Sequence[AutoDecision], name: str) -> str:
    """Mean weight, 0 in draws where it was no candidate; mean temperature where it was fitted."""
    weights, temperatures = [], []
    for decision in decisions:
        if name not in decision.candidates:
            weights.append(0.0)
            continue
        place = decision.candidates.index(name)
        weights.append(decision.weights[place])
        if decision.held_out:
            temperatures.append(decision.temperatures[place])
    text = f"{np.mean(weights):.2f}"
    return f"{text} (T {np.mean(temperatures):.2f})" if temperatures else text
