# %% [markdown]
# # 10 · Positions
#
# **Dog bites man, man bites dog: how is attention to know the difference?**
#
# It does not know it. You have built attention in chapter after chapter, and the order of the words came into it
# nowhere: a score looks at *what* two words are, and never at *where* they stand. To attention a sentence is a bag of
# words.
#
# So the order has to be put in, and there are remarkably different ways to do it. This chapter builds four of them:
# waves that are added, rows that are learned, vectors that are turned, and scores that are lowered. Within the lengths
# that a model was trained on most of them do equally well. Then we ask the same small models about texts eight times as
# long. One code holds, at one of two games. Another can be rescued with a single line that you already have. And the
# one that is most often said to "extrapolate to any length" does not.
#
# *About two and a half hours, 75 minutes of them for the five exercises. You need scaled dot-product attention
# (chapter 4) and masks (chapter 5).*

# %%
import time
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch

from attnlab import interactive, plotting
from attnlab.dot_product import dot_scores, scaled_dot_product_attention
from attnlab.masks import causal_mask, combine, local_mask, masked_softmax
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN, PINK, BROWN, INK = plotting.COLOURS

random = torch.Generator().manual_seed(0)
word = {name: torch.randn(8, generator=random) for name in ("dog", "bites", "man")}  # one vector for each word
W_q, W_k, W_v = torch.randn(3, 8, 8, generator=random)


def outputs(sentence):
    """What self-attention makes of each word of a sentence, by word."""
    x = torch.stack([word[name] for name in sentence.split()])  # shape (3, 8)
    out = scaled_dot_product_attention(x @ W_q, x @ W_k, x @ W_v)
    return dict(zip(sentence.split(), out, strict=True))


one, other = outputs("dog bites man"), outputs("man bites dog")
for name in word:
    gap = (one[name] - other[name]).abs().max()
    print(f"{name:6} greatest difference between the two sentences: {gap:.0e}")

# %% [markdown]
# Whoever reads these outputs cannot tell who was bitten. Reorder the words in whatever way: the rows of the output are
# reordered with them, and not one number changes. (Chapter 8 had a name for it: the permutation gap is zero.)
#
# ## Where we are

# %% tags=["demo"]
interactive.road(10)

# %% [markdown]
# ## A number for a place
#
# The remedy that suggests itself: write the place into the vector. Word $t$ of a sequence gets a vector $p_t$ added to
# it, and from then on *dog at place 0* and *dog at place 2* are different vectors. But which $p_t$? **Before you read
# on, make a proposal of your own.** Here are three that people make, and what they are worth.
#
# - **The number itself**, $t$ in some column. Word 1,000 then has a 1,000 in that column, beside entries of size 1. In a
#   dot product nothing else would count.
# - **The share**, $t/T$, between 0 and 1. Now the *word before* is 0.1 away in a text of ten words, and 0.001 away in
#   one of a thousand. "One place back" means nothing any more.
# - **Binary digits.** Never large, and as many places as you like. But from 7 to 8 all four digits change at once
#   ($0111 \to 1000$), from 8 to 9 only one. Neighbours are sometimes close and sometimes far apart.
#
# The third idea is nearly right. What it lacks is smoothness. Its last digit changes at every step, the next one at
# every second, then at every fourth: slow columns and fast ones. You know a smooth device with that property. It hangs
# on the wall.

# %% tags=["demo", "hide-input"] alt="A table of clocks with one hand each. Left: four rows for pairs 0 to 3, columns for the places 0, 1, 2, 3, 4, 5, 10, 50, 100 and 1000. The hand of pair 0 turns by about 57 degrees a step; that of pair 1 a tenth of this; that of pair 2 has moved visibly at place 50; that of pair 3 only at 1000. Right: the same four pairs for three steps of three places, from 0 to 3, from 5 to 8 and from 40 to 43. The hand starts elsewhere each time, but in each row the coloured sector that it sweeps is equally wide."
places, steps = (0, 1, 2, 3, 4, 5, 10, 50, 100, 1000), ((0, 3), (5, 8), (40, 43))
speeds = 10000.0 ** (-np.arange(0, 8, 2) / 8)  # d_model = 8: four pairs of columns, so four clocks


def hand(ax, x, y, angle, colour, **style):
    ax.plot([x, x + 0.38 * np.cos(angle)], [y, y + 0.38 * np.sin(angle)], "-", color=colour, **style)


with plotting.house_style():
    fig, ax = plt.subplots(figsize=(9.8, 3.3))
    for row, speed in enumerate(speeds):
        colour = plotting.COLOURS[row]
        ax.text(-0.75, -row, f"pair {row}", ha="right", va="center", color=colour)
        for x, t in enumerate(places):
            hand(ax, x, -row, t * speed, colour, linewidth=2.4)
        for x, (t, later) in enumerate(steps, 11):
            swept = np.rad2deg([t * speed, later * speed])
            ax.add_patch(plt.matplotlib.patches.Wedge((x, -row), 0.38, *swept, color=colour, alpha=0.35))
            hand(ax, x, -row, t * speed, INK, linewidth=1.4)
            hand(ax, x, -row, later * speed, colour, linewidth=2.4)
        for x in (*range(10), 11, 12, 13):
            ax.add_patch(plt.Circle((x, -row), 0.42, fill=False, color=INK, linewidth=0.8))
    for x, name in (*enumerate(f"{t:,}" for t in places), *enumerate((f"{t} → {s}" for t, s in steps), 11)):
        ax.text(x, 0.55, name, ha="center", va="bottom")
    ax.text(4.5, 1.1, "place t", ha="center", va="bottom", fontsize=12)
    ax.text(12, 1.1, "three places on", ha="center", va="bottom", fontsize=12)
    ax.set(xlim=(-1.9, 13.5), ylim=(-3.5, 1.6), aspect="equal")
    ax.axis("off")
    plt.show()

# %% [markdown]
# A place is a *time of day*: one fast hand, and others, each of them (with eight columns) ten times slower than the one before. (Angles are counted as
# in mathematics: 0 points to the right, and hands turn to the left.) Every place has its own setting of the hands, no
# hand is ever large, and neighbouring places have neighbouring settings.
#
# Now look at the right half. The step from 0 to 3 and the step from 40 to 43 start at different times. **What do they
# have in common?** In each row, the sector that the hand sweeps is the same. *Three places on* is a turn by fixed
# angles, wherever one starts. Keep this in mind; half of the chapter hangs on it.
#
# ### The formula
#
# How does one write the hand of a clock into a vector? By where its tip is: a sine and a cosine. With $d_\text{model}$
# columns there is room for $d_\text{model}/2$ clocks. Clock $i = 0, 1, 2, \dots$ owns the columns $2i$ and $2i + 1$,
#
# $$P_{t,\,2i} = \sin(t\,\omega_i), \qquad P_{t,\,2i+1} = \cos(t\,\omega_i), \qquad
# \omega_i = \frac{1}{10000^{2i/d_\text{model}}}.$$
#
# $\omega_i$ is the speed: by how much the hand turns from one place to the next. Clock 0 turns by 1 radian, about 57
# degrees. With many columns, the last one turns nearly 10,000 times as slowly. In between, the speeds fall by the same factor from clock to
# clock.
#
# {{exercise sinusoidal_positions}}
#
# Return the table $P$, a tensor of shape `(T, d_model)`, for an even `d_model`. Row $t$ belongs to place $t$, counted
# from 0. Sines stand in the even columns, cosines in the odd ones.
#
# *By hand:* for `d_model = 4` the speeds are $1$ and $1/10000^{2/4} = 1/100$. So row 1 is $\sin 1, \cos 1, \sin 0.01,
# \cos 0.01$, which is $0.841, 0.540, 0.010, 1.000$. Row 0 is $0, 1, 0, 1$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Places as a column, speeds as a row: one division makes the table of all angles, `(T, d_model / 2)`. Then fill every
# second column, `P[:, 0::2]`, with the sines of these angles, and the others with the cosines *of the same angles*.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `angles = torch.arange(T)[:, None] / 10000.0 ** (torch.arange(0, d_model, 2) / d_model)`
#
# </details>


