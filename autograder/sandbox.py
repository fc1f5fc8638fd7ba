"""A process of its own for a submission. The judge asks, it answers; it never sees a check, a seed or a gradebook."""

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from autograder import host, library, parcels, wire
from autograder.edits import editable, write
from autograder.exercise import Exercise
from autograder.isolation import Layers, Limits
from autograder.limits import PATIENCE, cost
from autograder.student import Handle, Reference, StudentError, Target

GRACE = 3.0  # the process ends a call itself; where it does not, it is killed so much later
MAX_DEATHS = 3  # cells that end their process are left out when it is started anew, up to this many
MAX_BACK = 20_000  # questions of one call to functions that we passed in
Cell = dict[str, Any]


class Sandbox:
    """Runs the cells of a submission once, then answers questions about its functions.

    A cell or a call that kills or blocks the process costs itself; for the next question the other cells run again,
    in a new process. ``chapter`` says how much of ``attnlab`` is open.
    """

    def __init__(
        self,
        sources: Sequence[str],
        chapter: int,
        where: host.Host | None = None,
        limits: Limits | None = None,
    ):
        self.sources = list(sources)
        self.chapter = chapter
        self.host = where or host.shared()
        self.limits = limits or Limits()
        self.layers = Layers()
        self.cells: list[Cell] = []  # what each cell printed, drew and raised
        self.generation = 0
        self._child: host.Child | None = None
        self._left_out: dict[int, str] = {}
        self._seconds = self.limits.notebook_seconds
        self._question = 0
        self.left: Any = None  # of the time for an exercise, as the process says it; it may lie

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def run(self) -> list[Cell]:
        """Run the cells, if that has not been done. What came of each."""
        while self._child is None:
            if len(self._left_out) >= MAX_DEATHS:
                raise StudentError("crashed", f"{MAX_DEATHS} cells of the notebook end the Python process they run in.")
            self._run_cells()
        return self.cells

    def _run_cells(self) -> None:
        self.generation += 1
        try:
            self._child = self.host.start()
        except host.Gone:
            self.host = host.restarted()
            self._child = self.host.start()
        opened = self._exchange({"do": "open", "library": library.open_to(self.chapter)}, 60, "The notebook")
        self.layers = Layers(**opened["layers"])
        cells: list[Cell] = []
        for position, source in enumerate(self.sources):
            if not source.strip():
                cells.append(_cell())
                continue
            if position in self._left_out:
                cells.append(_cell(self._left_out[position]))
                continue
            seconds = min(self.limits.cell_seconds, self._seconds)
            if seconds <= 0:
                cells.append(_cell("Not run: the time for all cells was used up before."))
                continue
            started = time.monotonic()
            try:
                reply = self._exchange(
                    {"do": "cell", "source": source, "seconds": seconds}, seconds + GRACE, "This cell"
                )
                cells.append(_read_cell(reply.get("cell")))
            except StudentError as error:
                self._left_out[position] = str(error)
                return
            finally:
                self._seconds -= time.monotonic() - started
        self.cells = cells

    def ask(
        self,
        operation: str,
        target: Target,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        forbidden: Sequence[str],
        seconds: float,
        asked: int,
    ) -> Any:
        """Put a question to the submission. ``StudentError`` where it gives no answer."""
        self.run()
        handle = None if target.handle is None else self.number(target.handle, target.name)
        request = {
            "do": operation,
            "name": target.name,
            "handle": handle,
            "method": target.method,
            "args": list(args),
            "kwargs": kwargs,
            "forbidden": list(forbidden),
            "seconds": seconds,
            "asked": asked,
        }
        reply = self._exchange(request, seconds * PATIENCE + GRACE, f"Your `{target.name}`")
        parts = editable((args, kwargs))
        edited = reply.get("edited")
        for position, after in edited.items() if isinstance(edited, dict) else ():
            _edit(parts, position, after)
        return reply.get("value")

    def number(self, handle: int, name: str) -> int:
        """The number by which the process knows an object; a process that ended has taken its objects along."""
        generation, number = divmod(handle, 1 << 32)
        if generation != self.generation:
            raise StudentError(
                "lost", f"Your `{name}` is gone: a later call ended the Python process that it lived in."
            )
        return number

    def _exchange(self, request: dict[str, Any], limit: float, who: str) -> dict[str, Any]:
        """One question, one answer. Whatever else comes costs the submission its process, never the judge."""
        child = self._child
        assert child is not None
        self._question += 1
        functions: list[Callable[..., Any]] = []
        self.left = None
        deadline = time.monotonic() + limit

        def refer(value: Any) -> list[Any] | None:
            if isinstance(value, Handle):
                return ["object", self.number(value.number, str(value))]
            parcel = parcels.pack(value)
            if parcel is None and callable(value):
                functions.append(value)
                return ["function", len(functions) - 1, getattr(value, "__name__", "function")]
            return parcel

        def read(n: int) -> bytes:
            return child.receive(n, deadline)

        try:
            child.send(wire.encode({**request, "id": self._question}, refer), deadline)
            for _ in range(MAX_BACK):
                reply = wire.decode(read, self._resolve)
                if not isinstance(reply, dict):
                    raise wire.WireError("the reply is not in the agreed form")
                if "back" not in reply:
                    break
                child.send(wire.encode(_answer_back(reply, functions), refer), deadline)
            else:
                raise wire.WireError(f"it called a function that was passed in more than {MAX_BACK} times")
            if reply.get("id") != self._question:
                raise wire.WireError("it answers a question that was not asked")
            error = _read_error(reply["error"]) if "error" in reply else None
            self.left = reply.get("left")
        except host.Gone as gone:
            self.close()
            if gone.late:
                raise StudentError("time", f"{who} was still running after {limit - GRACE:.0f} s.") from None
            raise StudentError("crashed", f"{who} ended the Python process it runs in.") from None
        except wire.WireError as lie:
            self.close()
            raise StudentError("reply", f"{who} sent what cannot be graded: {lie}.") from None
        if error is not None:
            raise error
        return reply

    def _resolve(self, tag: str, items: list[Any]) -> Reference:
        number, type_name = items
        if tag != "reference" or type(number) is not int or not 0 <= number < 1 << 32 or type(type_name) is not str:
            raise wire.WireError("the reply is not in the agreed form")
        return Reference(self.generation << 32 | number, type_name[:100])


