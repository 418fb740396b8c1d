"""Weight files of any container format to plain dictionaries of tensors; nothing in them is run.

- safetensors: tensors and text only.
- torch.save, zip and old format: torch's weights-only reader, after `pickle_scan.py` has bounded
  what it does. Classes that training frameworks leave in their files (options, schedulers, NumPy
  scalars) are replaced by an inert stand-in; any other class or function is refused by name.
- TorchScript archives: see `torchscript.py`.

No file takes more memory than a few times its own size.
"""

import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.serialization import safe_globals

from cvgssl.encoders.pickle_scan import Scan, UnsafePickleError
from cvgssl.encoders.torchscript import read_torchscript
from cvgssl.encoders.weights_card import WeightsCard, read_card
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import check_file, parsing
from cvgssl.runtime.zip_files import check_directory

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

_DAMAGED = "weights: it is damaged or cut short"
_LEGACY_PICKLES = 5  # magic number, protocol, system, the object, keys of its storages
_MOST_STAND_INS = 100
_MOST_TENSORS = 20_000
# a sound file of 8-bit numbers becomes four times as large; weights may be tied
_MOST_TIMES, _ALWAYS_TAKEN = 8, 64 * 2**20
_EIGHT_BITS = {
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2,
    torch.float8_e5m2fnuz,
}
_DTYPES = _EIGHT_BITS | {
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.complex128,
    torch.complex64,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint64,
    torch.uint32,
    torch.uint16,
    torch.uint8,
    torch.bool,
}


@dataclass
class FileContents:
    """What a weight file holds.

    container: `safetensors`, `torch` or `torchscript`.
    tree: the top-level dictionary; for safetensors and TorchScript, names to tensors.
    metadata: text of a safetensors header. card: what cvgssl wrote about the weights.
    folder: where the file is. network: the copy of a network that is read (see `networks.py`).
    """

    container: str
    tree: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)
    card: WeightsCard = field(default_factory=WeightsCard)
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


def read_contents(path: Path) -> FileContents:
    """Read a weight file by content, whatever its name.

    Raises UserError naming the file when it is empty, damaged, of no known kind, asks for more
    memory than its size justifies, or holds anything that would have to be executed.
    """
    size = check_file(path)
    if not size:  # files of /proc have no size and may block
        raise UserError(f"{path}: the file is empty; copy or download it again")
    with parsing(path, "a weight file"), path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"version https://g"):
        raise UserError(f"{path}: a Git LFS pointer, not the weights; fetch it with `git lfs pull`")
    if start[8:9] != b"{" and not start.startswith(b"PK") and start[:1] != b"\x80":
        raise UserError(
            f"{path}: not a weight file (safetensors, torch.save and TorchScript are read)"
        )
    with parsing(path, _DAMAGED, "copy or download it again"):
        try:
            if start[8:9] == b"{":
                contents = _read_safetensors(path)
            elif start.startswith(b"PK"):
                contents = _read_zip(path, size)
            else:
                contents = _read_legacy(path, size)
            _make_plain(contents.tree, size)
            contents.card = read_card(contents.metadata, contents.tree)
        except UnsafePickleError as error:
            raise UserError(
                f"{path}: refused: it {error}; save the model's state_dict(), plain tensors of "
                "float32, as safetensors (lightly-train: `lightly-train export`)"
            ) from error
    return contents


def read_tree(path: Path) -> dict[str, Any]:
    """The dictionary in a file, read as a weight file is; with the same errors."""
    return read_contents(path).tree


def _read_safetensors(path: Path) -> FileContents:
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        _check_count(len(names))
        return FileContents(
            "safetensors", {name: file.get_tensor(name) for name in names}, file.metadata() or {}
        )


def _read_zip(path: Path, size: int) -> FileContents:
    check_directory(path)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        root = members[0].filename.partition("/")[0] if members else ""
        names = [member.filename for member in members]
        if f"{root}/data.pkl" not in names:
            raise UserError(f"{path}: a zip archive without weights; unpack it first")
        _check_members(members, root, archive.comment, size)
        if f"{root}/constants.pkl" in names:
            return FileContents("torchscript", dict(read_torchscript(archive, root)))
        scan = Scan(_is_inert, lambda key: archive.getinfo(f"{root}/data/{key}").file_size)
        with archive.open(f"{root}/data.pkl") as stream:
            scan(stream)
    return FileContents("torch", _load(path, scan))


