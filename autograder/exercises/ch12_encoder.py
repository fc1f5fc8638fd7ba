"""Chapter 12, the encoder: layers on one road, and padding that must not be heard."""

from typing import Any

import torch
from torch import nn

from attnlab import encoder as reference
from attnlab.block import FeedForward, residual
from attnlab.masks import causal_mask, padding_mask
from attnlab.multi_head import MultiHeadAttention
from attnlab.norms import LayerNorm
from autograder import expect
from autograder.exercise import Exercise

WHOLE_LAYERS = (
    "torch.nn.TransformerEncoderLayer",
    "torch.nn.TransformerEncoder",
    "torch.nn.Transformer",
    "attnlab.encoder.EncoderLayer",
    "attnlab.encoder.Encoder",
)
B, T, D_MODEL, H, D_FF = 3, 7, 10, 2, 13  # d_model is H times 5; all others are primes
SIZES = (D_MODEL, H, D_FF)
MANY = 240  # so many sequences of one position: what may be dropped is sometimes kept


def _normal(rng, *shape, dtype=torch.float32):
    return torch.tensor(rng.normal(size=shape), dtype=dtype)


def _weights(module, rng):
    """Numbers far from a module's start, where biases of 0 and gains of 1 would hide a swap."""
    found = {}
    for name, parameter in module.named_parameters():
        fresh = _normal(rng, *parameter.shape)
        found[name] = 1 + 0.3 * fresh if "norm" in name and name.endswith("weight") else 0.5 * fresh
    return found


def _quiet(module):
    """The handle of a module, in evaluation mode."""
    module.eval()
    return module


def _listed(shapes):
    return ", ".join(f"`{name}` {shape}" for name, shape in shapes.items()) or "no parameters"


def _has_the_parts(ours, module, cause):
    """The names and shapes of all parameters."""
    wanted = {name: tuple(value.shape) for name, value in ours.named_parameters()}
    found = {name: tuple(value.shape) for name, value in module.parameters().items()}
    lacking = {name: shape for name, shape in wanted.items() if found.get(name) != shape}
    extra = {name: shape for name, shape in found.items() if name not in wanted}
    expect.true(
        not lacking, f"Of the parameters, these are missing or of another shape: {_listed(_few(lacking))}.", cause
    )
    expect.true(not extra, f"Your module has parameters that nobody asked for: {_listed(_few(extra))}.", cause)


def _few(shapes, most=3):
    return dict(list(shapes.items())[:most])


def _gradients(names, found, wanted):
    for name, gradient, right in zip(names, found, wanted, strict=True):
        expect.true(
            gradient is not None,
            f"No gradient reaches `{name}`: it would never learn.",
            "Was something detached, turned into NumPy, or not used at all?",
        )
        expect.close(gradient, right, f"This is the gradient of `{name}`. Is all of the way there PyTorch?", 2e-3)


def _wide(rng, *shape, dtype=torch.float32):
    """A view with gaps, whose axes lie in another order in memory."""
    x = _normal(rng, *shape[:-2], shape[-1], shape[-2], 2, dtype=dtype)
    return x[..., 0].mT


def _trained_alike(student, module, make, ours, x, g):
    """Gradients of everything, and a state dict that carries all that the answer depends on."""
    leaf = x.clone().requires_grad_()
    names = [name for name, _ in ours.named_parameters()]
    value = ours(leaf)
    wanted = torch.autograd.grad((value * g).sum(), [leaf, *ours.parameters()])
    came = module.gradients(x, cotangent=g)
    expect.close(came.value, value, "Is it the answer that you give without gradients, too?")
    _gradients(["x", *names], [*came.inputs, *(came.parameters.get(name) for name in names)], wanted)
    other = _quiet(make())
    other.load_state_dict(module.state_dict())
    expect.close(other(x), value, "Is there something that the answer depends on and the state_dict does not hold?")


# ------------------------------------------------------------------------------------------------------ EncoderLayer

EncoderLayer = Exercise(
    "EncoderLayer", chapter=12, reference=reference.EncoderLayer, minutes=25, difficulty=2, forbidden=WHOLE_LAYERS
)


def _options(order, dropout):
    """What a module is made with besides its sizes. Without an order it takes its default."""
    return {"dropout": dropout} | ({"order": order} if order else {})


def _said(order):
    return f'order="{order}"' if order else '`order` was left out, so it is "post"'


def _layers(student, rng, order, dropout=0.0):
    """A layer of the student's and the reference, with the same weights."""
    ours = reference.EncoderLayer(*SIZES, **_options(order, dropout)).eval()
    weights = _weights(ours, rng)
    ours.load_state_dict(weights)
    module = _quiet(student.EncoderLayer(*SIZES, **_options(order, dropout)))
    module.load(weights)
    return module, ours


@EncoderLayer.check(points=1)
def test_the_layer_has_four_parts(student, rng):
    """Its parameters are those of `self_attention`, `feed_forward`, `norm_1` and `norm_2`, and no others."""
    for order in ("post", "pre"):
        module = student.EncoderLayer(*SIZES, dropout=0.0, order=order)
        _has_the_parts(
            reference.EncoderLayer(*SIZES, order=order),
            module,
            "Are there four modules under exactly these names, made in `__init__`?",
        )


@EncoderLayer.check(points=2)
def test_a_layer_of_the_paper(student, rng):
    """`order="post"`, which is the default: x becomes norm_1(x + attention), and that becomes norm_2(itself +
    feed-forward)."""
    x = _normal(rng, B, T, D_MODEL)
    for order in ("post", None):
        module, ours = _layers(student, rng, order)
        want = ours(x)
        expect.close(module(x), want, f"{_said(order)}: what does each half add to, and which norm follows it?")


@EncoderLayer.check(points=2)
def test_a_layer_as_built_today(student, rng):
    """`order="pre"`: attention and feed-forward each read a normed copy, and are added to the road itself."""
    x = _normal(rng, B, T, D_MODEL)
    module, ours = _layers(student, rng, "pre")
    want = ours(x)
    expect.close(module(x), want, "Is the sum taken over the normed copy, or over what came in?")


@EncoderLayer.check(points=2)
def test_the_layer_hands_its_mask_on(student, rng):
    """A mask, True = may attend, reaches the attention: padding, causal, or one for each sequence. A call without one
    hides nothing, whatever an earlier one was told."""
    x = _normal(rng, B, T, D_MODEL)
    masks = [
        (padding_mask(torch.tensor([T, 2, 5]), T), "This one hides padding, (B, 1, 1, T)."),
        (causal_mask(T, like=x), "This one is causal, (T, T)."),
        (torch.tensor(rng.random((B, 1, T, T)) < 0.6), "This one is drawn by chance, (B, 1, T, T)."),
    ]
    module, ours = _layers(student, rng, "post")
    wants = [ours(x, mask) for mask, _ in masks]
    for (mask, kind), want in zip(masks, wants, strict=True):
        expect.close(module(x, mask), want, f"{kind} Does it arrive at the attention as it is?")
    want = ours(x)
    expect.close(module(x), want, "This call has no mask. Does the layer keep the one of an earlier call?")


@EncoderLayer.check(points=1)
def test_dropout_falls_on_what_each_half_adds(student, rng):
    """With a dropout of 1, in training, both halves add nothing; in evaluation, nothing is ever dropped."""
    x = _normal(rng, B, T, D_MODEL)
    for order in ("pre", "post"):
        module, ours = _layers(student, rng, order, dropout=1.0)
        want = ours(x)
        alone = x if order == "pre" else ours.norm_2(ours.norm_1(x))
        module.train()
        expect.close(module(x), alone, f'order="{order}": is dropout the last thing before the sum, in both halves?')
        module.eval()
        expect.close(module(x), want, "This is after `.eval()`. Does an `nn.Dropout` know, kept as a part of yours?")


@EncoderLayer.check(points=1)
def test_both_parts_drop_inside(student, rng):
    """`dropout`, 0.1 where it is left out, is handed to the attention and to the feed-forward network, which drop
    inside themselves, too."""
    x = torch.zeros(MANY, 1, D_MODEL)
    for given, p in (({"dropout": 0.5}, 0.5), ({}, 0.1)):
        for part in ("self_attention", "feed_forward"):
            module = student.EncoderLayer(*SIZES, order="pre", **given)
            module.load(_says(reference.EncoderLayer(*SIZES), part))
            module.train()
            _is_dropped_twice(module(x), x, part, p, "dropout=0.5" if given else "`dropout` left out, so 0.1")


