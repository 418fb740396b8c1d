"""Options of what a station watches, and of where its answers go. Imports no torch."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.recognizer.config import AlarmOptions, WatchedFolder
from cvgssl.runtime.options import STRICT

WEB, BROKER = ("http", "https"), ("mqtt", "mqtts")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WatchOptions(AlarmOptions, WatchedFolder):
    """A folder that is watched, and where all answers of a station go."""

    csv: Path | None = Field(
        default=None, description="append every answer to this CSV file, a row for each, once"
    )
    sort_into: Path | None = Field(
        default=None,
        description="copy every picture into a folder of its answer below this one, once",
    )
    to_webhook: str | None = Field(
        default=None,
        description="POST answers and alarms to this http or https address as JSON, until it takes "
        "them; redirections are not followed",
    )
    to_mqtt: str | None = Field(
        default=None,
        description="publish answers and alarms to a broker, mqtt://HOST:PORT/TOPIC or mqtts://, "
        "quality of service 1 (cvgssl[mqtt])",
    )
    mqtt_user: str | None = Field(default=None, description="name that the broker knows")
    mqtt_password_file: Path | None = Field(
        default=None, description="file with the password for --mqtt-user"
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.to_webhook is not None:
            problems += _address_problems("--to-webhook", self.to_webhook, WEB)
            if not problems and not _is_plain(self.to_webhook):
                problems.append(
                    f"--to-webhook {self.to_webhook}: write other letters and spaces as % and "
                    "numbers, and such a host as xn--..."
                )
        if self.to_mqtt is not None:
            problems += _address_problems("--to-mqtt", self.to_mqtt, BROKER)
            if not urlsplit(self.to_mqtt).path.strip("/"):
                problems.append(f"--to-mqtt {self.to_mqtt}: a topic is missing, as in HOST/TOPIC")
            if set(self.to_mqtt) & {"+", "#"}:
                problems.append(f"--to-mqtt {self.to_mqtt}: + and # cannot be in a topic")
        elif self.mqtt_user is not None or self.mqtt_password_file is not None:
            problems.append("--mqtt-user, --mqtt-password-file: have no effect without --to-mqtt")
        if self.watch is not None and self.sort_into is not None:
            place = self.sort_into.resolve()
            if place.is_relative_to(self.watch.resolve()):
                problems.append(
                    f"--sort-into {self.sort_into}: is inside {self.watch}, whose pictures would "
                    "be named again; name a place outside"
                )
        return problems


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _address_problems(flag: str, address: str, schemes: tuple[str, ...]) -> list[str]:
    try:
        parts = urlsplit(address)
        _ = parts.port  # which is checked when it is asked for
    except ValueError as error:
        return [f"{flag} {address}: {error}"]
    if parts.scheme not in schemes or not parts.hostname:
        return [f"{flag} {address}: must begin with {' or '.join(f'{s}://HOST' for s in schemes)}"]
    try:
        # lengths, and letters that no name has; as it is asked for
        parts.hostname.encode("idna")
    except UnicodeError:
        return [f"{flag} {address}: {parts.hostname} cannot be the name of a host"]
    if parts.username is not None or parts.password is not None:
        return [
            f"{flag}: secrets in an address are seen by everybody on this machine; leave it out"
        ]
    return []
