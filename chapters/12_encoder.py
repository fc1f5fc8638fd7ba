# %% [markdown]
# # 12 · The encoder
#
# **How often must you read a sentence to understand it?**
#
# Thirteen people sit at thirteen desks. On each desk lies a note with the number of *another* desk. So a thread runs
# from desk to desk, through all of them and back. Everybody wants to know where the thread leads from their desk: in
# two steps, in three, in seven.
#
# There is one rule. At the stroke of a bell everybody may look, all at the same time, at any desks they like, and copy
# what lies there. Then they sit and think. Then the bell rings again.
#
# With no bell at all you know one step: it is on your own note. **How far do you see after one bell? After two? After
# three?** Write your guesses down. This chapter builds the machine that finds out. A bell is an attention layer, the
# thinking is a feed-forward network, and the two together, repeated, are the *encoder*: the half of a Transformer that
# reads.
#
# *About an hour and three quarters, 55 minutes of them for the three exercises. You need chapters 5 (masks), 9
# (multi-head) and 11 (the block).*

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from attnlab import interactive, plotting
from attnlab.block import FeedForward, residual
from attnlab.masks import padding_mask
from attnlab.multi_head import MultiHeadAttention
from attnlab.norms import LayerNorm
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN = plotting.COLOURS[:3]
INK = plotting.INK

# %% tags=["demo", "hide-input"] alt="Thirteen desks in a circle, numbered 0 to 12. From each desk a grey arrow runs to another, so that one thread visits all of them. The first seven steps from desk 0 are drawn in orange and numbered 1 to 7."
DESKS = 13


def threads(count, random):
    """Notes, (count, 13): one thread through all desks. notes[t] is the desk that the note on desk t names."""
    order = torch.rand(count, DESKS, generator=random).argsort(-1)
    return torch.empty_like(order).scatter_(1, order, order.roll(-1, 1))


notes = threads(1, torch.Generator().manual_seed(4))[0]
turn = torch.arange(DESKS) / DESKS * 2 * torch.pi
where = torch.stack([torch.sin(turn), torch.cos(turn)], -1)


def arrow(ax, start, end, colour, width):
    ax.annotate(
        "",
        where[end].tolist(),
        where[start].tolist(),
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 15, "shrinkB": 15},
    )


with plotting.house_style():
    fig, ax = plt.subplots(figsize=(5.2, 5.2))
    for desk in range(DESKS):
        arrow(ax, desk, notes[desk], "#8888", 1.2)
    desk = 0
    for step in range(1, 8):
        end = int(notes[desk])
        arrow(ax, desk, end, ORANGE, 2.4)
        along = where[end] - where[desk]
        aside = torch.stack([-along[1], along[0]]) / along.norm() * 0.075
        x, y = (0.62 * where[desk] + 0.38 * where[end] + aside).tolist()
        ax.text(x, y, str(step), color=ORANGE, fontsize=13, fontweight="bold", ha="center", va="center")
        desk = end
    for desk, (x, y) in enumerate(where.tolist()):
        ax.plot(x, y, "o", markersize=25, markeredgecolor=INK, markerfacecolor="none")
        ax.text(x, y, str(desk), ha="center", va="center", fontsize=12)
    ax.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal")
    ax.axis("off")
    plt.show()

# %% [markdown]
# It looks like a game. But *Which country was the mother of the man born in who wrote the opera?* is a thread, too, and
# so is every *it* that stands for a *which* that stands for a noun. To follow a reference is to look somewhere, and
# *then*, knowing more, to look again. One look does not know yet where the next one will have to go.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(12)

