"""`attnlab export`: what is written can be read again, says the same as nbgrader, and runs on nobody's machine."""

import csv
import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from handed import CLASS, WRONG, attnlab, enrol, softmax, start, zipped
from nbgrader.api import Gradebook

from autograder import exporting, gradescope
from autograder.classroom import Classroom
from autograder.coursework import Coursework
from course.paths import ROOT

EVIL = "=cmd|' /C calc'!A0"


@pytest.fixture(scope="module")
def graded(released_once, tmp_path_factory) -> Path:
    """Four students, two chapters: right, wrong, late with a penalty, broken, a person's grade, nothing at all."""
    import shutil

    course = Path(shutil.copytree(released_once, tmp_path_factory.mktemp("graded") / "kurs"))
    enrol(course, *CLASS, f'eve,"{EVIL}","@SUM(1+1)*cmd, the ""second""",eve@example.org,1005')
    with (course / "nbgrader_config.py").open("a") as file:
        file.write('c.AssignLatePenalties.plugin_class = "autograder.late.PerDay"\nc.PerDay.percent = 50\n')
    attnlab("release", "00_start", "--due", "2026-11-20 18:00+00:00", course=course)
    file = zipped(
        course.parent / "a.zip",
        {
            "x_1001_1_a.ipynb": start(),
            "x_1001_2_b.ipynb": softmax(),
            "x_1002_3_a.ipynb": start(WRONG),
            "x_1005_4_a.ipynb": start(),
            "Ayşe Çelik_7_assignsubmission_file_/00_start.ipynb": b"{",
        },
    )
    assert attnlab("collect", file, course=course).exit_code == 0
    (course / "submitted" / "eve" / "00_start" / "timestamp.txt").write_text("2026-11-21 12:00 UTC")
    with Classroom(course) as classroom:
        assert sum(bool(result.error) for result in classroom.grade()) == 1
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        for grade in book.find_submission_notebook("01_softmax", "01_softmax", "anna").grades:
            if grade.name == "softmax":
                grade.manual_score, grade.extra_credit, grade.needs_manual_grade = 4.25, 0.5, True
        book.db.commit()
    return course


def export(course: Path, *words: str | Path) -> Path:
    done = attnlab("export", *words, "--json", course=course)
    assert done.exit_code == 1, done.output  # çelik's notebook is broken, and so without a grade
    return Path(json.loads(done.stdout)["written"][0])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_says_what_nbgraders_own_export_says(graded, tmp_path):
    from nbgrader.plugins import CsvExportPlugin

    ours = {(r["assignment"], r["student_id"]): r for r in table(export(graded, "--out", tmp_path / "a.csv"))}
    with Gradebook(f"sqlite:///{graded / 'gradebook.db'}") as book:
        plugin = CsvExportPlugin()
        plugin.to, plugin.student, plugin.assignment = str(tmp_path / "theirs.csv"), [], []
        book.find_student("eve").first_name = book.find_student("eve").last_name = "e"  # theirs does not quote
        plugin.export(book)
        book.db.rollback()
    theirs = table(tmp_path / "theirs.csv")
    assert len(theirs) == len(ours) == 10
    for row in theirs:
        mine = ours[row["assignment"], row["student_id"]]
        for column in ("raw_score", "late_submission_penalty", "score", "max_score"):
            assert float(mine[column] or 0) == pytest.approx(float(row[column])), (mine, row)
    assert ours["00_start", "dora"]["score"] == ours["00_start", "çelik"]["score"] == ""
    assert (ours["00_start", "eve"]["raw_score"], ours["00_start", "eve"]["score"]) == ("3", "1.5")
    assert ours["01_softmax", "anna"]["score"] == "4.75"


def test_a_row_an_exercise(graded, tmp_path):
    rows = table(export(graded, "--exercises", "--out", tmp_path / "a.csv"))
    assert len(rows) == 5 * (1 + 4)
    assert [r["score"] for r in rows if r["student_id"] == "anna"] == ["3", "4.75", "0", "0", "0"]
    assert {r["max_score"] for r in rows if r["exercise"] == "softmax"} == {"6"}


@pytest.mark.parametrize("form", ["csv", "canvas", "moodle"])
def test_no_name_is_a_formula(graded, tmp_path, form):
    path = export(graded, "--to", form, "--out", tmp_path / "a.csv")
    with path.open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(exporting.FORMULA)]
    assert any(EVIL in cell for cell in cells), "and the name is there all the same"


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "＝1"])
def test_what_a_spreadsheet_runs_is_text(text):
    assert exporting.safe(text) == f"'{text}"
    assert exporting.safe(f"a{text}") == f"a{text}"
    assert exporting.safe(None) == ""


