"""The reader's own pieces take the library's place, where there are any."""

import json

import pytest

from attnlab import pieces


def library_inner(x):
    return x


def library_outer(x):
    return library_inner(x)


LIBRARY = {"inner": library_inner, "outer": library_outer}
CHAPTERS = {"inner": 3, "outer": 4}


@pytest.fixture
def notebook(tmp_path):
    def write(chapter, *cells):
        folder = tmp_path / f"{chapter:02}_name"
        folder.mkdir()
        content = {"cells": [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]}
        (folder / f"{chapter:02}_name.ipynb").write_text(json.dumps(content), encoding="utf-8")

    return write


def test_a_piece_is_made_of_pieces(notebook, tmp_path, capsys):
    notebook(3, "STEP = 10", "%matplotlib inline", "def inner(x):\n    return x + STEP\n", "raise SystemExit")
    notebook(4, "from math import inf as inner", "def outer(x):\n    return 2 * inner(x)\n")
    mine = pieces.own(LIBRARY, CHAPTERS, tmp_path)
    assert mine["inner"](1) == 11
    assert mine["outer"](1) == 22  # of its own inner, whatever the second notebook imported
    assert capsys.readouterr().out.count("yours") == 2


def test_a_stub_leaves_the_library_in_place(notebook, tmp_path, capsys):
    notebook(3, "def inner(x):\n    raise NotImplementedError()\n")
    notebook(4, "def outer(x):\n    return 2 * inner(x)\n")
    mine = pieces.own(LIBRARY, CHAPTERS, tmp_path)
    assert mine["inner"] is library_inner
    assert mine["outer"](3) == 6
    assert "not solved yet in 03_name.ipynb" in capsys.readouterr().out


def test_without_notebooks_all_is_the_library(tmp_path, capsys):
    assert pieces.own(LIBRARY, CHAPTERS, tmp_path) == LIBRARY
    assert "no notebook of chapter 3" in capsys.readouterr().out


def test_a_piece_may_rest_on_one_that_is_not_asked_for(notebook, tmp_path):
    notebook(3, "def inner(x):\n    return 5\n")
    notebook(4, "from nowhere import nothing", "def outer(x):\n    return inner(x)\n")
    assert pieces.own({"outer": library_outer}, CHAPTERS, tmp_path)["outer"](1) == 5
