# %% [markdown]
# # 4 · Scaled dot-product attention
#
# **How do you look up what you cannot spell?**
#
# A Python dictionary answers the question it was made for, and no other. Exchange two letters of the key and you get a
# `KeyError`. But the questions that a text asks about itself are nearly all misspelt. *It* is not spelt *cat*. What we
# need is a dictionary that takes *any* question and answers with the entries that fit: the better the fit, the more
# of it.
#
# That dictionary is three lines of code, and one number in it is easy to overlook: the scores are divided by
# $\sqrt{d_k}$. This chapter builds it, asks it for exact answers and for vague ones, and runs a gradient back through
# it by hand. Then it takes the $\sqrt{d_k}$ out, to see what dies. (Not everything does. That is the surprising
# part.)
#
# *About two and a half hours, 70 minutes of them for the four exercises. You need the softmax of chapter 1, its
# gradient, and matrix products.*

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch

from attnlab import interactive, plotting
from attnlab.softmax import softmax, softmax_vjp
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN = plotting.COLOURS[:3]
INK = plotting.INK

colours = {"blue": 7, "orange": 3, "green": 5}
print(colours["blue"])
try:
    print(colours["bleu"])
except KeyError as error:
    print("KeyError:", error)

# %% [markdown]
# Here is the other kind. Five **keys** are arrows in the plane, and the **value** that each of them keeps is a colour.
# A question, or **query**, is a point of the disc. Every point has been painted with the answer that it gets.

# %% tags=["demo", "hide-input"] alt="A disc painted in five colours. Five arrows of equal length leave its centre, one a colour. Far out, each arrow's colour fills the sector around it; the sectors blend into one another at their borders, and towards the centre everything blends into one grey brown. Three points are marked: A at the centre, B far out along the blue arrow, C far out between orange and green. Beside the disc three bars show their shares: A has five equal parts, B is nearly all blue, C is half orange and half green."
angles = np.deg2rad([90, 162, 234, 306, 18])
keys = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # five keys, shape (5, 2)
paint = np.array([plt.matplotlib.colors.to_rgb(colour) for colour in plotting.COLOURS[:5]])  # their values, (5, 3)


def disc(ax, keys, score, reach=9.0, arrow=3.0):
    """Paint every query of a disc with its answer, and draw the keys as arrows. Returns the shares, (500, 500, 5)."""
    u, v = np.meshgrid(np.linspace(-reach, reach, 500), np.linspace(-reach, reach, 500))
    shares = softmax(score(np.stack([u, v], axis=-1), keys))
    seen = (u**2 + v**2 <= reach**2).astype(float)[..., None]
    ax.imshow(np.concatenate([shares @ paint, seen], -1), extent=(-reach, reach, -reach, reach), origin="lower")
    for (a, b), colour in zip(keys * arrow, plotting.COLOURS, strict=False):
        ax.plot([0, a], [0, b], "-", color="white", linewidth=2)
        ax.plot(a, b, "o", color=colour, markersize=9, markeredgecolor="white", markeredgewidth=2)
    ax.axis("off")
    return shares


def by_dot_product(q, k):
    return q @ k.T


questions = {"A": np.zeros(2), "B": np.array([0.0, 7.2]), "C": 7.2 * np.array([np.cos(3.456), np.sin(3.456)])}
with plotting.house_style():
    fig, (ax, bars) = plt.subplots(1, 2, figsize=(9, 4.1), width_ratios=[1.1, 1])
    disc(ax, keys, by_dot_product)
    for row, (name, q) in enumerate(questions.items()):
        ax.plot(*q, "o", color="white", markersize=5)
        below = q[1] - (0.9 if name == "A" else 0.1)
        ax.text(q[0] + 0.4, below, name, color="white", fontsize=14, fontweight="bold", va="center")
        shares = softmax(keys @ q)
        left = np.cumsum(shares) - shares
        bars.barh(-row, shares, 0.36, left=left, color=plotting.COLOURS[:5])
        bars.barh(-row, 0.12, 0.36, left=1.18, color=shares @ paint)
        bars.text(-0.06, -row, name, ha="right", va="center", fontsize=14, fontweight="bold")
        bars.text(1.09, -row, "→", ha="center", va="center", fontsize=14)
        for x, share in zip(left + shares / 2, shares, strict=True):
            if share > 0.1:
                bars.text(x, -row - 0.28, f"{share:.0%}", ha="center", va="top", fontsize=10)
    bars.set(xlim=(-0.15, 1.32), ylim=(-2.7, 0.6))
    bars.axis("off")
    plt.show()

# %% [markdown]
# The direction of a query says *what* it asks; its length says *how sure* it is. B asks for blue and is sure, so it
# gets blue. C asks for something between two keys and gets half of each. A asks nothing in particular, and gets a
# fair share of everything. There is no question without an answer.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(4)

# %% [markdown]
# ## A dictionary that forgives
#
# Let there be $S$ entries. Entry $s$ has a key $k_s$, a vector of $d_k$ numbers, and a value $v_s$, a vector of $d_v$
# numbers. A query $q$ is a vector of $d_k$ numbers too, for it must be compared with keys. Looking up means three
# steps:
#
# 1. **Compare.** The score of entry $s$ is the dot product $q \cdot k_s = \sum_i q_i k_{si}$: large where query and key
#    point the same way, 0 at right angles, negative where they point apart.
# 2. **Share.** Softmax turns the $S$ scores into shares.
# 3. **Take.** The answer is the average of the *values* under these shares.
#
# Keys say where to look. Values say what one takes home. Chapter 2 had the same three steps, with distances for
# scores; chapter 3 had them with a small network. What is new is the first step, and it is the simplest of the three.
#
# ### All pairs at once
#
# There are $T$ queries as well. Put the queries into the rows of a matrix $Q$ of shape `(T, d_k)`, the keys into the
# rows of $K$, `(S, d_k)`. The scores of all pairs are one matrix product,
#
# $$(Q K^\top)_{ts} = \sum_i q_{ti}\, k_{si} = q_t \cdot k_s, \qquad\text{shape } (T, S).$$
#
# Row $t$ belongs to query $t$. In practice a stack of sequences comes at once: `(B, T, d_k)`, with a batch axis in
# front, and later one more axis for heads. The product must then happen *inside* each sequence. NumPy's `@` does just
# that: it multiplies the last two axes and keeps step in all others.
#
# {{exercise dot_scores}}
#
# Write the scores of every query with every key. `q` has shape `(..., T, d_k)` and `k` has shape `(..., S, d_k)`, where
# `...` stands for any number of axes, the same for both. The answer has shape `(..., T, S)`. No scale yet.
#
# *By hand:* the query $(1, 2)$ and the key $(3, 4)$ score $1 \cdot 3 + 2 \cdot 4 = 11$.
#
# <details><summary>Hint 1: the idea</summary>
#
# The last two axes of `k` must change places, and the others must stay where they are. Look up what `k.T` does to an
# array with three axes.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `k_turned = k.swapaxes(-1, -2)`
#
# </details>


