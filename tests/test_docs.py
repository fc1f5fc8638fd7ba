"""README, CONTRIBUTING and the book's pages say what is so: tables, trees, links, commands, examples."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from typer.testing import CliRunner

from autograder import catalogue, exercises
from course import book, build, paths, readme
from course.command import app
from course.paths import ROOT
from course.source import BuildError, Chapter, check_misconceptions

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TRACKED = subprocess.run(
    ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8"
).stdout.split("\0")[:-1]
README, CONTRIBUTING, INSTRUCTOR = ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "book" / "instructor.md"
STUDENT = ROOT / "book" / "student.md"
PAGES = [ROOT / name for name in TRACKED if name.endswith(".md")]
CHAPTERS = sorted(paths.CHAPTERS.glob("*.py"))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(path), re.MULTILINE | re.DOTALL)


def table_under(path: Path, head: str) -> list[list[str]]:
    """The cells of the table whose first column is called ``head``, backticks and head left out."""
    lines = read(path).split(f"| {head} |", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows


# ------------------------------------------------------------------------------------------------------------ README


def test_the_table_of_chapters_is_what_their_sources_say():
    assert readme.is_right(), "run: python lab.py build"
    rows = table_under(README, "Chapter")
    assert len(rows) == len(CHAPTERS)
    start = next(row for row in rows if row[0].startswith("[Start here]"))
    assert start[2:] == ["1", "2", "3"]


def test_a_wrong_table_is_noticed_and_mended(tmp_path, monkeypatch):
    shutil.copytree(paths.CHAPTERS, tmp_path / "chapters")
    monkeypatch.setattr(paths, "CHAPTERS", tmp_path / "chapters")
    assert readme.is_right(), "a course without a README"
    (tmp_path / "README.md").write_text(read(README).replace("| 1 | 2 | 3 |", "| 1 | 2 | 4 |"), encoding="utf-8")
    assert not readme.is_right()
    assert readme.write() and readme.is_right() and not readme.write()
    assert read(tmp_path / "README.md") == read(README)


def test_a_chapter_without_a_question_is_refused_with_its_place(tmp_path):
    path = tmp_path / "91_mute.py"
    path.write_text("# %% [markdown]\n# # 91 · Mute\n#\n# No question.\n", encoding="utf-8")
    with pytest.raises(BuildError, match=r"91_mute\.py:1: begin with"):
        readme.heading_of(Chapter(path))


def test_the_tree_names_every_entry_of_the_repository_and_no_other():
    (tree,) = blocks(README, "text")
    named = [line.split()[0].rstrip("/") for line in tree.splitlines()]
    assert sorted(named) == sorted({name.split("/")[0] for name in TRACKED} | {"README.md"})
    for line in tree.splitlines():
        assert len(line.split(maxsplit=1)) == 2, f"a word about {line}"
        assert line.split()[0].endswith("/") == (ROOT / line.split()[0]).is_dir()


def test_the_picture_is_there_by_day_and_by_night_and_in_words():
    pictures = re.findall(r'(?:srcset|src)="([^"]+)"', read(README))
    assert [Path(name).stem for name in pictures] == ["panel-dark", "panel-light"]
    assert all((ROOT / name).is_file() for name in pictures)
    assert len(re.findall(r'alt="[^"]{80,}"', read(README))) == 1


# ---------------------------------------------------------------------------------------------------------- commands

# What a page tells its reader to type. Either it is run here, and ends with this status ...
RUN = {
    "python lab.py check notebooks/01_softmax/01_softmax.ipynb": 1,  # nothing is solved yet
    "python lab.py progress": 0,
    "python lab.py progress --reset softmax": 0,
    "python lab.py progress --reset 1": 0,
    "python lab.py progress --reset": 0,
    "python lab.py check notebooks/01_softmax/01_softmax.ipynb --repair": 1,
    "python lab.py check submitted/ben/00_start/00_start.ipynb": 1,
    "python lab.py grade submitted --seed 20261121": 0,
}
# ... or it is too much for a test of a page, and this is the test that runs what it does.
ELSEWHERE = {
    "python lab.py": "tests/browser/test_jupyterlab.py",
    "python lab.py test": "tests/test_lab.py",
    'python lab.py test -m "not slow"': "tests/test_lab.py",
    "python lab.py test tests/lib -x": "tests/test_lab.py",
    "python lab.py book --open": "tests/browser/test_book.py",
    "nbgrader generate_assignment 00_start --force": "tests/course/test_nbgrader.py",
    "nbgrader autograde 00_start": "tests/course/test_nbgrader.py",
    "nbgrader generate_feedback 00_start": "tests/course/test_nbgrader.py",
    "nbgrader export": "tests/course/test_nbgrader.py",
    "python lab.py demo": "tests/course/test_class_demo.py",
    "python lab.py update": "tests/course/test_updating.py",
    "python lab.py update --from ../attention-lab-old": "tests/course/test_updating.py",
}


def commands() -> list[str]:
    lines = [
        line
        for page in (README, CONTRIBUTING, INSTRUCTOR, STUDENT, ROOT / "book" / "index.md")
        for block in blocks(page, "sh")
        for line in block.splitlines()
    ]
    return list(dict.fromkeys(re.split(r"\s{2,}#", line)[0].strip() for line in lines))


def first_class() -> list[str]:
    """What the guide has an instructor type, in order, from a new course to the grades."""
    section = read(INSTRUCTOR).split("## In fifteen minutes", 1)[1].split("\n## ", 1)[0]
    return [line for block in re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S) for line in block.splitlines()]


def test_every_command_of_the_pages_is_run_somewhere():
    assert set(commands()) == set(RUN) | set(ELSEWHERE) | set(first_class())
    for command, where in ELSEWHERE.items():
        words = re.findall(r"nbgrader (\w+)|lab\.py (\w+)", command)
        text = read(ROOT / where)
        assert all(word in text for pair in words for word in pair), (command, where)


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_the_command_does_what_the_page_says(command, tmp_path, monkeypatch):
    shutil.copytree(paths.NOTEBOOKS, tmp_path / "notebooks")
    for student, answer in {"anna": "(a + b) / 2", "ben": "a + b / 2"}.items():
        hand_in(tmp_path / "submitted" / student, answer)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, shlex.split(command)[2:], catch_exceptions=False)
    assert done.exit_code == RUN[command], done.output
    if " grade " in command:
        said = [line.split() for line in blocks(INSTRUCTOR, "text")[0].splitlines()]
        assert [line.split() for line in done.stdout.splitlines() if line.strip()] == said
    if "submitted/ben" in command:
        (said,) = blocks(ROOT / "book" / "grading.md", "text")
        assert all(line in done.stdout for line in said.splitlines())


@pytest.mark.slow
def test_the_first_class_of_the_guide(tmp_path, monkeypatch):
    """Every step, as typed, with the students of the page: each ends well, and the grades come out."""
    paths.put_own_tools_first()
    monkeypatch.setattr("webbrowser.open", lambda address: None)
    monkeypatch.setattr("autograder.doctor.Health.isolated", True)  # whether it is, is not this test's question
    monkeypatch.chdir(tmp_path)
    for student, answer in {"anna": "(a + b) / 2", "ben": "a + b / 2"}.items():
        hand_in(tmp_path / "in" / student, answer)
    done = []
    for command in first_class():
        words = shlex.split(command)
        if words[0] == "cd":
            monkeypatch.chdir(tmp_path / words[1])
            students = next(block for block in blocks(INSTRUCTOR, "text") if block.startswith("id,"))
            Path("students.csv").write_text(students, encoding="utf-8")
            shutil.make_archive("hand-ins", "zip", tmp_path / "in")
            continue
        came = CliRunner().invoke(app, words[1:], catch_exceptions=False)
        assert came.exit_code == 0, (command, came.output)
        done.append(words[1])
    assert done == ["course", "release", "collect", "grade", "feedback", "report", "export"]
    assert [row.split(",")[-2:] for row in Path("exports/canvas.csv").read_text("utf-8").splitlines()] == [
        ["00_start", "01_softmax"],
        ["3", "23"],
        ["3", ""],
        ["0", ""],
    ]
    assert (
        Path("report.html").is_file() and list(Path("feedback").rglob("*.html")) and Path("for-students.zip").is_file()
    )


def hand_in(folder: Path, answer: str) -> None:
    notebook = nbformat.read(paths.derived(paths.NOTEBOOKS, "00_start"), as_version=4)
    for cell in notebook.cells:
        if "def halfway" in cell.source:
            cell.source = f"def halfway(a, b):\n    return {answer}"
    path = folder / "00_start" / "00_start.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)


def test_the_help_of_lab_py_needs_no_set_up():
    done = subprocess.run([sys.executable, "lab.py", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "python lab.py test" in done.stdout


# ------------------------------------------------------------------------------------------------------------- links


def headings(text: str) -> set[str]:
    """The anchors that code hosts and the book give to headings."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"^# ?", "", text, flags=re.MULTILINE) + "\n" + text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


