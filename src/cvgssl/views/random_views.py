"""Random views of pictures: what makes a view is drawn first, as data, and rendered then.

The steps and their distributions are those of torchvision's RandomResizedCrop (bilinear,
antialiased), ColorJitter(brightness, contrast), RandomGrayscale, RandomApply(GaussianBlur) and
Random{Horizontal,Vertical}Flip, in this order, on floats: nothing is rounded to 8 bits between.

Shapes: B pictures, C channels (1 gray or 3), S side of the stored picture, s side of the view.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from cvgssl.runtime.launch import to_device
from cvgssl.views.filtering import filtered, gaussian, resizing
from cvgssl.views.random_numbers import uniforms
from cvgssl.views.recipe import ViewRecipe

_TRIES = 10  # for a crop that fits, as torchvision
_OTHERS = 10  # numbers that a view needs beside those
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601; of equal channels exactly their value
_CHUNK = 200_000  # numbers of views made at a time by each thread of a CPU, which fit its cache


@dataclass(frozen=True)
class ViewParameters:
    """What makes one view of each of B pictures; tensors [B] on the CPU.

    top, left, height, width: int64, the crop in pixels of the stored picture.
    flip_x, flip_y: bool. brightness, contrast: float32 factors; contrast_first: bool, their order.
    gray: bool. sigma: float32, standard deviation of the blur in pixels of the view, 0 for none.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip_x: Tensor
    flip_y: Tensor
    brightness: Tensor
    contrast: Tensor
    contrast_first: Tensor
    gray: Tensor
    sigma: Tensor

    def __len__(self) -> int:
        return len(self.top)

    def __getitem__(self, rows: slice | Tensor) -> "ViewParameters":
        """The parameters of some of the pictures."""
        return ViewParameters(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device) -> "ViewParameters":
        """The same on another device, by one copy: float64 holds all of these numbers."""
        if device == self.top.device:
            return self
        values = [getattr(self, field.name) for field in fields(self)]
        copies = to_device(torch.stack([value.double() for value in values]), device)
        return ViewParameters(
            *(copy.to(value.dtype) for copy, value in zip(copies, values, strict=True))
        )


def draw_views(
    recipe: ViewRecipe, seed: int, keys: Tensor, numbers: Tensor, side: int
) -> ViewParameters:
    """Parameters of one view of each picture, which depend on nothing but these arguments.

    seed: 0..2**64 - 1. keys: int64 [B], what identifies each picture, on the CPU. numbers:
    int64 [B], the number of the view, 0..2**32 - 1. side: S, pixels. A picture's parameters do
    not depend on the others in the batch.
    """
    u = uniforms(seed, keys, numbers, _OTHERS + 2 * _TRIES).double()
    flip_x, flip_y, gray, blur, order, brightness, contrast, sigma, down, across = u[
        :, :_OTHERS
    ].unbind(1)
    top, left, height, width = _crops(recipe, side, u[:, _OTHERS:], down, across)
    return ViewParameters(
        top=top,
        left=left,
        height=height,
        width=width,
        flip_x=flip_x < recipe.flip_x,
        flip_y=flip_y < recipe.flip_y,
        brightness=_between(_factors(recipe.brightness), brightness).float(),
        contrast=_between(_factors(recipe.contrast), contrast).float(),
        contrast_first=order < 0.5,
        gray=gray < recipe.gray,
        sigma=torch.where(blur < recipe.blur, _between(recipe.blur_sigma, sigma), 0.0).float(),
    )


def by_columns(pixels: Tensor) -> Tensor:
    """The same pixels [B, C, S, S] with columns together in memory, as `render` reads them.

    Worth it where several views are made of them.
    """
    return pixels.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)


