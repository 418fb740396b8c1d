"""Weights in several files with an index, as Hugging Face's `save_pretrained` writes large ones.

`model.safetensors.index.json` names for every tensor the file beside it that holds it. Imports no
torch: a result in the cache needs none.
"""

import hashlib
import re
from pathlib import Path

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file
from cvgssl.runtime.parsing import parse_json

INDEX = ".index.json"
MAIN_FILES = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
_BESIDE = ("open_clip_config.json", "config.json", "preprocessor_config.json", "tokenizer.json")
_PART = re.compile(r"(.+)-\d{5}-of-\d{5}(\.\w+)")
_KIND = "an index of weight files"
_MOST = 1000


def is_part(path: Path) -> bool:
    """Whether the name is that of one of several files, `model-00001-of-00002.safetensors`."""
    return _PART.fullmatch(path.name) is not None


def parts(path: Path) -> list[Path]:
    """The files that hold the weights: those of an index, else `path` itself.

    Raises UserError for a damaged index, one that names files elsewhere, and for missing parts;
    for a single part, when the index is beside it.
    """
    if not path.name.endswith(INDEX):
        match = _PART.fullmatch(path.name)
        index = path.with_name(f"{match[1]}{match[2]}{INDEX}") if match else None
        if index is not None and index.is_file():
            raise UserError(f"{path}: is a part of the weights; give {index}, or its folder")
        return [path]
    content = parse_json(path, _KIND)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise UserError(f"{path}: not {_KIND} (it has no weight_map)")
    names = sorted({str(name) for name in places.values()})
    if len(names) > _MOST:
        raise UserError(f"{path}: names {len(names)} files; at most {_MOST} are read")
    strange = [name for name in names if name != Path(name).name or name.endswith(INDEX)]
    if strange:
        raise UserError(f"{path}: names {strange[0]!r}, which is no file beside it")
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise UserError(f"{path}: {missing[0]} is missing beside it; copy all parts")
    return [path.parent / name for name in names]


def weights_digest(path: Path) -> str:
    """SHA-256 of the weights: of the file, or over those of all parts of an index."""
    files = parts(path)
    if files == [path]:
        return sha256_file(path)
    digests = "".join(map(sha256_file, files))
    return hashlib.sha256(digests.encode()).hexdigest()


def beside_digests(path: Path) -> list[str]:
    """SHA-256 of the files beside the weights that can change what is read from them."""
    beside = (path.parent / name for name in _BESIDE)
    return [f"{file.name} {sha256_file(file)}" for file in beside if file.is_file()]
