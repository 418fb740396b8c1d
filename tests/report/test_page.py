"""The page holds what it was given, escaped, and nothing from elsewhere."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

from cvgssl.report.page import Page

NASTY = '<img src=x onerror="alert(1)"> & "q"'


class Reader(HTMLParser):
    """Collects tags and text, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_text_is_escaped_and_every_tag_closed(tmp_path: Path) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "x.png")
    page = Page(NASTY)
    page.heading(NASTY)
    page.heading(NASTY, level=3)
    page.text(NASTY)
    page.points([NASTY])
    page.table([NASTY, "b"], [[NASTY, NASTY]], best=frozenset({(0, 1)}), shades=[[0.5]])
    page.table(["a"], [["b"]], folded=NASTY)
    page.code(NASTY, NASTY)
    page.image(tmp_path / "x.png", NASTY)
    text = page.write(tmp_path / "page.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert reader.tags.count("img") == 1, "only the real one"
    assert reader.text.count(NASTY) == 14
    assert "script" not in reader.tags
    assert not re.search(r"https?:", text)


STRANGE = "a\x1b[31m\udce9\u202eb\x00"  # a terminal's colour, a byte of Latin-1, right to left
PLAIN = r"a\x1b[31m\xe9\u202eb\x00"


def test_a_page_is_valid_utf8_without_control_characters(tmp_path: Path) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "x.png")
    page = Page(STRANGE)
    page.heading(STRANGE)
    page.text(STRANGE)
    page.points([STRANGE])
    page.table([STRANGE], [[STRANGE]], folded=STRANGE)
    page.code(f"first\nsecond {STRANGE}", STRANGE)
    page.image(tmp_path / "x.png", STRANGE)
    text = page.write(tmp_path / "page.html").read_bytes().decode("utf-8")
    assert text.count(PLAIN) == 13
    assert f"first\nsecond {PLAIN}" in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_pictures_are_inlined_byte_for_byte(tmp_path: Path) -> None:
    Image.new("L", (30, 20), 77).save(tmp_path / "x.png")
    page = Page("t")
    page.image(tmp_path / "x.png", "gray")
    text = page.write(tmp_path / "page.html").read_text()
    (found,) = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert base64.b64decode(found) == (tmp_path / "x.png").read_bytes()


def test_contents_lead_to_headings(tmp_path: Path) -> None:
    page = Page("t")
    for name in ("one", "two"):
        page.heading(name)
    text = page.write(tmp_path / "page.html").read_text()
    links = re.findall(r'<a href="#([^"]+)">', text)
    assert len(links) == 2
    assert all(f'id="{link}"' in text for link in links)


def test_a_low_share_is_shaded_more_than_a_high_one(tmp_path: Path) -> None:
    page = Page("t")
    page.table(["head", "a", "b", "c"], [["x", "1", "2", "–"]], shades=[[0.1, 0.9, None]])
    text = page.write(tmp_path / "page.html").read_text()
    low, high = map(float, re.findall(r"rgba\(200, 60, 30, ([\d.]+)\)", text))
    assert low > high > 0
