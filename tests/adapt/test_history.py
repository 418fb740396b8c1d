from pathlib import Path

import pytest

from cvgssl.adapt.history import DrawHistory
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.run import Clock, RunFolder


@pytest.mark.parametrize("trainer", [{}, {"epoch": "two"}, 3, [1]])
def test_a_snapshot_without_an_epoch_is_a_damaged_one(trainer: object, tmp_path: Path) -> None:
    snapshot = {"seconds": 1.0, "finished": "[]", "trainer": trainer}
    with pytest.raises(UserError, match="damaged"), RunFolder(tmp_path).restoring():
        DrawHistory(Clock()).restore(snapshot)
