"""Before handing in: run a notebook's file as grading will, and say what would be graded and why something is not.

The file as it is saved, from the top, in the judge's own fresh process; only the inputs are the ones everybody sees.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from autograder import catalogue, mending, names, original, panel, submission
from autograder.exercise import Exercise
from autograder.grading import grade
from autograder.judge import Verdict
from autograder.mending import Mended
from autograder.submission import Cell, Submission, SubmissionError

State = Literal["passes", "fails", "not written", "not found"]

SIGNS = {"passes": "✓", "fails": "✗", "not written": "○", "not found": "–"}


@dataclass(frozen=True)
class Found:
    """What grading would find of one exercise: its verdict, and what is to know about where it stands."""

    verdict: Verdict
    state: State
    why: tuple[str, ...] = ()

    @property
    def exercise(self) -> Exercise:
        return self.verdict.exercise

    @property
    def mistake(self) -> str:
        """The misconception by name, if one was recognised: ``subtracts the minimum``."""
        known = self.verdict.diagnosis
        return known.name.replace("_", " ") if known else ""


@dataclass(frozen=True)
class Stopped:
    """A cell that ended with an exception."""

    number: int  # from the top, text cells counted
    begins: str
    sentence: str


@dataclass
class Rehearsal:
    """What came of a notebook."""

    path: Path
    found: list[Found]
    stopped: list[Stopped]
    file: list[str] = field(default_factory=list)  # what is wrong with the file
    backup: Path | None = None

    @property
    def passed(self) -> bool:
        return all(found.state == "passes" for found in self.found)

    @property
    def summary(self) -> str:
        there = sum(found.state in ("passes", "fails") for found in self.found)
        earned, worth = sum(f.verdict.points for f in self.found), sum(f.exercise.points for f in self.found)
        exercises = "exercise" if len(self.found) == 1 else "exercises"
        return f"Would be graded: {there} of {len(self.found)} {exercises}, {earned:g} of {worth:g} points."

    def text(self) -> str:
        """For a terminal: every exercise that fails, then the table, then what else is to know."""
        failing = [panel.text(found.verdict) + "\n" for found in self.found if found.state == "fails"]
        wide = max(len(found.exercise.name) for found in self.found)
        rows = []
        for found in self.found:
            points = f"{found.verdict.points:g} of {found.exercise.points:g}"
            rows.append(f"  {found.exercise.name:{wide}}  {found.state:11}  {points:>8}  {_said(found)}".rstrip())
        parts = [*failing, *rows]
        if self.stopped:
            parts += ["", "Cells that stopped; grading goes on with the next:"]
            parts += [f"  cell {s.number} from the top, `{s.begins}`: {s.sentence}" for s in self.stopped]
        if self.file:
            parts += ["", self.about_the_file, *(f"  {note}" for note in self.file)]
        return "\n".join([*parts, "", self.summary])

    @property
    def about_the_file(self) -> str:
        if self.backup:
            return f"Mended in {self.path}; as it was, it is kept in {self.backup.name}:"
        return "About the file (your answers count all the same; --repair, or check_all(repair=True), mends it):"

    def page(self) -> str:
        """For a notebook: the same in HTML, the failing exercises with their panels."""
        colour = panel.GREEN if self.passed else panel.RED
        head = "".join(
            f'<th scope="col" style="text-align:left">{w}</th>' for w in ("Exercise", "State", "Points", "Remarks")
        )
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left;font-weight:normal"><code>{f.exercise.name}</code></th>'
            f'<td style="text-align:left;white-space:nowrap">{SIGNS[f.state]} {f.state}</td>'
            f'<td style="text-align:left;white-space:nowrap">{f.verdict.points:g} of {f.exercise.points:g}</td>'
            f'<td style="text-align:left">{panel.inline(_said(f))}</td></tr>'
            for f in self.found
        )
        stopped = [f"Cell {s.number} from the top, `{s.begins}`: {s.sentence}" for s in self.stopped]
        lists = _list("Cells that stopped; grading goes on with the next:", stopped) if stopped else ""
        lists += _list(self.about_the_file, self.file) if self.file else ""
        panels = "".join(panel.page(found.verdict) for found in self.found if found.state == "fails")
        return (
            f'<div role="region" aria-label="Before handing in" style="max-width:50em;border-left:5px solid {colour};'
            f'padding:.2em .9em;margin-bottom:.6em;line-height:1.45;font-size:14px"><b>{self.summary}</b>'
            f'<table style="margin:.4em 0;font-size:14px"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
            f"{lists}</div>{panels}"
        )

    def _repr_html_(self) -> str:
        return self.page()

    def __repr__(self) -> str:
        return self.text()

    def plain(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "notebook": str(self.path),
            "points": sum(found.verdict.points for found in self.found),
            "of": sum(found.exercise.points for found in self.found),
            "exercises": [{**panel.plain(f.verdict), "state": f.state, "why": list(f.why)} for f in self.found],
            "stopped": [{"cell": s.number, "begins": s.begins, "said": s.sentence} for s in self.stopped],
            "file": self.file,
            "backup": str(self.backup) if self.backup else None,
        }


def rehearse(path: Path, only: str = "", repair: bool = False) -> Rehearsal:
    """Run and judge a notebook, mended first if ``repair`` says so. ``SubmissionError`` where it cannot be used."""
    read = submission.read(path)
    exercises = [exercise for exercise in read.exercises() if only in ("", exercise.name)]
    if not exercises:
        what = f"`{only}`" if only else "an exercise of the course"
        raise SubmissionError(f"{path}: no cell defines {what}; is it the right notebook?")
    mended = _mended(read, exercises)
    backup = None
    if repair and mended.notes:
        backup = mending.repair(path, path.read_bytes(), mended)
        read = submission.read(path)
    grading = grade(read.sources, exercises)
    running = [cell for cell in read.cells if cell.runs]
    stopped = [
        Stopped(cell.position + 1, _first_line(cell.source), came["failure"].replace("Your `cell` ", "it "))
        for cell, came in zip(running, grading.cells, strict=False)
        if came["failure"] and cell.position not in mended.demos  # nothing that is graded hangs on a demonstration
    ]
    found = [_found(verdict, read, stopped) for verdict in grading.verdicts]
    return Rehearsal(path, found, stopped, mended.notes, backup)


def _mended(read: Submission, exercises: Sequence[Exercise]) -> Mended:
    """What is wrong with the file. One of several chapters, or a solved one of the course's, has no original."""
    chapters = {exercise.chapter for exercise in exercises}
    metadata = read.notebook.get("metadata")
    if len(chapters) > 1 or (isinstance(metadata, dict) and "attnlab" in metadata):
        return Mended({}, [])
    try:
        return mending.mend(read, read.path.read_bytes(), original.released(chapters.pop()))
    except original.NoOriginal:
        return Mended({}, [])


