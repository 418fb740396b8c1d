"""`cvgssl export`: a recognizer's graph, written with its proof, and checked before it is there."""

import contextlib
import json
import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from cvgssl import __version__
from cvgssl.encoders.runtimes import OPENVINO
from cvgssl.export.config import ExportConfig
from cvgssl.export.graph import import_packages, write_graph
from cvgssl.export.sources import Source, open_source, predict_options
from cvgssl.features.reading import Reading
from cvgssl.images.reader import read_picture
from cvgssl.recognizer.config import ONNX_SUFFIX, WEIGHTS_SUFFIX, PredictOptions
from cvgssl.recognizer.exported_file import FORMAT, ExportedFile
from cvgssl.recognizer.exported_session import import_package, write_openvino
from cvgssl.recognizer.golden import (
    Agreement,
    Golden,
    check_answers,
    check_golden,
    golden_samples,
)
from cvgssl.recognizer.predict import Recognizing
from cvgssl.runtime.files import writing
from cvgssl.runtime.progress import progress

_PACKAGES = ("torch", "timm", "pillow", "numpy", "scikit-learn", "onnx", "onnxscript",
             "onnxruntime", "openvino")  # fmt: skip
_NOT_LEFT = "no file is left; try other versions of torch, onnxscript and that program"


@dataclass(frozen=True)
class ExportSummary:
    """What was written and how well it agrees with `cvgssl predict`.

    bytes: of the file. golden, pool: pictures made up, and of the recognizer's own pool; None
    where none of these were at hand. program: what ran it, with its version.
    """

    bytes: int
    classes: tuple[str, ...]
    golden: Agreement
    pool: Agreement | None
    program: str


def export(config: ExportConfig) -> ExportSummary:
    """Write `config.out` and check it in the program that it is for.

    Raises UserError, and leaves no file, for what is no recognizer, for a head or an encoder that
    cannot be exported, and where that program answers otherwise than `cvgssl predict`.
    """
    import_packages(config.out)
    source = open_source(config)
    options = predict_options(config, verdicts=False)
    golden = _golden(source, options)
    pool = _spread(source.pool, config.check)
    wanted = _probabilities(source.recognizer, options, pool)
    metadata = _metadata(source, golden)
    with contextlib.ExitStack() as stack:
        # the last one is moved to its place first: an .xml that is there has its weights
        parts = [stack.enter_context(writing(path)) for path in _parts(config.out)]
        if len(parts) == 1:
            write_graph(source.graph(torch.float64), source.outputs, metadata, parts[0])
        else:
            write_openvino(_openvino_model(source), metadata, *parts)
        size = sum(part.stat().st_size for part in parts)
        exported = ExportedFile(*parts)
        exported.path = config.out  # which messages name
        on_golden = check_golden(exported, _NOT_LEFT)
        on_pool = _check_pool(exported, wanted, source.bit_depth)
    classes = tuple(exported.classes)
    return ExportSummary(size, classes, on_golden, on_pool, exported.program)


def _parts(out: Path) -> list[Path]:
    """The files that `out` consists of."""
    return [out] if out.suffix == ONNX_SUFFIX else [out, out.with_suffix(WEIGHTS_SUFFIX)]


def _openvino_model(source: Source) -> Any:
    """The recognizer as OpenVINO's `Model`, by way of an ONNX file."""
    with tempfile.TemporaryDirectory(prefix="cvgssl-export-") as folder:
        path = Path(folder) / "graph.onnx"
        write_graph(source.graph(torch.float32), source.outputs, {}, path)
        # not by convert_model, which would report to its makers
        return import_package(OPENVINO).Core().read_model(path)


def _golden(source: Source, options: PredictOptions) -> list[Golden]:
    """The made-up pictures, and what the recognizer says of them as files."""
    samples = golden_samples(source.bit_depth)
    with tempfile.TemporaryDirectory(prefix="cvgssl-export-") as folder:
        paths = [Path(folder) / f"{number}.tif" for number in range(len(samples))]
        for path, each in zip(paths, samples, strict=True):
            kind = "rgb" if each.ndim == 3 else "minisblack"
            tifffile.imwrite(path, each, photometric=kind)
        reading = Reading(paths, source.recognizer.geometries, options)
        (batch,) = reading.batches(lambda _: None)
    probabilities, _ = source.recognizer(batch.squares)
    measures = source.measures(batch.squares)
    return [
        Golden(
            samples[place],
            {"probabilities": probabilities[place]}
            | {name: values[place] for name, values in measures.items()},
        )
        for place in batch.places
    ]


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of the paths, evenly spread."""
    places = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    return [paths[place] for place in places]


def _probabilities(
    recognizer: Recognizing, options: PredictOptions, paths: Sequence[Path]
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
    exported: ExportedFile, wanted: dict[Path, NDArray[np.float32]], bit_depth: int
) -> Agreement | None:
    if not wanted:
        return None
    answers = []
    with progress(exported.program, len(wanted)) as advance:
        for path in wanted:
            answers.append(exported(read_picture(path, bit_depth), 255))
            advance(1)
    names, right = list(map(str, wanted)), list(wanted.values())
    return check_answers(exported, names, answers, right, _NOT_LEFT)


def _metadata(source: Source, golden: Sequence[Golden]) -> dict[str, str]:
    """What the file says of itself, JSON texts by name; docs/export.md explains them."""
    values: dict[str, Any] = {
        "format": FORMAT,
        "classes": source.recognizer.classes,
        "bit_depth": source.bit_depth,
        "geometries": [asdict(each) for each in source.recognizer.geometries],
        **source.about,
        "versions": {"cvgssl": __version__, "python": platform.python_version()}
        | dict(_versions()),
        "golden": [each.packed() for each in golden],
    }
    return {name: json.dumps(value) for name, value in values.items()}


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:  # installed under another name, such as onnxruntime-gpu
            continue
