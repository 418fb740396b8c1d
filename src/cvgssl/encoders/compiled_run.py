"""Frozen networks through OpenVINO: on the CPU several times faster than by torch.

A network is traced once, with one picture, and kept as OpenVINO compiled it. Pictures go through
one by one, as many at a time as there are cores: that is as fast as batches of any size, nothing
is padded, and a picture's numbers do not depend on those beside it.

What cannot be traced, or gives other numbers than torch, raises `NotConvertedError`.
"""

import hashlib
import io
import json
import logging
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cvgssl import __version__
from cvgssl.encoders.network_run import NetworkRun, Taken
from cvgssl.encoders.runtimes import import_openvino
from cvgssl.encoders.timm_import import timm
from cvgssl.runtime.array_files import open_array, remove_stale, write_array
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.errors import MachineError
from cvgssl.runtime.parsing import machine_trouble, one_line

FORMAT = 1  # raise when the same network is compiled otherwise
FOLDER = "compiled"
LARGEST_ERROR = 1e-4  # of any number in fp32, relative to the largest that comes out beside it
_ARITHMETIC = {"fp32": "f32", "bf16": "bf16"}
_DEVICE = "CPU"
_OF_THE_PROCESSOR = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")

log = logging.getLogger(__name__)


class NotConvertedError(Exception):
    """OpenVINO does not take a network; the message says why."""


class CompiledRun:
    """A `NetworkRun` by OpenVINO; see `Run`.

    Made from the cache folder where it was compiled before, with the same weights, versions and
    processor. Raises NotConvertedError.
    """

    def __init__(self, run: NetworkRun, precision: str, program: str) -> None:
        self.program = program
        self._shape = (3, run.backbone.image_size, run.backbone.image_size)
        self._layers, self._with_output = run.layers, run.with_output
        compiled = _compiled(run, precision, program)
        self._outputs = [tuple(port.shape)[1:] for port in compiled.outputs]
        self._queue = import_openvino().AsyncInferQueue(compiled)

    def __call__(self, pixels: Tensor, /) -> Taken:
        """See `Run`."""
        values = [torch.from_numpy(each).to(pixels.device) for each in self._every(pixels)]
        return _unpacked(values, self._layers, self._with_output)

    def _every(self, pixels: Tensor) -> list[NDArray[np.float32]]:
        """All outputs of the graph, float32 [B, ...] each."""
        pictures = pixels.cpu().numpy()
        kept = [np.empty((len(pictures), *shape), np.float32) for shape in self._outputs]

        def keep(request: Any, row: int) -> None:
            for output, rows in zip(request.output_tensors, kept, strict=True):
                rows[row] = output.data[0]

        self._queue.set_callback(keep)
        for row, picture in enumerate(pictures):
            values = np.empty((1, *self._shape), np.float32)
            # by NumPy: torch's threads would disturb those of OpenVINO
            values[:] = picture / np.float32(255) if picture.dtype == np.uint8 else picture
            self._queue.start_async({0: values}, row)
        self._queue.wait_all()
        return kept


class _Graph(nn.Module):
    """A run as what can be traced: float 0..1 [1, 3, S, S] to a tuple of float32 [1, ...]."""

    def __init__(self, run: NetworkRun) -> None:
        super().__init__()
        self.backbone, self.run = run.backbone, run

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        output, shown = self.run(pixels)
        values = [] if output is None else [output]
        for prefix, patches in shown.values():
            values += [prefix, patches] if prefix.shape[1] else [patches]
        return tuple(value.float() for value in values)


def _unpacked(values: Sequence[Tensor], layers: Sequence[int], with_output: bool) -> Taken:
    """What `_Graph` made a tuple of; either all layers have a prefix or none has."""
    output = values[0] if with_output else None
    shown = list(values[with_output:])
    if len(shown) == len(layers):
        tokens = [(patches[:, :0], patches) for patches in shown]
    else:
        tokens = list(zip(shown[::2], shown[1::2], strict=True))
    return output, dict(zip(layers, tokens, strict=True))


