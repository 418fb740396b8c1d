"""`cvgssl finetune DATA`: fine-tune a backbone on a few labelled pictures per class."""

from collections.abc import Sequence

from cvgssl.adapt.config import FinetuneConfig
from cvgssl.cli.adapt import run_adaptation
from cvgssl.cli.command import Command

COMMAND = Command(FinetuneConfig, positional=("data",))


def run(argv: Sequence[str], prog: str) -> int:
    """Parse the options and do the job."""
    return run_adaptation(COMMAND.parse(argv, prog), prog)
