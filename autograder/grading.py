"""Grade a submission: its code runs in a sandbox, the judge asks it there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autograder.exercise import Exercise
from autograder.isolation import Limits
from autograder.judge import VISIBLE_SEED, Verdict, judge
from autograder.laws import LawResult
from autograder.sandbox import Answers, Sandbox
from autograder.student import StudentError


@dataclass
class Grading:
    """What came of a submission: a verdict for every exercise, and what each of its cells printed, drew and raised."""

    verdicts: list[Verdict]
    cells: list[dict[str, Any]]

    @property
    def points(self) -> float:
        return sum(verdict.points for verdict in self.verdicts)


def grade(
    sources: Sequence[str],
    exercises: Sequence[Exercise],
    seed: int = VISIBLE_SEED,
    limits: Limits | None = None,
) -> Grading:
    """Run the cells and judge the exercises. Never raises for what a student's code does."""
    with Sandbox(sources, min((exercise.chapter for exercise in exercises), default=0), limits=limits) as sandbox:
        try:
            cells = sandbox.run()
        except StudentError as error:
            return Grading([_failed(exercise, str(error)) for exercise in exercises], [])
        verdicts = [judge(e, Answers(sandbox, e), seed, sources, sandbox.chapter) for e in exercises]
        return Grading(verdicts, cells)


def _failed(exercise: Exercise, why: str) -> Verdict:
    return Verdict(exercise, [LawResult(check, "fail", what=why) for check in exercise.checks])
