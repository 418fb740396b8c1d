"""Command-line options, YAML files and their checks, all from one pydantic dataclass.

A command is described by one dataclass whose fields carry their help text, default and bounds
(`pydantic.Field`). From it come the flags, `--help`, the keys of `--config FILE.yaml`, what
`--save-config` writes and every check. Pydantic is the only parser of values, so a flag, a YAML
key and a Python argument accept the same things, and all mistakes are reported at once.
"""

import argparse
import difflib
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_text
from cvgssl.runtime.options import (
    CONFIG,
    OneOf,
    Written,
    explain,
    fields_of,
    make,
    read_options,
    to_yaml,
)
from cvgssl.runtime.places import check_place

T = TypeVar("T")

_METAVARS = {bool: "true|false", int: "INT", float: "NUMBER", Path: "PATH"}
# as pydantic reads them
BOOLEAN_WORDS = ("true", "false", "1", "0", "yes", "no", "on", "off", "t", "f", "y", "n")


@dataclass(frozen=True)
class Command(Generic[T]):
    """What a command takes: the dataclass of its options, and which come without a flag.

    positional, presets: see `parse`.
    """

    config: type[T]
    positional: tuple[str, ...] = ()
    presets: Path | None = None

    def parse(self, argv: Sequence[str], prog: str) -> T:
        """The options of the command-line words; see `parse`."""
        return parse(self.config, argv, prog, self.positional, self.presets)


