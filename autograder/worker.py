"""The student's side of the pipe: runs a notebook's cells, one at a time, and answers questions about its functions.

It never holds a check, a seed or a gradebook. What the student prints goes to buffers of ours.
"""

import base64
import builtins
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from autograder import inside, operations, parcels, wire
from autograder.edits import editable, kept
from autograder.expect import is_tensor, same
from autograder.isolation import Layers
from autograder.limits import TimeUp, time_limit
from autograder.student import Here, StudentError, Target, explain

MAX_TEXT = 100_000  # characters of a cell's output that are kept
MAX_PICTURE = 2_000_000  # characters of a picture
MAX_OUTPUTS = 30
MAX_FIGURES = 5  # of one cell
SHOWN = ("text/plain", "image/png")


class Stream:
    """The pipe to the judge, by file descriptors."""

    def __init__(self, reading: int, writing: int):
        self.reading, self.writing = reading, writing

    def read(self, n: int) -> bytes:
        parts = []
        while n:
            part = os.read(self.reading, min(n, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.writing, view) :]


@contextmanager
def undisturbed() -> Iterator[None]:
    """A frame is written and read whole: the time limit waits until then."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """Answers the judge until it closes the pipe."""

    def __init__(self, stream: Stream, runner: "Runner", layers: Layers):
        self.stream, self.runner, self.layers = stream, runner, layers
        self.objects: list[Any] = []
        self.left = 0.0  # of the time for the exercise, after the last call

    def serve(self) -> None:
        while True:
            try:
                request = wire.decode(self.stream.read, self.resolve)
            except EOFError:
                return
            try:
                reply = self.answer(request)
            except StudentError as error:
                reply = {"error": [error.kind, str(error), error.raised]}
            self.stream.write(self.frame({"id": request["id"], "left": self.left, **reply}, request))

    def frame(self, reply: dict[str, Any], request: dict[str, Any]) -> bytes:
        """A reply that can be sent, whatever the student's function gave back."""
        keeper = Here({}, objects=self.objects)
        try:
            return wire.encode(reply, keeper.refer)
        except Exception as error:  # an object may fight being looked at
            why = str(error) if isinstance(error, wire.WireError) else f"looking at it raised {type(error).__name__}"
            message = f"Your `{request.get('name', 'notebook')}` returned what cannot be graded: {why}."
            return wire.encode({"id": request["id"], "left": self.left, "error": ["reply", message, ""]})

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "open":
            inside.furnish(request["library"])
            inside.refuse_programs(self.runner.shell)
            return {"layers": asdict(self.layers)}
        if request["do"] == "cell":
            return {"cell": self.runner.run(request["source"], request["seconds"])}
        args, kwargs = tuple(request["args"]), request["kwargs"]
        parts = editable((args, kwargs))
        before = [kept(part) for part in parts]
        backend = Here(
            self.runner.namespace,
            request["forbidden"],
            request["seconds"],
            objects=self.objects,
            repeats=False,
        )
        target = Target(request["name"], request["handle"], request["method"])
        operations.seed(request["asked"])
        try:
            value = backend.perform(request["do"], target, args, kwargs)
        finally:
            self.left = backend.seconds
        edited = {i: now for i, (was, now) in enumerate(zip(before, parts, strict=True)) if not same(was, now)}
        return {"value": value, "edited": edited}

    def resolve(self, tag: str, items: list[Any]) -> Any:
        """What the judge sent that is no data: an object of ours by its number, a function of its own, a generator."""
        if tag == "object":
            return self.objects[items[0]]
        if tag == "function":
            return self.function(*items)
        return parcels.unpack(tag, items)

    def function(self, number: int, name: str) -> Callable[..., Any]:
        """A function that lives with the judge. To call it is to ask back."""

        def ask(*args: Any, **kwargs: Any) -> Any:
            question = {"back": number, "args": [_detached(a) for a in args], "kwargs": kwargs}
            frame = wire.encode(question, Here({}, objects=self.objects).refer)
            with undisturbed():
                self.stream.write(frame)
                reply = wire.decode(self.stream.read, self.resolve)
            if "raise" in reply:
                raise _again(*reply["raise"])
            return reply["value"]

        ask.__name__ = ask.__qualname__ = name
        return ask


def _again(name: str, words: str) -> Exception:
    """What a function of the judge's raised: of the type that Python has by this name, or of one named so."""
    known = getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        with suppress(TypeError):  # some want more than words
            return known(words)
    return type(name, (RuntimeError,), {})(words)


