"""Recognize, Review, Models and Replay as people see them: a real Chromium, a real station."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from cvgssl.api import fit
from cvgssl.recognizer.config import FitConfig
from tests.station.browser import chromium, opened, serious_findings
from tests.station.conftest import Running, Start, Visitor


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pictures(steel: Path) -> list[Path]:
    return sorted((steel / "test").glob("*/*"))


@pytest.fixture(scope="module")
def another(steel: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recognizer with other labels, and a seventh class less: it says other things."""
    data = Path(shutil.copytree(steel, tmp_path_factory.mktemp("another") / "data"))
    for split in ("train", "test"):
        shutil.rmtree(sorted((data / split).iterdir())[0])
    folder, _ = fit(
        FitConfig(
            data=data,
            encoder=(f"test_vit={teacher_file}",),
            image_size=32,
            shot=2,
            head="nearest-mean",
            out=data.with_name("other"),
        )
    )
    return folder


@contextlib.contextmanager
def at_work(
    start: Start, folder: Path, *models: Path, words: tuple[str, ...] = ()
) -> Iterator[Running]:
    """A station with these versions, the last of them live."""
    for model in models:
        with start(folder, "--recognizer", model):
            pass
    with start(folder, "--review-share", "1", *words) as running:
        yield running


def bring(page: Page, files: list[Path]) -> None:
    page.goto("/recognize")
    page.set_input_files("#files", files)
    expect(page.locator("#uploading")).to_contain_text(f"{len(files)} pictures were recognized")


def called(page: Page, name: str) -> None:
    """Have whoever sits there called so."""
    page.goto("/recognize")
    page.get_by_text("Settings").click()
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(name, exact=True)).to_be_visible()


def test_recognize_and_replay(
    start: Start, browser: Browser, recognizer: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "page.png").write_text("<script>alert(1)</script>")
    with (
        at_work(start, tmp_path / "station", recognizer) as running,
        opened(browser, running.port, accept_downloads=True) as page,
    ):
        bring(page, pictures[:4])
        page.set_input_files("#files", [tmp_path / "page.png"])
        expect(page.locator("#uploading")).to_contain_text("0 pictures were recognized, 1 refused")
        rows = page.locator("#rows tr")
        expect(rows).to_have_count(4)
        listed = page.evaluate("station.ask('/recognize/list')")["answers"]
        assert any(each["answer"] == "not sure" for each in listed), listed
        for row, each in zip(rows.all(), listed, strict=True):
            names_class = each["answer"] == each["predicted_class"]
            beside = "" if names_class else f" perhaps {each['predicted_class']}"
            expect(row.locator("td").nth(1)).to_have_text(each["answer"] + beside)
        running.predict(pictures[5].read_bytes())  # what programs ask is listed too
        expect(rows).to_have_count(5, timeout=15_000)
        page.get_by_label("asked by").select_option("a program")
        expect(rows).to_have_count(1)
        page.get_by_label("asked by").select_option("this page")
        page.get_by_label("name contains").fill(pictures[1].name)
        expect(rows).to_have_count(1)
        with page.expect_download() as download:
            page.get_by_text("These answers as CSV").click()
        text = download.value.path().read_text(encoding="utf-8-sig")
        assert len(text.splitlines()) == 2 and pictures[1].name in text
        page.get_by_label("name contains").fill("")
        expect(rows).to_have_count(4)
        page.locator("h1").click()
        page.keyboard.press("j")  # from the first, which was shown when it was there
        detail = page.locator("#detail")
        expect(detail.locator("figure")).to_have_count(5)
        expect(detail.get_by_text("What the answer relies on")).to_be_visible()
        expect(rows.nth(1)).to_have_attribute("aria-current", "true")
        expect(detail.locator("figcaption").first).to_contain_text("similarity 0.")
        page.set_viewport_size({"width": 1280, "height": 860})
        # in sight at once, and the rest without scrolling inside
        expect(detail.locator("figure").first).to_be_in_viewport(ratio=0.5)
        assert detail.evaluate("each => each.scrollHeight <= each.clientHeight")
        assert not serious_findings(page)
        detail.get_by_role("link", name="Replay").click()
        expect(page.get_by_text("The same class and the same probabilities")).to_be_visible()
        expect(page.get_by_text("The same answer.")).to_be_visible()
        expect(page.get_by_text("are those that were added")).to_be_visible()
        expect(page.get_by_text("All 18 labels")).to_be_visible()
        assert not serious_findings(page)


