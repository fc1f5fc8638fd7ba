"""Judge what a student handed in for an assignment: read, run, ask, and say what it earns. Writes nothing."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from autograder import autograded, catalogue, panel, submission
from autograder.gradebook import Marks, Released
from autograder.grading import grade

Books = Mapping[str, Mapping[str, Released]]  # the notebooks of each assignment


@dataclass(frozen=True)
class Handed:
    """What a student handed in for an assignment."""

    assignment: str
    student: str
    folder: Path
    timestamp: datetime | None = None  # UTC


@dataclass
class Graded:
    """What became of it: for each notebook its marks, its file and its score; the verdicts; or why there are none."""

    assignment: str
    student: str
    marks: dict[str, Marks] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    @property
    def points(self) -> float:
        return sum(self.scores.values())


def judge_submission(handed: Handed, released: Mapping[str, Released], seed: int) -> Graded:
    """Never raises for what a student handed in: ``error`` says what is wrong with it."""
    result = Graded(handed.assignment, handed.student)
    try:
        submission.check_student(handed.student)
    except submission.SubmissionError as error:
        result.error = str(error)
        return result
    for name, notebook in released.items():
        path = handed.folder / f"{name}.ipynb"
        if not path.exists() and not path.is_symlink():
            continue
        try:
            _judge_notebook(submission.read(path), notebook, seed, result)
        except submission.SubmissionError as error:
            result.error = str(error)
    if not result.marks and not result.error:
        wanted = " or ".join(f"{name}.ipynb" for name in released)
        result.error = f"{handed.folder}: there is no {wanted}; was it handed in under another name?"
    return result


def digest(handed: Handed, released: Mapping[str, Released]) -> str:
    """Of what was handed in, and when: another digest, another submission."""
    found = hashlib.sha256(str(handed.timestamp or "").encode())
    for name in sorted(released):
        path = handed.folder / f"{name}.ipynb"
        try:
            readable = not path.is_symlink() and path.is_file() and path.stat().st_size <= submission.MAX_BYTES
            content = path.read_bytes() if readable else b"none"
        except OSError:
            content = b"unreadable"
        found.update(f"\n{name} {len(content)}\n".encode() + content)
    return found.hexdigest()


def _judge_notebook(read: submission.Submission, released: Released, seed: int, result: Graded) -> None:
    exercises = [e for name in released.graded if (e := catalogue.by_name().get(name))]
    cells = autograded.whole(read.notebook, released.cells)
    grading = grade([c["source"] for c in cells if autograded.runs(c)], exercises, seed)
    autograded.fill(cells, grading.cells, grading.verdicts)
    scores: dict[str, float | None] = dict.fromkeys(released.graded, 0.0)
    scores |= {verdict.exercise.name: verdict.points for verdict in grading.verdicts}
    comments: dict[str, str | None] = {}
    for cell in cells:
        marks = cell["metadata"].get("nbgrader")
        if marks is None:
            continue
        untouched = marks.get("checksum") is not None and autograded.checksum(cell) == marks["checksum"]
        if marks["solution"]:
            comments[marks["grade_id"]] = "No response." if untouched else None
        if marks["task"] or (marks["grade"] and marks["solution"]):
            scores[marks["grade_id"]] = 0.0 if untouched and not marks["task"] else None
    result.marks[released.name] = Marks(scores, comments)
    result.files[released.name] = autograded.dumps(cells, released.kernelspec)
    result.verdicts += [{"notebook": released.name, **panel.plain(verdict)} for verdict in grading.verdicts]
