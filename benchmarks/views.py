"""Views per second: cvgssl's batched pipeline against the published one, PIL in two workers.

    python benchmarks/views.py [DATA] --json views.json

Both make the weak and the four strong views of every picture, normalised, in batches. The
published way decodes each file again for every batch (once for its five views) and works on three
8-bit channels; ours renders from decoded uint8 pictures, of one channel where they are gray, in
one process with as many threads. They run in turns; medians are compared. Without DATA, generated
surfaces are used (200 x 200 gray BMP files).
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cvgssl.encoders.timm_import import torchvision
from cvgssl.images.geometry import Geometry
from cvgssl.images.listing import list_pictures
from cvgssl.images.store import load_pictures
from cvgssl.images.surfaces import synthesize
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json
from cvgssl.views.random_numbers import view_numbers
from cvgssl.views.random_views import by_columns, draw_views, render
from cvgssl.views.recipe import ViewRecipe

transforms = torchvision.transforms

STRONG_SCALES = ((0.2, 1.0), (0.172, 0.86), (0.143, 0.715), (0.114, 0.571))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="folder of pictures; else generated")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 96], help="sides of views")
    parser.add_argument("--stored", type=int, default=224, help="side of the stored pictures")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--pictures", type=int, default=1024, help="pictures per turn")
    parser.add_argument("--workers", type=int, default=2, help="processes there, threads here")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--colour", action="store_true", help="ours on three channels as well")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    torch.set_num_threads(args.workers)
    with tempfile.TemporaryDirectory() as folder:
        if args.data is None:
            args.data = Path(folder) / "surfaces"
            synthesize(args.data, 60, seed=0, workers=args.workers)
        found = list_pictures(args.data)
        paths = [found[i % len(found)] for i in range(args.pictures)]
        pixels = stored(paths, args.stored, args.colour)
        results = {size: compare(args, paths, pixels, size) for size in args.sizes}
    if args.json:
        setting = {"data": args.data.name, "stored": list(pixels.shape), "workers": args.workers}
        setting |= {"batch_size": args.batch_size, "torch": torch.__version__}
        write_json(args.json, setting | {"hardware": hardware(), "sizes": results})


def stored(paths: list[Path], side: int, colour: bool) -> Tensor:
    """Decoded pictures, uint8 [N, C, S, S]."""
    loaded, _ = load_pictures(paths, Geometry(side))
    pixels = torch.tensor(loaded.pixels)
    return pixels.expand(-1, 3, -1, -1).contiguous() if colour else pixels


def compare(
    args: argparse.Namespace, paths: list[Path], pixels: Tensor, size: int
) -> dict[str, Any]:
    """Views per second of both, in turns."""
    rates: dict[str, list[float]] = {"published": [], "ours": []}
    loads = []
    loader = published_loader(paths, size, args.batch_size, args.workers)
    for turn in range(args.rounds):
        loads.append(os.getloadavg()[0])
        rates["published"].append(rate(iter(loader), args.workers))
        rates["ours"].append(rate(ours(pixels, size, args.batch_size, epoch=turn), args.workers))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = medians["ours"] / medians["published"]
    print(
        f"{size} px: published {medians['published']:.0f} views/s, ours {medians['ours']:.0f} "
        f"views/s, ratio {ratio:.2f} (of {args.rounds} turns, load before them {max(loads):.1f})",
        flush=True,
    )
    return {"views_per_second": rates, "ratio_of_medians": ratio, "load_before": loads}


def rate(batches: Iterator[list[Tensor]], first: int) -> float:
    """Views per second after the first `first` batches: one of every worker, which work at once."""
    views = 0
    start = 0.0
    for number, batch in enumerate(batches, start=1):
        if number <= first:
            start = time.perf_counter()
        else:
            views += sum(map(len, batch))
    return views / (time.perf_counter() - start)


def recipes(size: int) -> list[ViewRecipe]:
    weak = ViewRecipe(size, (0.2, 1.0), flip_y=0.5)
    return [weak, *(ViewRecipe(size, scale, gray=0.2, blur=0.5) for scale in STRONG_SCALES)]


def ours(pixels: Tensor, size: int, batch_size: int, epoch: int) -> Iterator[list[Tensor]]:
    """Batches of five views each, float32 [B, C, s, s], normalised."""
    roles = recipes(size)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(epoch))
    for keys in torch.split(order, batch_size):
        batch, views = by_columns(pixels.index_select(0, keys)), []
        for role, recipe in enumerate(roles):
            numbers = view_numbers(0, keys, role, len(roles), epoch, bank=0)
            parameters = draw_views(recipe, 0, keys, numbers, pixels.shape[-1])
            views.append(render(batch, parameters, size).sub_(0.5).div_(0.5))
        yield views


class Blur:
    """Gaussian blur of a PIL picture with a standard deviation of 0.1 to 2 pixels."""

    def __call__(self, picture: Image.Image) -> Image.Image:
        """Draw a deviation and blur."""
        return picture.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


class PublishedViews(Dataset[list[Tensor]]):
    """A file to its five normalised views, float32 [3, s, s], as in the published code."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths = paths
        colours = transforms.ColorJitter(0.2, 0.2, 0, 0)
        mirror = transforms.RandomHorizontalFlip()
        end = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
        flips = [mirror, transforms.RandomVerticalFlip()]
        crop = transforms.RandomResizedCrop
        weak = transforms.Compose([crop(size, (0.2, 1.0)), colours, *flips, *end])
        strong_steps = [
            colours,
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([Blur()], 0.5),
            mirror,
            *end,
        ]
        strong = [transforms.Compose([crop(size, s), *strong_steps]) for s in STRONG_SCALES]
        self.views = [weak, *strong]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> list[Tensor]:
        with Image.open(self.paths[index]) as picture:
            rgb = picture.convert("RGB")
        return [view(rgb) for view in self.views]


def published_loader(
    paths: list[Path], size: int, batch_size: int, workers: int
) -> DataLoader[list[Tensor]]:
    return DataLoader(PublishedViews(paths, size), batch_size, shuffle=True, num_workers=workers)


if __name__ == "__main__":
    main()
