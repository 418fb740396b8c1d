"""Who may do what: secrets, sessions, forms of this station and of others."""

import hashlib
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from cvgssl.runtime.errors import UserError
from cvgssl.station import people as module
from cvgssl.station.people import (
    Brake,
    People,
    Person,
    check_two_people,
    csrf_token,
    is_own_form,
    read_secrets,
    session_key,
)

KEY = "k" * 64
LI, BOT, BARE = "li-secret-0123456789", "bot-secret-0123456789", "bare-secret-0123456789"


@pytest.fixture
def people(tmp_path: Path) -> People:
    path = tmp_path / "tokens"
    path.write_text(f"Li labeller {LI}\n\nrobot program {BOT}\n{BARE}\n")
    return People(read_secrets(path), KEY, tmp_path / "log")


def test_people_sign_in_and_programs_do_not(people: People) -> None:
    session: dict[str, object] = {"csrf": "before"}
    assert people.sign_in and people.person(session) is None
    assert people.enter(session, "wrong-secret-0123456789") is None
    assert people.enter(session, BOT) is None and people.person(session) is None
    assert people.enter(session, f" {LI}\n") == Person("Li", "labeller")
    assert people.person(session) == Person("Li", "labeller") and session["csrf"] != "before"
    assert LI not in str(session)
    assert not Person("Li", "labeller").may_review
    people.enter(session, BARE)
    guest = people.person(session)
    assert guest is not None and guest.may_review and guest.name.startswith("guest ")


def test_who_signs_out_ends_the_session_wherever_its_cookie_is(
    people: People, tmp_path: Path
) -> None:
    session: dict[str, object] = {}
    other: dict[str, object] = {}
    for each in (session, other):
        people.enter(each, LI)
    copied = dict(session)
    people.leave(session, "Li")
    assert session == {} and people.person(copied) is None
    assert people.person(other) == Person("Li", "labeller")
    assert people.person({"by": copied["by"]}) is None
    again = People(read_secrets(tmp_path / "tokens"), KEY, tmp_path / "log")  # started again
    assert again.person(copied) is None and again.person(other) == Person("Li", "labeller")


def test_a_secret_that_is_taken_back_ends_its_sessions(people: People, tmp_path: Path) -> None:
    session: dict[str, object] = {}
    people.enter(session, LI)

    def now(text: str, key: str = KEY) -> Person | None:
        (tmp_path / "tokens").write_text(text)
        return People(read_secrets(tmp_path / "tokens"), key, tmp_path / "log").person(session)

    assert now(f"{BARE}\n") is None
    assert now(f"Li program {LI}\n") is None  # it is a program's now
    assert now(f"Li reviewer {LI}\n") == Person("Li", "reviewer")
    assert now(f"Li reviewer {LI}\n", KEY + "x") is None
    assert hashlib.sha256(LI.encode()).hexdigest() not in str(session)


@pytest.mark.parametrize("secret", [LI, BOT, BARE])
def test_programs_send_any_of_the_secrets(people: People, secret: str) -> None:
    assert people.is_program(Headers({"authorization": f"Bearer {secret}"}))
    assert not people.is_program(Headers({"authorization": f"Basic {secret}"}))
    assert not people.is_program(Headers({"authorization": f"Bearer {secret[:-1]}"}))
    assert not people.is_program(Headers({"authorization": "Bearer Ä"}))
    assert not people.is_program(Headers())


def test_without_secrets_all_are_reviewers_by_the_name_they_give(tmp_path: Path) -> None:
    people = People({}, KEY, tmp_path / "log")
    session: dict[str, object] = {}
    guest, other = people.person(session), people.person({})
    assert guest is not None and other is not None and guest.may_review
    assert not guest.is_named and people.person(session) == guest != other
    people.call(session, "  Wang  Fang ")
    assert people.person(session) == Person("Wang Fang", "reviewer")
    for name in ("", " ", "x" * 61, "a\x1bb"):
        with pytest.raises(UserError, match="a name has 1 to 60 characters"):
            people.call(session, name)


@pytest.mark.parametrize(
    "text",
    ["", "short", f"Li boss {LI}", f"Li labeller reviewer {LI}", f"Li {LI}", "ä" * 20],
)
def test_files_that_hold_no_secrets(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(UserError, match=r"--token-file .*tokens: ") as error:
        read_secrets(path)
    assert LI not in str(error.value)


def test_the_same_secret_twice(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"Li labeller {LI}\nWang reviewer {LI}\n")
    with pytest.raises(UserError, match="line 2 has the secret of another line"):
        read_secrets(path)


def test_forms_of_other_sites_lack_the_word() -> None:
    session: dict[str, object] = {}
    assert not is_own_form(session, "")
    word = csrf_token(session)
    assert csrf_token(session) == word and is_own_form(session, word)
    assert not is_own_form(session, "") and not is_own_form(session, word + "x")
    assert csrf_token({}) != word


def test_the_key_of_sessions_stays_and_is_its_owners(tmp_path: Path) -> None:
    key = session_key(tmp_path)
    assert len(key) == 64 and session_key(tmp_path) == key
    assert (tmp_path / "session.key").stat().st_mode & 0o077 == 0
    for text in ("", "short\n"):
        (tmp_path / "session.key").write_text(text)
        with pytest.raises(UserError, match=r"session\.key: has no key of 32 characters"):
            session_key(tmp_path)


def test_two_people_have_names(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    for text, is_right in (
        (f"Li reviewer {LI}\nWang reviewer {BOT}\n", True),
        (f"Li reviewer {LI}\n{BARE}\n", False),
    ):
        path.write_text(text)
        if is_right:
            check_two_people(read_secrets(path), path)
        else:
            with pytest.raises(UserError, match="has a secret without a name"):
                check_two_people(read_secrets(path), path)


def test_ten_wrong_ones_in_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    brake = Brake()
    brake.note("plc", "right", True)
    for number in range(10):
        assert brake.seconds("plc", "x") == 0
        brake.note("plc", f"wrong {number}", False)
        now += 1
    assert brake.seconds("plc", "x") == 51  # from the first of the ten on
    assert brake.seconds("plc", "right") == 0 and brake.seconds("other", "x") == 0
    now += 50
    assert brake.seconds("plc", "x") == 0
    brake.note("plc", "wrong", False)
    assert brake.seconds("plc", "x") > 0


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ADDRESSES", 3)
    brake = Brake()
    for number in range(9):
        brake.note(f"{number}", "wrong", False)
        brake.note(f"{number}", "right", True)
    assert list(brake._wrong) == ["6", "7", "8"] and len(brake._right) == 3
