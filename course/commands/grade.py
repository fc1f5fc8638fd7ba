"""``attnlab grade``: points for notebooks. ``attnlab autograde``: an assignment into the gradebook."""

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from course.commands.doctor import refuse_without_isolation
from course.console import Progress, app, complain, say, stop


@app.command()
def grade(
    notebooks: Annotated[list[Path], typer.Argument(help="Submitted notebooks, folders or archives of them.")],
    seed: Annotated[
        int | None, typer.Option(envvar="ATTNLAB_SEED", help="Draw the inputs from this seed; keep it to yourself.")
    ] = None,
    require_isolation: Annotated[
        bool, typer.Option("--require-isolation", help="Refuse where a submission could get out; see attnlab doctor.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Grade submitted notebooks. Each one's code runs in a process of its own; a broken one stops nobody else's.

    Status 1 where a file could not be graded.

    Examples:

    - `attnlab grade submitted/ --seed 20261121`
    - `attnlab grade canvas_download.zip --seed 20261121`
    - `attnlab grade anna.ipynb ben.ipynb --json`
    """
    from autograder import panel, submission
    from autograder.grading import grade as grade_one
    from autograder.judge import VISIBLE_SEED

    if require_isolation:
        refuse_without_isolation()
    if seed is None:
        complain.print("No --seed was given: the inputs are the ones that every student can see.", style="yellow")
    rows: list[dict] = []
    with tempfile.TemporaryDirectory(prefix="attnlab-") as folder:
        files, rows = _handed_in(notebooks, Path(folder))
        with Progress(len(files)) as report:
            for name, path in files.items():
                report(name, "grading")
                try:
                    read = submission.read(path)
                    exercises = read.exercises()
                    if not exercises:
                        raise submission.SubmissionError(f"{path}: no cell defines an exercise of the course.")
                    grading = grade_one(read.sources, exercises, VISIBLE_SEED if seed is None else seed)
                    rows.append({"file": name, "exercises": [panel.plain(v) for v in grading.verdicts]})
                except submission.SubmissionError as error:
                    rows.append({"file": name, "error": str(error).replace(str(path), name)})
                report(name, "graded")
    broken = sum("error" in row for row in rows)
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        say.print(_table(rows))
    raise typer.Exit(1 if broken else 0)


def _handed_in(given: list[Path], folder: Path) -> tuple[dict[str, Path], list[dict]]:
    """The notebooks to grade, by the name to call them by, and a row for each that was left out of an archive."""
    from autograder import archives, submission

    files: dict[str, Path] = {}
    rows: list[dict] = []
    for number, path in enumerate(given):
        if path.is_dir():
            found = sorted(p for p in path.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
            files |= {str(p): p for p in found}
            if not found:
                stop(f"{path}: there is no notebook in this folder")
        elif archives.is_archive(path):
            place = folder / str(number)
            place.mkdir()
            try:
                unpacked = archives.unpack(path, place)
            except submission.SubmissionError as error:
                rows.append({"file": str(path), "error": str(error)})
                continue
            files |= {f"{path}, {archives.printable(name)}": p for name, p in unpacked.notebooks.items()}
            rows += [{"file": str(path), "error": sentence} for sentence in unpacked.refused.values()]
            if not unpacked.notebooks and not unpacked.refused:
                stop(f"{path}: there is no notebook in this archive")
        else:
            files[str(path)] = path
    return files, rows


def _table(rows: list[dict]) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("file")
    names = list(dict.fromkeys(e["exercise"] for row in rows for e in row.get("exercises", ())))
    for name in [*names, "points"]:
        table.add_column(name, justify="right")
    for row in rows:
        if "error" in row:
            table.add_row(row["file"], *[""] * len(names), row["error"].removeprefix(f"{row['file']}: "), style="red")
            continue
        earned = {e["exercise"]: f"{e['points']:g}/{e['of']:g}" for e in row["exercises"]}
        total = sum(e["points"] for e in row["exercises"])
        table.add_row(row["file"], *[earned.get(name, "–") for name in names], f"{total:g}")
    return table


@app.command()
def autograde(
    assignment: Annotated[str, typer.Argument(help="The assignment, such as 01_softmax.")],
    course: Annotated[Path, typer.Option(help="The nbgrader course.", metavar="FOLDER")] = Path("."),
    student: Annotated[list[str] | None, typer.Option(help="Only this student; may be given again.")] = None,
    seed: Annotated[
        int | None, typer.Option(envvar="ATTNLAB_SEED", help="Draw the inputs from this seed; keep it to yourself.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Grade what has been graded, too.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Submissions at a time.")] = os.cpu_count() or 1,
    require_isolation: Annotated[
        bool, typer.Option("--require-isolation", help="Refuse where a submission could get out; see attnlab doctor.")
    ] = False,
) -> None:
    """Grade an assignment into nbgrader's gradebook: `nbgrader autograde`, a hundred times faster.

    A run that was stopped goes on where it stopped. Status 1 where a submission could not be graded.

    Examples:

    - `attnlab autograde 01_softmax`
    - `attnlab autograde 01_softmax --student anna --force`
    """
    from autograder.autograded import shown_name
    from autograder.classroom import Classroom
    from autograder.gradebook import GradebookError

    if require_isolation:
        refuse_without_isolation()
    broken: list[str] = []
    count = 0
    try:
        with Classroom(course.resolve(), seed) as classroom:
            waiting = classroom.handed_in(assignment, student or ())
            with Progress(len(waiting)) as report:
                for result in classroom.grade(assignment, student or (), force, jobs):
                    count += 1
                    broken += [result.error] if result.error else []
                    report(shown_name(result.student), "graded")
    except GradebookError as error:
        stop(str(error))
    for sentence in broken:
        complain.print(shown_name(sentence), markup=False, soft_wrap=True, style="red")
    say.print(
        f"{count - len(broken)} of {len(waiting)} submissions graded; the others were graded before."
        if not broken
        else f"{count - len(broken)} graded, {len(broken)} could not be."
    )
    raise typer.Exit(1 if broken else 0)
