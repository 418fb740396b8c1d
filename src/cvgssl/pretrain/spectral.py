"""What teachers say about all pictures together: a diffusion map of their embeddings.

A student that regresses it from pixels learns the map for pictures that are not in the graph.

Shape letters: N pictures, D width of their embeddings.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def joint_embedding(embeddings: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Embeddings of several teachers, [N, D_t] each, as one float32 [N, sum of D_t], length 1.

    Every teacher's are standardized and brought to length 1; squared distances then add up by
    weight.
    """
    parts = [
        F.normalize((one - one.mean(0)) / one.std(0).clamp_min(1e-6), dim=1) * weight**0.5
        for one, weight in zip(embeddings, weights, strict=True)
    ]
    return F.normalize(torch.cat(parts, dim=1), dim=1)
