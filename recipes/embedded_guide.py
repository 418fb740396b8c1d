"""Make the small guide that comes with the package, from nothing but generated pictures.

    python recipes/embedded_guide.py OUT

Pictures: generated surfaces of steel, each kind of defect on each kind of plate (so that the
plate says nothing of the defect), one in four with a second defect. The generator knows all about
them, so from a random crop the network learns

- which defects are there (binary cross-entropy),
- what the plate, its light and the camera are like (smooth L1 on standardized numbers),
- how the defect alone looks in this very crop: its share of the area and its edges at four
  scales, from a picture of the defect without its plate (the same).

Nothing but generated pictures is looked at. On one thread of an AMD EPYC (AVX512-BF16): 3 minutes
to generate, 4 to train. Nearest class mean on pictures of an unseen seed, 1 / 2 / 4 shots: 80.3 /
85.4 / 86.9 % (random weights 23.7 / 26.6 / 28.4). What that is worth on real steel:
src/cvgssl/encoders/guide/GUIDE.md.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.images.surfaces import KINDS, generate_surface
from cvgssl.images.surfaces.defects import (
    crazing,
    inclusion,
    patches,
    pitted_surface,
    rolled_in_scale,
    scratches,
)
from cvgssl.images.surfaces.plate import Coil, Usual, draw_coil, expose, ground
from cvgssl.runtime.files import sha256_file, writing
from cvgssl.runtime.progress import progress
from cvgssl.views.random_views import ViewParameters, draw_views, render
from cvgssl.views.recipe import ViewRecipe

DEFECTS = (crazing, inclusion, patches, pitted_surface, rolled_in_scale, scratches)  # as KINDS
PLATES = Usual(brightness=(45, 230), grain=(0.015, 0.15))
ARCH, SIDE, VIEW = "resnet10t", 128, 64  # sides of stored pictures and of views, pixels
IMAGE_SIZE = 96  # at which the guide is used: the best of 64, 96, 128, 160 on unseen pictures
PICTURES, EPOCHS, BATCH = 4800, 10, 64
RATE, DECAY = 2e-3, 0.05
VIEWS = ViewRecipe(VIEW, (0.25, 1.0), brightness=0.4, contrast=0.4, blur=0.5, flip_y=0.5)
UNSEEN = 9001  # seed of the pictures that the result is judged by


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="weight file to write, .safetensors")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--workers", type=int, default=1, help="processes that generate pictures")
    args = parser.parse_args()
    begun = time.monotonic()
    torch.manual_seed(args.seed)
    backbone = build_backbone(ARCH, VIEW)
    pictures, labels = unseen_pictures()
    before = accuracy(backbone, pictures, labels)
    train(backbone, generated(args.pictures, args.seed, args.workers), args.epochs)
    write(args.out, backbone)
    after = accuracy(backbone, pictures, labels)
    for shot in before:
        print(
            f"unseen generated pictures, {shot} shot: {after[shot]:.1f} (random {before[shot]:.1f})"
        )
    minutes = (time.monotonic() - begun) / 60
    print(f"{args.out}: sha256 {sha256_file(args.out)}, {minutes:.0f} minutes")


@dataclass(frozen=True)
class Surfaces:
    """N generated pictures and what the generator knows of them.

    pictures, defects: uint8 [N, 1, SIDE, SIDE]; the second without plate and light.
    kinds: float32 [N, 6], 1 where a defect of that kind is there. plates: float32 [N, P],
    numbers of plate, light and camera, standardized.
    """

    pictures: Tensor
    defects: Tensor
    kinds: Tensor
    plates: Tensor


def generated(count: int, seed: int, workers: int) -> Surfaces:
    """The pictures to learn from, the same for the same seed."""
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        progress("generating", count) as advance,
    ):
        rows = []
        for row in pool.map(surface, [seed] * count, range(count), chunksize=20):
            rows.append(row)
            advance(1)
    pictures, defects, kinds, plates = (np.stack(column) for column in zip(*rows, strict=True))
    plates = (plates - plates.mean(0)) / plates.std(0)
    return Surfaces(
        torch.from_numpy(pictures)[:, None],
        torch.from_numpy(defects)[:, None],
        torch.from_numpy(kinds).float(),
        torch.from_numpy(plates).float(),
    )


def surface(seed: int, index: int) -> tuple[NDArray[np.generic], ...]:
    """Picture, defect alone, kinds of defect and numbers of the plate of one surface."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, index))))
    coil = draw_coil(rng, PLATES)
    plain = ground(coil, rng)
    kinds = [index % 6]
    if rng.random() < 0.25:
        kinds.append(int((index + rng.integers(1, 6)) % 6))
    marked = plain
    for kind in kinds:
        marked = DEFECTS[kind](marked, coil, rng)
    picture = expose(marked, coil, rng)
    contrast = np.abs(np.log(np.clip(marked, 0.02, None) / np.clip(plain, 0.02, None)))
    defect = np.clip(160 * contrast, 0, 255).astype(np.uint8)
    return small(picture), small(defect), np.isin(np.arange(6), kinds), plate_numbers(coil)


