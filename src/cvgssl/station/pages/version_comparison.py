"""Models: what another version would change."""

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from cvgssl.selection.label_list import UNSURE
from cvgssl.station.comparing import Change, Comparison
from cvgssl.station.comparison_jobs import ComparisonJobs
from cvgssl.station.current_labelling import CurrentLabelling
from cvgssl.station.pages.explaining import Explaining, job_shown
from cvgssl.station.pages.shell import Shell, json_object, number_of
from cvgssl.station.people import Person

_SHOWN = 60  # pictures whose answers change


class VersionComparison:
    """The part of the page Models that compares two versions."""

    def __init__(
        self,
        shell: Shell,
        explaining: Explaining,
        comparisons: ComparisonJobs,
        labelling: CurrentLabelling,
    ) -> None:
        self._shell, self._explaining = shell, explaining
        self._comparisons, self._labelling = comparisons, labelling

    def routes(self) -> list[BaseRoute]:
        """What the page asks for."""
        shell = self._shell
        return [
            shell.data("/models/comparison", self._comparison),
            shell.action("/models/compare", self._compare),
        ]

    async def _compare(self, request: Request, person: Person) -> Response:
        body = await json_object(request)
        numbers = number_of(body.get("before")), number_of(body.get("after"))

        def ask() -> None:
            before, after = map(self._explaining.version, numbers)
            self._comparisons.ask(before, after, person.name)

        await run_in_threadpool(ask)
        return JSONResponse({})

    async def _comparison(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        query = request.query_params
        before, after = number_of(query.get("before")), number_of(query.get("after"))
        return JSONResponse(await run_in_threadpool(self._compared, before, after))

    def _compared(self, before: int, after: int) -> dict[str, Any]:
        known = (self._explaining.about_number(before), self._explaining.about_number(after))
        job = self._comparisons.job(before, after)
        facts: dict[str, Any] = {"job": None if job is None else job_shown(job), "result": None}
        if job is None or job.state != "done":
            return facts
        compared = self._comparisons.result(
            known, (before, after), self._explaining.reviews.truths(), self._labels()
        )
        if compared is not None:
            facts["result"] = _comparison(compared.comparison, compared.of_kept)
        return facts

    def _labels(self) -> dict[str, tuple[str, str]]:
        """Hash and class of labelled pictures of the pool, by name."""
        with self._labelling.use() as engine:
            labels, _ = ([], 0) if engine is None else engine.labels.all()
        return {each.picture: (each.sha256, each.label) for each in labels if each.label != UNSURE}


def _comparison(comparison: Comparison, of_kept: bool) -> dict[str, Any]:
    paired = None
    if comparison.paired is not None:
        paired = asdict(comparison.paired) | {
            "pictures": comparison.paired.pictures,
            "difference": comparison.paired.difference,
        }
    return {
        "pictures": comparison.pictures,
        "agreement": comparison.agreement,
        "before": comparison.before,
        "after": comparison.after,
        "moves": [[*pair, count] for pair, count in comparison.moves.items()],
        "changed": len(comparison.changes),
        "changes": [_change(each, of_kept) for each in comparison.changes[:_SHOWN]],
        "paired": paired,
        "learned": comparison.learned,
        "of_kept": of_kept,
    }


def _change(change: Change, of_kept: bool) -> dict[str, Any]:
    place = "kept" if of_kept else "pool"
    return {
        "src": f"/{place}/160/{quote(change.picture)}",
        "name": "" if of_kept else change.picture,
        "before": change.before.answer,
        "after": change.after.answer,
        "probability": change.after.probability,
        "truth": change.truth,
        "learned": change.learned,
    }
