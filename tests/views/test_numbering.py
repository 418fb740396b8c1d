import torch

from cvgssl.views.random_numbers import view_numbers


def test_without_a_bank_every_epoch_and_role_has_numbers_of_its_own() -> None:
    keys = torch.tensor([4, 8])
    numbers = {
        tuple(view_numbers(0, keys, role, 3, epoch, bank=0).tolist())
        for epoch in range(5)
        for role in range(3)
    }
    assert numbers == {(number, number) for number in range(15)}


def test_a_bank_has_few_numbers_per_role_and_all_are_used_alike() -> None:
    keys = torch.arange(3000)
    numbers = view_numbers(7, keys, 2, 5, epoch=11, bank=8)
    assert numbers.dtype is torch.int64
    assert set((numbers % 5).tolist()) == {2}
    counts = torch.bincount(numbers // 5, minlength=8)
    assert len(counts) == 8
    assert (counts - 375).abs().max() < 80  # four standard deviations


def test_a_picture_goes_through_its_bank_in_an_order_of_its_own() -> None:
    keys = torch.arange(200)
    epochs = [view_numbers(7, keys, 0, 5, epoch, bank=4) // 5 for epoch in range(40)]
    turns = torch.stack(epochs).float()
    assert (turns.unique(dim=1).shape[1]) == 200
    assert turns.mean(0).std() < 0.4  # no picture is left at one of its views
    other = view_numbers(7, keys, 1, 5, 0, bank=4) // 5
    assert not torch.equal(other, epochs[0])  # nor do the roles go together


def test_the_choice_does_not_depend_on_the_batch() -> None:
    keys = torch.tensor([9, -3, 2**60])
    together = view_numbers(1, keys, 1, 2, 6, bank=16)
    for i in range(3):
        assert view_numbers(1, keys[i : i + 1], 1, 2, 6, bank=16)[0] == together[i]
    assert torch.equal(view_numbers(1, keys, 1, 2, 6, bank=1), torch.ones(3, dtype=torch.int64))
