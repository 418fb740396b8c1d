"""What decides an encoder's embeddings besides the pictures, and its memory between calls.

A plan is known once the encoder is built, which takes seconds. So it is kept in the cache under
all that it follows from (the request: what was asked for, the hash of the weight file, versions
of the packages); a later call with the same request finds plan and embeddings without torch.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl import __version__
from cvgssl.features.config import EmbedConfig
from cvgssl.features.encoder_specs import Asked
from cvgssl.images.geometry import Geometry
from cvgssl.images.reader import VERSION as READER
from cvgssl.runtime.files import read_json, sha256_file, write_json
from cvgssl.runtime.options import to_dict

FOLDER = "features"
# options that change nothing in one encoder's numbers
_ELSEWHERE = ("data", "out", "weights", "arch", "encoder", "unlabelled", "skip_corrupt", "workers",
              "center", "whiten", "batch_size", "test_fraction", "seed", "gpu")  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """name, file, weight: of the encoder, for people. facts: JSON values; their hash is the key.

    widths: of the parts (layers, ways of pooling) in a row of embeddings; empty for a single one.
    """

    name: str
    file: str | None
    weight: float
    widths: Sequence[int]
    facts: dict[str, Any]

    @property
    def key(self) -> str:
        """Short hash of the facts."""
        return _hash(self.facts)

    @property
    def geometry(self) -> Geometry:
        """How pictures become squares."""
        return Geometry(**self.facts["geometry"])

    @property
    def width(self) -> int:
        """Numbers in a row of embeddings."""
        return sum(self.widths) or int(self.facts["encoder"]["dim"])

    def parts(self, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Embeddings [N, D] as its parts, [N, width] each; views of the same numbers."""
        return np.split(values, np.cumsum(self.widths[:-1], dtype=np.intp), axis=1)

    def folder(self, cache: Path) -> Path:
        """Where its embeddings lie below the cache folder."""
        return cache / FOLDER / self.key


def parts_of(
    found: Sequence[NDArray[np.float32]], plans: Sequence[Plan]
) -> tuple[list[NDArray[np.float32]], list[float]]:
    """All parts of the encoders' embeddings, [N, D] each, and their weights.

    Layers and ways of pooling count as encoders of their own that share their encoder's weight;
    else those with large numbers would drown the others.
    """
    parts, weights = list[NDArray[np.float32]](), list[float]()
    for values, plan in zip(found, plans, strict=True):
        own = plan.parts(values)
        parts += own
        weights += [plan.weight / len(own)] * len(own)
    return parts, weights


def recall(asked: Asked, config: EmbedConfig, cache: Path) -> Plan | None:
    """The plan that this request had before; None if it is not known."""
    path = _request(asked, config, cache)
    try:
        return Plan(**read_json(path)) if path else None
    except (OSError, ValueError, TypeError):  # none there, or damaged
        return None


def remember(asked: Asked, config: EmbedConfig, cache: Path, plan: Plan) -> None:
    """Keep the plan for `recall`."""
    path = _request(asked, config, cache)
    if path:
        write_json(path, asdict(plan))


def _request(asked: Asked, config: EmbedConfig, cache: Path) -> Path | None:
    """The file for this request; None where only loading tells which weights are meant."""
    if asked.file is None and asked.spec.name != "embedded" and asked.spec.file != "random":
        return None
    options = {name: value for name, value in to_dict(config).items() if name not in _ELSEWHERE}
    request = {
        "versions": [__version__, READER, *map(metadata.version, ("torch", "timm", "pillow"))],
        "name": asked.spec.name,
        "weight": asked.spec.weight,
        "file": [asked.file.name, sha256_file(asked.file), *_beside(asked.file)]
        if asked.file
        else asked.spec.file,
        "options": options,
    }
    return cache / FOLDER / f"request-{_hash(request)}.json"


def _beside(file: Path) -> list[str]:
    """The hash of open_clip's configuration beside a file, which says how to use it."""
    beside = file.parent / "open_clip_config.json"
    return [sha256_file(beside)] if beside.is_file() else []


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]
