"""Command-line options, YAML files and their checks, all from one pydantic dataclass.

A command is described by one dataclass whose fields carry their help text, default and bounds
(`pydantic.Field`). From it come the flags, `--help`, the keys of `--config FILE.yaml`, what
`--save-config` writes and every check. Pydantic is the only parser of values, so a flag, a YAML
key and a Python argument accept the same things, and all mistakes are reported at once.
"""

import argparse
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import pydantic
import yaml
from pydantic.fields import FieldInfo

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_text

T = TypeVar("T")


def parse(config: type[T], argv: Sequence[str], prog: str, positional: Sequence[str] = ()) -> T:
    """Make a `config` from command-line words, on top of `--config FILE.yaml` if given.

    Flags may be written with hyphens or underscores; a boolean flag stands alone or takes
    true/false. Fields named in `positional` come without a flag, in that order.
    Raises UserError listing every unknown, missing and impossible value.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=_summary(config), allow_abbrev=False, exit_on_error=False
    )
    fields = fields_of(config)
    for name, field in fields.items():
        _add(parser, name, field, name in positional)
    parser.add_argument("--config", metavar="FILE", help="YAML file of these options; flags win")
    parser.add_argument("--save-config", metavar="FILE", help="write the options as YAML and stop")
    hyphenated = [_hyphens(word) for word in argv]
    try:
        found, unknown = parser.parse_known_args(hyphenated)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}; see {prog} --help") from error
    given = {name: value for name, value in vars(found).items() if value is not None}
    file, save = given.pop("config", None), given.pop("save_config", None)
    problems = [f"{word}: no such option; see {prog} --help" for word in unknown]
    values = (read_yaml(Path(file)) if file else {}) | given
    made = None
    try:
        made = config(**values)
    except pydantic.ValidationError as error:
        problems += explain(error, positional)
    if problems or made is None:
        raise UserError("\n".join(problems))
    if save:
        write_text(Path(save), to_yaml(made))
        print(f"options written to {save}")
        raise SystemExit(0)
    return made


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
            lines += message.splitlines()
            continue
        name = str(place[0])
        flag = name.upper() if name in positional else "--" + name.replace("_", "-")
        if problem["type"] == "missing":
            lines.append(f"{flag} is needed")
        elif problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            lines.append(f"{name}: no such option")
        else:
            message = message[:1].lower() + message[1:]
            lines.append(f"{flag} {problem['input']}: {message}")
    return lines


def read_yaml(path: Path) -> dict[str, Any]:
    """Options from a YAML file, keys with hyphens or underscores; raises UserError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path}: not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"--config {path}: must hold `option: value` lines")
    return {str(key).replace("-", "_"): value for key, value in values.items()}


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


def _add(parser: argparse.ArgumentParser, name: str, field: FieldInfo, positional: bool) -> None:
    kind, is_list = _plain_type(field.annotation)
    required = field.is_required()
    default = field.get_default(call_default_factory=True)
    text = field.description or ""
    if not required and default not in (None, (), ""):
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        text += f" (default: {shown})"
    options: dict[str, Any] = {"help": text.replace("%", "%%"), "metavar": _metavar(kind)}
    if is_list:
        options["nargs"] = "*"
    elif kind is bool:
        options |= {"nargs": "?", "const": True}
    if positional:
        options["metavar"] = name.upper()
        if not is_list and not required:
            options["nargs"] = "?"
        elif not is_list:
            options["nargs"] = "?"  # pydantic reports what is missing, with everything else
        parser.add_argument(name, default=None, **options)
    else:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, **options)


def _plain_type(annotation: Any) -> tuple[Any, bool]:
    """The element type without Optional and Annotated, and whether several words are taken."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _plain_type(members[0])
    if origin is tuple:
        return _plain_type(get_args(annotation)[0])[0], True
    if hasattr(annotation, "__metadata__"):
        return _plain_type(get_args(annotation)[0])
    return annotation, False


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, get_args(kind))) + "}"
    names = {bool: "true|false", int: "INT", float: "NUMBER", Path: "PATH"}
    return names.get(kind, "TEXT")


def _summary(config: type) -> str:
    return (config.__doc__ or "").strip()


def _hyphens(word: str) -> str:
    """`--weight_decay=1` to `--weight-decay=1`; values stay as they are."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value
