"""``attnlab book``: the solved chapters, as they stand, become a web site that needs no network.

Three steps: the pages are gathered in ``book/_build/source`` (those of ``book/``, the chapters from ``solutions/``, and
what is generated from the exercises and the library); Sphinx makes ``book/_build/html`` of them; the fonts that the
formulas need are put beside it. Nothing is executed again, and only what changed is read again.
"""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode, v4

from autograder import road
from autograder.exercise import Exercise
from course import appendix, colab, paths
from course.paths import derived, shown
from course.readme import chapter_table, heading_of
from course.source import Chapter, chapters_in

PAGES = paths.ROOT / "book"
NEEDED = ("sphinx", "myst_nb", "sphinx_book_theme", "math_core", "ziamath", "fontTools")
PARTS = {
    "Begin": range(1),
    "Part I · The mathematics": range(1, 8),
    "Part II · The Transformer": range(8, 16),
    "Part III · At work": range(16, 24),
    "Part IV · The frontier": range(24, 27),
}
EMPHASIS = re.compile(r"(?<!\w)\\\*(\w[^*`]*\w)\\\*(?!\w)")  # *so*, once its stars are escaped
LAB = "http://localhost:8888/lab/tree/"  # where `python lab.py` opens the course, if nothing else is there
SOLUTION_MARK = re.compile(r"^[ ]*### (BEGIN|END) SOLUTION\n?", re.MULTILINE)
# A link to a notebook, from a notebook and from a page of book/, as it works in the repository.
NEIGHBOUR = re.compile(r"\]\(\.\./(\d\d_\w+)/\1\.ipynb(#[^)]*)?\)")
LINKED = re.compile(r'href="\.\./(\d\d_\w+)/\1\.ipynb[^"]*"')
MAP = "progress()"  # the cell that shows the map of the course: in the book as it is today, and nobody's
SOLVED = re.compile(r"\]\(\.\./solutions/(\d\d_\w+)/\1\.ipynb(#[^)]*)?\)")


class BookError(Exception):
    """The book cannot be built. The message says why, and what to do."""


