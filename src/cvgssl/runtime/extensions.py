"""Parts that other installed packages add, by Python's entry points.

A package that wants to add a checkpoint layout, say, names it in its pyproject.toml:

    [project.entry-points."cvgssl.layouts"]
    "our trainer" = "our_package.layouts:OURS"

Only packages that the user has installed are asked, and only when something is looked for.
"""

from functools import cache
from importlib.metadata import entry_points
from typing import Any

from cvgssl.runtime.errors import UserError


@cache
def extensions(group: str) -> dict[str, Any]:
    """What installed packages add to `group` (`cvgssl.layouts`, ...), by name.

    Raises UserError naming the package when one cannot be imported.
    """
    found = {}
    for entry in entry_points(group=group):
        try:
            found[entry.name] = entry.load()
        except Exception as error:
            package = entry.dist.name if entry.dist is not None else entry.value
            raise UserError(
                f"{package}: its {group} {entry.name!r} cannot be loaded "
                f"({type(error).__name__}: {error}); update or uninstall {package}"
            ) from error
    return found
