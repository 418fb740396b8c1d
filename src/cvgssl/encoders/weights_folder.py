"""Where weight files lie: `pretrained/`, or the folder that CVGSSL_WEIGHTS names."""

import difflib
import os
from pathlib import Path

from cvgssl.encoders.shards import INDEX, MAIN_FILES, is_part, main_file
from cvgssl.runtime.errors import UserError

ENVIRONMENT = "CVGSSL_WEIGHTS"
ENDINGS = (".safetensors", ".pth.tar", ".pth", ".pt", ".bin", ".ckpt", ".tar",
           f".safetensors{INDEX}", f".bin{INDEX}")  # fmt: skip


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


def find_weights(source: str | Path, folder: Path | None = None) -> Path:
    """The file that a path or a bare file name means.

    A name without separators that is nothing here is looked for in the weights folder. A folder
    that transformers' `save_pretrained` wrote means its weight file or index. Raises UserError
    saying where was looked, with close matches.
    """
    path = Path(source).expanduser()
    bare = len(path.parts) == 1
    places = [weights_folder(folder)] if bare else []
    for place in (path, *(place / path for place in places)):
        if place.is_file():
            return place
        inside = main_file(place)
        if inside is not None:
            return inside
    if path.is_dir():
        raise UserError(
            f"--pretrained {source}: is a folder without {' or '.join(MAIN_FILES[::2])}; name a "
            "weight file in it"
        )
    looked = " and ".join(["here", *map(str, places)]) if bare else f"in {path.parent}"
    near = [file.name for place in (*places, path.parent) for file in weight_files(place)]
    close = difflib.get_close_matches(path.name, near, n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(dict.fromkeys(close))}?" if close else ""
    remedy = f" (bare names: set {ENVIRONMENT})" if bare and not hint else ""
    raise UserError(f"--pretrained {source}: no such file; looked {looked}{hint}{remedy}")
