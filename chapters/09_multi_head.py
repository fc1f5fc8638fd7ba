# %% [markdown]
# # 9 · Multi-head attention
#
# **Which way is it from Ada's house to Ben's?**
#
# Attention finds Ada's house, if you ask for Ada. It finds Ben's, if you ask for Ben. Ask for both, and it gives what
# attention always gives: an average. That is a point half way between them, a good place to meet. But it is not the
# way from one to the other. The way is a *difference*, and there is no average that subtracts.
#
# Two looks at once would do it: one for Ada, one for Ben, and something behind them that takes the one from the other.
# That is multi-head attention. It costs no more than one look, to the last parameter. In this chapter you build it,
# find out what one look can never do, and then open two trained heads to see who does what. Be warned: they did
# not share the work as we had planned for them.
#
# *About two and a half hours, 65 minutes of them for the five exercises. You need chapters 4, 5 and 8.*

# %%
import functools

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from attnlab import interactive, plotting
from attnlab.dot_product import attention_weights, scaled_dot_product_attention
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN = plotting.COLOURS[:3]
INK = plotting.INK

# %% tags=["demo", "hide-input"] alt="A map with six houses as dots and a shaded polygon stretched around them. Half way between Ada's and Ben's house, inside the polygon, lies a diamond. An arrow runs from Ada's house to Ben's. The same arrow, drawn from the origin 0, ends far outside the polygon."
NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jun", "Kim"]
homes = np.array([[-1.5, 1.0], [1.5, -0.1], [-0.5, 1.4], [1.0, 1.2], [-1.2, -0.8], [0.3, -1.1]])

with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.6, 3.6))
    around = homes[[0, 4, 5, 1, 3, 2]]
    ax.fill(*around.T, color=INK, alpha=0.18, linewidth=0)
    ax.text(-0.7, 0.16, "all that one look\ncan answer", ha="center", va="center")
    for name, (x, y) in zip(NAMES, homes, strict=False):
        ax.plot(x, y, "o", color=BLUE if name in ("Ada", "Ben") else INK, markersize=9)
        ax.text(x, y + 0.14, name, ha="center", va="bottom")
    start, goal = homes[0], homes[1]
    way = goal - start
    arrow = {"arrowstyle": "-|>", "linewidth": 2, "shrinkA": 6, "shrinkB": 6}
    ax.annotate("", goal, start, arrowprops={**arrow, "color": INK, "linestyle": ":"})
    ax.plot(*(start + goal) / 2, "D", color=GREEN, markersize=8)
    ax.text(*((start + goal) / 2 + np.array([0.06, 0.1])), "half way", color=GREEN, va="bottom")
    ax.plot(0, 0, "+", color=INK, markersize=11, markeredgewidth=2)
    ax.text(-0.08, -0.1, "0", ha="right", va="top")
    ax.annotate("", way, (0, 0), arrowprops={**arrow, "color": ORANGE, "shrinkA": 0, "shrinkB": 0})
    ax.text(*(way + np.array([0.08, 0])), "Ben − Ada:\nthe answer", color=ORANGE, va="center")
    ax.set(aspect="equal", xlim=(-2.0, 4.2), ylim=(-1.5, 1.8))
    ax.axis("off")
    plt.show()

# %% [markdown]
# The values are the places of the houses. Whatever the scores, one look gives weights that are not negative and add up
# to one, so it answers with a point of the grey region. The way from Ada to Ben is the orange arrow. Its tip is outside.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(9)

# %% [markdown]
# ## Several looks, side by side
#
# A **head** is one attention as you know it from chapter 8, with its own three matrices. There are $H$ of them, and each
# works on the same input:
#
# $$\mathrm{head}_h = \mathrm{Attention}(Q\,W_q^h,\; K\,W_k^h,\; V\,W_v^h), \qquad h = 1, \dots, H.$$
#
# $Q$ is a sequence of $T$ vectors that ask, $K$ and $V$ are sequences of $S$ vectors that answer, and all of them are
# $d_\text{model}$ wide. (In self-attention all three are the same sequence.) A head is *narrow*. Its matrices lead from
# $d_\text{model}$ columns down to
#
# $$d_k = \frac{d_\text{model}}{H},$$
#
# so a head's answer is `(T, d_k)`. Put the $H$ answers side by side, and the result is `(T, d_model)`, as wide as what came
# in. One more matrix $W_o$, `(d_model, d_model)`, mixes what the heads have found:
#
# $$\mathrm{MultiHead}(Q, K, V) = [\,\mathrm{head}_1 \mid \mathrm{head}_2 \mid \dots \mid \mathrm{head}_H\,]\; W_o.$$
#
# That is all. Now for a trick. The $H$ matrices $W_q^h$, each `(d_model, d_k)`, stand side by side as well: together they
# are *one* matrix $W_q$, `(d_model, d_model)`. So nobody multiplies $H$ times. Multiply once, and cut the result into heads.
#
# ### The cut
#
# It sounds harmless, and it is the line in which most home-made Transformers break. Here are four words, `a` to `d`, with
# six columns each. They shall be cut for two heads. A tile's colour is its word, its number is its column. **Which of
# the two cuts is right? Say first what a head has to see.**

# %% tags=["demo", "hide-input"] alt="Three groups of coloured tiles. Left, the input: four rows, one a word and each of its own colour, with columns 0 to 5. Middle, cut number one: two blocks of four rows and three columns; both blocks have all four colours, the first with columns 0 to 2, the second with columns 3 to 5. Right, cut number two: two blocks of the same shape; the first holds only the colours of words a and b, each word filling two rows, the second only those of c and d."
tiles = [[f"{word}{column}" for column in range(6)] for word in "abcd"]


def draw_tiles(ax, rows, x, y, title):
    for i, row in enumerate(rows):
        for j, name in enumerate(row):
            colour = plotting.COLOURS["abcd".index(name[0])]
            ax.add_patch(plt.Rectangle((x + j, y - i), 0.94, 0.94, color=colour, linewidth=0))
            ax.text(x + j + 0.47, y - i + 0.45, name, color="white", ha="center", va="center", fontsize=10)
    ax.text(x + len(rows[0]) / 2, y + 1.25, title, ha="center")


