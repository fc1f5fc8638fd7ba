"""What Colab and editors do to a notebook: told, mended without losing a line, and then no more to mend."""

import copy
import json
from pathlib import Path

import nbformat
import pytest
from submissions import LOG_SOFTMAX, NAMES, RIGHT, SOFTMAX, points

from autograder import catalogue, mending, original, submission
from autograder.names import defined_in, hidden_in

FULL = {"softmax": 6.0, "log_softmax": 5.0, "softmax_temperature": 6.0, "softmax_vjp": 6.0}
ANSWERS = dict(zip(NAMES, RIGHT, strict=True))
COURSE = Path(original.__file__).parent.parent


@pytest.fixture
def solved() -> dict:
    """Chapter 1 as a student has it who has solved everything in JupyterLab."""
    notebook = original.released(1)
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cell["source"] = ANSWERS[cell["metadata"]["nbgrader"]["grade_id"].removesuffix("_answer")]
    return notebook


def at(notebook: dict, grade_id: str) -> int:
    ids = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in notebook["cells"]]
    return ids.index(grade_id)


def lose_all_marks(n):
    for cell in n["cells"]:
        cell["metadata"] = {}


def as_colab_saves(n):
    n["nbformat_minor"], n["metadata"] = 0, {"colab": {"provenance": []}, "kernelspec": n["metadata"]["kernelspec"]}
    for cell in n["cells"]:
        cell["metadata"] = {"id": cell.pop("id"), "outputId": "x"}


def delete_checks(n):
    n["cells"] = [c for c in n["cells"] if not c["metadata"].get("nbgrader", {}).get("grade")]


def delete_an_answer(n):
    del n["cells"][at(n, "softmax_vjp_answer")]


def duplicate(n):
    i = at(n, "softmax_answer")
    n["cells"][i + 2 : i + 2] = copy.deepcopy(n["cells"][i : i + 2])


def change_ids(n):
    for cell in n["cells"]:
        if "nbgrader" in cell["metadata"]:
            cell["metadata"]["nbgrader"]["grade_id"] += "-copy"


def swap_ids(n):
    one, two = (n["cells"][at(n, f"{name}_answer")]["metadata"]["nbgrader"] for name in NAMES[:2])
    one["grade_id"], two["grade_id"] = two["grade_id"], one["grade_id"]


def write_into_a_check(n):
    n["cells"][at(n, "softmax")]["source"] += "\nprint(softmax(np.ones(3)))  # mine"


def edit_a_law(n):
    cell = n["cells"][at(n, "softmax")]
    cell["source"] = "\n".join(cell["source"].splitlines()[1:])


def turn_into_text(n):
    cell = n["cells"][at(n, "log_softmax_answer")]
    cell["cell_type"] = "markdown"
    del cell["outputs"], cell["execution_count"]


def put_all_into_one_cell(n):
    lose_all_marks(n)
    n["cells"] = [c for c in n["cells"] if not defined_in(c["source"]) & set(NAMES)]
    n["cells"].insert(4, {"cell_type": "code", "metadata": {}, "source": "\n".join(RIGHT), "id": "one"})


def end_lines_as_on_windows(n):
    for cell in n["cells"]:
        cell["source"] = cell["source"].replace("\n", "\r\n")


def leave_parts_out(n):
    n["cells"] = [{k: c[k] for k in ("cell_type", "source", "metadata")} for c in n["cells"]]
    n["cells"][0]["extra"], n["metadata"] = 1, None


def go_back_to_format_3(n):
    cells = [
        {"cell_type": "code", "input": c["source"], "language": "python", "outputs": [], "prompt_number": 2}
        if c["cell_type"] == "code"
        else {"cell_type": "markdown", "source": c["source"]}
        for c in n.pop("cells")
    ]
    cells.append({"cell_type": "heading", "level": 2, "source": "Mine"})
    n.update(worksheets=[{"cells": cells}], nbformat=3, nbformat_minor=0, metadata={"name": ""})


def same_cell_ids(n):
    for cell in n["cells"]:
        cell["id"] = "a b"


def lose_tags(n):
    for cell in n["cells"]:
        cell["metadata"].pop("tags", None)


