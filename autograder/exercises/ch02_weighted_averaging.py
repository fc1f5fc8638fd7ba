"""Chapter 2, Averaging with weights: the near ones count more."""

import numpy as np

from attnlab import kernels as reference
from attnlab.softmax import softmax
from autograder import expect
from autograder.exercise import Exercise

LIBRARY_KERNELS = (
    "attnlab.kernels.gaussian_weights",
    "attnlab.kernels.attention_pool",
    "attnlab.kernels.leave_one_out_loss",
)


def _distance(queries, keys):
    """q_t − k_s for all pairs, shape (T, S)."""
    return np.subtract.outer(np.asarray(queries, float), np.asarray(keys, float))


def _scores(queries, keys, width):
    """The exponent of the bell, shape (T, S)."""
    return -(_distance(queries, keys) ** 2) / (2 * width**2)


# -------------------------------------------------------------------------------------------------- gaussian_weights

gaussian_weights = Exercise(
    "gaussian_weights",
    chapter=2,
    reference=reference.gaussian_weights,
    minutes=15,
    difficulty=1,
    forbidden=LIBRARY_KERNELS,
)


@gaussian_weights.check(points=1)
def test_gaussian_weights_of_known_numbers(student, rng):
    """Keys that are none, one and two widths away share as `1`, `e^(−½)` and `e^(−2)`."""
    bell = np.exp([0.0, -0.5, -2.0])
    expect.close(
        student.gaussian_weights(np.array([1.0]), np.array([1.0, 4.0, -5.0]), 3.0),
        bell[None, :] / bell.sum(),
        "Is the exponent −distance² / (2 · width²), and is the row divided by its sum?",
        tolerance=1e-6,
    )
    keys, width = rng.normal(size=7), float(rng.uniform(0.5, 0.8))
    expect.close(
        student.gaussian_weights(np.array([0.3]), keys, width),
        reference.gaussian_weights(np.array([0.3]), keys, width),
        "Is `width` the standard deviation of the bell: squared, and twice?",
        tolerance=1e-6,
    )


@gaussian_weights.check(points=1)
def test_each_query_shares_itself_out_among_the_keys(student, rng):
    """Five queries and seven keys give a table of shape (5, 7), in which every row sums to one."""
    queries, keys = rng.normal(size=5), rng.normal(size=7)
    expect.close(
        student.gaussian_weights(queries, keys, 0.7),
        reference.gaussian_weights(queries, keys, 0.7),
        "Which axis holds the keys, and which one do you divide along?",
        tolerance=1e-6,
    )


@gaussian_weights.check(points=1)
def test_only_distances_in_widths_count(student, rng):
    """Move queries and keys by the same amount, or measure them and the width in another unit: the shares stay."""
    queries, keys, shift = rng.normal(size=3), rng.normal(size=5), float(rng.uniform(20, 30))
    stays = reference.gaussian_weights(queries, keys, 0.8)
    expect.close(
        student.gaussian_weights(queries + shift, keys + shift, 0.8),
        stays,
        "Does anything but the distance between query and key enter the score?",
        tolerance=1e-6,
    )
    expect.close(
        student.gaussian_weights(60 * queries, 60 * keys, 48.0),
        stays,
        "Hours became minutes, the width too: is distance divided by width before it is squared?",
        tolerance=1e-6,
    )
    expect.close(
        student.gaussian_weights(1e-4 * queries, 1e-4 * keys, 0.8e-4),
        stays,
        "In a large unit all numbers are small: is the distance divided by the width itself, with nothing added to it?",
        tolerance=1e-6,
    )


@gaussian_weights.check(points=1)
def test_the_two_ends_of_the_width(student, rng):
    """A tiny width gives everything to the nearest key, a huge one the same to all."""
    queries, keys = np.arange(5) + rng.uniform(-0.3, 0.3, 5), rng.permutation(7).astype(float)
    expect.close(
        student.gaussian_weights(queries, keys, 1e-3),
        (keys == np.round(queries)[:, None]).astype(float),
        "Is −distance² / (2 · width²) very negative for the far keys, and 0/0 for none of the rows?",
    )
    expect.close(
        student.gaussian_weights(queries, keys, 1e6), np.full((5, 7), 1 / 7), "Does a large width flatten the shares?"
    )


@gaussian_weights.check(points=1)
def test_a_query_far_from_every_key_still_gets_an_answer(student, rng):
    """Where every bell is too small for the computer, the shares still sum to one."""
    queries, keys = np.array([0.5, 1000.0, -800.0]), np.arange(5) + rng.uniform(-0.1, 0.1, 5)
    expect.close(
        student.gaussian_weights(queries, keys, 0.4),
        softmax(_scores(queries, keys, 0.4)),
        "What is exp(−1000000) in a computer? Which cliff of chapter 1 is that, and what keeps you from it?",
    )
    queries, keys = queries.astype(np.float32), keys.astype(np.float32)
    expect.close(
        student.gaussian_weights(queries, keys, 0.5),
        softmax(_scores(queries, keys, 0.5)).astype(np.float32),
        "Is the greatest score of each row subtracted before exp?",
    )


@gaussian_weights.check(points=1)
def test_gaussian_weights_takes_every_kind_of_array(student, rng):
    """It is right for whole numbers, float32 and views with gaps, and the arrays are the same afterwards."""
    numbers = rng.normal(size=24)
    for kind in (np.float64, np.float32):
        queries, keys = numbers.astype(kind)[:10:2], numbers.astype(kind)[::-2]
        want = reference.gaussian_weights(queries, keys, 0.7).astype(kind)
        expect.close(student.gaussian_weights(queries, keys, 0.7), want)
    expect.unchanged(student, "Does `/=` or `-=` change it in place?")
    whole = rng.permutation(20)
    queries, keys = whole[:3], whole[3:10]
    expect.close(
        student.gaussian_weights(queries, keys, 2),
        reference.gaussian_weights(queries.astype(float), keys.astype(float), 2.0),
        "Are the shares stored as whole numbers?",
    )


