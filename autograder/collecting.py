"""Put what came in where nbgrader looks for it: ``submitted/anna/01_softmax/01_softmax.ipynb``.

Which assignment a notebook answers is read from its content; a file may be called what it likes. Of several, the latest
counts. What is there already is replaced by a later one only, so a second run of the same changes nothing. What cannot
be placed is told, with the reason.
"""

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from autograder import roster, submission
from autograder.archives import printable
from autograder.classroom import timestamp_in
from autograder.coursework import Coursework
from autograder.handins import Entry, HandIn
from autograder.roster import Clue, Register, Student
from autograder.submission import SubmissionError

MEMORY = Path(".attnlab") / "collected.json"
COPY = re.compile(r"(?:[-_ ]?Copy\d*|[-_ ]?\(\d+\)|-\d+)+$")  # what Jupyter, browsers and Canvas add to a name
HIDDEN = "add them there, give --create, or, where Moodle hides names, --worksheet with its grading worksheet."


@dataclass(frozen=True)
class Target:
    """A released notebook, by what a copy of it can be recognised."""

    assignment: str
    notebook: str
    exercises: frozenset[str]
    due: datetime | None


@dataclass(frozen=True)
class Found:
    """A notebook that can be placed."""

    student: str
    target: Target
    handin: HandIn
    digest: str
    doubt: str = ""

    @property
    def key(self) -> str:
        return f"{self.student}/{self.target.assignment}/{self.target.notebook}"


@dataclass(frozen=True)
class Placed:
    """What became of it: ``new``, ``replaced``, ``unchanged``, or ``older`` than what was there."""

    student: str
    assignment: str
    file: str
    became: str
    late: bool = False
    note: str = ""


@dataclass
class Collection:
    """What a run did. ``left`` are the sentences of what could not be placed."""

    placed: list[Placed] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    created: list[Student] = field(default_factory=list)

    def count(self, became: str) -> int:
        return sum(p.became == became for p in self.placed)


@dataclass(frozen=True)
class Origin:
    """What is remembered of a notebook that was placed, to know later which of two is the later one."""

    digest: str
    platform: str
    order: int | None = None
    modified: float | None = None


