"""``check(softmax)``: the checks of an exercise, in the learner's own kernel, answered at once by a panel."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autograder import catalogue, host, names, panel, record, rehearsal, road, submission
from autograder.exercise import Exercise
from autograder.judge import VISIBLE_SEED, Verdict, judge
from autograder.rehearsal import Rehearsal
from autograder.student import Here
from autograder.submission import SubmissionError

TOOLS = ("check", "check_all", "progress")
SAVE = "Save the notebook (Ctrl+S, on a Mac ⌘S), then run this cell again. What follows is about the file."
RELOAD = "The notebook was mended: load it anew (File › Reload Notebook from Disk) before you go on."
NO_FILE = (
    "These are the exercises as they stand in this kernel. Whether the notebook runs from the top, only its file can "
    'tell: name it, `check_all("my_notebook.ipynb")`, or on your computer run `python lab.py check my_notebook.ipynb`.'
)


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


class Together:
    """Several things to show, one below the other."""

    def __init__(self, *parts: Any):
        self.parts = parts

    def _repr_html_(self) -> str:
        return "".join(part._repr_html_() for part in self.parts)

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.parts))


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


def check_all(
    notebook: str | Path | None = None, *, repair: bool = False, seconds: float = 10.0
) -> Rehearsal | Together | Message:
    """Before handing in: run the notebook's file as grading will, and say what would be graded.

    The file as it is saved, from the top, in a fresh process; this kernel stays as it is. ``repair=True`` mends what an
    editor or Colab has lost, and keeps the file as it was beside it. Where the file cannot be found, name it; without
    one, each exercise is checked in this kernel, within ``seconds``.
    """
    namespace = _learners_names()
    path = Path(notebook).expanduser() if notebook is not None else _own_file(namespace)
    if path is None or _graded_by_nbgrader():
        return _check_here(namespace, seconds)
    try:
        came = rehearsal.rehearse(path, repair=repair)
    except SubmissionError as error:
        return Message(str(error))
    except KeyboardInterrupt:
        return Message("You stopped it. Nothing was recorded.")
    finally:
        host.end()
    for found in came.found:
        remember(found.verdict)
    if behind := _not_saved(path, namespace):
        names = ", ".join(f"`{name}`" for name in behind)
        return Together(Message(f"The file is not what you ran: {names}. {SAVE}"), came)
    return Together(Message(RELOAD), came) if came.backup else came


def _check_here(namespace: Mapping[str, Any], seconds: float) -> Together | Message:
    """Every exercise that is defined in this kernel: where there is no file to run."""
    found = [exercise for name, exercise in catalogue.by_name().items() if callable(namespace.get(name))]
    if not found:
        return Message("No exercise is defined yet: run the cells of the notebook first.")
    verdicts = [_judged(exercise, namespace[exercise.name], namespace, seconds) for exercise in found]
    for verdict in verdicts:
        remember(verdict)
    return Together(Message(NO_FILE), Panel(*verdicts))


def _own_file(namespace: Mapping[str, Any]) -> Path | None:
    """The file of the notebook that this kernel runs: JupyterLab says it, and so does Visual Studio Code."""
    for said in (namespace.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")):
        if isinstance(said, str) and said.endswith(".ipynb") and os.path.isfile(said):
            return Path(said)
    return None


def _not_saved(path: Path, namespace: Mapping[str, Any]) -> list[str]:
    """The exercises whose last run definition is in no cell of the file."""
    shell = _shell()
    if shell is None:
        return []
    saved = {cell.source.strip() for cell in submission.read(path).cells}
    last: dict[str, str] = {}
    for source in shell.history_manager.input_hist_raw:
        last |= {name: source.strip() for name in names.defined_in(source) if name in catalogue.by_name()}
    return [name for name, source in last.items() if source not in saved]


def _judged(exercise: Exercise, answer: Any, namespace: Mapping[str, Any], seconds: float) -> Verdict:
    names = dict(namespace) if isinstance(answer, str) else {**namespace, exercise.name: answer}
    backend = Here(names, exercise.banned, seconds)
    cells = namespace.get("In", ())  # IPython's record of what was run
    verdict = judge(exercise, backend, VISIBLE_SEED, [str(cell) for cell in cells])
    verdict.printed = backend.printed.getvalue()
    return verdict


def _learners_names() -> Mapping[str, Any]:
    """The namespace that the notebook's cells run in."""
    shell = _shell()
    return shell.user_ns if shell else vars(sys.modules["__main__"])


def _shell() -> Any:
    """IPython's, where this is a kernel."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


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
    shell = _shell()
    if shell is None:
        return

    def handler(shell: Any, kind: type, error: NameError, trace: Any, tb_offset: Any = None) -> list[str] | None:
        if error.name in catalogue.by_name():
            sentence = f"There is no `{error.name}` yet: run the cell that defines it, then check again."
        elif error.name in TOOLS:
            sentence = f"`{error.name}` is not here yet: put `from autograder import {error.name}` above it."
        else:
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
            return None
        importlib.import_module("IPython.display").display(Message(sentence))
        return [f"NameError: {sentence}"]

    shell.set_custom_exc((NameError,), handler)


explain_missing_names()
