import csv
import hashlib
import logging
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cvgssl.cli.data_synth import SynthConfig
from cvgssl.images.check import check_data
from cvgssl.images.scan import load_dataset
from cvgssl.images.surfaces import KINDS, Plant, generate_surface, synthesize
from cvgssl.images.surfaces.exposures import draw_part
from cvgssl.images.surfaces.kinds import COIL, DEFECTS, GOOD, MARKS, PICTURE, generator
from cvgssl.images.surfaces.local import box_area, draw_local, overlap
from cvgssl.images.surfaces.marks import draw_plant_coil, harmless_marks
from cvgssl.images.surfaces.plan import LEAST_PARTS, RARER, Part, plan_plant
from cvgssl.images.surfaces.plate import expose, ground
from cvgssl.images.surfaces.texture import SIDE
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import fields_of


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_exposed(target: Path, workers: int) -> None:
    plant = Plant(defect_area=0.05, defects_per_picture=2, exposures=2)
    counts = synthesize(
        target, 2, seed=0, image_size=64, test_fraction=0.5, workers=workers, plant=plant
    )
    assert counts == dict.fromkeys(KINDS, 4)


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parts of each kind of defect, twice each."""
    target = tmp_path_factory.mktemp("exposed") / "data"
    write_exposed(target, workers=1)
    return target


def test_most_parts_are_good_and_kinds_are_long_tailed() -> None:
    parts = plan_plant(Plant(good_share=0.9, parts=2000), test_fraction=0.3, seed=0)
    numbers = {label: sum(part.label == label for part in parts) for label in (GOOD, *KINDS)}
    assert len(parts) == 2000
    assert numbers[GOOD] == 1800
    falling = sorted((numbers[kind] for kind in KINDS), reverse=True)
    for more, fewer in pairwise(falling):
        assert fewer - LEAST_PARTS == pytest.approx(RARER * (more - LEAST_PARTS), abs=1)
    other = plan_plant(Plant(good_share=0.9, parts=2000), test_fraction=0.3, seed=1)
    assert [part.label for part in other] != [part.label for part in parts]


def test_test_shows_every_class_and_no_coil_of_train() -> None:
    for parts, fraction in ((36, 0.3), (36, 0.01), (36, 0.99), (600, 0.3)):
        planned = plan_plant(Plant(good_share=0.15, parts=parts), fraction, seed=2)
        halves = {test: [part for part in planned if part.test == test] for test in (False, True)}
        for half in halves.values():
            assert {part.label for part in half} == {GOOD, *KINDS}
        coils = [{part.coil for part in half} for half in halves.values()]
        assert not coils[0] & coils[1]


@pytest.mark.parametrize(("share", "parts"), [(0.9, 290), (0.01, 440), (1e-320, 100), (0.5, 1)])
def test_too_few_parts_are_refused_with_how_many_it_takes(share: float, parts: int) -> None:
    with pytest.raises(UserError, match=f"--parts {parts} with --good-share.*use --parts"):
        plan_plant(Plant(good_share=share, parts=parts), 0.3, seed=0)


@pytest.mark.parametrize(("share", "enough"), [(0.9, 300), (0.01, 500), (0.13, 39), (0.5, 60)])
def test_the_number_that_is_named_is_enough(share: float, enough: int) -> None:
    with pytest.raises(UserError, match=f"use --parts {enough} or more"):
        plan_plant(Plant(good_share=share, parts=34), 0.3, seed=0)
    assert len(plan_plant(Plant(good_share=share, parts=enough), 0.3, seed=0)) == enough


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_defect_changes_is_in_its_box(kind: str) -> None:
    part, seed = Part(kind, 0, test=False, coil=5), 11
    (picture,) = draw_part(part, Plant(defect_area=0.05), seed)
    coil = draw_plant_coil(generator(seed, "", COIL, 5))
    rng = generator(seed, kind, PICTURE, 0)
    surface = harmless_marks(ground(coil, rng), coil, generator(seed, kind, MARKS, 0))
    without = expose(surface, coil, rng)
    changed = np.abs(picture.pixels.astype(int) - without)
    ((label, (x_min, y_min, x_max, y_max)),) = picture.boxes
    assert label == kind
    assert changed[y_min:y_max, x_min:x_max].max() > 15
    changed[y_min:y_max, x_min:x_max] = 0
    assert changed.max() <= 2


@pytest.mark.parametrize("area", [0.03, 0.2])
def test_boxes_cover_about_the_area_asked_for(area: float) -> None:
    rng = np.random.default_rng(0)
    coil = draw_plant_coil(rng)
    shares = []
    for kind in (*KINDS, *KINDS):
        defect = draw_local(DEFECTS[kind], coil, rng, area)
        assert defect is not None
        shares.append(box_area(defect.box) / SIDE**2)
    assert np.median(shares) == pytest.approx(area, rel=0.3)


def test_the_class_is_that_of_the_largest_of_several_defects() -> None:
    several = Plant(good_share=0.5, defect_area=0.06, defects_per_picture=4)
    most = 0
    for index in range(3):
        (picture,) = draw_part(Part("inclusion", index, test=False, coil=index), several, seed=0)
        (label, largest), *others = picture.boxes
        assert label == "inclusion"
        assert all(box_area(box) < box_area(largest) for _, box in others)
        boxes = [box for _, box in picture.boxes]
        for place, box in enumerate(boxes):
            assert not any(overlap(box, other) for other in boxes[place + 1 :])
        most = max(most, len(boxes))
    assert 2 <= most <= 4


def test_exposures_are_alike_and_not_the_same() -> None:
    thrice = Plant(good_share=0.5, defect_area=0.05, exposures=3)
    part = Part("patches", 0, test=False, coil=2)
    first, *others = draw_part(part, thrice, seed=1)
    (alone,) = draw_part(part, replace(thrice, exposures=1), seed=1)
    np.testing.assert_array_equal(first.pixels, alone.pixels)
    (stranger,) = draw_part(replace(part, index=1), replace(thrice, exposures=1), seed=1)
    for other in others:
        assert np.any(other.pixels != first.pixels)
        assert likeness(first.pixels, other.pixels) > 0.5
        (_, box), (_, moved) = first.boxes[0], other.boxes[0]
        assert np.abs(np.subtract(box, moved)).max() <= 4
    assert likeness(first.pixels, stranger.pixels) < 0.3


def likeness(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Correlation of the texture of two pictures at the best shift."""
    first, second = (
        gaussian_filter(pixels.astype(float), 1) - gaussian_filter(pixels.astype(float), 4)
        for pixels in (a, b)
    )
    inner = first[8:-8, 8:-8].ravel()
    shifts = [(down, right) for down in range(-4, 5) for right in range(-4, 5)]
    moved = (np.roll(second, shift, (0, 1))[8:-8, 8:-8].ravel() for shift in shifts)
    return max(float(np.corrcoef(inner, each)[0, 1]) for each in moved)


