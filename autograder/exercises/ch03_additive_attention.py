"""Chapter 3, Additive attention: a score that is learned, and a question that must not cancel."""

import numpy as np
import torch

from attnlab import additive as reference
from attnlab.masks import masked_softmax
from attnlab.softmax import softmax
from autograder import expect
from autograder.exercise import Exercise

B, T, S, D_Q, D_K, D_HIDDEN, D_V = 2, 3, 5, 7, 11, 13, 17


# --------------------------------------------------------------------------------------------------- value_attention

value_attention = Exercise(
    "value_attention",
    chapter=3,
    reference=reference.value_attention,
    minutes=15,
    difficulty=1,
    forbidden=("attnlab.additive.value_attention",),
)


@value_attention.check(points=1)
def test_value_attention_of_known_numbers(student, rng):
    """Two positions with scores `0` and `log 3` are averaged with the weights `¼` and `¾`."""
    values = np.array([[0.0, 4.0], [np.log(3), 8.0]])
    expect.close(
        student.value_attention(values, np.array([1.0, 0.0]), 0.0),
        np.array([0.75 * np.log(3), 7.0]),
        "Is each position scored by `w · value`, are the scores made shares, and the values averaged with them?",
    )
    values, w = rng.normal(size=(S, D_V)), rng.normal(size=D_V)
    expect.close(
        student.value_attention(values, w, 0.5),
        reference.value_attention(values, w, 0.5),
        "Is there one weight a position, S of them, and not one a feature?",
    )


@value_attention.check(points=1)
def test_value_attention_weighs_each_sequence_by_itself(student, rng):
    """In a batch, the weights of each sequence add up to one by themselves."""
    values, w = rng.normal(size=(B, S, 3)), rng.normal(size=3)
    expect.close(
        student.value_attention(values, w, 0.3),
        reference.value_attention(values, w, 0.3),
        "Does the softmax run over the positions, the last axis of the scores?",
    )
    values = rng.normal(size=(B, T, S, 7))
    w = rng.normal(size=7)
    expect.close(student.value_attention(values, w, 0.0), reference.value_attention(values, w, 0.0))
    expect.close(
        student.value_attention(values[:1, 0], w, 0.0),
        reference.value_attention(values[:1, 0], w, 0.0),
        "A batch of one sequence is a batch, and its axis stays: is there a `squeeze`?",
    )


@value_attention.check(points=1)
def test_the_bias_moves_no_weight(student, rng):
    """Whatever `b` is, the answer is the same: softmax knows only differences."""
    values, w = rng.normal(size=(S, 7)), rng.normal(size=7)
    for b in (0.0, 2.0, -700.0):
        expect.close(
            student.value_attention(values, w, b),
            reference.value_attention(values, w, 0.0),
            "Is the bias added to the scores, before the softmax and nowhere else?",
            tolerance=1e-8,
        )


@value_attention.check(points=1)
def test_value_attention_survives_large_scores(student, rng):
    """With scores in the thousands the greatest takes all, in each sequence of a batch, and nothing overflows."""
    values, w = rng.normal(size=(S, 7)), np.zeros(7)
    values[:, 0], w[0] = rng.permutation(S), 1000.0
    expect.close(
        student.value_attention(values, w, 0.0),
        values[values[:, 0].argmax()],
        "What is exp(1000) in a computer? Chapter 1 has a softmax that survives it.",
    )
    values = np.stack([values, values - 2000 * np.eye(7)[0]])  # two sequences, with scores two million apart
    expect.close(
        student.value_attention(values, w, 0.0),
        values[:, values[0, :, 0].argmax()],
        "Has each sequence a maximum of its own? One for the whole batch lets the low one vanish.",
    )


@value_attention.check(points=1)
def test_value_attention_leaves_its_inputs_alone(student, rng):
    """It is right for float32, views and a single position, and both arrays are the same afterwards."""
    values = rng.normal(size=(7, S)).astype(np.float32).T
    w = rng.normal(size=14).astype(np.float32)[::2]
    expect.close(student.value_attention(values, w, 0.5), reference.value_attention(values, w, 0.5))
    alone = rng.normal(size=(1, 7)).astype(np.float32)
    expect.close(student.value_attention(alone, w, 0.5), alone[0], "What is the weight of a single position?")
    expect.unchanged(student, "Does `*=` or `+=` change it in place?")


@value_attention.inputs
def _values(rng):
    for _ in range(20):
        S, d = (int(n) for n in rng.choice([2, 3, 5], 2, replace=False))
        shape = (7, S, d) if rng.random() < 0.5 else (S, d)
        yield (rng.normal(size=shape), rng.normal(size=d), float(rng.normal())), {}


def _pooled(alpha, values):
    """The average of the values over their positions, with weights of shape (…, S)."""
    return (alpha[..., None] * values).sum(-2)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def weighs_features_and_sums_positions(values, w, b):
    """The weights here are made along the feature axis: each position shares one hundred per cent among its own
    features. But it is the positions that compete. Score a position with one number, `values @ w + b`, and take the
    softmax of those S numbers."""
    return (softmax(values * w + b) * values).sum(-2)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def weighs_features_and_sums_them(values, w, b):
    """This averages the features of each position, and gives one number a position. Attention averages positions, and
    gives one vector. One score a position, softmax over the positions, then `weights @ values`."""
    return (softmax(values * w + b) * values).sum(-1)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def weighs_each_feature_apart(values, w, b):
    """Here every feature has its own weights over the positions: `values * w` was never summed. Then feature 1 of the
    answer may come from another position than feature 2. A position has one score: the whole dot product,
    `values @ w`."""
    return (softmax(values * w + b, -2) * values).sum(-2)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def never_takes_the_softmax(values, w, b):
    """The scores themselves were used as weights. They can be negative, and their sum is anything. Put them through
    softmax first."""
    return _pooled(values @ w + b, values)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def takes_the_sigmoid_of_each_score(values, w, b):
    """This is the sigmoid of each score in place of the softmax of all. Each weight lies between 0 and 1, but they do
    not compete, and their sum is not 1: the answer is no average."""
    return _pooled(1 / (1 + np.exp(-(values @ w + b))), values)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def divides_scores_by_their_sum(values, w, b):
    """Each score was divided by the sum of the scores, without exp. Negative scores then give negative weights, and the
    bias changes the answer. Softmax takes exp first."""
    scores = values @ w + b
    return _pooled(scores / scores.sum(-1, keepdims=True), values)


@value_attention.misconception(caught_by=test_value_attention_weighs_each_sequence_by_itself)
def takes_the_softmax_over_the_batch(values, w, b):
    """The softmax runs over the first axis. For one sequence that is its positions; in a batch it is the sequences,
    which then compete with each other. The positions are the *last* axis of the scores: axis −1."""
    return _pooled(softmax(values @ w + b, 0), values)


@value_attention.misconception(caught_by=test_value_attention_weighs_each_sequence_by_itself)
def multiplies_weights_and_values_as_matrices(values, w, b):
    """`weights @ values` is right for one sequence. In a batch it takes the weights, (B, S), for one matrix, and every
    sequence is averaged with everyone's weights. Give them an axis, `weights[..., None] * values`, and sum the
    positions; or `weights[..., None, :] @ values`."""
    return softmax(values @ w + b) @ values


@value_attention.misconception(caught_by=test_value_attention_weighs_each_sequence_by_itself)
def takes_one_softmax_for_the_batch(values, w, b):
    """One softmax was taken over all positions of all sequences of the batch, so their weights add up to one only all
    together. Each sequence needs its own: softmax along axis −1."""
    scores = values @ w + b
    return _pooled(softmax(scores.reshape(-1)).reshape(scores.shape), values)


@value_attention.misconception(caught_by=test_value_attention_weighs_each_sequence_by_itself)
def sums_the_first_axis(values, w, b):
    """The weighted values were summed over the first axis. For one sequence that is its positions; in a batch it mixes
    the sequences. The positions are axis −2 of the values."""
    return (softmax(values @ w + b)[..., None] * values).sum(0)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def returns_the_weights(values, w, b):
    """These are the weights. They say where to look; what is seen there is still missing: average the values with
    them."""
    return softmax(values @ w + b)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def never_sums(values, w, b):
    """Each value was multiplied by its weight, and that was returned, one vector a position. Their sum over the
    positions is the answer: one vector."""
    return softmax(values @ w + b)[..., None] * values


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def sums_the_features(values, w, b):
    """The weighted values were summed over their features, so one number is left for each position. The sum runs over
    the positions, `axis=-2`, and the features stay: an average of vectors is a vector."""
    return (softmax(values @ w + b)[..., None] * values).sum(-1)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def takes_the_mean_of_the_weighted(values, w, b):
    """The weighted values were averaged, not summed. The weights add up to one already; dividing by S once more makes
    the answer S times too small."""
    return _pooled(softmax(values @ w + b), values) / values.shape[-2]


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def averages_with_equal_weights(values, w, b):
    """This is the plain mean of the values: the scores have no effect. The weights are to be the softmax of
    `values @ w + b`."""
    return values.mean(-2)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def picks_the_best(values, w, b):
    """This returns the value with the greatest score and nothing of the others. That is argmax: it has no gradient, so
    w could never be learned. Softmax lets every position have a share."""
    scores = values @ w + b
    return np.take_along_axis(values, scores.argmax(-1)[..., None, None], -2)[..., 0, :]


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def averages_the_scores(values, w, b):
    """This is the average of the *scores*. What is to be averaged, with the weights that the scores made, are the
    values: one vector of d features."""
    scores = values @ w + b
    return (softmax(scores) * scores).sum(-1)


