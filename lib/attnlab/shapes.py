"""Shape annotations that cost nothing where jaxtyping is absent (Colab, a student's laptop).

Signatures say ``Float[Tensor, "B T d_k"]``. Type checkers and the test run read that through jaxtyping, which then
also enforces it at every call; without jaxtyping the annotation is simply the array type.
"""

from typing import TYPE_CHECKING, TypeVar

from numpy import ndarray
from torch import Tensor

Array = ndarray
AnyArray = TypeVar("AnyArray", Array, Tensor)  # a NumPy array or a tensor; the answer is of the same kind

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Inexact, Int, Real
else:
    try:
        from jaxtyping import Bool, Float, Inexact, Int, Real
    except ImportError:

        class _Plain:
            """``Float[Tensor, "B T"]`` is ``Tensor``."""

            def __class_getitem__(cls, item):
                return item[0]

        Bool = Float = Inexact = Int = Real = _Plain

__all__ = ["AnyArray", "Array", "Bool", "Float", "Inexact", "Int", "Real", "Tensor"]