# %% [markdown]
# ## One layer: look, then think
#
# You have all the parts. Multi-head attention (chapter 9) lets positions look at each other. The feed-forward network
# (chapter 11) works on each position alone. Residual connections and norms (chapter 11) hold it together. A layer of
# the encoder is one of each:
#
# $$\begin{aligned}
# x &\leftarrow \mathrm{residual}\big(x,\ \text{self-attention},\ \mathrm{norm}_1\big) &&\text{look}\\
# x &\leftarrow \mathrm{residual}\big(x,\ \text{feed-forward},\ \mathrm{norm}_2\big) &&\text{think}
# \end{aligned}$$
#
# Think of $x$, of shape `(B, T, d_model)`, as a road with $T$ lanes. Nothing on it is ever replaced. Each half reads
# it, makes something of what it read, and *adds* that. Only the first half lets anything cross from one lane to
# another. So everything that a word learns about other words, it learns there.
#
# The road has the same width before and after, so layers fit behind layers.
#
# | | look: self-attention | think: feed-forward |
# |:--|:--|:--|
# | mixes | positions | features |
# | is told the mask | yes | no: it sees one position at a time |
# | parameters, with $d_\text{ff} = 4\,d_\text{model}$ | $4\,d_\text{model}^2$ | $8\,d_\text{model}^2$ |
#
# {{exercise EncoderLayer}}
#
# Write the layer as a module. In `__init__` make four parts, under exactly these names: `self_attention`, a
# `MultiHeadAttention(d_model, num_heads, dropout)`; `feed_forward`, a `FeedForward(d_model, d_ff, dropout)`; `norm_1`
# and `norm_2`, each a `LayerNorm(d_model)`. Names matter: weights are saved and loaded by them. In `forward`, look and
# then think. `residual(x, sublayer, norm, order)` of chapter 11 takes a *function* for its sublayer.
#
# **Dropout** falls on what each half adds, as the last thing before the sum. (What attention and feed-forward drop
# inside is theirs: hand them the same `dropout` when you make them.) An `nn.Dropout` needs no parameters and knows by
# itself whether the module is in training. `order` is for `residual`; who leaves it out gets the paper's, `"post"`.
#
# *By hand:* let attention and feed-forward both add nothing (dropout 1, in training). With `order="pre"` the layer
# returns $x$ itself: the road is open. With `order="post"` it returns $\mathrm{norm}_2(\mathrm{norm}_1(x))$: for
# $x = (1, 3)$ that is $(-1, 1)$.
#
# <details><summary>Hint 1: the idea</summary>
#
# A sublayer is a function of one argument. Self-attention wants three, and the mask, and dropout behind it. Wrap it: a
# small function, or a `lambda`, that takes `y` and asks the attention about `y, y, y`.
#
# </details>
#
# <details><summary>Hint 2: the first line of forward</summary>
#
# `look = lambda y: self.dropout(self.self_attention(y, y, y, mask))`
#
# </details>


# %% exercise="EncoderLayer"
class EncoderLayer(nn.Module):
    """Self-attention, then a feed-forward network, each in a residual connection with a norm.

    Parts: self_attention, feed_forward, norm_1, norm_2. order is "post" or "pre", as in `residual`.
    """

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__()
        ### BEGIN SOLUTION
        self.order = order
        self.self_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.norm_1, self.norm_2 = LayerNorm(d_model), LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, x, mask=None):
        """x of shape (B, T, d_model) and a mask that broadcasts to (B, H, T, T), True = may attend: (B, T, d_model)."""

        ### BEGIN SOLUTION
        def look(y):
            return self.dropout(self.self_attention(y, y, y, mask))

        def think(y):
            return self.dropout(self.feed_forward(y))

        x = residual(x, look, self.norm_1, self.order)
        return residual(x, think, self.norm_2, self.order)
        ### END SOLUTION


# %% [markdown]
# What does one layer let through? Move the vector of *one* position a little, and see which answers move. **How many of
# the seven will it be? And if you leave the looking out?**

# %% tags=["demo"]
with interactive.once_solved("EncoderLayer"):
    torch.manual_seed(0)
    layer = EncoderLayer(16, 2, 64, dropout=0.0).eval()
    x = torch.randn(1, 7, 16)
    moved = x.clone()
    moved[0, 2] += torch.randn(16)
    with torch.no_grad():
        both = (layer(moved) - layer(x)).norm(dim=-1)[0]
        thought = (layer.feed_forward(moved) - layer.feed_forward(x)).norm(dim=-1)[0]
    print("how far each answer moved, when position 2 was moved")
    print("the whole layer   ", "  ".join(f"{move:.3f}" for move in both))
    print("feed-forward alone", "  ".join(f"{move:.3f}" for move in thought))

# %% [markdown]
# In one layer everybody hears of everybody, before and behind: an encoder has the whole text before it, and no reason
# to look away from the future. (The decoder of chapter 13 has one.)
#
# ## The stack
#
# The encoder is `num_layers` such layers, one behind the other, and one more norm. Why that last norm? **Put a random
# $x$ on the road, with entries near 1, and let it run through 24 fresh layers. How long are the vectors at the end,
# measured in lengths of $x$?** Guess for both orders.

