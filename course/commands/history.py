"""``attnlab history``: what was graded, when, by whom, and what it changed."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from course.console import app, say, stop


@app.command()
def history(
    student: Annotated[list[str] | None, typer.Argument(help="Only these students.")] = None,
    assignment: Annotated[
        list[str] | None, typer.Option("--assignment", "-a", help="Only this one; may be repeated.")
    ] = None,
    course: Annotated[Path, typer.Option(help="The course.", metavar="FOLDER")] = Path("."),
    db: Annotated[
        str | None, typer.Option(envvar="ATTNLAB_DB", help="The gradebook's database, where it is not gradebook.db.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything, verdicts too, as JSON.")] = False,
) -> None:
    """List every time that a submission was graded: points before and after, when, by whom, seed and version.

    Nothing is ever taken out of this list. Status 1 where it is empty.

    Examples:

    - `attnlab history anna`
    - `attnlab history --assignment 01_softmax --json`
    """
    from autograder.autograded import shown_name
    from autograder.classroom import Classroom, GradebookError

    if not (course / "nbgrader_config.py").is_file():
        stop(f"{course.resolve()} is no course; go to the folder of nbgrader_config.py, or give it with --course")
    try:
        with Classroom(course.resolve(), database=db) as classroom:
            events = classroom.history(assignment or (), student or ())
    except GradebookError as error:
        stop(str(error))
    if as_json:
        print(json.dumps([asdict(event) for event in events], ensure_ascii=False, indent=2, default=str))
        raise typer.Exit(0 if events else 1)
    table = Table(box=None, header_style="bold")
    for title in ("when", "assignment", "student"):
        table.add_column(title, no_wrap=True)
    for title in ("before", "after", "of"):
        table.add_column(title, justify="right")
    for title in ("seed", "version", "who"):
        table.add_column(title)
    for event in events:
        when = event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        points = [*(_points(value) for value in (event.before, event.after)), _points(event.worth)]
        words = [str(event.seed), event.version, event.who]
        table.add_row(when, event.assignment, shown_name(event.student), *points, *words)
        if event.error:
            table.add_row("", "", "", "", "", "", event.error, style="red")
    say.print(table if events else "Nothing has been graded yet.")
    raise typer.Exit(0 if events else 1)


def _points(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
