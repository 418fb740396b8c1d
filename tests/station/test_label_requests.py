"""Labels over HTTP: of the picture that was shown, whatever happens to folders meanwhile."""

import contextlib
import hashlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.features.table import FeatureTable, save_features
from cvgssl.runtime.errors import MachineError
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.pages.shell import _trouble
from cvgssl.station.pool import Pool
from tests.station.conftest import Answer, Running, Start, Visitor

SECRETS = {"Li": "li-secret-0123456789", "Wang": "wang-secret-0123456789"}
COUNT = 12


def pictures(folder: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(COUNT):
        pixels = rng.integers(0, 255, (24, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"img{number}.bmp")
    return folder


def choose(station: Path, folder: Path, name: str | None = None) -> None:
    """As /start/choose, with embeddings that are there at once."""
    pool = Pool(station, [folder], station / LOG, 10)
    chosen = pool.choose(name or folder.name, "test")
    if not pool.features.exists():
        names = sorted(path.relative_to(chosen).as_posix() for path in chosen.rglob("*.bmp"))
        count = len(names)
        values = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
        pool.features.parent.mkdir(parents=True, exist_ok=True)
        save_features(
            FeatureTable(values, tuple(names), np.full(count, -1), ("train",) * count, ()),
            pool.features,
        )
    pool.close()


def labels(station: Path) -> list[dict[str, object]]:
    log = EventLog(station / LOG)
    try:
        return [event.facts for event in log.events("label")]
    finally:
        log.close()


def shown(visitor: Visitor) -> dict[str, object]:
    """The next picture, once one is chosen."""
    for _ in range(600):
        answer = visitor.post("/label/next", {})
        assert answer.status == 200, answer
        if answer.json["picture"] is not None:
            found: dict[str, object] = answer.json["picture"]
            return found
        time.sleep(0.05)
    raise AssertionError("no picture was chosen")


def give(visitor: Visitor, picture: dict[str, object], label: object) -> Answer:
    return visitor.post("/label/give", picture | {"label": label})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "station").mkdir()
    pictures(tmp_path / "line1", 1)
    pictures(tmp_path / "line2", 2)
    choose(tmp_path / "station", tmp_path / "line1")
    return tmp_path


@pytest.fixture
def running(start: Start, place: Path) -> Iterator[Running]:
    tokens = place / "tokens"
    tokens.write_text(f"Li labeller {SECRETS['Li']}\nWang reviewer {SECRETS['Wang']}\n")
    folders = ("--pictures", place / "line1", place / "line2")
    with start(place / "station", *folders, "--token-file", tokens) as station:
        yield station


@pytest.fixture
def li(running: Running) -> Visitor:
    visitor = Visitor(running)
    visitor.sign_in(SECRETS["Li"])
    return visitor


def test_a_label_is_of_the_picture_that_was_shown(li: Visitor, place: Path) -> None:
    station = place / "station"
    for path in ("/start/choose", "/start/cancel"):
        assert li.post(path, {"folder": "line2"}).status == 403  # everybody's folder
    before = shown(li)
    choose(station, place / "line2")
    answer = give(li, before, "good")
    assert answer.status == 409 and "another folder was chosen" in answer.json["error"]
    assert li.post("/label/skip", before).status == 409
    choose(station, place / "line1")
    file = place / "line1" / str(before["picture"])
    kept, other = file.read_bytes(), (place / "line2" / "img0.bmp").read_bytes()
    large = f"/pool/1280/{before['picture']}"
    pixels = li.get(large).body
    file.write_bytes(other)
    answer = give(li, before, "good")
    assert answer.status == 409 and "another picture than was shown" in answer.json["error"]
    assert li.get(large).body != pixels  # what is on the disk now
    for sent in ({}, {"pool": before["pool"]}, {"sha256": before["sha256"]}):
        assert give(li, {"picture": before["picture"], **sent}, "good").status == 409
    assert labels(station) == []
    file.write_bytes(kept)
    assert give(li, before, "good").status == 200
    (label,) = labels(station)
    assert label["sha256"] == hashlib.sha256(kept).hexdigest()
    again = li.get(f"/label/picture?name={before['picture']}").json["picture"]
    assert again["label"] == "good" and again["sha256"] == label["sha256"]
    for blank in (" ", "\u200b", "", None, 5):  # "" takes a label back; that is what undo is for
        assert give(li, again, blank).status == 422
    assert len(labels(station)) == 1


def test_the_folder_is_away_for_a_while(li: Visitor, place: Path) -> None:
    first = shown(li)
    (place / "line1").rename(place / "away")
    for mounted in (False, True):
        if mounted:  # a mount point without its file system
            (place / "line1").mkdir()
        answer = li.post("/label/next", {})
        assert answer.status == 503 and "cannot be reached" in answer.json["error"]
        assert str(place) not in answer.json["error"]
    (place / "line1").rmdir()
    (place / "away").rename(place / "line1")
    seen = []
    for _ in range(COUNT):
        picture = shown(li)
        seen.append(picture["picture"])
        assert give(li, picture, "good").status == 200
    assert seen[0] == first["picture"] and len(set(seen)) == COUNT


def test_one_picture_that_vanishes_costs_only_itself(li: Visitor, place: Path) -> None:
    first = shown(li)
    (place / "line1" / str(first["picture"])).unlink()
    assert shown(li)["picture"] != first["picture"]
    assert give(li, first, "good").status == 404


def test_another_folder_while_a_page_waits(li: Visitor, running: Running, place: Path) -> None:
    shown(li)
    found: list[Answer] = []

    def wait() -> None:
        mine = Visitor(running)
        mine.cookies |= li.cookies
        while len(found) < 3:
            found.append(mine.get("/label/state?after=99999999"))

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    for folder in ("line2", "line1", "line2", "line1"):
        time.sleep(0.3)
        choose(place / "station", place / folder)
        assert li.get("/label/state").status == 200
    for thread in threads:
        thread.join()
    assert [answer.status for answer in found] == [200] * len(found), found
    assert "damaged" not in running.log.read_text()


def test_who_only_looks_takes_no_picture(running: Running, li: Visitor) -> None:
    shown(li)
    left = li.get("/label/state").json["waiting"]
    for _ in range(3):
        assert running.ask("GET", "/label/next").status == 405
        assert running.ask("POST", "/label/next", b"{}").status == 401
    assert li.get("/label/state").json["waiting"] == left


def test_labels_of_a_station_and_pictures_that_were_moved(start: Start, place: Path) -> None:
    station = place / "station"
    with start(station, "--pictures", place / "line1") as running:
        visitor = Visitor(running)
        given = {}
        for name in ("good", "pit", "good"):
            picture = shown(visitor)
            given[picture["picture"]] = name
            assert give(visitor, picture, name).status == 200
        assert running.end() == 0
    moved = place / "moved"
    moved.mkdir()
    station.rename(moved / "station")
    (place / "line1").rename(moved / "mount")
    choose(moved / "station", moved / "mount")
    with start(moved / "station", "--pictures", moved / "mount") as running:
        visitor = Visitor(running)
        visitor.page("/label")
        for name, label in given.items():
            found = visitor.get(f"/label/picture?name={name}").json["picture"]
            assert (found["picture"], found["label"]) == (name, label)
        assert give(visitor, shown(visitor), "pit").status == 200
        found["label"] = "dent"
        assert visitor.post("/label/give", found).status == 200  # over one of then
    # other pictures of the same names have no labels
    choose(moved / "station", place / "line2")
    with start(moved / "station", "--pictures", place / "line2") as running:
        visitor = Visitor(running)
        visitor.page("/label")
        found = visitor.get(f"/label/picture?name={name}").json["picture"]
        assert found["label"] is None and visitor.get("/label/state").json["labelled"] == 0


def test_what_no_page_asks(li: Visitor, running: Running) -> None:
    """Refused, without a fault of the station and without a place of this machine."""
    long = "9" * 5000
    for status, path in (
        (404, f"/answers/{long}"),
        (404, "/answers/9999999999999999999999999"),
        (404, f"/replay/{long}/again"),
        (404, f"/replay/{long}"),
        (404, f"/models/{long}"),
        (404, f"/pool/{long}/img1.bmp"),
        (404, "/pool/160/" + "x" * 5000),
        (404, "/pool/160/" + "x/" * 500),
    ):
        assert li.get(path).status == status, path
    picture = shown(li)
    assert give(li, picture | {"picture": "x" * 300}, "good").status == 404
    assert give(li, picture | {"picture": "../line2/img0.bmp"}, "good").status == 404
    body = f"csrf={li.word}&secret=x".encode()
    for charset in ("undefined", "unicode_escape", "punycode", "idna", "utf-7"):
        for kind in ("multipart/form-data; boundary=e", "application/x-www-form-urlencoded"):
            for path in ("/sign-in", "/v1/predict"):
                secret = {"Authorization": f"Bearer {SECRETS['Li']}"}
                kind_of = {"Content-Type": f'{kind}; charset="{charset}"'}
                assert li.ask("POST", path, body, **kind_of, **secret).status == 415
    for site in ("cross-site", "same-site"):  # a page at another port of this machine
        assert li.ask("GET", "/label/state", Sec_Fetch_Site=site).status == 403
        assert li.ask("GET", "/label", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate").status == 200
    assert '"status": 500' not in running.log.read_text()


def test_places_of_this_machine_are_not_told(start: Start, place: Path, recognizer: Path) -> None:
    station = place / "station"
    log = EventLog(station / LOG)
    number = log.append("job", "Li", task="fit", words=["fit", str(place / "line1")]).number
    weights, table = place / "weights" / "v.pth", place / "tables" / "a.csv"
    message = f"{station.resolve()}/fits/3/x: and {place / 'line1'}; {place / 'line1-old'}"
    message += f"; {weights}: damaged; {table}: full"
    log.append("job ended", "station", job=number, state="failed", said=message)
    log.close()
    words = ("--recognizer", recognizer, "--pictures", place / "line1")
    words = (*words, "--encoder", f"test_vit={weights}", "--csv", table)
    table.parent.mkdir()
    with start(station, *words) as running:
        visitor = Visitor(running)
        visitor.page("/label")
        fit = visitor.get("/label/state").json["fit"]
        assert fit["message"] == (
            f"fits/3/x: and line1; {place / 'line1-old'}; v.pth: damaged; a.csv: full"
        )
        (station / "models" / "0001").rename(station / "away")
        for path in ("/start/state", "/models/state", "/models/1", "/start", "/models"):
            answer = visitor.get(path)
            assert answer.status in (200, 422), path
            for folder in (station, place / "line1/"):
                assert f"{folder}/" not in answer.body.decode(), (path, answer)


def test_a_full_disk(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    with pytest.raises(OSError) as caught, full.open("wb", buffering=0) as file:
        file.write(b"x")
    assert _trouble(caught.value).status_code == 507
    log = EventLog(tmp_path / "log")
    log.select("pragma max_page_count = 1")
    with pytest.raises(MachineError) as of_rows:
        for _ in range(100):
            log.append("x", "Li", text="x" * 4000)
    log.close()
    answer = _trouble(of_rows.value)
    assert answer.status_code == 507 and str(tmp_path) not in answer.detail
    assert _trouble(MachineError("no memory")).status_code == 503


@pytest.mark.parametrize("written", ["{station}/uploads", "s/uploads", "/gone/s/uploads"])
def test_what_was_uploaded_moves_with_the_station(tmp_path: Path, written: str) -> None:
    station = tmp_path / "station"
    pictures(station / "uploads", 3)
    log = EventLog(station / LOG)
    log.append("pool", "Li", folder=written.format(station=station))
    log.close()
    pool = Pool(station, [], station / LOG, 10)
    assert pool.key() == "uploads" and pool.chosen() == station / "uploads"
    before = pool.features
    assert pool.path("img3.bmp") == station / "uploads" / "img3.bmp"
    pool.choose("uploads", "Li")
    assert pool.features == before
    pool.close()


def test_many_who_wait_hold_no_thread(li: Visitor, running: Running) -> None:
    """Ten requests are over before those of half of twice as many as there are threads."""
    shown(li)
    cookies = "; ".join(f"{name}={value}" for name, value in li.cookies.items())
    words = f"GET /label/state?after=99999999 HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}"
    for _ in range(20):  # a slow machine may need longer than they wait; held threads always do
        with contextlib.ExitStack() as stack:
            waiting = []
            for _ in range(80):
                place = ("127.0.0.1", running.port)
                waiting.append(stack.enter_context(socket.create_connection(place)))
                waiting[-1].sendall(f"{words}\r\n\r\n".encode())
            for _ in range(10):
                answer = running.ask("GET", "/v1/models", Authorization=f"Bearer {SECRETS['Li']}")
                assert answer.status == 200
            answered, _, _ = select.select(waiting, [], [], 0)
            assert all(each.recv(12) == b"HTTP/1.1 200" for each in waiting)
        if len(answered) < 40:
            return
    raise AssertionError("requests wait for those that wait for a label")
