"""Forbidden functions found by reading: in the student's answer and in what it calls, under any name, with the line.

Only code that the answer reaches is read: a comparison with ``torch.softmax`` in another cell costs nothing, nor does a
comment or a docstring. A name means what it was bound to last, as it does when the notebook has run.
"""

import ast
import builtins
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

from autograder import shortcuts

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
MAX_SOURCE = 1 << 20  # characters of a cell that are worth reading


@dataclass(frozen=True)
class Use:
    """One use of a forbidden name: which, and where it stands."""

    name: str
    cell: int  # counted from 1 among the code cells
    line: int
    text: str

    def sentence(self, answer: str) -> str:
        return (
            f"`{self.name}` is the answer to this exercise, or part of it: write `{answer}` without it. "
            f"It stands in line {self.line} of code cell {self.cell}: `{self.text}`."
        )


@dataclass
class _Binding:
    """What a name of the notebook was bound to last: a dotted name that was imported, or code."""

    cell: int
    dotted: str = ""
    node: ast.AST | None = None


@dataclass
class _Notebook:
    names: dict[str, list[_Binding]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    sources: list[list[str]] = field(default_factory=list)

    def bind(self, name: str, binding: _Binding) -> None:
        self.names[name] = [binding]


def uses(sources: Sequence[str], answer: str, banned: Iterable[str], closed: Iterable[str] = ()) -> list[Use]:
    """Every use of a banned name, or of a closed module, that ``answer`` reaches; each line once."""
    notebook = _read(tuple(sources))
    reader = _Reader(notebook, frozenset(banned), frozenset(closed))
    reader.visit_name(answer)
    return sorted(reader.found, key=lambda use: (use.cell, use.line, use.name))


@lru_cache(maxsize=64)
def _read(sources: tuple[str, ...]) -> _Notebook:
    notebook = _Notebook()
    for position, source in enumerate(sources, 1):
        notebook.sources.append(source.splitlines())
        tree = _parse(source)
        for statement in tree.body if tree else ():
            _bind(statement, position, notebook)
    return notebook


def _parse(source: str) -> ast.Module | None:
    """A cell as Python; magics and shell lines as what IPython makes of them. None for what is no Python."""
    if len(source) > MAX_SOURCE:
        return None
    lines = source.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if lines and lines[first].startswith("%%"):  # %%time and the like run what follows
        lines[first] = ""
    text = "\n".join("pass" if line.startswith(("%", "!", "?")) else line for line in lines)
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.parse(text)
    return None


def _bind(statement: ast.AST, cell: int, notebook: _Notebook) -> None:
    """The names that a statement of a cell binds, also inside ``if``, ``for``, ``try`` and ``with``."""
    if isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names):
        notebook.stars.append(statement.module or "")
    for name, dotted in _imports(statement):
        notebook.bind(name, _Binding(cell, dotted=dotted))
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        notebook.bind(statement.name, _Binding(cell, node=statement))
        return
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign) and statement.value is not None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            for name in _targets(target):
                notebook.bind(name, _Binding(cell, node=statement.value))
            if isinstance(target, ast.Attribute | ast.Subscript) and (root := _root(target)):
                notebook.names.setdefault(root, []).append(_Binding(cell, node=statement.value))  # Model.forward = …
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            _bind(child, cell, notebook)


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that an import binds, and what they stand for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _targets(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Tuple | ast.List):
        for item in node.elts:
            yield from _targets(item)
    elif isinstance(node, ast.Starred):
        yield from _targets(node.value)


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


class _Reader(ast.NodeVisitor):
    """Walks what the answer reaches, scope by scope."""

    def __init__(self, notebook: _Notebook, banned: frozenset[str], closed: frozenset[str]):
        self.notebook, self.banned, self.closed = notebook, banned, closed
        self.objects = {id(target[2]): name for name in banned if (target := shortcuts.resolve(name))}
        self.scopes: list[dict[str, str]] = []  # local names; what they stand for, where they were imported
        self.cell = 0
        self.found: set[Use] = set()
        self.seen: set[int] = set()

    def visit_name(self, name: str) -> None:
        """Read what a name of the notebook is bound to."""
        for binding in self.notebook.names.get(name, ()):
            if binding.node is None or id(binding.node) in self.seen:
                continue
            self.seen.add(id(binding.node))
            before = self.cell, self.scopes
            self.cell, self.scopes = binding.cell, []
            self.visit(binding.node)
            self.cell, self.scopes = before

    def dotted(self, node: ast.AST) -> str:
        """The dotted name of an expression whose root was imported; empty for any other."""
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        if isinstance(node, ast.Call):
            return self._dotted_call(node)
        if not isinstance(node, ast.Name):
            return ""
        for scope in reversed(self.scopes):
            if node.id in scope:
                return scope[node.id]
        bindings = self.notebook.names.get(node.id)
        if bindings:
            return bindings[-1].dotted
        if not hasattr(builtins, node.id):
            for module in self.notebook.stars:
                if hasattr(sys.modules.get(module), node.id):
                    return f"{module}.{node.id}"
        return ""

    def _dotted_call(self, node: ast.Call) -> str:
        """``getattr(torch, "softmax")`` and ``importlib.import_module("torch")`` name things, too."""
        words = [arg.value if isinstance(arg, ast.Constant) and isinstance(arg.value, str) else "" for arg in node.args]
        called = node.func.id if isinstance(node.func, ast.Name) else self.dotted(node.func)
        if called == "getattr" and len(words) > 1 and words[1]:
            owner = self.dotted(node.args[0])
            return f"{owner}.{words[1]}" if owner else ""
        return words[0] if called in ("__import__", "importlib.import_module") and words else ""

    def report(self, dotted: str, node: ast.AST) -> None:
        name = dotted if dotted in self.banned else ""
        if not name and (target := shortcuts.resolve(dotted)):
            name = self.objects.get(id(target[2]), "")
        if not name and any(dotted.startswith(f"{module}.") for module in self.closed):
            name = dotted
        if name:
            line = getattr(node, "lineno", 1)
            lines = self.notebook.sources[self.cell - 1]
            text = lines[line - 1].strip()[:120] if line <= len(lines) else ""
            self.found.add(Use(name, self.cell, line, text))

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            if dotted := self.dotted(node):
                self.report(dotted, node)
            elif not any(node.id in scope for scope in self.scopes):
                self.visit_name(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if dotted := self.dotted(node):
            self.report(dotted, node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if dotted := self._dotted_call(node):
            self.report(dotted, node)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for outside in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(outside)
        self._scope(node, node.body)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for outside in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(outside)
        self._scope(node, [node.body])

    def _scope(self, node: FUNCTIONS, body: Sequence[ast.AST]) -> None:
        self.scopes.append(_locals(node))
        for part in body:
            self.visit(part)
        self.scopes.pop()


def _locals(function: FUNCTIONS) -> dict[str, str]:
    """The names that are local to a function, and the dotted name of those that it imports."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = {argument.arg: "" for argument in every if argument}
    outer: set[str] = set()
    waiting: list[ast.AST] = list(function.body) if isinstance(function.body, list) else [function.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Global | ast.Nonlocal):
            outer.update(node.names)
        names.update(_imports(node))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.setdefault(node.id, "")
        if isinstance(node, ast.ExceptHandler) and node.name:
            names[node.name] = ""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[node.name] = ""
        elif not isinstance(node, ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return {name: dotted for name, dotted in names.items() if name not in outer}
