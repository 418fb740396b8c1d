"""Where the answers of a station go: a CSV file, sorted folders, a web address, an MQTT broker.

What is to be delivered is in the log, and each sink knows how far it is, so neither a kill nor a
receiver that is away for days loses anything. Files get each answer once. A receiver on the network
gets each at least once: after a kill or a lost reply it gets the last ones again, with the same
`number`, by which it can tell.
"""

import asyncio
import hashlib
import json
import os
import ssl
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from cvgssl.runtime.csv_writing import csv_line
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import flush, naming_file, read_json, write_json, writing
from cvgssl.runtime.parsing import one_line, read_text
from cvgssl.station.answers import ANSWER
from cvgssl.station.events import LOG, Event, EventLog
from cvgssl.station.lines import write_line
from cvgssl.station.picture_store import PictureStore
from cvgssl.station.watch_config import WatchOptions

ALARM = "alarm"
FOLDER = "sinks"
COLUMNS = ("number", "at", "name", "answer", "class", "probability", "version", "source", "sha256")
_AT_ONCE = 100  # answers that are delivered together
_LOOK = 0.3  # seconds between two looks for new ones
_TIMEOUT = 10.0  # seconds, of a POST and of each step with a broker
_ENDING = 2.0  # seconds more that a delivery may take when the station ends
_READ = 65536  # bytes
_LONGEST_WAIT = 60.0  # seconds between two tries
_LONGEST_NAME = 200  # bytes; most file systems take 255


class Sink(Protocol):
    """Takes events."""

    @property
    def name(self) -> str:
        """Of its kind."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of the events that it takes."""

    def deliver(self, events: Sequence[Event], state: dict[str, int]) -> dict[str, int]:
        """Deliver some in order, all or an error (OSError, UserError); what is to be kept of it.

        state: what the last call gave that ended well, empty before the first.
        """


class CsvSink:
    """Rows of `COLUMNS`, each once: what a kill left beyond the last known size is compared."""

    name, kinds = "csv", (ANSWER,)

    def __init__(self, path: Path) -> None:
        self._path = path

    def deliver(self, events: Sequence[Event], state: dict[str, int]) -> dict[str, int]:
        """See `Sink`; raises UserError where somebody else has written into the file."""
        size = state.get("size", 0)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with naming_file(self._path), self._path.open("ab+") as file:
            there = file.seek(0, os.SEEK_END)
            if there < size:  # it was moved away: a new one is begun
                size = 0
            rows = "".join(csv_line(_cells(event)) for event in events)
            text = ("" if size else csv_line(COLUMNS)) + rows
            data = text.encode("utf-8", "backslashreplace")
            file.seek(size)
            more = file.read(len(data) + 1)
            if not data.startswith(more):
                raise UserError(
                    f"{self._path}: was changed by another program; move it away, and a new one is "
                    "begun"
                )
            file.truncate(size)
            file.write(data)
            flush(file)
        return {"size": size + len(data)}


class FolderSink:
    """Copies of the pictures that the station keeps, as FOLDER/ANSWER/NUMBER NAME, each once."""

    name, kinds = "folders", (ANSWER,)

    def __init__(self, folder: Path, pictures: PictureStore) -> None:
        self._folder, self._pictures = folder, pictures

    def deliver(self, events: Sequence[Event], state: dict[str, int]) -> dict[str, int]:
        """See `Sink`; `state` counts pictures that were no longer kept."""
        missing = state.get("missing", 0)
        for event in events:
            name = event.facts["name"].replace("\\", "/").rpartition("/")[2] or "picture"
            name = f"{event.number:08} {_file_name(_last_bytes(name, _LONGEST_NAME))}"
            target = self._folder / _folder_name(event.facts["answer"]) / name
            if target.exists():
                continue
            data = self._pictures.read(event.facts["sha256"])
            if data is None:
                missing += 1
                continue
            with writing(target) as aside:
                aside.write_bytes(data)
        return {"missing": missing}


