"""Which files of ours a file imports, directly or through others: read from the text, nothing is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

from course.paths import LIBRARY, ROOT

PACKAGES = {"attnlab": LIBRARY / "attnlab", "autograder": ROOT / "autograder", "course": ROOT / "course"}


def modules_of(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, packages and their members alike."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(module: str) -> list[Path]:
    """The files of ours that importing this name runs; none for a name that is not ours."""
    package, *rest = module.split(".")
    if package not in PACKAGES:
        return []
    folder = PACKAGES[package]
    files = [folder / "__init__.py"]
    for part in rest:
        files += [folder / f"{part}.py", folder / part / "__init__.py"]
        folder /= part
    return [path for path in files if path.is_file()]


def reached_by(path: Path) -> list[Path]:
    """Every file of ours behind a file, in a stable order. The exercises are behind ``autograder``, all of them."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        for module in modules_of(waiting.pop()):
            fresh = [file for file in files_of(module) if file not in seen]
            seen.update(fresh)
            waiting += fresh
    return sorted(seen)