@value_attention.misconception(caught_by=test_the_bias_moves_no_weight)
def adds_the_bias_to_the_weights(values, w, b):
    """The bias was added to the weights, after the softmax. Then they no longer add up to one. It belongs to the
    scores, before the softmax."""
    return _pooled(softmax(values @ w) + b, values)


@value_attention.misconception(caught_by=test_the_bias_moves_no_weight)
def adds_the_bias_to_the_answer(values, w, b):
    """The bias was added to the averaged values. It belongs to the scores, before the softmax."""
    return _pooled(softmax(values @ w), values) + b


@value_attention.misconception(caught_by=test_the_bias_moves_no_weight)
def bends_the_scores(values, w, b):
    """The scores went through tanh before the softmax. Then they lie between −1 and 1 whatever the values say, no
    position can win clearly, and the bias changes the answer. The tanh comes later in this chapter, and elsewhere."""
    return _pooled(softmax(np.tanh(values @ w + b)), values)


@value_attention.misconception(caught_by=test_value_attention_of_known_numbers)
def divides_by_the_root_of_the_width(values, w, b):
    """The scores were divided by √d before the softmax. That belongs to chapter 4; here w is learned, and learns its
    own scale."""
    return _pooled(softmax((values @ w + b) / np.sqrt(values.shape[-1])), values)


@value_attention.misconception(caught_by=test_value_attention_survives_large_scores)
def value_attention_overflows(values, w, b):
    """The average is right until exp of a large score is infinite; then ∞/∞ is NaN. Subtract the greatest score first,
    as in chapter 1."""
    e = np.exp(values @ w + b)
    return _pooled(e / e.sum(-1, keepdims=True), values)


@value_attention.misconception(caught_by=test_value_attention_survives_large_scores)
def value_attention_subtracts_one_maximum_for_all(values, w, b):
    """The greatest score of the whole batch was subtracted. A sequence far below it becomes all zeros after exp, and
    0/0 is NaN. Each sequence needs its own maximum: along the last axis, with `keepdims=True`."""
    scores = values @ w + b
    e = np.exp(scores - scores.max())
    return _pooled(e / e.sum(-1, keepdims=True), values)


@value_attention.misconception(caught_by=test_value_attention_weighs_each_sequence_by_itself)
def squeezes_the_batch(values, w, b):
    """The numbers are right, but `squeeze` takes away every axis of length 1, also that of a batch with one sequence.
    Say which axis is to go, or sum it away."""
    return np.squeeze(reference.value_attention(values, w, b))


@value_attention.misconception(caught_by=test_value_attention_leaves_its_inputs_alone)
def writes_into_the_values(values, w, b):
    """The answer is right, but the caller's array is changed: `values *= …` writes into it. Write
    `weights[..., None] * values`, which makes a new array."""
    alpha = softmax(values @ w + b)
    values *= alpha[..., None]
    return values.sum(-2)


@value_attention.alternative
def value_attention_by_matrix_product(values, w, b):
    values = np.asarray(values, dtype=np.float64)
    alpha = softmax(values @ w + b)
    return (alpha[..., None, :] @ values)[..., 0, :]


@value_attention.alternative
def value_attention_one_position_at_a_time(values, w, b, *, dtype=float):
    if values.ndim > 2:
        return np.stack([value_attention_one_position_at_a_time(one, w, b) for one in values])
    scores = [sum(float(x) * float(c) for x, c in zip(v, w, strict=True)) + float(b) for v in values]
    weights = np.exp([score - max(scores) for score in scores])
    return sum(
        (weight / weights.sum() * v.astype(dtype) for weight, v in zip(weights, values, strict=True)),
        start=np.zeros(values.shape[-1]),
    )


@value_attention.alternative
def value_attention_without_the_bias(values, w, b):
    return np.einsum("...s,...sd->...d", softmax(np.einsum("...sd,d->...s", values, w)), values)


# --------------------------------------------------------------------------------------------------- additive_scores

additive_scores = Exercise(
    "additive_scores",
    chapter=3,
    reference=reference.additive_scores,
    minutes=25,
    difficulty=2,
    forbidden=("attnlab.additive.additive_scores", "attnlab.additive.additive_attention"),
)


def _questions(rng, *batch, T=T, S=S, d_q=D_Q, d_k=D_K, d_hidden=D_HIDDEN, dtype=np.float64):
    """Queries, keys and the three parameters, so small that tanh is neither straight nor flat."""
    shapes = [(*batch, T, d_q), (*batch, S, d_k), (d_q, d_hidden), (d_k, d_hidden), (d_hidden,)]
    queries, keys, W_q, W_k, v = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    return queries, keys, W_q / d_q**0.5, W_k / d_k**0.5, v


@additive_scores.check(points=1)
def test_scores_of_known_numbers(student, rng):
    """A query `1` and the keys `0` and `−1`, all matrices `1` and `v = 2`, give the scores `2·tanh(1)` and `0`."""
    one = np.array([[1.0]])
    expect.close(
        student.additive_scores(one, np.array([[0.0], [-1.0]]), one, one, np.array([2.0])),
        np.array([[2 * np.tanh(1), 0.0]]),
        "Is it projected, added, bent by tanh, and only then multiplied by v?",
    )
    arguments = _questions(rng, T=1, S=1)
    expect.close(
        student.additive_scores(*arguments),
        reference.additive_scores(*arguments),
        "Is it v · tanh(q W_q + k W_k), in that order?",
    )


@additive_scores.check(points=2)
def test_every_query_meets_every_key(student, rng):
    """Three queries and five keys give a table of 3 × 5 scores; five and five give 5 × 5."""
    for T_, S_ in ((3, 5), (5, 3), (5, 5), (1, 5)):
        arguments = _questions(rng, T=T_, S=S_)
        expect.close(
            student.additive_scores(*arguments),
            reference.additive_scores(*arguments),
            f"For T = {T_} and S = {S_}: do the queries stand along an axis of their own, (T, 1, d_hidden), beside "
            "the keys, (1, S, d_hidden)?",
        )


@additive_scores.check(points=1)
def test_the_question_counts(student, rng):
    """Two questions disagree about how much better one key is than another, by just as much as tanh says."""
    queries, keys, W_q, W_k, v = _questions(rng, T=2, S=2)
    e = expect.is_array(student.additive_scores(2 * queries, keys, W_q, W_k, v), (2, 2), "One row a query?")
    right = reference.additive_scores(2 * queries, keys, W_q, W_k, v)
    expect.close(
        np.asarray((e[0, 0] - e[0, 1]) - (e[1, 0] - e[1, 1])),
        np.asarray((right[0, 0] - right[0, 1]) - (right[1, 0] - right[1, 1])),
        "Do query and key meet inside one tanh? Where they do not, softmax cancels the query.",
    )


@additive_scores.check(points=1)
def test_scores_of_a_batch(student, rng):
    """In a batch each sequence is asked its own questions, also where B, T and S are equal."""
    for arguments in (_questions(rng, B), _questions(rng, 3, T=3, S=3), _questions(rng, B, 3, T=1)):
        expect.close(
            student.additive_scores(*arguments),
            reference.additive_scores(*arguments),
            "Are the new axes counted from the end, so that they fall behind the batch's?",
        )


@additive_scores.check(points=1)
def test_scores_never_leave_their_bounds(student, rng):
    """However large queries and keys are, no score exceeds the sum of `|v|`, and none is NaN."""
    queries, keys, W_q, W_k, v = _questions(rng)
    for size in (1e3, 1e5):
        expect.close(
            student.additive_scores(size * queries, keys, W_q, W_k, v),
            reference.additive_scores(size * queries, keys, W_q, W_k, v),
            "Does the sum pass through tanh before v? And where tanh is written with exp: what is exp(1000)?",
        )


@additive_scores.check(points=1)
def test_scores_leave_their_inputs_alone(student, rng):
    """It is right for float32 and for views, and all five arrays are the same afterwards."""
    arguments = [x.T.copy().T for x in _questions(rng, dtype=np.float32)]
    expect.close(student.additive_scores(*arguments), reference.additive_scores(*arguments))
    expect.unchanged(student, "Does `+=` or `*=` change it in place?")


@additive_scores.inputs
def _drawn_questions(rng):
    for batch in ((), (3,)) * 10:
        T_, S_ = (int(n) for n in rng.choice([1, 2, 5], 2))
        yield _questions(rng, *batch, T=T_, S=S_, d_q=3, d_k=3), {}


def _pairs(queries, keys, W_q, W_k):
    """(…, T, 1, d_hidden) and (…, 1, S, d_hidden): every projected query beside every projected key."""
    return (queries @ W_q)[..., :, None, :], (keys @ W_k)[..., None, :, :]


def _table(row_or_column, queries, keys):
    """Scores that depend on the query alone or on the key alone, repeated to the whole table."""
    shape = np.broadcast_shapes(queries.shape[:-2], keys.shape[:-2])
    return np.broadcast_to(row_or_column, (*shape, queries.shape[-2], keys.shape[-2])).copy()


@additive_scores.misconception(caught_by=test_the_question_counts)
def leaves_out_tanh(queries, keys, W_q, W_k, v):
    """There is no tanh. Then a score is one number from the query plus one from the key; the query's is the same for
    all keys, and softmax cancels it: every question gets the same answer. The tanh is what lets the two meet."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return (a + b) @ v


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def takes_tanh_after_v(queries, keys, W_q, W_k, v):
    """The tanh comes after v. Inside it, everything was already added up to one number, so there is only one bend for
    all hidden units, and every score lies between −1 and 1. First tanh, d_hidden of them; then v."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return np.tanh((a + b) @ v)


