"""Pictures with another lamp, focus or camera, and their embeddings, for `change.py`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed
from cvgssl.features.preparation import Preparation
from cvgssl.features.reading import Reading
from cvgssl.features.table import FeatureTable, load_features, save_features
from cvgssl.heads import HEADS
from cvgssl.heads.change_reference import Reference, light_of
from cvgssl.images.geometry import Geometry

CHANGED = 250  # pictures of each set
LABELS = 8  # of each class, in the head
Picture = Image.Image
Rows = NDArray[np.intp]
Stream = list[tuple[int, NDArray[np.float64]]]


def levels(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[..., Picture]:
    def changed(picture: Picture) -> Picture:
        values = change(np.asarray(picture, dtype=np.float64))
        return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))

    return changed


def gradient(values: NDArray[np.float64]) -> NDArray[np.float64]:
    across = np.linspace(0.75, 1.15, values.shape[1])
    return values * (across if values.ndim == 2 else across[:, None])


def noise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values + np.random.default_rng(int(values.sum())).normal(0, 6, values.shape)


def blur(share: float) -> Callable[[Picture], Picture]:
    return lambda picture: picture.filter(ImageFilter.GaussianBlur(share * max(picture.size)))


def camera(angle: float, zoom: float) -> Callable[[Picture], Picture]:
    def changed(picture: Picture) -> Picture:
        (width, height), border = picture.size, int(0.3 * max(picture.size))
        values = np.asarray(picture)
        sides = [(border, border)] * 2 + [(0, 0)] * (values.ndim - 2)
        large = Image.fromarray(np.pad(values, sides, mode="reflect"))
        large = large.rotate(angle, Image.Resampling.BICUBIC)
        x, y = (large.width - width / zoom) / 2, (large.height - height / zoom) / 2
        box = (x, y, x + width / zoom, y + height / zoom)
        return large.resize((width, height), Image.Resampling.BICUBIC, box=box)

    return changed


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "gain 0.9": levels(lambda values: 0.9 * values),
    "gain 0.75": levels(lambda values: 0.75 * values),
    "gamma 1.4": levels(lambda values: 255 * (values / 255) ** 1.4),
    "gradient": levels(gradient),
    "blur 1 %": blur(0.01),
    "rotation 5": camera(5, 1),
    "zoom 1.1": camera(0, 1.1),
    "noise 6": levels(noise),
}


class Set:
    """A data set as embeddings and light, as it is and changed; rows of a change are `changed`."""

    def __init__(self, data: Path, work: Path) -> None:
        self.table, self.light = measured(data, work / f"{data.name}.npz")
        self.changed = np.random.default_rng(1).permutation(len(self.table))[:CHANGED]
        self.others = np.setdiff1d(np.arange(len(self.table)), self.changed)
        self.after: dict[str, tuple[FeatureTable, NDArray[np.float64]]] = {}
        self._draws: dict[int, Draw] = {}
        names = [self.table.names[row] for row in self.changed]
        for word, change in CHANGES.items():
            folder = work / f"{data.name} {word}"
            for number, name in enumerate(names):
                made = folder / f"{number:04}.png"
                if not made.exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    with Image.open(data / name) as picture:
                        plain = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
                        change(plain).save(made, compress_level=1)
            table, light = measured(folder, work / f"{folder.name}.npz")
            self.after[word] = replace(table, labels=self.table.labels[self.changed]), light

    def draw(self, seed: int) -> "Draw":
        """The draw of this number, made once."""
        if seed not in self._draws:
            self._draws[seed] = Draw(self, seed)
        return self._draws[seed]


def measured(data: Path, kept: Path) -> tuple[FeatureTable, NDArray[np.float64]]:
    lights = kept.with_name(f"{kept.stem}.light.npy")
    if not lights.exists():
        table = embed(EmbedConfig(data=data))
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_features(table, kept)
        reading = Reading(
            [data / name for name in table.names], (Geometry(224),), EmbedConfig(data=data)
        )
        light = np.zeros((len(table), 3))
        for batch in reading.batches(lambda _: None):
            for place, square in zip(batch.places, batch.squares[0], strict=True):
                assert square.pixels is not None
                light[place] = light_of(square.pixels)
        np.save(lights, light)
    return load_features(kept), np.load(lights)


class Draw:
    """A reference and a head; `rest` are the rows for the stream, in random order."""

    def __init__(self, data: Set, seed: int, without: int | None = None) -> None:
        self.data, table = data, data.table
        rows = np.random.default_rng(seed).permutation(data.others)
        rows = rows[table.labels[rows] != without]
        self.train, self.rest = rows[: len(rows) // 3], rows[len(rows) // 3 :]
        self.labels = np.full(len(self.train), -1)
        for label in range(len(table.classes)):
            self.labels[np.flatnonzero(table.labels[self.train] == label)[:LABELS]] = label
        self.preparation = Preparation().fit(table.values[self.train])
        prepared = self.preparation.transform(table.values[self.train])
        self.reference = Reference(prepared)
        self.head = head_of(prepared, self.labels)

    def stream(self, values: Any, light: NDArray[np.float64], rows: Rows) -> Stream:
        """What the detector is given of pictures."""
        prepared = self.preparation.transform(values[rows])
        labels = self.head.predict(prepared).tolist()
        return list(zip(labels, self.reference.measure(prepared, light[rows]).values, strict=True))

    def usual(self, rows: Rows) -> Stream:
        """The same of unchanged ones."""
        return self.stream(self.data.table.values, self.data.light, rows)


def head_of(prepared: Any, labels: Any) -> Any:
    return HEADS["kernel-ridge"]().fit(prepared[labels >= 0], labels[labels >= 0])
