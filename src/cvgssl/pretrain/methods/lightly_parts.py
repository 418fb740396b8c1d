"""Losses and heads of the library `lightly` (MIT), an optional package.

Only its `loss` and `models.modules` are imported; they need neither pytorch_lightning nor hydra.
"""

import importlib
import os
import warnings
from types import ModuleType

import cvgssl.encoders.timm_import  # noqa: F401  lightly imports timm and torchvision
from cvgssl.runtime.errors import UserError


def lightly_parts(builder: str) -> tuple[ModuleType, ModuleType]:
    """The modules `lightly.loss` and `lightly.models.modules`.

    Raises UserError, naming the builder, if lightly is not installed.
    """
    # releases before 1.6 asked a server for the newest version when imported
    os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = importlib.import_module("lightly.loss")
            modules = importlib.import_module("lightly.models.modules")
    except ImportError as error:
        raise UserError(
            f"--builder {builder}: needs lightly; pip install 'cvgssl[baselines]'"
        ) from error
    return loss, modules
