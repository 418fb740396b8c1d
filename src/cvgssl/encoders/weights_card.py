"""What cvgssl writes into a file of weights about them: its card, parsed and checked here only.

A card is JSON under the key `cvgssl`, in the header of a safetensors file or in the dictionary of a
checkpoint. It is read from files of unknown origin, so every value has bounds.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cvgssl.encoders.normalization import Normalization

KEY = "cvgssl"
MOST_PIXELS = 2048
"""Side of the largest pictures that an encoder sees."""

Arch = Annotated[str, Field(min_length=1, max_length=500)]
SidePixels = Annotated[int, Field(ge=1, le=MOST_PIXELS)]
_OPEN = ConfigDict(extra="ignore")  # teachers, hashes and the like are for people
_Filter = Literal["bilinear", "bicubic"]


@dataclass(frozen=True, config=_OPEN)
class CardGeometry:
    """How pictures became squares for a recognizer; see `images.geometry.Geometry`."""

    size: SidePixels
    resize: Literal["stretch", "pad", "crop"] = "stretch"
    interpolation: _Filter | None = None


@dataclass(frozen=True, config=_OPEN)
class WeightsCard:
    """How a file's weights are to be used; all None for a file that cvgssl did not write.

    arch: as given to `build_backbone`. image_size, interpolation: of the pictures that a student
        saw. geometry: of a recognizer, which has these instead. test_left_out: False when the
        pictures of pre-training may have been test pictures.
    """

    arch: Arch | None = None
    image_size: SidePixels | None = None
    interpolation: _Filter | None = None
    geometry: CardGeometry | None = None
    normalization: Normalization | None = None
    test_left_out: bool = True

    @property
    def size(self) -> int | None:
        """Side of the pictures that the weights were trained with, pixels."""
        return self.image_size or (self.geometry.size if self.geometry else None)

    @property
    def resampling(self) -> str | None:
        """Filter by which pictures were resized."""
        return self.geometry.interpolation if self.geometry else self.interpolation

    @property
    def resize(self) -> str:
        """How pictures that are not square became squares."""
        return self.geometry.resize if self.geometry else "stretch"


def read_card(metadata: Mapping[str, str], tree: Mapping[str, Any]) -> WeightsCard:
    """The card in a safetensors header or a checkpoint, else an empty one.

    Raises ValueError or RecursionError for a card that is damaged.
    """
    text = metadata.get(KEY) or tree.get(KEY)
    if not isinstance(text, str):
        return WeightsCard()
    value = json.loads(text)
    try:
        if "held_out" in value["card"]:  # of before a release: it may mean that test/ was seen
            raise ValueError("its card is of an earlier version; pre-train again")
        return pydantic.TypeAdapter(WeightsCard).validate_python(value["card"])
    except (KeyError, TypeError):
        raise ValueError("what cvgssl wrote about it is incomplete") from None
    except pydantic.ValidationError as error:
        raise ValueError(f"its card is wrong at {first_problem(error)}") from None


def first_problem(error: pydantic.ValidationError) -> str:
    """The first place where a card is wrong, and why."""
    problem = error.errors(include_url=False)[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}"
