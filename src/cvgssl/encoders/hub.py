"""Weights of timm's by name, downloaded when the network allows."""

from pathlib import Path
from typing import Any

from cvgssl.encoders.encoder_spec import PREFIX
from cvgssl.encoders.normalization import Normalization
from cvgssl.encoders.timm_import import timm
from cvgssl.runtime.errors import UserError

_FILE = "model.safetensors"
_PATIENCE = 10.0  # seconds


def download(name: str) -> Path:
    """The local copy of a timm model's safetensors file, downloaded at the first use.

    name: with or without the tag that chooses among several weights (`resnet18.a1_in1k`).
    Raises UserError for an unknown name, and when the hub cannot be reached.
    """
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    repository = _config(name).get("hf_hub_id")
    if not repository:
        raise UserError(f"{PREFIX}{name}: timm has no weights of that name")
    if repository.endswith("/"):
        repository += name if "." in name else f"{name}.{_config(name)['tag']}"
    cached = try_to_load_from_cache(repository, _FILE)
    if isinstance(cached, str):
        return Path(cached)
    try:
        HfApi().model_info(repository, timeout=_PATIENCE)  # fails at once where there is no network
        return Path(hf_hub_download(repository, _FILE))
    except Exception as error:  # offline, blocked, proxy, not found: the remedy is the same
        raise UserError(
            f"{PREFIX}{name}: cannot be downloaded ({type(error).__name__}); fetch "
            f"{_FILE} of {repository} on another machine, put it into the weights folder "
            "under any name and give that name"
        ) from error


def hub_normalization(name: str) -> Normalization:
    """Mean and standard deviation that timm states for these weights."""
    config = _config(name)
    return Normalization(tuple(config["mean"]), tuple(config["std"]))


def _config(name: str) -> dict[str, Any]:
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # a tag that timm does not know
        config = None
    if config is None:
        known = timm.list_pretrained(name.partition(".")[0] + ".*")
        hint = f"; known: {', '.join(known[:6])}" if known else ""
        raise UserError(f"{PREFIX}{name}: timm has no weights of that name{hint}")
    return dict(vars(config))
