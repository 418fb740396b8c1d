"""`cvgssl station FOLDER`: answer programs over HTTP until Ctrl-C."""

from collections.abc import Sequence

from cvgssl.cli.command import Command
from cvgssl.station.config import StationConfig

COMMAND = Command(StationConfig, positional=("folder",))


def run(argv: Sequence[str], prog: str) -> int:
    """Serve; the exit code is 0 when it was asked to end."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.station.serve import serve

    serve(config)
    return 0
