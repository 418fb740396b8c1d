from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.bench.statistics import ResultRow
from cvgssl.bench.tables import Table, tables_of
from cvgssl.heads.metrics import mean_interval
from cvgssl.report.curves import curves_figure


def table(heads: int, shots: tuple[int, ...], name: str = "steel") -> Table:
    rows = []
    for head in range(heads):
        for shot in shots:
            figures = mean_interval([60 + head + shot, 62 + head + shot, 65 + head + shot])
            rows.append(
                ResultRow(name, "vit", "inductive", f"head {head}", False, shot, 3,
                          figures, figures, 0.1, None)
            )  # fmt: skip
    (made,) = tables_of(rows)
    return made


@pytest.mark.parametrize("shots", [(1, 4, 16), (4,)])
def test_curves_are_drawn_as_png_and_svg(shots: tuple[int, ...], tmp_path: Path) -> None:
    png, svg = curves_figure(table(3, shots), tmp_path / "curves.v1")
    assert (png.name, svg.name) == ("curves.v1.png", "curves.v1.svg")
    pixels = np.array(Image.open(png).convert("RGB")).reshape(-1, 3).astype(int)
    blue = (np.abs(pixels - (11, 92, 173)).max(axis=1) < 12).sum()
    assert blue > 50, "the first head's line or points"
    assert svg.read_text().rstrip().endswith("</svg>")


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    first = [p.read_bytes() for p in curves_figure(table(2, (1, 2)), tmp_path / "a")]
    again = [p.read_bytes() for p in curves_figure(table(2, (1, 2)), tmp_path / "b")]
    assert first == again


def test_names_are_no_formulas_and_many_heads_fit(tmp_path: Path) -> None:
    png, _ = curves_figure(table(24, (1, 2, 16), name="a $b^ and $c"), tmp_path / "many")
    low, _ = curves_figure(table(2, (1, 2, 16)), tmp_path / "few")
    assert Image.open(png).height > Image.open(low).height, "room for the legend"


def test_a_head_without_a_shot_is_drawn_where_it_has_figures(tmp_path: Path) -> None:
    full = table(2, (1, 4))
    cells = {place: row for place, row in full.cells.items() if place != ("head 0", 4)}
    part = Table(full.data, full.encoder, full.setting, full.heads, full.shots, cells)
    png, _ = curves_figure(part, tmp_path / "part")
    assert png.read_bytes() != curves_figure(full, tmp_path / "full")[0].read_bytes()
