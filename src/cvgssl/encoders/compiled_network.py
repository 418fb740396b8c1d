"""Compiled networks from files in the cache. Imports no torch.

What a file is of is known by hashes of the weights in memory, which takes torch. So whoever will
want the same network again gives it a name: `remember`, after which `known_network` opens it
without torch.

Pictures go through one by one, as many at a time as there are cores: that is as fast as batches of
any size, nothing is padded, and a picture's numbers do not depend on those beside it.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cvgssl import __version__
from cvgssl.encoders.programs import ONNXRUNTIME, TORCH, chosen_program
from cvgssl.runtime.array_files import open_array
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.files import read_sealed_json, write_sealed_json
from cvgssl.runtime.options import Runtime
from cvgssl.runtime.parsing import one_line

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1  # raise when the same network is compiled otherwise
FOLDER = "compiled"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # what torch goes by

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8] | NDArray[np.float32]
Outputs = Sequence[NDArray[np.float32]]
Check = Callable[[Outputs], None]


class CompiledNetwork(Protocol):
    """A network of C = 3 channels and pictures of S x S."""

    def __call__(self, pictures: Pixels, /) -> list[NDArray[np.float32]]:
        """Uint8, or float 0..1, [B, C, S, S] to all outputs of the graph, float32 [B, ...] each."""


class Backend(Protocol):
    """What compiles networks and runs them.

    facts: what a compiled network depends on besides versions, JSON values.
    """

    facts: list[Any]

    def open(self, data: NDArray[np.uint8]) -> CompiledNetwork:
        """The network that `make` gave these bytes of; raises almost anything for others."""

    def make(
        self, graph: "nn.Module", picture: "Tensor", check: Check
    ) -> tuple[CompiledNetwork, bytes]:
        """Compile a module that takes float32 [1, 3, S, S]; raises almost anything.

        picture: an example. check: is called with all that comes out for it, computed in fp32.
        """


def backend_of(program: str, precision: str, threads: int) -> Backend:
    """What `program` of `chosen_program`, which is not torch, compiles and computes by."""
    if program.startswith(ONNXRUNTIME):
        from cvgssl.encoders.onnx_backend import OnnxBackend

        return OnnxBackend(threads)
    from cvgssl.encoders.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(precision, threads)


def network_inputs(pictures: Pixels, shape: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    """Each picture as float 0..1 of `shape`; gray ones in all channels."""
    for picture in pictures:
        values = np.empty(shape, np.float32)
        # by NumPy: torch's threads would disturb those that compute
        values[:] = picture / np.float32(255) if picture.dtype == np.uint8 else picture
        yield values


def folder() -> Path:
    """Where the files are."""
    return default_cache_dir() / FOLDER


def opened_network(path: Path, backend: Backend) -> CompiledNetwork | None:
    """The compiled network of a cache file; None where there is none that can be used."""
    try:
        data = open_array(path, np.uint8, (-1,))
        if data is not None:
            return backend.open(data)
    except Exception as error:  # runtimes raise almost anything
        log.info("%s: cannot be used (%s); compiled again", path, one_line(error))
    return None


def remember(name: str, program: str, path: Path, precision: str, threads: int) -> None:
    """Let `known_network` find the network that was kept at `path` by `name`.

    name: says all that decides its numbers.
    """
    known = _known(name, program, precision)
    with suppress(OSError):  # a cache that is read-only
        write_sealed_json(known, {"file": path.name, "threads": threads})


def known_network(name: str, runtime: Runtime, precision: str = "fp32") -> CompiledNetwork | None:
    """The network that was remembered by `name`; None where torch is needed to make it.

    So it is where torch is to compute, and after a change of versions, processor or threads.
    """
    program = chosen_program(runtime, precision)
    if program == TORCH:
        return None
    try:
        facts = read_sealed_json(_known(name, program, precision))
        path = folder() / str(facts["file"])
        return opened_network(path, backend_of(program, precision, int(facts["threads"])))
    except (OSError, ValueError, KeyError, TypeError, ImportError):  # none there, or damaged
        return None


def _known(name: str, program: str, precision: str) -> Path:
    versions = [__version__, program, *map(metadata.version, ("torch", "timm"))]
    threads: Sequence[Any] = [os.cpu_count(), *map(os.environ.get, _THREADS)]
    if hasattr(os, "sched_getaffinity"):
        threads = [*threads, len(os.sched_getaffinity(0))]
    facts = [FORMAT, name, precision, *versions, *threads, *backend_of(program, precision, 0).facts]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:40]
    return folder() / f"known-{digest}.json"