def _check_members(members: list[zipfile.ZipInfo], root: str, comment: bytes, size: int) -> None:
    """Raise UnsafePickleError for an archive that unfolds, or that two readers could see otherwise.

    torch.save compresses nothing; TorchScript compresses its code, which is not read.
    """
    read = [member for member in members if not member.filename.startswith(f"{root}/code/")]
    if any(member.compress_type != zipfile.ZIP_STORED for member in read):
        raise UnsafePickleError("is a compressed archive, torch's own is not")
    amounts = [max(member.compress_size, member.file_size) for member in read]
    unlike = any(member.compress_size != member.file_size for member in read)
    names = {member.filename.lower() for member in members}
    hidden = comment or min(member.header_offset for member in members) or len(names) < len(members)
    if unlike or hidden or sum(amounts) > size:
        raise UnsafePickleError("is an archive whose parts overlap or have impossible sizes")


def _read_legacy(path: Path, size: int) -> FileContents:
    if tarfile.is_tarfile(path):
        raise UserError(f"{path}: torch's oldest format (tar); save it again with a newer torch")
    scan = Scan(_is_inert, lambda _key: size)
    with path.open("rb") as stream:
        for _ in range(_LEGACY_PICKLES):
            scan(stream)
    if sum(scan.storages.values()) > size:
        raise ValueError("storages larger than the file")
    return FileContents("torch", _load(path, scan))


def _is_inert(name: str) -> bool:
    return name in _ALWAYS_INERT or any(name.startswith(f"{known}.") for known in _INERT_PACKAGES)


def _load(path: Path, scan: Scan) -> dict[str, Any]:
    if len(scan.stand_ins) > _MOST_STAND_INS:  # torch's reader takes long with many
        raise UnsafePickleError(f"asks for more than {_MOST_STAND_INS} classes")
    stand_ins: list[Any] = [(_Inert, name) for name in scan.stand_ins]
    # an open file, because torch would judge a path by its ending
    with safe_globals(stand_ins), path.open("rb") as file:
        tree = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(tree, dict):
        raise UserError(
            f"{path}: holds a {type(tree).__name__}, not a dictionary of weights; save the model's "
            "state_dict()"
        )
    return tree


def _make_plain(tree: dict[str, Any], size: int) -> None:
    """Check all tensors in nested dictionaries, and turn those in 8 bits to float32, in place.

    Raises UnsafePickleError when they would become many times larger than the file: tensors can be
    views of few numbers.
    """
    held = list(_tensors_of(tree))
    _check_count(len(held))
    for _, name, tensor in held:
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise UnsafePickleError(f"holds a tensor {name} that is not plain")
        if tensor.dtype not in _DTYPES:
            raise UnsafePickleError(
                f"holds a tensor {name} of {str(tensor.dtype).removeprefix('torch.')} numbers, "
                "which are not read"
            )
    amount = sum(tensor.numel() * max(4, tensor.element_size()) for _, _, tensor in held)
    if amount > _MOST_TIMES * size + _ALWAYS_TAKEN:
        raise UnsafePickleError(
            f"unfolds to {amount:,} bytes, as its tensors are views that repeat the same numbers"
        )
    for place, name, tensor in held:
        if tensor.dtype in _EIGHT_BITS:
            place[name] = tensor.float()


def _tensors_of(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    """The tensors in nested dictionaries, each with its dictionary and name."""
    pending, seen = [tree], {id(tree)}
    while pending:
        place = pending.pop()
        for name, value in place.items():
            if isinstance(value, Tensor):
                yield place, name, value
            elif isinstance(value, dict) and id(value) not in seen:
                seen.add(id(value))
                pending.append(value)


def _check_count(tensors: int) -> None:
    if tensors > _MOST_TENSORS:
        raise UnsafePickleError(f"holds {tensors:,} tensors; at most {_MOST_TENSORS:,} are read")
