"""What a check sees of a student: ``student.softmax(x, axis=1)``, wherever that code runs.

A ``Student`` records every call, with what came back, for the diagnosis. Behind it stands a backend: ``Here`` calls
functions of this process (the learner's kernel, our own misconceptions); the sandbox calls across a pipe.
"""

import contextlib
import copy
import inspect
import io
import linecache
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from autograder import operations, props, shortcuts, wire
from autograder.edits import edits, held, kept, put_back
from autograder.exercise import Exercise
from autograder.expect import as_numpy, is_tensor, named, number
from autograder.limits import Stopwatch, TimeUp, time_limit

HERE = str(Path(__file__).resolve().parent)
Kind = Literal["missing", "todo", "raised", "time", "shortcut", "crashed", "reply", "lost"]


class StudentError(Exception):
    """The student's code gave no answer. The message is one sentence or two, for the student."""

    def __init__(self, kind: Kind, message: str, raised: str = ""):
        super().__init__(message)
        self.kind = kind
        self.raised = raised  # the type of the exception, where there was one


@dataclass(frozen=True)
class Target:
    """What a question is about: a name in the student's notebook, or an object it gave us; and perhaps its method."""

    name: str
    handle: int | None = None
    method: str = ""


class Backend(Protocol):
    """Puts a question to the student's code. Arrays that it edits are edited here too.

    The operations are those of ``autograder.operations``. An object that is no data comes back as a ``Reference``.
    """

    asked: int  # questions put so far; global generators of random numbers are seeded with it

    def ask(self, operation: str, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Reference:
    """An object of the student's that stays where it is: a number to ask for it, and the name of its type."""

    number: int
    type_name: str


@dataclass
class Call:
    """One call of a student's function: the arguments as they were, and what came of it."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    parameters: tuple[str, ...] = ()
    after: tuple[Any, ...] = ()  # all arguments, as the call left them
    value: Any = None
    error: StudentError | None = None

    def edits(self) -> Iterator[tuple[str, Any, Any]]:
        """What the call changed of its arguments: the name of each, what it was, what it was afterwards."""
        names = [self._letter(position) for position in range(len(self.args))]
        before = (*self.args, *self.kwargs.values())
        for name, was, now in zip([*names, *self.kwargs], before, self.after, strict=True):
            yield from edits(name, was, now)

    def _letter(self, position: int) -> str:
        return self.parameters[position] if position < len(self.parameters) else f"x{position}"

    def __str__(self) -> str:
        """``softmax(x, axis=1) with x an array of shape (3, 5), float64``, with its values where they are few."""
        shown, described = [], []
        for position, value in enumerate(self.args):
            array = as_numpy(value)
            if array is None or array.ndim == 0:
                shown.append(brief(value))
            else:
                letter = self._letter(position)
                shown.append(letter)
                described.append(f"{letter} = {brief(value)}")
        shown += [f"{key}={brief(value)}" for key, value in self.kwargs.items()]
        return f"{self.name}({', '.join(shown)})" + (f" with {', '.join(described)}" if described else "")


def brief(value: Any) -> str:
    """A value in a few characters: a short array with its numbers, a long one with its shape."""
    array = as_numpy(value)
    if isinstance(value, np.random.Generator):
        return "rng"
    if array is None:
        text = repr(value)
        return text if len(text) < 40 else named(value)
    if array.ndim == 0:
        return number(array[()])
    if array.size <= 6 and array.ndim == 1:
        kind = "" if array.dtype == np.float64 or array.dtype.kind in "ib" else f" in {array.dtype}"
        return f"[{', '.join(number(v) for v in array)}]{kind}"
    return f"{named(value)}, {array.dtype}"


def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's arguments."""
    return tuple(inspect.signature(function).parameters)


@dataclass
class Gradients:
    """What came of a differentiated call. A gradient is None where none flows."""

    value: Any
    inputs: tuple[Any, ...]
    keywords: dict[str, Any]
    parameters: dict[str, Any]


@dataclass
class Student:
    """The ``student`` fixture. Every attribute is a function or a class of the student's."""

    backend: Backend
    parameters: tuple[str, ...] = ()  # what the reference calls its arguments, to speak of them
    calls: list[Call] = field(default_factory=list)

    def __getattr__(self, name: str) -> "Remote":
        if name.startswith("__"):
            raise AttributeError(name)
        return Remote(self, Target(name), name)

    def prop(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Make one of ``autograder.props`` where the student's code runs; a handle of it."""
        return Remote(self, Target(props.PREFIX + name), name)(*args, **kwargs)

    def _ask(self, operation: str, target: Target, label: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        names = self.parameters if target.handle is None else tuple("xyzuvw")
        if operation != "call":
            label, names = f"{label}.{operation}", ("cotangent", *names)
        record = Call(label, kept(args), kept(kwargs), names)
        as_they_were = held((args, kwargs))
        self.calls.append(record)
        try:
            record.value = self._handled(self.backend.ask(operation, target, args, kwargs), record)
        except StudentError as error:
            record.error = error
            raise
        finally:
            record.after = kept((*args, *kwargs.values()))
            put_back(as_they_were)
        return record.value

    def _handled(self, value: Any, record: Call) -> Any:
        """References in a value as handles, which can be asked further."""
        if isinstance(value, Reference):
            return Handle(self, Target(record.name, value.number), str(record), value.type_name)
        if isinstance(value, list | tuple):
            return type(value)(self._handled(item, record) for item in value)
        if isinstance(value, dict):
            return {key: self._handled(item, record) for key, item in value.items()}
        return value


class Remote:
    """Something of the student's that can be called: ``student.softmax``, or a method of an object."""

    def __init__(self, student: Student, target: Target, label: str):
        self._student, self._target, self._label = student, target, label

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("call", args, kwargs)

    def gradients(self, *args: Any, cotangent: Any = None, **kwargs: Any) -> Gradients:
        """Call it, and differentiate ``Σ cotangent · result`` by every floating tensor that goes in.

        By every parameter, too, where it is a module. Without ``cotangent`` the result must be a single number.
        """
        came = self._ask("gradients", (cotangent, *args), kwargs)
        if not isinstance(came, dict) or came.keys() != {"value", "inputs", "keywords", "parameters"}:
            raise StudentError("reply", f"Your `{self._label}` gave no gradients that can be read.")
        return Gradients(**came)

    def peak_bytes(self, *args: Any, **kwargs: Any) -> int:
        """Call it; the most memory that its arrays and tensors took at one time.

        It is measured in the student's process, so it is for a law about memory, not for a secret.
        """
        return int(self._ask("peak_bytes", args, kwargs))

    def _ask(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._student._ask(operation, self._target, self._label, args, kwargs)


class Handle(Remote):
    """An object of the student's, where it is: ``m = student.MultiHeadAttention(12, 3)``.

    ``m(x)`` calls it, ``m.weights(x)`` any method; ``m.parameters()`` are what it learns, by name,
    ``m.load({...})`` sets them, ``m.attribute("num_heads")`` is what an attribute holds.
    """

    def __init__(self, student: Student, target: Target, label: str, type_name: str):
        super().__init__(student, target, label)
        self.type_name = type_name

    type_name: str = "object"

    @property
    def number(self) -> int:
        return self._target.handle if self._target.handle is not None else -1

    def parameters(self) -> dict[str, Any]:
        return self._ask("parameters", (), {})

    def load(self, values: Mapping[str, Any]) -> None:
        """Set parameters and buffers by name; arrays and tensors alike. Others keep their values."""
        self._ask("load", (dict(values),), {})

    def attribute(self, name: str) -> Any:
        return self._ask("attribute", (name,), {})

    def __getattr__(self, name: str) -> Remote:
        if name.startswith("__"):
            raise AttributeError(name)
        target = Target(self._target.name, self._target.handle, name)
        return Remote(self._student, target, f"{self._label}.{name}")

    def __deepcopy__(self, memo: Any) -> "Handle":
        return self

    def __repr__(self) -> str:
        return self._label


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Python's and NumPy's are neither shown nor raised, whatever the kernel or the tests have set."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@dataclass
class Here:
    """Student functions of this process, each call under the time limit that is left for the exercise."""

    namespace: Mapping[str, Any]
    forbidden: Sequence[str] = ()
    seconds: float = 10.0
    printed: io.StringIO = field(default_factory=io.StringIO)
    objects: list[Any] = field(default_factory=list)
    asked: int = 0
    repeats: bool = True  # seed the global generators for each call, and put them back afterwards

    @classmethod
    def ours(cls, exercise: Exercise, function: Callable[..., Any]) -> "Here":
        """A function of our own in the student's place: a misconception, an alternative, the reference."""
        return cls({exercise.name: function})

    def ask(self, operation: str, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = self.perform(operation, target, self._objects_in(args), self._objects_in(kwargs))
        try:
            return wire.through(value, self.refer, lambda tag, items: Reference(*items))
        except wire.WireError as error:
            raise StudentError("reply", f"Your `{target.name}` returned what cannot be graded: {error}.") from None

    def refer(self, value: Any) -> list[Any] | None:
        """Keep an object that is no data, and give its number and type."""
        if isinstance(value, wire.DATA) or is_tensor(value):
            return None
        self.objects.append(value)
        return ["reference", len(self.objects) - 1, type(value).__name__]

    def _objects_in(self, value: Any) -> Any:
        """Handles as the objects they stand for; a generator of random numbers as a copy, so that ours stays put."""
        if isinstance(value, Handle):
            return self.objects[value.number]
        if isinstance(value, np.random.Generator):
            return copy.deepcopy(value)
        if isinstance(value, list | tuple):
            items = [self._objects_in(item) for item in value]
            changed = any(new is not old for new, old in zip(items, value, strict=True))
            return type(value)(items) if changed else value  # the very list, so that edits of it show
        if isinstance(value, dict):
            return {key: self._objects_in(item) for key, item in value.items()}
        return value

    def find(self, target: Target) -> Any:
        """The object that a question is about."""
        name = target.name
        if name.startswith(props.PREFIX) and target.handle is None:
            return props.PROPS[name.removeprefix(props.PREFIX)]
        found = self.namespace.get(name) if target.handle is None else self.objects[target.handle]
        if found is None:
            raise StudentError("missing", f"There is no `{name}` yet: run the cell that defines it, then check again.")
        if target.method:
            try:
                return getattr(found, target.method)
            except AttributeError:
                raise StudentError(
                    "missing", f"Your `{type(found).__name__}` has no `{target.method}`; the exercise asks for one."
                ) from None
        if target.handle is None and not callable(found):
            raise StudentError("missing", f"`{name}` is {named(found)}; a function of that name was expected.")
        if shortcut := shortcuts.is_forbidden(found, self.forbidden):
            raise StudentError("shortcut", f"`{name}` is `{shortcut}` itself: write it without that.")
        return found

    def perform(self, operation: str, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do it, with the student's own objects in and out. ``StudentError`` where it gives no answer."""
        name = target.method or target.name
        function = self.find(target)
        if self.seconds <= 0:
            raise StudentError("time", "Not tried: the time for this exercise was used up before.")
        own = getattr(function, "__globals__", {})
        self.asked += 1
        watch = Stopwatch()
        try:
            with (
                self._calm(),
                operations.repeatable(self.asked) if self.repeats else contextlib.nullcontext(),
                shortcuts.forbidden(self.forbidden, own, name),
                time_limit(self.seconds, watch.spent),
            ):
                return operations.OPERATIONS[operation](function, args, kwargs)
        except TimeUp:
            raise StudentError(
                "time", f"Your `{name}` was still running after {self.seconds:.0f} s. Does a loop never end?"
            ) from None
        except Exception as error:
            raise explain(error, name) from None
        except SystemExit:
            raise StudentError("raised", f"Your `{name}` leaves Python instead of returning.", "SystemExit") from None
        finally:
            self.seconds -= watch.spent()

    @contextlib.contextmanager
    def _calm(self) -> Iterator[None]:
        """Warnings and prints belong to the student, not into a grade: the prints are kept, to be shown folded."""
        with without_warnings(), contextlib.redirect_stdout(self.printed), contextlib.redirect_stderr(self.printed):
            yield


def explain(error: Exception, name: str) -> StudentError:
    """A student's exception in one sentence: its type, its words, and the line of the student's that it came from."""
    if isinstance(error, NotImplementedError):
        return StudentError("todo", "Not written yet: put your code where `raise NotImplementedError()` stands.")
    if isinstance(error, shortcuts.Shortcut):
        return StudentError("shortcut", str(error))
    if isinstance(error, operations.Impossible):
        return StudentError("raised", str(error).replace("{name}", name), "Impossible")
    kind = type(error).__name__
    words = " ".join(str(error).split())
    sentence = f"Your `{name}` raised {kind}" + (f": {words[:300]}" if words else "")
    line = _student_line(error)
    return StudentError("raised", f"{sentence}{line}" + ("" if (sentence + line).endswith(".") else "."), kind)


def _student_line(error: Exception) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((HERE, sys.prefix, sys.base_prefix)) and "site-packages" not in frame.filename
    ]
    if not frames:
        return ""
    source = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    return f", in line {frames[-1].lineno}" + (f", `{source}`" if source else "")
