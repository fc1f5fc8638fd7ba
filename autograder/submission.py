"""A submitted notebook, read without trust: any notebook format from 3 on, with or without nbgrader's metadata."""

import codecs
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder import catalogue
from autograder.exercise import Exercise

BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # some editors on Windows write them
MAX_BYTES = 100 << 20
MAX_STUDENT = 128  # letters of an id, in nbgrader's tables
EARLIER = "take an earlier copy: JupyterLab keeps one in the folder .ipynb_checkpoints beside it."
WEB_PAGE = "it is a web page: download the notebook itself."
OTHER_FILE = "take the file that JupyterLab saved, whose name ends in .ipynb."
DEFINES = r"(?m)^[ \t]*(?:def|class)[ \t]+{0}\b|^[ \t]*{0}[ \t]*(?::[^=\n]+)?="


class SubmissionError(Exception):
    """A file that cannot be graded. The message says in a sentence what is wrong, where, and how to mend it."""


@dataclass(frozen=True)
class Cell:
    """A code cell as the student left it."""

    source: str
    position: int
    tags: tuple[str, ...] = ()
    grade_id: str = ""
    is_test: bool = False

    @property
    def runs(self) -> bool:
        """Whether grading needs it: test cells ask us what we are about to say, demonstrations define nothing."""
        return not self.is_test and "demo" not in self.tags


@dataclass(frozen=True)
class Submission:
    """The code of a notebook, and the exercises that it holds an answer or a stub for."""

    path: Path
    cells: tuple[Cell, ...]
    notebook: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def sources(self) -> list[str]:
        return [cell.source for cell in self.cells if cell.runs]

    def exercises(self) -> list[Exercise]:
        """Found by the names that the code defines and by the test cells that are left, in the order of the course.

        Where at least one exercise of a chapter is there, all of that chapter are: a deleted one is graded as missing.
        """
        code = "\n".join(self.sources)
        tested = {cell.grade_id for cell in self.cells if cell.is_test}
        present = {
            e.chapter
            for e in catalogue.all_exercises()
            if e.name in tested or re.search(DEFINES.format(re.escape(e.name)), code)
        }
        return [e for e in catalogue.all_exercises() if e.chapter in present]


def check_student(student: str) -> None:
    """``SubmissionError`` for an id that is too long, or markup: nbgrader writes ids into its pages as they are."""
    odd = sorted({letter for letter in student if letter in '<>"\\' or not letter.isprintable()})
    if odd:
        raise SubmissionError(
            f"{student!a} is no student id, for it holds {odd[0]!a}; rename the folder of the submission."
        )
    if len(student) > MAX_STUDENT:
        raise SubmissionError(
            f"{student[:20]}… is no student id, for it has {len(student)} letters, of which the gradebook keeps "
            f"{MAX_STUDENT}; rename the folder of the submission."
        )


def read(path: Path) -> Submission:
    """Read a notebook; ``SubmissionError`` where it is none."""
    try:
        if path.is_symlink() or not (path.is_file() or path.is_dir() or not path.exists()):
            raise SubmissionError(f"{path}: a link or a device, not a notebook; hand in the file itself.")
        if path.stat().st_size > MAX_BYTES:
            raise SubmissionError(f"{path}: larger than {MAX_BYTES >> 20} MiB; clear its outputs and save it again.")
        data = path.read_bytes()
        text = data.decode(json.detect_encoding(data) if data.startswith(BYTE_ORDER_MARKS) else "utf-8")
    except FileNotFoundError:
        raise SubmissionError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise SubmissionError(f"{path}: this is a folder; name the notebook in it.") from None
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        if error.object.startswith(b"PK"):
            raise SubmissionError(
                f"{path}: an archive, not a notebook; unpack it and take the notebook in it."
            ) from None
        line = error.object[: error.start].count(b"\n") + 1
        how = OTHER_FILE if b"\0" in error.object else "in the editor that wrote it, save it as UTF-8."
        raise SubmissionError(f"{path}:{line}: not UTF-8 text, as every notebook is; {how}") from None
    notebook = load(text, path)
    return Submission(
        path, tuple(cell_of(c, i) for i, c in enumerate(raw_cells(notebook) or ()) if _is_code(c)), notebook
    )


def load(text: str, path: Path) -> dict[str, Any]:
    """The JSON of a notebook; ``SubmissionError`` where it is none."""
    try:
        notebook = json.loads(text)
    except json.JSONDecodeError as error:
        begins = text.lstrip()[:1]
        if not begins:
            raise SubmissionError(f"{path}: not a notebook, for the file is empty; {EARLIER}") from None
        how = EARLIER if begins == "{" else WEB_PAGE if begins == "<" else OTHER_FILE
        raise SubmissionError(
            f"{path}:{error.lineno}: not a notebook, for it is not JSON ({error.msg}); {how}"
        ) from None
    except RecursionError:
        raise SubmissionError(f"{path}: not a notebook, for its JSON is nested without end.") from None
    if raw_cells(notebook) is None:
        raise SubmissionError(f"{path}: JSON, but not a notebook: it has no list of cells.")
    return notebook


def raw_cells(notebook: Any) -> list[Any] | None:
    """The cells of a notebook in any format; None where it is none."""
    if not isinstance(notebook, dict):
        return None
    if isinstance(notebook.get("cells"), list):
        return notebook["cells"]
    sheets = notebook.get("worksheets")  # notebook format 3
    if isinstance(sheets, list) and all(isinstance(s, dict) and isinstance(s.get("cells"), list) for s in sheets):
        return [cell for sheet in sheets for cell in sheet["cells"]]
    return None


def _is_code(cell: Any) -> bool:
    return isinstance(cell, dict) and cell.get("cell_type") == "code"


def cell_of(cell: dict[str, Any], position: int) -> Cell:
    """A cell of any format, with what is odd about it left out."""
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
    assert isinstance(metadata, dict)
    nbgrader = metadata.get("nbgrader") if isinstance(metadata.get("nbgrader"), dict) else {}
    assert isinstance(nbgrader, dict)
    tags = metadata.get("tags") if isinstance(metadata.get("tags"), list) else []
    assert isinstance(tags, list)
    return Cell(
        source=str(source).replace("\r\n", "\n").replace("\r", "\n"),
        position=position,
        tags=tuple(str(tag) for tag in tags),
        grade_id=str(nbgrader.get("grade_id", "")),
        is_test=bool(nbgrader.get("grade")) and not nbgrader.get("solution"),
    )
