"""Pictures of many kinds, a recognizer that was never trained, a cache for the tests here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvgssl.adapt.model_file import ModelCard, save_model
from cvgssl.adapt.network import Recognizer
from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.normalization import HALF
from cvgssl.images.geometry import Geometry

CLASSES = ("crazing", "夹杂", "red, iron")


def make_model(path: Path, seed: int) -> None:
    """Write a tiny network for 48 px whose probabilities lie far apart."""
    torch.manual_seed(seed)
    card = ModelCard("test_resnet", CLASSES, Geometry(48, "pad"), HALF)
    model = Recognizer(build_backbone("test_resnet", 48), 3)
    torch.nn.init.normal_(model.head.weight, std=2.0)
    save_model(path, model, card)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with final and averaged weights of draw 1."""
    folder = tmp_path_factory.mktemp("run")
    make_model(folder / "weights" / "draw_1.safetensors", seed=1)
    make_model(folder / "weights" / "draw_1_ema.safetensors", seed=2)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures: gray and colour, 8 and 16 bit, nested, with a non-ASCII name."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    (folder / "line 2").mkdir()
    for i in range(4):
        noise = rng.integers(0, 256, (40 + 10 * i, 60), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"gray_{i}.bmp")
    colour = rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)
    Image.fromarray(colour).save(folder / "line 2" / "rouillé.png")
    Image.fromarray(colour[::-1]).save(folder / "line 2" / "b.png")
    deep = rng.integers(0, 65536, (30, 30)).astype(np.uint16)
    Image.fromarray(deep).save(folder / "line 2" / "deep.tif")
    return folder


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CVGSSL_CACHE", str(_cache))
    return _cache
