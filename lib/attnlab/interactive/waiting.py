"""Demonstrations that wait for the reader's own function."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def once_solved(name: str) -> Iterator[None]:
    """Run a demonstration that uses the reader's own function; while that is a stub, say which exercise it waits for.

    Only the stub's ``NotImplementedError`` is taken in; any other mistake shows itself as usual.
    """
    try:
        yield
    except NotImplementedError:
        print(f"This cell uses your {name}. Solve the exercise above, then run this cell again.")
