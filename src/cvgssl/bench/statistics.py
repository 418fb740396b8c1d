"""What cells say about each other: spread over the draws, paired differences, corrected p-values.

All figures in per cent, p-values from 0 to 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from cvgssl.bench.cells import CellResult
from cvgssl.heads.metrics import MeanInterval, mean_interval


@dataclass(frozen=True)
class Difference:
    """Head minus baseline in macro-recall over the draws that both have.

    p: of the paired t-test; None with one draw. p_holm: corrected for all comparisons of a table.
    """

    points: MeanInterval
    p: float | None
    p_holm: float | None


@dataclass(frozen=True)
class ResultRow:
    """One cell, summarised. difference is None for the baseline itself and without
    one of the same draws."""

    data: str
    encoder: str
    setting: str
    head: str
    uses_unlabelled: bool
    shot: int
    draws: int
    accuracy: MeanInterval
    macro_recall: MeanInterval
    seconds: float
    difference: Difference | None


def summarize(results: Sequence[CellResult], baseline: str) -> list[ResultRow]:
    """A row for each cell; differences within a data set, encoder, setting and shot.

    Holm's correction (1979) covers all heads and shots of one data set, encoder and setting,
    which are what one table shows.
    """
    rows = []
    for family in _families(results):
        base = {cell.shot: cell for cell in family if cell.head == baseline}
        compared = [
            cell
            for cell in family
            if cell.head != baseline
            and cell.shot in base
            and cell.draws_digest == base[cell.shot].draws_digest
        ]
        raw = [_paired(cell, base[cell.shot]) for cell in compared]
        corrected = holm([p for _, p in raw])
        differences = {
            (cell.head, cell.shot): Difference(points, p, p_holm)
            for cell, (points, p), p_holm in zip(compared, raw, corrected, strict=True)
        }
        rows += [_row(cell, differences.get((cell.head, cell.shot))) for cell in family]
    return rows


def paired_p(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of Student's t-test that paired differences have mean 0; None for one."""
    n = len(differences)
    if n < 2:
        return None
    mean, std = float(np.mean(differences)), float(np.std(differences, ddof=1))
    if std == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / (std / n**0.5)))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 1979); None stays None."""
    known = sorted((value, place) for place, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        corrected[place] = highest
    return corrected


def _families(results: Sequence[CellResult]) -> Iterable[list[CellResult]]:
    families: dict[tuple[str, str, str], list[CellResult]] = {}
    for cell in results:
        families.setdefault((cell.data, cell.encoder, cell.setting), []).append(cell)
    return families.values()


def _paired(cell: CellResult, base: CellResult) -> tuple[MeanInterval, float | None]:
    # fine-tuning has the first of the same draws only
    pairs = zip(cell.macro_recall, base.macro_recall, strict=False)
    differences = [a - b for a, b in pairs]
    return mean_interval(differences), paired_p(differences)


def _row(cell: CellResult, difference: Difference | None) -> ResultRow:
    return ResultRow(
        cell.data,
        cell.encoder,
        cell.setting,
        cell.head,
        cell.uses_unlabelled,
        cell.shot,
        len(cell.accuracy),
        mean_interval(cell.accuracy),
        mean_interval(cell.macro_recall),
        float(np.mean(cell.seconds)),
        difference,
    )
