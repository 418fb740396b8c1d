"""A folder of generated pictures, laid out like NEU-CLS, with lists of parts and boxes."""

import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from cvgssl.images.picture_options import ImageFormat
from cvgssl.images.surfaces.exposures import draw_part
from cvgssl.images.surfaces.plan import FILLED, Part, Plant, plan_equal, plan_plant
from cvgssl.images.surfaces.texture import SIDE
from cvgssl.runtime.csv_writing import CsvValue, write_rows
from cvgssl.runtime.files import new_folder
from cvgssl.runtime.progress import progress

PARTS, PARTS_COLUMNS = "parts.csv", ("path", "label", "part", "exposure")
BOXES, BOXES_COLUMNS = "boxes.csv", ("path", "label", "x_min", "y_min", "x_max", "y_max")
_BATCH = 10  # parts per task of a worker process
_WORTH = 40  # pictures that take as long as starting a process


def synthesize(
    out: Path,
    per_class: int,
    seed: int,
    image_size: int = SIDE,
    test_fraction: float = 0.3,
    format: ImageFormat = "bmp",
    workers: int = 1,
    plant: Plant = FILLED,
) -> dict[str, int]:
    """Write `out`/train/CLASS and `out`/test/CLASS; gives the number of pictures of each class.

    There are `per_class` parts of each kind of defect or, with `plant.good_share`,
    `plant.parts` parts. Parts are numbered from 1, as NEU's pictures (Cr_1.bmp, with several
    exposures Cr_1_e1.bmp); the last `test_fraction` of the numbers, rounded, form the test split,
    and test shows coils that train does not. The same arguments give the same bytes. The folder
    appears whole or not at all.

    With any option of `plant`, `out` has two lists of its pictures beside train/ and test/:
    parts.csv with the columns path,label,part,exposure, and boxes.csv with
    path,label,x_min,y_min,x_max,y_max, a row per defect: its kind and its box in pixels, from
    0, whose x_max and y_max are beyond it.

    workers: processes at most; more than one needs a caller that guards its `__main__`.
    Raises UserError when `out` holds something, when a split would be empty, or when a class of
    a plant would have too few parts.
    """
    parts = (
        plan_plant(plant, test_fraction, seed)
        if plant.good_share
        else plan_equal(per_class, test_fraction)
    )
    with new_folder(out, "OUT") as aside:
        for part in parts:
            (aside / _folder(part)).mkdir(parents=True, exist_ok=True)
        batches = [
            _Batch(aside, parts[i : i + _BATCH], plant, seed, image_size, format)
            for i in range(0, len(parts), _BATCH)
        ]
        total = len(parts) * plant.exposures
        with progress("generating", total) as advance:
            boxes = _run(batches, min(workers, total // _WORTH), advance)
        if plant != FILLED:
            write_rows(aside / PARTS, PARTS_COLUMNS, _part_rows(parts, plant, format))
            write_rows(aside / BOXES, BOXES_COLUMNS, boxes)
    counts: dict[str, int] = {}
    for part in parts:
        counts[part.label] = counts.get(part.label, 0) + plant.exposures
    return counts


@dataclass(frozen=True)
class _Batch:
    """Parts that are drawn by one process."""

    folder: Path
    parts: list[Part]
    plant: Plant
    seed: int
    image_size: int
    format: ImageFormat

    @property
    def pictures(self) -> int:
        """How many pictures there will be."""
        return len(self.parts) * self.plant.exposures


_Rows = list[tuple[CsvValue, ...]]


def _run(batches: list[_Batch], workers: int, advance: Callable[[int], None]) -> _Rows:
    """Draw and save all batches; the rows of their boxes, in order."""
    if workers <= 1:
        rows: _Rows = []
        for batch in batches:
            rows += _save(batch)
            advance(batch.pictures)
        return rows
    # New processes, not forks: a fork of a process with threads, such as torch's, may hang.
    # Ctrl-C reaches them, too, but ending them is the business of this process.
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
        futures: dict[Future[_Rows], _Batch] = {pool.submit(_save, each): each for each in batches}
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    advance(futures[future].pictures)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [row for future in futures for row in future.result()]


def _save(batch: _Batch) -> _Rows:
    """Draw and save the pictures of some parts; the rows of their boxes."""
    rows: _Rows = []
    for part in batch.parts:
        pictures = draw_part(part, batch.plant, batch.seed, batch.image_size)
        names = _names(part, batch.plant, batch.format)
        for name, picture in zip(names, pictures, strict=True):
            Image.fromarray(picture.pixels).save(batch.folder / name)
            rows += [(name, kind, *box) for kind, box in picture.boxes]
    return rows


def _folder(part: Part) -> str:
    return f"{'test' if part.test else 'train'}/{part.label}"


def _names(part: Part, plant: Plant, image_format: ImageFormat) -> list[str]:
    """The files of a part's exposures, relative to the data set's folder."""
    endings = [f"_e{number + 1}" for number in range(plant.exposures)]
    return [
        f"{_folder(part)}/{part.name}{ending if plant.exposures > 1 else ''}.{image_format}"
        for ending in endings
    ]


def _part_rows(parts: list[Part], plant: Plant, image_format: ImageFormat) -> _Rows:
    return [
        (name, part.label, part.name, number)
        for part in parts
        for number, name in enumerate(_names(part, plant, image_format), 1)
    ]
