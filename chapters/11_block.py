# %% [markdown]
# # 11 · The block
#
# **How do you stack a hundred layers, and still hear the first one?**
#
# Whisper a sentence into an ear, and let it go round a table of twenty-four. What comes out at the end is a joke that
# everybody knows. A deep network is such a table: each layer hears only what the last one said, and changes it a
# little. In 2015 a plain network of 34 layers did worse than one of 18, *even on the examples it was trained on* (He et
# al., 2016). It could have copied the smaller one and added 16 layers that pass everything on. It did not find out how.
#
# Two ideas mended it. Do not *replace* what you heard: pass it on as it was, and *add* your remark. And before you
# listen, turn the volume to a fixed level. The first is the residual connection, the second is the norm. With a small
# network that works on each word alone, they are everything that stands around attention in a Transformer. It is called
# the block, and hundred-layer stacks are made of it.
#
# *About an hour and a half, 40 minutes of them for the four exercises. You need chapter 9 for the idea, and none of its
# code.*

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

from attnlab import interactive, plotting
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN, PURPLE = plotting.COLOURS[:4]
INK = plotting.INK

# %% tags=["demo", "hide-input"] alt="How alike the answers to two unlike inputs are, from 0 to 1, against the number of layers passed. Where a layer's answer is passed on, the curve is at 1 after a few layers. Where it is added to the rest, it climbs slowly and stays below a half."
torch.manual_seed(0)
pair = torch.randn(2, 200, 32)  # 200 pairs of inputs that have nothing to do with each other
layers = [nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)) for _ in range(24)]  # as PyTorch draws them
heard = {"passed on": pair, "added to the rest": pair}
likeness = {name: [0.0] for name in heard}
with torch.no_grad():
    for layer in layers:
        heard["passed on"] = layer(heard["passed on"])
        heard["added to the rest"] = heard["added to the rest"] + layer(heard["added to the rest"])
        for name, x in heard.items():
            likeness[name].append(float(torch.cosine_similarity(x[0], x[1], dim=-1).mean()))
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(7.4, 3))
    for (name, line), colour in zip(likeness.items(), (ORANGE, BLUE), strict=True):
        ax.plot(line, color=colour, label=f"what a layer says is {name}")
    ax.set(xlabel="layers", ylabel="likeness of two inputs\nthat are not alike", ylim=(-0.05, 1.05))
    ax.legend(loc=(0.42, 0.56))
    plt.show()
print(", ".join(f"{name}: {line[-1]:.3f}" for name, line in likeness.items()))

# %% [markdown]
# Inputs that have nothing in common go through 24 random layers, two and two. If each layer's answer is all that is
# passed on, they come out as one and the same. If it is *added*, they stay two.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(11)

# %% [markdown]
# ## One volume for all: layer norm
#
# A sum of many remarks grows. So before somebody listens, bring the vector to a fixed scale: take off its mean, and
# divide by its standard deviation. For one vector $x$ of $d$ numbers
#
# $$\mu = \frac1d \sum_i x_i, \qquad \sigma^2 = \frac1d \sum_i (x_i - \mu)^2, \qquad
# \mathrm{norm}(x)_i = g_i\, \frac{x_i - \mu}{\sqrt{\sigma^2 + \varepsilon}} + b_i .$$
#
# The gain $g$ and the bias $b$ are learned, so a layer may undo the norm where that helps. $\varepsilon$ keeps a vector
# of equal numbers from being divided by zero.
#
# What does it *do* to a vector? Here are 300 vectors of three numbers. **What shape will they have after the norm, with
# $g = 1$ and $b = 0$?** One condition says that the mean is 0. Another says that the mean square is 1.

