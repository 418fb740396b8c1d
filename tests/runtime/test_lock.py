import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.lock import Lock, claimed, locked_file, locked_folder

HOLD = """
    import signal, sys
    from pathlib import Path
    from cvgssl.runtime.lock import Lock
    lock = Lock(Path(sys.argv[1]), "--out")
    print("held", flush=True)
    signal.pause()
"""


def hold(path: Path) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


@pytest.mark.parametrize(("name", "locked"), [("", locked_folder), ("table.csv", locked_file)])
def test_a_second_process_is_told_who_has_it_and_a_killed_one_has_it_no_more(
    tmp_path: Path, name: str, locked: Callable[[Path, str], AbstractContextManager[None]]
) -> None:
    path = tmp_path / name
    child = hold(path)
    with pytest.raises(UserError, match=rf"^--csv {path}: is in use by process {child.pid} on "):
        Lock(path, "--csv")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with locked(path, "--csv"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_claim_says_whether_somebody_works_on_a_file(tmp_path: Path) -> None:
    path = tmp_path / "block.npy"
    with claimed(path) as free, claimed(path) as second, claimed(tmp_path / "other.npy") as other:
        assert (free, second, other) == (True, False, True)
    with claimed(path) as free:
        assert free, "whoever did not have it has not let it go"
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_meanwhile_is_not_shared(tmp_path: Path) -> None:
    first = Lock(tmp_path, "--out")
    first.release()
    second = Lock(tmp_path, "--out")
    first.release()
    with pytest.raises(UserError, match="is in use"):
        Lock(tmp_path, "--out")
    second.release()


def test_a_damaged_lock_file_still_locks(tmp_path: Path) -> None:
    first = Lock(tmp_path, "--out")
    first.path.write_bytes(b"\xff{")
    with pytest.raises(UserError, match="is in use by another process"):
        Lock(tmp_path, "--out")
    first.release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EINVAL])
def test_without_locks_a_file_system_is_used_with_a_warning(
    tmp_path: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(_file: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with locked_folder(tmp_path, "--out"), locked_folder(tmp_path, "--out"):
        pass
    assert "this file system has no locks" in caplog.text
    with claimed(tmp_path / "block.npy") as free:
        assert free, "it may be done twice"


def test_a_folder_that_stays_empty_was_never_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wrong"), locked_folder(tmp_path / "a" / "b", "--out"):
        assert (tmp_path / "a" / "b").is_dir()
        raise UserError("wrong")
    assert not (tmp_path / "a" / "b").exists()
    (tmp_path / "mine").mkdir()
    with locked_folder(tmp_path / "mine", "--out"):
        pass
    assert (tmp_path / "mine").is_dir()


def test_devices_need_no_lock() -> None:
    with locked_file(Path(os.devnull), "--csv"), locked_file(Path(os.devnull), "--csv"):
        assert not list(Path(os.devnull).parent.glob(".null*"))


@pytest.mark.parametrize("letter", ["a", "裂"])
def test_the_longest_names_have_locks_of_their_own(letter: str, tmp_path: Path) -> None:
    stem = letter * (250 // len(letter.encode()))
    paths = [tmp_path / f"{stem}{number}.csv" for number in (1, 2)]
    with locked_file(paths[0], "--csv"), locked_file(paths[1], "--csv"):
        assert len(list(tmp_path.iterdir())) == 2
        with pytest.raises(UserError, match="is in use by process"):
            Lock(paths[0], "--csv")
    assert list(tmp_path.iterdir()) == []