def test_lists_name_every_picture_and_the_boxes_of_defects(exposed: Path) -> None:
    written = {path.relative_to(exposed).as_posix() for path in exposed.rglob("*.bmp")}
    parts = rows_of(exposed / "parts.csv")
    assert {row["path"] for row in parts} == written
    assert len(parts) == len(written) == 24
    split_of: dict[str, str] = {}
    for row in parts:
        split, label, name = row["path"].split("/")
        assert label == row["label"]
        assert name == f"{row['part']}_e{row['exposure']}.bmp"
        assert split_of.setdefault(row["part"], split) == split
    boxes = rows_of(exposed / "boxes.csv")
    assert {row["path"] for row in boxes} == written
    assert len(boxes) > 24  # some parts have two defects
    for row in boxes:
        x_min, y_min, x_max, y_max = (int(row[name]) for name in list(row)[2:])
        assert 0 <= x_min < x_max <= 64
        assert 0 <= y_min < y_max <= 64
        assert row["label"] in KINDS


def test_a_plant_is_loaded_as_any_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "plant"
    plant = Plant(good_share=0.15, parts=36)
    counts = synthesize(folder, per_class=0, seed=3, image_size=64, plant=plant)
    assert counts[GOOD] == 5
    assert sum(counts.values()) == 36
    with caplog.at_level(logging.WARNING):
        dataset = load_dataset(folder)
    assert not caplog.records
    assert set(dataset.train.classes) == {GOOD, *KINDS}
    assert len(dataset.train.paths) + len(dataset.test.paths) == 36
    assert not check_data(folder).spoiled
    assert {path.name for path in folder.iterdir()} == {"train", "test", "parts.csv", "boxes.csv"}
    names = {row["path"] for row in rows_of(folder / "boxes.csv")}
    assert len(names) == 31
    assert not any(GOOD in name for name in names)


def test_the_same_options_give_the_same_bytes_with_any_number_of_processes(
    exposed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(synthesize.__globals__, "_WORTH", 12)  # so that 24 pictures have 2 workers
    monkeypatch.setitem(synthesize.__globals__, "_BATCH", 5)
    write_exposed(tmp_path / "again", workers=2)
    assert hashes(tmp_path / "again") == hashes(exposed)


def test_pictures_that_defects_fill_stay_what_they_were(tmp_path: Path) -> None:
    pictures = b"".join(generate_surface(kind, 0, 1).tobytes() for kind in KINDS)
    assert hashlib.sha256(pictures).hexdigest() == (
        "263ce68d7c07cd32d73747da03406cc080cf8b3cc552cc330032fa8d720b5fb9"
    )
    synthesize(tmp_path / "steel", per_class=2, seed=0, image_size=64, test_fraction=0.5)
    assert {Path(name).suffix for name in hashes(tmp_path / "steel")} == {".bmp"}


def test_help_names_the_numbers_of_the_long_tail() -> None:
    text = fields_of(SynthConfig)["good_share"].description or ""
    assert f"{LEAST_PARTS} of each, the rest falls by {RARER}" in text
    assert f"at least {LEAST_PARTS} per class" in (
        fields_of(SynthConfig)["parts"].description or ""
    )
