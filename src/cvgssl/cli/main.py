"""`cvgssl COMMAND ...`: finds the command's file, runs it, turns mistakes into one clear line.

Nothing heavy is imported before a command is chosen, so `cvgssl --help` answers at once.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cvgssl import __version__
from cvgssl.cli.console import (
    READER_GONE,
    complain,
    discard_unwritten,
    output_is_refused,
    prepare_streams,
    reader_is_gone,
)
from cvgssl.runtime.cache_folder import default_cache_dir, give_libraries_a_cache
from cvgssl.runtime.errors import UserError, is_of_this_process
from cvgssl.runtime.parsing import machine_trouble, name_remedy, printable
from cvgssl.runtime.places import remedy
from cvgssl.runtime.stopping import Interrupted, end_with_input, ended_by_signals

COMMANDS = {
    "demo": ("demo", "from unlabelled pictures of a generated plant to a recognizer, in minutes"),
    "pretrain": ("pretrain", "pre-train a backbone on unlabelled pictures, guided by encoders"),
    "finetune": ("finetune", "fine-tune a backbone on a few labelled pictures per class"),
    "linear": ("linear", "train a linear classifier on a frozen backbone's features"),
    "fit": ("fit", "a recognizer without training: a few labels on embeddings"),
    "predict": ("predict", "classify pictures, also as they arrive"),
    "recentre": ("recentre", "move a recognizer to where a changed lamp or camera shows pictures"),
    "station": ("station", "label, recognize and review in a browser; answer programs over HTTP"),
    "export": ("export", "write a recognizer as a file for ONNX Runtime or OpenVINO"),
    "verify": ("verify", "check that an exported file answers as when it was made"),
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
    for length in (2, 1):
        entry = COMMANDS.get(" ".join(words[:length]))
        if entry and len(words) >= length:
            prog = "cvgssl " + " ".join(words[:length])
            return guarded(_command(entry[0]), words[length:], prog)
    return guarded(_show_overview, words, "cvgssl")


def _command(file: str) -> Callable[[Sequence[str], str], int]:
    def run(words: Sequence[str], prog: str) -> int:
        code: int = importlib.import_module(f"cvgssl.cli.{file}").run(words, prog)
        return code

    return run


def _show_overview(words: Sequence[str], prog: str) -> int:
    """What `cvgssl` prints without a command, or with an unknown one."""
    if list(words) == ["--version"]:
        print(f"{prog} {__version__}")
        return 0
    commands = [word for word in words if word not in ("-h", "--help")]
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    if commands and (len(commands) > 1 or commands[0] not in groups):
        name = " ".join(commands[: 2 if commands[0] in groups else 1])
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else "see cvgssl --help"
        raise UserError(f"no command named {name!r}; {hint}")
    print(_overview())
    return 0


def guarded(command: Callable[[Sequence[str], str], int], argv: Sequence[str], prog: str) -> int:
    """Run `command`; a mistake becomes one line per problem and exit code 2.

    `--debug` shows the traceback instead. Signals that end the command let it clean up first.
    """
    words = [word for word in argv if word != "--debug"]
    debug = len(words) < len(argv)
    prepare_streams()
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":  # only where PYTHONUTF8=0 meets a locale such as C
        complain(
            prog, f"file names are read as {encoding} here; set PYTHONUTF8=1 for other letters"
        )
    give_libraries_a_cache()
    # before NumPy. With several threads a product waits for the slowest core: ten times as long
    # where others use the cores, as when pictures are decoded, and its last digits depend on them
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        with ended_by_signals():
            end_with_input()
            return _flushed(command, words, prog)
    except KeyboardInterrupt as interrupt:
        complain(prog, f"interrupted{f' by {interrupt}' if str(interrupt) else ''}")
        return interrupt.exit_code if isinstance(interrupt, Interrupted) else 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and not error.filename and reader_is_gone():
            return READER_GONE
        text = _describe(error)
        if debug or not text:
            raise
        # processes of one machine make the same mistakes, but have memory of their own; other
        # machines have files of their own
        if os.environ.get("LOCAL_RANK", "0") == "0" or is_of_this_process(error):
            complain(prog, text)
        return 2
    finally:
        discard_unwritten()


def _flushed(command: Callable[[Sequence[str], str], int], words: list[str], prog: str) -> int:
    """Run it; that nobody takes its output, or a full disk, shows here and not at Python's end."""
    try:
        code = command(words, prog)
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def _describe(error: Exception) -> str:
    """What is wrong and the remedy; "" for a fault of our own, whose traceback is needed."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        reason = machine_trouble(error) or error.strerror or str(error)
        if not error.filename:
            return f"standard output: {reason}" if output_is_refused() else reason
        cache = default_cache_dir().absolute()
        in_cache = Path(str(error.filename)).absolute().is_relative_to(cache)
        advice = "set CVGSSL_CACHE to a folder that can be written" if in_cache else remedy(error)
        return f"{error.filename}: {reason}{advice and f'; {advice}'}"
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        near = error.object[max(0, error.start - 40) : error.end + 20]
        problem = f"a file or folder name is not valid UTF-8: ...{printable(near)}..."
        return f"{problem}; {name_remedy('it')}"
    if isinstance(error, MemoryError):
        return machine_trouble(error)
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which may not be here
        return (
            "the memory of the GPU is full; lower --batch-size, or take --precision bf16, a "
            "smaller network or smaller pictures"
        )
    return ""


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
