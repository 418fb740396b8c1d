"""Browsers that wait for what follows from a label, while others are answered."""

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from cvgssl.station.labelling import Labelling
from cvgssl.station.labels import Labels
from cvgssl.station.pages.label import LabelPage
from cvgssl.station.people import Person
from tests.station.test_labelling import SHA, pool


def test_browsers_that_wait_hold_no_thread(tmp_path: Path) -> None:
    labels = Labels(tmp_path / "log")
    no_jobs: Any = SimpleNamespace(last=lambda: None)
    nothing: Any = None

    async def check(engine: Labelling) -> None:
        page = LabelPage(nothing, nothing, lambda: engine, no_jobs)  # type: ignore[arg-type]

        async def state(after: int) -> Any:
            scope = {"type": "http", "method": "GET", "query_string": b"after=%d" % after}
            told = await page._when_computed(Request(scope), Person("anna", "reviewer"))
            return json.loads(bytes(told.body))

        begun = time.monotonic()
        waiting = [asyncio.create_task(state(10**6)) for _ in range(200)]
        await asyncio.sleep(0.3)
        given = await run_in_threadpool(engine.label, "pit-000.png", SHA, "pit", "anna", None, None)
        found = await state(given.number)
        assert time.monotonic() - begun < 1.8, "others waited for those that wait"
        assert found["after"] >= given.number and found["labelled"] == 1
        assert not any(each.done() for each in waiting)
        late = await asyncio.gather(*waiting)
        assert time.monotonic() - begun > 2
        assert all(each["after"] == found["after"] and each["fit"] is None for each in late)

    with Labelling(pool(), labels, tmp_path / "kept") as engine:
        engine.wait(0, 60)
        asyncio.run(check(engine))
