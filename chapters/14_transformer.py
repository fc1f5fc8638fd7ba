# %% [markdown]
# # 14 · The full Transformer and its training
#
# **All the parts lie on the table. What does it take to make them speak German?**
#
# You have an attention that splits into heads, positions, blocks, an encoder that reads and a decoder that may not look
# ahead. None of them knows a word. In this chapter you screw them together, and what you have built then learns to
# translate, here, in this notebook, in less time than it takes to read this page.
#
# Half of the chapter is the machine. The other half is the part that tutorials hurry over, and where real projects lose
# their weeks: the loss, the learning rate, what is counted and what is not, and how a run that was killed goes on as if
# nothing had happened. Mistakes in there do not crash. They only make everything a little worse, for ever.
#
# *About three hours, two of them for the seven exercises. You need chapters 8 to 13, or their pieces from the library.*

# %%
import math
import tempfile
import time
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from attnlab import checkpoint, drawing, interactive, pieces, plotting, progress
from attnlab.data import grammar
from attnlab.data.corpus import BOS, PAD, pad_batch
from attnlab.decoder import DecoderLayer, shift_right
from attnlab.encoder import EncoderLayer
from attnlab.masks import causal_mask, padding_mask
from attnlab.positions import sinusoidal_positions
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN, PURPLE = plotting.COLOURS[:4]
INK = plotting.INK

# The one line for a GPU: CUDA if there is one, or a Mac's, or else the CPU.
device = torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")

data = grammar.load(8000, seed=0)
english, german = data.vocabularies["source"], data.vocabularies["target"]
print(f"{len(data.train):,} pairs to learn from, {len(data.valid)} to try on, {len(data.test)} kept for the end")
print(f"{len(english)} English and {len(german)} German tokens, four of them special; device: {device.type}")

# %% [markdown]
# The language comes from a small grammar, the one of chapter 7. It is generated, and its sentences make little sense,
# but its German is correct. Here is what a word-for-word dictionary cannot do:


# %% tags=["demo", "hide-input"] alt="Two English sentences above, their German translations below, and a line for each pair of words that belong together. In the first, today the small dogs do not see the old house, the verb see jumps from the sixth place to the second, and not jumps to the end. In the second, she says that the beautiful queen sees the young man, the verb moves to the very end. Lines of words that move are orange, those of words that change their ending with gender and case are blue, all others grey."
def crossing(ax, pair, kinds):
    """Words above and below, with the true links, coloured by what happens to the German word."""
    shift = (len(pair.source) - len(pair.target)) / 2
    for t, s in sorted(pair.sure):
        colour = {"moved": ORANGE, "bent": BLUE}.get(kinds.get(pair.target[t], ""), INK)
        u = np.linspace(0, 1, 30)
        bend = 3 * u**2 - 2 * u**3
        ax.plot(s + bend * (t + shift - s), 1 - u, "-", color=colour, linewidth=2.6, alpha=0.9, solid_capstyle="round")
    for words, offset, y, align in ((pair.source, 0, 1.06, "bottom"), (pair.target, shift, -0.06, "top")):
        for i, word in enumerate(words):
            ax.text(i + offset, y, word, ha="center", va=align, fontsize=13)
    ax.set(xlim=(-0.7, len(pair.source) - 0.3), ylim=(-0.25, 1.25))
    ax.axis("off")


def number(words, one, column=0):
    return next(i for i, word in enumerate(words) if word[column] == one)


def phrase(noun, plural, adjective):
    return grammar.Phrase(number(grammar.NOUNS, noun), plural, number(grammar.ADJECTIVES, adjective))


see = number(grammar.VERBS, "see")
first = grammar.write(grammar.Sentence(0, phrase("dog", True, "small"), see, True, phrase("house", False, "old")))
second = grammar.write(
    grammar.Sentence(7, phrase("queen", False, "beautiful"), see, False, phrase("man", False, "young"))
)
with plotting.house_style():
    fig, axes = plt.subplots(2, 1, figsize=(9.4, 4.6))
    endings = ["die", "das", "den", "der", "kleinen", "alte", "schöne", "jungen"]
    for ax, pair, verbs in ((axes[0], first, ["sehen", "nicht"]), (axes[1], second, ["sieht"])):
        crossing(ax, pair, dict.fromkeys(verbs, "moved") | dict.fromkeys(endings, "bent"))
    plt.show()
for pair in (first, second):
    print(" ".join(pair.target))

# %% [markdown]
# Orange words *move*: the verb comes second in a main clause, last after *dass*, and *nicht* goes to the end. Blue words
# *bend*: the article and the adjective change with gender, number and case, so *the* is one of *der, die, das, den*,
# and which one is decided by a noun that has not been written yet. How far does a dictionary get, which knows for each
# English word its most frequent German partner, and keeps the English order? **Guess a percentage.**

# %% tags=["demo"]
partners = {}
for pair in data.train:
    for t, s in pair.sure:
        partners.setdefault(pair.source[s], Counter())[pair.target[t]] += 1
by_word = [[partners[word].most_common(1)[0][0] for word in pair.source if word in partners] for pair in data.test]
right = np.mean([words == list(pair.target) for words, pair in zip(by_word, data.test, strict=True)])
print(f"sentences without a mistake: {right:.1%} of {len(data.test)}. One of the others:")
print(f"  the dictionary   {' '.join(by_word[0])}\n  it should be     {' '.join(data.test[0].target)}")

# %% [markdown]
# ## Where we are

# %% tags=["demo"]
interactive.road(14)

# %% [markdown]
# The big box is the last one of the model. Everything in it is built.
#
# ## The pieces
#
# **One switch.** Leave `MY_OWN` at `False`, and the pieces come from the library: whatever you have not solved stands in
# nobody's way. Set it to `True`, and they come from *your* notebooks of chapters 9 to 13, which lie beside this one. What
# you have not solved there is filled up from the library, and the cell says which is whose. (An exercise below that
# passes with the library's pieces and fails with yours has found a mistake in a piece.)

# %%
MY_OWN = False

if MY_OWN:
    mine = pieces.own(
        {
            "sinusoidal_positions": sinusoidal_positions,
            "EncoderLayer": EncoderLayer,
            "DecoderLayer": DecoderLayer,
            "shift_right": shift_right,
        },
        {
            "MultiHeadAttention": 9,
            "sinusoidal_positions": 10,
            "feed_forward": 11,
            "residual": 11,
            "EncoderLayer": 12,
            "DecoderLayer": 13,
            "shift_right": 13,
        },
    )
    sinusoidal_positions, EncoderLayer = mine["sinusoidal_positions"], mine["EncoderLayer"]
    DecoderLayer, shift_right = mine["DecoderLayer"], mine["shift_right"]

# %% [markdown]
# What they take and give:
#
# | Piece | Call | Gives |
# |:--|:--|:--|
# | `sinusoidal_positions(T, d_model)` | | the rows $P_0 \dots P_{T-1}$, shape `(T, d_model)` |
# | `EncoderLayer(d_model, num_heads, d_ff, dropout, order)` | `layer(x, mask)` | shape of `x`, `(B, S, d_model)` |
# | `DecoderLayer(…the same…)` | `layer(x, memory, mask, memory_mask)` | shape of `x`, `(B, T, d_model)` |
# | `padding_mask(lengths, S)` | | `(B, 1, 1, S)`, True at real tokens |
# | `causal_mask(T, like=tensor)` | | `(T, T)`, True at the past and the present |
# | `shift_right(tgt, BOS)` | | what the decoder reads while it learns to write `tgt` |
#
# A stack of layers is so short that it comes as a present. It is the `Encoder` of chapter 12, and with another kind of
# layer it is the decoder.