DAMAGE = {
    lose_all_marks: "`softmax_answer`, has lost its marks for nbgrader",
    as_colab_saves: "in format 4.0, where the course's are in 4.5",
    delete_checks: "The cell with the check of `softmax_vjp` is missing.",
    delete_an_answer: "The cell with the answer of `softmax_vjp` is missing.",
    duplicate: "is a second cell marked as `softmax` for nbgrader",
    change_ids: "has other marks than were released",
    swap_ids: "has other marks than were released",
    write_into_a_check: "the check of `softmax`, is not as it was released",
    edit_a_law: "the check of `softmax`, is not as it was released",
    turn_into_text: "`log_softmax_answer`, was a code cell and is a markdown cell",
    put_all_into_one_cell: "has lost its marks",
    end_lines_as_on_windows: "Lines end as on Windows",
    leave_parts_out: "Some cells have no id, or the same one.",
    go_back_to_format_3: "in format 3.0",
    same_cell_ids: "Some cells have no id, or the same one.",
    lose_tags: "lost the tags that say what only shows something",
}


def mended(path: Path) -> mending.Mended:
    return mending.mend(submission.read(path), path.read_bytes(), original.released(1))


def lines_of(notebook: dict) -> set[str]:
    cells = submission.raw_cells(notebook) or []
    text = "\n".join(submission.cell_of(cell, 0).source for cell in cells)
    return {line.strip() for line in text.splitlines() if line.strip()}


def valid_for_nbgrader(notebook: dict, tmp_path: Path) -> list[str]:
    """What nbformat and nbgrader say of it: the ids of the graded cells."""
    from nbgrader.nbgraderformat import MetadataValidator

    whole = nbformat.from_dict(notebook)
    nbformat.validate(whole)
    MetadataValidator().validate_nb(whole)
    marks = [c.metadata.nbgrader for c in whole.cells if "nbgrader" in c.metadata]
    ids = [m.grade_id for m in marks]
    assert len(set(ids)) == len(ids)
    return [m.grade_id for m in marks if m.grade]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: d.__name__)
def test_damage_is_told_and_mended_and_then_there_is_none(damage, solved, tmp_path):
    damage(solved)
    path = tmp_path / "a.ipynb"
    data = json.dumps(solved).encode()
    path.write_bytes(data)
    came = mended(path)
    assert any(DAMAGE[damage] in note for note in came.notes), came.notes
    backup = mending.repair(path, data, came)
    assert backup.read_bytes() == data
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert lines_of(solved) - {"Mine"} <= lines_of(whole)
    assert valid_for_nbgrader(whole, tmp_path) == list(NAMES)
    assert mended(path).notes == [] and mended(path).notebook == whole
    for cell in whole["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        assert not name.endswith("_answer") or name.removesuffix("_answer") in defined_in(cell["source"])
    wanted = FULL | ({"softmax_vjp": 0.0} if damage is delete_an_answer else {})
    assert points(path, path.read_bytes()) == wanted


def test_what_an_editor_puts_before_the_file_is_taken_away(solved, tmp_path):
    for mark, coding in ((b"\xef\xbb\xbf", "utf-8"), (b"", "utf-16")):
        path = tmp_path / f"{coding}.ipynb"
        path.write_bytes(mark + json.dumps(solved).encode(coding))
        came = mended(path)
        assert came.notes == [
            "The file begins with a byte order mark, which JupyterLab does not read; an editor put it there."
        ]
        mending.repair(path, path.read_bytes(), came)
        assert path.read_bytes().startswith(b"{") and b"\r" not in path.read_bytes() and mended(path).notes == []


@pytest.mark.parametrize("chapter", catalogue.chapters())
def test_a_healthy_notebook_is_left_alone_and_the_original_is_what_nbgrader_releases(chapter):
    name = catalogue.chapters()[chapter].__name__.rpartition(".ch")[2]
    path = COURSE / "notebooks" / name / f"{name}.ipynb"
    made = original.released(chapter)
    released = json.loads(path.read_text(encoding="utf-8"))
    for cell in released["cells"]:
        cell["source"] = "".join(cell["source"])
    assert made == released
    assert mending.mend(submission.read(path), path.read_bytes(), made).notes == []


def test_what_jupyterlab_writes_into_a_notebook_is_no_damage(solved, tmp_path):
    for number, cell in enumerate(solved["cells"]):
        cell["metadata"] |= {"execution": {"iopub.status.busy": "now"}, "editable": True}
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["a\n"]}]
    solved["metadata"]["language_info"] |= {"version": "3.11.2", "pygments_lexer": "ipython3"}
    solved["cells"].append(
        {"cell_type": "code", "id": "own", "metadata": {}, "source": "1", "outputs": [], "execution_count": 1}
    )
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(solved))
    assert mended(path).notes == []


