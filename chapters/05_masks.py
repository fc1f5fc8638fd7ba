# %% [markdown]
# # 5 · Masks
#
# **Who may look at whom?**
#
# A network that writes is trained on a simple game: here are some words, guess the next one. One sentence holds many
# such games. After *the* comes *cat*, after *the cat* comes *sat*, and so on. It would be a waste to play them one by
# one, so attention plays all of them at once. But then the whole sentence lies on the table, *with the answers in it*.
#
# Something has to cover the answers up. That something is a **mask**: a table of yes and no, made in one line. When the
# line is wrong there is no error message. Make it wrong by a single place, and you get the best training curve of your
# life, from a network that cannot write a word. You will see both in this chapter, and build an instrument that
# finds such a leak in a second.
#
# *About two and a half hours, 65 minutes of them for the five exercises. You need chapters 1 and 4.*

# %%
import re

import matplotlib.pyplot as plt
import numpy as np
import torch

from attnlab import interactive, plotting
from attnlab.data import characters
from attnlab.softmax import softmax  # from chapter 1
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN, PURPLE = plotting.COLOURS[:4]
INK = plotting.INK

# %% tags=["demo", "hide-input"] alt="Five rows of six cards: the cat sat by the fire. In the first row only the is open, cat is the answer to guess, the rest is covered. In each row below one more card is open and the answer moves one to the right. The open cards form a staircase, the lower left triangle of the table."
words = ["the", "cat", "sat", "by", "the", "fire"]

with plotting.house_style():
    fig, ax = plt.subplots(figsize=(8, 3.7))
    for t in range(5):
        for s, word in enumerate(words):
            card = {"xy": (s, t), "width": 0.9, "height": 0.78}
            if s <= t:
                ax.add_patch(plt.Rectangle(**card, color=BLUE, linewidth=0))
                ax.text(s + 0.45, t + 0.39, word, ha="center", va="center", color="white", fontsize=13)
            elif s == t + 1:
                ax.add_patch(plt.Rectangle(**card, facecolor="none", edgecolor=ORANGE, linewidth=2))
                ax.text(s + 0.45, t + 0.39, f"{word}?", ha="center", va="center", color=ORANGE, fontsize=13)
            else:
                ax.add_patch(plt.Rectangle(**card, facecolor="none", edgecolor=INK, hatch="////", alpha=0.35))
        ax.text(-0.15, t + 0.39, f"game {t + 1}", ha="right", va="center")
    ax.set(xlim=(-0.9, 6), ylim=(5, -0.1))
    ax.axis("off")
    plt.show()

# %% [markdown]
# Five games from six words. Blue lies open, orange is to be guessed, grey is covered. Now read it as a table: each row
# is a word that looks (a **query**), each column a word that may be looked at (a **key**). The blue staircase *is* the
# mask. Nothing else in this chapter is more complicated than that staircase, and nearly everything can go wrong with
# it.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(5)

# %% [markdown]
# ## One line for each mask
#
# A mask is a boolean table of shape $(T, S)$: a row for each of $T$ queries, a column for each of $S$ keys.
#
# $$\mathrm{mask}[t, s] = \text{True} \quad\Longleftrightarrow\quad \text{query } t \text{ may look at key } s.$$
#
# **True means: may look.** Say it aloud once. Some libraries mean the opposite ("True = ignore"), and PyTorch means both,
# depending on the function. In this course it is always the permission.
#
# You could fill the table by hand. But who may look at whom follows a rule, and the rule is a comparison of two
# *places*: $t$, the place of the one who looks, and $s$, the place of the one who is looked at. Write the places of the
# queries as a column and those of the keys as a row. Then NumPy compares every one with every other, and one line makes
# the table.

# %% tags=["demo"]
t = np.arange(4)[:, None]  # shape (4, 1)
s = np.arange(4)[None, :]  # shape (1, 4)
print("places of the queries:", t.ravel(), "as a column")
print("places of the keys:   ", s.ravel(), "as a row\n")
print("s == t\n" + str((s == t).astype(int)))

# %% [markdown]
# Here are eight such lines, for eight words. **Cover the pictures with your hand, read only the lines, and guess the
# shape of each.** What might the fifth be good for, or the eighth?

# %% tags=["demo", "hide-input"] alt="Eight grids of eight by eight cells, each titled with its line of code; filled cells may be looked at. s < 5: five full columns. s <= t: the lower left triangle. abs(s - t) <= 2: a band along the diagonal. s <= t and t - s <= 2: the lower half of that band. s < 3 or s <= t: triangle plus the first three columns. doc[s] == doc[t] and s <= t: two separate triangles. s <= t and (t - s) % 3 == 0: diagonal stripes. abs(s - t) <= 1 or s == 0 or t == 0: a narrow band, the first row and the first column."
doc = np.array([0, 0, 0, 0, 0, 1, 1, 1])  # which of two texts a word belongs to


def grid(may_look, T=8, S=8):
    """A rule about places t and s as a table of shape (T, S)."""
    t, s = np.arange(T)[:, None], np.arange(S)[None, :]
    return np.broadcast_to(may_look(t, s), (T, S))


