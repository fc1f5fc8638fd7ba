"""From a chapter's source to its solved notebook, not yet executed.

A source is percent-format Python (jupytext), with three marks of ours:

    # %% exercise="softmax"      a code cell with the solved function, its body between ### BEGIN SOLUTION and END
    # {{exercise softmax}}       in the text: becomes the exercise's heading with difficulty, minutes and points
    # %% tags=["demo"] alt="…"   a cell that only shows; `alt` describes its picture to those who cannot see it
    # %% tags=["hide-input"]     its code is folded, in JupyterLab and in the book

Everything else about an exercise comes from its declaration in ``autograder/exercises``.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode, v4

from autograder import catalogue
from autograder.exercise import Exercise
from autograder.judge import judge
from autograder.student import Here
from course import colab, imports
from course.paths import shown

NAME = re.compile(r"(\d\d)_[a-z0-9_]+")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HEADING = re.compile(r"^\{\{exercise (\w+)\}\}$", re.MULTILINE)
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}


class BuildError(Exception):
    """A source that cannot be built. The message names file and line and says how to mend it."""


@dataclass(frozen=True)
class Chapter:
    """A source file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def number(self) -> int:
        return int(self.name[:2])

    @property
    def exercises(self) -> list[Exercise]:
        return catalogue.of_chapter(self.number)


def chapters_in(folder: Path) -> list[Chapter]:
    """The sources of a folder, in the order of the course."""
    found = []
    for path in sorted(folder.glob("*.py")):
        if not NAME.fullmatch(path.stem):
            raise BuildError(f"{shown(path)}:1: name a chapter NN_slug.py, in small letters, such as 01_softmax.py")
        found.append(Chapter(path))
    return found


def solved_notebook(chapter: Chapter) -> NotebookNode:
    """The chapter as a notebook with its solutions, nbgrader's metadata and stable cell ids, without outputs."""
    text = chapter.path.read_text(encoding="utf-8")
    check_marks(chapter, text)
    parsed = jupytext.reads(text, fmt="py:percent")
    exercises = {exercise.name: exercise for exercise in chapter.exercises}
    cells: list[NotebookNode] = []
    for cell in parsed.cells:
        name = cell.metadata.get("exercise")
        if cell.cell_type == "markdown":
            cells.append(v4.new_markdown_cell(HEADING.sub(lambda m: heading(exercises[m[1]]), cell.source)))
        elif name:
            cells += [answer_cell(name, cell.source), check_cell(exercises[name])]
        else:
            cells.append(v4.new_code_cell(cell.source.strip("\n"), metadata=plain_metadata(cell.metadata)))
    first = next((index for index, cell in enumerate(cells) if cell.cell_type == "code"), len(cells))
    cells.insert(first, colab_cell(chapter))
    give_ids(cells)
    return v4.new_notebook(cells=cells, metadata=KERNEL)


def colab_cell(chapter: Chapter) -> NotebookNode:
    """The first code cell. Folded in JupyterLab and in Colab, not in the book, not run when grading."""
    cell = v4.new_code_cell(
        colab.cell(set(imports.modules_of(chapter.path))),
        metadata=plain_metadata({"tags": ["demo", "hide-input", "remove-cell"]}),
    )
    cell.metadata["cellView"] = "form"
    return cell


def heading(exercise: Exercise) -> str:
    level = "●" * exercise.difficulty + "○" * (3 - exercise.difficulty)
    points = f"{exercise.points:g} points in {len(exercise.checks)} laws"
    return f"### Exercise: `{exercise.name}`\n\n{level} · about {exercise.minutes} minutes · {points}"


def answer_cell(name: str, source: str) -> NotebookNode:
    return v4.new_code_cell(source, metadata={"nbgrader": nbgrader(f"{name}_answer", solution=True)})


def check_cell(exercise: Exercise) -> NotebookNode:
    """The graded cell: the laws and their points, for the student to read, and the call that checks them."""
    laws = [f"# {check.points:g}  {check.law}" for check in exercise.checks]
    source = "\n".join([f"# {exercise.points:g} points:", *laws, f"check({exercise.name})"])
    metadata = nbgrader(exercise.name, grade=True, locked=True, points=exercise.points)
    return v4.new_code_cell(source, metadata={"nbgrader": metadata})


