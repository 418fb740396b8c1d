"""Which view of a picture a training step sees, as a number that draws it again anywhere."""

import torch
from torch import Tensor

from cvgssl.runtime.seeds import seed_for
from cvgssl.views.philox import uniforms


def view_numbers(seed: int, keys: Tensor, role: int, roles: int, epoch: int, bank: int) -> Tensor:
    """Numbers of the views that each picture has in an epoch, int64 [B].

    keys: int64 [B], what identifies each picture. role: 0 (weak) .. roles - 1; every role has its
    own numbers. bank: how many views of each role are stored per picture; one of them is chosen
    at random, anew in every epoch. 0: no bank, every epoch has new views.
    """
    assert 0 <= role < roles
    if not bank:
        return torch.full_like(keys, epoch * roles + role)
    turn = torch.full_like(keys, epoch * roles + role)
    chosen = uniforms(seed_for(seed, "bank"), keys, turn, 1)[:, 0]
    version = (chosen * bank).long().clamp_(max=bank - 1)  # the product may round up to bank
    return version * roles + role
