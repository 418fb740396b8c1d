"""Where weight files are: `pretrained/`, or the folder that CVGSSL_WEIGHTS names.

One network's weights come with the installation; its name means them where no file has it.
"""

import difflib
import os
from contextlib import suppress
from pathlib import Path

from cvgssl.encoders.installed_weights import INSTALLED, installed_weights
from cvgssl.encoders.shards import INDEX, MAIN_FILES, is_part
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import check_file

ENVIRONMENT = "CVGSSL_WEIGHTS"
ENDINGS = (".safetensors", ".pth.tar", ".pth", ".pt", ".bin", ".ckpt", ".tar",
           f".safetensors{INDEX}", f".bin{INDEX}")  # fmt: skip
_IN_RUNS = ("backbone.safetensors", "weights/draw_1.safetensors")


def weights_folder(folder: Path | None = None) -> Path:
    """`folder` if given, else the environment's, else `pretrained`."""
    return folder or Path(os.environ.get(ENVIRONMENT) or "pretrained")


def weight_files(folder: Path) -> list[Path]:
    """Files with a weight file's ending directly in `folder`, by name.

    Of weights in several parts, the index.
    """
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and file.name.lower().endswith(ENDINGS) and not is_part(file)
    )


def is_weights(named: str | Path, folder: Path | None = None) -> bool:
    """Whether a path is a file or a run's or model's folder, or a bare name one in the weights'.

    So is the name of the weights that come with the installation.
    """
    return str(named) == INSTALLED or (bool(named) and _there(Path(named), folder) is not None)


def find_weights(source: str | Path, folder: Path | None = None) -> Path:
    """The file that a path, a run's folder or a bare file name means.

    A name without separators that is nothing here is looked for in the weights folder. A folder
    that transformers' `save_pretrained` wrote means its weight file or index. Raises UserError
    saying where was looked, with close matches; it does not repeat `source`.
    """
    path = Path(source).expanduser()
    file = _there(path, folder)
    if file is not None:
        if not check_file(file):  # files of /proc have no size and may block
            raise UserError("the file is empty; copy or download it again")
        return file
    if str(source) == INSTALLED:
        return installed_weights()
    if path.is_dir():
        names = " or ".join((*_IN_RUNS, MAIN_FILES[0]))
        raise UserError(f"is a folder without {names}; name a weight file in it")
    if path.exists():
        check_file(path)
    bare = len(path.parts) == 1
    places = [weights_folder(folder)] if bare else []
    looked = " and ".join(["here", *map(str, places)]) if bare else f"in {path.parent}"
    near = [file.name for place in (*places, path.parent) for file in weight_files(place)]
    close = difflib.get_close_matches(path.name, near, n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(dict.fromkeys(close))}?" if close else ""
    remedy = f" (bare names: set {ENVIRONMENT})" if bare and not hint else ""
    raise UserError(f"no such file; looked {looked}{hint}{remedy}")


def _there(path: Path, folder: Path | None) -> Path | None:
    path = path.expanduser()
    places = [path, weights_folder(folder) / path] if len(path.parts) == 1 else [path]
    inside = [path / name for name in _IN_RUNS]
    inside += [place / name for place in places for name in MAIN_FILES]
    with suppress(OSError):  # a name that is too long, a folder that may not be looked into
        return next((place for place in (*places, *inside) if place.is_file()), None)
    return None
