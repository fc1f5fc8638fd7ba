"""Chapter 4, scaled dot-product attention: a query takes the values of the keys that point its way."""

import numpy as np

from attnlab import dot_product as reference
from attnlab.softmax import softmax, softmax_vjp
from autograder import expect
from autograder.exercise import Exercise

LIBRARY_ATTENTION = (
    "torch.nn.functional.scaled_dot_product_attention",
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.MultiheadAttention",
    "attnlab.dot_product.attention_weights",
    "attnlab.dot_product.scaled_dot_product_attention",
)
AUTOGRAD = (
    "torch.autograd.grad",
    "torch.autograd.backward",
    "torch.Tensor.backward",
    "torch.autograd.functional.vjp",
    "torch.autograd.functional.jacobian",
    "torch.func.vjp",
    "torch.func.grad",
    "torch.func.jacrev",
)


def _draw(rng, *shapes, dtype=np.float64):
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def _swap(x):
    """The last two axes, exchanged."""
    return np.swapaxes(x, -1, -2)


def _view(rng, *shape):
    """A float32 array with gaps between its entries, and with its axes in another order in memory."""
    return np.moveaxis(rng.normal(size=(2 * shape[-1], *shape[:-1])).astype(np.float32), 0, -1)[..., ::2]


# ------------------------------------------------------------------------------------------------------- dot_scores

dot_scores = Exercise(
    "dot_scores",
    chapter=4,
    reference=reference.dot_scores,
    minutes=10,
    difficulty=1,
    forbidden=("attnlab.dot_product.dot_scores",),
)


@dot_scores.check(points=1)
def test_dot_scores_of_known_numbers(student, rng):
    """The query `[1, 2]` scores 11 with the key `[3, 4]`, 2 with `[0, 1]` and −1 with `[1, −1]`."""
    expect.close(
        student.dot_scores(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [0.0, 1.0], [1.0, -1.0]])),
        np.array([[11.0, 2.0, -1.0]]),
        "Is each score the sum of products, 1·3 + 2·4, and nothing else?",
    )


@dot_scores.check(points=2)
def test_dot_scores_compare_every_query_with_every_key(student, rng):
    """Three queries and five keys make 3 × 5 scores: `scores[t, s]` is query t with key s."""
    q, k = _draw(rng, (3, 7), (5, 7))
    expect.close(student.dot_scores(q, k), reference.dot_scores(q, k), "Does each of the queries meet each key?")
    q, k = _draw(rng, (5, 5), (5, 5))
    expect.close(
        student.dot_scores(q, k),
        reference.dot_scores(q, k),
        "Where all sizes are equal, no shape warns you: is row t about query t, and is it the keys that are turned?",
    )


@dot_scores.check(points=2)
def test_dot_scores_keep_the_batch(student, rng):
    """Axes in front of the last two are kept: each sequence meets its own keys, and no others."""
    for front in ((2,), (2, 11)):
        q, k = _draw(rng, (*front, 3, 7), (*front, 5, 7))
        expect.close(student.dot_scores(q, k), reference.dot_scores(q, k), "Are only the last two axes of k exchanged?")
    q, k = _draw(rng, (3, 3, 3), (3, 3, 3))
    expect.close(
        student.dot_scores(q, k),
        reference.dot_scores(q, k),
        "Which axes does your transpose exchange on an array with three of them?",
    )


@dot_scores.check(points=1)
def test_dot_scores_take_every_kind_of_array(student, rng):
    """It is right for float32, views with gaps, one query with one key; q and k are the same afterwards."""
    q, k = _view(rng, 2, 3, 7), _view(rng, 2, 5, 7)
    expect.close(student.dot_scores(q, k), reference.dot_scores(q, k))
    q, k = _draw(rng, (1, 13), (1, 13))
    expect.close(
        student.dot_scores(q, 1e6 * k),
        reference.dot_scores(q, 1e6 * k),
        "Are the scores kept in the format that came in, here float64?",
        tolerance=1e-8,
    )
    expect.unchanged(student, "Does `*=` or `/=` change it in place?")


@dot_scores.inputs
def _queries_and_keys(rng):
    for front in ((), (2,), (3,), (2, 3), ()) * 3:
        yield tuple(_draw(rng, (*front, 3, 3), (*front, 3, 3))), {}


@dot_scores.misconception(caught_by=test_dot_scores_keep_the_batch)
def transposes_every_axis(q, k):
    """This is `q @ k.T`. It is right for one sequence. On a batch, `.T` reverses *all* axes, the batch too: shape
    (2, 5, 7) becomes (7, 5, 2). Exchange the last two alone: `k.swapaxes(-1, -2)`."""
    return q @ k.T


@dot_scores.misconception(caught_by=test_dot_scores_keep_the_batch)
def exchanges_the_first_two_axes(q, k):
    """This exchanges the axes 0 and 1 of k. For one sequence these are the last two. With a batch in front they are
    not: count from the end, `k.swapaxes(-1, -2)`."""
    return q @ k.swapaxes(0, 1)


@dot_scores.misconception(caught_by=test_dot_scores_keep_the_batch)
def takes_no_batch(q, k):
    """This is right for one sequence and takes no axes in front of it. Write `...` for them, as in
    `einsum("...td,...sd->...ts", q, k)`, or use `@`, which keeps step in all axes but the last two."""
    return np.einsum("td,sd->ts", q, k)


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def takes_a_batch_of_one_axis_only(q, k):
    """This is right for exactly one axis in front, and for nothing else: three axes are named. There may be none of
    them, or several. Count from the end, `k.swapaxes(-1, -2)`, or write `...` in einsum."""
    return np.einsum("btd,bsd->bts", q, k)


