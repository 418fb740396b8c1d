"""Brings answers and alarms from the log of a station to where they go, whatever breaks between.

What is to be delivered is in the log, and each sink knows how far it is, so neither a kill nor a
receiver that is away for days loses anything.
"""

import threading
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import read_json, write_json
from cvgssl.runtime.parsing import one_line, read_text
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.lines import write_line
from cvgssl.station.picture_store import PictureStore
from cvgssl.station.sinks import (
    TIMEOUT,
    CsvSink,
    FolderSink,
    MqttSink,
    Sink,
    WebhookSink,
    short_digest,
)
from cvgssl.station.watch_config import WatchOptions

FOLDER = "sinks"
_AT_ONCE = 100  # answers that are delivered together
_LOOK = 0.3  # seconds between two looks for new ones
_ENDING = 2.0  # seconds more that a delivery may take when the station ends
_LONGEST_WAIT = 60.0  # seconds between two tries


class Delivery:
    """A sink at work, in a thread of its own.

    trouble: what is in the way at present, or "". after: number of the last event delivered.
    """

    def __init__(self, sink: Sink, folder: Path, address: str) -> None:
        """folder: of the station. address: another one is another sink, with a count of its own."""
        self.sink, self.trouble = sink, ""
        self._log_path = folder / LOG
        # an address may hold what nobody else is to know
        self._kept = folder / FOLDER / f"{sink.name} {short_digest(address)}.json"
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
            self._thread.join(TIMEOUT + _ENDING)

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
        events = list(islice(log.events(*self.sink.kinds, after=self.after), _AT_ONCE))
        if not events:
            return False
        state = self.sink.deliver(events, self._state)
        write_json(self._kept, {"after": events[-1].number, "state": state})
        self._state, self.after = state, events[-1].number
        return True

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            write_line(level="warning", message=f"{self.sink.name}: {trouble}; trying again")
        self.trouble = trouble


def deliveries(options: WatchOptions, folder: Path, pictures: PictureStore) -> list[Delivery]:
    """Those that are asked for; raises UserError for what is missing."""
    sinks: list[tuple[Sink, str]] = []
    if options.csv is not None:
        sinks.append((CsvSink(options.csv), str(options.csv.resolve())))
    if options.sort_into is not None:
        place = options.sort_into
        sinks.append((FolderSink(place, pictures), str(place.resolve())))
    if options.to_webhook is not None:
        sinks.append((WebhookSink(options.to_webhook), options.to_webhook))
    if options.to_mqtt is not None:
        file, password = options.mqtt_password_file, None
        if file is not None:
            password = read_text(file, "a file with a password").strip()
        sinks.append((MqttSink(options.to_mqtt, options.mqtt_user, password), options.to_mqtt))
    return [Delivery(sink, folder, address) for sink, address in sinks]
