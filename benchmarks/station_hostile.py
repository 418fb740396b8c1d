"""Hostile requests to a station: none may get a 500, end it, or learn a path of the machine.

    python -m benchmarks.station_hostile RECOGNIZER PICTURES --requests 10000 --json hostile.json

PICTURES is a folder of sound ones, which are truncated and damaged here. Every request is drawn
from `--seed`: mutated and bomb pictures, forms that are none, wrong lengths, slow clients, bytes
that are no HTTP, methods and paths of all kinds, pages' actions without the word of a session.
Where schemathesis is installed, its cases on the OpenAPI document come on top.
"""

import argparse
import json
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from cvgssl.images.listing import list_pictures
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json
from cvgssl.runtime.progress import progress

CLIENTS = 8
PATHS = (
    "/v1/predict", "/v1/predict?version=1", "/v1/predict?version=-1", "/v1/predict?version=%00",
    "/v1/models", "/health", "/ready", "/metrics", "/openapi.json", "/", "/start", "/start/state",
    "/start/choose", "/start/upload", "/label", "/label/next", "/label/give", "/label/undo", "/me",
    "/recognize", "/review", "/models", "/watch", "/sign-in?next=//evil", "/static/station.css",
    "/static/../../people.py", "/static/%2e%2e/%2e%2e/people.py", "/pool/160/../../../etc/passwd",
    "/pool/1280/%2fetc%2fpasswd", "/pool/99999999999999999999/x", "/../station.sqlite",
    "//etc/passwd", "/%ff%fe", "/" + "a" * 5000, "/start?" + "&".join(f"a={i}" for i in range(500)),
)  # fmt: skip
METHODS = ("GET", "POST", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "X")
KINDS = (
    "image/png", "image/tiff", "application/octet-stream", "multipart/form-data; boundary=e",
    "multipart/form-data", "application/json", "application/x-www-form-urlencoded", "x", "",
)  # fmt: skip
LEAKS = re.compile(rb"(/tmp/|/root|/home/|site-packages|Traceback|\.py\b|station\.sqlite)")


def main() -> int:
    """Ask and count; 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recognizer", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sound = [path.read_bytes() for path in list_pictures(options.pictures)[:50]]
    counts: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log"
        station, port = start(Path(name) / "station", options.recognizer, log)
        try:
            check(port, sound[0])
            before = psutil.Process(station.pid).memory_info().rss
            with (
                ThreadPoolExecutor(CLIENTS) as clients,
                progress("requests", options.requests) as advance,
            ):
                seeds = range(options.seed * 10**6, options.seed * 10**6 + options.requests)
                for seed, (status, answer) in zip(
                    seeds, clients.map(lambda seed: one(port, sound, seed), seeds), strict=True
                ):
                    counts[status] += 1
                    if status.startswith("5") and status != "503":
                        faults.append(f"{seed}: status {status}")
                    if LEAKS.search(answer) and b"text/css" not in answer[:400]:
                        faults.append(f"{seed}: {LEAKS.search(answer)} in the answer")
                    advance(1)
            schema = by_schemathesis(port, options.seed)
            check(port, sound[0])
            after = psutil.Process(station.pid).memory_info().rss
            if station.poll() is not None:
                faults.append(f"the station ended with {station.returncode}")
        finally:
            station.terminate()
            code = station.wait(60)
        if code != 0:
            faults.append(f"exit code {code}")
        faults += [line for line in log.read_text().splitlines() if "traceback" in line.lower()][:5]
    result: dict[str, Any] = {
        "requests": options.requests,
        "statuses": dict(sorted(counts.items())),
        "faults": faults,
        "schemathesis": schema,
        "MB before and after": [round(before / 1e6), round(after / 1e6)],
        "hardware": hardware(),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        write_json(options.json, result)
    return int(bool(faults))


def start(folder: Path, recognizer: Path, log: Path) -> tuple["subprocess.Popen[str]", int]:
    """A station at a free port."""
    words = ["--recognizer", recognizer, "--port", "0"]
    words += ["--timeout-seconds", "3", "--max-megabytes", "4"]
    station = subprocess.Popen(
        [sys.executable, "-m", "cvgssl", "station", folder, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        text=True,
    )
    assert station.stdout is not None
    match = re.search(r":(\d+): version", station.stdout.readline())
    assert match, log.read_text()
    return station, int(match[1])


def check(port: int, picture: bytes) -> None:
    """A sound picture gets its answer."""
    status, answer = send(port, request("POST", "/v1/predict", "image/bmp", picture))
    assert status == "200" and b'"probability"' in answer, (status, answer)


def one(port: int, sound: list[bytes], seed: int) -> tuple[str, bytes]:
    """Send one; gives the status, or what happened in place of an answer, and the answer."""
    dice = random.Random(seed)
    kinds: list[Callable[[], bytes]] = [
        lambda: request("POST", "/v1/predict", "image/png", damaged(dice, dice.choice(sound))),
        lambda: request("POST", "/v1/predict", "image/png", bomb(dice)),
        lambda: request("POST", "/v1/predict", KINDS[3], form(dice, damaged(dice, sound[0]))),
        lambda: request(
            dice.choice(METHODS), dice.choice(PATHS), dice.choice(KINDS), dice.randbytes(300)
        ),
        lambda: lengths(dice, dice.choice(sound)),
        lambda: dice.randbytes(dice.randrange(1, 2000)),
        lambda: page_action(dice),
    ]
    return send(port, dice.choice(kinds)(), slow=dice.random() < 0.01)


def request(method: str, path: str, kind: str, body: bytes, more: str = "") -> bytes:
    """A request as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{more}"
    return f"{head}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def damaged(dice: random.Random, data: bytes) -> bytes:
    """Truncated, with other bytes, or with a piece twice."""
    changed = bytearray(data)
    for _ in range(dice.randrange(1, 20)):
        changed[dice.randrange(min(len(changed), 200))] = dice.randrange(256)
    if dice.random() < 0.5:
        del changed[dice.randrange(len(changed)) :]
    return bytes(changed)


