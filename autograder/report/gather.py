"""Read a class from its course: nbgrader's gradebook, our history beside it, and the folders of what was handed in."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nbgrader import api
from sqlalchemy import Connection, Table, select

from autograder import submission
from autograder.classroom import Classroom
from autograder.database import ANY_COURSE, GradebookError
from autograder.history import Event
from autograder.report.model import Assignment, Outcome, Person, SchoolClass, State, Step, Work, outcome

ASSIGNMENT, NOTEBOOK, STUDENT = (t.__table__ for t in (api.Assignment, api.Notebook, api.Student))
SUBMITTED, SUBMITTED_NOTEBOOK = (t.__table__ for t in (api.SubmittedAssignment, api.SubmittedNotebook))
CELL, GRADE_CELL, TASK_CELL = (t.__table__ for t in (api.BaseCell, api.GradeCell, api.TaskCell))
GRADE: Table = api.Grade.__table__


def school_class(classroom: Classroom, names: Sequence[str] = ()) -> SchoolClass:
    """The class of a course, in these assignments or in all. ``GradebookError`` where there is none so called."""
    with classroom.gradebook.engine.connect() as db:
        assignments = _assignments(db, classroom, names)
        people = _people(db)
        rows = {a.name: _rows(db, a) for a in assignments}
    events = _events(classroom, [a.name for a in assignments])
    works = []
    for assignment in assignments:
        handed = {h.student: _utc(h.timestamp) for h in classroom.handed_in(assignment.name)}
        for student in sorted({*people, *handed, *rows[assignment.name]}):
            people.setdefault(student, Person(student, student))
            told = events.get((assignment.name, student), [])
            works.append(_work(assignment, student, handed, rows[assignment.name].get(student), told))
    named = classroom.course.course_id
    title = named if named and named != ANY_COURSE else classroom.root.resolve().name
    return SchoolClass(title, datetime.now(UTC), dict(sorted(people.items())), assignments, works)


def _utc(moment: datetime | None) -> datetime | None:
    """nbgrader's times are UTC, and do not say so."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _people(db: Connection) -> dict[str, Person]:
    found = {}
    for key, first, last in db.execute(select(STUDENT.c.id, STUDENT.c.first_name, STUDENT.c.last_name)):
        name = ", ".join(part for part in (last, first) if part)
        found[key] = Person(key, name or key)
    return found


def _assignments(db: Connection, classroom: Classroom, names: Sequence[str]) -> list[Assignment]:
    """In alphabetical order, which is that of the chapters."""
    known = {
        name: (row, due)
        for row, name, due in db.execute(select(ASSIGNMENT.c.id, ASSIGNMENT.c.name, ASSIGNMENT.c.duedate))
    }
    for name in names:
        if name not in known:
            there = ", ".join(sorted(known)) or "none yet"
            raise GradebookError(f"The gradebook has no assignment {name}; those that were released are: {there}.")
    found = []
    for name in sorted(set(names) or known):
        row, due = known[name]
        worth: dict[str, float] = {}
        for kind in (GRADE_CELL, TASK_CELL):
            query = (
                select(CELL.c.name, kind.c.max_score)
                .join(kind, kind.c.id == CELL.c.id)
                .join(NOTEBOOK, NOTEBOOK.c.id == CELL.c.notebook_id)
                .where(NOTEBOOK.c.assignment_id == row)
            )
            worth |= {cell: float(points) for cell, points in db.execute(query)}
        order = _order(classroom, name)
        exercises = dict(
            sorted(worth.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))
        )
        found.append(Assignment(name, _title(classroom, name), _utc(due), exercises))
    return found


def released_cells(classroom: Classroom, assignment: str, solved: bool = False) -> list[dict[str, Any]]:
    """The cells of an assignment's notebooks, as they were released or with their solutions."""
    cells: list[dict[str, Any]] = []
    course = classroom.course
    for folder in [course.source_directory] if solved else [course.release_directory, course.source_directory]:
        for path in sorted(Path(course.format_path(folder, ".", assignment)).glob("*.ipynb")):
            try:
                cells += submission.raw_cells(json.loads(path.read_text(encoding="utf-8"))) or []
            except (OSError, ValueError):
                continue
        if cells:
            break
    return cells


def _order(classroom: Classroom, assignment: str) -> list[str]:
    marks = [cell.get("metadata", {}).get("nbgrader", {}) for cell in released_cells(classroom, assignment)]
    return [mark["grade_id"] for mark in marks if mark.get("grade_id")]


def _title(classroom: Classroom, assignment: str) -> str:
    """The first heading of its notebook."""
    for cell in released_cells(classroom, assignment):
        if cell.get("cell_type") == "markdown":
            for line in submission.cell_of(cell, 0).source.splitlines():
                if line.startswith("# "):
                    return line.removeprefix("# ").strip()
    return assignment


