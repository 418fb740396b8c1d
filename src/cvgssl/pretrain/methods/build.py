"""From options to a method."""

from collections.abc import Sequence

from cvgssl.encoders.backbone import Backbone
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.methods.base import Method, Setup
from cvgssl.pretrain.methods.registry import choose


def build_method(
    config: PretrainConfig,
    backbone: Backbone,
    dims: Sequence[int] = (),
    weights: Sequence[float] = (),
) -> Method:
    """The method that `config` names, around a backbone.

    dims, weights: width and weight of each target; empty for methods without. The parameters of
    its heads are drawn from torch's global generator. Raises UserError when a package that the
    method needs is not installed.
    """
    chosen = choose(config)
    assert len(dims) == len(weights)
    assert bool(dims) == chosen.form.targets.need_teachers
    build = chosen.form.load(chosen.flags)
    return build(Setup(config, backbone, tuple(dims), tuple(weights)))


def check_installed(config: PretrainConfig) -> None:
    """Raise UserError when a package that the method of `config` needs is not installed."""
    chosen = choose(config)
    chosen.form.load(chosen.flags)
