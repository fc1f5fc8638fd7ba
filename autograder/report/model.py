"""What is known about a class: who is in it, what was handed in, what became of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal

State = Literal["graded", "broken", "waiting", "missing"]


@dataclass(frozen=True)
class Person:
    """A student. ``name`` is the id where the gradebook knows no name."""

    id: str
    name: str


@dataclass(frozen=True)
class Law:
    """What came of one law, as ``panel.plain`` says it."""

    check: str
    law: str
    status: str
    points: float
    of: float
    said: tuple[str, ...] = ()
    picture: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of one exercise. ``score`` is what counts: the judge's points, or those that a person gave instead."""

    exercise: str
    score: float
    of: float
    laws: tuple[Law, ...] = ()
    misconception: str | None = None
    explanation: str = ""
    certain: bool = True
    by_hand: bool = False
    open: bool = False  # a person is to look at it

    @property
    def passed(self) -> bool:
        return all(law.status == "pass" for law in self.laws) if self.laws else self.score >= self.of > 0

    @property
    def unwritten(self) -> bool:
        return bool(self.laws) and all(law.status == "todo" for law in self.laws)

    @property
    def broken(self) -> list[Law]:
        return [law for law in self.laws if law.status == "fail"]

    @property
    def held(self) -> int:
        return sum(law.status == "pass" for law in self.laws)


@dataclass(frozen=True)
class Step:
    """One time that a submission was judged."""

    at: datetime
    who: str
    version: str
    before: float | None
    after: float | None
    worth: float
    error: str = ""


@dataclass(frozen=True)
class Work:
    """What one student did for one assignment."""

    student: str
    assignment: str
    state: State
    at: datetime | None = None
    late: timedelta = timedelta()
    penalty: float = 0.0
    points: float = 0.0  # with what was given by hand, and less the penalty
    worth: float = 0.0
    outcomes: tuple[Outcome, ...] = ()
    error: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def is_late(self) -> bool:
        return self.late > timedelta()

    @property
    def handed_in(self) -> bool:
        return self.state != "missing"

    @property
    def share(self) -> float:
        """Of the points that could be earned, before the penalty for being late."""
        return (self.points + self.penalty) / self.worth if self.worth else 0.0


@dataclass(frozen=True)
class Assignment:
    """What was set. ``exercises`` in order, with the points that each is worth."""

    name: str
    title: str
    due: datetime | None
    exercises: Mapping[str, float]

    @property
    def worth(self) -> float:
        return sum(self.exercises.values())


@dataclass(frozen=True)
class Pair:
    """Two students whose answers to an assignment are nearly the same, beyond what the course itself gives."""

    assignment: str
    students: tuple[str, str]
    shares: tuple[float, float]  # of what each wrote that is in the other's, too
    texts: tuple[tuple[tuple[str, bool], ...], ...]  # the lines of each, and whether they are in both


@dataclass(frozen=True)
class SchoolClass:
    """Everything that the report tells."""

    title: str
    made: datetime
    people: Mapping[str, Person]
    assignments: Sequence[Assignment]
    works: Sequence[Work]
    pairs: Sequence[Pair] = ()

    def of(self, assignment: str) -> list[Work]:
        """The works of an assignment."""
        return self._by_assignment.get(assignment, [])

    def by(self, student: str) -> list[Work]:
        """The works of a student."""
        return self._by_student.get(student, [])

    @cached_property
    def _by_assignment(self) -> dict[str, list[Work]]:
        return _grouped(self.works, lambda work: work.assignment)

    @cached_property
    def _by_student(self) -> dict[str, list[Work]]:
        return _grouped(self.works, lambda work: work.student)


def _grouped(works: Iterable[Work], key: Callable[[Work], str]) -> dict[str, list[Work]]:
    found: dict[str, list[Work]] = {}
    for work in works:
        found.setdefault(key(work), []).append(work)
    return found


def outcome(
    verdict: Mapping[str, Any], score: float | None = None, by_hand: bool = False, waits: bool = False
) -> Outcome:
    """From what ``panel.plain`` says of a verdict, and from what the gradebook counts for it."""
    laws = tuple(
        Law(
            law.get("check", ""),
            law["law"],
            law["status"],
            law["points"],
            law["of"],
            tuple(law.get("said", ())),
            law.get("picture"),
        )
        for law in verdict["laws"]
    )
    return Outcome(
        verdict["exercise"],
        verdict["points"] if score is None else score,
        verdict["of"],
        laws,
        verdict.get("misconception"),
        verdict.get("explanation") or "",
        verdict.get("certain", True),
        by_hand,
        waits,
    )
