"""``attnlab book``: the web site."""

import os
import webbrowser
from typing import Annotated

import typer

from course import paths
from course.console import app, complain, note, say, stop

NO_CHINESE = (
    "This machine has no Chinese font, so the Chinese words of the glossary are empty boxes in the PDF. "
    "Install one (on Debian: sudo apt-get install fonts-wqy-microhei), and print it again."
)


@app.command()
def book(
    look: Annotated[bool, typer.Option("--open", help="Open it in the browser when it is built.")] = False,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print it as a PDF, too, with the Chromium of this machine.")
    ] = False,
) -> None:
    """Make the book, a web site that needs no network, from solutions/ as they stand: in book/_build/html.

    Examples:

    - `attnlab book`
    - `attnlab book --open`
    - `attnlab book --pdf`
    """
    from autograder.exercise import DeclarationError
    from course import book as maker
    from course import printing
    from course.source import BuildError

    try:
        with complain.status("making the book"):
            page = maker.build()
        if pdf:
            with complain.status("printing it"):
                printed = printing.pdf(page.parent)
    except (maker.BookError, BuildError, DeclarationError) as error:
        stop(str(error).replace(f"{paths.ROOT}{os.sep}", ""))
    say.print(f"The book is {paths.shown(page)}", markup=False, soft_wrap=True)
    if pdf:
        size = printed.path.stat().st_size / 1e6
        line = f"The PDF is {paths.shown(printed.path)}: {printed.pages} pages, {size:.0f} MB"
        say.print(line, markup=False, soft_wrap=True)
        if not printed.has_chinese:
            note(NO_CHINESE)
    if look:
        webbrowser.open(page.as_uri())