@gaussian_weights.inputs
def _queries_keys_and_width(rng):
    for i in range(24):
        T, S = rng.choice([2, 3, 5], size=2)
        away = (0, 7, 15, 100)[i % 4]  # near, far, farther, and where every bell is 0
        width = float(rng.uniform(0.4, 2.5))
        yield (width * (away + rng.normal(size=T)), rng.normal(size=S), width), {}


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def takes_the_width_for_the_variance(queries, keys, width):
    """This is what comes out when the width is not squared: −distance² / (2 · width). Then `width` plays the variance.
    It is the standard deviation, a length like the distance itself, so that only their ratio counts."""
    return softmax(-(_distance(queries, keys) ** 2) / (2 * width))


@gaussian_weights.misconception(caught_by=test_only_distances_in_widths_count)
def holds_the_width_above_a_floor(queries, keys, width):
    """A small width was replaced by a larger one, so that nothing is divided by too little. What is small depends on
    the unit: in kilometres every walk is. `width` is greater than 0, and softmax can bear what comes out of the
    division."""
    return softmax(-((_distance(queries, keys) / max(width, 1e-3)) ** 2) / 2)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def forgets_the_two(queries, keys, width):
    """This is exp(−distance² / width²): the 2 under the fraction is missing. The bell is then narrower than asked, by
    the factor √2."""
    return softmax(2 * _scores(queries, keys, width))


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def takes_the_width_for_the_temperature(queries, keys, width):
    """This is softmax(−distance² / width): the width went in as the temperature of chapter 1. The temperature of a bell
    is 2 · width²."""
    return softmax(-(_distance(queries, keys) ** 2) / width)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def squares_the_two(queries, keys, width):
    """This is exp(−distance² / (2 · width)²): the 2 was squared together with the width. Only the width is squared,
    2 · width²; the bell came out too wide, by the factor √2."""
    return softmax(_scores(queries, keys, width) / 2)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def forgets_the_square(queries, keys, width):
    """This is exp(−|distance| / (2 · width²)): the distance was not squared. A length over a squared length changes
    with the unit; and the peak gets a sharp corner, where a bell is round."""
    return softmax(-np.abs(_distance(queries, keys)) / (2 * width**2))


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def takes_the_laplace_kernel(queries, keys, width):
    """This is exp(−|distance| / width), the Laplace kernel. It is a good kernel, but not the bell: square the ratio
    and halve it."""
    return softmax(-np.abs(_distance(queries, keys)) / width)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def keeps_the_sign_of_the_distance(queries, keys, width):
    """The difference was neither squared nor made positive, so a key far on one side gets the greatest share. How near
    a key is does not depend on the side that it lies on: square the difference."""
    return softmax(-_distance(queries, keys) / (2 * width**2))


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def prefers_the_farthest(queries, keys, width):
    """The minus sign is missing: this is exp(+distance² / (2 · width²)), and the farthest key gets most. The score
    must fall with distance."""
    return softmax(-_scores(queries, keys, width))


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def multiplies_by_the_width(queries, keys, width):
    """This is exp(−distance² · width² / 2): the width multiplies, so a wide bell comes out narrow. Divide by it."""
    return softmax(-((_distance(queries, keys) * width) ** 2) / 2)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def ignores_the_width(queries, keys, width):
    """This is the bell of width 1, whatever `width` says. (A width that divides the exponentials, not the scores,
    cancels with their sum.) Divide the distance by the width before exp."""
    return softmax(_scores(queries, keys, 1.0))


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def takes_the_bare_squared_distance(queries, keys, width):
    """This is softmax(−distance²): neither the width nor the 2 is in it. Divide the squared distance by 2 · width²."""
    return softmax(-(_distance(queries, keys) ** 2))


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def forgets_to_normalise(queries, keys, width):
    """These are the heights of the bell, never divided by their sum. They say who is near, but they are no shares: an
    average with them depends on how many keys happen to be near."""
    return np.exp(_scores(queries, keys, width))


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def returns_the_normal_density(queries, keys, width):
    """This is the normal density, with 1 / (width · √2π) in front. Its *area* is one; what has to be one is the sum
    over the keys. Divide by that sum, and the factor in front cancels."""
    return np.exp(_scores(queries, keys, width)) / (width * np.sqrt(2 * np.pi))


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def gives_the_nearest_a_share_of_one(queries, keys, width):
    """Each row was divided by its greatest entry, so the nearest key always gets exactly 1. Divide by the sum: shares
    add up to one."""
    scores = _scores(queries, keys, width)
    return np.exp(scores - scores.max(-1, keepdims=True))


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def divides_by_the_length_of_the_row(queries, keys, width):
    """Each row was divided by its length as a vector, the root of the sum of squares. Shares add up to one as they are,
    not squared: divide by the plain sum."""
    bell = np.exp(_scores(queries, keys, width))
    return bell / np.linalg.norm(bell, axis=-1, keepdims=True)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def divides_by_the_mean_of_the_row(queries, keys, width):
    """Each row was divided by its mean, so it adds up to the number of keys. Divide by its sum: a query has one look to
    give away."""
    bell = np.exp(_scores(queries, keys, width))
    return bell / bell.mean(-1, keepdims=True)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def returns_the_scores(queries, keys, width):
    """These are the scores −distance² / (2 · width²). A softmax along the keys makes shares of them."""
    return _scores(queries, keys, width)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def takes_softmax_of_the_bell(queries, keys, width):
    """This is the softmax of exp(−distance² / (2 · width²)): exp was taken twice. The heights of the bell lie between
    0 and 1, so the shares come out nearly flat. Give softmax the exponent, not the bell."""
    return softmax(np.exp(_scores(queries, keys, width)))


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def divides_the_scores_without_exp(queries, keys, width):
    """This is each score divided by the sum of the scores, without exp. All scores are negative, so the quotient turns
    them round: the farthest key gets most."""
    scores = _scores(queries, keys, width)
    return scores / scores.sum(-1, keepdims=True)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def takes_only_the_nearest(queries, keys, width):
    """This gives the nearest key everything. That is the limit for width → 0; for a real width the others get their
    shares too."""
    distance = np.abs(_distance(queries, keys))
    return (distance == distance.min(-1, keepdims=True)).astype(float)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def shares_equally_within_the_width(queries, keys, width):
    """This shares equally among the keys that lie within one width, and gives the rest nothing: a box in place of the
    bell. The bell fades gradually, and no key gets exactly nothing."""
    near = (np.abs(_distance(queries, keys)) <= width).astype(float)
    return near / near.sum(-1, keepdims=True)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def weighs_by_inverse_distance(queries, keys, width):
    """These are shares of 1 / distance². A key exactly at the query divides by zero, and the width does nothing. The
    bell has a finite peak: exp(−distance² / (2 · width²))."""
    nearness = 1 / _distance(queries, keys) ** 2
    return nearness / nearness.sum(-1, keepdims=True)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_of_known_numbers)
