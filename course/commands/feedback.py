"""``attnlab feedback``: a page for each student."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from course.console import Progress, app, note, say, stop, stop_at


@app.command()
def feedback(
    student: Annotated[list[str] | None, typer.Argument(help="Only these students.")] = None,
    course: Annotated[Path, typer.Option(help="The course.", metavar="FOLDER")] = Path("."),
    assignment: Annotated[
        list[str] | None, typer.Option("--assignment", "-a", help="Only this one, such as 01_softmax; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write pages that have not changed, too.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Pages at a time.")] = os.cpu_count() or 1,
    db: Annotated[
        str | None, typer.Option(envvar="ATTNLAB_DB", help="The gradebook's database, where it is not gradebook.db.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a page of feedback for each student, where nbgrader keeps it: feedback/STUDENT/ASSIGNMENT.

    Laws, what went wrong and why, pictures, points, comments, and what the student wrote. Not the inputs of the
    checks: those stay yours. Only pages whose words have changed are written. `nbgrader release_feedback` then hands
    them out to those who handed in by its exchange.

    Status 0: pages are there. 1: nothing is graded yet, so there are none. 2: a sentence says what is wrong.

    Examples:

    - `attnlab feedback`
    - `attnlab feedback anna --assignment 01_softmax`
    - `attnlab feedback --json`
    """
    from autograder.autograded import shown_name
    from autograder.classroom import Classroom
    from autograder.database import GradebookError
    from autograder.report import feedback as maker

    if not (course / "nbgrader_config.py").is_file():
        stop(f"{course.resolve()} is no course; go to the folder of nbgrader_config.py, or give it with --course")
    try:
        with Classroom(course.resolve(), database=db) as classroom:
            wanted = maker.sheets(classroom, assignment or (), student or ())
    except GradebookError as error:
        stop(str(error))
    if absent := sorted(set(student or ()) - {sheet.student for sheet in wanted}):
        stop(f"nothing of {shown_name(absent[0])} was graded; is the name that of a folder in submitted/?")
    told = []
    try:
        with Progress(len(wanted)) as report:
            for one in maker.write_all(wanted, jobs, force):
                told.append(one)
                report(f"{one.assignment} {shown_name(one.student)}", "written")
    except OSError as error:
        note(f"The {len(told)} pages before it are in place.")
        stop_at(error)
    counts = Counter(one.change for one in told)
    by_hand = sum(not one.released for one in told)
    if as_json:
        pages = [
            {"student": t.student, "assignment": t.assignment, "page": str(t.path), "change": t.change} for t in told
        ]
        print(json.dumps({**{k: counts[k] for k in ("new", "changed", "same")}, "pages": pages}, indent=2))
    elif not told:
        say.print("Nothing is graded yet, so there is no feedback; attnlab grade comes first.")
    else:
        say.print(
            f"{len(told)} pages: {counts['new']} new, {counts['changed']} changed, {counts['same']} as they were."
        )
        if by_hand < len(told):
            say.print("nbgrader release_feedback ASSIGNMENT hands out those that came by its exchange.")
        if by_hand:
            say.print(f"{by_hand} did not come by nbgrader's exchange: hand these out as you took them in.")
    raise typer.Exit(0 if told else 1)
