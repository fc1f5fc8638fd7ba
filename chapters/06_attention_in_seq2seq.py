# %% [markdown]
# # 6 · Attention in sequence to sequence
#
# **How do you write about what you have read, without having to remember all of it?**
#
# Write this date the way a computer sorts it, year first: *Freitag, 9. Juli 2004*. Now watch your own eyes. They went
# to the end for the year, back to the middle for the month, and then a little to the left for the day. You never learnt
# the line by heart. You *looked back*, three times, each time at the spot that you needed next.
#
# Try it the hard way: read *poniedziałek, 31 marca 1997* once, cover it with your hand, and write it down year first. That
# is what a translating network had to do until 2014. It read to the end, packed everything into one vector of fixed
# size, and wrote from that vector alone.
#
# In this chapter you will build the step that lets a network look back, drive a trained network with it, and watch it
# read dates in sixteen languages. On the way one belief will fall that nearly everyone holds: that *long* inputs are
# what breaks the network that cannot look.
#
# *About two and a half hours, 60 minutes of them for the three exercises. You need chapters 3 (additive attention) and 5
# (masks).*

# %%
import textwrap
import time
from datetime import date
from itertools import pairwise
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attnlab import interactive, plotting
from attnlab.additive import AdditiveAttention, additive_scores
from attnlab.data import dates
from attnlab.data.corpus import BOS, EOS, PAD, pad_batch
from attnlab.masks import masked_softmax
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN = plotting.COLOURS[:3]
INK = plotting.INK

# %% tags=["demo", "hide-input"] alt="The words Freitag, 9. Juli 2004 above, 2004-07-09 below, twice. On the left three ribbons, from day, month and year, are squeezed through one narrow neck, where they lie on top of each other, and fan out again below. On the right the three ribbons run straight from each word to the place where it is written; they cross on their way, because the order is reversed."
pieces = {"9.": ("09", GREEN), "Juli": ("07", ORANGE), "2004": ("2004", BLUE)}
above = {"Freitag,": 0.14, "9.": 0.38, "Juli": 0.58, "2004": 0.82}
below = {"2004": 0.26, "07": 0.54, "09": 0.76}


def ribbon(ax, xs, ys, width, colour):
    """A band through points, level where it starts, turns and ends."""
    for (x_0, y_0, w_0), (x_1, y_1, w_1) in pairwise(zip(xs, ys, width, strict=True)):
        t = np.linspace(0, 1, 50)
        bend = 3 * t**2 - 2 * t**3
        x, w = x_0 + bend * (x_1 - x_0), w_0 + bend * (w_1 - w_0)
        ax.fill_betweenx(y_0 + t * (y_1 - y_0), x - w, x + w, color=colour, alpha=0.55, linewidth=0)


with plotting.house_style():
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    for ax, neck in zip(axes, (True, False), strict=True):
        for word, x in above.items():
            ax.text(x, 1.04, word, ha="center", va="bottom", fontsize=14)
        for word, (written, colour) in pieces.items():
            ax.text(below[written], -0.05, written, ha="center", va="top", fontsize=14, color=colour)
            if neck:
                ribbon(ax, (above[word], 0.5, below[written]), (1, 0.5, 0), (0.06, 0.012, 0.06), colour)
            else:
                ribbon(ax, (above[word], below[written]), (1, 0), (0.06, 0.06), colour)
        if neck:
            ribbon(ax, (above["Freitag,"], 0.5), (1, 0.5), (0.08, 0.012), INK)
            ax.text(0.55, 0.5, "one vector", va="center")
        for x in (0.4, 0.65):
            ax.text(x, -0.05, "-", ha="center", va="top", fontsize=14)
        ax.set(xlim=(0, 1), ylim=(-0.2, 1.2), title="remember" if neck else "look back")
        ax.axis("off")
    plt.show()

# %% [markdown]
# On the left, everything that will be written has to fit through the neck, the weekday included, which nobody needs. On
# the right, nothing has to be remembered. The ribbons cross: German says day, month, year, and the order is turned
# round. A network that looks back does not mind.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(6)

# %% [markdown]
# ## Read, then write
#
# The network has two halves. The **encoder** reads the source $x_1, \dots, x_S$, here letter by letter. The **decoder**
# writes the target $y_1, \dots, y_T$, one letter at a time, and each letter that it wrote is what it reads next.
#
# Both are *recurrent*: they carry a **state** $s$, a vector, from step to step. At each step they take in one vector $x$
# and change the state. The cell that changes it is the *gated recurrent unit*, the GRU (Cho et al., 2014). It makes a
# new state $n$, and then mixes it with the old:
#
# $$\begin{aligned}
# r &= \sigma(x W_{xr} + b_{xr} + s W_{sr} + b_{sr}) &&\text{how much of } s \text{ goes into } n \\
# z &= \sigma(x W_{xz} + b_{xz} + s W_{sz} + b_{sz}) &&\text{how much of } s \text{ is kept} \\
# n &= \tanh\bigl(x W_{xn} + b_{xn} + r \circ (s W_{sn} + b_{sn})\bigr) &&\text{the new state} \\
# s' &= (1 - z) \circ n + z \circ s &&\text{the mixture}
# \end{aligned}$$
#
# Here $\sigma$ is the sigmoid, and $\circ$ multiplies entry by entry. With $z$ near 1 an entry is carried on untouched:
# that is how a GRU remembers. The three matrices for $x$ stand side by side in one, $W_x$ of shape `(d_x, 3 d_s)`, and
# so do the others. This is PyTorch's GRU; the cell below is all of it. You will use it in a minute.


# %%
def gru(x, s, W_x, W_s, b_x, b_s):
    """One step of a GRU: x (B, d_x) comes in, s (B, d_s) is renewed."""
    d = s.shape[-1]
    from_x, from_s = x @ W_x + b_x, s @ W_s + b_s  # each for r, z and n
    r = 1 / (1 + np.exp(-(from_x + from_s)[:, :d]))
    z = 1 / (1 + np.exp(-(from_x + from_s)[:, d : 2 * d]))
    n = np.tanh(from_x[:, 2 * d :] + r * from_s[:, 2 * d :])
    return (1 - z) * n + z * s


# %% [markdown]
# The encoder runs two GRUs over the source, one from the left and one from the right. At position $s$ it sets their
# states side by side: $h_s$ has read everything up to $s$, and everything from there on. Together the $h_s$ are the
# **memory**, of shape `(B, S, d_h)`. (The letter $s$ leads two lives in the papers: $s_t$ is a state of the decoder, a
# subscript $s$ is a position of the source.)
#
# ### One vector for everything
#
# Without attention, the decoder is given the two *last* states and nothing else: one context $c$, the same at every
# step. (The GRU that comes from the right ends at position 1. In the papers of 2014 the encoder read in one direction
# only, so its last state was all there was.)
#
# $$c = [\overrightarrow{h}_S;\ \overleftarrow{h}_1], \qquad
# s_t = \mathrm{GRU}\bigl([y_{t-1};\ c],\ s_{t-1}\bigr)$$
#
# ($[a; b]$ sets two vectors end to end.) It works, and in 2014 that was a sensation (Sutskever et al.; Cho et al.). But
# $c$ has the same size for a word and for a page.
#
# ### Look back
#
# Bahdanau, Cho and Bengio (2015) kept the whole memory, and gave each step a context of its own. You know the parts from
# chapter 3: compare the decoder's state with every position, make shares of the scores, and average.
#
# $$e_{ts} = v^\top \tanh(W_q\, s_{t-1} + W_k\, h_s), \qquad \alpha_t = \mathrm{softmax}(e_t), \qquad
# c_t = \sum_s \alpha_{ts}\, h_s$$
#
# $$s_t = \mathrm{GRU}\bigl([y_{t-1};\ c_t],\ s_{t-1}\bigr)$$
#
# Look closely at the first formula: the question is asked by $s_{t-1}$, the state *before* the step. **Why not by
# $s_t$, which is more recent?** Decide before you look at the picture.

