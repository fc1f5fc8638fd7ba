"""Chapter 1, Softmax: any numbers become weights that sum to one."""

import math

import numpy as np

from attnlab import softmax as reference
from autograder import expect
from autograder.exercise import Exercise

LIBRARY_SOFTMAX = (
    "torch.softmax",
    "torch.special.softmax",
    "torch.nn.functional.softmax",
    "torch.Tensor.softmax",
    "torch.nn.Softmax",
    "scipy.special.softmax",
    "attnlab.softmax.softmax",
    "attnlab.softmax.fused_softmax",
)
LIBRARY_LOG_SOFTMAX = (
    "torch.log_softmax",
    "torch.special.log_softmax",
    "torch.nn.functional.log_softmax",
    "torch.Tensor.log_softmax",
    "torch.nn.LogSoftmax",
    "torch.logsumexp",
    "torch.Tensor.logsumexp",
    "scipy.special.log_softmax",
    "scipy.special.logsumexp",
    "attnlab.softmax.log_softmax",
)


def _slices_of(x, axis, function):
    """Apply a function of one vector along ``axis``, one vector at a time."""
    return np.apply_along_axis(function, axis, x)


# ---------------------------------------------------------------------------------------------------------- softmax

softmax = Exercise(
    "softmax", chapter=1, reference=reference.softmax, minutes=15, difficulty=1, forbidden=LIBRARY_SOFTMAX
)


@softmax.check(points=1)
def test_softmax_of_known_numbers(student, rng):
    """On `[0, 1]` it gives `[1, e] / (1 + e)`; equal numbers get equal weights."""
    expect.close(
        student.softmax(np.array([0.0, 1.0])), np.array([1, math.e]) / (1 + math.e), "Is it exp, then a division?"
    )
    shift = rng.normal()
    expect.close(student.softmax(np.full(5, shift)), np.full(5, 0.2), "Do equal numbers get equal weights?")
    x = rng.normal(size=7)
    expect.close(student.softmax(x), reference.softmax(x), "Is each exponential divided by the sum of all of them?")


@softmax.check(points=1)
def test_softmax_works_along_the_axis_it_is_given(student, rng):
    """The weights sum to one along `axis`, whichever it is; without it, along the last one."""
    x = rng.normal(size=(3, 5, 7))
    for axis in (0, 1, 2, -2):
        expect.close(
            student.softmax(x, axis=axis),
            reference.softmax(x, axis),
            f"Do the sum and the maximum run along axis {axis}, and keep that axis (`keepdims=True`)?",
        )
    expect.close(student.softmax(x), reference.softmax(x), "Is the last axis the default?")


@softmax.check(points=1)
def test_softmax_survives_large_numbers(student, rng):
    """Adding a constant changes nothing: `[1000, 1001]` gives what `[0, 1]` gives."""
    x = rng.normal(size=5)
    for shift in (1000.0, -1000.0):
        expect.close(
            student.softmax(x + shift), reference.softmax(x + shift), "What is exp(1000) in a computer?", tolerance=1e-7
        )
    expect.close(
        student.softmax(np.array([100.0, 101.0], np.float32)),
        np.array([1, math.e], np.float32) / np.float32(1 + math.e),
        "What is exp(100) in float32?",
    )


@softmax.check(points=1)
def test_softmax_survives_numbers_far_apart(student, rng):
    """`[0, 3000]` gives `[0, 1]`: the largest exponent is the one that may not overflow."""
    x = np.array([0.0, 3000.0]) + rng.normal()
    expect.close(student.softmax(x), np.array([0.0, 1.0]), "Which number, once subtracted, leaves no exponent above 0?")
    x = rng.normal(size=(3, 5)) + np.array([[0.0], [1000.0], [-1000.0]])
    expect.close(
        student.softmax(x, axis=1), reference.softmax(x, 1), "Does each row subtract its own maximum, not the array's?"
    )


@softmax.check(points=1)
def test_softmax_leaves_its_input_alone(student, rng):
    """It gives the weights, and the array that was passed in is the same afterwards."""
    x = rng.normal(size=(3, 5))
    expect.close(student.softmax(x, axis=1), reference.softmax(x, 1))
    expect.unchanged(student, "Does `x -= …` change x in place? `x = x - …` does not.")


@softmax.check(points=1)
def test_softmax_takes_every_kind_of_array(student, rng):
    """Whole numbers, float32, views with gaps and rows of a single number are arrays too."""
    whole = rng.integers(-5, 5, size=(3, 5))
    expect.close(
        student.softmax(whole, axis=1),
        reference.softmax(whole.astype(float), 1),
        "Weights are fractions: is the result an array of the input's whole-number type?",
    )
    single = rng.normal(size=(5, 3)).astype(np.float32)
    expect.close(student.softmax(single, axis=0), reference.softmax(single, 0))
    view = rng.normal(size=(7, 10)).T[::2]
    expect.close(student.softmax(view, axis=1), reference.softmax(view, 1))
    expect.close(student.softmax(rng.normal(size=(3, 1)), axis=1), np.ones((3, 1)), "What is the weight of one number?")


@softmax.inputs
def _arrays(rng):
    for _ in range(20):
        yield (rng.normal(size=(2, 3)) * rng.choice([1, 30, 400]),), {"axis": int(rng.integers(2))}


@softmax.misconception(caught_by=test_softmax_survives_large_numbers)
def overflows(x, axis=-1):
    """This is exp divided by the sum of exp as the formula is written. It is right on paper, but exp(1000) is infinite
    in a computer, and ∞/∞ is NaN. Adding a constant to every number changes no weight, so subtract the maximum
    first."""
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_survives_large_numbers)
def covers_up_the_nan(x, axis=-1):
    """The NaN of ∞/∞ was replaced by 0. Then the greatest number, whose exponential is infinite, gets no share at all.
    Subtract the maximum before exp: nothing overflows, and there is nothing to cover up."""
    e = np.exp(x)
    return np.nan_to_num(e / np.sum(e, axis=axis, keepdims=True))


