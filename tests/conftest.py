"""Shared pictures and commands for the tests."""

import gc
import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: test processes share the cores

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# the same examples in every run, so that a change is judged by itself; new ones are searched by
# `pytest --hypothesis-profile default`
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).parents[1]
PYTHON = "CVGSSL_TEST_PYTHON"
COMPILED = "CVGSSL_TEST_COMPILED"
IMPORTED = pytest.StashKey[int]()  # modules, when the collector was last spared them
Command = Callable[..., subprocess.CompletedProcess[str]]
MadeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """`made_once(name, make)`: a folder that `make` fills, once for all of xdist's workers.

    No test may change what is in it.
    """

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        if sys.platform == "win32":
            made = tmp_path_factory.mktemp(name) / "data"
            make(made)
            return made
        import fcntl

        own = tmp_path_factory.getbasetemp()
        place = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
        with (place / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (place / name).exists():
                make(place / f"{name}.part" / "data")
                (place / f"{name}.part").rename(place / name)
        return place / name / "data"

    return folder


@pytest.fixture(scope="session")
def steel(made_once: MadeOnce) -> Path:
    """A small generated data set: six classes, 7 training and 3 test pictures each, 64 px."""
    from cvgssl.images.surfaces import synthesize

    return made_once(
        "steel", lambda to: synthesize(to, 10, seed=1, image_size=64, test_fraction=0.3)
    )


@pytest.fixture(scope="session")
def plates(made_once: MadeOnce) -> Path:
    """Six classes, 22 training and 4 test pictures each, 48 px."""
    from cvgssl.images.surfaces import synthesize

    return made_once(
        "plates", lambda to: synthesize(to, 26, seed=3, image_size=48, test_fraction=4 / 26)
    )


@pytest.fixture(scope="session")
def teacher_file(made_once: MadeOnce) -> Path:
    """Weights of timm's test_vit: a tiny frozen encoder in a real file."""

    def make(to: Path) -> None:
        import torch
        from safetensors.torch import save_file

        from cvgssl.encoders.timm_import import timm

        to.mkdir(parents=True)
        with torch.random.fork_rng():
            torch.manual_seed(5)
            state = timm.create_model("test_vit", num_classes=0).state_dict()
        save_file(state, to / "tiny_vit.safetensors")

    return made_once("teacher", make) / "tiny_vit.safetensors"


CLIP = "vit_base_patch32_clip_quickgelu_224,depth=1"
"""The architecture of `clip_file`."""


@pytest.fixture(scope="session")
def clip_file(made_once: MadeOnce) -> Path:
    """A CLIP of one layer, made-up weights, in open_clip's format."""
    pytest.importorskip("open_clip_train")  # a part of it that imports nothing

    def make(to: Path) -> None:
        import torch
        from safetensors.torch import save_file

        from cvgssl.encoders.timm_import import timm

        assert timm is not None  # before open_clip
        import open_clip

        to.mkdir(parents=True)
        text = open_clip.model.CLIPTextCfg(vocab_size=49408, width=64, heads=1, layers=1)
        vision = open_clip.model.CLIPVisionCfg(layers=1, width=768, patch_size=32, image_size=64)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = open_clip.model.CLIP(48, vision, text, quick_gelu=True)
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(state, to / "open_clip_model.safetensors")

    return made_once("clip", make) / "open_clip_model.safetensors"


def pytest_configure(config: pytest.Config) -> None:
    """Signals as a terminal has them; two places that xdist's workers share.

    One is for the fixture `python`, one for compiled networks.

    What a shell script starts in the background ignores Ctrl-C, and after nohup SIGHUP; children
    would inherit that.
    """
    gc.set_threshold(50_000, 20, 20)  # as Python has it, a twentieth of the time is the collector's
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if COMPILED not in os.environ:
        compiled = tempfile.TemporaryDirectory(prefix="cvgssl-compiled-")
        os.environ[COMPILED] = compiled.name
        config.add_cleanup(compiled.cleanup)
    if sys.platform != "linux" or PYTHON in os.environ:
        return
    folder = tempfile.TemporaryDirectory(prefix="cvgssl-python-")  # short, for its socket
    os.mkfifo(Path(folder.name) / "alive")
    end = os.open(Path(folder.name) / "alive", os.O_RDWR)  # the server ends when this closes
    os.environ[PYTHON] = folder.name

    def over() -> None:
        del os.environ[PYTHON]
        os.close(end)
        folder.cleanup()

    config.add_cleanup(over)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare every later run of the garbage collector what imports and collecting have made."""
    gc.collect()
    gc.freeze()
    session.stash[IMPORTED] = len(sys.modules)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """The same of what tests import first, such as torch's compiler."""
    if len(sys.modules) > item.session.stash[IMPORTED] + 200:
        pytest_collection_finish(item.session)


@pytest.fixture(scope="session")
def python() -> Iterator[str]:
    """A program that runs its arguments as `python` does, without the seconds of imports.

    `cvgssl` is in the same folder. See forked_python.py for how, and for what differs. Forks of
    processes that use Accelerate or Objective-C fail, so that it is Python itself where that may
    be.
    """
    if sys.platform != "linux":
        yield sys.executable
        return
    import fcntl

    folder = Path(os.environ[PYTHON])
    server = None
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "python").exists():
            words = [sys.executable, str(Path(__file__).with_name("forked_python.py")), "serve"]
            server = subprocess.Popen([*words, str(folder)], stdout=subprocess.PIPE, text=True)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
    yield str(folder / "python")
    del server  # it goes on for the others


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Embeddings go to a folder of the session, not into the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        if "CVGSSL_CACHE" not in os.environ:
            patch.setenv("CVGSSL_CACHE", str(tmp_path_factory.mktemp("cvgssl-cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _compiled_once() -> Iterator[None]:
    """What was compiled serves all tests, whatever cache they have."""
    from cvgssl.encoders import compiled_network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_network, "FOLDER", os.environ[COMPILED])
        yield


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
