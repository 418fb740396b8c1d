"""The report of a benchmark: its figures as files, and one self-contained page of it all."""

import json
from pathlib import Path

import numpy as np

from cvgssl import __version__
from cvgssl.bench.decisions import EXPLANATION, decision_table
from cvgssl.bench.job import Bench
from cvgssl.bench.recorded import file_name
from cvgssl.bench.sources import LoadedSource, read_table
from cvgssl.bench.tables import EXPLAINED, Table, captions, grid
from cvgssl.features.picture_folder import not_shown
from cvgssl.heads.metrics import recalls
from cvgssl.report.curves import curves_figure
from cvgssl.report.embedding_map import map_figure
from cvgssl.report.gallery import pictures_below
from cvgssl.report.mistakes import mistakes_figure, worst_mistakes
from cvgssl.report.page import Page
from cvgssl.report.terminal import print_table
from cvgssl.runtime.options import to_yaml

PAGE, FIGURES = "report.html", "figures"


def print_bench(bench: Bench) -> None:
    """Print the tables of macro-recall, one for each data set, encoder and setting."""
    for table in bench.tables:
        columns = ["head", *(f"{shot} shot" for shot in table.shots)]
        print_table(f"{table.title}: {captions('')['macro_recall']}", columns, grid(table))
        print()


def write_bench_page(bench: Bench) -> Path:
    """Draw all figures into `out/figures/` and write `out/report.html`; gives the page."""
    page = Page("Few-shot benchmark: " + ", ".join(dict.fromkeys(s.data for s in bench.sources)))
    _what_was_run(page, bench)
    for source in bench.sources:
        name = f"{source.data}, {source.encoder}"
        page.heading(name)
        for table in bench.tables:
            if (table.data, table.encoder) == (source.data, source.encoder):
                _setting(page, bench, table)
        _maps(page, bench, source, name)
        _mistakes(page, bench, source, name)
    page.heading("How to make this again")
    page.text(f"cvgssl {__version__}: cvgssl bench --config {bench.config.out / 'config.yaml'}")
    page.code(to_yaml(bench.config), "config.yaml")
    return page.write(bench.config.out / PAGE)


def _what_was_run(page: Page, bench: Bench) -> None:
    page.heading("What was run")
    page.table(
        ["data set", "encoder", "numbers", "classes", "train", "not labelled", "test", "features"],
        [
            [
                source.data,
                source.encoder,
                str(source.facts["numbers"]),
                str(len(source.facts["classes"])),
                _range(source.facts["train"]),
                str(source.facts["unlabelled_train"]),
                _range(source.facts["test"]),
                f"{source.file.name}, SHA-256 {source.digest[:12]}",
            ]
            for source in bench.sources
        ],
    )
    page.points([f"{name}: {EXPLAINED[name]}." for name in bench.config.settings])
    page.points(bench.notes())
    used = {result.head: result.params for result in bench.results}
    page.table(
        ["head", "parameters"],
        [
            [name, ", ".join(f"{key}={value}" for key, value in params.items())]
            for name, params in used.items()
        ],
        folded="heads and their parameters",
    )
    about = {
        f"{s.data}, {s.encoder}": s.facts["about"]
        | ({"texts": s.facts["texts"]} if "texts" in s.facts else {})
        for s in bench.sources
    }
    page.code(json.dumps(about, indent=2, ensure_ascii=False), "what the features files say")


def _setting(page: Page, bench: Bench, table: Table) -> None:
    page.heading(table.setting, level=3)
    page.text(f"{EXPLAINED[table.setting].capitalize()}.", quiet=True)
    stem = "_".join(file_name(part) for part in (table.data, table.encoder, table.setting))
    _, svg = curves_figure(table, bench.config.out / FIGURES / f"curves_{stem}")
    page.image(svg, "Mean over the draws and its 95 % interval. Dashed: labels alone.")
    columns = ["head", *(f"{shot} shot" for shot in table.shots)]
    texts = captions(bench.baseline)
    page.text(texts.pop("macro_recall"))
    page.table(columns, grid(table), best=_best(table))
    for figure, title in texts.items():
        if figure != "difference" or len(table.heads) > 1:
            page.table(columns, grid(table, figure), folded=title)
    _decisions(page, bench, table)
    _class_recalls(page, bench, table)