def draw(ax, mask, colour=BLUE):
    """A table of yes and no: filled where the query (row) may look at the key (column)."""
    T, S = mask.shape
    for t in range(T):
        for s in range(S):
            look = {"facecolor": colour} if mask[t, s] else {"facecolor": INK, "alpha": 0.13}
            ax.add_patch(plt.Rectangle((s, t), 0.9, 0.9, linewidth=0, **look))
    ax.set(xlim=(-0.1, S), ylim=(T, -0.1), aspect="equal", xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


rules = {
    "s < 5": lambda t, s: s < 5,
    "s <= t": lambda t, s: s <= t,
    "abs(s - t) <= 2": lambda t, s: abs(s - t) <= 2,
    "(s <= t) & (t - s <= 2)": lambda t, s: (s <= t) & (t - s <= 2),
    "(s < 3) | (s <= t)": lambda t, s: (s < 3) | (s <= t),
    "(doc[s] == doc[t]) & (s <= t)": lambda t, s: (doc[s] == doc[t]) & (s <= t),
    "(s <= t) & ((t - s) % 3 == 0)": lambda t, s: (s <= t) & ((t - s) % 3 == 0),
    "(abs(s - t) <= 1) | (s * t == 0)": lambda t, s: (abs(s - t) <= 1) | (s * t == 0),
}
with plotting.house_style():
    fig, axes = plt.subplots(2, 4, figsize=(9.4, 5.3))
    for number, (ax, (line, rule)) in enumerate(zip(axes.flat, rules.items(), strict=True), 1):
        draw(ax, grid(rule))
        short = line.replace(") & (", ")\n& (").replace(") | (", ")\n| (")  # on two lines
        ax.set_title(f"{number}.  {short}", fontsize=9.5, family="DejaVu Sans Mono")
    axes[1, 0].set_ylabel("queries t")
    axes[1, 0].set_xlabel("keys s")
    plt.show()

# %% [markdown]
# 1. **Padding.** The text has five words and was filled up to eight. Nobody may look at the filling.
# 2. **Causal.** The staircase: nobody may look into the future.
# 3. **Local.** Everyone sees the neighbourhood only.
# 4. **Sliding window.** Both of the above: the near past.
# 5. **Prefix.** A question of three words is read as a whole, the answer is written word by word.
# 6. **Packed.** Two texts share one row of a batch, and must not hear each other.
# 7. **Strided.** Every third word: looks far at a third of the price.
# 8. **A reporter.** Neighbours talk, and word 0 sees everyone and is seen by everyone.
#
# You will write 1 to 3, and the tool that makes 4 and 6 from simpler ones.
#
# ### Filling up: the padding mask
#
# Sentences have different lengths, arrays have one. So a batch is as wide as its longest sentence, and the others are
# filled up with a token that means nothing. It means nothing *to you*. To the network it is a vector like any other,
# and attention will gladly give it weight.
#
# The scores of a batch have four axes, $(B, H, T, S)$: sequence, head, query, key. (Heads, several attentions side by
# side, come in chapter 9. Until then $H = 1$ or the axis is missing.) Whether a key is filling depends on the sequence
# and on the key, and on nothing else. So the mask has shape $(B, 1, 1, S)$, and NumPy repeats it along the axes of
# length 1.
#
# **Should a filled-in *query* be hidden too?** Think before you unfold.
#
# <details><summary>Should it?</summary>
#
# No need. A padded query looks at real words, computes something, and nobody reads it: its output is dropped, and other
# queries meet it only as a *key*, which is hidden already. If you hide its row as well, you get rows that may look at
# nothing, and those want special care, as you will see.
#
# </details>
#
# {{exercise padding_mask}}
#
# $$\mathrm{mask}[b, 0, 0, s] = \bigl(s < \mathrm{lengths}[b]\bigr)$$
#
# `lengths` is an array of $B$ whole numbers from 0 to $S$. The answer is boolean, of shape $(B, 1, 1, S)$.
#
# *By hand:* for `lengths = [2, 3]` and `S = 3`, sequence 0 gets `[True, True, False]`, sequence 1 gets
# `[True, True, True]`.
#
# <details><summary>Hint 1: the idea</summary>
#
# Places as a row, lengths as a column, one comparison. Then insert the two axes of length 1: indexing with `None` does
# it.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `is_word = np.arange(S)[None, :] < lengths[:, None]`, of shape $(B, S)$.
#
# </details>


# %% exercise="padding_mask"
def padding_mask(lengths, S):
    """True for the words of each sequence, False for the padding behind.

    lengths  array (B,) of whole numbers from 0 to S
    S        how many places each sequence has, padding included

    Returns a boolean array of shape (B, 1, 1, S).
    """
    ### BEGIN SOLUTION
    is_word = np.arange(S) < lengths[:, None]
    return is_word[:, None, None, :]
    ### END SOLUTION


# %% [markdown]
# ### No looking ahead: the causal mask
#
# With as many keys as queries the rule is $s \le t$. Note the "or equal": a word may look at itself. It is known; what
# is unknown is the *next* one.
#
# But often there are more keys than queries. Picture a network that writes. It has seen $S - T$ words and has kept
# their keys and values in a **cache**. Now $T$ new words come in. Only they ask; but they may look at everything that
# was there before them. The table has $T$ rows and $S$ columns, and the staircase no longer fits from edge to edge.
# **Where does it belong?** Here are the two candidates for $T = 3$, $S = 8$. Decide, and give a reason.

# %% tags=["demo", "hide-input"] alt="Left: candidate A, three rows of eight cells, the staircase starts at the left edge: the rows see one, two and three keys. Right: candidate B, the staircase ends at the right edge: the rows see six, seven and eight keys."
with plotting.house_style():
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 1.9))
    draw(axes[0], grid(lambda t, s: s <= t, T=3), ORANGE)
    draw(axes[1], grid(lambda t, s: s <= t, T=8)[5:], GREEN)
    axes[0].set_title("A: aligned at the start")
    axes[1].set_title("B: aligned at the end")
    plt.show()

# %% [markdown]
# <details><summary>A or B?</summary>
#
# B. The three queries are not the first three words of the text, they are the *last* three: its words 5, 6 and 7. In A,
# the newest word of all could look at words 0, 1 and 2 and at nothing since, not even at itself.
#
# </details>
#
# The reason in one sentence: *it may make no difference whether a text comes in at once or in pieces.* Take the mask of
# the whole text, and cut off the rows of the words that have been read already. What remains must be the mask for the
# new ones. So the mask of $T$ new words is **the last $T$ rows of the square one**, and row $t$ of it belongs to word
# $t + S - T$ of the text.

# %% tags=["demo", "hide-input"] alt="A square mask of eight by eight, a lower left triangle. Its first five rows are pale and labelled read already; its last three rows are framed and labelled the three new words, places 5, 6 and 7."
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(6.4, 3.4))
    square = grid(lambda t, s: s <= t)
    draw(ax, square)
    for patch in ax.patches[:40]:
        patch.set_alpha(0.13 if patch.get_alpha() else 0.35)
    for patch in ax.patches[40:]:
        patch.set_facecolor(GREEN if patch.get_alpha() is None else INK)
    ax.add_patch(plt.Rectangle((-0.12, 4.9), 8.14, 3.1, fill=False, edgecolor=GREEN, linewidth=2, clip_on=False))
    ax.text(8.3, 2.4, "read already:\nkeys in the cache,\nno queries any more", va="center")
    ax.text(8.3, 6.4, "the T = 3 new words:\nrow 0 is word 0 + 8 − 3 = 5", va="center", color=GREEN)
    ax.set(xlim=(-0.2, 14), ylim=(8.1, -0.2))
    plt.show()

# %% [markdown]
# {{exercise causal_mask}}
#
# $$\mathrm{mask}[t, s] = \bigl(s \le t + S - T\bigr)$$
#
# The queries are the last $T$ of $S$ words, $S \ge T$. The answer is boolean, of shape $(T, S)$.
#
# *By hand:* for $T = 2$, $S = 4$ the rows are `[True, True, True, False]` and `[True, True, True, True]`. A single new
# word, $T = 1$, sees everything.
#
# <details><summary>Hint 1: the idea</summary>
#
# Give each query its place in the *text*, not its row in the table. Then compare places.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `t = np.arange(S - T, S)[:, None]`
#
# </details>


# %% exercise="causal_mask"
def causal_mask(T, S):
    """True where a query may look: at its own place and before.

    The queries are the last T of S places.

    T  how many queries
    S  how many keys, at least T

    Returns a boolean array of shape (T, S).
    """
    ### BEGIN SOLUTION
    t = np.arange(S - T, S)[:, None]
    s = np.arange(S)[None, :]
    return s <= t
    ### END SOLUTION


# %% [markdown]
# ### Only the neighbours: the local mask
#
# A text of 10,000 words has 100 million pairs, and most words are of no interest to most others. A **local** mask
# permits the keys at most `radius` places away, to both sides. Away from the ends of the text that is
# $2 \cdot \mathrm{radius} + 1$ keys a query, however long the text.
#
# {{exercise local_mask}}
#
# $$\mathrm{mask}[t, s] = \bigl(|s - (t + S - T)| \le \mathrm{radius}\bigr)$$
#
# Aligned at the end, as the causal mask is. The answer is boolean, of shape $(T, S)$.
#
# *By hand:* for $T = 2$, $S = 4$, radius 1 the queries are words 2 and 3. Word 2 sees 1, 2, 3; word 3 sees 2 and 3.
#
# <details><summary>Hint 1: the idea</summary>
#
# The same two lines of places as before; only the comparison is another one. The distance has no sign.
#
# </details>
#
# <details><summary>Hint 2: the last line</summary>
#
# `return abs(s - t) <= radius`
#
# </details>


