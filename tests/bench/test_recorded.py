import json
from pathlib import Path

import pytest
from clouds import CLASSES, clouds

from cvgssl.adapt.draws import draw, load_draws
from cvgssl.bench.config import BenchConfig
from cvgssl.bench.entries import ChosenLabels
from cvgssl.bench.recorded import digest_of_draws, draws_of, file_name, read_chosen, record
from cvgssl.runtime.errors import UserError


def test_draws_are_those_of_fine_tuning_at_every_shot() -> None:
    table = clouds()
    draws, skipped = draws_of(table, (4, 1, 12), count=3, seed=7)
    assert skipped == {}
    for shot, of_shot in draws.items():
        assert of_shot == draw(table.dataset(), shot, 3, 7)


def test_a_shot_with_too_few_pictures_is_left_out_with_the_reason() -> None:
    draws, skipped = draws_of(clouds(), (1, 13), count=2, seed=0)
    assert list(draws) == [1]
    assert "dent has 12 of 13" in skipped[13]
    assert draws_of(clouds(), (13,), 2, 0)[0] == {}


def test_draws_and_queries_are_written_down(features: Path, tmp_path: Path) -> None:
    config = BenchConfig(
        features=(features,),  # type: ignore[arg-type]
        settings=("transductive-balanced", "transductive-dirichlet"),
        shots=(2, 3),
        num_draws=4,
        out=tmp_path / "out",
    )
    made = record(clouds(), "steel", config)
    folder = tmp_path / "out" / "draws" / "steel"
    assert load_draws(folder / "shot_3.json", CLASSES) == made.draws[3]
    for setting in config.settings:
        written = json.loads((folder / f"queries_{setting}.json").read_text())
        assert written["queries"] == made.queries[setting]


def test_the_digest_depends_on_labelled_and_asked_pictures() -> None:
    draws, _ = draws_of(clouds(), (1, 2), 2, 0)
    digests = {
        digest_of_draws(draws[1], None),
        digest_of_draws(draws[2], None),
        digest_of_draws(draws[1], [["test/pit/000.png"], ["test/pit/001.png"]]),
    }
    assert len(digests) == 3


def test_file_names_are_safe_and_differ() -> None:
    names = ["a/b", "a b", "a_b", "../..", "", "缺陷", "x" * 300, "x" * 299]
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(names)
    assert all(
        "/" not in file and file not in (".", "..", "") and len(file) < 100 for file in files
    )
    assert file_name("vit-tiny") == "vit-tiny"


def test_chosen_labels_are_read_and_checked(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        "path,label\ntrain/dent/000.png,dent\ntrain/pit/003.png,pit\ntrain/pit/004.png,pit\n"
        "train/scratch/001.png,scratch\ntrain/scratch/002.png,?\ntrain/dent/009.png,dent\n"
    )
    (one,) = read_chosen(
        clouds(), [ChosenLabels(name="select", files=(tmp_path / "list.csv",) * 2)]
    )
    assert (one.name, one.shot, len(one.draws.supports)) == ("select", 2, 2)
    assert one.draws.supports[0]["pit"] == ("train/pit/003.png", "train/pit/004.png")
    (tmp_path / "wrong.csv").write_text(
        "path,label\ntrain/dent/000.png,pit\nx.png,dent\ntrain/scratch/001.png,scratch\n"
    )
    with pytest.raises(UserError, match=r"chosen select, .*wrong\.csv: has train/dent/000"):
        read_chosen(clouds(), [ChosenLabels(name="select", files=(tmp_path / "wrong.csv",))])
