"""Folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cvgssl.runtime.errors import UserError


@contextmanager
def new_folder(path: Path, flag: str) -> Iterator[Path]:
    """Give a folder beside `path` that takes its place on success and is removed on failure.

    flag: what a message begins with, such as --out. Raises UserError when `path` exists and is
    not an empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{flag} {path}: exists and is not an empty folder; name a new one")
    whole = path.absolute()
    aside = whole.parent / f".{whole.name}.{os.getpid()}"
    aside.mkdir(parents=True)
    try:
        yield aside
        with suppress(FileNotFoundError):
            whole.rmdir()
        aside.rename(whole)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
