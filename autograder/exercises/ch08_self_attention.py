"""Chapter 8, self-attention: one sequence asks, answers and delivers."""

from dataclasses import dataclass, field
from itertools import permutations

import torch

from attnlab import self_attention as reference
from attnlab.masks import masked_softmax
from autograder import expect
from autograder.exercise import Exercise

LIBRARY_ATTENTION = (
    "torch.nn.functional.scaled_dot_product_attention",
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.MultiheadAttention",
    "attnlab.dot_product.attention_weights",
    "attnlab.dot_product.scaled_dot_product_attention",
)
A, B, T, D_MODEL, D_K, D_V = 2, 3, 5, 7, 11, 13
SQUARE = 5  # all sizes alike: no shape warns of a mistake
MATRICES = ("W_q", "W_k", "W_v")


def _draw(rng, *shapes, dtype=torch.float64):
    return [torch.tensor(rng.normal(size=shape), dtype=dtype) for shape in shapes]


def _sequence(rng, front=(), T=T, d_model=D_MODEL, d_k=D_K, d_v=D_V, dtype=torch.float64):
    """x and three matrices that make queries, keys and values of entries near 1."""
    x, *W = _draw(rng, (*front, T, d_model), (d_model, d_k), (d_model, d_k), (d_model, d_v), dtype=dtype)
    return x, *(M / d_model**0.5 for M in W)


def _square(rng, front=()):
    return _sequence(rng, front, SQUARE, SQUARE, SQUARE, SQUARE)


def _gaps(x):
    """The same numbers as a view: its axes lie in another order in memory, with gaps between the entries."""
    return torch.stack([x.mT, x.mT], -1).contiguous()[..., 0].mT


EDITS = "Does `*=`, `/=` or a function with a `_` at its end write into it?"


# ------------------------------------------------------------------------------------------------------- project_qkv

project_qkv = Exercise("project_qkv", chapter=8, reference=reference.project_qkv, minutes=5, difficulty=1)


def _three(answer, want, cause=""):
    """Compare queries, keys and values, each by its name."""
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        shown = f"{len(answer)} things" if isinstance(answer, tuple | list) else expect.named(answer)
        raise expect.CheckFailure(
            f"Your function returned {shown}; the three tensors q, k and v were expected.",
            "Does it end with `return q, k, v`?",
        )
    for name, got, wanted in zip("qkv", answer, want, strict=True):
        try:
            expect.close(got, wanted, cause)
        except expect.CheckFailure as failure:
            failure.what = f"In {name}: {failure.what[0].lower()}{failure.what[1:]}"
            raise


@project_qkv.check(points=1)
def test_project_of_known_numbers(student, rng):
    """The row `[1, 2]` becomes the query `[1, 4]`, the key `[2, 3]` and the value `[3, 0, −1]`, each by its matrix."""
    x = torch.tensor([[1.0, 2.0]])
    W_q, W_k = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    W_v = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, -1.0]])
    want = [torch.tensor([row]) for row in ([1.0, 4.0], [2.0, 3.0], [3.0, 0.0, -1.0])]
    _three(student.project_qkv(x, W_q, W_k, W_v), want, "Is it x times the matrix, row by row, and nothing else?")


@project_qkv.check(points=1)
def test_each_of_the_three_has_a_matrix_of_its_own(student, rng):
    """Queries are made by W_q, keys by W_k, values by W_v, and they come back in this order."""
    inputs = _sequence(rng)
    want = reference.project_qkv(*inputs)
    _three(student.project_qkv(*inputs), want, "Which matrix makes this one, and from what?")
    inputs = _square(rng)
    want = reference.project_qkv(*inputs)
    _three(student.project_qkv(*inputs), want, "Where all sizes are equal no shape warns: x @ W, or something else?")


@project_qkv.check(points=1)
def test_project_keeps_the_batch(student, rng):
    """Axes in front are kept: a batch of sequences becomes a batch of queries, of keys and of values."""
    for inputs in (_sequence(rng, (B,)), _sequence(rng, (A, B)), _square(rng, (SQUARE,))):
        want = reference.project_qkv(*inputs)
        _three(student.project_qkv(*inputs), want, "Does the matrix meet the last axis alone?")


@project_qkv.check(points=1)
def test_project_takes_every_kind_of_tensor(student, rng):
    """It is right for float32, views with gaps and a single row, gradients flow back, and all four tensors are the same
    afterwards."""
    for front, n in (((B,), T), ((), 1)):
        inputs = [_gaps(x) for x in _sequence(rng, front, T=n, dtype=torch.float32)]
        want = reference.project_qkv(*inputs)
        _three(student.project_qkv(*inputs), want, "Do you count on how the numbers lie in memory?")
    x, *W = _sequence(rng)
    want = reference.project_qkv(1e6 * x, *W)
    _three(student.project_qkv(1e6 * x, *W), want, "Are large numbers left as they are?")
    came = student.project_qkv.gradients(x, *W, cotangent=torch.ones(T, D_K))
    for name, gradient in (("x", came.inputs[0]), ("W_q", came.inputs[1])):
        expect.true(
            gradient is not None,
            f"No gradient of the queries reaches `{name}`: it would never learn.",
            "Was something detached, turned into NumPy, or not used at all?",
        )
    expect.unchanged(student, EDITS)


@project_qkv.inputs
def _rows_and_matrices(rng):
    for front in ((), (2,), (SQUARE,)) * 4:
        yield _square(rng, front), {}


@project_qkv.misconception(caught_by=test_each_of_the_three_has_a_matrix_of_its_own)
def ties_keys_to_queries(x, W_q, W_k, W_v):
    """Queries and keys are both made by W_q. Tied like this the scores are symmetric: no word can look at another
    unless it is looked at as much. Keys have their own matrix, W_k."""
    return x @ W_q, x @ W_q, x @ W_v


@project_qkv.misconception(caught_by=test_each_of_the_three_has_a_matrix_of_its_own)
def ties_queries_to_keys(x, W_q, W_k, W_v):
    """Queries and keys are both made by W_k. Tied like this the scores are symmetric, and W_q is never learned. Queries
    have their own matrix, W_q."""
    return x @ W_k, x @ W_k, x @ W_v


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def makes_all_three_alike(x, W_q, W_k, W_v):
    """One matrix made all three. What a word asks, what it offers and what it tells are three things, and there are
    three matrices for them."""
    return x @ W_q, x @ W_q, x @ W_q


@project_qkv.misconception(caught_by=test_each_of_the_three_has_a_matrix_of_its_own)
def takes_the_keys_for_values(x, W_q, W_k, W_v):
    """The keys were handed out as values. A key says where to look, a value what is found there; values are made by
    W_v."""
    return x @ W_q, x @ W_k, x @ W_k


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def takes_the_inputs_for_values(x, W_q, W_k, W_v):
    """The inputs themselves were handed out as values. What a position tells the others is decided by W_v: `x @
    W_v`."""
    return x @ W_q, x @ W_k, x


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def projects_nothing(x, W_q, W_k, W_v):
    """These are three copies of x, and no matrix was used. Then nothing about the attention can be learned."""
    return x, x, x


@project_qkv.misconception(caught_by=test_each_of_the_three_has_a_matrix_of_its_own)
def makes_each_from_the_one_before(x, W_q, W_k, W_v):
    """Keys were made from the queries, and values from the keys. All three are views of the same x: `x @ W_q`, `x @
    W_k`, `x @ W_v`."""
    q = x @ W_q
    k = q @ W_k
    return q, k, k @ W_v


@project_qkv.misconception(caught_by=test_each_of_the_three_has_a_matrix_of_its_own)
def makes_values_from_the_keys(x, W_q, W_k, W_v):
    """The values were made from the keys, not from x. All three are views of the same x: `x @ W_v`."""
    k = x @ W_k
    return x @ W_q, k, k @ W_v


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def turns_the_matrices_over(x, W_q, W_k, W_v):
    """This is `x @ W.T`. A layer of PyTorch keeps its matrix like that, as (d_out, d_in); here a matrix has the shape
    (d_model, d_k), as in the papers, and the product is `x @ W`."""
    return x @ W_q.T, x @ W_k.T, x @ W_v.T


@project_qkv.misconception(caught_by=test_each_of_the_three_has_a_matrix_of_its_own)
def multiplies_from_the_left(x, W_q, W_k, W_v):
    """This is `W @ x`, which mixes *positions* and leaves the features of each alone. A row of x is a word; to change
    its features the matrix stands on the right: `x @ W`."""
    return W_q @ x, W_k @ x, W_v @ x


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def multiplies_from_the_left_turned(x, W_q, W_k, W_v):
    """This is `W.T @ x.T`: right for one vector that stands upright, as many books write it. Here words are *rows*, so
    the answer comes out lying on its side. Write `x @ W`."""
    return W_q.T @ x.mT, W_k.T @ x.mT, W_v.T @ x.mT


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def returns_keys_first(x, W_q, W_k, W_v):
    """Keys come first here. The order is q, k, v."""
    return x @ W_k, x @ W_q, x @ W_v


