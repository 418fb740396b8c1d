"""Predictions as text for other programs: CSV, JSON, one line."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cvgssl.deploy.predict import Prediction


def summary(predictions: Sequence[Prediction]) -> str:
    """How many pictures got which answer, in one line."""
    counts = Counter(prediction.answer for prediction in predictions)
    parts = [f"{label} {count}" for label, count in counts.most_common()]
    noun = "picture" if len(predictions) == 1 else "pictures"
    return f"{len(predictions)} {noun}: {', '.join(parts)}"


def to_csv(predictions: Sequence[Prediction]) -> str:
    """CSV with the columns path, class, probability and the probability of every class.

    With verdicts, the column answer stands behind path: class, unknown or not sure.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    answer = ["answer"] if predictions[0].verdict is not None else []
    writer.writerow(["path", *answer, "class", "probability", *predictions[0].classes])
    for prediction in predictions:
        numbers = [f"{p:.6f}" for p in (prediction.probability, *prediction.probabilities)]
        words = [prediction.answer, prediction.label] if answer else [prediction.label]
        writer.writerow([path_text(prediction.path), *words, *numbers])
    return text.getvalue()


def to_json(predictions: Sequence[Prediction]) -> str:
    """JSON list of objects with path, class, probability and probabilities (class -> number).

    With verdicts, also answer: class, unknown or not sure.
    """
    objects = []
    for prediction in predictions:
        numbers = [round(float(p), 6) for p in prediction.probabilities]
        answer = {} if prediction.verdict is None else {"answer": prediction.answer}
        objects.append(
            {
                "path": path_text(prediction.path),
                **answer,
                "class": prediction.label,
                "probability": round(prediction.probability, 6),
                "probabilities": dict(zip(prediction.classes, numbers, strict=True)),
            }
        )
    return json.dumps(objects, indent=2, ensure_ascii=False) + "\n"


def path_text(path: Path) -> str:
    r"""The path as valid Unicode; bytes of other encodings in it become \xNN."""
    raw = str(path).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")
