"""Maps of embeddings: all pictures of a data set as points, PCA and t-SNE, coloured by class.

N pictures, D numbers for each.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cvgssl.features.plane import tsne
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import UNLABELLED, FeatureTable
from cvgssl.report.curves import save_both
from cvgssl.report.fonts import drawable, families_for
from cvgssl.runtime.files import read_sealed_json, write_sealed_json

MOST = 2000  # points of a map; more hide one another
UNKNOWN = "#c8c8c8"


def map_figure(table: FeatureTable, stem: Path, title: str, digest: str) -> list[Path]:
    """Draw `stem`.png and .svg: two maps, train as dots, test as open triangles.

    Above 2000 pictures every so-many-th is shown, in the order of names. The places of the points
    are kept in `stem`.json and computed again when the table's `digest` differs.
    The maps are for looking at only (see `features.plane`).
    """
    shown = table.take(np.arange(len(table))[:: -(-len(table) // MOST)])
    places = _places(shown, stem.with_name(stem.name + ".json"), digest)
    families, missing = families_for([*table.classes, title])
    names = [
        f"class {number}" if missing & set(name) else drawable(name, missing)
        for number, name in enumerate(table.classes, 1)
    ]
    figure = Figure(figsize=(11.5, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    first, second = places["explained"]
    _scatter(left, shown, places["pca"], names)
    left.set_xlabel(f"1st principal component, {100 * first:.0f} % of the variance")
    left.set_ylabel(f"2nd, {100 * second:.0f} %")
    _scatter(right, shown, places["tsne"], names)
    right.set_xlabel("t-SNE (neighbourhoods, not distances)")
    handles, labels = left.get_legend_handles_labels()
    legend = figure.legend(
        handles, labels, loc="outside lower center", frameon=False,
        ncols=min(5, max(2, len(labels) // 2)), prop={"family": families, "size": 9}, markerscale=2,
    )  # fmt: skip
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    few = f" (1 of {-(-len(table) // MOST)} pictures)" if len(shown) < len(table) else ""
    figure.suptitle(drawable(title, missing) + few, fontsize=11, fontfamily=families)
    return save_both(figure, stem)


def _places(table: FeatureTable, path: Path, digest: str) -> dict[str, Any]:
    try:
        kept = read_sealed_json(path)
        if kept["digest"] == digest:
            return {**kept, "pca": np.array(kept["pca"]), "tsne": np.array(kept["tsne"])}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent or damaged: computed again
    from sklearn.decomposition import PCA

    rows = Preparation(blocks=table.blocks).fit_transform(table.values)
    pca = PCA(min(50, *rows.shape), svd_solver="full").fit(rows)
    reduced = pca.transform(rows)
    reduced = np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))
    made: dict[str, Any] = {
        "digest": digest,
        "explained": [*map(float, pca.explained_variance_ratio_[:2]), 0.0][:2],
        "pca": np.round(reduced[:, :2], 4),
        "tsne": np.round(tsne(reduced), 2),
    }
    write_sealed_json(path, made | {name: made[name].tolist() for name in ("pca", "tsne")})
    return made


def _scatter(
    axes: Axes, table: FeatureTable, places: NDArray[np.floating[Any]], names: list[str]
) -> None:
    test = np.array(table.splits) == "test"
    colors = class_colors(len(names))
    groups = [(UNLABELLED, "not labelled", UNKNOWN), *zip(range(len(names)), names, colors,
                                                          strict=True)]  # fmt: skip
    for label, name, color in groups:
        members = table.labels == label
        if not members.any():
            continue
        dots, triangles = places[members & ~test], places[members & test]
        axes.scatter(dots[:, 0], dots[:, 1], s=9, color=color, alpha=0.6, lw=0, label=name)
        x, y = triangles.T
        axes.scatter(x, y, s=16, marker="^", facecolors="none", edgecolors=color, lw=0.8)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("0.8")


def class_colors(number: int) -> list[Any]:
    """Colours that can be distinguished up to 20 classes; then they come closer."""
    if number <= 20:
        return list(mpl.colormaps["tab10" if number <= 10 else "tab20"].colors)[:number]  # type: ignore[attr-defined]
    return [mpl.colormaps["gist_rainbow"](place / number) for place in range(number)]
