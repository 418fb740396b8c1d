"""What programs ask a station over HTTP."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.station.answer_rows import PROGRAM, Source
from cvgssl.station.answering import Answering, Loaded, SentPicture
from cvgssl.station.answers import Answers
from cvgssl.station.config import StationConfig
from cvgssl.station.counters import Counters
from cvgssl.station.gathering import BusyError
from cvgssl.station.guard import RefusedError
from cvgssl.station.lines import write_line
from cvgssl.station.openapi import document
from cvgssl.station.streams import ProgramStream

LOGGED = "logged"  # of a request's state: its line is written
_LOADING = 5  # seconds after which a version that is being loaded may be asked for again
_LONGEST_NAME = 200  # characters of a client's name for a picture


class Routes:
    """The answers to requests, with a line in the log for each.

    programs: compares what programs ask the live version with what they asked before.
    """

    def __init__(self, answering: Answering, answers: Answers, programs: ProgramStream) -> None:
        self._answering, self._config = answering, answering.config
        self._answers, self._programs = answers, programs
        self._counters = Counters(answering)
        self._document = document()
        self.ending = False

    def routes(self) -> list[Route]:
        """What programs ask."""
        return [
            Route("/v1/predict", self.logged("/v1/predict", self._predict), methods=["POST"]),
            Route("/v1/models", self.logged("/v1/models", self._models)),
            Route("/health", self._health),
            Route("/ready", self._ready),
            Route("/metrics", self._metrics),
            Route("/openapi.json", self._openapi),
        ]

    async def _predict(self, request: Request, about: dict[str, Any]) -> Response:
        loaded = await self._meant(request)
        if loaded is self._answering.live:
            loaded = self._programs.asked(loaded)
        about["version"] = loaded.version.number
        pictures = await self._pictures(request)
        answers = await self.answer(pictures, loaded, PROGRAM, PROGRAM)
        about["pictures"] = [
            {name: answer[name] for name in ("sha256", "answer", "probability") if name in answer}
            for answer in answers
        ]
        if all("error" in answer for answer in answers):
            raise HTTPException(422, f"no picture could be read: {answers[0]['error']}")
        return JSONResponse({"version": loaded.version.number, "pictures": answers})

    async def answer(
        self, pictures: Sequence[SentPicture], loaded: Loaded, source: Source, who: str
    ) -> list[dict[str, Any]]:
        """What a version says of pictures, counted; raises HTTPException where busy.

        Answers are kept soon after; a kill loses those of the last moment.
        """
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                answers = await self._answering.answer(pictures, loaded)
            seconds = time.monotonic() - begun
            await run_in_threadpool(self._keep, pictures, answers, loaded, source, who, seconds)
        except BusyError as busy:
            raise _busy("as many pictures wait as may", busy.retry_after) from busy
        except (TimeoutError, MachineError) as error:
            raise _busy("the machine is short of time, memory or disk", 1) from error
        self._counters.count(answers)
        return answers

    def _keep(
        self,
        pictures: Sequence[SentPicture],
        answers: Sequence[dict[str, Any]],
        loaded: Loaded,
        source: Source,
        who: str,
        seconds: float,
    ) -> None:
        version, ms = loaded.version.number, round(1000 * seconds, 1)
        for picture, answer in zip(pictures, answers, strict=True):
            if "error" not in answer:
                self._answers.keep(
                    answer, picture.data, version=version, source=source, who=who, ms=ms
                )

    async def _meant(self, request: Request) -> Loaded:
        """The version that a request names, or the live one."""
        text = request.query_params.get("version")
        if text is None:
            if self._answering.live is None:
                raise HTTPException(503, self._answering.problem)
            return self._answering.live
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise HTTPException(400, "version: must be a number")
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                return await self._answering.loaded(int(text))
        except TimeoutError as error:
            raise _busy(f"version {int(text)} is being loaded", _LOADING) from error
        except LookupError as error:
            raise HTTPException(404, f"version {int(text)}: there is none") from error
        except UserError as error:
            write_line(level="error", message=one_line(error))
            raise HTTPException(503, f"version {int(text)}: cannot be used; see the log") from error

    async def _pictures(self, request: Request) -> list[SentPicture]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            pictures = await uploaded(request, self._config)
        elif kind == "application/octet-stream" or kind.startswith("image/"):
            pictures = [SentPicture("", await request.body())]
        else:
            raise HTTPException(
                415, "Content-Type: must be image/..., application/octet-stream or a form"
            )
        # an empty one among others costs only its own answer
        if not any(picture.data for picture in pictures):
            raise HTTPException(400, "no picture, or an empty one")
        return pictures

    async def _models(self, request: Request, about: dict[str, Any]) -> Response:  # noqa: ARG002
        live = self._answering.live
        versions = await run_in_threadpool(self._answering.versions)
        return JSONResponse(
            {
                "models": [
                    {
                        "version": version.number,
                        "sha256": version.sha256,
                        "name": PurePosixPath(version.name).name,
                        "added": version.at,
                        "live": live is not None and live.version.number == version.number,
                    }
                    for version in versions
                ]
            }
        )

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _ready(self, _: Request) -> Response:
        if self.ending:
            return JSONResponse({"status": "ending"}, 503)
        if self._answering.live is None:
            return JSONResponse({"status": self._answering.problem}, 503)
        return JSONResponse({"status": "ready"})

    async def _metrics(self, _: Request) -> Response:
        text, kind = self._counters.text()
        return Response(text, media_type=kind)

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(self._document)

    def logged(
        self,
        path: str,
        answer: Callable[[Request, dict[str, Any]], Awaitable[Response]],
        quiet: bool = False,
    ) -> Callable[[Request], Awaitable[Response]]:
        """Count each request under `path`, and write a line of JSON, whatever becomes of it.

        quiet: a line only of those that are refused or fail.
        """

        async def logged(request: Request) -> Response:
            about: dict[str, Any] = {}
            setattr(request.state, LOGGED, True)
            begun, status = time.monotonic(), 500
            try:
                response = await answer(request, about)
                status = response.status_code
                return response
            except (HTTPException, RefusedError) as error:
                status = error.status_code if isinstance(error, HTTPException) else error.status
                raise
            except ClientDisconnect:
                status = 499  # as nginx calls it; nobody reads the answer
                return Response(status_code=400)
            finally:
                seconds = time.monotonic() - begun
                self._counters.request(path, status, seconds)
                if not quiet or status >= 400:
                    write_line(
                        client=request.client.host if request.client else "",
                        path=request.url.path,
                        status=status,
                        ms=round(1000 * seconds, 1),
                        **about,
                    )

        return logged


async def uploaded(request: Request, config: StationConfig) -> list[SentPicture]:
    """The files of a form; raises HTTPException for what is none."""
    try:
        form = await request.form(
            max_files=config.queue, max_fields=0, max_part_size=config.max_megabytes * 10**6
        )
    except MultiPartException as error:
        raise HTTPException(400, f"no form: {error.message}") from error
    except HTTPException as error:  # what starlette makes of the same
        status = 413 if "Too many" in error.detail else 400
        raise HTTPException(status, f"no form: {error.detail}") from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        return [SentPicture(_own_name(file.filename), await file.read()) for file in files]
    finally:
        await form.close()  # large files are on the disk meanwhile


def _own_name(name: str | None) -> str:
    """A client's name for a picture, without folders and of few characters, for its answer."""
    return (name or "").replace("\\", "/").rpartition("/")[2][:_LONGEST_NAME]


def _busy(message: str, seconds: int) -> HTTPException:
    return HTTPException(503, message, {"Retry-After": str(seconds)})
