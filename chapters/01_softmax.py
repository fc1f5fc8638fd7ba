# %% [markdown]
# # 1 · Softmax
#
# **How do scores become shares?**
#
# You read *the cat sat by the fire and it …* and look back: what is *it*? Every earlier word gets a score for how well
# it fits. A score may be any number, and a bad fit scores below zero. But you have only one look to give away: one
# hundred per cent of it, to be shared among the words.
#
# So something has to turn *any numbers* into *shares of one*. That something is softmax, and it is one line long. In
# this chapter you will find out why it could hardly be any other line, why that line breaks on a computer when it is
# typed as the textbooks print it, and how a gradient runs backwards through it. You will write it four times: safely,
# in logarithms, with a knob, and backwards.
#
# *About two hours, 55 minutes of them for the four exercises. You need NumPy and the chain rule;
# where PyTorch appears, the code is given.*

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch

from attnlab import interactive, plotting
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN = plotting.COLOURS[:3]
INK = plotting.INK

words = ["the", "cat", "sat", "by", "the", "fire", "and"]
scores = np.array([-1.0, 3.0, 0.5, -2.0, -1.0, 1.5, -0.5])  # made up: from chapter 4 on, a network makes them

# %% tags=["demo", "hide-input"] alt="Seven words, each with a bar for its score, some above zero and some below. From every word a ribbon runs down into one band, the one look. The ribbon of cat widens to almost three quarters of the band; the ribbons of words with negative scores narrow to slivers."
shares = torch.softmax(torch.tensor(scores), dim=0).numpy()  # PyTorch's, until you have written yours

with plotting.house_style():
    fig, ax = plt.subplots(figsize=(8, 4.2))
    place = (np.arange(7) + 0.5) / 7
    end = np.cumsum(shares)
    down = np.linspace(0, 1, 40)
    bend = 3 * down**2 - 2 * down**3  # leaves and arrives upright
    for i, word in enumerate(words):
        colour = ORANGE if i == scores.argmax() else BLUE
        left = place[i] - 0.04 + bend * (end[i] - shares[i] - place[i] + 0.04)
        right = place[i] + 0.04 + bend * (end[i] - place[i] - 0.04)
        ax.fill_betweenx(-2.6 - 3 * down, left, right, color=colour, alpha=0.35, linewidth=0)
        ax.fill_between([end[i] - shares[i] + 0.001, end[i] - 0.001], -6.2, -5.6, color=colour, linewidth=0)
        ax.bar(place[i], scores[i], 0.08, color=colour)
        ax.text(
            place[i],
            scores[i] + 0.15 * np.sign(scores[i]),
            f"{scores[i]:+.1f}",
            ha="center",
            va="bottom" if scores[i] > 0 else "top",
        )
        ax.text(place[i], 4.0, word, ha="center", fontsize=13)
        if shares[i] > 0.05:
            ax.text(end[i] - shares[i] / 2, -6.85, f"{word} {shares[i]:.0%}", ha="center", fontsize=12)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set(xlim=(-0.02, 1.02), ylim=(-7, 4.6))
    ax.axis("off")
    plt.show()

# %% [markdown]
# Above: the scores. Below: the one look, cut up. Three things happened on the way down. The order stayed: a higher
# score, a wider share. Nobody got nothing, not even *by*. And the lead grew: *cat* has twice the score of *fire*, and
# far more than twice its share.
#
# ## Where we are
#
# At the end of the road stands the Transformer. Every box below is something that you will have built by then, out of
# the boxes inside it. At the very centre, inside everything else, sits the one you are about to write.

# %% tags=["demo"]
interactive.road(1)

# %% [markdown]
# ## A wish list
#
# Let $x = (x_1, \dots, x_n)$ be the scores and $p = (p_1, \dots, p_n)$ the shares. What do we want of them?
#
# 1. **Shares.** Every $p_i$ is positive, and together they are 1.
# 2. **Order.** A higher score gets a greater share.
# 3. **Only differences count.** A score has no zero: "fits by 3 and by 1" should mean the same as "by 103 and by 101".
#    Add one number to all scores, and no share changes.
#
# The plain recipe is to pass every score through some function $f$, then divide by the sum:
#
# $$p_i = \frac{f(x_i)}{\sum_j f(x_j)}.$$
#
# Which $f$? **Before you run the next cell, guess:** of $x$, $|x|$, $x^2$, the sigmoid $1/(1+e^{-x})$ and $e^x$, which
# grant all three wishes?

# %% tags=["demo"]
candidates = {
    "x": lambda x: x,
    "|x|": np.abs,
    "x²": np.square,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "eˣ": np.exp,
}
x = np.array([3.0, 1.0, -1.0, -2.0])
print(f"scores {x}\n\n{'f':9}{'shares':36}{'positive':>10}{'order':>8}{'differences':>13}")
for name, f in candidates.items():
    p = f(x) / f(x).sum()
    moved = f(x + 1) / f(x + 1).sum()
    granted = [(p > 0).all(), (np.diff(p) < 0).all(), np.allclose(moved, p)]
    marks = ["yes" if grant else "no" for grant in granted]
    print(f"{name:9}{'  '.join(f'{share:7.1%}' for share in p):36}{marks[0]:>10}{marks[1]:>8}{marks[2]:>13}")

# %% [markdown]
# Plain division hands out 300% and takes 200% back. The absolute value and the square reward a *bad* fit. The sigmoid
# comes closest: it grants everything but the third wish. That is no small thing to miss. Sigmoid scores have a
# preferred zero, and far above it they all look alike.
#
# ### Why nothing else will do
#
# The exponential did not win a contest among five. There is no other, and the proof is short enough to enjoy.
#
# Divide two shares: the sum cancels, and $p_i / p_j = f(x_i) / f(x_j)$. By the third wish this may not change when $c$
# is added to both scores. Take the scores $a$ and $0$:
#
# $$\frac{f(a + c)}{f(0 + c)} = \frac{f(a)}{f(0)} \qquad\text{for all } a \text{ and } c.$$
#
# Write $L(a) = \log\bigl(f(a)/f(0)\bigr)$, which wish 1 allows. Take logarithms, and the line above says
#
# $$L(a + c) = L(a) + L(c).$$
#
# Such an $L$ has $L(2a) = 2L(a)$, $L(3a) = 3L(a)$, and in the same way $L(qa) = q\,L(a)$ for every fraction $q$. By
# wish 2 it only ever rises, so it cannot stray between the fractions: $L(a) = k\,a$ with some $k > 0$. Undo the
# logarithm:
#
# $$f(a) = f(0)\,e^{k a}, \qquad p_i = \frac{e^{k x_i}}{\sum_j e^{k x_j}}.$$
#
# The factor $f(0)$ cancels. One freedom is left, the number $k$. Keep an eye on it: it comes back as the *temperature*.
# With $k = 1$ this is **softmax**:
#
# $$\mathrm{softmax}(x)_i = \frac{e^{x_i}}{\sum_{j=1}^{n} e^{x_j}}.$$
#
# <details><summary>What did the proof assume without saying it is a wish?</summary>
#
# The recipe itself: that each score is weighed by its own $f(x_i)$. It means that the ratio of two shares does not
# depend on who else is standing for election. Luce (1959) made that his axiom of choice. Give it up, and other answers
# appear. *Sparsemax* (Martins and Astudillo, 2016) depends only on differences too, and gives bad fits a share of
# exactly zero: it also gives up "positive".
#
# </details>
#
# ## Two cliffs
#
# Type the formula as it is printed, and try it. The scores are $s$ and $s - 1$. Only the difference counts, so
# **whatever $s$ is, the first share must be the same**, a little under three quarters.

