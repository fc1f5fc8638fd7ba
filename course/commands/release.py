"""``attnlab release``: what students get."""

import json
from pathlib import Path
from typing import Annotated

import typer

from course.console import Progress, app, complain, note, say, stop, stop_at


@app.command()
def release(
    assignments: Annotated[
        list[str] | None, typer.Argument(help="Such as 01_softmax; all where none is given.")
    ] = None,
    course: Annotated[Path, typer.Option(help="The course.", metavar="FOLDER")] = Path("."),
    due: Annotated[str, typer.Option(help="When they are due: 2026-12-01 18:00, by the clock of this machine.")] = "",
    exchange: Annotated[bool, typer.Option("--exchange", help="Put them into nbgrader's exchange, too.")] = False,
    archive: Annotated[
        Path | None, typer.Option("--zip", help="Write them as a zip for a learning platform.", metavar="FILE")
    ] = None,
    db: Annotated[
        str | None, typer.Option(envvar="ATTNLAB_DB", help="The gradebook's database, where it is not gradebook.db.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Enter assignments and students.csv into the gradebook, and make the students' notebooks, in notebooks/.

    May be run again at any time: grades stay. Status 1 where an assignment or a row of students.csv was left out.

    Examples:

    - `attnlab release`
    - `attnlab release 01_softmax 02_weighted_averaging --due "2026-12-01 18:00"`
    - `attnlab release 01_softmax --zip softmax.zip`
    """
    from autograder import releasing, roster
    from autograder.coursework import Coursework
    from autograder.database import GradebookError

    try:
        moment = releasing.parse_due(due) if due else None
        with Coursework(course, db, note) as opened:
            chosen = _chosen(opened.sources(), assignments or [])
            students = roster.read(opened.students_file)
            entered = roster.enter(opened.book, students.students)
            released = []
            with Progress(len(chosen)) as report:
                for result in releasing.release(opened, chosen, moment):
                    released.append(result)
                    report(result.assignment, "released")
            whole = [result.assignment for result in released if not result.error]
            if exchange:
                releasing.hand_over(opened, whole)
            if archive:
                count = releasing.pack(opened, whole, archive)
            enrolled = len(opened.book.students)
    except GradebookError as error:
        stop(str(error))
    except OSError as error:
        stop_at(error)
    broken = [f"{result.assignment}: {result.error}" for result in released if result.error] + students.odd
    if as_json:
        print(
            json.dumps(
                {
                    "released": [
                        {
                            "assignment": r.assignment,
                            "points": r.points,
                            "exercises": r.exercises,
                            "due": f"{r.due.isoformat()}Z" if r.due else None,
                        }
                        for r in released
                        if not r.error
                    ],
                    "students": {"added": entered.added, "changed": entered.changed, "enrolled": enrolled},
                    "zip": str(archive) if archive else None,
                    "left_out": broken,
                },
                ensure_ascii=False,
                indent=2,
            )
        )
        raise typer.Exit(1 if broken else 0)
    for result in released:
        if not result.error:
            until = f", due {_local(result.due)}" if result.due else ""
            say.print(
                f"{result.assignment}: {result.exercises} exercises, {result.points:g} points{until}", markup=False
            )
    say.print(f"{enrolled} students: {len(entered.added)} new, {len(entered.changed)} changed.")
    if exchange:
        say.print("They are in the exchange: students find them under Nbgrader › Assignment List.")
    if archive:
        say.print(f"{archive}: {count} files.", markup=False)
    for sentence in broken:
        complain.print(sentence, markup=False, soft_wrap=True, style="red")
    raise typer.Exit(1 if broken else 0)


def _chosen(there: list[str], asked: list[str]) -> list[str]:
    names = list(dict.fromkeys(name.strip("/\\").removeprefix("solutions/") for name in asked))
    for name in names:
        if name not in there:
            close = [other for other in there if name in other]
            found = f"did you mean {close[0]}?" if close else f"there are {', '.join(there) or 'none'}"
            stop(f"{name}: there is no such assignment in the source folder; {found}")
    if not there:
        stop("the source folder of this course holds no notebook; attnlab course new makes a course with chapters")
    return names or there


def _local(due: object) -> str:
    from datetime import UTC, datetime

    assert isinstance(due, datetime)
    return f"{due.replace(tzinfo=UTC).astimezone():%Y-%m-%d %H:%M %Z}"
