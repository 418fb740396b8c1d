"""The page of a benchmark on a features file that somebody else made."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.bench.config import BenchConfig
from cvgssl.bench.entries import FeatureSource, HeadChoice
from cvgssl.bench.job import run_bench
from cvgssl.features.picture_folder import not_shown, shown_folder
from cvgssl.features.table import FeatureTable, save_features
from cvgssl.report.bench import write_bench_page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data/` with one picture, a secret one beside it, and `out/` of a benchmark."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "data").mkdir()
    for path, gray in (("data/ok.png", 200), ("secret.png", 0)):
        Image.fromarray(np.full((30, 30), gray, np.uint8)).save(folder / path)
    labels = np.arange(24) % 2
    values = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    splits = tuple("train" if row < 16 else "test" for row in range(24))
    names = [f"{split}/{row}.png" for row, split in enumerate(splits)]
    names[16:20] = ["ok.png", "../secret.png", str(folder / "secret.png"), "b\x1b[31m.png"]
    about = {"data": str(folder / "data"), "encoder": "=v\x1b"}
    table = FeatureTable(values, tuple(names), labels, splits, ("=1+1", "pit\x07"), about)
    save_features(table, folder / "f.npz")
    config = BenchConfig(
        features=(FeatureSource(file=folder / "f.npz"),),
        heads=(HeadChoice(head="auto", label="auto", params={}),),
        settings=("inductive",),
        shots=(2,),
        num_draws=2,
        jobs=1,
        out=folder / "out",
    )
    write_bench_page(run_bench(config))
    return folder


def test_only_pictures_of_the_data_folder_are_shown(folder: Path) -> None:
    page = (folder / "out/report.html").read_text(encoding="utf-8")
    assert f"2 pictures are not shown, because not below {folder / 'data'}: " in page
    (figure,) = (folder / "out/figures").glob("mistakes_*.jpg")
    pixels = np.asarray(Image.open(figure).convert("L")).astype(int)
    assert (np.abs(pixels - 200) < 3).sum() > 1000, "the picture of the data folder"
    assert (pixels < 30).sum() < 1000, "no area of the black one, only letters"


def test_a_folder_that_only_the_file_names_is_shown_where_it_is_near(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, about = folder / "data", {"data": str(folder / "data")}
    assert shown_folder(folder / "f.npz", about) == data
    assert not_shown(folder / "f.npz", about, "--pictures") == ""
    elsewhere = tmp_path / "elsewhere/f.npz"
    assert shown_folder(elsewhere, about) is None
    assert not_shown(elsewhere, about, "--pictures") == (
        f"no pictures are shown: the folder {data} is named by {elsewhere} only, and is neither "
        "below its folder nor below the working directory; if they may be shown, name it with "
        "--pictures"
    )
    assert shown_folder(elsewhere, {}) is None
    assert not_shown(elsewhere, {}, "--pictures") == ""
    monkeypatch.chdir(folder)
    assert shown_folder(elsewhere, about) == data
    assert shown_folder(elsewhere, {"data": "data"}) == Path("data")
    assert shown_folder(elsewhere, {"data": "data/../.."}) is None
    monkeypatch.setenv("HOME", str(folder / "home"))
    assert shown_folder(folder / "f.npz", about) is None, "everything is below the home folder"


def test_names_are_escaped_everywhere(folder: Path) -> None:
    text_files = ("report.html", "tables/results.md", "tables/results.tex", "tables/results.csv")
    for name in text_files:
        text = (folder / "out" / name).read_bytes().decode("utf-8")
        assert all(char.isprintable() or char == "\n" for char in text)
        assert "x1b" in text


def test_what_decided_in_auto_is_on_the_page(folder: Path) -> None:
    page = (folder / "out/report.html").read_text(encoding="utf-8")
    assert "<td>0 of 2 draws</td>" in page
    assert "fewer than 100 unlabelled pictures" in page
    assert "<th>kernel-ridge</th>" in page