# %% tags=["demo"]
print(f"{'s':>6}{'float16':>12}{'float32':>12}{'float64':>12}")
for s in (1, 5, 11, 12, 88, 89, 709, 710, -17, -18, -103, -104, -105):
    row = []
    for kind in (np.float16, np.float32, np.float64):
        x = np.array([s, s - 1], dtype=kind)
        with np.errstate(all="ignore"):  # NumPy would warn; we want to see what comes out
            p = np.exp(x) / np.exp(x).sum()
        row.append(p[0])
    print(f"{s:>6}" + "".join(f"{share:12.4f}" for share in row))

# %% [markdown]
# The formula is right and the answers are not. A score of 12 is nothing unusual, and float16, the half precision of
# graphics cards, does not survive it. Go down instead of up, and it breaks as well. The `nan` at least is honest.
# Look at float16 in the rows 11 and −17: plain numbers, and wrong.
#
# The reason is a window. In each number format, $e^x$ exists only for some $x$. Too far right it becomes infinite, and
# $\infty/\infty$ is not a number. Too far left it becomes 0; if all scores fall off there, $0/0$ is not a number
# either. The next cell walks along the axis in each format and notes where it still stands. (*bfloat16* is the other
# half precision: it keeps the range of float32, and pays for it with digits.)

# %% tags=["demo", "hide-input"] alt="Three horizontal bars, one a number format, show for which x the exponential of x is neither zero nor infinite: float16 from about -17 to 11, bfloat16 from about -92 to 88, float32 from about -104 to 89. Three of four scores lie near 95, beyond the right end of all bars, the fourth at 66; pushed left until the greatest is at zero, all but the fourth lie inside all bars."
formats = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(8, 3.4))
    for y, (name, kind) in enumerate(formats.items()):
        grid = torch.arange(-120, 120, 0.01, dtype=torch.float64).to(kind)
        alive = grid[torch.isfinite(torch.exp(grid)) & (torch.exp(grid) > 0)]
        low, high = alive.min().item(), alive.max().item()
        ax.barh(y, high - low, 0.5, left=low, color=BLUE, alpha=0.5)
        ax.text(low, y + 0.42, f"{low:.1f}", ha="center")
        ax.text(high, y + 0.42, f"{high:.1f}", ha="center")
        ax.text(-123, y, name, ha="right", va="center")
        print(f"{name:9} e^x is neither 0 nor infinite for x from {low:8.2f} to {high:6.2f}")
    far = np.array([96.0, 94.5, 93.0, 66.0])
    ax.plot(far, np.full(4, 3.6), "o", color=ORANGE, clip_on=False)
    ax.plot(far - far.max(), np.full(4, 3.0), "o", color=GREEN)
    ax.text(60, 3.6, "four scores", ha="right", va="center", color=ORANGE)
    ax.text(-35, 3.0, "the same, less their maximum", ha="right", va="center", color=GREEN)
    ax.annotate("", (2, 3.05), (92, 3.55), arrowprops={"arrowstyle": "->", "color": INK})
    ax.axvline(0, color=INK, linewidth=0.8, linestyle=":")
    ax.set(xlim=(-120, 120), ylim=(-0.5, 4), yticks=[], xlabel="x")
    ax.spines["left"].set_visible(False)
    plt.show()

# %% [markdown]
# The two cliffs are not equally deep. To fall off the right one is fatal: one $\infty$ spoils the whole row. (The sum
# gets there first: at 11 in float16 both exponentials are finite, and their sum is not.) To fall off the left one is
# harmless *as long as someone else stays*: a share that should be tiny becomes 0.
#
# ### The rescue
#
# Only differences count. So we may add to all scores whatever suits us, and pay nothing:
#
# $$\frac{e^{x_i - m}}{\sum_j e^{x_j - m}} = \frac{e^{-m}\,e^{x_i}}{e^{-m}\sum_j e^{x_j}}
# = \frac{e^{x_i}}{\sum_j e^{x_j}}.$$
#
# The third wish saves the program. **Which $m$ would you take: the smallest score, the mean,
# or the greatest?** Decide before you unfold.
#
# <details><summary>Which m?</summary>
#
# The greatest. Then the greatest exponent is exactly 0, so nothing can become infinite. And the sum has a term
# $e^0 = 1$, so it is at least 1, and nothing is divided by 0. Both cliffs are out of reach, *for every input*.
#
# With the smallest, all exponents are 0 or more: that pushes the scores *towards* the fatal cliff. With the mean, one
# high score among many low ones still goes over.
#
# </details>
#
# ### Which way do the shares add up?
#
# Scores rarely come as one list. In attention they come as a table of shape `(T, S)`: row $t$ holds the scores that
# word $t$ gives to the $S$ words it may look at. Each *row* is one look to give away, so each row must sum to 1, by
# itself and with its own maximum. The argument `axis` says along which axis the shares add up; `-1` means the last.
#
# NumPy can keep a reduced axis with length 1, and then everything lines up: from `(3, 5)` take the maximum along
# `axis=-1` with `keepdims=True`, and its shape is `(3, 1)`, one number a row, ready to be subtracted from its row.

# %% tags=["demo", "hide-input"] alt="Three tables of three rows and five columns, with the same scores. With axis -1 every row has its own dark cell and sums to one. With axis 0 every column sums to one. Over the whole table the second row takes most, and the third is left with next to nothing."
table = torch.tensor(np.random.default_rng(4).normal(size=(3, 5)) * 1.5 + np.array([[0.0], [3.0], [-2.0]]))
views = {
    "axis=-1: each row sums to 1": torch.softmax(table, -1),
    "axis=0: each column does": torch.softmax(table, 0),
    "the whole table does": torch.softmax(table.flatten(), 0).reshape(3, 5),
}
with plotting.house_style():
    fig, axes = plt.subplots(1, 3, figsize=(9, 2.2))
    for ax, (title, p) in zip(axes, views.items(), strict=True):
        for t in range(3):
            for s in range(5):
                share = p[t, s].item()
                ax.add_patch(plt.Rectangle((s, t), 0.94, 0.94, color=BLUE, alpha=0.06 + 0.94 * share, linewidth=0))
                ink = "white" if share > 0.5 else INK
                ax.text(s + 0.47, t + 0.47, f"{share:.0%}", ha="center", va="center", fontsize=10, color=ink)
        ax.set(xlim=(0, 5), ylim=(3, 0), title=title)
        ax.title.set_fontsize(11)
        ax.axis("off")
    plt.show()

