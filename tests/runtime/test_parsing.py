"""Failures of parsing become one line; trouble of the machine is not taken for the file's."""

import errno
import json
import os
from pathlib import Path

import pytest

from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import (
    check_file,
    machine_trouble,
    one_line,
    parse_json,
    parsing,
    printable,
    read_text,
)


@pytest.mark.parametrize(
    "error", [ValueError("x\ny"), KeyError("k"), RecursionError(), SystemError("s"), OSError(5000)]
)
def test_whatever_a_parser_raises_is_one_line_with_the_file(error: Exception) -> None:
    with pytest.raises(UserError) as caught, parsing(Path("a.csv"), "a list", "write it again"):
        raise error
    text = str(caught.value)
    assert text.startswith("a.csv cannot be read as a list (") and "\n" not in text
    assert text.endswith("; write it again")


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), MemoryError()])
def test_the_machine_is_not_taken_for_the_file(error: Exception) -> None:
    with pytest.raises(MachineError), parsing(Path("a.csv"), "a list"):
        try:
            raise error
        except Exception as cause:
            raise ValueError("decoder failed") from cause
    assert not machine_trouble(OSError(errno.EACCES, "Permission denied"))


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, text in [
        (pipe, "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (tmp_path, "is a folder"),
        (tmp_path / "missing", "no such file"),
        (tmp_path / ("n" * 300), "File name too long"),
        (Path("nul\0"), "null"),
    ]:
        with pytest.raises(UserError, match=text):
            read_text(path, "a list")
    (tmp_path / "large").write_bytes(b"12345")
    assert check_file(tmp_path / "large", 5) == 5
    with pytest.raises(UserError, match="at most 4"):
        check_file(tmp_path / "large", 4)


def test_json_that_nests_too_deep_or_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match="cannot be read as a card"):
        parse_json(path, "a card")
    path.write_bytes(b"\xff{}")
    with pytest.raises(UserError, match="save it as UTF-8"):
        parse_json(path, "a card")
    path.write_bytes("\ufeff".encode() + json.dumps({"a": 1}).encode())
    assert parse_json(path, "a card") == {"a": 1}


def test_what_is_printed_can_be_printed() -> None:
    assert printable("Güte ±") == "Güte ±"
    assert printable("a\x1b[2Jb\n\udcff\u2028") == r"a\x1b[2Jb\n\xff\u2028"
    printable(os.fsdecode(bytes(range(128, 256)))).encode("utf-8")
    assert one_line("first\nsecond") == "first"
    assert len(one_line("x" * 10**6)) == 200
    assert one_line(MemoryError()) == "MemoryError"


def test_json_that_unfolds_is_refused_before_it_does(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" + "{}," * 1_600_000 + "1]")
    with pytest.raises(UserError, match=r"a\.json: has 3,200,001 values; at most 3,000,000 are"):
        parse_json(path, "a record")
