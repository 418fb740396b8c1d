"""Features of a frozen backbone are kept and give the same numbers to the last bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvgssl.adapt.config import LinearConfig
from cvgssl.adapt.data import load_task
from cvgssl.adapt.models import ModelSource
from cvgssl.adapt.protocol import AdaptJob, adapt, prepare
from cvgssl.runtime.array_files import write_array
from cvgssl.runtime.launch import launch
from cvgssl.runtime.run import RunFolder
from cvgssl.runtime.stopping import Stopped

FILES = ("metrics.jsonl", "weights/run_1.safetensors")


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
    [{"seed": 1}, {"eval_batch_size": 7}, {"fit": "pad"}, {"normalize": "imagenet"}],
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
    source = ModelSource(config, task.classes, task.geometry)
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