# %% exercise="sinusoidal_positions"
def sinusoidal_positions(T, d_model):
    """A row of waves for each place: sines in the even columns, cosines in the odd ones.

    T        how many places
    d_model  how many columns, an even number

    Returns a tensor of shape (T, d_model).
    """
    ### BEGIN SOLUTION
    angles = torch.arange(T)[:, None] / 10000.0 ** (torch.arange(0, d_model, 2) / d_model)
    waves = torch.empty(T, d_model)
    waves[:, 0::2] = angles.sin()
    waves[:, 1::2] = angles.cos()
    return waves
    ### END SOLUTION


# %% [markdown]
# Your table has two properties that were built into the clocks. First: how similar are two places? The dot product of
# two rows is, clock by clock,
#
# $$\sin a \sin b + \cos a \cos b = \cos(a - b), \qquad\text{so}\qquad
# P_t \cdot P_s = \sum_i \cos\bigl((t - s)\,\omega_i\bigr).$$
#
# Neither $t$ nor $s$ is left over, only their difference. On the right below, the similarity of three different
# places to all places around them. **How will the three curves differ?**

# %% tags=["demo", "hide-input"] alt="Left: the sinusoidal table as a heat map, 96 places by 32 columns. The left columns flicker from row to row, further right the waves get longer, and the last columns stay constant. Right: the dot product of places 20, 48 and 75 with every place at a distance from −20 to 20. The three curves lie on top of one another: a peak of 16 at distance 0, falling to both sides with small bumps."
with interactive.once_solved("sinusoidal_positions"):
    P = torch.as_tensor(sinusoidal_positions(96, 32))
    with plotting.house_style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.9), width_ratios=[1, 1.6])
        plotting.signed_heatmap(P, ax=left)
        left.set(xlabel="column", ylabel="place t", aspect="auto")
        around = np.arange(-20, 21)
        for t, width, style in ((20, 9, "-"), (48, 4.5, "-"), (75, 1.8, "--")):
            right.plot(around, P[t + around] @ P[t], style, linewidth=width, alpha=0.75, label=f"t = {t}")
        right.set(xlabel="distance s − t", ylabel=r"$P_t \cdot P_s$")
        right.legend()
        plt.show()

# %% [markdown]
# The three lie on top of one another. And a place is most similar to itself, then to its neighbours.
#
# Second: turning by a fixed angle is a *linear* map. To go three places on, multiply by a matrix $M$ that has a small
# rotation for each clock on its diagonal, and is the same for all $t$:
#
# $$P_{t+3} = P_t\,M, \qquad M = \begin{pmatrix} \cos 3\omega_i & -\sin 3\omega_i \\ \sin 3\omega_i & \cos 3\omega_i
# \end{pmatrix} \text{ in block } i.$$
#
# That was the argument of the paper: a projection $W_q$ is a linear map as well, so a head *could* learn "the word three
# places back". Let us see whether the matrix exists. We ask for the best linear map from row $t$ to row $t + 3$, over
# the first 60 places, and try it on places that it was not fitted to.

# %% tags=["demo"]
with interactive.once_solved("sinusoidal_positions"):
    P = torch.as_tensor(sinusoidal_positions(1000, 8)).double()
    M = torch.linalg.lstsq(P[:60], P[3:63]).solution  # (8, 8)
    print(f"largest error at places 900 to 996: {(P[900:997] @ M - P[903:1000]).abs().max():.1e}")
    print("M for the first two clocks:")
    print(np.round(M[:4, :4].numpy(), 3) + 0.0)
    print(f"cos 3 = {np.cos(3):.3f}, sin 3 = {np.sin(3):.3f}, cos 0.3 = {np.cos(0.3):.3f}, sin 0.3 = {np.sin(0.3):.3f}")

# %% [markdown]
# Fitted to 60 places, it holds at place 900.
#
# ## Or let it be learned
#
# Why design a table at all? A word's vector is not designed either. It is a row of a table that is learned. Do the same
# for places: a table with a row for each place, filled with small random numbers, and changed by the gradient as
# everything else is. GPT-2 and BERT did it so.
#
# A model that writes keeps what it has read in a cache (chapter 5). So the words that come in are not the first of the
# text: they *start* somewhere. And a table ends. **What does PyTorch do with `table[5:6]` if the table has five rows? And with `table[4:7]`, when a
# sequence of three words is added to it?**

# %% tags=["demo"]
table = torch.arange(5.0)[:, None] + torch.zeros(2)  # five rows; row t is t, t
x = torch.zeros(3, 2)
print("one word at place 5:     ", (x[:1] + table[5:6]).shape)
print("three words at place 4:  ", (x + table[4:7]).tolist())

# %% [markdown]
# The first word has vanished, and nobody says so. The three words all got the row of place 4, which broadcasting
# handed around. Neither is an error message. So you will write one.
#
# {{exercise learned_positions}}
#
# `x` has shape `(..., T, d_model)`, `table` has shape `(T_max, d_model)`. Return `x` plus the rows `start` to
# `start + T - 1` of the table: the first row of every sequence in `x` stands at place `start`. Where the table has no
# such rows, raise a `ValueError` that says so.
#
# *By hand:* the rows $(1, 2)$ and $(3, 4)$ with `start=1`, and the table $(10, 20), (30, 40), (50, 60)$, become
# $(31, 42)$ and $(53, 64)$. With `start=2` they need a row 3, and there is none.
#
# <details><summary>Hint 1: the idea</summary>
#
# Read $T$ from the last axis but one of `x`. First the question whether the table is long enough; then a slice and a
# sum. Broadcasting takes care of the axes in front.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `T = x.shape[-2]`, and then `if start + T > len(table):`
#
# </details>


# %% exercise="learned_positions"
def learned_positions(x, table, start=0):
    """x plus a row of the table for each place.

    x      shape (..., T, d_model)
    table  shape (T_max, d_model)
    start  the place of the first row of x

    Returns a tensor of the shape of x; raises a ValueError where the table ends too soon. Changes neither x nor table.
    """
    ### BEGIN SOLUTION
    T = x.shape[-2]
    if start + T > len(table):
        raise ValueError(f"the table has {len(table)} places, but places up to {start + T - 1} were asked for")
    return x + table[start : start + T]
    ### END SOLUTION


