"""What the commands share: the application they belong to, how they speak, how they show progress."""

from collections.abc import Callable
from typing import NoReturn

import typer
from rich.console import Console

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


class Progress:
    """One live line: how many are done, and what happens now. On a pipe, a line for each that is done."""

    LAST = ("built", "up to date", "compared", "graded", "released", "collected")

    def __init__(self, total: int):
        self.total, self.done = total, 0

    def __enter__(self) -> Callable[[str, str], None]:
        self.status = complain.status("…") if complain.is_terminal else None
        if self.status:
            self.status.start()
        return self.report

    def __exit__(self, *_: object) -> None:
        if self.status:
            self.status.stop()

    def report(self, name: str, stage: str) -> None:
        self.done += stage in self.LAST
        line = f"[{self.done}/{self.total}] {name}: {stage}"
        if self.status:
            self.status.update(line.replace("[", "\\[", 1))
        elif stage in self.LAST:
            complain.print(line, markup=False)
