"""Folder names and descriptions to the sentences that a text tower reads."""

import logging
from pathlib import Path

import pytest

from cvgssl.encoders.text_anchors import TEMPLATES, class_prompts, read_prompts, words_of
from cvgssl.runtime.errors import UserError


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("rolled-in_scale", "rolled-in scale"),
        ("RolledInScale", "rolled in scale"),
        ("oxide scale of plate system", "oxide scale of plate system"),
        ("3_punching_hole", "punching hole"),
        ("07. Weld  line", "weld line"),
        ("7", "7"),
        ("2D_scan", "2d scan"),
    ],
)
def test_folder_names_in_words(folder: str, words: str) -> None:
    assert words_of(folder) == words


def test_names_are_put_into_templates_and_descriptions_take_their_place(tmp_path: Path) -> None:
    plain = class_prompts(("pitted_surface", "good"))
    assert list(plain) == ["pitted_surface", "good"]
    assert plain["pitted_surface"] == tuple(one.format("pitted surface") for one in TEMPLATES)
    path = tmp_path / "prompts.yaml"
    path.write_text(
        "good: A photo of a flawless steel surface.\n"
        "pitted_surface: [small dark pits,\n  'Many pits,  close\n  together.']\n"
    )
    found = class_prompts(("pitted_surface", "good"), path)
    assert found["good"] == ("A photo of a flawless steel surface.",)
    assert found["pitted_surface"] == (
        *(one.format("small dark pits") for one in TEMPLATES),
        "Many pits, close together.",
    )


def test_lines_of_text_say_the_same_as_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "# ours\n\nCr: crazing\nCr: fine cracks.\nIn: inclusion: dark\n"
    )
    (tmp_path / "a.yml").write_text("Cr: [crazing, fine cracks.]\nIn: 'inclusion: dark'\n")
    found = read_prompts(tmp_path / "a.txt")
    assert found == read_prompts(tmp_path / "a.yml")
    assert found == {"Cr": ("crazing", "fine cracks."), "In": ("inclusion: dark",)}


def test_class_names_of_a_file_are_text(tmp_path: Path) -> None:
    lines = ["01: pits", "no: nothing wrong", "010: dents", "~: rust", "2026-01-05: scale"]
    (tmp_path / "a.yaml").write_text("\n".join(lines) + "\n")
    names = ("01", "no", "010", "~", "2026-01-05")
    assert tuple(read_prompts(tmp_path / "a.yaml")) == names
    (tmp_path / "b.json").write_text('{"01": "pits", "no": ["nothing wrong"]}')
    assert read_prompts(tmp_path / "b.json") == {"01": ("pits",), "no": ("nothing wrong",)}


def test_templates_of_ones_own() -> None:
    given = {"templates": ["{} in a casting", "cast iron: {}"], "b": ["pores"]}
    assert class_prompts(("a_b", "b"), given) == {
        "a_b": ("a b in a casting", "cast iron: a b"),
        "b": ("pores in a casting", "cast iron: pores"),
    }
    a_class = class_prompts(("templates", "b"), {"templates": ["cast iron"]})
    assert a_class["templates"][0] == TEMPLATES[0].format("cast iron")
    with pytest.raises(UserError, match=r"prompts: template 'no place' needs \{\} once"):
        class_prompts(("a", "b"), {"templates": ["no place"]})


def test_descriptions_times_templates_have_a_bound() -> None:
    given = {"templates": ["{}."] * 1200, "pit": ["a pit"] * 1000, "dent": ["a dent"]}
    with pytest.raises(UserError, match="templates are 1,201,200 sentences; at most 1,000,000 are"):
        class_prompts(("pit", "dent"), given)


def test_what_says_little_or_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        class_prompts(("Cr", "In", "pit"), {"In": ["inclusion"]})
    assert "class names Cr say little" in caplog.text
    with pytest.raises(
        UserError, match="prompts: no class is called pitt; the classes are pit, dent"
    ):
        class_prompts(("pit", "dent"), {"pitt": ["pits"], "dent": ["dents"]})
    with pytest.raises(UserError, match="1_pit and 2_pit read the same; describe them apart"):
        class_prompts(("1_pit", "2_pit"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "- pit\n", "must hold `class: description` lines"),
        ("a.yaml", "pit: {x: y}\n", "pit needs a description, or a list of them"),
        ("a.yaml", "pit: [1]\n", "pit has a description that is empty or no text"),
        ("a.yaml", "pit: [' ']\n", "pit has a description that is empty or no text"),
        ("a.yaml", "pit: [\n", "not YAML: "),
        ("a.txt", "pit\n", "line 1: must be `class: description`"),
        ("a.txt", "", "must hold"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        class_prompts(("pit", "dent"), tmp_path / name)
    assert message in str(caught.value) and name in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.yaml: no such file"):
        class_prompts(("pit", "dent"), tmp_path / "none.yaml")
