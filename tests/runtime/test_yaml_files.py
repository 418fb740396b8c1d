"""YAML with limits: nothing unfolds, keys are text, each fault is one short line."""

from pathlib import Path

import pytest

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.yaml_files import MOST_BYTES, read_yaml


def bomb(levels: int = 12, own: str = "x") -> str:
    lines = [f"a0: &a0 [{own}]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]")
    return "\n".join(lines) + "\n"


def merges() -> str:
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 12):
        lines.append(f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (bomb(), "its aliases unfold to more than 100,000 values"),
        (merges(), "its aliases unfold to more than 100,000 values"),
        ("a: &a [*a]\n", "a value contains itself"),
        ("a: " + "[" * 60 + "]" * 60 + "\n", "values within values"),
        ("a: " + "[" * 5000 + "\n", "recursion"),
        ("a: !!int abc\n", "invalid literal"),
        ("a: !!bool maybe\n", "maybe"),
        ("a: !!float x\n", "x"),
        ("a: " + "9" * 5000 + "\n", "line 1: a number of 5,000 characters"),
        ("a: 1" + ":59" * 2000 + "\n", "line 1: a number of 6,001 characters"),
        ("a: !!float " + "1_" * 3000 + "\n", "line 1: a number of 6,000 characters"),
        ("a: 1\nb: 2\na: 3\n", "line 3: a is there twice"),
        ("? [a, b]\n: 1\n", "line 1: a key must be a word"),
        ('a: "x\\0y"\n', "line 1: x\\x00y has characters that are no text"),
        ('a: [1, "\\ud800"]\n', "characters that are no text"),
        ('"\\0": 1\n', "characters that are no text"),
        ("a: [\n", "not YAML: line 2"),
        ("a: *nothing\n", "not YAML: line 1: found undefined alias"),
        ("a: !!python/object/apply:os.mkdir [x]\n", "not YAML: line 1: could not determine"),
        ("a: \x01\n", "special characters are not allowed"),
        ("a: 1\n--- \nb: 2\n", "not YAML: line 2"),
    ],
)
def test_faults_are_short_lines_that_name_the_file(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "o.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_yaml(file, "a file of options")
    assert told in str(caught.value)
    assert str(caught.value).startswith(str(file)) and len(str(caught.value)) < 500


def test_values_are_counted_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvgssl.runtime.yaml_files.MOST_VALUES", 100)
    path = tmp_path / "a.yaml"
    path.write_text("a: [" + "1, " * 90 + "]")
    assert read_yaml(path, "a file") == {"a": [1] * 90}
    path.write_text("[" + "1, " * 300 + "{")  # that this is never closed is not noticed any more
    with pytest.raises(UserError, match=r"more than 100 values"):
        read_yaml(path, "a file")


def test_keys_and_dates_are_text_and_aliases_are_read(tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    file.write_text(
        "no: yes\n01: 010\n2026-01-05: 2026-13-45\nbase: &b {x: 1, y: 2}\n"
        "more: {<<: *b, y: 3, on: 0.5}\nsame: [*b, *b]\n'<<': text\n"
    )
    base = {"x": 1, "y": 2}
    assert read_yaml(file, "options") == {
        "no": True,
        "01": 8,
        "2026-01-05": "2026-13-45",
        "base": base,
        "more": {"x": 1, "y": 3, "on": 0.5},
        "same": [base, base],
        "<<": "text",
    }


def test_large_files_and_devices_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    file.write_text("#" * (MOST_BYTES + 1))
    for path in (file, Path("/dev/zero"), tmp_path):
        with pytest.raises(UserError, match=r"at most|no regular file|is a folder"):
            read_yaml(path, "a file of options")


def test_bytes_of_names_that_are_no_utf8_come_back(tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    file.write_text('data: "caf\\udce9"\n')
    assert read_yaml(file, "options") == {"data": "caf\udce9"}
