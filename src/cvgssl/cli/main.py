"""`cvgssl COMMAND ...`: finds the command's file, runs it, turns mistakes into one clear line.

Nothing heavy is imported before a command is chosen, so `cvgssl --help` answers at once.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence

from cvgssl import __version__
from cvgssl.runtime.errors import UserError

COMMANDS = {
    "demo": ("demo", "the main job from end to end on generated pictures, in a few minutes"),
    "pretrain": ("pretrain", "pre-train a backbone on unlabelled pictures, guided by encoders"),
    "finetune": ("finetune", "fine-tune a backbone on a few labelled pictures per class"),
    "linear": ("linear", "train a linear classifier on a frozen backbone's features"),
    "fit": ("fit", "a recognizer without training: a few labels on embeddings"),
    "predict": ("predict", "name the class of pictures with a trained run"),
    "bench": ("bench", "compare heads over data sets, encoders, settings, shots and draws"),
    "embed": ("embed", "embeddings of a folder of pictures by frozen encoders, into one file"),
    "select": ("select", "choose which pictures to label first"),
    "data check": (
        "data_check",
        "find what would spoil a result: corrupt files, duplicates, leaks",
    ),
    "data import": ("data_import", "bring NEU-CLS, NEU-DET, X-SDD or GC10-DET to train/ and test/"),
    "data split": ("data_split", "split one folder of classes into train and test, as a CSV"),
    "data synth": ("data_synth", "generate pictures of rolled steel with six kinds of defect"),
    "weights list": ("weights_list", "show the weight files that a bare name finds"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (the command found something), or 2 (a mistake)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        print(f"cvgssl {__version__}")
        return 0
    for length in (2, 1):
        entry = COMMANDS.get(" ".join(words[:length]))
        if entry and len(words) >= length:
            prog = "cvgssl " + " ".join(words[:length])
            module = importlib.import_module(f"cvgssl.cli.{entry[0]}")
            return guarded(module.run, words[length:], prog)
    asked = [word for word in words if word not in ("-h", "--help")]
    if asked and asked not in [name.split()[:1] for name in COMMANDS if " " in name]:
        print(
            f"cvgssl: no command named {' '.join(words[:2])!r}; see cvgssl --help", file=sys.stderr
        )
        return 2
    print(_overview())
    return 0


def guarded(command: Callable[[Sequence[str], str], int], argv: Sequence[str], prog: str) -> int:
    """Run `command`; a mistake becomes one line per problem and exit code 2.

    `--debug` shows the traceback instead.
    """
    words = [word for word in argv if word != "--debug"]
    debug = len(words) < len(argv)
    try:
        return command(words, prog)
    except (UserError, OSError) as error:
        if debug:
            raise
        text = _describe(error) if isinstance(error, OSError) else str(error)
        if os.environ.get("RANK", "0") == "0":  # torchrun's other processes say the same
            for line in text.splitlines():
                print(f"{prog}: {line}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if debug or type(error).__name__ != "OutOfMemoryError":  # torch's, which may not be here
            raise
        remedy = (
            "lower --batch-size, or take --precision bf16, a smaller network or smaller pictures"
        )
        print(f"{prog}: the memory of the GPU is full; {remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130


def _describe(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}"


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: cvgssl COMMAND [options]     (cvgssl COMMAND --help shows a command's options)",
            "",
            "Recognizes metal-surface defects from a handful of labelled pictures.",
            "",
            *lines,
            "",
            "  --version  print the version;  --debug  (any command) show an error's traceback",
        ]
    )
