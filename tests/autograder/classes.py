"""A small class in a real nbgrader course: the assignment, what was handed in, and what the gradebook says."""

import json
import os
import subprocess
import sys
from pathlib import Path

from submissions import RIGHT, SEED, SOFTMAX

from autograder import isolation
from autograder.classroom import Classroom

NAME = "lab"
ROOT = Path(isolation.COURSE)
CONFIG = f"from autograder.nbgrader import configure\nconfigure(get_config(), seed={SEED})\n"
WORTH = {"softmax": 6.0, "log_softmax": 5.0, "softmax_temperature": 6.0, "softmax_vjp": 6.0}
SOURCES = dict(zip(WORTH, RIGHT, strict=True))


def marks(grade_id: str, **kind) -> dict:
    plain = {
        "grade": False,
        "grade_id": grade_id,
        "locked": False,
        "schema_version": 3,
        "solution": False,
        "task": False,
    }
    return {"nbgrader": plain | kind}


def code(source: str, metadata: dict) -> dict:
    return {"cell_type": "code", "execution_count": None, "metadata": metadata, "outputs": [], "source": source}


def markdown(source: str, metadata: dict) -> dict:
    return {"cell_type": "markdown", "metadata": metadata, "source": source}


def lab(answers: dict[str, str], essay: str = "Write here.") -> dict:
    """The assignment: four exercises, and a question that a person grades."""
    cells = [code("import numpy as np\nfrom autograder import check", {})]
    for name, worth in WORTH.items():
        cells.append(code(answers.get(name, SOURCES[name]), marks(f"{name}_answer", solution=True)))
        cells.append(code(f"check({name})", marks(name, grade=True, locked=True, points=worth)))
    cells.append(markdown(essay, marks("essay", grade=True, solution=True, points=3)))
    cells = [{**cell, "id": f"cell-{i}"} for i, cell in enumerate(cells)]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def nbgrader(course: Path, *words: str, status: int = 0) -> str:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "lib"), str(ROOT)]),
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words], cwd=course, env=environment, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def hand_in(course: Path, student: str, notebook: dict | bytes, timestamp: str = "") -> Path:
    folder = course / "submitted" / student / NAME
    folder.mkdir(parents=True, exist_ok=True)
    data = notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode()
    (folder / f"{NAME}.ipynb").write_bytes(data)
    if timestamp:
        (folder / "timestamp.txt").write_text(timestamp)
    return folder


def graded(course: Path, **options) -> dict:
    with Classroom(course) as classroom:
        return {result.student: result for result in classroom.grade(NAME, **options)}


def book(course: Path) -> dict[str, dict[str, tuple]]:
    """The gradebook, as nbgrader reads it."""
    from nbgrader.api import Gradebook as Stock

    with Stock(f"sqlite:///{course / 'gradebook.db'}") as stock:
        return {
            s.student.id: {
                g.name: (g.auto_score, g.manual_score, g.score, g.needs_manual_grade)
                for n in s.notebooks
                for g in n.grades
            }
            | {f"{c.name}!": (c.auto_comment, c.manual_comment) for n in s.notebooks for c in n.comments}
            | {"late": s.late_submission_penalty, "score": s.score}
            for s in stock.find_assignment(NAME).submissions
        }


CLASS = {
    "anna": lab({}, essay="YOUR ANSWER HERE"),
    "ben": lab({"softmax": SOFTMAX.replace("np.max", "np.min")}, essay="Because <script>alert(1)</script> of exp."),
    "çelik": lab({"softmax": "def softmax(x, axis=-1):\n    raise NotImplementedError()"}),
    "dora": {"cells": [code(s, {}) for s in RIGHT], "metadata": {}, "nbformat": 4, "nbformat_minor": 4},
    "emil": {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": s} for s in RIGHT]}]},
    "finn": {**lab({}), "cells": [c for c in lab({})["cells"] for _ in range(2)]},
    "gül": {**lab({}), "cells": [c for c in lab({})["cells"] if not c["source"].startswith("check")]},
}  # fmt: skip
