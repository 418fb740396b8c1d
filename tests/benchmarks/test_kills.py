"""Commands that are killed by step, limited, or beside themselves come to the same results."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


JOBS = ("embed", "predict")


def test_killed_at_random_moments(tmp_path: Path, python: str) -> None:
    words = ["--kills", "4", "--seed", "5", "--only", *JOBS, "--json", "x.json"]
    done = subprocess.run(
        [python, "-m", "benchmarks.kills", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "x.json").read_text())["jobs"]
    assert rows.keys() == set(JOBS)
    for row in rows.values():
        assert row["kills"] >= 2 and row["moments"] > 3
