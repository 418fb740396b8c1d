"""The formats of features files, .npz and .parquet: columns by name, read with bounds.

Such a file may come from anywhere. Only known columns are read, and what one claims to hold is
held against the size of the file before memory is taken for it. Nothing in it is executed.
"""

import json
import math
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.feature_store import scratch
from cvgssl.features.parquet_pages import Claim, page_claims
from cvgssl.features.record import FEATURES_FOLDER
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.runtime.zip_files import check_directory

TEXTS = ("names", "splits", "labels")
KNOWN = ("values", *TEXTS, "about", "places")

_LOCAL = "<4s5H3I2H"  # before a member of a ZIP file
_ALWAYS = 256 * 2**20  # bytes that a column may have whatever the size of the file
_IN_MEMORY = 2**26  # values up to here are read into memory, more are mapped
_AT_A_TIME = 2**22  # values that are written together
_ROWS = 4096  # of a parquet file that are read together
_RATIO = 100  # beyond that, times the bytes that it takes in the file; features compress little


def write_npz(path: Path, columns: Mapping[str, Any]) -> None:
    """Write `columns`: values (an array), texts (lists), about (a dict), perhaps places (int64)."""
    arrays: dict[str, Any] = {name: np.array(columns[name], dtype=np.str_) for name in TEXTS}
    if "places" in columns:
        arrays["places"] = columns["places"]
    with path.open("wb") as file:
        about = np.str_(json.dumps(columns["about"]))
        np.savez(file, values=columns["values"], about=about, **arrays)


def read_npz(path: Path) -> dict[str, Any]:
    """The known arrays of an .npz; raises almost anything for a file that is none."""
    check_directory(path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        return {
            name: _array(path, archive, members[f"{name}.npy"], name)
            for name in KNOWN
            if f"{name}.npy" in members
        }


def _array(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str
) -> NDArray[Any]:
    if member.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):  # others are for columns of many parts, with headers of any length
            raise ValueError(f"{name} has the unknown version {version} of NumPy's format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        header = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are never read")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize != member.file_size - header:
        raise ValueError(f"{name} has not the size that its header says")
    _check_size(name, member.file_size + 8 * count, member.compress_size)
    if name in TEXTS and count > (size := path.stat().st_size):  # each picture takes a byte or more
        raise ValueError(f"{count:,} {name} in a file of {size:,} bytes")
    large = count > _IN_MEMORY and dtype == np.dtype("<f4") and not fortran
    mapped = _mapped(path, archive, member, header, shape) if large else None
    if mapped is not None:
        return mapped
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype.kind == "U" and array.nbytes:
        native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
        if native.reshape(-1).view(np.uint32).max() > sys.maxunicode:  # no error in NumPy
            raise ValueError(f"{name} holds characters that do not exist")
    return array


def _mapped(
    path: Path,
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    header: int,
    shape: tuple[int, ...],
) -> NDArray[np.float32] | None:
    """An array of the file, memory-mapped; None where it is compressed or at an odd place.

    header: bytes of the member before its numbers.
    """
    with path.open("rb") as file:
        file.seek(member.header_offset)
        *_, name, extra = struct.unpack(_LOCAL, file.read(struct.calcsize(_LOCAL)))
        place = file.tell() + name + extra + header
    if member.compress_type != zipfile.ZIP_STORED or place % 4:
        return None
    with archive.open(member) as stream:
        while stream.read(4 * _AT_A_TIME):
            pass  # to the end, where the checksum is compared
    return np.memmap(path, "<f4", "r", place, shape).view(np.ndarray)


def _check_size(name: str, claimed: int, stored: int) -> None:
    if claimed > max(_ALWAYS, _RATIO * stored):
        raise ValueError(
            f"{name} takes {stored:,} bytes in the file and claims {claimed:,}; save it again "
            "without compression if it is sound"
        )


