"""The exercises of Attention Lab, and the judge that checks what students write.

In a notebook:

    from autograder import check, check_all, progress

    check(softmax)    # one exercise
    check_all()       # before handing in: the whole notebook, in a fresh process
    progress()        # what is done, and what comes next
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autograder.notebook import check, check_all, progress

__all__ = ["check", "check_all", "progress"]


def __getattr__(name: str) -> Any:
    """Load the checks when they are asked for: the process that runs a submission must never have held them."""
    if name in __all__:
        from autograder import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module 'autograder' has no attribute {name!r}")
