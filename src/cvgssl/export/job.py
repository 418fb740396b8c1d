"""`cvgssl export`: a recognizer's graph, written with its proof, and checked before it is there."""

import contextlib
import json
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from torch import nn

from cvgssl import __version__
from cvgssl.encoders.programs import OPENVINO, installed_version
from cvgssl.export.config import ExportConfig
from cvgssl.export.int8 import (
    LEAST_CALIBRATION,
    MOST_CALIBRATION,
    MOST_CHECKED,
    Int8Changes,
    check_changes,
    quantized,
)
from cvgssl.export.onnx_graph import EncodersShown, RecognizerGraph, import_packages, write_graph
from cvgssl.export.sources import ExportSource, open_source, predict_options
from cvgssl.features.reading import Reading
from cvgssl.images.reader import read_picture
from cvgssl.recognizer.config import ONNX_SUFFIX, WEIGHTS_SUFFIX, PredictOptions
from cvgssl.recognizer.exported_file import (
    FORMAT,
    ExportedFile,
    GraphOutputs,
    Teaching,
    graph_inputs,
)
from cvgssl.recognizer.exported_session import compiled, import_package, write_openvino
from cvgssl.recognizer.golden import (
    Agreement,
    Golden,
    check_answers,
    check_golden,
    golden_samples,
)
from cvgssl.recognizer.predict import Recognizing
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing
from cvgssl.runtime.parsing import printable
from cvgssl.runtime.progress import progress

_PACKAGES = ("torch", "timm", "pillow", "numpy", "scikit-learn", "onnx", "onnxscript",
             "onnxruntime", "openvino", "nncf")  # fmt: skip
_NOT_LEFT = "no file is left; try other versions of torch, onnxscript and that program"


@dataclass(frozen=True)
class ExportSummary:
    """What was written and how well it agrees with `cvgssl predict`.

    bytes: of the file. golden, pool: pictures made up, and of the recognizer's own pool; None
    where none of these were at hand, and in int8. int8: what changed by that, or None. taught: of
    a head that is a taught network, with which the others then agree, or None.
    program: what ran it, with its version; of several the largest differences are told.
    """

    bytes: int
    classes: tuple[str, ...]
    golden: Agreement
    pool: Agreement | None
    int8: Int8Changes | None
    taught: Teaching | None
    program: str


def export(config: ExportConfig) -> ExportSummary:
    """Write `config.out` and check it in the program that it is for, an .onnx in OpenVINO, too.

    Raises UserError, and leaves no file, for what is no recognizer, for a head or an encoder that
    cannot be exported, and where a program answers otherwise than `cvgssl predict`.
    """
    import_packages(config.out, config.int8)
    source = open_source(config)
    options = predict_options(config, verdicts=False)
    golden = _golden(source, options)
    labelled: list[Path] = []
    calibration, pool = labelled, _spread(source.pool, config.check)
    if config.int8:
        labelled = source.labelled
        calibration, pool = divided(source.pool, labelled)
    shown = list(dict.fromkeys([*labelled, *pool, *calibration]))
    wanted = _probabilities(source.recognizer, options, shown)
    # without those that cannot be read
    pool, calibration = ([path for path in each if path in wanted] for each in (pool, calibration))
    if config.int8:
        _check_enough(config, labelled, wanted, calibration)
        wanted = {path: wanted[path] for path in dict.fromkeys([*labelled, *pool])}
    with contextlib.ExitStack() as stack:
        # the last one is moved to its place first: an .xml that is there has its weights
        parts = [stack.enter_context(writing(path)) for path in _parts(config.out)]
        if len(parts) == 1:
            metadata = _metadata(source, golden, config.int8)
            write_graph(source.graph(), source.outputs, metadata, parts[0])
        else:
            if config.int8:
                model = _int8_model(source, calibration)
                golden = _answered(model, golden)
            else:
                model = _openvino_model(source.graph(), source.outputs)
            write_openvino(model, _metadata(source, golden, config.int8), *parts)
        size = sum(part.stat().st_size for part in parts)
        exported = ExportedFile(*parts)
        exported.path = config.out  # which messages name
        programs = [exported]
        if len(parts) == 1 and installed_version(OPENVINO):  # whose users read .onnx as well
            programs.append(exported.by_openvino())
        on_golden = _worst([check_golden(each, _NOT_LEFT) for each in programs])
        answers = [_answers(each, wanted, source.bit_depth) for each in programs]
        on_pool = changes = None
        if config.int8:
            changes = check_changes(exported, answers[0], wanted, labelled, pool)
        elif pool:
            names, expected = list(map(str, wanted)), list(wanted.values())
            on_pool = _worst(
                [
                    check_answers(each, names, list(own.values()), expected, _NOT_LEFT)
                    for each, own in zip(programs, answers, strict=True)
                ]
            )
    classes, by = tuple(exported.classes), " and ".join(each.program for each in programs)
    return ExportSummary(size, classes, on_golden, on_pool, changes, exported.taught, by)