class WebhookSink:
    """POST of {"events": [{"number", "at", "kind", ...}]} to one address."""

    name, kinds = "webhook", (ANSWER, ALARM)

    def __init__(self, address: str) -> None:
        self._address = urlsplit(address)

    def deliver(self, events: Sequence[Event], state: dict[str, int]) -> dict[str, int]:  # noqa: ARG002
        """See `Sink`; any status but 2xx is an error, and so is one that takes too long."""
        body = json.dumps({"events": [_facts(event) for event in events]}).encode()
        try:
            status = asyncio.run(self._post(body))
        except TimeoutError as error:
            raise OSError(f"no answer within {_TIMEOUT:.0f} seconds") from error
        if not 200 <= status < 300:
            raise OSError(f"status {status}")
        return {}

    async def _post(self, body: bytes) -> int:
        """The status; the whole of it, from the name to the answer's head, within `_TIMEOUT`.

        http.client would wait so long for each byte.
        """
        import h11

        parts, secure = self._address, self._address.scheme == "https"
        request = h11.Request(
            method="POST",
            target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            headers=[
                ("Host", parts.netloc),
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("Connection", "close"),
            ],
        )
        connection = h11.Connection(h11.CLIENT)
        async with asyncio.timeout(_TIMEOUT):
            try:
                reader, writer = await asyncio.open_connection(
                    parts.hostname,
                    parts.port or (443 if secure else 80),
                    ssl=ssl.create_default_context() if secure else None,
                )
            except ConnectionRefusedError as error:  # whose own words are asyncio's
                raise OSError("the connection was refused") from error
            try:
                for part in (request, h11.Data(body), h11.EndOfMessage()):
                    writer.write(connection.send(part) or b"")
                await writer.drain()
                while not isinstance(came := connection.next_event(), h11.Response):
                    if came is h11.NEED_DATA:
                        connection.receive_data(await reader.read(_READ))
                    elif isinstance(came, h11.ConnectionClosed):
                        raise OSError("no answer: the connection was closed")
                return came.status_code
            except h11.RemoteProtocolError as error:
                raise OSError(f"no answer in HTTP: {one_line(error)}") from error
            finally:
                writer.transport.abort()  # nothing more is wanted of it


class MqttSink:
    """A message for each answer at TOPIC, and for each alarm at TOPIC/alarm; acknowledged ones."""

    name, kinds = "mqtt", (ANSWER, ALARM)

    def __init__(self, address: str, user: str | None, password: str | None) -> None:
        """Raises UserError where the client is not installed."""
        try:
            import aiomqtt  # noqa: F401
        except ImportError as error:
            raise UserError("--to-mqtt: aiomqtt is missing: pip install 'cvgssl[mqtt]'") from error
        self._address, self._user, self._password = urlsplit(address), user, password
        self._topic = self._address.path.strip("/")

    def deliver(self, events: Sequence[Event], state: dict[str, int]) -> dict[str, int]:  # noqa: ARG002
        """See `Sink`."""
        asyncio.run(self._publish(events))
        return {}

    async def _publish(self, events: Sequence[Event]) -> None:
        import aiomqtt

        secure = self._address.scheme == "mqtts"
        try:
            async with aiomqtt.Client(
                self._address.hostname or "",
                self._address.port or (8883 if secure else 1883),
                username=self._user,
                password=self._password,
                timeout=_TIMEOUT,
                tls_context=ssl.create_default_context() if secure else None,
            ) as client:
                for event in events:
                    topic = self._topic + ("/alarm" if event.kind == ALARM else "")
                    await client.publish(topic, json.dumps(_facts(event)), qos=1)
        except aiomqtt.MqttError as error:
            raise OSError(one_line(error)) from error