# %% exercise="local_mask"
def local_mask(T, S, radius):
    """True where a key is at most radius places from the query.

    The queries are the last T of S places.

    T       how many queries
    S       how many keys, at least T
    radius  a whole number, 0 or more

    Returns a boolean array of shape (T, S).
    """
    ### BEGIN SOLUTION
    t = np.arange(S - T, S)[:, None]
    s = np.arange(S)[None, :]
    return abs(s - t) <= radius
    ### END SOLUTION


# %% [markdown]
# ### Every mask is a veto
#
# A network that writes, trained on a batch, needs two masks at once: no padding *and* no future. Think of each mask as
# an official who can say no. A look is permitted if no one objects. So masks are combined with *and*.
#
# (Rules 5 and 8 above contain an *or*. There it stands inside one rule, between two reasons to permit something. Between
# two masks, *or* would let the causal one wave the padding through.)
#
# {{exercise combine}}
#
# `combine(*masks)` takes any number of masks and returns their logical *and*. Their shapes need not be equal, only
# broadcast: $(B, 1, 1, S)$ with $(T, S)$ gives $(B, 1, T, S)$. A caller who has no mask passes `None`. That is no
# objection, so pass it over. If nothing but `None` comes, return `None`. Leave the masks as they are: other layers use
# them too.
#
# *By hand:* `combine([T, T, F, F], [T, F, T, F])` is `[T, F, F, F]`.
#
# <details><summary>Hint 1: the idea</summary>
#
# Start with nothing, `None`. For each mask that is there: the first one is taken as it is, each further one is combined
# with what you have.
#
# </details>
#
# <details><summary>Hint 2: the operator</summary>
#
# Between boolean arrays *and* is written `&`, and it broadcasts. Beware of `&=`: it writes into an array that belongs
# to someone else.
#
# </details>


# %% exercise="combine"
def combine(*masks):
    """What every one of the masks permits: their logical and.

    masks  boolean arrays whose shapes broadcast; None stands for no mask

    Returns a boolean array of the broadcast shape, or None if there was
    no mask. Changes none of the masks.
    """
    ### BEGIN SOLUTION
    permitted = None
    for mask in masks:
        if mask is not None:
            permitted = mask if permitted is None else permitted & mask
    return permitted
    ### END SOLUTION


# %% [markdown]
# Your three masks at work: a batch of three sequences with 7, 4 and 0 words, filled up to 7, each word seeing itself
# and the two before it. **What will the third table look like? And
# does any row of the second stay empty?**

# %% tags=["demo", "hide-input"] alt="Three grids of seven by seven. For seven words: a band of width three below and on the diagonal. For four words: the same band cut off after the fourth column, so the last row is empty. For no words: all cells empty."
with interactive.once_solved("padding_mask, causal_mask, local_mask and combine"):
    lengths = np.array([7, 4, 0])
    together = combine(padding_mask(lengths, 7), causal_mask(7, 7), local_mask(7, 7, 2))  # shape (3, 1, 7, 7)
    with plotting.house_style():
        fig, axes = plt.subplots(1, 3, figsize=(8.4, 2.9))
        for ax, mask, n in zip(axes, together[:, 0], lengths, strict=True):
            draw(ax, mask)
            ax.set_title(f"{n} words")
        plt.show()
    print("rows that may look at nothing:", (~together.any(-1)).sum((1, 2)), "of 7 each")

# %% [markdown]
# Two sensible masks have made rows without a single yes: the last query of the second sequence sees only filling, and
# filling is forbidden. Nobody meant this to happen. It does, wherever a window is narrow, a
# sequence is empty, or the padding stands on the left; remember it.
#
# ## From yes and no to weights
#
# We have scores and a mask. How does the mask get into the softmax? Here is a row with four scores, of which the last
# two are padding. What the weights *ought* to be is not in doubt: as if the padding had never been there.
# **Which of these recipes gets it right?**
#
# | | recipe |
# |---|---|
# | a | softmax, then multiply by the mask |
# | b | multiply the scores by the mask, then softmax |
# | c | add the mask (1 and 0) to the scores, then softmax |
# | d | replace hidden scores by −20, then softmax |
# | e | replace hidden scores by −∞, then softmax |

# %% tags=["demo"]
scores = np.array([2.0, 1.0, 3.0, 0.5])
mask = np.array([True, True, False, False])
recipes = {
    "without the padding": np.append(softmax(scores[:2]), [0, 0]),
    "a  softmax(x) · m": softmax(scores) * mask,
    "b  softmax(x · m)": softmax(scores * mask),
    "c  softmax(x + m)": softmax(scores + mask),
    "d  −20 filled in": softmax(np.where(mask, scores, -20)),
    "e  −∞ filled in": softmax(np.where(mask, scores, -np.inf)),
}
print(f"{'':19}{'the two words':>30}{'the padding':>18}{'sum':>7}")
for name, weights in recipes.items():
    words_get = "".join(f"{weight:15.12f}" for weight in weights[:2])
    padding_gets = "".join(f"{weight:9.1e}" for weight in weights[2:])
    print(f"{name:19}{words_get}{padding_gets}  {weights.sum():.3f}")

