"""A weight file's backbone: the file recognised, its network chosen, brought to known names."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from cvgssl.encoders.containers import FileContents, read_contents
from cvgssl.encoders.layouts import LAYOUTS, Layout
from cvgssl.encoders.networks import CheckpointCopy, flat_blocks, keys_with_weights, network
from cvgssl.encoders.normalization import HALF, Normalization
from cvgssl.encoders.renaming import Weights
from cvgssl.encoders.shards import parts
from cvgssl.encoders.transformers_config import TransformersConfig, describe
from cvgssl.encoders.weights_card import WeightsCard
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.extensions import extensions
from cvgssl.runtime.parsing import printable

_HEAD = "visual.head."


@dataclass(frozen=True)
class BackboneFile:
    """A file's backbone.

    weights: its tensors under timm's names (CLIP's own names for the CLIP layouts).
    left: names of all other tensors: heads, text towers, momentum copies.
    arch: the architecture that the file itself names, if any.
    head: the projection head that open_clip adds to a tower of timm, names without `visual.head.`.
    card: what cvgssl wrote into the file.
    network: which copy was taken of a checkpoint that holds several, else empty.
    everything: all tensors of that copy, names as in `weights` but with their prefixes.
    described: what the files of transformers beside it say.
    """

    layout: Layout
    weights: dict[str, Tensor]
    left: tuple[str, ...]
    normalization: Normalization | None
    arch: str | None = None
    head: dict[str, Tensor] = field(default_factory=dict)
    card: WeightsCard = field(default_factory=WeightsCard)
    network: str = ""
    everything: Weights = field(default_factory=dict)
    described: TransformersConfig = field(default_factory=TransformersConfig)
    notes: tuple[str, ...] = ()

    @property
    def activation(self) -> str | None:
        """Of the blocks: as config.json says, else as the layout has it; empty: timm's is right."""
        return self.described.activation or self.layout.activation


def read_weights(path: Path) -> FileContents:
    """A weight file of any container, or all parts that an index names (see `shards`)."""
    first, *others = map(read_contents, parts(path))
    tree = dict(first.tree)
    for part in others:
        tree |= part.tree
    return replace(first, tree=tree, folder=path.parent)


def read_backbone(path: Path) -> BackboneFile:
    """Read a weight file and recognise its layout; raises UserError when it holds no weights."""
    contents = read_weights(path)
    backbone_file = find_backbone(contents)
    if backbone_file is None:
        raise UserError(f"{path}: {without_weights(contents)}")
    return backbone_file


def find_backbone(contents: FileContents) -> BackboneFile | None:
    """Recognise a file's layout and take its backbone out; None when it holds no weights.

    Layouts that other packages register (entry points of the group `cvgssl.layouts`) come first.
    Raises UserError for a damaged configuration of transformers beside the file.
    """
    chosen = network(contents.tree)
    if not chosen.weights:
        return None
    contents = replace(contents, network=chosen.name)
    known: list[Layout] = [*extensions("cvgssl.layouts").values(), *LAYOUTS]
    layout = next(row for row in known if row.matches(chosen.weights, contents))
    weights = layout.translate(chosen.weights)
    inside, left = _take(weights, layout)
    usual = layout.activation or layout.usual_activation
    described = describe(contents.folder, layout.model_types, chosen.weights, usual)
    card = contents.card
    arch = contents.tree.get("arch")
    return BackboneFile(
        layout,
        flat_blocks(layout.rename(inside)),
        (*left, *chosen.left),
        _normalization(contents, layout, weights, described),
        arch if isinstance(arch, str) else card.arch,
        {
            name.removeprefix(_HEAD): tensor
            for name, tensor in weights.items()
            if name.startswith(_HEAD)
        },
        card,
        chosen.name,
        weights,
        described,
        _notes(chosen, layout, described),
    )


def _normalization(
    contents: FileContents, layout: Layout, weights: Weights, described: TransformersConfig
) -> Normalization | None:
    stated = contents.card.normalization or described.normalization
    if stated is None and layout.siglip_key and layout.siglip_key in weights:
        stated = HALF
    return stated or layout.normalization


def _notes(
    chosen: CheckpointCopy, layout: Layout, described: TransformersConfig
) -> tuple[str, ...]:
    notes = [chosen.note()]
    if layout.model_types and not described.config:
        notes.append(
            "no config.json of transformers beside the file: heads and activation assumed as the "
            "architecture has them"
        )
    return tuple(filter(None, notes))


def without_weights(contents: FileContents) -> str:
    """Why `find_backbone` gave nothing, for a message."""
    keys = keys_with_weights(contents.tree)
    if not keys:
        return "holds no weights"
    listed = [f"{printable(key)} ({count} tensors)" for key, count in keys.items()]
    more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
    return (
        f"holds weights under keys that no rule knows: {', '.join(listed[:8])}{more}; save what "
        "is meant by itself: torch.save(checkpoint[KEY], FILE)"
    )


def _take(weights: Weights, layout: Layout) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    inside: dict[str, Tensor] = {}
    left = []
    chosen = None  # several copies of a backbone may fit the pattern: the first one is taken
    for name, tensor in weights.items():
        match = re.match(layout.prefix, name)
        if match is None or chosen not in (None, match[0]):
            left.append(name)
            continue
        chosen = match[0]
        inside[name if layout.keeps_prefix else name[match.end() :]] = tensor
    return inside, tuple(left)
