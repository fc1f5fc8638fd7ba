# %% [markdown]
# # Start here
#
# **In a few weeks you will have built a Transformer.** Not read about one: built one, every line of it, and trained it on this
# computer. You begin with softmax, which is one line long. Each chapter adds one idea, a few functions that you write, and a
# picture that shows what they do.
#
# This page takes five minutes. It shows how the notebooks work, and it ends with your first exercise passed.

# %% [markdown]
# ## One minute on notebooks
#
# A notebook is a page with *cells*. Some hold text, like this one. Some hold Python. Click on the next cell and press
# **Shift + Enter**: it runs, what it prints appears below, and the next cell is selected. (If nothing happens, Python was still
# starting: wait until the circle at the top right is empty, and press again.)
# Run the cells of a page from the top, one after the other: later cells use what earlier ones have made.

# %%
import numpy as np

from autograder import check, progress

weights = np.array([0.5, 0.3, 0.2])
values = np.array([10.0, 20.0, 30.0])
print("a weighted average:", weights @ values)

# %% [markdown]
# The sign `@` multiplies the two lists in pairs and adds up: $0.5 \cdot 10 + 0.3 \cdot 20 + 0.2 \cdot 30 = 17$.
#
# That was attention, by the way. Weights that add up to one, and an average of values. All that the rest of the course does is
# to find good weights.
#
# If a cell seems stuck, the square button ■ above stops it. If everything is in a muddle, *Kernel › Restart Kernel and Run All
# Cells…* begins anew. What you wrote stays.

# %% [markdown]
# ## Your first exercise
#
# An exercise is a function with an empty body. You replace `raise NotImplementedError()` by your code, run the cell, and then
# run the cell below it, which asks `check` what it thinks. `check` tries your function on many inputs and shows a line for each
# *law* that must hold. If one does not, it says what it tried, what came out, and, if it recognises the mistake, what you may
# have had in mind. The dots under the title say how hard the exercise is: one, two or three.
#
# {{exercise halfway}}
#
# Return the number halfway between `a` and `b`.
#
# *By hand:* halfway between 2 and 6 is 4.
#
# Do it wrong first. Write `return a + b / 2`, run both cells, and read what the check says. Then mend it.
#
# <details><summary>Hint 1: the idea</summary>
#
# Add the two numbers. Then halve the sum, all of it.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `total = a + b`
#
# </details>


# %% exercise="halfway"
def halfway(a, b):
    """The number halfway between a and b: two numbers, or two arrays of one shape."""
    ### BEGIN SOLUTION
    return (a + b) / 2
    ### END SOLUTION


# %% [markdown]
# Three ticks? Then you know how every exercise of this course works. Hints are folded under each one; open them when you like,
# they cost nothing. The same checks, with other numbers, are what an instructor grades with.
#
# ## Where you are
#
# What a check finds is noted on this computer, and nowhere else. The next cell shows it. The name beside *Next* is a link:
# it leads on.

# %% tags=["demo"]
progress()

# %% [markdown]
# This is also the page that `python lab.py` opens. Before you hand a notebook in, put `from autograder import check_all`
# and `check_all()` in a cell of its own. It runs the whole notebook from the top, in a fresh process, as grading will, and says what
# would be graded and what is missing.
#
# ## The road
#
# **Part I, the mathematics.** Softmax · averaging with weights · additive attention · scaled dot-product attention · masks ·
# attention in sequence to sequence · reading an alignment.
#
# **Part II, the Transformer.** Self-attention · many heads · positions · the block · encoder · decoder · the full model and its
# training · decoding and scoring.
#
# **Part III, at work.** Translation · tagging · classification · vision · generation · summaries and questions ·
# recommendation · speech.
#
# **Part IV, the frontier.** Cost and memory · fast attention · what heads do.
#
# The table in the [README](../../README.md) says which of these chapters are there today. Each one is a notebook in the
# folder `notebooks`, in the list on the left.
#
# **Next:** [1 · Softmax](../01_softmax/01_softmax.ipynb), about two hours with its exercises.