# %% [markdown]
# - **a** hides the padding, but the rest do not sum to one. The padding has eaten from the cake before it was shared out.
# - **b** gives the padding a score of 0. *Zero is not "none", it is an ordinary score*: $e^0 = 1$.
# - **c** gives the others a small advantage. Nothing is hidden.
# - **d** looks perfect, until you look at the last digits. We shall come back to them.
# - **e** is right, to the last digit.
#
# ### Why −∞
#
# Write the permission as a number, $m_j = 1$ for yes and $0$ for no. We want the softmax of the permitted scores alone,
# which is
#
# $$p_i = \frac{m_i\,e^{x_i}}{\sum_j m_j\,e^{x_j}}.$$
#
# The mask stands *inside* the sum. That is what recipe a gets wrong. Now pull it up into the exponent:
#
# $$m_i\,e^{x_i} = e^{x_i + \log m_i}, \qquad \log 1 = 0, \quad \log 0 = -\infty.$$
#
# So **a mask is a score**: the logarithm of the permission. Yes adds 0, no adds $-\infty$, and an ordinary softmax does
# the rest. It also says why masks combine by *and*: permissions multiply, $m \cdot m'$, and their logarithms add.
#
# And on the way back? In chapter 1 the gradient with respect to score $j$ was $p_j\,(g_j - \bar g)$. A hidden key has
# $p_j = 0$: it gets no gradient, and its $g_j$ does not enter the average $\bar g$. It is neither heard nor taught.
#
# ### The row that may look at nothing
#
# In such a row all scores are $-\infty$, so its maximum is $-\infty$, and $-\infty - (-\infty)$ is not a number. The
# formula agrees: $0/0$. There *is* no right answer to "share one look among nobody". But we have to return something,
# and the candidates are not equally harmless:
#
# - **NaN** spoils whatever it touches. You might think that this row is dropped from the loss anyway, so who cares.
#   But it is dropped by multiplying with 0, and $0 \cdot \mathrm{NaN}$ is NaN.
# - **Equal weights** average over the padding: the query looks at exactly what it was told not to look at.
# - **Zeros.** The output is a zero vector, "nothing was seen", and no gradient flows. That is what this course does.
#
# {{exercise masked_softmax}}
#
# $$\mathrm{masked\_softmax}(x, m)_i = \frac{m_i\,e^{x_i}}{\sum_j m_j\,e^{x_j}}, \qquad
# \text{and } 0 \text{ where the sum is empty,}$$
#
# along the last axis. `scores` has any shape $(\dots, T, S)$, `mask` is boolean and broadcasts to it. The answer has the
# shape of the scores. It must be right for *all* finite scores, however great or small, permitted or hidden. Change
# neither of the arrays. You may use `softmax` from chapter 1, imported above; it takes $-\infty$ as a score.
#
# *By hand:* for the scores $(0, \ln 3, 5)$ with the last one hidden, $(\tfrac14, \tfrac34, 0)$. With all three hidden,
# $(0, 0, 0)$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two steps. First the ordinary rows: `np.where(mask, scores, -np.inf)`, then `softmax`. Then the rows without a key:
# find them with `mask.any(axis=-1, keepdims=True)`.
#
# </details>
#
# <details><summary>Hint 2: the empty rows</summary>
#
# In an empty row, put any finite numbers in place of the −∞, so that softmax has something to chew on; then replace its
# weights by zeros. Or let the NaN happen and replace it; `with np.errstate(invalid="ignore"):` keeps NumPy from
# warning you of it. (In PyTorch the second way has a trap; see below.)
#
# </details>


# %% exercise="masked_softmax"
def masked_softmax(scores, mask):
    """Softmax over the permitted keys alone; the others get weight 0.

    A row that permits nothing gets zeros.

    scores  array (..., T, S)
    mask    boolean array that broadcasts to it, True = may look

    Returns an array of the shape of scores. Changes neither of the two.
    """
    ### BEGIN SOLUTION
    has_key = np.any(mask, axis=-1, keepdims=True)
    hidden = np.where(mask, scores, -np.inf)
    weights = softmax(np.where(has_key, hidden, 0.0))
    return np.where(has_key, weights, 0.0)
    ### END SOLUTION


# %% [markdown]
# ### Paint a mask
#
# Here are made-up scores of our six words, under *your* causal mask. The page works out the weights anew whenever you change
# the mask: click a cell, or drag over many, or tick a rule. **Look at the last row first:** what does *fire* give to each word?
# You are going to hide its favourite. *Guess what each of the others will get, and by what factor it grows; then click.* Go
# on until the row is empty.


# %% tags=["demo"]
def to_paint():
    with interactive.once_solved("causal_mask and masked_softmax"):
        scores = np.random.default_rng(7).normal(size=(6, 6))
        mask = causal_mask(6, 6)
        print("the last row by your masked_softmax:", masked_softmax(scores, mask)[-1].round(3))
        return interactive.attention_map(scores=scores, queries=words, keys=words, mask=mask)


to_paint()

# %% [markdown]
# <details><summary>What does hiding do to the others?</summary>
#
# Whoever had weight $h$ leaves, and the rest share its part in the proportions they had: all grow by the same factor,
# $1/(1 - h)$. So a mask can change *how much* a row reads of a word, never which of two open words it prefers. And
# when the last one is hidden, the row gives zeros: there is nobody left to grow.
#
# </details>
#
# ### Alone and in company
#
# The law that a padding mask must obey can be said without any formula: *a sentence means the same, whoever else is in
# the batch.* Let us test it. A sentence of four words attends to itself, alone. Then the same sentence stands in a
# batch seven places wide, and the filling is a vector of noise. How much do the outputs of the four words change?

# %% tags=["demo"]
with interactive.once_solved("padding_mask and masked_softmax"):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 1, 7, 16))  # one sequence, one head, seven places; the last three are filling
    scores = x @ x.swapaxes(-1, -2) / 4  # scaled dot products, √16 = 4; shape (1, 1, 7, 7)
    alone = softmax(scores[..., :4, :4]) @ x[:, :, :4]
    keys = padding_mask(np.array([4]), 7)  # shape (1, 1, 1, 7)
    queries = keys.swapaxes(-1, -2)  # the same, but for the wrong axis
    everything = np.ones((1, 1, 1, 7), dtype=bool)
    for name, mask in (("no mask", everything), ("queries masked", queries), ("keys masked", keys)):
        company = masked_softmax(scores, mask) @ x
        print(f"{name:15} greatest change of an output: {abs(company[:, :, :4] - alone).max():.2g}")

# %% [markdown]
# The middle line is the one to remember: a mask on the wrong axis *is no mask at all* for the real words. It has the
# right number of zeros, and the loss goes down.
#
# ## The best training curve of your life
#
# Now the promise from the beginning. We train a small network to guess the next character of English text: one
# attention layer between an embedding and a small network (chapter 20 builds a real one). It reads windows of 24
# characters and plays all 24 games of a window at once, under a mask. Two runs, equal in everything but one character
# of code:
#
# | run | the line that makes the mask | the rule |
# |---|---|---|
# | honest | `torch.ones(n, n, dtype=torch.bool).tril(0)` | `s <= t` |
# | leaky | `torch.ones(n, n, dtype=torch.bool).tril(1)` | `s <= t + 1` |
#
# The text is what Python's own `help()` knows about the language. **Write down a guess:** what will the loss
# of the leaky run do, and how well will the network write? A network that knows nothing but how frequent each character
# is has a loss of 2.9. Rolling dice among 29 characters has 3.4.


# %% tags=["demo"]
data = characters.load()
alphabet = " ,.abcdefghijklmnopqrstuvwxyz"  # everything else becomes a blank
V, n, d = len(alphabet), 24, 64


def encode(text):
    """A text as whole numbers, the places of its characters in the alphabet."""
    plain = re.sub(r"[^a-z.,]+", " ", text.lower())
    return torch.tensor([alphabet.index(c) for c in plain])


training, held_out = encode(data.train.text), encode(data.test.text)
windows = held_out[torch.arange(0, len(held_out) - n, n)[:, None] + torch.arange(n + 1)]  # shape (…, 25)
shares = torch.bincount(training, minlength=V) / len(training)
only_frequencies = -shares[held_out].log().mean().item()
print(f"{len(training):,} characters to learn from, {len(held_out):,} held out")
print(f"from {data.source}")
print(f"loss of the frequencies alone {only_frequencies:.2f}, of dice {np.log(V):.2f}")


def predict(weights, x, mask):
    """Scores for the character after each of the last T places of x, with a mask of shape (T, S)."""
    places, E, W_q, W_k, W_v, W_o, W_1, W_2, W_out = weights
    T, S = mask.shape
    h = E[x] + places[:S]  # a vector for the character, and one for its place
    new = h[:, -T:]  # shape (B, T, d)
    seen = torch.nn.functional.scaled_dot_product_attention(new @ W_q, h @ W_k, h @ W_v, attn_mask=mask)
    h = new + seen @ W_o
    h = h + torch.relu(h @ W_1) @ W_2
    return h @ W_out