def test_review_by_keyboard(
    start: Start,
    browser: Browser,
    recognizer: Path,
    pictures: list[Path],
    steel: Path,
    tmp_path: Path,
) -> None:
    def shown(page: Page) -> str:
        expect(page.locator("#picture")).to_have_attribute("data-number", re.compile("^[0-9]+$"))
        return page.locator("#picture").get_attribute("data-number") or ""

    def press(page: Page, key: str) -> None:
        before = shown(page)
        page.keyboard.press(key)
        expect(page.locator("#picture")).not_to_have_attribute("data-number", before)

    with (
        at_work(start, tmp_path / "station", recognizer) as running,
        opened(browser, running.port) as li,
        opened(browser, running.port, locale="zh-CN", color_scheme="dark") as wang,
    ):
        called(li, "Li")
        bring(li, pictures[:9])
        li.goto("/review")
        first = shown(li)
        keys = li.locator("#keys kbd + span")
        known = sorted(path.name for path in (steel / "train").iterdir())
        expect(keys).to_have_text(known)
        assert not serious_findings(li)
        press(li, "Enter")
        press(li, "2")
        second = shown(li)
        expect(keys).to_have_text(known)  # the same keys for another picture
        wang.goto("/review")
        assert shown(wang) not in (first, second)  # each has pictures of one's own
        assert not serious_findings(wang)
        expect(wang.get_by_role("button", name="新类别")).to_be_visible()
        li.keyboard.press("n")
        li.get_by_label("Name of the new class").fill("oil stain")
        press(li, "Enter")
        expect(keys).to_have_text([*known, "oil stain"])
        press(li, "u")
        assert shown(li) == second
        doubted = li.evaluate(f"station.ask('/answers/{second}')")
        assert doubted["answer"] == "not sure"
        likeliest = doubted["predicted_class"]
        expect(li.locator("#right")).to_contain_text(f"It is {likeliest}")
        press(li, "Enter")
        review = li.evaluate(f"station.ask('/answers/{second}')")["review"]
        assert review["right"] is True and review["label"] == likeliest
        press(li, "u")
        assert shown(li) == second
        press(li, "s")
        assert shown(li) != second
        expect(li.locator("#shares td").first).to_have_text(re.compile(r"\d / \d"))
        log = li.evaluate("station.ask('/recognize/list')")["answers"]
        said = {each["number"]: each["review"] for each in log if each["review"]}
        assert {review["who"] for review in said.values()} == {"Li"} and len(said) == 2
        assert said[int(first)]["right"] is True
        # somebody was there first
        other = next(each for each in log if not each["review"] and each["number"] != int(second))
        body = {"number": other["number"], "label": other["predicted_class"], "replaces": None}
        li.evaluate("body => station.ask('/review/give', body)", body)
        answer = wang.evaluate(
            "body => station.ask('/review/give', body).catch((error) => error.status)", body
        )
        assert answer == 409
    with_class = [number for number, review in said.items() if review["label"]]
    named = {each["sha256"] for each in log if each["number"] in (*with_class, int(second))}
    copies = {path.name for path in (tmp_path / "station" / "reviewed").iterdir()}
    assert copies == named | {other["sha256"]}


