"""``attnlab progress``: how far the learner has come."""

import json
from typing import Annotated

import typer

from course.console import app, note, say, stop


@app.command()
def progress(
    what: Annotated[
        list[str] | None, typer.Argument(help="With --reset: exercises, or numbers of chapters.", metavar="WHAT")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget WHAT, or everything; notebooks stay.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the map as JSON.")] = False,
) -> None:
    """Show the map of the course: what the checks have ticked off on this computer, and what comes next.

    Examples:

    - `attnlab progress`
    - `attnlab progress --reset softmax`
    - `attnlab progress --reset 1`
    - `attnlab progress --reset`
    """
    from autograder import road

    if reset:
        _reset(what)
    elif what:
        how = f"`python lab.py progress --reset {what[0]}` forgets this one"
        stop(f"{what[0]}: the map shows all chapters at once; {how}")
    found = road.road()
    if as_json:
        print(json.dumps(found.plain(), ensure_ascii=False, indent=2))
        return
    say.print(found.text(), markup=False, soft_wrap=True)
    say.print(_where(), markup=False, soft_wrap=True, style="dim")


def _reset(what: list[str] | None) -> None:
    """Forget it, and say on standard error how much that was."""
    from autograder import record

    try:
        count = record.reset(None if what is None else {name for word in what for name in _exercises(word)})
    except OSError as error:
        stop(f"{record.place()}: cannot be changed ({error.strerror}); is the folder yours to write in?")
    note(f"Forgotten: {count} exercise{'' if count == 1 else 's'}. What you wrote in the notebooks is untouched.")


def _exercises(word: str) -> list[str]:
    """The exercises that are meant by a name, ``softmax``, or by a chapter, ``1`` or ``01_softmax``."""
    from autograder import catalogue

    if word in catalogue.by_name():
        return [word]
    number = word.partition("_")[0]
    found = catalogue.of_chapter(int(number)) if number.isdigit() else []
    if not found:
        stop(f"{word}: neither an exercise nor a chapter that is there; `python lab.py progress --json` lists them all")
    return [exercise.name for exercise in found]


def _where() -> str:
    from autograder import record
    from course import paths

    if place := record.place():
        return f"Kept in {paths.shown(place)}, and nowhere else."
    return f"No record is kept here, for {record.SETTING} is set to nothing."