def loss_of(weights, batch, mask):
    """Cross-entropy at each place, in nats, shape (B, T); batch holds S + 1 characters a row."""
    guesses = predict(weights, batch[:, :-1], mask)
    answers = batch[:, -guesses.shape[1] :]
    return torch.nn.functional.cross_entropy(guesses.mT, answers, reduction="none")


def train(mask, steps=400):
    """A network trained under this mask, and its loss at every step."""
    random = torch.Generator().manual_seed(0)
    shapes = [(n, d), (V, d), (d, d), (d, d), (d, d), (d, d), (d, 4 * d), (4 * d, d), (d, V)]
    weights = [torch.randn(shape, generator=random) / d**0.5 for shape in shapes]
    optimiser = torch.optim.Adam([w.requires_grad_() for w in weights], lr=4e-3)
    curve = []
    for _ in range(steps):
        start = torch.randint(len(training) - n, (64, 1), generator=random)
        loss = loss_of(weights, training[start + torch.arange(n + 1)], mask).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        curve.append(loss.item())
    return [w.detach() for w in weights], curve


# %% tags=["demo", "hide-input"] alt="Two training curves over 400 steps. The honest loss falls from above three to about one point eight and stays there. The leaky loss drops within some fifty steps to about a tenth."
runs = {}
for name, extra in (("honest", 0), ("leaky", 1)):
    mask = torch.ones(n, n, dtype=torch.bool).tril(extra)
    runs[name] = (mask, *train(mask))
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.6, 3.2))
    for (name, (_, _, curve)), colour in zip(runs.items(), (BLUE, ORANGE), strict=True):
        ax.plot(curve, color=colour, linestyle="-")
        ax.text(398, curve[-1] + 0.2, name, ha="right", color=colour, fontsize=12)
        print(f"{name:7} mean loss of the last 50 steps: {np.mean(curve[-50:]):.2f}")
    ax.axhline(only_frequencies, color=INK, linestyle=":")
    ax.text(398, only_frequencies + 0.06, "knows only how frequent each character is", ha="right")
    ax.set(xlabel="step", ylabel="loss", ylim=(0, 3.9))
    plt.show()
with interactive.once_solved("causal_mask"):
    print("your causal_mask is the honest one:", bool((causal_mask(n, n) == runs["honest"][0].numpy()).all()))

# %% [markdown]
# Nearly zero. The text has not become predictable; the network has learned to *copy*. The answer to game $t$ is the
# character at place $t + 1$, and its key lies open.
#
# "But we have held-out text to catch that." **Do we? Guess the loss of the leaky network on text that it has never
# seen**, and then on something that nobody can predict: characters drawn with dice.
#
# The last column is the only one that counts. There the network has to *write*: it is given the first $k$ characters
# of a window and nothing more, and must say what comes next, for every $k$ from 1 to 24.

# %% tags=["demo"]
dice = torch.randint(V, (500, n + 1), generator=torch.Generator().manual_seed(2))


def writing_loss(weights, batch, one_row):
    """The loss after k characters, for each k: the network is given only those, and asks with its last place alone."""
    losses = [loss_of(weights, batch[:, : k + 1], torch.from_numpy(one_row(1, k))) for k in range(1, n + 1)]
    return torch.cat(losses, dim=1).mean(0)  # shape (24,)


with interactive.once_solved("causal_mask"):
    rows = []
    for name, (mask, weights, curve) in runs.items():
        same_mask, on_dice = loss_of(weights, windows, mask).mean(), loss_of(weights, dice, mask).mean()
        writes = writing_loss(weights, windows, causal_mask).mean()
        rows.append(f"{name:8}{np.mean(curve[-50:]):10.2f}{same_mask:22.2f}{on_dice:18.2f}{writes:15.2f}")
    print(
        f"{'':8}{'training':>10}{'held out, same mask':>22}{'dice, same mask':>18}{'has to write':>15}", *rows, sep="\n"
    )
    print(f"\nFrequencies alone: {only_frequencies:.2f}. The least that anyone can have on dice: {np.log(V):.2f}")

# %% [markdown]
# Read the lower line from left to right. The held-out loss is as splendid as the training loss: *the leak is in the
# examination, too*. On dice the leaky network does better than is possible, and that is the proof of fraud: nobody
# predicts dice. When it has to write, it does worse than someone who only knows that *e* is frequent; worse even than
# dice.
#
# The honest line: held out and writing agree to the last digit, as they must, for every game is played with the same
# cards. And on dice it does far worse than $\ln 29$. It expects English, firmly, and is wrong.
#
# Here is what they write: four times the same beginning, then twenty characters, one after the other.

# %% tags=["demo"]
with interactive.once_solved("causal_mask"):
    for name, (_, weights, _) in runs.items():
        random = torch.Generator().manual_seed(3)
        written = torch.tensor([[alphabet.index(c) for c in "the "]] * 4)  # shape (4, 4)
        while written.shape[1] < n:
            row = torch.from_numpy(causal_mask(1, written.shape[1]))  # one new character, all others in the cache
            guesses = predict(weights, written, row)[:, -1]
            written = torch.cat([written, torch.multinomial(torch.softmax(guesses, -1), 1, generator=random)], dim=1)
        print(name, *("    “" + "".join(alphabet[i] for i in row) + "”" for row in written), sep="\n")

# %% [markdown]
# One thing does not fit yet. The leaky loss is not zero, it is about a tenth. If every answer lies open, **where does
# the rest come from?** Look at the loss place by place.

# %% tags=["demo", "hide-input"] alt="Loss against the number of characters seen, 1 to 24. Honest: falls from two and a half to less than two. Leaky, under its own mask: zero at all places but the last, where it jumps up to about two and a half. Leaky when it has to write: sixteen after one character, ten after two, then mostly between four and six, above the dotted line of dice at three point four; only at the last place it falls below, where both leaky curves meet."
with interactive.once_solved("causal_mask"):
    honest_writes = writing_loss(runs["honest"][1], windows, causal_mask)
    leaky_writes = writing_loss(runs["leaky"][1], windows, causal_mask)
    leaky_claims = loss_of(runs["leaky"][1], windows, runs["leaky"][0]).mean(0)
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(8, 3.8))
        seen = np.arange(1, n + 1)
        ax.plot(seen, leaky_writes, "o-", color=ORANGE, markersize=4)
        ax.plot(seen, leaky_claims, "s--", color=ORANGE, markersize=4)
        ax.plot(seen, honest_writes, "o-", color=BLUE, markersize=4)
        ax.text(3.4, 10.2, "leaky, when it has to write", color=ORANGE)
        ax.text(6, 0.42, "leaky, as its training sees it", color=ORANGE)
        ax.text(6, 2.15, "honest, either way", color=BLUE)
        ax.axhline(np.log(V), color=INK, linestyle=":")
        ax.text(0.2, np.log(V) + 0.15, "dice")
        ax.set(xlabel="characters seen", ylabel="loss", xlim=(0, 25))
        plt.show()
    print(f"leaky, last place: {leaky_claims[-1]:.2f}; a 24th of that: {leaky_claims[-1] / n:.2f}")
    print(f"leaky, after one character: {leaky_writes[0]:.1f}, or one to {leaky_writes[0].exp():,.0f} for the truth")
    first = predict(runs["leaky"][1], windows[:, :1], torch.from_numpy(causal_mask(1, 1)))[:, 0].argmax(-1)
    print(f"and its first guess is the very character it was given in {(first == windows[:, 0]).double().mean():.0%}")

