"""Options of embedding: defaults, combinations that make no sense, and how encoders are named."""

from pathlib import Path
from typing import Any

import pydantic
import pytest

from cvgssl.features.config import EmbedConfig
from cvgssl.features.encoder_requests import requested_encoders
from cvgssl.features.record import NOT_IN_KEY
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import fields_of


def config(**options: Any) -> EmbedConfig:
    return EmbedConfig(**({"data": "d", "encoder": ("resnet18",)} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": ()}, "--encoder: name at least one"),
        ({"out": "x.csv"}, r"--out x\.csv: must end in \.npz or \.parquet"),
        ({"pooling": "gem"}, "--pooling gem: auto, or cls, mean, max"),
        ({"pooling": "cls+cls"}, "each once at most"),
        ({"pooling": ""}, "--pooling : auto"),
        ({"layers": (3,)}, "--layers: say with --pooling"),
        ({"layers": (0,), "pooling": "cls"}, "--layers 0: layers are numbered from 1"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        config(**options)


def test_what_follows_from_options() -> None:
    assert config().pools == ()
    assert config(pooling="cls+mean").pools == ("cls", "mean")


def test_encoders_by_name_file_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVGSSL_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("w.safetensors", "run/backbone.safetensors", "tuned/weights/draw_1.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "resnet18").mkdir()  # a folder that happens to be called like a network
    names = ("w.safetensors:2", "run", "tuned", "resnet18=w.safetensors", "resnet18", "ViT-B/32")
    request = requested_encoders(config(encoder=names))
    assert [one.spec.name for one in request] == ["", "", "", "resnet18", "resnet18", "ViT-B/32"]
    files = [one.file and one.file.name for one in request]
    bare = "w.safetensors"
    assert files == [bare, "backbone.safetensors", "draw_1.safetensors", bare, None, None]
    assert request[0].spec.weight == 2
    (one,) = requested_encoders(config(encoder=("resnet50=run",)))
    assert one.spec.name == "resnet50" and one.file == Path("run/backbone.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": ("resnet18", "resnet18")}, "--encoder resnet18: is given twice"),
        ({"encoder": ("absent.pt",)}, r"--encoder absent\.pt: no such file; looked here"),
        ({"encoder": ("a=b=c:0",)}, "--encoder 'a=b=c:0': the weight must be"),
        ({"encoder": ("vit=absent.pt",)}, r"--encoder vit=absent\.pt: no such file"),
        ({"encoder": ("vit=/",)}, "--encoder vit=/: is a folder without backbone"),
    ],
)
def test_encoders_that_are_not_there(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        requested_encoders(config(**options))


def test_options_outside_of_the_cache_key_are_options() -> None:
    assert set(NOT_IN_KEY) < set(fields_of(EmbedConfig))
