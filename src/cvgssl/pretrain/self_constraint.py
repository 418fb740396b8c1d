"""The self-constrained loss on adapted teacher embeddings.

It is meant to keep the distances within a class and between classes apart. Shape letters: B
pictures, W processes, D width. For consecutive views v and v + 1 with embeddings a_i and b_i of
picture i, let s_ij = cosine(a_i, b_j). Every form takes one such pair and is averaged over pairs.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from cvgssl.pretrain.contrastive import cosines, own_columns

# of the soft hinge: log(1 + exp(10 x)) / 10 is below 0.01 for x < -0.24
SHARPNESS = 10.0


def published(similarities: Tensor) -> Tensor:
    """Mean over i of -log softmax_j(s_ij) at j = argmax_j s_ij.

    The target is the loss's own largest cosine, whichever picture that belongs to: it sharpens
    what is so already and cannot pull two views of one picture together. For reproduction.
    similarities: s, float32 [B, W * B].
    """
    return F.cross_entropy(similarities, similarities.detach().argmax(dim=1))


def margin(similarities: Tensor, width: float) -> Tensor:
    """Mean over i of softhinge(max over j != i of s_ij + width - s_ii).

    Asks that two views of one picture be nearer than its hardest negative, by `width`.
    softhinge(x) = log(1 + exp(k x)) / k with k = SHARPNESS.
    similarities: s, float32 [B, W * B]; width: of cosines, 0..2.
    """
    own = own_columns(len(similarities), similarities.device)[:, None]
    positive = similarities.gather(1, own).squeeze(1)
    hardest = similarities.scatter(1, own, -torch.inf).amax(dim=1)
    return F.softplus(hardest + width - positive, beta=SHARPNESS).mean()


def self_constrained(views: Sequence[Tensor], form: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of a form over consecutive views, V times [B, D] of one teacher; float32 scalar."""
    return torch.stack([form(cosines(a, b)) for a, b in pairwise(views)]).mean()
