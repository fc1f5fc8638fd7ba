"""What a learner's own checks have found, kept on their machine: the marks on the map of the course.

Lines of JSON in ``.attnlab/progress.jsonl`` of the course: an exercise, its points, when. No line of anybody's code is
in them, and nothing leaves the machine. ``check(…)`` in a notebook and ``attnlab check`` write them, grading does not.
A check must answer whatever becomes of this file, so writing fails in silence and what cannot be read is passed over.

``ATTNLAB_PROGRESS`` names another file; empty, it keeps no record.
"""

import json
import os
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from autograder.exercise import Exercise

SETTING = "ATTNLAB_PROGRESS"
COURSE = Path(__file__).resolve().parent.parent
MOST = 4 << 20  # bytes that are read


@dataclass(frozen=True)
class Mark:
    """What one check found."""

    exercise: str
    points: float
    of: float
    laws: str  # a fingerprint of the laws that were asked for
    at: str

    @property
    def done(self) -> bool:
        return self.points >= self.of


def place() -> Path | None:
    """The file; None where no record is kept: it is switched off, or this is no checkout of the course."""
    named = os.environ.get(SETTING)
    if named is not None:
        return Path(named).expanduser() if named else None
    return COURSE / ".attnlab" / "progress.jsonl" if (COURSE / "pyproject.toml").is_file() else None


def laws_of(exercise: Exercise) -> str:
    """Changes when the exercise asks for something else."""
    said = "\n".join(f"{check.name} {check.points:g} {check.law}" for check in exercise.checks)
    return f"{zlib.crc32(said.encode()):08x}"


def keep(exercise: Exercise, points: float) -> None:
    """Add what a check found, if it says something new. Never raises.

    One short line is added by one call at the end of the file, so several kernels may do so at once. It begins on a
    line of its own, whatever an earlier one that was cut short has left there.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    mark = Mark(exercise.name, float(points), float(exercise.points), laws_of(exercise), now)
    with suppress(OSError, ValueError, RuntimeError):  # RuntimeError: a home that cannot be found
        path = place()
        if path is None:
            return
        last = {old.exercise: old for old in read()}.get(exercise.name)
        if last and (last.points, last.of, last.laws) == (mark.points, mark.of, mark.laws):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(f"\n{json.dumps(asdict(mark))}\n".encode())


def read() -> list[Mark]:
    """Every mark, oldest first; none where there is no record, or none that can be read."""
    with suppress(OSError, RuntimeError):
        path = place()
        if path is not None:
            with path.open("rb") as file:
                return [mark for line in file.read(MOST).splitlines() if (mark := _mark(line))]
    return []


def reset(exercises: Collection[str] | None = None) -> int:
    """Forget these exercises, or everything. Gives how many had a mark; ``OSError`` where the file stays as it is."""
    path, marks = place(), read()
    gone = {mark.exercise for mark in marks if exercises is None or mark.exercise in exercises}
    if path is None or not path.exists():
        return 0
    if exercises is None:
        path.unlink()
    elif gone:
        neighbour = path.with_name(f"{path.name}.{os.getpid()}.partial")
        neighbour.write_text("".join(_lines(mark for mark in marks if mark.exercise not in gone)), encoding="utf-8")
        os.replace(neighbour, path)
    return len(gone)


def _lines(marks: Iterator[Mark]) -> Iterator[str]:
    for mark in marks:
        yield f"{json.dumps(asdict(mark))}\n"


def _mark(line: bytes) -> Mark | None:
    """A line as a mark; None where it is damaged, or another program's."""
    try:
        said = json.loads(line)
        return Mark(str(said["exercise"]), float(said["points"]), float(said["of"]), str(said["laws"]), str(said["at"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
