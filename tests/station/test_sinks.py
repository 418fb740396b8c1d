"""From the log of a station to everywhere else, whatever breaks between."""

import contextlib
import csv
import hashlib
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cvgssl.station import delivery as delivering
from cvgssl.station import sinks
from cvgssl.station.answer_rows import ANSWER
from cvgssl.station.delivery import Delivery
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.picture_store import PictureStore
from cvgssl.station.sinks import ALARM, CsvSink, FolderSink, MqttSink, WebhookSink
from tests.station.conftest import until

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")


@pytest.fixture
def add(folder: Path) -> Iterator[Callable[..., int]]:
    """`add(name, answer)`: an answer in the log, its picture in the store; gives its number."""
    log, store = EventLog(folder / LOG), PictureStore(folder, 10**8)

    def call(name: str = "a.png", answer: str = "scratch", kind: str = ANSWER) -> int:
        data = name.encode()
        digest = hashlib.sha256(data).hexdigest()
        store.keep(data, digest)
        facts = {
            "name": name, "sha256": digest, "version": 1, "answer": answer, "class": answer,
            "probability": 0.75, "probabilities": {answer: 0.75}, "source": "program", "ms": 1.5,
        }  # fmt: skip
        return log.append(kind, "program", **facts).number

    yield call
    log.close()
    store.close()


@contextlib.contextmanager
def at_work(sink: Any, folder: Path) -> Iterator[Delivery]:
    delivery = Delivery(sink, folder, "here")
    delivery.begin()
    try:
        yield delivery
    finally:
        delivery.close()


def rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_of_a_csv_file_are_there_once(folder: Path, add: Any, tmp_path: Path) -> None:
    add("before the sink was there")
    path = tmp_path / "out" / "answers.csv"
    with at_work(CsvSink(path), folder) as delivery:
        numbers = [add(f'{each}, "new"\nline', "=1+1") for each in range(3)]
        until(lambda: delivery.after == numbers[-1])
    whole = path.read_bytes()
    assert [int(row["number"]) for row in rows(path)] == numbers
    assert rows(path)[0]["name"] == '0, "new"\nline' and rows(path)[0]["answer"] == "'=1+1"
    # killed after a part of the next rows was written, and before that was noted
    (kept,) = (folder / "sinks").glob("csv*.json")
    before = kept.read_text()
    more = [add(f"more {each}") for each in range(150)]
    with at_work(CsvSink(path), folder) as delivery:
        until(lambda: delivery.after == more[-1])
    path.write_bytes(path.read_bytes()[: len(whole) + 777])
    kept.write_text(before)
    with at_work(CsvSink(path), folder) as delivery:
        until(lambda: delivery.after == more[-1])
    assert [int(row["number"]) for row in rows(path)] == [*numbers, *more]


