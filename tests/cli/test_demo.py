"""The demo in miniature; `make demo` is the same with more and larger pictures."""

import re
from pathlib import Path

import pytest

from cvgssl.cli import demo
from cvgssl.cli.demo import Scale, demonstrate
from cvgssl.cli.station import COMMAND as STATION
from cvgssl.runtime.errors import UserError


def test_the_demo_prints_figures_and_writes_its_page(
    teacher_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = Scale(parts=72, image_size=32, budgets=(6, 4), encoder=(f"test_vit={teacher_file}",))
    page = demonstrate(tmp_path / "out", scale)
    printed = capsys.readouterr().out
    assert re.search(r"macro-recall [\d.]+ % \([\d.]+ to [\d.]+ %\), accuracy [\d.]+ %", printed)
    held_back = len(list((tmp_path / "out" / "new_kind").iterdir()))
    assert re.search(
        rf"\d+ of {held_back} pictures of a kind never seen are rejected, and \d+ of", printed
    )
    assert "docs/results.md" in printed and "generated" in printed
    command = printed.splitlines()[-1].partition("$ cvgssl station ")[2].split()
    config = STATION.parse(command, "cvgssl station")
    assert (
        config.pictures[0].is_dir() and config.recognizer is not None and config.recognizer.is_dir()
    )
    assert not (tmp_path / "out" / "plant" / "train" / "scratches").exists()
    text = page.read_text()
    for part in ("How good it is", "95 % interval", "Misclassified pictures", "Round 2,",
                 "What it rejects", f"<td>{held_back}</td>", "generator"):  # fmt: skip
        assert part in text
    assert "scratches" not in (tmp_path / "out" / "recognizer" / "labels.csv").read_text()


def test_an_earlier_demo_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "plant").mkdir()
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="holds other things"):
        demo.run([str(tmp_path)], "cvgssl demo")
    assert (tmp_path / "mine.txt").read_text() == "keep" and (tmp_path / "plant").is_dir()


def test_a_demo_begins_again_in_a_folder_where_it_was_killed_and_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    (folder / ".plant.0123abcd" / "train").mkdir(parents=True)
    (folder / "plant").mkdir()
    (folder / "report.html").write_text("earlier")
    (folder / "new_kind").symlink_to(tmp_path / "nowhere")
    link.symlink_to(folder)
    there = []

    def look(out: Path) -> None:
        there.extend(path.name for path in out.iterdir())
        with pytest.raises(UserError, match="is in use by process"):
            demo.run([str(folder)], "cvgssl demo")

    monkeypatch.setattr(demo, "demonstrate", look)
    assert demo.run([str(link)], "cvgssl demo") == 0
    assert there == [".lock"] and link.is_symlink() and list(folder.iterdir()) == []
