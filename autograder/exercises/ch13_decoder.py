"""Chapter 13, the decoder: what it reads, whom it asks, and what it must not see."""

from collections.abc import Callable

import torch
from torch import nn

from attnlab import decoder as reference
from attnlab.block import FeedForward, residual
from attnlab.masks import causal_mask, masked_softmax, padding_mask
from attnlab.multi_head import MultiHeadAttention
from attnlab.norms import LayerNorm
from autograder import expect
from autograder.exercise import Exercise

B, T, S = 3, 5, 7
D_MODEL, H, D_FF = 10, 2, 13  # d_model is H times 5; all others are primes
SIZES = (D_MODEL, H, D_FF)
MANY = 240  # so many sequences of one position: what may be dropped is sometimes kept
SQUARE = 5
VOCABULARY, BOS = 23, 1


def _normal(rng, *shape, dtype=torch.float32):
    return torch.tensor(rng.normal(size=shape), dtype=dtype)


def _ids(rng, B=B, T=T):
    return torch.tensor(rng.integers(2, VOCABULARY, size=(B, T)))


def _gradients(names, found, wanted):
    for name, gradient, right in zip(names, found, wanted, strict=True):
        expect.true(
            gradient is not None,
            f"No gradient reaches `{name}`: it would never learn.",
            "Was something detached, turned into NumPy, or not used at all?",
        )
        expect.close(gradient, right, f"This is the gradient of `{name}`. Is all of the way there PyTorch?", 2e-3)


# ------------------------------------------------------------------------------------------------------- shift_right

shift_right = Exercise("shift_right", chapter=13, reference=reference.shift_right, minutes=5, difficulty=1)


@shift_right.check(points=1)
def test_shift_of_known_tokens(student, rng):
    """With bos = 1, `[5, 6, 7]` becomes `[1, 5, 6]`."""
    cause = "What does the decoder know before it has written the first token?"
    expect.close(student.shift_right(torch.tensor([[5, 6, 7]]), 1), torch.tensor([[1, 5, 6]]), cause)


@shift_right.check(points=1)
def test_each_place_reads_the_token_before_it(student, rng):
    """In every row, place t reads token t − 1, place 0 reads bos, and the last token is read by nobody."""
    for batch, length, bos in ((B, T, BOS), (1, 7, 22), (2, 1, 3)):
        tokens = _ids(rng, batch, length)
        want = reference.shift_right(tokens, bos)
        expect.close(student.shift_right(tokens, bos), want, "Is it each row that moves, by one, to the right?")


@shift_right.check(points=1)
def test_shift_keeps_the_tokens(student, rng):
    """Padding is moved like any token, ids stay whole numbers, and what is passed in is the same afterwards."""
    tokens = _ids(rng)
    tokens[:, -2:] = 0
    want = reference.shift_right(tokens, BOS)
    came = student.shift_right(tokens, BOS)
    expect.close(came, want, "Is padding left where it was?")
    array = expect.as_numpy(came)
    kind = "iu" if array is not None else ""
    expect.true(
        array is not None and array.dtype.kind in kind,
        f"Your ids are {array.dtype if array is not None else 'no tensor'}; whole numbers were expected.",
        "An embedding takes nothing else. What type has the tensor that you began with?",
    )
    expect.unchanged(student, "Does `tokens[:, 1:] = …` write into it? Make a new tensor.")


@shift_right.inputs
def _rows_of_tokens(rng):
    for _ in range(10):
        yield (_ids(rng, SQUARE, SQUARE), int(rng.integers(2, 9))), {}


@shift_right.misconception(caught_by=test_shift_of_known_tokens)
def does_not_shift(tokens, bos):
    """Nothing was shifted: the decoder reads at place t the very token that it is asked for there. It learns to
    copy, its loss falls to 0, and it cannot write a word. This is the *label leak*."""
    return tokens.clone()


@shift_right.misconception(caught_by=test_shift_of_known_tokens)
def shifts_left(tokens, bos):
    """It was shifted to the *left*: place t reads the token that comes after the one it is asked for. It has to
    read the one before."""
    return torch.cat([tokens[:, 1:], torch.full_like(tokens[:, :1], bos)], 1)


@shift_right.misconception(caught_by=test_shift_of_known_tokens)
def keeps_the_last(tokens, bos):
    """The last token was kept, so the row is longer by one. Inputs and targets have to have the same length: the
    last token is read by nobody."""
    return torch.cat([torch.full_like(tokens[:, :1], bos), tokens], 1)


@shift_right.misconception(caught_by=test_shift_of_known_tokens)
def drops_the_first(tokens, bos):
    """The first token was *replaced* by bos and the others stayed where they were. So place t reads its own target,
    but for place 0: a label leak. Move all of them."""
    return torch.cat([torch.full_like(tokens[:, :1], bos), tokens[:, 1:]], 1)


@shift_right.misconception(caught_by=test_shift_of_known_tokens)
def rolls_round(tokens, bos):
    """The row was rolled: the last token came round to the front. Place 0 then reads how the sentence ends. Put bos
    there."""
    return tokens.roll(1, 1)


@shift_right.misconception(caught_by=test_shift_of_known_tokens)
def begins_with_zero(tokens, bos):
    """The row begins with 0, the id of padding. It has to begin with `bos`."""
    return torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)


@shift_right.misconception(caught_by=test_shift_of_known_tokens)
def forgets_bos(tokens, bos):
    """The bos is missing: the last token was cut off, and nothing put in front. Then nothing has moved."""
    return tokens[:, :-1]


@shift_right.misconception(caught_by=test_shift_of_known_tokens)
def shifts_by_two(tokens, bos):
    """It was shifted by two places. The token just before is what the decoder needs most."""
    return torch.cat([torch.full_like(tokens[:, :2], bos), tokens[:, :-2]], 1)[:, : tokens.shape[1]]


@shift_right.misconception(caught_by=test_each_place_reads_the_token_before_it)
def shifts_the_batch(tokens, bos):
    """The *rows* were moved: sentence b reads what sentence b − 1 was asked for. Move along the positions, `dim=1`."""
    return torch.cat([torch.full_like(tokens[:1], bos), tokens[:-1]], 0)


@shift_right.misconception(caught_by=test_each_place_reads_the_token_before_it)
def begins_with_one(tokens, bos):
    """The bos is 1 here whatever was passed in. Which id it is differs from vocabulary to vocabulary."""
    return reference.shift_right(tokens, 1)


@shift_right.misconception(caught_by=test_shift_of_known_tokens)
def copies_along_the_row(tokens, bos):
    """Each place was copied from its left neighbour, one after the other, *within one tensor*: by then the
    neighbour had been overwritten, and the first token ran through the whole row. Read from the tokens, write into
    another tensor."""
    moved = tokens.clone()
    for t in range(1, tokens.shape[1]):
        moved[:, t] = moved[:, t - 1]
    moved[:, 0] = bos
    return moved


@shift_right.misconception(caught_by=test_shift_keeps_the_tokens)
def leaves_padding_in_its_place(tokens, bos):
    """Padding was left where it was, and the last real token was dropped with it. Move everything: the loss leaves
    padding out by the *target*."""
    moved = reference.shift_right(tokens, bos)
    return torch.where(tokens == 0, 0, moved)


@shift_right.misconception(caught_by=test_shift_keeps_the_tokens)
def shift_that_edits(tokens, bos):
    """The answer is right, but the caller's tokens are changed, and they are the targets, too. Make a new tensor."""
    answer = reference.shift_right(tokens, bos)
    tokens[:, 1:] = tokens[:, :-1].clone()
    tokens[:, 0] = bos
    return answer


@shift_right.alternative
def shift_by_roll(tokens, bos, dim=1):
    moved = torch.roll(tokens, 1, dim)
    moved[:, 0] = bos
    return moved


@shift_right.alternative
def shift_by_padding(tokens, bos):
    return nn.functional.pad(tokens, (1, 0), value=bos)[:, :-1]


# --------------------------------------------------------------------------------------------------- cross_attention

cross_attention = Exercise(
    "cross_attention",
    chapter=13,
    reference=reference.cross_attention,
    minutes=10,
    difficulty=2,
    forbidden=(
        "torch.nn.functional.scaled_dot_product_attention",
        "torch.nn.functional.multi_head_attention_forward",
        "torch.nn.MultiheadAttention",
        "attnlab.dot_product.scaled_dot_product_attention",
    ),
)