@EncoderLayer.check(points=1)
def test_the_layer_can_be_trained(student, rng):
    """Gradients reach the input and every parameter; a saved layer, loaded into a fresh one, answers alike."""
    x, g = _normal(rng, B, T, D_MODEL), _normal(rng, B, T, D_MODEL)
    for order in ("post", "pre"):
        module, ours = _layers(student, rng, order)

        def make(order=order):
            return student.EncoderLayer(*SIZES, dropout=0.0, order=order)

        _trained_alike(student, module, make, ours, x, g)


@EncoderLayer.check(points=1)
def test_the_layer_takes_every_kind_of_tensor(student, rng):
    """It takes a single position, a view with gaps, huge numbers, float64; what is passed in is the same afterwards."""
    module, ours = _layers(student, rng, "pre")
    mask = padding_mask(torch.tensor([T, 2, 5]), T)
    for x in (_normal(rng, B, 1, D_MODEL), _wide(rng, B, T, D_MODEL), 1e4 * _normal(rng, 1, T, D_MODEL)):
        want = ours(x)
        expect.close(module(x), want, "Do you count on a length, on how numbers lie in memory, on their size?")
    module.double()
    ours.double()
    x = _normal(rng, B, T, D_MODEL, dtype=torch.float64)
    want = ours(x, mask)
    expect.close(module(x, mask), want, "Does a float64 layer stay one?")
    expect.unchanged(student, "Does `x += …` write into the input? `x = x + …` does not.")


def _says(ours, part, number=1.0):
    """Weights with which this part of a layer says a number in its first feature, and nothing else is said."""
    weights = {name: torch.zeros_like(value) for name, value in ours.named_parameters()}
    first, last = ("W_1", "W_2") if part == "feed_forward" else ("W_v", "W_o")
    weights[f"{part}.{first}.bias"] += number
    weights[f"{part}.{last}.weight"][0, 0] = 1
    return weights


def _is_dropped_twice(came, x, part, p, said):
    """What a part adds to x in training is 1/(1 − p)² or 0, if it is dropped inside and before the sum.

    Of so many numbers one is kept, but for one time in 10²⁵: so the largest says by how much they grew.
    """
    most, want = float(torch.as_tensor(expect.is_array(came, tuple(x.shape))).max()), 1 / (1 - p) ** 2
    expect.true(
        abs(most - want) < 1e-3,
        f"In training, with {said}, a `{part}` that says 1 adds {most:.4g} where it is kept. Dropped inside and before "
        f"the sum, what is kept grows twice by 1/(1 − {p}), to {want:.4g}.",
        "Was `dropout` handed on when the part was made, and is its default the one of the signature?",
    )


class _Layer(nn.Module):
    """The reference in pieces, which a wrong answer can replace one by one."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__()
        self.order = order
        self.self_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.norm_1, self.norm_2 = LayerNorm(d_model), LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def attend(self, x, mask):
        return self.dropout(self.self_attention(x, x, x, mask))

    def think(self, x):
        return self.dropout(self.feed_forward(x))

    def add(self, x, sublayer, norm):
        return residual(x, sublayer, norm, self.order)

    def forward(self, x, mask=None):
        x = self.add(x, lambda x: self.attend(x, mask), self.norm_1)
        return self.add(x, self.think, self.norm_2)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerWithoutResiduals(_Layer):
    """Both residual connections are missing: each half *replaces* what came in. Then a layer can only keep what it
    manages to say again, and gradients have no open way back. Add: `x + sublayer(x)`."""

    def add(self, x, sublayer, norm):
        return norm(sublayer(x)) if self.order == "post" else sublayer(norm(x))


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerWithoutResidualRoundAttention(_Layer):
    """The residual connection round the *attention* is missing. A word's own vector is lost there, unless attention
    happens to bring it back: `x + attention`."""

    def forward(self, x, mask=None):
        attended = self.norm_1(self.attend(x, mask)) if self.order == "post" else self.attend(self.norm_1(x), mask)
        return self.add(attended, self.think, self.norm_2)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerWithoutResidualRoundFeedForward(_Layer):
    """The residual connection round the *feed-forward network* is missing: what attention gathered is replaced, not
    added to. The second half adds as the first does."""

    def forward(self, x, mask=None):
        x = self.add(x, lambda x: self.attend(x, mask), self.norm_1)
        return self.norm_2(self.think(x)) if self.order == "post" else self.think(self.norm_2(x))


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerThatReturnsItsAttention(_Layer):
    """This returns the attention's output alone. A layer has two halves: what attention gathered is added to x, and
    then the feed-forward network works on the sum."""

    def forward(self, x, mask=None):
        return self.attend(x, mask)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerOfOneHalf(_Layer):
    """The second half is missing: there is attention with its residual connection and its norm, and no feed-forward
    network after it."""

    def forward(self, x, mask=None):
        return self.add(x, lambda x: self.attend(x, mask), self.norm_1)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerOfTheOtherHalf(_Layer):
    """There is no attention in this layer: only the feed-forward half is left, in which no position learns anything of
    any other."""

    def forward(self, x, mask=None):
        return self.add(x, self.think, self.norm_2)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerWithReluInItsAttention(_Layer):
    """A ReLU is applied to what the attention brings. The ReLU belongs *inside* the feed-forward network, between
    its two matrices; here it cuts off every negative entry of what was gathered."""

    def attend(self, x, mask):
        return torch.relu(super().attend(x, mask))


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerWithReluAtItsEnd(_Layer):
    """A second ReLU stands behind the feed-forward network, so that it can only add, never take away. The network ends
    in a matrix."""

    def think(self, x):
        return torch.relu(super().think(x))


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerThatThinksFirst(_Layer):
    """The feed-forward network comes first and attention second. First gather, then think: attention is the first
    half."""

    def forward(self, x, mask=None):
        x = self.add(x, self.think, self.norm_1)
        return self.add(x, lambda x: self.attend(x, mask), self.norm_2)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerThatThinksFirstWithItsOwnNorm(_Layer):
    """Each half has its own norm, but they come in the wrong order: the feed-forward network first, then attention.
    First gather, then think."""

    def forward(self, x, mask=None):
        x = self.add(x, self.think, self.norm_2)
        return self.add(x, lambda x: self.attend(x, mask), self.norm_1)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerThatDoesBothAtOnce(_Layer):
    """Both halves read the same x, side by side, and both are added. There are models built like that; here the
    feed-forward network reads what is there *after* attention was added."""

    def forward(self, x, mask=None):
        if self.order == "pre":
            return x + self.attend(self.norm_1(x), mask) + self.think(self.norm_2(x))
        return self.norm_2(self.norm_1(x + self.attend(x, mask) + self.think(x)))


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerThatGoesBackToItsInput(_Layer):
    """The second residual connection adds to the *input of the layer* again, past the first half, so that what
    attention gathered reaches the output through the feed-forward network alone. Go on with what the first half
    returned."""

    def forward(self, x, mask=None):
        attended = self.add(x, lambda x: self.attend(x, mask), self.norm_1)
        if self.order == "pre":
            return x + self.think(self.norm_2(attended))
        return self.norm_2(x + self.think(attended))


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerAlwaysPre(_Layer):
    """The norms stand before the halves whatever `order` says. With `order="post"` the norm comes after the sum:
    `norm(x + sublayer(x))`."""

    def add(self, x, sublayer, norm):
        return x + sublayer(norm(x))


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerPreUnlessTold(_Layer):
    """Where nobody says `order`, the norms stand before the halves. That is how layers are built today; the signature
    here promises the paper's, `order="post"`, and who leaves an argument out relies on its default."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="pre"):
        super().__init__(d_model, num_heads, d_ff, dropout, order)


@EncoderLayer.misconception(caught_by=test_a_layer_as_built_today)
class LayerThatAttendsUnnormed(_Layer):
    """In pre-order the attention reads the road itself, and `norm_1` is never used. Was it asked about `x, x, x` in a
    `lambda y: …`? What it is given as y is the normed copy: ask about that."""

    def forward(self, x, mask=None):
        attended = x + self.attend(x, mask) if self.order == "pre" else self.norm_1(x + self.attend(x, mask))
        return self.add(attended, self.think, self.norm_2)


