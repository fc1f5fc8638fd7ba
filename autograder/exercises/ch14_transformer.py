"""Chapter 14, the full Transformer and its training: the pieces put together, and what makes them learn."""

import math
from copy import deepcopy
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn

from attnlab import training as reference
from attnlab.decoder import Decoder
from attnlab.encoder import Encoder
from attnlab.masks import causal_mask, padding_mask
from attnlab.positions import sinusoidal_positions
from attnlab.transformer import Embedding as ReferenceEmbedding
from attnlab.transformer import Transformer as ReferenceTransformer
from autograder import expect, props
from autograder.exercise import Exercise

WHOLE_MODELS = ("torch.nn.Transformer", "attnlab.transformer.Embedding", "attnlab.transformer.Transformer")


def _ids(rng, vocab, *shape, low=1):
    """Token ids without padding."""
    return torch.tensor(rng.integers(low, vocab, size=shape))


def _normal(rng, *shape, dtype=torch.float32):
    return torch.tensor(rng.normal(size=shape), dtype=dtype)


def _quiet(module):
    """The handle of a module, in evaluation mode."""
    module.eval()
    return module


EDITS = "Does a function with a `_` at its end, or `x[…] =`, write into it?"


# ------------------------------------------------------------------------------------------------------- Embedding

Embedding = Exercise(
    "Embedding", chapter=14, reference=ReferenceEmbedding, minutes=15, difficulty=2, forbidden=WHOLE_MODELS
)

VOCAB, D_MODEL = 23, 13


def _embedding(student, rng, *, pad=0, dropout=0.0, d_model=D_MODEL):
    """An embedding of the student's with a table of ours, and the table."""
    module = _quiet(student.Embedding(VOCAB, d_model, dropout, pad))
    table = _normal(rng, VOCAB, d_model)
    module.load({"tokens.weight": table})
    return module, table


def _embedded(table, tokens):
    return math.sqrt(table.shape[1]) * table[tokens] + sinusoidal_positions(tokens.shape[1], table.shape[1])


@Embedding.check(points=1)
def test_the_table_has_a_row_a_token(student, rng):
    """The only parameter is `tokens.weight`, of shape `(vocab, d_model)`."""
    module = student.Embedding(VOCAB, D_MODEL, 0.0, 0)
    found = {name: tuple(value.shape) for name, value in module.parameters().items()}
    expect.true(
        found.get("tokens.weight") == (VOCAB, D_MODEL),
        f"Your module has {_listed(found)}; expected is `tokens.weight` {(VOCAB, D_MODEL)}.",
        "Is there `self.tokens = nn.Embedding(vocab, d_model, …)`?",
    )
    trained = module.gradients(_ids(rng, VOCAB, 2, 3), cotangent=_normal(rng, 2, 3, D_MODEL)).parameters
    extra = sorted(name for name in trained if name != "tokens.weight")
    expect.true(
        not extra,
        f"Your module learns {', '.join(f'`{name}`' for name in extra)} as well.",
        "The positions are sinusoids: is anything about them learned?",
    )


def _listed(shapes):
    return ", ".join(f"`{name}` {shape}" for name, shape in shapes.items()) or "no parameters"


@Embedding.check(points=3)
def test_a_word_is_scaled_and_its_place_is_added(student, rng):
    """The token at place t becomes `√d_model · W[token] + P[t]`, where P are the sinusoids of chapter 10. At padding,
    whose row is zero, P[t] is left."""
    tokens = _ids(rng, VOCAB, 3, 5)
    module, table = _embedding(student, rng)
    expect.close(module(tokens), _embedded(table, tokens), "What is scaled, by what, and what is added then?")
    tokens = _ids(rng, VOCAB, 1, 17).flip(1)
    module, table = _embedding(student, rng, d_model=4)
    expect.close(module(tokens), _embedded(table, tokens), "With d_model = 4, √d_model is 2.")
    module, table = _embedding(student, rng)
    table[0] = 0
    module.load({"tokens.weight": table})
    tokens[0, -3:] = 0
    want = _embedded(table, tokens)
    expect.close(module(tokens), want, "Here the last three are padding: its row is zero, and its place is not.")


@Embedding.check(points=1)
def test_rows_start_as_large_as_positions(student, rng):
    """A new table is drawn from a normal distribution, so small that a *scaled* row has entries of variance about 1."""
    module = _quiet(student.Embedding(401, 101, 0.0, 0))
    expect.is_array(module(_ids(rng, 401, 2, 3)), (2, 3, 101))
    entries = 101**0.5 * module.parameters()["tokens.weight"][1:]
    spread = float(entries.std())
    expect.true(
        0.8 < spread < 1.25,
        f"The entries of your new rows, times √d_model, have a standard deviation of {spread:.3g}; expected is 1.",
        "nn.Embedding draws with variance 1. What must it be, if √d_model comes on top?",
    )
    far = float((entries.abs() > 1.8 * spread).double().mean())
    expect.true(
        0.05 < far < 0.1,
        f"A share of {far:.3f} of the entries of your new rows is beyond 1.8 standard deviations; in a normal "
        "distribution it is 0.072.",
        "Were they drawn evenly, between two bounds? `nn.init.normal_` draws from a normal distribution.",
    )


@Embedding.check(points=1)
def test_the_row_of_padding_is_zero(student, rng):
    """The row of `pad` is zero in a new table, whichever id that is, and no other row is."""
    for pad in (0, 7):
        table = student.Embedding(VOCAB, D_MODEL, 0.0, pad).parameters()["tokens.weight"]
        empty = [int(i) for i in (table == 0).all(-1).nonzero()]
        expect.true(
            empty == [pad],
            f"With pad = {pad}, the rows that are zero in your table are {empty or 'none'}; expected is [{pad}].",
            "Does something overwrite the table after nn.Embedding made the row zero?",
        )


@Embedding.check(points=2)
def test_the_row_of_padding_is_not_trained(student, rng):
    """No gradient reaches the row of `pad`. Every other row gets `√d_model` times what its places are told."""
    for pad in (0, 7):
        tokens = torch.cat([_ids(rng, VOCAB, 3, 5), torch.full((3, 2), pad)], dim=1)
        g = _normal(rng, 3, 7, D_MODEL)
        wanted = torch.zeros(VOCAB, D_MODEL)
        wanted.index_add_(0, tokens.flatten(), math.sqrt(D_MODEL) * g.flatten(0, 1))
        wanted[pad] = 0
        module, _ = _embedding(student, rng, pad=pad)
        gradient = module.gradients(tokens, cotangent=g).parameters.get("tokens.weight")
        expect.true(gradient is not None, "No gradient reaches `tokens.weight`.", "Was something detached?")
        expect.close(
            gradient, wanted, f"pad = {pad}: which argument of nn.Embedding keeps a row out of training?", 1e-4
        )


@Embedding.check(points=1)
def test_dropout_comes_last_and_in_training_only(student, rng):
    """In training, a share `dropout` of the finished entries is zero and the others grow; in evaluation, none."""
    tokens = _ids(rng, VOCAB, 11, 29)
    module, table = _embedding(student, rng, dropout=0.2)
    expect.close(module(tokens), _embedded(table, tokens), "In evaluation nothing is dropped.")
    module.train()
    came = expect.is_array(module(tokens), (11, 29, D_MODEL))
    whole = _embedded(table, tokens).numpy()
    kept = came != 0
    expect.true(
        0.75 < kept.mean() < 0.85,
        f"With dropout = 0.2, a share of {kept.mean():.2f} of your entries is left in training; about 0.80 should be.",
        "Is `dropout` the share that is *lost*, and the last thing that happens, after the positions were added?",
    )
    expect.close(came[kept], (1.25 * whole)[kept], "What is kept grows by 1/(1 − p), the positions too.")


@Embedding.check(points=1)
def test_the_embedding_leaves_its_tokens_alone(student, rng):
    """One token, or a view with gaps: all the same. Tokens and table are unchanged afterwards."""
    module, table = _embedding(student, rng)
    tokens = _ids(rng, VOCAB, 10, 3)[::2].T
    expect.close(module(tokens), _embedded(table, tokens))
    expect.close(module(tokens[:1, :1]), _embedded(table, tokens[:1, :1]), "This was one sequence of one token.")
    expect.close(module.parameters()["tokens.weight"], table, "The table is another one than before.")
    expect.unchanged(student, EDITS)


class _Embeds(nn.Module):
    """The embedding in steps, which a wrong answer can replace one by one."""

    std = None

    def __init__(self, vocab, d_model, dropout, pad):
        super().__init__()
        self.d_model, self.p, self.pad = d_model, dropout, pad
        self.tokens = nn.Embedding(vocab, d_model, padding_idx=pad)
        self.draw()

    def draw(self):
        nn.init.normal_(self.tokens.weight, std=self.d_model**-0.5)
        with torch.no_grad():
            self.tokens.weight[self.pad] = 0

    def place(self, tokens):
        return sinusoidal_positions(tokens.shape[1], self.d_model)

    def rows(self, tokens):
        return math.sqrt(self.d_model) * self.tokens(tokens)

    def drop(self, x):
        return nn.functional.dropout(x, self.p, self.training)

    def forward(self, tokens):
        return self.drop(self.rows(tokens) + self.place(tokens))


class _Untrained(_Embeds):
    """Without padding_idx: the row of padding is an ordinary one."""

    def __init__(self, vocab, d_model, dropout, pad):
        super().__init__(vocab, d_model, dropout, pad)
        self.tokens = nn.Embedding(vocab, d_model)
        self.draw()


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingWithoutScale(_Embeds):
    """The rows were not multiplied by √d_model. They are drawn with variance 1/d_model, so without the scale a word is
    a whisper beside its position, whose entries are as large as ½ in the mean of their squares."""

    def rows(self, tokens):
        return self.tokens(tokens)


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingScaledByTheWidth(_Embeds):
    """The rows were multiplied by d_model, not by its root. The *variance* of an entry is 1/d_model; its size is the
    root of that, so the root is what brings it back to 1."""

    def rows(self, tokens):
        return self.d_model * self.tokens(tokens)


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingDivided(_Embeds):
    """The rows were *divided* by √d_model. That is what attention does with its scores, which are too large; the rows
    of the table are too small, and are multiplied."""

    def rows(self, tokens):
        return self.tokens(tokens) / math.sqrt(self.d_model)


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingScaledTwice(_Embeds):
    """The scale was applied twice. Is it in the table already, or in two lines of `forward`?"""

    def rows(self, tokens):
        return self.d_model * self.tokens(tokens)

    def place(self, tokens):
        return super().place(tokens) * math.sqrt(self.d_model)


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingThatScalesPlacesToo(_Embeds):
    """The sum of word and position was scaled. Then both grow alike and nothing is gained: scale the word, then add
    the position."""

    def forward(self, tokens):
        return self.drop(math.sqrt(self.d_model) * (self.tokens(tokens) + self.place(tokens)))


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingWithoutPlaces(_Embeds):
    """The positions are missing. Attention sees a set (chapter 8): without them, "dog bites man" is "man bites dog"."""

    def forward(self, tokens):
        return self.drop(self.rows(tokens))


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingPlacedByTheBatch(_Embeds):
    """The positions were counted along the batch: every token of sequence b got row b. Positions run along axis 1,
    `tokens.shape[1]` of them."""

    def place(self, tokens):
        return sinusoidal_positions(tokens.shape[0], self.d_model)[:, None]


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingPlacedByTheToken(_Embeds):
    """The sinusoids were looked up by the token's *id*. A position is where a token stands, not which one it is."""

    def place(self, tokens):
        return sinusoidal_positions(self.tokens.num_embeddings, self.d_model)[tokens]


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingTimesPlaces(_Embeds):
    """The positions were multiplied in. They are added: row 0 has zeros in every other column, and times zero a word is
    gone."""

    def forward(self, tokens):
        return self.drop(self.rows(tokens) * self.place(tokens))


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingThatCountsFromOne(_Embeds):
    """The first token got row 1 of the sinusoids. Positions are counted from 0."""

    def place(self, tokens):
        return sinusoidal_positions(tokens.shape[1] + 1, self.d_model)[1:]


@Embedding.misconception(caught_by=test_a_word_is_scaled_and_its_place_is_added)
class EmbeddingThatSilencesPadding(_Embeds):
    """The vectors at padding were set to zero, their places too. Only the *row* of padding is zero; that nobody listens
    to it is the mask's work."""

    def forward(self, tokens):
        return super().forward(tokens) * (tokens != self.pad)[..., None]


@Embedding.misconception(caught_by=test_rows_start_as_large_as_positions)
class EmbeddingDrawnEvenly(_Embeds):
    """The rows were drawn evenly between two bounds. The variance is right; the text asks for a normal distribution,
    `nn.init.normal_`."""

    def draw(self):
        bound = (3 / self.d_model) ** 0.5
        nn.init.uniform_(self.tokens.weight, -bound, bound)
        with torch.no_grad():
            self.tokens.weight[self.pad] = 0


@Embedding.misconception(caught_by=test_rows_start_as_large_as_positions)
class EmbeddingThatStartsLoud(_Embeds):
    """The table kept nn.Embedding's own start, entries of variance 1. Scaled by √d_model they drown the positions, as
    if a text were shouted with its order whispered. Draw with a standard deviation of `d_model**-0.5`."""

    def draw(self):
        pass


@Embedding.misconception(caught_by=test_rows_start_as_large_as_positions)
class EmbeddingThatStartsFaint(_Embeds):
    """The rows start with a standard deviation of 1/d_model. 1/d_model is the *variance* that is wanted: the standard
    deviation is its root, `d_model**-0.5`."""

    def draw(self):
        nn.init.normal_(self.tokens.weight, std=1 / self.d_model)
        with torch.no_grad():
            self.tokens.weight[self.pad] = 0


@Embedding.misconception(caught_by=test_the_row_of_padding_is_zero)
class EmbeddingThatOverwritesItsPadding(_Embeds):
    """`padding_idx` makes the row of padding zero, and then the whole table was drawn anew, that row with it. It will
    never be trained, so it stays the noise that it is. Set it to zero *after* drawing."""

    def draw(self):
        nn.init.normal_(self.tokens.weight, std=self.d_model**-0.5)


@Embedding.misconception(caught_by=test_the_row_of_padding_is_not_trained)
class EmbeddingThatTrainsPadding(_Untrained):
    """The row of padding starts at zero but is trained like any other: there is no `padding_idx`. Gradients reach it
    through padded places, and it stops being nothing."""


@Embedding.misconception(caught_by=test_the_row_of_padding_is_zero)
class EmbeddingWithoutPadding(_Untrained):
    """Padding is treated like a word: its row is drawn and trained like any other. Give nn.Embedding `padding_idx=pad`,
    and set the row to zero after drawing."""

    def draw(self):
        nn.init.normal_(self.tokens.weight, std=self.d_model**-0.5)


@Embedding.misconception(caught_by=test_the_row_of_padding_is_zero)
class EmbeddingPaddedWithZero(_Embeds):
    """The id of padding is always 0 here, whatever `pad` says. It happens to be 0 in this course; the argument says
    which it is."""

    def __init__(self, vocab, d_model, dropout, pad):
        super().__init__(vocab, d_model, dropout, 0)


@Embedding.misconception(caught_by=test_dropout_comes_last_and_in_training_only)
class EmbeddingWithoutDropout(_Embeds):
    """Nothing is dropped in training: `dropout` was taken and never used."""

    def drop(self, x):
        return x


@Embedding.misconception(caught_by=test_dropout_comes_last_and_in_training_only)
class EmbeddingThatAlwaysDrops(_Embeds):
    """Dropout is at work in evaluation, too. `nn.functional.dropout` does not know in which mode your module is. Make
    `self.dropout = nn.Dropout(dropout)`, which does, or pass `training=self.training`."""

    def drop(self, x):
        return nn.functional.dropout(x, self.p)