# %% [markdown]
# {{exercise softmax}}
#
# Write softmax so that no finite input can break it:
#
# $$\mathrm{softmax}(x)_i = \frac{e^{x_i - m}}{\sum_j e^{x_j - m}}, \qquad m = \max_j x_j,$$
#
# with the maximum and the sum taken along `axis`. The array `x` may have any number of axes, and the answer has the
# same shape. Whole numbers give fractions. A float32 array may give float32, as NumPy does by itself and as the tables
# below suppose, or float64; the checks take either. Leave `x` itself as it is: whoever passed it still needs it.
#
# *By hand:* for $x = (0, \ln 3)$ the exponentials are $1$ and $3$, the shares $\tfrac14$ and $\tfrac34$. For
# $x = (1000, 1000 + \ln 3)$ they are the same.
#
# <details><summary>Hint 1: the idea</summary>
#
# Subtract the maximum of each row from that row, then type the formula. `keepdims=True` keeps the shapes in step, in
# both places where an axis is reduced.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `m = x.max(axis=axis, keepdims=True)`
#
# </details>


# %% exercise="softmax"
def softmax(x, axis=-1):
    """The shares of the scores x along axis: positive, and together 1.

    x     array of any shape (...)
    axis  the axis along which the shares add up to 1

    Returns an array of the same shape. Does not change x.
    """
    ### BEGIN SOLUTION
    below_peak = x - np.max(x, axis=axis, keepdims=True)
    weights = np.exp(below_peak)
    return weights / np.sum(weights, axis=axis, keepdims=True)
    ### END SOLUTION


# %% [markdown]
# Now take your function for a walk along the cliffs. It is the table from above, and every entry should agree to the
# digits that its format has.

# %% tags=["demo"]
with interactive.once_solved("softmax"):
    places = (1, 11, 12, 89, 710, -17, -18, -105, -1000)
    kinds = (np.float16, np.float32, np.float64)
    rows = [[softmax(np.array([s, s - 1], dtype=kind))[0] for kind in kinds] for s in places]
    print(f"{'s':>6}{'float16':>12}{'float32':>12}{'float64':>12}")
    for s, row in zip(places, rows, strict=True):
        print(f"{s:>6}" + "".join(f"{share:12.4f}" for share in row))

# %% [markdown]
# ## One number behind it all
#
# Losses do not want the share, they want its logarithm: training a classifier means to raise $\log p_\text{right}$, and
# that is how nearly every network in this course learns. Take the logarithm of softmax:
#
# $$\log p_i = x_i - \underbrace{\log \sum_j e^{x_j}}_{\mathrm{lse}(x)}.$$
#
# The second term is one number for the whole row, the **log-sum-exp**. It deserves a name, because it is what softmax
# is made of. Two facts:
#
# **It is a rounded-off maximum.** The sum is at least its greatest term and at most $n$ times that, so
# $\max_j x_j \le \mathrm{lse}(x) \le \max_j x_j + \log n$.
#
# **Its slope is softmax.** By the chain rule,
#
# $$\frac{\partial}{\partial x_i} \log \sum_j e^{x_j} = \frac{e^{x_i}}{\sum_j e^{x_j}} = \mathrm{softmax}(x)_i.$$
#
# That also settles a question of names. The soft version of *max* is log-sum-exp. Softmax is the soft version of
# *argmax*: of the arrow that points at the winner.

# %% tags=["demo", "hide-input"] alt="Left: the hinge max of x and 0, and above it three smooth curves that round its corner, the more the hotter. Right: their slopes, the share of the first of the two scores; a step for the hinge, and S-shaped curves for the others, the flatter the hotter."
x = torch.linspace(-4, 4, 401, dtype=torch.float64, requires_grad=True)
with plotting.house_style():
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.1))
    left.plot(x.detach(), x.detach().clamp(min=0), "--", color=INK, label="max(x, 0)")
    right.plot(x.detach(), x.detach() > 0, "--", color=INK, label="argmax")
    for k, colour in ((4, BLUE), (2, GREEN), (1, ORANGE)):
        pair = torch.stack([x, torch.zeros_like(x)])
        rounded = torch.logsumexp(k * pair, 0) / k
        (slope,) = torch.autograd.grad(rounded.sum(), x)
        left.plot(x.detach(), rounded.detach(), color=colour, label=f"k = {k}")
        right.plot(x.detach(), slope, color=colour, label=f"k = {k}")
        assert torch.allclose(slope, torch.softmax(k * pair, 0)[0])  # the slope is softmax
    left.set(title="lse of (k·x, 0), divided by k", xlabel="x")
    right.set(title="its slope: the share of x", xlabel="x")
    left.legend()
    right.legend()
    plt.show()

# %% [markdown]
# ### Why not just `log(softmax(x))`?
#
# Because rounding comes before the logarithm. A share that is too small for the format has become 0, and the logarithm
# of 0 is $-\infty$. The truth is a perfectly ordinary number.

# %% tags=["demo"]
print("log of the second share, for the scores 0 and -gap, in float32")
print(f"{'gap':>6}{'log(softmax)':>16}{'log_softmax':>16}")
for gap in (1, 10, 100, 103, 104, 1000):
    x = torch.tensor([0.0, -gap])
    print(f"{gap:>6}{torch.log(torch.softmax(x, 0))[1]:16.4f}{torch.log_softmax(x, 0)[1]:16.4f}")

# %% [markdown]
# A loss of $\infty$ teaches nothing, and the gradient that comes with it is worse. We shall see it kill a training run
# below.
#
# {{exercise log_softmax}}
#
# Write the logarithm of softmax without ever taking the logarithm of a share:
#
# $$\mathrm{log\_softmax}(x)_i = (x_i - m) - \log \sum_j e^{x_j - m}, \qquad m = \max_j x_j.$$
#
# Same shape as `x`, which stays as it is. The sum under the logarithm has one term equal to 1, so this logarithm is
# always safe.
#
# *By hand:* for $x = (0, \ln 3)$ the answer is $(-\ln 4,\ \ln 3 - \ln 4)$. For $x = (0, -1000)$ it is $(0, -1000)$, to
# all the digits there are.
#
# <details><summary>Hint 1: the idea</summary>
#
# The logarithm of a quotient is a difference. Take it on paper, before any number has been rounded; what remains to be
# computed is a log-sum-exp.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `y = x - x.max(axis=axis, keepdims=True)`, and only `y` is needed from there on.
#
# </details>