@EncoderLayer.misconception(caught_by=test_a_layer_as_built_today)
class LayerThatReadsTheRoadItself(_Layer):
    """In pre-order both halves read the road itself: the normed copies are made, and not used. Does a `lambda y: …` ask
    about x? What it is given as y is the normed copy."""

    def add(self, x, sublayer, norm):
        return x + sublayer(x) if self.order == "pre" else norm(x + sublayer(x))


@EncoderLayer.misconception(caught_by=test_a_layer_as_built_today)
class LayerThatThinksUnnormed(_Layer):
    """In pre-order the attention reads a normed copy and the feed-forward network the road itself: `norm_2` is never
    used. *Each* half reads a normed copy."""

    def forward(self, x, mask=None):
        x = self.add(x, lambda x: self.attend(x, mask), self.norm_1)
        return x + self.think(x) if self.order == "pre" else self.add(x, self.think, self.norm_2)


@EncoderLayer.misconception(caught_by=test_a_layer_as_built_today)
class LayerWithOneMoreNorm(_Layer):
    """In pre-order there is one more norm, behind the last sum. A layer leaves the road open; the norm behind the last
    layer is the stack's."""

    def forward(self, x, mask=None):
        x = super().forward(x, mask)
        return self.norm_2(x) if self.order == "pre" else x


@EncoderLayer.misconception(caught_by=test_a_layer_as_built_today)
class LayerAlwaysPost(_Layer):
    """The norms stand after the sums whatever `order` says. With `order="pre"` each half reads a normed copy and
    nothing norms the sum: `x + sublayer(norm(x))`."""

    def add(self, x, sublayer, norm):
        return norm(x + sublayer(x))


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerWithOrdersExchanged(_Layer):
    """The two orders are exchanged. *Post*: the norm comes after the sum, `norm(x + sublayer(x))`. *Pre*: it comes
    before the sublayer, `x + sublayer(norm(x))`."""

    def add(self, x, sublayer, norm):
        return residual(x, sublayer, norm, "pre" if self.order == "post" else "post")


@EncoderLayer.misconception(caught_by=test_a_layer_as_built_today)
class LayerThatAddsToTheNormedCopy(_Layer):
    """In pre-order x was *replaced* by its normed copy, and the sublayer was added to that. The road has to stay
    open: the sum is over what came in, `x + sublayer(norm(x))`, and only the sublayer reads the copy."""

    def add(self, x, sublayer, norm):
        if self.order == "post":
            return super().add(x, sublayer, norm)
        x = norm(x)
        return x + sublayer(x)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerThatNormsWhatItAdds(_Layer):
    """The norm was put on what the sublayer says, `x + norm(sublayer(x))`. After the paper it is put on the *sum*,
    and in pre-order on what the sublayer reads."""

    def add(self, x, sublayer, norm):
        return x + norm(sublayer(x))


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerWithoutNorms(_Layer):
    """The norms are never applied. Sums of sums grow from layer to layer, and with them the scores of the attention."""

    def add(self, x, sublayer, norm):
        return x + sublayer(x)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerNormedOnBothSides(_Layer):
    """Each half is normed twice, before the sublayer and after the sum. One norm a half: which side it stands on is
    what `order` says."""

    def add(self, x, sublayer, norm):
        return norm(x + sublayer(norm(x)))


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerWithNormsExchanged(_Layer):
    """The norms are exchanged: `norm_1` belongs to the attention, `norm_2` to the feed-forward network. While both are
    fresh nobody notices; with loaded weights everybody does."""

    def forward(self, x, mask=None):
        x = self.add(x, lambda x: self.attend(x, mask), self.norm_2)
        return self.add(x, self.think, self.norm_1)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerThatUsesOneNormTwice(_Layer):
    """`norm_1` serves both halves, and `norm_2` is never used. Each half has its own scale to learn."""

    def forward(self, x, mask=None):
        x = self.add(x, lambda x: self.attend(x, mask), self.norm_1)
        return self.add(x, self.think, self.norm_1)


@EncoderLayer.misconception(caught_by=test_the_layer_has_four_parts)
class LayerWithOneNorm(_Layer):
    """One norm does for both halves, so `norm_2` is missing. Each half has its own scale to learn: two norms."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.norm_2 = self.norm_1


@EncoderLayer.misconception(caught_by=test_the_layer_has_four_parts)
class LayerWithPyTorchsNames(_Layer):
    """The parts have PyTorch's names, `self_attn`, `linear1`, `norm1` and so on. They do the same, but weights are
    loaded by name: here the parts are called `self_attention`, `feed_forward`, `norm_1` and `norm_2`."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.self_attn, self.norm1, self.norm2 = self.self_attention, self.norm_1, self.norm_2
        del self.self_attention, self.norm_1, self.norm_2

    def forward(self, x, mask=None):
        x = self.add(x, lambda x: self.dropout(self.self_attn(x, x, x, mask)), self.norm1)
        return self.add(x, self.think, self.norm2)


@EncoderLayer.misconception(caught_by=test_the_layer_has_four_parts)
class LayerWithPartsInAList(_Layer):
    """The parts stand in a plain list. A module looks for its parts among its attributes, not in lists: no optimiser
    would find these, no `.to(device)` would move them. Keep them as attributes."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.parts = [self.self_attention, self.feed_forward, self.norm_1, self.norm_2]
        del self.self_attention, self.feed_forward, self.norm_1, self.norm_2

    def forward(self, x, mask=None):
        attention, feed_forward, norm_1, norm_2 = self.parts
        x = self.add(x, lambda x: self.dropout(attention(x, x, x, mask)), norm_1)
        return self.add(x, lambda x: self.dropout(feed_forward(x)), norm_2)


@EncoderLayer.misconception(caught_by=test_the_layer_has_four_parts)
class LayerWithAHiddenWidthOfFour(_Layer):
    """The feed-forward network is four times as wide as the model, whatever `d_ff` says. Four times is the habit; the
    argument decides."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(d_model, num_heads, 4 * d_model, dropout, order)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerOfOneHead(_Layer):
    """`num_heads` never reached the attention, which has a single head. The parameters are the same ones, so only the
    numbers tell."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(d_model, 1, d_ff, dropout, order)


@EncoderLayer.misconception(caught_by=test_the_layer_hands_its_mask_on)
class LayerThatDropsItsMask(_Layer):
    """The mask is taken and never handed on: every position looks at padding as at anything else. Nothing fails,
    and the answers depend on how long the neighbours in the batch are."""

    def attend(self, x, mask):
        return super().attend(x, None)


@EncoderLayer.misconception(caught_by=test_the_layer_hands_its_mask_on)
class LayerThatRemembersItsMask(_Layer):
    """A mask is kept in the module, and used again where the next call brings none. Each call stands for itself: hand
    on the mask that came with it, `None` too."""

    kept = None

    def attend(self, x, mask):
        self.kept = self.kept if mask is None else mask
        return super().attend(x, self.kept)


@EncoderLayer.misconception(caught_by=test_the_layer_hands_its_mask_on)
class LayerWithTheMaskTurnedRound(_Layer):
    """The mask was turned round. Here True means *may attend*; it is PyTorch's own modules in which True hides."""

    def attend(self, x, mask):
        return super().attend(x, None if mask is None else ~mask)


@EncoderLayer.misconception(caught_by=test_the_layer_hands_its_mask_on)
class LayerThatErasesPadding(_Layer):
    """The mask was used to set vectors to zero, not to forbid looks. A padded position of zeros still has a key,
    the bias of W_k, and takes its share of every softmax. Hand the mask to the attention."""

    def forward(self, x, mask=None):
        if mask is None:
            return super().forward(x)
        seen = mask.reshape(-1, *mask.shape[-2:]).any(-2)  # (B or 1, T)
        return super().forward(x * seen[..., None].to(x.dtype))


@EncoderLayer.misconception(caught_by=test_the_layer_hands_its_mask_on)
class LayerThatMasksTheQueries(_Layer):
    """The mask's last two axes were exchanged: it hides *who asks* and not what is looked at, so real words look at
    padding as before."""

    def attend(self, x, mask):
        if mask is not None:
            mask = mask.expand(*mask.shape[:-2], x.shape[1], x.shape[1]).mT
        return super().attend(x, mask)


