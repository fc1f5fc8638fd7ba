# %% [markdown]
# # 3 · Additive attention
#
# **Who is asking?**
#
# Five guests come in, each with a coloured hat. You see them once. Then somebody asks: *which hat had Ben?* And somebody
# else: *which hat had Dan?* It is the same memory both times. The answers differ because the questions do.
#
# In chapter 2 the question was a place on a line, and its score for a key was a distance. You chose the ruler. But how
# far is it from *Ben* to a hat? Nobody hands you a ruler for names, or for words of two languages. In this chapter the
# score is **learned**. You will meet a reader that cannot hear the question at all, and you will compute to four digits
# how good it can get. Then a reader that takes the question in, and still cannot hear it, for a reason so small that
# it fits into one line. And then the line that cures it: the one with which attention began, in 2014.
#
# *About two and a half hours, 80 minutes of them for the four exercises. You need chapters 1 and 2, and for the last
# part a first acquaintance with PyTorch's `nn.Module`.*

# %%
import functools
import math
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from attnlab import interactive, plotting
from attnlab.softmax import softmax
from autograder import check

torch.set_num_threads(1)
INK = plotting.INK
COLOURS = plotting.COLOURS[:4]
BLUE, ORANGE, GREEN, PURPLE = COLOURS
HATS = ["blue", "orange", "green", "purple"]

guests = ["Ada", "Ben", "Cleo", "Dan", "Eva"]
hats = np.array([0, 1, 0, 2, 0])  # the number of each guest's hat in HATS


# %% tags=["demo", "hide-input"] alt="Two panels, each with five guests in a row: Ada, Cleo and Eva with blue hats, Ben with an orange one, Dan with a green one. Above them two bars, the answers to the questions Ben? and Dan?. Ribbons rise from the guests into the bars. Left, the question is not heard: all ribbons are equally wide, and both bars are three fifths blue, one fifth orange, one fifth green. Right, it is heard: Ben's bar is nearly all orange, Dan's nearly all green."
def draw_flow(ax, weights, questions, title):
    """Guests below, one answer a question above; a ribbon from each guest, as wide as its weight."""
    down = np.linspace(0, 1, 50)
    bend = 3 * down**2 - 2 * down**3
    for t, question in enumerate(questions):
        left, width = 0.06 + 0.5 * t, 0.38
        ends = left + width * np.cumsum(weights[t])
        for s, share in enumerate(weights[t]):
            seat = 0.1 + 0.2 * s + 0.02 * (t - 0.5)
            end = ends[s] - width * share / 2
            middle, half = end + bend * (seat - end), (1 - bend) * width * share / 2 + bend * 0.009
            colour = COLOURS[hats[s]]
            ax.fill_betweenx(2.7 - 1.9 * down, middle - half, middle + half, color=colour, alpha=0.45, linewidth=0)
            ax.fill_between([end - width * share / 2, end + width * share / 2], 2.7, 3.0, color=colour, linewidth=0)
        ax.text(left + width / 2, 3.12, question, ha="center", fontsize=13)
    for s, guest in enumerate(guests):
        seat, colour = 0.1 + 0.2 * s, COLOURS[hats[s]]
        ax.fill_between([seat - 0.085, seat + 0.085], 0.38, 0.46, color=colour, linewidth=0)  # the brim
        ax.fill_between([seat - 0.05, seat + 0.05], 0.46, 0.8, color=colour, linewidth=0)
        ax.text(seat, 0.1, guest, ha="center", fontsize=12)
    ax.set(xlim=(0, 1), ylim=(0, 3.4))
    ax.set_title(title)
    ax.axis("off")


with plotting.house_style():
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.9))
    questions = ["Ben?", "Dan?"]
    asked = softmax(np.array([[0.0, 4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0, 0.0]]))  # made up; learned further down
    draw_flow(left, np.full((2, 5), 0.2), questions, "the question is not heard")
    draw_flow(right, asked, questions, "the question is heard")
    plt.show()

# %% [markdown]
# Each bar is an answer: an average of the hats, mixed by the weights. On the left the weights come from the memory
# alone, so there is one mixture for whoever asks. On the right each question has weights of its own.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(3)

# %% [markdown]
# ## Attention that nobody asked for
#
# Start with the left panel. There is no query; each position is scored by what it holds. Let the values be
# $v_1, \dots, v_S$, vectors of $d$ features. One vector $w$ of $d$ features and one number $b$ are learned:
#
# $$e_s = w \cdot v_s + b, \qquad \alpha = \mathrm{softmax}(e), \qquad \mathrm{out} = \sum_s \alpha_s\, v_s.$$
#
# A score for each *position*; shares among the *positions*; an average of the *positions*. It says: *this is what
# matters, whoever reads it*. That is no fool's errand. To file a film review under good or bad, you want "dreadful" to
# count more than "the", and nobody has to ask (chapter 18).
#
# {{exercise value_attention}}
#
# Write the three formulas. `values` has shape `(S, d)`, `w` shape `(d,)`, `b` is a number; the answer has shape `(d,)`.
# With axes in front, `values` of shape `(..., S, d)` is a batch: each sequence is averaged by itself, to `(..., d)`. Use
# `softmax`, imported above; it is the one of chapter 1.
#
# *By hand:* let the values be $(0, 4)$ and $(\ln 3, 8)$, $w = (1, 0)$ and $b = 0$. The scores are $0$ and $\ln 3$, the
# weights $\tfrac14$ and $\tfrac34$, the answer $(\tfrac34 \ln 3,\ 1 + 6) = (0.824,\ 7)$.
#
# <details><summary>Hint 1: the idea</summary>
#
# How many numbers does softmax get? One a position: S of them, not d. Their weights need one more axis, of length 1,
# before they can multiply the values.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `alpha = softmax(values @ w + b)`, of shape `(..., S)`; then `alpha[..., None]` lies beside the values.
#
# </details>


# %% exercise="value_attention"
def value_attention(values, w, b):
    """The average of the values, each weighted by how it scores itself.

    values  array of shape (..., S, d)
    w       array of shape (d,)
    b       a number

    Returns an array of shape (..., d). Changes none of them.
    """
    ### BEGIN SOLUTION
    alpha = softmax(values @ w + b)  # (..., S)
    return np.sum(alpha[..., None] * values, axis=-2)
    ### END SOLUTION


# %% [markdown]
# ### How good can it get?
#
# Let it play the party game. A value is a hat, written as a one-hot vector: blue is $(1, 0, 0, 0)$. Then an average of
# hats is itself a list of shares, one a colour, and can be read as an answer: *60% blue, 20% orange, 20% green*. Ask for
# every guest once, and let the loss be the mean of $-\ln p$, with $p$ the share of the right colour.
#
# **Guess first:** on this party, with 3 blue hats, 1 orange and 1 green, what is the lowest loss that any $w$ and $b$
# can reach?

