"""The backbone that is trained: its initial weights, and compiling it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.encoders.pretrained import LoadReport, check_start, load_pretrained
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.seeds import seed_for


def student(config: PretrainConfig) -> tuple[Backbone, LoadReport | None]:
    """The backbone to train, and the report on the weights loaded with `--pretrained`.

    Raises UserError for an architecture that does not take the sizes of the views.
    """
    if config.pretrained:
        check_start(config.pretrained)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(config.seed, "backbone"))
        backbone = build_backbone(config.arch, config.view_size)
    _check_sizes(config, backbone)
    if not config.pretrained:
        return backbone, None
    return backbone, load_pretrained(backbone, config.pretrained)


def _check_sizes(config: PretrainConfig, backbone: Backbone) -> None:
    """Transformers need multiples of the patch size, and of several sizes dynamic_img_size."""
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
    misfits = [size for size in sizes if size % patch]
    if misfits:
        raise UserError(
            f"--view-size, --size-crops: {config.arch} takes multiples of {patch} pixels, not "
            f"{', '.join(map(str, sorted(misfits)))}"
        )


@contextmanager
def compile_errors(compiled: bool) -> Iterator[None]:
    """Inside the block, an error of torch.compile becomes a UserError; no effect if not `compiled`.

    Networks are compiled when they first run, so the block is the whole training.
    """
    if not compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # takes seconds; torch has no public name

    try:
        yield
    except TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--compile: torch cannot compile this network here ({reason}); on a CPU it needs a "
            "C++ compiler, on a GPU Triton; leave --compile out to train without"
        ) from error
