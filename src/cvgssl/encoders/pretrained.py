"""Pretrained weights into a backbone: located, read, recognised, fitted, reported."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from cvgssl.encoders.activations import activation, with_activation, with_quick_gelu
from cvgssl.encoders.arch_of_weights import arch_of
from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.backbone_file import BackboneFile, read_backbone
from cvgssl.encoders.hub import hub_normalization
from cvgssl.encoders.locating import known_arch, locate
from cvgssl.encoders.normalization import IMAGENET, Normalization
from cvgssl.encoders.shards import weights_digest
from cvgssl.encoders.start_options import FLAG, check_arch, parse_start
from cvgssl.encoders.weight_matching import WeightMatch, all_finite, match_weights
from cvgssl.encoders.weights_folder import find_weights
from cvgssl.runtime.errors import UserError, naming

LEAST = 0.9
"""Share of a backbone's numbers that a file must give."""


@dataclass(frozen=True)
class LoadReport:
    """What was read into a backbone.

    matched, total: tensors of the backbone. missing: its tensors that stayed random.
    unexpected: the file's tensors that were not used, heads and text towers for example.
    normalization: what the backbone now applies, as the weights were trained.
    notes: conversions worth knowing.
    test_left_out: False when cvgssl pre-trained these weights on a folder that named no test
        pictures.
    """

    path: Path
    sha256: str
    layout: str
    arch: str
    matched: int
    total: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    normalization: Normalization
    notes: tuple[str, ...] = ()
    test_left_out: bool = True

    def summary(self) -> str:
        """One line for the log."""
        parts = [
            f"pretrained: {self.path.name} ({self.layout} layout, sha256 {self.sha256[:8]}), "
            f"{self.matched} of {self.total} tensors of {self.arch}"
        ]
        if self.missing:
            parts.append(f"left random: {_examples(self.missing)}")
        if self.unexpected:
            parts.append(f"not used: {_groups(self.unexpected)}")
        return "; ".join([*parts, *self.notes])


def check_start(source: str) -> None:
    """Raise UserError where `--pretrained` names a network that nobody knows.

    Called before a network is built, whose error would be that of an --arch nobody gave.
    """
    spec = parse_start(source)
    if spec.name:
        with naming(f"{FLAG} {source}"):
            known_arch(spec)


def load_pretrained(
    backbone: Backbone, source: str | Path, folder: Path | None = None
) -> LoadReport:
    """Load weights into `backbone` and set the normalisation that they were trained with.

    source: as `--pretrained` has it: a path; a bare file name, looked for here and in `folder` (see
        `weights_folder`); `NAME=FILE` where NAME is the architecture of `backbone`; or `timm:NAME`
        to download a model of timm's, `timm:resnet18.a1_in1k` for example.
    A file by open_clip does not state its activation: it is the one of the architecture, plain GELU
    unless that says quickgelu, as in open_clip itself; a file by OpenAI is refused with plain GELU.
    Raises UserError when the file is not found, damaged, refused as unsafe, or hardly fits; the
    backbone is then unchanged.
    """
    spec = parse_start(str(source), folder)
    check_arch(spec, backbone.arch)
    with naming(f"{FLAG} {source}"):
        if spec.file:
            path = find_weights(spec.file, folder)
            return load_found(backbone, read_backbone(path), path, spec.hub, "--arch ")
        at = locate(spec, folder)
        return load_found(backbone, at.backbone_file, at.path, at.hub, "--arch ")


def load_found(
    backbone: Backbone,
    backbone_file: BackboneFile,
    path: Path,
    hub_name: str | None = None,
    flag: str = "",
) -> LoadReport:
    """Load what `read_backbone` gave, as `load_pretrained` does.

    hub_name: timm's name of these weights, if they came from its hub. flag: what messages put
    before the name of an architecture, such as `--arch `.
    """
    result = match_weights(backbone_file.weights, backbone.body)
    _check(backbone, backbone_file, result, flag)
    backbone.body.load_state_dict(result.taken, strict=False)
    hub = hub_normalization(hub_name) if hub_name else None
    backbone.normalization = hub or backbone_file.normalization or _of_architecture(backbone.body)
    notes = [*backbone_file.notes, *result.notes]
    if backbone_file.activation is None and activation(backbone.body) == "gelu":
        notes.append(
            f"plain GELU; weights by OpenAI would need --arch {with_quick_gelu(backbone.arch)}"
        )
    if backbone_file.layout.normalization_assumed and hub is None:
        notes.append("mean and std of ImageNet assumed")
    test_left_out = backbone_file.card.test_left_out
    if not test_left_out:
        notes.append("pre-trained on a folder that named no test pictures")
    return LoadReport(
        path=path,
        sha256=weights_digest(path),
        layout=backbone_file.layout.name,
        arch=backbone.arch,
        matched=len(result.taken),
        total=len(result.taken) + len(result.missing),
        missing=result.missing,
        unexpected=(*result.unexpected, *backbone_file.left),
        normalization=backbone.normalization,
        notes=tuple(notes),
        test_left_out=test_left_out,
    )