def _asked(rng, *front, T=T, S=S, d=11, d_k=13, d_v=17, dtype=torch.float32):
    """x, memory and three matrices that make queries, keys and values of entries near 1."""
    x, memory = _normal(rng, *front, T, d, dtype=dtype), _normal(rng, *front, S, d, dtype=dtype)
    return x, memory, *(_normal(rng, d, width, dtype=dtype) / d**0.5 for width in (d_k, d_k, d_v))


def _alike(rng, *front):
    return _asked(rng, *front, T=SQUARE, S=SQUARE, d=SQUARE, d_k=SQUARE, d_v=SQUARE)


@cross_attention.check(points=1)
def test_cross_attention_of_known_numbers(student, rng):
    """One query with weights ¼ and ¾ over a memory with the values 8 and 16 takes 14."""
    ln3 = torch.log(torch.tensor(3.0))
    x, memory = torch.tensor([[2.0, 5.0]]), torch.tensor([[0.0, 8.0], [1.0, 16.0]])
    W_q, W_k = torch.zeros(2, 4), torch.zeros(2, 4)
    W_q[0, 0], W_k[0, 0] = 1.0, ln3
    W_v = torch.tensor([[0.0], [1.0]])
    expect.close(
        student.cross_attention(x, memory, W_q, W_k, W_v),
        torch.tensor([[14.0]]),
        "The scores are 0 and 2 ln 3, divided by √4. Keys and values of whom?",
    )


@cross_attention.check(points=2)
def test_the_decoder_asks_and_the_memory_answers(student, rng):
    """Queries are made from x; keys *and* values from the memory, which may have another length."""
    for inputs in (_asked(rng, B), _asked(rng), _alike(rng, B), _asked(rng, 2, B)):
        want = reference.cross_attention(*inputs)
        expect.close(student.cross_attention(*inputs), want, "What is made from x, and what from the memory?", 1e-4)


@cross_attention.check(points=1)
def test_the_source_is_masked(student, rng):
    """A mask, True = may attend, hides padding of the *source*; where it hides everything the answer is zero. It may
    say something else for each query: its rows are the decoder's places, its columns the source's."""
    padding = (torch.arange(S) < torch.tensor([S, 2, 0])[:, None])[:, None]
    drawn = [torch.tensor(rng.random(shape) < 0.6) for shape in ((T, S), (B, SQUARE, SQUARE))]
    for inputs, mask, cause in (
        (_asked(rng, B), padding, "Does the mask act before the softmax?"),
        (_asked(rng, B), drawn[0], "This mask has a row for each query, (T, S). Is it used as it is?"),
        (_alike(rng, B), drawn[1], "Here T = S. Are the mask's rows queries, and its columns keys?"),
    ):
        x, memory, W_q, W_k, W_v = inputs
        want = reference.cross_attention(x, memory, W_q, W_k, W_v, mask)
        expect.close(student.cross_attention(*inputs, mask=mask), want, cause, 1e-4)


@cross_attention.check(points=1)
def test_gradients_reach_the_memory(student, rng):
    """Gradients reach x, the memory and all three matrices; what is passed in is the same afterwards."""
    inputs = _asked(rng, B, dtype=torch.float64)
    g = _normal(rng, B, T, 17, dtype=torch.float64)
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = reference.cross_attention(*leaves)
    wanted = torch.autograd.grad((value * g).sum(), leaves)
    came = student.cross_attention.gradients(*inputs, cotangent=g)
    expect.close(came.value, value, "Is it the answer that you give without gradients, too?")
    _gradients(("x", "memory", "W_q", "W_k", "W_v"), came.inputs, wanted)
    expect.close(student.cross_attention(*inputs), value, "Is it the answer that you gave with gradients?")
    expect.unchanged(student)


@cross_attention.inputs
def _questions(rng):
    for i in range(12):
        yield _alike(rng, *((), (2,))[i % 2]), {}


def _cross(x, memory, W_q, W_k, W_v, mask=None, *, scale=None, weights=masked_softmax, q=None, k=None, v=None):
    """The reference in steps, which a wrong answer can replace one by one."""
    q, k, v = (x if q is None else q) @ W_q, (memory if k is None else k) @ W_k, (memory if v is None else v) @ W_v
    return weights(q @ k.mT / (k.shape[-1] ** 0.5 if scale is None else scale), mask) @ v


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def asks_itself(x, memory, W_q, W_k, W_v, mask=None):
    """Keys and values were made from the decoder's own x: that is self-attention, and the source is never read.
    They are made from the memory."""
    return _cross(x, memory, W_q, W_k, W_v, mask, k=x, v=x)


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def takes_keys_from_itself(x, memory, W_q, W_k, W_v, mask=None):
    """The keys were made from the decoder's x and the values from the memory. Where to look is decided by keys of
    the things that are looked at: both come from the memory."""
    return _cross(x, memory, W_q, W_k, W_v, mask, k=x)


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def takes_values_from_itself(x, memory, W_q, W_k, W_v, mask=None):
    """The values were made from the decoder's x: it looks at the source and takes home its own words. Keys and
    values come from the memory."""
    return _cross(x, memory, W_q, W_k, W_v, mask, v=x)


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def lets_the_memory_ask(x, memory, W_q, W_k, W_v, mask=None):
    """The roles are exchanged: the memory asks and the decoder answers. The one who writes is the one who wants to
    know."""
    return _cross(x, memory, W_q, W_k, W_v, mask, q=memory, k=x, v=x)


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def reads_the_memory_to_itself(x, memory, W_q, W_k, W_v, mask=None):
    """Queries, keys and values were all made from the memory: that is one more layer of the encoder. The queries
    are made from x."""
    return _cross(x, memory, W_q, W_k, W_v, mask, q=memory)


@cross_attention.misconception(caught_by=test_cross_attention_of_known_numbers)
def hands_out_the_weights(x, memory, W_q, W_k, W_v, mask=None):
    """These are the attention *weights*. The decoder needs what was found by them: the weighted sum of the values."""
    q, k = x @ W_q, memory @ W_k
    return masked_softmax(q @ k.mT / k.shape[-1] ** 0.5, mask)


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def averages_the_memory_itself(x, memory, W_q, W_k, W_v, mask=None):
    """The memory itself was averaged, without W_v. What a source word tells is its value, `memory @ W_v`."""
    q, k = x @ W_q, memory @ W_k
    return masked_softmax(q @ k.mT / k.shape[-1] ** 0.5, mask) @ memory


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def exchanges_keys_and_values(x, memory, W_q, W_k, W_v, mask=None):
    """W_k and W_v are exchanged."""
    return _cross(x, memory, W_q, W_v, W_k, mask)


@cross_attention.misconception(caught_by=test_cross_attention_of_known_numbers)
def forgets_the_scale(x, memory, W_q, W_k, W_v, mask=None):
    """The scores are not divided by √d_k (chapter 4)."""
    return _cross(x, memory, W_q, W_k, W_v, mask, scale=1.0)


@cross_attention.misconception(caught_by=test_cross_attention_of_known_numbers)
def scales_the_answer(x, memory, W_q, W_k, W_v, mask=None):
    """The *answer* was divided by √d_k, not the scores. It is the softmax that has to be kept from large numbers, so
    they are made smaller before it."""
    return _cross(x, memory, W_q, W_k, W_v, mask, scale=1.0) / W_k.shape[-1] ** 0.5


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def turns_the_batch_over(x, memory, W_q, W_k, W_v, mask=None):
    """`.T` turns *all* axes of the keys round, the batch too. Only the last two are exchanged: `.mT`, or
    `.transpose(-2, -1)`."""
    q, k = x @ W_q, memory @ W_k
    return masked_softmax(q @ k.permute(*reversed(range(k.ndim))) / k.shape[-1] ** 0.5, mask) @ (memory @ W_v)


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def scales_by_the_model(x, memory, W_q, W_k, W_v, mask=None):
    """The scores are divided by √d_model. It is the width of queries and keys that counts, √d_k."""
    return _cross(x, memory, W_q, W_k, W_v, mask, scale=memory.shape[-1] ** 0.5)


@cross_attention.misconception(caught_by=test_cross_attention_of_known_numbers)
def forgets_the_root(x, memory, W_q, W_k, W_v, mask=None):
    """The scores are divided by d_k, not by its root: they come out too small, and the weights too even."""
    return _cross(x, memory, W_q, W_k, W_v, mask, scale=float(W_k.shape[-1]))


