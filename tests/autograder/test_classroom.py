"""A class in a real nbgrader course: graded by our loop and by ``nbgrader autograde``, into the same gradebook."""

import subprocess
from datetime import datetime

import pytest
from classes import CLASS, CONFIG, NAME, WORTH, book, code, graded, hand_in, lab, markdown, marks, nbgrader
from submissions import LOG_SOFTMAX, SOFTMAX, TEMPERATURE, VJP

from autograder import autograded
from autograder.classroom import Classroom
from autograder.database import GradebookError
from autograder.gradebook import Gradebook


def test_the_loop_writes_what_the_verdicts_say(course):
    for student, notebook in CLASS.items():
        hand_in(course, student, notebook)
    hand_in(course, "hugo", b"no notebook")
    came = graded(course)
    assert {s: r.points for s, r in came.items()} == {
        "anna": 23, "ben": 21, "çelik": 11, "dora": 23, "emil": 23, "finn": 23, "gül": 23, "hugo": 0,
    }  # fmt: skip
    assert "not a notebook" in came["hugo"].error
    found = book(course)
    assert "hugo" not in found
    assert found["anna"]["softmax"] == (6, None, 6, False)
    assert found["anna"]["essay"] == (0, None, 0, False), "the question was left as it came"
    assert found["ben"]["essay"] == (None, None, 0, True), "a person must read it"
    assert found["ben"]["softmax"] == (5, None, 5, False)
    assert found["anna"]["essay!"] == ("No response.", None)
    assert found["ben"]["essay!"] == (None, None)


@pytest.mark.slow
def test_the_loop_and_nbgrader_autograde_agree(course, tmp_path_factory):
    """The same submissions through nbgrader's own pipeline, configured for the judge: the same gradebook."""
    other = tmp_path_factory.mktemp("other")
    subprocess.run(["cp", "-r", f"{course}/.", str(other)], check=True)
    for student, notebook in CLASS.items():
        if student == "emil":
            continue  # nbgrader itself does not take format 3
        hand_in(course, student, notebook)
        hand_in(other, student, notebook)
    graded(course)
    nbgrader(other, "autograde", NAME)
    assert book(course) == book(other)
    kept = [{who: told(event) for who, event in recorded(at).items()} for at in (course, other)]
    assert kept[0] == kept[1] and len(kept[1]) == len(CLASS) - 1


@pytest.mark.slow
def test_nbgraders_regrade_is_a_new_row_of_the_history_and_ours_has_nothing_left_to_do(course):
    hand_in(course, "ben", CLASS["ben"])
    nbgrader(course, "autograde", NAME)
    assert graded(course) == {}
    hand_in(course, "ben", lab({}))
    nbgrader(course, "autograde", NAME, "--force")
    with Classroom(course) as classroom:
        first, second = classroom.history([NAME], ["ben"])
    assert first.before is None and first.after == second.before < second.after
    assert graded(course) == {}


def recorded(course) -> dict:
    with Classroom(course) as classroom:
        return {who: event for (_, who), event in classroom.latest([NAME]).items()}


def told(event) -> tuple:
    """What two ways of grading have to say alike of a submission."""
    return event.verdicts, event.digest, event.version, event.seed, event.before, event.after, event.worth


