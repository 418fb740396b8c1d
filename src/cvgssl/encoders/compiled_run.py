"""Frozen networks compiled for the CPU: several times faster than by torch.

A network is compiled once, for one picture, and kept (`compiled_network`).

What cannot be compiled, or gives other numbers than torch, raises `NotConvertedError`.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cvgssl import __version__
from cvgssl.encoders.compiled_network import (
    FORMAT,
    Backend,
    CompiledNetwork,
    Outputs,
    backend_of,
    folder,
    opened_network,
    remember,
)
from cvgssl.encoders.network_run import NetworkRun, Taken
from cvgssl.encoders.timm_import import timm
from cvgssl.runtime.array_files import remove_stale, write_array
from cvgssl.runtime.errors import MachineError
from cvgssl.runtime.parsing import machine_trouble, one_line

LARGEST_ERROR = 1e-4  # of any number in fp32, relative to the largest that comes out beside it


class NotConvertedError(Exception):
    """A network cannot be compiled; the message says why."""


class CompiledRun:
    """A `NetworkRun` by OpenVINO or ONNX Runtime; see `Run`.

    Made from the cache folder where it was compiled before, with the same weights, versions and
    processor. Raises NotConvertedError.
    """

    def __init__(self, run: NetworkRun, precision: str, program: str) -> None:
        self.program, self._precision = program, precision
        self._layers, self._with_output = run.layers, run.with_output
        self._threads = torch.get_num_threads()
        try:
            backend = backend_of(program, precision, self._threads)
            self._path = folder() / _name(run, program, backend.facts)
            self._network = _compiled(run, self._path, backend)
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
            remember(name, self.program, self._path, self._precision, self._threads)


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


def _compiled(run: NetworkRun, path: Path, backend: Backend) -> CompiledNetwork:
    """The network, from the file `path` if it is there; checked by a picture if it is new."""
    kept = opened_network(path, backend)
    if kept is not None:
        return kept
    side = run.backbone.image_size
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    graph = _Graph(run).eval()
    with torch.no_grad():
        wanted = graph(picture)

    def check(given: Outputs) -> None:
        for mine, theirs in zip(given, wanted, strict=True):
            error = float(np.abs(mine - theirs.numpy()).max())
            if not error <= LARGEST_ERROR * float(theirs.abs().max()):
                raise NotConvertedError(f"its numbers would differ by {error:.1g}")

    compiled, content = backend.make(graph, picture, check)
    with suppress(OSError, RuntimeError):  # where features are kept, that is warned of
        remove_stale(path.parent)
        write_array(path, np.frombuffer(content, np.uint8))
    return compiled


def _name(run: NetworkRun, program: str, of_backend: Sequence[Any]) -> str:
    """The cache file for all that the compiled network depends on, the weights among it."""
    facts = [FORMAT, __version__, program, torch.__version__, timm.__version__, *of_backend]
    backbone, digest = run.backbone, hashlib.sha256()
    layout = re.sub(" at 0x[0-9a-f]+", "", repr(backbone.body))  # places of functions in memory
    own = [layout, repr(backbone.normalization), backbone.image_size]
    taken = [run.layers, run.with_output, run.output_after]
    digest.update(json.dumps([*facts, *own, *taken]).encode())
    for name, tensor in backbone.body.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return f"{digest.hexdigest()[:40]}.{program.partition(' ')[0]}"
