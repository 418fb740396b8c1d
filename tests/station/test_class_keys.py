"""Which class each number key means: from the log alone, and never another one later."""

from collections.abc import Sequence
from pathlib import Path

from cvgssl.runtime.errors import UserError
from cvgssl.station.class_keys import ClassKeys
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.labels import Labels, NewLabel


def keys_of(
    log: Path, known: Sequence[str], versions: dict[int, Sequence[str]]
) -> list[tuple[str, int]]:
    """As a station that has just been started tells them."""

    def classes_of(number: int) -> Sequence[str]:
        if number not in versions:
            raise UserError(f"version {number}: is damaged")
        return versions[number]

    keys = ClassKeys(log, known, classes_of)
    try:
        return keys()
    finally:
        keys.close()


def test_order_of_first_use_on_all_pools_and_pages(tmp_path: Path) -> None:
    path = tmp_path / LOG
    labels, others = Labels(path, "/line 1"), Labels(path, "/line 2")
    log = EventLog(path)
    known = ("good", "scratch")
    assert keys_of(path, known, {}) == [("good", 0), ("scratch", 1)]
    labels.give(NewLabel("a.bmp", "0", "rust"), "Li")
    others.give(NewLabel("a.bmp", "1", "crack"), "Wang")
    labels.give(NewLabel("b.bmp", "2", "?"), "Li")
    log.append("review", "Li", answer=7, right=False, label="oil")
    log.append("model added", "Li", number=1)
    log.append("model added", "Li", number=2)
    labels.give(NewLabel("c.bmp", "3", "good"), "Li")
    labels.give(NewLabel("d.bmp", "4", "crack"), "Li")
    found = keys_of(path, known, {2: ["good", "pit", "rust"]})
    assert [name for name, _ in found] == ["good", "scratch", "rust", "crack", "oil", "pit"]
    assert [place for _, place in found] == list(range(6))
    for each in (labels, others, log):
        each.close()


def test_what_is_taken_back_moves_no_other_key(tmp_path: Path) -> None:
    path = tmp_path / LOG
    labels = Labels(path, "/line 1")
    running = ClassKeys(path, (), lambda _: ())
    labels.give(NewLabel("a.bmp", "0", "rusd"), "Li")
    labels.undo("Li")
    assert running() == []
    labels.give(NewLabel("a.bmp", "0", "rust"), "Li")
    given = labels.give(NewLabel("b.bmp", "1", "cract"), "Li")
    labels.give(NewLabel("c.bmp", "2", "pit"), "Li")
    assert running() == [("rust", 0), ("cract", 1), ("pit", 2)]
    # instead of a name mistyped
    labels.give(NewLabel("b.bmp", "1", "crack", replaces=given.number), "Li")
    assert running() == [("rust", 0), ("pit", 2), ("crack", 3)]
    labels.undo("Li")
    assert running() == [("rust", 0), ("cract", 1), ("pit", 2)]
    assert keys_of(path, (), {}) == running()
    running.close()
    labels.close()
