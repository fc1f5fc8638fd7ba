"""A newer course over a learner's work: nothing that was written is lost, nothing that is new is left out."""

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder import catalogue, mending, original
from course import paths, updating
from course.carrying import carry, whole
from course.command import app
from course.updating import CannotUpdate, bring, update

NAME = "notebooks/01_softmax/01_softmax.ipynb"
ANSWER = "def softmax(x, axis=-1):\n    return mine(x)"
pytestmark = pytest.mark.skipif(shutil.which("git") is None and "CI" not in os.environ, reason="git is not installed")


def find(notebook: dict, name: str) -> dict:
    (cell,) = [cell for cell in notebook["cells"] if cell["id"] == name]
    return cell


def text_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]


def sources(notebook: dict) -> list[str]:
    return [cell["source"] for cell in whole(notebook)["cells"]]


def write(path: Path, notebook: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(mending.dumps(notebook), encoding="utf-8")


def read(path: Path) -> dict:
    return whole(json.loads(path.read_text(encoding="utf-8")))


def reworded(mine: dict) -> str:
    """A change where the newer course has one, so that git cannot merge the two."""
    cell = text_cells(mine)[4]  # the first is the learner's own
    cell["source"] += "\nMy other remark."
    return cell["source"]


def own(source: str) -> dict:
    return {"cell_type": "markdown", "id": "a1b2c3", "metadata": {}, "source": source}


@pytest.fixture
def base() -> dict:
    return original.released(1)


@pytest.fixture
def newer(base) -> dict:
    """The course a week later: a text reworded, one new, one gone, and a stub with another signature."""
    made = copy.deepcopy(base)
    text_cells(made)[3]["source"] = "Reworded."
    made["cells"].remove(text_cells(made)[5])
    made["cells"].insert(2, {**own("A new paragraph."), "id": "a-new-paragraph"})
    stub = find(made, "log-softmax-answer")
    stub["source"] = stub["source"].replace("axis=-1", "axis=-2")
    return made


@pytest.fixture
def mine(base) -> dict:
    made = copy.deepcopy(base)
    answer = find(made, "softmax-answer")
    answer.update(source=ANSWER, execution_count=3)
    made["cells"].insert(made["cells"].index(answer) + 1, own("My note on softmax."))
    made["cells"].insert(0, own("My title."))
    return made


def together(tmp_path, mine, base, newer):
    write(tmp_path / "mine.ipynb", mine)
    return carry(tmp_path / "mine.ipynb", base, newer)


# ------------------------------------------------------------------------------------------------------------ by cells


def test_answers_and_own_cells_move_into_the_newer_course(tmp_path, mine, base, newer):
    came = together(tmp_path, mine, base, newer)
    wanted = sources(newer)
    place = wanted.index(find(newer, "softmax-answer")["source"])
    wanted[place : place + 1] = [ANSWER, "My note on softmax."]
    assert sources(came.notebook) == ["My title.", *wanted]
    assert find(came.notebook, "softmax-answer")["execution_count"] == 3
    assert (came.answers, came.other, came.asked_anew, came.gone) == (["softmax"], 2, [], [])
    ids = [cell["id"] for cell in came.notebook["cells"]]
    assert len(set(ids)) == len(ids) and {cell["id"] for cell in newer["cells"]} < set(ids)


def test_an_untouched_notebook_becomes_the_newer_one(tmp_path, base, newer):
    came = together(tmp_path, base, base, newer)
    assert came.notebook == newer
    assert (came.answers, came.other) == ([], 0)


def test_nothing_new_changes_nothing(tmp_path, mine, base):
    assert sources(together(tmp_path, mine, base, base).notebook) == sources(mine)


def test_an_answer_to_what_is_asked_otherwise_now_stays_and_is_told(tmp_path, mine, base, newer):
    find(mine, "log-softmax-answer")["source"] = "def log_softmax(x, axis=-1):\n    return x"
    came = together(tmp_path, mine, base, newer)
    assert find(came.notebook, "log-softmax-answer")["source"].endswith("return x")
    assert came.answers == ["softmax", "log_softmax"] and came.asked_anew == ["log_softmax"]


def test_an_answer_to_what_is_asked_no_more_stays_as_a_cell_of_ones_own(tmp_path, mine, base, newer):
    newer["cells"] = [cell for cell in newer["cells"] if cell["id"] not in ("softmax-answer", "softmax")]
    came = together(tmp_path, mine, base, newer)
    (kept,) = [cell for cell in came.notebook["cells"] if cell["source"] == ANSWER]
    assert "nbgrader" not in kept["metadata"] and came.gone == ["softmax"] and came.answers == []


def test_what_was_changed_in_the_courses_texts_stays(tmp_path, mine, base, newer):
    remark = reworded(mine)
    kept_by_course = find(mine, text_cells(base)[1]["id"])
    kept_by_course["source"] += "\nMy remark."
    came = together(tmp_path, mine, base, newer)
    said = sources(came.notebook)
    assert kept_by_course["source"] in said
    place = said.index("Reworded.")
    assert said[place + 1] == remark
    assert came.other == 4


def test_what_colab_has_lost_is_found_by_what_it_says(tmp_path, mine, base, newer):
    mine["nbformat_minor"] = 0
    for cell in mine["cells"]:
        cell["metadata"] = {"id": cell.pop("id")}
    came = together(tmp_path, mine, base, newer)
    assert find(came.notebook, "softmax-answer")["source"] == ANSWER
    assert find(came.notebook, "softmax-answer")["metadata"] == find(newer, "softmax-answer")["metadata"]
    assert sorted(sources(came.notebook)) == sorted(
        [*(s for s in sources(newer) if s != find(newer, "softmax-answer")["source"]), ANSWER, *map(str, NOTES)]
    )


NOTES = ("My note on softmax.", "My title.")


# -------------------------------------------------------------------------------------------------------------- by git


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "none"))