@project_qkv.misconception(caught_by=test_each_of_the_three_has_a_matrix_of_its_own)
def returns_values_before_keys(x, W_q, W_k, W_v):
    """Values come before keys here. The order is q, k, v."""
    return x @ W_q, x @ W_v, x @ W_k


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def glues_them_together(x, W_q, W_k, W_v):
    """The three were glued together into one tensor. Return them apart, `q, k, v`: a tuple of three."""
    return torch.cat([x @ W_q, x @ W_k, x @ W_v], dim=-1)


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def stacks_them(x, W_q, W_k, W_v):
    """The three were stacked into one tensor, which needs values as wide as keys. They may be wider or narrower. Return
    a tuple of three tensors, `q, k, v`."""
    return torch.stack([x @ W_q, x @ W_k, x @ W_v])


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def cuts_into_equal_thirds(x, W_q, W_k, W_v):
    """One product with all three matrices side by side, then three equal pieces: values need not be as wide as keys.
    Cut at the true widths, `.split([d_k, d_k, d_v], dim=-1)`, or write three products."""
    return (x @ torch.cat([W_q, W_k, W_v], dim=-1)).chunk(3, dim=-1)


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def scales_queries_already(x, W_q, W_k, W_v):
    """The queries are divided by √d_k already. That belongs to the attention, which divides its scores; here it would
    make it twice."""
    return x @ W_q / W_q.shape[-1] ** 0.5, x @ W_k, x @ W_v


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def bends_them(x, W_q, W_k, W_v):
    """A tanh was put on the projections. Chapter 3 had one inside its score; here a projection is a matrix product and
    nothing more."""
    return torch.tanh(x @ W_q), torch.tanh(x @ W_k), torch.tanh(x @ W_v)


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def cuts_off_what_is_negative(x, W_q, W_k, W_v):
    """A ReLU was put on the projections: what is negative became 0. Queries, keys and values may have either sign."""
    return torch.relu(x @ W_q), torch.relu(x @ W_k), torch.relu(x @ W_v)


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def makes_them_shares(x, W_q, W_k, W_v):
    """A softmax was put on the projections, so that the features of each row sum to one. The softmax comes later, on
    the scores."""
    return tuple(torch.softmax(x @ W, dim=-1) for W in (W_q, W_k, W_v))


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def brings_them_to_one_length(x, W_q, W_k, W_v):
    """Queries and keys were brought to length 1. Then scores are cosines. It has been done; it was not asked for."""
    q, k = x @ W_q, x @ W_k
    return q / q.norm(dim=-1, keepdim=True), k / k.norm(dim=-1, keepdim=True), x @ W_v


@project_qkv.misconception(caught_by=test_project_keeps_the_batch)
def projects_one_sequence_only(x, W_q, W_k, W_v):
    """This is right for one sequence and takes no axes in front of it. `x @ W` does: it works on the last axis of x;
    `torch.mm` does not, nor does einsum without `...`."""
    return torch.mm(x, W_q), torch.mm(x, W_k), torch.mm(x, W_v)


@project_qkv.misconception(caught_by=test_project_keeps_the_batch)
def loses_the_batch(x, W_q, W_k, W_v):
    """The batch was laid end to end, as if it were one long sequence, and not taken apart again. `x @ W` keeps all axes
    in front by itself."""
    rows = x.reshape(-1, x.shape[-1])
    return rows @ W_q, rows @ W_k, rows @ W_v


@project_qkv.misconception(caught_by=test_project_takes_every_kind_of_tensor)
def project_that_edits_x(x, W_q, W_k, W_v):
    """The answer is right, but the caller's x is changed. `x *= …` and `x /= …` write into the tensor that was passed
    in."""
    answer = reference.project_qkv(x, W_q, W_k, W_v)
    x *= 0.5
    return answer


@project_qkv.misconception(caught_by=test_project_takes_every_kind_of_tensor)
def project_by_view(x, W_q, W_k, W_v):
    """This counts on how the numbers of x lie in memory: `view` refuses a tensor with gaps. `x @ W` needs no new shape;
    where one is needed, `reshape` takes every tensor."""
    rows = x.view(-1, x.shape[-1])
    return tuple((rows @ W).view(*x.shape[:-1], -1) for W in (W_q, W_k, W_v))


@project_qkv.misconception(caught_by=test_project_takes_every_kind_of_tensor)
def projects_without_gradient(x, W_q, W_k, W_v):
    """The numbers are right, and nothing can be learned from them: they were computed under `torch.no_grad()`, in
    NumPy, or detached. `x @ W_q` keeps the way back to both."""
    return tuple(y.detach() for y in reference.project_qkv(x, W_q, W_k, W_v))


@project_qkv.misconception(caught_by=test_project_of_known_numbers)
def multiplies_entry_by_entry(x, W_q, W_k, W_v):
    """`*` multiplies entry by entry, where shapes allow it at all. A row times a matrix is `@`: products *and* their
    sums."""
    return x * W_q, x * W_k, x * W_v


@project_qkv.alternative
def project_by_einsum(x, W_q, W_k, W_v, bias=None):
    return [torch.einsum("...td,dk->...tk", x, W) for W in (W_q, W_k, W_v)]


@project_qkv.alternative
def project_in_one_product(x, W_q, W_k, W_v):
    widths = [W.shape[-1] for W in (W_q, W_k, W_v)]
    return (x @ torch.cat([W_q, W_k, W_v], dim=-1)).split(widths, dim=-1)


@project_qkv.alternative
def project_by_linear(x, W_q, W_k, W_v):
    return tuple(torch.nn.functional.linear(x, W.T) for W in (W_q, W_k, W_v))


# ---------------------------------------------------------------------------------------------------- self_attention

self_attention = Exercise(
    "self_attention",
    chapter=8,
    reference=reference.self_attention,
    minutes=20,
    difficulty=2,
    forbidden=LIBRARY_ATTENTION,
)


def _with_mask(student, inputs, mask, cause):
    x, W_q, W_k, W_v = inputs
    want = reference.self_attention(x, W_q, W_k, W_v, mask)
    expect.close(student.self_attention(x, W_q, W_k, W_v, mask=mask), want, cause)


@self_attention.check(points=2)
def test_attention_of_known_numbers(student, rng):
    """With weights ½, ½ and ¼, ¾ over the values 8 and 16, the two positions take 12 and 14."""
    W_q, W_k = torch.zeros(2, 4), torch.zeros(2, 4)
    W_q[1, 0], W_k[1, 0] = 2.0, torch.log(torch.tensor(3.0))
    W_v = torch.tensor([[8.0], [16.0]])
    expect.close(
        student.self_attention(torch.eye(2), W_q, W_k, W_v),
        torch.tensor([[12.0], [14.0]]),
        "The scores of the second row are 0 and 2 ln 3: are they divided by √d_k = 2, and shared out along the row?",
    )


@self_attention.check(points=2)
def test_each_position_asks_all_positions(student, rng):
    """Each position averages the values of all positions, its own too, by softmax(q kᵀ / √d_k) along its row."""
    inputs = _sequence(rng)
    want = reference.self_attention(*inputs)
    expect.close(student.self_attention(*inputs), want, "What is compared, what is divided by what, what is averaged?")
    inputs = _square(rng)
    want = reference.self_attention(*inputs)
    cause = "Where all sizes are equal no shape warns: are the *values* averaged, and do the *keys* compete?"
    expect.close(student.self_attention(*inputs), want, cause)


@self_attention.check(points=1)
def test_attention_keeps_the_batch(student, rng):
    """Axes in front are kept: every sequence looks at itself, and never at another."""
    for inputs in (_sequence(rng, (B,)), _sequence(rng, (A, B)), _square(rng, (SQUARE,))):
        want = reference.self_attention(*inputs)
        expect.close(
            student.self_attention(*inputs), want, "Which two axes of k change places, which axis is shared out?"
        )


@self_attention.check(points=2)
def test_attention_obeys_its_mask(student, rng):
    """Where the mask is False a position gets no weight, whatever its score; a mask broadcasts to (…, T, T)."""
    x, *W = _sequence(rng, (B,))
    causal = torch.ones(T, T, dtype=torch.bool).tril()
    padding = torch.arange(T) < torch.tensor([T, 2, 3])[:, None, None]
    _with_mask(student, (x, *W), causal, "This mask is causal. Are scores forbidden before the softmax?")
    _with_mask(student, (x, *W), padding, "This mask hides padding, (B, 1, T). Is it the keys that are hidden?")
    x = 40 * x
    scores = (x @ W[0]) @ (x @ W[1]).mT
    lowest = scores == scores.amin(-1, keepdim=True)
    cause = "Only the lowest score of each row is permitted. What stands in for one that is forbidden?"
    _with_mask(student, (x, *W), lowest, cause)


@self_attention.check(points=1)
def test_attention_to_nothing_is_zero(student, rng):
    """A position that may look at nothing gets zeros; the others do not notice."""
    x, *W = _sequence(rng, (B,))
    mask = torch.tensor(rng.random((T, T)) < 0.5) | torch.eye(T, dtype=torch.bool)
    mask[1] = mask[3] = False
    _with_mask(student, (x, *W), mask, "The softmax of nothing but −∞ is 0/0: what did chapter 5 do?")


@self_attention.check(points=2)
def test_gradients_of_attention_reach_all_inputs(student, rng):
    """The gradients of x and of all three matrices are those of the formula."""
    inputs = _sequence(rng, (B,))
    (g,) = _draw(rng, (B, T, D_V))
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = reference.self_attention(*leaves)
    wanted = torch.autograd.grad((value * g).sum(), leaves)
    came = student.self_attention.gradients(*inputs, cotangent=g)
    expect.close(came.value, value, "Is it the answer that you give without gradients, too?")
    _gradients(("x", *MATRICES), came.inputs, wanted)


def _gradients(names, found, wanted):
    for name, gradient, right in zip(names, found, wanted, strict=True):
        expect.true(
            gradient is not None,
            f"No gradient reaches `{name}`: it would never learn.",
            "Was something detached, turned into NumPy, or not used at all?",
        )
        expect.close(gradient, right, f"This is the gradient of `{name}`. Is the way there all PyTorch?", 1e-4)


@self_attention.check(points=1)
def test_attention_takes_every_kind_of_tensor(student, rng):
    """It is right for float32, views with gaps, one position, scores in the thousands; inputs are the same
    afterwards."""
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    inputs = [*(_gaps(x) for x in _sequence(rng, (B,), dtype=torch.float32)), mask]
    want = reference.self_attention(*inputs)
    expect.close(student.self_attention(*inputs), want, "Do you count on how the numbers lie in memory?")
    inputs = _sequence(rng, T=1)
    want = reference.self_attention(*inputs)
    expect.close(student.self_attention(*inputs), want, "An only position looks at itself. Does it get its own value?")
    x, *W = _sequence(rng)
    want = reference.self_attention(100 * x, *W)
    expect.close(student.self_attention(100 * x, *W), want, "exp of a thousand is ∞. What does chapter 1 do about it?")
    expect.unchanged(student, EDITS)