# %% tags=["demo"]
memory = np.eye(4)[hats]  # one hat a guest, shape (5, 4)
with interactive.once_solved("value_attention"):
    rng = np.random.default_rng(0)
    losses = []
    for w in rng.normal(size=(5000, 4)) * rng.choice([0.1, 1, 3], size=(5000, 1)):
        answer = value_attention(memory, w, 0.0)
        losses.append(-np.log(answer[hats]).mean())
    print(f"worst of 5000 random w   {max(losses):.4f}")
    print(f"median                   {np.median(losses):.4f}")
    print(f"best                     {min(losses):.4f}")
    print(f"w = 0, the plain mean    {-np.log(value_attention(memory, np.zeros(4), 0.0)[hats]).mean():.4f}")
    shares = np.bincount(hats) / 5
    print(f"entropy of {shares}   {-(shares * np.log(shares)).sum():.4f}")

# %% [markdown]
# There is a floor, and the plain mean stands on it. It is not bad luck; it must be so.
#
# **Why.** Without the question, the answer is one list of shares $p$, whoever is asked for. Let $n_c$ of the $S$ guests
# wear colour $c$. Each guest is asked for once, so the loss is
#
# $$-\frac1S \sum_s \ln p_{\text{hat}(s)} = -\sum_c \frac{n_c}{S} \ln p_c
# = \underbrace{-\sum_c \frac{n_c}{S}\ln\frac{n_c}{S}}_{\text{entropy}}
# + \underbrace{\sum_c \frac{n_c}{S} \ln\frac{n_c/S}{p_c}}_{\text{never negative}}.$$
#
# The last sum is the Kullback–Leibler divergence of chapter 1, zero only where $p_c = n_c/S$. So the loss is at least
# the entropy of the hats, and *nothing that is learned can help*. Notice what was not used: that the scores are linear,
# or that there are four numbers in $w$. A network of a billion parameters that does not see the question has the same
# floor.
#
# At a party where each of the five hats is one of four colours by chance, the floor is this entropy, averaged over all
# parties. The number of guests with a given colour is binomial, so it can be computed to the last digit. Keep the
# result; it comes back as a line in a figure.

# %% tags=["demo"]
S, C = 5, 4
chance = [math.comb(S, n) * (1 / C) ** n * (1 - 1 / C) ** (S - n) for n in range(S + 1)]
FLOOR = -C * sum(chance[n] * n / S * math.log(n / S) for n in range(1, S + 1))
print(f"without memory, any colour:    ln 4 = {math.log(4):.4f}")
print(f"memory, but no question:              {FLOOR:.4f}")
print(f"memory and question, one hat:  ln 1 = {math.log(1):.4f}")

# %% [markdown]
# ## A question that cancels
#
# So let the question in. The obvious way is to add it: a number from the query, plus a number from the key,
#
# $$e_{ts} = w_q \cdot q_t + w_k \cdot k_s.$$
#
# There are $T$ queries $q_t$ and $S$ keys $k_s$ (the guests' names), and every query needs a score for every key: a
# table of shape $(T, S)$. Row $t$ is what query $t$ thinks of the keys, and softmax turns each row into shares.
#
# **Before you run the cell:** every row has a different query. Will the rows of the weights be different?

# %% tags=["demo"]
rng = np.random.default_rng(3)
queries, keys = rng.normal(size=(3, 7)), rng.normal(size=(5, 7))
w_q, w_k = rng.normal(size=(2, 7))
e = np.add.outer(queries @ w_q, keys @ w_k)  # every number of the one plus every number of the other
print("scores, one row a query\n", e.round(2))
print("\nweights\n", softmax(e).round(3))

# %% [markdown]
# The scores differ, the weights do not. You have known the reason since chapter 1: **only differences count.** Along a
# row, $w_q \cdot q_t$ is one and the same number. Adding it moves all scores of that row alike, and softmax cannot see
# it:
#
# $$\alpha_{ts} = \frac{e^{w_q \cdot q_t}\, e^{w_k \cdot k_s}}{\sum_{s'} e^{w_q \cdot q_t}\, e^{w_k \cdot k_{s'}}}
# = \frac{e^{w_k \cdot k_s}}{\sum_{s'} e^{w_k \cdot k_{s'}}}.$$
#
# The query is gone. It was fed in, it has parameters, they take memory, and it is not there. (By the way: it cancels for
# the same reason as the bias $b$ in your `value_attention`.) More layers do not help as long as they are linear. With
# $W_q$ and $W_k$ of any size and a vector $v$ behind them,
# $v^\top (W_q q + W_k k) = (W_q^\top v) \cdot q + (W_k^\top v) \cdot k$: the same thing in disguise.
#
# ### What is left of a question
#
# Two questions $q, q'$ and two keys $k, k'$. What softmax can see of question $q$ is by how much it prefers $k$ to $k'$,
# the difference $e(q, k) - e(q, k')$. The question *matters* if the other one prefers differently, so if
#
# $$\bigl[e(q, k) - e(q, k')\bigr] - \bigl[e(q', k) - e(q', k')\bigr] \neq 0.$$
#
# Four corners of the table, with alternating signs. For $e = f(q) + g(k)$ it is always 0. And if it is 0 for all
# corners, then $e$ *is* of that form. So this is the whole requirement: **the score must not be a sum of something from
# the query and something from the key.**
#
# ### One bend is enough
#
# The two numbers $a = w_q \cdot q$ and $b = w_k \cdot k$ are being added. Put a function $f$ around the sum. **Which
# functions would do?** Take $f(x) = x$: no, that was it. $x^2$? $\tanh$? A hinge, $\max(x, 0)$?
#
# <details><summary>The last three. Every continuous function will do, unless its graph is a straight line</summary>
#
# Suppose $f$ fails: $f(a + b) = g(a) + h(b)$ for all $a$ and $b$. Set $b = 0$: $g(a) = f(a) - h(0)$. Set $a = 0$:
# $h(b) = f(b) - g(0)$. Put both back, and write $L(x) = f(x) - f(0)$ (at $a = b = 0$ you see that $f(0) = g(0) + h(0)$):
#
# $$L(a + b) = L(a) + L(b).$$
#
# That is the equation of chapter 1, the one that led to the exponential. Its only continuous solutions are straight
# lines through the origin. So a function that lets no question through is a straight line, $f(x) = f(0) + kx$; any bend
# lets it through.
#
# </details>
#
# Dzmitry Bahdanau, Kyunghyun Cho and Yoshua Bengio took $\tanh$, in $d_\text{hidden}$ copies, each with its own
# directions:
#
# $$e_{ts} = v^\top \tanh(W_q\, q_t + W_k\, k_s).$$
#
# | symbol | shape | what it is |
# |---|---|---|
# | $q_t$ | `(d_q,)` | a query: what is looked for |
# | $k_s$ | `(d_k,)` | a key: what is on offer; it may have another width than the query |
# | $W_q$, $W_k$ | to `d_hidden` | translate both into one common language |
# | $v$ | `(d_hidden,)` | how much each hidden unit counts, and with which sign |
#
# It is a small network with one hidden layer that looks at query and key *together* and says how well they fit. It is
# called **additive** because the two are added inside it. Since every part is smooth, $W_q$, $W_k$ and $v$ are learned
# along with everything else.
#
# ### A window that the question moves
#
# How can a few soft steps find a guest? Think of seats in a row, numbered 0 to 10. A key is a seat number, a query is
# the seat that is asked for. One unit, $\tanh(2(k - q) + 1.5)$, is a step that stands at $q$, more or less. Take a second
# one, a little further to the right, and subtract it: what is left is a window. *When the question changes, the window
# moves.* (The 1.5 is a bias. Where there is none, a key with one constant entry does the same.)