def bomb(dice: random.Random) -> bytes:
    """A small PNG that claims to be large, and is where it is inflated."""
    side = dice.choice((3000, 30_000, 2**31 - 1))
    head = struct.pack(">IIBBBBB", side, side, dice.choice((8, 16)), dice.choice((0, 2)), 0, 0, 0)
    packed = zlib.compress(bytes(dice.choice((1000, 20_000_000))))
    chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(each)) + kind + each + struct.pack(">I", zlib.crc32(kind + each))
        for kind, each in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def form(dice: random.Random, data: bytes) -> bytes:
    """A form with a file, or half of one."""
    name = dice.choice((b"a.png", b"../../x", b'"\r\n', b"\xff" * 300, b"a" * 5000))
    count = dice.choice((1, 3, 400))
    part = b'--e\r\nContent-Disposition: form-data; name="p"; filename="%s"\r\n\r\n%s\r\n'
    whole = (part % (name, data[:500])) * count + b"--e--\r\n"
    return whole[: dice.randrange(1, len(whole) + 1)]


def lengths(dice: random.Random, body: bytes) -> bytes:
    """A length that is not the body's."""
    text = dice.choice(
        ("0", "5", str(len(body) + 9), "-1", "x", "9" * 30, "10\r\nContent-Length: 9")
    )
    kind = dice.choice(("Content-Length: " + text, "Transfer-Encoding: chunked"))
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n{kind}\r\n\r\n"
    )
    return head.encode() + body


def page_action(dice: random.Random) -> bytes:
    """What a page's script would send, without the word of its session."""
    path = dice.choice([path for path in PATHS if not path.startswith("/v1")])
    values = ("", "..", "/etc", 10**400, None, [], {"a": []}, "\0", "x" * 3000)
    names = ("folder", "picture", "label", "box", "answer", "version")
    body = json.dumps({name: dice.choice(values) for name in names}).encode()
    word = f"X-CSRF-Token: {dice.randrange(10**9)}\r\nCookie: cvgssl={dice.randbytes(20).hex()}\r\n"
    return request("POST", path, "application/json", dice.choice((body, body[:-3], b"[]")), word)


def send(port: int, data: bytes, slow: bool = False) -> tuple[str, bytes]:
    """Send bytes, a few at a time where slow; status and all that comes back."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            if slow:
                for start_at in range(0, 40, 10):
                    client.sendall(data[start_at : start_at + 10])
                    time.sleep(0.5)
                data = data[40:]
            client.sendall(data)
            if b"Connection: close" not in data[:200]:  # else it would be waited for
                client.shutdown(socket.SHUT_WR)
            while part := client.recv(65536):
                answer += part
    except TimeoutError:
        return "no answer in 20 s", answer
    except OSError:  # it was refused while more was being sent
        pass
    found = re.match(rb"HTTP/1\.1 (\d+)", answer)
    return (found[1].decode() if found else "closed"), answer


def by_schemathesis(port: int, seed: int) -> str:
    """The last line of what schemathesis says of the OpenAPI document, where it is installed."""
    program = shutil.which("schemathesis")
    if program is None:
        return "not installed"
    words = ["run", f"http://127.0.0.1:{port}/openapi.json", "--checks", "not_a_server_error"]
    words += ["--max-examples", "200", "--seed", str(seed), "--no-color"]
    done = subprocess.run([program, *words], capture_output=True, text=True)
    return f"exit code {done.returncode}: {done.stdout.strip().splitlines()[-1]}"


if __name__ == "__main__":
    sys.exit(main())
