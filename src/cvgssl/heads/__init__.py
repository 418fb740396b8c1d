"""Few-shot heads: scikit-learn classifiers on features. `ALL_HEADS` names them all.

`HEADS` need features and labels alone, `TEXT_HEADS` also text embeddings of the classes.
"""

from cvgssl.heads.auto import AutoHead
from cvgssl.heads.base import FewShotHead
from cvgssl.heads.diffusion import DiffusionHead
from cvgssl.heads.laplacian import LaplacianShot
from cvgssl.heads.linear import Discriminant, KernelRidge, Logistic, Ridge
from cvgssl.heads.mixture import MixtureHead
from cvgssl.heads.nearest_mean import CosineKnn, NearestMean, TipAdapter
from cvgssl.heads.propagation import LabelPropagation
from cvgssl.heads.text import TextHead, TextRidge, TextTip, ZeroShot
from cvgssl.heads.transport import TransportHead
from cvgssl.heads.unknown import CalibratedHead, OpenSetHead

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
