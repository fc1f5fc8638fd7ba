"""Functions that would be the answer itself: while a student's function runs, they explain instead of answering."""

import sys
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any


class Shortcut(Exception):
    """A forbidden function was called. The message says why it is forbidden."""


def resolve(dotted: str) -> tuple[Any, str, Any] | None:
    """The owner, the attribute and the object of ``torch.nn.functional.softmax``; None where it is not loaded."""
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        owner: Any = sys.modules.get(".".join(parts[:cut]))
        if owner is None:
            continue
        for part in parts[cut:-1]:
            owner = getattr(owner, part, None)
        found = getattr(owner, parts[-1], None)
        return None if found is None else (owner, parts[-1], found)
    return None


@contextmanager
def forbidden(names: Iterable[str], namespace: MutableMapping[str, Any], answer: str) -> Iterator[None]:
    """Inside the block, each of these functions raises ``Shortcut``, also under a name that ``namespace`` gave it."""
    undo: list[tuple[Any, str, Any]] = []
    try:
        for dotted in names:
            target = resolve(dotted)
            if target is None:
                continue
            owner, attribute, original = target

            def explain(*args: Any, _name: str = dotted, **kwargs: Any) -> Any:
                raise Shortcut(f"`{_name}` is the answer to this exercise: write {answer} without it.")

            aliases = [key for key, value in namespace.items() if value is original and key != answer]
            for holder, key in [(owner, attribute)]:
                undo.append((holder, key, original))
                setattr(holder, key, explain)
            for key in aliases:
                undo.append((namespace, key, original))
                namespace[key] = explain
        yield
    finally:
        for holder, key, original in reversed(undo):
            if holder is namespace:
                namespace[key] = original
            else:
                setattr(holder, key, original)


def is_forbidden(function: Any, names: Iterable[str]) -> str | None:
    """The forbidden name of this very function, if it has one."""
    for dotted in names:
        target = resolve(dotted)
        if target is not None and target[2] is function:
            return dotted
    return None