@self_attention.inputs
def _sequences_and_masks(rng):
    for i in range(18):
        front, n = ((), (2,), (SQUARE,))[i % 3], SQUARE
        mask = (None, torch.ones(n, n, dtype=torch.bool).tril(), torch.tensor(rng.random((n, n)) < 0.4))[i // 3 % 3]
        yield _square(rng, front), {} if mask is None else {"mask": mask}


def _steps(x, W_q, W_k, W_v, mask=None, *, scores=None, weights=masked_softmax, project=reference.project_qkv):
    """The reference in steps, which a wrong answer can replace one by one."""
    q, k, v = project(x, W_q, W_k, W_v)
    return weights(_scaled(q, k) if scores is None else scores(q, k), mask) @ v


def _scaled(q, k, divisor=None):
    return q @ k.mT / (k.shape[-1] ** 0.5 if divisor is None else divisor)


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def averages_the_inputs(x, W_q, W_k, W_v, mask=None):
    """The *inputs* x were averaged where the values are meant. Then W_v has no part in it, and what a word tells the
    others cannot be learned. Average `v = x @ W_v`."""
    return _steps(x, W_q, W_k, W_v, mask, project=lambda x, *W: (x @ W_q, x @ W_k, x))


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def adds_the_input_again(x, W_q, W_k, W_v, mask=None):
    """The input was added to the answer, where the widths allow it. That is a residual connection, which chapter 11
    puts *around* attention; attention itself gives the averages alone."""
    out = _steps(x, W_q, W_k, W_v, mask)
    return out + x if out.shape == x.shape else out


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def averages_the_keys(x, W_q, W_k, W_v, mask=None):
    """The keys were averaged where the values are meant. Keys say where to look, values what one takes home."""
    return _steps(x, W_q, W_k, W_v, mask, project=lambda x, *W: (x @ W_q, x @ W_k, x @ W_k))


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def averages_the_queries(x, W_q, W_k, W_v, mask=None):
    """The queries were averaged where the values are meant. What a word wants to know is not what it has to tell."""
    return _steps(x, W_q, W_k, W_v, mask, project=lambda x, *W: (x @ W_q, x @ W_k, x @ W_q))


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def compares_each_with_itself(x, W_q, W_k, W_v, mask=None):
    """Each element was compared only with itself: `(q * k).sum(-1)` is one score a position, and these were shared out
    over the sequence. Self-attention compares every position with *every* position, a table (T, T): `q @ k.mT`."""
    q, k, v = reference.project_qkv(x, W_q, W_k, W_v)
    return torch.softmax((q * k).sum(-1) / k.shape[-1] ** 0.5, -1)[..., None] * v


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def looks_only_at_itself(x, W_q, W_k, W_v, mask=None):
    """Every position gave all its weight to itself, so these are the values, unmixed. The softmax ran over a single
    number, whose share is always 1. It must run over all positions: a row of the table `q @ k.mT`."""
    return x @ W_v


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def may_not_look_at_itself(x, W_q, W_k, W_v, mask=None):
    """The diagonal was forbidden: no position may look at itself. In self-attention it may, and often should: nothing
    but the mask that is passed in forbids anything."""
    others = ~torch.eye(x.shape[-2], dtype=torch.bool)
    return _steps(x, W_q, W_k, W_v, others if mask is None else mask & others)


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def looks_only_back(x, W_q, W_k, W_v, mask=None):
    """A causal mask was built in: nobody looks at what comes later. That is for models that write. Here the caller says
    who may look at whom, by the mask that is passed in."""
    past = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool).tril()
    return _steps(x, W_q, W_k, W_v, past if mask is None else mask & past)


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def takes_the_sigmoid(x, W_q, W_k, W_v, mask=None):
    """The sigmoid of each score was taken in place of the softmax of a row. Then the weights of a row do not add up to
    one, and positions do not compete."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: torch.sigmoid(s) * (1 if m is None else m))


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def divides_sigmoids_by_their_sum(x, W_q, W_k, W_v, mask=None):
    """The sigmoids of the scores were divided by their sum. That adds up to one, but it is no softmax: a sigmoid never
    exceeds 1, so no position can stand out by much. Softmax divides exponentials by their sum."""

    def weights(s, m):
        s = torch.sigmoid(s) * (1 if m is None else m)
        return s / s.sum(-1, keepdim=True)

    return _steps(x, W_q, W_k, W_v, mask, weights=weights)


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def takes_only_the_greatest(x, W_q, W_k, W_v, mask=None):
    """Each position took the value of the greatest score alone. That is a dictionary, and no gradient comes back
    through it to W_q and W_k. Softmax takes of each value a share."""

    def weights(s, m):
        s = s if m is None else s.masked_fill(~m, -torch.inf)
        return torch.nn.functional.one_hot(s.argmax(-1), s.shape[-1]).to(s.dtype)

    return _steps(x, W_q, W_k, W_v, mask, weights=weights)


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def forgets_the_softmax(x, W_q, W_k, W_v, mask=None):
    """The scores themselves were used as weights: the softmax is missing."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: s * (1 if m is None else m))


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def takes_the_softmax_twice(x, W_q, W_k, W_v, mask=None):
    """There are two softmaxes, one after the other. The second sees numbers between 0 and 1, and makes nearly equal
    weights of them."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: masked_softmax(masked_softmax(s, m), m))


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def lets_the_queries_compete(x, W_q, W_k, W_v, mask=None):
    """The softmax runs down the columns, over the queries. But it is a query that shares out its look among the keys:
    along a row, `dim=-1`."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: masked_softmax(s, m, -2))


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def shares_out_along_the_first_axis(x, W_q, W_k, W_v, mask=None):
    """The softmax runs over axis 0. For one sequence that is the queries, with a batch in front it is the sequences. It
    is the keys that compete: `dim=-1`."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: masked_softmax(s, m, 0))


@self_attention.misconception(caught_by=test_attention_keeps_the_batch)
def counts_the_axis_from_the_front(x, W_q, W_k, W_v, mask=None):
    """The softmax runs over axis 1. For one sequence that is the keys; with a batch in front it is the queries. Count
    from the end: `dim=-1`."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: masked_softmax(s, m, 1))