# %% tags=["demo", "hide-input"] alt="Two diagrams of arrows. Left, Bahdanau: from the old state an arrow leads to the weights, from there to the context, from there to the new state; the old state and the last word lead to the new state as well. A dashed arrow back from the new state to the weights is crossed out: it would close a circle. Right, Luong: old state and last word lead to the new state, from there to the weights, to the context, and to the conclusion, from which the next word is written."
with plotting.house_style():
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 3.3))

    def box(ax, x, y, words, colour):
        shape = {"boxstyle": "round,pad=0.4", "facecolor": "none", "edgecolor": colour, "linewidth": 1.8}
        ax.text(x, y, words, ha="center", va="center", fontsize=12, color=colour, bbox=shape)

    def arrow(ax, start, end, colour=INK, **look):
        style = {"arrowstyle": "-|>", "color": colour, "shrinkA": 24, "shrinkB": 20, "linewidth": 1.6} | look
        ax.annotate("", end, start, arrowprops=style)

    old, word, alpha, context, new = (0.08, 0.75), (0.08, 0.2), (0.36, 0.75), (0.64, 0.75), (0.64, 0.2)
    for place, words, colour in (
        (old, "$s_{t-1}$", BLUE),
        (word, "$y_{t-1}$", INK),
        (alpha, r"$\alpha_t$", ORANGE),
        (context, "$c_t$", ORANGE),
        (new, "$s_t$", BLUE),
        ((0.92, 0.2), "$y_t$", INK),
    ):
        box(axes[0], *place, words, colour)
    for start, end in ((old, alpha), (alpha, context), (context, new), (old, new), (word, new), (new, (0.92, 0.2))):
        arrow(axes[0], start, end)
    arrow(axes[0], new, alpha, ORANGE, linestyle="--", connectionstyle="arc3,rad=0.25")
    axes[0].text(0.565, 0.525, "×", color=ORANGE, fontsize=24, ha="center", va="center")
    axes[0].set_title("Bahdanau: look, then move")

    after = {"alpha": (0.6, 0.75), "context": (0.8, 0.75), "new": (0.4, 0.2), "tilde": (0.8, 0.2)}
    for place, words, colour in (
        (old, "$s_{t-1}$", BLUE),
        (word, "$y_{t-1}$", INK),
        (after["new"], "$s_t$", BLUE),
        (after["alpha"], r"$\alpha_t$", ORANGE),
        (after["context"], "$c_t$", ORANGE),
        (after["tilde"], r"$\tilde h_t$", BLUE),
        ((1.02, 0.2), "$y_t$", INK),
    ):
        box(axes[1], *place, words, colour)
    for start, end in (
        (old, after["new"]),
        (word, after["new"]),
        (after["new"], after["alpha"]),
        (after["alpha"], after["context"]),
        (after["context"], after["tilde"]),
        (after["new"], after["tilde"]),
        (after["tilde"], (1.02, 0.2)),
    ):
        arrow(axes[1], start, end)
    axes[1].set_title("Luong: move, then look")
    for ax in axes:
        ax.set(xlim=(0, 1.06), ylim=(0, 0.95))
        ax.axis("off")
    plt.show()

# %% [markdown]
# Because $s_t$ does not exist yet. It is made from $c_t$, which is made from $\alpha_t$. Were $\alpha_t$ made from
# $s_t$, each would wait for the other: the dashed arrow closes a circle. So Bahdanau's decoder *looks with the state it
# has*, and moves afterwards. There is another way out of the circle, Luong's, on the right. It comes later in this
# chapter. What no one may do is mix the two.
#
# You have most of the step already, from chapters 3 and 5. Here are the two tools on made-up numbers: two sequences,
# seven positions, the last three of the second are padding. Mind the shapes; the axis of length 1 is for the *one*
# query that a step has.

# %% tags=["demo"]
rng = np.random.default_rng(0)
W_q, W_k = rng.normal(size=(5, 13)), rng.normal(size=(11, 13))
v = rng.normal(size=13)
states, memory = rng.normal(size=(2, 1, 5)), rng.normal(size=(2, 7, 11))
scores = additive_scores(states, memory, W_q, W_k, v)
may_attend = np.arange(7) < np.array([[7], [4]])
print("scores", scores.shape, "\nshares")
print(masked_softmax(scores[:, 0], may_attend).round(3))

# %% [markdown]
# {{exercise decoder_step}}
#
# Write one step of Bahdanau's decoder, for a batch of $B$ sequences.
#
# | argument | shape | |
# |---|---|---|
# | `y` | `(B, d_y)` | the vector of the last word written, $y_{t-1}$ |
# | `previous` | `(B, d_s)` | the state before the step, $s_{t-1}$ |
# | `memory` | `(B, S, d_h)` | the encoder's states, $h$ |
# | `mask` | `(B, S)` | True where the memory holds a token, False at padding |
# | `attention` | `(d_s, d)`, `(d_h, d)`, `(d,)` | the three arrays $W_q$, $W_k$, $v$ |
# | `cell` | | the four arrays `W_x, W_s, b_x, b_s` that `gru` takes, in its order |
#
# Return three arrays: the new state $s_t$ `(B, d_s)`, the context $c_t$ `(B, d_h)`, the weights $\alpha_t$ `(B, S)`.
# Padding gets weight 0. The input of `gru` is the word, then the context. Vectors are rows: $W_q s$ in the formula is
# `previous @ W_q` in code. You may use what you have built: `additive_scores(queries, keys, W_q, W_k, v)` takes
# `(B, T, d_s)` and `(B, S, d_h)` to `(B, T, S)`, and `masked_softmax(scores, mask)` is from chapter 5.
#
# *By hand:* every vector has one number, and the memory is $(0, 4)$. Let $W_q = 0$, $W_k = 100$, $v = \ln 3$. Then $\tanh$ gives
# $0$ and (nearly) $1$, the scores are $0$ and $\ln 3$, the weights $\tfrac14$ and $\tfrac34$, the context is $3$. Let
# the cell have zeros everywhere, but for a 1 that leads from the context to $n$: `W_x` has shape `(2, 3)`, its rows are
# for the word and the context, its columns for $r$, $z$ and $n$, and the 1 is `W_x[1, 2]`. Then $r = z = \tfrac12$ and
# $n = \tanh 3$, and from $s_{t-1} = 0$ we get $s_t = \tfrac12 \tanh 3 \approx 0.4975$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Three lines look, one line moves. The only query is `previous`; give it an axis of length 1 for $T$, and take that
# axis off the scores again: the weights are `(B, S)`. The average wants that axis once more. `weights @ memory` would
# multiply the weights of every sequence with the memory of every other one, and come out as `(B, B, d_h)`.
# `*cell` hands `gru` its four arrays.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `W_q, W_k, v = attention`
#
# `scores = additive_scores(previous[:, None], memory, W_q, W_k, v)[:, 0]`
#
# </details>


