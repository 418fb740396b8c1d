"""Two network namespaces as two machines, each with its own address, cache and process.

Needs the right to make namespaces (root on Linux); skipped elsewhere.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cvgssl.features.table import load_features

NAMES = (f"cvgssl-{os.getpid()}-one", f"cvgssl-{os.getpid()}-two")  # of this process
ADDRESSES = ("10.97.13.1", "10.97.13.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def machines() -> Iterator[tuple[str, str]]:
    if shutil.which("ip") is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("network namespaces need root and iproute2")
    try:
        for name in NAMES:
            ip("netns", "add", name)
    except subprocess.CalledProcessError:
        pytest.skip("network namespaces are not allowed here")
    try:
        ip("link", "add", "cvgssl0", "netns", NAMES[0], "type", "veth", "peer", "name", "cvgssl1",
           "netns", NAMES[1])  # fmt: skip
        for number, name in enumerate(NAMES):
            inside = ("-n", name)
            ip(*inside, "addr", "add", f"{ADDRESSES[number]}/24", "dev", f"cvgssl{number}")
            ip(*inside, "link", "set", f"cvgssl{number}", "up")
            ip(*inside, "link", "set", "lo", "up")
        yield NAMES
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.mark.slow
def test_two_machines_train_together(
    machines: tuple[str, str], steel: Path, teacher_file: Path, tmp_path: Path, python: str
) -> None:
    """With one bank, in a folder that both see."""
    options = ["--arch", "test_resnet", "--image-size", "48", "--view-size", "32", "--bank", "2"]
    options += ["--batch-size", "8", "--epochs", "2", "--warmup-epochs", "1", "--neighbours", "4"]
    options += ["--nmb-crops", "1", "--min-scale-crops", "0.2", "--max-scale-crops", "1"]
    processes = []
    for rank, name in enumerate(machines):
        here = tmp_path / name  # of the first machine comes the result; caches are each one's own
        here.mkdir()
        command = ["ip", "netns", "exec", name, python, "-m", "torch.distributed.run"]
        command += ["--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1"]
        command += ["--master-addr", ADDRESSES[0], "--master-port", "29500", "-m", "--", "cvgssl"]
        command += [
            "pretrain",
            str(steel),
            *options,
            "--teacher",
            f"test_vit,image_size=32={teacher_file}",
        ]
        command += ["--out", "run", "--bank-dir", str(tmp_path / "shared")]
        environment = os.environ | {
            "GLOO_SOCKET_IFNAME": f"cvgssl{rank}",
            "CVGSSL_CACHE": str(here / "cache"),
        }
        processes.append(
            subprocess.Popen(
                command, cwd=here, env=environment, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    results = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    first, second = (tmp_path / name for name in machines)
    assert json.loads((first / "run" / "summary.json").read_text())["processes"] == 2
    assert (first / "run" / "backbone.safetensors").exists()
    assert not (second / "run").exists(), "only the first machine writes the run"
    assert len(list((tmp_path / "shared").rglob("*.npy"))) == 1, "the machines have one bank"
    assert results[0][0].count("Epoch [1/2]") == 1
    assert "Epoch" not in results[1][0]


@pytest.mark.slow
def test_two_machines_embed_without_a_shared_folder(
    machines: tuple[str, str], steel: Path, teacher_file: Path, tmp_path: Path, python: str
) -> None:
    """Two processes each; the parts are brought together afterwards."""
    options = ["--encoder", f"test_vit={teacher_file}", "--image-size", "32", "--runtime", "torch"]
    processes = []
    for rank, name in enumerate(machines):
        here = tmp_path / name
        shutil.copytree(steel, here / "steel")
        command = ["ip", "netns", "exec", name, python, "-m", "torch.distributed.run"]
        command += ["--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "2"]
        command += ["--master-addr", ADDRESSES[0], "--master-port", "29500", "-m", "--", "cvgssl"]
        command += ["embed", "steel", *options]
        environment = os.environ | {"CVGSSL_CACHE": str(here / "cache")}
        processes.append(
            subprocess.Popen(
                command, cwd=here, env=environment, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    results = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    first, second = (tmp_path / name / "features.npz" for name in machines)
    assert [len(list(out.iterdir())) for out in (first, second)] == [2, 2]
    for part in second.iterdir():
        shutil.copy(part, first)
    joined = load_features(first)
    words = ["embed", "steel", *options, "--out", "one.npz"]
    done = subprocess.run([python, "-m", "cvgssl", *words], cwd=first.parent, capture_output=True)
    assert done.returncode == 0, done.stderr
    single = load_features(first.parent / "one.npz")
    scale = np.abs(single.values).max()
    np.testing.assert_allclose(joined.values, single.values, rtol=0, atol=2e-6 * scale)
    assert joined.names == single.names and joined.about == single.about
