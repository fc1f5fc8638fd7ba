"""Grade a whole class: the fast way to what ``nbgrader autograde`` does, into the same gradebook.

Workers read, run and judge; only this process writes. For each submission: its notebook is written beside its place,
one short transaction records scores and history, then the notebook is put in place. Killed at any moment, the next run
finds which of the three steps were done, and goes on from there.
"""

import contextlib
import errno
import glob
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import parse_utc
from traitlets.config import Config
from traitlets.config.loader import ConfigFileNotFound, PyFileConfigLoader

from autograder import autograded, catalogue, database, history, host, pool
from autograder.database import GradebookError, Tell
from autograder.gradebook import Gradebook, Released
from autograder.history import Event
from autograder.judge import VISIBLE_SEED
from autograder.judging import Books, Graded, Handed, digest, judge_submission
from autograder.submission import SubmissionError, check_student
from autograder.version import version

__all__ = ["Classroom", "Event", "GradebookError", "Graded", "Handed"]

Judges = Callable[[Books, int, Sequence[Handed]], Iterator[tuple[int, Graded]]]


class Classroom:
    """A course of nbgrader's: its folders, its configuration, its gradebook.

    ``database`` is a URL, where the gradebook is not the one that the configuration names; ``tell`` is given a sentence
    when something has to be waited for.
    """

    def __init__(
        self,
        root: Path,
        seed: int | None = None,
        database: str | None = None,
        tell: Tell = lambda sentence: None,
    ):
        self.config = config = _configuration(root, database)
        self.root = root
        self.seed = seed if seed is not None else int(config.Judge.get("seed", VISIBLE_SEED))
        self.course = CourseDirectory(config=config, root=str(root))
        self.gradebook = Gradebook(self.course.db_url, self.course.course_id, self._name(), tell)
        penalties = AssignLatePenalties(config=config)
        penalties.init_plugin()
        self.late = penalties.plugin_inst.late_submission_penalty

    def _name(self) -> str:
        """What the course is called in its database; "" where a file in its own folder is all that it needs."""
        named = self.course.course_id if self.course.course_id != database.ANY_COURSE else ""
        return named or (self.root.name if database.is_server(self.course.db_url) else "")

    def close(self) -> None:
        self.gradebook.close()

    def __enter__(self) -> "Classroom":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------------ grading

    def grade(
        self,
        assignments: str | Sequence[str] = (),
        students: Sequence[str] = (),
        force: bool = False,
        jobs: int = 1,
        judges: Judges | None = None,
    ) -> Iterator[Graded]:
        """Grade what is new (with ``force``, everything), and yield each submission when it is in the gradebook.

        Without assignments, all that are released. ``judges`` do the judging, in the place of ``jobs`` processes here.
        """
        books = self.books(assignments)
        waiting, seen = self.waiting(books, students, force)
        for number, result in (judges or partial(judge_here, jobs=jobs))(books, self.seed, waiting):
            handed = waiting[number]
            self._keep(handed, result, books[handed.assignment], seen.get((handed.assignment, handed.student)))
            yield result

    def books(self, assignments: str | Sequence[str] = ()) -> dict[str, dict[str, Released]]:
        """The notebooks of each assignment, of all that are released where none is named."""
        wanted = [assignments] if isinstance(assignments, str) else list(assignments) or self.gradebook.assignments()
        return {name: self.gradebook.released(name) for name in wanted}

    def waiting(
        self, books: Books, students: Sequence[str] = (), force: bool = False
    ) -> tuple[list[Handed], dict[tuple[str, str], Event]]:
        """The submissions to grade, and what was last recorded of each. Finishes what a killed run left half put."""
        seen = self.latest(list(books), students, verdicts=False) if books else {}
        found = []
        for assignment, released in books.items():
            for handed in self.handed_in(assignment, students):
                last = seen.get((assignment, handed.student))
                self._finish(handed, last)
                if force or not self._is_done(handed, released, last):
                    found.append(handed)
        return found, seen

    def handed_in(self, assignment: str, students: Sequence[str] = ()) -> list[Handed]:
        """The submissions of an assignment, by student."""
        folder = self.course.submitted_directory
        pattern = re.compile(self.course.format_path(folder, "(?P<student>.+)", assignment, escape=True))
        found = []
        for path in sorted(glob.glob(self.course.format_path(folder, "*", glob.escape(assignment)))):
            match = pattern.fullmatch(path)
            if match and (not students or match["student"] in students) and Path(path).is_dir():
                found.append(Handed(assignment, match["student"], Path(path), timestamp_in(Path(path))))
        return found

    def unreleased(self) -> dict[str, int]:
        """How many submissions lie there for each assignment that the gradebook does not have."""
        pattern = self.course.format_path(self.course.submitted_directory, "(?P<student>[^/]+)", "(?P<name>.+)", True)
        known = set(self.gradebook.assignments())
        found: dict[str, int] = {}
        for path in sorted(glob.glob(self.course.format_path(self.course.submitted_directory, "*", "*"))):
            match = re.fullmatch(pattern, path)
            if match and match["name"] not in known and Path(path).is_dir():
                found[match["name"]] = found.get(match["name"], 0) + 1
        return found

    # ------------------------------------------------------------------------------------------------ what is known

    def history(self, assignments: Sequence[str] = (), students: Sequence[str] = ()) -> list[Event]:
        """Every judgement that was recorded, the oldest first: verdicts, points before and after, who, when, seed."""
        return self.gradebook.history(assignments, students)

    def latest(
        self, assignments: Sequence[str] = (), students: Sequence[str] = (), verdicts: bool = True
    ) -> dict[tuple[str, str], Event]:
        """The last judgement of each submission, by assignment and student; ``verdicts`` are most of what is read."""
        found = self.gradebook.history(assignments, students, last=True, verdicts=verdicts)
        return {(event.assignment, event.student): event for event in found}

    def folder_of(self, assignment: str, student: str) -> Path:
        """Where the graded notebooks of a submission are."""
        return Path(self.course.format_path(self.course.autograded_directory, student, assignment))

    # ------------------------------------------------------------------------------------------------------ keeping

    def _is_done(self, handed: Handed, released: Mapping[str, Released], last: Event | None) -> bool:
        folder = self.folder_of(handed.assignment, handed.student)
        if not any((folder / f"{name}.ipynb").exists() for name in released):
            return False
        if last is None:  # nbgrader's own autograde has graded it
            before = timestamp_in(folder)
            return not (handed.timestamp and before and handed.timestamp > before)
        return not last.error and last.digest == digest(handed, released)

    def _keep(self, handed: Handed, result: Graded, released: Mapping[str, Released], last: Event | None) -> None:
        """Record a judgement, and put its notebooks."""
        event = Event(
            handed.assignment,
            handed.student,
            at=history.now(),
            who=history.whoami(),
            version=version(),
            seed=self.seed,
            handed_in=handed.timestamp,
            digest=digest(handed, released),
            worth=sum(notebook.worth for notebook in released.values()),
            before=last.after if last else None,
            verdicts=result.verdicts,
            error=autograded.shown_name(result.error),
        )
        if result.error:
            again = last is not None and (last.error, last.digest) == (event.error, event.digest)
            with contextlib.suppress(SubmissionError):  # no row can be named after a student who has no id
                check_student(handed.student)
                if not again:
                    self.gradebook.remember(replace(event, verdicts=[]))
            return
        folder = self.folder_of(handed.assignment, handed.student)
        files = _files(handed, result)
        try:
            _write_beside(folder, files)
            event = replace(event, files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
            seen = last.number if last else 0
            result.scores = self.gradebook.record(released.values(), result.marks, self.late, event, seen)
            _put(folder, files)
        except OSError as error:
            raise GradebookError(
                f"{folder} cannot be written: {error.strerror}. What is graded so far is recorded; "
                + ("make room on its disk" if error.errno in FULL else "mend that")
                + " and give the same command again."
            ) from error

    def _finish(self, handed: Handed, last: Event | None) -> None:
        """Notebooks that lie beside their place: put there if their scores were recorded, else taken away."""
        folder = self.folder_of(handed.assignment, handed.student)
        for new in folder.glob(".*.new") if folder.is_dir() else ():
            name = new.name.removeprefix(".").removesuffix(".new").rpartition(".")[0]
            recorded = last.files.get(name) if last else None
            if recorded and hashlib.sha256(new.read_bytes()).hexdigest() == recorded:
                os.replace(new, folder / name)
            else:
                new.unlink()


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _files(handed: Handed, result: Graded) -> dict[str, bytes]:
    """What formgrader and feedback read: the notebooks, and when they were handed in."""
    files = {f"{name}.ipynb": text.encode("utf-8", "replace") for name, text in result.files.items()}
    stamp = handed.folder / "timestamp.txt"
    if stamp.is_file() and not stamp.is_symlink():
        files["timestamp.txt"] = stamp.read_bytes()
    return files


def _write_beside(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        with open(_beside(folder, name), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # the record must not outlive a power cut that this does not


def _beside(folder: Path, name: str) -> Path:
    """Where a file waits to be put in its place: another place for each run and each of its threads."""
    return folder / f".{name}.{os.getpid()}-{threading.get_ident()}.new"


def _put(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        try:
            os.replace(_beside(folder, name), folder / name)
        except FileNotFoundError:  # another run over this course has begun, and took it for a dead run's
            _write_beside(folder, {name: data})
            os.replace(_beside(folder, name), folder / name)


def timestamp_in(folder: Path) -> datetime | None:
    """When it was handed in, if a file says so that can be read."""
    path = folder / "timestamp.txt"
    try:
        text = "" if path.is_symlink() else path.read_text(encoding="utf-8")[:100].strip()
        return parse_utc(text) if text else None
    except (OSError, ValueError, OverflowError):
        return None


def judge_here(books: Books, seed: int, waiting: Sequence[Handed], jobs: int = 1) -> Iterator[tuple[int, Graded]]:
    """Judged submissions, in the order in which they are done, by so many processes of this machine."""
    judge = partial(_judge, books, seed)
    if jobs == 1 or len(waiting) < 2:
        yield from ((number, judge(handed)) for number, handed in enumerate(waiting))
        return
    host.shared()  # before the fork: the workers share one zygote …
    catalogue.by_name()  # … and the memory of every check
    for number, result in pool.run(judge, waiting, jobs):
        if isinstance(result, pool.Died):
            handed = waiting[number]
            result = Graded(handed.assignment, handed.student, error=f"{handed.folder}: twice, while judged, {result}.")
        yield number, result


def _judge(books: Books, seed: int, handed: Handed) -> Graded:
    return judge_submission(handed, books[handed.assignment], seed)


def _configuration(root: Path, url: str | None) -> Any:
    """nbgrader's configuration of this course, with this database."""
    try:
        config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
    except ConfigFileNotFound:
        from autograder.nbgrader import configure

        config = Config()
        configure(config)
    except Exception as error:  # it is the instructor's own Python, and may raise what it likes
        raise GradebookError(
            f"{root / 'nbgrader_config.py'} cannot be run ({type(error).__name__}: {error}); mend that line of it."
        ) from None
    if url:
        config.CourseDirectory.db_url = url
    if found := config.CourseDirectory.get("db_url"):
        config.CourseDirectory.db_url = database.normal(found)
        if database.is_server(found) and not config.CourseDirectory.get("course_id"):
            config.CourseDirectory.course_id = database.ANY_COURSE  # a server keeps to foreign keys
    return config
