"""Classes that nobody attends: right answers, every known wrong one, some that are late, broken or missing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from autograder import catalogue, panel
from autograder.judge import judge
from autograder.report.model import Assignment, Person, SchoolClass, Step, Work, outcome
from autograder.student import Here

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DUE = datetime(2026, 11, 20, 18, tzinfo=UTC)
FIRST = [
    "Ada",
    "Ben",
    "Chen",
    "Dilek",
    "Emil",
    "Fatma",
    "Gita",
    "Hugo",
    "Ines",
    "Jonas",
    "Kofi",
    "Lena",
    "Mira",
    "Noor",
    "Olga",
    "Pavel",
    "Quyen",
    "Rosa",
    "Sami",
    "Tuva",
]
LAST = [
    "Abel",
    "Berg",
    "Costa",
    "Demir",
    "Evans",
    "Fischer",
    "Garcia",
    "Huber",
    "Ito",
    "Jensen",
    "Khan",
    "Larsen",
    "Meyer",
    "Novak",
    "Okafor",
    "Peters",
    "Rossi",
]


@cache
def verdict_of(exercise: str, answer: str) -> dict[str, Any]:
    """What the judge says of an answer: ``right``, ``todo``, ``odd``, or the name of a misconception."""
    declared = catalogue.by_name()[exercise]
    functions = {m.name: m.function for m in declared.misconceptions}
    functions |= {"right": declared.reference, "todo": _todo, "odd": lambda *args, **kwargs: None}
    return panel.plain(judge(declared, Here.ours(declared, functions[answer])))


def _todo(*args: Any, **kwargs: Any) -> None:
    raise NotImplementedError


def assignment(name: str, chapter: int, due: datetime | None = DUE) -> Assignment:
    return Assignment(
        name, name.replace("_", " ").capitalize(), due, {e.name: e.points for e in catalogue.of_chapter(chapter)}
    )


def school(size: int = 30, chapters: Sequence[tuple[str, int]] = (("01_softmax", 1),), seed: int = 0) -> SchoolClass:
    rng = np.random.default_rng(seed)
    people, works = {}, []
    assignments = [assignment(name, chapter) for name, chapter in chapters]
    for number in range(size):
        last, first = LAST[number % len(LAST)], FIRST[(number * 7) % len(FIRST)]
        key = f"{first.lower()}.{last.lower()}{number}"
        people[key] = Person(key, f"{last}, {first}")
        for each in assignments:
            works.append(_work(key, each, rng))
    return SchoolClass("Attention Lab, winter term", NOW, dict(sorted(people.items())), assignments, works)


def _work(student: str, each: Assignment, rng: np.random.Generator) -> Work:
    fate = rng.random()
    if fate < 0.05:
        return Work(student, each.name, "missing", worth=each.worth)
    at = DUE - timedelta(hours=float(rng.gamma(1.5, 16.0))) + timedelta(hours=8.0 if rng.random() < 0.12 else 0.0)
    late = max(timedelta(), at - DUE)
    if fate < 0.08:
        why = f"{student}/{each.name}.ipynb: not a notebook, for it is not JSON; save it again."
        step = Step(NOW, "ada@lab", "0.1.0+3f9a1c20", None, None, each.worth, why)
        return Work(student, each.name, "broken", at, late, worth=each.worth, error=why, steps=(step,))
    diligence = rng.beta(4, 1.6)
    outcomes = []
    for name in each.exercises:
        wrong = [m.name for m in catalogue.by_name()[name].misconceptions]
        answer = "right"
        if rng.random() > diligence:
            odds = np.array([1 / (i + 1) for i in range(len(wrong))] + [0.4, 0.3])
            answer = str(rng.choice([*wrong, "todo", "odd"], p=odds / odds.sum()))
        outcomes.append(outcome(verdict_of(name, answer)))
    penalty = 1.0 if late else 0.0
    earned = sum(o.score for o in outcomes)
    penalty = min(penalty, earned)
    steps = [Step(NOW - timedelta(hours=3), "ada@lab", "0.1.0+3f9a1c20", None, earned - penalty, each.worth)]
    if rng.random() < 0.2:
        steps.append(Step(NOW, "ada@lab", "0.1.0+77b0e1d4", earned - penalty, earned - penalty, each.worth))
    return Work(
        student, each.name, "graded", at, late, penalty, earned - penalty, each.worth, tuple(outcomes), "", tuple(steps)
    )