# %% exercise="decoder_step"
def decoder_step(y, previous, memory, mask, attention, cell):
    """One step of Bahdanau's decoder: look back with the previous state,
    then move on with what was seen.

    y          (B, d_y)       the vector of the last word written
    previous   (B, d_s)       the state before the step
    memory     (B, S, d_h)    the encoder's states
    mask       (B, S)         True = a token, False = padding
    attention  W_q (d_s, d), W_k (d_h, d), v (d,)
    cell       W_x, W_s, b_x, b_s: what gru takes

    Returns the new state (B, d_s), the context (B, d_h), the weights (B, S).
    Changes nothing that is passed in.
    """
    ### BEGIN SOLUTION
    W_q, W_k, v = attention
    scores = additive_scores(previous[:, None], memory, W_q, W_k, v)[:, 0]
    weights = masked_softmax(scores, mask)
    context = (weights[:, None] @ memory)[:, 0]
    state = gru(np.concatenate([y, context], axis=-1), previous, *cell)
    return state, context, weights
    ### END SOLUTION


# %% [markdown]
# ## Sixteen ways to write a day
#
# Now a network to put the step into, and something to read. Babel carries the patterns by which sixteen languages write
# a date, as Unicode's CLDR has collected them from speakers. The dates are drawn.

# %% tags=["demo"]
data = dates.load()
source, target = data.vocabularies["source"], data.vocabularies["target"]
for line in data.describe().splitlines():
    print(textwrap.fill(line, 74, subsequent_indent=" " * 12))
print()
for pair in data.train[:8]:
    print(f"{pair.language}  {pair.text:36} {pair.iso}")


def to_tensors(pairs):
    """Letters as ids: texts (B, S), and ISO dates (B, 12) between two marks."""
    x, _ = pad_batch([source.encode(pair.text) for pair in pairs])
    y, _ = pad_batch([target.encode(pair.iso, bos=True, eos=True) for pair in pairs])
    return x, y


# %% [markdown]
# Below are two networks, in PyTorch. The first has the fixed context. The second *is* the first, with one method
# replaced: `look`. (Its `read` only prepares the keys for it, once for all steps.) That is what attention was in 2015:
# one method. Both make the decoder's first state, $s_0$, from the encoder's two last ones. (The paper's words came out
# of a *maxout* layer; here the readout is one linear layer.)


# %% tags=["demo"]
class Notes(NamedTuple):
    """What the encoder leaves behind for the decoder."""

    memory: torch.Tensor  # (B, S, 2d)
    keys: torch.Tensor  # (B, S, d)  W_k h, once for all steps, for attention
    mask: torch.Tensor  # (B, S)
    last: torch.Tensor  # (B, 2d)


class FixedContext(nn.Module):
    """Reads, packs everything into one vector, and writes from that."""

    def __init__(self, n_source, n_target, d=24):
        super().__init__()
        self.embed_x, self.embed_y = nn.Embedding(n_source, d), nn.Embedding(n_target, d)
        self.encoder = nn.GRU(d, d, batch_first=True, bidirectional=True)
        self.first = nn.Linear(2 * d, d)
        self.cell = nn.GRUCell(d + 2 * d, d)
        self.readout = nn.Linear(d + 2 * d + d, n_target)

    def read(self, x):
        """The notes, and the first state. Packed: no GRU ever reads padding."""
        mask = x != PAD
        packed = pack_padded_sequence(self.embed_x(x), mask.sum(1), batch_first=True, enforce_sorted=False)
        states, last = self.encoder(packed)
        memory, _ = pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])  # (B, S, 2d)
        last = torch.cat([last[0], last[1]], dim=-1)  # (B, 2d)
        return Notes(memory, memory, mask, last), torch.tanh(self.first(last))

    def look(self, previous, notes):
        """The context for this step, and where it came from: here, nowhere."""
        return notes.last, torch.zeros(notes.mask.shape)

    def step(self, word, previous, notes):
        """One step: scores for the next letter, the new state, the weights."""
        y = self.embed_y(word)
        context, weights = self.look(previous, notes)
        state = self.cell(torch.cat([y, context], dim=-1), previous)
        return self.readout(torch.cat([state, context, y], dim=-1)), state, weights

    def forward(self, x, y):
        """Scores for what follows each letter of y, which is given: (B, T, n_target)."""
        notes, state = self.read(x)
        scores = []
        for word in y.unbind(1):
            logits, state, _ = self.step(word, state, notes)
            scores.append(logits)
        return torch.stack(scores, dim=1)

    @torch.no_grad()
    def write(self, x, steps):
        """Its own letters (B, T), each fed back to it, and where it looked (B, T, S)."""
        notes, state = self.read(x)
        word, words, looks = torch.full((len(x),), BOS), [], []
        for _ in range(steps):
            logits, state, weights = self.step(word, state, notes)
            word = logits.argmax(-1)
            words.append(word)
            looks.append(weights)
        return torch.stack(words, dim=1), torch.stack(looks, dim=1)


class LooksBack(FixedContext):
    """The same, but before each letter it looks back at everything that was read."""

    def __init__(self, n_source, n_target, d=24):
        super().__init__(n_source, n_target, d)
        self.attention = AdditiveAttention(d, 2 * d, d)  # the module of chapter 3

    def read(self, x):
        notes, state = super().read(x)
        return notes._replace(keys=self.attention.W_k(notes.memory)), state

    def look(self, previous, notes):
        query, mask = previous[:, None], notes.mask[:, None]
        weights = self.attention.weights_over(notes.keys, query, mask)  # (B, 1, S)
        return (weights @ notes.memory)[:, 0], weights[:, 0]


# %% [markdown]
# One training loop for all runs of this chapter. The decoder is *taught*: at each step it is given the letter that
# should have come before, not the one that it would have written.


# %% tags=["demo"]
def right(model, x, y):
    """For each sequence, whether every letter that the model writes is right."""
    words, _ = model.write(x, y.shape[1] - 1)
    return (words == y[:, 1:]).all(dim=1)


