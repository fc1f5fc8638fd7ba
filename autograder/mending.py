"""A notebook that an editor or Colab has damaged, told and mended: no line of the student's is lost, no mark.

Grading finds functions by their names and forgives all of this. nbgrader's own tools do not, and JupyterLab does not
forgive a byte order mark. Which released cell a cell is, what it says decides, and its id where that leaves it open.
"""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder import catalogue
from autograder.names import defined_in
from autograder.submission import BYTE_ORDER_MARKS, Submission, SubmissionError, raw_cells

Json = dict[str, Any]
KINDS = ("code", "markdown", "raw")
OUTPUTS = {
    "stream": {"name", "text"},
    "display_data": {"data", "metadata"},
    "execute_result": {"data", "metadata", "execution_count"},
    "error": {"ename", "evalue", "traceback"},
}
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass
class Mended:
    """A notebook made whole, and what was wrong with it: a sentence each, none where nothing was."""

    notebook: Json
    notes: list[str] = field(default_factory=list)
    demos: frozenset[int] = frozenset()  # the cells that only show something, whether they still say so or not

    def dumps(self) -> str:
        return dumps(self.notebook)


def dumps(notebook: Json) -> str:
    """The text of a notebook's file."""
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def mend(read: Submission, data: bytes, original: Json) -> Mended:
    """Make a notebook whole by its released original. ``data`` is its file, whose marks of an editor are told too."""
    return _Mender(read, data, original).mended()


def repair(path: Path, data: bytes, mended: Mended) -> Path:
    """Put the mended notebook in the place of the file, and the file beside it, under a number of its own."""
    try:
        backup = _kept(path, data)
        neighbour = path.with_name(f".{path.name}.{os.getpid()}.partial")
        neighbour.write_text(mended.dumps(), encoding="utf-8", newline="\n")
        os.replace(neighbour, path)
    except OSError as error:
        raise SubmissionError(
            f"{path}: cannot be mended ({error.strerror}); is the folder yours to write in?"
        ) from None
    return backup


def _kept(path: Path, data: bytes) -> Path:
    number = 1
    while True:
        backup = path.with_name(f"{path.stem}.before-repair-{number}.ipynb")
        try:
            with backup.open("xb") as file:  # never over another
                file.write(data)
                return backup
        except FileExistsError:
            number += 1


