"""`check(softmax)` in a learner's kernel: it answers, whatever the learner's function does."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from autograder import check, check_all, expect
from autograder.exercise import Exercise
from autograder.laws import run_check
from autograder.notebook import Message, Panel
from autograder.student import Here
from course.paths import ROOT

pytestmark = pytest.mark.colab

INTERPRETER = vars(sys.modules["__main__"])


def right(x, axis=-1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def ask(answer, seconds: float = 10.0) -> str:
    """What the learner reads, in plain text; the HTML must say it too."""
    answer.__name__ = "softmax"
    shown = check(answer, seconds)
    assert isinstance(shown, Panel)
    html = shown._repr_html_()
    for word in ("Traceback", "autograder/", "site-packages"):
        assert word not in html and word not in repr(shown)
    assert "<script" not in html
    return repr(shown)


def test_a_right_answer_gets_a_tick_for_every_law():
    text = ask(right)
    assert "all 6 laws hold, 6 of 6 points" in text
    assert text.count("✓") == 6


def test_the_stub_is_told_where_to_write():
    def stub(x, axis=-1):
        raise NotImplementedError()

    text = ask(stub)
    assert "not written yet" in text
    assert text.count("○") == 6


def test_an_exception_names_the_learners_line():
    def broken(x, axis=-1):
        return x / nothing  # noqa: F821  # that is the point

    text = ask(broken)
    assert "raised NameError: name 'nothing' is not defined, in line" in text
    assert "`return x / nothing" in text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "returned None; an array of shape (2,) was expected. Is a `return` missing?"),
        ([0.1, 0.9], "returned a list; an array of shape (2,) was expected."),
        ((np.ones(2),), "returned a tuple; an array of shape (2,) was expected. Return one array"),
        (np.ones((2, 1)), "Your result has shape (2, 1); expected is (2,)."),
        (np.array(["a", "b"]), "return arrays, numbers or strings"),
        (np.array([None, None]), "return arrays, numbers or strings"),
        (np.array([np.nan, 1.0]), "At [0] your result is nan; expected is 0.2689."),
        (np.array([1 + 2j, 0j]), "Your array holds complex128; numbers were expected."),
        (0.5, "returned a float; an array of shape (2,) was expected."),
        ({"a": 1}, "returned a dict; an array of shape (2,) was expected."),
        (right, "returned a function; an array of shape (2,) was expected."),
        (np.array([True, False]), "Your array holds bool; expected is float64."),
    ],
    ids=lambda v: str(type(v).__name__),
)
def test_a_wrong_kind_of_answer_is_named(value, said):
    assert said in ask(lambda x, axis=-1: value)


@pytest.mark.parametrize(
    ("came", "due", "said"),
    [
        ((3, 5), (5, 3), "two of its axes swapped"),
        ((3, 1, 7), (3, 5, 7), "axis 1 summed, where it has to stay"),
        ((3, 7), (3, 5, 7), "axis 1, of length 5, summed or picked away"),
        ((3, 1), (3,), "Axis 1, of length 1, is left over"),
        ((3, 5), (3,), "Axis 1, of length 5, should be gone"),
        ((), (3,), "axis 0, of length 3, summed"),
        ((3, 4), (3, 5), "Is it the law's own question?"),
        ((2, 3, 5), (7,), "Is it the law's own question?"),
    ],
)
def test_a_wrong_shape_gets_the_question_that_it_answers(came, due, said):
    with pytest.raises(expect.CheckFailure) as failure:
        expect.close(np.zeros(came), np.zeros(due), "Is it the law's own question?")
    assert said in failure.value.cause


@pytest.mark.parametrize(
    ("came", "said"),
    [
        (None, "returned None; a number was expected."),
        ([0.5], "returned a list; a number was expected."),
        (np.ones(3), "Your result has shape (3,); expected is a single number."),
    ],
    ids=["None", "list", "array"],
)
def test_where_a_number_is_due_no_shape_is_asked_for(came, said):
    with pytest.raises(expect.CheckFailure) as failure:
        expect.close(came, 0.5)
    assert said in failure.value.what


def test_two_mistakes_in_one_answer_get_a_guess_that_calls_itself_one():
    def twice_wrong(x, axis=0):
        e = np.exp(x - np.min(x, axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)

    text = ask(twice_wrong)
    assert "4 of 6 laws hold" in text
    assert "→ Perhaps: " in text


def test_an_edited_input_is_seen():
    def edits(x, axis=-1):
        if x.dtype.kind == "f":
            x -= x.max(axis=axis, keepdims=True)
        return right(x, axis)

    text = ask(edits)
    assert "Your function edited `x`, which was passed in" in text
    assert "`x -= …` writes into the array that was passed in" in text


def endless(x, axis=-1):
    while True:
        pass


def sleeps(x, axis=-1):
    time.sleep(3600)


@pytest.mark.parametrize("answer", [endless, sleeps])
def test_an_endless_answer_is_stopped(answer):
    started = time.perf_counter()
    text = ask(lambda x, axis=-1: answer(x, axis), seconds=0.3)
    assert "was still running after" in text
    assert "Not tried: the time for this exercise was used up before." in text
    assert time.perf_counter() - started < 5


def test_an_interrupt_ends_the_check_kindly():
    def interrupted(x, axis=-1):
        raise KeyboardInterrupt

    interrupted.__name__ = "softmax"
    shown = check(interrupted)
    assert isinstance(shown, Message)
    assert "You stopped the check of `softmax`." in repr(shown)


def test_leaving_python_is_no_answer():
    assert "leaves Python instead of returning" in ask(lambda x, axis=-1: sys.exit(0))


def test_printing_and_warning_cost_nothing_and_are_kept():
    def talks(x, axis=-1):
        print("<b>here</b>")
        np.log(-1.0)
        return right(x, axis)

    talks.__name__ = "softmax"
    shown = check(talks)
    assert "all 6 laws hold" in repr(shown)
    assert "&lt;b&gt;here&lt;/b&gt;" in shown._repr_html_()


def test_a_kernel_that_makes_errors_of_warnings_costs_nothing():
    exercise = Exercise("half", chapter=1, reference=lambda x: x / 2)

    @exercise.check(points=1)
    def test_half(student, rng):
        """Half of four is two."""
        assert np.exp(np.array([1e4])) == np.inf  # what the check itself computes may overflow
        expect.close(student.half(4.0), 2.0)

    with np.errstate(all="raise"):
        result, _ = run_check(exercise.checks[0], exercise, Here({"half": lambda x: x / 2}), 0)
    assert result.status == "pass", result.what


def test_what_stopped_a_check_itself_is_kept_for_those_who_mend_it(caplog):
    exercise = Exercise("half", chapter=1, reference=lambda x: x / 2)

    @exercise.check(points=1)
    def test_half(student, rng):
        """Half of four is two."""
        expect.close(student.half(4.0).mean(), 2.0)

    with caplog.at_level("INFO"):
        result, _ = run_check(exercise.checks[0], exercise, Here({"half": lambda x: "2"}), 0)
    assert result.what == "Your function returned a str, which this check cannot use."
    assert "half, law 'test_half' stopped:" in caplog.text
    assert "AttributeError: 'str' object has no attribute 'mean'" in caplog.text


def test_library_functions_that_are_the_answer_explain_themselves():
    import torch

    def borrows(x, axis=-1):
        return torch.softmax(torch.from_numpy(np.asarray(x, float)), axis).numpy()

    before = torch.softmax
    assert "`torch.softmax` is the answer to this exercise" in ask(borrows)
    assert torch.softmax is before


def test_an_exercise_is_found_under_whatever_name_its_function_has(monkeypatch):
    monkeypatch.setitem(INTERPRETER, "softmax", lambda x, axis=-1: right(x, axis))
    assert "all 6 laws hold" in repr(check(INTERPRETER["softmax"]))
    assert "all 6 laws hold" in repr(check("softmax"))
    assert "all 6 laws hold" in repr(check_all())


def test_what_is_missing_is_said():
    assert "There is no exercise called `nonsense`" in repr(check("nonsense"))
    assert "There is no `log_softmax` yet: run the cell that defines it" in repr(check("log_softmax"))


def test_under_stock_nbgrader_the_points_are_a_plain_number(monkeypatch):
    """Where somebody grades without our judge, the last value of the test cell is what nbgrader reads."""
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    answer = lambda x, axis=-1: right(x, -1)  # noqa: E731
    answer.__name__ = "softmax"
    points = check(answer)
    assert type(points) is float
    assert 0 < points < 6
    assert check("log_softmax") == 0.0
    assert check("nonsense") == 0.0


def test_a_missing_name_in_a_notebook_is_answered_kindly():
    """In IPython, `check(softmax)` before `softmax` is defined says which cell to run; a tool, how to import it.

    In a process of its own: an IPython shell puts its own module in the place of `__main__`.
    """
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_cell('from autograder import check')\n"
        "shell.run_cell('check(softmax)')\n"
        "shell.run_cell('check(anything_else)')\n"
        "shell.run_cell('check_all()')\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["lib", "."])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    said = done.stdout + done.stderr
    assert "There is no `softmax` yet: run the cell that defines it, then check again." in said
    assert "name 'anything_else' is not defined" in said
    assert "autograder" not in said.partition("There is no")[0]
    assert said.count("is not here yet") == 1
    assert "`check_all` is not here yet: put `from autograder import check_all` above it." in said