# %% [markdown]
# ## The trouble with adding
#
# Look at what a sum does to the score. The word $x$ at place $t$ asks, the word $y$ at place $s$ answers:
#
# $$\begin{aligned} \bigl((x + p_t) W_q\bigr) \cdot \bigl((y + p_s) W_k\bigr) \;=\;\;
# &\underbrace{x W_q \cdot y W_k}_{\text{word, word}} \;+\; \underbrace{x W_q \cdot p_s W_k}_{\text{word, place}} \\
# +\; &\underbrace{p_t W_q \cdot y W_k}_{\text{place, word}} \;+\;
# \underbrace{p_t W_q \cdot p_s W_k}_{\text{place, place}}. \end{aligned}$$
#
# The two terms in the middle contain *one* place alone. They say things such as "the word *dog* asks for place 17". Who
# wants that? And in the last term the projections stand between $p_t$ and $p_s$, so it knows the distance only if
# training makes $W_q$ and $W_k$ fit each other. (Also, the sum goes into the values. What is carried home is word and
# place, mixed.)
#
# What grammar asks for is different: *the word before*, *the nearest noun*. What matters are the two words, and **the
# distance between them**. So let us demand it. We look for a function $f$ that puts a place into a query or a key in
# such a way that
#
# $$f(q, t) \cdot f(k, s) \quad\text{depends on } q, k \text{ and } t - s \text{ only.}$$
#
# ### Turning
#
# In the plane the answer is in front of you, on the wall. A dot product depends on two lengths and on the *angle
# between* the two vectors. Turn the query by $t\,\omega$, and the key by $s\,\omega$. The lengths stay. The angle
# between them changes by $(t - s)\,\omega$, and by nothing else. Nothing was added. The vectors are the hands now.

# %% tags=["demo", "hide-input"] alt="Three discs with a blue query and an orange key. First: not turned, 80 degrees apart. Second: query at place 4, key at place 1; both turned, now further apart. Third: query at place 9, key at place 6; both stand elsewhere, but the angle between them is the same as in the second disc. Below the discs the scores: the last two are equal."
q, k, omega = np.array([0.2, 1.0]), np.array([1.0, -0.1]), 0.3


def turned_arrow(v, angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([v[0] * c - v[1] * s, v[0] * s + v[1] * c])


with plotting.house_style():
    fig, axes = plt.subplots(1, 3, figsize=(9.2, 3.3))
    for ax, (t, s) in zip(axes, ((0, 0), (4, 1), (9, 6)), strict=True):
        ax.add_patch(plt.Circle((0, 0), 1.15, fill=False, color=INK, linewidth=0.8))
        new_q, new_k = turned_arrow(q, t * omega), turned_arrow(k, s * omega)
        for new, old, place, name, colour in ((new_q, q, t, "q", BLUE), (new_k, k, s, "k", ORANGE)):
            if place:
                ax.plot([0, old[0]], [0, old[1]], ":", color=colour, linewidth=1.4)
            ax.annotate("", new, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.4})
            ax.text(*(1.42 * new / np.linalg.norm(new)), f"{name} at {place}", color=colour, ha="center", va="center")
        angles = np.rad2deg([np.arctan2(v[1], v[0]) for v in (new_k, new_q)])
        between = plt.matplotlib.patches.Arc((0, 0), 0.6, 0.6, theta1=angles[0], theta2=angles[1], color=GREEN)
        between.set_linewidth(3)
        ax.add_patch(between)
        ax.set_title("not turned" if t == 0 else f"distance {t} − {s} = {t - s}")
        ax.text(0, -1.75, f"q · k = {new_q @ new_k:.3f}", ha="center", color=GREEN)
        ax.set(xlim=(-1.75, 1.75), ylim=(-1.8, 1.6), aspect="equal")
        ax.axis("off")
    plt.show()

# %% [markdown]
# In the second disc and the third the arrows point elsewhere, but the angle between them is the same, and so is the
# score. For places (4, 1), (9, 6) or (1009, 1006), it is always that of *three apart*.
#
# A vector with $d_k$ entries is cut into $d_k/2$ pairs, and each pair is turned with a speed of its own: those of the
# clocks, $\omega_i = 1/10000^{2i/d_k}$. Fast pairs can tell 2 from 3, slow ones can tell 200 from 300. For pair $i$ of a
# vector at position $t$, with $\theta = t\,\omega_i$,
#
# $$\begin{pmatrix} a \\ b \end{pmatrix} = \begin{pmatrix} x_{2i} \\ x_{2i+1} \end{pmatrix}
# \;\longmapsto\;
# \begin{pmatrix} a \cos\theta - b \sin\theta \\ a \sin\theta + b \cos\theta \end{pmatrix}.$$
#
# It is called RoPE, *rotary position embedding*, and most large language models of today use it.
#
# {{exercise rotate}}
#
# Turn every row of `x`. `x` has shape `(..., T, d_k)` with an even $d_k$. `positions` holds whole numbers: of shape
# `(T,)`, one for each row, the same for all sequences; or of any shape that broadcasts to `(..., T)`, when sequences
# stand at different places. Make the angles in float32, or better, whatever numbers `x` has. (The section on traps says
# why.)
#
# *By hand:* for $d_k = 4$ at position 2, the row $(1, 0, 0, 1)$ becomes $(\cos 2, \sin 2, -\sin 0.02, \cos 0.02)$. At
# position 0 nothing changes.
#
# <details><summary>Hint 1: the idea</summary>
#
# `positions[..., None]` is a column, whatever axes stand in front; divided by the row of powers it gives an angle for
# each row and pair. Take `a = x[..., 0::2]` and `b = x[..., 1::2]`, compute the two new halves, and deal them out in
# turn.
#
# </details>
#
# <details><summary>Hint 2: the last line</summary>
#
# If `new_a` and `new_b` have the shape `(..., T, d_k / 2)`, then `torch.stack((new_a, new_b), dim=-1).flatten(-2)` puts
# the pairs side by side again.
#
# </details>


# %% exercise="rotate"
def rotate(x, positions):
    """Turn each pair of neighbouring columns by an angle in proportion to the position of its row.

    x          queries or keys, shape (..., T, d_k), d_k even
    positions  whole numbers, shape (T,) or one that broadcasts to (..., T)

    Returns a tensor of the shape of x. Changes neither x nor positions.
    """
    ### BEGIN SOLUTION
    d_k = x.shape[-1]
    angles = positions[..., None] / 10000.0 ** (torch.arange(0, d_k, 2) / d_k)
    cos, sin = angles.cos(), angles.sin()
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)
    ### END SOLUTION


# %% [markdown]
# A random query and a random key of width 64, three distances, and each pair moved on by 0, 1, 10 and 1,000 places.
# **What stays the same, along the rows or down the columns?**