with plotting.house_style():
    fig, ax = plt.subplots(figsize=(9, 3.2))
    draw_tiles(ax, tiles, 0, 3, "input: T = 4, d_model = 6")
    for cut, left in ((1, 8), (2, 17)):
        for head in range(2):
            if cut == 1:
                rows = [row[3 * head : 3 * head + 3] for row in tiles]
            else:
                rows = np.reshape(tiles, (2, 4, 3))[head].tolist()
            draw_tiles(ax, rows, left + 3.6 * head, 3, f"head {head + 1}")
        ax.text(left + 3.3, -0.6, f"cut number {cut}", ha="center", va="top", fontsize=12)
    ax.set(xlim=(-0.3, 24), ylim=(-1.5, 5), aspect="equal")
    ax.axis("off")
    plt.show()

# %% [markdown]
# Both have the shape that is wanted: two heads, four rows, three columns. But a head has to see *every word*, through a
# few columns. Number one does that. In number two, the first head has never heard of the words `c` and `d`.
#
# Number two is what `x.reshape(B, H, T, d_k)` does. Reshape does not move anything. It reads the numbers in the order in which
# they lie in memory, row after row, and fills the new shape in that order. No error, right shape, wrong heads.
#
# {{exercise split_heads}}
#
# `x` has the shape `(B, T, d_model)`, with $d_\text{model}$ a multiple of `num_heads`. Return `(B, H, T, d_k)`: head $h$ holds the
# columns $h\,d_k$ to $(h+1)\,d_k$ (the last not included) of every position.
#
# *By hand:* two words `[1 2 3 4]` and `[5 6 7 8]`, two heads. The first head gets `[1 2]` and `[5 6]`, the second `[3 4]` and
# `[7 8]`.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two steps. First cut the *columns*, and nothing else: the last axis becomes two, heads and columns of a head. Memory
# order agrees with that. Then two axes change places.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `B, T, d_model = x.shape`, then `pieces = x.reshape(B, T, num_heads, d_model // num_heads)`.
#
# </details>


