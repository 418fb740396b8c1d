import io
import os
import pty
import subprocess
import sys

from cvgssl.report.terminal import print_table


def printed(title: str, columns: list[str], rows: list[list[str]]) -> list[str]:
    out = io.StringIO()
    print_table(title, columns, rows, file=out)
    return out.getvalue().splitlines()


def test_plain_table_is_aligned_text_without_frames() -> None:
    lines = printed("Accuracy", ["class", "recall", "mean"], [["crazing", "9.5", "93.1 ± 0.4"]])
    assert lines == ["Accuracy", "class    recall        mean", "crazing     9.5  93.1 ± 0.4"]


def test_numbers_align_right_and_file_names_left() -> None:
    lines = printed("", ["file", "p"], [["1.bmp", "0.5"], ["long name.bmp", "12.25"]])
    assert lines[1].startswith("1.bmp ")
    assert lines[1].endswith("  0.5") and lines[2].endswith("12.25")


def test_a_long_row_stays_on_one_line_outside_a_terminal() -> None:
    path = "/".join(["folder"] * 60) + "/picture.bmp"
    lines = printed("t", ["path", "class"], [[path, "scratches"]])
    assert len(lines) == 3
    assert path in lines[2] and lines[2].endswith("scratches")


def test_wide_characters_align() -> None:
    lines = printed("", ["class", "n"], [["夹杂", "1"], ["ab", "2"]])
    assert lines[1] == "夹杂   1" and lines[2] == "ab     2"


def test_line_breaks_and_markup_in_cells_stay_what_they_are() -> None:
    lines = printed("", ["path", "n"], [["a\nb[red]\x1b[31m.png", "1"]])
    assert lines[1].startswith(r"a\nb[red]\x1b[31m.png")


def test_a_title_wider_than_the_table_stays_on_one_line() -> None:
    title = "NEU-CLS: linear evaluation, " + "very " * 40 + "long"
    assert printed(title, ["a"], [["b"]]) == [title, "a", "b"]


def test_no_rows() -> None:
    assert printed("none", ["path", "class"], []) == ["none", "path  class"]


def test_a_terminal_gets_frames_and_nothing_is_cut() -> None:
    code = (
        "from cvgssl.report.terminal import print_table;"
        "print_table('T', ['path', 'class'], [['x' * 150 + 'END', 'scratches']])"
    )
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", code], stdout=theirs, env=environment, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "─" in shown and "\x1b[" in shown
    assert shown.count("x") == 150 and "END" in shown
