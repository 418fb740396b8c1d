"""How the settings of `--guidance spectral` were chosen: on train/ alone, no student trained.

    python recipes/diffusion_settings.py NEU-CLS X-SDD --teacher NAME=FILE --json out.json

The map of a part of train/ is made without labels and then learned from the teachers' own features
by kernel ridge in place of a student. How well nearest class mean does on it is measured on
the rest of train/: three folds, each a block of a quarter of every class in the order of file
names, so that neighbours in number, which are often twins, are not on both sides. Figures are
macro-recall, per cent, mean over folds and 20 draws. Test pictures are not opened.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cvgssl.encoders.loading import load_encoders
from cvgssl.features.diffusion_map import diffusion_map
from cvgssl.heads.metrics import confusion, macro_recall
from cvgssl.images.scan import load_dataset
from cvgssl.pretrain.bank import BankBuild, BankKey, build_bank
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import load_pretrain_pictures
from cvgssl.pretrain.targets import joint_embedding
from cvgssl.pretrain.views import Views
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.files import write_json
from cvgssl.runtime.launch import launch

GRID = {"neighbours": [10, 20], "time": [1, 4, 8, 16, 32], "width": [8, 64]}
SHOTS, DRAWS, VERSIONS = (1, 4), 20, 8
RIDGE = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--teacher", required=True, nargs="+", help="NAME=FILE")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    for data in args.data:
        found[data.name] = measure(data, args.teacher, args.precision)
    settings = list(next(iter(found.values())))
    settings.sort(key=lambda name: -np.mean([found[data][name] for data in found]))
    for name in ["teacher", *(name for name in settings if name != "teacher")]:
        shown = "   ".join(f"{data} {one:.1f} / {four:.1f}" for data, (one, four) in
                           ((data, found[data][name]) for data in found))  # fmt: skip
        print(f"{name:<40} {shown}")
    if args.json:
        teachers = [name.partition("=")[0] for name in args.teacher]
        write_json(args.json, {"teachers": teachers, "folds": found})


def measure(folder: Path, names: list[str], precision: str) -> dict[str, list[float]]:
    """Accuracy at 1 and 4 shots of the teachers side by side and of every setting."""
    found, labels = embeddings(folder, names, precision)
    place = torch.zeros(len(labels))
    for label in labels.unique():
        rows = (labels == label).nonzero()[:, 0]
        place[rows] = torch.arange(len(rows)) / len(rows)
    results: dict[str, list[list[float]]] = {}
    for fold in range(3):
        held = (place >= fold / 4 + 0.125) & (place < fold / 4 + 0.375)
        known = [embedding[~held] for embedding in found]
        rest = [embedding[held] for embedding in found]
        source, query = joint_embedding(known, [1.0] * len(known)), placed_beside(known, rest)
        judge = (labels[~held], labels[held])
        results.setdefault("teacher", []).append(few_shot(source, query, *judge))
        for values in itertools.product(*GRID.values()):
            options = dict(zip(GRID, values, strict=True))
            target = torch.from_numpy(diffusion_map(source.numpy(), **options))
            learned = kernel_ridge(source, target, query)
            key = ", ".join(f"{option} {value}" for option, value in options.items())
            results.setdefault(key, []).append(few_shot(*learned, *judge))
    return {key: np.mean(folds, axis=0).tolist() for key, folds in results.items()}


def embeddings(folder: Path, names: list[str], precision: str) -> tuple[list[Tensor], Tensor]:
    """Per teacher the mean embedding of stored weak views of every train picture, and labels."""
    accelerator = launch(precision=precision)
    config = PretrainConfig(
        data=folder, image_size=224, view_size=64, precision=precision, bank=VERSIONS
    )  # the views and bank of --preset cpu
    data = load_pretrain_pictures(config, accelerator)
    views = Views(config.recipes, config.geometry, config.seed).weak_only()
    keys = [
        BankKey(teacher.to(accelerator.device), views, VERSIONS, config.precision)
        for teacher in load_encoders(names)
    ]
    place = default_cache_dir() / "banks"
    bank = build_bank(BankBuild(keys, data, place, config.batch_size, accelerator))
    classes = load_dataset(folder).train.classes
    labels = torch.tensor([classes.index(one) for one in data.folders])
    return [bank.mean(number) for number in range(len(keys))], labels


def placed_beside(known: list[Tensor], rows: list[Tensor]) -> Tensor:
    """Other pictures [M, D_t] of each teacher where `joint_embedding` puts `known` [N, D_t].

    Float32 [M, sum of D_t], length 1; means and deviations are those of `known`.
    """
    parts = [
        F.normalize((one - own.mean(0)) / own.std(0).clamp_min(1e-6), dim=1)
        for own, one in zip(known, rows, strict=True)
    ]
    return F.normalize(torch.cat(parts, dim=1), dim=1)


def kernel_ridge(source: Tensor, target: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """The target as a smooth function of the teachers' features, at source and query."""
    width = float((2 - 2 * source @ source.T).median())
    kernel = torch.exp(-(2 - 2 * source @ source.T) / width)
    mean = target.mean(0)
    factor = torch.linalg.cholesky(kernel + RIDGE * len(source) * torch.eye(len(source)))
    weights = torch.cholesky_solve(target - mean, factor)
    return kernel @ weights + mean, torch.exp(-(2 - 2 * query @ source.T) / width) @ weights + mean


def few_shot(source: Tensor, query: Tensor, labels: Tensor, truth: Tensor) -> list[float]:
    """Nearest class mean at each of SHOTS, mean over draws."""
    classes, centre = int(labels.max()) + 1, source.mean(0)
    source, query = F.normalize(source - centre, dim=1), F.normalize(query - centre, dim=1)
    figures = []
    for shot in SHOTS:
        scores = []
        for draw in range(DRAWS):
            generator = torch.Generator().manual_seed(draw)
            means = []
            for label in range(classes):
                rows = (labels == label).nonzero()[:, 0]
                chosen = rows[torch.randperm(len(rows), generator=generator)[:shot]]
                means.append(source[chosen].mean(0))
            predicted = (query @ F.normalize(torch.stack(means), dim=1).T).argmax(1)
            scores.append(macro_recall(confusion(truth.numpy(), predicted.numpy(), classes)))
        figures.append(float(np.mean(scores)))
    return figures


if __name__ == "__main__":
    main()
