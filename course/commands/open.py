"""``attnlab open``: the course in JupyterLab."""

from pathlib import Path
from typing import Annotated

import typer

from course import paths
from course.console import app, stop


@app.command("open")
def open_course(
    notebook: Annotated[Path | None, typer.Argument(help="Open this notebook in place of the start page.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser; without one, only print the address.")] = True,
    port: Annotated[int, typer.Option(help="The first port to try.")] = 8888,
) -> None:
    """Open the course in JupyterLab, at its start page: what is done, and what comes next.

    Examples:

    - `attnlab open`
    - `attnlab open notebooks/01_softmax/01_softmax.ipynb`
    """
    from course import desk

    page = notebook or desk.start_page()
    if not page.exists():
        stop(f"{page}: there is no such notebook; those of the course are in notebooks/")
    if not page.resolve().is_relative_to(paths.ROOT):
        stop(f"{page}: lies outside the course; copy it into notebooks/ to open it there")
    raise typer.Exit(desk.open_lab(page.resolve(), browser, port))
