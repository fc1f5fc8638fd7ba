"""nbgrader's gradebook, read once for an assignment and written in one short transaction a submission.

The tables are nbgrader's own, so its formgrader, feedback and exporters work on what is written here. Manual points,
manual comments and extra credit are never touched. Nothing is written while a student's code runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from nbgrader import api
from sqlalchemy import Connection, bindparam, insert, select, update

STUDENT, SUBMITTED, NOTEBOOK = (t.__table__ for t in (api.Student, api.SubmittedAssignment, api.SubmittedNotebook))
GRADE, COMMENT = api.Grade.__table__, api.Comment.__table__


class GradebookError(Exception):
    """The gradebook cannot be used as it is. The message says why and what to do."""


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


@dataclass
class Marks:
    """What a submitted notebook earned: a score for each graded cell (None: a person must look), and comments."""

    scores: dict[str, float | None]
    comments: dict[str, str | None] = field(default_factory=dict)


class Gradebook:
    """One engine for a whole run."""

    def __init__(self, url: str):
        self._book = api.Gradebook(url)
        self.engine = self._book.engine

    def close(self) -> None:
        self._book.close()

    def released(self, assignment: str) -> dict[str, Released]:
        """The notebooks of an assignment. ``GradebookError`` where nbgrader has not generated it."""
        try:
            found = self._book.find_assignment(assignment)
        except api.MissingEntry:
            raise GradebookError(
                f"The gradebook has no assignment {assignment}; run nbgrader generate_assignment {assignment} first."
            ) from None
        self.assignment_row, self.due = found.id, found.duedate
        released = {notebook.name: _released(notebook) for notebook in found.notebooks}
        self._book.db.rollback()
        return released

    def record(
        self,
        student: str,
        timestamp: datetime | None,
        released: Iterable[Released],
        marks: Mapping[str, Marks],
        late: Any,
    ) -> dict[str, float]:
        """Write one submission; a notebook without marks was not handed in. Gives the score of each notebook.

        ``late(student, score, seconds)`` is the penalty, or None; it is asked where the submission is late.
        """
        with self.engine.begin() as db:
            submission, seconds = self._submission(db, student, timestamp)
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
                penalty = late(student, score, seconds) if came and seconds > 0 else None
                if penalty is not None:
                    penalty = min(max(penalty, 0.0), score)
                if came:
                    db.execute(update(NOTEBOOK).where(NOTEBOOK.c.id == row).values(late_submission_penalty=penalty))
                scores[notebook.name] = score - (penalty or 0.0)
            return scores

    def _submission(self, db: Connection, student: str, timestamp: datetime | None) -> tuple[str, float]:
        """The row of this submission, made where there is none, and how many seconds it is late."""
        if db.execute(select(STUDENT.c.id).where(STUDENT.c.id == student)).first() is None:
            db.execute(insert(STUDENT).values(id=student))
        where = (SUBMITTED.c.assignment_id == self.assignment_row) & (SUBMITTED.c.student_id == student)
        found = db.execute(select(SUBMITTED.c.id, SUBMITTED.c.extension, SUBMITTED.c.timestamp).where(where)).first()
        if found is None:
            row, extension = uuid4().hex, None
            values = {"id": row, "assignment_id": self.assignment_row, "student_id": student, "timestamp": timestamp}
            db.execute(insert(SUBMITTED).values(**values))
        else:
            row, extension, before = found
            if timestamp is not None:
                db.execute(update(SUBMITTED).where(SUBMITTED.c.id == row).values(timestamp=timestamp))
            timestamp = timestamp or before
        if timestamp is None or self.due is None:
            return row, 0.0
        return row, (timestamp - self.due - (extension or timedelta())).total_seconds()


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
