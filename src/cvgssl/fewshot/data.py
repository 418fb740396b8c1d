"""The data of a job: decoded pictures, labels and the draws of its runs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from cvgssl.fewshot.config import AdaptConfig
from cvgssl.fewshot.draws import DRAWS, Draws, draw, load_draws
from cvgssl.images.geometry import Geometry
from cvgssl.images.scan import load_dataset
from cvgssl.images.store import load_dataset_pictures
from cvgssl.images.table import Dataset
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress


@dataclass(frozen=True)
class Task:
    """What is learned from what. Pixels are uint8 [N, C, S, S], labels int64 [N] on the CPU."""

    dataset: Dataset
    geometry: Geometry
    draws: Draws
    train_pixels: NDArray[np.uint8]
    test_pixels: NDArray[np.uint8]
    skipped: int