# %% exercise="log_softmax"
def log_softmax(x, axis=-1):
    """The logarithms of the shares of x along axis, finite wherever x is.

    x     array of any shape (...)
    axis  the axis along which the shares add up to 1

    Returns an array of the same shape. Does not change x.
    """
    ### BEGIN SOLUTION
    below_peak = x - np.max(x, axis=axis, keepdims=True)
    log_sum = np.log(np.sum(np.exp(below_peak), axis=axis, keepdims=True))
    return below_peak - log_sum
    ### END SOLUTION


# %% [markdown]
# ## The knob
#
# The proof left one freedom, the number $k$. It is usually written upside down, as a **temperature** $\tau = 1/k$:
#
# $$p = \mathrm{softmax}(x / \tau).$$
#
# The name is from physics, where $e^{-E/(k_B T)}$ weighs a state of energy $E$ at temperature $T$. Cold systems settle
# in the best state; hot ones do not care. Move the slider (with the mouse, or the arrow keys).

# %% tags=["demo"]
interactive.temperature_slider(scores, [f"{word} ({score:+.1f})" for word, score in zip(words, scores, strict=True)])

# %% [markdown]
# Indecision can be counted. The *entropy* $H(p) = -\sum_i p_i \log_2 p_i$ is measured in bits, and
# $2^H$ says among how many equal candidates it would be as hard to choose. Cold: one. Hot: all seven.
#
# Now for three scores the whole story fits into one picture. Three shares that add up to 1 are a point in a triangle:
# the corner where one word has everything, the centre where all are equal. Take any scores, let the temperature sink
# from very hot to very cold, and the shares draw a path.

# %% tags=["demo", "hide-input"] alt="Left: a triangle with the corners cat, sat and fire. From its centre some thirty paths run outwards and bend into the three corners, each third in one colour; three paths run straight to the middle of a side. Right: entropy against temperature, on a logarithmic axis, for three lists of scores. All curves rise to log2 3; two fall to 0 in the cold, the one with two tied scores falls to 1 bit."
corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])  # one corner a word, shape (3, 2)
corner_words = ["cat", "sat", "fire"]
coldness = np.concatenate([np.linspace(0, 12, 300), np.geomspace(12, 400, 100)])

with plotting.house_style():
    fig, (ax, curve) = plt.subplots(1, 2, figsize=(9.4, 4), width_ratios=[1.25, 1])
    ax.fill(*corners.T, facecolor="none", edgecolor=INK)
    for angle in np.arange(0, 360, 10) * np.pi / 180:
        x = corners @ [np.cos(angle), np.sin(angle)]  # scores in every direction
        p = torch.softmax(torch.tensor(coldness[:, None] * x), dim=-1).numpy()  # shape (400, 3)
        path = p @ corners  # shape (400, 2)
        tied = np.isclose(np.sort(x)[-1], np.sort(x)[-2])
        ax.plot(*path.T, "-", color=INK if tied else (ORANGE, BLUE, GREEN)[x.argmax()], linewidth=1.4)
    for (u, v), word in zip(corners * 1.12 - 0.12 * corners.mean(0), corner_words, strict=True):
        ax.text(u, v, word, ha="center", va="center", fontsize=13)
    ax.plot(*corners.mean(0), "o", color=INK)
    ax.set(aspect="equal", xlim=(-0.15, 1.15), ylim=(-0.12, 1.02))
    ax.text(0.5, -0.2, "from hot (the centre) to cold (the rim)", ha="center")
    ax.axis("off")

    taus = np.geomspace(0.02, 50, 300)
    for x, colour in (([3, 0.5, 1.5], ORANGE), ([1, 0.5, 0.9], GREEN), ([1, 1, 0], INK)):
        p = torch.softmax(torch.tensor(x) / torch.tensor(taus)[:, None], dim=-1)
        curve.semilogx(taus, torch.special.entr(p).sum(-1) / np.log(2), color=colour, label=f"scores {x}")
    curve.axhline(np.log2(3), color=INK, linestyle=":")
    curve.set(xlabel="temperature", ylabel="entropy in bits")
    curve.legend(loc="lower right", fontsize=9)
    plt.show()

# %% [markdown]
# Look at how the paths bend. From the centre they set out straight, each in its own direction: a hot softmax still
# tells all scores apart. Then every path is drawn into a corner: a cold one knows only who won. The three grey paths
# come from exact ties, and they alone end in the middle of a side. So the cold limit is argmax, *with ties shared out
# equally*; the hot limit is the uniform distribution. (Keep this triangle in mind. At the end of the chapter it turns
# out to be something else.)
#
# {{exercise softmax_temperature}}
#
# $$\mathrm{softmax\_temperature}(x, \tau) = \mathrm{softmax}(x / \tau)$$
#
# Same shape as `x`; `tau` is one number greater than 0. You may use the function that you have written.
#
# *By hand:* for $x = (0, \ln 3)$ and $\tau = \tfrac12$ the exponents double, the exponentials are $1$ and $9$, and the
# shares $\tfrac1{10}$ and $\tfrac9{10}$: colder, and the winner has more.
#
# <details><summary>Hint 1: the idea</summary>
#
# Ask which way it must go: a small $\tau$ has to make the differences between the scores *larger*.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# It is the only line, and it calls `softmax`. Do not forget to pass the axis on.
#
# </details>


# %% exercise="softmax_temperature"
def softmax_temperature(x, tau, axis=-1):
    """Softmax at temperature tau: small tau sharpens, large tau flattens.

    x     array of any shape (...)
    tau   a number greater than 0
    axis  the axis along which the shares add up to 1

    Returns an array of the same shape. Does not change x.
    """
    ### BEGIN SOLUTION
    return softmax(x / tau, axis=axis)
    ### END SOLUTION


# %% [markdown]
# ### What is softmax trying to do?
#
# Here is another way to arrive at it, and it explains the temperature better than the physics does. You want two things
# at once. You want a good average score, $\sum_i p_i x_i$. And you want to keep your options open: a high entropy, this
# time in natural logarithms, $H(p) = -\sum_i p_i \ln p_i$. Let $\tau$ be the price of an open option. How would you
# share?
#
# We let chance try. The next cell draws two hundred thousand ways to share one look among the seven words, and keeps
# the best. **Do you think any of them will beat softmax?**

# %% tags=["demo"]
rng = np.random.default_rng(0)
x = torch.tensor(scores)
guesses = np.concatenate([rng.dirichlet(np.full(7, width), 50_000) for width in (0.1, 0.3, 1.0, 3.0)])


def worth(p, tau):
    """Average score plus tau times entropy, for every row of p."""
    return p @ x + tau * torch.special.entr(p).sum(-1)


print(f"{'temperature':>12}{'best of 200,000':>18}{'softmax(x/τ)':>16}{'τ·lse(x/τ)':>14}")
for tau in (0.5, 1.0, 2.0):
    chance = worth(torch.tensor(guesses), tau).max()
    ours = worth(torch.softmax(x / tau, dim=0), tau)
    print(f"{tau:>12}{chance:18.4f}{ours:16.4f}{tau * torch.logsumexp(x / tau, dim=0):14.4f}")

