"""Features files that are damaged or made to do harm: one line, little memory."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz.parquet_mutations import abouts, lay_out, put_together, take_apart
from cvgssl.features import table_files
from cvgssl.features.table import load_features
from cvgssl.runtime.errors import UserError


def npy(array: np.ndarray) -> bytes:
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    """A .npy header that says `text`."""
    line = text.ljust(117).encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(line)) + line


GOOD = {"values.npy": npy(np.ones((2, 2), np.float32)), "names.npy": npy(np.array(["a", "b"]))}


def write(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            GOOD | {f"{key}.npy": value for key, value in members.items()}
        ).items():
            archive.writestr(name, content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_features(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and len(text.splitlines()) == 1 and len(text) < 500
    return text


FLOATS = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (header(FLOATS % "(2, 1000000000000)"), "has not the size that its header says"),
        (header(FLOATS % "(2, -1)"), "has not the size"),
        (header(FLOATS % "(2, 2)") + b"\0" * 15, "has not the size"),
        (header(FLOATS % "(2, 2"), "cannot be read as a features file"),
        (header("[" * 100), "cannot be read as a features file"),
        (header(FLOATS % "(2, 2)", b"\x09\x00"), "cannot be read as a features file"),
        (b"\x93NUM", "cannot be read as a features file"),
        (npy(np.array([[1e300, 0], [0, 0]])), "numbers above 1e+15"),
        (npy(np.array([[np.inf, 0], [0, 0]])), "infinite"),
        (npy(np.array([[np.nan, 0], [0, 0]])), "NaN"),
        (npy(np.array([[3e38, 0], [0, 0]], np.float32)), "numbers above 1e+15"),
        (npy(np.zeros((2, 0))), "float [pictures, numbers] is needed"),
        (npy(np.zeros((2, *[1] * 30))), "float [pictures, numbers] is needed"),
        (npy(np.zeros((2, 2), [("a", "f4")])), "float [pictures, numbers] is needed"),
    ],
)
def test_values_that_are_not_what_they_say(tmp_path: Path, values: bytes, told: str) -> None:
    assert told in refused(write(tmp_path / "f.npz", values=values))


@pytest.mark.parametrize(
    ("name", "column", "told"),
    [
        ("names", np.array([0.5, 1.5]), "names must be texts"),
        ("names", np.array([1, 2], "M8[s]"), "names must be texts"),
        ("names", np.array([1j, 2j]), "names must be texts"),
        ("names", np.array([b"\xff", b"a"]), "a features file"),
        ("labels", np.array([True, False]), "labels must be texts"),
        ("labels", np.zeros(2, [("a", "i4")]), "labels must be texts"),
        ("splits", np.array(["x" * 10**5] * 2), "needs a split"),
        ("about", np.str_('{"data": "a\\u0000b"}'), "about.data is no path"),
        ("about", np.str_('{"data": "\\ud800"}'), "about.data is no path"),
        ("about", np.str_('{"data": "%s"}' % ("a" * 5000)), "about.data is no path"),
    ],
)
def test_texts_that_are_none(tmp_path: Path, name: str, column: np.ndarray, told: str) -> None:
    assert told in refused(write(tmp_path / "f.npz", **{name: npy(column)}))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array([b"x", "ä".encode()]), ("x", "ä")),
        (np.array([3, 10]), ("10", "3")),
        (np.array([np.nan, np.nan]), ()),
    ],
)
def test_labels_of_other_kinds(
    tmp_path: Path, labels: np.ndarray, classes: tuple[str, ...]
) -> None:
    path = write(tmp_path / "f.npz", labels=npy(labels))
    assert load_features(path).classes == classes


def test_texts_without_size_are_not_counted_out(tmp_path: Path) -> None:
    endless = header("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,), }")
    assert "claims 8,000,000,000," in refused(write(tmp_path / "f.npz", names=endless))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of small files, lowered so that the tests need little time."""
    monkeypatch.setattr(table_files, "_ALWAYS", 2**20)


@pytest.mark.usefixtures("small")
def test_more_pictures_than_bytes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("values.npy", npy(np.zeros((50_000, 1), np.float32)))
        archive.writestr("names.npy", npy(np.full(50_000, "a")))
    assert "50,000 names in a file of" in refused(tmp_path / "f.npz")


