"""From the options to a method."""

from collections.abc import Sequence

from cvgssl.encoders.backbone import Backbone
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.methods.base import Method
from cvgssl.pretrain.methods.cvgssl import Cvgssl
from cvgssl.pretrain.methods.guided import Guided, build_guidance
from cvgssl.pretrain.methods.parts import WeightedMean, lightly_parts


def build_method(
    config: PretrainConfig,
    backbone: Backbone,
    teacher_dims: Sequence[int] = (),
    teacher_weights: Sequence[float] = (),
) -> Method:
    """The method of `--builder` around a backbone; torch's global generator makes the heads.

    teacher_dims, teacher_weights: width and weight of every teacher; empty for builders that
        have none.
    Raises UserError if a baseline's package is not installed.
    """
    if config.builder in ("cvgssl", "distill"):
        assert len(teacher_dims) == len(teacher_weights) > 0
        return _build_guided(config, backbone, teacher_dims, teacher_weights)
    assert not teacher_dims
    return _build_baseline(config, backbone)


def check_builder(builder: str) -> None:
    """Raise UserError if the package that a baseline needs is not installed."""
    if builder in ("simclr", "byol", "simsiam", "dino"):
        lightly_parts(builder)


def _build_guided(
    config: PretrainConfig, backbone: Backbone, dims: Sequence[int], weights: Sequence[float]
) -> Method:
    if config.builder == "cvgssl" and config.guidance == "published":
        return Cvgssl(config, backbone, dims, weights)
    form = "regression" if config.builder == "distill" else config.guidance
    assert form != "published"
    parts = build_guidance(
        form, config.relation_temperature, backbone.feature_dim, dims, WeightedMean(weights)
    )
    return Guided(backbone, dims, parts, standardized=form != "spectral")


def _build_baseline(config: PretrainConfig, backbone: Backbone) -> Method:
    # imported when asked for: most of them need an extra package
    if config.builder == "mocov3":
        from cvgssl.pretrain.methods.mocov3 import MocoV3

        return MocoV3(config, backbone)
    if config.builder == "simclr":
        from cvgssl.pretrain.methods.simclr import SimClr

        return SimClr(config, backbone)
    if config.builder == "byol":
        from cvgssl.pretrain.methods.byol import Byol

        return Byol(config, backbone)
    if config.builder == "simsiam":
        from cvgssl.pretrain.methods.simsiam import SimSiam

        return SimSiam(config, backbone)
    from cvgssl.pretrain.methods.dino import Dino

    return Dino(config, backbone)
