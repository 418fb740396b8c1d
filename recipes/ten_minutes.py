"""From a folder of pictures to a live recognizer in a browser: how long, and how many keys.

    python recipes/ten_minutes.py plant2000 --labels 24 --out docs/results/ten_minutes.json

PLANT is a folder by `cvgssl data synth plant2000 --good-share 0.8 --parts 2000`, or another one of
classes. Its pictures are shown without them, and an oracle presses the key of the class that their
folder says. Every step is done by keyboard in a real Chromium, which has to be installed beside the
extras station and dev. `--pictures` keeps screenshots of the pages there.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from cvgssl.images.listing import list_pictures
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

LONG = 1_200_000  # ms that a step may take


class Keyboard:
    """Counts what is pressed."""

    def __init__(self, page: Page) -> None:
        self._page, self.pressed = page, 0

    def press(self, key: str) -> None:
        """One more."""
        self._page.keyboard.press(key)
        self.pressed += 1


def main() -> None:
    """Drive the pages and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("plant", type=Path)
    parser.add_argument("--labels", type=int, default=24)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        pool, truth = unlabelled(options.plant, Path(name) / "line 3")
        result = drive(pool, truth, Path(name) / "station", options.labels, options.pictures)
    result |= {"pictures": len(truth), "hardware": hardware()}
    for fact, value in result.items():
        print(f"{fact}: {value}")
    if options.out:
        write_json(options.out, result)


def unlabelled(plant: Path, pool: Path) -> tuple[Path, dict[str, str]]:
    """Copies without classes in their names, and the classes by name."""
    pool.mkdir()
    truth = {}
    for path in list_pictures(plant):
        name = hashlib.sha256(path.read_bytes()).hexdigest()[:10] + path.suffix
        shutil.copyfile(path, pool / name)
        truth[name] = path.parent.name
    return pool, truth


def drive(
    pool: Path, truth: dict[str, str], folder: Path, labels: int, pictures: Path | None
) -> dict[str, Any]:
    """Every step by keyboard; seconds of each, and the keys."""
    classes = sorted(set(truth.values()))
    words = ["station", folder, "--pictures", pool, "--port", "0", "--classes", *classes]
    station = subprocess.Popen(
        [sys.executable, "-m", "cvgssl", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"CVGSSL_CACHE": str(folder.with_name("cache"))},  # nothing is known yet
    )
    assert station.stdout is not None
    found = re.search(r"http://\S+:\d+", station.stdout.readline())
    assert found, "the station did not start"
    seconds: dict[str, float] = {}
    begun = last = time.monotonic()

    def done(step: str) -> None:
        nonlocal last
        seconds[step], last = round(time.monotonic() - last, 1), time.monotonic()

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 860}, base_url=found[0])
        keys = Keyboard(page)

        def shot(name: str) -> None:
            if pictures is not None:
                page.wait_for_timeout(1500)
                page.screenshot(path=pictures / f"{name}.png")

        page.goto("/start")
        keys.press("Enter")
        expect(page.get_by_text("The embeddings are there.")).to_be_visible(timeout=LONG)
        done("check and embeddings")
        shot("station_start")
        keys.press("Enter")
        for number in range(labels):
            expect(page.locator("#name")).to_contain_text(re.compile(r"\w{10}\."), timeout=LONG)
            name = page.locator("#name").inner_text()
            keys.press(str(classes.index(truth[name]) + 1))
            expect(page.locator("#name")).not_to_have_text(name, timeout=LONG)
            if number == labels - 2:
                shot("station_label")
        done(f"{labels} labels")
        keys.press("f")
        expect(page.get_by_text("The recognizer is there.")).to_be_visible(timeout=LONG)
        done("fit")
        keys.press("l")
        live = page.get_by_role("button", name="Make it live")
        expect(live).to_be_visible(timeout=LONG)
        keys.press("l")
        expect(live).to_be_hidden(timeout=LONG)
        done("live")
        shot("station_models")
        total = time.monotonic() - begun
        browser.close()
    station.terminate()
    station.wait(60)
    return {"seconds": round(total, 1), "keys": keys.pressed, "steps": seconds, "labels": labels}


if __name__ == "__main__":
    main()
