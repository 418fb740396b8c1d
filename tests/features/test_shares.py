"""Shares of pictures: all are in one, none in two, and few move when processes come or go."""

import numpy as np
import pytest

from cvgssl.features.shares import Share, own_share
from cvgssl.runtime.errors import UserError

NAMES = [f"train/crack/{number}.bmp" for number in range(4000)]


def owners(of: int) -> np.ndarray:
    """The process of each name."""
    owner = np.full(len(NAMES), -1)
    for number in range(of):
        rows = Share(number, of).rows(NAMES)
        assert (owner[rows] == -1).all(), "in two shares"
        owner[rows] = number
    return owner


def test_shares_are_of_nearly_the_same_size() -> None:
    for of in (1, 2, 7, 16):
        counts = np.bincount(owners(of), minlength=of)
        assert counts.sum() == len(NAMES)
        spread = (len(NAMES) / of) ** 0.5
        assert np.abs(counts - len(NAMES) / of).max() <= 4 * spread


def test_a_process_more_takes_from_all_and_no_other_picture_moves() -> None:
    before, after = owners(7), owners(8)
    moved = before != after
    assert set(after[moved]) == {7}
    assert set(before[moved]) == set(range(7))
    assert 0.08 < moved.mean() < 0.17, "an eighth"


def test_a_name_decides_and_not_what_is_beside_it() -> None:
    owner = owners(3)
    some = NAMES[5:2000:7]
    assert [NAMES[row] for row in range(len(NAMES)) if owner[row] == 1 and NAMES[row] in some] == [
        some[row] for row in Share(1, 3).rows(some)
    ]
    assert Share(0, 3).rows([]).tolist() == []
    assert len(Share(0, 1).rows(["caf\udce9.png"])) == 1, "no UTF-8"


def test_the_share_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert own_share() is None
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert own_share() is None
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    assert own_share() == Share(3, 4)
    for rank in ("4", "-1", "one"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(UserError, match=f"RANK={rank} WORLD_SIZE=4: must be the number"):
            own_share()
