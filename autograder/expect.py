"""How a check says what it expected.

Every failure carries what came, what was expected, the first place where they differ, and one likely cause put as a
question. Shapes are compared before values, so nothing is broadcast into agreement.
"""

import sys
from typing import Any

import numpy as np

TOLERANCE = {"float16": 4e-3, "bfloat16": 2e-2, "float32": 2e-5, "float64": 1e-7}
SAME = 1e-5  # two ways to write the same mistake differ by rounding


class CheckFailure(AssertionError):
    """A law that does not hold. ``got``, ``want`` and ``index`` are there for the picture.

    ``tried`` is the call that it is about, where that is not the last one.
    """

    def __init__(
        self,
        what: str,
        cause: str = "",
        got: Any = None,
        want: Any = None,
        index: tuple[int, ...] = (),
        tried: str = "",
    ):
        super().__init__(f"{what} {cause}".strip())
        self.what = what
        self.cause = cause
        self.got = got
        self.want = want
        self.index = index
        self.tried = tried


def is_tensor(value: Any) -> bool:
    """Whether this is a tensor of PyTorch's, without loading PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def as_numpy(value: Any) -> np.ndarray | None:
    """An array or tensor as NumPy sees it, without copying; None for anything else."""
    if is_tensor(value):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return value.numpy()
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


def named(value: Any) -> str:
    """What a value is, in a few words: ``None``, ``a list``, ``an array of shape (3, 5)``."""
    array = as_numpy(value)
    if array is not None:
        return f"{'a tensor' if is_tensor(value) else 'an array'} of shape {array.shape}"
    if value is None:
        return "None"
    name = value.type_name if hasattr(type(value), "type_name") else type(value).__name__
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"


def number(value: Any) -> str:
    """A number as a reader wants it: four significant digits, no trailing noise."""
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def is_array(got: Any, shape: tuple[int, ...], cause: str = "") -> np.ndarray:
    """``got`` is an array of numbers of this shape. Returned as NumPy sees it."""
    array = as_numpy(got)
    if array is None and isinstance(got, int | float) and not isinstance(got, bool) and shape == ():
        array = np.asarray(got)
    if array is None:
        hint = {
            "NoneType": "Is a `return` missing?",
            "list": "Return an array: NumPy's functions give one." if shape else "Return the number alone.",
            "tuple": f"Return one {'array' if shape else 'number'}, without a comma behind it.",
        }.get(type(got).__name__, "")
        due = f"an array of shape {shape}" if shape else "a number"
        raise CheckFailure(f"Your function returned {named(got)}; {due} was expected.", hint)
    if array.dtype.kind not in "fiub":
        raise CheckFailure(f"Your array holds {array.dtype}; numbers were expected.")
    if array.shape != shape:
        raise CheckFailure(
            f"Your result has shape {array.shape}; expected is {shape or 'a single number'}.",
            _about(array.shape, shape) or cause,
        )
    return array


def _about(came: tuple[int, ...], due: tuple[int, ...]) -> str:
    """What a wrong shape gives away, as a question; "" where it says nothing."""
    if len(came) == len(due):
        if sorted(came) == sorted(due):
            return "Are two of its axes swapped?"
        differ = [axis for axis, (a, b) in enumerate(zip(came, due, strict=True)) if a != b]
        if all(came[axis] == 1 for axis in differ):
            return f"Was axis {differ[0]} summed, where it has to stay?"
    shorter, longer = sorted((came, due), key=len)
    if len(longer) == len(shorter) + 1:
        gone = [axis for axis in range(len(longer)) if longer[:axis] + longer[axis + 1 :] == shorter]
        if gone and longer is due:
            return f"Was axis {gone[0]}, of length {due[gone[0]]}, summed or picked away?"
        if gone and came[gone[0]] == 1:
            return f"Axis {gone[0]}, of length 1, is left over. Does a sum keep it (`keepdims`), or `[None]` add it?"
        if gone:
            return f"Axis {gone[0]}, of length {came[gone[0]]}, should be gone. Which sum over it is missing?"
    return ""


def close(got: Any, want: Any, cause: str = "", tolerance: float | None = None) -> None:
    """``got`` has the shape of ``want`` and, within rounding, its values.

    The tolerance follows the coarser of the two number formats; an answer computed more exactly than the
    reference always passes.
    """
    wanted = as_numpy(want)
    expected = np.asarray(want) if wanted is None else wanted
    array = is_array(got, expected.shape, cause)
    if tolerance is None:
        tolerance = max(TOLERANCE.get(str(a.dtype), 1e-7) for a in (array, expected))
    if (array.dtype.kind == "b") != (expected.dtype.kind == "b"):
        raise CheckFailure(f"Your array holds {array.dtype}; expected is {expected.dtype}.", cause, array, expected)
    a, b = array.astype(np.float64), expected.astype(np.float64)
    with np.errstate(all="ignore"):
        wrong = ~np.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        at = f"At [{', '.join(map(str, index))}] your" if index else "Your"
        came, due = number(array[index]), number(expected[index])
        if came == due:  # they differ further down: a sentence that says twice the same helps nobody
            came, due = f"{array[index]:.10g}", f"{expected[index]:.10g}"
        what = f"{at} result is {came}; expected is {due}."
        raise CheckFailure(what, cause, array, expected, index)


def true(condition: Any, what: str, cause: str = "") -> None:
    """A law that is no comparison of arrays; ``what`` says in a sentence what came and what was expected."""
    if not condition:
        raise CheckFailure(what, cause)


def unchanged(student: Any, cause: str = "Does `-=`, `*=` or `x[…] =` write into it? `x = x - …` does not.") -> None:
    """No call of this law edited what was passed in. (What was edited has been put back: only here does it show.)"""
    for call in student.calls:
        for name, was, now in call.edits():
            array, before = as_numpy(now), as_numpy(was)
            index: tuple[int, ...] = ()
            change = ""
            if array is not None and before is not None and array.shape == before.shape:
                with np.errstate(all="ignore"):
                    differ = ~np.isclose(
                        array.astype(float), before.astype(float), rtol=SAME, atol=SAME, equal_nan=True
                    )
                index = tuple(int(i) for i in np.argwhere(differ)[0])
                place = f" at [{', '.join(map(str, index))}]" if index else ""
                change = f":{place} it was {number(before[index])} and is {number(array[index])} afterwards"
            what = f"Your function edited `{name}`, which was passed in{change}."
            raise CheckFailure(what, cause, array, before, index, str(call))


def same(a: Any, b: Any) -> bool:
    """Equal within rounding, in value and in structure; NaN equals NaN."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if hasattr(type(a), "type_name") and hasattr(type(b), "type_name"):
        return True  # two objects that each side keeps: what they answer is compared, not they
    if isinstance(a, np.random.Generator) and isinstance(b, np.random.Generator):
        return True  # how far each was used shows in what was drawn
    first, second = as_numpy(a), as_numpy(b)
    if first is None and second is None:
        return bool(type(a) is type(b) and a == b) if not isinstance(a, int | float) else _close(a, b)
    if first is None or second is None:
        return _close(a, b) if isinstance(a, int | float) or isinstance(b, int | float) else False
    return _close(first, second)


def _close(a: Any, b: Any) -> bool:
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape or x.dtype.kind not in "fiub" or y.dtype.kind not in "fiub":
        return False
    with np.errstate(all="ignore"):
        return bool(np.allclose(x.astype(np.float64), y.astype(np.float64), rtol=SAME, atol=SAME, equal_nan=True))
