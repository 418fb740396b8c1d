"""A head fitted to the embeddings of train pictures, asked about the embeddings of others.

Shape letters: N train pictures, M others, D numbers of all encoders together, K classes.
"""

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.feature_store import Values
from cvgssl.features.preparation import JointEmbedding, Preparation
from cvgssl.features.record import parts_of
from cvgssl.features.table import FeatureTable
from cvgssl.heads import HEADS, CalibratedHead, OpenSetHead
from cvgssl.heads.auto import AutoDecision
from cvgssl.recognizer.card import RecognizerCard


class FittedHead:
    """Embeddings as encoders give them to calibrated probabilities, each picture independently.

    What is learned, all from `train`: how parts are put side by side (as `cvgssl embed` does), the
    preparation, the head (as the benchmark does, semi-supervised). The same rows give the same
    head: it is fitted again wherever it is used.
    """

    def __init__(
        self, train: FeatureTable, card: RecognizerCard, false_rejection_rate: float | None = None
    ) -> None:
        """Fit.

        train: values float32 [N, D] of the encoders side by side, labels -1 for unlabelled.
        card: says which encoders, preparation and head.
        false_rejection_rate: share of the pictures of known classes that may be called unknown;
        None gives no verdicts.
        """
        self.records = card.records
        self._borders = np.cumsum([record.width for record in self.records[:-1]], dtype=np.intp)
        parts, weights = self._parts(train.values)
        whole = np.arange(len(train))
        self._joint = JointEmbedding.fit(parts, weights, whole) if len(parts) > 1 else None
        # the benchmark's order: some heads' last digits depend on it
        order = np.argsort(np.array(train.names), kind="stable")
        rows = self._joined(train.values)[order]
        self._preparation = Preparation(card.preparation).fit(rows)
        head = HEADS[card.head](**card.params)
        self.head: CalibratedHead | OpenSetHead = (
            CalibratedHead(head)
            if false_rejection_rate is None
            else OpenSetHead(head, false_rejection_rate)
        )
        self.head.fit(self._preparation.transform(rows), train.labels[order])

    def __call__(self, values: Values) -> tuple[NDArray[np.float64], list[str | None]]:
        """Probabilities [M, K] of embeddings float32 [M, D], and verdicts (see `OpenSetHead`).

        Verdicts are None unless `false_rejection_rate` was given.
        """
        rows = self._preparation.transform(self._joined(values))
        verdicts: list[str | None] = [None] * len(rows)
        if isinstance(self.head, OpenSetHead):
            verdicts = [str(verdict) for verdict in self.head.verdicts(rows)]
        return self.head.predict_proba(rows), verdicts

    @property
    def temperature(self) -> float:
        """What calibration divides log-probabilities by; 1 where no label can be held out."""
        temperature: float = self._calibrated.temperature_
        return temperature

    @property
    def decision(self) -> AutoDecision | None:
        """What decided in the head `auto`; None for the others."""
        decision: AutoDecision | None = getattr(self._calibrated.head_, "decision_", None)
        return decision

    @property
    def _calibrated(self) -> CalibratedHead:
        head = self.head.head_ if isinstance(self.head, OpenSetHead) else self.head
        assert isinstance(head, CalibratedHead)
        return head

    def _joined(self, values: Values) -> Values:
        parts, _ = self._parts(values)
        return parts[0] if self._joint is None else self._joint.transform(parts)

    def _parts(self, values: Values) -> tuple[list[Values], list[float]]:
        return parts_of(np.split(values, self._borders, axis=1), self.records)
