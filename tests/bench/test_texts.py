"""Heads that read the classes' names, in the benchmark: with a text tower, and without."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvgssl.bench.cells import Cell
from cvgssl.bench.config import BenchConfig
from cvgssl.bench.entries import FeatureSource, HeadChoice
from cvgssl.bench.job import Bench, run_bench
from cvgssl.encoders.text_anchors import text_anchors
from cvgssl.features.table import load_features
from cvgssl.heads import ALL_HEADS
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import read_options
from tests.conftest import CLIP as NAME

TEXTS = ["zero-shot", "text-tip", "text-ridge"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))


def bench(tmp_path: Path, **options: Any) -> Bench:
    given = {"settings": ("inductive",), "shots": (1, 2), "num_draws": 3, "jobs": 1}
    return run_bench(BenchConfig(**(given | {"out": tmp_path / "bench"} | options)))


def test_texts_of_the_encoders_own_file(
    clip_file: Path, steel: Path, tmp_path: Path, teacher_file: Path
) -> None:
    encoders = (
        {"name": "clip", "encoder": [f"{NAME}={clip_file}"]},
        {"name": "vit", "encoder": f"test_vit={teacher_file}", "image_size": 32},
        {"name": "tokens", "encoder": [f"{NAME}={clip_file}"], "pooling": "mean"},
        {
            "name": "both",
            "encoder": [f"{NAME}={clip_file}", f"test_vit,image_size=32={teacher_file}"],
        },
        {"name": "unasked", "encoder": [f"{NAME}={clip_file}"], "text": False},
    )
    heads, settings = ("ridge", *TEXTS), ("inductive", "semi-supervised")
    result = bench(tmp_path, data=(steel,), encoders=encoders, heads=heads, settings=settings)
    found = {(one.encoder, one.head) for one in result.results}
    assert found >= {("clip", head) for head in TEXTS} | {(e["name"], "ridge") for e in encoders}
    assert len(found) == len(TEXTS) + len(encoders)
    lines = {line.split(", ", 1)[1].split(":")[0]: line for line in result.skipped}
    assert "tiny_vit.safetensors has no text tower" in lines["vit"]
    assert "features are pooled before the projection" in lines["tokens"]
    assert "no CLIP file is named for its texts" in lines["both"]
    assert "no CLIP file is named for its texts" in lines["unasked"]
    assert all("zero-shot, text-tip, text-ridge left out: " in line for line in lines.values())
    assert result.failed == 0
    check_zero_shot(result, tmp_path, clip_file)
    config = read_options(tmp_path / "bench" / "config.yaml")
    assert BenchConfig(**config).encoders == result.config.encoders


def check_zero_shot(result: Bench, tmp_path: Path, clip_file: Path) -> None:
    """The same in all draws, shots and settings, and what features and texts say by themselves."""
    cells = [one for one in result.results if one.head == "zero-shot"]
    assert len(cells) == 4
    (figure,) = {value for one in cells for value in one.macro_recall}
    (file,) = (tmp_path / "bench" / "features").glob("*_clip.npz")
    table = load_features(file).split("test")
    anchors = text_anchors(table.classes, f"{NAME}={clip_file}")
    named = (table.values @ anchors.values.T).argmax(axis=1)
    recalls = [(named[table.labels == k] == k).mean() for k in range(len(table.classes))]
    assert figure == pytest.approx(100 * np.mean(recalls))
    assert cells[0].params == {}
    (note,) = [line for line in result.notes() if "text tower of open_clip_model" in line]
    assert note.startswith("zero-shot, text-tip, text-ridge: know what the classes are called")


def features(path: Path, width: int = 48, **about: Any) -> None:
    """Pictures of three classes as somebody else's program gives them."""
    chance = np.random.default_rng(0)
    names = [
        f"{s}/{c}/{i}.png"
        for c in ("pit", "dent", "ash")
        for s in ("train", "test")
        for i in range(4)
    ]
    np.savez(path, values=chance.normal(size=(len(names), width)), names=np.array(names), **about)


