import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.features.table import FeatureTable
from cvgssl.report import embedding_map
from cvgssl.report.embedding_map import class_colors, map_figure


def clouds(per_class: int, classes: int = 3) -> FeatureTable:
    """Distant clouds in 8 dimensions; the last picture has no label."""
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    values = 9 * np.eye(classes, 8)[labels] + chance.normal(size=(len(labels), 8))
    names = tuple(f"{n:05}.png" for n in range(len(labels)))
    splits = tuple("test" if n % 4 == 0 else "train" for n in range(len(labels)))
    labels[-1] = -1
    words = tuple(f"kind {n}" for n in range(classes))
    return FeatureTable(values.astype(np.float32), names, labels, splits, words)


def test_classes_that_lie_apart_do_so_on_both_maps(tmp_path: Path) -> None:
    table = clouds(20)
    png, svg = map_figure(table, tmp_path / "map", "steel", "digest")
    assert np.array(Image.open(png).convert("L")).std() > 5
    assert svg.stat().st_size > 5000
    kept = json.loads((tmp_path / "map.json").read_text())["value"]
    for kind in ("pca", "tsne"):
        places = np.array(kept[kind])
        assert places.shape == (60, 2)
        means = [places[table.labels == label].mean(axis=0) for label in range(3)]
        for label, mean in enumerate(means):
            own = np.linalg.norm(places[table.labels == label] - mean, axis=1).mean()
            others = min(
                np.linalg.norm(mean - other) for n, other in enumerate(means) if n != label
            )
            assert others > 2 * own
    assert 0 < kept["explained"][1] <= kept["explained"][0] < 1


def test_places_are_kept_until_the_features_change(tmp_path: Path) -> None:
    table, stem = clouds(5), tmp_path / "map"
    first = [path.read_bytes() for path in map_figure(table, stem, "steel", "one")]
    kept = (tmp_path / "map.json").read_bytes()
    assert [path.read_bytes() for path in map_figure(table, stem, "steel", "one")] == first
    for damage in ("{", kept.decode().replace("]", ",[9,9]]", 1)):
        (tmp_path / "map.json").write_text(damage)
        again = [path.read_bytes() for path in map_figure(table, stem, "steel", "one")]
        assert again == first and (tmp_path / "map.json").read_bytes() == kept
    assert [path.read_bytes() for path in map_figure(table, stem, "steel", "one")] == first
    map_figure(replace(table, values=table.values[::-1].copy()), stem, "steel", "two")
    assert (tmp_path / "map.json").read_bytes() != kept


def test_a_large_table_is_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_map, "MOST", 60)
    map_figure(clouds(30), tmp_path / "map", "steel", "digest")
    assert len(json.loads((tmp_path / "map.json").read_text())["value"]["pca"]) == 45


def test_two_numbers_and_few_pictures_are_enough(tmp_path: Path) -> None:
    table = clouds(2)
    map_figure(replace(table, values=table.values[:, :1]), tmp_path / "one", "a $ b", "x")
    assert (tmp_path / "one.png").is_file()


@pytest.mark.parametrize("number", [1, 10, 11, 20, 21, 60])
def test_every_class_has_its_own_colour(number: int) -> None:
    assert len({tuple(color) for color in class_colors(number)}) == number
