"""Secrets that are tried one after the other."""

import pytest

from cvgssl.station import brake as module
from cvgssl.station.brake import Brake


def test_ten_wrong_ones_in_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    brake = Brake()
    brake.note("plc", "right", True)
    for number in range(10):
        assert brake.seconds("plc", "x") == 0
        brake.note("plc", f"wrong {number}", False)
        now += 1
    assert brake.seconds("plc", "x") == 51  # from the first of the ten on
    assert brake.seconds("plc", "right") == 0 and brake.seconds("other", "x") == 0
    now += 50
    assert brake.seconds("plc", "x") == 0
    brake.note("plc", "wrong", False)
    assert brake.seconds("plc", "x") > 0


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ADDRESSES", 3)
    brake = Brake()
    for number in range(9):
        brake.note(f"{number}", "wrong", False)
        brake.note(f"{number}", "right", True)
    assert list(brake._wrong) == ["6", "7", "8"] and len(brake._right) == 3
