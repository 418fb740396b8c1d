"""Texts of the pages in the languages of `words/`, by their English ones."""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from cvgssl.station.people import GUEST

_SAID = "said "  # before messages of the station among the words
_WHO = {
    "local": "somebody", "program": "a program", "station": "the station",
    "command line": "the command line",
}  # fmt: skip
_WORDS = files("cvgssl.station.pages") / "words"


class Words:
    """Texts in a language, by their English ones, which are the templates' own.

    English itself has other texts only for what is said of one.
    """

    def __init__(self, language: str) -> None:
        self._is_english = language == "en"
        self._by_english = _words(language)
        self._said = [] if self._is_english else _said(language)

    def __call__(self, text: str, **values: object) -> str:
        """The text with `values` in place of its {names}; in English that of one where n is one."""
        is_itself = self._is_english and str(values.get("n")) != "1"
        translated = text if is_itself else self._by_english.get(text, text)
        return translated.format(**values) if values else translated

    def said(self, message: str) -> str:
        """A message of the station itself, by the first entry `said ...` that it is like."""
        for pattern, translated in self._said:
            if match := pattern.fullmatch(message):
                return translated.format(**match.groupdict())
        return message

    def who(self, name: str) -> str:
        """Whoever it was; as `answers.who` in JavaScript."""
        if name.startswith(f"{GUEST} "):
            return self("guest {n}", n=name.removeprefix(f"{GUEST} "))
        return self(_WHO[name]) if name in _WHO else name

    def all(self) -> Mapping[str, str]:
        """All that differ from the English ones, for the same in JavaScript."""
        return self._by_english


@cache
def _said(language: str) -> list[tuple[re.Pattern[str], str]]:
    """What messages are like, those without {names} first, and their translations."""
    pairs = [
        (key.removeprefix(_SAID), text)
        for key, text in _words(language).items()
        if key.startswith(_SAID)
    ]
    pairs.sort(key=lambda pair: pair[0].count("{"))
    return [
        (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(key)), re.DOTALL), text)
        for key, text in pairs
    ]


@cache
def _words(language: str) -> dict[str, str]:
    text = _WORDS.joinpath(f"{language}.json").read_text(encoding="utf-8")
    words: dict[str, str] = json.loads(text)
    return words