@pytest.mark.usefixtures("small")
def test_what_inflates_beyond_measure_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    size = 2**24
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("names.npy", npy(np.array(["a", "b"])))
        with archive.open("values.npy", "w", force_zip64=True) as file:
            file.write(header(FLOATS % f"(2, {size // 8})"))
            file.write(bytes(size))
    assert path.stat().st_size < 2**17
    assert "save it again without compression" in refused(path)


def test_arrays_that_nobody_asked_for_are_not_touched(tmp_path: Path) -> None:
    path = write(tmp_path / "f.npz", extra=b"no array", deep=header(FLOATS % "(9, 9)"))
    assert load_features(path).names == ("a", "b")


def test_a_damaged_stream_and_an_encrypted_member(tmp_path: Path) -> None:
    random = np.random.default_rng(0).standard_normal((2, 500)).astype(np.float32)
    path = write(tmp_path / "f.npz", values=npy(random))
    whole = bytearray(path.read_bytes())
    whole[400:420] = bytes(20)
    path.write_bytes(whole)
    assert "cannot be read as a features file" in refused(path)
    write(path)
    whole = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        whole[whole.index(mark) + place] |= 1  # the flag of encryption
    path.write_bytes(whole)
    assert "encrypted" in refused(path)
    whole = bytearray(write(path).read_bytes())
    for mark, place in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        whole[whole.index(mark) + place] = 99  # a compression that nobody knows
    path.write_bytes(whole)
    assert "cannot be read as a features file" in refused(path)


@pytest.mark.parametrize("about", ["[" * 100_000, "{", '{"a": ' * 50_000])
def test_about_that_is_nested_deeply(tmp_path: Path, about: str) -> None:
    text = refused(write(tmp_path / "f.npz", about=npy(np.str_(about))))
    assert "about is not JSON" in text


@pytest.mark.usefixtures("small")
def test_parquet_files_damaged_and_without_measure(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "f.parquet"
    names = [f"train/a/{i}.png" for i in range(300)]
    values = pyarrow.array([[float(i), 1.0] for i in range(300)])
    parquet.write_table(pyarrow.table({"values": values, "names": names}), path)
    whole = path.read_bytes()
    assert load_features(path).values.shape == (300, 2)
    for cut in (10, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:cut])
        refused(path)
    path.write_bytes(whole[:200] + bytes(300) + whole[500:])
    refused(path)
    repeated = pyarrow.array(["train/a/1.png"] * 400_000).dictionary_encode()
    parquet.write_table(pyarrow.table({"names": repeated}), path)
    assert path.stat().st_size < 2**20
    assert "400,000 rows in a file of" in refused(path)
    many = pyarrow.ListArray.from_arrays([0, 10**6], np.zeros(10**6, np.float32))
    parquet.write_table(pyarrow.table({"values": many, "names": ["a"]}), path)
    assert "save it again" in refused(path)


def parquet_bytes(path: Path, rows: int, **options: object) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = [f"{'x' * 2000}/{row}.png" for row in range(rows)]
    values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(np.ones(rows, np.float32)), 1)
    parquet.write_table(pyarrow.table({"values": values, "names": names}), path, **options)
    return path.read_bytes()


@pytest.mark.parametrize("size", [2**31 - 1, 2**28 + 1])
@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("field", ["inflated", "values"])
def test_pages_that_claim_more_than_the_footer(
    tmp_path: Path, column: int, field: str, size: int
) -> None:
    """Arrow takes memory for what a page's header says: 2 GiB here."""
    path = tmp_path / "f.parquet"
    footer, chunks = take_apart(parquet_bytes(path, 9, use_dictionary=False))
    (header, _) = chunks[column][0]
    node = header.value[2] if field == "inflated" else header.value[5].value[1]
    node.value = size
    lay_out(footer, chunks)
    path.write_bytes(put_together(footer, chunks))
    tracemalloc.start()
    assert "save it again without compression" in refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize(
    ("chunk", "field", "number", "told"),
    [
        (0, 7, 10**6, "pages outside the file"),
        (0, 9, -4, "pages outside the file"),
        (0, 5, 4, "values has fewer values than rows"),
        (1, 5, 10, "fewer values in the pages than the footer says"),
    ],
)
def test_pages_that_are_not_where_the_footer_says(
    tmp_path: Path, chunk: int, field: int, number: int, told: str
) -> None:
    path = tmp_path / "f.parquet"
    footer, chunks = take_apart(parquet_bytes(path, 9, use_dictionary=False))
    lay_out(footer, chunks)
    abouts(footer)[chunk].value[field].value = number
    path.write_bytes(put_together(footer, chunks))
    assert told in refused(path)


