"""Each client that this machine can run gives `cvgssl predict`'s answers to the same pictures.

The Node client needs its modules: set NODE_PATH to the node_modules that `npm install` made in
clients/node. The C++ client has to be built: set CVGSSL_CPP_CLIENT to the program.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.recognizer.predict import predict
from tests.export.conftest import Exported

CLIENTS = Path(__file__).parents[2] / "clients"

pytestmark = pytest.mark.slow


@cache
def node() -> str:
    """The path of Node, or "" where it or a module is missing."""
    program = shutil.which("node") or ""
    needs = "require('onnxruntime-node'); require('pngjs')"
    if program and subprocess.run([program, "-e", needs], capture_output=True).returncode != 0:
        return ""
    return program


@pytest.fixture(params=["python", "node", "cpp"])
def client(request: pytest.FixtureRequest) -> list[str]:
    """The first words of a client's command; a client that is not installed is skipped."""
    program, *files = {
        "python": [sys.executable, str(CLIENTS / "python" / "recognize.py")],
        "node": [node(), str(CLIENTS / "node" / "recognize.js")],
        "cpp": [os.environ.get("CVGSSL_CPP_CLIENT", "")],
    }[request.param]
    if not program:
        pytest.skip(f"the {request.param} client is not installed")
    return [program, *files]


def fifty(folder: Path, white: int) -> list[Path]:
    """PNG pictures: gray and colour, 1 to 16 bits, palettes, transparency, long strips."""
    rng = np.random.default_rng(11)
    sizes = [(1, 1), (7, 5), (48, 48), (61, 97), (97, 61), (200, 200), (6, 900), (900, 6)]
    sizes += [(31, 240), (300, 47)]
    paths = []
    for number, size in enumerate(sizes):
        whole = Image.fromarray(rng.integers(0, 256, (*size, 4), dtype=np.uint8))
        gray, colour = whole.convert("L"), whole.convert("RGB")
        deep = Image.fromarray(rng.integers(0, white + 1, size).astype(np.uint16))
        few = gray.convert("1") if number % 2 else colour.quantize(9)
        clear: dict[str, object] = {"transparency": gray.getpixel((0, 0))} if number % 2 else {}
        for kind, image, options in (
            ("gray", gray, clear),
            ("colour", colour, {}),
            ("alpha", whole if number % 2 else whole.convert("LA"), {}),
            ("deep", deep, {}),
            ("few", few, {}),
        ):
            paths.append(folder / f"{kind} {number} 钢.png")
            image.save(paths[-1], **options)
    assert len(paths) == 50
    return paths


@pytest.mark.parametrize(("which", "white"), [("with_map", 65535), ("of_labels", 4095)])
def test_fifty_pictures(
    client: list[str], which: str, white: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made: Exported = request.getfixturevalue(which)
    paths = fifty(tmp_path, white)
    words = [*client, str(made.file), *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    right = predict(made.file, paths, unknown=True)
    assert [line[0] for line in lines] == list(map(str, paths))
    answered = [float(line[2]) for line in lines]
    np.testing.assert_allclose(answered, [each.probability for each in right], atol=1e-5)
    assert [line[1] for line in lines] == [each.predicted_class for each in right]
    assert [line[3] for line in lines] == [each.verdict for each in right]


def test_a_trained_run_has_no_verdicts(
    client: list[str], trained: Exported, tmp_path: Path
) -> None:
    paths = fifty(tmp_path, 65535)[:5]
    words = [*client, str(trained.file), *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    right = predict(trained.file, paths)
    assert [line[1] for line in lines] == [each.predicted_class for each in right]
    assert {line[3] for line in lines} == {""}


def test_what_clients_refuse(client: list[str], of_labels: Exported, tmp_path: Path) -> None:
    Image.fromarray(np.full((9, 9), 60000, np.uint16)).save(tmp_path / "bright.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "bright.png").read_bytes()[:60])
    for file, name, message in (
        (of_labels.file, "bright.png", "over 12 bits"),
        (of_labels.file, "text.png", "text.png: "),
        (of_labels.file, "cut.png", "cut.png: "),
        (of_labels.file, "none.png", "none.png: "),
        (tmp_path / "none.onnx", "bright.png", "none.onnx"),
        (tmp_path / "text.png", "bright.png", "text.png"),
    ):
        words = [*client, str(file), str(tmp_path / name)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 1 and message in done.stderr and done.stdout == "", name
        assert done.stderr.count("\n") == 1, done.stderr
