"""Whether the unlabelled pictures help is decided by the labels at hand, not assumed."""

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.fewshot.heads.base import FewShotHead, Floats, one_hot
from cvgssl.fewshot.heads.diffusion import DiffusionHead, is_crowd
from cvgssl.fewshot.heads.left_out import left_out
from cvgssl.fewshot.heads.linear import KernelRidge
from cvgssl.fewshot.heads.temperature import fitted_temperature, tempered
from cvgssl.fewshot.heads.transport import TransportHead


class AutoHead(FewShotHead):
    """A mean of candidates, weighed by how likely they find labels that were left out.

    The support is divided into up to five parts (each class spread over them); every candidate
    is fitted without one part's labels, whose pictures stay as unlabelled ones. What it says of
    these labels gives it a temperature and, with that, their log-likelihood, so a candidate that
    unlabelled pictures mislead loses its weight: weights are the softmax of the log-likelihood
    and log `prior` (a pseudo-posterior). With one label per class nothing can be left out and the
    prior decides. With fewer than 100 unlabelled pictures labels alone decide, by kernel ridge.

    prior: weights of labels alone (kernel ridge), the diffusion map, transport on it.
    weights_, temperatures_: those used. label_distributions_: probabilities [N, K] of the rows
    of `fit`.
    """

    uses_unlabelled = True

    def __init__(self, prior: tuple[float, ...] = (0.2, 0.4, 0.4)) -> None:
        self.prior = prior

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        candidates: list[FewShotHead] = [KernelRidge()]
        if is_crowd(target):
            candidates += [DiffusionHead(), TransportHead()]
        judged = []
        for one in candidates:
            found, rows = left_out(one, features, target)
            judged.append(fitted_temperature(found, target[rows]))
        self.temperatures_ = [temperature for temperature, _ in judged]
        scores = np.log(self.prior[: len(judged)]) + [likely for _, likely in judged]
        self.weights_ = np.exp(scores - scores.max())
        self.weights_ /= self.weights_.sum()
        self.heads_ = [clone(one).fit(features, target) for one in candidates]
        self.label_distributions_ = self._mixed(
            [getattr(one, "label_distributions_", None) for one in self.heads_], features
        )
        known = target >= 0
        self.label_distributions_[known] = one_hot(target, len(self.classes_))[known]

    def _mixed(self, known: list[Floats | None], features: Floats) -> Floats:
        mixed = np.zeros((len(features), len(self.classes_)))
        for weight, temperature, head, found in zip(
            self.weights_, self.temperatures_, self.heads_, known, strict=True
        ):
            mixed += weight * tempered(
                head.predict_proba(features) if found is None else found, temperature
            )
        return mixed

    def _probabilities(self, features: Floats) -> Floats:
        return self._mixed([None] * len(self.heads_), features)
