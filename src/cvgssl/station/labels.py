"""The labels that people give in a station: which counts, who gave it, conflicts, undo, redo.

Everything is in the log; an object keeps an index of it in memory and reads on where it was.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from cvgssl.heads.verdicts import NOT_SURE, UNKNOWN
from cvgssl.images.assemble import normal
from cvgssl.images.names import is_utf8
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file
from cvgssl.runtime.parsing import one_line
from cvgssl.selection.label_list import UNSURE, write_labels
from cvgssl.station.events import Event, EventLog

LABEL, UNDO = "label", "undo"
NONE = ""  # label of a picture whose label was taken back
LONGEST = 100  # characters of a class name

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """A label event. number: of the event. label: a class, "?" (nobody can name it) or "" (none).

    box: left, top, right, bottom as shares 0..1 of the picture. at: UTC, ISO 8601.
    """

    number: int
    at: str
    who: str
    picture: str
    sha256: str
    label: str
    box: Box | None


@dataclass(frozen=True)
class NewLabel:
    """A label as a person gives it, or takes it back by "".

    sha256: of the picture's file. box: as of `Label`. replaces: number of the label that the person
    saw there, None for none.
    """

    picture: str
    sha256: str
    label: str
    box: Box | None = None
    replaces: int | None = None


class LabelConflictError(Exception):
    """Somebody labelled the picture meanwhile; `now`: what counts, None where it was undone."""

    def __init__(self, picture: str, now: Label | None) -> None:
        what = "its label was undone"
        if now is not None:
            what = f"{now.who} " + (
                f"labelled it {now.label}" if now.label else "took its label back"
            )
        super().__init__(f"{one_line(picture)}: {what} meanwhile")
        self.now = now


class Labels:
    """The labels of a log, for several threads.

    pool: what the pictures belong to, such as their folder; labels of others are not looked at,
    but of those that are here too. here: their names here, by pool, name and SHA-256 there.
    """

    def __init__(
        self, log: Path, pool: str = "", here: Mapping[tuple[str, str, str], str] | None = None
    ) -> None:
        self.pool, self._here = pool, here or {}
        self._log, self._lock = EventLog(log), threading.RLock()
        self._last = 0  # event that the index below includes
        self._of: dict[str, list[Label]] = defaultdict(list)  # picture to its labels, in order
        self._by: dict[str, list[Label]] = defaultdict(list)  # person to theirs
        self._undone: set[int] = set()
        self._redoable: dict[str, list[Label]] = defaultdict(list)  # person to what was undone
        self._first: dict[int, int] = {}  # number of a label given again to that of the first

    def give(self, new: NewLabel, who: str) -> Label:
        """Label a picture.

        The same label by the same person twice is one. Raises LabelConflictError when another one
        counts meanwhile, and UserError for a name or box that cannot be.
        """
        label, box = class_name(new.label), new.box
        _check_box(box)
        facts: dict[str, Any] = {"pool": self.pool, "picture": new.picture, "sha256": new.sha256}
        facts |= {"label": label, "box": box, "replaces": new.replaces}
        with self._writing():
            now = self._current(new.picture)
            if now is not None and (now.who, now.label, now.box) == (who, label, box):
                return now
            if (None if now is None else now.number) != new.replaces:
                raise LabelConflictError(new.picture, now)
            added = self._log.append(LABEL, who, **facts)
        return _label(added)

    def undo(self, who: str) -> Label | None:
        """Take back the last label of `who` that counts; gives it, None where there is none."""
        with self._writing():
            for label in reversed(self._by[who]):
                if label.number not in self._undone and self._current(label.picture) == label:
                    self._log.append(UNDO, who, label=label.number)
                    return label
        return None

    def redo(self, who: str) -> Label | None:
        """Give again what `who` undid last, where nobody labelled that picture since.

        None where there is nothing to be done again: a new label forgets what was undone.
        """
        with self._writing():
            while self._redoable[who]:
                old = self._redoable[who][-1]
                now = self._current(old.picture)
                if now is None or self._first.get(now.number, now.number) < old.number:
                    added = self._log.append(
                        LABEL,
                        who,
                        pool=self.pool,
                        picture=old.picture,
                        sha256=old.sha256,
                        label=old.label,
                        box=old.box,
                        replaces=None if now is None else now.number,
                        redoes=old.number,
                    )
                    return _label(added)
                self._redoable[who].pop()
        return None

    @property
    def last(self) -> int:
        """Number of the last event that says something of labels; 0 before the first."""
        with self._lock:
            self._read_on()
            return self._last

    def current(self, picture: str) -> Label | None:
        """The label that counts; one with label "" was taken back."""
        with self._lock:
            self._read_on()
            return self._current(picture)

    def history(self, picture: str) -> list[tuple[Label, bool]]:
        """All labels of a picture, in order, and whether each was undone."""
        with self._lock:
            self._read_on()
            return [(label, label.number in self._undone) for label in self._of.get(picture, ())]

    def all(self) -> tuple[list[Label], int]:
        """The labels that count, "?" included, in the order given, and `last` at that moment."""
        with self._lock:
            self._read_on()
            each = (self._current(picture) for picture in self._of)
            labels = [label for label in each if label is not None and label.label != NONE]
            return sorted(labels, key=lambda label: label.number), self._last

    def classes(self) -> tuple[str, ...]:
        """Names of the classes that count, sorted."""
        return tuple(sorted({label.label for label in self.all()[0]} - {UNSURE}))

    def write(self, path: Path) -> None:
        """Write path,label in the order given, "?" included: for `select` and `fit --labels`."""
        write_labels([(label.picture, label.label) for label in self.all()[0]], path)

    def close(self) -> None:
        """Let go of the log."""
        with self._lock:
            self._log.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """No other process adds to the log; the index is up to date in the block and after it."""
        with self._lock:
            with self._log.alone():
                self._read_on()
                yield
            self._read_on()  # what is on the disk now, not what was to be written

    def _read_on(self) -> None:
        for event in list(self._log.events(LABEL, UNDO, after=self._last)):
            self._note(event)

    def _note(self, event: Event) -> None:
        facts, who = event.facts, event.who
        self._last = event.number
        if event.kind == UNDO:
            self._undone.add(facts["label"])
            undone = next(
                (label for label in self._by[who] if label.number == facts["label"]), None
            )
            if undone is not None:
                self._redoable[who].append(undone)
            return
        label, pool = _label(event), facts.get("pool", "")
        if pool != self.pool:
            name = self._here.get((pool, label.picture, label.sha256))
            if name is None:
                return
            label = replace(label, picture=name)
        self._of[label.picture].append(label)
        self._by[who].append(label)
        again, redoes = self._redoable[who], facts.get("redoes")
        if again and redoes == again[-1].number:
            again.pop()
            self._first[label.number] = self._first.get(redoes, redoes)
        else:
            again.clear()

    def _current(self, picture: str) -> Label | None:
        for label in reversed(self._of.get(picture, ())):
            if label.number not in self._undone:
                return label
        return None


def found_again(
    log: Path, pool: str, names: Iterable[str], folder: Path
) -> dict[tuple[str, str, str], str]:
    """Pictures that were labelled in other folders and are in this one, for `Labels`.

    After a move or at another mount point they are the same files at another place. names: of
    the pictures below `folder`. Only those called like a labelled one are read; the SHA-256
    decides.
    """
    events = EventLog(log)
    try:
        labelled: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
        for event in events.events(LABEL):
            there, name = event.facts.get("pool", ""), event.facts["picture"]
            if there != pool:
                labelled[PurePosixPath(name).name].add((there, name, event.facts["sha256"]))
    finally:
        events.close()
    here: dict[tuple[str, str, str], str] = {}
    for name in names:
        wanted = labelled.get(PurePosixPath(name).name)
        if wanted:
            with suppress(OSError):  # a picture that is away has no label here
                digest = sha256_file(folder / name)
                for label in wanted:
                    # of several copies the one with the same whole name
                    if label[2] == digest and (label not in here or label[1] == name):
                        here[label] = name
    return here


def _label(event: Event) -> Label:
    facts = event.facts
    box = None if facts["box"] is None else tuple(facts["box"])
    return Label(
        event.number, event.at, event.who, facts["picture"], facts["sha256"], facts["label"], box
    )


def class_name(label: str) -> str:
    """A label as it is compared and kept: a class, "?" or "".

    Raises UserError for what a recognizer answers where it gives no class, and for names that a
    list of labels cannot hold.
    """
    name = normal(label)
    if " ".join(name.casefold().split()) in (UNKNOWN, NOT_SURE):
        raise UserError(
            f"class {name}: means that a recognizer gives no class; take another name, or "
            f"{UNSURE} where nobody can name the picture"
        )
    if len(name) > LONGEST or not is_utf8(name) or not name.isprintable():
        raise UserError(
            f"class {one_line(name, 40)}: a name has at most {LONGEST} characters, all visible"
        )
    return name


def _check_box(box: Sequence[float] | None) -> None:
    if box is None:
        return
    if len(box) == 4:
        left, top, right, bottom = box
        if 0 <= left < right <= 1 and 0 <= top < bottom <= 1:
            return
    raise UserError(f"box {list(box)}: is left, top, right, bottom, as shares 0..1 of the picture")
