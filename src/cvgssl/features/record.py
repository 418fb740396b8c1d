"""What decides an encoder's embeddings besides the pictures: its record, and the cache key.

A record is known once the encoder is built, which takes seconds. So it is kept in the cache under
all that it follows from (the request, the hash of the weight file, versions of the packages); a
later call with the same request finds record and embeddings without importing torch.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from cvgssl import __version__
from cvgssl.encoders.programs import chosen_program
from cvgssl.encoders.shards import beside_digests, weights_digest
from cvgssl.features.encoder_requests import EncoderRequest
from cvgssl.images.geometry import Geometry
from cvgssl.images.reader import VERSION as READER
from cvgssl.runtime.files import read_sealed_json, write_sealed_json
from cvgssl.runtime.options import to_dict

FEATURES_FOLDER = "features"
_READING = 2  # raise when the same weight file is read otherwise
# options that say which pictures are embedded, and how the work is done: none changes a number
OF_THE_JOB = ("data", "out", "skip_corrupt", "workers", "max_megapixels", "batch_size",
              "test_fraction", "seed", "gpu", "runtime")  # fmt: skip
# options that change nothing in one encoder's numbers: in a key, the encoder and whether pictures
# are mirrored are facts of their own
NOT_IN_KEY = (*OF_THE_JOB, "encoder", "mirrored", "class_folders")
MIRROR = "mirror"  # the fact that pictures are mirrored before the network sees them
TAKEN = ("pooling", "layers")  # facts that say what is taken from a run of the network


@dataclass(frozen=True)
class EncoderRecord:
    """What is kept about an encoder.

    name, file, weight: for people. facts: all that decides its numbers, JSON values; their hash is
        the key.

    widths: of the blocks (layers, ways of pooling) in a row of embeddings; empty for a single one.
    remarks: what every command says of the weight file.
    """

    name: str
    file: str | None
    weight: float
    widths: Sequence[int]
    facts: dict[str, Any]
    remarks: Sequence[str] = ()

    @property
    def key(self) -> str:
        """Short hash of the facts."""
        return _hash(self.facts)

    @property
    def run(self) -> str:
        """Short hash of the facts that decide what its network computes.

        Of encoders that have it in common one run gives all embeddings.
        """
        return _hash(_without(self.facts, TAKEN))

    @property
    def network_name(self) -> str:
        """By which its compiled network is remembered; see `compiled_network`.

        The same for mirrored pictures.
        """
        return f"encoder {_hash(_without(self.facts, (MIRROR,)))}"

    @property
    def geometry(self) -> Geometry:
        """How pictures become squares."""
        return Geometry(**self.facts["geometry"])

    @property
    def width(self) -> int:
        """Numbers in a row of embeddings."""
        return sum(self.widths) or int(self.facts["encoder"]["dim"])

    def folder(self, cache: Path) -> Path:
        """Where its embeddings are below the cache folder."""
        return cache / FEATURES_FOLDER / self.key


def blocks_of(records: Sequence[EncoderRecord]) -> list[tuple[int, float]]:
    """Width and weight of all blocks of a row of embeddings by several encoders.

    Layers and ways of pooling count as encoders of their own that share their encoder's weight;
    else those with large numbers would drown the others.
    """
    return [
        (width, record.weight / max(1, len(record.widths)))
        for record in records
        for width in record.widths or [record.width]
    ]


def recorded(request: EncoderRequest, cache: Path) -> EncoderRecord | None:
    """The record that this request had before; None if it is not known."""
    path = _request(request, cache)
    if path is None:
        return None
    try:
        record = EncoderRecord(**read_sealed_json(path))
    except (OSError, ValueError, TypeError):  # none there, or damaged
        return None
    mirrored = {MIRROR: list(request.mirror)} if request.mirror else {}
    return replace(record, facts=record.facts | mirrored)


def keep_record(request: EncoderRequest, cache: Path, record: EncoderRecord) -> None:
    """Keep the record for `recorded`, which needs it once for a picture and its mirror images."""
    path = _request(request, cache)
    if path:
        with suppress(OSError):  # the store of its embeddings warns of a cache that is read-only
            write_sealed_json(path, asdict(record) | {"facts": _without(record.facts, (MIRROR,))})


def _request(request: EncoderRequest, cache: Path) -> Path | None:
    """The file for this request; None where only loading shows which weights are meant."""
    if request.file is None and request.spec.file != "random":
        return None
    options = to_dict(request.config)
    options = {name: value for name, value in options.items() if name not in NOT_IN_KEY}
    facts = {
        "reading": _READING,
        "versions": [__version__, READER, *_versions()],
        "program": chosen_program(request.config.runtime, request.config.precision),
        "name": request.spec.label,
        "weight": request.spec.weight,
        "file": [request.file.name, weights_digest(request.file), *beside_digests(request.file)]
        if request.file
        else request.spec.file,
        "options": options,
    }
    return cache / FEATURES_FOLDER / f"request-{_hash(facts)}.json"


@cache  # each is a file that is read and parsed
def _versions() -> tuple[str, ...]:
    return tuple(map(metadata.version, ("torch", "timm", "pillow")))


def _without(facts: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if name not in names}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]
