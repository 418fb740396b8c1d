"""Features of a frozen backbone are kept and give the same numbers to the last bit."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvgssl.adapt.config import LinearConfig
from cvgssl.adapt.data import load_task
from cvgssl.adapt.model_source import load_model_source
from cvgssl.adapt.protocol import AdaptJob, adapt, prepare
from cvgssl.images import store
from cvgssl.runtime.array_files import write_array
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.launch import launch
from cvgssl.runtime.run import RunFolder
from cvgssl.runtime.stopping import Stopped

FILES = ("metrics.jsonl", "weights/draw_1.safetensors")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(data: Path, out: Path, **more: Any) -> list[bytes]:
    """The files of a linear evaluation."""
    options = {"arch": "test_resnet", "shot": 3, "num_draws": 1, "epochs": 1, "image_size": 32}
    folder, _ = adapt(LinearConfig(data=data, out=out, **options | {"eval_batch_size": 8} | more))
    return [(folder / name).read_bytes() for name in FILES]


def blocks(cache: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}


def test_a_second_run_computes_nothing_and_is_the_same(
    steel: Path, teacher_file: Path, tmp_path: Path, cache: Path
) -> None:
    weights = {"arch": "test_vit", "pretrained": str(teacher_file)}
    run(steel, tmp_path / "other draws", seed=4, **weights)
    first = run(steel, tmp_path / "first", **weights)
    kept = blocks(cache)
    assert run(steel, tmp_path / "second", **weights) == first
    assert blocks(cache) == kept
    for path in kept:
        path.unlink()
    assert run(steel, tmp_path / "third", **weights) == first, "whatever was in the cache"


def test_what_is_kept_is_used(steel: Path, tmp_path: Path, cache: Path) -> None:
    first = run(steel, tmp_path / "first")
    for path in blocks(cache):
        block = np.load(path)
        block["values"] *= 2
        write_array(path, block)
    assert run(steel, tmp_path / "second") != first


def test_what_is_gone_or_damaged_is_computed_to_the_same_bits(
    steel: Path, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(steel, tmp_path / "first")
    gone, damaged, *_ = sorted(blocks(cache))
    gone.unlink()
    content = bytearray(damaged.read_bytes())
    content[-20] ^= 1
    damaged.write_bytes(content)
    assert run(steel, tmp_path / "second") == first
    assert f"{damaged}: is damaged" in caplog.text
    assert gone.exists() and damaged.exists()


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"eval_batch_size": 7}, {"resize": "pad"}, {"normalize": "imagenet"}],
    ids=lambda change: next(iter(change)),
)
def test_other_weights_and_options_have_other_features(
    steel: Path, tmp_path: Path, cache: Path, change: dict[str, Any]
) -> None:
    run(steel, tmp_path / "first")
    before = {path.parent for path in blocks(cache)}
    run(steel, tmp_path / "second", **change)
    assert {path.parent for path in blocks(cache)} - before


def test_a_stop_keeps_what_was_computed(steel: Path, tmp_path: Path, cache: Path) -> None:
    config = LinearConfig(data=steel, arch="test_resnet", image_size=32, eval_batch_size=8)
    accelerator = launch()
    task = load_task(config, accelerator)
    source = load_model_source(config, task.classes, task.geometry)
    job = AdaptJob(config, task, source, accelerator, RunFolder(tmp_path / "run"), least=1)
    with pytest.raises(Stopped):
        prepare(job, lambda: True)
    assert len(blocks(cache)) == 1


def test_without_a_cache(
    steel: Path, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(steel, tmp_path / "first")
    assert cache.exists()
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "file").touch()
        patch.setenv("CVGSSL_CACHE", str(tmp_path / "file"))
        assert run(steel, tmp_path / "second") == first
    assert "CVGSSL_CACHE" in caplog.text


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: Any) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(store, "decode_squares", decode)


def test_with_all_features_kept_no_picture_is_decoded(
    steel: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(steel, tmp_path / "first")
    run(steel, tmp_path / "others", arch="test_vit", image_size=32)  # decodes late
    with monkeypatch.context() as patch:
        forbid_decoding(patch)
        assert run(steel, tmp_path / "second") == first
        with pytest.raises(AssertionError, match="was decoded"):
            run(steel, tmp_path / "pad", resize="pad")
    for path in cache.rglob("*.json"):
        path.write_text("{}")
    assert run(steel, tmp_path / "third") == first


def test_late_decoding_gives_the_same_numbers(steel: Path, tmp_path: Path, cache: Path) -> None:
    first = run(steel, tmp_path / "first")
    for path in cache.rglob("*.npy"):
        path.unlink()
    assert list(cache.rglob("*.json"))
    assert run(steel, tmp_path / "second") == first


@pytest.mark.usefixtures("cache")
def test_unreadable_pictures_are_told_of_without_decoding_too(
    steel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = tmp_path / "data"
    shutil.copytree(steel, data)
    broken = sorted((data / "train").rglob("*.*"))[0]
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    first = run(data, tmp_path / "first", skip_corrupt=True)
    told = [record.message for record in caplog.records if str(broken) in record.message]
    assert len(told) == 1
    with monkeypatch.context() as patch:
        forbid_decoding(patch)
        assert run(data, tmp_path / "second", skip_corrupt=True) == first
        assert [r.message for r in caplog.records if str(broken) in r.message] == 2 * told
        for name in ("draws.json", "split.csv"):
            known, new = (tmp_path / run_folder / name for run_folder in ("first", "second"))
            assert known.read_bytes() == new.read_bytes()
        with pytest.raises(UserError, match=broken.name):
            run(data, tmp_path / "third")
    broken.write_bytes(whole)
    run(data, tmp_path / "repaired")
    assert json.loads((tmp_path / "repaired" / "summary.json").read_text())["skipped_pictures"] == 0