# %% tags=["demo", "hide-input"] alt="Three pictures in three dimensions. Left, a cloud of 300 points. In the middle, after layer norm, all points lie on one circle, which stands at a right angle to the diagonal. Right, after RMS norm, they lie on a sphere."
torch.manual_seed(1)
cloud = torch.randn(300, 3) * torch.tensor([1.0, 2.0, 0.7]) + torch.tensor([1.0, 0.0, -0.5])
pictures = {
    "as they are": cloud,
    "after layer norm": nn.functional.layer_norm(cloud, (3,)),
    "after RMS norm": cloud / (cloud**2).mean(-1, keepdim=True).sqrt(),
}
with plotting.house_style():
    fig = plt.figure(figsize=(10.5, 4))
    colours = torch.atan2(cloud[:, 1], cloud[:, 0])
    for number, (name, points) in enumerate(pictures.items(), 1):
        ax = fig.add_subplot(1, 3, number, projection="3d", computed_zorder=False)
        reach = 3 if number == 1 else 1.8
        ax.patch.set_alpha(0)
        for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
            axis.pane.set_visible(False)
            axis.set_ticks([])
        ax.plot([-reach, reach], [-reach, reach], [-reach, reach], color=INK, linestyle=":", linewidth=1)
        ax.scatter(*points.T, c=colours, cmap="rainbow", s=9)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach), title=name)
        ax.set_box_aspect((1, 1, 1), zoom=1.25)
        ax.view_init(elev=18, azim=12)
    plt.show()

# %% [markdown]
# A circle. Mean 0 puts every vector into the plane at a right angle to the diagonal (dotted); mean square 1 puts it at
# one distance from the middle, $\sqrt 3$. Of the length of $x$ and of its height along the diagonal nothing is left,
# only its *direction* within the plane. In 512 dimensions it is the same, a sphere of 510 dimensions, and there is room
# on it.
#
# {{exercise layer_norm}}
#
# Write it, for `x` of shape `(..., d)`: every vector by itself, along the last axis. `gain` and `bias` have shape
# `(d,)`. The variance divides by $d$, and $\varepsilon$ stands inside the root.
#
# *By hand:* $x = (1, 5)$ has $\mu = 3$ and $\sigma^2 = ((-2)^2 + 2^2)/2 = 4$, so it becomes $(-1, 1)$. With
# $g = (1, 2)$ and $b = (0, 10)$ that is $(-1, 12)$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Keep the axis over which you average, so that the mean has shape `(..., 1)` and broadcasts.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `mean = x.mean(dim=-1, keepdim=True)`
#
# </details>


# %% exercise="layer_norm"
def layer_norm(x, gain, bias, eps=1e-5):
    """Every vector of x brought to mean 0 and variance 1, then multiplied by gain, and bias added.

    x     any number of vectors, shape (..., d)
    gain  shape (d,)
    bias  shape (d,)

    Changes none of them.
    """
    ### BEGIN SOLUTION
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return gain * (x - mean) / torch.sqrt(variance + eps) + bias
    ### END SOLUTION


# %% [markdown]
# Two things to notice. It does not look at the batch: a sentence is normed alike in any company, in training and
# afterwards. (*Batch* norm, its elder brother, does look, and keeps a book about it. For sentences of different lengths
# that is a nuisance.) And it forgets volume altogether:

# %% tags=["demo"]
with interactive.once_solved("layer_norm"):
    torch.manual_seed(0)
    x, one, zero = torch.randn(2, 5, 512), torch.ones(512), torch.zeros(512)
    print(
        "of 1000 x + 7 against x:",
        f"{(layer_norm(1000 * x + 7, one, zero) - layer_norm(x, one, zero)).abs().max():.0e}",
    )
    theirs = nn.LayerNorm(512).requires_grad_(False)
    theirs.weight.uniform_(0.5, 2)
    theirs.bias.uniform_(-1, 1)
    print("PyTorch's against yours:", f"{(theirs(x) - layer_norm(x, theirs.weight, theirs.bias)).abs().max():.0e}")