def multiplies_query_and_key(queries, keys, width):
    """This is the softmax of query · key / width². Products are the scores of chapter 4. Here nearness decides: for
    numbers, a greater key is not a nearer key."""
    return softmax(np.multiply.outer(queries, keys) / width**2)


@gaussian_weights.misconception(caught_by=test_each_query_shares_itself_out_among_the_keys)
def normalises_over_queries(queries, keys, width):
    """This is what comes out when the shares add up to one down the columns, over the queries. Then each *key* divides
    itself among the questions, and an answer depends on what else is asked. Each query shares itself out among the
    keys: divide along the last axis."""
    return softmax(_scores(queries, keys, width), axis=0)


@gaussian_weights.misconception(caught_by=test_each_query_shares_itself_out_among_the_keys)
def normalises_the_whole_table(queries, keys, width):
    """This divides by the sum of the whole table, so all queries together have one look to give away. Every query has
    its own: divide each row by its sum, with `axis=-1, keepdims=True`."""
    bell = np.exp(_scores(queries, keys, width))
    return bell / bell.sum()


@gaussian_weights.misconception(caught_by=test_each_query_shares_itself_out_among_the_keys)
def puts_the_keys_first(queries, keys, width):
    """The table is right, but lying on its side: shape (S, T), a row a key. Throughout the course queries come first:
    row t holds the shares that query t gives. Write `queries[:, None] - keys[None, :]`."""
    return softmax(_scores(queries, keys, width)).T


@gaussian_weights.misconception(caught_by=test_each_query_shares_itself_out_among_the_keys)
def lets_the_keys_ask(queries, keys, width):
    """Queries and keys have changed places: this is a table of shape (S, T), in which each *key* shares itself out
    among the queries. Write `queries[:, None] - keys[None, :]`, and divide along the last axis."""
    return softmax(_scores(keys, queries, width))


@gaussian_weights.misconception(caught_by=test_each_query_shares_itself_out_among_the_keys)
def pairs_queries_with_keys(queries, keys, width):
    """`queries - keys` compares the first query with the first key, the second with the second. Every query must meet
    every key: give the queries an axis of their own, `queries[:, None] - keys[None, :]`, shape (T, S)."""
    return softmax(-((queries - keys) ** 2) / (2 * width**2))


@gaussian_weights.misconception(caught_by=test_each_query_shares_itself_out_among_the_keys)
def loses_the_axis_of_the_sum(queries, keys, width):
    """The sum lost its axis, so NumPy lines it up with the wrong one: shapes (5, 7) and (5,) do not fit.
    `keepdims=True` leaves an axis of length 1 in its place."""
    bell = np.exp(_scores(queries, keys, width))
    return bell / bell.sum(-1)


@gaussian_weights.misconception(caught_by=test_a_query_far_from_every_key_still_gets_an_answer)
def divides_zero_by_zero(queries, keys, width):
    """This is the bell divided by its sum as the formula is written. Far from every key all heights round to 0, and
    0/0 is NaN. Shares depend on differences of scores only: subtract the greatest of the row first. The softmax of
    chapter 1 does."""
    bell = np.exp(_scores(queries, keys, width))
    return bell / bell.sum(-1, keepdims=True)


@gaussian_weights.misconception(caught_by=test_a_query_far_from_every_key_still_gets_an_answer)
def covers_up_the_nan(queries, keys, width):
    """The NaN of 0/0 was covered up: a small number added to the sum, or every NaN replaced by 0. Then a far query has
    no shares at all, and its average is 0 whatever the values are. Subtract the greatest score of the row before exp:
    the sum is then at least 1, and there is nothing to cover."""
    return np.nan_to_num(divides_zero_by_zero(queries, keys, width))


@gaussian_weights.misconception(caught_by=test_a_query_far_from_every_key_still_gets_an_answer)
def shares_equally_where_nothing_is_near(queries, keys, width):
    """Where all heights round to 0, this shares equally among all keys. But their scores still differ, by far: the
    nearest key has the greatest. Subtract the greatest score of the row before exp, and it comes out by itself."""
    return np.nan_to_num(divides_zero_by_zero(queries, keys, width), nan=1 / len(keys))


@gaussian_weights.misconception(caught_by=test_a_query_far_from_every_key_still_gets_an_answer)
def subtracts_the_greatest_of_the_table(queries, keys, width):
    """The greatest score of the whole table was subtracted from every row. A row far below it rounds to zeros, and 0/0
    is NaN. Every row needs its own: `max` along the last axis, with `keepdims=True`."""
    scores = _scores(queries, keys, width)
    bell = np.exp(scores - scores.max())
    return bell / bell.sum(-1, keepdims=True)


@gaussian_weights.misconception(caught_by=test_a_query_far_from_every_key_still_gets_an_answer)
def clips_the_scores(queries, keys, width):
    """The scores were clipped from below so that exp does not round to 0. Then all keys beyond the limit look equally
    far, and a far query shares equally among them. Subtracting the greatest score of the row loses nothing."""
    bell = np.exp(np.maximum(_scores(queries, keys, width), -50))
    return bell / bell.sum(-1, keepdims=True)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_takes_every_kind_of_array)
def stores_whole_numbers(queries, keys, width):
    """The shares were written into an array of the input's type. For whole numbers that type has no fractions, and
    every share below 1 becomes 0. Let NumPy choose the type, or ask for `float`."""
    kind = queries.dtype if queries.dtype.kind in "iu" else float
    return softmax(_scores(queries, keys, width)).astype(kind)


