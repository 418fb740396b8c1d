from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from cvgssl.encoders.timm_import import torchvision
from cvgssl.views.support import ViewParameters, apply_views, draw_parameters

crop = torchvision.transforms.functional.resized_crop


def pictures(batch: int, side: int = 48, channels: int = 3) -> Tensor:
    """Smooth random pictures, as bright and dark as uint8 can hold."""
    coarse = torch.rand(batch, channels, 8, 8, generator=torch.Generator().manual_seed(3))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    return (fine * 255).clamp(0, 255).to(torch.uint8)


def unchanged(batch: int) -> ViewParameters:
    one, zero = torch.ones(batch), torch.zeros(batch)
    return ViewParameters(one, zero, zero, one, one, one, one)


def row(parameters: ViewParameters, i: int) -> ViewParameters:
    return ViewParameters(**{name: value[i : i + 1] for name, value in vars(parameters).items()})


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [17, 48, 224])
def test_parameters_that_change_nothing_give_the_picture_exactly(side: int, channels: int) -> None:
    before = pictures(2, side, channels)
    after = apply_views(before, unchanged(2))
    assert after.dtype is torch.uint8
    assert torch.equal(after, before)


def test_flips_are_exact() -> None:
    before = pictures(2)
    mirrored = replace(unchanged(2), flip_x=torch.tensor([-1.0, 1.0]))
    assert torch.equal(apply_views(before, mirrored), torch.stack([before[0].flip(-1), before[1]]))
    upside_down = replace(unchanged(2), flip_y=torch.tensor([1.0, -1.0]))
    expected = torch.stack([before[0], before[1].flip(-2)])
    assert torch.equal(apply_views(before, upside_down), expected)


@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize(("left", "top"), [(0, 0), (12, 0), (5, 9), (12, 12)])
def test_crops_and_flips_agree_with_torchvision(
    left: int, top: int, flips: tuple[int, int]
) -> None:
    side, cut = 48, 36
    before = pictures(1, side)
    parameters = replace(
        unchanged(1),
        scale=torch.tensor([cut / side]),
        left=torch.tensor([left / (side - cut)]),
        top=torch.tensor([top / (side - cut)]),
        flip_x=torch.tensor([float(flips[0])]),
        flip_y=torch.tensor([float(flips[1])]),
    )
    expected = crop(before, top, left, cut, cut, [side, side], antialias=False)
    expected = expected.flip([axis for axis, sign in zip((-1, -2), flips, strict=True) if sign < 0])
    difference = (apply_views(before, parameters).int() - expected.int()).abs()
    # at the border of the crop the view sees the pixels beyond it, torchvision repeats the last
    assert difference[..., 1:-1, 1:-1].max() <= 1
    assert difference.float().mean() < 0.5


def test_brightness_and_contrast_are_the_factors_they_say() -> None:
    before = 60 + pictures(1) // 4  # far from black and white, so that nothing is clipped
    bright = apply_views(before, replace(unchanged(1), brightness=torch.tensor([1.2])))
    assert (bright - 1.2 * before).abs().max() <= 0.51
    mean = before.float().mean()
    contrasted = apply_views(before, replace(unchanged(1), contrast=torch.tensor([0.8])))
    assert (contrasted - (mean + 0.8 * (before - mean))).abs().max() <= 0.51


def test_bright_pixels_are_clipped_and_do_not_wrap() -> None:
    white = torch.full((1, 1, 8, 8), 250, dtype=torch.uint8)
    assert apply_views(white, replace(unchanged(1), brightness=torch.tensor([1.2]))).eq(255).all()


def test_every_picture_has_parameters_of_its_own() -> None:
    parameters = draw_parameters(64, seed=0)
    for field in fields(ViewParameters):
        values = getattr(parameters, field.name)
        assert values.shape == (64,)
        if field.name.startswith("flip"):
            assert set(values.tolist()) == {-1, 1}
        else:
            assert len(values.unique()) == 64
    same = pictures(1).expand(64, -1, -1, -1)
    views = apply_views(same, parameters)
    assert len({view.numpy().tobytes() for view in views}) == 64


def test_parameters_keep_to_their_ranges_and_use_them() -> None:
    parameters = draw_parameters(5000, seed=1)
    ranges = {
        "scale": (0.7, 1), "left": (0, 1), "top": (0, 1),
        "brightness": (0.8, 1.2), "contrast": (0.8, 1.2),
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        values = getattr(parameters, name)
        width = high - low
        assert low - 1e-6 <= values.min() < low + 0.01 * width
        assert high - 0.01 * width < values.max() <= high + 1e-6
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.02 * width)
    for name in ("flip_x", "flip_y"):
        assert abs(getattr(parameters, name).mean()) < 0.05
    drawn = torch.stack(list(vars(parameters).values()))
    off_diagonal = torch.corrcoef(drawn) - torch.eye(len(drawn))
    assert off_diagonal.abs().max() < 0.06  # no two of them go together


def test_the_seed_alone_decides() -> None:
    torch.manual_seed(1)
    first = draw_parameters(8, seed=5)
    torch.manual_seed(2)
    second, other = draw_parameters(8, seed=5), draw_parameters(8, seed=6)
    assert torch.equal(
        apply_views(pictures(8), first),
        apply_views(pictures(8), second),
    )
    assert not torch.equal(first.scale, other.scale)


def test_a_view_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    before, parameters = pictures(6), draw_parameters(6, seed=9)
    together = apply_views(before, parameters)
    for i in range(6):
        assert torch.equal(apply_views(before[i : i + 1], row(parameters, i))[0], together[i])


def test_the_pictures_given_are_not_changed() -> None:
    before = pictures(4)
    kept = before.clone()
    apply_views(before, draw_parameters(4, seed=0))
    assert torch.equal(before, kept)