# %% [markdown]
# ### Without the mean
#
# Is the mean needed? In 2019 B. Zhang and R. Sennrich left it out, and their models learned as well, and ran faster.
# *RMS norm* divides by the root of the mean square, and that is all. Llama and many language models since use it. In
# the picture above it puts vectors on the whole sphere.
#
# $$\mathrm{rms}(x)_i = g_i\, \frac{x_i}{\sqrt{\frac1d \sum_j x_j^2 + \varepsilon}} .$$
#
# {{exercise rms_norm}}
#
# Write it, for `x` of shape `(..., d)` and a `gain` of shape `(d,)`.
#
# *By hand:* $x = (1, 7)$ has the mean square $(1 + 49)/2 = 25$; divided by 5 it is $(0.2, 1.4)$, and with $g = (1, 2)$
# it is $(0.2, 2.8)$.
#
# <details><summary>Hint 1: the idea</summary>
#
# The name, read backwards: square, mean, root.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `mean_square = (x**2).mean(dim=-1, keepdim=True)`
#
# </details>


# %% exercise="rms_norm"
def rms_norm(x, gain, eps=1e-6):
    """Every vector of x divided by its root mean square, then multiplied by gain.

    x     any number of vectors, shape (..., d)
    gain  shape (d,)

    Changes neither.
    """
    ### BEGIN SOLUTION
    mean_square = (x**2).mean(dim=-1, keepdim=True)
    return gain * x / torch.sqrt(mean_square + eps)
    ### END SOLUTION


# %% [markdown]
# ## Thinking alone: the feed-forward network
#
# Attention averages. It brings things together, and then they lie there side by side. Somebody has to *make* something
# of them: if there is a *not*, and a *good*, then it is *bad*. An average cannot do that, because it has no *if*. The
# feed-forward network has as many of them as it is wide:
#
# $$\mathrm{ffn}(x) = \max(0,\ x W_1 + b_1)\, W_2 + b_2 .$$
#
# Read it column by column. A column of $W_1$ is a question: is there enough of this direction in $x$? $b_1$ says how
# much is enough. If not, the maximum makes it 0, and it is silent. If so, the *row* of $W_2$ of the same number is what
# is said, the louder the more there was. So the network is a list of $d_\text{ff}$ pairs, *when you see this, say
# that*. It is where most of a Transformer's numbers are, and where much of what it knows is kept (Geva et al., 2021).
#
# The same network works on every position, and none hears of another.
#
# {{exercise feed_forward}}
#
# Write the formula, for `x` of shape `(..., d_model)`. `W_1` has shape `(d_model, d_ff)` and `W_2` has shape
# `(d_ff, d_model)`.
#
# *By hand:* with one number in and out, $W_1 = 2$, $b_1 = -1$, $W_2 = 3$, $b_2 = 4$: for $x = 1$ the hidden number is
# $\max(0, 1) = 1$ and the answer is $7$; for $x = -1$ it is $\max(0, -3) = 0$, and the answer $4$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two products, and `torch.relu` (or `.clamp(min=0)`) between them.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `hidden = torch.relu(x @ W_1 + b_1)`
#
# </details>


# %% exercise="feed_forward"
def feed_forward(x, W_1, b_1, W_2, b_2):
    """A network of two layers, the same at each position.

    x    shape (..., d_model)
    W_1  shape (d_model, d_ff), with b_1 of shape (d_ff,)
    W_2  shape (d_ff, d_model), with b_2 of shape (d_model,)

    Returns (..., d_model). Changes none of them.
    """
    ### BEGIN SOLUTION
    hidden = torch.relu(x @ W_1 + b_1)
    return hidden @ W_2 + b_2
    ### END SOLUTION


# %% [markdown]
# Does it need the *if*? *Not* turns *good* into *bad* and *bad* into *good*: the answer is the product of two signs.
# **How well can a sum do that? How well can your network, with four hidden numbers?**

