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
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from autograder import shortcuts
from autograder.exercise import Exercise
from autograder.expect import as_numpy, named, number
from autograder.limits import TimeUp, time_limit

HERE = str(Path(__file__).resolve().parent)
Kind = Literal["missing", "todo", "raised", "time", "shortcut", "crashed", "reply"]


class StudentError(Exception):
    """The student's code gave no answer. The message is one sentence or two, for the student."""

    def __init__(self, kind: Kind, message: str, raised: str = ""):
        super().__init__(message)
        self.kind = kind
        self.raised = raised  # the type of the exception, where there was one


class Backend(Protocol):
    """Runs a student's function. Arrays in ``args`` that the function edits are edited here too."""

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...


@dataclass
class Call:
    """One call of a student's function: the arguments as they were, and what came of it."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    parameters: tuple[str, ...] = ()
    after: tuple[Any, ...] = ()
    value: Any = None
    error: StudentError | None = None

    def __str__(self) -> str:
        """``softmax(x, axis=1) with x an array of shape (3, 5), float64``, with its values where they are few."""
        shown, described = [], []
        for position, value in enumerate(self.args):
            array = as_numpy(value)
            if array is None or array.ndim == 0:
                shown.append(brief(value))
            else:
                letter = self.parameters[position] if position < len(self.parameters) else f"x{position}"
                shown.append(letter)
                described.append(f"{letter} = {brief(value)}")
        shown += [f"{key}={brief(value)}" for key, value in self.kwargs.items()]
        return f"{self.name}({', '.join(shown)})" + (f" with {', '.join(described)}" if described else "")


def brief(value: Any) -> str:
    """A value in a few characters: a short array with its numbers, a long one with its shape."""
    array = as_numpy(value)
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
class Student:
    """The ``student`` fixture. Every attribute is a function of the student's."""

    backend: Backend
    parameters: tuple[str, ...] = ()  # what the reference calls its arguments, to speak of them
    calls: list[Call] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            record = Call(name, copy.deepcopy(args), copy.deepcopy(kwargs), self.parameters)
            self.calls.append(record)
            try:
                record.value = self.backend.call(name, args, kwargs)
            except StudentError as error:
                record.error = error
                raise
            finally:
                record.after = copy.deepcopy(args)
            return record.value

        return call


@dataclass
class Here:
    """Student functions of this process, each call under the time limit that is left for the exercise."""

    namespace: Mapping[str, Any]
    forbidden: Sequence[str] = ()
    seconds: float = 10.0
    printed: io.StringIO = field(default_factory=io.StringIO)

    @classmethod
    def ours(cls, exercise: Exercise, function: Callable[..., Any]) -> "Here":
        """A function of our own in the student's place: a misconception, an alternative, the reference."""
        return cls({exercise.name: function})

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        function = self.namespace.get(name)
        if function is None:
            raise StudentError("missing", f"There is no `{name}` yet: run the cell that defines it, then check again.")
        if not callable(function):
            raise StudentError("missing", f"`{name}` is {named(function)}; a function of that name was expected.")
        if shortcut := shortcuts.is_forbidden(function, self.forbidden):
            raise StudentError("shortcut", f"`{name}` is `{shortcut}` itself: write it without that.")
        if self.seconds <= 0:
            raise StudentError("time", "Not tried: the time for this exercise was used up before.")
        own = getattr(function, "__globals__", {})
        started = time.perf_counter()
        try:
            with self._calm(), shortcuts.forbidden(self.forbidden, own, name), time_limit(self.seconds):
                return function(*args, **kwargs)
        except TimeUp:
            raise StudentError(
                "time", f"Your `{name}` was still running after {self.seconds:.0f} s. Does a loop never end?"
            ) from None
        except Exception as error:
            raise explain(error, name) from None
        except SystemExit:
            raise StudentError("raised", f"Your `{name}` leaves Python instead of returning.", "SystemExit") from None
        finally:
            self.seconds -= time.perf_counter() - started

    @contextlib.contextmanager
    def _calm(self) -> Iterator[None]:
        """Warnings and prints belong to the student, not into a grade: the prints are kept, to be shown folded."""
        with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(self.printed):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(self.printed):
                yield


def explain(error: Exception, name: str) -> StudentError:
    """A student's exception in one sentence: its type, its words, and the line of the student's that it came from."""
    if isinstance(error, NotImplementedError):
        return StudentError("todo", "Not written yet: put your code where `raise NotImplementedError()` stands.")
    if isinstance(error, shortcuts.Shortcut):
        return StudentError("shortcut", str(error))
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