class _Mender:
    def __init__(self, read: Submission, data: bytes, original: Json):
        self.notebook, self.data, self.original = read.notebook, data, original
        self.notes: list[str] = []
        self.released = {
            marks["grade_id"]: cell for cell in original["cells"] if (marks := cell["metadata"].get("nbgrader"))
        }
        self.cells = [_cell(raw) for raw in raw_cells(self.notebook) or () if isinstance(raw, dict)]
        self.is_at: dict[str, int] = {}  # which of the cells a released one is
        self.plain: dict[int, Json] = {}  # cells of the original without marks, by where they are now
        self.untagged: list[int] = []

    def mended(self) -> Mended:
        self._look_at_the_file()
        for name, cell in self.released.items():
            found = self._answer(name, cell) if cell["metadata"]["nbgrader"]["solution"] else self._test(name, cell)
            if found is not None:
                self.is_at[name] = found
        self._recognise_plain()
        cells = self._whole()
        give_ids(cells)
        metadata = self.notebook.get("metadata")
        metadata = dict(metadata) if isinstance(metadata, dict) else {}
        for key in ("kernelspec", "language_info"):
            if not isinstance(metadata.get(key), dict) or "name" not in metadata[key]:
                metadata[key] = self.original["metadata"][key]
                self._note(f"The notebook does not say its {'kernel' if key == 'kernelspec' else 'language'}.")
        made = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        demos = (at for at, cell in self.plain.items() if "demo" in cell["metadata"].get("tags", ()))
        return Mended(made, self.notes, frozenset(demos))

    def _note(self, sentence: str) -> None:
        self.notes.append(sentence)

    # ---------------------------------------------------------------------------------------------------- the file

    def _look_at_the_file(self) -> None:
        if self.data.startswith(BYTE_ORDER_MARKS):
            self._note(
                "The file begins with a byte order mark, which JupyterLab does not read; an editor put it there."
            )
        major, minor = self.notebook.get("nbformat"), self.notebook.get("nbformat_minor")
        if (major, minor) != (4, 5):
            self._note(f"The notebook is in format {major}.{minor}, where the course's are in 4.5.")
        raw = [cell for cell in raw_cells(self.notebook) or () if isinstance(cell, dict)]
        if any("\r" in _text(cell) for cell in raw):
            self._note("Lines end as on Windows or on an old Macintosh; in a notebook they end with a line feed.")
        ids = [cell.get("id") for cell in raw]
        if (major, minor) == (4, 5) and (len(set(map(str, ids))) < len(ids) or not all(map(_is_id, ids))):
            self._note("Some cells have no id, or the same one.")
        if [_shape(cell) for cell in raw] != [_shape(cell) for cell in self.cells] and (major, minor) == (4, 5):
            self._note("Some cells have parts that no notebook has, or lack what every one has.")

    # ------------------------------------------------------------------------------- which released cell a cell is

    def _marked(self, name: str) -> list[int]:
        return [i for i, cell in enumerate(self.cells) if _marks(cell).get("grade_id") == name]

    def _free(self) -> list[int]:
        return [i for i in range(len(self.cells)) if i not in self.is_at.values()]

    def _answer(self, name: str, released: Json) -> int | None:
        """The cell with the id that defines what it should; else the one with the id; else the last that defines it."""
        (wanted,) = defined_in(released["source"]) & catalogue.by_name().keys() or {""}
        others = {e for cell in self.released.values() for e in defined_in(cell["source"])} - {wanted}
        defining = [i for i in self._free() if wanted in defined_in(self.cells[i]["source"])]
        marked = [i for i in self._marked(name) if i not in self.is_at.values()]
        both = [i for i in marked if i in defining]
        strayed = [i for i in marked if defined_in(self.cells[i]["source"]) & others and i not in defining]
        code = [i for i in defining if self.cells[i]["cell_type"] == "code"]
        for choice in (both[-1:], [i for i in marked if i not in strayed], code[-1:]):
            if choice:
                return choice[0]
        return None

    def _test(self, name: str, released: Json) -> int | None:
        asks = [i for i in self._free() if _same(self.cells[i]["source"], released["source"])]
        marked = [i for i in self._marked(name) if i not in self.is_at.values()]
        for choice in ([i for i in marked if i in asks], marked, [i for i in asks if not _known(self, i)]):
            if choice:
                return choice[0]
        return None

    def _recognise_plain(self) -> None:
        """Text and demonstrations, by their id or by what they say: their tags tell grading what not to run."""
        wanted = [cell for cell in self.original["cells"] if "nbgrader" not in cell["metadata"]]
        for released in wanted:
            for i in self._free():
                if i in self.plain or self.cells[i]["cell_type"] != released["cell_type"]:
                    continue
                if self.cells[i]["id"] == released["id"] or _same(self.cells[i]["source"], released["source"]):
                    self.plain[i] = released
                    break

    # ------------------------------------------------------------------------------------------------- made whole

    def _whole(self) -> list[Json]:
        known = {at: name for name, at in self.is_at.items()}
        made: list[Json] = []
        put: dict[str, Json] = {}
        for i, cell in enumerate(self.cells):
            if i in known:
                made += self._as_released(i, cell, self.released[known[i]])
                put[known[i]] = made[-1]
                continue
            if marks := cell["metadata"].pop("nbgrader", None):
                name = str(marks.get("grade_id") if isinstance(marks, dict) else marks)
                copy = "is a second cell" if name in self.released else "is no cell of this chapter, but is"
                self._note(f"Cell {i + 1} {copy} marked as `{name}` for nbgrader.")
                cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k not in ("deletable", "editable")}
            if i in self.plain:
                self._restore(i, cell, self.plain[i])
            made.append(cell)
        if self.untagged:
            several = len(self.untagged) > 1
            cells = f"Cells {listed(self.untagged)} have" if several else f"Cell {self.untagged[0]} has"
            self._note(f"{cells} lost the tags that say what only shows something, or is folded.")
        previous = -1
        for name, released in self.released.items():
            if name in put:
                previous = next(i for i, cell in enumerate(made) if cell is put[name])
                continue
            kind = "answer" if released["metadata"]["nbgrader"]["solution"] else "check"
            what = name.removesuffix("_answer")
            if kind == "answer" and any(what in defined_in(c["source"]) for c in made if c["cell_type"] == "code"):
                continue  # it stands in a cell with another answer; the empty one after it would undo it
            self._note(f"The cell with the {kind} of `{what}` is missing.")
            put[name] = json.loads(json.dumps(released))
            previous += 1
            made.insert(previous, put[name])
        return made

    def _as_released(self, i: int, cell: Json, released: Json) -> list[Json]:
        """The cell with its marks as they were; what is locked, with its text, too. What was written there is kept."""
        name = released["metadata"]["nbgrader"]["grade_id"]
        if cell["cell_type"] != released["cell_type"]:
            self._note(f"Cell {i + 1}, `{name}`, was a {released['cell_type']} cell and is a {cell['cell_type']} cell.")
            cell = _cell({**cell, "cell_type": released["cell_type"]})
        if _marks(cell) != released["metadata"]["nbgrader"]:
            lost = "has lost its marks" if not _marks(cell) else "has other marks than were released"
            self._note(f"Cell {i + 1}, `{name}`, {lost} for nbgrader.")
        cell["metadata"] = {**cell["metadata"], **released["metadata"]}
        if not released["metadata"]["nbgrader"]["locked"] or _same(cell["source"], released["source"]):
            return [cell]
        theirs = {line.strip() for line in released["source"].splitlines()}
        own = [line for line in cell["source"].splitlines() if line.strip() and line.strip() not in theirs]
        self._note(f"Cell {i + 1}, the check of `{name}`, is not as it was released.")
        kept = [_cell({"cell_type": "code", "source": cell["source"]})] if own else []
        return [*kept, {**cell, "source": released["source"]}]

    def _restore(self, i: int, cell: Json, released: Json) -> None:
        had = cell["metadata"].get("tags") or []
        wanted = released["metadata"].get("tags", [])
        if not isinstance(had, list) or set(wanted) - set(map(str, had)):
            self.untagged.append(i + 1)
            cell["metadata"] = {**cell["metadata"], **released["metadata"]}


