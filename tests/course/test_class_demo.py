"""`attnlab demo`: a class that is the same each time, and of which the grader knows what it was made of."""

import json
import re

import pytest
from handed import attnlab

from autograder import catalogue, submission
from autograder.grading import grade
from course import demo
from course.commands.demo import _around
from course.paths import ROOT

CALLED = ("overflows", "normalises_the_whole_array")  # by the right answer to another exercise, which fails then
PLANNED = [
    pytest.param(assignment, number, id=f"{assignment[:2]}-{sheet.student}")
    for assignment, sheets in demo._sheets().items()
    for number, sheet in enumerate(sheets)
]


def exercises(assignment):
    return {exercise.name: exercise for exercise in catalogue.of_chapter(int(assignment[:2]))}


def test_the_class_is_the_same_each_time_and_has_thirty_submissions():
    first, second = demo.archives(), demo.archives()
    assert first == second
    assert sum(len(list(demo.sheets(assignment))) for assignment in demo.DUE) == 30
    ids = [student.id for student in demo.students()]
    assert len(set(ids)) == len(ids) == len(demo.NAMES) == 16
    assert all(name.isascii() and name.isalpha() for name in ids)


def test_the_class_has_one_of_each_kind():
    sheets = [sheet for assignment in demo.DUE for sheet, _ in demo.sheets(assignment)]
    assert {sheet.way for sheet in sheets} == {"written", "untouched", "broken"}
    assert sum(sheet.hours < 0 for sheet in sheets) == 3
    assert sum("=pair" in sheet.answers.values() for sheet in sheets) == 1
    held = [answer for sheet in sheets for answer in sheet.answers.values()]
    assert len({answer for answer in held if held.count(answer) > 1 and answer}) >= 4, "the class shares mistakes"


def test_the_pair_is_one_answer_with_other_names():
    for name in demo.PAIR:
        one, other = demo._pair(name, again=False), demo._pair(name, again=True)
        assert one != other and "#" not in other
        assert not set(demo.RENAMED) & set(other.replace("(", " ").split())


@pytest.mark.slow
@pytest.mark.parametrize(("assignment", "number"), PLANNED)
def test_the_grader_finds_what_was_put_in(assignment, number, tmp_path):
    sheet, data = list(demo.sheets(assignment))[number]
    path = tmp_path / "x.ipynb"
    path.write_bytes(data)
    if sheet.way == "broken":
        with pytest.raises(submission.SubmissionError):
            submission.read(path)
        return
    known = exercises(assignment)
    verdicts = grade(submission.read(path).sources, list(known.values()), demo.SEED).verdicts
    if sheet.way == "untouched":
        assert all(verdict.todo for verdict in verdicts)
        return
    for verdict in verdicts:
        exercise, wanted = verdict.exercise, sheet.answers.get(verdict.exercise.name, "=solution")
        wrong = {misconception.name for misconception in exercise.misconceptions}
        if not wanted:
            assert verdict.todo
        elif wanted in wrong:
            assert verdict.diagnosis and verdict.diagnosis.name == wanted
        elif exercise.name == "softmax_temperature" and sheet.answers.get("softmax") in (
            "overflows",
            "normalises_the_whole_array",
        ):
            assert not verdict.passed, "it calls a softmax that is wrong"
        else:
            assert verdict.passed, verdict.laws


def test_who_came_by_lab_py_is_told_what_puts_the_tools_on_the_path(monkeypatch, tmp_path):
    monkeypatch.delenv("ATTNLAB_CALLED", raising=False)
    there = _around(tmp_path / "my class")
    assert there[0] == f'cd "{tmp_path / "my class"}"' and "attnlab history" in there
    monkeypatch.setenv("ATTNLAB_CALLED", "python lab.py")
    first, *rest = _around(tmp_path / "my class")
    assert rest == there and "activate" in first


@pytest.mark.slow
def test_the_demo_runs_from_the_course_to_the_report(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    done = attnlab("demo", "--dir", tmp_path / "demo", "--jobs", "1")
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "Collected 30 notebooks, 3 of them late" in said
    page = tmp_path / "demo" / "report.html"
    promised = re.search(r"^```console\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)[1]
    for line in promised.replace("demo/report.html", str(page)).splitlines():
        assert " ".join(line.split()) in said, "the README shows something else"
    assert opened == [page.as_uri()]
    report = json.loads(attnlab("report", "--json", "--out", tmp_path / "r.html", course=tmp_path / "demo").stdout)
    assert {frozenset(pair["students"]) for pair in report["alike"]} == {frozenset({"elif", "mateo"})}
    told = json.loads(attnlab("demo", "--dir", tmp_path / "quiet", "--no-open", "--json").stdout)
    assert len(told["grades"]["graded"]) == 29 and [row["student"] for row in told["grades"]["failed"]] == ["fergus"]
    assert told["report"] == str(tmp_path / "quiet" / "report.html")
    again = attnlab("demo", "--dir", tmp_path / "demo", "--no-open")
    assert again.exit_code == 2 and "is there already and is not empty" in again.stderr
    assert len(opened) == 1
