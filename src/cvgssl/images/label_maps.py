"""Whether a picture is a mask or label map: few gray levels in flat patches."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MOST_LEVELS = 16  # of a map that was saved without loss
_FLAT = 0.5  # share of pixels equal to their right neighbour; most photographs have below 0.3
_PURE = 0.4  # share of the pixels near a value of a blurred mask that have exactly this value
_NEAR = 16  # gray levels around a mode that JPEG or resizing spreads it over
_APART = 64  # gray levels between the two values of a mask
_IN_MODES = 0.85  # share of the pixels of a mask that are near one of its two values
_ROWS = 512  # of a large picture that are looked at


def looks_like_map(gray: NDArray[np.uint8], lossy: bool) -> bool:
    """Whether uint8 [H, W] is constant, has few levels in patches, or two blurred ones.

    lossy: whether the file's format blurs values, as JPEG does; then a photograph that is nearly
    black has few levels as well, and only two levels far apart tell a mask.
    """
    some = gray[:: max(len(gray) // _ROWS, 1)]
    counts = np.array(Image.fromarray(some).histogram())
    levels = np.flatnonzero(counts)
    if len(levels) == 1:
        return True
    if counts.max() * _MOST_LEVELS < counts.sum():  # as of most photographs: quickly told
        return False
    flat = float((some[:, 1:] == some[:, :-1]).mean()) if some.shape[1] > 1 else 0.0
    if not lossy and len(levels) <= _MOST_LEVELS and flat >= _FLAT:
        return True
    values = np.arange(256)
    first = int(counts.argmax())
    second = int(np.where(np.abs(values - first) >= _APART, counts, 0).argmax())
    held = [int(counts[np.abs(values - mode) <= _NEAR].sum()) for mode in (first, second)]
    return (
        flat >= _FLAT
        and abs(second - first) >= _APART
        and sum(held) >= _IN_MODES * counts.sum()
        and bool(counts[first] >= _PURE * held[0] and counts[second] >= _PURE * held[1] > 0)
    )