@cross_attention.misconception(caught_by=test_cross_attention_of_known_numbers)
def scales_by_the_source(x, memory, W_q, W_k, W_v, mask=None):
    """The scores are divided by √S, the root of the source's length. It is the width of queries and keys that counts,
    √d_k: their dot product has d_k summands."""
    return _cross(x, memory, W_q, W_k, W_v, mask, scale=memory.shape[-2] ** 0.5)


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def scales_by_the_values(x, memory, W_q, W_k, W_v, mask=None):
    """The scores are divided by √d_v, the width of the values. Values have no part in the scores: √d_k."""
    return _cross(x, memory, W_q, W_k, W_v, mask, scale=W_v.shape[-1] ** 0.5)


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def exchanges_queries_and_keys(x, memory, W_q, W_k, W_v, mask=None):
    """W_q and W_k are exchanged: queries were made by the matrix for keys, and keys by the one for queries."""
    return _cross(x, memory, W_k, W_q, W_v, mask)


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def takes_the_keys_home(x, memory, W_q, W_k, W_v, mask=None):
    """The *keys* were averaged, `weights @ k`. By its key a source word is found; what it tells is its value."""
    return _cross(x, memory, W_q, W_k, W_k, mask)


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def adds_the_question(x, memory, W_q, W_k, W_v, mask=None):
    """The question x was added to the answer. The layer does that, in its residual connection; here the answer comes
    alone."""
    answer = _cross(x, memory, W_q, W_k, W_v, mask)
    return x + answer if x.shape == answer.shape else answer


@cross_attention.misconception(caught_by=test_cross_attention_of_known_numbers)
def hands_out_the_weights_too(x, memory, W_q, W_k, W_v, mask=None):
    """It returns a pair, answer and weights. The answer is asked for alone."""
    weights = masked_softmax(x @ W_q @ (memory @ W_k).mT / W_k.shape[-1] ** 0.5, mask)
    return weights @ (memory @ W_v), weights


@cross_attention.misconception(caught_by=test_cross_attention_of_known_numbers)
def lets_queries_compete(x, memory, W_q, W_k, W_v, mask=None):
    """The softmax runs over the queries, so that the decoder's positions compete for a source word. Each query
    shares out its look over the source: `dim=-1`."""
    return _cross(x, memory, W_q, W_k, W_v, mask, weights=lambda s, m: masked_softmax(s, m, -2))


@cross_attention.misconception(caught_by=test_cross_attention_of_known_numbers)
def takes_the_sigmoid(x, memory, W_q, W_k, W_v, mask=None):
    """The sigmoid of each score was taken in place of the softmax of a row: the weights do not add up to one."""
    return _cross(x, memory, W_q, W_k, W_v, mask, weights=lambda s, m: torch.sigmoid(s) * (1 if m is None else m))


@cross_attention.misconception(caught_by=test_the_decoder_asks_and_the_memory_answers)
def looks_back_only(x, memory, W_q, W_k, W_v, mask=None):
    """A causal mask was put on the *source*: place t of the target saw source words up to t only. The source is all
    there: only its padding is hidden."""
    past = torch.ones(x.shape[-2], memory.shape[-2], dtype=torch.bool).tril()
    return _cross(x, memory, W_q, W_k, W_v, past if mask is None else mask & past)


@cross_attention.misconception(caught_by=test_the_source_is_masked)
def forgets_the_mask(x, memory, W_q, W_k, W_v, mask=None):
    """The mask is taken and never used: the decoder listens to the padding of the source."""
    return _cross(x, memory, W_q, W_k, W_v)


@cross_attention.misconception(caught_by=test_the_source_is_masked)
def turns_the_mask_round(x, memory, W_q, W_k, W_v, mask=None):
    """The mask was turned round. True means *may attend*."""
    return _cross(x, memory, W_q, W_k, W_v, None if mask is None else ~mask)


@cross_attention.misconception(caught_by=test_the_source_is_masked)
def lays_the_mask_on_its_side(x, memory, W_q, W_k, W_v, mask=None):
    """The mask was transposed. Its rows are queries and its columns keys, as in the scores, (T, S). On its side it
    hides who asks and not what is looked at; where T = S, nothing fails."""
    return _cross(x, memory, W_q, W_k, W_v, mask if mask is None else mask.mT)


@cross_attention.misconception(caught_by=test_the_source_is_masked)
def erases_the_padding(x, memory, W_q, W_k, W_v, mask=None):
    """Vectors of the memory were set to zero where the mask hides them. A key of zeros has a score of 0, which is not
    −∞: it still takes its share of the weights. Hand the mask to the softmax."""
    seen = 1 if mask is None else mask.any(-2)[..., None].to(memory.dtype)
    return _cross(x, memory * seen, W_q, W_k, W_v)


@cross_attention.misconception(caught_by=test_the_source_is_masked)
def masks_after_the_softmax(x, memory, W_q, W_k, W_v, mask=None):
    """The weights were set to zero after the softmax, so the others no longer add up to one. Forbid the scores
    before it."""
    return _cross(x, memory, W_q, W_k, W_v, mask, weights=lambda s, m: torch.softmax(s, -1) * (1 if m is None else m))


@cross_attention.misconception(caught_by=test_the_source_is_masked)
def becomes_nan(x, memory, W_q, W_k, W_v, mask=None):
    """Where everything is hidden the answer is NaN, the softmax of nothing but −∞. `masked_softmax` of chapter 5
    gives zeros."""
    return _cross(
        x,
        memory,
        W_q,
        W_k,
        W_v,
        mask,
        weights=lambda s, m: torch.softmax(s if m is None else s.masked_fill(~m, -torch.inf), -1),
    )


@cross_attention.misconception(caught_by=test_the_source_is_masked)
def averages_what_is_hidden(x, memory, W_q, W_k, W_v, mask=None):
    """Forbidden scores were filled with a large negative number. Where *everything* is hidden they are all alike again,
    and the answer is the mean of the padding. `masked_softmax` of chapter 5 gives zeros."""
    return _cross(
        x,
        memory,
        W_q,
        W_k,
        W_v,
        mask,
        weights=lambda s, m: torch.softmax(s if m is None else s.masked_fill(~m, -1e9), -1),
    )


@cross_attention.misconception(caught_by=test_the_source_is_masked)
def multiplies_scores_by_the_mask(x, memory, W_q, W_k, W_v, mask=None):
    """The scores were multiplied by the mask. A score of 0 is not forbidden: e⁰ = 1, and padding takes its share. Fill
    with −∞, or take `masked_softmax`."""
    return _cross(x, memory, W_q, W_k, W_v, mask, weights=lambda s, m: torch.softmax(s if m is None else s * m, -1))


@cross_attention.misconception(caught_by=test_gradients_reach_the_memory)
def cuts_off_the_encoder(x, memory, W_q, W_k, W_v, mask=None):
    """The numbers are right, but the memory was detached: the encoder never learns."""
    return _cross(x, memory.detach(), W_q, W_k, W_v, mask)


@cross_attention.misconception(caught_by=test_gradients_reach_the_memory)
def cross_attention_that_edits(x, memory, W_q, W_k, W_v, mask=None):
    """The answer is right, but an input is changed: `*=`, `/=` or a function with a `_` at its end writes into it."""
    answer = _cross(x, memory, W_q, W_k, W_v, mask)
    if not memory.requires_grad:
        memory *= 0.5
    return answer


@cross_attention.alternative
def cross_attention_by_einsum(x, memory, W_q, W_k, W_v, mask=None, dropout=0.0):
    q, k = torch.einsum("...td,dk->...tk", x, W_q), torch.einsum("...sd,dk->...sk", memory, W_k)
    scores = torch.einsum("...tk,...sk->...ts", q, k) * W_k.shape[1] ** -0.5
    return torch.einsum("...ts,...sv->...tv", masked_softmax(scores, mask), memory @ W_v)


@cross_attention.alternative
def cross_attention_in_another_order(x, memory, W_q, W_k, W_v, mask=None):
    scores = (x @ (W_q @ W_k.T) @ memory.mT) / W_q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = torch.nan_to_num(torch.softmax(scores, -1))
    return (weights @ memory) @ W_v


# ------------------------------------------------------------------------------------------------------ DecoderLayer

DecoderLayer = Exercise(
    "DecoderLayer",
    chapter=13,
    reference=reference.DecoderLayer,
    minutes=25,
    difficulty=3,
    forbidden=("torch.nn.TransformerDecoderLayer", "torch.nn.TransformerDecoder", "torch.nn.Transformer"),
)