# %% tags=["demo", "hide-input"] alt="Two columns of figures over the seats 0 to 10, for the questions 2, 5 and 8. Left, without tanh: the scores are three parallel rising lines; below, the weights for all three questions are the same, nearly everything on seat 10. Right, with tanh and the same parameters: each question's scores are a hill, at seat 2, 5 or 8; below, each question's weight lies on its own seat."
seats = np.arange(11)
line = np.linspace(-0.5, 10.5, 400)
with plotting.house_style():
    fig, axes = plt.subplots(2, 2, figsize=(9.2, 4.6), sharex=True, height_ratios=[1.4, 1])
    for column, (f, title) in enumerate(((lambda x: x, "without tanh"), (np.tanh, "with tanh"))):
        above, below = axes[:, column]
        for i, (seat, colour) in enumerate(zip((2, 5, 8), (BLUE, ORANGE, GREEN), strict=True)):

            def score(k, q=seat, f=f):
                return 3 * f(2 * (k - q) + 1.5) - 2.4 * f(2 * (k - q) - 1.5)

            above.plot(line, score(line), color=colour, label=f"seat {seat}?")
            below.bar(seats + 0.27 * (i - 1), softmax(score(seats)), 0.25, color=colour)
        above.set(title=title)
        below.set(xlabel="seat", xticks=seats, ylim=(0, 1))
    axes[0, 0].set_ylabel("score")
    axes[1, 0].set_ylabel("weight")
    axes[0, 1].set_ylim(-4, 6)
    axes[0, 1].legend(loc="lower right", ncols=3, handlelength=2)
    plt.show()

# %% [markdown]
# Left and right have the same parameters. On the left the three questions draw parallel lines: a question lifts its line
# or lowers it, and tilts nothing, and the weights below are the same three times over. On the right the tanh has turned a
# *lift* into a *move*.
#
# You have seen hills before: in chapter 2, with a Gaussian. There the hill was decreed. Here its place, width and height
# are in $W_q$, $W_k$ and $v$; with more units it can be any shape.
#
# ## All pairs at once
#
# Now the code. Vectors are rows here, so $W_q\, q$ becomes `queries @ W_q`, with the matrix stored the other way round,
# `(d_q, d_hidden)`. The queries become `(T, d_hidden)`, the keys `(S, d_hidden)`. Every row of the one is to be added to every row of the other. **What does a plain `+` do?** Wanted is $(T, S, 13)$. Guess for
# $T = 1$, $T = 5$ and $T = 3$, with $S = 5$ keys and 13 hidden units.

# %% tags=["demo"]
for T in (1, 5, 3):
    a, b = np.ones((T, 13)), np.ones((5, 13))
    try:
        came = f"a sum of shape {(a + b).shape}"
    except ValueError as error:
        came = f"an error: {str(error).split(' together')[0]}"
    print(f"T = {T}: wanted is {(T, 5, 13)}, came {came}")

# %% [markdown]
# With one query it works *by luck*: NumPy repeats the single row. With three it fails, which is kind. With five queries
# and five keys it fails without a word. Query 1 is added to key 1, query 2 to key 2, and the other twenty pairs never
# meet. What comes out are five scores where 25 were meant, and softmax gladly takes them for the row of a single query.
# (A decoder that asks one question at a time, as in chapter 6, runs for years like that.)
#
# The remedy is the one you used for distances in chapter 2: give each its own axis, queries `(T, 1, 13)`, keys
# `(1, S, 13)`. NumPy repeats along axes of length 1, and the sum is `(T, S, 13)`.
#
# {{exercise additive_scores}}
#
# $$e_{ts} = \sum_h v_h \tanh\Bigl(\sum_i q_{ti}\,(W_q)_{ih} + \sum_j k_{sj}\,(W_k)_{jh}\Bigr)$$
#
# `queries` has shape `(..., T, d_q)`, `keys` `(..., S, d_k)`, `W_q` `(d_q, d_hidden)`, `W_k` `(d_k, d_hidden)`, `v`
# `(d_hidden,)`. The answer has shape `(..., T, S)`. The axes in front are the batch; queries and keys share it.
#
# *By hand:* let all widths be 1, $W_q = W_k = 1$, $v = 2$. For the query $1$ and the keys $0$ and $-1$ the scores are
# $2\tanh(1) = 1.523$ and $2\tanh(0) = 0$.
#
# <details><summary>Hint 1: the idea</summary>
#
# First project, which needs no pairs. Then make the pairs. Then bend. Then `@ v`, which multiplies and sums the last
# axis. Count the new axes from the end, so that a batch in front does no harm.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `a = (queries @ W_q)[..., :, None, :]` has shape `(..., T, 1, d_hidden)`. The keys get their `None` one place further
# left.
#
# </details>


# %% exercise="additive_scores"
def additive_scores(queries, keys, W_q, W_k, v):
    """How well every key fits every query.

    queries  array of shape (..., T, d_q)
    keys     array of shape (..., S, d_k)
    W_q      array of shape (d_q, d_hidden)
    W_k      array of shape (d_k, d_hidden)
    v        array of shape (d_hidden,)

    Returns an array of shape (..., T, S). Changes none of them.
    """
    ### BEGIN SOLUTION
    a = (queries @ W_q)[..., :, None, :]  # (..., T, 1, d_hidden)
    b = (keys @ W_k)[..., None, :, :]  # (..., 1, S, d_hidden)
    return np.tanh(a + b) @ v
    ### END SOLUTION


