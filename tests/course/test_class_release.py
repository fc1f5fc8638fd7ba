"""`attnlab course new` and `attnlab release`: a course of one's own, and what students get."""

import json
import stat
import subprocess
import sys
import zipfile
from datetime import datetime

import pytest
from handed import CLASS, attnlab, enrol
from nbgrader.api import Gradebook

from autograder import releasing, roster
from autograder.database import GradebookError
from autograder.late import PerDay
from autograder.roster import Clue, Register, Student
from course import newcourse, paths


def book(course) -> Gradebook:
    return Gradebook(f"sqlite:///{course / 'gradebook.db'}")


# ---------------------------------------------------------------------------------------------------------- a course


def test_a_new_course_has_its_own_secret_seed_and_git_does_not_take_it(tmp_path):
    done = attnlab("course", "new", tmp_path / "a" / "kurs", "--chapters", "1-2,0")
    assert done.exit_code == 0, done.output
    course = tmp_path / "a" / "kurs"
    assert [p.name for p in sorted((course / "solutions").iterdir())] == [
        "00_start", "01_softmax", "02_weighted_averaging",
    ]  # fmt: skip
    seed = course / "seed.txt"
    other = newcourse.make(tmp_path / "other", "0").folder / "seed.txt"
    assert int(seed.read_text()) != int(other.read_text())
    if sys.platform != "win32":
        assert stat.S_IMODE(seed.stat().st_mode) == 0o600
        assert stat.S_IMODE(course.stat().st_mode) == 0o700
    subprocess.run(["git", "init", "-q", str(course)], check=True)
    for name in ("gradebook.db", "report.html", "hand-ins.zip"):
        (course / name).touch()
    added = subprocess.run(
        ["git", "-C", str(course), "ls-files", "--others", "--exclude-standard"], capture_output=True, text=True
    ).stdout.split()
    assert {name.split("/")[0] for name in added} == {".gitignore", "nbgrader_config.py", "solutions"}


def test_the_settings_hold_the_seed_the_name_and_the_judge(tmp_path):
    from autograder.classroom import Classroom

    paths.put_own_tools_first()
    course = newcourse.make(tmp_path / "Kurs 2027", "0").folder
    with Classroom(course) as classroom:
        assert classroom.seed == int((course / "seed.txt").read_text())
        assert classroom.course.course_id == "Kurs-2027"
    text = (course / "nbgrader_config.py").read_text(encoding="utf-8")
    knobs = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# c.")]
    assert len(knobs) == 6
    namespace: dict = {"c": __import__("traitlets.config").config.Config()}
    exec("\n".join(knobs), namespace)
    assert namespace["c"].PerDay.percent == 10


@pytest.mark.parametrize("there", ["a file", "a full folder"])
def test_nothing_is_overwritten(tmp_path, there):
    target = tmp_path / "kurs"
    if there == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    done = attnlab("course", "new", target, "--chapters", "0")
    assert done.exit_code == 2
    assert ("is a file" if there == "a file" else "nothing was changed") in done.stderr
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [target.name if there == "a file" else "mine.txt"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--chapters", "77"], "--chapters 77: there is no such chapter; there are 0, 1, 2"),
        (["--chapters", "soft"], "--chapters soft: there is no such chapter"),
        (["--name", "../up"], "--name '../up': is part of file names"),
    ],
)
def test_what_cannot_be_made_is_told_and_leaves_nothing(tmp_path, options, said):
    done = attnlab("course", "new", tmp_path / "kurs", *options)
    assert done.exit_code == 2 and said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_next_steps_are_words_of_the_command(tmp_path):
    from course.command import app

    words = {command.callback.__name__ for command in app.registered_commands if command.callback}
    from course.commands.course import next_steps

    named = [line.split()[1] for line in next_steps(tmp_path) if line.startswith("  attnlab")]
    assert len(named) == 4 and set(named) <= words | {"export"}


# ---------------------------------------------------------------------------------------------------------- students


