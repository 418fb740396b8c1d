"""Augmentation of labelled pictures: one random view of each, drawn and applied in a batch.

Shapes: B pictures, C channels (1 or 3), S side in pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class ViewParameters:
    """What makes each view; every tensor float32 [B], one value per picture.

    scale: side of the crop over the side of the picture, 0.7..1 (square crops).
    left, top: place of the crop, 0 (left, top) .. 1 (right, bottom).
    flip_x, flip_y: 1 or -1. brightness, contrast: factors 0.8..1.2.
    """

    scale: Tensor
    left: Tensor
    top: Tensor
    flip_x: Tensor
    flip_y: Tensor
    brightness: Tensor
    contrast: Tensor


def draw_parameters(batch: int, seed: int) -> ViewParameters:
    """Draw parameters for `batch` pictures from the stream `seed`, on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(7, batch, generator=generator)
    sign = uniform[3:5].lt(0.5).float() * 2 - 1
    return ViewParameters(
        scale=0.7 + 0.3 * uniform[0],
        left=uniform[1],
        top=uniform[2],
        flip_x=sign[0],
        flip_y=sign[1],
        brightness=0.8 + 0.4 * uniform[5],
        contrast=0.8 + 0.4 * uniform[6],
    )


def apply_views(pixels: Tensor, parameters: ViewParameters) -> Tensor:
    """Make one view of each picture: uint8 [B, C, S, S] to uint8 of the same shape and device.

    Crops are only ever enlarged (bilinear), so no antialiasing is needed.
    """
    p = {name: value.to(pixels.device) for name, value in vars(parameters).items()}
    # affine_grid's coordinates run from -1 to 1; the crop's centre stays within 1 - scale of 0
    affine = torch.zeros(len(pixels), 2, 3, device=pixels.device)
    affine[:, 0, 0] = p["scale"] * p["flip_x"]
    affine[:, 1, 1] = p["scale"] * p["flip_y"]
    affine[:, 0, 2] = (1 - p["scale"]) * (2 * p["left"] - 1)
    affine[:, 1, 2] = (1 - p["scale"]) * (2 * p["top"] - 1)
    grid = F.affine_grid(affine, list(pixels.shape), align_corners=False)
    views: Tensor = F.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    views = views * p["brightness"].view(-1, 1, 1, 1)
    mean = views.mean(dim=(1, 2, 3), keepdim=True)
    views = (views - mean) * p["contrast"].view(-1, 1, 1, 1) + mean
    return views.round_().clamp_(0, 255).to(torch.uint8)