@pytest.fixture
def course(tmp_path, base) -> Path:
    """A learner's clone, in a folder with a space and an é, of a course that goes on without them."""
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet", "--initial-branch=main")
    write(origin / NAME, base)
    (origin / "lib.py").write_text("one = 1\n")
    (origin / ".gitignore").write_text(".attnlab/\n")
    git(origin, "add", "-A")
    git(origin, "commit", "--quiet", "-m", "first")
    git(tmp_path, "clone", "--quiet", "origin", "café au lait")
    clone = tmp_path / "café au lait"
    git(clone, "config", "user.name", "B")
    git(clone, "config", "user.email", "b@example.org")
    return clone


def publish(course: Path, newer: dict | None, library: str = "one = 2\n") -> None:
    origin = course.parent / "origin"
    if newer is None:
        (origin / NAME).unlink()
    else:
        write(origin / NAME, newer)
    (origin / "lib.py").write_text(library)
    git(origin, "add", "-A")
    git(origin, "commit", "--quiet", "-m", "second")


def test_the_newest_course_comes_and_the_answers_are_in_it(course, mine, base, newer, tmp_path):
    assert update(course).nothing_new
    publish(course, newer)
    write(course / NAME, mine)
    before = (course / NAME).read_bytes()
    done = update(course)
    assert done.commits == 1 and done.carried[NAME].answers == ["softmax"] and not done.refused
    assert read(course / NAME) == whole(together(tmp_path, mine, base, newer).notebook)
    assert (course / "lib.py").read_text() == "one = 2\n"
    assert done.copies == course / ".attnlab" / "answers-1"
    assert (done.copies / NAME).read_bytes() == before
    assert update(course).nothing_new


def test_the_exercises_are_read_before_git_changes_their_files(course, mine, newer, monkeypatch):
    publish(course, newer)
    write(course / NAME, mine)
    order = []
    read_exercises, merge = catalogue.by_name, updating.Git.merge
    monkeypatch.setattr(catalogue, "by_name", lambda: order.append("exercises") or read_exercises())
    monkeypatch.setattr(updating.Git, "merge", lambda *words: order.append("merge") or merge(*words))
    update(course)
    assert order[:2] == ["exercises", "merge"]


