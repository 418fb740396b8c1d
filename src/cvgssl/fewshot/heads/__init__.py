"""Few-shot heads: scikit-learn classifiers on features. `HEADS` names them all."""

from cvgssl.fewshot.heads.auto import AutoHead
from cvgssl.fewshot.heads.base import FewShotHead
from cvgssl.fewshot.heads.calibrated import CalibratedHead
from cvgssl.fewshot.heads.diffusion import DiffusionHead
from cvgssl.fewshot.heads.laplacian import LaplacianShot
from cvgssl.fewshot.heads.linear import Discriminant, KernelRidge, Logistic, Ridge
from cvgssl.fewshot.heads.mixture import MixtureHead
from cvgssl.fewshot.heads.nearest_mean import CosineKnn, NearestMean, TipAdapter
from cvgssl.fewshot.heads.propagation import LabelPropagation
from cvgssl.fewshot.heads.transport import TransportHead

__all__ = ["HEADS", "CalibratedHead", "FewShotHead"]

HEADS: dict[str, type[FewShotHead]] = {
    "nearest-mean": NearestMean,
    "knn": CosineKnn,
    "ridge": Ridge,
    "logistic": Logistic,
    "discriminant": Discriminant,
    "tip-adapter": TipAdapter,
    "kernel-ridge": KernelRidge,
    "propagation": LabelPropagation,
    "laplacian-shot": LaplacianShot,
    "diffusion": DiffusionHead,
    "mixture": MixtureHead,
    "transport": TransportHead,
    "auto": AutoHead,
}
