"""A trained recognizer as one safetensors file: weights and all that is needed to use them.

The header's metadata holds one JSON text under the key `cvgssl`: format number, model card and a
SHA-256 over card and tensors, so neither can change unnoticed. Nothing in it is executed. Format 2
also holds the features of the labelled pictures; a file without them has format 1.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from cvgssl import __version__
from cvgssl.encoders.normalization import Normalization
from cvgssl.images.geometry import Geometry
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from cvgssl.adapt.network import Recognizer

FORMAT, WITH_SUPPORT = 1, 2
SUPPORT = ("support.features", "support.labels")
KEY = "cvgssl"


@dataclass(frozen=True)
class ModelCard:
    """What a recognizer's weights mean.

    arch: as given to `build_backbone`.
    classes: names in the order of the logits.
    geometry, normalization: the preprocessing that it was trained with.
    pretrained, pretrained_sha256, layout: file name, hash and kind of the weights that training
        started from; None from scratch.
    version: of cvgssl that wrote the file.
    """

    arch: str
    classes: tuple[str, ...]
    geometry: Geometry
    normalization: Normalization
    pretrained: str | None = None
    pretrained_sha256: str | None = None
    layout: str | None = None
    version: str = __version__


@dataclass(frozen=True)
class Support:
    """The labelled pictures that a head on frozen features was trained on.

    features: float32 [L, D], of the model's backbone. labels: int64 [L], places in its classes.
    """

    features: "Tensor"
    labels: "Tensor"


def save_model(
    path: Path, model: "nn.Module", card: ModelCard, support: Support | None = None
) -> None:
    """Write the state dict of a `Recognizer` and its card, whole or not at all.

    The same weights, card and support give the same bytes.
    """
    import torch
    from safetensors.torch import save

    tensors = dict(model.state_dict())
    if support is not None:
        tensors |= dict(zip(SUPPORT, (support.features.float(), support.labels), strict=True))
    # copies: safetensors takes neither channels-last nor shared memory
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    described, number = asdict(card), FORMAT if support is None else WITH_SUPPORT
    header = {"format": number, "sha256": _digest(described, tensors), "card": described}
    # safetensors' own file writing reports a full disk as an error without a cause
    content = save(tensors, {KEY: json.dumps(header, ensure_ascii=False)})
    with writing(path) as aside:
        aside.write_bytes(content)


def load_model(path: Path, device: "torch.device | str" = "cpu") -> tuple["Recognizer", ModelCard]:
    """Read a recognizer, in eval mode, and its card; `load_support` reads what else is there.

    Raises UserError naming the file when it is damaged, is something else, or has a format that
    this version does not know. Leaves torch's random numbers as they were.
    """
    import torch

    from cvgssl.adapt.network import Recognizer
    from cvgssl.encoders.backbone import build_backbone

    header, tensors = _read(path)
    tensors = {name: tensor for name, tensor in tensors.items() if name not in SUPPORT}
    card = _to_card(path, header["card"])
    try:
        with torch.random.fork_rng(devices=[]):
            backbone = build_backbone(card.arch, card.geometry.size, card.normalization)
            backbone.normalization = card.normalization
            model = Recognizer(backbone, len(card.classes))
        model.load_state_dict(tensors)
    except (UserError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{path}: written by cvgssl {card.version}, this one cannot build its {card.arch} "
            f"(another version of timm may help): {reason}"
        ) from error
    return model.to(device).eval(), card


def load_support(path: Path) -> Support | None:
    """The labelled pictures' features in a file of `save_model`; None if it holds none.

    Raises UserError as `load_model` does.
    """
    _, tensors = _read(path)
    if not set(SUPPORT) <= tensors.keys():
        return None
    return Support(*(tensors[name] for name in SUPPORT))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, "Tensor"]]:
    """Header and all tensors, checked against the hash."""
    from safetensors.torch import load_file

    header = _read_header(path)
    tensors = load_file(path)
    if _digest(header["card"], tensors) != header["sha256"]:
        raise UserError(f"{path}: damaged: its contents do not match its hash; copy it again")
    return header, tensors


def _read_header(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise UserError(f"{path}: damaged, or not a safetensors file ({error})") from error
    try:
        header = json.loads(metadata.get(KEY, ""))
        number = header["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a model that cvgssl saved; weights to start training from go to "
            "--pretrained"
        ) from error
    if number not in (FORMAT, WITH_SUPPORT):
        raise UserError(
            f"{path}: has model format {number}, this version of cvgssl reads {FORMAT} and "
            f"{WITH_SUPPORT}; use the version that wrote it"
        )
    if not {"card", "sha256"} <= header.keys():
        raise UserError(f"{path}: damaged: its header is incomplete; copy it again")
    return dict(header)


def _to_card(path: Path, value: Any) -> ModelCard:
    try:
        return pydantic.TypeAdapter(ModelCard).validate_python(value)
    except pydantic.ValidationError as error:
        what = error.errors()[0]
        place = ".".join(map(str, what["loc"]))
        raise UserError(f"{path}: its model card is wrong at {place}: {what['msg']}") from error


def _digest(card: Any, tensors: Mapping[str, "Tensor"]) -> str:
    """SHA-256 over the card and over name, type, shape and bytes of the tensors, by name."""
    import torch

    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
