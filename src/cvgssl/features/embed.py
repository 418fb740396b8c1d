"""Embeddings of all pictures of a data set, each computed once.

`embed` is where to begin reading: it lists the pictures, hashes their files, asks the cache which
embeddings are there, computes the others, and puts encoders side by side. torch is imported only
when something is to be computed.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvgssl import __version__
from cvgssl.features.config import AUTO, EmbedConfig
from cvgssl.features.encoder_requests import EncoderRequest, requested_encoders
from cvgssl.features.feature_store import FeatureStore, Rows, Values, scratch
from cvgssl.features.pictures import Listing, list_for_embedding
from cvgssl.features.record import FOLDER, EncoderRecord, keep_record, parts_of, recorded
from cvgssl.features.table import FeatureTable
from cvgssl.images.decoding import check_readable, hash_files
from cvgssl.images.store import warn_if_dark
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress

if TYPE_CHECKING:
    from cvgssl.features.encoder import Encoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedCounts:
    """What one call did: pictures embedded, by all encoders; pictures left out; seconds."""

    computed: int
    skipped: int
    seconds: float


def embed(config: EmbedConfig) -> FeatureTable:
    """The embeddings of all pictures of `config.data`; `config.out` is not written.

    Encoders are side by side, as they give them: nothing is learned from any picture. The values
    may be in a file, memory-mapped, that goes with them.
    Raises UserError for whatever is wrong with data, encoders or pictures.
    """
    return embed_counting(config)[0]


def embed_counting(config: EmbedConfig) -> tuple[FeatureTable, EmbedCounts]:
    """The same, and what it took."""
    start = time.monotonic()
    embedded = _embed_all(config)
    counts = EmbedCounts(embedded.computed, embedded.skipped, time.monotonic() - start)
    return embedded.table, counts


def embed_with_records(config: EmbedConfig) -> tuple[FeatureTable, list[EncoderRecord]]:
    """The same, and what decides the numbers of each encoder, in the order of `parts`."""
    embedded = _embed_all(config)
    return embedded.table, embedded.records


@dataclass(frozen=True)
class _Files:
    """N picture files and their digests."""

    paths: Sequence[Path]
    digests: Sequence[str]


@dataclass(frozen=True)
class _Complete:
    """An encoder whose store has every readable picture.

    computed: pictures that were not there before. unreadable: rows of the files.
    """

    record: EncoderRecord
    store: FeatureStore
    computed: int = 0
    unreadable: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Embedded:
    """All encoders' embeddings of the readable pictures. computed, skipped: see `EmbedCounts`."""

    table: FeatureTable
    records: list[EncoderRecord]
    computed: int
    skipped: int


def _embed_all(config: EmbedConfig) -> _Embedded:
    requests = requested_encoders(config)
    listing = list_for_embedding(config)
    digests = hash_files(listing.paths, config)
    files = _Files(listing.paths, digests)
    complete = [_complete(request, files) for request in requests]
    skipped = frozenset[int]().union(*(each.unreadable for each in complete))
    kept = np.array([row for row in range(len(files.paths)) if row not in skipped], np.intp)
    _check_left(listing, kept, config)
    wanted = [files.digests[row] for row in kept]
    warn_if_dark(complete[0].store.brightest(wanted), complete[0].record.geometry)
    records = [each.record for each in complete]
    table = FeatureTable(
        _side_by_side([each.store.gather(wanted) for each in complete]),
        tuple(listing.names[row] for row in kept),
        listing.labels[kept],
        tuple(listing.splits[row] for row in kept),
        listing.classes,
        _about(records, config),
    )
    return _Embedded(table, records, sum(each.computed for each in complete), len(skipped))


def _complete(request: EncoderRequest, files: _Files) -> _Complete:
    """Compute what the encoder's store has not."""
    cache, config = default_cache_dir(), request.config
    encoder: Encoder | None = None
    record = recorded(request, cache)
    if record is None:
        encoder, record = _build(request)
        keep_record(request, cache, record)
    for remark in record.remarks:
        log.warning("%s: %s", record.file, remark)
    store = FeatureStore(record.folder(cache), record.width)
    missing: dict[str, int] = {}  # copies of a picture are computed once
    for row, digest in enumerate(files.digests):
        if digest not in store:
            missing.setdefault(digest, row)
    if not missing:
        return _Complete(record, store)
    from cvgssl.features.compute import compute
    from cvgssl.features.reading import Reading
    from cvgssl.runtime.launch import launch

    accelerator = launch(config.gpu, config.precision)
    if encoder is None:
        encoder, _ = _build(request)
    reading = Reading(
        [files.paths[row] for row in missing.values()],
        [encoder.geometry],
        config,
    )
    with progress(f"embedding ({record.name})", len(missing)) as advance:
        compute(encoder, reading, store, accelerator, advance)
    digests = list(missing)
    reasons = {digests[place]: reason for place, reason in reading.unreadable.items()}
    unreadable = {
        row: reasons[digest] for row, digest in enumerate(files.digests) if digest in reasons
    }
    named = {files.paths[row]: reason for row, reason in unreadable.items()}
    check_readable(named, len(files.paths), config.skip_corrupt)
    for digest, row in missing.items():
        if digest not in store and row not in unreadable:
            path = files.paths[row]
            raise UserError(f"{path}: changed while it was read; run the command again")
    return _Complete(record, store, len(missing) - len(reasons), frozenset(unreadable))


def _build(request: EncoderRequest) -> "tuple[Encoder, EncoderRecord]":
    from cvgssl.features.encoder import load_encoder

    encoder = load_encoder(request)
    log.info("encoder %s", encoder.frozen.summary())
    return encoder, encoder.record()


def _check_left(listing: Listing, kept: Rows, config: EmbedConfig) -> None:
    left = set(listing.labels[kept].tolist())
    empty = [name for label, name in enumerate(listing.classes) if label not in left]
    if empty:
        raise UserError(f"{config.data}: no readable picture of {', '.join(empty)}")


def _side_by_side(values: Sequence[Values]) -> Values:
    """Embeddings [N, D_t] of several encoders as one array, memory-mapped like theirs."""
    if len(values) == 1:
        return values[0]
    width = sum(part.shape[1] for part in values)
    joint = scratch(default_cache_dir() / FOLDER, len(values[0]), width)
    return np.concatenate(values, axis=1, out=joint)


def _about(records: Sequence[EncoderRecord], config: EmbedConfig) -> dict[str, Any]:
    """What made the table, as JSON values; the same for the same numbers."""
    return {
        "data": str(config.data.resolve()),
        "encoder": _label(records, config),
        "encoders": [
            {"name": record.name, "file": record.file, "weight": record.weight} | record.facts
            for record in records
        ],
        "parts": parts_of(records),
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
    return ", ".join(words)
