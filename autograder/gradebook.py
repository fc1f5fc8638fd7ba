"""nbgrader's gradebook, read once for an assignment and written in one short transaction a submission.

The tables are nbgrader's own, so its formgrader, feedback and exporters work on what is written here. Manual points,
manual comments and extra credit are never touched. Nothing is written while a student's code runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any
from uuid import uuid4

from nbgrader import api
from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from autograder import database, history
from autograder.database import GradebookError
from autograder.history import Event

STUDENT, SUBMITTED, NOTEBOOK = (t.__table__ for t in (api.Student, api.SubmittedAssignment, api.SubmittedNotebook))
GRADE, COMMENT = api.Grade.__table__, api.Comment.__table__


@dataclass(frozen=True)
class SourceCell:
    """A cell as it was released: the student's copy of it is put back where it was to stay."""

    grade_id: str
    cell_type: str
    source: str
    checksum: str | None
    locked: bool
    grade: bool
    solution: bool
    task: bool
    points: float = 0.0

    @property
    def metadata(self) -> dict[str, Any]:
        """nbgrader's metadata, as it was released."""
        kept = {
            "grade": self.grade,
            "grade_id": self.grade_id,
            "locked": self.locked,
            "schema_version": 3,
            "solution": self.solution,
            "task": self.task,
            "cell_type": self.cell_type,
        }
        if self.checksum is not None:
            kept["checksum"] = self.checksum
        return {**kept, "points": self.points} if self.grade or self.task else kept


@dataclass(frozen=True)
class Released:
    """A notebook of an assignment, with its cells in order, and their ids in the database."""

    name: str
    row: str
    kernelspec: str
    cells: Mapping[str, SourceCell]
    graded: Mapping[str, str]  # grade_id → id of the cell's row
    commented: Mapping[str, str]
    assignment: str = ""  # its row
    due: datetime | None = None

    @property
    def worth(self) -> float:
        return sum(self.cells[name].points for name in self.graded if name in self.cells)


@dataclass
class Marks:
    """What a submitted notebook earned: a score for each graded cell (None: a person must look), and comments."""

    scores: dict[str, float | None]
    comments: dict[str, str | None] = field(default_factory=dict)


