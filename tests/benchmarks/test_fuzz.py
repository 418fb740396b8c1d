"""A few dozen mutated files of nearly every kind end as a result or as one line."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

# few of what whole commands read, many of what is read in milliseconds; none of what takes half a
# minute to be made: exported files and what needs them
FILES = {
    "pictures": 30,
    "lists": 13,
    "settings": 11,
    "weights": 3,
    "features files": 3,
    "draws": 3,
    "runs": 2,
    "caches": 1,
    "bench": 1,
}
PROGRAM = f"""
from benchmarks.fuzz import __main__ as fuzz
fuzz.SHARES = {FILES}
raise SystemExit(fuzz.main())
"""


def test_mutated_files(tmp_path: Path, python: str) -> None:
    words = ["--files", str(sum(FILES.values())), "--jobs", "1", "--seed", "7", "--out", "kept"]
    words += ["--json", "x.json", "--only", *FILES]
    done = subprocess.run(
        [python, "-c", PROGRAM, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    kept = "\n".join(path.read_text()[:1000] for path in sorted(tmp_path.glob("kept/*/about.txt")))
    assert done.returncode == 0, done.stdout + done.stderr + kept
    groups = json.loads((tmp_path / "x.json").read_text())["groups"]
    assert {name: sum(row.values()) for name, row in groups.items()} == FILES
    # mutations that everything or nothing survives would test nothing, also of the cheap kinds
    for names in (FILES, ("pictures", "lists", "settings")):
        assert {"refused", "result"} == {verdict for name in names for verdict in groups[name]}
