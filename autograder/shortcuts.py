"""Functions that would be the answer itself: while a student's function runs, they explain instead of answering.

Under any name: they are replaced where they live and where the notebook bound them, and PyTorch's own are caught when
they are called, by whatever way the student's code came by them.
"""

import sys
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager, nullcontext
from functools import cache
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
    originals: dict[int, str] = {}
    replaced: dict[int, Any] = {}
    try:
        for dotted in names:
            target = resolve(dotted)
            if target is None:
                continue
            owner, attribute, original = target
            originals[id(original)] = dotted

            def explain(*args: Any, _name: str = dotted, **kwargs: Any) -> Any:
                raise Shortcut(_why(_name, answer))

            places = [(owner, attribute)]
            if isinstance(original, type) and "forward" in vars(original):
                places.append((original, "forward"))  # an object that was made before, or of a class derived from it
            for holder, key in places:
                undo.append((holder, key, getattr(holder, key)))
                setattr(holder, key, explain)
            replaced[id(original)] = explain
        for key, value in [(key, value) for key, value in namespace.items() if id(value) in replaced and key != answer]:
            undo.append((namespace, key, value))
            namespace[key] = replaced[id(value)]
        with _watch(originals, answer):
            yield
    finally:
        for holder, key, original in reversed(undo):
            if holder is namespace:
                namespace[key] = original
            else:
                setattr(holder, key, original)


def _watch(originals: dict[int, str], answer: str) -> Any:
    """PyTorch tells of every call of its functions, whatever they are called by."""
    return _watcher()(originals, answer) if originals and "torch" in sys.modules else nullcontext()


@cache
def _watcher() -> Any:
    """The class is made when PyTorch is there, once."""
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        def __init__(self, originals: dict[int, str], answer: str):
            super().__init__()
            self.originals, self.answer = originals, answer

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if name := self.originals.get(id(func)):
                raise Shortcut(_why(name, self.answer))
            return func(*args, **(kwargs or {}))

    return Watch


def _why(name: str, answer: str) -> str:
    return f"`{name}` is the answer to this exercise: write `{answer}` without it."


def is_forbidden(function: Any, names: Iterable[str]) -> str | None:
    """The forbidden name of this very function, if it has one."""
    for dotted in names:
        target = resolve(dotted)
        if target is not None and target[2] is function:
            return dotted
    return None
