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
from pydantic.fields import FieldInfo

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_text
from cvgssl.runtime.options import CONFIG, explain, fields_of, read_yaml, to_yaml

T = TypeVar("T")



def parse(config: type[T], argv: Sequence[str], prog: str, positional: Sequence[str] = ()) -> T:
    """Make a `config` from command-line words, on top of `--config FILE.yaml` if given.

    Flags may be written with hyphens or underscores; a boolean flag stands alone or takes
    true/false. Fields named in `positional` come without a flag, in that order.
    `--resume RUN` (where the dataclass has it) takes the options of that run; others given
    beside it must agree. Raises UserError listing every unknown, missing and impossible value.
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
    if "resume" in given:
        file = str(Path(given["resume"]) / CONFIG)
    values = read_yaml(Path(file)) if file else {}
    made = None
    try:
        made = config(**(values | given))
    except pydantic.ValidationError as error:
        problems += explain(error, positional)
    if made is not None and "resume" in given:
        problems += _changes(config(**values), made)
    if problems or made is None:
        raise UserError("\n".join(problems))
    if save:
        write_text(Path(save), to_yaml(made))
        print(f"options written to {save}")
        raise SystemExit(0)
    return made


def _changes(before: Any, after: Any) -> list[str]:
    """Options that differ from those an interrupted run was started with."""
    return [
        f"--{name.replace('_', '-')} {getattr(after, name)}: the run was started with "
        f"{getattr(before, name)}; leave it out to resume, or start a new run"
        for name in fields_of(type(after))
        if name != "resume" and getattr(after, name) != getattr(before, name)
    ]


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
