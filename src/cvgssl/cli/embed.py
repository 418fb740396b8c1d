"""`cvgssl embed DATA --encoder SPEC --out FILE`: embeddings of all pictures, into one file.

One of several processes (see `features/shares.py`) writes the part of its share into a folder.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cvgssl.cli.command import Command
from cvgssl.features.config import EmbedConfig
from cvgssl.runtime.errors import of_this_process

if TYPE_CHECKING:
    from cvgssl.features.feature_store import Rows
    from cvgssl.features.shares import Share
    from cvgssl.features.table import FeatureTable

COMMAND = Command(EmbedConfig, positional=("data",))


def run(argv: Sequence[str], prog: str) -> int:
    """Embed and write; says on stderr how many were computed and how many were in the cache."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.features.embed import embed_all
    from cvgssl.features.mirrors import embed_mirrored_train
    from cvgssl.features.shares import own_share
    from cvgssl.features.table import SPLITS, check_target
    from cvgssl.images.decoding import left_out

    share = own_share()
    for path in (config.out, config.mirrored):
        if path is not None:
            check_target(path, share)
    started = time.monotonic()
    embedded = embed_all(config, share)
    table, seconds = embedded.table, time.monotonic() - started
    with of_this_process():
        if config.mirrored is not None:
            (mirrored,) = embed_mirrored_train([(embedded, config)], "both")
            assert mirrored is not None, "checked with the options"
            train = [split == SPLITS[0] for split in table.splits]
            _write(mirrored, embedded.places[train], share, config.mirrored)
        written = _write(table, embedded.places, share, config.out)
    skipped = left_out(embedded.skipped)
    numbers = len(table) * len(table.about["encoders"])
    labelled = int((table.labels >= 0).sum())
    rate = f", {embedded.computed / seconds:.0f} a second" if embedded.computed else ""
    print(
        f"{written}: {len(table)} pictures ({labelled} labelled), {table.values.shape[1]} "
        f"numbers each, by {table.about['encoder']}\n"
        f"{embedded.computed} embeddings computed, {numbers - embedded.computed} found in the "
        f"cache; {seconds:.1f} s{rate}{'; ' if skipped else ''}{skipped}",
        file=sys.stderr,
    )
    return 0


def _write(table: "FeatureTable", places: "Rows", share: "Share | None", out: Path) -> Path:
    """Write a table, or a share of one with the places of its rows; gives the file."""
    from cvgssl.features.table import save_features, save_part

    if share is not None:
        return save_part(table, places, share, out)
    save_features(table, out)
    return out
