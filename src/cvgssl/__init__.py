"""cvgssl: few-shot recognition of metal-surface defects, with its accuracy.

The public API is what is listed here. Names are loaded when they are first used, so that
`import cvgssl` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cvgssl.adapt.config import FinetuneConfig, LinearConfig
    from cvgssl.adapt.draws import draw
    from cvgssl.adapt.model_file import load_model
    from cvgssl.api import export_recognizer, finetune, fit, linear, pretrain_backbone
    from cvgssl.bench.config import BenchConfig
    from cvgssl.bench.job import run_bench
    from cvgssl.encoders.backbone import build_backbone
    from cvgssl.encoders.pretrained import load_pretrained
    from cvgssl.encoders.text_anchors import text_anchors
    from cvgssl.export.config import ExportConfig
    from cvgssl.features.config import EmbedConfig
    from cvgssl.features.embed import embed
    from cvgssl.features.table import FeatureTable, load_features, save_features
    from cvgssl.heads import FewShotHead
    from cvgssl.images.check import check_data
    from cvgssl.images.import_options import ImportConfig
    from cvgssl.images.importers_write import import_dataset
    from cvgssl.images.scan import load_dataset
    from cvgssl.images.splits import write_split
    from cvgssl.images.surfaces import synthesize
    from cvgssl.pretrain.config import PretrainConfig
    from cvgssl.recognizer.config import FitConfig
    from cvgssl.recognizer.predict import predict
    from cvgssl.runtime.errors import UserError

_HOMES = {
    "BenchConfig": "cvgssl.bench.config",
    "EmbedConfig": "cvgssl.features.config",
    "ExportConfig": "cvgssl.export.config",
    "FeatureTable": "cvgssl.features.table",
    "FewShotHead": "cvgssl.heads",
    "FinetuneConfig": "cvgssl.adapt.config",
    "FitConfig": "cvgssl.recognizer.config",
    "ImportConfig": "cvgssl.images.import_options",
    "LinearConfig": "cvgssl.adapt.config",
    "PretrainConfig": "cvgssl.pretrain.config",
    "UserError": "cvgssl.runtime.errors",
    "build_backbone": "cvgssl.encoders.backbone",
    "check_data": "cvgssl.images.check",
    "draw": "cvgssl.adapt.draws",
    "embed": "cvgssl.features.embed",
    "export_recognizer": "cvgssl.api",
    "finetune": "cvgssl.api",
    "fit": "cvgssl.api",
    "import_dataset": "cvgssl.images.importers_write",
    "linear": "cvgssl.api",
    "load_dataset": "cvgssl.images.scan",
    "load_features": "cvgssl.features.table",
    "load_model": "cvgssl.adapt.model_file",
    "load_pretrained": "cvgssl.encoders.pretrained",
    "predict": "cvgssl.recognizer.predict",
    "pretrain_backbone": "cvgssl.api",
    "run_bench": "cvgssl.bench.job",
    "save_features": "cvgssl.features.table",
    "synthesize": "cvgssl.images.surfaces",
    "text_anchors": "cvgssl.encoders.text_anchors",
    "write_split": "cvgssl.images.splits",
}

__all__ = [
    "BenchConfig",
    "EmbedConfig",
    "ExportConfig",
    "FeatureTable",
    "FewShotHead",
    "FinetuneConfig",
    "FitConfig",
    "ImportConfig",
    "LinearConfig",
    "PretrainConfig",
    "UserError",
    "build_backbone",
    "check_data",
    "draw",
    "embed",
    "export_recognizer",
    "finetune",
    "fit",
    "import_dataset",
    "linear",
    "load_dataset",
    "load_features",
    "load_model",
    "load_pretrained",
    "predict",
    "pretrain_backbone",
    "run_bench",
    "save_features",
    "synthesize",
    "text_anchors",
    "write_split",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cvgssl' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