# %% [markdown]
# At the last place of a window there is no next key to peek at. It is the one game in 24 that the leaky network has to
# play honestly, and the whole loss comes from there. That is also why the fraud survives for so long in practice: a
# loss that is small but not zero looks like a *very good model*.
#
# And look at the left end. After a single character the leaky network gives the truth a chance of one in millions. It
# is not ignorant, it is *certain of something wrong*. It has learned to copy the newest character it can see. In
# training that was the next one. Here it is the last one, so after *t* it says *t*, and after a blank it writes blanks.
#
# ### A mask in the wrong place, too late
#
# The honest network is innocent, and you can still ruin it. When it writes, one query meets $k$ keys: $T < S$. Give it
# candidate A from above, the staircase aligned at the start.

# %% tags=["demo"]
with interactive.once_solved("causal_mask"):
    weights = runs["honest"][1]
    for name, one_row in (("end", causal_mask), ("start", lambda T, S: grid(lambda t, s: s <= t, T, S).copy())):
        writes = writing_loss(weights, windows, one_row)
        print(f"aligned at the {name:6} loss when writing {writes.mean():.2f}, after 1 character {writes[0]:.2f}")

# %% [markdown]
# The same weights, the same text. With the wrong alignment the newest character may look at the *first* one and at no
# other, not even at itself. Training never shows it, since there $T = S$ and both alignments agree. At the very
# first character they still agree, $T = S = 1$. Everything after it is broken. **Test a mask with $T < S$**, always.
#
# ## A leak detector
#
# Must one train two networks to find out? No. Ask calculus instead. If output $t$ may not depend on input $s$, then
# nudging input $s$ may not move it:
#
# $$\frac{\partial\,\mathrm{output}_t}{\partial\,\mathrm{input}_s} = 0 \qquad\text{for every } s > t.$$
#
# Not small: zero. One backward pass for each output gives one row of a table, and the table shows every leak there is,
# wherever in the code it sits. (An output is a vector, and a backward pass starts from one number. So the code mixes the
# numbers of the vector with random factors. If none of them moves, neither does the mixture; and if one does, it would
# take a miracle for the mixture to stand still.)
#
# Four attentions go under the detector, all meant to be causal. **Which of them will have
# a clean upper right half?**
#
# | | |
# |---|---|
# | A | −∞ before the softmax |
# | B | the same, with `s <= t + 1` |
# | C | softmax first, then multiplied by the mask |
# | D | −20 before the softmax |


# %% tags=["demo"]
def sensitivity(f, x):
    """How far output t moves with input s: the size of ∂f(x)_t / ∂x_s, shape (T, T), for x of shape (T, d)."""
    x = x.clone().requires_grad_()
    out = f(x)
    probe = torch.randn(out.shape[-1], dtype=out.dtype, generator=torch.Generator().manual_seed(7))
    rows = [torch.autograd.grad(out[t] @ probe, x, retain_graph=True)[0].norm(dim=-1) for t in range(len(x))]
    return torch.stack(rows)


def attention(weights_of):
    """Self-attention whose scores become weights by the function that is given."""
    return lambda x: weights_of(x @ x.T / x.shape[-1] ** 0.5) @ x


# %% tags=["demo", "hide-input"] alt="Four heat maps of eight by eight with a logarithmic scale; cells that are exactly zero are hatched. A: lower triangle filled, upper hatched. B: filled one place beyond the diagonal. C: everything filled, the upper half nearly as bright as the lower. D: everything filled, the upper half dark, around one billionth."
past, one_more = (torch.ones(8, 8, dtype=torch.bool).tril(k) for k in (0, 1))
suspects = {
    "A: −∞ before": lambda x: torch.softmax(x.masked_fill(~past, -torch.inf), -1),
    "B: one place too many": lambda x: torch.softmax(x.masked_fill(~one_more, -torch.inf), -1),
    "C: multiplied after": lambda x: torch.softmax(x, -1) * past,
    "D: −20 before": lambda x: torch.softmax(x.masked_fill(~past, -20.0), -1),
}
x = torch.randn(8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
with plotting.house_style():
    fig, axes = plt.subplots(1, 4, figsize=(9.8, 2.9))
    for ax, (name, weights_of) in zip(axes, suspects.items(), strict=True):
        table = sensitivity(attention(weights_of), x)
        shown = torch.where(table > 0, table.log10(), torch.nan)
        image = ax.imshow(shown, cmap="viridis", vmin=-10, vmax=1)
        ax.patch.set(hatch="///", edgecolor=INK, alpha=0.5)  # seen where a cell is left out
        ax.set(title=name, xticks=[], yticks=[], xlabel="input s")
        ax.title.set_fontsize(11)
        print(f"{name:24} greatest gradient from the future: {table[~past].max():.1e}")
    axes[0].set_ylabel("output t")
    fig.colorbar(image, ax=axes, shrink=0.8, label="log₁₀ of the gradient").outline.set_visible(False)
    plt.show()

# %% [markdown]
# Hatched cells are exactly zero. A is clean. B shows its one diagonal. D leaks a billionth.
#
# **C is the surprise.** The weights on the future are exactly zero there; print them, and all seems well. But the
# *future scores still stand in the denominator*. They decide how much the past is worth: a loud future makes the past
# quiet. A network can learn to read that. The picture of the weights would never have told you. The gradient does.
#
# ### Masks stack
#
# A network has many layers, and layer 2 looks at what layer 1 has seen. **Three layers, each with a local mask of radius
# 1: how far does an output see? And three layers with the leak of one place?**

# %% tags=["demo", "hide-input"] alt="Two rows of three grids. One layer: the causal triangle, a band of radius one, the triangle with one leaking diagonal. Three layers: the causal triangle unchanged, a band of radius three, the triangle with three leaking diagonals."
base = {
    "causal": grid(lambda t, s: s <= t),
    "local, radius 1": grid(lambda t, s: abs(s - t) <= 1),
    "leaks one place": grid(lambda t, s: s <= t + 1),
}


def layers(mask, depth):
    """So many layers of attention, one upon the other, all under one mask."""
    hide = ~torch.from_numpy(mask.copy())
    layer = attention(lambda x: torch.softmax(x.masked_fill(hide, -torch.inf), -1))

    def stack(x):
        for _ in range(depth):
            x = layer(x)
        return x

    return stack


with plotting.house_style():
    fig, axes = plt.subplots(2, 3, figsize=(7.2, 5))
    for column, (name, mask) in zip(axes.T, base.items(), strict=True):
        for ax, depth in zip(column, (1, 3), strict=True):
            reached = (sensitivity(layers(mask, depth), x) > 0).numpy()
            assert (reached == (np.linalg.matrix_power(mask.astype(int), depth) > 0)).all()
            draw(ax, reached, ORANGE if "leak" in name else BLUE)
            ax.set_title(f"{name}, {depth} layer{'s' * (depth > 1)}", fontsize=11)
    plt.show()

# %% [markdown]
# Filled is what the gradient found. The line with `assert` says how to know it beforehand: looking through three layers
# is the mask, as a matrix of 0 and 1, to the *third power*.
#
# - Causal stays causal, however deep: who sees nobody ahead cannot hear of them through others either.
# - A window of radius 1 grows to 3. That is why a deep network with narrow windows can still see far.
# - A leak of one place grows too. In 24 layers, it is 24 places.
#
# ## How low is low enough?
#
# Back to −20, recipe d above and suspect D just now. Much code does not write −∞ but some number that is "low enough", such as −20. After all, $e^{-20}$
# is two billionths.
#
# Think of chapter 1. Softmax knows no absolute height: *only differences count*. But −20 is an absolute height. It is
# low for scores around 0. For scores around −15 it is a handicap, a factor of $e^5 \approx 150$. For scores around
# −25 it is the best offer of the day.
#
# Take the first word of a text: under the causal mask it sees itself alone, and all other keys are hidden. **How many
# hidden keys does it take until together they get 1% of its look?** With $N$ hidden keys and its own score $x$ they get
#
# $$\frac{N e^{-20}}{N e^{-20} + e^{x}} \ge \frac1{100} \qquad\Longleftrightarrow\qquad N \ge \tfrac{1}{99}\,e^{x + 20}.$$

# %% tags=["demo", "hide-input"] alt="Share of the look that goes to hidden keys, against the number of hidden keys from one to ten million, both axes logarithmic, for own scores of 0, -5, -10, -15 and -20. Each curve rises in proportion and then saturates at one; each step down in score moves it left. The dotted line of one per cent is crossed at millions of keys for score 0, at a few hundred for score -10, and at the first key for -20."
counts = np.unique(np.geomspace(1, 1e7, 57).astype(int))
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(8, 3.7))
    for x_0, colour in zip((0, -5, -10, -15, -20), (BLUE, GREEN, PURPLE, ORANGE, INK), strict=True):
        leaked = counts * np.exp(-20.0) / (counts * np.exp(-20.0) + np.exp(x_0))
        ax.loglog(counts, leaked, color=colour, linestyle="-", label=f"own score {x_0}".replace("-", "−"))
        needed = int(np.ceil(np.exp(x_0 + 20.0) / 99))
        row = np.append(x_0, np.full(needed, -20.0))  # the row itself, to see whether the formula is right
        hidden_share = softmax(row)[1:].sum()
        print(f"own score {x_0:4}: {needed:>9,} hidden keys take {hidden_share:.2%}; −∞ would leave them 0")
    ax.axhline(0.01, color=INK, linestyle=":")
    ax.text(6, 0.013, "1%")
    ax.set(xlabel="hidden keys", ylabel="share of the look that they get", ylim=(1e-9, 2))
    ax.legend(fontsize=9, loc="lower right")
    plt.show()