def _compiled(run: NetworkRun, precision: str, program: str) -> Any:
    """The network as OpenVINO's CompiledModel, from the cache folder if it is there."""
    try:
        core = import_openvino().Core()
        options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": _ARITHMETIC[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        processor = [str(core.get_property(_DEVICE, name)) for name in _OF_THE_PROCESSOR]
        facts = [FORMAT, __version__, program, torch.__version__, timm.__version__, options]
        path = default_cache_dir() / FOLDER / f"{_hash(run, [*facts, *processor])}.openvino"
        kept = _opened(core, path, options)
        if kept is not None:
            return kept
        compiled = _checked(core, run, options)
    except Exception as error:  # converters raise almost anything
        if trouble := machine_trouble(error):
            raise MachineError(f"--runtime: {trouble}") from error
        raise NotConvertedError(one_line(error)) from error
    with suppress(OSError, RuntimeError):  # where features are kept, that is warned of
        remove_stale(path.parent)
        write_array(path, np.frombuffer(_exported(compiled), np.uint8))
    return compiled


def _opened(core: Any, path: Path, options: dict[str, Any]) -> Any:
    """The compiled network of a cache file; None where there is none that can be used."""
    try:
        blob = open_array(path, np.uint8, (-1,))
        if blob is not None:
            return core.import_model(io.BytesIO(blob.tobytes()), _DEVICE, options)
    except (OSError, RuntimeError) as error:
        log.info("%s: cannot be used (%s); compiled again", path, one_line(error))
    return None


def _exported(compiled: Any) -> bytes:
    stream = io.BytesIO()
    compiled.export_model(stream)
    return stream.getvalue()


def _checked(core: Any, run: NetworkRun, options: dict[str, Any]) -> Any:
    """The network, traced and compiled, after a look at what it gives in fp32 for a picture."""
    side = run.backbone.image_size
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    graph = _Graph(run)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, of branches, which are the same each time
        wanted = graph(picture)
        traced = torch.jit.trace(graph, picture, check_trace=False)  # type: ignore[no-untyped-call]
        model = _converted(traced, picture)
    model.reshape([1, 3, side, side])
    exact = core.compile_model(model, _DEVICE, options | {"INFERENCE_PRECISION_HINT": "f32"})
    given = exact(picture.numpy())
    for number, values in enumerate(wanted):
        error = float(np.abs(given[number] - values.numpy()).max())
        if not error <= LARGEST_ERROR * float(values.abs().max()):
            raise NotConvertedError(f"its numbers would differ by {error:.1g}")
    if options["INFERENCE_PRECISION_HINT"] == "f32":
        return exact
    return core.compile_model(model, _DEVICE, options)


def _converted(traced: Any, picture: Tensor) -> Any:
    """A traced network as OpenVINO's Model, by what its `convert_model` is made of.

    That would silence the root logger, and report to its makers where it was imported before.
    """
    frontend = import_module("openvino.frontend").FrontEndManager().load_by_framework("pytorch")
    decoding = import_module("openvino.frontend.pytorch.ts_decoder")
    decoder = decoding.TorchScriptPythonDecoder(traced, example_input=picture)  # kept to the end
    return frontend.convert(frontend.load(decoder))


def _hash(run: NetworkRun, facts: Sequence[Any]) -> str:
    """Of all that the compiled network depends on, the weights among it."""
    backbone, digest = run.backbone, hashlib.sha256()
    layout = re.sub(" at 0x[0-9a-f]+", "", repr(backbone.body))  # places of functions in memory
    own = [layout, repr(backbone.normalization), backbone.image_size]
    taken = [run.layers, run.with_output, run.output_after]
    digest.update(json.dumps([*facts, *own, *taken]).encode())
    for name, tensor in backbone.body.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:40]
