"""Parts that other installed packages add, by Python's entry points.

A package that wants to add a checkpoint layout, for example, names it in its pyproject.toml:

    [project.entry-points."cvgssl.layouts"]
    "our trainer" = "our_package.layouts:OURS"

Only packages that the user has installed are asked, and only when something is looked for.
"""

import sys
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from cvgssl.runtime.errors import UserError


def extensions(group: str) -> dict[str, Any]:
    """What installed packages add to `group` (`cvgssl.layouts`, ...), by name.

    Raises UserError naming the entry point when one cannot be imported.
    """
    return _loaded(group, tuple(sys.path))


@cache
def _loaded(group: str, _places: tuple[str, ...]) -> dict[str, Any]:
    loaded = {}
    for entry in entry_points(group=group):
        try:
            loaded[entry.name] = entry.load()
        except Exception as error:  # whatever another package's import does
            raise UserError(
                f"{group}: {entry.name} = {entry.value}: {error}; repair or uninstall its package"
            ) from error
    return loaded
