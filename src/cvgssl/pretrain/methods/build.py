"""From options to a method."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence

from cvgssl.encoders.backbone import Backbone
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.methods.base import Method, Setup
from cvgssl.pretrain.methods.registry import ChosenMethod, choose
from cvgssl.runtime.errors import UserError


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
    build = _loaded(chosen)
    return build(Setup(config, backbone, tuple(dims), tuple(weights)))


def check_installed(config: PretrainConfig) -> None:
    """Raise UserError when a package that the method of `config` needs is not installed."""
    _loaded(choose(config))


def _loaded(chosen: ChosenMethod) -> Callable[[Setup], Method]:
    """What `build` names, imported; raises UserError when `requires` is not installed."""
    form = chosen.form
    if form.requires is not None:
        package, source = form.requires
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{chosen.flags}: needs {package}; pip install '{source}'")
    module, _, name = form.build.partition(":")
    builder: Callable[[Setup], Method] = getattr(importlib.import_module(module), name)
    return builder
