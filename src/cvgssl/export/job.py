"""`cvgssl export`: a recognizer's graph, written with its proof, and checked before it is there."""

import json
import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from cvgssl import __version__
from cvgssl.export.config import ExportConfig
from cvgssl.export.golden import (
    Agreement,
    Golden,
    check_answers,
    check_golden,
    golden_samples,
)
from cvgssl.export.graph import RecognizerGraph, write_graph
from cvgssl.export.heads import EXPORTED
from cvgssl.export.running import FORMAT, ExportedRecognizer, import_onnx
from cvgssl.features.reading import Reading
from cvgssl.features.table import UNLABELLED, FeatureTable
from cvgssl.heads import OpenSetHead
from cvgssl.images.names import text_form
from cvgssl.images.reader import read_picture
from cvgssl.recognizer.card import CARD, RecognizerCard, is_fitted, load_recognizer
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.fit import LABELS
from cvgssl.recognizer.fitted import FittedRecognizer, load_fitted
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file, writing
from cvgssl.runtime.progress import progress

_PACKAGES = ("torch", "timm", "pillow", "numpy", "scikit-learn", "onnx", "onnxscript",
             "onnxruntime")  # fmt: skip


@dataclass(frozen=True)
class ExportSummary:
    """What was written and how well it agrees with `cvgssl predict`.

    bytes: of the file. golden, pool: pictures made up, and of the recognizer's own pool; None
    where none of these were at hand.
    """

    bytes: int
    classes: tuple[str, ...]
    golden: Agreement
    pool: Agreement | None


def export(config: ExportConfig) -> ExportSummary:
    """Write `config.out` and check it in ONNX Runtime.

    Raises UserError, and leaves no file, for what is no recognizer of `cvgssl fit`, for a head or
    an encoder that cannot be exported, and where ONNX Runtime answers otherwise than
    `cvgssl predict`.
    """
    import_onnx()
    card, train = _exportable(config.recognizer)
    options = PredictOptions(
        model=config.recognizer,
        images=(config.recognizer,),
        encoder=config.encoder,
        unknown=True,
        skip_corrupt=True,
        batch_size=16,
    )
    recognizer = load_fitted(options)
    golden = _golden(recognizer, options, card.options().bit_depth)
    pool = _pool(train, config.check)
    wanted = _probabilities(recognizer, options, pool)
    metadata = _metadata(config.recognizer, recognizer, card, train, golden)
    for encoder in recognizer.encoders:
        encoder.cpu()
    graph = RecognizerGraph(recognizer, torch.from_numpy(_labelled_rows(recognizer, train)))
    with writing(config.out) as aside:
        write_graph(graph, metadata, aside)
        size = aside.stat().st_size
        exported = ExportedRecognizer(aside)
        exported.path = config.out  # which messages name
        on_golden = check_golden(exported)
        on_pool = _check_pool(exported, wanted, card.options().bit_depth)
    return ExportSummary(size, card.classes, on_golden, on_pool)


def _exportable(folder: Path) -> tuple[RecognizerCard, FeatureTable]:
    if not is_fitted(folder):
        raise UserError(f"{folder}: is no folder of `cvgssl fit` (it has no {CARD})")
    card, train = load_recognizer(folder)
    if card.head not in EXPORTED:
        raise UserError(
            f"{folder}: the head {card.head} cannot be exported; fit again with --head "
            f"{', '.join(EXPORTED[:-1])} or {EXPORTED[-1]}"
        )
    precision = card.options().precision
    if precision != "fp32":
        raise UserError(
            f"{folder}: was fitted in {precision}, files are in fp32; fit again with --precision "
            "fp32"
        )
    return card, train


