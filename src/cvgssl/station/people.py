"""Who asks: people, who sign in with a secret, programs, which send one; how fast both may try."""

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from starlette.datastructures import Headers

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing
from cvgssl.runtime.parsing import read_text
from cvgssl.station.events import EventLog

Role = Literal["labeller", "reviewer", "program"]
"""A reviewer may do what a labeller may; programs have no pages. Any secret serves a program."""
LEFT = "signed out"
GUEST = "guest"  # whose name nobody knows; a number tells browsers apart
_SHORTEST, _LONGEST = 16, 4096  # characters of a secret
_LONGEST_NAME = 60
_KEY = "session.key"
_SHORTEST_KEY = 32  # characters
_BY, _NAME, _CSRF = "by", "name", "csrf"  # in a session
_MOST, _SECONDS = 10, 60.0  # wrong secrets of an address in so long
_ADDRESSES = 10_000  # that are remembered, the newest


@dataclass(frozen=True)
class Person:
    """name: is given beside what was done in the station's log. is_named: or is a guest."""

    name: str
    role: Role
    is_named: bool = True

    @property
    def may_review(self) -> bool:
        """Whether it decides what goes live and which answers were right."""
        return self.role == "reviewer"


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


class People:
    """Those who have secrets; without any all who reach the station, as reviewers.

    brake: to be asked before a secret is tried.
    """

    def __init__(self, secrets: Mapping[str, Person], key: str, log: Path) -> None:
        """secrets: of `read_secrets`. key: of `session_key`, "" where there are no pages.

        log: the file of the station's log.
        """
        self.brake = Brake()
        self._log, self._lock = EventLog(log), threading.Lock()
        # cookies cannot be taken back, so sessions that were left are noted
        self._left = {event.facts["session"] for event in self._log.events(LEFT)}
        self._by_digest = dict(secrets)
        # cookies can be read by whoever has them: what they hold tells nothing of a secret
        self._by_id = {_id(key, digest): person for digest, person in secrets.items()}
        self._ids = {digest: _id(key, digest) for digest in secrets}

    @property
    def sign_in(self) -> bool:
        """Whether people must sign in."""
        return bool(self._by_digest)

    def is_program(self, headers: Headers) -> bool:
        """Whether a request may ask what programs ask."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        known = kind.lower() == "bearer" and self._find(given.strip()) is not None
        return known or not self.sign_in

    def enter(self, session: dict[str, Any], given: str) -> Person | None:
        """Sign in by a secret; None where no person has it."""
        owner = self._find(given.strip())
        if owner is None or owner[1].role == "program":
            return None
        digest, person = owner
        session.clear()  # what was begun before belongs to nobody
        session[_BY] = self._ids[digest]
        csrf_token(session)  # which tells it from others of the same person
        return person

    def person(self, session: dict[str, Any]) -> Person | None:
        """Who has this session; None before signing in, and once the secret is gone."""
        person: Person | None = Person(session.get(_NAME, ""), "reviewer")
        if self.sign_in:
            person = self._by_id.get(str(session.get(_BY)))
            if _CSRF not in session or _digest(str(session[_CSRF])) in self._left:
                return None
        if person is None or person.role == "program":  # which the file may say since it signed in
            return None
        if person.name:
            return person
        return replace(person, name=f"{GUEST} {_digest(csrf_token(session))[:4]}", is_named=False)

    def leave(self, session: dict[str, Any], who: str) -> None:
        """Sign out: this session, wherever its cookie was copied to, is nobody's from now on."""
        left = _digest(csrf_token(session))
        with self._lock:
            self._log.append(LEFT, who, session=left)
        self._left.add(left)
        session.clear()

    def close(self) -> None:
        """Let go of the log."""
        with self._lock:
            self._log.close()

    def call(self, session: dict[str, Any], name: str) -> None:
        """Note the name of who works here, where nobody signs in; raises UserError."""
        name = " ".join(name.split())
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise UserError(f"a name has 1 to {_LONGEST_NAME} characters")
        session[_NAME] = name

    def _find(self, given: str) -> tuple[str, Person] | None:
        # digests of one length, all of them compared: time tells nothing about secrets
        digest = _digest(given)
        matching = [each for each in self._by_digest if hmac.compare_digest(each, digest)]
        return (matching[0], self._by_digest[matching[0]]) if matching else None


def _known(address: str, secret: str) -> tuple[str, str]:
    return address, _digest(secret)


def read_secrets(path: Path) -> dict[str, Person]:
    """Digest of each secret in a file, and whose it is; raises UserError, without any secret."""
    people: dict[str, Person] = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        name, role, secret = words if len(words) == 3 else ("", "reviewer", words[0])
        is_well_formed = len(words) in (1, 3) and role in get_args(Role)
        if not is_well_formed or not _SHORTEST <= len(secret) <= _LONGEST or not secret.isascii():
            raise UserError(
                f"--token-file {path}: line {number} must be a secret, or NAME "
                f"{'|'.join(get_args(Role))} SECRET; a secret is one word of {_SHORTEST} to "
                f"{_LONGEST} ASCII characters, for instance that of `openssl rand -hex 32`"
            )
        if _digest(secret) in people:
            raise UserError(f"--token-file {path}: line {number} has the secret of another line")
        people[_digest(secret)] = Person(name, cast("Role", role), is_named=bool(name))
    if not people:
        raise UserError(f"--token-file {path}: is empty; see `openssl rand -hex 32`")
    return people


def _lines(path: Path) -> Iterable[str]:
    text = read_text(path, "a file with a token")
    return (line for line in text.splitlines() if line.strip())


def check_two_people(secrets: Mapping[str, Person], path: Path | None) -> None:
    """Raise UserError where one person could be taken for two."""
    if not all(each.is_named for each in secrets.values() if each.may_review):
        raise UserError(
            f"--two-people true: --token-file {path} has a secret without a name, by which one "
            "person could sign in as two; write NAME reviewer SECRET"
        )


def _id(key: str, digest: str) -> str:
    return hmac.digest(key.encode(), digest.encode(), "sha256").hex()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def csrf_token(session: dict[str, Any]) -> str:
    """The word that forms of this session send along; pages of other sites do not know it."""
    return str(session.setdefault(_CSRF, secrets.token_urlsafe(24)))


def is_own_form(session: dict[str, Any], given: str) -> bool:
    """Whether a request comes from a page of this session."""
    known = session.get(_CSRF)
    return known is not None and hmac.compare_digest(str(known).encode(), given.encode())


def session_key(folder: Path) -> str:
    """What cookies are signed with, so that they outlive a restart; made once, for the owner."""
    path = folder / _KEY
    if not path.exists():
        with writing(path) as aside:
            with suppress(OSError):  # of file systems without permissions
                aside.chmod(0o600)
            aside.write_text(secrets.token_hex(32), encoding="ascii")
    key = read_text(path, "the key of sessions").strip()
    if len(key) < _SHORTEST_KEY:
        raise UserError(
            f"{path}: has no key of {_SHORTEST_KEY} characters; remove it, and people sign in again"
        )
    return key
