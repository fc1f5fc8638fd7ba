"""The judge: runs the checks of an exercise against a student and says what holds, what does not, and why.

It holds the seed and the checks; it never runs a student's line itself, but asks through ``Student``.
"""

from dataclasses import dataclass, field

from autograder.diagnosis import diagnose
from autograder.exercise import Exercise, Misconception
from autograder.laws import LawResult, run_check
from autograder.student import Backend, Call

VISIBLE_SEED = 0


@dataclass
class Verdict:
    """What came of one exercise."""

    exercise: Exercise
    laws: list[LawResult]
    diagnosis: Misconception | None = None
    printed: str = ""
    calls: dict[str, list[Call]] = field(default_factory=dict, repr=False)

    @property
    def passed(self) -> bool:
        return all(law.status == "pass" for law in self.laws)

    @property
    def todo(self) -> bool:
        return all(law.status == "todo" for law in self.laws)

    @property
    def points(self) -> float:
        return float(sum(law.points for law in self.laws))


def judge(exercise: Exercise, backend: Backend, seed: int = VISIBLE_SEED) -> Verdict:
    """Every law of the exercise, and the misconception that explains the failures, if one does."""
    laws, calls = [], {}
    for check in exercise.checks:
        result, calls[check.name] = run_check(check, exercise, backend, seed)
        laws.append(result)
    verdict = Verdict(exercise, laws, calls=calls)
    if not verdict.passed and not verdict.todo:
        failed = [law.check.name for law in laws if law.status == "fail"]
        verdict.diagnosis = diagnose(exercise, calls, failed, backend, seed)
    return verdict
