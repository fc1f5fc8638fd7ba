"""What a student may read of how their answer was judged: everything but the numbers that it was judged with.

The inputs of graded checks come from a seed that the instructor keeps. The panel for the instructor says what was tried
and shows numbers of what came; from enough of them the inputs could be put together, or a short seed be guessed. Here:

- of what was tried, numbers that look drawn (three digits or more) are left out, and arrays of them say their shape;
- of a message, which a student's own exception may have filled with its arguments, likewise, and it is cut short;
- pictures keep their shades, in five steps, and the one number that the law's own sentence says.

The sentence of a law says one number that came and one that was expected; that much stays.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autograder.report.model import Law

LONGEST = 300
STEPS = 5
NUMBER = re.compile(r"[-−]?(?:\d*\.\d+(?:[eE][-+]?\d+)?|\d{5,})")
ARRAY = re.compile(r"\[[^\[\]]*\]")
SAYS = re.compile(r"^\s*(?:At \[[\d, ]*\] your|Your) result is \S+; expected is \S+\.", re.IGNORECASE)


def law(law: Law) -> Law:
    """A law as its student may see it."""
    return replace(law, said=tuple(sentence(words) for words in law.said), picture=picture(law.picture))


def sentence(words: str) -> str:
    """Without the numbers that were drawn."""
    says = SAYS.match(words)
    kept = says[0] if says and len(says[0]) < 120 else ""
    rest = words[len(kept) :]
    rest = NUMBER.sub(lambda found: "…" if _drawn(found[0]) else found[0], ARRAY.sub(_shape, rest))
    return kept + (rest if len(rest) <= LONGEST else rest[:LONGEST] + " …")


def _shape(found: re.Match[str]) -> str:
    """An array whose numbers were drawn, as its shape; one that was made by hand stays."""
    if not any(map(_drawn, NUMBER.findall(found[0]))):
        return found[0]
    return f"an array of shape ({found[0].count(',') + 1},)"


def _drawn(number: str) -> bool:
    """Whether a number looks drawn: nobody writes 0.3719 by hand, and everybody 0.25 and 0.001."""
    digits = re.sub(r"[eE].*|\D", "", number).lstrip("0")
    return len(digits) > 2


def picture(drawn: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Shades, and one number."""
    if drawn is None:
        return None
    mark = list(drawn["mark"])
    return {
        **drawn,
        **{
            title: [
                [
                    {
                        "shown": value["shown"] if [r, c] == mark or value["shade"] is None else "",
                        "shade": None if value["shade"] is None else round(value["shade"] * STEPS),
                    }
                    for c, value in enumerate(line)
                ]
                for r, line in enumerate(drawn[title])
            ]
            for title in ("yours", "expected")
        },
    }
