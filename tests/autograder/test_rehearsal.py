"""Before handing in: what grading would find, and why it does not find something."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from submissions import LOG_SOFTMAX, RIGHT, SOFTMAX, TEMPERATURE, VJP, cell, notebook
from typer.testing import CliRunner

from autograder import check_all, host, original, record, submission
from autograder import notebook as here
from autograder.rehearsal import Rehearsal, rehearse
from course import paths
from course.command import app

STUB = "def softmax_vjp(p, g, axis=-1):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
MINIMUM = SOFTMAX.replace("np.max", "np.min")


@pytest.fixture
def file(tmp_path):
    def write(*cells, name="mine.ipynb") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(notebook(*cells)), encoding="utf-8")
        return path

    return write


@pytest.fixture
def marks(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(record.SETTING, str(path))
    return path


def attnlab(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def states(came: Rehearsal) -> dict[str, str]:
    return {found.exercise.name: found.state for found in came.found}


def why(came: Rehearsal, name: str) -> str:
    return "; ".join(next(found.why for found in came.found if found.exercise.name == name))


def test_every_exercise_has_its_state_points_and_mistake(file):
    came = rehearse(file(MINIMUM, LOG_SOFTMAX, STUB))
    assert states(came) == {
        "softmax": "fails",
        "log_softmax": "passes",
        "softmax_temperature": "not found",
        "softmax_vjp": "not written",
    }
    assert came.summary == "Would be graded: 2 of 4 exercises, 10 of 23 points."
    assert came.found[0].mistake == "subtracts the minimum"
    assert "subtracts the minimum" in came.text() and "subtracts the minimum" in came.page()
    assert why(came, "softmax_temperature") == "no cell defines it: was it deleted, or renamed?"
    assert "<script" not in came.page() and 'aria-label="Before handing in"' in came.page()


def text_cell(source: str) -> dict:
    return {"cell_type": "markdown", "id": "t", "metadata": {}, "source": source}


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([text_cell(VJP)], "cell 2 has it, but is a cell of text: make it a cell of code"),
        ([cell(VJP, tags=["demo"])], "cell 2 defines it, but only shows something (its tag is demo) and is not run"),
        ([cell(VJP, nbgrader={"grade": True, "solution": False, "grade_id": "x"})], "but is the cell of a check"),
        (["class A:\n    def softmax_vjp(self, p, g): pass"], "cell 2 defines it inside something else"),
        ([VJP.replace("softmax_vjp", "SoftmaxVJP")], "cell 2 defines `SoftmaxVJP`: it has to be called `softmax_vjp`"),
        (["nothing_there\n" + VJP], "cell 2, which defines it, stopped: it raised NameError"),
        (["def softmax_vjp(p, g:\n    return p"], "cell 2, which defines it, stopped: it raised SyntaxError"),
    ],
    ids=["text", "demo", "check", "inside", "renamed", "raises", "no Python"],
)
def test_why_something_is_not_found(file, cells, said):
    came = rehearse(file(SOFTMAX, *cells), only="softmax_vjp")
    assert states(came) == {"softmax_vjp": "not found"}
    assert said in why(came, "softmax_vjp")


def test_of_two_definitions_the_last_counts_and_an_empty_one_is_pointed_out(file):
    came = rehearse(file(MINIMUM, SOFTMAX), only="softmax")
    assert states(came) == {"softmax": "passes"}
    assert why(came, "softmax") == "defined in cells 1 and 2: the last one, cell 2, counts"
    came = rehearse(file(SOFTMAX, VJP, text_cell("so"), STUB), only="softmax_vjp")
    assert states(came) == {"softmax_vjp": "not written"}
    assert why(came, "softmax_vjp").endswith("the last one, cell 4, counts, and it is the empty one")


def test_cells_run_in_order_and_one_that_stops_is_named_by_its_place_and_first_line(file):
    came = rehearse(file(text_cell("# Mine"), "print(later)", *RIGHT, "later = 1"))
    assert came.passed
    (stopped,) = came.stopped
    assert (stopped.number, stopped.begins) == (2, "print(later)")
    assert "NameError: name 'later' is not defined" in stopped.sentence
    assert "cell 2 from the top, `print(later)`: " in came.text() and "print(later)" in came.page()


def test_what_a_student_wrote_is_shown_as_text(file):
    came = rehearse(file("raise ValueError('<script>alert(1)</script>')", *RIGHT))
    assert "<script" not in came.page() and "&lt;script" in came.page()


# -------------------------------------------------------------------------------------------------------- the command


def test_the_status_says_whether_all_pass(file):
    assert attnlab("check", file(*RIGHT)).exit_code == 0
    shown = attnlab("check", file(MINIMUM, *RIGHT[1:]))
    assert shown.exit_code == 1
    assert "This is what comes out when the minimum is subtracted." in shown.output
    assert "Would be graded: 4 of 4 exercises, " in shown.output


def test_a_released_notebook_is_of_its_own_chapter_and_of_no_other():
    """A later chapter uses what earlier ones built: under its own name it would be graded again."""
    for path in sorted(paths.NOTEBOOKS.glob("*/*.ipynb")):
        assert {e.chapter for e in submission.read(path).exercises()} == {int(path.stem[:2])}, path.name


def test_only_one_exercise(file):
    shown = attnlab("check", file(MINIMUM, *RIGHT[1:]), "--only", "log_softmax")
    assert "5 of 5" in shown.output and "1 of 1 exercise, 5 of 5 points." in shown.output
    shown = attnlab("check", file(*RIGHT), "-k", "halfway")
    assert shown.exit_code == 2 and "no cell defines `halfway`; is it the right notebook?" in shown.output


def test_several_notebooks_each_under_its_name_and_as_data(file):
    one, two = file(*RIGHT, name="one.ipynb"), file("def halfway(a, b):\n    return (a + b) / 2", name="two.ipynb")
    shown = attnlab("check", one, two)
    assert shown.exit_code == 0 and str(one) in shown.output and str(two) in shown.output
    first, second = json.loads(attnlab("check", one, two, "--json").stdout)
    assert (first["points"], first["of"], second["points"]) == (23, 23, 3)
    assert first["exercises"][0]["state"] == "passes" and first["exercises"][0]["laws"][0]["status"] == "pass"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.ipynb", None, "gone.ipynb: there is no such file."),
        ("a.ipynb", "{}", "JSON, but not a notebook"),
        ("a.txt", "hello", "not a notebook, for it is not JSON"),
        ("a.ipynb", '{"cells": []}', "no cell defines an exercise of the course; is it the right notebook?"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    shown = attnlab("check", tmp_path / name)
    assert shown.exit_code == 2 and said in shown.output and "Traceback" not in shown.output


def test_a_folder_is_no_notebook_but_leads_to_one(file, tmp_path):
    assert "this is a folder without a notebook in it" in attnlab("check", tmp_path).output
    path = file(*RIGHT)
    shown = attnlab("check", tmp_path)
    assert shown.exit_code == 2 and f"this is a folder; did you mean {path}?" in shown.output
    file(*RIGHT, name="other.ipynb")
    assert "with 2 notebooks in it; name the notebook" in attnlab("check", tmp_path).output


def test_lost_marks_are_told_and_repaired_once(file, tmp_path):
    path = file(*RIGHT)
    before = path.read_bytes()
    shown = attnlab("check", path)
    assert "has lost its marks for nbgrader" in shown.output and "--repair" in shown.output
    assert shown.exit_code == 0 and path.read_bytes() == before, "told, not touched"
    shown = attnlab("check", path, "--repair")
    assert shown.exit_code == 0 and "is kept in mine.before-repair-1.ipynb:" in shown.output
    assert (tmp_path / "mine.before-repair-1.ipynb").read_bytes() == before
    after = path.read_bytes()
    again = attnlab("check", path, "--repair")
    assert "About the file" not in again.output and "Mended" not in again.output
    assert path.read_bytes() == after and len(list(tmp_path.glob("*.ipynb"))) == 2


def test_demonstrations_that_have_lost_their_tags_are_not_told_as_mistakes(tmp_path):
    """They run then, and what they draw with is closed to answers; none of that is the student's doing."""
    notebook = original.released(1)
    for one in notebook["cells"]:
        one["metadata"] = {}
    path = tmp_path / "stripped.ipynb"
    path.write_text(json.dumps(notebook))
    shown = attnlab("check", path).output
    assert shown.count("not written") == 4 and "0 of 4 exercises" in shown
    assert "Cells that stopped" not in shown
    assert shown.count("have lost the tags") == 1


