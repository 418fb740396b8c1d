"""A tiny frozen teacher in a real file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cvgssl.encoders.timm_import import timm


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of timm's test_vit with a seed; its features differ from picture to picture."""
    path = tmp_path_factory.mktemp("teacher") / "tiny_vit.safetensors"
    torch.manual_seed(5)
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), path)
    return path
