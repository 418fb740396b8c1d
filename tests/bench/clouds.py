"""Made-up embeddings: three classes as clouds of points."""

import numpy as np

from cvgssl.features.table import FeatureTable

CLASSES = ("dent", "pit", "scratch")


def clouds(train: int = 12, test: tuple[int, ...] = (9, 6, 4), seed: int = 1) -> FeatureTable:
    """Three clouds in five dimensions that overlap a little."""
    chance = np.random.default_rng(seed)
    centres = 2.2 * np.eye(3, 5)
    values, names, labels, splits = [], [], [], []
    for label, name in enumerate(CLASSES):
        for split, number in (("train", train), ("test", test[label])):
            values.append(centres[label] + chance.normal(size=(number, 5)))
            names += [f"{split}/{name}/{place:03}.png" for place in range(number)]
            labels += [label] * number
            splits += [split] * number
    return FeatureTable(
        np.concatenate(values).astype(np.float32),
        tuple(names),
        np.array(labels, dtype=np.int64),
        tuple(splits),
        CLASSES,
        {"encoder": "made up"},
    )
