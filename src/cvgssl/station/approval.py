"""Changes of the live version that a second person has to approve, where that is asked for."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cvgssl.runtime.errors import UserError
from cvgssl.station.events import Event, EventLog
from cvgssl.station.models import LIVE, Models

PROPOSAL, APPROVAL = "proposal", "approval"


@dataclass(frozen=True)
class Proposal:
    """A version that somebody wants to be live.

    number: of its row. replaces: the version that was live then, 0 for none. approved: None while
    it is open. by: who decided, "" while it is open.
    """

    number: int
    at: str
    who: str
    version: int
    replaces: int
    approved: bool | None = None
    by: str = ""


class Approvals:
    """Who may make which version live; for any number of threads.

    Parameters
    ----------
    folder, log : Path
        Of the station.
    two_people : bool
        Whether one proposes and another one approves; otherwise whoever proposes goes live.
    load, use : callable
        Of `Answering`: load a version by number, which raises UserError where it cannot be used,
        and have it answer.
    """

    def __init__(
        self,
        folder: Path,
        log: Path,
        two_people: bool,
        load: Callable[[int], object],
        use: Callable[[int], object],
    ) -> None:
        self.two_people, self._load, self._use = two_people, load, use
        self._log, self._lock = EventLog(log), threading.Lock()
        self._models = Models(folder, self._log)

    def propose(self, version: int, who: str) -> Proposal | None:
        """Ask for a version to be live; without a second person it is at once: None.

        Asked for again by the same person, the proposal that is open is given.
        Raises UserError where there is none of that number, or where it cannot be used.
        """
        with self._lock:
            self._load(self._models.version(version).number)
            if not self.two_people:
                with self._log.alone():
                    self._models.go_live(version, who)
                self._use(version)
                return None
            with self._log.alone():
                live = self._live()
                if live == version:
                    raise UserError(f"version {version}: is live already")
                for proposal in self._proposals():
                    if proposal.approved is None and (proposal.version, proposal.who) == (
                        version,
                        who,
                    ):
                        return proposal
                return _proposal(self._log.append(PROPOSAL, who, version=version, replaces=live))

    def decide(self, number: int, who: str, approve: bool) -> Proposal:
        """Approve a proposal, which makes its version live, or decline it.

        Whoever proposed it may decline it, too. Raises LookupError where there is none of that
        number, UserError where it is decided, where the same person approves, and where another
        version has gone live since, which the proposal knew nothing of.
        """
        with self._lock:
            meant = self._of(number)
            if approve:
                self._load(meant.version)
            with self._log.alone():
                meant = self._of(number)  # as it is now
                if meant.approved is not None:
                    raise UserError(f"proposal {number}: {meant.by} has decided it")
                if approve:
                    if meant.who == who:
                        raise UserError("a second person has to approve it")
                    # also where the same one is live again: it is not what was looked at then
                    if self._live() != meant.replaces or self._was_changed_since(number):
                        raise UserError(
                            f"proposal {number}: version {self._live()} has gone live since; "
                            "propose it again"
                        )
                self._log.append(APPROVAL, who, proposal=number, approved=approve)
                if approve:  # with it, so that a kill leaves both or neither
                    self._models.go_live(meant.version, who)
            if approve:
                self._use(meant.version)
            return self._of(number)

    def open(self) -> list[Proposal]:
        """Those that nobody has decided."""
        with self._lock:
            return [proposal for proposal in self._proposals() if proposal.approved is None]

    def all(self) -> list[Proposal]:
        """In the order in which they were made."""
        with self._lock:
            return self._proposals()

    def close(self) -> None:
        """Let go of the log."""
        with self._lock:
            self._log.close()

    def _live(self) -> int:
        live = self._models.live()
        return live.number if live else 0

    def _was_changed_since(self, number: int) -> bool:
        return next(self._log.events(LIVE, after=number), None) is not None

    def _of(self, number: int) -> Proposal:
        for proposal in self._proposals():
            if proposal.number == number:
                return proposal
        raise LookupError(f"proposal {number}: there is none")

    def _proposals(self) -> list[Proposal]:
        decided = {event.facts["proposal"]: event for event in self._log.events(APPROVAL)}
        return [_proposal(event, decided.get(event.number)) for event in self._log.events(PROPOSAL)]


def _proposal(event: Event, decided: Event | None = None) -> Proposal:
    facts = event.facts
    return Proposal(
        event.number,
        event.at,
        event.who,
        facts["version"],
        facts["replaces"],
        decided.facts["approved"] if decided else None,
        decided.who if decided else "",
    )