@torch.no_grad()
def render(pixels: Tensor, parameters: ViewParameters, size: int) -> Tensor:
    """Make one view of each picture: uint8 [B, C, S, S] to float32 [B, C, s, s] in 0..1.

    Works on the device of the pixels, in float32 also under autocast. Gray pictures (C = 1) stay
    of one channel and give the view that three equal channels would.
    """
    batch, channels, side, _ = pixels.shape
    assert pixels.dtype == torch.uint8 and len(parameters) == batch and side == pixels.shape[3]
    p = parameters.to(pixels.device)
    # how many they are is found out on the CPU: a GPU would be waited for
    blurred, grayed = parameters.sigma.nonzero()[:, 0], parameters.gray.nonzero()[:, 0]
    views = torch.empty(batch, channels, size, size, device=pixels.device)
    on_cpu = pixels.device.type == "cpu"
    chunk = max(batch, 1)
    if on_cpu:
        chunk = -(-_CHUNK * torch.get_num_threads() // (channels * size**2))
    with torch.autocast(pixels.device.type, enabled=False):
        vertical = resizing(p.top, p.height, p.flip_y, size, side).times(p.brightness / 255)
        horizontal = resizing(p.left, p.width, p.flip_x, size, side)
        for first in range(0, batch, chunk):
            part = slice(first, first + chunk)
            bright = filtered(pixels[part], vertical[part], horizontal[part])
            _finish(bright, p[part], views[part])
        if channels == 3:
            grayed = to_device(grayed, pixels.device)
            views[grayed] = _luma(views[grayed]).expand(-1, 3, -1, -1)
        for rows in torch.split(blurred, chunk) if len(blurred) else ():
            blur = gaussian(parameters.sigma[rows], size).to(pixels.device)
            rows = to_device(rows, pixels.device)
            views.index_copy_(0, rows, filtered(views.index_select(0, rows), blur, blur))
    return views


def _finish(bright: Tensor, p: ViewParameters, views: Tensor) -> None:
    """Write views without gray and blur, given the resized crops times their brightness factors.

    Brightness and contrast each clamp to 0..1. Where brightness comes first, that is what is
    done. Where contrast does, contrast and clamping scale with the brightness, so that the last
    clamp is to 0..min(brightness, 1) and the first is not needed.
    """
    unbounded = torch.full_like(p.brightness, torch.inf)
    before = torch.where(p.contrast_first, unbounded, 1)[:, None, None, None]
    after = torch.where(p.contrast_first, p.brightness, 1).clamp_(max=1)[:, None, None, None]
    contrast = p.contrast[:, None, None, None]
    torch.minimum(bright, before, out=bright)
    mean = _luma(bright.mean((2, 3), keepdim=True))
    bright.mul_(contrast).add_((1 - contrast) * mean)
    torch.minimum(bright, after, out=bright)
    torch.clamp(bright, min=0, out=views)


def _luma(pictures: Tensor) -> Tensor:
    """Gray value of each pixel: [B, C, ...] to [B, 1, ...]."""
    if pictures.shape[1] == 1:
        return pictures
    red, green, blue = pictures.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[:, None]


def _crops(
    recipe: ViewRecipe, side: int, tries: Tensor, down: Tensor, across: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width of each crop, int64 [B], from numbers in 0..1.

    tries: [B, 2 * tries], a number for the area and one for the ratio of each. The first try that
    fits the picture is taken; where none does, the largest crop in the middle whose ratio is
    allowed.
    """
    least, most = recipe.ratio
    area = side**2 * _between(recipe.scale, tries[:, ::2])
    ratio = _between((math.log(least), math.log(most)), tries[:, 1::2]).exp()
    sizes = torch.stack([area / ratio, area * ratio]).sqrt_().round_()  # heights, widths
    fits = ((sizes > 0) & (sizes <= side)).all(0)  # [B, tries]
    chosen = fits.int().argmax(1, keepdim=True).expand(2, -1, -1)  # argmax: the first True
    height, width = sizes.gather(2, chosen)[..., 0].long()
    none = ~fits.any(1)
    height = torch.where(none, min(side, round(side / least)), height)
    width = torch.where(none, min(side, round(side * most)), width)
    top = torch.where(none, (side - height) // 2, (down * (side - height + 1)).long())
    left = torch.where(none, (side - width) // 2, (across * (side - width + 1)).long())
    return top, left, height, width


def _factors(half_width: float) -> tuple[float, float]:
    return max(0.0, 1 - half_width), 1 + half_width


def _between(ends: tuple[float, float], share: Tensor) -> Tensor:
    low, high = ends
    return low + (high - low) * share


def support_recipe(size: int) -> ViewRecipe:
    """Mild views of `size` pixels: labels are few, and a defect must not be cut away.

    Square crops of 0.49 to 1 of the area (0.7 to 1 of the side; it is the area that is uniform),
    mirrored either way, brightness and contrast changed by up to a fifth.
    """
    return ViewRecipe(size, scale=(0.49, 1.0), ratio=(1.0, 1.0), flip_y=0.5)


def augmented_views(pixels: Tensor, seed: int, epoch: int) -> Tensor:
    """One view of each labelled picture: uint8 [N, C, S, S] to uint8 of the same shape.

    A view depends on the seed, the epoch and the picture's row among the N, on nothing else.
    """
    rows = torch.arange(len(pixels))
    side = pixels.shape[-1]
    drawn = draw_views(support_recipe(side), seed, rows, torch.full_like(rows, epoch), side)
    return render(pixels, drawn, side).mul_(255).round_().to(torch.uint8)
