"""A network that is named several times: loaded once, run once for each batch, the same bits."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from cvgssl.bench.config import BenchConfig
from cvgssl.bench.embedding import all_features
from cvgssl.cli import select
from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.network_run import output_after
from cvgssl.encoders.timm_import import timm
from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed, embed_all, embed_each
from cvgssl.features.table import FeatureTable, load_features
from cvgssl.pretrain.checkpoint import backbone_facts, save_backbone
from cvgssl.recognizer.card import load_recognizer
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.head import FittedHead
from cvgssl.recognizer.predict import predict
from cvgssl.runtime.options import make

PICTURES = 16


class Runs:
    """Batches of several pictures that went through networks; one shows how wide its layers are.

    sizes: of the batches. networks: those that they went through.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.networks: list[nn.Module] = []

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], _output: Any) -> None:
        if (
            isinstance(module, timm.layers.PatchEmbed) and len(inputs[0]) > 1
        ):  # one: its layers are asked for
            self.sizes.append(len(inputs[0]))
            if not any(module is known for known in self.networks):
                self.networks.append(module)

    def take(self) -> list[int]:
        taken, self.sizes = self.sizes, []
        return taken


@pytest.fixture
def runs() -> Iterator[Runs]:
    counter = Runs()
    handle = register_module_forward_hook(counter)
    yield counter
    handle.remove()


@pytest.fixture
def data(steel: Path, tmp_path: Path) -> Path:
    """Sixteen pictures without labels."""
    for number, path in enumerate(sorted(steel.rglob("train/*/*.*"))[:PICTURES]):
        (tmp_path / "data").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "data" / f"{number:02}{path.suffix}")
    return tmp_path / "data"


def named(file: Path, *taken: str) -> tuple[str, ...]:
    return tuple(f"test_vit{',' * bool(each)}{each}={file}" for each in taken)


def options(data: Path, encoder: tuple[str, ...], **more: Any) -> EmbedConfig:
    return EmbedConfig(
        data=data, encoder=encoder, image_size=32, batch_size=8, runtime="torch", **more
    )