def _check(backbone: Backbone, backbone_file: BackboneFile, result: WeightMatch, flag: str) -> None:
    layout = backbone_file.layout
    likely = arch_of(backbone_file)
    remedy = f"; the file looks like {flag}{likely}" if likely and likely != backbone.arch else ""
    where = f"the file ({layout.name} layout) does not fit {flag}{backbone.arch}: "
    if result.numbers < LEAST or result.mismatched:
        target = backbone.body.state_dict()
        absent = [*result.mismatched, *result.missing] or list(target)
        raise UserError(
            f"{where}{len(result.taken)} of {len(target)} tensors ({100 * result.numbers:.0f} % of "
            f"the numbers) match; wanted {_examples(absent)}; "
            f"the file has {_examples(result.unexpected) or 'nothing else'}{remedy}"
        )
    extra = result.part_of_the_trunk()
    if extra:
        raise UserError(
            f"{where}the file's backbone has more: {_examples(extra)}, so its features would be "
            f"others{remedy}"
        )
    needed, has = backbone_file.activation, activation(backbone.body)
    if needed and has and needed != has:
        source = "CLIP by OpenAI" if layout.activation == "quick_gelu" else layout.name
        kind = {"quick_gelu": "QuickGELU", "gelu_tanh": "gelu_tanh", "gelu": "plain GELU"}[needed]
        other = with_activation(backbone.arch, needed)
        hint = f"; use {flag}{other}" if other != backbone.arch else remedy
        raise UserError(f"{where}{source} needs the {kind} activation{hint}")
    for width, heads in _needed_heads(backbone_file, backbone.body).items():
        if _heads(backbone.body, width) not in (None, heads):
            raise UserError(
                f"{where}{layout.name}'s transformer of width {width} has {heads} attention heads; "
                f"use {flag}{backbone.arch.split(',')[0]},num_heads={heads}"
            )
    if not all_finite(result.taken):
        raise UserError("has numbers that are NaN or infinite; it is damaged")


def _of_architecture(body: nn.Module) -> Normalization:
    config = cast("dict[str, Any] | None", getattr(body, "pretrained_cfg", None))
    return Normalization(tuple(config["mean"]), tuple(config["std"])) if config else IMAGENET


def _needed_heads(backbone_file: BackboneFile, body: nn.Module) -> Mapping[int, int]:
    """Attention heads by width, as config.json beside the file or its layout asks for them."""
    width = getattr(body, "embed_dim", None)
    if backbone_file.described.heads is None or not isinstance(width, int):
        return backbone_file.layout.attention_heads
    return {width: backbone_file.described.heads}


def _heads(body: nn.Module, width: int) -> int | None:
    """Attention heads of a transformer of this width, else None."""
    blocks = getattr(body, "blocks", None)
    attention = getattr(blocks[0], "attn", None) if isinstance(blocks, nn.Sequential) else None
    if attention is None or getattr(body, "embed_dim", None) != width:
        return None
    return int(attention.num_heads)


def _examples(names: Iterable[str], count: int = 3) -> str:
    listed = list(names)
    more = f" and {len(listed) - count} more" if len(listed) > count else ""
    return ", ".join(listed[:count]) + more


def _groups(names: Iterable[str], count: int = 6) -> str:
    groups = Counter(name.removeprefix("visual.").partition(".")[0] for name in names)
    shown = [f"{name} ({number})" for name, number in groups.most_common(count)]
    return ", ".join(shown) + (" and more" if len(groups) > count else "")