def parse(
    config: type[T],
    argv: Sequence[str],
    prog: str,
    positional: Sequence[str] = (),
    presets: Path | None = None,
) -> T:
    """Make a `config` from command-line words, on top of `--config FILE.yaml` if given.

    Flags may be written with hyphens or underscores; a boolean flag has no value or takes
    true/false. Fields named in `positional` come without a flag, in that order.
    `--preset NAME` takes options of NAME.yaml in the folder `presets`; those of --config and flags
    win. `--resume RUN` (where the dataclass has it) takes the options of that run; others given
    beside it must agree. Raises UserError listing every unknown, missing and impossible value.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=_summary(config), allow_abbrev=False, exit_on_error=False
    )
    fields = fields_of(config)
    for title, names in _groups(config, positional).items():
        group = parser.add_argument_group(title) if title else parser
        for name in names:
            _add(group, name, fields[name], name in positional)
    parser.add_argument("--config", metavar="FILE", help="YAML file of these options; flags win")
    parser.add_argument("--save-config", metavar="FILE", help="write the options as YAML and stop")
    words = _words(argv, fields)
    if {"-h", "--help"} & set(words):  # by print: argparse keeps silent where it cannot be written
        print(parser.format_help(), end="")
        raise SystemExit(0)
    try:
        parsed, unknown = parser.parse_known_intermixed_args(words)
    except argparse.ArgumentError as error:
        raise UserError(f"{error.argument_name}: {error.message}; see {prog} --help") from error
    flags = {
        name: value
        for name, value in vars(parsed).items()
        if value is not None and not (value == [] and name in positional)
    }
    file, save = flags.pop("config", None), flags.pop("save_config", None)
    problems = [
        _unexpected(word, [*fields, "config", "save_config"], prog, positional) for word in unknown
    ]
    problems += [
        f"{_flag(name, positional)}: is empty; give a path"  # and not the working directory
        for name, value in flags.items()
        if _plain_type(fields[name].annotation)[0] is Path and value in ("", [""])
    ]
    if "resume" in flags:
        if file:
            problems.append("--config: leave it out, --resume takes the options of the run")
        flags["resume"] = run = _run_folder(Path(flags["resume"]))
        file = str(run / CONFIG)
    values = read_options(Path(file)) if file else {}
    if "resume" in flags and not values.keys() <= fields.keys():
        _check_command(flags["resume"], prog)
    preset = flags.get("preset", values.get("preset"))
    for known in presets.glob("*.yaml") if presets is not None else ():
        if known.stem == preset:
            values = read_options(known) | values
    made = None
    try:
        made = make(config, values | flags)
        if "resume" in flags:
            problems += _changes(make(config, values), made, values)
    except pydantic.ValidationError as error:
        problems += explain(error, positional)
    if problems or made is None:
        raise UserError("\n".join(problems))
    if save:
        check_place(Path(save), "--save-config")
        write_text(Path(save), to_yaml(made))
        print(f"options written to {save}")
        raise SystemExit(0)
    if "resume" not in flags:
        _check_places(made, fields, positional)
    return made


def _check_places(made: Any, fields: dict[str, FieldInfo], positional: Sequence[str]) -> None:
    """Raise UserError when what the options name cannot be written; `-` is standard output."""
    for name, field in fields.items():
        value = getattr(made, name)
        for kind in field.metadata:
            if isinstance(kind, Written) and value and str(value) != "-":
                check_place(Path(value), _flag(name, positional), kind.folder)


def _flag(name: str, positional: Sequence[str] = ()) -> str:
    return name.upper() if name in positional else f"--{name.replace('_', '-')}"


def _run_folder(named: Path) -> Path:
    """The folder of a run, which may be named by a checkpoint in it."""
    run = named.parent if named.is_file() else named
    if not (run / CONFIG).is_file():
        raise UserError(f"--resume {named}: not a run folder, it has no {CONFIG}")
    return run


def _check_command(run: Path, prog: str) -> None:
    """Raise UserError where another command started the run, whose options are not known here."""
    from cvgssl.runtime.run import check_command

    check_command(run, prog.split()[-1])


def _changes(before: Any, after: Any, names: Iterable[str]) -> list[str]:
    """Those of the options `names` that differ from what an interrupted run was started with."""
    return [
        f"{_flag(name)} {getattr(after, name)}: the run was started with "
        f"{getattr(before, name)}; leave it out to resume, or start a new run"
        for name in names
        if name != "resume" and getattr(after, name) != getattr(before, name)
    ]


def _groups(config: type, positional: Sequence[str]) -> dict[str, list[str]]:
    """Options by the dataclass that declares them, which many commands share; its own come first.

    The title is the summary line of the dataclass; "" for positional ones and the command's own.
    """
    declares = {
        name: parent
        for parent in config.__mro__
        for name in getattr(parent, "__annotations__", ())
        if name in fields_of(config)
    }
    groups: dict[str, list[str]] = {"": list(positional)}
    for parent in config.__mro__:
        title = "" if parent is config else _summary(parent).partition("\n")[0].rstrip(".")
        own = [name for name in fields_of(config) if declares[name] is parent]
        groups.setdefault(title, []).extend(name for name in own if name not in positional)
    return {title: names for title, names in groups.items() if names}


def _add(parser: argparse._ActionsContainer, name: str, field: FieldInfo, positional: bool) -> None:
    kind, is_list = _plain_type(field.annotation)
    required = field.is_required()
    default = field.get_default(call_default_factory=True)
    text = field.description or ""
    if not required and default not in (None, (), ""):
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        text += f" (default: {shown})"
    choices = choices_of(field)
    metavar = "{" + ",".join(choices) + "}" if choices else _METAVARS.get(kind, "TEXT")
    options: dict[str, Any] = {"help": text.replace("%", "%%"), "metavar": metavar}
    if is_list:
        options |= {"nargs": "*", "action": "extend"}
    elif kind is bool:
        options["nargs"] = "?"  # for the help text; `_words` makes it `--flag=true`
    if positional:
        options["metavar"] = name.upper()
        if not is_list:
            options["nargs"] = "?"  # pydantic reports what is missing, with everything else
        parser.add_argument(name, default=None, **options)
    else:
        parser.add_argument(_flag(name), dest=name, **options)


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


def choices_of(field: FieldInfo) -> list[str]:
    """The words that an option takes; empty where it takes others than listed ones."""
    for rule in field.metadata:
        if isinstance(rule, OneOf):
            return list(rule.names)
    kind, _ = _plain_type(field.annotation)
    words = map(str, get_args(kind)) if get_origin(kind) is Literal else ()
    return [word for word in words if word]  # "" is the default of an option that is left out


def _summary(config: type) -> str:
    return (config.__doc__ or "").strip()


def _unexpected(word: str, fields: Iterable[str], prog: str, positional: Sequence[str]) -> str:
    if not word.startswith("-"):
        return f"{word}: not expected here; see {prog} --help"
    flag = word.partition("=")[0]
    if (name := flag.removeprefix("--").replace("-", "_")) in positional:
        order = " ".join(map(str.upper, positional))
        return f"{word}: {name.upper()} comes without a flag: {prog} {order}"
    flags = [_flag(name) for name in fields if name not in positional]
    close = difflib.get_close_matches(flag, flags, n=1, cutoff=0.8)
    return f"{word}: no such option; " + (
        f"did you mean {close[0]}?" if close else f"see {prog} --help"
    )


def _words(argv: Sequence[str], fields: dict[str, FieldInfo]) -> list[str]:
    """The command line as argparse takes it without guessing.

    `--weight_decay` becomes `--weight-decay`, a boolean flag without a value `--flag=true`,
    `--lr -1e-3` (which argparse takes for two flags) `--lr=-1e-3`, `--layers -1 2` the same flag
    twice for the same reason, a path after `--` `./-path`.
    """
    kinds = {_flag(name): _plain_type(field.annotation) for name, field in fields.items()}
    booleans = {flag for flag, (kind, _) in kinds.items() if kind is bool}
    lists = {flag for flag, (_, is_list) in kinds.items() if is_list}
    words: list[str] = []
    filled = ""  # the list flag whose values come now
    for place, word in enumerate(argv):
        following = argv[place + 1] if place + 1 < len(argv) else ""
        if word == "--":
            paths = argv[place + 1 :]
            return words + [f"./{path}" if path.startswith("-") else path for path in paths]
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            word = flag.replace("_", "-") + equals + value
            if word in booleans and following.lower() not in BOOLEAN_WORDS:
                word += "=true"
            filled = word if word in lists and following and following[:2] != "--" else ""
            if filled:
                continue
        elif filled:
            word = f"{filled}={word}"
        elif _is_negative_number(word) and words and _awaits_value(words[-1]):
            words[-1] += f"={word}"
            continue
        words.append(word)
    return words


def _awaits_value(word: str) -> bool:
    return word.startswith("--") and "=" not in word


def _is_negative_number(word: str) -> bool:
    try:
        return word.startswith("-") and float(word) <= 0
    except ValueError:
        return False