# %% [markdown]
# None does, at any temperature. Softmax *is* the best bargain between a good score and an open mind, and $\tau$ is the
# rate of exchange. The last column says what the bargain is worth: the log-sum-exp once more.
#
# <details><summary>The proof, in three lines</summary>
#
# Let $q = \mathrm{softmax}(x/\tau)$, so that $x_i = \tau \ln q_i + \tau\,\mathrm{lse}(x/\tau)$. Put that into the worth
# of any $p$:
#
# $$\sum_i p_i x_i - \tau \sum_i p_i \ln p_i = \tau\,\mathrm{lse}(x/\tau) - \tau \sum_i p_i \ln\frac{p_i}{q_i}.$$
#
# The last sum is the Kullback–Leibler divergence of $p$ from $q$. It is never negative, and zero only for $p = q$.
#
# </details>
#
# ## Backwards
#
# To train anything, a gradient must come back through softmax. Nudge one score $x_j$: which shares move, and by how
# much? Take $\log p_i = x_i - \mathrm{lse}(x)$ and differentiate; the slope of lse we know already.
#
# $$\frac{\partial \log p_i}{\partial x_j} = \delta_{ij} - p_j \qquad\Longrightarrow\qquad
# \frac{\partial p_i}{\partial x_j} = p_i\,(\delta_{ij} - p_j),$$
#
# where $\delta_{ij}$ is 1 for $i = j$ and 0 otherwise. As a matrix of shape $(n, n)$, the Jacobian is
#
# $$J = \mathrm{diag}(p) - p\,p^\top.$$
#
# Let PyTorch find it without knowing the formula, and look at it.

# %% tags=["demo"]
x = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
p = torch.softmax(x, dim=0)
J = torch.autograd.functional.jacobian(lambda x: torch.softmax(x, dim=0), x)
print("p =", p.numpy().round(4))
print("J =", str(J.numpy().round(4)).replace("\n", "\n    "))
print("sums of the rows", J.sum(1).abs().numpy().round(12), " symmetric:", bool(torch.allclose(J, J.T)))
print("eigenvalues", torch.linalg.eigvalsh(J).abs().numpy().round(4))

# %% [markdown]
# Read it. The diagonal is positive: raise a score, and its share grows. Everything else is negative: *each other share
# pays for it*. Every row sums to zero, because shares can only be moved about, never made. And one eigenvalue is zero:
# push all scores up together, and nothing happens at all. It is the third wish once more, seen from behind.
#
# ### What comes back is a comparison
#
# A matrix of $n \times n$ is far too much for what we need. The loss tells us a vector $g$, with $g_i$ saying how much
# the loss changes with share $p_i$. We want how much it changes with each score, that is $J^\top g$:
#
# $$(J^\top g)_j = \sum_i g_i\,p_i\,(\delta_{ij} - p_j) = p_j\,(g_j - \bar g), \qquad \bar g = \sum_i p_i\,g_i.$$
#
# The matrix is gone. What is left is one sum and one product, and it can be read aloud: **$\bar g$ is the average of
# $g$ under the shares; each score is moved by how far its own $g$ stands off the average, times the share it has.** A
# word with no share learns nothing, however wrong it is. A word that is exactly average learns nothing either.
#
# {{exercise softmax_vjp}}
#
# The gradient with respect to $x$, where $p = \mathrm{softmax}(x)$ is already known and $g$ is the gradient with
# respect to $p$ (a *vector–Jacobian product*, hence the name):
#
# $$\mathrm{softmax\_vjp}(p, g)_j = p_j\,\Bigl(g_j - \sum_i p_i\,g_i\Bigr),$$
#
# with the sum along `axis`. The arrays `p` and `g` have one shape, any; so has the answer. Build no matrix of
# $n \times n$.
#
# *By hand:* let $p = (\tfrac14, \tfrac34)$ and $g = (4, 8)$. The average is $\bar g = 1 + 6 = 7$, the answer
# $\bigl(\tfrac14 \cdot (4 - 7),\ \tfrac34 \cdot (8 - 7)\bigr) = (-\tfrac34, \tfrac34)$. It sums to zero, as it must.
# Both entries of $g$ are positive, and yet the first score is pushed the other way: it is *below average*.
#
# <details><summary>Hint 1: the idea</summary>
#
# First the average, one number a row, with its axis kept. Then the comparison.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `g_bar = (p * g).sum(axis=axis, keepdims=True)`
#
# </details>


# %% exercise="softmax_vjp"
def softmax_vjp(p, g, axis=-1):
    """The gradient with respect to x, where p = softmax(x) and g is the gradient with respect to p.

    p     array of any shape (...), the shares
    g     array of the same shape
    axis  the axis along which the shares add up to 1

    Returns an array of the same shape. Changes neither p nor g.
    """
    ### BEGIN SOLUTION
    average = np.sum(p * g, axis=axis, keepdims=True)
    return p * (g - average)
    ### END SOLUTION


# %% [markdown]
# What does it save to leave the matrix unbuilt? **Guess the factor for a row of 4096 scores.** (A text of 4096
# words has 4096 such rows.)