class Delivery:
    """A sink at work, in a thread of its own.

    trouble: what is in the way at present, or "". after: number of the last event delivered.
    """

    def __init__(self, sink: Sink, folder: Path, address: str) -> None:
        """folder: of the station. address: another one is another sink, with a count of its own."""
        self.sink, self.trouble = sink, ""
        self._log_path = folder / LOG
        # an address may hold what nobody else is to know
        self._kept = folder / FOLDER / f"{sink.name} {_digest(address)}.json"
        earlier = self._kept.with_name(f"{quote(f'{sink.name} {address}', safe=' ')[-150:]}.json")
        with suppress(FileNotFoundError):  # as the first stations called it
            earlier.rename(self._kept)
        self._state: dict[str, int] = {}
        self._ending = threading.Event()
        with closing(EventLog(self._log_path)) as log:
            ((last,),) = log.select("select coalesce(max(number), 0) from events")
        # a log from a backup may end before what had been delivered
        self.after = min(self._read(int(last)), int(last))
        self._thread = threading.Thread(target=self._work, name=f"sink {sink.name}", daemon=True)

    def begin(self) -> None:
        """Deliver from now on."""
        self._thread.start()

    def waiting(self, log: EventLog) -> int:
        """How many events have not been delivered."""
        marks = ", ".join("?" * len(self.sink.kinds))
        ((count,),) = log.select(
            f"select count(*) from events where kind in ({marks}) and number > ?",
            [*self.sink.kinds, self.after],
        )
        return int(count)

    def end(self) -> None:
        """Begin to deliver nothing more."""
        self._ending.set()

    def close(self) -> None:
        """End after what is being delivered; the rest is delivered when the station runs again.

        What takes too long ends with the process, as by a kill.
        """
        self.end()
        if self._thread.is_alive():
            self._thread.join(_TIMEOUT + _ENDING)

    def _read(self, last: int) -> int:
        """How far an earlier process came; one that has not been before begins at the end."""
        with suppress(FileNotFoundError):
            try:
                kept = read_json(self._kept)
                self._state = {str(name): int(value) for name, value in kept["state"].items()}
                return int(kept["after"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(
                    f"{self._kept}: is damaged; remove it, and answers are delivered from now on"
                ) from error
        write_json(self._kept, {"after": last, "state": {}})
        return last

    def _work(self) -> None:
        wait = _LOOK
        with closing(EventLog(self._log_path)) as log:
            while not self._ending.wait(wait):
                try:
                    wait = 0.0 if self._deliver(log) else _LOOK
                    self._tell("")
                except Exception as error:
                    known = isinstance(error, OSError | UserError)
                    self._tell(one_line(error if known else repr(error)))
                    wait = min(2 * max(wait, 0.5), _LONGEST_WAIT)

    def _deliver(self, log: EventLog) -> bool:
        """Whether there was something."""
        found = list(islice(log.events(*self.sink.kinds, after=self.after), _AT_ONCE))
        if not found:
            return False
        state = self.sink.deliver(found, self._state)
        write_json(self._kept, {"after": found[-1].number, "state": state})
        self._state, self.after = state, found[-1].number
        return True

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            write_line(level="warning", message=f"{self.sink.name}: {trouble}; trying again")
        self.trouble = trouble


def deliveries(options: WatchOptions, folder: Path, pictures: PictureStore) -> list[Delivery]:
    """Those that are asked for; raises UserError for what is missing."""
    sinks: list[tuple[Sink, str]] = []
    if options.to_csv is not None:
        sinks.append((CsvSink(options.to_csv), str(options.to_csv.resolve())))
    if options.to_folders is not None:
        place = options.to_folders
        sinks.append((FolderSink(place, pictures), str(place.resolve())))
    if options.to_webhook is not None:
        sinks.append((WebhookSink(options.to_webhook), options.to_webhook))
    if options.to_mqtt is not None:
        file, password = options.mqtt_password_file, None
        if file is not None:
            password = read_text(file, "a file with a password").strip()
        sinks.append((MqttSink(options.to_mqtt, options.mqtt_user, password), options.to_mqtt))
    return [Delivery(sink, folder, address) for sink, address in sinks]


def _cells(event: Event) -> list[str | float | None]:
    facts = asdict(event) | event.facts
    return [facts[name] for name in COLUMNS]


def _facts(event: Event) -> dict[str, object]:
    return {"number": event.number, "at": event.at, "kind": event.kind} | event.facts


def _folder_name(answer: str) -> str:
    """Of an answer's pictures; of one that is too long the beginning, and what tells it apart."""
    name = _file_name(answer)
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return f"{name.encode()[:_LONGEST_NAME].decode(errors='ignore')} {_digest(answer)}"


def _last_bytes(text: str, most: int) -> str:
    return text.encode()[-most:].decode(errors="ignore")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file_name(text: str) -> str:
    """`text` as the name of a file or folder: itself where it can be."""
    safe = "".join("_" if sign in '/\\\0<>:"|?*' or ord(sign) < 32 else sign for sign in text)
    return safe if safe.strip(". ") else f"_{safe}"
