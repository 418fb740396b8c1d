"""Stores that have every picture: what the cache lacks is computed, each network run once for all.

Requests are taken together when the same weights are read with the same options (see
`EncoderRequest.source`), one group after the other, so that the networks of one group at most are
in memory. Of a group those run together whose records have the same `run` and whose stores lack the
same pictures: numbers depend, in their last bits, on the batch that a picture was in.
torch is imported only when something is to be computed, and not for an encoder alone in its run
that an earlier command compiled.
"""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cvgssl.encoders.programs import TORCH
from cvgssl.features.compute import Embedder, compute
from cvgssl.features.encoder_requests import EncoderRequest
from cvgssl.features.feature_store import FeatureStore
from cvgssl.features.known_encoder import known_encoder
from cvgssl.features.reading import Reading
from cvgssl.features.record import EncoderRecord, keep_record, recorded
from cvgssl.images.decoding import check_readable
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import is_first_here, progress

if TYPE_CHECKING:
    from cvgssl.features.encoder import Encoder, Networks

log = logging.getLogger(__name__)

# by the key of the record; they differ in what is taken from a run of their network
_Members = dict[str, tuple[EncoderRequest, EncoderRecord]]


@dataclass(frozen=True)
class Files:
    """N picture files and their digests; of: how many there are with those of other shares."""

    paths: Sequence[Path]
    digests: Sequence[str]
    of: int


@dataclass(frozen=True)
class Complete:
    """An encoder whose store has every readable picture.

    computed: pictures that were not there before. unreadable: rows of the files.
    """

    record: EncoderRecord
    store: FeatureStore
    computed: int = 0
    unreadable: frozenset[int] = frozenset()


def complete_all(wanted: Sequence[tuple[EncoderRequest, Files]]) -> list[Complete]:
    """What each request asks for of its files, in the order given.

    Requests with the same options are for the same files. Raises UserError for what is wrong with
    encoders or pictures.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, (request, _) in enumerate(wanted):
        groups.setdefault(request.source, []).append(place)
    complete: dict[int, Complete] = {}
    for places in groups.values():
        requests = [wanted[place][0] for place in places]
        complete |= zip(places, _complete(requests, wanted[places[0]][1]), strict=True)
    return [complete[place] for place in range(len(wanted))]


def _complete(requests: Sequence[EncoderRequest], files: Files) -> list[Complete]:
    """The same for requests of one source."""
    cache, encoders = default_cache_dir(), _Encoders()
    records = [_record(request, cache, encoders) for request in requests]
    stores = {record.key: FeatureStore(record.folder(cache), record.width) for record in records}
    lacking = {key: _lacking(store, files) for key, store in stores.items()}
    runs: dict[tuple[Hashable, ...], _Members] = {}
    for request, record in zip(requests, records, strict=True):
        if missing := lacking[record.key]:  # what is named in two ways is computed once
            members = runs.setdefault((record.run, *missing), {})
            members.setdefault(record.key, (request, record))
    unreadable = dict.fromkeys(stores, frozenset[int]())
    computed = dict.fromkeys(stores, 0)
    for members in runs.values():
        missing = lacking[next(iter(members))]
        embedder = _known(members) or _built(members, encoders, cache)
        reasons = _computed(embedder, members, [stores[key] for key in members], files, missing)
        rows = frozenset(row for row, digest in enumerate(files.digests) if digest in reasons)
        unreadable |= dict.fromkeys(members, rows)
        computed |= dict.fromkeys(members, len(missing) - len(reasons))
    return [
        Complete(record, stores[record.key], computed.pop(record.key, 0), unreadable[record.key])
        for record in records
    ]


class _Encoders:
    """The encoders of one source, each loaded when it is first needed."""

    def __init__(self) -> None:
        self._loaded: dict[EncoderRequest, Encoder] = {}

    @cached_property
    def _networks(self) -> "Networks":
        from cvgssl.features.encoder import Networks

        return Networks()

    def of(self, request: EncoderRequest) -> "Encoder":
        if request not in self._loaded:
            self._loaded[request] = self._networks.load(request)
        return self._loaded[request]


def _record(request: EncoderRequest, cache: Path, encoders: _Encoders) -> EncoderRecord:
    record = recorded(request, cache)
    if record is None:
        record = encoders.of(request).record()
        keep_record(request, cache, record)
    for remark in record.remarks:
        log.warning("%s: %s", record.file, remark)
    return record


def _known(members: _Members) -> Embedder | None:
    """What embeds by an encoder that an earlier command compiled; None where torch is needed."""
    (member, *others) = members.values()
    return None if others else known_encoder(*member)


def _built(members: _Members, encoders: _Encoders, cache: Path) -> Embedder:
    """What embeds by encoders in torch.

    Raises UserError when a network that OpenVINO took before goes by torch now.
    """
    from cvgssl.features.built_encoder import BuiltEncoder
    from cvgssl.features.encoder import JointEncoder
    from cvgssl.runtime.launch import launch

    run = [encoders.of(request) for request, _ in members.values()]
    for (request, before), encoder in zip(members.values(), run, strict=True):
        now = encoder.record()
        if now.key != before.key:
            keep_record(request, cache, now)
            raise UserError(
                f"{request.flag}: is computed otherwise than before; run the command again"
            )
    joint = JointEncoder(run)
    config = joint.config
    return BuiltEncoder(
        joint,
        launch(config.gpu, config.precision, together=False, by_torch=joint.run.program == TORCH),
    )


def _lacking(store: FeatureStore, files: Files) -> dict[str, int]:
    """Digest and row of each picture that is not there; copies of a picture are computed once."""
    missing: dict[str, int] = {}
    for row, digest in enumerate(files.digests):
        if digest not in store:
            missing.setdefault(digest, row)
    return missing


def _computed(
    embedder: Embedder,
    members: _Members,
    stores: Sequence[FeatureStore],
    files: Files,
    missing: Mapping[str, int],
) -> dict[str, str]:
    """Compute what is missing in all the stores; digests of unreadable pictures, and why."""
    request, record = next(iter(members.values()))
    paths = [files.paths[row] for row in missing.values()]
    reading = Reading(paths, [record.geometry], request.config)
    label = f"embedding ({' + '.join(embedder.names)})"
    with progress(label, len(missing), is_first_here()) as advance:
        compute(embedder, request.config.precision, reading, stores, advance)
    digests = list(missing)
    reasons = {digests[place]: reason for place, reason in reading.unreadable.items()}
    named = {
        files.paths[row]: reasons[digest]
        for row, digest in enumerate(files.digests)
        if digest in reasons
    }
    check_readable(named, files.of, reading.options.skip_corrupt)
    for digest, row in missing.items():
        if digest not in reasons and any(digest not in store for store in stores):
            path = files.paths[row]
            raise UserError(f"{path}: changed while it was read; run the command again")
    return reasons
