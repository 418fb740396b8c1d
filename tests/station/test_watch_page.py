"""Watch in a real browser: counts, sinks, an alarm, and the labels that settle it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.station.browser import chromium, opened, serious_findings
from tests.station.conftest import Start, until
from tests.station.test_station_watching import answered, picture


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def test_from_the_first_picture_to_a_settled_alarm(
    start: Start, browser: Browser, recognizer: Path, tmp_path: Path
) -> None:
    line, folder = tmp_path / "line", tmp_path / "station"
    line.mkdir()
    words = ["--recognizer", recognizer, "--unknown", "false", "--watch", line]
    words += [
        "--poll-seconds",
        "0.1",
        "--false-alarm-every",
        "1000",
        "--csv",
        tmp_path / "answers.csv",
    ]
    with start(folder, *words) as running, opened(browser, running.port) as page:
        page.goto("/watch")
        expect(page.get_by_text("No answers yet.")).to_be_visible()
        assert not serious_findings(page)
        for number in range(80):
            picture(line / f"{number:03}.png", number)
        until(lambda: len(answered(folder)) == 80, 60)
        expect(page.locator("#now")).to_contain_text("all delivered", timeout=10_000)
        expect(page.locator("tfoot")).to_contain_text("80", timeout=10_000)
        for number in range(80, 140):
            picture(line / f"{number:03}.png", number, gain=0.4)
        until(lambda: len(answered(folder)) == 140, 60)
        expect(page.get_by_role("heading", name="The pictures have changed")).to_be_visible(
            timeout=10_000
        )
        assert not serious_findings(page)
        page.get_by_label("What is it?").first.select_option(index=1)
        page.get_by_role("button", name="Keep these labels").click()
        expect(page.locator("#notice")).to_contain_text("1 labels were kept")
        # the alarm stays, with all that can be done
        expect(page.locator("#now")).to_contain_text("1 were given since.")
        expect(page.get_by_role("button", name="Re-centre")).to_be_enabled()
        page.get_by_role("button", name="Labels are enough").click()
        expect(page.get_by_role("heading", name="The pictures have changed")).to_be_hidden()
        expect(page.locator("#now")).to_contain_text("labelled")
        expect(page.locator("tfoot")).to_contain_text("140")
    assert (tmp_path / "answers.csv").read_text().count("\n") == 141