def train(name, model, draw, steps, rate, examples):
    """Steps of Adam on batches that draw() gives; a line of progress every hundred."""
    optimiser = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    began = time.process_time()
    for step in range(1, steps + 1):
        x, y = draw()
        loss = nn.functional.cross_entropy(model(x, y[:, :-1]).flatten(0, 1), y[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            share = right(model, *examples).float().mean()
            spent = time.process_time() - began  # of one processor core
            print(f"{name}  step {step:4} of {steps}  loss {loss:.4f}  right {share:6.1%}  {spent:3.0f} s", flush=True)


def batches_of_dates(size=64, seed=0):
    """A function that draws batches from the training dates."""
    X, Y = to_tensors(data.train)
    rng = np.random.default_rng(seed)

    def draw():
        rows = torch.from_numpy(rng.integers(len(X), size=size))
        return X[rows, : (X[rows] != PAD).sum(1).max()], Y[rows]

    return draw


# %% [markdown]
# Both networks have the same width, 24, and see the same batches. The fixed context gets *more* training than attention:
# 1,050 steps against 500. "Right" means that all ten characters of a date are right, on dates that it has never seen.
#
# **Write down two guesses.** Which share of the dates will each get right? And for the one with the fixed context: of
# dates written in 8 characters (*9.7.2004*) and in 30 (*sexta-feira, 9 de julho de 2004*), which does it get right more
# often, and by how much?

# %% tags=["demo"]
unseen = to_tensors(data.valid + data.test)
few = to_tensors(data.valid[:200])
networks = {}
for name, kind, steps in (
    ("fixed context", FixedContext, 1050),
    ("looks back   ", LooksBack, 500),
):
    torch.manual_seed(0)
    model = kind(len(source), len(target))
    train(name, model, batches_of_dates(), steps, 0.02, few)
    networks[name.strip()] = model

# %% tags=["demo"]
correct = {name: right(model, *unseen).numpy() for name, model in networks.items()}
for name, model in networks.items():
    size = sum(p.numel() for p in model.parameters())
    ok = correct[name]
    print(f"{name:14} {size:,} parameters  {ok.mean():6.1%} of {len(ok):,} unseen dates right")
print("\na few that the fixed context got wrong:")
words, _ = networks["fixed context"].write(unseen[0], 11)
for i in np.flatnonzero(~correct["fixed context"])[:5]:
    pair = (data.valid + data.test)[i]
    print(f"  {pair.text:36} {pair.iso}   it wrote {''.join(target.decode(words[i]))}")

# %% [markdown]
# Attention is all but perfect with fewer steps. The other one makes strange mistakes: they *look* like dates. It knows
# everything about how a date is written, and has mixed up which one it was. It did not fail to read. It failed to
# remember.
#
# This is no wall. With another seed the fixed context comes out some points higher or lower, and with three times the
# steps of attention it nearly catches up: put 1,500 in place of 1,050, and see. (That the lines of progress level off
# near the end says little: there the rate of learning has sunk to almost nothing, by plan.) What it cannot do is to learn
# this *easily*.
#
# And the second guess?

# %% tags=["demo", "hide-input"] alt="Share of dates right, by the length of the text from 8 to 36 characters, in six groups. The line of attention lies at the top, at nearly 100% in every group. The line of the fixed context lies below and does not fall with length: it rises from about 80% for the shortest to over 90% for the longest."
lengths = np.array([len(pair.text) for pair in data.valid + data.test])
edges = [8, 10, 12, 15, 18, 22, lengths.max() + 1]
groups = [(low, high, (lengths >= low) & (lengths < high)) for low, high in pairwise(edges)]
print(f"{'characters':14}", "".join(f"{f'{low}–{high - 1}':>9}" for low, high, _ in groups))
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.5, 3.2))
    for (name, ok), colour in zip(correct.items(), (ORANGE, BLUE), strict=True):
        shares = [ok[group].mean() for *_, group in groups]
        ax.plot([lengths[group].mean() for *_, group in groups], shares, "o-", color=colour, label=name)
        print(f"{name:14}", "".join(f"{share:9.1%}" for share in shares))
    ax.set(ylim=(0, 1.03), xlabel="characters in the text", ylabel="dates right")
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.legend(loc="lower right")
    plt.show()

# %% [markdown]
# The line does not fall. It even rises: the hardest dates are the *short* ones, where everything is a number and nothing
# says which. A date in thirty characters is no harder for the fixed context than one in ten. Yet everybody says that
# the fixed context breaks on *long* inputs, and Cho et al. (2014) measured just that, on sentences. Is this plot wrong?
#
# ## What the neck is too narrow for
#
# Think of what has to pass the neck. A date is one of 73,049 days, from 1900 to 2099. Whether it is written *9.7.2004*
# or *sexta-feira, 9 de julho de 2004*, that is $\log_2 73049 \approx 16.2$ bits. The weekday and the *de* carry nothing
# that must be remembered. **The load is not the length of the text. It is what must be carried from it.** In real
# sentences the two grow together. In dates the load stays the same.
#
# So let the load grow. The plainest task there is: read a row of random digits, and write it down. Each digit adds
# $\log_2 10 \approx 3.3$ bits. The networks are the very same classes, of the same width, with rows of 1 to 12 digits,
# and 500 steps for both. **Guess where the fixed context breaks.** (A date is as heavy as 4.9 digits.)


# %% tags=["demo"]
def digits(n, size, generator):
    """Rows of n random digits, and the same rows with a begin and an end mark. The ids of digits are 3 to 12."""
    x = torch.randint(3, 13, (size, n), generator=generator)
    return x, torch.cat([torch.full((size, 1), BOS), x, torch.full((size, 1), EOS)], dim=1)


def batches_of_digits(seed=1, longest=12):
    random = torch.Generator().manual_seed(seed)

    def draw():
        n = torch.randint(1, longest + 1, (2,), generator=random).max().item()  # long rows more often
        return digits(n, 64, random)

    return draw


copiers = {}
for name, kind in (("fixed context", FixedContext), ("looks back   ", LooksBack)):
    torch.manual_seed(0)
    model = kind(13, 13)
    train(name, model, batches_of_digits(), 500, 0.01, digits(6, 200, torch.Generator().manual_seed(2)))
    copiers[name.strip()] = model

# %% tags=["demo", "hide-input"] alt="Share of rows copied without a mistake against the number of digits, 1 to 16. With the fixed context it is near 100% up to four digits, then falls steeply and is near zero from ten on. With attention it stays near 100% up to twelve digits, the longest in training, and falls steeply beyond. A dotted line at 4.9 digits marks the load of a date."
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.5, 3.4))
    ns = np.arange(1, 17)
    random = torch.Generator().manual_seed(3)
    rows = {n: digits(int(n), 300, random) for n in ns}
    for (name, model), colour in zip(copiers.items(), (ORANGE, BLUE), strict=True):
        shares = [right(model, *rows[n]).float().mean().item() for n in ns]
        ax.plot(ns, shares, "o-", color=colour, label=name)
        print(f"{name:14}{'1–8':>6}", "".join(f"{share:6.0%}" for share in shares[:8]))
        print(f"{'':14}{'9–16':>6}", "".join(f"{share:6.0%}" for share in shares[8:]))
    days = (dates.LAST - dates.FIRST).days + 1
    heavy = np.log2(days) / np.log2(10)
    print(f"a date: {days:,} days, {np.log2(days):.1f} bits, as heavy as {heavy:.1f} digits")
    ax.axvline(heavy, color=INK, linestyle=":")
    ax.text(heavy + 0.1, 0.04, "a date", color=INK)
    ax.axvline(12.5, color=INK, linestyle=":")
    ax.text(12.4, 0.6, "longer than\nany in training →", color=INK, va="center", ha="right")
    ax.set(ylim=(-0.02, 1.05), xlabel="digits to copy", ylabel="rows without a mistake", xticks=ns)
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.legend(loc="center left", bbox_to_anchor=(0, 0.3))
    plt.show()

# %% [markdown]
# There is the cliff, and it begins where the date stands: a date is about as much as this vector can carry. (Give the
# fixed context more width or more steps, and see where the cliff goes.) Forty-eight numbers could hold far more in
# principle. But they have to be *packed*, digit by digit, by a network that only ever sees one step, and *unpacked* in
# the same way. That is hard to learn. Attention packs nothing.
#
# The blue line has a cliff of its own, to the right of the dotted line. This network looks to the next place by a sense
# of position that it has learned, and it was never taught place 13. Looking back cures forgetting; it does not teach
# counting. Chapter 10 is about positions.
#
# ### The middle of the page is silent
#
# There is a second reason why looking back helps, and it can be seen before any training. To learn that a letter
# mattered, the gradient must travel from the output back to it. Through the fixed context it has one way only: along
# the GRUs, step by step, and each step turns it down. With attention there is a direct way from the output to *every*
# position.
#
# Take both networks fresh, untrained. Let them read 100 random letters, and ask how loudly the first score that they
# give speaks to each letter. **Where will the fixed context be deaf?** (It reads from both sides.)

