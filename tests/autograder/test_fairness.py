"""A right answer earns its points whatever became of the notebook around it."""

import json
import random

import pytest
from submissions import (
    LOG_SOFTMAX,
    NAMES,
    RIGHT,
    SEED,
    SOFTMAX,
    TEMPERATURE,
    VJP,
    cell,
    exercises,
    graded,
    notebook,
    points,
)

from autograder import panel, submission
from autograder.grading import grade

FULL = {"softmax": 6.0, "log_softmax": 5.0, "softmax_temperature": 6.0, "softmax_vjp": 6.0}


def nbgrader(name: str, **kind) -> dict:
    return {
        "nbgrader": {"grade": False, "locked": False, "solution": False, "grade_id": name, "schema_version": 3, **kind}
    }


def answer(source: str, name: str) -> dict:
    return cell(source, **nbgrader(f"{name}_answer", solution=True))


def test_cell(name: str) -> dict:
    return cell(f"check({name})", **nbgrader(name, grade=True, locked=True, points=6))


test_cell.__test__ = False  # a builder, not a test
WHOLE = [part for source, name in zip(RIGHT, NAMES, strict=True) for part in (answer(source, name), test_cell(name))]

ARRANGED = {
    "as handed out": notebook("from autograder import check", *WHOLE),
    "test cells deleted": notebook(*[c for c in WHOLE if not c["source"].startswith("check")]),
    "cells duplicated": notebook(*WHOLE, *WHOLE),
    "metadata lost": notebook(*RIGHT),
    "metadata lost, format 4.0": notebook(*RIGHT, minor=0),
    "pasted into one cell": notebook("\n".join(RIGHT)),
    "renamed cells": notebook(*[{**c, "id": f"x{i}", "metadata": nbgrader(f"wrong-{i}")} for i, c in enumerate(WHOLE)]),
    "test cells edited": notebook(*[{**c, "source": c["source"].replace("check(", "print(")} for c in WHOLE]),
    "helpers in other cells": notebook(
        "import numpy as np",
        "def top(x, a): return np.max(x, axis=a, keepdims=True)",
        SOFTMAX.replace("np.max(x, axis=axis, keepdims=True)", "top(x, axis)"),
        *RIGHT[1:],
    ),
    "a cell that raises first": notebook("1 / 0", "raise SystemExit", "exit()", "quit", "import nowhere", *RIGHT),
    "a cell that is no Python": notebook("dies ist kein Python", "def broken(:", *RIGHT),
    "input": notebook("name = input('your name? ')", *RIGHT),
    "magics": notebook(
        "%matplotlib inline\n%time 1 + 1",
        "%%timeit -n1 -r1\nx = 1",
        "!ls",
        "%%bash\nls",
        "%%time\n" + SOFTMAX.strip(),
        *RIGHT[1:],
    ),
    "plots": notebook("import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()", *RIGHT),
    "warnings": notebook("import warnings, sys\nwarnings.warn('careful')\nprint('x', file=sys.stderr)", *RIGHT),
    "warnings as errors": notebook("import warnings\nwarnings.simplefilter('error')", *RIGHT),
    "logging": notebook("import logging\nlogging.basicConfig()\nlogging.warning('a')", *RIGHT),
    "prints in the answer": notebook(SOFTMAX.replace("    e =", "    print('x' * 100)\n    e =", 1), *RIGHT[1:]),
    "prints megabytes": notebook("for i in range(300): print('x' * 100_000)", *RIGHT),
    "progress bar": notebook("from tqdm import tqdm\nfor _ in tqdm(range(10)): pass", *RIGHT),
    "other checks": notebook("from autograder import check, check_all", *RIGHT, "check(softmax)\ncheck_all()"),
    "plotting of ours": notebook("from attnlab import arrays, shapes\nimport attnlab", *RIGHT),
    "early stubs": notebook("def softmax(x, axis=-1):\n    raise NotImplementedError()", *RIGHT),
    "seeds": notebook("import numpy as np, torch\nnp.random.seed(3); torch.manual_seed(1)", *RIGHT),
    "other modes": notebook(
        "import torch, numpy as np\ntorch.set_default_dtype(torch.float64)\nnp.seterr(all='raise')",
        "torch.set_num_threads(2); torch.set_grad_enabled(False)\nnp.set_printoptions(precision=1)",
        *RIGHT,
    ),
    "lambdas": notebook(
        "import numpy as np\nsoftmax = lambda x, axis=-1: np.exp(x - np.max(x, axis, keepdims=True)) / "
        "np.exp(x - np.max(x, axis, keepdims=True)).sum(axis, keepdims=True)",
        *RIGHT[1:],
    ),
    "a callable object": notebook(
        SOFTMAX.replace("softmax", "plain"),
        "class S:\n    def __call__(self, x, axis=-1): return plain(x, axis)\nsoftmax = S()",
        *RIGHT[1:],
    ),
    "type hints": notebook(
        SOFTMAX.replace("(x, axis=-1):", "(x: np.ndarray, axis: int = -1) -> np.ndarray:"), *RIGHT[1:]
    ),
    "future import": notebook("from __future__ import annotations", *RIGHT),
    "async": notebook("import asyncio\nawait asyncio.sleep(0)", *RIGHT),
    "threads": notebook("import threading\nt = threading.Thread(target=print); t.start(); t.join()", *RIGHT),
    "empty cells": notebook("", "   \n", "# nothing", *RIGHT, ""),
    "source as lines": notebook(*[{**c, "source": c["source"].splitlines(keepends=True)} for c in WHOLE]),
    "windows line ends": notebook(*[{**c, "source": c["source"].replace("\n", "\r\n")} for c in WHOLE]),
    "old mac line ends": notebook(*[{**c, "source": c["source"].replace("\n", "\r")} for c in WHOLE]),
    "outputs of another kind": notebook(
        *[{**c, "outputs": [{"output_type": "odd"}], "execution_count": "x"} for c in WHOLE]
    ),
    "no metadata at all": {"cells": [{"cell_type": "code", "source": s} for s in RIGHT]},
    "format 3": {
        "nbformat": 3,
        "worksheets": [{"cells": [{"cell_type": "code", "input": s, "language": "python"} for s in RIGHT]}],
    },
    "format 3, as lines": {
        "nbformat": 3,
        "worksheets": [{"cells": [{"cell_type": "code", "input": s.splitlines(True)} for s in RIGHT]}],
    },
    "unknown members": {**notebook(*RIGHT), "extra": [1], "nbformat_minor": 99},
}


