"""`cvgssl export RECOGNIZER OUT`: a recognizer for other programs, checked."""

from collections.abc import Sequence

from cvgssl.cli.command import Command
from cvgssl.export.config import ExportConfig

COMMAND = Command(ExportConfig, positional=("recognizer", "out"))


def run(argv: Sequence[str], prog: str) -> int:
    """Write the file and say how well it agrees."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.export.job import export

    summary = export(config)
    head = f"{config.out}: {summary.bytes / 1e6:.1f} MB, {len(summary.classes)} classes"
    changes = summary.int8
    if changes is not None:
        print(
            f"{head}, encoders in int8; in {summary.program} none of {changes.labelled} labelled "
            f"pictures and {changes.changed} of {changes.pool} of its own pool get another class, "
            f"and probabilities differ by at most {changes.probability:.2f}"
        )
    else:
        print(
            f"{head}; in {summary.program} {summary.golden.pictures} made-up pictures get the same "
            f"class, and probabilities that differ by at most {summary.golden.probability:.1e}"
        )
        if summary.pool is None:
            print("no picture of its own pool was at hand or asked for: none was checked")
        else:
            print(
                f"{summary.pool.pictures} pictures of its own pool: the same, by at most "
                f"{summary.pool.probability:.1e}"
            )
    if summary.taught is not None:
        print(summary.taught)
    print(f"check it on another machine: cvgssl verify {config.out}")
    return 0
