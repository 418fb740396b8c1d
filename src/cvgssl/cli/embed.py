"""`cvgssl embed DATA --encoder SPEC --out FILE`: embeddings of all pictures, into one file."""

import sys
from collections.abc import Sequence

from cvgssl.cli.command import Command
from cvgssl.features.config import EmbedConfig

COMMAND = Command(EmbedConfig, positional=("data",))


def run(argv: Sequence[str], prog: str) -> int:
    """Embed and write; says on stderr how many were computed and how many were in the cache."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.features.embed import embed_counting
    from cvgssl.features.table import check_target, save_features

    check_target(config.out)
    table, work = embed_counting(config)
    save_features(table, config.out)
    numbers = len(table) * len(table.about["encoders"])
    labelled = int((table.labels >= 0).sum())
    rate = f", {work.computed / work.seconds:.0f} a second" if work.computed else ""
    print(
        f"{config.out}: {len(table)} pictures ({labelled} labelled), {table.values.shape[1]} "
        f"numbers each, by {table.about['encoder']}\n"
        f"{work.computed} embeddings computed, {numbers - work.computed} found in the cache; "
        f"{work.seconds:.1f} s{rate}"
        + (f"; {work.skipped} unreadable pictures left out" if work.skipped else ""),
        file=sys.stderr,
    )
    return 0