@Embedding.misconception(caught_by=test_dropout_comes_last_and_in_training_only)
class EmbeddingThatDropsWordsOnly(_Embeds):
    """Dropout falls on the words before the positions are added. The paper drops from the *sum* of both (its section
    5.4), so the order is blurred as well."""

    def forward(self, tokens):
        return self.drop(self.rows(tokens)) + self.place(tokens)


@Embedding.misconception(caught_by=test_dropout_comes_last_and_in_training_only)
class EmbeddingThatKeepsWhatItShouldDrop(_Embeds):
    """`dropout` was taken for the share that is *kept*. It is the share that is lost: with 0.1 nine entries in ten
    stay. `nn.Dropout(dropout)` takes it as it comes."""

    def drop(self, x):
        return nn.functional.dropout(x, 1 - self.p, self.training and self.p > 0)


@Embedding.misconception(caught_by=test_the_table_has_a_row_a_token)
class EmbeddingThatLearnsItsPlaces(_Embeds):
    """The positions are a second table that is learned. That is another model (chapter 10 compares the two): here the
    sinusoids are added, which have nothing to learn."""

    def __init__(self, vocab, d_model, dropout, pad):
        super().__init__(vocab, d_model, dropout, pad)
        self.positions = nn.Embedding(512, d_model)

    def place(self, tokens):
        return self.positions.weight[: tokens.shape[1]]


@Embedding.misconception(caught_by=test_the_row_of_padding_is_not_trained)
class EmbeddingWithoutGradient(_Embeds):
    """The numbers are right, and no gradient gets back to the table: `.detach()`, `.data` or `torch.no_grad()` cut it
    off. Then no word ever learns."""

    def rows(self, tokens):
        return super().rows(tokens).detach() + 0 * self.tokens(tokens)


@Embedding.alternative
class EmbeddingByIndexing(nn.Module):
    """A table of its own, with the padding kept out by hand."""

    places: torch.Tensor

    def __init__(self, vocab, d_model, dropout=0.1, pad=0, max_length=64):
        super().__init__()
        self.pad, self.dropout = pad, nn.Dropout(dropout)
        self.tokens: Any = nn.Module()
        self.tokens.weight = nn.Parameter(torch.randn(vocab, d_model) / d_model**0.5)
        self.tokens.weight.data[pad] = 0
        self.register_buffer("places", sinusoidal_positions(max_length, d_model))

    def forward(self, tokens):
        W = self.tokens.weight
        rows = torch.where((tokens == self.pad)[..., None], W.detach()[tokens], W[tokens])
        return self.dropout(rows * W.shape[1] ** 0.5 + self.places[: tokens.size(1)])


@Embedding.alternative
class EmbeddingByFunctions(_Embeds):
    def forward(self, tokens):
        where = torch.arange(tokens.shape[1])
        x = nn.functional.embedding(tokens, self.tokens.weight, padding_idx=self.pad) * self.d_model**0.5
        x = x + sinusoidal_positions(100, self.d_model)[where].to(x)
        return nn.functional.dropout(x, p=self.p, training=self.training)


# ----------------------------------------------------------------------------------------------------- Transformer

Transformer = Exercise(
    "Transformer", chapter=14, reference=ReferenceTransformer, minutes=30, difficulty=3, forbidden=WHOLE_MODELS
)

SRC, TGT, B, S, T, HEADS, WIDTH, LAYERS, HIDDEN = 17, 19, 3, 7, 5, 2, 6, 2, 11
SIZES = (SRC, TGT, WIDTH, HEADS, LAYERS, HIDDEN)
SHALLOW = (SRC, TGT, WIDTH, HEADS, 1, HIDDEN)  # what is said of one layer needs no second


@cache
def _skeleton(pad, order):
    """The reference, to be given weights: making one takes longer than asking it."""
    return ReferenceTransformer(*SHALLOW, dropout=0.0, pad=pad, order=order).eval()


def _model(student, rng, *, order: str | None = "pre", dropout=0.0, pad=0):
    """A Transformer of the student's and the reference with the same weights, norms and biases shaken too.

    With None the student's is made without an order, so that it takes its default.
    """
    ours = _skeleton(pad, order or "post")
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            spread = 0.3 if parameter.ndim == 1 else parameter.shape[1] ** -0.5
            parameter.copy_(spread * _normal(rng, *parameter.shape) + float("norm" in name and name.endswith("weight")))
            if name.endswith("embedding.tokens.weight"):
                parameter[pad] = 0
    options = {"order": order} if order else {}
    module = _quiet(student.Transformer(*SHALLOW, dropout=dropout, pad=pad, **options))
    module.load({name: value.detach() for name, value in ours.named_parameters()})
    return module, ours


def _pair(rng):
    return _ids(rng, SRC, B, S), _ids(rng, TGT, B, T)


def _padded(rng, pad=0):
    """A source whose sequences have lengths 7, 4 and 1, and a target."""
    src, tgt = _ids(rng, SRC, B, S), _ids(rng, TGT, B, T)
    src[src == pad] = pad + 1
    for row, length in zip(src, (7, 4, 1), strict=True):
        row[length:] = pad
    tgt[tgt == pad] = pad + 1
    return src, tgt


@torch.no_grad()
def _right(ours, src, tgt):
    return ours(src, tgt)


@Transformer.check(points=1)
def test_the_model_has_these_parameters(student, rng):
    """The parts are `src_embedding`, `tgt_embedding`, `encoder`, `decoder` and `W_out`, each with the parameters of its
    chapter, `num_layers` layers in each stack, and nothing is tied. Sizes that are left out are the paper's."""
    ours = ReferenceTransformer(*SIZES)
    wanted = {name: tuple(value.shape) for name, value in ours.named_parameters()}
    found = {name: tuple(value.shape) for name, value in student.Transformer(*SIZES).parameters().items()}
    for name, shape in wanted.items():
        expect.true(
            found.get(name) == shape,
            f"`{name}` should have shape {shape}; your model has "
            + (f"{found[name]} there." if name in found else "no parameter of its own there."),
            "Are the parts named as the text says, each made anew, and the arguments handed on in the right order?",
        )
    extra = sorted(name for name in found.keys() - wanted.keys() if "." not in name or "layers" in name)
    expect.true(
        not extra, f"Your model has {', '.join(f'`{name}`' for name in extra[:4])} as well.", "One part too many?"
    )
    _has_the_sizes_of_the_paper(student)


def _has_the_sizes_of_the_paper(student):
    """What is left out of a small model tells its default."""
    wide = student.Transformer(SRC, TGT, num_heads=HEADS, num_layers=0, d_ff=HIDDEN).parameters()
    hidden = student.Transformer(SRC, TGT, WIDTH, HEADS, 1).parameters()
    deep = student.Transformer(SRC, TGT, WIDTH, HEADS, d_ff=HIDDEN).parameters()
    sizes = {
        "d_model": (wide["src_embedding.tokens.weight"].shape[1], 512),
        "d_ff": (hidden["encoder.layers.0.feed_forward.W_1.weight"].shape[0], 2048),
        "num_layers": (len({name.split(".")[2] for name in deep if name.startswith("encoder.layers.")}), 6),
    }
    for name, (found, due) in sizes.items():
        expect.true(
            found == due,
            f"Where `{name}` is left out, your model has {found}; the signature says {due}.",
            "Who leaves an argument out relies on its default: is it the paper's?",
        )


@Transformer.check(points=3)
def test_the_model_gives_logits_for_every_place(student, rng):
    """`model(src, tgt)` has shape `(B, T, tgt_vocab)`: read the source, write from it, then `W_out`. Both orders of the
    norm work, and where none is named it is the paper's, `"post"`."""
    for order in ("pre", "post", None):
        src, tgt = _pair(rng)
        module, ours = _model(student, rng, order=order)
        want = _right(ours, src, tgt)
        named = f'order="{order}"' if order else '`order` was left out, so it is "post"'
        cause = f"{named}: what does the encoder read, what the decoder, and who reads the memory?"
        expect.close(module(src, tgt), want, cause, 1e-4)
    ours = ReferenceTransformer(SRC, TGT, 16, num_layers=1, d_ff=HIDDEN, dropout=0.0).eval()
    module = _quiet(student.Transformer(SRC, TGT, 16, num_layers=1, d_ff=HIDDEN, dropout=0.0))
    weights = {name: value.detach() + 0.3 * _normal(rng, *value.shape) for name, value in ours.named_parameters()}
    ours.load_state_dict(weights, strict=False)
    module.load(weights)
    want = _right(ours, src, tgt)
    expect.close(module(src, tgt), want, "`num_heads` was left out, so it is 8. Is that its default?", 1e-4)


@Transformer.check(points=2)
def test_padding_of_the_source_is_never_seen(student, rng):
    """Padding behind a source changes no answer: neither encoder nor decoder looks at it. `pad` says which id it is, to
    the masks and to both tables."""
    for pad in (0, 5):
        src, tgt = _padded(rng, pad)
        module, ours = _model(student, rng, pad=pad)
        want = _right(ours, src, tgt)
        expect.close(
            module(src, tgt), want, f"pad = {pad}: which two attentions must not see the padding of the source?", 1e-4
        )
        expect.close(module(src[1:2, :4], tgt[1:2]), want[1:2], "Here the padding was cut off.", 1e-4)
    for name in ("src_embedding", "tgt_embedding"):
        table = student.Transformer(*SHALLOW, pad=5).parameters()[f"{name}.tokens.weight"]
        empty = [int(i) for i in (table == 0).all(-1).nonzero()]
        expect.true(
            empty == [5],
            f"With pad = 5, the rows that are zero in a new `{name}` are {empty or 'none'}; expected is [5].",
            f"Does `{name}` get `pad`?",
        )


@Transformer.check(points=2)
def test_the_future_is_never_seen(student, rng):
    """What is written at place t does not depend on the target behind t."""
    src, tgt = _pair(rng)
    module, ours = _model(student, rng)
    want = _right(ours, src, tgt)
    other = torch.where(tgt == 1, tgt + 1, tgt - 1)
    for t in (1, 3):
        changed = torch.cat([tgt[:, :t], other[:, t:]], dim=1)
        came = expect.is_array(module(src, changed), (B, T, TGT))
        expect.close(
            came[:, :t], want[:, :t], f"The tokens from place {t} on were exchanged. Who looked at them, before?", 1e-4
        )


@Transformer.check(points=2)
def test_the_model_can_be_trained(student, rng):
    """The gradient of every parameter is that of the formula, from the head to the tables of words."""
    src, tgt = _padded(rng)
    tgt[2, 3:] = 0
    module, ours = _model(student, rng)
    g = _normal(rng, B, T, TGT)
    g[2, 3:] = 0  # nobody asks what is written behind the end
    parameters = dict(ours.named_parameters())
    wanted = torch.autograd.grad((ours(src, tgt) * g).sum(), list(parameters.values()))
    came = module.gradients(src, tgt, cotangent=g)
    for name, right in zip(parameters, wanted, strict=True):
        gradient = came.parameters.get(name)
        expect.true(
            gradient is not None,
            f"No gradient reaches `{name}`: it would never learn.",
            "Is this part used at all, and is nothing detached on the way?",
        )
        expect.close(gradient, right, f"This is the gradient of `{name}`.", 1e-3)


@Transformer.check(points=1)
def test_dropout_is_handed_on(student, rng):
    """In training two answers differ, in evaluation they are equal; with `dropout=0` training changes nothing, with 1
    the parts add nothing, and where it is left out it is 0.1."""
    src, tgt = _padded(rng)
    module, ours = _model(student, rng, dropout=0.5)
    want = _right(ours, src, tgt)
    expect.close(module(src, tgt), want, "Nothing may be dropped in evaluation.", 1e-4)
    module.train()
    first, second = (expect.is_array(module(src, tgt), (B, T, TGT)) for _ in range(2))
    expect.true(
        np.abs(first - second).max() > 1e-3,
        "With dropout = 0.5, two answers in training are equal; they should differ.",
        "Do the embeddings and both stacks get `dropout`?",
    )
    module, ours = _model(student, rng, dropout=0.0)
    want = _right(ours, src, tgt)
    module.train()
    expect.close(module(src, tgt), want, "With dropout = 0, training and evaluation are the same.", 1e-4)
    module, ours = _model(student, rng, dropout=1.0)
    module.train()
    for part in ("encoder", "decoder", "src_embedding", "tgt_embedding"):
        expect.true(
            _drops_all(module, ours, part),
            f"With dropout = 1, in training, your `{part}` still adds something.",
            f"Does `{part}` get the `dropout` that the model was given?",
        )
    module = student.Transformer(*SHALLOW)
    table = module.parameters()["src_embedding.tokens.weight"]
    module.train()
    tokens = _ids(rng, SRC, 11, 29)
    came = expect.is_array(module.attribute("src_embedding")(tokens), (11, 29, WIDTH))
    growth = np.abs(came).sum() / np.abs(_embedded(table, tokens).numpy()[came != 0]).sum()
    expect.true(
        abs(growth - 1 / 0.9) < 1e-3,
        f"Where `dropout` is left out, what is kept in training grows by a factor of {growth:.4g}; with a dropout of "
        f"0.1 it is {1 / 0.9:.4g}.",
        "Is 0.1 the default of `dropout`, as in the signature?",
    )


def _drops_all(module, ours, part):
    """Whether with a dropout of 1, in training, this part of a model adds nothing to what it is given."""
    x = torch.linspace(-1, 1, B * T * WIDTH).reshape(B, T, WIDTH)
    if "embedding" in part:
        came, left = module.attribute(part)(torch.ones(B, T, dtype=torch.int64)), 0 * x
    else:
        came, left = module.attribute(part)(*([x] if part == "encoder" else [x, x])), getattr(ours, part).norm(x)
    array = expect.as_numpy(came)
    return array is not None and array.shape == x.shape and np.abs(array - left.detach().numpy()).max() < 1e-3


@Transformer.check(points=1)
def test_the_model_can_be_saved(student, rng):
    """What `state_dict()` gives, `load_state_dict` of a new model takes, and then both answer alike."""
    src, tgt = _padded(rng)
    module, ours = _model(student, rng)
    want = _right(ours, src, tgt)
    saved = module.state_dict()
    other = _quiet(student.Transformer(*SHALLOW, order="pre"))
    other.load_state_dict(saved)
    expect.close(other(src, tgt), want, "Is every part an attribute of the model, so that it is saved?", 1e-4)


@Transformer.check(points=1)
def test_the_model_leaves_its_tokens_alone(student, rng):
    """It takes float64 weights, one token, views with gaps; `src` and `tgt` are the same afterwards."""
    src, tgt = _padded(rng)
    wide = torch.stack([src, src], -1)[..., 0]
    module, ours = _model(student, rng)
    want = _right(ours, src, tgt)
    expect.close(module(wide, tgt), want, tolerance=1e-4)
    expect.unchanged(student, EDITS)
    module.double()
    expect.close(
        module(src[2:, :1], tgt[:1, :1]),
        _right(deepcopy(ours).double(), src[2:, :1], tgt[:1, :1]),
        "One token each.",
        1e-5,
    )


