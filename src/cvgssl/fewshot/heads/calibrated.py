"""Probabilities that mean what they say, as far as the few labels can tell."""

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.fewshot.heads.auto import AutoHead
from cvgssl.fewshot.heads.base import FewShotHead, Floats, softmax
from cvgssl.fewshot.heads.left_out import left_out, right

TEMPERATURES = np.geomspace(0.1, 5, 30)
ANCHOR = 5.0  # labels that speak for temperature 1


class CalibratedHead(FewShotHead):
    """A head whose log-probabilities are divided by a temperature (Guo et al. 2017).

    The temperature makes labels that were left out in turn likeliest, with a pull towards 1
    worth a few labels, (log T)^2 each; with one label per class it is 1.

    head: any few-shot head; `auto` if left out. temperature_: the one found.
    """

    uses_unlabelled = True

    def __init__(self, head: FewShotHead | None = None) -> None:
        self.head = head

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        head = AutoHead() if self.head is None else self.head
        found, rows = left_out(head, features, target)
        likely = [
            right(tempered(found, one), target[rows]).sum() - ANCHOR * np.log(one) ** 2
            for one in TEMPERATURES
        ]
        self.temperature_ = float(TEMPERATURES[int(np.argmax(likely))]) if len(rows) else 1.0
        self.head_ = clone(head).fit(features, target)
        known = getattr(self.head_, "label_distributions_", None)
        known = self.head_.predict_proba(features) if known is None else known
        self.label_distributions_ = tempered(known, self.temperature_)

    def _probabilities(self, features: Floats) -> Floats:
        return tempered(self.head_.predict_proba(features), self.temperature_)


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities [M, K] with their logarithms divided by `temperature`."""
    return softmax(np.log(probabilities.clip(1e-12)) / temperature)