@self_attention.misconception(caught_by=test_attention_keeps_the_batch)
def leaves_the_axis_to_pytorch(x, W_q, W_k, W_v, mask=None):
    """`softmax` was not told its axis. PyTorch then guesses, and warns: for three axes it takes the first, the batch,
    so that sequences compete with one another. Write `dim=-1`."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: masked_softmax(s, m, 0 if s.ndim in (0, 1, 3) else 1))


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def shares_out_the_whole_table(x, W_q, W_k, W_v, mask=None):
    """The softmax runs over the whole table, so that all weights together make one. Every *row* has one look to spend:
    `dim=-1`."""

    def weights(s, m):
        s = s if m is None else s.masked_fill(~m, -torch.inf)
        return torch.softmax(s.flatten(-2), -1).reshape(s.shape)

    return _steps(x, W_q, W_k, W_v, mask, weights=weights)


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def forgets_the_scale(x, W_q, W_k, W_v, mask=None):
    """The scores are not divided by √d_k. At the width of a real model untrained attention is then sure of itself, at
    random: chapter 4."""
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: q @ k.mT)


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def scales_twice(x, W_q, W_k, W_v, mask=None):
    """The scores were scaled twice, by √d_k and √d_k again, which makes d_k. Attention then drifts towards the plain
    mean. Divide q or the scores, not both."""
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: _scaled(q, k, k.shape[-1]))


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def scales_by_the_width_of_the_model(x, W_q, W_k, W_v, mask=None):
    """The scores were divided by √d_model. A score is a sum of d_k products, so √d_k is its size: the width of the
    *queries and keys*, not of x."""
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: _scaled(q, k, x.shape[-1] ** 0.5))


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def scales_by_the_length_of_the_sequence(x, W_q, W_k, W_v, mask=None):
    """The scores were divided by √T, the length of the sequence. A score is a sum of d_k products: divide by √d_k, the
    last axis of q."""
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: _scaled(q, k, k.shape[-2] ** 0.5))


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def scales_by_the_width_of_the_values(x, W_q, W_k, W_v, mask=None):
    """The scores were divided by √d_v, the width of the values, which have no part in the scores. Divide by √d_k."""
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: _scaled(q, k, W_v.shape[-1] ** 0.5))


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def multiplies_by_the_root(x, W_q, W_k, W_v, mask=None):
    """The scores were multiplied by √d_k. They are too large already, by that factor: divide."""
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: q @ k.mT * k.shape[-1] ** 0.5)


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def scales_after_the_softmax(x, W_q, W_k, W_v, mask=None):
    """The *weights* were divided by √d_k, after the softmax, so they no longer add up to one. The scale is for the
    scores."""
    return _steps(
        x,
        W_q,
        W_k,
        W_v,
        mask,
        scores=lambda q, k: q @ k.mT,
        weights=lambda s, m: masked_softmax(s, m) / W_q.shape[-1] ** 0.5,
    )


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def compares_directions(x, W_q, W_k, W_v, mask=None):
    """Queries and keys were brought to length 1, so the scores are cosines: none is above 1, and no word can be asked
    for with emphasis. The product itself is meant, lengths included, divided by √d_k."""
    unit = torch.nn.functional.normalize
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: unit(q, dim=-1) @ unit(k, dim=-1).mT)


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def asks_with_the_keys(x, W_q, W_k, W_v, mask=None):
    """W_k made both queries and keys, and W_q was not used. The scores are symmetric then: whoever is looked at must
    look back."""
    return _steps(x, W_k, W_k, W_v, mask)


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def answers_with_the_queries(x, W_q, W_k, W_v, mask=None):
    """W_q made both queries and keys, and W_k was not used. The scores are symmetric then: whoever is looked at must
    look back."""
    return _steps(x, W_q, W_q, W_v, mask)


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def compares_the_inputs(x, W_q, W_k, W_v, mask=None):
    """The inputs were compared with one another, x with x, and neither W_q nor W_k was used. Then nothing about *where*
    to look can be learned. Compare `x @ W_q` with `x @ W_k`."""
    return _steps(x, W_q, W_k, W_v, mask, project=lambda x, *W: (x, x, x @ W_v))


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def uses_the_matrices_turned_over(x, W_q, W_k, W_v, mask=None):
    """The products are `x @ W.T`. A layer of PyTorch keeps its matrix like that; here W_q has the shape (d_model, d_k),
    as in the papers, and the product is `x @ W_q`."""
    return _steps(x, W_q.T, W_k.T, W_v.T, mask)


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def turns_the_table_over(x, W_q, W_k, W_v, mask=None):
    """The table of scores is turned over, `k @ q.mT`: row t says how much *others* ask of t. A row belongs to the one
    who asks: `q @ k.mT`."""
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: _scaled(k, q))


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def compares_columns(x, W_q, W_k, W_v, mask=None):
    """Features were compared in place of positions, `q.mT @ k`: a table (d_k, d_k). Rows against rows, `q @ k.mT`,
    gives (T, T)."""
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: q.mT @ k / k.shape[-1] ** 0.5)


@self_attention.misconception(caught_by=test_attention_keeps_the_batch)
def attends_within_one_sequence_only(x, W_q, W_k, W_v, mask=None):
    """This is right for one sequence. On a batch `.T` reverses all axes, the batch too; `.mT` exchanges the last two
    alone."""
    q, k, v = reference.project_qkv(x, W_q, W_k, W_v)
    return masked_softmax(q @ k.permute(*range(k.ndim - 1, -1, -1)) / k.shape[-1] ** 0.5, mask) @ v


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def needs_a_batch(x, W_q, W_k, W_v, mask=None):
    """This names the axes 1 and 2, or uses `torch.bmm`: right for exactly one axis in front, and for nothing else.
    Count from the end, `-2` and `-1`."""
    q, k, v = reference.project_qkv(x, W_q, W_k, W_v)
    return torch.bmm(masked_softmax(torch.bmm(q, k.transpose(1, 2)) / k.shape[-1] ** 0.5, mask), v)


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def returns_the_weights(x, W_q, W_k, W_v, mask=None):
    """These are the weights, a table (T, T). What was asked for is what they are used for: `weights @ v`."""
    return masked_softmax(_scaled(x @ W_q, x @ W_k), mask)


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def returns_a_pair(x, W_q, W_k, W_v, mask=None):
    """A pair came back, the answer and the weights. Some libraries do that; here the answer alone was asked for."""
    weights = masked_softmax(_scaled(x @ W_q, x @ W_k), mask)
    return weights @ (x @ W_v), weights


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def adds_the_input(x, W_q, W_k, W_v, mask=None):
    """The input was added to the answer. Around attention in a Transformer there is such an addition, the residual of
    chapter 11; it is not part of attention itself."""
    return x + _steps(x, W_q, W_k, W_v, mask)


@self_attention.misconception(caught_by=test_attention_obeys_its_mask)
def ignores_the_mask(x, W_q, W_k, W_v, mask=None):
    """The mask has no effect: everybody is attended to, padding and future too. Forbid the scores before the softmax;
    `masked_softmax(scores, mask)` of chapter 5 does."""
    return _steps(x, W_q, W_k, W_v)


@self_attention.misconception(caught_by=test_attention_obeys_its_mask)
def reads_the_mask_the_other_way(x, W_q, W_k, W_v, mask=None):
    """The mask was read the other way round. `masked_fill(mask, …)` fills where the mask is *True*; here True means:
    may attend. Write `~mask`."""
    return _steps(x, W_q, W_k, W_v, None if mask is None else ~mask)


@self_attention.misconception(caught_by=test_attention_obeys_its_mask)
def turns_the_mask_over(x, W_q, W_k, W_v, mask=None):
    """The mask was turned over: queries were hidden where keys are meant. `mask[t, s]` says whether t may look at s."""
    return _steps(x, W_q, W_k, W_v, None if mask is None else mask.mT)


@self_attention.misconception(caught_by=test_attention_obeys_its_mask)
def masks_after_the_softmax(x, W_q, W_k, W_v, mask=None):
    """The weights were set to zero after the softmax, so what is left no longer adds up to one. Forbid the *scores*,
    with −∞, before the softmax."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: torch.softmax(s, -1) * (1 if m is None else m))


@self_attention.misconception(caught_by=test_attention_obeys_its_mask)
def masks_with_zero(x, W_q, W_k, W_v, mask=None):
    """A forbidden score was made 0, or multiplied by 0. But 0 is an ordinary score, and e⁰ = 1 an ordinary share. What
    forbids is −∞."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: torch.softmax(s * (1 if m is None else m), -1))


@self_attention.misconception(caught_by=test_attention_obeys_its_mask)
def adds_the_mask(x, W_q, W_k, W_v, mask=None):
    """The mask was added to the scores: True became 1, False became 0, and nothing was forbidden. What is added to a
    forbidden score is −∞; a boolean mask says where."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: torch.softmax(s + (0 if m is None else m), -1))


@self_attention.misconception(caught_by=test_attention_obeys_its_mask)
def masks_timidly(x, W_q, W_k, W_v, mask=None):
    """A forbidden score was replaced by a number that looks low, such as −20. A permitted score may lie below it. −∞
    lies below everything."""

    def weights(s, m):
        return masked_softmax(s, m) if m is None else torch.softmax(s.masked_fill(~m, -20.0), -1)

    return _steps(x, W_q, W_k, W_v, mask, weights=weights)


@self_attention.misconception(caught_by=test_attention_to_nothing_is_zero)
def divides_nothing_by_nothing(x, W_q, W_k, W_v, mask=None):
    """A row in which everything is forbidden came out as NaN: the softmax of nothing but −∞ is 0/0. Such a position
    gets zeros. `masked_softmax` of chapter 5 takes care of that."""

    def weights(s, m):
        return torch.softmax(s if m is None else s.masked_fill(~m, -torch.inf), -1)

    return _steps(x, W_q, W_k, W_v, mask, weights=weights)


@self_attention.misconception(caught_by=test_attention_to_nothing_is_zero)
def looks_everywhere_where_nothing_is_allowed(x, W_q, W_k, W_v, mask=None):
    """A row in which everything is forbidden became an average of everything: a large negative number, such as −1e9, is
    in all places alike, and softmax sees differences only. Such a position gets zeros."""

    def weights(s, m):
        return torch.softmax(s if m is None else s.masked_fill(~m, -1e9), -1)

    return _steps(x, W_q, W_k, W_v, mask, weights=weights)


@self_attention.misconception(caught_by=test_gradients_of_attention_reach_all_inputs)
def gives_no_gradient(x, W_q, W_k, W_v, mask=None):
    """The answer is right, and nothing can be learned from it: it was computed in NumPy, or under `torch.no_grad()`, or
    detached. Use PyTorch's functions all the way."""
    return reference.self_attention(x, W_q, W_k, W_v, mask).detach()


@self_attention.misconception(caught_by=test_gradients_of_attention_reach_all_inputs)
def detaches_the_weights(x, W_q, W_k, W_v, mask=None):
    """The answer is right, but the weights were detached on their way, so W_q and W_k get no gradient and never learn
    where to look. Leave out `.detach()`, `.data`, `.numpy()` and `torch.tensor(…)`."""
    return _steps(x, W_q, W_k, W_v, mask, weights=lambda s, m: masked_softmax(s, m).detach())


@self_attention.misconception(caught_by=test_attention_takes_every_kind_of_tensor)
def overflows(x, W_q, W_k, W_v, mask=None):
    """The weights are exp divided by the sum of exp, as printed. Scores in the thousands overflow, and ∞/∞ is NaN.
    `torch.softmax` and `masked_softmax` subtract the maximum of each row first."""

    def weights(s, m):
        e = torch.exp(s) * (1 if m is None else m)
        return torch.nan_to_num(e / e.sum(-1, keepdim=True)) if m is not None else e / e.sum(-1, keepdim=True)

    return _steps(x, W_q, W_k, W_v, mask, weights=weights)


@self_attention.misconception(caught_by=test_attention_takes_every_kind_of_tensor)
def edits_its_inputs(x, W_q, W_k, W_v, mask=None):
    """The answer is right, but a tensor of the caller's is changed afterwards. `/=`, `*=` and functions with a `_` at
    the end of their names write into what they are called on."""
    answer = reference.self_attention(x, W_q, W_k, W_v, mask)
    with torch.no_grad():
        x *= 0.5
    return answer


@self_attention.misconception(caught_by=test_attention_obeys_its_mask)
def asks_whether_the_mask_is_true(x, W_q, W_k, W_v, mask=None):
    """`if mask:` asks whether the *whole* mask is true, and PyTorch does not answer that for more than one entry. Ask
    whether there is one: `if mask is not None:`."""
    if mask:
        return reference.self_attention(x, W_q, W_k, W_v, mask)
    return reference.self_attention(x, W_q, W_k, W_v)


@self_attention.misconception(caught_by=test_each_position_asks_all_positions)
def cuts_the_root_off(x, W_q, W_k, W_v, mask=None):
    """The root was made a whole number: `int(…)`, `//` or `math.isqrt` cut off what stands behind the point. √d_k is
    rarely whole."""
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: _scaled(q, k, int(k.shape[-1] ** 0.5)))


