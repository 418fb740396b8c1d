"""The examples in the docstrings of heads and of what they consist of give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import cvgssl

SOURCE = Path(cvgssl.__file__).parent
WITH_EXAMPLES = [
    path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    name = ".".join(["cvgssl", *path.relative_to(SOURCE).with_suffix("").parts])
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0
    assert failed == 0


def test_heads_have_examples() -> None:
    names = {path.stem for path in WITH_EXAMPLES}
    assert names >= {"auto", "diffusion", "linear", "nearest_mean", "open_set", "text"}
