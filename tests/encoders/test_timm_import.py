"""What importing timm does not import, and that it is there when it is used."""

import subprocess
import sys

SCRIPT = """
import sys
import torch
real = torch.compiler.disable
from cvgssl.encoders.timm_import import timm, torchvision
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


def test_slow_packages_are_put_off() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_code_that_needs_the_compiler_meanwhile_gets_it() -> None:
    script = (
        "import sys\n"
        "from cvgssl.encoders import timm_import\n"
        "with timm_import.put_off(timm_import._SLOW), timm_import._disabling_later():\n"
        "    import torch._dynamo\n"
        "    assert torch._dynamo.utils.counters is not None\n"
        "    import wandb\n"
        "    assert wandb.init is not None\n"
        "assert sys.modules['torch._dynamo.utils'] is torch._dynamo.utils\n"
        "assert sys.modules['wandb'].init is wandb.init\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
