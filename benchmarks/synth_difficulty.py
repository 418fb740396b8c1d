"""How hard the generated surfaces are for recognizers that know nothing of texture.

Nearest neighbours on raw pixels and on brightness must do badly (else brightness or position
gives the class away) and texture statistics must do well (else there is nothing to recognize).
All of train/ is used, all of test/ is scored; figures are macro-recalls in per cent.

    python benchmarks/synth_difficulty.py --json synth_difficulty.json
    python benchmarks/synth_difficulty.py --data NEU-CLS      # the same for real pictures
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.surfaces import synthesize
from cvgssl.runtime.files import write_json

Picture = NDArray[np.uint8]
Rows = NDArray[np.float64]
Split = tuple[list[Picture], NDArray[np.int64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with train/ and test/; else generated")
    parser.add_argument("--per-class", type=int, default=150, help="generated pictures per class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--weights", type=Path, help="ViT-Tiny .safetensors: adds few-shot figures")
    parser.add_argument("--json", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, seconds = options.data, None
        if data is None:
            data = Path(folder) / "synth"
            start = time.perf_counter()
            synthesize(data, options.per_class, options.seed, workers=options.workers)
            seconds = time.perf_counter() - start
            print(f"generated {6 * options.per_class} pictures in {seconds:.1f} s")
        train, test = load(data / "train"), load(data / "test")
    figures = {name: method(train, test) for name, method in METHODS.items()}
    if options.weights:
        figures |= few_shot(train, test, options.weights)
    for name, value in figures.items():
        print(f"{name:<44} {value:5.1f} %")
    if options.json:
        setting = {"data": "generated" if options.data is None else options.data.name}
        setting |= {"train": len(train[1]), "test": len(test[1]), "seed": options.seed}
        write_json(options.json, setting | {"seconds": seconds, "macro_recall": figures})


def load(folder: Path) -> Split:
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    pictures, labels = [], []
    for label, path in enumerate(classes):
        for file in sorted(path.iterdir()):
            pictures.append(np.asarray(Image.open(file).convert("L")))
            labels.append(label)
    return pictures, np.array(labels)


def macro_recall(found: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    recalls = [np.mean(found[labels == c] == c) for c in np.unique(labels)]
    return round(100 * float(np.mean(recalls)), 1)


def nearest_neighbour(describe: Callable[[Picture], Rows]) -> Callable[[Split, Split], float]:
    """1-NN by Euclidean distance between what `describe` says of each picture."""

    def run(train: Split, test: Split) -> float:
        known, asked = _describe(describe, train), _describe(describe, test)
        return macro_recall(train[1][_distances(asked, known).argmin(axis=1)], test[1])

    return run


def nearest_mean(describe: Callable[[Picture], Rows]) -> Callable[[Split, Split], float]:
    """Nearest class mean after standardizing each feature on train/."""

    def run(train: Split, test: Split) -> float:
        known, asked = _describe(describe, train), _describe(describe, test)
        centre, spread = known.mean(axis=0), known.std(axis=0) + 1e-9
        known, asked = (known - centre) / spread, (asked - centre) / spread
        means = np.stack([known[train[1] == c].mean(axis=0) for c in np.unique(train[1])])
        return macro_recall(_distances(asked, means).argmin(axis=1), test[1])

    return run


def discriminant(describe: Callable[[Picture], Rows]) -> Callable[[Split, Split], float]:
    """Nearest class mean after whitening within the classes (Fisher's discriminant, shrunk)."""

    def run(train: Split, test: Split) -> float:
        known, asked = _describe(describe, train), _describe(describe, test)
        centre, spread = known.mean(axis=0), known.std(axis=0) + 1e-9
        known, asked = (known - centre) / spread, (asked - centre) / spread
        means = np.stack([known[train[1] == c].mean(axis=0) for c in np.unique(train[1])])
        within = np.cov(known - means[train[1]], rowvar=False)
        shrunk = 0.7 * within + 0.3 * np.eye(len(within))
        whiten = np.linalg.inv(np.linalg.cholesky(shrunk)).T
        found = _distances(asked @ whiten, means @ whiten).argmin(axis=1)
        return macro_recall(found, test[1])

    return run


def raw(side: int, centred: bool) -> Callable[[Picture], Rows]:
    def describe(picture: Picture) -> Rows:
        small = Image.fromarray(picture).resize((side, side), Image.Resampling.BOX)
        values = np.asarray(small, dtype=np.float64).ravel()
        return values - values.mean() if centred else values

    return describe


def mean_and_deviation(picture: Picture) -> Rows:
    return np.array([picture.mean(), picture.std()])


def histogram(picture: Picture) -> Rows:
    return np.bincount(picture.ravel() // 8, minlength=32) / picture.size


def texture(picture: Picture) -> Rows:
    """Local binary patterns at three scales and gradient orientations weighted by strength."""
    gray = picture.astype(np.float64)
    parts = [_binary_patterns(gray, radius) for radius in (1, 2, 4)]
    parts += [_gradient_orientations(_halve(gray, times)) for times in (0, 1, 2)]
    return np.concatenate(parts)


def _binary_patterns(gray: Rows, radius: int) -> Rows:
    """Histogram of the 256 local binary patterns (Ojala et al., 2002), square roots."""
    inner = gray[radius:-radius, radius:-radius]
    code = np.zeros(inner.shape, dtype=np.int64)
    ring = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    for bit, (dy, dx) in enumerate(ring):
        shifted = np.roll(gray, (-dy * radius, -dx * radius), axis=(0, 1))
        code |= (shifted[radius:-radius, radius:-radius] > inner).astype(np.int64) << bit
    return np.sqrt(np.bincount(code.ravel(), minlength=256) / code.size)


def _gradient_orientations(gray: Rows) -> Rows:
    """Share of gradient strength in 12 orientations, and the tail of the gradient strengths."""
    dy, dx = np.gradient(gray)
    strength = np.hypot(dy, dx)
    bins = np.floor(np.arctan2(dy, dx) % np.pi / np.pi * 12).astype(np.int64) % 12
    share = np.bincount(bins.ravel(), strength.ravel(), 12) / (strength.sum() + 1e-9)
    tail = np.quantile(strength, (0.5, 0.8, 0.95, 0.99)) / (strength.mean() + 1e-9)
    return np.concatenate([share, tail])


def _halve(gray: Rows, times: int) -> Rows:
    for _ in range(times):
        even = gray[: gray.shape[0] // 2 * 2, : gray.shape[1] // 2 * 2]
        gray = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return gray


METHODS = {
    "1-NN, raw 32x32, mean removed": nearest_neighbour(raw(32, centred=True)),
    "1-NN, raw 64x64": nearest_neighbour(raw(64, centred=False)),
    "1-NN, mean and standard deviation": nearest_neighbour(mean_and_deviation),
    "1-NN, gray histogram": nearest_neighbour(histogram),
    "nearest class mean, texture statistics": nearest_mean(texture),
    "Fisher discriminant, texture statistics": discriminant(texture),
}


def few_shot(train: Split, test: Split, weights: Path) -> dict[str, float]:
    """Nearest class mean on frozen ViT-Tiny features at 1 and 4 shots, mean over 20 draws."""
    known, asked = vit_features(train[0], weights), vit_features(test[0], weights)
    figures = {}
    for shots in (1, 4):
        accuracies = []
        for draw in range(20):
            rng = np.random.default_rng(draw)
            rows = [
                rng.permutation(np.nonzero(train[1] == c)[0])[:shots] for c in np.unique(train[1])
            ]
            # Centring on all of train/ uses no label.
            means = np.stack([(known[r] - known.mean(axis=0)).mean(axis=0) for r in rows])
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            scores = (asked - known.mean(axis=0)) @ means.T
            accuracies.append(macro_recall(scores.argmax(axis=1), test[1]))
        figures[f"frozen ViT-Tiny, nearest mean, {shots} shot"] = round(
            float(np.mean(accuracies)), 1
        )
    return figures


def vit_features(pictures: list[Picture], weights: Path) -> Rows:
    """Class token and mean of the patch tokens, float64 [N, 384], of length 1."""
    import torch
    from safetensors.torch import load_file

    from cvgssl.encoders.backbone import build_backbone

    backbone = build_backbone("vit_tiny_patch16_224").eval()
    lacking, _ = backbone.body.load_state_dict(load_file(weights), strict=False)
    if lacking:
        raise SystemExit(f"--weights {weights}: not ViT-Tiny's, {lacking[0]} is missing")
    rows = []
    with torch.inference_mode():
        for first in range(0, len(pictures), 32):
            resized = [
                np.asarray(Image.fromarray(p).resize((224, 224), Image.Resampling.BILINEAR))
                for p in pictures[first : first + 32]
            ]
            pixels = backbone.normalize(torch.from_numpy(np.stack(resized))[:, None])
            tokens = backbone.body.forward_features(pixels)
            rows.append(
                torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1).double().numpy()
            )
    features: Rows = np.concatenate(rows)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features


def _describe(describe: Callable[[Picture], Rows], split: Split) -> Rows:
    return np.stack([describe(picture) for picture in split[0]])


def _distances(a: Rows, b: Rows) -> Rows:
    """Squared Euclidean distances [A, B]."""
    distances: Rows = (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)[None, :]
    return distances


if __name__ == "__main__":
    main()
