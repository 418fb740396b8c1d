"""A bound on the network that a file's own description may ask for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from cvgssl.runtime.errors import UserError

# a classifier that is built and dropped again may be larger than the rest (VGG's is, 9 times)
_TIMES, _MORE_TENSORS, _MORE_NUMBERS = 16, 5_000, 50_000_000


@contextmanager
def no_larger_than(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside the block, raise UserError when networks have many times the numbers of `weights`.

    Counted as parameters are registered, before they are filled, so that a description such as
    depth=1000000 costs nothing.
    """
    tensors = _TIMES * len(weights) + _MORE_TENSORS
    numbers = _TIMES * sum(tensor.numel() for tensor in weights.values()) + _MORE_NUMBERS

    def count(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> None:
        nonlocal tensors, numbers
        tensors -= 1
        numbers -= 0 if parameter is None else parameter.numel()
        if tensors < 0 or numbers < 0:
            raise UserError("it would be many times larger than the file's weights")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
