"""Modules that are imported only when something of them is used."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cvgssl.runtime.put_off import put_off


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module `slow` that nobody has imported, with a function, a number and an object."""
    (tmp_path / "slow.py").write_text(
        "def twice(x):\n    return 2 * x\nnumber = 3\nwords = ['a', 'b']\n"
    )
    (tmp_path / "user.py").write_text(
        "import slow\nfrom slow import twice, words\n"
        "def of(x):\n    return slow.number * twice(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("slow", "user"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "slow"


def user_of(slow: str) -> ModuleType:
    with put_off({slow: ("twice", "words"), "not_installed_anywhere": ()}):
        user = importlib.import_module("user")
        assert "not_installed_anywhere" not in sys.modules
    assert slow not in sys.modules
    return user


def test_what_is_taken_works_when_it_is_used(slow: str) -> None:
    user = user_of(slow)
    assert user.of(5) == 30
    assert user.words.index("b") == 1
    assert sys.modules[slow].number == 3


def test_what_is_used_meanwhile_is_the_module_itself(slow: str) -> None:
    with put_off({slow: ("twice",)}):
        user = importlib.import_module("user")
        assert user.words == ["a", "b"] and user.of(1) == 6
    assert importlib.import_module(slow).twice(2) == 4


def test_a_module_that_is_there_stays(slow: str) -> None:
    module = importlib.import_module(slow)
    with put_off({slow: ("twice",)}):
        assert importlib.import_module(slow) is module
    assert sys.modules[slow] is module
