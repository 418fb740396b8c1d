"""A file of `cvgssl export`, open. Imports no torch.

Shape letters: H rows, W columns, C channels (1 or 3), D numbers of an embedding, K classes.
"""

import json
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.config import OPENVINO_SUFFIX, WEIGHTS_SUFFIX
from cvgssl.recognizer.exported_session import OnnxSession, OpenvinoSession, Session
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import check_file, parsing

FORMAT = 2
INPUTS = ("picture", "white")
_REMEDY = "export it again"
_LARGEST_SQUARE = 2**13  # pixels of a side


GraphOutputs = dict[str, NDArray[Any]]
"""What a file says of one picture, by name.

probabilities: float32 [K]. embedding: float32 [D]. Of recognizers of `cvgssl fit` also score:
float32 [], how well it fits to what is known; nearest, similarity: int64 and float32 [5], places
among the labelled pictures and their cosines, the largest first.
"""


@dataclass(frozen=True)
class Teaching:
    """How well a network agrees with the head that it was taught the answers of.

    head: its name. pictures: of the pool, which were examples. held_out: others of the pool.
    same_class, same_verdict: shares 0..1 of these on which both agree, the verdict being "not
    sure" or not. probability: mean absolute difference, over all classes.
    """

    head: str
    pictures: int
    held_out: int
    same_class: float
    same_verdict: float
    probability: float

    def __str__(self) -> str:
        """For people, in a line."""
        return (
            f"the head is a network that was taught the answers of {self.head} on {self.pictures} "
            f"pictures: of {self.held_out} others {100 * self.same_class:.1f} % get the same class "
            f"by both, {100 * self.same_verdict:.1f} % the same verdict, and probabilities differ "
            f"by {self.probability:.4f} on average"
        )


def graph_inputs(picture: NDArray[Any], white: int) -> dict[str, NDArray[Any]]:
    """A graph's inputs: samples uint8 or uint16 [H, W] or [H, W, C], white level 255 or 65535."""
    samples = picture.astype(np.uint16).reshape(*picture.shape[:2], -1)
    return dict(zip(INPUTS, (samples, np.array(white, np.uint16)), strict=True))


class ExportedFile:
    """A file of `cvgssl export`, opened on the CPU: ONNX's, or OpenVINO's .xml with its weights.

    metadata: JSON values by name: format, classes and the others that `export` wrote.
    program: what runs it, with its version. files: what it consists of. outputs: names of what
    is in an answer.
    """

    def __init__(self, path: Path, weights: Path | None = None) -> None:
        """Open it. weights: of an .xml; by default the .bin beside it."""
        check_file(path)
        self.files = [path]
        if path.suffix.lower() == OPENVINO_SUFFIX:
            self.files.append(weights or path.with_suffix(WEIGHTS_SUFFIX))
            check_file(self.files[1])
        with parsing(path, "a file of `cvgssl export`", _REMEDY):
            kind = OnnxSession if len(self.files) == 1 else OpenvinoSession
            self._session: Session = kind(*self.files)
            texts = self._session.texts
            if "format" not in texts or "golden" not in texts:
                raise UserError(f"{path}: is not of `cvgssl export`; it carries no pictures")
            self.metadata: dict[str, Any] = {name: json.loads(texts[name]) for name in texts}
        if self.metadata["format"] != FORMAT:
            raise UserError(
                f"{path}: has format {self.metadata['format']}, this version of cvgssl reads "
                f"{FORMAT}; {_REMEDY}"
            )
        self.path, self.program = path, self._session.program
        self.outputs = self._session.outputs

    def by_openvino(self) -> Self:
        """The same .onnx, run by OpenVINO."""
        other = copy(self)
        with parsing(self.path, "a network for OpenVINO", "try another version of it"):
            other._session = OpenvinoSession(*self.files)
        other.program = other._session.program
        return other

    @property
    def classes(self) -> list[str]:
        """K names."""
        names: list[str] = self.metadata["classes"]
        return names

    @property
    def int8(self) -> bool:
        """Whether its encoders compute in 8-bit integers."""
        return self.metadata.get("int8") is True

    @property
    def taught(self) -> Teaching | None:
        """Of a head that is a taught network; None for its rule itself."""
        with parsing(self.path, "a file of `cvgssl export`", _REMEDY):
            value = self.metadata.get("taught")
            return pydantic.TypeAdapter(Teaching | None).validate_python(value)

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """How its encoders see a picture, each way once; raises UserError for impossible ones."""
        with parsing(self.path, "a file of `cvgssl export`", _REMEDY):
            ways = pydantic.TypeAdapter(tuple[Geometry, ...]).validate_python(
                self.metadata["geometries"]
            )
            usable = all(
                1 <= each.size <= _LARGEST_SQUARE and 8 <= each.bit_depth <= 16 for each in ways
            )
            if not (ways and usable):
                raise ValueError(f"geometries {ways}")
        return ways

    def __call__(self, picture: NDArray[Any], white: int) -> GraphOutputs:
        """Name a picture: samples uint8 or uint16 [H, W] or [H, W, C], white level 255 or 65535."""
        with parsing(self.path, "a file of `cvgssl export`", _REMEDY):
            values = self._session(graph_inputs(picture, white))
        return dict(zip(self._session.outputs, values, strict=True))
