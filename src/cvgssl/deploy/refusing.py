"""When `cvgssl predict` answers "unknown" or "not sure" instead of a class."""

import numpy as np
from numpy.typing import NDArray

from cvgssl.fewshot.heads.unknown import KNOWN, NOT_SURE, OpenSetHead
from cvgssl.fewshot.model_file import Support


class Refusal:
    """Compares pictures with the labelled ones that a linear classifier was trained on.

    A picture is "unknown" when it is less familiar than the share `refused` of the labelled
    pictures are to the others; see `OpenSetHead`, which is fitted to their features, centred by
    their mean (inductive). It is "not sure" when that head is not sure or would name another
    class than the recognizer.
    """

    def __init__(self, support: Support, refused: float) -> None:
        features = support.features.double().numpy()
        self.centre = features.mean(axis=0)
        self.head = OpenSetHead(refused=refused)
        self.head.fit(features - self.centre, support.labels.numpy())

    def __call__(
        self, features: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> NDArray[np.str_]:
        """ "known", "unknown" or "not sure" [B] for features [B, D] that got classes [B]."""
        rows = features - self.centre
        verdicts = self.head.verdicts(rows)
        disputed = (verdicts == KNOWN) & (self.head.predict(rows) != labels)
        return np.where(disputed, NOT_SURE, verdicts)
