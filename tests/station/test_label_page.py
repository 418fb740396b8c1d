"""The page Label in a real Chromium, on pools whose embeddings and labels are there at once."""

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from cvgssl.features.table import FeatureTable, save_features
from cvgssl.station.answer_rows import PROGRAM
from cvgssl.station.answers import Answers
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.jobs import ASKED, ENDED
from cvgssl.station.labels import Labels, NewLabel
from cvgssl.station.models import Models
from cvgssl.station.picture_store import PictureStore
from cvgssl.station.pool import Pool
from cvgssl.station.review import Reviews
from tests.station.browser import chromium, opened
from tests.station.conftest import Start, until

SIZES = {"crack": 5, "dent": 5, "good": 5, "pit": 5}
MISTAKEN = "crack-4.bmp"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def labelled(
    station: Path, sizes: dict[str, int], mistakes: dict[str, str], left: tuple[str, ...] = ()
) -> Path:
    """A station whose pictures lie in clouds, one a class, and have labels; names say the class.

    mistakes: labels of pictures that have another one. left: pictures without.
    """
    rng = np.random.default_rng(0)
    line = station.with_name("line")
    line.mkdir()
    names = [f"{name}-{at}.bmp" for name, size in sizes.items() for at in range(size)]
    for name in names:
        pixels = rng.integers(0, 255, (24, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(line / name)
    kinds = [list(sizes).index(name.split("-")[0]) for name in names]
    values = 5 * np.eye(12)[kinds] + 0.4 * rng.normal(size=(len(names), 12))
    station.mkdir()
    pool = Pool(station, [line], station / LOG, 10)
    pool.choose("line", "anna")
    pool.features.parent.mkdir(parents=True)
    unknown, train = np.full(len(names), -1), ("train",) * len(names)
    table = FeatureTable(values.astype(np.float32), tuple(names), unknown, train, ())
    save_features(table, pool.features)
    labels = Labels(station / LOG, pool.key() or "")
    for name in names:
        if name not in left:
            digest = hashlib.sha256((line / name).read_bytes()).hexdigest()
            label = mistakes.get(name, name.split("-")[0])
            labels.give(NewLabel(name, digest, label), "anna")
    labels.close()
    pool.close()
    return station


def test_a_suspect_stays_until_it_is_answered(
    start: Start, browser: Browser, tmp_path: Path
) -> None:
    station = labelled(tmp_path / "station", SIZES, {MISTAKEN: "pit"})
    with start(station) as running, opened(browser, running.port) as page:
        page.goto("/label")
        expect(page.locator("#name")).to_have_text("All pictures have a label.", timeout=60_000)
        with page.expect_response("**/label/next"):  # it asks for others all the time
            pass
        page.get_by_role("button", name="Look", exact=True).first.click()
        expect(page.locator("#already")).to_contain_text(
            re.compile(r"anna called it pit\. By the other labels it is crack \(\d+ %\)\. S keeps")
        )
        page.wait_for_timeout(2500)
        expect(page.locator("#name")).to_have_text(MISTAKEN)
        page.keyboard.press("u")  # nothing of this person's
        own = page.locator("#keys button", has_text="pit").get_attribute("aria-label") or ""
        assert int(re.findall(r"(\d+) %", own)[0]) < 10  # not what it says of itself
        page.keyboard.press("Enter")  # the likeliest is what the others say
        expect(page.locator("#classes tr", has_text="crack").locator("td").nth(1)).to_have_text("5")
        expect(page.locator("#suspects-card")).to_be_hidden()


def test_when_to_stop_where_most_parts_are_good(
    start: Start, browser: Browser, tmp_path: Path
) -> None:
    sizes = {"crack": 3, "good": 27}
    station = labelled(tmp_path / "station", sizes, {}, left=("good-9.bmp",))
    with start(station) as running, opened(browser, running.port) as page:
        page.goto("/label")
        expect(page.locator("#name")).to_have_text("good-9.bmp", timeout=60_000)
        expect(page.locator("#outlook")).to_contain_text("No stop is advised, because most labels")
        expect(page.locator("#stop")).to_be_hidden()
        page.keyboard.press("?")  # looked at by a person, which is all that can be done
        expect(page.locator("#stop")).to_have_text("Stop here: all pictures are labelled.")
        expect(page.locator("#outlook")).to_be_empty()
        expect(page.locator("#unseen")).to_be_empty()


def made_of_labels(station: Path, recognizer: Path, labels: int) -> None:
    """As a job of Label leaves it that learned the labels up to now, with the version not live."""
    log = EventLog(station / LOG)
    out = f"fits/{log.append('x', 'anna').number}/{labels} labels"
    words = ["fit", "line", "--labels", "labels.csv", "--out", f"{{station}}/{out}"]
    job = log.append(ASKED, "anna", task="fit", words=words)
    shutil.copytree(recognizer, station / out)
    Models(station, log).add(station / out, "anna")
    log.append(ENDED, "station", job=job.number, state="done", said="")
    log.close()


def test_a_recognizer_that_is_live_is_not_offered(
    start: Start, browser: Browser, tmp_path: Path, recognizer: Path
) -> None:
    station = labelled(tmp_path / "station", SIZES, {}, left=("pit-0.bmp", "pit-1.bmp"))
    made_of_labels(station, recognizer, 18)
    with start(station) as running, opened(browser, running.port) as page:
        page.goto("/label")
        expect(page.get_by_text("The recognizer is there.")).to_be_visible(timeout=60_000)
        expect(page.locator("#live-note")).to_be_empty()
        page.keyboard.press("l")
        expect(page).to_have_url(re.compile("/models$"))
        expect(page.get_by_role("button", name="Make it live").first).to_be_visible()
        page.keyboard.press("l")
        until(lambda: running.ask("GET", "/v1/models").json["models"][0]["live"])
        page.goto("/label")
        note = page.locator("#live-note")
        expect(note).to_have_text("Version 1, of these 18 labels, is live.", timeout=60_000)
        expect(page.get_by_text("The recognizer is there.")).to_be_hidden()
        expect(page.locator("#name")).to_contain_text("pit-", timeout=60_000)
        page.keyboard.press("n")
        page.keyboard.type("pit")
        page.keyboard.press("Enter")
        expect(note).to_have_text("Version 1, of 18 labels, is live; 1 given since.")


def test_labels_of_reviews_are_counted(start: Start, browser: Browser, tmp_path: Path) -> None:
    station = labelled(tmp_path / "station", SIZES, {}, left=(MISTAKEN,))
    store = PictureStore(station, 10**6)
    answers = Answers(station / LOG, store)
    reviews = Reviews(station, station / LOG, answers, 0.05)
    brought = b"another picture"
    in_pool = (tmp_path / "line" / "crack-0.bmp").read_bytes()  # its label is counted once
    for data, right, label in ((brought, True, "stamp mark"), (in_pool, False, "crack")):
        told = {"name": "x", "sha256": hashlib.sha256(data).hexdigest(), "answer": "unknown"}
        told |= {"class": "pit", "probability": 0.5, "probabilities": {"crack": 0.5, "pit": 0.5}}
        number = answers.keep(told, data, source=PROGRAM, version=1).result(30)
        reviews.review(number, "anna", right, label)
    for each in (reviews, answers, store):
        each.close()
    with start(station) as running, opened(browser, running.port) as page:
        page.goto("/label")
        rows = page.locator("#classes tr")
        expect(rows).to_have_count(5, timeout=60_000)
        given = [re.split(r"\s+(?=\d)", row)[:2] for row in rows.all_inner_texts()]
        labels = {"crack": "4", "dent": "5", "good": "5", "pit": "5", "stamp mark": "1"}
        assert dict(given) == labels
        expect(page.locator("#reviewed-note")).to_contain_text(
            "1 of these labels comes from Review"
        )