# %% exercise="split_heads"
def split_heads(x, num_heads):
    """Cut the columns into heads.

    x          shape (B, T, d_model)
    num_heads  how many heads there are; it divides d_model

    Returns the heads, shape (B, H, T, d_k). Does not change x.
    """
    ### BEGIN SOLUTION
    B, T, d_model = x.shape
    pieces = x.reshape(B, T, num_heads, d_model // num_heads)
    return pieces.transpose(1, 2)
    ### END SOLUTION


# %% [markdown]
# {{exercise merge_heads}}
#
# The way back: from `(B, H, T, d_k)` to `(B, T, H * d_k)`, so that each position has the rows of all heads side by side, the first
# head first.
#
# *By hand:* the heads `[1 2], [5 6]` and `[3 4], [7 8]` make `[1 2 3 4]` and `[5 6 7 8]` again.
#
# <details><summary>Hint 1: the idea</summary>
#
# The same two steps, the other way round, in the other order.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `B, H, T, d_k = x.shape`, then `x.transpose(1, 2)`, which is `(B, T, H, d_k)`. If `.view` complains, read what it says.
#
# </details>


# %% exercise="merge_heads"
def merge_heads(x):
    """Put the heads side by side.

    x  shape (B, H, T, d_k)

    Returns shape (B, T, H * d_k). Does not change x.
    """
    ### BEGIN SOLUTION
    B, H, T, d_k = x.shape
    return x.transpose(1, 2).reshape(B, T, H * d_k)
    ### END SOLUTION


# %% [markdown]
# How would you test these two? Most people write: *split, merge, and look whether it is what it was*. Try that on yours,
# and on the wrong pair.

# %% tags=["demo"]
x = torch.arange(48.0).reshape(2, 4, 6)


def split_wrongly(x, num_heads):
    batch, length, width = x.shape
    return x.reshape(batch, num_heads, length, width // num_heads)


def merge_wrongly(x):
    batch, _, length, _ = x.shape
    return x.reshape(batch, length, -1)


with interactive.once_solved("split_heads and merge_heads"):
    print("yours comes back:         ", torch.equal(merge_heads(split_heads(x, 2)), x))
    print("the wrong pair comes back:", torch.equal(merge_wrongly(split_wrongly(x, 2)), x))

# %% [markdown]
# Two mistakes that undo each other. A round trip cannot see them. We come back to what they do to a model, as soon as
# there is one.
#
# ## The whole
#
# {{exercise multi_head_attention}}
#
# Write the formula: project, split, attend, merge, mix. `query` is `(B, T, d_model)`, `key` and `value` are
# `(B, S, d_model)`, all four matrices are `(d_model, d_model)` and stand as in the formula: `query @ W_q`. The answer is
# `(B, T, d_model)`.
#
# The attention of chapters 4 and 5 is imported: `scaled_dot_product_attention(q, k, v, mask)`. It takes any axes in front of
# the last two, divides by the root of the width that it is given, and a query that may see nothing gets zeros. So it
# does here. `mask` is boolean, True means *may attend*, and it broadcasts to `(B, H, T, S)` as it comes.
#
# *By hand:* two heads of width 1, all matrices the identity, one query $(1, 1)$. The keys are $(\ln 3, 0)$ and
# $(0, \ln 3)$, the values $(4, 4)$ and $(8, 8)$. The first head sees first columns only: scores $\ln 3$ and $0$, shares
# $\tfrac34$ and $\tfrac14$, answer $\tfrac34 \cdot 4 + \tfrac14 \cdot 8 = 5$. The second has the shares
# $\tfrac14$ and $\tfrac34$, and answers 7. Side by side: $(5, 7)$. (One wide head would score both keys alike, and answer
# $(6, 6)$. It cannot look in two directions at once.)
#
# <details><summary>Hint 1: the idea</summary>
#
# Five steps, and you have a function or an `@` for each. Split three times, merge once. Neither the scale nor the softmax
# is yours to write.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `q = split_heads(query @ W_q, num_heads)`
#
# </details>


# %% exercise="multi_head_attention"
def multi_head_attention(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """Several attentions side by side, and mixed by W_o.

    query               shape (B, T, d_model)
    key, value          shape (B, S, d_model)
    W_q, W_k, W_v, W_o  shape (d_model, d_model)
    num_heads           how many heads there are; it divides d_model
    mask                boolean, True = may attend, broadcasts to (B, H, T, S)

    Returns shape (B, T, d_model). Changes nothing that was passed in.
    """
    ### BEGIN SOLUTION
    q = split_heads(query @ W_q, num_heads)
    k = split_heads(key @ W_k, num_heads)
    v = split_heads(value @ W_v, num_heads)
    heads = scaled_dot_product_attention(q, k, v, mask)
    return merge_heads(heads) @ W_o
    ### END SOLUTION


# %% [markdown]
# ### The same as a sum
#
# "Side by side, then times $W_o$" has a second reading, and it is the better one to think with. The first $d_k$ columns of
# the merged answer meet only the first $d_k$ *rows* of $W_o$, the next only the next. Call the rows of head $h$
# $W_o^h$, `(d_k, d_model)`. Then
#
# $$[\,\mathrm{head}_1 \mid \dots \mid \mathrm{head}_H\,]\,W_o = \sum_h \mathrm{head}_h\, W_o^h.$$
#
# **Heads are added up.** None of them knows of the others. Written out for query $t$, with $\alpha^h_{ts}$ for the
# weights of head $h$ and $v_s$ for the value at position $s$, as it came in:
#
# $$o_t = \sum_h \sum_s \alpha^h_{ts}\; v_s\, M^h, \qquad M^h = W_v^h\, W_o^h.$$
#
# So a head is two things. $\alpha^h$ says *where it looks*, and the matrix $M^h$ says *what it makes of what it finds*.
# And $M^h$ may well have a minus in it.

# %% tags=["demo"]
with interactive.once_solved("multi_head_attention"):
    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, n, 12, generator=random, dtype=torch.float64) for n in (5, 7, 7))
    W_q, W_k, W_v, W_o = torch.randn(4, 12, 12, generator=random, dtype=torch.float64) / 12**0.5
    whole = multi_head_attention(query, key, value, W_q, W_k, W_v, W_o, 3)
    total = torch.zeros(1, 5, 12, dtype=torch.float64)
    for columns in (slice(0, 4), slice(4, 8), slice(8, 12)):
        weights = attention_weights(query @ W_q[:, columns], key @ W_k[:, columns])  # (1, 5, 7)
        M = W_v[:, columns] @ W_o[columns]  # (12, 12), of rank 4
        total += weights @ value @ M
    print(f"your function and the sum over three heads differ by {(whole - total).abs().max():.1e} at most")

# %% [markdown]
# ### What the wrong cut does to a model
#
# Now for the two mistakes. Eight words, two heads, and a causal mask: word $t$ may look at words up to $t$. In the picture
# a square is filled if the input at that column has *any* influence on the output at that row. It is measured, by
# differentiating. There are four ways to combine a right or a wrong split with a right or a wrong merge. **You know what
# the first must look like. Guess the other three, before you scroll.**

# %% tags=["demo", "hide-input"] alt="Four grids of eight rows, the output, and eight columns, the input. Right split, right merge: the lower triangle is filled. Wrong split, wrong merge: two small triangles, so words 5 to 8 do not see words 1 to 4, and nothing above the diagonal. Right split, wrong merge: stairs twice, with many orange squares above the diagonal. Wrong split, right merge: the squares of words 1 to 4 repeated under words 5 to 8, with orange squares above the diagonal."
with interactive.once_solved("split_heads and merge_heads"):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 8, 8, generator=random, dtype=torch.float64)
    matrices = torch.randn(4, 8, 8, generator=random, dtype=torch.float64) / 8**0.5
    causal = torch.ones(8, 8, dtype=torch.bool).tril()

    def influence(split, merge):
        """Does the input at s change the output at t? Shape (8, 8)."""

        def model(x):
            q, k, v = (split(x @ W, 2) for W in matrices[:3])
            return merge(scaled_dot_product_attention(q, k, v, causal)) @ matrices[3]

        slopes = torch.autograd.functional.jacobian(model, x)  # (1, T, d, 1, S, d)
        return slopes[0, :, :, 0].abs().amax((1, 3)) > 1e-12

    ways = {
        "split right, merge right": (split_heads, merge_heads),
        "both wrong": (split_wrongly, merge_wrongly),
        "merge wrong": (split_heads, merge_wrongly),
        "split wrong": (split_wrongly, merge_heads),
    }
    with plotting.house_style():
        fig, axes = plt.subplots(1, 4, figsize=(9.4, 2.9), sharey=True)
        for ax, (name, (split, merge)) in zip(axes, ways.items(), strict=True):
            seen = influence(split, merge).numpy()
            for t in range(8):
                for s in range(8):
                    if seen[t, s]:
                        colour = ORANGE if s > t else BLUE
                        ax.add_patch(plt.Rectangle((s + 0.54, t + 0.54), 0.92, 0.92, color=colour, linewidth=0))
            ax.plot([0.5, 8.5], [0.5, 8.5], ":", color=INK, linewidth=1)
            leaks, blind = (seen & ~causal.numpy()).sum(), (~seen & causal.numpy()).sum()
            ax.set(xlim=(0.5, 8.5), ylim=(8.5, 0.5), aspect="equal", title=name, xticks=(1, 4, 8), yticks=(1, 4, 8))
            ax.set_xlabel(f"{leaks} leak, {blind} blind")
        axes[0].set_ylabel("output of word")
        plt.show()

# %% [markdown]
# Orange squares look into the future. With *one* mistake the model sees words that the mask forbids, though the mask is
# right and was applied. Its loss in training is too good to be true. With *both* mistakes there is no leak. There is
# something harder to notice: the second half of the text does not see the first half at all. Such a model trains without
# a complaint, and nobody looks for the mistake.
#
# The picture is a test, too. Keep it: *differentiate the output at $t$ by the input at $s$, and look at what is zero.*
#
# ## What do heads cost?
#
# One head of width 512, or eight of width 64? **Before you compute: which has more parameters?**
#
# {{exercise parameter_count}}
#
# Return how many numbers the four matrices $W_q$, $W_k$, $W_v$, $W_o$ hold, for `num_heads` heads. With `bias=True` each of the
# four products has a bias besides: a vector that is added to every row of what comes out.
#
# *By hand:* $d_\text{model} = 6$ and 3 heads of width 2. A head has three matrices of $6 \times 2 = 12$ numbers, so three
# heads have $3 \cdot 36 = 108$. $W_o$ has 36. Together 144.
#
# <details><summary>Hint 1: the idea</summary>
#
# Write it as the formula has it, head by head, and see what cancels.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `d_k = d_model // num_heads`. The heads have $H$ times $3 \cdot d_\text{model} \cdot d_k$ numbers.
#
# </details>


