"""One cosine for every schedule of the package."""

import math

import pytest

from cvgssl.runtime.schedule import cosine


def test_from_start_to_end() -> None:
    assert [cosine(done, 4) for done in (0, 2, 4)] == pytest.approx([1, 0.5, 0])
    assert [cosine(share, start=0.9, end=1.0) for share in (0, 0.5, 1)] == pytest.approx(
        [0.9, 0.95, 1]
    )
    assert cosine(1, 4, start=0.3) == pytest.approx(0.3 * (1 + 2**-0.5) / 2)


@pytest.mark.parametrize("total", [3, 7, 100, 300])
def test_bit_for_bit_what_the_formulas_of_its_users_give(total: int) -> None:
    """Rates of runs that are compared or resumed must not change in the last digit."""
    for done in range(total):
        share = done / total
        rate = 0.3 * 0.5 * (1 + math.cos(math.pi * share))
        assert cosine(share, start=0.3) == rate
        momentum = 1 - (1 - 0.99) * (math.cos(math.pi * share) + 1) / 2
        assert cosine(share, start=0.99, end=1.0) == momentum
        assert cosine(done, total) == 0.5 * (1 + math.cos(math.pi * done / total))
