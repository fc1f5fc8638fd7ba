"""Worker processes that may die: what one was working on is given to another, once, and the rest goes on.

``concurrent.futures`` gives up everything that waits when one of its processes is killed.
"""

import contextlib
import multiprocessing
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

ATTEMPTS = 2


@dataclass
class Worker:
    """A process, our end of the pipe to it, and the number of the task that it is at."""

    process: BaseProcess
    pipe: Connection
    task: int | None = None


class Died(Exception):
    """A task ended its worker, each time that it was tried. The message is how."""


def run(act: Callable[[Any], Any], tasks: Sequence[Any], jobs: int) -> Iterator[tuple[int, Any]]:
    """``act`` of every task, in the order in which they are done: its number, and the result or ``Died``.

    An exception of ``act`` ends the run. Nothing of a worker outlives it, nor outlives us.
    """
    waiting = deque(range(len(tasks)))
    tried: Counter[int] = Counter()
    workers: list[Worker] = []
    try:
        while waiting or any(worker.task is not None for worker in workers):
            while len(workers) < min(jobs, len(waiting) + len(workers)):
                workers.append(_start(act, workers))
            for worker in workers:
                if worker.task is None and waiting:
                    worker.task = waiting.popleft()
                    with contextlib.suppress(OSError):  # it is dead, and that is seen below
                        worker.pipe.send(tasks[worker.task])
            busy = {worker.pipe: worker for worker in workers if worker.task is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]  # only what we gave it comes back
                number = worker.task
                assert number is not None
                try:
                    came, result = worker.pipe.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    tried[number] += 1
                    how = _end(worker)
                    if tried[number] < ATTEMPTS:
                        waiting.append(number)
                        continue
                    came, result = True, Died(how)
                worker.task = None
                if not came:
                    raise result
                yield number, result
    finally:
        for worker in workers:
            worker.process.kill()
            _end(worker)


def _start(act: Callable[[Any], Any], others: Sequence[Worker]) -> Worker:
    forks = sys.platform == "linux"
    context = multiprocessing.get_context("fork") if forks else multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    inherited = [ours, *(worker.pipe for worker in others)] if forks else []
    process = context.Process(target=_serve, args=(act, theirs, inherited), daemon=True)
    process.start()
    theirs.close()  # then the pipe ends when the worker does
    return Worker(process, ours)


def _serve(act: Callable[[Any], Any], pipe: Connection, inherited: Sequence[Connection]) -> None:
    """In the worker: until the pipe ends, which it does when the coordinator does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the coordinator
    for other in inherited:
        other.close()
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = pipe.recv()
            try:
                answer = (True, act(task))
            except Exception as error:
                answer = (False, error)
            pipe.send(answer)


def _end(worker: Worker) -> str:
    worker.process.join(10)
    code = worker.process.exitcode
    worker.process.close() if code is not None else None
    worker.pipe.close()
    if code is None or code >= 0:
        return f"its process ended with status {code}"
    with contextlib.suppress(ValueError):
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process was ended by signal {-code}"
