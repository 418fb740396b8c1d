"""Per-channel mean and standard deviation that a backbone's weights were trained with."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

_Mean = Annotated[float, Field(allow_inf_nan=False)]
_Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Triple = tuple[_Mean, _Mean, _Mean]


@dataclass(frozen=True)
class Normalization:
    """Pixels x in 0..1 become (x - mean) / std, channel by channel (red, green, blue)."""

    mean: Triple
    std: tuple[_Deviation, _Deviation, _Deviation]

    @property
    def same_for_all_channels(self) -> bool:
        """Whether one channel's arithmetic serves all three."""
        return len(set(self.mean)) == 1 and len(set(self.std)) == 1


HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""The one that CVGSSL's published commands use."""

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

CLIP = Normalization((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""OpenAI's, taken over by most open_clip models."""
