"""Text towers against open_clip's own: the same weights and sentences give the same embeddings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cvgssl.encoders.text_anchors import TextAnchors, check_joint_space, text_anchors
from cvgssl.encoders.text_tower import TextTowerError, load_text_tower
from cvgssl.encoders.timm_import import timm
from cvgssl.runtime.errors import UserError

open_clip = pytest.importorskip("open_clip")
SENTENCES = ["a photo of crazing.", "rolled-in scale on hot-rolled steel", "Ø 3 µm pits, 100 %!"]
NAME = {True: "ViT-B-32-quickgelu", False: "ViT-B-32"}
VISION: dict[str, Any] = {"layers": 1, "width": 64, "patch_size": 32, "image_size": 64}
Save = Callable[..., None]


def clip(quick_gelu: bool, custom: bool = False, text: dict[str, Any] | None = None) -> nn.Module:
    """A small CLIP of open_clip's that reads CLIP's own vocabulary."""
    torch.manual_seed(5)
    options = {"context_length": 24, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2}
    kind = open_clip.model.CustomTextCLIP if custom else open_clip.model.CLIP
    model = kind(
        48,
        open_clip.model.CLIPVisionCfg(**VISION),
        open_clip.model.CLIPTextCfg(**options | (text or {})),
        quick_gelu=quick_gelu,
    )
    for parameter in model.parameters():  # far from 0, or GELU and QuickGELU hardly differ
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.5, mean=1.0)
    return model.half().float().eval()


def expected(model: nn.Module, context: int = 24) -> Tensor:
    """What open_clip itself gives."""
    tokens = open_clip.tokenizer.SimpleTokenizer(context_length=context)(SENTENCES)
    with torch.no_grad():
        return model.encode_text(tokens, normalize=True)


def saved(model: nn.Module, path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return path


@pytest.mark.parametrize("quick", [True, False])
def test_open_clip_file(tmp_path: Path, quick: bool) -> None:
    model = clip(quick)
    path = saved(model, tmp_path / "model.safetensors")
    tower = load_text_tower(f"{NAME[quick]}={path}")
    torch.testing.assert_close(tower(SENTENCES), expected(model), atol=1e-5, rtol=0)
    assert tower.quick_gelu is quick
    assert tower.scale == pytest.approx(1 / 0.07, rel=1e-3)
    wrong = load_text_tower(f"{NAME[not quick]}={path}")
    assert (wrong(SENTENCES) - expected(model)).abs().max() > 1e-3
    plain = load_text_tower(str(path))
    assert not plain.quick_gelu, "without a name: open_clip's default, as for the vision tower"


def test_openai_archive_has_quick_gelu_whatever_the_name(
    tmp_path: Path, save_archive: Save
) -> None:
    model = clip(quick_gelu=True)
    wanted = expected(model)
    with torch.no_grad():
        model.logit_scale.fill_(4.6052)
    path = tmp_path / "ViT-B-32.pt"
    save_archive(model, path, 64, 24)
    for weights in (f"ViT-B/32={path}", f"ViT-B-32={path}", str(path)):
        tower = load_text_tower(weights)
        assert tower.quick_gelu and tower.scale == pytest.approx(100, rel=1e-3)
        torch.testing.assert_close(tower(SENTENCES), wanted, atol=1e-5, rtol=0)


def test_configuration_beside_the_file(tmp_path: Path) -> None:
    """A tower without causal mask that pools the last token: only the configuration can tell."""
    options = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True, "heads": 4}
    model = clip(True, custom=True, text=options)
    path = saved(model, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(TextTowerError, match=r"keep open_clip_config\.json beside it"):
        load_text_tower(str(path))
    written = {"quick_gelu": True, "text_cfg": {**options, "context_length": 24, "width": 128}}
    beside = tmp_path / "open_clip_config.json"
    beside.write_text(json.dumps({"model_cfg": written}))
    tower = load_text_tower(str(path))
    assert tower.quick_gelu
    torch.testing.assert_close(tower(SENTENCES), expected(model), atol=1e-5, rtol=0)
    beside.write_text(json.dumps({"model_cfg": {**written, "quick_gelu": False}}))
    with pytest.raises(UserError, match="says plain GELU"):
        load_text_tower(f"{NAME[True]}={path}")
    written["text_cfg"]["scale_fc"] = True
    beside.write_text(json.dumps({"model_cfg": written}))
    with pytest.raises(TextTowerError, match="text tower with scale_fc=True, which is not read"):
        load_text_tower(str(path))


def test_tower_that_is_a_part_by_itself(tmp_path: Path) -> None:
    model = clip(False, custom=True)
    path = saved(model, tmp_path / "eva.safetensors")
    tower = load_text_tower(f"EVA02-B-16={path}")
    torch.testing.assert_close(tower(SENTENCES), expected(model), atol=1e-5, rtol=0)


def test_weights_without_a_text_tower(tmp_path: Path) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=32)
    save_file(vit.state_dict(), tmp_path / "vit.safetensors")
    state = clip(False).state_dict()
    cut = {k: v for k, v in state.items() if "resblocks.1.mlp" not in k}
    short = state["token_embedding.weight"][:32000].contiguous()
    torch.save(cut, tmp_path / "cut.pt")
    torch.save(state | {"token_embedding.weight": short}, tmp_path / "siglip.pt")
    places = state["positional_embedding"]
    for name, other in (("flat", places[:, 0]), ("long", places.repeat(200, 1))):
        torch.save(state | {"positional_embedding": other.clone()}, tmp_path / f"{name}.pt")
    del state["positional_embedding"]
    torch.save(state, tmp_path / "none.pt")
    state["positional_embedding"] = places
    torch.save(
        {f"text.{k}" if "visual" not in k else k: v for k, v in state.items()}
        | {"text.cls_emb": torch.ones(128)},
        tmp_path / "coca.pt",
    )
    nan = state["ln_final.weight"] * float("nan")
    torch.save(state | {"ln_final.weight": nan}, tmp_path / "nan.pt")
    for weights, message in {
        tmp_path
        / "vit.safetensors": r"vit.safetensors has no text tower; give a file of the whole",
        f"vit_tiny_patch16_224={tmp_path / 'vit.safetensors'}": r"has no text tower",
        "tf_efficientnet_lite0": r"text tf_efficientnet_lite0: .* has no text tower",
        "ViT-B/32=random": r"random has no text tower",
        tmp_path / "cut.pt": r"another kind than CLIP's \(transformer.resblocks.1.mlp",
        tmp_path / "none.pt": r"a text tower without embeddings of places",
        tmp_path / "flat.pt": r"a text tower without embeddings of places",
        tmp_path / "long.pt": r"4,800 tokens; at most 4,096 are read",
        tmp_path / "siglip.pt": r"another tokenizer \(32000 words\)",
        f"EVA02-B-16={tmp_path / 'coca.pt'}": r"with a class token, which is not read",
    }.items():
        with pytest.raises(TextTowerError, match=message) as caught:
            load_text_tower(str(weights))
        assert "\n" not in str(caught.value) and str(caught.value).startswith("text ")
    with pytest.raises(UserError, match="it is damaged"):
        load_text_tower(str(tmp_path / "nan.pt"))
    with pytest.raises(UserError, match=r"^text ViT-B/32=nothing.pt: no such file"):
        load_text_tower("ViT-B/32=nothing.pt")
    with pytest.raises(UserError, match=r"^text '=x'"):
        load_text_tower("=x")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(clip(True), tmp_path_factory.mktemp("clip") / "clip.safetensors")


def test_anchors_are_those_of_open_clips_zero_shot_classifier(file: Path) -> None:
    templates = ("a photo of {}.", "{} on steel.", "an image of {}, gray.")
    classes = ("pit", "scratch", "rolled-in_scale")
    anchors = text_anchors(classes, f"ViT-B/32={file}", {"templates": templates})
    wanted = open_clip.build_zero_shot_classifier(
        clip(True),
        open_clip.tokenizer.SimpleTokenizer(context_length=24),
        ["pit", "scratch", "rolled-in scale"],
        templates,
    )
    np.testing.assert_allclose(anchors.values, wanted.T.numpy(), atol=1e-5)
    assert anchors.values.dtype == np.float32 and anchors.classes == classes
    assert anchors.prompts["pit"] == ("a photo of pit.", "pit on steel.", "an image of pit, gray.")
    assert anchors.about["activation"] == "quick_gelu" and anchors.about["file"] == file.name
    again = text_anchors(classes, f"ViT-B/32={file}", {"templates": templates})
    other = text_anchors(classes, f"ViT-B-32={file}", {"templates": templates})
    assert anchors.digest == again.digest != other.digest


def test_a_sentence_that_would_be_cut_is_refused(file: Path) -> None:
    with pytest.raises(UserError, match=r"prompt 'scale scale.*: 31 tokens, 24 are read; shorten"):
        text_anchors(("a", "b"), f"ViT-B/32={file}", {"a": ["scale " * 28 + "."]})


def test_features_of_another_space_are_told_apart(file: Path) -> None:
    anchors = text_anchors(("pit", "scratch"), f"ViT-B/32={file}")
    assert isinstance(anchors, TextAnchors)
    sha256 = anchors.about["sha256"]
    own = {"encoders": [{"encoder": {"sha256": sha256}, "pooling": []}]}
    check_joint_space(anchors, own, 48)
    check_joint_space(anchors, {}, 48)
    check_joint_space(anchors, {"encoders": ["theirs"]}, 48)
    check_joint_space(anchors, {"encoders": [{"encoder": "theirs"}]}, 48)
    for about, width, message in (
        ({}, 64, "have 64 numbers, the texts of clip.safetensors 48: not one space"),
        (own | {"encoders": own["encoders"] * 2}, 48, "of several encoders"),
        (
            {"encoders": [{"encoder": {"sha256": sha256}, "pooling": ["cls"]}]},
            48,
            "without --pooling",
        ),
        ({"encoders": [{"encoder": {"sha256": "other"}}]}, 48, "are not of clip.safetensors"),
    ):
        with pytest.raises(TextTowerError, match=message):
            check_joint_space(anchors, about, width)