def test_the_map_ticks_off_what_is_in_the_courses_own_notebooks_and_nobody_elses(file, marks, tmp_path, monkeypatch):
    path = file(SOFTMAX, STUB)
    attnlab("check", path)
    assert record.read() == []
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path.resolve())
    attnlab("check", path, "--only", "softmax")
    assert [(mark.exercise, mark.points) for mark in record.read()] == [("softmax", 6.0)]


# ------------------------------------------------------------------------------------------------------ in the notebook


class Shell:
    """As much of IPython's shell as check_all() asks for."""

    def __init__(self, *ran: str):
        self.user_ns = {"__name__": "__main__"}
        self.history_manager = SimpleNamespace(input_hist_raw=["", *ran])


@pytest.fixture
def kernel(monkeypatch):
    def start(path: Path | None, *ran: str) -> Shell:
        shell = Shell(*ran)
        monkeypatch.setattr(here, "_shell", lambda: shell)
        if path is None:
            monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
        else:
            monkeypatch.setenv("JPY_SESSION_NAME", str(path))
        return shell

    return start


def test_check_all_runs_the_file_of_its_notebook_in_another_process(file, kernel, marks):
    path = file("import os; os.environ['RAN_HERE'] = 'yes'", *RIGHT, "check_all()")
    kernel(path, *RIGHT)
    came = check_all()
    assert isinstance(came, Rehearsal) and came.passed
    assert "RAN_HERE" not in os.environ
    assert {mark.exercise for mark in record.read()} == set(states(came))