@EncoderLayer.misconception(caught_by=test_the_layer_hands_its_mask_on)
class LayerThatOnlyLooksBack(_Layer):
    """A causal mask is put on top of the one that was passed in. An encoder has the whole text before it and reads
    it in both directions; only the mask that is passed in forbids anything."""

    def attend(self, x, mask):
        past = causal_mask(x.shape[1], like=x)
        return super().attend(x, None if mask is None else mask & past)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerWithTheBatchSecond(_Layer):
    """Batch and positions were exchanged, as in PyTorch's modules without `batch_first=True`: the first word of one
    sentence looked at the first words of the others. Here x is (B, T, d_model)."""

    def attend(self, x, mask):
        y = x.transpose(0, 1)
        return self.dropout(self.self_attention(y, y, y)).transpose(0, 1)


@EncoderLayer.misconception(caught_by=test_a_layer_as_built_today)
class LayerThatNormsItsQueriesOnly(_Layer):
    """In pre-order only the queries read the normed copy; keys and values were taken from the road. All three are views
    of the same normed copy: `y = norm(x)`, then `self_attention(y, y, y, mask)`."""

    def forward(self, x, mask=None):
        if self.order == "post":
            return super().forward(x, mask)
        x = x + self.dropout(self.self_attention(self.norm_1(x), x, x, mask))
        return self.add(x, self.think, self.norm_2)


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerThatHalvesItsSums(_Layer):
    """The sums were halved, as if a mean were meant. The residual connection is a plain sum."""

    def add(self, x, sublayer, norm):
        if self.order == "post":
            return norm((x + sublayer(x)) / 2) / 2
        return (x + sublayer(norm(x))) / 2


@EncoderLayer.misconception(caught_by=test_a_layer_of_the_paper)
class LayerThatReturnsItsWeightsToo(_Layer):
    """It returns a pair. A layer returns one tensor, of the shape it was given, so that the next layer can take it."""

    def forward(self, x, mask=None):
        return super().forward(x, mask), self.self_attention.weights(x, x, mask)


@EncoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_half_adds)
class LayerWithoutDropout(_Layer):
    """What the halves add is never dropped. Put dropout on each sublayer's output, before the sum; what the
    attention and the feed-forward network drop inside themselves comes on top."""

    def attend(self, x, mask):
        return self.self_attention(x, x, x, mask)

    def think(self, x):
        return self.feed_forward(x)


@EncoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_half_adds)
class LayerWithoutDropoutOnItsAttention(_Layer):
    """What the *attention* adds is never dropped; what the feed-forward network adds is. Both halves: dropout is the
    last thing before either sum."""

    def attend(self, x, mask):
        return self.self_attention(x, x, x, mask)


@EncoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_half_adds)
class LayerWithoutDropoutOnItsThoughts(_Layer):
    """What the *feed-forward network* adds is never dropped; what the attention adds is. Its own dropout falls on the
    hidden numbers, between its matrices; one more belongs behind it."""

    def think(self, x):
        return self.feed_forward(x)


@EncoderLayer.misconception(caught_by=test_both_parts_drop_inside)
class LayerWhoseAttentionDropsNothing(_Layer):
    """`dropout` was not handed to the attention, so none of its weights is ever dropped in training:
    `MultiHeadAttention(d_model, num_heads, dropout)`."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(d_model, num_heads, d_ff, dropout, order)
        self.self_attention = MultiHeadAttention(d_model, num_heads)


@EncoderLayer.misconception(caught_by=test_both_parts_drop_inside)
class LayerWhoseFeedForwardDropsNothing(_Layer):
    """`dropout` was not handed to the feed-forward network, so none of its hidden numbers is ever dropped in training:
    `FeedForward(d_model, d_ff, dropout)`."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(d_model, num_heads, d_ff, dropout, order)
        self.feed_forward = FeedForward(d_model, d_ff)


@EncoderLayer.misconception(caught_by=test_both_parts_drop_inside)
class LayerWhosePartsDropNothing(_Layer):
    """`dropout` was handed to neither part. It falls on what the halves add, and nothing is dropped inside them:
    hand it to `MultiHeadAttention` and to `FeedForward`."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(d_model, num_heads, d_ff, dropout, order)
        self.self_attention = MultiHeadAttention(d_model, num_heads)
        self.feed_forward = FeedForward(d_model, d_ff)


@EncoderLayer.misconception(caught_by=test_both_parts_drop_inside)
class LayerThatDropsNothingUnlessTold(_Layer):
    """Where nobody says `dropout`, nothing is dropped. The signature promises 0.1, and who leaves an argument out
    relies on its default."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.0, order="post"):
        super().__init__(d_model, num_heads, d_ff, dropout, order)


@EncoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_half_adds)
class LayerThatAlwaysDrops(_Layer):
    """Dropout is at work in evaluation, too: `F.dropout` drops unless it is told `training=self.training`. Keep an
    `nn.Dropout` as a part, which knows the mode."""

    def attend(self, x, mask):
        return nn.functional.dropout(super().attend(x, mask), self.dropout.p)

    def think(self, x):
        return nn.functional.dropout(super().think(x), self.dropout.p)


@EncoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_half_adds)
class LayerThatDropsTheRoad(_Layer):
    """Dropout falls on the *sum*, the road itself, and not on what is added to it. What is dropped there is gone
    for all layers that follow. Drop before the sum: `x + dropout(sublayer(x))`."""

    def attend(self, x, mask):
        return self.self_attention(x, x, x, mask)

    def think(self, x):
        return self.feed_forward(x)

    def add(self, x, sublayer, norm):
        if self.order == "post":
            return norm(self.dropout(x + sublayer(x)))
        return self.dropout(x + sublayer(norm(x)))


@EncoderLayer.misconception(caught_by=test_the_layer_can_be_trained)
class LayerWithoutGradient(_Layer):
    """The numbers are right, but a `detach()` (or `torch.no_grad()`, or NumPy) cuts the way back: the attention never
    learns."""

    def attend(self, x, mask):
        return super().attend(x, mask).detach()


@EncoderLayer.misconception(caught_by=test_the_layer_takes_every_kind_of_tensor)
class LayerThatEditsItsInput(_Layer):
    """The answer is right, but the caller's x is changed: `x += …` writes into the tensor that was passed in. Write
    `x = x + …`."""

    def forward(self, x, mask=None):
        out = super().forward(x, mask)
        if not x.requires_grad:
            with torch.no_grad():
                x += 1
        return out


@EncoderLayer.alternative
class LayerWrittenOut(nn.Module):
    """No helper functions, PyTorch's own norm, the two orders side by side."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post", **unused):
        super().__init__()
        self.pre = order == "pre"
        self.norm_1, self.norm_2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.self_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.drop_1, self.drop_2 = nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, x, mask=None):
        if self.pre:
            y = self.norm_1(x)
            x = x + self.drop_1(self.self_attention(y, y, y, mask=mask))
            return x + self.drop_2(self.feed_forward(self.norm_2(x)))
        x = self.norm_1(x + self.drop_1(self.self_attention(x, x, x, mask=mask)))
        return self.norm_2(x + self.drop_2(self.feed_forward(x)))


@EncoderLayer.alternative
class LayerOfSmallerParts(nn.Module):
    """The feed-forward network is a container with the asked-for names, the dropout a function that is told the
    mode."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__()
        self.order, self.p = order, dropout
        self.self_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.feed_forward = nn.ModuleDict({"W_1": nn.Linear(d_model, d_ff), "W_2": nn.Linear(d_ff, d_model)})
        self.norm_1, self.norm_2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)

    def forward(self, x, mask=None):
        halves = [
            (self.norm_1, lambda y: self.self_attention(y, y, y, mask)),
            (self.norm_2, lambda y: self.feed_forward["W_2"](self.drop(self.feed_forward["W_1"](y).relu()))),
        ]
        for norm, sublayer in halves:
            x = x + self.drop(sublayer(norm(x) if self.order == "pre" else x))
            x = norm(x) if self.order == "post" else x
        return x

    def drop(self, y):
        return nn.functional.dropout(y, self.p, self.training)


# ----------------------------------------------------------------------------------------------------------- Encoder

Encoder = Exercise("Encoder", chapter=12, reference=reference.Encoder, minutes=15, difficulty=2, forbidden=WHOLE_LAYERS)
LAYERS = 3


def _encoders(student, rng, order, layers=LAYERS, dropout=0.0):
    """An encoder of the student's and the reference, with the same weights."""
    ours = reference.Encoder(layers, *SIZES, **_options(order, dropout)).eval()
    weights = _weights(ours, rng)
    ours.load_state_dict(weights)
    module = _quiet(student.Encoder(layers, *SIZES, **_options(order, dropout)))
    module.load(weights)
    return module, ours


