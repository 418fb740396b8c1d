"""Few-shot heads: scikit-learn classifiers on features. `ALL_HEADS` names them all.

`HEADS` need features and labels alone, `TEXT_HEADS` also text embeddings of the classes.
"""

from cvgssl.fewshot.heads.auto import AutoHead
from cvgssl.fewshot.heads.base import FewShotHead
from cvgssl.fewshot.heads.calibrated import CalibratedHead
from cvgssl.fewshot.heads.diffusion import DiffusionHead
from cvgssl.fewshot.heads.laplacian import LaplacianShot
from cvgssl.fewshot.heads.linear import Discriminant, KernelRidge, Logistic, Ridge
from cvgssl.fewshot.heads.mixture import MixtureHead
from cvgssl.fewshot.heads.nearest_mean import CosineKnn, NearestMean, TipAdapter
from cvgssl.fewshot.heads.propagation import LabelPropagation
from cvgssl.fewshot.heads.text_anchored import TextHead, TextTip, ZeroShot
from cvgssl.fewshot.heads.text_ridge import TextRidge
from cvgssl.fewshot.heads.transport import TransportHead
from cvgssl.fewshot.heads.unknown import OpenSetHead

__all__ = ["ALL_HEADS", "HEADS", "TEXT_HEADS", "CalibratedHead", "FewShotHead", "OpenSetHead"]

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

TEXT_HEADS: dict[str, type[TextHead]] = {
    "zero-shot": ZeroShot,
    "text-tip": TextTip,
    "text-ridge": TextRidge,
}

ALL_HEADS: dict[str, type[FewShotHead]] = {**HEADS, **TEXT_HEADS}
