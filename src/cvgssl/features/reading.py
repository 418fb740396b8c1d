"""The way from picture files to batches of squares, for all that embeds or recognizes them.

Few pictures are in memory at a time. What cannot be read is left out and remembered with its
reason, as is the brightest sample of 16-bit files.

Shapes: B pictures of a batch, C channels (1 gray or 3), S side in pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.decoding import Square, decode_squares
from cvgssl.images.geometry import Geometry, Whole
from cvgssl.images.picture_options import BatchOptions


@dataclass(frozen=True)
class PictureBatch:
    """Readable pictures.

    places: B, among all paths. squares: B for each geometry.
    """

    places: list[int]
    squares: list[list[Square]]


@dataclass
class Reading:
    """Files that are read in order, with what is known of those that were read already.

    geometries: how each picture becomes squares, one for each that differs.
    options: without `skip_corrupt` the first unreadable picture ends the batches, not the search
        for more.
    unreadable: place of the picture -> reason. brightest: sample of the 16-bit files, if any.
    done: place after the last file that was read.
    """

    paths: Sequence[Path]
    geometries: Sequence[Geometry | Whole]
    options: BatchOptions
    unreadable: dict[int, str] = field(default_factory=dict)
    brightest: int | None = None
    done: int = 0

    def batches(self, advance: Callable[[int], None], start: int = 0) -> Iterator[PictureBatch]:
        """The readable pictures from place `start` on, of `batch_size` files at a time.

        advance: takes the number of files that have just been dealt with.
        """
        paths = self.paths[start:]
        ahead = self.options.batch_size  # the next batch, while this one is worked on
        decoded = zip(
            *(decode_squares(paths, each, self.options, ahead) for each in self.geometries),
            strict=True,
        )
        numbered = enumerate(decoded, start)
        while files := list(islice(numbered, self.options.batch_size)):
            for place, squares in files:
                self._note(place, squares)
                self.done = place + 1
            readable = [item for item in files if item[0] not in self.unreadable]
            if readable and (self.options.skip_corrupt or not self.unreadable):
                places, shown = zip(*readable, strict=True)
                yield PictureBatch(list(places), [list(each) for each in zip(*shown, strict=True)])
            advance(len(files))

    def reasons(self) -> dict[Path, str]:
        """The unreadable files and why they are, in order."""
        return {self.paths[place]: reason for place, reason in sorted(self.unreadable.items())}

    def _note(self, place: int, squares: Sequence[Square]) -> None:
        for square in squares:
            if square.pixels is None:
                self.unreadable.setdefault(place, square.reason)
            if square.brightest is not None:
                self.brightest = max(self.brightest or 0, square.brightest)


def stacked(squares: Sequence[Square]) -> NDArray[np.uint8]:
    """Readable squares as uint8 [B, C, S, S]; gray ones become colour beside coloured ones."""
    arrays = [square.pixels for square in squares if square.pixels is not None]
    shape = (max(len(pixels) for pixels in arrays), *arrays[0].shape[1:])
    return np.stack([np.broadcast_to(pixels, shape) for pixels in arrays])
