"""Feedback: a page a student, beside nbgrader's own files, so that its exchange hands it out.

The pages of a class are made in parallel, and only those whose words have changed.
"""

import hashlib
import html
import json
import multiprocessing
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup
from nbgrader import api
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sqlalchemy import Connection, select

from autograder import autograded, submission
from autograder.classroom import Classroom
from autograder.report import discreet, gather, pages
from autograder.report.model import Assignment, Outcome, Work

FOR_THE_EXCHANGE = ("timestamp.txt", "submission_secret.txt")
LONGEST = 20_000  # signs of a cell that are coloured and shown
PICTURE = re.compile(r"[A-Za-z0-9+/=\s]+")
SOURCE = re.compile(r'<meta name="attnlab-source" content="([0-9a-f]{64})">')
COMMENT = api.Comment.__table__
Change = Literal["new", "changed", "same"]


@dataclass(frozen=True)
class Sheet:
    """What one page needs; its notebook is read by the process that writes it."""

    course: str
    student: str
    name: str
    assignment: Assignment
    work: Work
    notebook: Path
    out: Path
    comments: Mapping[str, str]  # by grade_id
    given: frozenset[str]  # digests of the cells that the course gave
    beside: tuple[Path, ...]  # files that the exchange needs


@dataclass(frozen=True)
class Told:
    """A page that was made, or left as it was."""

    student: str
    assignment: str
    path: Path
    change: Change
    released: bool  # nbgrader's exchange can hand it out


def sheets(classroom: Classroom, assignments: Sequence[str] = (), students: Sequence[str] = ()) -> list[Sheet]:
    """The pages that a class is to get: of what was graded, and of what could not be."""
    school = gather.school_class(classroom, assignments)
    found = []
    with classroom.gradebook.engine.connect() as db:
        for assignment in school.assignments:
            names, said = _notebooks(db, assignment.name), _comments(db, assignment.name)
            given = frozenset(_known(cell) for cell in gather.released_cells(classroom, assignment.name))
            handed = {h.student: h.folder for h in classroom.handed_in(assignment.name)}
            for work in school.of(assignment.name):
                if work.state not in ("graded", "broken") or (students and work.student not in students):
                    continue
                here = handed.get(work.student)
                beside = tuple(p for name in FOR_THE_EXCHANGE if here and _is_plain(p := here / name))
                graded = classroom.folder_of(assignment.name, work.student)
                out = folder_of(classroom, assignment.name, work.student)
                mine = _for_the_student(work)
                for name in names:
                    found.append(
                        Sheet(
                            school.title,
                            work.student,
                            school.people[work.student].name,
                            assignment,
                            mine,
                            graded / f"{name}.ipynb",
                            out / f"{name}.html",
                            said.get((work.student, name), {}),
                            given,
                            beside,
                        )
                    )
    return found


def folder_of(classroom: Classroom, assignment: str, student: str) -> Path:
    """Where nbgrader keeps a student's feedback."""
    return Path(classroom.course.format_path(classroom.course.feedback_directory, student, assignment))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _for_the_student(work: Work) -> Work:
    """Without what only the instructor sees: what was tried in numbers, who graded when, where the files lie."""
    own = r"[/\\]".join(re.escape(name) for name in (work.student, work.assignment))
    error = re.sub(rf"(?:[A-Za-z]:)?[/\\][^\n]*?[/\\]{own}(?:[/\\]|\b)", "", work.error)
    outcomes = tuple(replace(o, laws=tuple(discreet.law(law) for law in o.laws)) for o in work.outcomes)
    return replace(work, outcomes=outcomes, steps=(), error=error)


def _notebooks(db: Connection, assignment: str) -> list[str]:
    query = select(gather.NOTEBOOK.c.name).join(gather.ASSIGNMENT).where(gather.ASSIGNMENT.c.name == assignment)
    return sorted(db.execute(query).scalars())


def _comments(db: Connection, assignment: str) -> dict[tuple[str, str], dict[str, str]]:
    """What was said about a cell, by student and notebook: the person's words, else nbgrader's."""
    query = (
        select(
            gather.SUBMITTED.c.student_id,
            gather.NOTEBOOK.c.name,
            gather.CELL.c.name,
            COMMENT.c.auto_comment,
            COMMENT.c.manual_comment,
        )
        .select_from(COMMENT)
        .join(gather.CELL, gather.CELL.c.id == COMMENT.c.cell_id)
        .join(gather.NOTEBOOK, gather.NOTEBOOK.c.id == gather.CELL.c.notebook_id)
        .join(gather.SUBMITTED_NOTEBOOK, gather.SUBMITTED_NOTEBOOK.c.id == COMMENT.c.notebook_id)
        .join(gather.SUBMITTED, gather.SUBMITTED.c.id == gather.SUBMITTED_NOTEBOOK.c.assignment_id)
        .join(gather.ASSIGNMENT, gather.ASSIGNMENT.c.id == gather.SUBMITTED.c.assignment_id)
        .where(gather.ASSIGNMENT.c.name == assignment)
    )
    found: dict[tuple[str, str], dict[str, str]] = {}
    for student, notebook, cell, automatic, manual in db.execute(query):
        if words := manual or automatic:
            found.setdefault((student, notebook), {})[cell] = words
    return found


