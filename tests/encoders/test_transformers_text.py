"""Text towers of transformers' files against the package, with random weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvgssl.encoders.text_tower import TextTowerError, load_text_tower
from cvgssl.encoders.timm_import import timm  # noqa: F401  before transformers
from cvgssl.runtime.errors import UserError

transformers = pytest.importorskip("transformers")
open_clip = pytest.importorskip("open_clip")
tokenizers = pytest.importorskip("tokenizers")
SENTENCES = ["a photo of crazing.", "Rolled-in  scale, on hot-rolled steel!", "pits"]
VISION: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 16,
}  # fmt: skip
TEXT = {"hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2,
        "num_attention_heads": 3, "max_position_embeddings": 24}  # fmt: skip
WORDS = ["a", "photo", "of", "crazing", "rolledin", "rolled-in", "scale", "on", "steel", "pits"]


def filled(built: nn.Module) -> nn.Module:
    """Every number random: zeros would hide mistakes."""
    torch.manual_seed(4)
    for parameter in built.parameters():
        around = 1.0 if parameter.ndim == 1 and float(parameter.detach().mean()) == 1 else 0.0
        nn.init.normal_(parameter, around, 0.2)
    return built.eval()


def unit(embedding: Any) -> Tensor:
    embedding = getattr(embedding, "pooler_output", embedding)
    return nn.functional.normalize(embedding, dim=-1)


def clip(act: str) -> nn.Module:
    config = transformers.CLIPConfig(
        vision_config=VISION | {"hidden_act": act},
        text_config=TEXT | {"hidden_act": act, "vocab_size": 49408},
        projection_dim=48,
    )
    return filled(transformers.CLIPModel(config))


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_clip(tmp_path: Path, act: str) -> None:
    built = clip(act)
    built.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tower = load_text_tower(str(path))
    tokens = open_clip.tokenizer.SimpleTokenizer(context_length=24)(SENTENCES)
    with torch.no_grad():
        wanted = unit(built.get_text_features(input_ids=tokens))
    torch.testing.assert_close(tower(SENTENCES), wanted, atol=1e-5, rtol=0)
    assert tower.activation == act
    assert tower.scale == pytest.approx(float(built.logit_scale.exp()), rel=1e-5)
    name = f"ViT-B-32-quickgelu={path}"
    if act == "gelu":
        with pytest.raises(UserError, match=r"config\.json beside the file says plain GELU"):
            load_text_tower(name)
    (tmp_path / "config.json").unlink()
    assert load_text_tower(name).activation == "quick_gelu"


def test_heads_that_no_tower_can_have(tmp_path: Path) -> None:
    clip("gelu").save_pretrained(tmp_path)  # type: ignore[operator]
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"]["num_attention_heads"] = 7  # of a width of 96
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read as a text tower"):
        load_text_tower(str(tmp_path / "model.safetensors"))


def test_text_model_by_itself(tmp_path: Path) -> None:
    config = transformers.CLIPTextConfig(**TEXT, vocab_size=49408, projection_dim=32)
    built = filled(transformers.CLIPTextModelWithProjection(config))
    built.save_pretrained(tmp_path)
    tower = load_text_tower(str(tmp_path / "model.safetensors"))
    tokens = open_clip.tokenizer.SimpleTokenizer(context_length=24)(SENTENCES)
    with torch.no_grad():
        wanted = unit(built(input_ids=tokens).text_embeds)
    torch.testing.assert_close(tower(SENTENCES), wanted, atol=1e-5, rtol=0)
    assert tower.quick_gelu, "what transformers has where its configuration does not tell"


def siglip() -> nn.Module:
    config = transformers.SiglipConfig(
        vision_config=VISION, text_config=TEXT | {"vocab_size": 20, "projection_size": 64}
    )
    return filled(transformers.SiglipModel(config))


def word_tokenizer(end: str, pad: str, path: Path) -> Any:
    """A tokenizer of whole words that puts the end behind a text, as SigLIP's do."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", end, pad, *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, vocabulary[end])]
    )
    made.save(str(path))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(path), eos_token=end, pad_token=pad, unk_token="<unk>"
    )


@pytest.mark.parametrize(("end", "pad"), [("</s>", "</s>"), ("<eos>", "<pad>")])
def test_siglip(tmp_path: Path, end: str, pad: str) -> None:
    built = siglip()
    built.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    with pytest.raises(
        TextTowerError, match=r"another tokenizer \(20 words\); keep tokenizer.json"
    ):
        load_text_tower(str(path))
    tokenizer = word_tokenizer(end, pad, tmp_path / "tokenizer.json")
    tower = load_text_tower(str(path))
    texts = [sentence.lower() for sentence in SENTENCES]
    if end == "</s>":
        texts = ["a photo of crazing", "rolledin scale on hotrolled steel", "pits"]
    tokens = tokenizer(texts, padding="max_length", max_length=24, return_tensors="pt").input_ids
    with torch.no_grad():
        wanted = unit(built.get_text_features(input_ids=tokens))
    torch.testing.assert_close(tower(SENTENCES), wanted, atol=1e-5, rtol=0)
    assert tower.activation == "gelu_tanh"
    with pytest.raises(UserError, match=r"25 tokens, 24 are read; shorten it"):
        tower(["steel " * 24])


def test_tokenizers_that_are_not_read(tmp_path: Path) -> None:
    siglip().save_pretrained(tmp_path)
    path, beside = tmp_path / "model.safetensors", tmp_path / "tokenizer.json"
    beside.write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read as a tokenizer"):
        load_text_tower(str(path))
    word_tokenizer("[SEP]", "[PAD]", beside)
    with pytest.raises(UserError, match=r"has no word </s> or </s>: no tokenizer of a SigLIP"):
        load_text_tower(str(path))
    many = {f"word{number}": number for number in range(30)} | {"</s>": 30}
    tokenizers.Tokenizer(tokenizers.models.WordLevel(many, unk_token="word0")).save(str(beside))
    with pytest.raises(UserError, match=r"has more words than the 20 of the text tower"):
        load_text_tower(str(path))
