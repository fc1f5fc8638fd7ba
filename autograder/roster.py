"""The students of a course: their list as a file, their rows in the gradebook, and who is meant by a name.

The file is what nbgrader imports: ``id, first_name, last_name, email, lms_user_id``. Lists as platforms export them are
understood as well: other names for the columns, semicolons, a byte order mark, one column for the whole name.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nbgrader import api

from autograder.submission import SubmissionError, check_student

COLUMNS = ("id", "first_name", "last_name", "email", "lms_user_id")
ALSO_CALLED = {
    "id": ("id", "student_id", "sid", "id_number", "idnumber", "sis_user_id", "username", "login", "sis_login_id"),
    "first_name": ("first_name", "firstname", "given_name", "forename", "first"),
    "last_name": ("last_name", "lastname", "surname", "family_name", "last"),
    "email": ("email", "email_address", "e_mail", "mail"),
    "lms_user_id": ("lms_user_id", "lms_id", "canvas_id", "canvas_user_id", "user_id"),
    "name": ("name", "full_name", "student", "student_name"),
}
DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Student:
    """A row of the list. ``id`` is nbgrader's, and the name of the student's folders."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip() or self.id


@dataclass
class Roster:
    """The students of a list, and a sentence for each row that was odd."""

    students: list[Student] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def read(path: Path) -> Roster:
    """Read a list of students. A file that is missing is an empty list."""
    if not path.exists():
        return Roster()
    text, odd = _text(path)
    roster = Roster(odd=odd)
    lines = text.splitlines()
    if not lines:
        return roster
    delimiter = max(",;\t", key=lines[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = [_column(head) for head in next(rows)]
    if "id" not in columns:
        roster.odd.append(f"{path}:1: has no column called id; its first line should be: {','.join(COLUMNS)}")
        return roster
    seen: dict[str, Student] = {}
    for row in rows:
        where = f"{path}:{rows.line_num}"
        values = {column: value.strip() for column, value in zip(columns, row, strict=False) if column}
        if not any(values.values()):
            continue
        if len(row) > len(columns):
            roster.odd.append(f"{where}: has {len(row)} cells where the first line names {len(columns)}; left out.")
            continue
        student = _student(values)
        if why := _odd(student):
            roster.odd.append(f"{where}: {why}; left out.")
        elif student.id in seen and seen[student.id] != student:
            roster.odd.append(f"{where}: {student.id} stands here a second time, otherwise; the first one counts.")
        elif student.id not in seen:
            seen[student.id] = student
            if other := next((s for s in roster.students if s.email and _key(s.email) == _key(student.email)), None):
                roster.odd.append(f"{where}: {student.id} has the e-mail address of {other.id}; which of them is it?")
            roster.students.append(student)
    return roster


def _text(path: Path) -> tuple[str, list[str]]:
    data = path.read_bytes()
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), [
            f"{path}: is not UTF-8, and was read as Windows' Western European; look at names with accents, "
            "and save it as UTF-8."
        ]


def _column(head: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", head.strip().lower()).strip("_")
    return next((column for column, others in ALSO_CALLED.items() if name in others), "")


def _student(values: dict[str, str]) -> Student:
    name = values.pop("name", "")
    if name and not (values.get("first_name") or values.get("last_name")):
        last, comma, first = name.partition(",")
        if not comma:
            first, _, last = name.rpartition(" ")
        values |= {"first_name": first.strip(), "last_name": last.strip()}
    return Student(**{column: values.get(column, "") for column in COLUMNS})


def _odd(student: Student) -> str:
    """What is wrong with an id: it names folders on every system, and stands in tables that spreadsheets open."""
    if not student.id:
        return f"{student.name or 'this row'} has no id"
    try:
        check_student(student.id)
    except SubmissionError:
        return f"{student.id!a} is no id, for it holds a sign that is markup or cannot be printed"
    if re.search(r'[/\\:*?"<>|]', student.id) or student.id.startswith((".", "~")) or student.id.endswith("."):
        return f"{student.id!a} cannot name a folder; take an id of letters and digits"
    if DEVICE.fullmatch(student.id):
        return f"{student.id!a} is the name of a device on Windows; take another id"
    if student.id[0] in "=+-@":
        return f"{student.id!a} would be a formula in a spreadsheet; take an id of letters and digits"
    return ""


def append(path: Path, students: Iterable[Student]) -> None:
    """Add rows to the list, as its first line says; make the list where there is none."""
    rows = [asdict(student) for student in students]
    if not rows:
        return
    text, _ = _text(path) if path.exists() else ("", [])
    head = text.splitlines()[0] if text else ",".join(COLUMNS)
    delimiter = max(",;\t", key=head.count)
    columns = [_column(name) for name in head.split(delimiter)]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(
        [[row.get(column, "") for column in columns] for row in rows]
    )
    before = (text or head).rstrip("\r\n")
    path.write_text(f"{before}\n{out.getvalue()}", encoding="utf-8", newline="\n")


@dataclass
class Entered:
    """What the gradebook learned from a list."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def enter(book: api.Gradebook, students: Iterable[Student]) -> Entered:
    """Put students into the gradebook, in one transaction. What the list leaves open stays; nobody is removed."""
    came = Entered()
    there = {student.id: student for student in book.students}
    for student in students:
        known = {k: v for k, v in asdict(student).items() if v and k != "id"}
        row = there.get(student.id)
        if row is None:
            there[student.id] = row = api.Student(id=student.id, **known)
            book.db.add(row)
            came.added.append(student.id)
        elif any((getattr(row, k) or "") != v for k, v in known.items()):
            for k, v in known.items():
                setattr(row, k, v)
            came.changed.append(student.id)
    book.db.commit()
    return came


def in_gradebook(book: api.Gradebook) -> list[Student]:
    return [Student(**{column: str(getattr(row, column) or "") for column in COLUMNS}) for row in book.students]


@dataclass(frozen=True)
class Clue:
    """What is known about who handed something in. Empty is: not known."""

    id: str = ""
    email: str = ""
    lms_user_id: str = ""
    name: str = ""

    def __str__(self) -> str:
        known = [self.name, self.id, self.email, self.lms_user_id and f"user {self.lms_user_id}"]
        return ", ".join(part for part in dict.fromkeys(known) if part) or "nobody"


class Register:
    """Finds the student who is meant."""

    def __init__(self, students: Iterable[Student]):
        self.students: list[Student] = []
        self._by: dict[str, dict[str, list[Student]]] = {
            kind: {} for kind in ("id", "email", "lms_user_id", "name", "run")
        }
        for student in students:
            self.add(student)

    def add(self, student: Student) -> None:
        self.students.append(student)
        named = f"{student.first_name} {student.last_name}"
        keys = {
            "id": {_key(student.id)},
            "email": {_key(student.email)},
            "lms_user_id": {_key(student.lms_user_id)},
            "name": {_words(named)},
            "run": {_run(student.last_name + student.first_name), _run(student.first_name + student.last_name)},
        }
        for kind, found in keys.items():
            for key in found - {""}:
                self._by[kind].setdefault(key, []).append(student)

    def has(self, student: str) -> bool:
        return _key(student) in self._by["id"]

    def find(self, clue: Clue) -> list[Student]:
        """Who it can be: one where it is clear, several where a name does not tell, none where nobody fits.

        An id decides, then an e-mail address, then the platform's number, then the name.
        """
        tries: list[tuple[str, str, Callable[[str], str]]] = [
            ("id", clue.id, _key),
            ("email", clue.email, _key),
            ("lms_user_id", clue.lms_user_id, _key),
            ("email", clue.id, _key),
            ("name", clue.name, _words),
            ("run", clue.name, _run),
        ]
        for kind, value, key in tries:
            if value and (found := self._by[kind].get(key(value))):
                return found
        before_at = self._by["id"].get(_key(clue.email.partition("@")[0]), [])
        return [student for student in before_at if not student.email]


def _key(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip().casefold()


def _plain(text: str) -> str:
    """Without case and accents: platforms and file systems lose both."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _words(name: str) -> str:
    """The words of a name, in any order: ``Berg, Anna`` is ``Anna Berg``."""
    return " ".join(sorted(re.findall(r"\w+", _plain(name))))


def _run(name: str) -> str:
    """A name written together, as Canvas does it: ``berganna``."""
    return "".join(re.findall(r"[^\W_]+", _plain(name)))


def new_student(clue: Clue, taken: Callable[[str], bool]) -> Student:
    """A row for somebody who is not on the list: their id, or one made from what is known."""
    last, comma, first = clue.name.partition(",")
    if not comma:
        first, _, last = clue.name.rpartition(" ")
    made = re.sub(r"[^\w.@-]+", "-", clue.id or clue.email or _plain(clue.name) or clue.lms_user_id).strip("-.@ ")
    made = f"{made}-student" if DEVICE.fullmatch(made) else made or "unknown"
    unique, count = made, 1
    while taken(unique):
        count += 1
        unique = f"{made}-{count}"
    return Student(unique, first.strip(), last.strip(), clue.email, clue.lms_user_id)