# %% exercise="parameter_count"
def parameter_count(d_model, num_heads, bias=False):
    """How many numbers the four matrices of multi-head attention hold, with their biases if bias is True."""
    ### BEGIN SOLUTION
    d_k = d_model // num_heads
    into_heads = 3 * num_heads * d_model * d_k
    out_of_heads = num_heads * d_k * d_model
    biases = 4 * d_model if bias else 0
    return into_heads + out_of_heads + biases
    ### END SOLUTION


# %% tags=["demo"]
with interactive.once_solved("parameter_count"):
    report = [f"{'heads':>6}{'width':>8}{'parameters':>13}{'multiplied for scores':>23}{'weights of 1,024 words':>24}"]
    for num_heads in (1, 2, 8, 64, 512):
        d_k = 512 // num_heads
        products, weights = num_heads * 1024 * 1024 * d_k, num_heads * 1024 * 1024
        report.append(f"{num_heads:6}{d_k:8}{parameter_count(512, num_heads):13,}{products:23,}{weights:24,}")
    print("\n".join(report))

# %% [markdown]
# Parameters: the same. Multiplications: the same. One thing grows: every head has a table of weights of its own,
# $T \times S$ numbers. (Chapter 25 is about not writing them down.) Heads are free, *because they are narrow*. Whether narrow
# is enough is a question for the experiment.
#
# ## As a module
#
# To learn, the matrices have to become parameters. While we are at it, two things that the paper's formula does not have,
# and that every library has:
#
# - **Biases.** `nn.Linear(d_model, d_model)` computes $x W + b$, and it is what PyTorch's own module uses for all four.
# - **Dropout.** In training, each attention weight is made zero with probability $p$, and the others are divided by $1 - p$
#   so that sums stay right on average. A head must not rely on any single look. It falls *after* the softmax: what
#   is dropped is a weight, not a score. In evaluation nothing is dropped. `nn.Dropout(p)` does all of that, and knows
#   by itself whether the module is training.
#
# {{exercise MultiHeadAttention}}
#
# A class with two methods:
#
# - `__init__(self, d_model, num_heads, dropout=0.0)` makes four layers with biases, `self.W_q`, `self.W_k`, `self.W_v`,
#   `self.W_o`, each from `d_model` to `d_model`. They are found by these names, and there are no other parameters. If `num_heads`
#   does not divide `d_model`, it raises a `ValueError` that says so: here, and not three files further on.
# - `forward(self, query, key, value, mask=None)` returns `(B, T, d_model)`, as your function does. Masks mean what they meant
#   there, and a query that may see nothing finds zeros. (Then $W_o$ adds its bias.)
#
# For dropout you need the weights in your hands: `attention_weights(q, k, mask)` is imported. It is the first half of
# attention, scale, mask and softmax; the other half is `weights @ v`.
#
# *By hand:* with weights of 1 in all layers and biases of 0, $d_\text{model} = 1$ and one head: the query $0$ scores all
# keys alike, so the values $4$ and $8$ give $6$. Now make the bias of `W_o` 1: the answer is $7$.
#
# <details><summary>Hint 1: the idea</summary>
#
# `forward` is your `multi_head_attention` with `self.W_q(query)` in place of `query @ W_q`, and with attention in two lines
# instead of one, so that dropout fits in between.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `if d_model % num_heads: raise ValueError(f"…")`, and in `forward`, `q = split_heads(self.W_q(query), self.num_heads)`.
#
# </details>


# %% exercise="MultiHeadAttention"
class MultiHeadAttention(nn.Module):
    """Multi-head attention with its parameters."""

    def __init__(self, d_model, num_heads, dropout=0.0):
        super().__init__()
        ### BEGIN SOLUTION
        if d_model % num_heads:
            raise ValueError(f"num_heads must divide d_model; got d_model = {d_model} and num_heads = {num_heads}")
        self.num_heads = num_heads
        self.W_q = nn.Linear(d_model, d_model)
        self.W_k = nn.Linear(d_model, d_model)
        self.W_v = nn.Linear(d_model, d_model)
        self.W_o = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, query, key, value, mask=None):
        """(B, T, d_model), (B, S, d_model), (B, S, d_model) to (B, T, d_model); True in the mask = may attend."""
        ### BEGIN SOLUTION
        q = split_heads(self.W_q(query), self.num_heads)
        k = split_heads(self.W_k(key), self.num_heads)
        v = split_heads(self.W_v(value), self.num_heads)
        weights = self.dropout(attention_weights(q, k, mask))
        return self.W_o(merge_heads(weights @ v))
        ### END SOLUTION


# %% [markdown]
# ## The experiment: the village
#
# Eleven people live in a village, but not all of them are at home. Six are, each time others, and their houses stand
# somewhere else each time. Two sorts of question are asked:
#
# - **walk**: *which way is it from Ada's to Ben's?* The answer is Ben's place minus Ada's.
# - **meet**: *where do Ada and Ben meet half way?* The answer is the mean of the two places.
#
# A query says who and who: two one-hot names, 22 numbers. A key is a one-hot name. A value is a place on the map, two
# numbers, drawn from a normal distribution. Everything is filled up with zeros to $d_\text{model} = 24$, and the first two
# numbers that come out are the answer. Who is not at home is masked.
#
# What is special about it: *we know what has to be looked up.* Two houses, no more, and we know which. So we can
# look whether the heads do it.


# %% tags=["demo"]
def villages(n, random, sizes=(6,), task="walk", d_model=24, asked=4):
    """n villages with `asked` questions each: query, key, value, mask, the answers, and who is start and goal."""
    sizes = torch.tensor(sizes)[torch.randint(len(sizes), (n,), generator=random)][:, None]
    people = torch.rand(n, 11, generator=random).argsort(-1)  # the first of them are at home
    places = torch.randn(n, 11, 2, generator=random)
    start = (torch.rand(n, asked, generator=random) * sizes).long()
    goal = (start + 1 + (torch.rand(n, asked, generator=random) * (sizes - 1)).long()) % sizes
    names, village = torch.eye(11)[people], torch.arange(n)[:, None]
    query = torch.cat([names[village, start], names[village, goal]], -1)
    query, key, value = (nn.functional.pad(x, (0, d_model - x.shape[-1])) for x in (query, names, places))
    at_home = (torch.arange(11) < sizes)[:, None, None]  # (n, 1, 1, 11)
    a, b = places[village, start], places[village, goal]
    return query, key, value, at_home, b - a if task == "walk" else (a + b) / 2, start, goal


