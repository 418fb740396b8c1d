import os
import subprocess
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

TRACKERS = ("tensorboard", "wandb", "mlflow")
pytestmark = pytest.mark.skipif(
    not all(map(find_spec, TRACKERS)), reason=f"needs {', '.join(TRACKERS)}"
)

JOBS = """
    import socket, sys
    from pathlib import Path

    root = Path(sys.argv[1])
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def note(what):
        with (root / "network.txt").open("a") as file:
            print(what, file=file)

    def noted_connect(sock, address):
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            note(address)
        return connect(sock, address)

    def noted_resolve(*words, **more):
        note(words)
        return resolve(*words, **more)

    socket.socket.connect, socket.getaddrinfo = noted_connect, noted_resolve

    from cvgssl.adapt.config import FinetuneConfig
    from cvgssl.runtime.launch import launch
    from cvgssl.runtime.options import to_dict
    from cvgssl.runtime.trackers import start_trackers, track

    def job(folder, names):
        folder.mkdir()
        accelerator = launch(track=names)
        start_trackers(accelerator, folder, to_dict(FinetuneConfig(data="surfaces", lr=0.0625)))
        for draw in (1, 2):
            for epoch in (1, 2):
                track(accelerator, draw, epoch, {"test_acc": 10 * draw + epoch + 0.125})
        accelerator.end_training()

    job(root / "first", ["tensorboard", "wandb", "mlflow"])
    job(root / "second", ["mlflow"])
"""
LOGGED = {(1, 1): 11.125, (1, 2): 12.125, (2, 1): 21.125, (2, 2): 22.125}  # (draw, epoch)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, python: str) -> Path:
    """Two jobs in one process, without an account and without a network."""
    root = tmp_path_factory.mktemp("trackers")
    (root / "started here").mkdir()
    environ = {
        name: value
        for name, value in os.environ.items()
        # mlflow is silent by itself where it sees a test or a build server
        if not name.startswith(("WANDB_", "MLFLOW_", "PYTEST_", "CI", "GITHUB_"))
    }
    done = subprocess.run(
        [python, "-c", textwrap.dedent(JOBS), str(root)],
        capture_output=True,
        text=True,
        cwd=root / "started here",
        env=environ | {"HOME": str(root / "home")},
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return root


def test_nothing_calls_home(root: Path) -> None:
    assert not (root / "network.txt").exists()


def test_nothing_is_written_outside_the_run_folders(root: Path) -> None:
    assert list((root / "started here").iterdir()) == []


def test_tensorboard_has_every_epoch_of_every_draw_and_the_options(root: Path) -> None:
    from tensorboard.backend.event_processing import (  # type: ignore[import-untyped]
        event_accumulator,
    )

    events = event_accumulator.EventAccumulator(str(root / "first" / "cvgssl"))
    events.Reload()
    found = {
        (draw, event.step): event.value
        for draw in (1, 2)
        for event in events.Scalars(f"draw_{draw}/test_acc")
    }
    assert found == LOGGED
    (options,) = root.glob("first/cvgssl/*/hparams.yml")
    assert "lr: 0.0625" in options.read_text()


@pytest.mark.parametrize("job", ["first", "second"])
def test_mlflow_keeps_each_job_in_its_own_folder(root: Path, job: str) -> None:
    store = root / job / "mlruns"
    found = {}
    for path in store.glob("*/*/metrics/draw_*/test_acc"):
        for line in path.read_text().splitlines():
            _time, value, step = line.split()[:3]
            found[int(path.parent.name.removeprefix("draw_")), int(step)] = float(value)
    assert found == LOGGED
    (rate,) = store.glob("*/*/params/lr")
    assert rate.read_text() == "0.0625"


def test_wandb_drops_no_epoch(root: Path) -> None:
    (path,) = root.glob("first/wandb/offline-run-*/run-*.wandb")
    written = path.read_bytes()
    for draw in (1, 2):
        assert f"draw_{draw}/test_acc".encode() in written
    for value in LOGGED.values():
        assert str(value).encode() in written
    assert b"0.0625" in written