# %% tags=["demo", "hide-input"] alt="Mean length of the vectors on the road, in units of the length at the start, against the number of layers passed, from 0 to 24. In post-order the line stays at 1. In pre-order it climbs steadily."
with interactive.once_solved("EncoderLayer"):
    lengths = {}
    for order in ("pre", "post"):
        torch.manual_seed(0)
        x = torch.randn(8, 20, 64)
        start = x.norm(dim=-1).mean()
        lengths[order] = [1.0]
        with torch.no_grad():
            for _ in range(24):
                x = EncoderLayer(64, 4, 256, 0.0, order).eval()(x)
                lengths[order].append(float(x.norm(dim=-1).mean() / start))
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(7, 2.8))
        for (order, line), colour in zip(lengths.items(), (BLUE, ORANGE), strict=True):
            ax.plot(line, color=colour, label=f"{order}-order")
        ax.set(xlabel="layers passed", ylabel="length of the vectors", ylim=(0, None))
        ax.legend(loc="upper left")
        plt.show()
    print("after 24 layers:", ", ".join(f"{order} {line[-1]:.2f}" for order, line in lengths.items()))

# %% [markdown]
# In post-order a norm stands on the road itself, so nothing grows. In pre-order nobody norms the road: every half adds
# to it, and it grows with the depth. Whoever reads it behind the last layer, a decoder or a classifier, would get
# numbers on a scale of their own. So the stack ends in a norm. (With post-order the paper has none; it does no harm
# there, and PyTorch's `nn.Transformer` has it too.)
#
# {{exercise Encoder}}
#
# Write the stack: `num_layers` layers of *your* `EncoderLayer`, in an `nn.ModuleList` called `layers`, and a
# `LayerNorm` called `norm`. Each layer has weights of its own. The mask goes to every layer, and `dropout` and `order`
# too.
#
# *By hand:* with no layers at all only the norm is left: $(1, 3)$ becomes $(-1, 1)$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Make the layers in a loop: `[layer] * 3` would be one layer, three times. And a plain list hides its modules from
# PyTorch.
#
# </details>
#
# <details><summary>Hint 2: the first line of forward</summary>
#
# `for layer in self.layers:`
#
# </details>


# %% exercise="Encoder"
class Encoder(nn.Module):
    """num_layers encoder layers, one behind the other, and a last norm. Parts: layers, norm."""

    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__()
        ### BEGIN SOLUTION
        made = [EncoderLayer(d_model, num_heads, d_ff, dropout, order) for _ in range(num_layers)]
        self.layers = nn.ModuleList(made)
        self.norm = LayerNorm(d_model)
        ### END SOLUTION

    def forward(self, x, mask=None):
        """x of shape (B, T, d_model) and a mask for every layer, True = may attend: (B, T, d_model)."""
        ### BEGIN SOLUTION
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)
        ### END SOLUTION


# %% [markdown]
# ### Is it PyTorch's?
#
# `nn.TransformerEncoder` is the same machine with other names: it keeps $W_q$, $W_k$ and $W_v$ in one matrix, and its
# padding mask says True where ours says False. Give both the same weights and a batch of which one sentence is padded.
# **Will all numbers agree?**

# %% tags=["demo"]
THEIRS = {
    "self_attn": "self_attention",
    "out_proj": "W_o",
    "linear1": "feed_forward.W_1",
    "linear2": "feed_forward.W_2",
}
THEIRS |= {"norm1": "norm_1", "norm2": "norm_2"}


def give_weights(encoder, theirs):
    """Copy the weights of our encoder into PyTorch's."""
    ours = encoder.state_dict()
    for name, tensor in theirs.state_dict().items():
        path = ".".join(THEIRS.get(part, part) for part in name.split("."))
        if "in_proj_" in path:
            tensor.copy_(torch.cat([ours[path.replace("in_proj_", f"W_{role}.")] for role in "qkv"]))
        else:
            tensor.copy_(ours[path])