def test_canvas_takes_it(graded, tmp_path):
    """As Canvas's importer reads it: the first columns by name, then worth, then students by id."""
    words = ["--to", "canvas", "--column", "00_start=Start (4711)", "--out", tmp_path / "c.csv"]
    with export(graded, *words).open(encoding="utf-8", newline="") as file:
        head, worth, *students = csv.reader(file)
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Start (4711)", "01_softmax"]
    assert worth == ["    Points Possible", "", "", "", "", "3", "23"]
    by_id = {row[1]: row for row in students if row[1]}
    assert by_id["1001"] == ["Berg, Anna Maria", "1001", "anna", "anna@example.org", "", "3", "4.75"]
    assert by_id["1003"][5:] == ["", ""]
    assert len({len(row) for row in (head, worth, *students)}) == 1
    zeros = [*words[:2], "--zeros", "--out", tmp_path / "z.csv"]
    with export(graded, *zeros).open(encoding="utf-8", newline="") as file:
        assert {row[1]: row[5:] for row in csv.reader(file)}["1003"] == ["0", "0"]


def test_moodle_takes_it(graded, tmp_path):
    rows = table(export(graded, "--to", "moodle", "00_start", "--out", tmp_path / "m.csv"))
    assert list(rows[0]) == ["First name", "Last name", "ID number", "Email address", "00_start"]
    assert {r["Email address"]: r["00_start"] for r in rows}["ben@example.org"] == "2"


def test_parquet_has_types_and_is_the_same_table(graded, tmp_path):
    from pyarrow import parquet

    read = parquet.read_table(export(graded, "--to", "parquet", "--out", tmp_path / "g.parquet"))
    rows = {(r["assignment"], r["student_id"]): r for r in read.to_pylist()}
    assert rows["00_start", "eve"]["score"] == 1.5
    assert rows["00_start", "eve"]["last_name"].startswith("@SUM"), "no spreadsheet: names as they are"
    assert rows["00_start", "eve"]["first_name"] == EVIL
    assert rows["00_start", "dora"]["score"] is None
    assert rows["00_start", "eve"]["duedate"].replace(tzinfo=None) == datetime(2026, 11, 20, 18)
    assert str(read.schema.field("needs_manual_grade").type) == "bool"


def test_what_is_written_is_for_its_owner_only(graded):
    path = export(graded)
    assert path == graded / "exports" / "grades.csv"
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_summary_says_what_waits(graded):
    done = attnlab("export", course=graded)
    assert "4 grades of 5 students." in " ".join(done.stdout.split())
    assert "1 waiting for a person to look; run: nbgrader formgrader" in done.stderr
    assert "1 submission not graded yet; run: attnlab grade" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["02_nope"], "The gradebook has no assignment 02_nope; it has 00_start, 01_softmax."),
        (["--column", "Softmax"], "--column Softmax: write ASSIGNMENT=TITLE with one of 00_start, 01_softmax"),
        (["--out", "{file}/x.csv"], "is a file, and a folder is needed there"),
    ],
)
def test_what_cannot_be_exported_is_told(graded, words, said):
    given = [word.format(file=graded / "students.csv") for word in words]
    done = attnlab("export", *given, course=graded)
    assert done.exit_code == 2 and said in done.stderr


def test_a_course_without_a_release_is_told(tmp_path):
    attnlab("course", "new", tmp_path / "c", "--chapters", "0")
    done = attnlab("export", course=tmp_path / "c")
    assert done.exit_code == 2 and "run: attnlab release" in done.stderr


