"""What of ``attnlab`` a submission may import: what earlier chapters built, and what builds on nothing else.

A module is closed to chapter N if it holds the reference of an exercise of chapter N or later, or if it imports such a
module: ``attnlab.dot_product`` would hand over a softmax, so chapter 1 does not get it. A closed module can be
imported, for a notebook may do so for its demonstrations; what is called in it explains instead of answering.
"""

import ast
from functools import cache
from pathlib import Path

import attnlab
from autograder import catalogue

FOLDER = Path(attnlab.__file__).resolve().parent
Library = dict[str, str | None]  # by dotted name: the source, or None for a closed module


@cache
def open_to(chapter: int) -> Library:
    """Every module of ``attnlab``, as a submission for this chapter sees it."""
    sources = {_dotted(path): path.read_text(encoding="utf-8") for path in sorted(FOLDER.rglob("*.py"))}
    closed = {e.reference.__module__ for e in catalogue.all_exercises() if e.chapter >= chapter} & sources.keys()
    needs = {name: _imports(source) & sources.keys() for name, source in sources.items()}
    while more := {name for name, needed in needs.items() if needed & closed} - closed:
        closed |= more
    return {name: None if name in closed else source for name, source in sources.items()}


def _dotted(path: Path) -> str:
    parts = path.relative_to(FOLDER.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names
