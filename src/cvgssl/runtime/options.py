"""Options as data: the fields that commands share, and a dataclass to and from YAML.

Imports no torch, so that `--help` is quick.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import pydantic
import yaml
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.runtime.yaml_files import read_yaml

T = TypeVar("T")
_LONGEST = 2000  # characters of a message; lists of names are long

CONFIG = "config.yaml"  # where a run folder keeps its options


@plain_dataclass(frozen=True)
class OneOf:
    """Annotates a string option that takes one of `names`, as `Literal` does.

    The names are looked at when a value is checked or help is shown, so a registry may still grow.
    """

    names: Iterable[str]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        """How pydantic checks it; its message is that of `Literal`."""
        return core_schema.no_info_plain_validator_function(self._check)

    def _check(self, value: Any) -> str:
        *others, last = map(repr, self.names)
        if not isinstance(value, str) or repr(value) not in (*others, last):
            expected = f"{', '.join(others)} or {last}" if others else last
            raise PydanticKnownError("literal_error", {"expected": expected})
        return value


@plain_dataclass(frozen=True)
class Written:
    """Annotates an option that names what a command writes: a file, a folder, or (None) either."""

    folder: bool | None = False


def fields_of(config: type) -> dict[str, FieldInfo]:
    """The dataclass's fields with their help texts, defaults and bounds."""
    fields: dict[str, FieldInfo] = config.__pydantic_fields__  # type: ignore[attr-defined]
    return fields


def explain(error: pydantic.ValidationError, positional: Sequence[str] = ()) -> list[str]:
    """One line per mistake, each naming its flag."""
    lines = []
    for problem in error.errors(include_url=False):
        place = problem["loc"]
        message = problem["msg"].removeprefix("Value error, ")
        if not place:
            lines += [one_line(line, _LONGEST) for line in message.splitlines()]
            continue
        name = one_line(place[0])
        flag = name.upper() if name in positional else "--" + name.replace("_", "-")
        if problem["type"] == "missing":
            lines.append(f"{flag} is needed")
        elif problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            lines.append(f"{name}: no such option")
        else:
            text = str(problem["input"])
            shown = one_line(text) if text.strip() else text
            message = one_line(message[:1].lower() + message[1:], _LONGEST)
            lines.append(f"{flag} {shown}: {message}")
    return lines


def read_options(path: Path) -> dict[str, Any]:
    """Options from a YAML file, keys with hyphens or underscores; raises UserError."""
    values = read_yaml(path, "a file of options")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold `option: value` lines")
    return {key.replace("-", "_"): value for key, value in values.items()}


def make(config: type[T], values: Mapping[str, Any]) -> T:
    """A `config` of values by name, whatever the names; raises pydantic.ValidationError."""
    return pydantic.TypeAdapter(config).validate_python(dict(values))


def to_dict(config: Any) -> dict[str, Any]:
    """The options as plain JSON values."""
    values: dict[str, Any] = pydantic.TypeAdapter(type(config)).dump_python(config, mode="json")
    return values


def to_yaml(config: Any) -> str:
    """The options as YAML, every one preceded by its help text."""
    lines = []
    values = to_dict(config)
    for name, field in fields_of(type(config)).items():
        lines.append(f"# {field.description}")
        lines.append(yaml.safe_dump({name: values[name]}, allow_unicode=True).rstrip())
    return "\n".join(lines) + "\n"


STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Tracker = Literal["tensorboard", "wandb", "mlflow"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CheckedOptions:
    """Options that must fit together; all that do not are reported at once."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = self._problems()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> list[str]:
        """One line per mistake in options that do not go together."""
        return []


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GpuOption:
    """What computes.

    Dataclasses with the same first line are one group of `--help`.
    """

    gpu: int | None = Field(
        default=None, ge=0, description="number of the GPU; the CPU if there is none"
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DeviceOptions(GpuOption):
    """What computes.

    The same, and how precisely.
    """

    precision: Literal["fp32", "bf16", "fp16"] = Field(default="fp32", description="arithmetic")


Runtime = Literal["auto", "torch", "openvino", "onnxruntime"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RuntimeOption:
    """What computes.

    The program that runs frozen encoders.
    """

    runtime: Runtime = Field(
        default="auto",
        description="what runs frozen encoders on the CPU: torch, openvino (cvgssl[openvino]) or "
        "onnxruntime (cvgssl[onnx], fp32 only), which are several times faster; auto: the "
        "first of openvino and onnxruntime that is installed, else torch (also for a network that "
        "it cannot take); on a GPU it is torch",
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JobOptions(DeviceOptions):
    """Where and how a training job runs."""

    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of every random choice")
    track: tuple[Tracker, ...] = Field(
        default=(), description="also log to tensorboard, wandb, mlflow"
    )
    out: Annotated[Path | None, Written(folder=True)] = Field(
        default=None, description="run folder; named after the options if left out"
    )
    log_dir: Path = Field(
        default=Path("logs"), description="where run folders without --out are made"
    )
    resume: Path | None = Field(
        default=None, description="folder of an interrupted run to finish, with the options it has"
    )