# %% tags=["demo"]
with interactive.once_solved("feed_forward"):
    signs = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])  # not / no not, bad / good
    verdict = signs.prod(-1, keepdim=True)
    best_sum = torch.linalg.lstsq(torch.cat([signs, torch.ones(4, 1)], 1), verdict).solution
    sums = torch.cat([signs, torch.ones(4, 1)], 1) @ best_sum
    print("the best sum says    ", sums.flatten().round(decimals=3).abs().tolist())
    # When you see both the same, say +1; when you see them differ, say −1: four questions, each for one corner.
    W_1, b_1 = signs.mT, torch.full((4,), -1.0)
    W_2, b_2 = verdict, torch.zeros(1)
    print("your network says    ", feed_forward(signs, W_1, b_1, W_2, b_2).flatten().tolist())
    print("what it should be    ", verdict.flatten().tolist())

# %% [markdown]
# The best sum says 0 to everything: it cannot tell at all. The four pairs of the network were written by hand. Each
# asks for one corner.
#
# ## The road
#
# Now put it together. A *sublayer* is anything that makes a vector from a vector: attention, or the network above. Do
# not replace $x$ by what it says. Add it:
#
# $$x \leftarrow x + \mathrm{sublayer}(x).$$
#
# This is a *residual connection*. $x$ is a road that runs through the whole stack, and every sublayer is a side street
# that leaves it and comes back. And the derivative of $x + f(x)$ is $1 + f'(x)$: the 1 is the road for gradients.
# Whatever $f$ does to them, they get through.
#
# Where does the norm go? There are two schools:
#
# | | | |
# |:--|:--|:--|
# | **post** | $\mathrm{norm}\big(x + \mathrm{sublayer}(x)\big)$ | the paper of 2017: after the sum, on the road itself |
# | **pre** | $x + \mathrm{sublayer}\big(\mathrm{norm}(x)\big)$ | GPT-2 and nearly everything since: before the sublayer, in the side street |
#
# {{exercise residual}}
#
# Write both. `sublayer` and `norm` are functions of one argument, and each is asked *once*. `order` is `"post"` or
# `"pre"`.
#
# *By hand:* let the sublayer double, and the norm take off the first number. For $x = (1, 4)$, post:
# $x + 2x = (3, 12)$, normed $(0, 9)$. Pre: the normed copy is $(0, 3)$, doubled $(0, 6)$, added to $x$: $(1, 10)$.
#
# <details><summary>Hint 1: the idea</summary>
#
# In both, the first summand is $x$ as it came in.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `if order == "post":`
#
# </details>


# %% exercise="residual"
def residual(x, sublayer, norm, order):
    """x plus what the sublayer says, with the norm after the sum ("post") or before the sublayer ("pre").

    x               any tensor
    sublayer, norm  functions of one tensor that give a tensor of the same shape
    """
    ### BEGIN SOLUTION
    if order == "post":
        return norm(x + sublayer(x))
    if order == "pre":
        return x + sublayer(norm(x))
    raise ValueError(f'order must be "pre" or "post", got {order!r}')
    ### END SOLUTION


# %% [markdown]
# ### The same in PyTorch
#
# PyTorch has both norms, and in `nn.TransformerEncoderLayer` a whole layer of an encoder, with the network and both
# orders. If the matrix behind its attention is zero, then attention adds nothing, and what is left is your `residual`
# round your `feed_forward` (in post-order behind one more norm). **Will all numbers agree?**

# %% tags=["demo"]
with interactive.once_solved("layer_norm, rms_norm, feed_forward and residual"), torch.no_grad():
    torch.manual_seed(0)
    x = 3 * torch.randn(2, 5, 16) + 1
    theirs = nn.RMSNorm(16, eps=1e-6)
    theirs.weight.uniform_(0.5, 2)
    print(f"rms_norm    {(theirs(x) - rms_norm(x, theirs.weight)).abs().max():.0e}")
    for order in ("post", "pre"):
        theirs = nn.TransformerEncoderLayer(16, 2, 64, 0.0, batch_first=True, norm_first=order == "pre").eval()
        for norm in (theirs.norm1, theirs.norm2):
            norm.weight.uniform_(0.5, 2)
            norm.bias.uniform_(-1, 1)
        theirs.self_attn.out_proj.weight.zero_()
        theirs.self_attn.out_proj.bias.zero_()

        def sublayer(x, theirs=theirs):
            return feed_forward(
                x, theirs.linear1.weight.mT, theirs.linear1.bias, theirs.linear2.weight.mT, theirs.linear2.bias
            )

        def norm_2(x, theirs=theirs):
            return layer_norm(x, theirs.norm2.weight, theirs.norm2.bias)

        road = x if order == "pre" else layer_norm(x, theirs.norm1.weight, theirs.norm1.bias)
        gap = (theirs(x) - residual(road, sublayer, norm_2, order)).abs()
        print(f"{order + '-order':12}{gap.max():.0e}, and no number of {gap.numel()} is further off")