def test_a_list_of_students_is_read_as_platforms_write_it(tmp_path):
    path = tmp_path / "students.csv"
    path.write_text('\ufeffStudent;SIS User ID;E-Mail\n"Berg, Anna";a1;anna@x.org\nBen von Au;b2;\n', "utf-8")
    read = roster.read(path)
    assert read.odd == []
    assert read.students == [
        Student("a1", "Anna", "Berg", "anna@x.org"),
        Student("b2", "Ben von", "Au"),
    ]
    path.write_bytes("id,last_name\nç1,Çelik\n".encode("cp1252"))
    read = roster.read(path)
    assert [s.last_name for s in read.students] == ["Çelik"]
    assert "not UTF-8" in read.odd[0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (",Anna,Berg,,", "students.csv:3: Anna Berg has no id; left out"),
        ("dup,Other,Name,,", "students.csv:3: dup stands here a second time, otherwise; the first one counts"),
        ("a/b,Anna,Berg,,", "'a/b' cannot name a folder"),
        ("..,Anna,Berg,,", "'..' cannot name a folder"),
        ("=1+1,Anna,Berg,,", "'=1+1' would be a formula in a spreadsheet"),
        ("<b>,Anna,Berg,,", "'<b>' is no id"),
        ("Aux,Aux,Ilia,,", "'Aux' is the name of a device on Windows"),
        ("x,a,b,c,d,e", "students.csv:3: has 6 cells where the first line names 5"),
        ("x,Anna,Berg,D@x.org,", "students.csv:3: x has the e-mail address of dup"),
    ],
)
def test_an_odd_row_is_told_with_its_line(tmp_path, row, said):
    path = tmp_path / "students.csv"
    path.write_text(f"id,first_name,last_name,email,lms_user_id\ndup,D,U,d@x.org,\n{row}\n", "utf-8")
    (sentence,) = roster.read(path).odd
    assert said in sentence


def test_a_list_without_ids_says_what_its_first_line_should_be(tmp_path):
    path = tmp_path / "students.csv"
    path.write_text("nom\nAnna\n")
    assert roster.read(path).odd == [
        f"{path}:1: has no column called id; its first line should be: id,first_name,last_name,email,lms_user_id"
    ]
    assert roster.read(tmp_path / "none.csv") == roster.Roster()


@pytest.mark.parametrize(
    ("clue", "ids"),
    [
        (Clue(id="ANNA"), ["anna"]),
        (Clue(email="Anna@Example.org"), ["anna"]),
        (Clue(lms_user_id="1003", name="anna"), ["çelik"]),
        (Clue(name="Berg Anna Maria"), ["anna"]),
        (Clue(name="berganna maria"), ["anna"]),
        (Clue(name="celikayse"), ["çelik"]),
        (Clue(name="C\u0327elik, Ays\u0327e"), ["çelik"]),
        (Clue(id="dora@anything.org"), []),
        (Clue(email="dora@anything.org"), ["dora"]),
        (Clue(email="ben@elsewhere.org"), []),
        (Clue(name="Anna"), []),
        (Clue(), []),
        (Clue(name="Kim Lee"), ["kim1", "kim2"]),
    ],
)
def test_who_is_meant(tmp_path, clue, ids):
    enrol(tmp_path, *CLASS, "kim1,Kim,Lee,,", "kim2,Lee,Kim,,")
    register = Register(roster.read(tmp_path / "students.csv").students)
    assert [student.id for student in register.find(clue)] == ids


# ----------------------------------------------------------------------------------------------------------- release


def test_release_makes_what_the_repository_ships_and_enters_it(classroom, tmp_path):
    enrol(classroom, *CLASS)
    done = attnlab("release", "--due", "2026-12-01 18:00+01:00", "--json", course=classroom)
    assert done.exit_code == 0, done.output
    came = json.loads(done.stdout)
    assert came["released"] == [
        {"assignment": "00_start", "points": 3, "exercises": 1, "due": "2026-12-01T17:00:00Z"},
        {"assignment": "01_softmax", "points": 23, "exercises": 4, "due": "2026-12-01T17:00:00Z"},
    ]
    assert came["students"] == {"added": ["anna", "ben", "çelik", "dora"], "changed": [], "enrolled": 4}
    for name in ("00_start", "01_softmax"):
        ours = (classroom / "notebooks" / name / f"{name}.ipynb").read_text(encoding="utf-8")
        assert json.loads(ours) == json.loads(paths.derived(paths.NOTEBOOKS, name).read_text(encoding="utf-8"))
    with book(classroom) as found:
        assert found.find_assignment("01_softmax").duedate == datetime(2026, 12, 1, 17)