def test_columns_that_share_their_pages(tmp_path: Path) -> None:
    """One page of 1 MB could stand for as many as the footer has groups."""
    path = tmp_path / "f.parquet"
    footer, chunks = take_apart(parquet_bytes(path, 9))
    lay_out(footer, chunks)
    footer.value[4].value *= 40
    footer.value[3].value *= 40
    path.write_bytes(put_together(footer, chunks))
    assert "columns share their pages" in refused(path)


def test_texts_that_are_stored_by_what_they_share(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    parquet_bytes(path, 9, use_dictionary=False, column_encoding={"names": "DELTA_BYTE_ARRAY"})
    assert "save it in another encoding" in refused(path)


@pytest.mark.parametrize("fixed", [True, False])
def test_texts_of_other_kinds_in_parquet(tmp_path: Path, fixed: bool) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "f.parquet"
    kind = pyarrow.binary(4) if fixed else pyarrow.list_(pyarrow.string())
    names = pyarrow.array([b"abcd"] if fixed else [["abcd"]], kind)
    values = pyarrow.array([[1.0]])
    parquet.write_table(pyarrow.table({"values": values, "names": names}), path)
    assert "names holds" in refused(path)


DAMAGE = """
import sys
from pathlib import Path
from cvgssl.features.table import load_features
from cvgssl.runtime.errors import UserError

path, start = Path(sys.argv[1]), int(sys.argv[2])
whole = path.read_bytes()
refused = 0
for place in range(start, len(whole) - 8):
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
    try:
        load_features(path)
    except UserError:
        refused += 1
print(refused)
"""


def test_a_long_text_repeated_in_parquet_is_in_memory_once(tmp_path: Path) -> None:
    """In full they would be 400 MB; the file has 20 KB."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path, rows = tmp_path / "f.parquet", 2000
    long = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(np.zeros(rows, np.int32)), pyarrow.array(["y" * 200_000])
    )
    numbers = pyarrow.array(np.ones((rows, 1)).tolist())
    parquet.write_table(pyarrow.table({"values": numbers, "names": long}), path)
    tracemalloc.start()
    assert "a name of 200,000 characters is no path" in refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20


def test_a_damaged_byte_of_parquet_never_ends_the_process(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "f.parquet"
    values = pyarrow.array(
        [[float(i), 1.0] for i in range(40)], pyarrow.list_(pyarrow.float32(), 2)
    )
    names = [f"train/a/{i}.png" for i in range(40)]
    parquet.write_table(pyarrow.table({"values": values, "names": names}), path)
    footer = int.from_bytes(path.read_bytes()[-8:-4], "little")
    command = [sys.executable, "-c", DAMAGE, str(path), str(path.stat().st_size - 8 - footer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) > footer / 4


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("train\\crack\\1.png", "train/crack/1.png"),
        ("./train//crack/1.png", "train/crack/1.png"),
        ("steel/train/crack/1.png", "train/crack/1.png"),
        ("/data/steel/train/crack/1.png", "train/crack/1.png"),
        ("C:\\data\\steel\\train\\crack\\1.png", "train/crack/1.png"),
        ("train/cra\u0308ck/1.png", "train/cr\u00e4ck/1.png"),
    ],
)
def test_names_of_other_systems_say_split_and_class(
    tmp_path: Path, written: str, wanted: str
) -> None:
    names = np.array([written, written.replace("train", "test")])
    table = load_features(write(tmp_path / "f.npz", names=npy(names)))
    assert table.names == (wanted, wanted.replace("train", "test"))
    assert table.splits == ("train", "test")
    assert table.classes == (wanted.split("/")[1],)


def test_only_regular_files(tmp_path: Path) -> None:
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    assert "no regular file" in refused(tmp_path / "zero.npz")


@pytest.mark.parametrize("name", ["a\ud800", "a\0b"])
def test_names_that_are_no_text(tmp_path: Path, name: str) -> None:
    # NumPy itself drops NULs at the end only
    told = refused(write(tmp_path / "f.npz", names=npy(np.array([name, "c"]))))
    assert "is no text" in told


@pytest.mark.parametrize("order", ["<", ">"])
def test_characters_that_do_not_exist_are_refused(tmp_path: Path, order: str) -> None:
    names = np.array(["a.png", "b.png"], f"{order}U5")
    points = names.view(f"{order}u4")
    points[1] = 0x110000
    assert "names holds characters that do not" in refused(
        write(tmp_path / "f.npz", names=npy(names))
    )
