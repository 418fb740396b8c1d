"""All commands and their options as one Markdown page, docs/options.md (`make docs`)."""

import importlib
import inspect
from typing import Any

from cvgssl.cli.main import COMMANDS
from cvgssl.runtime.options import fields_of

HEAD = """# Commands and options

Made by `make docs` from the same dataclasses that parse the command line and YAML files.
Every command takes `--config FILE.yaml` (flags win), `--save-config FILE.yaml` and `--debug`.
"""


def reference() -> str:
    """The page docs/options.md."""
    parts = [HEAD]
    for name, (module, text) in COMMANDS.items():
        config = config_of(module)
        parts.append(f"## cvgssl {name}\n\n{text[0].upper()}{text[1:]}.\n")
        parts.append("| option | default | meaning |\n|---|---|---|")
        for key, field in fields_of(config).items():
            flag = f"`--{key.replace('_', '-')}`"
            parts.append(f"| {flag} | {_default(field)} | {_cell(field.description or '')} |")
        parts.append("")
    return "\n".join(parts)


def config_of(module: str) -> type:
    """The dataclass of the options of the command in `cvgssl.cli.MODULE`."""
    loaded = importlib.import_module(f"cvgssl.cli.{module}")
    configs = [
        value
        for name, value in vars(loaded).items()
        if inspect.isclass(value) and name.endswith("Config")
    ]
    own = [config for config in configs if config.__module__ == loaded.__name__]
    (config,) = own or configs
    return config


def _default(field: Any) -> str:
    if field.is_required():
        return "needed"
    default = field.get_default(call_default_factory=True)
    if default in (None, (), ""):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
