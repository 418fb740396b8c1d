"""What an answer rests on: labels, options and figures of a version, and the nearest pictures."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from cvgssl.heads.auto_decision import AutoDecision
from cvgssl.images.decoding import Square, decode_bytes
from cvgssl.recognizer.card import load_recognizer
from cvgssl.recognizer.config import EXPORTED
from cvgssl.recognizer.exported import ExportedRecognizer
from cvgssl.recognizer.exported_file import ExportedFile
from cvgssl.recognizer.finding import is_fitted
from cvgssl.recognizer.fit import LABELS, SUMMARY
from cvgssl.recognizer.fitted import FittedRecognizer
from cvgssl.recognizer.nearest import Nearest, nearest_of
from cvgssl.recognizer.predict import Neighbour, Prediction
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import CONFIG
from cvgssl.runtime.parsing import parse_json, parsing, read_text
from cvgssl.selection.label_list import read_labels
from cvgssl.station.answering import Answering, Loaded
from cvgssl.station.models import Version

FITTED, EXPORT, TRAINED = "fit", "export", "run"
REPORT = "report.html"
_LABELS_ALONE = "kernel-ridge"  # of the candidates of the head `auto`, the one that takes no others
_KEPT = 3  # versions whose labelled pictures are in memory


@dataclass(frozen=True)
class About:
    """A version; what its kind does not know is empty or None.

    kind: "fit", "export" or "run". labels: pictures and their classes, which it learned from.
    head, encoder: names. options: YAML. hashes: of weights, embeddings and labels (SHA-256).
    figures: on test/, in per cent, see `recognizer.on_test.OnTest`. decision: see `AutoDecision`.
    report: its page.
    """

    kind: str
    classes: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    unlabelled: int = 0
    head: str = ""
    encoder: str = ""
    options: str = ""
    hashes: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] | None = None
    decision: dict[str, Any] | None = None
    report: Path | None = None

    @property
    def label_counts(self) -> dict[str, int]:
        """Labels of each class, in the order of the classes."""
        counts = Counter(label for _, label in self.labels)
        return {name: counts[name] for name in self.classes}

    def relies(self) -> dict[str, Any] | None:
        """What the head `auto` relies on, as JSON values; None for others.

        labels: share 0..1 of the heads that learn from labels alone; the rest is of those that also
        look at how pictures without labels lie. unlabelled: how many there were.
        """
        decision = self._decision()
        if decision is None:
            return None
        shares = zip(decision.candidates, decision.weights, strict=True)
        labels = sum(weight for name, weight in shares if name == _LABELS_ALONE)
        return {"labels": labels, "unlabelled": decision.unlabelled}

    def decided(self) -> str:
        """What decided in the head `auto`, in words; "" for others."""
        decision = self._decision()
        return "" if decision is None else str(decision)

    def _decision(self) -> AutoDecision | None:
        if self.decision is None:
            return None
        with parsing(Path(SUMMARY), "figures of `cvgssl fit`"):
            return TypeAdapter(AutoDecision).validate_python(self.decision)


def about(version: Version) -> About:
    """What is known of a version; raises UserError where its files are damaged."""
    if is_fitted(version.path):
        return _fitted(version.path)
    if version.path.suffix.lower() in EXPORTED:
        return _exported(version.path)
    from cvgssl.adapt.model_file import read_model

    saved = read_model(version.path)
    return About(TRAINED, saved.card.classes, encoder=saved.card.arch)


def _fitted(folder: Path) -> About:
    card, kept = load_recognizer(folder)
    labels = [(line.path, line.label) for line in read_labels(folder / LABELS, LABELS)]
    summary = parse_json(folder / SUMMARY, "figures of `cvgssl fit`")
    with parsing(folder / SUMMARY, "figures of `cvgssl fit`"):
        return About(
            FITTED,
            card.classes,
            tuple(labels),
            len(kept.train) - len(labels),
            card.head,
            str(summary["encoder"]),
            read_text(folder / CONFIG, "options of `cvgssl fit`"),
            {
                "weights": [encoder.sha256 for encoder in card.encoders],
                "train": card.train_sha256,
                "mirrored": card.mirrored_sha256,
                "texts": card.texts_sha256,
            },
            summary["test"],
            summary["decision"],
            folder / REPORT if (folder / REPORT).is_file() else None,
        )


def _exported(path: Path) -> About:
    facts = ExportedFile(path).metadata
    with parsing(path, "a file of `cvgssl export`", "export it again"):
        return About(
            EXPORT,
            tuple(facts["classes"]),
            tuple((str(name), str(label)) for name, label in facts.get("labelled", ())),
            head=str(facts["head"]),
            hashes=dict(facts["hashes"]),
        )


class Evidence:
    """Asks versions about single pictures, for pages; for any number of threads."""

    def __init__(self, answering: Answering) -> None:
        self._answering, self._lock = answering, threading.Lock()
        self._nearest: dict[int, tuple[Loaded, Nearest | None]] = {}

    def predict(self, data: bytes, number: int) -> Prediction:
        """What version `number` says of a picture.

        Raises LookupError where there is none of that number, UserError where it or the picture
        cannot be used, and BusyError.
        """
        loaded = self._answering.load(number)
        squares = self._squares(data, loaded)
        with self._answering.gatherer.place_for(1):
            recognition = self._answering.gatherer.ask(loaded.recognizer, squares).result()
        classes = loaded.recognizer.classes
        return Prediction(
            Path("picture"), tuple(classes), recognition.probabilities, recognition.verdict
        )

    def nearest(self, data: bytes, number: int) -> Sequence[Neighbour]:
        """The labelled pictures of version `number` that are most like a picture.

        Empty for a trained run, which names none. Raises as `predict`.
        """
        loaded = self._answering.load(number)
        find = self._finder(loaded)
        if find is None:
            return []
        squares = self._squares(data, loaded)
        with self._answering.gatherer.place_for(1):
            return self._answering.gatherer.ask(find, squares).result().nearest

    def sure_from(self, number: int) -> float | None:
        """The probability below which version `number` is "not sure"; None where others decide.

        Raises as `predict`.
        """
        recognizer = self._answering.load(number).recognizer
        if isinstance(recognizer, FittedRecognizer):
            return getattr(recognizer.head.head, "probability_threshold_", None)
        thresholds = recognizer.thresholds if isinstance(recognizer, ExportedRecognizer) else None
        return None if thresholds is None else thresholds.probability

    def _finder(self, loaded: Loaded) -> Nearest | None:
        number = loaded.version.number
        with self._lock:
            asked, find = self._nearest.pop(number, (None, None))
            if asked is not loaded:
                find = nearest_of(loaded.recognizer, loaded.version.path)
            self._nearest[number] = (loaded, find)
            while len(self._nearest) > _KEPT:
                del self._nearest[next(iter(self._nearest))]
            return find

    def _squares(self, data: bytes, loaded: Loaded) -> Sequence[Square]:
        megapixels = self._answering.config.max_megapixels
        squares = [
            decode_bytes(data, geometry, megapixels, Path("picture"))
            for geometry in loaded.recognizer.geometries
        ]
        for square in squares:
            if square.pixels is None:
                raise UserError(square.reason)
        return squares
