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
        until(lambda: len(answered(folder)) == 80)
        expect(page.locator("#now")).to_contain_text("all delivered", timeout=10_000)
        expect(page.locator("tfoot")).to_contain_text("80", timeout=10_000)
        for number in range(80, 140):
            picture(line / f"{number:03}.png", number, gain=0.4)
        until(lambda: len(answered(folder)) == 140)
        expect(page.get_by_role("heading", name="The pictures have changed")).to_be_visible(
            timeout=10_000
        )
        assert not serious_findings(page)
        with opened(browser, running.port) as other:  # every page tells of it
            other.goto("/recognize")
            expect(other.locator("#open-alarms")).to_contain_text("1")
        # a class of the station by its key, and one that nobody has seen before
        named = page.locator("#keys button").first.inner_text()
        pictures = page.locator("[data-picture]")
        page.keyboard.press("1")
        expect(pictures.nth(0).locator(".chosen")).to_have_text(named.split("\n")[1])
        page.keyboard.press("n")
        page.keyboard.type("oil stain")
        page.keyboard.press("Enter")
        expect(pictures.nth(1).locator(".chosen")).to_have_text("oil stain")
        keep = page.get_by_role("button", name="Keep these labels")
        keep.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#notice")).to_contain_text("2 labels were kept")
        expect(page.locator("#keys")).to_contain_text("oil stain")
        expect(keep).to_be_focused()
        # the alarm stays, with all that can be done
        expect(page.locator("#now")).to_contain_text("2 were given since.")
        expect(page.get_by_role("button", name="Re-centre")).to_be_enabled()
        # somebody else names one of the next two meanwhile: theirs counts, the other is kept
        page.keyboard.press("1")
        page.keyboard.press("1")
        chosen = page.locator("[data-picture]", has=page.locator(".chosen:not(:empty)"))
        expect(chosen).to_have_count(2)
        with opened(browser, running.port) as other:
            other.goto("/review")
            other.evaluate(
                "number => station.ask('/review/give', { number, label: 'oil stain' })",
                int(chosen.first.get_attribute("data-picture") or ""),
            )
        keep.click()
        expect(page.locator("#notice")).to_contain_text("1 label was kept")
        expect(page.locator("#now")).to_contain_text("4 were given since.")
        assert not serious_findings(page)
        number = int(keep.get_attribute("data-alarm") or "")
        page.get_by_role("button", name="Labels are enough").click()
        expect(page.get_by_role("heading", name="The pictures have changed")).to_be_hidden()
        expect(page.locator("#open-alarms")).to_be_hidden()
        expect(page.locator("#now")).to_contain_text("labelled")
        expect(page.locator("tfoot")).to_contain_text("140")
        # a re-centred version stays in sight until it is live
        page.evaluate("number => station.ask('/watch/recentre', { number })", number)
        page.reload()
        expect(page.locator("#made")).to_contain_text("Version 2 was made")
        expect(page.locator("#made")).to_contain_text("with 4 labels")
        page.get_by_role("link", name="Compare it").click()
        expect(page.locator("#comparing [name=before]")).to_have_value("1")
        expect(page.locator("#comparing [name=after]")).to_have_value("2")
        page.get_by_role("button", name="Make it live").click()
        expect(page.locator("[data-version='2'] .tag.good")).to_have_text("live")
        page.goto("/watch")
        expect(page.locator("tfoot")).to_contain_text("140")
        expect(page.locator("#made")).to_have_count(0)
    assert (tmp_path / "answers.csv").read_text().count("\n") == 141