# %% [markdown]
# One trap: `nn.RMSNorm` without `eps` takes the smallest number that still counts beside 1 in the type that it computes
# in, so it differs between float32 and float64. (For the half precisions that type is float32.) Ours is told.
#
# ## Which arrives: the experiment
#
# Four towers of 24 blocks. Each block is your `feed_forward` with its own random numbers, 32 wide. They differ in
# nothing but what stands around it:
#
# - **plain**: the network's answer replaces $x$,
# - **road**: it is added, and nobody norms,
# - **post** and **pre**: your `residual`, with your `layer_norm`.
#
# And they begin in two ways. **Quiet**: the numbers as PyTorch draws them. **Loud**: larger ones, with which a network
# says everything at the volume at which it has heard it. Put random vectors of volume 1 in, and guess three things for
# each tower:
#
# 1. **How loud is it at the top?**
# 2. There, ask for a correction, a gradient of length 1. **How long is what arrives at the bottom?**
# 3. Close all side streets to gradients. **What arrives by the road alone?**

# %% tags=["demo", "hide-input"] alt="Six pictures, all on logarithmic scales, against the block from 1 to 24: volume going up, gradient coming down, and gradient by the road alone, above for quiet towers and below for loud ones. Quiet: plain falls to a tenth in volume, and by fifteen powers of ten in its gradient; the other three lie close together near 1. Loud: the tower with a road and no norm grows to thousands in volume and in gradient, pre to about five, post stays at 1 and plain falls a little. By the road alone all of it arrives in pre and without norms; in post it falls in a straight line to less than a thousandth."
FOUR = ("plain", "road", "post", "pre")
PAINT = dict(zip(FOUR, (ORANGE, GREEN, PURPLE, BLUE), strict=True))
STROKE = dict(zip(FOUR, ("-", "--", "-.", "-"), strict=True))


class Tower(nn.Module):
    """24 blocks of your feed_forward, in one of four orders, made of your own functions."""

    def __init__(self, kind, loud=False, width=32, depth=24):
        super().__init__()
        self.kind = kind
        self.first = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.second = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(depth))
        self.gain, self.bias = nn.Parameter(torch.ones(depth, width)), nn.Parameter(torch.zeros(depth, width))
        for first, second in zip(self.first, self.second, strict=True) if loud else ():
            nn.init.normal_(first.weight, std=(2 / width) ** 0.5)  # 2, for the maximum cuts half of it off
            nn.init.normal_(second.weight, std=(1 / (2 * width)) ** 0.5)
            nn.init.zeros_(first.bias)
            nn.init.zeros_(second.bias)

    def forward(self, x, along=None, closed=False):
        for first, second, gain, bias in zip(self.first, self.second, self.gain, self.bias, strict=True):

            def sublayer(x, first=first, second=second):
                said = feed_forward(x, first.weight.mT, first.bias, second.weight.mT, second.bias)
                return said.detach() if closed else said

            def norm(x, gain=gain, bias=bias):
                return layer_norm(x, gain, bias)

            if along is not None:
                x.requires_grad_() if x.is_leaf else x.retain_grad()
                along.append(x)
            if self.kind == "plain":
                x = sublayer(x)
            elif self.kind == "road":
                x = x + sublayer(x)
            else:
                x = residual(x, sublayer, norm, self.kind)
        return x


