"""A chapter that the course has changed, and what a learner wrote in the older one: by cells, one notebook of both.

The cells are the newer course's, in its order. The learner's are the answers, every cell that the course has not, and
what the learner changed in a cell that the course left as it was. Where both changed a text, both stand there.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder import mending, submission

Json = dict[str, Any]


@dataclass
class Carried:
    """The notebook of both, and what of it is the learner's."""

    notebook: Json
    answers: list[str] = field(default_factory=list)
    other: int = 0  # cells
    asked_anew: list[str] = field(default_factory=list)  # answered, and the course has changed the stub since
    gone: list[str] = field(default_factory=list)  # answered, and the course asks no more

    def dumps(self) -> str:
        return mending.dumps(self.notebook)


def carry(path: Path, base: Json, newer: Json) -> Carried:
    """What the learner's notebook holds beyond ``base``, put into ``newer``; ``SubmissionError`` where it is none."""
    mine = mending.mend(submission.read(path), path.read_bytes(), whole(base)).notebook
    return _Carrier(mine, whole(base), whole(newer)).carried()


def whole(notebook: Json) -> Json:
    """A copy whose cells have their texts in one piece."""
    copy: Json = json.loads(json.dumps(notebook))
    for cell in copy["cells"]:
        cell["source"] = "".join(cell["source"])
    return copy


def same(one: Json, other: Json) -> bool:
    """Whether two notebooks say the same, whatever ran in them."""
    return _said(one) == _said(other)


def _said(notebook: Json) -> list[tuple[str, str]]:
    return [(cell["cell_type"], cell["source"].rstrip()) for cell in whole(notebook)["cells"]]


class _Carrier:
    def __init__(self, mine: Json, base: Json, newer: Json):
        self.mine, self.newer = mine, newer
        self.was = {cell["id"]: cell for cell in base["cells"]}
        self.becomes = {cell["id"]: cell for cell in newer["cells"]}
        self.result = Carried({})

    def carried(self) -> Carried:
        edited, after = self._sorted()
        cells = after[""]
        for cell in self.newer["cells"]:
            cells += [*self._both(cell, edited.get(cell["id"])), *after[cell["id"]]]
        mending.give_ids(cells)
        self.result.notebook = {**self.newer, "cells": cells, "metadata": self.mine["metadata"]}
        return self.result

    def _sorted(self) -> tuple[dict[str, Json], dict[str, list[Json]]]:
        """The learner's version of each of the course's cells, and the own cells behind each that stays."""
        edited: dict[str, Json] = {}
        after: dict[str, list[Json]] = defaultdict(list)
        known = dict(self._recognised())
        behind = ""
        for position, cell in enumerate(self.mine["cells"]):
            name = known.get(position, "")
            if name in self.becomes:
                edited[name], behind = cell, name
            elif not name or not _same(cell, self.was[name]):
                after[behind].append(self._own(cell, name))
        return edited, after

    def _recognised(self) -> Iterator[tuple[int, str]]:
        """Where a cell of the course is now: by its id, or by what it says where an editor has lost that."""
        left = dict(self.was)
        strangers = []
        for position, cell in enumerate(self.mine["cells"]):
            if cell["id"] in left:
                del left[cell["id"]]
                yield position, cell["id"]
            else:
                strangers.append(position)
        for position in strangers:
            for name, cell in left.items():
                if _same(cell, self.mine["cells"][position]):
                    del left[name]
                    yield position, name
                    break

    def _both(self, cell: Json, mine: Json | None) -> list[Json]:
        """A cell of the newer course, with what the learner made of it."""
        if mine is None:
            return [cell]
        was = self.was[cell["id"]]
        changed, kept = not _same(was, cell), {**mine, "id": cell["id"], "metadata": cell["metadata"]}
        if _same(mine, cell):
            return [kept]
        if _same(mine, was):
            return [cell]
        if _marks(cell).get("solution"):
            self._answered(_exercise(cell), changed)
            return [kept]
        self.result.other += 1
        return [cell, _plain(mine)] if changed else [kept]

    def _answered(self, exercise: str, changed: bool) -> None:
        self.result.answers.append(exercise)
        if changed:
            self.result.asked_anew.append(exercise)

    def _own(self, cell: Json, name: str) -> Json:
        """A cell that the newer course has not, without nbgrader's marks."""
        if name and _marks(cell).get("solution"):
            self.result.gone.append(_exercise(cell))
        self.result.other += 1
        return _plain(cell)


def _same(one: Json, other: Json) -> bool:
    return one["cell_type"] == other["cell_type"] and one["source"].strip() == other["source"].strip()


def _marks(cell: Json) -> Json:
    marks: Json = cell["metadata"].get("nbgrader", {})
    return marks


def _exercise(cell: Json) -> str:
    return str(_marks(cell)["grade_id"]).removesuffix("_answer")


def _plain(cell: Json) -> Json:
    ours = ("nbgrader", "deletable", "editable")
    return {**cell, "id": "", "metadata": {k: v for k, v in cell["metadata"].items() if k not in ours}}