@additive_scores.misconception(caught_by=test_the_question_counts)
def bends_before_adding(queries, keys, W_q, W_k, v):
    """The tanh was taken of query and key separately, and then they were added. That is again something from the query
    plus something from the key, and softmax cancels the query's part. Add first, then bend the sum."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return (np.tanh(a) + np.tanh(b)) @ v


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def bends_only_the_query(queries, keys, W_q, W_k, v):
    """Only the projected query went through tanh; the key was added afterwards. Then the two never meet, and softmax
    cancels the query. The tanh goes around the sum of both."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return (np.tanh(a) + b) @ v


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def bends_only_the_key(queries, keys, W_q, W_k, v):
    """Only the projected key went through tanh; the query was added outside. Then softmax cancels it. The tanh goes
    around the sum of both."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return (a + np.tanh(b)) @ v


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def bends_the_inputs(queries, keys, W_q, W_k, v):
    """The tanh was taken of queries and keys themselves, before the projection. What is bent is the sum of the two
    projections."""
    a, b = _pairs(np.tanh(queries), np.tanh(keys), W_q, W_k)
    return (a + b) @ v


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def bends_with_the_sigmoid(queries, keys, W_q, W_k, v):
    """This bends with the sigmoid in place of tanh. It is a tanh, squeezed and lifted: (1 + tanh(x/2))/2. The scores
    that were asked for are those of tanh."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return ((1 + np.tanh((a + b) / 2)) / 2) @ v


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def bends_with_relu(queries, keys, W_q, W_k, v):
    """This bends with ReLU in place of tanh. It would learn too, as you will see; the scores asked for are those of
    tanh."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return np.maximum(a + b, 0) @ v


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def never_looks_at_the_query(queries, keys, W_q, W_k, v):
    """The query never enters the score: these are scores of the keys alone, the same for every question. Add
    `queries @ W_q` inside the tanh."""
    return _table((np.tanh(keys @ W_k) @ v)[..., None, :], queries, keys)


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def never_looks_at_the_key(queries, keys, W_q, W_k, v):
    """The key never enters the score: every key gets the same, so all weights are equal. Add `keys @ W_k` inside the
    tanh."""
    return _table((np.tanh(queries @ W_q) @ v)[..., :, None], queries, keys)


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def multiplies_in_place_of_adding(queries, keys, W_q, W_k, v):
    """The two projections were multiplied. That way of letting them meet is the dot product, chapter 4; here they are
    added, and tanh makes them meet."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return np.tanh(a * b) @ v


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def takes_the_dot_product(queries, keys, W_q, W_k, v):
    """This is the dot product of the two projections: multiplied and summed, with no tanh and no v. That is chapter 4.
    Here the projections are added, bent, and then multiplied with v."""
    return queries @ W_q @ np.swapaxes(keys @ W_k, -1, -2)


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def weighs_the_products(queries, keys, W_q, W_k, v):
    """The two projections were multiplied, unit by unit, and weighted with v. That is a dot product with weights: a
    good score, but not this one. Here the projections are added, bent by tanh, and then multiplied with v."""
    return (queries @ W_q * v) @ np.swapaxes(keys @ W_k, -1, -2)


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def subtracts_the_key(queries, keys, W_q, W_k, v):
    """The projected key was subtracted from the query's. A learned W_k could make up for the sign; with the W_k that is
    given, the scores are wrong. Add them."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return np.tanh(a - b) @ v


@additive_scores.misconception(caught_by=test_every_query_meets_every_key)
def compares_only_equals(queries, keys, W_q, W_k, v):
    """`queries @ W_q + keys @ W_k` lines query 1 up with key 1, query 2 with key 2. With one query it works by luck;
    with as many queries as keys it gives one score a pair of neighbours, without any error; else NumPy refuses. Every
    query must meet every key: give each an axis of its own, (T, 1, d_hidden) and (1, S, d_hidden)."""
    return np.tanh(queries @ W_q + keys @ W_k) @ v


@additive_scores.misconception(caught_by=test_every_query_meets_every_key)
def repeats_the_equals(queries, keys, W_q, W_k, v):
    """Each score of query t with key t was repeated along a row or laid on a diagonal: the other pairs were never
    compared. Every query must meet every key, (T, 1, d_hidden) beside (1, S, d_hidden)."""
    n = min(queries.shape[-2], keys.shape[-2])
    same = np.tanh(queries[..., :n, :] @ W_q + keys[..., :n, :] @ W_k) @ v
    table = _table(np.zeros(()), queries, keys)
    table[..., np.arange(n), np.arange(n)] = same
    return table


@additive_scores.misconception(caught_by=test_every_query_meets_every_key)
def lays_queries_along_columns(queries, keys, W_q, W_k, v):
    """This is the table on its side: one row a key, one column a query. It is to have one row a query, (T, S), so that
    softmax along the last axis shares out each query's look."""
    return np.swapaxes(reference.additive_scores(queries, keys, W_q, W_k, v), -1, -2)


@additive_scores.misconception(caught_by=test_scores_of_a_batch)
def forgets_the_batch(queries, keys, W_q, W_k, v):
    """The new axes were put at fixed places from the front, `[:, None, :]` and `[None, :, :]`. That is right for one
    sequence. In a batch every sequence meets every other one. Count from the end: `[..., :, None, :]` and
    `[..., None, :, :]`."""
    return np.tanh((queries @ W_q)[:, None, :] + (keys @ W_k)[None, :, :]) @ v


@additive_scores.misconception(caught_by=test_every_query_meets_every_key)
def asks_only_the_first_question(queries, keys, W_q, W_k, v):
    """Every row is that of the first query: the others are never asked. The function takes T queries at once."""
    return _table(reference.additive_scores(queries[..., :1, :], keys, W_q, W_k, v), queries, keys)


@additive_scores.misconception(caught_by=test_every_query_meets_every_key)
def averages_the_questions(queries, keys, W_q, W_k, v):
    """The queries were averaged to one before they were compared with the keys. Each query has a row of its own."""
    mean = queries.mean(-2, keepdims=True)
    return _table(reference.additive_scores(mean, keys, W_q, W_k, v), queries, keys)


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def sums_the_hidden_units(queries, keys, W_q, W_k, v):
    """The hidden units were summed without v, as if v were all ones. v says how much each unit counts, and with which
    sign: `tanh(…) @ v`."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return np.tanh(a + b).sum(-1)


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def keeps_the_hidden_axis(queries, keys, W_q, W_k, v):
    """The hidden units were multiplied by v but never summed: there are d_hidden numbers for each pair where one is
    wanted. `@ v` multiplies and sums."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return np.tanh(a + b) * v


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def averages_the_hidden_units(queries, keys, W_q, W_k, v):
    """The products with v were averaged over the hidden units, not summed: the scores are d_hidden times too small."""
    return reference.additive_scores(queries, keys, W_q, W_k, v) / len(v)


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def divides_by_the_root_of_the_hidden_width(queries, keys, W_q, W_k, v):
    """The scores were divided by √d_hidden. That is a matter of dot products, chapter 4: additive scores are bounded
    by v, and have no such need."""
    return reference.additive_scores(queries, keys, W_q, W_k, v) / len(v) ** 0.5


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def returns_weights_in_place_of_scores(queries, keys, W_q, W_k, v):
    """These are the weights, the softmax of the scores. Here only the scores are asked for; the softmax belongs to the
    next exercise, because a mask has to come in between."""
    return softmax(reference.additive_scores(queries, keys, W_q, W_k, v))


@additive_scores.misconception(caught_by=test_scores_of_known_numbers)
def swaps_the_matrices(queries, keys, W_q, W_k, v):
    """The matrices do not fit where they were put. W_q has shape (d_q, d_hidden) and belongs to the queries, W_k has
    shape (d_k, d_hidden) and belongs to the keys; vectors are rows, so it is `queries @ W_q`, without a transpose."""
    if queries.shape[-1] != keys.shape[-1]:
        raise ValueError("shapes do not fit")
    return reference.additive_scores(queries, keys, W_k, W_q, v)


@additive_scores.misconception(caught_by=test_scores_never_leave_their_bounds)
def writes_tanh_with_exp(queries, keys, W_q, W_k, v):
    """The tanh was written as (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ). That is its definition, and ∞/∞ for x = 1000. `np.tanh` is safe
    for every x."""
    a, b = _pairs(queries, keys, W_q, W_k)
    up, down = np.exp(a + b), np.exp(-(a + b))
    return ((up - down) / (up + down)) @ v


@additive_scores.misconception(caught_by=test_scores_leave_their_inputs_alone)
def writes_into_its_inputs(queries, keys, W_q, W_k, v):
    """The scores are right, but an array of the caller's is changed afterwards: `*=` or `+=` writes into it. Make a new
    array instead."""
    scores = reference.additive_scores(queries, keys, W_q, W_k, v)
    queries += 0.5
    return scores


@additive_scores.alternative
def scores_by_concatenation(queries, keys, W_q, W_k, v):
    T_, S_ = queries.shape[-2], keys.shape[-2]
    q = np.repeat(queries[..., :, None, :], S_, axis=-2)
    k = np.repeat(keys[..., None, :, :], T_, axis=-3)
    return np.tanh(np.concatenate([q, k], -1) @ np.concatenate([W_q, W_k])) @ v


@additive_scores.alternative
def scores_pair_by_pair(queries, keys, W_q, W_k, v, *, check=True):
    if queries.ndim > 2:
        return np.stack([scores_pair_by_pair(q, k, W_q, W_k, v) for q, k in zip(queries, keys, strict=check)])
    return np.array([[float(np.dot(v, np.tanh(W_q.T @ q + W_k.T @ k))) for k in keys] for q in queries])


