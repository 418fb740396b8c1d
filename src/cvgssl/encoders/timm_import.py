"""`timm`, importable although torchvision's compiled extension does not fit the torch build.

timm imports torchvision, and torchvision registers shape functions for two operators that its
extension defines. Where that extension cannot be loaded (torchvision built for CUDA beside a
CPU-only torch, say) the import ends in "operator torchvision::nms does not exist", although
nothing here uses these operators. They are then declared beforehand, without an implementation.
"""

import importlib.util
import sys
import warnings
from pathlib import Path

import torch

_OPERATORS = ("nms", "qnms")
_kept: list[torch.library.Library] = []  # a library's declarations vanish with it


def _extension_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed; importing timm will say so
    for file in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError):
            continue
        return True
    return False


def _declare_missing_operators() -> None:
    if "torchvision" in sys.modules or _extension_loads():
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]
    _kept.append(library)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    _declare_missing_operators()
    import timm
    import torchvision
    from timm.models import group_parameters
    from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

__all__ = ["group_parameters", "param_groups_layer_decay", "timm", "torchvision"]
