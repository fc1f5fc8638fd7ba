"""The notebook that an instructor sees: the submission, made whole again, with what its cells gave and the verdicts.

It is what nbgrader's own pipeline would write: released cells as they were released, deleted ones put back, no cell
twice, nothing in it that could run in the instructor's browser.
"""

import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from autograder import panel
from autograder.judge import Verdict
from autograder.submission import Cell, cell_of, raw_cells

Json = dict[str, Any]
TAG = re.compile(r"<(?=[A-Za-z/!?])")
LINK = re.compile(r"(\]\s*[(:]\s*)([^\s)]*)")
HARMLESS = re.compile(
    r"<(/?)(details|summary|br|b|i|em|strong|sub|sup|code|kbd|p|ul|ol|li|table|thead|tbody|tr|td|th)\s*(/?)>",
    re.IGNORECASE,
)


class Source(Protocol):
    """A cell as it was released."""

    @property
    def grade_id(self) -> str: ...
    @property
    def cell_type(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def checksum(self) -> str | None: ...
    @property
    def locked(self) -> bool: ...
    @property
    def grade(self) -> bool: ...
    @property
    def solution(self) -> bool: ...
    @property
    def task(self) -> bool: ...
    @property
    def metadata(self) -> Json: ...


def whole(notebook: Any, released: Mapping[str, Source]) -> list[Json]:
    """The cells of a submission in notebook format 4: released cells as they were, each once, missing ones put back."""
    cells: list[Json] = []
    where: dict[str, int] = {}
    for raw in raw_cells(notebook) or ():
        if not isinstance(raw, dict) or raw.get("cell_type") not in ("code", "markdown", "raw", "heading"):
            continue
        read = cell_of(raw, len(cells))
        source = released.get(read.grade_id)
        if source is not None and read.grade_id not in where:
            where[read.grade_id] = len(cells)
            cells.append(_as_released(source, read.source))
        else:
            cells.append(_plain(str(raw["cell_type"]), read))
    previous = -1
    for name, source in released.items():
        if name in where:
            previous = where[name]
        elif source.grade or source.task:
            note = f"This cell (id:{name}) was missing from the submission. It was added back.\n\n"
            put = _as_released(source, "")
            put["source"] = ("# " if source.cell_type == "code" else "") + note + source.source
            previous += 1
            cells.insert(previous, put)
            where = {known: at + (at >= previous) for known, at in where.items()}
    taken: set[str] = set()
    for position, cell in enumerate(cells):
        name = cell["metadata"].get("nbgrader", {}).get("grade_id") or f"cell-{position}"
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60] or "cell"
        cell["id"] = slug if slug not in taken else f"{slug[:50]}-{position}"
        taken.add(cell["id"])
    return cells


def _as_released(source: Source, written: str) -> Json:
    text = source.source if source.locked or not (source.solution or source.task) else written
    if source.cell_type == "markdown":
        text = text if source.locked else harmless(text)
    return _cell(source.cell_type, text, {"nbgrader": source.metadata})


def _plain(kind: str, read: Cell) -> Json:
    """A cell that is the student's own, or a second copy of a released one."""
    tags = {"tags": list(read.tags)} if read.tags and all(re.fullmatch(r"[\w-]{1,40}", t) for t in read.tags) else {}
    return _cell("code", read.source, tags) if kind == "code" else _cell("markdown", harmless(read.source), tags)


def _cell(kind: str, source: str, metadata: Json) -> Json:
    cell: Json = {"cell_type": kind, "id": "", "metadata": metadata, "source": source}
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell


def harmless(text: str) -> str:
    """Markdown whose HTML shows as text, but for a few tags without attributes: it is shown where a session is open."""
    kept: list[str] = []
    start = 0
    for match in HARMLESS.finditer(text):
        kept += [TAG.sub("&lt;", text[start : match.start()]), f"<{match[1]}{match[2].lower()}{match[3]}>"]
        start = match.end()
    return LINK.sub(_harmless_link, "".join(kept) + TAG.sub("&lt;", text[start:]))


def _harmless_link(match: re.Match[str]) -> str:
    """A link as it stands, unless it leads to something else than a page."""
    target = re.sub(r"[\x00-\x20]", "", html.unescape(match[2])).lower()
    scheme = re.match(r"([^/?#]*):", target)
    if scheme is None or scheme[1] in ("http", "https", "mailto"):
        return match[0]
    return match[1] + "#taken-out-" + match[2].replace(":", "-").replace("&", "-")


def fill(cells: Sequence[Json], came: Iterable[Mapping[str, Any]], verdicts: Iterable[Verdict]) -> None:
    """Write into the cells what they gave, and into the test cells the verdicts."""
    running = (cell for cell in cells if runs(cell))
    for cell, result in zip(running, came, strict=False):
        cell["outputs"] = outputs(result)
    tests = {cell["metadata"]["nbgrader"]["grade_id"]: cell for cell in cells if is_test(cell)}
    for verdict in verdicts:
        if verdict.exercise.name in tests:
            tests[verdict.exercise.name]["outputs"] = verdict_outputs(verdict)


def runs(cell: Mapping[str, Any]) -> bool:
    """Whether grading needs this cell: test cells ask the judge, demonstrations define nothing."""
    return cell["cell_type"] == "code" and not is_test(cell) and "demo" not in cell["metadata"].get("tags", ())


def is_test(cell: Mapping[str, Any]) -> bool:
    marks = cell["metadata"].get("nbgrader", {})
    return cell["cell_type"] == "code" and bool(marks.get("grade")) and not marks.get("solution")


def outputs(came: Mapping[str, Any]) -> list[Json]:
    """What a cell printed and drew. Text and pictures only: HTML of a student's could run in the instructor's page."""
    found = [_printed(came["text"])] if came["text"] else []
    found += [{"output_type": "display_data", "metadata": {}, "data": data} for data in came["outputs"] if data]
    if came["failure"] and not came["text"]:
        found.append(_printed(came["failure"] + "\n"))
    return found


def verdict_outputs(verdict: Verdict) -> list[Json]:
    """The panel, and the points: nbgrader reads them off the first ``execute_result`` of a test cell."""
    shown = {"text/html": panel.page(verdict), "text/plain": panel.text(verdict)}
    points = {"text/plain": str(float(verdict.points))}
    return [
        {"output_type": "display_data", "metadata": {}, "data": shown},
        {"output_type": "execute_result", "metadata": {}, "data": points, "execution_count": None},
    ]


def _printed(text: str) -> Json:
    return {"output_type": "stream", "name": "stdout", "text": text}


def dumps(cells: Sequence[Json], kernelspec: str) -> str:
    """The notebook's file."""
    metadata = {"kernelspec": json.loads(kernelspec or "{}"), "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, ensure_ascii=False)


def checksum(cell: Mapping[str, Any]) -> str:
    """nbgrader's checksum of a cell: unchanged means that nothing was written."""
    marks = cell["metadata"]["nbgrader"]
    words = [cell["source"], cell["cell_type"], *(str(bool(marks[key])) for key in ("grade", "solution", "locked"))]
    words.append(marks["grade_id"])
    if marks["grade"]:
        words.append(str(float(marks["points"])))
    return hashlib.md5("".join(words).encode(), usedforsecurity=False).hexdigest()


def shown_name(name: str) -> str:
    """A name that came from outside, for a line on a screen: no escape sequences, no line breaks."""
    return "".join(letter if letter.isprintable() else "�" for letter in html.unescape(name))
