"""Where caches are kept, on machines without a home folder too.

Containers that run as a user number without a name have no HOME, or one that cannot be written.
"""

import os
import stat
import tempfile
from pathlib import Path

_OF_LIBRARIES = {
    "MPLCONFIGDIR": "matplotlib",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
}
"""Variables that name the caches of libraries, which look for a home folder themselves."""


def default_cache_dir() -> Path:
    """The folder that CVGSSL_CACHE names, else cvgssl in the user's (XDG) cache folder.

    Where that cannot be written it is a folder of this user among the temporary ones. The folder
    may be missing, and may still refuse files where nothing can be written.
    """
    named = os.environ.get("CVGSSL_CACHE")
    if named:
        return Path(named)
    usual = _usual()
    if usual is not None and _can_be_written(usual):
        return usual
    return _temporary() or usual or Path(".cvgssl-cache").absolute()


def give_libraries_a_cache() -> None:
    """Without a usual cache folder, let the caches of libraries be in ours, where they are kept."""
    usual = _usual()
    if usual is not None and _can_be_written(usual):
        return
    place = default_cache_dir()
    if not _can_be_written(place):  # another user's, which is read
        place = _temporary() or place
    for variable, name in _OF_LIBRARIES.items():
        os.environ.setdefault(variable, str(place / name))


def _usual() -> Path | None:
    """In the user's cache folder; None for a user without a home folder."""
    try:
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no HOME, and no entry in the list of users
        return None
    return place / "cvgssl"


def _can_be_written(folder: Path) -> bool:
    """Whether files can be made in the folder, or in the nearest one above it that is there."""
    try:
        for place in (folder, *folder.absolute().parents):
            if place.exists():
                return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    except OSError:
        pass
    return False


def _temporary() -> Path | None:
    """A folder that is this user's own; None where there is none, or it is another user's."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    try:
        folder = Path(tempfile.gettempdir()) / f"cvgssl-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(status.st_mode) or (user != "user" and status.st_uid != user):
        return None
    return folder