def _layers(student, rng, order, dropout=0.0):
    """A layer of the student's and the reference, with the same weights, far from a module's start. Without an order
    both take their default."""
    options = {"dropout": dropout} | ({"order": order} if order else {})
    ours = reference.DecoderLayer(*SIZES, **options).eval()
    weights = {}
    for name, parameter in ours.named_parameters():
        fresh = _normal(rng, *parameter.shape)
        weights[name] = 1 + 0.3 * fresh if "norm" in name and name.endswith("weight") else 0.5 * fresh
    ours.load_state_dict(weights)
    module = student.DecoderLayer(*SIZES, **options)
    module.eval()
    module.load(weights)
    return module, ours


def _reading(rng, T=T, S=S, dtype=torch.float32):
    return _normal(rng, B, T, D_MODEL, dtype=dtype), _normal(rng, B, S, D_MODEL, dtype=dtype)


@DecoderLayer.check(points=1)
def test_the_layer_has_six_parts(student, rng):
    """Its parameters are those of `self_attention`, `cross_attention`, `feed_forward`, `norm_1`, `norm_2` and
    `norm_3`."""
    wanted = {name: tuple(p.shape) for name, p in reference.DecoderLayer(*SIZES).named_parameters()}
    module = student.DecoderLayer(*SIZES, dropout=0.0, order="pre")
    found = {name: tuple(value.shape) for name, value in module.parameters().items()}
    lacking = [name for name, shape in wanted.items() if found.get(name) != shape]
    extra = [name for name in found if name not in wanted]
    expect.true(
        not lacking,
        f"These parameters are missing or of another shape: {', '.join(f'`{name}`' for name in lacking[:3])}.",
        "Are there six modules under exactly these names, made in `__init__`?",
    )
    expect.true(not extra, f"Nobody asked for `{(extra or [''])[0]}`.", "Is there a seventh part?")


@DecoderLayer.check(points=2)
def test_looks_back_looks_across_and_thinks(student, rng):
    """`order="post"`, which is the default: self-attention, then cross-attention to the memory, then feed-forward, each
    added and normed."""
    x, memory = _reading(rng)
    for order, said in (("post", 'order="post"'), (None, "`order` was left out, so it is post")):
        module, ours = _layers(student, rng, order)
        want = ours(x, memory)
        expect.close(module(x, memory), want, f"{said}: which part comes when, and what does each read?", 1e-4)


@DecoderLayer.check(points=2)
def test_norms_what_each_part_reads(student, rng):
    """`order="pre"`: each of the three reads a normed copy of the road; the memory is read as it is."""
    x, memory = _reading(rng)
    module, ours = _layers(student, rng, "pre")
    want = ours(x, memory)
    expect.close(module(x, memory), want, "Is x normed before each of the three, and is the memory left alone?", 1e-4)


@DecoderLayer.check(points=2)
def test_each_attention_has_its_own_mask(student, rng):
    """`mask` goes to the self-attention, `memory_mask` to the cross-attention, also where both lengths are equal.
    Nothing is kept for the next call, which may bring another memory and no masks."""
    for source in (S, T):
        x, memory = _reading(rng, S=source)
        past, real = causal_mask(T, like=x), padding_mask(torch.tensor([source, 2, 3]), source)
        module, ours = _layers(student, rng, "post")
        wants = [ours(x, memory, past, real), ours(x, memory, past), ours(x, memory, None, real)]
        cause = "Which of the two masks hides the future, and which the padding of the source?"
        expect.close(module(x, memory, past, real), wants[0], cause, 1e-4)
        expect.close(module(x, memory, past), wants[1], "Here only `mask` was given.", 1e-4)
        expect.close(module(x, memory, memory_mask=real), wants[2], "Here only `memory_mask` was given.", 1e-4)
        other = -memory
        want = ours(x, other)
        cause = "This call has another memory, and no masks. Does the layer keep those of an earlier call?"
        expect.close(module(x, other), want, cause, 1e-4)


@DecoderLayer.check(points=1)
def test_dropout_falls_on_what_each_part_adds(student, rng):
    """With a dropout of 1, in training, the three parts add nothing; in evaluation, nothing is ever dropped."""
    x, memory = _reading(rng)
    for order in ("pre", "post"):
        module, ours = _layers(student, rng, order, dropout=1.0)
        want = ours(x, memory)
        alone = x if order == "pre" else ours.norm_3(ours.norm_2(ours.norm_1(x)))
        module.train()
        expect.close(module(x, memory), alone, f'order="{order}": is dropout the last thing before each sum?', 1e-4)
        module.eval()
        expect.close(module(x, memory), want, "This is after `.eval()`.", 1e-4)


@DecoderLayer.check(points=1)
def test_all_three_parts_drop_inside(student, rng):
    """`dropout`, 0.1 where it is left out, is handed to both attentions and to the feed-forward network, which drop
    inside themselves, too."""
    x, memory = torch.zeros(MANY, 1, D_MODEL), torch.zeros(MANY, 1, D_MODEL)
    for given, p in (({"dropout": 0.5}, 0.5), ({}, 0.1)):
        for part in ("self_attention", "cross_attention", "feed_forward"):
            module = student.DecoderLayer(*SIZES, order="pre", **given)
            module.load(_says_one(part))
            module.train()
            came = torch.as_tensor(expect.is_array(module(x, memory), tuple(x.shape)))
            most, want = float(came.max()), 1 / (1 - p) ** 2  # of so many one is kept, but for one time in 10²⁵
            expect.true(
                abs(most - want) < 1e-3,
                f"In training, with {'dropout=0.5' if given else '`dropout` left out, so 0.1'}, a `{part}` that says 1 "
                f"adds {most:.4g} where it is kept. Dropped inside and before the sum, what is kept grows twice by "
                f"1/(1 − {p}), to {want:.4g}.",
                "Was `dropout` handed on when the part was made, and is its default the one of the signature?",
            )


def _says_one(part):
    """Weights with which this part of a layer says 1 in its first feature, and nothing else is said."""
    weights = {name: torch.zeros_like(value) for name, value in reference.DecoderLayer(*SIZES).named_parameters()}
    first, last = ("W_1", "W_2") if part == "feed_forward" else ("W_v", "W_o")
    weights[f"{part}.{first}.bias"] += 1
    weights[f"{part}.{last}.weight"][0, 0] = 1
    return weights


@DecoderLayer.check(points=1)
def test_the_layer_learns_and_is_saved(student, rng):
    """Gradients reach x, the memory and all parameters; a saved layer can be loaded; inputs are the same afterwards."""
    (x, memory), g = _reading(rng), _normal(rng, B, T, D_MODEL)
    module, ours = _layers(student, rng, "pre")
    leaves = [x.clone().requires_grad_(), memory.clone().requires_grad_()]
    value = ours(*leaves)
    names = [name for name, _ in ours.named_parameters()]
    wanted = torch.autograd.grad((value * g).sum(), [*leaves, *ours.parameters()])
    came = module.gradients(x, memory, cotangent=g)
    expect.close(came.value, value, "Is it the answer that you give without gradients, too?", 1e-4)
    found = [*came.inputs, *(came.parameters.get(name) for name in names)]
    _gradients(["x", "memory", *names], found, wanted)
    other = student.DecoderLayer(*SIZES, dropout=0.0, order="pre")
    other.eval()
    other.load_state_dict(module.state_dict())
    expect.close(other(x, memory), value, "Does the state_dict hold all that the answer depends on?", 1e-4)
    expect.unchanged(student, "Does `x += …` write into the input?")


class _Layer(nn.Module):
    """The reference in pieces, which a wrong answer can replace one by one."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__()
        self.order = order
        self.self_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.cross_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.norm_1, self.norm_2, self.norm_3 = (LayerNorm(d_model) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def back(self, x, mask):
        return self.self_attention(x, x, x, mask)

    def across(self, x, memory, mask):
        return self.cross_attention(x, memory, memory, mask)

    def add(self, x, sublayer, norm):
        return residual(x, lambda y: self.dropout(sublayer(y)), norm, self.order)

    def forward(self, x, memory, mask=None, memory_mask=None):
        x = self.add(x, lambda y: self.back(y, mask), self.norm_1)
        x = self.add(x, lambda y: self.across(y, memory, memory_mask), self.norm_2)
        return self.add(x, self.feed_forward, self.norm_3)


@DecoderLayer.misconception(caught_by=test_each_attention_has_its_own_mask)
class LayerWithMasksSwapped(_Layer):
    """The masks are swapped: the causal one went to the cross-attention, the one for the source's padding to the
    self-attention. Where lengths differ it fails at once; where they are equal it trains, sees its own future, and
    cannot write."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        return super().forward(x, memory, memory_mask, mask)