# %% tags=["demo"]
def seconds(f, *args, rounds=5):
    """The fastest of a few runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        f(*args)
        times.append(time.perf_counter() - start)
    return min(times)


def by_matrix(p, g):
    return (np.diag(p) - np.outer(p, p)) @ g


with interactive.once_solved("softmax_vjp"):
    for n in (64, 512, 4096):
        p, g = np.full(n, 1 / n), np.random.default_rng(0).normal(size=n)
        fast, slow = seconds(softmax_vjp, p, g) * 1e6, seconds(by_matrix, p, g) * 1e6
        print(f"n = {n:4}: matrix {slow:6.0f} µs, yours {fast:3.0f} µs; the matrix takes {8 * n * n:11,} bytes")

# %% [markdown]
# ### Trust is good, a difference quotient is better
#
# How do you know that a gradient you derived by hand is right? Compare it with the slope that you can measure: nudge
# each score up and down by $h$, and see how the loss changes,
#
# $$\frac{\partial \ell}{\partial x_j} \approx \frac{\ell(x + h e_j) - \ell(x - h e_j)}{2h}.$$
#
# Here $\ell$ is the loss, and $e_j$ the vector with a 1 in place $j$ and zeros elsewhere: it picks the score to nudge.
#
# Smaller $h$ ought to be better. **How small would you make it?** Here is the error of the measured slope against
# yours, for every $h$ from a tenth down to $10^{-13}$.

# %% tags=["demo", "hide-input"] alt="Error of the difference quotient against the step h, both axes logarithmic, for float64 and float32. Both curves have the shape of a V: with smaller h the error first falls along a slope of two, then rises again along a slope of minus one. In float64 the bottom is near h = 1e-5, in float32 near 1e-2."
with interactive.once_solved("softmax and softmax_vjp"):
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=(2, 5))
    yours = softmax_vjp(softmax(x), g)
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(7.5, 3.4))
        steps = np.geomspace(1e-1, 1e-13, 73)
        for kind, colour in ((np.float64, BLUE), (np.float32, ORANGE)):
            errors = []
            for h in steps:
                nudges = (h * np.eye(5)).astype(kind)  # row j nudges score j
                up, down = softmax(x.astype(kind) + nudges), softmax(x.astype(kind) - nudges)
                measured = (up.astype(float) - down.astype(float)) @ g / (2 * h)
                errors.append(np.abs(measured - yours).max())
            best = np.argmin(errors)
            print(f"{kind.__name__}: smallest error {errors[best]:.1e}, at h = {steps[best]:.0e}")
            ax.loglog(steps, errors, color=colour, label=kind.__name__)
        ax.set(xlabel="h", ylabel="error of the measured slope", ylim=(1e-14, 10))
        ax.legend()
        plt.show()

# %% [markdown]
# On the right of the V, $h$ is too coarse: the error falls like $h^2$. On the left, $h$ is too fine: the two losses
# agree in nearly all their digits, and their difference is mostly rounding, made worse by dividing by a tiny $2h$. (In
# float32 the far left is flat: there the nudge itself is rounded away, and the measured slope is 0.) That is why
# gradients are checked in float64, with a step near $10^{-5}$ or $10^{-6}$.
#
# ## The same in PyTorch
#
# PyTorch has all of this built in. But you can also put *your* two functions into it: tell autograd how to go forwards
# and how to come back, and it will treat them as its own. Then let PyTorch's `gradcheck` be the judge; it measures
# slopes as we just did.


# %% tags=["demo"]
class YourSoftmax(torch.autograd.Function):
    """Your NumPy code as a step that PyTorch can differentiate."""

    @staticmethod
    def forward(ctx, x):
        p = torch.from_numpy(softmax(x.detach().numpy()))
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx, g):
        (p,) = ctx.saved_tensors
        return torch.from_numpy(softmax_vjp(p.numpy(), g.numpy()))


with interactive.once_solved("softmax and softmax_vjp"):
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    g = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (yours,) = torch.autograd.grad(YourSoftmax.apply(x), x, g)
    (theirs,) = torch.autograd.grad(torch.softmax(x, dim=-1), x, g)
    print("greatest difference from PyTorch's gradient:", f"{(yours - theirs).abs().max():.1e}")
    print("gradcheck:", torch.autograd.gradcheck(YourSoftmax.apply, x))

# %% [markdown]
# ### A trap with no error message
#
# PyTorch's `cross_entropy` wants *scores*. It takes the log-softmax itself. Hand it shares instead, and it runs softmax
# a second time. Nothing crashes, and the loss even falls for a while. Below, a perfect classifier: ten classes, and the
# right one ahead by 20.

# %% tags=["demo"]
x = torch.zeros(1, 10)
x[0, 3] = 20.0
right = torch.tensor([3])
print(f"given scores: loss {torch.nn.functional.cross_entropy(x, right):.6f}")
print(f"given shares: loss {torch.nn.functional.cross_entropy(torch.softmax(x, dim=-1), right):.6f}")
print("softmax twice:", torch.softmax(torch.softmax(x, dim=-1), dim=-1).numpy().round(3)[0])

# %% [markdown]
# Shares lie between 0 and 1, so the second softmax sees scores that are at most 1 apart. It can never be sure of
# anything. If one of your losses stops falling and will not get past a certain wall, count your softmaxes.
#
# ## The case of the dead training run
#
# A small network learns to tell the three arms of a spiral apart. Its weights are kept in float32; only the scores go
# into softmax in float16, as happens in mixed precision. Everything is the same in three runs, except for one line:
#
# | run | the line |
# |---|---|
# | typed from the textbook | `(e / e.sum(-1, keepdim=True)).log()` with `e = x.exp()` |
# | half repaired | `torch.softmax(x, -1).log()` |
# | repaired | `torch.log_softmax(x, -1)` |
#
# You know the cliff of float16: it is printed above the figure with the bars. **Write down a guess:** which of the
# three dies, and of what?


# %% tags=["demo", "hide-input"] alt="Above: the loss of three runs on a logarithmic axis. The three curves lie on each other and fall; at the same step, two of them end in a cross, the third goes on falling. Below: the greatest score and the greatest gap between scores of the run that survives. When the two others die the greatest score is still below the dotted line where the exponential overflows; the gap has just reached its own dotted line."
def spiral(n=300, seed=0):
    """n points on three arms: places of shape (n, 2), classes of shape (n,)."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 3
    radius = np.sqrt(rng.uniform(0.02, 1, n))
    angle = 4 * radius + 2 * np.pi / 3 * classes + rng.normal(0, 0.12, n)
    places = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return torch.tensor(places, dtype=torch.float32), torch.tensor(classes)


def textbook(x):
    e = x.exp()
    return (e / e.sum(-1, keepdim=True)).log()


lines = {
    "typed from the textbook": textbook,
    "half repaired": lambda x: torch.softmax(x, -1).log(),
    "repaired": lambda x: torch.log_softmax(x, -1),
}


def train(log_shares, offset=0.0, steps=300):
    """Loss, greatest score and greatest gap at every step, until loss or gradient is no longer a number."""
    places, classes = spiral()
    random = torch.Generator().manual_seed(0)
    W_1, b_1 = torch.randn(2, 32, generator=random), torch.zeros(32)
    W_2, b_2 = torch.randn(32, 3, generator=random) / 32**0.5, torch.full((3,), offset)
    weights = [w.requires_grad_() for w in (W_1, b_1, W_2, b_2)]
    optimiser = torch.optim.Adam(weights, lr=0.02)
    history = []
    for _ in range(steps):
        x = torch.tanh(places @ W_1 + b_1) @ W_2 + b_2
        loss = -log_shares(x.half()).float()[torch.arange(len(x)), classes].mean()
        optimiser.zero_grad()
        loss.backward()
        gap = (x.amax(-1) - x.amin(-1)).max().item()
        history.append((loss.item(), x.max().item(), gap))
        if not (loss.isfinite() and all(w.grad.isfinite().all() for w in weights)):
            break
        optimiser.step()
    return np.array(history)