@gaussian_weights.misconception(caught_by=test_gaussian_weights_takes_every_kind_of_array)
def edits_queries_and_keys(queries, keys, width):
    """The shares are right, but the caller's arrays are changed: `queries /= width` writes into them. Write
    `queries = queries / width`, which makes a new one."""
    queries /= width
    keys /= width
    return softmax(_scores(queries, keys, 1))


@gaussian_weights.alternative
def weights_one_query_at_a_time(queries, keys, width):
    def row(query):
        scores = [-(((query - key) / width) ** 2) / 2 for key in keys]
        bell = [np.exp(score - max(scores)) for score in scores]
        return [height / sum(bell) for height in bell]

    return np.array([row(float(query)) for query in queries])


@gaussian_weights.alternative
def weights_from_the_expanded_square(queries, keys, width, dtype=np.float64):
    """query² is the same for all keys of a row, and cancels."""
    q, k = np.asarray(queries, dtype), np.asarray(keys, dtype)
    return softmax((2 * np.outer(q, k) - k**2) / (2 * width**2))


@gaussian_weights.alternative
def weights_relative_to_the_nearest(queries, keys, width):
    squared = np.abs(np.asarray(queries)[:, np.newaxis] - keys) ** 2 / width**2
    bell = np.exp((squared.min(axis=1, keepdims=True) - squared) * 0.5)
    return np.einsum("ts,t->ts", bell, 1 / bell.sum(axis=1))


# ---------------------------------------------------------------------------------------------------- attention_pool

attention_pool = Exercise(
    "attention_pool",
    chapter=2,
    reference=reference.attention_pool,
    minutes=10,
    difficulty=1,
    forbidden=LIBRARY_KERNELS,
)


def _rows(rng, shape):
    """Weights whose last axis sums to one."""
    return softmax(rng.normal(size=shape))


@attention_pool.check(points=1)
def test_pool_of_known_numbers(student, rng):
    """Shares of `¼` and `¾` in the values 4 and 8 give 7; every query gets one number."""
    weights = np.array([[0.25, 0.75], [1.0, 0.0]])
    expect.close(
        student.attention_pool(weights, np.array([4.0, 8.0])),
        np.array([7.0, 4.0]),
        "Is each value multiplied by its share, and are the products added over the keys?",
    )
    weights, values = _rows(rng, (5, 7)), rng.normal(size=7)
    expect.close(
        student.attention_pool(weights, values),
        reference.attention_pool(weights, values),
        "Row t of the weights belongs to query t: is the sum taken along the last axis?",
    )


@attention_pool.check(points=1)
def test_pool_takes_vectors_for_values(student, rng):
    """Values of shape (7, 3) give answers of shape (5, 3): every feature is averaged with the same shares."""
    weights, values = _rows(rng, (5, 7)), rng.normal(size=(7, 3))
    expect.close(
        student.attention_pool(weights, values),
        reference.attention_pool(weights, values),
        "Which axis of the values counts the keys? Does the axis of features stay?",
    )
    expect.close(
        student.attention_pool(weights[:1], values[:, :1]),
        reference.attention_pool(weights[:1], values[:, :1]),
        "One query and one feature are axes of length 1, and stay: is there a `squeeze`?",
    )


@attention_pool.check(points=1)
def test_pool_takes_many_tables_at_once(student, rng):
    """Weights of shape (2, 3, 5, 7) are six tables: each of them averages the same values by itself."""
    weights, values = _rows(rng, (2, 3, 5, 7)), rng.normal(size=(7, 11))
    expect.close(
        student.attention_pool(weights, values),
        reference.attention_pool(weights, values),
        "Are the keys the last axis, whatever stands in front? `.T` turns round all axes.",
    )
    expect.close(student.attention_pool(weights[0], values[:, 0]), reference.attention_pool(weights[0], values[:, 0]))


@attention_pool.check(points=1)
def test_pool_takes_the_weights_as_they_come(student, rng):
    """A row of zeros gives zero, and a row twice as large an answer twice as large: nothing is shared out again."""
    weights, values = _rows(rng, (3, 5)) * np.array([[1.0], [0.0], [2.0]]), rng.normal(size=5)
    expect.close(
        student.attention_pool(weights, values),
        reference.attention_pool(weights, values),
        "Do you divide by the sum of the row, or run softmax, once more?",
    )


@attention_pool.check(points=1)
def test_pool_takes_every_kind_of_array(student, rng):
    """It is right for whole-number values, float32 and views with gaps, and the arrays are the same afterwards."""
    weights, whole = _rows(rng, (3, 5)), rng.integers(-9, 10, size=5)
    expect.close(
        student.attention_pool(weights, whole),
        reference.attention_pool(weights, whole.astype(float)),
        "An average of whole numbers is a fraction: is it stored as a whole number?",
    )
    table, numbers = _rows(rng, (7, 6)), rng.normal(size=(3, 14))
    for kind in (np.float64, np.float32):
        weights, values = table.astype(kind).T[::2], numbers.astype(kind).T[::2]
        expect.close(student.attention_pool(weights, values), reference.attention_pool(weights, values))
    expect.unchanged(student, "Does `*=` change it in place?")


