"""`cvgssl finetune DATA`: fine-tune a backbone on a few labelled pictures per class."""

from collections.abc import Sequence

from cvgssl.cli.adapt import run_adaptation
from cvgssl.cli.options import parse
from cvgssl.fewshot.config import FinetuneConfig


def run(argv: Sequence[str], prog: str) -> int:
    """Parse the options and do the job."""
    return run_adaptation(parse(FinetuneConfig, argv, prog, positional=("data",)), prog)
