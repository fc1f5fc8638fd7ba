"""A chapter's notebook as it is released, made again from the solved one: what a damaged copy is mended by.

nbgrader's generate step makes the released notebooks, but a learner need not have nbgrader, and writes into the only
copy. A test holds that the two agree for every chapter.
"""

import json
import re
from pathlib import Path
from typing import Any

from autograder import autograded, catalogue, record

Json = dict[str, Any]
REGION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION$", re.MULTILINE | re.DOTALL)
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"


class NoOriginal(Exception):
    """There is nothing to mend a notebook by. The message says why, in a sentence."""


def released(chapter: int) -> Json:
    """The released notebook of a chapter, as plain data; ``NoOriginal`` where the course's folder does not have it."""
    module = catalogue.chapters().get(chapter)
    if module is None:
        raise NoOriginal(f"The course has no chapter {chapter} with exercises.")
    name = module.__name__.rpartition(".ch")[2]
    return of(record.COURSE / "solutions" / name / f"{name}.ipynb")


def of(path: Path) -> Json:
    """The released notebook of a solved one; ``NoOriginal`` where the file is none."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [_released(cell) for cell in notebook["cells"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise NoOriginal(f"{path}: cannot be read, so there is nothing to mend by; fetch the course anew.") from None
    metadata = {key: value for key, value in notebook["metadata"].items() if key != "attnlab"}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _released(cell: Json) -> Json:
    """A solved cell as the student finds it: the stub for the solution, nothing printed, nbgrader's marks."""
    made: Json = {**cell, "source": "".join(cell["source"]), "metadata": dict(cell["metadata"])}
    if cell["cell_type"] == "code":
        made |= {"outputs": [], "execution_count": None}
    marks = cell["metadata"].get("nbgrader")
    if marks is None:
        return made
    if marks["solution"]:
        made["source"] = REGION.sub(lambda found: _indented(found[1]), made["source"])
    made["metadata"]["nbgrader"] = {**marks, "cell_type": cell["cell_type"]}
    made["metadata"]["deletable"] = False
    if marks["locked"]:
        made["metadata"]["editable"] = False
    made["metadata"]["nbgrader"]["checksum"] = autograded.checksum(made)
    return made


def _indented(indent: str) -> str:
    return "\n".join(indent + line for line in STUB.split("\n"))