# %% [markdown]
# ### Taking a table apart
#
# Any table of scores, however it was made, can be taken apart into three:
#
# - what a **query** adds to its whole row: the row's mean. Softmax erases it.
# - what a **key** gets from everyone: the column's mean, less the mean of all. This is attention that nobody asked for.
# - **the rest**: what this query thinks of this key, beyond both. It is what the four corners measure. This is the
#   question.
#
# Here are your scores for random parameters, taken apart, and above them the same without the tanh. **Which of the small
# tables will be blank?**


# %% tags=["demo", "hide-input"] alt="Two rows of heat maps of 5 by 5 cells. In each row a table of scores equals a table of constant rows plus a table of constant columns plus a rest, and leads to weights. Above, without tanh, the rest is blank and all rows of the weights are alike. Below, with tanh, the rest is not blank, and the rows of the weights differ."
def taken_apart(e):
    """A table of scores as three that add up to it: of the queries, of the keys, of the two together."""
    of_queries = e.mean(-1, keepdims=True)
    of_keys = e.mean(-2, keepdims=True) - e.mean((-1, -2), keepdims=True)
    return of_queries, of_keys, e - of_queries - of_keys


with interactive.once_solved("additive_scores"):
    rng = np.random.default_rng(93)
    queries, keys = rng.normal(size=(5, 7)), rng.normal(size=(5, 11))
    W_q, W_k, v = rng.normal(size=(7, 13)) * 0.6, rng.normal(size=(11, 13)) * 0.4, rng.normal(size=13)
    tables = {
        "without tanh": np.add.outer(queries @ W_q @ v, keys @ W_k @ v),
        "with tanh": additive_scores(queries, keys, W_q, W_k, v),
    }
    with plotting.house_style():
        fig, axes = plt.subplots(2, 5, figsize=(9.6, 3.9))
        for row, (name, e) in zip(axes, tables.items(), strict=True):
            parts = [np.broadcast_to(part, e.shape) for part in taken_apart(e)]
            reach = np.abs(e).max()
            for ax, x in zip(row, [e, *parts], strict=False):
                ax.imshow(x, cmap=plotting.SIGNED_MAP, vmin=-reach, vmax=reach)
            row[4].imshow(softmax(e), cmap=plotting.WEIGHTS_MAP, vmin=0, vmax=1)
            row[0].set_ylabel(name)
            for ax, sign in zip(row[1:], ("=", "+", "+", "⇒"), strict=True):
                ax.text(-0.14, 0.5, sign, transform=ax.transAxes, ha="center", va="center", fontsize=15)
            size = [np.abs(part).max() for part in parts]
            print(f"{name:13} greatest entry: queries {size[0]:.2f}, keys {size[1]:.2f}, the question {size[2]:.2f}")
        for ax, title in zip(axes[0], ("scores", "of the query", "of the key", "the question", "weights"), strict=True):
            ax.set_title(title)
        for ax in axes.flat:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=True, alpha=0.4)
        plt.show()

# %% [markdown]
# Softmax takes away the second column of pictures. Without tanh, only the third is left, and it is the same in every row.
# Statisticians know this cut as the analysis of variance, and the last part as the *interaction*. We shall watch it grow
# while a network learns.
#
# ## Keys, values, and empty seats
#
# Two things are missing until the reader can answer.
#
# **What it finds is not what it looks by.** The question goes by the *name*; the answer is the *hat*. So each guest has
# a key (for the scores) and a value (for the average). In the paper of 2014 one vector served as both; in a dictionary,
# in this game and in a Transformer they are two.
#
# $$c_t = \sum_s \alpha_{ts}\, v_s, \qquad \alpha = \mathrm{softmax}_s(e)$$
#
# ($v_s$ is a value; the $v$ without an index belongs to the scores. The papers are to blame.)
#
# **Not every seat is taken.** A party of three and a party of five go into one array only if the smaller is filled up,
# with zeros for instance. But a zero vector is not nothing. Its score is $v^\top \tanh(W_q q_t)$, a number like any other,
# and so it gets a share. So a **mask** comes along: an array of booleans, `True` where a query may look. A forbidden score
# becomes $-\infty$ *before* the softmax. Then its share is $e^{-\infty} = 0$, and the others add up to one by themselves.
#
# **Why not after the softmax,** by setting the shares of empty seats to zero?
#
# <details><summary>Answer</summary>
#
# Because they were part of the sum. If an empty seat took a quarter, the others together hold three quarters, and that
# is what remains when its share is crossed out: no longer an average. Chapter 5 is about nothing but masks.
#
# </details>
#
# {{exercise additive_attention}}
#
# Scores, mask, softmax, average. `queries` `(..., T, d_q)`, `keys` `(..., S, d_k)`, `values` `(..., S, d_v)`; the answer
# is `(..., T, d_v)`. `mask` is `None` (all may be looked at) or a boolean array that broadcasts to `(..., T, S)`, `True` =
# may attend. Every query may look at one key at least; what to do otherwise is a question for chapter 5.
#
# *By hand:* with all widths 1, the query $0$, the keys $1$ and $0$, $W_q = W_k = 1$ and $v = \ln 3 / \tanh 1$, the scores
# are $\ln 3$ and $0$. The values $4$ and $8$ average to $\tfrac34 \cdot 4 + \tfrac14 \cdot 8 = 5$. With the mask
# `[True, False]` the answer is $4$.
#
# <details><summary>Hint 1: the idea</summary>
#
# `np.where(condition, a, b)` takes from `a` where the condition holds, else from `b`, and broadcasts. For the average, a
# table `(T, S)` times values `(S, d_v)` is one matrix product.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `scores = additive_scores(queries, keys, W_q, W_k, v)`, then, only `if mask is not None`,
# `scores = np.where(mask, scores, -np.inf)`.
#
# </details>


# %% exercise="additive_attention"
def additive_attention(queries, keys, values, W_q, W_k, v, mask=None):
    """For each query, the average of the values whose keys fit it.

    queries      array of shape (..., T, d_q)
    keys         array of shape (..., S, d_k)
    values       array of shape (..., S, d_v)
    W_q, W_k, v  as in additive_scores
    mask         None, or booleans that broadcast to (..., T, S); True = may attend

    Returns an array of shape (..., T, d_v). Changes none of them.
    """
    ### BEGIN SOLUTION
    scores = additive_scores(queries, keys, W_q, W_k, v)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    return softmax(scores) @ values
    ### END SOLUTION


