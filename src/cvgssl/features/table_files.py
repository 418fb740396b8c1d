"""The formats of features files, .npz and .parquet: columns by name, read with bounds.

Such a file may come from anywhere. Only known columns are read, and what one claims to hold is
held against the size of the file before memory is taken for it. Nothing in it is executed.
"""

import json
import math
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.zip_files import check_directory

TEXTS = ("names", "splits", "labels")
KNOWN = ("values", *TEXTS, "about")

_ALWAYS = 256 * 2**20  # bytes that a column may have whatever the size of the file
_RATIO = 100  # beyond that, times the bytes that it takes in the file; features compress little


def write_npz(path: Path, columns: Mapping[str, Any]) -> None:
    """Write `columns`: values (an array), texts (lists) and about (a dict)."""
    texts: dict[str, Any] = {name: np.array(columns[name], dtype=np.str_) for name in TEXTS}
    with path.open("wb") as file:
        about = np.str_(json.dumps(columns["about"]))
        np.savez(file, values=columns["values"], about=about, **texts)


def read_npz(path: Path) -> dict[str, Any]:
    """The known arrays of an .npz; raises almost anything for a file that is none."""
    check_directory(path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        return {
            name: _array(archive, members[f"{name}.npy"], name)
            for name in KNOWN
            if f"{name}.npy" in members
        }


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    if member.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):  # others are for columns of many parts, with headers of any length
            raise ValueError(f"{name} has the unknown version {version} of NumPy's format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        header = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are never read")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize != member.file_size - header:
        raise ValueError(f"{name} has not the size that its header says")
    _check_size(name, member.file_size + 8 * count, member.compress_size)
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype.kind == "U" and array.nbytes:
        native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
        if native.reshape(-1).view(np.uint32).max() > sys.maxunicode:  # no error in NumPy
            raise ValueError(f"{name} holds characters that do not exist")
    return array


def _check_size(name: str, claimed: int, stored: int) -> None:
    if claimed > max(_ALWAYS, _RATIO * stored):
        raise ValueError(
            f"{name} takes {stored:,} bytes in the file and claims {claimed:,}; save it again "
            "without compression if it is sound"
        )


def write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    """As `write_npz`; `about` is in the schema's metadata. Raises UserError without pyarrow."""
    pyarrow, parquet = import_parquet()
    values = columns["values"]
    flat = pyarrow.array(np.ascontiguousarray(values).ravel())
    lists = pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
    table = pyarrow.table({"values": lists} | {name: columns[name] for name in TEXTS})
    about = json.dumps(columns["about"])
    parquet.write_table(table.replace_schema_metadata({"about": about}), path)


def read_parquet(path: Path) -> dict[str, Any]:
    """The known columns; raises almost anything for a file that is none, UserError sometimes."""
    pyarrow, parquet = import_parquet()
    with parquet.ParquetFile(path) as file:
        names = [name for name in ("values", *TEXTS) if name in file.schema_arrow.names]
        stored: dict[str, list[int]] = {name: [0, 0] for name in names}
        roots = [column.path.split(".")[0] for column in file.schema]
        for group in range(file.metadata.num_row_groups):
            # reading raises where the statistics are damaged; the getters below end the process
            next(file.iter_batches(1, row_groups=[group], columns=names), None)
            for place, name in enumerate(roots):
                if name in stored:
                    column = file.metadata.row_group(group).column(place)
                    # a value takes few bits where it is repeated
                    claimed = max(column.total_uncompressed_size, 8 * column.num_values)
                    stored[name][0] += claimed
                    stored[name][1] += column.total_compressed_size
        for name, (claimed, size) in stored.items():
            _check_size(name, claimed, size)
        # as places in a dictionary: a long text may be repeated in a million rows
        texts = [column.path for column in file.schema if column.path in TEXTS]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        table = file.read(columns=names)
    columns: dict[str, Any] = {
        name: _texts(pyarrow, table[name]) for name in names if name != "values"
    }
    if "values" in names:
        columns["values"] = _matrix(pyarrow, table["values"].combine_chunks())
    about = (table.schema.metadata or {}).get(b"about")
    return columns | ({"about": about.decode()} if about else {})


def _texts(pyarrow: Any, column: Any) -> list[Any]:
    """What a column holds; equal texts of a dictionary are in memory once."""
    texts: list[Any] = []
    for chunk in column.chunks:
        if isinstance(chunk, pyarrow.DictionaryArray):
            words = [*chunk.dictionary.to_pylist(), None]
            texts += [words[-1 if code is None else code] for code in chunk.indices.to_pylist()]
        else:
            texts += chunk.to_pylist()
    return texts


def _matrix(pyarrow: Any, lists: Any) -> NDArray[Any]:
    """A column of lists of one length, [N, D]; raises ValueError."""
    if lists.null_count:
        raise ValueError("values has rows without numbers")
    if pyarrow.types.is_fixed_size_list(lists.type):
        width = lists.type.list_size
    else:
        lengths = set(lists.value_lengths().to_pylist())
        if len(lengths) > 1:
            raise ValueError("the lists in values are not of one length")
        width = lengths.pop() if lengths else 0
    flat: NDArray[Any] = lists.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(lists), width or 0)


def import_parquet(instead: str = "use .npz") -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet; raises UserError where they are not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            f"parquet files need pyarrow: pip install 'cvgssl[parquet]'; or {instead}"
        ) from error
    return pyarrow, parquet