@pytest.mark.slow
def test_a_new_class_by_one_review(
    start: Start, browser: Browser, steel: Path, teacher_file: Path, tmp_path: Path
) -> None:
    """From labels without it to a live version that knows it, and what that changes before."""
    plant = Path(shutil.copytree(steel / "train", tmp_path / "plant"))
    *known, new = sorted(plant.iterdir())
    words = ("--pictures", str(plant), "--encoder", f"test_vit={teacher_file}")
    with (
        start(tmp_path / "station", *words, "--runtime", "torch") as running,
        opened(browser, running.port) as page,
    ):
        page.set_default_timeout(240_000)
        page.goto("/start")
        page.get_by_label("plant", exact=False).first.check()
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Label the first pictures").click()
        expect(page.locator("#name")).to_contain_text(".bmp", timeout=240_000)
        for folder in known:
            for path in sorted(folder.iterdir())[:3]:
                picture = path.relative_to(plant).as_posix()
                page.evaluate(
                    "async ([name, label]) => { const path = '/label/picture?name=' + name;"
                    " const { picture } = await station.ask(path);"
                    " await station.ask('/label/give', { ...picture, label }); }",
                    [picture, folder.name],
                )
        _looked_at_again(page, picture, known[-1].name)
        page.evaluate("station.ask('/label/fit', {})")
        page.goto("/models")
        page.get_by_role("button", name="Make it live").click()
        expect(page.locator("[data-version='1'] .tag.good")).to_have_text("live", timeout=60_000)
        strange = sorted((steel / "test" / new.name).iterdir())
        bring(page, strange)
        page.goto("/review")
        expect(page.locator("#picture")).to_have_attribute("data-number", re.compile("[0-9]"))
        number = page.locator("#picture").get_attribute("data-number")
        expect(page.get_by_role("button", name=new.name)).to_have_count(0)
        page.keyboard.press("n")
        page.keyboard.type(new.name)
        page.keyboard.press("Enter")
        expect(page.locator("#picture")).not_to_have_attribute("data-number", number or "")
        page.keyboard.press("f")
        expect(page.locator("#fitting")).to_contain_text("is being made")
        page.reload()  # in the middle of the work
        expect(page.locator("#fitting")).to_contain_text("Version 2 is there.", timeout=240_000)
        page.keyboard.press("l")
        second = page.locator("[data-version='2']")
        expect(second.get_by_text(f"{new.name} 1")).to_be_visible(timeout=240_000)
        second.get_by_role("button", name="What would change?").click()
        expect(page.locator("#comparison")).to_contain_text(
            f"of the newest {len(strange)} pictures keep their answer", timeout=240_000
        )
        expect(page.locator("#comparison")).to_contain_text("1 reviewed picture is left out")
        second.get_by_role("button", name="Make it live").click()
        expect(page.locator("[data-version='2'] .tag.good")).to_have_text("live", timeout=60_000)
        answer = page.evaluate(f"station.ask('/answers/{number}')")
        data = next(path for path in strange if path.name == answer["name"]).read_bytes()
        now = running.predict(data).json
        assert now["version"] == 2 and now["pictures"][0]["class"] == new.name


def _looked_at_again(page: Page, picture: str, label: str) -> None:
    """Review leads to a doubtful label, as if `picture` had one."""
    said = {"picture": picture, "label": label, "instead": "?", "probability": 0.9, "who": "local"}
    for path in ("**/review/suspects", "**/label/state"):
        page.route(path, lambda route: route.fulfill(json={"suspects": [said]}))
    page.goto("/review")
    page.get_by_role("link", name="Look", exact=True).click()
    expect(page.locator("#name")).to_have_text(picture)
    expect(page.locator("#already")).to_contain_text(f"somebody called it {label}")
    page.unroute_all()


