"""The README's table of chapters, made from the sources so that it cannot grow old. ``attnlab build`` writes it."""

import re
from collections.abc import Sequence
from pathlib import Path

from course import paths
from course.paths import shown
from course.source import BuildError, Chapter, chapters_in

TABLE = re.compile(r"(?<=<!-- chapters: made by `attnlab build` -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def heading_of(chapter: Chapter) -> tuple[str, str]:
    """A chapter's title and, in bold below it, its question."""
    text = chapter.path.read_text(encoding="utf-8")
    title = re.search(r"^# # (.+)$", text, re.MULTILINE)
    question = re.search(r"^# \*\*(.+?)\*\*", text, re.MULTILINE | re.DOTALL)
    if not title or not question:
        raise BuildError(f"{shown(chapter.path)}:1: begin with `# # Title` and, below it, the **question in bold**")
    return title[1], " ".join(question[1].replace("\n#", "\n").split())


def chapter_table(chapters: Sequence[Chapter], link: str) -> str:
    """What there is to learn, a row a chapter. ``link`` holds {name}, which stands for the chapter's."""
    rows = ["| Chapter | The question | Exercises | Minutes | Points |", "|:--|:--|--:|--:|--:|"]
    for chapter in chapters:
        title, question = heading_of(chapter)
        exercises = chapter.exercises
        minutes, points = sum(e.minutes for e in exercises), sum(e.points for e in exercises)
        address = link.format(name=chapter.name)
        rows.append(f"| [{title}]({address}) | {question} | {len(exercises)} | {minutes} | {points:g} |")
    return "\n".join(rows)


def path() -> Path:
    return paths.CHAPTERS.parent / "README.md"


def text() -> str:
    """The README as it should be."""
    table = chapter_table(chapters_in(paths.CHAPTERS), "notebooks/{name}/{name}.ipynb")
    return TABLE.sub(lambda _: table, path().read_text(encoding="utf-8"))


def is_right() -> bool:
    """Whether the README's table is what the sources say; a course without a README has nothing to get wrong."""
    return not path().exists() or text() == path().read_text(encoding="utf-8")


def write() -> bool:
    """Put the table into the README. Whether that changed anything."""
    if is_right():
        return False
    path().write_text(text(), encoding="utf-8", newline="\n")
    return True
