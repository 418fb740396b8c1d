"""`cvgssl embed` as a user runs it: cold, warm, interrupted, and into what the heads read."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cvgssl.adapt.draws import draw
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import load_features
from cvgssl.heads import HEADS

Command = Callable[..., subprocess.CompletedProcess[str]]
PICTURES = 600
SMALL = f"{INSTALLED},image_size=64"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


WITHOUT = (
    "import sys; from cvgssl.cli.main import main; code = main(sys.argv[1:]); "
    "sys.exit(code or ('torch' in sys.modules))"
)


def computed(done: subprocess.CompletedProcess[str]) -> int:
    found = re.search(r"(\d+) embeddings computed", done.stderr)
    assert done.returncode == 0 and found, done.stderr
    return int(found[1])


def test_once_computed_then_found_without_torch(
    command: Command, steel: Path, teacher_file: Path, tmp_path: Path
) -> None:
    words = ["embed", steel, "--encoder", f"test_vit={teacher_file}", "--image-size", "32"]
    cold = command(*words, "--out", "cold.npz")
    assert computed(cold) == 60 and "60 pictures (60 labelled), 64 numbers each" in cold.stderr
    warm = command(*words, "--out", "warm.npz")
    assert computed(warm) == 0 and "60 found in the cache" in warm.stderr
    assert (tmp_path / "cold.npz").read_bytes() == (tmp_path / "warm.npz").read_bytes()
    done = subprocess.run([sys.executable, "-c", WITHOUT, *map(str, words)], cwd=tmp_path)
    assert done.returncode == 0


def test_new_pictures_without_torch(
    command: Command,
    steel: Path,
    teacher_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By an encoder that an earlier command compiled."""
    pytest.importorskip("openvino")
    words = ["--encoder", f"test_vit={teacher_file}", "--image-size", "32"]
    first = [sys.executable, "-c", WITHOUT, "embed", str(steel), *words]
    assert subprocess.run(first, cwd=tmp_path).returncode == 1, "torch compiled it"
    changed = tmp_path / "changed"
    shutil.copytree(steel, changed)
    for path in changed.rglob("*.bmp"):
        with Image.open(path) as picture:
            ImageOps.invert(picture).save(path)
    words = ["embed", str(changed), *words]
    outs = ["--out", "known.npz", "--mirrored", "mirrored.npz"]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *words, *outs], cwd=tmp_path)
    assert done.returncode == 0
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "fresh"))
    built = command(*words, "--out", "built.npz", "--mirrored", "built-mirrored.npz")
    assert computed(built) == 60
    for known, other in (("known", "built"), ("mirrored", "built-mirrored")):
        given, wanted = ((tmp_path / f"{name}.npz").read_bytes() for name in (known, other))
        assert given == wanted


def test_from_a_folder_to_class_names(command: Command, steel: Path, tmp_path: Path) -> None:
    """The table that comes out has the draws of fine-tuning and serves a head."""
    words = ["embed", steel, "--encoder", SMALL, "--flips", "both", "--out", "f.npz"]
    computed(command(*words))
    table = load_features(tmp_path / "f.npz")
    assert table.about["encoder"] == f"{SMALL}, flips both"
    train, test = table.split("train"), table.split("test")
    dataset = table.dataset()
    rows = draw(dataset, 3, 1, 0).rows(0, dataset.train, dataset.root)
    y = np.full(len(train), -1)
    y[rows] = train.labels[rows]
    prepared = Preparation().fit(train.values)
    head = HEADS["nearest-mean"]().fit(prepared.transform(train.values), y)
    accuracy = (head.predict(prepared.transform(test.values)) == test.labels).mean()
    assert accuracy > 0.5, "chance is 0.17"


def test_mistakes_are_one_line(command: Command, steel: Path) -> None:
    for words, message in (
        ((steel, "--encoder"), "--encoder: name at least one, or leave it out for the default"),
        (
            (steel, "--encoder", INSTALLED, "--out", "x.txt"),
            "must end in .npz or .parquet",
        ),
        (
            (steel, "--encoder", INSTALLED, "--pooling", "cls"),
            "has no class token; use --pooling mean",
        ),
    ):
        done = command("embed", *words)
        assert done.returncode == 2 and message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


# ends itself when it is about to put the second block of embeddings in its place
KILLED = """
import os, signal, sys
from cvgssl.cli.main import main
blocks = 0
def hear(event, words):
    global blocks
    if event == "os.rename" and str(words[1]).endswith(".npy"):
        blocks += 1
        if blocks == 2:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hear)
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_killed_and_run_again(
    command: Command, teacher_file: Path, tmp_path: Path, cache: Path, python: str
) -> None:
    folder = tmp_path / "loose"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (PICTURES, 8, 8), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{number}.bmp")
    encoder = f"test_vit={teacher_file}"
    words = ["embed", str(folder), "--encoder", encoder, "--image-size", "32", "--batch-size", "4"]
    done = subprocess.run([python, "-c", KILLED, *words], cwd=tmp_path, stderr=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "features.npz").exists()
    assert computed(command(*words)) == PICTURES - 256
    table = load_features(tmp_path / "features.npz")
    assert len(table) == PICTURES and set(table.labels) == {-1} and table.names[2] == "2.bmp"
    for block in cache.rglob("*/*.npy"):
        block.unlink()
    assert computed(command(*words, "--out", "again.npz")) == PICTURES
    again = load_features(tmp_path / "again.npz")
    np.testing.assert_allclose(again.values, table.values, atol=1e-5)


@pytest.mark.real
@pytest.mark.skipif(
    not (os.environ.get("CVGSSL_WEIGHTS") and os.environ.get("CVGSSL_DATA")),
    reason="CVGSSL_WEIGHTS and CVGSSL_DATA are not both set",
)
def test_the_mean_of_eight_crops_helps_one_shot_on_real_steel(tmp_path: Path) -> None:
    """Nearest class mean inside NEU-CLS train/, 30 pictures of each class, 200 draws."""
    from cvgssl.features.config import EmbedConfig
    from cvgssl.features.embed import embed

    for kind in (Path(os.environ["CVGSSL_DATA"]) / "NEU-CLS" / "train").iterdir():
        (tmp_path / "neu" / kind.name).mkdir(parents=True)
        for picture in sorted(kind.iterdir())[::8]:
            (tmp_path / "neu" / kind.name / picture.name).symlink_to(picture)
    found = {}
    for crops in (1, 8):
        table = embed(
            EmbedConfig(
                data=tmp_path / "neu",
                encoder=("vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors",),
                pooling="cls+mean",
                precision="bf16",
                crops=crops,
            )
        )
        found[crops] = nearest_mean(table.values, table.labels)
    print(json.dumps(found))
    assert found[8] > found[1] + 0.01


def nearest_mean(values: np.ndarray, labels: np.ndarray, draws: int = 200) -> float:
    """Mean accuracy with one picture per class, on all others."""
    rows = Preparation().fit_transform(values)
    right = []
    for seed in range(draws):
        generator = np.random.default_rng(seed)
        support = [generator.choice(np.flatnonzero(labels == one)) for one in np.unique(labels)]
        others = np.setdiff1d(np.arange(len(labels)), support)
        guess = (rows[others] @ rows[support].T).argmax(axis=1)
        right.append((guess == labels[others]).mean())
    return float(np.mean(right))
