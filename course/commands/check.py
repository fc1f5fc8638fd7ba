"""``attnlab check``: before handing in."""

import json
from pathlib import Path
from typing import Annotated

import typer

from course.console import app, say, stop


@app.command()
def check(
    notebooks: Annotated[list[Path], typer.Argument(help="Notebooks with answers.", metavar="NOTEBOOK…")],
    only: Annotated[str, typer.Option("--only", "-k", help="Only this exercise.", metavar="NAME")] = "",
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what an editor or Colab has lost; the file as it was is kept.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Before handing in: run a notebook as grading will, and say what would be graded, and why something is not.

    The file as it is saved, from the top, in a fresh process, within a time limit. Status 0: all exercises pass;
    1: something does not; 2: a file that cannot be used.

    Examples:

    - `attnlab check notebooks/01_softmax/01_softmax.ipynb`
    - `attnlab check notebooks/01_softmax/01_softmax.ipynb --only softmax`
    - `attnlab check from_colab.ipynb --repair`
    """
    from autograder.rehearsal import Rehearsal, rehearse
    from autograder.submission import SubmissionError

    came: list[Rehearsal] = []
    for notebook in notebooks:
        _must_be_one(notebook)
    for notebook in notebooks:
        try:
            came.append(rehearse(notebook, only, repair))
        except SubmissionError as error:
            stop(str(error))
        _tick_off(came[-1])
        if not as_json:
            if len(notebooks) > 1:
                say.print(f"{notebook}\n", markup=False, soft_wrap=True, style="bold")
            say.print(came[-1].text(), markup=False, soft_wrap=True)
            if notebook != notebooks[-1]:
                say.print()
    if as_json:
        print(json.dumps([one.plain() for one in came], ensure_ascii=False, indent=2))
    raise typer.Exit(0 if all(one.passed for one in came) else 1)


def _must_be_one(notebook: Path) -> None:
    """A folder has the names of its notebooks told, a file of another kind what it is not."""
    if notebook.is_dir():
        inside = [path for path in sorted(notebook.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
        if len(inside) == 1:
            stop(f"{notebook}: this is a folder; did you mean {inside[0]}?")
        named = f"with {len(inside)} notebooks in it" if inside else "without a notebook in it"
        stop(f"{notebook}: this is a folder {named}; name the notebook")


def _tick_off(came: object) -> None:
    """On the learner's own map, where the notebook is the learner's own: in the course's folder of notebooks."""
    from autograder import record
    from autograder.rehearsal import Rehearsal
    from course import paths

    assert isinstance(came, Rehearsal)
    if came.path.resolve().is_relative_to(paths.NOTEBOOKS):
        for found in came.found:
            if found.state != "not written":
                record.keep(found.exercise, found.verdict.points)
