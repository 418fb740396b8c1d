"""Replay: a past answer, computed again by the version that gave it."""

from pathlib import PurePosixPath
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from cvgssl.recognizer.golden import TOLERANCE
from cvgssl.station.events import EventLog
from cvgssl.station.gathering import BusyError
from cvgssl.station.models import Models
from cvgssl.station.pages.explaining import Explaining
from cvgssl.station.pages.shell import Shell
from cvgssl.station.people import Person
from cvgssl.station.replay import Replayed, replay

_LABELS = 500  # of then that are listed


class ReplayPage:
    """One past answer."""

    def __init__(self, shell: Shell, explaining: Explaining) -> None:
        self._shell, self._explaining, self._answers = shell, explaining, explaining.answers

    def routes(self) -> list[BaseRoute]:
        """What the page asks for."""
        shell = self._shell
        return [
            shell.page("/replay/{number:number}", self._page),
            shell.data("/replay/{number:number}/again", self._again),
        ]

    async def _page(self, request: Request, person: Person) -> Response:
        answer = await run_in_threadpool(self._answers.get, request.path_params["number"])
        shown = await run_in_threadpool(self._explaining.shown, answer)
        return self._shell.render(
            request, "replay.html", person, answer=shown, tolerance=f"{TOLERANCE:g}"
        )

    async def _again(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        try:
            facts = await run_in_threadpool(self._replayed, request.path_params["number"])
            facts["reason"] = self._shell.said(request, facts["reason"])
            return JSONResponse(facts)
        except BusyError as busy:
            again = {"Retry-After": str(busy.retry_after)}
            raise HTTPException(503, "as many pictures wait as may", again) from busy

    def _replayed(self, number: int) -> dict[str, Any]:
        folder = self._shell.config.folder
        log = EventLog(self._answers.log)
        try:
            ask = self._explaining.evidence.predict
            return _shown(replay(number, self._answers, Models(folder, log), ask))
        finally:
            log.close()


def _shown(replayed: Replayed) -> dict[str, Any]:
    known, again = replayed.about, replayed.again
    before = replayed.answer.probabilities
    facts: dict[str, Any] = {
        "version": replayed.version.number,
        "name": PurePosixPath(replayed.version.name).name,
        "added": replayed.version.at,
        "sha256": replayed.version.sha256,
        "whole": replayed.is_whole,
        "reason": replayed.reason,
        "again": None,
        "labels": [],
        "labelled": 0,
        "counts": {},
    }
    if known is not None:
        facts["labels"] = known.labels[:_LABELS]
        facts["labelled"] = len(known.labels)
        facts["counts"] = known.label_counts
    if again is not None:
        now = again.prediction
        rows = [[name, before.get(name), share] for name, share in now.ranked()]
        facts["again"] = {
            "answer": now.answer,
            "class": now.predicted_class,
            "probability": now.probability,
            "difference": again.difference,
            "same": again.same,
            "same_answer": again.same_answer,
            "rows": rows,
        }
    return facts
