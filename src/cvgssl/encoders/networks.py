"""Which tensors of a training checkpoint are the network that its authors evaluate.

A checkpoint can hold a network several times: teacher and student (DINO, iBOT, DINOv2), a slow
copy of the weights (EMA), a target encoder (I-JEPA), the online network of BYOL. They are
dictionaries of their own or prefixes of names, below whatever a trainer wrapped around.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

# Keys of dictionaries of weights, best first; before the plain ones, those of a copy.
_COPIES = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "teacher",
    "teacher_model", "teacher_state_dict", "online_network_state_dict", "online_encoder",
    "online_network", "target_encoder",
)  # fmt: skip
_PLAIN = ("state_dict", "model_state_dict", "model", "student", "encoder", "backbone", "network",
          "net", "weights")  # fmt: skip
# First parts of names, best first. MoCo's and solo-learn's copies are distinguished by layouts.
_PREFIXES = (
    r"(?:model_)?ema(?:_model)?\.", r"teacher(?:_model)?\.", r"teacher_(?=backbone\.)",
    r"online_(?:encoder|network|net)\.", r"target_encoder\.",
    r"student(?:_model)?\.", r"student_(?=backbone\.)",
)  # fmt: skip
_OTHERS = r"(?:encoder|context_encoder|target_network|target_net)\."
_TRAINER = r"(?:(?:model|method|module|net)\.)?"  # the module that holds the copies
_WRAPPERS = ("module.", "_orig_mod.")
_INSIDE = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_DEPTH = 4  # dictionaries in one another; files can hold circles
_COUNTER = "n_averaged"  # of torch's AveragedModel, beside its `module.`
_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.")


@dataclass(frozen=True)
class CheckpointCopy:
    """The tensors of one network.

    name: of the copy that it is, `teacher` for example; empty where there is only one.
    others: of the copies that were not taken. left: names of tensors beside it.
    """

    weights: dict[str, Tensor]
    name: str = ""
    others: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def note(self) -> str:
        """What was chosen, for the log; empty where nothing was to choose."""
        if not self.name:
            return ""
        beside = f", not its {', '.join(self.others)}" if self.others else ""
        return f"the checkpoint's {self.name} is read{beside}"


def network(tree: Mapping[str, Any]) -> CheckpointCopy:
    """The network of a checkpoint, names without wrappers; without tensors where none is known."""
    state, name, others = _state_dict(tree)
    return _by_prefix(CheckpointCopy(_unwrap(state), name, others))


def keys_with_weights(
    tree: Mapping[str, Any], prefix: str = "", depth: int = _DEPTH
) -> dict[str, int]:
    """Keys of dictionaries of tensors, `a.b` where nested, and how many each has."""
    counts: dict[str, int] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            tensors = sum(isinstance(item, Tensor) for item in value.values())
            if tensors:
                counts[f"{prefix}{key}"] = tensors
            elif depth:
                counts |= keys_with_weights(value, f"{prefix}{key}.", depth - 1)
    return counts


def flat_blocks(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A transformer's `blocks.CHUNK.NUMBER.` (DINOv2 with block_chunks) to `blocks.NUMBER.`.

    Other networks (EfficientNet) count within every group, so numbers repeat; they stay.
    """
    groups: dict[str, set[str]] = {}
    for name in weights:
        if match := _BLOCK.match(name):
            groups.setdefault(match[2], set()).add(match[1])
    chunked = "patch_embed.proj.weight" in weights and groups
    if not chunked or any(len(chunks) > 1 for chunks in groups.values()):
        return dict(weights)
    return {_BLOCK.sub(r"blocks.\2.", name, count=1): value for name, value in weights.items()}


def _state_dict(
    tree: Mapping[str, Any], depth: int = _DEPTH
) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """The dictionary of weights in a file's tree; the copy that it is, and the other copies."""
    inside = {
        key: below
        for key in (*_COPIES, *_PLAIN)
        if depth
        and isinstance(tree.get(key), Mapping)
        and (below := _state_dict(tree[key], depth - 1))[0]
    }
    if not inside:
        tensors = {str(key): value for key, value in tree.items() if isinstance(value, Tensor)}
        return tensors, "", ()
    key, *others = inside
    state, name, beside = inside[key]
    if name or key not in (*_COPIES, "student"):
        return state, name, beside
    return state, key, tuple(others)


def _by_prefix(whole: CheckpointCopy) -> CheckpointCopy:
    """The evaluated copy among those that differ by the first part of their names."""
    prefixes = {
        pattern: match[0].strip("._").rpartition(".")[2]
        for pattern in (*_PREFIXES, _OTHERS)
        if (match := _first(_TRAINER + pattern, whole.weights))
    }
    pattern = next((pattern for pattern in _PREFIXES if pattern in prefixes), None)
    if pattern is None:
        return whole
    taken, left = {}, []
    for name, value in whole.weights.items():
        if match := re.match(_TRAINER + pattern, name):
            taken[name[match.end() :]] = value
        else:
            left.append(name)
    chosen = prefixes.pop(pattern)
    others = tuple(dict.fromkeys(name for name in prefixes.values() if name != chosen))
    return CheckpointCopy(_unwrap(taken), chosen, others, tuple(left))


def _first(pattern: str, names: Iterable[str]) -> re.Match[str] | None:
    return next(filter(None, map(re.compile(pattern).match, names)), None)


def _unwrap(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what data-parallel, compiled and sharded models put into every name."""
    clean = {_INSIDE.sub("", name): value for name, value in weights.items() if name != _COUNTER}
    for wrapper in (*_WRAPPERS, *_WRAPPERS):
        if clean and all(name.startswith(wrapper) for name in clean):
            clean = {name.removeprefix(wrapper): value for name, value in clean.items()}
    return clean