def each_by_itself(
    config: EmbedConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[FeatureTable]:
    """Every encoder in a call of its own, in a cache of its own."""
    with monkeypatch.context() as patch:
        patch.setenv("CVGSSL_CACHE", str(folder))
        return [embed(replace(config, encoder=(encoder,))) for encoder in config.encoder]


def blocks(cache: Path) -> dict[str, bytes]:
    return {
        path.relative_to(cache).as_posix(): path.read_bytes() for path in cache.rglob("[!.]*.npy")
    }


@pytest.mark.parametrize(
    ("taken", "more", "views"),
    [
        (("pooling=cls", "pooling=mean"), {}, 1),
        (("pooling=mean,layers=5+2", "", "pooling=max+cls,layers=2+6"), {"flips": "both"}, 4),
        (("", "pooling=cls,layers=1"), {"crops": 2}, 2),
    ],
)
def test_one_run_gives_what_each_by_itself_gives(
    taken: tuple[str, ...],
    more: dict[str, Any],
    views: int,
    data: Path,
    teacher_file: Path,
    cache: Path,
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = options(data, named(teacher_file, *taken), **more)
    work = embed_all(config)
    together = work.table
    assert runs.take() == [8] * 2 * views and len(runs.networks) == 1
    assert work.computed == PICTURES * len(taken)
    others = cache.with_name("others")
    parts = each_by_itself(config, others, monkeypatch)
    assert runs.take() == [8] * 2 * views * len(taken)
    wanted = np.concatenate([part.values for part in parts], axis=1)
    assert together.values.tobytes() == wanted.tobytes()
    facts = [part.about["encoders"][0] for part in parts]
    assert together.about["encoders"] == facts
    assert together.about["encoder"].startswith("+".join(each["name"] for each in facts))
    assert blocks(cache) == blocks(others) and len(blocks(cache)) == len(taken)
    work = embed_all(config)
    again = work.table
    assert work.computed == 0 and not runs.take()
    assert again.values.tobytes() == wanted.tobytes()


def test_what_is_in_the_cache_is_not_computed_again(
    data: Path, teacher_file: Path, cache: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, both = (
        options(data, named(teacher_file, *taken))
        for taken in (("pooling=mean",), ("pooling=cls", "pooling=mean"))
    )
    embed(first)
    kept = blocks(cache)
    runs.take()
    work = embed_all(both)
    together = work.table
    assert work.computed == PICTURES and runs.take() == [8, 8]
    assert kept.items() < blocks(cache).items() and len(blocks(cache)) == 2
    parts = each_by_itself(both, cache.with_name("others"), monkeypatch)
    assert np.array_equal(together.values, np.hstack([part.values for part in parts]))


def test_other_pictures_are_another_batch(
    data: Path, teacher_file: Path, cache: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lacks five pictures, the other all: their numbers are those of their own batches."""
    for path in sorted(data.iterdir())[:5]:
        path.rename(data.parent / path.name)
    mean, cls = named(teacher_file, "pooling=mean", "pooling=cls")
    embed(options(data, (mean,)))
    for path in sorted(data.parent.glob("*.bmp")):
        path.rename(data / path.name)
    others = Path(shutil.copytree(cache, cache.with_name("others")))
    runs.take()
    config = options(data, (mean, cls))
    work = embed_all(config)
    together = work.table
    assert work.computed == 5 + PICTURES and runs.take() == [5, 8, 8]
    assert len(runs.networks) == 2, "of the two calls"
    parts = each_by_itself(config, others, monkeypatch)
    assert np.array_equal(together.values, np.hstack([part.values for part in parts]))
    assert blocks(cache) == blocks(others)


def test_a_file_may_be_named_in_several_ways(data: Path, tmp_path: Path, runs: Runs) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("test_vit", 32)
    save_backbone(tmp_path / "run" / "backbone.safetensors", backbone, backbone_facts(backbone, {}))
    file = tmp_path / "run" / "backbone.safetensors"
    encoder = (str(tmp_path / "run"), f"test_vit={file}", f"test_vit,pooling=mean={file}:3")
    work = embed_all(options(data, encoder))
    table = work.table
    assert runs.take() == [8, 8] and len(runs.networks) == 1
    assert work.computed == 2 * PICTURES, "the first two are the same"
    assert table.blocks == [(64, 1.0), (64, 1.0), (64, 3.0)]
    assert np.array_equal(table.values[:, :64], table.values[:, 64:128])
    assert [each["name"] for each in table.about["encoders"]] == [
        "test_vit",
        "test_vit",
        "test_vit,pooling=mean",
    ]


def test_what_decides_the_run_keeps_encoders_apart(
    data: Path, teacher_file: Path, runs: Runs
) -> None:
    taken = ("pooling=cls", "pooling=cls,image_size=48", "pooling=mean", "image_size=48")
    embed(options(data, named(teacher_file, *taken)))
    assert runs.take() == [8, 8] * 2 and len(runs.networks) == 2
    configs = [
        options(data, named(teacher_file, "pooling=max"), **more)
        for more in ({}, {"flips": "horizontal"}, {"resize": "pad"})
    ]
    assert len(list(embed_each(configs))) == 3 and runs.take() == [8] * (2 + 4 + 2)


def test_configurations_share_runs(data: Path, teacher_file: Path, runs: Runs) -> None:
    configs = [
        options(data, named(teacher_file, *taken))
        for taken in (("pooling=cls", ""), ("pooling=mean",), ("pooling=cls",))
    ]
    tables = [embedded.table for embedded in embed_each(configs)]
    assert runs.take() == [8, 8]
    for config, table in zip(configs, tables, strict=True):
        assert np.array_equal(embed(config).values, table.values)
    assert not runs.take()


def test_a_network_whose_output_does_not_follow_from_its_layers(
    data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = "hiera_tiny_224,embed_dim=8,num_heads=1"
    assert output_after(build_backbone("test_vit", 32).eval())
    assert not output_after(build_backbone(small, 64).eval())
    encoder = (f"{small}=random", f"{small},pooling=mean=random")
    config = EmbedConfig(data=data, encoder=encoder, image_size=64, runtime="torch")
    together = embed(config)
    parts = each_by_itself(config, cache.with_name("others"), monkeypatch)
    assert np.array_equal(together.values, np.hstack([part.values for part in parts]))


TAKEN = ("pooling=mean,layers=2", "", "pooling=cls")


def test_fit_and_predict(
    steel: Path,
    teacher_file: Path,
    tmp_path: Path,
    cache: Path,
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, test = named(teacher_file, *TAKEN), steel / "test"
    config = FitConfig(
        data=steel, encoder=encoder, image_size=32, shot=2, out=tmp_path / "fit", runtime="torch"
    )
    fit(config)
    assert runs.take() == [60, 12, 12, 12], "all pictures; the labelled ones in three mirrors"
    runs.networks.clear()
    predictions = predict(tmp_path / "fit", [test], batch_size=8, runtime="torch")
    assert runs.take() == [8, 8, 2] and len(runs.networks) == 1
    card, kept = load_recognizer(tmp_path / "fit")
    parts = each_by_itself(options(test, encoder, class_folders=False), cache / "o", monkeypatch)
    probabilities, _ = FittedHead(kept, card)(np.hstack([part.values for part in parts]))
    names = [prediction.path.relative_to(test).as_posix() for prediction in predictions]
    assert names == list(parts[0].names)
    for prediction, wanted in zip(predictions, probabilities, strict=True):
        assert np.array_equal(prediction.probabilities, wanted.astype(np.float32))


def test_select(steel: Path, teacher_file: Path, tmp_path: Path, runs: Runs) -> None:
    encoder = named(teacher_file, *TAKEN)
    out = ("--budget", "6", "--out", str(tmp_path / "out"))
    assert (
        select.run([str(steel), "--encoder", *encoder, *out, "--runtime", "torch"], "cvgssl select")
        == 0
    )
    assert runs.take() == [60] and len(runs.networks) == 1


def test_encoders_of_a_benchmark(
    steel: Path, teacher_file: Path, tmp_path: Path, runs: Runs
) -> None:
    encoders = [
        {"name": name, "encoder": f"test_vit={teacher_file}", "image_size": 32} | taken
        for name, taken in (("mean", {"pooling": "mean"}), ("cls", {"pooling": "cls"}), ("own", {}))
    ]
    config = make(
        BenchConfig,
        {"data": [str(steel)], "encoders": encoders, "out": tmp_path, "runtime": "torch"},
    )
    sources = all_features(config)
    assert runs.take() == [60, 42, 42, 42] and len(runs.networks) == 2
    for source, taken in zip(sources, ("pooling=mean", "pooling=cls", ""), strict=True):
        wanted = embed(options(steel, named(teacher_file, taken)))
        assert np.array_equal(load_features(source.file).values, wanted.values)
