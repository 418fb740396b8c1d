"""A station as programs see it: real requests to a real process."""

import asyncio
import io
import json
import re
import socket
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image

from cvgssl.recognizer.predict import predict
from cvgssl.station.connections import Connection
from tests.station.conftest import Running, Start, until


@pytest.fixture(scope="module")
def running(
    start: Start, recognizer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("one") / "station"
    words = ("--queue", "40", "--max-megabytes", "2", "--timeout-seconds", "3")
    with start(folder, "--recognizer", recognizer, *words) as station:
        yield station


@pytest.fixture(scope="module")
def pictures(steel: Path) -> list[Path]:
    return sorted((steel / "test").glob("*/*"))


def form(pictures: dict[str, bytes], field: str = "picture") -> tuple[bytes, str]:
    parts = b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'
        % (field.encode(), name.encode(), data)
        for name, data in pictures.items()
    )
    return parts + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def test_answers_are_those_of_predict(
    running: Running, recognizer: Path, pictures: list[Path]
) -> None:
    body, kind = form({path.name: path.read_bytes() for path in pictures})
    answer = running.ask("POST", "/v1/predict", body, Content_Type=kind)
    assert answer.status == 200 and answer.json["version"] == 1
    given = answer.json["pictures"]
    wanted = predict(recognizer, pictures, unknown=True)
    assert [each["name"] for each in given] == [path.name for path in pictures]
    for mine, theirs in zip(given, wanted, strict=True):
        assert (mine["class"], mine["answer"]) == (theirs.predicted_class, theirs.answer)
        assert list(mine["probabilities"]) == list(theirs.classes)
        assert list(mine["probabilities"].values()) == pytest.approx(
            theirs.probabilities.tolist(), abs=1e-4
        )
    alone = running.predict(pictures[3].read_bytes()).json["pictures"][0]
    assert alone["sha256"] == given[3]["sha256"] and alone["probability"] == pytest.approx(
        given[3]["probability"], abs=1e-5
    )


def test_many_at_once(running: Running, pictures: list[Path]) -> None:
    alone = {path: running.predict(path.read_bytes()).json["pictures"][0] for path in pictures[:6]}
    wrong = []

    def ask(path: Path) -> None:
        for _ in range(4):
            answer = running.predict(path.read_bytes())
            if answer.status != 200 or answer.json["pictures"][0]["class"] != alone[path]["class"]:
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(path,)) for path in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_file_that_is_no_picture_costs_only_its_own_answer(
    running: Running, pictures: list[Path]
) -> None:
    data = pictures[0].read_bytes()
    body, kind = form({"../../etc/a.bmp": data, "C:\\x\\cut.bmp": data[:60], "b.bmp": b"text"})
    answer = running.ask("POST", "/v1/predict", body, Content_Type=kind)
    assert answer.status == 200
    first, cut, text = answer.json["pictures"]
    assert (first["name"], cut["name"], text["name"]) == ("a.bmp", "cut.bmp", "b.bmp")
    assert "class" in first and "class" not in cut
    assert cut["error"] and text["error"] == "not a picture in a known format"
    body, kind = form({"a.bmp": data, "half written.bmp": b""})
    first, empty = running.ask("POST", "/v1/predict", body, Content_Type=kind).json["pictures"]
    assert "class" in first and empty["error"] == "the file is empty"
    none = running.predict(b"text")
    assert none.status == 422
    assert none.json == {"error": "no picture could be read: not a picture in a known format"}


