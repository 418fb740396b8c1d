"""A recognizer, and stations that run as processes of their own."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit
from cvgssl.station.events import LOG, EventLog


def until(is_so: Callable[[], Any]) -> Any:
    """What `is_so` gives as soon as that is true; fails long after any machine would have it."""
    end = time.monotonic() + 240
    while not (answer := is_so()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    return answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a station, with its log."""
    (tmp_path / "station").mkdir()
    EventLog(tmp_path / "station" / LOG).close()
    return tmp_path / "station"


@pytest.fixture(scope="session")
def recognizer(steel: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, _ = fit(
        FitConfig(
            data=steel,
            encoder=(f"test_vit={teacher_file}",),
            image_size=32,
            shot=3,
            head="kernel-ridge",
            out=tmp_path_factory.mktemp("station") / "fit",
        )
    )
    return folder


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """A station: where it is, its process, what it writes into its log."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path, port: int) -> None:
        self.process, self.log, self.port = process, log, port

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            words = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, words)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())

    def predict(self, data: bytes, query: str = "") -> Answer:
        return self.ask("POST", f"/v1/predict{query}", data, Content_Type="image/bmp")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


Start = Callable[..., contextlib.AbstractContextManager[Running]]


@pytest.fixture(scope="session")
def start(python: str) -> Start:
    """`with start(FOLDER, "--recognizer", ...) as running`: a station at a free port."""

    @contextlib.contextmanager
    def starting(folder: Path, *words: str | Path) -> Iterator[Running]:
        log = folder.with_name(f"{folder.name}.log")
        with log.open("a") as errors:
            process = subprocess.Popen(
                [python, "-m", "cvgssl", "station", folder, "--port", "0", *words],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            port = re.search(r":(\d+): \w", first)
            assert port, first + log.read_text()
            yield Running(process, log, int(port[1]))
        finally:
            process.kill()
            process.wait()

    return starting


class Visitor:
    """A browser without JavaScript: keeps cookies and the word against forgery."""

    def __init__(self, running: Running) -> None:
        self.running, self.cookies = running, dict[str, str]()
        self.word = ""

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.running.ask(method, path, body, **headers)
        if "set-cookie" in answer.headers:
            name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
            self.cookies[name] = value
        if word := re.search(rb'name="csrf" content="([^"]*)"', answer.body):
            self.word = word[1].decode()
        return answer

    def page(self, path: str) -> Answer:
        return self.ask("GET", path, Accept="text/html")

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, facts: object) -> Answer:
        if not self.word:
            self.page("/review")
        data = json.dumps(facts).encode()
        return self.ask("POST", path, data, Content_Type="application/json", X_CSRF_Token=self.word)

    def sign_in(self, secret: str) -> Answer:
        self.page("/sign-in")
        form = urllib.parse.urlencode({"csrf": self.word, "secret": secret}).encode()
        answer = self.ask(
            "POST", "/sign-in", form, Content_Type="application/x-www-form-urlencoded"
        )
        self.page("/review")
        return answer