def _known(mender: _Mender, i: int) -> bool:
    return _marks(mender.cells[i]).get("grade_id") in mender.released


def _marks(cell: Json) -> Json:
    marks = cell["metadata"].get("nbgrader")
    return marks if isinstance(marks, dict) else {}


def listed(numbers: list[int]) -> str:
    """Several of them, in words: 2, 5 and 9."""
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _same(one: str, other: str) -> bool:
    """Whether two texts differ in nothing but blanks at the ends."""
    return one.strip() == other.strip()


def _text(cell: Json) -> str:
    source = cell.get("source", cell.get("input", ""))
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _cell(raw: Json) -> Json:
    """A cell of any format as format 4.5 has it, its text with line feeds."""
    kind = raw.get("cell_type")
    text = _text(raw).replace("\r\n", "\n").replace("\r", "\n")
    if kind == "heading":  # format 3
        kind, text = "markdown", f"{'#' * int(raw.get('level', 1))} {text}"
    kind = kind if kind in KINDS else "raw"
    metadata = raw.get("metadata")
    made = {
        "cell_type": kind,
        "id": raw.get("id") if _is_id(raw.get("id")) else "",
        "metadata": dict(metadata) if isinstance(metadata, dict) else {},
        "source": text,
    }
    if kind == "code":
        outputs = raw.get("outputs")
        made["outputs"] = [o for o in outputs if _is_output(o)] if isinstance(outputs, list) else []
        count = raw.get("execution_count")
        made["execution_count"] = count if type(count) is int else None
    elif isinstance(raw.get("attachments"), dict):
        made["attachments"] = raw["attachments"]
    return made


def _shape(cell: Json) -> tuple[str, ...]:
    """What a cell has, its number of outputs with it."""
    return (*sorted(map(str, cell)), str(cell.get("cell_type")), str(len(cell.get("outputs") or ())))


def _is_output(output: Any) -> bool:
    kind = output.get("output_type") if isinstance(output, dict) else None
    return kind in OUTPUTS and set(output) == OUTPUTS[kind] | {"output_type"}


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and bool(ID.fullmatch(value))


def give_ids(cells: list[Json]) -> None:
    """Each its own: a released cell the one it was released with, another what it has, else one by its place."""
    taken: set[str] = set()
    for position, cell in enumerate(cells):
        wanted = cell["id"] or str(_marks(cell).get("grade_id", "")).replace("_", "-") or f"cell-{position + 1}"
        unique, count = wanted, 1
        while unique in taken:
            count += 1
            unique = f"{wanted[:56]}-{count}"
        taken.add(unique)
        cell["id"] = unique
