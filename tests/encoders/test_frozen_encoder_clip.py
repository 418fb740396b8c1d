"""Teachers against open_clip: the same weights give the same embeddings, behind the projection."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.loading import available_clip_encoders, load_encoders
from cvgssl.encoders.normalization import CLIP, HALF, IMAGENET
from cvgssl.encoders.timm_import import timm
from cvgssl.runtime.errors import UserError

SIZE = 64
PLAIN = "vit_base_patch32_clip_224,depth=2,embed_dim=128,num_heads=2"
QUICK = "vit_base_patch32_clip_quickgelu_224,depth=2,embed_dim=128,num_heads=2"
VIT: dict[str, Any] = {"layers": 2, "width": 128, "patch_size": 32}
Save = Callable[[nn.Module, Path, int], None]


def load(text: str) -> FrozenEncoder:
    return load_encoders([text])[0]


def views() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(3, 3, SIZE, SIZE, generator=generator)


def difference(teacher: FrozenEncoder, tower: nn.Module, normalization: Any = CLIP) -> float:
    """Largest difference of embeddings, relative to the largest number in them."""
    mean = torch.tensor(normalization.mean).view(3, 1, 1)
    std = torch.tensor(normalization.std).view(3, 1, 1)
    with torch.no_grad():
        wanted = tower((views() - mean) / std)
    got = teacher(views())
    assert got.dtype == torch.float32 and got.shape == wanted.shape == (3, teacher.dim)
    return float((got - wanted).abs().max() / wanted.abs().max())


@pytest.fixture(scope="module")
def quick_archive(make_clip: Any, save_archive: Save, tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("clip") / "ViT-B-32.pt"
    save_archive(make_clip(quick_gelu=True, **VIT), path, SIZE)
    return path


def test_vit_of_an_openai_archive(make_clip: Any, quick_archive: Path) -> None:
    teacher = load(f"{QUICK}={quick_archive}")
    assert difference(teacher, make_clip(quick_gelu=True, **VIT).visual) < 1e-4
    assert teacher.image_size == SIZE and teacher.dim == 32  # both from the file
    identity = teacher.identity()
    assert identity["activation"] == "quick_gelu" and identity["interpolation"] == "bicubic"
    assert tuple(identity["mean"]) == CLIP.mean and tuple(identity["std"]) == CLIP.std
    assert "OpenAI CLIP layout" in teacher.summary() and "ViT-B-32.pt" in teacher.summary()


def test_an_openai_file_is_never_plain_gelu(make_clip: Any, quick_archive: Path) -> None:
    teacher = load(f"{PLAIN}={quick_archive}")
    assert teacher.identity()["activation"] == "quick_gelu"
    assert "QuickGELU, as the file is by OpenAI" in teacher.summary()
    assert difference(teacher, make_clip(quick_gelu=True, **VIT).visual) < 1e-4


@pytest.mark.parametrize("file", ["epoch_32.pt", "open_clip_model.safetensors"])
@pytest.mark.parametrize("quick", [True, False])
def test_vit_of_an_open_clip_file(make_clip: Any, tmp_path: Path, file: str, quick: bool) -> None:
    model = make_clip(quick_gelu=quick, **VIT)
    if file.endswith(".pt"):
        torch.save({"epoch": 32, "state_dict": model.state_dict()}, tmp_path / file)
    else:
        save_file(model.state_dict(), tmp_path / file)
    right, wrong = (QUICK, PLAIN) if quick else (PLAIN, QUICK)
    teacher = load(f"{right}={tmp_path / file}")
    assert difference(teacher, model.visual) < 1e-4
    assert "as the name says (the file does not state it)" in teacher.summary()
    assert difference(load(f"{wrong}={tmp_path / file}"), model.visual) > 1e-3


def test_open_clip_config_beside_the_file_decides(make_clip: Any, tmp_path: Path) -> None:
    model = make_clip(quick_gelu=True, **VIT)
    path = tmp_path / "open_clip_model.safetensors"
    save_file(model.state_dict(), path)
    pixels = {"mean": list(IMAGENET.mean), "std": list(IMAGENET.std), "interpolation": "bilinear"}
    beside = tmp_path / "open_clip_config.json"
    beside.write_text(json.dumps({"model_cfg": {"quick_gelu": True}, "preprocess_cfg": pixels}))
    teacher = load(f"{PLAIN}={path}")
    assert teacher.normalization == IMAGENET and teacher.interpolation == "bilinear"
    assert difference(teacher, model.visual, IMAGENET) < 1e-4
    beside.write_text(json.dumps({"model_cfg": {"quick_gelu": False}}))
    with pytest.raises(UserError, match=r"says plain GELU.*use vit_base_patch32_clip_224"):
        load(f"{QUICK}={path}")
    beside.write_text("{")
    with pytest.raises(UserError, match=r"open_clip_config.json cannot be read"):
        load(f"{QUICK}={path}")


@pytest.mark.parametrize("archive", [True, False])
def test_resnet(make_clip: Any, save_archive: Save, tmp_path: Path, archive: bool) -> None:
    model = make_clip((3, 4, 6, 3), True, width=64)
    path = tmp_path / ("RN50.pt" if archive else "open_clip_model.safetensors")
    tower = model.visual
    if archive:
        save_archive(make_clip((3, 4, 6, 3), True, width=64), path, SIZE)
    else:
        save_file(model.state_dict(), path)
    teacher = load(f"RN50={path}")
    assert difference(teacher, tower) < 1e-4
    assert teacher.dim == 32 and teacher.image_size == SIZE
    pooled = load(f"resnet50_clip_gap={path}")
    tower.attnpool = nn.Identity()
    assert difference(pooled, lambda pixels: tower(pixels).mean((2, 3))) < 1e-4
    assert pooled.dim == 2048


@pytest.mark.parametrize(
    ("arch", "options", "head", "width"),
    [
        ("vit_base_patch16_siglip_224", {"pool": "map", "proj": "none"}, None, 192),
        ("vit_tiny_patch16_224", {"pool": "", "proj": "linear"}, None, 24),
        ("vit_tiny_patch16_224", {"pool": "", "proj": "mlp"}, None, 24),
        ("eva02_base_patch16_clip_224", {"pool": "token", "proj": None}, 24, 24),
    ],
)
def test_towers_of_timm(
    tmp_path: Path, arch: str, options: dict[str, Any], head: int | None, width: int
) -> None:
    """open_clip's own wrapper, around a smaller trunk of the same kind."""
    wrapper = pytest.importorskip("open_clip").timm_model.TimmModel
    torch.manual_seed(0)
    tower = wrapper("vit_tiny_patch16_224", 24, 224, **({"pool": "", **options, "proj": "none"}))
    smaller = {"depth": 1, "embed_dim": 192, "num_heads": 3, "img_size": SIZE}
    full = wrapper("vit_tiny_patch16_224", 24, 224, pool="", proj=options["proj"] or "none")
    tower.trunk = timm.create_model(arch, num_classes=head or 0, **smaller)
    tower.head = full.head
    siglip = "siglip" in arch
    state = {f"visual.{name}": tensor for name, tensor in tower.state_dict().items()}
    state |= {"logit_bias": torch.tensor(-10.0)} if siglip else {"logit_scale": torch.tensor(1.0)}
    torch.save(state, tmp_path / "open_clip_pytorch_model.bin")
    name = f"{arch},depth=1,embed_dim=192,num_heads=3"
    teacher = load(f"{name}={tmp_path / 'open_clip_pytorch_model.bin'}")
    assert teacher.dim == width and teacher.image_size == SIZE
    assert teacher.normalization == (HALF if siglip else CLIP)
    assert difference(teacher, tower.eval(), HALF if siglip else CLIP) < 1e-4


