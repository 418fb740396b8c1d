"""Models: versions, what each is, which is live, exports."""

import re
import threading
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute

from cvgssl.runtime.errors import UserError
from cvgssl.station.approval import Approvals
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.evidence import EXPORT
from cvgssl.station.fitting import FIT
from cvgssl.station.guard import POLICY
from cvgssl.station.jobs import Job, Jobs
from cvgssl.station.models import LIVE, Version
from cvgssl.station.pages.explaining import Explaining, job_shown
from cvgssl.station.pages.shell import Shell, json_object, number_of
from cvgssl.station.people import Person

EXPORT_TASK, EXPORTS = "export", "exports"
_HISTORY = 20  # changes of the live version that are listed
# a page of `cvgssl fit` has its style and pictures in it, and nothing else
_REPORT = {POLICY: "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"}


class ModelsPage:
    """Versions of the station."""

    def __init__(
        self, shell: Shell, explaining: Explaining, jobs: Jobs, approvals: Approvals
    ) -> None:
        self._shell, self._explaining, self._answering = shell, explaining, explaining.answering
        self._jobs, self._approvals = jobs, approvals
        self._log, self._lock = EventLog(shell.config.folder / LOG), threading.Lock()

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()

    def routes(self) -> list[BaseRoute]:
        """What the page asks for."""
        shell = self._shell
        return [
            shell.page("/models", self._page),
            shell.data("/models/state", self._state),
            shell.data("/models/{number:number}", self._version),
            shell.data("/models/{number:number}/report", self._report),
            shell.data("/models/{number:number}/export", self._exported),
            shell.action("/models/export", self._export, reviewer=True),
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
            "fit": job_shown(fits[-1]) if fits else None,
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
            known = self._explaining.about(version)
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
        facts["export"] = (
            None if export is None else job_shown(export) | {"proof": self._proof(export)}
        )
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
            known = self._explaining.about_number(number)
            shown = asdict(known) | {"report": known.report is not None}
            sha256 = self._explaining.version(number).sha256
            return shown | {"decided": known.decided(), "sha256": sha256}

        return JSONResponse(await run_in_threadpool(facts))

    async def _report(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        known = await run_in_threadpool(
            self._explaining.about_number, request.path_params["number"]
        )
        if known.report is None:
            raise LookupError("report")
        # not as a file: the shell takes this machine's folders out of it
        text = await run_in_threadpool(known.report.read_text, encoding="utf-8")
        return HTMLResponse(text, headers=_REPORT)

    async def _export(self, request: Request, person: Person) -> Response:
        number = number_of((await json_object(request)).get("version"))

        def ask() -> None:
            version = self._explaining.version(number)
            out = self._export_path(version)
            out.parent.mkdir(exist_ok=True)
            self._jobs.ask(EXPORT_TASK, ["export", version.path, out], person.name)

        await run_in_threadpool(ask)
        return JSONResponse({})

    async def _exported(self, request: Request, person: Person) -> Response:  # noqa: ARG002
        version = await run_in_threadpool(self._explaining.version, request.path_params["number"])
        path = self._export_path(version)
        if not path.is_file():
            raise LookupError("export")
        return FileResponse(path, filename=f"recognizer-{version.number}{path.suffix}")

    def _export_path(self, version: Version) -> Path:
        if version.path.suffix.lower() == ".onnx":
            return version.path
        return self._shell.config.folder / EXPORTS / f"{version.number:04}.onnx"

    async def _live(self, request: Request, person: Person) -> Response:
        number = number_of((await json_object(request)).get("version"))
        proposal = await run_in_threadpool(self._approvals.propose, number, person.name)
        return JSONResponse({"proposed": proposal is not None})

    async def _decide(self, request: Request, person: Person) -> Response:
        body = await json_object(request)
        number, approve = number_of(body.get("proposal")), body.get("approve") is True
        await run_in_threadpool(self._approvals.decide, number, person.name, approve)
        return JSONResponse({})
