import subprocess
import sys
from pathlib import Path

import pytest

from cvgssl.encoders.encoder_spec import EncoderSpec, parse_encoder, with_whole_path
from cvgssl.runtime.errors import UserError


@pytest.mark.parametrize(
    ("text", "name", "file", "weight"),
    [
        ("RN50", "RN50", "", 1.0),
        ("RN50:0.5", "RN50", "", 0.5),
        ("ViT-B/32=ViT-B-32.pt", "ViT-B/32", "ViT-B-32.pt", 1.0),
        ("ViT-B/32=ViT-B-32.pt:2", "ViT-B/32", "ViT-B-32.pt", 2.0),
        ("ViT-L/14@336px=a/b c.pt:.25", "ViT-L/14@336px", "a/b c.pt", 0.25),
        ("RN50=random", "RN50", "random", 1.0),
        ("torchvision:squeezenet1_1", "torchvision:squeezenet1_1", "", 1.0),
        ("torchvision:squeezenet1_1=s.pth:3", "torchvision:squeezenet1_1", "s.pth", 3.0),
        ("timm:resnet18.a1_in1k:1e-2", "timm:resnet18.a1_in1k", "", 0.01),
        (r"RN50=C:\clip\RN50.pt", "RN50", r"C:\clip\RN50.pt", 1.0),
        (r"RN50=C:\clip\RN50.pt:0.5", "RN50", r"C:\clip\RN50.pt", 0.5),
        ("RN50=runs/lr=0.1/a.pt", "RN50", "runs/lr=0.1/a.pt", 1.0),
        ("RN50=a,b=c.pt", "RN50", "a,b=c.pt", 1.0),
        ("vit_tiny_patch16_224,depth=4", "vit_tiny_patch16_224,depth=4", "", 1.0),
        ("vit_x,depth=4,num_heads=3=f=g.pt:2", "vit_x,depth=4,num_heads=3", "f=g.pt", 2.0),
        (" RN50 = a.pt : 2 ", "RN50", "a.pt", 2.0),
    ],
)
def test_parts(text: str, name: str, file: str, weight: float) -> None:
    spec = parse_encoder(text, "--teacher")
    assert spec == EncoderSpec(name, file, weight)
    assert parse_encoder(str(spec), "--teacher") == spec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        (
            "vit_x,depth=4,pooling=cls+mean,layers=2+-1=v.pt:2",
            EncoderSpec("vit_x,depth=4", "v.pt", 2.0, "cls+mean", (2, -1)),
        ),
        ("RN50,image_size=448=a.pt", EncoderSpec("RN50", "a.pt", image_size=448)),
        ("tf_efficientnet_lite0", EncoderSpec("", "tf_efficientnet_lite0")),
        (
            "tf_efficientnet_lite0,pooling=mean,layers=4:0.5",
            EncoderSpec("tf_efficientnet_lite0", "tf_efficientnet_lite0", 0.5, "mean", (4,)),
        ),
    ],
)
def test_what_is_taken_may_differ_from_encoder_to_encoder(text: str, spec: EncoderSpec) -> None:
    assert parse_encoder(text, "--encoder") == spec
    assert parse_encoder(str(spec), "--encoder") == spec
    for wrong in ("layers=6,9", "layers=a", "image_size=x"):
        with pytest.raises(UserError, match=r"^--encoder '.*': "):
            parse_encoder(f"vit_x,{wrong}=v.pt", "--encoder")


@pytest.mark.parametrize(
    ("text", "name", "file", "weight"),
    [
        ("epoch=9-step=100.ckpt", "", "epoch=9-step=100.ckpt", 1.0),
        ("epoch=9-step=100.ckpt:.5", "", "epoch=9-step=100.ckpt", 0.5),
        ("resnet18=epoch=9-step=100.ckpt:2", "resnet18", "epoch=9-step=100.ckpt", 2.0),
        ("a,b=c:2", "", "a,b=c:2", 1.0),
        ("a,b=c:2:3", "", "a,b=c:2", 3.0),
        ("vit,depth=4=a,b=c:2", "vit,depth=4", "a,b=c:2", 1.0),
        ("RN50", "", "RN50", 1.0),
        ("random", "", "./random", 1.0),
        ("runs/lr=0.1,wd=0:5", "", "runs/lr=0.1,wd=0:5", 1.0),
        ("resnet18=runs/lr=0.1,wd=0:5", "resnet18", "runs/lr=0.1,wd=0:5", 1.0),
        ("in=the,folder:1.pt", "", "in=the,folder:1.pt", 1.0),
        ("missing.ckpt:2", "", "missing.ckpt", 2.0),
    ],
)
def test_what_is_there_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, file: str, weight: float
) -> None:
    monkeypatch.chdir(tmp_path)
    weights, run = tmp_path / "weights", tmp_path / "runs" / "lr=0.1,wd=0:5"
    weights.mkdir()
    run.mkdir(parents=True)
    for path in ("epoch=9-step=100.ckpt", "a,b=c:2", "RN50", "random"):
        (tmp_path / path).touch()
    (weights / "in=the,folder:1.pt").touch()
    (run / "backbone.safetensors").touch()
    spec = parse_encoder(text, "--teacher", weights)
    assert spec == EncoderSpec(name, file, weight)
    assert parse_encoder(str(spec), "--teacher", weights) == spec


def test_a_name_that_no_file_system_takes_is_no_file() -> None:
    assert parse_encoder("x" * 5000, "--teacher").name == "x" * 5000
    assert parse_encoder("x\0", "--teacher").name == "x\0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "name is missing"),
        ("=RN50.pt", "name is missing"),
        (":2", "name is missing"),
        ("RN50=", "file after '=' is missing"),
        ("RN50=:2", "file after '=' is missing"),
        ("RN50:", "weight after ':' is missing"),
        ("RN50:0", "above 0"),
        ("RN50=a.pt:-1", "above 0"),
        ("RN50:nan", "finite"),
        ("RN50:inf", "finite"),
        ("vit,depth", "cannot be understood from ',depth'"),
    ],
)
def test_mistakes_name_the_flag_and_the_remedy(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_encoder(text, "--encoder")
    assert str(caught.value).startswith(f"--encoder {text!r}: ")
    assert "NAME[=FILE][:WEIGHT]" in str(caught.value)


def test_needs_no_torch() -> None:
    code = (
        "import sys, cvgssl.encoders.encoder_spec, cvgssl.encoders.clip_names;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_encoder_for_a_command_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CVGSSL_WEIGHTS", raising=False)
    for name in ("w/vit.pt", "pretrained/bare.pt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    for text, wanted in {
        "w/vit.pt": f"{tmp_path}/w/vit.pt",
        "vit_tiny,depth=4=w/vit.pt:0.5": f"vit_tiny,depth=4={tmp_path}/w/vit.pt:0.5",
        "vit=bare.pt": f"vit={tmp_path}/pretrained/bare.pt",
        "vit=missing.pt": "vit=missing.pt",
        "vit_tiny": "vit_tiny",
        "vit_tiny=random": "vit_tiny=random",
        "vit_tiny=": "vit_tiny=",
        f"vit={tmp_path}/w/vit.pt": f"vit={tmp_path}/w/vit.pt",
    }.items():
        assert with_whole_path(text) == wanted
