"""Probabilities that mean what they say, as far as the few labels can tell."""

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.fewshot.heads.auto import AutoHead
from cvgssl.fewshot.heads.base import FewShotHead, Floats
from cvgssl.fewshot.heads.left_out import left_out
from cvgssl.fewshot.heads.temperature import fitted_temperature, tempered


class CalibratedHead(FewShotHead):
    """A head whose log-probabilities are divided by a temperature (Guo et al. 2017).

    The temperature makes labels that were left out in turn likeliest; with one label per class
    it is 1. See `fitted_temperature`.

    head: any few-shot head; `auto` if left out. temperature_: the one found.
    left_out_, left_out_rows_: calibrated probabilities [L, K] of the labels left out, and which
        rows of `fit` they are [L].
    """

    uses_unlabelled = True

    def __init__(self, head: FewShotHead | None = None) -> None:
        self.head = head

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        head = AutoHead() if self.head is None else self.head
        found, rows = left_out(head, features, target)
        self.temperature_ = fitted_temperature(found, target[rows])
        self.left_out_, self.left_out_rows_ = tempered(found, self.temperature_), rows
        self.head_ = clone(head).fit(features, target)
        known = getattr(self.head_, "label_distributions_", None)
        known = self.head_.predict_proba(features) if known is None else known
        self.label_distributions_ = tempered(known, self.temperature_)

    def _probabilities(self, features: Floats) -> Floats:
        return tempered(self.head_.predict_proba(features), self.temperature_)
