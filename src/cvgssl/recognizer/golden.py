"""Pictures that an exported file carries, with what `cvgssl predict` said of them.

Imports no torch. Shape letters: H rows, W columns, D numbers of an embedding, K classes.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.recognizer.exported_file import ExportedFile, GraphOutputs
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.environment import instructions, processor
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import read_sealed_json, sha256_file, write_sealed_json
from cvgssl.runtime.parsing import counted, parsing
from cvgssl.runtime.yaml_files import is_text

TOLERANCE = 1e-4
"""Largest difference of probabilities; ten times that of scores, and of embeddings as a share of
their largest number."""

INT8_TOLERANCE = 0.05
"""The same of all three in int8. Processors with AMX and with VNNI differ by 0.015 of an embedding,
0.007 of a score and 0.006 of a probability; those without VNNI, which are wrong, by 0.7 and 0.2."""

UNUSABLE = "do not use this file here"

_SHAPES: tuple[tuple[int, ...], ...] = (
    (61, 97),
    (224, 224),
    (101, 33),
    (8, 8),
    (12, 700),
    (600, 9),
    (75, 50, 3),
    (31, 240, 3),
    (83, 64),  # from here on with 16 bits
    (57, 40, 3),
)
_DEEP = 8
_SEED = 0


@dataclass(frozen=True)
class Golden:
    """A picture and the expected answer.

    samples: uint8 or uint16 [H, W] or [H, W, 3]. expected: probabilities [K], embedding [D], and a
    score [] where the recognizer has one.
    """

    samples: NDArray[Any]
    expected: GraphOutputs

    @property
    def white(self) -> int:
        """The white level of its type."""
        return int(np.iinfo(self.samples.dtype).max)

    def packed(self) -> dict[str, Any]:
        """As JSON values."""
        arrays = {"samples": self.samples} | self.expected
        return {"white": self.white} | {name: _packed(value) for name, value in arrays.items()}

    @classmethod
    def unpacked(cls, value: dict[str, Any]) -> "Golden":
        """Of what `packed` gave."""
        arrays = {name: _unpacked(each) for name, each in value.items() if name != "white"}
        return cls(arrays.pop("samples"), arrays)


@dataclass(frozen=True)
class Agreement:
    """How far two answers to the same pictures are apart.

    probability: largest difference. embedding: largest one, as a share of the largest number.
    """

    pictures: int
    probability: float
    embedding: float


def golden_samples(bit_depth: int) -> list[NDArray[Any]]:
    """Ten pictures of many kinds: spots of light with noise on them."""
    rng = np.random.default_rng(_SEED)
    return [
        _drawn(shape, 255 if number < _DEEP else 2**bit_depth - 1, number < _DEEP, rng)
        for number, shape in enumerate(_SHAPES)
    ]


def _drawn(
    shape: tuple[int, ...], white: int, in_bytes: bool, rng: np.random.Generator
) -> NDArray[Any]:
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    channels = []
    for _ in range(3 if len(shape) == 3 else 1):
        light = rng.uniform(0.3, 0.6) + 0.08 * rng.standard_normal(shape[:2])
        for _ in range(4):
            row, column = rng.uniform(0, 1, 2) * shape[:2]
            squared = ((rows - row) ** 2 + (columns - column) ** 2) / rng.uniform(3, 30) ** 2
            light += rng.uniform(-0.4, 0.4) * np.exp(-squared)
        channels.append((light.clip(0, 1) * white).astype(np.uint8 if in_bytes else np.uint16))
    return np.stack(channels, axis=-1) if len(shape) == 3 else channels[0]


def check_golden(exported: ExportedFile, remedy: str = UNUSABLE) -> Agreement:
    """Ask it about the pictures that it carries.

    Raises UserError, which ends in `remedy`, where an answer is another.
    """
    with parsing(exported.path, "a file of `cvgssl export`", "export it again"):
        golden = [Golden.unpacked(value) for value in exported.metadata["golden"]]
        if not golden:
            raise UserError(f"{exported.path}: carries no pictures; export it again")
        _check_metadata(exported, golden[0])
        rest = INT8_TOLERANCE if exported.int8 else 10 * TOLERANCE
        answers = [exported(picture.samples, picture.white) for picture in golden]
        names = [f"golden picture {number}" for number in range(1, len(golden) + 1)]
        wanted = [picture.expected["probabilities"] for picture in golden]
        agreement = check_answers(exported, names, answers, wanted, remedy)
        pairs = list(zip(answers, golden, strict=True))
        embedding = _largest(
            (answer["embedding"] - picture.expected["embedding"])
            / np.abs(picture.expected["embedding"]).max()
            for answer, picture in pairs
        )
        score = _largest(
            answer["score"] - picture.expected["score"]
            if "score" in picture.expected
            else np.zeros(())
            for answer, picture in pairs
        )
    if not (embedding <= rest and score <= rest):
        raise UserError(
            f"{exported.path}: embeddings differ by up to {embedding:.1e} of their largest number, "
            f"scores by {score:.1e}; {remedy}"
        )
    return Agreement(len(golden), agreement.probability, embedding)


def check_once(exported: ExportedFile) -> None:
    """`check_golden`, once per file, program and processor: the cache folder remembers it.

    Where that cannot be written it is checked every time.
    """
    hashes = [sha256_file(file) for file in exported.files]
    # two processors of one name may differ in what int8 needs
    facts = [*hashes, exported.program, np.__version__, processor(), *instructions()]
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    note = default_cache_dir() / "verified" / f"{name}.json"
    with suppress(OSError, ValueError):
        if read_sealed_json(note) == facts:
            return
    check_golden(exported)
    with suppress(OSError):
        write_sealed_json(note, facts)


def _check_metadata(exported: ExportedFile, golden: Golden) -> None:
    """Raise UserError where what clients read beside the answers cannot be right."""
    count = len(golden.expected["probabilities"])
    texts = all(isinstance(name, str) and is_text(name) for name in exported.classes)
    if len(set(exported.classes)) != count or not texts:
        raise UserError(f"{exported.path}: does not name {count} classes; export it again")
    numbers = ("unknown_below", "not_sure_below") if "score" in golden.expected else ()
    for name in ("bit_depth", *numbers):
        if not isinstance(exported.metadata.get(name), int | float):
            raise UserError(f"{exported.path}: {name} is no number; export it again")


def _largest(differences: Iterable[NDArray[Any]]) -> float:
    """NaN where any is."""
    return float(np.max([np.abs(each).max() for each in differences]))


def check_answers(
    exported: ExportedFile,
    names: Sequence[str],
    answers: Sequence[GraphOutputs],
    wanted: Sequence[NDArray[np.float32]],
    remedy: str,
) -> Agreement:
    """Hold answers against probabilities [K] of `cvgssl predict`; raises as `check_golden`.

    The class has to be the same, in int8 where its lead is more than the tolerance allows to lose.
    """
    wrong, largest = [], 0.0
    tolerance = INT8_TOLERANCE if exported.int8 else TOLERANCE
    for name, answer, expected in zip(names, answers, wanted, strict=True):
        given = answer["probabilities"]
        apart = float(np.abs(given - expected).max())
        largest = max(largest, apart)
        now, before = given.argmax(), expected.argmax()
        tie = exported.int8 and expected[before] - expected[now] <= 2 * tolerance
        if (now != before and not tie) or not apart <= tolerance:
            classes = exported.classes
            wrong.append(
                f"{name} is {classes[now]} with {given[now]:.4f}, by `cvgssl "
                f"predict` {classes[before]} with {expected[before]:.4f}"
            )
    if wrong:
        raise UserError(
            f"{exported.path}: {exported.program} answers otherwise for "
            f"{counted(len(wrong), 'picture')} of {len(names)}, probabilities "
            f"differ by up to {largest:.1e}; the first: {wrong[0]}; {remedy}"
        )
    return Agreement(len(names), largest, 0.0)


def _packed(array: NDArray[Any]) -> dict[str, Any]:
    little = array.astype(array.dtype.newbyteorder("<"))
    data = base64.b64encode(little.tobytes()).decode("ascii")
    return {"type": str(array.dtype), "shape": list(array.shape), "data": data}


def _unpacked(value: dict[str, Any]) -> NDArray[Any]:
    kind = np.dtype(value["type"])
    data = np.frombuffer(base64.b64decode(value["data"]), kind.newbyteorder("<"))
    return data.astype(kind).reshape(value["shape"])