def build(folder: Path = PAGES / "_build") -> Path:
    """Build the book in a folder; its first page."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise BookError(f"the book needs {', '.join(missing)}; run: python -m pip install -e '.[author]'")
    stage(folder / "source")
    options = ["-q", "-W", "--keep-going", "-b", "html", "-c", PAGES, "-d", folder / "doctrees"]
    command = [sys.executable, "-P", "-m", "sphinx", *options, folder / "source", folder / "html"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        first = next((line for line in lines if re.search("WARNING|ERROR|Error", line)), lines[-1])
        raise BookError(f"Sphinx refuses a page: {first.replace(str(folder / 'source') + os.sep, '')}")
    return folder / "html" / "index.html"


# ------------------------------------------------------------------------------------------------------- the sources


def stage(folder: Path) -> None:
    """Gather every page in a folder. What has not changed is not touched, so that Sphinx need not read it again."""
    chapters = chapters_in(paths.CHAPTERS)
    wanted: dict[Path, str] = {}
    for page in sorted(PAGES.glob("*.md")):
        wanted[folder / page.name] = filled(page.read_text(encoding="utf-8"), chapters)
    for chapter in chapters:
        solved, released = derived(paths.SOLUTIONS, chapter.name), derived(paths.NOTEBOOKS, chapter.name)
        for path in (solved, released):
            if not path.exists():
                raise BookError(f"{shown(path)} is missing; run: attnlab build")
        wanted[folder / "chapters" / f"{chapter.name}.ipynb"] = chapter_page(chapter, chapters)
        wanted[folder / "chapters" / "_download" / f"{chapter.name}.ipynb"] = released.read_text(encoding="utf-8")
    for name, path in modules().items():
        wanted[folder / "reference" / f"{name}.md"] = module_page(name, path)
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    pictures = {folder / "pictures" / path.name: path for path in sorted((PAGES / "pictures").glob("*.png"))}
    for path, source in pictures.items():
        if not path.exists() or path.read_bytes() != source.read_bytes():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read_bytes())
    for path in folder.rglob("*"):
        if path.is_file() and path not in wanted and path not in pictures:
            path.unlink()


def filled(page: str, chapters: list[Chapter]) -> str:
    """A page with its marks, ``<!-- chapters -->`` and the like, filled in, and its links leading within the book."""
    made = {
        "chapters": lambda: chapter_table(chapters, "chapters/{name}.ipynb") + "\n\n" + contents(chapters),
        "exercises": lambda: "\n\n".join(exercise_index(chapters)),
        "modules": module_table,
        "references": lambda: appendix.references(chapters, addresses()),
        "clone": lambda: f"```sh\ngit clone {colab.address()} attention-lab\ncd attention-lab\npython lab.py\n```",
    }
    page = appendix.glossary(page, chapters) if appendix.ROW.search(page) else page
    page = SOLVED.sub(r"](chapters/\1.ipynb\2)", page)
    return re.sub(r"^<!-- (\w+) -->$", lambda mark: made[mark[1]](), page, flags=re.MULTILINE)


def addresses() -> dict[str, str]:
    """Where the papers can be read that the chapters list."""
    return appendix.addresses_of((PAGES / "papers.toml").read_text(encoding="utf-8"))


def contents(chapters: list[Chapter]) -> str:
    """The chapters in the side bar, part by part."""
    trees = []
    for part, numbers in PARTS.items():
        entries = [f"chapters/{chapter.name}" for chapter in chapters if chapter.number in numbers]
        if entries:
            trees.append("\n".join(["```{toctree}", f":caption: {part}", ":hidden:", "", *entries, "```"]))
    return "\n\n".join(trees)


# ------------------------------------------------------------------------------------------------------- a chapter


def chapter_page(chapter: Chapter, chapters: list[Chapter]) -> str:
    """The solved notebook as a page: solutions folded behind the cell that a student finds, links within the book."""
    terms = appendix.terms_of((PAGES / "glossary.md").read_text(encoding="utf-8"))
    linker = appendix.Linker(terms, addresses(), chapters, chapter)
    solved = nbformat.read(derived(paths.SOLUTIONS, chapter.name), as_version=4)
    released = nbformat.read(derived(paths.NOTEBOOKS, chapter.name), as_version=4)
    stubs = {_grade_id(cell): cell.source for cell in released.cells if _is_answer(cell)}
    cells: list[NotebookNode] = []
    for cell in solved.cells:
        if cell.cell_type == "markdown":
            cell.source = linker.link(within_the_book(cell.source))
        if _is_answer(cell):
            cells += folded(cell, stubs[_grade_id(cell)])
            continue
        if cell.source == MAP:
            blank = LINKED.sub(r'href="\1.html"', road.road([]).page())
            cell.outputs = [v4.new_output("display_data", data={"text/html": blank})]
        if "nbgrader" in cell.metadata:
            cell.source = cell.source.splitlines()[-1]  # the laws above it stand in the panel below it
        cells.append(cell)
    title, _, rest = cells[0].source.partition("\n")
    cells[0].source = f"{title}\n\n{take(chapter)}\n{rest}"
    solved.cells = cells
    solved.metadata = {"kernelspec": solved.metadata["kernelspec"]}
    return nbformat.writes(solved, version=4)


def take(chapter: Chapter) -> str:
    """The ways to the chapter's notebook, its exercises unsolved: here, in the cloud, as a file.

    Nobody can know from a page whether JupyterLab runs on the reader's machine. So its link comes with what starts it.
    """
    notebook = f"notebooks/{chapter.name}/{chapter.name}.ipynb"
    cloud = colab.link(notebook)
    return "\n\n".join(
        [
            '<div class="take">',
            *([f"[Open in Colab]({cloud})"] if cloud else []),
            f"{{download}}`Download notebook <_download/{chapter.name}.ipynb>`",
            "<details><summary>Open in JupyterLab</summary>",
            f"If the course is open in this browser, [open the notebook there]({LAB}{notebook}). "
            "If it is not, or if that page asks for a token, type this in the course's folder:",
            f"```sh\npython lab.py open {notebook}\n```",
            "A notebook that you downloaded or solved on Colab works there too, once it is in `notebooks/`.",
            "</details>",
            "</div>",
        ]
    )


def folded(cell: NotebookNode, stub: str) -> list[NotebookNode]:
    """An answer: first what the student finds, then the solution, folded."""
    question = v4.new_code_cell(stub, id=f"{cell.id}-stub", metadata={"tags": ["stub"]})
    metadata = {"tags": ["hide-input", "solution"], "mystnb": {"code_prompt_show": "A solution"}}
    answer = v4.new_code_cell(SOLUTION_MARK.sub("", cell.source), id=cell.id, metadata=metadata, outputs=cell.outputs)
    return [question, answer]


def within_the_book(text: str) -> str:
    """Links between notebooks lead from page to page; the README's place is taken by the first page."""
    return NEIGHBOUR.sub(r"](\1.ipynb\2)", text).replace("](../../README.md)", "](../index.md)")