def test_a_notebook_that_only_ran_becomes_the_newer_one(course, base, newer):
    publish(course, newer)
    for cell in base["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = 1
    base["metadata"]["language_info"]["version"] = "3.13.0"
    write(course / NAME, base)
    done = update(course)
    assert done.commits == 1 and done.carried[NAME].answers == []
    came = read(course / NAME)
    assert sources(came) == sources(newer)
    assert find(came, "softmax-answer")["execution_count"] == 1


def test_a_notebook_that_nobody_touched_is_no_matter(course, newer):
    publish(course, newer)
    done = update(course)
    assert (done.commits, done.carried, done.copies) == (1, {}, None)
    assert read(course / NAME) == newer and not (course / ".attnlab/answers-of-an-update").exists()


@pytest.mark.parametrize("conflict", [False, True])
def test_answers_that_were_committed_are_brought_as_well(course, mine, newer, conflict):
    if conflict:
        reworded(mine)
    write(course / NAME, mine)
    git(course, "commit", "--quiet", "-am", "my answers")
    publish(course, newer)
    done = update(course)
    assert done.carried[NAME].answers == ["softmax"]
    assert ANSWER in sources(read(course / NAME)) and "Reworded." in sources(read(course / NAME))
    assert git(course, "log", "--oneline", "-1", "--format=%p").count(" ") == 1  # a merge, and all of it committed
    assert not git(course, "diff", "--name-only", "--diff-filter=U")
    assert not conflict or json.loads(git(course, "show", f"HEAD:{NAME}")) == newer


@pytest.mark.parametrize("committed", [False, True])
def test_another_file_that_both_have_changed_stops_it_and_nothing_has_changed(course, mine, newer, committed):
    publish(course, newer)
    write(course / NAME, mine)
    (course / "lib.py").write_text("one = 3\n")
    if committed:
        git(course, "commit", "--quiet", "-am", "mine")
    before = (course / NAME).read_bytes(), git(course, "rev-parse", "HEAD")
    with pytest.raises(CannotUpdate, match=r"^lib\.py: your" if committed else r"^lib\.py: yours, .* move yours"):
        update(course)
    assert ((course / NAME).read_bytes(), git(course, "rev-parse", "HEAD")) == before
    assert not git(course, "status", "--short", "--untracked-files=no").startswith("U")
    if not committed:  # what the sentence says to do
        (course / "lib.py").rename(course.parent / "mine.py")
        assert update(course).carried


@pytest.mark.parametrize("when", ["at once", "before the merge", "after the merge", "after the merge, worked on since"])
def test_killed_in_between_the_next_update_goes_on(course, mine, base, newer, monkeypatch, when):
    publish(course, newer)
    write(course / NAME, mine)

    class Killed(BaseException):
        pass

    def merge(self, newest, names):
        if when.startswith("after"):
            real(self, newest, names)
        elif when == "before the merge":
            self("checkout", "HEAD", "--", *names)
        raise Killed

    real = updating.Git.merge
    with monkeypatch.context() as m, pytest.raises(Killed):
        m.setattr(updating.Git, "merge", merge)
        update(course)
    if when.endswith("since"):
        write(course / NAME, since := {**newer, "cells": [own("Since."), *newer["cells"]]})
        done = update(course)
        assert "worked on it since" in done.refused[NAME]
        assert sources(read(course / NAME)) == sources(since)
        assert done.copies and ANSWER in sources(read(done.copies / NAME))
    else:
        done = update(course)
        assert done.carried[NAME].answers == ["softmax"] and done.commits == 1
        assert ANSWER in sources(read(course / NAME)) and "Reworded." in sources(read(course / NAME))
    assert update(course).nothing_new


def test_a_chapter_that_is_gone_leaves_the_learners_notebook(course, mine):
    write(course / NAME, mine)
    publish(course, None)
    done = update(course)
    assert "no more" in done.refused[NAME] and sources(read(course / NAME)) == sources(mine)


def test_a_file_that_is_no_notebook_stays_and_is_told(course, newer):
    publish(course, newer)
    (course / NAME).write_text("<<<<<<< HEAD\n")
    done = update(course)
    assert "not JSON" in done.refused[NAME] and str(course) not in done.refused[NAME]
    assert (course / NAME).read_text() == "<<<<<<< HEAD\n"


def test_what_stands_in_the_way_is_said(course, mine, newer, tmp_path, monkeypatch):
    with pytest.raises(CannotUpdate, match="no clone of a repository; download the course anew"):
        update(tmp_path)
    git(course, "switch", "--quiet", "--create", "mine")
    with pytest.raises(CannotUpdate, match="`git switch main` goes back"):
        update(course)
    git(course, "switch", "--quiet", "main")
    publish(course, newer)
    reworded(mine)
    write(course / NAME, mine)
    git(course, "commit", "--quiet", "-am", "mine")
    subprocess.run(["git", "pull", "--no-rebase"], cwd=course, capture_output=True)
    with pytest.raises(CannotUpdate, match="`git merge --abort`"):
        update(course)
    git(course, "merge", "--abort")
    git(course, "remote", "set-url", "origin", str(tmp_path / "nowhere"))
    with pytest.raises(CannotUpdate, match="`git fetch` did not succeed: "):
        update(course)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotUpdate, match="git is not installed here"):
        update(course)


