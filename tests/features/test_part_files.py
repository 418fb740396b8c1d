"""A table in parts is the table; parts that do not belong together are named."""

import json
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cvgssl.features import part_files, table_files
from cvgssl.features.shares import Share
from cvgssl.features.table import FeatureTable, load_features, save_features, save_part
from cvgssl.runtime.errors import UserError

COUNT = 40


def made(width: int = 3) -> FeatureTable:
    """A table whose rows come in another order than that of the names."""
    values = np.random.default_rng(0).standard_normal((COUNT, width)).astype(np.float32)
    names = tuple(f"train/{'pit' if n % 3 else 'crack'}/{97 * n % 101}.bmp" for n in range(COUNT))
    labels = np.array([1 if n % 3 else 0 for n in range(COUNT)])
    splits = ("train",) * COUNT
    return FeatureTable(values, names, labels, splits, ("crack", "pit"), {"encoder": "e"})


def divided(table: FeatureTable, out: Path, of: int = 3, **facts: str) -> list[Path]:
    """The parts of `table`, written as processes do; each has its data folder elsewhere."""
    written = []
    for number in range(of):
        share = Share(number, of)
        rows = share.rows(table.names)
        about = {"data": f"/data/{number}", "share": {"number": number, "of": of, "listing": "l"}}
        mine = replace(table.take(rows), about=table.about | about | facts)
        written.append(save_part(mine, rows, share, out))
    return written


