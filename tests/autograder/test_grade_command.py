"""``attnlab grade`` in a course's folder, and ``attnlab history``."""

import json
import os
import shutil

import pytest
from classes import CLASS, NAME, book, hand_in, lab
from submissions import SEED
from typer.testing import CliRunner

from autograder.classroom import Classroom
from autograder.version import version
from course.command import app


def attnlab(*words: str, status: int = 0):
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done


def test_a_course_is_graded_and_only_what_is_new(course, monkeypatch):
    hand_in(course, "anna", CLASS["anna"])
    hand_in(course, "ben", CLASS["ben"])
    hand_in(course, "hugo", b"no notebook")
    shutil.copytree(course / "submitted" / "anna" / NAME, course / "submitted" / "anna" / "lost")
    monkeypatch.chdir(course)
    done = attnlab("grade", "--jobs", "1", status=1)
    assert done.stdout.split()[:10] == ["assignment", "graded", "failed", "mean", "of", NAME, "2", "1", "22.0", "26"]
    assert "submitted/hugo/lab/lab.ipynb" in done.stderr and "not a notebook" in done.stderr
    assert "1 handed in lost, which the gradebook does not have" in done.stderr
    assert "[3/3]" in done.stderr
    found = json.loads(attnlab("grade", "--json", "--jobs", "1", status=1).stdout)
    assert (found["graded"], found["unchanged"], found["left"]) == ([], 2, 0)
    assert [row["student"] for row in found["failed"]] == ["hugo"]
    (course / "submitted" / "hugo" / NAME / f"{NAME}.ipynb").write_text(json.dumps(lab({})))
    found = json.loads(attnlab("grade", "--json", "--jobs", "1").stdout)
    assert found["graded"] == [{"assignment": NAME, "student": "hugo", "points": 23, "of": 26}]
    assert "Nothing is new: all 3 submissions are graded." in attnlab("grade").stdout
    assert book(course)["hugo"]["softmax"][0] == 6


def test_the_summary_says_where_grades_of_another_seed_stand(course):
    hand_in(course, "anna", CLASS["anna"])
    attnlab("grade", "--course", course)
    assert "1 grades are from another seed" in attnlab("grade", "--course", course, "--seed", 5).stdout
    attnlab("grade", "--course", course, "--seed", 5, "--force")
    assert "another seed" not in attnlab("grade", "--course", course, "--seed", 5).stdout


def test_verdicts_are_kept_as_data_with_who_when_seed_and_version(course):
    hand_in(course, "ben", CLASS["ben"], "2026-01-09 12:00:00 UTC")
    attnlab("grade", "--course", course, "--student", "ben", "--assignment", NAME)
    with Classroom(course) as classroom:
        (event,) = classroom.history()
        assert classroom.latest() == {(NAME, "ben"): event}
    assert (event.before, event.after, event.worth, event.error) == (None, 21, 26, "")
    assert (event.seed, event.version) == (SEED, version())
    assert event.who.endswith("@" + os.uname().nodename)
    assert event.handed_in.isoformat() == "2026-01-09T12:00:00+00:00"
    assert event.at.utcoffset().total_seconds() == 0
    softmax, *others = event.verdicts
    assert (softmax["notebook"], softmax["exercise"], softmax["points"], softmax["of"]) == (NAME, "softmax", 5, 6)
    assert (softmax["misconception"], softmax["certain"]) == ("subtracts_the_minimum", True)
    assert [law["status"] for law in softmax["laws"]].count("fail") == 1
    assert [verdict["points"] for verdict in others] == [5, 5, 6]


def test_a_regrade_changes_nothing_and_is_remembered(course):
    hand_in(course, "ben", CLASS["ben"])
    attnlab("grade", "--course", course)
    before = book(course)
    attnlab("grade", "--course", course, "--force", "--seed", 5)
    assert book(course) == before
    first, second = json.loads(attnlab("history", "ben", "--course", course, "--json").stdout)
    assert (first["before"], first["after"], second["before"], second["after"]) == (None, 21, 21, 21)
    assert (first["seed"], second["seed"]) == (SEED, 5)
    shown = attnlab("history", "--course", course).stdout.split("\n")
    assert len(shown) == 4 and shown[1].split()[2:7] == [NAME, "ben", "–", "21", "26"]
    attnlab("history", "nobody", "--course", course, status=1)


def test_a_submission_that_is_handed_in_again_is_graded_again(course):
    hand_in(course, "ben", CLASS["ben"])
    attnlab("grade", "--course", course)
    hand_in(course, "ben", CLASS["anna"])  # no timestamp says so
    found = json.loads(attnlab("grade", "--course", course, "--json").stdout)
    assert [row["points"] for row in found["graded"]] == [23]


def test_a_failure_is_remembered_once_until_something_changes(course):
    hand_in(course, "hugo", b"no notebook")
    for _ in range(2):
        attnlab("grade", "--course", course, status=1)
    hand_in(course, "hugo", b"still none")
    attnlab("grade", "--course", course, status=1)
    with Classroom(course) as classroom:
        assert [(e.before, e.after, "not a notebook" in e.error) for e in classroom.history()] == [
            (None, None, True),
            (None, None, True),
        ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grade", "--course", "."], "is no course, for there is no nbgrader_config.py in it"),
        (["history"], "is no course"),
        (["grade", "a.ipynb", "--force"], "--force is for a whole course; with a.ipynb named, leave it out"),
    ],
)
def test_what_cannot_be_done_is_said(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in attnlab(*words, status=2).stderr


def test_an_assignment_that_is_not_released_is_refused(course):
    done = attnlab("grade", "--course", course, "--assignment", "lib", status=2)
    assert "run attnlab release lib first" in done.stderr


def test_ctrl_c_stops_kindly_and_the_next_run_goes_on(course, monkeypatch):
    for student in ("anna", "ben", "dora"):
        hand_in(course, student, CLASS[student])
    real = Classroom.grade

    def interrupted(self, *words, **options):
        for number, result in enumerate(real(self, *words, **options)):
            if number == 1:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(Classroom, "grade", interrupted)
    done = attnlab("grade", "--course", course, "--jobs", "1", status=130)
    assert "Stopped. 2 are left; give the same command again" in done.stdout
    monkeypatch.undo()
    found = json.loads(attnlab("grade", "--course", course, "--jobs", "1", "--json").stdout)
    assert [row["student"] for row in found["graded"]] == ["dora"]