@additive_scores.alternative
def scores_by_einsum(queries, keys, W_q, W_k, v):
    a = np.einsum("...td,dh->...th", np.asarray(queries, float), W_q)
    b = np.einsum("...sd,dh->...sh", np.asarray(keys, float), W_k)
    return np.einsum("...tsh,h->...ts", np.tanh(np.expand_dims(a, -2) + np.expand_dims(b, -3)), v)


# ------------------------------------------------------------------------------------------------ additive_attention

additive_attention = Exercise(
    "additive_attention",
    chapter=3,
    reference=reference.additive_attention,
    minutes=20,
    difficulty=2,
    forbidden=("attnlab.additive.additive_scores", "attnlab.additive.additive_attention"),
)


def _memory(rng, *batch, S=S, d_v=D_V, **sizes):
    """Queries, keys, values and the three parameters."""
    queries, keys, W_q, W_k, v = _questions(rng, *batch, S=S, **sizes)
    values = rng.normal(size=(*batch, S, d_v)).astype(sizes.get("dtype", np.float64))
    return queries, keys, values, W_q, W_k, v


@additive_attention.check(points=1)
def test_attention_of_known_numbers(student, rng):
    """Scores `log 3` and `0` make the weights `¾` and `¼`; the values `4` and `8` average to `5`."""
    one = np.array([[1.0]])
    v = np.array([np.log(3) / np.tanh(1)])
    expect.close(
        student.additive_attention(0 * one, np.array([[1.0], [0.0]]), np.array([[4.0], [8.0]]), one, one, v),
        np.array([[5.0]]),
        "Scores, softmax over the keys, average of the values: which of the three is missing?",
    )
    arguments = _memory(rng, T=1)
    expect.close(student.additive_attention(*arguments), reference.additive_attention(*arguments))


@additive_attention.check(points=2)
def test_each_query_gets_an_average_of_values(student, rng):
    """Each query shares one look among the keys, and takes home the average of the values."""
    for T_, S_, d_v in ((3, 5, 17), (5, 3, 17), (5, 5, D_K)):
        arguments = _memory(rng, T=T_, S=S_, d_v=d_v)
        expect.close(
            student.additive_attention(*arguments),
            reference.additive_attention(*arguments),
            "Does each row of the table, (T, S), become shares? And are they shares of `values`, not of `keys`?",
        )
    one, values = np.array([[1.0]]), rng.normal(size=(3, 7))
    expect.close(  # the scores of the first query are 1000, of the second −1000
        student.additive_attention(np.array([[9.0], [-9.0]]), 0 * values[:, :1], values, one, one, np.array([1000.0])),
        np.tile(values.mean(0), (2, 1)),
        "Has each query a maximum of its own? One for the whole table lets the low rows vanish.",
    )


@additive_attention.check(points=1)
def test_padding_gets_no_weight(student, rng):
    """With the last two keys forbidden, the answer is that of the first three alone."""
    queries, keys, values, *weights = _memory(rng)
    mask = np.arange(S) < 3
    expect.close(
        student.additive_attention(queries, keys, values, *weights, mask),
        reference.additive_attention(queries, keys[:3], values[:3], *weights),
        "True means: may attend. Does a forbidden score become −∞ before the softmax, so that the rest still sum to 1?",
    )
    expect.close(
        student.additive_attention(queries, keys, values, *weights, mask=None),
        reference.additive_attention(queries, keys, values, *weights),
        "Does it work without a mask, and with `mask=None`?",
    )


@additive_attention.check(points=1)
def test_a_mask_may_differ_from_query_to_query(student, rng):
    """A mask of shape (B, 1, S), (T, S) or (B, T, S) is spread over the scores, with one batch axis or more."""
    arguments = _memory(rng, B)
    for shape in ((B, 1, S), (T, S), (B, T, S)):
        mask = rng.random(shape) < 0.5
        mask[..., rng.integers(S)] = True
        given = (*arguments, mask)
        expect.close(
            student.additive_attention(*given),
            reference.additive_attention(*given),
            f"For a mask of shape {shape}: is it combined with the scores, shape (B, T, S), before the softmax?",
        )
    more = (*_memory(rng, 3, B), mask)
    expect.close(
        student.additive_attention(*more),
        reference.additive_attention(*more),
        "A batch may have two axes: are all axes counted from the end?",
    )


@additive_attention.check(points=1)
def test_a_forbidden_favourite_stays_forbidden(student, rng):
    """A key that may not be looked at gets nothing, even where its score is a thousand above the others'."""
    v = np.array([1000.0])
    one, values = np.array([[1.0]]), rng.normal(size=(3, 7))
    keys = np.array([[9.0], [-9.0], [-9.0]])
    mask = np.array([[False, True, True]])
    expect.close(
        student.additive_attention(0 * one, keys, values, one, one, v),
        values[:1],
        "Does exp overflow for a score of 1000?",
    )
    expect.close(
        student.additive_attention(0 * one, keys, values, one, one, v, mask),
        values[1:].mean(0, keepdims=True),
        "Is the key forbidden before the softmax, by a score that is below every score there may be?",
    )


@additive_attention.check(points=1)
def test_attention_leaves_its_inputs_alone(student, rng):
    """It is right for float32 and for views, and all arrays are the same afterwards, the mask too."""
    mask = np.ones((T, S), bool)
    mask[1, 2:] = False
    arguments = [*(x.T.copy().T for x in _memory(rng, dtype=np.float32)), mask]
    expect.close(student.additive_attention(*arguments), reference.additive_attention(*arguments))
    expect.unchanged(student, "Does `+=` or `*=`, or a write into it, change it?")


@additive_attention.inputs
def _drawn_memories(rng):
    for batch in ((), (3,)) * 10:
        T_, S_ = (int(n) for n in rng.choice([2, 3, 5], 2))
        arguments = _memory(rng, *batch, T=T_, S=S_, d_q=3, d_k=3, d_v=3)
        mask = rng.random((*batch, T_, S_)) < 0.6
        mask[..., 0] = True
        yield arguments, {"mask": mask}


def _barrier(scores, mask, fill):
    return scores if mask is None else np.where(mask, scores, fill)


@additive_attention.misconception(caught_by=test_padding_gets_no_weight)
def ignores_the_mask(queries, keys, values, W_q, W_k, v, mask=None):
    """The mask has no effect: padding is attended to like any word. A zero vector is not nothing; it gets a score and
    a share. Make the forbidden scores −∞ before the softmax."""
    return reference.additive_attention(queries, keys, values, W_q, W_k, v)


@additive_attention.misconception(caught_by=test_padding_gets_no_weight)
def turns_the_mask_around(queries, keys, values, W_q, W_k, v, mask=None):
    """The mask was read the other way round: what it permits is forbidden. Here True means: may attend.
    PyTorch's own attention layer means the opposite in one of its arguments; hence the mix-up."""
    scores = reference.additive_scores(queries, keys, W_q, W_k, v)
    with np.errstate(invalid="ignore"):
        return softmax(scores if mask is None else np.where(mask, -np.inf, scores)) @ values


@additive_attention.misconception(caught_by=test_padding_gets_no_weight)
def masks_after_the_softmax(queries, keys, values, W_q, W_k, v, mask=None):
    """The weights (or the values) were set to zero after the softmax. Padding has taken its share by then, and the rest
    no longer add up to one. Forbid the scores, before the softmax."""
    alpha = softmax(reference.additive_scores(queries, keys, W_q, W_k, v))
    return (alpha if mask is None else alpha * mask) @ values


@additive_attention.misconception(caught_by=test_a_forbidden_favourite_stays_forbidden)
def masks_after_the_softmax_and_shares_again(queries, keys, values, W_q, W_k, v, mask=None):
    """The weights were set to zero after the softmax and then divided by their sum. On paper that is right; but where a
    forbidden key has by far the greatest score, all others were rounded to 0 before, and 0/0 is NaN. Forbid the scores,
    before the softmax."""
    alpha = softmax(reference.additive_scores(queries, keys, W_q, W_k, v))
    with np.errstate(invalid="ignore"):
        alpha = alpha if mask is None else alpha * mask / (alpha * mask).sum(-1, keepdims=True)
    return alpha @ values


@additive_attention.misconception(caught_by=test_padding_gets_no_weight)
def gives_padding_the_score_zero(queries, keys, values, W_q, W_k, v, mask=None):
    """A forbidden score was made 0, or multiplied by 0. But 0 is an ordinary score, and e⁰ = 1 is an ordinary share;
    where the other scores are negative it even wins. A score that forbids is −∞."""
    return softmax(_barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, 0.0)) @ values


@additive_attention.misconception(caught_by=test_padding_gets_no_weight)
def forbids_with_the_smallest_positive(queries, keys, values, W_q, W_k, v, mask=None):
    """A forbidden score was made a tiny number, such as 1e-9. Tiny is near 0, and e⁰ = 1. What forbids is far *below*
    all scores: −∞, or −1e9."""
    return softmax(_barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, 1e9)) @ values


@additive_attention.misconception(caught_by=test_a_forbidden_favourite_stays_forbidden)
def forbids_too_timidly(queries, keys, values, W_q, W_k, v, mask=None):
    """A forbidden score was replaced by a number that looks low, such as −20 or −100, or only lowered by so much. A
    permitted score may lie below it, and then the forbidden key wins. −∞ lies below everything."""
    return softmax(_barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, -50.0)) @ values


