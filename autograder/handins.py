"""What came in, and what its name says: in folders and archives, named by Canvas, Moodle, Gradescope or people.

==========  ==============================================================================================
Canvas      ``bergannamaria_LATE_1234_56789_01_softmax-1.ipynb``: name, perhaps late, user, file, file's name;
            ``anon_AbC1_56789_…`` where names are hidden. A later file has a higher number.
Moodle      ``Anna Berg_4321_assignsubmission_file_/01_softmax.ipynb``, newer ones without the last ``_``, and
            without folders ``Anna Berg_4321_assignsubmission_file_01_softmax.ipynb``. The number is the
            participant's in this assignment, not the user's: a grading worksheet says whose it is.
Gradescope  ``assignment_12_export/submission_34/…`` beside ``submission_metadata.yml``, which says who and when.
nbgrader    ``anna/01_softmax/01_softmax.ipynb``, with a ``timestamp.txt`` beside it.
people      a folder or a file with the name or the id of the student in it.
==========  ==============================================================================================
"""

import csv
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from autograder import archives
from autograder.classroom import timestamp_in
from autograder.roster import Clue
from autograder.submission import SubmissionError

METADATA = "submission_metadata.yml"
MAX_METADATA = 50 << 20
CANVAS = re.compile(r"(?:(?P<name>.+?)_)?(?P<late>LATE_)?(?P<user>\d+)_(?P<file>\d+)_(?P<rest>.+)")
CANVAS_ANONYMOUS = re.compile(r"(?P<late>LATE_)?anon_(?P<user>[A-Za-z0-9]+)_(?P<file>\d+)_(?P<rest>.+)")
MOODLE = re.compile(r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_file(?:_(?P<rest>.*))?")


@dataclass(frozen=True)
class Entry:
    """A file that came in: what it was called, with its folders, and where its content lies now."""

    name: str
    path: Path
    modified: float | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        return PurePosixPath(self.name).parts


@dataclass(frozen=True)
class HandIn:
    """An entry with what is known of it. ``order`` tells which of two is later where no time does."""

    entry: Entry
    platform: str
    who: tuple[Clue, ...]
    title: str
    late: bool = False
    when: datetime | None = None
    order: int | None = None


@dataclass
class Came:
    """All that came in, and a sentence for each thing that could not be read."""

    handins: list[HandIn] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Inbox:
    """Reads folders, archives and files into a folder of ours, which must outlive what comes out of it."""

    def __init__(self, place: Path, worksheets: Mapping[str, Clue] | None = None):
        self.place = place
        self.participants = worksheets or {}
        self.left = archives.MAX_TOTAL
        self._count = 0

    def read(self, given: Path) -> Came:
        came = Came()
        entries = list(self._entries(given, came.refused))
        metadata = self._metadata([e for e in entries if e.parts[-1] == METADATA], came.refused)
        for entry in entries:
            if archives.is_notebook(entry.name):
                came.handins.append(self.told(entry, metadata))
        return came

    def told(self, entry: Entry, metadata: Mapping[str, Mapping[str, Any]]) -> HandIn:
        """What the name of an entry says."""
        for index in reversed(range(len(entry.parts))):
            part, inside = entry.parts[index], entry.parts[index + 1 :]
            if part in metadata:
                return _gradescope(entry, metadata[part])
            if match := MOODLE.fullmatch(part):
                title = inside[-1] if inside else match["rest"] or ""
                clue = self.participants.get(match["number"], Clue(name=match["name"]))
                return HandIn(entry, "Moodle", (clue,), title)
            if match := CANVAS_ANONYMOUS.fullmatch(part) or CANVAS.fullmatch(part):
                named = match.groupdict().get("name") or ""
                clue = Clue(lms_user_id=match["user"], name=named) if named else Clue(lms_user_id=match["user"])
                title = inside[-1] if inside else match["rest"]
                return HandIn(entry, "Canvas", (clue,), title, late=bool(match["late"]), order=int(match["file"]))
        return HandIn(entry, "", _by_people(entry), entry.parts[-1], when=timestamp_in(entry.path.parent))

    def _entries(self, given: Path, refused: list[str]) -> Iterator[Entry]:
        if given.is_dir():
            for folder, folders, files in os.walk(given):
                folders[:] = sorted(name for name in folders if name not in (".ipynb_checkpoints", "__MACOSX"))
                for name in sorted(files):
                    path = Path(folder, name)
                    if _is_wanted(name):
                        if path.is_symlink():
                            refused.append(f"{path}: a link, not a file; put the notebook itself there.")
                        else:
                            yield from self._opened(
                                Entry(path.relative_to(given).as_posix(), path, _modified(path)), refused
                            )
        elif archives.is_archive(given):
            yield from self._unpacked(Entry(given.name, given), refused, prefix="")
        else:
            yield Entry(given.name, given, _modified(given))

    def _opened(self, entry: Entry, refused: list[str]) -> Iterator[Entry]:
        """An archive that lies in a folder or an archive: what is in it, one level deep."""
        if archives.is_archive(Path(entry.parts[-1])):
            yield from self._unpacked(entry, refused, prefix=f"{entry.name}/", deep=False)
        else:
            yield entry

    def _unpacked(self, entry: Entry, refused: list[str], prefix: str, deep: bool = True) -> Iterator[Entry]:
        self._count += 1
        folder = self.place / f"{self._count:05d}"
        folder.mkdir()
        try:
            unpacked = archives.unpack(entry.path, folder, _is_wanted if deep else archives.is_notebook, self.left)
        except SubmissionError as error:
            refused.append(str(error).replace(str(entry.path), archives.printable(entry.name)))
            return
        refused += [why.replace(str(entry.path), archives.printable(entry.name)) for why in unpacked.refused.values()]
        for name, path in unpacked.notebooks.items():
            self.left -= path.stat().st_size
            found = Entry(prefix + re.sub(r"\\", "/", name), path, _modified(path))
            yield from self._opened(found, refused) if deep else (found,)

    def _metadata(self, entries: list[Entry], refused: list[str]) -> dict[str, dict[str, Any]]:
        """Gradescope's own record, by the name of the submission's folder."""
        found: dict[str, dict[str, Any]] = {}
        for entry in entries:
            try:
                if entry.path.stat().st_size > MAX_METADATA:
                    raise ValueError(f"larger than {MAX_METADATA >> 20} MiB")
                loaded = yaml.load(entry.path.read_text(encoding="utf-8-sig"), _Gradescope)
                if not isinstance(loaded, dict):
                    raise ValueError("it holds no submissions")
            except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
                said = " ".join(str(error).split())[:120]
                refused.append(f"{entry.name}: Gradescope's record cannot be read ({said}); export it again.")
                continue
            found |= {str(k): v for k, v in loaded.items() if isinstance(v, dict)}
        return found


class _Gradescope(yaml.SafeLoader):
    """Gradescope writes Ruby's objects among plain values; they are read as nothing."""


_Gradescope.add_multi_constructor("!", lambda loader, suffix, node: None)


def _is_wanted(name: str) -> bool:
    return archives.is_notebook(name) or archives.is_archive(Path(name)) or name == METADATA


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _gradescope(entry: Entry, record: Mapping[str, Any]) -> HandIn:
    submitters = record.get(":submitters") or record.get("submitters") or []
    clues = tuple(
        Clue(id=_said(submitter, "sid"), email=_said(submitter, "email"), name=_said(submitter, "name"))
        for submitter in submitters
        if isinstance(submitter, dict)
    )
    when = record.get(":created_at") or record.get("created_at")
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when.strip().removesuffix("UTC").strip())
        except ValueError:
            when = None
    if not isinstance(when, datetime):
        when = None
    elif when.tzinfo:
        when = when.astimezone(UTC).replace(tzinfo=None)  # as nbgrader keeps times
    return HandIn(entry, "Gradescope", clues, entry.parts[-1], when=when)


def _said(record: Mapping[str, Any], key: str) -> str:
    """Gradescope's keys are Ruby's symbols, with a colon before them."""
    return str(record.get(f":{key}") or record.get(key) or "").strip()


def _by_people(entry: Entry) -> tuple[Clue, ...]:
    """Every folder, from the outermost, and the file's name may say who it is; each is a guess of its own."""
    stem = entry.parts[-1].rsplit(".", 1)[0]
    return tuple(Clue(id=part, name=part) for part in (*entry.parts[:-1], stem))


def worksheet(path: Path) -> dict[str, Clue]:
    """Moodle's grading worksheet: who each participant of an assignment is, by number."""
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SubmissionError(f"{path}: cannot be read as a grading worksheet ({error}).") from None
    found = {}
    for row in rows:
        number = re.search(r"\d+", row.get("Identifier") or "")
        if number:
            found[number[0]] = Clue(
                row.get("ID number") or "", row.get("Email address") or "", "", row.get("Full name") or ""
            )
    if not found:
        raise SubmissionError(
            f"{path}: is no grading worksheet of Moodle's, for no row has an Identifier; download it from the "
            "assignment (View all submissions, Download grading worksheet)."
        )
    return found