def _is_answer(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def _grade_id(cell: NotebookNode) -> str:
    return cell.metadata["nbgrader"]["grade_id"]


# ------------------------------------------------------------------------------------------------------- exercises


def exercise_index(chapters: list[Chapter]) -> Iterator[str]:
    """Every exercise: its laws with their points, and the misunderstandings that it recognises."""
    every = [exercise for chapter in chapters for exercise in chapter.exercises]
    laws, known = sum(len(e.checks) for e in every), sum(len(e.misconceptions) for e in every)
    yield (
        f"These are {len(every)} exercises, with {laws} laws worth {sum(e.points for e in every):g} points, "
        f"and {known:,} misunderstandings."
    )
    for chapter in chapters:
        if not chapter.exercises:
            continue
        yield f"## {heading_of(chapter)[0]}"
        yield "| Exercise | Level | Minutes | Points |\n|:--|:--|--:|--:|\n" + "\n".join(
            f"| [`{e.name}`](#index-{e.name}) | {level(e)} | {e.minutes} | {e.points:g} |" for e in chapter.exercises
        )
        for exercise in chapter.exercises:
            yield from exercise_entry(chapter, exercise)


def exercise_entry(chapter: Chapter, exercise: Exercise) -> Iterator[str]:
    yield f"(index-{exercise.name})=\n### `{exercise.name}`"
    there = f"[In its chapter](chapters/{chapter.name}.ipynb#exercise-{exercise.name.lower()})"
    yield f"{there} · {level(exercise)} · {exercise.minutes} minutes · {points(exercise.points)}"
    yield "**What must hold**"
    yield "\n".join(f"- {markdown(check.law)} *({points(check.points)})*" for check in exercise.checks)
    known = exercise.misconceptions
    yield f"<details><summary>What it recognises: {many(len(known), 'misunderstanding')}</summary>"
    yield "\n".join(f"{m.name.replace('_', ' ').capitalize()}\n: {markdown(m.explanation)}\n" for m in known)
    yield "</details>"


def points(number: float) -> str:
    return many(number, "point")


def many(number: float, thing: str) -> str:
    return f"{number:g}\N{NO-BREAK SPACE}{thing}" + ("" if number == 1 else "s")


def level(exercise: Exercise) -> str:
    return "●" * exercise.difficulty + "○" * (3 - exercise.difficulty)


def markdown(words: str) -> str:
    """Plain text with `code` in backticks, its other characters not taken for Markdown."""
    parts = words.split("`")
    return "`".join(part if i % 2 else re.sub(r"([\\*_\[\]<>|$#{}~^])", r"\\\1", part) for i, part in enumerate(parts))


# ------------------------------------------------------------------------------------------------------- the library


def modules() -> dict[str, Path]:
    """The modules of the reference library, by dotted name."""
    found = {}
    for path in sorted((paths.LIBRARY / "attnlab").rglob("*.py")):
        parts = path.relative_to(paths.LIBRARY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return dict(sorted(found.items()))


def module_page(name: str, path: Path) -> str:
    """A module as its source says it: text, signatures and docstrings. It is read, not imported."""
    source = path.read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    parts = [f"# {name}", docstring(tree)]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            parts += [f"## `{node.name}`", signature(node, lines), docstring(node)]
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and ast.get_docstring(method) and method.name != "__init__":
                    parts += [f"### `{node.name}.{method.name}`", signature(method, lines), docstring(method)]
    return "\n\n".join(filter(None, parts)) + "\n"


def signature(node: ast.FunctionDef | ast.ClassDef, lines: list[str]) -> str:
    """How a function or class begins, as it is written; of a class, its fields and how one is made, too."""
    wanted = [(node.lineno, node.body[0].lineno)]
    if isinstance(node, ast.ClassDef):
        for part in node.body:
            if isinstance(part, ast.AnnAssign):
                wanted.append((part.lineno, (part.end_lineno or part.lineno) + 1))
            elif isinstance(part, ast.FunctionDef) and part.name == "__init__":
                wanted.append((part.lineno, max(part.body[0].lineno, part.lineno + 1)))
    shown = [line for first, last in wanted for line in lines[first - 1 : max(last - 1, first)]]
    return "\n".join(["```python", *textwrap.dedent("\n".join(shown)).splitlines(), "```"])


def docstring(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """Our docstrings are plain text: paragraphs flow, formulas, tables and lists stay as they are."""
    made = []
    for block in (ast.get_docstring(node) or "").split("\n\n"):
        if re.search(r"^ |\S  +\S|^- ", block, re.MULTILINE):
            made.append(f"```text\n{textwrap.dedent(block.strip(chr(10))).replace('``', '`')}\n```")
        else:
            made.append(flowing(block))
    return "\n\n".join(made)


def flowing(words: str) -> str:
    """A paragraph of a docstring as Markdown: its ``code`` and its *stress* are the only marks."""
    return EMPHASIS.sub(r"*\1*", markdown(" ".join(words.split()).replace("``", "`")))


def module_table() -> str:
    """A row a module: its name and the first line of its text; and the pages themselves, in the side bar."""
    rows = ["| Module | What it is |", "|:--|:--|"]
    for name, path in modules().items():
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
        rows.append(f"| [`{name}`](reference/{name}.md) | {flowing(first)} |")
    pages = [f"reference/{name}" for name in modules()]
    return "\n".join([*rows, "", "```{toctree}", ":hidden:", "", *pages, "```"])
