# %% [markdown]
# # 8 · Self-attention
#
# **How does a word find out what it means?**
#
# *The crane ate a fish.* You saw a bird. *The crane lifted a load.* Now it is a machine, and the word is the same, letter
# by letter. You were told which one it is by the words around it.
#
# A table of word vectors cannot do that. It has one row for *crane*, made before anybody wrote the sentence. So whatever
# *crane* becomes, it has to find out by asking its neighbours. And they have to ask, too: *lifted* by a machine is not
# *lifted* by a thief.
#
# You can build that already. In chapters 6 and 7 one sequence looked at another. Here a sequence looks at **itself**. Four
# exercises, and by the third you have the part at the heart of every Transformer. The fourth finds a hole in it, and the
# hole is large: it takes *Marcus loves Iulia* and *Iulia loves Marcus* for the same sentence. In Latin, by
# the way, it does not.
#
# *About two hours, 55 minutes of them for the four exercises. You need chapters 4 (scaled dot-product) and 5 (masks).*

# %%
from functools import cache
from itertools import permutations

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from attnlab import interactive, plotting
from attnlab.dot_product import attention_weights, scaled_dot_product_attention
from attnlab.masks import causal_mask, masked_softmax
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN = plotting.COLOURS[:3]
INK = plotting.INK

# %% [markdown]
# Here are five words, placed by hand in a plane: what goes with animals on the right, what goes with machines on the
# left. *Crane* stands in the middle. Chapter 4's function wants queries, keys and values. We hand it the words of the sentence *three times*.

# %% tags=["demo", "hide-input"] alt="A plane with five words as dots: load and lifts on the left, fish and eats on the right, crane in the middle above. Two arrows leave crane. The one for the sentence crane eats fish ends on the right, towards fish; the one for crane lifts load ends on the left, towards load."
places = {"crane": (0.0, 1.5), "eats": (1.5, -0.3), "fish": (2.0, 1.0), "lifts": (-1.5, -0.3), "load": (-2.0, 1.0)}
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.6, 3.3))
    for word, (x, y) in places.items():
        ax.plot(x, y, "o", color=INK, markersize=8)
        ax.text(x, y + 0.16, word, ha="center", va="bottom", fontsize=13)
    for sentence, colour in (("crane eats fish", BLUE), ("crane lifts load", ORANGE)):
        x = torch.tensor([places[word] for word in sentence.split()])
        crane, *_ = scaled_dot_product_attention(x, x, x).tolist()
        ax.annotate("", crane, places["crane"], arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.2})
        ax.text(crane[0], crane[1] - 0.12, f"crane, in\n“{sentence}”", ha="center", va="top", color=colour)
    ax.set(xlim=(-2.8, 2.8), ylim=(-0.7, 2.0), aspect="equal")
    ax.axis("off")
    plt.show()

# %% [markdown]
# One word went in, and two came out. Nothing was learned and nobody said what a crane is; it moved towards the company
# it keeps.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(8)

# %% [markdown]
# ### Part II: one machine, in six pieces
#
# Part I built the pieces of the inner box. With this chapter begins the machine around them. Chapters 8 to 13 build the
# parts of *one* model, the Transformer, and each part goes into the next:
#
# | Chapter | You build | What it is for |
# |:--|:--|:--|
# | 8 | `SelfAttention` | every word asks every word |
# | 9 | `MultiHeadAttention` | several questions at once |
# | 10 | positions | who stands where |
# | 11 | norms, feed-forward, residuals | the block: what lets one stack many of them |
# | 12 | `EncoderLayer`, `Encoder` | a stack that reads |
# | 13 | `DecoderLayer` | a stack that writes |
#
# In chapter 14 you put them together and train the whole, in chapter 15 you let it write. Throughout, a sequence is a
# tensor of shape `(B, T, d_model)`: $B$ sequences of $T$ positions, at each a vector of $d_\text{model}$ numbers. What
# comes out of a part has the shape of what goes in, so that parts can be stacked. $d_\text{model}$ is the width of the
# road on which everything travels.
#
# ### From NumPy to PyTorch
#
# From here on we write in PyTorch. The mathematics stays, and nearly all of the code:
#
# | NumPy, Part I | PyTorch, from now on |
# |:--|:--|
# | `array` | `tensor`; the same `@`, `...`, slices and broadcasting |
# | `x.swapaxes(-1, -2)` | `x.mT` |
# | `axis=-1, keepdims=True` | `dim=-1, keepdim=True` |
# | your `softmax`, `masked_softmax` | `torch.softmax`; `masked_softmax(scores, mask)`, imported above, takes tensors too |
# | your `attention_vjp` | `loss.backward()`: you have earned it |
# | matrices passed as arguments | a **module** keeps them: `nn.Module` |
#
# A module is a function with a memory. What it learns are its *parameters*; each has a name, so that they can be saved,
# loaded and handed to an optimiser. You met one in chapter 3. We shall write each part twice: first as a plain function,
# where every matrix is on the table, then as a module around it.
#
# ## One sequence in three roles
#
# What we did with the crane is attention with $Q = K = V = X$, where $X$ has the shape `(T, d)`, a row for each word:
#
# $$\mathrm{softmax}\!\left(\frac{X X^\top}{\sqrt d}\right) X.$$
#
# It has no parameters at all. Is it any good? Take ten random words, each entry with mean 0 and variance 1. **How much of
# its look does a word spend on itself? Guess for $d = 4$ and for $d = 64$.** With ten words, an even share would be 10%.

# %% tags=["demo"]
random = torch.Generator().manual_seed(0)
print("  d    own share")
for d in (4, 16, 64, 256):
    x = torch.randn(200, 10, d, generator=random)  # 200 sequences of 10 words
    own = attention_weights(x, x).diagonal(dim1=-2, dim2=-1)
    print(f"{d:3}    {own.mean():9.4%}")