# %%
class Stack(nn.Module):
    """num_layers layers of a kind, one behind the other, and a norm at the end."""

    def __init__(self, layer, num_layers, d_model, *sizes):
        super().__init__()
        self.layers = nn.ModuleList(layer(d_model, *sizes) for _ in range(num_layers))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x, *context):
        """x through all layers; context is what each layer gets besides: masks, and for a decoder the memory."""
        for floor in self.layers:
            x = floor(x, *context)
        return self.norm(x)


# %% [markdown]
# ## Words become vectors
#
# A token is a number, such as 17, and means nothing: 17 is not larger than 16 in any way that matters. So each token gets
# a row of its own in a table $W$ of shape `(vocab, d_model)`, and the row is *learned*. The network never sees a word. It
# sees the row, and where it stood (chapter 10):
#
# $$x_t = \sqrt{d_\text{model}}\; W_{\text{token}_t} + P_t .$$
#
# **What is the root doing there?** The paper gives it one sentence, and no reason. Here is one. The rows are drawn with
# variance $1/d_\text{model}$, so that a row is a vector of length about 1, whatever the width. The row $P_t$ consists of
# sines and cosines, so its length is $\sqrt{d_\text{model}/2}$: for $d_\text{model} = 512$ that is 16. Add the two, and
# the word is 1 part in 17. *Guess what is left of it in the sum, as a share of the variance.* The curve tells.

# %% tags=["demo", "hide-input"] alt="Share of the variance of word plus position that comes from the word, against d_model from 8 to 1024. Without the root the share falls from a fifth to below one hundredth; with the root it stays at two thirds for every width."
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.2, 3.3))
    widths = 2 ** np.arange(3, 11)
    rng = torch.Generator().manual_seed(0)
    shares = []
    for d in widths:
        row = torch.randn(500, int(d), generator=rng) / d**0.5
        place = sinusoidal_positions(20, int(d))
        word, spot = row.pow(2).mean().item(), place.pow(2).mean().item()
        shares.append((d * word / (d * word + spot), word / (word + spot)))
    for values, name, colour in zip(
        zip(*shares, strict=True), ("with √d_model", "without"), (BLUE, ORANGE), strict=True
    ):
        ax.plot(widths, values, "o-", color=colour, label=name)
    ax.set(xscale="log", ylim=(0, 1), xlabel="d_model", ylabel="the word's share")
    ax.set_xticks(widths, labels=widths)
    ax.legend(frameon=False)
    plt.show()
print(f"d_model = 512: with the root {shares[6][0]:.0%}, without {shares[6][1]:.1%}")

# %% [markdown]
# Without the root, a wide network at its start sees *where* every word stands, and hardly *which* word it is. With it,
# both are heard at every width. And there is a second effect, which we shall measure at the end: the root is also a
# learning rate in disguise.
#
# **Padding** has a row as well, for it has an id. It should be nothing, so its row is zero, and stays zero: no gradient
# may reach it.
#
# {{exercise Embedding}}
#
# Write the module. `Embedding(vocab, d_model, dropout, pad)` has one table, `self.tokens`, an `nn.Embedding`.
#
# - The rows are drawn from a normal distribution with variance $1/d_\text{model}$. The row of `pad` is zero and is never
#   trained: `nn.Embedding` has an argument for the second, and it makes the row zero *once*, when it is made.
# - `forward(tokens)`: shape `(B, T)` to `(B, T, d_model)`. Scale the rows, add `sinusoidal_positions`, and let dropout
#   fall on the sum, in training only.
#
# *By hand:* with $d_\text{model} = 4$, a token whose row is $(½, 0, 0, ½)$ at place 0, where $P_0 = (0, 1, 0, 1)$, becomes
# $2 \cdot (½, 0, 0, ½) + (0, 1, 0, 1) = (1, 1, 0, 2)$.
#
# <details><summary>Hint 1: the idea</summary>
#
# `padding_idx=pad` keeps gradients from the row. Drawing the table anew with `nn.init.normal_` overwrites that row too, so
# it must be set to zero after that, under `torch.no_grad()`.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `self.tokens = nn.Embedding(vocab, d_model, padding_idx=pad)`, then
# `nn.init.normal_(self.tokens.weight, std=d_model**-0.5)`. In `forward`, `sinusoidal_positions(T, d_model).to(x)` has the
# device and the number format of `x`.
#
# </details>


# %% exercise="Embedding"
class Embedding(nn.Module):
    """Token ids to vectors: √d_model · W[token] + position, then dropout."""

    def __init__(self, vocab, d_model, dropout, pad):
        super().__init__()
        ### BEGIN SOLUTION
        self.tokens = nn.Embedding(vocab, d_model, padding_idx=pad)
        nn.init.normal_(self.tokens.weight, std=d_model**-0.5)
        with torch.no_grad():
            self.tokens.weight[pad] = 0
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, tokens):
        """Ids (B, T) to vectors (B, T, d_model)."""
        ### BEGIN SOLUTION
        rows = self.tokens(tokens)
        T, d_model = rows.shape[1:]
        x = math.sqrt(d_model) * rows
        return self.dropout(x + sinusoidal_positions(T, d_model).to(x))
        ### END SOLUTION


# %% [markdown]
# ## The machine
#
# Three lines make the Transformer:
#
# $$\begin{aligned}
# \text{memory} &= \text{Encoder}(\text{embed}_\text{src}(\text{src}),\; \text{mask}_\text{src}) \\
# \text{hidden} &= \text{Decoder}(\text{embed}_\text{tgt}(\text{tgt}),\; \text{memory},\; \text{mask}_\text{causal},\; \text{mask}_\text{src}) \\
# \text{logits} &= \text{hidden}\; W_\text{out} + b .
# \end{aligned}$$
#
# The source is read once. Every layer of the decoder looks into it. What comes out at place $t$ is one
# number for each German token: how much the model would like to write it next.
#
# Three masks are at work, and two of them are the same one. Before you go on, say it aloud: **which attention gets
# which?**
#
# {{exercise Transformer}}
#
# Write `Transformer(src_vocab, tgt_vocab, d_model, num_heads, num_layers, d_ff, dropout, pad, order)`. Its parts are
#
# | Attribute | Is |
# |:--|:--|
# | `src_embedding`, `tgt_embedding` | your `Embedding`, one a language |
# | `encoder`, `decoder` | a `Stack` of `EncoderLayer`, one of `DecoderLayer`; each layer is made with `(d_model, num_heads, d_ff, dropout, order)` |
# | `W_out` | `nn.Linear(d_model, tgt_vocab)`, a matrix of its own, not tied to an embedding |
#
# `forward(src, tgt)` takes the source, ids `(B, S)` padded at the end with `pad`, and what the decoder reads, ids `(B, T)`.
# It returns logits `(B, T, tgt_vocab)`. It does *not* shift the target: who calls it, does. Padding at the end of the target
# needs no mask of its own; the causal mask hides it from every real token. Who leaves `order` out gets the paper's, `"post"`.
#
# *By hand:* with `src_vocab = 17`, `tgt_vocab = 19`, a source of shape `(3, 7)` and a target of shape `(3, 5)`, the memory is
# `(3, 7, d_model)`, the source's mask `(3, 1, 1, 7)`, the causal mask `(5, 5)` and the logits `(3, 5, 19)`.
#
# <details><summary>Hint 1: the idea</summary>
#
# The source's mask is needed twice: in the encoder, and where the decoder looks across. `(src != self.pad).sum(dim=1)` are
# the lengths that `padding_mask` wants.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `sizes = (num_layers, d_model, num_heads, d_ff, dropout, order)` and `self.encoder = Stack(EncoderLayer, *sizes)`. A stack
# hands whatever comes behind `x` to its layers: `self.decoder(x, memory, causal, src_mask)`.
#
# </details>