@Encoder.check(points=1)
def test_the_encoder_has_layers_and_a_norm(student, rng):
    """Its parts are `layers.0`, `layers.1`, … with weights of their own, and one `norm`."""
    for layers in (LAYERS, 1):
        ours = reference.Encoder(layers, *SIZES)
        _has_the_parts(
            ours,
            student.Encoder(layers, *SIZES, dropout=0.0, order="pre"),
            "An `nn.ModuleList` called `layers`, each made anew, and a LayerNorm called `norm`?",
        )


@Encoder.check(points=2)
def test_each_layer_reads_what_the_last_one_wrote(student, rng):
    """The layers follow one another in their order, and a last norm brings the sum to one scale. Where no `order` is
    named, the layers are those of the paper, `"post"`."""
    x = _normal(rng, B, T, D_MODEL)
    for order in ("pre", "post", None):
        module, ours = _encoders(student, rng, order)
        want = ours(x)
        expect.close(module(x), want, f"{_said(order)}: which layer comes when, and what comes after the last?")


@Encoder.check(points=1)
def test_without_layers_the_norm_is_left(student, rng):
    """An encoder of no layers norms its input, and does nothing else."""
    x = _normal(rng, B, T, D_MODEL)
    for order in ("pre", "post"):
        module, ours = _encoders(student, rng, order, layers=0)
        want = ours(x)
        expect.close(module(x), want, "With `num_layers=0` the loop runs not once. What is left of `forward`?")


@Encoder.check(points=2)
def test_padding_is_heard_by_no_layer(student, rng):
    """The mask reaches every layer: whatever stands in the padding, no real position answers otherwise."""
    lengths = torch.tensor([T, 2, 5])
    mask = padding_mask(lengths, T)
    x = _normal(rng, B, T, D_MODEL)
    real = (torch.arange(T) < lengths[:, None])[..., None].float()
    noisy = x + 100 * _normal(rng, B, T, D_MODEL) * (1 - real)
    module, ours = _encoders(student, rng, "pre")
    want = ours(x, mask) * real
    for given in (x, noisy):
        came = expect.is_array(module(given, mask), (B, T, D_MODEL))
        expect.close(torch.as_tensor(came) * real, want, "Does every layer get the mask, the later ones too?")


@Encoder.check(points=1)
def test_the_encoder_hands_its_options_on(student, rng):
    """Dropout and order are handed to every layer: with a dropout of 1, in training, only the norms are left. Where no
    `dropout` is named, it is 0.1."""
    x = _normal(rng, B, T, D_MODEL)
    for order in ("pre", "post"):
        module, ours = _encoders(student, rng, order, dropout=1.0)
        alone, quiet = x, ours(x)
        if order == "post":
            for layer in ours.layers:
                alone = layer.norm_2(layer.norm_1(alone))
        alone = ours.norm(alone)
        module.train()
        expect.close(module(x), alone, "Does each layer get the `dropout` that the encoder was given?")
        module.eval()
        expect.close(module(x), quiet, "This is after `.eval()`: does the mode reach every layer?")
    ours = reference.Encoder(1, *SIZES, order="pre")
    module = student.Encoder(1, *SIZES, order="pre")
    quiet = _says(ours.layers[0], "feed_forward", 0.01)  # so little that the last norm does not bring it back to one
    module.load({f"layers.0.{name}": value for name, value in quiet.items()})
    module.train()
    x = torch.zeros(MANY, 1, D_MODEL)
    most = float(torch.as_tensor(expect.is_array(module(x), tuple(x.shape))).max())
    x[0, 0, 0] = 0.01 / 0.9**2
    want = float(ours.norm(x[0, 0])[0])
    expect.true(
        abs(most - want) < 1e-3,
        f"Made without `dropout`, and in training, it makes {most:.4g} of a number that is kept; {want:.4g} is due "
        f"where a layer drops a tenth inside, and a tenth of what it adds.",
        "Is 0.1 the default of `dropout`, and is it handed to every layer?",
    )


@Encoder.check(points=1)
def test_the_encoder_can_be_trained(student, rng):
    """Gradients reach the input and every parameter of every layer; a saved encoder can be loaded; x stays as it is."""
    x, g = _normal(rng, B, T, D_MODEL), _normal(rng, B, T, D_MODEL)
    module, ours = _encoders(student, rng, "pre", layers=2)
    _trained_alike(student, module, lambda: student.Encoder(2, *SIZES, dropout=0.0, order="pre"), ours, x, g)
    expect.unchanged(student, "Does `x += …` write into the input? `x = x + …` does not.")


class _Stack(nn.Module):
    """The reference in pieces, which a wrong answer can replace one by one."""

    layers: Any
    norm: nn.Module

    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__()
        made = [_Layer(d_model, num_heads, d_ff, dropout, order) for _ in range(num_layers)]
        self.layers = nn.ModuleList(made)
        self.norm = LayerNorm(d_model)

    def forward(self, x, mask=None):
        return self.norm(self.through(x, mask))

    def through(self, x, mask):
        for layer in self.layers:
            x = layer(x, mask)
        return x


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderWithoutItsNorm(_Stack):
    """The final norm is there and never used. In pre-order nothing else norms the sum that the layers have piled up: it
    leaves the stack larger than it came in, the more so the deeper the stack."""

    def forward(self, x, mask=None):
        return self.through(x, mask)


@Encoder.misconception(caught_by=test_the_encoder_has_layers_and_a_norm)
class EncoderWithNoNorm(_Stack):
    """The final norm is missing. In pre-order nothing else norms the sum that the layers have piled up. Make one more
    LayerNorm, `self.norm`, and return `self.norm(x)`."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.norm = nn.Identity()


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderThatNormsFirst(_Stack):
    """The norm stands before the first layer. It belongs behind the last, where the sum of all layers is."""

    def forward(self, x, mask=None):
        return self.through(self.norm(x), mask)


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderThatNormsEachTime(_Stack):
    """The final norm is applied after *every* layer. It is the last thing, once: between layers the road stays open."""

    def through(self, x, mask):
        for layer in self.layers:
            x = self.norm(layer(x, mask))
        return x


@Encoder.misconception(caught_by=test_without_layers_the_norm_is_left)
class EncoderThatNormsOnlyInPre(_Stack):
    """The final norm is applied with `order="pre"` only. In post-order it is not needed, as the paper shows; the stack
    here has it in both, as PyTorch's has, so that its parts do not depend on an option."""

    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(num_layers, d_model, num_heads, d_ff, dropout, order)
        self.order = order

    def forward(self, x, mask=None):
        x = self.through(x, mask)
        return self.norm(x) if self.order == "pre" else x


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderThatNormsBetweenItsLayers(_Stack):
    """The norm is applied after *every* layer, and not at the end. It comes once, behind the loop: between layers the
    road stays open, and without layers there is still one norm."""

    def forward(self, x, mask=None):
        for layer in self.layers:
            x = self.norm(layer(x, mask))
        return x


@Encoder.misconception(caught_by=test_without_layers_the_norm_is_left)
class EncoderWithTheNormInItsLoop(_Stack):
    """`return self.norm(x)` (or the norm of each layer's answer) stands inside the loop, so an encoder without layers
    norms nothing, and one with several stops after the first."""

    def forward(self, x, mask=None):
        for layer in self.layers:
            return self.norm(layer(x, mask))
        return x


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderInReverse(_Stack):
    """The layers run from the last to the first. `layers.0` is the one that reads the words."""

    def through(self, x, mask):
        for layer in reversed(self.layers):
            x = layer(x, mask)
        return x


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderSideBySide(_Stack):
    """Every layer reads the *input*, and only the last one's answer is kept: `out = layer(x)` in a loop that never
    hands `out` on. Write `x = layer(x, mask)`."""

    def through(self, x, mask):
        out = x
        for layer in self.layers:
            out = layer(x, mask)
        return out


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderThatSums(_Stack):
    """The answers of all layers were added up. The residual connections within the layers do the adding; the stack
    hands each answer on."""

    def through(self, x, mask):
        total = 0 * x
        for layer in self.layers:
            x = layer(x, mask)
            total = total + x
        return total if len(self.layers) else x


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderWithAResidualRoundAll(_Stack):
    """The input is added once more round the whole stack. The residual connections are within the layers; there is none
    round them all."""

    def through(self, x, mask):
        return super().through(x, mask) + x if len(self.layers) else x


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderWithAResidualRoundEach(_Stack):
    """The input of each layer is added to its answer once more: `x + layer(x)`. A layer has its residual connections
    inside: `x = layer(x, mask)`."""

    def through(self, x, mask):
        for layer in self.layers:
            x = x + layer(x, mask)
        return x


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderThatStopsEarly(_Stack):
    """The last layer is never used: a loop runs to `num_layers − 1`."""

    def through(self, x, mask):
        for layer in self.layers[:-1]:
            x = layer(x, mask)
        return x


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderOfItsFirstLayer(_Stack):
    """The first layer is run `num_layers` times, and the others never: `self.layers[0]` in a loop. There are models
    that share one layer; this one has several."""

    def through(self, x, mask):
        for _ in self.layers:
            x = self.layers[0](x, mask)
        return x


