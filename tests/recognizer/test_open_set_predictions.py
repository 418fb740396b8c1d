"""`cvgssl predict --unknown`: pictures unlike the labelled ones of a linear run."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cvgssl.adapt.config import LinearConfig
from cvgssl.adapt.model_file import ModelCard, Support, load_model, read_model, save_model
from cvgssl.adapt.network import Recognizer
from cvgssl.adapt.protocol import adapt
from cvgssl.cli.predict_config import PredictConfig
from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.normalization import HALF
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.answers import too_many_unknown
from cvgssl.recognizer.predict import predict
from cvgssl.runtime.errors import UserError

Command = Callable[..., CompletedProcess[str]]
KINDS = ("columns", "rows", "squares")
SHOTS = 8
ARCH = "resnet10t"


def picture(kind: str, generator: np.random.Generator) -> NDArray[np.uint8]:
    """48 px of stripes one way or the other, or of squares; the dark half is in no class."""
    stripes = np.tile(60 * np.sign(np.sin(np.arange(48) * 0.8)), (48, 1))
    surface = {
        "columns": stripes,
        "rows": stripes.T,
        "squares": stripes * stripes.T / 60,
        "half": np.repeat([-128, 128], 24)[:, None],
    }[kind]
    noise = generator.normal(0, 20, (48, 48)) + generator.normal(0, 10)
    made: NDArray[np.uint8] = (128 + surface + noise).clip(0, 255).astype(np.uint8)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a random backbone and class means on it, and pictures: ten of each kind."""
    folder = tmp_path_factory.mktemp("open_set")
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    model = Recognizer(build_backbone(ARCH, 48), 3).eval()
    squares = np.stack([picture(kind, generator) for kind in KINDS for _ in range(SHOTS)])
    with torch.no_grad():
        features = model.backbone(torch.from_numpy(squares)[:, None])
        means = features.reshape(3, SHOTS, -1).mean(1)
        scale = 60 / (means - means.mean(0)).square().sum(1).mean()
        model.head.weight.copy_(scale * means)
        model.head.bias.copy_(-scale / 2 * means.square().sum(1))
    card = ModelCard(ARCH, KINDS, Geometry(48, "pad"), HALF)
    support = Support(features.numpy(), np.arange(3).repeat(SHOTS))
    save_model(folder / "weights" / "draw_1.safetensors", model, card, support)
    for kind in (*KINDS, "half"):
        (folder / "new" / kind).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(picture(kind, generator)).save(folder / "new" / kind / f"{number}.png")
    return folder


def test_strange_pictures_are_called_unknown(folder: Path) -> None:
    found = predict(folder, [folder / "new"], unknown=True)
    kinds = np.array([one.path.parent.name for one in found])
    answers = np.array([one.answer for one in found])
    assert (answers[kinds == "half"] == "unknown").all()
    named = np.isin(answers, KINDS)
    assert named[kinds != "half"].mean() > 0.6
    assert (answers == kinds)[named].all()
    plain = predict(folder, [folder / "new"])
    assert all(one.verdict is None and one.answer == one.predicted_class for one in plain)
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_the_false_rejection_rate_is_a_choice(folder: Path) -> None:
    known = [folder / "new" / kind for kind in KINDS]
    counts = [
        sum(
            one.answer == "unknown"
            for one in predict(folder, known, unknown=True, false_rejection_rate=share)
        )
        for share in (0.0, 0.1, 0.6)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


def test_a_batch_is_answered_as_its_pictures_one_by_one(folder: Path) -> None:
    together = predict(folder, [folder / "new"], unknown=True)
    for one in together[::6]:
        (alone,) = predict(folder, [one.path], unknown=True)
        assert alone.answer == one.answer


def test_who_disagrees_is_not_sure(folder: Path, tmp_path: Path) -> None:
    """The recognizer's classes are exchanged, so it contradicts its own labelled pictures."""
    model, card = load_model(folder / "weights" / "draw_1.safetensors")
    support = read_model(folder / "weights" / "draw_1.safetensors").support
    assert support is not None
    other = Support(support.features, (support.labels + 1) % 3)
    save_model(tmp_path / "m.safetensors", model, card, other)
    found = predict(tmp_path / "m.safetensors", [folder / "new" / "rows"], unknown=True)
    assert {one.answer for one in found} <= {"not sure", "unknown"}
    assert "not sure" in {one.answer for one in found}


def test_outputs_have_the_answer(folder: Path, tmp_path: Path, command: Command) -> None:
    expected = predict(folder, [folder / "new"], unknown=True)
    options = ("--csv", tmp_path / "p.csv", "--json", "-")
    done = command("predict", folder, folder / "new", "--unknown", *options)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "answer", "class", "probability", *KINDS]
    objects = json.loads(done.stdout)
    for row, entry, one in zip(rows, objects, expected, strict=True):
        assert row[1] == entry["answer"] == one.answer
        assert row[2] == entry["class"] == one.predicted_class
    assert "unknown 1" in done.stderr, "ten or more are counted"
    unknown = sum(one.answer == "unknown" for one in expected)
    assert f"{unknown} of 40 are unknown, more than the 10 % that" in done.stderr


def test_more_unknown_than_expected_is_told_unless_chance_explains_it() -> None:
    for total, unknown, rate, told in (
        (100, 18, 0.1, True),
        (100, 14, 0.1, False),
        (3, 1, 0.1, False),
        (10, 10, 0.5, True),
        (5, 1, 0.0, True),
        (5, 0, 0.0, False),
    ):
        counts = {"scratches": total - unknown, "unknown": unknown}
        text = too_many_unknown(counts, rate)
        assert bool(text) == told
        assert not told or text.startswith(f"{unknown} of {total} are unknown, more than the ")


def test_mistakes(folder: Path, run_folder: Path, pictures: Path) -> None:
    with pytest.raises(UserError, match=r"draw_1\.safetensors: .*--unknown.*cvgssl linear"):
        predict(run_folder, [pictures], unknown=True)
    images = (folder / "new",)
    with pytest.raises(ValueError, match="--false-rejection-rate: has no effect without"):
        PredictConfig(recognizer=folder, pictures=images, false_rejection_rate=0.2)
    with pytest.raises(ValueError, match="false_rejection_rate"):
        PredictConfig(recognizer=folder, pictures=images, unknown=True, false_rejection_rate=1)


def test_linear_evaluation_keeps_the_features_of_its_labelled_pictures(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    for kind in KINDS:
        for split, count in (("train", 4), ("test", 2)):
            place = tmp_path / "data" / split / kind
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(picture(kind, generator)).save(place / f"{number}.png")
    options = {"arch": "resnet10t", "image_size": 32, "shot": 2, "num_draws": 1, "epochs": 1}
    out, _ = adapt(LinearConfig(data=tmp_path / "data", out=tmp_path / "run", **options))  # type: ignore[arg-type]
    path = out / "weights" / "draw_1.safetensors"
    support = read_model(path).support
    assert support is not None
    assert support.labels.tolist() == [0, 0, 1, 1, 2, 2]
    model, _ = load_model(path)
    assert support.features.shape == (6, model.head.in_features)
    drawn = json.loads((out / "draws.json").read_text())["supports"][0]["columns"]
    found = predict(path, [tmp_path / "data" / name for name in drawn], unknown=True)
    scores = torch.from_numpy(support.features[:2]) @ model.head.weight.T + model.head.bias
    expected = scores.softmax(1).detach().numpy()
    np.testing.assert_allclose([one.probabilities for one in found], expected, atol=1e-4)