def measured(kind, loud, closed=False):
    """What enters each block and leaves the last, its volume, and the gradient that arrives at each block."""
    torch.manual_seed(0)
    tower, along = Tower(kind, loud), []
    out = tower(torch.randn(500, 32), along, closed)
    asked = torch.randn(out.shape)
    (out * asked / asked.norm(dim=-1, keepdim=True)).sum().backward()
    volume = torch.stack([x.detach().pow(2).mean().sqrt() for x in [*along, out]])
    return out.detach(), volume, torch.stack([x.grad.norm(dim=-1).mean() for x in along])


with interactive.once_solved("layer_norm, feed_forward and residual"):
    TITLES = ("volume, going up", "gradient, coming down", "the same, by the road alone")
    with plotting.house_style():
        fig, axes = plt.subplots(2, 3, figsize=(10.5, 5.6), sharex=True)
        for row, loud in zip(axes, (False, True), strict=True):
            print(f"{'loud' if loud else 'quiet':7}volume at the top  gradient at block 1  by the road alone  likeness")
            for kind in FOUR:
                out, volume, down = measured(kind, loud)
                lines = [volume[1:], down]
                if kind != "plain":  # it has no road
                    lines.append(measured(kind, loud, closed=True)[2])
                for ax, line in zip(row, lines, strict=False):
                    above = 3 if kind == "road" else 2  # it lies on another line in two of the pictures
                    ax.semilogy(range(1, 25), line, STROKE[kind], color=PAINT[kind], label=kind, zorder=above)
                alone = f"{lines[2][0]:19.2g}" if kind != "plain" else " " * 19
                like = torch.cosine_similarity(out[::2], out[1::2], dim=-1).mean()
                print(f"{kind:7}{volume[-1]:17.3g}  {down[0]:19.2g}  {alone[2:]}  {like:8.2f}")
            row[0].set_ylabel("loud" if loud else "quiet", fontsize=13)
        for ax, title in zip(axes[0], TITLES, strict=True):
            ax.set_title(title)
        for ax in axes[1]:
            ax.set(xlabel="block", xticks=[1, 8, 16, 24])
        for ax in axes[:, 2]:
            ax.set_ylim(1e-4, 3)
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
        plt.show()

# %% [markdown]
# Read the middle column from right to left, as the correction travels.
#
# **Quiet.** In the plain tower every block keeps all but a small share for itself, and the shares multiply: less than a
# millionth of a millionth arrives at the first block, which will learn nothing from it. Add a road, and all arrives.
# The three towers with a road lie so close together that you can hardly tell them apart. So is the norm an ornament?
#
# **Loud.** With a road and no norm every block adds as much as there is, so each one *doubles* the mean square:
# $2^{24}$ of it, $2^{12} = 4096$ times the volume, were they strangers to one another. The gradient explodes with it.
# Both norms cure that. *Post* brings the road back to 1 after each block. *Pre* lets it grow, but every block now adds
# the same amount to a road that is ever louder, so that the volume grows like a root: $\sqrt{1 + 24} = 5$.
#
# And the plain tower? A fifth of the gradient arrives! Those numbers were chosen to let it through (He et al., 2015).
# So a good start cures vanishing gradients. It does not cure everything: the towers of 34 layers at the beginning of
# this chapter had such a start. Look at the likeness, too: random inputs, which had nothing in common, leave every loud
# tower nearly alike, but for *pre*.
#
# **The column on the right** is the difference between the two schools. In pre-order the road is open: all of it
# arrives, exactly. In post-order a norm stands on it and divides by $\sqrt 2$, because a sum of two equally loud things
# is $\sqrt 2$ times as loud. 24 such norms make $2^{-12}$, which is $0.00024$. The correction does arrive, as the
# middle column says, but nearly all of it has come through *side streets*, bent by every network on its way. In
# pre-order the first block hears the last as if it were next door.
#
# ### What the norm is for
#
# Let them learn something: which of two interleaved spirals a point is on. 300 steps with Adam, at a careful rate,
# 0.001, and at a bold one, 0.01. **Which will learn at the careful rate? Which at the bold one?**


