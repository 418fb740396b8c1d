"""The station as people see it: a real Chromium, a real station, real pictures."""

import contextlib
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.station.browser import chromium, opened, serious_findings
from tests.station.conftest import Running, Start

_PAGES = files("cvgssl.station.pages")
SECRETS = {"Li": "li-secret-0123456789", "Wang": "wang-secret-0123456789"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def plant(steel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures without classes, as a camera leaves them."""
    folder = tmp_path_factory.mktemp("plant") / "line 3"
    folder.mkdir()
    for number, path in enumerate(sorted((steel / "train").glob("*/*"))):
        (folder / f"part {number * 37 % 100:03}.bmp").write_bytes(path.read_bytes())
    return folder


@contextlib.contextmanager
def station_with_secrets(start: Start, folder: Path) -> Iterator[Running]:
    tokens = folder.with_name("tokens")
    tokens.write_text(
        f"Li labeller {SECRETS['Li']}\nWang reviewer {SECRETS['Wang']}\n", encoding="utf-8"
    )
    with start(folder, "--token-file", tokens) as running:
        yield running


def sign_in(page: Page, name: str) -> None:
    page.goto("/start")
    page.get_by_label("Secret").fill(SECRETS[name])
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation")).to_be_visible()


def test_signing_in_and_what_is_refused(start: Start, browser: Browser, tmp_path: Path) -> None:
    with station_with_secrets(start, tmp_path / "station") as running:
        with opened(browser, running.port) as page:
            page.goto("/label")
            expect(page).to_have_url(re.compile("/sign-in.next=/label$"))
            assert not serious_findings(page)
            page.get_by_label("Secret").fill("a-wrong-secret-0123")
            page.keyboard.press("Enter")
            expect(page.get_by_role("alert")).to_have_text("No person has this secret.")
            page.get_by_label("Secret").fill(SECRETS["Li"])
            page.keyboard.press("Enter")
            expect(page).to_have_url(re.compile("/label$"))
            cookie = next(each for each in page.context.cookies() if each["name"] == "cvgssl")
            assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
            page.get_by_text("Li", exact=True).click()
            page.get_by_role("button", name="Sign out").click()
            page.goto("/start")
            expect(page.get_by_label("Secret")).to_be_visible()
        # what no page of this station has sent
        for path in ("/start/choose", "/start/upload", "/me", "/sign-out", "/label/give"):
            answer = running.ask("POST", path, b"{}", Content_Type="application/json")
            assert answer.status == 401, path
        assert running.ask("GET", "/start/state").status == 401
        assert running.ask("GET", "/pool/160/../../tokens").status in (401, 404)
        log = running.log.read_text()
        assert not any(secret in log for secret in SECRETS.values())


def test_forms_of_other_sites_change_nothing(start: Start, tmp_path: Path) -> None:
    with start(tmp_path / "station") as running:
        form = b"language=zh&next=/start"
        kind = "application/x-www-form-urlencoded"
        answer = running.ask("POST", "/me", form, Content_Type=kind)
        assert answer.status == 403 and "not sent by a page" in answer.json["error"]
        answer = running.ask("POST", "/me", form, Content_Type=kind, Origin="http://evil.example")
        assert answer.status == 403 and "another site" in answer.json["error"]
        predict = running.ask("POST", "/v1/predict", b"x", Origin="null", Content_Type="image/png")
        assert predict.status == 403
        page = running.ask("GET", "/start", Accept="text/html")
        policy = page.headers["content-security-policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy
        away = running.ask("GET", "/sign-in?next=//evil.example")
        assert away.status == 303 and away.headers["location"] == "/"


def test_pictures_are_brought_and_others_refused(
    start: Start, browser: Browser, tmp_path: Path, steel: Path
) -> None:
    picture = next((steel / "train").glob("*/*"))
    (tmp_path / "page.png").write_text("<script>alert(1)</script>")
    folder = tmp_path / "station"
    with start(folder) as running, opened(browser, running.port) as page:
        page.goto("/start")
        expect(page.get_by_text("None yet")).to_be_visible()
        page.set_input_files("#files", [tmp_path / "page.png"])
        expect(page.locator("#uploading")).to_contain_text("0 pictures were kept, 1 refused")
        page.set_input_files("#files", [picture])
        expect(page.get_by_role("radio")).to_be_checked()
        kept = list((folder / "uploads").iterdir())
        assert [path.read_bytes() for path in kept] == [picture.read_bytes()]
        assert re.fullmatch(r"[0-9a-f]{20}\.bmp", kept[0].name)


def test_both_languages_and_the_name_of_who_works(
    start: Start, browser: Browser, tmp_path: Path
) -> None:
    with start(tmp_path / "station") as running:
        with opened(browser, running.port, locale="zh-CN") as page:
            page.goto("/start")
            assert page.locator("html").get_attribute("lang") == "zh"
            expect(page.get_by_role("link", name="标注", exact=True)).to_be_visible()
            assert not serious_findings(page)
        with opened(browser, running.port, locale="de-DE", color_scheme="dark") as page:
            page.goto("/start")
            expect(page.get_by_role("link", name="Label", exact=True)).to_be_visible()
            page.get_by_text("Settings").click()
            page.get_by_label("Your name").fill("Wang Fang")
            page.get_by_label("Language").select_option("zh")
            page.get_by_role("button", name="Save").click()
            expect(page.get_by_text("Wang Fang")).to_be_visible()
            assert page.locator("html").get_attribute("lang") == "zh"
            assert not serious_findings(page)


def test_every_text_has_its_chinese() -> None:
    calls = re.compile(r"""\bt\(\s*("(?:[^"\\]|\\.)*"|'[^']*')""")
    used = set()
    for kind in ("templates", "static"):
        for path in _PAGES.joinpath(kind).iterdir():
            if path.name.endswith((".html", ".js")):
                used |= {text[1:-1] for text in calls.findall(path.read_text(encoding="utf-8"))}
    words = json.loads(_PAGES.joinpath("words", "zh.json").read_text(encoding="utf-8"))
    assert len(used) > 40
    assert not used - set(words), "texts without Chinese"
    for english, chinese in words.items():
        names = re.compile(r"\{(\w+)\}")
        assert sorted(names.findall(english)) == sorted(names.findall(chinese)), english
        assert re.search(r"[一-鿿]", chinese) or "{" in chinese, english
