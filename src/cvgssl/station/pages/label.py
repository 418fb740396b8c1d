"""Label: the pictures that teach most, and what the labels say so far."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from cvgssl.images.assemble import normal
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file
from cvgssl.runtime.parsing import one_line
from cvgssl.station.class_keys import ClassKeys
from cvgssl.station.current_labelling import CurrentLabelling
from cvgssl.station.fitting import Fitting
from cvgssl.station.labelling import Labelling
from cvgssl.station.labels import Label, LabelConflictError, NewLabel
from cvgssl.station.pages.shell import Shell, json_object
from cvgssl.station.people import Person
from cvgssl.station.pool import Pool, id_of

_LOOK = 0.05  # seconds between looks whether it is there
_WAIT = 2.0  # seconds that a browser waits for what follows from its label


class LabelPage:
    """One picture after the other, for each person another."""

    def __init__(
        self,
        shell: Shell,
        pool: Pool,
        engine: CurrentLabelling,
        fitting: Fitting,
        keys: ClassKeys,
    ) -> None:
        self._shell, self._pool, self._fitting = shell, pool, fitting
        self._labelling, self._keys = engine, keys

    def routes(self) -> list[BaseRoute]:
        """What the page asks for."""
        shell = self._shell
        return [
            shell.page("/label", self._page),
            shell.data("/label/state", self._later_state),
            shell.data("/label/picture", self._threaded(self._picture)),
            shell.action("/label/next", self._threaded(self._next)),  # it is this person's then
            shell.data("/label/points", self._threaded(self._points)),
            shell.action("/label/give", self._threaded(self._give)),
            shell.action("/label/skip", self._threaded(self._skip)),
            shell.action("/label/undo", self._threaded(self._undo)),
            shell.action("/label/redo", self._threaded(self._redo)),
            shell.action("/label/fit", self._threaded(self._fit)),
        ]

    async def _page(self, request: Request, person: Person) -> Response:
        ready = await run_in_threadpool(self._is_ready)
        keys = await run_in_threadpool(self._keys)
        return self._shell.render(request, "label.html", person, ready=ready, keys=keys)

    def _is_ready(self) -> bool:
        with self._labelling.use() as engine:
            return engine is not None

    def _threaded(
        self, work: Callable[[Labelling, str, dict[str, Any]], dict[str, Any]]
    ) -> Callable[[Request, Person], Any]:
        """A view of what takes time: gets the engine, the name, and the JSON or the query."""

        async def view(request: Request, person: Person) -> Response:
            facts: dict[str, Any] = dict(request.query_params)
            if request.method == "POST":
                facts = await json_object(request)
            return JSONResponse(await run_in_threadpool(self._with_engine, work, person, facts))

        return view

    def _with_engine(
        self,
        work: Callable[[Labelling, str, dict[str, Any]], dict[str, Any]],
        person: Person,
        facts: dict[str, Any],
    ) -> dict[str, Any]:
        with self._labelling.use() as engine:
            if engine is None:
                raise UserError("there are no embeddings yet; begin with the page Start")
            try:
                return work(engine, person.name, facts)
            except LabelConflictError as error:
                raise HTTPException(409, str(error)) from error

    async def _later_state(self, request: Request, person: Person) -> Response:
        """The state once it includes the label `after`; many may wait, so no thread does."""
        after = request.query_params.get("after", "0")
        wanted = int(after) if after.isascii() and after.isdigit() and len(after) < 16 else 0
        until = time.monotonic() + _WAIT
        while time.monotonic() < until:
            engine = self._labelling.newest
            if engine is None or engine.includes(wanted):
                break
            await asyncio.sleep(_LOOK)
        return cast("Response", await self._threaded(self._state)(request, person))

    def _state(self, engine: Labelling, who: str, facts: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        state = asdict(engine.state)
        job = self._fitting.last()
        fit = None
        if job is not None and (job.state != "done" or self._fitting.waits(job)):
            fit = {"state": job.state, "message": job.message}
        learned = self._fitting.learned(engine.labels)
        live = self._fitting.live(learned)
        return state | {
            "last": engine.labels.last,
            "learned": Counter(each.label for each in learned),
            "reviewed": self._fitting.from_reviews(learned),
            "fit": fit,
            "live": None if live is None else asdict(live),
        }

    def _next(self, engine: Labelling, who: str, facts: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        while (asked := engine.ask(who)) is not None:
            try:
                return {"picture": self._shown(engine, asked.picture)}
            except LookupError as error:  # its file has vanished
                if _is_empty(self._pool.folder_of(engine.labels.pool)):
                    message = "the folder of these pictures cannot be reached; is it mounted?"
                    raise HTTPException(503, message) from error
                engine.gone(asked.picture)
        return {"picture": None, "preparing": engine.state.preparing, "open": engine.state.open}

    def _picture(self, engine: Labelling, who: str, facts: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """One that is looked at again."""
        return {"picture": self._shown(engine, str(facts.get("name")))}

    def _points(self, engine: Labelling, who: str, facts: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        points = engine.points()
        if points is None:
            return {"ready": False}
        return {name: value for name, value in points.items() if name != "names"} | {"ready": True}

    def _give(self, engine: Labelling, who: str, facts: dict[str, Any]) -> dict[str, Any]:
        picture, label, box, replaces = (
            facts.get(name) for name in ("picture", "label", "box", "replaces")
        )
        if not (isinstance(picture, str) and isinstance(label, str) and normal(label)):
            raise UserError("picture and label must be texts")
        if not (box is None or (isinstance(box, list) and all(map(_is_share, box)))):
            raise UserError("box must be four numbers from 0 to 1, or null")
        if not (replaces is None or (isinstance(replaces, int) and abs(replaces) < 2**53)):
            raise UserError("replaces must be the number of a label, or null")
        self._check_pool(engine, facts)
        sha256 = self._digest(engine, picture)
        if facts.get("sha256") != sha256:  # the label is of the picture that was on the screen
            raise HTTPException(409, f"{one_line(picture)}: is another picture than was shown")
        corners = None if box is None else tuple(box)
        given = engine.label(NewLabel(picture, sha256, label, corners, replaces), who)
        return {"number": given.number, "label": given.label}

    def _skip(self, engine: Labelling, who: str, facts: dict[str, Any]) -> dict[str, Any]:
        self._check_pool(engine, facts)
        engine.skip(who, str(facts.get("picture")))
        return {}

    def _undo(self, engine: Labelling, who: str, facts: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return self._taken(engine, engine.undo(who))

    def _redo(self, engine: Labelling, who: str, facts: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return self._taken(engine, engine.redo(who))

    def _fit(self, engine: Labelling, who: str, facts: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return {"job": self._fitting.ask(engine.labels, who)}

    def _taken(self, engine: Labelling, label: Label | None) -> dict[str, Any]:
        return {"picture": None if label is None else self._shown(engine, label.picture)}

    def _shown(self, engine: Labelling, picture: str) -> dict[str, Any]:
        """What the page needs of a picture: its likely classes, and the label that counts."""
        likely = engine.likely(picture)
        digest = self._digest(engine, picture)
        now = engine.labels.current(picture)
        return {
            "picture": picture,
            "pool": id_of(engine.labels.pool),
            "sha256": digest,
            "likely": likely,
            "keys": self._keys(),
            "called": self._pool.called(picture),
            "replaces": None if now is None else now.number,
            "label": None if now is None else now.label,
            "box": None if now is None else now.box,
        }

    def _digest(self, engine: Labelling, picture: str) -> str:
        """SHA-256 of a picture's file now; raises LookupError where there is none."""
        try:
            return sha256_file(self._pool.path(picture, engine.labels.pool))
        except FileNotFoundError as error:
            raise LookupError(picture) from error

    def _check_pool(self, engine: Labelling, facts: dict[str, Any]) -> None:
        if facts.get("pool") != id_of(engine.labels.pool):
            raise HTTPException(409, "another folder was chosen meanwhile")


def _is_empty(folder: Path) -> bool:
    """Whether nothing is in a folder, such as where nothing is mounted."""
    try:
        return next(folder.iterdir(), None) is None
    except OSError:
        return True


def _is_share(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool)
