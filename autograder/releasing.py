"""Enter assignments into the gradebook, make the students' notebooks, hand them out."""

import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nbgrader.apps import NbGraderAPI

from autograder.coursework import Coursework
from autograder.database import GradebookError

ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same notebooks give the same file


@dataclass(frozen=True)
class Released:
    """An assignment that is ready to be handed out, or why it is not."""

    assignment: str
    points: float = 0.0
    exercises: int = 0
    due: datetime | None = None
    error: str = ""


def release(course: Coursework, assignments: Sequence[str], due: datetime | None = None) -> Iterator[Released]:
    """nbgrader's own ``generate_assignment`` for each, in this process; ``due`` is in UTC, without a zone."""
    interface = NbGraderAPI(course.directory, config=course.config)
    for name in assignments:
        came = interface.generate_assignment(name, force=True, create=True)
        if not came["success"]:
            yield Released(name, error=_why(came))
            continue
        course.book.db.rollback()  # what nbgrader has written with a connection of its own is to be seen
        if due is not None:
            course.book.update_or_create_assignment(name, duedate=due)
        entered = course.book.find_assignment(name)
        count = sum(len(notebook.grade_cells) for notebook in entered.notebooks)
        yield Released(name, float(entered.max_score), count, entered.duedate)


def hand_over(course: Coursework, assignments: Sequence[str]) -> None:
    """Put released assignments into nbgrader's exchange, where ``nbgrader fetch`` finds them."""
    _has_exchange(course)
    interface = NbGraderAPI(course.directory, config=course.config)
    for name in assignments:
        came = interface.release_assignment(name)
        if not came["success"]:
            raise GradebookError(f"{name}: the exchange does not take it: {_why(came)}")


def take_in(course: Coursework, assignments: Sequence[str]) -> Iterator[str]:
    """Collect from nbgrader's exchange, later versions too; yields each assignment when it is done."""
    _has_exchange(course)
    interface = NbGraderAPI(course.directory, config=course.config)
    for name in assignments:
        came = interface.collect(name, update=True)
        if not came["success"]:
            raise GradebookError(f"{name}: the exchange does not give it: {_why(came)}")
        yield name


def pack(course: Coursework, assignments: Sequence[str], file: Path) -> int:
    """The students' notebooks as one zip for a learning platform. Gives how many files are in it."""
    found = [
        path
        for name in assignments
        for path in sorted(course.folder("release", ".", name).rglob("*"))
        if path.is_file() and ".ipynb_checkpoints" not in path.parts
    ]
    base = course.folder("release", ".", "x").parent
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in found:
            info = zipfile.ZipInfo(path.relative_to(base).as_posix(), ZIP_TIME)
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return len(found)


def parse_due(text: str) -> datetime:
    """``2026-12-01 18:00`` by the clock of this machine, or with a zone of its own; given back in UTC."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise GradebookError(f"{text!r} is no time; write it like this: 2026-12-01 18:00") from None
    if re.fullmatch(r"\d{4}-?\d\d-?\d\d", text.strip()):
        moment = moment.replace(hour=23, minute=59, second=59)  # a day is over at its end
    return moment.astimezone(UTC).replace(tzinfo=None)


def _has_exchange(course: Coursework) -> None:
    if sys.platform == "win32":
        raise GradebookError(
            "nbgrader's exchange needs Linux or macOS; here, hand out a zip (attnlab release --zip FILE) and collect "
            "what your learning platform gives you"
        )
    if not course.directory.course_id:
        raise GradebookError(
            f"{course.root / 'nbgrader_config.py'}: the exchange needs the name of the course; add "
            "c.CourseDirectory.course_id = 'attention'"
        )


def _why(came: dict) -> str:
    """The last line of what nbgrader said that says something."""
    said = [line.strip() for line in f"{came.get('log') or ''}\n{came.get('error') or ''}".splitlines() if line.strip()]
    errors = [line for line in said if re.match(r"\[?(ERROR|CRITICAL|\w[\w.]*(Error|Exception)\b)", line)]
    return re.sub(r"^\[\w+\]\s*", "", (errors or said or ["it does not say why"])[-1])
