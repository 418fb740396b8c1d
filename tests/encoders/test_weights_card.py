"""Cards that cvgssl writes into files: what they tell is used, and bounded by the tensors."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cvgssl.encoders.containers import read_contents
from cvgssl.encoders.loading import load_encoders
from cvgssl.encoders.normalization import Normalization
from cvgssl.encoders.timm_import import timm
from cvgssl.encoders.weights_card import WeightsCard, read_card
from cvgssl.runtime.errors import UserError

LOAD = """
import json, resource, sys
from pathlib import Path
from cvgssl import load_model
from cvgssl.adapt.model_file import FORMAT, _digest
from cvgssl.encoders.loading import load_encoders
from cvgssl.runtime.errors import UserError
from safetensors.numpy import load_file, save_file
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
for name in sys.argv[1:]:
    card = json.loads(Path(name).with_suffix(".json").read_text())
    try:
        load_encoders([name])
    except UserError as error:
        print(error)
    tensors = load_file(name)
    header = {"format": FORMAT, "sha256": _digest(card, tensors), "card": card}
    save_file(tensors, name, {"cvgssl": json.dumps(header)})
    try:
        load_model(Path(name))
    except UserError as error:
        print(error)
"""
ARCH = "vit_tiny_patch16_224,depth=1"
HOSTILE = {
    "deep": ({"arch": "vit_tiny_patch16_224,depth=300"}, "many times what the file holds"),
    "wide": ({"arch": ARCH + ",embed_dim=49152,num_heads=64"}, "cannot be built"),
    "huge": ({"size": 10_000_000}, "2048"),
    "of another size": ({"size": 2048}, "2048 px, its position embedding is for 32 px"),
    "of many classes": ({"classes": ["c"] * 1_000_000}, "differ in length"),
}


def card_of(**changes: Any) -> dict[str, Any]:
    given = {"arch": ARCH, "size": 32, "classes": ["a", "b"]} | changes
    size = given.pop("size")
    geometry = {"size": size, "resize": "pad", "interpolation": "bicubic", "bit_depth": 16}
    half = [0.5, 0.5, 0.5]
    return given | {"geometry": geometry, "normalization": {"mean": half, "std": half}}


@pytest.fixture(scope="module")
def recognizer() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=32, num_classes=0)
    state = {f"backbone.body.{name}": value for name, value in body.state_dict().items()}
    return state | {"head.weight": torch.zeros(2, 192), "head.bias": torch.zeros(2)}


def save(path: Path, state: dict[str, torch.Tensor], card: Any) -> Path:
    save_file(state, path, {"cvgssl": json.dumps({"card": card})})
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as on Linux")
def test_what_a_card_asks_for_is_held_against_the_tensors(
    tmp_path: Path, python: str, recognizer: dict[str, torch.Tensor]
) -> None:
    names = []
    for number, (changes, _) in enumerate(HOSTILE.values()):
        names.append(save(tmp_path / f"{number}.safetensors", recognizer, card_of(**changes)))
    done = subprocess.run([python, "-c", LOAD, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name, (changes, told) in zip(names, HOSTILE.values(), strict=True):
        if "classes" not in changes:  # which an encoder does not use
            line = lines.pop(0)
            assert told in line and line.startswith(f"--teacher {name}: ")
        line = lines.pop(0)
        assert told in line and line.startswith(str(name)) and len(line) < 500
    assert lines == []


def test_what_a_card_tells_is_used(tmp_path: Path, recognizer: dict[str, torch.Tensor]) -> None:
    path = save(tmp_path / "m.safetensors", recognizer, card_of())
    card = read_contents(path).card
    assert (card.arch, card.size, card.resampling, card.resize) == (ARCH, 32, "bicubic", "pad")
    (encoder,) = load_encoders([str(path)])
    assert (encoder.name, encoder.image_size, encoder.source.card) == (ARCH, 32, card)
    student = {
        "arch": "resnet18",
        "image_size": 96,
        "teachers": [{"name": "x"}],
        "test_left_out": False,
    }
    read = read_card({}, {"cvgssl": json.dumps({"card": student})})
    assert read == WeightsCard(arch="resnet18", image_size=96, test_left_out=False)
    assert read_card({}, {"cvgssl": 3}) == read_card({"format": "pt"}, {}) == WeightsCard()


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ({"arch": 3}, "wrong at arch"),
        ({"arch": "x" * 1000}, "wrong at arch"),
        ({"geometry": {"size": 32, "resize": "shear"}}, "wrong at geometry.resize"),
        ({"image_size": -1}, "wrong at image_size"),
        ({"normalization": {"mean": [0.5] * 3, "std": [0.5, 0, 0.5]}}, "normalization.std.1"),
        ({"normalization": {"mean": [float("nan")] * 3, "std": [1] * 3}}, "normalization.mean.0"),
        ([1], "its card is wrong"),
        ({"arch": "resnet18", "held_out": False}, "of an earlier version; pre-train again"),
    ],
)
def test_damaged_cards_are_named(tmp_path: Path, card: Any, told: str) -> None:
    path = save(tmp_path / "m.safetensors", {"a": torch.ones(2)}, card)
    with pytest.raises(UserError, match=r"m\.safetensors") as caught:
        read_contents(path)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[1]", "{}", '{"card":' + "[" * 100_000])
def test_a_card_that_is_no_json_is_damaged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.ones(2)}, path, {"cvgssl": text})
    with pytest.raises(UserError, match=r"m\.safetensors cannot be read"):
        read_contents(path)


def test_normalizations_are_compared_by_value() -> None:
    read = WeightsCard(normalization=Normalization((0.5, 0.5, 0.5), (1, 1, 1)))
    assert read.normalization == Normalization((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
