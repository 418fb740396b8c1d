"""Random numbers that depend only on a picture's key and a view's number (Philox).

Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011): a bijection of 128-bit counters, chosen by a 64-bit key. Here the key is the seed and
the counter says which picture, which of its views and which block of four numbers.

Shapes: B pictures.

Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvgssl.runtime.seeds import seed_for

Words = NDArray[np.uint64]  # 32-bit words, kept in 64 bits so that products fit

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_WORD = np.uint64(32)
_MASK = np.uint64(0xFFFFFFFF)


def philox4x32(counter: tuple[Words, Words, Words, Words], key: int) -> tuple[Words, ...]:
    """Four words of 32 random bits for every counter.

    counter: its four words, lowest first, arrays of shapes that broadcast.
    key: 0..2**64 - 1.
    """
    a, b, c, d = counter
    low, high = key & 0xFFFFFFFF, key >> 32
    for step in range(_ROUNDS):
        left, right = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        keys = [np.uint64((half + step * add) & 0xFFFFFFFF)
                for half, add in zip((low, high), _KEY_STEPS, strict=True)]  # fmt: skip
        a, b, c, d = (
            (right >> _WORD) ^ b ^ keys[0],
            right & _MASK,
            (left >> _WORD) ^ d ^ keys[1],
            left & _MASK,
        )
    return a, b, c, d


def uniforms(seed: int, keys: Tensor, view: Tensor, count: int) -> Tensor:
    """`count` numbers for one view of each picture, float32 [B, count], uniform in [0, 1).

    seed: 0..2**64 - 1. keys: int64 [B], what identifies each picture. view: int64 [B], the number
    of the view, 0..2**32 - 1. All on the CPU. A row depends on the seed and its own key and view
    only; more numbers of a view go on where fewer end.
    """
    assert keys.shape == view.shape == (len(keys),)
    assert 0 <= seed < 2**64
    numbers = view.numpy().astype(np.uint64)[:, None]
    assert not (numbers >> _WORD).any(), "view numbers must fit 32 bits"
    pictures = keys.numpy().astype(np.uint64)[:, None]  # of negative keys the same 64 bits
    block = np.arange(-(-count // 4), dtype=np.uint64)
    words = np.stack(
        philox4x32((block, numbers, pictures & _MASK, pictures >> _WORD), seed), axis=-1
    )
    words = words.reshape(len(keys), 4 * block.size)[:, :count]
    # a float32 holds 24 bits exactly: with all 32, rounding could give 1
    return torch.from_numpy((words >> np.uint64(8)).astype(np.float32) * np.float32(2**-24))


def view_numbers(seed: int, keys: Tensor, role: int, roles: int, epoch: int, bank: int) -> Tensor:
    """Numbers of the views that each picture has in an epoch, int64 [B].

    keys: int64 [B], what identifies each picture. role: 0 (weak) .. roles - 1; every role has its
    own numbers. bank: how many views of each role are stored per picture; one of them is chosen
    at random, another in every epoch. 0: no bank, every epoch has new views.
    """
    assert 0 <= role < roles
    if not bank:
        return torch.full_like(keys, epoch * roles + role)
    turn = torch.full_like(keys, epoch * roles + role)
    chosen = uniforms(seed_for(seed, "bank"), keys, turn, 1)[:, 0]
    version = (chosen * bank).long().clamp_(max=bank - 1)  # the product may round up to bank
    return version * roles + role
