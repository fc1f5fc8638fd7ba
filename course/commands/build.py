"""``attnlab build``: notebooks from their sources."""

import os
from typing import Annotated

import typer

from course import paths
from course.console import Progress, app, complain, say, stop


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