# %% [markdown]
# A small trick, good for a lifetime: **to see the weights, ask with the identity as values.** Each guest's value is then
# a unit vector, an average of them is the list of weights itself, and no function has to be opened up.
# Here are three taken seats and two empty ones, filled with zeros.

# %% tags=["demo"]
with interactive.once_solved("additive_scores and additive_attention"):
    rng = np.random.default_rng(8)
    queries, keys = rng.normal(size=(2, 7)), rng.normal(size=(5, 11))
    keys[3:] = 0.0
    W_q, W_k, v = rng.normal(size=(7, 13)), rng.normal(size=(11, 13)), rng.normal(size=13)
    taken = np.array([True, True, True, False, False])
    print("weights, no mask:\n", additive_attention(queries, keys, np.eye(5), W_q, W_k, v).round(3))
    print("\nweights, masked:\n", additive_attention(queries, keys, np.eye(5), W_q, W_k, v, taken).round(3))

# %% [markdown]
# ## The same in PyTorch
#
# NumPy knows no gradients. To *learn* $W_q$, $W_k$ and $v$, write the same as a module. `nn.Linear(n, m, bias=False)` is a
# matrix that is learned. It stores its weight the other way round, `(m, n)`, as in the paper, and calling it does
# `x @ weight.T`.
#
# {{exercise AdditiveAttention}}
#
# A class with two methods:
#
# - `__init__(self, d_q, d_k, d_hidden)` makes three layers without bias: `self.W_q` from `d_q` to `d_hidden`, `self.W_k`
#   from `d_k` to `d_hidden`, `self.v` from `d_hidden` to 1. They are found by these names, and there are no other
#   parameters.
# - `forward(self, queries, keys, values, mask=None)` takes tensors `(B, T, d_q)`, `(B, S, d_k)`, `(B, S, d_v)` and a boolean
#   tensor that broadcasts to `(B, T, S)`, and returns `(B, T, d_v)`.
#
# It is your `additive_attention` with other names: `torch.tanh`, `torch.softmax(x, dim=-1)`, and
# `scores.masked_fill(~mask, -torch.inf)` or `torch.where`. Stay in PyTorch all the way: through NumPy, no gradient flows.
#
# *By hand:* as before, with $1$ in the weights of `W_q` and `W_k` and $\ln 3 / \tanh 1 = 1.443$ in that of `v`: the query
# $0$, the keys $1$ and $0$ and the values $4$ and $8$ give $5$.
#
# <details><summary>Hint 1: the idea</summary>
#
# A layer works on the last axis and leaves all others alone. So `self.v` makes `(B, T, S, 1)` out of
# `(B, T, S, d_hidden)`; the last axis, of length 1, has to go: `[..., 0]`.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `self.W_q = nn.Linear(d_q, d_hidden, bias=False)`, and in `forward`, `a = self.W_q(queries)[:, :, None]`.
#
# </details>


# %% exercise="AdditiveAttention"
class AdditiveAttention(nn.Module):
    """Additive attention with learned W_q, W_k and v."""

    def __init__(self, d_q, d_k, d_hidden):
        super().__init__()
        ### BEGIN SOLUTION
        self.W_q = nn.Linear(d_q, d_hidden, bias=False)
        self.W_k = nn.Linear(d_k, d_hidden, bias=False)
        self.v = nn.Linear(d_hidden, 1, bias=False)
        ### END SOLUTION

    def forward(self, queries, keys, values, mask=None):
        """Queries (B, T, d_q), keys (B, S, d_k), values (B, S, d_v) to (B, T, d_v); True in the mask = may attend."""
        ### BEGIN SOLUTION
        hidden = torch.tanh(self.W_q(queries)[:, :, None] + self.W_k(keys)[:, None])  # (B, T, S, d_hidden)
        scores = self.v(hidden)[..., 0]  # (B, T, S)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return torch.softmax(scores, dim=-1) @ values
        ### END SOLUTION


# %% [markdown]
# Number by number against your NumPy, on the same parameters. And the gradient, against slopes measured by small steps:

# %% tags=["demo"]
with interactive.once_solved("AdditiveAttention and the functions before it"):
    torch.manual_seed(0)
    module = AdditiveAttention(7, 11, 13).double()
    queries, keys, values = (torch.randn(2, n, d, dtype=torch.float64) for n, d in ((3, 7), (5, 11), (5, 17)))
    mask = torch.tensor([True, True, False, True, True])
    W_q, W_k, v = (layer.weight.detach().numpy() for layer in (module.W_q, module.W_k, module.v))
    in_numpy = additive_attention(queries.numpy(), keys.numpy(), values.numpy(), W_q.T, W_k.T, v[0], mask.numpy())
    in_torch = module(queries, keys, values, mask).detach().numpy()
    queries.requires_grad_()
    agreed = torch.autograd.gradcheck(lambda q: module(q, keys, values, mask), queries)
    print(f"greatest difference between your two versions: {np.abs(in_numpy - in_torch).max():.1e}")
    print("gradcheck:", agreed)
    for name, parameter in module.named_parameters():
        print(f"{name:12} {tuple(parameter.shape)}")

# %% [markdown]
# ## The party
#
# Now let them learn. Eleven people know each other; at each party five of them sit at the table, each under a hat of a
# random colour, and each is asked for once, in another order than they sit. Names are one-hot vectors: nothing in them
# says that the question *Ben* has to do with the key *Ben*. That has to be found out, from right and wrong hats alone.
#
# Three readers, each trained on the same parties, with the same loss:
#
# 1. **by the value alone**: your first formula.
# 2. **additive, but no tanh**: it sees the question.
# 3. **additive**: your module.
#
# **Sketch three curves before you look.** Where does each end? Where does each *begin*? The dotted line is the floor that
# you computed above.


# %% tags=["demo", "hide-input"]
PEOPLE = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jun", "Kim"]


def parties(n, random, size=5):
    """n parties: questions and names (n, size, 11), hats (n, size, 4), and the right hat for each question."""
    seated = torch.rand(n, 11, generator=random).argsort(-1)[:, :size]
    hat = torch.randint(4, (n, size), generator=random)
    order = torch.rand(n, size, generator=random).argsort(-1)  # of asking
    people, colours = torch.eye(11), torch.eye(4)
    return people[seated.gather(1, order)], people[seated], colours[hat], hat.gather(1, order)


