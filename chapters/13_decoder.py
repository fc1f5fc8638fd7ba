# %% [markdown]
# # 13 · The decoder
#
# **How do you learn to write, if you may not look at what you are about to write?**
#
# Cover the line below with your hand, and finish the word that begins with *transf*. Now suppose that you practise this
# a million times, and that your hand has a hole in it. You will get better and better. In the end you will be perfect. Then
# somebody hands you an empty sheet, and you cannot write a word. You have learned to read through a hole.
#
# The decoder is the half of a Transformer that writes. It is an encoder with three changes: it reads what it has
# written so far, moved by one place; it covers the future with a mask; and it asks the source. Forget the first or the
# second, and nothing fails: the loss is wonderful. In this chapter you build it, and learn to be afraid of wonderful
# losses.
#
# *About two hours, 55 minutes of them for the four exercises. You need chapters 5 (masks), 11 (the block) and 12 (the
# encoder).*

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from attnlab import interactive, plotting
from attnlab.block import FeedForward, residual
from attnlab.encoder import Encoder  # what you wrote in chapter 12
from attnlab.masks import causal_mask, masked_softmax, padding_mask
from attnlab.multi_head import MultiHeadAttention
from attnlab.norms import LayerNorm
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN, PURPLE = plotting.COLOURS[:4]
INK = plotting.INK

# %% tags=["demo", "hide-input"] alt="Three rows of boxes. The middle row is what the decoder reads: start, then the letters t, r, a, n. The top row is what it is asked for: t, r, a, n, s. Each box of the middle row has an arrow straight up to the letter it is asked for, and arrows from the left only. An orange dotted line joins each letter of the top row with the same letter, one place to the right, in the middle row. The bottom row is the source, in which every box may be looked at."
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.6, 3.6))
    asked, read = list("trans"), ["start", *"tran"]

    def box(x, y, word, colour):
        ax.text(
            x,
            y,
            word,
            ha="center",
            va="center",
            fontsize=12,
            color=colour,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "none", "edgecolor": colour},
        )

    for x, (above, below) in enumerate(zip(asked, read, strict=True)):
        box(x, 2, above, ORANGE)
        box(x, 1, below, BLUE)
        ax.annotate("", (x, 1.75), (x, 1.27), arrowprops={"arrowstyle": "-|>", "color": INK})
        if x + 1 < len(read):
            ax.plot([x + 0.22, x + 0.78], [1.75, 1.27], color=ORANGE, linestyle=":", linewidth=1.5)
            ax.annotate("", (x + 0.72, 1), (x + 0.28, 1), arrowprops={"arrowstyle": "-|>", "color": BLUE})
    for x, word in enumerate(("x₁", "x₂", "x₃")):
        box(x + 1, 0, word, GREEN)
        ax.plot([x + 1, 2], [0.27, 0.72], "-", color=GREEN, linewidth=1.2)
    for y, word in ((2, "is asked for"), (1, "reads"), (0, "looks at")):
        ax.text(-0.6, y, word, ha="right", va="center")
    ax.set(xlim=(-1.9, 4.5), ylim=(-0.45, 2.45))
    ax.axis("off")
    plt.show()

# %% [markdown]
# In the middle is what the decoder reads, above it what it is asked for at each place, below the source. It may look at
# its own place and to the *left* in its own row, and anywhere in the source's. What it is asked for at one place
# (orange) is what it reads at the next.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(13)

# %% [markdown]
# ## Moved by one
#
# To write is to choose the next token, again and again, knowing those before. So the model is
# $p(y_t \mid y_1 \dots y_{t-1}, x)$. Taken one by one that would be $T$ questions for a sentence of $T$ tokens, one
# after the other. But in training the sentence is *known*. Give the decoder all of it at once, moved one place to the
# right, and let it answer every question in one pass: at place $t$ it has read $y_{t-1}$, and is asked for $y_t$. That
# is *teacher forcing*: it goes on from what it should have written, not from what it would have.
#
# At place 0 nothing has been written. There it reads a token of its own, *bos*, for the beginning of a sentence.
#
# {{exercise shift_right}}
#
# Write the move. `tokens` are ids of shape `(B, T)`; so is the answer. Padding moves with the rest, and the last token
# is read by nobody.
#
# *By hand:* with bos = 1, `[5, 6, 7]` becomes `[1, 5, 6]`.
#
# <details><summary>Hint 1: the idea</summary>
#
# A column of bos, and then all columns but the last.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `first = torch.full_like(tokens[:, :1], bos)`
#
# </details>