with interactive.once_solved("Encoder"):
    torch.manual_seed(0)
    x, mask = torch.randn(2, 5, 16), padding_mask(torch.tensor([5, 3]), 5)
    for order in ("post", "pre"):
        mine = Encoder(3, 16, 2, 64, 0.0, order).eval()
        for parameter in mine.parameters():  # a fresh norm has gains of 1 and biases of 0, which hide a swap
            parameter.data.add_(0.2 * torch.randn_like(parameter))
        layer = nn.TransformerEncoderLayer(16, 2, 64, 0.0, batch_first=True, norm_first=order == "pre")
        theirs = nn.TransformerEncoder(layer, 3, nn.LayerNorm(16), enable_nested_tensor=False).eval()
        give_weights(mine, theirs)
        with torch.no_grad():
            a, b = mine(x, mask), theirs(x, src_key_padding_mask=~mask[:, 0, 0])
        print(f"{order}-order: largest difference, by position")
        for row, gap in zip(("5 real", "3 real, 2 padded"), (a - b).abs().amax(-1), strict=True):
            print(f"  {row:17}", "  ".join(f"{number:.0e}" for number in gap))

# %% [markdown]
# All agree, to the last digit or two, in either order. The padded positions need not. In post-order and in evaluation
# PyTorch has a faster way (`enable_nested_tensor=True`, its default), which leaves padding out of the computation and
# answers zeros there. That is no fault: nobody may read those answers. So compare models on *real* positions only.
#
# ## Padding that is heard
#
# Which brings us to the worst kind of mistake: one where nothing fails. Padding is not text. It is there because
# sentences in a batch differ in length. So the answer to a sentence must not depend on how long its *neighbours* happen
# to be. If it does, you get different answers on different days, and no error.
#
# You can test for it without knowing anything about a model. Ask it about some tokens. Ask again with padding behind
# them. Compare.
#
# {{exercise padding_leak}}
#
# Write the test. `model(tokens, mask)` takes ids `(B, T)` and a mask `(B, 1, 1, T)`, and gives one answer a position,
# `(B, T, …)`. `tokens` hold no padding. Ask the model twice: about the tokens, and about the tokens with `extra` times
# the id `pad` behind them. Both times give it the right mask; `padding_mask(lengths, length)` of chapter 5 makes it.
# Return the largest change, up or down, of any number of any answer *at a real position*, as one number.
#
# *By hand:* a model answers each token with the number of tokens that it sees. Asked about 4 tokens it says 4. If it
# looks past its mask, then with `extra=3` it says 7, and the leak is 3.
#
# <details><summary>Hint 1: the idea</summary>
#
# The second answer is longer. Its first $T$ positions are the ones that have a partner in the first.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `B, T = tokens.shape`, then `padding = tokens.new_full((B, extra), pad)`.
#
# </details>


# %% exercise="padding_leak"
def padding_leak(model, tokens, pad=0, extra=3):
    """How much the answers to tokens change when `extra` positions of padding come behind them.

    model   a function of ids (B, T) and a mask (B, 1, 1, T), True = real, that gives one answer a position, (B, T, …)
    tokens  ids without padding, (B, T)

    Returns one number, 0 where all is well. Changes nothing that is passed in.
    """
    ### BEGIN SOLUTION
    B, T = tokens.shape
    padding = tokens.new_full((B, extra), pad)
    longer = torch.cat([tokens, padding], dim=1)
    lengths = torch.full((B,), T)
    alone = model(tokens, padding_mask(lengths, T))
    padded = model(longer, padding_mask(lengths, T + extra))
    return float((padded[:, :T] - alone).abs().max())
    ### END SOLUTION


# %% [markdown]
# Now hunt. Here are five ways to build an encoder into a model of words. All five run without an error. **Which ones
# leak? Decide before you run the cell.**
#
# - **A** hands the mask to every layer.
# - **B** sets the vectors of padding to zero, and hands no mask on: "zeros cannot contribute anything".
# - **C** hands the mask to the first layer only.
# - **D** is A, and then subtracts the mean over all positions, to centre the answers.
# - **E** is A, and reads its text from right to left: it flips the padded batch, and flips the answers back.

