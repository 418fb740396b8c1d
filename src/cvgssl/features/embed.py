"""Embeddings of all pictures of a data set, each computed once.

`embed` is where to begin reading: it lists the pictures, hashes their files, asks the cache which
embeddings are there, computes the others, and puts encoders side by side. torch is imported only
when something is to be computed.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvgssl import __version__
from cvgssl.features.cache import FeatureStore, Values, scratch
from cvgssl.features.config import AUTO, EmbedConfig
from cvgssl.features.encoder_requests import EncoderRequest, requested_encoders
from cvgssl.features.pictures import Listing, list_data
from cvgssl.features.record import EncoderRecord, keep_record, parts_of, recorded
from cvgssl.features.table import SPLITS, FeatureTable
from cvgssl.images.cache import default_cache_dir
from cvgssl.images.decoding import check_readable, hash_files
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress

if TYPE_CHECKING:
    from cvgssl.features.encoder import Encoder

Rows = NDArray[np.intp]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedCounts:
    """What one call did: pictures embedded, by all encoders; pictures left out; seconds."""

    computed: int
    skipped: int
    seconds: float


def embed(config: EmbedConfig) -> FeatureTable:
    """The embeddings of all pictures of `config.data`; `config.out` is not written.

    The values may lie in a file, memory-mapped, that goes with them. Test pictures influence
    nothing but their own rows.
    Raises UserError for whatever is wrong with data, encoders or pictures.
    """
    return embed_counting(config)[0]


def embed_counting(config: EmbedConfig) -> tuple[FeatureTable, EmbedCounts]:
    """The same, and what it took."""
    start = time.monotonic()
    table, found, records, work = _encode(config)
    values = _values(found, records, table, config)
    table = replace(table, values=values, about=_about(records, config))
    return table, replace(work, seconds=time.monotonic() - start)


def embed_raw(config: EmbedConfig) -> tuple[FeatureTable, list[EncoderRecord]]:
    """The same as encoders give it, side by side, with nothing learned from any picture."""
    table, found, records, _ = _encode(config)
    values = found[0] if len(found) == 1 else np.concatenate(found, axis=1)
    return replace(table, values=values, about=_about(records, config)), records


def _encode(
    config: EmbedConfig,
) -> tuple[FeatureTable, list[Values], list[EncoderRecord], EmbedCounts]:
    """A table with the first encoder's values, the values of all, their records, what it took."""
    start = time.monotonic()
    cache = default_cache_dir()
    requests = requested_encoders(config)
    listing = list_data(config)
    digests = hash_files(listing.paths, config.workers)
    computed = 0
    found: list[tuple[EncoderRecord, FeatureStore]] = []
    skipped: set[int] = set()
    for request in requests:
        record, store, count, unreadable = _complete(request, config, listing.paths, digests, cache)
        computed += count
        skipped |= unreadable
        found.append((record, store))
    kept = np.array([row for row in range(len(digests)) if row not in skipped], np.intp)
    _check_left(listing, kept, config)
    wanted = [digests[row] for row in kept]
    values = [store.gather(wanted) for _, store in found]
    table = FeatureTable(
        values[0],
        tuple(listing.names[row] for row in kept),
        listing.labels[kept],
        tuple(listing.splits[row] for row in kept),
        listing.classes,
    )
    work = EmbedCounts(computed, len(skipped), time.monotonic() - start)
    return table, values, [record for record, _ in found], work


