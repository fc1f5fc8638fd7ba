"""An exercise, declared once: its checks, the misconceptions they must catch, and right answers written differently.

    softmax = Exercise("softmax", chapter=1, reference=attnlab.softmax.softmax)

    @softmax.check(points=1)
    def test_rows_sum_to_one(student, rng):
        \"""Along the axis, the numbers sum to one.\"""
        ...

    @softmax.misconception(caught_by=test_rows_sum_to_one)
    def forgets_to_divide(x, axis=-1):
        \"""This is what comes out when the exponentials are never divided by their sum.\"""
        ...

A check is an ordinary pytest test over two fixtures, ``student`` and ``rng``; its docstring is the law as the student
reads it. From the declaration come the graded cell of the notebook, ``check(softmax)``, ``pytest --submission``,
nbgrader's points and the mutation suite.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
Inputs = tuple[tuple[Any, ...], dict[str, Any]]


class DeclarationError(Exception):
    """An exercise is declared wrongly. The message names the file and the line."""


def where(function: Callable[..., Any]) -> str:
    """``file:line`` of a function, for an error message."""
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def paragraph(function: Callable[..., Any]) -> str:
    """A docstring as one paragraph."""
    return " ".join((function.__doc__ or "").split())


@dataclass(frozen=True)
class Check:
    """One law of an exercise."""

    function: Callable[..., None]
    points: float

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def law(self) -> str:
        return paragraph(self.function)


@dataclass(frozen=True)
class Misconception:
    """A plausible wrong answer, why it is tempting, and the check that must catch it."""

    function: Callable[..., Any]
    caught_by: str

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def explanation(self) -> str:
        return paragraph(self.function)


@dataclass(eq=False)
class Exercise:
    """What a student writes, and everything that is known about it.

    ``name`` is the student's function or class, and nbgrader's ``grade_id``. ``forbidden`` lists dotted names that
    would be the answer itself, such as ``torch.softmax``.
    """

    name: str
    chapter: int
    reference: Callable[..., Any]
    minutes: int = 10
    difficulty: int = 1
    forbidden: Sequence[str] = ()
    checks: list[Check] = field(default_factory=list)
    misconceptions: list[Misconception] = field(default_factory=list)
    alternatives: list[Callable[..., Any]] = field(default_factory=list)
    draw: Callable[[Any], Iterable[Inputs]] | None = None

    def __post_init__(self) -> None:
        frame = sys._getframe(2)  # inspect.stack() would read the source of every caller
        self.declared_at = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    @property
    def points(self) -> float:
        return sum(check.points for check in self.checks)

    @property
    def banned(self) -> tuple[str, ...]:
        """What may not be used: the forbidden names, and the reference itself."""
        own = f"{self.reference.__module__}.{self.reference.__qualname__}"
        return tuple(dict.fromkeys([*self.forbidden, *([own] if own.startswith("attnlab.") else [])]))

    def check(self, points: float = 1) -> Callable[[F], F]:
        """Declare a law. The function must be named ``test_…`` and have a docstring: the student reads it."""

        def declare(function: F) -> F:
            if not function.__name__.startswith("test_") or not function.__doc__:
                raise DeclarationError(f"{where(function)}: a check is named test_… and says its law in a docstring")
            if any(check.name == function.__name__ for check in self.checks):
                raise DeclarationError(f"{where(function)}: {self.name} has two checks named {function.__name__}")
            if points <= 0:
                raise DeclarationError(f"{where(function)}: a check is worth more than {points} points")
            self.checks.append(Check(function, points))
            function.exercise = self  # type: ignore[attr-defined]  # pytest's report finds the exercise again by this
            return function

        return declare

    def misconception(self, caught_by: Callable[..., None]) -> Callable[[F], F]:
        """Declare a wrong answer. Its docstring is what the student is told."""

        def declare(function: F) -> F:
            if not function.__doc__:
                raise DeclarationError(f"{where(function)}: a misconception explains itself in a docstring")
            if all(check.function is not caught_by for check in self.checks):
                raise DeclarationError(
                    f"{where(function)}: {function.__name__} is said to be caught by {caught_by.__name__}, "
                    f"which is no check of {self.name}"
                )
            self.misconceptions.append(Misconception(function, caught_by.__name__))
            return function

        return declare

    def alternative(self, function: F) -> F:
        """Declare a right answer, written in another way than the reference."""
        self.alternatives.append(function)
        return function

    def inputs(self, function: Callable[[Any], Iterable[Inputs]]) -> Callable[[Any], Iterable[Inputs]]:
        """Declare how to draw inputs, ``(args, kwargs)`` each: they tell apart wrong answers that agree elsewhere."""
        self.draw = function
        return function

    def samples(self, rng: Any) -> Iterator[Inputs]:
        yield from self.draw(rng) if self.draw else ()
