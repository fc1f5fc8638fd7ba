"""A small chapter and the declaration of its exercise."""

EXERCISE = '''
import numpy as np

from autograder import expect
from autograder.exercise import Exercise


def _double(x):
    return 2 * x


double = Exercise("double", chapter=90, reference=_double, minutes=3, difficulty=2)


@double.check(points=2)
def test_double(student, rng):
    """Twice a number."""
    expect.close(student.double(3.0), 6.0, "Is it two times x?")


@double.misconception(caught_by=test_double)
def squares(x):
    """This is the square."""
    return x * x


@double.alternative
def by_adding(x):
    return x + x


@double.alternative
def by_shifting(x):
    return x / 0.5
'''

CHAPTER = '''
# %% [markdown]
# # 90 · Doubling
#
# A question?

# %%
from autograder import check

# %% [markdown]
# {{exercise double}}
#
# Double it.


# %% exercise="double"
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    the_answer_is_twice_the_number = 2 * x
    return the_answer_is_twice_the_number
    ### END SOLUTION


# %%
print("six:", 6)
'''
