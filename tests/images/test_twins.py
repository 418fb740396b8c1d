"""Near twins: the same part again is one; another part that shares edge, light and holes is not."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from cvgssl.images.check import CheckReport, check_data
from cvgssl.images.check_facts import Finding

SIDE = 96
Field = NDArray[np.float64]


def scene(holes: int) -> tuple[Field, Field]:
    """Light, and where there is steel: right of the strip's edge and not in a punched hole."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    light = 150 + 60 * np.exp(-(((x - 0.6) / 0.08) ** 2)) + 25 * y
    steel = np.where(x < 0.25, 0.0, 1.0)
    for row, column in np.random.default_rng(7).uniform(0.3, 0.9, (holes, 2)):
        steel[(y - row) ** 2 + (x - column) ** 2 < 0.04**2] = 0
    return light, ndimage.gaussian_filter(steel, 0.6)


def part(seed: int, holes: int) -> Field:
    """A strip with a grain of its own, in the scene that all parts share."""
    rng = np.random.default_rng(seed)
    light, steel = scene(holes)
    grain = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), (5, 0.8))
    return (light + 10 * grain / grain.std()) * steel + 12 * (1 - steel)


def plain(seed: int) -> Field:
    """A good part: grain, and nothing else."""
    grain = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), (3, 2))
    return 150 + 10 * grain / grain.std()


def exposed(part: Field, seed: int, noise: float = 2) -> NDArray[np.uint8]:
    """The part under other light, hardly moved, with the camera's noise, in gray levels."""
    rng = np.random.default_rng(seed)
    moved = ndimage.shift(part, rng.uniform(-1.5, 1.5, 2), order=1, mode="nearest")
    lit = 255 * np.clip(moved / 255, 0, 1) ** rng.uniform(0.7, 1.5) * rng.uniform(0.5, 1.0)
    pixels: NDArray[np.uint8] = np.clip(lit + rng.normal(size=lit.shape) * noise, 0, 255).astype(
        "u1"
    )
    return pixels


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def twins(report: CheckReport) -> list[Finding]:
    return [finding for finding in report.findings if finding.kind.startswith("near_")]


@pytest.mark.parametrize("holes", [0, 8])
def test_parts_that_share_edge_light_and_holes_are_no_twins(tmp_path: Path, holes: int) -> None:
    for number in range(40):
        save(tmp_path / f"{number}.png", exposed(part(number, holes), number))
    assert twins(check_data(tmp_path)) == []


@pytest.mark.parametrize("holes", [0, 4])
def test_exposures_of_a_part_are_twins(tmp_path: Path, holes: int) -> None:
    for number in range(20):
        for exposure in range(2):
            picture = exposed(part(number, holes), 100 * exposure + number)
            save(tmp_path / f"part {number} {exposure}.png", picture)
    (finding,) = twins(check_data(tmp_path))
    pairs = {frozenset(name.split()[1] for name in pair) for pair in finding.items}
    assert pairs == {frozenset([str(number)]) for number in range(20)}


def test_exposures_of_good_parts_are_twins_in_spite_of_noise(tmp_path: Path) -> None:
    for number in range(20):
        for exposure in range(2):
            picture = exposed(plain(number), 100 * exposure + number, noise=6)
            save(tmp_path / f"part {number} {exposure}.png", picture)
    (finding,) = twins(check_data(tmp_path))
    pairs = {frozenset(name.split()[1] for name in pair) for pair in finding.items}
    assert pairs == {frozenset([str(number)]) for number in range(20)}


def test_many_exposures_of_one_part_are_not_taken_for_a_common_scene(tmp_path: Path) -> None:
    for exposure in range(40):
        save(tmp_path / f"{exposure}.png", exposed(part(0, 0), exposure))
    (finding,) = twins(check_data(tmp_path))
    assert len({name for pair in finding.items for name in pair}) == 40


@pytest.mark.parametrize(
    ("test", "twinned", "severity"), [(10, 2, "warning"), (10, 3, "spoils"), (62, 3, "warning")]
)
def test_many_twins_across_the_split_spoil_a_result(
    tmp_path: Path, test: int, twinned: int, severity: str
) -> None:
    for number in range(test):
        save(tmp_path / "test" / "a" / f"{number}.png", exposed(part(number, 0), number))
    for number in range(twinned):
        save(tmp_path / "train" / "a" / f"{number}.png", exposed(part(number, 0), 100 + number))
    report = check_data(tmp_path)
    (finding,) = twins(report)
    assert finding.severity == severity
    assert report.spoiled == (severity == "spoils")
    assert f"with a near twin in train: {twinned} of {test} " in finding.message


def test_many_twins_in_a_folder_of_classes_spoil_a_random_split(tmp_path: Path) -> None:
    for number in range(12):
        for exposure in range(2):
            picture = exposed(part(number, 0), 100 * exposure + number)
            save(tmp_path / "data" / f"class{number % 2}" / f"{number}_{exposure}.png", picture)
    (finding,) = twins(check_data(tmp_path / "data"))
    assert finding.severity == "spoils"
    assert "pictures with a near twin: 24 of 24 (12 pairs)" in finding.message
    assert twins(check_data(tmp_path / "data/class0"))[0].severity == "warning"
