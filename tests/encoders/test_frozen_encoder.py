"""What every teacher does, whatever its weights."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from cvgssl.encoders.frozen_encoder import FrozenEncoder, check_identity
from cvgssl.encoders.loading import available_clip_encoders, load_encoders
from cvgssl.encoders.normalization import CLIP, IMAGENET
from cvgssl.encoders.preprocessing import resized
from cvgssl.encoders.timm_import import timm, torchvision
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file

VIT = "vit_tiny_patch16_224,depth=1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with a small ViT, a SqueezeNet and a ResNet."""
    path = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_file(
        timm.create_model("vit_tiny_patch16_224", depth=1).state_dict(), path / "vit.safetensors"
    )
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path / "squeeze.pth")
    save_file(timm.create_model("resnet18").state_dict(), path / "r.safetensors")
    return path


def load(text: str, folder: Path) -> FrozenEncoder:
    return load_encoders([text], folder)[0]


def test_never_trains_and_feeds_an_adapter(folder: Path) -> None:
    teacher = load("resnet18=r.safetensors", folder)
    parent = nn.Sequential(teacher, nn.Linear(teacher.dim, 3))
    parent.train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    views = torch.rand(2, 1, 64, 64)
    parent(views).sum().backward()
    assert parent[1].weight.grad is not None and parent[1].weight.grad.abs().sum() > 0
    assert all(torch.equal(before[name], now) for name, now in teacher.state_dict().items())


def test_gray_views_of_any_size(folder: Path) -> None:
    teacher = load(f"{VIT}=vit.safetensors", folder)
    assert teacher.image_size == 224 and teacher.dim == 192
    for side in (40, 224, 300):
        gray = torch.rand(2, 1, side, side)
        embedding = teacher(gray)
        assert embedding.shape == (2, 192) and torch.isfinite(embedding).all()
        torch.testing.assert_close(embedding, teacher(gray.expand(-1, 3, -1, -1)))


def test_mixed_precision_gives_float32(folder: Path) -> None:
    teacher = load(f"{VIT}=vit.safetensors", folder)
    views = torch.rand(2, 1, 96, 96)
    with torch.autocast("cpu", torch.bfloat16):
        half = teacher(views)
    assert half.dtype == torch.float32
    cosine = torch.cosine_similarity(half, teacher(views))
    assert 0.999 < cosine.min() < 0.9999999


def test_torchvision_names(folder: Path) -> None:
    teacher = load("torchvision:squeezenet1_1=squeeze.pth:2", folder)
    assert (teacher.dim, teacher.image_size, teacher.weight) == (512, 224, 2.0)
    assert teacher.interpolation == "bilinear"
    assert "weight 2" in teacher.summary()
    assert load("torchvision:squeezenet1_1", folder).source.file == "squeeze.pth"  # by its content


def test_hash_and_identity(folder: Path, tmp_path: Path) -> None:
    teacher = load(f"{VIT}=vit.safetensors", folder)
    recorded = json.loads(json.dumps(teacher.identity()))
    assert recorded["sha256"] == sha256_file(folder / "vit.safetensors")
    check_identity(recorded | {"name": "another word for it"}, teacher)
    torch.manual_seed(1)
    other = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=96)
    save_file(other.state_dict(), tmp_path / "v.safetensors")
    changed = load(f"{VIT}={tmp_path / 'v.safetensors'}", folder)
    with pytest.raises(
        UserError, match=r"^is not the encoder recorded as vit_tiny.*sha256 .*size 224, now 96"
    ) as caught:
        check_identity(recorded, changed)
    assert "mean" not in str(caught.value)