def test_a_second_release_adds_changes_and_removes_nobody(classroom):
    enrol(classroom, *CLASS)
    attnlab("release", "00_start", course=classroom)
    enrol(classroom, "anna,Anna,Berg-Ley,anna@example.org,1001", "emil,Emil,,,", "a/b,,,,")
    done = attnlab("release", "00_start", course=classroom)
    assert done.exit_code == 1
    assert "5 students: 1 new, 1 changed." in done.stdout
    assert "cannot name a folder" in done.stderr
    with book(classroom) as found:
        assert found.find_student("anna").last_name == "Berg-Ley"
        assert found.find_student("ben").last_name == "O'Neill"


def test_the_zip_holds_students_notebooks_and_is_the_same_twice(classroom, tmp_path):
    files = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for file in files:
        assert attnlab("release", "00_start", "--zip", file, course=classroom).exit_code == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    with zipfile.ZipFile(files[0]) as archive:
        assert archive.namelist() == ["00_start/00_start.ipynb"]
        assert b"NotImplementedError" in archive.read("00_start/00_start.ipynb")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["02_nope"], "02_nope: there is no such assignment in the source folder; there are 00_start, 01_softmax"),
        (["softmax"], "did you mean 01_softmax?"),
        (["--due", "tomorrow"], "'tomorrow' is no time; write it like this: 2026-12-01 18:00"),
        (
            ["00_start", "--zip", "no/such/folder/a.zip"],
            "No such file or directory; see that you may read and write there",
        ),
        (["00_start", "--exchange"], "00_start: the exchange does not take it"),
    ],
)
def test_what_cannot_be_released_is_told(classroom, words, said):
    with (classroom / "nbgrader_config.py").open("a") as file:
        file.write(f"\nc.Exchange.root = {str(classroom / 'students.csv')!r}\n")
    done = attnlab("release", *words, course=classroom)
    assert done.exit_code == 2 and said in done.stderr


def test_outside_a_course_the_way_to_one_is_told(tmp_path):
    for words in (["release"], ["collect", str(tmp_path)]):
        done = attnlab(*words, course=tmp_path)
        assert done.exit_code == 2
        assert "no course is here" in done.stderr and "attnlab course new FOLDER" in done.stderr


def test_settings_that_do_not_run_are_told_with_their_error(classroom):
    (classroom / "nbgrader_config.py").write_text("1 / 0")
    done = attnlab("release", course=classroom)
    assert done.exit_code == 2 and "cannot be run (ZeroDivisionError: division by zero)" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="nbgrader's exchange needs Linux or macOS")
def test_the_exchange_takes_a_release(classroom, tmp_path):
    shared = tmp_path / "exchange"
    shared.mkdir()
    shared.chmod(0o777)
    with (classroom / "nbgrader_config.py").open("a") as file:
        file.write(f"\nc.Exchange.root = {str(shared)!r}\n")
    done = attnlab("release", "00_start", "--exchange", course=classroom)
    assert done.exit_code == 0, done.output
    assert list(shared.rglob("00_start.ipynb"))


def test_a_day_is_over_at_its_end_and_a_zone_is_kept():
    late = releasing.parse_due("2026-12-01")
    assert (late - releasing.parse_due("2026-12-01 23:59:59")).total_seconds() == 0
    assert releasing.parse_due("2026-12-01T12:00+02:00") == datetime(2026, 12, 1, 10)
    with pytest.raises(GradebookError):
        releasing.parse_due("1.12.")


@pytest.mark.parametrize(
    ("seconds", "points"), [(60, None), (901, 2), (86_400, 2), (2 * 86_400 + 901, 6), (40 * 86_400, 20)]
)
def test_a_penalty_grows_by_the_day_after_some_grace(seconds, points):
    assert PerDay().late_submission_penalty("anna", 20.0, seconds) == points
