import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvgssl.adapt.config import FinetuneConfig, LinearConfig
from cvgssl.adapt.model_file import load_model
from cvgssl.adapt.protocol import adapt
from cvgssl.heads.metrics import confusion
from cvgssl.images.geometry import Geometry
from cvgssl.images.store import load_pictures
from cvgssl.recognizer.finding import find_model, find_pictures
from cvgssl.recognizer.predict import predict
from cvgssl.runtime.errors import UserError


def test_probabilities_are_those_of_the_model_on_stored_pictures(
    run_folder: Path, pictures: Path
) -> None:
    predictions = predict(run_folder, [pictures], batch_size=3)
    paths = [prediction.path for prediction in predictions]
    assert len(paths) == 7 and paths[0] == pictures / "gray_0.bmp"
    stored, _ = load_pictures(paths, Geometry(48, "pad"))
    model, card = load_model(run_folder / "weights" / "draw_1.safetensors")
    with torch.no_grad():
        expected = model(torch.from_numpy(stored.pixels.copy())).softmax(1).numpy()
    found = np.stack([prediction.probabilities for prediction in predictions])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.std() > 0.1, "the test needs probabilities that differ"
    assert [p.predicted_class for p in predictions] == [card.classes[i] for i in expected.argmax(1)]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_gray_and_colour_in_one_batch_do_not_touch_each_other(
    run_folder: Path, pictures: Path, batch_size: int
) -> None:
    together = predict(run_folder, [pictures], batch_size=batch_size)
    for prediction in together:
        (alone,) = predict(run_folder, [prediction.path])
        np.testing.assert_allclose(alone.probabilities, prediction.probabilities, atol=1e-6)


def test_ranking_and_best(run_folder: Path, pictures: Path) -> None:
    (prediction,) = predict(run_folder, [pictures / "gray_1.bmp"])
    ranked = prediction.ranked()
    assert ranked[0] == (prediction.predicted_class, prediction.probability)
    assert [p for _, p in ranked] == sorted(prediction.probabilities.tolist(), reverse=True)
    assert sum(p for _, p in ranked) == pytest.approx(1)


def test_averaged_weights_are_another_model(run_folder: Path, pictures: Path) -> None:
    final = predict(run_folder, [pictures])
    averaged = predict(run_folder, [pictures], checkpoint="ema")
    by_file = predict(run_folder / "weights" / "draw_1_ema.safetensors", [pictures])
    assert not np.allclose(final[0].probabilities, averaged[0].probabilities)
    assert np.array_equal(by_file[0].probabilities, averaged[0].probabilities)


@pytest.mark.parametrize("skip_corrupt", [False, True])
def test_unreadable_pictures(
    run_folder: Path,
    pictures: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    skip_corrupt: bool,
) -> None:
    (tmp_path / "empty.png").touch()
    data = (pictures / "line 2" / "b.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    images = [tmp_path / "empty.png", pictures, tmp_path / "cut.png"]
    if not skip_corrupt:
        with pytest.raises(UserError, match=r"(?s)empty\.png: .*cut\.png: .*2 unreadable"):
            predict(run_folder, images, batch_size=2)
        return
    found = predict(run_folder, images, batch_size=2, skip_corrupt=True)
    whole = predict(run_folder, [pictures])
    assert [p.path for p in found] == [p.path for p in whole]
    assert len(caplog.records) == 2 and "empty.png" in caplog.messages[0]
    with pytest.raises(UserError, match="none of the 1 pictures is readable"):
        predict(run_folder, [tmp_path / "cut.png"], skip_corrupt=True)


def test_pictures_are_found_once_and_missing_ones_are_all_named(pictures: Path) -> None:
    first = pictures / "gray_0.bmp"
    found = find_pictures([pictures / "line 2", first, pictures, first])
    assert len(found) == 7 and found[3] == first
    with pytest.raises(UserError, match=r"a\.bmp: no such .*\n.*b: no such"):
        find_pictures([Path("a.bmp"), first, Path("b")])


def test_a_folder_without_pictures_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pictures in this folder"):
        find_pictures([tmp_path])


def test_what_is_no_regular_file_is_a_mistake(pictures: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    names = [Path("/dev/zero"), pictures / "gray_0.bmp", tmp_path / "pipe.png"]
    with pytest.raises(UserError) as caught:
        find_pictures(names)
    first, second = str(caught.value).splitlines()
    assert first.startswith("/dev/zero is no regular file")
    assert second.startswith(f"{tmp_path / 'pipe.png'} is no regular file")
    with pytest.raises(UserError, match="/dev/zero is no regular file"):
        find_model(Path("/dev/zero"))


def test_dark_16_bit_pictures_are_told(
    run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(np.full((30, 30), 4000, np.uint16)).save(tmp_path / "dark.tif")
    predict(run_folder, [tmp_path])
    assert "is 4000 of 65535" in caplog.text and "--bit-depth 12" in caplog.text


def test_a_model_that_is_not_there_says_which_are(run_folder: Path, tmp_path: Path) -> None:
    kept = r"draw_2\.safetensors: .*draw_1\.safetensors, draw_1_ema.*--save-weights all"
    with pytest.raises(UserError, match=kept):
        find_model(run_folder, draw=2)
    with pytest.raises(UserError, match="no draw is finished"):
        find_model(tmp_path)
    with pytest.raises(UserError, match="no such run folder"):
        find_model(tmp_path / "none")


@pytest.mark.parametrize("kind", [LinearConfig, FinetuneConfig])
def test_predictions_are_those_of_the_evaluation_in_training(
    kind: type[LinearConfig | FinetuneConfig], steel: Path, tmp_path: Path
) -> None:
    config = kind(
        data=steel,
        arch="test_resnet",
        shot=3,
        num_draws=1,
        epochs=3,
        lr=0.05,
        image_size=32,
        ema=0.5,
        out=tmp_path / "run",
    )
    folder, summary = adapt(config)
    test = sorted((steel / "test").iterdir())
    assert [path.name for path in test] == summary.classes
    averaged = summary.ema_last_epoch
    assert averaged is not None
    for weights, scores in (("last", summary.last_epoch), ("ema", averaged)):
        predictions = predict(folder, test, checkpoint=weights)  # type: ignore[arg-type]
        labels = [summary.classes.index(p.path.parent.name) for p in predictions]
        found = [summary.classes.index(p.predicted_class) for p in predictions]
        counts = confusion(np.array(labels), np.array(found), len(summary.classes))
        assert counts.tolist() == scores.confusion


def test_a_trained_run_by_openvino(run_folder: Path, pictures: Path) -> None:
    pytest.importorskip("openvino")
    by_torch, by_openvino = (
        predict(run_folder, [pictures], runtime=runtime) for runtime in ("torch", "openvino")
    )
    for first, second in zip(by_torch, by_openvino, strict=True):
        assert first.path == second.path
        np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-4)
