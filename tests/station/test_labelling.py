"""The engine of the page for labelling, on small pools whose classes are known."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from cvgssl.features.table import FeatureTable
from cvgssl.heads import HEADS, CalibratedHead
from cvgssl.runtime.errors import UserError
from cvgssl.station import labelling as module
from cvgssl.station.labelling import Labelling
from cvgssl.station.labels import LabelConflictError, Labels, NewLabel
from cvgssl.station.labels_say import LabellingState
from cvgssl.station.pool_rows import PoolRows

SHA = "b" * 64
SIZES = {"good": 60, "crack": 30, "pit": 20, "dent": 10}
LONG = 60.0  # seconds; what is waited for takes a fraction of one


def pool(sizes: dict[str, int] = SIZES, seed: int = 0) -> FeatureTable:
    """Clouds around far apart centres; names say the class."""
    rng = np.random.default_rng(seed)
    values = [np.zeros((0, 12))] + [5 * np.eye(12)[at] + 0.4 * rng.normal(size=(size, 12))
              for at, size in enumerate(sizes.values())]  # fmt: skip
    names = [f"{name}-{at:03}.png" for name, size in sizes.items() for at in range(size)]
    count = len(names)
    return FeatureTable(
        np.concatenate(values).astype(np.float32),
        tuple(names),
        np.full(count, -1),
        ("train",) * count,
        (),
    )


def truth(picture: str) -> str:
    return picture.split("-")[0]


Open = Callable[..., Labelling]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Started labelling of one log; ended afterwards."""
    monkeypatch.setattr(module, "_LOOK", 0.2)
    opened: list[Labelling] = []

    def starting(table: FeatureTable | None = None, **more: float) -> Labelling:
        labels = Labels(tmp_path / "log")
        made = Labelling(table or pool(), labels, tmp_path / "kept", **more)
        opened.append(made.__enter__())
        return made

    yield starting
    for each in opened:
        each.__exit__()
        assert each.state.problem is None


def give(labelling: Labelling, picture: str, label: str = "", who: str = "anna") -> LabellingState:
    """A label (the true one where none is said), and what follows from it."""
    now = labelling.labels.current(picture)
    replaces = None if now is None else now.number
    given = labelling.label(NewLabel(picture, SHA, label or truth(picture), replaces=replaces), who)
    state = labelling.wait(given.number, LONG)
    assert state.after >= given.number
    return state


def asked(labelling: Labelling, who: str = "anna") -> str:
    """The next picture, when one is chosen."""
    done = threading.Event()
    for _ in range(int(LONG / 0.01)):
        if (found := labelling.ask(who)) is not None:
            return found.picture
        done.wait(0.01)
    raise AssertionError("no picture was chosen")


def test_from_no_label_to_the_stop_sign(start: Open) -> None:
    labelling = start()
    empty = labelling.wait(0, LONG)
    assert (empty.pictures, empty.open, empty.labelled, empty.outlook) == (120, 120, 0, None)
    assert empty.held_out is None and empty.classes == ()
    one = give(labelling, asked(labelling))
    assert one.classes == ({"name": one.classes[0]["name"], "labels": 1, "pictures": 120},)
    assert one.held_out is not None and one.held_out["too_few"] and one.held_out["low"] is None
    for at in range(5):
        for name in SIZES:
            last = give(labelling, f"{name}-{at:03}.png")
    assert {each["name"] for each in last.classes} == set(SIZES)
    assert 20 <= last.labelled == 120 - last.open <= 21
    assert sum(each["pictures"] for each in last.classes) == 120
    assert last.outlook is not None and last.held_out is not None
    assert last.outlook["enough"] and last.outlook["unseen"] == 0, last.outlook
    assert not last.suspects
    assert last.held_out["right"] == last.held_out["held_out"] == last.labelled
    assert last.held_out["low"] > 80 and not last.held_out["too_few"]
    assert last.head == "kernel-ridge" and last.elsewhere == 0
    json.dumps(asdict(last))
    assert last.seconds > 0


