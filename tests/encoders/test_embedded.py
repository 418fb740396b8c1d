"""The guide that comes with the package."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.embedded import GUIDE, embedded_guide
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.loading import load_encoders
from cvgssl.images.surfaces import KINDS, generate_surface
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file

SEED = 20_250_001  # of pictures that the guide has not seen
COILS, SHOTS = 12, 2  # of each kind: pictures of different coils, and how many of them are shown


@pytest.fixture(scope="module")
def guide() -> FrozenEncoder:
    return embedded_guide()


@pytest.fixture(scope="module")
def views() -> Tensor:
    """Float 0..1 [kinds, coils, 1, 64, 64]."""
    pictures = [
        [generate_surface(kind, SEED, 10 * coil, 64) for coil in range(COILS)] for kind in KINDS
    ]
    return torch.from_numpy(np.array(pictures))[:, :, None] / 255


def test_file_and_card_agree(guide: FrozenEncoder) -> None:
    card = (GUIDE.parent / "GUIDE.md").read_text(encoding="utf-8")
    assert GUIDE.stat().st_size <= 10_000_000
    assert guide.sha256 == sha256_file(GUIDE)
    assert re.findall(r"\b[0-9a-f]{64}\b", card) == [guide.sha256]
    assert f"| {guide.arch} | {guide.dim} | {guide.image_size} px |" in card


def test_half_precision_on_disk_single_in_memory(guide: FrozenEncoder) -> None:
    with safe_open(GUIDE, framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    loaded = guide.backbone.body.state_dict()
    floats = [name for name, tensor in stored.items() if tensor.is_floating_point()]
    assert floats and all(stored[name].dtype == torch.float16 for name in floats)
    for name in floats:
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], stored[name].float())
    assert set(loaded) - set(stored) <= {n for n in loaded if n.endswith("num_batches_tracked")}


def test_features(guide: FrozenEncoder, views: Tensor) -> None:
    features = guide(views[:, 0])
    assert features.shape == (len(KINDS), guide.dim) and features.dtype == torch.float32
    assert torch.isfinite(features).all() and features.std(0).mean() > 0.01
    gray = views[:2, 0]
    torch.testing.assert_close(guide(gray), guide(gray.expand(-1, 3, -1, -1)))


def test_better_than_random_weights(guide: FrozenEncoder, views: Tensor) -> None:
    torch.manual_seed(0)
    random = build_backbone(guide.arch, guide.image_size, guide.normalization)
    learnt, chance = accuracy(guide, views), accuracy(FrozenEncoder("random", random), views)
    assert learnt > 0.7 > 0.5 > chance


def accuracy(encoder: nn.Module, views: Tensor) -> float:
    """Of the nearest class mean of `SHOTS` pictures, on the other coils, 0..1."""
    kinds, coils = views.shape[:2]
    features = encoder(views.flatten(0, 1)).view(kinds, coils, -1)
    features = nn.functional.normalize(features - features.mean((0, 1)), dim=2)
    means = nn.functional.normalize(features[:, :SHOTS].mean(1), dim=1)
    found = (features[:, SHOTS:] @ means.T).argmax(2)
    return float((found == torch.arange(kinds)[:, None]).float().mean())


def test_by_name(guide: FrozenEncoder) -> None:
    (named,) = load_encoders(["embedded:0.5"])
    assert named.weight == 0.5 and named.identity() == guide.identity()
    assert json.loads(json.dumps(guide.identity()))["name"] == "embedded"
    with pytest.raises(UserError, match=r"--teacher embedded=x\.pt: .* leave out =x\.pt"):
        load_encoders(["embedded=x.pt"])