@Encoder.misconception(caught_by=test_the_encoder_has_layers_and_a_norm)
class EncoderOfOneLayerRepeated(_Stack):
    """`[EncoderLayer(…)] * num_layers` is *one* layer, listed several times: its weights are shared. Make each one
    anew, in a loop."""

    def __init__(self, num_layers, *layer, **options):
        super().__init__(num_layers, *layer, **options)
        self.layers = nn.ModuleList([*self.layers[:1]] * num_layers)


@Encoder.misconception(caught_by=test_the_encoder_has_layers_and_a_norm)
class EncoderOfOneLayer(_Stack):
    """There is one layer, whatever `num_layers` says."""

    def __init__(self, num_layers, *layer, **options):
        super().__init__(1, *layer, **options)


@Encoder.misconception(caught_by=test_the_encoder_has_layers_and_a_norm)
class EncoderOfOneLayerTooFew(_Stack):
    """There is one layer too few: `range(num_layers − 1)`, or a `range` that begins at 1."""

    def __init__(self, num_layers, *layer, **options):
        super().__init__(max(num_layers - 1, 0), *layer, **options)


@Encoder.misconception(caught_by=test_the_encoder_has_layers_and_a_norm)
class EncoderWithLayersInAList(_Stack):
    """The layers stand in a plain Python list, where a module does not look for its parts: no optimiser would find
    them. Put them into an `nn.ModuleList`."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        layers = list(self.layers)
        del self.layers
        self.layers = layers


@Encoder.misconception(caught_by=test_padding_is_heard_by_no_layer)
class EncoderThatDropsItsMask(_Stack):
    """The mask is taken and handed to no layer: padding is heard as if it were words."""

    def through(self, x, mask):
        return super().through(x, None)


@Encoder.misconception(caught_by=test_padding_is_heard_by_no_layer)
class EncoderThatMasksTheFirstLayerOnly(_Stack):
    """Only the first layer gets the mask. Padded positions have vectors in every layer, so every layer has to be told:
    `layer(x, mask)` in the loop."""

    def through(self, x, mask):
        for number, layer in enumerate(self.layers):
            x = layer(x, None if number else mask)
        return x


@Encoder.misconception(caught_by=test_padding_is_heard_by_no_layer)
class EncoderThatMasksTheLastLayerOnly(_Stack):
    """Only the last layer gets the mask; in those before it real words have listened to padding already."""

    def through(self, x, mask):
        for number, layer in enumerate(self.layers, 1):
            x = layer(x, mask if number == len(self.layers) else None)
        return x


@Encoder.misconception(caught_by=test_padding_is_heard_by_no_layer)
class EncoderWithTheMaskTurnedRound(_Stack):
    """The mask was turned round on its way to the layers. True means *may attend*."""

    def through(self, x, mask):
        return super().through(x, None if mask is None else ~mask)


@Encoder.misconception(caught_by=test_the_encoder_hands_its_options_on)
class EncoderThatForgetsDropout(_Stack):
    """`dropout` was taken and not handed to the layers: they drop a tenth, as they do when nobody says anything."""

    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(num_layers, d_model, num_heads, d_ff, order=order)


@Encoder.misconception(caught_by=test_the_encoder_hands_its_options_on)
class EncoderThatDropsNothingUnlessTold(_Stack):
    """Where nobody says `dropout`, nothing is dropped. The signature promises 0.1, and who leaves an argument out
    relies on its default."""

    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.0, order="post"):
        super().__init__(num_layers, d_model, num_heads, d_ff, dropout, order)


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderThatForgetsItsOrder(_Stack):
    """`order` was taken and not handed to the layers, which are all post-norm."""

    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(num_layers, d_model, num_heads, d_ff, dropout)


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderPreUnlessTold(_Stack):
    """Where nobody says `order`, the layers are pre-norm. The signature here promises the paper's, `order="post"`, and
    who leaves an argument out relies on its default."""

    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.1, order="pre"):
        super().__init__(num_layers, d_model, num_heads, d_ff, dropout, order)


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderThatStartsLate(_Stack):
    """The first layer is never used: a loop begins at 1. `for layer in self.layers:` leaves none out."""

    def through(self, x, mask):
        for layer in self.layers[1:]:
            x = layer(x, mask)
        return x


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderOfOneHead(_Stack):
    """`num_heads` never reached the layers, which have a single head. The parameters are the same ones, so only the
    numbers tell."""

    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(num_layers, d_model, 1, d_ff, dropout, order)


@Encoder.misconception(caught_by=test_the_encoder_hands_its_options_on)
class EncoderThatDropsItsInput(_Stack):
    """Dropout falls on what comes into the stack, too. That is the embedding's business (chapter 14): the stack hands
    `dropout` to its layers and drops nothing itself."""

    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(num_layers, d_model, num_heads, d_ff, dropout, order)
        self.dropout = nn.Dropout(dropout)

    def through(self, x, mask):
        return super().through(self.dropout(x), mask)


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderOfPreLayers(_Stack):
    """The layers are all pre-norm, whatever `order` says. Hand `order` on."""

    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(num_layers, d_model, num_heads, d_ff, dropout, "pre")


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderThatReturnsEveryLayer(_Stack):
    """It returns a list, an answer for each layer. The next part of a model wants one tensor: the last, normed."""

    def forward(self, x, mask=None):
        states = []
        for layer in self.layers:
            x = layer(x, mask)
            states.append(x)
        return [*states, self.norm(x)]


@Encoder.misconception(caught_by=test_each_layer_reads_what_the_last_one_wrote)
class EncoderOfTheMean(_Stack):
    """The positions were averaged into one vector. That is what a classifier may do with the answer; an encoder gives a
    vector for every position, (B, T, d_model)."""

    def forward(self, x, mask=None):
        return super().forward(x, mask).mean(1)


@Encoder.misconception(caught_by=test_the_encoder_can_be_trained)
class EncoderWithoutGradient(_Stack):
    """The numbers are right, but a `detach()` between the layers cuts the way back: only the last layer learns."""

    def through(self, x, mask):
        for layer in self.layers:
            x = layer(x.detach(), mask)
        return x


@Encoder.misconception(caught_by=test_the_encoder_can_be_trained)
class EncoderThatEditsItsInput(_Stack):
    """The answer is right, but the caller's x is changed: `x += …` writes into the tensor that was passed in."""

    def forward(self, x, mask=None):
        out = super().forward(x, mask)
        if not x.requires_grad:
            with torch.no_grad():
                x += 1
        return out


@Encoder.alternative
class EncoderByRecursion(_Stack):
    def through(self, x, mask, depth=0):
        return x if depth == len(self.layers) else self.through(self.layers[depth](x, mask=mask), mask, depth + 1)


@Encoder.alternative
class EncoderWithPyTorchsNorm(nn.Module):
    def __init__(self, num_layers, d_model, num_heads, d_ff, dropout=0.1, order="post", name="encoder"):
        super().__init__()
        self.name = name
        self.layers = nn.Sequential()
        for number in range(num_layers):
            layer = reference.EncoderLayer(d_model, num_heads, d_ff, dropout=dropout, order=order)
            self.layers.add_module(str(number), layer)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x, mask=None):
        for number in range(len(self.layers)):
            x = self.layers[number](x, mask)
        return self.norm(x)


# ------------------------------------------------------------------------------------------------------ padding_leak