# %% exercise="Transformer"
class Transformer(nn.Module):
    """Logits for every next target token, from the source and the target so far."""

    def __init__(
        self,
        src_vocab,
        tgt_vocab,
        d_model=512,
        num_heads=8,
        num_layers=6,
        d_ff=2048,
        dropout=0.1,
        pad=0,
        order="post",
    ):
        super().__init__()
        ### BEGIN SOLUTION
        self.pad = pad
        sizes = (num_layers, d_model, num_heads, d_ff, dropout, order)
        self.src_embedding = Embedding(src_vocab, d_model, dropout, pad)
        self.tgt_embedding = Embedding(tgt_vocab, d_model, dropout, pad)
        self.encoder = Stack(EncoderLayer, *sizes)
        self.decoder = Stack(DecoderLayer, *sizes)
        self.W_out = nn.Linear(d_model, tgt_vocab)
        ### END SOLUTION

    def forward(self, src, tgt):
        """Source ids (B, S), target ids (B, T), to logits (B, T, tgt_vocab)."""
        ### BEGIN SOLUTION
        src_mask = padding_mask((src != self.pad).sum(dim=1), src.shape[1])
        memory = self.encoder(self.src_embedding(src), src_mask)
        causal = causal_mask(tgt.shape[1], like=tgt)
        return self.W_out(self.decoder(self.tgt_embedding(tgt), memory, causal, src_mask))
        ### END SOLUTION


# %% [markdown]
# ### A portrait
#
# You know the famous drawing of the Transformer. Here is one that is better in one respect: it cannot lie. It is made
# by *watching your module work*. Hooks note which part handed what to which, and in what shape. Nothing in it is drawn
# because it should be there. If you forget a residual connection, or a mask, it is missing from the picture.


# %% tags=["demo"] alt="Two columns of boxes. Left, from src: src_embedding, then a frame encoder.layers times 2 with norm_1, self_attention with a mask, a sum, norm_2, feed_forward, a sum; then encoder.norm. Right, from tgt: tgt_embedding, a frame decoder.layers times 2 with three such groups, the second of which is cross_attention, into which an arrow leads from encoder.norm; then decoder.norm, W_out, and out. Every arrow carries a shape, and around each group an arrow leads from before its norm to its sum."
D_MODEL, HEADS, LAYERS, D_FF = 64, 4, 2, 128


def new_model(layers=LAYERS, dropout=0.1, order="pre"):
    """A Transformer of yours for this data, by default with norms before the sublayers."""
    torch.manual_seed(0)
    sizes = (D_MODEL, HEADS, layers, D_FF)
    return Transformer(len(english), len(german), *sizes, dropout=dropout, pad=PAD, order=order).to(device)


def to_batch(pairs):
    """English ids (B, S) and German ids (B, T), each closed by its <eos>, padded at the end."""
    src, _ = pad_batch([english.encode(pair.source, eos=True) for pair in pairs])
    tgt, _ = pad_batch([german.encode(pair.target, eos=True) for pair in pairs])
    return src.to(device), tgt.to(device)


def portrait():
    with interactive.once_solved("Embedding and Transformer"):
        src, tgt = to_batch(data.train[9:12])
        return drawing.draw_model(new_model(), src=src, tgt=shift_right(tgt, BOS))


portrait()

# %% [markdown]
# Read off three things. *How many arrows cross from left to right?* One in the picture, one for each decoder layer in
# truth: the memory is all that the decoder knows of the source. *Where do the parameters sit?* The number in each box says
# it. *Which arrows pass no norm?* The brackets at the sides: a gradient can run along them from the loss down to the words,
# past every layer (chapter 11).
#
# ### The same numbers as PyTorch's
#
# `nn.Transformer` is the same machine without embeddings and head. Give it *your* weights, under its names, and your
# embeddings, and compare what comes out. Its boolean masks mean the opposite of ours: True = hidden.


# %% tags=["demo"]
THEIRS = {
    "self_attn": "self_attention",
    "multihead_attn": "cross_attention",
    "out_proj": "W_o",
    "linear1": "feed_forward.W_1",
    "linear2": "feed_forward.W_2",
    **{f"norm{i}": f"norm_{i}" for i in (1, 2, 3)},
}


def under_their_names(mine, their_names):
    """Weights of ours under PyTorch's names; it keeps W_q, W_k and W_v in one matrix."""
    renamed = {}
    for name in their_names:
        stem, _, packed = name.partition("in_proj_")
        ours = ".".join(THEIRS.get(part, part) for part in stem.split("."))
        renamed[name] = (
            torch.cat([mine[f"{ours}{W}.{packed}"] for W in ("W_q", "W_k", "W_v")]) if packed else mine[ours]
        )
    return renamed


with interactive.once_solved("Embedding and Transformer"), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PyTorch tells of a shortcut that it does not take
    src, tgt = to_batch(data.valid[:50])
    for order in ("pre", "post"):
        model = new_model(dropout=0.0, order=order)
        theirs = nn.Transformer(
            D_MODEL, HEADS, LAYERS, LAYERS, D_FF, dropout=0.0, batch_first=True, norm_first=order == "pre"
        ).to(device)
        theirs.load_state_dict(under_their_names(model.state_dict(), theirs.state_dict()))
        hidden = theirs(
            model.src_embedding(src),
            model.tgt_embedding(tgt),
            tgt_mask=~causal_mask(tgt.shape[1], like=tgt),
            src_key_padding_mask=src == PAD,
            memory_key_padding_mask=src == PAD,
        )
        logits = model(src, tgt)
        gap = (logits - model.W_out(hidden)).abs().max().item()
        print(f"{order:4} norm: {logits.numel():,} logits compared, greatest difference {gap:.0e}")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters in your model")

# %% [markdown]
# ## What is wanted: the loss
#
# At place $t$ the model gives probabilities $p$ over the German tokens, and one of them, the target $y$, is right. The
# cross-entropy of chapter 1, $-\log p_y$, asks for $p_y = 1$ exactly. No softmax ever gets there: the logit of the target
# would have to be infinitely far above the others. So the model keeps pulling, long after it is right, for nothing but
# more certainty. **Label smoothing** asks for a little less:
#
# $$q_i = (1 - \varepsilon)\,[i = y] + \frac{\varepsilon}{V - 1}\,[i \ne \text{pad}], \qquad \text{loss} = -\sum_i q_i \log p_i .$$
#
# $V$ is the number of tokens. The even share goes to all but padding, $V - 1$ of them, the target included. Then the best
# logit is *finite*. And there are two traps of counting:
#
# - **Padding as a place.** Sentences end at different places; behind the end there is nothing to learn. Such places are
#   left out, of the sum *and* of the number it is divided by.
# - **Padding as an answer.** Nobody ever writes padding. It gets no share of $\varepsilon$. (PyTorch's own `label_smoothing=`
#   gives it one.)
#
# {{exercise label_smoothed_loss}}
#
# `logits` has shape `(..., V)` and `targets` `(...)`, whole numbers; in front there may be any axes. Return the mean of the
# loss over all places whose target is not `pad`, as one tensor without axes, through which gradients flow. If there is no
# such place, the loss is 0.
#
# *By hand:* four tokens of which 0 is padding, $p = (⅛, ½, ¼, ⅛)$, target 1, $\varepsilon = 0.3$. Then
# $q = (0,\; 0.7 + 0.1,\; 0.1,\; 0.1)$ and the loss is $0.8 \log 2 + 0.1 \log 4 + 0.1 \log 8 = 1.3 \log 2 \approx 0.90$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Split the sum: $(1 - \varepsilon)$ times $-\log p_y$, plus $\varepsilon$ times the *mean* of $-\log p_i$ over the tokens that are not padding.
# Both come from one `log_softmax`.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `log_p = logits.log_softmax(dim=-1)`, then `log_p.gather(-1, targets[..., None])[..., 0]` is $\log p_y$ at every place. Divide by
# `real.sum().clamp(min=1)`.
#
# </details>