# %% tags=["demo"]
with interactive.once_solved("rotate"):
    random = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 64, dtype=torch.float64, generator=random)

    def turned_score(t, s):
        return (rotate(q, torch.tensor([t])) @ rotate(k, torch.tensor([s])).T).item()

    report = [f"{'shift':>8}{'distance 0':>14}{'distance 3':>14}{'distance 50':>14}"]
    for shift in (0, 1, 10, 1000):
        report.append(f"{shift:8}" + "".join(f"{turned_score(shift + d, shift):14.4f}" for d in (0, 3, 50)))
    print("\n".join(report))
    print(f"not turned at all: {(q @ k.T).item():.4f}")

# %% [markdown]
# Down each column the score stays, up to the rounding of the angles. From column to column it changes.
#
# Where does the rotation go in attention? Into the scores and nowhere else: queries and keys are turned, *after* the
# projections, in every layer. A value is what is carried home. If it were turned it would mean something else at every
# place, and nobody would turn it back.
#
# {{exercise rotary_attention}}
#
# Turn `q` and `k`, then attend. `q` has shape `(..., T, d_k)`, `k` is `(..., S, d_k)`, `v` is `(..., S, d_v)`. Keys stand
# at the places $0$ to $S - 1$, and the queries are **the last $T$ of these $S$ places**, as in chapter 5. Use your
# `rotate`, and `scaled_dot_product_attention(q, k, v, mask)`, which earlier chapters built and the first cell imported.
#
# *By hand:* with a single key, its share is 1, and the answer is its value, unturned.
#
# <details><summary>Hint 1: the idea</summary>
#
# Three lines: turn the queries, turn the keys, attend. At which place does query 0 stand, if there are $S = 8$ keys and
# $T = 3$ queries?
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `T, S = q.shape[-2], k.shape[-2]`, and the queries stand at `torch.arange(S - T, S)`.
#
# </details>


# %% exercise="rotary_attention"
def rotary_attention(q, k, v, mask=None):
    """Scaled dot-product attention whose scores know the words and the distance between them.

    q     queries, shape (..., T, d_k), d_k even: the last T of S places
    k     keys, shape (..., S, d_k): places 0 to S − 1
    v     values, shape (..., S, d_v)
    mask  boolean, True = may attend, broadcasts to (..., T, S); None for no mask

    Returns a tensor of shape (..., T, d_v). Changes none of its arguments.
    """
    ### BEGIN SOLUTION
    T, S = q.shape[-2], k.shape[-2]
    turned_q = rotate(q, torch.arange(S - T, S))
    turned_k = rotate(k, torch.arange(S))
    return scaled_dot_product_attention(turned_q, turned_k, v, mask)
    ### END SOLUTION


# %% [markdown]
# ## Or say it bluntly
#
# All this machinery, for scores that depend on the distance. Why not *write the distance into the score*?
#
# $$\text{score}_{h,t,s} = \frac{q_t \cdot k_s}{\sqrt{d_k}} \;-\; m_h\,|t - s|.$$
#
# That is the whole of ALiBi, *attention with linear biases*. Nothing is added to the words, nothing is learned, nothing
# is turned. What is far away pays. Softmax makes a factor of the penalty, for $e^{x - m} = e^x e^{-m}$: with every step
# away a key loses the same *share* of its weight.
#
# The slope $m_h$ is fixed, and different for each head. For $H$ heads, $H$ a power of two,
#
# $$m_h = 2^{-8h/H}, \qquad h = 1, 2, \dots, H.$$
#
# With 8 heads that is $\tfrac12, \tfrac14, \tfrac18, \dots, \tfrac1{256}$. **How far away is a key that has lost half of
# its weight, in the first head and in the last?**

# %% tags=["demo", "hide-input"] alt="Weights of the last query over 200 keys before it, for heads of slope 1/2, 1/8, 1/32 and 1/256, on a logarithmic axis: four straight lines that all start near the top at distance 0. The first falls below a thousandth after some fourteen places, the last has lost only about half after two hundred."
distance = np.arange(200)
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.2, 3.1))
    for h in (1, 3, 5, 8):
        ax.semilogy(distance, np.exp(-distance * 2.0**-h), label=f"head {h}, slope 1/{2**h}")
    ax.set(xlabel="distance", ylabel="weight left", ylim=(1e-3, 1.5))
    ax.legend()
    plt.show()
for h in (1, 8):
    print(f"head {h}: half of the weight is gone after {np.log(2) * 2**h:.1f} places")

# %% [markdown]
# One head listens to the word before, another to the last two hundred.
#
# {{exercise alibi_bias}}
#
# Return the bias alone, the numbers that are added to the scores, of shape `(num_heads, T, S)`:
#
# $$\mathrm{bias}[h, t, s] = -2^{-8(h+1)/H}\,\bigl|\,t + S - T - s\,\bigr|, \qquad h = 0, \dots, H - 1.$$
#
# (In code heads are counted from 0, so there is an $h + 1$.) `num_heads` is a power of two. The queries are the last $T$
# of $S$ places. The distance counts to both sides; whoever wants to hide the future uses a mask as well.
#
# *By hand:* for `num_heads=2`, `T=1`, `S=3` the slopes are $2^{-4} = \tfrac1{16}$ and $2^{-8} = \tfrac1{256}$. The only
# query stands at place 2, so its row is $-\tfrac2{16}, -\tfrac1{16}, 0$ in the first head.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two lines of places, as for the masks of chapter 5; one table of distances; then each head multiplies it by its slope.
# `slopes[:, None, None]` has the axes to do so.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `slopes = 2.0 ** (-8 * torch.arange(1, num_heads + 1) / num_heads)`
#
# </details>


# %% exercise="alibi_bias"
def alibi_bias(num_heads, T, S):
    """Minus slope times distance, for each head: what is far away pays.

    num_heads  a power of two
    T          how many queries: the last T of S places
    S          how many keys

    Returns a tensor of shape (num_heads, T, S), to be added to the scores.
    """
    ### BEGIN SOLUTION
    slopes = 2.0 ** (-8 * torch.arange(1, num_heads + 1) / num_heads)
    distance = (torch.arange(S - T, S)[:, None] - torch.arange(S)).abs()
    return -slopes[:, None, None] * distance
    ### END SOLUTION


# %% [markdown]
# ## Five fingerprints
#
# You have four codes. Put them side by side, and with them the case of no code at all. We take one query vector and one key vector, always the same two words,
# and let the query stand at every place $t$ and the key at every place $s$. Only the places vary, so what you see is the
# code. **If a code knows nothing but the distance, what pattern must appear? Which of the five show it?**