def links() -> list:
    """Every relative link, with the folder it starts from: of a chapter, that of the notebook it becomes."""
    sources = [(page, page.parent, read(page)) for page in PAGES]
    sources += [(chapter, paths.NOTEBOOKS / chapter.stem, read(chapter)) for chapter in CHAPTERS]
    found = []
    for source, folder, text in sources:
        prose = re.sub(r"^```.*?^```$|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^()\s]+)\)", prose):
            if not re.match(r"[a-z]+:", target):
                name = source.relative_to(ROOT).as_posix()
                found.append(pytest.param(source, folder, target, id=f"{name}-{target}"))
    return found


@pytest.mark.parametrize(("source", "folder", "target"), links())
def test_the_link_leads_somewhere(source, folder, target):
    name, _, anchor = target.partition("#")
    path = (folder / name).resolve() if name else source
    assert path.exists(), f"{source.name} links to {target}"
    assert path.relative_to(ROOT)
    if anchor:
        text = read(path)
        if path.suffix == ".ipynb":
            text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        assert anchor in headings(text), f"{path.name} has no heading for #{anchor}"


# ------------------------------------------------------------------------------------------------------ CONTRIBUTING


def test_every_dependency_has_its_line_and_every_line_its_dependency():
    project = PYPROJECT["project"]
    asked = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    rows = table_under(CONTRIBUTING, "Package")
    assert [row[0] for row in rows] == [re.match(r"[\w.-]+", requirement)[0] for requirement in asked]
    assert all(row[1] for row in rows)
    assert [row[0] for row in rows][:4] == ["numpy", "torch", "matplotlib", "pytest"]


