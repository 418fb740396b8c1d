"""Which teachers a run has when none is named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cvgssl.encoders.timm_import import timm
from cvgssl.encoders.weights_folder import ENVIRONMENT
from cvgssl.pretrain.teachers import choose_teachers
from cvgssl.runtime.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with an encoder that is not CLIP's."""
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "resnet.safetensors")
    return tmp_path


def test_the_installed_encoder_where_nothing_else_is(folder: Path) -> None:
    (teacher,) = choose_teachers([])
    assert teacher.name == "tf_efficientnet_lite0"
    line = teacher.summary()
    assert "\n" not in line and f"the default, as no --teacher is named and {folder}" in line


@pytest.mark.usefixtures("folder")
def test_named_teacher_comes_first() -> None:
    (teacher,) = choose_teachers(["resnet10t=resnet.safetensors"])
    assert teacher.source.file == "resnet.safetensors"
    (installed,) = choose_teachers(["tf_efficientnet_lite0"])
    assert "default" not in installed.summary()


def test_clip_file_comes_before_the_installed_encoder(folder: Path) -> None:
    model = pytest.importorskip("open_clip").model
    tower = model.ModifiedResNet(layers=(3, 4, 6, 3), output_dim=32, heads=32, image_size=64)
    weights = {f"visual.{name}": tensor for name, tensor in tower.state_dict().items()}
    save_file(weights, folder / "clip.safetensors")
    (teacher,) = choose_teachers([])
    assert (teacher.name, teacher.source.file) == ("RN50", "clip.safetensors")
    (folder / "copy.safetensors").hardlink_to(folder / "clip.safetensors")
    with pytest.raises(UserError, match=r"name one or more .*RN50=.*clip.*, RN50=.*copy"):
        choose_teachers([])


@torch.inference_mode()
def test_inner_layers_guide_in_place_of_the_output(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vit = "test_vit"
    save_file(timm.create_model(vit).state_dict(), tmp_path / "vit.safetensors")
    named = f"{vit}={tmp_path / 'vit.safetensors'}"
    plain = choose_teachers([named])[0]
    (deep,) = choose_teachers([named], [2, -1])
    views = torch.rand(3, 1, 48, 48)
    found = deep(views)
    width = plain.dim
    assert deep.widths == (width,) * 4 and deep.dim == found.shape[1] == 4 * width
    torch.testing.assert_close(found[:, 2 * width : 3 * width], plain(views))  # the class token
    assert deep.identity() == plain.identity() | {
        "dim": 4 * width,
        "layers": [1, 5],
        "pooling": ["cls", "mean"],
    }
    (network,) = choose_teachers(["tf_efficientnet_lite0"], [1, 2])
    assert network.pooled_how["pooling"] == ["mean"]
    assert network(views).shape[1] == sum(network.widths)
    with pytest.raises(UserError, match=r"^--teacher-layers 2 99: test_vit has 6, from 1"):
        choose_teachers([named], [2, 99])


@torch.inference_mode()
def test_each_teacher_has_its_own_layers(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    file, views = tmp_path / "vit.safetensors", torch.rand(3, 1, 48, 48)
    own, shared = choose_teachers(
        [f"test_vit,pooling=mean,layers=3={file}", f"test_vit={file}:0.5"], [2]
    )
    (third,) = choose_teachers([f"test_vit={file}"], [3])
    assert (len(own.widths), len(shared.widths), shared.weight) == (1, 2, 0.5)
    torch.testing.assert_close(own(views), third(views)[:, own.dim :])  # after the class token
    for wrong, message in (("layers=99", "test_vit has 6"), ("pooling=avg", "cls, mean, max")):
        with pytest.raises(UserError, match=rf"^--teacher test_vit,{wrong}=.*: .*{message}"):
            choose_teachers([f"test_vit,{wrong}={file}"])
