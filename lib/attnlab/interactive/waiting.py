"""Demonstrations that wait for the reader's own function."""

from collections.abc import Iterator
from contextlib import contextmanager

_waiting: set[str] = set()


@contextmanager
def once_solved(name: str) -> Iterator[None]:
    """Run a demonstration that uses the reader's own function; while that is a stub, say which exercise it waits for.

    Only the stub's ``NotImplementedError`` is taken in, and the ``NameError`` of a demonstration that goes on where one
    that still waits would have begun; any other mistake shows itself as usual.
    """
    try:
        yield
    except NotImplementedError:
        _waiting.add(name)
        print(f"This cell uses your {name}. Solve the exercise above, then run this cell again.")
    except NameError:
        if not _waiting:
            raise
        print("This cell goes on from one above that waits for an exercise. Run that one first, then this one again.")
    else:
        _waiting.discard(name)