@attention_pool.inputs
def _weights_and_values(rng):
    for _ in range(20):
        T, S, d_v = rng.choice([2, 3, 5], size=3)
        yield (_rows(rng, (T, S)), rng.normal(size=(S, d_v) if rng.random() < 0.6 else S)), {}
    for _ in range(5):
        T, S = rng.choice([2, 3, 5], size=2)
        yield (_rows(rng, (T, S, S)), rng.normal(size=(S, 2))), {}


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def sums_the_wrong_axis(weights, values):
    """This adds over the queries, with the weights lying on their side (`weights.T @ values`). Where the table
    is not square the shapes do not fit; where it is, the numbers are wrong without a word. Row t holds the shares of
    query t: add along the last axis, over the keys."""
    return np.swapaxes(weights, -1, -2) @ values


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def multiplies_from_the_wrong_side(weights, values):
    """This adds over the queries: the values stand on the left (`values @ weights`), or meet the first axis of the
    weights (`"ts,t->s"`). `weights @ values` adds over the keys, the last axis of the weights and the first of the
    values."""
    return values @ weights


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def adds_down_the_columns(weights, values):
    """The values were weighted, then added down the columns, over the queries. That is one number a *key*. An answer
    belongs to a query: add along the last axis, over the keys."""
    return (weights * values).sum(axis=0)


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def returns_the_weighted_values(weights, values):
    """These are the weighted values before they are added: still a whole table. The answer of a query is their sum
    along the last axis."""
    return weights * values


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def adds_everything(weights, values):
    """This adds over keys and queries alike, and one number is left. Every query has its own answer: add along the
    last axis only."""
    return np.sum(weights * values)


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def takes_the_mean_of_the_weighted_values(weights, values):
    """The weighted values were averaged once more: `mean` where `sum` is meant, so all is too small by the number of
    keys. The weights already add up to one; their sum *is* the average."""
    return weights @ values / weights.shape[-1]


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def divides_by_the_sum_of_the_table(weights, values):
    """The answers were divided by the sum of all weights, which is the number of queries. Each row adds up to one by
    itself: nothing is left to divide by."""
    return weights @ values / np.sum(weights)


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def takes_only_vectors(weights, values):
    """This wants every value to be a vector (`"ts,sd->td"`). A value may be a single number, values of shape (S,);
    `weights @ values` takes both."""
    return np.einsum("...ts,sd->...td", weights, values)


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def takes_the_plain_mean(weights, values):
    """This is the plain mean of the values, the same for every query: the weights have no say. Multiply each value by
    its share before adding."""
    plain = np.mean(values, axis=0)
    return np.broadcast_to(plain, (*weights.shape[:-1], *plain.shape)).copy()


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def picks_the_value_of_the_greatest_weight(weights, values):
    """This copies the value with the greatest share and drops the rest. That is the cold limit; the average takes all
    values, each by its share."""
    return np.asarray(values)[np.argmax(weights, axis=-1)]


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def runs_softmax_again(weights, values):
    """The weights went through softmax once more. They are shares already; a second softmax sees numbers between 0 and
    1 and flattens them (chapter 1, the trap with no error message)."""
    return softmax(np.asarray(weights, float)) @ values


@attention_pool.misconception(caught_by=test_pool_takes_vectors_for_values)
def squeezes(weights, values):
    """The numbers are right, but `squeeze` removes every axis of length 1, also one that belongs there: a single
    query, or a single feature. Whoever relies on the shape is then out of step."""
    return (weights @ values).squeeze()


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def keeps_an_axis_of_length_one(weights, values):
    """The numbers are right, but the axis of the keys was kept with length 1. It has been added up: leave
    `keepdims=True` out here."""
    return np.expand_dims(weights @ values, weights.ndim - 1)


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def subtracts_the_values(weights, values):
    """The answer has the wrong sign. It is Σ weight · value, a point among the values."""
    return -(weights @ values)


@attention_pool.misconception(caught_by=test_pool_takes_vectors_for_values)
def takes_only_numbers(weights, values):
    """`(weights * values).sum(-1)` is right where every value is one number. A value may be a vector; then the shapes
    do not fit. `weights @ values` is the same sum, and takes both."""
    return (weights * values).sum(axis=-1)


@attention_pool.misconception(caught_by=test_pool_takes_vectors_for_values)
def mixes_the_features(weights, values):
    """The features of a value were added up as well, so that every query has a single number. The sum runs over the
    keys alone; the axis of features stays."""
    pooled = weights @ values
    return pooled.sum(-1) if np.ndim(values) == 2 else pooled


@attention_pool.misconception(caught_by=test_pool_takes_vectors_for_values)
def puts_the_features_first(weights, values):
    """The numbers are right, but the features come before the queries. Queries first, features last: shape (T, d_v)."""
    pooled = weights @ values
    return np.moveaxis(pooled, -1, -2) if np.ndim(values) == 2 else pooled


@attention_pool.misconception(caught_by=test_pool_takes_many_tables_at_once)
def turns_round_all_axes(weights, values):
    """This is right for one table. With more axes in front, `.T` turns round all of them, not the last two.
    `weights @ values` needs no turning."""
    return (np.asarray(values).T @ weights.T).T


@attention_pool.misconception(caught_by=test_pool_takes_many_tables_at_once)
def takes_a_single_table(weights, values):
    """This takes weights with two axes only. Weights may come as many tables at once, with further axes in front:
    count axes from the end, or write `weights @ values`."""
    return np.einsum("ts,s...->t...", weights, values)


@attention_pool.misconception(caught_by=test_pool_takes_many_tables_at_once)
def joins_the_tables(weights, values):
    """The tables were joined into one long list of queries: the axes in front are gone. Give the answer the axes of the
    weights back, all but the last."""
    return weights.reshape(-1, weights.shape[-1]) @ values


@attention_pool.misconception(caught_by=test_pool_takes_the_weights_as_they_come)
def divides_by_the_sum_again(weights, values):
    """Each row was divided by its sum. Shares add up to one already, so that changes nothing; but a row of zeros, a
    query that may look nowhere, turns into 0/0. Take the weights as they come."""
    return (weights / weights.sum(axis=-1, keepdims=True)) @ values


@attention_pool.misconception(caught_by=test_pool_takes_the_weights_as_they_come)
def divides_by_the_sum_unless_it_is_zero(weights, values):
    """Each row was divided by its sum, and where that is zero the NaN was replaced. A row of zeros is right then; but a
    row that adds up to 2 is made one that adds up to 1. Take the weights as they come."""
    with np.errstate(all="ignore"):
        return np.nan_to_num(weights / weights.sum(axis=-1, keepdims=True)) @ values


@attention_pool.misconception(caught_by=test_pool_of_known_numbers)
def divides_the_answers_by_a_column(weights, values):
    """The answers were divided by the sums of the rows, kept as a column (`keepdims=True`). Answers of shape (T,) and
    sums of shape (T, 1) make a table of T × T. And it is not needed: take the weights as they come."""
    with np.errstate(all="ignore"):
        return weights @ values / weights.sum(axis=-1, keepdims=True)


@attention_pool.misconception(caught_by=test_pool_takes_every_kind_of_array)
def keeps_the_type_of_the_values(weights, values):
    """The answers were written into an array of the values' type. For whole numbers the fractions are lost. Let NumPy
    choose the type."""
    pooled = weights @ values
    return pooled.astype(values.dtype) if values.dtype.kind in "iu" else pooled


