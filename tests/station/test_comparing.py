"""Two versions against each other: what changes, who is right more often."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from cvgssl.runtime.errors import UserError
from cvgssl.station.comparing import GivenAnswer, compare, is_right, paired_interval, read_given

BEFORE, AFTER = ("crack", "pit"), ("crack", "dent", "pit")


def told(answer: str, label: str = "", probability: float = 0.5) -> GivenAnswer:
    return GivenAnswer(answer, label or answer, probability)


def test_what_changes() -> None:
    before = {"a": told("crack"), "b": told("unknown", "crack"), "c": told("pit"), "x": told("pit")}
    before |= {"d": told("crack"), "e": told("pit")}
    after = {"a": told("crack"), "b": told("dent"), "c": told("dent"), "y": told("pit")}
    after |= {"d": told("dent", probability=0.9), "e": told("pit")}
    found = compare(before, after, (BEFORE, AFTER), {"c": "dent", "a": "crack", "e": "pit"}, {"e"})
    assert found.pictures == 5 and found.agreement == pytest.approx(40)
    assert [each.picture for each in found.changes] == ["c", "d", "b"]  # named first, surest next
    assert found.changes[0].truth == "dent" and found.changes[1].truth == ""
    assert found.moves == {
        ("unknown", "dent"): 1, ("pit", "dent"): 1, ("crack", "dent"): 1
    }  # fmt: skip
    assert found.before == {"crack": 2, "pit": 2, "unknown": 1}
    assert found.after == {"dent": 3, "crack": 1, "pit": 1}
    paired = found.paired
    assert paired is not None and found.learned == 1
    assert (paired.both, paired.only_before, paired.only_after, paired.neither) == (1, 0, 1, 0)
    assert paired.difference == 50


def test_nothing_known_or_nothing_common() -> None:
    one = {"a": told("crack")}
    assert compare(one, one, (BEFORE, BEFORE)).paired is None
    empty = compare(one, {}, (BEFORE, BEFORE))
    assert (empty.pictures, empty.agreement, empty.changes) == (0, 100, ())
    assert compare(one, one, (BEFORE, BEFORE), {"a": "pit"}, {"a"}).learned == 1


def test_when_an_answer_is_right() -> None:
    assert is_right(told("crack"), "crack", BEFORE)
    assert is_right(told("not sure", "crack"), "crack", BEFORE)
    assert is_right(told("unknown", "crack"), "dent", BEFORE)
    assert not is_right(told("unknown", "crack"), "crack", BEFORE)
    assert not is_right(told("crack"), "dent", BEFORE)


def test_the_test_is_mcnemars() -> None:
    before = {str(n): told("crack" if n < 6 else "pit") for n in range(20)}
    after = {str(n): told("pit" if n < 5 else "crack") for n in range(20)}
    paired = compare(before, after, (BEFORE, BEFORE), dict.fromkeys(before, "crack")).paired
    assert paired is not None
    assert (paired.both, paired.only_before, paired.only_after, paired.neither) == (1, 5, 14, 0)
    assert paired.p_value == pytest.approx(binomtest(14, 19).pvalue)
    assert paired.low < paired.difference == 45 < paired.high


def test_the_interval_covers() -> None:
    """95 %, of versions whose mistakes go together as those of recognizers do."""
    rng = np.random.default_rng(0)
    chances = np.array([0.75, 0.04, 0.11, 0.10])
    draws = rng.multinomial(60, chances, size=2000)
    intervals = np.array([paired_interval(*map(int, draw)) for draw in draws])
    covered = np.mean((intervals[:, 0] <= 7) & (intervals[:, 1] >= 7))
    assert 0.935 <= covered <= 0.98


def test_the_interval_of_every_table() -> None:
    for table in itertools.product(range(4), repeat=4):
        if sum(table):
            low, high = paired_interval(*table)
            share = 100 * (table[2] - table[1]) / sum(table)
            assert -100 - 1e-9 <= low <= share + 1e-9 and share - 1e-9 <= high <= 100 + 1e-9
            mirrored = paired_interval(table[0], table[2], table[1], table[3])
            assert mirrored == pytest.approx((-high, -low))
    assert paired_interval(10, 0, 0, 0)[1] > 10  # all alike: still not known exactly


def test_files_of_predict(tmp_path: Path) -> None:
    row = {"path": "/x/y/ab.png", "answer": "unknown", "class": "pit", "probability": 0.5}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    told_then = GivenAnswer("unknown", "pit", 0.5)
    assert read_given(tmp_path / "a.jsonl", Path("/x")) == {"y/ab.png": told_then}
    assert read_given(tmp_path / "a.jsonl", Path("/z")) == {"/x/y/ab.png": told_then}
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"a\.jsonl"):
        read_given(tmp_path / "a.jsonl", Path("/x"))