class _Assembled(nn.Module):
    """The model in steps, which a wrong answer can replace one by one."""

    embedding: Any = _Embeds

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
        self.pad = pad
        self.src_embedding = self.embedding(src_vocab, d_model, dropout, pad)
        self.tgt_embedding = self.embedding(tgt_vocab, d_model, dropout, pad)
        self.encoder = Encoder(num_layers, d_model, num_heads, d_ff, dropout, order)
        self.decoder = Decoder(num_layers, d_model, num_heads, d_ff, dropout, order)
        self.W_out = nn.Linear(d_model, tgt_vocab)

    def src_mask(self, src):
        return (src != self.pad)[:, None, None, :]

    def tgt_mask(self, tgt):
        return causal_mask(tgt.shape[1], like=tgt)

    def read(self, src):
        return self.encoder(self.src_embedding(src), self.src_mask(src))

    def write(self, tgt, memory, src):
        return self.decoder(self.tgt_embedding(tgt), memory, self.tgt_mask(tgt), self.src_mask(src))

    def head(self, hidden):
        return self.W_out(hidden)

    def forward(self, src, tgt):
        return self.head(self.write(tgt, self.read(src), src))


@Transformer.misconception(caught_by=test_the_model_has_these_parameters)
class TransformerTied(_Assembled):
    """`W_out` shares its matrix with an embedding. The paper does that, and saves a third of a small model's numbers;
    here both are asked for. (Who ties must tie with the *target's* table, and mind that the row of padding is trained
    from behind.)"""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.W_out.weight = self.tgt_embedding.tokens.weight


@Transformer.misconception(caught_by=test_the_model_has_these_parameters)
class TransformerWithoutBias(_Assembled):
    """`W_out` has no bias here. `nn.Linear(d_model, tgt_vocab)` makes one, which learns how frequent each word is."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.W_out = nn.Linear(self.W_out.in_features, self.W_out.out_features, bias=False)


@Transformer.misconception(caught_by=test_the_model_has_these_parameters)
class TransformerOfOneLayer(_Assembled):
    """`num_layers` does not arrive: there is one layer in each stack, however many are asked for."""

    def __init__(self, src_vocab, tgt_vocab, d_model=512, num_heads=8, num_layers=6, *rest, **options):
        super().__init__(src_vocab, tgt_vocab, d_model, num_heads, 1, *rest, **options)


@Transformer.misconception(caught_by=test_the_model_has_these_parameters)
class TransformerWithVocabulariesExchanged(_Assembled):
    """The two vocabularies changed places: the head has as many rows as the *source* has words. The model writes target
    words, so `W_out` and `tgt_embedding` take `tgt_vocab`."""

    def __init__(self, src_vocab, tgt_vocab, *sizes, **options):
        super().__init__(tgt_vocab, src_vocab, *sizes, **options)


class _Unscaled(_Embeds):
    def rows(self, tokens):
        return self.tokens(tokens)


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerOfWhispers(_Assembled):
    """The embeddings are not scaled by √d_model. Whose `Embedding` does your model use, and does it pass its check?"""

    embedding = _Unscaled


class _Unplaced(_Embeds):
    def forward(self, tokens):
        return self.drop(self.rows(tokens))


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerWithoutPlaces(_Assembled):
    """The positions are missing. Does your model use `nn.Embedding` where your own `Embedding` is meant?"""

    embedding = _Unplaced


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerThatSkipsItsEncoder(_Assembled):
    """The decoder reads the *embedded source*, not what the encoder made of it. The memory is the encoder's output:
    `memory = self.encoder(self.src_embedding(src), src_mask)`."""

    def read(self, src):
        return self.src_embedding(src) + 0 * super().read(src)


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerThatReadsTheTarget(_Assembled):
    """The encoder was given the *target*. Then the decoder's memory holds the answer, the future too: the loss falls to
    nothing in training, and at the end there is no target to read. The encoder reads `src`."""

    def forward(self, src, tgt):
        memory = self.encoder(self.tgt_embedding(tgt))
        return self.head(self.decoder(self.tgt_embedding(tgt), memory, self.tgt_mask(tgt)))


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerThatWritesTheSource(_Assembled):
    """The decoder was given the *source* as what has been written so far. It continues the target: embed `tgt`, with
    the target's embedding."""

    def write(self, tgt, memory, src):
        return self.decoder(self.src_embedding(src), memory, self.tgt_mask(src), self.src_mask(src))


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerOfOneLanguage(_Assembled):
    """Source and target went through the same table, that of the source. Their ids name different words: id 12 may be
    "dog" here and "klein" there. The target has a table of its own."""

    def write(self, tgt, memory, src):
        x = self.src_embedding(tgt.clamp(max=self.src_embedding.tokens.num_embeddings - 1))
        return self.decoder(x, memory, self.tgt_mask(tgt), self.src_mask(src))


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerOfTheOtherLanguage(_Assembled):
    """Source and target went through the same table, that of the target. Their ids name different words. The source has
    a table of its own."""

    def read(self, src):
        return self.encoder(self.tgt_embedding(src), self.src_mask(src))


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerThatShiftsAgain(_Assembled):
    """The target was shifted inside the model. What comes in *is* what the decoder reads: whoever calls the model has
    shifted it. Shifted twice, every word is asked for two places ahead."""

    def forward(self, src, tgt):
        shifted = torch.cat([torch.ones_like(tgt[:, :1]), tgt[:, :-1]], dim=1)
        return super().forward(src, shifted)


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerThatDropsTheLast(_Assembled):
    """The last token of the target was cut off inside the model, so one row of logits is missing. What comes in *is*
    what the decoder reads: T tokens, T rows."""

    def forward(self, src, tgt):
        return super().forward(src, tgt[:, :-1])


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerThatSumsOverTime(_Assembled):
    """The positions were added up before the head, so one answer is left for the whole sentence. Each place writes a
    word of its own: `W_out` works on the last axis, and the axis of time stays."""

    def head(self, hidden):
        return self.W_out(hidden.sum(1))


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerOfTheLastPlace(_Assembled):
    """Only the last place got logits. That is enough to write one word; to *train*, every place must answer: `(B, T,
    tgt_vocab)`."""

    def head(self, hidden):
        return self.W_out(hidden[:, -1])


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerWithoutHead(_Assembled):
    """The decoder's output was returned as it is, of width d_model. `W_out` turns it into one number for each word of
    the target."""

    def head(self, hidden):
        return hidden


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerWithSoftmax(_Assembled):
    """These are probabilities. The loss takes *logits* and does the softmax itself, safely; with a softmax in the model
    there are two."""

    def head(self, hidden):
        return self.W_out(hidden).softmax(-1)


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerWithLogSoftmax(_Assembled):
    """These are log-probabilities. They do no harm to the loss (log-softmax of a log-softmax changes nothing), but what
    was asked for are logits, `W_out(…)` as it comes."""

    def head(self, hidden):
        return self.W_out(hidden).log_softmax(-1)


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerDeafToOrder(_Assembled):
    """`order` was taken and never handed on: both stacks have their norms after the sum, whatever is asked for."""

    def __init__(self, *sizes, order="post", **options):
        super().__init__(*sizes, **options)


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerPreUnlessTold(_Assembled):
    """Where nobody says `order`, the norms stand before the sublayers. That is how models are built today; the
    signature here promises the paper's, `order="post"`, and who leaves an argument out relies on its default."""

    def __init__(self, *sizes, order="pre", **options):
        super().__init__(*sizes, **options | {"order": order})


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerWithATuple(_Assembled):
    """The model returns a pair. Some libraries return the memory too; here the logits alone were asked for."""

    def forward(self, src, tgt):
        memory = self.read(src)
        return self.head(self.write(tgt, memory, src)), memory


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerWithPaddingForPast(_Assembled):
    """The masks changed places: the decoder's self-attention got the source's padding, its cross-attention the causal
    mask. The order is `decoder(x, memory, mask, memory_mask)`."""

    def write(self, tgt, memory, src):
        T, S = tgt.shape[1], src.shape[1]
        return self.decoder(self.tgt_embedding(tgt), memory, None, causal_mask(S, like=src)[:T])


@Transformer.misconception(caught_by=test_the_future_is_never_seen)
class TransformerWithoutCausalMask(_Assembled):
    """There is no causal mask: each place sees the word that it is asked for, one place to its right. The loss falls
    to nothing, and what has learned to copy cannot write."""

    def tgt_mask(self, tgt):
        return None


@Transformer.misconception(caught_by=test_the_future_is_never_seen)
class TransformerThatSeesTheFutureOnly(_Assembled):
    """The causal mask is turned around: each place sees itself and what comes *after* it. In this course True means:
    may attend. PyTorch's `generate_square_subsequent_mask` and boolean masks mean the opposite."""

    def tgt_mask(self, tgt):
        return causal_mask(tgt.shape[1], like=tgt).T


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerWithPyTorchsCausalMask(_Assembled):
    """The causal mask says the opposite: `~causal_mask(…)`, True where a place may *not* look. That is how PyTorch's
    own modules read a boolean mask. In this course True means: may attend."""

    def tgt_mask(self, tgt):
        return ~causal_mask(tgt.shape[1], like=tgt)


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerThatDoesNotSeeThePresent(_Assembled):
    """The causal mask hides the present as well: place t sees only what stands *before* t, and place 0 nothing. The
    target comes shifted already, so what stands at place t is the word before the one that is asked for: it is the most
    useful of all."""

    def tgt_mask(self, tgt):
        return causal_mask(tgt.shape[1], like=tgt).tril(-1)


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerWhoseEncoderLooksBackOnly(_Assembled):
    """The encoder got a causal mask. The source is there as a whole before the first word is written: every word of it
    may look at every other. Only the decoder must not look ahead."""

    def read(self, src):
        return self.encoder(self.src_embedding(src), self.src_mask(src) & causal_mask(src.shape[1], like=src))


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerThatReadsAsFarAsItHasWritten(_Assembled):
    """Cross-attention got a causal mask: at place t the decoder sees the first t words of the source only. Languages do
    not keep step, and the source holds no secret: the decoder may look at all of it, padding excepted."""

    def write(self, tgt, memory, src):
        T, S = tgt.shape[1], src.shape[1]
        across = self.src_mask(src) & (torch.arange(T)[:, None] >= torch.arange(S))
        return self.decoder(self.tgt_embedding(tgt), memory, self.tgt_mask(tgt), across)


@Transformer.misconception(caught_by=test_padding_of_the_source_is_never_seen)
class TransformerWithAZeroedMemory(_Assembled):
    """What the encoder wrote at padded places was set to zero, in place of a mask for cross-attention. A key of zeros
    has the score of its bias, not −∞: padding still takes its share of the weights. Give the decoder `src_mask`."""

    def write(self, tgt, memory, src):
        memory = memory * (src != self.pad)[..., None]
        return self.decoder(self.tgt_embedding(tgt), memory, self.tgt_mask(tgt))


@Transformer.misconception(caught_by=test_padding_of_the_source_is_never_seen)
class TransformerWhoseTablesDoNotKnowPadding(_Assembled):
    """The masks know `pad`, the embeddings do not: they were made with 0. Hand `pad` on, so that it is *its* row that
    is zero and stays zero."""

    def __init__(self, *sizes, pad=0, **options):
        super().__init__(*sizes, **options)
        self.pad = pad


@Transformer.misconception(caught_by=test_padding_of_the_source_is_never_seen)
class TransformerDrawnAnew(_Assembled):
    """All matrices were drawn anew at the end, by `xavier_uniform_` or its like, the tables of words with them. So the
    rows of padding are zero no more, and words start at another size than you gave them. Leave the embeddings out."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)


@Transformer.misconception(caught_by=test_the_model_has_these_parameters)
class TransformerOfOneLayerUsedAgain(_Assembled):
    """The layers of a stack are one and the same, used again and again (`[layer] * num_layers` makes a list of one
    thing). It has the depth of many and the weights of one. Make each anew, in a loop."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        for stack in (self.encoder, self.decoder):
            stack.layers = nn.ModuleList([stack.layers[0]] * len(stack.layers))


@Transformer.misconception(caught_by=test_padding_of_the_source_is_never_seen)
class TransformerWhoseEncoderSeesPadding(_Assembled):
    """The encoder looks at padding: it was given no mask. So a word's vector depends on how long the *other* sentences
    of its batch are. `self.encoder(x, src_mask)`."""

    def read(self, src):
        return self.encoder(self.src_embedding(src))


@Transformer.misconception(caught_by=test_padding_of_the_source_is_never_seen)
class TransformerWhoseDecoderSeesPadding(_Assembled):
    """The decoder looks at padding in the memory: cross-attention was given no mask. The encoder's mask hides padding
    from the encoder only; what it wrote at padded places still stands in the memory."""

    def write(self, tgt, memory, src):
        return self.decoder(self.tgt_embedding(tgt), memory, self.tgt_mask(tgt))


@Transformer.misconception(caught_by=test_padding_of_the_source_is_never_seen)
class TransformerWithoutPaddingMask(_Assembled):
    """Padding is attended to, in the encoder and across: there is no mask of the source at all. Both need
    `src_mask`."""

    def src_mask(self, src):
        return None


@Transformer.misconception(caught_by=test_the_model_gives_logits_for_every_place)
class TransformerWithMaskTurnedAround(_Assembled):
    """The mask of the source is turned around: it permits padding and hides the words. True means: may attend, so it is
    `src != pad`."""

    def src_mask(self, src):
        return (src == self.pad)[:, None, None, :]


@Transformer.misconception(caught_by=test_padding_of_the_source_is_never_seen)
class TransformerPaddedWithZero(_Assembled):
    """Padding is taken to be id 0, whatever `pad` says. Keep the argument, `self.pad = pad`, and compare with that."""

    def src_mask(self, src):
        return (src != 0)[:, None, None, :]


@Transformer.misconception(caught_by=test_the_model_can_be_trained)
class TransformerWithADetachedMemory(_Assembled):
    """The memory was detached, or made under `torch.no_grad()`. The answers are right; the encoder never learns, for
    its only teacher is the decoder, and the gradient comes through the memory."""

    def read(self, src):
        with torch.no_grad():
            return super().read(src)


@Transformer.misconception(caught_by=test_dropout_is_handed_on)
class TransformerWithoutDropout(_Assembled):
    """`dropout` was taken and never handed on. Both embeddings and both stacks want it."""

    def __init__(self, *sizes, dropout=0.1, **options):
        super().__init__(*sizes, **options | {"dropout": 0.0})


@Transformer.misconception(caught_by=test_dropout_is_handed_on)
class TransformerThatDropsNothingUnlessTold(_Assembled):
    """Where nobody says `dropout`, nothing is dropped. The signature promises 0.1, and who leaves an argument out
    relies on its default."""

    def __init__(self, *sizes, dropout=0.0, **options):
        super().__init__(*sizes, **options | {"dropout": dropout})


@Transformer.misconception(caught_by=test_dropout_is_handed_on)
class TransformerWithEmbeddingsThatNeverDrop(_Assembled):
    """The stacks got `dropout`, the embeddings did not: the sum of word and place is never dropped."""

    def __init__(self, src_vocab, tgt_vocab, d_model=512, *sizes, pad=0, **options):
        super().__init__(src_vocab, tgt_vocab, d_model, *sizes, **options | {"pad": pad})
        self.src_embedding = self.embedding(src_vocab, d_model, 0.0, pad)
        self.tgt_embedding = self.embedding(tgt_vocab, d_model, 0.0, pad)


@Transformer.misconception(caught_by=test_the_model_has_these_parameters)
class TransformerOfHalfTheWidth(_Assembled):
    """Where nobody says `d_model`, it is 256 wide. The signature promises the paper's 512, and who leaves an argument
    out relies on its default."""

    def __init__(self, src_vocab, tgt_vocab, d_model=256, *sizes, **options):
        super().__init__(src_vocab, tgt_vocab, d_model, *sizes, **options)


@Transformer.misconception(caught_by=test_dropout_is_handed_on)
class TransformerWithStacksThatNeverDrop(_Assembled):
    """The embeddings got `dropout`, the stacks did not: the layers never drop anything."""

    def __init__(self, src_vocab, tgt_vocab, d_model=512, *sizes, dropout=0.1, pad=0, **options):
        super().__init__(src_vocab, tgt_vocab, d_model, *sizes, **options | {"dropout": 0.0, "pad": pad})
        self.src_embedding = self.embedding(src_vocab, d_model, dropout, pad)
        self.tgt_embedding = self.embedding(tgt_vocab, d_model, dropout, pad)