# %% tags=["demo", "hide-input"] alt="Size of the gradient that reaches each of 100 letters, on a logarithmic axis. For the fixed context it falls from both ends to about a million-millionth in the middle. For attention it is level across all positions, only a few times less than at the ends."
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.5, 3.2))
    letters = torch.randint(4, len(source), (32, 100), generator=torch.Generator().manual_seed(0))
    for kind, name, colour in ((FixedContext, "fixed context", ORANGE), (LooksBack, "looks back", BLUE)):
        torch.manual_seed(0)
        fresh = kind(len(source), len(target))
        heard = []  # the vectors of the letters, caught on their way in
        fresh.embed_x.register_forward_hook(lambda module, args, out, heard=heard: heard.append(out))
        score = fresh(letters, torch.full((32, 1), BOS))[:, 0, 5].sum()
        (slope,) = torch.autograd.grad(score, heard[0])
        loudness = slope.norm(dim=-1).mean(0)
        ax.semilogy(np.arange(1, 101), loudness, color=colour, label=name)
        print(f"{name:14} letter 1: {loudness[0]:.1e}   letter 50: {loudness[49]:.1e}   letter 100: {loudness[99]:.1e}")
    ax.set(xlabel="letter", ylabel="gradient that reaches it")
    ax.legend()
    plt.show()

# %% [markdown]
# Both ends of the text are heard. The middle is silent by many powers of ten: whatever stands there, the network with
# the fixed context cannot learn from it. With attention the path from output to letter is the same for all of them, and
# short. *Attention shortens gradient paths*, and learning is faster for it.
#
# ## Your step at the wheel
#
# Now take the weights out of the trained network, hand them to **your** `decoder_step`, and let it write. Compare with
# PyTorch at every step, number by number. Then put in a date of your own.

# %% tags=["demo"]
model = networks["looks back"]
attention = [w.detach().numpy() for w in (model.attention.W_q.weight.T, model.attention.W_k.weight.T)]
attention.append(model.attention.v.weight.detach().numpy()[0])
cell = [
    w.detach().numpy() for w in (model.cell.weight_ih.T, model.cell.weight_hh.T, model.cell.bias_ih, model.cell.bias_hh)
]


def read_with(step, texts):
    """What a step like yours writes, with the trained weights: ids (B, 11), and weights (B, 11, S)."""
    x, _ = pad_batch([source.encode(text) for text in texts])
    with torch.no_grad():
        notes, state = model.read(x)
    memory, mask, state = notes.memory.numpy(), notes.mask.numpy(), state.numpy()
    letters, W, b = (w.detach().numpy() for w in (model.embed_y.weight, model.readout.weight.T, model.readout.bias))
    word, words, looks = np.full(len(texts), BOS), [], []
    for _ in range(11):
        y = letters[word]
        state, context, weights = step(y, state, memory, mask, attention, cell)
        word = (np.concatenate([state, context, y], axis=-1) @ W + b).argmax(-1)
        words.append(word)
        looks.append(weights)
    return np.stack(words, axis=1), np.stack(looks, axis=1)


with interactive.once_solved("decoder_step"):
    pairs = data.test[:300]
    words, looks = read_with(decoder_step, [pair.text for pair in pairs])
    theirs, their_looks = model.write(to_tensors(pairs)[0], 11)
    agree = np.mean([target.decode(word) == list(pair.iso) for word, pair in zip(words, pairs, strict=True)])
    print(f"your step reads {agree:.1%} of {len(pairs)} unseen dates right")
    print("every letter as PyTorch's:", bool((words == theirs.numpy()).all()))
    print(f"greatest difference in a weight, over all steps: {np.abs(looks - their_looks.numpy()).max():.0e}\n")
    for text in ("Freitag, 9. Juli 2004", "1 Ocak 2000", "31. joulukuuta 1999"):  # put a date of your own here
        words, _ = read_with(decoder_step, [text])
        print(f"{text:28} → {''.join(target.decode(words[0]))}")

# %% [markdown]
# ### The wrong state
#
# What if the GRU moves first, and the *new* state asks where to look? Here is that mistake, built into the trained
# network: the cell moves without a context, looks with the result, and then moves as it should.


# %% tags=["demo"]
class LooksWithTheCurrentState(LooksBack):
    def look(self, previous, notes):
        blank = torch.zeros_like(notes.last)
        current = self.cell(torch.cat([self.embed_y(self.word), blank], dim=-1), previous)
        return super().look(current, notes)

    def step(self, word, previous, notes):
        self.word = word
        return super().step(word, previous, notes)


mistaken = LooksWithTheCurrentState(len(source), len(target))
mistaken.load_state_dict(model.state_dict())
print(f"looks with the previous state: {right(model, *unseen).float().mean():6.1%} right")
print(f"looks with the current state:  {right(mistaken, *unseen).float().mean():6.1%} right, the same weights")
words, _ = mistaken.write(unseen[0][:4], 11)
for pair, word in zip(data.valid[:4], words, strict=True):
    print(f"  {pair.text:28} {pair.iso}   it wrote {''.join(target.decode(word))}")

# %% [markdown]
# Nothing crashes, all shapes fit, and the output is rubbish. And here is what makes this mistake so hard to find: a
# network *trained* in the wrong order from the start adapts to it, and reads dates as well as the right one. (Train a
# `LooksWithTheCurrentState` and see.) It moves its cell twice a step for that, and it is not the decoder of the paper.
# The mistake shows when weights meet code that was written by someone else.
#
# ## Where does it look?
#
# Now the best part. One date, six languages. Above stands what was read, below what was written. A line leads from each
# character that is written back to those that it looked at, and is as thick as the weight. **One of these languages puts
# the year first. Before you look: what should its lines do?**

# %% tags=["demo", "hide-input"] alt="Six panels, one a language. Lines lead from the ISO date below to the text above: blue for the year, orange for the month, green for the day. In German, Finnish, Greek and Russian the blue lines cross over the others to the end of the text. In Hungarian, which puts the year first, hardly a line crosses. Each digit of the year has a thick line to its own digit; the digits of the month look at a few letters in the name of the month."
names = {"de": "German", "fi": "Finnish", "el": "Greek", "hu": "Hungarian", "tr": "Turkish", "ru": "Russian"}
day = date(2004, 7, 9)
texts = {code: dates.write(day, max(dates.patterns(code), key=len), code) for code in (*names, "zh", "pl", "cs")}
inks = [BLUE] * 4 + [INK] + [ORANGE] * 2 + [INK] + [GREEN] * 2


def look_at(text):
    """What the network writes, and its weights for the ten characters of the date, shape (10, S)."""
    words, looks = model.write(pad_batch([source.encode(text)])[0], 11)
    return "".join(target.decode(words[0])), looks[0, :10].numpy()


