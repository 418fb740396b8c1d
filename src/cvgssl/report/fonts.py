"""Finding installed fonts for class names in any script, or knowing that there are none."""

from collections.abc import Iterable
from functools import cache
from unicodedata import category

from matplotlib.font_manager import FontEntry, findfont, fontManager
from matplotlib.ft2font import FT2Font

from cvgssl.runtime.parsing import printable

DEFAULT = "DejaVu Sans"  # shipped with matplotlib: Latin, Greek, Cyrillic, Arabic, no Chinese

# Usual fonts with Chinese, Japanese and Korean on Linux, Windows and macOS.
_PREFERRED = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti TC",
    "Malgun Gothic",
)


def families_for(texts: Iterable[str]) -> tuple[list[str], set[str]]:
    """Font families, in order of preference, to draw `texts`, and the characters none of them has.

    Without a font that has a character, matplotlib draws an empty box: the caller decides what to
    write in its place.
    """
    families = [DEFAULT]
    missing = {char for text in texts for char in escaped(text) if not char.isspace()}
    missing -= _characters(findfont(DEFAULT))
    for font in _installed() if missing else ():
        covered = missing & _characters(font.fname)
        if covered:
            families.append(font.name)
            missing -= covered
        if not missing:
            break
    return families, missing


def escaped(text: str) -> str:
    r"""`text` with control characters and bytes that are no UTF-8 as escapes such as \x1b.

    Other characters that `printable` escapes, such as those of private use, may have a font.
    """
    return "".join(printable(char) if category(char) in ("Cc", "Cs") else char for char in text)


def drawable(text: str, missing: set[str]) -> str:
    """`text` for matplotlib: escaped, with `?` for characters in `missing`, `$` as itself."""
    known = "".join("?" if char in missing else char for char in escaped(text))
    return known.replace("$", r"\$")  # matplotlib reads $...$ as a formula


def _installed() -> list[FontEntry]:
    """One font per installed family, the usual ones first."""
    rank = {name: i for i, name in enumerate(_PREFERRED)}
    fonts: dict[str, FontEntry] = {}
    for font in fontManager.ttflist:
        if not font.name.startswith("Last Resort"):  # has every character, as a box
            fonts.setdefault(font.name, font)
    return sorted(fonts.values(), key=lambda font: (rank.get(font.name, len(rank)), font.name))


@cache
def _characters(file: str) -> set[str]:
    try:
        return {chr(code) for code in FT2Font(file).get_charmap()}
    except (OSError, RuntimeError):  # a broken or vanished font file helps nobody
        return set()