@attention_pool.misconception(caught_by=test_pool_takes_every_kind_of_array)
def edits_the_weights(weights, values):
    """The answer is right, but the caller's weights are changed: `weights *= …` writes into them. Make a new array."""
    pooled = weights @ values
    weights *= 0
    return pooled


@attention_pool.misconception(caught_by=test_pool_takes_every_kind_of_array)
def edits_the_values(weights, values):
    """The answer is right, but the caller's values are changed: `values *= …` writes into them. Make a new array."""
    pooled = weights @ values
    values *= 0
    return pooled


@attention_pool.alternative
def pool_by_einsum(weights, values):
    return np.einsum("...ts,s->...t" if np.ndim(values) == 1 else "...ts,sd->...td", weights, values)


@attention_pool.alternative
def pool_one_key_at_a_time(weights, values, dtype=np.float64):
    values = np.asarray(values, dtype)
    out = np.zeros((*weights.shape[:-1], *values.shape[1:]), dtype)
    for s, value in enumerate(values):
        out = out + weights[..., s].reshape(*weights.shape[:-1], *[1] * value.ndim) * value
    return out


@attention_pool.alternative
def pool_by_tensordot(weights, values):
    return np.tensordot(weights, values, axes=(-1, 0))


# ------------------------------------------------------------------------------------------------ leave_one_out_loss

leave_one_out_loss = Exercise(
    "leave_one_out_loss",
    chapter=2,
    reference=reference.leave_one_out_loss,
    minutes=20,
    difficulty=2,
    forbidden=LIBRARY_KERNELS,
)