def test_what_was_damaged_when_an_update_was_killed_and_rewritten_since_stays(course, newer, monkeypatch):
    publish(course, newer)
    (course / NAME).write_text("{")
    with monkeypatch.context() as m, pytest.raises(SystemExit):
        m.setattr(updating, "_put_all_together", lambda *_: exit())
        update(course)
    write(course / NAME, since := {**newer, "cells": [own("Since."), *newer["cells"]]})
    assert "not JSON" in update(course).refused[NAME]
    assert sources(read(course / NAME)) == sources(since)


# -------------------------------------------------------------------------------------------------- from another folder


@pytest.fixture
def folders(tmp_path, newer) -> tuple[Path, Path]:
    """An older copy of the course, unpacked from a zip, and a newer one."""
    solved = json.loads((paths.ROOT / "solutions/01_softmax/01_softmax.ipynb").read_text(encoding="utf-8"))
    for name in ("older", "newer"):
        if name == "newer":
            solved["cells"].insert(2, {**own("A new paragraph."), "id": "a-new-paragraph"})
        write(tmp_path / name / "solutions/01_softmax/01_softmax.ipynb", solved)
        write(tmp_path / name / NAME, original.of(tmp_path / name / "solutions/01_softmax/01_softmax.ipynb"))
    return tmp_path / "older", tmp_path / "newer"


def test_a_downloaded_course_takes_over_what_was_written_in_the_older_one(folders, mine):
    older, newer = folders
    assert bring(older, newer).nothing_new
    write(older / NAME, mine)
    write(older / "notebooks/mine/mine.ipynb", mine)
    before = (older / NAME).read_bytes()
    done = bring(older, newer)
    assert done.carried[NAME].answers == ["softmax"] and list(done.carried) == [NAME]
    assert {ANSWER, "A new paragraph.", "My title."} < set(sources(read(newer / NAME)))
    assert (older / NAME).read_bytes() == before
    assert bring(older, newer).nothing_new
    write(newer / NAME, {**mine, "cells": mine["cells"][1:]})
    assert "here, too" in bring(older, newer).refused[NAME]
    shutil.rmtree(newer / "notebooks")
    assert "no such chapter" in bring(older, newer).refused[NAME]
    for wrong, said in ((newer, "no older copy"), (older, "the course itself")):
        with pytest.raises(CannotUpdate, match=said):
            bring(wrong, older)


# ---------------------------------------------------------------------------------------------------------- the command


def run(monkeypatch, course: Path, *words: str):
    monkeypatch.setattr(paths, "ROOT", course)
    return CliRunner().invoke(app, ["update", *words])


def test_the_command_says_what_it_brought_and_what_it_could_not(course, mine, newer, monkeypatch):
    assert run(monkeypatch, course).stdout == "The course is up to date.\n"
    publish(course, newer)
    write(course / NAME, mine)
    came = run(monkeypatch, course)
    assert came.exit_code == 0
    assert f"{NAME}: brought 1 answer and 2 other cells" in came.stdout
    assert "As they were, they are in .attnlab/answers-1." in came.stdout
    publish(course, newer | {"cells": newer["cells"][:-1]}, "one = 3\n")
    (course / NAME).write_text("{")
    came = run(monkeypatch, course, "--json")
    assert came.exit_code == 1
    assert list(json.loads(came.stdout)["refused"]) == [NAME]
    came = run(monkeypatch, course.parent)
    assert came.exit_code == 2 and "attnlab: " in came.stderr and "Traceback" not in came.output
