"""Review: one answer after the other, right or wrong by a key, and how often answers are right."""

from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from cvgssl.runtime.errors import UserError
from cvgssl.station.class_keys import ClassKeys
from cvgssl.station.current_labelling import CurrentLabelling
from cvgssl.station.judging import verdict
from cvgssl.station.pages.explaining import Explaining, review_shown
from cvgssl.station.pages.shell import Shell, json_object, number_of
from cvgssl.station.people import Person
from cvgssl.station.review import ConflictError
from cvgssl.station.review_queue import COUNTED, KINDS

_SUSPECTS = 5  # labels that are shown
_AHEAD = 3  # answers that a page is given at once


class ReviewPage:
    """The queue, and what was said."""

    def __init__(
        self,
        shell: Shell,
        explaining: Explaining,
        labelling: CurrentLabelling,
        keys: ClassKeys,
    ) -> None:
        self._shell, self._explaining = shell, explaining
        self._answers, self._reviews = explaining.answers, explaining.reviews
        self._labelling, self._keys = labelling, keys

    def routes(self) -> list[BaseRoute]:
        """What the page asks for."""
        shell = self._shell
        return [
            shell.page("/review", self._page),
            shell.action("/review/next", self._next),  # it is this person's then
            shell.data("/review/figures", self._figures),
            shell.data("/review/suspects", self._suspects),
            shell.action("/review/give", self._give, reviewer=True),
            shell.action("/review/skip", self._skip, reviewer=True),
            shell.action("/review/undo", self._undo, reviewer=True),
        ]

    async def _page(self, request: Request, person: Person) -> Response:
        share = self._reviews.share
        return self._shell.render(request, "review.html", person, share=share)

    async def _next(self, request: Request, person: Person) -> Response:
        kind = request.query_params.get("kind") or ""
        if kind and kind not in KINDS:
            raise UserError(f"kind: one of {', '.join(KINDS)}")
        return JSONResponse(await run_in_threadpool(self._given, person, kind))

    def _given(self, person: Person, kind: str) -> dict[str, Any]:
        if not person.may_review:
            return {"answers": [], "keys": []}
        kinds = (kind,) if kind else KINDS
        given = self._reviews.next(person.name, _AHEAD, kinds)
        return {"answers": [self._explaining.shown(each) for each in given], "keys": self._keys()}

    async def _figures(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        return JSONResponse(await run_in_threadpool(self._counted))

    def _counted(self) -> dict[str, Any]:
        shares = [asdict(each) | {"share": each.share} for each in self._reviews.shares()]
        return {"left": self._reviews.left(), "most": COUNTED, "shares": shares}

    async def _suspects(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        """Labels of the pool that the others contradict."""

        def found() -> list[dict[str, Any]]:
            with self._labelling.use() as engine:
                return [] if engine is None else list(engine.state.suspects[:_SUSPECTS])

        return JSONResponse({"suspects": await run_in_threadpool(found)})

    async def _give(self, request: Request, person: Person) -> Response:
        body = await json_object(request)
        number = number_of(body.get("number"))
        label, is_wrong = body.get("label") or "", body.get("wrong") is True
        if not isinstance(label, str):
            raise UserError("label must be a text")
        replaces = body.get("replaces")
        replaces = None if replaces is None else number_of(replaces)

        def give() -> dict[str, Any]:
            right = False if is_wrong else verdict(self._answers.get(number), label)
            review = self._reviews.review(number, person.name, right, label, replaces)
            return review_shown(review)

        try:
            return JSONResponse(await run_in_threadpool(give))
        except ConflictError as conflict:
            now = None if conflict.review is None else review_shown(conflict.review)
            who = conflict.review.who if conflict.review else ""
            return JSONResponse({"error": f"reviewed by {who} meanwhile", "review": now}, 409)

    async def _skip(self, request: Request, person: Person) -> Response:
        number = number_of((await json_object(request)).get("number"))
        await run_in_threadpool(self._reviews.skip, number, person.name)
        return JSONResponse({})

    async def _undo(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        undone = await run_in_threadpool(self._reviews.undo, person.name)
        if undone is None:
            return JSONResponse({"answer": None})
        answer = await run_in_threadpool(self._answers.get, undone.answer)
        return JSONResponse({"answer": self._explaining.shown(answer)})