@dot_scores.misconception(caught_by=test_dot_scores_compare_every_query_with_every_key)
def multiplies_elementwise_and_sums(q, k):
    """This multiplies q and k entry by entry and sums. So query t meets key t and no other: each word is compared with
    itself alone. All pairs are wanted, and that is what a matrix product makes: `q @ kᵀ`."""
    return (q * k).sum(axis=-1)


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def takes_the_distance(q, k):
    """This is −½ · distance², the score of chapter 2. It differs from the dot product by the lengths of query and key.
    Here the plain sum of products is wanted."""
    return -((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(-1) / 2


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def squeezes(q, k):
    """The numbers are right, but `squeeze` removes every axis of length 1, also one that belongs there: a single query
    is a table with one row. Leave it out: `@` makes no axis that is too many."""
    return reference.dot_scores(q, k).squeeze()


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def multiplies_elementwise(q, k):
    """This is the product entry by entry, of which nothing is summed. A score is one number for a pair: the sum of
    the products over the features."""
    return q * k


@dot_scores.misconception(caught_by=test_dot_scores_compare_every_query_with_every_key)
def forgets_the_transpose(q, k):
    """This is `q @ k`: the rows of q against the *columns* of k. A column of k holds one feature of every key. You
    want rows against rows, so the last two axes of k must change places."""
    return q @ k


@dot_scores.misconception(caught_by=test_dot_scores_compare_every_query_with_every_key)
def compares_features(q, k):
    """This is `qᵀ @ k`, which compares *features*: column i of q with column j of k, over all positions. Attention
    compares positions, over all features: `q @ kᵀ`."""
    return _swap(q) @ k


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def puts_keys_before_queries(q, k):
    """This is `k @ qᵀ`, the table turned over: its rows are keys. The softmax of chapter 1 gives each *row* one look
    to spend, and it is the query that looks. Queries are the rows: `q @ kᵀ`."""
    return k @ _swap(q)


@dot_scores.misconception(caught_by=test_dot_scores_compare_every_query_with_every_key)
def reshapes_to_transpose(q, k):
    """This uses `reshape` to turn k. The shape is right and the numbers are shuffled: reshape keeps the order in
    memory and cuts it differently. `swapaxes(-1, -2)` moves each number to its place."""
    return q @ k.reshape(*k.shape[:-2], k.shape[-1], k.shape[-2])


@dot_scores.misconception(caught_by=test_dot_scores_keep_the_batch)
def lets_sequences_meet(q, k):
    """Every sequence of the batch met the keys of every *other* one: `np.dot`, `np.inner` and `np.tensordot` combine
    all axes in front with one another. `@` and `np.matmul` keep the batch in step."""
    return np.tensordot(q, k, axes=(-1, -1))


@dot_scores.misconception(caught_by=test_dot_scores_keep_the_batch)
def lays_the_batch_end_to_end(q, k):
    """The batch was laid end to end, as if it were one long sequence. Then words of one sentence look at another
    sentence. Keep the axes in front: `@` works on the last two."""
    return q.reshape(-1, q.shape[-1]) @ k.reshape(-1, k.shape[-1]).T


@dot_scores.misconception(caught_by=test_dot_scores_keep_the_batch)
def adds_up_the_batch(q, k):
    """The scores of all sequences were added up: the letter of the batch is missing on the right of the einsum.
    Each sequence keeps its own table: `...td,...sd->...ts`."""
    scores = reference.dot_scores(q, k)
    return scores.reshape(-1, *scores.shape[-2:]).sum(0)


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def scales_the_scores_already(q, k):
    """These are the scores divided by √d_k. That comes two exercises on, and if both places do it the scores are
    scaled twice. Here: the plain dot products."""
    return reference.dot_scores(q, k) / np.sqrt(q.shape[-1])


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def takes_the_cosine(q, k):
    """This is the cosine: the dot product divided by both lengths. The dot product keeps the lengths, and they mean
    something: a long query is sure of itself, a long key is heard from further away."""
    lengths = np.linalg.norm(q, axis=-1)[..., :, None] * np.linalg.norm(k, axis=-1)[..., None, :]
    return reference.dot_scores(q, k) / lengths


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def takes_the_squared_distance(q, k):
    """This is the squared distance of query and key, with a minus sign or without: the score of chapter 2. Here the
    score is the dot product, which needs no difference."""
    return -((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(-1)


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def makes_weights_already(q, k):
    """These are the weights, the softmax of the scores. Scores may be any number; the exercise asks for the numbers
    that go *into* the softmax."""
    return softmax(reference.dot_scores(q, k))


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def squashes_with_a_sigmoid(q, k):
    """These are the sigmoids of the scores. A score is the plain dot product, of any size and sign; and what follows
    it is a softmax, in which the keys compete, not a sigmoid, in which they do not."""
    return 1 / (1 + np.exp(-reference.dot_scores(q, k)))


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def takes_the_mean_of_the_products(q, k):
    """This is the *mean* of the products over the features, the dot product divided by d_k. The sum is wanted."""
    return reference.dot_scores(q, k) / q.shape[-1]


@dot_scores.misconception(caught_by=test_dot_scores_of_known_numbers)
def multiplies_all_with_all(q, k):
    """This is the outer product of q and k, flattened: every *number* of one with every *number* of the other. A score
    belongs to a pair of *vectors*: multiply feature by feature, and sum."""
    return np.outer(q, k)


@dot_scores.alternative
def dot_scores_by_einsum(q, k):
    return np.einsum("...td,...sd->...ts", q, k)


@dot_scores.alternative
def dot_scores_pair_by_pair(q, k):
    T, S = q.shape[-2], k.shape[-2]
    scores = np.empty((*q.shape[:-2], T, S))
    for t in range(T):
        for s in range(S):
            scores[..., t, s] = np.sum(q[..., t, :].astype(float) * k[..., s, :], axis=-1)
    return scores


@dot_scores.alternative
def dot_scores_by_broadcasting(q, k):
    return (q[..., :, None, :] * k[..., None, :, :]).sum(axis=-1)


# --------------------------------------------------------------------------------------------------- score_variance

score_variance = Exercise(
    "score_variance",
    chapter=4,
    reference=reference.score_variance,
    minutes=15,
    difficulty=2,
    forbidden=("attnlab.dot_product.score_variance",),
)

# Whoever takes the scores of all pairs makes MANY² of them: few enough that there is time left to say what is wrong.
MANY = 2048
# The variance of so many measured scores strays by about 3.5% (one standard deviation): this is seven times that.
STRAY = 0.25


def _two_numbers(answer):
    """(raw, scaled) as two floats, from a tuple, a list or an array."""
    items = list(answer) if isinstance(answer, tuple | list | np.ndarray) and len(np.shape(answer)) == 1 else []
    if len(items) != 2 or any(isinstance(item, str) for item in items):
        raise expect.CheckFailure(
            f"Your function returned {expect.named(answer)}; two numbers were expected, `raw, scaled`.",
            "Does it end with `return raw, scaled`?",
        )
    return tuple(float(item) for item in items)


def _measured(student, d_k, rng):
    return _two_numbers(student.score_variance(d_k, rng=np.random.default_rng(rng.integers(2**32)), pairs=MANY))


@score_variance.check(points=1)
def test_the_variance_of_raw_scores_is_d_k(student, rng):
    """The first number, the variance of `q · k`, comes out near `d_k`: near 13 for 13, near 131 for 131."""
    for d_k in (13, 53, 131):
        raw, _ = _measured(student, d_k, rng)
        expect.true(
            abs(raw / d_k - 1) < STRAY,
            f"For d_k = {d_k} your variance of q · k is {expect.number(raw)}; it should come out near {d_k}.",
            "Is it one sum of d_k products for each pair, and the variance over all pairs?",
        )


@score_variance.check(points=2)
def test_the_variance_of_scaled_scores_is_one(student, rng):
    """The second number, the variance of `q · k / √d_k`, comes out near 1 whatever `d_k` is."""
    for d_k in (13, 53, 131):
        _, scaled = _measured(student, d_k, rng)
        expect.true(
            abs(scaled - 1) < STRAY,
            f"For d_k = {d_k} your variance of the scaled scores is {expect.number(scaled)}; "
            "it should come out near 1.",
            "Are the scores divided by √d_k, once, before their variance is taken?",
        )


@score_variance.check(points=1)
def test_the_variances_are_measured(student, rng):
    """They are measured with the generator that is passed in: the same seed, the same numbers; another seed, others."""
    seed = int(rng.integers(2**32))
    first = _two_numbers(student.score_variance(17, rng=np.random.default_rng(seed), pairs=MANY))
    again = _two_numbers(student.score_variance(17, rng=np.random.default_rng(seed), pairs=MANY))
    other = _two_numbers(student.score_variance(17, rng=np.random.default_rng(seed + 1), pairs=MANY))
    expect.close(
        np.array(again), np.array(first), "Do all of your random numbers come from `rng`, and from nowhere else?"
    )
    expect.true(
        all(a != b for a, b in zip(first, other, strict=True)),
        f"From two different generators came the same numbers, {expect.number(first[0])} and "
        f"{expect.number(first[1])}; a measurement never comes out twice the same.",
        "Do you draw with the `rng` that you are given, or know the answer beforehand?",
    )
    expect.true(
        all(abs(got / want - 1) < STRAY for got, want in zip(first, (17, 1), strict=True)),
        f"For d_k = 17 your numbers are {expect.number(first[0])} and {expect.number(first[1])}; "
        "they should come out near 17 and 1.",
        "Do you draw as many pairs as `pairs` says?",
    )


@score_variance.check(points=1)
def test_five_pairs_are_five_scores(student, rng):
    """Five pairs, drawn as the text says, are five scores: both numbers are the variance of these five, before and
    after."""
    seed, d_k = int(rng.integers(2**32)), 7
    for pairs, cause in (
        (5, "Are all queries drawn first, then all keys, `pairs` of each and no more? Does query p meet key p alone?"),
        (4096, "This call did not name `pairs`. Is 4096 the default, as in the cell above?"),
    ):
        named = {"pairs": pairs} if pairs == 5 else {}
        got = np.array(_two_numbers(student.score_variance(d_k, rng=np.random.default_rng(seed), **named)))
        scores = _scores(d_k, np.random.default_rng(seed), pairs)
        # With the mean subtracted; the same over four; or without it, since it is known to be 0.
        spreads = (scores.var(), scores.var(ddof=1), np.mean(scores**2))
        if not any(np.allclose(got, (spread, spread / d_k), rtol=1e-6) for spread in spreads):
            expect.close(got, np.array([spreads[0], spreads[0] / d_k]), cause)


@score_variance.inputs
def _widths(rng):
    for d_k in (2, 3, 5, 7):
        yield (d_k,), {"rng": np.random.default_rng(rng.integers(2**32))}


def _scores(d_k, rng, pairs=4096):
    q, k = rng.standard_normal((2, pairs, d_k))
    return (q * k).sum(-1)


@score_variance.misconception(caught_by=test_the_variance_of_raw_scores_is_d_k)
def takes_the_standard_deviation(d_k, rng, pairs=4096):
    """These are standard deviations, `.std()`: the first comes out near √d_k. The variance is its square, `.var()`.
    One divides by the standard deviation; but what adds up, product by product, is the variance."""
    scores = _scores(d_k, rng, pairs)
    return scores.std(), (scores / np.sqrt(d_k)).std()


@score_variance.misconception(caught_by=test_the_variance_of_scaled_scores_is_one)
def leaves_the_scaled_unscaled(d_k, rng, pairs=4096):
    """Both numbers are the variance of the raw scores. Before the second is taken, the scores must be divided by
    √d_k."""
    scores = _scores(d_k, rng, pairs)
    return scores.var(), scores.var()


@score_variance.misconception(caught_by=test_the_variance_of_scaled_scores_is_one)
def divides_the_variance_by_the_root(d_k, rng, pairs=4096):
    """The *variance* was divided by √d_k. Divide the *scores*: a factor c in front of the scores puts c² in front of
    their variance, and that is why the root appears."""
    scores = _scores(d_k, rng, pairs)
    return scores.var(), scores.var() / np.sqrt(d_k)


@score_variance.misconception(caught_by=test_the_variance_of_scaled_scores_is_one)
def divides_the_scores_by_d_k(d_k, rng, pairs=4096):
    """The scores were divided by d_k, all at once or by √d_k twice. Then their variance is 1/d_k, and for long vectors
    all scores are nearly alike. One √d_k brings the variance to 1."""
    scores = _scores(d_k, rng, pairs)
    return scores.var(), (scores / d_k).var()


@score_variance.misconception(caught_by=test_the_variance_of_scaled_scores_is_one)
def multiplies_by_the_root(d_k, rng, pairs=4096):
    """The scores were multiplied by √d_k, so the variance is d_k². Divide."""
    scores = _scores(d_k, rng, pairs)
    return scores.var(), (scores * np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_the_variance_of_scaled_scores_is_one)
def divides_by_the_root_of_the_pairs(d_k, rng, pairs=4096):
    """The scores were divided by the square root of the *number of pairs*. That is how many scores you have, not how
    large they are: each score is a sum of d_k terms."""
    scores = _scores(d_k, rng, pairs)
    return scores.var(), (scores / np.sqrt(len(scores))).var()


@score_variance.misconception(caught_by=test_the_variance_of_raw_scores_is_d_k)
def gives_the_scaled_first(d_k, rng, pairs=4096):
    """The two numbers are right and in the wrong order: raw first, scaled second."""
    scores = _scores(d_k, rng, pairs)
    return (scores / np.sqrt(d_k)).var(), scores.var()


@score_variance.misconception(caught_by=test_the_variance_of_raw_scores_is_d_k)
def compares_vectors_with_themselves(d_k, rng, pairs=4096):
    """The keys are the queries themselves, so each score is a squared length. Its variance is 2 d_k, and its mean is
    not 0. Draw the keys anew: q and k must be independent."""
    q = rng.standard_normal((pairs, d_k))
    scores = (q * q).sum(-1)
    return scores.var(), (scores / np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_the_variance_of_raw_scores_is_d_k)
def averages_the_products(d_k, rng, pairs=4096):
    """The products were averaged over the features, not summed: `.mean(-1)` divides every score by d_k. A dot product
    is a sum."""
    scores = _scores(d_k, rng, pairs) / d_k
    return scores.var(), (scores / np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_the_variance_of_raw_scores_is_d_k)
def never_sums_the_products(d_k, rng, pairs=4096):
    """This is the variance of the single products, which is 1. A score is the sum of d_k of them; sum over the
    features first."""
    q, k = rng.standard_normal((2, pairs, d_k))
    return (q * k).var(), (q * k / np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_the_variance_of_raw_scores_is_d_k)
def sums_over_the_pairs(d_k, rng, pairs=4096):
    """The sum runs over the pairs, so what comes out are d_k numbers, whose variance is near the number of pairs. Sum
    over the features, the last axis; take the variance over the pairs."""
    q, k = rng.standard_normal((2, pairs, d_k))
    scores = (q * k).sum(0)
    return scores.var(), (scores / np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_the_variance_of_raw_scores_is_d_k)
def sums_over_everything(d_k, rng, pairs=4096):
    """The sum runs over features *and* pairs, so there is one number left, and one number has no variance. Sum over
    the last axis alone."""
    q, k = rng.standard_normal((2, pairs, d_k))
    scores = np.sum(q * k)
    return scores.var(), (scores / np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_the_variance_of_raw_scores_is_d_k)
def draws_from_zero_to_one(d_k, rng, pairs=4096):
    """The entries were drawn evenly from 0 to 1, with `rng.random`. They have neither mean 0 nor variance 1, so the
    variance is far below d_k. Draw standard normal entries: `rng.standard_normal`."""
    q, k = rng.random((2, pairs, d_k))
    scores = (q * k).sum(-1)
    return scores.var(), (scores / np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_the_variance_of_raw_scores_is_d_k)
def takes_the_mean(d_k, rng, pairs=4096):
    """These are the *means* of the scores, which are near 0 for every d_k: positive and negative scores balance.
    What grows is how far they spread, the variance."""
    scores = _scores(d_k, rng, pairs)
    return scores.mean(), (scores / np.sqrt(d_k)).mean()


@score_variance.misconception(caught_by=test_the_variances_are_measured)
def knows_the_answer(d_k, rng, pairs=4096):
    """This returns what theory says, d_k and 1, and measures nothing. Draw queries and keys, and look."""
    return float(d_k), 1.0


@score_variance.misconception(caught_by=test_the_variances_are_measured)
def brings_its_own_generator(d_k, rng, pairs=4096):
    """The numbers come from a generator made inside the function, with a seed of its own: every call measures the very
    same pairs. Use the `rng` that you are given."""
    scores = _scores(d_k, np.random.default_rng(0), pairs)
    return scores.var(), (scores / np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_the_variances_are_measured)
def draws_from_the_global_generator(d_k, rng, pairs=4096):
    """The numbers come from NumPy's global generator, `np.random`, not from `rng`: the same seed gives other numbers
    each time. Draw with `rng.standard_normal((pairs, d_k))`."""
    q, k = np.random.standard_normal((2, pairs, d_k))
    scores = (q * k).sum(-1)
    return scores.var(), (scores / np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_five_pairs_are_five_scores)
def draws_pair_by_pair(d_k, rng, pairs=4096):
    """A query and its key were drawn in turns, pair after pair. They are as random as others, but not the numbers that
    the text asks for: first all queries, `rng.standard_normal((pairs, d_k))`, then all keys in the same way."""
    q, k = rng.standard_normal((pairs, 2, d_k)).transpose(1, 0, 2)
    scores = (q * k).sum(-1)
    return scores.var(), (scores / np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_five_pairs_are_five_scores)
def lets_every_query_meet_every_key(d_k, rng, pairs=4096):
    """This takes the scores of *all* pairs, `q @ k.T`. They share their queries and keys, so they are not independent:
    25 scores from 5 queries and 5 keys tell less than 25 separate ones would. Query p meets key p alone:
    `(q * k).sum(axis=-1)`."""
    q, k = rng.standard_normal((2, pairs, d_k))
    # A stripe of the table at a time: not all of its numbers are needed at once.
    total = squares = 0.0
    for some in np.array_split(q, max(1, pairs // 256)):
        scores = some @ k.T
        total, squares = total + scores.sum(), squares + (scores**2).sum()
    raw = squares / pairs**2 - (total / pairs**2) ** 2
    return raw, raw / d_k


@score_variance.misconception(caught_by=test_five_pairs_are_five_scores)
def draws_as_many_as_it_likes(d_k, rng, pairs=4096):
    """The number of pairs is written into the function, 4096, whatever `pairs` says. Draw with
    `rng.standard_normal((pairs, d_k))`."""
    scores = _scores(d_k, rng, 4096)
    return scores.var(), (scores / np.sqrt(d_k)).var()


@score_variance.misconception(caught_by=test_five_pairs_are_five_scores)
def draws_anew_for_the_second_number(d_k, rng, pairs=4096):
    """The two numbers come from different pairs: queries and keys were drawn a second time. Divide the scores that you
    have. Then the second number is the first divided by d_k, exactly."""
    return _scores(d_k, rng, pairs).var(), (_scores(d_k, rng, pairs) / np.sqrt(d_k)).var()


@score_variance.alternative
def score_variance_with_two_draws(d_k, rng, pairs=4096):
    q = rng.normal(size=(pairs, d_k))
    k = rng.normal(0, 1, (pairs, d_k))
    scores = np.einsum("pd,pd->p", q, k)
    return scores.var(), np.var(scores / d_k**0.5)


@score_variance.alternative
def score_variance_of_pairs_one_by_one(d_k, rng, pairs=4096):
    queries, keys = rng.standard_normal((pairs, d_k)), rng.standard_normal((pairs, d_k))
    scores = np.array([q @ k for q, k in zip(queries, keys, strict=True)])
    return [np.var(scores, ddof=1), np.var(scores * d_k**-0.5, ddof=1)]


@score_variance.alternative
def score_variance_of_squares(d_k, rng, pairs=4096):
    """The mean of squares, since the mean is 0."""
    scores = _scores(d_k, rng, pairs)
    return np.array([np.mean(scores**2), np.mean(scores**2) / d_k])


# ------------------------------------------------------------------------------------- scaled_dot_product_attention

scaled_dot_product_attention = Exercise(
    "scaled_dot_product_attention",
    chapter=4,
    reference=reference.scaled_dot_product_attention,
    minutes=15,
    difficulty=2,
    forbidden=LIBRARY_ATTENTION,
)


def _by_hand():
    """One query and two keys of width 4: the dot products 0 and 2 ln 3, halved by √4; the weights are 1/4 and 3/4."""
    return np.array([[2.0, 0.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 0.0, 0.0], [np.log(3), 0.0, 0.0, 0.0]])


@scaled_dot_product_attention.check(points=2)
def test_attention_of_known_numbers(student, rng):
    """For `d_k = 4` and the dot products 0 and 2 ln 3, the values 4 and 8 give ¼ · 4 + ¾ · 8 = 7."""
    q, k = _by_hand()
    k[0, 1:] = 5.0  # at right angles to the query
    expect.close(
        student.scaled_dot_product_attention(q, k, np.array([[4.0], [8.0]])),
        np.array([[7.0]]),
        "What do the scores 0 and 2 ln 3 become when they are divided by √4?",
    )


@scaled_dot_product_attention.check(points=2)
def test_attention_is_the_formula(student, rng):
    """For every query it returns its own average of the values, weighted by `softmax(q kᵀ / √d_k)` over the keys."""
    q, k, v = _draw(rng, (3, 7), (5, 7), (5, 2))
    expect.close(
        student.scaled_dot_product_attention(q, k, v),
        reference.scaled_dot_product_attention(q, k, v),
        "Scores of all pairs, divided by √d_k, softmax over the keys, average of the values: which step differs?",
    )
    q, k, v = _draw(rng, (3, 11), (3, 11), (3, 11))
    expect.close(
        student.scaled_dot_product_attention(q, k, v),
        reference.scaled_dot_product_attention(q, k, v),
        "With as many queries as keys no shape warns you: do the weights of each *row* sum to one, and is it v that is "
        "averaged?",
    )


@scaled_dot_product_attention.check(points=1)
def test_attention_returns_an_average(student, rng):
    """If all values are the same, that value comes back, whatever the scores are."""
    q, k, value = _draw(rng, (3, 7), (5, 7), (2,))
    expect.close(
        student.scaled_dot_product_attention(q, k, np.tile(value, (5, 1))),
        np.tile(value, (3, 1)),
        "Do the weights of each query sum to one?",
    )


@scaled_dot_product_attention.check(points=2)
def test_attention_keeps_the_batch(student, rng):
    """Axes in front of the last two are kept: each sequence attends to its own keys and values."""
    for front in ((2,), (2, 11)):
        q, k, v = _draw(rng, (*front, 3, 7), (*front, 5, 7), (*front, 5, 13))
        expect.close(
            student.scaled_dot_product_attention(q, k, v),
            reference.scaled_dot_product_attention(q, k, v),
            "Are only the last two axes of k exchanged, and does the softmax run over the last one?",
        )
    q, k, v = _draw(rng, (3, 3, 3), (3, 3, 3), (3, 3, 3))
    expect.close(
        student.scaled_dot_product_attention(q, k, v),
        reference.scaled_dot_product_attention(q, k, v),
        "Which axes does your transpose exchange on an array with three of them?",
    )


@scaled_dot_product_attention.check(points=1)
def test_attention_with_large_scores_is_a_lookup(student, rng):
    """A query that fits one key far better than the others returns that key's value, and no NaN. However far apart
    the scores of two queries lie, each has its average."""
    k, v = 1000.0 * np.eye(7)[:5], rng.normal(size=(5, 2))
    wanted = rng.permutation(5)
    for dtype in (np.float64, np.float32):
        expect.close(
            student.scaled_dot_product_attention(k[wanted].astype(dtype), k.astype(dtype), v.astype(dtype)),
            v[wanted].astype(dtype),
            "Is the maximum of each row subtracted before exp? Chapter 1's softmax does it.",
        )
    q, k = _draw(rng, (3, 7), (5, 7))
    k[:, 0] = 1.0  # what the first feature of a query adds to its row is the same for all keys
    want = reference.scaled_dot_product_attention(q, k, v)
    q[:, 0] = rng.permutation([3000.0, 0.0, -6000.0])
    expect.close(
        student.scaled_dot_product_attention(q, k, v),
        want,
        "Does each row subtract its own maximum, and is nothing clipped? One for all lets the low rows vanish.",
    )


@scaled_dot_product_attention.check(points=1)
def test_attention_leaves_its_inputs_alone(student, rng):
    """It is right for float32, views with gaps and a single key, and q, k and v are the same afterwards."""
    q, k, v = _view(rng, 2, 3, 7), _view(rng, 2, 5, 7), _view(rng, 2, 5, 13)
    want = reference.scaled_dot_product_attention(q, k, v)
    expect.close(student.scaled_dot_product_attention(q, k, v), want)
    q, k, v = _draw(rng, (3, 7), (1, 7), (1, 2))
    expect.close(
        student.scaled_dot_product_attention(q, k, v),
        np.tile(v, (3, 1)),
        "What is the weight of the only key there is?",
    )
    expect.unchanged(student, "Does `/=` change it in place? `q = q / …` does not.")


@scaled_dot_product_attention.inputs
def _queries_keys_values(rng):
    for i in range(12):
        T, S = ((3, 3), (2, 5))[i % 2]
        front = ((), (3,))[i % 4 // 2]
        yield tuple(_draw(rng, (*front, T, 3), (*front, S, 3), (*front, S, (3, 7)[i % 3 == 2]))), {}


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def forgets_the_scale(q, k, v):
    """This is softmax(q kᵀ) v, without the scale. The longer the vectors, the further apart the scores, and the softmax
    ends up giving everything to one key. Divide the scores by √d_k."""
    return softmax(reference.dot_scores(q, k)) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def scales_twice(q, k, v):
    """The scores are divided by d_k: by √d_k twice, perhaps once on q and once on the scores, or without the root.
    Then they are too close together, and every key gets nearly the same weight. Divide by √d_k, in one place."""
    return softmax(reference.dot_scores(q, k) / q.shape[-1]) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def scales_by_the_width_of_the_values(q, k, v):
    """The scores are divided by the root of the width of the *values* (d_v, or d_model where that is the width of what
    comes out). A score is a sum over the d_k features of query and key. Its size has to do with d_k alone."""
    return softmax(reference.dot_scores(q, k) / np.sqrt(v.shape[-1])) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def scales_by_the_number_of_keys(q, k, v):
    """The scores are divided by √S, the root of the number of *keys* (`shape[-2]`). More keys make more scores, not
    larger ones. Each is a sum of d_k products: √d_k, and d_k is `q.shape[-1]`."""
    return softmax(reference.dot_scores(q, k) / np.sqrt(k.shape[-2])) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_is_the_formula)
def scales_by_the_number_of_queries(q, k, v):
    """The scores are divided by √T, the root of the number of *queries* (`len(q)` or `q.shape[-2]`). Each score is a
    sum over features: divide by √d_k, the root of `q.shape[-1]`."""
    return softmax(reference.dot_scores(q, k) / np.sqrt(q.shape[-2])) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_keeps_the_batch)
def scales_by_a_fixed_axis(q, k, v):
    """The scale is taken from `shape[1]`. For one sequence that is d_k; with a batch in front it is the number of
    positions. Count axes from the end: `q.shape[-1]`."""
    return softmax(reference.dot_scores(q, k) / np.sqrt(q.shape[1])) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def scales_by_the_length_of_the_array(q, k, v):
    """The scale is taken from `len(q)`, the length of the *first* axis: the number of queries, or with a batch in front
    the number of sequences. d_k is the length of the last: `q.shape[-1]`."""
    return softmax(reference.dot_scores(q, k) / np.sqrt(len(q))) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def scales_after_the_softmax(q, k, v):
    """The division by √d_k comes after the softmax. There it changes nothing about who gets how much, and the weights
    sum to 1/√d_k. It belongs before: the *scores* are too large."""
    return softmax(reference.dot_scores(q, k)) / np.sqrt(q.shape[-1]) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def multiplies_by_the_scale(q, k, v):
    """The scores are multiplied by √d_k. That drives them further apart still. Divide."""
    return softmax(reference.dot_scores(q, k) * np.sqrt(q.shape[-1])) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def takes_a_sigmoid(q, k, v):
    """The weights are sigmoids. Each lies between 0 and 1, but they do not compete and do not sum to one: what comes
    out is no average. Softmax over the keys."""
    return (1 / (1 + np.exp(-reference.dot_scores(q, k) / np.sqrt(q.shape[-1])))) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def takes_a_softmax_over_the_queries(q, k, v):
    """The softmax runs over the queries (axis −2): each *key* is shared out among the queries. It is the query that
    has one look to spend: softmax over the keys, the last axis, so that each row sums to one."""
    return softmax(reference.dot_scores(q, k) / np.sqrt(q.shape[-1]), axis=-2) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_is_the_formula)
def takes_one_softmax_over_the_table(q, k, v):
    """The softmax runs over queries and keys together, so all weights of the table sum to one. Each query has one look
    of its own: softmax over the last axis."""
    scores = reference.dot_scores(q, k) / np.sqrt(q.shape[-1])
    return softmax(scores.reshape(*scores.shape[:-2], -1)).reshape(scores.shape) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def divides_by_the_sum_without_exp(q, k, v):
    """The scores are divided by their sum, without exp; doing it twice is no better, the second sum is 1. Scores may be
    negative: then weights are negative, and a sum near zero blows them up. Softmax takes exp first."""
    scores = reference.dot_scores(q, k)
    return scores / scores.sum(axis=-1, keepdims=True) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_is_the_formula)
def divides_by_both_sums_without_exp(q, k, v):
    """The scores are normalised twice, over the queries and then over the keys, and never passed through exp. Negative
    scores give negative weights. Softmax is one exp and one division, over the keys."""
    scores = reference.dot_scores(q, k)
    scores = scores / scores.sum(axis=-2, keepdims=True)
    return scores / scores.sum(axis=-1, keepdims=True) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def forgets_the_softmax(q, k, v):
    """This is q kᵀ v / √d_k: the softmax is missing, so the scores themselves are the weights. They may be negative,
    and they do not sum to one."""
    return reference.dot_scores(q, k) / np.sqrt(q.shape[-1]) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def compares_directions_alone(q, k, v):
    """Queries and keys were brought to length 1 first. So a query cannot say how sure it is, and a long key is no
    louder than a short one. The dot product takes both as long as they are; only √d_k divides it."""
    q, k = (np.divide(x, np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)) for x in (q, k))
    return softmax(reference.dot_scores(q, k) / np.sqrt(q.shape[-1])) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def divides_the_average_by_the_number_of_keys(q, k, v):
    """The average was divided by the number of keys once more. The weights add up to one already: weights times values
    *is* the average."""
    return softmax(reference.dot_scores(q, k) / np.sqrt(q.shape[-1])) @ v / k.shape[-2]


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def takes_the_softmax_twice(q, k, v):
    """The softmax is taken twice. Weights between 0 and 1 went into the second one, so what comes out is nearly even.
    Count your softmaxes: one."""
    return softmax(softmax(reference.dot_scores(q, k) / np.sqrt(q.shape[-1]))) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_with_large_scores_is_a_lookup)
def overflows(q, k, v):
    """The softmax is typed as printed, exp divided by the sum of exp. Large scores overflow, and ∞/∞ is NaN. Subtract
    the maximum of each row first, or call chapter 1's softmax."""
    weights = np.exp(reference.dot_scores(q, k) / np.sqrt(q.shape[-1]))
    return weights / weights.sum(axis=-1, keepdims=True) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_with_large_scores_is_a_lookup)
