"""Chapter 9, multi-head attention: several small looks side by side, out of one split projection."""

import builtins
import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from attnlab import multi_head as reference
from attnlab.dot_product import attention_weights, dot_scores, scaled_dot_product_attention
from attnlab.masks import masked_softmax
from autograder import expect
from autograder.exercise import Exercise
from autograder.student import StudentError

# Distinct primes, except where they cannot be: d_model = H · d_k.
B, T, S, H, D_K = 2, 5, 7, 3, 11
D_MODEL = H * D_K

EDITS = "Does a function with a `_` at its end, or `+=`, do that?"
NO_GRADIENT = "Was something detached, turned into NumPy, or not used at all?"
MULTI_HEAD = (
    "torch.nn.MultiheadAttention",
    "torch.nn.functional.multi_head_attention_forward",
    "attnlab.multi_head.multi_head_attention",
    "attnlab.multi_head.MultiHeadAttention",
)


def _draw(rng, *shapes, dtype=torch.float32):
    return [torch.tensor(rng.normal(size=shape), dtype=dtype) for shape in shapes]


def _view(x):
    """The same numbers with gaps between them, and with the axes in another order in memory."""
    apart = torch.stack([x, x + 1], -1)
    return apart.transpose(0, 1).contiguous().transpose(0, 1)[..., 0]


# ------------------------------------------------------------------------------------------------------ split_heads

split_heads = Exercise("split_heads", chapter=9, reference=reference.split_heads, minutes=10, difficulty=1)


