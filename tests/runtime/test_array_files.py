"""Cache files of arrays: damage of every kind is noticed."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from cvgssl.runtime.array_files import allocate, open_array, remove_stale, seal, write_array

ARRAY = np.arange(60, dtype=np.float16).reshape(3, 4, 5)


def test_an_array_comes_back_mapped_and_numpy_reads_it_too(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    write_array(path, ARRAY)
    read = open_array(path, np.float16, (3, -1, 5))
    assert isinstance(read, np.memmap) and np.array_equal(read, ARRAY)
    assert np.array_equal(np.load(path), ARRAY)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("position", [0, 9, 70, 128, 200, -13, -12, -1])
def test_a_flipped_byte_is_noticed(tmp_path: Path, position: int) -> None:
    path = tmp_path / "a.npy"
    write_array(path, ARRAY)
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    assert open_array(path, np.float16, (3, 4, 5)) is None


@pytest.mark.parametrize("size", [0, 5, 12, 100, 200])
def test_a_short_file_is_noticed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.npy"
    write_array(path, ARRAY)
    os.truncate(path, size)
    assert open_array(path, np.float16, (3, 4, 5)) is None


def test_another_array_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    assert open_array(path, np.float16, (3, 4, 5)) is None
    write_array(path, ARRAY[:, :2])
    assert open_array(path, np.float16, (3, 4, 5)) is None
    assert open_array(path, np.float32, (3, 2, 5)) is None
    assert open_array(path, np.float16, (3, 2)) is None
    np.save(path, ARRAY)  # nobody sealed it
    assert open_array(path, np.float16, (3, 4, 5)) is None
    seal(path)
    assert open_array(path, np.float16, (3, 4, 5)) is not None


def test_allocated_bytes_are_really_there(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        allocate(file, 1_000_000)
        status = os.fstat(file.fileno())
    assert status.st_size == 1_000_000 and status.st_blocks * 512 >= 1_000_000
    with (tmp_path / "b").open("wb") as file, pytest.raises(OSError, match=r".+"):
        allocate(file, 2**62)


def test_only_old_temporary_files_go(tmp_path: Path) -> None:
    for name, age in [(".old", 90_000.0), (".new", 0.0), ("old.npy", 90_000.0)]:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new", "old.npy"]
    remove_stale(tmp_path / "missing")
