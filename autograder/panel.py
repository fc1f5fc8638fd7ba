"""The panel that answers a check: each law, a tick or a cross, the diagnosis in words and a picture.

No scripts and no style sheet, so it looks the same in JupyterLab, Colab, nbgrader's feedback and the book; colours are
translucent, so it reads on white and on black. ``text`` says the same where HTML is not shown.
"""

import html
import re
from typing import Any

import numpy as np

from autograder.judge import Verdict
from autograder.laws import LawResult

GREEN, RED, GREY, BLUE = "#2a9d6f", "#d1495b", "#8a8f98", "#3b82c4"
MARK = {"pass": ("✓", GREEN, "holds"), "fail": ("✗", RED, "fails"), "todo": ("○", GREY, "not written yet")}
MARK["untried"] = ("–", GREY, "not tried")
SIDE = 6  # cells of a picture, at most, in each direction


def text(verdict: Verdict) -> str:
    """The panel in plain text."""
    lines = [f"{verdict.exercise.name}: {_headline(verdict)}"]
    for law in verdict.laws:
        lines.append(f"  {MARK[law.status][0]} {law.check.law} ({_points(law)})")
        if law.status in ("fail", "untried"):
            lines += [f"      {part}" for part in _words(law)]
    if verdict.diagnosis:
        perhaps = "" if verdict.certain else "Perhaps: "
        lines.append(f"  → {perhaps}{verdict.diagnosis.explanation}")
    return "\n".join(lines)


def plain(verdict: Verdict) -> dict[str, Any]:
    """The panel as plain data, for JSON."""
    laws = [
        {
            "check": law.check.name,
            "law": law.check.law,
            "status": law.status,
            "points": law.points,
            "of": law.check.points,
            "said": _words(law),
            "picture": picture(law),
        }
        for law in verdict.laws
    ]
    return {
        "exercise": verdict.exercise.name,
        "points": verdict.points,
        "of": verdict.exercise.points,
        "laws": laws,
        "misconception": verdict.diagnosis.name if verdict.diagnosis else None,
        "explanation": verdict.diagnosis.explanation if verdict.diagnosis else None,
        "certain": verdict.certain,
    }


def page(verdict: Verdict) -> str:
    """The panel in HTML."""
    colour = GREEN if verdict.passed else GREY if verdict.todo else RED
    rows = "".join(_row(law) for law in verdict.laws)
    diagnosis = ""
    if verdict.diagnosis:
        diagnosis = (
            f'<p style="margin:.6em 0 0;padding:.5em .8em;border-left:3px solid {BLUE};background:{BLUE}22">'
            f"<b>{'What happened?' if verdict.certain else 'Perhaps:'}</b> {inline(verdict.diagnosis.explanation)}</p>"
        )
    printed = ""
    if verdict.printed.strip():
        printed = (
            '<details style="margin-top:.6em"><summary>What your code printed during the check</summary>'
            f"<pre style='margin:.3em 0;white-space:pre-wrap'>{html.escape(verdict.printed[:2000])}</pre></details>"
        )
    return (
        f'<div role="region" aria-label="Check of {html.escape(verdict.exercise.name)}" style="max-width:50em;'
        f"border:1px solid {colour}88;border-left:5px solid {colour};border-radius:4px;padding:.6em .9em;"
        'line-height:1.45;font-size:14px">'
        f"<div><code>{html.escape(verdict.exercise.name)}</code> · <b>{html.escape(_headline(verdict))}</b></div>"
        f'<ul style="list-style:none;margin:.4em 0 0;padding:0">{rows}</ul>{diagnosis}{printed}</div>'
    )


def inline(words: str) -> str:
    """Escaped text in which `backticks` mark code and *asterisks* a word that is stressed."""
    parts = html.escape(words).split("`")
    if len(parts) % 2 == 0:
        return html.escape(words)
    stressed = [re.sub(r"\*(\w[^*]*\w)\*", r"<em>\1</em>", part) for part in parts]
    return "".join(
        f"<code>{part}</code>" if i % 2 else said for i, (part, said) in enumerate(zip(parts, stressed, strict=True))
    )


def _headline(verdict: Verdict) -> str:
    points = f"{verdict.points:g} of {verdict.exercise.points:g} points"
    if verdict.passed:
        return f"all {len(verdict.laws)} laws hold, {points}"
    if verdict.todo:
        return "not written yet: put your code where raise NotImplementedError() stands"
    held = sum(law.status == "pass" for law in verdict.laws)
    return f"{held} of {len(verdict.laws)} laws hold, {points}"


