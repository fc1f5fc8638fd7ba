"""The exercises of Attention Lab, and the judge that checks what students write.

In a notebook:

    from autograder import check

    check(softmax)
"""

from autograder.notebook import check, check_all

__all__ = ["check", "check_all"]