def _detached(value: Any) -> Any:
    return value.detach() if is_tensor(value) else value


class Printed(io.TextIOBase):
    """Keeps the beginning of what is printed, and lets the rest go."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.left = MAX_TEXT

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.left > 0:
            self.parts.append(str(text[: self.left]))
            self.left -= len(self.parts[-1])
            if self.left <= 0:
                self.parts.append("\n… the rest of what this cell printed is left out.\n")
        return len(text)

    def isatty(self) -> bool:
        return False


class Runner:
    """Runs cells in IPython's shell, for its magics and rich output."""

    def __init__(self) -> None:
        from IPython.core.displayhook import CapturingDisplayHook
        from IPython.core.displaypub import CapturingDisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        settings = Config(
            {"HistoryManager": {"enabled": False}, "InteractiveShell": {"xmode": "Plain", "colors": "nocolor"}}
        )
        self.shell = InteractiveShell.instance(config=settings)
        self.namespace: dict[str, Any] = self.shell.user_ns
        self.outputs: list[Any] = []
        publisher = CapturingDisplayPublisher()
        publisher.outputs = self.outputs
        self.shell.display_pub = publisher
        self.shell.display_trap.hook = CapturingDisplayHook(shell=self.shell, outputs=self.outputs)
        formatter = self.shell.display_formatter
        assert formatter is not None
        formatter.active_types = list(SHOWN)

    def reseed(self) -> None:
        """Every submission starts from the same random numbers, whichever ran before."""
        operations.seed(0)

    def run(self, source: str, seconds: float) -> dict[str, Any]:
        """One cell: what it printed, drew and raised."""
        failure, printed = "", Printed()
        self.outputs.clear()
        sys.stdout = sys.stderr = printed
        try:
            with time_limit(seconds):
                result = self.shell.run_cell(source, store_history=False, silent=False)
            error = result.error_before_exec or result.error_in_exec
            if error is not None:
                failure = str(explain(error, "cell")) if isinstance(error, Exception) else type(error).__name__
            with time_limit(seconds):
                pictures = self._figures()
        except TimeUp:
            failure, pictures = f"This cell was still running after {seconds:.0f} s and was stopped.", []
        except BaseException as error:  # raised by something that the student hung into the shell
            failure, pictures = f"This cell ended with {type(error).__name__}.", []
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        shown = [self._shown(output) for output in self.outputs[:MAX_OUTPUTS]]
        return {"text": "".join(printed.parts), "outputs": [s for s in shown if s] + pictures, "failure": failure}

    @staticmethod
    def _shown(output: Any) -> dict[str, str]:
        data = output.get("data", {}) if isinstance(output, dict) else {}
        kept = {}
        for kind in SHOWN:
            value = data.get(kind)
            if isinstance(value, bytes):
                value = base64.b64encode(value).decode()
            if isinstance(value, str) and len(value) <= MAX_PICTURE:
                kept[kind] = value if kind == "image/png" else value[:MAX_TEXT]
        return kept

    @staticmethod
    def _figures() -> list[dict[str, str]]:
        """Figures that the cell left open, as the inline backend would have shown them."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None or not pyplot.get_fignums():
            return []
        pictures = []
        for number in pyplot.get_fignums()[:MAX_FIGURES]:
            buffer = io.BytesIO()
            pyplot.figure(number).savefig(buffer, format="png", dpi=72)
            picture = base64.b64encode(buffer.getvalue()).decode()
            if len(picture) <= MAX_PICTURE:
                pictures.append({"image/png": picture, "text/plain": "a figure"})
        pyplot.close("all")
        return pictures


def warm_up() -> Runner:
    """Import what notebooks import, and run what loads more when it first runs. All that follows is fast."""
    import matplotlib
    import torch
    import torch.testing

    matplotlib.use("agg")
    from matplotlib import pyplot

    torch.set_num_threads(1)
    runner = Runner()
    torch.testing.assert_close(torch.ones(2), torch.ones(2))
    layer = torch.nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    pyplot.plot([0, 1])
    runner.run("raise ValueError('the first traceback loads what shows tracebacks')", 60)
    runner.run("1 + 1", 60)
    runner.namespace.pop("_", None)
    return runner


def leave_standard_streams() -> None:
    """Standard input is empty, standard output leads nowhere: the pipe to the judge is no student's to write to."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    sys.stdin = io.StringIO()
