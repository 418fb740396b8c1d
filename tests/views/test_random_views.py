"""Views are compared with torchvision, picture by picture and distribution by distribution."""

import importlib
import math
from contextlib import nullcontext
from dataclasses import fields, replace

import pytest
import torch
from scipy import stats
from torch import Tensor

from cvgssl.encoders.timm_import import torchvision
from cvgssl.views.random_views import ViewParameters, draw_views, render
from cvgssl.views.recipe import ViewRecipe

functional = importlib.import_module("torchvision.transforms.v2.functional")
transforms = torchvision.transforms

EVERYTHING = ViewRecipe(
    48, (0.05, 1.0), brightness=0.6, contrast=0.6, gray=0.5, blur=0.5, flip_y=0.5
)


def pictures(batch: int, side: int = 64, channels: int = 3) -> Tensor:
    """Random pictures with coarse and fine detail, as bright and dark as uint8 can hold."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(batch, channels, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    grain = torch.rand(batch, channels, side, side, generator=generator)
    return ((smooth * 1.4 - 0.2 + 0.3 * grain) * 255).clamp(0, 255).to(torch.uint8)


def drawn(batch: int, recipe: ViewRecipe = EVERYTHING, side: int = 64) -> ViewParameters:
    return draw_views(recipe, 1, torch.arange(batch), torch.full((batch,), 6), side)


def unchanged(batch: int, side: int = 64) -> ViewParameters:
    no, one = torch.zeros(batch, dtype=torch.bool), torch.ones(batch)
    zero, whole = torch.zeros(batch, dtype=torch.int64), torch.full((batch,), side)
    return ViewParameters(zero, zero, whole, whole, no, no, one, one, no, no, 0 * one)


def reference(pixels: Tensor, parameters: ViewParameters, size: int) -> Tensor:
    """The same views by torchvision, one picture at a time."""
    views = []
    for picture, i in zip(pixels, range(len(pixels)), strict=True):
        p = {name: value[i].item() for name, value in vars(parameters).items()}
        box = [p["top"], p["left"], p["height"], p["width"]]
        view = functional.resized_crop(picture / 255, *box, [size, size], antialias=True)
        if p["contrast_first"]:
            view = functional.adjust_contrast(view, p["contrast"])
            view = functional.adjust_brightness(view, p["brightness"])
        else:
            view = functional.adjust_brightness(view, p["brightness"])
            view = functional.adjust_contrast(view, p["contrast"])
        if p["gray"]:
            view = functional.rgb_to_grayscale(view, num_output_channels=len(picture))
        if p["sigma"]:
            reach = min(math.ceil(3 * p["sigma"]), size - 1)
            view = functional.gaussian_blur(view, 2 * reach + 1, [p["sigma"]])
        if p["flip_x"]:
            view = functional.horizontal_flip(view)
        if p["flip_y"]:
            view = functional.vertical_flip(view)
        views.append(view)
    return torch.stack(views)


def difference(pixels: Tensor, parameters: ViewParameters, size: int) -> float:
    expected = reference(pixels, parameters, size)
    return (render(pixels, parameters, size) - expected).abs().max().item()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "size"), [(64, 24), (64, 48), (64, 64), (40, 97), (50, 33)])
def test_crops_resized_and_flipped_are_torchvision_s(side: int, size: int, channels: int) -> None:
    parameters = drawn(32, replace(EVERYTHING, blur=0, gray=0, brightness=0, contrast=0), side)
    if (side, size) == (64, 48):  # some of these views enlarge and others shrink
        assert parameters.height.min() < size < parameters.height.max()
    assert difference(pictures(32, side, channels), parameters, size) < 1e-5


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_contrast_in_either_order_are_torchvision_s(channels: int) -> None:
    parameters = drawn(32, replace(EVERYTHING, blur=0, gray=0))
    assert 0 < parameters.contrast_first.sum() < 32
    # torchvision's weights of red, green and blue sum to 0.9999, ours to 1
    assert difference(pictures(32, 64, channels), parameters, 48) < (
        1e-5 if channels == 1 else 1e-4
    )


def test_gray_views_are_torchvision_s() -> None:
    parameters = replace(unchanged(4), gray=torch.tensor([True, False, True, False]))
    assert difference(pictures(4), parameters, 64) < 2e-4
    views = render(pictures(4), parameters, 64)
    assert [bool(view.std(0).max() < 1e-6) for view in views] == [True, False, True, False]


@pytest.mark.parametrize("size", [8, 40, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_torchvision_s(size: int, channels: int) -> None:
    sigma = torch.tensor([0.0, 0.1, 0.5, 1.0, 2.0, 0.0, 3.3])
    parameters = replace(unchanged(7), sigma=sigma)
    assert difference(pictures(7, 64, channels), parameters, size) < 1e-5


@pytest.mark.parametrize("channels", [1, 3])
def test_all_steps_together_are_torchvision_s(channels: int) -> None:
    assert difference(pictures(64, 64, channels), drawn(64), 48) < 2e-4


def test_a_gray_picture_gives_what_three_equal_channels_give() -> None:
    gray = pictures(24, channels=1)
    parameters = drawn(24)
    one, three = render(gray, parameters, 48), render(gray.expand(-1, 3, -1, -1), parameters, 48)
    assert one.shape == (24, 1, 48, 48)
    torch.testing.assert_close(one.expand(-1, 3, -1, -1), three, rtol=0, atol=1e-6)


def test_a_view_that_changes_nothing_is_the_picture() -> None:
    before = pictures(2)
    views = render(before, unchanged(2), 64)
    assert views.dtype is torch.float32
    assert torch.equal((views * 255).round().to(torch.uint8), before)


def test_a_view_is_the_same_alone_and_in_any_batch() -> None:
    before, keys = pictures(40), 13 * torch.arange(40)
    numbers = torch.arange(40) % 7
    parameters = draw_views(EVERYTHING, 5, keys, numbers, 64)
    together = render(before, parameters, 48)
    other = torch.tensor([31, 4, 17])
    some = draw_views(EVERYTHING, 5, keys[other], numbers[other], 64)
    for field in fields(ViewParameters):
        assert torch.equal(getattr(some, field.name), getattr(parameters, field.name)[other])
    torch.testing.assert_close(render(before[other], some, 48), together[other], rtol=0, atol=1e-6)
    for i in (0, 15, 39):
        alone = render(before[i : i + 1], parameters[i : i + 1], 48)
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-6)


def test_every_picture_has_parameters_of_its_own() -> None:
    parameters = drawn(64, side=224)
    for name in ("brightness", "contrast"):
        assert len(getattr(parameters, name).unique()) == 64
    for name in ("top", "left", "height", "width"):
        assert len(getattr(parameters, name).unique()) > 30
    for name in ("flip_x", "flip_y", "contrast_first", "gray"):
        assert 16 < getattr(parameters, name).sum() < 48
    same = pictures(1, 224).expand(64, -1, -1, -1)
    assert len({view.numpy().tobytes() for view in render(same, parameters, 32)}) == 64


def test_pictures_and_parameters_given_are_not_changed() -> None:
    before, parameters = pictures(4), drawn(4)
    kept, values = before.clone(), [value.clone() for value in vars(parameters).values()]
    render(before, parameters, 32)
    assert torch.equal(before, kept)
    assert all(map(torch.equal, vars(parameters).values(), values))


def test_autocast_and_gradients_do_not_reach_the_pixels() -> None:
    before, parameters = pictures(4), drawn(4)
    expected = render(before, parameters, 48)
    with torch.autocast("cpu", torch.bfloat16):
        views = render(before, parameters, 48)
    assert torch.equal(views, expected)
    assert not views.requires_grad


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_made_on_the_device_of_the_pictures(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors of torch's meta device refuse to meet those of the CPU, as a GPU's do."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # not for meta
    recipe = ViewRecipe(32, (0.2, 1.0), gray=0.5, blur=0.5, flip_y=0.5)
    keys = torch.arange(16)
    parameters = draw_views(recipe, 0, keys, keys, 40)
    assert parameters.gray.any() and parameters.sigma.any()
    pixels = torch.zeros(16, channels, 40, 40, dtype=torch.uint8, device="meta")
    views = render(pixels, parameters, 32)
    assert views.is_meta and views.shape == (16, channels, 32, 32)


def test_no_pictures_give_no_views() -> None:
    assert render(pictures(2)[:0], drawn(0), 32).shape == (0, 3, 32, 32)


# What is drawn, beside what torchvision draws.

DRAWS = 3000


def crops(
    scale: tuple[float, float], ratio: tuple[float, float], side: int
) -> tuple[Tensor, Tensor]:
    """Top, left, height, width [N, 4] of our draws and of torchvision's."""
    parameters = drawn(DRAWS, ViewRecipe(32, scale, ratio), side)
    ours = torch.stack(
        [parameters.top, parameters.left, parameters.height, parameters.width], dim=1
    )
    torch.manual_seed(0)
    get = transforms.RandomResizedCrop.get_params
    picture = torch.empty(1, side, side)
    return ours, torch.tensor([get(picture, list(scale), list(ratio)) for _ in range(DRAWS)])


