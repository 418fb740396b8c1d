"""Which class each number key means, on all pages alike, as long as the station lives."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from cvgssl.runtime.errors import UserError
from cvgssl.selection.label_list import UNSURE
from cvgssl.station.answer_rows import REVIEW
from cvgssl.station.events import Event, EventLog
from cvgssl.station.labels import LABEL, UNDO
from cvgssl.station.models import ADDED

_NAMELESS = ("", UNSURE)


class ClassKeys:
    """For any number of threads.

    `known` come first, then the others in the order in which the log has them first: as a label,
    in a review, or as a class of a version. A class keeps its place while any picture has it; a
    place whose class has gone, such as a name mistyped and taken back, is given to the next new
    one only where none has come after it.

    known: names that were given at the start. classes_of: of a version, by its number; may raise
    LookupError and UserError.
    """

    def __init__(
        self, log: Path, known: Sequence[str], classes_of: Callable[[int], Sequence[str]]
    ) -> None:
        self._known, self._classes_of = list(dict.fromkeys(known)), classes_of
        self._log, self._lock = EventLog(log), threading.Lock()
        self._last = 0
        self._places = {name: place for place, name in enumerate(self._known)}
        self._versions: set[str] = set()  # their classes
        self._given: dict[tuple[object, object], list[tuple[int, str]]] = {}  # by picture
        self._undone: set[int] = set()

    def __call__(self) -> list[tuple[str, int]]:
        """Names and places, 0 for the first key, in order."""
        with self._lock:
            for event in list(self._log.events(LABEL, UNDO, REVIEW, ADDED, after=self._last)):
                self._note(event)
                self._last = event.number
            used = self._used()
            keys = [(name, place) for name, place in self._places.items() if name in used]
        return sorted(keys, key=lambda item: item[1])

    def close(self) -> None:
        """Let go of the log."""
        with self._lock:
            self._log.close()

    def _note(self, event: Event) -> None:
        facts = event.facts
        if event.kind == UNDO:
            self._undone.add(facts["label"])
        elif event.kind == ADDED:
            self._add_version(facts["number"])
        elif event.kind == REVIEW:  # the last one counts; one without a label takes back
            self._given[REVIEW, facts["answer"]] = [(event.number, facts["label"])]
            self._place(facts["label"])
        else:
            picture = (facts.get("pool", ""), facts["picture"])
            self._given.setdefault(picture, []).append((event.number, facts["label"]))
            self._place(facts["label"])

    def _add_version(self, number: int) -> None:
        try:
            classes = self._classes_of(number)
        except (LookupError, UserError):  # damaged: the page Models says so
            return
        for name in classes:
            self._versions.add(name)
            self._place(name)

    def _place(self, name: str) -> None:
        if name in _NAMELESS or name in self._places:
            return
        used = self._used()
        place = 1 + max((self._places[each] for each in self._places if each in used), default=-1)
        self._places = {each: at for each, at in self._places.items() if at < place}
        self._places[name] = place

    def _used(self) -> set[str]:
        counting = (
            next((name for number, name in reversed(given) if number not in self._undone), "")
            for given in self._given.values()
        )
        return {*self._known, *self._versions, *counting}