def test_random_weights_are_called_random(folder: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first, vit = load_encoders(["RN50=random", "ViT-B/32=random:0.5"], folder)
    assert torch.equal(torch.rand(3), wanted)  # nobody else's random numbers change
    assert (first.dim, vit.dim) == (1024, 512) and first.image_size == vit.image_size == 224
    assert "random weights" in first.summary()
    assert first.identity()["sha256"] is None and first.source.file is None
    assert vit.identity()["activation"] == "quick_gelu"
    again = load("RN50=random", folder)
    views = torch.rand(1, 3, 224, 224)
    assert again.identity() == first.identity() and torch.equal(again(views), first(views))


def test_a_card_in_the_file_is_believed(tmp_path: Path) -> None:
    card = {
        "arch": "resnet18",
        "image_size": 96,
        "interpolation": "bilinear",
        "normalization": {"mean": [0.4] * 3, "std": [0.2] * 3},
    }
    save_file(
        timm.create_model("resnet18", num_classes=0).state_dict(),
        tmp_path / "guide.safetensors",
        {"cvgssl": json.dumps({"card": card})},
    )
    teacher = load("resnet18", tmp_path)
    assert (teacher.image_size, teacher.interpolation) == (96, "bilinear")
    assert teacher.normalization.mean == (0.4, 0.4, 0.4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet181=r.safetensors", "did you mean.*resnet18"),
        ("ViT-B-33", "did you mean.*ViT-B-32"),
        ("resnet50=r.safetensors", "looks like resnet18"),
        ("RN50=nowhere.pt", "nowhere.pt: no such file"),
        ("resnet34", r"holds resnet34 \(it has .*r.safetensors \(resnet18\)"),
        ("torchvision:squeezenet1_1=r.safetensors", "does not fit"),
        ("timm:resnet18.nothing", "timm has no weights of that name"),
    ],
)
def test_mistakes_name_the_teacher(folder: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(text, folder)
    assert str(caught.value).startswith(f"--teacher {text}: ")
    assert "--arch" not in str(caught.value) and "--pretrained" not in str(caught.value)


def test_a_file_by_itself_tells_its_architecture(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "epoch=9,step=100:2.ckpt"
    path.write_bytes((folder / "r.safetensors").read_bytes())
    teacher, named = load_encoders([str(path), f"resnet18={path}:0.5"])
    assert (teacher.name, teacher.weight, named.weight) == ("resnet18", 1.0, 0.5)
    assert teacher.identity() == named.identity()


def test_part_of_an_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    state = timm.create_model("resnet18").state_dict()
    del state["layer1.0.bn1.bias"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match=r"lacks layer1.0.bn1.bias"):
        load(f"resnet18={tmp_path / 'part.safetensors'}", folder)


def test_none_and_twice(folder: Path) -> None:
    with pytest.raises(UserError, match="at least one"):
        load_encoders([], folder)
    with pytest.raises(UserError, match="twice"):
        load_encoders(["resnet18=r.safetensors", "resnet18=r.safetensors:2"], folder)
    assert available_clip_encoders(folder) == []  # none of them is CLIP's


@pytest.mark.parametrize("side", [224, 96, 150, 400])
def test_preprocessing_is_open_clips(folder: Path, side: int) -> None:
    """open_clip's transform of an 8-bit picture: Pillow rounds and clips after each direction.

    So a level apart where nothing overshoots, more at hard edges between black and white.
    """
    open_clip = pytest.importorskip("open_clip")
    teacher = load("torchvision:squeezenet1_1=squeeze.pth", folder)
    transform = open_clip.image_transform(224, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3)
    rough = torch.rand(1, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(0))
    blocks = nn.functional.interpolate(rough, (side, side))
    for low, high in ((60, 196), (0, 256)):
        pixels = (blocks * (high - low) + low).byte()
        wanted = transform(Image.fromarray(pixels[0].permute(1, 2, 0).numpy()))
        views = resized(pixels / 255, teacher.image_size, "bicubic")[0]
        levels = (views - wanted).abs() * 255
        assert views.min() >= 0 and views.max() <= 1
        if side == 224:
            assert levels.max() < 1e-4
            normal = open_clip.image_transform(
                224, is_train=False, mean=IMAGENET.mean, std=IMAGENET.std
            )
            picture = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
            got = teacher.backbone.normalize(pixels / 255)[0]
            torch.testing.assert_close(got, normal(picture), atol=1e-5, rtol=0)
        assert levels.mean() < 0.5 and (levels.max() < 1.1 or low == 0)


def test_hub_names_say_what_the_weights_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download of timm's, as the hub's cache holds it: QuickGELU by timm's own record."""
    wanted = load("ViT-B/32=random", tmp_path)
    state = {name: value.half() for name, value in wanted.backbone.body.state_dict().items()}
    state["head.weight"] = wanted.projection.weight.detach().half()
    cached = tmp_path / "models--timm--vit_base_patch32_clip_224.openai"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    (cached / "snapshots" / "abc").mkdir(parents=True)
    save_file(state, cached / "snapshots" / "abc" / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    views = torch.rand(1, 3, 224, 224)
    for name in ("ViT-B/32", "timm:vit_base_patch32_clip_224.openai"):
        teacher = load(name, tmp_path)
        assert teacher.identity()["activation"] == "quick_gelu" and teacher.dim == 512
        assert teacher.normalization == CLIP
        file = teacher.source.file
        assert file in teacher.summary() and file.endswith("_224.openai")
        got, right = teacher(views), wanted(views)
        assert (got - right).abs().max() < 0.01 * right.abs().max()  # float16 in the file
    assert "QuickGELU, as timm says" in teacher.summary()


def test_without_network_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"--teacher RN101: .*another machine.*weights folder"):
        load("RN101", tmp_path)