class Collector:
    """Places hand-ins into a course."""

    def __init__(self, course: Coursework, create: bool = False):
        self.course, self.create = course, create
        self.register = Register(roster.in_gradebook(course.book))
        self.targets = list(_targets(course))
        self.memory = self._remembered()
        self.done = Collection()

    def place(self, handins: Iterable[HandIn]) -> Iterator[Placed]:
        """Place them, and yield each when it lies there. What became of the others is in ``done``."""
        latest: dict[str, Found] = {}
        for handin in handins:
            for found in self._found(handin):
                other = latest.get(found.key)
                if other is None:
                    latest[found.key] = found
                    continue
                first, second = (other, found) if _is_later(found.handin, other.handin) is not False else (found, other)
                latest[found.key] = second
                if first.digest != second.digest:
                    self.done.told.append(
                        f"{found.student}, {found.target.assignment}: came more than once; {_name(second.handin)} "
                        f"counts, as the later one, and {_name(first.handin)} does not."
                    )
        roster.enter(self.course.book, self.done.created)
        roster.append(self.course.students_file, self.done.created)
        try:
            for found in latest.values():
                if placed := self._put(found):
                    self.done.placed.append(placed)
                    yield placed
        finally:
            self._remember()

    # ------------------------------------------------------------------------------------- whose it is, and what for

    def _found(self, handin: HandIn) -> Iterator[Found]:
        try:
            data = handin.entry.path.read_bytes()
        except OSError as error:
            self.done.left.append(f"{_name(handin)}: cannot be read ({error.strerror}).")
            return
        target = self.target(handin)
        if isinstance(target, str):
            self.done.left.append(f"{_name(handin)}: {target}")
            return
        digest = hashlib.sha256(data).hexdigest()
        for student in self._students(handin, target):
            yield Found(student, target, handin, digest)

    def target(self, handin: HandIn) -> Target | str:
        """The released notebook that this is a copy of, or why none is: by its exercises, else by its name."""
        named = [t for t in self.targets if _bare(t.notebook) in (_bare(part) for part in self._titles(handin))]
        try:
            read = submission.read(handin.entry.path)
        except SubmissionError as error:
            if len(named) == 1:
                return named[0]  # broken, and handed in all the same: grading will say so
            return str(error).split(": ", 1)[-1]
        code = "\n".join(cell.source for cell in read.cells)
        ids = {cell.grade_id for cell in read.cells} | {cell.grade_id.removesuffix("_answer") for cell in read.cells}
        held = {
            target: sum(
                name in ids or bool(re.search(submission.DEFINES.format(re.escape(name)), code))
                for name in target.exercises
            )
            for target in self.targets
        }
        most = max(held.values(), default=0)
        best = [target for target, count in held.items() if count == most and most]
        if len(best) > 1:
            best = [target for target in best if target in named] or best
        if len(best) == 1:
            return best[0]
        if best:
            among = " or ".join(sorted(t.assignment for t in best))
            return f"may be {among}, for it has {most} exercises of each; name the file after one of them."
        if len(named) == 1:
            return named[0]
        chapters = sorted({exercise.chapter for exercise in read.exercises()})
        if chapters:
            return (
                f"has exercises of chapter {', '.join(map(str, chapters))}, which the gradebook does not know; "
                "run: attnlab release"
            )
        return "has no exercise of this course in it; is it the right file?"

    def _titles(self, handin: HandIn) -> list[str]:
        stem = handin.title.rsplit(".", 1)[0]
        names = sorted((t.notebook for t in self.targets), key=len, reverse=True)
        inside = [name for name in names if name.casefold() in stem.casefold()]
        return [COPY.sub("", stem), *inside[:1], *handin.entry.parts[:-1][-1:]]

    def _students(self, handin: HandIn, target: Target) -> list[str]:
        """Ids of those who handed it in: of a group, all."""
        if handin.platform:
            names = [self._one(handin, [clue], clue) for clue in handin.who]
            if not handin.who:
                self.done.left.append(f"{_name(handin)}: {handin.platform} does not say who handed it in.")
        else:
            folders, file = _guesses(handin, target)
            names = [self._one(handin, [*folders, *file], next(iter([*folders[::-1], *file]), None))]
        return [name for name in names if name]

    def _one(self, handin: HandIn, guesses: list[Clue], new: Clue | None) -> str:
        for clue in guesses:
            students = self.register.find(clue)
            if len(students) == 1:
                return students[0].id
            if students:
                among = " or ".join(student.id for student in students)
                self.done.left.append(
                    f"{_name(handin)}: may be from {among}; put their e-mail addresses or numbers into "
                    f"{self.course.students_file.name}, or the id into the name of the file."
                )
                return ""
        if new is None:
            self.done.left.append(f"{_name(handin)}: its name does not say whose it is; put the student's id into it.")
            return ""
        if not self.create:
            self.done.left.append(
                f"{_name(handin)}: {printable(str(new))} is not in {self.course.students_file.name}; "
                + (HIDDEN if handin.platform == "Moodle" else "add them there, or give --create.")
            )
            return ""
        return self._created(handin, new)

    def _created(self, handin: HandIn, clue: Clue) -> str:
        student = roster.new_student(clue, self.register.has)
        try:
            submission.check_student(student.id)
        except SubmissionError as error:
            self.done.left.append(f"{_name(handin)}: {error}")
            return ""
        self.register.add(student)
        self.done.created.append(student)
        return student.id

    # ------------------------------------------------------------------------------------------------ into its place

    def _put(self, found: Found) -> Placed | None:
        folder = self.course.folder("submitted", found.student, found.target.assignment)
        path = folder / f"{found.target.notebook}.ipynb"
        if not path.resolve().is_relative_to(self.course.root) or path.is_symlink():
            self.done.left.append(f"{_name(found.handin)}: {path} is a link; take it away and collect again.")
            return None
        handin, late = found.handin, _is_late(found)

        def became(what: str, note: str = "") -> Placed:
            return Placed(found.student, found.target.assignment, _name(handin), what, late, note)

        if handin.late and not found.target.due:
            self.done.told.append(
                f"{_name(handin)}: is marked late, but {found.target.assignment} has no due date, so nobody is; "
                f"enter it: attnlab release {found.target.assignment} --due TIME, then collect again."
            )

        if not path.exists():
            self._write(folder, path, found)
            return became("new")
        if hashlib.sha256(path.read_bytes()).hexdigest() == found.digest:
            self.memory.setdefault(found.key, _origin(found))
            if _stamp(found) and timestamp_in(folder) is None:  # there was no due date when it came
                _write_whole(folder / "timestamp.txt", _stamp(found))
            return became("unchanged")
        later = self._is_later_than_there(found, path)
        if later is None:
            self.done.left.append(
                f"{_name(handin)}: differs from {path.relative_to(self.course.root).as_posix()}, and nothing says "
                "which is later; delete the one that shall not count, and collect again."
            )
            return None
        if not later:
            return became("older", "what is there came later, and stays")
        self._write(folder, path, found)
        return became("replaced")

    def _write(self, folder: Path, path: Path, found: Found) -> None:
        """The notebook, whole or not at all, and when it came. What was graded of an earlier one is no longer done."""
        folder.mkdir(parents=True, exist_ok=True)
        stamp = folder / "timestamp.txt"
        if written := _stamp(found):
            _write_whole(stamp, written)
        elif path.exists():
            stamp.unlink(missing_ok=True)
        _write_whole(path, found.handin.entry.path.read_bytes())
        graded = self.course.folder("autograded", found.student, found.target.assignment) / path.name
        graded.unlink(missing_ok=True)
        self.memory[found.key] = _origin(found)

    def _is_later_than_there(self, found: Found, path: Path) -> bool | None:
        """Whether it is later than the notebook that is there; None where nothing tells."""
        there = self.memory.get(found.key)
        if there and hashlib.sha256(path.read_bytes()).hexdigest() != there.digest:
            there = None  # somebody put another one there
        before = timestamp_in(path.parent)
        if found.handin.when and before:
            return found.handin.when > before
        if there is None:
            return None
        if found.handin.order is not None and there.order is not None:
            return found.handin.order > there.order
        mine = _origin(found).modified
        if mine and there.modified and found.handin.platform == there.platform and mine != there.modified:
            return mine > there.modified
        return None

    # ------------------------------------------------------------------------------------------------------- memory

    def _remembered(self) -> dict[str, Origin]:
        try:
            loaded = json.loads((self.course.root / MEMORY).read_text(encoding="utf-8"))
            return {key: Origin(**value) for key, value in loaded.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _remember(self) -> None:
        path = self.course.root / MEMORY
        path.parent.mkdir(exist_ok=True)
        text = json.dumps({key: asdict(origin) for key, origin in sorted(self.memory.items())}, indent=1)
        _write_whole(path, text.encode())


def straighten(course: Coursework) -> list[str]:
    """Give notebooks that the exchange collected under other names the ones they are graded by; a sentence for each."""
    collector = Collector(course)
    told = []
    for target in collector.targets:
        wanted = f"{target.notebook}.ipynb"
        for folder in sorted(glob.glob(str(course.folder("submitted", "*", target.assignment)))):
            if Path(folder, wanted).exists():
                continue
            for path in sorted(Path(folder).glob("*.ipynb")):
                handin = HandIn(Entry(path.name, path), "", (), path.name)
                if not path.is_symlink() and collector.target(handin) == target:
                    _write_whole(Path(folder, wanted), path.read_bytes())
                    told.append(f"{path.relative_to(course.root).as_posix()}: is graded as {wanted}.")
                    break
    return told


def _targets(course: Coursework) -> Iterator[Target]:
    for assignment in course.book.assignments:
        for notebook in assignment.notebooks:
            names = [cell.name for cell in (*notebook.grade_cells, *notebook.solution_cells)]
            exercises = frozenset(name.removesuffix("_answer") for name in names)
            yield Target(assignment.name, notebook.name, exercises, assignment.duedate)


def _guesses(handin: HandIn, target: Target) -> tuple[list[Clue], list[Clue]]:
    """Who it may be, as people name things: by a folder, or by the file's name without the assignment's."""
    own = (_bare(target.assignment), "submitted")
    folders = [Clue(id=part, name=part) for part in handin.entry.parts[:-1] if _bare(part) not in own]
    stem = COPY.sub("", handin.title.rsplit(".", 1)[0])
    rest = re.sub(re.escape(target.notebook), " ", stem, flags=re.IGNORECASE).strip(" _-.,()")
    return folders, [Clue(id=rest, name=rest.replace("_", " "))] if rest else []


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.casefold())


def _name(handin: HandIn) -> str:
    return printable(handin.entry.name)


def _is_late(found: Found) -> bool:
    due, when = found.target.due, found.handin.when
    return found.handin.late or bool(due and when and when > due)


def _stamp(found: Found) -> bytes:
    """What nbgrader reads of when it came; empty where nothing is known. Late without a time is one second late."""
    when = found.handin.when
    if when is None and found.handin.late and found.target.due:
        when = found.target.due + timedelta(seconds=1)
    return f"{when:%Y-%m-%d %H:%M:%S.%f} UTC".encode() if when else b""


def _is_later(one: HandIn, other: HandIn) -> bool | None:
    """Whether one came after the other; None where nothing tells."""
    for a, b in ((one.when, other.when), (one.order, other.order), (one.entry.modified, other.entry.modified)):
        if a is not None and b is not None and a != b:
            return bool(a > b)  # type: ignore[operator]  # of one kind: the pairs are
    return None


def _origin(found: Found) -> Origin:
    return Origin(found.digest, found.handin.platform, found.handin.order, found.handin.entry.modified)


def _write_whole(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    os.replace(new, path)
