"""The numbers of the report: how many, what share, who."""

import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from autograder import catalogue
from autograder.report.model import Assignment, Outcome, SchoolClass, Work

HELP = 0.5  # who earned less than this share of the points is listed under "Who needs help"
HELP_RULE = (
    "Here is everybody who had handed nothing in when it was due, whose work could not be graded, or who earned less "
    f"than {100 * HELP:.0f}\u2009% of the points of an assignment, before any penalty for being late."
)


@dataclass(frozen=True)
class Head:
    """The first figures of a report."""

    people: int
    expected: int  # one for each person and assignment
    handed_in: int
    graded: int
    broken: int
    waiting: int
    late: int
    points: float
    worth: float

    @property
    def share(self) -> float:
        return self.points / self.worth if self.worth else 0.0


def head(school: SchoolClass) -> Head:
    graded = [work for work in school.works if work.state == "graded"]
    return Head(
        people=len(school.people),
        expected=len(school.people) * len(school.assignments),
        handed_in=sum(work.handed_in for work in school.works),
        graded=len(graded),
        broken=sum(work.state == "broken" for work in school.works),
        waiting=sum(work.state == "waiting" for work in school.works),
        late=sum(work.is_late for work in school.works),
        points=sum(work.points for work in graded),
        worth=sum(work.worth for work in graded),
    )


@dataclass(frozen=True)
class ExerciseFigures:
    """How a class did in one exercise."""

    name: str
    graded: int
    passed: int
    unwritten: int
    mean: float
    of: float
    open: int

    @property
    def rate(self) -> float:
        return self.passed / self.graded if self.graded else 0.0


def exercises(assignment: Assignment, works: Iterable[Work]) -> list[ExerciseFigures]:
    """In the order of the assignment; only what was graded counts."""
    found: dict[str, list[Outcome]] = {name: [] for name in assignment.exercises}
    for work in works:
        if work.state == "graded":
            for outcome in work.outcomes:
                found.setdefault(outcome.exercise, []).append(outcome)
    return [
        ExerciseFigures(
            name,
            len(all_of_it),
            sum(o.passed for o in all_of_it),
            sum(o.unwritten for o in all_of_it),
            sum(o.score for o in all_of_it) / len(all_of_it) if all_of_it else 0.0,
            assignment.exercises.get(name) or (all_of_it[0].of if all_of_it else 0.0),
            sum(o.open for o in all_of_it),
        )
        for name, all_of_it in found.items()
    ]


@dataclass
class Held:
    """A misconception, and who holds it."""

    assignment: str
    exercise: str
    name: str
    explanation: str
    law: str
    code: str
    graded: int
    certain: list[str] = field(default_factory=list)
    perhaps: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.certain) + len(self.perhaps)

    @property
    def share(self) -> float:
        return self.count / self.graded if self.graded else 0.0

    @property
    def title(self) -> str:
        return in_words(self.name)


def in_words(name: str) -> str:
    """``subtracts_the_minimum`` as ``Subtracts the minimum``."""
    return name.replace("_", " ").strip().capitalize()


def misconceptions(school: SchoolClass) -> list[Held]:
    """What the class holds, the most widespread first. The share is of those whose work was graded."""
    found: dict[tuple[str, str, str], Held] = {}
    for work in school.works:
        for outcome in work.outcomes if work.state == "graded" else ():
            if outcome.misconception:
                key = (work.assignment, outcome.exercise, outcome.misconception)
                if key not in found:
                    graded = sum(w.state == "graded" for w in school.of(work.assignment))
                    found[key] = _held(work.assignment, outcome, graded)
                (found[key].certain if outcome.certain else found[key].perhaps).append(work.student)
    return sorted(found.values(), key=lambda held: (-held.share, -held.count, held.exercise, held.name))


def _held(assignment: str, outcome: Outcome, graded: int) -> Held:
    """The explanation as the course has it now; as it was told then, where the course has it no more."""
    broken = outcome.broken
    explanation, law, code = outcome.explanation, broken[0].law if broken else "", ""
    exercise = catalogue.by_name().get(outcome.exercise)
    known = next((m for m in exercise.misconceptions if m.name == outcome.misconception), None) if exercise else None
    if exercise and known:
        explanation = known.explanation
        law = next(check.law for check in exercise.checks if check.name == known.caught_by)
        code = code_of(known.function)
    return Held(assignment, outcome.exercise, outcome.misconception or "", explanation, law, code, graded)


