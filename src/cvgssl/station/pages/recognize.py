"""Recognize: pictures are brought, answers of all sources are listed, and what each rests on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute

from cvgssl.images.reader import UnreadablePicture
from cvgssl.runtime.errors import UserError
from cvgssl.station.answer_rows import PAGE, Judged, Wanted
from cvgssl.station.answering import Loaded
from cvgssl.station.answers import COUNTED
from cvgssl.station.pages.explaining import Explaining
from cvgssl.station.pages.shell import Shell, number_of
from cvgssl.station.people import Person
from cvgssl.station.pool import Pool
from cvgssl.station.routes import Routes, uploaded

_LISTED = 50
_SIDES = (160, 1280)  # pixels of thumbnails and of large pictures
_CACHED = {"cache-control": "private, max-age=3600"}
_TEXTS = ("since", "until", "answer", "source", "name")
_JUDGED = ("right", "wrong", "none")


class RecognizePage:
    """The list of answers, and their pictures for all pages."""

    def __init__(self, shell: Shell, routes: Routes, explaining: Explaining, pool: Pool) -> None:
        self._shell, self._routes, self._explaining, self._pool = shell, routes, explaining, pool
        self._answering, self._answers = explaining.answering, explaining.answers

    def routes(self) -> list[BaseRoute]:
        """What the page asks for."""
        shell = self._shell
        return [
            shell.page("/recognize", self._page),
            shell.action("/recognize/ask", self._ask),
            shell.data("/recognize/list", self._list),
            shell.data("/recognize/answers.csv", self._csv),
            shell.data("/answers/{number:number}", self._answer),
            shell.page("/replay", self._to_list),
            shell.data("/kept/{side:number}/{sha256}", self._picture),
        ]

    async def _page(self, request: Request, person: Person) -> Response:
        versions = await run_in_threadpool(self._answering.versions)
        live = self._answering.live
        return self._shell.render(
            request,
            "recognize.html",
            person,
            versions=[(each.number, PurePosixPath(each.name).name) for each in versions[::-1]],
            live=live.version.number if live else None,
            most_bytes=self._shell.config.max_megabytes * 10**6,
            most_files=self._shell.config.queue,
        )

    async def _to_list(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        """Replay is of one answer: the list has them all."""
        return RedirectResponse("/recognize", 303)

    async def _ask(self, request: Request, person: Person) -> Response:
        loaded = await self._meant(request.query_params.get("version"))
        pictures = await uploaded(request, self._shell.config)
        if not pictures:
            raise UserError("no picture was sent")
        rows = await self._routes.answer(pictures, loaded, PAGE, person.name)
        await run_in_threadpool(self._answers.settle)  # so that the list has them
        refused = [
            {"name": each["name"], "reason": self._shell.said(request, each["error"])}
            for each in rows
            if "error" in each
        ]
        kept = len(rows) - len(refused)
        return JSONResponse({"kept": kept, "refused": refused}, 200 if kept else 422)

    async def _meant(self, text: str | None) -> Loaded:
        if text:
            return await run_in_threadpool(self._answering.load, number_of(text))
        if self._answering.live is None:
            raise UserError("no recognizer is live yet")
        return self._answering.live

    async def _list(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        query = request.query_params
        before = number_of(query["before"]) if query.get("before") else None
        counted = query.get("counted") == "yes"
        return JSONResponse(await run_in_threadpool(self._found, wanted_of(query), before, counted))

    def _found(self, wanted: Wanted, before: int | None, counted: bool) -> dict[str, Any]:
        answers = self._answers.page(wanted, before, _LISTED)
        facts: dict[str, Any] = {
            "answers": [self._explaining.shown(each) for each in answers],
            "more": answers[-1].number if len(answers) == _LISTED else None,
        }
        if counted:
            # answers to choose from are those of the other filters
            every = self._answers.counts(replace(wanted, answer=None))
            counts = every if wanted.answer is None else self._answers.counts(wanted)
            facts |= {"counts": counts, "every": every, "most": COUNTED}
        return facts

    async def _csv(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        rows = self._answers.csv(wanted_of(request.query_params))
        name = {"content-disposition": 'attachment; filename="answers.csv"'}
        return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=name)

    async def _answer(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        number = request.path_params["number"]
        facts = await run_in_threadpool(self._explaining.explained, number)
        facts["reason"] = self._shell.said(request, facts["reason"])
        return JSONResponse(facts)

    async def _picture(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        side, sha256 = request.path_params["side"], request.path_params["sha256"]
        if side not in _SIDES:
            raise LookupError(side)
        data = await run_in_threadpool(self._jpeg, sha256, side)
        return Response(data, media_type="image/jpeg", headers=_CACHED)

    def _jpeg(self, sha256: str, side: int) -> bytes:
        path = self._answers.pictures.path(sha256) or self._explaining.reviews.copy_of(sha256)
        if path is None:
            raise LookupError(sha256)
        try:
            return self._pool.shown(path, side)
        except UnreadablePicture as error:
            raise UserError(error.reason) from error


def wanted_of(query: Mapping[str, str]) -> Wanted:
    """The answers that a query means; raises UserError."""
    texts = {name: query[name] for name in _TEXTS if query.get(name)}
    review = query.get("review") or None
    if review is not None and review not in _JUDGED:
        raise UserError(f"review: one of {', '.join(_JUDGED)}")
    version = number_of(query["version"]) if query.get("version") else None
    return Wanted(**texts, version=version, review=cast("Judged | None", review))