@DecoderLayer.misconception(caught_by=test_each_attention_has_its_own_mask)
class LayerWithoutItsCausalMask(_Layer):
    """`mask` is not handed to the self-attention: every position sees the words that it is asked for. The loss
    falls wonderfully, and the layer cannot write."""

    def back(self, x, mask):
        return super().back(x, None)


@DecoderLayer.misconception(caught_by=test_each_attention_has_its_own_mask)
class LayerWithoutItsMemoryMask(_Layer):
    """`memory_mask` is not handed to the cross-attention: the decoder listens to the padding of the source."""

    def across(self, x, memory, mask):
        return super().across(x, memory, None)


@DecoderLayer.misconception(caught_by=test_each_attention_has_its_own_mask)
class LayerWithoutMasks(_Layer):
    """Neither mask is handed on."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        return super().forward(x, memory)


@DecoderLayer.misconception(caught_by=test_each_attention_has_its_own_mask)
class LayerThatRemembersItsMemory(_Layer):
    """The memory of the first call is kept in the module and read in all that follow. Another source brings another
    memory, with every call."""

    kept = None

    def across(self, x, memory, mask):
        self.kept = memory if self.kept is None else self.kept
        return super().across(x, self.kept, mask)


@DecoderLayer.misconception(caught_by=test_each_attention_has_its_own_mask)
class LayerThatRemembersItsMasks(_Layer):
    """Masks are kept in the module, and used again where the next call brings none. Each call stands for itself: hand
    on the masks that came with it, `None` too."""

    kept: tuple[torch.Tensor | None, ...] = (None, None)

    def forward(self, x, memory, mask=None, memory_mask=None):
        both = zip((mask, memory_mask), self.kept, strict=True)
        self.kept = tuple(old if new is None else new for new, old in both)
        return super().forward(x, memory, *self.kept)


@DecoderLayer.misconception(caught_by=test_each_attention_has_its_own_mask)
class LayerWithMasksTurnedRound(_Layer):
    """The masks were turned round. Here True means *may attend*; in PyTorch's own modules True hides."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        masks = (None if m is None else ~m for m in (mask, memory_mask))
        return super().forward(x, memory, *masks)


@DecoderLayer.misconception(caught_by=test_each_attention_has_its_own_mask)
class LayerWithTheMemoryMaskTurnedRound(_Layer):
    """`memory_mask` was turned round: the decoder listens to the padding of the source, and to nothing else. True means
    *may attend*."""

    def across(self, x, memory, mask):
        return super().across(x, memory, None if mask is None else ~mask)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerWithACausalMaskOfItsOwn(_Layer):
    """A causal mask was built in. The caller says who may look at whom: with a cache, or for other tasks, there is
    another mask or none."""

    def back(self, x, mask):
        past = causal_mask(x.shape[1], like=x)
        return super().back(x, past if mask is None else mask & past)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerWithoutCrossAttention(_Layer):
    """The cross-attention is never used: the decoder does not read the source at all, and can only write what is likely
    anyway."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        x = self.add(x, lambda y: self.back(y, mask), self.norm_1)
        return self.add(x, self.feed_forward, self.norm_3)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatAsksItself(_Layer):
    """Keys and values of the cross-attention come from the decoder's own x: a second self-attention, and the source
    is never read. They come from the memory."""

    def across(self, x, memory, mask):
        return self.cross_attention(x, x, x)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerOfWhichTheMemoryAsks(_Layer):
    """Query and memory are exchanged in the cross-attention: the source asks the decoder. Then the answer has the
    source's length."""

    def across(self, x, memory, mask):
        return self.cross_attention(memory, x, x)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerWithAttentionsExchanged(_Layer):
    """The two attentions are exchanged: the one called `cross_attention` looks back, the one called
    `self_attention` looks at the memory. With fresh weights nobody notices; with loaded ones everybody does."""

    def back(self, x, mask):
        return self.cross_attention(x, x, x, mask)

    def across(self, x, memory, mask):
        return self.self_attention(x, memory, memory, mask)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatUsesOneAttentionTwice(_Layer):
    """`self_attention` does both, looking back and looking across, and `cross_attention` is never used. Each has
    its own questions to learn."""

    def across(self, x, memory, mask):
        return self.self_attention(x, memory, memory, mask)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatPassesWeightsOn(_Layer):
    """The cross-attention's *weights* were handed on, not its output. They say where it looked, and nothing of what is
    there: the words of the source never reach the decoder."""

    def across(self, x, memory, mask):
        weights = self.cross_attention.weights(x, memory, mask).mean(1)
        return nn.functional.pad(weights, (0, x.shape[-1] - weights.shape[-1]))


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatLooksAcrossFirst(_Layer):
    """The cross-attention comes before the self-attention. First it looks at what it has written, and then, knowing
    that, at the source."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        x = self.add(x, lambda y: self.across(y, memory, memory_mask), self.norm_2)
        x = self.add(x, lambda y: self.back(y, mask), self.norm_1)
        return self.add(x, self.feed_forward, self.norm_3)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatLooksAcrossFirstWithTheFirstNorm(_Layer):
    """The cross-attention comes first, with `norm_1`, and the self-attention second. First it looks at what it has
    written, and then, knowing that, at the source."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        x = self.add(x, lambda y: self.across(y, memory, memory_mask), self.norm_1)
        x = self.add(x, lambda y: self.back(y, mask), self.norm_2)
        return self.add(x, self.feed_forward, self.norm_3)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatLooksAtBothAtOnce(_Layer):
    """Both attentions read the same x, and their answers are added. The cross-attention reads what is there *after* the
    self-attention was added."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        if self.order == "pre":
            both = self.back(self.norm_1(x), mask) + self.across(self.norm_2(x), memory, memory_mask)
            x = x + self.dropout(both)
        else:
            x = self.norm_2(self.norm_1(x + self.dropout(self.back(x, mask) + self.across(x, memory, memory_mask))))
        return self.add(x, self.feed_forward, self.norm_3)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerWithoutResiduals(_Layer):
    """The residual connections are missing: each part replaces what came in."""

    def add(self, x, sublayer, norm):
        return norm(self.dropout(sublayer(x))) if self.order == "post" else self.dropout(sublayer(norm(x)))


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerWithoutResidualRoundCrossAttention(_Layer):
    """The residual connection round the *cross-attention* is missing: what the decoder has written so far is
    replaced by what the source says."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        x = self.add(x, lambda y: self.back(y, mask), self.norm_1)
        if self.order == "pre":
            x = self.dropout(self.across(self.norm_2(x), memory, memory_mask))
        else:
            x = self.norm_2(self.dropout(self.across(x, memory, memory_mask)))
        return self.add(x, self.feed_forward, self.norm_3)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatGoesBackToItsInput(_Layer):
    """The cross-attention's answer was added to the *input of the layer*, past the self-attention, of which only the
    queries have heard. Each sum goes on from the one before."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        written = self.add(x, lambda y: self.back(y, mask), self.norm_1)
        x = self.add(x, lambda y: self.across(written, memory, memory_mask), self.norm_2)
        return self.add(x, self.feed_forward, self.norm_3)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatForgetsWhatItLookedBackAt(_Layer):
    """What the self-attention brought was never used: the second sum begins from the input of the layer again, and
    so do its queries. Hand the first sum on: `x = residual(x, …)`."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        self.add(x, lambda y: self.back(y, mask), self.norm_1)
        x = self.add(x, lambda y: self.across(y, memory, memory_mask), self.norm_2)
        return self.add(x, self.feed_forward, self.norm_3)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerWithOneMoreNorm(_Layer):
    """There is one more norm at the end. In post-order the last sum has been normed already; in pre-order the road
    stays open, and the norm behind the last layer is the stack's."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        return self.norm_3(super().forward(x, memory, mask, memory_mask))


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerWithoutFeedForward(_Layer):
    """The feed-forward network is missing: two attentions, and nobody thinks."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        x = self.add(x, lambda y: self.back(y, mask), self.norm_1)
        return self.add(x, lambda y: self.across(y, memory, memory_mask), self.norm_2)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerAlwaysPre(_Layer):
    """The norms stand before the parts whatever `order` says."""

    def add(self, x, sublayer, norm):
        return residual(x, lambda y: self.dropout(sublayer(y)), norm, "pre")


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerPreUnlessTold(_Layer):
    """Where nobody says `order`, the norms stand before the parts. That is how layers are built today; the signature
    here promises the paper's, `order="post"`, and who leaves an argument out relies on its default."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="pre"):
        super().__init__(d_model, num_heads, d_ff, dropout, order)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerWhoseCrossAttentionHasOneHead(_Layer):
    """The cross-attention has a single head: `num_heads` never reached it. The parameters are the same ones, so only
    the numbers tell."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(d_model, num_heads, d_ff, dropout, order)
        self.cross_attention = MultiHeadAttention(d_model, 1, dropout)