@pytest.mark.parametrize(
    ("scale", "ratio"),
    [
        ((0.2, 1.0), (3 / 4, 4 / 3)),
        ((0.114, 0.571), (3 / 4, 4 / 3)),
        ((0.49, 1.0), (1.0, 1.0)),
        ((0.9, 1.0), (0.5, 2.0)),  # few tries fit; sometimes none
    ],
)
def test_crops_are_distributed_as_torchvision_s(
    scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    ours, theirs = crops(scale, ratio, 224)
    for a, b in zip(ours.T, theirs.T, strict=True):
        assert stats.ks_2samp(a, b).pvalue > 0.01
    for a, b in ((0, 2), (1, 3), (2, 3)):  # and these go together as they do there
        correlation = [torch.corrcoef(x[:, [a, b]].double().T)[0, 1] for x in (ours, theirs)]
        assert abs(correlation[0] - correlation[1]) < 0.08
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= 224).all()


@pytest.mark.parametrize("ratio", [(2.0, 3.0), (0.25, 0.4), (0.999, 1.001)])
def test_where_no_crop_fits_it_is_torchvision_s_fallback(ratio: tuple[float, float]) -> None:
    ours, theirs = crops((1.1, 1.2), ratio, 100)
    assert torch.equal(ours, theirs)