class ByTheValue(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Linear(4, 1)

    def forward(self, queries, keys, values):
        weights = torch.softmax(self.w(values), dim=1).mT  # (B, 1, S), the same for every query
        return (weights @ values).expand(-1, queries.shape[1], -1)


class WithoutTanh(nn.Module):
    def __init__(self):
        super().__init__()
        self.W_q, self.W_k = nn.Linear(11, 32, bias=False), nn.Linear(11, 32, bias=False)
        self.v = nn.Linear(32, 1, bias=False)

    def forward(self, queries, keys, values):
        scores = self.v(self.W_q(queries)) + self.v(self.W_k(keys)).mT  # (B, T, 1) + (B, 1, S)
        return scores.softmax(dim=-1) @ values


def loss_of(reader, queries, keys, values, right):
    share = reader(queries, keys, values).gather(-1, right[..., None])
    return -share.clamp(min=1e-30).log().mean()


def sizes(reader):
    """How large the part of the key and the part of the question are in the scores of all pairs of the 11 names."""
    names = torch.eye(11)[None]
    with torch.no_grad():
        log_weights = reader(names, names, names)[0].clamp(min=1e-30).log()  # the scores, but for a number a row
    _, of_keys, question = taken_apart(log_weights.double().numpy())
    return np.sqrt((of_keys**2).mean()), np.sqrt((question**2).mean())


held_out = parties(1000, torch.Generator().manual_seed(1))


def train(reader, steps=300, lr=0.003):
    """Every 5 steps: step, loss on parties never trained on, size of the key's and of the question's part."""
    random = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(reader.parameters(), lr=lr)
    history = []
    for step in range(steps + 1):
        if step % 5 == 0:
            with torch.no_grad():
                loss = loss_of(reader, *held_out).item()
            key, question = (0.0, 0.0) if isinstance(reader, ByTheValue) else sizes(reader)
            history.append((step, loss, key, question))
        optimiser.zero_grad()
        loss_of(reader, *parties(64, random)).backward()
        optimiser.step()
    return np.array(history)


makers = {
    "by the value alone": ByTheValue,
    "additive, no tanh": WithoutTanh,
    "additive": lambda: AdditiveAttention(11, 11, 32),
}


@functools.cache
def trained(name):
    """A reader and its history; trained when it is first asked for."""
    torch.manual_seed(1)
    reader = makers[name]()
    return reader, train(reader)


# %% tags=["demo", "hide-input"] alt="Left: loss on new parties over 300 steps for three readers. By the value alone, and additive without tanh, lie on the dotted floor at 1.01. Additive lies there too for some thirty steps, then falls in an S to nearly zero. Right, on a logarithmic axis, what the scores of the additive reader are made of: the question's part begins at a few thousandths, rises along a straight line and levels off above one; the key's part begins at a tenth, far above it, falls at once, and is overtaken near step forty."
with interactive.once_solved("AdditiveAttention"):
    started = time.perf_counter()
    trained.cache_clear()
    histories = {name: trained(name)[1] for name in reversed(makers)}
    share = held_out[2].mean(1)  # of each colour at each party
    floor = torch.special.entr(share).sum(-1).mean().item()
    with plotting.house_style():
        fig, (losses, growth) = plt.subplots(1, 2, figsize=(9.6, 3.6))
        looks = {"by the value alone": (GREEN, 6), "additive, no tanh": (BLUE, 2), "additive": (ORANGE, 2)}
        for name, (colour, width) in looks.items():
            step, loss, key, question = histories[name].T
            losses.plot(step, loss, "-", color=colour, linewidth=width, alpha=0.5 if width > 2 else 1, label=name)
        losses.axhline(floor, color=INK, linestyle=":")
        losses.text(300, floor + 0.04, "the floor, computed", ha="right", color=INK)
        growth.semilogy(step, question, "-", color=ORANGE, label="the question")
        growth.semilogy(step, key, "--", color=ORANGE, label="the key, for everyone")
        losses.set(xlabel="step", ylabel="loss on new parties", ylim=(-0.03, 1.15))
        losses.legend(loc="center right")
        growth.set(xlabel="step", ylabel="size in the scores of additive")
        growth.legend(loc="lower right")
        plt.show()
    for name in makers:
        history = histories[name]
        print(f"{name:20} loss {history[-1, 1]:.4f}, less the floor {history[-1, 1] - floor:+.5f}")
    print(f"floor of these 1000 parties {floor:.4f}; of all parties, from above, {FLOOR:.4f}")
    print(f"without tanh, the question in the scores is never above {histories['additive, no tanh'][:, 3].max():.0e}")
    step, loss, key, question = histories["additive"].T
    print(f"with tanh, the loss is 1% under the floor at step {step[loss < 0.99 * floor][0]:.0f}")
    print(f"with tanh, the question is as large as the key's part at step {step[question > key][0]:.0f}")
    counts = {name: sum(p.numel() for p in trained(name)[0].parameters()) for name in makers}
    print("parameters:", "; ".join(f"{name} {count}" for name, count in counts.items()))
    print(f"{time.perf_counter() - started:.1f} s for all three")

# %% [markdown]
# Two readers lie on the line. One of them is shown every question, and spends 736 parameters to arrive where the other
# arrives with five: at the number that you computed before anything was trained. Nothing crashed, the loss went down and
# settled, and no error message will ever say that the question was lost.
#
# The right panel takes the scores of the third reader apart, as you did above. The dashed line is the key's part, the
# favourites of everyone. It is what the network was born with, and it is unlearned *first*: the best that a reader can do
# who does not hear the question is the plain mean. Meanwhile the question grows. The loss begins to fall where the two
# lines come near each other; where they cross, the question outweighs everyone's favourites. (Both steps are printed.)
#
# ### Why nothing moves there
#
# Look for the gradient. In chapter 1 you showed that what comes back through softmax sums to zero over a row. A part of
# the score that is the same along the row collects just that sum. So without tanh, no step ever moves $W_q$:

# %% tags=["demo"]
with interactive.once_solved("AdditiveAttention"):
    batch = [x.double() if x.is_floating_point() else x for x in held_out]
    for name in ("additive", "additive, no tanh"):
        torch.manual_seed(1)
        reader = makers[name]().double()
        loss_of(reader, *batch).backward()
        lengths = [f"{part} {getattr(reader, part).weight.grad.norm():.0e}" for part in ("W_q", "W_k", "v")]
        print(f"{name:20} length of the gradient: {', '.join(lengths)}")

# %% [markdown]
# ### Why the third one waits
#
# Now the orange curve. At first it lies on the floor with the others, as if it had no tanh. In a sense it has none. Near
# zero, $\tanh x = x - \tfrac13 x^3 + \dots$ is a straight line, and a fresh network has small weights. The bend sits in the
# cube. Write $a$ for what the query brings to a hidden unit and $b$ for what the key brings:
#
# $$-\tfrac13 (a + b)^3 = -\tfrac13 a^3 - a^2 b - a b^2 - \tfrac13 b^3.$$
#
# The outer terms belong to the query alone and to the key alone; the question is in the two products in the middle. Make
# $W_q$ and $W_k$ twice as large. The straight part doubles, and with it what the key gets from everyone. **By what factor
# does the question grow?**

# %% tags=["demo"]
with interactive.once_solved("AdditiveAttention"):
    rows = [f"{'weights times':>14}{'key':>10}{'question':>12}{'growth':>9}"]
    previous = math.nan
    for scale in (0.125, 0.25, 0.5, 1, 2, 4, 8):
        torch.manual_seed(1)
        reader = AdditiveAttention(11, 11, 32)
        with torch.no_grad():
            reader.W_q.weight *= scale
            reader.W_k.weight *= scale
        key, question = sizes(reader)
        growth = "" if math.isnan(previous) else f"× {question / previous:.2f}"
        rows.append(f"{scale:>14}{key:10.4f}{question:12.6f}{growth:>9}")
        previous = question
    print("\n".join(rows))

# %% [markdown]
# Nearly 8, as long as the weights are small. So the reader was not idle on its plateau. It was growing its weights until
# the tanh began to bend; on the right of the figure the question grows, in a straight line on a logarithmic axis, while
# the loss takes no note. *When a loss rests on a value that you can compute, ask what the network cannot hear yet.*
#
# ### Any bend will do
#
# The theorem said so. We try five functions in that place, and count the steps until the loss is under half the floor.


# %% tags=["demo", "hide-input"]
class Bent(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.W_q, self.W_k = nn.Linear(11, 32, bias=False), nn.Linear(11, 32, bias=False)
        self.v = nn.Linear(32, 1, bias=False)
        self.f = f

    def forward(self, queries, keys, values):
        scores = [self.v(self.f(self.W_q(queries) + self.W_k(key))) for key in keys.split(1, dim=1)]  # each (B, T, 1)
        return torch.softmax(torch.cat(scores, dim=-1), dim=-1) @ values


bends = {
    "x": lambda x: x,
    "tanh x": torch.tanh,
    "max(x, 0)": torch.relu,
    "|x|": torch.abs,
    "x²": torch.square,
}
rows = [f"{'f':12}{'question at birth':>18}{'steps to half the floor':>26}{'loss at the end':>18}"]
for name, f in bends.items():
    torch.manual_seed(1)
    reader = Bent(f)
    _, question = sizes(reader)
    step, loss, *_ = train(reader).T
    arrived = step[loss < FLOOR / 2]
    steps = f"{arrived[0]:.0f}" if len(arrived) else "never"
    rows.append(f"{name:12}{question:18.4f}{steps:>26}{loss[-1]:18.4f}")
print("\n".join(rows))

# %% [markdown]
# A sharp bend is heard from the first step. And look at the square. It is *all* bend: no straight part, nothing to wait
# for. Multiply it out:
#
# $$\sum_h v_h\,(a_h + b_h)^2 = \underbrace{\sum_h v_h\, a_h^2}_{\text{query: erased}}
# + \underbrace{\sum_h v_h\, b_h^2}_{\text{key: everyone's}} + \underbrace{2 \sum_h v_h\, a_h\, b_h}_{\text{the question}}.$$
#
# All that is left of the question is a *product* of query and key, summed: a **dot product**. If that is the part that
# does the work, why not take it alone? You have just invented chapter 4.
#
# ### What the reader has learned
#
# Seven guests sit at a table, two more than it was ever trained with. Rows are questions, columns guests. We ask with the
# identity as values.

# %% tags=["demo", "hide-input"] alt="Three heat maps of weights, 7 questions by 7 guests. By the value alone and additive without tanh: all weights near one seventh, all rows alike. Additive: a bright diagonal, each question on its own guest."
with interactive.once_solved("AdditiveAttention"):
    seated = [3, 7, 0, 9, 5, 1, 10]
    names = torch.eye(11)[seated][None]
    hat = torch.eye(4)[torch.tensor([0, 1, 0, 2, 0, 3, 1])][None]
    readers = {name: trained(name)[0] for name in reversed(makers)}
    with plotting.house_style(), torch.no_grad():
        fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.4), sharey=True)
        for ax, name in zip(axes, makers, strict=True):
            reader = readers[name]
            if name == "by the value alone":
                weights = torch.softmax(reader.w(hat), dim=1).mT.expand(-1, 7, -1)[0]
            else:
                weights = reader(names, names, torch.eye(7)[None])[0]
            image = ax.imshow(weights.numpy(), cmap=plotting.WEIGHTS_MAP, vmin=0, vmax=1)
            ax.set_xticks(range(7), labels=[PEOPLE[i] for i in seated], rotation=90)
            ax.set_title(name)
        axes[0].set_yticks(range(7), labels=[f"{PEOPLE[i]}?" for i in seated])
        fig.colorbar(image, ax=axes, shrink=0.8)
        plt.show()
    for size in (2, 5, 11):
        queries, keys, values, right = parties(1000, torch.Generator().manual_seed(2), size)
        with torch.no_grad():
            correct = (readers["additive"](queries, keys, values).argmax(-1) == right).float().mean()
        print(f"{size:2} guests at the table: {correct:.1%} right")

