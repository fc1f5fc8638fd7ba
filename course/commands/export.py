"""``attnlab export``: the grades, for other programs."""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from course.console import app, note, say, stop, stop_at

if TYPE_CHECKING:
    from autograder.coursework import Coursework
    from autograder.exporting import Row


class Form(StrEnum):
    """What the grades are written for."""

    csv = "csv"
    canvas = "canvas"
    moodle = "moodle"
    gradescope = "gradescope"
    parquet = "parquet"


DEFAULT = {
    Form.csv: "grades.csv",
    Form.canvas: "canvas.csv",
    Form.moodle: "moodle.csv",
    Form.gradescope: "gradescope",
    Form.parquet: "grades.parquet",
}


@app.command()
def export(
    assignments: Annotated[
        list[str] | None, typer.Argument(help="Such as 01_softmax; all where none is given.")
    ] = None,
    to: Annotated[Form, typer.Option(help="What they are for.")] = Form.csv,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file (Gradescope: folder); in exports/ where left out.")
    ] = None,
    course: Annotated[Path, typer.Option(help="The course.", metavar="FOLDER")] = Path("."),
    exercises: Annotated[
        bool, typer.Option("--exercises", help="CSV and Parquet: a row for each exercise, not for each assignment.")
    ] = False,
    column: Annotated[
        list[str] | None,
        typer.Option(help='What the platform calls an assignment: 01_softmax="Softmax (123)".', metavar="NAME=TITLE"),
    ] = None,
    zeros: Annotated[bool, typer.Option("--zeros", help="Canvas, Moodle: 0 for what was not handed in.")] = False,
    db: Annotated[
        str | None, typer.Option(envvar="ATTNLAB_DB", help="The gradebook's database, where it is not gradebook.db.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write the grades for a spreadsheet, for Canvas, Moodle or Gradescope, or for a program (Parquet).

    For Gradescope: the results of each student, and an autograder for each assignment to upload there. Status 1 where
    something is not graded yet.

    Examples:

    - `attnlab export`
    - `attnlab export 01_softmax --to canvas --column 01_softmax="Softmax (4711)"`
    - `attnlab export --to parquet --exercises --out grades.parquet`
    - `attnlab export --to gradescope`
    """
    from autograder import exporting
    from autograder.coursework import Coursework
    from autograder.database import GradebookError
    from autograder.submission import SubmissionError

    try:
        with Coursework(course, db, note) as opened:
            target = out or opened.root / "exports" / DEFAULT[to]
            found = exporting.rows(opened, assignments or ())
            titles = _titles(column or [], {row.assignment for row in found})
            if to is Form.gradescope:
                written = _gradescope(opened, found, target)
            else:
                written = [target]
                if to is Form.parquet:
                    exporting.write_whole(target, exporting.parquet(found, exercises))
                else:
                    text = {
                        Form.csv: lambda: exporting.csv_table(found, exercises),
                        Form.canvas: lambda: exporting.canvas(found, titles, zeros),
                        Form.moodle: lambda: exporting.moodle(found, titles, zeros),
                    }[to]()
                    exporting.write_whole(target, text.encode())
            waiting = _waiting(opened, found)
    except (GradebookError, SubmissionError) as error:
        stop(str(error))
    except OSError as error:
        stop_at(error)
    graded = sum(row.raw is not None for row in found)
    manual = sum(row.manual for row in found)
    if as_json:
        summary = {"written": [str(p) for p in written], "graded": graded, "manual": manual, "not_graded": waiting}
        print(json.dumps(summary, ensure_ascii=False, indent=2))
        raise typer.Exit(1 if waiting else 0)
    say.print(
        f"{target}: {graded} grades of {len({row.student for row in found})} students.", markup=False, soft_wrap=True
    )
    if to is Form.gradescope:
        say.print("Upload autograder-….zip under Configure Autograder. It holds your seed: give it to nobody else.")
    if manual:
        note(f"{manual} waiting for a person to look; run: nbgrader formgrader")
    if waiting:
        note(f"{waiting} submission{'s' * (waiting != 1)} not graded yet; run: attnlab grade")
    raise typer.Exit(1 if waiting else 0)


def _titles(given: list[str], names: set[str]) -> dict[str, str]:
    titles = {}
    for pair in given:
        name, equals, title = pair.partition("=")
        if not equals or name not in names:
            stop(f"--column {pair}: write ASSIGNMENT=TITLE with one of {', '.join(sorted(names))}")
        titles[name] = title
    return titles


def _waiting(course: "Coursework", found: "list[Row]") -> int:
    """How many submissions lie there that no grade is of."""
    graded = {(row.assignment, row.student.id) for row in found if row.raw is not None}
    return sum(
        (name, handed.student) not in graded
        for name in {row.assignment for row in found}
        for handed in course.classroom.handed_in(name)
    )


def _gradescope(course: "Coursework", found: "list[Row]", folder: Path) -> list[Path]:
    """``results/01_softmax/anna.json`` for each grade, and ``autograder-01_softmax.zip`` for each assignment."""
    from autograder import exporting, gradescope

    latest = course.classroom.latest(sorted({row.assignment for row in found}))
    written = []
    for row in found:
        event = latest.get((row.assignment, row.student.id))
        if row.score is None:
            if event is None or not event.error:
                continue
            results = gradescope.nothing(event.error)
        elif event and event.verdicts:
            results = gradescope.results(event.verdicts, row.score)
        else:
            results = gradescope.by_exercise({n: (p, row.worth[n]) for n, (p, _) in row.exercises.items()}, row.score)
        name = re.sub(r"[^\w.@+-]", "_", row.student.id)
        written.append(folder / "results" / row.assignment / f"{name}.json")
        exporting.write_whole(written[-1], json.dumps(results, ensure_ascii=False, indent=1).encode())
    worth: Mapping[str, dict[str, float]] = {row.assignment: row.worth for row in found}
    for name, exercises in worth.items():
        written.append(folder / f"autograder-{name}.zip")
        exporting.write_whole(written[-1], gradescope.bundle(name, list(exercises), course.classroom.seed))
    return written
