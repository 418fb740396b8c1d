"""`cvgssl station`: the folder is opened, the server runs until it is asked to end."""

import asyncio
import contextlib
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.lock import Lock
from cvgssl.runtime.parsing import one_line
from cvgssl.runtime.stopping import stop_requests
from cvgssl.station.config import StationConfig
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.lines import only_lines, write_line
from cvgssl.station.models import Models, Version, files_of

if TYPE_CHECKING:
    from cvgssl.station.answering import Answering
    from cvgssl.station.building import Station

_NEEDED = (
    "starlette", "uvicorn", "python_multipart", "prometheus_client", "jinja2", "itsdangerous",
)  # fmt: skip
_LOOK = 0.1  # seconds between looks, such as whether the end is asked for
_ENDING = 3.0  # seconds that the last station in a folder may take to let go of it
_BACKLOG = 1024
_MOST_CONNECTIONS = 1000
_IDLE = 20  # seconds that a connection without requests stays open
_AGENT = "command line"
_SUBFOLDERS = (
    "changes", "compare", "exports", "fits", "jobs", "models", "pictures", "pool", "reviewed",
    "sinks", "uploads",
)  # fmt: skip


def serve(config: StationConfig) -> None:
    """Answer until Ctrl-C or SIGTERM; what was taken until then is answered.

    Raises UserError for a folder, a recognizer or an address that cannot be used.
    """
    for name in _NEEDED:
        try:
            import_module(name)
        except ImportError as error:
            raise UserError(f"{name} is not installed: pip install 'cvgssl[station]'") from error
    from cvgssl.encoders.encoder_spec import with_whole_path
    from cvgssl.station.answering import Answering
    from cvgssl.station.building import Station
    from cvgssl.station.people import People, check_two_people, read_secrets, session_key

    with contextlib.ExitStack() as opened:
        opened.enter_context(only_lines())
        secrets = {} if config.token_file is None else read_secrets(config.token_file)
        if config.two_people:
            check_two_people(secrets, config.token_file)
        listener = opened.enter_context(contextlib.closing(_listen(config)))
        opened.callback(own_folder(config).release)
        # once, for all: what one part calls a folder, another one finds again, and jobs that wait
        # go on when the station is started from elsewhere
        encoder = tuple(map(with_whole_path, config.encoder))
        config = replace(config, folder=config.folder.resolve(), encoder=encoder)
        log, meant = open_station(config)
        opened.enter_context(contextlib.closing(log))
        models = Models(config.folder, log)
        answering = Answering(models, config, None)
        opened.callback(answering.close)
        if meant is not None:
            _begin(answering, meant)
        key = "" if config.headless else session_key(config.folder)
        people = People(secrets, key, config.folder / LOG)
        opened.callback(people.close)
        station = opened.enter_context(contextlib.closing(Station(config, people, answering, key)))
        with stop_requests() as is_asked:  # before it is told, so that none comes too early
            _warn_of_readers(config.token_file)
            _say_where(config, listener, answering)
            asyncio.run(_run(station, config, listener, is_asked))


def own_folder(config: StationConfig) -> Lock:
    """Make the folder where it is not there, and keep other stations from it.

    Raises UserError for one that is no place for a station, or has one at work.
    """
    if config.recognizer is not None:
        files_of(config.recognizer)  # before anything is made
    elif config.headless and not (config.folder / LOG).is_file():
        raise UserError(f"{config.folder}: is no station yet; name a recognizer by --recognizer")
    for folder in config.pictures:
        if not folder.is_dir():
            raise UserError(f"--pictures {folder}: no such folder")
    _check_whose(config.folder)
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{config.folder}: {one_line(error.strerror or error)}") from error
    until = time.monotonic() + _ENDING
    while True:
        try:
            return Lock(config.folder, "station")
        except UserError:  # one that is started again at once may find the last one ending
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK)


def _check_whose(folder: Path) -> None:
    """Raise UserError where folders are in the way that a station would write into and clear.

    And for a log that may not be written: SQLite says so only when the first row comes.
    """
    for path in (folder / f"{LOG}{ending}" for ending in ("", "-wal", "-shm")):
        if path.is_file() and not os.access(path, os.W_OK):
            raise UserError(f"{path}: this user may not write it; change the rights")
    if (folder / LOG).exists():
        return
    for name in _SUBFOLDERS:
        if any(each.name != "lost+found" for each in _within(folder / name)):
            raise UserError(
                f"{folder}: has a folder {name} and no {LOG}, so it is no station's; name another "
                f"folder, or put a copy of {LOG} back"
            )


def _within(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(folder.iterdir())
    return []


def open_station(config: StationConfig) -> tuple[EventLog, Version | None]:
    """The log of the folder, and the version that is to answer: of --recognizer, or the live one.

    Raises UserError where there is neither and no page on which one could be made.
    """
    log = EventLog(config.folder / LOG)
    models = Models(config.folder, log)
    if config.recognizer is not None:
        return log, models.add(config.recognizer, _AGENT)
    live = models.live()
    if live is None and config.headless:
        raise UserError(f"{config.folder}: has no recognizer yet; name one by --recognizer")
    return log, live


def _begin(answering: "Answering", meant: Version) -> None:
    """Have a version answer.

    Where that was live before and cannot be used any more, the pages say it, on which another one
    can be made live; raises UserError where there are none, or for what was given just now.
    """
    config = answering.config
    try:
        answering.use(meant.number)
    except UserError as error:
        if config.headless or config.recognizer is not None:
            raise
        write_line(level="error", message=one_line(error))
        answering.problem = f"version {meant.number} cannot be used; make another one live"
    else:
        answering.models.go_live(meant.number, _AGENT)


def _warn_of_readers(token_file: Path | None) -> None:
    """Say that every user of this machine can read the secrets, where that is so."""
    if token_file is not None and os.name == "posix" and token_file.stat().st_mode & stat.S_IROTH:
        write_line(
            level="warning",
            message=f"--token-file {token_file}: every user of this machine can read it; chmod 640",
        )


def _listen(config: StationConfig) -> socket.socket:
    """A socket at the address; raises UserError where that cannot be had."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise UserError(f"--host {config.host}: {one_line(error)}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UserError(
            f"--host {config.host} --port {config.port}: {one_line(error.strerror or error)}; "
            "another port, or 0 for one that is free"
        ) from error
    return listener


def _say_where(config: StationConfig, listener: socket.socket, answering: "Answering") -> None:
    port = listener.getsockname()[1]
    host = f"[{config.host}]" if ":" in config.host else config.host
    what = answering.problem
    if answering.live is not None:
        live = answering.live.version
        what = f"version {live.number} ({PurePosixPath(live.name).name}) answers"
    open_it = "" if config.headless else "; open it in a browser"
    print(f"http://{host}:{port}: {what}{open_it}; Ctrl-C ends", flush=True)


async def _run(
    station: "Station",
    config: StationConfig,
    listener: socket.socket,
    is_asked: Callable[[], bool],
) -> None:
    import uvicorn

    from cvgssl.station.connections import Connection

    class Server(uvicorn.Server):
        """One that leaves signals to `stop_requests`."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    server = Server(
        uvicorn.Config(
            station.app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=int(config.timeout_seconds) + 1,
        )
    )
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not running.done():
        if is_asked() and not server.should_exit:
            write_line(message="ending: what was taken is answered first")
            station.routes.ending = server.should_exit = True
        await asyncio.wait([running], timeout=_LOOK)
    running.result()
