"""A few hundred mutated files of every kind end as a result or as one line."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_mutated_files(tmp_path: Path, python: str) -> None:
    words = ["--files", "108", "--jobs", "1", "--seed", "7", "--out", "kept", "--json", "x.json"]
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
    assert sum(sum(row.values()) for row in groups.values()) == 108
    # mutations that everything or nothing survives would test nothing
    assert {"refused", "result"} == {verdict for row in groups.values() for verdict in row}
