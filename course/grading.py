"""A class into its gradebook, for ``attnlab grade``: progress while it runs, a summary, a status."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from autograder.autograded import shown_name
from autograder.classroom import Classroom, Event, GradebookError, Graded
from autograder.cluster import Cluster
from autograder.judge import VISIBLE_SEED
from autograder.version import version
from course.console import Progress, complain, note, say

STOPPED, REFUSED, BROKEN = 130, 2, 1


def grade_class(
    root: Path,
    assignments: Sequence[str],
    students: Sequence[str],
    force: bool,
    seed: int | None,
    jobs: int,
    database: str | None,
    as_json: bool,
    cluster: str | None = None,
    isolated: bool = False,
) -> int:
    """Grade what is new; the command's status. On a cluster, ``isolated`` is asked of its workers."""
    came: list[Graded] = []
    status = 0
    try:
        with Classroom(root, seed, database, tell=note) as classroom:
            if classroom.seed == VISIBLE_SEED:
                note("No seed is set: the inputs are the ones that every student can see. Give one with --seed.")
            books = classroom.books(assignments)
            total = len(classroom.waiting(books, students, force)[0])
            handed_in = sum(len(classroom.handed_in(name, students)) for name in books)
            judges = Cluster(cluster, note, isolated) if cluster else None
            with Progress(total) as report:
                try:
                    for result in classroom.grade(list(books), students, force, jobs, judges):
                        came.append(result)
                        name = f"{result.assignment} {shown_name(result.student)}"
                        report(name, "failed" if result.error else "graded")
                except KeyboardInterrupt:
                    status = STOPPED
            summary = _summary(classroom, came, total, handed_in, assignments)
    except GradebookError as error:
        complain.print(f"attnlab: {error}", markup=False, soft_wrap=True)
        return REFUSED
    if as_json:
        print(json.dumps(summary, ensure_ascii=False, indent=2))
    else:
        _print(summary, status == STOPPED)
    return status or (BROKEN if summary["failed"] else 0)


def _summary(
    classroom: Classroom, came: Sequence[Graded], total: int, handed_in: int, assignments: Sequence[str]
) -> dict[str, Any]:
    last = classroom.latest(assignments, verdicts=False)
    graded = [
        {
            "assignment": result.assignment,
            "student": shown_name(result.student),
            "points": result.points,
            "of": last[result.assignment, result.student].worth,
        }
        for result in came
        if not result.error
    ]
    failed = [
        {
            "assignment": result.assignment,
            "student": shown_name(result.student),
            "error": shown_name(result.error.replace(f"{classroom.root}/", "")),
        }
        for result in came
        if result.error
    ]
    return {
        "graded": graded,
        "failed": failed,
        "left": total - len(came),
        "unchanged": handed_in - total,
        "otherwise": sum(_is_other(event, classroom.seed) for event in last.values()),
        "unreleased": {} if assignments else classroom.unreleased(),
    }


def _is_other(event: Event, seed: int) -> bool:
    """Whether a grade stands that another seed or another version of the course gave."""
    return not event.error and (event.seed != seed or event.version != version())


def _print(summary: dict[str, Any], stopped: bool) -> None:
    table = Table(box=None, header_style="bold")
    table.add_column("assignment")
    for title in ("graded", "failed", "mean", "of"):
        table.add_column(title, justify="right")
    graded, failed = summary["graded"], summary["failed"]
    for name in sorted({row["assignment"] for row in [*graded, *failed]}):
        mine = [row for row in graded if row["assignment"] == name]
        broken = sum(row["assignment"] == name for row in failed)
        mean = f"{sum(row['points'] for row in mine) / len(mine):.1f}" if mine else "–"
        table.add_row(name, str(len(mine)), str(broken or ""), mean, f"{mine[0]['of']:g}" if mine else "–")
    if graded or failed:
        say.print(table)
    for row in failed:
        complain.print(f"{row['assignment']}, {row['student']}: {row['error']}", markup=False, style="red")
    if stopped:
        say.print(f"Stopped. {summary['left']} are left; give the same command again, and it goes on with them.")
    elif not graded and not failed:
        say.print(f"Nothing is new: all {summary['unchanged']} submissions are graded.")
    elif summary["unchanged"]:
        say.print(f"{summary['unchanged']} were graded before and have not changed.")
    if summary["otherwise"]:
        say.print(f"{summary['otherwise']} grades are from another seed or version; --force grades them anew.")
    for name, count in summary["unreleased"].items():
        complain.print(
            f"{count} handed in {shown_name(name)}, which the gradebook does not have; attnlab release "
            f"{shown_name(name)} enters it.",
            markup=False,
            soft_wrap=True,
            style="yellow",
        )