@additive_attention.misconception(caught_by=test_padding_gets_no_weight)
def adds_the_mask_as_a_number(queries, keys, values, W_q, W_k, v, mask=None):
    """The mask was added to the scores as it is: True counts as 1, False as 0. That favours what is permitted a little,
    and forbids nothing. Where the mask is False, the score has to become −∞."""
    scores = reference.additive_scores(queries, keys, W_q, W_k, v)
    return softmax(scores if mask is None else scores + mask) @ values


@additive_attention.misconception(caught_by=test_padding_gets_no_weight)
def forbids_with_plus_infinity(queries, keys, values, W_q, W_k, v, mask=None):
    """A forbidden score became +∞, the best score there is, and ∞ − ∞ is NaN. It must be the worst: −∞."""
    with np.errstate(invalid="ignore"):
        return softmax(_barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, np.inf)) @ values


@additive_attention.misconception(caught_by=test_padding_gets_no_weight)
def asks_whether_the_mask_is_true(queries, keys, values, W_q, W_k, v, mask=None):
    """`if mask:` asks whether the array is true, and an array of several booleans cannot say. Ask whether there is a
    mask: `if mask is not None:`."""
    scores = reference.additive_scores(queries, keys, W_q, W_k, v)
    return softmax(np.where(mask, scores, -np.inf) if mask else scores) @ values


@additive_attention.misconception(caught_by=test_a_mask_may_differ_from_query_to_query)
def picks_with_the_mask(queries, keys, values, W_q, W_k, v, mask=None):
    """`scores[~mask] = …` picks entries, and for that the mask must have the shape of the scores; nothing is broadcast.
    A mask `(S,)` or `(B, 1, S)` does not fit. `np.where(mask, scores, -np.inf)` spreads it."""
    scores = np.array(reference.additive_scores(queries, keys, W_q, W_k, v))
    if mask is not None:
        scores[~mask] = -np.inf
    return softmax(scores) @ values


@additive_attention.misconception(caught_by=test_padding_gets_no_weight)
def needs_a_mask(queries, keys, values, W_q, W_k, v, mask=None):
    """With `mask=None` nothing comes out but NaN or an error: None was used as if it were an array. Without a mask
    everything is permitted."""
    scores = reference.additive_scores(queries, keys, W_q, W_k, v)
    return softmax(np.where(mask, scores, -np.inf)) @ values


@additive_attention.misconception(caught_by=test_each_query_gets_an_average_of_values)
def lets_the_queries_compete(queries, keys, values, W_q, W_k, v, mask=None):
    """The softmax runs over the queries: for each key the shares add up to one. But it is a query that has one look to
    share out among the keys. Softmax along the last axis of (T, S)."""
    scores = _barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, -np.inf)
    with np.errstate(invalid="ignore"):
        return softmax(scores, -2) @ values


@additive_attention.misconception(caught_by=test_each_query_gets_an_average_of_values)
def takes_one_softmax_for_the_table(queries, keys, values, W_q, W_k, v, mask=None):
    """One softmax was taken over the whole table: all queries together share one look. Each row has its own; give
    softmax the axis −1."""
    scores = _barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, -np.inf)
    flat = scores.reshape(*scores.shape[:-2], -1)
    return softmax(flat).reshape(scores.shape) @ values


@additive_attention.misconception(caught_by=test_each_query_gets_an_average_of_values)
def averages_the_keys(queries, keys, values, W_q, W_k, v, mask=None):
    """The keys were averaged where the values are meant. Keys say where to look, values what is found there: asked for
    a hat, you would answer with a name."""
    return reference.additive_attention(queries, keys, keys, W_q, W_k, v, mask)


@additive_attention.misconception(caught_by=test_attention_of_known_numbers)
def weighs_with_the_scores(queries, keys, values, W_q, W_k, v, mask=None):
    """The scores themselves were used as weights: the softmax is missing. They can be negative, and do not add up to
    one."""
    return _barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, 0.0) @ values


@additive_attention.misconception(caught_by=test_attention_of_known_numbers)
def weighs_with_the_sigmoid(queries, keys, values, W_q, W_k, v, mask=None):
    """The sigmoid of each score was taken in place of the softmax of a row. Then the keys do not compete, the weights
    do not add up to one, and the answer is no average."""
    scores = _barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, -np.inf)
    return (1 + np.tanh(scores / 2)) / 2 @ values


@additive_attention.misconception(caught_by=test_each_query_gets_an_average_of_values)
def attends_without_tanh(queries, keys, values, W_q, W_k, v, mask=None):
    """The tanh is missing. Then softmax cancels what the query adds, and every query gets the same answer."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return masked_softmax((a + b) @ v, mask) @ values


@additive_attention.misconception(caught_by=test_each_query_gets_an_average_of_values)
def attends_with_tanh_after_v(queries, keys, values, W_q, W_k, v, mask=None):
    """The tanh comes after v: every score lies between −1 and 1, and no key can win clearly. First tanh, then v."""
    a, b = _pairs(queries, keys, W_q, W_k)
    return masked_softmax(np.tanh((a + b) @ v), mask) @ values


@additive_attention.misconception(caught_by=test_each_query_gets_an_average_of_values)
def attends_without_a_question(queries, keys, values, W_q, W_k, v, mask=None):
    """The query never enters the score, so every query gets the same answer. It belongs inside the tanh, added to the
    key."""
    return masked_softmax(never_looks_at_the_query(queries, keys, W_q, W_k, v), mask) @ values


@additive_attention.misconception(caught_by=test_attention_of_known_numbers)
def attention_returns_the_weights(queries, keys, values, W_q, W_k, v, mask=None):
    """These are the weights, shape (T, S). They say where each query looks; multiply them with the values to say what
    it finds."""
    return masked_softmax(reference.additive_scores(queries, keys, W_q, W_k, v), mask)


@additive_attention.misconception(caught_by=test_attention_of_known_numbers)
def attention_takes_softmax_twice(queries, keys, values, W_q, W_k, v, mask=None):
    """There are two softmaxes, one after the other: were the scores weights already? The second sees numbers between 0
    and 1, and makes nearly equal weights of them. Softmax the scores once."""
    first = masked_softmax(reference.additive_scores(queries, keys, W_q, W_k, v), mask)
    return masked_softmax(first, mask) @ values


@additive_attention.misconception(caught_by=test_attention_of_known_numbers)
def scales_by_the_root(queries, keys, values, W_q, W_k, v, mask=None):
    """The scores were divided by the square root of a width. That is for dot products, chapter 4; additive scores are
    used as they are."""
    scores = reference.additive_scores(queries, keys, W_q, W_k, v)
    return masked_softmax(scores / len(W_k) ** 0.5, mask) @ values


@additive_attention.misconception(caught_by=test_attention_of_known_numbers)
def scales_by_the_root_of_the_hidden_width(queries, keys, values, W_q, W_k, v, mask=None):
    """The scores were divided by the square root of the number of hidden units. That is for dot products, chapter 4;
    additive scores are used as they are."""
    scores = reference.additive_scores(queries, keys, W_q, W_k, v)
    return masked_softmax(scores / len(v) ** 0.5, mask) @ values


@additive_attention.misconception(caught_by=test_attention_of_known_numbers)
def attention_averages_twice(queries, keys, values, W_q, W_k, v, mask=None):
    """The weighted values were divided by the number of keys, as a mean does. The weights add up to one already."""
    return reference.additive_attention(queries, keys, values, W_q, W_k, v, mask) / keys.shape[-2]


@additive_attention.misconception(caught_by=test_attention_of_known_numbers)
def takes_only_the_best_key(queries, keys, values, W_q, W_k, v, mask=None):
    """Only the value of the best key came back. That is argmax: it has no gradient to learn from. Softmax gives every
    key a share."""
    scores = _barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, -np.inf)
    return np.take_along_axis(
        np.broadcast_to(values, (*scores.shape[:-2], *values.shape[-2:])), scores.argmax(-1)[..., None], -2
    )


@additive_attention.misconception(caught_by=test_a_forbidden_favourite_stays_forbidden)
def attention_overflows(queries, keys, values, W_q, W_k, v, mask=None):
    """The exponential of a large score is infinite, and ∞/∞ is NaN. Use a softmax that subtracts the maximum of the
    row, as in chapter 1."""
    e = np.exp(_barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, -np.inf))
    return e / e.sum(-1, keepdims=True) @ values


@additive_attention.misconception(caught_by=test_each_query_gets_an_average_of_values)
def attention_subtracts_one_maximum_for_all(queries, keys, values, W_q, W_k, v, mask=None):
    """The greatest score of the whole table was subtracted. A row far below it becomes all zeros after exp, and 0/0 is
    NaN. Each query needs its own maximum: along the last axis, with `keepdims=True`."""
    scores = _barrier(reference.additive_scores(queries, keys, W_q, W_k, v), mask, -np.inf)
    e = np.exp(scores - scores.max())
    return e / e.sum(-1, keepdims=True) @ values


@additive_attention.misconception(caught_by=test_a_mask_may_differ_from_query_to_query)
def attention_takes_one_batch_axis_at_most(queries, keys, values, W_q, W_k, v, mask=None):
    """This is right for one batch axis or none, for the axes are named one by one. There may be several: write `...` in
    einsum, or `weights @ values`."""
    alpha = masked_softmax(reference.additive_scores(queries, keys, W_q, W_k, v), mask)
    return np.einsum("ts,sd->td" if alpha.ndim == 2 else "bts,bsd->btd", alpha, values)


@additive_attention.misconception(caught_by=test_attention_leaves_its_inputs_alone)
def attention_writes_into_its_inputs(queries, keys, values, W_q, W_k, v, mask=None):
    """The answer is right, but an array of the caller's is changed afterwards: `*=`, or a write into it. Make a new
    array instead."""
    out = reference.additive_attention(queries, keys, values, W_q, W_k, v, mask)
    values *= 0.5
    return out


@additive_attention.alternative
def attention_with_a_finite_fill(queries, keys, values, W_q, W_k, v, mask=None):
    scores = scores_by_einsum(queries, keys, W_q, W_k, v)
    if mask is not None:
        scores = np.where(mask, scores, -1e9)
    return np.einsum("...ts,...sd->...td", softmax(scores), values)


@additive_attention.alternative
def attention_by_multiplying_exponentials(queries, keys, values, W_q, W_k, v, mask=None):
    scores = reference.additive_scores(queries, keys, W_q, W_k, v)
    keep = np.ones_like(scores) if mask is None else np.broadcast_to(mask, scores.shape).astype(float)
    e = np.exp(scores - np.where(keep > 0, scores, -np.inf).max(-1, keepdims=True), where=keep > 0, out=0 * scores)
    return (e / e.sum(-1, keepdims=True)) @ values


@additive_attention.alternative
def attention_query_by_query(queries, keys, values, W_q, W_k, v, mask=None, **unused):
    if queries.ndim > 2:
        shape = (*queries.shape[:-1], keys.shape[-2])
        masks = np.broadcast_to(True if mask is None else mask, shape)
        return np.stack(
            [
                attention_query_by_query(q, k, x, W_q, W_k, v, m)
                for q, k, x, m in zip(queries, keys, values, masks, strict=True)
            ]
        )
    out = []
    for t, q in enumerate(queries):
        kept = [s for s in range(len(keys)) if mask is None or np.broadcast_to(mask, (len(queries), len(keys)))[t, s]]
        scores = np.array([np.tanh(q @ W_q + keys[s] @ W_k) @ v for s in kept])
        out.append(softmax(scores) @ values[kept])
    return np.array(out)


# ------------------------------------------------------------------------------------------------- AdditiveAttention

AdditiveAttention = Exercise(
    "AdditiveAttention",
    chapter=3,
    reference=reference.AdditiveAttention,
    minutes=20,
    difficulty=2,
    forbidden=("attnlab.additive.AdditiveAttention", "attnlab.additive.additive_attention"),
)


def _tensors(*arrays):
    return [torch.tensor(x, dtype=torch.float32) for x in arrays]


def _layers(W_q, W_k, v):
    """The parameters as the layers keep them: the other way round."""
    return {"W_q.weight": W_q.T, "W_k.weight": W_k.T, "v.weight": v[None]}


def _asked(student, rng, *, T=T, S=S, d_v=D_V):
    """A module of the student's with parameters of ours, the reference with the same, and queries, keys, values."""
    queries, keys, values, *parameters = _tensors(*_memory(rng, B, T=T, S=S, d_v=d_v))
    module = student.AdditiveAttention(D_Q, D_K, D_HIDDEN)
    module.load(_layers(*parameters))
    ours = reference.AdditiveAttention(D_Q, D_K, D_HIDDEN)
    ours.load_state_dict(_layers(*parameters))
    return module, ours, (queries, keys, values)


