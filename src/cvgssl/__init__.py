"""cvgssl: few-shot recognition of metal-surface defects, told honestly.

The public API is what is listed here. Names are loaded when they are first used, so that
`import cvgssl` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cvgssl.api import finetune, linear, pretrain_backbone
    from cvgssl.deploy.predict import predict
    from cvgssl.encoders.backbone import build_backbone
    from cvgssl.encoders.pretrained import load_pretrained
    from cvgssl.fewshot.config import FinetuneConfig, LinearConfig
    from cvgssl.fewshot.draws import draw
    from cvgssl.fewshot.model_file import load_model
    from cvgssl.images.check import check_data
    from cvgssl.images.importers_write import import_dataset
    from cvgssl.images.scan import load_dataset
    from cvgssl.images.splits import write_split
    from cvgssl.images.surfaces import synthesize
    from cvgssl.pretrain.config import PretrainConfig
    from cvgssl.runtime.errors import UserError

_HOMES = {
    "FinetuneConfig": "cvgssl.fewshot.config",
    "LinearConfig": "cvgssl.fewshot.config",
    "PretrainConfig": "cvgssl.pretrain.config",
    "UserError": "cvgssl.runtime.errors",
    "build_backbone": "cvgssl.encoders.backbone",
    "check_data": "cvgssl.images.check",
    "draw": "cvgssl.fewshot.draws",
    "finetune": "cvgssl.api",
    "import_dataset": "cvgssl.images.importers_write",
    "linear": "cvgssl.api",
    "load_dataset": "cvgssl.images.scan",
    "load_model": "cvgssl.fewshot.model_file",
    "load_pretrained": "cvgssl.encoders.pretrained",
    "predict": "cvgssl.deploy.predict",
    "pretrain_backbone": "cvgssl.api",
    "synthesize": "cvgssl.images.surfaces",
    "write_split": "cvgssl.images.splits",
}

__all__ = [
    "FinetuneConfig",
    "LinearConfig",
    "PretrainConfig",
    "UserError",
    "build_backbone",
    "check_data",
    "draw",
    "finetune",
    "import_dataset",
    "linear",
    "load_dataset",
    "load_model",
    "load_pretrained",
    "predict",
    "pretrain_backbone",
    "synthesize",
    "write_split",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cvgssl' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