# %% tags=["demo", "hide-input"] alt="How far the answer to one sentence moves, against the number of padded positions behind it, from 0 to 30. A lies on zero. B, C, D and E all rise from zero, and stay above it."
with interactive.once_solved("Encoder"):
    torch.manual_seed(1)
    words = nn.Embedding(50, 32)
    places = torch.randn(64, 32)
    reader = Encoder(2, 32, 4, 64, 0.0, "pre").eval()

    def written(tokens):
        return words(tokens) + places[: tokens.shape[1]]

    def is_real(mask):
        return mask[:, 0, 0, :, None].float()

    def model_a(tokens, mask):
        return reader(written(tokens), mask)

    def model_b(tokens, mask):
        return reader(written(tokens) * is_real(mask))

    def model_c(tokens, mask):
        x = written(tokens)
        for number, layer in enumerate(reader.layers):
            x = layer(x, mask if number == 0 else None)
        return reader.norm(x)

    def model_d(tokens, mask):
        answers = reader(written(tokens), mask)
        return answers - answers.mean(1, keepdim=True)

    def model_e(tokens, mask):
        return reader(written(tokens.flip(1)), mask.flip(-1)).flip(1)

    MODELS = {"A": model_a, "B": model_b, "C": model_c, "D": model_d, "E": model_e}
    sentence = torch.randint(1, 50, (1, 9))
    counts = list(range(31))
    with torch.no_grad():
        real = {name: model(sentence, padding_mask(torch.tensor([9]), 9)) for name, model in MODELS.items()}
        moves = {name: [] for name in MODELS}
        for extra in counts:
            longer = torch.cat([sentence, torch.zeros(1, extra, dtype=torch.long)], 1)
            mask = padding_mask(torch.tensor([9]), 9 + extra)
            for name, model in MODELS.items():
                moves[name].append(float((model(longer, mask)[:, :9] - real[name]).norm() / real[name].norm()))
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(7.4, 3.2))
        for (name, line), colour in zip(moves.items(), plotting.COLOURS, strict=False):
            ax.plot(counts, line, color=colour, label=name)
        ax.set(xlabel="padded positions behind the sentence", ylabel="change of its answer")
        ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        fig.legend(ncols=5, loc="outside upper center")
        plt.show()

# %% [markdown]
# And what does your test say of them?

# %% tags=["demo"]
with interactive.once_solved("Encoder and padding_leak"), torch.no_grad():
    tokens = torch.randint(1, 50, (3, 9), generator=torch.Generator().manual_seed(0))
    for name, model in MODELS.items():
        print(f"model {name}: leak {padding_leak(model, tokens):.6f}")

# %% [markdown]
# Only A is tight. Each of the others is worth a thought:
#
# - **B.** A vector of zeros still has a key and a value, for $W_k$ and $W_v$ have biases, and the feed-forward network
#   makes something of nothing, too. Even a score of exactly 0 is not $-\infty$: it takes its share of the softmax.
# - **C.** The first layer is deaf to padding. But padded positions look at the *words*, so from then on their vectors
#   are full of text, and the second layer listens. Every layer has to be told.
# - **D.** Every layer is right, and still it leaks: a mean over positions is a look at all positions, and has to be
#   masked like one. The same holds for a maximum, and for a norm over positions.
# - **E.** The mask was turned, too, so nobody looks at padding. But the words now stand at *other places*: after the
#   flip the padding comes first. Anything that depends on where a word stands notices.
#
# A test like this costs four lines and belongs to every model that you ever build. Chapter 13 has its twin for the
# future.
#
# ## How far does it see?
#
# Back to the desks. A position $t$ knows two things at the start: its own number and what is on its note. We train
# encoders of 0, 1, 2 and 3 layers, all 64 wide with four heads, to say at every desk where the thread leads in 1, 2, …
# 7 steps. They see fresh threads at each step of the training, never the same one twice. Nothing tells them how to do
# it. **Look at your guesses again.**

# %% tags=["demo"]
STEPS = 7


def batch(count, random):
    """Notes (count, 13), and where they lead in 1 … 7 steps, (count, 13, 7)."""
    notes = threads(count, random)
    ends = [notes]
    for _ in range(STEPS - 1):
        ends.append(notes.gather(1, ends[-1]))
    return notes, torch.stack(ends, -1)


class Follower(nn.Module):
    """Says at each desk where the thread leads, in 1 … 7 steps."""

    def __init__(self, num_layers, d_model=64):
        super().__init__()
        self.desk, self.note = nn.Embedding(DESKS, d_model), nn.Embedding(DESKS, d_model)
        self.encoder = Encoder(num_layers, d_model, 4, 2 * d_model, 0.0, "pre")
        self.answer = nn.Linear(d_model, STEPS * DESKS)

    def forward(self, notes):
        x = self.desk.weight + self.note(notes)
        return self.answer(self.encoder(x)).unflatten(-1, (STEPS, DESKS))