@split_heads.check(points=1)
def test_split_heads_of_known_numbers(student, rng):
    """`[1 2 3 4]` and `[5 6 7 8]` in two heads: the first gets `[1 2]` and `[5 6]`, the second `[3 4]` and `[7 8]`."""
    want = torch.tensor([[[[1.0, 2.0], [5.0, 6.0]], [[3.0, 4.0], [7.0, 8.0]]]])
    expect.close(
        student.split_heads(torch.tensor([[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]), 2),
        want,
        "Does each head get its own columns, of *both* positions?",
    )


@split_heads.check(points=2)
def test_each_head_gets_its_columns_of_every_position(student, rng):
    """Head h holds the columns `h·d_k` to `(h+1)·d_k` of every position, in every sequence: shape `(B, H, T, d_k)`."""
    for T_, H_, d_k in ((5, 3, 7), (3, 2, 5), (2, 7, 3)):
        (x,) = _draw(rng, (B, T_, H_ * d_k))
        want = torch.stack([x[..., h * d_k : (h + 1) * d_k] for h in range(H_)], 1)
        expect.close(
            student.split_heads(x, H_),
            want,
            f"With T = {T_}, {H_} heads of width {d_k}: is it the columns that are cut, and not the positions?",
        )


@split_heads.check(points=1)
def test_split_heads_where_shapes_do_not_warn(student, rng):
    """As many heads as positions, heads as wide as there are heads, one head, heads of one column: all the same."""
    for T_, H_, d_k in ((3, 3, 3), (2, 2, 5), (5, 1, 7), (1, 5, 1), (4, 2, 2)):
        (x,) = _draw(rng, (T_, T_, H_ * d_k))
        want = torch.stack([x[..., h * d_k : (h + 1) * d_k] for h in range(H_)], 1)
        expect.close(student.split_heads(x, H_), want, f"With T = {T_}, {H_} heads of width {d_k}: which axes moved?")


@split_heads.check(points=1)
def test_split_heads_pass_gradients_and_leave_x_alone(student, rng):
    """It takes float64 and views, gradients find their way back, and x is the same afterwards."""
    x, g = _draw(rng, (B, T, D_MODEL), (B, H, T, D_K), dtype=torch.float64)
    x = _view(x)
    want = reference.split_heads(x, H).clone()
    came = student.split_heads.gradients(x, H, cotangent=g)
    expect.close(came.value, want)
    expect.true(came.inputs[0] is not None, "No gradient comes back to x.", NO_GRADIENT)
    expect.close(came.inputs[0], reference.merge_heads(g), "Does each number come back to where it was taken from?")
    expect.close(student.split_heads(x, H), want)
    expect.unchanged(student, EDITS)


@split_heads.inputs
def _tables(rng):
    for T_, H_, d_k in ((3, 3, 3), (2, 2, 3), (4, 2, 4), (4, 2, 2), (6, 3, 2), (2, 3, 2)) * 2:
        yield (*_draw(rng, (B, T_, H_ * d_k)), H_), {}


@split_heads.misconception(caught_by=test_each_head_gets_its_columns_of_every_position)
def splits_without_transposing(x, num_heads):
    """This is a reshape straight to (B, H, T, d_k). It keeps the order in memory, and there a row comes after a row: so
    the first head gets the first *positions*, with all their columns, and never sees the rest of the text. Reshape to
    (B, T, H, d_k), and then exchange the axes T and H."""
    B_, T_, d = x.shape
    return x.reshape(B_, num_heads, T_, d // num_heads)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def leaves_the_heads_behind_the_positions(x, num_heads):
    """The columns are cut, and the heads stand behind the positions, (B, T, H, d_k). Attention takes the last two axes
    for positions and features: here it would compare the *heads* of one word. Exchange axes 1 and 2."""
    return x.reshape(*x.shape[:2], num_heads, -1)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def deals_the_columns_out(x, num_heads):
    """The columns were dealt out like cards: head 0 got the columns 0, H, 2H, … The heads come first in a row: cut it
    with `reshape(B, T, num_heads, d_k)`, not with `(B, T, d_k, num_heads)`. It would train, but it could not use a
    model that somebody else has trained."""
    B_, T_, d = x.shape
    return x.reshape(B_, T_, d // num_heads, num_heads).permute(0, 3, 1, 2)


@split_heads.misconception(caught_by=test_each_head_gets_its_columns_of_every_position)
def takes_the_number_for_the_width(x, num_heads):
    """`num_heads` was taken for the *width* of a head: there are d_model / num_heads heads of num_heads columns. It is
    the other way round."""
    B_, T_, d = x.shape
    return x.reshape(B_, T_, d // num_heads, num_heads).transpose(1, 2)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def puts_the_heads_before_the_batch(x, num_heads):
    """The heads come before the batch, (H, B, T, d_k). The batch stays in front: (B, H, T, d_k), so that a mask of the
    batch still lines up."""
    return reference.split_heads(x, num_heads).transpose(0, 1)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def packs_the_heads_into_the_batch(x, num_heads):
    """Batch and heads are one axis, (B·H, T, d_k). Some libraries do that; then every mask has to be repeated for the
    heads, in the right order. Keep them apart: (B, H, T, d_k)."""
    return reference.split_heads(x, num_heads).flatten(0, 1)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def returns_a_list_of_heads(x, num_heads):
    """These are the right pieces, as a list or a tuple. One tensor is wanted, with an axis for the heads:
    `torch.stack(pieces, dim=1)`."""
    return list(x.chunk(num_heads, -1))


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def exchanges_heads_and_columns(x, num_heads):
    """The wrong two axes changed places, and the shape is (B, T, d_k, H). From (B, T, H, d_k) exchange axes 1 and 2."""
    return x.reshape(*x.shape[:2], num_heads, -1).transpose(2, 3)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def exchanges_positions_and_columns_on_the_way_in(x, num_heads):
    """The wrong two axes changed places: from (B, T, H, d_k) the positions went to the end, (B, d_k, H, T). Exchange
    axes 1 and 2."""
    return x.reshape(*x.shape[:2], num_heads, -1).transpose(1, 3)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def turns_each_head_over(x, num_heads):
    """Each head is turned over, (B, H, d_k, T), as keys are before a matrix product. The product is attention's own
    business; here positions come before columns: (B, H, T, d_k)."""
    return reference.split_heads(x, num_heads).mT


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def cuts_the_positions(x, num_heads):
    """The *positions* were cut into num_heads pieces: each head sees all columns of a part of the text. It is the
    other way round: each head sees some columns of the whole text."""
    return torch.stack(x.reshape(x.shape[0], num_heads, -1, x.shape[-1]).unbind(1), 1)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def gives_every_head_everything(x, num_heads):
    """Every head got all the columns. Then H heads cost H times as much; the point of multi-head attention is that
    they *share* the columns, d_model / num_heads for each."""
    return x[:, None].expand(-1, num_heads, -1, -1)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def gives_every_head_the_first_columns(x, num_heads):
    """Every head got the *first* d_k columns. Head h begins at column h·d_k: a loop has to use its h."""
    return x[:, None, :, : x.shape[-1] // num_heads].expand(-1, num_heads, -1, -1)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def keeps_the_first_head(x, num_heads):
    """Only the first head is there, (B, T, d_k). All of them are wanted, along an axis of their own."""
    return x[..., : x.shape[-1] // num_heads]


@split_heads.misconception(caught_by=test_each_head_gets_its_columns_of_every_position)
def always_makes_two_heads(x, num_heads):
    """There are always two heads, whatever `num_heads` says: a number from the example was written into the code."""
    return reference.split_heads(x, 2)


@split_heads.misconception(caught_by=test_each_head_gets_its_columns_of_every_position)
def counts_the_heads_backwards(x, num_heads):
    """The heads come in reverse order. Head 0 holds the first d_k columns."""
    return reference.split_heads(x, num_heads).flip(1)


@split_heads.misconception(caught_by=test_split_heads_pass_gradients_and_leave_x_alone)
def splits_without_gradient(x, num_heads):
    """The numbers are right, and no gradient comes back: x was detached, or went through NumPy or `torch.tensor(…)`.
    Nothing before this line could learn. Use reshape and transpose on x itself."""
    return reference.split_heads(x.detach(), num_heads)


@split_heads.misconception(caught_by=test_split_heads_of_known_numbers)
def slides_by_one_column(x, num_heads):
    """Each head begins one column after the one before, and they overlap: `x[..., h : h + d_k]`. Head h begins at
    column `h * d_k`."""
    d_k = x.shape[-1] // num_heads
    return torch.stack([x[..., h : h + d_k] for h in range(num_heads)], dim=1)


@split_heads.alternative
def split_by_slices(x, num_heads):
    width = x.shape[-1] // num_heads
    return torch.stack([x[:, :, h * width : (h + 1) * width] for h in range(num_heads)], dim=1)


@split_heads.alternative
def split_by_permute(x, num_heads, copy=True):
    heads = x.unflatten(-1, (num_heads, -1)).permute(0, 2, 1, 3)
    return heads.contiguous() if copy else heads


@split_heads.alternative
def split_by_chunks(x, num_heads):
    return torch.cat([piece.unsqueeze(1) for piece in torch.chunk(x, num_heads, -1)], 1)


# ------------------------------------------------------------------------------------------------------ merge_heads

merge_heads = Exercise("merge_heads", chapter=9, reference=reference.merge_heads, minutes=5, difficulty=1)


def _side_by_side(x):
    return torch.cat([x[:, h] for h in range(x.shape[1])], -1)


@merge_heads.check(points=1)
def test_merge_heads_of_known_numbers(student, rng):
    """`[1 2]` and `[5 6]` of one head, `[3 4]` and `[7 8]` of the other make `[1 2 3 4]` and `[5 6 7 8]`."""
    want = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]])
    expect.close(
        student.merge_heads(torch.tensor([[[[1.0, 2.0], [5.0, 6.0]], [[3.0, 4.0], [7.0, 8.0]]]])),
        want,
        "Does each position get back its own columns, from both heads?",
    )


@merge_heads.check(points=2)
def test_each_position_gets_its_columns_from_every_head(student, rng):
    """Position t gets the rows t of all heads, side by side, in the order of the heads: shape `(B, T, H·d_k)`."""
    for T_, H_, d_k in ((5, 3, 7), (3, 2, 5), (2, 7, 3)):
        (x,) = _draw(rng, (B, H_, T_, d_k))
        want = _side_by_side(x)
        expect.close(
            student.merge_heads(x),
            want,
            f"With T = {T_}, {H_} heads of width {d_k}: are the axes T and H exchanged before the reshape?",
        )


@merge_heads.check(points=1)
def test_merge_heads_where_shapes_do_not_warn(student, rng):
    """As many heads as positions, heads as wide as there are heads, one head, heads of one column: all the same."""
    for T_, H_, d_k in ((3, 3, 3), (2, 2, 5), (5, 1, 7), (1, 5, 1), (4, 2, 2)):
        (x,) = _draw(rng, (T_, H_, T_, d_k))
        want = _side_by_side(x)
        expect.close(student.merge_heads(x), want, f"With T = {T_}, {H_} heads of width {d_k}: which axes moved?")


@merge_heads.check(points=1)
def test_merge_heads_pass_gradients_and_leave_x_alone(student, rng):
    """It takes float64 and views, gradients find their way back, and x is the same afterwards."""
    x, g = _draw(rng, (B, H, T, D_K), (B, T, D_MODEL), dtype=torch.float64)
    x = _view(x)
    want = _side_by_side(x)
    came = student.merge_heads.gradients(x, cotangent=g)
    expect.close(came.value, want)
    expect.true(came.inputs[0] is not None, "No gradient comes back to x.", NO_GRADIENT)
    expect.close(came.inputs[0], reference.split_heads(g, H), "Does each number come back to where it was taken from?")
    expect.close(student.merge_heads(x), want)
    expect.unchanged(student, EDITS)


@merge_heads.inputs
def _heads(rng):
    for T_, H_, d_k in ((3, 3, 3), (2, 2, 3), (4, 2, 4), (4, 2, 2), (6, 3, 2), (2, 3, 2)) * 2:
        yield tuple(_draw(rng, (B, H_, T_, d_k))), {}


@merge_heads.misconception(caught_by=test_each_position_gets_its_columns_from_every_head)
def merges_without_transposing(x):
    """This is a reshape straight to (B, T, H·d_k). It keeps the order in memory, and there the first head comes first,
    with all its positions: so the first row gets the first head of *several words*. Exchange the axes H and T, and then
    reshape."""
    B_, H_, T_, d_k = x.shape
    return x.reshape(B_, T_, H_ * d_k)


@merge_heads.misconception(caught_by=test_merge_heads_of_known_numbers)
def views_what_is_scattered(x):
    """`.view` looks at memory as it lies, and after an exchange of axes the numbers of a row do not lie side by side.
    So it refuses. Use `.reshape`, which copies where it must, or `.contiguous().view`."""
    B_, H_, T_, d_k = x.shape
    return x.transpose(1, 2).view(B_, T_, H_ * d_k)


@merge_heads.misconception(caught_by=test_merge_heads_of_known_numbers)
def deals_the_columns_back(x):
    """The columns of the heads were shuffled together like two halves of a pack of cards: first column 0 of every head,
    then column 1 of every head. The heads stand side by side, each in one piece: (B, T, H, d_k) before the reshape."""
    return x.permute(0, 2, 3, 1).flatten(2)


@merge_heads.misconception(caught_by=test_merge_heads_of_known_numbers)
def averages_the_heads(x):
    """The heads were averaged. That mixes what they were made to keep apart; put them side by side."""
    return x.mean(1)


@merge_heads.misconception(caught_by=test_merge_heads_of_known_numbers)
def adds_the_heads_up(x):
    """The heads were added up. That mixes what they were made to keep apart; put them side by side. Adding up comes
    afterwards, in W_o, where each head has rows of its own."""
    return x.sum(1)


@merge_heads.misconception(caught_by=test_merge_heads_of_known_numbers)
def keeps_one_head(x):
    """Only the first head is there. All heads belong into a row, side by side."""
    return x[:, 0]


@merge_heads.misconception(caught_by=test_merge_heads_of_known_numbers)
def lays_the_heads_end_to_end(x):
    """The heads were put one *below* the other, (B, H·T, d_k): a text H times as long. They stand side by side, along
    the last axis."""
    return x.flatten(1, 2)


@merge_heads.misconception(caught_by=test_merge_heads_of_known_numbers)
def forgets_to_reshape(x):
    """The axes are in order, (B, T, H, d_k), and the last two are still apart. Make one of them."""
    return x.transpose(1, 2)


@merge_heads.misconception(caught_by=test_each_position_gets_its_columns_from_every_head)
def exchanges_positions_and_columns(x):
    """The wrong two axes changed places before the reshape: positions and columns. Heads and positions must: axes 1
    and 2."""
    B_, H_, T_, d_k = x.shape
    return x.transpose(2, 3).reshape(B_, T_, H_ * d_k)


@merge_heads.misconception(caught_by=test_each_position_gets_its_columns_from_every_head)
def exchanges_heads_and_columns_back(x):
    """The wrong two axes changed places before the reshape: heads and columns. Heads and positions must: axes 1
    and 2."""
    B_, H_, T_, d_k = x.shape
    return x.transpose(1, 3).reshape(B_, T_, H_ * d_k)


@merge_heads.misconception(caught_by=test_each_position_gets_its_columns_from_every_head)
def merges_the_batch(x):
    """The batch was moved behind the positions, (T, B, H·d_k). Axis 0 stays where it is."""
    return reference.merge_heads(x).transpose(0, 1)


@merge_heads.misconception(caught_by=test_merge_heads_of_known_numbers)
def merges_the_heads_backwards(x):
    """The heads stand side by side in reverse order. Head 0 comes first."""
    return reference.merge_heads(x.flip(1))


@merge_heads.misconception(caught_by=test_merge_heads_of_known_numbers)
def merges_everything_else(x):
    """Each sequence became one long row, (B, T·H·d_k). The positions stay apart: flatten heads and columns only, after
    the exchange of axes."""
    return x.transpose(1, 2).flatten(1)


@merge_heads.misconception(caught_by=test_merge_heads_pass_gradients_and_leave_x_alone)
def merges_without_gradient(x):
    """The numbers are right, and no gradient comes back: x was detached, or went through NumPy or `torch.tensor(…)`.
    Use transpose and reshape on x itself."""
    return reference.merge_heads(x.detach())


@merge_heads.misconception(caught_by=test_each_position_gets_its_columns_from_every_head)
def exchanges_batch_and_heads(x):
    """`transpose(0, 1)` exchanged the *batch* with the heads. The heads have to come behind the positions, the batch
    stays where it is: `transpose(1, 2)`."""
    batch, heads, length, d_k = x.shape
    return x.transpose(0, 1).reshape(batch, length, heads * d_k)


@merge_heads.misconception(caught_by=test_merge_heads_of_known_numbers)
def squeezes_what_it_merged(x):
    """`squeeze()` takes off every axis of length 1, and with a single sequence, or a single position, that is one that
    has to stay. There is nothing to squeeze here."""
    return reference.merge_heads(x).squeeze()


@merge_heads.alternative
def merge_by_cat(x):
    return torch.cat(list(x.unbind(1)), -1)


@merge_heads.alternative
def merge_by_permute(x, **unused):
    B_, H_, T_, d_k = x.shape
    return x.permute(0, 2, 1, 3).contiguous().view(B_, T_, H_ * d_k)


@merge_heads.alternative
def merge_by_slices(x):
    B_, H_, T_, d_k = x.shape
    out = x.new_zeros(B_, T_, H_ * d_k)
    for h in range(H_):
        out[..., h * d_k : (h + 1) * d_k] = x[:, h]
    return out


# --------------------------------------------------------------------------------------------- multi_head_attention

multi_head_attention = Exercise(
    "multi_head_attention",
    chapter=9,
    reference=reference.multi_head_attention,
    minutes=20,
    difficulty=2,
    forbidden=MULTI_HEAD,
)
MATRICES = ("W_q", "W_k", "W_v", "W_o")
_right: Callable[..., torch.Tensor] = reference.multi_head_attention


def _asked(rng, *, T=T, S=S, H=H, d_k=D_K, dtype=torch.float32):
    """Query, key, value and four matrices; the scores are as large as they are at the start of training."""
    d = H * d_k
    query, key, value, *W = _draw(rng, (B, T, d), (B, S, d), (B, S, d), *[(d, d)] * 4, dtype=dtype)
    return query, key, value, *(matrix / d**0.5 for matrix in W)


@multi_head_attention.check(points=1)
def test_two_heads_of_known_numbers(student, rng):
    """Two heads of width 1, all four matrices the identity: the query `(1, 1)`, keys `(log 3, 0)` and `(0, log 3)`,
    values `(4, 4)` and `(8, 8)` give `(5, 7)`."""
    log3 = float(np.log(3))
    query, key, value = torch.ones(1, 1, 2), torch.eye(2)[None] * log3, torch.tensor([[[4.0, 4.0], [8.0, 8.0]]])
    want = torch.tensor([[[5.0, 7.0]]])
    expect.close(
        student.multi_head_attention(query, key, value, *[torch.eye(2)] * 4, 2),
        want,
        "The first head compares first columns only, the second second columns: does each have weights of its own?",
    )


@multi_head_attention.check(points=2)
def test_each_head_attends_with_its_own_columns(student, rng):
    """With `W_o` the identity, the columns of head h are the attention of its own columns of the three projections."""
    for H_, d_k, T_, S_ in ((3, 11, 5, 7), (2, 5, 7, 3), (1, 7, 3, 5)):
        query, key, value, W_q, W_k, W_v, _ = _asked(rng, T=T_, S=S_, H=H_, d_k=d_k)
        W_o = torch.eye(H_ * d_k)
        inputs = query, key, value, W_q, W_k, W_v, W_o, H_
        want = _right(*inputs)
        expect.close(
            student.multi_head_attention(*inputs),
            want,
            f"With {H_} heads of width {d_k}: project, split, attend (with √d_k of a head), merge: which is missing?",
        )


@multi_head_attention.check(points=1)
def test_what_the_heads_found_is_mixed(student, rng):
    """What the heads found, side by side, is multiplied by `W_o`."""
    inputs = *_asked(rng), H
    want = _right(*inputs)
    expect.close(student.multi_head_attention(*inputs), want, "Does the merged answer meet W_o, as `merged @ W_o`?")


@multi_head_attention.check(points=1)
def test_one_sequence_that_asks_itself(student, rng):
    """Query, key and value may be one and the same sequence; and there may be as many heads as positions."""
    for H_, d_k, T_ in ((5, 5, 5), (2, 3, 4)):
        x, _, _, *W = _asked(rng, T=T_, S=T_, H=H_, d_k=d_k)
        want = _right(x, x, x, *W, H_)
        expect.close(
            student.multi_head_attention(x, x, x, *W, H_),
            want,
            f"With T = {T_} and {H_} heads of width {d_k}, few shapes warn you. Does every head see every position?",
        )


@multi_head_attention.check(points=2)
def test_a_mask_holds_for_every_head(student, rng):
    """A mask broadcasts to `(B, H, T, S)`: one for all, one a sequence, one a head. Where it is False, no weight."""
    inputs = *_asked(rng), H
    for shape in ((T, S), (H, T, S), (B, 1, 1, S), (B, 1, T, S), (1, H, 1, S), (B, H, T, S)):
        mask = torch.tensor(rng.random(shape) < 0.5)
        mask[..., 0], mask[..., 1] = False, True
        want = _right(*inputs, mask)
        expect.close(
            student.multi_head_attention(*inputs, mask),
            want,
            f"For a mask of shape {shape}: does it reach attention as it is, for all heads, before the softmax?",
        )
    loud, mask = [inputs[0], 400 * inputs[1], *inputs[2:]], (torch.arange(S) == 1)[None]
    want = _right(*loud, mask)
    expect.close(
        student.multi_head_attention(*loud, mask=mask),
        want,
        "Scores may be large: does a forbidden one lie below every score there may be?",
    )


@multi_head_attention.check(points=1)
def test_a_query_that_may_see_nothing_gets_zeros(student, rng):
    """A query that may attend to nothing gets zeros; the other queries do not notice."""
    inputs = *_asked(rng), H
    mask = torch.ones(B, 1, T, S, dtype=torch.bool)
    mask[0, 0, 1] = mask[1, 0, 2:4] = False
    want = _right(*inputs, mask)
    expect.close(
        student.multi_head_attention(*inputs, mask),
        want,
        "Is there a softmax of your own over a row of −∞? The attention of `attnlab` knows what to do with it.",
    )


@multi_head_attention.check(points=1)
def test_gradients_of_multi_head_attention(student, rng):
    """Gradients reach query, key and value and all four matrices; what was passed in is the same afterwards."""
    inputs = [_view(x) if x.ndim == 3 else x.mT for x in _asked(rng, dtype=torch.float64)]
    mask = torch.tensor(rng.random((T, S)) < 0.7)
    mask[:, 3] = True
    g = torch.tensor(rng.normal(size=(B, T, D_MODEL)))
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = _right(*leaves, H, mask)
    wanted = torch.autograd.grad((out * g).sum(), leaves)
    came = student.multi_head_attention.gradients(*inputs, H, mask, cotangent=g)
    expect.close(came.value, out)
    names = ("query", "key", "value", *MATRICES)
    for name, gradient, right in zip(names, came.inputs[:7], wanted, strict=True):
        expect.true(gradient is not None, f"No gradient reaches `{name}`: it would never learn.", NO_GRADIENT)
        expect.close(gradient, right, f"This is the gradient of `{name}`. Is the way there all PyTorch?")
    expect.close(student.multi_head_attention(*inputs, H, mask), out)
    expect.unchanged(student, EDITS)


@multi_head_attention.inputs
def _questions(rng):
    for T_, S_, H_, d_k in ((3, 3, 3, 3), (4, 4, 2, 2), (2, 4, 2, 3), (6, 6, 3, 2), (1, 2, 2, 1)) * 2:
        inputs = _asked(rng, T=T_, S=S_, H=H_, d_k=d_k)
        mask = torch.tensor(rng.random((T_, S_)) < 0.6)
        mask[:, 0] = True
        yield (*inputs, H_), {}
        yield (*inputs, H_, mask), {}


def _steps(
    query,
    key,
    value,
    W_q,
    W_k,
    W_v,
    W_o,
    num_heads,
    mask=None,
    *,
    split=reference.split_heads,
    merge=reference.merge_heads,
    attend=scaled_dot_product_attention,
):
    """Multi-head attention in steps, which a wrong answer can replace one by one."""
    q, k, v = split(query @ W_q, num_heads), split(key @ W_k, num_heads), split(value @ W_v, num_heads)
    return merge(attend(q, k, v, mask)) @ W_o


def _with_weights(weights):
    """Attention whose weights come from ``weights(scores, mask)``."""

    def attend(q, k, v, mask=None):
        return weights(dot_scores(q, k) * q.shape[-1] ** -0.5, mask) @ v

    return attend


def _filled(scores, mask, fill):
    return scores if mask is None else scores.masked_fill(~mask, fill)


# Ways to attend that are wrong for the function and for the module alike.


def _divided_by(power):
    """Scores divided by d_k to a power, or by √d_model, in place of √d_k."""

    def attend(q, k, v, mask=None):
        width = q.shape[-1] * q.shape[1] if power == "model" else q.shape[-1] ** (2 * power)
        return masked_softmax(dot_scores(q, k) / width**0.5, mask) @ v

    return attend


_without_mask = _with_weights(lambda scores, mask: torch.softmax(scores, -1))
_mask_inverted = _with_weights(lambda scores, mask: masked_softmax(scores, None if mask is None else ~mask))
_mask_afterwards = _with_weights(lambda scores, mask: torch.softmax(scores, -1) * (1 if mask is None else mask))
_mask_by_zero = _with_weights(lambda scores, mask: torch.softmax(scores if mask is None else scores * mask, -1))
_mask_timidly = _with_weights(lambda scores, mask: torch.softmax(_filled(scores, mask, -20.0), -1))
_nan_on_empty = _with_weights(lambda scores, mask: torch.softmax(_filled(scores, mask, -torch.inf), -1))
_mean_on_empty = _with_weights(lambda scores, mask: torch.softmax(_filled(scores, mask, -1e9), -1))
_queries_compete = _with_weights(lambda scores, mask: masked_softmax(scores, mask, -2))
_heads_compete = _with_weights(lambda scores, mask: masked_softmax(scores, mask, 1))
_by_sigmoid = _with_weights(lambda scores, mask: torch.sigmoid(_filled(scores, mask, -torch.inf)))
_without_softmax = _with_weights(lambda scores, mask: _filled(scores, mask, 0.0))


def _mask_for_one_head(q, k, v, mask=None):
    """The mask for the first head alone."""
    if mask is not None:
        mask = mask.expand(*q.shape[:-1], k.shape[-2]).clone()
        mask[:, 1:] = True
    return scaled_dot_product_attention(q, k, v, mask)


def _first_head_for_all(q, k, v, mask=None):
    """The first head's weights for all heads."""
    return attention_weights(q, k, mask)[:, :1] @ v


def _first_columns_for_all(q, k, v, mask=None):
    """The first head's columns for all heads."""
    q, k, v = (x[:, :1].expand_as(x) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v, mask)


@multi_head_attention.misconception(caught_by=test_what_the_heads_found_is_mixed)
def forgets_the_last_matrix(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """`W_o` was never used. Without it the heads stand side by side and never meet: what a head found could reach its
    own columns only. Multiply at the end: `merged @ W_o`."""
    return _steps(query, key, value, W_q, W_k, W_v, torch.eye(len(W_o), dtype=W_o.dtype), num_heads, mask)


@multi_head_attention.misconception(caught_by=test_what_the_heads_found_is_mixed)
def mixes_before_the_heads(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """`W_o` was multiplied with the values, before they were cut into heads. It mixes what the heads have *found*, so
    it comes last: `merged @ W_o`."""
    eye = torch.eye(len(W_o), dtype=W_o.dtype)
    return _steps(query, key, value, W_q, W_k, W_v @ W_o, eye, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_what_the_heads_found_is_mixed)
def turns_the_last_matrix_over(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The answer was multiplied with the *transpose* of W_o. `nn.Linear` keeps its matrix turned over; here the
    matrices stand as in the paper: `merged @ W_o`."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o.mT, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def turns_all_matrices_over(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """All matrices were transposed. `nn.Linear` and `F.linear` keep their matrix turned over; here the matrices stand
    as in the paper: `query @ W_q`."""
    return _steps(query, key, value, W_q.mT, W_k.mT, W_v.mT, W_o.mT, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def never_uses_num_heads(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """`num_heads` was taken and never used: this is one wide head. Every query has one set of weights, and takes all
    its columns from the same places. Split the three projections, attend, and merge."""
    mask = mask[:, 0] if mask is not None and mask.ndim == 4 else mask
    return scaled_dot_product_attention(query @ W_q, key @ W_k, value @ W_v, mask) @ W_o


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def reshapes_the_scores(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The heads were made by cutting up the *scores*. A row of scores belongs to one query and all keys; cut in pieces,
    each piece is a softmax over *some keys*, and all pieces come from the same comparison. Heads come from the
    projections: cut their columns, before anything is compared."""
    scores = dot_scores(query @ W_q, key @ W_k) * (W_q.shape[-1] // num_heads) ** -0.5
    mask = mask[:, 0] if mask is not None and mask.ndim == 4 else mask
    pieces = _filled(scores, mask, -torch.inf).reshape(*scores.shape[:-1], num_heads, -1)
    return torch.softmax(pieces, -1).reshape(scores.shape) @ (value @ W_v) @ W_o


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def copies_one_set_of_scores(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The scores were made before the split, from whole rows, and all heads share them. Heads that look at the same
    places are one head. Split queries and keys first; then each head compares its own columns."""
    d_k = W_q.shape[-1] // num_heads
    scores = dot_scores(query @ W_q, key @ W_k)[:, None] * d_k**-0.5
    weights = masked_softmax(scores.expand(-1, num_heads, -1, -1), mask)
    return reference.merge_heads(weights @ reference.split_heads(value @ W_v, num_heads)) @ W_o


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def projects_nothing(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """Query, key and value were split as they came: `W_q`, `W_k` and `W_v` are missing. Then head h can look at the
    columns that happen to stand in its place, and nothing decides what it is about. Project first, then split."""
    one = torch.eye(len(W_q), dtype=W_q.dtype)
    return _steps(query, key, value, one, one, one, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def projects_the_values_not(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """`W_v` was never used: the values were averaged as they came. A head has to choose what it takes home, too."""
    return _steps(query, key, value, W_q, W_k, torch.eye(len(W_v), dtype=W_v.dtype), W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def projects_keys_like_queries(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """Queries and keys went through the same matrix, `W_q`. Then a question finds only what looks like itself. Keys
    have a matrix of their own, `W_k`."""
    return _steps(query, key, value, W_q, W_q, W_v, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def takes_the_values_from_the_keys(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The values were made of `key`; `value` was never used. Keys say where to look, values what is found there."""
    return _steps(query, key, key, W_q, W_k, W_v, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def asks_only_itself(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """All three projections were made of `query`; `key` and `value` were never used. That is self-attention, which is
    one case. The three may be different sequences."""
    return _steps(query, query, query, W_q, W_k, W_v, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def scales_by_d_model(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The scores were divided by √d_model. What is summed in a score is the width of *one head*: √d_k, with
    d_k = d_model / num_heads. After the split `q.shape[-1]` is d_k, before it d_model."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_divided_by("model"))


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def scales_nothing(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The scores were not scaled. Divide them by √d_k, the root of the width of a head."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_divided_by(0))


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def scales_twice(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The scores were divided by √d_k twice, or once by d_k. `scaled_dot_product_attention` does it already: nothing is
    left for you to divide."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_divided_by(1))


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def reshapes_both_ways(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """Splitting and merging are both reshapes without an exchange of axes. Together they undo each other, so that a
    test of the round trip passes! But in between a head holds *some positions* with all their columns: a word never
    sees the words of another piece."""
    return _steps(
        *(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask),
        split=splits_without_transposing,
        merge=merges_without_transposing,
    )


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def reshapes_on_the_way_in(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The heads were split by a reshape straight to (B, H, T, d_k), and merged rightly. So a head holds some positions
    with all their columns, and its answers are then put where they do not belong. Exchange the axes T and H after the
    reshape."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, split=splits_without_transposing)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def reshapes_on_the_way_out(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The heads were split rightly, and merged by a reshape straight to (B, T, d_model): a word gets answers to other
    words' questions. Exchange the axes H and T *before* this reshape."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, merge=merges_without_transposing)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def forgets_the_axis_of_the_heads(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The heads were left behind the positions, (B, T, H, d_k), when attention was called. It takes the last two axes
    for positions and features: so the *heads of one word* looked at each other. Exchange axes 1 and 2 first."""
    q, k, v = (x.unflatten(-1, (num_heads, -1)) for x in (query @ W_q, key @ W_k, value @ W_v))
    return scaled_dot_product_attention(q, k, v).flatten(2) @ W_o


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def calls_a_matrix(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """A matrix was called like a function, `W_q(query)`. A layer can be called, and does the product; a tensor cannot.
    Multiply: `query @ W_q`."""
    return W_q(query)


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def gives_all_heads_the_first_columns(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """All heads compute the same: each works with the columns of the *first* head. A loop has to use its h."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_first_columns_for_all)


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def gives_all_heads_the_first_weights(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """All heads look where the *first* one looks: its weights were used for the values of all. Heads that look at the
    same places are one head. Each has weights of its own, (B, H, T, S)."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_first_head_for_all)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def lets_queries_compete(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The softmax ran over the queries. It is a query that shares out its look among the keys: the last axis."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_queries_compete)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def lets_heads_compete(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The softmax ran over the heads, axis 1 of (B, H, T, S). Heads do not compete: each shares out a look of its own
    among the keys, the last axis. Count it from the end, `dim=-1`."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_heads_compete)


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def weighs_by_sigmoids(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The sigmoid of each score was taken in place of the softmax of a row: the weights do not add up to one."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_by_sigmoid)


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def weighs_by_scores(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The scores themselves were used as weights: the softmax is missing."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_without_softmax)


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def averages_what_the_heads_found(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The heads were averaged or added up, in place of being put side by side. Their answer is only d_k wide then, and
    does not fit W_o. Merge them: (B, T, H·d_k)."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, merge=averages_the_heads)


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def averages_the_weights_of_the_heads(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The weights of the heads were averaged, and every head used the mean. (PyTorch's module *returns* the mean unless
    told otherwise; it does not compute with it.) Each head averages the values by weights of its own."""

    def attend(q, k, v, mask):
        return masked_softmax(dot_scores(q, k) / q.shape[-1] ** 0.5, mask).mean(1, keepdim=True) @ v

    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=attend)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def exchanges_the_matrices_of_query_and_key(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """`W_q` and `W_k` changed places: the query was projected as a key, and the key as a query."""
    return _steps(query, key, value, W_k, W_q, W_v, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def deals_the_columns_both_ways(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The columns were dealt out like cards, head h getting h, h + H, h + 2H …, and collected in the same way. It is
    consistent, so it would train; but the columns of a head lie side by side, and a model with these weights gives
    other numbers elsewhere. Cut `d_model` into `(num_heads, d_k)`, in this order."""
    return _steps(
        query,
        key,
        value,
        W_q,
        W_k,
        W_v,
        W_o,
        num_heads,
        mask,
        split=deals_the_columns_out,
        merge=deals_the_columns_back,
    )


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def adds_the_question_to_the_answer(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The query was added to the answer. That is a residual connection, and comes in chapter 11, outside of
    attention."""
    return query + _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def returns_the_weights_too(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """This returns a pair, the answer and the weights, as PyTorch's module does. The answer alone was asked for."""
    q, k = reference.split_heads(query @ W_q, num_heads), reference.split_heads(key @ W_k, num_heads)
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask), attention_weights(q, k, mask)


@multi_head_attention.misconception(caught_by=test_a_mask_holds_for_every_head)
def loses_the_mask(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The mask has no effect. Hand it on to attention, which wants it as its fourth argument."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads)


@multi_head_attention.misconception(caught_by=test_a_mask_holds_for_every_head)
def masks_the_first_head_only(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The mask reached the first head only; the others saw everything. One open head is enough for the future to leak
    through. A mask broadcasts over the heads by itself."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_mask_for_one_head)


@multi_head_attention.misconception(caught_by=test_a_mask_holds_for_every_head)
def adds_an_axis_to_the_mask(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The mask was given an axis for the heads, `mask[:, None]`, which it has or does not need: masks here broadcast to
    (B, H, T, S) as they come. A causal one, (T, S), then lines its queries up with the batch or with the heads. Hand it
    on as it is."""
    mask = None if mask is None else mask[:, None]
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_a_mask_holds_for_every_head)
def repeats_the_mask_in_the_wrong_order(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """Batch and heads were packed into one axis, sequence by sequence, and the mask was repeated for the heads in the
    other order, head by head (`repeat` for `repeat_interleave`): sequences get each other's masks. Keep batch and heads
    apart, and a mask broadcasts by itself."""
    if mask is not None:
        mask = mask.expand(len(query), num_heads, query.shape[1], key.shape[1])
        mask = mask.transpose(0, 1).reshape(mask.shape)
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_a_mask_holds_for_every_head)
def turns_the_mask_around(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The mask was read the other way round. Here True means: may attend, and in
    `nn.MultiheadAttention` the opposite."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_mask_inverted)


@multi_head_attention.misconception(caught_by=test_a_mask_holds_for_every_head)
def masks_after_the_softmax(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The weights were set to zero after the softmax, so the rest no longer add up to one. Forbid the scores."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_mask_afterwards)


@multi_head_attention.misconception(caught_by=test_a_mask_holds_for_every_head)
def masks_with_zero(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """A forbidden score was made 0, which is an ordinary score, and e⁰ = 1 an ordinary share. It must be −∞."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_mask_by_zero)


@multi_head_attention.misconception(caught_by=test_a_mask_holds_for_every_head)
def masks_timidly(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """A forbidden score was replaced by a number that looks low, such as −20. A permitted one may lie below it. −∞ lies
    below everything."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_mask_timidly)


@multi_head_attention.misconception(caught_by=test_a_query_that_may_see_nothing_gets_zeros)
def gives_nan_for_nothing(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """A query that may see nothing gets NaN: the softmax of nothing but −∞ is 0/0. The attention that chapter 5 built
    gives zeros; so does this one."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_nan_on_empty)


@multi_head_attention.misconception(caught_by=test_a_query_that_may_see_nothing_gets_zeros)
def gives_the_mean_for_nothing(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """A query that may see nothing gets the mean of everything: all its scores are the same low number, and softmax
    sees only differences. It gets zeros, as in chapter 5."""
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=_mean_on_empty)


@multi_head_attention.misconception(caught_by=test_gradients_of_multi_head_attention)
def multi_head_without_gradient(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The answer is right, and nothing can be learned from it: it was computed in NumPy, under `torch.no_grad()`, or
    detached. Use PyTorch's functions all the way."""
    with torch.no_grad():
        return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_gradients_of_multi_head_attention)
def multi_head_with_detached_weights(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The answer is right, but the weights were detached on the way: `W_q` and `W_k` get no gradient, and a head would
    never learn where to look. Leave out `.detach()`, `.data` and `torch.tensor(…)`."""

    def attend(q, k, v, mask=None):
        return attention_weights(q, k, mask).detach() @ v

    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, attend=attend)


@multi_head_attention.misconception(caught_by=test_gradients_of_multi_head_attention)
def multi_head_that_edits_its_inputs(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The answer is right, but a tensor of the caller's is changed afterwards. Functions with a `_` at the end of their
    names write into what they are called on; so do `+=` and `*=`."""
    out = _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask)
    with torch.no_grad():
        value *= 0.5
    return out


@multi_head_attention.misconception(caught_by=test_a_mask_holds_for_every_head)
def takes_heads_for_sequences(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """A mask of three axes was taken for one a *sequence*, (B, T, S), and given an axis for the heads. Masks here
    broadcast to (B, H, T, S) as they come, from the right: three axes are (H, T, S). Hand the mask on as it is."""
    mask = mask[:, None] if mask is not None and mask.ndim == 3 else mask
    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def attends_across_the_heads(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The columns were cut, and heads and positions never changed places: (B, T, H, d_k). Attention works on the last
    two axes, so at each position the *heads* looked at one another, and no word at any other. `split_heads` ends with
    `transpose(1, 2)`."""

    def split(x, num_heads):
        return x.reshape(*x.shape[:2], num_heads, -1)

    return _steps(
        query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, split=split, merge=lambda x: x.reshape(query.shape)
    )


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def expects_one_length(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """T, the number of queries, was read once and used for keys and values too. Those are S, and T = S only where a
    sequence asks itself. `split_heads` reads the length off what it is given."""
    B, T, d_model = query.shape

    def split(x, num_heads):
        return x.reshape(B, T, num_heads, d_model // num_heads).transpose(1, 2)

    return _steps(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask, split=split)


@multi_head_attention.misconception(caught_by=test_two_heads_of_known_numbers)
def takes_the_keys_from_the_query(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The keys were made from `query`, as in self-attention. Here they have a sequence of their own: `key @ W_k`."""
    return _steps(query, query, value, W_q, W_k, W_v, W_o, num_heads, mask)


@multi_head_attention.misconception(caught_by=test_each_head_attends_with_its_own_columns)
def exchanges_the_matrices_of_key_and_value(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """Keys were made by W_v and values by W_k. Where all matrices have one shape, nothing warns of it."""
    return _steps(query, key, value, W_q, W_v, W_k, W_o, num_heads, mask)


@multi_head_attention.alternative
def multi_head_by_a_loop(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    """The sum of the paper's heads, each with its own columns of W_q, W_k, W_v and its own rows of W_o."""
    d_k = W_q.shape[1] // num_heads
    shape = (query.shape[0], num_heads, query.shape[1], key.shape[1])
    masks = torch.ones(shape, dtype=torch.bool) if mask is None else mask.expand(shape)
    out = torch.zeros_like(query)
    for h in range(num_heads):
        own = slice(h * d_k, (h + 1) * d_k)
        head = scaled_dot_product_attention(query @ W_q[:, own], key @ W_k[:, own], value @ W_v[:, own], masks[:, h])
        out = out + head @ W_o[own]
    return out


@multi_head_attention.alternative
def multi_head_by_einsum(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None, *, fill=-1e30):
    W_q, W_k, W_v = (W.unflatten(1, (num_heads, -1)) for W in (W_q, W_k, W_v))
    q, k = torch.einsum("btd,dhk->bhtk", query, W_q), torch.einsum("bsd,dhk->bhsk", key, W_k)
    scores = torch.einsum("bhtk,bhsk->bhts", q, k) / q.shape[-1] ** 0.5
    permitted = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask.expand(scores.shape)
    weights = torch.softmax(scores.masked_fill(~permitted, fill), -1) * permitted
    heads = torch.einsum("bhts,bshk->bthk", weights, torch.einsum("bsd,dhk->bshk", value, W_v))
    return heads.reshape(query.shape) @ W_o


@multi_head_attention.alternative
def multi_head_by_the_kernel(query, key, value, W_q, W_k, W_v, W_o, num_heads, mask=None):
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query @ W_q, key @ W_k, value @ W_v))
    heads = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return heads.transpose(1, 2).flatten(2) @ W_o


# -------------------------------------------------------------------------------------------------- parameter_count

parameter_count = Exercise(
    "parameter_count",
    chapter=9,
    reference=reference.parameter_count,
    minutes=5,
    difficulty=1,
    forbidden=("torch.nn.MultiheadAttention", "attnlab.multi_head.MultiHeadAttention"),
)


@parameter_count.check(points=1)
def test_parameters_of_a_known_size(student, rng):
    """For `d_model = 6` and 3 heads the four matrices hold 144 numbers."""
    expect.close(student.parameter_count(6, 3), 144, "Which four matrices are there, and how large is each of them?")


@parameter_count.check(points=1)
def test_parameters_do_not_grow_with_the_heads(student, rng):
    """For one `d_model` it is the same number, whatever the number of heads."""
    for d_model, heads in ((30, (1, 2, 3, 5, 6, 10, 15, 30)), (512, (1, 8, 16))):
        for num_heads in heads:
            expect.close(
                student.parameter_count(d_model, num_heads),
                4 * d_model**2,
                f"With {num_heads} heads of width {d_model // num_heads}: what do all heads *together* hold?",
            )


@parameter_count.check(points=1)
def test_parameters_with_biases(student, rng):
    """With `bias=True` there is one more number for each column of each of the four matrices, as in PyTorch's
    module."""
    for d_model, num_heads in ((6, 2), (35, 7), (11, 1)):
        module = nn.MultiheadAttention(d_model, num_heads)
        with_biases = sum(p.numel() for p in module.parameters())
        without = 4 * d_model**2
        expect.close(student.parameter_count(d_model, num_heads, bias=True), with_biases, "How long is each bias?")
        expect.close(student.parameter_count(d_model, num_heads, bias=False), without, "And without biases?")


@parameter_count.inputs
def _sizes(rng):
    for d_model, num_heads in ((12, 3), (12, 4), (35, 5), (64, 1), (64, 8)):
        for bias in (False, True):
            yield (d_model, num_heads), {"bias": bias}


def _counted(d_model, num_heads, bias, matrices, biases=4):
    return matrices + (biases * d_model if bias else 0)


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def grows_with_the_heads(d_model, num_heads, bias=False):
    """The count grows with the heads, as if each had three matrices of full size. A head is *narrow*: its matrices are
    d_model × d_k, with d_k = d_model / num_heads. H of them together are one full matrix."""
    return _counted(d_model, num_heads, bias, 4 * num_heads * d_model**2)


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def grows_with_the_heads_but_once(d_model, num_heads, bias=False):
    """The three projections were counted in full for each head, and W_o once. A head is narrow, d_model × d_k: H of
    them together are one full matrix."""
    return _counted(d_model, num_heads, bias, 3 * num_heads * d_model**2 + d_model**2)


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def counts_three_matrices(d_model, num_heads, bias=False):
    """There are three matrices in this count. The fourth is W_o, which the heads' answers go through."""
    return _counted(d_model, num_heads, bias, 3 * d_model**2, 3)


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def shrinks_with_the_heads(d_model, num_heads, bias=False):
    """The count shrinks as the heads grow in number: it is that of *one* head, or of heads whose matrices are
    d_k × d_k. A head reads all d_model columns of its input, and there are H heads: H · d_model · d_k = d_model²."""
    return _counted(d_model, num_heads, bias, 4 * d_model**2 // num_heads)


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def counts_one_small_head(d_model, num_heads, bias=False):
    """This is 4 · d_k²: one head, with matrices from d_k to d_k. A head reads all d_model columns of its input, and
    there are H heads."""
    return _counted(d_model, num_heads, bias, 4 * (d_model // num_heads) ** 2)


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def makes_the_last_matrix_small(d_model, num_heads, bias=False):
    """W_o was counted as d_k × d_model. It takes *all* heads side by side, H · d_k = d_model rows."""
    return _counted(d_model, num_heads, bias, 3 * d_model**2 + d_model * (d_model // num_heads))


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def shares_keys_and_values(d_model, num_heads, bias=False):
    """W_k and W_v were counted once for all heads, d_model × d_k each. That exists, and is called multi-query attention
    (chapter 24). Here each head has keys and values of its own."""
    d_k = d_model // num_heads
    return 2 * d_model**2 + 2 * d_model * d_k + (2 * (d_model + d_k) if bias else 0)


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def counts_vectors(d_model, num_heads, bias=False):
    """A matrix from d_model to d_model holds d_model² numbers, not d_model."""
    return _counted(d_model, num_heads, bias, 4 * d_model)


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def always_counts_biases(d_model, num_heads, bias=False):
    """The biases were counted although there are none: `bias` is False unless somebody says otherwise."""
    return 4 * d_model**2 + 4 * d_model


@parameter_count.misconception(caught_by=test_parameters_with_biases)
def never_counts_biases(d_model, num_heads, bias=False):
    """`bias` has no effect. With it, each of the four projections adds a vector of d_model numbers."""
    return 4 * d_model**2


@parameter_count.misconception(caught_by=test_parameters_with_biases)
def counts_one_bias(d_model, num_heads, bias=False):
    """Only one bias was counted. Each of the four projections has its own."""
    return _counted(d_model, num_heads, bias, 4 * d_model**2, 1)


@parameter_count.misconception(caught_by=test_parameters_with_biases)
def counts_three_biases(d_model, num_heads, bias=False):
    """Three biases were counted. W_o has one, too."""
    return _counted(d_model, num_heads, bias, 4 * d_model**2, 3)


@parameter_count.misconception(caught_by=test_parameters_with_biases)
def counts_a_bias_as_one_number(d_model, num_heads, bias=False):
    """A bias was counted as one number. It is a vector, one number for each of the d_model columns that come out."""
    return 4 * (d_model**2 + (1 if bias else 0))


@parameter_count.misconception(caught_by=test_parameters_with_biases)
def counts_a_bias_for_each_head(d_model, num_heads, bias=False):
    """The biases were counted in full for each head. A head's bias is d_k long; H of them are d_model."""
    return _counted(d_model, num_heads, bias, 4 * d_model**2, 4 * num_heads)


@parameter_count.misconception(caught_by=test_parameters_with_biases)
def counts_narrow_biases(d_model, num_heads, bias=False):
    """The biases were counted with d_k numbers each, those of one head. All H heads together have d_model."""
    return 4 * d_model**2 + (4 * d_model // num_heads if bias else 0)


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def counts_one_head(d_model, num_heads, bias=False):
    """The three narrow matrices of *one* head were counted, and W_o. There are H heads, with three matrices each."""
    return 3 * d_model * (d_model // num_heads) + d_model**2 + (4 * d_model if bias else 0)


@parameter_count.misconception(caught_by=test_parameters_of_a_known_size)
def gives_every_head_a_last_matrix(d_model, num_heads, bias=False):
    """W_o was counted once for each head. There is one, for all heads together: it is what mixes them."""
    return 3 * d_model**2 + num_heads * d_model**2 + (4 * d_model if bias else 0)


@parameter_count.alternative
def counts_in_one_line(d_model, num_heads, bias=False):
    return 4 * d_model * (d_model + bias)


@parameter_count.alternative
def counts_layers(d_model, num_heads, bias=False):
    heads = [nn.Linear(d_model, d_model // num_heads, bias=bias) for _ in range(3 * num_heads)]
    return sum(p.numel() for p in nn.ModuleList([*heads, nn.Linear(d_model, d_model, bias=bias)]).parameters())


# ----------------------------------------------------------------------------------------------- MultiHeadAttention

MultiHeadAttention = Exercise(
    "MultiHeadAttention",
    chapter=9,
    reference=reference.MultiHeadAttention,
    minutes=25,
    difficulty=2,
    forbidden=MULTI_HEAD,
)


def _state(rng, d=D_MODEL, dtype=torch.float32):
    """Weights and biases for the four layers, by name."""
    state: dict[str, torch.Tensor] = {}
    for name in MATRICES:
        W, bias = _draw(rng, (d, d), (d,), dtype=dtype)
        state |= {f"{name}.weight": W / d**0.5, f"{name}.bias": bias}
    return state


@functools.cache
def _reference_module(d, heads):
    """One for all checks, in evaluation mode; its parameters are set for each of them."""
    return reference.MultiHeadAttention(d, heads).eval()


def _pair(student, rng, *, T=T, S=S, H=H, d_k=D_K, dropout=0.0):
    """A module of the student's and the reference with the same parameters, and query, key and value."""
    d = H * d_k
    inputs, state = _draw(rng, (B, T, d), (B, S, d), (B, S, d)), _state(rng, d)
    ours = _reference_module(d, H)
    ours.load_state_dict(state)
    module = student.MultiHeadAttention(d, H, dropout) if dropout else student.MultiHeadAttention(d, H)
    module.load(state)
    return module, ours, inputs


@MultiHeadAttention.check(points=1)
def test_the_module_has_four_layers_with_biases(student, rng):
    """`W_q`, `W_k`, `W_v` and `W_o` are layers from d_model to d_model, with biases. There are no other parameters,
    however many heads there are."""
    nothing = torch.zeros(0, D_MODEL)  # a layer shows its width without its numbers, which may start as they like
    state = _state(rng)
    wanted = {name: tuple(value.shape) for name, value in state.items()}
    for num_heads in (1, H):
        module = student.MultiHeadAttention(D_MODEL, num_heads)
        for name in MATRICES:
            expect.close(_layer(module, name)(nothing), nothing, f"Is `{name}` an `nn.Linear(d_model, d_model)`?")
        module.load(state)
        found = {name: tuple(value.shape) for name, value in module.parameters().items()}
        expect.true(
            found == wanted,
            f"With {num_heads} heads your module has {_listed(found)}; expected is {_listed(wanted)}.",
            "Is there a layer too many?",
        )


def _layer(module, name):
    """The layer of that name, to be called. A list of layers cannot be, and would pass for not yet written."""

    def call(x):
        try:
            return getattr(module, name)(x)
        except StudentError as error:
            if error.kind != "todo":
                raise
            raise expect.CheckFailure(
                f"`{name}` cannot be called; it seems to be a list of layers.",
                "Is it one layer for all heads, whose columns are split afterwards?",
            ) from None

    return call


def _listed(shapes):
    return ", ".join(f"`{name}` {shape}" for name, shape in shapes.items()) or "no parameters"


@MultiHeadAttention.check(points=2)
def test_the_module_gives_the_numbers_of_pytorch(student, rng):
    """With the same weights it gives the numbers of `nn.MultiheadAttention`: for self-attention, for two sequences, for
    one head and for many."""
    for H_, d_k, T_, S_ in ((3, 11, 5, 7), (7, 2, 3, 3), (1, 5, 1, 2)):
        d = H_ * d_k
        query, key, value = _draw(rng, (B, T_, d), (B, S_, d), (B, S_, d))
        state = _state(rng, d)
        theirs = nn.MultiheadAttention(d, H_, batch_first=True).eval()
        with torch.no_grad():
            theirs.in_proj_weight.copy_(torch.cat([state[f"{name}.weight"] for name in MATRICES[:3]]))
            theirs.in_proj_bias.copy_(torch.cat([state[f"{name}.bias"] for name in MATRICES[:3]]))
            theirs.out_proj.weight.copy_(state["W_o.weight"])
            theirs.out_proj.bias.copy_(state["W_o.bias"])
        want, want_alone = theirs(query, key, value)[0], theirs(query, query, query)[0]
        module = student.MultiHeadAttention(d, H_)
        module.load(state)
        expect.true(
            expect.same(module(query, key, value), module(query, key, value)),
            "Two calls with the same numbers gave two different answers.",
            "Does anything drop weights here? `dropout` is 0 unless the caller says otherwise.",
        )
        expect.close(
            module(query, key, value),
            want,
            f"With {H_} heads of width {d_k}, T = {T_}, S = {S_}: project with the layers, split, attend, merge, W_o.",
        )
        expect.close(module(query, query, query), want_alone, "And when a sequence asks itself?")


@MultiHeadAttention.check(points=1)
def test_the_module_obeys_its_mask_in_every_head(student, rng):
    """A mask broadcasts to `(B, H, T, S)`, True = may attend. What sees nothing finds nothing: the bias of `W_o` is
    left."""
    module, ours, inputs = _pair(student, rng)
    shapes = ((T, S), (H, T, S), (B, 1, 1, S), (B, H, T, S))
    masks = [torch.tensor(rng.random(shape) < 0.6) for shape in shapes]
    for mask in masks:
        mask[..., 0], mask[..., 1] = False, True
    masks[2][0] = False  # a sequence of nothing but padding
    masks[-1][0, :, 2] = False  # a query that sees nothing, in any head
    loud = [inputs[0], 400 * inputs[1], inputs[2]]
    alone = (torch.arange(S) == 1)[None]
    for mask, given in zip((*masks[:2], alone, *masks[2:]), (*[inputs] * 2, loud, *[inputs] * 2), strict=True):
        want = ours(*given, mask)
        expect.close(
            module(*given, mask),
            want,
            f"For a mask of shape {tuple(mask.shape)}: does it reach every head, before the softmax, as it is?",
        )
    want = ours(*inputs)
    expect.close(module(*inputs), want, "This call has no mask. Is the mask of the call before still there?")


@MultiHeadAttention.check(points=2)
def test_gradients_reach_all_eight_parameters(student, rng):
    """The gradients of the weights and biases, of query, key and value are those of the formula."""
    module, ours, inputs = _pair(student, rng)
    g = torch.tensor(rng.normal(size=(B, T, D_MODEL)), dtype=torch.float32)
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = ours(*leaves)
    wanted = torch.autograd.grad((out * g).sum(), [*leaves, *ours.parameters()])
    came = module.gradients(*inputs, cotangent=g)
    expect.close(came.value, out)
    names = ["query", "key", "value", *dict(ours.named_parameters())]
    found = [*came.inputs, *(came.parameters.get(name) for name in names[3:])]
    for name, gradient, right in zip(names, found, wanted, strict=True):
        expect.true(gradient is not None, f"No gradient reaches `{name}`: it would never learn.", NO_GRADIENT)
        expect.close(gradient, right, f"This is the gradient of `{name}`. Is the way there all PyTorch?", 1e-4)


@MultiHeadAttention.check(points=2)
def test_dropout_falls_on_the_weights_and_only_in_training(student, rng):
    """In training, dropout makes some *attention weights* zero and the others 1/(1−p) times as large; in evaluation,
    after `eval()`, it does nothing."""
    module, ours, inputs = _pair(student, rng, dropout=0.5)
    want = ours(*inputs)
    module.eval()
    expect.close(module(*inputs), want, "In evaluation mode: does your dropout ask whether the module is training?")
    module.train()
    trained = expect.is_array(module(*inputs), tuple(want.shape))
    expect.true(
        not np.allclose(trained, want.detach().numpy(), atol=1e-3),
        "With p = 0.5, your module gave in training what it gives in evaluation.",
        "Is dropout handed on to `nn.Dropout(dropout)`, and is that called?",
    )
    # One key, and matrices that do nothing: a weight is 1 before dropout, so each head gives 0 or twice the value.
    one = torch.eye(D_MODEL)
    still = {f"{name}.weight": one for name in MATRICES} | {f"{name}.bias": torch.zeros(D_MODEL) for name in MATRICES}
    query, value = _draw(rng, (1, 29, D_MODEL), (1, 1, D_MODEL))
    module.load(still)
    heads = expect.is_array(module(query, value, value), (1, 29, D_MODEL)).reshape(29, H, D_K)
    alone = value.numpy().reshape(1, H, D_K)
    kept = np.isclose(heads, 2 * alone, rtol=1e-3, atol=1e-4).all(-1)
    gone = np.isclose(heads, 0, atol=1e-4).all(-1)
    once = np.isclose(heads, alone, rtol=1e-3, atol=1e-4).all(-1)
    expect.true(
        not ((once | gone).all() and 0.2 < gone.mean() < 0.8),
        f"With one key and p = 0.5, each head must give nothing or twice its value; of your {gone.size} answers, "
        f"{gone.sum()} are nothing and {once.sum()} the value once.",
        "Is what is kept divided by 1 − p? `nn.Dropout` does that.",
    )
    expect.true(
        (kept | gone).all() and 0.2 < gone.mean() < 0.8,
        f"With one key and p = 0.5, each head must give nothing or twice its value; of your {gone.size} answers, "
        f"{gone.sum()} are nothing, {kept.sum()} twice the value and {(~kept & ~gone).sum()} something else.",
        "Does dropout fall on the weights: after the softmax, and before they meet the values?",
    )
    expect.true(
        bool((gone.any(0) & kept.any(0)).all()) and not (gone == gone[:, :1]).all(),
        "With p = 0.5, your module dropped the same for all 29 queries, or for all heads.",
        "Is a *whole head* dropped, or a whole key? It is the entries of the (B, H, T, S) weights, each by itself.",
    )
    module.eval()
    expect.close(module(query, value, value), value.expand(1, 29, D_MODEL), "And after training, in evaluation again?")


@MultiHeadAttention.check(points=1)
def test_heads_must_divide_d_model(student, rng):
    """A `d_model` that `num_heads` does not divide is refused at once, with a `ValueError`; one that it divides is
    not."""
    module, ours, inputs = _pair(student, rng)
    want = ours(*inputs)
    expect.close(module(*inputs), want)
    for d_model, num_heads in ((32, 3), (7, 8)):
        refusal = "nothing"
        try:
            student.MultiHeadAttention(d_model, num_heads)
        except StudentError as error:
            if error.kind != "raised":
                raise
            refusal = f"{error.raised}"
        expect.true(
            refusal != "nothing" and issubclass(getattr(builtins, refusal, ValueError), ValueError),
            f"MultiHeadAttention({d_model}, {num_heads}) raised {refusal}; a ValueError was expected.",
            "Does `__init__` look at d_model % num_heads?",
        )


@MultiHeadAttention.check(points=1)
def test_the_module_leaves_its_inputs_alone(student, rng):
    """It takes float64 and views, its numbers survive saving, and what was passed in is the same afterwards."""
    inputs = [_view(x) for x in _draw(rng, (B, T, D_MODEL), (B, S, D_MODEL), (B, S, D_MODEL), dtype=torch.float64)]
    state = _state(rng, dtype=torch.float64)
    mask = torch.ones(B, 1, T, S, dtype=torch.bool)
    mask[:, :, 1, 2:] = False
    ours = reference.MultiHeadAttention(D_MODEL, H).double().eval()
    ours.load_state_dict(state)
    want = ours(*inputs, mask)
    module = student.MultiHeadAttention(D_MODEL, H)
    module.double()
    module.load_state_dict(state)
    expect.close(module(*inputs, mask), want)
    expect.close(module(*inputs, mask=mask), want, "The second answer differs from the first.")
    again = student.MultiHeadAttention(D_MODEL, H)
    again.double()
    again.load_state_dict(dict(module.state_dict()))
    expect.close(again(*inputs, mask), want, "Are all numbers that matter in `state_dict()`?")
    expect.unchanged(student, EDITS)


class _InSteps(nn.Module):
    """Multi-head attention in steps, which a wrong answer can replace one by one."""

    def __init__(self, d_model, num_heads, dropout=0.0):
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"num_heads must divide d_model, got {num_heads} and {d_model}")
        self.num_heads = num_heads
        self.make_layers(d_model)
        self.dropout = nn.Dropout(dropout)

    def make_layers(self, d_model):
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(d_model, d_model) for _ in range(4))

    def split(self, x):
        return reference.split_heads(x, self.num_heads)

    def merge(self, x):
        return reference.merge_heads(x)

    def scores(self, q, k):
        return dot_scores(q, k) / q.shape[-1] ** 0.5

    def weights(self, scores, mask):
        return masked_softmax(scores, mask)

    def attend(self, q, k, v, mask):
        return self.dropout(self.weights(self.scores(q, k), mask)) @ v

    def forward(self, query, key, value, mask=None):
        q, k, v = self.split(self.W_q(query)), self.split(self.W_k(key)), self.split(self.W_v(value))
        return self.W_o(self.merge(self.attend(q, k, v, mask)))


@MultiHeadAttention.misconception(caught_by=test_the_module_has_four_layers_with_biases)
class HeadsWithoutBiases(_InSteps):
    """The layers have no biases. The paper has none, `nn.MultiheadAttention` has them in all four, and here they were
    asked for: `nn.Linear(d_model, d_model)` makes one unless told not to."""

    def make_layers(self, d_model):
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))


@MultiHeadAttention.misconception(caught_by=test_the_module_has_four_layers_with_biases)
class HeadsWithOtherNames(_InSteps):
    """The layers are not where they are looked for. Either the three projections are one layer, from d_model to
    3·d_model, as PyTorch keeps them; or they stand in a list, or inside the heads. The numbers may well be right; here
    each layer has a name of its own: `self.W_q = nn.Linear(d_model, d_model)`, and so on."""

    def make_layers(self, d_model):
        self.W_qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)


@MultiHeadAttention.misconception(caught_by=test_the_module_has_four_layers_with_biases)
class HeadsOfNoModule(nn.Module):
    """`super().__init__()` was not called, or not first. It makes the place where a module keeps its layers, so it
    comes before the first `self.W_q = …`."""

    def __init__(self, d_model, num_heads, dropout=0.0):
        self.W_q = nn.Linear(d_model, d_model)


@MultiHeadAttention.misconception(caught_by=test_the_module_has_four_layers_with_biases)
class HeadsWithLayersOfTheirOwn(_InSteps):
    """Each head has three layers of its own, in lists. That can be right, and more heads cost no more if each is d_k
    wide; but it is H small products in place of one large, and the names are not those that were asked for. Make one
    layer of full width, and split what comes out of it."""

    def make_layers(self, d_model):
        d_k = d_model // self.num_heads
        for name in MATRICES[:3]:
            setattr(self, name, nn.ModuleList([nn.Linear(d_model, d_k) for _ in range(self.num_heads)]))
        self.W_o = nn.Linear(d_model, d_model)


@MultiHeadAttention.misconception(caught_by=test_the_module_has_four_layers_with_biases)
class HeadsThatCallAParameter(_InSteps):
    """The projections are parameters, `nn.Parameter(…)`, and a parameter is a tensor: it cannot be called, as
    `self.W_q(query)` would. A layer can, and has a bias besides: `nn.Linear(d_model, d_model)`."""

    def make_layers(self, d_model):
        for name in MATRICES:
            setattr(self, name, nn.Parameter(torch.randn(d_model, d_model)))


@MultiHeadAttention.misconception(caught_by=test_the_module_has_four_layers_with_biases)
class HeadsWithNarrowLayers(_InSteps):
    """The three projections are d_k wide: the columns of one head. They make the columns of *all* heads at once, from
    d_model to d_model."""

    def make_layers(self, d_model):
        self.W_q, self.W_k, self.W_v = (nn.Linear(d_model, d_model // self.num_heads) for _ in range(3))
        self.W_o = nn.Linear(d_model, d_model)


@MultiHeadAttention.misconception(caught_by=test_the_module_has_four_layers_with_biases)
class HeadsWithWideLayers(_InSteps):
    """Each head has d_model columns, so the projections are H times as wide. That costs H times as much. Heads *share*
    the d_model columns, d_k for each."""

    def make_layers(self, d_model):
        self.W_q, self.W_k, self.W_v = (nn.Linear(d_model, d_model * self.num_heads) for _ in range(3))
        self.W_o = nn.Linear(d_model * self.num_heads, d_model)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsThatNeverMeet(_InSteps):
    """`W_o` was made and not used: the heads stand side by side and never meet. Return `self.W_o(merged)`."""

    def forward(self, query, key, value, mask=None):
        q, k, v = self.split(self.W_q(query)), self.split(self.W_k(key)), self.split(self.W_v(value))
        return self.merge(self.attend(q, k, v, mask))


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsWithoutTheirBiases(_InSteps):
    """The biases were made and not used: the inputs were multiplied with the *weights* of the layers. Call the layers:
    `self.W_q(query)` is `query @ weight.T + bias`."""

    def forward(self, query, key, value, mask=None):
        matrices = (getattr(self, name).weight.mT for name in MATRICES)
        return _right(query, key, value, *matrices, self.num_heads, mask)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsTurnedOver(_InSteps):
    """The weights of the layers were multiplied as they are kept. `nn.Linear` keeps its matrix turned over; call the
    layer, `self.W_q(query)`, and it does the right thing."""

    def forward(self, query, key, value, mask=None):
        q, k, v = (
            self.split(x @ W.weight + W.bias)
            for x, W in ((query, self.W_q), (key, self.W_k), (value, self.W_v))
        )  # fmt: skip
        return self.merge(self.attend(q, k, v, mask)) @ self.W_o.weight + self.W_o.bias


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsNeverUsed(_InSteps):
    """`num_heads` was taken and never used: this is one wide head, with one set of weights for all columns."""

    def split(self, x):
        return x[:, None]

    def merge(self, x):
        return x[:, 0]


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsReshapedBothWays(_InSteps):
    """Splitting and merging are both reshapes without an exchange of axes. Together they undo each other, but in
    between a head holds *some positions* with all their columns: a word never sees the words of another piece."""

    def split(self, x):
        return splits_without_transposing(x, self.num_heads)

    def merge(self, x):
        return merges_without_transposing(x)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsReshapedOnTheWayIn(_InSteps):
    """The heads were split by a reshape straight to (B, H, T, d_k). So a head holds some positions with all their
    columns. Exchange the axes T and H after the reshape; your `split_heads` does."""

    def split(self, x):
        return splits_without_transposing(x, self.num_heads)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsReshapedOnTheWayOut(_InSteps):
    """The heads were merged by a reshape straight to (B, T, d_model): a word gets answers to other words' questions.
    Exchange the axes H and T before the reshape; your `merge_heads` does."""

    def merge(self, x):
        return merges_without_transposing(x)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsThatProjectNothing(_InSteps):
    """Query, key and value were split as they came. `W_q`, `W_k` and `W_v` were made and not used."""

    def forward(self, query, key, value, mask=None):
        return self.W_o(self.merge(self.attend(self.split(query), self.split(key), self.split(value), mask)))


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsWithTiedProjections(_InSteps):
    """Queries and keys went through the same layer, `W_q`. `W_k` was made and not used."""

    def forward(self, query, key, value, mask=None):
        q, k, v = self.split(self.W_q(query)), self.split(self.W_q(key)), self.split(self.W_v(value))
        return self.W_o(self.merge(self.attend(q, k, v, mask)))


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsThatAskThemselves(_InSteps):
    """Everything was made of `query`: this is self-attention and nothing else. Keys come from `key`, values from
    `value`."""

    def forward(self, query, key, value, mask=None):
        return super().forward(query, query, query, mask)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsThatTakeTheKeys(_InSteps):
    """The values were made of `key`. Keys say where to look, values what is found there."""

    def forward(self, query, key, value, mask=None):
        return super().forward(query, key, key, mask)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsScaledByTheModel(_InSteps):
    """The scores were divided by √d_model. What is summed in a score is the width of one head: √d_k."""

    def scores(self, q, k):
        return dot_scores(q, k) / (q.shape[1] * q.shape[-1]) ** 0.5


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsNotScaled(_InSteps):
    """The scores were not scaled. Divide them by √d_k, the root of the width of a head."""

    def scores(self, q, k):
        return dot_scores(q, k)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsScaledTwice(_InSteps):
    """The scores were scaled twice. `scaled_dot_product_attention` does it already."""

    def scores(self, q, k):
        return dot_scores(q, k) / q.shape[-1]


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsAllAlike(_InSteps):
    """All heads compute the same: each works with the columns of the *first* head. A loop has to use its h."""

    def attend(self, q, k, v, mask):
        q, k, v = (x[:, :1].expand_as(x) for x in (q, k, v))
        return super().attend(q, k, v, mask)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsWithSharedWeights(_InSteps):
    """All heads look where the *first* one looks. Each has weights of its own, (B, H, T, S)."""

    def weights(self, scores, mask):
        return super().weights(scores, mask)[:, :1].expand_as(scores)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsWhereQueriesCompete(_InSteps):
    """The softmax ran over the queries. It is a query that shares out its look among the keys: the last axis."""

    def weights(self, scores, mask):
        return masked_softmax(scores, mask, -2)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsThatCompete(_InSteps):
    """The softmax ran over the heads, axis 1 of (B, H, T, S). Heads do not compete: each shares out a look of its own
    among the keys, the last axis."""

    def weights(self, scores, mask):
        return masked_softmax(scores, mask, 1)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsWithATuple(_InSteps):
    """`forward` returns a pair, the answer and the weights, as PyTorch's module does. The answer alone was asked
    for."""

    def forward(self, query, key, value, mask=None):
        weights = self.weights(self.scores(self.split(self.W_q(query)), self.split(self.W_k(key))), mask)
        return super().forward(query, key, value, mask), weights


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsWithAResidual(_InSteps):
    """The query was added to the answer. That is a residual connection; it comes in chapter 11, outside of
    attention."""

    def forward(self, query, key, value, mask=None):
        return query + super().forward(query, key, value, mask)


@MultiHeadAttention.misconception(caught_by=test_the_module_obeys_its_mask_in_every_head)
class HeadsWithoutMask(_InSteps):
    """The mask has no effect. Hand it on to attention."""

    def weights(self, scores, mask):
        return torch.softmax(scores, -1)


@MultiHeadAttention.misconception(caught_by=test_the_module_obeys_its_mask_in_every_head)
class HeadsOfWhichOneIsMasked(_InSteps):
    """The mask reached the first head only. One open head is enough for the future to leak through."""

    def weights(self, scores, mask):
        if mask is not None:
            mask = mask.expand_as(scores).clone()
            mask[:, 1:] = True
        return masked_softmax(scores, mask)


@MultiHeadAttention.misconception(caught_by=test_the_module_obeys_its_mask_in_every_head)
class HeadsWithMaskTurnedAround(_InSteps):
    """The mask was read the other way round. Here True means: may attend, and in
    `nn.MultiheadAttention` the opposite."""

    def weights(self, scores, mask):
        return masked_softmax(scores, None if mask is None else ~mask)


@MultiHeadAttention.misconception(caught_by=test_the_module_obeys_its_mask_in_every_head)
class HeadsMaskedAfterwards(_InSteps):
    """The weights were set to zero after the softmax, so the rest no longer add up to one. Forbid the scores."""

    def weights(self, scores, mask):
        return torch.softmax(scores, -1) * (1 if mask is None else mask)


@MultiHeadAttention.misconception(caught_by=test_the_module_obeys_its_mask_in_every_head)
class HeadsMaskedTimidly(_InSteps):
    """A forbidden score was replaced by a number that looks low, such as −20. A permitted one may lie below it. −∞ lies
    below everything."""

    def weights(self, scores, mask):
        return torch.softmax(_filled(scores, mask, -20.0), -1)


@MultiHeadAttention.misconception(caught_by=test_the_module_obeys_its_mask_in_every_head)
class HeadsWithNaN(_InSteps):
    """A query that may see nothing gets NaN: the softmax of nothing but −∞ is 0/0. The attention that chapter 5 built
    gives zeros, and then only the bias of W_o is left."""

    def weights(self, scores, mask):
        return torch.softmax(_filled(scores, mask, -torch.inf), -1)


@MultiHeadAttention.misconception(caught_by=test_the_module_obeys_its_mask_in_every_head)
class HeadsThatSeeAllWhereNothingIs(_InSteps):
    """A query that may see nothing gets the mean of everything: all its scores are the same low number, and softmax
    sees only differences. It finds nothing, zeros, and then only the bias of W_o is left."""

    def weights(self, scores, mask):
        return torch.softmax(_filled(scores, mask, -1e9), -1)


@MultiHeadAttention.misconception(caught_by=test_gradients_reach_all_eight_parameters)
class HeadsWithoutGradient(_InSteps):
    """The answer is right, and nothing can be learned from it: it was computed in NumPy, or under `torch.no_grad()`, or
    detached. Use PyTorch's functions all the way."""

    def forward(self, query, key, value, mask=None):
        with torch.no_grad():
            return super().forward(query, key, value, mask)


@MultiHeadAttention.misconception(caught_by=test_gradients_reach_all_eight_parameters)
class HeadsWithDetachedWeights(_InSteps):
    """The answer is right, but the weights were detached on the way: `W_q` and `W_k` get no gradient, and no head would
    learn where to look. Leave out `.detach()`, `.data` and `torch.tensor(…)`."""

    def weights(self, scores, mask):
        return super().weights(scores, mask).detach()


@MultiHeadAttention.misconception(caught_by=test_dropout_falls_on_the_weights_and_only_in_training)
class HeadsWithoutDropout(_InSteps):
    """`dropout` has no effect: it was taken and not used. `self.dropout = nn.Dropout(dropout)`, and call it on the
    weights."""

    def __init__(self, d_model, num_heads, dropout=0.0):
        super().__init__(d_model, num_heads, 0.0)


@MultiHeadAttention.misconception(caught_by=test_dropout_falls_on_the_weights_and_only_in_training)
class HeadsThatAlwaysDrop(_InSteps):
    """Dropout fell in evaluation mode, too, so the same question gets another answer each time. `F.dropout(x, p)` drops
    unless it is told `training=self.training`; the layer `nn.Dropout(p)` knows by itself."""

    def __init__(self, d_model, num_heads, dropout=0.0):
        super().__init__(d_model, num_heads, dropout)
        self.p = dropout

    def dropped(self, x):
        return nn.functional.dropout(x, self.p)

    def attend(self, q, k, v, mask):
        return self.dropped(self.weights(self.scores(q, k), mask)) @ v


@MultiHeadAttention.misconception(caught_by=test_dropout_falls_on_the_weights_and_only_in_training)
class HeadsThatDropScores(_InSteps):
    """Dropout fell on the scores, before the softmax. A score of 0 does not mean "not attended to": e⁰ = 1 is an
    ordinary share. Drop the weights, after the softmax."""

    def attend(self, q, k, v, mask):
        return self.weights(self.dropout(self.scores(q, k)), mask) @ v


@MultiHeadAttention.misconception(caught_by=test_dropout_falls_on_the_weights_and_only_in_training)
class HeadsThatDropOut(_InSteps):
    """Whole heads were dropped: all the weights of a head at once. It has been tried (DropHead), and is another
    medicine. Here each weight is dropped by itself."""

    def attend(self, q, k, v, mask):
        weights = self.weights(self.scores(q, k), mask)
        return weights * self.dropout(torch.ones_like(weights[..., :1, :1])) @ v


@MultiHeadAttention.misconception(caught_by=test_dropout_falls_on_the_weights_and_only_in_training)
class HeadsThatLoseWholeKeys(_InSteps):
    """Whole keys were dropped: what one query misses, all miss. Here each weight is dropped by itself, so every query
    misses something else."""

    def attend(self, q, k, v, mask):
        weights = self.weights(self.scores(q, k), mask)
        return weights * self.dropout(torch.ones_like(weights[..., :1, :])) @ v


@MultiHeadAttention.misconception(caught_by=test_dropout_falls_on_the_weights_and_only_in_training)
class HeadsThatDropValues(_InSteps):
    """Dropout fell on the values. Then single numbers of what a word has to tell are lost, for all who ask. Here it
    falls on the weights: a query misses a word altogether."""

    def attend(self, q, k, v, mask):
        return self.weights(self.scores(q, k), mask) @ self.dropout(v)


@MultiHeadAttention.misconception(caught_by=test_dropout_falls_on_the_weights_and_only_in_training)
class HeadsThatDropTheirAnswers(_InSteps):
    """Dropout fell on single numbers of what the heads found. Here it falls on the weights: after the softmax, before
    they meet the values. Then a head misses whole keys, not a number here and there."""

    def attend(self, q, k, v, mask):
        return self.dropout(self.weights(self.scores(q, k), mask) @ v)


@MultiHeadAttention.misconception(caught_by=test_dropout_falls_on_the_weights_and_only_in_training)
class HeadsThatDropTheOutput(_InSteps):
    """Dropout fell on the numbers that come out of `W_o`. The Transformer drops there too, outside of attention
    (chapter 12). Here it falls on the weights: after the softmax, before they meet the values."""

    def attend(self, q, k, v, mask):
        return self.weights(self.scores(q, k), mask) @ v

    def forward(self, query, key, value, mask=None):
        return self.dropout(super().forward(query, key, value, mask))


@MultiHeadAttention.misconception(caught_by=test_dropout_falls_on_the_weights_and_only_in_training)
class HeadsThatDropWithoutMakingUp(_InSteps):
    """Weights were dropped, and the others were not made larger to make up for it: in training, the answers are smaller
    than in evaluation. `nn.Dropout` divides what it keeps by 1 − p."""

    def attend(self, q, k, v, mask):
        weights = self.weights(self.scores(q, k), mask)
        keep = 1 - self.dropout.p if self.training else 1.0
        return keep * (self.dropout(weights) @ v)


@MultiHeadAttention.misconception(caught_by=test_dropout_falls_on_the_weights_and_only_in_training)
class HeadsThatNormaliseAgain(_InSteps):
    """After dropout the weights were divided by their sum, to make them a distribution again. Dropout is meant to
    disturb: a head may find nothing at all. Leave what `nn.Dropout` made."""

    def attend(self, q, k, v, mask):
        weights = self.dropout(self.weights(self.scores(q, k), mask))
        return weights / weights.sum(-1, keepdim=True).clamp(min=1e-9) @ v


@MultiHeadAttention.misconception(caught_by=test_heads_must_divide_d_model)
class HeadsThatDoNotDivide(_InSteps):
    """A `d_model` that `num_heads` does not divide was taken without a word. It would fail later, far from its cause,
    or lose columns. Say so in `__init__`: `if d_model % num_heads: raise ValueError(…)`."""

    def __init__(self, d_model, num_heads, dropout=0.0):
        super().__init__(d_model, 1, dropout)
        self.num_heads = num_heads


@MultiHeadAttention.misconception(caught_by=test_heads_must_divide_d_model)
class HeadsThatAssert(HeadsThatDoNotDivide):
    """A `d_model` that `num_heads` does not divide was refused, but by an `assert`, which raises AssertionError and is
    left out when Python runs with `-O`. It is for what cannot happen; a wrong argument is a `ValueError`."""

    def __init__(self, d_model, num_heads, dropout=0.0):
        if d_model % num_heads:
            raise AssertionError
        super().__init__(d_model, num_heads, dropout)


@MultiHeadAttention.misconception(caught_by=test_the_module_leaves_its_inputs_alone)
class HeadsThatWriteIntoTheirInputs(_InSteps):
    """The answer is right, but a tensor of the caller's is changed afterwards. Functions with a `_` at the end of their
    names, such as `masked_fill_`, write into what they are called on; so does `+=`."""

    def forward(self, query, key, value, mask=None):
        out = super().forward(query, key, value, mask)
        with torch.no_grad():
            value *= 0.5
        return out


@MultiHeadAttention.misconception(caught_by=test_the_module_leaves_its_inputs_alone)
class HeadsOfOneFormat(_InSteps):
    """The answer is in float32, whatever went in: something on the way was made with `.float()`, or with a fixed dtype.
    Follow the inputs."""

    def attend(self, q, k, v, mask):
        return super().attend(q.float(), k.float(), v.float(), mask).to(q.dtype)


@MultiHeadAttention.misconception(caught_by=test_the_module_has_four_layers_with_biases)
class HeadsThatShareALayer(_InSteps):
    """`self.W_q = self.W_k = … = layer` is *one* layer with four names, not four layers: queries, keys and values are
    all the same. Make a new `nn.Linear` for each."""

    def make_layers(self, d_model):
        self.W_q = self.W_k = self.W_v = self.W_o = nn.Linear(d_model, d_model)


@MultiHeadAttention.misconception(caught_by=test_the_module_gives_the_numbers_of_pytorch)
class HeadsThatKeepInPlaceOfDrop(_InSteps):
    """`nn.Dropout(1 - dropout)`: the number that it takes is the share that is *dropped*, not the one that is kept.
    With `dropout=0.0` everything was dropped."""

    def __init__(self, d_model, num_heads, dropout=0.0):
        super().__init__(d_model, num_heads, 1 - dropout)


@MultiHeadAttention.misconception(caught_by=test_the_module_obeys_its_mask_in_every_head)
class HeadsThatRememberTheirMask(_InSteps):
    """The mask of one call was kept, and used in the next, which had none. What belongs to one call is no attribute of
    the module: leave the mask a local name."""

    mask = None

    def forward(self, query, key, value, mask=None):
        self.mask = self.mask if mask is None else mask
        return super().forward(query, key, value, self.mask)


@MultiHeadAttention.misconception(caught_by=test_the_module_obeys_its_mask_in_every_head)
class HeadsThatAddTheMask(_InSteps):
    """The mask was added to the scores: True became 1, False became 0, and nothing was forbidden. Some libraries add a
    mask of 0 and −∞; a boolean one says where the −∞ goes."""

    def weights(self, scores, mask):
        return torch.softmax(scores if mask is None else scores + mask, dim=-1)


@MultiHeadAttention.misconception(caught_by=test_the_module_obeys_its_mask_in_every_head)
class HeadsWithAnAxisMoreInTheMask(_InSteps):
    """The mask was given an axis for the heads, `mask.unsqueeze(1)`, which it has or does not need: masks here
    broadcast to (B, H, T, S) as they come. Hand it on as it is."""

    def forward(self, query, key, value, mask=None):
        return super().forward(query, key, value, None if mask is None else mask.unsqueeze(1))


@MultiHeadAttention.alternative
class HeadsByALoop(nn.Module):
    def __init__(self, d_model, num_heads, dropout=0.0, **unused):
        super().__init__()
        if d_model % num_heads != 0:
            raise ValueError("does not divide")
        self.h, self.p = num_heads, dropout
        self.W_o = nn.Linear(d_model, d_model)
        self.W_v = nn.Linear(d_model, d_model)
        self.W_k = nn.Linear(d_model, d_model)
        self.W_q = nn.Linear(d_model, d_model)

    def forward(self, query, key, value, mask=None):
        q, k, v = (W(x).chunk(self.h, -1) for W, x in ((self.W_q, query), (self.W_k, key), (self.W_v, value)))
        shape = (query.shape[0], self.h, query.shape[1], key.shape[1])
        masks = [None] * self.h if mask is None else mask.expand(shape).unbind(1)
        found = []
        for h in range(self.h):
            weights = attention_weights(q[h], k[h], masks[h])
            found.append(nn.functional.dropout(weights, self.p, training=self.training) @ v[h])
        return self.W_o(torch.cat(found, -1))


@MultiHeadAttention.alternative
class HeadsWithTheirScaleInABuffer(_InSteps):
    scale: torch.Tensor

    def __init__(self, d_model, num_heads, dropout=0.0):
        super().__init__(d_model, num_heads, dropout)
        self.register_buffer("scale", torch.tensor((d_model // num_heads) ** -0.5), persistent=False)
        self.seen = None

    def scores(self, q, k):
        return torch.einsum("bhtd,bhsd->bhts", q, k) * self.scale

    def attend(self, q, k, v, mask):
        self.seen = self.weights(self.scores(q, k), mask)
        return self.dropout(self.seen) @ v


@MultiHeadAttention.alternative
class HeadsByTheKernel(_InSteps):
    def attend(self, q, k, v, mask):
        p = self.dropout.p if self.training else 0.0
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)


@MultiHeadAttention.alternative
class HeadsInOneProduct(_InSteps):
    def forward(self, query, key, value, mask=None, need_weights=False):
        if query is key is value:
            W = torch.cat([self.W_q.weight, self.W_k.weight, self.W_v.weight])
            bias = torch.cat([self.W_q.bias, self.W_k.bias, self.W_v.bias])
            q, k, v = (self.split(x) for x in nn.functional.linear(query, W, bias).chunk(3, -1))
            return self.W_o(self.merge(self.attend(q, k, v, mask)))
        return super().forward(query, key, value, mask)