@pytest.mark.parametrize("content", ARRANGED.values(), ids=ARRANGED)
def test_a_right_answer_earns_its_points(content, tmp_path):
    assert points(tmp_path / "a.ipynb", content) == FULL


def test_a_byte_order_mark_and_unicode(tmp_path):
    whole = notebook("# ∑ exp: größer als 0 — 注意力 🎓", *RIGHT)
    path = tmp_path / "a.ipynb"
    assert points(path, b"\xef\xbb\xbf" + json.dumps(whole, ensure_ascii=False).encode()) == FULL
    assert points(path, json.dumps(whole, indent=2).replace("\n", "\r\n")) == FULL
    assert points(path, json.dumps(whole, ensure_ascii=False).encode("utf-16")) == FULL


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps(notebook("# größer"), ensure_ascii=False).encode("latin-1"), "not UTF-8"),
        (b"", "the file is empty; take an earlier copy"),
        (b"<html>Sign in</html>", "it is a web page: download the notebook itself"),
        (b"my homework", "take the file that JupyterLab saved"),
        (b"\x00\x01\x02", "not a notebook"),
        (b"PK\x03\x04" + bytes(range(128, 256)), "an archive, not a notebook; unpack it"),
        (b"\x89PNG\r\n\x1a\n\x00", "not UTF-8 text, as every notebook is; take the file that JupyterLab saved"),
        (b"[]", "no list of cells"),
        (b'{"cells": 3}', "no list of cells"),
        (b"[" * 100_000, "nested without end"),
        (b'{"cells": [', "not JSON (Expecting value); take an earlier copy"),
    ],
)
def test_a_file_that_is_no_notebook_is_told_in_a_sentence(content, words, tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_bytes(content)
    with pytest.raises(submission.SubmissionError) as error:
        submission.read(path)
    assert words in str(error.value)
    assert str(error.value).startswith(str(path))


def test_odd_cells_are_passed_over(tmp_path):
    odd = [
        None,
        3,
        {},
        {"cell_type": "code", "source": {"a": 1}},
        {"cell_type": "code", "source": [1, None]},
        {"cell_type": "code", "source": None, "metadata": []},
        {"cell_type": "markdown", "source": SOFTMAX},
    ]
    content = {"cells": [*odd, *({"cell_type": "code", "source": s} for s in RIGHT)], "nbformat": 4}
    assert points(tmp_path / "a.ipynb", content) == FULL


def test_one_wrong_answer_costs_nobody_else(tmp_path):
    wrong = SOFTMAX.replace("    e =", "    while True: pass\n    e =", 1)
    content = notebook(
        wrong, LOG_SOFTMAX, TEMPERATURE.replace("softmax(x / tau, axis)", "log_softmax(x / tau, axis)"), VJP
    )
    earned = points(tmp_path / "a.ipynb", content)
    assert earned["softmax"] == 0
    assert earned["log_softmax"] == FULL["log_softmax"]
    assert earned["softmax_temperature"] < FULL["softmax_temperature"]
    assert earned["softmax_vjp"] == FULL["softmax_vjp"]


def test_a_cell_that_ends_the_process_costs_itself():
    for deadly in ("import os; os._exit(0)", "import ctypes; ctypes.string_at(0)", "import os; os.abort()"):
        grading = graded(*RIGHT, deadly, "late = 1", names=NAMES)
        assert grading.points == sum(FULL.values()), deadly
        assert "ended the Python process" in grading.cells[4]["failure"]


def test_what_a_cell_printed_drew_and_raised_is_kept():
    cells = graded(
        "print('seen')", "1 / 0", "import matplotlib.pyplot as plt\nplt.plot([1, 2])", "6 * 7", "input('?')", *RIGHT
    ).cells
    assert cells[0]["text"] == "seen\n"
    assert "ZeroDivisionError" in cells[1]["text"]
    assert "ZeroDivisionError" in cells[1]["failure"]
    assert any("image/png" in output for output in cells[2]["outputs"])
    assert {"text/plain": "42"} in cells[3]["outputs"]
    assert "input" in cells[4]["failure"].lower()


def test_the_same_grade_alone_and_among_others_in_any_order():
    """Nothing of one submission is left for the next, and what is random starts from the same seed."""
    lucky = "import numpy as np\ndef softmax(x, axis=-1):\n    return np.random.rand(*x.shape)\n"
    dirty = "import numpy as np, builtins\nnp.exp = lambda x: x\nbuiltins.sum = max\nnp.random.seed(7)\n"
    people = [(SOFTMAX,), (lucky,), (dirty, SOFTMAX), (SOFTMAX.replace("np.max", "np.min"),), ("x = 1",)]
    alone = [_shown(graded(*cells)) for cells in people]
    order = random.Random(3).sample(range(len(people)), len(people)) * 2
    for index in order:
        assert _shown(graded(*people[index])) == alone[index]


def _shown(grading) -> list:
    return [panel.plain(verdict) for verdict in grading.verdicts]


def test_an_exercise_that_is_not_there_is_graded_as_missing():
    grading = grade(["x = 1"], exercises(), SEED)
    assert grading.points == 0
    assert all("There is no" in law.what for verdict in grading.verdicts for law in verdict.laws)


PROGRAMS = {
    "!": "!pip install numpy",
    "! with output": "files = !ls\nassert list(files) == []",
    "%pip": "%pip install numpy",
    "os.system": "import os\ntry:\n    os.system('ls')\nexcept OSError as error:\n    print(error)",
    "subprocess": "import subprocess\ntry:\n    subprocess.run(['ls'])\nexcept OSError as e:\n    print(e)",
    "%%bash": "%%bash\nls",
    "subprocess alone": "import subprocess\nsubprocess.run(['ls'])",
    "multiprocessing": "import multiprocessing\nmultiprocessing.get_context('fork').Process(target=print).start()",
}


@pytest.mark.parametrize("source", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_that_cannot_be_started_is_one_kind_sentence(source):
    """And what follows in the cell is defined, where the student's own Jupyter would have gone on."""
    goes_on = source in list(PROGRAMS.values())[:5]
    grading = graded(*([f"{source}\n{SOFTMAX}"] if goes_on else [source, SOFTMAX]))
    printed = grading.cells[0]["text"].strip().splitlines()
    assert printed[0] == "Starting other programs is not possible here; grading needs none."
    assert len(printed) == 1 + source.startswith("%pip")  # which says more
    assert grading.points == 6
