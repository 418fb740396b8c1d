import os
import signal
import subprocess
import textwrap
import threading
from pathlib import Path

from cvgssl.runtime.stopping import Stopped, stop_requests


def test_a_signal_only_sets_the_flag_and_the_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_requests() as stopping:
        assert not stopping()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping()
        assert stopping()  # it stays set
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_handler_comes_back_after_an_exception() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with stop_requests():
            raise Stopped(Path("runs/1"))
    except Stopped as stopped:
        assert stopped.folder == Path("runs/1")
        assert str(stopped) == "stopped; runs/1 can be resumed"
    assert signal.getsignal(signal.SIGTERM) == before


def test_another_process_can_ask_and_outside_the_block_sigterm_ends(python: str) -> None:
    script = """
        import signal, time
        from cvgssl.runtime.stopping import stop_requests
        with stop_requests() as stopping:
            print("ready", flush=True)
            while not stopping():
                time.sleep(0.01)
        print("saved", flush=True)
        signal.pause()
    """
    child = subprocess.Popen(
        [python, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for expected in ("ready\n", "saved\n"):
        assert child.stdout.readline() == expected
        child.terminate()
    child.communicate()
    assert child.returncode == -signal.SIGTERM


def test_a_thread_that_may_not_set_handlers_is_never_asked() -> None:
    told: list[bool] = []

    def work() -> None:
        with stop_requests() as stopping:
            told.append(stopping())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [False]
