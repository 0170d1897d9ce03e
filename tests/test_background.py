from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time

import pytest

from lladav_eval.background import Background


def test_results_and_errors_reach_whoever_asks() -> None:
    with Background(2) as pool:
        jobs = [pool.submit(divmod, 7, by) for by in (2, 0, 4)]
        assert jobs[0].result() == (3, 1)
        assert jobs[2].result() == (1, 3)
        with pytest.raises(ZeroDivisionError):
            jobs[1].result()


def test_no_more_run_at_once_than_allowed() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    with Background(3) as pool:
        for job in [pool.submit(work) for _ in range(12)]:
            job.result()
    assert most == 3


def left_by(error: BaseException | None) -> tuple[bool, bool]:
    """(what had begun has ended, what waited ran too) once a context was left with ``error``."""
    begun, free, ended, ran = threading.Event(), threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        free.wait(0.3)
        ended.set()

    with contextlib.suppress(ArithmeticError, KeyboardInterrupt), Background(1) as pool:
        pool.submit(first)
        waiting = pool.submit(ran.set)
        begun.wait()
        if error is not None:
            raise error
    found = ended.is_set(), ran.is_set()
    free.set()
    assert waiting.cancelled()
    return found


@pytest.mark.parametrize(
    ("error", "waited"), [(None, False), (ArithmeticError(), True), (KeyboardInterrupt(), False)], ids=repr
)
def test_what_has_begun_is_waited_for_after_an_error_only(error: BaseException | None, waited: bool) -> None:
    assert left_by(error) == (waited, False)


def test_the_process_ends_beside_a_call_that_does_not() -> None:
    script = (
        "import time; from lladav_eval.background import Background\n"
        "with Background(1) as pool:\n    pool.submit(time.sleep, 600); time.sleep(0.1); raise KeyboardInterrupt"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert b"KeyboardInterrupt" in ended.stderr