# %% tags=["demo", "hide-input"] alt="Five square pictures of the score, query places downwards, key places across. Without a code: one flat colour. Learned: irregular plaid of horizontal and vertical stripes and noise. Sinusoidal: a woven plaid pattern of waves, without clear diagonals. Rotary: perfect diagonal stripes. ALiBi: a ridge along the diagonal which falls off evenly to both sides."
with interactive.once_solved("sinusoidal_positions, learned_positions, rotate and alibi_bias"):
    random = torch.Generator().manual_seed(1)
    S, d = 48, 32
    W_q, W_k = torch.randn(2, d, d, generator=random) / d**0.5
    x, y = torch.randn(2, 1, d, generator=random)  # two words, with entries of size 1 …
    tables = {"learned": torch.randn(S, d, generator=random) * 0.5**0.5}
    tables["sinusoidal"] = torch.as_tensor(sinusoidal_positions(S, d), dtype=torch.float32)  # … and rows nearly as big
    x, y = x.expand(S, d), y.expand(S, d)
    fingerprints = {"none": (x @ W_q) @ (y @ W_k).T / d**0.5}
    for name, table in tables.items():
        fingerprints[name] = (learned_positions(x, table) @ W_q) @ (learned_positions(y, table) @ W_k).T / d**0.5
    turned_q, turned_k = (rotate(z, torch.arange(S)) for z in (x @ W_q, y @ W_k))
    fingerprints["rotary"] = turned_q @ turned_k.T / d**0.5
    fingerprints["ALiBi"] = fingerprints["none"] + torch.as_tensor(alibi_bias(8, S, S))[3]
    away = torch.arange(S)[:, None] - torch.arange(S)
    with plotting.house_style():
        fig, axes = plt.subplots(1, 5, figsize=(9.8, 2.5))
        for ax, (name, scores) in zip(axes, fingerprints.items(), strict=True):
            reach = (scores - scores.mean()).abs().max().clamp(min=1e-3)
            ax.imshow(scores - scores.mean(), cmap="RdBu_r", vmin=-reach, vmax=reach)
            ax.set(xticks=[], yticks=[], title=name)
            if name == "none":
                ax.set(xlabel="key place s", ylabel="query place t")
        plt.show()
    for name, scores in fingerprints.items():
        if name != "none":
            means = torch.stack([scores[away == a].mean() for a in away.unique()])  # one number for each distance
            left_over = (scores - means[away + S - 1]).var() / scores.var()
            print(f"{name:12} {1 - left_over:4.0%} of what varies is explained by the distance t − s alone")

# %% [markdown]
# Equal distances lie on a diagonal, so whoever knows only the distance has diagonal stripes. Rotary positions and ALiBi
# do, without any training. The two codes that are *added* weave a plaid. The clocks of the sinusoids did know the
# distance, perfectly; it was lost between $W_q$ and $W_k$, which here are random. Training may find it again. Whether
# it does, and for which places, is what we find out now.
#
# ## Two games
#
# We want games in which the order is everything and chance is easy to compute. Here are two.
#
# **The canon.** As in *Frère Jacques*, a second voice sings what the first one has sung a little earlier. Here: a random
# sequence of ten notes; at every place, say the note of **three places before**.
#
# **Notes on the fridge.** *Anna: garden. Ben: attic. Anna: kitchen. Anna?* Five people leave notes where they are, in
# one of eight places. A word of the sequence is a person together with a place, or with a question mark. At each
# question mark, say that person's **latest** note. Older notes of the same person are wrong.
#
# The canon asks for an *exact* distance. The fridge asks for the *nearest* that fits, however far away it is.


# %% tags=["demo"]
def canon(B, T, random, notes=10, delay=3):
    """Notes (B, T), and the note three places before; −100 where there is none."""
    x = torch.randint(notes, (B, T), generator=random)
    y = torch.full((B, T), -100)
    y[:, delay:] = x[:, :-delay]
    return (x,), y


def fridge(B, T, random, people=5, rooms=8):
    """People (B, T) and rooms (B, T), where room 8 is a question; at questions, the latest room of that person."""
    who = torch.randint(people, (B, T), generator=random)
    where = torch.randint(rooms, (B, T), generator=random)
    asks = torch.rand(B, T, generator=random) < 0.3
    y, last = torch.full((B, T), -100), torch.full((B, people), -100)
    for t in range(T):
        known = last.gather(1, who[:, t : t + 1])
        y[:, t] = torch.where(asks[:, t], known[:, 0], -100)
        last = last.scatter(1, who[:, t : t + 1], torch.where(asks[:, t, None], known, where[:, t, None]))
    return (who, where.masked_fill(asks, rooms)), y


GAMES = {"the canon": (canon, (10,), 10), "the fridge": (fridge, (5, 9), 8)}  # draw, vocabularies, classes
(notes,), answers = canon(1, 10, torch.Generator().manual_seed(3))
print("canon    ", *notes[0].tolist(), "\nanswers  ", *("·" if n < 0 else n for n in answers[0].tolist()), "\n")
(who, where), answers = fridge(1, 10, torch.Generator().manual_seed(4))
rooms = ("attic", "bath", "cellar", "den", "entry", "floor", "garden", "hall", "?")
for name, room, answer in zip(who[0].tolist(), where[0].tolist(), answers[0].tolist(), strict=True):
    print(
        f"{('Anna', 'Ben', 'Cleo', 'Dan', 'Eve')[name]:5} {rooms[room]:8}", f"→ {rooms[answer]}" if answer >= 0 else ""
    )

# %% [markdown]
# One small model plays them: one layer of causal attention with four heads, and a small network behind it. Nothing in
# it differs between the five codes but the code, and the functions are yours. All are trained on sequences of **20**
# words, in the same way, on the same examples.


# %% tags=["demo"]
def attend_plainly(q, k, v, mask):
    return scaled_dot_product_attention(q, k, v, mask)


def attend_with_slopes(q, k, v, mask):
    bias = torch.as_tensor(alibi_bias(q.shape[1], q.shape[-2], k.shape[-2]), dtype=q.dtype)
    return masked_softmax(dot_scores(q, k) / q.shape[-1] ** 0.5 + bias, mask) @ v


ATTEND = {
    "none": attend_plainly,
    "learned": attend_plainly,
    "sinusoidal": attend_plainly,
    "rotary": rotary_attention,
    "ALiBi": attend_with_slopes,
}
TRAINED, LONGEST, D_MODEL, NUM_HEADS = 20, 160, 32, 4