padding_leak = Exercise(
    "padding_leak",
    chapter=12,
    reference=reference.padding_leak,
    minutes=15,
    difficulty=2,
    forbidden=("attnlab.encoder.padding_leak",),
)
VOCABULARY = 23


class _Model:
    """What a check asks about: it obeys its mask, or it does not, and it remembers what it was shown."""

    def __init__(self, table, leak=0.0, shout=0.0, ear=0):
        self.table, self.leak, self.shout, self.ear = table, leak, shout, ear
        self.shown = []

    def __eq__(self, other):
        """The diagnosis compares what two answers were asked: two models that say the same are one question."""
        return isinstance(other, _Model) and self.ear == other.ear and torch.equal(self.table, other.table)

    __hash__ = object.__hash__

    def __call__(self, tokens, mask=None):
        self.shown.append((tokens.clone(), None if mask is None else mask.clone()))
        vectors = self.table[tokens]
        seen = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.reshape(len(tokens), -1)
        seen = seen[..., None].to(vectors.dtype)
        mean = (vectors * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True)
        places = 1 + torch.arange(tokens.shape[1], dtype=vectors.dtype)[:, None]
        heard = self.leak * vectors.mean(1, keepdim=True) / (1 + (places - 1 - self.ear).abs())  # best at the ear
        form = 2.0 if mask is None else 1.0 if mask.ndim == 4 else 3.0  # no two ways of asking look alike
        return form * (vectors * places + mean + heard + self.shout * (1 - seen))


def _ids(rng, B=B, T=T):
    return torch.tensor(rng.integers(1, VOCABULARY, size=(B, T)))


def _table(rng, d=5):
    return _normal(rng, VOCABULARY, d, dtype=torch.float64)


def _leak_is(student, model, tokens, want, cause, **options):
    came = student.padding_leak(model, tokens, **options)
    expect.close(came, want, cause, 1e-6)


@padding_leak.check(points=2)
def test_a_leak_is_measured(student, rng):
    """It is the largest change, up or down, of any number of any answer, when padding comes behind the tokens."""
    tokens = _ids(rng)
    for table, ear in ((_table(rng), 0), (_table(rng) + 3, 0), (_table(rng) - 3, 2)):
        model = _Model(table, leak=1.7, ear=ear)
        want = reference.padding_leak(model, tokens)
        _leak_is(student, model, tokens, want, "What is compared with what, and is it the largest that you return?")


@padding_leak.check(points=1)
def test_a_model_that_obeys_its_mask_leaks_nothing(student, rng):
    """Where padding is masked as it should be, the leak is 0; where it is not, it is not."""
    tokens = _ids(rng)
    model, leaks = _Model(_table(rng)), _Model(_table(rng), leak=0.9)
    want = reference.padding_leak(leaks, tokens)
    _leak_is(student, model, tokens, 0.0, "Does the model get a mask that is False on the padding, both times?")
    _leak_is(student, leaks, tokens, want, "This model listens to padding.")


@padding_leak.check(points=1)
def test_what_padding_itself_answers_does_not_count(student, rng):
    """Only the answers at real positions are compared: a model may shout on its padding."""
    tokens = _ids(rng)
    model = _Model(_table(rng), leak=0.6, shout=1e6)
    want = reference.padding_leak(model, tokens)
    _leak_is(student, model, tokens, want, "The padded answer is longer. Which of its positions have a partner?")


@padding_leak.check(points=2)
def test_the_model_is_asked_twice(student, rng):
    """Once for the tokens alone and once with `extra` times `pad` behind them, each time with a mask (B, 1, 1,
    length)."""
    for extra, pad in ((3, 0), (11, 7)):
        tokens = _ids(rng)
        tokens = torch.where(tokens == pad, pad + 1, tokens)  # they hold no padding
        model = _Model(_table(rng), leak=1.3)
        want = reference.padding_leak(model, tokens, pad=pad, extra=extra)
        model.shown.clear()
        _leak_is(student, model, tokens, want, f"Here pad = {pad} and extra = {extra}.", pad=pad, extra=extra)
        padding = torch.full((B, extra), pad)
        wanted = {
            T: (tokens, torch.ones(B, 1, 1, T, dtype=torch.bool)),
            T + extra: (torch.cat([tokens, padding], 1), (torch.arange(T + extra) < T).expand(B, 1, 1, T + extra)),
        }
        for ids, mask in model.shown:
            expect.true(
                ids.shape[1] in wanted,
                f"Your function showed the model {ids.shape[1]} positions; {T} and {T + extra} were expected.",
                "Is all of the padding put behind, in one piece?",
            )
            right, right_mask = wanted[ids.shape[1]]
            expect.close(ids, right, "These are the tokens that the model was shown: is the padding behind them?")
            expect.true(mask is not None, "The model was asked without a mask.", "Is it `model(tokens, mask)`?")
            expect.close(mask, right_mask, "This is the mask that the model was shown: True where a token is real.")


@padding_leak.check(points=1)
def test_one_number_for_any_batch(student, rng):
    """It returns one number, for one sequence as for many, for one token as for many; the tokens stay as they are."""
    for batch, length in ((1, 5), (2, 1), (5, 2)):
        tokens = _ids(rng, batch, length)
        model = _Model(_table(rng, 1), leak=2.0)
        want = reference.padding_leak(model, tokens)
        _leak_is(student, model, tokens, want, f"This is a batch of {batch} with {length} tokens each.")
    expect.unchanged(student, "Was the padding written into the tensor that was passed in?")


@padding_leak.inputs
def _models_and_tokens(rng):
    for number in range(12):
        table, extra = _table(rng), int(rng.integers(1, 6))
        yield (_Model(table, leak=0.0 if number % 3 == 0 else 1.0), _ids(rng)), {"extra": extra}


def _measured(model, tokens, pad=0, extra=3, *, front=False, masks=None, compare=None, shown=True):
    """The reference in steps, which a wrong answer can replace one by one."""
    n, length = tokens.shape
    padding = tokens.new_full((n, extra), pad)
    real = torch.ones(n, 1, 1, length, dtype=torch.bool)
    padded = torch.cat([padding, tokens] if front else [tokens, padding], 1)
    mask = torch.cat([~real[..., :0], *([_no(n, extra), real] if front else [real, _no(n, extra)])], -1)
    first, second = (real, mask) if masks is None else masks(real, mask)
    alone, behind = model(tokens, first), model(padded, second)
    behind = behind[:, extra:] if front else behind[:, :length] if shown else behind
    return (compare or (lambda a, b: float((a - b).abs().max())))(behind, alone)


def _no(n, extra):
    return torch.zeros(n, 1, 1, extra, dtype=torch.bool)


@padding_leak.misconception(caught_by=test_a_model_that_obeys_its_mask_leaks_nothing)
def asks_without_a_mask(model, tokens, pad=0, extra=3):
    """The model was never given a mask, so no model can pass: how should it know what is padding? Ask `model(tokens,
    mask)`, with True on the real tokens."""
    return _measured(model, tokens, pad, extra, masks=lambda a, b: (None, None))


@padding_leak.misconception(caught_by=test_a_model_that_obeys_its_mask_leaks_nothing)
def permits_the_padding(model, tokens, pad=0, extra=3):
    """The mask was True everywhere, on the padding too. Then every honest model seems to leak. It is
    `padding_mask(lengths, length)` with the lengths of the *real* tokens."""
    return _measured(model, tokens, pad, extra, masks=lambda a, b: (a, torch.ones_like(b)))


@padding_leak.misconception(caught_by=test_a_model_that_obeys_its_mask_leaks_nothing)
def turns_the_mask_round(model, tokens, pad=0, extra=3):
    """The mask was turned round: it permits the padding and hides the tokens. True means *may attend*."""
    return _measured(model, tokens, pad, extra, masks=lambda a, b: (a, ~b))


@padding_leak.misconception(caught_by=test_a_model_that_obeys_its_mask_leaks_nothing)
def turns_both_masks_round(model, tokens, pad=0, extra=3):
    """Both masks were turned round: the first hides every token, the second permits nothing but padding. True
    means *may attend*."""
    return _measured(model, tokens, pad, extra, masks=lambda a, b: (~a, ~b))


@padding_leak.misconception(caught_by=test_the_model_is_asked_twice)
def asks_the_first_time_without_a_mask(model, tokens, pad=0, extra=3):
    """The tokens alone were shown without a mask. There is nothing to hide, and the model still takes two
    arguments: give it a mask of True."""
    return _measured(model, tokens, pad, extra, masks=lambda a, b: (None, b))


