"""The table of CLIP names against timm and open_clip themselves."""

import json
from pathlib import Path

import pytest

from cvgssl.encoders.clip_names import TOWERS, clip_name, clip_tower
from cvgssl.encoders.timm_import import timm

# open_clip lists OpenAI's models under its own spelling
_SPELLING = {"ViT-L/14@336px": "ViT-L-14-336-quickgelu"}


@pytest.mark.parametrize("name", TOWERS)
def test_timm_knows_each_tower(name: str) -> None:
    tower = TOWERS[name]
    assert timm.is_model(tower.arch)
    if tower.hub:
        config = timm.get_pretrained_cfg(f"{tower.arch}.{tower.hub}")
        assert config.input_size[-1] == tower.size and config.hf_hub_id
        assert config.num_classes in (0, tower.width)  # SigLIP has no projection
        assert config.interpolation == "bicubic"


@pytest.mark.parametrize("name", TOWERS)
def test_open_clip_says_the_same(name: str) -> None:
    open_clip = pytest.importorskip("open_clip")
    slash = name.replace("/", "-") + "-quickgelu" if "/" in name else name
    file = f"{_SPELLING.get(name, slash)}.json"
    config = json.loads((Path(open_clip.__file__).parent / "model_configs" / file).read_text())
    tower, vision = TOWERS[name], config["vision_cfg"]
    assert (config["embed_dim"], vision["image_size"]) == (tower.width, tower.size)
    assert vision.get("timm_model_name", tower.arch) == tower.arch
    quick = "quickgelu" in tower.arch
    assert config.get("quick_gelu", False) == quick or name.startswith("RN")


def test_names_are_found_in_any_case_and_back() -> None:
    assert clip_tower("vit-b/32") is TOWERS["ViT-B/32"]
    assert clip_tower("resnet18") is None
    assert clip_name("vit_base_patch32_clip_quickgelu_224") == "ViT-B/32"
    assert clip_name("vit_base_patch32_clip_224") == "ViT-B-32"
    assert clip_name("resnet18") == "resnet18"