def subtracts_one_maximum_for_all(q, k, v):
    """The greatest score of the whole array was subtracted. A row far below it becomes all zeros after exp, and 0/0 is
    NaN. Each query needs its own maximum: along the last axis, with `keepdims=True`."""
    scores = reference.dot_scores(q, k) / np.sqrt(q.shape[-1])
    e = np.exp(scores - scores.max())
    return e / e.sum(-1, keepdims=True) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_with_large_scores_is_a_lookup)
def clips_the_scores(q, k, v):
    """The scores were clipped so that exp does not overflow. Beyond the limit all keys look alike, and the query gets
    their plain mean. Subtracting the maximum of the row loses nothing."""
    e = np.exp(np.clip(reference.dot_scores(q, k) / np.sqrt(q.shape[-1]), -500, 500))
    return e / e.sum(-1, keepdims=True) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def takes_the_best_key_alone(q, k, v):
    """Each query took the value of its best key, and nothing of the others. That is a hard lookup. Attention is the
    soft one: every key contributes, by its weight."""
    scores = reference.dot_scores(q, k)
    return (scores == scores.max(axis=-1, keepdims=True)).astype(v.dtype) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def averages_the_keys(q, k, v):
    """The weights are right, but they average the *keys*. Keys say where to look; what one takes home are the values:
    `weights @ v`."""
    return reference.attention_weights(q, k) @ k


