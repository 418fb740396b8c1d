"""The views of a training step: which ones are drawn, and their pixels.

Shape letters: B pictures, C channels (1 gray or 3), S side of a stored picture, s side of a view,
V roles (role 0 is the weak view, the others are strong), D width of a teacher's embedding.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.images.geometry import Geometry
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import PretrainPictures
from cvgssl.pretrain.methods.registry import choose
from cvgssl.runtime.launch import to_device
from cvgssl.views.random_numbers import view_numbers
from cvgssl.views.random_views import by_columns, draw_views, render
from cvgssl.views.recipe import ViewRecipe

VERSION = 1  # of how views are drawn and rendered; part of the key of a bank


@dataclass(frozen=True)
class DrawnViews:
    """Views of B pictures.

    rows: int64 [B], the pictures' places in the data. keys: int64 [B], of the pictures.
    numbers: int64 [B, V], the number of each view. pixels: uint8 [B, C, S, S], stored pictures.
    rendered: V times float32 [B, C, s, s] in 0..1, the views at the student's sizes, or empty.
    """

    rows: Tensor
    keys: Tensor
    numbers: Tensor
    pixels: Tensor
    rendered: tuple[Tensor, ...] = ()


class Views:
    """Draws the views of pictures; a view depends on seed, picture, role and number only.

    recipes: one per role. geometry: of the stored pictures.
    bank: stored versions of each view that epochs choose from; 0: new ones in every epoch.
    """

    def __init__(
        self, recipes: Sequence[ViewRecipe], geometry: Geometry, seed: int, bank: int = 0
    ) -> None:
        self.recipes, self.geometry = tuple(recipes), geometry
        self.seed, self.bank = seed, bank

    @classmethod
    def of(cls, config: PretrainConfig) -> "Views":
        """The views that a student of `config` is trained on."""
        stored = choose(config).form.targets.stored_by_view
        return cls(config.recipes, config.geometry, config.seed, config.bank if stored else 0)

    @property
    def roles(self) -> int:
        """V, the views of each picture in a step."""
        return len(self.recipes)

    def weak_only(self) -> "Views":
        """The same without the strong views."""
        return Views(self.recipes[:1], self.geometry, self.seed, self.bank)

    def identity(self) -> dict[str, Any]:
        """All that the pixels of a view depend on besides picture and number, as JSON values."""
        return {
            "version": VERSION,
            "recipes": [asdict(recipe) for recipe in self.recipes],
            "geometry": asdict(self.geometry),
            "seed": self.seed,
        }

    def numbers(self, keys: Tensor, epoch: int) -> Tensor:
        """Int64 [B, V]: the numbers of the views of these pictures in an epoch; keys: int64 [B]."""
        roles = range(self.roles)
        return torch.stack(
            [view_numbers(self.seed, keys, r, self.roles, epoch, self.bank) for r in roles], dim=1
        )

    def draw(
        self, data: PretrainPictures, rows: Tensor, epoch: int, device: torch.device
    ) -> DrawnViews:
        """The views of the pictures `rows` [B] in an epoch, rendered on `device`."""
        keys = data.keys[rows]
        numbers = self.numbers(keys, epoch)
        pixels = self.stored(data, rows, device)
        rendered = tuple(
            self.render(pixels, keys, role, numbers[:, role]) for role in range(self.roles)
        )
        return DrawnViews(rows, keys, numbers, pixels, rendered)

    def stored(self, data: PretrainPictures, rows: Tensor, device: torch.device) -> Tensor:
        """Uint8 [B, C, S, S] on `device`: the stored pictures `rows` [B]."""
        return by_columns(to_device(torch.from_numpy(data.pixels[rows.numpy()]), device))

    def render(
        self, pixels: Tensor, keys: Tensor, role: int, numbers: Tensor, size: int | None = None
    ) -> Tensor:
        """Float32 [B, C, s, s] in 0..1: views `numbers` [B] of the pictures with `keys` [B].

        size: render the same views with this side instead of the recipe's.
        """
        recipe = self.recipes[role]
        parameters = draw_views(recipe, self.seed, keys, numbers, pixels.shape[-1])
        if size is None or size == recipe.size:
            return render(pixels, parameters, recipe.size)
        sigma = parameters.sigma * (size / recipe.size)
        return render(pixels, replace(parameters, sigma=sigma), size)

    def embed(self, teachers: Sequence[FrozenEncoder], drawn: DrawnViews) -> list[Tensor]:
        """Per teacher float32 [V, B, D]: its embeddings of the views.

        A teacher that takes larger pictures than the student gets the same views with more pixels;
        otherwise views that are rendered already are used. Views of one size are one pass.
        """
        # no view is rendered twice
        by_role_and_size = {
            (role, view.shape[-1]): view for role, view in enumerate(drawn.rendered)
        }
        embeddings = []
        for teacher in teachers:
            roles_of_size: dict[int, list[int]] = {}
            for role, recipe in enumerate(self.recipes):
                size = max(recipe.size, teacher.image_size)
                roles_of_size.setdefault(size, []).append(role)
                if (role, size) not in by_role_and_size:
                    by_role_and_size[role, size] = self.render(
                        drawn.pixels, drawn.keys, role, drawn.numbers[:, role], size
                    )
            by_role: dict[int, Tensor] = {}
            for size, roles in roles_of_size.items():
                views = torch.cat([by_role_and_size[role, size] for role in roles])
                encoded = teacher(views).float()
                by_role |= dict(zip(roles, encoded.chunk(len(roles)), strict=True))
            embeddings.append(torch.stack([by_role[role] for role in range(self.roles)]))
        return embeddings
