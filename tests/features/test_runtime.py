"""`--runtime openvino`: the same features, under keys of their own, for all that embeds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvgssl.bench.config import BenchConfig
from cvgssl.bench.embedding import all_features
from cvgssl.cli.main import main
from cvgssl.encoders import compiled_network
from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed, embed_all
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.predict import predict
from cvgssl.runtime.options import make

pytest.importorskip("openvino")


@pytest.fixture
def config(steel: Path, teacher_file: Path) -> Callable[..., EmbedConfig]:
    def make(*taken: str, **more: Any) -> EmbedConfig:
        encoder = tuple(f"test_vit{each}={teacher_file}" for each in taken or ("",))
        return EmbedConfig(data=steel, encoder=encoder, image_size=32, **more)

    return make


def close(given: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> bool:
    return bool(np.abs(given - wanted).max() <= 1e-4 * np.abs(wanted).max())


def test_the_same_features_under_another_key(
    config: Callable[..., EmbedConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embed_all(config(runtime="torch"))
    by_torch = first.table
    second = embed_all(config(runtime="openvino"))
    by_openvino = second.table
    assert first.computed == second.computed == 60
    assert close(by_openvino.values, by_torch.values)
    (facts,), (other) = by_openvino.about["encoders"], by_torch.about["encoders"][0]
    assert facts.pop("runtime").startswith("openvino 20")
    assert facts == other
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    third = embed_all(config())
    again = third.table
    assert third.computed == 0, "what auto is where it is installed"
    assert again.values.tobytes() == by_openvino.values.tobytes()
    fourth = embed_all(config(runtime="openvino", precision="bf16"))
    rounded = fourth.table
    assert fourth.computed == 60
    assert np.abs(rounded.values - by_torch.values).max() < 0.1 * np.abs(by_torch.values).max()


def test_layers_and_augmentation(config: Callable[..., EmbedConfig]) -> None:
    taken = (",pooling=cls+mean,layers=2+5", "", ",pooling=max")
    options = {"flips": "rotations", "crops": 2}
    by_torch, by_openvino = (
        embed(config(*taken, **options, runtime=runtime)) for runtime in ("torch", "openvino")
    )
    assert by_openvino.blocks == by_torch.blocks
    assert close(by_openvino.values, by_torch.values)


def test_fitted_by_one_and_used_by_the_other(
    steel: Path, teacher_file: Path, tmp_path: Path
) -> None:
    answers = []
    for made, used in (("torch", "openvino"), ("openvino", "torch")):
        out = tmp_path / made
        encoder = (f"test_vit={teacher_file}",)
        fit(FitConfig(data=steel, encoder=encoder, image_size=32, shot=2, out=out, runtime=made))
        answers.append(predict(out, [steel / "test"], runtime=used))
    for first, second in zip(*answers, strict=True):
        np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-3)


def test_select_and_bench(
    steel: Path, teacher_file: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compiled_network, "FOLDER", "compiled")  # of this cache alone
    encoder, openvino = f"test_vit={teacher_file}", ("--runtime", "openvino")
    words = ["--encoder", encoder, "--budget", "3", *openvino]
    assert main(["select", str(steel), *words]) == 0
    assert len(list((cache / "compiled").glob("*.openvino"))) == 1
    (features,) = (folder for folder in (cache / "features").iterdir() if folder.is_dir())
    all_features(
        make(BenchConfig, {"data": [str(steel)], "encoders": [encoder], "runtime": "openvino"})
    )
    folders = [folder for folder in (cache / "features").iterdir() if folder.is_dir()]
    assert features in folders and len(folders) == 1 + 3, "the same, and three mirror images"
    assert len(list((cache / "compiled").glob("*.openvino"))) == 1