# %% [markdown]
# It was trained on tables of five, and it reads tables of eleven. There is no five in it: the parameters belong to one
# pair of query and key, and the softmax takes as many as come. *That* is why attention reads sentences of any length.
#
# And it is why the mask matters. Here is a party of three in a batch with longer ones, its empty seats filled with zeros.
# The reader knows its guests well, and an empty seat looks like none of them. **How much of a look do the empty seats get
# at a table of 5, of 50, of 500?**

# %% tags=["demo"]
with interactive.once_solved("AdditiveAttention"):
    reader, _ = trained("additive")
    print("share of the empty seats, when Dan, Hana and Ada are asked for")
    for size in (5, 50, 500):
        names = torch.zeros(1, size, 11)
        names[0, :3] = torch.eye(11)[[3, 7, 0]]
        taken = torch.arange(size) < 3
        with torch.no_grad():
            empty = [
                reader(names[:, :3], names, torch.eye(size)[None], mask)[0, :, 3:].sum(-1).numpy()
                for mask in (None, taken)
            ]
        print(f"table of {size:3}   no mask {empty[0].round(3)}   masked {empty[1].round(3)}")

# %% [markdown]
# One empty seat gets next to nothing. Softmax adds up next to nothing as often as you let it.

# %% [markdown]
# ## What it was made for
#
# In 2014 a translating network read a sentence into *one* vector and wrote the translation out of it; long sentences did
# not fit. Bahdanau, Cho and Bengio let it look back. The query is the state of the network that writes, before the next
# word; keys and values are the states of the network that read, one a word. In each step a context $c_t$, averaged for
# that step, goes into the next word. They wrote that the decoder now had "a mechanism of attention", and the word
# stayed. You will build that translator in chapter 6, around the module that you have just written.
#
# What does it cost? The projections $W_k k_s$ do not depend on the query: $S$ of them serve all $T$ questions. But the
# tanh has to be taken for every pair and every hidden unit, $T \cdot S \cdot d_\text{hidden}$ numbers. In float32, with 64
# hidden units:

