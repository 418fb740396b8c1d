"""What guides a run: frozen encoders, their stored embeddings, a map of all pictures.

A student that regresses it from pixels learns the map for pictures that are not in the graph.

Shape letters: N pictures, D width of their embeddings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor
from torch.nn import functional as F

from cvgssl.encoders.embedded import embedded_guide
from cvgssl.encoders.teacher import Teacher
from cvgssl.encoders.teachers import available_teachers, load_teachers
from cvgssl.encoders.weights_folder import weights_folder
from cvgssl.features.diffusion import diffusion_map, map_width
from cvgssl.features.pooling import Pooling
from cvgssl.images.cache import default_cache_dir
from cvgssl.pretrain.bank import Bank, Plan, bank_size, build_bank
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import Unlabelled
from cvgssl.pretrain.views import Views
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing
from cvgssl.runtime.launch import to_device
from cvgssl.runtime.run import RunFolder


def joint_embedding(embeddings: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Embeddings of several teachers, [N, D_t] each, as one float32 [N, sum of D_t], length 1.

    Every teacher's are standardized and brought to length 1; squared distances then add up by
    weight.
    """
    parts = [
        F.normalize((one - one.mean(0)) / one.std(0).clamp_min(1e-6), dim=1) * weight**0.5
        for one, weight in zip(embeddings, weights, strict=True)
    ]
    return F.normalize(torch.cat(parts, dim=1), dim=1)


TARGETS = "targets.npy"  # the map of all pictures, float32 [N, E], in a run's folder


def choose_teachers(named: Sequence[str], layers: Sequence[int] = ()) -> tuple[Teacher, ...]:
    """The teachers that the user named, else the only CLIP file in the weights folder.

    Where that holds none, the small guide of the package. layers: depths of each that are pooled
    in place of its output. Raises UserError when none is named and there is more than one, and for
    layers that a teacher does not have.
    """
    teachers = _chosen(named)
    for teacher in teachers if layers else ():
        body = teacher.backbone.body
        ways = ("mean",) if getattr(body, "cls_token", None) is None else ("cls", "mean")
        try:
            pooling = Pooling(teacher.backbone, ways, layers)
        except UserError as error:
            text = str(error).partition(": ")[2]
            given = " ".join(map(str, layers))
            raise UserError(f"--teacher-layers {given}: {text}") from error
        how = {"layers": list(pooling.layers), "pool": list(ways)}
        teacher.pool(pooling, pooling.widths, how)
    return teachers


def _chosen(named: Sequence[str]) -> tuple[Teacher, ...]:
    if named:
        return tuple(load_teachers(list(named)))
    folder = weights_folder()
    found = available_teachers(folder)
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise UserError(f"--teacher: name one or more of those in {folder}: {listed}")
    if found:
        return tuple(load_teachers(found))
    guide = embedded_guide()
    guide.notes += (f"the default, as no --teacher is named and {folder} holds no CLIP file",)
    return (guide,)


@dataclass(frozen=True)
class Guides:
    """Where a step's guidance comes from: the targets, else the bank, else the teachers.

    targets: float32 [N, E], one for each picture whatever the view, on the student's device.
    """

    teachers: tuple[Teacher, ...] = ()
    bank: Bank | None = None
    targets: Tensor | None = None

    @property
    def dims(self) -> list[int]:
        """Width of each guiding embedding."""
        if self.targets is not None:
            return [self.targets.shape[1]]
        return [teacher.dim for teacher in self.teachers]

    @property
    def weights(self) -> list[float]:
        """Weight of each guiding embedding."""
        return [1.0] if self.targets is not None else [teacher.weight for teacher in self.teachers]

    def guidance(
        self,
        rows: Tensor,
        numbers: Tensor,
        look: Callable[[Sequence[Teacher]], list[Tensor]],
    ) -> list[Tensor]:
        """For each guiding embedding float32 [V, B, D], for views `numbers` [B, V] of `rows`.

        look: shows these views to teachers, where nothing is stored.
        """
        if self.targets is not None:
            wanted = self.targets[to_device(rows, self.targets.device)]
            return [wanted.expand(numbers.shape[1], -1, -1)]
        if self.bank is None:
            return look(self.teachers)
        count = len(self.teachers)
        found = (self.bank.embeddings(number, rows, numbers) for number in range(count))
        return [embeddings.transpose(0, 1) for embeddings in found]


def prepare_guides(
    teachers: tuple[Teacher, ...],
    views: Views,
    data: Unlabelled,
    config: PretrainConfig,
    accelerator: Accelerator,
    folder: RunFolder,
    check: Callable[[], None],
) -> Guides:
    """Build or open what the options ask for.

    A map of all pictures is kept in the run's folder, so that a resumed run has the very same.
    check: is called now and then and may raise, when the job has been asked to stop.
    """
    if not teachers or not config.bank:
        return Guides(teachers)
    if not config.spectral:
        return Guides(teachers, _bank(teachers, views, data, config, accelerator, folder, check))
    path = folder.path / TARGETS
    if not path.exists():
        weak = views.weak_only()
        bank = _bank(teachers, weak, data, config, accelerator, folder, check)
        if accelerator.is_main_process:
            means, weights = list[Tensor](), list[float]()
            for number, teacher in enumerate(teachers):
                parts = torch.split(bank.mean(number), list(teacher.widths), dim=1)
                means += parts  # each depth speaks as loud as the others
                weights += [teacher.weight / len(parts)] * len(parts)
            joint = joint_embedding(means, weights)
            with writing(path) as aside, aside.open("wb") as file:
                np.save(file, diffusion_map(joint.numpy(), config.neighbours))
        accelerator.wait_for_everyone()
    targets = torch.empty(len(data), map_width(len(data)))
    if accelerator.is_main_process:
        targets.copy_(torch.from_numpy(np.load(path, allow_pickle=False)))
    # other machines have no such file, and their own map would differ by rounding
    targets = broadcast(targets.to(accelerator.device))
    return Guides(teachers, targets=targets)


def _bank(
    teachers: tuple[Teacher, ...],
    views: Views,
    data: Unlabelled,
    config: PretrainConfig,
    accelerator: Accelerator,
    folder: RunFolder,
    check: Callable[[], None],
) -> Bank:
    plans = [Plan(teacher, views, config.bank, config.precision) for teacher in teachers]
    place = config.bank_dir or default_cache_dir() / "banks"
    size = bank_size(plans, len(data)) / 2**20
    folder.log(
        f"bank: {plans[0].columns} views of each picture, {size:.1f} MiB on disk in {place}, read "
        "from there as needed (memory only as the system's file cache)"
    )
    return build_bank(plans, data, place, config.batch_size, accelerator, check)
