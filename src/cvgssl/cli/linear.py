"""`cvgssl linear DATA`: train a linear classifier on a frozen backbone's features."""

from collections.abc import Sequence

from cvgssl.cli.adapt import run_adaptation
from cvgssl.cli.options import parse
from cvgssl.fewshot.config import LinearConfig


def run(argv: Sequence[str], prog: str) -> int:
    """Parse the options and do the job."""
    return run_adaptation(parse(LinearConfig, argv, prog, positional=("data",)), prog)