def test_check_all_says_when_the_file_is_behind_what_was_run(file, kernel):
    kernel(file(MINIMUM, LOG_SOFTMAX, TEMPERATURE, VJP), MINIMUM, SOFTMAX, LOG_SOFTMAX + "\n")
    said = repr(check_all())
    assert said.startswith("The file is not what you ran: `softmax`. Save the notebook (Ctrl+S")
    assert "subtracts the minimum" in said


def test_check_all_mends_when_it_is_asked_to(file, kernel, tmp_path):
    kernel(file(*RIGHT))
    assert "check_all(repair=True)" in repr(check_all())
    assert not (tmp_path / "mine.before-repair-1.ipynb").exists()
    shown = check_all(repair=True)
    assert "load it anew" in repr(shown) and "load it anew" in shown._repr_html_()
    assert (tmp_path / "mine.before-repair-1.ipynb").exists()
    assert isinstance(check_all(repair=True), Rehearsal)


def test_visual_studio_codes_notebook_is_found_too_and_one_that_is_named(file, kernel, tmp_path):
    kernel(None).user_ns["__vsc_ipynb_file__"] = str(file(*RIGHT))
    assert check_all().passed
    kernel(None)
    assert check_all(tmp_path / "mine.ipynb").passed
    assert repr(check_all("nowhere.ipynb")) == "nowhere.ipynb: there is no such file."


def test_without_a_file_what_is_in_the_kernel_is_checked_and_that_is_said(kernel, tmp_path):
    shell = kernel(tmp_path / "renamed.ipynb")
    assert repr(check_all()) == "No exercise is defined yet: run the cells of the notebook first."
    exec(SOFTMAX, shell.user_ns)
    said = repr(check_all())
    assert said.startswith("These are the exercises as they stand in this kernel.") and "all 6 laws hold" in said


def test_the_judges_process_ends_with_the_answer(file, kernel):
    kernel(file(*RIGHT))
    check_all()
    assert host._shared is None
