"""A `python` that starts in milliseconds: each call forks one process that has imported all.

    python forked_python.py serve FOLDER      imports what commands need, then waits for calls
    FOLDER/python -m cvgssl ...               as `python` would; also -c CODE and FILE, after -u
    FOLDER/cvgssl ...

A call is two processes: the one that was started, which passes on its folder, environment, standard
streams, network, limits and signals, and ends as the other one ends; and the fork, which works.
When the first is killed, so is the second; standard streams are open until it is gone.

What differs from a real start: modules are there before they are imported, compiled networks come
from a folder of the tests instead of the cache, all forks hash strings alike, and what the
environment says to an interpreter or library at its start is not heard (but PYTHONPATH and
OMP_NUM_THREADS). Tests of these take sys.executable. Calls with other options, or that inherit
files, start Python.
"""

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import resource
    import socket
    from typing import Any, NoReturn

TIMES = "CVGSSL_TEST_TIMES"  # a file for processor seconds, which pytest's own do not have
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def call(address: str, words: list[str]) -> None:
    """Have the server run `python WORDS...`; ends this process as that one ends."""
    unbuffered = words[:1] == ["-u"]
    rest = words[unbuffered:]
    other = not rest or (rest[0] not in ("-c", "-m") and rest[0].startswith("-"))
    if other or inherits_more():
        os.execv(sys.executable, [sys.executable, *words])
    import json
    import resource
    import socket

    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = {
        "words": rest,
        "unbuffered": unbuffered,
        "folder": os.getcwd(),  # noqa: PTH109 - quicker without pathlib
        "environment": dict(os.environ),
        "file size": resource.getrlimit(resource.RLIMIT_FSIZE),
        "ignored": [s for s in FORWARDED if signal.getsignal(s) == signal.SIG_IGN],
    }
    network = os.open("/proc/self/ns/net", os.O_RDONLY)
    socket.send_fds(connection, [b"\n"], [0, 1, 2, network])
    connection.sendall(json.dumps(request).encode() + b"\n")
    for number in FORWARDED:
        if number not in request["ignored"]:
            signal.signal(number, lambda number, _frame: connection.sendall(bytes([number])))
    answer = connection.makefile().readline()
    if not answer:
        os.write(2, b"the server of forked_python.py is gone\n")
        os._exit(70)
    code = int(answer)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def inherits_more() -> bool:
    """Whether files beside the standard streams were handed to this process, as joblib does."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                return True
        except OSError:  # the folder itself
            continue
    return False


def serve(folder: str) -> list[str]:
    """Answer calls until the pipe FOLDER/alive closes; returns only in a fork: its words."""
    import gc
    import resource
    import selectors
    import shlex
    import socket
    from pathlib import Path

    alive = os.open(f"{folder}/alive", os.O_RDONLY | os.O_NONBLOCK)
    prepare()
    listener = socket.socket(socket.AF_UNIX)
    address = f"{folder}/socket"
    listener.bind(address)
    listener.listen(64)
    client = shlex.join([sys.executable, "-I", "-S", str(Path(__file__).resolve()), address])
    for name, first in (("python", ""), ("cvgssl", " -m cvgssl")):
        script = Path(folder) / name
        script.write_text(f'#!/bin/sh\nexec {client}{first} "$@"\n')
        script.chmod(0o755)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    gc.collect()
    gc.freeze()  # pages that the collector leaves alone stay shared

    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(alive, selectors.EVENT_READ)
    calls: dict[int, tuple[int, socket.socket]] = {}  # process and caller by the process's file
    names: dict[int, str] = {}  # what a process is called in TIMES
    while True:
        key, _ = selector.select()[0]  # what else there is comes again
        if key.fd == alive:
            note(resource.getrusage(resource.RUSAGE_SELF), "forked_python.py serve")
            os._exit(0)
        elif key.fd in calls:
            worker, connection = calls.pop(key.fd)
            _, status, used = os.wait4(worker, 0)
            note(used, names.pop(worker))
            answer(connection, os.waitstatus_to_exitcode(status))
            selector.unregister(key.fd)
            if connection in selector.get_map():
                selector.unregister(connection)
            connection.close()
            os.close(key.fd)
        elif key.fileobj is not listener:
            worker, connection = key.data
            if not forward(connection, worker):
                selector.unregister(connection)
        else:
            connection, _ = listener.accept()
            try:
                request, files, early = receive(connection)
            except (OSError, ValueError):  # it was killed before it had said what it wants
                connection.close()
                continue
            worker = os.fork()
            if worker == 0:
                connection.close()
                for place in list(selector.get_map().values()):
                    os.close(place.fd) if isinstance(place.fileobj, int) else place.fileobj.close()
                selector.close()
                return begin(request, files, f"{folder}/python")
            names[worker] = name_of(request)
            for file in files:
                os.close(file)
            for number in early:
                os.kill(worker, number)
            process = os.pidfd_open(worker)
            calls[process] = worker, connection
            selector.register(process, selectors.EVENT_READ)
            selector.register(connection, selectors.EVENT_READ, (worker, connection))


def note(used: "resource.struct_rusage", name: str) -> None:
    """Add the processor seconds of a process and those it waited for to the file TIMES, if any."""
    if TIMES in os.environ:
        with open(os.environ[TIMES], "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{used.ru_utime + used.ru_stime:.2f}\t{name}\n")


def name_of(request: "dict[str, Any]") -> str:
    """The test that calls, and the beginning of the words."""
    test = request["environment"].get("PYTEST_CURRENT_TEST", "").partition(" (")[0]
    return f"{test}\t{' '.join(request['words'])[:200]!r}"


def receive(connection: "socket.socket") -> "tuple[dict[str, Any], list[int], bytes]":
    """What a caller wants: its request, its standard streams and network, signals meanwhile."""
    import json
    import socket

    _, files, _, _ = socket.recv_fds(connection, 1, 4)
    text = b""
    while b"\n" not in text and (part := connection.recv(2**16)):
        text += part
    line, _, early = text.partition(b"\n")
    try:
        return json.loads(line), files, early
    except ValueError:
        for file in files:
            os.close(file)
        raise


def forward(connection: "socket.socket", worker: int) -> bool:
    """Send on the signals that the caller got; False when it is gone, and so is the work."""
    try:
        numbers = connection.recv(2**16)
    except ConnectionError:
        numbers = b""
    for number in numbers or [signal.SIGKILL]:
        os.kill(worker, number)
    return bool(numbers)


def answer(connection: "socket.socket", code: int) -> None:
    """Tell the caller how the work ended, if it is still there."""
    import contextlib

    with contextlib.suppress(ConnectionError):
        connection.sendall(f"{code}\n".encode())


def begin(request: "dict[str, Any]", files: list[int], executable: str) -> list[str]:
    """Make this process, a fork, what the caller wants; its words."""
    import ctypes
    import resource

    *streams, network = files
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    if not os.path.sameopenfile(network, own) and ctypes.CDLL(None).setns(network, 0):
        raise OSError("a network namespace that may not be entered")
    os.close(own)
    os.close(network)
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    # the old ones remember what the server's streams could do, such as seeking
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(request["folder"])
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ.clear()
    os.environ.update(request["environment"])
    resource.setrlimit(resource.RLIMIT_FSIZE, tuple(request["file size"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    import numpy as np
    import torch

    torch.seed()  # a real start has chance of its own, which tests of equal numbers count on
    np.random.seed()
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads and threads != before:
        torch.set_num_threads(int(threads))
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [place for place in places if place and place not in sys.path]
    sys.executable = executable
    if request["unbuffered"] or os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(write_through=True)
    words: list[str] = request["words"]
    return words


def prepare() -> None:
    """Import what commands import, and draw what most of them draw, so that fonts are known."""
    import contextlib
    import importlib
    import pkgutil
    import tempfile
    from pathlib import Path

    import cvgssl

    del sys.path[0]  # this file's folder
    for module in pkgutil.walk_packages(cvgssl.__path__, "cvgssl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in MODULES:
        importlib.import_module(name)
    import numpy as np
    from torch.distributed.elastic.rendezvous import dynamic_rendezvous

    from cvgssl.encoders import compiled_network, programs
    from cvgssl.report.figures import confusion_figure, learning_curves

    # torchrun asks it a few dozen times; inspect goes through all modules each time, here thousands
    dynamic_rendezvous.get_method_name = lambda depth=2: sys._getframe(depth).f_code.co_name

    with contextlib.suppress(ImportError):
        programs.import_openvino()  # which keeps it from reporting its import
    for name in OF_EXTRAS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    compiled_network.FOLDER = os.environ.get("CVGSSL_TEST_COMPILED", compiled_network.FOLDER)

    row = {"draw": 1, "epoch": 1, "train_loss": 1.0, "train_acc": 1.0}
    with tempfile.TemporaryDirectory() as folder:
        confusion_figure(np.eye(2, dtype=int), ["a", "b"], Path(folder) / "a.png", "")
        learning_curves([row], Path(folder) / "b.png")


MODULES = (
    "huggingface_hub",
    "joblib.externals.loky",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "rich.console",
    "rich.progress",
    "scipy.optimize",
    "sklearn.decomposition",
    "sklearn.linear_model",
    "sklearn.manifold",
    "tifffile",
    "timm.models",
    "timm.optim",
    "torch.distributed.run",
)
OF_EXTRAS = (
    "onnxruntime",
    "onnxscript.function_libs.torch_lib.ops",
    "openvino.frontend.pytorch.ts_decoder",
    "torch.onnx._internal.exporter._core",
)


def run(words: list[str]) -> None:
    """As the interpreter runs `python WORDS...`."""
    import runpy
    import types

    kind, rest = (words[0], words[1:]) if words[0] in ("-c", "-m") else ("", words)
    if kind == "-m":
        sys.argv = rest
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = rest
        sys.path.insert(0, os.path.dirname(os.path.abspath(rest[0])))  # noqa: PTH100, PTH120
        runpy.run_path(rest[0], run_name="__main__")


def finish(words: list[str]) -> "NoReturn":
    """Run and end as the interpreter ends, but for taking all modules apart."""
    import atexit
    import contextlib
    import threading

    code, interrupted = 0, False
    try:
        run(words)
    except SystemExit as stopped:
        if stopped.code is not None:
            code = stopped.code if isinstance(stopped.code, int) else 1
        if not isinstance(stopped.code, int | None):
            print(stopped.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code, interrupted = 1, isinstance(error, KeyboardInterrupt)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError):  # closed
            stream.flush()
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        finish(serve(sys.argv[2]))
    else:
        call(sys.argv[1], sys.argv[2:])
