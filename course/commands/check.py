"""``attnlab check``: the answers in one notebook."""

import json
from pathlib import Path
from typing import Annotated

import typer

from course.console import app, say, stop


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
