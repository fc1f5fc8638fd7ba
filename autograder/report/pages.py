"""HTML that asks nobody for anything: one file with its own style and script, and with nothing else that could run.

Jinja escapes every value, and the page's own policy lets the browser run only our script, known by its digest: what a
student wrote is shown, whatever it is.
"""

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from autograder import panel
from autograder.report import figures

TEMPLATES = Path(__file__).parent / "templates"
DARK = re.compile(r"@dark \{(.*?)\n\}", re.DOTALL)


def render(template: str, values: Mapping[str, Any], style: str, script: str) -> str:
    """A whole page."""
    css, js = _style(style), (TEMPLATES / script).read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_digest(css)}'; script-src 'sha256-{_digest(js)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = {"style": Markup(css), "script": Markup(js), "policy": policy}  # both are ours
    return _environment().get_template(template).render(**values, **page)


def write(path: Path, text: str) -> None:
    """Put a file in place, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    new.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    os.replace(new, path)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "code": lambda words: Markup(panel.inline(words)),  # escapes
        "percent": percent,
        "number": number,
        "moment": moment,
        "span": span,
        "plural": plural,
        "words": figures.in_words,
    }
    made.globals |= {"MARK": {status: (mark, said) for status, (mark, _, said) in panel.MARK.items()}}
    return made


@cache
def _style(name: str) -> str:
    """A style sheet; its ``@dark`` block holds at night, and whenever the reader says so."""
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8") + (TEMPLATES / name).read_text(encoding="utf-8")
    return DARK.sub(
        lambda block: (
            f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme='light']) {{{block[1]}\n}} }}\n"
            f":root[data-theme='dark'] {{{block[1]}\n}}"
        ),
        css,
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def percent(share: float) -> str:
    return f"{100 * share:.0f}\u2009%"


def number(value: float) -> str:
    """A number as people write it: no trailing zeros, two places at most."""
    return f"{round(value, 2) + 0.0:g}".replace("-", "−")


def moment(at: datetime | None) -> str:
    """In the time of the machine that makes the page; the page says which that is."""
    return f"{at.astimezone().day} {at.astimezone():%b %Y, %H:%M}" if at else "–"


def span(length: timedelta) -> str:
    """Such as ``2 days`` or ``5 hours``."""
    seconds = length.total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return plural(round(seconds / size), unit)
    return "less than a minute"


def plural(count: int, word: str) -> str:
    return f"{count:,}".replace(",", "\u2009") + f" {word}" + ("" if count == 1 else "s")