def test_timm_file_of_a_clip_tower_keeps_its_projection(tmp_path: Path) -> None:
    for classes, width in ((24, 24), (1000, 768)):  # 1000 outputs tell classes
        model = timm.create_model(
            "vit_base_patch32_clip_224", depth=1, img_size=SIZE, num_classes=classes
        ).eval()
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        teacher = load(f"vit_base_patch32_clip_224,depth=1={tmp_path / 'model.safetensors'}")
        assert teacher.dim == width
        if width == 24:
            assert difference(teacher, model) < 1e-4


def test_other_pooling_is_refused(make_clip: Any, tmp_path: Path) -> None:
    state = make_clip(quick_gelu=False, **VIT).state_dict()
    torch.save(state | {"visual.attn_pool.query": torch.ones(4, 4)}, tmp_path / "coca.pt")
    with pytest.raises(UserError, match=r"attn_pool.query.*embeddings would be others"):
        load(f"{PLAIN}={tmp_path / 'coca.pt'}")


def test_projection_of_another_width_is_refused(make_clip: Any, tmp_path: Path) -> None:
    state = make_clip(quick_gelu=False, **VIT).state_dict()
    state["visual.proj"] = torch.ones(700, 32)
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(UserError, match="takes 700 numbers"):
        load(f"{PLAIN}={tmp_path / 'odd.pt'}")


def test_available(make_clip: Any, tmp_path: Path) -> None:
    tower = make_clip((3, 4, 6, 3), True, width=64)
    save_file(tower.state_dict(), tmp_path / "b.safetensors")
    save_file(timm.create_model("resnet18").state_dict(), tmp_path / "a.safetensors")
    (tmp_path / "c.pt").write_bytes(b"broken")
    found = available_clip_encoders(tmp_path)
    assert [(spec.name, spec.file) for spec in found] == [("RN50", str(tmp_path / "b.safetensors"))]
    by_name = load_encoders(["RN50"], tmp_path)[0]
    assert by_name.identity() == load_encoders(found)[0].identity()
    save_file(tower.state_dict(), tmp_path / "d.safetensors")
    with pytest.raises(UserError, match=r"several files hold .*b.safetensors, d.safetensors"):
        load_encoders(["RN50"], tmp_path)
