"""Folders of this machine, which answers of pages do not name."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from starlette.responses import HTMLResponse, JSONResponse, Response

from cvgssl.encoders.encoder_spec import RANDOM, parse_encoder
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.runtime.errors import UserError
from cvgssl.station.config import StationConfig


class HiddenFolders:
    """Folders of a station, and of the files that its options name."""

    def __init__(self, config: StationConfig) -> None:
        self._pattern = _pattern(_folders(config))

    def hide(self, response: Response) -> Response:
        """An answer without folders of this machine."""
        if not isinstance(response, JSONResponse | HTMLResponse):
            return response
        text = bytes(response.body).decode("utf-8")
        if (clean := self.without(text)) != text:
            response.body = clean.encode()
            response.headers["content-length"] = str(len(response.body))
        return response

    def without(self, text: str) -> str:
        """A text with names relative to the folders of this station."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: "" if match[1] else Path(match[0]).name, text)


def _folders(config: StationConfig) -> list[Path]:
    """Those that options name, and those of the files that they name."""
    named = [config.folder, *config.pictures, config.watch, config.sort_into]
    files = [config.csv]
    for name in config.encoder:
        with suppress(UserError):  # it is told when a recognizer is made
            spec = parse_encoder(name, "--encoder")
            if spec.file not in ("", RANDOM, INSTALLED):
                files.append(Path(spec.file).expanduser())
    there = list(filter(None, files))
    return [*filter(None, named), *there, *(file.parent for file in there)]


def _pattern(folders: Sequence[Path]) -> re.Pattern[str] | None:
    """What finds these folders in texts; group 1 is a slash before what is in one."""
    paths = {str(path) for folder in folders for path in (folder.resolve(), folder.absolute())}
    # one as short as /pool is also the beginning of an address
    long = sorted((path for path in paths if path.count("/") > 1), key=len, reverse=True)
    any_path = "|".join(map(re.escape, long))
    return re.compile(rf"(?<![\w./-])(?:{any_path})(?:(/)|(?![\w-]|\.\w))") if long else None
