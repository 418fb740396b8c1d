"""`timm`, importable although torchvision's compiled extension does not fit the torch build.

timm imports torchvision, and torchvision registers shape functions for two operators that its
extension defines. Where that extension cannot be loaded (torchvision built for CUDA beside a
CPU-only torch, say) the import ends in "operator torchvision::nms does not exist", although
nothing here uses these operators. They are then declared beforehand, without an implementation.

Both import torch's compiler, and timm a tracker of runs, which takes longer than all the rest.
These imports are put off until the compiler or the tracker is used.
"""

import functools
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from cvgssl.runtime.put_off import put_off

_SLOW: dict[str, tuple[str, ...]] = {
    "torch._dynamo.utils": ("is_compile_supported",),  # torchvision takes it
    "wandb": (),
}
_OPERATORS = ("nms", "qnms")
_kept: list[torch.library.Library] = []  # a library's declarations vanish with it


def _extension_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed; importing timm will say so
    for file in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError):
            continue
        return True
    return False


def _declare_missing_operators() -> None:
    if "torchvision" in sys.modules or _extension_loads():
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]
    _kept.append(library)


@contextmanager
def _disabling_later() -> Iterator[None]:
    """Inside the block functions are kept from the compiler when they are called, by `_disable`."""
    disable = torch.compiler.disable
    torch.compiler.disable = _disable  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compiler.disable = disable


def _disable(
    function: Callable[..., Any] | None = None, recursive: bool = True, **options: Any
) -> Callable[..., Any]:
    """`torch.compiler.disable`, done when the function is called."""
    if function is None:
        return functools.partial(_disable, recursive=recursive, **options)
    disabled: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def call(*words: Any, **named: Any) -> Any:
        if not disabled:
            disable: Any = torch.compiler.disable
            disabled.append(disable(function, recursive, **options))
        return disabled[0](*words, **named)

    return call


with warnings.catch_warnings(), put_off(_SLOW), _disabling_later():
    warnings.simplefilter("ignore")
    _declare_missing_operators()
    import timm
    import torchvision
    from timm.models import group_parameters

__all__ = ["group_parameters", "timm", "timm_optimizers", "torchvision"]


def timm_optimizers() -> ModuleType:
    """timm.optim, which imports torch's compiler and lets it compile a function any often."""
    return importlib.import_module("timm.optim")
