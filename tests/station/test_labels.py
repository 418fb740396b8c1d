"""Labels of a log: which counts, several people, undo, restart, kill -9."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cvgssl.runtime.errors import UserError
from cvgssl.selection.label_list import read_labels
from cvgssl.station.labels import Label, LabelConflictError, Labels, NewLabel

SHA = "a" * 64


def give(labels: Labels, picture: str, label: str, who: str = "anna", **more: object) -> Label:
    """Seen by somebody who looks at it now."""
    now = labels.current(picture)
    facts = {"box": None, "replaces": None if now is None else now.number} | more
    return labels.give(NewLabel(picture, SHA, label, **facts), who)  # type: ignore[arg-type]


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels(tmp_path / "log")


def test_the_last_label_counts_for_another_process_too(labels: Labels, tmp_path: Path) -> None:
    first = give(labels, "a.png", " crack ", box=(0.1, 0.2, 0.5, 1))
    assert (first.label, first.box, first.who) == ("crack", (0.1, 0.2, 0.5, 1), "anna")
    second = give(labels, "a.png", "pit", "bo")
    give(labels, "b.png", "?")
    give(labels, "c.png", "u\u0308berlappung")
    give(labels, "d.png", "pit")
    give(labels, "d.png", "")
    other = Labels(tmp_path / "log")
    for each in (labels, other):
        assert each.current("a.png") == second
        assert each.history("a.png") == [(first, False), (second, False)]
        assert each.current("none.png") is None
        assert each.classes() == ("pit", "überlappung")
    assert other.all() == labels.all()
    given, last = labels.all()
    assert [(each.picture, each.label) for each in given] == [
        ("a.png", "pit"), ("b.png", "?"), ("c.png", "überlappung")
    ]  # fmt: skip
    assert last == labels.last == 6
    labels.write(tmp_path / "labels.csv")
    assert [line[1:] for line in read_labels(tmp_path / "labels.csv", "--labels")] == [
        (each.picture, each.label) for each in given
    ]


def test_a_label_that_somebody_gave_meanwhile_is_not_overwritten(
    labels: Labels, tmp_path: Path
) -> None:
    other = Labels(tmp_path / "log")  # as another process has it
    first = give(labels, "a.png", "crack")
    with pytest.raises(LabelConflictError, match=r"a\.png: anna labelled it crack") as caught:
        other.give(NewLabel("a.png", SHA, "pit"), "bo")
    assert caught.value.now == first
    assert other.give(NewLabel("a.png", SHA, "pit", replaces=first.number), "bo").label == "pit"
    with pytest.raises(LabelConflictError, match=r"bo labelled it pit meanwhile"):
        labels.give(NewLabel("a.png", SHA, "dent", replaces=first.number), "anna")
    other.undo("bo")
    other.undo("anna")
    with pytest.raises(LabelConflictError, match="its label was undone") as undone:
        labels.give(NewLabel("a.png", SHA, "dent", replaces=first.number), "anna")
    assert undone.value.now is None
    assert labels.last == 4


def test_pools_whose_pictures_have_the_same_names(tmp_path: Path) -> None:
    first, second = (Labels(tmp_path / "log", pool) for pool in ("north", "south"))
    given = give(first, "a.png", "crack")
    assert second.current("a.png") is None and second.all() == ([], given.number)
    give(second, "a.png", "pit")
    assert second.undo("anna") is not None and second.undo("anna") is None
    assert second.redo("anna") is not None
    again = Labels(tmp_path / "log", "north")
    assert (first.classes(), second.classes(), again.classes()) == (
        ("crack",),
        ("pit",),
        ("crack",),
    )
    assert first.undo("anna") == given


def test_sent_twice_is_one_label(labels: Labels) -> None:
    first = labels.give(NewLabel("a.png", SHA, "crack", (0, 0, 1, 1)), "anna")
    assert labels.give(NewLabel("a.png", SHA, "crack", (0, 0, 1, 1)), "anna") == first
    with pytest.raises(LabelConflictError):
        labels.give(NewLabel("a.png", SHA, "crack"), "anna")  # another box
    assert labels.last == first.number


def test_two_label_the_same_pictures_at_once(tmp_path: Path) -> None:
    def work(who: str) -> int:
        mine, lost = Labels(tmp_path / "log"), 0
        for number in range(15):
            try:
                mine.give(NewLabel(f"{number}.png", SHA, who), who)
            except LabelConflictError as error:
                assert error.now is not None and error.now.who != who
                lost += 1
        return lost

    with ThreadPoolExecutor(2) as pool:
        lost = sum(pool.map(work, ("anna", "bo")))
    labels = Labels(tmp_path / "log")
    assert lost == 15 == labels.last  # of 30 labels, none over another
    assert all(len(labels.history(f"{number}.png")) == 1 for number in range(15))


def test_undo_goes_further_back_and_redo_forward(labels: Labels, tmp_path: Path) -> None:
    first = give(labels, "a.png", "crack")
    give(labels, "b.png", "pit", "bo")
    second = give(labels, "a.png", "dent")
    assert labels.undo("anna") == second
    assert labels.current("a.png") == first
    labels = Labels(tmp_path / "log")  # started again
    assert labels.undo("anna") == first and labels.undo("anna") is None
    assert labels.current("a.png") is None and labels.classes() == ("pit",)
    assert labels.history("a.png") == [(first, True), (second, True)]
    assert labels.redo("bo") is None
    for label in ("crack", "dent"):
        again = labels.redo("anna")
        assert again is not None and again == labels.current("a.png") and again.label == label
    assert labels.redo("anna") is None
    labels.undo("anna")
    give(labels, "c.png", "pit")
    assert labels.redo("anna") is None  # what was undone before a new label is over


def test_what_others_did_since_is_neither_undone_nor_done_again(labels: Labels) -> None:
    give(labels, "a.png", "crack")
    give(labels, "a.png", "pit", "bo")
    assert labels.undo("anna") is None  # bo's counts
    give(labels, "b.png", "crack")
    labels.undo("anna")
    newer = give(labels, "b.png", "dent", "bo")
    assert labels.redo("anna") is None
    assert labels.current("b.png") == newer


@pytest.mark.parametrize("name", ["unknown", "Not  sure", "UNKNOWN"])
def test_answers_are_no_classes(labels: Labels, name: str) -> None:
    with pytest.raises(UserError, match=r"means that a recognizer gives no class"):
        give(labels, "a.png", name)


@pytest.mark.parametrize("name", ["a\nb", "x" * 101, "a\x1b[31m", "\udcff"])
def test_names_that_no_list_can_hold(labels: Labels, name: str) -> None:
    with pytest.raises(UserError, match=r"has at most 100 characters, all visible"):
        give(labels, "a.png", name)
    assert labels.last == 0


@pytest.mark.parametrize("box", [(0.5, 0, 0.5, 1), (0, 0, 1, 1.01), (float("nan"), 0, 1, 1), (0,)])
def test_boxes_that_are_none(labels: Labels, box: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"as shares 0\.\.1 of the picture"):
        give(labels, "a.png", "crack", box=box)


def test_killed_while_labelling(tmp_path: Path, python: str) -> None:
    """Every label that was acknowledged is there; at most one more."""
    script = (
        "import itertools, os\nfrom pathlib import Path\n"
        "from cvgssl.station.labels import Labels, NewLabel\n"
        "labels = Labels(Path('log'))\n"
        "for number in itertools.count():\n"
        "    labels.give(NewLabel(f'{number}.png', 'a' * 64, 'crack'), 'anna')\n"
        "    if number % 3 == 2:\n        labels.undo('anna')\n"
        "    os.write(1, b'%d\\n' % number)\n"
    )
    process = subprocess.Popen([python, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(20)]
    process.kill()
    said += [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    labels = Labels(tmp_path / "log")
    kept = [each.picture for each in labels.all()[0]]
    wanted = [f"{number}.png" for number in said if number % 3 != 2]
    assert kept[: len(wanted)] == wanted and len(kept) <= len(wanted) + 1
    give(labels, "after.png", "pit")
    assert labels.classes() == ("crack", "pit")
