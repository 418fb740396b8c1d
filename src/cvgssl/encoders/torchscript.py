"""Tensors of a TorchScript archive, such as OpenAI's CLIP files, without its code.

`torch.jit.load` would run code from the file. Here only `data.pkl` is read, by an unpickler that
knows how to rebuild tensors; every scripted class becomes a holder of its attributes.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cvgssl.runtime.errors import UserError

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Scripted:
    """A scripted module or object: its attributes, nothing else."""

    attributes: dict[str, Any]

    def __init__(self) -> None:
        self.attributes = {}

    def __setstate__(self, state: Any) -> None:
        self.attributes = dict(state) if isinstance(state, dict) else {}


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}
        super().__init__(archive.open(f"{root}/data.pkl"))

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return type(name, (_Scripted,), {})
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return _ignore
        raise pickle.UnpicklingError(f"{module}.{name} is refused; nothing in the file is run")

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _device, _count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("unknown kind of data")
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            empty = torch.empty(0, dtype=dtype)
            self._storages[key] = torch.frombuffer(data, dtype=dtype) if data else empty
        return self._storages[key]


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by dotted name, as `state_dict()` would name them.

    Raises UserError for anything in the file besides scripted modules and tensors.
    """
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        root = min(pickles, key=len).removesuffix("/data.pkl")
        try:
            module = _Unpickler(archive, root).load()
        except pickle.UnpicklingError as error:
            raise UserError(f"{path}: refused: {error}") from error
    if not isinstance(module, _Scripted):
        raise UserError(f"{path}: not a TorchScript module")
    return dict(_tensors(module, ""))


def _tensors(module: _Scripted, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _Scripted):
            yield from _tensors(value, f"{prefix}{name}.")


def _rebuild(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: Any
) -> Tensor:
    return storage.as_strided(size, stride, offset)  # torch checks the bounds


def _ignore(*_args: Any) -> None:
    """Stands for lists of numbers, which carry no weights."""
