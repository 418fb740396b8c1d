import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.images.surfaces import KINDS, generate_surface, synthesize
from cvgssl.images.surfaces.paths import nearest_curve
from cvgssl.images.surfaces.plan import COIL_LENGTH
from cvgssl.images.surfaces.texture import noise, specks
from cvgssl.runtime.errors import UserError


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_gray_uint8_and_not_flat(kind: str) -> None:
    picture = generate_surface(kind, seed=3, index=0)
    assert picture.shape == (200, 200)
    assert picture.dtype == np.uint8
    assert picture.std() > 2
    assert len(np.unique(picture)) > 20


@pytest.mark.parametrize("kind", KINDS)
def test_kind_seed_and_index_make_the_picture(kind: str) -> None:
    picture = generate_surface(kind, 1, 4)
    np.testing.assert_array_equal(picture, generate_surface(kind, 1, 4))
    assert np.any(picture != generate_surface(kind, 2, 4))
    assert np.any(picture != generate_surface(kind, 1, 5))
    other = KINDS[KINDS.index(kind) - 1]
    assert np.any(picture != generate_surface(other, 1, 4))


def test_another_process_makes_the_same_picture() -> None:
    code = (
        "import hashlib; from cvgssl.images.surfaces import generate_surface as g;"
        "print(hashlib.sha256(g('scratches', 9, 123).tobytes()).hexdigest())"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = hashlib.sha256(generate_surface("scratches", 9, 123).tobytes()).hexdigest()
    assert made.stdout.strip() == here


def test_other_sizes_show_the_same_plate() -> None:
    full = generate_surface("patches", 0, 0).astype(float)
    small = generate_surface("patches", 0, 0, size=50).astype(float)
    assert small.shape == (50, 50)
    averaged = full.reshape(50, 4, 50, 4).mean(axis=(1, 3))
    assert np.corrcoef(averaged.ravel(), small.ravel())[0, 1] > 0.95


def test_pictures_of_a_coil_are_more_alike_than_those_of_others() -> None:
    means = np.array(
        [
            [generate_surface("inclusion", 0, coil * COIL_LENGTH + i).mean() for i in range(3)]
            for coil in range(8)
        ]
    )
    assert means.std(axis=1).mean() < 0.7 * means.mean(axis=1).std()


def test_brightness_does_not_tell_the_class() -> None:
    bright = np.array(
        [[generate_surface(kind, 0, i * COIL_LENGTH).mean() for i in range(12)] for kind in KINDS]
    )
    assert bright.std() > 20  # plates differ widely
    for i in range(len(KINDS)):
        for j in range(i):
            assert max(bright[i].min(), bright[j].min()) < min(bright[i].max(), bright[j].max())


def test_lines_and_flakes_lie_as_the_strip_was_rolled() -> None:
    def edges(kind: str) -> tuple[float, float]:
        pictures = [generate_surface(kind, 5, i * COIL_LENGTH).astype(float) for i in range(8)]
        strength = [
            [np.quantile(np.abs(np.diff(p, 4, axis=axis)), 0.99) for p in pictures]
            for axis in (0, 1)
        ]
        return float(np.median(strength[0])), float(np.median(strength[1]))

    along, across = edges("scratches")
    assert across > 1.5 * along
    along, across = edges("rolled-in_scale")
    assert along > 1.2 * across


def test_noise_has_unit_variance_and_runs_along_its_angle() -> None:
    rng = np.random.default_rng(0)
    fields = [noise(rng, 6, 1.5) for _ in range(30)]
    assert np.mean([f.var() for f in fields]) == pytest.approx(1, abs=0.1)
    assert np.mean([f.mean() for f in fields]) == pytest.approx(0, abs=0.1)
    turned = noise(rng, 6, 1.5, np.pi / 2)
    assert np.diff(fields[0], axis=1).std() > 2 * np.diff(fields[0], axis=0).std()
    assert np.diff(turned, axis=0).std() > 2 * np.diff(turned, axis=1).std()


def test_a_single_speck_has_its_peak_and_width() -> None:
    density = np.zeros((200, 200))
    density[100, 60] = 1
    bump = specks(np.random.default_rng(0), density, along=6, across=3, angle=0)
    assert bump.argmax() == 100 * 200 + 60
    assert 0.6 <= bump.max() <= 1.4
    assert bump[106, 60] / bump[100, 60] == pytest.approx(np.exp(-0.5), rel=0.01)
    assert bump[100, 63] / bump[100, 60] == pytest.approx(np.exp(-0.5), rel=0.01)


def test_distance_from_a_straight_curve_is_exact() -> None:
    rows = np.arange(20, 100, dtype=float)
    points = np.stack([rows, np.full(80, 50.3)], axis=-1)[None]
    found = nearest_curve(points, np.array([80]))
    assert found is not None
    assert found.across[60, 55] == pytest.approx(4.7)
    assert found.distance[60, 45] == pytest.approx(5.3)
    assert found.along[60, 45] == pytest.approx(40)
    assert found.distance[120, 50] > 19  # beyond the end
    assert nearest_curve(points + 500, np.array([80])) is None


def test_the_folder_is_laid_out_as_neu(tmp_path: Path) -> None:
    synthesize(tmp_path / "steel", per_class=4, seed=0, test_fraction=0.25)
    names = set(hashes(tmp_path / "steel"))
    assert len(names) == 24
    assert "train/crazing/Cr_1.bmp" in names
    assert "train/rolled-in_scale/RS_3.bmp" in names
    assert "test/pitted_surface/PS_4.bmp" in names
    with Image.open(tmp_path / "steel/train/crazing/Cr_1.bmp") as picture:
        assert (picture.mode, picture.size, picture.format) == ("L", (200, 200), "BMP")
        np.testing.assert_array_equal(np.asarray(picture), generate_surface("crazing", 0, 0))
    assert [path.name for path in tmp_path.iterdir()] == ["steel"]


def test_workers_and_number_of_pictures_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(synthesize.__globals__, "_WORTH", 12)  # so that 24 pictures have 2 workers
    synthesize(tmp_path / "alone", per_class=4, seed=7, image_size=64)
    synthesize(tmp_path / "together", per_class=4, seed=7, image_size=64, workers=2)
    synthesize(tmp_path / "fewer", per_class=2, seed=7, image_size=64, test_fraction=0.5)
    alone = hashes(tmp_path / "alone")
    assert alone == hashes(tmp_path / "together")
    fewer = {Path(name).name: code for name, code in hashes(tmp_path / "fewer").items()}
    assert fewer.items() <= {Path(name).name: code for name, code in alone.items()}.items()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match=r"not an empty folder"):
        synthesize(tmp_path, per_class=2, seed=0)
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    target = tmp_path / "empty"
    target.mkdir()
    synthesize(target, per_class=2, seed=0, image_size=32, test_fraction=0.5, format="png")
    assert len(list(target.rglob("*.png"))) == 12


@pytest.mark.parametrize("fraction", [0.1, 0.9])
def test_an_empty_split_is_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(UserError, match="--test-fraction"):
        synthesize(tmp_path / "steel", per_class=3, seed=0, test_fraction=fraction)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        synthesize(tmp_path / "steel", per_class=2, seed=0)
    tmp_path.chmod(0o700)
    assert not list(tmp_path.iterdir())