def test_a_bomb(running: Running) -> None:
    side = 30_000
    header = struct.pack(">2I5B", side, side, 1, 0, 0, 0, 0)  # gray of one bit
    rows = zlib.compress(bytes((1 + side // 8) * side), 1)  # Pillow would hold 900 MB for it
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    with pytest.raises(Image.DecompressionBombError, match="900000000 pixels"):
        Image.open(io.BytesIO(data))
    answer = running.predict(data)
    assert answer.status == 422 and "900" in answer.json["error"]


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "headers"),
    [
        (400, "POST", "/v1/predict", b"", {"Content-Type": "image/png"}),
        (400, "POST", "/v1/predict", b"x", {"Content-Type": "multipart/form-data"}),
        (400, "POST", "/v1/predict", b"x", {"Content-Type": "multipart/form-data; boundary=e"}),
        (400, "POST", "/v1/predict?version=x", b"x", {"Content-Type": "image/png"}),
        (404, "POST", "/v1/predict?version=9", b"x", {"Content-Type": "image/png"}),
        (404, "GET", "/v1/", b"", {}),
        (404, "GET", "/v1/../station.sqlite", b"", {}),
        (404, "GET", "/%2e%2e/%2e%2e/etc/passwd", b"", {}),
        (405, "GET", "/v1/predict", b"", {}),
        (405, "DELETE", "/v1/models", b"", {}),
        (413, "POST", "/v1/predict", bytes(2_000_001), {"Content-Type": "image/png"}),
        (415, "POST", "/v1/predict", b"x", {"Content-Type": "text/plain"}),
        (415, "POST", "/v1/predict", b"x", {}),
        (421, "GET", "/v1/models", b"", {"Host": "plant.example"}),
        (421, "GET", "/health", b"", {"Host": "127.0.0.1.plant.example:80"}),
    ],
)
def test_what_is_refused(
    running: Running, status: int, method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    before = len(running.log.read_text().splitlines())
    answer = running.ask(method, path, body, **headers)
    assert answer.status == status
    lines = map(json.loads, running.log.read_text().splitlines()[before:])
    told = [line["status"] for line in lines if "status" in line]
    assert told == [status], "a line for each request"
    assert list(answer.json) == ["error"] and "/" not in answer.json["error"].replace(
        "image/", ""
    ).replace("application/", "")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert running.ask("GET", "/health").status == 200


def test_more_files_than_may_wait(running: Running) -> None:
    body, kind = form({f"{number}.bmp": b"x" for number in range(41)})
    assert running.ask("POST", "/v1/predict", body, Content_Type=kind).status == 413


def test_a_body_longer_than_it_said_it_would_be(running: Running) -> None:
    """In chunks, without a length: it is ended when it has become too long."""
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(21):
            connection.sendall(b"186a0\r\n" + bytes(100_000) + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_client_that_never_ends(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Content-Length: 100\r\n\r\n"
        )
        connection.settimeout(60)
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_connections_that_ask_nothing_are_closed() -> None:
    """By a server as `serve` makes it, but one that waits for less long."""

    async def answer(_scope: object, _receive: object, send: Any) -> None:
        await asyncio.sleep(0.8)  # longer than a head may take
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def ended(port: int, data: bytes) -> tuple[bytes, float]:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        got = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return got, time.monotonic() - begun

    async def check() -> None:
        config = uvicorn.Config(
            answer,
            http=Connection,
            lifespan="off",
            log_config=None,
            timeout_keep_alive=0.4,  # type: ignore[arg-type]
        )
        server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0))
        running = asyncio.create_task(server._serve(sockets=[listener]))
        whole = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        asked = [b"", b"GET / HT", whole, whole + b"GET / HTTP/1.1\r\nHo", whole + whole]
        port = listener.getsockname()[1]
        silent, half, one, more, two = await asyncio.gather(*(ended(port, each) for each in asked))
        # how long each was open: on a slow machine all of them are open for longer
        assert silent[0] == half[0] == b"" and min(silent[1], half[1]) >= 0.4
        assert [each[0].count(b"done") for each in (one, more, two)] == [1, 1, 2]
        assert min(one[1], more[1]) >= 1.2 and two[1] >= 2
        server.should_exit = True
        await running

    asyncio.run(check())


def test_models_figures_and_document(running: Running, pictures: list[Path]) -> None:
    (model,) = running.ask("GET", "/v1/models").json["models"]
    assert model["live"] and model["version"] == 1 and model["name"] == "fit"
    assert running.predict(pictures[0].read_bytes(), "?version=1").json["version"] == 1
    figures = running.ask("GET", "/metrics")
    assert figures.headers["content-type"].startswith("text/plain; version=")
    assert b'cvgssl_request_seconds_count{path="/v1/predict",status="200"}' in figures.body
    assert b"cvgssl_live_version 1.0" in figures.body
    batches = re.search(rb"cvgssl_batch_pictures_count (\d+)", figures.body)
    assert batches and int(batches[1]) > 0
    assert b"cvgssl_waiting_pictures 0.0" in figures.body
    document = running.ask("GET", "/openapi.json").json
    assert set(document["paths"]) == {
        "/v1/predict",
        "/v1/models",
        "/health",
        "/ready",
        "/metrics",
    }
    text = json.dumps(document)
    for schema in document["components"]["schemas"]:
        assert f"#/components/schemas/{schema}" in text


def test_the_log_has_a_line_for_each_request(running: Running, pictures: list[Path]) -> None:
    before = len(running.log.read_text().splitlines())
    said = running.predict(pictures[1].read_bytes()).json["pictures"][0]
    running.ask("GET", "/v1/models")
    running.predict(b"text")
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")

    def lines(count: int) -> list[str]:
        until(lambda: len(running.log.read_text().splitlines()[before:]) >= count)
        return running.log.read_text().splitlines()[before:]

    first, second, third, last = map(json.loads, lines(4))
    assert first["status"] == 200 and first["version"] == 1 and first["client"] == "127.0.0.1"
    assert first["pictures"] == [{name: said[name] for name in ("sha256", "answer", "probability")}]
    assert (second["path"], second["status"]) == ("/v1/models", 200)
    assert third["status"] == 422
    assert last["message"] == "Invalid HTTP request received."
    running.ask("POST", "/v1/predict", bytes(2_000_001), Content_Type="image/png")
    refused = json.loads(lines(5)[-1])
    assert (refused["path"], refused["status"]) == ("/v1/predict", 413)
    assert refused["client"] == "127.0.0.1" and "over 2 MB" in refused["refused"]
    assert all("at" in json.loads(line) for line in running.log.read_text().splitlines())


def test_it_ends_after_what_it_took(
    start: Start, recognizer: Path, pictures: list[Path], tmp_path: Path
) -> None:
    words = ("--recognizer", recognizer, "--batch-wait-ms", "1000")
    with start(tmp_path / "station", *words) as station:
        data, answers = pictures[0].read_bytes(), []
        asking = threading.Thread(target=lambda: answers.append(station.predict(data)))
        asking.start()
        while b"cvgssl_waiting_pictures 1.0" not in station.ask("GET", "/metrics").body:
            assert not answers
        assert station.end() == 0
        asking.join()
        assert [answer.status for answer in answers] == [200]
    # what was given to the folder is still there
    with start(tmp_path / "station") as station:
        assert station.predict(data).json["version"] == 1


def test_a_token(start: Start, recognizer: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct-horse-battery\n")
    (tmp_path / "token").chmod(0o644)
    words = ("--recognizer", recognizer, "--allow-host", "Line3", "--token-file")
    words += (tmp_path / "token",)
    with start(tmp_path / "station", *words) as station:
        right = {"Authorization": "Bearer correct-horse-battery", "Host": "line3:80"}
        assert station.ask("GET", "/v1/models", **right).status == 200
        assert station.ask("GET", "/ready").status == 200
        for given in ({}, {"Authorization": "Bearer correct-horse"}, {"Authorization": "Basic x"}):
            answer = station.ask("GET", "/v1/models", **given)
            assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert station.ask("GET", "/metrics", Authorization="Bearer é").status == 401
        for given in (*"abcdefgh", "correct-horse-batterx"):  # until no more are tried
            answer = station.ask("GET", "/v1/models", Authorization=f"Bearer {given}")
        assert answer.status == 429 and "wrong secrets; try again in" in answer.json["error"]
        assert station.ask("GET", "/v1/models", **right).status == 200  # it was right before
        readers = "every user of this machine can read it"
        assert sum(readers in line for line in station.log.read_text().splitlines()) == 1
    (tmp_path / "token").chmod(0o640)
    with start(tmp_path / "station", *words) as station:
        assert station.log.read_text().count(readers) == 1


def test_versions(start: Start, recognizer: Path, pictures: list[Path], tmp_path: Path) -> None:
    """Each recognizer that is given becomes a version of its own, the same one does not."""
    import shutil

    other = Path(shutil.copytree(recognizer, tmp_path / "other"))
    (other / "note.txt").write_text("another file")
    for model, live, versions in ((recognizer, 1, 1), (other, 2, 2), (recognizer, 1, 2)):
        with start(tmp_path / "station", "--recognizer", model) as station:
            listed = station.ask("GET", "/v1/models").json["models"]
            assert [each["version"] for each in listed if each["live"]] == [live]
            assert len(listed) == versions
            data = pictures[0].read_bytes()
            assert station.predict(data).json["version"] == live
            assert station.predict(data, f"?version={versions}").json["version"] == versions


def test_a_version_that_cannot_be_used(
    start: Start, recognizer: Path, pictures: list[Path], python: str, tmp_path: Path
) -> None:
    """It never goes live, and a request for it is told that it is there, but of no use."""
    import shutil

    damaged = Path(shutil.copytree(recognizer, tmp_path / "damaged"))
    (damaged / "train.npz").write_bytes(b"no features")
    with start(tmp_path / "station", "--recognizer", recognizer):
        pass
    words = ["station", tmp_path / "station", "--recognizer", damaged, "--port", "0"]
    done = subprocess.run(
        [python, "-m", "cvgssl", *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 2 and "train.npz" in done.stderr
    with start(tmp_path / "station") as station:
        data = pictures[0].read_bytes()
        assert station.predict(data).json["version"] == 1
        answer = station.predict(data, "?version=2")
        assert answer.status == 503
        assert answer.json == {"error": "version 2: cannot be used; see the log"}
        assert "train.npz" in station.log.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--headless",), "folder: is no station yet; name a recognizer by --recognizer"),
        (("--recognizer", "missing"), "missing"),
        (("--host", "0.0.0.0"), "others can reach it; name a --token-file"),
        (
            ("--token-file", "short"),
            "line 1 must be a secret, or NAME labeller|reviewer|program SECRET",
        ),
        (("--host", "256.1.1.1", "--token-file", "long"), "--host 256.1.1.1"),
        (("--allow-host", "line3.plant"), "others reach it by that name; name a --token-file"),
        (("--two-people", "true", "--token-file", "long"), "has a secret without a name"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, python: str, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "short").write_text("secret")
    (tmp_path / "long").write_text("0123456789abcdef")
    done = subprocess.run(
        [python, "-m", "cvgssl", "station", "folder", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and not done.stdout
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "folder").exists()


def test_a_port_that_is_taken(recognizer: Path, tmp_path: Path, python: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        words = ["station", tmp_path / "s", "--recognizer", recognizer, "--port", port]
        done = subprocess.run(
            [python, "-m", "cvgssl", *map(str, words)], capture_output=True, text=True
        )
    assert done.returncode == 2
    assert f"--port {port}: Address already in use; another port" in done.stderr
