"""The judge: runs the checks of an exercise against a student and says what holds, what does not, and why.

It holds the seed and the checks; it never runs a student's line itself, but asks through ``Student``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from autograder import library, static
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
    certain: bool = True  # the diagnosis explains every call, not only the first law that fell
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


def shortcuts_in(sources: Sequence[str], exercise: Exercise, chapter: int = 0) -> list[static.Use]:
    """Where the answer uses what the exercise forbids."""
    closed = [name for name, text in library.open_to(chapter).items() if text is None] if chapter else ()
    return static.uses(sources, exercise.name, exercise.banned, closed) if sources else []


def judge(
    exercise: Exercise, backend: Backend, seed: int = VISIBLE_SEED, sources: Sequence[str] = (), chapter: int = 0
) -> Verdict:
    """Every law of the exercise, and the misconception that explains the failures, if one does.

    ``sources`` are the cells, where they are known: what is forbidden is found in them, and then no law holds. With a
    ``chapter`` the modules of ``attnlab`` that are closed to it are forbidden as well.
    """
    if found := shortcuts_in(sources, exercise, chapter):
        why = found[0].sentence(exercise.name)
        return Verdict(exercise, [LawResult(check, "fail", what=why) for check in exercise.checks])
    laws, calls = [], {}
    for check in exercise.checks:
        result, calls[check.name] = run_check(check, exercise, backend, seed)
        laws.append(result)
    verdict = Verdict(exercise, laws, calls=calls)
    if not verdict.passed and not verdict.todo:
        failed = [law.check.name for law in laws if law.status == "fail"]
        verdict.diagnosis, verdict.certain = diagnose(exercise, calls, failed, backend, seed)
    return verdict