@DecoderLayer.misconception(caught_by=test_norms_what_each_part_reads)
class LayerAlwaysPost(_Layer):
    """The norms stand after the sums whatever `order` says."""

    def add(self, x, sublayer, norm):
        return residual(x, lambda y: self.dropout(sublayer(y)), norm, "post")


@DecoderLayer.misconception(caught_by=test_norms_what_each_part_reads)
class LayerThatNormsTheMemory(_Layer):
    """In pre-order the memory was normed by the decoder's norm, too. It comes from the encoder's last norm already,
    and is read as it is; the norm is for x."""

    def across(self, x, memory, mask):
        memory = self.norm_2(memory) if self.order == "pre" else memory
        return super().across(x, memory, mask)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatAlwaysNormsTheMemory(_Layer):
    """The memory was normed by the decoder's norm, in either order. It comes normed from the encoder and is read as it
    is; the norm is for x."""

    def across(self, x, memory, mask):
        return super().across(x, self.norm_2(memory), mask)


@DecoderLayer.misconception(caught_by=test_norms_what_each_part_reads)
class LayerThatAddsToTheNormedCopy(_Layer):
    """In pre-order x was replaced by its normed copy. The sum is over what came in."""

    def add(self, x, sublayer, norm):
        if self.order == "post":
            return super().add(x, sublayer, norm)
        x = norm(x)
        return x + self.dropout(sublayer(x))


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatUsesOneNorm(_Layer):
    """`norm_1` serves all three parts. Each has its own scale to learn."""

    def add(self, x, sublayer, norm):
        return super().add(x, sublayer, self.norm_1)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatUsesItsSecondNormTwice(_Layer):
    """`norm_2` serves the cross-attention and the feed-forward network, and `norm_3` nobody. Each part has a norm of
    its own."""

    def add(self, x, sublayer, norm):
        return super().add(x, sublayer, self.norm_2 if norm is self.norm_3 else norm)


@DecoderLayer.misconception(caught_by=test_norms_what_each_part_reads)
class LayerThatReadsTheRoadItself(_Layer):
    """In pre-order the three parts read the road itself: the normed copies are made, and not used. Does a `lambda y: …`
    ask about x? What it is given as y is the normed copy."""

    def add(self, x, sublayer, norm):
        return x + self.dropout(sublayer(x)) if self.order == "pre" else super().add(x, sublayer, norm)


@DecoderLayer.misconception(caught_by=test_norms_what_each_part_reads)
class LayerThatAsksUnnormed(_Layer):
    """In pre-order the cross-attention is asked by the road itself, not by the normed copy. Does its `lambda y: …` ask
    about x? What it is given as y is the normed copy."""

    def add(self, x, sublayer, norm):
        if self.order == "pre" and norm is self.norm_2:
            return x + self.dropout(sublayer(x))
        return super().add(x, sublayer, norm)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerWithTheLastNormsExchanged(_Layer):
    """`norm_2` and `norm_3` are exchanged: the second belongs to the cross-attention, the third to the feed-forward
    network."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        x = self.add(x, lambda y: self.back(y, mask), self.norm_1)
        x = self.add(x, lambda y: self.across(y, memory, memory_mask), self.norm_3)
        return self.add(x, self.feed_forward, self.norm_2)


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerWithoutNorms(_Layer):
    """The norms are never applied."""

    def add(self, x, sublayer, norm):
        return x + self.dropout(sublayer(x))


@DecoderLayer.misconception(caught_by=test_the_layer_has_six_parts)
class LayerWithOneAttention(_Layer):
    """One attention does both, looking back and looking across. What it asks of its own words and of the source are
    different questions: two modules."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        nn.Module.__init__(self)
        self.order = order
        self.self_attention = self.cross_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.norm_1, self.norm_2, self.norm_3 = (LayerNorm(d_model) for _ in range(3))
        self.dropout = nn.Dropout(dropout)


@DecoderLayer.misconception(caught_by=test_the_layer_has_six_parts)
class LayerOfTwoNorms(_Layer):
    """There are two norms for three parts: `norm_3` is missing."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.norm_3 = self.norm_2


@DecoderLayer.misconception(caught_by=test_looks_back_looks_across_and_thinks)
class LayerThatReturnsAPair(_Layer):
    """It returns a pair. The next layer wants one tensor."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        return super().forward(x, memory, mask, memory_mask), memory


@DecoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_part_adds)
class LayerWithoutDropout(_Layer):
    """What the parts add is never dropped."""

    def add(self, x, sublayer, norm):
        return residual(x, sublayer, norm, self.order)


class _LayerThatSpares(_Layer):
    """What goes with one of the three norms is added undropped."""

    spared = 0

    def add(self, x, sublayer, norm):
        if norm is (self.norm_1, self.norm_2, self.norm_3)[self.spared]:
            return residual(x, sublayer, norm, self.order)
        return super().add(x, sublayer, norm)


@DecoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_part_adds)
class LayerThatSparesItsSelfAttention(_LayerThatSpares):
    """What the *self-attention* adds is never dropped; what the other two add is. Dropout is the last thing before each
    of the three sums."""


@DecoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_part_adds)
class LayerThatSparesItsCrossAttention(_LayerThatSpares):
    """What the *cross-attention* adds is never dropped; what the other two add is. Dropout is the last thing
    before each of the three sums."""

    spared = 1


@DecoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_part_adds)
class LayerThatSparesItsFeedForward(_LayerThatSpares):
    """What the *feed-forward network* adds is never dropped; what the attentions add is. Dropout is the last thing
    before each of the three sums."""

    spared = 2


@DecoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_part_adds)
class LayerThatDropsTheRoad(_Layer):
    """Dropout falls on the *sum*, the road itself, and not on what is added to it. What is dropped there is gone
    for all layers that follow. Drop before the sum: `x + dropout(sublayer(x))`."""

    def add(self, x, sublayer, norm):
        if self.order == "post":
            return norm(self.dropout(x + sublayer(x)))
        return self.dropout(x + sublayer(norm(x)))


@DecoderLayer.misconception(caught_by=test_all_three_parts_drop_inside)
class LayerWhosePartsDropNothing(_Layer):
    """`dropout` was handed to none of the three parts. It falls on what they add, and nothing is dropped inside them:
    hand it to both `MultiHeadAttention`s and to `FeedForward`."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(d_model, num_heads, d_ff, 0.0, order)
        self.dropout = nn.Dropout(dropout)


@DecoderLayer.misconception(caught_by=test_all_three_parts_drop_inside)
class LayerWhoseCrossAttentionDropsNothing(_Layer):
    """`dropout` was not handed to the cross-attention, so none of its weights is ever dropped in training:
    `MultiHeadAttention(d_model, num_heads, dropout)`, as for the self-attention."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post"):
        super().__init__(d_model, num_heads, d_ff, dropout, order)
        self.cross_attention = MultiHeadAttention(d_model, num_heads)


@DecoderLayer.misconception(caught_by=test_all_three_parts_drop_inside)
class LayerThatDropsNothingUnlessTold(_Layer):
    """Where nobody says `dropout`, nothing is dropped. The signature promises 0.1, and who leaves an argument out
    relies on its default."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.0, order="post"):
        super().__init__(d_model, num_heads, d_ff, dropout, order)


@DecoderLayer.misconception(caught_by=test_dropout_falls_on_what_each_part_adds)
class LayerThatAlwaysDrops(_Layer):
    """Dropout is at work in evaluation, too: `F.dropout` drops unless it is told `training=self.training`."""

    def add(self, x, sublayer, norm):
        return residual(x, lambda y: nn.functional.dropout(sublayer(y), self.dropout.p), norm, self.order)


@DecoderLayer.misconception(caught_by=test_the_layer_learns_and_is_saved)
class LayerThatCutsOffTheEncoder(_Layer):
    """The numbers are right, but the memory was detached: no gradient reaches the encoder, which never learns."""

    def across(self, x, memory, mask):
        return super().across(x, memory.detach(), mask)


@DecoderLayer.misconception(caught_by=test_the_layer_learns_and_is_saved)
class LayerThatEditsItsInput(_Layer):
    """The answer is right, but the caller's x is changed: `x += …` writes into it."""

    def forward(self, x, memory, mask=None, memory_mask=None):
        out = super().forward(x, memory, mask, memory_mask)
        if not x.requires_grad:
            with torch.no_grad():
                x += 1
        return out


