"""What importing timm does not import, that it is there when it is used, and that it is silent."""

import subprocess
import sys
from typing import NamedTuple

import pytest

IMPORT = """
import os, sys
import torch
real = torch.compiler.disable
from cvgssl.encoders.timm_import import timm, torchvision
timm.create_model
for stream in (sys.stdout, sys.stderr):
    print("imported", file=stream, flush=True)
"""
PUT_OFF = """
slow = ("torch._dynamo", "torch._dynamo.utils", "wandb", "sympy", "scipy", "sklearn")
assert not [name for name in slow if name in sys.modules]
assert torch.compiler.disable is real
import timm.layers.typing as typing
import timm.utils
summary = sys.modules["timm.utils.summary"]
tracker = sys.modules["timm.utils.summary"].wandb
@typing.disable_compiler
def more(number):
    return number + 1
@typing.disable_compiler(recursive=False)
def less(number):
    return number - 1
assert more.__name__ == "more" and "torch._dynamo" not in sys.modules
assert more(2) == 3 and less(2) == 1 and "torch._dynamo" in sys.modules
compiles = sys.modules["torchvision.ops.roi_align"].is_compile_supported
assert compiles("cpu") is torch._dynamo.utils.is_compile_supported("cpu")
assert tracker.log is sys.modules["wandb"].log
def twice(x):
    return 2 * x
assert torch.compile(twice, backend="eager")(torch.ones(2)).tolist() == [2, 2]
"""
MEANWHILE = """
from cvgssl.encoders import timm_import
with timm_import.put_off(timm_import._SLOW), timm_import._disabling_later():
    import torch._dynamo
    assert torch._dynamo.utils.counters is not None
    import wandb
    assert wandb.init is not None
assert sys.modules["torch._dynamo.utils"] is torch._dynamo.utils
assert sys.modules["wandb"].init is wandb.init
"""
# a script by itself after the import, in a fork, which has the import without its seconds
EACH = """
for script in sys.argv[1:]:
    if os.fork() == 0:
        exec(script)
        break
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


class Ended(NamedTuple):
    """What was said on both streams, and the codes with which PUT_OFF and MEANWHILE ended."""

    said: tuple[str, str]
    codes: list[int]


@pytest.fixture(scope="module")
def ended() -> Ended:
    if sys.platform == "linux":
        done = run(IMPORT + EACH, PUT_OFF, MEANWHILE)
        return Ended((done.stdout, done.stderr), list(map(int, done.stdout.split()[1:])))
    done, other = run(IMPORT + PUT_OFF), run(IMPORT + MEANWHILE)
    return Ended((done.stdout, done.stderr + other.stderr), [done.returncode, other.returncode])


def run(code: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)


def test_import_is_silent(ended: Ended) -> None:
    out, errors = ended.said
    assert set(out.split()) <= {"imported", *map(str, ended.codes)}, out
    assert set(errors.split()) == {"imported"}, errors


def test_slow_packages_are_put_off(ended: Ended) -> None:
    assert ended.codes[0] == 0, ended.said


def test_code_that_needs_the_compiler_meanwhile_gets_it(ended: Ended) -> None:
    assert ended.codes[1] == 0, ended.said