def _answer_back(question: dict[str, Any], functions: list[Callable[..., Any]]) -> dict[str, Any]:
    """Call a function that a check passed in. What it makes of wrong arguments is told, like any other exception."""
    number, args, kwargs = question.get("back"), question.get("args"), question.get("kwargs")
    if type(number) is not int or not 0 <= number < len(functions):
        raise wire.WireError("it calls a function that was not passed in")
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not all(isinstance(key, str) for key in kwargs):
        raise wire.WireError("the reply is not in the agreed form")
    try:
        return {"value": functions[number](*args, **kwargs)}
    except Exception as error:
        return {"raise": [type(error).__name__, " ".join(str(error).split())[:300]]}


def _cell(failure: str = "") -> Cell:
    return {"text": "", "outputs": [], "failure": failure}


def _read_cell(came: Any) -> Cell:
    """What a process says about a cell, in the form that we know; anything else is dropped."""
    if not isinstance(came, dict):
        return _cell()
    outputs = came.get("outputs") if isinstance(came.get("outputs"), list) else []
    clean = []
    for output in outputs or ():
        text, picture = (
            (output.get("text/plain"), output.get("image/png")) if isinstance(output, dict) else (None, None)
        )
        shown = {"text/plain": text} if isinstance(text, str) else {}
        if isinstance(picture, str) and _is_png(picture):
            shown["image/png"] = picture
        clean.append(shown)
    return {"text": str(came.get("text", "")), "outputs": clean, "failure": str(came.get("failure", ""))}


def _is_png(text: str) -> bool:
    """Whether this is a picture and nothing else: it will stand inside an attribute of a page."""
    try:
        return base64.b64decode(text, validate=True).startswith(b"\x89PNG\r\n\x1a\n")
    except ValueError:
        return False


KINDS = ("missing", "todo", "raised", "time", "shortcut", "reply")


def _read_error(came: Any) -> StudentError:
    if isinstance(came, list) and len(came) == 3 and all(isinstance(part, str) for part in came) and came[0] in KINDS:
        return StudentError(came[0], came[1][:1000], came[2][:100])
    raise wire.WireError("the reply is not in the agreed form")


def _edit(parts: list[Any], position: Any, after: Any) -> None:
    """Write what the student's function did to an argument into ours; what does not fit is no edit of it."""
    if type(position) is not int or not 0 <= position < len(parts) or type(after) is not type(parts[position]):
        return
    part = parts[position]
    if isinstance(part, list):
        part[:] = after
    elif isinstance(part, set):
        part.clear()
        part.update(after)
    elif after.shape == part.shape and after.dtype == part.dtype:
        write(part, after)


@dataclass
class Answers:
    """The answer to one exercise in a sandbox: a backend of ``Student`` with the time that the exercise may take."""

    sandbox: Sandbox
    exercise: Exercise
    seconds: float = field(default=0.0)
    deaths: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        self.seconds = self.seconds or self.sandbox.limits.exercise_seconds

    def ask(self, operation: str, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.deaths > 1 or self.seconds <= 0:
            why = "the time for this exercise was used up" if self.seconds <= 0 else "your code ended its process twice"
            raise StudentError("time", f"Not tried: {why} before.")
        self.sandbox.run()
        self.asked += 1
        seconds, started = self.seconds, time.monotonic()
        try:
            return self.sandbox.ask(operation, target, args, kwargs, self.exercise.banned, self.seconds, self.asked)
        except StudentError as error:
            self.deaths += error.kind in ("crashed", "reply")
            if error.kind == "time":
                self.seconds = 0.0
            raise
        finally:
            # The process knows what it worked. If it lies, it gains as much as if it had slept.
            passed, left = time.monotonic() - started, self.sandbox.left
            self.seconds -= cost(passed, seconds - left if isinstance(left, float) else passed)
