"""Reviews: which answers, one person each, nobody overwritten, shares from the sample alone."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cvgssl.heads.metrics import wilson_interval
from cvgssl.runtime.errors import UserError
from cvgssl.selection.label_list import read_labels
from cvgssl.station import review_queue as module
from cvgssl.station.answer_rows import PROGRAM, Wanted
from cvgssl.station.answers import Answers
from cvgssl.station.fitting import write_learned
from cvgssl.station.judging import verdict
from cvgssl.station.picture_store import PictureStore
from cvgssl.station.review import ConflictError, LearnedPicture, Reviews
from cvgssl.station.review_queue import SAMPLE

Add = Callable[..., int]
SHARE = 0.25


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    store = PictureStore(tmp_path, 10**6)
    kept = Answers(tmp_path / "log", store)
    yield kept
    kept.close()
    store.close()


@pytest.fixture
def reviews(tmp_path: Path, answers: Answers) -> Iterator[Reviews]:
    kept = Reviews(tmp_path, tmp_path / "log", answers, SHARE)
    yield kept
    kept.close()


def picture(number: int, in_sample: bool | None = None) -> bytes:
    """The bytes of a picture that is in the sample or not."""
    for each in range(1000):
        data = b"%d %d" % (number, each)
        if in_sample in (None, int(hashlib.sha256(data).hexdigest()[:8], 16) < SHARE * 2**32):
            return data
    raise AssertionError


@pytest.fixture
def add(answers: Answers) -> Add:
    def adding(number: int, answer: str = "crack", sample: bool | None = None, **words: int) -> int:
        data = picture(number, sample)
        label = "crack" if answer in ("unknown", "not sure") else answer
        told = {
            "name": str(number),
            "sha256": hashlib.sha256(data).hexdigest(),
            "answer": answer,
            "class": label,
            "probability": 0.5,
            "probabilities": {"crack": 0.5, "pit": 0.5},
        }
        words = {"version": 1} | words
        return answers.keep(told, data, source=PROGRAM, **words).result(30)  # type: ignore[arg-type]

    return adding


def test_what_is_looked_at(reviews: Reviews, add: Add) -> None:
    unknown = [add(n, "unknown", False) for n in range(3)]
    unsure = [add(n, "not sure", False) for n in range(3, 5)]
    sample = [add(n, "crack", True) for n in range(5, 9)]
    for number in range(9, 30):
        add(number, "crack", False)
    assert reviews.left() == {"unknown": 3, "not sure": 2, "sample": 4}
    given = [each.number for each in reviews.next("anna", 100)]
    assert given[:3] == [unknown[2], unsure[1], sample[3]]  # in turn, the newest first
    assert sorted(given) == sorted(unknown + unsure + sample)
    assert [each.number for each in reviews.next("anna", 2)] == given[:2]  # after a reload
    reviews._queue._leases.clear()  # as after two minutes
    assert [each.number for each in reviews.next("bo", 9, [SAMPLE])] == sample[::-1]


def test_many_are_not_all_counted(
    reviews: Reviews, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COUNTED", 3)
    for number in range(5):
        add(number, "unknown", False)
    assert reviews.left() == {"unknown": 3, "not sure": 0, "sample": 0}


def test_what_one_skips_another_gets(reviews: Reviews, add: Add) -> None:
    number = add(1, "unknown")
    assert [each.number for each in reviews.next("anna")] == [number]
    reviews.skip(number, "anna")
    assert reviews.next("anna") == [] and reviews.left()["unknown"] == 1
    assert [each.number for each in reviews.next("bo")] == [number]


@pytest.mark.parametrize(
    ("answer", "label", "right"),
    [
        ("crack", "crack", True),
        ("crack", " crack\u200b", True),
        ("crack", "pit", False),
        ("crack", "new", False),
        ("not sure", "crack", True),
        ("not sure", "pit", False),
        ("unknown", "", True),
        ("unknown", "new", True),
        ("unknown", "pit", False),
        ("crack", "?", None),
        ("unknown", "?", None),
    ],
)
def test_what_a_picture_shows_says_whether_the_answer_is_right(
    reviews: Reviews, answers: Answers, add: Add, answer: str, label: str, right: bool | None
) -> None:
    number = add(1, answer)
    assert verdict(answers.get(number), label) is right
    assert reviews.review(number, "anna", right, label).right is right


def test_the_sample_is_drawn_by_hashes(reviews: Reviews) -> None:
    drawn = [reviews._queue.in_sample(hashlib.sha256(b"%d" % n).hexdigest()) for n in range(4000)]
    assert abs(sum(drawn) / 4000 - SHARE) < 0.03
    assert drawn[0] == (int(hashlib.sha256(b"0").hexdigest()[:8], 16) < SHARE * 2**32)


def test_a_picture_is_looked_at_once(reviews: Reviews, add: Add) -> None:
    first, second, other = add(1, "unknown", False), add(1, "unknown", False), add(2, "unknown")
    assert [each.number for each in reviews.next("anna", 9)] == [other, second]
    reviews.review(second, "anna", False, "crack")
    assert reviews.left()["unknown"] == 1
    assert [each.number for each in reviews.next("bo", 9)] == []  # the other one is anna's
    assert reviews.of(first) is None


def test_two_people_get_different_answers(
    reviews: Reviews, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        add(number, "unknown")
    given: dict[str, list[int]] = {}

    def look(who: str) -> None:
        mine = given.setdefault(who, [])
        for _ in range(10):
            (answer,) = reviews.next(who)
            mine.append(answer.number)
            reviews.review(answer.number, who, right=True)

    threads = [threading.Thread(target=look, args=(who,)) for who in ("anna", "bo", "chen")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [number for numbers in given.values() for number in numbers]
    assert len(every) == len(set(every)) == 30
    ((first,), (second,)) = reviews.next("anna"), reviews.next("bo")
    assert first != second
    monkeypatch.setattr(module, "LEASE", -1.0)  # given now, and over at once
    reviews._queue._leases.clear()
    assert reviews.next("anna") == reviews.next("bo")


def test_nobody_is_overwritten(
    reviews: Reviews, add: Add, tmp_path: Path, answers: Answers
) -> None:
    number = add(1, "crack")
    first = reviews.review(number, "anna", right=True)
    assert first.label == "crack"
    elsewhere = Reviews(tmp_path, tmp_path / "log", answers, SHARE)  # another process
    with pytest.raises(ConflictError) as conflict:
        elsewhere.review(number, "bo", False, "pit")
    assert conflict.value.review == first
    second = elsewhere.review(number, "bo", False, "pit", replaces=first.number)
    assert reviews.of(number) == second and reviews.history(number) == [first, second]
    with pytest.raises(ConflictError):
        reviews.review(number, "anna", True, replaces=first.number)
    (kept,) = answers.page(Wanted(review="wrong"))
    assert (kept.right, kept.truth) == (False, "pit")
    elsewhere.close()


def test_undo(reviews: Reviews, add: Add, answers: Answers) -> None:
    one, two = add(1, "unknown"), add(2, "unknown")
    reviews.review(one, "anna", False, "pit")
    reviews.review(two, "anna", None, "?")
    reviews.review(add(3, "unknown"), "bo", right=True)
    assert reviews.left()["unknown"] == 0
    for number in (two, one):
        undone = reviews.undo("anna")
        assert undone is not None and undone.answer == number
        assert reviews.of(number) is None
    assert reviews.undo("anna") is None
    assert reviews.left()["unknown"] == 2
    assert len(answers.page(Wanted(review="none"))) == 2
    reviews.review(one, "bo", False, "crack")  # a review of its own, nothing is replaced


@pytest.mark.parametrize(
    ("answer", "right", "label", "message"),
    [
        ("crack", True, "pit", "most likely class is 'crack'; then the answer is wrong"),
        ("crack", False, "crack", "then the answer is right"),
        ("not sure", False, " crack ", "then the answer is right"),
        ("unknown", True, "pit", "'pit' is a class that the version knows; then .* wrong"),
        ("unknown", False, "dent", "'dent' is no class that .* right"),
        ("crack", False, "not sure", "means that a recognizer gives no class"),
        ("unknown", True, "Unknown", "means that a recognizer gives no class"),
        ("crack", False, "a\0\nb", "has at most 100 characters, all visible"),
        ("crack", False, "x" * 101, "has at most 100 characters, all visible"),
        ("crack", False, "\u202eabc", "has at most 100 characters, all visible"),
        ("unknown", True, "\ud800", "has at most 100 characters, all visible"),
        ("crack", True, "?", "say right, wrong, or"),
        ("crack", None, "", "say right, wrong, or"),
    ],
)
def test_what_contradicts_itself(
    reviews: Reviews, add: Add, answer: str, right: bool | None, label: str, message: str
) -> None:
    number = add(1, answer)
    with pytest.raises(UserError, match=message):
        reviews.review(number, "anna", right, label)
    assert reviews.of(number) is None


def test_shares_are_those_of_the_sample(reviews: Reviews, add: Add) -> None:
    for number in range(8):
        reviews.review(add(number, "crack", True), "anna", number != 0, "pit" if not number else "")
    for number in range(8, 12):  # looked at for another reason: not counted
        reviews.review(add(number, "unknown", False), "anna", False, "pit")
    reviews.review(add(12, "pit", True, version=2), "anna", right=True)
    reviews.review(add(13, "unknown", True), "anna", right=True)
    reviews.review(add(14, "crack", True), "anna", None, "?")
    every = {each.answer: each for each in reviews.shares()}
    assert list(every) == ["", "crack", "pit", "unknown"]
    assert (every[""].right, every[""].looked_at) == (8, 9)
    assert (every["crack"].right, every["crack"].looked_at) == (7, 8)
    assert (every["crack"].low, every["crack"].high) == wilson_interval(7, 8)
    assert every["unknown"].share == 100
    assert [each.answer for each in reviews.shares(version=2)] == ["", "pit"]


def test_labels_of_the_next_fit(reviews: Reviews, add: Add, tmp_path: Path) -> None:
    named = add(1, "unknown")
    last = reviews.review(named, "anna", True, "dent")
    reviews.review(add(2, "crack"), "anna", right=True)
    reviews.review(add(3, "crack"), "anna", None, "?")
    reviews.review(add(4, "unknown"), "anna", right=True)
    for path in (tmp_path / "pictures").rglob("*"):
        if path.is_file():
            path.unlink()  # no longer kept: what was named stays
    reviews.review(add(5, "crack"), "anna", False, "pit")
    (gone,) = (each for each in reviews.learned() if each.label == "pit")
    Path(gone.path).unlink()
    learned = {each.label: each for each in reviews.learned()}
    assert learned.keys() == {"dent", "crack"}
    assert Path(learned["dent"].path).read_bytes() == picture(1)
    assert learned["dent"].number == last.number
    assert set(reviews.truths().values()) == {"dent", "crack", "pit"}
    sha = learned["dent"].sha256
    pool = [
        LearnedPicture("a.bmp", "0" * 64, "pit", 3),
        LearnedPicture("b.bmp", sha, "crack", last.number - 1),
    ]
    assert write_learned(pool, reviews.learned(), tmp_path / "labels.csv") == 3
    lines = [(each.path, each.label) for each in read_labels(tmp_path / "labels.csv", "--labels")]
    crack = learned["crack"]
    assert lines == [("a.bmp", "pit"), ("b.bmp", "dent"), (crack.path, "crack")]
    newer = [pool[1]._replace(number=10**6)]
    write_learned(newer, reviews.learned(), tmp_path / "labels.csv")
    lines = [(each.path, each.label) for each in read_labels(tmp_path / "labels.csv", "--labels")]
    assert ("b.bmp", "crack") in lines
