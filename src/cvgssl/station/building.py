"""The parts of a station, put together to one web application."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from cvgssl.station.answering import Answering
from cvgssl.station.answers import Answers
from cvgssl.station.approval import Approvals
from cvgssl.station.class_keys import ClassKeys
from cvgssl.station.comparison_jobs import ComparisonJobs
from cvgssl.station.config import StationConfig
from cvgssl.station.current_labelling import CurrentLabelling
from cvgssl.station.events import LOG
from cvgssl.station.fitting import Fitting
from cvgssl.station.guard import Guard
from cvgssl.station.jobs import Jobs
from cvgssl.station.lines import write_line
from cvgssl.station.pages.explaining import Explaining
from cvgssl.station.pages.label import LabelPage
from cvgssl.station.pages.models import ModelsPage
from cvgssl.station.pages.recognize import RecognizePage
from cvgssl.station.pages.replay import ReplayPage
from cvgssl.station.pages.review import ReviewPage
from cvgssl.station.pages.shell import Shell
from cvgssl.station.pages.start import StartPage
from cvgssl.station.pages.version_comparison import VersionComparison
from cvgssl.station.pages.watch import WatchPage
from cvgssl.station.people import People
from cvgssl.station.picture_store import PictureStore
from cvgssl.station.pool import Pool
from cvgssl.station.review import Reviews
from cvgssl.station.routes import LOGGED, Routes
from cvgssl.station.watching import Watching

_SIGNED_IN = 12 * 3600  # seconds


Failure = Callable[[Request, HTTPException], Awaitable[Response]]


class StationPage(Protocol):
    """A page, with what its scripts ask for."""

    def routes(self) -> list[BaseRoute]:
        """For the application."""


class Station:
    """routes: for programs. app: with the pages, where there are any."""

    def __init__(
        self, config: StationConfig, people: People, answering: Answering, key: str
    ) -> None:
        """key: of `session_key`. Raises UserError for what is wrong with the folder."""
        self._config, self._answering = config, answering
        self._to_close: list[Callable[[], object]] = []
        store = PictureStore(config.folder, int(config.keep_gigabytes * 10**9))
        answers = Answers(config.folder / LOG, store)
        self._to_close += [store.close, answers.close]
        self._watching = Watching(config, config, answering, answers)
        self._to_close.append(self._watching.close)
        self.routes = Routes(answering, answers, self._watching.programs)
        routes: list[BaseRoute] = [*self.routes.routes()]
        middleware = [Middleware(Guard, config=config, people=people)]
        failure: Failure = _failure
        if not config.headless:
            shell = Shell(config, people, self.routes.logged)
            routes += [*shell.routes(), *self._pages(shell, answers)]
            middleware.append(
                Middleware(
                    SessionMiddleware,
                    secret_key=key,
                    # browsers keep cookies by host, whatever the port: stations differ by name
                    session_cookie=f"cvgssl-{hashlib.sha256(key.encode()).hexdigest()[:8]}",
                    max_age=_SIGNED_IN,
                    same_site="strict",
                )
            )
            failure = shell.failure
        errors: dict[Any, Any] = {HTTPException: _with_line(failure), Exception: _crashed}
        self._watching.begin()
        self.app = Starlette(routes=routes, middleware=middleware, exception_handlers=errors)

    def close(self) -> None:
        """End what works in the background."""
        for end in reversed(self._to_close):
            end()

    def _pages(self, shell: Shell, answers: Answers) -> list[BaseRoute]:
        config, answering = self._config, self._answering
        log = config.folder / LOG
        pool = Pool(config.folder, config.pictures, log, config.max_megapixels)
        jobs = Jobs(config.folder, log)
        reviews = Reviews(config.folder, log, answers, config.review_share)
        labelling = CurrentLabelling(pool, log)
        fitting = Fitting(config, pool, reviews, jobs, answering)
        approvals = Approvals(config.folder, log, config.two_people, answering.load, answering.use)
        explaining = Explaining(answering, answers, reviews)
        keys = ClassKeys(log, config.classes, lambda of: explaining.about_number(of).classes)
        comparisons = ComparisonJobs(config, jobs, answers, pool.chosen)
        models = ModelsPage(shell, explaining, jobs, approvals)
        self._to_close += [pool.close, reviews.close, approvals.close, models.close]
        self._to_close += [labelling.close, jobs.close, keys.close]
        pages: list[StationPage] = [
            StartPage(shell, config, pool, jobs),
            LabelPage(shell, pool, labelling, fitting, keys),
            RecognizePage(shell, self.routes, explaining, pool),
            ReviewPage(shell, explaining, labelling, keys),
            models,
            VersionComparison(shell, explaining, comparisons, labelling),
            ReplayPage(shell, explaining),
            WatchPage(shell, self._watching, reviews, answering, keys),
        ]
        jobs.begin()
        return [route for page in pages for route in page.routes()]


def _with_line(failure: Failure) -> Failure:
    """The same with a line in the log for requests that no page has written one for."""

    async def logged(request: Request, error: HTTPException) -> Response:
        if not hasattr(request.state, LOGGED):
            client = request.client.host if request.client else ""
            path, status = request.url.path, error.status_code
            write_line(client=client, path=path, status=status, refused=error.detail)
        return await failure(request, error)

    return logged


async def _failure(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _crashed(_: Request, error: Exception) -> Response:  # noqa: ARG001
    """Of a fault of this program; what it was goes to the log, not to the client."""
    return JSONResponse({"error": "a fault of the station; see its log"}, 500)
