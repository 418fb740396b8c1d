"""What a benchmark compares, as its YAML names it: features, encoders, heads, ways of fine-tuning.

An entry may be a name or file alone; each is checked here. Imports no torch and no sklearn.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from cvgssl.adapt.config import FinetuneConfig
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.features.config import EmbedConfig
from cvgssl.heads import ALL_HEADS, TEXT_HEADS
from cvgssl.runtime.options import STRICT, explain, make


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FeatureSource:
    """One features file: embeddings of one data set by one encoder.

    data, encoder: what tables call them; empty: what the file says, else the file's name.
    pictures: folder that the names in the file are relative to, for the gallery of mistakes.
    text: NAME=FILE of the CLIP that made them, for heads that read the classes' names; may be
        empty. prompts: file that describes the classes.
    mirrored: what its train pictures look like in mirrors (`embed_mirrored_each`).
    """

    file: Path
    data: str = ""
    encoder: str = ""
    pictures: Path | None = None
    text: str = ""
    prompts: Path | None = None
    mirrored: Path | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EncoderChoice:
    """An encoder for `data`: its name in tables and the options of `cvgssl embed`.

    text: whether its own weights have a text tower to be used, or NAME=FILE of another; None: its
        own, where a head asks for it. prompts: file that describes the classes.
    """

    name: str
    options: dict[str, Any]
    text: bool | str | None = None
    prompts: Path | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HeadChoice:
    """A head by its name in cvgssl.heads, parameters that differ, and its name in tables.

    The same head may be in a benchmark several times under different labels.
    """

    head: str
    label: str
    params: dict[str, Any]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ChosenLabels:
    """Labelled pictures that somebody chose, in place of random draws: rows of their own.

    name: what tables add to the head's name. files: draws as JSON, or filled-in lists as CSV (what
    `cvgssl select` writes), each one support or several. data: the data set they are of; may be
    empty when there is only one.
    """

    name: str
    files: tuple[Path, ...] = Field(min_length=1)
    data: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinetuneChoice:
    """A way of fine-tuning: its name in tables, the options of `cvgssl finetune`.

    encoder: the encoder in whose table it is shown; empty: the first.
    """

    name: str
    encoder: str
    options: dict[str, Any]


_SOURCE = ("file", "data", "encoder", "pictures", "text", "prompts", "mirrored")


def checked_source(value: Any) -> Any:
    """`FILE` or {file: FILE, data: NAME, ...}, the fields of `FeatureSource`; checked."""
    if isinstance(value, FeatureSource):
        value = {name: getattr(value, name) for name in _SOURCE}
    if not isinstance(value, dict):
        value = {"file": value}
    unknown = sorted(set(value) - set(_SOURCE))
    if unknown or "file" not in value:
        raise ValueError(
            f"{', '.join(unknown)}: no such key" if unknown else "file: FEATURES.npz is missing"
        )
    file = _path(value["file"], "file")
    if file.suffix not in (".npz", ".parquet"):
        raise ValueError("features are read from .npz or .parquet; `cvgssl embed` makes them")
    if not file.exists():
        raise ValueError("no such file; `cvgssl embed` makes features")
    if value.get("mirrored") and not _path(value["mirrored"], "mirrored").exists():
        raise ValueError("mirrored: no such file; `cvgssl embed --mirrored` makes it")
    if value.get("prompts") and not value.get("text"):
        raise ValueError("prompts: give text: NAME=FILE of the CLIP too")
    _check_prompts(value.get("prompts"))
    return value


def _check_prompts(file: Any) -> None:
    if file is not None and not _path(file, "prompts").is_file():
        raise ValueError(f"prompts: no such file: {file}")


def _path(value: Any, key: str) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError(f"{key}: must be a path")
    return Path(value)


def _options(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key}: must be `option: value` lines")
    return {str(name): setting for name, setting in value.items()}


def checked_encoder(value: Any) -> Any:
    """`SPEC` or {name: vit, encoder: SPEC, OPTION: ...}, options of `cvgssl embed`; checked."""
    if isinstance(value, EncoderChoice):
        value = {key: getattr(value, key) for key in ("name", "options", "text", "prompts")}
    entry: dict[str, Any] = dict(value) if isinstance(value, dict) else {"encoder": [str(value)]}
    name, text, prompts = entry.pop("name", ""), entry.pop("text", None), entry.pop("prompts", None)
    _check_prompts(prompts)
    options = _options(entry.pop("options", None) or entry, "options")
    options = {name.replace("-", "_"): setting for name, setting in options.items()}
    if isinstance(options.get("encoder"), str):
        options["encoder"] = [options["encoder"]]
    problems = [f"{key}: belongs to the benchmark" for key in ("data", "out") if key in options]
    if not problems:
        try:
            make(EmbedConfig, options | {"data": Path()})
        except ValidationError as error:
            problems = explain(error)
    if problems:
        raise ValueError("; ".join(problems))
    encoders = options.setdefault("encoder", [INSTALLED])
    name = str(name or Path("+".join(encoders)).stem)
    return {"name": name, "options": options, "text": text, "prompts": prompts}


def checked_finetune(value: Any) -> Any:
    """{name: ..., encoder: ..., OPTION: ...} with options of `cvgssl finetune`; checked."""
    if isinstance(value, FinetuneChoice):
        value = {"name": value.name, "encoder": value.encoder, "options": value.options}
    if not isinstance(value, dict):
        raise ValueError("in YAML: {name: ..., OPTION of `cvgssl finetune`: ...}")
    entry = dict(value)
    name, encoder = entry.pop("name", "fine-tuning"), entry.pop("encoder", "")
    options = _options(entry.pop("options", None) or entry, "options")
    options = {name.replace("-", "_"): setting for name, setting in options.items()}
    reserved = sorted(
        {"data", "out", "draws", "labels", "num_draws", "shot", "resume", "imbalance"}
        & set(options)
    )
    problems = [f"{key}: belongs to the benchmark" for key in reserved]
    if not problems:
        try:
            make(FinetuneConfig, options | {"data": Path()})
        except ValidationError as error:
            problems = explain(error)
    if problems:
        raise ValueError("; ".join(problems))
    return {"name": str(name), "encoder": str(encoder), "options": options}


def checked_head(value: Any) -> Any:
    """Of `knn`, {head: knn, neighbours: 3} or {head: knn, label: NAME, params: {neighbours: 3}}."""
    if isinstance(value, HeadChoice):
        value = {"head": value.head, "label": value.label, "params": value.params}
    entry = dict(value) if isinstance(value, dict) else {"head": value}
    name, label = str(entry.pop("head", "")), entry.pop("label", "")
    params = _options(entry.pop("params", None) or entry, "params")
    if name not in ALL_HEADS:
        raise ValueError(f"no such head; there are {', '.join(ALL_HEADS)}")
    known = ALL_HEADS[name]().get_params()  # imports scikit-learn, so only where one is named
    if name in TEXT_HEADS:  # these come with the features
        known = {key: known[key] for key in known if key not in ("anchors", "classes")}
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise ValueError(
            f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(known) or 'none'}"
        )
    extra = ", ".join(f"{key}={params[key]}" for key in sorted(params))
    return {"head": name, "label": str(label or f"{name} {extra}".strip()), "params": params}