# %% [markdown]
# At $d = 64$ every word talks to itself, and nobody else is heard. You can see it coming: the score of a word with itself
# is $\lVert x\rVert^2/\sqrt d \approx d/\sqrt d = \sqrt d$, that of two different words is about 0, give or take 1. The
# factor $1/\sqrt d$ was made for *independent* queries and keys (chapter 4), and a word is not independent of itself.
#
# And there is a second flaw, which training would not cure. $X X^\top$ is symmetric: $x_t \cdot x_s = x_s \cdot x_t$. A
# word scores another as it is scored by it. But asking is not symmetric. A verb looks for its subject; the subject does
# not look for a verb in the same way. *It* looks for *crane*; *crane* does not need *it*.
#
# ### Three views
#
# So give each role a matrix of its own, and let them be learned. With $W_q$ and $W_k$ of shape `(d_model, d_k)` and $W_v$
# of shape `(d_model, d_v)`:
#
# $$\begin{aligned}
# q_t &= x_t W_q &&\text{what word } t \text{ wants to know} \\
# k_t &= x_t W_k &&\text{by what word } t \text{ can be found} \\
# v_t &= x_t W_v &&\text{what word } t \text{ has to tell}
# \end{aligned}$$
#
# Words are *rows*, so the matrix stands on the right, and for all rows at once $Q = X W_q$. These are not three inputs.
# They are three views of one.
#
# {{exercise project_qkv}}
#
# Write the three views. `x` has shape `(..., T, d_model)`, where `...` stands for any number of axes in front; `W_q` and
# `W_k` have shape `(d_model, d_k)`, `W_v` has shape `(d_model, d_v)`. Return `q, k, v`, of shapes `(..., T, d_k)`,
# `(..., T, d_k)` and `(..., T, d_v)`. No scale, no softmax: three products.
#
# *By hand:* with $x = (1, 2)$ and $W_v = \begin{pmatrix}1 & 0 & 1\\ 1 & 0 & -1\end{pmatrix}$ the value is
# $1 \cdot (1, 0, 1) + 2 \cdot (1, 0, -1) = (3, 0, -1)$.
#
# <details><summary>Hint 1: the idea</summary>
#
# `@` multiplies the last two axes and keeps those in front. A matrix without a batch is used for all sequences.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `q = x @ W_q`
#
# </details>


# %% exercise="project_qkv"
def project_qkv(x, W_q, W_k, W_v):
    """Queries, keys and values: three views of the same rows.

    x         a sequence, shape (..., T, d_model)
    W_q, W_k  matrices of shape (d_model, d_k)
    W_v       a matrix of shape (d_model, d_v)

    Returns q, k and v, of shapes (..., T, d_k), (..., T, d_k) and (..., T, d_v). Changes none of the four.
    """
    ### BEGIN SOLUTION
    return x @ W_q, x @ W_k, x @ W_v
    ### END SOLUTION


# %% [markdown]
# With random matrices, the first flaw is gone already. **And if queries and keys share one matrix, $W_q = W_k$?**

# %% tags=["demo"]
with interactive.once_solved("project_qkv"):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(200, 10, 64, generator=random)
    W_q, W_k, W_v = torch.randn(3, 64, 64, generator=random) / 64**0.5
    report = [f"{'':20}{'own share':>9}{'s(t, s) and s(s, t) differ by up to':>38}"]
    for name, matrices in (("two matrices", (W_q, W_k, W_v)), ("one matrix for both", (W_q, W_q, W_v))):
        q, k, _ = project_qkv(x, *matrices)
        own = attention_weights(q, k).diagonal(dim1=-2, dim2=-1)
        scores = q @ k.mT
        uneven = (scores - scores.mT).abs().max()
        report.append(f"{name:20}{own.mean():9.1%}{uneven:38.3f}")
    print("\n".join(report))

# %% [markdown]
# Tied like this, both flaws are back: words look at themselves, and as $x_t W W^\top x_s^\top$ does not change when $t$ and
# $s$ change places, the scores are symmetric. Does that matter, once $W$ is trained? Let us play.
#
# ## Rock, paper, scissors
#
# Three words: *rock*, *paper*, *scissors*. Each is to look at the one it beats: rock at scissors, scissors at paper, paper
# at rock. That is all. The words are one-hot, $d_k = 8$, and the loss is $-\ln$ of the share that goes to the right
# word. (A guess, one third each, has the loss $\ln 3 = 1.0986$.) Your `project_qkv` makes queries and keys, once with two
# matrices and once with one. **How far do you think the tied one gets?**

# %% tags=["demo", "hide-input"] alt="Left: loss against step. With two matrices it falls below a thousandth; with one matrix it comes down to the dotted line at ln 3 and stays on it for good. Right: two tables of three by three shares. With two matrices each row has a 1.00 where it should be: rock on scissors, paper on rock, scissors on paper. With one matrix all nine shares are 0.33."
WORDS = ["rock", "paper", "scissors"]
BEATS = torch.tensor([2, 0, 1])  # rock beats scissors, paper beats rock, scissors beat paper


def play(tied, steps=300, d_k=8, seed=0):
    """The loss of every step, and the shares after the last."""
    random = torch.Generator().manual_seed(seed)
    W_q, W_k = (torch.randn(3, d_k, generator=random).div(2).requires_grad_() for _ in range(2))
    if tied:
        W_k = W_q
    optimiser = torch.optim.Adam([W_q] if tied else [W_q, W_k], lr=0.05)
    losses = []
    for _ in range(steps):
        q, k, _ = project_qkv(torch.eye(3), W_q, W_k, W_q)
        scores = q @ k.mT / d_k**0.5
        loss = cross_entropy(scores, BEATS)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses), torch.softmax(scores.detach(), dim=-1)


