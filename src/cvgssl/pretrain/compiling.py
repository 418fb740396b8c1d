"""torch.compile, with its failures told as errors of the options."""

from collections.abc import Iterator
from contextlib import contextmanager

from cvgssl.runtime.errors import UserError


@contextmanager
def compile_errors(compiled: bool) -> Iterator[None]:
    """Turn what torch cannot compile into a UserError; nothing if nothing is `compiled`.

    Networks are compiled when they first run, so this belongs around the whole training.
    """
    if not compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # takes seconds; torch has no public name

    try:
        yield
    except TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--compile: torch cannot compile this network here ({reason}); on a CPU it needs a "
            "C++ compiler, on a GPU Triton; leave --compile out to train without"
        ) from error