runs = {name: train(line) for name, line in lines.items()}
with plotting.house_style():
    fig, (above, below) = plt.subplots(2, 1, figsize=(8, 5), sharex=True, height_ratios=[1, 1.1])
    looks = ((ORANGE, 6, 0.9), (GREEN, 3, 1), (BLUE, 1.2, 1))
    for (name, history), (colour, width, alpha) in zip(runs.items(), looks, strict=True):
        above.semilogy(history[:, 0], color=colour, linewidth=width, alpha=alpha, label=name)
        if len(history) < 300:
            above.plot(len(history) - 1, history[-1, 0], "x", color=colour, markersize=9 + width, markeredgewidth=3)
            loss, greatest, gap = history[-1]
            print(f"{name}: dies at step {len(history) - 1}")
            print(f"    {loss=:.4f}, {greatest=:.2f}, {gap=:.2f}")
        else:
            print(f"{name}: alive after 300 steps, loss={history[-1, 0]:.4f}")
    above.set(ylabel="loss")
    above.legend()
    lasting = runs["repaired"]
    below.plot(lasting[:, 1], color=BLUE, label="greatest score")
    below.plot(lasting[:, 2], color=GREEN, label="greatest gap between scores")
    largest, smallest = 65504, 2.0**-24  # of float16; half of the smallest is rounded to 0
    for cliff, colour, words_there in (
        (np.log(largest), BLUE, "a score beyond {:.1f} overflows"),
        (-np.log(smallest / 2), GREEN, "a gap beyond {:.1f} makes a share 0"),
    ):
        below.axhline(cliff, color=colour, linestyle=":")
        below.text(300, cliff - 1.7, words_there.format(cliff), color=colour, ha="right")
    below.set(xlabel="step", ylim=(0, 23))
    below.legend(loc="upper left")
    plt.show()

# %% [markdown]
# ### The autopsy
#
# The usual suspect is innocent. When the two runs died, no score had reached the cliff where $e^x$ overflows. And look
# at the loss they died with: small, finite, falling. Nothing was wrong on the way forwards.
#
# It was the way back. Some point had a *wrong* class so far behind that its share was rounded to 0. The loss does not
# even contain that share. Here is the scene of the crime, rebuilt with one point.

# %% tags=["demo"]
for name, line in lines.items():
    x = torch.tensor([[10.0, 0.0, -8.0]], dtype=torch.float16, requires_grad=True)
    loss = -line(x)[0, 0]  # class 0 is the right one, and the network is sure of it
    loss.backward()
    print(f"{name:24} loss {loss.abs().item():.4f}  gradient {x.grad.numpy()[0]}")

# %% [markdown]
# The share of class 2 is 0, and the slope of the logarithm at 0 is infinite. The gradient that comes from the loss to
# that share is 0, because the loss does not use it. And $0 \cdot \infty$ is not a number. One such entry spoils its
# row; the row goes into the gradient of every weight before it; and after the next step there is no network any more.
#
# It died *of being right*: the better it told the classes apart, the closer it came. Subtracting the maximum did not
# help at all. Only the log-softmax, which never makes the share, has nothing to fear.
#
# And the overflow? Let us invite it. Add 5 to all three scores from the start. Only differences count, so **to
# mathematics this is the same network.** Who dies now, and when?

# %% tags=["demo"]
print(f"{'':26}{'as it was':>22}{'all scores plus 5':>26}")
for name, line in lines.items():
    cells = []
    for history in (runs[name], train(line, offset=5.0)):
        loss, greatest, gap = history[-1]
        if len(history) == 300:
            cells.append(f"alive, loss {loss:.4f}")
        else:
            cause = "overflow" if not np.isfinite(loss) else "a share of 0"
            cells.append(f"step {len(history) - 1}, {cause}")
    print(f"{name:26}{cells[0]:>22}{cells[1]:>26}")

# %% [markdown]
# Now the textbook dies earlier, of overflow. Subtracting the maximum cures that, and only that: the half repaired run
# dies when it did before. Two cliffs, two repairs.
#
# ## Deserts
#
# There is one more way in which softmax stops a training run, and this one leaves no `nan`. Read the gradient once
# more: $p_j (g_j - \bar g)$. If one share is nearly 1, then $\bar g$ is nearly that word's own $g$, and all other
# shares are nearly zero. Either factor is small, *for every word*, whatever $g$ says. The softmax has made up its mind
# and cannot be talked to.
#
# Here is the triangle again. The colour is the size of the Jacobian (its greatest eigenvalue): how loudly a gradient
# can speak. Beside it, a look ahead. A score in chapter 4 is the dot product of two vectors of $d$ random entries. The
# longer the vectors, the greater the scores. What does that do to softmax over 64 words?

# %% tags=["demo", "hide-input"] alt="Left: the triangle as a heat map. Brightest at the middle of the three sides, medium in the centre, dark in the corners. Right: size of the Jacobian for the median query against the length d of the vectors, both axes logarithmic. For plain dot products it sinks further and further as the vectors grow. For dot products divided by the square root of d it stays level."
rows = 160
u, v = np.meshgrid(np.linspace(0, 1, 2 * rows), np.linspace(0, np.sqrt(3) / 2, 2 * rows))
third = v / (np.sqrt(3) / 2)
p = torch.tensor(np.stack([1 - (u - third / 2) - third, u - third / 2, third], axis=-1))  # shape (320, 320, 3)


def size(p):
    """The greatest eigenvalue of diag(p) - p pᵀ, for every row of p."""
    return torch.linalg.eigvalsh(torch.diag_embed(p) - p[..., :, None] * p[..., None, :])[..., -1]


inside = (p > 0).all(-1)
shown = torch.where(inside, size(torch.where(inside[..., None], p, 1 / 3)), torch.nan)
with plotting.house_style():
    fig, (ax, curve) = plt.subplots(1, 2, figsize=(9.4, 3.9), width_ratios=[1.15, 1])
    image = ax.pcolormesh(u, v, shown, cmap="viridis", rasterized=True)
    for (a, b), word in zip(corners * 1.14 - 0.14 * corners.mean(0), corner_words, strict=True):
        ax.text(a, b, word, ha="center", va="center", fontsize=13)
    ax.set(aspect="equal", xlim=(-0.15, 1.15), ylim=(-0.12, 1.02))
    ax.text(0.5, -0.2, "how loudly a gradient can speak", ha="center")
    ax.axis("off")
    fig.colorbar(image, ax=ax, shrink=0.7)
    print(f"corner {shown[1, 2]:.3f}, centre {size(torch.full((3,), 1 / 3)):.3f}, loudest {shown[inside].max():.3f}")

    random = torch.Generator().manual_seed(0)
    lengths = [4, 16, 64, 256, 1024]
    print(f"{'d':11}" + "".join(f"{d:9}" for d in lengths))
    for scaled, colour, label in ((False, ORANGE, "q · k"), (True, BLUE, "q · k / √d")):
        loudness = []
        for d in lengths:
            q = torch.randn(200, 1, d, dtype=torch.float64, generator=random)
            k = torch.randn(200, 64, d, dtype=torch.float64, generator=random)
            x = (q * k).sum(-1) / (d**0.5 if scaled else 1)
            loudness.append(size(torch.softmax(x, dim=-1)).median().item())
        curve.loglog(lengths, loudness, "o-", color=colour, label=label)
        print(f"{label:11}" + "".join(f"{value:9.4f}" for value in loudness))
    curve.set(xlabel="d", ylabel="size of the Jacobian, median query", xticks=lengths, xticklabels=lengths)
    curve.minorticks_off()
    curve.legend()
    plt.show()

