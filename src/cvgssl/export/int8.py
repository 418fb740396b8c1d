"""`cvgssl export --int8`: a recognizer's encoders in 8-bit integers, by NNCF, for OpenVINO.

Only what is between the encoders' views of a picture and their embedding is quantized. Resize,
preparation, head and verdicts stay as they are: they would lose most and gain nothing.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.encoders.onnx_backend import quiet
from cvgssl.encoders.programs import OPENVINO
from cvgssl.images.reader import read_picture
from cvgssl.recognizer.exported_file import ExportedFile, GraphOutputs, graph_inputs
from cvgssl.recognizer.exported_session import NNCF, compiled, import_package
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line, printable
from cvgssl.runtime.progress import progress

MOST_CALIBRATION, LEAST_CALIBRATION = 300, 30  # pictures on which activations are measured
MOST_CHECKED = 1000  # pictures of the pool
MOST_CHANGED = 0.005
"""Share of these whose class may be another than that of `cvgssl predict`."""

_ATTENTION = {"Softmax", "SoftMax", "ScaledDotProductAttention"}
_MOST_NAMED = 5
_WHITE = 255  # of what this project's reader gives


@dataclass(frozen=True)
class Int8Changes:
    """How far the answers in int8 are from those of `cvgssl predict`.

    labelled: pictures with a label, none of which gets another class. pool: of the recognizer's
    pool. changed: of these, get another class. probability: largest difference.
    """

    labelled: int
    pool: int
    changed: int
    probability: float


def quantized(model: Any, shown: Sequence[str], pictures: Sequence[Path], bit_depth: int) -> Any:
    """OpenVINO's `Model` with its encoders in int8, and without the outputs that are shown.

    model: of an `EncodersShown`; it is taken apart. shown: names of that one's outputs. pictures:
    readable files, to calibrate it on. bit_depth: of those with 16 bits.

    Raises UserError when NNCF cannot.
    """
    openvino = import_package(OPENVINO)
    results = {name: model.output(name).get_node() for name in shown}
    wanted = [each for each in model.get_results() if each not in results.values()]
    *views, values = results.values()
    *seen, known = [_cut(result) for result in results.values()]
    before = openvino.Model(views, model.get_parameters(), "views")
    # as a copy, since constants that both halves have in common confuse NNCF
    encoders = _quantized(
        openvino.Model([values], seen, "encoders").clone(), before, pictures, bit_depth
    )
    for parameter, result in zip(encoders.get_parameters(), views, strict=True):
        _join(result, parameter)
    _join(encoders.get_results()[0], known)
    return openvino.Model(wanted, model.get_parameters(), "recognizer")


def _quantized(encoders: Any, before: Any, pictures: Sequence[Path], bit_depth: int) -> Any:
    """The network `encoders` in int8; before: what makes its inputs of a picture."""
    nncf = import_package(NNCF)
    attention = _ATTENTION & {node.get_type_name() for node in encoders.get_ops()}
    rounds = 2 if attention else 1  # of measuring
    views = compiled(before)
    with progress("quantize", rounds * len(pictures)) as advance, quiet():

        def seen(path: Path) -> list[NDArray[Any]]:
            advance(1)
            return list(views(graph_inputs(read_picture(path, bit_depth), _WHITE)).values())

        nncf.set_log_level(logging.ERROR)
        # sums of 8-bit weights overflow on processors without VNNI, which the pictures in the file
        # tell; weights of 7 bits (OverflowFix.ENABLE) would not, and change three times the answers
        try:
            return nncf.quantize(
                encoders,
                nncf.Dataset(pictures, seen),
                model_type=nncf.ModelType.TRANSFORMER if attention else None,
                subset_size=len(pictures),
            )
        except UserError:  # of a picture
            raise
        except Exception as error:  # whatever a network provokes in NNCF
            raise UserError(
                f"--int8: NNCF {nncf.__version__} cannot quantize this recognizer "
                f"({one_line(error)}); leave it out"
            ) from error


def _cut(result: Any) -> Any:
    """A parameter for all who take what goes into `result`."""
    source = result.input(0).get_source_output()
    kind, shape = source.get_element_type(), source.get_partial_shape()
    parameter = import_package(OPENVINO).op.Parameter(kind, shape)
    for target in source.get_target_inputs():
        if target.get_node().get_type_name() != "Result":
            target.replace_source_output(parameter.output(0))
    return parameter


def _join(result: Any, parameter: Any) -> None:
    """Undo `_cut`, with what goes into a result of another model."""
    source = result.input(0).get_source_output()
    for target in parameter.output(0).get_target_inputs():
        target.replace_source_output(source)


def check_changes(
    exported: ExportedFile,
    answers: Mapping[Path, GraphOutputs],
    wanted: Mapping[Path, NDArray[np.float32]],
    labelled: Sequence[Path],
    pool: Sequence[Path],
) -> Int8Changes:
    """Hold answers in int8 against probabilities [K] of `cvgssl predict`.

    Raises UserError where the class of a labelled picture is another, or of more than
    `MOST_CHANGED` of the pool's.
    """
    named = {path: answers[path]["probabilities"] for path in wanted}
    apart = max(float(np.abs(named[path] - expected).max()) for path, expected in wanted.items())
    other = {path for path, expected in wanted.items() if named[path].argmax() != expected.argmax()}
    of_labelled = [path for path in labelled if path in other]
    of_pool = [path for path in pool if path in other]
    most = int(MOST_CHANGED * len(pool))
    if of_labelled or len(of_pool) > most or not np.isfinite(apart):
        names = [printable(str(path)) for path in dict.fromkeys([*of_labelled, *of_pool])]
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        raise UserError(
            f"{exported.path}: in int8 {len(of_labelled)} of {len(labelled)} labelled pictures and "
            f"{len(of_pool)} of {len(pool)} of the pool get another class (0 and {most} may), "
            f"probabilities differ by up to {apart:.2f}: {', '.join(names[:_MOST_NAMED])}{more}; "
            "no file is left; export it without --int8"
        )
    return Int8Changes(len(labelled), len(pool), len(of_pool), apart)
