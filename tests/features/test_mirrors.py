"""Embeddings of mirror images: those of the mirrored files, and where they are used."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from cvgssl import BenchConfig, FitConfig, fit
from cvgssl.bench.job import run_bench
from cvgssl.cli import embed as embed_command
from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed, embed_all
from cvgssl.features.mirrors import embed_mirrored_each, embed_mirrored_train, mirrors_beside
from cvgssl.features.table import load_features
from cvgssl.runtime.errors import UserError

Changed = Callable[[Image.Image], Image.Image]


def options(steel: Path, file: Path, **more: Any) -> EmbedConfig:
    named = (f"test_vit={file}", f"test_vit,pooling=mean={file}:2")
    return EmbedConfig(**({"data": steel, "encoder": named, "image_size": 32} | more))


def test_which_mirror_images_are_no_copies() -> None:
    assert mirrors_beside("both", "none") == [(3,), (2,), (2, 3)]
    assert mirrors_beside("horizontal", "none") == [(3,)]
    assert mirrors_beside("both", "horizontal") == [(2,)]
    assert mirrors_beside("horizontal", "horizontal") == []
    assert mirrors_beside("both", "both") == mirrors_beside("both", "rotations") == []
    assert mirrors_beside("none", "none") == []


def test_they_are_the_embeddings_of_mirrored_files(
    steel: Path, teacher_file: Path, tmp_path: Path
) -> None:
    config = options(steel, teacher_file)
    embedded = embed_all(config)
    rows = np.array([3, 17, 40])
    (mirrored,) = embed_mirrored_each([(embedded, rows, config)], "both")
    assert mirrored is not None and mirrored.names == embedded.table.take(rows).names
    width = embedded.table.values.shape[1]
    turned: list[Changed] = [
        ImageOps.mirror,
        ImageOps.flip,
        lambda image: image.transpose(Image.Transpose.ROTATE_180),
    ]
    for number, change in enumerate(turned):
        folder = tmp_path / str(number)
        folder.mkdir()
        for place, row in enumerate(rows):
            with Image.open(embedded.paths[row]) as image:
                change(image).save(folder / f"{place}.png")
        wanted = embed(options(folder, teacher_file)).values
        found = mirrored.values[:, number * width : (number + 1) * width]
        np.testing.assert_allclose(found, wanted, atol=2e-3)  # resizing rounds to grey levels
        others = np.delete(np.arange(3), number)
        parts = np.split(mirrored.values, 3, axis=1)
        assert all(np.abs(parts[other] - wanted).max() > 1e-2 for other in others)


def bench(out: Path, **more: Any) -> Any:
    return run_bench(
        BenchConfig(
            **({"shots": (2,), "num_draws": 2, "heads": ("logistic", "diffusion")} | more),
            settings=("inductive", "semi-supervised", "transductive"),
            jobs=1,
            out=out,
        )
    )


def test_a_benchmark_on_files_is_that_on_pictures(
    steel: Path, teacher_file: Path, tmp_path: Path
) -> None:
    encoder = {"name": "vit", "encoder": f"test_vit={teacher_file}", "image_size": 32}
    on_pictures = bench(tmp_path / "a", data=(steel,), encoders=(encoder,))
    out, mirrored = tmp_path / "x.npz", tmp_path / "x.mirrored.npz"
    argv = [str(steel), "--encoder", encoder["encoder"], "--image-size", "32", "--out", str(out)]
    assert embed_command.run([*argv, "--mirrored", str(mirrored)], "cvgssl embed") == 0
    files = {"file": out, "data": steel.name, "encoder": "vit"}
    with_them = bench(tmp_path / "b", features=(files | {"mirrored": mirrored},))
    without = bench(tmp_path / "c", features=(files,))
    of = [[row.macro_recall for row in each.results] for each in (on_pictures, with_them, without)]
    assert of[0] == of[1] != of[2]
    heads = [row.head for row in without.results]
    for head, seen, unseen in zip(heads, of[1], of[2], strict=True):
        assert head == "logistic" or seen == unseen
    assert any("mirror images" in note for note in with_them.notes())
    assert not any("mirror images" in note for note in without.notes())
    off = bench(tmp_path / "d", data=(steel,), encoders=(encoder,), support_flips="none")
    assert [row.macro_recall for row in off.results] == of[2]
    again = bench(tmp_path / "b", features=(files | {"mirrored": mirrored},))
    assert (again.computed, again.reused) == (0, len(heads))
    changed = bench(tmp_path / "b", features=(files,))
    assert changed.computed == heads.count("logistic"), "what does not look at them is used again"
    with pytest.raises(UserError, match="is not of the train pictures"):
        bench(tmp_path / "e", features=(files | {"mirrored": out},))


@pytest.mark.parametrize("head", ["auto", "logistic", "diffusion"])
def test_a_recognizer_keeps_those_that_its_head_looks_at(
    steel: Path, teacher_file: Path, tmp_path: Path, head: str
) -> None:
    def fitted(name: str, **more: Any) -> Path:
        embedding = {"encoder": (f"test_vit={teacher_file}",), "image_size": 32}
        config = {"data": steel, "shot": 2, "head": head, "out": tmp_path / name}
        folder, summary = fit(FitConfig(**(embedding | config | more)))
        images = {"fit": 3, "half": 1, "none": 0}[name] if head != "diffusion" else 0
        assert summary.mirror_images == images
        return folder

    folder, looks = fitted("fit"), head != "diffusion"
    assert (folder / "mirrored.npz").exists() == looks
    assert not (fitted("none", support_flips="none") / "mirrored.npz").exists()
    if looks:
        kept = load_features(folder / "mirrored.npz")
        width = load_features(folder / "train.npz").values.shape[1]
        assert kept.values.shape == (12, 3 * width)
        card = json.loads((folder / "recognizer.json").read_text())
        assert len(card["mirrored_sha256"]) == 64
        half = load_features(fitted("half", support_flips="horizontal") / "mirrored.npz")
        assert np.array_equal(half.values, kept.values[:, :width])


def test_processes_write_them_in_parts(
    steel: Path, teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six pictures, and more processes than train pictures."""
    data = tmp_path / "few"
    for number, path in enumerate(sorted(steel.glob("*/*/*.bmp"))[:3:2]):
        for split, name in (("train", f"{number}.bmp"), ("test", "9.bmp"), ("test", "8.bmp")):
            (data / split / f"class_{number}").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, data / split / f"class_{number}" / name)
    words = [str(data), "--encoder", f"test_vit={teacher_file}", "--image-size", "32"]
    words += ["--runtime", "torch"]

    def run(name: str) -> None:
        out = ["--out", str(tmp_path / f"{name}.npz")]
        mirrored = ["--mirrored", str(tmp_path / f"{name}_mirrored.npz")]
        assert embed_command.run([*words, *out, *mirrored], "cvgssl embed") == 0

    run("one")
    monkeypatch.setenv("WORLD_SIZE", "4")
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        run("many")
    for name, count in (("", 6), ("_mirrored", 2)):
        one, many = (load_features(tmp_path / f"{start}{name}.npz") for start in ("one", "many"))
        assert np.array_equal(many.values, one.values) and len(many) == count
        assert (many.names, many.about) == (one.names, one.about)


def test_flags_that_leave_none(steel: Path, teacher_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--flips both averages over mirror images"):
        options(steel, teacher_file, mirrored=tmp_path / "m.npz", flips="both")
    with pytest.raises(ValueError, match=r"--mirrored m\.txt: must end in"):
        options(steel, teacher_file, mirrored=Path("m.txt"))
    with pytest.raises(ValueError, match=r"--mirrored f\.npz: is --out, too"):
        options(
            steel, teacher_file, mirrored=Path("f.npz"), out=tmp_path / ".." / Path.cwd() / "f.npz"
        )
    config = options(steel, teacher_file)
    assert embed_mirrored_train([(embed_all(config), config)], "none") == [None]
    shutil.copytree(steel / "test" / "patches", tmp_path / "only" / "test")
    config = options(tmp_path / "only", teacher_file, class_folders=False)
    with pytest.raises(UserError, match="has no train pictures"):
        embed_mirrored_train([(embed_all(config), config)], "both")