def test_answers_are_those_of_the_head_on_the_embeddings(start: Open, tmp_path: Path) -> None:
    """The reduced coordinates change nothing."""
    labelling = start()
    pictures = [f"{name}-{at:03}.png" for name in SIZES for at in (0, 3, 7)]
    for picture in pictures:
        state = give(labelling, picture)
    rows = PoolRows(pool(), tmp_path / "kept")
    classes = [each["name"] for each in state.classes]
    target = np.full(len(rows), -1)
    for picture in pictures:
        target[rows.place[picture]] = classes.index(truth(picture))
    head = CalibratedHead(HEADS["kernel-ridge"]()).fit(rows.rows, target)
    wanted = head.label_distributions_
    wanted[head.held_out_rows_] = head.held_out_  # a label says nothing of itself
    for row, picture in enumerate(rows.names):
        said = dict(labelling.likely(picture))
        assert [said[name] for name in classes] == pytest.approx(wanted[row], abs=2e-4)
        assert max(said, key=lambda name: said[name]) == truth(picture)
    points = wait_for(labelling.points)
    assert points["names"] == list(rows.names)
    told = [points["classes"][at] for at in points["answers"]]
    assert told == [truth(name) for name in points["names"]]
    assert sorted(np.flatnonzero(np.array(points["labels"]) >= 0)) == sorted(
        rows.place[picture] for picture in pictures
    )
    places = np.array([points["x"], points["y"]])
    assert places.min() == 0 and places.max() == 1


def wait_for(ready: Callable[[], dict[str, object] | None]) -> dict[str, list[object]]:
    done = threading.Event()
    for _ in range(int(LONG / 0.01)):
        if (value := ready()) is not None:
            return value  # type: ignore[return-value]
        done.wait(0.01)
    raise AssertionError("not there")


def test_a_label_that_the_others_contradict(start: Open) -> None:
    labelling = start()
    for at in range(4):
        for name in SIZES:
            give(labelling, f"{name}-{at:03}.png")
    state = give(labelling, "crack-009.png", "pit", "bo")
    assert len(state.suspects) <= 2  # one that looks like it, perhaps
    suspect = state.suspects[0]
    assert (suspect["picture"], suspect["who"]) == ("crack-009.png", "bo")
    assert (suspect["label"], suspect["instead"]) == ("pit", "crack")
    likeliest, share = labelling.likely("crack-009.png")[0]  # as the page offers it
    assert (likeliest, share) == ("crack", pytest.approx(suspect["probability"]))
    assert suspect["number"] == state.after and suspect["probability"] > 0.5
    assert not give(labelling, "crack-009.png").suspects


