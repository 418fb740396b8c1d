"""A trained recognizer as one safetensors file: weights and all that is needed to use them.

The header's metadata holds one JSON text under the key `cvgssl`: format number, model card and a
SHA-256 over card and tensors, so neither can change unnoticed. Nothing in it is executed. Format 4
also holds the features of the labelled pictures; a file without them has format 3.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from cvgssl import __version__
from cvgssl.encoders.normalization import Normalization
from cvgssl.encoders.weights_card import KEY, MOST_PIXELS, Arch, first_problem
from cvgssl.images.geometry import Geometry
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing
from cvgssl.runtime.parsing import check_file, one_line, parsing
from cvgssl.runtime.yaml_files import is_text

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from cvgssl.adapt.network import Recognizer

FORMAT, WITH_SUPPORT = 3, 4
SUPPORT = ("support.features", "support.labels")


_CLASSES = Field(min_length=1)


def _checked_name(name: str) -> str:
    if not name or not is_text(name):
        raise ValueError("is no name of a class")
    return name


def _checked_geometry(geometry: Geometry) -> Geometry:
    if not (1 <= geometry.size <= MOST_PIXELS and 8 <= geometry.bit_depth <= 16):
        raise ValueError(f"a size of at most {MOST_PIXELS} pixels, and 8 to 16 bits, are read")
    return geometry


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

    arch: Arch
    classes: Annotated[tuple[Annotated[str, AfterValidator(_checked_name)], ...], _CLASSES]
    geometry: Annotated[Geometry, AfterValidator(_checked_geometry)]
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

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


def save_model(
    path: Path, model: "nn.Module", card: ModelCard, support: Support | None = None
) -> None:
    """Write the state dict of a `Recognizer` and its card, whole or not at all.

    The same weights, card and support give the same bytes.
    """
    from safetensors.numpy import save

    # safetensors takes neither channels-last nor shared memory
    tensors = {
        name: np.array(tensor.detach().cpu().numpy(), order="C")
        for name, tensor in model.state_dict().items()
    }
    if support is not None:
        tensors |= dict(zip(SUPPORT, (support.features, support.labels), strict=True))
    described, number = asdict(card), FORMAT if support is None else WITH_SUPPORT
    header = {"format": number, "sha256": _digest(described, tensors), "card": described}
    # safetensors' own file writing reports a full disk as an error without a cause
    content = save(tensors, {KEY: json.dumps(header, ensure_ascii=False)})
    with writing(path) as aside:
        aside.write_bytes(content)


@dataclass(frozen=True)
class SavedModel:
    """What a file of `save_model` holds, read and checked against its hash.

    weights: of a `Recognizer`, by name. support: None if the file has none. sha256: of card and
    tensors.
    """

    path: Path
    card: ModelCard
    weights: dict[str, NDArray[Any]]
    support: Support | None
    sha256: str

    def recognizer(self, device: "torch.device | str" = "cpu") -> "Recognizer":
        """The network, in eval mode; leaves torch's random numbers as they were.

        Raises UserError for an architecture that cannot be built here or does not fit the weights.
        """
        import torch

        from cvgssl.adapt.network import Recognizer
        from cvgssl.encoders.backbone import build_backbone
        from cvgssl.encoders.extent import bounded_by, undrawn

        card = self.card
        weights = {name: torch.from_numpy(array) for name, array in self.weights.items()}
        try:
            self._check_shapes(weights)
            with torch.random.fork_rng(devices=[]), bounded_by(weights), undrawn():
                backbone = build_backbone(card.arch, card.geometry.size, card.normalization)
                backbone.normalization = card.normalization
                model = Recognizer(backbone, len(card.classes))
            model.load_state_dict(weights)
        except (UserError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"{self.path}: written by cvgssl {card.version}, this one cannot build its "
                f"{card.arch} (another version of timm may help): {reason}"
            ) from error
        return model.to(device).eval()

    def _check_shapes(self, weights: "Mapping[str, Tensor]") -> None:
        """Sizes in the card are those of the tensors, before anything of these sizes is made."""
        from cvgssl.encoders.preprocessing import check_size

        head = weights.get("head.weight")
        if head is None or head.ndim != 2 or len(head) != len(self.card.classes):
            raise UserError("its classifier and its list of classes differ in length")
        inside = "backbone.body."
        backbone = {
            name.removeprefix(inside): tensor
            for name, tensor in weights.items()
            if name.startswith(inside)
        }
        check_size(self.card.geometry.size, backbone)


def load_model(path: Path, device: "torch.device | str" = "cpu") -> tuple["Recognizer", ModelCard]:
    """Read a recognizer, in eval mode, and its card; `read_model` gives what else is there.

    Raises UserError naming the file when it is damaged, is something else, or has a format that
    this version does not know. Leaves torch's random numbers as they were.
    """
    saved = read_model(path)
    return saved.recognizer(device), saved.card


def read_model(path: Path) -> SavedModel:
    """Read a file of `save_model`, opened once; raises UserError as `load_model` does."""
    from safetensors import safe_open

    check_file(path)
    damaged = parsing(path, "a model: it is damaged, or not a safetensors file", "copy it again")
    with damaged, safe_open(path, framework="np") as file:
        header = _header(path, file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _digest(header["card"], tensors) != header["sha256"]:
            raise UserError(f"{path}: damaged: its contents do not match its hash; copy it again")
    card, support = _to_card(path, header["card"]), None
    if set(SUPPORT) <= tensors.keys():
        support = Support(*(tensors.pop(name) for name in SUPPORT))
        labels, classes = support.labels.ravel().tolist(), range(len(card.classes))
        fits = len(labels) == len(support.features) and all(label in classes for label in labels)
        if support.features.ndim != 2 or not fits:
            raise UserError(f"{path}: damaged: its labelled pictures and their labels differ")
    return SavedModel(path, card, tensors, support, header["sha256"])


def _header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
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
            f"{path}: has model format {one_line(number)}, this version of cvgssl reads {FORMAT} "
            f"and {WITH_SUPPORT}; use the version that wrote it"
        )
    if not {"card", "sha256"} <= header.keys():
        raise UserError(f"{path}: damaged: its header is incomplete; copy it again")
    return dict(header)


def _to_card(path: Path, value: Any) -> ModelCard:
    try:
        return pydantic.TypeAdapter(ModelCard).validate_python(value)
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: its model card is wrong at {first_problem(error)}") from error


def _digest(card: Any, tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over the card and over name, type, shape and bytes of the tensors, by name."""
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} torch.{tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
