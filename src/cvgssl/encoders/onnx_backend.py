"""ONNX Runtime: runs a network on the CPU. Imports torch only to write one as ONNX."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.encoders.compiled_network import Check, CompiledNetwork, Pixels, network_inputs
from cvgssl.encoders.programs import ONNXRUNTIME

if TYPE_CHECKING:
    from torch import Tensor, nn


class OnnxBackend:
    """See `Backend`. A picture is computed by a single thread, `threads` pictures at a time."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self.facts: list[Any] = []  # the file is the same for all processors

    def open(self, data: NDArray[np.uint8]) -> CompiledNetwork:
        """See `Backend`."""
        runtime = import_module(ONNXRUNTIME)
        runtime.disable_telemetry_events()  # of builds for Windows, which report to their maker
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        session = runtime.InferenceSession(
            data.tobytes(), options, providers=["CPUExecutionProvider"]
        )
        return _Network(session, self._threads)

    def make(
        self, graph: "nn.Module", picture: "Tensor", check: Check
    ) -> tuple[CompiledNetwork, bytes]:
        """See `Backend`."""
        content = _written(graph, picture)
        network = self.open(np.frombuffer(content, np.uint8))
        check(network(picture.numpy()))
        return network, content


class _Network:
    def __init__(self, session: Any, threads: int) -> None:
        self._session = session
        (taken,) = session.get_inputs()
        self._name, self._shape = taken.name, tuple(taken.shape)
        self._outputs = [tuple(output.shape)[1:] for output in session.get_outputs()]
        self._pool = ThreadPoolExecutor(threads)

    def __call__(self, pictures: Pixels, /) -> list[NDArray[np.float32]]:
        kept = [np.empty((len(pictures), *shape), np.float32) for shape in self._outputs]

        def run(row: int) -> None:
            (values,) = network_inputs(pictures[row : row + 1], self._shape)
            for output, rows in zip(
                self._session.run(None, {self._name: values}), kept, strict=True
            ):
                rows[row] = output[0]

        list(self._pool.map(run, range(len(pictures))))
        return kept


def _written(graph: "nn.Module", picture: "Tensor") -> bytes:
    """The network as the bytes of an ONNX file."""
    import torch

    with quiet(), torch.no_grad():
        program = torch.onnx.export(graph, (picture,), dynamo=True, verbose=False)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()  # raises for over 2 GB
    return content


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Reports of torch's exporter and others, which are long, are left out; errors come through."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