class Gradebook:
    """One engine for a whole run. Waits while somebody else holds the database, and says so through ``tell``."""

    def __init__(self, url: str, course: str = "", name: str = "", tell: database.Tell = lambda sentence: None):
        self.url, self.tell = database.normal(url), tell
        self.where = _where(self.url)
        self._book = self._do(lambda: api.Gradebook(self.url, course or database.ANY_COURSE))
        self.engine = self._book.engine
        try:
            self._do(self._make_tables)
            if name:
                self._do(lambda: database.claim(self.engine, name, self.where))
        except BaseException:
            self.close()
            raise

    @property
    def stock(self) -> api.Gradebook:
        """nbgrader's own, for what it does itself: students, due dates."""
        return self._book

    def close(self) -> None:
        self._book.close()

    def __enter__(self) -> "Gradebook":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, act: Any) -> Any:
        return database.patiently(act, self.where, self.tell, database.PATIENCE)

    def _make_tables(self) -> None:
        """Ours, after nbgrader has made its own: it takes a database with any table in it for one that it has made."""
        for tables in (history.OURS, database.MINE):
            tables.create_all(self.engine)

    def assignments(self) -> list[str]:
        """Those that nbgrader has generated, by name."""

        def act() -> list[str]:
            try:
                return sorted(found.name for found in self._book.assignments if found.notebooks)
            finally:
                self._book.db.rollback()

        return list(self._do(act))

    def released(self, assignment: str) -> dict[str, Released]:
        """The notebooks of an assignment. ``GradebookError`` where nbgrader has not generated it."""

        def act() -> dict[str, Released]:
            try:
                found = self._book.find_assignment(assignment)
                return {n.name: replace(_released(n), assignment=found.id, due=found.duedate) for n in found.notebooks}
            except api.MissingEntry:
                raise GradebookError(
                    f"The gradebook has no assignment {assignment}; run attnlab release {assignment} first."
                ) from None
            finally:
                self._book.db.rollback()

        return dict(self._do(act))

    def history(
        self,
        assignments: Sequence[str] = (),
        students: Sequence[str] = (),
        last: bool = False,
        verdicts: bool = True,
    ) -> list[Event]:
        """What was recorded, as ``history.read`` gives it."""

        def act() -> list[Event]:
            with self.engine.connect() as db:
                return history.read(db, assignments, students, last, verdicts)

        return list(self._do(act))

    def points(self, assignment: str, student: str) -> float | None:
        """What a submission is worth as the gradebook stands; None where nothing has been scored."""
        released = list(self.released(assignment).values())

        def act() -> float | None:
            with self.engine.connect() as db:
                where = (SUBMITTED.c.assignment_id == released[0].assignment) & (SUBMITTED.c.student_id == student)
                row = db.execute(select(SUBMITTED.c.id).where(where)).scalar()
                scores = _scores_before(db, row, released) if row else None
                return None if scores is None else sum(scores.values())

        return self._do(act)

    def remember(self, event: Event) -> None:
        """Record a judgement whose scores, if it gave any, were written by somebody else."""

        def act() -> None:
            with self.engine.begin() as db:
                history.write(db, event)

        self._do(act)

    def record(
        self, released: Iterable[Released], marks: Mapping[str, Marks], late: Any, event: Event, seen: int = 0
    ) -> dict[str, float]:
        """Write one submission, scores and history in one transaction. Gives the score of each notebook.

        A notebook without marks was not handed in. ``late(student, score, seconds)`` is the penalty, or None; it is
        asked where the submission is late. Where another run has recorded the same since row ``seen`` of the history,
        its row stays the only one.
        """
        notebooks = list(released)
        return dict(self._do(lambda: self._record(notebooks, marks, late, event, seen)))

    def _record(
        self, released: Sequence[Released], marks: Mapping[str, Marks], late: Any, event: Event, seen: int
    ) -> dict[str, float]:
        with self.engine.begin() as db:
            _take_turns(db, event.student)
            submission, seconds = _submission(db, released[0], event.student, history.stored(event.handed_in))
            before = _scores_before(db, submission, released)
            found = history.read(db, [event.assignment], [event.student], last=True, verdicts=False)
            last = found[0] if found else None
            if before is not None and last and last.number > seen and (last.digest, last.error) == (event.digest, ""):
                return before
            rows = {
                n: i
                for i, n in db.execute(
                    select(NOTEBOOK.c.id, NOTEBOOK.c.notebook_id).where(NOTEBOOK.c.assignment_id == submission)
                )
            }
            scores = {}
            for notebook in released:
                row = rows.get(notebook.row) or _new_notebook(db, submission, notebook)
                came = marks.get(notebook.name)
                score = _write_scores(db, row, notebook, came)
                if came:
                    _write_comments(db, row, notebook, came)
                penalty = late(event.student, score, seconds) if came and seconds > 0 else None
                if penalty is not None:
                    penalty = min(max(penalty, 0.0), score)
                if came:
                    db.execute(update(NOTEBOOK).where(NOTEBOOK.c.id == row).values(late_submission_penalty=penalty))
                scores[notebook.name] = score - (penalty or 0.0)
            points = None if before is None else sum(before.values())
            history.write(db, replace(event, before=points, after=sum(scores.values())))
            return scores


def _where(url: str) -> str:
    """What to call it in a sentence: a file by its name, a server by its address without the password."""
    name = PurePath(url.removeprefix("sqlite:///")).name
    return f"The database {database.shown(url)}" if database.is_server(url) else f"The gradebook {name}"


def _take_turns(db: Connection, student: str) -> None:
    """The student's row, made where there is none, and held: two runs write one student one after the other.

    A write comes first, so that SQLite waits for its turn here and never in the middle.
    """
    db.execute(_insert(db, STUDENT).values(id=student).on_conflict_do_nothing())
    db.execute(select(STUDENT.c.id).where(STUDENT.c.id == student).with_for_update())


def _insert(db: Connection, table: Any) -> Any:
    if db.dialect.name == "sqlite":
        db.exec_driver_sql(f"PRAGMA busy_timeout = {1000 * database.PAUSE:.0f}")
        return sqlite.insert(table)
    return postgresql.insert(table)


def _submission(db: Connection, released: Released, student: str, timestamp: datetime | None) -> tuple[str, float]:
    """The row of this submission, made where there is none, and how many seconds it is late."""
    where = (SUBMITTED.c.assignment_id == released.assignment) & (SUBMITTED.c.student_id == student)
    found = db.execute(select(SUBMITTED.c.id, SUBMITTED.c.extension, SUBMITTED.c.timestamp).where(where)).first()
    if found is None:
        row, extension = uuid4().hex, None
        values = {"id": row, "assignment_id": released.assignment, "student_id": student, "timestamp": timestamp}
        db.execute(insert(SUBMITTED).values(**values))
    else:
        row, extension, before = found
        if timestamp is not None:
            db.execute(update(SUBMITTED).where(SUBMITTED.c.id == row).values(timestamp=timestamp))
        timestamp = timestamp or before
    if timestamp is None or released.due is None:
        return row, 0.0
    return row, (timestamp - released.due - (extension or timedelta())).total_seconds()