with interactive.once_solved("project_qkv"):
    games = {"two matrices": (play(tied=False), BLUE), "one matrix": (play(tied=True), ORANGE)}
    with plotting.house_style():
        fig, (curve, *tables) = plt.subplots(1, 3, figsize=(10, 3.2), width_ratios=[1.5, 1, 1])
        for (name, ((losses, shares), colour)), table in zip(games.items(), tables, strict=True):
            curve.semilogy(losses, color=colour, label=name, linewidth=2)
            plotting.heatmap(shares, WORDS, WORDS, numbers=True, title=name, ax=table)
        curve.axhline(torch.tensor(3.0).log(), color=INK, linestyle=":")
        curve.text(300, 1.25, "ln 3: a guess", ha="right", va="bottom")
        curve.set(xlabel="step", ylabel="loss", ylim=(5e-5, 4))
        curve.legend(loc="center right")
        plt.show()
    for name, ((losses, _), _) in games.items():
        print(f"{name:13} loss at the end {losses[-1]:.4f}")
    tied = torch.stack([play(tied=True, seed=seed)[0] for seed in range(5)])
    print(f"one matrix, five starts: never below {tied.min():.4f}")

# %% [markdown]
# Not a little worse: *chance*. With one matrix it learns nothing at all, from any start, and it is not the optimiser's
# fault. Suppose that it could. Write $s_{rs}$ for the score of rock with scissors, and so on round the circle, with $p$
# for paper:
#
# - rock prefers scissors to paper: $s_{rs} > s_{rp}$,
# - paper prefers rock to scissors: $s_{pr} > s_{ps}$,
# - scissors prefer paper to rock: $s_{sp} > s_{sr}$.
#
# But a symmetric table has $s_{rp} = s_{pr}$, $s_{ps} = s_{sp}$ and $s_{sr} = s_{rs}$. Read the three lines in order:
# $s_{rs} > s_{rp} = s_{pr} > s_{ps} = s_{sp} > s_{sr} = s_{rs}$. A number greater than itself.
#
# <details><summary>Why not even a little better than chance?</summary>
#
# Tied scores are a table of products $S_{ts} = q_t \cdot q_s$, and for those $2\,q_t \cdot q_s \le \lVert q_t\rVert^2 +
# \lVert q_s\rVert^2$, because $\lVert q_t - q_s\rVert^2 \ge 0$. Turn the three roles round, rock to paper to scissors to
# rock: the loss stays what it was, and so it does if you turn twice. Average the three tables. The loss is a convex
# function of the table, so the average is at least as good, and it is a table of products again. It holds one number $a$
# on its diagonal and, being symmetric, one number $b$ everywhere else, with $b \le a$. The loss of such a table is
# $\ln(e^a + 2e^b) - b = \ln(e^{a-b} + 2) \ge \ln 3$.
#
# </details>
#
# Two matrices, then: what I ask and how I am found are two things. (Tying them is not fatal everywhere. The Reformer
# does it, so that a query and its keys can be sorted into the same drawer, and adds two things that loosen the symmetry:
# keys are brought to one length, and a word does not look at itself unless it has to.)
#
# ## The formula
#
# $$\mathrm{SelfAttention}(X) = \mathrm{softmax}\!\left(\frac{(X W_q)(X W_k)^\top}{\sqrt{d_k}}\right) X W_v,
# \qquad\text{shape } (T, d_v).$$
#
# Read the shapes. The table of scores is `(T, T)`: as many queries as keys, because they are the same words. The root is
# that of $d_k$, the width of queries and keys, *not* of $d_\text{model}$. And what is averaged are the values $X W_v$, not
# $X$. Row $t$ of the answer is the new vector of word $t$.
#
# Count the steps, too. The first word and the last are *one* step apart, however long the text is; in the GRU of chapter 6
# a message passes through every word between them. The price is the table: twice the words, four times the scores.
#
# {{exercise self_attention}}
#
# Write it, with a mask: `mask` is boolean, True = may attend, and broadcasts to `(..., T, T)`; `None` permits everything. A
# position that may look at nothing gets zeros. `masked_softmax(scores, mask)` of chapter 5 does all of that, and may be
# used, as may your `project_qkv`. Not chapter 4's function: this time you put the formula together in PyTorch.
#
# *By hand:* the words are one-hot, $x_1 = (1, 0)$ and $x_2 = (0, 1)$, so the rows of a matrix are the queries, keys or
# values. Let $q_1 = 0$, $q_2 = (2, 0, 0, 0)$, $k_1 = 0$, $k_2 = (\ln 3, 0, 0, 0)$, and the values 8 and 16. With
# $\sqrt{d_k} = 2$, word 2 has the scores $0$ and $2 \ln 3 / 2 = \ln 3$, the weights $\tfrac14$ and $\tfrac34$, and takes
# $\tfrac14 \cdot 8 + \tfrac34 \cdot 16 = 14$. Word 1 asks nothing, and takes the mean, 12.
#
# <details><summary>Hint 1: the idea</summary>
#
# Four lines: three views; scores of all pairs, divided by the root of the last axis of `q`; shares along each row; the
# average of the values. `.mT` exchanges the last two axes of a tensor.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `q, k, v = project_qkv(x, W_q, W_k, W_v)`, then `scores = q @ k.mT / q.shape[-1] ** 0.5`
#
# </details>


# %% exercise="self_attention"
def self_attention(x, W_q, W_k, W_v, mask=None):
    """softmax(q kᵀ / √d_k) v, with queries, keys and values all made from x.

    x         a sequence, shape (..., T, d_model)
    W_q, W_k  matrices of shape (d_model, d_k)
    W_v       a matrix of shape (d_model, d_v)
    mask      boolean, True = may attend, broadcasts to (..., T, T); None permits everything

    Returns a tensor of shape (..., T, d_v), zeros where a position may look at nothing. Changes nothing it is given.
    """
    ### BEGIN SOLUTION
    q, k, v = project_qkv(x, W_q, W_k, W_v)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return masked_softmax(scores, mask) @ v
    ### END SOLUTION


