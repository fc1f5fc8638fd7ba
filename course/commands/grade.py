"""``attnlab grade``: points for notebooks that are named; without names, a whole class into the gradebook."""

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from course.commands.doctor import refuse_without_isolation
from course.console import Progress, app, complain, say, stop

CONFIGURATION = "nbgrader_config.py"


@app.command()
def grade(
    submissions: Annotated[
        list[Path] | None, typer.Argument(help="Notebooks, folders or archives of them. None: the course's submitted/.")
    ] = None,
    course: Annotated[Path, typer.Option(help="The course to grade.", metavar="FOLDER")] = Path("."),
    assignment: Annotated[
        list[str] | None, typer.Option("--assignment", "-a", help="Only this one, such as 01_softmax; may be repeated.")
    ] = None,
    student: Annotated[
        list[str] | None, typer.Option("--student", "-s", help="Only this student; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Grade what has been graded, too.")] = False,
    seed: Annotated[
        int | None, typer.Option(envvar="ATTNLAB_SEED", help="Draw the inputs from this seed; keep it to yourself.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Submissions at a time.")] = os.cpu_count() or 1,
    db: Annotated[
        str | None, typer.Option(envvar="ATTNLAB_DB", help="The gradebook's database, where it is not gradebook.db.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Judge on the workers of this Dask scheduler.", metavar="ADDRESS")
    ] = None,
    require_isolation: Annotated[
        bool, typer.Option("--require-isolation", help="Refuse where a submission could get out; see attnlab doctor.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Grade submissions. Each one's code runs in a process of its own; a broken one stops nobody else's.

    With names, points are printed. Without, everything in `submitted/` that is new goes into the course's gradebook;
    a run that was stopped, by Ctrl-C or by a power cut, goes on where it stopped when the command is given again.

    Status 0: all graded. 1: some could not be. 2: the run could not go on, and a sentence says why. 130: Ctrl-C.

    Examples:

    - `attnlab grade canvas_download.zip --seed 20261121`
    - `attnlab grade anna.ipynb ben.ipynb --json`
    - `attnlab grade`
    - `attnlab grade --assignment 01_softmax --student anna --force`
    - `attnlab grade --db postgresql://ada@db.example.org/attention`
    - `attnlab grade --cluster tcp://scheduler.example.org:8786`
    """
    for_class = {"--assignment": assignment, "--student": student, "--force": force, "--cluster": cluster}
    if submissions and (given := [name for name, value in for_class.items() if value]):
        stop(f"{given[0]} is for a whole course; with {submissions[0]} named, leave it out, or name no file")
    if not submissions and not (course / CONFIGURATION).is_file():
        stop(
            f"{course.resolve()} is no course, for there is no {CONFIGURATION} in it; go to the course's folder, "
            "give it with --course, or name the notebooks to grade"
        )
    if require_isolation and not cluster:
        refuse_without_isolation()
    if submissions:
        _grade_files(submissions, seed, as_json)
    from course.grading import grade_class

    wanted = (course.resolve(), assignment or (), student or (), force, seed, jobs, db, as_json)
    raise typer.Exit(grade_class(*wanted, cluster=cluster, isolated=require_isolation))


def _grade_files(submissions: list[Path], seed: int | None, as_json: bool) -> None:
    """Points without a gradebook."""
    from autograder import panel, submission
    from autograder.grading import grade as grade_one
    from autograder.judge import VISIBLE_SEED

    if seed is None:
        complain.print("No --seed was given: the inputs are the ones that every student can see.", style="yellow")
    rows: list[dict] = []
    with tempfile.TemporaryDirectory(prefix="attnlab-") as folder:
        files, rows = _handed_in(submissions, Path(folder))
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
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        say.print(_table(rows))
    raise typer.Exit(1 if any("error" in row for row in rows) else 0)


def _handed_in(given: list[Path], folder: Path) -> tuple[dict[str, Path], list[dict]]:
    """The notebooks to grade, by the name to call them by, and a row for each that was left out of an archive."""
    from autograder import archives, submission

    files: dict[str, Path] = {}
    rows: list[dict] = []
    for number, path in enumerate(given):
        if not path.exists():
            stop(f"{path}: there is no such file or folder")
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