@AdditiveAttention.check(points=1)
def test_the_module_has_three_matrices(student, rng):
    """The parameters are `W_q.weight`, `W_k.weight` and `v.weight`, of shapes `(d_hidden, d_q)`, `(d_hidden, d_k)` and
    `(1, d_hidden)`, and no others."""
    module, ours, _ = _asked(student, rng)
    found = {name: tuple(value.shape) for name, value in module.parameters().items()}
    wanted = {name: tuple(value.shape) for name, value in ours.named_parameters()}
    biased = " and ".join(f"`{name.removesuffix('.bias')}`" for name in found if name.endswith(".bias"))
    expect.true(
        found == wanted,
        f"Your module has {_listed(found)}; expected is {_listed(wanted)}.",
        f"Is `bias=False` missing in {biased}?" if biased else "Is there a layer too many?",
    )


def _listed(shapes):
    return ", ".join(f"`{name}` {shape}" for name, shape in shapes.items()) or "no parameters"


@AdditiveAttention.check(points=1)
def test_the_module_of_known_numbers(student, rng):
    """Scores `log 3` and `0` make the weights `¾` and `¼`; the values `4` and `8` average to `5`."""
    module = student.AdditiveAttention(1, 1, 1)
    one = np.ones((1, 1))
    module.load(_layers(*_tensors(one, one, np.array([np.log(3) / np.tanh(1)]))))
    queries, keys, values = _tensors(np.zeros((1, 1, 1)), [[[1.0], [0.0]]], [[[4.0], [8.0]]])
    expect.close(
        module(queries, keys, values),
        np.array([[[5.0]]], dtype=np.float32),
        "Scores, softmax over the keys, average of the values: which of the three is missing?",
    )
    module, ours, inputs = _asked(student, rng, T=1)
    expect.close(module(*inputs), ours(*inputs), "Is it the softmax of v · tanh(W_q q + W_k k)?")


@AdditiveAttention.check(points=1)
def test_the_module_answers_every_query(student, rng):
    """Every query meets every key of its own sequence, whether there are as many of them or not."""
    for T_, S_, d_v in ((3, 5, 17), (5, 3, 17), (5, 5, D_K), (1, 1, 17)):
        module, ours, inputs = _asked(student, rng, T=T_, S=S_, d_v=d_v)
        expect.close(
            module(*inputs),
            ours(*inputs),
            f"For T = {T_}, S = {S_}, d_v = {d_v}: do the queries have an axis of their own before the sum, and does "
            "the softmax run over the keys?",
        )


@AdditiveAttention.check(points=1)
def test_the_module_obeys_its_mask(student, rng):
    """Where the mask is False, a key gets no weight, whatever its score; a mask broadcasts to (B, T, S)."""
    module, ours, inputs = _asked(student, rng)
    for shape in ((S,), (B, 1, S), (B, T, S)):
        mask = rng.random(shape) < 0.5
        mask[..., rng.integers(S)] = True
        if mask.all():
            mask[..., 0], mask[..., 1] = False, True
        expect.close(
            module(*inputs, torch.tensor(mask)),
            ours(*inputs, torch.tensor(mask)),
            f"For a mask of shape {shape}: does a forbidden score become −∞ before the softmax?",
        )
    expect.close(
        module(*inputs),
        ours(*inputs),
        "This call has no mask, so all may be looked at. Does the module remember the mask of an earlier call?",
    )
    queries, keys, values = inputs
    loud = {"W_q.weight": torch.zeros(D_HIDDEN, D_Q), "v.weight": torch.full((1, D_HIDDEN), 100.0)}
    loud["W_k.weight"] = torch.cat([torch.ones(D_HIDDEN, 1), torch.zeros(D_HIDDEN, D_K - 1)], 1)
    module.load(loud)
    keys = keys.clone()
    keys[:, :, 0] = torch.tensor([9.0, -9.0, -9.0, -9.0, -9.0])
    expect.close(
        module(queries, keys, values, torch.tensor([False, True, True, True, True])),
        values[:, 1:].mean(1, keepdim=True).expand(-1, T, -1),
        "Is the key forbidden before the softmax, by a score that is below every score there may be?",
        tolerance=5e-4,  # the scores are −1300, and float32 knows them to 1e-4
    )
    module.load({"W_q.weight": loud["W_k.weight"][:, :D_Q]})
    queries = queries.clone()
    queries[:, :, 0] = torch.tensor([9.0, -9.0, -9.0])
    expect.close(
        module(queries, 0 * keys, values),
        values.mean(1, keepdim=True).expand(-1, T, -1),
        "The scores of one query are 1300 here, of the others −1300. Has each row a maximum of its own?",
        tolerance=5e-4,
    )


@AdditiveAttention.check(points=2)
def test_gradients_reach_every_parameter(student, rng):
    """The gradients of all three matrices and of queries, keys and values are those of the formula."""
    module, ours, inputs = _asked(student, rng)
    g = torch.tensor(rng.normal(size=(B, T, D_V)), dtype=torch.float32)
    came = module.gradients(*inputs, cotangent=g)
    leaves = [x.clone().requires_grad_() for x in inputs]
    wanted = torch.autograd.grad((ours(*leaves) * g).sum(), [*leaves, *ours.parameters()])
    expect.close(came.value, ours(*inputs))
    names = ["queries", "keys", "values", *dict(ours.named_parameters())]
    found = [*came.inputs, *(came.parameters.get(name) for name in names[3:])]
    for name, gradient, right in zip(names, found, wanted, strict=True):
        expect.true(
            gradient is not None,
            f"No gradient reaches `{name}`: it would never learn.",
            "Was something detached, turned into NumPy, or not used at all?",
        )
        expect.close(gradient, right, f"This is the gradient of `{name}`. Is the way there all PyTorch?", 1e-4)


@AdditiveAttention.check(points=1)
def test_the_module_leaves_its_inputs_alone(student, rng):
    """It is right for views, and all tensors are the same afterwards, the mask too."""
    module, ours, inputs = _asked(student, rng)
    inputs = [x.mT.contiguous().mT for x in inputs]
    mask = torch.ones(B, T, S, dtype=torch.bool)
    mask[:, 1, 2:] = False
    want = ours(*inputs, mask)
    expect.close(module(*inputs, mask), want)
    expect.close(module(*inputs, mask=mask), want, "The second answer differs from the first.")
    expect.unchanged(student, "Does a function with a `_` at its end, or `+=`, do that?")


