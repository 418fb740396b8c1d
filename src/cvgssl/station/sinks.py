"""Where the answers of a station go: a CSV file, sorted folders, a web address, an MQTT broker.

Files get each answer once. A receiver on the network gets each at least once: after a kill or a
lost reply it gets the last ones again, with the same `number`, by which it can tell.
"""

import asyncio
import hashlib
import json
import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from cvgssl.runtime.csv_writing import csv_line
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import flush, naming_file, writing
from cvgssl.runtime.parsing import one_line
from cvgssl.station.answer_rows import ANSWER
from cvgssl.station.events import Event
from cvgssl.station.picture_store import PictureStore

ALARM = "alarm"
COLUMNS = ("number", "at", "name", "answer", "class", "probability", "version", "source", "sha256")
TIMEOUT = 10.0  # seconds, of a POST and of each step with a broker
_READ = 65536  # bytes
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
            raise OSError(f"no answer within {TIMEOUT:.0f} seconds") from error
        if not 200 <= status < 300:
            raise OSError(f"status {status}")
        return {}

    async def _post(self, body: bytes) -> int:
        """The status; the whole of it, from the name to the answer's head, within `TIMEOUT`.

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
        async with asyncio.timeout(TIMEOUT):
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
                timeout=TIMEOUT,
                tls_context=ssl.create_default_context() if secure else None,
            ) as client:
                for event in events:
                    topic = self._topic + ("/alarm" if event.kind == ALARM else "")
                    await client.publish(topic, json.dumps(_facts(event)), qos=1)
        except aiomqtt.MqttError as error:
            raise OSError(_without_number(one_line(error))) from error


def _without_number(reason: str) -> str:
    """Of the system's errors the words; a refused connection is called as that of a webhook."""
    words = re.sub(r"^\[Errno -?\d+\] ", "", reason)
    return "the connection was refused" if words == "Connection refused" else words


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
    return f"{name.encode()[:_LONGEST_NAME].decode(errors='ignore')} {short_digest(answer)}"


def _last_bytes(text: str, most: int) -> str:
    return text.encode()[-most:].decode(errors="ignore")


def short_digest(text: str) -> str:
    """Of a text that is too long or too secret for a name."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file_name(text: str) -> str:
    """`text` as the name of a file or folder: itself where it can be."""
    safe = "".join("_" if sign in '/\\\0<>:"|?*' or ord(sign) < 32 else sign for sign in text)
    return safe if safe.strip(". ") else f"_{safe}"
