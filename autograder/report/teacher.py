"""The class report: one page for a teacher, from what the gradebook knows."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autograder import catalogue, submission
from autograder.classroom import Classroom
from autograder.report import figures, gather, pages
from autograder.report.model import Assignment, Pair, SchoolClass, Work

SAID = {
    "graded": "graded",
    "broken": "could not be graded",
    "waiting": "handed in, not graded yet",
    "missing": "nothing handed in",
}


@dataclass(frozen=True)
class Written:
    """A report that was made."""

    path: Path
    head: figures.Head
    held: Sequence[figures.Held]
    help: Sequence[figures.NeedsHelp]
    school: SchoolClass


def write_report(course: Path, out: Path, assignments: Sequence[str] = (), database: str | None = None) -> Written:
    """Read the class of a course and write its report, in these assignments or in all that were released."""
    with Classroom(course, database=database) as classroom:
        school = gather.school_class(classroom, assignments)
        school = replace(school, pairs=alike_pairs(classroom, school))
    pages.write(out, page(school))
    return Written(out, figures.head(school), figures.misconceptions(school), figures.needs_help(school), school)


def page(school: SchoolClass) -> str:
    """The report as HTML."""
    anchor = {student: f"student-{number}" for number, student in enumerate(school.people, 1)}
    head, held = figures.head(school), figures.misconceptions(school)
    values = {
        "school": school,
        "head": head,
        "held": held,
        "lead": lead(head, held),
        "several": len(school.assignments) > 1,
        "title": {assignment.name: assignment.title for assignment in school.assignments},
        "exercises": [(a, figures.exercises(a, school.of(a.name))) for a in school.assignments],
        "unexplained": figures.unexplained(school),
        "laws": figures.broken_laws(school),
        "times": [drawn for a in school.assignments if (drawn := times(a, school.of(a.name)))],
        "help": figures.needs_help(school),
        "help_rule": figures.HELP_RULE,
        "students": sorted(
            (student(school, one) for one in school.people), key=lambda s: (s["name"].casefold(), s["id"])
        ),
        "open_cards": OPEN_CARDS,
        "anchor": anchor,
        "name": lambda one: school.people[one].name,
        "said": SAID,
        "sections": SECTIONS,
        "least": _alike().LEAST,
        "share": _alike().SHARE,
        "zone": school.made.astimezone().tzname() or "this machine",
    }
    return pages.render("report.html", values, "report.css", "report.js")


OPEN_CARDS = 8  # misconceptions that are not folded away
SECTIONS = [  # id, title, whether it names students
    ("overview", "At a glance", False),
    ("exercises", "Exercises", False),
    ("misconceptions", "Misconceptions", False),
    ("laws", "Laws", False),
    ("times", "Times", False),
    ("help", "Help", True),
    ("alike", "Alike", True),
    ("students", "Students", True),
]


def _alike() -> Any:
    """copydetect brings matplotlib along, which takes its time: only who makes a report waits for it."""
    from autograder.report import alike

    return alike


def lead(head: figures.Head, held: Sequence[figures.Held]) -> str:
    """The report in a sentence or two."""
    if not head.people:
        return "Nobody is in this class yet."
    if not head.handed_in:
        return f"{pages.plural(head.people, 'student')}, and nothing is handed in yet."
    came = f"{head.handed_in} of {head.expected} submissions came in"
    if not head.graded:
        return f"{came}; none is graded yet."
    words = f"{came}, and those that are graded earned {pages.percent(head.share)} of their points."
    if held:
        first = held[0]
        whom = f"{first.count} of {pages.plural(first.graded, 'student')}"
        words += f" The misconception to talk about first: “{first.title.lower()}” in {first.exercise}, held by {whom}."
    return words


def student(school: SchoolClass, key: str) -> dict[str, Any]:
    """A row of the table of students, and what is folded below it."""
    works = school.by(key)
    graded = [work for work in works if work.state == "graded"]
    laws = [law for work in graded for outcome in work.outcomes for law in outcome.laws]
    points, worth = sum(w.points for w in graded), sum(w.worth for w in graded)
    states = [w.state for w in works]
    state = SAID[next((s for s in ("broken", "waiting", "missing") if s in states), "graded")]
    if len(works) > 1 and len(graded) < len(works):
        state = f"{len(graded)} of {len(works)} graded"
    late = sum(work.is_late for work in works)
    if late:
        state += ", late" if len(works) == 1 else f", {late} late"
    person = school.people[key]
    return {
        "id": key,
        "name": person.name,
        "search": f"{person.name} {key}".lower(),
        "works": works,
        "points": points,
        "worth": worth,
        "held": sum(law.status == "pass" for law in laws),
        "laws": len(laws),
        "state": state,
        "brief": f"{pages.number(points)} of {pages.number(worth)} points · {state}" if graded else state,
    }


# ------------------------------------------------------------------------------------------------- times, as a picture

WIDTH, HEIGHT = 960, 120


def times(assignment: Assignment, works: Sequence[Work]) -> dict[str, Any] | None:
    """The histogram's columns, in the units of its drawing, and the sentence that says the same."""
    bins, width = figures.histogram(works, assignment.due)
    if not bins:
        return None
    column = min(WIDTH / len(bins), 80.0)
    most = max(b.count for b in bins)
    columns = [
        {
            "x": round(i * column + 1, 1),
            "ontime": round((b.count - b.late) / most * HEIGHT, 1),
            "late": round(b.late / most * HEIGHT, 1),
            "label": b.count or "" if column > 18 else b.count if b.count == most else "",
        }
        for i, b in enumerate(bins)
    ]
    whole = round(column * len(bins), 1)
    due = (assignment.due - bins[0].start) / width * column if assignment.due else None
    if due is not None and not 0 <= due <= whole:
        due = None
    moments = [work for work in works if work.at is not None]
    return {
        "assignment": assignment,
        "bins": bins,
        "columns": columns,
        "column": round(max(column - 2, 1), 1),
        "width": max(whole, 480),
        "ticks": [(0, pages.moment(bins[0].start), "start"), (whole, pages.moment(bins[-1].start + width), "end")],
        "due": None if due is None else round(due, 1),
        "due_x": None if due is None else round(due + (4 if due < 60 else -4 if due > whole - 60 else 0), 1),
        "due_anchor": "start"
        if due is not None and due < 60
        else "end"
        if due is not None and due > whole - 60
        else "middle",
        "summary": _summary(assignment, moments, bins, width),
    }