def test_a_csv_file_of_others_is_left_alone(folder: Path, add: Any, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("my notes\n")
    with at_work(CsvSink(path), folder) as delivery:
        number = add()
        assert "was changed by another program" in until(lambda: delivery.trouble)
        assert path.read_text() == "my notes\n"
        path.rename(tmp_path / "notes.csv")
        until(lambda: delivery.after == number)
    assert delivery.trouble == "" and len(rows(path)) == 1


def test_pictures_are_copied_into_folders_of_their_answers(
    folder: Path, add: Any, tmp_path: Path
) -> None:
    store = PictureStore(folder, 10**8)
    sorted_into = tmp_path / "sorted"
    with at_work(FolderSink(sorted_into, store), folder) as delivery:
        first, second = add("shift 2/a.png", "not sure"), add("shift 2/a.png", "../up")
        until(lambda: delivery.after == second)
    store.close()
    found = {path.relative_to(sorted_into).as_posix() for path in sorted_into.rglob("*.*")}
    assert f"not sure/{first:08} a.png" in found
    assert f".._up/{second:08} a.png" in found
    assert not list(tmp_path.glob("up*"))
    assert (sorted_into / "not sure" / f"{first:08} a.png").read_bytes() == b"shift 2/a.png"


def test_names_that_no_file_system_takes_are_cut(folder: Path, add: Any, tmp_path: Path) -> None:
    store = PictureStore(folder, 10**8)
    long, twin = "划" * 86, "划" * 85 + "伤"  # 258 bytes of UTF-8
    with at_work(FolderSink(tmp_path / "sorted", store), folder) as delivery:
        add(f"line/{'夹' * 100}.png", long)
        last = add("a.png", twin)
        until(lambda: delivery.after == last)
    store.close()
    copies = sorted((tmp_path / "sorted").rglob("*.png"))
    assert len({path.parent for path in copies}) == 2 and len(copies) == 2
    assert all(path.parent.name.startswith("划" * 60) for path in copies)
    assert {path.name[8:] for path in copies} == {f" {'夹' * 65}.png", " a.png"}


def test_what_an_address_holds_is_in_no_name(folder: Path, add: Any) -> None:
    address = "https://mes.plant/hook?token=0123456789abcdef"
    old = (
        folder / "sinks" / "webhook https%3A%2F%2Fmes.plant%2Fhook%3Ftoken%3D0123456789abcdef.json"
    )
    old.parent.mkdir()
    old.write_text('{"after": 2, "state": {}}')  # by an earlier station
    numbers = [add() for _ in range(3)]
    assert Delivery(WebhookSink(address), folder, address).after == numbers[1]
    other = address.replace("hook?", "hook?" + "x" * 150)
    assert Delivery(WebhookSink(other), folder, other).after == numbers[2]
    names = [path.name for path in (folder / "sinks").iterdir()]
    assert len(names) == 2 and not any("0123456789abcdef" in name for name in names)


def test_a_log_from_a_backup_ends_before_what_was_delivered(
    folder: Path, add: Any, tmp_path: Path
) -> None:
    (folder / "sinks").mkdir()
    first = add()
    path = tmp_path / "a.csv"
    with at_work(CsvSink(path), folder) as delivery:
        assert delivery.after == first
    (kept,) = (folder / "sinks").iterdir()
    kept.write_text(json.dumps({"after": first + 5, "state": {}}))
    with at_work(CsvSink(path), folder) as delivery:
        second = add()
        until(lambda: delivery.after == second)
    assert [int(row["number"]) for row in rows(path)] == [second]


class Receiver(ThreadingHTTPServer):
    """Takes POSTs; `status` is what it answers, `got` what came."""

    def __init__(self) -> None:
        self.status, self.got, self.paths = 200, [], []  # type: ignore[var-annotated]
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?line=3"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        if self.server.status == 200:
            self.server.got += json.loads(body)["events"]
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_webhook_gets_all_after_it_was_away(folder: Path, add: Any) -> None:
    receiver = Receiver()
    with at_work(WebhookSink(receiver.address), folder) as delivery:
        first = add("a.png")
        until(lambda: delivery.after == first)
        receiver.status = 302  # which is not followed
        second = add("夹杂.png", "夹杂")
        assert until(lambda: delivery.trouble) == "status 302"
        with contextlib.closing(EventLog(folder / LOG)) as log:
            assert delivery.waiting(log) == 1
        receiver.status = 200
        alarm = add(kind=ALARM)
        until(lambda: delivery.after == alarm)
    receiver.shutdown()
    receiver.server_close()
    assert [each["number"] for each in receiver.got] == [first, second, alarm]
    assert [each["kind"] for each in receiver.got] == ["answer", "answer", "alarm"]
    assert receiver.got[1]["answer"] == "夹杂" and receiver.got[1]["probability"] == 0.75
    assert set(receiver.paths) == {"/hook?line=3"}


def test_a_webhook_that_is_not_there(folder: Path, add: Any) -> None:
    receiver = Receiver()
    address = receiver.address
    receiver.shutdown()
    receiver.server_close()
    with at_work(WebhookSink(address), folder) as delivery:
        add()
        assert "refused" in until(lambda: delivery.trouble)


@contextlib.contextmanager
def slow_receiver(begin: bytes, more: bytes) -> Iterator[tuple[str, list[float]]]:
    """Begins an answer, then sends more again and again; its address, and when each POST came."""
    came: list[float] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            came.append(time.monotonic())
            with contextlib.suppress(OSError):
                self.request.sendall(begin)
                while True:
                    time.sleep(0.05)
                    self.request.sendall(more)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", came
        server.shutdown()


@pytest.mark.parametrize(
    ("begin", "more", "trouble"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x", "no answer within 0 seconds"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "no answer within 0 seconds"),
        (b"SSH-2.0-x\r\n\r\n", b"x", "no answer in HTTP: "),
    ],
)
def test_a_receiver_that_drips_holds_neither_delivery_nor_the_end(
    folder: Path, add: Any, monkeypatch: pytest.MonkeyPatch, begin: bytes, more: bytes, trouble: str
) -> None:
    for module in (sinks, delivering):
        monkeypatch.setattr(module, "TIMEOUT", 0.4)
    monkeypatch.setattr(delivering, "_ENDING", 30)  # or a slow machine looks like a held end
    with slow_receiver(begin, more) as (address, came):
        with at_work(WebhookSink(address), folder) as delivery:
            add()
            assert until(lambda: delivery.trouble).startswith(trouble)
            until(lambda: len(came) > 1)
        assert not delivery._thread.is_alive()


def test_a_sink_that_fails_otherwise_is_tried_again(
    folder: Path, add: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Faulty(CsvSink):
        faults = 1

        def deliver(self, *words: Any) -> dict[str, int]:
            if self.faults:
                self.faults = 0
                raise ZeroDivisionError("nobody thought of it")
            return super().deliver(*words)

    with at_work(Faulty(folder / "a.csv"), folder) as delivery:
        number = add()
        assert "nobody thought of it" in until(lambda: delivery.trouble)
        until(lambda: delivery.after == number and not delivery.trouble)
    assert "nobody thought of it" in json.loads(capsys.readouterr().err)["message"]


BROKEN = """
import sys
from pathlib import Path
from cvgssl.station.delivery import Delivery
from cvgssl.station.sinks import WebhookSink
delivery = Delivery(WebhookSink(sys.argv[2]), Path(sys.argv[1]), "here")
delivery.begin()
print("ready", flush=True)
delivery._thread.join()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_kills_lose_nothing(folder: Path, add: Any) -> None:
    receiver = Receiver()
    numbers = []
    for kill in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", BROKEN, folder, receiver.address],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        numbers += [add(f"{kill} {each}") for each in range(120)]
        until(lambda: len(receiver.got) > 20 + 100 * kill)  # noqa: B023 - called at once
        process.kill()
        process.communicate()
    with at_work(WebhookSink(receiver.address), folder) as delivery:
        until(lambda: delivery.after == numbers[-1])
    receiver.shutdown()
    receiver.server_close()
    assert sorted({each["number"] for each in receiver.got}) == numbers


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """`broker()` starts a mosquitto that knows a name and a password; gives its port."""
    pytest.importorskip("aiomqtt")
    if MOSQUITTO is None or shutil.which("mosquitto_sub") is None:
        pytest.skip("no mosquitto here: apt-get install mosquitto mosquitto-clients")
    started: list[subprocess.Popen[bytes]] = []
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "line", "secret word"], check=True)
    passwords.chmod(0o644)
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
        f"user root\npersistence false\n"
    )

    def start() -> int:
        started.append(subprocess.Popen([MOSQUITTO, "-c", conf], stderr=subprocess.DEVNULL))

        def is_there() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", port)) == 0

        until(is_there)
        return port

    yield start
    for each in started:
        each.kill()
        each.wait()


def test_a_broker_gets_answers_and_alarms(
    folder: Path, add: Any, broker: Callable[[], int]
) -> None:
    port = broker()
    words = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-u", "line", "-P", "secret word"]
    words += ["-q", "1", "-t", "plant/line 3/#", "-F", "%t %p", "-i", "test", "-c", "-W", "20"]
    subprocess.run([*words, "-E"], check=True)  # a session for which the broker keeps messages
    address = f"mqtt://127.0.0.1:{port}/plant/line 3"
    with at_work(MqttSink(address, "line", "wrong"), folder) as delivery:
        first = add("a.png", "夹杂")
        assert "ot authori" in until(lambda: delivery.trouble)
    with at_work(MqttSink(address, "line", "secret word"), folder) as delivery:
        alarm = add(kind=ALARM)
        until(lambda: delivery.after == alarm)
    heard = subprocess.run([*words, "-C", "2"], capture_output=True, text=True, check=True)
    got = [line.split(" {", 1) for line in heard.stdout.splitlines()]
    assert [topic for topic, _ in got] == ["plant/line 3", "plant/line 3/alarm"]
    facts = [json.loads("{" + text) for _, text in got]
    assert [each["number"] for each in facts] == [first, alarm]
    assert facts[0]["answer"] == "夹杂"
