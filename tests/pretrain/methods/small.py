"""Small methods and batches, the same in every process."""

from pathlib import Path
from typing import Any

import torch

from cvgssl.encoders.backbone import build_backbone
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.methods.base import Batch, Method
from cvgssl.pretrain.methods.build import build_method

TEACHER_DIMS = (6, 9)
TEACHER_WEIGHTS = (1.0, 3.0)
SIDE = 32


def config(builder: str, **options: Any) -> PretrainConfig:
    """Narrow heads; guidance as published unless `options` say otherwise."""
    words: dict[str, Any] = {"data": Path(), "builder": builder, "mlp_dim": 16, "out_dim": 8}
    if builder == "cvgssl" and options.get("guidance", "published") == "published":
        words |= {"guidance": "published", "adapter_dim": 12}
    return PretrainConfig(**(words | options))


def method(builder: str, **options: Any) -> Method:
    torch.manual_seed(5)
    guided = builder in ("cvgssl", "distill")
    return build_method(
        config(builder, **options),
        build_backbone("test_resnet", SIDE),
        TEACHER_DIMS if guided else (),
        TEACHER_WEIGHTS if guided else (),
    )


def batch(guided: bool, pictures: int = 8, views: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(7)
    # views of one picture resemble each other
    whole = torch.rand(pictures, 1, SIDE, SIDE, generator=generator)
    noise = torch.rand(views, pictures, 1, SIDE, SIDE, generator=generator)
    return Batch(
        views=tuple(0.7 * whole + 0.3 * noise),
        targets=tuple(
            3 + torch.randn(views, pictures, dim, generator=generator) for dim in TEACHER_DIMS
        )
        if guided
        else (),
        progress=0.0,
    )


def part(batch: Batch, start: int, stop: int) -> Batch:
    """Some of the pictures."""
    return Batch(
        tuple(view[start:stop] for view in batch.views),
        tuple(features[:, start:stop] for features in batch.targets),
        batch.progress,
    )
