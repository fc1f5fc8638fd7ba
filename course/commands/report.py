"""``attnlab report``: a class on one page."""

import json
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from course.console import app, complain, say, stop, stop_at

if TYPE_CHECKING:
    from autograder.report.teacher import Written


@app.command()
def report(
    course: Annotated[Path, typer.Option(help="The course.", metavar="FOLDER")] = Path("."),
    assignment: Annotated[
        list[str] | None, typer.Option("--assignment", "-a", help="Only this one, such as 01_softmax; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.", metavar="FILE")] = Path("report.html"),
    look: Annotated[bool, typer.Option("--open", help="Open it in the browser when it is made.")] = False,
    db: Annotated[
        str | None, typer.Option(envvar="ATTNLAB_DB", help="The gradebook's database, where it is not gradebook.db.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report's numbers as JSON, too.")] = False,
) -> None:
    """Make the class report: pass rates, what the class misunderstands, who needs help, each student.

    One page that needs no network. It holds names and grades: keep it where you keep the gradebook.

    Status 0: all that was handed in is graded. 1: some is not, or could not be. 2: there is no report.

    Examples:

    - `attnlab report --open`
    - `attnlab report --assignment 01_softmax --out softmax.html`
    - `attnlab report --json`
    """
    from autograder.database import GradebookError
    from autograder.report.teacher import plain, write_report

    if not (course / "nbgrader_config.py").is_file():
        stop(f"{course.resolve()} is no course; go to the folder of nbgrader_config.py, or give it with --course")
    try:
        with complain.status("reading the gradebook, comparing answers, drawing the page"):
            made = write_report(course.resolve(), out, assignment or (), db)
    except GradebookError as error:
        stop(str(error))
    except OSError as error:
        stop_at(error)
    if as_json:
        print(json.dumps(plain(made), ensure_ascii=False, indent=2))
    else:
        _summary(made)
    if look:
        webbrowser.open(out.resolve().as_uri())
    raise typer.Exit(1 if made.head.broken or made.head.waiting else 0)


def _summary(made: "Written") -> None:
    from autograder.autograded import shown_name
    from autograder.report.teacher import lead

    say.print(shown_name(lead(made.head, made.held).replace("\u2009", "")), markup=False, soft_wrap=True)
    for held in made.held[:5]:
        say.print(f"  {held.share:>4.0%}  {held.exercise}: {held.title.lower()}", markup=False, soft_wrap=True)
    if made.help:
        say.print(f"{len(made.help)} of {made.head.people} need help; the page says who, and what to begin with.")
    if made.head.broken:
        say.print(f"Could not be graded: {made.head.broken}; the page says why.", style="red")
    if made.head.waiting:
        say.print(f"Not graded yet: {made.head.waiting}; attnlab grade does it.", style="yellow")
    say.print(f"The report is {made.path}", markup=False, soft_wrap=True)
