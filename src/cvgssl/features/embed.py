"""Embeddings of all pictures of a data set, each computed once.

`embed` is where to begin reading: it lists the pictures, hashes their files, has the embeddings
computed that are not in the cache (see `completion.py`), and puts encoders side by side. One of
several processes does so with its share of the pictures (see `shares.py`).
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cvgssl import __version__
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.features.completion import Complete, Files, complete_all
from cvgssl.features.config import AUTO, EmbedConfig
from cvgssl.features.encoder_requests import requested_encoders
from cvgssl.features.feature_store import Rows, Values, scratch
from cvgssl.features.pictures import Listing, list_for_embedding
from cvgssl.features.record import FEATURES_FOLDER, EncoderRecord, blocks_of
from cvgssl.features.shares import Share
from cvgssl.features.table import FeatureTable
from cvgssl.images.decoding import hash_files, warn_if_dark
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.errors import UserError, of_this_process


@dataclass(frozen=True)
class Embedded:
    """All encoders' embeddings of the readable pictures of a data set.

    paths: of the rows of the table. records: what decides the numbers of each encoder, in the
    order of the table's `blocks`. computed: pictures embedded now, by all encoders.
    skipped: pictures left out. places: of the rows of the table, among all pictures of the data.
    """

    table: FeatureTable
    paths: tuple[Path, ...]
    records: list[EncoderRecord]
    computed: int
    skipped: int
    places: Rows


@dataclass(frozen=True)
class _Pictures:
    """Those of a data set, or of a share: its `places` among all, `facts` for the table."""

    listing: Listing
    files: Files
    places: Rows
    facts: dict[str, Any]


def embed(config: EmbedConfig) -> FeatureTable:
    """The embeddings of all pictures of `config.data`; `config.out` is not written.

    Encoders are side by side, as they give them: nothing is learned from any picture. The values
    may be in a file, memory-mapped, that goes with them.
    Raises UserError for whatever is wrong with data, encoders or pictures.
    """
    return embed_all(config).table


def embed_all(
    config: EmbedConfig, share: Share | None = None, listing: Listing | None = None
) -> Embedded:
    """The same with all that is known of the pictures and encoders, or of a share of the pictures.

    The table's `about` then says whose `share` it is, and of which listing.
    listing: of `list_for_embedding`, where it was needed before.
    """
    (embedded,) = embed_each([config], share, listing)
    return embedded


def embed_each(
    configs: Sequence[EmbedConfig], share: Share | None = None, listing: Listing | None = None
) -> Iterator[Embedded]:
    """`embed_all` of each, where all that they lack is computed first, each network run once."""
    requests = [requested_encoders(config) for config in configs]
    pictures = cache(partial(_pictures, share=share, listing=listing))
    pictured = [pictures(_without_encoders(config)) for config in configs]
    wanted = [
        (request, shown.files)
        for each, shown in zip(requests, pictured, strict=True)
        for request in each
    ]
    with _own(share):
        complete = iter(complete_all(wanted))
    for config, each, shown in zip(configs, requests, pictured, strict=True):
        yield _gathered(config, shown, list(islice(complete, len(each))))


def _without_encoders(config: EmbedConfig) -> EmbedConfig:
    """The same for configurations that differ in encoders and what is taken from them."""
    return replace(config, encoder=(INSTALLED,), pooling=AUTO, layers=(), image_size=None)


def _pictures(config: EmbedConfig, share: Share | None, listing: Listing | None) -> _Pictures:
    listing, facts = listing or list_for_embedding(config), {}
    places, total = np.arange(len(listing.paths)), len(listing.paths)
    if share is not None:
        facts = {"share": {"number": share.number, "of": share.of, "listing": listing.digest}}
        places = share.rows(listing.names)
        listing = listing.take(places)
    with _own(share):
        files = Files(listing.paths, hash_files(listing.paths, config), total)
    return _Pictures(listing, files, places, facts)


def _own(share: Share | None) -> AbstractContextManager[None]:
    """Of a share each process tells its errors: others have other pictures, perhaps disks."""
    return nullcontext() if share is None else of_this_process()


def _gathered(config: EmbedConfig, shown: _Pictures, complete: Sequence[Complete]) -> Embedded:
    listing, files = shown.listing, shown.files
    skipped = frozenset[int]().union(*(encoder.unreadable for encoder in complete))
    kept = np.array([row for row in range(len(files.paths)) if row not in skipped], np.intp)
    if not shown.facts:
        _check_left(listing, kept, config)
    wanted = [files.digests[row] for row in kept]
    warn_if_dark(complete[0].store.brightest(wanted), complete[0].record.geometry)
    records = [encoder.record for encoder in complete]
    table = FeatureTable(
        _side_by_side([encoder.store.gather(wanted) for encoder in complete]),
        tuple(listing.names[row] for row in kept),
        listing.labels[kept],
        tuple(listing.splits[row] for row in kept),
        listing.classes,
        _about(records, config) | shown.facts,
    )
    return Embedded(
        table,
        tuple(files.paths[row] for row in kept),
        records,
        sum(encoder.computed for encoder in complete),
        len(skipped),
        shown.places[kept],
    )


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
    joint = scratch(default_cache_dir() / FEATURES_FOLDER, len(values[0]), width)
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
        "parts": blocks_of(records),
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
        words.append(f"flips {config.flips}")
    return ", ".join(words)