# %% [markdown]
# At a score of 0 you would need a text of millions of words. At −10, a page. And who says that scores stay near 0?
# Adding a constant to all scores of a row changes nothing in an honest softmax, so *nothing in training holds them
# there*. Such a model works for months, and then it meets a long text.
#
# ### So take −1,000,000,000?
#
# It is the other number that you will meet, and in float32 it does its work: after subtracting the maximum nothing is
# left of it. It is still a bet on where the scores are, but one that you will hardly ever lose. Two other things are
# wrong.
#
# The **empty row**: all its scores are −1e9, only differences count, so it looks at everything alike. And **float16**,
# whose greatest number is 65504. **What does −1e9 become there?** Three people have written three lines for it; the fourth
# line says what they mean. The row has the scores 1, 2, 3, and the last is hidden; the right answer is
# 0.2689, 0.7311, 0.

# %% tags=["demo"]
hide = torch.tensor([False, False, True])
habits = {
    "x.masked_fill(hide, -1e9)": lambda x: x.masked_fill(hide, -1e9),
    "x + hide * x.new_tensor(-1e9)": lambda x: x + hide * x.new_tensor(-1e9),
    "x + torch.where(hide, -1e9, 0.0)": lambda x: x + torch.where(hide, -1e9, 0.0).to(x.dtype),
    "x.masked_fill(hide, -torch.inf)": lambda x: x.masked_fill(hide, -torch.inf),
}
for kind in (torch.float32, torch.float16):
    for line, habit in habits.items():
        try:
            answer = torch.softmax(habit(torch.tensor([1.0, 2.0, 3.0], dtype=kind)), -1).tolist()
            answer = "  ".join(f"{weight:.4f}" for weight in answer)
        except RuntimeError as error:
            answer = f"refused:\n{'':9}{error}"
        print(f"{str(kind)[6:]:9}{line:34}{answer}")
print("\nand a row in which all are hidden, in float32")
for line, hidden in (("filled with -1e9", torch.full((3,), -1e9)), ("filled with -inf", torch.full((3,), -torch.inf))):
    print(f"{'':9}{line:34}{'  '.join(f'{weight:.4f}' for weight in torch.softmax(hidden, -1))}")

# %% [markdown]
# In float16 the first is refused: the number does not exist there. That is the kindest way to fail. The second turns
# −1e9 into $-\infty$ and then multiplies it by the 0 of *permitted* keys: $0 \cdot (-\infty)$ is NaN, and it is the
# permitted ones that die. The third comes through, because there −1e9 has silently become what should have stood there
# from the start. And in the empty row, −1e9 hides the question instead of answering it: the NaN at least is honest.
#
# The lesson is short. Keep the mask boolean for as long as you can; use it as a *condition*, never as a factor; and
# write −∞ when you mean never.
#
# ## The same in PyTorch
#
# First, number by number: your function, PyTorch's way of writing it, and the attention that PyTorch has built in. A
# batch of three sequences, one of them empty.

# %% tags=["demo"]
F = torch.nn.functional
random = torch.Generator().manual_seed(4)
q, k, v = (torch.randn(3, 2, 5, 8, dtype=torch.float64, generator=random) for _ in range(3))

with interactive.once_solved("padding_mask, causal_mask, combine and masked_softmax"):
    mask = combine(padding_mask(np.array([5, 3, 0]), 5), causal_mask(5, 5))  # shape (3, 1, 5, 5)
    yours = masked_softmax(q.numpy() @ k.mT.numpy() / 8**0.5, mask) @ v.numpy()

    m = torch.from_numpy(mask)
    has_key = m.any(-1, keepdim=True)
    scores = (q @ k.mT / 8**0.5).masked_fill(~m, -torch.inf)
    by_hand = torch.softmax(scores, -1).masked_fill(~has_key, 0.0) @ v
    built_in = F.scaled_dot_product_attention(q, k, v, attn_mask=m)
    print(f"yours against PyTorch by hand:  {abs(yours - by_hand.numpy()).max():.1e}")
    print(f"yours against the built-in one: {abs(yours - built_in.numpy()).max():.1e}")

