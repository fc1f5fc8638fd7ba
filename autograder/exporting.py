"""The grades of a course as tables: for a spreadsheet, for Canvas, for Moodle, for a program.

A cell of text that a spreadsheet would take for a formula gets an apostrophe before it: a student may be called what
they like, but not run anything on the machine of whoever opens the table.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgrader import api
from sqlalchemy import select

from autograder import roster
from autograder.coursework import Coursework
from autograder.database import GradebookError
from autograder.roster import Student

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
BY_ASSIGNMENT = (
    "student_id", "last_name", "first_name", "email", "assignment", "duedate", "timestamp",
    "raw_score", "late_submission_penalty", "score", "max_score", "needs_manual_grade",
)  # fmt: skip
BY_EXERCISE = (*BY_ASSIGNMENT[:7], "exercise", "score", "max_score", "needs_manual_grade")


@dataclass
class Row:
    """A student's grade for an assignment. ``raw`` is None where nothing was graded."""

    student: Student
    assignment: str
    due: datetime | None
    worth: dict[str, float]
    timestamp: datetime | None = None
    raw: float | None = None
    penalty: float = 0.0
    manual: bool = False
    exercises: dict[str, tuple[float, bool]] = field(default_factory=dict)  # points, and whether a person must look

    @property
    def of(self) -> float:
        return sum(self.worth.values())

    @property
    def score(self) -> float | None:
        return None if self.raw is None else max(0.0, self.raw - self.penalty)


def rows(course: Coursework, assignments: Sequence[str] = ()) -> list[Row]:
    """Every student with every assignment, in the order of the course and then of the students."""
    known = {assignment.name: assignment for assignment in course.book.assignments}
    for name in assignments:
        if name not in known:
            raise GradebookError(
                f"The gradebook has no assignment {name}; it has {', '.join(sorted(known)) or 'none: attnlab release'}."
            )
    if not known:
        raise GradebookError("No assignment is in the gradebook yet; run: attnlab release")
    students = sorted(roster.in_gradebook(course.book), key=lambda s: s.id)
    found: list[Row] = []
    for name in sorted(set(assignments) or known):
        worth = _worth(course.book, name)
        mine = {student.id: Row(student, name, known[name].duedate, worth) for student in students}
        _fill(course.book, name, mine)
        found += mine.values()
    return found


def _worth(book: api.Gradebook, assignment: str) -> dict[str, float]:
    notebooks = book.find_assignment(assignment).notebooks
    return {c.name: float(c.max_score) for n in notebooks for c in (*n.grade_cells, *n.task_cells)}


def _fill(book: api.Gradebook, assignment: str, mine: Mapping[str, Row]) -> None:
    """What was graded, in one query: a class of thousands is not asked for one by one."""
    query = (
        select(
            api.SubmittedAssignment.student_id, api.SubmittedAssignment.timestamp, api.SubmittedNotebook.id,
            api.SubmittedNotebook.late_submission_penalty, api.BaseCell.__table__.c.name, api.Grade.auto_score,
            api.Grade.manual_score, api.Grade.extra_credit, api.Grade.needs_manual_grade,
        )
        .select_from(api.SubmittedAssignment)
        .join(api.Assignment, api.Assignment.id == api.SubmittedAssignment.assignment_id)
        .join(api.SubmittedNotebook, api.SubmittedNotebook.assignment_id == api.SubmittedAssignment.id)
        .join(api.Grade, api.Grade.notebook_id == api.SubmittedNotebook.id)
        .join(api.BaseCell.__table__, api.BaseCell.__table__.c.id == api.Grade.cell_id)
        .where(api.Assignment.name == assignment)
    )  # fmt: skip
    penalties: dict[tuple[str, str], float] = {}
    for student, when, notebook, penalty, name, auto, manual, extra, needs in book.db.execute(query):
        row = mine[student]
        score = (manual if manual is not None else auto or 0.0) + (extra or 0.0)
        row.timestamp, row.raw, row.manual = when, (row.raw or 0.0) + score, row.manual or needs
        row.exercises[name] = (score, bool(needs))
        penalties[student, notebook] = penalty or 0.0
    for (student, _), penalty in penalties.items():
        mine[student].penalty += penalty


# ------------------------------------------------------------------------------------------------------------ tables


def safe(text: object) -> str:
    """A cell of text that no spreadsheet takes for a formula."""
    written = str(text or "")
    return f"'{written}" if written.startswith(FORMULA) else written


