"""The ``attnlab`` command."""

import json
import os
import tempfile
import webbrowser
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from course import paths

app = typer.Typer(
    name="attnlab",
    help="Attention Lab: open the course, check answers, grade submissions, build the notebooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
say = Console(highlight=False)
complain = Console(stderr=True, highlight=False)


def stop(sentence: str) -> NoReturn:
    """End with one sentence. Status 2: something that was given to us is wrong."""
    complain.print(f"attnlab: {sentence}", markup=False, soft_wrap=True)
    raise typer.Exit(2)


@app.command("open")
def open_course(
    notebook: Annotated[Path | None, typer.Argument(help="Open this notebook in place of the start page.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser; without one, only print the address.")] = True,
    port: Annotated[int, typer.Option(help="The first port to try.")] = 8888,
) -> None:
    """Open the course in JupyterLab, at its start page.

    Examples:

    - `attnlab open`
    - `attnlab open notebooks/01_softmax/01_softmax.ipynb`
    """
    from course import desk

    page = notebook or paths.derived(paths.NOTEBOOKS, desk.START)
    if not page.exists():
        stop(f"{page}: there is no such notebook; those of the course are in notebooks/")
    if not page.resolve().is_relative_to(paths.ROOT):
        stop(f"{page}: lies outside the course; copy it into notebooks/ to open it there")
    raise typer.Exit(desk.open_lab(page.resolve(), browser, port))


@app.command()
def build(
    chapters: Annotated[
        list[str] | None, typer.Argument(help="Numbers, names or files; all where none is given.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail where a derived file differs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Build what has not changed, too.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Chapters at a time.")] = os.cpu_count() or 1,
) -> None:
    """Make solutions/ and notebooks/ from chapters/: only what changed, several at a time; and the README's table.

    Examples:

    - `attnlab build`
    - `attnlab build 1 --force`
    - `attnlab build --check`
    """
    from autograder.exercise import DeclarationError
    from course import build as builder
    from course import readme

    try:
        selected = builder.select(chapters or [])
        with Progress(len(selected)) as report:
            if check:
                wrong = builder.check(selected, report)
                if not readme.is_right():
                    wrong.append("README.md: its table of chapters is not what chapters/ say; run: attnlab build")
            else:
                built = builder.build(selected, jobs, force, report)
                gone = [] if chapters else builder.remove_orphans()
                table = readme.write()
    except (builder.BuildError, DeclarationError) as error:
        stop(str(error).replace(f"{paths.ROOT}{os.sep}", ""))
    except KeyboardInterrupt:
        complain.print("Stopped. What was built is whole; the same command goes on from here.")
        raise typer.Exit(130) from None
    if check:
        for sentence in wrong:
            complain.print(sentence, markup=False, soft_wrap=True)
        if wrong:
            raise typer.Exit(2)
        say.print(f"{len(selected)} chapters: notebooks/ and solutions/ are what their sources make.")
        return
    for path in gone:
        say.print(f"Removed {paths.shown(path)}: its chapter is gone.", markup=False)
    changed = [result.chapter.name for result in built if result.changed]
    say.print(f"Built {', '.join(changed)}." if changed else "Nothing has changed.", markup=False)
    if table:
        say.print("README.md has a new table of chapters.")
    for result in built:
        if result.kept:
            say.print(f"Your work in a notebook was kept as {paths.shown(result.kept)}.", markup=False)


@app.command()
def check(
    notebook: Annotated[Path, typer.Argument(help="A notebook with answers.")],
    only: Annotated[str, typer.Option("--only", "-k", help="Only this exercise.", metavar="NAME")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check the answers in a notebook: every law of every exercise. Status 1 where one does not hold.

    Examples:

    - `attnlab check notebooks/01_softmax/01_softmax.ipynb`
    - `attnlab check hand_in.ipynb --only softmax`
    """
    from autograder import panel
    from autograder.judge import VISIBLE_SEED

    verdicts = _verdicts(notebook, only, VISIBLE_SEED)
    if as_json:
        print(json.dumps([panel.plain(verdict) for verdict in verdicts], ensure_ascii=False, indent=2))
    else:
        for verdict in verdicts:
            say.print(panel.text(verdict), markup=False, soft_wrap=True)
            say.print()
        earned, worth = sum(v.points for v in verdicts), sum(v.exercise.points for v in verdicts)
        say.print(f"{earned:g} of {worth:g} points", style="bold")
    raise typer.Exit(0 if all(verdict.passed for verdict in verdicts) else 1)


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
        _refuse_without_isolation()
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
        _refuse_without_isolation()
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


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Say what keeps a submission from this machine: one of ours tries to get out. Status 1 where it can.

    Examples:

    - `attnlab doctor`
    - `attnlab doctor --json`
    """
    from autograder.doctor import examine

    health = examine()
    if as_json:
        layers = asdict(health.layers)
        print(json.dumps({"isolated": health.isolated, "layers": layers, "escapes": health.escapes}, indent=2))
    else:
        say.print(f"In force: {health.layers}.", markup=False)
        for sentence in health.layers.sentences():
            say.print(f"  {sentence}", markup=False)
        for escape in health.escapes:
            say.print(f"  ✗ A submission of ours {escape}.", style="red", markup=False)
        if health.isolated:
            say.print("A submission that tried to get out did not.", style="green")
    raise typer.Exit(0 if health.isolated else 1)


def _refuse_without_isolation() -> None:
    from autograder.doctor import examine

    health = examine()
    if not health.isolated:
        stop(
            f"--require-isolation: here a submission has {health.layers}"
            + (f", and {'; '.join(health.escapes)}" if health.escapes else "")
            + "; grade on Linux, or in a container that allows namespaces or Landlock"
        )


@app.command()
def book(
    look: Annotated[bool, typer.Option("--open", help="Open it in the browser when it is built.")] = False,
) -> None:
    """Make the book, a web site that needs no network, from solutions/ as they stand: in book/_build/html.

    Examples:

    - `attnlab book`
    - `attnlab book --open`
    """
    from autograder.exercise import DeclarationError
    from course import book as maker
    from course.source import BuildError

    try:
        with complain.status("making the book"):
            page = maker.build()
    except (maker.BookError, BuildError, DeclarationError) as error:
        stop(str(error).replace(f"{paths.ROOT}{os.sep}", ""))
    say.print(f"The book is {paths.shown(page)}", markup=False, soft_wrap=True)
    if look:
        webbrowser.open(page.as_uri())


def _verdicts(notebook: Path, only: str, seed: int) -> list:
    from autograder import submission
    from autograder.grading import grade as grade_one

    try:
        read = submission.read(notebook)
    except submission.SubmissionError as error:
        stop(str(error))
    exercises = [exercise for exercise in read.exercises() if only in ("", exercise.name)]
    if not exercises:
        stop(
            f"{notebook}: no cell defines {f'`{only}`' if only else 'an exercise of the course'}; is it the right one?"
        )
    return grade_one(read.sources, exercises, seed).verdicts


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


class Progress:
    """One live line: how many are done, and what happens now. On a pipe, a line for each that is done."""

    LAST = ("built", "up to date", "compared", "graded")

    def __init__(self, total: int):
        self.total, self.done = total, 0

    def __enter__(self) -> Callable[[str, str], None]:
        self.status = complain.status("…") if complain.is_terminal else None
        if self.status:
            self.status.start()
        return self.report

    def __exit__(self, *_: object) -> None:
        if self.status:
            self.status.stop()

    def report(self, name: str, stage: str) -> None:
        self.done += stage in self.LAST
        line = f"[{self.done}/{self.total}] {name}: {stage}"
        if self.status:
            self.status.update(line.replace("[", "\\[", 1))
        elif stage in self.LAST:
            complain.print(line, markup=False)


def main() -> None:
    """Run the command."""
    paths.put_own_tools_first()
    app()
