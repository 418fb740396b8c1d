"""Several processes embed one data set: the table is that of one, whoever dies meanwhile."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cvgssl.features.shares import Share
from cvgssl.features.table import FeatureTable, load_features

Command = Callable[..., subprocess.CompletedProcess[str]]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4", "--max-restarts=1"]

# process 2 ends itself once, when it is about to put its second block of embeddings in its place
KILLED = """
import os, signal, sys
from pathlib import Path
from cvgssl.features import feature_store
from cvgssl.cli.main import main
feature_store.BLOCK = 4
killed, blocks = Path("killed"), 0
def hear(event, words):
    global blocks
    if event == "os.rename" and str(words[1]).endswith(".npy") and os.environ["RANK"] == "2":
        blocks += 1
        if blocks == 2 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hear)
sys.exit(main())
"""


@pytest.fixture
def words(steel: Path, teacher_file: Path) -> list[str]:
    """The command's words; torch, whose start is quicker."""
    encoder = ["--encoder", f"test_vit={teacher_file}", "--image-size", "32"]
    return ["embed", str(steel), *encoder, "--runtime", "torch", "--batch-size", "4"]


def same(left: FeatureTable, right: FeatureTable) -> None:
    """Numbers may differ in their last bits: batches are others."""
    scale = np.abs(right.values).max()
    np.testing.assert_allclose(left.values, right.values, rtol=0, atol=2e-6 * scale)
    assert np.array_equal(left.labels, right.labels)
    assert (left.names, left.splits, left.classes, left.about) == (
        right.names,
        right.splits,
        right.classes,
        right.about,
    )


def computed(text: str) -> list[int]:
    return [int(count) for count in re.findall(r"(\d+) embeddings computed", text)]


def own(tmp_path: Path, name: str) -> dict[str, str]:
    return os.environ | {"CVGSSL_CACHE": str(tmp_path / name)}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_four_processes_of_which_one_is_killed_give_the_table_of_one(
    words: list[str], tmp_path: Path, python: str, command: Command
) -> None:
    assert command(*words, "--out", "one.npz", env=own(tmp_path, "other")).returncode == 0
    (tmp_path / "program.py").write_text(KILLED)
    done = subprocess.run(
        [python, *TORCHRUN, "program.py", *words, "--out", "many.npz"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=own(tmp_path, "cache"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists()
    same(load_features(tmp_path / "many.npz"), load_features(tmp_path / "one.npz"))
    again = command(*words, "--out", "warm.npz", env=own(tmp_path, "cache"))
    assert computed(again.stderr) == [0], "the processes have left all in the cache"
    chosen = command("select", "many.npz", "--budget", "3", "--out", "chosen")
    assert chosen.returncode == 0, chosen.stderr


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_single_process_is_started_again_and_computes_what_it_lacks(
    words: list[str], steel: Path, tmp_path: Path, python: str, command: Command
) -> None:
    mine = Share(2, 4).rows([f"{path.relative_to(steel)}" for path in sorted(steel.rglob("*.bmp"))])
    environment = own(tmp_path, "cache") | {"RANK": "2", "WORLD_SIZE": "4"}
    killed = subprocess.run(
        [python, "-c", KILLED, *words],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "features.npz").exists()
    again = command(*words, env=environment)
    assert computed(again.stderr) == [len(mine) - 4] and "part-00002-of-00004.npz" in again.stderr
    waiting = command("select", "features.npz", "--budget", "3", "--out", "chosen")
    assert waiting.returncode == 2
    assert "has 1 of 4 parts, not those of RANK 0, 1, 3; wait for these" in waiting.stderr


def test_each_process_tells_of_its_own_unreadable_pictures(
    words: list[str], steel: Path, tmp_path: Path, command: Command
) -> None:
    data = shutil.copytree(steel, tmp_path / "data")
    words[1] = str(data)
    paths = sorted(data.rglob("*.bmp"))
    names = [path.relative_to(data).as_posix() for path in paths]
    broken = [paths[row] for row in Share(1, 2).rows(names)]
    for path in broken:
        path.write_bytes(b"BM")
    for rank, code in (("0", 0), ("1", 2)):
        environment = own(tmp_path, "cache") | {"RANK": rank, "WORLD_SIZE": "2"}
        done = command(*words, env=environment)
        assert done.returncode == code, done.stderr
    assert all(str(path) in done.stderr for path in broken)
    assert command(*words, "--skip-corrupt", env=environment).returncode == 0
    assert len(load_features(tmp_path / "features.npz")) == len(paths) - len(broken)
    for place, lines in (("0", 1), ("1", 0)):
        missing = command("embed", "nowhere", env=environment | {"LOCAL_RANK": place})
        assert missing.returncode == 2
        assert missing.stderr.count("\n") == lines, "the first of each machine says it"
