"""What all pages have in common: who looks, the language, the template, the word against forgery.

A page is a class with `routes()`, made of `Shell.page` (GET), `Shell.data` (GET, for JavaScript)
and `Shell.action` (POST). Views are `async def view(request, person) -> Response`; what takes
time in them goes through `run_in_threadpool`.
"""

import errno
import sqlite3
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.station.config import StationConfig
from cvgssl.station.guard import POLICY
from cvgssl.station.lines import write_line
from cvgssl.station.pages.hidden_folders import HiddenFolders
from cvgssl.station.pages.translations import Words
from cvgssl.station.people import People, Person, csrf_token, is_own_form

View = Callable[[Request, Person], Awaitable[Response]]
Logged = Callable[..., Callable[[Request], Awaitable[Response]]]

NAMES = {
    "start": "Start", "label": "Label", "recognize": "Recognize", "review": "Review",
    "models": "Models", "watch": "Watch",
}  # fmt: skip
"""Pages of the menu, in order: the path's first part, and the name in English."""
LANGUAGES = {"en": "English", "zh": "中文"}
HEADER = "x-csrf-token"  # of actions asked by JavaScript; forms have a field `csrf`
SIGN_IN = "/sign-in"
_LANGUAGE = "language"
_PAGE_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HERE = files("cvgssl.station.pages")