class _InSteps(torch.nn.Module):
    """Additive attention in steps, which a wrong answer can replace one by one."""

    def __init__(self, d_q, d_k, d_hidden):
        super().__init__()
        self.W_q = torch.nn.Linear(d_q, d_hidden, bias=False)
        self.W_k = torch.nn.Linear(d_k, d_hidden, bias=False)
        self.v = torch.nn.Linear(d_hidden, 1, bias=False)

    def hidden(self, a, b):
        return torch.tanh(a + b)

    def scores(self, queries, keys):
        return self.v(self.hidden(self.W_q(queries)[:, :, None], self.W_k(keys)[:, None]))[..., 0]

    def weights(self, scores, mask):
        return masked_softmax(scores, mask)

    def forward(self, queries, keys, values, mask=None):
        return self.weights(self.scores(queries, keys), mask) @ values


@AdditiveAttention.misconception(caught_by=test_the_module_has_three_matrices)
class AdditiveWithBiases(_InSteps):
    """The layers have biases, which `nn.Linear` makes unless told not to. The formula has none. Write
    `nn.Linear(…, bias=False)`, three times."""

    biased: tuple[str, ...] = ("W_q", "W_k", "v")

    def __init__(self, d_q, d_k, d_hidden):
        torch.nn.Module.__init__(self)  # no layer is drawn but these, so that the biases are those that a student gets
        self.W_q = torch.nn.Linear(d_q, d_hidden, bias="W_q" in self.biased)
        self.W_k = torch.nn.Linear(d_k, d_hidden, bias="W_k" in self.biased)
        self.v = torch.nn.Linear(d_hidden, 1, bias="v" in self.biased)


@AdditiveAttention.misconception(caught_by=test_the_module_has_three_matrices)
class AdditiveWithABiasOfTheQuery(AdditiveWithBiases):
    """`W_q` has a bias, which `nn.Linear` makes unless told not to. The formula has none: `bias=False` belongs into all
    three layers, and is missing in this one."""

    biased = ("W_q",)


@AdditiveAttention.misconception(caught_by=test_the_module_has_three_matrices)
class AdditiveWithABiasOfTheKey(AdditiveWithBiases):
    """`W_k` has a bias, which `nn.Linear` makes unless told not to. The formula has none: `bias=False` belongs into all
    three layers, and is missing in this one."""

    biased = ("W_k",)


@AdditiveAttention.misconception(caught_by=test_the_module_has_three_matrices)
class AdditiveWithABiasOfTheScore(AdditiveWithBiases):
    """`v` has a bias, which `nn.Linear` makes unless told not to. It moves all scores alike, so the softmax erases it:
    the answers are right, and yet it is a parameter that never learns. Write `nn.Linear(d_hidden, 1, bias=False)`."""

    biased = ("v",)


@AdditiveAttention.misconception(caught_by=test_the_module_has_three_matrices)
class AdditiveWithBiasesInside(AdditiveWithBiases):
    """`W_q` and `W_k` have biases, which `nn.Linear` makes unless told not to. The formula has none: `bias=False`
    belongs into all three layers."""

    biased = ("W_q", "W_k")


@AdditiveAttention.misconception(caught_by=test_the_module_has_three_matrices)
class AdditiveWithHiddenParameters(_InSteps):
    """The parameters are not where they are looked for. Either they are plain tensors, which a module does not know to
    be its own, so that no optimiser would move them; or they have other names or shapes. Make three layers,
    `self.W_q = nn.Linear(d_q, d_hidden, bias=False)` and so on."""

    def __init__(self, d_q, d_k, d_hidden):
        super().__init__(d_q, d_k, d_hidden)
        W_q, W_k, v = self.W_q, self.W_k, self.v
        del self.W_q, self.W_k, self.v
        self.layers = (W_q, W_k, v)  # a tuple, which the module does not search

    def scores(self, queries, keys):
        W_q, W_k, v = self.layers
        return v(torch.tanh(W_q(queries)[:, :, None] + W_k(keys)[:, None]))[..., 0]


@AdditiveAttention.misconception(caught_by=test_the_module_has_three_matrices)
class AdditiveWithALayerTooMany(AdditiveWithBiases):
    """There is a layer for the values, too, which is never asked. The values are averaged as they come: three layers
    are enough, `W_q`, `W_k` and `v`."""

    biased = ()

    def __init__(self, d_q, d_k, d_hidden):
        super().__init__(d_q, d_k, d_hidden)
        self.W_v = torch.nn.Linear(d_hidden, d_hidden, bias=False)


@AdditiveAttention.misconception(caught_by=test_the_module_answers_every_query)
class AdditiveWithOneMatrix(_InSteps):
    """Queries and keys go through the same matrix. Where they have different widths that is an error, and where they
    have the same, a question can only find what looks like itself. Queries go through W_q, keys through W_k."""

    def scores(self, queries, keys):
        return self.v(self.hidden(self.W_k(queries)[:, :, None], self.W_k(keys)[:, None]))[..., 0]


@AdditiveAttention.misconception(caught_by=test_the_module_answers_every_query)
class AdditiveWithoutTanh(_InSteps):
    """The tanh is missing. Then softmax cancels what the query adds to its row, and W_q never gets a gradient."""

    def hidden(self, a, b):
        return a + b


@AdditiveAttention.misconception(caught_by=test_the_module_answers_every_query)
class AdditiveWithTanhAfterV(_InSteps):
    """The tanh comes after v. Then every score lies between −1 and 1, and all hidden units share one bend. First tanh,
    then `self.v`."""

    def scores(self, queries, keys):
        return torch.tanh(self.v(self.W_q(queries)[:, :, None] + self.W_k(keys)[:, None]))[..., 0]


@AdditiveAttention.misconception(caught_by=test_the_module_answers_every_query)
class AdditiveThatBendsBeforeAdding(_InSteps):
    """The tanh was taken of query and key separately, and then they were added. Softmax cancels the query's part. Add
    first, then bend the sum."""

    def hidden(self, a, b):
        return torch.tanh(a) + torch.tanh(b)


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveWithReLU(_InSteps):
    """This bends with ReLU in place of tanh. It would learn; the formula that was asked for has tanh."""

    def hidden(self, a, b):
        return torch.relu(a + b)


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveWithSigmoid(_InSteps):
    """This bends with the sigmoid in place of tanh. The formula that was asked for has tanh."""

    def hidden(self, a, b):
        return torch.sigmoid(a + b)


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveThatMultiplies(_InSteps):
    """The two projections were multiplied where they are to be added. The product is chapter 4."""

    def hidden(self, a, b):
        return torch.tanh(a * b)


@AdditiveAttention.misconception(caught_by=test_the_module_answers_every_query)
class AdditiveWithoutAQuestion(_InSteps):
    """The query never enters the score: W_q is made and not used, and every query gets the same answer. Add
    `self.W_q(queries)` inside the tanh."""

    def hidden(self, a, b):
        return torch.tanh(0 * a.detach() + b)


@AdditiveAttention.misconception(caught_by=test_the_module_answers_every_query)
class AdditiveOfEquals(_InSteps):
    """`self.W_q(queries) + self.W_k(keys)` lines query 1 up with key 1, query 2 with key 2. It works by luck for one
    query, and without an error for as many queries as keys. Give each an axis of its own: `[:, :, None]` for the
    queries, `[:, None]` for the keys."""

    def scores(self, queries, keys):
        return self.v(torch.tanh(self.W_q(queries) + self.W_k(keys))).mT


@AdditiveAttention.misconception(caught_by=test_the_module_answers_every_query)
class AdditiveOfEqualsInARow(_InSteps):
    """`self.W_q(queries) + self.W_k(keys)` lines query 1 up with key 1, query 2 with key 2: one score a pair of equals,
    `(B, S)`, where a table `(B, T, S)` is wanted. Give each an axis of its own: `[:, :, None]` for the queries,
    `[:, None]` for the keys."""

    def scores(self, queries, keys):
        return self.v(torch.tanh(self.W_q(queries) + self.W_k(keys)))[..., 0]


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveOverASingleNumber(_InSteps):
    """The softmax runs over the last axis of `(B, T, S, 1)`, which holds one number: its share is always 1, and the
    values are added up. Take that axis away first, `[..., 0]`; then the keys are the last axis."""

    def weights(self, scores, mask):
        return masked_softmax(scores[..., None], None if mask is None else mask[..., None])[..., 0]


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveThatSqueezes(_InSteps):
    """`.squeeze()` takes away *every* axis of length 1: that of the queries too where there is only one, and that of
    the batch. Say which: `.squeeze(-1)`, or `[..., 0]`."""

    def scores(self, queries, keys):
        return super().scores(queries, keys).squeeze()


@AdditiveAttention.misconception(caught_by=test_the_module_answers_every_query)
class AdditiveWhereQueriesCompete(_InSteps):
    """The softmax runs over the queries, axis 1 of (B, T, S). But it is a query that shares out its look among the
    keys: the last axis, `dim=-1`."""

    def weights(self, scores, mask):
        return torch.softmax(scores if mask is None else scores.masked_fill(~mask, -torch.inf), -2)


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveWithSigmoidWeights(_InSteps):
    """The sigmoid of each score was taken in place of the softmax of a row. Then the weights do not add up to one."""

    def weights(self, scores, mask):
        return torch.sigmoid(scores if mask is None else scores.masked_fill(~mask, -torch.inf))


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveWithoutSoftmax(_InSteps):
    """The scores themselves were used as weights: the softmax is missing."""

    def weights(self, scores, mask):
        return scores if mask is None else scores * mask


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveWithTwoSoftmaxes(_InSteps):
    """There are two softmaxes, one after the other. The second sees numbers between 0 and 1, and makes nearly equal
    weights of them. Softmax the scores once."""

    def weights(self, scores, mask):
        return masked_softmax(masked_softmax(scores, mask), mask)


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveWithScale(_InSteps):
    """The scores were divided by √d_hidden. That belongs to dot products, chapter 4; v learns its own scale."""

    def weights(self, scores, mask):
        return masked_softmax(scores / self.v.in_features**0.5, mask)


