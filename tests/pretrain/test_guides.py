"""Which teachers a run has when none is named."""

from pathlib import Path

import pytest
from safetensors.torch import save_file

from cvgssl.encoders.timm_import import timm
from cvgssl.encoders.weights_folder import ENVIRONMENT
from cvgssl.pretrain.guides import choose_teachers
from cvgssl.runtime.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with an encoder that is not CLIP's."""
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "resnet.safetensors")
    return tmp_path


def test_embedded_guide_where_nothing_else_is(folder: Path) -> None:
    (teacher,) = choose_teachers([])
    assert teacher.name == "embedded"
    line = teacher.summary()
    assert "\n" not in line and f"the default, as no --teacher is named and {folder}" in line


@pytest.mark.usefixtures("folder")
def test_named_teacher_comes_first() -> None:
    (teacher,) = choose_teachers(["resnet10t=resnet.safetensors"])
    assert teacher.file == "resnet.safetensors"
    (embedded,) = choose_teachers(["embedded"])
    assert "default" not in embedded.summary()


def test_clip_file_comes_before_the_embedded_guide(folder: Path) -> None:
    model = pytest.importorskip("open_clip").model
    tower = model.ModifiedResNet(layers=(3, 4, 6, 3), output_dim=32, heads=32, image_size=64)
    weights = {f"visual.{name}": tensor for name, tensor in tower.state_dict().items()}
    save_file(weights, folder / "clip.safetensors")
    (teacher,) = choose_teachers([])
    assert (teacher.name, teacher.file) == ("RN50", "clip.safetensors")
    (folder / "copy.safetensors").hardlink_to(folder / "clip.safetensors")
    with pytest.raises(UserError, match=r"name one or more .*RN50=.*clip.*, RN50=.*copy"):
        choose_teachers([])
