"""What the commands share: the application they belong to, how they speak, how they show progress."""

from collections.abc import Callable
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

app = typer.Typer(
    name="attnlab",
    help="Attention Lab: open the course, check answers, grade submissions, build the notebooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
say = Console(highlight=False)
complain = Console(stderr=True, highlight=False)


def stop(sentence: str) -> NoReturn:
    """End with one sentence. Status 2: something that was given to us is wrong."""
    complain.print(f"attnlab: {sentence}", markup=False, soft_wrap=True)
    raise typer.Exit(2)


def note(sentence: str) -> None:
    """Something to know, while it goes on."""
    complain.print(sentence, markup=False, soft_wrap=True, style="yellow")


def stop_at(error: OSError) -> NoReturn:
    """End with what the system refused, of whichever file."""
    match error:
        case FileExistsError() | NotADirectoryError():
            why = "is a file, and a folder is needed there"
        case IsADirectoryError():
            why = "is a folder, and a file is needed there"
        case _:
            why = f"{error.strerror or error}; see that you may read and write there and that the disk is not full"
    stop(f"{error.filename or 'the disk'}: {why}")


class Progress:
    """How many are done, how long the rest will take, what happens now. On a pipe, a line for each that is done."""

    LAST = ("built", "up to date", "compared", "graded", "failed", "released", "collected", "written")

    def __init__(self, total: int):
        self.total, self.done = total, 0
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Bar(*columns, console=complain, transient=True) if complain.is_terminal else None

    def __enter__(self) -> Callable[[str, str], None]:
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task("…", total=self.total)
        return self.report

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def report(self, name: str, stage: str) -> None:
        self.done += stage in self.LAST
        if self.bar:
            self.bar.update(self.task, completed=self.done, description=escape(f"{name}: {stage}"))
        elif stage in self.LAST:
            complain.print(f"[{self.done}/{self.total}] {name}: {stage}", markup=False)
