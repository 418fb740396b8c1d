"""A head fitted to the embeddings of train pictures, asked about the embeddings of others.

Shape letters: N train pictures, M others, D numbers of all encoders together, K classes.
"""

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.class_texts import head_options
from cvgssl.features.feature_store import Values
from cvgssl.features.mirrors import mirror_views
from cvgssl.features.preparation import Preparation
from cvgssl.features.record import blocks_of
from cvgssl.heads import ALL_HEADS, CalibratedHead, OpenSetHead
from cvgssl.heads.auto_decision import AutoDecision
from cvgssl.recognizer.card import KeptEmbeddings, RecognizerCard
from cvgssl.selection.held_out import HeldOutLabels, held_out_labels


class FittedHead:
    """Embeddings as encoders give them to calibrated probabilities, each picture independently.

    What is learned, all from train pictures: the preparation, the head (as the benchmark does,
    semi-supervised). The same rows give the same head: it is fitted again wherever it is used.
    """

    def __init__(
        self, kept: KeptEmbeddings, card: RecognizerCard, false_rejection_rate: float | None = None
    ) -> None:
        """Fit.

        kept: embeddings of the train pictures, of mirror images of the labelled ones, of texts.
        card: says which encoders, preparation and head.
        false_rejection_rate: share of the pictures of known classes that may be called unknown;
        None gives no verdicts.
        """
        # the benchmark's order: some heads' last digits depend on it
        train = kept.train.take(np.argsort(np.array(kept.train.names), kind="stable"))
        rows = train.values
        self.preparation = Preparation(card.preparation, blocks_of(card.records)).fit(rows)
        texts = {} if kept.texts is None else head_options(kept.texts)
        head = ALL_HEADS[card.head](**card.params | texts)
        self.head: CalibratedHead | OpenSetHead = (
            CalibratedHead(head)
            if false_rejection_rate is None
            else OpenSetHead(head, false_rejection_rate)
        )
        mirrored, place = kept.mirrored, {name: row for row, name in enumerate(train.names)}
        of = [] if mirrored is None else [place[name] for name in mirrored.names]
        views = mirror_views(self.preparation, mirrored, of)
        self.head.fit(self.preparation.transform(rows), train.labels, views)
        self._target = train.labels

    def __call__(self, values: Values) -> tuple[NDArray[np.float64], list[str | None]]:
        """Probabilities [M, K] of embeddings float32 [M, D], and verdicts (see `OpenSetHead`).

        Verdicts are None unless `false_rejection_rate` was given.
        """
        rows = self.preparation.transform(values)
        if isinstance(self.head, OpenSetHead):
            probabilities, verdicts = self.head.judge(rows)
            return probabilities, list(map(str, verdicts))
        return self.head.predict_proba(rows), [None] * len(rows)

    @property
    def temperature(self) -> float:
        """What calibration divides log-probabilities by; 1 where no label can be held out."""
        temperature: float = self._calibrated.temperature_
        return temperature

    @property
    def held_out(self) -> HeldOutLabels:
        """How often it is right about its own labels when they are held out."""
        return held_out_labels(self._calibrated, self._target)

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
