"""``attnlab demo``: a class, graded before your eyes."""

import io
import json
import os
import sys
import tempfile
import time
import webbrowser
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from course.console import app, complain, say, stop


@app.command()
def demo(
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Make it here and keep it; else in a temporary folder.", metavar="FOLDER"),
    ] = None,
    look: Annotated[bool, typer.Option("--open/--no-open", help="Open the report in the browser.")] = True,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Submissions at a time.")] = os.cpu_count() or 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """See the grader work: an invented class of 16 hands in 30 notebooks, and you see what comes of them.

    They are right in several ways, wrong in the ways the course knows, late, broken, untouched, and two are nearly the
    same. What you see is what your own class would run; every step says the command that does it.

    Examples:

    - `attnlab demo`
    - `attnlab demo --dir demo-class --no-open`
    """
    from autograder import handins, releasing, roster
    from autograder.collecting import Collector
    from autograder.coursework import STUDENTS, Coursework
    from autograder.database import GradebookError
    from autograder.report.teacher import write_report
    from course import demo as invented
    from course import newcourse
    from course.grading import grade_class

    show = (lambda *_: None) if as_json else _step
    began = time.monotonic()
    target = folder or Path(tempfile.mkdtemp(prefix="attnlab-demo-"))
    try:
        made = newcourse.make(target, invented.CHAPTERS, "demo", invented.SEED)
        invented.enrolled(made.folder / STUDENTS)
        show(
            "A course", f"of {len(made.assignments)} chapters and {len(invented.NAMES)} invented students", "course new"
        )
        with Coursework(made.folder) as course:
            roster.enter(course.book, roster.read(course.students_file).students)
            for name in made.assignments:
                for result in releasing.release(course, [name], invented.DUE[name]):
                    if result.error:
                        stop(f"{name}: {result.error}")
            show("Released", f"{', '.join(made.assignments)}, with their due dates", "release --due …")
            with complain.status("students are writing …"), tempfile.TemporaryDirectory() as place:
                handed = []
                for name, data in invented.archives().items():
                    (made.folder / name).write_bytes(data)
                    handed += handins.Inbox(_new(Path(place), name)).read(made.folder / name).handins
                collector = Collector(course)
                placed = list(collector.place(handed))
            late = sum(one.late for one in placed)
            show("Collected", f"{len(placed)} notebooks, {late} of them late", "collect 01_softmax.zip …")
        show("Graded", "each in a process of its own, with inputs from a secret seed", "grade")
        said = io.StringIO()
        with redirect_stdout(said) if as_json else nullcontext():
            status = grade_class(made.folder, (), (), False, None, jobs, None, as_json)
        if status not in (0, 1):
            raise typer.Exit(status)
        page = made.folder / "report.html"
        with complain.status("drawing the report …"):
            write_report(made.folder, page)
        show("Report", str(page), "report --open")
    except (newcourse.CourseError, GradebookError) as error:
        stop(str(error))
    seconds = time.monotonic() - began
    if as_json:
        told = {
            "folder": str(made.folder),
            "report": str(page),
            "seconds": seconds,
            "grades": json.loads(said.getvalue()),
        }
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        say.print(f"That took {seconds:.0f} seconds. Look around in it:", markup=False)
        for line in _around(made.folder):
            say.print(f"  {line}", markup=False, soft_wrap=True)
    if look:
        webbrowser.open(page.as_uri())


def _step(what: str, how: str, command: str) -> None:
    """A line on what was done, and the command that does it in a course of one's own."""
    say.print(f"[bold]{what}[/bold] {escape(how)}   [dim]attnlab {command}[/dim]", soft_wrap=True)


def _around(folder: Path) -> list[str]:
    """Commands to try in the new course; before them, where they are not on the path, what puts them there."""
    lines = [f'cd "{folder}"', "attnlab export --to canvas", "attnlab history", "nbgrader formgrader"]
    if not os.environ.get("ATTNLAB_CALLED"):
        return lines
    activate = f'"{Path(sys.executable).with_name("activate")}"'
    return [activate if sys.platform == "win32" else f"source {activate}", *lines]


def _new(place: Path, name: str) -> Path:
    folder = place / name
    folder.mkdir()
    return folder
