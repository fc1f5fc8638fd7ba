"""A process of its own for a submission. The judge asks, it answers; it never sees a check, a seed or a gradebook."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import attnlab
from autograder import wire
from autograder.exercise import Exercise
from autograder.student import StudentError

ROOTS = [str(Path(__file__).resolve().parent.parent), str(Path(attnlab.__file__).resolve().parent.parent)]
CELL_SECONDS = 60.0
EXERCISE_SECONDS = 10.0
GRACE = 3.0  # the process ends a call itself; where it does not, it is killed so much later


class Sandbox:
    """Runs the cells of a submission once, then answers calls of its functions.

    A call that kills or blocks the process costs that call; the next one runs the cells again in a new process.
    """

    def __init__(self, sources: Sequence[str]):
        self.sources = list(sources)
        self.cells: list[dict[str, Any]] = []  # what each cell printed, drew and raised
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.close()

    def close(self) -> None:
        """End the process and remove its folder."""
        if self._process is not None:
            self._process.kill()
            for stream in (self._process.stdin, self._process.stdout):
                if stream:
                    stream.close()
            self._process.wait()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def run(self) -> list[dict[str, Any]]:
        """Run the cells, if that has not been done. What came of each."""
        if self._process is None:
            self._start()
        return self.cells

    def call(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], forbidden: Sequence[str], seconds: float
    ) -> Any:
        """Call a function of the submission. ``StudentError`` where it gives no answer."""
        self.run()
        request = {
            "do": "call",
            "name": name,
            "args": list(args),
            "kwargs": kwargs,
            "forbidden": list(forbidden),
            "seconds": seconds,
        }
        reply = self._ask(request, seconds + GRACE, f"Your `{name}`")
        if "error" in reply:
            kind, message, raised = reply["error"]
            raise StudentError(kind, message, raised)
        for position, after in reply.get("edited", {}).items():
            args[position][...] = after
        return reply.get("value")

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="attnlab-", ignore_cleanup_errors=True)
        environment = {
            key: os.environ[key] for key in ("PATH", "SYSTEMROOT", "LANG", "LC_ALL") if key in os.environ
        } | {
            "PYTHONPATH": os.pathsep.join(ROOTS),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
            "MPLBACKEND": "agg",
            "HOME": self._folder.name,
            "TMPDIR": self._folder.name,
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", "autograder.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env=environment,
        )
        request = {"do": "run", "cells": self.sources, "seconds": CELL_SECONDS}
        limit = CELL_SECONDS * max(1, len(self.sources)) + GRACE
        self.cells = self._ask(request, limit, "The notebook").get("cells", [])

    def _ask(self, request: dict[str, Any], limit: float, who: str) -> dict[str, Any]:
        """One question, one answer. Whatever else comes costs the submission its process, never the judge."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        expired = threading.Event()

        def kill() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(limit, kill)
        timer.start()
        try:
            process.stdin.write(wire.encode(request))
            process.stdin.flush()
            reply = wire.decode(self._read)
            if not isinstance(reply, dict):
                raise wire.WireError("the reply is not in the agreed form")
            return reply
        except (EOFError, OSError):
            self.close()
            if expired.is_set():
                raise StudentError("time", f"{who} was still running after {limit:.0f} s.") from None
            raise StudentError("crashed", f"{who} ended the Python process it runs in.") from None
        except wire.WireError as error:
            self.close()
            raise StudentError("reply", f"{who} sent what cannot be graded: {error}.") from None
        finally:
            timer.cancel()

    def _read(self, n: int) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        data = self._process.stdout.read(n)
        if len(data) < n:
            raise EOFError
        return data


@dataclass
class Answers:
    """The answer to one exercise in a sandbox: a backend of ``Student`` with the time that the exercise may take."""

    sandbox: Sandbox
    exercise: Exercise
    seconds: float = EXERCISE_SECONDS
    deaths: int = 0

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.deaths > 1 or self.seconds <= 0:
            why = "the time for this exercise was used up" if self.seconds <= 0 else "your code ended its process twice"
            raise StudentError("time", f"Not tried: {why} before.")
        self.sandbox.run()
        started = time.monotonic()
        try:
            return self.sandbox.call(name, args, kwargs, self.exercise.forbidden, self.seconds)
        except StudentError as error:
            self.deaths += error.kind == "crashed"
            raise
        finally:
            self.seconds -= time.monotonic() - started
