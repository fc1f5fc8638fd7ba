"""Which misconception gives the very output that the student's function gave?

The misconceptions of the exercise go through the same checks, on the same inputs. One that gives the student's own
output at every call, right or wrong, is the explanation. Where several do, inputs are drawn that separate them.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

from autograder.exercise import Exercise, Misconception
from autograder.expect import same
from autograder.laws import generator, run_check
from autograder.student import Backend, Call, Here, Student, StudentError

Calls = dict[str, list[Call]]


def diagnose(
    exercise: Exercise, calls: Calls, failed: list[str], backend: Backend, seed: int
) -> tuple[Misconception | None, bool]:
    """The misconception behind these calls, and whether it explains them all.

    Where none does, the one that explains the first law that fell, for there may be two mistakes in one answer; that is
    a guess, and False says so.
    """
    for laws, certain in ((list(calls), True), (failed[:1], False)):
        if _explains(exercise, None, calls, laws, seed):
            return None, True  # the outputs are the reference's: no misconception is about what failed
        for alike in (_same_outcome, _same_or_built_alike):
            fitting = [m for m in exercise.misconceptions if _explains(exercise, m, calls, laws, seed, alike)]
            if len(fitting) > 1:
                fitting = _separate(exercise, fitting, backend, seed)
            if fitting:
                return fitting[0], certain
    return None, True


@lru_cache(maxsize=16384)
def _calls_of(exercise: Exercise, misconception: Misconception | None, law: str, seed: int) -> list[Call]:
    """What a misconception (or, for None, the reference) does in one check. The same for a whole class."""
    function = misconception.function if misconception else exercise.reference
    check = next(check for check in exercise.checks if check.name == law)
    return run_check(check, exercise, Here.ours(exercise, function), seed)[1]


def _same_outcome(a: Call, b: Call, right: Call | None = None) -> bool:
    """The same answer (or the same exception), and the arguments left in the same state."""
    if a.error or b.error:
        return bool(a.error and b.error and (a.error.kind, a.error.raised) == (b.error.kind, b.error.raised))
    return same(a.value, b.value) and same(a.after, b.after)


def _same_or_built_alike(a: Call, b: Call, right: Call | None = None) -> bool:
    """The same answer; or two modules with the same parameters, by name and shape, where the right one has others.

    Then that is the mistake. The numbers in them are random, and say only in which order the layers were made.
    """
    return _same_outcome(a, b) or (_shapes(a) is not None and _shapes(a) == _shapes(b) != (right and _shapes(right)))


def _shapes(call: Call) -> dict[str, tuple[int, ...]] | None:
    """The shapes of a module's parameters by name, where the call asked for them."""
    if not call.name.endswith(".parameters") or not isinstance(call.value, dict):
        return None
    return {name: tuple(value.shape) for name, value in call.value.items()}


def _explains(
    exercise: Exercise,
    misconception: Misconception | None,
    calls: Calls,
    laws: list[str],
    seed: int,
    alike: Callable[[Call, Call, Call | None], bool] = _same_outcome,
) -> bool:
    """Whether it gives the student's outcome at every call of these laws; the first that differs settles it."""
    for law in laws:
        theirs, right = _calls_of(exercise, misconception, law, seed), _calls_of(exercise, None, law, seed)
        if len(theirs) != len(calls[law]) or not all(map(alike, theirs, calls[law], chain(right, repeat(None)))):
            return False
    return True


def _separate(exercise: Exercise, fitting: list[Misconception], backend: Backend, seed: int) -> list[Misconception]:
    """Draw inputs until the misconceptions disagree, ask the student there, and keep those who agree with it."""
    for args, kwargs in exercise.samples(generator(seed, exercise, "separate")):
        outcomes = [_ask(Here.ours(exercise, m.function), exercise, args, kwargs) for m in fitting]
        if all(_same_outcome(outcomes[0], other) for other in outcomes[1:]):
            continue
        answer = _ask(backend, exercise, args, kwargs)
        fitting = [m for m, outcome in zip(fitting, outcomes, strict=True) if _same_outcome(outcome, answer)]
        if len(fitting) < 2:
            break
    return fitting


def _ask(backend: Backend, exercise: Exercise, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    backend.asked = 0  # with the same random numbers for everybody
    student = Student(backend)
    with suppress(StudentError):  # the call records it
        getattr(student, exercise.name)(*args, **kwargs)
    return student.calls[-1]
