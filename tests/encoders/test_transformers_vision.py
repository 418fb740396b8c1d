"""Files of transformers: features are those of the package itself, with random weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cvgssl.encoders.arch_of_weights import arch_of
from cvgssl.encoders.backbone_file import find_backbone, read_backbone, read_weights
from cvgssl.encoders.building import encoder_from
from cvgssl.encoders.encoder_spec import EncoderSpec
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.inspection import inspect_weights
from cvgssl.encoders.loading import load_encoders
from cvgssl.encoders.normalization import CLIP, HALF, IMAGENET, Normalization
from cvgssl.encoders.shards import weights_digest
from cvgssl.encoders.timm_import import timm  # before transformers
from cvgssl.runtime.errors import UserError

transformers = pytest.importorskip("transformers")
SIZE = 32
VISION: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": SIZE, "patch_size": 8,
}  # fmt: skip
TEXT: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 1,
    "vocab_size": 20, "max_position_embeddings": 8,
}  # fmt: skip
DINOV2 = {k: v for k, v in VISION.items() if k != "intermediate_size"} | {"mlp_ratio": 3}


def model(kind: str, config: str, **options: Any) -> nn.Module:
    """A network of the package whose every number is random: zeros would hide mistakes."""
    torch.manual_seed(3)
    built = getattr(transformers, kind)(getattr(transformers, config)(**options)).eval()
    for parameter in built.parameters():
        around = 1.0 if parameter.ndim == 1 and float(parameter.detach().mean()) == 1 else 0.0
        nn.init.normal_(parameter, around, 0.2)
    return built


def save(built: nn.Module, folder: Path, **options: Any) -> Path:
    """The folder with the model as the hub has it."""
    built.save_pretrained(folder, **options)  # type: ignore[operator]
    return folder


def of_file(path: Path, size: int | None = SIZE) -> FrozenEncoder:
    """The encoder of a file that says itself what it is of."""
    found = read_backbone(path)
    arch = arch_of(found)
    assert arch is not None
    return encoder_from(EncoderSpec(arch, str(path)), arch, path, found, size=size)


def pixels(normalization: Normalization, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """Views 0..1, and the same normalised."""
    views = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (normalization.mean, normalization.std))
    return views, (views - mean) / std


def difference(encoder: FrozenEncoder, wanted: Any, normalization: Normalization) -> float:
    views, normalised = pixels(normalization)
    with torch.no_grad():
        expected = wanted(normalised)
    got = encoder(views)
    assert got.shape == expected.shape
    return float((got - expected).abs().max() / expected.abs().max())


def pooled(built: nn.Module) -> Any:
    """The class token behind the last norm, or what the model pools."""
    return lambda x: built(pixel_values=x).last_hidden_state[:, 0]


def images(built: nn.Module) -> Any:
    """Unnormalised image embeddings of a whole CLIP or SigLIP."""
    return lambda x: built.get_image_features(pixel_values=x).pooler_output  # type: ignore[operator]


VIT, REGISTERS = "transformers ViT", {"num_register_tokens": 3}
CASES: list[tuple[str, str, str, dict[str, Any], Any]] = [
    ("transformers DINOv2", "Dinov2Model", "Dinov2Config", DINOV2, IMAGENET),
    ("transformers DINOv2", "Dinov2Model", "Dinov2Config",
     DINOV2 | {"use_swiglu_ffn": True}, IMAGENET),
    ("transformers DINOv2", "Dinov2WithRegistersModel", "Dinov2WithRegistersConfig",
     DINOV2 | REGISTERS, IMAGENET),
    ("transformers DINOv3", "DINOv3ViTModel", "DINOv3ViTConfig", VISION | REGISTERS, IMAGENET),
    ("transformers DINOv3", "DINOv3ViTModel", "DINOv3ViTConfig",
     VISION | REGISTERS | {"use_gated_mlp": True, "hidden_act": "silu"}, IMAGENET),
    (VIT, "ViTModel", "ViTConfig", VISION, HALF),
    (VIT, "ViTModel", "ViTConfig", VISION | {"hidden_act": "quick_gelu"}, HALF),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "kind", "config", "options", "normalization"), CASES)
def test_class_token(
    tmp_path: Path, layout: str, kind: str, config: str, options: Any, normalization: Normalization
) -> None:
    built = model(kind, config, **options)
    path = save(built, tmp_path / "model") / "model.safetensors"
    encoder = of_file(path)
    assert encoder.source.layout == layout and encoder.normalization == normalization
    assert difference(encoder, pooled(built), normalization) < 1e-5
    assert inspect_weights(path).layout == layout
    memory = tmp_path / "memory.pt"  # names inside transformers 5 differ from those of its files
    torch.save(built.state_dict(), memory)
    (tmp_path / "config.json").write_bytes((path.parent / "config.json").read_bytes())
    assert difference(of_file(memory), pooled(built), normalization) < 1e-5


@pytest.mark.parametrize(
    ("layout", "kind", "config", "part"),
    [
        ("transformers DINOv2", "Dinov2ForImageClassification", "Dinov2Config", "dinov2"),
        ("transformers ViT", "ViTForImageClassification", "ViTConfig", "vit"),
        ("transformers ViT-MAE", "ViTMAEForPreTraining", "ViTMAEConfig", "vit"),
    ],
)
def test_network_inside_another(
    tmp_path: Path, layout: str, kind: str, config: str, part: str
) -> None:
    small = {"decoder_hidden_size": 32, "decoder_num_attention_heads": 2} if "MAE" in kind else {}
    options = (DINOV2 if part == "dinov2" else VISION) | small
    built = model(kind, config, **options)
    inner = getattr(built, part)
    path = save(built, tmp_path) / "model.safetensors"
    encoder = of_file(path)
    assert encoder.source.layout == layout
    if "MAE" in kind:
        inner.config.mask_ratio = 0.0
        noise = torch.arange(16).expand(3, -1)  # keeps the order of the patches
        wanted: Any = lambda x: inner(x, noise=noise).last_hidden_state[:, 0]  # noqa: E731
        assert encoder.normalization == IMAGENET
    else:
        wanted = pooled(inner)
    assert difference(encoder, wanted, encoder.normalization) < 1e-5


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_clip_and_its_projection(tmp_path: Path, act: str) -> None:
    vision, text = VISION | {"hidden_act": act}, TEXT | {"hidden_act": act}
    options = {"vision_config": vision, "text_config": text, "projection_dim": 48}
    built = model("CLIPModel", "CLIPConfig", **options)
    path = save(built, tmp_path) / "model.safetensors"
    encoder = of_file(path)
    assert encoder.source.layout == "transformers CLIP" and encoder.dim == 48
    assert encoder.identity()["activation"] == act
    assert difference(encoder, images(built), CLIP) < 1e-5


def test_vision_towers_by_themselves(tmp_path: Path) -> None:
    for kind, config in (
        ("CLIPVisionModel", "CLIPVisionConfig"),
        ("SiglipVisionModel", "SiglipVisionConfig"),
    ):
        built = model(kind, config, **VISION)
        encoder = of_file(save(built, tmp_path / kind) / "model.safetensors")
        wanted: Any = lambda x, net=built: net(pixel_values=x).pooler_output  # noqa: E731
        assert difference(encoder, wanted, encoder.normalization) < 1e-5
    built = model("CLIPVisionModelWithProjection", "CLIPVisionConfig", **VISION, projection_dim=24)
    encoder = of_file(save(built, tmp_path / "projected") / "model.safetensors")
    assert difference(encoder, lambda x: built(pixel_values=x).image_embeds, CLIP) < 1e-5


def test_siglip(tmp_path: Path) -> None:
    built = model("SiglipModel", "SiglipConfig", vision_config=VISION, text_config=TEXT)
    path = save(built, tmp_path) / "model.safetensors"
    encoder = of_file(path)
    assert encoder.source.layout == "transformers SigLIP" and encoder.normalization == HALF
    assert encoder.identity()["activation"] == "gelu_tanh"
    assert difference(encoder, images(built), HALF) < 1e-5
    (tmp_path / "config.json").unlink()
    arch = "vit_base_patch16_siglip_224,patch_size=8,embed_dim=64,depth=2,num_heads=2,mlp_ratio=2.5"
    named = load_encoders([f"{arch}={path}"], size=SIZE)[0]
    assert difference(named, images(built), HALF) < 1e-5
    assert any("no config.json" in note for note in named.source.notes), named.source.notes


def test_names_of_people_and_the_configuration(tmp_path: Path) -> None:
    """`ViT-B-32` means plain GELU, `ViT-B/32` QuickGELU: config.json wins, or it is an error."""
    options = VISION | {"hidden_size": 768, "patch_size": 32, "num_attention_heads": 12}
    options |= {"intermediate_size": 3072, "num_hidden_layers": 1, "image_size": 64}
    for act, name in (
        ("quick_gelu", "vit_base_patch32_clip_224"),
        ("gelu", "vit_base_patch32_clip_224"),
    ):
        built = model("CLIPVisionModel", "CLIPVisionConfig", **options | {"hidden_act": act})
        path = save(built, tmp_path / act) / "model.safetensors"
        encoder = load_encoders([f"{name},depth=1={path}"])[0]
        assert encoder.identity()["activation"] == act
        assert encoder.image_size == 64
        with torch.no_grad():
            views, normalised = pixels(CLIP, 64)
            wanted = built(pixel_values=normalised).pooler_output
        torch.testing.assert_close(encoder(views), wanted, atol=1e-4, rtol=1e-5)
    quick = f"vit_base_patch32_clip_quickgelu_224,depth=1={path}"
    with pytest.raises(UserError, match=r"config\.json beside the file says plain GELU"):
        load_encoders([quick])
    (path.parent / "config.json").unlink()
    assert load_encoders([quick])[0].identity()["activation"] == "quick_gelu"


def test_heads_of_another_number_are_refused(tmp_path: Path) -> None:
    built = model("ViTModel", "ViTConfig", **VISION | {"num_attention_heads": 4})
    path = save(built, tmp_path) / "model.safetensors"
    assert difference(of_file(path), pooled(built), HALF) < 1e-5
    arch = "vit_base_patch16_224,patch_size=8,embed_dim=64,depth=2,mlp_ratio=2.5,num_heads=2"
    with pytest.raises(UserError, match="has 4 attention heads"):
        load_encoders([f"{arch}={path}"], size=SIZE)


def test_several_files_and_their_index(tmp_path: Path) -> None:
    built = model("Dinov2Model", "Dinov2Config", **DINOV2)
    whole = save(built, tmp_path / "whole")
    folder = save(built, tmp_path / "parts", max_shard_size="100KB")
    index = folder / "model.safetensors.index.json"
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    first = next(iter(sorted(folder.glob("model-*.safetensors"))))
    arch = of_file(whole / "model.safetensors").arch
    for source in (index, folder):
        encoder = load_encoders([f"{arch}={source}"], size=SIZE)[0]
        assert difference(encoder, pooled(built), IMAGENET) < 1e-5
        assert encoder.source.sha256 == weights_digest(index)
    assert inspect_weights(index).tensors == inspect_weights(whole / "model.safetensors").tensors
    before = weights_digest(index)
    state = load_file(first)
    save_file({k: v + 1 for k, v in state.items()}, first, {"format": "pt"})
    assert weights_digest(index) != before, "the digest is of the numbers, not of the index"
    with pytest.raises(UserError, match=r"is a part of the weights; give .*index\.json"):
        read_weights(first)
    first.unlink()
    with pytest.raises(UserError, match="is missing beside it; copy all parts"):
        read_weights(index)
    for content in ({}, [], {"weight_map": {"a": "../secret.safetensors"}}, {"weight_map": 3}):
        index.write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"index\.json: n"):
            read_weights(index)


def test_preprocessing_beside_the_file(tmp_path: Path) -> None:
    built = model("Dinov2Model", "Dinov2Config", **DINOV2)
    path = save(built, tmp_path) / "model.safetensors"
    beside = tmp_path / "preprocessor_config.json"
    asked = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7], "resample": 2,
             "do_center_crop": True, "crop_size": {"height": 24, "width": 24},
             "size": {"shortest_edge": 28}}  # fmt: skip
    beside.write_text(json.dumps(asked))
    encoder = of_file(path, size=None)
    assert encoder.image_size == 24 and encoder.interpolation == "bilinear"
    info = inspect_weights(path)
    assert (info.size, info.interpolation) == (24, "bilinear")
    assert encoder.normalization == Normalization((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    for wrong in (
        {"image_mean": [1, 2]},
        {"image_std": [0, 1, 1]},
        {"crop_size": "large"},
        {"size": 1e9},
    ):
        beside.write_text(
            json.dumps(asked | wrong | ({"do_center_crop": False} if "size" in wrong else {}))
        )
        with pytest.raises(UserError, match=r"preprocessor_config\.json cannot be read"):
            read_backbone(path)


def test_configurations_that_are_not_theirs_or_not_read(tmp_path: Path) -> None:
    built = model("ViTModel", "ViTConfig", **VISION)
    path = save(built, tmp_path) / "model.safetensors"
    beside = tmp_path / "config.json"
    own = json.loads(beside.read_text())
    for change in ({"model_type": "bert"}, {"hidden_size": 768}, {"patch_size": 16}):
        beside.write_text(json.dumps(own | change))
        found = read_backbone(path)
        assert not found.described.config and "no config.json" in found.notes[0]
    for change, message in (
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not read"),
        ({"num_attention_heads": -1}, "cannot be read as a configuration"),
        ({"rope_theta": 10.0}, "rope_theta 10.0 is not read"),
        ({"patch_size": [8, 8]}, "cannot be read as a configuration"),
    ):
        beside.write_text(json.dumps(own | change))
        with pytest.raises(UserError, match=message):
            read_backbone(path)
    beside.write_text("{")
    with pytest.raises(UserError, match=r"config\.json cannot be read as a configuration"):
        read_backbone(path)


@pytest.mark.parametrize(
    ("arch", "given"),
    [
        ("vit_small_patch14_dinov2", None),
        ("vit_base_patch14_reg4_dinov2", None),
        ("vit_giant_patch14_dinov2", None),
        ("vit_small_patch16_dinov3", "vit_small_patch16_dinov3,global_pool=token"),
        (
            "vit_huge_plus_patch16_dinov3_qkvb",
            "vit_huge_plus_patch16_dinov3_qkvb,global_pool=token",
        ),
    ],
)
def test_architectures_of_the_published_models(arch: str, given: str | None) -> None:
    from cvgssl.encoders.arch_of_weights import infer_arch

    with torch.device("meta"):
        weights = timm.create_model(arch, num_classes=0).state_dict()
    assert infer_arch(weights) == (given or arch)


def test_zero_biases_of_dinov3_are_left_out(tmp_path: Path) -> None:
    built = model("DINOv3ViTModel", "DINOv3ViTConfig", **VISION | {"num_register_tokens": 4})
    for name, parameter in built.named_parameters():
        if name.endswith(("q_proj.bias", "v_proj.bias")):
            nn.init.zeros_(parameter)
    encoder = of_file(save(built, tmp_path) / "model.safetensors")
    assert "qkv_bias" not in encoder.arch
    assert difference(encoder, pooled(built), IMAGENET) < 1e-5


def test_layouts_without_weights_of_pictures(tmp_path: Path) -> None:
    """A text tower by itself is no picture encoder, and says so."""
    built = model("CLIPTextModelWithProjection", "CLIPTextConfig", **TEXT)
    path = save(built, tmp_path) / "model.safetensors"
    found = find_backbone(read_weights(path))
    assert found is not None and not found.weights and arch_of(found) is None
    with pytest.raises(UserError, match="does not fit"):
        load_encoders([f"vit_tiny_patch16_224,depth=1={path}"])