# %% exercise="shift_right"
def shift_right(tokens, bos):
    """What the decoder reads while it learns to write tokens: bos first, then all but the last.

    tokens  ids, shape (B, T)
    bos     the id of the token that begins every sentence

    Returns ids of shape (B, T). Changes nothing that is passed in.
    """
    ### BEGIN SOLUTION
    first = tokens.new_full((len(tokens), 1), bos)
    return torch.cat([first, tokens[:, :-1]], dim=1)
    ### END SOLUTION


# %% [markdown]
# ## Asking the source
#
# The encoder has read the source and left a vector for each of its words, the *memory*, `(B, S, d_model)`. The decoder
# asks it. This is the attention of chapter 6, with chapter 4's formula: the one who writes has the queries, the source
# has keys and values.
#
# $$\mathrm{Cross}(X, M) = \mathrm{softmax}\!\left(\frac{(X W_q)(M W_k)^\top}{\sqrt{d_k}}\right) M W_v.$$
#
# The weights have the shape $(T, S)$, the answer $(T, d_v)$. $T$ and $S$ are lengths of two different texts. There is no
# future here to be hidden: the source is all there. What is hidden is its padding.
#
# {{exercise cross_attention}}
#
# Write it for one head. `x` has shape `(..., T, d_model)` and `memory` `(..., S, d_model)`. `mask` is boolean, True =
# may attend, and broadcasts to `(..., T, S)`. `masked_softmax` of chapter 5 may be used.
#
# *By hand:* a query 2, with keys 0 and $\ln 3$ (in the first of $d_k = 4$ places, the others being zero): scores $0$
# and $2 \ln 3/\sqrt4 = \ln 3$, weights ¼ and ¾. With the values 8 and 16 the answer is 14.
#
# <details><summary>Hint 1: the idea</summary>
#
# It is `self_attention` of chapter 8, in which two of the three roles have moved to somebody else.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `q, k, v = x @ W_q, memory @ W_k, memory @ W_v`
#
# </details>


# %% exercise="cross_attention"
def cross_attention(x, memory, W_q, W_k, W_v, mask=None):
    """The decoder asks, the source answers.

    x         what the decoder has so far, shape (..., T, d_model)
    memory    what the encoder has left, shape (..., S, d_model)
    W_q, W_k  matrices of shape (d_model, d_k); W_v of shape (d_model, d_v)
    mask      True = may attend, broadcasts to (..., T, S), or None

    Returns (..., T, d_v).
    """
    ### BEGIN SOLUTION
    q, k, v = x @ W_q, memory @ W_k, memory @ W_v
    scores = q @ k.mT / k.shape[-1] ** 0.5
    return masked_softmax(scores, mask) @ v
    ### END SOLUTION


# %% [markdown]
# ## The layer
#
# A layer of the decoder has three parts on its road: look *back* at what is written, look *across* at the source, and
# think.
#
# | | part | reads | mask |
# |:--|:--|:--|:--|
# | look back | `self_attention` | its own row | `mask`: the future is hidden |
# | look across | `cross_attention` | its own row asks, the memory answers | `memory_mask`: the source's padding is hidden |
# | think | `feed_forward` | each place alone | – |
#
# Two masks, for two attentions. They look alike, both are boolean, and if source and target have the same length you
# can *exchange* them, and nothing fails.
#
# {{exercise DecoderLayer}}
#
# Write it as you wrote `EncoderLayer`. In `__init__` make `self_attention` and `cross_attention`, two
# `MultiHeadAttention(d_model, num_heads, dropout)`; `feed_forward`, a `FeedForward(d_model, d_ff, dropout)`; and
# `norm_1`, `norm_2`, `norm_3`, in the order in which they are used. `MultiHeadAttention` takes
# `query, key, value, mask`. Dropout falls on what each part adds, besides what the parts, which get the same `dropout`,
# drop inside. The memory comes normed from the encoder and is read as it is. `order` is for `residual`; who leaves it
# out gets the paper's, `"post"`.
#
# *By hand:* if all three parts add nothing (dropout 1, in training), `order="pre"` returns $x$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Three times `residual`, each with a small function of one argument.
#
# </details>
#
# <details><summary>Hint 2: the first line of forward</summary>
#
# `back = lambda y: self.dropout(self.self_attention(y, y, y, mask))`
#
# </details>


