"""Going live by two people: one proposes, another one approves, once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cvgssl.runtime.errors import UserError
from cvgssl.station.approval import Approvals
from cvgssl.station.events import EventLog
from cvgssl.station.models import Models


@pytest.fixture
def models(tmp_path: Path) -> Models:
    models = Models(tmp_path, EventLog(tmp_path / "log"))
    for number in range(1, 4):
        file = tmp_path / f"{number}.onnx"
        file.write_bytes(b"%d" % number)
        models.add(file, "anna")
    models.go_live(1, "anna")
    return models


def approvals(tmp_path: Path, two_people: bool = True) -> Approvals:
    def use(number: int) -> None:
        version = Models(tmp_path, EventLog(tmp_path / "log")).live()
        assert version is not None and version.number == number  # it is written before

    return Approvals(tmp_path, tmp_path / "log", two_people, lambda number: number, use)


def live(models: Models) -> int:
    version = models.live()
    assert version is not None
    return version.number


def test_a_second_person(models: Models, tmp_path: Path) -> None:
    asked = approvals(tmp_path)
    proposal = asked.propose(2, "anna")
    assert proposal is not None and (proposal.version, proposal.replaces) == (2, 1)
    assert asked.propose(2, "anna") == proposal and asked.open() == [proposal]
    with pytest.raises(UserError, match="a second person"):
        asked.decide(proposal.number, "anna", approve=True)
    assert live(models) == 1
    decided = asked.decide(proposal.number, "bo", approve=True)
    assert decided.approved and decided.by == "bo" and live(models) == 2
    assert asked.open() == [] and asked.all() == [decided]
    with pytest.raises(UserError, match="bo has decided it"):
        asked.decide(proposal.number, "chen", approve=False)
    with pytest.raises(UserError, match="is live already"):
        asked.propose(2, "anna")
    assert [event.who for event in models.log.events("model live")] == ["anna", "bo"]


def test_declined(models: Models, tmp_path: Path) -> None:
    asked = approvals(tmp_path)
    for who in ("bo", "anna"):  # who proposed it may take it back
        proposal = asked.propose(2, "anna")
        assert proposal is not None
        assert asked.decide(proposal.number, who, approve=False).approved is False
    assert live(models) == 1 and len(asked.all()) == 2


def test_what_was_live_when_it_was_proposed_counts(models: Models, tmp_path: Path) -> None:
    asked = approvals(tmp_path)
    first, second = asked.propose(2, "anna"), asked.propose(3, "bo")
    assert first is not None and second is not None
    asked.decide(second.number, "anna", approve=True)
    with pytest.raises(UserError, match="version 3 has gone live since"):
        asked.decide(first.number, "bo", approve=True)
    assert live(models) == 3
    third = asked.propose(2, "anna")  # while 3 is live, which it is again later
    models.go_live(1, "bo")
    models.go_live(3, "bo")
    assert third is not None
    with pytest.raises(UserError, match="version 3 has gone live since"):
        asked.decide(third.number, "bo", approve=True)
    assert live(models) == 3


def test_one_of_many_decides(models: Models, tmp_path: Path) -> None:
    proposal = approvals(tmp_path).propose(2, "anna")
    assert proposal is not None

    def decide(who: str) -> bool:
        try:
            approvals(tmp_path).decide(proposal.number, who, approve=True)
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(decide, ["bo", "chen", "dora", "emil"])) == 1
    assert len(list(models.log.events("approval"))) == 1 and live(models) == 2


def test_without_a_second_person(models: Models, tmp_path: Path) -> None:
    assert approvals(tmp_path, two_people=False).propose(3, "anna") is None
    assert live(models) == 3


@pytest.mark.parametrize("two_people", [True, False])
def test_what_cannot_be_loaded_never_goes_live(
    models: Models, tmp_path: Path, two_people: bool
) -> None:
    def damaged(number: int) -> None:
        raise UserError(f"version {number}: is damaged")

    def use(number: int) -> None:
        raise AssertionError(number)

    asked = Approvals(tmp_path, tmp_path / "log", two_people, damaged, use)
    with pytest.raises(UserError, match="damaged"):
        asked.propose(2, "anna")
    with pytest.raises(UserError, match="version 9: there is none"):
        asked.propose(9, "anna")
    with pytest.raises(LookupError):
        asked.decide(99, "bo", approve=True)
    assert live(models) == 1 and asked.all() == []
