"""Parameters and buffers of a TorchScript archive; none of its code is run."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from cvgssl.encoders.pickle_scan import STORAGES, Scan, UnsafePickleError

_MOST_MODULES = 50_000


def read_torchscript(archive: zipfile.ZipFile, root: str) -> dict[str, Tensor]:
    """Parameters and buffers by dotted name, as `state_dict()` would name them.

    root: the folder in the archive that holds data.pkl.
    Raises UnsafePickleError for anything besides scripted modules and tensors.
    """
    scan = Scan(_is_inert, lambda key: archive.getinfo(f"{root}/data/{key}").file_size)
    with archive.open(f"{root}/data.pkl") as stream:
        scan(stream)
    module = _Unpickler(archive, root).load()
    if not isinstance(module, _Scripted):
        raise UnsafePickleError("not a TorchScript module")
    return _tensors(module)


def _is_inert(name: str) -> bool:
    return name.startswith(("__torch__.", "torch.jit._pickle.build_"))


class _Scripted:
    """A scripted module or object: its attributes, nothing else."""

    attributes: dict[str, Any]

    def __new__(cls) -> "_Scripted":
        made = super().__new__(cls)
        made.attributes = {}
        return made

    def __setstate__(self, state: Any) -> None:
        self.attributes = dict(state) if isinstance(state, dict) else {}


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}
        super().__init__(archive.open(f"{root}/data.pkl"))

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Scripted
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return _ignore
        raise UnsafePickleError(f"asks for {module}.{name}, and nothing in the file is run")

    def persistent_load(self, pid: Any) -> Tensor:
        _kind, dtype, key, _device, _count = pid
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            empty = torch.empty(0, dtype=dtype)
            self._storages[key] = torch.frombuffer(data, dtype=dtype) if data else empty
        return self._storages[key]


def _tensors(module: _Scripted) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for visited, (name, value) in enumerate(_members(module, "")):
        if visited > _MOST_MODULES:
            raise UnsafePickleError("its modules contain each other without end")
        if isinstance(value, Tensor):
            tensors[name] = value
    return tensors


def _members(module: _Scripted, prefix: str) -> Iterator[tuple[str, Any]]:
    """Tensors and modules, depth first."""
    for name, value in module.attributes.items():
        if isinstance(value, Tensor | _Scripted):
            yield f"{prefix}{name}", value
        if isinstance(value, _Scripted):
            yield from _members(value, f"{prefix}{name}.")


def _rebuild(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: Any
) -> Tensor:
    return storage.as_strided(size, stride, offset)  # torch checks the bounds


def _ignore(*_args: Any) -> None:
    """Replaces lists of numbers, which carry no weights."""