with plotting.house_style():
    fig, axes = plt.subplots(3, 2, figsize=(9.6, 7.2))
    t = np.linspace(0, 1, 40)
    bend = 3 * t**2 - 2 * t**3
    for ax, (code, name) in zip(axes.flat, names.items(), strict=True):
        text = texts[code]
        written, looks = look_at(text)
        upper = np.arange(len(text)) + (28 - len(text)) / 2
        lower = (np.arange(10) - 4.5) * 1.3 + 13.5
        for s, letter in enumerate(text):
            ax.text(upper[s], 1.06, letter, ha="center", va="bottom", fontsize=12, family="DejaVu Sans Mono")
        for i, (letter, colour) in enumerate(zip(written, inks, strict=True)):
            ax.text(
                lower[i], -0.06, letter, ha="center", va="top", fontsize=14, color=colour, family="DejaVu Sans Mono"
            )
            for s in np.flatnonzero(looks[i] > 0.03):
                if letter != "-":
                    x = lower[i] + bend * (upper[s] - lower[i])
                    ax.plot(x, t, "-", color=colour, linewidth=6 * looks[i, s], alpha=0.75, solid_capstyle="butt")
        ax.set(xlim=(-1, 28.5), ylim=(-0.3, 1.35), title=name)
        ax.axis("off")
    plt.show()

# %% [markdown]
# Nobody told it about word order. It was shown texts and ISO dates, and nothing about which belongs to which. Read the
# picture slowly.
#
# - **The year is copied.** Each digit takes most of its weight, often all of it, from its own digit, however far away.
# - **The month is translated.** For *07* it looks into the *name* of the month, at one or two places. But a place of the
#   memory is not a letter: the GRU that comes from the right has read all of *Juli* when it arrives at the *J*. The thick
#   line shows where the month was *picked up*, not which letters decided it.
# - **The day** needs two digits where the text has one. The *0* of *09* stands nowhere. Most of its looks gather round the
#   *9*: there the GRU that comes from the left can know that no digit stood before it.
# - **Order** costs nothing. In Hungarian hardly a line crosses. In German all three bundles do. The network is the same.
#
# The hyphens (left out above) need nothing from the text; they look anywhere. *A weight is not always a reason*, and
# chapter 7 is about that. Here are the Chinese, Polish and Czech lines in plain text: for each character written, the
# one that it looked at most. (After some arrows you see nothing: it looked at a space.)

# %% tags=["demo"]
for code in ("zh", "pl", "cs"):
    written, looks = look_at(texts[code])
    print(f"{texts[code]}  →  {written}")
    strongest = [
        f"{a}←{texts[code][w.argmax()]} {w.max():4.0%}" for a, w in zip(written, looks, strict=True) if a != "-"
    ]
    print("   ", "  ".join(strongest[:4]), "\n   ", "  ".join(strongest[4:]))

# %% [markdown]
# ## Move, then look: Luong
#
# The circle had two ways out. Luong, Pham and Manning (2015) took the other one: first move, *without* a context of this
# step; then look, with the new state; then conclude from both.
#
# $$\begin{aligned}
# s_t &= \mathrm{GRU}\bigl([y_{t-1};\ \tilde h_{t-1}],\ s_{t-1}\bigr) &&\text{move} \\
# \alpha_t &= \mathrm{softmax}\bigl(\mathrm{score}(s_t, h)\bigr), \quad c_t = \textstyle\sum_s \alpha_{ts}\, h_s &&\text{look} \\
# \tilde h_t &= \tanh\bigl(W_c\,[c_t;\ s_t]\bigr) &&\text{conclude}
# \end{aligned}$$
#
# The next word is read off the conclusion $\tilde h_t$. The conclusion is also fed to the next step (they call it *input
# feeding*); otherwise the decoder would forget where it has looked. (They used stacked LSTMs. Nothing here depends on
# that.)
#
# They also asked how little is enough for a score. Let $h$ be the decoder's state and $\bar h_s$ a position of the
# memory:
#
# | kind | score | what is learned | must the widths agree? |
# |---|---|---|---|
# | `dot` | $h^\top \bar h_s$ | nothing | yes |
# | `general` | $h^\top W\, \bar h_s$ | a matrix | no |
# | `concat` | $v^\top \tanh(W\,[h;\ \bar h_s])$ | a matrix and a vector | no |
#
# The last one is an old friend in disguise. Cut $W$ into the part that meets $h$ and the part that meets $\bar h_s$:
# $W\,[h; \bar h_s] = W_1 h + W_2 \bar h_s$. It is Bahdanau's additive score. The first one, divided by $\sqrt d$, is the
# Transformer's.
#
# {{exercise luong_score}}
#
# Write all three under one name. `h` has shape `(B, d_h)`, `memory` `(B, S, d_m)`; return the scores, `(B, S)`, before
# any softmax. Vectors are rows, so the shapes of the parameters are
#
# - `dot`: neither `W` nor `v`;
# - `general`: `W` of shape `(d_h, d_m)`;
# - `concat`: `W` of shape `(d_h + d_m, d)` and `v` of shape `(d,)`. In the formula $W$ stands to the left of a column; in
#   code the joined row stands to the left of `W`. First come the rows for $h$.
#
# *By hand:* for $h = (2, 5)$ and a memory of $(1, 0)$ and $(3, -1)$, `dot` gives $2$ and $6 - 5 = 1$.
#
# <details><summary>Hint 1: the idea</summary>
#
# `general` is `dot` after one line that takes $h$ to the space of the memory. For `dot`, an axis of length 1 at the
# right place lets `h` meet every position of its own sequence.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# For `dot`: `return (h[:, None] * memory).sum(-1)`. For `concat`, either repeat `h` for every position with
# `np.broadcast_to` and join, or cut `W` in two.
#
# </details>


# %% exercise="luong_score"
def luong_score(h, memory, kind, W=None, v=None):
    """Luong's scores of a decoder state against every place in the memory.

    h       (B, d_h)     the decoder's state
    memory  (B, S, d_m)  the encoder's states
    kind    "dot", "general" or "concat"
    W       (d_h, d_m) for "general", (d_h + d_m, d) for "concat"
    v       (d,) for "concat"

    Returns the scores, (B, S).
    """
    ### BEGIN SOLUTION
    if kind == "concat":
        d_h = h.shape[-1]
        return np.tanh((h @ W[:d_h])[:, None] + memory @ W[d_h:]) @ v
    if kind == "general":
        h = h @ W
    return (h[:, None] * memory).sum(-1)
    ### END SOLUTION


# %% [markdown]
# ### The same in PyTorch
#
# Three comparisons. `general` is what PyTorch calls `bilinear`. `concat` with $W_q$ and $W_k$ stacked must give the
# scores of the *trained* network. And `dot` of the memory with itself is a plain matrix product.

# %% tags=["demo"]
with interactive.once_solved("luong_score"):
    rng = np.random.default_rng(0)
    h, memory, W = rng.normal(size=(3, 5)), rng.normal(size=(3, 7, 11)), rng.normal(size=(5, 11))
    wide = torch.tensor(h)[:, None].expand(3, 7, 5).contiguous()
    theirs = nn.functional.bilinear(wide, torch.tensor(memory), torch.tensor(W)[None])[..., 0]
    print(
        f"general against bilinear:              {np.abs(luong_score(h, memory, 'general', W) - theirs.numpy()).max():.0e}"
    )

    with torch.no_grad():
        notes, state = model.read(unseen[0][:5])
        theirs = model.attention.v(torch.tanh(model.attention.W_q(state)[:, None] + notes.keys))[..., 0].numpy()
    (W_q, W_k, v) = attention
    yours = luong_score(state.numpy(), notes.memory.numpy(), "concat", np.concatenate([W_q, W_k]), v)
    print(f"concat against the trained network:    {np.abs(yours - theirs).max():.0e}")
    yours = luong_score(memory[:, 2], memory, "dot")
    print(
        f"dot against a matrix product:          {np.abs(yours - (memory @ memory.transpose(0, 2, 1))[:, 2]).max():.0e}"
    )