# %% exercise="DecoderLayer"
class DecoderLayer(nn.Module):
    """Self-attention, cross-attention to the memory, feed-forward; each in a residual connection with a norm.

    Parts: self_attention, cross_attention, feed_forward, norm_1, norm_2, norm_3.
    """

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__()
        ### BEGIN SOLUTION
        self.order = order
        self.self_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.cross_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.norm_1, self.norm_2, self.norm_3 = LayerNorm(d_model), LayerNorm(d_model), LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, x, memory, mask=None, memory_mask=None):
        """x (B, T, d_model) and memory (B, S, d_model); mask for x, memory_mask for the memory: (B, T, d_model)."""

        ### BEGIN SOLUTION
        def back(y):
            return self.dropout(self.self_attention(y, y, y, mask))

        def across(y):
            return self.dropout(self.cross_attention(y, memory, memory, memory_mask))

        def think(y):
            return self.dropout(self.feed_forward(y))

        x = residual(x, back, self.norm_1, self.order)
        x = residual(x, across, self.norm_2, self.order)
        return residual(x, think, self.norm_3, self.order)
        ### END SOLUTION


# %% [markdown]
# PyTorch's `nn.TransformerDecoderLayer` is the same, with other names and with masks that say True for hidden. **Will
# all numbers agree?**

# %% tags=["demo"]
THEIRS = {"self_attn": "self_attention", "multihead_attn": "cross_attention", "out_proj": "W_o"}
THEIRS |= {"linear1": "feed_forward.W_1", "linear2": "feed_forward.W_2"} | {f"norm{i}": f"norm_{i}" for i in (1, 2, 3)}

with interactive.once_solved("DecoderLayer"), torch.no_grad():
    torch.manual_seed(0)
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    past, real = causal_mask(5, like=x), padding_mask(torch.tensor([7, 4]), 7)
    for order in ("post", "pre"):
        mine = DecoderLayer(16, 2, 64, 0.0, order).eval()
        for parameter in mine.parameters():  # a fresh norm has gains of 1 and biases of 0, which hide a swap
            parameter.add_(0.2 * torch.randn_like(parameter))
        theirs = nn.TransformerDecoderLayer(16, 2, 64, 0.0, batch_first=True, norm_first=order == "pre").eval()
        ours = mine.state_dict()
        for name, tensor in theirs.state_dict().items():
            path = ".".join(THEIRS.get(part, part) for part in name.split("."))
            if "in_proj_" in path:  # PyTorch keeps W_q, W_k and W_v in one matrix
                tensor.copy_(torch.cat([ours[path.replace("in_proj_", f"W_{role}.")] for role in "qkv"]))
            else:
                tensor.copy_(ours[path])
        a = mine(x, memory, past, real)
        b = theirs(x, memory, tgt_mask=~past, memory_key_padding_mask=~real[:, 0, 0])
        print(f"{order}-order: largest difference, by place")
        for sentence, gap in enumerate((a - b).abs().amax(-1)):
            print(f"  sentence {sentence}  ", "  ".join(f"{number:.0e}" for number in gap))

# %% [markdown]
# ## Is there a hole in the hand?
#
# Every number agrees, to the last digit or two. So the layer is right. Is the *model* that you put it into?
#
# Chapter 12 had a test that needs no knowledge of the model. Here is its twin. Ask the model about some tokens.
# Exchange every token *behind* place $t$, and ask again. The answers up to $t$ may not change. Do so for every $t$.
#
# {{exercise future_leak}}
#
# Write it. `model(tokens)` takes ids `(B, T)` and gives one answer a place, `(B, T, …)`. The first line is given:
# `other` has another token at every place. For each $t$ from 0 to $T - 2$, keep tokens 0 to $t$ and take the ones
# behind from `other`. Return the largest change, up or down, of any number of any answer at places 0 to $t$, as one
# number.
#
# *By hand:* a model answers every token with the *next* one. For `[3, 7]`, `other` is `[7, 3]`. With $t = 0$ we ask
# about `[3, 3]`: the answer at place 0 was 7 and is 3, so the leak is 4.
#
# <details><summary>Hint 1: the idea</summary>
#
# The answer *at* $t$ counts, too: it is the one that would like to see the next token.
#
# </details>
#
# <details><summary>Hint 2: a line within the loop</summary>
#
# `changed = torch.cat([tokens[:, : t + 1], other[:, t + 1 :]], dim=1)`
#
# </details>