def test_features_of_another_program_with_texts_and_prompts(
    clip_file: Path, tmp_path: Path
) -> None:
    features(tmp_path / "theirs.npz")
    features(tmp_path / "wide.npz", 64)
    (tmp_path / "prompts.yaml").write_text("ash: [gray ash, A photo of ash.]\n")
    text = {"text": f"{NAME}={clip_file}", "prompts": str(tmp_path / "prompts.yaml")}
    files = tuple({"file": str(tmp_path / name)} | text for name in ("theirs.npz", "wide.npz"))
    result = bench(tmp_path, features=files, shots=(2,), num_draws=2)
    found = [(one.encoder, one.head) for one in result.results]
    for head in ALL_HEADS:  # none is named
        assert ("theirs", head) in found
        assert (("wide", head) in found) == (head not in TEXTS)
    (line,) = result.skipped
    assert "wide, wide: zero-shot, text-tip, text-ridge left out: features have 64 numb" in line
    kept = np.load(tmp_path / "bench" / "features" / "theirs_theirs_text.npz")
    assert kept["labels"].tolist() == ["ash", "dent", "pit"]
    prompts = {"ash": ["gray ash", "A photo of ash."]}
    wanted = text_anchors(("ash", "dent", "pit"), text["text"], prompts)
    np.testing.assert_allclose(kept["values"], wanted.values, atol=1e-6)
    config = BenchConfig(**read_options(tmp_path / "bench" / "config.yaml"))
    assert config.features == result.config.features
    assert run_bench(config).computed == 0


def test_what_is_not_there_is_an_error_before_anything_is_computed(
    clip_file: Path, tmp_path: Path
) -> None:
    features(tmp_path / "theirs.npz")
    file = {"file": tmp_path / "theirs.npz"}
    with pytest.raises(UserError, match=r"^text ViT-B/32=absent.pt: .*no such file"):
        bench(tmp_path, features=(file | {"text": "ViT-B/32=absent.pt"},))
    with pytest.raises(ValueError, match=r"prompts: no such file: absent\.yaml"):
        BenchConfig(features=(file | {"text": "RN50", "prompts": "absent.yaml"},))
    with pytest.raises(ValueError, match="prompts: give text: NAME=FILE"):
        BenchConfig(features=(file | {"prompts": str(clip_file)},))
    with pytest.raises(ValueError, match="has no parameter anchors; it has anchor_scale"):
        BenchConfig(features=(file,), heads=({"head": "zero-shot", "anchors": [1]},))
    with pytest.raises(UserError, match="zero-shot left out: no CLIP file is named"):
        bench(tmp_path, features=(file,), heads=("zero-shot",))
    (tmp_path / "prompts.txt").write_text("rust: brown\n")
    with pytest.raises(UserError, match=r"prompts.txt: no class is called rust; .* ash, dent"):
        texts = {"text": str(clip_file), "prompts": tmp_path / "prompts.txt"}
        bench(tmp_path, features=(file | texts,))
    assert not (tmp_path / "bench" / "cells").exists()


def test_other_prompts_are_another_cell(clip_file: Path, tmp_path: Path) -> None:
    features(tmp_path / "theirs.npz")
    keys = set()
    for prompts in ("ash: soot\n", "ash: dust\n"):
        (tmp_path / "p.yaml").write_text(prompts)
        given = FeatureSource(
            file=tmp_path / "theirs.npz", text=str(clip_file), prompts=tmp_path / "p.yaml"
        )
        result = bench(tmp_path, features=(given,), heads=("zero-shot", "ridge"))
        (source,) = result.sources
        for head in ("zero-shot", "ridge"):
            choice = HeadChoice(head=head, label=head, params={})
            keys.add(Cell(source, choice, "inductive", 1, "none", "draws").key())
    assert len(keys) == 3, "ridge reads no text"
