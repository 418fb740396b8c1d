"""The page of `cvgssl demo`: that of the recognizer, and what the demo alone knows."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cvgssl.recognizer.config import FitConfig

if TYPE_CHECKING:
    from cvgssl.recognizer.fit import FitSummary
    from cvgssl.recognizer.predict import Prediction
    from cvgssl.report.page import Page

NEW_KIND, ROUNDS, GALLERY, PAGE = "new_kind", "labels", "answers.png", "report.html"
HELD_BACK = "scratches"  # a kind of defect that comes up after the recognizer was made
REJECTED = ("unknown", "not sure")
_SHOWN = 8  # pictures of each class in the figure


def demo_page(
    out: Path,
    config: FitConfig,
    summary: "FitSummary",
    rows: Sequence[Sequence[str]],
    known: Sequence["Prediction"],
    new: Sequence["Prediction"],
) -> Path:
    """The page of the recognizer, and what the demo alone knows."""
    from cvgssl.cli.select import SHEET
    from cvgssl.report.recognizer import recognizer_page

    assert summary.test is not None, "the plant has test pictures"
    page = recognizer_page(config, config.out, summary, summary.test)
    page.heading("What it rejects")
    page.text(
        f"No label was of {HELD_BACK}. With --unknown about a tenth of the pictures of known "
        'classes may be called "unknown"; "not sure" comes on top.'
    )
    columns = ["pictures of", "all", "right", "misclassified", *(f'"{word}"' for word in REJECTED)]
    page.table(columns, rows)
    _draw_gallery(page, out / GALLERY, known, new)
    page.heading("What was chosen to be labelled")
    page.text("The pictures are generated, and labelled by the generator's truth.")
    for sheet in sorted(out.glob(f"{ROUNDS}_*/{SHEET}")):
        page.image(sheet, f"Round {sheet.parent.name.removeprefix(ROUNDS + '_')}, in this order.")
    return page.write(out / PAGE)


def _draw_gallery(
    page: "Page", path: Path, known: Sequence["Prediction"], new: Sequence["Prediction"]
) -> None:
    from cvgssl.images.reader import read_picture
    from cvgssl.report.gallery import ShownPicture, gallery_figure

    groups: dict[str, list[Prediction]] = {}
    for prediction in known:
        groups.setdefault(prediction.path.parent.name, []).append(prediction)
    groups[NEW_KIND] = list(new)
    rows = []
    for name, predictions in groups.items():
        row = []
        for prediction in predictions[:: max(1, len(predictions) // _SHOWN)][:_SHOWN]:
            right = (
                prediction.answer if name == NEW_KIND and prediction.answer in REJECTED else name
            )
            sure = None if prediction.answer in REJECTED else prediction.probability
            row.append(ShownPicture(read_picture(prediction.path), right, prediction.answer, sure))
        rows.append(row)
    title = f"Generated test pictures by class, and {HELD_BACK} as a new kind: the answers"
    gallery_figure(rows, path, title, [name.replace("_", " ") for name in groups])
    page.image(path, "Green: right, or a new kind rejected. Red: misclassified or rejected.")