def _events(classroom: Classroom, assignments: Sequence[str]) -> dict[tuple[str, str], list[Event]]:
    found: dict[tuple[str, str], list[Event]] = {}
    for event in classroom.history(assignments) if assignments else ():
        found.setdefault((event.assignment, event.student), []).append(event)
    return found


class Row:
    """What the gradebook says of a submission."""

    def __init__(self, timestamp: datetime | None, extension: timedelta | None):
        self.at = _utc(timestamp)
        self.extension = extension or timedelta()
        self.penalty = 0.0
        self.scores: dict[str, tuple[float | None, float | None, float, bool]] = {}  # automatic, by hand, extra, open


def _rows(db: Connection, assignment: Assignment) -> dict[str, Row]:
    mine = ASSIGNMENT.c.name == assignment.name
    whose = select(SUBMITTED.c.id, SUBMITTED.c.student_id, SUBMITTED.c.timestamp, SUBMITTED.c.extension).select_from(
        SUBMITTED
    )
    rows: dict[str, Row] = {}
    by_id: dict[str, Row] = {}
    for row, student, timestamp, extension in db.execute(
        whose.join(ASSIGNMENT, ASSIGNMENT.c.id == SUBMITTED.c.assignment_id).where(mine)
    ):
        by_id[row] = rows[student] = Row(timestamp, extension)
    late = select(SUBMITTED_NOTEBOOK.c.assignment_id, SUBMITTED_NOTEBOOK.c.late_submission_penalty).select_from(
        SUBMITTED_NOTEBOOK
    )
    late = late.join(SUBMITTED, SUBMITTED.c.id == SUBMITTED_NOTEBOOK.c.assignment_id)
    for row, penalty in db.execute(late.join(ASSIGNMENT, ASSIGNMENT.c.id == SUBMITTED.c.assignment_id).where(mine)):
        by_id[row].penalty += penalty or 0.0
    scores = (
        select(
            SUBMITTED.c.id,
            CELL.c.name,
            GRADE.c.auto_score,
            GRADE.c.manual_score,
            GRADE.c.extra_credit,
            GRADE.c.needs_manual_grade,
        )
        .select_from(GRADE)
        .join(CELL, CELL.c.id == GRADE.c.cell_id)
        .join(SUBMITTED_NOTEBOOK, SUBMITTED_NOTEBOOK.c.id == GRADE.c.notebook_id)
        .join(SUBMITTED, SUBMITTED.c.id == SUBMITTED_NOTEBOOK.c.assignment_id)
        .join(ASSIGNMENT, ASSIGNMENT.c.id == SUBMITTED.c.assignment_id)
        .where(mine)
    )
    for row, cell, automatic, manual, extra, waits in db.execute(scores):
        by_id[row].scores[cell] = (automatic, manual, extra or 0.0, bool(waits))
    return rows


def _work(
    assignment: Assignment,
    student: str,
    handed: Mapping[str, datetime | None],
    row: Row | None,
    events: Sequence[Event],
) -> Work:
    steps = tuple(Step(e.at, e.who, e.version, e.before, e.after, e.worth, e.error) for e in events)
    last = events[-1] if events else None
    scored = row is not None and any(auto is not None or manual is not None for auto, manual, *_ in row.scores.values())
    state: State = "missing"
    if last is not None and last.error:
        state = "broken"
    elif scored:
        state = "graded"
    elif student in handed:
        state = "waiting"
    at = handed.get(student) or (row.at if row else None)
    late = timedelta()
    if at and assignment.due:
        late = max(timedelta(), at - assignment.due - (row.extension if row else timedelta()))
    judged = next((event for event in reversed(events) if not event.error), None)  # what broke later changed no score
    outcomes = tuple(_outcomes(assignment, row, judged)) if row and scored else ()
    penalty = row.penalty if row else 0.0
    return Work(
        student,
        assignment.name,
        state,
        at,
        late,
        penalty,
        sum(o.score for o in outcomes) - penalty,
        assignment.worth,
        outcomes,
        last.error if last else "",
        steps,
    )


def _outcomes(assignment: Assignment, row: Row, judged: Event | None) -> Iterable[Outcome]:
    verdicts = {verdict["exercise"]: verdict for verdict in judged.verdicts} if judged else {}
    for name, worth in assignment.exercises.items():
        automatic, manual, extra, waits = row.scores.get(name, (None, None, 0.0, False))
        score = (manual if manual is not None else automatic or 0.0) + extra
        waits = waits and manual is None  # nbgrader asks again for what a person gave before; there is a score
        if name in verdicts:
            yield outcome(verdicts[name], score, manual is not None, waits)
        else:
            yield Outcome(name, score, worth, by_hand=manual is not None, open=waits)
