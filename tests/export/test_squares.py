"""The graph's resize is Pillow's, pixel for pixel."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch

from cvgssl.export.squares import Squares, eight_bits, pillow_weights, spread_weights
from cvgssl.images.decoding import square_of_pixels
from cvgssl.images.deep import to_eight_bits
from cvgssl.images.geometry import Geometry, Interpolation, ResizeMode
from cvgssl.recognizer.exported_file import ExportedFile, graph_inputs
from tests.export.conftest import Exported

SIZES = [(8, 8), (1, 1), (37, 53), (48, 48), (48, 301), (199, 60), (500, 400), (9, 2500),
         (5000, 11), (700, 375), (700, 365)]  # fmt: skip


def squared(pixels: np.ndarray, white: int, geometry: Geometry) -> np.ndarray:
    samples = pixels.astype(np.uint16).reshape(*pixels.shape[:2], -1)
    square = Squares(geometry)(torch.from_numpy(samples), torch.tensor(white, dtype=torch.uint16))
    return square.numpy()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_squares_are_those_of_pillow(resize: ResizeMode, interpolation: Interpolation) -> None:
    rng = np.random.default_rng(1)
    geometry = Geometry(48, resize, interpolation)
    for height, width in SIZES:
        for shape in ((height, width), (height, width, 3)):
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            right = np.broadcast_to(square_of_pixels(pixels, geometry), (3, 48, 48))
            np.testing.assert_array_equal(squared(pixels, 255, geometry), right, str(shape))


def test_flat_edges_stay_whole_numbers() -> None:
    pixels = np.zeros((90, 131), np.uint8)
    pixels[:, 60:] = 255  # the cubic's overshoot is cut off
    geometry = Geometry(40, "stretch", "bicubic")
    right = np.broadcast_to(square_of_pixels(pixels, geometry), (3, 40, 40))
    np.testing.assert_array_equal(squared(pixels, 255, geometry), right)


@pytest.mark.parametrize("bit_depth", [8, 10, 12, 16])
@pytest.mark.parametrize("white", [255, 65535])
def test_the_step_to_eight_bits_is_that_of_the_reader(white: int, bit_depth: int) -> None:
    samples = np.arange(min(white, 2**bit_depth - 1) + 1, dtype=np.uint16)[None]
    ((right, _),) = to_eight_bits(iter([samples]), white, bit_depth)
    level = torch.tensor(white, dtype=torch.uint16)
    answered = eight_bits(torch.from_numpy(samples), level, bit_depth)
    np.testing.assert_array_equal(answered.numpy(), right)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_weights_are_the_same_in_single_precision(interpolation: Interpolation) -> None:
    """OpenVINO has no other on the CPU."""
    for before, after in ((200, 224), (64, 224), (83, 224), (250, 224), (300, 224)):
        weights = []
        for kind in (torch.float32, torch.float64):
            sides = (torch.tensor([float(side)], dtype=kind) for side in (before, after))
            places = torch.arange(after, dtype=kind)[None]
            own, pixel = pillow_weights(places, 2, *sides, interpolation)
            weights.append(spread_weights(own[0], pixel[0], before).double())
        assert torch.equal(*weights), (before, after)


@pytest.mark.slow
def test_programs_resize_as_pillow(of_labels: Exported, tmp_path: Path) -> None:
    """Those of an exported recognizer, whose graph is made already."""
    geometry = Geometry(48, "crop", "bicubic", 12)
    assert ExportedFile(of_labels.file).metadata["geometries"] == [asdict(geometry)]
    whole = onnx.load(of_labels.file)
    *_, last = (
        node
        for node in whole.graph.node
        if any("squares.Squares" in entry.value for entry in node.metadata_props)
    )
    whole.graph.ClearField("output")
    kind = onnx.TensorProto.FLOAT
    whole.graph.output.append(onnx.helper.make_tensor_value_info(last.output[0], kind, (3, 48, 48)))
    path = tmp_path / "it.onnx"
    onnx.save(whole, path)
    reader = openvino.Core()
    model = reader.compile_model(
        reader.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    session = onnxruntime.InferenceSession(path)
    rng = np.random.default_rng(1)
    for height, width in SIZES:
        pixels = rng.integers(0, 256, (height, width), dtype=np.uint8)
        right = np.broadcast_to(square_of_pixels(pixels, geometry), (3, 48, 48))
        inputs = graph_inputs(pixels, 255)
        np.testing.assert_array_equal(session.run(None, inputs)[0], right)
        apart = np.abs(model(inputs)[0] - right)  # weights of shrunken pictures may differ a little
        assert apart.max() <= 1 and (apart > 0).mean() < 0.01
