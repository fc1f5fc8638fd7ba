"""``pytest --submission NOTEBOOK``: the checks of the course as ordinary pytest tests over a submitted notebook.

    pytest --submission notebooks/01_softmax/01_softmax.ipynb
    pytest --submission hand_in.ipynb -k log_softmax

Loaded by ``-p autograder.pytest_plugin`` in pyproject.toml; without ``--submission`` it does nothing.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from autograder import catalogue, submission
from autograder.expect import CheckFailure
from autograder.judge import VISIBLE_SEED, shortcuts_in
from autograder.laws import generator
from autograder.sandbox import Answers, Sandbox
from autograder.student import Student, StudentError, parameters_of

SUBMISSION = pytest.StashKey[submission.Submission]()
SANDBOX = pytest.StashKey[Sandbox]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("Attention Lab")
    group.addoption("--submission", metavar="NOTEBOOK", help="check the answers in this notebook")
    group.addoption(
        "--seed", type=int, default=VISIBLE_SEED, help="draw the inputs from this seed (default: the visible one)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--submission")
    if not path:
        return
    try:
        found = submission.read(Path(path))
    except submission.SubmissionError as error:
        raise pytest.UsageError(str(error)) from None
    exercises = found.exercises()
    if not exercises:
        raise pytest.UsageError(f"{path}: no cell defines an exercise of the course; is it the right notebook?")
    config.stash[SUBMISSION] = found
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        numbers = {exercise.chapter for exercise in exercises}
        config.args[:] = [str(catalogue.chapters()[number].__file__) for number in sorted(numbers)]


def pytest_unconfigure(config: pytest.Config) -> None:
    if sandbox := config.stash.get(SANDBOX, None):
        sandbox.close()


@pytest.fixture
def student(request: pytest.FixtureRequest) -> Student:
    """The answers in the submitted notebook, run in a process of their own."""
    config = request.config
    if SUBMISSION not in config.stash:
        pytest.skip("give a notebook with --submission")
    if SANDBOX not in config.stash:
        found = config.stash[SUBMISSION]
        config.stash[SANDBOX] = Sandbox(found.sources, min(exercise.chapter for exercise in found.exercises()))
    exercise = request.function.exercise
    found = config.stash[SUBMISSION]
    for use in shortcuts_in(found.sources, exercise, config.stash[SANDBOX].chapter):
        pytest.fail(use.sentence(exercise.name), pytrace=False)
    return Student(Answers(config.stash[SANDBOX], exercise), parameters_of(exercise.reference))


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> Any:
    """The random numbers of this law, drawn from ``--seed``."""
    return generator(request.config.getoption("--seed"), request.function.exercise, request.function.__name__)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """A law that fails is told in the judge's words, not as a traceback through our code."""
    report: Any = yield
    exercise = getattr(getattr(item, "function", None), "exercise", None)
    if exercise is None:
        return report
    check = next(check for check in exercise.checks if check.name == item.function.__name__)  # type: ignore[attr-defined]
    report.law = (exercise.name, check.law, check.points)
    if call.excinfo is not None and isinstance(call.excinfo.value, CheckFailure | StudentError):
        calls = item.funcargs["student"].calls  # type: ignore[attr-defined]
        call_tried = getattr(call.excinfo.value, "tried", "") or (calls[-1] if calls else "")
        tried = f"\ntried:  {call_tried}" if call_tried else ""
        report.longrepr = f"law:    {check.law}{tried}\nfound:  {call.excinfo.value}"
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Points by exercise, and each law with a tick or a cross."""
    if SUBMISSION not in config.stash:
        return
    laws: dict[str, list[tuple[bool, str, float]]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if getattr(report, "law", None) and report.when == "call":
                name, law, points = report.law
                laws.setdefault(name, []).append((outcome == "passed", law, points))
    terminalreporter.section(f"{config.stash[SUBMISSION].path.name}")
    for exercise in catalogue.all_exercises():
        if exercise.name not in laws:
            continue
        results = {law: (held, points) for held, law, points in laws[exercise.name]}
        earned = sum(points for held, points in results.values() if held)
        terminalreporter.write_line(f"{exercise.name}: {earned:g} of {exercise.points:g} points", bold=True)
        for check in exercise.checks:
            if check.law in results:
                held, points = results[check.law]
                mark = "✓" if held else "✗"
                terminalreporter.write_line(f"  {mark} {check.law} ({points:g})", green=held, red=not held)
