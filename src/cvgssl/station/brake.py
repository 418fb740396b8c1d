"""How fast secrets may be tried."""

import hashlib
import time
from collections import deque

_MOST, _SECONDS = 10, 60.0  # wrong secrets of an address in so long
_ADDRESSES = 10_000  # that are remembered, the newest


class Brake:
    """Refuses to try secrets of an address that has sent ten wrong ones within a minute.

    A secret that was right from there before goes on being tried, so that nobody stops a program
    of the same address. For the event loop alone.
    """

    def __init__(self) -> None:
        self._wrong: dict[str, deque[float]] = {}  # when, by address
        self._right: dict[tuple[str, str], None] = {}

    def seconds(self, address: str, secret: str) -> int:
        """Until this one may be tried; 0: now."""
        wrong = self._wrong.get(address, deque[float]())
        if len(wrong) < _MOST or _known(address, secret) in self._right:
            return 0
        left = wrong[0] + _SECONDS - time.monotonic()
        return 0 if left <= 0 else int(left) + 1

    def note(self, address: str, secret: str, is_right: bool) -> None:
        """What came of trying one."""
        if is_right:
            self._right[_known(address, secret)] = None
        else:
            wrong = self._wrong.pop(address, None) or deque(maxlen=_MOST)
            wrong.append(time.monotonic())
            self._wrong[address] = wrong
        while len(self._wrong) > _ADDRESSES:
            del self._wrong[next(iter(self._wrong))]
        while len(self._right) > _ADDRESSES:
            del self._right[next(iter(self._right))]


def _known(address: str, secret: str) -> tuple[str, str]:
    return address, hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
