"""Files of SQLite: made whole, written whole, named in errors, refused where they are none."""

import resource
import sqlite3
import subprocess
from pathlib import Path

import pytest

from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.sqlite_file import SqliteFile, SqliteKind

TABLES = "create table whose (name text);\ncreate table rows (number integer primary key, at);\n"
KIND = SqliteKind("file of rows", "another file", 3, TABLES, "normal")
FIRST = [("insert into whose values (?)", ("me",))]


def test_a_new_one_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    wrong = [*FIRST, ("insert into nowhere values (1)", ())]
    with pytest.raises(MachineError, match="a: no such table: nowhere"):
        SqliteFile(tmp_path / "a", KIND, wrong)
    file = SqliteFile(tmp_path / "a", KIND, FIRST)
    assert file.select("select * from whose") == [("me",)]
    again = SqliteFile(tmp_path / "a", KIND, [("insert into whose values (?)", ("you",))])
    assert list(again.each("select * from whose")) == [("me",)]
    assert file.do("insert into rows (at) values (?)", (1,)) == 1
    assert again.select("select number, at from rows") == [(1, 1)]


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "a", KIND)
    with pytest.raises(MachineError, match="no such column"), file.alone():
        file.do_each("insert into rows values (?, ?)", [(1, 2), (3, 4)])
        assert file.is_alone
        file.do("insert into rows values (x, 2)")
    assert not file.is_alone and file.select("select * from rows") == []
    with file.alone():
        file.do("insert into rows values (1, 2)")
    assert file.select("select * from rows") == [(1, 2)]


FULL = """
import resource, signal, sys
from pathlib import Path
from cvgssl.runtime.errors import MachineError
from tests.runtime.test_sqlite_file import KIND, SqliteFile
file = SqliteFile(Path(sys.argv[1]), KIND)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
try:
    with file.alone():
        file.do_each("insert into rows (at) values (?)", [("x" * 1000,) for _ in range(500)])
except MachineError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
with file.alone():
    file.do("insert into rows (at) values (?)", ("y",))
print(file.select("select number, at from rows"))
"""


def test_a_full_disk_that_has_room_again(tmp_path: Path, python: str) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    done = subprocess.run(
        [python, "-c", FULL, tmp_path / "a"], capture_output=True, text=True, check=True
    )
    trouble, rows = done.stdout.splitlines()
    assert trouble.startswith(f"{tmp_path / 'a'}: ")
    assert rows == "[(1, 'y')]"


def test_files_of_others_stay_as_they_are(tmp_path: Path) -> None:
    for content in (b"x", b"a long text of somebody else\n" * 100):
        (tmp_path / "note").write_bytes(content)
        with pytest.raises(UserError, match=r"note: is damaged or no file of rows \(.*another fil"):
            SqliteFile(tmp_path / "note", KIND)
        assert (tmp_path / "note").read_bytes() == content
    other = sqlite3.connect(tmp_path / "other")
    other.execute("create table theirs (x)")
    other.close()
    with pytest.raises(UserError, match="other: has format 0, this version of cvgssl reads 3"):
        SqliteFile(tmp_path / "other", KIND)