def train(num_heads, sizes=(6,), task="walk", d_model=24, steps=500, seed=0):
    torch.manual_seed(seed)
    model = MultiHeadAttention(d_model, num_heads)
    for layer in (model.W_q, model.W_k, model.W_v, model.W_o):  # everybody's network starts alike
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        query, key, value, mask, answer, _, _ = villages(64, random, sizes, task, d_model)
        loss = ((model(query, key, value, mask)[..., :2] - answer) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@torch.no_grad()
def error(model, sizes=(6,), task="walk", d_model=24):
    """Mean squared error on new villages, as a share of the variance of the answers: 0 is perfect, 1 is a guess."""
    query, key, value, mask, answer, _, _ = villages(2000, torch.Generator().manual_seed(99), sizes, task, d_model)
    return (((model(query, key, value, mask)[..., :2] - answer) ** 2).sum() / (answer**2).sum()).item()


# %% [markdown]
# ### What one head cannot do
#
# We can say beforehand how well one head can do. It brings back one point $u = \alpha a + \beta b + \dots$, where
# $\alpha$ is the weight on the start $a$ and $\beta$ that on the goal $b$. Take one coordinate. All places are independent,
# of variance 1, and the weights do not depend on them (keys hold names only). The answer $y = b - a$ has variance 2, and
# what knowing $u$ can explain of it is
#
# $$\frac{\mathrm{Cov}(y, u)^2}{\mathrm{Var}(u)} \le \frac{(\beta - \alpha)^2}{\alpha^2 + \beta^2}
# = 1 - \frac{2\alpha\beta}{\alpha^2 + \beta^2} \le 1.$$
#
# The last step is where softmax comes in: $\alpha$ and $\beta$ are *not negative*. So at least 1 of 2 remains
# unexplained, **half of the variance**, whatever is learned. It does not help to put a large network behind the head: what
# is not in $u$ cannot be computed from it. (The places are normally distributed, so the best that can be made of $u$ is
# linear, and the formula is about that.) Nor does it help to make the head wider. And the best it can do, equality, is
# to look at *one* of the two houses and forget the other.
#
# For *meet* the same formula has a plus, $\frac{(\alpha+\beta)^2}{\alpha^2+\beta^2}$, which is 2 for $\alpha = \beta$: all of
# it. One head is enough for an average.
#
# All networks in the next picture have the same number of parameters; they differ in the number of heads. **Draw the
# two curves, from 1 head of width 24 to 24 heads of width 1.**

# %% tags=["demo", "hide-input"] alt="Error against the number of heads, both axes logarithmic. Walk: the first point, one head, lies on the dotted line at one half; with two heads the error falls by a factor of about a hundred, and then it rises slowly with the number of heads. Meet: low at one head already, rising slowly to the right."
with interactive.once_solved("parameter_count and MultiHeadAttention"):
    heads = (1, 2, 4, 8, 12, 24)
    errors = {task: [error(train(n, task=task), task=task) for n in heads] for task in ("walk", "meet")}
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(7.2, 3.6))
        for (task, found), colour, mark in zip(errors.items(), (ORANGE, BLUE), "os", strict=True):
            ax.plot(heads, found, "-" + mark, color=colour, label=task)
        ax.axhline(0.5, linestyle=":", color=INK)
        ax.text(24, 0.56, "floor for one head that walks", ha="right", va="bottom")
        ax.set(xscale="log", yscale="log", xlabel="number of heads (width)", ylabel="error", ylim=(1e-3, 1.6))
        ax.set_xticks(heads, labels=[f"{n}\n({24 // n})" for n in heads])
        ax.minorticks_off()
        ax.legend(loc="lower right")
        plt.show()
    print("heads   " + "".join(f"{n:>9}" for n in heads))
    for task, found in errors.items():
        print(f"{task:8}" + "".join(f"{e:9.4f}" for e in found))
    wide = error(train(1, d_model=96), d_model=96)
    ratio = parameter_count(96, 1) / parameter_count(24, 2)
    print(f"one head, d_model = 96, with {ratio:.0f} times the matrices of two heads: {wide:.4f}")

# %% [markdown]
# One head that walks stands at the floor, and with sixteen times the parameters it still stands there. (A hair above it:
# no softmax gives *all* its weight to one house.) The second head costs nothing, and removes 99% of the error.
#
# And then *more is not better*. Every network had 500 steps. A head of width 1 has one number for a name, so it can single
# out only the two people at the ends of its line; chapter 4 saw why (a key inside the hull of the others is never found
# alone). Twenty-four such heads together can still do it, with much patience. The number of heads is a compromise: as
# many looks as the task needs, each wide enough to find what it looks for.
#
# ### What the two heads do
#
# So the network with two heads has solved it. Surely one head looks up the start, and one the goal, and $W_o$ subtracts.
# **Write down what weight you expect on the start and on the goal, in each of the two heads.** Then look at six questions
# in one village, after 1,500 steps of training.

# %% tags=["demo", "hide-input"] alt="Three tables with six questions as rows and the six people at home as columns. Head 1 and head 2: in each row one cell is brightest, at just under a half; it is the start in one head and the goal in the other. But all other cells are far from dark: about a tenth each. Third table, the two heads added up with their signs: in each row exactly one deep red cell, plus one, at the goal, one deep blue cell, minus one, at the start, and the others are white, zero."
HOMES = {"6": (6,), "2 to 11": tuple(range(2, 12))}  # how many are at home


@functools.cache
def trained(at_home):
    """A network with two heads; trained when it is first asked for."""
    return train(2, sizes=HOMES[at_home], steps=1500)


@torch.no_grad()
def looks(model, query, key, mask):
    """The weights of each head, (B, H, T, S)."""
    q, k = (split_heads(W(x), model.num_heads) for W, x in ((model.W_q, query), (model.W_k, key)))
    return attention_weights(q, k, mask)


@torch.no_grad()
def made_of_it(model, head):
    """M of one head, cut down to the map: what it makes of a place, (2, 2)."""
    d_k = model.W_v.out_features // model.num_heads
    own = slice(head * d_k, (head + 1) * d_k)
    return model.W_v.weight[own, :2].T @ model.W_o.weight[:2, own].T  # nn.Linear keeps its matrix turned over