def nbgrader(
    grade_id: str, *, grade: bool = False, locked: bool = False, solution: bool = False, points: float | None = None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": locked,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if points is not None:
        metadata["points"] = points
    return metadata


def plain_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {"tags": metadata["tags"]} if "tags" in metadata else {}
    if "hide-input" in kept.get("tags", ()):  # the book folds it by its tag, JupyterLab by this
        kept["jupyter"] = {"source_hidden": True}
    if "alt" in metadata:
        kept["mystnb"] = {"image": {"alt": metadata["alt"]}}
    return kept


def give_ids(cells: list[NotebookNode]) -> None:
    """Ids from what a cell says, so that a rebuild is byte-identical and an insertion moves nobody else's id."""
    taken: set[str] = set()
    for cell in cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        first = next((line for line in cell.source.splitlines() if re.search(r"\w", line)), "cell")
        slug = re.sub(r"[^a-z0-9]+", "-", (grade_id or first).lower()).strip("-")[:48] or "cell"
        unique, count = slug, 1
        while unique in taken:
            count += 1
            unique = f"{slug}-{count}"
        taken.add(unique)
        cell["id"] = unique


def check_marks(chapter: Chapter, text: str) -> None:
    """Every mark of ours is well-formed, and the chapter holds exactly the exercises that are declared for it."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise BuildError(f"{shown(chapter.path)}:{error.lineno}: not Python ({error.msg})") from None
    declared = {exercise.name: exercise for exercise in chapter.exercises}
    cells: dict[str, int] = {}
    headings: dict[str, int] = {}
    current, current_line, opened, solved = "", 1, 0, False

    def fail(line: int, sentence: str) -> None:
        raise BuildError(f"{shown(chapter.path)}:{line}: {sentence}")

    def close_cell(line: int) -> None:
        if opened:
            fail(opened, f"this {BEGIN} has no {END} in its cell; add one after the solution")
        if current and not solved:
            fail(current_line, f"the cell of {current} has no {BEGIN} … {END}: its solution would be released")

    for number, line in enumerate([*text.splitlines(), "# %%"], 1):
        if line.startswith("# %%"):
            close_cell(number)
            mark = re.search(r'exercise="([^"]*)"', line)
            current, current_line, solved = (mark[1] if mark else ""), number, False
            if not mark:
                continue
            if current not in declared:
                fail(
                    number,
                    f"chapter {chapter.number} has no exercise {current}; declare it in autograder/exercises",
                )
            if current in cells:
                fail(number, f"the exercise {current} has a cell already, in line {cells[current]}")
            cells[current] = number
        elif BEGIN in line:
            if not current:
                fail(number, f'{BEGIN} stands outside an exercise; start its cell with # %% exercise="name"')
            if opened:
                fail(number, f"{BEGIN} stands inside the one of line {opened}")
            opened, solved = number, True
        elif END in line:
            if not opened:
                fail(number, f"{END} has no {BEGIN} before it")
            opened = 0
        elif "{{" in line and line.startswith("#"):
            mark = HEADING.match(line.removeprefix("# "))
            if not mark or mark[1] not in declared:
                fail(number, f"{line.removeprefix('# ')!r} is no {{{{exercise name}}}} of an exercise of this chapter")
            assert mark
            headings[mark[1]] = number
    for name, exercise in declared.items():
        if name not in cells:
            fail(1, f'{name}, declared at {exercise.declared_at}, has no cell # %% exercise="{name}"')
        if name not in headings:
            fail(cells[name], f"no text before this cell has the line {{{{exercise {name}}}}}")


def check_misconceptions(chapter: Chapter) -> None:
    """Every declared wrong answer dies at the check that is to catch it, and every right one lives."""
    from autograder.exercise import where

    for exercise in chapter.exercises:
        for misconception in exercise.misconceptions:
            verdict = judge(exercise, Here.ours(exercise, misconception.function))
            if misconception.caught_by not in [law.check.name for law in verdict.laws if law.status != "pass"]:
                raise BuildError(
                    f"{where(misconception.function)}: {misconception.name} passes {misconception.caught_by}, "
                    "the check that is to catch it; sharpen the check"
                )
        for answer in (exercise.reference, *exercise.alternatives):
            verdict = judge(exercise, Here.ours(exercise, answer))
            if not verdict.passed:
                law = next(law for law in verdict.laws if law.status != "pass")
                raise BuildError(
                    f"{where(answer)}: {answer.__name__} is a right answer to {exercise.name}, "
                    f"but fails {law.check.name}: {law.what}"
                )