def _points(law: LawResult) -> str:
    return f"{law.points:g}/{law.check.points:g}"


def _words(law: LawResult) -> list[str]:
    tried = [f"Tried: `{law.tried}`."] if law.tried else []
    return [*tried, f"{law.what} {law.cause}".strip()]


def _row(law: LawResult) -> str:
    mark, colour, said = MARK[law.status]
    inner = ""
    if law.status in ("fail", "untried"):
        inner = "".join(f'<div style="margin-top:.2em">{inline(part)}</div>' for part in _words(law))
        inner = f'<div style="margin:.1em 0 .5em;text-indent:0">{inner}{_picture(law)}</div>'
    return (
        f'<li style="margin:.15em 0;padding-left:1.6em;text-indent:-1.6em">'
        f'<span style="color:{colour};font-weight:bold;display:inline-block;text-indent:0;width:1.2em" '
        f'role="img" aria-label="{said}">{mark}</span> {inline(law.check.law)} '
        f'<span style="opacity:.65">({_points(law)})</span>{inner}</li>'
    )


def picture(law: LawResult) -> dict[str, Any] | None:
    """Theirs beside the expected, around the first difference, as plain data: numbers as they are shown, and shades."""
    if (
        not law.index
        or law.got is None
        or law.want is None
        or np.shape(law.got) != np.shape(law.want)
        or np.size(law.want) < 2
    ):
        return None
    got, want, mark, labels = _window(np.asarray(law.got), np.asarray(law.want), law.index)
    finite = np.concatenate([a[np.isfinite(a)] for a in (got, want)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    tables = {
        name: [[{"shown": _short(value), "shade": _shade(value, low, high)} for value in line] for line in values]
        for name, values in (("yours", got), ("expected", want))
    }
    return {**tables, "mark": list(mark), "rows": list(labels[0]), "columns": list(labels[1])}


def _picture(law: LawResult) -> str:
    drawn = picture(law)
    if drawn is None:
        return ""
    tables = "".join(
        f'<div style="display:inline-block;margin:.4em 1.2em .2em 0;vertical-align:top"><div>{title}</div>'
        f"{_table(drawn, title)}</div>"
        for title in ("yours", "expected")
    )
    return f'<div style="overflow-x:auto">{tables}</div>'


def _window(
    got: np.ndarray, want: np.ndarray, index: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[int, int], tuple[range, range]]:
    """The two-dimensional slice, small enough to read, that holds the first difference."""
    got, want = got.astype(float), want.astype(float)
    if want.ndim == 1:
        got, want, index = got[None], want[None], (0, *index)
    got, want, (row, column) = got[index[:-2]], want[index[:-2]], index[-2:]
    spans = []
    for position, length in zip((row, column), want.shape, strict=True):
        start = max(0, min(position - SIDE // 2, length - SIDE))
        spans.append(range(start, min(length, start + SIDE)))
    cut = np.ix_(*spans)
    return got[cut], want[cut], (row - spans[0].start, column - spans[1].start), (spans[0], spans[1])


def _table(drawn: dict[str, Any], title: str) -> str:
    cell = "padding:.15em .45em;text-align:right;font-variant-numeric:tabular-nums;border:2px solid "
    faint = f"{cell}transparent;font-weight:normal;opacity:.6"
    head = "".join(f'<th scope="col" style="{faint}">{column}</th>' for column in drawn["columns"])
    rows = f"<tr><td></td>{head}</tr>"
    for r, line in enumerate(drawn[title]):
        rows += f'<tr><th scope="row" style="{faint}">{drawn["rows"][r]}</th>'
        for c, value in enumerate(line):
            border = RED if [r, c] == drawn["mark"] else "transparent"
            shade = f"{RED}55" if value["shade"] is None else f"rgba(59,130,196,{0.08 + 0.5 * value['shade']:.2f})"
            rows += f'<td style="{cell}{border};background:{shade}">{value["shown"]}</td>'
        rows += "</tr>"
    return f'<table style="border-collapse:separate;border-spacing:1px;font-size:12px;margin:0">{rows}</table>'


def _short(value: float) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.3g}".replace("-", "−")


def _shade(value: float, low: float, high: float) -> float | None:
    """From 0, the least number of the picture, to 1, the greatest; None for what is no finite number."""
    if not np.isfinite(value):
        return None
    return round((float(value) - low) / (high - low), 2) if high > low else 0.5
