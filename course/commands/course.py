"""``attnlab course new``: a course of your own."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from course.console import app, say, stop

group = typer.Typer(help="Make a course of your own.", no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(group, name="course")


@group.callback()
def course() -> None:
    """Make a course of your own: a folder that nbgrader and the commands here work in."""


@group.command()
def new(
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    chapters: Annotated[str, typer.Option(help="Which, such as 1-5 or 1,3,7; all where left out.")] = "",
    name: Annotated[
        str, typer.Option(help="What the exchange calls the course; the folder's name where left out.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a course: settings, a seed of its own, an empty list of students, the chapters. Overwrites nothing.

    Examples:

    - `attnlab course new attention-2027`
    - `attnlab course new attention-2027 --chapters 1-5`
    """
    from course import newcourse

    try:
        made = newcourse.make(folder, chapters, name)
    except newcourse.CourseError as error:
        stop(str(error))
    if as_json:
        print(json.dumps({"folder": str(made.folder), "assignments": made.assignments}, ensure_ascii=False, indent=2))
        return
    say.print(f"A course of {len(made.assignments)} chapters is in {made.folder}", markup=False, soft_wrap=True)
    for line in next_steps(folder):
        say.print(line, markup=False, soft_wrap=True)


def next_steps(folder: Path) -> list[str]:
    steps = [
        ("students.csv", "put your students into it: a row each, the first line names the columns"),
        ("attnlab release", "enters the chapters into the gradebook and makes what students get, in notebooks/"),
        ("attnlab collect hand-ins.zip", "puts what came back in its place: Canvas, Moodle, Gradescope, a folder"),
        ("attnlab grade", "grades it"),
        ("attnlab export --to csv", "writes the grades as a table"),
    ]
    width = max(len(what) for what, _ in steps)
    lines = [f"Next, in that folder (cd {folder}):", *[f"  {what.ljust(width)}  {why}" for what, why in steps]]
    secret = (
        "Only you can read the folder; seed.txt in it is secret." if sys.platform != "win32" else "seed.txt is secret."
    )
    return [*lines, f"{secret} Late penalties and other settings are in nbgrader_config.py."]
