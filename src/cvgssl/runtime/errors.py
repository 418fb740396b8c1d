"""The exceptions whose message is meant for the user."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """A mistake that the user can correct.

    The message is one line (or one line per problem) that names the file or the flag and the
    remedy. The command line prints it without a traceback and exits with code 2.
    """


class MachineError(UserError):
    """Trouble of the machine, not of a file: no file handles, no memory, a broken disk.

    It stops the job; code that passes over unreadable files (`--skip-corrupt`) lets it through.
    """


_OWN = "of this process; others that do the same job may be without it"


@contextmanager
def of_this_process() -> Iterator[None]:
    """Mark errors that other processes of the same job need not meet: see `is_of_this_process`."""
    try:
        yield
    except (UserError, OSError) as error:
        error.add_note(_OWN)
        raise


def is_of_this_process(error: Exception) -> bool:
    """Whether each process is to tell it; what all do wrong is told by the first of a machine."""
    return not isinstance(error, UserError | OSError) or _OWN in getattr(error, "__notes__", ())


@contextmanager
def naming(subject: str) -> Iterator[None]:
    """Put `subject`, such as a flag with its value, before the message of every UserError."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{subject}: {error}") from error