def write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    """As `write_npz`; `about` is in the schema's metadata. Raises UserError without pyarrow."""
    pyarrow, parquet = import_parquet()
    values, about = columns["values"], json.dumps(columns["about"])
    others = [name for name in (*TEXTS, "places") if name in columns]

    def group(start: int, stop: int) -> Any:
        flat = pyarrow.array(np.ascontiguousarray(values[start:stop]).ravel())
        lists = pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        table = pyarrow.table(
            {"values": lists} | {name: columns[name][start:stop] for name in others}
        )
        return table.replace_schema_metadata({"about": about})

    rows = max(1, _AT_A_TIME // values.shape[1])
    schema = group(0, 1).schema
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, len(values), rows):
            writer.write_table(group(start, start + rows).cast(schema))


def read_parquet(path: Path) -> dict[str, Any]:
    """The known columns; raises almost anything for a file that is none, UserError sometimes."""
    pyarrow, parquet = import_parquet()
    claims = page_claims(path, KNOWN)
    for name, claim in claims.items():
        # a value takes few bits where it is repeated
        _check_size(name, max(claim.inflated, 8 * claim.values), claim.stored)
    with parquet.ParquetFile(path) as file:
        names = [name for name in ("values", *TEXTS, "places") if name in file.schema_arrow.names]
        for name in names:
            _check_kind(pyarrow, name, file.schema_arrow.field(name).type)
        # as places in a dictionary: a long text may be repeated in a million rows
        texts = [column.path for column in file.schema if column.path in TEXTS]
        about = (file.schema_arrow.metadata or {}).get(b"about")
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        table = file.read(columns=[name for name in names if name != "values"])
        columns: dict[str, Any] = {
            name: _texts(pyarrow, table[name]) for name in TEXTS if name in names
        }
        if "places" in names:
            columns["places"] = table["places"].to_numpy()
        if "values" in names:
            columns["values"] = _matrix(pyarrow, file, claims.get("values", Claim()).values)
    return columns | ({"about": about.decode()} if about else {})


def _check_kind(pyarrow: Any, name: str, kind: Any) -> None:
    """Raise ValueError for a column of a kind that can unfold while it is read.

    Texts and numbers are as large as their pages; of lists, `values` alone is read with a bound.
    """
    of = pyarrow.types
    lists = of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind)
    inner = kind.value_type if (lists and name == "values") or of.is_dictionary(kind) else kind
    texts = of.is_string(inner) or of.is_large_string(inner) or of.is_string_view(inner)
    binary = of.is_binary(inner) or of.is_large_binary(inner) or of.is_binary_view(inner)
    numbers = of.is_integer(inner) or of.is_floating(inner) or of.is_boolean(inner)
    if not (texts or binary or numbers or of.is_null(inner)) or (lists and (texts or binary)):
        raise ValueError(f"{name} holds {one_line(kind, 60)}")


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


def _matrix(pyarrow: Any, file: Any, most: int) -> NDArray[Any]:
    """A column of lists of one length, float32 [N, D], read some rows at a time.

    most: numbers that the file may hold by what was checked. Raises ValueError. What are no numbers
    is given as it is, for a message.
    """
    kind, count = file.schema_arrow.field("values").type, file.metadata.num_rows
    fixed = pyarrow.types.is_fixed_size_list(kind)
    matrix = np.empty((0, kind.list_size if fixed else 0), np.float32)
    row = 0
    for batch in file.iter_batches(_ROWS, columns=["values"]):
        some = _rows(pyarrow, batch.column(0))
        if some.dtype.kind not in "fiu" or not some.size:
            return some
        if not row:
            if count * some.shape[1] > most:
                raise ValueError(f"values are not the {count} rows that the file claims")
            matrix = _room(count, some.shape[1])
        if matrix.shape[1] != some.shape[1]:
            raise ValueError("the lists in values are not of one length")
        with np.errstate(over="ignore"):  # a float64 can be too large, which is seen later
            matrix[row : row + len(some)] = some
        row += len(some)
    return matrix[:row]


def _rows(pyarrow: Any, lists: Any) -> NDArray[Any]:
    """Lists of one length, [N, D]; raises ValueError."""
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


def _room(rows: int, width: int) -> NDArray[np.float32]:
    if rows * width > _IN_MEMORY:
        return scratch(default_cache_dir() / FEATURES_FOLDER, rows, width)
    return np.empty((rows, width), np.float32)


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