def train(num_layers, steps, seed=0, rate=3e-3):
    """A trained follower, and the share it gets right on threads it has never seen, by number of steps."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    model = Follower(num_layers)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
        notes, ends = batch(128, random)
        loss = cross_entropy(model(notes).flatten(0, -2), ends.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    notes, ends = batch(1000, random)
    with torch.no_grad():
        right = (model(notes).argmax(-1) == ends).float().mean((0, 1))
    return model.eval(), right


with interactive.once_solved("Encoder"):
    followers = {layers: train(layers, steps) for layers, steps in ((0, 200), (1, 400), (2, 600), (3, 600))}
    print("right after    " + "".join(f"{step:7}" for step in range(1, STEPS + 1)) + " steps")
    for layers, (_, right) in followers.items():
        print(f"with {layers} layer{'s' if layers != 1 else ' '}  " + "".join(f"{share:7.1%}" for share in right))

# %% tags=["demo", "hide-input"] alt="A staircase of shares that are right, a row for each number of layers from 0 to 3, a column for each number of steps from 1 to 7. Without layers only the first column is 100. With one layer the first two are. With two layers the first four are. With three layers all seven are. Everything to the right of the stairs is near chance."
with interactive.once_solved("Encoder"), plotting.house_style():
    stairs = torch.stack([right for _, right in followers.values()])
    fig, ax = plt.subplots(figsize=(7.4, 3.4))
    image = ax.imshow(stairs, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    for layers, row in enumerate(stairs.tolist()):
        for step, share in enumerate(row):
            ax.text(step, layers, f"{share:.0%}", ha="center", va="center", color="white" if share > 0.6 else "black")
        reach = min((3**layers + 1) / 2, STEPS)
        ax.plot(
            [reach - 0.5] * 2, [layers - 0.5, layers + 0.5], color=ORANGE, linewidth=4, linestyle="-", clip_on=False
        )
    ax.set(xticks=range(STEPS), xticklabels=range(1, STEPS + 1), yticks=range(4), xlabel="steps", ylabel="layers")
    ax.grid(False)
    ax.tick_params(length=0)
    plt.show()

# %% [markdown]
# A staircase. The orange line shows how far looks can reach that follow the thread. More training does not move it.
# Where does it stand? You might have guessed that each bell adds one step, or that it *doubles* what you know: look at
# the desk on your note, read *its* note. After one bell that gives two steps, and after two it gives four, because then
# you can ask the desk two steps on, which by now sees two steps itself.
#
# But it is better than doubling. You need not look *along* the thread. You can also look for the desk **whose note
# names you**. So after one bell you know the desk behind you, too. Say that you know the thread from $b$ desks behind
# you to $a$ ahead. So does everybody else, of theirs. Whom can you single out to look at? Anyone of whose stretch you
# know one desk, by that desk. The farthest ahead is the one whose stretch *begins* where yours ends: $a + b$ steps on.
# It sees $a$ steps further. So
#
# $$a \leftarrow 2a + b, \qquad b \leftarrow a + 2b,$$
#
# and the stretch $a + b$ becomes $3\,(a + b)$. It *triples*. We begin with $a = 1$ and $b = 0$:

# %% tags=["demo"]
ahead, behind = 1, 0
print("layers   behind   ahead   known of 13   a guess among the rest")
for layers in range(5):
    known = min(ahead + behind + 1, DESKS)
    rest = f"1 of {DESKS - known}, {1 / (DESKS - known):.1%}" if known < DESKS else ""
    print(f"{layers:6}   {behind:6}   {ahead:5}   {known:11}   {rest}")
    ahead, behind = 2 * ahead + behind, ahead + 2 * behind

# %% tags=["demo", "hide-input"] alt="The thread, drawn straight, with my desk at 0. Four rows of bars. Without a layer the bar reaches from 0 to 1. With one layer it reaches from 1 behind to 2 ahead, with two from 4 behind to 5 ahead, with three from 13 behind to 14 ahead. Each bar is made of three bars of the row above, laid end to end: one behind in green, my own in orange, one ahead in blue."
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.8, 3.6))
    ahead, behind = 1, 0
    for layers in range(4):
        width = ahead + behind
        if layers == 0:
            ax.barh(0, width, left=0, height=0.44, color=ORANGE)
        else:
            third = width // 3
            for start, colour in ((-behind, GREEN), (-behind + third, ORANGE), (ahead - third, BLUE)):
                ax.barh(layers, third - 0.12, left=start + 0.06, height=0.44, color=colour)
        for place, side, reach in ((ahead, "left", ahead), (-behind, "right", behind)):
            gap = 0.3 if side == "left" else -0.3
            ax.text(place + gap, layers, str(reach), ha=side, va="center", fontsize=12)
        ahead, behind = 2 * ahead + behind, ahead + 2 * behind
    ax.axvline(0, color=INK, linestyle=":", linewidth=1, zorder=0)
    ax.text(-9, 0, "whom I ask behind me", color=GREEN, ha="center", va="center")
    ax.text(9, 0, "whom I ask ahead of me", color=BLUE, ha="center", va="center")
    ax.text(9, 1, "what I knew before", color=ORANGE, ha="center", va="center")
    ax.set(yticks=range(4), ylabel="layers", xlabel="desks along the thread, from mine", xlim=(-16.5, 16.5))
    ax.invert_yaxis()
    ax.grid(False)
    plt.show()

# %% [markdown]
# Every row is made of three pieces as long as the whole row above it: what I knew, what the one ahead of me knew, whose
# stretch begins where mine ends, and what the one behind me knew, whose stretch ends where mine begins. Thirteen desks
# are all known after three layers.
#
# Compare with the table. Beyond its stretch the model is not lost, it *guesses well*: it knows which desks it is not.
# With no layers one in 11, with one layer one in 9. You can read from the share of its lucky guesses how much it knows.
#
# With two layers it could see five ahead. Did it? If its guesses are at one in four, it found four ahead and four
# behind: one look short of what is possible. (Another seed may find the fifth: training need not find all that a model
# could do.) So the orange line says what can be, and what stands left of it is what training made of it. It holds for
# looks that bring back what *one* desk knows. The fourth question of the quiz asks for the loophole.
#
# Did it really find the trick with looking *back*? We can look at the heads of the one-layer model. There is a share
# for the desk on one's note, and one for the desk whose note names us.

# %% tags=["demo"]
with interactive.once_solved("Encoder"), torch.no_grad():
    model, _ = followers[1]
    notes, _ = batch(200, torch.Generator().manual_seed(9))
    layer = model.encoder.layers[0]
    y = layer.norm_1(model.desk.weight + model.note(notes))
    weights = layer.self_attention.weights(y, y)  # (200, heads, 13, 13)
    onward = weights.gather(-1, notes[:, None, :, None].expand(-1, 4, -1, 1)).mean((0, 2, 3))
    back = notes.argsort(-1)  # the desk whose note names us
    backward = weights.gather(-1, back[:, None, :, None].expand(-1, 4, -1, 1)).mean((0, 2, 3))
    print("head   to the desk on my note   to the desk whose note names me")
    for head in range(4):
        print(f"{head:4}   {onward[head]:23.1%}   {backward[head]:31.1%}")

# %% [markdown]
# It did. Nobody told it that there is such a thing as *behind*.
#
# So depth is not decoration. A wider layer knows more at one look; only another layer can look *again, knowing more*.
# And it is cheap: what one layer can reach triples, in this game, with each of them. For look-ups like these a depth
# that grows with the logarithm of the number of steps has been proved to be enough; and, under a conjecture that is
# widely believed, less is not (Sanford, Hsu, Telgarsky 2024).
#
# ### What is a word?
#
# One more thing about the encoder: it does not care what it reads. A row of its input is a vector, and that is all. Cut
# a picture into 16 little squares, make a vector of each by a matrix, and it reads pictures. That is the Vision
# Transformer, and chapter 19 trains one. Here is all that changes.

# %% tags=["demo"]
with interactive.once_solved("Encoder"), torch.no_grad():
    torch.manual_seed(0)
    picture = torch.rand(1, 8, 8)  # a picture of 8 × 8 pixels
    squares = picture.unfold(1, 2, 2).unfold(2, 2, 2).reshape(1, 16, 4)
    tokens = nn.Linear(4, 32)(squares) + torch.randn(16, 32)  # a vector a square, and a place
    print("a picture", tuple(picture.shape), "→ squares", tuple(squares.shape), "→ tokens", tuple(tokens.shape))
    print("→ the same encoder →", tuple(Encoder(2, 32, 4, 64).eval()(tokens).shape))

# %% [markdown]
# ## Quiz
#
# **1.** An encoder has 6 layers, $d_\text{model} = 512$ and $d_\text{ff} = 2048$, as in the paper. How many numbers do
# its matrices hold, and which share of them is in the feed-forward networks?
#
# <details><summary>Answer</summary>
#
# A layer: $4 \cdot 512^2 + 2 \cdot 512 \cdot 2048 = 1{,}048{,}576 + 2{,}097{,}152 = 3{,}145{,}728$. Six of them:
# $18{,}874{,}368$. Two thirds are in the feed-forward networks, whatever the width, as long as
# $d_\text{ff} = 4\,d_\text{model}$.
#
# </details>
#
# **2.** You shuffle the layers of a trained encoder. Does it still run? Does it still work? And in the game with the
# desks?
#
# <details><summary>Answer</summary>
#
# It runs: all shapes are alike. How much it suffers depends on how much each layer relies on what the one before has
# found. In the game everything does: the second layer looks by means of what the first has found out. In large language
# models swapping two neighbours in the middle does surprisingly little harm, because each of them only adds a little to
# the same road.
#
# </details>
#
# **3.** A colleague pads on the *left*, and hands the right mask to every layer. Does her encoder leak?
#
# <details><summary>Answer</summary>
#
# Through attention, no: nobody looks at padding. But the words stand at other places than without padding. If positions
# count from the left end of the batch, every answer depends on the neighbours' lengths. Positions have to count from
# the first real token, or be relative (chapter 10), for which only distances matter. It is model E.
#
# </details>
#
# **4.** Could one very wide layer, with a thousand heads, see three steps along the thread?
#
# <details><summary>Answer</summary>
#
# No. All heads of a layer look at the same time, with what their position knew before. To see the third step you have
# to ask the desk two steps on, and before the first look you do not know which one that is. Width gives more looks at
# once, not one after another. (A thousand heads could copy *everything* onto every desk, and then the feed-forward
# network, if it is wide enough, could think it through: with 13 desks that is possible in principle. With ten thousand
# it is not.)
#
# </details>
#
# **5. From an interview.** *"What is the difference between an encoder and a decoder? Why was BERT an encoder, and GPT
# a decoder?"*
#
# <details><summary>A model answer</summary>
#
# They are made of the same parts. The difference is who may look at whom. In an encoder every position sees the whole
# text, before and behind. In a decoder a causal mask hides the future, and if there is a source text, a second
# attention looks at it.
#
# It follows what each is good for. An encoder gives a vector for every word *in its full context*, so it suits tasks
# that read: tag, classify, search, or hand its vectors to a decoder that translates. But it cannot be trained to
# predict the next word, which it can see; BERT hides 15% of the words and asks for them. A decoder predicts every next
# word of a text in one pass, so each position of the text is a training example, and what it has learned is just what
# generating needs, one word after another, with a cache of keys and values.
#
# *What a weak answer says:* "The encoder encodes and the decoder decodes", or that they differ in their layers. It is
# the mask.
#
# </details>
#
# ## Summary
#
# - A layer looks (self-attention), then thinks (feed-forward), and adds both to the road. Only the first lets positions
#   hear of each other.
# - The encoder is a stack of such layers and a last norm, which in pre-order is the only one on the road.
# - The answer to a sentence must not depend on its neighbours in the batch. `padding_leak` finds out, for any model.
#   Zeros are not a mask, one layer's mask is not enough, and means over positions need it too.
# - A look cannot depend on what it finds; the next layer's can. In the game of the desks, following the thread, the
#   stretch that a position knows triples with each layer: $1, 2, 5, 14, 41, \dots$ steps ahead, $(3^L + 1)/2$.
#
# ## Further reading
#
# - A. Vaswani et al., "Attention Is All You Need", 2017. The encoder, six layers, post-norm.
# - J. Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019. The
#   encoder by itself, trained on hidden words.
# - R. Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020. Pre- and post-norm, and why the
#   order matters at the start of the training.
# - A. Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", 2021. The encoder
#   that reads pictures.
# - C. Sanford, D. Hsu, M. Telgarsky, "Transformers, parallel computation, and logarithmic depth", 2024. Why few layers
#   reach far, with a game like ours: the $k$-hop induction heads task.
# - Q. Sun et al., "Transformer Layers as Painters", 2024. What happens to large models when layers are skipped, swapped
#   or run at once.
#
# **Next:** [13 · The decoder](../13_decoder/13_decoder.ipynb). The encoder has read. Somebody has to write, and whoever
# writes must not see what comes next.
