"""Watch: what arrives, where answers go, counts, and what to do where pictures have changed."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from cvgssl.heads.verdicts import NOT_SURE, UNKNOWN
from cvgssl.runtime.errors import UserError
from cvgssl.station.alarms import StationAlarm
from cvgssl.station.answer_rows import Answer
from cvgssl.station.answering import Answering
from cvgssl.station.class_keys import ClassKeys
from cvgssl.station.pages.explaining import MOST_CLASSES, source_of
from cvgssl.station.pages.shell import Shell, json_object, number_of
from cvgssl.station.people import Person
from cvgssl.station.review import Reviews
from cvgssl.station.watching import Watching

_HOURS = 24
_ALARMS = 20  # that are listed
_SHOWN = 24  # kinds of answers in the chart; the others are one
_COLOURS = 10  # of classes
_VERDICTS = {UNKNOWN: "-unknown", NOT_SURE: "-unsure"}


class WatchPage:
    """One page, whose middle is asked for again every few seconds."""

    def __init__(
        self,
        shell: Shell,
        watching: Watching,
        reviews: Reviews,
        answering: Answering,
        keys: ClassKeys,
    ) -> None:
        self._shell, self._watching, self._keys = shell, watching, keys
        self._reviews, self._answering = reviews, answering

    def routes(self) -> list[BaseRoute]:
        """What the page asks for."""
        shell = self._shell
        return [
            shell.page("/watch", self._page),
            shell.data("/watch/now", self._now),
            shell.data("/watch/alarms", self._alarms),  # by the menu of every page
            shell.action("/watch/settle", self._settle, reviewer=True),
            shell.action("/watch/recentre", self._recentre, reviewer=True),
        ]

    async def _page(self, request: Request, person: Person) -> Response:
        facts = await run_in_threadpool(self._facts)
        return self._shell.render(request, "watch.html", person, **facts)

    async def _now(self, request: Request, person: Person) -> Response:
        facts = await run_in_threadpool(self._facts)
        return self._shell.render(request, "watch_now.html", person, **facts)

    async def _alarms(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        return JSONResponse({"open": await run_in_threadpool(self._watching.alarms.open)})

    def _facts(self) -> dict[str, Any]:
        hours, counts = self._watching.counts(_HOURS)
        alarms = self._watching.alarms.all()[:_ALARMS]
        open_alarm = next((alarm for alarm in alarms if alarm.settled is None), None)
        folder, keys = self._watching.folder, self._keys()
        return {
            "folder": None if folder is None else PurePath(folder).name or folder,
            "sources": self._watching.sources(),
            "sinks": self._watching.sinks(),
            "chart": chart(hours, counts, dict(keys)),
            "alarms": alarms,
            "open": None if open_alarm is None else self._alarm(open_alarm),
            "made": self._made(alarms),
            "keys": keys,
        }

    def _made(self, alarms: Sequence[StationAlarm]) -> dict[str, int] | None:
        """The newest version, where it was re-centred and did not become live yet."""
        newest = max((each.number for each in self._answering.versions()), default=0)
        live = self._answering.live
        for each in alarms:
            if each.made is None or each.made[0] != newest:
                continue
            before = each.version if live is None else live.version.number
            version, labels = each.made
            return None if before == version else {
                "version": version, "labels": labels, "before": before
            }  # fmt: skip
        return None

    def _alarm(self, alarm: StationAlarm) -> dict[str, Any]:
        """The one that nobody has dealt with, with its pictures."""
        examples = [
            self._watching.alarms.example(alarm, example["name"])
            for example in alarm.facts["examples"]
        ]
        nearest = [
            {"name": _short(example["nearest"]), "src": source_of(example["nearest"])}
            for example in alarm.facts["examples"]
        ]
        labelled = self._watching.alarms.labelled(alarm)
        return {
            "alarm": alarm,
            "labelled": labelled,
            "examples": [
                (_shown(answer), near)
                for answer, near in zip(examples, nearest, strict=True)
                if answer is not None
            ],
            "to_label": [_shown(answer) for answer in self._watching.alarms.to_label(alarm)],
        }

    async def _settle(self, request: Request, person: Person) -> Response:
        body = await json_object(request)
        how = str(body.get("how"))
        if how not in ("nothing", "labelled"):
            raise UserError("how: nothing or labelled")
        number = number_of(body.get("number"))
        settle = self._watching.alarms.settle
        await run_in_threadpool(settle, number, how, person.name)  # type: ignore[arg-type]
        return JSONResponse({})

    async def _recentre(self, request: Request, person: Person) -> Response:
        number = number_of((await json_object(request)).get("number"))

        def recentre() -> tuple[int, int]:
            return self._watching.alarms.recentre(number, person.name, self._reviews.truths())

        version, labels = await run_in_threadpool(recentre)
        return JSONResponse({"version": version, "labels": labels})


def chart(hours: list[str], counts: dict[str, list[int]], places: dict[str, int]) -> dict[str, Any]:
    """Bars of answers by hour, for a drawing 100 high: the commonest answers, and all others.

    places: of classes, which decide their colours (`ClassKeys`).
    """
    names = list(counts)[:_SHOWN]
    rest = [sum(counts[name][at] for name in list(counts)[_SHOWN:]) for at in range(len(hours))]
    rows = [(name, counts[name]) for name in names] + ([("", rest)] if any(rest) else [])
    sums = [sum(row[at] for _, row in rows) for at in range(len(hours))]
    highest = max(sums, default=0) or 1
    bars = []
    shown = [(name, row, _kind(name, places)) for name, row in rows]
    for at in range(len(hours)):
        below = 0.0
        for _, row, kind in shown:
            height = 100 * row[at] / highest
            below += height
            if row[at]:
                bars.append({"x": at, "y": 100 - below, "height": height, "kind": kind})
    return {"hours": hours, "bars": bars, "rows": shown, "sums": sums, "highest": highest}


def _short(path: str) -> str:
    """A train picture without its folders; reviewed ones are called by their SHA-256."""
    name = PurePath(path).name
    return name[:8] if len(name) == 64 else name


def _kind(answer: str, places: dict[str, int]) -> str:
    """The colour of an answer in the sheet."""
    if answer in _VERDICTS:
        return _VERDICTS[answer]
    return str(places[answer] % _COLOURS) if answer in places else "-other"


def _shown(answer: Answer) -> dict[str, Any]:
    return {
        "number": answer.number,
        "name": answer.name,
        "sha256": answer.sha256,
        "predicted_class": answer.predicted_class,
        "answer": answer.answer,
        "probability": answer.probability,
        "likely": sorted(answer.probabilities.items(), key=lambda pair: -pair[1])[:MOST_CLASSES],
        "truth": answer.truth,
    }
