"""``check(softmax)``: the checks of an exercise, in the learner's own kernel, answered at once by a panel."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from autograder import catalogue, panel, record, road
from autograder.exercise import Exercise
from autograder.judge import VISIBLE_SEED, Verdict, judge
from autograder.student import Here


class Panel:
    """A verdict as a notebook shows it. Several verdicts stand one below the other."""

    def __init__(self, *verdicts: Verdict):
        self.verdicts = verdicts

    def _repr_html_(self) -> str:
        return "".join(panel.page(verdict) for verdict in self.verdicts)

    def __repr__(self) -> str:
        return "\n\n".join(panel.text(verdict) for verdict in self.verdicts)


class Message:
    """One sentence to the learner, where there is nothing to judge."""

    def __init__(self, sentence: str):
        self.sentence = sentence

    def _repr_html_(self) -> str:
        return f'<p style="border-left:5px solid {panel.GREY};padding:.4em .9em">{panel.inline(self.sentence)}</p>'

    def __repr__(self) -> str:
        return self.sentence


def check(answer: Callable[..., Any] | str, seconds: float = 10.0) -> Panel | Message | float:
    """Check one exercise: ``check(softmax)``, or ``check("softmax")`` before it is defined.

    Shows every law of the exercise and, where one does not hold, what was tried, what came, and a likely cause.
    Stops after ``seconds``; Kernel › Interrupt stops it earlier.
    """
    namespace = _learners_names()
    exercise = _exercise_of(answer, namespace)
    if exercise is None:
        names = ", ".join(f"`{name}`" for name in catalogue.by_name())
        if _graded_by_nbgrader():
            return 0.0
        called = answer if isinstance(answer, str) else getattr(answer, "__name__", repr(answer))
        return Message(f"There is no exercise called `{called}`. The exercises are {names}.")
    try:
        verdict = _judged(exercise, answer, namespace, seconds)
    except KeyboardInterrupt:
        return Message(f"You stopped the check of `{exercise.name}`. Nothing was recorded.")
    if _graded_by_nbgrader():
        return verdict.points
    remember(verdict)
    return Panel(verdict)


def progress() -> road.Road:
    """The map of the course: what your checks have ticked off on this computer, and what comes next."""
    return road.road()


def remember(verdict: Verdict) -> None:
    """Tick it off on the map. What is not written yet leaves no mark."""
    if not verdict.todo:
        record.keep(verdict.exercise, verdict.points)


def _graded_by_nbgrader() -> bool:
    """nbgrader without our judge takes the last number of a test cell for its points."""
    return bool(os.environ.get("NBGRADER_EXECUTION"))


def check_all(seconds: float = 10.0) -> Panel | Message:
    """Check every exercise of which this notebook has an answer or a stub."""
    namespace = _learners_names()
    found = [exercise for name, exercise in catalogue.by_name().items() if callable(namespace.get(name))]
    if not found:
        return Message("No exercise is defined yet: run the cells of the notebook first.")
    return Panel(*(_judged(exercise, namespace[exercise.name], namespace, seconds) for exercise in found))


def _judged(exercise: Exercise, answer: Any, namespace: Mapping[str, Any], seconds: float) -> Verdict:
    names = dict(namespace) if isinstance(answer, str) else {**namespace, exercise.name: answer}
    backend = Here(names, exercise.banned, seconds)
    cells = namespace.get("In", ())  # IPython's record of what was run
    verdict = judge(exercise, backend, VISIBLE_SEED, [str(cell) for cell in cells])
    verdict.printed = backend.printed.getvalue()
    return verdict


def _learners_names() -> Mapping[str, Any]:
    """The namespace that the notebook's cells run in."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell.user_ns if shell else vars(sys.modules["__main__"])


def _exercise_of(answer: Any, namespace: Mapping[str, Any]) -> Exercise | None:
    """By the name it was given, else by the name it is bound to: a lambda, a partial or an alias counts too."""
    exercises = catalogue.by_name()
    if isinstance(answer, str):
        return exercises.get(answer)
    bound = [name for name, value in namespace.items() if value is answer and name in exercises]
    name = getattr(answer, "__name__", "")
    return exercises.get(name if name in exercises else bound[0] if bound else "")


def explain_missing_names() -> None:
    """Let a NameError about an exercise say which cell to run, instead of showing a traceback."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return

    def handler(shell: Any, kind: type, error: NameError, trace: Any, tb_offset: Any = None) -> list[str] | None:
        if error.name in catalogue.by_name():
            sentence = f"There is no `{error.name}` yet: run the cell that defines it, then check again."
            importlib.import_module("IPython.display").display(Message(sentence))
            return [f"NameError: {sentence}"]
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        return None

    shell.set_custom_exc((NameError,), handler)


explain_missing_names()
