"""`cvgssl linear DATA`: train a linear classifier on a frozen backbone's features."""

from collections.abc import Sequence

from cvgssl.adapt.config import LinearConfig
from cvgssl.cli.adapt import run_adaptation
from cvgssl.cli.command import Command

COMMAND = Command(LinearConfig, positional=("data",))


def run(argv: Sequence[str], prog: str) -> int:
    """Parse the options and do the job."""
    return run_adaptation(COMMAND.parse(argv, prog), prog)
