"""Draw method.png, the data flow of pre-training: `python docs/draw_method.py`.

Coordinates are pixels at the width of 900 that the picture is shown with, origin at lower left.
"""

import io
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.surfaces import generate_surface
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.views.random_views import draw_views, render

WIDTH, HEIGHT = 900, 898
INK, FAINT = "#1d2733", "#5b6876"
GRAY, BLUE, ORANGE, GREEN = "#eef1f4", "#e4effb", "#fdeeda", "#e5f4e6"  # lanes
EDGES = {GRAY: "#8793a0", BLUE: "#2b6cb0", ORANGE: "#c47a14", GREEN: "#3b8a43"}


def main() -> None:
    """Write the picture beside this script."""
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.axis("off")
    _views(axes)
    _student(axes)
    _losses(axes)
    _guides(axes)
    _after(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    small = Image.open(buffer).convert("RGB").quantize(128)  # a quarter of the bytes
    small.save(Path(__file__).with_name("method.png"), optimize=True)


def _views(axes: Axes) -> None:
    _lane(axes, 736, 150, GRAY)
    # views of a real run: one generated picture, the default recipes, the default seed
    picture = torch.from_numpy(generate_surface("patches", 3, 4))[None, None]
    key = torch.zeros(1, dtype=torch.int64)
    recipes = PretrainConfig(data=Path()).recipes
    _thumbnail(axes, picture[0, 0].numpy(), 40, "picture of train/,\nno label")
    _arrow(axes, (148, 826), (228, 826))
    axes.text(188, 817, "drawn by seed,\npicture and\nnumber", ha="center", va="top", size=8)
    for role, recipe in enumerate(recipes):
        number = torch.full_like(key, role)
        parameters = draw_views(recipe, 0, key, number, picture.shape[-1])
        view = render(picture, parameters, recipe.size)[0, 0].numpy()
        least, most = (f"{100 * share:.0f}" for share in recipe.scale)
        name = "strong" if role else "weak"
        caption = f"{name} view $x_{role}$\n{least} to {most} % of area"
        _thumbnail(axes, view, 248 + 130 * role, caption)
    _arrow(axes, (178, 736), (178, 664))
    axes.plot([30, 30], [736, 192], color=EDGES[ORANGE], lw=1.8, zorder=1)
    _arrow(axes, (30, 192), (58, 192), EDGES[ORANGE])


def _student(axes: Axes) -> None:
    _lane(axes, 580, 120, BLUE)
    _title(axes, 872, 693, "student: trained; every view is a pass of its own", "right")
    _box(axes, 60, 598, 236, 64, BLUE, "backbone", "features $s_v$; kept in the end")
    _box(axes, 400, 598, 190, 64, BLUE, "projection head", "$h_v$; 2 layers, ViT: 3")
    _box(axes, 670, 598, 190, 64, BLUE, "predictor", "$p_v$; 2 layers")
    _arrow(axes, (296, 630), (398, 630))
    axes.text(346, 636, "published", ha="center", va="bottom", size=8, color=FAINT)
    _arrow(axes, (590, 630), (668, 630))


def _losses(axes: Axes) -> None:
    _lane(axes, 424, 132, GRAY)
    _title(axes, 630, 549, "losses: one side or the other", "center")
    _box(axes, 60, 442, 300, 82, GRAY, "relation + regression",
         "KL of the similarities in the batch,\n1 − cosine of a linear map of $s_v$")  # fmt: skip
    _box(axes, 400, 442, 460, 82, GRAY, "InfoNCE, the published objective",
         "teachers: weak view $p_0$ with adapted teachers $z_{tv}$, both ways\n"
         "views: strong views with the weak one;  self: among $z_{tv}$")  # fmt: skip
    _arrow(axes, (178, 598), (178, 526))
    _arrow(axes, (495, 598), (495, 526))
    _arrow(axes, (765, 598), (765, 526))


def _guides(axes: Axes) -> None:
    _lane(axes, 126, 274, ORANGE)
    _title(axes, 60, 148, "guidance: teachers are frozen, no gradient reaches them", "left")
    _box(axes, 60, 158, 262, 72, ORANGE, "frozen teachers $f_1 \\ldots f_T$",
         "each with its own size, mean,\nstd, filter and weight")  # fmt: skip
    _box(axes, 530, 158, 330, 72, ORANGE, "view bank (--bank n)",
         "embeddings of n versions of every view,\nfloat16 on disk; teachers then run once",
         dashed=True)  # fmt: skip
    _arrow(axes, (322, 192), (528, 192), EDGES[ORANGE])
    axes.text(424, 198, "once, before training", ha="center", va="bottom", size=8.5, color=FAINT)
    _box(axes, 60, 296, 216, 82, ORANGE, "diffusion map",
         "spectral: one target per\npicture, from the bank")  # fmt: skip
    _box(axes, 294, 296, 180, 82, ORANGE, "standardize",
         "relational, regression,\ndistill: per dimension")  # fmt: skip
    _box(axes, 530, 296, 330, 82, BLUE, "MLP-Adapters $A_t$",
         "published: one per teacher, 3 layers,\ntrained: $z_{tv} = A_t(f_t(x_v))$")  # fmt: skip
    # a rail that carries the embeddings, from teachers or bank, to whichever form is chosen
    rail = 264
    axes.plot([168, 695], [rail, rail], color=EDGES[ORANGE], lw=1.8)
    for x in (250, 625):
        axes.plot([x, x], [230, rail], color=EDGES[ORANGE], lw=1.8)
    text = "embeddings $f_t(x_v)$ of all views"
    axes.text(437, rail - 6, text, ha="center", va="top", size=8.5, color=FAINT)
    for x in (168, 384, 695):
        _arrow(axes, (x, rail), (x, 295), EDGES[ORANGE])
    _arrow(axes, (168, 378), (168, 440), EDGES[ORANGE])
    _arrow(axes, (327, 378), (327, 440), EDGES[ORANGE])
    _arrow(axes, (695, 378), (695, 440), EDGES[BLUE])


def _after(axes: Axes) -> None:
    _lane(axes, 12, 96, GREEN)
    _box(axes, 60, 28, 230, 64, BLUE, "backbone.safetensors", "heads and teachers are not kept")
    _box(axes, 344, 28, 236, 64, GREEN, "few-shot adaptation", "fine-tune or linear, few labels")
    _box(axes, 634, 28, 226, 64, GREEN, "accuracy on test/", "pictures that nothing has seen")
    _arrow(axes, (290, 60), (342, 60))
    _arrow(axes, (580, 60), (632, 60))


def _lane(axes: Axes, bottom: float, height: float, colour: str) -> None:
    axes.add_patch(FancyBboxPatch(
        (12, bottom), WIDTH - 24, height, boxstyle="round,pad=0,rounding_size=10",
        facecolor=colour, edgecolor="none", zorder=0))  # fmt: skip


def _title(axes: Axes, x: float, top: float, text: str, side: str) -> None:
    axes.text(x, top, text, ha=side, va="top", size=9.5, color=FAINT, style="italic")


def _box(
    axes: Axes, left: float, bottom: float, width: float, height: float, colour: str, title: str,
    text: str, dashed: bool = False,
) -> None:  # fmt: skip
    axes.add_patch(FancyBboxPatch(
        (left, bottom), width, height, boxstyle="round,pad=0,rounding_size=6", facecolor="white",
        edgecolor=EDGES[colour], lw=1.6, ls="--" if dashed else "-", zorder=2))  # fmt: skip
    middle = left + width / 2
    axes.text(middle, bottom + height - 8, title, ha="center", va="top", size=10.5, weight="bold",
              color=INK, zorder=3)  # fmt: skip
    lines = text.count("\n") + 1
    axes.text(middle, bottom + (9 if lines > 1 else 12), text, ha="center", va="bottom", size=9,
              color=INK, zorder=3, linespacing=1.25)  # fmt: skip


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK,
) -> None:  # fmt: skip
    axes.annotate("", end, start, zorder=1, arrowprops={
        "arrowstyle": "-|>,head_width=0.28,head_length=0.55", "color": colour, "lw": 1.8,
        "shrinkA": 0, "shrinkB": 0})  # fmt: skip


def _thumbnail(
    axes: Axes, pixels: NDArray[np.uint8] | NDArray[np.float32], left: float, caption: str
) -> None:
    axes.imshow(pixels, cmap="gray", extent=(left, left + 96, 780, 876), zorder=2, aspect="auto")
    axes.text(left + 48, 776, caption, ha="center", va="top", size=8.5, color=INK)
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))


if __name__ == "__main__":
    main()
