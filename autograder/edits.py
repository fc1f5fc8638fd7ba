"""What a call did to its arguments: seen, told, and put back, so that it spoils no other law.

A check may use an argument again after the call, or compute from it what it expects. So every argument is, after each
call, what it was before. That it had been changed is kept with the call, and ``expect.unchanged`` says so.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from autograder.expect import as_numpy, is_tensor, same


def kept(value: Any) -> Any:
    """A copy that later edits do not reach; what cannot be copied (a function, a module) as it is."""
    if isinstance(value, list | tuple):
        return type(value)(kept(item) for item in value)
    if isinstance(value, dict):
        return {key: kept(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    if is_tensor(value):
        return value.detach().clone()
    return set(value) if isinstance(value, set) else value


def editable(value: Any) -> list[Any]:
    """Every array, tensor, set and list of plain values in a value, in a fixed order: what a call may have edited."""
    if isinstance(value, np.ndarray | set) or is_tensor(value):
        return [value]
    if isinstance(value, list | tuple):
        inner = [part for item in value for part in editable(item)]
        return inner or [value] if isinstance(value, list) else inner
    if isinstance(value, dict):
        return [part for item in value.values() for part in editable(item)]
    return []


def edits(name: str, was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """Each part of an argument that is not what it was: its name, what it was, what it is."""
    if isinstance(was, dict) and was.keys() == now.keys():
        for key in was:
            yield from edits(f"{name}[{key!r}]", was[key], now[key])
    elif isinstance(was, list | tuple) and len(was) == len(now):
        for position, (before, after) in enumerate(zip(was, now, strict=True)):
            yield from edits(f"{name}[{position}]", before, after)
    elif not callable(was) and not same(was, now):
        yield name, was, now


Held = list[tuple[Any, Any]]


def held(value: Any) -> Held:
    """Everything in a value that can be edited, each with a copy; a container with what it contains."""
    if isinstance(value, np.ndarray | set) or is_tensor(value):
        return [(value, kept(value))]
    if isinstance(value, dict):
        return [(value, dict(value)), *(pair for item in value.values() for pair in held(item))]
    if isinstance(value, list | tuple):
        inner = [pair for item in value for pair in held(item)]
        return [(value, list(value)), *inner] if isinstance(value, list) else inner
    return []


def put_back(pairs: Held) -> None:
    """Make each thing what it was, in place: a view stays a view of the same array."""
    for now, was in pairs:
        if isinstance(now, list):
            now[:] = was
        elif isinstance(now, set | dict):
            now.clear()
            now.update(was)
        elif not _identical(now, was):
            write(now, was)


def _identical(now: Any, was: Any) -> bool:
    a, b = as_numpy(now), as_numpy(was)
    assert a is not None and b is not None
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def write(now: Any, was: Any) -> None:
    """Put the numbers of one array or tensor into another, in place."""
    if is_tensor(now):
        try:
            now.data.copy_(was)
        except RuntimeError:  # of another shape now, or expanded: several elements in one place
            now.data = was
        return
    if now.shape != was.shape:  # `x.shape = …` and `x.resize(…)` work in place
        with contextlib.suppress(ValueError):
            now.resize(was.shape, refcheck=False)
    if now.shape == was.shape:
        now[...] = was
