"""A time limit on code that we did not write, in this process, on every operating system."""

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 4  # so much slower than the processor's time may the clock's pass, before a call is stopped all the same
REPEAT = 0.1  # seconds; a bare `except:` swallows the first interruption, so it is followed by more


class TimeUp(BaseException):
    """Raised in the code that ran too long. Not an Exception: `except Exception` shall not swallow it."""


class Stopwatch:
    """What a call took of its time: the processor's, so that a busy machine costs nobody a grade.

    Where it waits or sleeps, a quarter of what passed on the clock counts, so that nothing lasts forever.
    """

    def __init__(self) -> None:
        self.clock, self.processor = time.monotonic(), time.process_time()

    def spent(self) -> float:
        """Seconds. Several threads at once count as one."""
        passed = time.monotonic() - self.clock
        return cost(passed, time.process_time() - self.processor)


def cost(passed: float, worked: float) -> float:
    """What is charged for so many seconds on the clock, in which the processor worked for so many."""
    return max(min(passed, worked), passed / PATIENCE)


@contextmanager
def time_limit(seconds: float, spent: Callable[[], float] | None = None) -> Iterator[None]:
    """Raise ``TimeUp`` in the block after so many seconds, as ``spent`` counts them, or else the clock.

    Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
    elif hasattr(signal, "setitimer"):
        with _by_signal(seconds, spent):
            yield
    else:
        with _by_thread(seconds, spent):
            yield


@contextmanager
def _by_signal(seconds: float, spent: Callable[[], float] | None) -> Iterator[None]:
    def interrupt(signum: int, frame: object) -> None:
        if spent is None or spent() >= seconds:
            raise TimeUp

    before = signal.signal(signal.SIGALRM, interrupt)
    started = time.monotonic()
    outer, interval = signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:  # a limit around this one goes on
            signal.setitimer(signal.ITIMER_REAL, max(outer - (time.monotonic() - started), 1e-3), interval)


@contextmanager
def _by_thread(seconds: float, spent: Callable[[], float] | None) -> Iterator[None]:
    """Windows has no timer signal: another thread plants the exception. It arrives between two bytecodes."""
    target = ctypes.c_ulong(threading.main_thread().ident or 0)
    lock, done = threading.Lock(), threading.Event()

    def interrupt() -> None:
        wait = seconds
        while not done.wait(wait):
            wait = REPEAT
            with lock:
                if not done.is_set() and (spent is None or spent() >= seconds):
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(target, ctypes.py_object(TimeUp))

    watcher = threading.Thread(target=interrupt, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        with lock:
            done.set()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(target, None)  # one that was planted but has not arrived
        watcher.join()