def test_several_people_have_different_pictures(start: Open) -> None:
    labelling = start()
    first = asked(labelling, "anna")
    people = ("anna", "bo", "chen")
    theirs = {who: asked(labelling, who) for who in people}
    assert theirs["anna"] == first and len(set(theirs.values())) == 3
    done: list[str] = []

    def work(who: str) -> None:
        for _ in range(12):
            picture = asked(labelling, who)
            labelling.label(NewLabel(picture, SHA, truth(picture)), who)
            done.append(picture)

    threads = [threading.Thread(target=work, args=(who,)) for who in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == len(set(done)) == 36
    state = labelling.wait(36, LONG)
    assert (state.after, state.labelled) == (36, 36)


def test_a_picture_that_nobody_answers_is_anybodys_again(start: Open) -> None:
    labelling = start(lease_seconds=0.3)
    first = asked(labelling, "anna")
    other = asked(labelling, "bo")
    assert other != first
    threading.Event().wait(0.4)
    assert asked(labelling, "chen") in (first, other)


def test_skipped_vanished_and_labelled_elsewhere(start: Open) -> None:
    labelling = start(pool({"good": 5, "pit": 4}))
    skipped = asked(labelling)
    labelling.skip("bo", skipped)  # it is anna's
    assert asked(labelling) == skipped
    labelling.skip("anna", skipped)
    vanished = asked(labelling)
    assert vanished != skipped
    labelling.gone(vanished)
    seen = []
    for _ in range(8):
        picture = asked(labelling)
        seen.append(picture)
        give(labelling, picture, "?" if picture == seen[0] else "")
    assert seen[-1] == skipped and vanished not in seen and len(set(seen)) == 8
    assert labelling.ask("anna") is None
    state = labelling.state
    assert (state.open, state.labelled, state.unsure, state.waiting) == (1, 7, 1, 0)
    assert not state.preparing
    with pytest.raises(UserError, match=r"x\.png: is no picture of the pool"):
        give(labelling, "x.png")
    other = labelling.labels.give(NewLabel("x.png", SHA, "pit"), "bo")  # of an older pool
    state = labelling.wait(other.number, LONG)
    assert (state.elsewhere, state.labelled) == (1, 7)


def test_all_labelled_and_one_class_only(start: Open) -> None:
    labelling = start(pool({"good": 3}))
    for at in range(3):
        state = give(labelling, f"good-{at:03}.png")
    assert state.open == 0 and labelling.ask("anna") is None
    assert state.outlook is not None and state.outlook["changed"] is None
    assert not state.outlook["enough"] and state.held_out is not None
    assert state.held_out["low"] is None and state.held_out["too_few"]
    assert labelling.likely("good-000.png") == (("good", 1.0),)
    assert wait_for(labelling.points)["answers"] == [0, 0, 0]


def test_undo_brings_the_picture_back(start: Open) -> None:
    labelling = start()
    first = asked(labelling)
    give(labelling, first)
    second = asked(labelling)
    undone = labelling.undo("anna")
    assert undone is not None and undone.picture == first
    assert asked(labelling) == first
    state = labelling.wait(labelling.labels.last, LONG)
    assert (state.labelled, state.classes, state.outlook) == (0, (), None)
    again = labelling.redo("anna")
    assert again is not None and again.label == truth(first)
    assert asked(labelling) == second
    assert labelling.wait(again.number, LONG).labelled == 1


def test_a_new_class_is_offered_at_once_and_conflicts_are_told(start: Open) -> None:
    labelling = start()
    picture = asked(labelling)
    labelling.label(NewLabel(picture, SHA, "new kind"), "anna")
    found = labelling.ask("bo")
    assert found is not None and "new kind" in dict(found.likely)
    with pytest.raises(LabelConflictError, match="anna labelled it new kind meanwhile"):
        labelling.label(NewLabel(picture, SHA, "pit"), "bo")


def test_started_again_all_is_as_it_was(start: Open, tmp_path: Path) -> None:
    labelling = start()
    for _ in range(6):
        state = give(labelling, asked(labelling))
    points = wait_for(labelling.points)
    labelling.__exit__()
    kept = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert [name.split("-")[0] for name in kept] == ["places", "surroundings"]
    damaged = tmp_path / "kept" / kept[0]
    damaged.write_bytes(damaged.read_bytes()[:200])
    again = start()
    new = again.wait(state.after, LONG)
    volatile = {"seconds": 0.0, "waiting": 0, "preparing": False}
    assert asdict(new) | volatile == asdict(state) | volatile
    assert wait_for(again.points) == points
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == kept
    # labels of another process are noticed too
    other = Labels(tmp_path / "log").give(NewLabel("pit-019.png", SHA, "pit"), "bo")
    assert again.wait(other.number, LONG).labelled == state.labelled + (
        other.picture not in {each.picture for each in again.labels.all()[0][:-1]}
    )


def test_pictures_whose_names_are_no_utf8_are_not_asked_for(tmp_path: Path) -> None:
    table = pool({"good\udcff": 3, "pit": 2})
    assert PoolRows(table, tmp_path).names == ("pit-000.png", "pit-001.png")
    with pytest.raises(UserError, match="there are no pictures to label"):
        PoolRows(pool({"good\udcff": 3}), tmp_path)


def test_a_pool_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no pictures to label"):
        Labelling(pool({}), Labels(tmp_path / "log"), tmp_path)


def test_trouble_is_told_and_passes(start: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    labelling = start()
    labelling.wait(0, LONG)
    real = module.what_labels_say

    def broken(*_: object) -> None:
        raise OSError("the disk is full\nsecond line")

    monkeypatch.setattr(module, "what_labels_say", broken)
    labelling.label(NewLabel("pit-001.png", SHA, "pit"), "anna")
    wait_for(lambda: {"": labelling.state.problem} if labelling.state.problem else None)
    assert labelling.state.problem == "the disk is full"
    monkeypatch.setattr(module, "what_labels_say", real)
    assert labelling.wait(1, LONG).labelled == 1
    wait_for(lambda: {} if labelling.state.problem is None else None)