with interactive.once_solved("split_heads and MultiHeadAttention"):
    trained.cache_clear()
    walker = trained("6")
    query, key, value, mask, answer, start, goal = villages(1, torch.Generator().manual_seed(3), asked=6)
    weights = looks(walker, query, key, mask)[0, :, :, :6]  # (H, T, S), those at home
    size = [made_of_it(walker, head).diagonal().mean() for head in range(2)]
    together = sum(m * w for m, w in zip(size, weights, strict=True))
    who = [NAMES[i] for i in key[0, :6, :11].argmax(-1)]
    rows = [f"{who[a]} → {who[b]}" for a, b in zip(start[0], goal[0], strict=True)]
    with plotting.house_style():
        fig, axes = plt.subplots(1, 3, figsize=(9.4, 3.4), sharey=True)
        panels = [(weights[0], "head 1"), (weights[1], "head 2"), (together, "both, with their signs")]
        for ax, (table, title) in zip(axes, panels, strict=True):
            signed = table is together
            cmap, low = (plotting.SIGNED_MAP, -1) if signed else (plotting.WEIGHTS_MAP, 0)
            ax.imshow(table, cmap=cmap, vmin=low, vmax=1)
            for (t, s), value_there in np.ndenumerate(table.numpy()):
                deep = abs(value_there) > 0.5 if signed else value_there < 0.6
                text = f"{value_there + 0:.2f}".replace("-0.00", "0.00")
                ax.text(s, t, text, ha="center", va="center", fontsize=8, color="white" if deep else "black")
            ax.set_xticks(range(6), labels=who, rotation=45)
            ax.set_yticks(range(6), labels=rows)
            ax.tick_params(length=0)
            ax.set_title(title)
        plt.show()
    for head in range(2):
        (a, b), (c, d) = (made_of_it(walker, head).round(decimals=2) + 0.0).tolist()
        print(f"head {head + 1} makes of a place (x, y): ({a:.2f} x + {c:.2f} y, {b:.2f} x + {d:.2f} y)")
    print(f"error: {error(walker):.1e}")

# %% [markdown]
# Not what we had in mind. One head *leans* towards the start, the other towards the goal, but neither gives its
# favourite even half of its weight. Judged by its map, each head is hopelessly undecided. And yet the answers
# are right, to a few hundred-thousandths of the variance.
#
# Look at what the heads make of a place: one multiplies it by about $+2.3$, the other by about $-2.3$. Only the *sum* is the
# answer, and in the sum, on the right, everything falls into place: $+1$ at the goal, $-1$ at the start, **and
# nothing elsewhere**. The two heads give the same share to every bystander, and with opposite signs these shares cancel.
#
# It is cleverer than our plan. Let each head score its favourite $a$, the favourite of the other head $b$, and a bystander
# $0$. Our plan wants all weight on one person, so $a \to \infty$: a softmax never says exactly 1 or exactly 0. The network wants only
#
# $$m\,\frac{e^a - e^b}{Z} = 1, \qquad Z = e^a + e^b + 4,$$
#
# and any $a > b$ will do, with the right $m$. One softmax cannot say zero. Two can.
#
# Two lessons for every picture of heads that you will ever see. **Heads are added up, so they must not be read one by one.**
# And a map shows where a head looks, not what is made of it: without the sign of $M^h$ there is half of the story.
#
# ### Would you trust it?
#
# There is a 4 in that formula: six people at home, two of them asked about, four bystanders. It has gone into $m$, which is
# a weight and does not change. **What will this network answer when all eleven are at home?** Work it out before you
# look: each bystander has about 0.114 of a head's weight when there are four of them. What becomes of the other weights when
# there are nine?
#
# <details><summary>The answer</summary>
#
# Five more bystanders, so $Z$ grows to $1 + 5 \cdot 0.114 = 1.57$ times what it was, and every weight shrinks by that
# factor. Bystanders still cancel. The arrow points in the right direction, and has $1/1.57 = 0.64$ of the right length.
#
# </details>
#
# You can watch it happen, on the scores of *your* trained module: the two heads, and all eleven people as keys, of whom the last
# five are not at home. **Point at the favourite of a row and write its weight down, for both heads. What will it be when you
# untick *as given* and all eleven come home?** (Then bring home only one of them for one question: click a cell.)


# %% tags=["demo"]
@torch.no_grad()
def come_home():
    with interactive.once_solved("split_heads and MultiHeadAttention"):
        query, key, _, mask, _, start, goal = villages(1, torch.Generator().manual_seed(3), asked=6)
        q, k = (split_heads(W(x), 2)[0] for W, x in ((trained("6").W_q, query), (trained("6").W_k, key)))
        who = [NAMES[i] for i in key[0, :, :11].argmax(-1)]
        rows = [f"{who[a]} → {who[b]}" for a, b in zip(start[0], goal[0], strict=True)]
        return interactive.attention_map(scores=q @ k.mT / k.shape[-1] ** 0.5, queries=rows, keys=who, mask=mask[0, 0])


come_home()

# %% tags=["demo", "hide-input"] alt="Left: a village with eleven houses and four arrows from house to house in grey; over each lies an orange arrow in the same direction that ends at about two thirds of the way. Right: length of the answer, as a share of the right length, against the number of people at home from 2 to 11. Orange dots, trained with six at home: nearly 1.9 at two, exactly 1 at six, 0.64 at eleven, on the dotted prediction. Blue squares, trained with 2 to 11 at home: near 1 everywhere."


@torch.no_grad()
def length(model, size):
    """How long the answers are, as a share of the right length, measured along the right direction."""
    query, key, value, mask, answer, _, _ = villages(500, torch.Generator().manual_seed(99), (size,))
    given = model(query, key, value, mask)[..., :2]
    return ((given * answer).sum() / (answer * answer).sum()).item()