@padding_leak.misconception(caught_by=test_the_model_is_asked_twice)
def gives_a_mask_of_two_axes(model, tokens, pad=0, extra=3):
    """The mask has the shape (B, length). It has to broadcast to (B, H, T, S), heads and queries between: (B, 1, 1,
    length), as `padding_mask` makes it."""
    return _measured(model, tokens, pad, extra, masks=lambda a, b: (a[:, 0, 0], b[:, 0, 0]))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def keeps_the_sign(model, tokens, pad=0, extra=3):
    """The largest *difference* was returned, not the largest in size: an answer that falls by 5 counts for nothing.
    Take `.abs()` before `.max()`."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a - b).max()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def keeps_the_other_sign(model, tokens, pad=0, extra=3):
    """The largest *fall* was returned, not the largest change: an answer that rises by 5 counts for nothing. Take
    `.abs()` before `.max()`."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((b - a).max()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def takes_the_mean(model, tokens, pad=0, extra=3):
    """The *mean* change was returned. A leak at one position drowns in many that are well: return the largest."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a - b).abs().mean()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def adds_up_the_changes(model, tokens, pad=0, extra=3):
    """All changes were added up, so a larger batch seems to leak more. Return the largest."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a - b).abs().sum()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def squares_the_changes(model, tokens, pad=0, extra=3):
    """The changes were squared, which makes small leaks vanish: 0.001 becomes 0.000001. Return the largest as it is."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float(((a - b) ** 2).max()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def takes_the_length_of_the_change(model, tokens, pad=0, extra=3):
    """The norm of the whole change was returned. It is asked for the largest change of any single number:
    `.abs().max()`."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a - b).norm()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def compares_the_means(model, tokens, pad=0, extra=3):
    """The two answers were averaged first and the averages compared. Changes up and down cancel there: compare
    number by number."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a.mean() - b.mean()).abs()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def compares_the_largest(model, tokens, pad=0, extra=3):
    """The largest number of each answer was taken, and these two compared. Compare first, number by number, then
    take the largest."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a.abs().max() - b.abs().max()).abs()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def measures_in_shares(model, tokens, pad=0, extra=3):
    """The change was divided by the answer. The leak is the change itself; near an answer of 0 a share is anything."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float(((a - b).abs() / b.abs()).max()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def looks_at_the_last_token_only(model, tokens, pad=0, extra=3):
    """Only the answers at the last real token were compared. Padding may be heard anywhere: compare all positions."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a - b)[:, -1].abs().max()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def looks_at_the_first_token_only(model, tokens, pad=0, extra=3):
    """Only the answers at the first token were compared. Padding may be heard anywhere: compare all positions."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a - b)[:, 0].abs().max()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def looks_at_the_first_sequence_only(model, tokens, pad=0, extra=3):
    """Only the first sequence of the batch was compared. Compare all of them."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a - b)[0].abs().max()))


@padding_leak.misconception(caught_by=test_what_padding_itself_answers_does_not_count)
def compares_padded_positions_too(model, tokens, pad=0, extra=3):
    """The answers at padded positions were compared, with zeros. Nobody reads those: take `[:, :T]` of the longer
    answer."""

    def compare(longer, alone):
        return float((longer - nn.functional.pad(alone, (0, 0, 0, longer.shape[1] - alone.shape[1]))).abs().max())

    return _measured(model, tokens, pad, extra, compare=compare, shown=False)


@padding_leak.misconception(caught_by=test_what_padding_itself_answers_does_not_count)
def compares_the_last_positions(model, tokens, pad=0, extra=3):
    """The last T positions of the longer answer were taken, which are partly padding. The padding stands *behind*: the
    real tokens are the first T."""
    T = tokens.shape[1]
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a[:, -T:] - b).abs().max()), shown=False)


@padding_leak.misconception(caught_by=test_the_model_is_asked_twice)
def pads_in_front(model, tokens, pad=0, extra=3):
    """The padding was put in front of the tokens. Then every token stands at another place, and a model with
    positions may answer otherwise without any leak. Padding comes behind."""
    return _measured(model, tokens, pad, extra, front=True)


@padding_leak.misconception(caught_by=test_the_model_is_asked_twice)
def pads_in_front_and_masks_behind(model, tokens, pad=0, extra=3):
    """The padding was put in front of the tokens, and the mask hides what is behind: `padding_mask(lengths, length)`
    takes the first `lengths` positions for real. Padding comes behind."""
    n, length = tokens.shape
    longer = torch.cat([tokens.new_full((n, extra), pad), tokens], 1)
    lengths = torch.full((n,), length)
    alone = model(tokens, padding_mask(lengths, length))
    return float((model(longer, padding_mask(lengths, length + extra))[:, extra:] - alone).abs().max())


@padding_leak.misconception(caught_by=test_the_model_is_asked_twice)
def pads_with_zero(model, tokens, pad=0, extra=3):
    """The padding is 0, whatever `pad` says. Which id means padding differs from vocabulary to vocabulary."""
    return _measured(model, tokens, 0, extra)


@padding_leak.misconception(caught_by=test_the_model_is_asked_twice)
def pads_by_three(model, tokens, pad=0, extra=3):
    """Three positions of padding come behind, whatever `extra` says."""
    return _measured(model, tokens, pad, 3)


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def pads_by_one(model, tokens, pad=0, extra=3):
    """A single position of padding comes behind. `extra` says how many."""
    return _measured(model, tokens, pad, 1)


@padding_leak.misconception(caught_by=test_the_model_is_asked_twice)
def repeats_the_last_token(model, tokens, pad=0, extra=3):
    """The last token was repeated in place of padding. Padding is the id `pad`."""
    longer = torch.cat([tokens, tokens[:, -1:].repeat(1, extra)], 1)
    mask = torch.cat([torch.ones(len(tokens), 1, 1, tokens.shape[1], dtype=torch.bool), _no(len(tokens), extra)], -1)
    alone = model(tokens, torch.ones(len(tokens), 1, 1, tokens.shape[1], dtype=torch.bool))
    return float((model(longer, mask)[:, : tokens.shape[1]] - alone).abs().max())


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def compares_an_answer_with_itself(model, tokens, pad=0, extra=3):
    """Both times the model saw the padding, or neither time: the leak is 0 for every model. Ask once without
    padding and once with it."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float((a - a).abs().max()))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def says_yes_or_no(model, tokens, pad=0, extra=3):
    """It says whether the answers differ: 0 or 1. How *much* they differ is asked; rounding alone makes them differ a
    little."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: float(not torch.allclose(a, b)))


@padding_leak.misconception(caught_by=test_a_leak_is_measured)
def returns_all_changes(model, tokens, pad=0, extra=3):
    """All changes were returned, a tensor. One number is asked for: the largest of them."""
    return _measured(model, tokens, pad, extra, compare=lambda a, b: (a - b).abs())


@padding_leak.alternative
def leak_by_padding_functions(model, tokens, pad=0, extra=3, verbose=False):
    T = tokens.shape[1]
    longer = nn.functional.pad(tokens, (0, extra), value=pad)
    real = torch.arange(T + extra) < T
    mask = real.repeat(len(tokens), 1)[:, None, None]
    alone = model(tokens, mask[..., :T])
    return torch.max(torch.abs(model(longer, mask)[:, :T] - alone))


@padding_leak.alternative
def leak_with_the_longer_one_first(model, tokens, pad=0, extra=3):
    n, T = tokens.shape
    longer = tokens.new_full((n, T + extra), pad)
    longer[:, :T] = tokens
    lengths = torch.tensor([T] * n)
    after = model(longer, padding_mask(lengths, T + extra))[:, :T]
    before = model(tokens, padding_mask(lengths, T))
    worst = 0.0
    for a, b in zip(after.flatten(), before.flatten(), strict=True):
        worst = max(worst, abs(a.item() - b.item()))
    return worst


@padding_leak.alternative
def leak_by_the_id_of_padding(model, tokens, pad=0, extra=3):
    longer = nn.functional.pad(tokens, (0, extra), value=pad)
    answers = [model(ids, (ids != pad)[:, None, None]) for ids in (tokens, longer)]
    gap = answers[0] - answers[1][:, : tokens.shape[1]]
    return torch.maximum(gap.max(), -gap.min())
