"""A head that regresses what the names of the classes leave unexplained; see `heads.text`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics.pairwise import pairwise_kernels

from cvgssl.heads.base import Floats, one_hot, softmax, unit
from cvgssl.heads.calibration import log_likelihoods
from cvgssl.heads.linear import class_balance, median_kernel
from cvgssl.heads.text import TextHead

WEIGHTS = np.concatenate([[0.0], np.geomspace(0.1, 4, 12)])
PRIOR = np.concatenate([[-2.0], -2 * np.log(WEIGHTS[1:] / 0.5) ** 2])  # log; 0 as likely as 1.35


class TextRidge(TextHead):
    """Kernel ridge regression of what the texts leave unexplained.

    A Gaussian process whose prior mean is linear in the cosines to the texts. Their weight is the
    one whose leave-one-out scores, in closed form, make the labels most likely, under a log-normal
    prior around a half. So texts that say nothing of the surface cost little from a few labels on.
    Without any label it is the zero-shot classifier.

    Parameters
    ----------
    anchors, classes
        As of `TextHead`.
    anchor_scale : float, default=100.0
        For no label only.
    kernel, ridge, scale
        As of `KernelRidge`.

    Attributes
    ----------
    weight_ : float or None
        Of the texts; 1: they vary as much as the labels do. None without labels.
    rows_ : ndarray of shape (n_labelled, n_features)
        Labelled rows, scaled to length 1.
    dual_ : ndarray of shape (n_labelled, n_classes)
        Dual coefficients of the regression.

    References
    ----------
    Rasmussen & Williams 2006, "Gaussian processes for machine learning", eq. 5.12. Compare the
    blending of texts and labels in LP++ (Huang et al. 2024) and the pull towards texts in CLAP
    (Silva-Rodriguez et al. 2024), both of which need training.

    Examples
    --------
    >>> from cvgssl.heads.text_ridge import TextRidge
    >>> head = TextRidge([[1, 0, 1], [0, 1, 1]], ["dent", "pit"])
    >>> head = head.fit([[1, 0, 0.9], [0, 1, 0.8]], ["dent", "pit"])
    >>> head.predict([[0.9, 0.1, 0.9]])
    array(['dent'], dtype='<U4')
    >>> head.weight_ > 0  # the texts agree with the labels
    True
    """

    weight_: float | None

    def __init__(
        self,
        anchors: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        anchor_scale: float = 100.0,
        kernel: str = "gauss",
        ridge: float = 0.1,
        scale: float = 6.0,
    ) -> None:
        super().__init__(anchors, classes, anchor_scale)
        self.kernel = kernel
        self.ridge = ridge
        self.scale = scale

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        self.weight_ = None
        if not len(target):
            return
        self.rows_, count = unit(features), len(self.classes_)
        # labelled rows are of the classes seen: a class nobody labelled is not unlikely elsewhere
        seen = np.unique(target)
        cosines = self.rows_ @ (self.anchors_ - self.anchors_.mean(axis=0)).T
        deviation = max(float(np.sqrt((cosines**2).mean())), 1e-12)
        self.unit_ = np.sqrt(count - 1) / count / deviation  # the labels' own deviation
        texts = self.rows_ @ (self.anchors_[seen] - self.anchors_[seen].mean(axis=0)).T
        texts = self.unit_ * texts
        values = one_hot(target, count)[:, seen] - 1 / len(seen)
        options = median_kernel(self.rows_, self.kernel)
        self.kernel_ = {"metric": options.pop("kernel")} | options
        # the inverse, as leave-one-out needs its diagonal; scikit-learn's KernelRidge has none
        noise = np.diag(self.ridge / class_balance(target))
        inverse = np.linalg.inv(pairwise_kernels(self.rows_, **self.kernel_) + noise)
        duals = [inverse @ (values - weight * texts) for weight in WEIGHTS]
        places = np.searchsorted(seen, target)
        diagonal = np.diag(inverse)[:, None]
        held_out = [softmax(self.scale * (values - dual / diagonal)) for dual in duals]
        likelihoods = [log_likelihoods(scores, places).sum() for scores in held_out]
        best = int(np.argmax(np.array(likelihoods) + PRIOR))
        self.weight_ = float(WEIGHTS[best])
        self.dual_ = np.zeros((len(self.rows_), count))
        self.dual_[:, seen] = duals[best]

    def _probabilities(self, features: Floats) -> Floats:
        if self.weight_ is None:
            return self._zero_shot(features)
        rows = unit(features)
        texts = self.weight_ * self.unit_ * (rows @ self.anchors_.T)
        kernel = pairwise_kernels(rows, self.rows_, **self.kernel_)
        return softmax(self.scale * (kernel @ self.dual_ + texts))
