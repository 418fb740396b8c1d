"""Examples in docstrings give what they say, and every head documents itself the same way."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

import cvgssl
from cvgssl.heads import ALL_HEADS, CalibratedHead, FewShotHead, OpenSetHead

SOURCE = Path(cvgssl.__file__).parent
WITH_EXAMPLES = [
    path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")
]
DOCUMENTED = {name: ALL_HEADS[name] for name in ALL_HEADS} | {
    "calibrated": CalibratedHead,
    "open-set": OpenSetHead,
}
SECTIONS = ["Parameters", "Attributes", "References", "Examples"]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    name = ".".join(["cvgssl", *path.relative_to(SOURCE).with_suffix("").parts])
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_head_has_all_sections_and_an_example(name: str) -> None:
    head = DOCUMENTED[name]
    text = inspect.cleandoc(vars(head)["__doc__"])  # its own, not that of the class above
    assert re.findall(r"^(\w+)\n-+$", text, flags=re.MULTILINE) == SECTIONS
    examples = doctest.DocTestParser().get_examples(text.partition("Examples\n---")[2])
    assert any(f"{head.__name__}(" in example.source for example in examples)
    assert any(example.want for example in examples), "an example shows what comes out"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_parameter_is_documented(name: str) -> None:
    head: type[FewShotHead] = DOCUMENTED[name]
    section = vars(head)["__doc__"].partition("Parameters\n")[2].partition("Attributes\n")[0]
    lines = re.findall(r"^    (\w[\w, ]*?)(?: : .*)?$", section, flags=re.MULTILINE)
    documented = [word for line in lines for word in line.split(", ")]
    assert sorted(documented) == sorted(head().get_params(deep=False))