# %% exercise="label_smoothed_loss"
def label_smoothed_loss(logits, targets, smoothing=0.1, pad=0):
    """Cross-entropy against a target that is not quite sure, averaged over the real tokens.

    logits     shape (..., V)
    targets    ids, shape (...); places with the id pad count nothing
    smoothing  ε, the mass that is taken from the target and shared by all tokens but pad

    Returns a tensor without axes.
    """
    ### BEGIN SOLUTION
    log_p = logits.log_softmax(dim=-1)
    of_target = log_p.gather(-1, targets[..., None])[..., 0]
    allowed = torch.arange(logits.shape[-1], device=logits.device) != pad
    even = log_p[..., allowed].mean(dim=-1)
    losses = -(1 - smoothing) * of_target - smoothing * even
    real = targets != pad
    return torch.where(real, losses, 0.0).sum() / real.sum().clamp(min=1)
    ### END SOLUTION


# %% [markdown]
# **A riddle.** You train with $\varepsilon = 0.1$. The model gets *every* token right. The loss falls, slows down, and stops at a
# number well above zero. Is something wrong? Compute the smallest loss there is: that of $p = q$.

# %% tags=["demo"]
V, floors = len(german), {}
with interactive.once_solved("label_smoothed_loss"):
    for smoothing in (0.0, 0.1, 0.3):
        q = torch.full((V,), smoothing / (V - 1))
        q[PAD] = 0
        q[17] += 1 - smoothing
        floor = label_smoothed_loss(q.clamp(min=1e-30).log()[None], torch.tensor([17]), smoothing).item()
        gap = (q[17] / q[18]).log().item()
        floors[smoothing] = floor
        print(f"ε = {smoothing:.1f}: smallest loss {floor:.3f}, the target's logit {gap:.1f} above the others")


# %% [markdown]
# Nothing is wrong. A loss is read against its floor, and with smoothing the floor is not zero. (That is why the loss on
# unseen sentences is reported with $\varepsilon = 0$, whatever the training used.)
#
# ## How fast: the learning rate
#
# An untrained Transformer is a delicate thing. Adam's sense of how large gradients are rests on the few it has seen, and
# one bold step can throw the softmaxes into a corner from which they hear nothing any more (chapter 4). So the paper begins
# with tiny steps, lets them grow for `warmup` steps, and then slows down again:
#
# $$\text{rate} = d_\text{model}^{-1/2} \cdot \min\left(\text{step}^{-1/2},\; \text{step} \cdot \text{warmup}^{-3/2}\right).$$
#
# {{exercise warmup_rate}}
#
# Write it, for one whole number `step`. At step 0 the first branch is not defined, and the second is 0: return 0.
#
# *By hand:* $d_\text{model} = 4$, `warmup` $= 4$. Step 1: $½ \cdot \min(1, ⅛) = 1/16$. Step 4, where both branches
# meet: $½ \cdot ½ = ¼$. Step 16: $½ \cdot ¼ = ⅛$.
#
# <details><summary>Hint: the idea</summary>
#
# `0 ** -0.5` raises `ZeroDivisionError` in Python. Treat step 0 first.
#
# </details>


# %% exercise="warmup_rate"
def warmup_rate(step, d_model, warmup=4000):
    """The learning rate at a step: in a straight line up to warmup, then falling with 1/√step."""
    ### BEGIN SOLUTION
    if step == 0:
        return 0.0
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)
    ### END SOLUTION


# %% tags=["demo", "hide-input"] alt="Learning rate against the step, four curves, each a straight rise to a peak and a slow fall. Doubling the width lowers the whole curve by the root of 2; four times the warm-up moves the peak to the right and halves it, and behind both peaks the curves coincide."
with interactive.once_solved("warmup_rate"), plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.6, 3.3))
    steps = np.arange(0, 2001, 5)
    for (d, warmup), colour, dash in zip(
        ((64, 200), (128, 200), (64, 800), (128, 800)),
        (BLUE, ORANGE, GREEN, PURPLE),
        ("-", "--", "-.", ":"),
        strict=True,
    ):
        rates = [warmup_rate(int(step), d, warmup) for step in steps]
        ax.plot(steps, rates, dash, color=colour, label=f"d_model {d}, warmup {warmup}")
    ax.set(xlabel="step", ylabel="rate", ylim=(0, None), xlim=(0, 2000))
    ax.legend(frameon=False)
    plt.show()

# %% [markdown]
# **Which two curves run into one, and why?** Behind its peak the rate does not know how long the warm-up was:
# $d_\text{model}^{-1/2}\,\text{step}^{-1/2}$ has no `warmup` in it. A longer warm-up only cuts off the top.
#
# ## How good: the counting
#
# The loss is for the optimiser. For us: of the real tokens, how many would the model have written right, had all before
# them been right?
#
# {{exercise token_accuracy}}
#
# Among the places whose target is not `pad`, the share at which the likeliest token is the target: one number from 0 to 1.
#
# *By hand:* targets `2, 1, 3, pad`, likeliest `2, 3, 3, pad`: two of three are right. Not three of four.
#
# <details><summary>Hint: the first line</summary>
#
# `real = targets != pad`. It is needed above the line and below it.
#
# </details>


# %% exercise="token_accuracy"
def token_accuracy(logits, targets, pad=0):
    """Of the real tokens, the share whose likeliest answer is the target.

    logits   shape (..., V)
    targets  ids, shape (...); places with the id pad do not count
    """
    ### BEGIN SOLUTION
    real = targets != pad
    right = (logits.argmax(dim=-1) == targets) & real
    return right.sum().item() / real.sum().item()
    ### END SOLUTION


# %% [markdown]
# Is that pedantic? Here is a batch of real sentences, and a "model" that knows one word: it always says padding.

# %% tags=["demo"]
with interactive.once_solved("token_accuracy"):
    batch = data.train[:64]
    _, tgt = to_batch(batch)
    lazy = torch.zeros(*tgt.shape, V, device=device)
    lazy[..., PAD] = 1
    print(
        f"counted with padding {(lazy.argmax(-1) == tgt).float().mean().item():.0%}, yours {token_accuracy(lazy, tgt):.0%}"
    )

# %% [markdown]
# ## The loop
#
# A batch goes through five steps: *clear* the old gradients, `score` the batch, *differentiate*, *clip*, *step*. Loss and
# counts come from one function, so that the loop need not know what a sentence is. It is made of what you wrote:


# %%
class Score(NamedTuple):
    """What a model made of a batch."""

    loss: torch.Tensor  # the mean over the batch's real tokens, to be differentiated
    correct: int  # how many of them are right
    tokens: int  # how many there are


def score(model, batch, smoothing=0.1):
    """The decoder reads the target shifted by one, and is asked for the target itself."""
    src, tgt = batch
    logits = model(src, shift_right(tgt, BOS))
    tokens = int((tgt != PAD).sum())
    correct = round(float(token_accuracy(logits, tgt, PAD)) * tokens)
    return Score(label_smoothed_loss(logits, tgt, smoothing, PAD), correct, tokens)


