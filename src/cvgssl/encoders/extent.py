"""How large a network would be, known before any memory is taken for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from cvgssl.runtime.errors import UserError

MOST_NUMBERS = 10**10
"""Largest network that is built: 40 GB in float32; the largest of timm's has 6.7e9 numbers."""
MOST_TENSORS = 5_000


class TooLargeError(UserError):
    """The network would have more numbers or tensors than are built."""


def check_extent(build: Callable[[], object]) -> None:
    """Raise TooLargeError for a network that `build` would make too large.

    It is built on torch's meta device, which takes no memory for numbers and draws none. What it
    raises for wrong options comes through; what only that device cannot do is left to the real
    building.
    """
    try:
        with bounded(), torch.device("meta"):
            build()
    except Exception as error:
        if "meta" not in str(error).lower():
            raise


@contextmanager
def bounded() -> Iterator[None]:
    """Raise TooLargeError as soon as the networks built inside have too much."""
    numbers = tensors = 0

    def count(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> None:
        nonlocal numbers, tensors
        if parameter is not None:
            numbers, tensors = numbers + parameter.numel(), tensors + 1
        if numbers > MOST_NUMBERS or tensors > MOST_TENSORS:
            raise TooLargeError(
                f"more than {MOST_NUMBERS:,} numbers or {MOST_TENSORS:,} tensors, which is no "
                "network to train or to run here"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