# ------------------------------------------------------------------------------------------------------------- writing


def write_all(wanted: Sequence[Sheet], jobs: int = 1, force: bool = False) -> Iterator[Told]:
    """Write the pages, and yield each when it is in place."""
    if jobs == 1 or len(wanted) < 2 * jobs:
        yield from (write(sheet, force) for sheet in wanted)
        return
    method = "fork" if sys.platform == "linux" else "spawn"
    with ProcessPoolExecutor(jobs, multiprocessing.get_context(method)) as pool:
        yield from pool.map(write, wanted, [force] * len(wanted), chunksize=8)


def write(sheet: Sheet, force: bool = False) -> Told:
    """One page, and beside it what nbgrader's exchange asks for."""
    data = sheet.notebook.read_bytes() if _is_plain(sheet.notebook) else b""
    digest = _digest(sheet, data)
    change: Change = "new"
    if sheet.out.is_file():
        with sheet.out.open(encoding="utf-8", errors="replace") as before:
            said = SOURCE.search(before.read(2000))
        change = "same" if said and said[1] == digest and not force else "changed"
    if change != "same":
        pages.write(sheet.out, page(sheet, data, digest))
    for path in sheet.beside:
        target = sheet.out.parent / path.name
        if not target.exists() or target.read_bytes() != path.read_bytes():
            shutil.copyfile(path, target)
    return Told(sheet.student, sheet.assignment.name, sheet.out, change, len(sheet.beside) == len(FOR_THE_EXCHANGE))


def _digest(sheet: Sheet, notebook: bytes) -> str:
    """Of everything that stands on the page."""
    known = [asdict(sheet.work), asdict(sheet.assignment), dict(sheet.comments), sorted(sheet.given)]
    words = json.dumps(known, default=str, sort_keys=True)
    parts = [words, sheet.course, sheet.student, sheet.name, _templates()]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace") + notebook).hexdigest()


@cache
def _templates() -> str:
    sources = [*sorted(pages.TEMPLATES.iterdir()), Path(__file__), Path(discreet.__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def page(sheet: Sheet, notebook: bytes = b"", digest: str = "") -> str:
    """The feedback as HTML."""
    outcomes = {outcome.exercise: outcome for outcome in sheet.work.outcomes}
    parts = list(_parts(notebook, outcomes, sheet))
    values = {
        "sheet": sheet,
        "work": sheet.work,
        "parts": parts,
        "rest": [] if any(part["outcome"] for part in parts) else list(outcomes.values()),
        "earned": sum(outcome.score for outcome in sheet.work.outcomes),
        "digest": digest,
    }
    return pages.render("feedback.html", values, "feedback.css", "feedback.js")


def _parts(data: bytes, outcomes: Mapping[str, Outcome], sheet: Sheet) -> Iterator[dict[str, Any]]:
    """The notebook's cells that are the student's, with what they gave, and the verdicts where the test cells stand."""
    for cell in _cells(data):
        marks = cell.get("metadata", {}).get("nbgrader", {})
        name = marks.get("grade_id", "")
        said = sheet.comments.get(name)
        part: dict[str, Any] = {"outcome": None, "code": None, "text": None, "outputs": [], "comment": said}
        if autograded.is_test(cell):
            if name in outcomes:
                yield {**part, "outcome": outcomes[name], "comment": None}
            continue
        source = submission.cell_of(cell, 0).source[:LONGEST]
        if marks.get("locked") or not source.strip() or (not marks and _known(cell) in sheet.given):
            continue
        if cell["cell_type"] == "code":
            part |= {"code": _coloured(source), "outputs": list(_outputs(cell))}
        else:
            part["text"] = html.unescape(source)  # the grading wrote < as &lt;, and the page will again
        if marks.get("grade") and name in outcomes:
            part["outcome"] = outcomes[name]
        yield part


def _known(cell: dict[str, Any]) -> str:
    """A cell's words as a digest, whatever its spaces."""
    words = "".join(submission.cell_of(cell, 0).source.split())
    return hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _cells(data: bytes) -> Iterable[dict[str, Any]]:
    try:
        found = submission.raw_cells(json.loads(data)) if data else []
    except ValueError:
        found = []
    return [cell for cell in found or () if isinstance(cell, dict) and cell.get("cell_type") in ("code", "markdown")]


def _coloured(source: str) -> Markup:
    """Escaped, with a class for each kind of word."""
    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)))


def _outputs(cell: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What a cell printed and drew: text and pictures."""
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        image = data.get("image/png")
        if isinstance(image, str) and PICTURE.fullmatch(image):
            words = data.get("text/plain") or "a figure"
            yield {"image": "".join(image.split()), "words": _text(words)[:200]}
        elif output.get("output_type") == "stream" or "text/plain" in data:
            yield {"text": _text(output.get("text") or data.get("text/plain") or "")[:LONGEST]}


def _text(words: Any) -> str:
    return "".join(map(str, words)) if isinstance(words, list) else str(words)
