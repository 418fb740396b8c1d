from typing import Any

import numpy as np
import pytest

from cvgssl.features.preparation import Preparation

ROWS = np.random.default_rng(0).gamma(0.5, size=(200, 30))


def power(rows: np.ndarray) -> np.ndarray:
    variance = rows.var(axis=0)
    scaled = (rows - rows.mean(axis=0)) / (variance + variance.mean()) ** 0.5
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)


def test_power_takes_roots_of_activations_and_shrinks_deviations() -> None:
    signed = ROWS - 1
    np.testing.assert_allclose(Preparation().fit_transform(ROWS), power(ROWS**0.5))
    np.testing.assert_allclose(Preparation().fit_transform(signed), power(signed))
    single = Preparation().fit_transform(ROWS.astype(np.float32))
    np.testing.assert_allclose(single, power(ROWS**0.5), atol=1e-5)
    slightly = Preparation().fit(ROWS).transform(np.r_[-1e-9, ROWS[0, 1:]][None])
    assert np.isfinite(slightly).all()


def test_what_train_pictures_do_not_show_says_little_about_others() -> None:
    """Where most pictures look alike, many activations first occur in a new picture."""
    train = np.hstack([ROWS, np.zeros((200, 5))])
    new = train + np.r_[np.zeros(30), np.full(5, 0.05)]
    for mode, low, high in (("power", 0.9, 1), ("standardize", 0, 0.1)):
        preparation = Preparation(mode).fit(train)  # type: ignore[arg-type]
        cosine = np.vecdot(preparation.transform(train), preparation.transform(new))
        assert low < np.abs(cosine).mean() <= high, mode


@pytest.mark.parametrize("mode", ["power", "center", "none", "standardize", "whiten"])
def test_blocks_are_prepared_by_themselves_and_weigh_as_told(mode: Any) -> None:
    blocks = [(10, 3.0), (20, 1.0)]
    first, second = ROWS[:, :10], 1000 * ROWS[:, 10:] - 300
    together = Preparation(mode, blocks).fit_transform(np.hstack([first, second]))
    alone = [Preparation(mode).fit_transform(block) for block in (first, second)]
    np.testing.assert_allclose(together, np.hstack([alone[0] * 0.75**0.5, alone[1] * 0.5]))
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1)


def test_a_row_depends_on_itself_and_on_what_was_learned_from() -> None:
    preparation = Preparation().fit(ROWS[:100])
    before = preparation.transform(ROWS[100:])
    other = ROWS[100:].copy()
    other[7] *= 3 * np.arange(30)
    after = preparation.transform(other)
    assert np.array_equal(np.delete(before, 7, 0), np.delete(after, 7, 0))
    assert not np.allclose(before[7], after[7])


def test_pictures_that_are_all_alike() -> None:
    same = np.full((5, 4), 2.0)
    for mode in ("power", "center", "standardize"):
        prepared = Preparation(mode).fit(same)  # type: ignore[arg-type]
        assert not prepared.transform(same).any()
        np.testing.assert_allclose(
            np.linalg.norm(prepared.transform(same + np.eye(4)[1]), axis=1), 1
        )


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="mode 'scale': one of power, center"):
        Preparation("scale").fit(ROWS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="are not those of 30 numbers"):
        Preparation(blocks=[(10, 1.0), (10, 1.0)]).fit(ROWS)