@scaled_dot_product_attention.misconception(caught_by=test_attention_is_the_formula)
def averages_the_queries(q, k, v):
    """The weights are right, but they average the queries, or the inputs from which everything was made. What is
    averaged are the values: `weights @ v`."""
    return reference.attention_weights(q, k) @ q


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def returns_the_weights(q, k, v):
    """These are the weights, of shape (T, S). The values have not been averaged yet: `weights @ v`."""
    return reference.attention_weights(q, k)


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def returns_output_and_weights(q, k, v):
    """This returns the output together with the weights, as some libraries do. Here: the output alone."""
    weights = reference.attention_weights(q, k)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(caught_by=test_attention_is_the_formula)
def turns_the_weights_over(q, k, v):
    """The table of weights was transposed before it met the values. Rows are queries, columns are keys, and each row
    averages the values: `weights @ v` as it stands."""
    return _swap(reference.attention_weights(q, k)) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_is_the_formula)
def compares_positions_with_themselves(q, k, v):
    """The scores are `(q * k).sum(-1)`: query t meets key t alone, and the softmax runs over positions. So nobody looks
    at anybody else; each value is only made larger or smaller. All pairs: `q @ kᵀ`."""
    return softmax((q * k).sum(-1) / np.sqrt(q.shape[-1]))[..., None] * v


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def takes_the_outer_product(q, k, v):
    """The scores are the outer product of the flattened inputs: every *number* of q with every *number* of k, as if
    each feature were a position. A score belongs to a pair of vectors, and is the sum over their features."""
    scores = np.multiply.outer(q.reshape(-1), k.reshape(-1))
    return (softmax(scores) @ v.reshape(-1)).reshape(*q.shape[:-1], v.shape[-1])


