"""Models: versions, what each is, which is live, what another one would change, exports."""

import re
import threading
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute

from cvgssl.runtime.errors import UserError
from cvgssl.selection.label_list import UNSURE
from cvgssl.station.answering import Answering
from cvgssl.station.approval import Approvals
from cvgssl.station.comparing import Change, Comparison
from cvgssl.station.comparison_jobs import ComparisonJobs
from cvgssl.station.current_labelling import CurrentLabelling
from cvgssl.station.events import EventLog
from cvgssl.station.evidence import EXPORT
from cvgssl.station.fitting import TASK as FIT
from cvgssl.station.guard import POLICY
from cvgssl.station.jobs import Job, Jobs
from cvgssl.station.models import LIVE, Version
from cvgssl.station.pages.recognize import RecognizePage, number_of
from cvgssl.station.pages.shell import Shell, json_object
from cvgssl.station.people import Person
from cvgssl.station.review import Reviews

EXPORT_TASK, EXPORTS = "export", "exports"
_SHOWN = 60  # pictures whose answers change
_HISTORY = 20  # changes of the live version that are listed
# a page of `cvgssl fit` has its style and pictures in it, and nothing else
_REPORT = {POLICY: "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"}


class ModelsPage:
    """Versions of the station.

    log: path of the station's.
    """

    def __init__(
        self,
        shell: Shell,
        log: Path,
        answering: Answering,
        jobs: Jobs,
        approvals: Approvals,
        comparisons: ComparisonJobs,
        reviews: Reviews,
        recognize: RecognizePage,
        labelling: CurrentLabelling,
    ) -> None:
        self._shell, self._answering, self._jobs = shell, answering, jobs
        self._approvals, self._comparisons, self._reviews = approvals, comparisons, reviews
        self._recognize, self._labelling = recognize, labelling
        self._log, self._lock = EventLog(log), threading.Lock()

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()

    def routes(self) -> list[BaseRoute]:
        """What the page asks for."""
        shell = self._shell
        return [
            shell.page("/models", self._page),
            shell.data("/models/state", self._state),
            shell.data("/models/comparison", self._comparison),
            shell.data("/models/{number:number}", self._version),
            shell.data("/models/{number:number}/report", self._report),
            shell.data("/models/{number:number}/export", self._exported),
            shell.action("/models/export", self._export, reviewer=True),
            shell.action("/models/compare", self._compare),
            shell.action("/models/live", self._live, reviewer=True),
            shell.action("/models/decide", self._decide, reviewer=True),
        ]

    async def _page(self, request: Request, person: Person) -> Response:
        return self._shell.render(
            request, "models.html", person, two_people=self._approvals.two_people
        )

    async def _state(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        return JSONResponse(await run_in_threadpool(self._facts, person))

    def _facts(self, person: Person) -> dict[str, Any]:
        live = self._answering.live
        jobs = self._jobs.jobs()
        exports = {job.words[1]: job for job in jobs if job.task == EXPORT_TASK}
        fits = [job for job in jobs if job.task == FIT]
        with self._lock:
            changes = list(self._log.events(LIVE))[-_HISTORY:]
        return {
            "versions": [
                self._summary(each, exports.get(str(each.path)))
                for each in reversed(self._answering.versions())
            ],
            "live": live.version.number if live else None,
            "proposals": [
                asdict(each) | {"own": each.who == person.name} for each in self._approvals.open()
            ],
            "history": [
                {"at": each.at, "who": each.who, "version": each.facts["number"]}
                for each in reversed(changes)
            ],
            "fit": _job(fits[-1]) if fits else None,
            "may": person.may_review,
        }

    def _summary(self, version: Version, export: Job | None) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "number": version.number,
            "name": PurePosixPath(version.name).name,
            "at": version.at,
            "problem": "",
            "figures": None,
            "classes": {},
        }
        try:
            known = self._recognize.about(version)
        except UserError:
            return facts | {"problem": "its files are damaged"}
        facts |= {"kind": known.kind, "head": known.head, "encoder": known.encoder}
        facts |= {"labels": len(known.labels), "unlabelled": known.unlabelled}
        facts["classes"] = known.label_counts if known.labels else dict.fromkeys(known.classes)
        if known.figures is not None:
            names = ("pictures", "accuracy", "accuracy_interval", "macro_recall",
                     "macro_recall_interval")  # fmt: skip
            facts["figures"] = {name: known.figures[name] for name in names}
        facts["report"] = known.report is not None
        facts["export"] = None if export is None else _job(export) | {"proof": self._proof(export)}
        facts["file"] = known.kind == EXPORT or self._export_path(version).is_file()
        return facts

    def _proof(self, job: Job) -> str:
        """What `cvgssl export` said of the check, without progress and folders."""
        if job.state != "done":
            return ""
        name = Path(job.words[2]).name
        lines = self._jobs.output(job.number).splitlines()
        # the station may have been at another place then
        place = re.compile(rf"^\S.*?(?={re.escape(name)}: )")
        first = next((row for row, line in enumerate(lines) if f"{name}: " in line), 0)
        return "\n".join(place.sub("", line) for line in lines[first:])

    async def _version(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        """All that is known of one."""
        number = request.path_params["number"]

        def facts() -> dict[str, Any]:
            known = self._recognize.about_number(number)
            shown = asdict(known) | {"report": known.report is not None}
            sha256 = self._recognize.version(number).sha256
            return shown | {"decided": known.decided(), "sha256": sha256}

        return JSONResponse(await run_in_threadpool(facts))

    async def _report(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        known = await run_in_threadpool(self._recognize.about_number, request.path_params["number"])
        if known.report is None:
            raise LookupError("report")
        return FileResponse(known.report, media_type="text/html", headers=_REPORT)

    async def _export(self, request: Request, person: Person) -> Response:
        number = number_of((await json_object(request)).get("version"))

        def ask() -> None:
            version = self._recognize.version(number)
            out = self._export_path(version)
            out.parent.mkdir(exist_ok=True)
            self._jobs.ask(EXPORT_TASK, ["export", version.path, out], person.name)

        await run_in_threadpool(ask)
        return JSONResponse({})

    async def _exported(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        version = await run_in_threadpool(self._recognize.version, request.path_params["number"])
        path = self._export_path(version)
        if not path.is_file():
            raise LookupError("export")
        return FileResponse(path, filename=f"recognizer-{version.number}{path.suffix}")

    def _export_path(self, version: Version) -> Path:
        if version.path.suffix.lower() == ".onnx":
            return version.path
        return self._shell.config.folder / EXPORTS / f"{version.number:04}.onnx"

    async def _compare(self, request: Request, person: Person) -> Response:
        body = await json_object(request)
        numbers = number_of(body.get("before")), number_of(body.get("after"))

        def ask() -> None:
            before, after = map(self._recognize.version, numbers)
            self._comparisons.ask(before, after, person.name)

        await run_in_threadpool(ask)
        return JSONResponse({})

    async def _comparison(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        query = request.query_params
        before, after = number_of(query.get("before")), number_of(query.get("after"))
        return JSONResponse(await run_in_threadpool(self._compared, before, after))

    def _compared(self, before: int, after: int) -> dict[str, Any]:
        known = (self._recognize.about_number(before), self._recognize.about_number(after))
        job = self._comparisons.job(before, after)
        facts: dict[str, Any] = {"job": None if job is None else _job(job), "result": None}
        if job is None or job.state != "done":
            return facts
        compared = self._comparisons.result(
            known, (before, after), self._reviews.truths(), self._labels()
        )
        if compared is not None:
            facts["result"] = _comparison(compared.comparison, compared.of_kept)
        return facts

    def _labels(self) -> dict[str, tuple[str, str]]:
        """Hash and class of labelled pictures of the pool, by name."""
        with self._labelling.use() as engine:
            labels, _ = ([], 0) if engine is None else engine.labels.all()
        return {each.picture: (each.sha256, each.label) for each in labels if each.label != UNSURE}

    async def _live(self, request: Request, person: Person) -> Response:
        number = number_of((await json_object(request)).get("version"))
        proposal = await run_in_threadpool(self._approvals.propose, number, person.name)
        return JSONResponse({"proposed": proposal is not None})

    async def _decide(self, request: Request, person: Person) -> Response:
        body = await json_object(request)
        number, approve = number_of(body.get("proposal")), body.get("approve") is True
        await run_in_threadpool(self._approvals.decide, number, person.name, approve)
        return JSONResponse({})


def _job(job: Job) -> dict[str, Any]:
    progress = None if job.progress is None else asdict(job.progress)
    return {"state": job.state, "message": job.message, "progress": progress}


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
