import numpy as np
import pytest
import torch
from scipy import stats

from cvgssl.views.random_numbers import philox4x32, uniforms


def test_the_published_answers() -> None:
    zero, ones = np.uint64(0), np.uint64(0xFFFFFFFF)
    vectors = {
        (zero,) * 4: (0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (ones,) * 4: (2**64 - 1, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        # the digits of pi, low word first
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344): (
            0x299F31D0_A4093822,
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    }
    for counter, (key, expected) in vectors.items():
        a, b, c, d = (np.array([word], dtype=np.uint64) for word in counter)
        assert [int(word[0]) for word in philox4x32((a, b, c, d), key)] == expected


def test_numbers_are_uniform_below_one() -> None:
    keys = torch.arange(2000)
    drawn = uniforms(3, keys, torch.zeros_like(keys), 10)
    assert drawn.dtype is torch.float32
    assert drawn.shape == (2000, 10)
    assert 0 <= drawn.min() < 0.001
    assert 0.999 < drawn.max() < 1
    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 0.01
    together = torch.corrcoef(drawn.T) - torch.eye(10)
    assert together.abs().max() < 0.1


def test_a_row_depends_on_its_own_key_and_view_only() -> None:
    keys = torch.tensor([5, -7, 2**62, 5])
    views = torch.tensor([0, 1, 2**32 - 1, 9])
    together = uniforms(11, keys, views, 30)
    for i in range(4):
        assert torch.equal(uniforms(11, keys[i : i + 1], views[i : i + 1], 30)[0], together[i])
    assert torch.equal(uniforms(11, keys, views, 7), together[:, :7])


def test_seed_key_and_view_each_change_all_numbers() -> None:
    one = torch.tensor([1])
    drawn = torch.cat(
        [
            uniforms(seed, torch.tensor([key]), view * one, 8)
            for seed in (0, 1, 2**63)
            for key in (0, 1, 2**33, -1)
            for view in (0, 1, 77)
        ]
    )
    assert len(drawn.unique()) == drawn.numel()


def test_a_view_number_that_would_be_cut_off_is_refused() -> None:
    with pytest.raises(AssertionError):
        uniforms(0, torch.tensor([1]), torch.tensor([2**32]), 1)
