"""The station as people see it: a real Chromium, a real station, real pictures."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from cvgssl.images import check
from cvgssl.selection.label_list import read_labels
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.pages.shell import Words
from cvgssl.station.pool import BROUGHT
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
    for name, path in _renamed(steel).items():
        (folder / name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def classes(steel: Path) -> dict[str, str]:
    """What the pictures of `plant` show."""
    return {name: path.parent.name for name, path in _renamed(steel).items()}


def _renamed(steel: Path) -> dict[str, Path]:
    pictures = sorted((steel / "train").glob("*/*"))
    return {f"part {place * 37 % 101:03}.bmp": path for place, path in enumerate(pictures)}


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
    page.wait_for_load_state()  # its scripts listen now


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
            cookie = next(
                each for each in page.context.cookies() if each["name"].startswith("cvgssl-")
            )
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
    large = [tmp_path / f"large {side}.bmp" for side in (700, 701, 702, 1100)]
    for path in large:  # of 0.5 MB each, and one that is over the limit alone
        side = int(path.stem.split()[1])
        Image.effect_noise((side, side), 50).save(path)
    folder = tmp_path / "station"
    words = ("--max-megabytes", "1", "--queue", "2")
    with start(folder, *words) as running, opened(browser, running.port) as page:
        page.goto("/start")
        expect(page.get_by_text("None yet")).to_be_visible()
        page.set_input_files("#files", [tmp_path / "page.png"])
        expect(page.locator("#uploading")).to_contain_text("0 pictures were kept, 1 refused")
        expect(page.locator("#uploading li")).to_contain_text("page.png: ")
        page.set_input_files("#files", [picture])
        expect(page.get_by_role("radio")).to_be_checked()
        kept = list((folder / "uploads").iterdir())
        assert [path.read_bytes() for path in kept] == [picture.read_bytes()]
        assert re.fullmatch(r"[0-9a-f]{20}\.bmp", kept[0].name)
        # as many at once as the station takes; what it refuses stops no others and is said
        page.set_input_files("#files", [large[3], *large[:3], tmp_path / "page.png", picture])
        expect(page.locator("#uploading")).to_contain_text("4 pictures were kept, 2 refused")
        refused = page.locator("#uploading li")
        expect(refused).to_contain_text(["large 1100.bmp: over 1 MB", "page.png: "])
        expect(page.locator("#choices")).to_contain_text("4 pictures")
        log = EventLog(folder / LOG)
        told = {event.facts["name"]: event.facts["picture"] for event in log.events(BROUGHT)}
        log.close()
        assert told[picture.name] == kept[0].name
        assert told.keys() == {picture.name, *(path.name for path in large[:3])}


def test_what_was_brought_is_looked_at_where_the_folder_is_a_relative_path(
    start: Start, browser: Browser, tmp_path: Path, plant: Path, teacher_file: Path
) -> None:
    folder = Path(os.path.relpath(tmp_path / "station"))
    with (
        start(folder, "--encoder", f"test_vit={teacher_file}") as running,
        opened(browser, running.port) as page,
    ):
        page.goto("/start")
        page.set_input_files("#files", sorted(plant.iterdir())[:4])
        expect(page.get_by_role("radio")).to_be_checked()
        # as while the station is busy: the jobs are not there at once
        early = {"chosen": True, "jobs": {}, "findings": None, "ready": False}
        page.route("/start/state", lambda route: route.fulfill(json=early), times=1)
        page.keyboard.press("Enter")
        expect(page.get_by_text("The embeddings are there.")).to_be_visible(timeout=240_000)


def test_a_labeller_is_not_offered_to_choose(
    start: Start, browser: Browser, tmp_path: Path, plant: Path
) -> None:
    with station_with_secrets(start, tmp_path / "station") as running:
        for name, may in (("Li", False), ("Wang", True)):
            with opened(browser, running.port) as page:
                sign_in(page, name)
                page.set_input_files("#files", sorted(plant.iterdir())[:2])
                expect(page.locator("#uploading")).to_have_text("2 pictures were kept.")
                expect(page.locator("#choices")).to_contain_text("Uploaded pictures")
                expect(page.locator("#begin")).to_be_enabled(enabled=may)
                expect(page.get_by_text("A reviewer chooses the pictures")).to_be_visible(
                    visible=not may
                )
                assert not serious_findings(page)


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


def test_what_is_wrong_with_pictures_is_told_in_chinese(
    start: Start, browser: Browser, tmp_path: Path, teacher_file: Path
) -> None:
    line = tmp_path / "line"
    line.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        side = 24 if number else 30
        Image.fromarray(rng.integers(0, 255, (side, side), np.uint8)).save(line / f"{number}.png")
    shutil.copyfile(line / "1.png", line / "7.png")
    Image.new("L", (24, 24), 9).save(line / "8.png")
    (line / "9.png").write_bytes(b"no picture")
    words = ("--pictures", line, "--encoder", f"test_vit={teacher_file}")
    with (
        start(tmp_path / "station", *words) as running,
        opened(browser, running.port, locale="zh-CN") as page,
    ):
        page.goto("/start")
        page.keyboard.press("Enter")
        said = page.locator("#check summary")
        expect(said.first).to_be_visible(timeout=60_000)
        texts = said.all_inner_texts()
        assert len(texts) >= 3 and any("（1）" in text for text in texts)
        assert not [text for text in texts if re.search("[a-z]{3}", text)]
        said.first.click()
        expect(page.locator("#check details[open] p[lang=en]")).to_contain_text("file")
        expect(page.locator("#check details[open] .gone")).to_be_visible()  # 9.png
        assert not serious_findings(page)


def test_from_a_folder_to_a_recognizer_by_keyboard(
    start: Start, browser: Browser, tmp_path: Path, plant: Path, classes: dict[str, str],
    teacher_file: Path,
) -> None:  # fmt: skip
    encoder = f"test_vit={teacher_file}"
    words = ("--pictures", plant, "--encoder", encoder, "--runtime", "torch")
    with (
        start(tmp_path / "station", *words) as running,
        opened(browser, running.port) as page,
        opened(browser, running.port) as other,
    ):
        page.set_default_timeout(240_000)
        page.goto("/start")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nothing was found.")).to_be_visible(timeout=240_000)
        page.reload()  # in the middle of the work
        expect(page.get_by_text("The embeddings are there.")).to_be_visible(timeout=240_000)
        page.keyboard.press("Enter")
        expect(page.locator("#name")).to_contain_text(".bmp", timeout=240_000)
        other.goto("/label")
        expect(other.locator("#name")).to_contain_text(".bmp")
        assert other.locator("#name").inner_text() != page.locator("#name").inner_text()
        given = [label_next(page, classes) for _ in range(8)]
        # keys are in the order of first use, and stay so
        used = list(dict.fromkeys(classes[name] for name in given))
        for _ in range(2):
            expect(page.locator("#keys kbd + span")).to_have_text(used)
            page.reload()
        expect(page.locator("#name")).to_contain_text(".bmp")
        page.keyboard.press("9")
        expect(page.locator("#notice")).to_contain_text("No class is on the key 9 yet")
        # the same class, written otherwise
        further = page.locator("#name").inner_text()
        page.keyboard.press("n")
        page.keyboard.type(f" {used[0].upper().replace('_', ' ')}")
        page.keyboard.press("Enter")
        expect(page.locator("#notice")).to_contain_text(f"was taken for the class “{used[0]}”")
        expect(page.locator("#name")).not_to_have_text(further)
        expect(page.locator("#keys kbd + span")).to_have_text(used)
        page.keyboard.press("u")
        expect(page.locator("#name")).to_have_text(further)
        # undo, and the same label once more
        page.keyboard.press("u")
        expect(page.locator("#name")).to_have_text(given[-1])
        label_next(page, classes)
        # "?" and a box
        frame = page.locator("#overlay").bounding_box()
        assert frame is not None
        page.mouse.move(frame["x"] + 0.4 * frame["width"], frame["y"] + 0.4 * frame["height"])
        page.mouse.down()
        page.mouse.move(frame["x"] + 0.6 * frame["width"], frame["y"] + 0.7 * frame["height"])
        page.mouse.up()
        expect(page.locator("#box")).to_be_visible()
        boxed = label_next(page, classes)
        page.keyboard.press("?")
        expect(page.locator("#progress-note")).to_have_text(re.compile("^9 of"))
        assert not serious_findings(page)
        page.keyboard.press("f")
        expect(page.get_by_text("The recognizer is there.")).to_be_visible(timeout=240_000)
        models = running.ask("GET", "/v1/models").json["models"]
        assert [each["version"] for each in models] == [1]
    log = EventLog(tmp_path / "station" / LOG)
    labels = [event.facts for event in log.events("label")]
    log.close()
    assert sum(each["label"] == "?" for each in labels) == 1
    *_, box = [each["box"] for each in labels if each["picture"] == boxed]
    assert box is not None and box[1] == pytest.approx(0.4, abs=0.02)
    kept = tmp_path / "station" / "models" / "0001" / "recognizer" / "labels.csv"
    learned = {line.path: line.label for line in read_labels(kept, "labels")}
    assert learned == {name: classes[name] for name in {*given, boxed}}


def label_next(page: Page, classes: dict[str, str]) -> str:
    """Give the picture that is shown its class, by one key where there is one; gives its name."""
    name = page.locator("#name").inner_text()
    keys = [text.split("\n")[:2] for text in page.locator("#keys button").all_inner_texts()]
    key = next((key for key, label in keys if label == classes[name]), None)
    if key is not None:
        page.keyboard.press(key)
    else:
        page.keyboard.press("n")
        page.keyboard.type(classes[name])
        page.keyboard.press("Enter")
    expect(page.locator("#name")).not_to_have_text(name)
    expect(page.locator("#name")).to_contain_text(".bmp")
    return name


def test_one_is_said_in_the_singular(start: Start, browser: Browser, tmp_path: Path) -> None:
    for number, said in (
        (0, "0 pictures"),
        (1, "1 picture"),
        ("1", "1 picture"),
        (21, "21 pictures"),
    ):
        assert Words("en")("{n} pictures", n=number) == said
    assert Words("zh")("{n} pictures", n=1) == "1 张图片"
    with start(tmp_path / "station") as running:
        for locale, said in (("en", ["1 answer", "2 answers"]), ("zh", ["1 个结果", "2 个结果"])):
            with opened(browser, running.port, locale=locale) as page:
                page.goto("/recognize")
                texts = "[1, 2].map((n) => station.t('{n} answers', { n }))"
                assert page.evaluate(texts) == said


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
    one = json.loads(_PAGES.joinpath("words", "en.json").read_text(encoding="utf-8"))
    assert not set(one) - used, "no page says this"
    names = re.compile(r"\{(\w+)\}")
    for many, single in one.items():
        assert sorted(names.findall(many)) == sorted(names.findall(single)) and "{n}" in many
    checks = Path(check.__file__).parent.glob("check*.py")
    kinds = {
        kind for path in checks for kind in re.findall(r'Finding\(\s*"(\w+)"', path.read_text())
    }
    assert len(kinds) > 15 and not {f"finding {kind}" for kind in kinds} - set(words)
    for english, chinese in words.items():
        assert sorted(names.findall(english)) == sorted(names.findall(chinese)), english
        assert re.search(r"[一-鿿]", chinese) or "{" in chinese, english


def test_messages_of_the_station_are_translated_with_what_is_in_them() -> None:
    english, chinese = Words("en"), Words("zh")
    for message, wanted in (
        ("only a reviewer may do this", "只有复核人员可以这样做"),
        ("no answer within 10 seconds", "10 秒内没有回答"),
        ("version 3: is live already", "版本 3 已经启用"),
        ("the file is empty", "文件是空的"),
        ("version 9: there is none; there are 1 to 2", "版本 9：没有此版本；现有 1 至 2"),
        ("alarm 5: Li has dealt with it", "警报 5：Li 已处理"),
        ("reviewed by {Li} meanwhile", "其间已由 {Li} 复核"),
        ("of another program", "of another program"),
    ):
        assert (english.said(message), chinese.said(message)) == (message, wanted)
    assert [chinese.who(name) for name in ("guest 10f5", "station", "Li")] == [
        "访客 10f5",
        "工作站",
        "Li",
    ]
