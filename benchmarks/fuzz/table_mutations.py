"""Damage to features files: columns of other dtypes, shapes and contents, missing or repeated."""

import io
import random
import struct
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import parquet

from benchmarks.fuzz import mutations

_WORDS = ("", " ", "a/b.png", "../../x.png", "/dev/zero", "C:\\x\\y.png", "e\u0301.png", "\u202e",
          "\x1b[2J", "nul\0x", "=1+1", "train/x.png", "x" * 70_000, "\ud800", "🔩",
          "?")  # fmt: skip
_NUMBERS = (float("nan"), float("inf"), -float("inf"), 1e300, 1e16, -1e-300, 0.0)
_DTYPES = (
    "f2", "f8", ">f4", "i1", "u8", "?", "c16", "M8[s]", "m8[D]", "U5", "S3", "V4", "i8", "f4,f4",
    "g", "O",
)  # fmt: skip


def mutate_npz(data: bytes, rng: random.Random) -> bytes:
    """An array of the .npz of other type, shape or content; `about` with other values."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        columns = {name: file[name] for name in file.files}
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(list(columns))
        if name == "about" and rng.random() < 0.8:
            columns[name] = np.str_(_about_changed(str(columns[name]), rng))
            continue
        kind = rng.randrange(8)
        if kind == 0 and len(columns) > 1:
            del columns[name]
            continue
        if kind == 1:
            columns[rng.choice(("more", "file", "VALUES", "a/b", ""))] = columns[name]
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                columns[name] = _array_changed(columns[name], rng)
            except (ValueError, TypeError, OverflowError):  # not of this type
                columns[name] = np.array(5)
    out = io.BytesIO()
    columns.pop("file", None)  # how NumPy calls what it writes to
    rng.choice((np.savez, np.savez_compressed))(out, allow_pickle=True, **columns)
    return out.getvalue()


def _about_changed(text: str, rng: random.Random) -> str:
    if rng.random() < 0.8:
        return mutations.mutate_json(text.encode(), rng).decode()
    return rng.choice(("", "[]", "null", "{", "[" * 10**5, '{"a": NaN}', "9" * 5000))


def _array_changed(array: NDArray[Any], rng: random.Random) -> NDArray[Any]:
    kind = rng.randrange(9)
    if kind == 0:
        return array.astype(rng.choice(_DTYPES))
    if kind == 1:
        shapes = ((-1,), (1, -1), (-1, 1), (-1, 1, 1), (1, -1, 1))
        return array.reshape(rng.choice(shapes))
    if kind == 2:
        return array[rng.choice((slice(0), slice(1), slice(-1), slice(None, None, -1)))]
    if kind == 3:
        return np.asfortranarray(array)
    if kind == 4:
        return np.concatenate([array] * rng.choice((2, 50))) if array.ndim else array
    if kind == 5:
        return np.zeros(
            rng.choice(((0, 0), (0, 10**6), (10**6, 0), (), (3, 0), (10**6, 4))), array.dtype
        )
    changed = (
        array.astype(rng.choice((array.dtype, np.dtype("f8"))))
        if array.dtype.kind == "f"
        else array
    )
    flat = (
        changed.astype("U70000")
        if changed.dtype.kind == "U" and rng.random() < 0.1
        else changed.copy()
    )
    flat = flat.reshape(-1)
    for _ in range(rng.choice((1, 3, flat.size))):
        words: tuple[Any, ...] = _WORDS if flat.dtype.kind == "U" else _NUMBERS
        flat[rng.randrange(max(1, flat.size))] = rng.choice((rng.choice(words), flat[0]))
    return flat.reshape(array.shape)


def mutate_parquet(data: bytes, rng: random.Random) -> bytes:
    """A column of the parquet file of other type or content, missing, twice; other metadata."""
    kind = rng.randrange(6)
    if kind == 0:  # the length of the footer, and the footer
        (size,) = struct.unpack("<I", data[-8:-4])
        if rng.random() < 0.3:
            return (
                data[:-8]
                + struct.pack("<I", rng.choice((0, 1, size - 1, 2**31, 2**32 - 1)))
                + data[-4:]
            )
        start = len(data) - 8 - size
        footer = rng.choice(mutations.BYTES)(data[start:-8], rng)
        return data[:start] + footer + struct.pack("<I", len(footer)) + data[-4:]
    table = parquet.read_table(io.BytesIO(data))
    metadata = dict(table.schema.metadata or {})
    if kind == 1:
        about = _about_changed(metadata[b"about"].decode(), rng).encode("utf-8", "surrogatepass")
        metadata[b"about"] = rng.choice((about, about, b"\xff\xfe", b""))
        table = table.replace_schema_metadata(metadata)
    else:
        for _ in range(rng.choice((1, 1, 2))):
            table = _column_changed(table, rng)
        table = table.replace_schema_metadata(metadata)
    out = io.BytesIO()
    choices: tuple[dict[str, Any], ...] = (
        *({}, {"row_group_size": 5}, {"compression": "gzip"}, {"compression": "none"}),
        *({"version": "1.0"}, {"data_page_version": "2.0"}),
    )
    options = rng.choice(choices)
    try:
        parquet.write_table(table, out, **options)
    except (pyarrow.ArrowException, ValueError):
        return data[: len(data) // 2]
    return out.getvalue()


def _column_changed(table: Any, rng: random.Random) -> Any:
    place = rng.randrange(table.num_columns)
    name, rows = table.column_names[place], table.num_rows
    column = table.column(place)
    makers: tuple[Callable[[], Any], ...] = (
        lambda: pyarrow.nulls(rows),
        lambda: pyarrow.nulls(rows, column.type),
        lambda: pyarrow.array([None, *column.to_pylist()[1:]], column.type),
        lambda: pyarrow.array([[1.0] * (n % 3) for n in range(rows)]),
        lambda: pyarrow.array([[1.0, None]] * rows),
        lambda: pyarrow.array([[[1.0]]] * rows),
        lambda: pyarrow.array([[rng.choice(_NUMBERS)] * 4] * rows),
        lambda: pyarrow.array([rng.choice(_NUMBERS)] * rows),
        lambda: pyarrow.array([["a"]] * rows),
        lambda: pyarrow.array([b"\xff\xfe"] * rows),
        lambda: pyarrow.array((_WORDS[:13] * rows)[:rows]),
        lambda: pyarrow.array(["a"] * rows).dictionary_encode(),
        lambda: pyarrow.array([{"a": 1}] * rows),
        lambda: pyarrow.array([[("a", 1)]] * rows, pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        lambda: pyarrow.array([True] * rows),
        lambda: pyarrow.array([rng.choice((0, -1, 2**62))] * rows, pyarrow.timestamp("ns")),
        lambda: pyarrow.array([[]] * rows, pyarrow.list_(pyarrow.float32())),
        lambda: pyarrow.array(column.to_pylist(), pyarrow.large_list(pyarrow.float64())),
        lambda: pyarrow.array(column.to_pylist(), pyarrow.list_(pyarrow.float16())),
        lambda: pyarrow.array([[2**63 - 1] * 4] * rows),
    )
    kind = rng.randrange(8)
    try:
        if kind == 0:
            return table.remove_column(place)
        if kind == 1:
            return table.append_column(rng.choice((name, "more", "")), column)
        if kind == 2:
            return table.slice(0, rng.choice((0, 1)))
        if kind == 3:
            return pyarrow.concat_tables([table, table])
        return table.set_column(place, name, rng.choice(makers)())
    except (pyarrow.ArrowException, ValueError, TypeError):  # not of this type
        return table.remove_column(place)


def mutate_rows(data: bytes, rng: random.Random) -> bytes:
    """Cells of a CSV: long, quoted, with NUL, numbers of 5000 digits; many columns; encodings."""
    rows = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(rng.choice((1, 1, 2))):
        row = rng.choice(rows)
        place = rng.randrange(len(row))
        kind = rng.randrange(7)
        odd = (
            "9" * 5000,
            "\0",
            '"',
            '"a,b"',
            'a"b',
            "x" * 200_000,
            "\u2028",
            "\r",
            "'=1+1",
            "\x1a",
            "\t",
        )
        if kind == 0:
            row[place] = rng.choice(odd)
        elif kind == 1:
            row += [""] * rng.choice((1, 10**5))
        elif kind == 2:
            rows[0] += [rng.choice(("path", "label", "split", "x"))] * rng.choice((1, 10**5))
        elif kind == 3:
            row[place] = f'"{row[place]}\n'
        elif kind == 4:
            for line in rows:
                line.insert(place, rng.choice(("", " ", "x")))
        elif kind == 5:
            row[place] = rng.choice(rng.choice(rows) or [""])
        else:
            rows.insert(0, [rng.choice(("sep=;", "sep=,", "#", "\ufeff", ""))])
    text = rng.choice(("\n", "\r\n", "\r")).join(
        rng.choice((",", ",", ";", "\t")).join(r) for r in rows
    )
    encoding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"))
    return text.encode(encoding)


def mutate_boxes(data: bytes, rng: random.Random) -> bytes:
    """Corners of VOC boxes: inf, nan, negative, reversed, huge; entities, declarations, nesting."""
    text = data.decode()
    for _ in range(rng.choice((1, 1, 2))):
        kind = rng.randrange(6)
        if kind <= 2:
            numbers = (
                "inf",
                "nan",
                "-5",
                "1e6",
                "1e308",
                "9" * 5000,
                "",
                " 3 ",
                "0",
                "99",
                "1_0",
                "٣",
            )
            side = rng.choice(("xmin", "ymin", "xmax", "ymax"))
            before, mark, after = text.partition(f"<{side}>")
            text = before + mark + rng.choice(numbers) + after[after.find("<") :]
        elif kind == 3:
            text = text.replace("</object>", "</object>" + rng.choice((
                "<object/>", "<object><name>a</name></object>" * 3, "<x>" * 10**5, "&lt;&x;",
                "<object><name>pits</name><bndbox/></object>", "<![CDATA[<object>]]>",
                "<object><name>&#0;</name></object>", "<a b='c'/>" * 10**5, "<!-- " + "-" * 10**6,
            )), 1)  # fmt: skip
        elif kind == 4:
            text = rng.choice((
                '<!DOCTYPE a [<!ENTITY b "c">]>', '<?xml version="1.0" encoding="utf-7"?>',
                '<?xml version="1.0" encoding="latin-1"?>', '<?xml version="9"?>', "\n",
                '<!DOCTYPE a SYSTEM "file:///etc/passwd">', '<?xml-stylesheet href="x"?>',
            )) + text  # fmt: skip
        else:
            return text.encode(rng.choice(("utf-16", "utf-8-sig", "utf-32")))
    return text.encode()


def mutate_words(data: bytes, rng: random.Random) -> bytes:
    """YAML as people write it: keys that look like numbers, dates and truth; twice; merged."""
    lines = data.decode().splitlines()
    keys = (
        *("01", "010", "no", "1.5e3", "2026-01-05", "~", "null", "<<", "? x\n", "[1, 2]", "{}"),
        *("&a x", "*a", "!!binary x", "!!set x", "12:30:45", "-", "'", "0x1f", "=", "templates"),
        "x" * 5000,
    )
    values = (
        *(" ", " []", " {}", " [a, [b]]", " |\n  a\n  b", " >-\n  x", " &a [1]", " *a", " 1e999"),
        *(" !!float x", " 2026-01-05", " - x", ' "\\ud800"', ' "\\0"', " {<<: {a: 1}}", " !x y"),
        *(" " + "[" * 300, " !!python/name:os.system", " 0o7", " 1_000", " .inf"),
        " {a: &b {c: *b}}",
    )
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(len(lines))
        key, _, value = lines[place].partition(":")
        kind = rng.randrange(4)
        if kind == 0:
            lines[place] = f"{rng.choice(keys)}:{value}"
        elif kind == 1:
            lines[place] = f"{key}:{rng.choice(values)}"
        elif kind == 2:
            lines.insert(place, rng.choice(lines))
        else:
            lines.insert(place, f"{rng.choice(keys)}:{rng.choice(values)}")
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"
