"""``attnlab collect``: what came back, in its place."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from course.console import Progress, app, complain, note, say, stop, stop_at


@app.command()
def collect(
    what: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Zips of Canvas, Moodle or Gradescope, folders, notebooks; the exchange where none is given."
        ),
    ] = None,
    course: Annotated[Path, typer.Option(help="The course.", metavar="FOLDER")] = Path("."),
    create: Annotated[bool, typer.Option("--create", help="Add those who are not in students.csv.")] = False,
    worksheet: Annotated[
        list[Path] | None, typer.Option(help="Moodle's grading worksheet, where names are hidden or not unique.")
    ] = None,
    db: Annotated[
        str | None, typer.Option(envvar="ATTNLAB_DB", help="The gradebook's database, where it is not gradebook.db.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Put what students handed in where it is graded. Which chapter a notebook is, is read from its content.

    Of several the latest counts; nothing is overwritten by an earlier one, and a second run changes nothing. Status 1
    where something could not be placed: each is told, with the reason.

    Examples:

    - `attnlab collect submissions.zip`
    - `attnlab collect handed_in/ late.ipynb --create`
    - `attnlab collect`
    """
    from autograder import archives, handins, releasing, roster
    from autograder.collecting import Collection, Collector, straighten
    from autograder.coursework import Coursework
    from autograder.database import GradebookError
    from autograder.submission import SubmissionError

    try:
        with Coursework(course, db, note) as opened, tempfile.TemporaryDirectory(prefix="attnlab-") as place:
            students = roster.read(opened.students_file)
            roster.enter(opened.book, students.students)
            names = opened.assignments()
            if not names:
                stop("no assignment is in the gradebook yet; run: attnlab release")
            if not what:
                with Progress(len(names)) as report:
                    for name in releasing.take_in(opened, names):
                        report(name, "collected")
                done = Collection(told=straighten(opened))
                came = handins.Came()
            else:
                participants = {n: clue for path in worksheet or () for n, clue in handins.worksheet(path).items()}
                inbox, came = handins.Inbox(Path(place), participants), handins.Came()
                for given in what:
                    if not given.exists():
                        stop(f"{given}: there is no such file or folder")
                    if not given.is_dir() and not archives.is_archive(given) and not archives.is_notebook(given.name):
                        stop(f"{given}: is no notebook, no folder and no archive ({', '.join(archives.SUFFIXES)})")
                    read = inbox.read(given)
                    came.handins += read.handins
                    came.refused += read.refused
                collector = Collector(opened, create)
                with Progress(len(came.handins)) as report:
                    for placed in collector.place(came.handins):
                        report(f"{placed.student}, {placed.assignment}", "collected")
                done = collector.done
            waiting = len(opened.book.students)
    except (GradebookError, SubmissionError) as error:
        stop(str(error))
    except OSError as error:
        stop_at(error)
    left = [*came.refused, *done.left]
    if as_json:
        print(
            json.dumps(
                {
                    "placed": [asdict(placed) for placed in done.placed],
                    "created": [asdict(student) for student in done.created],
                    "not_placed": left,
                    "told": [*students.odd, *done.told],
                },
                ensure_ascii=False,
                indent=2,
            )
        )
        raise typer.Exit(1 if left else 0)
    for sentence in [*students.odd, *done.told]:
        say.print(sentence, markup=False, soft_wrap=True)
    for placed in done.placed:
        if placed.became == "older":
            say.print(f"{placed.file}: {placed.note}.", markup=False, soft_wrap=True)
    for sentence in left:
        complain.print(f"✗ {sentence}", markup=False, soft_wrap=True, style="red")
    if what:
        say.print(_summary(done, len(left)))
    else:
        say.print(f"The exchange was read for {len(names)} assignments of {waiting} students.")
    raise typer.Exit(1 if left else 0)


def _summary(done: object, left: int) -> str:
    from autograder.collecting import Collection

    assert isinstance(done, Collection)
    parts = [f"{done.count(word)} {word}" for word in ("new", "replaced", "unchanged", "older") if done.count(word)]
    if late := sum(placed.late for placed in done.placed):
        parts.append(f"{late} of them late")
    if done.created:
        parts.append(f"{len(done.created)} students added to the list")
    if left:
        parts.append(f"{left} could not be placed")
    return f"{', '.join(parts) or 'Nothing came in'}."