def code_of(function: Callable[..., Any]) -> str:
    """How a misconception is written, without its decorator and its docstring."""
    try:
        lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    except OSError:
        return ""
    start = next((i for i, line in enumerate(lines) if line.startswith(("def ", "class "))), 0)
    text = "\n".join(lines[start:])
    before, found, after = text.partition(f'"""{function.__doc__}"""')
    return before.rstrip() + after if found else text


def unexplained(school: SchoolClass) -> dict[tuple[str, str], list[str]]:
    """Who wrote something that no misconception explains, by assignment and exercise; the most first."""
    found: dict[tuple[str, str], list[str]] = {}
    for work in school.works:
        for outcome in work.outcomes if work.state == "graded" else ():
            if outcome.broken and not outcome.misconception:
                found.setdefault((work.assignment, outcome.exercise), []).append(work.student)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


@dataclass(frozen=True)
class BrokenLaw:
    """A law, and how many broke it of those who wrote something."""

    assignment: str
    exercise: str
    law: str
    broken: int
    tried: int

    @property
    def share(self) -> float:
        return self.broken / self.tried if self.tried else 0.0


def broken_laws(school: SchoolClass, most: int = 12) -> list[BrokenLaw]:
    """The laws that were broken most often."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for work in school.works:
        for outcome in work.outcomes if work.state == "graded" else ():
            for law in outcome.laws:
                if law.status in ("pass", "fail"):
                    found.setdefault((work.assignment, outcome.exercise, law.law), []).append(law.status)
    laws = [BrokenLaw(*key, statuses.count("fail"), len(statuses)) for key, statuses in found.items()]
    return sorted((law for law in laws if law.broken), key=lambda law: (-law.broken, -law.share, law.law))[:most]


@dataclass(frozen=True)
class NeedsHelp:
    """A student, why they are listed, and what to begin with."""

    student: str
    reasons: tuple[str, ...]
    share: float | None
    begin_with: tuple[tuple[str, str], ...]  # exercise and misconception


def needs_help(school: SchoolClass) -> list[NeedsHelp]:
    """By the rule that the page states; the most serious first."""
    due = {assignment.name: assignment.due for assignment in school.assignments}
    found: dict[str, list[tuple[float, str]]] = {}
    for work in school.works:
        deadline = due.get(work.assignment)
        if work.state == "missing" and deadline and deadline < school.made:
            reason = (0.0, f"handed in nothing for {work.assignment}")
        elif work.state == "broken":
            reason = (0.1, f"{work.assignment} could not be graded")
        elif work.state == "graded" and work.worth and work.share < HELP:
            reason = (1 + work.share, f"{work.points + work.penalty:g} of {work.worth:g} points in {work.assignment}")
        else:
            continue
        found.setdefault(work.student, []).append(reason)
    listed = []
    for student, reasons in found.items():
        mine = [work for work in school.by(student) if work.state == "graded"]
        worth = sum(work.worth for work in mine)
        begin = dict.fromkeys((o.exercise, o.misconception) for w in mine for o in w.outcomes if o.misconception)
        listed.append(
            NeedsHelp(
                student,
                tuple(words for _, words in sorted(reasons)),
                sum(work.points + work.penalty for work in mine) / worth if worth else None,
                tuple(begin)[:3],
            )
        )
    return sorted(listed, key=lambda one: (-len(one.reasons), one.share or 0.0, one.student))


@dataclass(frozen=True)
class Bin:
    """How many were handed in from ``start`` on."""

    start: datetime
    count: int
    late: int


WIDTHS = [timedelta(hours=h) for h in (1, 2, 3, 6, 12, 24, 48, 7 * 24, 28 * 24, 364 * 24)]
MOST_BINS = 48


def histogram(works: Sequence[Work], due: datetime | None) -> tuple[list[Bin], timedelta]:
    """When work was handed in: bins that begin at round hours counted from the due date, so none lies across it."""
    moments = sorted((work.at, work.is_late) for work in works if work.at is not None)
    if not moments:
        return [], timedelta()
    first, last = moments[0][0], max(moments[-1][0], due or moments[-1][0])
    anchor = due or first.replace(minute=0, second=0, microsecond=0)
    width = next((w for w in WIDTHS if (last - first) / w < MOST_BINS - 2), None) or (last - first) / (MOST_BINS - 2)
    # The due date itself is in time: bins are open at their start and closed at their end.
    numbers = [math.ceil((moment - anchor) / width) - 1 for moment, _ in moments]
    low, high = min(numbers), max([*numbers, math.ceil((last - anchor) / width) - 1])
    bins = []
    for number in range(low, high + 1):
        inside = [late for n, (_, late) in zip(numbers, moments, strict=True) if n == number]
        bins.append(Bin(anchor + number * width, len(inside), sum(inside)))
    return bins, width
