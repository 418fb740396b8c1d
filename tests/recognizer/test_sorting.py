"""Pictures go to folders of their answers, and nothing is lost on the way."""

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvgssl.recognizer.config import SortMode
from cvgssl.recognizer.sorting import Sorter
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing

CLASSES = ("crack", "夹杂", "a" * 255)


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A folder with a picture of the name a.png, and another one of that name below."""
    folder = tmp_path / "line"
    (folder / "b").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"first")
    (folder / "b" / "a.png").write_bytes(b"other")
    return folder


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """A folder on another file system, with a picture of 5,000 bytes."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("needs a second file system")
    with tempfile.TemporaryDirectory(dir=memory, prefix="cvgssl-") as folder:
        (Path(folder) / "a.png").write_bytes(bytes(5000))
        yield Path(folder)


def sorter(folder: Path, mode: SortMode = "copy") -> Sorter:
    return Sorter(folder / "sorted", mode, CLASSES)


def inside(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_no_file_takes_the_place_of_another(line: Path, tmp_path: Path, mode: SortMode) -> None:
    place = tmp_path / "sorted"
    names = [line / "a.png", line / "b" / "a.png"]
    brought = [sorter(tmp_path, mode).bring(path, "crack") for path in names]
    assert brought == [place / "crack" / "a.png", place / "crack" / "a (2).png"]
    assert inside(place) == {"crack/a.png": b"first", "crack/a (2).png": b"other"}
    assert [path.exists() for path in names] == [mode == "copy"] * 2
    for path, data in zip(names, (b"other", b"third"), strict=True):  # the camera begins again
        path.write_bytes(data)
        sorter(tmp_path, mode).bring(path, "crack")
    assert inside(place) == {
        "crack/a.png": b"first",
        "crack/a (2).png": b"other",
        "crack/a (3).png": b"third",
    }
    assert [path.exists() for path in names] == [mode == "copy"] * 2


def test_a_copy_is_known_again(line: Path, tmp_path: Path) -> None:
    copies = sorter(tmp_path)
    first, other = line / "a.png", line / "b" / "a.png"
    assert not copies.has(first)
    copies.bring(first, "not sure")
    assert copies.has(first) and not copies.has(other) and not copies.has(line / "none.png")
    copies.bring(other, "not sure")
    assert copies.has(other)
    status = first.stat()
    first.write_bytes(b"later")  # of the same size
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert not copies.has(first)
    assert not sorter(tmp_path, "move").has(other), "what is left is still to be moved"


def test_links_are_copied(line: Path, tmp_path: Path) -> None:
    link = line / "link.png"
    link.symlink_to("a.png")
    place = sorter(tmp_path, "move").bring(link, "夹杂")
    assert place is not None and not place.is_symlink() and place.read_bytes() == b"first"
    assert not link.is_symlink() and (line / "a.png").exists()


def test_pictures_are_moved_to_another_disk(other_disk: Path, tmp_path: Path) -> None:
    place = sorter(tmp_path, "move").bring(other_disk / "a.png", "夹杂")
    assert place is not None and place.read_bytes() == bytes(5000)
    assert not (other_disk / "a.png").exists()


def test_what_is_gone_and_what_cannot_be_written(line: Path, tmp_path: Path) -> None:
    assert sorter(tmp_path).bring(line / "none.png", "crack") is None
    (tmp_path / "sorted").mkdir(exist_ok=True)
    (tmp_path / "sorted" / "unknown").write_text("in the way")
    with pytest.raises(OSError) as failed:
        sorter(tmp_path, "move").bring(line / "a.png", "unknown")
    assert "unknown" in str(failed.value.filename) and (line / "a.png").read_bytes() == b"first"


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_a_full_disk_is_named_and_leaves_nothing(
    other_disk: Path, tmp_path: Path, mode: SortMode
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError) as full:
            sorter(tmp_path, mode).bring(other_disk / "a.png", "crack")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.value.filename == str(tmp_path / "sorted" / "crack" / "a.png")
    assert inside(tmp_path / "sorted") == {} and (other_disk / "a.png").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "a\\b", "nul\0", "é" * 128])
def test_classes_that_no_folder_can_be_called(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder can be called"):
        Sorter(tmp_path, "copy", ("crack", name))


def test_what_a_kill_left_half_copied_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "sorted" / "crack"
    own = folder / ".keep.12345.png"
    folder.mkdir(parents=True)
    own.touch()
    with writing(folder / "a b.png") as aside:
        kept = aside.with_name(aside.name)
        os.link(aside, tmp_path / "copy")
    os.link(tmp_path / "copy", kept)  # as if the block had never ended
    sorter(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [own.name, "a b.png"]
