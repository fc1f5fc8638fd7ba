"""The ``attnlab`` command: importing a module of ``course.commands`` adds its word."""

from course import paths
from course.commands import book, build, check, doctor, grade, history, open
from course.console import app

__all__ = ["app", "book", "build", "check", "doctor", "grade", "history", "main", "open"]


def main() -> None:
    """Run the command."""
    paths.put_own_tools_first()
    app()