with interactive.once_solved("split_heads and MultiHeadAttention"):
    walker = trained("6")
    query, key, value, mask, answer, start, goal = villages(500, torch.Generator().manual_seed(1))
    weights = looks(walker, query, key, mask)
    asked_about = torch.zeros(500, 4, 11).scatter(-1, torch.stack([start, goal], -1), 1.0)[:, None]
    bystander = ((weights * (1 - asked_about)).sum(-1) / 4).mean().item()  # the share of each, six at home

    sizes = np.arange(2, 12)
    lengths = {name: [length(trained(name), n) for n in sizes] for name in HOMES}
    predicted = 1 / (1 + (sizes - 6) * bystander)
    with plotting.house_style():
        fig, (village, ax) = plt.subplots(1, 2, figsize=(9.4, 3.8), width_ratios=[1, 1.15])
        query, key, value, mask, answer, start, goal = villages(1, torch.Generator().manual_seed(4), (11,))
        with torch.no_grad():
            given = walker(query, key, value, mask)[0, :, :2]
        places = value[0, :, :2]
        village.plot(*places.T, "o", color=INK, markersize=7)
        for a, b, way in zip(start[0], goal[0], given, strict=True):
            for tip, colour, wide in ((places[b], INK, 1.5), (places[a] + way, ORANGE, 2.5)):
                arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": wide, "shrinkA": 0, "shrinkB": 0}
                village.annotate("", tip.tolist(), places[a].tolist(), arrowprops=arrow)
        village.set(aspect="equal", title="eleven at home")
        village.margins(0.12)
        village.axis("off")
        ax.plot(sizes, predicted, ":", color=INK, linewidth=3, label="predicted from one number")
        for (name, found), colour, mark in zip(lengths.items(), (ORANGE, BLUE), "os", strict=True):
            ax.plot(sizes, found, mark, color=colour, label=f"trained with {name} at home")
        ax.set(xlabel="people at home", ylabel="length of the answer", xticks=sizes, ylim=(0.4, 2.05))
        ax.grid(axis="y")
        ax.legend()
        plt.show()
    print(f"share of a bystander, six at home: {bystander:.3f}")
    print(f"eleven at home: length {lengths['6'][-1]:.2f}, predicted {predicted[-1]:.2f}")

# %% [markdown]
# Nothing in the training had ever shown that this was a shortcut. A village of another size shows it at once, and two
# minutes with the weights would have shown it beforehand.
#
# The blue squares come from a second network of the same kind, trained with anything from 2 to 11 people at home. Now no single $m$ is right
# for all sizes. **What must the heads do?** Here is the share that each head gives to the start and to the goal, for
# both networks, with six at home:

# %% tags=["demo"]
with interactive.once_solved("split_heads and MultiHeadAttention"):
    query, key, value, mask, answer, start, goal = villages(500, torch.Generator().manual_seed(1))
    for name in HOMES:
        model = trained(name)
        weights = looks(model, query, key, mask)
        for head in range(2):
            on_start, on_goal = (weights[:, head].gather(-1, w[..., None]).mean() for w in (start, goal))
            m = made_of_it(model, head).diagonal().mean()
            print(f"trained with {name:8} head {head + 1}: start {on_start:4.0%}, goal {on_goal:4.0%}, times {m:+.2f}")

# %% [markdown]
# *This* is the division of labour that we expected: one head fetches the start, times $-1$, the other the goal, times
# $+1$. The architecture is the same, and so is the question. What a head becomes was decided by what the data let it get away
# with.
#
# ## The same in PyTorch
#
# `nn.MultiheadAttention` keeps $W_q$, $W_k$ and $W_v$ on top of each other in one parameter, `in_proj_weight`, of shape
# `(3 * d_model, d_model)`; `out_proj` is $W_o$. Take its weights apart, give them to your module, and compare number by
# number: outputs, the weights of all heads, and gradients.


# %% tags=["demo"]
def taken_over(theirs):
    """Your module with the weights of PyTorch's."""
    yours = MultiHeadAttention(theirs.embed_dim, theirs.num_heads).to(theirs.in_proj_weight.dtype).eval()
    state = {"W_o.weight": theirs.out_proj.weight, "W_o.bias": theirs.out_proj.bias}
    for name, W, b in zip("qkv", theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True):
        state |= {f"W_{name}.weight": W, f"W_{name}.bias": b}
    yours.load_state_dict(state)
    return yours


torch.manual_seed(0)
theirs = nn.MultiheadAttention(24, 3, batch_first=True).double().eval()
nn.init.normal_(theirs.in_proj_bias)  # they start at zero, which would hide a mistake
nn.init.normal_(theirs.out_proj.bias)
x, memory = (torch.randn(2, n, 24, dtype=torch.float64, requires_grad=True) for n in (5, 7))
mask = torch.rand(5, 7) < 0.6
mask[:, 0] = True
their_out, their_weights = theirs(x, memory, memory, attn_mask=~mask, average_attn_weights=False)

with interactive.once_solved("MultiHeadAttention and the functions before it"):
    yours = taken_over(theirs)
    out = yours(x, memory, memory, mask)
    print(f"output {tuple(out.shape)}: greatest difference {(out - their_out).abs().max():.1e}")
    print(f"weights {tuple(their_weights.shape)}: {(looks(yours, x, memory, mask) - their_weights).abs().max():.1e}")
    g = torch.randn_like(out)
    mine, other = (torch.autograd.grad((o * g).sum(), (x, memory), retain_graph=True) for o in (out, their_out))
    print(f"gradients at x and memory: {max((a - b).abs().max() for a, b in zip(mine, other, strict=True)):.1e}")
    one, other = (sum(p.numel() for p in module.parameters()) for module in (yours, theirs))
    print(f"parameters: yours {one:,}, theirs {other:,}, by your formula {parameter_count(24, 3, bias=True):,}")

# %% [markdown]
# ### Three traps at the border
#
# Mind the `~` in that cell. None of these three gives an error.

# %% tags=["demo"]
with interactive.once_solved("MultiHeadAttention and the functions before it"):
    yours = taken_over(theirs)
    wrong = theirs(x, memory, memory, attn_mask=mask)[0]
    print(f"1  a mask handed over as it is: the output is off by up to {(wrong - their_out).abs().max():.2f}")

    query, key, value, at_home, answer, start, goal = villages(500, torch.Generator().manual_seed(1))
    average = looks(trained("2 to 11"), query, key, at_home).mean(1)  # what PyTorch's module returns as "the" weights
    on_start, on_goal = (average.gather(-1, w[..., None]).mean() for w in (start, goal))
    print(f"2  the weights that it returns unless told otherwise: start {on_start:.0%}, goal {on_goal:.0%}")

    nobody = torch.zeros(5, 7, dtype=torch.bool)
    ours, pytorchs = yours(x, memory, memory, nobody), theirs(x, memory, memory, attn_mask=~nobody)[0]
    for name, answer in (("yours", ours), ("theirs", pytorchs)):
        print(f"3  a query that may see nothing gets from {name}:", answer[0, 0, :3].detach().numpy().round(2))