def test_the_markers_are_those_of_pyproject():
    declared = [marker.partition(":")[0] for marker in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]]
    assert [row[0] for row in table_under(CONTRIBUTING, "Marker")] == declared


def test_what_is_made_from_what_exists():
    for row in table_under(CONTRIBUTING, "Source"):
        for name in re.findall(r"[\w./]+\.(?:py|toml|md|lock)\b", " ".join(row)):
            assert "NN_slug" in name or (ROOT / name).exists(), name


@pytest.fixture
def example(tmp_path, monkeypatch) -> Chapter:
    """The example of CONTRIBUTING.md, in a course of its own."""
    for text in blocks(CONTRIBUTING, "python"):
        comment, _, code = text.partition("\n")
        path = tmp_path / comment.removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
    for name in ("CHAPTERS", "SOLUTIONS", "NOTEBOOKS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(exercises, "__path__", [str(tmp_path / "autograder" / "exercises")])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    forget()
    yield Chapter(tmp_path / "chapters" / "90_centring.py")
    forget()


def forget() -> None:
    importlib.invalidate_caches()
    catalogue.chapters.cache_clear()
    catalogue.by_name.cache_clear()
    sys.modules.pop("autograder.exercises.ch90_centring", None)


def test_the_example_exercise_catches_its_wrong_answers_and_lets_the_right_ones_pass(example):
    (centre,) = example.exercises
    assert (centre.points, len(centre.misconceptions), len(centre.alternatives)) == (4, 3, 2)
    check_misconceptions(example)
    assert readme.chapter_table([example], "{name}").endswith(
        "| [90 · Centring](90_centring) | How do you give numbers a mean of zero? | 1 | 5 | 4 |"
    )


@pytest.mark.slow
def test_the_example_chapter_builds(example):
    (built,) = build.build([example], 1, False, lambda name, stage: None)
    assert built.changed
    released = read(paths.derived(paths.NOTEBOOKS, "90_centring"))
    assert "raise NotImplementedError()" in released and "keepdims=True)\\n" not in released


# ---------------------------------------------------------------------------------------------- version and citation


def test_the_version_is_one():
    version = PYPROJECT["project"]["version"]
    citation = yaml.safe_load(read(ROOT / "CITATION.cff"))
    assert citation["version"] == version
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == ["Apache-2.0", "CC-BY-4.0"]
    assert re.search(rf"^## {re.escape(version)}\b", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert f"version {version}" in read(README)


# ---------------------------------------------------------------------------------------------------------- the book


def test_staging_touches_only_what_changed_and_removes_what_is_gone(tmp_path):
    book.stage(tmp_path)
    (tmp_path / "gone.md").write_text("# Gone")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    page = tmp_path / "index.md"
    page.write_text("# Another")
    book.stage(tmp_path)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in before if after.get(path) != before[path]} == {page, tmp_path / "gone.md"}
    assert "Attention Lab" in read(page)


def test_every_exercise_is_in_the_index_with_its_laws_and_misconceptions(tmp_path):
    book.stage(tmp_path)
    index = read(tmp_path / "exercises.md")
    for exercise in catalogue.all_exercises():
        assert f"### `{exercise.name}`" in index
        for words in [c.law for c in exercise.checks] + [m.explanation for m in exercise.misconceptions]:
            assert book.markdown(words) in index


def test_plain_words_stay_plain_in_markdown():
    assert book.markdown("Write `x *= 2`, not 2*x_i or <b>.") == r"Write `x *= 2`, not 2\*x\_i or \<b\>."


def test_a_module_is_shown_as_its_source_says_it(tmp_path):
    source = tmp_path / "lamp.py"
    source.write_text(
        '"""A lamp: ``on`` or *off*.\n\n    light = switch · 2*x_i\n\nReference: nobody."""\n\n\n'
        'class Lamp(dict):\n    """It shines."""\n\n    watts: int = 5\n\n'
        "    def __init__(\n        self,\n        watts: int,  # of power\n    ):\n        self.watts = watts\n\n"
        '    def shine(self) -> str:\n        """How it shines."""\n        return \'\'\n\n'
        "    def quietly(self): ...\n\n\ndef _hidden(): ...\n",
        encoding="utf-8",
    )
    page = book.module_page("lamp", source)
    assert page.startswith(
        "# lamp\n\nA lamp: `on` or *off*.\n\n```text\nlight = switch · 2*x_i\n```\n\nReference: nobody.\n\n## `Lamp`\n"
    )
    assert (
        "class Lamp(dict):\n    watts: int = 5\n    def __init__(\n        self,\n        watts: int,  # of power\n"
        in page
    )
    assert "### `Lamp.shine`\n\n```python\ndef shine(self) -> str:\n```\n\nHow it shines." in page
    assert "quietly" not in page and "hidden" not in page


def test_a_solution_is_folded_behind_the_stub_and_links_stay_in_the_book(tmp_path):
    book.stage(tmp_path)
    page = nbformat.read(tmp_path / "chapters" / "00_start.ipynb", as_version=4)
    (stub,) = [cell for cell in page.cells if "stub" in cell.metadata.get("tags", ())]
    (solution,) = [cell for cell in page.cells if "solution" in cell.metadata.get("tags", ())]
    assert "raise NotImplementedError()" in stub.source
    assert "hide-input" in solution.metadata.tags and "return (a + b) / 2" in solution.source
    assert "### " not in solution.source
    text = "\n".join(cell.source for cell in page.cells)
    assert "../" not in text.replace("](../index.md)", "")
    assert "check(halfway)" in [cell.source for cell in page.cells]
    (shown,) = [cell.outputs[0].data["text/html"] for cell in page.cells if cell.source == "progress()"]
    links = re.findall(r'href="([^"]+)"', shown)
    assert links == ["00_start.html", *(f"{path.stem}.html" for path in CHAPTERS)], "the map, as it is today"


def test_a_book_without_solutions_or_packages_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SOLUTIONS", tmp_path)
    with pytest.raises(book.BookError, match=r"00_start\.ipynb is missing; run: attnlab build"):
        book.stage(tmp_path / "source")
    monkeypatch.setattr(book, "NEEDED", ("sphinx", "no_such_package"))
    with pytest.raises(book.BookError, match="the book needs no_such_package; run"):
        book.build(tmp_path)


@pytest.mark.slow
def test_a_formula_that_is_not_understood_is_refused_with_its_place(tmp_path, monkeypatch):
    def one_page(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "index.md").write_text("# A page\n\nSee $\\nonsense{x}$.\n", encoding="utf-8")

    monkeypatch.setattr(book, "stage", one_page)
    with pytest.raises(book.BookError, match=r"index\.md:3: WARNING: this formula is not understood"):
        book.build(tmp_path)
