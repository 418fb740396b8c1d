"""The backbone that is trained, and where its weights begin."""

import torch

from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.encoders.pretrained import LoadReport, load_pretrained
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.seeds import seed_for


def student(config: PretrainConfig) -> tuple[Backbone, LoadReport | None]:
    """The backbone to train, and what was read into it with `--pretrained`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(config.seed, "backbone"))
        backbone = build_backbone(config.arch, config.view_size)
    _check_sizes(config, backbone)
    if not config.pretrained:
        return backbone, None
    return backbone, load_pretrained(backbone, config.pretrained)


def _check_sizes(config: PretrainConfig, backbone: Backbone) -> None:
    """A transformer takes multiples of its patch, and views of several sizes only if told to."""
    embed = getattr(backbone.body, "patch_embed", None)
    if embed is None or not hasattr(embed, "patch_size"):
        return
    patch = embed.patch_size[0]
    sizes = {recipe.size for recipe in config.recipes}
    if len(sizes) > 1 and embed.strict_img_size:
        raise UserError(
            f"--size-crops: {config.arch} takes one size of view; leave it out, or use "
            f"--arch {config.arch},dynamic_img_size=true"
        )
    odd = [size for size in sizes if size % patch]
    if odd:
        raise UserError(
            f"--view-size, --size-crops: {config.arch} takes multiples of {patch} pixels, not "
            f"{', '.join(map(str, sorted(odd)))}"
        )
