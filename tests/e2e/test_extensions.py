"""Parts that another installed package adds, used through the command line."""

import os
import subprocess
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cvgssl.encoders.timm_import import timm


def install(site: Path, group: str, name: str, code: str) -> dict[str, str]:
    """A package with one entry point in the folder `site`; the environment that knows it."""
    (site / "others.py").write_text(textwrap.dedent(code))
    facts = site / "others-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{group}]\n{name} = others:ADDED\n")
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights under names that cvgssl does not know."""
    path = tmp_path / "weights" / "ours.safetensors"
    path.parent.mkdir()
    state = timm.create_model("resnet18", num_classes=0).state_dict()
    named = {f"our_net.{name}": value for name, value in state.items()}
    save_file(named | {"ours.head": torch.zeros(2)}, path)
    return path.parent


def weights_list(
    python: str, folder: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    words = [python, "-m", "cvgssl", "weights", "list", str(folder)]
    return subprocess.run(words, env=env, capture_output=True, text=True)


def test_checkpoint_layout_of_another_package(folder: Path, tmp_path: Path, python: str) -> None:
    code = """
        from cvgssl.encoders.layouts import Layout
        from cvgssl.encoders.normalization import HALF

        ADDED = Layout("our trainer", lambda names, _: "ours.head" in names, "our_net[.]", HALF)
    """
    done = weights_list(python, folder, install(tmp_path, "cvgssl.layouts", "ours", code))
    assert done.returncode == 0, done.stderr
    assert "our trainer" in done.stdout and "resnet18" in done.stdout


def test_package_that_cannot_be_loaded_is_named(folder: Path, tmp_path: Path, python: str) -> None:
    env = install(tmp_path, "cvgssl.layouts", "ours", "import absent_package")
    done = weights_list(python, folder, env)
    assert (
        "cvgssl.layouts: ours = others:ADDED: No module named 'absent_package'"
        in done.stdout + done.stderr
    )
    assert "Traceback" not in done.stderr
