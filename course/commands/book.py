"""``attnlab book``: the web site."""

import os
import webbrowser
from typing import Annotated

import typer

from course import paths
from course.console import app, complain, say, stop


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
