"""`cvgssl embed DATA --encoder SPEC --out FILE`: embeddings of all pictures, into one file."""

import sys
import time
from collections.abc import Sequence

from cvgssl.cli.command import Command
from cvgssl.features.config import EmbedConfig

COMMAND = Command(EmbedConfig, positional=("data",))


def run(argv: Sequence[str], prog: str) -> int:
    """Embed and write; says on stderr how many were computed and how many were in the cache."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.features.embed import embed_all
    from cvgssl.features.mirrors import embed_mirrored_train
    from cvgssl.features.table import check_target, save_features

    for path in (config.out, config.mirrored):
        if path is not None:
            check_target(path)
    started = time.monotonic()
    embedded = embed_all(config)
    table, seconds = embedded.table, time.monotonic() - started
    if config.mirrored is not None:
        (mirrored,) = embed_mirrored_train([(embedded, config)], "both")
        assert mirrored is not None, "checked with the options"
        save_features(mirrored, config.mirrored)
    save_features(table, config.out)
    numbers = len(table) * len(table.about["encoders"])
    labelled = int((table.labels >= 0).sum())
    rate = f", {embedded.computed / seconds:.0f} a second" if embedded.computed else ""
    print(
        f"{config.out}: {len(table)} pictures ({labelled} labelled), {table.values.shape[1]} "
        f"numbers each, by {table.about['encoder']}\n"
        f"{embedded.computed} embeddings computed, {numbers - embedded.computed} found in the "
        f"cache; {seconds:.1f} s{rate}"
        + (f"; {embedded.skipped} unreadable pictures left out" if embedded.skipped else ""),
        file=sys.stderr,
    )
    return 0