def test_which_version_is_live(
    start: Start,
    browser: Browser,
    recognizer: Path,
    another: Path,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    with (
        at_work(start, tmp_path / "station", another, recognizer) as running,
        opened(browser, running.port) as page,
    ):
        bring(page, pictures)
        page.goto("/models")
        cards = page.locator("[data-version]")
        expect(cards).to_have_count(2)
        expect(page.locator("[data-version='2'] .tag.good")).to_have_text("live")
        # one class less than the live one: that is said, and to look comes first
        expect(cards.nth(1)).to_contain_text("Does not know: crazing")
        expect(cards.nth(1).locator(".row button").first).to_have_text("What would change?")
        assert not serious_findings(page)
        page.locator("[data-version='1']").get_by_text("What would change?").click()
        expect(page.locator("#comparison")).to_contain_text(
            f"of the newest {len(pictures)} pictures keep their answer", timeout=60_000
        )
        page.locator("[data-version='1']").get_by_text("Labels, options and hashes").click()
        expect(page.locator("[data-version='1'] pre")).to_contain_text("head: nearest-mean")
        expect(page.locator("[data-version='1'] details td").first).to_have_text("inclusion")
        back = page.locator("[data-version='1']").get_by_role("button", name="Go back to it")
        held: list[Route] = []  # a version that takes long to load
        page.route("**/models/live", lambda route: held.append(route))
        back.click()
        expect(page.locator("[data-version='1']")).to_contain_text("Version 1 is being loaded")
        expect(back).to_be_disabled()
        held[0].continue_()
        page.unroute("**/models/live")
        expect(page.locator("[data-version='1'] .tag.good")).to_have_text("live")
        assert running.predict(pictures[0].read_bytes()).json["version"] == 1
        page.locator("[data-version='2']").get_by_role("button", name="Make it live").click()
        expect(page.locator("[data-version='2'] .tag.good")).to_have_text("live")
        expect(page.locator("#history li")).to_have_count(4)
        page.goto("/models/1/report")
        expect(page.get_by_text("How good it is").first).to_be_visible()


def test_a_report_names_no_folder_of_the_machine(
    start: Start, another: Path, tmp_path: Path
) -> None:
    data = another.with_name("data")
    words = ("--recognizer", another, "--pictures", data)
    with start(tmp_path / "station", *words) as running:
        report = Visitor(running).page("/models/1/report")
    assert report.status == 200 and "sandbox" in report.headers["content-security-policy"]
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    assert str(data) in (another / "report.html").read_text(encoding="utf-8")
    assert str(data) not in report.body.decode()


def test_a_second_person_approves(
    start: Start, browser: Browser, recognizer: Path, another: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    secrets = {
        "Li": "li-secret-0123456789",
        "Wang": "wang-secret-0123456789",
        "Bo": "bo-0123456789abcdef",
    }
    roles = {"Li": "reviewer", "Wang": "reviewer", "Bo": "labeller"}
    lines = [f"{name} {roles[name]} {secret}" for name, secret in secrets.items()]
    tokens.write_text("\n".join(lines), encoding="utf-8")
    words = ("--token-file", str(tokens), "--two-people", "true")

    def enter(page: Page, name: str) -> None:
        page.goto("/models")
        page.get_by_label("Secret").fill(secrets[name])
        page.keyboard.press("Enter")
        expect(page.locator("[data-version='1']")).to_be_visible()

    with (
        at_work(start, tmp_path / "station", recognizer, another, words=words) as running,
        opened(browser, running.port) as li,
        opened(browser, running.port) as wang,
        opened(browser, running.port) as bo,
    ):
        enter(li, "Li")
        li.locator("[data-version='1']").get_by_role("button", name="Propose it").click()
        expect(li.locator("#proposal-list")).to_contain_text("Li proposes version 1")
        expect(li.get_by_role("button", name="Approve")).to_be_disabled()
        enter(bo, "Bo")
        expect(bo.get_by_role("button", name="Approve")).to_be_disabled()
        status = "(path, body) => station.ask(path, body).then(() => 200, (error) => error.status)"
        for path in ("/models/decide", "/models/live", "/review/give", "/models/export"):
            assert bo.evaluate(f"body => ({status})('{path}', body)", {}) == 403, path
        enter(wang, "Wang")
        expect(wang.locator("[data-version='2'] .tag.good")).to_have_text("live")
        wang.get_by_role("button", name="Approve").click()
        expect(wang.locator("[data-version='1'] .tag.good")).to_have_text("live")
        expect(wang.locator("#proposals")).to_be_hidden()
        assert not serious_findings(wang)


def test_messages_of_the_station_in_chinese(
    start: Start, browser: Browser, recognizer: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "page.png").write_text("<script>alert(1)</script>")
    with (
        at_work(start, tmp_path / "station", recognizer) as running,
        opened(browser, running.port, locale="zh-CN") as page,
    ):
        page.goto("/recognize")
        page.set_input_files("#files", [tmp_path / "page.png", pictures[0]])
        expect(page.locator("#uploading li")).to_have_text("page.png: 不是已知格式的图片")
        asked = "station.ask('/replay/999/again').catch((error) => error.message)"
        assert page.evaluate(asked) == "这里没有此项"
        page.goto("/models")
        expect(page.locator("#history")).to_contain_text("命令行")
    with start(tmp_path / "station") as running:  # programs get what is documented
        body = running.ask("POST", "/v1/predict", b"x", Accept_Language="zh", Content_Type="a/b")
        assert body.json["error"].startswith("Content-Type: must be")


def test_what_is_no_request_of_a_page(
    start: Start, recognizer: Path, pictures: list[Path], tmp_path: Path
) -> None:
    """Numbers, hashes and paths that lead nowhere are refused, not followed."""
    with at_work(start, tmp_path / "station", recognizer) as running:
        sha256 = running.predict(pictures[0].read_bytes()).json["pictures"][0]["sha256"]
        for status, path in (
            (404, "/kept/160/" + "0" * 64),
            (404, "/kept/7/" + sha256),
            (404, "/kept/160/..%2f..%2fsession.key"),
            (404, "/answers/999"),
            (404, "/replay/999"),
            (404, "/replay/999/again"),
            (404, "/models/9"),
            (404, "/models/9/report"),
            (404, "/models/1/export"),
            (400, "/recognize/list?before=x"),
            (422, "/recognize/list?review=maybe"),
            (400, "/models/comparison?before=1&after=x"),
            (404, "/models/comparison?before=1&after=7"),
            (405, "/review/next"),
        ):
            answer = running.ask("GET", path)
            assert answer.status == status, path
            assert str(tmp_path) not in answer.body.decode()
        assert running.ask("GET", f"/kept/160/{sha256}").body.startswith(b"\xff\xd8\xff")
        for path in ("/recognize/ask", "/review/give", "/models/live", "/models/decide"):
            assert running.ask("POST", path, b"{}", Content_Type="application/json").status == 403