# %% [markdown]
# Now to the reports. An epoch has a hundred batches of different size. **You have the mean loss of each. Is their mean the
# mean?** Two batches: 90 tokens with a loss of 1, and 10 tokens with a loss of 6. The mean of means is 3.5. The mean is
# $(90 \cdot 1 + 10 \cdot 6)/100 = 1.5$. The last batch of an epoch is nearly always the small one.
#
# {{exercise train_epoch}}
#
# For each batch: clear the gradients, call `score(model, batch)`, differentiate its loss, clip the gradients if `clip` is
# given (`nn.utils.clip_grad_norm_`), step the optimiser, and then the scheduler if there is one. The model is in training
# mode. Return three numbers: the mean loss of a *token*, the share of tokens that were right, and the number of tokens.
#
# *By hand:* the two batches above, with 80 and 1 tokens right, give `(1.5, 0.81, 100)`.
#
# <details><summary>Hint 1: the idea</summary>
#
# `loss.item()` is the number without its graph. Keep the sum of `loss.item() * tokens`, of `correct`, and of `tokens`, and divide
# at the end.
#
# </details>
#
# <details><summary>Hint 2: the order</summary>
#
# `optimizer.zero_grad()`, `loss.backward()`, clip, `optimizer.step()`, `scheduler.step()`. Clearing comes *first*: nobody knows
# what an earlier run has left in the gradients.
#
# </details>


# %% exercise="train_epoch"
def train_epoch(model, batches, score, optimizer, scheduler=None, clip=None):
    """One pass over the batches, a step of the optimiser for each.

    score  score(model, batch) gives (mean loss a token, tokens right, tokens)
    clip   the greatest norm that the gradient of a step may have; None: any

    Returns loss a token, accuracy, number of tokens.
    """
    ### BEGIN SOLUTION
    model.train()
    total, right, seen = 0.0, 0, 0
    for batch in batches:
        optimizer.zero_grad()
        loss, correct, tokens = score(model, batch)
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        total, right, seen = total + loss.item() * tokens, right + correct, seen + tokens
    return total / seen, right / seen, seen
    ### END SOLUTION


# %% [markdown]
# {{exercise evaluate}}
#
# The same report without learning: in evaluation mode, so that no dropout falls; under `torch.no_grad()`, so that nothing
# is kept for a backward; and when it is done, the model is in the mode in which it came.
#
# *By hand:* as above. And called twice, it gives the same numbers twice.
#
# <details><summary>Hint: the first line</summary>
#
# `was = model.training`, and at the end `model.train(was)`.
#
# </details>


# %% exercise="evaluate"
def evaluate(model, batches, score):
    """Loss a token, accuracy and number of tokens over all batches, without training."""
    ### BEGIN SOLUTION
    was = model.training
    model.eval()
    total, right, seen = 0.0, 0, 0
    with torch.no_grad():
        for batch in batches:
            loss, correct, tokens = score(model, batch)
            total, right, seen = total + loss.item() * tokens, right + correct, seen + tokens
    model.train(was)
    return total / seen, right / seen, seen
    ### END SOLUTION


# %% [markdown]
# ## It learns
#
# Everything is there. The next cell trains *your* model with *your* loss, *your* schedule and *your* loop. Of the training
# itself only two things are not yours: Adam is PyTorch's, and the progress bar is the library's. It shows the loss so far,
# tokens a second and the time left. At a few moments the model is asked to translate a sentence that it has never seen. (To
# write, it is asked for one word at a time, and takes the likeliest. It reads the source anew for every word, which is
# wasteful; chapter 15 does it properly.)


# %% tags=["demo"]
def batches_of(pairs, size=32, seed=0):
    """The pairs in an order that the seed decides, cut into batches."""
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed)).tolist()
    return [to_batch([pairs[i] for i in order[at : at + size]]) for at in range(0, len(order), size)]


@torch.no_grad()
def write(model, src, words=20):
    """The likeliest next word, again and again."""
    model.eval()
    tgt = torch.full((len(src), 1), BOS, device=src.device)
    for _ in range(words):
        tgt = torch.cat([tgt, model(src, tgt)[:, -1:].argmax(-1)], dim=1)
    return [german.decode(row) for row in tgt]


def whole_sentences(model, pairs):
    """The share of sentences without a single mistake."""
    written = write(model, to_batch(pairs)[0])
    return np.mean([words == list(pair.target) for words, pair in zip(written, pairs, strict=True)])


def exactly(model, batch):
    """The score without smoothing, to report."""
    return score(model, batch, smoothing=0.0)


