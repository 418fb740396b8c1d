import torch
from torch import Tensor

from cvgssl.views.random_views import augmented_views, support_recipe


def pictures(batch: int, channels: int = 1, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(batch, channels, 8, 8, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    return (fine * 255).clamp(0, 255).to(torch.uint8)


def test_views_are_pictures_of_the_same_kind() -> None:
    for channels in (1, 3):
        before = pictures(6, channels)
        kept = before.clone()
        after = augmented_views(before, seed=0, epoch=1)
        assert after.dtype is torch.uint8
        assert after.shape == before.shape
        assert torch.equal(before, kept)


def test_views_are_mild() -> None:
    """Each view is close to a square crop of at least 0.7 of the side, mirrored or not."""
    recipe = support_recipe(32)
    assert (recipe.scale, recipe.ratio, recipe.gray, recipe.blur) == ((0.49, 1), (1, 1), 0, 0)
    flat = torch.full((500, 1, 32, 32), 100, dtype=torch.uint8)
    levels = augmented_views(flat, seed=0, epoch=0).float().flatten(1)
    assert levels.std(1).max() == 0  # of an even picture, contrast changes nothing
    assert 80 <= levels.min() < 82
    assert 118 < levels.max() <= 120


def test_bright_pixels_are_clipped_and_do_not_wrap() -> None:
    white = torch.full((64, 1, 8, 8), 250, dtype=torch.uint8)
    assert augmented_views(white, seed=0, epoch=0).min() >= 199


def test_views_change_with_picture_epoch_and_seed_and_nothing_else() -> None:
    same = pictures(1).expand(16, -1, -1, -1)
    torch.manual_seed(1)
    first = augmented_views(same, seed=5, epoch=2)
    assert len({view.numpy().tobytes() for view in first}) == 16
    torch.manual_seed(2)
    assert torch.equal(augmented_views(same, seed=5, epoch=2), first)
    assert not torch.equal(augmented_views(same, seed=5, epoch=3), first)
    assert not torch.equal(augmented_views(same, seed=6, epoch=2), first)


def test_a_view_does_not_depend_on_the_pictures_after_it() -> None:
    before = pictures(20)
    together = augmented_views(before, seed=9, epoch=0)
    assert torch.equal(augmented_views(before[:3], seed=9, epoch=0), together[:3])
