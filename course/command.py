"""The ``attnlab`` command: importing a module of ``course.commands`` adds its word."""

import os

from course import paths
from course.commands import (
    book,
    build,
    check,
    collect,
    course,
    demo,
    doctor,
    export,
    feedback,
    grade,
    history,
    open,
    progress,
    release,
    report,
    update,
)
from course.console import app

__all__ = [
    "app",
    "book",
    "build",
    "check",
    "collect",
    "course",
    "demo",
    "doctor",
    "export",
    "feedback",
    "grade",
    "history",
    "main",
    "open",
    "progress",
    "release",
    "report",
    "update",
]


def main() -> None:
    """Run the command, under the name that was typed: ``attnlab``, or what lab.py says of itself."""
    paths.put_own_tools_first()
    app(prog_name=os.environ.get("ATTNLAB_CALLED", "attnlab"))
