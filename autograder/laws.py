"""One law, run against one student."""

import logging
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from autograder.exercise import Check, Exercise
from autograder.expect import CheckFailure, named
from autograder.student import Backend, Call, Student, StudentError, parameters_of, without_warnings

Status = Literal["pass", "fail", "todo", "untried"]


@dataclass
class LawResult:
    """What came of one law: ``what`` and ``cause`` for the student; ``got``, ``want``, ``index`` for the picture."""

    check: Check
    status: Status
    tried: str = ""
    what: str = ""
    cause: str = ""
    got: Any = None
    want: Any = None
    index: tuple[int, ...] = ()

    @property
    def points(self) -> float:
        return self.check.points if self.status == "pass" else 0.0


def generator(seed: int, exercise: Exercise, purpose: str) -> np.random.Generator:
    """The random numbers of one law: the same for everyone graded with this seed, whatever ran before."""
    return np.random.default_rng([seed, zlib.crc32(f"{exercise.name}/{purpose}".encode())])


@contextmanager
def _recording_as_before() -> Iterator[None]:
    """What a student's code turned off for good, gradients, is on again for the next law."""
    torch = sys.modules.get("torch")
    was = torch is None or torch.is_grad_enabled()
    try:
        yield
    finally:
        if torch is not None:
            torch.set_grad_enabled(was)


def run_check(check: Check, exercise: Exercise, backend: Backend, seed: int) -> tuple[LawResult, list[Call]]:
    """One law, against one student."""
    backend.asked = 0  # a law gives the same result alone and after others
    student = Student(backend, parameters_of(exercise.reference))
    try:
        with _recording_as_before(), without_warnings():  # what the check itself computes may overflow, too
            check.function(student, generator(seed, exercise, check.name))
        result = LawResult(check, "pass")
    except CheckFailure as failure:
        result = LawResult(
            check,
            "fail",
            what=failure.what,
            cause=failure.cause,
            got=failure.got,
            want=failure.want,
            index=failure.index,
            tried=failure.tried,
        )
    except StudentError as error:
        untried = error.kind == "time" and str(error).startswith("Not tried")
        status: Status = "todo" if error.kind == "todo" else "untried" if untried else "fail"
        result = LawResult(check, status, what=str(error))
    except Exception:  # the check was given something it could not even look at
        logging.getLogger(__name__).info("%s, law %r stopped:", exercise.name, check.name, exc_info=True)
        came = named(student.calls[-1].value) if student.calls else "nothing"
        result = LawResult(check, "fail", what=f"Your function returned {came}, which this check cannot use.")
    if result.status == "fail" and student.calls and not result.tried:
        result.tried = str(student.calls[-1])
    return result, student.calls