def number(value: float | None) -> str:
    """Points without an end of zeros; "" where there are none."""
    return "" if value is None else f"{round(value, 6):.12g}"


def plain(found: Iterable[Row], by_exercise: bool) -> Iterator[dict[str, Any]]:
    """Records with a value of its own type in each column."""
    for row in found:
        who = {
            "student_id": row.student.id,
            "last_name": row.student.last_name,
            "first_name": row.student.first_name,
            "email": row.student.email,
            "assignment": row.assignment,
            "duedate": row.due,
            "timestamp": row.timestamp,
        }
        if not by_exercise:
            yield who | {
                "raw_score": row.raw,
                "late_submission_penalty": None if row.raw is None else row.penalty,
                "score": row.score,
                "max_score": row.of,
                "needs_manual_grade": row.manual,
            }
            continue
        for name, worth in row.worth.items():
            score, manual = row.exercises.get(name, (None, False))
            yield who | {"exercise": name, "score": score, "max_score": worth, "needs_manual_grade": manual}


def csv_table(found: Iterable[Row], by_exercise: bool = False) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, float) or value is None:
            return number(value)
        return value.isoformat(" ") if isinstance(value, datetime) else str(value) if value is True else safe(value)

    columns = BY_EXERCISE if by_exercise else BY_ASSIGNMENT
    records = plain(found, by_exercise)
    return _written([columns, *([cell(record[column]) for column in columns] for record in records)])


def canvas(found: Sequence[Row], titles: Mapping[str, str], zeros: bool = False) -> str:
    """What Canvas imports under Grades: a column an assignment, and a second line with what each is worth."""
    names, students = _names(found)
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *(titles.get(name, name) for name in names)]
    worth = {row.assignment: row.of for row in found}
    lines = [[safe(cell) for cell in head], ["    Points Possible", "", "", "", "", *(number(worth[n]) for n in names)]]
    for student, mine in students.items():
        who = f"{student.last_name}, {student.first_name}" if student.first_name and student.last_name else student.name
        ids = [student.lms_user_id, student.id, student.email]
        lines.append([safe(who), *map(safe, ids), "", *_scores(mine, names, zeros)])
    return _written(lines)


def moodle(found: Sequence[Row], titles: Mapping[str, str], zeros: bool = False) -> str:
    """What Moodle imports under Grades, Import, CSV file: map "Email address" or "ID number" to the user."""
    names, students = _names(found)
    head = ["First name", "Last name", "ID number", "Email address", *(titles.get(name, name) for name in names)]
    lines = [[safe(cell) for cell in head]]
    for student, mine in students.items():
        who = [student.first_name, student.last_name, student.id, student.email]
        lines.append([*map(safe, who), *_scores(mine, names, zeros)])
    return _written(lines)


def parquet(found: Iterable[Row], by_exercise: bool = False) -> bytes:
    import pyarrow
    from pyarrow import parquet as writer

    text, score = pyarrow.string(), pyarrow.float64()
    kinds = {"duedate": pyarrow.timestamp("us", "UTC"), "timestamp": pyarrow.timestamp("us", "UTC")}
    kinds |= {"needs_manual_grade": pyarrow.bool_()}
    columns = BY_EXERCISE if by_exercise else BY_ASSIGNMENT
    schema = pyarrow.schema([(c, kinds.get(c, score if c.endswith(("score", "penalty")) else text)) for c in columns])
    out = io.BytesIO()
    writer.write_table(pyarrow.Table.from_pylist(list(plain(found, by_exercise)), schema=schema), out)
    return out.getvalue()


def _names(found: Sequence[Row]) -> tuple[list[str], dict[Student, dict[str, Row]]]:
    """The assignments, and for each student a row of each."""
    students: dict[Student, dict[str, Row]] = {}
    for row in found:
        students.setdefault(row.student, {})[row.assignment] = row
    return list(dict.fromkeys(row.assignment for row in found)), students


def _scores(mine: Mapping[str, Row], names: Sequence[str], zeros: bool) -> list[str]:
    """Empty where nothing was graded, which platforms leave as it is there; or zero."""
    return [number(0.0 if zeros and mine[name].score is None else mine[name].score) for name in names]


def _written(lines: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(lines)
    return out.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """All of it or nothing, and for nobody else's eyes where the system knows owners of files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)  # Windows would write "\r\n" for "\n"
    with open(os.open(new, flags, 0o600), "wb") as file:
        file.write(data)
    os.replace(new, path)
