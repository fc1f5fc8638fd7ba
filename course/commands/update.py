"""``attnlab update``: the newest course, with your answers in it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from course import paths
from course.console import app, note, say, stop, stop_at

if TYPE_CHECKING:
    from course.updating import Update


@app.command()
def update(
    older: Annotated[
        Path | None,
        typer.Option("--from", help="Bring what you wrote in this older copy of the course.", metavar="FOLDER"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Bring the course up to date, with everything that you have written in its notebooks.

    A chapter that has changed is made anew, with your answers, your own cells and what you changed in its texts. The
    notebooks as they were are kept. Status 1 where one could not be put together: each is told, with the reason.

    Examples:

    - `attnlab update`
    - `attnlab update --from ../attention-lab-old`, where you downloaded a zip instead of cloning
    """
    from course import updating

    try:
        done = updating.bring(older, paths.ROOT) if older else updating.update(paths.ROOT)
    except updating.CannotUpdate as error:
        stop(str(error))
    except OSError as error:
        stop_at(error)
    except KeyboardInterrupt:
        note("Stopped. The same command goes on from here.")
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(_plain(done), ensure_ascii=False, indent=2))
    else:
        _tell(done, older)
    raise typer.Exit(1 if done.refused else 0)


def _tell(done: "Update", older: Path | None) -> None:
    if done.nothing_new:
        say.print("There is nothing to bring." if older else "The course is up to date.")
        return
    if done.commits:
        say.print(f"The course is up to date, with {_count(done.commits, 'change')}.")
    for name, carried in done.carried.items():
        what = [_count(len(carried.answers), "answer")] if carried.answers else []
        what += [_count(carried.other, "other cell")] if carried.other else []
        say.print(f"{name}: brought {' and '.join(what) or 'your outputs'}", markup=False, soft_wrap=True)
        for exercise in carried.asked_anew:
            say.print(f"  {exercise}: its task has been reworded; run its check again", soft_wrap=True)
        for exercise in carried.gone:
            say.print(f"  {exercise}: the course asks for it no more; your cell is still there", soft_wrap=True)
    for name, why in done.refused.items():
        note(f"{name}: {why}")
    if done.copies:
        say.print(f"As they were, they are in {paths.shown(done.copies)}.", markup=False, soft_wrap=True)
    if done.carried:
        say.print("A notebook that is open in JupyterLab: File › Reload Notebook from Disk.", soft_wrap=True)


def _plain(done: "Update") -> dict[str, object]:
    carried = {
        name: {"answers": one.answers, "other_cells": one.other, "asked_anew": one.asked_anew, "gone": one.gone}
        for name, one in done.carried.items()
    }
    copies = paths.shown(done.copies) if done.copies else None
    return {"commits": done.commits, "carried": carried, "refused": done.refused, "copies": copies}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