@self_attention.misconception(caught_by=test_attention_of_known_numbers)
def always_divides_by_eight(x, W_q, W_k, W_v, mask=None):
    """The scores were divided by 8, whatever the width. That is √64, for heads of width 64, as in the paper. Read d_k
    off the last axis of q."""
    return _steps(x, W_q, W_k, W_v, mask, scores=lambda q, k: _scaled(q, k, 8))


@self_attention.alternative
def attention_by_einsum(x, W_q, W_k, W_v, mask=None, scale=None):
    q, k, v = (torch.einsum("...td,dk->...tk", x, W) for W in (W_q, W_k, W_v))
    scores = torch.einsum("...tk,...sk->...ts", q * k.shape[-1] ** -0.5, k)
    if mask is None:
        return torch.einsum("...ts,...sv->...tv", torch.softmax(scores, -1), v)
    weights = torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), -1)
    return torch.einsum("...ts,...sv->...tv", weights * mask, v)


@self_attention.alternative
def attention_with_nan_replaced(x, W_q, W_k, W_v, mask=None):
    scores = (x @ (W_q @ W_k.T)) @ x.mT / W_q.shape[1] ** 0.5
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf)
    return torch.softmax(scores, -1).nan_to_num(0.0) @ (x @ W_v)


@self_attention.alternative
def attention_position_by_position(x, W_q, W_k, W_v, mask=None):
    q, k, v = (x @ W for W in (W_q, W_k, W_v))
    rows = []
    for t in range(x.shape[-2]):
        scores = (q[..., t : t + 1, :] * k).sum(-1).double() / k.shape[-1] ** 0.5  # (..., T)
        allowed = None if mask is None else mask.expand(*scores.shape[:-1], x.shape[-2], x.shape[-2])[..., t, :]
        rows.append((masked_softmax(scores, allowed)[..., None] * v).sum(-2).to(v.dtype))
    return torch.stack(rows, -2)


# ----------------------------------------------------------------------------------------------------- SelfAttention

SelfAttention = Exercise(
    "SelfAttention",
    chapter=8,
    reference=reference.SelfAttention,
    minutes=15,
    difficulty=2,
    forbidden=(*LIBRARY_ATTENTION, "attnlab.self_attention.self_attention"),
)


def _pair(student, rng, front=(B,), **sizes):
    """A module of the student's and the reference with the same matrices, and an x."""
    x, *W = _sequence(rng, front, dtype=torch.float32, **sizes)
    layers = {f"{name}.weight": M.T for name, M in zip(MATRICES, W, strict=True)}
    ours = reference.SelfAttention(x.shape[-1], W[0].shape[1], W[2].shape[1])
    ours.load_state_dict(layers)
    module = student.SelfAttention(x.shape[-1], W[0].shape[1], W[2].shape[1])
    module.load(layers)
    return module, ours, x


@SelfAttention.check(points=1)
def test_the_module_has_its_three_matrices(student, rng):
    """Its parameters are `W_q.weight` and `W_k.weight`, both `(d_k, d_model)`, and `W_v.weight`, `(d_v, d_model)`."""
    ours = reference.SelfAttention(D_MODEL, D_K, D_V)
    wanted = {name: tuple(value.shape) for name, value in ours.named_parameters()}
    module = student.SelfAttention(D_MODEL, D_K, D_V)
    found = {name: tuple(value.shape) for name, value in module.parameters().items()}
    expect.true(
        found == wanted,
        f"Your module has {_listed(found)}; expected is {_listed(wanted)}.",
        "Three layers without bias, kept as `self.W_q`, `self.W_k` and `self.W_v`: what is different?",
    )


def _listed(shapes):
    return ", ".join(f"`{name}` {shape}" for name, shape in shapes.items()) or "no parameters"


@SelfAttention.check(points=1)
def test_the_module_attends(student, rng):
    """With given matrices it answers as `self_attention` does with the same matrices turned over, batch or not."""
    sizes = dict.fromkeys(("T", "d_model", "d_k", "d_v"), SQUARE)
    for front, changed in (((), sizes), ((B,), sizes), ((B,), {}), ((), {}), ((B,), {"T": 1})):
        module, ours, x = _pair(student, rng, front, **changed)
        want = ours(x)
        expect.close(module(x), want, "Queries, keys and values from x; scores by √d_k; which step differs?")


@SelfAttention.check(points=1)
def test_the_module_passes_its_mask_on(student, rng):
    """`forward` takes a mask, True = may attend; a position that may look at nothing gets zeros."""
    module, ours, x = _pair(student, rng)
    mask = torch.tensor(rng.random((B, T, T)) < 0.5) | torch.eye(T, dtype=torch.bool)
    want = ours(x, mask)
    expect.close(module(x, mask), want, "Does the mask reach the softmax?")
    mask[1, 2] = False
    want = ours(x, mask)
    expect.close(module(x, mask=mask), want, "The softmax of nothing but −∞ is 0/0: what did chapter 5 do?")
    want = ours(x)
    expect.close(module(x), want, "This call has no mask. Is the mask of the call before still there?")


@SelfAttention.check(points=1)
def test_gradients_reach_all_three_matrices(student, rng):
    """The gradients of the three matrices and of x are those of the formula."""
    module, ours, x = _pair(student, rng)
    (g,) = _draw(rng, (B, T, D_V), dtype=torch.float32)
    leaf = x.clone().requires_grad_()
    wanted = torch.autograd.grad((ours(leaf) * g).sum(), [leaf, *ours.parameters()])
    want = ours(x)
    came = module.gradients(x, cotangent=g)
    expect.close(came.value, want, "Is it the answer that you give without gradients, too?")
    names = list(dict(ours.named_parameters()))
    _gradients(["x", *names], [*came.inputs, *(came.parameters.get(name) for name in names)], wanted)


@SelfAttention.check(points=1)
def test_the_module_can_be_saved_and_loaded(student, rng):
    """`state_dict` of one module, loaded into another, makes the two answer alike; so they do in eval and train
    mode."""
    module, ours, x = _pair(student, rng)
    want = ours(x)
    saved = module.state_dict()
    other = student.SelfAttention(D_MODEL, D_K, D_V)
    first = other(x)
    expect.true(
        expect.as_numpy(first) is not None and not expect.same(first, want),
        "A fresh module answers like one with given matrices.",
        "Where do its own matrices come from?",
    )
    other.load_state_dict(saved)
    expect.close(other(x), want, "Does everything that the answer depends on live in the three layers?")
    other.train()
    expect.close(other(x), want, "This is train mode. Is there something random in it?")
    other.eval()
    expect.close(other(x), want, "This is eval mode. Does it do something else than in train mode?")


@SelfAttention.check(points=1)
def test_the_module_leaves_its_input_alone(student, rng):
    """It is right for views with gaps, and x and the mask are the same afterwards."""
    module, ours, x = _pair(student, rng)
    x, mask = _gaps(x), torch.ones(T, T, dtype=torch.bool).tril()
    want = ours(x, mask)
    expect.close(module(x, mask), want, "Do you count on how the numbers lie in memory?")
    expect.unchanged(student, EDITS)


class _InLayers(torch.nn.Module):
    """Self-attention in steps, which a wrong answer can replace one by one."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__()
        self.W_q = torch.nn.Linear(d_model, d_k, bias=False)
        self.W_k = torch.nn.Linear(d_model, d_k, bias=False)
        self.W_v = torch.nn.Linear(d_model, d_v, bias=False)

    def project(self, x):
        return self.W_q(x), self.W_k(x), self.W_v(x)

    def scores(self, q, k):
        return q @ k.mT / k.shape[-1] ** 0.5

    def weights(self, scores, mask):
        return masked_softmax(scores, mask)

    def forward(self, x, mask=None):
        q, k, v = self.project(x)
        return self.weights(self.scores(q, k), mask) @ v


@SelfAttention.misconception(caught_by=test_the_module_has_its_three_matrices)
class ModuleWithBiases(_InLayers):
    """The layers have biases, which `nn.Linear` makes unless told not to. Here three matrices were asked for, and
    nothing else. Write `nn.Linear(d_model, d_k, bias=False)`."""

    def __init__(self, d_model, d_k, d_v):
        torch.nn.Module.__init__(self)
        self.W_q, self.W_k = torch.nn.Linear(d_model, d_k), torch.nn.Linear(d_model, d_k)
        self.W_v = torch.nn.Linear(d_model, d_v)


@SelfAttention.misconception(caught_by=test_the_module_has_its_three_matrices)
class ModuleWithHiddenMatrices(_InLayers):
    """The matrices are not found under their names. Either they are plain tensors or stand in a list, where a module
    does not look, so that no optimiser would move them; or they have other names. Keep three layers, `self.W_q`,
    `self.W_k`, `self.W_v`."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__(d_model, d_k, d_v)
        layers = self.W_q, self.W_k, self.W_v
        del self.W_q, self.W_k, self.W_v
        self.layers = layers

    def project(self, x):
        return tuple(layer(x) for layer in self.layers)


@SelfAttention.misconception(caught_by=test_the_module_has_its_three_matrices)
class ModuleWithParametersForLayers(_InLayers):
    """The matrices are parameters themselves, `W_q` in place of `W_q.weight`. That learns as well; but here they are to
    be layers, `nn.Linear`, as in all the chapters that follow."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__(d_model, d_k, d_v)
        for name in MATRICES:
            matrix = torch.nn.Parameter(getattr(self, name).weight.detach().T)
            delattr(self, name)
            setattr(self, name, matrix)

    def project(self, x):
        return x @ self.W_q, x @ self.W_k, x @ self.W_v


@SelfAttention.misconception(caught_by=test_the_module_has_its_three_matrices)
class ModuleWithOneLayerForTwo(_InLayers):
    """`self.W_k = self.W_q`: that is one layer with two names, not two layers. Queries and keys stay tied for ever, and
    the scores symmetric. Make a new `nn.Linear` for each."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__(d_model, d_k, d_v)
        self.W_k = self.W_q


