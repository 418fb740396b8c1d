"""Resizing and blurring as products with banded matrices, a different one for every picture.

A row of the result is a weighted sum of a few neighbouring rows of the picture. So G rows of
blocks are made at a time: the K rows that a block of n needs are gathered, and one small matrix
[n, K] makes the block. That does a sixth of the work of the whole matrix at 224 pixels.

Shapes: B pictures, C channels, H x W pixels, h x w pixels of the result, G blocks of n rows made
from K rows.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cvgssl.runtime.launch import to_device

_BLOCK = 16  # rows made at a time


@dataclass(frozen=True)
class RowFilter:
    """How the rows (or columns) of a result come from those of a picture.

    rows: int64 [B, G, K], which rows each block needs; those that it does not need have weight 0.
    weights: float32 [B, G or 1, n, K].
    size: rows of the result, at most G * n; what is beyond is cut off.
    """

    rows: Tensor
    weights: Tensor
    size: int

    def __getitem__(self, part: slice) -> "RowFilter":
        """The filter of some of the pictures."""
        return RowFilter(self.rows[part], self.weights[part], self.size)

    def to(self, device: torch.device) -> "RowFilter":
        """The same on another device."""
        rows = self.rows[:1] if self.rows.stride(0) == 0 else self.rows  # of one for all pictures
        rows = to_device(rows, device).expand(len(self.rows), -1, -1)
        return RowFilter(rows, to_device(self.weights, device), self.size)

    def times(self, factor: Tensor) -> "RowFilter":
        """The filter whose results are `factor` times as large, float32 [B]."""
        return replace(self, weights=self.weights * factor[:, None, None, None])


def resizing(start: Tensor, length: Tensor, flip: Tensor, size: int, side: int) -> RowFilter:
    """Cut `length` rows out from `start` on, resize them to `size` and turn them round if `flip`.

    start, length: int64 [B]; flip: bool [B]; side: rows of the pictures, start + length at most.
    Bilinear and antialiased: a triangle that reaches one row of the coarser of both grids to
    either side, cut off at the ends of the crop, with weights that sum to 1 (what torch calls
    `interpolate(mode="bilinear", antialias=True)`).
    """
    groups, block = _blocks(size)
    scale = length.double()[:, None, None] / size  # rows of the crop per row of the result
    support = scale.clamp(min=1)
    place = torch.arange(groups * block, device=start.device).view(groups, block) + 0.5
    place = torch.where(flip[:, None, None], size - place, place).clamp(0, size)
    centre = place * scale  # [B, G, n] in rows of the crop; row j reaches from j to j + 1
    first = (centre.amin(-1, keepdim=True) - support + 0.5).floor().clamp(min=0)
    # as many as the strongest reduction needs, so that sums do not depend on the other pictures
    largest = side / size
    needed = int((block - 1) * largest + 2 * max(largest, 1)) + 2
    step = torch.arange(needed, device=start.device)
    last = length[:, None, None] - 1
    wanted = first.long() + step  # [B, G, K] rows of the crop
    offset = (centre - first - 0.5).float()[..., None]
    distance = (step.float() - offset).abs_().div_(support.float()[..., None])
    weights = distance.neg_().add_(1).clamp_(min=0).mul_((wanted <= last).float()[:, :, None])
    weights = weights.div_(weights.sum(-1, keepdim=True))
    return RowFilter(start[:, None, None] + torch.minimum(wanted, last), weights, size)


def gaussian(sigma: Tensor, size: int) -> RowFilter:
    """Blur `size` rows with normal curves of standard deviation `sigma`, float32 [B], in rows.

    Curves are cut off after ceil(3 sigma) rows to either side, or size - 1 if that is less;
    beyond the border the picture is mirrored without repeating its first and last row.
    """
    groups, block = _blocks(size)
    reach = (3 * sigma).ceil().clamp(max=size - 1)[:, None, None]
    radius = int(reach.max())
    step = torch.arange(block + 2 * radius, device=sigma.device)
    first = block * torch.arange(groups, device=sigma.device)[:, None] - radius
    rows = (first + step).clamp(max=size - 1 + radius)
    rows = rows.abs()
    rows = torch.where(rows < size, rows, 2 * (size - 1) - rows)
    distance = step - radius - torch.arange(block, device=sigma.device)[:, None]
    weights = torch.exp(-0.5 * (distance / sigma[:, None, None]) ** 2)
    weights = weights * (distance.abs() <= reach)
    weights = weights / weights.sum(-1, keepdim=True)
    return RowFilter(rows.expand(len(sigma), -1, -1), weights[:, None], size)


def filtered(pictures: Tensor, vertical: RowFilter, horizontal: RowFilter) -> Tensor:
    """Uint8 or float32 [B, C, H, W] to float32 [B, C, h, w], filtered along both axes."""
    columns = _apply(horizontal, pictures.permute(0, 3, 1, 2))  # [B, w, C, H]
    return _apply(vertical, columns.permute(0, 3, 2, 1)).permute(0, 2, 1, 3)


def _apply(rows_filter: RowFilter, rows: Tensor) -> Tensor:
    """Filter along the second axis: [B, H, ...] to float32 [B, h, ...]."""
    batch, height, *rest = rows.shape
    first = torch.arange(batch, device=rows.device)[:, None, None] * height
    places = (rows_filter.rows + first).flatten()
    gathered = rows.reshape(batch * height, -1).index_select(0, places)
    windows = gathered.view(*rows_filter.rows.shape, -1).to(rows_filter.weights.dtype)
    made = (rows_filter.weights @ windows).flatten(1, 2)  # [B, G * n, ...]
    return made[:, : rows_filter.size].view(batch, rows_filter.size, *rest)


def _blocks(size: int) -> tuple[int, int]:
    """How many blocks of how many rows make `size` rows, with little left over."""
    groups = -(-size // _BLOCK)
    return groups, -(-size // groups)
