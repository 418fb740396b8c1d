"""The graph's resize is Pillow's, pixel for pixel."""

from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from cvgssl.encoders.onnx_backend import quiet
from cvgssl.export import squares
from cvgssl.export.onnx_graph import Squares, write_graph
from cvgssl.images.decoding import square_of_pixels
from cvgssl.images.deep import to_eight_bits
from cvgssl.images.geometry import Geometry, Interpolation, ResizeMode
from cvgssl.recognizer.exported_file import graph_inputs

SIZES = [(8, 8), (1, 1), (37, 53), (48, 48), (48, 301), (199, 60), (500, 400), (9, 2500),
         (5000, 11), (700, 375), (700, 365)]  # fmt: skip
Written = Callable[[Geometry], Path]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A function that writes the squares of a geometry as an ONNX file, once."""
    folder = tmp_path_factory.mktemp("squares")

    def write(geometry: Geometry) -> Path:
        path = folder / f"{'-'.join(map(str, astuple(geometry)))}.onnx"
        if not path.is_file():
            write_graph(Squares(geometry), ("square",), {}, path)
        return path

    return write


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_squares_are_those_of_pillow(
    resize: ResizeMode, interpolation: Interpolation, written: Written
) -> None:
    rng = np.random.default_rng(1)
    geometry = Geometry(48, resize, interpolation)
    session = onnxruntime.InferenceSession(written(geometry))
    for height, width in SIZES:
        for shape in ((height, width), (height, width, 3)):
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            right = np.broadcast_to(square_of_pixels(pixels, geometry), (3, 48, 48))
            (square,) = session.run(None, graph_inputs(pixels, 255))
            np.testing.assert_array_equal(square, right, str(shape))


def test_flat_edges_stay_whole_numbers(written: Written) -> None:
    pixels = np.zeros((90, 131), np.uint8)
    pixels[:, 60:] = 255  # the cubic's overshoot is cut off
    geometry = Geometry(48, "stretch", "bicubic")
    session = onnxruntime.InferenceSession(written(geometry))
    right = np.broadcast_to(square_of_pixels(pixels, geometry), (3, 48, 48))
    np.testing.assert_array_equal(session.run(None, graph_inputs(pixels, 255))[0], right)


@pytest.mark.parametrize("bit_depth", [8, 10, 12, 16])
def test_the_step_to_eight_bits_is_that_of_the_reader(bit_depth: int) -> None:
    inputs = {"samples": torch.zeros(2, 7, dtype=torch.uint16),
              "white": torch.tensor(1, dtype=torch.uint16)}  # fmt: skip
    model = operators(squares.eight_bits, inputs, bit_depth)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for white in (255, 65535):
        samples = np.arange(min(white, 2**bit_depth - 1) + 1, dtype=np.uint16)[None]
        ((right, _),) = to_eight_bits(iter([samples]), white, bit_depth)
        answered = session.run(None, {"samples": samples, "white": np.array(white, np.uint16)})
        np.testing.assert_array_equal(answered[0], right)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_weights_are_the_same_in_single_precision(interpolation: Interpolation) -> None:
    """OpenVINO has no other on the CPU."""

    def weights(before: Any, after: Any, places: Any) -> Any:
        two = squares.op.Constant(value_int=2)
        shares, pixel = squares.pillow_weights(places, two, before, after, interpolation)
        count = squares.op.Cast(before, to=onnx.TensorProto.INT64)
        first = squares.op.Constant(value_int=0)
        rows = (squares.op.Gather(each, first) for each in (shares, pixel))
        return squares.spread_weights(*rows, count)

    inputs = {name: torch.ones(1, dtype=torch.float64) for name in ("before", "after")}
    model = operators(weights, inputs | {"places": torch.ones(1, 7, dtype=torch.float64)})
    single = in_single_precision(model)
    sessions = [
        (onnxruntime.InferenceSession(each.SerializeToString()), kind)
        for each, kind in ((model, np.float64), (single, np.float32))
    ]
    for before, after in ((200, 224), (64, 224), (83, 224), (250, 224), (300, 224)):
        answers = [
            session.run(
                None,
                {
                    "before": np.array([before], kind),
                    "after": np.array([after], kind),
                    "places": np.arange(after, dtype=kind)[None],
                },
            )[0]
            for session, kind in sessions
        ]
        assert [each.dtype for each in answers] == [np.float64, np.float32]
        assert answers[0].shape == (after, before)
        assert (np.abs(answers[0].sum(axis=1) - 2**22) <= before).all()  # they are shares
        np.testing.assert_array_equal(*answers, err_msg=str((before, after)))


def test_openvino_resizes_as_pillow(written: Written) -> None:
    geometry = Geometry(48, "crop", "bicubic")
    reader = openvino.Core()
    model = reader.compile_model(
        reader.read_model(written(geometry)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    rng = np.random.default_rng(1)
    for height, width in SIZES:
        pixels = rng.integers(0, 256, (height, width), dtype=np.uint8)
        right = np.broadcast_to(square_of_pixels(pixels, geometry), (3, 48, 48))
        # weights of shrunken pictures may differ a little
        apart = np.abs(model(graph_inputs(pixels, 255))[0] - right)
        assert apart.max() <= 1 and (apart > 0).mean() < 0.01


def operators(
    function: Callable[..., Any], inputs: dict[str, torch.Tensor], *options: int
) -> onnx.ModelProto:
    """The operators that `function` adds to a graph, as a model; sizes of `inputs` are free."""
    name = f"tests::{function.__name__}_{len(_LIBRARY)}"
    kinds = [f"Tensor {each}" for each in inputs] + [f"int option{n}" for n in range(len(options))]
    _LIBRARY.append(torch.library.define(name, f"({', '.join(kinds)}) -> Tensor"))
    torch.library.register_fake(name, lambda first, *_: torch.zeros_like(first))
    call = getattr(torch.ops.tests, name.removeprefix("tests::"))

    class Called(nn.Module):
        def forward(self, *values: torch.Tensor) -> torch.Tensor:
            return call(*values, *options)

    free = tuple(
        dict.fromkeys(range(each.dim()), torch.export.Dim.DYNAMIC) for each in inputs.values()
    )
    with quiet():
        program = torch.onnx.export(
            Called().eval(),
            tuple(inputs.values()),
            dynamo=True,
            dynamic_shapes=(free,),
            input_names=list(inputs),
            output_names=["output"],
            custom_translation_table={call.default: function},
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    model.graph.output[0].type.tensor_type.ClearField("shape")  # not that of the first input
    return model


_LIBRARY: list[object] = []


def in_single_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with float32 in every place of float64."""
    double, single = onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.ClearField("value_info")
    tensors: list[onnx.TensorProto] = list(copy.graph.initializer)
    for node in copy.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == double:
                attribute.i = single
            if attribute.HasField("t"):
                tensors.append(attribute.t)
    for tensor in tensors:
        if tensor.data_type == double:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for value in (*copy.graph.input, *copy.graph.output):
        if value.type.tensor_type.elem_type == double:
            value.type.tensor_type.elem_type = single
    return copy