@DecoderLayer.alternative
class DecoderLayerWrittenOut(nn.Module):
    def __init__(self, d_model, num_heads, d_ff, dropout=0.1, order="post", **unused):
        super().__init__()
        self.pre = order == "pre"
        self.self_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.cross_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.norm_1, self.norm_2, self.norm_3 = nn.LayerNorm(d_model), nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.drop = nn.Dropout(dropout)

    def forward(self, x, memory, mask=None, memory_mask=None):
        if self.pre:
            y = self.norm_1(x)
            x = x + self.drop(self.self_attention(y, y, y, mask))
            x = x + self.drop(self.cross_attention(self.norm_2(x), memory, memory, memory_mask))
            return x + self.drop(self.feed_forward(self.norm_3(x)))
        x = self.norm_1(x + self.drop(self.self_attention(x, x, x, mask)))
        x = self.norm_2(x + self.drop(self.cross_attention(x, memory, memory, memory_mask)))
        return self.norm_3(x + self.drop(self.feed_forward(x)))


@DecoderLayer.alternative
class DecoderLayerInALoop(_Layer):
    def forward(self, x, memory, mask=None, memory_mask=None):
        parts: list[tuple[nn.Module, Callable]] = [
            (self.norm_1, lambda y: self.self_attention(y, y, y, mask=mask)),
            (self.norm_2, lambda y: self.cross_attention(query=y, key=memory, value=memory, mask=memory_mask)),
            (self.norm_3, self.feed_forward),
        ]
        for norm, part in parts:
            y = part(norm(x) if self.order == "pre" else x)
            x = x + nn.functional.dropout(y, self.dropout.p, training=self.training)
            x = norm(x) if self.order == "post" else x
        return x


# ------------------------------------------------------------------------------------------------------- future_leak

future_leak = Exercise("future_leak", chapter=13, reference=reference.future_leak, minutes=15, difficulty=2)


class _Model:
    """Answers with sums over the past, and lets a little of what is to come into them."""

    def __init__(self, table, reach=0, leak=1.0, only=None):
        self.table, self.reach, self.leak, self.only = table, reach, leak, only
        self.shown = []

    def __call__(self, tokens):
        self.shown.append(tokens.clone())
        vectors = self.table[tokens]
        places = 1 + torch.arange(tokens.shape[1], dtype=vectors.dtype)[:, None]
        answers = vectors.cumsum(1) / places
        for ahead in range(1, self.reach + 1):
            if ahead < tokens.shape[1]:
                seen = self.leak * vectors[:, ahead:]
                answers[:, :-ahead] = answers[:, :-ahead] + (
                    seen if self.only is None else seen * self.only[ahead:, None]
                )
        return answers

    def __eq__(self, other):
        """The diagnosis compares what two answers were asked: two models that say the same are one question."""
        mine, theirs = (self.reach, self.leak), (other.reach, other.leak)
        return mine == theirs and torch.equal(self.table, other.table)

    __hash__ = object.__hash__


def _table(rng, d=5):
    return _normal(rng, VOCABULARY, d, dtype=torch.float64)


def _leak_is(student, model, tokens, cause):
    want = reference.future_leak(model, tokens)
    expect.close(student.future_leak(model, tokens), want, cause, 1e-6)
    return want


@future_leak.check(points=1)
def test_a_causal_model_leaks_nothing(student, rng):
    """A model whose answers depend on the past alone has the leak 0; one that peeks at the next token has not."""
    tokens, table = _ids(rng), _table(rng)
    _leak_is(student, _Model(table, 1), tokens, "This model peeks at the next token.")
    _leak_is(student, _Model(table), tokens, "This model is causal. Are answers *behind* t compared, which may change?")


@future_leak.check(points=2)
def test_the_largest_leak_is_found(student, rng):
    """It is the largest change of any number of any answer up to t, for any t, up or down."""
    tokens, table = _ids(rng, B, 7), _table(rng)
    for leak in (1.7, -1.7):  # the same change, up and down
        for batch in (tokens, tokens.flip(0)):
            _leak_is(student, _Model(table, 2, leak), batch, "Is every t tried, and every answer up to t compared?")
    there_and_back = torch.tensor([[2, 3, 2, 3, 2, 3, 2]])  # each is exchanged for the other
    weights = torch.tensor([1, 1, 1, 1, 1, 1, 0.5], dtype=torch.float64)
    cause = "Here two peeks cancel while both tokens are exchanged. Is *every* answer up to t compared, for each t?"
    _leak_is(student, _Model(table, 2, 1.7, weights), there_and_back, cause)


@future_leak.check(points=1)
def test_a_leak_at_a_single_place_is_found(student, rng):
    """A model that peeks at one place only is found out, wherever the place is."""
    tokens, table = _ids(rng, 2, 5), _table(rng)
    for place in range(1, 5):
        only = torch.zeros(5, dtype=torch.float64)
        only[place] = 1.0
        _leak_is(student, _Model(table, 4, 0.9, only), tokens, f"Only the token at place {place} is seen too early.")


@future_leak.check(points=1)
def test_one_number_and_the_tokens_as_they_were(student, rng):
    """It returns one number, for one sequence of two tokens as for many; what the model is shown and given stays as
    it is."""
    for batch, length in ((1, 2), (3, 2), (2, 11)):
        tokens = _ids(rng, batch, length)
        tokens[0, :2] = torch.tensor([2, 3])
        _leak_is(student, _Model(_table(rng, 1), 1, 2.0), tokens, f"This is a batch of {batch} with {length} tokens.")
    expect.unchanged(student, "Were tokens exchanged in the tensor that was passed in? Make a new one.")


@future_leak.inputs
def _models_and_tokens(rng):
    for number in range(12):
        yield (_Model(_table(rng), number % 3), _ids(rng, 2, 5)), {}


def _found(model, tokens, *, places=None, upto=None, compare=None, total=max, other=None):
    """The reference in steps, which a wrong answer can replace one by one."""
    other = torch.where(tokens == tokens.max(), tokens.min(), tokens.max()) if other is None else other
    out, T = model(tokens), tokens.shape[1]
    leaks = [0.0]
    for t in range(T - 1) if places is None else places(T):
        changed = torch.cat([tokens[:, : t + 1], other[:, t + 1 :]], 1)
        end = t + 1 if upto is None else upto(t, T)
        gap = model(changed)[:, :end] - out[:, :end]
        leaks.append(float(gap.abs().max() if compare is None else compare(gap)))
    return total(leaks)


@future_leak.misconception(caught_by=test_a_causal_model_leaks_nothing)
def compares_all_answers(model, tokens):
    """All answers were compared, those behind t, too. They *may* change: they have read the tokens that were
    exchanged. Compare answers up to t."""
    return _found(model, tokens, upto=lambda t, T: T)


@future_leak.misconception(caught_by=test_a_causal_model_leaks_nothing)
def compares_one_too_many(model, tokens):
    """The answer at t + 1 was compared as well, and its own token was exchanged. Answers 0 to t: `[:, : t + 1]`."""
    return _found(model, tokens, upto=lambda t, T: t + 2)


@future_leak.misconception(caught_by=test_a_causal_model_leaks_nothing)
def exchanges_the_token_at_t_too(model, tokens):
    """The token *at* t was exchanged, too, and the answer at t compared. It may change: place t has read it. Keep
    tokens 0 to t, `tokens[:, : t + 1]`, and take those from `t + 1` on from `other`."""
    return _found(model, tokens, places=lambda T: range(-1, T - 1), upto=lambda t, T: t + 2)


@future_leak.misconception(caught_by=test_a_causal_model_leaks_nothing)
def misses_the_answer_at_t(model, tokens):
    """The answer at t itself was left out, and it is the one that would like to see the next token. Answers 0 to t:
    `[:, : t + 1]`, not `[:, :t]`."""
    return _found(model, tokens, places=lambda T: range(1, T - 1), upto=lambda t, T: t)