def _one_by_one(x, y, width):
    """The definition, word by word: take a point away, predict it from the rest."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    errors = []
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        predicted = softmax(_scores(x[i : i + 1], x[rest], width))[0] @ y[rest]
        errors.append((y[i] - predicted) ** 2)
    return np.mean(errors)


def _predicted(x, y, width, fill=-np.inf):
    """What the others say about each point."""
    scores = _scores(x, x, width)
    np.fill_diagonal(scores, fill)
    return softmax(scores) @ np.asarray(y, float)


@leave_one_out_loss.check(points=1)
def test_two_points_predict_each_other(student, rng):
    """Two points with the values 2 and 5 predict each other, whatever the width: the loss is 9."""
    for width in (0.3, 3.0):
        expect.close(
            student.leave_one_out_loss(np.array([0.0, 1.0]), np.array([2.0, 5.0]), width),
            np.float64(9.0),
            "With itself left out, each point has one other to look at: does that one get a share of exactly 1?",
        )
    y = rng.normal(size=2)
    expect.close(student.leave_one_out_loss(rng.normal(size=2), y, 1.0), (y[0] - y[1]) ** 2)


@leave_one_out_loss.check(points=2)
def test_each_point_is_predicted_from_all_the_others(student, rng):
    """It is the mean squared error when each point in turn is taken away and predicted from the rest."""
    x, y = rng.normal(size=11), 3 + rng.normal(size=11)
    for width in (0.25, 0.7, 3.0):
        expect.close(
            student.leave_one_out_loss(x, y, width),
            _one_by_one(x, y, width),
            "Does a point's own value help to predict it? Do the other shares still sum to one?",
        )


@leave_one_out_loss.check(points=1)
def test_a_narrow_bell_asks_the_nearest_neighbour(student, rng):
    """With a tiny width each point is predicted by its nearest neighbour, not by itself and not by 0/0."""
    y, even = rng.normal(size=7), rng.permutation(7).astype(float)
    expect.close(
        student.leave_one_out_loss(even, y, 0.02),
        _one_by_one(even, y, 0.02),
        "Is the point taken out *before* the shares are made? What is left of the others once they were rounded to 0?",
    )
    x = even + rng.uniform(-0.2, 0.2, 7)
    expect.close(
        student.leave_one_out_loss(x, y, 0.004),
        _one_by_one(x, y, 0.004),
        "Does each row of scores subtract its own maximum? What is left of the others once they were rounded to 0?",
    )


@leave_one_out_loss.check(points=1)
def test_a_twin_is_not_the_point_itself(student, rng):
    """Two readings at the same place are two points: each may help to predict the other."""
    x, y = np.array([0.0, 0.0, 1.0, 2.5, 2.5]), rng.normal(size=5)
    expect.close(
        student.leave_one_out_loss(x, y, 0.6),
        _one_by_one(x, y, 0.6),
        "Do you find the point itself by its place in the list, or by its x?",
    )


@leave_one_out_loss.check(points=1)
def test_a_shift_changes_no_loss(student, rng):
    """Adding a constant to all x, or to all y, changes nothing."""
    x, y = rng.normal(size=7), rng.normal(size=7)
    stays = _one_by_one(x, y, 0.5)
    expect.close(student.leave_one_out_loss(x + 10, y, 0.5), stays, "Does anything but distance count?")
    expect.close(
        student.leave_one_out_loss(x, y + 10, 0.5), stays, "Do the shares sum to one after the point has left?"
    )


@leave_one_out_loss.check(points=1)
def test_leave_one_out_takes_every_kind_of_array(student, rng):
    """It is right for whole numbers, float32 and views with gaps, and the arrays are the same afterwards."""
    numbers = rng.normal(size=(2, 26))
    for kind in (np.float64, np.float32):
        x, y = numbers.astype(kind)[0, ::2], numbers.astype(kind)[1, ::-2]
        expect.close(student.leave_one_out_loss(x, y, 0.5), kind(_one_by_one(x, y, 0.5)))
    expect.unchanged(student, "Does `/=` or `-=` change it in place?")
    whole, y = rng.permutation(13)[:5], rng.integers(-9, 10, size=5)
    expect.close(student.leave_one_out_loss(whole, y, 2.0), _one_by_one(whole, y, 2.0), "Are fractions lost?")


@leave_one_out_loss.inputs
def _points_and_width(rng):
    for _ in range(20):
        N = int(rng.choice([3, 5, 7]))
        yield (rng.normal(size=N), rng.normal(size=N), float(rng.uniform(0.3, 1.5))), {}


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def matches_itself(x, y, width):
    """Every point was allowed to help in predicting itself, and nobody is nearer than itself. So the narrowest bell
    wins with a loss of 0, which says nothing about new points. A *score* of 0 on the diagonal takes nothing out: it is
    the score that a point gives itself anyway, the greatest there is. The score of what is left out is −∞."""
    return np.mean((y - _predicted(x, y, width, fill=0.0)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def measures_nearness_by_value(x, y, width):
    """The distances were taken between the values y. Who is near is decided by where the points are, by x; the
    values are what is averaged."""
    return np.mean((y - _predicted(y, y, width)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def squares_the_mean_error(x, y, width):
    """This is the square of the mean error. Errors upwards and downwards cancel in it. Square each error first, then
    take the mean."""
    return np.mean(y - _predicted(x, y, width)) ** 2


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def forgets_to_share_out_again(x, y, width):
    """The point's own weight was set to 0 after the softmax, and the other shares stayed as they were. They no longer
    sum to one, so every prediction is pulled towards 0. Take the point out before the softmax: a score of −∞."""
    weights = softmax(_scores(x, x, width))
    np.fill_diagonal(weights, 0)
    return np.mean((y - weights @ y) ** 2)


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def uses_only_itself(x, y, width):
    """The mask is the wrong way round: each point is predicted from itself alone, and the loss is always 0. The
    diagonal is what has to go."""
    return np.mean((y - np.asarray(y)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def averages_the_keys(x, y, width):
    """The weights averaged x, the places, and that was compared with y. The keys only decide the shares; what is
    averaged are the values y."""
    return np.mean((y - _predicted(x, x, width)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def adds_the_errors(x, y, width):
    """This is the sum of the squared errors, not their mean: it grows with the number of points."""
    return np.sum((y - _predicted(x, y, width)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def divides_by_one_point_less(x, y, width):
    """The sum of the squared errors was divided by N − 1. One point is left out *at a time*, but each has its turn:
    there are N errors, so divide by N."""
    return np.sum((y - _predicted(x, y, width)) ** 2) / (len(x) - 1)


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def takes_the_root(x, y, width):
    """This is the root of the mean squared error. It has its minimum at the same width, but it is another number; no
    root was asked for."""
    return np.sqrt(np.mean((y - _predicted(x, y, width)) ** 2))


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def halves_the_loss(x, y, width):
    """This is half the mean squared error. The ½ is a convenience of some textbooks for the derivative; here the plain
    mean was asked for."""
    return np.mean((y - _predicted(x, y, width)) ** 2) / 2


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def takes_absolute_errors(x, y, width):
    """This is the mean of the absolute errors. Square them: the average is the answer that is best in *squares*."""
    return np.mean(np.abs(y - _predicted(x, y, width)))


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def forgets_to_square(x, y, width):
    """This is the mean of the errors themselves. Those above and those below cancel, so a bad prediction can have a
    loss of 0. Square each error first."""
    return np.mean(y - _predicted(x, y, width))


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def returns_every_error(x, y, width):
    """These are the squared errors of the points, one each. The loss is one number, their mean."""
    return (y - _predicted(x, y, width)) ** 2


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def returns_the_predictions(x, y, width):
    """These are the predictions. The loss compares them with y: the mean of the squared differences."""
    return _predicted(x, y, width)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def takes_the_variance_of_the_errors(x, y, width):
    """This is the variance of the errors: their mean was subtracted before squaring. A prediction that is always too
    high by 5 would then cost nothing. Square the errors as they are."""
    return np.var(y - _predicted(x, y, width))


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def takes_width_for_variance_here_too(x, y, width):
    """The width was not squared: −distance² / (2 · width). It is the standard deviation of the bell."""
    return np.mean((y - _predicted(x, y, np.sqrt(width))) ** 2)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def forgets_the_two_here_too(x, y, width):
    """The bell is exp(−distance² / width²) here: the 2 under the fraction is missing."""
    return np.mean((y - _predicted(x, y, width / np.sqrt(2))) ** 2)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def asks_all_others_equally(x, y, width):
    """Each point was compared with the plain mean of the others: neither distance nor width has a say. That is the
    limit for a huge width."""
    return np.mean((y - _predicted(x, y, 1e9)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def asks_only_the_nearest(x, y, width):
    """Each point was predicted by its nearest neighbour alone. That is the limit for a tiny width; for a real one, all
    the others have their shares."""
    return np.mean((y - _predicted(x, y, 1e-3)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def shares_down_the_columns(x, y, width):
    """The shares add up to one down the columns. With the same points as queries and keys the table of scores is
    symmetric, and nothing warns you. The point that is predicted shares itself out among the others: along its row."""
    scores = _scores(x, x, width)
    np.fill_diagonal(scores, -np.inf)
    return np.mean((y - softmax(scores, axis=0) @ y) ** 2)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def leaves_out_one_and_the_same(x, y, width):
    """The first point was left out, and every point was predicted from the rest. Each must be left out in its own
    turn, and only then; here all but one still see themselves."""
    weights = softmax(_scores(x, x[1:], width))
    return np.mean((y - weights @ y[1:]) ** 2)


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def judges_those_that_stay(x, y, width):
    """A point was left out, and then the *others* were predicted, each with itself in sight. It is the point that is
    left out that has to be predicted: it alone has not been seen."""
    errors = []
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        errors.append((y[rest] - softmax(_scores(x[rest], x[rest], width)) @ y[rest]) ** 2)
    return np.mean(errors)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def leaves_out_the_neighbour_in_the_list(x, y, width):
    """Off by one: point i was predicted without point i + 1, and with itself. `np.eye(N)` has its ones where a point
    meets itself."""
    scores = _scores(x, x, width)
    scores[np.eye(len(x), k=1, dtype=bool)] = -np.inf
    return np.mean((y - softmax(scores) @ y) ** 2)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def looks_only_back(x, y, width):
    """Every point was predicted from those before it in the list. That is another mask (chapter 5): here all points but
    one may help, those behind it too. The first point had nobody to ask, and was skipped."""
    scores = _scores(x, x, width)
    scores[np.triu_indices(len(x))] = -np.inf
    return np.mean((y[1:] - softmax(scores[1:]) @ y) ** 2)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def takes_the_value_out_of_step(x, y, width):
    """Point i was taken out of x, but it is always the last value that was taken out of y: from i on, each share meets
    the value of another point. Both must lose the same one."""
    N = len(x)
    rows = [softmax(_scores(x[i : i + 1], np.delete(x, i), width))[0] @ y[:-1] for i in range(N)]
    return np.mean((y - np.array(rows)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def leaves_the_value_in(x, y, width):
    """Point i was taken out of x and not out of y, so there is one share less than there are values. Take it out of
    both; or keep both whole and give the point itself a score of −∞."""
    rows = [softmax(_scores(x[i : i + 1], np.delete(x, i), width))[0] @ y for i in range(len(x))]
    return np.mean((y - np.array(rows)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_a_narrow_bell_asks_the_nearest_neighbour)
def takes_itself_out_too_late(x, y, width):
    """The point was taken out after exp: by dividing the other shares by their sum, or the error by 1 minus its own
    share. On paper that is the same. But beside the point itself, whose distance is 0, the others of a narrow bell
    round to 0, and then it is 0/0. Take the point out of the *scores*, with −∞, before the softmax."""
    bell = np.exp(_scores(x, x, width))
    np.fill_diagonal(bell, 0)
    return np.mean((y - (bell / bell.sum(-1, keepdims=True)) @ y) ** 2)


@leave_one_out_loss.misconception(caught_by=test_a_narrow_bell_asks_the_nearest_neighbour)
def fills_with_a_small_score(x, y, width):
    """The point's own score was set to a number that looked small enough, like −20 or −100. In a narrow bell the others
    score lower still, and the point sees itself again. −∞ is below everything."""
    return np.mean((y - _predicted(x, y, width, fill=-20.0)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_a_narrow_bell_asks_the_nearest_neighbour)
def subtracts_one_maximum_for_all(x, y, width):
    """The greatest score of the whole table was subtracted from every row. Where a point lies a little further from its
    neighbours than others do, a narrow bell rounds its row to zeros, and 0/0 is NaN. Every row needs its own: `max`
    along the last axis, with `keepdims=True`."""
    scores = _scores(x, x, width)
    np.fill_diagonal(scores, -np.inf)
    bell = np.exp(scores - scores.max())
    return np.mean((y - (bell / bell.sum(-1, keepdims=True)) @ y) ** 2)


@leave_one_out_loss.misconception(caught_by=test_a_narrow_bell_asks_the_nearest_neighbour)
def adds_a_small_number_to_the_sum(x, y, width):
    """A small number was added to the sum of the other shares, against 0/0. In a narrow bell all shares are then 0, and
    so is the prediction. Take the point out of the scores, with −∞, before the softmax."""
    bell = np.exp(_scores(x, x, width))
    np.fill_diagonal(bell, 0)
    return np.mean((y - (bell / (bell.sum(-1, keepdims=True) + 1e-12)) @ y) ** 2)


@leave_one_out_loss.misconception(caught_by=test_a_twin_is_not_the_point_itself)
def leaves_out_everything_at_its_place(x, y, width):
    """All points at the same x were left out together, not just the point itself. A second reading at the same place is
    a reading of its own, and the best help there is. Know a point by its index: `np.eye(N, dtype=bool)`."""
    x = np.asarray(x, float)
    scores = np.where(x[:, None] == x, -np.inf, _scores(x, x, width))
    return np.mean((y - softmax(scores) @ y) ** 2)


@leave_one_out_loss.misconception(caught_by=test_two_points_predict_each_other)
def multiplies_with_infinity(x, y, width):
    """The mask is a table of zeros and ones *times* infinity. But 0 · ∞ is not 0, it is not a number (NaN), and it
    stands everywhere off the diagonal. Choose instead of multiplying: `np.where(diagonal, -np.inf, scores)`."""
    with np.errstate(invalid="ignore"):
        scores = _scores(x, x, width) - np.eye(len(x)) * np.inf
        return np.mean((y - softmax(scores) @ y) ** 2)


@leave_one_out_loss.misconception(caught_by=test_each_point_is_predicted_from_all_the_others)
def stops_after_the_first_point(x, y, width):
    """This is the squared error of the first point alone. Does the `return` stand inside the loop? Collect the errors
    of all points, then return their mean."""
    return (y[0] - _predicted(x, y, width)[0]) ** 2


@leave_one_out_loss.misconception(caught_by=test_leave_one_out_takes_every_kind_of_array)
def rounds_the_predictions(x, y, width):
    """The predictions were written into an array of the type of y. For whole numbers the fractions are lost. Let NumPy
    choose the type."""
    predicted = _predicted(x, y, width)
    return np.mean((y - (predicted.astype(y.dtype) if y.dtype.kind in "iu" else predicted)) ** 2)


@leave_one_out_loss.misconception(caught_by=test_leave_one_out_takes_every_kind_of_array)
def edits_the_points(x, y, width):
    """The loss is right, but the caller's arrays are changed: `y -= …` or `x /= …` writes into them. Make new ones."""
    x /= width
    y -= y.mean()
    return np.mean((y - _predicted(x, y, 1)) ** 2)


@leave_one_out_loss.alternative
def loss_one_point_at_a_time(x, y, width):
    return _one_by_one(x, y, width)


@leave_one_out_loss.alternative
def loss_with_a_great_negative_fill(x, y, width):
    squared = (x[:, None] - x[None, :]) ** 2 / width**2
    scores = -0.5 * squared - 1e9 * np.eye(len(x))
    scores = scores - scores.max(axis=1, keepdims=True)
    bell = np.exp(scores)
    return float((((bell @ y) / bell.sum(axis=1) - y) ** 2).sum() / len(y))


@leave_one_out_loss.alternative
def loss_with_the_diagonal_cut_out(x, y, width):
    """The others of each point as a table of shape (N, N − 1)."""
    N = len(x)
    others = np.nonzero(~np.eye(N, dtype=bool))[1].reshape(N, N - 1)
    distance = np.asarray(x, float)[others] - np.asarray(x, float)[:, None]
    weights = softmax(-(distance**2) / (2 * width**2))
    return np.square((weights * np.asarray(y, float)[others]).sum(-1) - y).mean()
