"""A station that is killed at random moments: no label lost, no answer doubled, live is whole.

    python -m benchmarks.station_kills plant/train --kills 50 --json kills.json

PICTURES is a folder of them in classes. Clients label, ask for answers and recognizers, make
versions live and bring pictures to a watched folder all the while; the process is killed by SIGKILL
after a random part of `--seconds` and started again. Every label that was acknowledged must be in
the log; every version that the log names must be whole; a watched file must have one answer.
"""

import argparse
import contextlib
import http.client
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from cvgssl.images.listing import list_pictures
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json
from cvgssl.runtime.progress import progress
from cvgssl.station.answer_rows import ANSWER, WATCH
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.models import Models

CSRF = re.compile(r'name="csrf" content="([^"]+)"')


class Client:
    """A browser's session at a station."""

    def __init__(self, port: int) -> None:
        self.port = port
        answer, headers = self._send("GET", "/start", None, {"Accept": "text/html"})
        found = CSRF.search(answer.decode())
        assert found, "the page Start has no word"
        self._headers = {
            "Cookie": headers["set-cookie"].split(";")[0],
            "X-CSRF-Token": found[1],
            "Content-Type": "application/json",
        }

    def get(self, path: str) -> Any:
        """JSON of a path."""
        return json.loads(self._send("GET", path, None, self._headers)[0])

    def post(self, path: str, body: Any) -> Any:
        """JSON that answers an action; raises OSError where it is refused."""
        return json.loads(self._send("POST", path, json.dumps(body).encode(), self._headers)[0])

    def predict(self, data: bytes) -> None:
        """Ask as a program."""
        self._send("POST", "/v1/predict", data, {"Content-Type": "image/bmp"})

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status >= 400:
                raise OSError(f"{path}: {response.status} {answer[:200]!r}")
            return answer, {name.lower(): value for name, value in response.getheaders()}


class Killed:
    """A station, what was acknowledged of it, and what is wrong."""

    def __init__(
        self, folder: Path, pool: Path, truth: dict[str, str], dice: random.Random
    ) -> None:
        self.folder, self.pool, self.truth, self.dice = folder, pool, truth, dice
        self.watched = folder.with_name("watched")
        self.watched.mkdir()
        self.labels: dict[str, str] = {}  # acknowledged, by picture
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._over = threading.Event()

    def start(self) -> tuple["subprocess.Popen[str]", Client]:
        """The process, once it answers."""
        words = ["station", self.folder, "--pictures", self.pool, "--port", "0"]
        words += ["--watch", self.watched]
        log = self.folder.with_name("log").open("a")
        station = subprocess.Popen(
            [sys.executable, "-m", "cvgssl", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert station.stdout is not None
        line = station.stdout.readline()
        found = re.search(r":(\d+): ", line)
        assert found, f"it did not start: {line}{self.folder.with_name('log').read_text()[-2000:]}"
        return station, Client(int(found[1]))

    def live(self, seconds: float) -> None:
        """One life of the station, killed within so many seconds."""
        station, client = self.start()
        self._over.clear()
        threads = [
            threading.Thread(target=self._always, args=(client, work))
            for work in (self._label, self._predict, self._decide, self._arrive)
        ]
        for thread in threads:
            thread.start()
        time.sleep(self.dice.uniform(0.2, seconds))
        station.kill()
        self._over.set()
        station.wait()
        for thread in threads:
            thread.join()
        self.check()

    def check(self) -> None:
        """Compare the log with what was acknowledged."""
        log = EventLog(self.folder / LOG)
        with contextlib.closing(log):
            given = {event.facts["picture"]: event.facts["label"] for event in log.events("label")}
            for picture, label in self.labels.items():
                if given.get(picture) != label:
                    self.faults.append(f"label of {picture} is {given.get(picture)}, not {label}")
            models = Models(self.folder, log)
            for version in models.versions():
                if not models.is_whole(version):
                    self.faults.append(f"version {version.number} is not whole")
            models.live()
            watched = Counter(
                event.facts["name"]
                for event in log.events(ANSWER)
                if event.facts["source"] == WATCH
            )
        twice = [name for name, count in watched.items() if count > 1]
        if twice:
            self.faults.append(f"{len(twice)} watched pictures were answered twice: {twice[:3]}")
        self.counts["watched"] = len(watched)

    def _always(self, client: Client, work: Any) -> None:
        while not self._over.is_set():
            try:
                work(client)
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                self.counts["refused or cut off"] += 1
                self._over.wait(0.2)

    def _label(self, client: Client) -> None:
        asked = client.post("/label/next", {})["picture"]
        if asked is None:
            self._over.wait(0.2)
            return
        label = self.truth[asked["picture"]]
        body = {name: asked[name] for name in ("pool", "picture", "sha256", "replaces")}
        body["label"] = label
        client.post("/label/give", body)
        self.labels[asked["picture"]] = label
        self.counts["labels"] += 1

    def _predict(self, client: Client) -> None:
        client.predict((self.pool / self.dice.choice(sorted(self.truth))).read_bytes())
        self.counts["answers"] += 1
        self._over.wait(0.02)

    def _decide(self, client: Client) -> None:
        client.post("/label/fit", {})
        self._over.wait(self.dice.uniform(0.2, 2))
        versions = [each["number"] for each in client.get("/models/state")["versions"]]
        if versions:
            client.post("/models/live", {"version": self.dice.choice(versions)})
            self.counts["went live"] += 1
        self.counts["versions"] = len(versions)

    def _arrive(self, _: Client) -> None:
        name = self.dice.choice(sorted(self.truth))
        number = self.counts["arrived"] = self.counts["arrived"] + 1
        shutil.copyfile(self.pool / name, self.watched / f"{number:05} {name}")
        self._over.wait(0.2)


def main() -> int:
    """Kill and count; 1 where something was lost, doubled or broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        pool = Path(name) / "pool"
        pool.mkdir()
        truth = {}
        for number, path in enumerate(list_pictures(options.pictures)):
            truth[f"{number:05}{path.suffix}"] = path.parent.name
            shutil.copyfile(path, pool / f"{number:05}{path.suffix}")
        killed = Killed(Path(name) / "station", pool, truth, dice)
        prepare(killed)
        with progress("kills", options.kills) as advance:
            for _ in range(options.kills):
                killed.live(options.seconds)
                advance(1)
        station, _ = killed.start()  # once more, to its end
        station.terminate()
        code = station.wait(60)
        if code != 0:
            killed.faults.append(f"exit code {code} in the end")
    result = {
        "kills": options.kills,
        "counts": dict(sorted(killed.counts.items())),
        "faults": killed.faults,
        "seconds": round(time.monotonic() - begun),
        "hardware": hardware(),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        write_json(options.json, result)
    return int(bool(killed.faults))


def prepare(killed: Killed) -> None:
    """The pool is chosen and embedded, a few labels are given, two versions made, one is live."""
    station, client = killed.start()
    client.post("/start/choose", {"folder": killed.pool.name})
    while not client.get("/start/state")["ready"]:
        time.sleep(0.5)
    for few in (12, 18):
        while killed.counts["labels"] < few:
            killed._label(client)
        job = client.post("/label/fit", {})["job"]
        while (now := client.get("/label/state")["fit"])["state"] in ("waiting", "running"):
            time.sleep(0.5)
        assert now["state"] == "done", (job, now)
    client.post("/models/live", {"version": 1})
    station.terminate()
    station.wait(60)


if __name__ == "__main__":
    sys.exit(main())
