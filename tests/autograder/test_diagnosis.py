"""Which wrong answer is named, and when none is: a false explanation is worse than none."""

import numpy as np
import torch
from torch import nn

from autograder import expect
from autograder.exercise import Exercise
from autograder.judge import Verdict, judge
from autograder.student import Here


def verdict_on(exercise: Exercise, answer) -> Verdict:
    return judge(exercise, Here.ours(exercise, answer))


def test_who_is_right_but_for_a_rounding_is_not_told_of_another_mistake():
    half = Exercise("half", chapter=90, reference=lambda x: x / 2)

    @half.check(points=1)
    def test_half(student, rng):
        """A half."""
        expect.close(student.half(np.array([2.0, 4.0])), np.array([1.0, 2.0]))

    @half.check(points=1)
    def test_half_of_negative_numbers(student, rng):
        """A half, below zero."""
        expect.close(student.half(np.array([-2.0])), np.array([-1.0]))

    @half.misconception(caught_by=test_half_of_negative_numbers)
    def forgets_the_sign(x):
        """The sign is lost."""
        return abs(x) / 2

    assert verdict_on(half, forgets_the_sign).diagnosis is half.misconceptions[0]
    # In the first law this is nearly the reference, and so is `forgets_the_sign`; the second law shows another mistake.
    nearly = verdict_on(half, lambda x: np.where(x > 0, x / 2 + 1e-6, x))
    assert [law.status for law in nearly.laws] == ["fail", "fail"]
    assert nearly.diagnosis is None


def build(*names: str, bias: bool) -> type[nn.Module]:
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            for name in names:
                setattr(self, name, nn.Linear(3, 2, bias=bias))

    return Pair


def pair() -> Exercise:
    exercise = Exercise("Pair", chapter=90, reference=build("a", "b", bias=False))

    @exercise.check(points=1)
    def test_layers(student, rng):
        """Two layers without bias, drawn at random."""
        found = student.Pair().parameters()
        expect.true(set(found) == {"a.weight", "b.weight"}, "Other layers.")
        expect.true(all(w.std() > 0 for w in found.values()), "All numbers are alike.")

    @exercise.misconception(caught_by=test_layers)
    class WithBiases(build("a", "b", bias=True)):
        """There are biases."""

    @exercise.misconception(caught_by=test_layers)
    class OfOnes(build("a", "b", bias=False)):
        """All numbers are 1."""

        def __init__(self):
            super().__init__()
            for weight in self.parameters():
                nn.init.ones_(weight)

    return exercise


def test_layers_too_many_are_recognised_whatever_numbers_they_hold():
    exercise = pair()
    found = verdict_on(exercise, build("b", "a", bias=True))  # made in another order, so with other numbers
    assert found.diagnosis is exercise.misconceptions[0]
    assert found.certain


def test_numbers_count_where_the_layers_are_the_right_ones():
    exercise = pair()
    assert verdict_on(exercise, exercise.misconceptions[1].function).diagnosis is exercise.misconceptions[1]

    class OfZeros(build("a", "b", bias=False)):
        def __init__(self):
            super().__init__()
            for weight in self.parameters():
                nn.init.zeros_(weight)

    assert verdict_on(exercise, OfZeros).diagnosis is None


def test_who_draws_at_random_is_asked_with_the_same_numbers_as_the_misconceptions():
    die = Exercise("die", chapter=90, reference=lambda sides: torch.randint(sides, ()) + 1)

    @die.check(points=1)
    def test_die(student, rng):
        """From one on."""
        for _ in range(3):
            student.die(1)
        expect.close(student.die(1), torch.tensor(1))

    @die.inputs
    def sides(rng):
        yield from [((n,), {}) for n in (1000, 10_000, 100_000)]

    @die.misconception(caught_by=test_die)
    def counts_from_zero(sides):
        """From zero on."""
        return torch.randint(sides, ())

    @die.misconception(caught_by=test_die)
    def always_says_zero(sides):
        """Always zero."""
        return torch.tensor(0)

    for misconception in die.misconceptions:
        assert verdict_on(die, misconception.function).diagnosis is misconception
