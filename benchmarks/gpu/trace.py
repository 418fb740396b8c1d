"""What a profiled GPU did and what it waited for, from the trace that torch's profiler writes.

Times in a trace are microseconds. Intervals are (start, end), a GPU's kernels and copies count as
work.
"""

import json
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Interval = tuple[float, float]
Named = tuple[float, float, str]

_ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
_ON_CPU = ("cpu_op", "cuda_runtime", "cuda_driver")
BETWEEN = "between phases"


@dataclass(frozen=True)
class Activity:
    """Milliseconds per step, but for `busy`.

    busy: share of the time in which the GPU worked, 0..1; None when the trace has no GPU.
    step: from one step to the next. host: where the main thread was, by phase. gpu: work that was
    launched in each phase. idle: time without work, by the phase in which the main thread was;
    waits: the same by the innermost operation that the main thread was in, the longest five.
    """

    busy: float | None
    step: float
    host: dict[str, float]
    gpu: dict[str, float]
    idle: dict[str, float]
    waits: dict[str, float]


def read_activity(path: Path, phases: Sequence[str], steps: int) -> Activity:
    """From a trace of so many training steps whose `phases` are named by `record_function`."""
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    events = [event for event in events if event.get("ph") == "X"]
    marks = [e for e in events if e["cat"] == "user_annotation" and e["name"] in phases]
    thread = marks[0]["tid"]
    named = sorted(_named(e) for e in marks if e["tid"] == thread)
    work = [e for e in events if e["cat"] in _ON_GPU]
    busy = merged((e["ts"], e["ts"] + e["dur"]) for e in work)
    window = (named[0][0], max([named[-1][1], *(end for _, end in busy)]))
    gaps = complement(busy, window) if work else []
    calls = sorted(
        (_named(e) for e in events if e["cat"] in _ON_CPU and e["tid"] == thread),
        key=lambda call: (call[0], -call[1]),
    )
    waits = overlaps(innermost(calls), gaps, "Python, or autograd's own thread")
    longest = sorted(waits.items(), key=lambda item: -item[1])[:5]

    def per_step(times: Iterable[tuple[str, float]]) -> dict[str, float]:
        return {name: time / 1000 / steps for name, time in times if time > 0}

    return Activity(
        busy=1 - _length(gaps) / (window[1] - window[0]) if work else None,
        step=(window[1] - window[0]) / 1000 / steps,
        host=per_step(overlaps(named, [window], BETWEEN).items()),
        gpu=per_step(_by_launch(work, events, named).items()),
        idle=per_step(overlaps(named, gaps, BETWEEN).items()),
        waits=per_step(longest),
    )


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Their union as disjoint intervals in order."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def complement(disjoint: Sequence[Interval], window: Interval) -> list[Interval]:
    """What they leave of the window."""
    ends = [window[0], *(end for _, end in disjoint)]
    starts = [*(start for start, _ in disjoint), window[1]]
    clipped = [(max(a, window[0]), min(b, window[1])) for a, b in zip(ends, starts, strict=True)]
    return [(a, b) for a, b in clipped if a < b]


def innermost(calls: Sequence[Named]) -> list[Named]:
    """Nested calls of one thread (outer ones first) to disjoint pieces named by the innermost."""
    pieces: list[Named] = []
    stack: list[Named] = []
    place = float("-inf")

    def until(time: float) -> None:
        nonlocal place
        while stack and stack[-1][1] <= time:
            _, end, name = stack.pop()
            if end > place:
                pieces.append((place, end, name))
                place = end
        if stack and time > place:
            pieces.append((place, time, stack[-1][2]))
        place = max(place, time)

    for call in calls:
        until(call[0])
        stack.append(call)
    until(float("inf"))
    return pieces


def overlaps(
    named: Sequence[Named], intervals: Sequence[Interval], otherwise: str
) -> dict[str, float]:
    """How much of the intervals is in each of the disjoint, ordered `named` ones."""
    times: dict[str, float] = defaultdict(float)
    starts = [start for start, _, _ in named]
    for start, end in intervals:
        covered = 0.0
        for row in range(max(bisect_right(starts, start) - 1, 0), bisect_left(starts, end)):
            a, b, name = named[row]
            common = max(0.0, min(b, end) - max(a, start))
            times[name] += common
            covered += common
        times[otherwise] += end - start - covered
    return dict(times)


def _by_launch(
    work: Sequence[dict[str, Any]], events: Sequence[dict[str, Any]], named: Sequence[Named]
) -> dict[str, float]:
    """Durations of the GPU's work, by the phase in which it was launched from any thread."""
    launched = {
        event["args"]["correlation"]: event["ts"]
        for event in events
        if event["cat"] in _ON_CPU and "correlation" in event.get("args", {})
    }
    times: dict[str, float] = defaultdict(float)
    starts = [start for start, _, _ in named]
    for event in work:
        at = launched.get(event.get("args", {}).get("correlation"), float("-inf"))
        row = bisect_right(starts, at) - 1
        inside = row >= 0 and at <= named[row][1]
        times[named[row][2] if inside else BETWEEN] += event["dur"]
    return dict(times)


def _named(event: dict[str, Any]) -> Named:
    return event["ts"], event["ts"] + event["dur"], event["name"]


def _length(intervals: Iterable[Interval]) -> float:
    return sum(end - start for start, end in intervals)
