"""From chapters to notebooks: what is made, what is refused, and what is never lost."""

import re

import nbformat
import pytest
from sources import CHAPTER, EXERCISE
from typer.testing import CliRunner

from autograder import catalogue
from course import build, paths
from course.command import app
from course.source import Chapter, chapters_in, solved_notebook


def attnlab(*words: str):
    return CliRunner().invoke(app, words, catch_exceptions=False)


def released() -> list:
    return sorted(paths.NOTEBOOKS.glob("*/*.ipynb"))


# ---------------------------------------------------------------------------------------------- the committed course


@pytest.mark.slow
def test_committed_notebooks_are_what_their_sources_make():
    assert build.check(build.select([]), lambda name, stage: None) == []


def test_every_chapter_is_released():
    assert {path.parent.name for path in released()} == {chapter.name for chapter in chapters_in(paths.CHAPTERS)}


EVERYWHERE = "with torch.no_grad():"  # in each chapter that measures; it gives nothing away


def shown_at_once(path) -> str:
    """What a released notebook says, its folded hints aside: the second one is allowed to show a first line."""
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL) for cell in cells)


def test_released_notebooks_hold_no_solution():
    texts = {path: shown_at_once(path) for path in released()}
    for chapter in chapters_in(paths.CHAPTERS):
        source = chapter.path.read_text(encoding="utf-8")
        for solution in re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", source, re.DOTALL):
            lines = [line.strip() for line in solution.splitlines()]
            lines = [line for line in lines if len(line) >= 20 and line != EVERYWHERE]
            for path, text in texts.items():
                for line in lines:
                    assert line not in text, f"{path} gives away {line!r}"
    for path in released():
        for mark in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TEST", '"attnlab": {'):
            assert mark not in path.read_text(encoding="utf-8"), f"{path} holds {mark}"


def test_a_hint_never_shows_a_whole_solution():
    """Of a solution of several lines, at least one is nowhere in the released notebook, not even folded."""
    for chapter in chapters_in(paths.CHAPTERS):
        text = "\n".join(
            cell.source for cell in nbformat.read(paths.derived(paths.NOTEBOOKS, chapter.name), as_version=4).cells
        )
        source = chapter.path.read_text(encoding="utf-8")
        for solution in re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", source, re.DOTALL):
            lines = [line.strip() for line in solution.strip().splitlines() if line.strip()]
            assert any(line not in text for line in lines), f"{chapter.name} folds a whole solution: {lines}"


def test_nothing_but_notebooks_is_released():
    """nbgrader copies what lies beside a source notebook, solved sources too."""
    for folder in (paths.NOTEBOOKS, paths.SOLUTIONS):
        extra = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".ipynb"]
        assert [p for p in extra if ".ipynb_checkpoints" not in p.parts] == []


def test_released_notebooks_have_no_outputs():
    for path in released():
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                assert (cell.outputs, cell.execution_count) == ([], None), path


@pytest.mark.slow
@pytest.mark.parametrize("path", released(), ids=lambda path: path.stem)
def test_a_released_notebook_runs_from_top_to_bottom_with_nothing_solved(path):
    """A cell that raises or warns is a BuildError."""
    notebook = nbformat.read(path, as_version=4)
    build.execute(notebook, Chapter(paths.CHAPTERS / f"{path.stem}.py"), lambda name, stage: None)
    answers = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    assert answers
    assert all("not written yet" in cell.outputs[0].data["text/plain"] for cell in answers)


