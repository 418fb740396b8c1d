"""A recognizer, and stations that run as processes of their own."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit


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
    """`with start(FOLDER, "--model", ...) as running`: a station at a free port."""

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
