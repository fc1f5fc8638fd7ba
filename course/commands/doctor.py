"""``attnlab doctor``: what keeps a submission from this machine."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from course.console import app, say, stop


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Say what keeps a submission from this machine: one of ours tries to get out. Status 1 where it can.

    Examples:

    - `attnlab doctor`
    - `attnlab doctor --json`
    """
    from autograder.doctor import examine

    health = examine()
    if as_json:
        layers = asdict(health.layers)
        print(json.dumps({"isolated": health.isolated, "layers": layers, "escapes": health.escapes}, indent=2))
    else:
        say.print(f"In force: {health.layers}.", markup=False)
        for sentence in health.layers.sentences():
            say.print(f"  {sentence}", markup=False)
        for escape in health.escapes:
            say.print(f"  ✗ A submission of ours {escape}.", style="red", markup=False)
        if health.isolated:
            say.print("A submission that tried to get out did not.", style="green")
    raise typer.Exit(0 if health.isolated else 1)


def refuse_without_isolation() -> None:
    from autograder.doctor import examine

    health = examine()
    if not health.isolated:
        stop(
            f"--require-isolation: here a submission has {health.layers}"
            + (f", and {'; '.join(health.escapes)}" if health.escapes else "")
            + "; grade on Linux, or in a container that allows namespaces or Landlock"
        )
