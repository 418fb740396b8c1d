"""Weight files of any container format to plain dictionaries of tensors; nothing in them is run.

- safetensors: tensors and text only.
- torch.save, zip and old format: torch's weights-only reader. Classes that training frameworks
  leave in their files (options, schedulers, NumPy scalars) are replaced by an inert stand-in; any
  other class or function is refused by name.
- TorchScript archives: see `torchscript.py`.
"""

import pickle
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from cvgssl.runtime.errors import UserError

# Never imported: an object of these is read as an empty stand-in.
_ALWAYS_INERT = (
    "argparse.Namespace",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "pathlib.PosixPath",
)
_INERT_PACKAGES = (
    "argparse",
    "collections",
    "enum",
    "lightly",
    "lightly_train",
    "lightning",
    "lightning_fabric",
    "numpy",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
    "torch.nn",
    "torch.optim",
    "typing",
)


@dataclass
class Contents:
    """What a weight file holds.

    container: `safetensors`, `torch` or `torchscript`.
    tree: the top-level dictionary; for safetensors and TorchScript, names to tensors.
    metadata: text of a safetensors header.
    folder: where the file is. network: the copy of a network that is read (see `networks.py`).
    """

    container: str
    tree: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    network: str = ""


class _Inert:
    """Takes whatever a pickle gives and does nothing with it."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_contents(path: Path) -> Contents:
    """Read a weight file by content, whatever its name.

    Raises UserError naming the file when it is empty, damaged, of no known kind, or holds
    anything that would have to be executed.
    """
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise UserError(f"{path}: the file is empty; copy or download it again")
    if start.startswith(b"version https://g"):
        raise UserError(f"{path}: a Git LFS pointer, not the weights; fetch it with `git lfs pull`")
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start.startswith(b"PK"):
        return _read_zip(path)
    if start[:1] != b"\x80":
        raise UserError(
            f"{path}: not a weight file (safetensors, torch.save and TorchScript are read)"
        )
    if tarfile.is_tarfile(path):
        raise UserError(f"{path}: torch's oldest format (tar); save it again with a newer torch")
    return _read_torch(path, _ALWAYS_INERT)


def _read_safetensors(path: Path) -> Contents:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Contents("safetensors", tensors, dict(file.metadata() or {}))
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _read_zip(path: Path) -> Contents:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
        if "data.pkl" not in names:
            raise UserError(f"{path}: a zip archive without weights; unpack it first")
        if "constants.pkl" in names:
            return Contents("torchscript", dict(read_torchscript(path)))
        found = get_unsafe_globals_in_checkpoint(path)
    except UserError:
        raise
    except Exception as error:  # whatever a damaged archive provokes in zipfile and torch
        raise _damaged(path, error) from error
    return _read_torch(path, {*_ALWAYS_INERT, *filter(_is_inert, found)})


def _is_inert(name: str) -> bool:
    return any(name.startswith(package + ".") for package in _INERT_PACKAGES)


def _read_torch(path: Path, inert: Iterable[str]) -> Contents:
    stand_ins: list[Any] = [(type("Inert", (_Inert,), {}), name) for name in inert]
    try:
        # an open file, because torch would judge a path by its ending
        with safe_globals(stand_ins), path.open("rb") as file:
            tree = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: {_refusal(str(error))}") from error
    except Exception as error:  # whatever a damaged file provokes in pickle and torch
        raise _damaged(path, error) from error
    if not isinstance(tree, dict):
        raise UserError(
            f"{path}: holds a {type(tree).__name__}, not a dictionary of weights; save the model's "
            "state_dict()"
        )
    return Contents("torch", tree)


def _refusal(message: str) -> str:
    words = message.partition("GLOBAL ")[2].split()
    if not words:
        words = message.partition("class blocklisted_module ")[2].split()
    what = f"asks for {words[0]}" if words else "holds more than weights"
    return (
        f"refused: it {what}, and code inside weight files is never run; save the model's "
        "state_dict() as safetensors (lightly-train: `lightly-train export`)"
    )


def _damaged(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{path}: damaged or cut short ({reason}); copy or download it again")


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