@SelfAttention.misconception(caught_by=test_the_module_has_its_three_matrices)
class ModuleWithAnOutputLayer(_InLayers):
    """There is one layer more than was asked for. Multi-head attention has a fourth, W_o, which puts the heads
    together: that is chapter 9."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__(d_model, d_k, d_v)
        self.W_o = torch.nn.Linear(d_v, d_v, bias=False)

    def forward(self, x, mask=None):
        return self.W_o(super().forward(x, mask))


@SelfAttention.misconception(caught_by=test_the_module_has_its_three_matrices)
class ModuleWithValuesOfTheWidthOfTheModel(_InLayers):
    """The values are as wide as the model. It is often so, and here it is the caller's to say: W_v leads to `d_v`."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__(d_model, d_k, d_model)


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleWithTiedLayers(_InLayers):
    """Keys are made by W_q too, and W_k is never used: the scores are symmetric. Keys go through W_k."""

    def project(self, x):
        return self.W_q(x), self.W_q(x), self.W_v(x)


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleThatAveragesInputs(_InLayers):
    """The inputs were averaged where the values are meant, so W_v has no part in it. Average `self.W_v(x)`."""

    def project(self, x):
        return self.W_q(x), self.W_k(x), x


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleThatAveragesKeys(_InLayers):
    """The keys were averaged where the values are meant. Keys say where to look, values what one takes home."""

    def project(self, x):
        return self.W_q(x), self.W_k(x), self.W_k(x)


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleThatForgetsTheTurn(_InLayers):
    """The matrices were used as the layers keep them, and they keep them turned over, (d_k, d_model). Call the layer,
    `self.W_q(x)`, which knows that; or hand on `self.W_q.weight.T`."""

    def project(self, x):
        return x @ self.W_q.weight, x @ self.W_k.weight, x @ self.W_v.weight


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleWithoutScale(_InLayers):
    """The scores are not divided by √d_k."""

    def scores(self, q, k):
        return q @ k.mT


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleScaledTwice(_InLayers):
    """The scores were scaled twice: √d_k and √d_k again is d_k. If you scale the queries, leave the scores alone."""

    def scores(self, q, k):
        return q @ k.mT / k.shape[-1]


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleScaledByTheModel(_InLayers):
    """The scores were divided by √d_model. A score is a sum of d_k products: divide by √d_k."""

    def scores(self, q, k):
        return q @ k.mT / self.W_q.in_features**0.5


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleWithSigmoid(_InLayers):
    """The sigmoid of each score was taken in place of the softmax of a row: the weights do not add up to one."""

    def weights(self, scores, mask):
        return torch.sigmoid(scores) * (1 if mask is None else mask)


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleScaledByTheValues(_InLayers):
    """The scores were divided by √d_v, the width of the values, which have no part in the scores. Divide by √d_k."""

    def scores(self, q, k):
        return q @ k.mT / self.W_v.out_features**0.5


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleWithoutSoftmax(_InLayers):
    """The scores themselves were used as weights: the softmax is missing."""

    def weights(self, scores, mask):
        return scores * (1 if mask is None else mask)


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleThatReturnsWeights(_InLayers):
    """These are the weights, a table (T, T). `forward` returns what they are used for: `weights @ v`."""

    def forward(self, x, mask=None):
        q, k, _ = self.project(x)
        return self.weights(self.scores(q, k), mask)


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleWhereQueriesCompete(_InLayers):
    """The softmax runs over the queries. It is a query that shares out its look among the keys: `dim=-1`."""

    def weights(self, scores, mask):
        return masked_softmax(scores, mask, -2)


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleWithTheAxisFromTheFront(_InLayers):
    """The softmax runs over axis 1. For one sequence that is the keys, with a batch it is the queries: `dim=-1`."""

    def weights(self, scores, mask):
        return masked_softmax(scores, mask, 1)


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleThatComparesEachWithItself(_InLayers):
    """Each element was compared only with itself, one score a position. A table (T, T) is wanted: `q @ k.mT`."""

    def forward(self, x, mask=None):
        q, k, v = self.project(x)
        return torch.softmax((q * k).sum(-1) / k.shape[-1] ** 0.5, -1)[..., None] * v


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleThatReturnsAPair(_InLayers):
    """`forward` returns a pair, the answer and the weights. Some libraries do; here the answer alone was asked for."""

    def forward(self, x, mask=None):
        q, k, v = self.project(x)
        weights = self.weights(self.scores(q, k), mask)
        return weights @ v, weights


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleThatAddsItsInput(_InLayers):
    """The input was added to the answer. That is the residual of chapter 11, which stands around attention, not inside
    it."""

    def forward(self, x, mask=None):
        return x + super().forward(x, mask)


@SelfAttention.misconception(caught_by=test_the_module_passes_its_mask_on)
class ModuleThatDropsItsMask(_InLayers):
    """`forward` takes a mask and does nothing with it. Pass it on to the softmax."""

    def weights(self, scores, mask):
        return torch.softmax(scores, -1)


@SelfAttention.misconception(caught_by=test_the_module_passes_its_mask_on)
class ModuleWithTheMaskTurnedRound(_InLayers):
    """The mask was read the other way round. Here True means: may attend."""

    def weights(self, scores, mask):
        return masked_softmax(scores, None if mask is None else ~mask)


@SelfAttention.misconception(caught_by=test_the_module_passes_its_mask_on)
class ModuleMaskedAfterwards(_InLayers):
    """The weights were set to zero after the softmax, so what is left no longer adds up to one. Forbid the scores."""

    def weights(self, scores, mask):
        return torch.softmax(scores, -1) * (1 if mask is None else mask)


@SelfAttention.misconception(caught_by=test_the_module_passes_its_mask_on)
class ModuleMaskedWithZero(_InLayers):
    """A forbidden score was made 0, or multiplied by 0. But e⁰ = 1 is an ordinary share. What forbids is −∞."""

    def weights(self, scores, mask):
        return torch.softmax(scores * (1 if mask is None else mask), -1)


@SelfAttention.misconception(caught_by=test_the_module_passes_its_mask_on)
class ModuleThatLooksEverywhere(_InLayers):
    """A row in which everything is forbidden became an average of everything: −1e9 in all places alike is no
    difference, and softmax sees differences only. Such a position gets zeros; `masked_softmax` sees to it."""

    def weights(self, scores, mask):
        return torch.softmax(scores if mask is None else scores.masked_fill(~mask, -1e9), -1)


@SelfAttention.misconception(caught_by=test_the_module_passes_its_mask_on)
class ModuleWithNaN(_InLayers):
    """A position that may look at nothing came out as NaN: the softmax of nothing but −∞ is 0/0. It gets zeros;
    `masked_softmax` of chapter 5 takes care of that."""

    def weights(self, scores, mask):
        return torch.softmax(scores if mask is None else scores.masked_fill(~mask, -torch.inf), -1)


@SelfAttention.misconception(caught_by=test_gradients_reach_all_three_matrices)
class ModuleWithoutGradient(_InLayers):
    """The answer is right, and nothing can be learned from it: it was computed under `torch.no_grad()`, in NumPy, or
    detached."""

    def forward(self, x, mask=None):
        return super().forward(x, mask).detach()


@SelfAttention.misconception(caught_by=test_gradients_reach_all_three_matrices)
class ModuleWithDetachedMatrices(_InLayers):
    """The input gets its gradient and the matrices get none: `.weight.data` and `.weight.detach()` are cut off from
    learning, and so is what has `requires_grad = False`. Use `self.W_q(x)`, or `.weight` alone."""

    def project(self, x):
        return x @ self.W_q.weight.data.T, x @ self.W_k.weight.data.T, x @ self.W_v.weight.data.T


@SelfAttention.misconception(caught_by=test_gradients_reach_all_three_matrices)
class ModuleWithDetachedWeights(_InLayers):
    """The weights were detached on their way: W_v learns, W_q and W_k never do."""

    def weights(self, scores, mask):
        return masked_softmax(scores, mask).detach()


@SelfAttention.misconception(caught_by=test_the_module_can_be_saved_and_loaded)
class ModuleWithDropout(_InLayers):
    """There is dropout in it, so that in train mode the answer differs from time to time. Dropout on the weights
    belongs to the training of chapter 14; it was not asked for here."""

    def weights(self, scores, mask):
        return torch.nn.functional.dropout(masked_softmax(scores, mask), 0.1, self.training)


@SelfAttention.misconception(caught_by=test_the_module_leaves_its_input_alone)
class ModuleThatEditsItsInput(_InLayers):
    """The answer is right, but the caller's x is changed afterwards: `*=`, `+=` and functions with a `_` at the end
    write into it."""

    def forward(self, x, mask=None):
        answer = super().forward(x, mask)
        with torch.no_grad():
            x *= 1 + 1e-3
        return answer