# %% [markdown]
# Why choose the poorer one? **Guess: how much longer does `concat` take than `general`,** for 64 sequences of 100
# positions and a width of 256?

# %% tags=["demo"]
with interactive.once_solved("luong_score"):
    d = 256
    h, memory = rng.normal(size=(64, d)).astype(np.float32), rng.normal(size=(64, 100, d)).astype(np.float32)
    W, long, v = (rng.normal(size=shape).astype(np.float32) for shape in ((d, d), (2 * d, d), (d,)))
    for kind, parameters in (("dot", ()), ("general", (W,)), ("concat", (long, v))):
        times = []
        for _ in range(5):
            began = time.perf_counter()
            luong_score(h, memory, kind, *parameters)
            times.append(time.perf_counter() - began)
        print(f"{kind:8} {1000 * min(times):6.2f} ms   {sum(p.size for p in parameters):8,} parameters")

# %% [markdown]
# `concat` passes every position through a matrix and a tanh, for every query. `general` passes only the *query* through
# the matrix, and the rest is one product. This is why the Transformer is built on products.
#
# ## Global or local
#
# So far every step looked at every position: *global* attention. For a page that is a lot of looking, most of it in
# vain. Luong's *local* attention picks a place first, the **centre** $p$, and looks only at the positions within a
# **radius** $D$ of it. With the centre comes a preference for what is near: a bell curve.
#
# $$\alpha_s = \mathrm{softmax}_{|s - p| \le D}(e)_s \cdot \exp\left(-\frac{(s - p)^2}{2\sigma^2}\right)$$
#
# Read it in two parts. First, a softmax over the $2D + 1$ positions of the window alone. Then each weight is lowered by
# its distance from the centre, and *that is all*: the weights are not made to sum to one again. If what the scores like
# best lies at the edge, the step sees little, and it will learn to aim better.
#
# Where does $p$ come from? Luong tried two answers. *Local-m*: the decoder's own place, $p_t = t$; if you write the
# third word, look near the third word. *Local-p*: predict it, $p_t = S \cdot \sigma(v_p^\top \tanh(W_p s_t))$, where
# $\sigma(\cdot)$ is the sigmoid this time and $S$ the length of the source. The bell is for local-p, and the paper sets
# its width to $\sigma = D/2$.
#
# {{exercise local_attention}}
#
# Write the weights for `scores` of shape `(B, S)` and one `centre` for each sequence, shape `(B,)`. A centre may lie
# between two positions; positions count from 0. The edge belongs to the window, $|s - p| \le D$. What lies beyond an end
# of the sequence is ignored. A window that holds no position at all gives zeros.
#
# *By hand:* five equal scores, $p = 2$, $D = 1$, $\sigma = 1$. Three positions share equally, and the outer two are
# lowered by $e^{-1/2} \approx 0.607$: the weights are $0,\ 0.202,\ 0.333,\ 0.202,\ 0$. Their sum is $0.738$.
#
# <details><summary>Hint 1: the idea</summary>
#
# A window is a mask. Do not slice: `np.arange(S) - centre[:, None]` holds all distances, shape `(B, S)`, and both the
# window and the bell can be read off it. Then nothing can wrap round an end.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `distance = np.arange(scores.shape[-1]) - centre[:, None]`
#
# `masked_softmax` from chapter 5 gives zeros where nothing is permitted.
#
# </details>


# %% exercise="local_attention"
def local_attention(scores, centre, radius, sigma):
    """Luong's local attention: a softmax over a window, times a bell.

    scores  (B, S)
    centre  (B,)  where to look, from 0 to S; need not be whole
    radius  how far the window reaches on each side
    sigma   the width of the bell

    Returns the weights, (B, S). They need not sum to one.
    """
    ### BEGIN SOLUTION
    distance = np.arange(scores.shape[-1]) - centre[:, None]
    bell = np.exp(-(distance**2) / (2 * sigma**2))
    return masked_softmax(scores, abs(distance) <= radius) * bell
    ### END SOLUTION


# %% [markdown]
# Let it look through the trained network's eyes. The step is the one that writes the *7* of *2004-07-09*, the text is
# German, and the scores are those of the trained network. Only the centre moves.

# %% tags=["demo", "hide-input"] alt="Three rows of bars over the letters of Freitag, 9. Juli 2004, each with a bell curve. In the first the bell stands over Freitag, far from the month, and the filled bars under it are low. In the second it stands between day and month, and cuts the name of the month in two. In the third it stands over Juli, and the filled bars come near the outlines, which show global attention."
with interactive.once_solved("local_attention"):
    text = texts["de"]
    written, looks = look_at(text)
    scores = np.log(looks[6:7])  # softmax does not mind what is added to all scores
    with plotting.house_style():
        fig, axes = plt.subplots(3, 1, figsize=(7.5, 5), sharex=True, sharey=True)
        fine = np.linspace(-0.5, len(text) - 0.5, 300)
        for ax, p in zip(axes, (3.0, 10.5, 13.0), strict=True):
            weights = local_attention(scores, np.array([p]), 3, 1.5)[0]
            ax.bar(range(len(text)), looks[6], 0.8, facecolor="none", edgecolor=INK, label="global")
            ax.bar(range(len(text)), weights, 0.8, color=BLUE, label="local")
            ax.plot(
                fine,
                np.where(abs(fine - p) <= 3, np.exp(-((fine - p) ** 2) / (2 * 1.5**2)), np.nan),
                "--",
                color=ORANGE,
                label="bell",
            )
            ax.text(len(text) - 0.5, 0.55, f"p = {p}, sum {weights.sum():.2f}", va="center", ha="right")
        axes[-1].set_xticks(range(len(text)), labels=[letter.replace(" ", "␣") for letter in text])
        axes[0].legend(loc="upper right", ncols=3, fontsize=9)
        plt.show()

# %% [markdown]
# The sum is the tell-tale. When the bell stands in the wrong place, the softmax still shares out 100% inside its window:
# it has to. The bell takes most of it away. Normalise again, and a badly aimed look would be as loud as a good one.
#
# The bell has one more task: it is how the centre *learns*. A window has an edge, and an edge has no slope. The bell has
# a slope everywhere.

# %% tags=["demo"]
with interactive.once_solved("local_attention"):
    p = torch.tensor([10.5], dtype=torch.float64, requires_grad=True)
    e = torch.tensor(scores, dtype=torch.float64)
    distance = torch.arange(len(text)) - p[:, None]
    window = torch.softmax(e.masked_fill(distance.abs() > 3, -torch.inf), dim=-1)
    bell = torch.exp(-(distance**2) / (2 * 1.5**2))
    yours = local_attention(scores.astype(float), np.array([10.5]), 3, 1.5)
    print(f"PyTorch against yours: {np.abs((window * bell).detach().numpy() - yours).max():.0e}")
    (slope,) = torch.autograd.grad((window * bell).sum(), p)
    print(f"with the bell, one position to the right changes the seen share by {slope.item():+.2f}")
    print("without the bell, does the centre have a gradient?", window.requires_grad)

# %% [markdown]
# ### Would a window have been enough for dates?
#
# We have the weights of two thousand dates. So we can ask, without training anything: which share of the looking falls
# into a window of radius $D$, if the window stands at $p_t = t$ (local-m)? And if it stands at the best place (what
# local-p hopes to predict)? **Guess both for $D = 3$.** Think of German. Then think of Hungarian.