@Transformer.alternative
class TransformerWithATargetMask(_Assembled):
    """Hides the target's padding too, which the causal mask would do alone."""

    def tgt_mask(self, tgt):
        T = tgt.shape[1]
        lengths = (tgt != self.pad).sum(1)
        return padding_mask(lengths, T) & torch.tril(torch.ones(T, T, dtype=torch.bool))

    def src_mask(self, src):
        return padding_mask((src != self.pad).sum(1), src.shape[1])


@Transformer.alternative
class TransformerThatKeepsItsMask(_Assembled):
    """Keeps the causal mask as a buffer, which is neither learned nor saved."""

    past: torch.Tensor

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.register_buffer("past", torch.ones(64, 64, dtype=torch.bool).tril(), persistent=False)

    def tgt_mask(self, tgt):
        T = tgt.shape[1]
        return self.past[:T, :T]


@Transformer.alternative
class TransformerLayerByLayer(_Assembled):
    """Runs the layers itself, and multiplies by W_out by hand."""

    def __init__(self, *sizes, verbose=False, **options):
        super().__init__(*sizes, **options)

    def forward(self, src, tgt):
        real = (src != self.pad)[:, None, None, :]
        memory = self.src_embedding(src)
        for layer in self.encoder.layers:
            memory = layer(memory, real)
        memory = self.encoder.norm(memory)
        T = tgt.shape[1]
        past = torch.arange(T)[:, None] >= torch.arange(T)
        hidden = self.tgt_embedding(tgt)
        for layer in self.decoder.layers:
            hidden = layer(hidden, memory, past, real)
        return torch.einsum("btd,vd->btv", self.decoder.norm(hidden), self.W_out.weight) + self.W_out.bias


# ---------------------------------------------------------------------------------------------- label_smoothed_loss

label_smoothed_loss = Exercise(
    "label_smoothed_loss", chapter=14, reference=reference.label_smoothed_loss, minutes=20, difficulty=2
)


def _wanted(logits, targets, smoothing, pad):
    """The loss, place by place in float64: an oracle that shares no line with the reference."""
    x, y = logits.detach().double().numpy(), targets.numpy()
    total, places = 0.0, 0
    for place in np.ndindex(y.shape):
        if y[place] == pad:
            continue
        row = x[place] - x[place].max()
        log_p = row - np.log(np.exp(row).sum())
        total -= (1 - smoothing) * log_p[y[place]]
        total -= smoothing * np.delete(log_p, pad).mean()
        places += 1
    return total / max(places, 1)


def _some_logits(rng, *shape, pad=0, size=1.0):
    """Logits (…, V) and targets, of which about a third is padding and the first is not."""
    logits = size * _normal(rng, *shape)
    targets = _ids(rng, shape[-1], *shape[:-1], low=0)
    targets[torch.tensor(rng.random(shape[:-1]) < 0.3)] = pad
    targets[targets == pad] = pad
    targets.view(-1)[0] = (pad + 1) % shape[-1]
    return logits, targets


@label_smoothed_loss.check(points=1)
def test_the_loss_of_known_numbers(student, rng):
    """Four tokens of which 0 is padding, with probabilities ⅛, ½, ¼, ⅛; the target is 1, ε = 0.3. So q = 0, 0.8, 0.1,
    0.1, and the loss is 1.3 · log 2."""
    logits = torch.tensor([[1 / 8, 1 / 2, 1 / 4, 1 / 8]], dtype=torch.float64).log()
    expect.close(
        student.label_smoothed_loss(logits, torch.tensor([1]), smoothing=0.3),
        1.3 * math.log(2),
        "ε is shared by the three tokens that are not padding, the target among them. And log ¼ is −2 log 2.",
    )
    logits, targets = _normal(rng, 1, 7), torch.tensor([3])
    expect.close(
        student.label_smoothed_loss(logits, targets, smoothing=0.2),
        _wanted(logits, targets, 0.2, 0),
        "Is it −Σ q log p, with q = 1 − ε on the target plus ε spread evenly?",
        1e-5,
    )


@label_smoothed_loss.check(points=1)
def test_without_smoothing_it_is_cross_entropy(student, rng):
    """With ε = 0 it is the cross-entropy of chapter 1: −log p of the target, in the mean."""
    logits = _normal(rng, 2, 3, 7)
    targets = _ids(rng, 7, 2, 3)
    expect.close(
        student.label_smoothed_loss(logits, targets, smoothing=0.0),
        _wanted(logits, targets, 0.0, 0),
        "Is anything left over where ε = 0?",
        1e-5,
    )


@label_smoothed_loss.check(points=2)
def test_places_of_padding_count_nothing(student, rng):
    """A place whose target is `pad` adds nothing to the sum and is not counted: it is a mean over all real tokens."""
    for smoothing in (0.0, 0.1):
        logits, targets = _some_logits(rng, 3, 11, 7)
        targets[0] = torch.cat([targets[0, :1], torch.zeros(10, dtype=torch.int64)])
        want = _wanted(logits, targets, smoothing, 0)
        expect.close(
            student.label_smoothed_loss(logits, targets, smoothing=smoothing),
            want,
            "By how many is the sum divided: all places, all sentences, or all real tokens?",
            1e-5,
        )
    expect.close(
        student.label_smoothed_loss(logits, torch.zeros_like(targets)) + student.label_smoothed_loss(logits, targets),
        _wanted(logits, targets, 0.1, 0),
        "In the first of two batches everything was padding. Its loss is 0: what did you divide by?",
        1e-5,
    )


@label_smoothed_loss.check(points=2)
def test_no_mass_lies_on_padding(student, rng):
    """Padding is never an answer. However small its probability is, the loss does not ask for more of it."""
    for pad in (0, 5):
        logits, targets = _some_logits(rng, 3, 5, 7, pad=pad)
        logits[..., pad] = -1000.0
        expect.close(
            student.label_smoothed_loss(logits, targets, smoothing=0.1, pad=pad),
            _wanted(logits, targets, 0.1, pad),
            f"pad = {pad}: over how many tokens is ε spread, and is padding one of them?",
            1e-5,
        )


@label_smoothed_loss.check(points=1)
def test_the_gradient_is_what_is_said_less_what_is_wanted(student, rng):
    """The gradient at a real place is (softmax − q) / number of real tokens, and 0 at padding."""
    logits, targets = _some_logits(rng, 2, 5, 7)
    q = torch.full((2, 5, 7), 0.1 / 6)
    q[..., 0] = 0
    q.scatter_add_(-1, targets[..., None], torch.full((2, 5, 1), 0.9))
    real = (targets != 0)[..., None]
    want = (logits.softmax(-1) - q) * real / real.sum()
    came = student.label_smoothed_loss.gradients(logits, targets, smoothing=0.1)
    expect.true(came.inputs[0] is not None, "No gradient reaches the logits.", "Was something detached?")
    expect.close(came.inputs[0], want, "Is the loss PyTorch all the way, and each place counted once?", 1e-5)


@label_smoothed_loss.check(points=1)
def test_the_loss_takes_every_kind_of_logits(student, rng):
    """Logits of 10,000, float64, views with gaps, any axes in front: all fine. Nothing is changed by it."""
    logits, targets = _some_logits(rng, 2, 5, 7)
    logits = 1e4 * logits
    want = _wanted(logits, targets, 0.1, 0)
    got = student.label_smoothed_loss(logits, targets)
    expect.close(got, want, "Logits may be large. Is it `log_softmax`, and not the log of a softmax?", 1e-4)
    logits, targets = _normal(rng, 7, 5, 3, 2, dtype=torch.float64).permute(3, 2, 1, 0), _ids(rng, 7, 2, 3, 5)
    want = _wanted(logits, targets, 0.3, 0)
    expect.close(student.label_smoothed_loss(logits, targets, smoothing=0.3), want, "There were three axes in front.")
    expect.unchanged(student, EDITS)


@label_smoothed_loss.inputs
def _batches_of_logits(rng):
    for pad in (0, 3, 0, 3):
        yield _some_logits(rng, 2, 5, 7, pad=pad), {"smoothing": 0.2, "pad": pad}


def _q(logits, targets, smoothing, pad, *, on_target=None, spread=None, hide=True):
    """What is wanted at each place, made in parts, which a wrong answer can replace one by one."""
    V = logits.shape[-1]
    q = torch.full_like(logits, smoothing / (V - 1) if spread is None else spread, requires_grad=False)
    if hide:
        q[..., pad] = 0
    mass = 1 - smoothing if on_target is None else on_target
    return q.scatter_add_(-1, targets[..., None], torch.full_like(q[..., :1], mass))


def _smoothed(logits, targets, smoothing, pad, **parts):
    """Losses of all places, against `_q` of these parts; places of padding are 0."""
    q = _q(logits, targets, smoothing, pad, **parts)
    return -(q * logits.log_softmax(-1)).sum(-1).masked_fill(targets == pad, 0)


def _mean_of(losses, targets, pad):
    return losses.sum() / (targets != pad).sum().clamp(min=1)


