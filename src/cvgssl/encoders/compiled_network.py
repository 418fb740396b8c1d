"""Networks as OpenVINO compiled them, from files in the cache. Imports no torch.

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
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl import __version__
from cvgssl.encoders.runtimes import PACKAGE, TORCH, chosen_program
from cvgssl.runtime.array_files import open_array
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.files import read_sealed_json, write_sealed_json
from cvgssl.runtime.options import Runtime
from cvgssl.runtime.parsing import one_line

FORMAT = 1  # raise when the same network is compiled otherwise
FOLDER = "compiled"
DEVICE = "CPU"
_OF_THE_PROCESSOR = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # what torch goes by

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8] | NDArray[np.float32]


class CompiledNetwork:
    """Uint8, or float 0..1, [B, C, S, S] to all outputs of the graph, float32 [B, ...] each."""

    def __init__(self, compiled: Any) -> None:
        """compiled: OpenVINO's CompiledModel, of one picture [1, 3, S, S]."""
        (self._shape,) = (tuple(port.shape) for port in compiled.inputs)
        self._outputs = [tuple(port.shape)[1:] for port in compiled.outputs]
        self._queue = openvino().AsyncInferQueue(compiled)

    def __call__(self, pictures: Pixels, /) -> list[NDArray[np.float32]]:
        """See the class."""
        kept = [np.empty((len(pictures), *shape), np.float32) for shape in self._outputs]

        def keep(request: Any, row: int) -> None:
            for output, rows in zip(request.output_tensors, kept, strict=True):
                rows[row] = output.data[0]

        self._queue.set_callback(keep)
        for row, picture in enumerate(pictures):
            values = np.empty(self._shape, np.float32)
            # by NumPy: torch's threads would disturb those of OpenVINO
            values[:] = picture / np.float32(255) if picture.dtype == np.uint8 else picture
            self._queue.start_async({0: values}, row)
        self._queue.wait_all()
        return kept


def openvino() -> Any:
    """OpenVINO, which by itself would report its import and every conversion to its makers."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module(PACKAGE)


def processor(core: Any) -> list[str]:
    """What a compiled network depends on besides versions and options."""
    return [str(core.get_property(DEVICE, name)) for name in _OF_THE_PROCESSOR]


def opened(core: Any, path: Path, options: dict[str, Any]) -> Any:
    """The compiled network of a cache file; None where there is none that can be used."""
    try:
        blob = open_array(path, np.uint8, (-1,))
        if blob is not None:
            # a tensor is not copied once more, as a stream is
            return core.import_model(openvino().Tensor(np.array(blob)), DEVICE, options)
    except (OSError, RuntimeError) as error:
        log.info("%s: cannot be used (%s); compiled again", path, one_line(error))
    return None


def remember(name: str, program: str, path: Path, options: dict[str, Any]) -> None:
    """Let `known_network` find the network that was kept at `path` by `name`.

    name: says all that decides its numbers. options: of OpenVINO.
    """
    with suppress(OSError):  # a cache that is read-only
        facts = {"file": path.name, "options": options}
        write_sealed_json(_known(openvino().Core(), name, program), facts)


def known_network(name: str, runtime: Runtime, precision: str = "fp32") -> CompiledNetwork | None:
    """The network that was remembered by `name`; None where torch is needed to make it.

    So it is where torch is to compute, and after a change of versions, processor or threads.
    """
    program = chosen_program(runtime, precision)
    if program == TORCH:
        return None
    try:
        core = openvino().Core()
        facts = read_sealed_json(_known(core, name, program))
        compiled = opened(core, default_cache_dir() / FOLDER / facts["file"], facts["options"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):  # none there, or damaged
        return None
    return None if compiled is None else CompiledNetwork(compiled)


def _known(core: Any, name: str, program: str) -> Path:
    versions = [__version__, program, *map(metadata.version, ("torch", "timm"))]
    threads: Sequence[Any] = [os.cpu_count(), *map(os.environ.get, _THREADS)]
    if hasattr(os, "sched_getaffinity"):
        threads = [*threads, len(os.sched_getaffinity(0))]
    facts = [FORMAT, name, *versions, *threads, *processor(core)]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:40]
    return default_cache_dir() / FOLDER / f"known-{digest}.json"
