"""`cvgssl recentre RECOGNIZER OUT --alarm FILE`: a recognizer for a lamp or camera that changed."""

from collections.abc import Sequence

from cvgssl.cli.command import Command
from cvgssl.recognizer.config import RecentreConfig
from cvgssl.runtime.parsing import one_line

COMMAND = Command(RecentreConfig, positional=("recognizer", "out"))


def run(argv: Sequence[str], prog: str) -> int:
    """Write the folder; say by what it was moved and what comes next."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.recognizer.recentring import recentre_by

    before, after, joined = recentre_by(config)
    learned = f"; {joined.labels} labels of these are learned, too" if joined.labels else ""
    if joined.classes:
        learned += f" (new: {', '.join(map(one_line, joined.classes))})"
    print(
        f"{config.out}: {config.recognizer}, its train pictures moved by what {before} pictures "
        f"before the change and {after} since differ by{learned}"
    )
    print(
        "how good it is was not measured: where other kinds of pictures come than before it is "
        f"worse; compare the answers of both: cvgssl predict {config.out} PICTURES"
    )
    return 0
