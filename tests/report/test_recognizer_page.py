from dataclasses import replace
from pathlib import Path

import pytest

from cvgssl import FitConfig, fit
from cvgssl.recognizer.on_test import AnswerOnTest, read_test_answers, write_test_answers
from cvgssl.report.recognizer import PAGE, write_recognizer_page


def test_fit_from_python_writes_a_page_with_figures_and_mistakes(
    steel: Path, teacher_file: Path, tmp_path: Path
) -> None:
    config = FitConfig(
        data=steel, shot=2, encoder=(f"test_vit={teacher_file}",), out=tmp_path / "out"
    )
    folder, summary = fit(config)
    assert summary.test is not None
    text = (folder / PAGE).read_text()
    assert f"<td>{summary.test.macro_recall:.1f}</td>" in text
    wrong = [
        each
        for each in read_test_answers(folder / "test.csv")
        if each.predicted_class != each.label
    ]
    right = summary.test.pictures - len(wrong)
    assert summary.test.accuracy == pytest.approx(100 * right / summary.test.pictures)
    assert wrong and all(each.name in text for each in wrong), "an untrained encoder errs"
    assert write_recognizer_page(config, tmp_path, replace(summary, test=None)) is None


def test_answers_about_test_come_back_as_written(tmp_path: Path) -> None:
    answers = [
        AnswerOnTest("test/a, b/=1.bmp", "a, b", "夹杂", 0.5),
        AnswerOnTest("x", "y", "y", 1),
    ]
    write_test_answers(answers, tmp_path / "test.csv")
    assert read_test_answers(tmp_path / "test.csv") == answers