class Player(torch.nn.Module):
    """Words (B, T), several kinds of them added up, to scores of the answers (B, T, classes)."""

    def __init__(self, code, vocabularies, classes):
        super().__init__()
        self.attend = ATTEND[code]
        self.words = torch.nn.ModuleList(torch.nn.Embedding(n, D_MODEL) for n in vocabularies)
        self.qkv = torch.nn.Linear(D_MODEL, 3 * D_MODEL, bias=False)
        self.out = torch.nn.Linear(D_MODEL, D_MODEL, bias=False)
        self.think = torch.nn.Sequential(torch.nn.Linear(D_MODEL, 64), torch.nn.ReLU(), torch.nn.Linear(64, classes))
        self.table = None
        if code == "learned":
            self.table = torch.nn.Parameter(0.02 * torch.randn(LONGEST, D_MODEL))
        if code == "sinusoidal":
            self.table = torch.as_tensor(sinusoidal_positions(LONGEST, D_MODEL), dtype=torch.float32)

    def queries_keys_values(self, words):
        x = sum(table(kind) for table, kind in zip(self.words, words, strict=True))  # (B, T, d_model)
        if self.table is not None:
            x = learned_positions(x, self.table)
        split = (part.unflatten(-1, (NUM_HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        return x, *split  # each (B, H, T, d_k)

    def forward(self, words, mask):
        x, q, k, v = self.queries_keys_values(words)
        heads = self.attend(q, k, v, mask)
        return self.think(x + self.out(heads.transpose(1, 2).flatten(-2)))


def train(code, game, steps=600, batch=32, rate=4e-3):
    """A player of the game, after so many batches of sequences of 20 words."""
    draw, vocabularies, classes = GAMES[game]
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    player = Player(code, vocabularies, classes)
    optimiser = torch.optim.Adam(player.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    mask = causal_mask(TRAINED, TRAINED, like=torch.ones(1))
    for _ in range(steps):
        words, answers = draw(batch, TRAINED, random)
        loss = torch.nn.functional.cross_entropy(player(words, mask).flatten(0, 1), answers.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return player


@torch.no_grad()
def right_by_place(player, game, mask, T=LONGEST):
    """The share of right answers at each place of sequences of T words, and how many answers there were."""
    words, answers = GAMES[game][0](256, T, torch.Generator().manual_seed(99))
    right = player(words, mask).argmax(-1) == answers
    return (right.sum(0) / (answers >= 0).sum(0)).numpy(), (answers >= 0).sum(0).numpy()


NEEDS = {"learned": "learned_positions", "sinusoidal": "sinusoidal_positions and learned_positions"}
NEEDS |= {"rotary": "rotate and rotary_attention", "ALiBi": "alibi_bias"}
PLAYERS = {}
started = time.process_time()
for code in ATTEND:
    with interactive.once_solved(NEEDS.get(code, "")):
        PLAYERS[code] = {game: train(code, game) for game in GAMES}
print(f"{2 * len(PLAYERS)} models trained in {time.process_time() - started:.0f} s of one core")

# %% [markdown]
# Because attention is causal, a word sees only what stands before it. So one long sequence tests all lengths at once:
# what the model says at place 50 is what it would say at the end of a text of 51 words.
#
# **Commit yourself before you look.** Each of the five codes plays each of the two games. Which combinations are solved
# within the trained 20 places? Which still hold at place 160?

# %% tags=["demo", "hide-input"] alt="Two plots of accuracy by place, from 3 to 160 on a logarithmic axis, with the trained 20 places shaded. The canon: learned, sinusoidal and rotary are at 100 percent within the shade; at its edge learned falls to chance at once and sinusoidal to between 20 and 50 percent, rotary holds on to place 30 and is at chance by place 50. None and ALiBi never get there; ALiBi stays at about a third. The fridge: all but none are near 100 percent within the shade; outside, learned and sinusoidal fall at once, rotary a little later, and ALiBi alone stays at about 95 percent up to place 160."
BANDS = ((3, 20), (20, 40), (40, 80), (80, 160))


def by_band(shares, counts, bands=BANDS):
    """The share of right answers in each band of places."""
    return [np.nansum((shares * counts)[a:b]) / counts[a:b].sum() for a, b in bands]


COLOUR_OF = dict(zip(ATTEND, (INK, BROWN, PINK, ORANGE, BLUE), strict=True))
EVERYTHING = causal_mask(LONGEST, LONGEST, like=torch.ones(1))
with plotting.house_style():
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.9), sharey=True)
    report = []
    for ax, game in zip(axes, GAMES, strict=True):
        report.append(f"{game:14}" + "".join(f"{f'{a} to {b - 1}':>12}" for a, b in BANDS))
        ax.axvspan(3, TRAINED, color=INK, alpha=0.18, linewidth=0)
        for code, players in PLAYERS.items():
            shares, counts = right_by_place(players[game], game, EVERYTHING)
            edges = np.unique(np.geomspace(3, LONGEST, 26).round().astype(int))
            middle = np.sqrt(edges[:-1] * (edges[1:] - 1.0))
            ax.plot(middle, by_band(shares, counts, pairwise(edges)), color=COLOUR_OF[code], label=code)
            report.append(f"  {code:12}" + "".join(f"{share:12.0%}" for share in by_band(shares, counts)))
        ax.axhline(1 / GAMES[game][2], color=INK, linestyle=":", linewidth=1)
        ax.set(xscale="log", xlabel="place", title=game, xticks=(3, 10, 20, 40, 80, 160), ylim=(0, 1.04))
        ax.set_xticklabels(ax.get_xticks())
        ax.minorticks_off()
        ax.text(7.7, 0.02, "trained", ha="center")
    axes[0].set(ylabel="right answers", yticks=(0, 0.5, 1), yticklabels=("0%", "50%", "100%"))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, handlelength=2.6)
    plt.show()
print("\n".join(report))

# %% [markdown]
# (The dotted line is chance.) Take it code by code.
#
# - **None** cannot play. At the fridge it does better than chance, for often a person has left only one note so far.
# - **Learned** is perfect up to place 19 and collapses at place 20. It *must*: the gradient of `learned_positions` goes
#   to the rows in use, and row 20 was never in use. It is as random as on the first day.
# - **Sinusoidal** has a sensible row for place 20, and it helps little. A distance of three looks alike everywhere *to
#   someone who compares by turning*. But $W_q$ and $W_k$ were fitted to 20 settings of the clocks, in any way that did
#   the job there, and the job was done without learning the turn.
# - **Rotary** scores know nothing but distances, and three is three. Yet it holds for some places more, and then it fails as well.
#   Why? That is the riddle of the next section.
# - **ALiBi** plays the fridge at place 159 nearly as well as at place 15: "the nearest that fits" is the very thing that it says.
#   And it cannot play the canon, *not even within the trained length*. A straight slope has its peak at distance 0. With
#   one layer it cannot say "three, and neither two nor four".
#
# So the question "which positional code is the best" has no answer. Each code is a belief about what matters, and it
# extrapolates as far as the belief is right.
#
# ## Why does rotary fail?
#
# The score depends on the distance alone. Three places back are as well known at place 100 as at place 10. **So what is
# different at place 100?** Think before you look at the picture. It shows one head of the rotary canon player: its mean
# score for a key at each distance.

# %% tags=["demo", "hide-input"] alt="Score of one head against distance from 0 to 159, a dot for each distance; the trained distances 0 to 19 are shaded. The score is a wave with a period of about six. Within the shade its highest point is at distance 3, marked by a dotted line. Beyond the shade many crests of the wave rise above that line, around distances 47 and 110 highest; these dots are orange."
if "rotary" in PLAYERS:
    with torch.no_grad():
        words, _ = canon(64, LONGEST, torch.Generator().manual_seed(99))
        _, q, k, _ = PLAYERS["rotary"]["the canon"].queries_keys_values(words)
        places = torch.arange(LONGEST)
        scores = (dot_scores(rotate(q, places), rotate(k, places)) / q.shape[-1] ** 0.5).mean(0)  # (H, T, S)
    away = places[:, None] - places
    by_distance = torch.stack([scores[:, away == a].mean(-1) for a in places], dim=-1)  # (H, LONGEST)
    others = by_distance[:, :TRAINED].clone()
    others[:, 3] = -torch.inf
    line = by_distance[(by_distance[:, 3] - others.amax(-1)).argmax()]  # the head that tells 3 from the rest best
    louder = line > line[3]
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(8.8, 3.3))
        ax.axvspan(0, TRAINED - 1, color=INK, alpha=0.18, linewidth=0)
        ax.plot(line, color=BLUE, linewidth=0.8)
        ax.plot(places[~louder], line[~louder], "o", color=BLUE, markersize=3)
        ax.plot(places[louder], line[louder], "o", color=ORANGE, markersize=4.5)
        ax.plot([3, LONGEST], [line[3], line[3]], ":", color=INK, linewidth=1.4)
        ax.plot(3, line[3], "o", color=GREEN, markersize=8)
        ax.text(TRAINED / 2, 0.02, "trained", ha="center", transform=ax.get_xaxis_transform())
        ax.set(xlabel="distance t − s", ylabel="mean score", xticks=(3, 20, 40, 60, 80, 100, 120, 140, 160))
        plt.show()
    for t in (19, 40, 80, 159):
        weights = torch.softmax(line[: t + 1], dim=-1)
        print(
            f"word at place {t:3}: {weights[3]:4.0%} of the weight at distance 3, {weights[TRAINED:].sum():4.0%} beyond 19"
        )
    print(f"of {LONGEST - TRAINED} foreign distances, {louder[TRAINED:].sum()} are louder than distance 3")
    print("the first of them:", *places[louder][:6].tolist())
    print(f"seven turns of the fast clock: {7 * 2 * np.pi:.2f} places")

# %% [markdown]
# At place 100 the query meets keys at distances that **never occurred in training**. The score is a sum of waves, one for
# each pair. The fast one has come round after 6.28 places, so that distance 9 looks a little like distance 3. Training
# could see that, and it set the slow waves so that 3 stands out, *among the first 20 distances*. What the sum does
# further out nobody asked. There the slow hands reach angles that they never had, and crests rise higher than the one at
# 3. (44 places are almost exactly seven turns of the fast clock, so distance 47 looks to it just like distance 3.)
#
# So the distances are to blame, not the places. And distances can be forbidden! **Which mask would you add, and which of
# the five codes does it save?** All models stay as they are; nothing is trained again.

# %% tags=["demo"]
window = combine(EVERYTHING, torch.as_tensor(local_mask(LONGEST, LONGEST, TRAINED - 1, like=EVERYTHING)))
report = [f"Right answers by place, through a window of {TRAINED} words", ""]
for game in GAMES:
    report.append(f"{game:14}" + "".join(f"{f'{a} to {b - 1}':>12}" for a, b in BANDS))
    for code, players in PLAYERS.items():
        shares = by_band(*right_by_place(players[game], game, window))
        report.append(f"  {code:12}" + "".join(f"{share:12.0%}" for share in shares))
print("\n".join(report))

# %% [markdown]
# The sliding window of chapter 5, as wide as the training was long. The rotary player is perfect at every length, with
# the weights it had: through the window it sees distances from 0 to 19 and no others, at place 159 as at place 19. The
# fridge is saved as well, but for the few notes that are older than 20 places.
#
# It does little for the codes that are added: beyond place 19, from two fifths to nine tenths of their answers stay
# wrong. Through the window they see only 20 words, too, but place 100 itself is foreign to them. **Relative codes fail at foreign distances, absolute
# codes at foreign places**, and only the former can be avoided by looking at less.
#
# One more honest remark. These models are tiny and were trained on 20 places. A large model that has read texts of all
# lengths up to 8,000 places is in less trouble with place 8,001 than ours with place 21. But the order of the events is
# the same, and it is why long-context models are trained, or at least tuned, on long texts, and why rotary angles are
# slowed down before that (see the quiz).
#
# ## The same in PyTorch
#
# `torch.nn` has no module for sinusoids, RoPE or ALiBi. But there are other ways to say the same, with which your
# numbers can be compared: a table of places is an `nn.Embedding` of 0, 1, 2, …; turning a pair is multiplying a complex
# number by $e^{i\theta}$; and `scaled_dot_product_attention` adds whatever float mask it is given.

# %% tags=["demo"]
F = torch.nn.functional
random = torch.Generator().manual_seed(0)
q, k, v = torch.randn(3, 2, 4, 7, 10, generator=random)  # (B, H, T, d_k)
with interactive.once_solved("learned_positions"):
    places = torch.nn.Embedding(12, 10)
    yours, theirs = learned_positions(q, places.weight, start=5), q + places(torch.arange(5, 12))
    print(f"learned_positions and nn.Embedding:            {(yours - theirs).abs().max():.1e}")
with interactive.once_solved("rotate"):
    theta = torch.arange(7)[:, None] * 10000.0 ** (-torch.arange(0, 10, 2) / 10)
    turn = torch.polar(torch.ones_like(theta), theta)  # e^(iθ)
    theirs = torch.view_as_real(torch.view_as_complex(q.unflatten(-1, (5, 2))) * turn).flatten(-2)
    print(f"rotate and complex numbers:                    {(rotate(q, torch.arange(7)) - theirs).abs().max():.1e}")
with interactive.once_solved("alibi_bias"):
    bias = torch.as_tensor(alibi_bias(4, 7, 7), dtype=torch.float32)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    yours = torch.softmax(q @ k.mT / 10**0.5 + bias, dim=-1) @ v
    print(f"softmax(scores + alibi_bias) and a float mask: {(yours - theirs).abs().max():.1e}")
with interactive.once_solved("rotary_attention"):
    whole = rotary_attention(q, k, v, causal_mask(7, 7, like=q))
    last = rotary_attention(q[..., -1:, :], k, v)  # one new word, and a cache of keys
    print(f"rotary_attention, whole or with a cache:       {(whole[..., -1:, :] - last).abs().max():.1e}")

# %% [markdown]
# ### Two traps with no error message
#
# **The other pairs.** The paper pairs neighbours, columns $2i$ and $2i + 1$. Many libraries pair column $i$ with column
# $i + d_k/2$, for it is faster to slice. Both are rotary. But weights that were trained with one and loaded into the
# other give nonsense, without a word. Both are the same map up to the order of the columns, so reordering the columns
# of $W_q$ and $W_k$ repairs it.

# %% tags=["demo"]
with interactive.once_solved("rotate"):

    def rotate_halves(x, positions):
        """RoPE as other libraries have it: column i makes a pair with column i + d_k/2."""
        d_k = x.shape[-1]
        theta = positions[:, None] * 10000.0 ** (-torch.arange(0, d_k, 2) / d_k)
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * theta.cos() - b * theta.sin(), a * theta.sin() + b * theta.cos()), dim=-1)

    random = torch.Generator().manual_seed(0)
    x, places = torch.randn(7, 32, generator=random), torch.arange(7)
    W_q, W_k = torch.randn(2, 32, 10, generator=random) / 32**0.5
    ours = rotate(x @ W_q, places) @ rotate(x @ W_k, places).T
    mixed = rotate_halves(x @ W_q, places) @ rotate_halves(x @ W_k, places).T
    order = torch.cat((torch.arange(0, 10, 2), torch.arange(1, 10, 2)))  # all first halves of pairs, then all second
    moved = rotate_halves(x @ W_q[:, order], places) @ rotate_halves(x @ W_k[:, order], places).T
    print(f"scores as they should be, spread:     {ours.std():.2f}")
    print(f"the same weights with other pairs:    off by {(mixed - ours).abs().max():.2f}")
    print(f"… with their columns reordered:       off by {(moved - ours).abs().max():.1e}")

