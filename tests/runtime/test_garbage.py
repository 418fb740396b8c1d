import gc
import weakref
from collections.abc import Iterator

import pytest

from cvgssl.runtime.launch import only_new_garbage


class Knot:
    """Something that only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _nothing_frozen() -> Iterator[None]:
    """As in a command; the tests have frozen what they imported."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_what_was_made_before_is_left_for_later() -> None:
    gc.disable()  # not in between
    old = weakref.ref(Knot())
    with only_new_garbage():
        new = weakref.ref(Knot())
        gc.collect()
        assert new() is None and old() is not None
    assert gc.get_freeze_count() == 0
    gc.enable()
    gc.collect()
    assert old() is None


def test_it_ends_with_an_error_and_leaves_what_others_froze() -> None:
    with pytest.raises(ValueError, match="of the block"), only_new_garbage():
        raise ValueError("of the block")
    assert gc.get_freeze_count() == 0
    gc.freeze()
    frozen = gc.get_freeze_count()
    with only_new_garbage():
        pass
    assert gc.get_freeze_count() >= frozen > 0