def _found(verdict: Verdict, read: Submission, stopped: Sequence[Stopped]) -> Found:
    name = verdict.exercise.name
    defining = [cell for cell in read.cells if cell.runs and name in names.defined_in(cell.source)]
    missing = any(law.what.startswith(f"There is no `{name}` yet") for law in verdict.laws)
    if missing:
        ended = [s for s in stopped if any(s.number == cell.position + 1 for cell in defining)]
        why = f"cell {ended[-1].number}, which defines it, stopped: {ended[-1].sentence}" if ended else ""
        return Found(verdict, "not found", (why or _why_not(name, read),))
    state: State = "not written" if verdict.todo else "passes" if verdict.passed else "fails"
    if len(defining) < 2:
        return Found(verdict, state)
    at = [cell.position + 1 for cell in defining]
    note = f"defined in cells {mending.listed(at)}: the last one, cell {at[-1]}, counts"
    return Found(verdict, state, (note + (", and it is the empty one" if verdict.todo else ""),))


def _why_not(name: str, read: Submission) -> str:
    """Why nobody finds it, as far as reading tells."""
    for cell in read.cells:
        if not cell.runs and name in names.defined_in(cell.source):
            kind = "is the cell of a check" if cell.is_test else "only shows something (its tag is demo)"
            return f"cell {cell.position + 1} defines it, but {kind} and is not run: move it to a cell of its own"
        if cell.runs and name in names.hidden_in(cell.source):
            return f"cell {cell.position + 1} defines it inside something else: move it to the left margin"
    for position, raw in enumerate(submission.raw_cells(read.notebook) or ()):
        if not isinstance(raw, dict) or raw.get("cell_type") == "code":
            continue
        if name in names.defined_in(submission.cell_of(raw, position).source):
            return f"cell {position + 1} has it, but is a cell of text: make it a cell of code"
    return _renamed(name, read.cells) or "no cell defines it: was it deleted, or renamed?"


def _renamed(name: str, cells: Sequence[Cell]) -> str:
    """A cell that defines something of nearly that name."""
    for cell in cells:
        for other in sorted(names.defined_in(cell.source)):
            alike = difflib.SequenceMatcher(None, other.lower().replace("_", ""), name.replace("_", "")).ratio()
            if cell.runs and alike > 0.9 and other not in catalogue.by_name():
                return f"cell {cell.position + 1} defines `{other}`: it has to be called `{name}`"
    return ""


def _said(found: Found) -> str:
    return "; ".join(filter(None, (found.mistake, *found.why)))


def _list(title: str, sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{panel.inline(sentence)}</li>" for sentence in sentences)
    return f'<p style="margin:.4em 0 .1em">{panel.inline(title)}</p><ul style="margin:0">{items}</ul>'


def _first_line(source: str) -> str:
    return next((line.strip() for line in source.splitlines() if line.strip()), "")[:70]
