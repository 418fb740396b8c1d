"""What is said of a picture beside its class, for programs without scikit-learn too."""

from collections.abc import Iterable

KNOWN, UNKNOWN, NOT_SURE = "known", "unknown", "not sure"


def taken_for_verdicts(classes: Iterable[str]) -> list[str]:
    """Those that nobody could tell from such an answer, nor a folder where case does not count."""
    return [name for name in classes if name.casefold() in (UNKNOWN, NOT_SURE)]