# %% tags=["demo"]
for T in (50, 500, 5000):
    table, hidden = 4 * T * T, 4 * T * T * 64
    print(f"T = S = {T:4}: weights {table / 1e6:8.2f} MB, hidden layer {hidden / 1e6:7.1f} MB")

# %% [markdown]
# That is the other reason for chapter 4. A dot product needs the table and nothing more.
#
# ## Quiz
#
# **1.** You train `value_attention` with its bias $b$. After ten thousand steps, what has become of $b$?
#
# <details><summary>Answer</summary>
#
# It is what it was at the start. $b$ moves all scores alike, so its gradient is the sum of the gradients of the scores,
# and through softmax that sum is zero. (Weight decay would shrink it; the loss never notices.)
#
# </details>
#
# **2.** A colleague bends first and adds afterwards: $v^\top(\tanh(W_q q) + \tanh(W_k k))$. Twice as many tanh, so it should
# be at least as good. Where does its loss settle at our party?
#
# <details><summary>Answer</summary>
#
# On the floor, at 1.014. It is a sum of something from the query and something from the key, and softmax cancels the
# first. It is not how *many* bends there are; it is what is inside them.
#
# </details>
#
# **3.** `a = W_q(queries)` has shape `(8, 1, 64)`, `b = W_k(keys)` has shape `(8, 20, 64)`, and `tanh(a + b)` works. Then
# someone passes twenty queries at once. What happens?
#
# <details><summary>Answer</summary>
#
# No error. Both are `(8, 20, 64)` now, so query $i$ is added to key $i$ alone, and the scores come out as `(8, 20)` where
# `(8, 20, 20)` was meant. With one query the result had been right, by broadcasting. A test with $T \ne S$, both greater
# than 1, finds it in a second.
#
# </details>
#
# **4.** All guests wear different hats, $S$ of them. What is the floor of a reader that hears no question? And one that
# may ask you a single yes-or-no question before it answers?
#
# <details><summary>Answer</summary>
#
# $\ln S$: each hat is equally likely. A yes or no can halve the candidates at best, so $\ln(S/2)$ for even $S$. The loss in
# nats counts what is not known; the right query is worth $\ln S$ nats.
#
# </details>
#
# **5. From an interview.** *"Compare additive and dot-product attention. When would you still use the additive one?"*
#
# <details><summary>A model answer</summary>
#
# Both score every query against every key, softmax the scores and average the values; they differ in the score. Additive:
# $v^\top \tanh(W_q q + W_k k)$, a small network with one hidden layer. Dot product: $q \cdot k$ after projections, a
# bilinear form. With biases and enough width the additive one can fit any continuous score; a dot product cannot, but
# what comes before it and many heads beside it make up for that.
#
# In cost: the number of pairs, $T \cdot S$, is the same. But additive needs an intermediate of $T \cdot S \cdot d_\text{hidden}$
# and a tanh on each entry, where a dot product is one matrix product, which is what the hardware is best at.
#
# In scale: additive scores are bounded by $\sum_h |v_h|$ whatever goes in. Dot products grow with the width, so they need
# $1/\sqrt{d_k}$. Vaswani et al. (2017) report that for small $d_k$ the two do about as well, and for large $d_k$ the
# additive one does better than the *unscaled* dot product.
#
# Today: dot product by default. Additive where queries and keys are few or of very different kinds, as in pointer
# networks, or over the states of a recurrent network.
#
# *What a weak answer says:* "dot-product attention is faster because it has lower complexity". The complexity in $T$ and
# $S$ is the same; the constant and the memory are not.
#
# </details>
#
# ## Summary
#
# - Attention by the value alone weighs what matters in general. Where the answer depends on the question, its loss cannot
#   go below the entropy of what is in the memory, whatever is learned.
# - Softmax sees only differences along a row. A query that is merely *added* to the score cancels, and so does its
#   gradient.
# - A score hears the question if it is not a sum of a part of the query and a part of the key: some four corners of the
#   table do not cancel. Any bend around the sum will do.
# - Additive attention: $e_{ts} = v^\top \tanh(W_q q_t + W_k k_s)$, all pairs, softmax over the keys, average of the values.
# - Small weights make tanh straight, so a fresh reader is nearly deaf: its plateau lies at the floor that you can compute.
# - Masks act on scores, before the softmax. Zeros are not nothing.
#
# ## Further reading
#
# - D. Bahdanau, K. Cho, Y. Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", 2014 (ICLR
#   2015). Introduced additive attention; its appendix notes that the keys' projections can be computed in advance.
# - A. Graves, "Generating Sequences With Recurrent Neural Networks", 2013. A year earlier: a soft window, a mixture of
#   Gaussians, that slides along the text while a network writes it by hand.
# - C. Raffel, D. P. W. Ellis, "Feed-Forward Networks with Attention Can Solve Some Long-Term Memory Problems", 2015.
#   Attention by the value alone, and what it can do.
# - M.-T. Luong, H. Pham, C. D. Manning, "Effective Approaches to Attention-based Neural Machine Translation", 2015. Compares
#   several scores, among them the dot product.
# - O. Vinyals, M. Fortunato, N. Jaitly, "Pointer Networks", 2015. Additive weights as the answer itself: which input?
# - D. Britz, A. Goldie, M.-T. Luong, Q. Le, "Massive Exploration of Neural Machine Translation Architectures", 2017. The two
#   kinds compared over many runs; the additive one came out slightly ahead there.
# - A. Vaswani et al., "Attention Is All You Need", 2017. Section 3.2.1 compares the two, and scales the dot product.
#
# **Next:** [4 · Scaled dot-product attention](../04_scaled_dot_product/04_scaled_dot_product.ipynb) keeps the product and
# drops the rest. Then the scores need a scale, and you will derive it.
