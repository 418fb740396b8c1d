"""What guides a run: frozen encoders, their stored embeddings, a map of all pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from cvgssl.encoders.teacher import Teacher
from cvgssl.encoders.teachers import available_teachers, load_teachers
from cvgssl.encoders.weights_folder import weights_folder
from cvgssl.images.cache import default_cache_dir
from cvgssl.pretrain.bank import Bank, Plan, bank_size, build_bank
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import Unlabelled
from cvgssl.pretrain.spectral import diffusion_map, joint_embedding
from cvgssl.pretrain.views import Views
from cvgssl.runtime.errors import UserError


def choose_teachers(named: Sequence[str]) -> tuple[Teacher, ...]:
    """The teachers that the user named, else the only CLIP file in the weights folder.

    Raises UserError when none is named and there is none, or more than one.
    """
    if named:
        return tuple(load_teachers(list(named)))
    folder = weights_folder()
    found = available_teachers(folder)
    if len(found) == 1:
        return tuple(load_teachers(found))
    listed = f"; {folder} has {', '.join(map(str, found))}"
    listed = listed if found else f"; {folder} holds no CLIP file"
    raise UserError(f"--teacher: name a frozen encoder, such as ViT-B/32=FILE{listed}")


@dataclass(frozen=True)
class Guides:
    """Where a step's guidance comes from: the targets, else the bank, else the teachers.

    targets: float32 [N, E], one for each picture whatever the view.
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
        self, rows: Tensor, numbers: Tensor, look: Callable[[Teacher], Tensor]
    ) -> list[Tensor]:
        """For each guiding embedding float32 [V, B, D], for views `numbers` [B, V] of `rows`.

        look: shows these views to a teacher, where nothing is stored.
        """
        if self.targets is not None:
            return [self.targets[rows].expand(numbers.shape[1], -1, -1)]
        if self.bank is None:
            return [look(teacher) for teacher in self.teachers]
        count = len(self.teachers)
        found = (self.bank.embeddings(number, rows, numbers) for number in range(count))
        return [embeddings.transpose(0, 1) for embeddings in found]


def prepare_guides(
    teachers: tuple[Teacher, ...],
    views: Views,
    data: Unlabelled,
    config: PretrainConfig,
    accelerator: Accelerator,
    log: Callable[[str], None],
    check: Callable[[], None],
) -> Guides:
    """Build or open the bank that the options ask for, and what is made of it.

    check: is called now and then and may raise, when the job has been asked to stop.
    """
    spectral = config.builder == "cvgssl" and config.guidance == "spectral"
    if not teachers or not config.bank:
        return Guides(teachers)
    seen = views.weak_only() if spectral else views
    plans = [Plan(teacher, seen, config.bank) for teacher in teachers]
    place = config.bank_dir or default_cache_dir() / "banks"
    log(_announcement(plans, len(data), place))
    bank = build_bank(plans, data, place, config.batch_size, accelerator, check)
    if not spectral:
        return Guides(teachers, bank)
    means = [bank.mean(number) for number in range(len(teachers))]
    joint = joint_embedding(means, [teacher.weight for teacher in teachers])
    return Guides(teachers, targets=diffusion_map(joint, config.neighbours))


def _announcement(plans: Sequence[Plan], pictures: int, place: Path) -> str:
    size = bank_size(plans, pictures) / 2**20
    return (
        f"bank: {plans[0].columns} views of each picture, {size:.1f} MiB on disk in {place}, read "
        "from there as needed (memory only as the system's file cache)"
    )
