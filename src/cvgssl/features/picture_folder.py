"""Which folder's pictures a features file may bring into reports."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cvgssl.runtime.parsing import printable


def shown_folder(file: Path, about: Mapping[str, Any]) -> Path | None:
    """The data folder that a features file names, if its pictures may be shown; None if it is not.

    A file that somebody else made can name any folder of this machine, and reports are sent away.
    Only what is below the file's own folder or the working directory is shown, and neither counts
    where it is the home folder or one above it, below which everything is.
    """
    if not about.get("data"):
        return None
    data = Path(str(about["data"]))
    with suppress(OSError, RuntimeError):  # a circle of links; no home folder
        whole = data.resolve()
        home = _home()
        for place in (file.resolve().parent, Path.cwd()):
            if whole.is_relative_to(place) and not (home and home.is_relative_to(place)):
                return data
    return None


def not_shown(file: Path, about: Mapping[str, Any], remedy: str) -> str:
    """A line where the file names a folder that is not shown, else "".

    remedy: the option that names a folder.
    """
    if not about.get("data") or shown_folder(file, about):
        return ""
    data = printable(str(about["data"]))
    return (
        f"no pictures are shown: the folder {data} is named by {printable(str(file))} only, and is "
        f"neither below its folder nor below the working directory; if they may be shown, name it "
        f"with {remedy}"
    )


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except RuntimeError:
        return None
