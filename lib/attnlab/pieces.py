"""The pieces of a model that a reader wrote in the notebooks of earlier chapters, put in the place of the library's.

A notebook is read, not run: its imports, its constants and its definitions are taken, all other cells are left out. All
chapters share one set of names, so that a layer of chapter 12 is made of the attention of chapter 9, if both are the
reader's own. Where a notebook is missing, or an exercise in it is not solved yet, the library's piece stays.
"""

import ast
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any


def own(library: Mapping[str, Any], chapters: Mapping[str, int], folder: str | Path = "..") -> dict[str, Any]:
    """For each name the reader's own piece, from the notebook of its chapter, or else the library's; says which.

    ``library``    name → the library's piece
    ``chapters``   name → the chapter in which the reader wrote it; the pieces that those are made of may stand here too
    """
    module = ModuleType("pieces")
    module.__dict__.update(library)
    mine: dict[str, Any] = {}
    for chapter in sorted(set(chapters.values())):
        names = [name for name, number in chapters.items() if number == chapter]
        found = sorted(Path(folder).glob(f"{chapter:02}_*/{chapter:02}_*.ipynb"))
        if not found:
            _say(names, f"the library's: no notebook of chapter {chapter} lies in {Path(folder).resolve()}")
            continue
        written = _take(_statements(found[0]), module, str(found[0]), mine, set(chapters) | set(library))
        mine |= {name: module.__dict__[name] for name in written if name in names}
        module.__dict__.update(mine)
        _say([name for name in names if name in mine], f"yours, from {found[0].name}")
        _say([name for name in names if name not in mine], f"the library's: not solved yet in {found[0].name}")
    return {name: mine.get(name, piece) for name, piece in library.items()}


def _say(names: Iterable[str], whose: str) -> None:
    for name in names:
        print(f"{name:22} {whose}")


def _statements(notebook: Path) -> Iterator[ast.stmt]:
    """What stands at the top level of the cells; a cell that is no plain Python is left out."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            try:
                yield from ast.parse("".join(cell["source"])).body
            except SyntaxError:
                continue


def _take(
    statements: Iterable[ast.stmt], module: ModuleType, file: str, mine: dict[str, Any], pieces: set[str]
) -> list[str]:
    """Execute imports, constants and definitions in the module; the names of those definitions that are solved."""
    solved = []
    for statement in statements:
        name = statement.name if isinstance(statement, ast.FunctionDef | ast.ClassDef) else ""
        if name in pieces and _is_stub(statement):
            continue
        if not (name or isinstance(statement, ast.Import | ast.ImportFrom) or _is_constant(statement)):
            continue
        before = dict(module.__dict__)
        try:
            exec(compile(ast.Module([statement], []), file, "exec"), module.__dict__)
        except Exception:  # an import or a decorator that needs more than is here
            continue
        if name:
            solved.append(name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):  # the reader's own pieces are not covered up again
            module.__dict__.update({name: before[name] for name in mine if name in before})
    return solved


def _is_stub(definition: ast.stmt) -> bool:
    return any(
        isinstance(node, ast.Raise) and node.exc is not None and "NotImplementedError" in ast.unparse(node.exc)
        for node in ast.walk(definition)
    )


def _is_constant(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Assign):
        return False
    try:
        ast.literal_eval(statement.value)
    except ValueError:
        return False
    return True