@label_smoothed_loss.misconception(caught_by=test_no_mass_lies_on_padding)
def puts_mass_on_padding(logits, targets, smoothing=0.1, pad=0):
    """The ε was spread over *all* tokens, and a part of it lies on padding. So the model is taught to write padding, a
    little, everywhere. PyTorch's own `label_smoothing=` does this. Spread it over the V − 1 others."""
    spread = smoothing / logits.shape[-1]
    return _mean_of(_smoothed(logits, targets, smoothing, pad, spread=spread, hide=False), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def loses_the_mass_of_padding(logits, targets, smoothing=0.1, pad=0):
    """The ε was divided by V, and then padding's part was set to zero: what is left does not add up to one. There are
    V − 1 tokens to share it."""
    return _mean_of(_smoothed(logits, targets, smoothing, pad, spread=smoothing / logits.shape[-1]), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def divides_what_padding_leaves(logits, targets, smoothing=0.1, pad=0):
    """The ε was spread over all V tokens, padding's part was set to zero, and the rest divided by its sum. That adds up
    to one, but the target got more than its due: ε is shared by V − 1 from the start, and nothing is divided again."""
    q = _q(logits, targets, smoothing, pad, spread=smoothing / logits.shape[-1])
    q = q / q.sum(-1, keepdim=True)
    return _mean_of(-(q * logits.log_softmax(-1)).sum(-1).masked_fill(targets == pad, 0), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def returns_a_loss_a_place(logits, targets, smoothing=0.1, pad=0):
    """It returns a loss for each place. One number is asked for, which can be differentiated: their sum, divided by the
    number of real tokens."""
    return _smoothed(logits, targets, smoothing, pad)


@label_smoothed_loss.misconception(caught_by=test_without_smoothing_it_is_cross_entropy)
def compares_places_with_each_other(logits, targets, smoothing=0.1, pad=0):
    """The softmax runs along axis 1, the places of a sentence. It is the *tokens* that share a probability, at each
    place: the last axis, `log_softmax(dim=-1)`."""
    q = _q(logits, targets, smoothing, pad)
    return _mean_of(-(q * logits.log_softmax(1)).sum(-1).masked_fill(targets == pad, 0), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def spreads_over_the_others_alone(logits, targets, smoothing=0.1, pad=0):
    """The ε was spread over the *wrong* tokens alone, V − 2 of them, and the target keeps 1 − ε. Some libraries do so.
    The formula here mixes with the uniform distribution, in which the target has its share as well."""
    spread = smoothing / (logits.shape[-1] - 2)
    losses = _smoothed(logits, targets, smoothing, pad, spread=spread, on_target=1 - smoothing - spread)
    return _mean_of(losses, targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def leaves_the_target_without_its_share(logits, targets, smoothing=0.1, pad=0):
    """The wrong tokens got ε/(V − 1) each and the target 1 − ε, so q adds up to less than one. In the formula the even
    share goes to *every* token but padding, and the target is one of them: it gets 1 − ε + ε/(V − 1)."""
    spread = smoothing / (logits.shape[-1] - 1)
    return _mean_of(_smoothed(logits, targets, smoothing, pad, on_target=1 - smoothing - spread), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def smooths_by_a_tenth_whatever_is_asked(logits, targets, smoothing=0.1, pad=0):
    """The ε here is 0.1, whatever `smoothing` says. The argument says how much is shared."""
    return _mean_of(_smoothed(logits, targets, 0.1, pad), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def measures_from_the_floor(logits, targets, smoothing=0.1, pad=0):
    """The floor was taken off: this is the distance from p to q (the Kullback–Leibler divergence), which is 0 at p = q.
    Its gradient is the same, its value is not. The formula is −Σ q log p, without the Σ q log q."""
    V = logits.shape[-1]
    even = smoothing / (V - 1)
    top = 1 - smoothing + even
    floor = -top * math.log(top) - ((V - 2) * even * math.log(even) if even else 0.0)
    return _mean_of(_smoothed(logits, targets, smoothing, pad), targets, pad) - floor * bool((targets != pad).any())


@label_smoothed_loss.misconception(caught_by=test_without_smoothing_it_is_cross_entropy)
def returns_a_perplexity(logits, targets, smoothing=0.1, pad=0):
    """This is `exp` of the loss, a perplexity. It is good to read; the optimiser is given the loss itself."""
    return _mean_of(_smoothed(logits, targets, smoothing, pad), targets, pad).exp()


@label_smoothed_loss.misconception(caught_by=test_without_smoothing_it_is_cross_entropy)
def forgets_the_logarithm(logits, targets, smoothing=0.1, pad=0):
    """The logarithm is missing: this is −Σ q p, with the probabilities themselves. It cannot fall below −1, and where p
    is nearly 0 its gradient is nearly 0 too, so the worst mistakes are the last to be mended. `log_softmax`."""
    q = _q(logits, targets, smoothing, pad)
    return _mean_of(-(q * logits.softmax(-1)).sum(-1).masked_fill(targets == pad, 0), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_without_smoothing_it_is_cross_entropy)
def takes_padding_out_of_the_softmax(logits, targets, smoothing=0.1, pad=0):
    """Padding's logit was put out of the softmax, so the others share its probability. But the model *does* give it
    some, and must be told that this is wasted: padding gets no share of q, its p stays in the softmax."""
    chosen = torch.arange(logits.shape[-1]) == pad
    return reference.label_smoothed_loss(logits.masked_fill(chosen, -1e9), targets, smoothing, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_takes_every_kind_of_logits)
def clips_its_probabilities(logits, targets, smoothing=0.1, pad=0):
    """A small number was put under the probabilities before the logarithm. No infinity comes, but where p is smaller
    than that number the gradient is gone: where the model is most wrong, it learns nothing. `log_softmax` needs no such
    floor."""
    log_p = logits.softmax(-1).clamp(min=1e-9).log()
    nll = -log_p.gather(-1, targets[..., None])[..., 0]
    even = -(log_p.sum(-1) - log_p[..., pad]) / (logits.shape[-1] - 1)
    real = targets != pad
    return _mean_of(((1 - smoothing) * nll + smoothing * even) * real, targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def forgets_to_take_from_the_target(logits, targets, smoothing=0.1, pad=0):
    """The target kept its whole 1, and ε came on top: q adds up to 1 + ε. What is given to all is taken from the
    target."""
    return _mean_of(_smoothed(logits, targets, smoothing, pad, on_target=1.0), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def exchanges_the_two_shares(logits, targets, smoothing=0.1, pad=0):
    """The ε and the 1 − ε changed places: the target gets ε and everybody shares the rest."""
    return _mean_of(_smoothed(logits, targets, 1 - smoothing, pad), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def does_not_smooth(logits, targets, smoothing=0.1, pad=0):
    """This is plain cross-entropy: `smoothing` has no effect."""
    return _mean_of(_smoothed(logits, targets, 0.0, pad), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def gives_everyone_the_whole_of_it(logits, targets, smoothing=0.1, pad=0):
    """Every token got ε, not its share of ε: q adds up to far more than one. Divide ε by the number of those who share
    it."""
    return _mean_of(_smoothed(logits, targets, smoothing, pad, spread=smoothing), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_places_of_padding_count_nothing)
def divides_by_all_places(logits, targets, smoothing=0.1, pad=0):
    """The sum was divided by *all* places, padding too. A batch with much padding then seems to have a small loss, and
    its gradient is small. Divide by the number of real tokens."""
    return _smoothed(logits, targets, smoothing, pad).mean()


@label_smoothed_loss.misconception(caught_by=test_places_of_padding_count_nothing)
def learns_to_write_padding(logits, targets, smoothing=0.1, pad=0):
    """Places of padding count like any other: the model is praised for writing padding after padding. Leave out places
    whose *target* is `pad`, from the sum and from the count."""
    return -(_q(logits, targets, smoothing, pad) * logits.log_softmax(-1)).sum(-1).mean()


@label_smoothed_loss.misconception(caught_by=test_places_of_padding_count_nothing)
def smooths_padding_too(logits, targets, smoothing=0.1, pad=0):
    """At places of padding the share of the target was left out, and the even share of ε stayed: they still pull
    towards the uniform distribution. A place whose target is `pad` must drop out altogether."""
    even = _smoothed(logits, torch.where(targets == pad, (pad + 1) % 2, targets), smoothing, pad, on_target=0.0)
    straight = _smoothed(logits, targets, smoothing, pad, spread=0.0)
    return _mean_of(even + straight, targets, pad)


@label_smoothed_loss.misconception(caught_by=test_places_of_padding_count_nothing)
def averages_sentences(logits, targets, smoothing=0.1, pad=0):
    """Each sentence was averaged by itself, then the sentences. A word in a short sentence so weighs more than one in a
    long one. One sum over all real tokens, one division."""
    losses = _smoothed(logits, targets, smoothing, pad).reshape(-1, targets.shape[-1])
    return (losses.sum(-1) / (targets != pad).reshape(losses.shape).sum(-1).clamp(min=1)).mean()


@label_smoothed_loss.misconception(caught_by=test_places_of_padding_count_nothing)
def sums_the_losses(logits, targets, smoothing=0.1, pad=0):
    """This is the sum, not the mean: the loss grows with the batch, and so do its gradients."""
    return _smoothed(logits, targets, smoothing, pad).sum()


@label_smoothed_loss.misconception(caught_by=test_places_of_padding_count_nothing)
def divides_by_the_sentences(logits, targets, smoothing=0.1, pad=0):
    """The sum was divided by the number of sentences. Then a long sentence has a larger loss than a short one, however
    good it is. Divide by the number of real tokens."""
    return _smoothed(logits, targets, smoothing, pad).sum() / logits.shape[0]


@label_smoothed_loss.misconception(caught_by=test_places_of_padding_count_nothing)
def divides_nothing_by_nothing(logits, targets, smoothing=0.1, pad=0):
    """Where a batch holds nothing but padding, this is 0/0, and the NaN gets into every weight at the next step. Divide
    by `count.clamp(min=1)`: the loss of nothing is 0."""
    return _smoothed(logits, targets, smoothing, pad).sum() / (targets != pad).sum()


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def takes_logits_for_probabilities(logits, targets, smoothing=0.1, pad=0):
    """The softmax is missing: logits were used as if they were log-probabilities. It even falls in training, without
    end. `log_softmax` first."""
    q = _q(logits, targets, smoothing, pad)
    return _mean_of(-(q * logits).sum(-1).masked_fill(targets == pad, 0), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def takes_two_softmaxes(logits, targets, smoothing=0.1, pad=0):
    """There are two softmaxes, one after the other: the second sees numbers between 0 and 1 and makes nearly equal
    probabilities of them. The loss can never come near its floor."""
    return _mean_of(_smoothed(logits.softmax(-1), targets, smoothing, pad), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_of_known_numbers)
def forgets_the_minus(logits, targets, smoothing=0.1, pad=0):
    """The minus sign is missing. An optimiser goes down: it would make the right words as unlikely as it can."""
    return -_mean_of(_smoothed(logits, targets, smoothing, pad), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_takes_every_kind_of_logits)
def takes_the_log_of_a_softmax(logits, targets, smoothing=0.1, pad=0):
    """The softmax was taken first and then its logarithm. A probability below 10⁻³⁸ is 0 in float32, and log 0 is −∞
    (chapter 1). `log_softmax` does both in one, safely."""
    q = _q(logits, targets, smoothing, pad) * (targets != pad)[..., None]
    return _mean_of(-(q * logits.softmax(-1).log()).sum(-1), targets, pad)


@label_smoothed_loss.misconception(caught_by=test_no_mass_lies_on_padding)
def takes_padding_for_zero(logits, targets, smoothing=0.1, pad=0):
    """Padding is taken to be id 0, whatever `pad` says. The argument says which it is."""
    return _mean_of(_smoothed(logits, targets, smoothing, 0), targets, 0)


@label_smoothed_loss.misconception(caught_by=test_the_gradient_is_what_is_said_less_what_is_wanted)
def gives_a_loss_without_a_gradient(logits, targets, smoothing=0.1, pad=0):
    """The number is right and nothing can be learned from it: it was made in NumPy, by `.item()`, or detached. A loss
    must stay a tensor, joined to the logits."""
    return reference.label_smoothed_loss(logits.detach(), targets, smoothing, pad)


@label_smoothed_loss.misconception(caught_by=test_the_loss_takes_every_kind_of_logits)
def writes_into_the_targets(logits, targets, smoothing=0.1, pad=0):
    """The number is right, and the caller's logits or targets are changed afterwards. `masked_fill_` and `x[…] = …`
    write into what they are given; the model's own output is no scratch paper."""
    loss = reference.label_smoothed_loss(logits, targets, smoothing, pad)
    targets[targets == pad] = -100
    with torch.no_grad():
        logits[..., pad] = -torch.inf
    return loss


@label_smoothed_loss.alternative
def smoothed_loss_by_gathering(logits, targets, smoothing=0.1, pad=0, reduce=True):
    log_p = logits.log_softmax(dim=-1)
    nll = -log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    others = torch.arange(logits.shape[-1]) != pad
    even = -log_p[..., others].mean(-1)
    losses = (1 - smoothing) * nll + smoothing * even
    real = targets != pad
    return torch.where(real, losses, 0.0).sum() / max(int(real.sum()), 1)


@label_smoothed_loss.alternative
def smoothed_loss_of_the_real_places(logits, targets, smoothing=0.1, pad=0):
    rows, answers = logits[targets != pad], targets[targets != pad]
    if len(answers) == 0:
        return 0 * logits.sum()
    q = torch.zeros_like(rows)
    q[:, torch.arange(rows.shape[-1]) != pad] = smoothing / (rows.shape[-1] - 1)
    q[torch.arange(len(answers)), answers] += 1 - smoothing
    return nn.functional.cross_entropy(rows, q)


# ------------------------------------------------------------------------------------------------------ warmup_rate

warmup_rate = Exercise("warmup_rate", chapter=14, reference=reference.warmup_rate, minutes=10, difficulty=1)


@warmup_rate.check(points=1)
def test_the_rate_of_known_numbers(student, rng):
    """With d_model = 4 and warmup = 4: 1/16 at step 1, ¼ at step 4, ⅛ at step 16."""
    for step, want in ((16, 1 / 8), (4, 1 / 4), (1, 1 / 16)):
        expect.close(
            student.warmup_rate(step, 4, 4), want, f"This was step {step}. Is it d_model^(−½) · min(step^(−½), …)?"
        )


@warmup_rate.check(points=1)
def test_the_rate_rises_in_a_straight_line(student, rng):
    """Up to `warmup` the rate is in proportion to the step."""
    d_model, warmup = int(rng.integers(50, 999)), int(rng.integers(500, 5000))
    for step in (1, 17, warmup // 2, warmup):
        want = step / (warmup * math.sqrt(d_model * warmup))
        expect.close(
            student.warmup_rate(step, d_model, warmup) / want,
            1.0,
            f"Step {step} of a warm-up of {warmup}, d_model = {d_model}: it is step · warmup^(−3/2).",
        )


@warmup_rate.check(points=1)
def test_the_rate_falls_with_the_root(student, rng):
    """After `warmup`, four times the steps halve the rate; the two branches meet at `warmup`."""
    d_model, warmup = int(rng.integers(50, 999)), int(rng.integers(500, 5000))
    for step in (warmup, warmup + 1, 4 * warmup, 10**9):
        expect.close(
            student.warmup_rate(step, d_model, warmup) * math.sqrt(d_model * step),
            1.0,
            f"Step {step} after a warm-up of {warmup}, d_model = {d_model}: it is step^(−½), not 1/step.",
        )


@warmup_rate.check(points=1)
def test_the_rate_at_step_zero_is_zero(student, rng):
    """At step 0 the rate is 0. (A scheduler asks for it before the first step is done.)"""
    for d_model, warmup in ((64, 100), (int(rng.integers(2, 999)), 4000)):
        zero = student.warmup_rate(0, d_model, warmup)
        expect.close(zero, 0.0, "0^(−½) has no value. Which of the two branches counts at step 0?")
        peak = student.warmup_rate(warmup, d_model, warmup)
        expect.close(peak * math.sqrt(d_model * warmup), 1.0, "This was the step of the peak.")
    expect.close(student.warmup_rate(0, 5), 0.0, "Here `warmup` was left out: it is 4000 then.")
    expect.close(
        student.warmup_rate(2000, 4) / (0.25 / math.sqrt(4000)), 1.0, "`warmup` was left out: it is 4000 then."
    )


@warmup_rate.inputs
def _steps(rng):
    for step in (0, 1, 5, 50, 200):
        yield (step, int(rng.integers(2, 99)), int(rng.integers(10, 99))), {}


def _branches(step, d_model, warmup):
    return (d_model**-0.5 * step**-0.5, d_model**-0.5 * step * warmup**-1.5) if step else (math.inf, 0.0)


@warmup_rate.misconception(caught_by=test_the_rate_at_step_zero_is_zero)
def divides_by_step_zero(step, d_model, warmup=4000):
    """At step 0 this divides by zero, and the run dies before its first step: a scheduler asks for step 0 when it is
    made. There the other branch counts, and it is 0."""
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


@warmup_rate.misconception(caught_by=test_the_rate_at_step_zero_is_zero)
def takes_step_zero_for_step_one(step, d_model, warmup=4000):
    """Step 0 got the rate of step 1. That keeps the division alive, but the formula has an answer of its own there:
    step · warmup^(−3/2) is 0."""
    return min(_branches(max(step, 1), d_model, warmup))


@warmup_rate.misconception(caught_by=test_the_rate_at_step_zero_is_zero)
def starts_with_an_infinite_rate(step, d_model, warmup=4000):
    """At step 0 this takes the falling branch, which is infinite there: an array's `0 ** -0.5`. The smaller branch
    counts, and it is 0."""
    return math.inf if step == 0 else min(_branches(step, d_model, warmup))


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def takes_the_larger_branch(step, d_model, warmup=4000):
    """This is `max` for `min`: the rate starts large, falls until `warmup`, and then grows without end."""
    return max(_branches(step, d_model, warmup)) if step else 0.0


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def rises_too_fast(step, d_model, warmup=4000):
    """The rising branch has `warmup ** -0.5` in place of `warmup ** -1.5`. It is above the other from step 1 on, so
    there is no warm-up at all."""
    return d_model**-0.5 * min(step**-0.5, step * warmup**-0.5) if step else 0.0


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def multiplies_by_the_width(step, d_model, warmup=4000):
    """The rate was multiplied by √d_model, not divided: the minus of the exponent is lost. Wide models want *smaller*
    steps, for more weights move at once."""
    return d_model * min(_branches(step, d_model, warmup))


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def forgets_the_width(step, d_model, warmup=4000):
    """The width d_model is not used. The factor d_model^(−½) makes the peak smaller for wider models."""
    return d_model**0.5 * min(_branches(step, d_model, warmup))


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def divides_by_the_width(step, d_model, warmup=4000):
    """The rate was divided by d_model, not by its root."""
    return d_model**-0.5 * min(_branches(step, d_model, warmup))


@warmup_rate.misconception(caught_by=test_the_rate_falls_with_the_root)
def stays_at_the_peak(step, d_model, warmup=4000):
    """The rate never falls: after the warm-up it stays at its peak. The other branch, step^(−½), is missing."""
    return d_model**-0.5 * min(step, warmup) * warmup**-1.5


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def never_warms_up(step, d_model, warmup=4000):
    """There is no warm-up: this is the falling branch alone, largest at the first step, where a new model knows least
    where to go."""
    return d_model**-0.5 * step**-0.5 if step else 0.0


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def falls_in_proportion(step, d_model, warmup=4000):
    """After the warm-up the rate falls with 1/step, not with 1/√step: it dies too soon."""
    return d_model**-0.5 * warmup**-0.5 * min(warmup / step, step / warmup) if step else 0.0


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def counts_a_step_ahead(step, d_model, warmup=4000):
    """This is the rate of the *next* step: something adds 1. Then step 0 is not 0 any more. If a scheduler counts from
    0, add the 1 where it is asked, not in the formula."""
    return min(_branches(step + 1, d_model, warmup))


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def moves_the_falling_branch(step, d_model, warmup=4000):
    """The 1 that keeps step 0 from a division by zero was added inside the falling branch, `(step + 1) ** -0.5`. So it
    is wrong at every other step, too. Treat step 0 by itself."""
    return d_model**-0.5 * min((step + 1) ** -0.5, step * warmup**-1.5)


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def raises_the_product(step, d_model, warmup=4000):
    """The whole product was raised to the power, `(step * warmup) ** -1.5`. Only `warmup` is: `step * warmup ** -1.5`,
    which is in proportion to the step."""
    return d_model**-0.5 * min(step**-0.5, (step * warmup) ** -1.5) if step else 0.0


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def turns_the_roots_over(step, d_model, warmup=4000):
    """The exponents lost their minus signs: `step ** 0.5` grows for ever."""
    return d_model**-0.5 * min(step**0.5, step * warmup**-1.5)


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def peaks_at_one(step, d_model, warmup=4000):
    """This is the shape of the schedule with a peak of 1, a factor for some other rate. The formula gives the rate
    itself: at its peak it is 1/√(d_model · warmup)."""
    return min(step / warmup, (warmup / step) ** 0.5) if step else 0.0


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def always_warms_up_for_4000_steps(step, d_model, warmup=4000):
    """`warmup` has no effect: the rate rises for 4000 steps, whatever is asked for."""
    return min(_branches(step, d_model, 4000))


@warmup_rate.misconception(caught_by=test_the_rate_of_known_numbers)
def divides_by_the_step(step, d_model, warmup=4000):
    """The falling branch is 1/step here; it should be 1/√step, `step ** -0.5`. So the two no longer meet at
    `warmup`."""
    return d_model**-0.5 * min(step**-1, step * warmup**-1.5) if step else 0.0


@warmup_rate.misconception(caught_by=test_the_rate_at_step_zero_is_zero)
def warms_up_for_ever_unless_told(step, d_model, warmup=None):
    """`warmup` cannot be left out. The paper's 4000 is its default."""
    return float(reference.warmup_rate(step, d_model, warmup))


@warmup_rate.alternative
def warmup_by_branches(step, d_model, warmup=4000, factor=1.0):
    peak = factor / math.sqrt(d_model * warmup)
    return peak * step / warmup if step < warmup else peak * math.sqrt(warmup / step)


@warmup_rate.alternative
def warmup_in_numpy(step, d_model, warmup=4000):
    s = np.float64(step)
    with np.errstate(divide="ignore"):
        return np.minimum(s**-0.5, s * warmup**-1.5) / np.sqrt(d_model)


# --------------------------------------------------------------------------------------------------- token_accuracy

token_accuracy = Exercise("token_accuracy", chapter=14, reference=reference.token_accuracy, minutes=10, difficulty=1)


def _guesses(rng, *shape, pad=0, hits=0.6):
    """Logits whose likeliest answer is right in about a share ``hits`` of the places; about a third is padding."""
    logits, targets = _some_logits(rng, *shape, pad=pad)
    answers = torch.where(
        torch.tensor(rng.random(shape[:-1]) < hits), targets, _ids(rng, shape[-1], *shape[:-1], low=0)
    )
    logits.scatter_(-1, answers[..., None], 5.0)
    return logits, targets


def _share(logits, targets, pad):
    right = [
        bool(np.argmax(row) == y) for row, y in zip(_rows(logits), targets.flatten().tolist(), strict=True) if y != pad
    ]
    return sum(right) / len(right)


def _rows(logits):
    return logits.detach().reshape(-1, logits.shape[-1]).numpy()


@token_accuracy.check(points=1)
def test_the_accuracy_of_known_answers(student, rng):
    """Of three words `2, 1, 3` the model likes `2, 3, 3` best: two of three are right."""
    logits = torch.tensor([[[0.0, 1, 9, 2], [-9.0, -5, -7, -4], [0.0, 0.1, 0.2, 0.3]]])
    expect.close(
        student.token_accuracy(logits, torch.tensor([[2, 1, 3]])),
        2 / 3,
        "Is the likeliest token of each place compared with the target?",
    )


@token_accuracy.check(points=2)
def test_padding_is_not_counted(student, rng):
    """Places whose target is `pad` do not count, whatever the model says there: neither as right nor as wrong."""
    for pad, answer in ((0, 0), (0, 1), (5, 5), (5, 0)):
        logits, targets = _guesses(rng, 3, 11, 7, pad=pad)
        logits[targets == pad] = 0
        logits[..., answer] = torch.where(targets == pad, 9.0, logits[..., answer])
        expect.close(
            student.token_accuracy(logits, targets, pad=pad),
            _share(logits, targets, pad),
            f"pad = {pad}: are places of padding left out above *and* below the line?",
        )


@token_accuracy.check(points=2)
def test_every_real_token_counts_alike(student, rng):
    """Every real token weighs the same, in a short sentence or in a long one; a real token for which the model says
    `pad` is wrong."""
    logits, targets = _guesses(rng, 5, 13, 7)
    for b, length in enumerate((13, 1, 2, 7, 3)):
        targets[b, length:] = 0
        targets[b, :length] = targets[b, :length].clamp(min=1)
    logits[1, :, 0] = 20.0
    logits[1, 0, targets[1, 0]] = 10.0  # the second best would have been right
    expect.close(
        student.token_accuracy(logits, targets),
        _share(logits, targets, 0),
        "Is it one count over the whole batch, divided once?",
    )


@token_accuracy.check(points=1)
def test_the_accuracy_takes_every_kind_of_logits(student, rng):
    """Logits in float64, views, negative or huge logits, any axes in front. Nothing is changed by it."""
    logits = _normal(rng, 7, 5, 3, 2, dtype=torch.float64).permute(3, 2, 1, 0)
    logits = 1e6 * logits - 1e8
    targets = logits.argmax(-1)
    targets[0] = torch.where(targets[0] == 2, 3, targets[0])
    targets[1, 1:] = 0
    targets[1, 0] = 4
    expect.close(student.token_accuracy(logits, targets), _share(logits, targets, 0), "There were three axes in front.")
    expect.unchanged(student, EDITS)


@token_accuracy.inputs
def _guessed(rng):
    for pad in (0, 3, 0, 3):
        yield _guesses(rng, 3, 5, 7, pad=pad), {"pad": pad}


def _hits(logits, targets, pad):
    real = targets != pad
    return (logits.argmax(-1) == targets), real


@token_accuracy.misconception(caught_by=test_padding_is_not_counted)
def counts_padding(logits, targets, pad=0):
    """Padding was counted like a word. A model that learns to write padding after the end, which is easy, looks better
    the more padding there is."""
    return float((logits.argmax(-1) == targets).float().mean())


@token_accuracy.misconception(caught_by=test_padding_is_not_counted)
def counts_padding_below_the_line(logits, targets, pad=0):
    """Right answers were counted at real tokens, and divided by *all* places. Padding then counts as wrong. Divide by
    the number of real tokens."""
    hits, real = _hits(logits, targets, pad)
    return (hits & real).sum().item() / targets.numel()


@token_accuracy.misconception(caught_by=test_padding_is_not_counted)
def counts_padding_above_the_line(logits, targets, pad=0):
    """Right answers were counted everywhere, at padding too, and divided by the number of real tokens: an accuracy
    above 100% is possible. Count what is right *and* real."""
    hits, real = _hits(logits, targets, pad)
    return hits.sum().item() / real.sum().item()


@token_accuracy.misconception(caught_by=test_padding_is_not_counted)
def leaves_out_what_the_model_pads(logits, targets, pad=0):
    """The places were left out where the *model* says padding. Then it is never wrong to say so. Leave out the places
    whose *target* is padding."""
    said = logits.argmax(-1)
    return float((said == targets)[said != pad].float().mean())


@token_accuracy.misconception(caught_by=test_every_real_token_counts_alike)
def leaves_out_padding_on_either_side(logits, targets, pad=0):
    """Places were left out where the target *or the model's answer* is padding. So a model that pads in the middle of a
    sentence is forgiven. Only the target says what is real."""
    said = logits.argmax(-1)
    kept = (said != pad) & (targets != pad)
    return float((said == targets)[kept].float().mean())


@token_accuracy.misconception(caught_by=test_padding_is_not_counted)
def knows_no_padding_but_zero(logits, targets, pad=0):
    """Padding is taken to be id 0, whatever `pad` says."""
    hits, real = _hits(logits, targets, 0)
    return (hits & real).sum().item() / real.sum().item()


@token_accuracy.misconception(caught_by=test_every_real_token_counts_alike)
def averages_accuracies_of_sentences(logits, targets, pad=0):
    """Each sentence got an accuracy, and these were averaged. The one word of a short sentence then weighs as much as
    the thirteen of a long one. Count over the whole batch, divide once."""
    hits, real = _hits(logits, targets, pad)
    hits, real = (x.reshape(-1, x.shape[-1]) for x in (hits & real, real))
    return float((hits.sum(-1) / real.sum(-1).clamp(min=1)).mean())


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def counts_whole_sentences(logits, targets, pad=0):
    """This is the share of *sentences* without a mistake. It is a good figure, and much stricter; here it is tokens
    that are counted."""
    hits, real = _hits(logits, targets, pad)
    return float((hits | ~real).all(-1).float().mean())


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def takes_the_least_likely(logits, targets, pad=0):
    """This takes the *least* likely token, `argmin`. The model's answer is where the logit is largest."""
    return reference.token_accuracy(-logits, targets, pad)


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def looks_along_the_sentence(logits, targets, pad=0):
    """The largest logit was sought along axis 1, the places: where a token is likeliest, and not which token is
    likeliest there. The vocabulary is the last axis, `argmax(-1)`."""
    places = logits.argmax(-2)
    n = min(places.shape[-1], targets.shape[-1])
    hits, real = places[..., :n] == targets[..., :n], targets[..., :n] != pad
    return (hits & real).sum().item() / max(real.sum().item(), 1)


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def compares_the_logit_itself(logits, targets, pad=0):
    """The largest *logit* was compared with the target, `max(-1).values`. What is asked for is where it stands:
    `argmax(-1)`, an id as the target is."""
    real = targets != pad
    return ((logits.max(-1).values == targets) & real).sum().item() / real.sum().item()


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def measures_the_error(logits, targets, pad=0):
    """This is the share that is *wrong*: one minus the accuracy."""
    return 1 - reference.token_accuracy(logits, targets, pad)


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def says_it_in_per_cent(logits, targets, pad=0):
    """These are per cent. A share lies between 0 and 1."""
    return 100 * reference.token_accuracy(logits, targets, pad)


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def counts_and_does_not_divide(logits, targets, pad=0):
    """This is how many are right. Divide by how many there are."""
    hits, real = _hits(logits, targets, pad)
    return (hits & real).sum().item()


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def asks_for_more_than_half(logits, targets, pad=0):
    """An answer counts here only if its probability is above one half. The model's answer is its likeliest token, be it
    ever so unsure."""
    _, real = _hits(logits, targets, pad)
    sure = logits.softmax(-1).gather(-1, targets[..., None])[..., 0] > 0.5
    return (sure & real).sum().item() / real.sum().item()


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def averages_probabilities(logits, targets, pad=0):
    """This is the mean probability of the targets. Accuracy counts: the likeliest token is the target, or it is not."""
    _, real = _hits(logits, targets, pad)
    return float(logits.softmax(-1).gather(-1, targets[..., None])[..., 0][real].mean())


@token_accuracy.misconception(caught_by=test_every_real_token_counts_alike)
def overlooks_what_the_model_pads(logits, targets, pad=0):
    """The model was not allowed to say padding: the likeliest of the *other* tokens was compared. But where it says
    padding and a word was due, it is wrong, and that counts."""
    chosen = torch.arange(logits.shape[-1]) == pad
    return reference.token_accuracy(logits.masked_fill(chosen, -math.inf), targets, pad)


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def rounds_to_two_places(logits, targets, pad=0):
    """The share was rounded. It is multiplied by the number of tokens later, to count the right ones; round where it is
    printed."""
    return round(float(reference.token_accuracy(logits, targets, pad)), 2)


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def takes_one_for_padding_unless_told(logits, targets, pad=1):
    """Where nobody says `pad`, padding is id 1. The signature promises 0, and who leaves an argument out relies on its
    default."""
    hits, real = _hits(logits, targets, pad)
    return (hits & real).sum().item() / max(real.sum().item(), 1)


@token_accuracy.misconception(caught_by=test_the_accuracy_of_known_answers)
def accepts_the_second_best(logits, targets, pad=0):
    """A target counts as right if it is among the *two* likeliest tokens. Only the likeliest is written."""
    best = (logits.topk(2).indices == targets[..., None]).any(-1)
    real = targets != pad
    return ((best & real).sum() / real.sum()).item()


@token_accuracy.misconception(caught_by=test_the_accuracy_takes_every_kind_of_logits)
def forbids_padding_in_place(logits, targets, pad=0):
    """The logit of padding was set to −∞ in the caller's own tensor. Those logits are still needed: for the loss, whose
    gradient then breaks. (And an answer that says padding is wrong; it should not be forgiven.)"""
    share = reference.token_accuracy(logits, targets, pad)
    logits[..., pad] = -torch.inf
    return share


@token_accuracy.alternative
def accuracy_of_the_real_places(logits, targets, pad=0, k=1):
    real = targets != pad
    best = logits[real].topk(k, dim=-1).indices
    return (best == targets[real][:, None]).any(-1).double().mean()


@token_accuracy.alternative
def accuracy_place_by_place(logits, targets, pad=0):
    right = count = 0
    for row, target in zip(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), strict=True):
        if target != pad:
            count += 1
            right += int(row.argmax() == target)
    return right / count


# ------------------------------------------------------------------------------------------------------ train_epoch

train_epoch = Exercise(
    "train_epoch",
    chapter=14,
    reference=reference.train_epoch,
    minutes=15,
    difficulty=2,
    forbidden=("attnlab.training.train_step", "attnlab.fitting.fit"),
)

V_SRC, V_TGT = 5, 7


def _table(rng):
    return _normal(rng, V_SRC, V_TGT)


def _lessons(rng, *lengths, pad=0):
    """Batches of five rows each, with so many real tokens a row, padded to 7: enough that some are right by luck."""
    batches = []
    for length in lengths:
        src = _ids(rng, V_SRC, 5, 7, low=0)
        tgt = _ids(rng, V_TGT, 5, 7)
        tgt[:, length:] = pad
        batches.append((src, tgt))
    return batches


def _bench(student, table, **options):
    """A bench where the student's code runs, and one here, which the reference works at."""
    return student.prop("Bench", table, **options), props.Bench(table, **options)


def _at(bench):
    """The model, the score and the optimiser of a bench of the student's."""
    return tuple(bench.attribute(part) for part in ("model", "score", "optimizer"))


def _three(answer):
    """(loss, accuracy, tokens) as an array, from a tuple, a list or tensors."""
    given = list(answer) if isinstance(answer, tuple | list) else []
    items: list[Any] = [expect.as_numpy(item) if expect.is_tensor(item) else item for item in given]
    if len(items) != 3 or any(isinstance(i, np.ndarray) and i.ndim for i in items):
        raise expect.CheckFailure(
            f"Your function returned {expect.named(answer)}; three numbers were expected, `loss, accuracy, tokens`.",
            "Does it end with a `return` of three numbers?",
        )
    try:
        return np.array([float(item) for item in items])
    except (TypeError, ValueError):
        raise expect.CheckFailure(f"Your function returned {answer!r}; three numbers were expected.") from None


def _trained(student, rng, lessons, *, scheduled=False, clip=None, **options):
    """Run both on the same lessons: what the student returned, what was due, the tables afterwards, and the bench."""
    table = _table(rng)
    bench, here = _bench(student, table, **options)
    want = reference.train_epoch(
        here.model, lessons, here.score, here.optimizer, here.scheduler if scheduled else None, clip
    )
    model, score, optimizer = _at(bench)
    more = {"scheduler": bench.attribute("scheduler")} if scheduled else {}
    if clip is not None:
        more["clip"] = clip
    got = _three(student.train_epoch(model, lessons, score, optimizer, **more))
    return got, np.array(want, dtype=float), model.parameters()["weight"], here.model.weight.detach(), bench


@train_epoch.check(points=2)
def test_every_batch_moves_the_weights(student, rng):
    """For each batch: clear the gradients, score, differentiate, step. The weights end where the formula says."""
    for lengths in ((7,), (7, 7, 7)):
        _, _, table, right, bench = _trained(student, rng, _lessons(rng, *lengths))
        steps = bench.attribute("optimizer").attribute("steps")
        counts = len(bench.attribute("seen")), bench.attribute("backwards"), steps
        expect.close(
            table,
            right,
            f"Batches: {len(lengths)}. Is there one step a batch, each with the gradient of that batch alone?",
            1e-4,
        )
        expect.true(
            counts == (len(lengths),) * 3,
            f"For {len(lengths)} batches there were {counts[0]} scores, {counts[1]} backwards and {counts[2]} steps.",
            "One of each for every batch?",
        )


@train_epoch.check(points=1)
def test_old_gradients_are_cleared_first(student, rng):
    """A gradient that was left behind by an earlier run has no part in the first step."""
    _, _, table, right, _ = _trained(student, rng, _lessons(rng, 7, 7), stale=10.0)
    expect.close(
        table, right, "The model came with an old gradient of 10. Is it cleared before the *first* backward?", 1e-4
    )


@train_epoch.check(points=1)
def test_the_model_is_in_training_mode(student, rng):
    """The model is put into training mode first, whatever mode it comes in."""
    bench, here = _bench(student, table := _table(rng))
    lessons = _lessons(rng, 7, 7)
    want = reference.train_epoch(here.model, lessons, here.score, here.optimizer)
    bench.set_mode(False)
    model, score, optimizer = _at(bench)
    came = _three(student.train_epoch(model, lessons, score, optimizer))
    expect.close(came[0], want.loss, "The model came in evaluation mode. Who puts it into training mode?", 1e-4)
    expect.close(model.parameters()["weight"], here.model.weight.detach(), tolerance=1e-4)
    expect.true(bool((here.model.weight != table).any()), "The table was not trained.")


@train_epoch.check(points=2)
def test_the_means_are_over_tokens(student, rng):
    """It returns loss, accuracy and number of tokens of the epoch, where every *token* weighs the same."""
    got, want, *_ = _trained(student, rng, _lessons(rng, 7, 1, 2))
    for name, mine, due in zip(("loss", "accuracy", "number of tokens"), got, want, strict=True):
        expect.close(mine, due, f"This is the {name}. The three batches have 35, 5 and 10 real tokens.", 1e-4)


@train_epoch.check(points=1)
def test_the_scheduler_steps_with_every_batch(student, rng):
    """Where a scheduler is given, it steps once after every step of the optimiser."""
    _, _, table, right, bench = _trained(student, rng, _lessons(rng, 7, 7, 7), scheduled=True, growth=1.0, rate=0.1)
    steps = bench.attribute("scheduler").attribute("steps")
    expect.close(
        table, right, "The rate grows with every step here, ×1, ×2, ×3. When is `scheduler.step()` called?", 1e-4
    )
    expect.true(steps == 3, f"For 3 batches, the scheduler stepped {steps} times.", "Once after every batch?")


@train_epoch.check(points=1)
def test_a_long_gradient_is_clipped(student, rng):
    """Where `clip` is given, the gradient's norm is cut to it before the step; its direction stays. Where it is not,
    nothing is cut."""
    lessons = _lessons(rng, 7, 7)
    _, _, table, right, _ = _trained(student, rng, lessons, clip=0.01, rate=20.0)
    expect.close(table, right, "clip = 0.01. Is it `clip_grad_norm_`, between backward and step?", 1e-5)
    _, _, table, right, _ = _trained(student, rng, lessons, clip=1000.0)
    expect.close(table, right, "clip = 1000: a gradient that is short enough stays as it is.", 1e-4)
    _, _, table, right, _ = _trained(student, rng, lessons, steep=1e6, rate=1e-6)
    cause = "No `clip` was given, and the gradients are some 100,000 long. Were they clipped all the same?"
    expect.close(table, right, cause, 1e-4)


@train_epoch.check(points=1)
def test_training_leaves_the_batches_alone(student, rng):
    """A batch of nothing but padding does no harm, and the batches are the same afterwards."""
    lessons = _lessons(rng, 3, 0, 5)
    got, want, table, right, _ = _trained(student, rng, lessons)
    expect.close(got, want, "The second of three batches was all padding: 0 tokens, loss 0.", 1e-4)
    expect.close(table, right, tolerance=1e-4)
    expect.unchanged(student, EDITS)


@train_epoch.inputs
def _epochs(rng):
    for lengths in ((7, 1), (2, 7, 3)):
        bench = props.Bench(_table(rng))
        yield (bench.model, _lessons(rng, *lengths), bench.score, bench.optimizer), {}


class _Epoch:
    """An epoch in steps, which a wrong answer can replace one by one."""

    def __call__(self, model, batches, score, optimizer, scheduler=None, clip=None):
        self.parts = model, score, optimizer, scheduler, clip
        self.loss = self.correct = self.tokens = 0
        self.n = len(batches)
        self.start()
        self.results = []
        for batch in batches:
            self.lesson(batch)
        self.end()
        return self.means()

    def start(self):
        self.parts[0].train()

    def lesson(self, batch):
        self.clear()
        result = self.score(batch)
        self.backward(result)
        self.clip()
        self.step()
        self.note(result)

    def clear(self):
        self.parts[2].zero_grad()

    def score(self, batch):
        return self.parts[1](self.parts[0], batch)

    def backward(self, result):
        result.loss.backward()

    def clip(self):
        if self.parts[4] is not None:
            nn.utils.clip_grad_norm_(self.parts[0].parameters(), self.parts[4])

    def step(self):
        self.parts[2].step()
        self.schedule()

    def schedule(self):
        if self.parts[3] is not None:
            self.parts[3].step()

    def note(self, result):
        self.results.append((result.loss.item(), result.correct, result.tokens))

    def end(self):
        pass

    def means(self):
        loss, correct, tokens = zip(*self.results, strict=True)
        n = sum(tokens)
        return sum(x * w for x, w in zip(loss, tokens, strict=True)) / n, sum(correct) / n, n


def _wrong(exercise, caught_by):
    """Declare a wrong answer that is a class of steps: a function of the same name and words."""

    def declare(kind):
        def answer(*args, **kwargs):
            return kind()(*args, **kwargs)

        answer.__name__, answer.__doc__ = kind.__name__, kind.__doc__
        exercise.misconception(caught_by=caught_by)(answer)
        return kind

    return declare


@_wrong(train_epoch, test_every_batch_moves_the_weights)
class NeverClears(_Epoch):
    """The gradients are never cleared. `backward` *adds* to what is there, so every step goes along the sum of all
    gradients so far. `optimizer.zero_grad()` before each backward."""

    def clear(self):
        pass


@_wrong(train_epoch, test_every_batch_moves_the_weights)
class ClearsOnceAnEpoch(_Epoch):
    """The gradients are cleared once, before the first batch. They add up from batch to batch from then on: clear them
    for each."""

    def start(self):
        super().start()
        super().clear()

    def clear(self):
        pass


@_wrong(train_epoch, test_old_gradients_are_cleared_first)
class ClearsAfterTheStep(_Epoch):
    """The gradients are cleared after the step. So the first batch of a run inherits what was left before it: by a run
    that was cut off, or by somebody who looked at a gradient. Clear *before* backward."""

    def lesson(self, batch):
        super().lesson(batch)
        super().clear()

    def clear(self):
        pass


@_wrong(train_epoch, test_every_batch_moves_the_weights)
class ClearsBeforeTheStep(_Epoch):
    """The gradients are cleared between backward and step: the step finds none. Nothing is ever learned, and no error
    says so. First clear, then backward, then step."""

    def step(self):
        super().clear()
        super().step()


@_wrong(train_epoch, test_every_batch_moves_the_weights)
class NeverDifferentiates(_Epoch):
    """The loss is made and never differentiated: `loss.backward()` is missing, so the step has nothing to go by."""

    def backward(self, result):
        pass


@_wrong(train_epoch, test_every_batch_moves_the_weights)
class NeverSteps(_Epoch):
    """The gradients are there and nobody follows them: `optimizer.step()` is missing."""

    def step(self):
        self.schedule()


@_wrong(train_epoch, test_every_batch_moves_the_weights)
class StepsOnceAnEpoch(_Epoch):
    """There is one step at the end, along the gradient of the last batch. There should be one step a batch."""

    def step(self):
        pass

    def end(self):
        super().step()


@_wrong(train_epoch, test_every_batch_moves_the_weights)
class StepsFirst(_Epoch):
    """The step comes before the backward: each goes along the gradient of the batch *before*, or of nothing at all."""

    def lesson(self, batch):
        result = self.score(batch)
        self.step()
        self.clear()
        self.backward(result)
        self.clip()
        self.note(result)


@_wrong(train_epoch, test_every_batch_moves_the_weights)
class ClimbsUp(_Epoch):
    """The weights went the wrong way: up the gradient, where the loss grows. `loss.backward()`, of the loss as it is,
    and `optimizer.step()` goes down by itself."""

    def backward(self, result):
        (-result.loss).backward()


@_wrong(train_epoch, test_every_batch_moves_the_weights)
class DifferentiatesTheSum(_Epoch):
    """The loss was multiplied by the number of tokens before it was differentiated. That weighting belongs to the
    *report*. The gradient is that of the mean, or long batches take giant steps."""

    def backward(self, result):
        (result.loss * result.tokens).backward()


@_wrong(train_epoch, test_the_model_is_in_training_mode)
class TrainsInWhateverMode(_Epoch):
    """The model stays in the mode that it comes in. After an evaluation that is evaluation mode, and from then on
    nothing is dropped in training. `model.train()` at the beginning."""

    def start(self):
        pass


@_wrong(train_epoch, test_the_model_is_in_training_mode)
class TrainsInEvaluationMode(_Epoch):
    """The model was put into evaluation mode. Then dropout does nothing. In an epoch of training it is
    `model.train()`."""

    def start(self):
        self.parts[0].eval()


@_wrong(train_epoch, test_the_means_are_over_tokens)
class AveragesBatches(_Epoch):
    """The losses of the batches were averaged, each batch alike. One may have 35 tokens, another 5: the mean of means
    is not the mean. Add up `loss · tokens` and divide by all tokens at the end."""

    def means(self):
        loss, correct, tokens = zip(*self.results, strict=True)
        return sum(loss) / self.n, sum(correct) / sum(tokens), sum(tokens)


@_wrong(train_epoch, test_the_means_are_over_tokens)
class AveragesEverythingByBatches(_Epoch):
    """Loss *and* accuracy were averaged batch by batch, each batch alike. Batches differ in their number of tokens: add
    up `loss · tokens` and `correct`, and divide both by all tokens at the end."""

    def means(self):
        loss, correct, tokens = zip(*self.results, strict=True)
        shares = sum(c / max(n, 1) for c, n in zip(correct, tokens, strict=True))
        return sum(loss) / self.n, shares / self.n, sum(tokens)


@_wrong(train_epoch, test_the_means_are_over_tokens)
class ReportsTheLastBatch(_Epoch):
    """These are the loss and the accuracy of the last batch. The report is about the whole epoch."""

    def means(self):
        loss, correct, tokens = self.results[-1]
        return loss, correct / max(tokens, 1), tokens


@_wrong(train_epoch, test_the_means_are_over_tokens)
class ReportsTheSum(_Epoch):
    """This is the *sum* of the losses of all batches. Divide by the tokens, after weighting each batch by its own."""

    def means(self):
        loss, correct, tokens = zip(*self.results, strict=True)
        return sum(loss), sum(correct) / sum(tokens), sum(tokens)


@_wrong(train_epoch, test_the_means_are_over_tokens)
class ForgetsToWeight(_Epoch):
    """The losses of the batches were added up and divided by the number of *tokens*. But each of them is a mean
    already: multiply it by the tokens of its batch before adding."""

    def means(self):
        loss, correct, tokens = zip(*self.results, strict=True)
        return sum(loss) / sum(tokens), sum(correct) / sum(tokens), sum(tokens)


@_wrong(train_epoch, test_the_means_are_over_tokens)
class NeverComputesItsLoss(_Epoch):
    """The loss that is returned was never added to: it is the 0 that it began with."""

    def means(self):
        _, correct, tokens = zip(*self.results, strict=True)
        return 0.0, sum(correct) / sum(tokens), sum(tokens)


@_wrong(train_epoch, test_the_means_are_over_tokens)
class ReportsHowManyAreRight(_Epoch):
    """The second number is how many tokens are right. Divide it by how many there are."""

    def means(self):
        loss, _, tokens = super().means()
        return loss, sum(correct for _, correct, _ in self.results), tokens


@_wrong(train_epoch, test_the_scheduler_steps_with_every_batch)
class NeverSchedules(_Epoch):
    """The scheduler was taken and never asked: `scheduler.step()` after every `optimizer.step()`."""

    def schedule(self):
        pass


@_wrong(train_epoch, test_the_scheduler_steps_with_every_batch)
class SchedulesOnceAnEpoch(_Epoch):
    """The scheduler steps once, at the end of the epoch. The warm-up counts *steps*: its 100 steps would last 100
    epochs."""

    def schedule(self):
        pass

    def end(self):
        super().schedule()


@_wrong(train_epoch, test_the_scheduler_steps_with_every_batch)
class SchedulesFirst(_Epoch):
    """The scheduler steps before the optimiser, so the first rate is never used and every step is one ahead. PyTorch
    warns of it: `optimizer.step()`, then `scheduler.step()`."""

    def step(self):
        self.schedule()
        self.parts[2].step()


@_wrong(train_epoch, test_the_means_are_over_tokens)
class ReportsInAnotherOrder(_Epoch):
    """The three numbers are right, in another order. It is loss, accuracy, number of tokens."""

    def means(self):
        loss, accuracy, tokens = super().means()
        return loss, tokens, accuracy


@_wrong(train_epoch, test_the_means_are_over_tokens)
class ReportsPerCent(_Epoch):
    """The accuracy is in per cent. A share is a number from 0 to 1."""

    def means(self):
        loss, accuracy, tokens = super().means()
        return loss, 100 * accuracy, tokens


@_wrong(train_epoch, test_the_means_are_over_tokens)
class AveragesAccuracies(_Epoch):
    """The loss is right, but the accuracies of the batches were averaged, each batch alike. Add up `correct`, and
    divide by all tokens."""

    def means(self):
        loss, _, n = super().means()
        return loss, sum(correct / max(tokens, 1) for _, correct, tokens in self.results) / self.n, n


@_wrong(train_epoch, test_the_means_are_over_tokens)
class ScoresAgainAfterTheStep(_Epoch):
    """Every batch was scored a second time, *after* the step, and that is what was reported: how good the model is on
    what it has just been shown. It looks better than it is, and costs a second forward. Report the score that you
    differentiated."""

    def lesson(self, batch):
        super().lesson(batch)
        self.results.pop()
        self.note(self.score(batch))


@_wrong(train_epoch, test_a_long_gradient_is_clipped)
class NeverClips(_Epoch):
    """The gradients were not clipped, or before there were any, or when the step was done.
    `nn.utils.clip_grad_norm_(model.parameters(), clip)` belongs between backward and step."""

    def clip(self):
        pass


@_wrong(train_epoch, test_a_long_gradient_is_clipped)
class ClipsUnasked(_Epoch):
    """Gradients were clipped where no `clip` was given, to 1 or some other length. `None` means: any length. Clip only
    `if clip is not None`."""

    def clip(self):
        nn.utils.clip_grad_norm_(self.parts[0].parameters(), self.parts[4] or 1.0)


@_wrong(train_epoch, test_a_long_gradient_is_clipped)
class ClipsTheLoss(_Epoch):
    """The *loss* was cut off at `clip`. Where it is cut it is constant, and its gradient is zero: from the batches that
    the model knows least, nothing is learned. It is the gradient's norm that is clipped, after backward."""

    def backward(self, result):
        clip = self.parts[4]
        (result.loss if clip is None else result.loss.clamp(max=clip)).backward()

    def clip(self):
        pass


@_wrong(train_epoch, test_the_means_are_over_tokens)
class ReportsAccuracyFirst(_Epoch):
    """The three numbers come in another order, accuracy before loss. Who calls it unpacks `loss, accuracy, tokens`."""

    def means(self):
        loss, accuracy, n = super().means()
        return accuracy, loss, n


@_wrong(train_epoch, test_every_batch_moves_the_weights)
class ScoresTwice(_Epoch):
    """Every batch was scored twice, once for the loss and once for the counts. That is twice the work, and with dropout
    two different answers, of which one is learned from and the other reported. Call `score` once and keep all three."""

    def score(self, batch):
        super().score(batch)
        return super().score(batch)


@_wrong(train_epoch, test_a_long_gradient_is_clipped)
class ClipsEveryEntry(_Epoch):
    """Each entry of the gradient was cut to ±clip by itself. That turns the gradient into another direction. It is its
    *norm* that is cut, `clip_grad_norm_`: all entries shrink by one factor."""

    def clip(self):
        if self.parts[4] is not None:
            nn.utils.clip_grad_value_(self.parts[0].parameters(), self.parts[4])


@_wrong(train_epoch, test_a_long_gradient_is_clipped)
class ClipsEachParameterAlone(_Epoch):
    """Each parameter's gradient was clipped by itself. Then the long ones shrink and the short ones do not, and their
    sum points in another direction. The norm is that of all of them together: one call, `model.parameters()`."""

    def clip(self):
        if self.parts[4] is not None:
            for parameter in self.parts[0].parameters():
                nn.utils.clip_grad_norm_(parameter, self.parts[4])


@_wrong(train_epoch, test_a_long_gradient_is_clipped)
class BringsEveryGradientToOneLength(_Epoch):
    """Every gradient was brought to the length `clip`, short ones too. Clipping shortens what is too long and leaves
    the rest alone."""

    def clip(self):
        if self.parts[4] is not None:
            norm = nn.utils.clip_grad_norm_(self.parts[0].parameters(), torch.inf)
            for parameter in self.parts[0].parameters():
                parameter.grad *= self.parts[4] / max(norm, 1e-12)


@train_epoch.alternative
def epoch_in_one_loop(model, batches, score, optimizer, scheduler=None, clip=None, verbose=False):
    model.train(True)
    total, right, seen = torch.zeros(()), 0, 0
    for batch in batches:
        loss, correct, tokens = score(model, batch)
        for p in model.parameters():
            p.grad = None
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if scheduler:
            scheduler.step()
        total += loss.detach() * tokens
        right, seen = right + correct, seen + tokens
    return [total / seen, right / seen, seen]


@train_epoch.alternative
def epoch_with_a_closure(model, batches, score, optimizer, scheduler=None, clip=None):
    results = []

    def closure(batch):
        optimizer.zero_grad(set_to_none=False)
        results.append(score(model, batch))
        results[-1].loss.backward()
        if clip is not None:
            parameters = list(model.parameters())
            norm = sum((p.grad**2).sum() for p in parameters) ** 0.5
            for p in parameters:
                p.grad.mul_((clip / (norm + 1e-6)).clamp(max=1.0))
        return results[-1].loss

    model.train()
    for batch in batches:
        optimizer.step(partial(closure, batch))
        if scheduler is not None:
            scheduler.step()
    weights = torch.tensor([r.tokens for r in results], dtype=torch.float64)
    losses = torch.tensor([r.loss.item() for r in results], dtype=torch.float64)
    return (
        (losses @ weights / weights.sum()).item(),
        sum(r.correct for r in results) / weights.sum(),
        int(weights.sum()),
    )


# --------------------------------------------------------------------------------------------------------- evaluate

evaluate = Exercise(
    "evaluate",
    chapter=14,
    reference=reference.evaluate,
    minutes=15,
    difficulty=2,
    forbidden=("attnlab.training.train_epoch", "attnlab.fitting.fit"),
)


def _evaluated(student, rng, lessons, training=True, **options):
    bench, here = _bench(student, _table(rng), **options)
    bench.set_mode(training)
    want = reference.evaluate(here.model, lessons, here.score)
    model, score, _ = _at(bench)
    return _three(student.evaluate(model, lessons, score)), np.array(want, dtype=float), bench, here


@evaluate.check(points=1)
def test_one_batch_is_measured(student, rng):
    """Of one batch it returns loss, accuracy and number of tokens."""
    got, want, *_ = _evaluated(student, rng, _lessons(rng, 5), training=False)
    for name, mine, due in zip(("loss", "accuracy", "number of tokens"), got, want, strict=True):
        expect.close(mine, due, f"This is the {name} of a batch with 25 real tokens and 10 of padding.", 1e-4)


@evaluate.check(points=2)
def test_every_token_weighs_the_same(student, rng):
    """Over many batches every *token* weighs the same: loss and accuracy are sums over tokens, divided by all
    tokens."""
    got, want, *_ = _evaluated(student, rng, _lessons(rng, 7, 1, 0, 2), training=False)
    for name, mine, due in zip(("loss", "accuracy", "number of tokens"), got, want, strict=True):
        expect.close(mine, due, f"This is the {name}. The batches have 35, 5, 0 and 10 real tokens.", 1e-4)


@evaluate.check(points=2)
def test_it_measures_in_evaluation_mode(student, rng):
    """The model is in evaluation mode while it is measured, and afterwards in the mode in which it came."""
    for training in (True, False):
        got, want, bench, _ = _evaluated(student, rng, _lessons(rng, 7, 3), training=training)
        expect.close(
            got[0], want[0], "In training mode this model halves its logits. Who puts it into evaluation mode?", 1e-4
        )
        expect.true(
            bench.training() == training,
            f"The model came in {_mode(training)} mode and was left in {_mode(not training)} mode.",
            "Do you keep `model.training`, and put it back at the end?",
        )


def _mode(training):
    return "training" if training else "evaluation"


@evaluate.check(points=1)
def test_it_records_no_gradients(student, rng):
    """Nothing is recorded for a backward: it runs under `torch.no_grad()`, and the right numbers come out. Afterwards
    PyTorch records again."""
    lessons = _lessons(rng, 7, 3)
    got, want, bench, _ = _evaluated(student, rng, lessons)
    expect.close(got[2], want[2], "This is the number of tokens.")
    seen = bench.attribute("seen")
    expect.true(len(seen) == 2, f"`score` was called {len(seen)} times for 2 batches.", "Once a batch?")
    expect.true(
        not any(recording for _, recording in seen),
        "While your function measured, PyTorch recorded every step for a backward that never comes.",
        "Is there a `with torch.no_grad():` around the loop?",
    )
    model, score, _ = _at(bench)
    score(model, lessons[0])
    _, recording = bench.attribute("seen")[-1]
    expect.true(
        recording,
        "After your function PyTorch records nothing any more: the next `backward()` will fail.",
        "Was recording turned off and not on again? `with torch.no_grad():` does both.",
    )


@evaluate.check(points=1)
def test_it_changes_nothing(student, rng):
    """Weights, gradients and batches are the same afterwards; measured twice, the numbers are equal."""
    lessons = _lessons(rng, 7, 3)
    got, want, bench, here = _evaluated(student, rng, lessons, stale=3.0)
    expect.close(got, want, tolerance=1e-4)
    model, score, _ = _at(bench)
    expect.close(model.parameters()["weight"], here.model.weight.detach(), "Your function changed the weights.")
    gradient = bench.gradient()
    expect.true(gradient is not None, "A gradient that the model held is gone.", "Is anything cleared?")
    expect.close(gradient, torch.full((V_SRC, V_TGT), 3.0), "Your function changed the model's gradient.")
    expect.close(_three(student.evaluate(model, lessons, score)), want, "This was the second time.", 1e-4)
    expect.unchanged(student, EDITS)


@evaluate.inputs
def _exams(rng):
    for lengths in ((7, 1), (2, 7, 3)):
        bench = props.Bench(_table(rng))
        yield (bench.model, _lessons(rng, *lengths), bench.score), {}


class _Exam:
    """A measurement in steps, which a wrong answer can replace one by one."""

    recording = False

    def __call__(self, model, batches, score):
        self.model, self.score = model, score
        was = self.begin()
        with torch.set_grad_enabled(self.recording):
            self.results = [self.ask(batch) for batch in batches]
        self.end(was)
        return self.means(*(np.array(x, dtype=float) for x in zip(*self.results, strict=True)))

    def begin(self):
        was = self.model.training
        self.model.eval()
        return was

    def end(self, was):
        self.model.train(was)

    def ask(self, batch):
        result = self.score(self.model, batch)
        return result.loss.item(), result.correct, result.tokens

    def means(self, loss, correct, tokens):
        return (loss * tokens).sum() / tokens.sum(), correct.sum() / tokens.sum(), int(tokens.sum())


@_wrong(evaluate, test_every_token_weighs_the_same)
class ExamThatAveragesBatches(_Exam):
    """The losses of the batches were averaged, each batch alike. One may have 35 tokens, another 5: the mean of means
    is not the mean, and it changes with the batch size. Add up `loss · tokens`, divide by all tokens."""

    def means(self, loss, correct, tokens):
        return loss.mean(), correct.sum() / tokens.sum(), int(tokens.sum())


@_wrong(evaluate, test_every_token_weighs_the_same)
class ExamThatAveragesAllByBatches(_Exam):
    """Loss *and* accuracy were averaged batch by batch, each batch alike. The last batch of a set is nearly always
    smaller, and weighs as much as any. Add up `loss · tokens` and `correct`, divide both by all tokens."""

    def means(self, loss, correct, tokens):
        return loss.mean(), (correct / np.maximum(tokens, 1)).mean(), int(tokens.sum())


@_wrong(evaluate, test_one_batch_is_measured)
class ExamThatCountsPadding(_Exam):
    """Every *place* was counted, padding too. `score` says how many real tokens a batch has, and its loss is a mean
    over those."""

    def ask(self, batch):
        loss, correct, _ = super().ask(batch)
        return loss, correct, batch[1].numel()


@_wrong(evaluate, test_one_batch_is_measured)
class ExamThatCountsSentences(_Exam):
    """Each batch was weighted by its number of *sentences*. The loss is a mean over tokens, so it is tokens that it has
    to be weighted by."""

    def ask(self, batch):
        loss, correct, _ = super().ask(batch)
        return loss, correct, len(batch[1])


@_wrong(evaluate, test_every_token_weighs_the_same)
class ExamOfTheLastBatch(_Exam):
    """These are the numbers of the last batch. All batches count."""

    def means(self, loss, correct, tokens):
        return loss[-1], correct[-1] / max(tokens[-1], 1), int(tokens[-1])


@_wrong(evaluate, test_every_token_weighs_the_same)
class ExamOfTheFirstBatch(_Exam):
    """Only the first batch was measured. Is there a `return` inside the loop?"""

    def __call__(self, model, batches, score):
        return super().__call__(model, batches[:1], score)


@_wrong(evaluate, test_one_batch_is_measured)
class ExamWithoutALoss(_Exam):
    """The loss that is returned was never computed: it is the 0 that it began with."""

    def means(self, loss, correct, tokens):
        return 0.0, correct.sum() / tokens.sum(), int(tokens.sum())


@_wrong(evaluate, test_one_batch_is_measured)
class ExamThatAddsUp(_Exam):
    """The loss is a sum over all tokens, and never divided. Divide by their number, or two sets of different size
    cannot be compared."""

    def means(self, loss, correct, tokens):
        return (loss * tokens).sum(), correct.sum() / tokens.sum(), int(tokens.sum())


@_wrong(evaluate, test_one_batch_is_measured)
class ExamThatDividesAgain(_Exam):
    """The losses of the batches were added up and divided by the number of *tokens*. But each of them is a mean
    already: multiply it by the tokens of its batch before adding."""

    def means(self, loss, correct, tokens):
        return loss.sum() / tokens.sum(), correct.sum() / tokens.sum(), int(tokens.sum())


@_wrong(evaluate, test_one_batch_is_measured)
class ExamThatCountsTheRight(_Exam):
    """The second number is how many tokens are right. Divide it by how many there are."""

    def means(self, loss, correct, tokens):
        return (loss * tokens).sum() / tokens.sum(), correct.sum(), int(tokens.sum())


@_wrong(evaluate, test_one_batch_is_measured)
class ExamInAnotherOrder(_Exam):
    """The three numbers are right, in another order. It is loss, accuracy, number of tokens."""

    def means(self, loss, correct, tokens):
        loss, accuracy, n = super().means(loss, correct, tokens)
        return accuracy, loss, n


@_wrong(evaluate, test_one_batch_is_measured)
class ExamThatReportsAPerplexity(_Exam):
    """The first number is `exp` of the loss, a perplexity. The loss itself was asked for."""

    def means(self, loss, correct, tokens):
        loss, accuracy, n = super().means(loss, correct, tokens)
        return math.exp(loss), accuracy, n


@_wrong(evaluate, test_every_token_weighs_the_same)
class ExamThatAveragesAccuracies(_Exam):
    """The loss is right, but the accuracies of the batches were averaged, each batch alike. Add up `correct`, and
    divide by all tokens."""

    def means(self, loss, correct, tokens):
        right, _, n = super().means(loss, correct, tokens)
        return right, (correct / np.maximum(tokens, 1)).mean(), n


@_wrong(evaluate, test_it_measures_in_evaluation_mode)
class ExamThatQuietensTooLate(_Exam):
    """The first batch was scored before `model.eval()`, in training mode. The mode is set before the loop."""

    def begin(self):
        return self.model.training

    def ask(self, batch):
        result = super().ask(batch)
        self.model.eval()
        return result


@_wrong(evaluate, test_it_measures_in_evaluation_mode)
class ExamInTrainingMode(_Exam):
    """The model was measured in whatever mode it came in; after training that is training mode, with dropout at work.
    The figures are then worse than the model, and differ from call to call. `model.eval()` first."""

    def begin(self):
        return self.model.training


@_wrong(evaluate, test_it_measures_in_evaluation_mode)
class ExamThatStartsTraining(_Exam):
    """The model was put into *training* mode. Dropout was at work while it was measured."""

    def begin(self):
        was = self.model.training
        self.model.train()
        return was


@_wrong(evaluate, test_it_measures_in_evaluation_mode)
class ExamThatStaysInEvaluation(_Exam):
    """The numbers are right, but the model is left in evaluation mode. If it is trained further, dropout is off from
    here on, and nothing says so. Keep `model.training` and put it back."""

    def end(self, was):
        pass


@_wrong(evaluate, test_it_measures_in_evaluation_mode)
class ExamThatAlwaysEndsInTraining(_Exam):
    """The numbers are right, but the model is always left in training mode, also if it came in evaluation mode. Keep
    `model.training` and put *that* back."""

    def end(self, was):
        self.model.train()


@_wrong(evaluate, test_it_records_no_gradients)
class ExamThatRecords(_Exam):
    """The numbers are right, but PyTorch kept every intermediate result for a backward that never comes: several times
    the memory, for nothing. Put the loop under `torch.no_grad()`."""

    recording = True


@_wrong(evaluate, test_it_records_no_gradients)
class ExamThatTurnsGradientsOff(_Exam):
    """The numbers are right, but `torch.set_grad_enabled(False)` was called and stays in force: nothing that comes
    after can be trained, anywhere. `with torch.no_grad():` turns recording off for its block only."""

    def __call__(self, model, batches, score):
        answer = super().__call__(model, batches, score)
        torch.set_grad_enabled(False)
        return answer


@_wrong(evaluate, test_it_changes_nothing)
class ExamThatTeaches(_Exam):
    """The model was *trained* on what it is measured by: there is a backward in here, and perhaps a step. Measuring
    only looks."""

    recording = True

    def ask(self, batch):
        result = self.score(self.model, batch)
        result.loss.backward()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter -= 0.5 * parameter.grad
        return result.loss.item(), result.correct, result.tokens


@_wrong(evaluate, test_it_changes_nothing)
class ExamThatClears(_Exam):
    """The model's gradients were cleared. Between a backward and its step somebody may want to measure: leave them."""

    def end(self, was):
        super().end(was)
        self.model.zero_grad()


@evaluate.alternative
def exam_in_one_loop(model, batches, score, progress=False):
    mode = model.training
    model.train(False)
    loss = right = seen = 0.0
    with torch.inference_mode():
        for batch in batches:
            a, b, c = score(model, batch)
            loss, right, seen = loss + a * c, right + b, seen + c
    model.train(mode)
    return [loss / seen, right / seen, seen]


@evaluate.alternative
@torch.no_grad()
def exam_in_tensors(model, batches, score):
    modes = [(module, module.training) for module in model.modules()]
    results = torch.tensor([[float(x) for x in score(model.eval(), batch)] for batch in batches], dtype=torch.float64)
    for module, mode in modes:
        module.training = mode
    weights = results[:, 2] / results[:, 2].sum()
    return weights @ results[:, 0], results[:, 1].sum() / results[:, 2].sum(), int(results[:, 2].sum())
