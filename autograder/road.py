"""The map of the course as a learner sees it: what is done, what comes next, how long it takes.

One ``Road`` is shown in three places: ``progress()`` in a notebook, the start page, ``attnlab progress``.
"""

import html
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from autograder import catalogue, record
from autograder.exercise import Exercise
from autograder.panel import BLUE, GREEN, GREY, inline

State = Literal["done", "started", "open"]
SIGNS = {"done": ("●", GREEN), "started": ("◐", BLUE), "open": ("○", GREY)}
HEADING = re.compile(r"^# # (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """An exercise, and how far the learner has come with it."""

    exercise: Exercise
    best: record.Mark | None = None

    @property
    def state(self) -> State:
        return "open" if self.best is None else "done" if self.best.done else "started"

    @property
    def points(self) -> float:
        """The best that a check found; of an exercise that has changed since, in proportion."""
        return self.best.points / self.best.of * self.exercise.points if self.best and self.best.of else 0.0

    @property
    def renewed(self) -> bool:
        """Whether it was done when it still asked for something else."""
        return self.state == "done" and self.best is not None and self.best.laws != record.laws_of(self.exercise)


@dataclass(frozen=True)
class Stretch:
    """A chapter."""

    number: int
    name: str  # 01_softmax
    title: str
    steps: tuple[Step, ...]

    @property
    def begun(self) -> bool:
        return any(step.state != "open" for step in self.steps)

    @property
    def done(self) -> bool:
        return all(step.state == "done" for step in self.steps)

    @property
    def points(self) -> float:
        return sum(step.points for step in self.steps)

    @property
    def worth(self) -> float:
        return sum(step.exercise.points for step in self.steps)

    @property
    def minutes_left(self) -> int:
        return sum(step.exercise.minutes for step in self.steps if step.state != "done")

    @property
    def notebook(self) -> str:
        """Below ``notebooks/``."""
        return f"{self.name}/{self.name}.ipynb"


@dataclass(frozen=True)
class Road:
    """All chapters, and the exercise that was worked on last."""

    stretches: tuple[Stretch, ...]
    last: str = ""

    @property
    def next(self) -> tuple[Stretch, Step] | None:
        """On in the chapter that was worked on last, then in those after it, then in those that were left out."""
        at = next((i for i, s in enumerate(self.stretches) if any(t.exercise.name == self.last for t in s.steps)), 0)
        for stretch in (*self.stretches[at:], *self.stretches[:at]):
            for step in stretch.steps:
                if step.state != "done":
                    return stretch, step
        return None

    def total(self) -> str:
        """``3 of 58 exercises done, 12 of 416 points; about 14 hours of exercises are left.``"""
        steps = [step for stretch in self.stretches for step in stretch.steps]
        done, worth = sum(step.state == "done" for step in steps), sum(s.worth for s in self.stretches)
        said = f"{done} of {len(steps)} exercises done, {sum(s.points for s in self.stretches):.3g} of {worth:g} points"
        left = sum(stretch.minutes_left for stretch in self.stretches)
        return f"{said}; {_duration(left)} of exercises left." if left else f"{said}. You have built all of it."

    def greeting(self) -> str:
        """What stands above, where there is something to say."""
        if not self.last:
            return "Nothing is ticked off yet: what your checks find will show here, on this computer and nowhere else."
        renewed = [s.exercise.name for stretch in self.stretches for s in stretch.steps if s.renewed]
        if renewed:
            names = ", ".join(f"`{name}`" for name in renewed)
            return f"Renewed since you did them: {names}. They stay done; check them again if you like."
        return ""

    def page(self, to_notebooks: str | None = "../") -> str:
        """The map in HTML, without scripts and style sheets. None: without links."""

        def link(stretch: Stretch, words: str, fragment: str = "") -> str:
            shown = html.escape(words)
            if to_notebooks is None:
                return shown
            return f'<a href="{html.escape(to_notebooks + stretch.notebook + fragment)}">{shown}</a>'

        parts = []
        if found := self.next:
            stretch, step = found
            # A chapter that has not been begun is read from its head.
            place = _place_of(step.exercise, stretch) if stretch.begun else ""
            there = link(stretch, step.exercise.name, place)
            parts.append(
                f'<p style="margin:.2em 0 .8em;padding:.6em .9em;border-left:5px solid {BLUE}">'
                f"<b>Next:</b> {there} in {html.escape(stretch.title)}, about {step.exercise.minutes} minutes.</p>"
            )
        if greeting := self.greeting():
            parts.append(f'<p style="margin:.4em 0">{inline(greeting)}</p>')
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left;font-weight:normal">{link(s, s.title)}</th>'
            f'<td style="text-align:left;white-space:nowrap">{"".join(map(_dot, s.steps))}</td>'
            f'<td style="text-align:right">{s.points:.3g} of {s.worth:g}</td>'
            f'<td style="text-align:right">{_left(s)}</td></tr>'
            for s in self.stretches
        )
        head = "".join(
            f'<th scope="col" style="text-align:{side}">{word}</th>'
            for word, side in (
                ("Chapter", "left"),
                ("Exercises", "left"),
                ("Points", "right"),
                ("Minutes left", "right"),
            )
        )
        legend = " · ".join(f"{sign} {state}" for state, (sign, _) in SIGNS.items())
        return (
            '<div role="region" aria-label="Your way through the course" style="line-height:1.45;font-size:14px">'
            f'{"".join(parts)}<table style="margin:.6em 0;font-size:14px"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table>"
            f'<p style="margin:.4em 0">{html.escape(self.total())} {legend}</p></div>'
        )

    def text(self) -> str:
        """The same for a terminal."""
        lines = []
        if found := self.next:
            stretch, step = found
            lines.append(f"Next: {step.exercise.name} in {stretch.title}, about {step.exercise.minutes} minutes")
            lines += [f"      notebooks/{stretch.notebook}", ""]
        if greeting := self.greeting():
            lines += [greeting, ""]
        wide, most = (
            max((size(s) for s in self.stretches), default=0)
            for size in (lambda s: len(s.title), lambda s: len(s.steps))
        )
        for s in self.stretches:
            signs = "".join(SIGNS[step.state][0] for step in s.steps)
            points = f"{s.points:.3g} of {s.worth:g} points"
            lines.append(f"  {s.title:{wide}}  {signs:{most}}  {points:>16}  {_left(s, ' minutes left')}")
        return "\n".join([*lines, "", self.total()])

    def plain(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        found = self.next
        return {
            "next": found and {"exercise": found[1].exercise.name, "notebook": f"notebooks/{found[0].notebook}"},
            "chapters": [
                {
                    "chapter": s.number,
                    "title": s.title,
                    "notebook": f"notebooks/{s.notebook}",
                    "points": round(s.points, 6),
                    "of": s.worth,
                    "minutes_left": s.minutes_left,
                    "exercises": [
                        {
                            "exercise": step.exercise.name,
                            "state": step.state,
                            "points": round(step.points, 6),
                            "of": step.exercise.points,
                            "minutes": step.exercise.minutes,
                            "renewed": step.renewed,
                            "last_best": step.best.at if step.best else None,
                        }
                        for step in s.steps
                    ],
                }
                for s in self.stretches
            ],
        }

    def _repr_html_(self) -> str:
        return self.page(None if "google.colab" in sys.modules else "../")

    def __repr__(self) -> str:
        return self.text()


def road(marks: Sequence[record.Mark] | None = None) -> Road:
    """Every chapter that is there, and the best that was ever found for each exercise: by the record, or by these."""
    known = record.read() if marks is None else marks
    marks = [mark for mark in known if mark.exercise in catalogue.by_name()]
    best: dict[str, record.Mark] = {}
    for mark in marks:
        if mark.exercise not in best or _share(mark) >= _share(best[mark.exercise]):
            best[mark.exercise] = mark
    return Road(tuple(_stretches(best)), marks[-1].exercise if marks else "")


def _stretches(best: dict[str, record.Mark]) -> Iterator[Stretch]:
    for number, module in sorted(catalogue.chapters().items()):
        name = module.__name__.rpartition(".ch")[2]
        steps = tuple(Step(exercise, best.get(exercise.name)) for exercise in catalogue.of_chapter(number))
        yield Stretch(number, name, _title(name), steps)


def _title(name: str) -> str:
    """As the chapter's source has it, or, without one, made of its name."""
    try:
        found = HEADING.search((record.COURSE / "chapters" / f"{name}.py").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    return found[1] if found else f"{int(name[:2])} · {name[3:].replace('_', ' ').capitalize()}"


def _place_of(exercise: Exercise, stretch: Stretch) -> str:
    """Where in its notebook the exercise begins, as JupyterLab names it in an address: the id of that cell."""
    try:
        notebook = json.loads((record.COURSE / "notebooks" / stretch.notebook).read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown" and f"### Exercise: `{exercise.name}`" in "".join(cell["source"]):
                return f"#cell-id={quote(cell['id'])}"
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the notebook opens at its beginning
    return ""


def _share(mark: record.Mark) -> float:
    return mark.points / mark.of if mark.of else 0.0


def _dot(step: Step) -> str:
    sign, colour = SIGNS[step.state]
    said = f"{step.exercise.name}: {step.state}"
    return f'<span role="img" aria-label="{said}" title="{said}" style="color:{colour}">{sign}</span> '


def _left(stretch: Stretch, words: str = "") -> str:
    return "done" if stretch.done else f"{stretch.minutes_left}{words}"


def _duration(minutes: int) -> str:
    if minutes < 90:
        return f"about {minutes} minutes"
    return f"about {round(minutes / 60)} hours"
