"""What decided in the head `auto`, summarised over the draws of a cell for people to read."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cvgssl.bench.cells import CellResult
from cvgssl.bench.tables import Table
from cvgssl.heads.auto import AutoDecision

COLUMNS = (
    "head",
    "shot",
    "unlabelled pictures used in",
    "why",
    "neighbours separated",
    "weights",
    "temperatures",
)


def decision_rows(table: Table, results: Sequence[CellResult]) -> list[list[str]]:
    """A row of `COLUMNS` for each of the table's cells in which `auto` decided; else none."""
    cells = [
        cell
        for cell in results
        if (cell.data, cell.encoder, cell.setting) == (table.data, table.encoder, table.setting)
        and cell.decisions
    ]
    return [
        [
            cell.head,
            str(cell.shot),
            _share(sum(decision.gate_open for decision in cell.decisions), len(cell.decisions)),
            _grounds(cell.decisions),
            _crossed(cell.decisions),
            _weights(cell.decisions),
            _temperatures(cell.decisions),
        ]
        for cell in sorted(cells, key=lambda cell: (table.heads.index(cell.head), cell.shot))
    ]


def _share(count: int, of: int) -> str:
    return f"{count} of {of} draw{'s' if of > 1 else ''}"


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
    return f"{by_map:.1f} % by the map, {by_labels:.1f} % by labels"


def _candidates(decisions: Sequence[AutoDecision]) -> list[str]:
    return list(dict.fromkeys(name for decision in decisions for name in decision.candidates))


def _weights(decisions: Sequence[AutoDecision]) -> str:
    """Means over the draws; a head that was no candidate in a draw has the weight 0 there."""
    parts = []
    for name in _candidates(decisions):
        weights = [
            dict(zip(decision.candidates, decision.weights, strict=True)).get(name, 0.0)
            for decision in decisions
        ]
        parts.append(f"{name} {np.mean(weights):.2f}")
    return ", ".join(parts)


def _temperatures(decisions: Sequence[AutoDecision]) -> str:
    """Means over the draws: of the candidates where labels were held out, else of their mean."""
    held_out = [decision for decision in decisions if decision.held_out]
    parts = []
    for name in _candidates(held_out):
        temperatures = [
            decision.temperatures[decision.candidates.index(name)]
            for decision in held_out
            if name in decision.candidates
        ]
        parts.append(f"{name} {np.mean(temperatures):.2f}")
    others = [decision.temperature for decision in decisions if not decision.held_out]
    if others:
        parts.append(f"{np.mean(others):.2f} for the mean (no label held out)")
    return ", ".join(parts)
