"""The start page: one exercise, to meet the checks."""

import numpy as np

from autograder import expect
from autograder.exercise import Exercise


def _halfway(a, b):
    return (a + b) / 2


halfway = Exercise("halfway", chapter=0, reference=_halfway, minutes=2, difficulty=1)


@halfway.check(points=1)
def test_halfway_between_two_numbers(student, rng):
    """Halfway between 2 and 6, or 6 and 2, is 4; halfway between a number and itself is that number."""
    expect.close(student.halfway(2.0, 6.0), 4.0, "Which operation does Python do first, `+` or `/`?")
    expect.close(student.halfway(3.0, 3.0), 3.0, "Is it between the two?")
    expect.close(student.halfway(6.0, 2.0), 4.0, "Is it the same when the greater number comes first?")
    a, b = rng.normal(size=2)
    expect.close(student.halfway(a, b), (a + b) / 2, "Does each of the two count for one half?")


@halfway.check(points=1)
def test_halfway_between_whole_numbers(student, rng):
    """Halfway between 1 and 2 is 1.5, not 1."""
    expect.close(student.halfway(1, 2), 1.5, "Does the division keep the fraction?")


@halfway.check(points=1)
def test_halfway_between_arrays(student, rng):
    """Arrays are taken number by number, and are not changed."""
    a, b = rng.normal(size=(2, 3, 5))
    expect.close(student.halfway(a, b), (a + b) / 2, "Does it work for arrays as well as for numbers?")
    expect.unchanged(student, "Does `a += b` change a in place?")


@halfway.inputs
def _pairs(rng):
    for _ in range(10):
        yield tuple(rng.normal(size=2)), {}


@halfway.misconception(caught_by=test_halfway_between_two_numbers)
def halves_only_the_second(a, b):
    """This is a + b/2: Python divides before it adds. Brackets around the sum, `(a + b) / 2`, change the order."""
    return a + b / 2


@halfway.misconception(caught_by=test_halfway_between_two_numbers)
def halves_only_the_first(a, b):
    """This is a/2 + b: only the first number was halved. Add the two, then halve the sum, all of it: `(a + b) / 2`."""
    return a / 2 + b


@halfway.misconception(caught_by=test_halfway_between_two_numbers)
def forgets_to_halve(a, b):
    """This is the sum of the two. The point halfway is half of it."""
    return a + b


@halfway.misconception(caught_by=test_halfway_between_two_numbers)
def halves_the_difference(a, b):
    """This is half of the distance between the two. Starting from a, go that far: a + (b − a) / 2."""
    return (b - a) / 2


@halfway.misconception(caught_by=test_halfway_between_two_numbers)
def starts_from_the_first(a, b):
    """This goes half the distance upwards from a. Where b is the smaller of the two, the way leads down: take the
    difference with its sign, `a + (b - a) / 2`, or halve the sum."""
    return a + np.abs(b - a) / 2


@halfway.misconception(caught_by=test_halfway_between_two_numbers)
def takes_the_geometric_mean(a, b):
    """This is the geometric mean, √(a·b). Halfway means the same distance from both: the arithmetic mean."""
    return np.sqrt(a * b + 0j).real


@halfway.misconception(caught_by=test_halfway_between_whole_numbers)
def loses_the_fraction(a, b):
    """This divides with `//`, which rounds down. `/` keeps the fraction."""
    return (a + b) // 2 if isinstance(a, int) else (a + b) / 2


@halfway.misconception(caught_by=test_halfway_between_whole_numbers)
def rounds_down(a, b):
    """The fraction is lost: `//` and `int` round to a whole number. `/` keeps the fraction."""
    return (a + b) // 2


@halfway.misconception(caught_by=test_halfway_between_arrays)
def averages_everything(a, b):
    """For two numbers this is right. Of two arrays, `np.mean([a, b])` makes a single number, the mean of all that is in
    them. Halfway goes number by number: `(a + b) / 2` does that by itself."""
    return np.mean([a, b])


@halfway.misconception(caught_by=test_halfway_between_arrays)
def adds_in_place(a, b):
    """The result is right, but `a += b` writes the sum into the array that was passed in. Write `a + b`."""
    a += b
    return a / 2


@halfway.alternative
def halfway_by_steps(a, b):
    return a + (b - a) * 0.5


@halfway.alternative
def halfway_by_a_mean(a, b):
    return np.mean([a, b], axis=0)


@halfway.alternative
def halfway_by_weights(a, b):
    return 0.5 * a + 0.5 * b