@future_leak.misconception(caught_by=test_a_causal_model_leaks_nothing)
def tries_the_first_place_only(model, tokens):
    """Only t = 0 was tried: all tokens but the first were exchanged, and the first answer compared. A later place
    may peek and the first may not: try every t."""
    return _found(model, tokens, places=lambda T: range(1))


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def tries_the_last_place_only(model, tokens):
    """Only the last token was exchanged; or each t overwrote what the one before had found. A model that peeks at
    other places passes: try every t."""
    return _found(model, tokens, places=lambda T: range(T - 2, T - 1))


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def keeps_the_sign(model, tokens):
    """The largest *difference* was returned, not the largest in size. Take `.abs()` first."""
    return _found(model, tokens, compare=lambda gap: gap.max())


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def keeps_the_other_sign(model, tokens):
    """The largest *fall* was returned: an answer that rises counts for nothing. Take `.abs()` before `.max()`."""
    return _found(model, tokens, compare=lambda gap: (-gap).max())


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def compares_the_answer_at_t_alone(model, tokens):
    """For each t only the answer *at* t was compared. An earlier answer may peek at two tokens whose changes
    cancel, and give itself away only when one of them is exchanged: compare all answers 0 to t, `[:, : t + 1]`."""
    return _found(model, tokens, compare=lambda gap: gap[:, -1].abs().max())


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def takes_the_length_of_the_change(model, tokens):
    """The norm of the whole change was returned. It is asked for the largest change of any single number."""
    return _found(model, tokens, compare=lambda gap: gap.norm())


@future_leak.misconception(caught_by=test_one_number_and_the_tokens_as_they_were)
def never_changes_the_last_token_alone(model, tokens):
    """The loop stops one t too early: the last token is never exchanged by itself. t runs from 0 to T − 2, which is
    `range(T - 1)`."""
    return _found(model, tokens, places=lambda T: range(T - 2))


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def returns_a_leak_for_each_place(model, tokens):
    """It returns a list, one leak for each t. One number is asked for, the largest of them."""
    return _found(model, tokens, total=lambda leaks: leaks[1:])


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def takes_the_mean(model, tokens):
    """The *mean* change was taken. One place that leaks drowns in many that do not."""
    return _found(model, tokens, compare=lambda gap: gap.abs().mean())


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def adds_up_the_places(model, tokens):
    """The changes of all t were added up. Return the largest."""
    return _found(model, tokens, total=sum)


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def looks_at_the_first_sequence_only(model, tokens):
    """Only the first sequence of the batch was compared."""
    return _found(model, tokens, compare=lambda gap: gap[0].abs().max())


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def looks_at_the_first_number_only(model, tokens):
    """Only the first number of each answer was compared. A leak may show in any of them."""
    return _found(model, tokens, compare=lambda gap: gap[..., 0].abs().max())


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def squares_the_changes(model, tokens):
    """The changes were squared, which makes small leaks vanish."""
    return _found(model, tokens, compare=lambda gap: (gap**2).max())


@future_leak.misconception(caught_by=test_a_causal_model_leaks_nothing)
def exchanges_nothing(model, tokens):
    """Nothing was exchanged: the model was asked about the same tokens twice, so that every model is found to be
    causal."""
    return _found(model, tokens, other=tokens)


@future_leak.misconception(caught_by=test_a_causal_model_leaks_nothing)
def writes_zeros_into_the_future(model, tokens):
    """The tokens behind t were set to 0, not taken from `other`. Zero is the id of padding, which a model may treat as
    nothing at all, and a token that is 0 already would not change."""
    return _found(model, tokens, other=torch.zeros_like(tokens))


@future_leak.misconception(caught_by=test_a_causal_model_leaks_nothing)
def turns_the_future_round(model, tokens):
    """The tokens behind t were put into another order. Some stay where they were, and a model that adds them up
    does not notice. Every one has to change: take them from `other`."""
    out = model(tokens)
    leaks = [0.0]
    for t in range(tokens.shape[1] - 1):
        changed = torch.cat([tokens[:, : t + 1], tokens[:, t + 1 :].flip(1)], 1)
        leaks.append(float((model(changed)[:, : t + 1] - out[:, : t + 1]).abs().max()))
    return max(leaks)


@future_leak.misconception(caught_by=test_a_causal_model_leaks_nothing)
def exchanges_the_past(model, tokens):
    """The *past* was exchanged, tokens up to t, and answers up to t compared. They are supposed to depend on it.
    Exchange what comes behind t."""
    other = torch.where(tokens == tokens.max(), tokens.min(), tokens.max())
    out = model(tokens)
    leaks = [0.0]
    for t in range(tokens.shape[1] - 1):
        changed = torch.cat([other[:, : t + 1], tokens[:, t + 1 :]], 1)
        leaks.append(float((model(changed)[:, : t + 1] - out[:, : t + 1]).abs().max()))
    return max(leaks)


@future_leak.misconception(caught_by=test_a_causal_model_leaks_nothing)
def exchanges_the_past_and_looks_ahead(model, tokens):
    """The past was exchanged and the answers *behind* t compared. They are meant to change: that is how the decoder
    knows what it has written. Exchange what comes behind t, and compare what comes before."""
    other = torch.where(tokens == tokens.max(), tokens.min(), tokens.max())
    out = model(tokens)
    leaks = [0.0]
    for t in range(tokens.shape[1] - 1):
        changed = torch.cat([other[:, : t + 1], tokens[:, t + 1 :]], 1)
        leaks.append(float((model(changed)[:, t + 1 :] - out[:, t + 1 :]).abs().max()))
    return max(leaks)


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def exchanges_one_token_only(model, tokens):
    """Only the token just behind t was exchanged, not all that follow. A model that looks further ahead changes by
    more."""
    other = torch.where(tokens == tokens.max(), tokens.min(), tokens.max())
    out = model(tokens)
    leaks = [0.0]
    for t in range(tokens.shape[1] - 1):
        changed = torch.cat([tokens[:, : t + 1], other[:, t + 1 : t + 2], tokens[:, t + 2 :]], 1)
        leaks.append(float((model(changed)[:, : t + 1] - out[:, : t + 1]).abs().max()))
    return max(leaks)


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def cuts_the_future_off(model, tokens):
    """The future was cut *off*, not exchanged. That is a good test, too, but of another kind: what changes then is
    the absence of words. Exchange them, and ask with the same length."""
    out = model(tokens)
    leaks = [0.0]
    for t in range(tokens.shape[1] - 1):
        leaks.append(float((model(tokens[:, : t + 1]) - out[:, : t + 1]).abs().max()))
    return max(leaks)


@future_leak.misconception(caught_by=test_the_largest_leak_is_found)
def says_yes_or_no(model, tokens):
    """It says whether there is a leak, 0 or 1. How large it is, is asked."""
    return float(_found(model, tokens) > 1e-6)


@future_leak.misconception(caught_by=test_one_number_and_the_tokens_as_they_were)
def leak_test_that_edits(model, tokens):
    """The answer is right, but the caller's tokens are changed: they were exchanged in place. Make a new tensor for
    each t."""
    other = torch.where(tokens == tokens.max(), tokens.min(), tokens.max())
    out = model(tokens)
    worst = 0.0
    for t in reversed(range(tokens.shape[1] - 1)):
        tokens[:, t + 1 :] = other[:, t + 1 :]
        worst = max(worst, float((model(tokens)[:, : t + 1] - out[:, : t + 1]).abs().max()))
    return worst


@future_leak.alternative
def future_leak_from_behind(model, tokens, start=0):
    lowest, highest = int(tokens.min()), int(tokens.max())
    out = model(tokens)
    worst = torch.zeros(())
    changed = tokens.clone()
    for t in reversed(range(tokens.shape[1] - 1)):
        column = changed[:, t + 1]
        changed[:, t + 1] = torch.where(column == highest, lowest, highest)
        worst = torch.maximum(worst, (model(changed)[:, : t + 1] - out[:, : t + 1]).abs().max().float())
    return worst.double()


@future_leak.alternative
def future_leak_by_masks(model, tokens):
    other = torch.where(tokens == tokens.max(), tokens.min(), tokens.max())
    out, places = model(tokens), torch.arange(tokens.shape[1])
    found = []
    for t in range(tokens.shape[1] - 1):
        gap = (model(torch.where(places <= t, tokens, other)) - out).abs()
        found.append(gap[:, places <= t].max().item())
    return max(found)