# %% exercise="future_leak"
def future_leak(model, tokens):
    """How much the answer at a place changes with the tokens behind it: 0 for a model that is causal.

    model   a function of ids (B, T) that gives one answer a place, (B, T, …)
    tokens  ids, (B, T), at least two different ones

    Returns one number. Changes nothing that is passed in.
    """
    other = torch.where(tokens == tokens.max(), tokens.min(), tokens.max())  # another token at every place
    ### BEGIN SOLUTION
    out = model(tokens)
    leak = 0.0
    for t in range(tokens.shape[1] - 1):
        changed = torch.cat([tokens[:, : t + 1], other[:, t + 1 :]], dim=1)
        leak = max(leak, float((model(changed)[:, : t + 1] - out[:, : t + 1]).abs().max()))
    return leak
    ### END SOLUTION


# %% [markdown]
# ## Four writers
#
# A task that a child can do: write a word *backwards*. Words have 3 to 7 letters, drawn by chance, so there is nothing
# to be guessed: whoever writes them right has read them. An encoder of one layer reads, a decoder of one layer writes;
# both are 32 wide. We train four of them, which differ in one line each:
#
# - **right**: as above,
# - **not moved**: the decoder reads the targets themselves, without `shift_right`,
# - **no causal mask**: nothing covers the future,
# - **masks swapped**: each attention gets the other's mask. (All words here are padded to 7 letters, so shapes agree.)
#
# A guess among ten letters costs $\ln 10 = 2.3$ (dotted). **Which one will have the lowest loss? Which of them can
# write? And can you tell from the loss curve that something is wrong?**

# %% tags=["demo"]
LETTERS, LONGEST, PAD, BOS = 12, 7, 0, 1


def words(count, random):
    """Words of 3 to 7 letters, padded; the same backwards; their lengths."""
    lengths = torch.randint(3, LONGEST + 1, (count,), generator=random)
    places = torch.arange(LONGEST)
    real = places < lengths[:, None]
    source = torch.randint(2, LETTERS, (count, LONGEST), generator=random).where(real, torch.tensor(PAD))
    mirror = (lengths[:, None] - 1 - places).clamp(min=0)
    return source, source.gather(1, mirror).where(real, torch.tensor(PAD)), lengths


class Writer(nn.Module):
    """An encoder of one layer, your decoder layer, and a matrix that names the next letter."""

    def __init__(self, kind, d_model=32):
        super().__init__()
        self.kind = kind
        self.letter, self.place = nn.Embedding(LETTERS, d_model), nn.Embedding(LONGEST, d_model)
        self.encoder = Encoder(1, d_model, 2, 64, 0.0, "pre")
        self.decoder = DecoderLayer(d_model, 2, 64, 0.0, "pre")
        self.norm, self.name = LayerNorm(d_model), nn.Linear(d_model, LETTERS)

    def forward(self, source, lengths, read):
        T = read.shape[1]
        real, past = padding_mask(lengths, LONGEST), causal_mask(T, like=self.place.weight)
        memory = self.encoder(self.letter(source) + self.place.weight, real)
        x = self.letter(read) + self.place.weight[:T]
        masks = {"no causal mask": (None, real), "masks swapped": (real[..., :T], causal_mask(T, LONGEST, like=x))}
        return self.name(self.norm(self.decoder(x, memory, *masks.get(self.kind, (past, real)))))

    @torch.no_grad()
    def write(self, source, lengths):
        """One letter after the other, each the likeliest; every letter is read again for the next."""
        written = torch.full((len(source), 1), BOS)
        for _ in range(LONGEST):
            best = self(source, lengths, written)[:, -1].argmax(-1, keepdim=True)
            written = torch.cat([written, best], dim=1)
        return written[:, 1:]


