"""A time limit on code that we did not write, in this process, on every operating system."""

import ctypes
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

REPEAT = 0.1  # seconds; a bare `except:` swallows the first interruption, so it is followed by more


class TimeUp(BaseException):
    """Raised in the code that ran too long. Not an Exception: `except Exception` shall not swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ``TimeUp`` in the block after so many seconds. Does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
    elif hasattr(signal, "setitimer"):
        with _by_signal(seconds):
            yield
    else:
        with _by_thread(seconds):
            yield


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    def interrupt(signum: int, frame: object) -> None:
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
def _by_thread(seconds: float) -> Iterator[None]:
    """Windows has no timer signal: another thread plants the exception. It arrives between two bytecodes."""
    target = ctypes.c_ulong(threading.main_thread().ident or 0)
    lock, done = threading.Lock(), threading.Event()

    def interrupt() -> None:
        wait = seconds
        while not done.wait(wait):
            wait = REPEAT
            with lock:
                if not done.is_set():
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