# %% exercise="dot_scores"
def dot_scores(q, k):
    """The dot product of every query with every key, not scaled.

    q  queries, shape (..., T, d_k)
    k  keys, shape (..., S, d_k)

    Returns the scores, shape (..., T, S). Changes neither q nor k.
    """
    ### BEGIN SOLUTION
    return q @ k.swapaxes(-1, -2)
    ### END SOLUTION


# %% [markdown]
# ### Why drop the small network?
#
# Chapter 3 scored a pair with $v^\top \tanh(W_q q + W_k k)$, where $v$ was a learned vector and no value. That can
# express more than a dot product can. But the sum under the tanh, $d$ numbers long, has to be made for *every pair*, so
# an array of `(T, S, d)` passes through memory. The dot product
# needs none: it is the one operation that computers have been built to do fast. **Guess the factor for 512 queries and
# 512 keys of width 64.** (The projections are left out on both sides; they cost the same.)


# %% tags=["demo"]
def seconds(f, rounds=5):
    """The fastest of a few runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)


with interactive.once_solved("dot_scores"):
    q, k = np.random.default_rng(0).normal(size=(2, 512, 64))
    w = np.ones(64) / 8
    additive = seconds(lambda: np.tanh(q[:, None, :] + k[None, :, :]) @ w)
    dot = seconds(lambda: dot_scores(q, k))
    print(f"additive {additive * 1e3:7.1f} ms, largest array {8 * 512 * 512 * 64 / 1e6:6.1f} MB")
    print(f"yours    {dot * 1e3:7.1f} ms, largest array {8 * 512 * 512 / 1e6:6.1f} MB")
    print(f"about {additive / dot:.0f} times as fast")

# %% [markdown]
# ### What does a dot product prefer?
#
# Is "points the same way" the same as "is close"? Expand the squared distance:
#
# $$-\tfrac12\lVert q - k_s\rVert^2 = q \cdot k_s - \tfrac12 \lVert q\rVert^2 - \tfrac12 \lVert k_s\rVert^2.$$
#
# The term with $\lVert q\rVert^2$ is the same for all keys, and softmax does not care for what all scores have in
# common. What remains is the length of the keys. **If all keys have one length, dot-product attention *is* the kernel
# regression of chapter 2**, to the last digit. If not, there is a difference. Below, the blue key has been shortened
# and the orange one made twice as long. **Where will you find blue?**

# %% tags=["demo", "hide-input"] alt="Two discs with the same five arrows; the orange one is twice as long as before, the blue one much shorter. Left, by distance: each colour fills the region nearest to its key; a blue band starts around the end of the short blue arrow and runs to the rim. Right, by dot product: only sectors. Orange fills a large one, and blue is nowhere to be seen. A dashed line around the ends of the other four arrows encloses the blue one."
uneven = keys * np.array([0.35, 2, 1, 1, 1])[:, None]


def by_distance(q, k):
    return -((q[..., None, :] - k) ** 2).sum(-1) / 2


with plotting.house_style():
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.8, 4.3))
    disc(left, 3 * uneven, by_distance, arrow=1)
    left.set_title("by distance, as in chapter 2")
    shares = disc(right, 3 * uneven, by_dot_product, arrow=1)
    right.plot(*(3 * uneven[[1, 2, 3, 4, 1]]).T, "--", color="white", linewidth=1)
    right.set_title("by dot product")
    plt.show()

q = np.random.default_rng(0).normal(size=(1000, 2)) * 5
for name, k in (("equal", keys), ("uneven", uneven)):
    gap = np.abs(softmax(by_distance(q, k)) - softmax(by_dot_product(q, k))).max()
    print(f"keys of {name} length: the two kinds of share differ by {gap:.1e} at most")
first = shares.argmax(-1) == 0
best = shares[..., 0].max()
print(f"by dot product, blue is ahead at {first.sum()} of {first.size:,} points; its best share is {best:.0%}")

# %% [markdown]
# By dot product, a long key is heard from far around. And blue is gone: there is *no query at all* that gets more of it
# than of anything else. The dashed line shows why. The blue key lies inside the polygon of the others, so in whatever
# direction a query points, some other key reaches further that way. A dot product cannot single out a key in the
# middle. A network that wants an entry to be found has to push its key outwards.
#
# ## How large is a score?
#
# In two dimensions, one draws keys by hand. In a network they have 64 entries, or 128, and at first all of them are
# random. Say that each entry of $q$ and $k$ has mean 0 and variance 1. **How large is a typical score for $d_k = 64$?
# Near 1, 8, or 64?**
#
# One product $q_i k_i$ has mean 0, and its variance is
#
# $$\mathrm{Var}(q_i k_i) = \mathbb E[q_i^2 k_i^2] = \mathbb E[q_i^2]\,\mathbb E[k_i^2] = 1 \cdot 1 = 1,$$
#
# because $q_i$ and $k_i$ are independent. The score is a sum of $d_k$ such products. Variances of independent things
# add up:
#
# $$\mathrm{Var}(q \cdot k) = \underbrace{1 + 1 + \dots + 1}_{d_k} = d_k.$$
#
# So the *variance* is 64, and a typical score is its root, 8. Divide the scores by $\sqrt{d_k}$, and the variance is
# divided by $d_k$: it is 1 again, whatever $d_k$ is. That is the whole of the famous factor. Do not believe it:
# measure.
#
# {{exercise score_variance}}
#
# Draw pairs of a query and a key, both with standard normal entries: first all queries, with
# `rng.standard_normal((pairs, d_k))`, then all keys in the same way. Pair $p$ is row $p$ of both, and has one score,
# $q_p \cdot k_p$, so there are as many scores as `pairs` says. Return two numbers: the variance of these raw scores, and
# the variance of the same scores divided by $\sqrt{d_k}$.
#
# *By hand:* if three pairs had the raw scores $2, -2, 0$ with $d_k = 4$, the raw variance would be
# $(4 + 4 + 0)/3 = \tfrac83$; the scaled scores are $1, -1, 0$, and theirs is $\tfrac23$. A factor of 4: not of
# $\sqrt 4$.
#
# <details><summary>Hint 1: the idea</summary>
#
# These are *not* all pairs of the two lists: query $p$ meets key $p$ only, so that the scores are independent. Multiply entry by entry and
# sum over the features. (In `dot_scores` that would be a mistake. Here it is right.)
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `q = rng.standard_normal((pairs, d_k))`, and the scores are `(q * k).sum(axis=-1)`.
#
# </details>


# %% exercise="score_variance"
def score_variance(d_k, rng, pairs=4096):
    """Measure the variance of the scores of random queries and keys, raw and scaled.

    d_k    the width of queries and keys
    rng    a random generator, as np.random.default_rng(0) makes it; draw from no other
    pairs  how many pairs to draw

    Returns two numbers: the variance of q · k, and that of q · k / √d_k.
    """
    ### BEGIN SOLUTION
    q = rng.standard_normal((pairs, d_k))
    k = rng.standard_normal((pairs, d_k))
    scores = (q * k).sum(axis=-1)
    return scores.var(), (scores / np.sqrt(d_k)).var()
    ### END SOLUTION


# %% [markdown]
# Repeat the measurement forty times at every width, with only 50 pairs each, so that chance shows. The dots are the
# means of the forty. The thick bars reach over 95 in 100 of the measurements. The thin bars reach over 95 in 100
# *means* of forty, and theory should run through nearly all of those.

# %% tags=["demo", "hide-input"] alt="Variance of the scores against d from 1 to 1024, both axes logarithmic. The raw variance lies on the dotted line d from end to end. The scaled variance lies on the dotted line at 1. Error bars are short and of the same length everywhere."
with interactive.once_solved("score_variance"):
    rng = np.random.default_rng(4)
    widths = 4 ** np.arange(6)
    measured = np.array([[score_variance(d, rng, pairs=50) for _ in range(40)] for d in widths])  # (6, 40, 2)
    means = measured.mean(1)
    errors = 1.96 * measured.std(1, ddof=1) / np.sqrt(40)
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(7.5, 3.7))
        for i, (name, colour) in enumerate((("q · k", ORANGE), ("q · k / √d", BLUE))):
            low, high = np.quantile(measured[..., i], [0.025, 0.975], axis=1)
            ax.vlines(widths, low, high, color=colour, linewidth=6, alpha=0.35)
            ax.errorbar(widths, means[:, i], errors[:, i], fmt="o", color=colour, markersize=4, capsize=5, label=name)
        ax.plot(widths, widths, ":", color=INK)
        ax.plot(widths, np.ones(6), ":", color=INK)
        ax.text(300, 420, "theory: d", ha="right")
        ax.text(1024, 0.28, "theory: 1", ha="right")
        ax.set(xscale="log", yscale="log", xticks=widths, xticklabels=widths, xlabel="d", ylabel="variance")
        ax.set_ylim(0.15, 3000)
        ax.minorticks_off()
        ax.legend(loc="upper left")
        plt.show()
    for d, (raw, scaled), (raw_error, scaled_error) in zip(widths, means, errors, strict=True):
        print(f"d = {d:4}: raw {raw:8.2f} ± {raw_error:5.2f}   scaled {scaled:.3f} ± {scaled_error:.3f}")

# %% [markdown]
# Is the assumption fair, entries of variance 1? In a network, queries and keys are made from the same vectors $x$ by
# two matrices: $q = x W_q$, $k = x W_k$. At the start of training their entries are random and small, of variance
# $1/d_\text{model}$, on purpose: then $q$ and $k$ inherit the variance of $x$, which a normalisation keeps at 1. Look.

# %% tags=["demo"]
random = torch.Generator().manual_seed(0)
x = torch.randn(1000, 256, generator=random)  # 1000 vectors of d_model = 256
W_q, W_k = torch.randn(2, 256, 64, generator=random) / 256**0.5
q, k = x @ W_q, x @ W_k
scores = q @ k.T
apart = scores[~torch.eye(1000, dtype=torch.bool)]
print(f"variance of the entries: q {q.var():.2f}, k {k.var():.2f}")
print(f"variance of the scores between different vectors: {apart.var():.1f}, for d_k = {q.shape[-1]}")

# %% [markdown]
# ### What long vectors do to softmax
#
# Why should a variance of 64 be bad? Recall the triangle of chapter 1: three shares that add up to 1 are a point in it,
# and its corners are deserts, where no gradient is heard. Four hundred queries meet three keys each, all of them
# random. Every dot is the shares of one query. **Before you look: where do the dots go as the vectors grow?**

# %% tags=["demo", "hide-input"] alt="Eight triangles in two rows, with four hundred dots each. Upper row, raw scores: for d = 2 the dots fill the triangle; for d = 16 many have moved to corners and sides; for d = 128 nearly all lie on the rim; for d = 1024 only the corners and a few dots on the sides are left. Lower row, scores divided by the root of d: all four triangles look alike, filled with dots."
corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
random = torch.Generator().manual_seed(0)
with plotting.house_style():
    fig, axes = plt.subplots(2, 4, figsize=(9.4, 4.5))
    for column, d in zip(axes.T, (2, 16, 128, 1024), strict=True):
        q = torch.randn(400, 1, d, dtype=torch.float64, generator=random)
        k = torch.randn(400, 3, d, dtype=torch.float64, generator=random)
        raw = (q @ k.mT)[:, 0]
        for ax, scores, colour in zip(column, (raw, raw / d**0.5), (ORANGE, BLUE), strict=True):
            p = torch.softmax(scores, dim=-1).numpy()
            ax.fill(*corners.T, facecolor="none", edgecolor=INK)
            ax.plot(*(p @ corners).T, ".", color=colour, markersize=5, alpha=0.45, markeredgewidth=0)
            decided = f"{(p.max(-1) > 0.99).mean():.0%}"
            ax.text(0.5, -0.16, f"{decided} have decided" if d == 2 else decided, ha="center")
            ax.set(aspect="equal", xlim=(-0.05, 1.05), ylim=(-0.2, 0.92))
            ax.axis("off")
        column[0].set_title(f"d = {d}")
    axes[0, 0].text(-0.2, 0.4, "q · k", rotation=90, ha="center", va="center", color=ORANGE)
    axes[1, 0].text(-0.2, 0.4, "q · k / √d", rotation=90, ha="center", va="center", color=BLUE)
    plt.show()

# %% [markdown]
# The percentages count the dots whose greatest share is above 99%. Without the scale, long vectors make up their minds
# before they have learned anything; and they do so at random. With it, the picture is the same for every width. That
# is the point of the factor: *$d_k$ becomes a number you may choose freely, without changing how softmax behaves.*
#
# Would more be better? Let us try three divisors at $d = 512$, with 64 keys. The last column says among how many equal
# keys it would be as hard to choose ($2^H$, from chapter 1). **Guess it for each row.**

# %% tags=["demo"]
random = torch.Generator().manual_seed(0)
q = torch.randn(500, 1, 512, dtype=torch.float64, generator=random)
k = torch.randn(500, 64, 512, dtype=torch.float64, generator=random)
raw = (q @ k.mT)[:, 0]
print(f"{'divisor':>10}{'spread of scores':>20}{'greatest share':>18}{'choice among':>16}")
for name, divisor in (("1", 1.0), ("√d", 512**0.5), ("d", 512.0)):
    p = torch.softmax(raw / divisor, dim=-1)
    among = torch.exp2(torch.special.entr(p).sum(-1) / np.log(2)).median()
    print(f"{name:>10}{(raw / divisor).std():20.3f}{p.amax(-1).median():18.3f}{among:16.1f}")

# %% [markdown]
# Dividing by $d$ is the opposite mistake: all keys look alike. Queries and keys that stand in no relation to each other
# should differ *somewhat* in their scores, neither wildly nor not at all, and $\sqrt d$ is the divisor that does it.
#
# ### Hold the divisor in your hand
#
# A divisor of all scores is what chapter 1 called a temperature. Below are the scores that *your* `dot_scores` gives to six
# words, with random queries and keys of width 64, and nothing has been divided yet: $\tau = 1$. Point at a cell, and it
# says who reads whom. **Before you move the slider to $\tau = \sqrt{64} = 8$: will any row change its favourite? And can
# you find a $\tau$ at which two words of a row change places?**


# %% tags=["demo"]
def undivided():
    with interactive.once_solved("dot_scores"):
        rng = np.random.default_rng(1)
        q, k = rng.normal(size=(2, 6, 64))
        words = ["the", "cat", "sat", "by", "the", "fire"]
        return interactive.attention_map(scores=dot_scores(q, k), queries=words, keys=words)


undivided()

# %% [markdown]
# <details><summary>Did you find one?</summary>
#
# There is none. Dividing by a positive number keeps the order of the scores, and $e^x$ keeps it too, so every row has the
# same favourite at every $\tau$. What changes is by how much it wins. At $\tau = 1$ some rows have made up their mind, though
# nobody has taught them anything; at $\tau = 8$ nobody gives any word less than 0.02.
#
# </details>
#
# ## The formula
#
# Everything is in place. For queries $Q$ `(T, d_k)`, keys $K$ `(S, d_k)` and values $V$ `(S, d_v)`:
#
# $$\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt{d_k}}\right) V,
# \qquad\text{shape } (T, d_v),$$
#
# with the softmax along each row. It is equation 1 of *Attention Is All You Need*. Read the shapes: the $d_k$ of
# queries and keys is summed away in the scores; the $S$ of keys and values is summed away in the average; what is left
# is one value for each query.
#
# {{exercise scaled_dot_product_attention}}
#
# Write it. `q` has shape `(..., T, d_k)`, `k` is `(..., S, d_k)`, `v` is `(..., S, d_v)`, and the answer is
# `(..., T, d_v)`. You may use your `dot_scores`, and `softmax(x, axis=-1)`, which chapter 1 built and the first cell
# imported. Return the output alone, not the weights. Every query may look at every key; chapter 5 adds a mask.
#
# *By hand:* let $d_k = 4$, and let the dot products of one query with two keys be $0$ and $2\ln 3$. Divided by
# $\sqrt 4 = 2$ they are $0$ and $\ln 3$, the shares $\tfrac14$ and $\tfrac34$. If the values are $4$ and $8$, the
# answer is $\tfrac14 \cdot 4 + \tfrac34 \cdot 8 = 7$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Four steps, a line each: scores, divided, shared out along the last axis, multiplied with the values. Ask of each
# number what it counts: `q.shape[-1]` is $d_k$; `k.shape[-2]` is $S$.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `scores = dot_scores(q, k) / np.sqrt(q.shape[-1])`
#
# </details>


# %% exercise="scaled_dot_product_attention"
def scaled_dot_product_attention(q, k, v):
    """softmax(q kᵀ / √d_k) v: for each query, its own average of the values.

    q  queries, shape (..., T, d_k)
    k  keys, shape (..., S, d_k)
    v  values, shape (..., S, d_v)

    Returns an array of shape (..., T, d_v). Changes none of the three.
    """
    ### BEGIN SOLUTION
    scores = dot_scores(q, k) / np.sqrt(q.shape[-1])
    weights = softmax(scores, axis=-1)
    return weights @ v
    ### END SOLUTION


# %% [markdown]
# ## Is it still a dictionary?
#
# It should be able to do what a dictionary can: return one entry, exactly. Give it keys at right angles to each other,
# and ask with $\beta$ times one of the keys. Its own key scores $\beta \lVert k\rVert^2/\sqrt{d_k}$ and all others
# exactly 0. So the shares are known beforehand:
#
# $$\text{share of the right entry} = \frac{e^{\beta\lVert k\rVert^2/\sqrt{d_k}}}
# {e^{\beta\lVert k\rVert^2/\sqrt{d_k}} + S - 1}
# \;\longrightarrow\; 1 \qquad \text{as } \beta \to \infty.$$
#
# What is lost falls off exponentially. Your function, with 64 orthogonal keys of width 64, each with entries of size 1
# (so that $\lVert k\rVert^2 = 64$), and then with 64 keys that are merely *random*. **Are random keys good enough?**

# %% tags=["demo", "hide-input"] alt="Share lost to wrong entries against beta from 0 to 5, on a logarithmic axis. Orthogonal keys fall along a straight line, on top of the dotted prediction, from about 1 to 1e-16. Random keys fall nearly as fast, with a somewhat smaller slope."
with interactive.once_solved("scaled_dot_product_attention"):
    rng = np.random.default_rng(0)
    d = S = 64
    orthogonal = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.sqrt(d)  # rows at right angles, entries of size 1
    betas = np.linspace(0, 5, 41)
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(7.5, 3.4))
        predicted = (S - 1) / (np.exp(betas * np.sqrt(d)) + S - 1)
        for name, k, colour in (("orthogonal", orthogonal, BLUE), ("random", rng.normal(size=(S, d)), ORANGE)):
            lost = []
            for beta in betas:
                answer = scaled_dot_product_attention(beta * k, k, np.eye(S))  # the values are one-hot: (S, S)
                lost.append(np.median((answer * (1 - np.eye(S))).sum(-1)))  # what went to the other entries
            ax.semilogy(betas, lost, color=colour, label=f"{name} keys")
            if name == "orthogonal":
                print(f"greatest distance from the prediction: {np.abs(lost - predicted).max():.1e}")
        ax.semilogy(betas, predicted, ":", color=INK, linewidth=4, label="predicted")
        ax.set(xlabel="β", ylabel="share lost", ylim=(1e-18, 3))
        ax.legend()
        plt.show()

# %% [markdown]
# With orthogonal keys and large scores, *attention is a dictionary*. With random ones it nearly is: in many dimensions,
# random vectors are almost at right angles. There are only 64 exactly orthogonal directions in 64 dimensions. There are
# vastly more that are almost so.
#
# Now the thing that a dictionary cannot do. Store 2,000 entries in 64 dimensions. Ask with misspelt keys: the key, plus
# noise that is half as loud as the key, as loud, twice, four times. **At which row does it break?**

# %% tags=["demo"]
with interactive.once_solved("scaled_dot_product_attention"):
    rng = np.random.default_rng(0)
    k = rng.normal(size=(2000, 64))
    exact = {key.tobytes(): entry for entry, key in enumerate(k)}
    wanted = np.arange(200)
    report = [f"{'noise':>6}{'dict finds':>14}{'attention finds':>18}{'share of the right entry':>27}"]
    for noise in (0.0, 0.5, 1.0, 2.0, 4.0):
        q = k[wanted] + noise * rng.normal(size=(200, 64))
        by_dict = np.mean([exact.get(one.tobytes()) == entry for one, entry in zip(q, wanted, strict=True)])
        answer = scaled_dot_product_attention(q, k, np.eye(2000))
        found = (answer.argmax(-1) == wanted).mean()
        report.append(f"{noise:6.1f}{by_dict:14.0%}{found:18.0%}{answer[wanted, wanted].mean():27.0%}")
    print("\n".join(report))

# %% [markdown]
# With the query buried under noise as loud as itself, it still finds the right one of 2,000 nearly every time. Noise
# twice as loud, and it fails as a memory fails: gradually, and with something that is at least similar.
#
# Why does the right entry get only half, even without noise? Its score is about $64/\sqrt{64} = 8$, and $e^8$ is about
# 3,000. But the 2,000 others have as much together. It is far ahead of each, not of all. A query twice as long would
# make it nearly everything: that is the $\beta$ of the picture.
#
# ## Backwards
#
# A dictionary that is written by hand is no use to a network. It must *learn* what to put into queries, keys and values.
# So a gradient has to come back: given $G = \partial\ell/\partial O$, of shape `(T, d_v)`, how does the loss $\ell$
# change with each entry of $V$, $Q$ and $K$? Walk the formula from its end to its beginning. Write
#
# $$S = \frac{Q K^\top}{\sqrt{d_k}}, \qquad P = \mathrm{softmax}(S), \qquad O = P V.$$
#
# (In formulas, $S$ is from here on the *table* of scores, as in most papers. In shapes such as `(S, d_k)` it remains the
# number of keys.)
#
# **From the output to the values.** $o_t = \sum_s P_{ts} v_s$: value $s$ went into the output of every query $t$, with
# weight $P_{ts}$. So from each it gets that part of the gradient back,
#
# $$\frac{\partial \ell}{\partial v_s} = \sum_t P_{ts}\, g_t, \qquad\text{that is}\qquad dV = P^\top G.$$
#
# **From the output to the shares.** If $P_{ts}$ grows a little, $o_t$ moves in the direction of $v_s$:
#
# $$\frac{\partial \ell}{\partial P_{ts}} = g_t \cdot v_s, \qquad\text{that is}\qquad dP = G V^\top.$$
#
# **From the shares to the scores.** That is chapter 1, row by row: compare with the average, times the share.
#
# $$dS_{ts} = P_{ts}\,\Bigl(dP_{ts} - \sum_{s'} P_{ts'}\, dP_{ts'}\Bigr).$$

# %% tags=["demo"]
p, dp = np.array([0.25, 0.75]), np.array([4.0, 8.0])  # one row: two shares, and how much each of them matters
print("the average is", (p * dp).sum(), "so dS =", softmax_vjp(p, dp))

# %% [markdown]
# **From the scores to queries and keys.** $S_{ts} = q_t \cdot k_s/\sqrt{d_k}$. Query $t$ met all keys, key $s$ met all
# queries:
#
# $$dQ = \frac{dS\, K}{\sqrt{d_k}}, \qquad dK = \frac{dS^\top Q}{\sqrt{d_k}}.$$
#
# Read $dQ$ aloud, for one step downhill: **a query moves towards the keys whose values would have been better than what
# it got, and away from those that were worse, each by the share it gave them.** A key that got no share is not learned
# from, however good its value is.
#
# Two aids. A gradient has the shape of what it belongs to; mostly there is only one way to multiply that gives it. And
# the average in $dS$ is an old friend: $\sum_s P_{ts}\,(g_t \cdot v_s) = g_t \cdot o_t$. (Remember that for chapter 25.
# It says that the row need not be kept.)
#
# {{exercise attention_vjp}}
#
# Return the three gradients `dq, dk, dv`, for `q`, `k`, `v` as above and `g` of the shape of the output,
# `(..., T, d_v)`. The weights are computed anew. You may use what you have written, and from chapter 1 `softmax(x)`
# and `softmax_vjp(p, g)`, both imported. No autograd.
#
# *By hand:* one query $q = (2, 0, 0, 0)$, two keys $(0, 0, 0, 0)$ and $(\ln 3, 0, 0, 0)$, the values 4 and 8: the
# weights are $\tfrac14$ and $\tfrac34$ once more, and the output 7. Let $g = 1$. Then $dV = (\tfrac14, \tfrac34)$,
# $dP = (4, 8)$, and $dS = \bigl(\tfrac14(4-7),\ \tfrac34(8-7)\bigr) = (-\tfrac34, \tfrac34)$. With $\sqrt{d_k} = 2$,
# the first entry of $dQ$ is $\tfrac34 \ln 3 / 2 \approx 0.412$, and the first entries of $dK$ are
# $-\tfrac34 \cdot 2/2 = -\tfrac34$ and $+\tfrac34$. All others are 0.
#
# <details><summary>Hint 1: the idea</summary>
#
# Compute `p` as on the way forward. Then one line for each step above, in that order: `dv`, `dp`, `ds`, and last `dq` and
# `dk`. Divide `ds` by the root once, before it parts into two.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `scale = 1 / np.sqrt(q.shape[-1])`, then `p = softmax(dot_scores(q, k) * scale)`, then
# `dv = p.swapaxes(-1, -2) @ g`
#
# </details>


# %% exercise="attention_vjp"
def attention_vjp(q, k, v, g):
    """The gradients of Σ g · attention(q, k, v) with respect to q, k and v.

    q  queries, shape (..., T, d_k)
    k  keys, shape (..., S, d_k)
    v  values, shape (..., S, d_v)
    g  the gradient with respect to the output, shape (..., T, d_v)

    Returns dq, dk, dv, each of the shape of its namesake. Changes none of the four.
    """
    ### BEGIN SOLUTION
    scale = 1 / np.sqrt(q.shape[-1])
    p = softmax(dot_scores(q, k) * scale)
    dv = p.swapaxes(-1, -2) @ g
    dp = g @ v.swapaxes(-1, -2)
    ds = softmax_vjp(p, dp) * scale
    return ds @ k, ds.swapaxes(-1, -2) @ q, dv
    ### END SOLUTION


# %% [markdown]
# ### Two witnesses
#
# A gradient derived by hand needs a witness, better two. The first measures: it nudges every entry of every input up
# and down, in float64, by $h = 10^{-5}$, and looks how the loss moves. The second is PyTorch's autograd, which has seen
# the formula and none of your derivation.


# %% tags=["demo"]
def slope(loss, x, h=1e-5):
    """The slope of loss(x) by every entry of x, measured."""
    found = np.empty(x.shape)
    for place in np.ndindex(*x.shape):
        nudge = np.zeros(x.shape)
        nudge[place] = h
        found[place] = (loss(x + nudge) - loss(x - nudge)) / (2 * h)
    return found


with interactive.once_solved("scaled_dot_product_attention and attention_vjp"):
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(2, n, d)) for n, d in ((3, 7), (5, 7), (5, 11))]  # q, k, v, two sequences each
    g = rng.normal(size=(2, 3, 11))
    yours = attention_vjp(*inputs, g)
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    output = torch.nn.functional.scaled_dot_product_attention(*tensors)
    autograd = torch.autograd.grad(output, tensors, torch.tensor(g))
    print("greatest difference of your gradient from")
    for i, name in enumerate(("dq", "dk", "dv")):

        def loss(x, i=i):
            return np.sum(g * scaled_dot_product_attention(*inputs[:i], x, *inputs[i + 1 :]))

        measured = np.abs(yours[i] - slope(loss, inputs[i])).max()
        theirs = np.abs(yours[i] - autograd[i].numpy()).max()
        print(f"  {name}, shape {yours[i].shape!s:10} the measured slope {measured:.0e}   autograd {theirs:.0e}")

# %% [markdown]
# The measured slopes agree as far as measuring goes (chapter 1's V), autograd to the last digits.
#
# ## The experiment: take the root out
#
# What does it do to learning? First the gradient itself. A query of width $d$ meets 64 random keys with random values,
# and a random $g$ of length 1 arrives at its output. How loud is what comes back to the query, $\lVert dQ\rVert$?
#
# Your function has the scale built in. No need to edit it: hand it $q\sqrt d$ in place of $q$, and the root cancels.
# (Then one more factor $\sqrt d$ by the chain rule. Do you see where?)
#
# Everyone knows the answer: without the scale, the gradient vanishes. **Write down what you expect for the *median*
# query, and for the *mean* over all queries.**

# %% tags=["demo", "hide-input"] alt="Two panels, with and without the scale: length of the gradient at a query against d from 4 to 2048, both axes logarithmic. With the scale, median, mean and band lie together and level near 0.1 to 0.2. Without it, the mean stays level near 1 while the median falls, slowly at first, then to below a hundredth, and the lower edge of the band falls steeply by many orders of magnitude."
with interactive.once_solved("attention_vjp"):
    rng = np.random.default_rng(0)
    widths = 4 * 2 ** np.arange(0, 10)
    loudness = {"q · k": [], "q · k / √d": []}
    for d in widths:
        lengths = {name: [] for name in loudness}
        for _ in range(30):  # thirty sets of keys and values, forty queries each
            q, k, v = rng.normal(size=(40, d)), rng.normal(size=(64, d)), rng.normal(size=(64, 16))
            g = rng.normal(size=(40, 16))
            g /= np.linalg.norm(g, axis=-1, keepdims=True)
            lengths["q · k / √d"].append(np.linalg.norm(attention_vjp(q, k, v, g)[0], axis=-1))
            without = np.sqrt(d) * attention_vjp(q * np.sqrt(d), k, v, g)[0]
            lengths["q · k"].append(np.linalg.norm(without, axis=-1))
        for name, found in lengths.items():
            loudness[name].append(np.concatenate(found))

    with plotting.house_style():
        fig, axes = plt.subplots(1, 2, figsize=(9.2, 3.7), sharey=True)
        for ax, (name, found), colour in zip(axes, loudness.items(), (ORANGE, BLUE), strict=True):
            low, median, high = np.quantile(found, [0.1, 0.5, 0.9], axis=1)
            ax.fill_between(widths, low, high, color=colour, alpha=0.25, linewidth=0, label="8 in 10 queries")
            ax.plot(widths, median, "o-", color=colour, label="the median query")
            ax.plot(widths, np.mean(found, axis=1), "--", color=INK, label="the mean of all")
            ax.set(xscale="log", yscale="log", ylim=(1e-9, 20), title=name, xlabel="d")
            ax.set_xticks(widths[::2], labels=widths[::2])
            ax.minorticks_off()
            ax.legend(loc="lower left")
        axes[0].set_ylabel("length of the gradient at q")
        plt.show()
    print(f"{'':8}" + "".join(f"{name:>20}" for name in loudness))
    print(f"{'d':>8}" + f"{'median':>12}{'mean':>8}" * 2)
    for d in (4, 512, 2048):
        row = [found[list(widths).index(d)] for found in loudness.values()]
        print(f"{d:8}" + "".join(f"{np.median(x):12.4f}{x.mean():8.2f}" for x in row))

# %% [markdown]
# So it is not as everyone says. Without the scale **the average gradient does not vanish at all**; it is even larger
# than with it. It is *unevenly spread*. Most queries sit in a corner of the triangle and hear next to nothing. A few
# happen to be torn between two keys, on the rim of the triangle, and they hear shouting: for them the long keys
# multiply the gradient.
#
# ### A run that stalls
#
# Is that good or bad for learning? It depends on whether those who hear can help those who do not. Here is a case where
# they cannot. There are 16 fixed keys of width 512. Sixty-four words have a query each, 512 free numbers to be learned;
# and each word has to find its own entry. No word shares anything with another. The loss is the squared distance
# between what attention returns and what it should return.
#
# One line of the picture is one word. It shows the share that the word gives to the entry it should find, and time runs
# to the right. (The axis on the left goes down to $10^{-40}$. Softmax in float32 would call that 0; log-softmax does
# not.)


# %% tags=["demo", "hide-input"] alt="Two panels of sixty-four lines, one a word: the share of the right entry, on a logarithmic axis from 1e-40 to 1, against the step from 1 to 1000, also logarithmic. Left, with the scale: all lines start between a thousandth and 1, and rise to 1, nearly all before step 100. Right, without: some ten lines lie at 1. The others start anywhere down to 1e-40 and run level; a few creep upwards for a while and are then thrown back in a single step."
def private_queries(scaled, rate=1.0, optimiser=torch.optim.SGD, steps=1000, d=512, seed=0):
    """For every step and word, (steps, 64): is the right entry ahead, and the logarithm of its share."""
    random = torch.Generator().manual_seed(seed)
    q = torch.randn(64, d, generator=random).requires_grad_()
    k, v = torch.randn(16, d, generator=random), torch.eye(16)
    right = torch.randint(16, (64,), generator=random)
    optimiser = optimiser([q], lr=rate)
    ahead, shares = [], []
    for _ in range(steps):
        scores = q @ k.T / (d**0.5 if scaled else 1)
        ahead.append(scores.argmax(-1) == right)
        shares.append(torch.log_softmax(scores.detach(), dim=-1)[torch.arange(64), right])
        loss = ((torch.softmax(scores, dim=-1) @ v - v[right]) ** 2).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return torch.stack(ahead), torch.stack(shares)


def steps_to(share, ahead):
    """The first step at which that share of the answers is right, as text."""
    there = (ahead.float().mean(-1) >= share).nonzero()
    return f"{there[0].item()}" if len(there) else "never"


with plotting.house_style():
    fig, axes = plt.subplots(1, 2, figsize=(9.2, 3.9), sharey=True)
    report = [f"{'words right':14}{'at the start':>13}{'at the end':>12}{'90% at step':>13}   median share"]
    for ax, scaled, colour in ((axes[0], True, BLUE), (axes[1], False, ORANGE)):
        ahead, shares = private_queries(scaled)
        ax.plot(np.arange(1, 1001), shares / np.log(10), "-", color=colour, linewidth=1, alpha=0.7)
        ax.set(xscale="log", xlabel="step", ylim=(-40, 1), title="q · k / √d" if scaled else "q · k")
        typical = (shares[[0, -1]].median(-1).values / np.log(10)).tolist()
        report.append(
            f"{'with the scale' if scaled else 'without':14}{ahead[0].float().mean():13.0%}{ahead[-1].float().mean():12.0%}"
            f"{steps_to(0.9, ahead):>13}   10^{typical[0]:.1f} to 10^{typical[1]:.1f}"
        )
    axes[0].set_yticks([0, -10, -20, -30, -40], labels=["1", *(f"$10^{{-{n}}}$" for n in (10, 20, 30, 40))])
    axes[0].set_ylabel("share of the right entry")
    plt.show()
print("\n".join(report))

# %% [markdown]
# With the scale, everybody is in a conversation. Without it, the typical word begins by giving its right entry a share
# of about $10^{-18}$. What the loss says to that entry is multiplied by this share on its way back. The word is not
# slow. To that voice it is deaf.
#
# A few lines do creep upwards. Those words are leaving one wrong entry for another. On the way they pass a draw between
# the two. With three entries that was the rim of the triangle. There they suddenly hear shouting, and one step throws them far off.
#
# But a good engineer asks: was it just a bad learning rate? And would a better optimiser not do it? Adam divides every
# gradient by its own size, so a faint one counts as much as a loud one. **Your guess: does Adam save the run?** Here
# are the steps that it takes until 90% of the words are right, for learning rates over three powers of ten and both
# optimisers.

# %% tags=["demo"]
report = []
for optimiser, rates in ((torch.optim.SGD, (0.01, 0.1, 1.0, 10.0)), (torch.optim.Adam, (0.001, 0.01, 0.1, 1.0))):
    report.append(f"{optimiser.__name__:5} with rate    " + "".join(f"{rate:>8}" for rate in rates))
    for scaled in (True, False):
        cells = [steps_to(0.9, private_queries(scaled, rate, optimiser, steps=600)[0]) for rate in rates]
        report.append(f"  {'with the scale' if scaled else 'without':16}" + "".join(f"{cell:>8}" for cell in cells))
print("\n".join(report))

# %% [markdown]
# No rate saves it, and Adam does not either. Adam turns up the volume of a gradient *as a whole*. What it makes louder
# is the quarrel of the wrong entries: the word moves from one of them to the next, or to a draw between two. The voice
# of the right entry is $10^{18}$ times weaker, and it stays so, however loud the others are made. (The one
# "never" *with* the scale is only slow: SGD at a rate of 0.01 needs more than 600 steps.)
#
# ### A run that does not
#
# Now let the words share. In a real model nobody owns a query: all are made by *one* matrix, $q = x W_q$, and keys by
# another. Here both matrices are learned, $d = 512$ as before, from fresh examples at every step: eight random vectors,
# and a rotated copy of one of them as the question.


# %% tags=["demo"]
def shared_projections(scaled, rate, steps=250, d=512, seed=0):
    """Share of right answers in every batch of 64 examples, (steps, 64), while two matrices are learned."""
    random = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=random))[0]
    W_q, W_k = (torch.randn(16, d, generator=random).div(4).requires_grad_() for _ in range(2))
    optimiser = torch.optim.SGD([W_q, W_k], lr=rate)
    history = []
    for _ in range(steps):
        x = torch.randn(64, 8, 16, generator=random)
        right = torch.randint(8, (64,), generator=random)
        question = x[torch.arange(64), right] @ rotation
        scores = (x @ W_k @ (question @ W_q)[..., None])[..., 0] / (d**0.5 if scaled else 1)
        history.append(scores.argmax(-1) == right)
        answer = torch.nn.functional.one_hot(right, 8)
        loss = ((torch.softmax(scores, dim=-1) - answer) ** 2).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return torch.stack(history)


rates = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
report = ["SGD with rate      " + "".join(f"{rate:>8}" for rate in rates)]
for scaled in (True, False):
    cells = [steps_to(0.9, shared_projections(scaled, rate)) for rate in rates]
    report.append(f"  {'with the scale' if scaled else 'without':17}" + "".join(f"{cell:>8}" for cell in cells))
print("\n".join(report))

# %% [markdown]
# Without the scale it learns as well, and at small rates it is even faster! The few queries that hear are loud, and
# what they teach the shared matrices, they teach for all. The price stands at the other end of the table: large steps,
# taken on the word of a few shouting queries, break it.
#
# So the honest sentence is not "without $\sqrt{d_k}$ attention cannot learn". It is this: **with it, the width of the
# vectors no longer decides how sure an untrained network is, who hears the gradient, and which learning rates work.**
# In a deep model, with many attention layers on top of one another, nobody wants to tune that for each width.
#
# ## The same in PyTorch
#
# PyTorch has the whole formula as one function. Compare number by number, in a batch with heads, `(B, H, T, d_k)`.

# %% tags=["demo"]
with interactive.once_solved("scaled_dot_product_attention"):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 3, n, d)) for n, d in ((5, 7), (11, 7), (11, 13)))
    yours = scaled_dot_product_attention(q, k, v)
    theirs = torch.nn.functional.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v)))
    print("shape", yours.shape, f" greatest difference {np.abs(yours - theirs.numpy()).max():.1e}")

# %% [markdown]
# And as in chapter 1 you can put your own two functions into PyTorch. Then let the 64 words learn once more, this time
# on *your* forward and *your* backward pass.


# %% tags=["demo"]
class YourAttention(torch.autograd.Function):
    """Your NumPy code as a step that PyTorch can differentiate."""

    @staticmethod
    def forward(ctx, q, k, v):
        ctx.save_for_backward(q, k, v)
        return torch.from_numpy(scaled_dot_product_attention(q.numpy(), k.numpy(), v.numpy()))

    @staticmethod
    def backward(ctx, g):
        return tuple(map(torch.from_numpy, attention_vjp(*(x.numpy() for x in ctx.saved_tensors), g.numpy())))


def losses(attention, steps=60):
    random = torch.Generator().manual_seed(0)
    q = torch.randn(64, 512, dtype=torch.float64, generator=random).requires_grad_()
    k, v = torch.randn(16, 512, dtype=torch.float64, generator=random), torch.eye(16, dtype=torch.float64)
    right = torch.randint(16, (64,), generator=random)
    found = []
    for _ in range(steps):
        loss = ((attention(q, k, v) - v[right]) ** 2).sum()
        (dq,) = torch.autograd.grad(loss, q)
        q = (q - dq).detach().requires_grad_()
        found.append(loss.item() / 64)
    return np.array(found)


with interactive.once_solved("scaled_dot_product_attention and attention_vjp"):
    random = torch.Generator().manual_seed(0)
    small = [torch.randn(2, n, 3, dtype=torch.float64, generator=random, requires_grad=True) for n in (3, 5, 5)]
    print("gradcheck:", torch.autograd.gradcheck(YourAttention.apply, small))
    yours, theirs = losses(YourAttention.apply), losses(torch.nn.functional.scaled_dot_product_attention)
    for step in (0, 10, 59):
        print(f"step {step:2}: loss with yours {yours[step]:.10f}, with PyTorch's {theirs[step]:.10f}")

# %% [markdown]
# ### A trap with no error message
#
# PyTorch's function scales by itself. Many a paper's code scales the queries first, and many a programmer does both.
# Nothing crashes. **What does the output look like when the scores are divided by $d_k$ instead of $\sqrt{d_k}$?**

# %% tags=["demo"]
random = torch.Generator().manual_seed(0)
attention = torch.nn.functional.scaled_dot_product_attention
k, v = torch.randn(64, 64, generator=random), torch.randn(64, 4, generator=random)
q = 2 * k[:3]  # each of three queries asks for a key, and is sure
print("wanted                  ", *(f"{x:6.2f}" for x in v[0]))
print("scaled once             ", *(f"{x:6.2f}" for x in attention(q, k, v)[0]))
print("scaled twice            ", *(f"{x:6.2f}" for x in attention(q / 64**0.5, k, v)[0]))
print("plain mean of all values", *(f"{x:6.2f}" for x in v.mean(0)))

# %% [markdown]
# Scaled twice, the answer drifts towards the mean of everything: an attention that is never sure. It trains, too, only
# worse. If you take over someone's code, count the scales.
#
# ## Quiz
#
# **1.** You replace every key $k_s$ by $k_s + c$, with the same vector $c$ for all. What happens to the output?
#
# <details><summary>Answer</summary>
#
# Nothing. Every score of query $q$ changes by the same number $q \cdot c$, and softmax looks at differences only. That
# is also why the rows of $dS$ sum to zero, and $\sum_s dK_s = 0$. (Add $c$ to all *queries* instead, and the output does
# change: key $s$ gains $c \cdot k_s$, each its own.)
#
# </details>
#
# **2.** The entries of $q$ and $k$ are independent, have mean 0, and standard deviation 2. By what should the scores
# be divided, so that their variance is 1?
#
# <details><summary>Answer</summary>
#
# One product has the variance $4 \cdot 4 = 16$, the score $16\,d_k$: divide by $4\sqrt{d_k}$. The root of $d_k$ alone
# rests on entries of variance 1. That is why initial weights and normalisation matter to attention.
#
# </details>
#
# **3.** A colleague gives each head of a model $d_k = 64$, with $d_\text{model} = 512$, and divides by
# $\sqrt{512}$. What is the standard deviation of the scores at the start, and what does that resemble?
#
# <details><summary>Answer</summary>
#
# $\sqrt{64}/\sqrt{512} = 1/\sqrt 8 \approx 0.35$. It is softmax at a temperature of $\sqrt 8 \approx 2.8$: flatter than
# meant. No error, no NaN; queries have to grow about three times as long before they can be as sure.
#
# </details>
#
# **4.** Where would you put the scale: on `q`, or on the scores?
#
# <details><summary>Answer</summary>
#
# The result is the same. On `q` it costs $T \cdot d_k$ divisions, on the scores $T \cdot S$: for long sequences `q` is
# cheaper. And in float16 it is safer: the unscaled dot product of two vectors of 128 entries of size 25 is 80,000,
# beyond 65,504, the greatest float16, before anybody can divide it. The reference of this course scales `q`.
#
# </details>
#
# **5. From an interview.** *"Why does attention divide by $\sqrt{d_k}$? Would it train without? Are there models that
# do something else?"*
#
# <details><summary>A model answer</summary>
#
# A dot product of two independent vectors with entries of mean 0 and variance 1 has variance $d_k$. So its spread grows
# as $\sqrt{d_k}$, and with it the differences between scores. Softmax turns those into shares: at large $d_k$ an
# untrained model is already sure, at random. There its Jacobian is nearly zero for most queries; only a few near-ties
# get a gradient, and a large one. Dividing by $\sqrt{d_k}$ makes the spread 1 for every width. Equivalently, it is a
# temperature, $\tau = \sqrt{d_k}$.
#
# Would it train without? Where each query has parameters of its own, hardly: the right key has so small a share that
# its part of the gradient is lost, with Adam too. With shared projections and a small learning rate it often does. What one
# loses is that settings carry over from one width to another.
#
# Other choices: the same factor may sit in the initial weights (T5 does that in its published code, and has no
# division); queries and keys may be normalised first and multiplied by a learned number; and since *after training*
# queries and keys are no longer independent, so that the dot product of a good pair grows like $d_k$, the
# maximal-update parametrisation divides by $d_k$.
#
# *What a weak answer says:* "to prevent vanishing gradients", with no word on the variance, or "for numerical
# stability", which is what subtracting the maximum is for.
#
# </details>
#
# ## Summary
#
# - Attention is a dictionary that answers every query: compare with all keys, share, average the values.
# - Scores of all pairs are one matrix product, $Q K^\top$. Exchange the *last two* axes of $K$.
# - With keys of one length it is chapter 2's kernel regression. A key inside the hull of the others is never singled
#   out.
# - Independent entries of variance 1 make scores of variance $d_k$. Dividing by $\sqrt{d_k}$ makes it 1.
# - With orthogonal keys and long queries it is an exact lookup; with noisy queries it still finds the right entry.
# - $dV = P^\top G$, $dS = P \circ (dP - \text{row averages})$, and $1/\sqrt{d_k}$ goes into both $dQ$ and $dK$.
# - Without the root, the average gradient stays and the typical one dies. Whether a run survives depends on what is
#   shared.
#
# ## Further reading
#
# - A. Graves, G. Wayne, I. Danihelka, "Neural Turing Machines", 2014. Content-based addressing: softmax over cosine
#   similarities, with a learned sharpness, to read from a memory.
# - S. Sukhbaatar, A. Szlam, J. Weston, R. Fergus, "End-To-End Memory Networks", 2015. Softmax over dot products with a
#   memory, with one embedding for addressing and another for reading.
# - M.-T. Luong, H. Pham, C. D. Manning, "Effective Approaches to Attention-based Neural Machine Translation", 2015. The
#   dot product as a score in translation, not scaled; more of it in chapter 6.
# - A. Miller et al., "Key-Value Memory Networks for Directly Reading Documents", 2016. Keys and values told apart.
# - A. Vaswani et al., "Attention Is All You Need", 2017. Section 3.2.1: the formula, the scale, and in a footnote the
#   argument by variances.
# - H. Ramsauer et al., "Hopfield Networks is All You Need", 2020. Attention as one step of an associative memory, which
#   can store exponentially many patterns.
# - T. Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness", 2022. Uses
#   $\sum_s P_{ts}\,dP_{ts} = g_t \cdot o_t$ on the way back.
# - G. Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer", 2022. Why
#   $1/d$ may be the better factor for a trained model.
#
# **Next:** [5 · Masks](../05_masks/05_masks.ipynb). So far every query may look at every key: at padding that means
# nothing, and at words that have not been written yet.
