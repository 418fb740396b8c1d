"""One thread for products, whichever thread of the program wants it."""

import threading
import time

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_info

from cvgssl.runtime.blas import one_blas_thread


def threads() -> list[int]:
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_each_thread_has_it_in_its_turn() -> None:
    assert scipy.linalg.inv(np.eye(3)).shape == (3, 3)  # BLAS is there
    before, seen = threads(), []

    def work() -> None:
        for _ in range(20):
            with one_blas_thread():
                time.sleep(0.001)
                seen.append(set(threads()))

    others = [threading.Thread(target=work) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    with one_blas_thread():
        seen.append(set(threads()))
    assert len(seen) == 61 and all(each == {1} for each in seen)
    assert threads() == before
