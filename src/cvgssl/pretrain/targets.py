"""What a method compares views with: teachers' embeddings, stored or not, or a map of all pictures.

A student that regresses the map from pixels learns it for pictures that are not in the graph.

Shape letters: B pictures of a batch, N pictures of the run, V views, T targets, D_t width of
target t, E width of the map.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from accelerate.utils import broadcast, broadcast_object_list
from torch import Tensor
from torch.nn import functional as F

from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.features.diffusion_map import diffusion_map, map_width
from cvgssl.pretrain.bank import Bank, BankBuild, BankKey, bank_size, build_bank
from cvgssl.pretrain.inputs import TrainingInputs
from cvgssl.pretrain.methods.registry import choose
from cvgssl.pretrain.views import DrawnViews, Views
from cvgssl.runtime.array_files import open_array, write_array
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.launch import to_device
from cvgssl.runtime.run import RunFolder

TARGETS = "targets.npy"  # the map of all pictures, float32 [N, E], in a run's folder


class TargetSource(ABC):
    """Gives the targets of a training step.

    dims, weights: width and weight of each of the T targets.
    """

    dims: tuple[int, ...]
    weights: tuple[float, ...]

    @abstractmethod
    def targets(self, drawn: DrawnViews) -> list[Tensor]:
        """T times float32 [V, B, D_t] for the views of a step, on any device."""


class NoTargets(TargetSource):
    """For methods that compare views with each other."""

    dims, weights = (), ()

    def targets(self, drawn: DrawnViews) -> list[Tensor]:  # noqa: ARG002
        """An empty list."""
        return []


class TeacherTargets(TargetSource):
    """Embeddings that the teachers compute in every step."""

    def __init__(self, teachers: Sequence[FrozenEncoder], views: Views) -> None:
        self.teachers, self.views = tuple(teachers), views
        self.dims = tuple(teacher.dim for teacher in teachers)
        self.weights = tuple(teacher.weight for teacher in teachers)

    def targets(self, drawn: DrawnViews) -> list[Tensor]:
        """Embeddings [V, B, D_t] of the very same views."""
        return self.views.embed(self.teachers, drawn)


class BankTargets(TargetSource):
    """Embeddings that the teachers computed before training."""

    def __init__(self, teachers: Sequence[FrozenEncoder], bank: Bank) -> None:
        self.bank = bank
        self.dims = tuple(teacher.dim for teacher in teachers)
        self.weights = tuple(teacher.weight for teacher in teachers)

    def targets(self, drawn: DrawnViews) -> list[Tensor]:
        """Stored embeddings [V, B, D_t] of the very same views."""
        return [
            self.bank.embeddings(number, drawn.rows, drawn.numbers).transpose(0, 1)
            for number in range(len(self.dims))
        ]


class MapTargets(TargetSource):
    """A point for each picture, whatever the view.

    points: float32 [N, E], on the student's device.
    """

    def __init__(self, points: Tensor) -> None:
        self.points = points
        self.dims, self.weights = (points.shape[1],), (1.0,)

    def targets(self, drawn: DrawnViews) -> list[Tensor]:
        """The pictures' points [V, B, E], the same for each view."""
        points = self.points[to_device(drawn.rows, self.points.device)]
        return [points.expand(drawn.numbers.shape[1], -1, -1)]


def prepare_targets(
    inputs: TrainingInputs, folder: RunFolder, check: Callable[[], None]
) -> TargetSource:
    """Build or open what the method of `inputs.config` compares views with.

    A map of all pictures is saved in the run's folder, so that a resumed run uses the same one.
    check: called between batches while a bank is built; raises when the run is asked to stop.
    """
    kind = choose(inputs.config).form.targets
    if not kind.need_teachers:
        return NoTargets()
    if kind.need_bank:
        return MapTargets(_map_of_pictures(inputs, folder, check))
    if not inputs.config.bank:
        return TeacherTargets(inputs.teachers, inputs.views)
    return BankTargets(inputs.teachers, _bank(inputs, inputs.views, folder, check))


def joint_embedding(embeddings: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Embeddings of several encoders, [N, D_t] each, as one float32 [N, sum of D_t] of length 1.

    Each is standardized and normalised to length 1 first, so squared distances add up by weight.
    """
    parts = [
        F.normalize((values - values.mean(0)) / values.std(0).clamp_min(1e-6), dim=1) * weight**0.5
        for values, weight in zip(embeddings, weights, strict=True)
    ]
    return F.normalize(torch.cat(parts, dim=1), dim=1)


def _map_of_pictures(
    inputs: TrainingInputs, folder: RunFolder, check: Callable[[], None]
) -> Tensor:
    """Float32 [N, E] on the student's device; computed once and saved in the run's folder."""
    accelerator, path = inputs.accelerator, folder.path / TARGETS
    first, shape = accelerator.is_main_process, (len(inputs.data), map_width(len(inputs.data)))
    kept = open_array(path, np.float32, shape) if first else None
    # the first process decides, as other machines have no such file
    if not broadcast_object_list([kept is not None])[0]:
        if first and path.exists():
            folder.log(f"{path.name} is damaged and computed again")
        bank = _bank(inputs, inputs.views.weak_only(), folder, check)
        if first:
            joint = _joint_embedding_of_bank(bank, inputs.teachers)
            kept = diffusion_map(joint.numpy(), inputs.config.neighbours)
            write_array(path, kept)
    points = torch.empty(shape)
    if kept is not None:
        points.copy_(torch.from_numpy(kept.copy()))
    # other machines have no such file, and a map of their own would differ by rounding
    shared: Tensor = broadcast(points.to(accelerator.device))
    return shared


def _joint_embedding_of_bank(bank: Bank, teachers: Sequence[FrozenEncoder]) -> Tensor:
    """The joint embedding of the pictures' mean stored views.

    Pooled layers of one teacher count as teachers of their own that share its weight.
    """
    means, weights = list[Tensor](), list[float]()
    for number, teacher in enumerate(teachers):
        layers = torch.split(bank.mean(number), list(teacher.widths), dim=1)
        means += layers
        weights += [teacher.weight / len(layers)] * len(layers)
    return joint_embedding(means, weights)


def _bank(
    inputs: TrainingInputs, views: Views, folder: RunFolder, check: Callable[[], None]
) -> Bank:
    config = inputs.config
    keys = [BankKey(teacher, views, config.bank, config.precision) for teacher in inputs.teachers]
    place = config.bank_dir or default_cache_dir() / "banks"
    size = bank_size(keys, len(inputs.data)) / 2**20
    folder.log(
        f"bank: {keys[0].columns} views of each picture, {size:.1f} MiB on disk in {place}, read "
        "from there as needed (memory only as the system's file cache)"
    )
    build = BankBuild(keys, inputs.data, place, config.batch_size, inputs.accelerator, check)
    return build_bank(build)
