"""The views of a training step: which ones, and their pixels.

Shape letters: B pictures, C channels, s side of a view, V roles: the weak view is role 0.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from cvgssl.encoders.teacher import Teacher
from cvgssl.images.geometry import Geometry
from cvgssl.pretrain.data import Unlabelled
from cvgssl.views.numbering import view_numbers
from cvgssl.views.random_views import draw, render
from cvgssl.views.recipe import ViewRecipe

VERSION = 1  # of how views are drawn and rendered; part of what banks are keyed by


class Views:
    """Draws the views of pictures; each depends on seed, picture, role and number only."""

    def __init__(
        self, recipes: Sequence[ViewRecipe], geometry: Geometry, seed: int, bank: int = 0
    ) -> None:
        self.recipes, self.geometry = tuple(recipes), geometry
        self.seed, self.bank = seed, bank

    @property
    def roles(self) -> int:
        """V, the views of each picture in a step."""
        return len(self.recipes)

    def weak_only(self) -> "Views":
        """The same without the strong views."""
        return Views(self.recipes[:1], self.geometry, self.seed, self.bank)

    def identity(self) -> dict[str, Any]:
        """What the pixels of a view depend on besides picture and number, as JSON values."""
        return {
            "version": VERSION,
            "recipes": [asdict(recipe) for recipe in self.recipes],
            "geometry": asdict(self.geometry),
            "seed": self.seed,
        }

    def numbers(self, keys: Tensor, epoch: int) -> Tensor:
        """Int64 [B, V]: which views of the pictures with these keys [B] an epoch uses."""
        roles = range(self.roles)
        return torch.stack(
            [view_numbers(self.seed, keys, r, self.roles, epoch, self.bank) for r in roles], dim=1
        )

    def stored(self, data: Unlabelled, rows: Tensor, device: torch.device) -> Tensor:
        """The stored pictures `rows` [B], uint8 [B, C, S, S], that views are made of."""
        return torch.from_numpy(data.pixels[rows.numpy()]).to(device, non_blocking=True)

    def render(self, pixels: Tensor, keys: Tensor, role: int, numbers: Tensor) -> Tensor:
        """Float32 [B, C, s, s] in 0..1: views `numbers` [B] of the pictures with `keys` [B]."""
        recipe = self.recipes[role]
        return render(pixels, draw(recipe, self.seed, keys, numbers, pixels.shape[-1]), recipe.size)


def encode_views(teacher: Teacher, views: tuple[Tensor, ...]) -> Tensor:
    """Float32 [V, B, D]: all views through a teacher, those of one size in one pass."""
    found: dict[int, Tensor] = {}
    for size in {view.shape[-1] for view in views}:
        places = [place for place, view in enumerate(views) if view.shape[-1] == size]
        encoded = teacher(torch.cat([views[place] for place in places])).float()
        found |= dict(zip(places, encoded.chunk(len(places)), strict=True))
    return torch.stack([found[place] for place in range(len(views))])