def train(kind, steps=400, rate=3e-3, seed=0):
    """A trained writer, its losses, and the share of unseen words that it writes without a mistake."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    model = Writer(kind)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
        source, target, lengths = words(64, random)
        read = target if kind == "not moved" else shift_right(target, BOS)
        logits = model(source, lengths, read)
        loss = cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    source, target, lengths = words(500, random)
    right = (model.write(source, lengths) == target) | (target == PAD)
    return model, losses, float(right.all(-1).float().mean())


KINDS = ("right", "not moved", "no causal mask", "masks swapped")
with interactive.once_solved("shift_right and DecoderLayer"):
    writers = {kind: train(kind) for kind in KINDS}

# %% tags=["demo", "hide-input"] alt="Loss against step on a logarithmic scale for the four writers. Not moved falls at once, no causal mask and masks swapped soon after; all three are below a tenth by step 80. Right comes down later, and is below a tenth only at about step 150. At the end all four are below a hundredth."
with interactive.once_solved("shift_right and DecoderLayer"):
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(7.6, 3.4))
        for (kind, (_, losses, _)), colour in zip(writers.items(), (BLUE, ORANGE, GREEN, PURPLE), strict=True):
            ax.semilogy(torch.tensor(losses).unfold(0, 5, 5).mean(-1), color=colour, label=kind)
        ax.axhline(torch.tensor(10.0).log(), color=INK, linestyle=":", linewidth=1)
        ax.set(xlabel="step", ylabel="loss", xticks=[0, 20, 40, 60, 80], xticklabels=[0, 100, 200, 300, 400])
        fig.legend(loc="outside right center")
        plt.show()
    print("                loss at step 50    at the end    words written right")
    for kind, (_, losses, right) in writers.items():
        print(f"{kind:15} {sum(losses[45:55]) / 10:12.3f} {sum(losses[-20:]) / 20:15.4f} {right:16.1%}")

# %% [markdown]
# Look at the beginning of the curves, not at the end. The honest writer has to find out how to read the source before
# it can do anything, and its loss stays up at first. The others have their answer in front of them. At the end all four
# are near 0, which proves nothing: the task allows it, for whoever has read the word. What it does not allow is to be
# there *at once*. **A loss that falls too early, or below what the task allows, is a leak.**
#
# And look at the last column. The one with the *highest* loss is the only one that can write. On an empty sheet the
# other three are worth nothing, because there the letter through the hole has not been written yet.
#
# Your test finds each of them before a single step of training. (What is said at place $t + 1$ may depend on letters 0
# to $t$. So the answers are handed to `future_leak` from place 1 on.)

# %% tags=["demo"]
with interactive.once_solved("shift_right, DecoderLayer and future_leak"):
    source, target, lengths = words(3, torch.Generator().manual_seed(5))
    for kind in KINDS:
        torch.manual_seed(0)
        model = Writer(kind).eval()

        def answers(tokens, model=model, kind=kind):
            """What is said at places 1, 2, …, when these are the targets."""
            read = tokens if kind == "not moved" else shift_right(tokens, BOS)
            return model(source, lengths, read)[:, 1:]

        with torch.no_grad():
            print(f"{kind:15} leak {future_leak(answers, target):.6f}")

# %% [markdown]
# ### The holes, mapped
#
# A leak is one number. Where is the hole? Exchange one letter of the target at a time, and see which answers move.
# **Draw on paper, for each of the four, which places may answer to which letters.** What is asked at place $t$ may
# depend on letters 0 to $t - 1$, and on no other.

# %% tags=["demo", "hide-input"] alt="Four maps, two by two: the letter of the target that was exchanged, 0 to 6, from left to right, and the place whose answer moved, 0 to 6, from top to bottom. Right: blue squares below the diagonal, nothing else. Not moved: in addition an orange diagonal, for each answer sees its own letter. No causal mask and masks swapped: orange squares on and above the diagonal too, all but the last column, in every row."
with interactive.once_solved("shift_right and DecoderLayer"), torch.no_grad(), plotting.house_style():
    source, target, lengths = words(40, torch.Generator().manual_seed(6))
    fig, axes = plt.subplots(2, 2, figsize=(6.6, 6.6), sharex=True, sharey=True)
    for ax, kind in zip(axes.flat, KINDS, strict=True):
        torch.manual_seed(0)
        model = Writer(kind).eval()

        def logits(tokens, model=model, kind=kind):
            return model(source, lengths, tokens if kind == "not moved" else shift_right(tokens, BOS))

        for letter in range(LONGEST):
            changed = target.clone()
            changed[:, letter] = 2 + (target[:, letter] - 1) % (LETTERS - 2)  # another letter
            moved = (logits(changed) - logits(target)).norm(dim=-1).mean(0)
            for place in range(LONGEST):
                square = (letter - 0.45, place - 0.45)
                colour = "none" if moved[place] < 1e-5 else BLUE if letter < place else ORANGE
                ax.add_patch(plt.Rectangle(square, 0.9, 0.9, facecolor=colour, edgecolor=INK, linewidth=0.4))
        ax.set(xlim=(-0.6, 6.6), ylim=(6.6, -0.6), aspect="equal", title=kind)
        ax.set(xticks=range(LONGEST), yticks=range(LONGEST))
        ax.grid(False)
    for ax in axes[1]:
        ax.set_xlabel("letter exchanged")
    for ax in axes[:, 0]:
        ax.set_ylabel("answer at place")
    plt.show()

# %% [markdown]
# Blue is the past, orange a hole. Without `shift_right` the hole is as narrow as it can be, one square in a row, and it
# is enough: it is the very letter that is asked for. Without the causal mask the whole row is open but for the last
# letter, which nobody reads. With the masks swapped the map is the same: the mask that hides padding of the source
# hides no future. (Here and there it hides a place behind the end of a word; what you see is an average over 40 words.)
#
# ## Quiz
#
# **1.** Place $t$ of the decoder reads $y_{t-1}$. Why is the diagonal of the causal mask True, then? Should $t$ not be
# forbidden to look at itself?
#
# <details><summary>Answer</summary>
#
# At place $t$ stands $y_{t-1}$, which has been written. The move has already taken the future off by one; the mask
# hides what stands *behind* place $t$. With the diagonal forbidden as well, place $t$ would not know the last word
# written.
#
# </details>
#
# **2.** In training, all places are answered in one pass. In writing, one after the other. What would happen if the two
# were different by a bug, say a mask that is off by one in training only?
#
# <details><summary>Answer</summary>
#
# Training sees more (or less) than writing does, so training loss and quality of the writing part company. A good test
# feeds the model's own greedy output back as a target, and compares the logits of one pass with those collected step by
# step: they have to be equal.
#
# </details>
#
# **3.** Why does the cross-attention need no causal mask? And when would it?
#
# <details><summary>Answer</summary>
#
# The whole source is there before the first word is written. If it is not, as in interpreting while somebody still
# speaks, then place $t$ may look only at what has been heard by then (chapter 23).
#
# </details>
#
# **4.** A colleague passes the cross-attention's *weights* to the decoder's next part in place of its output. $S$
# happens to be `d_model`, so nothing fails. What can the decoder still know of the source?
#
# <details><summary>Answer</summary>
#
# Where it looked, and nothing of what is there. It can count and copy places; it cannot read a word. If $S$ differs
# from sentence to sentence, the shapes would tell.
#
# </details>
#
# **5. From an interview.** *"What is teacher forcing, and what is its price?"*
#
# <details><summary>A model answer</summary>
#
# In training the decoder goes on from the *true* previous tokens, whatever it would have written itself. So all
# positions can be trained in parallel, in one pass with a causal mask, and early mistakes do not spoil the rest of the
# sentence for learning.
#
# The price is a mismatch: in use it goes on from its own words, among them mistakes of a kind that it has never seen in
# its input (*exposure bias*). It matters the more the longer the text and the weaker the model. Remedies: scheduled
# sampling, training on whole generated sequences with a reward, or simply a better model; for large language models it
# is less of a trouble than was feared.
#
# *What a weak answer says:* "The teacher corrects the student." Nobody corrects anything: the student's word is not
# even looked at.
#
# </details>
#
# ## Summary
#
# - The decoder reads what it should write, moved by one: `shift_right`. Place $t$ reads $y_{t-1}$ and is asked for
#   $y_t$.
# - A layer looks back (causal mask), looks across (padding mask of the source), thinks. Queries come from the one who
#   writes, keys *and* values from the memory.
# - Forget the move or the mask, or exchange the masks, and the loss becomes wonderful. A loss that falls too early, or
#   below what the task allows, is a leak.
# - `future_leak` finds holes without knowing the model. Exchanging one letter at a time maps them.
#
# ## Further reading
#
# - R. J. Williams, D. Zipser, "A Learning Algorithm for Continually Running Fully Recurrent Neural Networks", 1989.
#   Teacher forcing.
# - S. Bengio, O. Vinyals, N. Jaitly, N. Shazeer, "Scheduled Sampling for Sequence Prediction with Recurrent Neural
#   Networks", 2015. Its price, and a remedy.
# - A. Vaswani et al., "Attention Is All You Need", 2017. The decoder, its masks, and the move by one: sections 3.1 and
#   3.2.3.
# - P. J. Liu et al., "Generating Wikipedia by Summarizing Long Sequences", 2018. A decoder without an encoder.
#
# **Next:** [14 · The full Transformer and its training](../14_transformer/14_transformer.ipynb). Reader and writer meet, and you train the
# whole Transformer.
