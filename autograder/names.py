"""Which names a cell defines, found by reading: what it would be asked for, and why that is not there."""

import ast
import re
from collections.abc import Iterator

BY_EYE = re.compile(r"^(?:async +def|def|class) +(\w+)|^(\w+) *(?::[^=\n]+)?=(?!=)", re.MULTILINE)
MAGIC = re.compile(r"^(\s*)[%!?].*$", re.MULTILINE)


def parsed(source: str) -> ast.Module | None:
    """The cell as Python, its magics left out; None where it is none."""
    try:
        return ast.parse(MAGIC.sub(r"\1pass", source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def defined_in(source: str) -> set[str]:
    """What running the cell makes: functions, classes, assigned names. By eye where the cell is no Python."""
    tree = parsed(source)
    if tree is None:
        return {name for pair in BY_EYE.findall(source) for name in pair if name}
    return {name for node in tree.body for name in _names(node)}


def hidden_in(source: str) -> set[str]:
    """Functions and classes that stand inside something else, where nobody finds them by their name."""
    tree = parsed(source)
    if tree is None:
        return set()
    all_of_them = (
        n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )
    return set(all_of_them) - defined_in(source)


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if node.value else []
        yield from (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
    elif isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.stmt):
                yield from _names(inner)
            elif isinstance(inner, ast.ExceptHandler):
                for part in inner.body:
                    yield from _names(part)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
