"""The gradebook in PostgreSQL: a real server, several writers, nbgrader's own tools on it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from urllib.parse import quote

import pytest
from classes import CLASS, NAME, book, hand_in, nbgrader
from typer.testing import CliRunner

from autograder.classroom import Classroom, GradebookError, Graded
from autograder.database import normal
from course.command import app

if sys.platform == "win32":
    pytest.skip("the server of these tests listens on a Unix socket", allow_module_level=True)

import servers
import sqlalchemy

STAMP = "2026-01-09 12:00:00 UTC"


@pytest.fixture(scope="module")
def server():
    try:
        with servers.postgresql() as url:
            yield url
    except servers.Unavailable as why:
        if os.environ.get("CI", "").lower() == "true":
            raise
        pytest.skip(f"no PostgreSQL server: {why}")


def create(server: str, name: str, model: str = "template1") -> str:
    """The URL of a new database, a copy of another one."""
    engine = sqlalchemy.create_engine(normal(server), isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE {model}')
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="module")
def model(server, template, tmp_path_factory) -> str:
    """A database into which nbgrader itself has generated the assignment."""
    url = create(server, "model")
    course = tmp_path_factory.mktemp("model")
    subprocess.run(["cp", "-r", f"{template}/.", str(course)], check=True)
    (course / "gradebook.db").unlink()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ATTNLAB_DB", url)
        nbgrader(course, "generate_assignment", NAME, "--force")
    assert not (course / "gradebook.db").exists()
    return "model"


@pytest.fixture
def url(server, model, request) -> str:
    """A database of the server, with the assignment in it."""
    return create(server, request.node.name[:60], model)


@pytest.fixture
def released(course, url, monkeypatch) -> Path:
    """A course whose gradebook is in the server, and a class that has handed in."""
    monkeypatch.setenv("ATTNLAB_DB", url)
    (course / "gradebook.db").unlink()
    for student in ("anna", "ben", "çelik", "dora"):
        hand_in(course, student, CLASS[student], STAMP)
    return course


def graded_in(course: Path, url: str | None, **options) -> dict:
    with Classroom(course, database=url) as classroom:
        return {result.student: result.points for result in classroom.grade(NAME, **options)}


def test_a_class_is_graded_into_postgresql_and_nbgrader_exports_from_it(released, url, monkeypatch):
    assert graded_in(released, None, jobs=2) == {"anna": 23, "ben": 21, "çelik": 11, "dora": 23}
    assert graded_in(released, url) == {}
    assert not (released / "gradebook.db").exists()
    nbgrader(released, "export", "--to", "grades.csv")
    rows = (released / "grades.csv").read_text().splitlines()
    assert any(",ben," in row and ",21.0," in row for row in rows)
    (released / "nbgrader_config.py").write_text(
        f"from autograder.nbgrader import configure\nconfigure(get_config(), seed=5, database={url!r})\n"
    )
    monkeypatch.delenv("ATTNLAB_DB")
    with Classroom(released) as classroom:
        assert classroom.course.db_url.startswith("postgresql+psycopg://")
        events = classroom.latest()
        assert events[NAME, "ben"].verdicts[0]["misconception"] == "subtracts_the_minimum"
        assert events[NAME, "çelik"].handed_in.isoformat() == "2026-01-09T12:00:00+00:00"


def test_postgresql_and_sqlite_hold_the_same(released, url, template, tmp_path_factory, monkeypatch):
    from nbgrader.api import Gradebook as Stock

    graded_in(released, url)
    with Stock(normal(url)) as stock:
        there = {s.student.id: s.score for s in stock.find_assignment(NAME).submissions}
    monkeypatch.delenv("ATTNLAB_DB")
    (released / "gradebook.db").write_bytes((template / "gradebook.db").read_bytes())
    graded_in(released, None, force=True)
    assert there == {student: scores["score"] for student, scores in book(released).items()}


def test_report_feedback_export_and_history_read_it_by_their_db_option(released, url, monkeypatch):
    graded_in(released, url)
    monkeypatch.delenv("ATTNLAB_DB")
    told = {}
    for words in (["report", "--out", str(released / "r.html")], ["feedback"], ["export", "--to", "csv"], ["history"]):
        done = CliRunner().invoke(app, [*words, "--course", str(released), "--db", url, "--json"])
        assert done.exit_code == 0, done.output
        told[words[0]] = done.output
    assert "ben" in (released / "r.html").read_text(encoding="utf-8")
    assert len(list((released / "feedback").glob("*/*/*.html"))) == 4
    assert all(student in told["history"] for student in ("anna", "ben", "dora"))
    assert any(
        "ben" in row and "21" in row for path in released.rglob("*.csv") for row in path.read_text().splitlines()
    )
    assert not (released / "gradebook.db").exists()


def test_four_writers_at_once_lose_nothing_and_write_nothing_twice(released, url):
    """Four runs over one class, each with connections of its own, that write the same rows at the same time."""
    with Classroom(released, database=url) as classroom:
        (ben,) = classroom.grade(NAME, students=["ben"])
    students = [f"s{number}" for number in range(10)]
    for student in students:
        hand_in(released, student, CLASS["ben"], STAMP)
    together = Barrier(4)

    def judges(books, seed, waiting):
        together.wait(300)  # all four have seen that nothing is graded yet
        for number, handed in enumerate(waiting):
            yield number, Graded(NAME, handed.student, ben.marks, ben.files, verdicts=ben.verdicts)

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(graded_in, released, url, students=students, judges=judges) for _ in range(4)]
    assert [run.result() for run in runs] == [dict.fromkeys(sorted(students), 21)] * 4
    with Classroom(released, database=url) as classroom:
        events = classroom.history(students=students)
    assert sorted(event.student for event in events) == students
    assert {(event.before, event.after) for event in events} == {(None, 21)}


def test_one_database_holds_one_course(released, url, tmp_path):
    graded_in(released, url)
    other = tmp_path / "another"
    other.mkdir()
    (other / "nbgrader_config.py").write_text((released / "nbgrader_config.py").read_text())
    with pytest.raises(GradebookError, match=rf"holds the course '{released.name}', and this is the course 'another'"):
        Classroom(other, database=url)
    renamed = f"c = get_config()\nc.CourseDirectory.course_id = {released.name!r}\n"
    (other / "nbgrader_config.py").write_text((released / "nbgrader_config.py").read_text() + renamed)
    Classroom(other, database=url).close()


def test_a_server_that_is_not_there_and_a_wrong_url_are_told_in_one_sentence(course, url):
    nowhere = f"postgresql://ada:secret@/gone?host={quote('/nowhere', safe='')}"
    with pytest.raises(GradebookError, match="see that the server runs and lets you in") as told:
        Classroom(course, database=nowhere)
    assert "secret" not in str(told.value)
    with pytest.raises(GradebookError, match="is no database that can be opened"):
        Classroom(course, database="oracel://x")