@scaled_dot_product_attention.misconception(caught_by=test_attention_of_known_numbers)
def takes_cosines(q, k, v):
    """The scores are cosines: q and k were brought to length 1 first. Then no score exceeds 1, and no query can be
    sure of anything. The dot product keeps the lengths; √d_k is one number for all pairs."""
    lengths = np.linalg.norm(q, axis=-1)[..., :, None] * np.linalg.norm(k, axis=-1)[..., None, :]
    return softmax(reference.dot_scores(q, k) / lengths) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_keeps_the_batch)
def attention_transposes_every_axis(q, k, v):
    """This uses `k.T`. It is right for one sequence. On a batch, `.T` reverses *all* axes, the batch too. Exchange the
    last two alone: `k.swapaxes(-1, -2)`."""
    return softmax(q @ k.T / np.sqrt(q.shape[-1])) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_is_the_formula)
def forgets_to_transpose(q, k, v):
    """This is `q @ k`: the rows of q against the *columns* of k. You want rows against rows: exchange the last two
    axes of k."""
    return softmax(q @ k / np.sqrt(q.shape[-1])) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_keeps_the_batch)
def takes_the_softmax_along_axis_one(q, k, v):
    """The softmax runs along axis 1. For one sequence these are the keys; with a batch in front, axis 1 holds the
    queries. Count from the end: axis −1."""
    return softmax(reference.dot_scores(q, k) / np.sqrt(q.shape[-1]), axis=1) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_is_the_formula)
