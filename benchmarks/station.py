"""A station under load beside its bare recognizer.

    python -m benchmarks.station rec steel/test --clients 16 --seconds 60 --json station.json

RECOGNIZER is what `cvgssl station --recognizer` takes. Bare: the same recognizer in this process,
asked about batches of decoded pictures, decoding included, as many threads as cores. Both run in
turns, so that a busy machine slows both: the station for `--turn` seconds, the other for 20, or a
third of `--seconds` each where that is less. Clients keep their connections and send one picture
at a time. Memory and processor time are those of the station's process.
"""

import argparse
import contextlib
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy, as commands do

import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from cvgssl.images.decoding import decode_bytes
from cvgssl.images.listing import list_pictures
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.finding import find_recognizer
from cvgssl.recognizer.predict import open_recognizer
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

LEAST_TURNS = 3
ALONE = 20  # seconds of a turn of the bare recognizer, at most


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recognizer", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--seconds", type=float, default=60, help="of load by the clients, all turns together (60)"
    )
    parser.add_argument(
        "--turn", type=float, default=120, help="longest time of load without a pause (120)"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = [path.read_bytes() for path in list_pictures(options.pictures)]
    bare = Bare(options.recognizer, options.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        words = ["--recognizer", options.recognizer, "--batch-size", str(options.batch_size)]
        station = subprocess.Popen(
            [sys.executable, "-m", "cvgssl", "station", folder, "--port", "0", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert station.stdout is not None
            match = re.search(r":(\d+): version", station.stdout.readline())
            assert match, "the station did not start"
            port = int(match[1])
            load(port, files, options.clients, 3)  # both are warm
            bare(files, 3)
            process = psutil.Process(station.pid)
            memory, turns, used = [process.memory_info().rss], [], 0.0
            count = max(LEAST_TURNS, round(options.seconds / options.turn))
            seconds = options.seconds / count
            for _ in range(count):
                alone = bare(files, min(seconds, ALONE), options.clients)
                begun = sum(process.cpu_times()[:2])
                turns.append((alone, load(port, files, options.clients, seconds)))
                used += sum(process.cpu_times()[:2]) - begun
                memory.append(process.memory_info().rss)
        finally:
            station.terminate()
            station.wait()
    result = figures(turns, memory, used) | {"clients": options.clients, "hardware": hardware()}
    for name, value in result.items():
        print(f"{name:<40} {value}")
    if options.json:
        write_json(options.json, result)


def figures(turns: list[tuple[Any, Any]], memory: list[int], used: float) -> dict[str, Any]:
    """Medians over the turns; used: seconds of processor time under load."""
    bare = [rate for (rate, _), _ in turns]
    batch = [seconds for (_, seconds), _ in turns]
    over_http = [len(seconds) / wall for _, (seconds, wall) in turns]
    latencies = np.concatenate([seconds for _, (seconds, _) in turns])
    return {
        "bare, pictures a second": round(float(np.median(bare)), 1),
        "station, pictures a second": round(float(np.median(over_http)), 1),
        "ratio": round(float(np.median(np.divide(over_http, bare))), 3),
        "median, ms": round(1000 * float(np.median(latencies)), 1),
        "p99, ms": round(1000 * float(np.quantile(latencies, 0.99)), 1),
        "a batch of all clients, bare, ms": round(1000 * float(np.median(batch)), 1),
        "processor time a picture, ms": round(1000 * used / len(latencies), 1),
        "memory, MB": [round(each / 2**20) for each in memory],
        "pictures": len(latencies),
    }


class Bare:
    """The recognizer without a server."""

    def __init__(self, path: Path, batch: int) -> None:
        options = PredictOptions(recognizer=path, pictures=(path,), unknown=True)
        self._recognizer = open_recognizer(find_recognizer(options), options)
        self._pool, self._batch = ThreadPoolExecutor(os.cpu_count()), batch

    def __call__(
        self, files: list[bytes], seconds: float, clients: int = 16
    ) -> tuple[float, float]:
        """Pictures a second, and the seconds of a batch as large as there are clients."""
        done, place, until = 0, 0, time.monotonic() + seconds
        begun = time.monotonic()
        while time.monotonic() < until:
            chosen = [files[(place + n) % len(files)] for n in range(self._batch)]
            self._recognize(chosen)
            place, done = place + self._batch, done + self._batch
        rate = done / (time.monotonic() - begun)
        times = []
        for _ in range(5):
            begun = time.monotonic()
            self._recognize([files[n % len(files)] for n in range(clients)])
            times.append(time.monotonic() - begun)
        return rate, float(np.median(times))

    def _recognize(self, files: list[bytes]) -> None:
        squares = [
            list(
                self._pool.map(lambda data, to=each: decode_bytes(data, to, 100, Path("x")), files)
            )
            for each in self._recognizer.geometries
        ]
        self._recognizer(squares)


def load(port: int, files: list[bytes], clients: int, seconds: float) -> tuple[list[float], float]:
    """Latencies of all requests of so many clients at once, and the wall-clock seconds.

    One thread and plain sockets, so that the clients take little of the time that is measured.
    """
    latencies: list[float] = []
    begun = time.monotonic()
    until = begun + seconds
    with contextlib.ExitStack() as opened:
        selector = opened.enter_context(selectors.DefaultSelector())
        for number in range(clients):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            selector.register(
                connection, selectors.EVENT_READ, Client(connection, files, number, clients)
            )
        waiting = clients
        while waiting:
            for key, _ in selector.select(60):
                seconds_taken = key.data.receive()
                if seconds_taken is None:
                    continue
                latencies.append(seconds_taken)
                if time.monotonic() < until:
                    key.data.send()
                else:
                    selector.unregister(key.fileobj)
                    waiting -= 1
    return latencies, time.monotonic() - begun


class Client:
    """A connection that asks about one picture after another; every `step`-th from `first` on."""

    def __init__(
        self, connection: socket.socket, files: list[bytes], first: int, step: int
    ) -> None:
        """Send the first request."""
        self._connection, self._files, self._place, self._step = connection, files, first, step
        self.send()

    def send(self) -> None:
        """The next request."""
        data = self._files[self._place % len(self._files)]
        self._place += self._step
        self._received, self._begun = b"", time.monotonic()
        head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
        self._connection.sendall(f"{head}Content-Type: image/x-any\r\n\r\n".encode() + data)

    def receive(self) -> float | None:
        """Seconds that the answer took, when it is whole; raises RuntimeError for a refusal."""
        more = self._connection.recv(2**16)
        self._received += more
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if more and (not end or length is None or len(body) < int(length[1])):
            return None
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"the station answered {head[:40]!r}")
        return time.monotonic() - self._begun


if __name__ == "__main__":
    main()