def _summary(assignment: Assignment, works: Sequence[Work], bins: Sequence[figures.Bin], width: timedelta) -> str:
    late = sum(work.is_late for work in works)
    words = f"{len(works)} handed in, each column {pages.span(width)}."
    if assignment.due is None:
        return words + " No due date is set."
    last_day = sum(
        assignment.due - timedelta(days=1) < work.at <= assignment.due
        for work in works
        if isinstance(work.at, datetime)
    )
    return words + f" {last_day} came in the last 24 hours before it was due, {late} after it."


# --------------------------------------------------------------------------------------------------------------- alike


def alike_pairs(classroom: Classroom, school: SchoolClass) -> list[Pair]:
    """Answers that look alike, in each assignment, read from what was handed in."""
    alike = _alike()
    by_name = catalogue.by_name()
    found = []
    for assignment in school.assignments:
        given, solved = (_sources(gather.released_cells(classroom, assignment.name, solved=s)) for s in (False, True))
        known = alike.expected([*given, *solved], [by_name[n] for n in assignment.exercises if n in by_name])
        written = []
        for handed in classroom.handed_in(assignment.name):
            cells: list[str] = []
            for path in sorted(handed.folder.glob("*.ipynb")):
                with suppress(submission.SubmissionError):  # it is among those that could not be graded
                    cells += submission.read(path).sources
            written.append(alike.Written(handed.student, alike.own_text(cells, given)))
        found += alike.pairs(assignment.name, written, known)
    return found


def _sources(cells: Sequence[dict[str, Any]]) -> list[str]:
    return [submission.cell_of(cell, 0).source for cell in cells if cell.get("cell_type") == "code"]


# ---------------------------------------------------------------------------------------------------------------- JSON


def plain(written: Written) -> dict[str, Any]:
    """The report's numbers, for ``--json``."""
    school = written.school
    return {
        "report": str(written.path),
        "course": school.title,
        "made": school.made.isoformat(),
        "head": {**asdict(written.head), "share": written.head.share},
        "assignments": [
            {
                "name": a.name,
                "title": a.title,
                "due": a.due.isoformat() if a.due else None,
                "worth": a.worth,
                "exercises": [{**asdict(e), "rate": e.rate} for e in figures.exercises(a, school.of(a.name))],
            }
            for a in school.assignments
        ],
        "misconceptions": [{**_without(asdict(m), "code"), "share": m.share} for m in written.held],
        "unexplained": [
            {"assignment": assignment, "exercise": exercise, "students": students}
            for (assignment, exercise), students in figures.unexplained(school).items()
        ],
        "laws": [{**asdict(law), "share": law.share} for law in figures.broken_laws(school)],
        "needs_help": [asdict(one) for one in written.help],
        "alike": [{"assignment": p.assignment, "students": p.students, "shares": p.shares} for p in school.pairs],
        "students": [
            {
                "student": work.student,
                "assignment": work.assignment,
                "state": work.state,
                "handed_in": work.at.isoformat() if work.at else None,
                "late_seconds": work.late.total_seconds(),
                "points": work.points,
                "worth": work.worth,
                "error": work.error,
            }
            for work in school.works
        ],
    }


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}