def test_solved_notebooks_are_executed_without_an_error():
    for path in paths.SOLUTIONS.glob("*/*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                assert cell.execution_count, f"{path}: {cell.source[:60]}"
                assert [o for o in cell.outputs if o.output_type == "error"] == []
                if cell.metadata.get("nbgrader", {}).get("grade"):
                    assert "laws hold" in cell.outputs[0].data["text/plain"]
                    assert "✗" not in cell.outputs[0].data["text/plain"]


def test_metadata_is_valid_by_nbgraders_own_validator_and_grade_ids_are_unique():
    from nbgrader.nbgraderformat import MetadataValidator

    seen: set[str] = set()
    for path in released():
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        MetadataValidator().validate_nb(notebook)
        for cell in notebook.cells:
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
            if grade_id:
                assert grade_id not in seen, f"{grade_id} twice"
                seen.add(grade_id)
    assert {exercise.name for exercise in catalogue.all_exercises()} <= seen


def test_points_add_up():
    for chapter in chapters_in(paths.CHAPTERS):
        notebook = nbformat.read(paths.derived(paths.NOTEBOOKS, chapter.name), as_version=4)
        points = {
            cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.points
            for cell in notebook.cells
            if cell.metadata.get("nbgrader", {}).get("grade")
        }
        assert points == {exercise.name: exercise.points for exercise in chapter.exercises}
        assert all(exercise.points == sum(c.points for c in exercise.checks) for exercise in chapter.exercises)


def test_every_picture_of_a_chapter_is_described():
    for path in paths.SOLUTIONS.glob("*/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", ()):
                if "image/png" in output.get("data", {}):
                    assert output.metadata["image/png"]["alt"], f"{path}: {cell.source[:60]}"


# ------------------------------------------------------------------------------------------------- a course of its own


@pytest.mark.slow
def test_a_rebuild_is_byte_identical_outputs_aside_and_only_what_changed_is_built(small_course):
    first = attnlab("build")
    assert first.exit_code == 0, first.output
    assert "Built 90_doubling" in first.output
    before = small_course.derived()
    assert set(before) == {f"{folder}/90_doubling/90_doubling.ipynb" for folder in ("solutions", "notebooks")}
    assert "Nothing has changed." in attnlab("build").output
    assert attnlab("build", "--force").exit_code == 0
    assert small_course.derived() == before  # its outputs do not vary either
    assert attnlab("build", "--check").exit_code == 0

    student = before["notebooks/90_doubling/90_doubling.ipynb"].decode()
    assert "raise NotImplementedError()" in student
    assert "the_answer_is" not in student
    assert "Exercise: `double`" in student and "●●○ · about 3 minutes · 2 points in 1 laws" in student
    assert "# 2  Twice a number." in student

    small_course.chapter(CHAPTER.replace("A question?", "Another question?"))
    stale = attnlab("build", "--check")
    assert stale.exit_code == 2
    assert re.search(r"solutions/90_doubling/90_doubling.ipynb:\d+: has '\"A question", stale.output)
    assert small_course.derived() == before
    assert "Built 90_doubling" in attnlab("build").output
    assert attnlab("build", "--check").exit_code == 0


@pytest.mark.slow
def test_an_edited_derived_file_is_found_and_a_students_work_is_kept(small_course):
    assert attnlab("build").exit_code == 0
    path = small_course.notebooks / "90_doubling" / "90_doubling.ipynb"
    path.write_text(path.read_text().replace("raise NotImplementedError()", "return x * 2"))
    assert attnlab("build", "--check").exit_code == 2
    again = attnlab("build", "--force")
    assert "Your work in a notebook was kept" in again.output
    assert "return x * 2" in path.with_name("90_doubling.mine-1.ipynb").read_text()
    assert "raise NotImplementedError()" in path.read_text()


@pytest.mark.slow
def test_a_cell_that_raises_names_its_line_and_leaves_the_old_notebooks(small_course):
    assert attnlab("build").exit_code == 0
    before = small_course.derived()
    broken = CHAPTER.replace('print("six:", 6)', "nonsense / 0")
    line = broken.lstrip().splitlines().index("nonsense / 0") + 1
    small_course.chapter(broken)
    result = attnlab("build")
    assert result.exit_code == 2
    assert f"90_doubling.py:{line}: this cell raised NameError" in result.output
    assert small_course.derived() == before


def test_a_removed_chapter_takes_its_notebooks_with_it(small_course):
    for folder in (small_course.solutions, small_course.notebooks):
        (folder / "91_gone").mkdir(parents=True)
    assert [path.name for path in build.orphans()] == ["91_gone", "91_gone"]
    assert "91_gone: has no source" in attnlab("build", "--check").output
    build.remove_orphans()
    assert build.orphans() == []


def test_ids_are_stable_when_a_cell_is_inserted(small_course):
    (chapter,) = build.select([])
    before = [cell.id for cell in solved_notebook(chapter).cells]
    small_course.chapter(CHAPTER.replace("# %% [markdown]\n# {{", "# %%\ninserted = 1\n\n# %% [markdown]\n# {{"))
    after = [cell.id for cell in solved_notebook(chapter).cells]
    assert "double" in before and "double-answer" in before
    assert [cell_id for cell_id in after if cell_id != "inserted-1"] == before


BAD_SOURCES = {
    "a missing end": (
        CHAPTER.replace("    ### END SOLUTION\n", ""),
        r"90_doubling.py:18: this ### BEGIN SOLUTION has no ### END SOLUTION",
    ),
    "an end without a beginning": (
        CHAPTER.replace("    ### BEGIN SOLUTION\n", ""),
        r"90_doubling.py:20: ### END SOLUTION has no ### BEGIN SOLUTION",
    ),
    "a beginning inside another": (
        CHAPTER.replace("    return the", "    ### BEGIN SOLUTION\n    return the"),
        r"90_doubling.py:20: ### BEGIN SOLUTION stands inside the one of line 18",
    ),
    "a solution outside an exercise": (
        CHAPTER + "### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n",
        r"90_doubling.py:26: ### BEGIN SOLUTION stands outside an exercise",
    ),
    "an exercise without a solution mark": (
        CHAPTER.replace("    ### BEGIN SOLUTION\n", "").replace("    ### END SOLUTION\n", ""),
        r"90_doubling.py:15: the cell of double has no ### BEGIN SOLUTION",
    ),
    "an unknown exercise": (
        CHAPTER.replace('exercise="double"', 'exercise="triple"'),
        r"90_doubling.py:15: chapter 90 has no exercise triple",
    ),
    "an exercise twice": (
        CHAPTER + '\n# %% exercise="double"\ndef double(x): ...\n',
        r"90_doubling.py:27: the exercise double has a cell already, in line 15",
    ),
    "an exercise that is declared but not there": (
        CHAPTER.replace('# %% exercise="double"', "# %%").replace("### BEGIN", "#").replace("### END", "#"),
        r"90_doubling.py:1: double, declared at .*ch90_doubling.py:\d+, has no cell",
    ),
    "an exercise without its heading": (
        CHAPTER.replace("# {{exercise double}}\n", "# An exercise\n"),
        r"90_doubling.py:15: no text before this cell has the line \{\{exercise double\}\}",
    ),
    "a heading of nothing": (
        CHAPTER.replace("# {{exercise double}}\n", "# {{exercise double}}\n#\n# {{exercise triple}}\n"),
        r"90_doubling.py:12: .*exercise triple.* is no",
    ),
    "no Python": (CHAPTER + "def (:\n", r"90_doubling.py:26: not Python"),
}


@pytest.mark.parametrize("what", BAD_SOURCES)
def test_a_bad_source_gets_one_sentence_with_file_and_line(small_course, what):
    text, sentence = BAD_SOURCES[what]
    small_course.chapter(text)
    result = attnlab("build")
    assert result.exit_code == 2
    assert re.search(sentence, result.output), result.output
    assert len(result.output.strip().splitlines()) == 1
    assert small_course.derived() == {}


BAD_DECLARATIONS = {
    "a duplicate exercise": (
        EXERCISE + '\nagain = Exercise("double", chapter=90, reference=_double)\n',
        r"ch90_doubling.py:35: an exercise named double is declared already, at .*ch90_doubling.py:11",
    ),
    "no misconception": (
        EXERCISE.replace("@double.misconception(caught_by=test_double)\n", ""),
        r"ch90_doubling.py:11: double has no misconception",
    ),
    "a misconception that no check catches": (
        EXERCISE.replace("return x * x", "return x + x"),
        r"ch90_doubling.py:20: squares passes test_double, the check that is to catch it",
    ),
    "a misconception of another's check": (
        EXERCISE.replace("caught_by=test_double", "caught_by=_double"),
        r"ch90_doubling.py:20: squares is said to be caught by _double, which is no check of double",
    ),
    "a right answer that fails": (
        EXERCISE.replace("return x + x", "return x + x + 1"),
        r"ch90_doubling.py:26: by_adding is a right answer to double, but fails test_double",
    ),
    "one alternative": (
        EXERCISE.replace("@double.alternative\ndef by_shifting", "def by_shifting"),
        r"ch90_doubling.py:11: double has 1 alternative right answers; declare two",
    ),
    "a check without a law": (
        EXERCISE.replace('    """Twice a number."""\n', ""),
        r"ch90_doubling.py:14: a check is named test_… and says its law in a docstring",
    ),
}


@pytest.mark.parametrize("what", BAD_DECLARATIONS)
def test_a_bad_declaration_gets_one_sentence_with_file_and_line(workshop, what):
    text, sentence = BAD_DECLARATIONS[what]
    workshop.exercise(text)
    workshop.chapter()
    result = attnlab("build")
    assert result.exit_code == 2
    assert re.search(sentence, result.output), result.output
    assert len(result.output.strip().splitlines()) == 1
    assert workshop.derived() == {}


def test_an_unknown_chapter_is_answered_with_those_there_are(small_course):
    result = attnlab("build", "17")
    assert result.exit_code == 2
    assert "17: there is no such chapter; there are 90_doubling" in result.output


def test_a_source_with_a_bad_name_is_refused(small_course):
    small_course.chapter(name="Doubling")
    result = attnlab("build")
    assert result.exit_code == 2
    assert "Doubling.py:1: name a chapter NN_slug.py" in result.output


# -------------------------------------------------------------------------------------------------- attnlab check


def test_check_names_file_and_line_of_what_is_no_notebook(tmp_path):
    broken = tmp_path / "hand in.ipynb"
    broken.write_text('{"cells": [\n\nnonsense')
    result = attnlab("check", str(broken))
    assert result.exit_code == 2
    assert f"{broken}:3: not a notebook, for it is not JSON" in result.output
    assert attnlab("check", str(tmp_path / "none.ipynb")).exit_code == 2
    empty = tmp_path / "empty.ipynb"
    empty.write_text("[]")
    assert "JSON, but not a notebook" in attnlab("check", str(empty)).output