def _golden(recognizer: FittedRecognizer, options: PredictOptions, bit_depth: int) -> list[Golden]:
    """The made-up pictures, and what the recognizer says of them as files."""
    samples = golden_samples(bit_depth)
    with tempfile.TemporaryDirectory(prefix="cvgssl-export-") as folder:
        paths = [Path(folder) / f"{number}.tif" for number in range(len(samples))]
        for path, each in zip(paths, samples, strict=True):
            kind = "rgb" if each.ndim == 3 else "minisblack"
            tifffile.imwrite(path, each, photometric=kind)
        reading = Reading(paths, recognizer.geometries, options)
        batches = list(reading.batches(lambda _: None))
    embeddings = np.concatenate([recognizer.embed(batch.squares) for batch in batches])
    probabilities = np.concatenate([recognizer(batch.squares)[0] for batch in batches])
    head = recognizer.head
    assert isinstance(head.head, OpenSetHead)
    scores = head.head.score_samples(head.preparation.transform(embeddings))
    return [Golden(*each) for each in zip(samples, probabilities, scores, embeddings, strict=True)]


def _pool(train: FeatureTable, count: int) -> list[Path]:
    """At most `count` of the train pictures that are still where they were, spread over all."""
    paths = [path for path in (train.root / name for name in train.names) if path.is_file()]
    places = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    return [paths[place] for place in places]


def _probabilities(
    recognizer: FittedRecognizer, options: PredictOptions, paths: Sequence[Path]
) -> dict[Path, NDArray[np.float32]]:
    """What `cvgssl predict` says of the readable files, float32 [K] each."""
    reading = Reading(paths, recognizer.geometries, options)
    with progress("predict", len(paths)) as advance:
        return {
            paths[place]: row
            for batch in reading.batches(advance)
            for place, row in zip(batch.places, recognizer(batch.squares)[0], strict=True)
        }


def _check_pool(
    exported: ExportedRecognizer, wanted: dict[Path, NDArray[np.float32]], bit_depth: int
) -> Agreement | None:
    if not wanted:
        return None
    answers = []
    with progress("ONNX Runtime", len(wanted)) as advance:
        for path in wanted:
            answers.append(exported(read_picture(path, bit_depth), 255))
            advance(1)
    return check_answers(exported, list(map(str, wanted)), answers, list(wanted.values()))


def _labelled(train: FeatureTable) -> FeatureTable:
    return train.take(np.flatnonzero(train.labels != UNLABELLED))


def _labelled_rows(recognizer: FittedRecognizer, train: FeatureTable) -> NDArray[np.float64]:
    """Prepared embeddings [L, D] of the labelled pictures."""
    rows: NDArray[np.float64] = recognizer.head.preparation.transform(_labelled(train).values)
    return rows


def _metadata(
    folder: Path,
    recognizer: FittedRecognizer,
    card: RecognizerCard,
    train: FeatureTable,
    golden: Sequence[Golden],
) -> dict[str, str]:
    """What the file says of itself, JSON texts by name; docs/export.md explains them."""
    head = recognizer.head.head
    assert isinstance(head, OpenSetHead)
    labelled = _labelled(train)
    values: dict[str, Any] = {
        "format": FORMAT,
        "classes": card.classes,
        "unknown_below": head.score_threshold_,
        "not_sure_below": head.probability_threshold_,
        "bit_depth": card.options().bit_depth,
        "labelled": [
            [text_form(name), card.classes[label]]
            for name, label in zip(labelled.names, labelled.labels, strict=True)
        ],
        "head": card.head,
        "options": card.embedding | {"preparation": card.preparation, "params": card.params},
        "hashes": {
            "weights": [encoder.sha256 for encoder in card.encoders],
            "train": card.train_sha256,
            **_hash_of(folder / LABELS),
        },
        "versions": {"cvgssl": __version__, "python": platform.python_version()}
        | dict(_versions()),
        "golden": [each.packed() for each in golden],
    }
    return {name: json.dumps(value) for name, value in values.items()}


def _hash_of(path: Path) -> dict[str, str]:
    return {"labels": sha256_file(path)} if path.is_file() else {}


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:  # installed under another name, such as onnxruntime-gpu
            continue
