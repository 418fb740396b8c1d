import errno
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import new_folder, read_json, sha256_file, write_json, write_text, writing


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    write_text(path, "old")

    def interrupted() -> None:
        with writing(path) as aside:
            aside.write_text("half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stands_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    write_text(path, "old")
    with writing(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_is_told_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    write_text(path, "old")
    script = """
        import resource, signal, sys
        from pathlib import Path
        from cvgssl.runtime.files import write_text
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_text(Path(sys.argv[1]), "x" * 5000)
        except OSError as error:
            print(error.filename)
    """
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.strip() == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_missing_folders_are_made_and_the_suffix_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.json"
    with writing(path) as aside:
        assert aside.suffix == ".json"  # some writers choose the format by it
        aside.write_text("{}")
    assert read_json(path) == {}


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "real.txt"
    write_text(target, "old")
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    write_text(pipe, "hello")
    assert reader.communicate()[0] == "hello"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_writing_over_a_folder_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path, "x")
    assert caught.value.filename == str(tmp_path)
    assert list(tmp_path.parent.glob(f".{tmp_path.name}*")) == []


def test_json_and_hash(tmp_path: Path) -> None:
    value = {"größe": [1, 2.5, None, "µm"]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "größe" in (tmp_path / "a.json").read_text(encoding="utf-8")
    write_text(tmp_path / "abc", "abc")
    assert sha256_file(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize("refused", ["chmod", "fsync", "rename"])
def test_what_a_file_system_does_not_know_is_not_needed(tmp_path: Path, refused: str) -> None:
    script = """
        import errno, os, sys
        from pathlib import Path
        from cvgssl.runtime.files import new_folder, write_text
        def refused(*_words, **_options):
            raise OSError(errno.EPERM if sys.argv[2] == "chmod" else errno.ENOTSUP, "not here")
        names = {"chmod": ["chmod", "fchmod"], "fsync": ["fsync"], "rename": ["rename", "replace"]}
        for name in names[sys.argv[2]]:
            setattr(os, name, refused)
        place = Path(sys.argv[1])
        write_text(place / "file", "old")
        write_text(place / "file", "new")
        with new_folder(place / "folder", "--out") as folder:
            write_text(folder / "file", "inside")
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), refused], check=True
    )
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "folder" / "file").read_text() == "inside"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_broken_disk_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error") as caught:
        write_text(tmp_path / "file", "x")
    assert caught.value.filename == str(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_open_elsewhere_is_replaced_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As shares and Windows have it; here the second try gets through."""
    replace, tries = Path.replace, []

    def busy_once(path: Path, target: Path) -> Path:
        tries.append(path)
        if len(tries) == 1:
            raise PermissionError(errno.EACCES, "in use", str(path))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", busy_once)
    write_text(tmp_path / "file", "x")
    assert len(tries) == 2
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("name", ["n" * 250 + ".json", "裂" * 83, ".hidden" + "x" * 240])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_that_another_process_makes_meanwhile_is_kept(tmp_path: Path) -> None:
    def twice() -> None:
        with new_folder(tmp_path / "run", "--out") as folder:
            (folder / "own").write_text("x")
            write_text(tmp_path / "run" / "theirs", "y")

    with pytest.raises(UserError, match=r"--out .*run: another process has made it meanwhile"):
        twice()
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "theirs"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_device_is_told_with_its_name() -> None:
    with pytest.raises(OSError) as failed:
        write_text(Path("/dev/full"), "x")
    assert failed.value.filename == "/dev/full"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_told_with_the_name_that_a_new_folder_gets(tmp_path: Path) -> None:
    def nameless() -> None:
        with new_folder(tmp_path / "made", "OUT"), Path("/dev/full").open("w") as full:
            full.write("x")

    with pytest.raises(OSError, match="No space") as nameless_error:
        nameless()
    assert nameless_error.value.filename == str(tmp_path / "made")

    def named() -> None:
        with new_folder(tmp_path / "made", "OUT") as folder:
            (folder / "train" / "a.png").write_bytes(b"")

    with pytest.raises(FileNotFoundError) as named_error:
        named()
    assert named_error.value.filename == str(tmp_path / "made/train/a.png")
    assert list(tmp_path.iterdir()) == []