# %% [markdown]
# Compare with PyTorch's own function, number by number: bare, under a causal mask, and with padding.

# %% tags=["demo"]
with interactive.once_solved("self_attention"):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 7, generator=random, dtype=torch.float64)
    W_q, W_k, W_v = (torch.randn(7, d, generator=random, dtype=torch.float64) for d in (3, 3, 11))
    padding = torch.tensor([[[True] * 5], [[True, True, False, False, False]]])  # (B, 1, T)
    report = []
    for name, mask in (("no mask", None), ("causal mask", causal_mask(5, like=x)), ("padding", padding)):
        yours = self_attention(x, W_q, W_k, W_v, mask)
        theirs = nn.functional.scaled_dot_product_attention(x @ W_q, x @ W_k, x @ W_v, attn_mask=mask)
        report.append(f"{name:12} shape {tuple(yours.shape)}, greatest difference {(yours - theirs).abs().max():.1e}")
    print("\n".join(report))

# %% [markdown]
# ## As a module
#
# A network has hundreds of such matrices, and nobody wants to pass them by hand. `nn.Linear(d_in, d_out, bias=False)` is a
# layer that keeps one and multiplies: `layer(x)`. There is one trap in it. A layer keeps its matrix **turned over**:
# `layer.weight` has the shape `(d_out, d_in)`, and `layer(x)` is `x @ layer.weight.T`. So where the paper writes $W_q$ of
# shape `(d_model, d_k)`, the layer keeps $W_q^\top$. Call the layer and it is none of your business; reach for `.weight`
# and it is.
#
# {{exercise SelfAttention}}
#
# Write the module. `SelfAttention(d_model, d_k, d_v)` makes three layers without bias, `self.W_q`, `self.W_k` and
# `self.W_v`; called with `x` and perhaps a mask, it answers as `self_attention` does. In all else it is a module like any:
# gradients reach the three matrices, and `state_dict` of one can be loaded into another. `self_attention`,
# `project_qkv` and `masked_softmax` may be used.
#
# *By hand:* `SelfAttention(7, 3, 11)` has $3 \cdot 7 + 3 \cdot 7 + 11 \cdot 7 = 119$ parameters, whatever $T$ is.
#
# <details><summary>Hint 1: the idea</summary>
#
# Call the layers for `q`, `k` and `v`, and go on as before. Or hand the three matrices to `self_attention`, each turned back
# with `.T`.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# In `__init__`: `self.W_q = nn.Linear(d_model, d_k, bias=False)`. In `forward`: `q = self.W_q(x)`.
#
# </details>


