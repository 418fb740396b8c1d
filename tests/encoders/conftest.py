"""CLIP models with made-up weights, in open_clip's own modules and OpenAI's file format."""

import copy
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

MakeClip = Callable[..., nn.Module]


@pytest.fixture(scope="session")
def make_clip() -> MakeClip:
    """`make_clip(layers, quick_gelu, size, **vision)`: a CLIP with a tiny text tower.

    Weights fit into float16, so that a half-precision file holds exactly the same. Each call gives
    a copy.
    """
    from cvgssl.encoders.timm_import import timm  # noqa: F401  before open_clip

    open_clip = pytest.importorskip("open_clip")

    def make(layers: Any, quick_gelu: bool, size: int = 64, **vision: Any) -> nn.Module:
        return copy.deepcopy(original(layers, quick_gelu, size, **vision))

    @lru_cache
    def original(layers: Any, quick_gelu: bool, size: int, **vision: Any) -> nn.Module:
        torch.manual_seed(3)
        text = open_clip.model.CLIPTextCfg(
            context_length=8, vocab_size=20, width=64, heads=1, layers=1
        )
        sight = open_clip.model.CLIPVisionCfg(layers=layers, image_size=size, **vision)
        model = open_clip.model.CLIP(32, sight, text, quick_gelu=quick_gelu)
        for name, parameter in model.named_parameters():
            if "visual" in name and parameter.ndim == 1:  # biases of zero would hide mistakes
                nn.init.normal_(parameter, std=0.1, mean=1.0 if name.endswith("weight") else 0.0)
        return model.half().float().eval()

    return make


@pytest.fixture(scope="session")
def save_archive() -> Callable[..., None]:
    """`save_archive(model, path, size, context)`: TorchScript as OpenAI's, in float16."""

    def save(model: nn.Module, path: Path, size: int, context: int = 8) -> None:
        for name in ("input_resolution", "context_length", "vocab_size"):
            model.__dict__.pop(name, None)
            model.register_buffer(name, torch.tensor(8))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            images, text = torch.zeros(1, 3, size, size), torch.zeros(1, context, dtype=torch.long)
            traced = torch.jit.trace_module(
                model, {"encode_image": (images,), "encode_text": (text,)}, check_trace=False
            )
            traced.half().save(str(path))

    return save