# %% tags=["demo", "hide-input"] alt="Loss against step for the towers, at the careful rate on the left and at the bold one on the right. Left, plain stays on the dotted line of a guess; road, post and pre all fall to zero. Right, post stays on the dotted line, road comes down part of the way and is restless, pre falls towards zero."
def spirals(count, random):
    """Points in the plane, and which of two spirals each is on."""
    which = torch.randint(2, (count,), generator=random)
    turn = 3.5 * torch.rand(count, generator=random).sqrt() * torch.pi
    angle = turn + torch.pi * which
    points = torch.stack([turn * angle.cos(), turn * angle.sin()], -1) / 5
    return points + 0.03 * torch.randn(count, 2, generator=random), which


def learn(kind, rate, steps=300, seed=0):
    """The losses of all steps, and the share of unseen points that is right at the end."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    enter, tower, leave = nn.Linear(2, 32), Tower(kind), nn.Linear(32, 2)
    optimiser = torch.optim.Adam([*enter.parameters(), *tower.parameters(), *leave.parameters()], lr=rate)
    losses = []
    for _ in range(steps):
        points, which = spirals(256, random)
        loss = nn.functional.cross_entropy(leave(tower(enter(points))), which)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    points, which = spirals(2000, random)
    with torch.no_grad():
        right = float((leave(tower(enter(points))).argmax(-1) == which).float().mean())
    return torch.tensor(losses), right


with interactive.once_solved("layer_norm, feed_forward and residual"):
    PLANS = {0.001: FOUR, 0.01: FOUR[1:]}  # the plain tower is not asked twice
    runs = {(kind, rate): learn(kind, rate) for rate, kinds in PLANS.items() for kind in kinds}
    again = [learn("post", 0.01, seed=seed)[1] for seed in (1, 2)]
    with plotting.house_style():
        fig, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True)
        for ax, rate in zip(axes, PLANS, strict=True):
            for kind in FOUR:
                if (kind, rate) in runs:
                    smooth = runs[kind, rate][0].unfold(0, 10, 5).mean(-1)
                    ax.plot(torch.arange(len(smooth)) * 5, smooth, STROKE[kind], color=PAINT[kind], label=kind)
            ax.axhline(torch.tensor(2.0).log(), color=INK, linestyle=":", linewidth=1)
            ax.set(xlabel="step", title=f"rate {rate}", ylim=(0, 1))
        axes[0].set_ylabel("loss")
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
        plt.show()
    print("right on unseen points")
    for kind in FOUR:
        cells = [f"rate {rate}: {runs[kind, rate][1]:6.1%}" for rate in PLANS if (kind, rate) in runs]
        print(f"{kind:8}" + "    ".join(cells))
    print("post again, from two other starts at rate 0.01: " + ", ".join(f"{right:.1%}" for right in again))

# %% [markdown]
# All are equally deep, with the same networks, the same data and the same rates. They all begin quiet. At the careful
# rate the road is all it takes: with it a tower learns, without it it tosses a coin. At the bold rate the norm shows
# what it is for, and where. *Pre* still learns. The road without norms has no fixed volume: a bold step makes some
# block loud, and all that follow hear little else. And *post* does not get away from the coin, from none of three starts:
# once its blocks speak up, a correction for the first ones comes through all the others, and a bold step has changed
# those at the same time. (Three starts are no law. Try others with `learn("post", 0.01, seed=3)`, or a rate in between.)
#
# Is post-order wrong, then? No. The Transformer of 2017 was built so, with six layers, and a learning rate that begins
# near zero and is *warmed up* (chapter 14 has the schedule). It needs the care. Pre-order forgives more, and with a
# hundred layers you want to be forgiven. Xiong et al. (2020) worked out what happens at the start: in post-order the
# gradients of the last layers are large, whatever the depth, and in pre-order they shrink with it.
#
# ## Quiz
#
# **1.** You multiply $W_2$ and $b_2$ of a sublayer by 1000, in post-order. What happens to the output, roughly? And in
# pre-order?
#
# <details><summary>Answer</summary>
#
# In post-order the sum is nearly all sublayer, and the norm brings it back to its scale: you get about
# $\mathrm{norm}(\mathrm{sublayer}(x))$, and $x$ is lost. In pre-order the output is 1000 times as large, and stays so
# on the road: everything that is added later is drowned. In both, the road is drowned out; no norm protects against one
# that shouts.
#
# </details>
#
# **2.** Why does dropout, in chapter 12, fall on what the sublayer says, and not on the road?
#
# <details><summary>Answer</summary>
#
# What is dropped on the road is gone for all layers that follow. What is dropped in a side street is one remark less.
#
# </details>
#
# **3.** Layer norm with gain 1 and bias 0, applied twice. What does the second one do? And two RMS norms?
#
# <details><summary>Answer</summary>
#
# Nothing, but for $\varepsilon$: the vector has mean 0 and variance 1 already. The same for RMS norm.
#
# </details>
#
# **4.** $d_\text{model} = 512$ and $d_\text{ff} = 2048$. How many *when you see this, say that* pairs has a
# feed-forward network, and how many numbers are in one pair?
#
# <details><summary>Answer</summary>
#
# 2048 pairs. Each has a column of $W_1$ and a row of $W_2$, 512 numbers each, and one entry of $b_1$: 1025. With $b_2$
# that makes $2048 \cdot 1025 + 512 = 2{,}099{,}712$ numbers.
#
# </details>
#
# **5. From an interview.** *"Batch norm worked so well for images. Why do Transformers use layer norm?"*
#
# <details><summary>A model answer</summary>
#
# Batch norm takes the mean and the variance of each feature *over the batch*. So the output for one example depends on
# the others, training and inference need two different formulas, with running averages kept for the second, and small
# or odd batches give noisy statistics. With sequences it gets worse: lengths differ, so padding has to be left out, and
# a model that writes one word at a time has a batch of one position.
#
# Layer norm takes both over the features of one position. It has no memory, no difference between training and
# inference, does not care for the batch or for the length, and does not leak anything from other positions, which a
# causal model could not accept.
#
# *What a weak answer says:* "Because the batch size is small." It often is not. The dependence is the trouble, not the
# size.
#
# </details>
#
# ## Summary
#
# - Layer norm brings every vector to mean 0 and variance 1 by itself: onto a sphere. The variance divides by $d$, and
#   $\varepsilon$ is inside the root. RMS norm leaves the mean.
# - The feed-forward network is a list of *when you see this, say that*, the same at each position. Without the maximum
#   it would be one matrix.
# - A residual connection adds what a sublayer says to the road. The derivative $1 + f'$ lets gradients through.
# - Without a norm a road of loud blocks grows like $2^{L/2}$; in pre-order like $\sqrt L$; in post-order not at all.
# - Post norms the road, and takes a toll of $\sqrt 2$ at every block; pre norms what the side street reads, and leaves
#   the road open. The road decides whether a deep stack learns, the place of the norm how boldly it may be taught.
#
# ## Further reading
#
# - K. He et al., "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet Classification", 2015. How
#   large the first numbers of a plain deep network have to be.
# - K. He et al., "Deep Residual Learning for Image Recognition", 2016. The residual connection, and networks of 152
#   layers.
# - J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016.
# - A. Vaswani et al., "Attention Is All You Need", 2017. The block as here, in post-order; section 3.3 has the
#   feed-forward network.
# - B. Zhang, R. Sennrich, "Root Mean Square Layer Normalization", 2019.
# - R. Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020. Why post-order needs the warm-up,
#   and pre-order does not.
# - M. Geva et al., "Transformer Feed-Forward Layers Are Key-Value Memories", 2021.
#
# **Next:** [12 · The encoder](../12_encoder/12_encoder.ipynb). Put attention and the network on one road, one behind
# the other, and stack it. How far does it see?