@pytest.mark.slow
def test_nbgraders_feedback_and_export_work_on_it_and_nothing_runs_in_them(course):
    evil = lab({"softmax": SOFTMAX + "\nprint('<script>alert(2)</script>')"}, essay="<img src=x onerror=alert(3)>")
    evil["cells"].append(markdown("[x](javascript:alert(4)) <svg onload=alert(5)>", {}))
    evil["cells"].append(
        {"cell_type": "raw", "metadata": {"raw_mimetype": "text/html"}, "source": "<script>alert(6)</script>"}
    )
    evil["cells"].append(markdown("<iframe src=//evil></iframe>", marks("claimed", locked=True)))
    hand_in(course, "ben", {**evil, "cells": [{**c, "id": f"i{n}"} for n, c in enumerate(evil["cells"])]})
    hand_in(course, "<b>anna</b>", lab({}))
    graded(course)
    nbgrader(course, "generate_feedback", NAME)
    nbgrader(course, "export", "--to", "grades.csv")
    assert "ben" in (course / "grades.csv").read_text()
    page = (course / "feedback" / "ben" / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    for opening in ("<script>alert", 'href="javascript:', "<b>anna"):
        assert opening not in page
    assert "<img src=x" not in page
    assert "<svg onload" not in page
    assert "<iframe src=//evil" not in page
    assert "all 6 laws hold" in page


@pytest.mark.slow
def test_what_a_person_gave_survives_a_regrade(course):
    from nbgrader.api import Gradebook as Stock

    hand_in(course, "ben", CLASS["ben"])
    graded(course)
    with Stock(f"sqlite:///{course / 'gradebook.db'}") as stock:
        notebook = stock.find_submission_notebook(NAME, NAME, "ben")
        for grade in notebook.grades:
            if grade.name == "softmax":
                grade.manual_score, grade.extra_credit = 4, 0.5
        for comment in notebook.comments:
            if comment.name == "essay":
                comment.manual_comment = "Well put."
        stock.db.commit()
    (result,) = graded(course, force=True).values()
    found = book(course)["ben"]
    assert found["softmax"] == (5, 4, 4.5, True)
    assert found["essay!"] == (None, "Well put.")
    assert result.points == 4.5 + 16
    nbgrader(course, "autograde", NAME, "--force")
    assert book(course)["ben"] == found


@pytest.mark.parametrize("way", ["loop", pytest.param("nbgrader", marks=pytest.mark.slow)])
def test_a_late_submission_is_penalised_as_nbgrader_is_told_to(course, way):
    from nbgrader.api import Gradebook as Stock

    (course / "nbgrader_config.py").write_text(CONFIG + "get_config().LateSubmissionPlugin.penalty_method = 'zero'\n")
    with Stock(f"sqlite:///{course / 'gradebook.db'}") as stock:
        stock.update_or_create_assignment(NAME, duedate=datetime(2026, 1, 10))
    hand_in(course, "anna", lab({}), "2026-01-09 12:00:00 UTC")
    hand_in(course, "ben", lab({}), "2026-01-11 12:00:00 UTC")
    if way == "loop":
        came = graded(course)
        assert (came["anna"].points, came["ben"].points) == (23, 0)
    else:
        nbgrader(course, "autograde", NAME)
    found = book(course)
    assert (found["anna"]["late"], found["ben"]["late"]) == (0, 23)


def test_a_run_goes_on_where_it_stopped(course):
    for student in ("anna", "ben"):
        hand_in(course, student, CLASS[student], "2026-01-09 12:00:00 UTC")
    with Classroom(course) as classroom:
        next(classroom.grade(NAME))
    assert list(graded(course)) == ["ben"]
    assert graded(course) == {}
    hand_in(course, "anna", CLASS["çelik"], "2026-01-10 12:00:00 UTC")
    assert {s: r.points for s, r in graded(course).items()} == {"anna": 11}
    assert graded(course, force=True, students=["ben"]).keys() == {"ben"}


def test_two_workers_give_what_one_gives(course):
    for student in ("anna", "ben", "çelik", "dora"):
        hand_in(course, student, CLASS[student])
    one = graded(course)
    two = graded(course, force=True, jobs=2)
    assert {s: r.scores for s, r in one.items()} == {s: r.scores for s, r in two.items()}
    assert {s: r.files for s, r in one.items()} == {s: r.files for s, r in two.items()}


def test_an_assignment_that_is_not_there_is_told(course):
    with pytest.raises(GradebookError, match="attnlab release lib"), Classroom(course) as classroom:
        list(classroom.grade("lib"))


def test_a_link_among_the_submissions_is_not_followed(course):
    folder = hand_in(course, "ben", lab({}))
    (folder / f"{NAME}.ipynb").unlink()
    anna = hand_in(course, "anna", lab({}))
    (folder / f"{NAME}.ipynb").symlink_to(anna / f"{NAME}.ipynb")
    (folder / "timestamp.txt").symlink_to("/etc/hostname")
    came = graded(course)
    assert "a link" in came["ben"].error
    assert came["anna"].points == 23


def test_released_cells_come_back_as_they_were(course):
    with Classroom(course) as classroom:
        cells = classroom.gradebook.released(NAME)[NAME].cells
    forged = lab({})
    for cell in forged["cells"]:
        if cell["source"].startswith("check"):
            cell["source"] = "1000"
            cell["metadata"]["nbgrader"]["points"] = 1000
    whole = autograded.whole(forged, cells)
    tests = [c for c in whole if autograded.is_test(c)]
    assert [c["source"] for c in tests] == [f"check({name})" for name in WORTH]
    assert [c["metadata"]["nbgrader"]["points"] for c in tests] == list(WORTH.values())
    emptied = autograded.whole({"cells": [code(s, {}) for s in (SOFTMAX, LOG_SOFTMAX, TEMPERATURE, VJP)]}, cells)
    assert [c["metadata"]["nbgrader"]["grade_id"] for c in emptied if autograded.is_test(c)] == list(WORTH)
    assert len({c["id"] for c in emptied}) == len(emptied)


def test_the_gradebook_is_opened_once(course, monkeypatch):
    """One engine, one transaction a submission; none is open while student code runs."""
    for student in ("anna", "ben"):
        hand_in(course, student, lab({}))
    begun = []
    real = Gradebook.record

    def record(self, *args):
        begun.append(self.engine)
        return real(self, *args)

    monkeypatch.setattr(Gradebook, "record", record)
    graded(course)
    assert len(begun) == 2
    assert begun[0] is begun[1]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<details open ontoggle=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVa&#115;cript:alert(1))",
        "[x]( java&Tab;script:alert(1))",
        "[x]: javascript:alert(1)",
        "[x](<javascript:alert(1)>)",
        "[x](data:text/html;base64,AAAA)",
        "</textarea><svg/onload=alert(1)>",
        "<!--><script>alert(1)</script>",
    ],
)
def test_markdown_is_made_harmless(text):
    from nbconvert.filters import markdown2html

    page = markdown2html(autograded.harmless(text)).lower()
    assert "<script" not in page
    assert "<img" not in page
    assert "<svg" not in page
    assert "ontoggle=alert" not in page.replace("&lt;details open ontoggle=", "")
    assert 'href="java' not in page
    assert 'href="data' not in page


@pytest.mark.parametrize("text", ["a < b and b > c", "$x<y$", "**bold** <br> [page](https://a.org/x_(y)?q=1#z)"])
def test_plain_markdown_stays_as_it_is(text):
    assert autograded.harmless(text).replace("&lt;", "<") == text