# %% [markdown]
# **Sixteen bits.** Large models compute in bfloat16, whose numbers have 16 bits, 8 of them significant. **What does
# place 257 become?**

# %% tags=["demo"]
exact = torch.tensor([254, 255, 256, 257, 258, 259, 1001])
print("places        ", *exact.tolist())
print("as bfloat16   ", *exact.bfloat16().int().tolist())
turned_by = torch.cos(exact.float())
print("cos           ", *(f"{c:6.3f}" for c in turned_by))
print("cos, bfloat16 ", *(f"{c:6.3f}" for c in torch.cos(exact.bfloat16().float())))

# %% [markdown]
# From 256 on, neighbours share a number, and the fast hands point anywhere. Cast the model by one `.bfloat16()`, and if
# the places are made in the model's number format, it is blind for the order of neighbours from word 256 on. Hence the
# rule of the exercise: angles in float32, then sines and cosines, and only those may be rounded.
#
# ## Quiz
#
# **1.** Swap two words of a sentence. With self-attention without positions and *without* a mask, the outputs swap
# as well. And with a causal mask?
#
# <details><summary>Answer</summary>
#
# Then they do not merely swap. The word at place 5 sees six words, the one at place 2 sees three: the mask treats places
# differently. So a causal model is not entirely blind for order, even without a code. A first layer can find out
# how many words it sees, and later layers can use that. Causal models without any positional code do train (Haviv et
# al. 2022). Our one-layer player could not make much of it.
#
# </details>
#
# **2.** A cache keeps the keys of all words so far. With rotary positions, must the cached keys be turned anew when a
# word is added?
#
# <details><summary>Answer</summary>
#
# No. Each key was turned by *its own* place, and that does not change. The new query is turned by its place, and the
# difference comes about by itself in the dot product. (It would be otherwise if places were counted from the end.)
#
# </details>
#
# **3.** Your colleague's rotary model rotates values too, "for symmetry". It trains. What have the later layers to
# put up with?
#
# <details><summary>Answer</summary>
#
# The same word brings home a different vector from each place. The output is an average of values that were turned by
# different angles, in *absolute* places: fast pairs partly cancel. To undo it, a layer would need to know the places of
# the keys, which a weighted average no longer tells. The model is then no longer invariant under a shift of the whole
# text, the property that one bought with the rotation.
#
# </details>
#
# **4.** With ALiBi and 8 heads, a key 100 places away has the same dot product as one right here. What is its
# relative weight in the first head, and in the last?
#
# <details><summary>Answer</summary>
#
# $e^{-100/2} = e^{-50} \approx 2 \cdot 10^{-22}$: gone. In the last head, $e^{-100/256} \approx 0.68$. To be heard in the
# first head from there, a key would need a score that is 50 higher. That is what "ALiBi extrapolates" means in
# practice: heads with steep slopes never notice that the text is long.
#
# </details>
#
# **5. From an interview.** *"Compare absolute and relative positional codes. Your model with RoPE was trained on 4,000
# tokens, and you need 16,000. What happens if you just run it, and what would you do?"*
#
# <details><summary>A model answer</summary>
#
# An absolute code marks each word with its place, usually by adding a vector, learned or sinusoidal. The score then has
# cross terms of word and place, and a distance must be learned through the projections, for the places that occur in
# training. A learned table ends at its last row. A relative code puts the *distance* into the score: a learned bias
# for each distance (Shaw et al., T5), a fixed slope (ALiBi), or a rotation of queries and keys (RoPE), where the distance
# arises from the dot product, without an extra table of $T \times S$ numbers, and in such a way that cached keys stay
# valid.
#
# Run beyond 4,000, RoPE produces no error. But there are distances that never occurred, for which the slow pairs reach
# angles that they never had, and attention scores there are arbitrary; quality drops soon after the trained length.
# Remedies, from cheap to dear: a sliding window, which keeps distances in the trained range and forgets the rest;
# *position interpolation*, dividing all positions by 4, so that 16,000 look like 4,000, with a short fine-tuning, since
# neighbours are now a quarter of a step apart; a larger base than 10,000, which slows the slow pairs down and leaves the
# fastest as it is, or YaRN's mixture of both, so that near distances stay sharp; and training on long texts, which the
# others make cheaper and do not replace. And I would measure with a task that needs far-away words, not with
# perplexity, which near words dominate.
#
# *What a weak answer says:* "sinusoids extrapolate to any length, as there is a formula for them". There is a vector for
# each place. That the weights know what to do with it is another matter, and the experiment above shows that they do
# not.
#
# </details>
#
# ## Summary
#
# - Attention sees a set. Order has to be put in: into the words, into queries and keys, or into the scores.
# - **Sinusoidal**: a clock for each pair of columns. The dot product of two rows depends on the distance; a step is a
#   rotation. After random projections not much of that is left.
# - **Learned**: a row for each place. Rows that were not trained are noise, and a slice beyond the end is silent.
# - **Rotary**: turn queries and keys, never values. The score knows both words and their distance, and no place.
# - **ALiBi**: minus slope times distance, a slope a head. Says "near", and cannot say "exactly three".
# - Beyond the trained length, absolute codes fail at foreign places, and rotary ones at foreign distances; a window
#   as wide as the training rescues the latter.
# - Angles in float32. Pairs are neighbours here, halves elsewhere.
#
# ## Further reading
#
# - J. Gehring et al., "Convolutional Sequence to Sequence Learning", 2017. Learned positions, added to the words.
# - A. Vaswani et al., "Attention Is All You Need", 2017. Section 3.5: the sinusoids, and the remark that a fixed step is a
#   linear map. Learned rows did as well in their table.
# - P. Shaw, J. Uszkoreit, A. Vaswani, "Self-Attention with Relative Position Representations", 2018. Distances enter the
#   score, as learned vectors.
# - C. Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (T5), 2020. One
#   learned number for each range of distances and each head, added to the score.
# - J. Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021. Turns queries and keys.
# - O. Press, N. A. Smith, M. Lewis, "Train Short, Test Long: Attention with Linear Biases Enables Input Length
#   Extrapolation", 2022. ALiBi. For numbers of heads that are no power of two, see
#   `attnlab.positions.alibi_slopes`.
# - A. Haviv et al., "Transformer Language Models without Positional Encodings Still Learn Positional Information", 2022.
# - A. Kazemnejad et al., "The Impact of Positional Encoding on Length Generalization in Transformers", 2023. Tasks like
#   our two games, at a larger scale: different codes fail at different ones.
# - S. Chen et al., "Extending Context Window of Large Language Models via Positional Interpolation", 2023, and B. Peng et
#   al., "YaRN: Efficient Context Window Extension of Large Language Models", 2023. How to slow rotary angles down.
#
# **Next:** [11 · The block](../11_block/11_block.ipynb). It puts a small network behind attention, a detour around
# both, and a normalisation in between. Which of the three is it that lets a model be deep?