@softmax.misconception(caught_by=test_softmax_survives_numbers_far_apart)
def subtracts_the_minimum(x, axis=-1):
    """This is what comes out when the minimum is subtracted. Then the largest exponent grows instead of shrinking, and
    exp overflows sooner than before. Subtract the maximum: no exponent is then above 0."""
    e = np.exp(x - np.min(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_survives_numbers_far_apart)
def subtracts_the_mean(x, axis=-1):
    """This is what comes out when the mean is subtracted. Numbers far above the mean still overflow. Only subtracting
    the maximum makes every exponent 0 or less."""
    e = np.exp(x - np.mean(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_survives_numbers_far_apart)
def subtracts_the_maximum_of_the_whole_array(x, axis=-1):
    """This is what comes out when the maximum of the whole array is subtracted from every row. A row far below it
    becomes all zeros after exp, and 0/0 is NaN. Each row needs its own maximum: give `max` the same axis as `sum`."""
    e = np.exp(x - np.max(x))
    return e / e.sum(axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_survives_large_numbers)
def subtracts_the_greatest_absolute_value(x, axis=-1):
    """This is what comes out when the greatest absolute value is subtracted. Where all numbers are far below zero, that
    pushes them further down: every exponential is 0, and 0/0 is NaN. Subtract the greatest number, with its sign."""
    with np.errstate(all="ignore"):
        e = np.exp(x - np.max(np.abs(x), axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def subtracts_the_maximum_only_above(x, axis=-1):
    """The maximum was subtracted above the fraction but not below, so nothing cancels and the shares do not sum to one.
    Compute the exponentials once, and divide by the sum of the same ones."""
    with np.errstate(all="ignore"):
        e = np.exp(x - np.max(x, axis=axis, keepdims=True))
        return e / np.exp(x).sum(axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_works_along_the_axis_it_is_given)
def normalises_the_whole_array(x, axis=-1):
    """This is what comes out when the sum runs over the whole array: all weights together sum to one, not each row.
    Give `sum` the axis."""
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / e.sum()


@softmax.misconception(caught_by=test_softmax_works_along_the_axis_it_is_given)
def softmax_of_the_array_as_one_vector(x, axis=-1):
    """This is the softmax of all numbers of the array taken as one vector: maximum and sum both run over everything.
    Give `axis` to both."""
    e = np.exp(x - np.max(x))
    return e / e.sum()


@softmax.misconception(caught_by=test_softmax_works_along_the_axis_it_is_given)
def always_takes_the_last_axis(x, axis=-1):
    """This is the softmax along the last axis, whatever `axis` says. Hand `axis` on to `max` and `sum`."""
    return reference.softmax(np.asarray(x, float), -1)


@softmax.misconception(caught_by=test_softmax_works_along_the_axis_it_is_given)
def always_takes_the_first_axis(x, axis=-1):
    """This is the softmax along the first axis, whatever `axis` says. Hand `axis` on to `max` and `sum`."""
    return reference.softmax(np.asarray(x, float), 0)


@softmax.misconception(caught_by=test_softmax_works_along_the_axis_it_is_given)
def loses_the_axis(x, axis=-1):
    """The maximum or the sum lost its axis, so NumPy lines it up with the wrong one: shapes (3, 5, 7) and (3, 5) do not
    fit. `keepdims=True` leaves an axis of length 1 in its place; both of them need it."""
    e = np.exp(x - np.max(x, axis=axis))
    return e / e.sum(axis=axis)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def takes_each_entry_of_the_first_axis(x, axis=-1):
    """This takes one softmax for each `x[i]`, over everything that `x[i]` holds, and never asks for `axis`. For a table
    these are the rows; for a vector it is one number at a time, and each gets a share of 1."""
    return np.stack([softmax_of_the_array_as_one_vector(part) for part in x])


@softmax.misconception(caught_by=test_softmax_survives_large_numbers)
def converts_to_float32(x, axis=-1):
    """The numbers were converted to float32 first. Near 1000 it holds only four digits behind the point, and the
    differences, which are all that counts, are rounded. Compute in the format that came in."""
    x = x.astype(np.float32)
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_leaves_its_input_alone)
def edits_its_input(x, axis=-1):
    """The weights are right, but the caller's array is changed: `x -= …` writes into the array that was passed in.
    Write `x = x - …`, which makes a new one."""
    x -= x.max(axis=axis, keepdims=True)
    return reference.softmax(x.astype(np.result_type(x, np.float32)), axis)


@softmax.misconception(caught_by=test_softmax_takes_every_kind_of_array)
def keeps_whole_numbers(x, axis=-1):
    """The weights were written into an array of the input's type. For whole numbers that type has no fractions, and
    every weight below 1 becomes 0. Let NumPy choose the type of the result, or ask for `float`."""
    out = np.empty_like(x)
    out[...] = reference.softmax(np.asarray(x, x.dtype if x.dtype.kind == "f" else float), axis)
    return out


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def divides_without_exp(x, axis=-1):
    """This is each number divided by the sum, without exp. Negative numbers then get negative weights, and a sum of
    zero divides by zero. exp makes every number positive first."""
    return x / np.sum(x, axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def takes_absolute_values(x, axis=-1):
    """This is each absolute value divided by their sum. Then −3 weighs as much as 3: the order of the numbers is lost.
    exp keeps it."""
    return np.abs(x) / np.sum(np.abs(x), axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def takes_the_sigmoid(x, axis=-1):
    """This is the sigmoid of each number on its own. Each result lies between 0 and 1, but they do not compete: their
    sum is not 1. Softmax divides by the sum over the axis."""
    return 1 / (1 + np.exp(-x))


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def normalises_the_sigmoid(x, axis=-1):
    """This is the sigmoid of each number, divided by the sum. The results are shares, but they change when one number
    is added to all: the sigmoid has a preferred zero. Only exp knows nothing but differences."""
    with np.errstate(over="ignore"):
        s = 1 / (1 + np.exp(-np.asarray(x, float)))
    return s / s.sum(axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def divides_by_the_maximum(x, axis=-1):
    """The numbers were divided by their maximum. That changes their differences, and with them the shares; a negative
    maximum even turns the order around. Subtract it: adding or subtracting one number for all changes nothing."""
    with np.errstate(all="ignore"):
        e = np.exp(x / np.max(x, axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_works_along_the_axis_it_is_given)
def defaults_to_the_first_axis(x, axis=0):
    """It is right for every axis that is named. Where none is, it takes the first one; the default is to be the last,
    `axis=-1`."""
    return reference.softmax(np.asarray(x, x.dtype if x.dtype.kind == "f" else float), axis)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def forgets_to_divide(x, axis=-1):
    """This is exp of the numbers below their maximum, never divided by the sum: the largest weight is always 1."""
    return np.exp(x - np.max(x, axis=axis, keepdims=True))


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def divides_by_the_length(x, axis=-1):
    """The exponentials were divided by the length of their vector, the root of the sum of their squares. Then the
    squares sum to one. Shares are to sum to one themselves: divide by the plain sum."""
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.linalg.norm(e, axis=axis, keepdims=True)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def adds_a_little_below(x, axis=-1):
    """A small number was added to the sum, so that nothing is divided by zero. Then the shares sum to a little less
    than one. It is not needed: once the maximum is subtracted, the sum has a term e⁰ = 1, so it is at least 1."""
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / (e.sum(axis=axis, keepdims=True) + 1e-6)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def turns_the_sign_around(x, axis=-1):
    """This is the softmax of −x: the smallest number gets the largest weight. The exponent is x minus the maximum, not
    the maximum minus x."""
    return reference.softmax(-np.asarray(x, float), axis)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def takes_powers_of_two(x, axis=-1):
    """This is 2ˣ divided by its sum. It is a softmax at another temperature; the exercise asks for powers of e."""
    return reference.softmax(np.asarray(x, float) * np.log(2), axis)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def gives_everything_to_the_largest(x, axis=-1):
    """This gives weight 1 to the largest number and 0 to the rest. That is argmax, the limit of softmax at temperature
    0; softmax is its soft, differentiable form."""
    return (x == np.max(x, axis=axis, keepdims=True)).astype(float)


@softmax.misconception(caught_by=test_softmax_of_known_numbers)
def returns_the_logarithm(x, axis=-1):
    """This is the logarithm of the softmax: all results are negative. That is the next exercise."""
    return reference.log_softmax(np.asarray(x, float), axis)


@softmax.misconception(caught_by=test_softmax_survives_large_numbers)
def clips_the_exponent(x, axis=-1):
    """This is what comes out when the exponent is clipped. It does not overflow any more, but above the limit all
    numbers look the same, so `[1000, 1001]` gets equal weights. Subtracting the maximum loses nothing."""
    e = np.exp(np.clip(x, -50, 50))
    return e / e.sum(axis=axis, keepdims=True)


@softmax.alternative
def softmax_one_vector_at_a_time(x, axis=-1):
    def one(v):
        e = np.exp(v - max(v))
        return e / sum(e)

    return _slices_of(np.asarray(x, dtype=float), axis, one)


@softmax.alternative
def softmax_as_exp_of_log(x, axis=-1):
    top = np.max(x, axis=axis, keepdims=True)
    return np.exp(x - top - np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)))


@softmax.alternative
def softmax_with_the_axis_moved(x, axis=-1, dtype=np.float64):
    y = np.moveaxis(np.array(x, dtype=dtype), axis, 0)
    y = np.exp(y - y.max(0))
    return np.moveaxis(y / y.sum(0), 0, axis)


# ------------------------------------------------------------------------------------------------------ log_softmax

log_softmax = Exercise(
    "log_softmax", chapter=1, reference=reference.log_softmax, minutes=10, difficulty=2, forbidden=LIBRARY_LOG_SOFTMAX
)


@log_softmax.check(points=1)
def test_log_softmax_of_known_numbers(student, rng):
    """`[0, log 3]` gives `[−log 4, log 3 − log 4]`; the exponentials of the result sum to one."""
    expect.close(
        student.log_softmax(np.array([0.0, np.log(3)])),
        np.array([-np.log(4), np.log(3) - np.log(4)]),
        "Is it the maximum that is subtracted, then the natural logarithm of the sum of exp?",
    )
    x = rng.normal(size=7)
    expect.close(student.log_softmax(x), reference.log_softmax(x), "Is it x minus the logarithm of the sum of exp?")


@log_softmax.check(points=1)
def test_log_softmax_works_along_the_axis_it_is_given(student, rng):
    """Each slice along `axis` is a distribution of its own; without it, along the last axis."""
    x = rng.normal(size=(3, 5, 7))
    for axis in (0, 1, 2):
        expect.close(
            student.log_softmax(x, axis=axis), reference.log_softmax(x, axis), f"Does the sum run along axis {axis}?"
        )
    expect.close(student.log_softmax(x), reference.log_softmax(x), "Is the last axis the default?")


@log_softmax.check(points=1)
def test_log_softmax_never_takes_the_log_of_zero(student, rng):
    """`[0, −1000]` gives `[0, −1000]`: a weight may be too small for a computer, its logarithm is not."""
    x = np.array([0.0, -1000.0]) + rng.normal()
    expect.close(
        student.log_softmax(x), np.array([0.0, -1000.0]), "Does the softmax round to 0 before the logarithm is taken?"
    )
    far = np.array([0.0, -3000.0])
    expect.close(student.log_softmax(far), far, "Which number, once subtracted, leaves no exponent above 0?")
    small = np.array([3.0, -40.0])
    expect.close(
        student.log_softmax(small), reference.log_softmax(small), "Was a small number added to keep log away from 0?"
    )


@log_softmax.check(points=1)
def test_log_softmax_survives_large_numbers(student, rng):
    """Adding 1000 to every number changes nothing, also where rows are far apart."""
    x = rng.normal(size=(3, 5)) + np.array([[0.0], [1000.0], [-1000.0]])
    expect.close(
        student.log_softmax(x, axis=1),
        reference.log_softmax(x, 1),
        "Is the maximum subtracted before exp, row by row, and accounted for afterwards?",
        tolerance=1e-7,
    )


@log_softmax.check(points=1)
def test_log_softmax_leaves_its_input_alone(student, rng):
    """It is right for float32 and for views, and the array that was passed in is the same afterwards."""
    x = rng.normal(size=(5, 3)).astype(np.float32).T
    expect.close(student.log_softmax(x, axis=1), reference.log_softmax(x, 1))
    expect.unchanged(student, "Does `x -= …` change x in place? `x = x - …` does not.")


@log_softmax.inputs
def _log_arrays(rng):
    yield from _arrays(rng)


@log_softmax.misconception(caught_by=test_log_softmax_never_takes_the_log_of_zero)
def takes_the_log_of_the_softmax(x, axis=-1):
    """This is the logarithm of the finished softmax. Where a weight is too small for a computer it has become 0, and
    log 0 is −∞. Simplify on paper first: log(exp(a)/s) = a − log s."""
    return np.log(reference.softmax(x, axis))


@log_softmax.misconception(caught_by=test_log_softmax_never_takes_the_log_of_zero)
def adds_a_small_number(x, axis=-1):
    """A small number was added to keep the logarithm away from 0. It hides the −∞ but gives a wrong number: every
    small weight now looks alike. Simplify on paper first: log(exp(a)/s) = a − log s."""
    return np.log(reference.softmax(x, axis) + 1e-9)


@log_softmax.misconception(caught_by=test_log_softmax_never_takes_the_log_of_zero)
def clips_the_weight(x, axis=-1):
    """The weight was clipped from below to keep the logarithm away from 0. It hides the −∞ but gives a wrong number:
    every weight under the limit now looks alike. Simplify on paper first: log(exp(a)/s) = a − log s."""
    return np.log(np.maximum(reference.softmax(x, axis), 1e-12))


@log_softmax.misconception(caught_by=test_log_softmax_never_takes_the_log_of_zero)
def log_subtracts_the_minimum(x, axis=-1):
    """This subtracts the minimum. Then all exponents are 0 or more, and the greatest overflows sooner than before.
    Subtract the maximum: no exponent is then above 0."""
    y = x - np.min(x, axis=axis, keepdims=True)
    return y - np.log(np.sum(np.exp(y), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_never_takes_the_log_of_zero)
def log_subtracts_the_mean(x, axis=-1):
    """This subtracts the mean. A number far above the mean still overflows in exp, as in `[0, −3000]`. Only with the
    maximum is every exponent 0 or less."""
    y = x - np.mean(x, axis=axis, keepdims=True)
    return y - np.log(np.sum(np.exp(y), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def averages_the_exponentials(x, axis=-1):
    """This takes the logarithm of the mean of the exponentials. Then their sum is divided by n, every result is log n
    too great, and the shares add up to n. It is the plain sum that stands under the logarithm."""
    y = x - np.max(x, axis=axis, keepdims=True)
    return y - np.log(np.mean(np.exp(y), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def takes_the_maximum_away_twice(x, axis=-1):
    """The maximum was subtracted twice: once from x, and once more with the log-sum-exp of x. Subtract `m + log Σ
    exp(x − m)` from x, or `log Σ exp(x − m)` from x − m."""
    top = np.max(x, axis=axis, keepdims=True)
    return x - top - (top + np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)))


@log_softmax.misconception(caught_by=test_log_softmax_survives_large_numbers)
def log_sum_overflows(x, axis=-1):
    """This is x − log Σ exp(x) as written: exp(1000) is infinite in a computer. Subtract the maximum inside exp and add
    it back outside the logarithm."""
    return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def forgets_the_maximum_outside(x, axis=-1):
    """The maximum was subtracted inside exp but not outside: x − log Σ exp(x − m). Both places need it: the result is
    (x − m) − log Σ exp(x − m)."""
    return x - np.log(np.sum(np.exp(x - np.max(x, axis=axis, keepdims=True)), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def only_subtracts_the_maximum(x, axis=-1):
    """This is x minus its maximum: the logarithm of the sum is missing, so the exponentials do not sum to one."""
    return x - np.max(x, axis=axis, keepdims=True)


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def subtracts_the_sum_itself(x, axis=-1):
    """The sum of exp was subtracted, not its logarithm: `np.log` is missing around the sum."""
    y = x - np.max(x, axis=axis, keepdims=True)
    return y - np.sum(np.exp(y), axis=axis, keepdims=True)


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def adds_one_under_the_logarithm(x, axis=-1):
    """This is y − log(1 + Σ exp(y)): `np.log1p` adds a 1 that is not in the formula. The sum has its 1 already, from
    the greatest number."""
    y = x - np.max(x, axis=axis, keepdims=True)
    return y - np.log1p(np.sum(np.exp(y), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def divides_the_logarithms(x, axis=-1):
    """The logarithms were divided. The logarithm of a quotient is a difference: subtract the logarithm of the sum."""
    y = x - np.max(x, axis=axis, keepdims=True)
    return y / np.log(np.sum(np.exp(y), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def adds_the_logarithm_of_the_sum(x, axis=-1):
    """The logarithm of the sum was added. The sum stands below the fraction line, so its logarithm is subtracted."""
    y = x - np.max(x, axis=axis, keepdims=True)
    return y + np.log(np.sum(np.exp(y), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def sums_under_the_logarithm_to_base_two(x, axis=-1):
    """The logarithm of the sum is to base 2. It must undo exp: `np.log`, the natural one."""
    y = x - np.max(x, axis=axis, keepdims=True)
    return y - np.log2(np.sum(np.exp(y), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def sums_under_the_logarithm_to_base_ten(x, axis=-1):
    """The logarithm of the sum was taken to base 10. What undoes `exp` is the natural logarithm, `np.log`."""
    y = x - np.max(x, axis=axis, keepdims=True)
    return y - np.log10(np.sum(np.exp(y), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def returns_the_log_sum_exp(x, axis=-1):
    """This is the log-sum-exp itself, one number a row. The log-softmax is what is left of each score once that has
    been subtracted from it, so it has the shape of `x`."""
    return np.logaddexp.reduce(np.asarray(x, float), axis=axis, keepdims=True)


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def forgets_the_logarithm(x, axis=-1):
    """This is the softmax itself; its logarithm was asked for."""
    return reference.softmax(x, axis)


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def turns_the_sign(x, axis=-1):
    """This is the negative of the log-softmax: a loss, not a log-probability. A probability is at most 1, so its
    logarithm is at most 0."""
    return -reference.log_softmax(x, axis)


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def takes_another_logarithm(x, axis=-1):
    """This is the logarithm to base 2. It must be the natural one, the inverse of exp."""
    return reference.log_softmax(x, axis) / np.log(2)


@log_softmax.misconception(caught_by=test_log_softmax_of_known_numbers)
def takes_the_softmax_of_the_log(x, axis=-1):
    """This is softmax after log, not log after softmax. The logarithm of a negative number does not exist."""
    return reference.softmax(np.log(x), axis)


@log_softmax.misconception(caught_by=test_log_softmax_works_along_the_axis_it_is_given)
def sums_the_whole_array(x, axis=-1):
    """This is what comes out when the sum runs over the whole array, not along `axis`."""
    top = np.max(x, axis=axis, keepdims=True)
    return x - top - np.log(np.sum(np.exp(x - top)))


@log_softmax.misconception(caught_by=test_log_softmax_works_along_the_axis_it_is_given)
def log_defaults_to_the_first_axis(x, axis=0):
    """It is right for every axis that is named. Where none is, it takes the first one; the default is to be the last,
    `axis=-1`."""
    return reference.log_softmax(x, axis)


@log_softmax.misconception(caught_by=test_log_softmax_works_along_the_axis_it_is_given)
def log_always_takes_the_last_axis(x, axis=-1):
    """This is the log-softmax along the last axis, whatever `axis` says."""
    return reference.log_softmax(x, -1)


@log_softmax.misconception(caught_by=test_log_softmax_works_along_the_axis_it_is_given)
def log_loses_the_axis(x, axis=-1):
    """The sum lost its axis, so NumPy lines it up with the wrong one. `keepdims=True` leaves an axis of length 1."""
    top = np.max(x, axis=axis, keepdims=True)
    return x - top - np.log(np.sum(np.exp(x - top), axis=axis))


@log_softmax.misconception(caught_by=test_log_softmax_survives_large_numbers)
def log_subtracts_the_maximum_of_the_whole_array(x, axis=-1):
    """The maximum of the whole array was subtracted from every row. A row far below it becomes all zeros after exp,
    and log 0 is −∞. Each row needs its own maximum."""
    top = np.max(x)
    return x - top - np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True))


@log_softmax.misconception(caught_by=test_log_softmax_leaves_its_input_alone)
def log_edits_its_input(x, axis=-1):
    """The result is right, but the caller's array is changed: `x -= …` writes into it. Write `x = x - …`."""
    x -= np.max(x, axis=axis, keepdims=True)
    return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))


@log_softmax.alternative
def log_softmax_by_logaddexp(x, axis=-1):
    return x - np.logaddexp.reduce(x, axis=axis, keepdims=True)


@log_softmax.alternative
def log_softmax_one_vector_at_a_time(x, axis=-1):
    return _slices_of(np.asarray(x, dtype=float), axis, lambda v: v - (max(v) + np.log(sum(np.exp(v - max(v))))))


# ---------------------------------------------------------------------------------------------- softmax_temperature

softmax_temperature = Exercise(
    "softmax_temperature",
    chapter=1,
    reference=reference.softmax_temperature,
    minutes=10,
    difficulty=1,
    forbidden=(*LIBRARY_SOFTMAX, "attnlab.softmax.softmax_temperature"),
)


@softmax_temperature.check(points=1)
def test_temperature_one_is_softmax(student, rng):
    """At `tau = 1` it is the softmax."""
    x = rng.normal(size=(3, 5))
    expect.close(student.softmax_temperature(x, 1.0), reference.softmax(x), "Is it the softmax of x / tau?")


@softmax_temperature.check(points=2)
def test_temperature_divides_the_numbers(student, rng):
    """`[0, 1]` at `tau = 1/2` is `[0, 2]` at 1: a low temperature sharpens, a high one flattens."""
    expect.close(
        student.softmax_temperature(np.array([0.0, 1.0]), 0.5),
        np.array([1, math.e**2]) / (1 + math.e**2),
        "Are the numbers divided by tau before exp?",
    )
    x = rng.normal(size=7)
    for tau in (0.3, 3.0):
        expect.close(
            student.softmax_temperature(x, tau), reference.softmax(x / tau), "Does everything still sum to one?"
        )


@softmax_temperature.check(points=1)
def test_temperature_works_along_the_axis_it_is_given(student, rng):
    """The weights sum to one along `axis`; without it, along the last one."""
    x = rng.normal(size=(3, 5, 7))
    for axis in (0, 1, 2):
        expect.close(
            student.softmax_temperature(x, 0.7, axis=axis), reference.softmax(x / 0.7, axis), "Is `axis` handed on?"
        )
    expect.close(student.softmax_temperature(x, 0.7), reference.softmax(x / 0.7), "Is the last axis the default?")


@softmax_temperature.check(points=1)
def test_temperature_may_be_extreme(student, rng):
    """At `tau = 0.001` all weight goes to the largest number, and nothing overflows. At 1000, what lies 1000 apart
    shares like `[0, 1]`."""
    x = rng.permutation(7).astype(float)
    expect.close(
        student.softmax_temperature(x, 1e-3),
        (x == 6).astype(float),
        "Is the maximum subtracted before exp, and tau taken as it is?",
    )
    expect.close(
        student.softmax_temperature(np.array([0.0, 1e-3]), 1e-3),
        np.array([1, math.e]) / (1 + math.e),
        "Is it divided by tau itself? A tau that is held above some small number stops sharpening there.",
    )
    x = rng.normal(size=(3, 5)) + np.array([[0.0], [100.0], [-100.0]])
    expect.close(student.softmax_temperature(x, 0.01, axis=1), reference.softmax(x / 0.01, 1), tolerance=1e-7)
    expect.close(
        student.softmax_temperature(np.array([0.0, 1000.0]), 1000.0),
        np.array([1, math.e]) / (1 + math.e),
        "Is x divided by tau before anything is rounded? A share that has become 0 stays 0.",
    )


@softmax_temperature.check(points=1)
def test_temperature_leaves_its_input_alone(student, rng):
    """It is right for whole numbers too, and the array that was passed in is the same afterwards."""
    x = rng.normal(size=(3, 5))
    expect.close(student.softmax_temperature(x, 2.0), reference.softmax(x / 2.0))
    expect.unchanged(student, "Does `x /= …` change x in place? `x = x / …` does not.")
    whole = rng.integers(-5, 5, size=(3, 5))
    expect.close(student.softmax_temperature(whole, 2), reference.softmax(whole / 2), "Are fractions lost?")


@softmax_temperature.inputs
def _arrays_and_temperatures(rng):
    for (x,), kwargs in _arrays(rng):
        yield (x, float(rng.uniform(0.2, 3))), kwargs


@softmax_temperature.misconception(caught_by=test_temperature_divides_the_numbers)
def multiplies(x, tau, axis=-1):
    """This is the softmax of x · tau. Then a low temperature flattens and a high one sharpens, the wrong way round:
    divide by tau."""
    return reference.softmax(x * tau, axis)


@softmax_temperature.misconception(caught_by=test_temperature_divides_the_numbers)
def divides_the_weights(x, tau, axis=-1):
    """The weights were divided by tau after the softmax. Then they sum to 1/tau. Divide the numbers, before exp."""
    return reference.softmax(np.asarray(x, float), axis) / tau


@softmax_temperature.misconception(caught_by=test_temperature_divides_the_numbers)
def ignores_tau(x, tau, axis=-1):
    """This is the softmax at temperature 1: tau has no effect. Subtracted from every number it shifts them alike;
    dividing the exponentials it divides their sum too. Both cancel. Divide the numbers, before exp."""
    return reference.softmax(np.asarray(x, float), axis)


@softmax_temperature.misconception(caught_by=test_temperature_divides_the_numbers)
def powers_without_renormalising(x, tau, axis=-1):
    """This is softmax(x) raised to the power 1/tau. That is the right idea (exp(x/tau) is exp(x) to the power 1/tau),
    but afterwards the weights must be divided by their sum again."""
    return reference.softmax(np.asarray(x, float), axis) ** (1 / tau)


@softmax_temperature.misconception(caught_by=test_temperature_one_is_softmax)
def takes_softmax_twice(x, tau, axis=-1):
    """This is the softmax of softmax(x) / tau: two softmaxes, one after the other. Weights between 0 and 1 go in, so
    what comes out is nearly flat. Divide x itself by tau."""
    return reference.softmax(reference.softmax(np.asarray(x, float), axis) / tau, axis)


@softmax_temperature.misconception(caught_by=test_temperature_divides_the_numbers)
def divides_by_the_root(x, tau, axis=-1):
    """This is the softmax of x / √tau. The square root belongs to chapter 4; here it is x / tau."""
    return reference.softmax(x / np.sqrt(tau), axis)


@softmax_temperature.misconception(caught_by=test_temperature_divides_the_numbers)
def divides_by_the_square(x, tau, axis=-1):
    """This is the softmax of x / τ². The square belongs to the width of chapter 2's bell; here it is x / tau."""
    return reference.softmax(x / tau**2, axis)


@softmax_temperature.misconception(caught_by=test_temperature_divides_the_numbers)
def divides_only_above(x, tau, axis=-1):
    """Here tau stands above the fraction but not below: exp(x/τ) was divided by the sum of exp(x), and nothing sums to
    one. Divide x by tau first, and take one softmax of what comes out."""
    y = x - np.max(x, axis=axis, keepdims=True)
    return np.exp(y / tau) / np.sum(np.exp(y), axis=axis, keepdims=True)


@softmax_temperature.misconception(caught_by=test_temperature_may_be_extreme)
def powers_the_weights(x, tau, axis=-1):
    """The finished weights were raised to the power 1/tau and divided by their sum. On paper that is the same; in a
    computer a weight that has been rounded to 0 stays 0, however hot it gets. Divide x by tau first."""
    with np.errstate(all="ignore"):
        p = reference.softmax(np.asarray(x, float), axis) ** (1 / tau)
        return p / p.sum(axis=axis, keepdims=True)


@softmax_temperature.misconception(caught_by=test_temperature_may_be_extreme)
def overflows_when_cold(x, tau, axis=-1):
    """This is exp(x/tau) divided by its sum as written. Dividing by a small tau makes large numbers, and exp of a large
    number is infinite. Subtract the maximum first."""
    e = np.exp(x / tau)
    return e / e.sum(axis=axis, keepdims=True)


@softmax_temperature.misconception(caught_by=test_temperature_divides_the_numbers)
def divides_only_the_maximum(x, tau, axis=-1):
    """Only one part of x − max was divided by tau. Divide first, then subtract the maximum of what came out; or divide
    the whole difference."""
    e = np.exp(x - np.max(x / tau, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@softmax_temperature.misconception(caught_by=test_temperature_may_be_extreme)
def holds_tau_above_a_floor(x, tau, axis=-1):
    """A small tau was replaced by a larger one, so that nothing is divided by too little. `tau` is greater than 0, and
    softmax can bear what comes out of the division: no floor is needed."""
    return reference.softmax(x / max(tau, 0.01), axis)


@softmax_temperature.misconception(caught_by=test_temperature_works_along_the_axis_it_is_given)
def temperature_defaults_to_the_first_axis(x, tau, axis=0):
    """It is right for every axis that is named. Where none is, it takes the first one; the default is to be the last,
    `axis=-1`."""
    return reference.softmax(x / tau, axis)


@softmax_temperature.misconception(caught_by=test_temperature_works_along_the_axis_it_is_given)
def temperature_always_takes_the_last_axis(x, tau, axis=-1):
    """This works along the last axis, whatever `axis` says. Hand `axis` on."""
    return reference.softmax(x / tau, -1)


@softmax_temperature.misconception(caught_by=test_temperature_leaves_its_input_alone)
def temperature_edits_its_input(x, tau, axis=-1):
    """The weights are right, but the caller's array is changed: `x /= tau` writes into it. Write `x = x / tau`."""
    x /= tau
    return reference.softmax(x, axis)


@softmax_temperature.misconception(caught_by=test_temperature_leaves_its_input_alone)
def divides_whole_numbers(x, tau, axis=-1):
    """This is what comes out when whole numbers are divided with `//`, or the quotient is stored as whole numbers: the
    fractions are lost. Use `/`."""
    return reference.softmax((x // tau if x.dtype.kind == "i" else x / tau).astype(float), axis)


@softmax_temperature.alternative
def temperature_as_a_power(x, tau, axis=-1):
    logs = reference.log_softmax(np.asarray(x, dtype=float), axis) / tau
    return reference.softmax(logs, axis)


@softmax_temperature.alternative
def temperature_after_the_maximum(x, tau, axis=-1):
    e = np.exp((x - np.max(x, axis=axis, keepdims=True)) / tau)
    return e / np.sum(e, axis=axis, keepdims=True)


# ------------------------------------------------------------------------------------------------------ softmax_vjp

softmax_vjp = Exercise(
    "softmax_vjp",
    chapter=1,
    reference=reference.softmax_vjp,
    minutes=20,
    difficulty=3,
    forbidden=("torch.autograd.grad", "torch.Tensor.backward", "attnlab.softmax.softmax_vjp"),
)


def _weights(rng, shape, axis=-1):
    return reference.softmax(rng.normal(size=shape), axis)


@softmax_vjp.check(points=1)
def test_vjp_of_known_numbers(student, rng):
    """For `p = [¼, ¾]` and `g = [4, 8]` the gradient is `[−¾, ¾]`."""
    expect.close(
        student.softmax_vjp(np.array([0.25, 0.75]), np.array([4.0, 8.0])),
        np.array([-0.75, 0.75]),
        "If one weight rises, the others fall: does your gradient know that?",
    )


@softmax_vjp.check(points=2)
def test_vjp_is_the_gradient(student, rng):
    """It is the gradient that small steps measure: `(L(x + h) − L(x − h)) / 2h` for `L = Σ g · softmax(x)`."""
    x, g, h = rng.normal(size=7), rng.normal(size=7), 1e-5
    steps = h * np.eye(7)
    measured = [(g @ reference.softmax(x + step) - g @ reference.softmax(x - step)) / (2 * h) for step in steps]
    expect.close(
        student.softmax_vjp(reference.softmax(x), g),
        np.array(measured),
        "Is the weighted mean of g, `sum(p * g)`, subtracted from g before p multiplies it?",
        tolerance=1e-8,
    )


@softmax_vjp.check(points=1)
def test_vjp_of_a_constant_is_zero(student, rng):
    """If every weight is worth the same, moving weight about gains nothing: for constant `g` the gradient is zero."""
    p = _weights(rng, 5)
    expect.close(
        student.softmax_vjp(p, np.full(5, 3.0)), np.zeros(5), "Is it the mean weighted by p that is subtracted?"
    )


@softmax_vjp.check(points=1)
def test_vjp_works_along_the_axis_it_is_given(student, rng):
    """Each slice along `axis` is a softmax of its own; without it, along the last axis."""
    for axis in (0, 1, 2):
        p, g = _weights(rng, (3, 5, 7), axis), rng.normal(size=(3, 5, 7))
        expect.close(
            student.softmax_vjp(p, g, axis=axis),
            reference.softmax_vjp(p, g, axis),
            f"Does the sum run along axis {axis}, and keep that axis?",
        )
    p, g = _weights(rng, (3, 5)), rng.normal(size=(3, 5))
    expect.close(student.softmax_vjp(p, g), reference.softmax_vjp(p, g), "Is the last axis the default?")


@softmax_vjp.check(points=1)
def test_vjp_leaves_its_inputs_alone(student, rng):
    """It is right for float32, views and certain weights (0 and 1), and both arrays are the same afterwards."""
    p, g = _weights(rng, (5, 3), 0).astype(np.float32).T, rng.normal(size=(5, 3)).astype(np.float32).T
    expect.close(student.softmax_vjp(p, g), reference.softmax_vjp(p, g))
    certain = np.array([0.0, 1.0, 0.0])
    expect.close(student.softmax_vjp(certain, rng.normal(size=3)), np.zeros(3), "Can a certain weight still move?")
    expect.unchanged(student, "Does `*=` or `-=` change it in place?")


@softmax_vjp.inputs
def _weights_and_gradients(rng):
    for _ in range(20):
        axis = int(rng.integers(2))
        yield (_weights(rng, (2, 3), axis), rng.normal(size=(2, 3))), {"axis": axis}


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def diagonal_only(p, g, axis=-1):
    """This is g · p · (1 − p): the diagonal of the Jacobian alone, as for the sigmoid. But in a softmax every output
    depends on every input: when one weight rises, the others fall."""
    return g * p * (1 - p)


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def forgets_the_mean(p, g, axis=-1):
    """This is p · g: the part of the gradient that comes from the numerator. The sum in the denominator depends on
    every x as well, which subtracts p · Σ p g."""
    return p * g


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def returns_the_denominators_part(p, g, axis=-1):
    """This is −p · Σ p g: the part of the gradient that comes from the denominator. The numerator's part, p · g, is
    missing."""
    return -p * np.sum(p * g, axis=axis, keepdims=True)


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def subtracts_the_plain_sum(p, g, axis=-1):
    """This subtracts Σ g where Σ p g is meant: the mean must be weighted by p."""
    return p * (g - np.sum(g, axis=axis, keepdims=True))


@softmax_vjp.misconception(caught_by=test_vjp_is_the_gradient)
def subtracts_the_plain_mean(p, g, axis=-1):
    """This subtracts the plain mean of g where the mean weighted by p, Σ p g, is meant. With equal weights the two
    agree, and only then."""
    return p * (g - np.mean(g, axis=axis, keepdims=True))


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def adds_the_mean(p, g, axis=-1):
    """The average of g was added. It is a comparison: each g is measured from the average, so the average is
    subtracted, and for a constant g nothing is left."""
    return p * (g + np.sum(p * g, axis=axis, keepdims=True))


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def swaps_p_and_g(p, g, axis=-1):
    """Here p and g have changed places: the average was subtracted from p, and g multiplies the difference. The average
    is one of g, so it is subtracted from g; the share p multiplies."""
    return g * (p - np.sum(p * g, axis=axis, keepdims=True))


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def averages_the_products(p, g, axis=-1):
    """This subtracts the plain mean of p · g, so the average is divided by n once too often. The shares add up to 1
    already: Σ p g is the average."""
    return p * (g - np.mean(p * g, axis=axis, keepdims=True))


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def forgets_the_brackets(p, g, axis=-1):
    """This is p · g − Σ p g: the average is subtracted from the product. Subtract it from g first, then multiply by p:
    brackets around the difference."""
    return p * g - np.sum(p * g, axis=axis, keepdims=True)


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def takes_softmax_of_the_shares(p, g, axis=-1):
    """The softmax was taken of p. But p is the softmax of x already: use it as it comes."""
    return reference.softmax_vjp(reference.softmax(p, axis), g, axis)


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def turns_the_gradient_around(p, g, axis=-1):
    """This is the right gradient with the wrong sign: p · (g − Σ p g), not p · (Σ p g − g)."""
    return -reference.softmax_vjp(p, g, axis)


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def forgets_to_multiply_by_p(p, g, axis=-1):
    """This is g − Σ p g: the factor p in front is missing. A weight of 0 cannot move, whatever g says."""
    return g - np.sum(p * g, axis=axis, keepdims=True)


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def gradient_of_log_softmax(p, g, axis=-1):
    """This is g − p · Σ g, the gradient of log-softmax. Here g is the gradient with respect to the weights, not to
    their logarithms."""
    return g - p * np.sum(g, axis=axis, keepdims=True)


@softmax_vjp.misconception(caught_by=test_vjp_of_known_numbers)
def gradient_of_cross_entropy(p, g, axis=-1):
    """This is p − g, the gradient of the cross-entropy loss with respect to the scores when g is the true
    distribution. Here g is any upstream gradient."""
    return p - g


@softmax_vjp.misconception(caught_by=test_vjp_works_along_the_axis_it_is_given)
def sums_over_the_whole_array(p, g, axis=-1):
    """This is what comes out when Σ p g runs over the whole array, not along `axis`: rows then disturb one another."""
    return p * (g - np.sum(p * g))


@softmax_vjp.misconception(caught_by=test_vjp_works_along_the_axis_it_is_given)
def vjp_always_takes_the_last_axis(p, g, axis=-1):
    """This works along the last axis, whatever `axis` says. Hand `axis` on to `sum`."""
    return reference.softmax_vjp(p, g, -1)


@softmax_vjp.misconception(caught_by=test_vjp_works_along_the_axis_it_is_given)
def vjp_always_takes_the_first_axis(p, g, axis=-1):
    """This works along the first axis, whatever `axis` says. Hand `axis` on to `sum`."""
    return reference.softmax_vjp(p, g, 0)


@softmax_vjp.misconception(caught_by=test_vjp_works_along_the_axis_it_is_given)
def vjp_defaults_to_the_first_axis(p, g, axis=0):
    """It is right for every axis that is named. Where none is, it takes the first one; the default is to be the last,
    `axis=-1`."""
    return reference.softmax_vjp(p, g, axis)


@softmax_vjp.misconception(caught_by=test_vjp_works_along_the_axis_it_is_given)
def vjp_loses_the_axis(p, g, axis=-1):
    """The sum lost its axis, so NumPy lines it up with the wrong one. `keepdims=True` leaves an axis of length 1."""
    return p * (g - np.sum(p * g, axis=axis))


@softmax_vjp.misconception(caught_by=test_vjp_works_along_the_axis_it_is_given)
def builds_one_jacobian(p, g, axis=-1):
    """This builds the Jacobian diag(p) − p pᵀ of a single vector. With more axes there is one Jacobian for every slice:
    the formula p · (g − Σ p g) needs none."""
    return (np.diag(p) - np.outer(p, p)) @ g


@softmax_vjp.misconception(caught_by=test_vjp_leaves_its_inputs_alone)
def vjp_edits_its_inputs(p, g, axis=-1):
    """The gradient is right, but the caller's array is changed: `g -= …` writes into it. Write `g = g - …`."""
    g -= np.sum(p * g, axis=axis, keepdims=True)
    return p * g


@softmax_vjp.misconception(caught_by=test_vjp_leaves_its_inputs_alone)
def vjp_writes_its_answer_into_p(p, g, axis=-1):
    """The gradient is right, but it was written into p: `p *= …` overwrites the caller's shares. Write `p * (…)`, which
    makes a new array."""
    p *= g - np.sum(p * g, axis=axis, keepdims=True)
    return p


@softmax_vjp.alternative
def vjp_through_the_jacobian(p, g, axis=-1):
    p, g = np.moveaxis(p, axis, -1), np.moveaxis(g, axis, -1)
    jacobian = p[..., None] * np.eye(p.shape[-1]) - p[..., :, None] * p[..., None, :]
    return np.moveaxis((jacobian @ g[..., None])[..., 0], -1, axis)


@softmax_vjp.alternative
def vjp_by_a_weighted_average(p, g, axis=-1):
    return p * (g - np.expand_dims(np.average(g, axis=axis, weights=p), axis))


@softmax_vjp.alternative
def vjp_in_two_terms(p, g, axis=-1):
    product = np.multiply(p, g, dtype=np.float64)
    return product - p * product.sum(axis=axis, keepdims=True)
