"""OpenVINO: compiles a network and runs it on the CPU. Imports torch only to convert one."""

import io
import warnings
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.encoders.compiled_network import Check, CompiledNetwork, Pixels, network_inputs
from cvgssl.encoders.programs import import_openvino

if TYPE_CHECKING:
    from torch import Tensor, nn

_ARITHMETIC = {"fp32": "f32", "bf16": "bf16"}
_DEVICE = "CPU"
_OF_THE_PROCESSOR = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")


class OpenVinoBackend:
    """See `Backend`."""

    def __init__(self, precision: str, threads: int) -> None:
        self._core = _core()
        self._options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": _ARITHMETIC[precision],
            "INFERENCE_NUM_THREADS": threads,
        }
        processor = [str(self._core.get_property(_DEVICE, name)) for name in _OF_THE_PROCESSOR]
        self.facts = [self._options, *processor]

    def open(self, data: NDArray[np.uint8]) -> CompiledNetwork:
        """See `Backend`."""
        tensor = import_openvino().Tensor(np.array(data))  # a stream would be copied once more
        return _Network(self._core.import_model(tensor, _DEVICE, self._options))

    def make(
        self, graph: "nn.Module", picture: "Tensor", check: Check
    ) -> tuple[CompiledNetwork, bytes]:
        """See `Backend`."""
        model = _converted(graph, picture)
        model.reshape(list(picture.shape))
        exact = self._options | {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = self._core.compile_model(model, _DEVICE, exact)
        check(list(compiled(picture.numpy()).values()))
        if self._options != exact:
            compiled = self._core.compile_model(model, _DEVICE, self._options)
        stream = io.BytesIO()
        compiled.export_model(stream)
        return _Network(compiled), stream.getvalue()


class _Network:
    def __init__(self, compiled: Any) -> None:
        (self._shape,) = (tuple(port.shape) for port in compiled.inputs)
        self._outputs = [tuple(port.shape)[1:] for port in compiled.outputs]
        # as many wait as run: a thread of OpenVINO is not idle until Python gives it the next
        running = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._queue = import_openvino().AsyncInferQueue(compiled, 2 * running)

    def __call__(self, pictures: Pixels, /) -> list[NDArray[np.float32]]:
        kept = [np.empty((len(pictures), *shape), np.float32) for shape in self._outputs]

        def keep(request: Any, row: int) -> None:
            for output, rows in zip(request.output_tensors, kept, strict=True):
                rows[row] = output.data[0]

        self._queue.set_callback(keep)
        for row, values in enumerate(network_inputs(pictures, self._shape)):
            self._queue.start_async({0: values}, row)
        self._queue.wait_all()
        return kept


@cache
def _core() -> Any:
    return import_openvino().Core()


def _converted(graph: "nn.Module", picture: "Tensor") -> Any:
    """A network as OpenVINO's Model, by what its `convert_model` is made of.

    That would silence the root logger, and report to its makers where it was imported before.
    """
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, of branches, which are the same each time
        traced = torch.jit.trace(graph, picture, check_trace=False)  # type: ignore[no-untyped-call]
        frontend = import_module("openvino.frontend").FrontEndManager().load_by_framework("pytorch")
        decoding = import_module("openvino.frontend.pytorch.ts_decoder")
        decoder = decoding.TorchScriptPythonDecoder(traced, example_input=picture)  # to the end
        return frontend.convert(frontend.load(decoder))
