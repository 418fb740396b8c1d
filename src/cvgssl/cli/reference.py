"""All commands and their options as one Markdown page, docs/options.md (`make docs`)."""

import importlib
from typing import Any, get_origin

from cvgssl.cli.command import Command, choices_of
from cvgssl.cli.main import COMMANDS
from cvgssl.runtime.options import fields_of

PAGE_HEAD = """# Commands and options

Made by `make docs` from the same dataclasses that parse the command line and YAML files. Words in
capitals come without a flag, in this order; in YAML files and in Python every option has the name
of its flag, with underscores. Every command takes `--config FILE.yaml` (flags win),
`--save-config FILE.yaml` and `--debug`.
"""


def reference() -> str:
    """The page docs/options.md."""
    parts = [PAGE_HEAD]
    for name, (module, text) in COMMANDS.items():
        command: Command[Any] = importlib.import_module(f"cvgssl.cli.{module}").COMMAND
        fields = fields_of(command.config)
        usage = " ".join([f"cvgssl {name}", *(_word(key, fields) for key in command.positional)])
        parts.append(f"## {usage}\n\n{text[0].upper()}{text[1:]}.\n")
        parts.append("| option | values | default | meaning |\n|---|---|---|---|")
        first = [key for key in fields if key in command.positional]
        for key in [*first, *(key for key in fields if key not in first)]:
            shown = _word(key, fields) if key in first else "--" + key.replace("_", "-")
            field = fields[key]
            cells = [f"`{shown}`", ", ".join(choices_of(field)), _default(field)]
            parts.append("| " + " | ".join([*cells, _cell(field.description or "")]) + " |")
        parts.append("")
    return "\n".join(parts)


def _word(key: str, fields: dict[str, Any]) -> str:
    """How an option without a flag is written, `PICTURES...` for several."""
    return key.upper() + ("..." if get_origin(fields[key].annotation) is tuple else "")


def _default(field: Any) -> str:
    if field.is_required():
        return "needed"
    default = field.get_default(call_default_factory=True)
    if default in (None, (), ""):
        return ""
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
