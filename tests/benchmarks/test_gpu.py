"""The GPU benchmark on the CPU, in miniature: it must be ready when a GPU is at hand."""

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import table
from benchmarks.gpu.trace import complement, innermost, merged, overlaps, read_activity

ROOT = Path(__file__).parents[2]
FIXTURE = Path(__file__).parent / "gpu_made_up.json"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, python: str) -> dict[str, Any]:
    """What the script writes when it runs in miniature."""
    out = tmp_path_factory.mktemp("gpu")
    done = subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", out, "--tiny", "--seconds", "100000"],
        env=os.environ | {"PYTHON": python, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not measured" in (out / "gpu.md").read_text(encoding="utf-8")  # no GPU, no figure
    result: dict[str, Any] = json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    return result


@pytest.mark.slow
def test_every_section_comes_to_its_end(measured: dict[str, Any]) -> None:
    sections = measured["sections"]
    assert {name: section["status"] for name, section in sections.items()} == dict.fromkeys(
        gpu.SECTIONS, "complete"
    )
    assert measured["gpu"] is None and measured["tiny"]


@pytest.mark.slow
def test_equality_finds_equal_trainings(measured: dict[str, Any]) -> None:
    rows = measured["sections"]["equality"]["rows"]
    assert rows.pop("stored embeddings")["worst difference"] < 1e-3
    assert set(rows) == {"spectral", "published", "mocov3", "finetune", "linear"}
    for name, row in rows.items():
        assert row["repeated on the gpu"]["identical"], name
        assert row["gpu"]["first loss"] < 1e-5 and row["gpu"]["worst loss"] < 0.01, name


@pytest.mark.slow
def test_figures_are_there(measured: dict[str, Any]) -> None:
    rows = {name: section["rows"] for name, section in measured["sections"].items()}
    assert rows["encoders"]["ViT"]["bf16"] > 0
    assert rows["encoders"]["cvgssl embed"]["seconds of decoding alone"] > 0
    steps = rows["step"]
    assert len(steps) == 4
    for row in steps.values():
        host = row["activity"]["host"]
        assert row["views per second"] > 0 and row["activity"]["busy"] is None
        assert {"views", "forward", "backward", "optimizer"} <= set(host)
        assert sum(host.values()) == pytest.approx(row["activity"]["step"])
    assert {len(rows["precision"][name]["loss"]) for name in ("fp32", "bf16")} == {6}
    assert rows["precision"]["bf16"]["worst over fp32"] < 0.1
    stopped = rows["precision"]["stopped and resumed, fp32"]
    assert stopped["identical"] and 2 <= stopped["stopped after step"] < 6
    assert len(rows["view_rates"]) == 5
    assert rows["paper"]["training"]["epochs"] >= 2 and "epoch 2" in rows["paper"]
    embedded = [rows["deployment"][name] for name in ("embed, 1 process", "embed, 2 processes")]
    assert [row["pictures"] for row in embedded] == [24, 24]
    assert embedded[1]["worst difference"] < 1e-5
    assert rows["deployment"]["export"]["worst probability"] < 1e-4


def test_section_that_hangs_is_ended_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "benchmarks" / "gpu").mkdir(parents=True)
    (tmp_path / "benchmarks" / "gpu" / "__main__.py").write_text(
        "import pathlib, signal, sys\n"
        "pathlib.Path(sys.argv[1], 'gpu.json').write_text('{\"first\": 1}')\n"
        "print('stuck', file=sys.stderr, flush=True)\n"
        "pathlib.Path('stuck').touch()\n"
        "signal.pause()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu.subprocess, "Popen", StuckIsLate)
    found = gpu.in_process([], seconds=3)  # which comes back only if it ends the process
    assert found["status"] == "out of time" and found["rows"] == {"first": 1}
    assert found["errors"][-1] == "stuck"


class StuckIsLate(subprocess.Popen[bytes]):
    """A process whose time is over when it is stuck, however long that takes to come."""

    def wait(self, timeout: float | None = None) -> int:
        while timeout is not None and not Path("stuck").exists():
            assert self.poll() is None
            time.sleep(0.01)
        if timeout is not None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return super().wait()


def test_section_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = gpu.in_process(["--section", "no such"], seconds=1000)
    assert found["status"] == "failed" and "no such" in found["errors"][-1]


def test_page_says_not_measured() -> None:
    result = json.loads(FIXTURE.read_text(encoding="utf-8"))
    assert "not measured" in table.page([])
    for missing in ({"gpu": None}, {"tiny": True}):
        assert table.page([result | missing]) == table.page([])


def test_page_shows_what_was_measured() -> None:
    result = json.loads(FIXTURE.read_text(encoding="utf-8"))
    page = table.page([result])
    assert "**made-up card, for the test of the table**" in page
    assert "| ViT-B/16 | 3,456 | 3,500 | 4,000 | not measured |" in page
    assert (
        "| resnet50, batch 256, spectral | 5,000 | 40.5 | 2 | 93% | 250 | backward 130.0, forward"
        in page
    )
    assert "| mocov3 | 1e-07 / 2e-05 / 3e-06 | 1e-07 / 1e-05 / 2e-06 | identical |" in page
    assert "| fp16 | 2.0000, 1.0000 | 2.0% | 3 |" in page
    assert "| 2 processes | 1,500 | 20.0 | 2e-06 |" in page
    assert "exported in 30 s (14 MB): by ONNX Runtime on the CPU 200 pictures get" in page
    assert "out of time" in page and page.count("not measured") == 6
    for row in re.findall(r"^\|.*\|$", page, re.MULTILINE):
        assert row.count("|") > 2


def test_gpu_page_is_up_to_date() -> None:
    text = (ROOT / "docs" / "results" / "gpu.md").read_text(encoding="utf-8")
    results = table.measurements(ROOT / "docs" / "results")
    assert table.updated(text, results) == text, (
        "python -m benchmarks.gpu.table docs/results/gpu.md docs/results"
    )


def test_intervals() -> None:
    assert merged([(5, 6), (0, 2), (1, 3)]) == [(0, 3), (5, 6)]
    assert complement([(0, 3), (5, 6)], (1, 9)) == [(3, 5), (6, 9)]
    outer, inner, last = (0.0, 10.0, "outer"), (2.0, 4.0, "inner"), (12.0, 13.0, "last")
    pieces = [(0, 2, "outer"), (2, 4, "inner"), (4, 10, "outer"), (12, 13, "last")]
    assert innermost([outer, inner, last]) == pieces
    assert overlaps(pieces, [(3, 5), (9, 12.5)], "none") == {
        "inner": 1,
        "outer": 2,
        "last": 0.5,
        "none": 2,
    }


def test_activity_of_a_gpu_from_a_trace(tmp_path: Path) -> None:
    """Two phases of 1 ms; the GPU works 0.2 ms for each, and the host copies meanwhile."""
    events = [
        _event("user_annotation", "views", 0, 1000),
        _event("user_annotation", "forward", 1000, 1000),
        _event("cuda_runtime", "cudaLaunchKernel", 100, 10, correlation=1),
        _event("cpu_op", "aten::copy_", 400, 500),
        _event("cuda_runtime", "cudaStreamSynchronize", 500, 100),
        _event("cuda_runtime", "cudaLaunchKernel", 1100, 10, tid=8, correlation=2),
        _event("kernel", "render", 150, 200, tid=70, correlation=1),
        _event("kernel", "gemm", 1200, 150, tid=70, correlation=2),
        _event("gpu_memcpy", "Memcpy", 1300, 100, tid=71, correlation=2),
        _event("gpu_user_annotation", "views", 150, 1800, tid=70),
    ]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"traceEvents": events}))
    found = read_activity(path, ("views", "forward"), steps=1)
    assert found.busy == pytest.approx(0.4 / 2)
    assert found.step == pytest.approx(2)
    assert found.gpu == pytest.approx({"views": 0.2, "forward": 0.25})
    assert found.idle == pytest.approx({"views": 0.8, "forward": 0.8})
    assert found.waits["aten::copy_"] == pytest.approx(0.4)
    assert found.waits["cudaStreamSynchronize"] == pytest.approx(0.1)


def _event(cat: str, name: str, start: float, long: float, tid: int = 7, **args: int) -> Any:
    return {"ph": "X", "cat": cat, "name": name, "ts": start, "dur": long, "tid": tid, "args": args}


def test_activity_from_a_trace_of_the_profiler(tmp_path: Path) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(2):
            with record_function("views"):
                torch.randn(200, 200) @ torch.randn(200, 200)
            with record_function("forward"):
                torch.randn(200, 200).sort()
    path = tmp_path / "trace.json"
    profiler.export_chrome_trace(str(path))
    found = read_activity(path, ("views", "forward"), steps=2)
    assert found.busy is None and not found.gpu and not found.idle
    assert found.host["views"] > 0 and found.host["forward"] > 0
    assert sum(found.host.values()) == pytest.approx(found.step)