def _worst(agreements: Sequence[Agreement]) -> Agreement:
    return Agreement(
        agreements[0].pictures,
        max(each.probability for each in agreements),
        max(each.embedding for each in agreements),
    )


def divided(pool: Sequence[Path], labelled: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Pictures on which int8 is measured, and those of the pool on which it is checked.

    They are different ones where twice `MOST_CALIBRATION` without a label are there.
    """
    known = set(labelled)
    free = [path for path in pool if path not in known]
    if len(free) < 2 * MOST_CALIBRATION:
        checked = _spread(pool, MOST_CHECKED)
        return _spread(list(dict.fromkeys([*labelled, *checked])), MOST_CALIBRATION), checked
    calibration = _spread(free, MOST_CALIBRATION)
    taken = set(calibration)
    return calibration, _spread([path for path in pool if path not in taken], MOST_CHECKED)


def _check_enough(
    config: ExportConfig,
    labelled: Sequence[Path],
    wanted: Mapping[Path, Any],
    calibration: Sequence[Path],
) -> None:
    """Raise UserError where pictures that int8 is measured and checked by are away."""
    away = [path for path in labelled if path not in wanted]
    if away:
        raise UserError(
            f"--int8: checks all labelled pictures, but {printable(str(away[0]))} cannot be read "
            f"any more ({len(away)} of {len(labelled)} cannot); bring them back or leave it out"
        )
    if len(calibration) < LEAST_CALIBRATION:
        raise UserError(
            f"--int8: is measured on {LEAST_CALIBRATION} train pictures or more, "
            f"{config.recognizer} has {len(calibration)} that can be read; leave it out"
        )


def _parts(out: Path) -> list[Path]:
    """The files that `out` consists of."""
    return [out] if out.suffix == ONNX_SUFFIX else [out, out.with_suffix(WEIGHTS_SUFFIX)]


def _openvino_model(graph: nn.Module, outputs: Sequence[str]) -> Any:
    """A graph as OpenVINO's `Model`, by way of an ONNX file."""
    with tempfile.TemporaryDirectory(prefix="cvgssl-export-") as folder:
        path = Path(folder) / "graph.onnx"
        write_graph(graph, outputs, {}, path)
        # not by convert_model, which would report to its makers
        return import_package(OPENVINO).Core().read_model(path)


def _int8_model(source: ExportSource, pictures: Sequence[Path]) -> Any:
    """The same with encoders in int8, calibrated on `pictures`."""
    graph = source.graph()
    assert isinstance(graph, RecognizerGraph), "models that were trained name no pictures"
    shown = EncodersShown(graph)
    model = _openvino_model(shown, (*source.outputs, *shown.outputs))
    return quantized(model, shown.outputs, pictures, source.bit_depth)


def _answered(model: Any, golden: Sequence[Golden]) -> list[Golden]:
    """The same pictures with the answers of OpenVINO's `model`."""
    run = compiled(model)
    answers = [run(graph_inputs(each.samples, each.white)) for each in golden]
    return [
        Golden(each.samples, {name: np.array(answer[name]) for name in each.expected})
        for each, answer in zip(golden, answers, strict=True)
    ]


def _golden(source: ExportSource, options: PredictOptions) -> list[Golden]:
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


def _answers(
    exported: ExportedFile, paths: Iterable[Path], bit_depth: int
) -> dict[Path, GraphOutputs]:
    pictures = list(paths)
    with progress(exported.program, len(pictures)) as advance:
        answers = {}
        for path in pictures:
            answers[path] = exported(read_picture(path, bit_depth), 255)
            advance(1)
    return answers


def _metadata(source: ExportSource, golden: Sequence[Golden], int8: bool) -> dict[str, str]:
    """What the file says of itself, JSON texts by name; docs/export.md explains them."""
    values: dict[str, Any] = {
        "format": FORMAT,
        "classes": source.recognizer.classes,
        "bit_depth": source.bit_depth,
        "geometries": [asdict(each) for each in source.recognizer.geometries],
        **source.about,
        "int8": int8,
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