def test_what_the_student_wrote_into_a_check_stands_before_it(solved, tmp_path):
    write_into_a_check(solved)
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(solved))
    cells = mended(path).notebook["cells"]
    i = at({"cells": cells}, "softmax")
    assert "# mine" in cells[i - 1]["source"] and "nbgrader" not in cells[i - 1]["metadata"]
    assert cells[i]["source"] == original.released(1)["cells"][at(original.released(1), "softmax")]["source"]


def test_outputs_and_pictures_stay(solved, tmp_path):
    lose_all_marks(solved)
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/plain": "a"}}
    cell = next(c for c in solved["cells"] if "def softmax(" in c["source"])
    cell["outputs"] = [output, {"output_type": "odd"}]
    solved["cells"][0]["attachments"] = {"a.png": {"image/png": "AA=="}}
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(solved))
    cells = mended(path).notebook["cells"]
    assert cells[at({"cells": cells}, "softmax_answer")]["outputs"] == [output]
    assert cells[0]["attachments"] == solved["cells"][0]["attachments"]


def test_no_backup_is_written_over(solved, tmp_path):
    path = tmp_path / "a.ipynb"
    for number in (1, 2, 3):
        lose_all_marks(solved)
        path.write_text(json.dumps(solved))
        backup = mending.repair(path, path.read_bytes(), mended(path))
        assert backup.name == f"a.before-repair-{number}.ipynb"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_file_that_cannot_be_replaced_stays_and_a_sentence_says_so(solved, tmp_path, monkeypatch):
    lose_all_marks(solved)
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(solved))
    came, before = mended(path), path.read_bytes()

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(mending.os, "replace", refuse)
    with pytest.raises(submission.SubmissionError, match=r"a\.ipynb: cannot be mended \(Permission denied\)"):
        mending.repair(path, before, came)
    assert path.read_bytes() == before


def test_without_the_solved_notebook_there_is_no_original(monkeypatch, tmp_path):
    monkeypatch.setattr(original.record, "COURSE", tmp_path)
    with pytest.raises(original.NoOriginal, match="nothing to mend by; fetch the course anew"):
        original.released(1)
    with pytest.raises(original.NoOriginal, match="no chapter 99"):
        original.released(99)


@pytest.mark.parametrize(
    ("source", "defined", "hidden"),
    [
        (SOFTMAX, {"np", "softmax"}, set()),
        ("%%time\nimport numpy as np\ndef f(x):\n    return x", {"np", "f"}, set()),
        ("f = lambda x: x\ng: int = 3\nh: int\na, b = 1, 2", {"f", "g", "a", "b"}, set()),
        ("if True:\n    def f(): pass\nelse:\n    g = 1", {"f", "g"}, set()),
        ("try:\n    def f(): pass\nexcept ValueError:\n    g = 1", {"f", "g"}, set()),
        ("class A:\n    def f(self): pass", {"A"}, {"f"}),
        ("def g():\n    def f(): pass", {"g"}, {"f"}),
        ("def f(:\n  pass\ny = 1\nz == 2", {"f", "y"}, set()),
        ("!ls\nx = 1", {"x"}, set()),
        ("# def f(): pass", set(), set()),
    ],
)
def test_names_are_read_off_a_cell(source, defined, hidden):
    assert defined_in(source) == defined
    assert hidden_in(source) == hidden
    assert defined_in(LOG_SOFTMAX) == {"log_softmax"}
