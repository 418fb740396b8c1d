"""Augmentation of labelled pictures: one random view of each per epoch."""

import torch
from torch import Tensor

from cvgssl.views.random_views import draw, render
from cvgssl.views.recipe import ViewRecipe


def support_recipe(size: int) -> ViewRecipe:
    """Mild views of `size` pixels: labels are few, and a defect must not be cut away.

    Square crops of 0.49 to 1 of the area (0.7 to 1 of the side; it is the area that is uniform),
    mirrored either way, brightness and contrast changed by up to a fifth.
    """
    return ViewRecipe(size, scale=(0.49, 1.0), ratio=(1.0, 1.0), flip_y=0.5)


def support_views(pixels: Tensor, seed: int, epoch: int) -> Tensor:
    """One view of each labelled picture: uint8 [N, C, S, S] to uint8 of the same shape.

    A view depends on the seed, the epoch and the picture's row among the N, on nothing else.
    """
    rows = torch.arange(len(pixels))
    side = pixels.shape[-1]
    drawn = draw(support_recipe(side), seed, rows, torch.full_like(rows, epoch), side)
    return render(pixels, drawn, side).mul_(255).round_().to(torch.uint8)
