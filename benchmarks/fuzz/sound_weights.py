"""Sound weight files of a tiny network: the containers, layouts and folders that are read."""

import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_WIDTH, _SIDE = 16, 8  # of the networks that are made here; pixels of their patches
_WORDS = 49408  # of CLIP's tokenizer


def write(folder: Path) -> list[str]:
    """Write them beside `tiny.safetensors`; gives what `--encoder` takes for each."""
    torch.manual_seed(1)
    state = load_file(folder / "tiny.safetensors")
    _write_parts(state, folder / "parts")
    prefixed = {f"module.backbone.{name}": tensor for name, tensor in state.items()}
    head = {"module.head.weight": torch.ones(2, 64)}
    torch.save({"student": prefixed | head, "teacher": prefixed | head}, folder / "dino.pth")
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    slow = wrapped | {"n_averaged": torch.tensor(5)}
    optimizer = {
        "state": {0: {"step": 3, "exp_avg": torch.zeros(4)}},
        "param_groups": [{"lr": 0.1}],
    }
    torch.save(
        {"state_dict": wrapped, "state_dict_ema": slow, "optimizer": optimizer, "epoch": 1},
        folder / "ema.pth",
    )
    eighths = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in state.items()}
    save_file(eighths, folder / "eighths.safetensors")
    half = {name: tensor.half() for name, tensor in state.items()}
    torch.save(half, folder / "half.bin")
    _write_vit(folder / "vit")
    _write_clip(folder / "clip")
    return [
        *("test_vit=parts/model.safetensors.index.json", "test_vit=dino.pth", "test_vit=ema.pth"),
        *("test_vit=eighths.safetensors", "test_vit=half.bin", "vit", "clip/model.safetensors"),
    ]


def _write_parts(state: dict[str, Tensor], place: Path) -> None:
    place.mkdir()
    names = sorted(state)
    places: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: state[name] for name in part}, place / file)
        places |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))


def _linear(wide: int, out: int, name: str) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.randn(out, wide) / 8, f"{name}.bias": torch.zeros(out)}


def _norm(name: str, width: int = _WIDTH) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}


def _write_vit(place: Path) -> None:
    """A ViT as `save_pretrained` of transformers writes it."""
    place.mkdir()
    layer = "encoder.layer.0."
    patches = torch.randn(_WIDTH, 3, _SIDE, _SIDE) / 8
    tensors = {
        "embeddings.cls_token": torch.zeros(1, 1, _WIDTH),
        "embeddings.position_embeddings": torch.zeros(1, 17, _WIDTH),
        "embeddings.patch_embeddings.projection.weight": patches,
        "embeddings.patch_embeddings.projection.bias": torch.zeros(_WIDTH),
        **_norm(f"{layer}layernorm_before"),
        **_norm(f"{layer}layernorm_after"),
        **_norm("layernorm"),
        **_linear(_WIDTH, _WIDTH, f"{layer}attention.output.dense"),
        **_linear(_WIDTH, 4 * _WIDTH, f"{layer}intermediate.dense"),
        **_linear(4 * _WIDTH, _WIDTH, f"{layer}output.dense"),
    }
    for part in ("query", "key", "value"):
        tensors |= _linear(_WIDTH, _WIDTH, f"{layer}attention.attention.{part}")
    save_file(tensors, place / "model.safetensors")
    config: dict[str, Any] = {
        "model_type": "vit", "hidden_size": _WIDTH, "patch_size": _SIDE, "num_attention_heads": 1,
        "hidden_act": "gelu", "image_size": 32, "num_hidden_layers": 1,
        "layer_norm_eps": 1e-12, "intermediate_size": 4 * _WIDTH,
    }  # fmt: skip
    (place / "config.json").write_text(json.dumps(config))
    pixels = {
        "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2,
        "size": {"height": 32, "width": 32}, "do_center_crop": False,
    }  # fmt: skip
    (place / "preprocessor_config.json").write_text(json.dumps(pixels))


def _write_clip(place: Path) -> None:
    """A CLIP with both towers as transformers writes it, in float16."""
    place.mkdir()
    tensors = {
        "vision_model.embeddings.class_embedding": torch.zeros(_WIDTH),
        "vision_model.embeddings.patch_embedding.weight": torch.randn(_WIDTH, 3, _SIDE, _SIDE),
        "vision_model.embeddings.position_embedding.weight": torch.zeros(17, _WIDTH),
        **_norm("vision_model.pre_layrnorm"),
        **_norm("vision_model.post_layernorm"),
        "visual_projection.weight": torch.randn(_WIDTH, _WIDTH),
        "text_model.embeddings.token_embedding.weight": torch.randn(_WORDS, _WIDTH) / 8,
        "text_model.embeddings.position_embedding.weight": torch.zeros(24, _WIDTH),
        **_norm("text_model.final_layer_norm"),
        "text_projection.weight": torch.randn(_WIDTH, _WIDTH),
        "logit_scale": torch.tensor(2.0),
    }
    for tower in ("vision_model", "text_model"):
        layer = f"{tower}.encoder.layers.0."
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            tensors |= _linear(_WIDTH, _WIDTH, f"{layer}self_attn.{part}")
        tensors |= _linear(_WIDTH, 4 * _WIDTH, f"{layer}mlp.fc1")
        tensors |= _linear(4 * _WIDTH, _WIDTH, f"{layer}mlp.fc2")
        tensors |= _norm(f"{layer}layer_norm1") | _norm(f"{layer}layer_norm2")
    halves = {name: tensor.half().contiguous() for name, tensor in tensors.items()}
    save_file(halves, place / "model.safetensors")
    part = {"hidden_size": _WIDTH, "num_attention_heads": 1, "hidden_act": "quick_gelu"}
    config = {
        "model_type": "clip", "text_config": part,
        "vision_config": part | {"patch_size": _SIDE, "image_size": 32},
    }  # fmt: skip
    (place / "config.json").write_text(json.dumps(config))


def mutate_index(data: bytes, rng: random.Random) -> bytes:
    """An index of parts that names other files: elsewhere, missing, itself, devices."""
    index = json.loads(data)
    places: dict[str, Any] = index["weight_map"]
    key = rng.choice(sorted(places))
    names = (
        *("/dev/zero", "/etc/passwd", "../tiny.safetensors", "model.safetensors.index.json", ""),
        *(".", "..", "missing.safetensors", "nul\0", None, 5, [], {}, "a" * 5000, "\ud800"),
    )
    kind = rng.randrange(4)
    if kind == 0:
        del places[key]
    elif kind == 1:
        index["weight_map"] = dict.fromkeys(places, rng.choice(names))
    elif kind == 2:
        places |= {f"more{n}": f"x{n}.safetensors" for n in range(2000)}
    else:
        places[key] = rng.choice(names)
    return json.dumps(index).encode()
