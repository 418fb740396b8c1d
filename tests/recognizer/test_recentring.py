"""Train pictures moved to where a changed camera shows them."""

from pathlib import Path

import numpy as np
import pytest

from cvgssl.recognizer.card import load_recognizer
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.recentring import recentre, recentred
from cvgssl.runtime.errors import UserError


def test_they_move_as_far_as_others_have_moved() -> None:
    generator = np.random.default_rng(0)
    train, line = generator.normal(0, 1, (9, 4)), generator.normal(0, 1, (80, 4))
    moved = recentred(train, line, line + np.array([0.5, 0, -2, 0]))
    assert np.allclose(moved - train, [0.5, 0, -2, 0], atol=1e-6)
    assert moved.dtype == np.float32


def test_without_negative_numbers_square_roots_move() -> None:
    generator = np.random.default_rng(1)
    train, line = generator.random((9, 4)) + 1, generator.random((80, 4)) + 1
    moved = recentred(train, line, (np.sqrt(line) + 0.3) ** 2)
    assert np.allclose(np.sqrt(moved), np.sqrt(train) + 0.3, atol=1e-5)
    assert (recentred(train, line, 0 * line) >= 0).all()


def test_a_recognizer_is_written_whole(steel: Path, teacher_file: Path, tmp_path: Path) -> None:
    config = FitConfig(
        data=steel, encoder=(f"test_vit={teacher_file}",), image_size=32, shot=2,
        out=tmp_path / "fit",
    )  # fmt: skip
    folder, _ = fit(config)
    card, kept = load_recognizer(folder)
    line = np.random.default_rng(2).normal(0, 1, (60, kept.train.values.shape[1]))
    line = line.astype(np.float32)
    with pytest.raises(UserError, match="49 pictures before the change and 60 since"):
        recentre(folder, line[:49], line, tmp_path / "few")
    assert not (tmp_path / "few").exists()
    recentre(folder, line, line + 1, tmp_path / "moved")
    again, moved = load_recognizer(tmp_path / "moved")
    assert again.classes == card.classes and moved.train.names == kept.train.names
    assert np.allclose(moved.train.values - kept.train.values, 1, atol=1e-4)
    assert kept.mirrored is not None and moved.mirrored is not None
    assert np.allclose(moved.mirrored.values - kept.mirrored.values, 1, atol=1e-4)
