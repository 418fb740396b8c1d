"""A file's tensors brought to the names and shapes of a backbone."""

import importlib
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cvgssl.encoders.renaming import Weights, to_three_channels
from cvgssl.runtime.parsing import machine_trouble

# Parts of a transformer that change its features, so none may be left over unseen.
_ESSENTIAL = {"cls_token", "dist_token", "reg_token", "pos_embed", "norm", "norm_pre", "fc_norm"}

_CLIP_NAMES = {
    "pos_embed": "visual.positional_embedding",
    "patch_embed.proj.weight": "visual.conv1.weight",
    "head.pos_embed": "visual.attnpool.positional_embedding",
}


@dataclass
class WeightMatch:
    """How a file's tensors meet a model's.

    taken: of the right name and shape. missing: the model's, not in the file.
    unexpected: the file's, not in the model. mismatched: name and both shapes.
    numbers: share of the model's numbers that were taken, 0..1.
    """

    taken: dict[str, Tensor] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    numbers: float = 0.0

    def part_of_the_trunk(self) -> list[str]:
        """Unexpected tensors outside heads: further blocks, another norm, other tokens."""
        trunk = ({name.partition(".")[0] for name in self.taken} | _ESSENTIAL) - {"head"}
        return [name for name in self.unexpected if name.partition(".")[0] in trunk]


def match_weights(weights: Weights, body: nn.Module) -> WeightMatch:
    """Convert `weights` with timm's own converter for this model, then compare.

    Position embeddings and patch kernels of another size are resampled, a first convolution for
    gray pictures is spread over three channels; `notes` says so.
    """
    target = body.state_dict()
    before = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }
    names = _without_wrapper(before, target)
    notes = [f"found under {names[1]!r}"] if names[1] else []
    converted = _timm_converter(names[0], body)
    result = WeightMatch()
    mismatched, unexpected = [], []
    for name, tensor in converted.items():
        wanted = target.get(name)
        if wanted is None:
            unexpected.append(name)
            continue
        if wanted.ndim == 4 and tensor.ndim == 4 and (tensor.shape[1], wanted.shape[1]) == (1, 3):
            tensor = to_three_channels(tensor)
            notes.append(f"{name} spread from gray to 3 channels")
        if name == "head.pos_embed" and tensor.shape != wanted.shape:
            tensor = _pooling_positions(tensor, wanted)
        if tensor.shape != wanted.shape:
            mismatched.append(f"{name} {list(tensor.shape)} for {list(wanted.shape)}")
            continue
        result.taken[name] = tensor
    notes += _resampled(before, result.taken)
    counters = {name for name in target if name.endswith("num_batches_tracked")}
    spoilt = {line.partition(" ")[0] for line in mismatched}
    missing = target.keys() - result.taken.keys() - spoilt - counters
    result.missing = tuple(name for name in target if name in missing)
    result.unexpected, result.mismatched = tuple(unexpected), tuple(mismatched)
    result.notes = tuple(notes)
    sizes = {name: tensor.numel() for name, tensor in target.items() if name not in counters}
    taken = sum(size for name, size in sizes.items() if name in result.taken)
    result.numbers = taken / max(1, sum(sizes.values()))
    return result


def _timm_converter(weights: dict[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
    module = importlib.import_module(type(body).__module__)
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is None:
        return weights
    try:
        converted: dict[str, Tensor] = convert(dict(weights), body)
    except Exception as error:  # weights of another architecture; the comparison will say so
        if machine_trouble(error):
            raise
        return weights
    return converted


def _pooling_positions(table: Tensor, wanted: Tensor) -> Tensor:
    """Positions [1 + grid * grid, D] of CLIP's attention pooling for another grid."""
    side = round((wanted.shape[0] - 1) ** 0.5)
    if table.shape[1] != wanted.shape[1] or side * side + 1 != wanted.shape[0]:
        return table
    from timm.layers.pos_embed import resample_abs_pos_embed

    resampled: Tensor = resample_abs_pos_embed(table[None], [side, side])
    return resampled[0]


def _without_wrapper(weights: dict[str, Tensor], target: Weights) -> tuple[dict[str, Tensor], str]:
    """Weights without a prefix that no layout knows, and that prefix."""
    if len(weights.keys() & target.keys()) * 2 > len(target):
        return weights, ""
    best, best_count = "", 0
    for key in list(target)[:8]:
        for name in weights:
            prefix = name.removesuffix(key)
            if prefix != name and prefix.endswith("."):
                count = sum(prefix + wanted in weights for wanted in target)
                if count > best_count:
                    best, best_count = prefix, count
    if best_count * 2 <= len(target):
        return weights, ""
    cut = len(best)
    return {name[cut:]: value for name, value in weights.items() if name.startswith(best)}, best


def _resampled(before: Weights, after: Weights) -> list[str]:
    notes = []
    for name in ("pos_embed", "patch_embed.proj.weight", "head.pos_embed"):
        old, new = before.get(name, before.get(_CLIP_NAMES[name])), after.get(name)
        if old is not None and new is not None and old.numel() != new.numel():
            notes.append(f"{name} resampled {list(old.shape)} to {list(new.shape)}")
    return notes


def all_finite(weights: Weights) -> bool:
    """Whether no number is infinite or not a number."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
