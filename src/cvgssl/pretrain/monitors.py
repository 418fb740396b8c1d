"""Figures of the embedding while it is trained: collapse and agreement, without labels.

Shape letters: N pictures, D and E widths of two embeddings. All figures are computed in float64.
"""

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.forward import forward_all
from cvgssl.pretrain.inputs import TrainingInputs
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress

MOST = 1000  # pictures that are embedded
COLLAPSED_STD, COLLAPSED_RANK = 0.1, 2.0


@dataclass(frozen=True)
class Monitor:
    """The pictures, without augmentation, that a backbone is judged by in the course of a run.

    pixels: uint8 [N, C, S, S]. size: side that the backbone gets them with.
    teachers: embedding of each teacher by its name, [N, E].
    labels: int64 [N] of class folders for k-NN accuracy; None to leave it out.
    """

    pixels: NDArray[np.uint8]
    size: int
    accelerator: Accelerator
    teachers: dict[str, Tensor]
    labels: Tensor | None = None

    def figures(self, backbone: Backbone) -> dict[str, float]:
        """Spread, effective rank, agreement with each teacher and, with labels, k-NN accuracy."""
        resized = _Resized(backbone, self.size)
        embedding = forward_all(resized, self.pixels, 64, self.accelerator).cpu()
        figures = {"std": spread(embedding), "rank": effective_rank(embedding)}
        for name, features in self.teachers.items():
            figures[f"agreement {name}"] = linear_cka(embedding, features)
        if self.labels is not None:
            figures["knn"] = 100 * nearest_neighbour_accuracy(embedding, self.labels)
        return figures


def build_monitor(inputs: TrainingInputs) -> Monitor:
    """Every n-th picture, at most MOST, with the teachers' embeddings.

    Raises UserError for `--knn` without class folders.
    """
    data, accelerator = inputs.data, inputs.accelerator
    step = -(-len(data) // MOST)
    pixels = data.pixels[::step]
    labels = _labels(data.folders[::step]) if inputs.config.knn else None
    embeddings = {}
    total = len(pixels) * len(inputs.teachers)
    with progress("teachers", total, accelerator.is_main_process) as advance:
        for teacher in inputs.teachers:
            embedding = forward_all(_OnBytes(teacher), pixels, 64, accelerator, advance)
            embeddings[teacher.name] = embedding.cpu()
    return Monitor(pixels, inputs.config.view_size, accelerator, embeddings, labels)


def warning(figures: dict[str, float]) -> str | None:
    """A line about collapse with its remedy; None where `std` and `rank` are sound."""
    if figures["std"] >= COLLAPSED_STD and figures["rank"] >= COLLAPSED_RANK:
        return None
    return (
        f"the embedding collapses: std {figures['std']:.3f}, effective rank {figures['rank']:.1f}; "
        "stop, and start again with a lower --lr, a larger --batch-size, a --teacher, or a method "
        "with negatives (--builder mocov3)"
    )


def spread(embedding: Tensor) -> float:
    """Standard deviation of L2-normalised embeddings [N, D] times sqrt(D), mean over dimensions.

    1 for directions that are spread evenly, 0 for total collapse (Chen & He 2021, SimSiam).
    """
    normal = F.normalize(embedding.double(), dim=1)
    return float(normal.std(dim=0).mean() * embedding.shape[1] ** 0.5)


def effective_rank(embedding: Tensor) -> float:
    """exp of the entropy of the normalised singular values of the centred [N, D]: 1..min(N, D).

    Roy & Vetterli 2007. It is 1 for embeddings on a line.
    """
    values = embedding.double()
    singular = torch.linalg.svdvals(values - values.mean(dim=0))
    share = singular / singular.sum().clamp_min(1e-12)
    return float(torch.special.entr(share).sum().exp())


def linear_cka(left: Tensor, right: Tensor) -> float:
    """Linear centred kernel alignment of [N, D] and [N, E], 0..1 (Kornblith et al. 2019)."""
    a = left.double() - left.double().mean(dim=0)
    b = right.double() - right.double().mean(dim=0)
    cross, own_a, own_b = ((x.T @ y).norm() for x, y in ((a, b), (a, a), (b, b)))
    return float(cross.square() / (own_a * own_b).clamp_min(1e-12))


def nearest_neighbour_accuracy(embedding: Tensor, labels: Tensor) -> float:
    """Leave-one-out accuracy, 0..1, of the nearest neighbour by cosine.

    embedding: [N, D]; labels: int64 [N].
    """
    normal = F.normalize(embedding.double(), dim=1)
    similarity = normal @ normal.T
    similarity.fill_diagonal_(-2)
    return float((labels[similarity.argmax(dim=1)] == labels).double().mean())


def _labels(folders: tuple[str, ...]) -> Tensor:
    names = sorted(set(folders))
    if len(names) < 2 or "" in names:
        raise UserError("--knn: the pictures are not in class folders; leave it out")
    return torch.tensor([names.index(folder) for folder in folders])


class _OnBytes(nn.Module):
    """A teacher on stored pictures, uint8 [B, C, S, S]."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, pixels: Tensor) -> Tensor:
        embedding: Tensor = self.teacher(pixels.float() / 255)
        return embedding


class _Resized(nn.Module):
    """A backbone on stored pictures, uint8 [B, C, S, S], resized to side `size`."""

    def __init__(self, backbone: nn.Module, size: int) -> None:
        super().__init__()
        self.backbone, self.size = backbone, size

    def forward(self, pixels: Tensor) -> Tensor:
        values = pixels.float() / 255
        if values.shape[-1] != self.size:
            values = F.interpolate(values, self.size, mode="bilinear", antialias=True)
        features: Tensor = self.backbone(values)
        return features