# %% [markdown]
# The corners are deserts. Who gets there by mistake, stays for long. The loudest places are the middles of the sides:
# two words tied, the third out of the race. *Softmax learns most where it has to choose between two.*
#
# On the right, a little length even helps: softmax has to see differences before it can choose. Then long vectors drive
# it into the desert, unless their dot product is divided by $\sqrt d$. That is the temperature of attention,
# $\tau = \sqrt d$, and you will derive it in chapter 4.
#
# ## You have already seen attention
#
# What are shares good for? For an *average*. Let every word carry a vector $v_j$, its **value**. A reader who spends
# the shares $p$ takes home
#
# $$\sum_j p_j\,v_j.$$
#
# That is all that attention returns: softmax over scores, then an average. Go back to the cell that drew the paths. It
# has a line `path = p @ corners`, three shares times three corners. *The triangle was not a diagram of the shares. It
# was the outputs of attention*, for three words whose values are the three corners. Whatever the scores say, the output
# stays inside the triangle; and a cold softmax can only copy a corner.

# %% tags=["demo"]
values = torch.tensor(corners)  # one value a word, shape (3, 2)
p = torch.softmax(torch.tensor([3.0, 0.5, 1.5], dtype=torch.float64), dim=0)
print("shares", dict(zip(corner_words, p.numpy().round(3).tolist(), strict=True)))
print("output", (p @ values).numpy().round(3), " cat's own value", corners[0])

# %% [markdown]
# Chapter 2 begins there, with the weights made the old way: from distances. It is a method of 1964, and it is attention
# in everything but name.
#
# ## Quiz
#
# **1.** One score rises by $\ln 2$, the others stay. What happens to the *ratios* among the other shares?
#
# <details><summary>Answer</summary>
#
# Nothing. The ratio of two shares is $e^{x_i - x_j}$, and neither of the two scores moved. All of the others shrink by
# the same factor, to pay for the winner, whose ratio to each of them doubles. (Does its *share* double? Only if it was
# tiny. From $\tfrac12$ it goes to $\tfrac23$.)
#
# </details>
#
# **2.** You double all scores. Does that change the shares? Which temperature would have done the same?
#
# <details><summary>Answer</summary>
#
# Yes: doubling doubles the *differences*. It is $\tau = \tfrac12$. Adding is free, multiplying is not. If you said "no,
# only the proportions count", you had division by the sum in mind.
#
# </details>
#
# **3.** Can a share be exactly 0?
#
# <details><summary>Answer</summary>
#
# In mathematics never, for finite scores: $e^x > 0$. In floating point yes, as soon as the gap is wide enough. And for
# a score of $-\infty$ it is 0 by right: $e^{-\infty} = 0$. Chapter 5 makes masks out of that, and then asks what
# happens to a row in which *all* scores are $-\infty$.
#
# </details>
#
# **4.** For $p = (\tfrac12, \tfrac12, 0)$ and $g = (1, 3, 100)$: what comes back to the scores, and what would come
# back if someone used only the diagonal of the Jacobian, $p_j (1 - p_j)\, g_j$?
#
# <details><summary>Answer</summary>
#
# The average is $\bar g = \tfrac12 + \tfrac32 + 0 = 2$, so $(-\tfrac12, \tfrac12, 0)$. With the diagonal alone:
# $(\tfrac14, \tfrac34, 0)$. The first sign is wrong, and the sum is not zero. The word with $g = 100$ hears nothing
# either way: it has no share.
#
# </details>
#
# **5. From an interview.** *"Why does every softmax in production subtract the maximum? Is that an approximation? Is it
# enough? And what would you do with a row too long for memory?"*
#
# <details><summary>A model answer</summary>
#
# Softmax depends on differences only, so in exact arithmetic the subtraction changes nothing; it is no approximation.
# In floating point it makes the greatest exponent 0: nothing overflows, and the sum is at least 1, so there is no 0/0.
# What underflows had a negligible share.
#
# It is not enough if the next thing is a logarithm. A share rounded to 0 gives $\log 0 = -\infty$, or a finite loss
# with a `nan` gradient. So a loss takes the scores and computes log-softmax in one piece,
# $x_i - m - \log\sum_j e^{x_j - m}$. Nor does it help against saturation: with large gaps the gradient
# $p_j(g_j - \bar g)$ fades, which is why attention scales its scores.
#
# For a long row, read it in pieces and carry two numbers: the maximum so far, $m$, and the sum so far, relative to $m$.
# When a new piece raises the maximum to $m'$, multiply the sum by $e^{m - m'}$ and go on. That is the *online* softmax
# (Milakov and Gimelshein, 2018); FlashAttention is built on it, and you will build it in chapter 25.
#
# *What a weak answer says:* "for numerical stability", and no more.
#
# </details>
#
# ## Summary
#
# - Shares that are positive, keep the order and depend only on differences come from $e^{k x}$ and from nothing else.
# - Adding to all scores is free. That freedom is spent on subtracting the maximum: nothing overflows.
# - Never take the logarithm of a share. Take the log-softmax of the scores.
# - The temperature is the price of keeping one's options open. Cold: argmax. Hot: uniform.
# - Log-sum-exp is the soft maximum, softmax its slope, and $\mathrm{diag}(p) - p p^\top$ the slope of that.
# - What comes back through softmax is a comparison with the average: $p_j (g_j - \bar g)$. It fades where one share is
#   near 1.
#
# ## Further reading
#
# - J. W. Gibbs, *Elementary Principles in Statistical Mechanics*, 1902. The distribution $e^{-E/T}$ over the states of
#   a system, after Boltzmann.
# - R. D. Luce, *Individual Choice Behavior: A Theoretical Analysis*, 1959. The axiom of choice behind the recipe
#   $f(x_i)/\sum_j f(x_j)$.
# - J. S. Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs, with Relationships to
#   Statistical Pattern Recognition", 1990. Gave softmax its name.
# - G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015. Temperature as a way to hear
#   what a network thinks of the wrong answers.
# - A. F. T. Martins, R. F. Astudillo, "From Softmax to Sparsemax: A Sparse Model of Attention and Multi-Label
#   Classification", 2016. Another map from scores to shares, with exact zeros.
# - M. Milakov, N. Gimelshein, "Online Normalizer Calculation for Softmax", 2018. One pass over the scores in place of
#   two.
# - P. Blanchard, D. J. Higham, N. J. Higham, "Accurately Computing the Log-Sum-Exp and Softmax Functions", 2021.
#   Rounding errors of the formulas in this chapter, proved.
#
# **Next:** [2 · Averaging with weights](../02_weighted_averaging/02_weighted_averaging.ipynb). There the shares come from
# distances, and you meet query, key and value.