# %% [markdown]
# Now for the traps. All four are in the library as it is today, and none gives an error message.
#
# **1. True means two things.** `scaled_dot_product_attention` takes a boolean mask with True = may look.
# `nn.MultiheadAttention`, in the same library, takes one with True = *ignore*. Convert at that border, and nowhere
# else.
#
# **2. `is_causal=True` is aligned at the start.** With $T < S$ it is candidate A.
#
# **3. The empty row depends on a flag.** The same module, the same input: NaN or not, by whether you asked to see the
# weights. (In evaluation, under `torch.no_grad()`, it takes a faster path, and gives NaN either way.)
#
# **4. A clean output can have a dead gradient.** Replace the NaN of an empty row by zeros, and the way forwards looks
# fine. On the way back, the zero that comes from above meets the NaN inside softmax.

# %% tags=["demo"]
whole = F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, :, -2:]
flagged = F.scaled_dot_product_attention(q[:, :, -2:], k, v, is_causal=True)
aligned = F.scaled_dot_product_attention(q[:, :, -2:], k, v, attn_mask=torch.ones(2, 5, dtype=torch.bool).tril(3))
print("2. the last two queries, against the same two in the whole text")
print(
    f"   is_causal=True {abs(flagged - whole).max():.2f}   a mask aligned at the end {abs(aligned - whole).max():.2f}"
)

module = torch.nn.MultiheadAttention(8, 2, batch_first=True)
x, ignore = torch.ones(1, 3, 8), torch.ones(1, 3, dtype=torch.bool)  # a sequence that is nothing but padding
print("3. a number of the output for a sequence of padding")
for need_weights in (True, False):
    out, _ = module(x, x, x, key_padding_mask=ignore, need_weights=need_weights)
    print(f"   need_weights={need_weights!s:6} {out[0, 0, 0].item()}")

print("4. output and gradient of a row that may look at nothing")
nobody = torch.zeros(1, 3, dtype=torch.bool)
for name, hide in (
    ("−∞ added", lambda x: x + torch.where(nobody, 0.0, -torch.inf)),
    ("−∞ filled in", lambda x: x.masked_fill(~nobody, -torch.inf)),
):
    a, b = torch.ones(1, 1, requires_grad=True), torch.ones(1, 3)
    weights = torch.softmax(hide(a @ b), -1)
    weights = torch.where(nobody.any(-1, keepdim=True), weights, 0.0)
    weights.sum().backward()
    print(f"   {name:13} weights {weights.tolist()[0]}   gradient {a.grad.item()}")

# %% [markdown]
# In the fourth, both versions give the same three zeros. Then one sends NaN into everything before it. (`masked_fill`
# is saved by its own gradient: it cuts off whatever comes back to a filled entry, NaN included.) It is the dead
# training run of chapter 1 once more: finite forwards, dead backwards. Your own recipe, finite numbers in the empty row
# *before* the softmax, is safe with either.
#
# ## Quiz
#
# **1.** A causal mask for $T = S = 100$. What share of the pairs may look?
#
# <details><summary>Answer</summary>
#
# $1 + 2 + \dots + 100 = 5050$ of $10\,000$: a little over half, because the diagonal counts. In the limit, half. So
# causal attention can be made nearly twice as fast as full attention, if one never computes what the mask throws away.
# Chapter 25 does.
#
# </details>
#
# **2.** Mask first and divide by $\sqrt d$ afterwards, or the other way round: does the order matter? With −∞, and with
# −20?
#
# <details><summary>Answer</summary>
#
# With −∞ it does not: $-\infty / \sqrt d = -\infty$. With −20 it does. For $d = 64$ the fill becomes $-2.5$, and the
# hidden keys are back in the game. One more reason to write −∞.
#
# </details>
#
# **3.** Your validation loss is as good as your training loss. Does that rule out a leak?
#
# <details><summary>Answer</summary>
#
# No. The leak sits in the model, so it leaks in the examination as well. Over-fitting is found by new data; a leak is
# found by asking the model to work *without* what it may not have: let it write, or nudge the future and see whether
# anything moves, or give it dice and see whether it beats $\ln V$.
#
# </details>
#
# **4.** You attend with a sliding window of radius 2 combined with the causal mask, in 5 layers. How many places back
# can an output see? What would the leak of one place do here?
#
# <details><summary>Answer</summary>
#
# Each layer reaches 2 places further back: $5 \cdot 2 = 10$. A leak of one place ahead in each layer would add up to 5
# places of future.
#
# </details>
#
# **5. From an interview.** *"Our language model has a training loss of 0.05 after an hour, and what it writes is
# rubbish. The team says the sampling code is broken. How do you find out what is wrong?"*
#
# <details><summary>A model answer</summary>
#
# The number itself is evidence: English has an entropy that no model gets under, about one bit a character, and 0.05
# nats a token is far below anything honest. So I suspect that the answer is visible in the input, before I suspect the
# sampler.
#
# I would run three tests of one minute each. *Nudge:* change the token at place $s$ and see whether any output before
# $s$ moves; or take $\partial\,\mathrm{output}_t / \partial\,\mathrm{input}_s$ and look for anything but zero at
# $s > t$. *Dice:* evaluate on random tokens; a loss below $\ln V$ is impossible for an honest model. *Prefix:* compute
# the loss at place $t$ from the prefix alone and compare it with the parallel pass; they must agree to rounding.
#
# If there is a leak, the usual places are: the diagonal of the triangle (`k=1`, or a strict comparison in an inverted
# mask), inputs and labels not shifted against each other, an inverted mask handed to a library of the other convention,
# masking after the softmax, and anything that mixes places outside attention, such as a normalisation over time. If
# the parallel pass is clean and only the prefix test fails, then it is the alignment of the mask with the cache, and
# the team was half right.
#
# *What a weak answer says:* "over-fitting; add dropout".
#
# </details>
#
# ## Summary
#
# - A mask says who may look at whom: a comparison of places, one line. **True = may look.**
# - Padding hides *keys*: $(B, 1, 1, S)$. Causal hides the future: $s \le t + S - T$, aligned at the end.
# - Masks are vetoes and combine by *and*. Over layers they multiply like matrices: causal stays causal, windows grow,
#   leaks grow.
# - A mask is a score, the logarithm of the permission: 0 or −∞, added *before* the softmax. After it is too late, and a
#   finite number is a bet on where the scores are.
# - A row that may look at nothing gives zeros.
# - A leak looks like success, on held-out data too. The gradient of the output with respect to the future must be zero,
#   exactly.
#
# ## Further reading
#
# - A. Vaswani et al., "Attention Is All You Need", 2017. Section 3.2.3: the decoder is masked by setting forbidden
#   scores to −∞, "to preserve the auto-regressive property".
# - M.-T. Luong, H. Pham, C. D. Manning, "Effective Approaches to Attention-based Neural Machine Translation", 2015.
#   Local attention: a window around a place of interest.
# - R. Child, S. Gray, A. Radford, I. Sutskever, "Generating Long Sequences with Sparse Transformers", 2019. Strided
#   masks, rule 7.
# - I. Beltagy, M. E. Peters, A. Cohan, "Longformer: The Long-Document Transformer", 2020. Sliding windows with a few
#   global tokens, rule 8.
# - C. Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020.
#   Compares causal, prefix and full masks, rule 5.
#
# **Next:** [6 · Attention in sequence to sequence](../06_attention_in_seq2seq/06_attention_in_seq2seq.ipynb). Attention
# comes between a network that reads and one that writes, and is let loose on dates in sixteen languages.
