"""A few hundred mutated files of every kind end as a result or as one line."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.fuzz.__main__ import SHARES

ROOT = Path(__file__).parents[2]


# what takes half a minute to be made: exported files and what needs them
LEFT_OUT = {"exported", "station", "answers"}
QUICK = ("pictures", "lists", "settings")  # are read in milliseconds


@pytest.mark.parametrize(
    ("files", "only"),
    [
        (14, tuple(group for group in SHARES if group not in LEFT_OUT.union(QUICK))),
        (45, QUICK),
    ],
)
def test_mutated_files(tmp_path: Path, python: str, files: int, only: tuple[str, ...]) -> None:
    """Few of what whole commands read, many of what is read in milliseconds."""
    words = ["--files", str(files), "--jobs", "1", "--seed", "7", "--out", "kept"]
    words += ["--json", "x.json", "--only", *only]
    done = subprocess.run(
        [python, "-m", "benchmarks.fuzz", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    kept = "\n".join(path.read_text()[:1000] for path in sorted(tmp_path.glob("kept/*/about.txt")))
    assert done.returncode == 0, done.stdout + done.stderr + kept
    groups = json.loads((tmp_path / "x.json").read_text())["groups"]
    assert sum(sum(row.values()) for row in groups.values()) == files
    # mutations that everything or nothing survives would test nothing
    assert {"refused", "result"} == {verdict for row in groups.values() for verdict in row}