@AdditiveAttention.misconception(caught_by=test_the_module_answers_every_query)
class AdditiveOfTheKeys(_InSteps):
    """The keys were averaged where the values are meant. Keys say where to look, values what is found there."""

    def forward(self, queries, keys, values, mask=None):
        return super().forward(queries, keys, keys, mask)


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveThatReturnsWeights(_InSteps):
    """These are the weights, shape (B, T, S). `forward` returns what they are used for: `weights @ values`."""

    def forward(self, queries, keys, values, mask=None):
        return self.weights(self.scores(queries, keys), mask)


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveWithATuple(_InSteps):
    """`forward` returns a pair, the answer and the weights. Some libraries do; here the answer alone was asked for."""

    def forward(self, queries, keys, values, mask=None):
        weights = self.weights(self.scores(queries, keys), mask)
        return weights @ values, weights


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveWithoutMask(_InSteps):
    """The mask has no effect: padding is attended to like any word. Make the forbidden scores −∞ before the softmax."""

    def weights(self, scores, mask):
        return torch.softmax(scores, -1)


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveWithMaskTurnedAround(_InSteps):
    """The mask was read the other way round. `masked_fill(mask, …)` fills where the mask is *True*; here True means:
    may attend. Write `masked_fill(~mask, -torch.inf)`."""

    def weights(self, scores, mask):
        return torch.softmax(scores if mask is None else scores.masked_fill(mask, -torch.inf), -1)


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveThatCountsWithItsMask(_InSteps):
    """`1 - mask` takes the mask for numbers, and PyTorch refuses to subtract booleans. The opposite of a boolean tensor
    is `~mask`, and it is used as a condition: `scores.masked_fill(~mask, -torch.inf)`."""

    def weights(self, scores, mask):
        return torch.softmax(scores if mask is None else scores + (1 - mask) * -1e9, -1)


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveWithAnAxisForItsMask(_InSteps):
    """`mask.unsqueeze(1)` gives the mask one more axis, as if it always came as (B, S). It broadcasts to (B, T, S) as
    it is: use it so, and masks of all shapes fit."""

    def weights(self, scores, mask):
        return torch.softmax(scores if mask is None else scores.masked_fill(~mask.unsqueeze(1), -torch.inf), -1)


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveMaskedAfterwards(_InSteps):
    """The weights were set to zero after the softmax, so the rest no longer add up to one. Forbid the scores."""

    def weights(self, scores, mask):
        return torch.softmax(scores, -1) * (1 if mask is None else mask)


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveMaskedWithZero(_InSteps):
    """A forbidden score was made 0, or multiplied by 0. But 0 is an ordinary score, and e⁰ = 1 an ordinary share. A
    score that forbids is −∞."""

    def weights(self, scores, mask):
        return torch.softmax(scores if mask is None else scores * mask, -1)


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveMaskedAndSharedAgain(_InSteps):
    """The weights were set to zero after the softmax and then divided by their sum. On paper that is right; but where a
    forbidden key has by far the greatest score, all others were rounded to 0 before, and 0/0 is NaN. Forbid the
    scores."""

    def weights(self, scores, mask):
        alpha = torch.softmax(scores, -1)
        return alpha if mask is None else alpha * mask / (alpha * mask).sum(-1, keepdim=True)


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveThatRemembersItsMask(_InSteps):
    """The mask was kept on `self`, and a later call that has none is given the old one. What belongs to a single call
    is an argument of `forward` and is gone after it; only what is learned is kept."""

    mask = None

    def weights(self, scores, mask):
        if mask is not None:
            self.mask = mask
        return masked_softmax(scores, self.mask)


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveThatRemembersItsKeys(_InSteps):
    """The projected keys were kept on `self` from the first call, and later calls are answered with those. Other keys,
    or new parameters, need a new projection: compute it in every `forward`."""

    projected = None

    def scores(self, queries, keys):
        if self.projected is None:
            self.projected = self.W_k(keys)
        return self.v(torch.tanh(self.W_q(queries)[:, :, None] + self.projected[:, None]))[..., 0]


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveMaskedTimidly(_InSteps):
    """A forbidden score was replaced by a number that looks low, such as −20 or −100. A permitted score may lie below
    it. −∞ lies below everything."""

    def weights(self, scores, mask):
        return torch.softmax(scores if mask is None else scores.masked_fill(~mask, -50.0), -1)


@AdditiveAttention.misconception(caught_by=test_the_module_of_known_numbers)
class AdditiveWithDropout(_InSteps):
    """There is a dropout on the weights, as in some libraries. While a module trains, it strikes weights out at random
    and enlarges the rest, so no answer is an average. The formula that was asked for has none."""

    def weights(self, scores, mask):
        return torch.nn.functional.dropout(masked_softmax(scores, mask), 0.1, self.training)


@AdditiveAttention.misconception(caught_by=test_the_module_obeys_its_mask)
class AdditiveWithOneMaximumForAll(_InSteps):
    """The softmax is written by hand, and the greatest score of the whole tensor was subtracted. A row far below it
    becomes all zeros after exp, and 0/0 is NaN. `torch.softmax(scores, dim=-1)` takes the maximum of each row."""

    def weights(self, scores, mask):
        scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        e = torch.exp(scores - scores.max())
        return e / e.sum(-1, keepdim=True)


@AdditiveAttention.misconception(caught_by=test_gradients_reach_every_parameter)
class AdditiveWithoutGradient(_InSteps):
    """The answer is right, and nothing can be learned from it: it was computed in NumPy, or under `torch.no_grad()`, or
    detached. Use PyTorch's functions all the way, and no `.detach()`, `.data` or `.numpy()`."""

    def forward(self, queries, keys, values, mask=None):
        with torch.no_grad():
            return super().forward(queries, keys, values, mask)


@AdditiveAttention.misconception(caught_by=test_gradients_reach_every_parameter)
class AdditiveWithDetachedWeights(_InSteps):
    """The answer is right, but the weights were detached on their way: the values get a gradient, and W_q, W_k and v
    get none. Leave out `.detach()`, `.data` and `torch.tensor(…)`."""

    def weights(self, scores, mask):
        return super().weights(scores, mask).detach()


@AdditiveAttention.misconception(caught_by=test_the_module_leaves_its_inputs_alone)
class AdditiveThatWritesIntoItsInputs(_InSteps):
    """The answer is right, but a tensor of the caller's is changed afterwards. Functions with a `_` at the end of their
    names, such as `masked_fill_`, write into what they are called on; so does `+=`."""

    def forward(self, queries, keys, values, mask=None):
        out = super().forward(queries, keys, values, mask)
        with torch.no_grad():
            values *= 0.5
        return out


@AdditiveAttention.alternative
class AdditiveByConcatenation(torch.nn.Module):
    def __init__(self, d_q, d_k, d_hidden, dropout=0.0):
        super().__init__()
        self.v = torch.nn.Linear(d_hidden, 1, bias=False)
        self.W_k = torch.nn.Linear(d_k, d_hidden, bias=False)
        self.W_q = torch.nn.Linear(d_q, d_hidden, bias=False)

    def forward(self, queries, keys, values, mask=None, scale=1.0):
        T_, S_ = queries.shape[1], keys.shape[1]
        q = queries.unsqueeze(2).expand(-1, -1, S_, -1)
        k = keys.unsqueeze(1).expand(-1, T_, -1, -1)
        W = torch.cat([self.W_q.weight, self.W_k.weight], 1)
        scores = torch.einsum("btsh,h->bts", torch.tanh(torch.cat([q, k], -1) @ W.T), self.v.weight[0])
        if mask is not None:
            scores = torch.where(mask, scores, torch.tensor(-1e9))
        e = torch.exp(scores - scores.amax(-1, keepdim=True))
        return torch.einsum("bts,bsd->btd", e / e.sum(-1, keepdim=True), values)


@AdditiveAttention.alternative
class AdditiveWithABuffer(_InSteps):
    """Keeps a number of its own, which is neither learned nor asked for."""

    def __init__(self, d_q, d_k, d_hidden):
        super().__init__(d_q, d_k, d_hidden)
        self.register_buffer("never", torch.tensor(-torch.inf))

    def weights(self, scores, mask):
        return torch.softmax(scores if mask is None else torch.where(mask, scores, self.get_buffer("never")), -1)


@AdditiveAttention.alternative
class AdditiveInLogarithms(_InSteps):
    def weights(self, scores, mask):
        scores = scores if mask is None else scores + torch.log(mask.to(scores.dtype))
        return torch.exp(scores - torch.logsumexp(scores, -1, keepdim=True))


@AdditiveAttention.alternative
class AdditiveQueryByQuery(_InSteps):
    def forward(self, queries, keys, values, mask=None):
        B, T, _ = queries.shape
        projected = self.W_k(keys).double()
        allowed = torch.ones(B, T, keys.shape[1], dtype=torch.bool) if mask is None else mask.expand(B, T, -1)
        rows = []
        for t in range(T):
            scores = torch.tanh(projected + self.W_q(queries[:, t : t + 1]).double()) @ self.v.weight[0].double()
            weights = torch.softmax(scores.masked_fill(~allowed[:, t], -torch.inf), -1)
            rows.append((weights[..., None] * values).sum(1).to(values.dtype))
        return torch.stack(rows, 1)
