"""How large a network would be, known before any memory is taken for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from cvgssl.runtime.errors import UserError

MOST_NUMBERS = 10**10
"""Largest network that is built: 40 GB in float32; the largest of timm's has 6.7e9 numbers."""
MOST_TENSORS = 5_000
_TIMES, _MORE_NUMBERS = 16, 50_000_000
_DRAWS = frozenset({"normal_", "uniform_", "kaiming_uniform_", "erfinv_"})
_FILLS = _DRAWS | {"mul_", "add_", "clamp_", "fill_", "zero_"}


class TooLargeError(UserError):
    """The network would have more numbers or tensors than are built."""


class _Without(TorchFunctionMode):
    """Leaves out these methods of tensors and functions of torch.nn.init, which fill a tensor."""

    def __init__(self, methods: frozenset[str]) -> None:
        super().__init__()
        self.methods = methods

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if getattr(func, "__name__", "") in self.methods:
            return args[0] if args else named["tensor"]  # torch.nn.init gives it by its name
        return func(*args, **named)


def check_extent(build: Callable[[], object]) -> None:
    """Raise TooLargeError for a network that `build` would make too large.

    It is built on torch's meta device, which takes no memory for numbers and draws none. What it
    raises for wrong options comes through; what only that device cannot do is left to the real
    building.
    """
    try:
        with bounded(), torch.device("meta"), _Without(_FILLS):  # filling takes most of the time
            build()
    except Exception as error:
        if "meta" not in str(error).lower():
            raise


def undrawn() -> AbstractContextManager[object]:
    """Inside the block networks are built without drawing their random weights.

    For weights that a file is about to give, all of them: drawing takes longer than reading.
    What was not given afterwards is memory as it was.
    """
    return _Without(_DRAWS)


@contextmanager
def bounded(
    numbers: int | None = None,
    tensors: int | None = None,
    reason: str = "which is no network to train or to run here",
) -> Iterator[None]:
    """Raise TooLargeError as soon as the networks built inside have more parameters than that.

    numbers, tensors: by default MOST_NUMBERS and MOST_TENSORS.

    They are counted as they are registered, before they are filled, so that a description such as
    depth=1000000 costs nothing.
    """
    numbers, tensors = numbers or MOST_NUMBERS, tensors or MOST_TENSORS
    counted = [0, 0]

    def count(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            counted[0] += parameter.numel()
            counted[1] += 1
        if counted[0] > numbers or counted[1] > tensors:
            raise TooLargeError(f"more than {numbers:,} numbers or {tensors:,} tensors, {reason}")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def bounded_by(weights: Mapping[str, Tensor]) -> AbstractContextManager[None]:
    """`bounded` by many times the numbers of a file's `weights`.

    A classifier that is built and dropped again may be larger than the rest (VGG's is, 9 times).
    """
    numbers = sum(tensor.numel() for tensor in weights.values())
    return bounded(
        _TIMES * numbers + _MORE_NUMBERS,
        _TIMES * len(weights) + MOST_TENSORS,
        "many times what the file holds",
    )
