"""How the embedding fares while it is trained, seen without labels.

Shape letters: N pictures, D and E widths of two embeddings. All figures are computed in float64.
"""

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.batches import forward_all
from cvgssl.encoders.teacher import Teacher
from cvgssl.pretrain.data import Unlabelled
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress

MOST = 1000  # pictures looked at
COLLAPSED_STD, COLLAPSED_RANK = 0.1, 2.0


class Monitor:
    """Embeds the same undistorted pictures again and again."""

    def __init__(
        self,
        data: Unlabelled,
        teachers: tuple[Teacher, ...],
        size: int,
        knn: bool,
        accelerator: Accelerator,
    ) -> None:
        step = -(-len(data) // MOST)
        self.pixels, self.size, self.accelerator = data.pixels[::step], size, accelerator
        self.labels = _labels(data.folders[::step]) if knn else None
        self.teachers = {}
        shown = accelerator.is_main_process
        with progress("teachers", len(self.pixels) * len(teachers), shown) as advance:
            for teacher in teachers:
                seen = forward_all(_InUnit(teacher), self.pixels, 64, accelerator, advance)
                self.teachers[teacher.name] = seen.cpu()

    def look(self, backbone: Backbone) -> dict[str, float]:
        """Spread, effective rank, agreement with each teacher and, with labels, k-NN accuracy."""
        resized = _Resized(backbone, self.size)
        embedding = forward_all(resized, self.pixels, 64, self.accelerator).cpu()
        figures = {"std": spread(embedding), "rank": effective_rank(embedding)}
        for name, features in self.teachers.items():
            figures[f"agreement {name}"] = linear_cka(embedding, features)
        if self.labels is not None:
            figures["knn"] = 100 * nearest_neighbour_accuracy(embedding, self.labels)
        return figures


def warning(figures: dict[str, float]) -> str | None:
    """A line about collapse with its remedy, if there is one."""
    if figures["std"] >= COLLAPSED_STD and figures["rank"] >= COLLAPSED_RANK:
        return None
    return (
        f"the embedding collapses: std {figures['std']:.3f}, effective rank {figures['rank']:.1f}; "
        "stop, and start again with a lower --lr, a larger --batch-size, a --teacher, or a method "
        "with negatives (--builder mocov3)"
    )


def spread(embedding: Tensor) -> float:
    """Standard deviation of L2-normalised embeddings [N, D] times sqrt(D), mean over dimensions.

    1 for directions spread evenly, 0 for total collapse (Chen & He 2021, SimSiam).
    """
    normal = F.normalize(embedding.double(), dim=1)
    return float(normal.std(dim=0).mean() * embedding.shape[1] ** 0.5)


def effective_rank(embedding: Tensor) -> float:
    """exp of the entropy of the centred [N, D]'s normalised singular values, 1..min(N, D).

    Roy & Vetterli 2007. 1 when all pictures lie on one line.
    """
    values = embedding.double()
    singular = torch.linalg.svdvals(values - values.mean(dim=0))
    share = singular / singular.sum().clamp_min(1e-12)
    return float(torch.special.entr(share).sum().exp())


def linear_cka(one: Tensor, other: Tensor) -> float:
    """Linear centred kernel alignment of [N, D] and [N, E], 0..1 (Kornblith et al. 2019)."""
    a = one.double() - one.double().mean(dim=0)
    b = other.double() - other.double().mean(dim=0)
    cross, own_a, own_b = ((x.T @ y).norm() for x, y in ((a, b), (a, a), (b, b)))
    return float(cross.square() / (own_a * own_b).clamp_min(1e-12))


def nearest_neighbour_accuracy(embedding: Tensor, labels: Tensor) -> float:
    """Share, 0..1, of the N pictures whose nearest other picture (cosine) has the same label."""
    normal = F.normalize(embedding.double(), dim=1)
    similarity = normal @ normal.T
    similarity.fill_diagonal_(-2)
    return float((labels[similarity.argmax(dim=1)] == labels).double().mean())


def _labels(folders: tuple[str, ...]) -> Tensor:
    names = sorted(set(folders))
    if len(names) < 2 or "" in names:
        raise UserError("--knn: the pictures do not lie in class folders; leave it out")
    return torch.tensor([names.index(folder) for folder in folders])


class _InUnit(nn.Module):
    """A teacher that takes stored uint8 pictures."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.teacher(pixels.float() / 255)
        return found


class _Resized(nn.Module):
    """A backbone that takes stored uint8 pictures of another size than its views have."""

    def __init__(self, backbone: nn.Module, size: int) -> None:
        super().__init__()
        self.backbone, self.size = backbone, size

    def forward(self, pixels: Tensor) -> Tensor:
        values = pixels.float() / 255
        if values.shape[-1] != self.size:
            values = F.interpolate(values, self.size, mode="bilinear", antialias=True)
        found: Tensor = self.backbone(values)
        return found
