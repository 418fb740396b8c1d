"""Commands that are killed by step, limited, or beside themselves come to the same results."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("job", ["embed", "predict"])
def test_killed_at_random_moments(tmp_path: Path, python: str, job: str) -> None:
    words = ["--kills", "2", "--seed", "5", "--only", job, "--json", "x.json"]
    done = subprocess.run(
        [python, "-m", "benchmarks.kills", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads((tmp_path / "x.json").read_text())["jobs"][job]
    assert row["kills"] >= 2 and row["moments"] > 3
