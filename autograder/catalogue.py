"""Every exercise of the course, found in ``autograder/exercises``: one module a chapter."""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from autograder import exercises
from autograder.exercise import DeclarationError, Exercise, where


def declared_in(module: ModuleType) -> list[Exercise]:
    """The exercises that a module declares, in its order."""
    return [value for value in vars(module).values() if isinstance(value, Exercise)]


def validate(found: list[Exercise]) -> None:
    """Refuse a catalogue in which a learner could be graded by half an exercise."""
    seen: dict[str, Exercise] = {}
    for exercise in found:
        if exercise.name in seen:
            raise DeclarationError(
                f"{exercise.declared_at}: an exercise named {exercise.name} is declared already, "
                f"at {seen[exercise.name].declared_at}"
            )
        seen[exercise.name] = exercise
        if not exercise.checks:
            raise DeclarationError(f"{exercise.declared_at}: {exercise.name} has no check")
        if not exercise.misconceptions:
            raise DeclarationError(
                f"{exercise.declared_at}: {exercise.name} has no misconception; declare the wrong answers it must catch"
            )
        if len(exercise.alternatives) < 2:
            raise DeclarationError(
                f"{exercise.declared_at}: {exercise.name} has {len(exercise.alternatives)} alternative right answers; "
                "declare two, so that no check asks for one way of writing"
            )
        names = [misconception.name for misconception in exercise.misconceptions]
        for misconception in exercise.misconceptions:
            if names.count(misconception.name) > 1:
                raise DeclarationError(
                    f"{where(misconception.function)}: {exercise.name} has two misconceptions "
                    f"named {misconception.name}"
                )


@cache
def chapters() -> dict[int, ModuleType]:
    """The module of exercises of each chapter, by its number."""
    modules: dict[int, ModuleType] = {}
    for info in sorted(pkgutil.iter_modules(exercises.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{exercises.__name__}.{info.name}")
        for exercise in declared_in(module):
            modules[exercise.chapter] = module
    validate([exercise for module in modules.values() for exercise in declared_in(module)])
    return modules


def all_exercises() -> Iterator[Exercise]:
    for module in chapters().values():
        yield from declared_in(module)


def of_chapter(number: int) -> list[Exercise]:
    """The exercises of one chapter; none where the chapter has none."""
    module = chapters().get(number)
    return declared_in(module) if module else []


@cache
def by_name() -> dict[str, Exercise]:
    return {exercise.name: exercise for exercise in all_exercises()}
