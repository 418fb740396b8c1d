"""Options of `cvgssl station`. Imports no torch and no web server."""

import ipaddress
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.images.picture_options import SizeLimit
from cvgssl.runtime.options import STRICT, RuntimeOption
from cvgssl.station.watch_config import WatchOptions


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StationConfig(WatchOptions, RuntimeOption, SizeLimit):
    """Label, recognize and review pictures in a browser, and answer programs, until Ctrl-C.

    FOLDER keeps labels, answers, every recognizer that was ever made or given to it, as a numbered
    version, and which one is live.
    """

    folder: Path = Field(description="folder of the station; made if it is not there")
    recognizer: Path | None = Field(
        default=None,
        description="recognizer that becomes the newest version and live: a folder of `cvgssl "
        "fit`, a file of `cvgssl export`, or a model file of `linear` or `finetune`; copied",
    )
    pictures: tuple[Path, ...] = Field(
        default=(),
        description="folders of pictures that people may choose on the page Start; pictures can be "
        "uploaded without any",
    )
    classes: tuple[str, ...] = Field(
        default=(),
        description="names that are known before the first label: they are on the keys 1 to 9 of "
        "the page Label from the beginning, in this order; others can be typed there",
    )
    encoder: tuple[str, ...] = Field(
        default=(INSTALLED,),
        description="of recognizers that are made here, as in `cvgssl fit`",
    )
    headless: bool = Field(default=False, description="answer programs only, without pages")
    two_people: bool = Field(
        default=False,
        description="a version goes live when a second reviewer approves it; needs "
        "--token-file with names",
    )
    review_share: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="share of all pictures that people are asked to look at, drawn at random; the "
        "share of right answers is estimated from them",
    )
    keep_gigabytes: float = Field(
        default=10,
        ge=0,
        le=1e6,
        description="most that pictures which were asked about may take in FOLDER, for review and "
        "replay; the oldest go first",
    )
    unknown: bool = Field(
        default=True,
        description='also answer "unknown" and "not sure"; false: for recognizers that cannot',
    )
    host: str = Field(
        default="127.0.0.1",
        description="address to listen at; others than this machine's own need --token-file",
    )
    port: int = Field(default=8700, ge=0, le=65535, description="0: one that is free")
    token_file: Path | None = Field(
        default=None,
        description="file of secrets of 16 characters or more, one in a line, alone or as `NAME "
        "labeller|reviewer|program SECRET`; people sign in with them, programs send "
        "`Authorization: Bearer SECRET`",
    )
    allow_host: tuple[str, ...] = Field(
        default=(),
        description="further names by which this machine may be called, such as line3.plant; needs "
        "--token-file",
    )
    batch_size: int = Field(
        default=32, ge=1, le=4096, description="most pictures that are recognized together"
    )
    batch_wait_ms: float = Field(
        default=2,
        ge=0,
        le=1000,
        description="longest time that a picture waits for others that are being decoded, to be "
        "recognized together",
    )
    queue: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="most pictures that are taken at once; further requests get status 503",
    )
    timeout_seconds: float = Field(
        default=30,
        gt=0,
        le=3600,
        description="longest time for a request to arrive, and for its answer",
    )
    max_megabytes: int = Field(default=64, ge=1, le=4096, description="size of the largest request")

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if not is_own(self.host) and self.token_file is None:
            problems.append(
                f"--host {self.host}: others can reach it; name a --token-file that they must know"
            )
        names = [name for name in self.allow_host if not is_own(name)]
        if names and self.token_file is None:
            problems.append(
                f"--allow-host {names[0]}: others reach it by that name; name a --token-file that "
                "they must know"
            )
        if self.two_people and self.token_file is None:
            problems.append("--two-people true: tells people apart by a --token-file")
        if self.headless and self.pictures:
            problems.append("--headless true: has no page on which --pictures could be chosen")
        return problems


def is_own(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
