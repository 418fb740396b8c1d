"""Random views per second: cvgssl's, torchvision's transforms.v2 on the same GPU, PIL on the CPU.

All make the published weak and four strong views of 224 px, normalised. transforms.v2 draws one
set of parameters for a whole batch; views that differ from picture to picture, which is what
training needs, take it one picture at a time. PIL runs in a DataLoader worker per core, from files,
as the published code; the others start from decoded pictures in main memory.
"""

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.gpu.section import Section, device, generate, rate
from benchmarks.views import STRONG_SCALES, published_loader, recipes
from cvgssl.encoders.timm_import import torchvision
from cvgssl.images.dataset import Pictures
from cvgssl.images.geometry import Geometry
from cvgssl.images.listing import list_pictures
from cvgssl.images.store import load_pictures
from cvgssl.pretrain.data import PretrainPictures
from cvgssl.pretrain.views import Views

SIZE, ROLES = 224, 5


def main(section: Section) -> None:
    """Each way in turn; PIL first, whose workers are forked while nothing uses the GPU."""
    batch, seconds, size = (2, 0.1, 64) if section.tiny else (256, 2.0, SIZE)
    data = generate(section.work / "steel", -(-batch // 6) + 1, section.tiny)
    paths = list_pictures(data)[:batch]
    try:
        section.put("PIL", _pil(paths, size, section.tiny))
    except RuntimeError as error:  # no room in /dev/shm, say
        section.put("PIL", {"not measured": str(error).partition("\n")[0]})
    pictures, _ = load_pictures(paths, Geometry(size))
    gray = torch.tensor(pictures.pixels)
    colour = gray.expand(-1, 3, -1, -1).contiguous()
    ways: dict[str, Callable[[], object]] = {
        "cvgssl, gray": Ours(gray, size).views,
        "cvgssl, colour": Ours(colour, size).views,
        "transforms.v2, a whole batch alike": lambda: v2(colour.to(device())),
        "transforms.v2, a picture at a time": lambda: [v2(one) for one in colour.to(device())],
    }
    v2 = _v2(size)
    for name, way in ways.items():
        section.put(name, {"views per second": rate(way, ROLES * batch, seconds)})


class Ours:
    """The views of a training step, made as `cvgssl pretrain` makes them."""

    def __init__(self, pixels: Tensor, size: int) -> None:
        count = len(pixels)
        pictures = Pictures(pixels.numpy(), tuple(map(str, range(count))))
        folders = ("",) * count
        self.data = PretrainPictures(Path("steel"), pictures, torch.arange(count), folders, True)
        self.made = Views(recipes(size), Geometry(size), seed=0)
        self.epoch = 0

    def views(self) -> None:
        """All views of all pictures, new ones at each call."""
        keys = self.data.keys
        numbers = self.made.numbers(keys, self.epoch)
        pixels = self.made.stored(self.data, keys, device())
        for role in range(self.made.roles):
            self.made.render(pixels, keys, role, numbers[:, role]).sub_(0.5).div_(0.5)
        self.epoch += 1


def _v2(size: int) -> Callable[[Tensor], list[Tensor]]:
    """Pixels uint8 [..., 3, S, S] to the five views."""
    from torchvision.transforms import v2  # importable once timm_import has seen to it

    assert v2.__name__.startswith(torchvision.__name__)
    mirror = v2.RandomHorizontalFlip()
    end = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]

    def strong(scale: tuple[float, float]) -> Callable[[Tensor], Tensor]:
        blur = v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], 0.5)
        steps = [v2.ColorJitter(0.2, 0.2), v2.RandomGrayscale(0.2), blur, mirror]
        made: Callable[[Tensor], Tensor] = v2.Compose(
            [v2.RandomResizedCrop(size, scale, antialias=True), *steps, *end]
        )
        return made

    crop = v2.RandomResizedCrop(size, (0.2, 1.0), antialias=True)
    weak = v2.Compose([crop, v2.ColorJitter(0.2, 0.2), mirror, v2.RandomVerticalFlip(), *end])
    views = [weak, *map(strong, STRONG_SCALES)]
    return lambda pixels: [view(pixels) for view in views]


def _pil(paths: list[Path], size: int, tiny: bool) -> dict[str, float]:
    """Views per second of the published transforms, once every worker has given a batch."""
    workers = min(len(os.sched_getaffinity(0)), 2 if tiny else 64)
    batch, batches = (2, 2) if tiny else (8, 12)
    files = list(itertools.islice(itertools.cycle(paths), workers * batch * batches))
    seen, begun = 0, 0.0
    for number, views in enumerate(published_loader(files, size, batch, workers), start=1):
        if number == workers:
            begun = time.perf_counter()
        elif number > workers:
            seen += sum(map(len, views))
    return {"views per second": seen / (time.perf_counter() - begun), "workers": workers}