def test_a_class_of_thousands_is_read_with_one_query_an_assignment(graded):
    from sqlalchemy import event

    with Coursework(graded) as course:
        asked: list[str] = []
        event.listen(course.classroom.gradebook.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
        exporting.rows(course, ["00_start"])
    assert sum("FROM submitted_assignment" in statement for statement in asked) == 1
    assert len(asked) < 12, asked


# -------------------------------------------------------------------------------------------------------- Gradescope


@pytest.fixture(scope="module")
def scope(graded, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gradescope")
    export(graded, "--to", "gradescope", "--out", folder)
    return folder


def test_results_say_each_law_the_diagnosis_and_the_points(scope):
    ben = json.loads((scope / "results" / "00_start" / "ben.json").read_text(encoding="utf-8"))
    assert ben["score"] == sum(test["score"] for test in ben["tests"]) == 2
    assert sum(test["max_score"] for test in ben["tests"]) == 3
    (failed,) = [test for test in ben["tests"] if test["status"] == "failed"]
    assert failed["name"] == "halfway: Halfway between 1 and 2 is 1.5, not 1."
    assert failed["output"].startswith("✗ Halfway between 1 and 2 is 1.5, not 1.")
    assert failed["output"].endswith("This divides with `//`, which rounds down. `/` keeps the fraction.")
    assert {test["output_format"] for test in ben["tests"]} == {"text"}
    eve = json.loads((scope / "results" / "00_start" / "eve.json").read_text(encoding="utf-8"))
    assert eve["score"] == 1.5 and sum(test["score"] for test in eve["tests"]) == 3, "the penalty counts"
    celik = json.loads((scope / "results" / "00_start" / "çelik.json").read_text(encoding="utf-8"))
    assert celik["score"] == 0 and "not a notebook" in celik["output"]
    assert not (scope / "results" / "00_start" / "dora.json").exists()


def test_of_what_nbgrader_graded_itself_the_points_are_told():
    assert gradescope.by_exercise({"softmax": (5.0, 6.0)}, 4.5) == {
        "tests": [{"name": "softmax", "score": 5.0, "max_score": 6.0}],
        "score": 4.5,
    }


def test_the_bundle_is_whole_and_the_same_twice(graded, scope):
    data = (scope / "autograder-00_start.zip").read_bytes()
    seed = int((graded / "seed.txt").read_text())
    assert data == gradescope.bundle("00_start", ["halfway"], seed)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        modes = {info.filename: stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()}
        assert modes["setup.sh"] == modes["run_autograder"] == 0o755
        assert json.loads(archive.read("settings.json")) == {
            "assignment": "00_start", "exercises": ["halfway"], "seed": seed,
        }  # fmt: skip
        pinned = archive.read("requirements.txt").decode().splitlines()
        assert {line.partition("==")[0] for line in pinned} == set(gradescope.PINNED)
        for script in ("setup.sh", "run_autograder"):
            assert b"\r" not in archive.read(script)
            if sys.platform != "win32":
                subprocess.run(["bash", "-n"], input=archive.read(script), check=True)
    assert not [name for name in modes if "__pycache__" in name or name.startswith(("tests", "course", "solutions"))]


def run_bundle(scope: Path, root: Path, files: dict[str, bytes]) -> dict:
    """What Gradescope does, in folders of its own: nothing of this repository is on the path."""
    with zipfile.ZipFile(scope / "autograder-00_start.zip") as archive:
        archive.extractall(root / "source")
    for name, data in files.items():
        path = root / "submission" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    source = root / "source"
    command = (source / "run_autograder").read_text().splitlines()[-1].split()[2:]
    assert command == ["-P", "-m", "autograder.gradescope", "/autograder"]
    places = os.pathsep.join([str(source / "lib"), str(source)])
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": places}
    done = subprocess.run(
        [sys.executable, *command[:-1], str(root)], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads((root / "results" / "results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_bundle_grades_as_gradescope_runs_it(scope, tmp_path):
    found = run_bundle(scope, tmp_path, {"folder/renamed.ipynb": start(WRONG), "other.ipynb": softmax()})
    assert sum(test["score"] for test in found["tests"]) == 2
    assert "isolation" in found["extra_data"]
    assert str(ROOT) not in json.dumps(found)


def test_without_the_right_notebook_gradescope_says_so(tmp_path):
    from autograder import catalogue

    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "softmax.ipynb").write_bytes(softmax())
    found = gradescope.grade_folder(tmp_path, [catalogue.by_name()["halfway"]], 5)
    assert found["score"] == 0 and found["tests"] == []
    assert "broken.ipynb:1: not a notebook" in found["output"]
    assert "No notebook with halfway was uploaded" in found["output"]


def test_a_fault_of_ours_is_told_to_the_instructor_only(tmp_path, monkeypatch, capsys):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "settings.json").write_text('{"assignment": "a", "exercises": ["halfway"], "seed": 5}')

    def fail(*_):
        raise RuntimeError("secret 5")

    monkeypatch.setattr(gradescope, "grade_folder", fail)
    assert gradescope.main(tmp_path) == 0
    text = (tmp_path / "results" / "results.json").read_text()
    assert "The autograder failed" in text and "secret" not in text
    assert "RuntimeError: secret 5" in capsys.readouterr().err