def _decisions(page: Page, bench: Bench, table: Table) -> None:
    columns, rows = decision_table(table, bench.results)
    if rows:
        page.text(EXPLANATION)
        page.table(columns, rows)


def _class_recalls(page: Page, bench: Bench, table: Table) -> None:
    shot = table.shots[-1]
    cells = [
        cell
        for cell in bench.results
        if (cell.data, cell.encoder, cell.setting, cell.shot)
        == (table.data, table.encoder, table.setting, shot)
    ]
    recall_rows = [recalls(np.array(cell.confusion)) for cell in cells]
    rows = [
        [table.name_of(cell.head), *("–" if np.isnan(v) else f"{v:.1f}" for v in values)]
        for cell, values in zip(cells, recall_rows, strict=True)
    ]
    shades = [[None if np.isnan(v) else float(v) / 100 for v in values] for values in recall_rows]
    page.table(
        ["head", *cells[0].classes],
        rows,
        shades=shades,
        folded=f"Recall of each class at {shot} shot, %",
    )


def _best(table: Table) -> frozenset[tuple[int, int]]:
    """The highest mean of each column."""
    best = set()
    for column, shot in enumerate(table.shots, start=1):
        means = {
            place: table.cells[head, shot].macro_recall.mean
            for place, head in enumerate(table.heads)
            if (head, shot) in table.cells
        }
        best.add((max(means, key=lambda place: means[place]), column))
    return frozenset(best)


def _maps(page: Page, bench: Bench, source: LoadedSource, name: str) -> None:
    page.heading("Map of the features", level=3)
    stem = f"map_{file_name(source.data)}_{file_name(source.encoder)}"
    table = read_table(source.file)
    png, _ = map_figure(table, bench.config.out / FIGURES / stem, name, source.digest)
    page.image(png, "Dots: train, triangles: test. For looking at only; nothing was chosen by it.")


def _mistakes(page: Page, bench: Bench, source: LoadedSource, name: str) -> None:
    cells = [
        cell for cell in bench.results if (cell.data, cell.encoder) == (source.data, source.encoder)
    ]
    if not cells:
        return
    shot = max(cell.shot for cell in cells)
    mistakes = worst_mistakes([cell for cell in cells if cell.shot == shot])
    if not mistakes:
        return
    page.heading("Pictures most often misclassified", level=3)
    page.text(
        f"Over all heads, settings and draws at {shot} shot: true class in green, below it in red "
        "the class it is mistaken for and in what share of all answers."
    )
    stem = f"mistakes_{file_name(source.data)}_{file_name(source.encoder)}.jpg"
    path = bench.config.out / FIGURES / stem
    remedy = "pictures: FOLDER of the features file"
    note = ""
    if source.pictures:
        names = [mistake.name for mistake in mistakes]
        files, note = pictures_below(source.pictures, names, remedy)
        drawn = mistakes_figure(
            mistakes, files, path, f"{name}, {shot} shot", bench.config.max_megapixels
        )
        if drawn:
            page.image(drawn, "Pictures most often misclassified.")
    else:
        note = not_shown(source.file, source.facts["about"], remedy)
    if note:
        page.text(note)
    page.table(
        ["picture", "is", "is mistaken for", "in % of answers"],
        [
            [mistake.name, mistake.label, mistake.predicted_class, f"{100 * mistake.share:.0f}"]
            for mistake in mistakes
        ],
        folded="the list",
    )


def _range(counts: list[int]) -> str:
    """`1439 (239–240 per class)`."""
    low, high = min(counts), max(counts)
    return f"{sum(counts)} ({low if low == high else f'{low}–{high}'} per class)"