def test_colours_and_blur_are_distributed_as_torchvision_s() -> None:
    recipe = ViewRecipe(32, (0.2, 1), brightness=0.4, contrast=0.2, blur=1.0)
    parameters = drawn(DRAWS, recipe)
    torch.manual_seed(0)
    jitter = [
        transforms.ColorJitter.get_params([0.6, 1.4], [0.8, 1.2], None, None) for _ in range(DRAWS)
    ]
    blur = [transforms.GaussianBlur.get_params(0.1, 2.0) for _ in range(DRAWS)]
    assert stats.ks_2samp(parameters.brightness, [j[1] for j in jitter]).pvalue > 0.01
    assert stats.ks_2samp(parameters.contrast, [j[2] for j in jitter]).pvalue > 0.01
    assert stats.ks_2samp(parameters.sigma, blur).pvalue > 0.01
    theirs = sum(j[0].tolist().index(1) < j[0].tolist().index(0) for j in jitter) / DRAWS
    assert abs(parameters.contrast_first.float().mean() - theirs) < 0.04


def test_probabilities_are_those_of_the_recipe() -> None:
    recipe = ViewRecipe(32, (0.2, 1), gray=0.2, blur=0.7, flip_x=0.5, flip_y=0.1)
    parameters = drawn(DRAWS, recipe)
    shares = {"gray": 0.2, "flip_x": 0.5, "flip_y": 0.1}
    for name, share in shares.items():
        assert abs(getattr(parameters, name).float().mean() - share) < 0.035
    assert abs((parameters.sigma > 0).float().mean() - 0.7) < 0.035
    never = drawn(DRAWS, ViewRecipe(32, (0.2, 1), flip_x=0.0))
    assert not (never.gray | never.flip_x | never.flip_y | (never.sigma > 0)).any()


def test_no_two_parameters_go_together() -> None:
    recipe = ViewRecipe(32, (0.1, 0.3), gray=0.5, blur=0.5, flip_y=0.5)
    values = vars(drawn(DRAWS, recipe, 224)) | {"sigma": drawn(DRAWS, recipe, 224).sigma > 0}
    values["top"] = values["top"] / (224 - values["height"])  # the larger, the less room
    values["left"] = values["left"] / (224 - values["width"])
    values["area"] = values["height"] * values["width"]
    values["ratio"] = values.pop("width") / values.pop("height")
    together = torch.corrcoef(torch.stack([value.double() for value in values.values()]))
    together -= torch.eye(len(values))
    assert together.abs().max() < 0.08
