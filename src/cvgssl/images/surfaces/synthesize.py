"""Generated pictures: one from its class, seed and number, a folder laid out like NEU-CLS."""

import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.surfaces.defects import (
    crazing,
    inclusion,
    patches,
    pitted_surface,
    rolled_in_scale,
    scratches,
)
from cvgssl.images.surfaces.plate import Coil, Usual, draw_coil, expose, ground
from cvgssl.images.surfaces.texture import SIDE, Field
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import new_folder
from cvgssl.runtime.progress import progress

COIL_LENGTH = 10  # pictures of each class in a row that show the same coil
_COIL, _PICTURE = 0, 1  # what a random stream is for

_Defect = Callable[[Field, Coil, np.random.Generator], Field]
_DEFECTS: dict[str, tuple[_Defect, Usual]] = {
    "crazing": (crazing, Usual(brightness=(100, 190), grain=(0.09, 0.16))),
    "inclusion": (inclusion, Usual(brightness=(70, 140), grain=(0.02, 0.04))),
    "patches": (patches, Usual(brightness=(110, 250), grain=(0.07, 0.14))),
    "pitted_surface": (pitted_surface, Usual(brightness=(140, 225), grain=(0.02, 0.05))),
    "rolled-in_scale": (rolled_in_scale, Usual(brightness=(100, 160), grain=(0.05, 0.1))),
    "scratches": (scratches, Usual(brightness=(60, 130), grain=(0.02, 0.06))),
}
KINDS = tuple(_DEFECTS)


def generate_surface(kind: str, seed: int, index: int, size: int = SIDE) -> NDArray[np.uint8]:
    """Picture number `index` of a class of defect, uint8 [size, size].

    kind: one of `KINDS`. index: 0 or more; ten pictures in a row show the same coil. Sizes other
    than 200 are resampled from 200 pixels.
    """
    number = KINDS.index(kind)
    draw, usual = _DEFECTS[kind]
    coil = draw_coil(_generator(seed, number, _COIL, index // COIL_LENGTH), usual)
    rng = _generator(seed, number, _PICTURE, index)
    picture = expose(draw(ground(coil, rng), coil, rng), coil, rng)
    if size == SIDE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def _generator(*words: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


ImageFormat = Literal["bmp", "png"]

_PREFIXES = dict(zip(KINDS, ("Cr", "In", "Pa", "PS", "RS", "Sc"), strict=True))
_BATCH = 10  # pictures per task of a worker process
_WORTH = 40  # pictures that take as long as starting a process


def synthesize(
    dst: Path,
    per_class: int,
    seed: int,
    size: int = SIDE,
    test_fraction: float = 0.3,
    image_format: ImageFormat = "bmp",
    workers: int = 1,
) -> None:
    """Write `dst`/train/CLASS and `dst`/test/CLASS with `per_class` pictures of each class.

    Pictures are numbered from 1, as NEU's (Cr_1.bmp); the last `test_fraction` of the numbers,
    rounded, form the test split, so that test shows coils that train does not. The same
    arguments give the same bytes. The folder appears whole or not at all.

    workers: processes at most; more than one needs a caller that guards its `__main__`.
    Raises UserError when `dst` holds something, or when a split would be empty.
    """
    held_out = round(per_class * test_fraction)
    if not 0 < held_out < per_class:
        raise UserError(
            f"--per-class {per_class} with --test-fraction {test_fraction} leaves "
            f"{held_out} pictures of a class for test and {per_class - held_out} for train; "
            "each needs at least 1"
        )
    known = per_class - held_out
    jobs = []
    with new_folder(dst, "DST") as aside:
        for kind in KINDS:
            for index in range(per_class):
                folder = aside / ("train" if index < known else "test") / kind
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{_PREFIXES[kind]}_{index + 1}.{image_format}"
                jobs.append((kind, seed, index, size, path))
        batches = [jobs[i : i + _BATCH] for i in range(0, len(jobs), _BATCH)]
        with progress("generating", len(jobs)) as advance:
            _run(batches, min(workers, len(jobs) // _WORTH), advance)


_Job = tuple[str, int, int, int, Path]


def _run(batches: list[list[_Job]], workers: int, advance: Callable[[int], None]) -> None:
    if workers <= 1:
        for batch in batches:
            advance(_save(batch))
        return
    # New processes, not forks: a fork of a process with threads, such as torch's, may hang.
    # Ctrl-C reaches them, too, but ending them is the business of this process.
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
        pending: set[Future[int]] = {pool.submit(_save, batch) for batch in batches}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    advance(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _save(batch: list[_Job]) -> int:
    for kind, seed, index, size, path in batch:
        Image.fromarray(generate_surface(kind, seed, index, size)).save(path)
    return len(batch)
