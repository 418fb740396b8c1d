"""Finding installed fonts for class names in any script, or knowing that there are none."""

from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import FontEntry, findfont, fontManager
from matplotlib.ft2font import FT2Font

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
    missing = {char for text in texts for char in text if not char.isspace()}
    missing -= _characters(findfont(DEFAULT))
    for font in _installed() if missing else ():
        found = missing & _characters(font.fname)
        if found:
            families.append(font.name)
            missing -= found
        if not missing:
            break
    return families, missing


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