def small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def plate_numbers(coil: Coil) -> NDArray[np.float64]:
    """The coil's numbers but for its angles, which crops and flips change."""
    logarithmic = replace(coil, brightness=np.log(coil.brightness), grain=np.log(coil.grain))
    values = zip(fields(coil), astuple(logarithmic), strict=True)
    return np.array([value for field, value in values if not field.name.endswith("angle")])


def train(backbone: Backbone, surfaces: Surfaces, epochs: int) -> None:
    """Teach the backbone what the generator knows; leaves it in eval mode."""
    heads = Heads(backbone.feature_dim, surfaces.plates.shape[1])
    count = len(surfaces.pictures)
    steps = epochs * (count // BATCH)
    weights = [*backbone.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    rows = torch.arange(count)
    _, alone = crops(surfaces, rows, 0)
    looks = look_numbers(alone)
    centre, spread = looks.mean(0), looks.std(0)
    backbone.train()
    with progress("steps", steps) as advance:
        for epoch in range(epochs):
            for chosen in torch.randperm(count)[: count // BATCH * BATCH].split(BATCH):
                views, alone = crops(surfaces, chosen, epoch)
                with torch.autocast("cpu", torch.bfloat16):
                    features = backbone(views).float()
                kinds, plates, looks = heads(features)
                seen = (look_numbers(alone) - centre) / spread
                loss = 3 * F.binary_cross_entropy_with_logits(kinds, surfaces.kinds[chosen])
                loss = loss + F.smooth_l1_loss(plates, surfaces.plates[chosen])
                loss = loss + F.smooth_l1_loss(looks, seen)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                advance(1, f"loss {loss.item():.3f}")
    backbone.eval()


class Heads(nn.Module):
    """What is asked of the features; thrown away in the end."""

    def __init__(self, dim: int, plates: int) -> None:
        super().__init__()
        self.kinds = nn.Linear(dim, len(KINDS))
        self.plates = nn.Linear(dim, plates)
        self.looks = nn.Linear(dim, 10)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is said of [B, D]: kinds [B, 6], plates [B, P], looks [B, 10]."""
        return self.kinds(features), self.plates(features), self.looks(features)


def crops(surfaces: Surfaces, rows: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """View `number` of the pictures `rows`, and of their defects alone: [B, 1, VIEW, VIEW]."""
    drawn = draw_views(VIEWS, 1, rows, torch.full_like(rows, number), SIDE)
    views = render(surfaces.pictures[rows], drawn, VIEW)
    return views, render(surfaces.defects[rows], only_geometry(drawn), VIEW)


def only_geometry(drawn: ViewParameters) -> ViewParameters:
    one = torch.ones(len(drawn))
    return replace(drawn, brightness=one, contrast=one, sigma=torch.zeros(len(drawn)))


def look_numbers(defects: Tensor) -> Tensor:
    """Area and edges of defects without a plate: [B, 1, VIEW, VIEW] in 0..1 to [B, 10]."""
    numbers = [defects.mean((1, 2, 3)), (defects > 0.2).float().mean((1, 2, 3))]
    for scale in (1, 2, 4, 8):
        coarse = F.avg_pool2d(defects, scale)
        numbers += [coarse.diff(dim=axis).abs().mean((1, 2, 3)) for axis in (2, 3)]
    return torch.log(torch.stack(numbers, dim=1) + 3e-3)


def write(path: Path, backbone: Backbone) -> None:
    """The weights in half precision, and what a reader of the file has to know."""
    tensors = {
        name: value.half().contiguous()
        for name, value in backbone.body.state_dict().items()
        if value.is_floating_point()
    }
    card = {
        "arch": backbone.arch,
        "image_size": IMAGE_SIZE,
        "interpolation": "bilinear",
        "normalization": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }
    with writing(path) as aside:
        aside.write_bytes(save(tensors, {"cvgssl": json.dumps({"card": card})}))


def unseen_pictures() -> tuple[Tensor, Tensor]:
    """The package's own pictures, one of each coil: uint8 [6 * 50, 1, S, S] and their kinds."""
    pictures = [
        generate_surface(kind, UNSEEN, 10 * coil, IMAGE_SIZE)
        for kind in KINDS
        for coil in range(50)
    ]
    return torch.from_numpy(np.stack(pictures))[:, None], torch.arange(6).repeat_interleave(50)


@torch.no_grad()
def accuracy(backbone: Backbone, pictures: Tensor, labels: Tensor) -> dict[int, float]:
    """Of the nearest class mean over 20 draws, by shot, per cent."""
    features = torch.cat([backbone.eval()(part) for part in pictures.split(100)])
    features = F.normalize(features - features.mean(0), dim=1)
    generator, found = torch.Generator().manual_seed(0), {}
    for shot in (1, 2, 4):
        right = []
        for _ in range(20):
            order = torch.stack([torch.randperm(50, generator=generator) for _ in KINDS])
            order += 50 * torch.arange(6)[:, None]
            means = F.normalize(features[order[:, :shot]].mean(1), dim=1)
            asked = order[:, shot:].flatten()
            right.append(((features[asked] @ means.T).argmax(1) == labels[asked]).float().mean())
        found[shot] = 100 * float(torch.stack(right).mean())
    return found


if __name__ == "__main__":
    main()
