"""Start: which pictures, what is wrong with them, and their embeddings."""

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute

from cvgssl.images.names import is_utf8
from cvgssl.images.reader import UnreadablePicture
from cvgssl.runtime.errors import UserError
from cvgssl.station.config import StationConfig
from cvgssl.station.jobs import Jobs
from cvgssl.station.pages.explaining import job_shown
from cvgssl.station.pages.shell import Shell, json_object
from cvgssl.station.people import Person
from cvgssl.station.pool import Pool
from cvgssl.station.routes import uploaded

CHECK, EMBED = "check", "embed"
_SIDES = (160, 1280)  # pixels of thumbnails and of large pictures
_CACHED = {"cache-control": "private, max-age=3600"}


class StartPage:
    """The folder, its check, its embeddings; pictures of the pool for all pages."""

    def __init__(self, shell: Shell, config: StationConfig, pool: Pool, jobs: Jobs) -> None:
        self._shell, self._config, self._pool, self._jobs = shell, config, pool, jobs

    def routes(self) -> list[BaseRoute]:
        """What the page asks for."""
        shell = self._shell
        return [
            shell.page("/start", self._page),
            shell.data("/start/state", self._state),
            shell.action("/start/choose", self._choose, reviewer=True),  # for all
            shell.action("/start/upload", self._upload),
            shell.action("/start/cancel", self._cancel, reviewer=True),
            shell.data("/pool/{side:number}/{name:path}", self._picture),
            shell.data("/start/embeddings.npz", self._features),
        ]

    async def _page(self, request: Request, person: Person) -> Response:
        choices = await run_in_threadpool(self._pool.choices)
        chosen = await run_in_threadpool(self._pool.chosen)
        current = next((each.name for each in choices if each.folder == chosen), None)
        return self._shell.render(
            request,
            "start.html",
            person,
            choices=choices,
            current=current,
            most_bytes=self._config.max_megabytes * 10**6,
            most_files=self._config.queue,
        )

    async def _state(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        return JSONResponse(await run_in_threadpool(self._facts))

    def _facts(self) -> dict[str, Any]:
        folder = str(self._pool.chosen())
        jobs = {
            job.task: job
            for job in self._jobs.jobs()
            if job.task in (CHECK, EMBED) and folder in job.words
        }
        check = jobs.get(CHECK)
        findings = None
        if check is not None and check.state == "done" and self._pool.check.is_file():
            findings = json.loads(self._pool.check.read_text(encoding="utf-8"))
        embed = jobs.get(EMBED)
        done = embed is None or embed.state == "done"  # none: the station was at another place
        return {
            "chosen": self._pool.chosen() is not None,
            "jobs": {task: job_shown(job) for task, job in jobs.items()},
            "findings": findings,
            "ready": done and self._pool.features.is_file(),
        }

    async def _choose(self, request: Request, person: Person) -> Response:
        folder = str((await json_object(request)).get("folder", ""))
        await run_in_threadpool(self._begin, folder, person.name)
        return JSONResponse({})

    def _begin(self, name: str, who: str) -> None:
        folder = self._pool.choose(name, who)
        limit = ["--max-megapixels", str(self._config.max_megapixels)]
        self._pool.check.parent.mkdir(parents=True, exist_ok=True)
        check = ["data", "check", folder, "--json", self._pool.check]
        self._jobs.ask(CHECK, [*map(str, check), *limit], who)
        embed = ["embed", folder, "--class-folders", "false", "--out", self._pool.features]
        embed += [
            "--encoder",
            *self._config.encoder,
            "--runtime",
            self._config.runtime,
            "--skip-corrupt",
            "true",
        ]
        self._jobs.ask(EMBED, [*map(str, embed), *limit], who)

    async def _upload(self, request: Request, person: Person) -> Response:
        kept, refused = 0, []
        for picture in await uploaded(request, self._config):
            name = picture.name if is_utf8(picture.name) else ""
            try:
                await run_in_threadpool(self._pool.upload, picture.data, name, person.name)
                kept += 1
            except UnreadablePicture as error:
                refused.append(
                    {"name": picture.name, "reason": self._shell.said(request, error.reason)}
                )
        return JSONResponse({"kept": kept, "refused": refused}, 200 if kept else 422)

    async def _cancel(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        for job in await run_in_threadpool(self._jobs.jobs):
            if job.task in (CHECK, EMBED) and not job.is_over:
                await run_in_threadpool(self._jobs.cancel, job.number)
        return JSONResponse({})

    async def _picture(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        side, name = request.path_params["side"], request.path_params["name"]
        if side not in _SIDES:
            raise LookupError(side)
        path = await run_in_threadpool(self._pool.path, name)
        try:
            data = await run_in_threadpool(self._pool.shown, path, side)
        except UnreadablePicture as error:
            raise UserError(error.reason) from error
        return Response(data, media_type="image/jpeg", headers=_CACHED)

    async def _features(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        if not self._pool.features.is_file():
            raise LookupError("embeddings")
        return FileResponse(self._pool.features, filename=self._pool.features.name)