def _scores_before(db: Connection, submission: str, released: Sequence[Released]) -> dict[str, float] | None:
    """What each notebook is worth as the gradebook stands; None where nothing has been scored."""
    columns = (NOTEBOOK.c.notebook_id, NOTEBOOK.c.late_submission_penalty, GRADE.c.auto_score, GRADE.c.manual_score)
    query = select(*columns, GRADE.c.extra_credit).join(GRADE, GRADE.c.notebook_id == NOTEBOOK.c.id)
    names = {notebook.row: notebook.name for notebook in released}
    points: dict[str, float] = dict.fromkeys(names.values(), 0.0)
    scored = False
    penalties = {}
    for row, penalty, auto, manual, extra in db.execute(query.where(NOTEBOOK.c.assignment_id == submission)):
        if row in names:
            scored |= auto is not None or manual is not None
            points[names[row]] += (manual if manual is not None else auto or 0.0) + (extra or 0.0)
            penalties[names[row]] = penalty or 0.0
    return {name: score - penalties.get(name, 0.0) for name, score in points.items()} if scored else None


def _new_notebook(db: Connection, submission: str, notebook: Released) -> str:
    """The rows of a notebook that is handed in for the first time, as nbgrader makes them."""
    row = uuid4().hex
    db.execute(insert(NOTEBOOK).values(id=row, assignment_id=submission, notebook_id=notebook.row, flagged=False))
    for table, cells, extra in (
        (GRADE, notebook.graded, {"needs_manual_grade": True}),
        (COMMENT, notebook.commented, {}),
    ):
        if cells:
            rows = [{"id": uuid4().hex, "cell_id": cell, "notebook_id": row, **extra} for cell in cells.values()]
            db.execute(insert(table), rows)
    return row


def _write_scores(db: Connection, row: str, notebook: Released, marks: Marks | None) -> float:
    """The scores; what a person gave stays, and is asked for again. Gives what the notebook is worth now."""
    columns = (GRADE.c.cell_id, GRADE.c.manual_score, GRADE.c.extra_credit)
    before = {
        cell: (manual, extra) for cell, manual, extra in db.execute(select(*columns).where(GRADE.c.notebook_id == row))
    }
    total, changes = 0.0, []
    for name, cell in notebook.graded.items():
        manual, extra = before.get(cell, (None, None))
        auto = marks.scores.get(name) if marks else 0.0
        needs = bool(marks) and (manual is not None or auto is None)
        changes.append({"row": row, "cell": cell, "score": auto, "needs": needs})
        total += (manual if manual is not None else auto or 0.0) + (extra or 0.0)
    if changes:
        change = update(GRADE).where(GRADE.c.notebook_id == bindparam("row"), GRADE.c.cell_id == bindparam("cell"))
        db.execute(change.values(auto_score=bindparam("score"), needs_manual_grade=bindparam("needs")), changes)
    return total


def _write_comments(db: Connection, row: str, notebook: Released, marks: Marks) -> None:
    changes = [
        {"row": row, "cell": cell, "words": marks.comments.get(name)} for name, cell in notebook.commented.items()
    ]
    if changes:
        change = update(COMMENT).where(
            COMMENT.c.notebook_id == bindparam("row"), COMMENT.c.cell_id == bindparam("cell")
        )
        db.execute(change.values(auto_comment=bindparam("words")), changes)


def _released(notebook: api.Notebook) -> Released:
    graded = {cell.name: cell for cell in notebook.grade_cells}
    tasks = {cell.name: cell for cell in notebook.task_cells}
    solutions = {cell.name: cell for cell in notebook.solution_cells}
    cells = {
        cell.name: SourceCell(
            cell.name,
            cell.cell_type,
            cell.source or "",
            cell.checksum,
            bool(cell.locked),
            cell.name in graded,
            cell.name in solutions,
            cell.name in tasks,
            float((graded.get(cell.name) or tasks.get(cell.name) or _Nothing).max_score),
        )
        for cell in notebook.source_cells
    }
    return Released(
        notebook.name,
        notebook.id,
        notebook.kernelspec or "{}",
        cells,
        {name: cell.id for name, cell in {**graded, **tasks}.items()},
        {name: cell.id for name, cell in {**solutions, **tasks}.items()},
    )


class _Nothing:
    max_score = 0.0