# %% exercise="SelfAttention"
class SelfAttention(nn.Module):
    """Self-attention that keeps its three matrices as layers."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__()
        ### BEGIN SOLUTION
        self.W_q = nn.Linear(d_model, d_k, bias=False)
        self.W_k = nn.Linear(d_model, d_k, bias=False)
        self.W_v = nn.Linear(d_model, d_v, bias=False)
        ### END SOLUTION

    def forward(self, x, mask=None):
        """A sequence (..., T, d_model) to (..., T, d_v); the mask broadcasts to (..., T, T), True = may attend."""
        ### BEGIN SOLUTION
        q, k, v = self.W_q(x), self.W_k(x), self.W_v(x)
        return masked_softmax(q @ k.mT / q.shape[-1] ** 0.5, mask) @ v
        ### END SOLUTION


# %% [markdown]
# PyTorch's own module for this is `nn.MultiheadAttention`. With one head it has your three matrices, one below the other
# in `in_proj_weight`, and a fourth behind them, which mixes heads and is chapter 9's; we set that one to the identity.
# And mind its boolean masks: there **True means hidden**.

# %% tags=["demo"]
with interactive.once_solved("SelfAttention"):
    torch.manual_seed(0)
    yours = SelfAttention(16, 16, 16)
    theirs = nn.MultiheadAttention(16, num_heads=1, bias=False, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([yours.W_q.weight, yours.W_k.weight, yours.W_v.weight]))
        theirs.out_proj.weight.copy_(torch.eye(16))
    x, mask = torch.randn(2, 5, 16), causal_mask(5, like=torch.empty(0))
    for name, ours, other in (
        ("no mask", yours(x), theirs(x, x, x)[0]),
        ("causal mask", yours(x, mask), theirs(x, x, x, attn_mask=~mask)[0]),
    ):
        print(f"{name:12} greatest difference {(ours - other).abs().max():.1e}")
    for name, parameter in yours.named_parameters():
        print(f"{name:12} {tuple(parameter.shape)}")

# %% [markdown]
# ## What does it know of order?
#
# *The dog bites the man.* *The man bites the dog.* One of them is news. Below, both go through your module with random
# matrices, and each word's new vector is shown as a strip of colours. **Before you look: which words get another vector
# in the second sentence? And the two *the* in the first sentence, what tells them apart?**

# %% tags=["demo", "hide-input"] alt="Above, the dog bites the man, with a strip of twelve coloured cells below each word. Below, the man bites the dog, with a strip above each word. Lines join each word above with the same word below; those of dog and man cross. The strips at both ends of every line are the same, colour by colour. The two strips of the word the are the same as well."
with interactive.once_solved("SelfAttention"):
    torch.manual_seed(3)
    vectors = dict(zip(("the", "dog", "bites", "man"), 3 * torch.randn(4, 12), strict=True))
    attend = SelfAttention(12, 12, 12)
    no_news, news = (
        ["the", *three[:2], "the", three[2]] for three in (["dog", "bites", "man"], ["man", "bites", "dog"])
    )
    with torch.no_grad():
        strips = [attend(torch.stack([vectors[word] for word in words])) for words in (no_news, news)]
    reach = max(float(strip.abs().max()) for strip in strips)
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(7.2, 4.2))
        for words, strip, low in ((no_news, strips[0], 2.2), (news, strips[1], 0.0)):
            for t, word in enumerate(words):
                where = (1.6 * t - 0.3, 1.6 * t + 0.3, low, low + 1.4)
                ax.imshow(
                    strip[t, :, None], cmap=plotting.SIGNED_MAP, vmin=-reach, vmax=reach, extent=where, aspect="auto"
                )
                ax.text(
                    1.6 * t, low + 1.47 if low else -0.08, word, ha="center", va="bottom" if low else "top", fontsize=13
                )
        seat = [0, 4, 2, 3, 1]  # where each word of the first sentence stands in the second
        for t, s in enumerate(seat):
            ax.plot([1.6 * t, 1.6 * s], [2.15, 1.45], "-", color=ORANGE if t != s else INK, linewidth=2)
        ax.set(xlim=(-0.6, 7), ylim=(-0.4, 3.95))
        ax.axis("off")
        plt.show()
    moved = (strips[0] - strips[1][seat]).abs().max()
    print("greatest difference")
    print(f"between the two strips at the ends of a line: {moved:.1e}")
    print(f"between the two strips of “the”:              {(strips[0][0] - strips[0][3]).abs().max():.1e}")

# %% [markdown]
# No word notices anything. Who bites whom is *gone*. The strips have only changed places, together with their words.
#
# That is no accident of these matrices. Let $P$ be a permutation matrix, which puts the rows of $X$ into another order:
# $P X$. Follow it through the formula.
#
# 1. The views are made row by row: $(P X) W_q = P Q$, and so for $K$ and $V$.
# 2. Scores: $(P Q)(P K)^\top = P\,(Q K^\top)\,P^\top$. Rows and columns of the table are rearranged, and nothing else.
# 3. The softmax works on each row, and does not care where in the row a number stands. It comes out as $P A P^\top$, with $A$
#    the weights as they were.
# 4. The average: $P A P^\top \cdot P V = P\,(A V)$, for $P^\top P = I$.
#
# $$\mathrm{SelfAttention}(P X) = P\ \mathrm{SelfAttention}(X).$$
#
# Shuffle the input, and the output is shuffled in the same way. This is called **equivariance**. (If it stayed the same
# altogether, it would be *in*variance: the mean of all rows is invariant.) An equivariant function sees a *set* of words,
# not a sentence. A stack of equivariant functions is equivariant, so depth does not help.
#
# {{exercise permutation_gap}}
#
# Measure it. `f` is a function from `(..., T, d)` to `(..., T, d_out)`. Draw a random permutation $\pi$ of the $T$ positions,
# compare $f$ of the shuffled `x` with the shuffled $f(x)$, take the greatest absolute difference over all entries; do that
# `trials` times and return the greatest of all, a number. Where the output moves along with the input, it is 0, up to
# rounding.
#
# $$\mathrm{gap} = \max_{\pi}\, \bigl|\, f(\pi x) - \pi f(x) \,\bigr|$$
#
# *By hand:* let $x$ be the column $(0, 1)$, and $f$ the running sum, so $f(x) = (0, 1)$. Exchange the rows: $\pi x = (1, 0)$,
# $f(\pi x) = (1, 1)$, but $\pi f(x) = (1, 0)$. The gap is 1.
#
# <details><summary>Hint 1: the idea</summary>
#
# `torch.randperm(T)` is a random order of $0, \dots, T-1$. One order for both: `x[..., order, :]` is the shuffled input, and
# the output is shuffled in the same way.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `out, gap = f(x), 0.0`, then a loop over `range(trials)` with `order = torch.randperm(x.shape[-2])`
#
# </details>


# %% exercise="permutation_gap"
def permutation_gap(f, x, trials=8):
    """How much f knows of the order of its rows: the greatest |f(π x) − π f(x)| over some random permutations π.

    f       takes x, returns a tensor of shape (..., T, d_out)
    x       a sequence, shape (..., T, d)
    trials  how many permutations are drawn

    Returns a number, 0 (up to rounding) where the output moves along with the input. Does not change x.
    """
    ### BEGIN SOLUTION
    out, gap = f(x), 0.0
    for _ in range(trials):
        order = torch.randperm(x.shape[-2])
        difference = f(x[..., order, :]) - out[..., order, :]
        gap = max(gap, difference.abs().max().item())
    return gap
    ### END SOLUTION


# %% [markdown]
# A collection of layers. **Go through the list with a pencil first: 0 or not?** Two of them are traps.

# %% tags=["demo"]
with interactive.once_solved("SelfAttention and permutation_gap"):
    torch.manual_seed(0)
    x, places = torch.randn(2, 7, 16), torch.randn(7, 16)
    attend = SelfAttention(16, 16, 16)
    stack = nn.Sequential(SelfAttention(16, 16, 16), nn.ReLU(), SelfAttention(16, 16, 16), nn.ReLU(), attend)
    gru, conv = nn.GRU(16, 16, batch_first=True), nn.Conv1d(16, 16, 3, padding=1)
    layers = {
        "a linear layer, row by row": nn.Linear(16, 16),
        "the mean of all rows, given to each": lambda x: x.mean(-2, keepdim=True).expand_as(x),
        "self-attention": attend,
        "three of them, ReLU between": stack,
        "all rows sorted": lambda x: x.sort(-2).values,
        "self-attention, causal mask": lambda x: attend(x, causal_mask(7, like=x)),
        "self-attention, a vector for each place added": lambda x: attend(x + places),
        "a GRU": lambda x: gru(x)[0],
        "a convolution of width 3": lambda x: conv(x.mT).mT,
    }
    with torch.no_grad():
        report = [f"{name:47}{permutation_gap(layer, x):.7f}" for name, layer in layers.items()]
    print("\n".join(report))

# %% [markdown]
# The first trap is sorting. It forgets the order completely, so its output *stays*, where it should move along. It is
# invariant, not equivariant, and the gap is large. (The mean stays, too; but its rows are all alike, and to move them
# changes nothing.) The second is the causal mask. There is no position in it, and yet it gives the order away: the first
# word sees one word, the second two, so the number of those that one sees is a clock.
#
# ## Who loves whom?
#
# Is the hole a problem? That depends on the language!
#
# English says who loves whom by the order of the words. Latin says it by their endings: *Marcus* loves, *Marcum* is loved,
# and where the words stand is a matter of taste. *Marcus Iuliam amat*, *amat Iuliam Marcus* and *Iuliam Marcus amat* are
# all the same. So here is one question in two languages: **at the verb, say who it is that loves** (or sees, calls,
# praises …). In Latin order is irrelevant. In English order is the answer.

# %% tags=["demo"]
NAMES = ["Marcus", "Iulia", "Titus", "Livia", "Brutus", "Claudia"]
VERBS = [("amat", "loves"), ("videt", "sees"), ("audit", "hears"), ("vocat", "calls"), ("laudat", "praises")]
ADVERBS = [("hodie", "today"), ("saepe", "often"), ("nunc", "now")]
UNSEEN = [{0, 1}, {2, 5}, {3, 4}]  # pairs of people who never meet in training, in either role


def latin(who, whom, verb, adverb):
    """Every order of the four words."""
    accusative = NAMES[whom][:-2] + "um" if NAMES[whom].endswith("us") else NAMES[whom] + "m"
    return [list(order) for order in permutations([NAMES[who], accusative, VERBS[verb][0], ADVERBS[adverb][0]])]


def english(who, whom, verb, adverb):
    """The adverb first or last."""
    middle = [NAMES[who], VERBS[verb][1], NAMES[whom]]
    return [[ADVERBS[adverb][1], *middle], [*middle, ADVERBS[adverb][1]]]


def sentences(language, unseen):
    """The sentences of a language, and for each who acts; of the unseen pairs or of all others."""
    meanings = [
        (who, whom, verb, adverb) for who in range(6) for whom in range(6) for verb in range(5) for adverb in range(3)
    ]
    chosen = [m for m in meanings if m[0] != m[1] and ({m[0], m[1]} in UNSEEN) == unseen]
    return [(words, meaning[0]) for meaning in chosen for words in language(*meaning)]


for language in (latin, english):
    learned, held_out = sentences(language, unseen=False), sentences(language, unseen=True)
    print(f"{language.__name__:8} {len(learned):5} sentences to learn from, {len(held_out):4} to test, as in:")
    for words, who in (held_out[0], held_out[len(held_out) // 2]):
        print(f"         {' '.join(words):28} {NAMES[who]}")

# %% [markdown]
# The model is as small as can be: a vector for each word, *your* `SelfAttention`, and a linear layer that reads the new
# vector of the verb and names one of the six people. Four versions:
#
# 1. **each word alone**: a linear layer in place of attention;
# 2. **self-attention**, bare;
# 3. **with a causal mask**: the verb sees itself and what stands before it;
# 4. **with places**: a learned vector for each of the four places is added to the words (chapter 10 does that properly).
#
# Each is tested on pairs of people who never met in training. **Write down eight percentages before you go on.** Two people
# are in every sentence; a blind guess among six is 17%.


# %% tags=["demo"]
class WhoActs(nn.Module):
    """Reads a sentence, and says at its verb who acts."""

    def __init__(self, words, kind, d=32):
        super().__init__()
        self.kind = kind
        self.embed, self.places = nn.Embedding(words, d), nn.Embedding(4, d)
        self.mix = nn.Linear(d, d, bias=False) if kind == "each word alone" else SelfAttention(d, d, d)
        self.name = nn.Linear(d, 6)

    def vectors(self, ids):
        """The new vector of every word, (B, 4, d)."""
        x = self.embed(ids)
        if self.kind == "with places":
            x = x + self.places.weight
        return self.mix(x, causal_mask(4, like=x)) if self.kind == "with a causal mask" else self.mix(x)

    def forward(self, ids, verb):
        return self.name(self.vectors(ids)[torch.arange(len(ids)), verb])


def as_tensors(pairs, vocabulary):
    """Word ids (N, 4), the place of the verb (N,) and who acts (N,)."""
    verbs = {verb for both in VERBS for verb in both}
    ids = torch.tensor([[vocabulary[word] for word in words] for words, _ in pairs])
    place = torch.tensor([next(t for t, word in enumerate(words) if word in verbs) for words, _ in pairs])
    return ids, place, torch.tensor([who for _, who in pairs])


@cache
def learn(language, kind, seed, steps=400, rate=0.01):
    """A trained model, its vocabulary, its loss on what it learned from, and the share that is right on unseen pairs."""
    learned, held_out = sentences(language, unseen=False), sentences(language, unseen=True)
    vocabulary = {word: i for i, word in enumerate(sorted({word for words, _ in learned + held_out for word in words}))}
    ids, verb, who = as_tensors(learned, vocabulary)
    torch.manual_seed(seed)
    model = WhoActs(len(vocabulary), kind)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
        some = torch.randint(len(ids), (64,))
        loss = cross_entropy(model(ids[some], verb[some]), who[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        loss = cross_entropy(model(ids, verb), who).item()
        ids, verb, who = as_tensors(held_out, vocabulary)
        right = (model(ids, verb).argmax(-1) == who).float().mean().item()
    return model.eval(), vocabulary, loss, right


KINDS = ("each word alone", "self-attention", "with a causal mask", "with places")
with interactive.once_solved("SelfAttention"):
    report = ["Right on unseen pairs, from three starts", "", f"{'':20}{'Latin':24}English"]
    for kind in KINDS:
        shares = [[learn(language, kind, seed)[-1] for seed in range(3)] for language in (latin, english)]
        cells = [" ".join(f"{right:6.1%}" for right in row) for row in shares]
        report.append(f"{kind:20}{cells[0]:24}{cells[1]}")
    print("\n".join(report))
    losses = [learn(english, "self-attention", seed)[-2] for seed in range(3)]
    print(f"\nEnglish, self-attention, loss in training: {', '.join(f'{loss:.3f}' for loss in losses)}")
    print(f"ln 2 is {torch.tensor(2.0).log():.3f}")

# %% [markdown]
# Bare self-attention speaks perfect Latin. It has learned to look for the ending: the verb finds the nominative wherever it
# stands, and it does so for couples it has never seen.
#
# In English it gets *exactly* one half. It finds the two people, and then it can only toss a coin: to every sentence there
# is one with the roles exchanged, made of the same words, to which it must give the same answer. No training, no depth
# and no width will change that; the loss cannot go below $\ln 2$, which is what one bit costs.
#
# Any sense of order mends it. The causal mask does: what stands before the verb is who acts. But look what the same mask
# does to Latin, where the one who acts may come later: it hides the answer half of the time. To give a model order is
# to give it *something to rely on*, and it had better be right.
#
# <details><summary>Why 55.6%, and not 50%, or more?</summary>
#
# In half of all orders, who acts stands before the verb: right. In a third, neither person does, and it names somebody: one
# in six, $\tfrac13 \cdot \tfrac16 = \tfrac1{18}$. In the last sixth it knows *whom*, and names somebody whom it saw with
# that person in training. In the test it is always somebody else. $\tfrac12 + \tfrac1{18} = 55.6\%$.
#
# </details>
#
# ### One word, many vectors
#
# Back to the crane. Below is the verb that means *sees*. In the table of word vectors it is one point. Then it is put into
# every sentence about two of the six people, in every order, and each dot is its new vector, flattened to a plane by
# principal components. The colour says who sees. **How many dots will you be able to tell apart, in Latin and in English?**
# There are thirty ways to choose who sees and who is seen.

# %% tags=["demo", "hide-input"] alt="Two panels with the vectors of the verb in all its sentences. Left, Latin: six dots far apart, each of one colour and named for the person who sees. Right, English: fifteen dots, each half one colour and half another, for two people."
with interactive.once_solved("SelfAttention"):
    PAINT = dict(zip(NAMES, plotting.COLOURS, strict=True))
    report = []
    with plotting.house_style():
        fig, axes = plt.subplots(1, 2, figsize=(9.6, 4.4))
        for ax, language, verb in ((axes[0], latin, "videt"), (axes[1], english, "sees")):
            model, vocabulary, *_ = learn(language, "self-attention", 0)
            cases = [(a, b, words) for a in range(6) for b in range(6) if a != b for words in language(a, b, 1, 0)]
            ids = torch.tensor([[vocabulary[word] for word in words] for *_, words in cases])
            at = torch.tensor([words.index(verb) for *_, words in cases])
            with torch.no_grad():
                vectors = model.vectors(ids)[torch.arange(len(ids)), at]
            centred = vectors - vectors.mean(0)
            flat = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].mT
            for (who, whom, _), (u, v) in zip(cases, flat.tolist(), strict=True):
                first, second = sorted((who, whom)) if language is english else (who, who)
                halves = {"color": PAINT[NAMES[first]], "markerfacecoloralt": PAINT[NAMES[second]]}
                ax.plot(u, v, "o", fillstyle="left", markersize=14, markeredgewidth=0, **halves)
            ax.set_title(f"“{verb}”, in {language.__name__.capitalize()}")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(True)
            ax.margins(0.15)
            same = torch.tensor(
                [[{a, b} == {c, d} if language is english else a == c for c, d, _ in cases] for a, b, _ in cases]
            )
            apart = (vectors[:, None] - vectors).norm(dim=-1)
            report.append(
                f"{language.__name__:7}{len(cases):4} sentences: within a dot {apart[same].max():.0e} at most, "
                f"between dots {apart[~same].min():.0f} at least"
            )
        dots = [plt.Line2D([], [], marker="o", linestyle="", color=PAINT[name], label=name) for name in NAMES]
        fig.legend(handles=dots, loc="outside lower center", ncols=6)
        plt.show()
    print("\n".join(report))

# %% [markdown]
# In Latin there are *six*. The verb took over who sees, and of the rest next to nothing, for nobody asked about the rest. In
# English there are *fifteen*, as many as pairs, and each has two colours, for it belongs to sentences of opposite meaning,
# which lie exactly on top of each other. No layer that follows can take them apart again.
#
# And where did the verb look? With your matrices, and `attention_weights` of chapter 4:

# %% tags=["demo"]
with interactive.once_solved("SelfAttention"):
    report = []
    for language, words in (
        (latin, "Marcus Iuliam amat saepe"),
        (latin, "amat saepe Iuliam Marcus"),
        (latin, "Marcum amat Iulia saepe"),
        (english, "Marcus loves Iulia often"),
        (english, "Iulia loves Marcus often"),
    ):
        model, vocabulary, *_ = learn(language, "self-attention", 0)
        words = words.split()
        x = model.embed(torch.tensor([vocabulary[word] for word in words]))
        with torch.no_grad():
            weights = attention_weights(model.mix.W_q(x), model.mix.W_k(x))
        verb = next(t for t, word in enumerate(words) if word in ("amat", "loves"))
        report.append(
            "   ".join(f"{word} {share:4.0%}" for word, share in zip(words, weights[verb].tolist(), strict=True))
        )
    print("\n".join(report))

# %% [markdown]
# In Latin its look goes to the nominative, wherever that is. In English it goes to people, and the shares do not depend on
# who stands where.
#
# So is equivariance a fault? For a sentence, yes, and chapter 10 repairs it. For what *is* a set, it is a gift: the atoms of
# a molecule, the points that a laser scanner measures, the players on a field. There a model that cannot see the order
# cannot be misled by it, and need not learn from examples that it means nothing.
#
# ## Quiz
#
# **1.** You replace $W_q$ by $W_q A$ and $W_k$ by $W_k (A^{-1})^\top$, with any invertible $A$ of shape `(d_k, d_k)`. What
# happens to the output? What does that say about a single entry of a query?
#
# <details><summary>Answer</summary>
#
# Nothing happens. The scores are $X W_q A A^{-1} W_k^\top X^\top$, and $A A^{-1}$ is the identity. Only the product $W_q
# W_k^\top$ matters, a matrix of shape `(d_model, d_model)` and of rank $d_k$ at most. So a single entry of a query means
# nothing by itself: another basis would have done as well.
#
# </details>
#
# **2.** In *the dog bites the man* both *the* got the same vector. Find the line of the formula that makes it so. Would ten
# more layers tell them apart?
#
# <details><summary>Answer</summary>
#
# $q_t = x_t W_q$: equal rows make equal queries, hence equal rows of scores, of weights, and of the average. Ten more
# layers begin with equal rows again. (A causal mask would tell them apart: the second sees more.)
#
# </details>
#
# **3.** A batch with padding, and a padding mask. You shuffle the rows of `x`, and `permutation_gap` is large. Is your module
# wrong?
#
# <details><summary>Answer</summary>
#
# No. The mask says *which places* are padding, and it stayed where it was while the rows moved: real words are hidden now.
# Shuffle the mask's keys along with the rows, and the gap is 0 again.
#
# </details>
#
# **4.** How many parameters has `SelfAttention(512, 64, 64)`, and how many numbers does its table of weights hold for a text
# of 10, of 1,000 and of 100,000 words? Which of the two is the price of attention?
#
# <details><summary>Answer</summary>
#
# $3 \cdot 512 \cdot 64 = 98{,}304$ parameters, for every length: the same three matrices serve all positions. The table holds
# $T^2$: a hundred, a million, ten thousand million. The table is the price. Chapters 24 and 25 are about it.
#
# </details>
#
# **5. From an interview.** *"Why does a Transformer need positional encodings? Can you think of one that does not?"*
#
# <details><summary>A model answer</summary>
#
# Without a mask, everything in it is permutation-equivariant: projections, norms and feed-forward layers work on each
# position alone, and attention sums over positions with weights that depend on content only, $f(PX) = P f(X)$. So two
# sentences of the same words get the same vectors, in another order, and whatever is read off one word cannot depend on the
# order. Positions break that symmetry: added to the inputs, or put into queries and keys by a rotation, or into the scores as
# a bias.
#
# Some do without. Where the input is a set, such as point clouds, one *wants* the symmetry: the Set Transformer. And a
# decoder with a causal mask is not equivariant even without positions. Position $t$ averages over $t$ keys, so it can find
# out how many there are; language models trained that way do learn where they are, and come close to those with
# positions (Haviv et al., 2022).
#
# *What a weak answer says:* "Because attention processes all words in parallel." So does a convolution, which knows the order
# very well. It is the symmetry, not the parallelism.
#
# </details>
#
# ## Summary
#
# - In self-attention one sequence asks, is found and delivers: $Q = X W_q$, $K = X W_k$, $V = X W_v$. Each word gets a new
#   vector, made from the words around it.
# - Without projections a word mostly looks at itself. With tied ones the scores are symmetric, and rock, paper, scissors
#   cannot be learned better than by chance.
# - $\mathrm{softmax}(Q K^\top/\sqrt{d_k})\,V$: the root of $d_k$, not of $d_\text{model}$; the values, not the inputs; a table
#   of $T \times T$.
# - A layer keeps its matrix turned over, `(d_out, d_in)`. PyTorch's own module reads boolean masks the other way round.
# - Self-attention is permutation-equivariant, $f(PX) = P f(X)$, at any depth. It sees a set. A causal mask, or a vector for each
#   place, gives it order.
# - Where endings tell the roles, order is not needed: Latin 100%, English exactly 50%.
#
# ## Further reading
#
# - J. Cheng, L. Dong, M. Lapata, "Long Short-Term Memory-Networks for Machine Reading", 2016. Attention of a text to itself,
#   within a recurrent network: *intra-attention*.
# - A. Parikh, O. Täckström, D. Das, J. Uszkoreit, "A Decomposable Attention Model for Natural Language Inference", 2016.
#   Attention without recurrence; its variant of the model with intra-sentence attention adds a bias for the distance.
# - Z. Lin et al., "A Structured Self-attentive Sentence Embedding", 2017. Self-attentive in another sense: scores from the
#   values alone, as in chapter 3, several at a time.
# - A. Vaswani et al., "Attention Is All You Need", 2017. Self-attention in place of recurrence. Section 4 asks why.
# - M. Zaheer et al., "Deep Sets", 2017. What invariant and equivariant functions of sets look like.
# - M. E. Peters et al., "Deep Contextualized Word Representations", 2018. ELMo: a word's vector from its sentence, by LSTMs.
# - J. Lee et al., "Set Transformer: A Framework for Attention-based Permutation-Invariant Neural Networks", 2019.
#   Self-attention where the input is a set.
# - K. Ethayarajh, "How Contextual are Contextualized Word Representations? Comparing the Geometry of BERT, ELMo, and GPT-2
#   Embeddings", 2019. How far apart the vectors of one word are.
# - N. Kitaev, Ł. Kaiser, A. Levskaya, "Reformer: The Efficient Transformer", 2020. Queries and keys tied, and what that takes.
# - C. Yun et al., "Are Transformers universal approximators of sequence-to-sequence functions?", 2020. Without positions, of
#   equivariant functions; with them, of all continuous ones on a compact set.
# - A. Haviv et al., "Transformer Language Models without Positional Encodings Still Learn Positional Information", 2022. The
#   clock in the causal mask.
#
# **Next:** [9 · Multi-head](../09_multi_head/09_multi_head.ipynb). A verb wants to know who acts, *and* whom, *and* when. One softmax has one look to spend. Give it several.