# %% [markdown]
# 1. Its boolean masks mean the opposite: True is *hidden*. Both are sensible; what hurts is that both are booleans.
# 2. By default it returns the *average* of the heads' weights. For our village that is half on the start, half on the
#    goal: the map of a network that wants to meet half way. It had two maps with two signs. Ask for
#    `average_attn_weights=False`.
# 3. A row that is masked altogether is NaN there (chapter 5 knows of the exception), zeros plus the bias here.
#
# And one that does give an error: its mask for single sequences has the shape `(B * H, T, S)`, all heads of the first sequence
# first. Ours broadcasts from `(B, 1, T, S)`.
#
# ## Quiz
#
# **1.** Somebody exchanges two heads of a trained model: their columns of $W_q$, $W_k$ and $W_v$, and their rows of
# $W_o$. What changes?
#
# <details><summary>Answer</summary>
#
# Nothing: the output is a sum over heads, in whatever order. So "head 3 does this" means something for one set of weights
# only. Train again with another seed, and the same job may sit in another head, or be spread over several.
#
# </details>
#
# **2.** $W_o$ is left out, and the heads' answers stand side by side. The next layer begins with matrices of its own. Is
# anything lost?
#
# <details><summary>Answer</summary>
#
# If the next thing is a matrix, it could do the work of $W_o$ as well. But what comes next in a Transformer is a residual
# connection (chapter 11): the output is *added* to the input. Without $W_o$ head $h$ could write only into its own $d_k$
# columns of the sum. With $W_o$ every head can write anywhere.
#
# </details>
#
# **3.** Why is $M^h = W_v^h W_o^h$ never computed in a model, though it is all that counts?
#
# <details><summary>Answer</summary>
#
# It is `(d_model, d_model)`, but of rank at most $d_k$. Kept as two narrow factors it costs $2\,d_\text{model}\,d_k$
# numbers instead of $d_\text{model}^2$, for each head. The same holds for the comparison: the scores depend on
# $W_q^h {W_k^h}^\top$ only, also of rank at most $d_k$. A head is two matrices of low rank.
#
# </details>
#
# **4.** Questions in the village become *"the middle between Ada's, Ben's and Cleo's"*. How many heads does it take? And
# *"Ada's plus Ben's minus Cleo's"*?
#
# <details><summary>Answer</summary>
#
# One for the middle: an average of three is an average. Two for the other: Ada's and Ben's share a sign, and one head
# can look at both, half and half, with $M = 2$. What counts is not how many things are looked up. It is in how many
# *different ways* they enter the answer.
#
# </details>
#
# **5. From an interview.** *"Why several heads rather than one big one? How many would you take? And can you prune them
# afterwards?"*
#
# <details><summary>A model answer</summary>
#
# One head makes one distribution for each query, and applies one linear map to what it finds. So everything it looks up
# enters the output in the same way; two relations that must be kept apart, or subtracted, need two heads. It is not a
# question of parameters: with $d_k = d_\text{model}/H$ the four matrices hold $4\,d_\text{model}^2$ numbers for every $H$,
# and the multiplications are the same. (The tables of weights grow with $H$, and so does their memory, unless the kernel
# does not write them down.)
#
# Too many are bad as well: scores have rank at most $d_k$, so a head that is too narrow cannot single out what it
# needs. In the original paper eight or sixteen heads of 64 or 32 did best at $d_\text{model} = 512$, and both one head and
# thirty-two did worse. Widths of 64 or 128 are common; then $H$ follows.
#
# Pruning: in trained models many heads can be removed one at a time with little loss, and some matter much (Michel et al.,
# Voita et al., 2019). That does not mean that one could have trained with fewer. And it has to be measured jointly: heads
# are added up and may cancel each other, so the effect of removing two is not the sum of the effects.
#
# *What a weak answer says:* "Each head learns a different linguistic feature." Some do, nothing forces them to, and a
# map of one head does not prove it.
#
# </details>
#
# ## Summary
#
# - A head is a narrow attention of its own: $d_k = d_\text{model}/H$ columns of three projections.
# - Cut columns, not positions: reshape to `(B, T, H, d_k)`, *then* exchange two axes; and the other way round to merge. A round
#   trip does not test it. Differentiating does.
# - Heads are added up: $o_t = \sum_h \sum_s \alpha^h_{ts}\, v_s M^h$, with $M^h = W_v^h W_o^h$.
# - $4\,d_\text{model}^2$ parameters for any number of heads.
# - One head averages. On a task that needs a difference it keeps half of the error for ever, however wide it is.
# - Two heads can cancel what neither wants, and so say "zero", which one softmax cannot.
# - Do not read a head alone, and do not read a map without what is made of it. What a head does depends on what the data
#   let it get away with.
#
# ## Further reading
#
# - A. Vaswani et al., "Attention Is All You Need", 2017. Section 3.2.2 is this chapter; rows (A) of table 3 vary the number
#   of heads at equal cost.
# - P. Michel, O. Levy, G. Neubig, "Are Sixteen Heads Really Better than One?", 2019. Most heads of a trained model can be
#   taken away one by one.
# - E. Voita, D. Talbot, F. Moiseev, R. Sennrich, I. Titov, "Analyzing Multi-Head Self-Attention: Specialized Heads Do the
#   Heavy Lifting, the Rest Can Be Pruned", 2019. Which heads stay, and what they do.
# - K. Clark, U. Khandelwal, O. Levy, C. D. Manning, "What Does BERT Look At? An Analysis of BERT's Attention", 2019. Heads
#   of BERT against the relations of grammar.
# - S. Bhojanapalli et al., "Low-Rank Bottleneck in Multi-head Attention Models", 2020. What a head cannot do when it is
#   narrower than the sequence is long.
# - N. Elhage et al., "A Mathematical Framework for Transformer Circuits", 2021. Heads as a sum; where they look and what
#   they make of it, as two matrices each.
# - T. Ye et al., "Differential Transformer", 2024. Builds the trick of our two heads in: the difference of two softmaxes.
# - N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
#
# **Next:** [10 · Positions](../10_positions/10_positions.ipynb). You may shuffle the words of the sentence, and nothing
# in this chapter would notice. How does attention learn what comes first?