@SelfAttention.misconception(caught_by=test_the_module_has_its_three_matrices)
class ModuleWithAnOutputLayerBackToTheModel(_InLayers):
    """There is a layer too many: it leads from the values back to the width of the model. Multi-head attention has such
    a W_o: that is chapter 9. Here the averages themselves are the answer."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__(d_model, d_k, d_v)
        self.W_o = torch.nn.Linear(d_v, d_model, bias=False)

    def forward(self, x, mask=None):
        return self.W_o(super().forward(x, mask))


@SelfAttention.misconception(caught_by=test_the_module_has_its_three_matrices)
class ModuleWithOtherNames(_InLayers):
    """The three layers are there, under other names, `query`, `key` and `value`. They are found by their names: call
    them `self.W_q`, `self.W_k` and `self.W_v`."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__(d_model, d_k, d_v)
        self.query, self.key, self.value = self.W_q, self.W_k, self.W_v
        del self.W_q, self.W_k, self.W_v

    def project(self, x):
        return self.query(x), self.key(x), self.value(x)


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleWithCopiesOfItsMatrices(_InLayers):
    """`__init__` took copies of the matrices, and `forward` uses the copies. What is loaded into the layers, or learned
    by them, never reaches the answer. Use the layers in `forward`."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__(d_model, d_k, d_v)
        self.copies = [getattr(self, name).weight.detach().clone().T for name in MATRICES]

    def project(self, x):
        return tuple(x @ W for W in self.copies)


@SelfAttention.misconception(caught_by=test_the_module_attends)
class ModuleThatNeedsABatch(_InLayers):
    """This works for a batch of sequences and for nothing else: `B, T, d = x.shape` wants three axes. `.mT` and `@`
    work on the last two, however many stand in front."""

    def forward(self, x, mask=None):
        _, _, _ = x.shape
        return super().forward(x, mask)


@SelfAttention.misconception(caught_by=test_the_module_passes_its_mask_on)
class ModuleThatRemembersItsMask(_InLayers):
    """The mask of one call was kept, and used in the next, which had none. What belongs to one call is no attribute of
    the module: leave the mask a local name."""

    def __init__(self, d_model, d_k, d_v):
        super().__init__(d_model, d_k, d_v)
        self.mask = None

    def forward(self, x, mask=None):
        self.mask = self.mask if mask is None else mask
        return super().forward(x, self.mask)


@SelfAttention.alternative
class ModuleInOneProduct(_InLayers):
    def __init__(self, d_model, d_k, d_v, dropout=0.0):
        super().__init__(d_model, d_k, d_v)
        torch.nn.init.xavier_uniform_(self.W_v.weight)

    def project(self, x):
        weight = torch.cat([self.W_v.weight, self.W_k.weight, self.W_q.weight])
        v, k, q = (x @ weight.T).split([self.W_v.out_features, self.W_k.out_features, self.W_q.out_features], dim=-1)
        return q, k, v


@SelfAttention.alternative
class ModuleWithItsScaleInABuffer(_InLayers):
    def __init__(self, d_model, d_k, d_v):
        super().__init__(d_model, d_k, d_v)
        self.register_buffer("scale", torch.tensor(d_k**-0.5), persistent=False)
        self.last = None

    def forward(self, x, mask=None):
        q, k, v = self.project(x)
        self.last = self.weights(q @ k.mT * self.scale, mask)
        return self.last @ v


@SelfAttention.alternative
class ModuleByTheFunction(_InLayers):
    def forward(self, x, mask=None):
        return attention_by_einsum(x, self.W_q.weight.T, self.W_k.weight.T, self.W_v.weight.T, mask)


# --------------------------------------------------------------------------------------------------- permutation_gap

permutation_gap = Exercise("permutation_gap", chapter=8, reference=reference.permutation_gap, minutes=15, difficulty=2)
ROUNDING = 1e-4


def _each_row(x):
    """Every row for itself, to rows of another width."""
    return torch.cat([x.sin(), x.sum(-1, keepdim=True)], dim=-1)


def _mean_of_the_others(x):
    """Rows that meet, as a set."""
    return x + 3 * x.mean(-2, keepdim=True)


def _marks_the_first(x):
    out = x.clone()
    out[..., 0, -1] -= 3
    return out


def _marks_the_last(x):
    out = x.clone()
    out[..., -1, -1] += 4
    return out


def _marks_both_ends(x):
    out = x.clone()
    out[..., 0, 0] += 2
    out[..., -1, 0] += 2
    return out


def _marks_what_follows_the_greatest(x):
    """On a ring: the row behind the one with the greatest first entry is marked."""
    first = x[..., :1]
    follows = (first == first.amax(-2, keepdim=True)).roll(1, -2)
    return x + 5 * follows


def _weighs_by_place(x):
    return x * torch.arange(x.shape[-2], dtype=x.dtype)[:, None]


def _running_sum(x):
    return x.cumsum(-2)


def _rewards_ascending_rows(x):
    """In one order everything grows by 3, but for one column, which falls by 1; in any other order nothing changes."""
    reward = torch.full_like(x, 3)
    reward[..., 0] = -1
    return x + reward * (x.diff(dim=-2) > 0).all()


@dataclass(unsafe_hash=True)
class _GrowsLater:
    """A function that adds 7 when it has seen 30 sequences, however many come at once."""

    entries: int
    seen: int = field(default=0, compare=False)

    def __call__(self, x):
        self.seen += x.numel() // self.entries
        return x + 7 * (self.seen >= 30)


def _raises_ascending_rows(x):
    return x + 3 * (x.diff(dim=-2) > 0).all()


def _is(got, want, cause):
    got = got.item() if expect.is_tensor(got) and got.ndim == 0 else got
    expect.close(got, float(want), cause, ROUNDING)


def _largest_gap(f, x):
    """Over all permutations there are."""
    out = f(x)
    orders = [list(order) for order in permutations(range(x.shape[-2]))]
    return max(float((f(x[..., order, :]) - out[..., order, :]).abs().max()) for order in orders)


@permutation_gap.check(points=2)
def test_the_gap_is_zero_where_the_output_moves_along(student, rng):
    """Where shuffling the input shuffles the output in the same way, the gap is 0; a mark on the first row makes it
    3."""
    (x,) = _draw(rng, (T, D_MODEL))
    _is(student.permutation_gap(_marks_the_first, x), 3, "f takes 3 from the first row. What is left of that?")
    for f in (_each_row, _mean_of_the_others):
        _is(student.permutation_gap(f, x), 0, "Are input and output shuffled alike, and along the positions?")


@permutation_gap.check(points=2)
def test_the_gap_sees_every_kind_of_order(student, rng):
    """A mark on the last row, at both ends, or behind the greatest row is seen as well: the orders tried are random."""
    (x,) = _draw(rng, (T, D_MODEL))
    _is(student.permutation_gap(_marks_the_last, x), 4, "Is every row moved in some trial, the last one too?")
    _is(student.permutation_gap(_marks_both_ends, x), 2, "Do you try random orders, or only the reversed one?")
    _is(
        student.permutation_gap(_marks_what_follows_the_greatest, x),
        5,
        "Do you try random orders, or only shifts, or exchanges of two rows?",
    )


@permutation_gap.check(points=2)
def test_the_gap_is_the_greatest_of_all_trials(student, rng):
    """It is the greatest difference, over all entries and as many trials as `trials` says, without its sign."""
    x = rng.uniform(0.1, 1.0, size=(T, D_MODEL)).cumsum(0)
    _is(
        student.permutation_gap(_rewards_ascending_rows, torch.tensor(x)),
        3,
        "To the rows in their old order f gave 3, and in one column took 1. What is a difference without its sign?",
    )
    (x,) = _draw(rng, (T, D_MODEL))
    _is(
        student.permutation_gap(_GrowsLater(x.numel()), x, trials=60),
        7,
        "This f changes when it has seen 30 sequences. With `trials=60`, are 60 orders drawn?",
    )
    for f in (_weighs_by_place, _running_sum):
        for _ in range(3):
            (x,) = _draw(rng, (3, 2))
            want = _largest_gap(f, x)
            _is(
                student.permutation_gap(f, x, trials=100),
                want,
                "A hundred trials meet all six orders of three rows. Is the greatest gap kept?",
            )


@permutation_gap.check(points=1)
def test_the_gap_keeps_the_batch(student, rng):
    """Axes in front are kept: it is the rows of each sequence that are shuffled, never sequences or features."""
    for front in ((B,), (A, B)):
        (x,) = _draw(rng, (*front, T, D_MODEL))
        _is(student.permutation_gap(_marks_the_first, x), 3, "Which axis of x is shuffled?")
        _is(student.permutation_gap(_weighs_the_batch, x), 0, "Are sequences exchanged with one another?")
        _is(student.permutation_gap(_running_sum_of_features, x), 0, "Are features shuffled, too?")


def _weighs_the_batch(x):
    return x * torch.arange(x.shape[0], dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))


def _running_sum_of_features(x):
    return x.cumsum(-1)


@permutation_gap.check(points=1)
def test_the_gap_leaves_x_alone(student, rng):
    """It is right for float32, views with gaps and a single row, and x is the same afterwards."""
    x = _gaps(_draw(rng, (B, T, D_MODEL), dtype=torch.float32)[0])
    _is(student.permutation_gap(_marks_the_first, x), 3, "Do you count on how the numbers lie in memory?")
    _is(student.permutation_gap(_marks_the_first, x[:, :1]), 0, "A single row has one order only. Where is a gap?")
    expect.unchanged(student, EDITS)


@permutation_gap.inputs
def _functions_and_rows(rng):
    for f in (_marks_the_first, _each_row, _marks_both_ends, _mean_of_the_others) * 2:
        for front in ((), (B,)):
            (x,) = _draw(rng, (*front, T, D_MODEL))
            yield (f, x), {}
    for _ in range(4):
        (x,) = _draw(rng, (T, D_MODEL))
        yield (_raises_ascending_rows, x.sort(-2).values), {}


def _gap(f, x, trials=8, *, order=None, difference=None, over=max, size=None):
    """The reference with one part exchanged."""
    out = f(x)
    gaps = []
    for _ in range(trials):
        pi = torch.randperm(x.shape[-2]) if order is None else order(x)
        d = f(x[..., pi, :]) - out[..., pi, :] if difference is None else difference(f, x, out, pi)
        gaps.append(float(d.abs().max() if size is None else size(d)))
    return over(gaps)


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def compares_with_the_output_in_its_old_order(f, x, trials=8):
    """What f makes of the shuffled input was compared with f(x) as it was. That asks whether the output stays the same
    (invariance). Here it should *move along*: compare with f(x) in the shuffled order."""
    return _gap(f, x, trials, difference=lambda f, x, out, pi: f(x[..., pi, :]) - out)


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def shuffles_the_output_backwards(f, x, trials=8):
    """The output was shuffled by the *inverse* order. Input and output move alike: `x[..., pi, :]` and `out[..., pi,
    :]`; or bring f of the shuffled input back by `argsort` and compare it with f(x)."""
    return _gap(f, x, trials, difference=lambda f, x, out, pi: f(x[..., pi, :]) - out[..., pi.argsort(), :])


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def shuffles_the_output_alone(f, x, trials=8):
    """The output f(x) was compared with itself in another order, and f never saw a shuffled input. Shuffle the input,
    call f, and compare with the shuffled output."""
    return _gap(f, x, trials, difference=lambda f, x, out, pi: out - out[..., pi, :])


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def compares_output_with_input(f, x, trials=8):
    """The output was compared with the shuffled *input*. It is to be compared with the shuffled output, f(x) in the
    same order."""
    return _gap(f, x, trials, difference=lambda f, x, out, pi: f(x[..., pi, :]) - x[..., pi, :])


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def draws_two_orders(f, x, trials=8):
    """The order was drawn twice, once for the input and once for the output. Draw it once, give it a name, and use it
    for both."""
    return _gap(
        f, x, trials, difference=lambda f, x, out, pi: f(x[..., pi, :]) - out[..., torch.randperm(x.shape[-2]), :]
    )


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def draws_rows_with_repetition(f, x, trials=8):
    """`torch.randint` draws some rows twice and leaves others out. A permutation has every row once:
    `torch.randperm`."""
    return _gap(f, x, trials, order=lambda x: torch.randint(x.shape[-2], (x.shape[-2],)))


@permutation_gap.misconception(caught_by=test_the_gap_keeps_the_batch)
def shuffles_the_features(f, x, trials=8):
    """The *features* were shuffled, the last axis. What has an order in a sequence is its rows, the last axis but one:
    `x[..., pi, :]`."""
    out, gap = f(x), 0.0
    for _ in range(trials):
        pi = torch.randperm(x.shape[-1])
        gap = max(gap, float((f(x[..., pi]) - out[..., pi]).abs().max()))
    return gap


@permutation_gap.misconception(caught_by=test_the_gap_keeps_the_batch)
def shuffles_the_first_axis(f, x, trials=8):
    """The first axis was shuffled, `x[pi]`. For one sequence that is its rows; with a batch in front it is the
    sequences. Count from the end: `x[..., pi, :]`."""
    out, gap = f(x), 0.0
    for _ in range(trials):
        pi = torch.randperm(len(x))
        gap = max(gap, float((f(x[pi]) - out[pi]).abs().max()))
    return gap


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def shuffles_the_second_axis(f, x, trials=8):
    """The second axis was shuffled, `x[:, pi]`. That is right for a batch with one axis in front, and for nothing else.
    Count from the end: `x[..., pi, :]`."""
    out, gap = f(x), 0.0
    for _ in range(trials):
        pi = torch.randperm(x.shape[1])
        gap = max(gap, float((f(x[:, pi]) - out[:, pi]).abs().max()))
    return gap


@permutation_gap.misconception(caught_by=test_the_gap_keeps_the_batch)
def shuffles_the_first_axis_of_the_output(f, x, trials=8):
    """The rows of the input were shuffled, `x[..., pi, :]`, but the *first* axis of the output, `out[pi]`. With a batch
    in front these are not the same. Shuffle both alike."""
    return _gap(f, x, trials, difference=lambda f, x, out, pi: f(x[..., pi, :]) - out[pi])


@permutation_gap.misconception(caught_by=test_the_gap_sees_every_kind_of_order)
def only_reverses(f, x, trials=8):
    """Only the reversed order was tried. A function that is symmetric in its two ends passes this and knows a great
    deal of order. Draw random orders, `torch.randperm`."""
    return _gap(f, x, trials, order=lambda x: torch.arange(x.shape[-2]).flip(0))


@permutation_gap.misconception(caught_by=test_the_gap_sees_every_kind_of_order)
def only_shifts(f, x, trials=8):
    """The rows were only shifted round. Their neighbours stay their neighbours, so a function that looks at neighbours
    is not found out. Draw random orders, `torch.randperm`."""
    orders = iter([n % x.shape[-2] for n in range(1, trials + 1)])
    return _gap(f, x, trials, order=lambda x: torch.arange(x.shape[-2]).roll(next(orders)))


@permutation_gap.misconception(caught_by=test_the_gap_sees_every_kind_of_order)
def only_exchanges_the_first_two(f, x, trials=8):
    """Only the first two rows were exchanged. What happens behind them is never tried. Draw random orders,
    `torch.randperm`."""

    def order(x):
        pi = torch.arange(x.shape[-2])
        pi[:2] = pi[:2].flip(0)
        return pi

    return _gap(f, x, trials, order=order)


@permutation_gap.misconception(caught_by=test_the_gap_is_the_greatest_of_all_trials)
def tries_one_order(f, x, trials=8):
    """One order was tried, whatever `trials` says. A single order may happen to move nothing that matters. Keep the
    greatest gap of all trials."""
    return _gap(f, x, 1)


@permutation_gap.misconception(caught_by=test_the_gap_is_the_greatest_of_all_trials)
def keeps_the_last_trial(f, x, trials=8):
    """What came back is the gap of one order alone, though many were tried: each trial overwrote the one before, or all
    drew the same order from a generator that was seeded inside the loop. Keep the greatest: `gap = max(gap, …)`."""
    return _gap(f, x, trials, over=lambda gaps: gaps[-1])


@permutation_gap.misconception(caught_by=test_the_gap_is_the_greatest_of_all_trials)
def averages_the_trials(f, x, trials=8):
    """This is the mean over the trials. The greatest gap is wanted: one order that f gets wrong is enough."""
    return _gap(f, x, trials, over=lambda gaps: sum(gaps) / len(gaps))


@permutation_gap.misconception(caught_by=test_the_gap_is_the_greatest_of_all_trials)
def adds_up_the_trials(f, x, trials=8):
    """The gaps of all trials were added up. The greatest of them is wanted."""
    return _gap(f, x, trials, over=sum)


@permutation_gap.misconception(caught_by=test_the_gap_is_the_greatest_of_all_trials)
def keeps_the_least_trial(f, x, trials=8):
    """The least gap of all trials was returned, and some order or other changes nothing. The greatest is wanted."""
    return _gap(f, x, trials, over=min)


@permutation_gap.misconception(caught_by=test_the_gap_is_the_greatest_of_all_trials)
def forgets_the_sign(f, x, trials=8):
    """The differences have a sign, and only the positive ones were seen. Take `.abs()`, and take it *before* the
    maximum: `.max().abs()` comes too late."""
    return max(0.0, _gap(f, x, trials, size=torch.max))


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def averages_the_entries(f, x, trials=8):
    """This is the mean difference over all entries. A single entry that is out of place nearly vanishes in it; the
    greatest difference is wanted."""
    return _gap(f, x, trials, size=lambda d: d.abs().mean())


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def measures_a_length(f, x, trials=8):
    """This is the length of the difference, the root of the sum of squares. The greatest single difference is
    wanted."""
    return _gap(f, x, trials, size=torch.linalg.vector_norm)


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def squares_the_difference(f, x, trials=8):
    """This is the greatest *square* of a difference. Take `.abs()` in place of the square."""
    return _gap(f, x, trials, size=lambda d: (d**2).max())


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def says_yes_or_no(f, x, trials=8):
    """This answers whether there is a gap. How large it is was asked: a number."""
    return _gap(f, x, trials) > ROUNDING


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def divides_by_the_output(f, x, trials=8):
    """The gap was divided by the size of the output. The plain difference is wanted."""
    return _gap(f, x, trials) / float(f(x).abs().max())


@permutation_gap.misconception(caught_by=test_the_gap_leaves_x_alone)
def shuffles_in_place(f, x, trials=8):
    """The gap is right, but the caller's x is left in another order: `x[...] = x[..., pi, :]` writes into it. Give the
    shuffled rows a name of their own."""
    gap = _gap(f, x, trials)
    x[...] = x.flip(-2)
    return gap


@permutation_gap.misconception(caught_by=test_the_gap_is_the_greatest_of_all_trials)
def takes_the_sign_off_too_late(f, x, trials=8):
    """`.max().abs()` looks for the greatest difference *with* its sign, and takes the sign off what it found. −3 is
    overlooked beside 1. First `.abs()`, then `.max()`."""
    return _gap(f, x, trials, size=lambda d: d.max().abs())


@permutation_gap.misconception(caught_by=test_the_gap_is_the_greatest_of_all_trials)
def always_tries_eight(f, x, trials=8):
    """Eight orders are tried, whatever `trials` says: that is only what it says where the caller says nothing. Loop
    over `range(trials)`."""
    return _gap(f, x)


@permutation_gap.misconception(caught_by=test_the_gap_is_zero_where_the_output_moves_along)
def adds_up_the_entries(f, x, trials=8):
    """The differences of all entries were added up. The greatest single difference is wanted: `.abs().max()`."""
    return _gap(f, x, trials, size=lambda d: d.abs().sum())


@permutation_gap.alternative
def gap_by_undoing(f, x, trials=8, seed=0):
    rng = torch.Generator().manual_seed(seed)
    out, gaps = f(x), []
    for _ in range(trials):
        order = torch.rand(x.shape[-2], generator=rng).argsort()
        gaps.append((f(x[..., order, :])[..., order.argsort(), :] - out).abs().max())
    return torch.stack(gaps).max()


@permutation_gap.alternative
def gap_by_matrices(f, x, trials=8):
    n, gap = x.shape[-2], 0.0
    for _ in range(trials):
        P = torch.eye(n, dtype=x.dtype)[torch.randperm(n)]
        gap = max(gap, (f(P @ x) - P @ f(x)).abs().max().item())
    return gap


@permutation_gap.alternative
def gap_over_all_orders(f, x, trials=8):
    return _largest_gap(f, x)