def _complete(
    request: EncoderRequest,
    config: EmbedConfig,
    paths: Sequence[Path],
    digests: Sequence[str],
    cache: Path,
) -> tuple[EncoderRecord, FeatureStore, int, set[int]]:
    """Record, store with every readable picture, how many were computed, unreadable rows."""
    encoder: Encoder | None = None
    record = recorded(request, config, cache)
    if record is None:
        encoder, record = _build(request, config)
        keep_record(request, config, cache, record)
    for remark in record.remarks:
        log.warning("%s: %s", record.file, remark)
    store = FeatureStore(record.folder(cache))
    first: dict[str, int] = {}  # copies of a picture are computed once
    for row, digest in enumerate(digests):
        if digest not in store:
            first.setdefault(digest, row)
    if not first:
        return record, store, 0, set()
    from cvgssl.features.compute import compute
    from cvgssl.runtime.launch import launch

    accelerator = launch(config.gpu, config.precision)
    if encoder is None:
        encoder, _ = _build(request, config)
    with progress(f"embedding ({record.name})", len(first)) as advance:
        missing = [paths[row] for row in first.values()]
        found = compute(encoder, missing, store, config, accelerator, advance)
    wanted = list(first)
    reasons = {wanted[place]: reason for place, reason in found.items()}  # by content
    unreadable = {row: reasons[digest] for row, digest in enumerate(digests) if digest in reasons}
    named = {paths[row]: reason for row, reason in unreadable.items()}
    check_readable(named, len(paths), config.skip_corrupt)
    changed = [
        row for digest, row in first.items() if digest not in store and row not in unreadable
    ]
    if changed:
        raise UserError(f"{paths[changed[0]]}: changed while it was read; run the command again")
    return record, store, len(first) - len(found), set(unreadable)


def _build(request: EncoderRequest, config: EmbedConfig) -> "tuple[Encoder, EncoderRecord]":
    from cvgssl.features.encoder import load_encoder

    encoder = load_encoder(request, config)
    log.info("encoder %s", encoder.frozen.summary())
    return encoder, encoder.record()


def _check_left(listing: Listing, kept: Rows, config: EmbedConfig) -> None:
    left = set(listing.labels[kept].tolist())
    empty = [name for label, name in enumerate(listing.classes) if label not in left]
    if empty:
        raise UserError(f"{config.data}: no readable picture of {', '.join(empty)}")


def _values(
    found: list[Values], records: Sequence[EncoderRecord], table: FeatureTable, config: EmbedConfig
) -> Values:
    """One array of all encoders' embeddings, prepared as the options say."""
    parts, weights = parts_of(found, records)
    if len(parts) == 1 and config.preparation == "none":
        return parts[0]
    train = np.flatnonzero(np.array(table.splits) == SPLITS[0])
    if not len(train):
        raise UserError(f"{config.data}: no train picture to learn mean and scale from")
    from cvgssl.features.preparation import JointEmbedding, fit_preparation, write_prepared

    joint = parts[0]
    if len(parts) > 1:
        joint = scratch(default_cache_dir(), len(table), sum(part.shape[1] for part in parts))
        JointEmbedding.fit(parts, weights, train).write(parts, joint)
    if config.preparation != "none":
        write_prepared(joint, fit_preparation(joint, config.preparation, train), joint)
    return joint


def _about(records: Sequence[EncoderRecord], config: EmbedConfig) -> dict[str, Any]:
    """What made the table, as JSON values; the same for the same numbers."""
    return {
        "data": str(config.data.resolve()),
        "encoder": _label(records, config),
        "encoders": [
            {"name": record.name, "file": record.file, "weight": record.weight} | record.facts
            for record in records
        ],
        "preparation": config.preparation,
        "version": __version__,
    }


def _label(records: Sequence[EncoderRecord], config: EmbedConfig) -> str:
    """A few words for tables."""
    words = ["+".join(record.name for record in records)]
    if config.pooling != AUTO:
        words.append(config.pooling)
    if config.layers:
        words.append("layers " + ",".join(map(str, config.layers)))
    if config.crops > 1:
        words.append(f"{config.crops} crops")
    if config.flips != "none":
        words.append({"horizontal": "2", "both": "4", "rotations": "8"}[config.flips] + " turns")
    if config.preparation != "none":
        words.append({"center": "centred", "whiten": "whitened"}[config.preparation])
    return ", ".join(words)