def same(left: FeatureTable, right: FeatureTable) -> bool:
    arrays = np.array_equal(left.values, right.values) and np.array_equal(left.labels, right.labels)
    return arrays and (left.names, left.splits, left.classes) == (
        right.names,
        right.splits,
        right.classes,
    )


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_parts_are_read_as_the_table(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(part_files, "_AT_A_TIME", 10)
    monkeypatch.setattr(table_files, "_AT_A_TIME", 10)
    monkeypatch.setattr(table_files, "_ROWS", 4)
    table, out = made(), tmp_path / f"features.{ending}"
    assert [path.name for path in divided(table, out)] == [
        f"part-0000{number}-of-00003.{ending}" for number in range(3)
    ]
    read = load_features(out)
    assert same(read, table)
    assert read.about == {"encoder": "e", "data": "/data/0"}
    save_features(read, tmp_path / f"whole.{ending}")
    assert same(load_features(tmp_path / f"whole.{ending}"), table)


def test_more_processes_than_pictures(tmp_path: Path) -> None:
    few = made().take(np.arange(2))
    divided(few, tmp_path / "f.npz", of=9)
    assert same(load_features(tmp_path / "f.npz"), few)


def test_parquet_parts_are_a_dataset_for_other_programs(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import dataset

    table = made()
    divided(table, tmp_path / "f.parquet")
    theirs = dataset.dataset(tmp_path / "f.parquet").to_table().sort_by("places")
    assert theirs["names"].to_pylist() == list(table.names)
    assert np.array_equal(np.array(theirs["values"].to_pylist(), np.float32), table.values)


def test_a_call_with_other_processes_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    out, table = tmp_path / "f.npz", made()
    divided(table, out, of=5)
    own = out / "part-of-mine.npz"
    own.write_bytes(b"")
    divided(table, out, of=2)
    assert same(load_features(out), table)
    assert len(list(out.iterdir())) == 3 and own.exists()


def _leave_out(out: Path) -> None:
    (out / "part-00001-of-00003.npz").unlink()


def _add_older(out: Path) -> None:
    (out / "part-00001-of-00004.npz").write_bytes(b"")


def _rename(out: Path) -> None:
    (out / "part-00000-of-00003.npz").replace(out / "part-00001-of-00003.npz")
    divided(made(), out.with_name("other.npz"))
    (out.with_name("other.npz") / "part-00000-of-00003.npz").replace(
        out / "part-00000-of-00003.npz"
    )


def _of_other_encoder(out: Path) -> None:
    divided(made(), out.with_name("other.npz"), encoder="another")
    name = "part-00002-of-00003.npz"
    (out.with_name("other.npz") / name).replace(out / name)


def _of_other_width(out: Path) -> None:
    divided(made(4), out.with_name("other.npz"))
    name = "part-00002-of-00003.npz"
    (out.with_name("other.npz") / name).replace(out / name)


def _rewrite(part: Path, **columns: np.ndarray) -> None:
    with np.load(part) as file:
        arrays = dict(file)
    np.savez(part, **(arrays | columns))


def _of_other_pictures(out: Path) -> None:
    share = {"number": 2, "of": 3, "listing": "another"}
    about = np.str_(json.dumps({"encoder": "e", "share": share}))
    _rewrite(out / "part-00002-of-00003.npz", about=about)


def _of_nobody(out: Path) -> None:
    _rewrite(out / "part-00002-of-00003.npz", about=np.str_("{}"))


def _twice(out: Path) -> None:
    path = out / "part-00001-of-00003.npz"
    with np.load(path) as file:
        places = file["places"].copy()
    places[0] = Share(0, 3).rows(made().names)[0]
    _rewrite(path, places=places)


def _at_no_place(out: Path) -> None:
    path = out / "part-00001-of-00003.npz"
    with np.load(path) as file:
        places = file["places"] - 1000
    _rewrite(path, places=places)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_leave_out, "has 2 of 3 parts, not those of RANK 1; wait for these processes, or start"),
        (_add_older, "parts of several tables (part-*-of-00003.npz, part-*-of-00004.npz); remove"),
        (_rename, "part 1 was another one; its name was changed"),
        (_of_other_encoder, "part 2 is of another encoder, version or option than part 0"),
        (_of_other_width, "part 2 is of another encoder, version or option than part 0"),
        (_of_other_pictures, "part 2 is of other pictures than part 0"),
        (_of_nobody, "part 2 does not say where its rows belong"),
        (_twice, "a picture is in several parts"),
        (_at_no_place, "places must be a whole number from 0 for every name"),
    ],
)
def test_parts_that_are_not_one_table(
    tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    out = tmp_path / "f.npz"
    divided(made(), out)
    change(out)
    with pytest.raises(UserError) as caught:
        load_features(out)
    assert str(caught.value).startswith(str(out)) and told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    table = made()
    save_features(table, tmp_path / "f.npz")
    with pytest.raises(UserError, match="is a file; several processes write a folder of parts"):
        divided(table, tmp_path / "f.npz")
    divided(table, tmp_path / "g.npz")
    with pytest.raises(UserError, match="is a folder; name a file"):
        save_features(table, tmp_path / "g.npz")
    with pytest.raises(UserError, match="is a folder without parts of features"):
        load_features(tmp_path)


def test_many_numbers_are_mapped_and_never_in_memory_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 MB in all, of which a tenth may be in memory at a time."""
    monkeypatch.setattr(table_files, "_IN_MEMORY", 1000)
    monkeypatch.setattr(table_files, "_AT_A_TIME", 2**14)
    for module in ("part_files", "columns"):
        monkeypatch.setattr(f"cvgssl.features.{module}._AT_A_TIME", 2**14)
    table = made(25_000)
    out = tmp_path / "f.npz"
    divided(table, out)
    tracemalloc.start()
    read = load_features(out)
    one = load_features(out / "part-00001-of-00003.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    assert np.array_equal(read.values, table.values)
    assert not one.values.flags.writeable, "mapped"
    assert np.array_equal(one.values, table.values[Share(1, 3).rows(table.names)])


def test_a_damaged_byte_of_mapped_numbers_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "_IN_MEMORY", 10)
    path = tmp_path / "f.npz"
    save_features(made(), path)
    assert not load_features(path).values.flags.writeable
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("values.npy").header_offset + 300
    whole = bytearray(path.read_bytes())
    whole[place] ^= 1
    path.write_bytes(whole)
    with pytest.raises(UserError, match="cannot be read as a features file"):
        load_features(path)
    np.savez_compressed(path, values=made().values, names=np.array(made().names))
    assert np.array_equal(load_features(path).values, made().values)


def test_a_name_that_claims_a_billion_parts(tmp_path: Path) -> None:
    (tmp_path / "part-00002-of-999999999.npz").write_bytes(b"")
    with pytest.raises(UserError, match=r"has 1 of 999999999 parts, not those of RANK 0, 1, 3, 4"):
        load_features(tmp_path)
