"""Shared pictures and commands for the tests."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: test processes share the cores

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def steel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated data set: six classes, 7 training and 3 test pictures each, 64 px."""
    from cvgssl.images.surfaces import synthesize

    folder = tmp_path_factory.mktemp("steel") / "data"
    synthesize(folder, per_class=10, seed=1, size=64, test_fraction=0.3)
    return folder


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of timm's test_vit: a tiny frozen encoder in a real file."""
    import torch
    from safetensors.torch import save_file

    from cvgssl.encoders.timm_import import timm

    path = tmp_path_factory.mktemp("teacher") / "tiny_vit.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(5)
        save_file(timm.create_model("test_vit", num_classes=0).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def python() -> Iterator[str]:
    """A program that runs its arguments as `python` does, without the seconds of imports.

    Beside it lies `cvgssl`. See forked_python.py for how, and for what differs.
    """
    if sys.platform != "linux":  # forks of processes that use Accelerate or Objective-C fail
        yield sys.executable
        return
    with tempfile.TemporaryDirectory(prefix="cvgssl-python-") as folder:  # short, for its socket
        words = [sys.executable, str(Path(__file__).with_name("forked_python.py")), "serve", folder]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield str(Path(folder) / "python")  # the server ends when its standard input does


@pytest.fixture
def command(tmp_path: Path, python: str) -> Command:
    """Run `cvgssl WORDS...` as a user would, in a folder of its own; gives what it printed."""

    def call(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "cvgssl", *map(str, words)],
            capture_output=True,
            text=True,
            **({"cwd": tmp_path} | options),  # type: ignore[call-overload]
        )

    return call