def optimiser_for(model, warmup=200):
    """Adam with the constants of the paper, and the schedule; PyTorch counts steps from 0."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_rate(step + 1, D_MODEL, warmup))


MOMENTS = (0, 25, 50, 75, 100, 150, 250, 500)
unseen = next(pair for pair in data.valid if pair.target[-2:-1] and "nicht" in pair.target and "dass" in pair.target)
lessons = [batch for epoch in range(3) for batch in batches_of(data.train, seed=epoch)]
exam = batches_of(data.valid[:200], 100)
history, diary = [], []
with interactive.once_solved("exercises of this chapter"):
    model = new_model()
    optimizer, scheduler = optimiser_for(model)
    started = time.process_time()
    diary.append(write(model, to_batch([unseen])[0])[0])
    for begin, end in pairwise(MOMENTS):
        some, noted = progress.watched(lessons[begin:end], score, f"to step {end:>3}")
        report = train_epoch(model, some, noted, optimizer, scheduler, clip=1.0)
        history.append((end, report[0], *evaluate(model, exam, exactly)[:2]))
        diary.append(write(model, to_batch([unseen])[0])[0])
    print(f"\n{'step':>5} {'train loss':>11} {'valid loss':>11} {'valid accuracy':>15}")
    for step, loss, valid, accuracy in history:
        print(f"{step:5} {loss:11.3f} {valid:11.3f} {accuracy:15.2%}")
    print(f"\nunseen sentences without a mistake: {whole_sentences(model, data.test[:300]):.1%} of 300")
    print(f"({time.process_time() - started:.0f} s of one core. The floor of the train loss is {floors[0.1]:.3f}.)")

# %% tags=["demo", "hide-input"] alt="One sentence as the model writes it at eight moments of its training, a row a moment. Words that are right, in their place, stand in a blue frame, others in an orange one. At step 0 all is noise; at 25 it writes die eight times; at 50 and 75 the comma, dass and nicht find their places; then come sentences that are good German about the wrong animals and people; from step 250 every word is right."
with interactive.once_solved("exercises of this chapter"):
    if len(diary) < len(MOMENTS):  # not trained yet
        raise NotImplementedError
    rows = [*zip(MOMENTS, diary, strict=True), ("wanted", list(unseen.target))]
    rows = [(moment, words[: len(unseen.target)]) for moment, words in rows]
    longest = [max(len(words[i]) for _, words in rows if i < len(words)) for i in range(len(unseen.target))]
    left = np.cumsum([0, *longest]) + 1.9 * np.arange(len(longest) + 1)
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(7.8, 3.9))
        for r, (moment, words) in enumerate(rows):
            ax.text(-2, -r, moment if moment == "wanted" else f"step {moment}", ha="right", va="center", fontsize=9)
            for i, word in enumerate(words):
                colour = INK if moment == "wanted" else BLUE if word == unseen.target[i] else ORANGE
                box = {"boxstyle": "round,pad=0.25", "facecolor": "none", "linewidth": 1.5, "edgecolor": colour}
                ax.text(left[i], -r, word, ha="left", va="center", fontsize=9, bbox=box)
        ax.set(xlim=(-10, left[-1]), ylim=(-len(rows) + 0.4, 0.6))
        ax.set_title(" ".join(unseen.source), fontsize=11)
        ax.axis("off")
        plt.show()

# %% [markdown]
# A word in a blue frame is right in its place, one in an orange frame is not. Read slowly, for it learns in an order.
# First, which words are frequent: *die die die*. Then the frame: where the comma stands, that *dass* follows, that *nicht*
# comes before the verb. Then it writes German that agrees with itself, *die alten katzen*, and is about
# something else altogether! That is the decoder alone, which has learned what German looks like. Last come the right nouns: for those it
# has to look across, at the right English word.
#
# Now try one of your own. It must be made of words that the grammar knows.

# %% tags=["demo"]
with interactive.once_solved("exercises of this chapter"):
    if len(diary) < len(MOMENTS):  # not trained yet
        raise NotImplementedError
    for text in (
        "the old doctor does not see the young women",
        "today the small dogs do not see the old house",
        "she says that the beautiful queen sees the young man",
    ):  # put a sentence of your own here
        src = torch.tensor([english.encode(text.split(), eos=True)], device=device)
        print(f"{text}\n    → {' '.join(write(model, src)[0])}")

# %% [markdown]
# ### Where does it look?
#
# Every decoder layer asks the memory, with four heads. Here are these eight maps for one sentence, out of *your* model: a row for
# each German token, at the moment when it is about to be written; a column for each English one. **Guess before you look: which
# English word must be read to write *sehen*? And which to write *das*, where *der* or *den* might have stood?** Then go through
# the heads: find one that reads like a dictionary, and one in which the row of *das* reads what you guessed.


# %% tags=["demo"]
@torch.no_grad()
def looks_across(model, src, tgt):
    """The weights of every cross-attention, (layers, heads, T, S): what went into it is overheard as the model works."""
    heard = []

    def overhear(attention, args, kwargs):
        x, memory = [*args, *kwargs.values()][:2]
        q, k = (
            W(y)[0].unflatten(-1, (HEADS, -1)).transpose(0, 1) for W, y in ((attention.W_q, x), (attention.W_k, memory))
        )
        heard.append(torch.softmax(q @ k.mT / k.shape[-1] ** 0.5, -1))

    hooks = [
        layer.cross_attention.register_forward_pre_hook(overhear, with_kwargs=True) for layer in model.decoder.layers
    ]
    model.eval()
    try:
        model(src, tgt)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(heard)


def overheard(text="today the small dogs do not see the old house"):
    """What the model writes, what it reads, and the maps (layers, heads, T, S) by which it does."""
    if len(diary) < len(MOMENTS):  # not trained yet
        raise NotImplementedError
    src = torch.tensor([english.encode(text.split(), eos=True)], device=device)
    words = [*write(model, src)[0], "<eos>"]
    tgt = torch.tensor([[BOS, *german.encode(words[:-1])]], device=device)
    return words, [*text.split(), "<eos>"], looks_across(model, src, tgt)


def eight_maps():
    with interactive.once_solved("exercises of this chapter"):
        words, read, maps = overheard()
        return interactive.attention_map(maps, queries=words, keys=read)


eight_maps()

# %% [markdown]
# Now the answer. For each of the two words, the head that looks hardest at what you may have guessed:

# %% tags=["demo"]
with interactive.once_solved("exercises of this chapter"):
    words, read, maps = overheard()
    for german_word, english_word in (("sehen", "see"), ("das", "house")):
        if german_word not in words:  # a model that was trained otherwise may write something else
            continue
        found = maps[:, :, words.index(german_word), read.index(english_word)].cpu()
        layer, head = np.unravel_index(int(found.argmax()), found.shape)
        print(f"{german_word:5} looks at {english_word:5} with {found.max():.0%} in layer {layer + 1}, head {head + 1}")

# %% [markdown]
# *sehen* has to be fetched from five words further on, for in German the verb comes second. And for *das* the word *the*
# says nothing: it is the *house*, two words further on and not yet written, that decides between *der*, *die* and *das*.
#
# ## Too good
#
# A colleague comes running: "Accuracy 100% after a hundred steps!" Yours took longer. Her code differs from yours in one
# place: the decoder is fed the target itself, not the target shifted by one. **What will her model write?**


# %% tags=["demo"]
def leaky(model, batch, smoothing=0.1):
    """The mistake: at place t the decoder reads what it is asked for."""
    src, tgt = batch
    logits = model(src, tgt)
    tokens = int((tgt != PAD).sum())
    correct = round(float(token_accuracy(logits, tgt, PAD)) * tokens)
    return Score(label_smoothed_loss(logits, tgt, smoothing, PAD), correct, tokens)


with interactive.once_solved("exercises of this chapter"):
    for name, lesson in (("shifted", score), ("not shifted", leaky)):
        her = new_model(layers=1)
        optimizer, scheduler = optimiser_for(her, warmup=50)
        train_epoch(her, lessons[:100], lesson, optimizer, scheduler, clip=1.0)
        loss, accuracy, _ = evaluate(her, exam, lambda model, batch, lesson=lesson: lesson(model, batch, 0.0))
        whole = whole_sentences(her, data.test[:100])
        words = write(her, to_batch([first])[0])[0]
        print(f"{name:11} valid loss {loss:.3f}, token accuracy {accuracy:6.1%}, whole sentences {whole:.0%}")
        print(f"{'':11} writes: {' '.join(words[:8]) or '(nothing)'}{' …' * (len(words) > 8)}")

# %% [markdown]
# Loss and accuracy on *unseen* sentences are superb, and the model can do nothing. It has learned to copy what it is given,
# and when it has to write alone, nobody gives it anything. **A figure that comes from teacher forcing cannot see this.** So
# besides loss and accuracy, always let the model write. (And when a loss goes *below* what you believe possible, look for
# the leak before you tell anybody.) Chapter 13 had two more mistakes of this family, with their loss curves: no causal mask, and
# the two masks exchanged.
#
# ## A run that was killed
#
# Real runs last days, and are killed: by a power cut, a queue that ends at midnight, a cat. What must be on disk so that the
# run goes on *exactly* as if nothing had happened, to the last bit? **Write down your list before you read on.**
#
# The weights; the optimiser, for Adam carries two moments a parameter; the schedule's place; where the random
# generators stand, for dropout draws from them; and how far the data has been read. `attnlab.checkpoint` writes such a record so that
# a kill *while writing* does no harm either: it writes beside the old file, then renames.


# %% tags=["demo"]
def everything(model, optimizer, scheduler, epoch):
    """All that a run is made of."""
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "random": checkpoint.random_state(),
        "epoch": epoch,
    }


def a_run(path, epochs, forget=""):
    """Train so many epochs, on from the checkpoint if there is one, but without the part of it that is forgotten."""
    model = new_model(layers=1)
    optimizer, scheduler = optimiser_for(model, warmup=20)
    saved = checkpoint.load(path) if path.exists() else {}
    saved.pop(forget, None)
    for name, part in (("model", model), ("optimizer", optimizer), ("scheduler", scheduler)):
        if name in saved:
            part.load_state_dict(saved[name])
    if "random" in saved:
        checkpoint.set_random_state(saved["random"])
    first = saved.get("epoch", 0)
    for epoch in range(first, first + epochs):  # the epoch's number decides the order of its sentences
        train_epoch(model, batches_of(data.train[:160], seed=epoch), score, optimizer, scheduler, clip=1.0)
        checkpoint.save_atomically(everything(model, optimizer, scheduler, epoch + 1), path)
    return model, evaluate(model, exam, exactly)[0]


with interactive.once_solved("exercises of this chapter"), tempfile.TemporaryDirectory() as folder:
    whole, loss = a_run(Path(folder) / "whole.pt", epochs=4)
    print(f"{'':30} valid loss   weights differ by up to")
    print(f"{'never killed':30} {loss:10.4f}")
    a_run(Path(folder) / "killed.pt", epochs=2)
    record = (Path(folder) / "killed.pt").read_bytes()
    for forget in ("", "epoch", "random", "scheduler", "optimizer", "model"):
        (Path(folder) / "again.pt").write_bytes(record)
        again, loss = a_run(Path(folder) / "again.pt", epochs=2, forget=forget)
        pairs = [*zip(whole.parameters(), again.parameters(), strict=True)]
        bits = "every bit is the same" if all(torch.equal(a, b) for a, b in pairs) else "another model"
        gap = max((a - b).abs().max().item() for a, b in pairs)
        name = f"resumed without {forget}" if forget else "killed after two, resumed"
        print(f"{name:30} {loss:10.4f}   {gap:.2f}: {bits}")

# %% [markdown]
# With everything on disk the difference is 0: not small, *zero*. Forget a part and the run goes on without a complaint, as
# another run. Some of these do little harm here, and some may even end a little lower, by luck. But you could never again
# tell a change in your code from an accident of last Tuesday. (On a GPU some sums are added up in whatever order the threads
# arrive, and two runs may differ in the last bit without any kill. `torch.use_deterministic_algorithms(True)` asks for the
# slower, fixed order.)
#
# ## Does smoothing tell the truth?
#
# A model says "*klein*, 95%". A model is **calibrated** if of all its answers of 95%, 95 in 100 are right. Label smoothing
# forbids it to say 100%. Is that modesty or a lie? **Guess: with $\varepsilon = 0.1$, is a model more honest, or less?**
#
# Two worlds. In the *poor* one the model has few sentences, learns them by heart and is often wrong on others. In the *rich* one
# there is plenty, and it is nearly always right. In each we train with several $\varepsilon$, then sort the answers on unseen
# sentences by how sure they were.


# %% tags=["demo", "hide-input"] alt="Two reliability diagrams: how often the model is right against how sure it is, three curves for ε of 0, 0.1 and 0.3, and the diagonal of honesty. In the poor world the curve of ε = 0 lies below the diagonal, over-confident, that of 0.1 nearer to it and that of 0.3 above. In the rich world the curve of ε = 0 ends in the corner, and the others lie well above the diagonal: they are right nearly always and say less."
@torch.no_grad()
def answers(model, pairs):
    """For every real token: how sure the model is of its likeliest answer, whether that is right, and −log p of the target."""
    model.eval()
    sure, right, surprise = [], [], []
    for src, tgt in batches_of(pairs, 100):
        p = model(src, shift_right(tgt, BOS)).softmax(-1)
        real = tgt != PAD
        best, answer = p.max(-1)
        sure.append(best[real].cpu())
        right.append((answer == tgt)[real].float().cpu())
        surprise.append(-p.gather(-1, tgt[..., None])[..., 0][real].log().cpu())
    return torch.cat(sure), torch.cat(right), torch.cat(surprise).mean().item()


def reliability(sure, right, bins=10):
    """(how sure, how often right, how many) a bin, and the mean distance of the two."""
    which = (sure * bins).long().clamp(max=bins - 1)
    in_bin = [which == b for b in range(bins) if (which == b).any()]
    points = np.array([(sure[one].mean(), right[one].mean(), one.sum()) for one in in_bin], dtype=float)
    return points, (np.abs(points[:, 0] - points[:, 1]) * points[:, 2]).sum() / points[:, 2].sum()


with interactive.once_solved("exercises of this chapter"):
    few = [batch for epoch in range(40) for batch in batches_of(data.train[:150], seed=epoch)]
    curves = {}
    print("world    ε     right    sure   calibration error   surprise in nats")
    for world, todo in (("poor", few), ("rich", lessons[:200])):
        for smoothing in (0.0, 0.1, 0.3):
            pupil = new_model(layers=1, dropout=0.0)
            optimizer, scheduler = optimiser_for(pupil, warmup=100)
            train_epoch(pupil, todo, lambda m, b, e=smoothing: score(m, b, e), optimizer, scheduler, clip=1.0)
            sure, right, surprise = answers(pupil, data.valid[:300])
            curves[world, smoothing], error = reliability(sure, right)
            print(f"{world}   {smoothing}   {right.mean():7.1%} {sure.mean():7.1%} {error:19.1%} {surprise:18.3f}")
    with plotting.house_style():
        fig, axes = plt.subplots(1, 2, figsize=(8, 4), sharey=True)
        for ax, world in zip(axes, ("poor", "rich"), strict=True):
            ax.plot([0, 1], [0, 1], ":", color=INK)
            for smoothing, colour, mark in ((0.0, ORANGE, "o-"), (0.1, BLUE, "s-"), (0.3, GREEN, "^-")):
                points = curves[world, smoothing]
                points = points[points[:, 2] >= 30]
                ax.plot(points[:, 0], points[:, 1], mark, color=colour, label=f"ε = {smoothing}")
            ax.set(title=f"the {world} world", xlabel="how sure it is", xlim=(0, 1.02), ylim=(0, 1.05))
        axes[0].set_ylabel("how often it is right")
        axes[0].legend(frameon=False, loc="upper left")
        plt.show()

# %% [markdown]
# In the poor world, without smoothing, the model is *over-confident*: it has seen every training sentence so often that it
# pulls its logits apart without end, and is as sure of what it does not know. A little smoothing stops that: it knows as
# much as before, says so more honestly, and is less surprised. (The *surprise* is the loss without smoothing.) Much
# smoothing overshoots: with $\varepsilon = 0.3$ it is further from the truth than with none, on the other side.
#
# In the rich world it is the other way round. There the model without smoothing is nearly honest, and smoothing makes it lie:
# right 99 times in 100, it says not even nine in ten. It *must*, for it was paid for saying so: the loss is smallest at
# $p = q$, and $q_y$ is a hair above 0.9. **Smoothing is not calibration. It is a fixed dose of modesty**, and whether that is too little, too much or just
# right depends on how much the model has to be modest about.
#
# ## The root, measured
#
# At the beginning stood a claim: $\sqrt{d_\text{model}}$ is also a learning rate in disguise. Here is the experiment that
# tells a loud start from a fast one. A row of the table can start small, as in your `Embedding`, or with PyTorch's own variance of
# 1; and it can be multiplied by the root, or not. That makes four. Look: *small with root* and *large without* put the very same
# numbers into the encoder at the start. **Will these two learn alike?**


# %% tags=["demo", "hide-input"] alt="Loss on unseen sentences against the step, four curves. Rows that start small and are scaled by the root fall fastest, to a quarter after 150 steps. Rows that start large and are not scaled begin with the same numbers and lag behind. Rows that are large and scaled come third. Rows that are small and not scaled are still above one at the end."
KINDS = {
    ("small", "root"): ("small rows, with the root", BLUE, "-"),
    ("large", "plain"): ("large rows, without", GREEN, "--"),
    ("large", "root"): ("large rows, with the root", PURPLE, "-."),
    ("small", "plain"): ("small rows, without", ORANGE, ":"),
}


def rescaled(model, start, scale):
    """The model with other embeddings: rows of variance 1, or without the root."""
    for embedding in (model.src_embedding, model.tgt_embedding):
        if start == "large":
            with torch.no_grad():
                embedding.tokens.weight *= D_MODEL**0.5
        if scale == "plain":  # what the table gives out is divided by the root, which forward multiplies in
            embedding.tokens.register_forward_hook(lambda table, tokens, rows: rows / D_MODEL**0.5)
    return model


with interactive.once_solved("exercises of this chapter"):
    curves = {}
    for start, scale in KINDS:
        pupil = rescaled(new_model(layers=1), start, scale)
        optimizer, scheduler = optimiser_for(pupil, warmup=100)
        curve = []
        for at in range(0, 150, 25):
            train_epoch(pupil, lessons[at : at + 25], score, optimizer, scheduler, clip=1.0)
            curve.append(evaluate(pupil, exam, exactly)[0])
        curves[start, scale] = curve
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(7.4, 3.7))
        for kind, (name, colour, dash) in KINDS.items():
            ax.plot(np.arange(25, 151, 25), curves[kind], dash, color=colour, linewidth=2, label=name)
        ax.set(xlabel="step", ylabel="loss on unseen sentences", yscale="log")
        ax.set_yticks([0.25, 0.5, 1, 2, 4], labels=["0.25", "0.5", "1", "2", "4"], minor=False)
        ax.minorticks_off()
        ax.legend(frameon=False)
        plt.show()
    for kind, (name, _, _) in KINDS.items():
        print(f"{name:26} loss after 150 steps {curves[kind][-1]:.3f}")

# %% [markdown]
# They do not. Adam moves every *entry of the table* by about the same amount a step, whatever its size. What the encoder sees
# is the entry times the root: it moves $\sqrt{64} = 8$ times as far. So the scaled table learns eight times as fast, with the
# same start. And a table that is both large *and* scaled drowns the positions: it has to find out the order of words from a whisper.
# (The honest footnote: each of the four would do better at a learning rate of its own. The root makes one rate fit the
# table and the matrices alike.)
#
# ## On a GPU
#
# Everything above ran on `device`, which one line at the top chose. A model as small as ours gains little from a GPU: most of
# the time goes into *starting* its thousands of small operations. The next cell trains a few steps of a wider one, on the GPU
# and on the CPU, and prints tokens a second side by side.

# %% tags=["demo"]
WIDE = (512, 8, 2, 2048)  # d_model, heads, layers, d_ff


def speed(where, steps, size=256):
    """Tokens a second of training steps of a wide model."""
    torch.manual_seed(0)
    wide = Transformer(len(english), len(german), *WIDE, pad=PAD, order="pre").to(where)
    src, tgt = (ids.to(where) for ids in to_batch(data.train[:size]))
    optimizer = torch.optim.Adam(wide.parameters(), lr=1e-4)
    train_epoch(wide, [(src, tgt)], score, optimizer)  # the first step sets up
    began = time.perf_counter()
    _, _, tokens = train_epoch(wide, [(src, tgt)] * steps, score, optimizer)
    return tokens / (time.perf_counter() - began)  # `.item()` has waited for the GPU


if device.type == "cpu":
    print(f"No GPU here. With one, this cell would train a model of d_model {WIDE[0]}")
    print("on it and on the CPU, and print tokens a second of both.")
else:
    with interactive.once_solved("exercises of this chapter"):
        print(f"{device.type}: {speed(device, 20):,.0f} tokens a second")
        print(f"cpu:  {speed(torch.device('cpu'), 1, 32):,.0f} tokens a second")

# %% [markdown]
# ## Quiz
#
# **1.** Which attention of the model gets which mask?
#
# <details><summary>Answer</summary>
#
# The encoder's self-attention gets the padding mask of the source. The decoder's self-attention gets the causal mask. The
# cross-attention gets the padding mask of the *source* again: its queries are German, its keys English, and a mask hides keys.
# The target's padding needs none, as long as it stands at the end: it lies in every real token's future.
#
# </details>
#
# **2.** Your loss ignores padding, and all masks are right. You forget `padding_idx`. How large is the gradient of the row of
# padding?
#
# <details><summary>Answer</summary>
#
# Zero. Padded places of the source are hidden as keys, and nobody reads what they compute as queries. Padded places of the
# target are seen by later padding only, whose loss does not count. Nothing that is counted depends on the row. So `padding_idx` is a
# second lock: it matters on the day on which one of the masks is wrong. (And it is a test: make the row not a number, and if the loss
# is one, a mask leaks.)
#
# </details>
#
# **3.** Two runs, same data, same model. One reports a training loss of 0.80, the other of 0.05. Which is better?
#
# <details><summary>Answer</summary>
#
# That cannot be said. With $\varepsilon = 0.1$ and this vocabulary, 0.8 is nearly the floor. Ask for the loss on held-out data
# without smoothing, and for what the model writes.
#
# </details>
#
# **4.** You accumulate gradients over four batches of 900, 100, 500 and 500 tokens, with `loss / 4` each. Is that the gradient of one
# batch of 2,000?
#
# <details><summary>Answer</summary>
#
# No: it is the mean of means again. A token in the batch of 100 counts nine times as much as one in the batch of 900. Weight each loss by
# its tokens and divide by all 2,000. (Widely used libraries had this mistake for years.)
#
# </details>
#
# **5. From an interview.** *"Your Transformer trains: the loss falls nicely, also on held-out data. But its translations are rubbish.
# Where do you look?"*
#
# <details><summary>A model answer</summary>
#
# Held-out loss is measured with teacher forcing, decoding without. So I look for what differs between the two. First, a leak: is the
# target shifted, and is the causal mask there and the right way round? A loss that is *too* good says so; and I can test it: change
# the tokens behind place t, and nothing before may change. Second, the writing: does it start from the same begin token, is the model
# in evaluation mode, are vocabularies, padding id and end token the same, does it stop at the end token, do cached positions go on
# counting? I feed a *reference* translation through the decoding code step by step, and compare the logits with those of the
# teacher-forced pass: they must be equal. Third, the model may really be weak, and its errors feed on themselves; then token accuracy
# is, say, 90%, and a sentence of twenty tokens is right with probability $0.9^{20} \approx 12\%$. Then it is more training, more data, or
# beam search.
#
# *What a weak answer says:* "over-fitting", although the held-out loss is fine.
#
# </details>
#
# ## Summary
#
# - Embed, encode once, decode with the memory, project: the Transformer is a page of code when its pieces are there.
# - Rows of variance $1/d_\text{model}$, times $\sqrt{d_\text{model}}$, are as loud as positions, and learn $\sqrt{d_\text{model}}$ times faster.
# - Two masks for three attentions: the source's padding in the encoder and across, the past in the decoder.
# - With label smoothing the smallest loss is not zero. It is a fixed dose of modesty, honest only by luck.
# - Every mean is a mean over *tokens*. Padding is neither counted nor an answer.
# - Clear, `score`, differentiate, clip, step, schedule. Evaluate in evaluation mode, and put the mode back.
# - Teacher forcing hides a leak. Let the model write.
# - A checkpoint is weights, optimiser, schedule, random generators and place. Then a killed run goes on to the last bit.
#
# ## Further reading
#
# - A. Vaswani et al., "Attention Is All You Need", 2017. The model; section 3.4 for the scale of the embeddings, 5.3 for the schedule,
#   5.4 for dropout and label smoothing.
# - C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016. Introduced label smoothing, in section 7.
# - R. Müller, S. Kornblith, G. Hinton, "When Does Label Smoothing Help?", 2019. What it does to calibration and to what the last layer
#   knows about similar classes.
# - C. Guo et al., "On Calibration of Modern Neural Networks", 2017. Reliability diagrams and the calibration error of deep networks.
# - O. Press, L. Wolf, "Using the Output Embedding to Improve Language Models", 2017. Tying the output matrix to the embeddings.
# - R. Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020. Why the paper's model needs a warm-up, and the one with
#   norms before the sublayers hardly does.
# - D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015. The optimiser, whose steps do not depend on the gradient's size.
#
# **Next:** [15 · Decoding and scoring](../15_decoding/15_decoding.ipynb). The model gives a probability to every next word. Turning that
# into a sentence is an art of its own, and so is saying how good the sentence is.
