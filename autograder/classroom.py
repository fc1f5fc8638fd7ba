"""Grade an assignment of a whole class: the fast way to what ``nbgrader autograde`` does, into the same gradebook.

Workers read, run and judge; only this process writes. A submission is one short transaction, then its notebook is put
in place: a run that is stopped goes on where it stopped; one that is broken is reported, and the others are graded.
"""

import glob
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import parse_utc
from traitlets.config import Config
from traitlets.config.loader import ConfigFileNotFound, PyFileConfigLoader

from autograder import autograded, catalogue, host, submission
from autograder.gradebook import Gradebook, Marks, Released
from autograder.grading import grade
from autograder.judge import VISIBLE_SEED


@dataclass(frozen=True)
class Handed:
    """What a student handed in for an assignment."""

    student: str
    folder: Path
    timestamp: datetime | None


@dataclass
class Graded:
    """What became of it: the marks and the file of each notebook, or why there are none."""

    student: str
    marks: dict[str, Marks] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    error: str = ""

    @property
    def points(self) -> float:
        return sum(self.scores.values())


class Classroom:
    """A course of nbgrader's: its folders, its configuration, its gradebook."""

    def __init__(self, root: Path, seed: int | None = None):
        config = _configuration(root)
        self.seed = seed if seed is not None else int(config.Judge.get("seed", VISIBLE_SEED))
        self.course = CourseDirectory(config=config, root=str(root))
        self.gradebook = Gradebook(self.course.db_url)
        penalties = AssignLatePenalties(config=config)
        penalties.init_plugin()
        self.late = penalties.plugin_inst.late_submission_penalty

    def close(self) -> None:
        self.gradebook.close()

    def __enter__(self) -> "Classroom":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def grade(
        self, assignment: str, students: Sequence[str] = (), force: bool = False, jobs: int = 1
    ) -> Iterator[Graded]:
        """Grade what is new (with ``force``, everything), and yield each submission when it is in the gradebook."""
        released = self.gradebook.released(assignment)
        waiting = [
            h for h in self.handed_in(assignment, students) if force or not self._is_done(assignment, h, released)
        ]
        for handed, result in _all_judged(waiting, released, self.seed, jobs):
            if not result.error:
                result.scores = self.gradebook.record(
                    result.student, handed.timestamp, released.values(), result.marks, self.late
                )
                self._put(assignment, handed, result)
            yield result

    def handed_in(self, assignment: str, students: Sequence[str] = ()) -> list[Handed]:
        """The submissions of an assignment, by student."""
        folder = self.course.submitted_directory
        pattern = re.compile(self.course.format_path(folder, "(?P<student>.+)", assignment, escape=True))
        found = []
        for path in sorted(glob.glob(self.course.format_path(folder, "*", assignment))):
            match = pattern.fullmatch(path)
            if match and (not students or match["student"] in students) and Path(path).is_dir():
                found.append(Handed(match["student"], Path(path), timestamp_in(Path(path))))
        return found

    def folder_of(self, assignment: str, student: str) -> Path:
        return Path(self.course.format_path(self.course.autograded_directory, student, assignment))

    def _is_done(self, assignment: str, handed: Handed, released: Mapping[str, Released]) -> bool:
        folder = self.folder_of(assignment, handed.student)
        if not any((folder / f"{name}.ipynb").exists() for name in released):
            return False
        before = timestamp_in(folder)
        return not (handed.timestamp and before and handed.timestamp > before)

    def _put(self, assignment: str, handed: Handed, result: Graded) -> None:
        """The notebooks for formgrader and feedback, each whole or not at all."""
        folder = self.folder_of(assignment, handed.student)
        folder.mkdir(parents=True, exist_ok=True)
        stamp = handed.folder / "timestamp.txt"
        files = {f"{name}.ipynb": text for name, text in result.files.items()}
        if stamp.is_file() and not stamp.is_symlink():
            files["timestamp.txt"] = stamp.read_text(encoding="utf-8")
        for name, text in files.items():
            new = folder / f".{name}.new"
            new.write_text(text, encoding="utf-8", errors="surrogatepass" if name == "timestamp.txt" else "replace")
            os.replace(new, folder / name)


def timestamp_in(folder: Path) -> datetime | None:
    """When it was handed in, if a file says so that can be read."""
    path = folder / "timestamp.txt"
    try:
        text = "" if path.is_symlink() else path.read_text(encoding="utf-8")[:100].strip()
        return parse_utc(text) if text else None
    except (OSError, ValueError, OverflowError):
        return None


def judge_submission(folder: Path, student: str, released: Mapping[str, Released], seed: int) -> Graded:
    """Read, run and judge what a student handed in. Writes nothing."""
    result = Graded(student)
    try:
        submission.check_student(student)
    except submission.SubmissionError as error:
        result.error = str(error)
        return result
    for name, notebook in released.items():
        path = folder / f"{name}.ipynb"
        if not path.exists() and not path.is_symlink():
            continue
        try:
            read = submission.read(path)
            result.marks[name], result.files[name] = _judge_notebook(read, notebook, seed)
        except submission.SubmissionError as error:
            result.error = str(error)
    if not result.marks and not result.error:
        wanted = " or ".join(f"{name}.ipynb" for name in released)
        result.error = f"{folder}: there is no {wanted}; was it handed in under another name?"
    return result


def _judge_notebook(read: submission.Submission, released: Released, seed: int) -> tuple[Marks, str]:
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
    return Marks(scores, comments), autograded.dumps(cells, released.kernelspec)


def _all_judged(
    waiting: Sequence[Handed], released: Mapping[str, Released], seed: int, jobs: int
) -> Iterator[tuple[Handed, Graded]]:
    """Judged submissions, in the order in which they are done."""
    if jobs == 1 or len(waiting) < 2:
        for handed in waiting:
            yield handed, judge_submission(handed.folder, handed.student, released, seed)
        return
    method = "fork" if sys.platform == "linux" else "spawn"
    host.shared()  # before the fork: the workers share one zygote
    with ProcessPoolExecutor(min(jobs, len(waiting)), multiprocessing.get_context(method)) as pool:
        futures = {pool.submit(judge_submission, h.folder, h.student, released, seed): h for h in waiting}
        for future in as_completed(futures):
            handed = futures.pop(future)
            try:
                yield handed, future.result()
            except BrokenProcessPool:
                yield handed, Graded(handed.student, error=f"{handed.folder}: the worker that judged it was killed.")


def _configuration(root: Path) -> Any:
    """nbgrader's configuration of this course."""
    try:
        return PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
    except ConfigFileNotFound:
        from autograder.nbgrader import configure

        config = Config()
        configure(config)
        return config