# %% tags=["demo", "hide-input"] alt="Share of the weight inside the window against its radius, from 0 to 25. With the best centre it is above 90% from radius 1 on. With the centre at the decoder's own place, Hungarian and Chinese reach about 80% at radius 3, the other languages rise slowly and need a radius of more than 15 for 90%."
looks = model.write(unseen[0], 10)[1]  # (2000, 10, S)
positions = torch.arange(looks.shape[-1])
own, best = torch.arange(10)[:, None], looks.argmax(-1, keepdim=True)
year_first = torch.tensor([pair.language in ("hu", "zh") for pair in data.valid + data.test])
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.5, 3.4))
    radii = np.arange(26)

    def seen(centre, rows):
        """For each radius, the share of the weight inside the window, averaged over steps and dates."""
        far = (positions - centre).abs()
        return [(looks * (far <= D)).sum(-1)[rows].mean().item() for D in radii]

    print(f"{'':30}" + "".join(f"{f'D = {D}':>9}" for D in (1, 3, 8, 16)))
    every = torch.ones_like(year_first)
    for name, shares, colour in (
        ("best centre, all languages", seen(best, every), BLUE),
        ("p = t, Hungarian and Chinese", seen(own, year_first), GREEN),
        ("p = t, the other fourteen", seen(own, ~year_first), ORANGE),
    ):
        ax.plot(radii, shares, color=colour, label=name)
        print(f"{name:30}" + "".join(f"{shares[D]:9.0%}" for D in (1, 3, 8, 16)))
    ax.set(xlabel="radius of the window", ylabel="share of the looking inside", ylim=(0, 1.03))
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.legend(loc="lower right")
    plt.show()

# %% [markdown]
# With the best centre, seven positions hold more than nine tenths of the looking. With the centre at its own place,
# they hold nearly as much for two languages out of sixteen, and less than a third for the others, because *"look where
# you write" is a claim about word order*. For speech, where sound and letter go side by side, it is a fair claim
# (chapter 23). For a language model that looks back at its own last words it is a very good one: the sliding windows of
# chapter 25 are local-m.
#
# ## Quiz
#
# **1.** A decoder with a fixed context reads *dates* of 36 characters no worse than dates of 8, but *sentences* of 36
# words worse than sentences of 8. Why?
#
# <details><summary>Answer</summary>
#
# What has to pass the neck is information, not characters. A date is about 16 bits however it is spelled. A longer
# sentence says more. Length is only a stand-in for load.
#
# </details>
#
# **2.** Someone computes $e_{ts} = v^\top(W_q s_{t-1} + W_k h_s)$ and forgets the tanh. The network trains. What can it
# no longer do?
#
# <details><summary>Answer</summary>
#
# Look at different places at different steps. Without the tanh the score is $v^\top W_q s_{t-1} + v^\top W_k h_s$. The
# first term is the same for all positions, and softmax undoes what is added to all scores alike. The weights do not
# depend on the decoder any more. (The same happens to `concat`. It does not happen to `general`: a product is not a sum.)
#
# </details>
#
# **3.** In Luong's decoder the score is made with the *current* state. Why is that no circle?
#
# <details><summary>Answer</summary>
#
# Because his GRU is not given this step's context. It moves on with the last word and the *last* conclusion
# $\tilde h_{t-1}$. Then the state exists, and may ask. The context enters after the GRU, in $\tilde h_t$.
#
# </details>
#
# **4.** Local attention, $D = 2$, $\sigma = 1$. All the scores are equal. The centre lies exactly between two positions in the
# middle of a long sequence. What is the sum of the weights?
#
# <details><summary>Answer</summary>
#
# The distances are $\pm\tfrac12, \pm\tfrac32$; $\pm\tfrac52$ is outside. Four positions get $\tfrac14$ each, and the
# bell leaves $\tfrac14\bigl(2e^{-1/8} + 2e^{-9/8}\bigr) \approx \tfrac12(0.882 + 0.325) = 0.604$.
#
# </details>
#
# **5. From an interview.** *"Which problem of encoder–decoder networks did attention solve? What does it do to gradients,
# what does it cost, and is CTC attention too?"*
#
# <details><summary>A model answer</summary>
#
# Without attention the decoder sees the source through one vector of fixed size. Everything needed later must be packed
# into it, so quality falls as the *information* in the source grows; for sentences that means with length. Attention
# keeps the encoder's states, one a position, and gives each decoder step its own weighted average of them, with weights
# from a comparison of the decoder's state with each position. Nothing has to be packed, and order may be changed at no
# cost.
#
# It *shortens gradient paths*. Without it, a gradient from an output to an input travels through all recurrent steps
# between, and fades. With it there is a path of constant length from each output to each position. It does not cure
# fading inside the encoder.
#
# It costs time and memory: $T \cdot S$ scores in place of none, quadratic when both grow. Local windows make it
# $T \cdot (2D + 1)$, at the price of a claim about where to look. And the memory grows with the source.
#
# CTC is not attention. It sums over all monotone alignments between frames and labels, with a blank, and assumes that
# the outputs are independent given the input. There is no query, no weighted average, no reordering. Attention has no
# blank and is not bound to be monotone. (They are often trained together, in speech recognition.)
#
# *What a weak answer says:* "it helps the model to focus on the important words".
#
# </details>
#
# ## Summary
#
# - A fixed context must carry all that will be written. What breaks it is load, not length.
# - Attention gives each step a context of its own: compare, normalise, average. It is one method of the decoder.
# - Bahdanau looks with the state *before* the step and moves with what was seen. Luong moves first and looks after.
#   Each is consistent; a mixture is a circle.
# - `dot`, `general`, `concat`: from nothing learned to a small network. `concat` is additive attention.
# - Local attention: a softmax over a window, then a bell, and no second normalisation. The centre learns through the
#   bell.
# - There is a short path from every output to every input, for the weights on the way there and the gradient on the way
#   back.
#
# Chapter 7 takes the pictures of this chapter and asks how far to trust them: what does an alignment show, how is it
# scored, and what does a weight *not* explain?
#
# ## Further reading
#
# - K. Cho, B. van Merriënboer, C. Gulcehre, D. Bahdanau, F. Bougares, H. Schwenk, Y. Bengio, "Learning Phrase Representations using RNN Encoder–Decoder for Statistical Machine Translation", 2014.
#   The encoder–decoder with one context, and the GRU.
# - I. Sutskever, O. Vinyals, Q. V. Le, "Sequence to Sequence Learning with Neural Networks", 2014. The same year, with
#   deep LSTMs. They read the source *backwards*, and it helped: a hint at the paths that gradients take.
# - K. Cho, B. van Merriënboer, D. Bahdanau, Y. Bengio, "On the Properties of Neural Machine Translation:
#   Encoder–Decoder Approaches", 2014. Quality against sentence length, with a fixed context.
# - D. Bahdanau, K. Cho, Y. Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", 2015. The
#   step that you wrote.
# - M.-T. Luong, H. Pham, C. D. Manning, "Effective Approaches to Attention-based Neural Machine Translation", 2015. The
#   three scores, input feeding, local attention.
# - A. Graves, "Generating Sequences With Recurrent Neural Networks", 2013. A soft window of bells that slides along the
#   text while a network writes it by hand: attention before the name.
#
# **Next:** [7 · Reading an alignment](../07_reading_an_alignment/07_reading_an_alignment.ipynb). You have drawn where the
# network looked. Is that what it used?
