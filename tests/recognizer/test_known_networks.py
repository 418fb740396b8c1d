"""Recognizers whose networks were compiled before: the same answers, without torch."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cvgssl.encoders import compiled_network
from cvgssl.recognizer.config import FitConfig, PredictOptions
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.fitted import KnownEncoders, load_fitted
from cvgssl.recognizer.predict import Prediction, predict
from cvgssl.recognizer.trained import load_trained

pytest.importorskip("openvino")

Fitted = Callable[..., Path]

STARTED = """
import sys
from pathlib import Path
from cvgssl.recognizer.predict import predict
for each in predict(Path(sys.argv[1]), [Path(sys.argv[2])], runtime=sys.argv[3]):
    print(each.predicted_class)
slow = [name for name in ("torch", "timm", "accelerate", "scipy.stats") if name in sys.modules]
assert not slow, slow
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One in which nothing is known."""
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled_network, "FOLDER", "compiled")  # not that of all tests
    return tmp_path / "cache" / "compiled"


@pytest.fixture(scope="module")
def fitted(steel: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Makes a folder of `fit` with these encoders, which has no program's network."""
    place = tmp_path_factory.mktemp("known")

    def folder(name: str, *encoders: str) -> Path:
        named = tuple(f"{encoder}={teacher_file}" for encoder in encoders)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CVGSSL_CACHE", str(place / "cache"))
            options = {"image_size": 32, "shot": 2, "head": "ridge", "runtime": "torch"}
            return fit(FitConfig(data=steel, encoder=named, out=place / name, **options))[0]

    return folder


def is_known(model: Path, picture: Path) -> bool:
    options = PredictOptions(recognizer=model, pictures=(picture,))
    if model.suffix:
        return load_trained(model, options).built is None
    return isinstance(load_fitted(options).embedding, KnownEncoders)


def check_equal(given: list[Prediction], wanted: list[Prediction]) -> None:
    assert [each.path for each in given] == [each.path for each in wanted]
    for mine, theirs in zip(given, wanted, strict=True):
        np.testing.assert_array_equal(mine.probabilities, theirs.probabilities)
        assert mine.verdict == theirs.verdict


@pytest.mark.usefixtures("cache")
def test_trained(run_folder: Path, pictures: Path) -> None:
    model = run_folder / "weights" / "draw_1.safetensors"
    first = predict(model, [pictures])
    assert is_known(model, pictures)
    check_equal(predict(model, [pictures]), first)
    wanted = predict(model, [pictures], runtime="torch")
    for mine, theirs in zip(predict(model, [pictures]), wanted, strict=True):
        np.testing.assert_allclose(mine.probabilities, theirs.probabilities, atol=1e-4)
    assert not is_known(run_folder / "weights" / "draw_1_ema.safetensors", pictures)


@pytest.mark.usefixtures("cache")
def test_fitted(fitted: Fitted, pictures: Path) -> None:
    """Two encoders that see pictures in different ways."""
    folder = fitted("two", "test_vit", "test_vit,image_size=48")
    first = predict(folder, [pictures], unknown=True)
    assert is_known(folder, pictures)
    check_equal(predict(folder, [pictures], unknown=True), first)
    wanted = predict(folder, [pictures], unknown=True, runtime="torch")
    for mine, theirs in zip(first, wanted, strict=True):
        assert mine.answer == theirs.answer
        np.testing.assert_allclose(mine.probabilities, theirs.probabilities, atol=1e-4)
    done = subprocess.run(
        [sys.executable, "-c", STARTED, folder, pictures, "auto"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [each.predicted_class for each in first]


@pytest.mark.usefixtures("cache")
def test_what_is_more_than_an_output_is_not_known(fitted: Fitted, pictures: Path) -> None:
    folder = fitted("pooled", "test_vit,pooling=mean")
    assert not is_known(folder, pictures) and not is_known(folder, pictures)


@pytest.mark.usefixtures("cache")
def test_known_from_fitting(steel: Path, teacher_file: Path, tmp_path: Path) -> None:
    encoder = (f"test_vit={teacher_file}",)
    folder, _ = fit(
        FitConfig(
            data=steel, encoder=encoder, image_size=32, shot=2, head="ridge", out=tmp_path / "fit"
        )
    )
    assert is_known(folder, steel)


@pytest.mark.usefixtures("cache")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_fitted_in_fp16(
    fitted: Fitted, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As it may have been on a machine with a GPU."""
    folder = fitted("plain", "test_vit")
    copy = Path(shutil.copytree(folder, tmp_path / "fp16"))
    card = json.loads((copy / "recognizer.json").read_text())
    card["embedding"]["precision"] = "fp16"
    (copy / "recognizer.json").write_text(json.dumps(card))
    check_equal(predict(copy, [pictures], runtime="openvino"), predict(folder, [pictures]))
    assert is_known(copy, pictures) and "fitted in fp16, which needs a GPU" in caplog.text


def test_damage_in_the_cache_is_noticed(cache: Path, run_folder: Path, pictures: Path) -> None:
    model = run_folder / "weights" / "draw_1.safetensors"
    wanted = predict(model, [pictures])
    for pattern in ("*.openvino", "known-*"):
        (file,) = cache.glob(pattern)
        damaged = bytearray(file.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        file.write_bytes(damaged)
        assert not is_known(model, pictures)
        assert is_known(model, pictures), "made again"
        check_equal(predict(model, [pictures]), wanted)
        file.unlink()
        assert not is_known(model, pictures)
