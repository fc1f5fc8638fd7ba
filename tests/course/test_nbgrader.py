"""A plain nbgrader course made from this repository: generate, autograde, feed back, export."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course.paths import LIBRARY, ROOT, SOLUTIONS

pytestmark = pytest.mark.slow

ANSWERS = {
    "anna": "e = np.exp(x - x.max(axis=axis, keepdims=True))\n    return e / e.sum(axis=axis, keepdims=True)",
    "ben": "e = np.exp(x - x.min(axis=axis, keepdims=True))\n    return e / e.sum(axis=axis, keepdims=True)",
    "çelik": "raise NotImplementedError()",
}


def nbgrader(course: Path, *words: str) -> str:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(LIBRARY), str(ROOT)]),
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "nbgrader", *words]
    done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """Release chapter 1, and three students who hand it in."""
    root = tmp_path_factory.mktemp("kurs für alle")
    shutil.copytree(SOLUTIONS, root / "solutions")
    shutil.copy(ROOT / "nbgrader_config.py", root)
    nbgrader(root, "generate_assignment", "01_softmax")
    released = (root / "notebooks" / "01_softmax" / "01_softmax.ipynb").read_text(encoding="utf-8")
    for student, answer in ANSWERS.items():
        notebook = json.loads(released)
        for cell in notebook["cells"]:
            if "".join(cell["source"]).startswith("def softmax("):
                cell["source"] = f"def softmax(x, axis=-1):\n    {answer}"
        handed_in = root / "submitted" / student / "01_softmax" / "01_softmax.ipynb"
        handed_in.parent.mkdir(parents=True)
        handed_in.write_text(json.dumps(notebook), encoding="utf-8")
    nbgrader(root, "autograde", "01_softmax")
    return root


def test_release_is_what_the_repository_ships(course):
    name = Path("notebooks") / "01_softmax" / "01_softmax.ipynb"
    ours, theirs = (json.loads((root / name).read_text(encoding="utf-8")) for root in (ROOT, course))
    assert ours == theirs


def test_grades_are_in_the_gradebook_and_in_the_export(course):
    nbgrader(course, "export", "--to", "grades.csv")
    with (course / "grades.csv").open(encoding="utf-8") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert {student: float(rows[student]["raw_score"]) for student in ANSWERS} == {"anna": 6, "ben": 5, "çelik": 0}
    assert all(float(row["max_score"]) == 23 for row in rows.values())


def test_each_law_stands_in_the_gradebook_under_its_exercise(course):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        notebook = gradebook.find_submission_notebook("01_softmax", "01_softmax", "ben")
        grades = {grade.name: (grade.auto_score, grade.max_score) for grade in notebook.grades}
    assert grades == {"softmax": (5, 6), "log_softmax": (0, 5), "softmax_temperature": (0, 6), "softmax_vjp": (0, 6)}


def test_feedback_tells_the_student_what_they_misunderstood(course):
    nbgrader(course, "generate_feedback", "01_softmax")
    page = (course / "feedback" / "ben" / "01_softmax" / "01_softmax.html").read_text(encoding="utf-8")
    assert "This is what comes out when the minimum is subtracted." in page
    assert "5 of 6 laws hold" in page
    assert "all 6 laws hold" in (course / "feedback" / "anna" / "01_softmax" / "01_softmax.html").read_text("utf-8")


def test_a_second_run_changes_no_grade(course):
    nbgrader(course, "autograde", "01_softmax", "--force", "--student", "ben")
    test_each_law_stands_in_the_gradebook_under_its_exercise(course)
