"""Pictures by their hash: once, whole, no more than fit, no other path."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvgssl.station.picture_store import PictureStore
from tests.station.conftest import until


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PictureStore]:
    kept = PictureStore(tmp_path, 100_000)
    yield kept
    kept.close()


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "pictures").rglob("*") if path.is_file()]


def test_once_and_whole(store: PictureStore, tmp_path: Path) -> None:
    for _ in range(3):
        assert store.keep(b"picture", digest(b"picture"))
    (path,) = files(tmp_path)
    assert path == store.path(digest(b"picture")) and path.parent.name == path.name[:2]
    assert store.read(digest(b"picture")) == b"picture"
    assert store.read(digest(b"other")) is None and store.path(digest(b"other")) is None


def test_a_damaged_one_is_none_and_is_written_again(store: PictureStore) -> None:
    store.keep(b"picture", digest(b"picture"))
    path = store.path(digest(b"picture"))
    assert path is not None
    path.write_bytes(b"")  # as a power cut leaves it
    assert store.read(digest(b"picture")) is None
    assert store.keep(b"picture", digest(b"picture"))
    assert store.read(digest(b"picture")) == b"picture"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 63, "A" * 64, "/" * 64, "g" * 64])
def test_what_is_no_hash_is_no_path(store: PictureStore, name: str) -> None:
    assert store.read(name) is None and store.path(name) is None


def test_the_oldest_go(store: PictureStore, tmp_path: Path) -> None:
    pictures = [b"%03d" % number * 1000 for number in range(31)]  # 3000 bytes each
    for number, data in enumerate(pictures):
        assert store.keep(data, digest(data))
        path = store.path(digest(data))
        assert path is not None
        os.utime(path, (10**9 + number, 10**9 + number))
    store.keep(pictures[0], digest(pictures[0]))  # asked about again: the newest now
    store.keep(b"last" * 1000, digest(b"last" * 1000))
    until(lambda: len(files(tmp_path)) <= 30)  # all but "last" have 3000 bytes
    assert store.read(digest(pictures[0])) == pictures[0]
    assert store.read(digest(pictures[1])) is None
    assert store.read(digest(pictures[-1])) == pictures[-1]
    assert len(files(tmp_path)) >= 28


def test_none_are_kept_where_none_may(tmp_path: Path) -> None:
    store = PictureStore(tmp_path, 0)
    assert not store.keep(b"picture", digest(b"picture")) and not files(tmp_path)
    store.close()


def test_what_a_kill_left_half_written_goes(tmp_path: Path) -> None:
    folder = tmp_path / "pictures" / "ab"
    folder.mkdir(parents=True)
    for name in (".ab12ab12ab12ab12.0011aabb", ".ab34ab12ab12ab12.0011aabb"):
        (folder / name).write_bytes(b"half")
    os.utime(folder / ".ab12ab12ab12ab12.0011aabb", (1, 1))
    store = PictureStore(tmp_path, 1000)
    until(lambda: not (folder / ".ab12ab12ab12ab12.0011aabb").exists())
    assert (folder / ".ab34ab12ab12ab12.0011aabb").exists()  # another process may be at it
    store.close()


def test_a_disk_that_takes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pictures").write_text("in the way")
    store = PictureStore(tmp_path, 1000)
    for data in (b"1", b"2"):
        assert not store.keep(data, digest(data))
    store.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert "pictures are not kept" in line


def test_files_that_it_has_not_written_stay(tmp_path: Path) -> None:
    own = digest(b"picture")
    others = [
        tmp_path / "pictures" / name
        for name in ("crazing/1.bmp", "crazing/.note", f"zz/{own}", f"{own[:2]}/1.bmp")
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
        os.utime(path, (0, 0))
    store = PictureStore(tmp_path, 1000)
    for number in range(3):
        data = bytes([number]) * 900
        store.keep(data, digest(data))
    until(lambda: len(files(tmp_path)) == len(others) + 1)
    store.close()
    assert all(path.is_file() for path in others)
