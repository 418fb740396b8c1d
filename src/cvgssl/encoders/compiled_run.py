"""Frozen networks through OpenVINO: on the CPU several times faster than by torch.

A network is traced once, with one picture, and kept as OpenVINO compiled it (`compiled_network`).

What cannot be traced, or gives other numbers than torch, raises `NotConvertedError`.
"""

import hashlib
import io
import json
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cvgssl import __version__
from cvgssl.encoders.compiled_network import (
    DEVICE,
    FOLDER,
    FORMAT,
    CompiledNetwork,
    opened,
    openvino,
    processor,
    remember,
)
from cvgssl.encoders.network_run import NetworkRun, Taken
from cvgssl.encoders.timm_import import timm
from cvgssl.runtime.array_files import remove_stale, write_array
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.errors import MachineError
from cvgssl.runtime.parsing import machine_trouble, one_line

LARGEST_ERROR = 1e-4  # of any number in fp32, relative to the largest that comes out beside it
_ARITHMETIC = {"fp32": "f32", "bf16": "bf16"}


class NotConvertedError(Exception):
    """OpenVINO does not take a network; the message says why."""


class CompiledRun:
    """A `NetworkRun` by OpenVINO; see `Run`.

    Made from the cache folder where it was compiled before, with the same weights, versions and
    processor. Raises NotConvertedError.
    """

    def __init__(self, run: NetworkRun, precision: str, program: str) -> None:
        self.program = program
        self._layers, self._with_output = run.layers, run.with_output
        self._options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": _ARITHMETIC[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        try:
            core = openvino().Core()
            self._path = default_cache_dir() / FOLDER / _name(core, run, self._options, program)
            self._network = CompiledNetwork(_compiled(core, run, self._path, self._options))
        except Exception as error:  # converters raise almost anything
            if trouble := machine_trouble(error):
                raise MachineError(f"--runtime: {trouble}") from error
            raise NotConvertedError(one_line(error)) from error

    def __call__(self, pixels: Tensor, /) -> Taken:
        """See `Run`."""
        outputs = self._network(pixels.cpu().numpy())
        values = [torch.from_numpy(each).to(pixels.device) for each in outputs]
        return _unpacked(values, self._layers, self._with_output)

    def remember(self, name: str) -> None:
        """Let `known_network` find it by `name` where it gives the output and nothing else."""
        if self._with_output and not self._layers:
            remember(name, self.program, self._path, self._options)


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


def _compiled(core: Any, run: NetworkRun, path: Path, options: dict[str, Any]) -> Any:
    """The network as OpenVINO's CompiledModel, from the file `path` if it is there."""
    kept = opened(core, path, options)
    if kept is not None:
        return kept
    compiled = _checked(core, run, options)
    with suppress(OSError, RuntimeError):  # where features are kept, that is warned of
        remove_stale(path.parent)
        write_array(path, np.frombuffer(_exported(compiled), np.uint8))
    return compiled


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
    exact = core.compile_model(model, DEVICE, options | {"INFERENCE_PRECISION_HINT": "f32"})
    given = exact(picture.numpy())
    for number, values in enumerate(wanted):
        error = float(np.abs(given[number] - values.numpy()).max())
        if not error <= LARGEST_ERROR * float(values.abs().max()):
            raise NotConvertedError(f"its numbers would differ by {error:.1g}")
    if options["INFERENCE_PRECISION_HINT"] == "f32":
        return exact
    return core.compile_model(model, DEVICE, options)


def _converted(traced: Any, picture: Tensor) -> Any:
    """A traced network as OpenVINO's Model, by what its `convert_model` is made of.

    That would silence the root logger, and report to its makers where it was imported before.
    """
    frontend = import_module("openvino.frontend").FrontEndManager().load_by_framework("pytorch")
    decoding = import_module("openvino.frontend.pytorch.ts_decoder")
    decoder = decoding.TorchScriptPythonDecoder(traced, example_input=picture)  # kept to the end
    return frontend.convert(frontend.load(decoder))


def _name(core: Any, run: NetworkRun, options: dict[str, Any], program: str) -> str:
    """The cache file for all that the compiled network depends on, the weights among it."""
    facts = [FORMAT, __version__, program, torch.__version__, timm.__version__, options]
    backbone, digest = run.backbone, hashlib.sha256()
    layout = re.sub(" at 0x[0-9a-f]+", "", repr(backbone.body))  # places of functions in memory
    own = [layout, repr(backbone.normalization), backbone.image_size]
    taken = [run.layers, run.with_output, run.output_after]
    digest.update(json.dumps([*facts, *processor(core), *own, *taken]).encode())
    for name, tensor in backbone.body.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return f"{digest.hexdigest()[:40]}.openvino"
