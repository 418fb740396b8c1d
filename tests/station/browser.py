"""A real browser for tests of pages, and the rules of accessibility."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_RULES = Path(axe_playwright_python.__file__).with_name("axe.min.js")
_QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")


def find_chromium() -> str:
    """Its path; the test is skipped where there is none."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    path = find_chromium()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_QUIET))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(browser: Browser, port: int, **settings: Any) -> Iterator[Page]:
    """A page of its own session at a station; what its scripts complain of fails the test."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{port}", **settings)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    try:
        yield page
        assert not faults
    finally:
        context.close()


def serious_findings(page: Page) -> list[str]:
    """What axe-core calls serious or critical, with the elements."""
    # by the debugger, which the page's policy of contents does not bind
    page.evaluate(_RULES.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        json.dumps([each["id"], each["help"], [node["html"][:120] for node in each["nodes"]][:3]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