class Shell:
    """Templates, words and checks.

    logged: `Routes.logged`.
    """

    def __init__(self, config: StationConfig, people: People, logged: Logged) -> None:
        self.config, self.people = config, people
        self._logged = logged
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("cvgssl.station.pages"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._hidden = HiddenFolders(config)
        self._templates.filters["percent"] = lambda share: f"{100 * share:.0f} %"

    def page(self, path: str, view: View) -> Route:
        """What a person looks at."""
        return self._route(path, view, "GET")

    data = page
    """What a page's JavaScript asks for; the same checks."""

    def action(self, path: str, view: View, reviewer: bool = False) -> Route:
        """What changes something, asked by a page of this station; reviewer: only they may."""
        return self._route(path, view, "POST", reviewer)

    def routes(self) -> list[BaseRoute]:
        """Signing in and out, the language, files that never change while the station runs."""
        return [
            Route("/", self._root),
            Route(SIGN_IN, self._logged(SIGN_IN, self._sign_in), methods=["GET", "POST"]),
            self.action("/sign-out", self._sign_out),
            self.action("/me", self._me),
            Mount("/static", StaticFiles(packages=[("cvgssl.station.pages", "static")])),
        ]

    def render(
        self, request: Request, name: str, person: Person | None, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """The page of a template; `t` in it gives a text in the language of the request."""
        language = self.language(request)
        words = Words(language)
        text = self._templates.get_template(name).render(
            t=words,
            language=language,
            languages=LANGUAGES,
            person=person,
            must_sign_in=self.people.sign_in,
            csrf=csrf_token(request.session),
            menu=NAMES,
            here=request.url.path.split("/")[1],
            path=request.url.path,
            words=words.all(),
            **values,
        )
        return HTMLResponse(text, status, {POLICY: _PAGE_POLICY})

    def language(self, request: Request) -> str:
        """The one that was chosen, else the first of the browser's that there is, else English."""
        wanted = [request.session.get(_LANGUAGE, "")]
        for each in request.headers.get("accept-language", "").split(","):
            wanted.append(each.strip()[:2].lower())
        return next((each for each in wanted if each in LANGUAGES), "en")

    def _route(self, path: str, view: View, method: str, reviewer: bool = False) -> Route:
        async def checked(request: Request, about: dict[str, Any]) -> Response:
            person = self.people.person(request.session)
            if person is None:
                if method == "GET" and "text/html" in request.headers.get("accept", ""):
                    return RedirectResponse(f"{SIGN_IN}?next={quote(request.url.path)}", 303)
                raise HTTPException(401, "sign in first")
            about["who"] = person.name
            if method == "POST":
                await self._check_form(request)
            if reviewer and not person.may_review:
                raise HTTPException(403, "only a reviewer may do this")
            try:
                return self._hidden.hide(await view(request, person))
            except LookupError as error:
                raise HTTPException(404, "there is no such thing here") from error
            except (MachineError, OSError) as error:
                raise _trouble(error) from error
            except UserError as error:
                raise HTTPException(422, self._hidden.without(one_line(error))) from error

        answer = self._logged(path, checked, quiet=method == "GET")
        return Route(path, answer, methods=[method])

    async def _check_form(self, request: Request) -> None:
        given = request.headers.get(HEADER, "")
        if not given and "form" in request.headers.get("content-type", ""):
            given = str((await request.form()).get("csrf", ""))
        if not is_own_form(request.session, given):
            raise HTTPException(403, "not sent by a page of this station; load the page again")

    async def _root(self, _: Request) -> Response:
        return RedirectResponse(f"/{next(iter(NAMES))}", 303)

    async def _sign_in(self, request: Request, about: dict[str, Any]) -> Response:
        after = request.query_params.get("next", "/")
        # only pages of this station: no other host, nor a path that a browser takes for one
        after = after if after.startswith("/") and not after.startswith(("//", "/\\")) else "/"
        refused = False
        if request.method == "POST":
            await self._check_form(request)
            secret = str((await request.form()).get("secret", ""))
            brake, client = self.people.brake, request.client.host if request.client else ""
            if seconds := brake.seconds(client, secret):
                raise HTTPException(429, f"too many wrong secrets; try again in {seconds} s")
            is_right = self.people.enter(request.session, secret) is not None
            brake.note(client, secret, is_right)
            if is_right:
                entered = self.people.person(request.session)
                about["who"] = "" if entered is None else entered.name
                return RedirectResponse(after, 303)
            refused = True
        if self.people.person(request.session) is not None:
            return RedirectResponse(after, 303)
        status = 401 if refused else 200
        return self.render(request, "sign_in.html", None, status, refused=refused, after=after)

    async def _sign_out(self, request: Request, person: Person) -> Response:
        await run_in_threadpool(self.people.leave, request.session, person.name)
        return RedirectResponse("/", 303)

    async def _me(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        """Choose the language, and the name where nobody signs in."""
        form = await request.form()
        if str(form.get("language")) in LANGUAGES:
            request.session[_LANGUAGE] = str(form["language"])
        if form.get("name") and not self.people.sign_in:
            self.people.call(request.session, str(form["name"]))
        after = str(form.get("next", "/"))
        is_own = after.startswith("/") and not after.startswith(("//", "/\\"))
        return RedirectResponse(after if is_own else "/", 303)

    async def failure(self, request: Request, error: HTTPException) -> Response:
        """What went wrong: a page for people, JSON for programs and JavaScript."""
        wants_page = "text/html" in request.headers.get("accept", "")
        is_program = "session" not in request.scope or request.url.path.startswith("/v1/")
        message = error.detail if is_program else self.said(request, error.detail)
        if not wants_page or "session" not in request.scope:
            return JSONResponse({"error": message}, error.status_code, error.headers)
        person = self.people.person(request.session)
        return self.render(request, "problem.html", person, error.status_code, message=message)

    def said(self, request: Request, message: str) -> str:
        """A message of the station itself in the language of the request."""
        return Words(self.language(request)).said(message)


def _trouble(error: Exception) -> HTTPException:
    """Of the machine; what it was goes to the log, for it names places."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__
    full = any(
        getattr(each, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        or getattr(each, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        for each in causes
    )
    write_line(level="error", message=one_line(error))
    if full:
        return HTTPException(507, "the disk of the station is full")
    return HTTPException(503, "the machine is short of time, memory or disk; see the log")


class _Number(Convertor[int]):
    """A number in a path, as SQLite can hold; a longer one is no path."""

    regex = "[0-9]{1,15}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Number())


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON object of a request's body; raises HTTPException for what is none."""
    try:
        body = await request.json()
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is no JSON") from error
    if not isinstance(body, dict):
        raise HTTPException(400, "the body is no JSON object")
    return body


def number_of(text: object) -> int:
    """A number of a request; raises HTTPException for what is none."""
    digits = str(text)
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
        raise HTTPException(400, "a number is expected")
    return int(digits)