def hides_the_later_keys(q, k, v):
    """A mask is at work: query t sees the keys up to t and no later ones. That is for chapter 5. Here every query may
    look at every key."""
    scores = reference.dot_scores(q, k) / np.sqrt(q.shape[-1])
    return softmax(np.where(np.tri(*scores.shape[-2:]) > 0, scores, -np.inf)) @ v


@scaled_dot_product_attention.misconception(caught_by=test_attention_leaves_its_inputs_alone)
def edits_the_queries(q, k, v):
    """The output is right, but the caller's queries are changed: `q /= …` writes into the array that was passed in.
    Write `q = q / …`, or divide the scores."""
    q /= np.sqrt(q.shape[-1])
    return softmax(reference.dot_scores(q, k)) @ v


@scaled_dot_product_attention.alternative
def attention_with_scaled_scores(q, k, v):
    scores = np.einsum("...td,...sd->...ts", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("...ts,...se->...te", weights / weights.sum(axis=-1, keepdims=True), v)


@scaled_dot_product_attention.alternative
def attention_that_divides_last(q, k, v, mask=None):
    scores = (q / q.shape[-1] ** 0.25) @ _swap(k / k.shape[-1] ** 0.25)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (weights @ v) / weights.sum(axis=-1, keepdims=True)


@scaled_dot_product_attention.alternative
def attention_query_by_query(q, k, v):
    front = q.shape[:-2]
    out = np.zeros((*front, q.shape[-2], v.shape[-1]), dtype=np.float64)
    for index in np.ndindex(*front, q.shape[-2]):
        here = index[:-1]
        scores = [float(np.dot(q[index], key)) / q.shape[-1] ** 0.5 for key in k[here].astype(float)]
        weights = [np.exp(score - max(scores)) for score in scores]
        out[index] = sum(w * value for w, value in zip(weights, v[here], strict=True)) / sum(weights)
    return out


# ---------------------------------------------------------------------------------------------------- attention_vjp

attention_vjp = Exercise(
    "attention_vjp",
    chapter=4,
    reference=reference.attention_vjp,
    minutes=30,
    difficulty=3,
    forbidden=(*AUTOGRAD, "attnlab.dot_product.attention_vjp"),
)


def _three(answer):
    """(dq, dk, dv) from a tuple or a list of three."""
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        raise expect.CheckFailure(
            f"Your function returned {expect.named(answer)}; three arrays were expected, `dq, dk, dv`.",
            "Does it end with `return dq, dk, dv`?",
        )
    return answer


def _compare(answer, want, causes=("", "", "")):
    for name, got, wanted, cause in zip(("dq", "dk", "dv"), _three(answer), want, causes, strict=True):
        try:
            expect.close(got, wanted, cause)
        except expect.CheckFailure as failure:
            failure.what = f"In {name}: {failure.what[0].lower()}{failure.what[1:]}"
            raise


def _measured_slope(function, x, h=1e-5):
    """The slope of a number by every entry of x, from small steps up and down."""
    slope = np.empty(x.shape)
    for index in np.ndindex(*x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        slope[index] = (function(x + step) - function(x - step)) / (2 * h)
    return slope


@attention_vjp.check(points=2)
def test_attention_vjp_of_known_numbers(student, rng):
    """With weights ¼ and ¾, values 4 and 8 and `g = 1`: dv is ¼ and ¾, and the scores are pushed by −¾ and ¾."""
    q, k = _by_hand()
    answer = student.attention_vjp(q, k, np.array([[4.0], [8.0]]), np.array([[1.0]]))
    want = np.zeros((1, 4)), np.zeros((2, 4)), np.array([[0.25], [0.75]])
    want[0][0, 0] = 3 / 8 * np.log(3)
    want[1][:, 0] = -3 / 4, 3 / 4
    _compare(
        answer,
        want,
        (
            "−¾ and ¾ are the slopes by the scaled scores: what does the chain rule make of them on the way to q?",
            "−¾ and ¾ are the slopes by the scaled scores: is each divided by √4, then multiplied by q?",
            "Each value gets g as often as it was taken: its weight.",
        ),
    )


@attention_vjp.check(points=1)
def test_dv_is_the_gradient_by_the_values(student, rng):
    """`dv` is the slope that small steps of v measure, for the loss `Σ g · attention(q, k, v)`."""
    q, k, v, g = _draw(rng, (3, 7), (5, 7), (5, 2), (3, 2))
    want = _measured_slope(lambda v: np.sum(g * reference.scaled_dot_product_attention(q, k, v)), v)
    dv = _three(student.attention_vjp(q, k, v, g))[2]
    expect.close(dv, want, "Value s went to every query t, by the weight P[t, s]. What comes back?", tolerance=1e-7)


@attention_vjp.check(points=2)
def test_dq_is_the_gradient_by_the_queries(student, rng):
    """`dq` is the slope that small steps of q measure."""
    q, k, v, g = _draw(rng, (3, 7), (5, 7), (5, 2), (3, 2))
    want = _measured_slope(lambda q: np.sum(g * reference.scaled_dot_product_attention(q, k, v)), q)
    dq = _three(student.attention_vjp(q, k, v, g))[0]
    expect.close(dq, want, "Does the softmax compare within each row, and does dq carry 1/√d_k?", tolerance=1e-7)


@attention_vjp.check(points=2)
def test_dk_is_the_gradient_by_the_keys(student, rng):
    """`dk` is the slope that small steps of k measure."""
    q, k, v, g = _draw(rng, (3, 7), (5, 7), (5, 2), (3, 2))
    want = _measured_slope(lambda k: np.sum(g * reference.scaled_dot_product_attention(q, k, v)), k)
    dk = _three(student.attention_vjp(q, k, v, g))[1]
    expect.close(dk, want, "Key s met every query t: is dS turned over before it meets q?", tolerance=1e-7)


@attention_vjp.check(points=1)
def test_attention_vjp_where_shapes_do_not_warn(student, rng):
    """With as many queries as keys as features, where a missing transpose raises no error."""
    q, k, v, g = _draw(rng, (5, 5), (5, 5), (5, 5), (5, 5))
    cause = "Which matrix is turned over, and which is not? Write each product with its indices."
    _compare(student.attention_vjp(q, k, v, g), reference.attention_vjp(q, k, v, g), (cause,) * 3)


@attention_vjp.check(points=1)
def test_attention_vjp_keeps_the_batch(student, rng):
    """Axes in front of the last two are kept: sequences do not disturb one another."""
    for front in ((2,), (2, 11)):
        inputs = _draw(rng, (*front, 3, 7), (*front, 5, 7), (*front, 5, 13), (*front, 3, 13))
        cause = "Are only the last two axes exchanged, everywhere, and do sums run along the last axis?"
        _compare(student.attention_vjp(*inputs), reference.attention_vjp(*inputs), (cause,) * 3)


@attention_vjp.check(points=1)
def test_attention_vjp_leaves_its_inputs_alone(student, rng):
    """It is right for float32, views, one key, scores in the thousands, and all four arrays are the same afterwards."""
    inputs = [_view(rng, 2, *shape) for shape in ((3, 7), (5, 7), (5, 13), (3, 13))]
    _compare(student.attention_vjp(*inputs), reference.attention_vjp(*inputs))
    q, k, v, g = _draw(rng, (3, 7), (1, 7), (1, 2), (3, 2))
    _compare(
        student.attention_vjp(q, k, v, g),
        (np.zeros((3, 7)), np.zeros((1, 7)), g.sum(0, keepdims=True)),
        ("The weight of an only key is 1. Can it move?",) * 3,
    )
    q, k, v, g = _draw(rng, (3, 7), (5, 7), (5, 2), (3, 2))
    _compare(student.attention_vjp(1000 * q, k, v, g), reference.attention_vjp(1000 * q, k, v, g))
    k[:, 0], q[:, 0] = 1.0, rng.permutation([3000.0, 0.0, -6000.0])
    cause = "The rows of the scores lie thousands apart here: does each subtract its own maximum?"
    _compare(student.attention_vjp(q, k, v, g), reference.attention_vjp(q, k, v, g), (cause,) * 3)
    expect.unchanged(student, "Does `*=`, `-=` or `/=` change it in place?")


@attention_vjp.inputs
def _all_four(rng):
    for i in range(12):
        T, S, d_k, d_v = ((3, 3, 3, 3), (2, 5, 3, 7), (1, 2, 3, 1))[i % 3]
        front = ((), (2,))[i // 3 % 2]
        yield tuple(_draw(rng, (*front, T, d_k), (*front, S, d_k), (*front, S, d_v), (*front, T, d_v))), {}


def _backwards(q, k, v, g, softmax_back=softmax_vjp, scale=None, weights=None):
    """The reference with one part exchanged."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    p = reference.attention_weights(q, k) if weights is None else weights
    ds = softmax_back(p, g @ _swap(v)) * scale
    return ds @ k, _swap(ds) @ q, _swap(p) @ g


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def loses_the_row(q, k, v, g):
    """The softmax is taken backwards with its diagonal alone, dP · P · (1 − P), as if each weight were a sigmoid of its
    own score. But the weights of a row compete: when one rises, the others fall. P · (dP − Σ P · dP), the sum along the
    row."""
    return _backwards(q, k, v, g, lambda p, dp: dp * p * (1 - p))


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def forgets_the_average(q, k, v, g):
    """The softmax is taken backwards as P · dP. The average Σ P · dP of each row is missing: a score is pushed up only
    if its value is *better than average*."""
    return _backwards(q, k, v, g, lambda p, dp: p * dp)


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def hands_the_weights_over_as_the_gradient(q, k, v, g):
    """The two arguments of `softmax_vjp` changed places. First come the weights, then the gradient by them:
    `softmax_vjp(p, dp)`."""
    return _backwards(q, k, v, g, lambda p, dp: softmax_vjp(dp, p))


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def hands_the_scores_over_as_the_weights(q, k, v, g):
    """`softmax_vjp` was given the scores. It wants what the softmax *made* of them, the weights:
    `softmax_vjp(p, dp)`."""
    scores = reference.dot_scores(q, k) / np.sqrt(q.shape[-1])
    return _backwards(q, k, v, g, lambda p, dp: softmax_vjp(scores, dp))


@attention_vjp.misconception(caught_by=test_attention_vjp_where_shapes_do_not_warn)
def loses_the_axis_of_the_average(q, k, v, g):
    """The average of each row was taken without `keepdims=True`. It has lost its axis, and lines up with the *keys*:
    row t is compared with the averages of other rows, or the shapes do not fit. Write
    `(p * dp).sum(axis=-1, keepdims=True)`."""
    return _backwards(q, k, v, g, lambda p, dp: p * (dp - (p * dp).sum(-1)))


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def skips_the_softmax(q, k, v, g):
    """The gradient by the weights went straight on to the scores: the softmax was never taken backwards. Between the
    two stands P · (dP − Σ P · dP)."""
    return _backwards(q, k, v, g, lambda p, dp: dp)


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def forgets_the_weights_in_front(q, k, v, g):
    """The softmax is taken backwards as dP − Σ P · dP. The factor P in front is missing: a key without weight cannot
    move."""
    return _backwards(q, k, v, g, lambda p, dp: dp - (p * dp).sum(-1, keepdims=True))


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def subtracts_the_plain_average(q, k, v, g):
    """The plain mean of dP is subtracted. It must be the average under the weights of the row, Σ P · dP."""
    return _backwards(q, k, v, g, lambda p, dp: p * (dp - dp.mean(-1, keepdims=True)))


@attention_vjp.misconception(caught_by=test_dq_is_the_gradient_by_the_queries)
def averages_over_the_queries(q, k, v, g):
    """Σ P · dP runs over the queries (axis −2). The softmax ran over the keys, so its gradient does too: axis −1."""
    return _backwards(q, k, v, g, lambda p, dp: softmax_vjp(p, dp, -2))


@attention_vjp.misconception(caught_by=test_dq_is_the_gradient_by_the_queries)
def averages_over_the_whole_table(q, k, v, g):
    """Σ P · dP runs over the whole table, so queries disturb one another. Each row is a softmax of its own: axis −1,
    with `keepdims=True`."""
    return _backwards(q, k, v, g, lambda p, dp: p * (dp - np.sum(p * dp)))


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def forgets_the_scale_on_the_way_back(q, k, v, g):
    """The factor 1/√d_k is missing in dq and dk. The scores were divided by √d_k on the way forward; the chain rule
    divides their gradient by it on the way back."""
    return _backwards(q, k, v, g, scale=1.0)


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def scales_twice_on_the_way_back(q, k, v, g):
    """`dq` and `dk` are divided by d_k, which is √d_k twice. The scores were scaled once; so is their gradient."""
    return _backwards(q, k, v, g, scale=1 / q.shape[-1])


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def undoes_the_scale_on_the_way_back(q, k, v, g):
    """`dq` and `dk` are *multiplied* by √d_k. Going backwards does not undo the forward step: if the scores move 1/√d_k
    as fast as the dot products, their gradient comes back 1/√d_k as large."""
    return _backwards(q, k, v, g, scale=q.shape[-1] ** 0.5)


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def forgets_the_scale_in_the_weights(q, k, v, g):
    """The weights on which everything rests are softmax(q kᵀ), without the scale; the factor 1/√d_k on the way back is
    there. It belongs in both places: in the weights, and in dq and dk."""
    return _backwards(q, k, v, g, weights=softmax(reference.dot_scores(q, k)))


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def forgets_the_scale_altogether(q, k, v, g):
    """This is the gradient of attention without √d_k, correct in itself. Scale the scores on the way forward and their
    gradient on the way back."""
    return _backwards(q, k, v, g, scale=1.0, weights=softmax(reference.dot_scores(q, k)))


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def vjp_scales_by_the_width_of_the_values(q, k, v, g):
    """The scores were divided by √d_v, the root of the width of the *values*. It is queries and keys that are
    multiplied, so it is their width that counts: `q.shape[-1]`."""
    scale = v.shape[-1] ** -0.5
    return _backwards(q, k, v, g, scale=scale, weights=softmax(reference.dot_scores(q, k) * scale))


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def scales_dq_alone(q, k, v, g):
    """`dq` carries the factor 1/√d_k, dk does not. The scale stands in front of the product of both, so both gradients
    get it: put it on dS, before the two part."""
    dq, dk, dv = reference.attention_vjp(q, k, v, g)
    return dq, dk * q.shape[-1] ** 0.5, dv


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def scales_dk_alone(q, k, v, g):
    """`dk` carries the factor 1/√d_k, dq does not. The scale stands in front of the product of both, so both gradients
    get it: put it on dS, before the two part."""
    dq, dk, dv = reference.attention_vjp(q, k, v, g)
    return dq * q.shape[-1] ** 0.5, dk, dv


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def scales_dv_too(q, k, v, g):
    """`dv` carries a factor 1/√d_k. The values never met the scale: it stands inside the softmax. Only dq and dk get
    it."""
    dq, dk, dv = reference.attention_vjp(q, k, v, g)
    return dq, dk, dv * q.shape[-1] ** -0.5


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def leaves_the_weights_in_place_for_dv(q, k, v, g):
    """`dv` is `P @ g`. Row t of P says what query t took; but dv has a row for each *value*, and value s is owed what
    all queries took of it, column s. Turn P over: `Pᵀ @ g`."""
    p = reference.attention_weights(q, k)
    dq, dk, _ = reference.attention_vjp(q, k, v, g)
    return dq, dk, p @ g


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def leaves_ds_in_place_for_dk(q, k, v, g):
    """`dk` is `dS @ q`. Row t of dS belongs to query t; but dk has a row for each *key*, and sums over all queries that
    met it. Turn dS over: `dSᵀ @ q`."""
    p = reference.attention_weights(q, k)
    ds = softmax_vjp(p, g @ _swap(v)) * q.shape[-1] ** -0.5
    return ds @ k, ds @ q, _swap(p) @ g


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def turns_ds_over_for_dq(q, k, v, g):
    """`dq` is `dSᵀ @ k`. Row t of dS belongs to query t already, and sums over the keys: `dS @ k`. It is dk that needs
    dS turned over."""
    p = reference.attention_weights(q, k)
    ds = softmax_vjp(p, g @ _swap(v)) * q.shape[-1] ** -0.5
    return _swap(ds) @ k, _swap(ds) @ q, _swap(p) @ g


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def forgets_to_turn_the_values_over(q, k, v, g):
    """`dP` is `g @ v`. The weight P[t, s] matters by g of query t *dotted* with the value s: rows against rows,
    `g @ vᵀ`."""
    p = reference.attention_weights(q, k)
    ds = softmax_vjp(p, g @ v) * q.shape[-1] ** -0.5
    return ds @ k, _swap(ds) @ q, _swap(p) @ g


@attention_vjp.misconception(caught_by=test_attention_vjp_where_shapes_do_not_warn)
def multiplies_each_with_itself(q, k, v, g):
    """`dq` was made from q and dk from k. The product q kᵀ gives each factor's gradient to the *other*: dq is made from
    the keys, dk from the queries."""
    p = reference.attention_weights(q, k)
    ds = softmax_vjp(p, g @ _swap(v)) * q.shape[-1] ** -0.5
    return ds @ q, _swap(ds) @ k, _swap(p) @ g


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def exchanges_dq_and_dk(q, k, v, g):
    """The gradients come in another order, dk first. Return them as the arguments come: dq, dk, dv."""
    dq, dk, dv = reference.attention_vjp(q, k, v, g)
    return dk, dq, dv


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def gives_dk_last(q, k, v, g):
    """The gradients come in another order, dk last. Return them as the arguments come: dq, dk, dv."""
    dq, dk, dv = reference.attention_vjp(q, k, v, g)
    return dq, dv, dk


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def turns_the_comparison_around(q, k, v, g):
    """The softmax is taken backwards with the wrong sign, P · (Σ P · dP − dP). What is better than the average has to
    gain: P · (dP − Σ P · dP)."""
    return _backwards(q, k, v, g, lambda p, dp: p * ((p * dp).sum(-1, keepdims=True) - dp))


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def gives_dv_first(q, k, v, g):
    """The gradients come in the order in which they are found, dv first. Return them as the arguments come: dq, dk,
    dv."""
    dq, dk, dv = reference.attention_vjp(q, k, v, g)
    return dv, dq, dk


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def takes_the_weights_for_constants(q, k, v, g):
    """Only dv is there; dq and dk are zero, as if the weights were given. But the weights come from q and k, and they
    are what is to be learned."""
    return np.zeros(q.shape), np.zeros(k.shape), _swap(reference.attention_weights(q, k)) @ g


@attention_vjp.misconception(caught_by=test_attention_vjp_of_known_numbers)
def goes_downhill(q, k, v, g):
    """All three gradients have the wrong sign. A gradient points uphill; the minus sign belongs to the optimiser."""
    return tuple(-x for x in reference.attention_vjp(q, k, v, g))


@attention_vjp.misconception(caught_by=test_dv_is_the_gradient_by_the_values)
def ignores_g(q, k, v, g):
    """`g` has no effect: these are the gradients of the plain sum of the output, with ones in place of g. Every entry
    of the output has its own weight in the loss."""
    return reference.attention_vjp(q, k, v, np.ones_like(g))


@attention_vjp.misconception(caught_by=test_attention_vjp_keeps_the_batch)
def vjp_transposes_every_axis(q, k, v, g):
    """This uses `.T`, which on a batch reverses *all* axes. Exchange the last two: `swapaxes(-1, -2)`."""
    p = softmax(q @ k.T / np.sqrt(q.shape[-1]))
    ds = softmax_vjp(p, g @ v.T) / np.sqrt(q.shape[-1])
    return ds @ k, ds.T @ q, p.T @ g


@attention_vjp.misconception(caught_by=test_attention_vjp_leaves_its_inputs_alone)
def vjp_edits_its_inputs(q, k, v, g):
    """The gradients are right, but the caller's queries are changed: `q /= …` or `q *= …` writes into the array that
    was passed in. Write `q = q / …`."""
    answer = reference.attention_vjp(q, k, v, g)
    q /= np.sqrt(q.shape[-1])
    return answer


@attention_vjp.misconception(caught_by=test_attention_vjp_leaves_its_inputs_alone)
def vjp_overflows(q, k, v, g):
    """The weights are exp divided by the sum of exp, as printed. Scores in the thousands overflow, and ∞/∞ is NaN.
    Subtract the maximum of each row first, or call chapter 1's softmax."""
    weights = np.exp(reference.dot_scores(q, k) / np.sqrt(q.shape[-1]))
    return _backwards(q, k, v, g, weights=weights / weights.sum(-1, keepdims=True))


@attention_vjp.misconception(caught_by=test_attention_vjp_leaves_its_inputs_alone)
def vjp_subtracts_one_maximum_for_all(q, k, v, g):
    """The weights were made with the greatest score of the whole array subtracted. A row far below it becomes all zeros
    after exp, and 0/0 is NaN. Each query needs its own maximum, or call chapter 1's softmax."""
    scores = reference.dot_scores(q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max())
    return _backwards(q, k, v, g, weights=weights / weights.sum(-1, keepdims=True))


@attention_vjp.alternative
def attention_vjp_by_einsum(q, k, v, g):
    scale = 1 / np.sqrt(q.shape[-1])
    scores = np.einsum("...td,...sd->...ts", q, k) * scale
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    out = np.einsum("...ts,...se->...te", p, v)
    dp = np.einsum("...te,...se->...ts", g, v)
    ds = p * (dp - (g * out).sum(-1, keepdims=True))  # Σ P dP is g · out
    dq = scale * np.einsum("...ts,...sd->...td", ds, k)
    dk = scale * np.einsum("...ts,...td->...sd", ds, q)
    return dq, dk, np.einsum("...ts,...te->...se", p, g)


@attention_vjp.alternative
def attention_vjp_row_by_row(q, k, v, g):
    """One query at a time, with the Jacobian of its softmax, in float64."""
    q, k, v, g = (np.asarray(x, np.float64) for x in (q, k, v, g))
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for index in np.ndindex(*q.shape[:-1]):
        here = index[:-1]
        p = softmax(k[here] @ q[index] / np.sqrt(q.shape[-1]))
        ds = (np.diag(p) - np.outer(p, p)) @ (v[here] @ g[index]) / np.sqrt(q.shape[-1])
        dq[index] = ds @ k[here]
        dk[here] += np.outer(ds, q[index])
        dv[here] += np.outer(p, g[index])
    return [dq, dk, dv]
