"""What every request passes: the name it was sent to, its secret, its size and its time."""

import asyncio
import contextlib
import ipaddress

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cvgssl.station.config import StationConfig
from cvgssl.station.lines import write_line
from cvgssl.station.people import People

OPEN = ("/health", "/ready")  # for programs that start and stop others, without a secret
PROGRAMS = ("/v1/", "/metrics", "/openapi.json")
"""Beginnings of the paths that programs ask; others are pages, which ask people to sign in."""
POLICY = "content-security-policy"
_LINGERING = 1.0  # seconds
_OWN_NAMES = ("localhost", "127.0.0.1", "::1")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"same-origin"),
)
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii")
_SAFE = ("GET", "HEAD")  # methods that change nothing


class RefusedError(Exception):
    """A request that is ended with `status`; the message is for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Guard:
    """ASGI middleware; refuses by a JSON object with `error`, and closes the connection."""

    def __init__(self, app: ASGIApp, config: StationConfig, people: People) -> None:
        self._app, self._config, self._people = app, config, people
        self._names = {*_OWN_NAMES, config.host.lower(), *map(str.lower, config.allow_host)}
        self._most = config.max_megabytes * 10**6

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = message.get("headers", ())
                if scope["scheme"] == "https":  # as a proxy says
                    own = [(n, v + b"; secure" * (n == b"set-cookie")) for n, v in own]
                named = {name for name, _ in own}
                more = (each for each in _HEADERS if each[0] not in named)
                message["headers"] = [*own, *more]
            await send(message)

        checked = False
        try:
            client = (scope.get("client") or ("",))[0]
            self._check(Headers(scope=scope), scope["method"], scope["path"], client)
            checked = True
            await self._app(scope, self._limited(receive), answer)
        except RefusedError as refused:
            if not checked:  # what comes further has its line from there
                path, status = scope["path"], refused.status
                write_line(client=client, path=path, status=status, refused=refused.message)
            if begun:
                raise
            if refused.status != 408:
                await _discard(receive)
            response = JSONResponse({"error": refused.message}, refused.status)
            response.headers["connection"] = "close"
            if refused.status == 401:
                response.headers["www-authenticate"] = "Bearer"
            await response(scope, receive, answer)

    def _check(self, headers: Headers, method: str, path: str, client: str) -> None:
        # a page of another site whose name was pointed at this machine has that name here
        if host_name(headers.get("host", "")) not in self._names:
            raise RefusedError(421, "this machine is not called so; see --allow-host")
        # what a page of another site has a browser send
        origin = headers.get("origin")
        foreign = origin is not None and host_name(origin.partition("://")[2]) not in self._names
        if foreign and method not in _SAFE:
            raise RefusedError(403, "a page of another site may not ask this")
        # pages of other ports of this machine, too, which have its name
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        if site in ("cross-site", "same-site") and mode != "navigate":
            raise RefusedError(403, "a page of another site may not ask this")
        _, options = parse_options_header(headers.get("content-type"))
        if options.get(b"charset", b"utf-8").lower() not in _CHARSETS:
            raise RefusedError(415, "Content-Type: charset must be utf-8")
        if path.startswith(PROGRAMS) and self._people.sign_in:
            self._check_secret(headers, client)
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise RefusedError(400, "Content-Length is no number")
        if int(length[:20]) > self._most:
            raise self._too_large()

    def _check_secret(self, headers: Headers, client: str) -> None:
        given, brake = headers.get("authorization", ""), self._people.brake
        if seconds := brake.seconds(client, given):
            raise RefusedError(429, f"too many wrong secrets; try again in {seconds} s")
        is_right = self._people.is_program(headers)
        if given:
            brake.note(client, given, is_right)
        if not is_right:
            raise RefusedError(401, "a token is needed: Authorization: Bearer SECRET")

    def _limited(self, receive: Receive) -> Receive:
        """`receive` of a body that may be so long and take so long."""
        loop = asyncio.get_running_loop()
        until, left, whole = loop.time() + self._config.timeout_seconds, self._most, False

        async def limited() -> Message:
            nonlocal left, whole
            if whole:  # only the end of the connection is waited for
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise RefusedError(408, "the request did not arrive in time") from error
            if message["type"] == "http.request":
                left -= len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if left < 0:
                    raise self._too_large()
            return message

        return limited

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"over {self._config.max_megabytes} MB; see --max-megabytes")


async def _discard(receive: Receive) -> None:
    """Take what a client is sending for a moment, so that it comes to read the answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGERING):
            while (await receive()).get("more_body", False):
                pass


def host_name(header: str) -> str:
    """The name in a Host header, without port and brackets, in lower case; "" where it is none."""
    name, _, port = header.rpartition(":")
    if not name or not port.isdigit():
        name = header
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
        try:
            return str(ipaddress.IPv6Address(name))
        except ValueError:
            return ""
    return name.lower()
