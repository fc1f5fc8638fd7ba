"""Chapter 7, Reading an alignment: from weights to links, how wrong the links are, how wide a look is."""

import operator

import numpy as np

from attnlab import alignment as reference
from attnlab.softmax import softmax
from autograder import expect
from autograder.exercise import Exercise

LIBRARY_ENTROPY = (
    "scipy.special.entr",
    "scipy.stats.entropy",
    "torch.special.entr",
    "torch.distributions.Categorical",
    "torch.distributions.Categorical.entropy",
)


def _weights(rng, *shape, spread=2.0):
    """Random attention weights: along the last axis they are positive and sum to one."""
    return softmax(rng.normal(size=shape) * spread)


# -------------------------------------------------------------------------------------------------------- alignment

alignment = Exercise("alignment", chapter=7, reference=reference.alignment, minutes=10, difficulty=1)


def _links_in(got):
    """The links in whatever container they came in: a list, a set, an array of shape (n, 2)."""
    array = expect.as_numpy(got)
    if array is not None:
        expect.true(
            array.ndim == 2 and array.shape[1] == 2,
            f"Your function returned {expect.named(got)}; pairs (t, s), of shape (n, 2), were expected.",
            "Queries in one row, keys in another? `.T` turns them. A table of marks? `np.argwhere(table)` lists them.",
        )
    rows = got if array is None else array.tolist()
    name = got.type_name if hasattr(type(got), "type_name") else type(got).__name__
    expect.true(
        isinstance(rows, list | tuple | set | frozenset),
        f"Your function returned {expect.named(got)}; a list of pairs (t, s) was expected.",
        INSTEAD_OF_A_LIST.get(name, "Is each link a pair of two positions, (t, s)?"),
    )
    links = []
    for row in rows:
        try:
            t, s = (operator.index(int(i) if isinstance(i, float) and i.is_integer() else i) for i in row)
        except (TypeError, ValueError):
            what = f"What you return holds {_shown(row)}; a pair (t, s) of whole numbers was expected."
            expect.true(False, what, _why_no_pair(row))
        links.append((t, s))
    return links


INSTEAD_OF_A_LIST = {
    "NoneType": "Is a `return` missing?",
    "dict": "Are its keys the queries? `list(links.items())` is a list of pairs.",
    **dict.fromkeys(
        ("generator", "zip", "map", "filter", "enumerate"),
        "Such a thing gives its pairs once, and then it is empty. Is a `list(…)` round it missing?",
    ),
}


def _why_no_pair(row):
    """What somebody who returns this instead of a pair has most likely in mind, as a question."""
    many = not isinstance(row, tuple | list | set) or len(row) > 3
    if row is None or (not many and None in row):
        return "Is a query that looked nowhere left out altogether? It has no pair, not one with None in it."
    if isinstance(row, int | np.integer):
        return "Is this the position of a key alone? Whose look was it?"
    if not many and len(row) == 3:
        return "Are there three things in a link? Query and key are enough."
    if many and not isinstance(row, str | float | np.floating):
        return "All queries in one row, all keys in another? `list(zip(queries, keys))` makes pairs of them."
    return "Is each link a pair of two positions, (t, s)?"


def _shown(row):
    text = repr(row)
    return text if len(text) < 30 else expect.named(row)


def _same_links(got, want, cause):
    links = _links_in(got)
    extra, lost = sorted(set(links) - set(want)), sorted(set(want) - set(links))
    said = "".join(f" Only yours: {link}." for link in extra[:1]) + "".join(f" Missing: {link}." for link in lost[:1])
    expect.true(not said, f"Your {len(links)} links are not the {len(want)} expected ones.{said}", cause)
    expect.true(len(links) == len(want), f"You return {len(links)} links, of which only {len(want)} differ.", cause)


@alignment.check(points=1)
def test_alignment_of_known_weights(student, rng):
    """Weights `[[.2, .7, .1], [.5, .3, .2]]` give the links `[(0, 1), (1, 0)]`: query first, key second."""
    _same_links(
        student.alignment(np.array([[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]])),
        [(0, 1), (1, 0)],
        "Is the first number of a pair the row, and the second the column of the row's largest weight?",
    )
    weights = _weights(rng, 5, 7)
    _same_links(student.alignment(weights), reference.alignment(weights), "Does each row look for its own largest?")


@alignment.check(points=1)
def test_alignment_gives_every_query_one_link(student, rng):
    """Each query has exactly one link. A key may have many, or none at all."""
    many_queries = _weights(rng, 11, 3)
    cause = "Which of the two, query or key, chooses? May two queries choose the same key?"
    _same_links(student.alignment(many_queries), reference.alignment(many_queries), cause)
    many_keys = _weights(rng, 3, 101, spread=0.1)
    _same_links(
        student.alignment(many_keys),
        reference.alignment(many_keys),
        "Must a weight be large to win? Among 101 keys the largest may be small.",
    )


@alignment.check(points=1)
def test_alignment_breaks_ties_by_the_first(student, rng):
    """Where several weights are equally large, the first of them gets the link, and only the first."""
    nearly = 0.4 + 1e-9  # a little more is more
    weights = np.array([[0.2, 0.4, 0.4], [1 / 3, 1 / 3, 1 / 3], [0.5, 0, 0.5], [0.1, 0.2, 0.7], [0.2, 0.4, nearly]])
    order = rng.permutation(5)
    _same_links(
        student.alignment(weights[order]),
        reference.alignment(weights[order]),
        "What does your function do with two equal weights, and with two that are only nearly equal?",
    )


@alignment.check(points=1)
def test_alignment_leaves_out_a_query_that_looked_nowhere(student, rng):
    """A query whose weights are all 0, fully masked, gets no link. The others keep their numbers."""
    weights = _weights(rng, 7, 5)
    weights[0, rng.permutation(5)[:2]] = 0  # a query that may look at some keys only: it looked all the same
    weights[[1, 4]] = 0
    _same_links(
        student.alignment(weights),
        reference.alignment(weights),
        "What is the position of the largest of five zeros, and did that query look there?",
    )
    weights[2] *= 1e-5  # as local attention's may be
    _same_links(
        student.alignment(weights),
        reference.alignment(weights),
        "The weights of query 2 are tiny, and it looked all the same. Are only those left out whose weights are all 0?",
    )


@alignment.check(points=1)
def test_alignment_takes_every_kind_of_array(student, rng):
    """It is right for float32 and views with gaps, and the array that was passed in is the same afterwards."""
    single = _weights(rng, 7, 3).astype(np.float32)
    _same_links(student.alignment(single), reference.alignment(single), "Does it work for float32?")
    view = _weights(rng, 7, 10)[::2, ::-3]
    view[2] = 0
    _same_links(student.alignment(view), reference.alignment(view), "Does it work for a view with gaps?")
    expect.unchanged(student, "Does it cross something out? Work on a copy.")


@alignment.inputs
def _weight_tables(rng):
    for i in range(20):
        weights = _weights(rng, int(rng.integers(2, 6)), int(rng.integers(2, 6)))
        if i % 3 == 1:
            weights[0] = 0
        if i % 3 == 2:
            weights = np.round(weights, 1)
        yield (weights,), {}


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def swaps_the_pair(weights):
    """These are the right links, written the wrong way round: (key, query). Who reads them will look for the target
    word in the source sentence. The query comes first, as in the shape (T, S)."""
    return [(s, t) for t, s in reference.alignment(weights)]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def lets_the_keys_choose(weights):
    """Here each *key* chooses the query that weighs it most: the maximum runs over the wrong axis. Along a column the
    weights need not sum to one, and a key that nobody looked at must choose as well. Take the largest of each row."""
    return [(int(t), s) for s, t in enumerate(weights.argmax(0))]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def counts_along_the_wrong_axis(weights):
    """The maximum runs over axis 0, so there is one result a *column*, but the results are counted as if they were
    rows. Use `argmax(axis=-1)`: one result for each query."""
    return [(t, int(s)) for t, s in enumerate(weights.argmax(0))]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def finds_only_the_largest_of_all(weights):
    """This is the one largest weight of the whole table. Without an axis, `argmax` reads the table as one long list.
    Every query has a largest weight of its own."""
    t, s = np.unravel_index(weights.argmax(), weights.shape)
    return [(int(t), int(s))]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def counts_in_one_long_list(weights):
    """`argmax` without an axis counts through the table as one long list, and that one position was given to every
    query. Say `axis=-1`, and each row finds its own."""
    return [(t, int(weights.argmax())) for t in range(len(weights))]


@alignment.misconception(caught_by=test_alignment_gives_every_query_one_link)
def links_above_one_half(weights):
    """This links every weight above one half. A query that looks at many keys has no weight that large, and is left
    without a link although it looked. The *largest* weight counts, however small it is."""
    return [(int(t), int(s)) for t, s in np.argwhere(weights > 0.5)]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def links_above_the_uniform_weight(weights):
    """This links every weight above 1/S, what an even look would give. Several keys of one query may lie above it.
    That is a way to read weights as well, but here each query gets one link."""
    return [(int(t), int(s)) for t, s in np.argwhere(weights > 1 / weights.shape[-1])]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def links_whatever_has_weight(weights):
    """This links every key that has any weight at all. Softmax gives some to everybody, so that is nearly all pairs. A
    hard alignment keeps the largest of each row."""
    return [(int(t), int(s)) for t, s in np.argwhere(weights > 0)]


@alignment.misconception(caught_by=test_alignment_leaves_out_a_query_that_looked_nowhere)
def links_the_fully_masked_to_the_first(weights):
    """The largest of all zeros is the first zero, so `argmax` answers 0 for a query that may look at nothing. It did
    not look at key 0. Leave out the rows that have no weight."""
    return [(t, int(s)) for t, s in enumerate(weights.argmax(-1))]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def takes_key_0_for_nothing(weights):
    """A query that looks at key 0 has no link here. `if s` asks whether s is other than 0, and key 0 is a key like any
    other. Whether a query looked at all is seen in its *weights*: one of them is above 0."""
    return [(t, int(s)) for t, s in enumerate(weights.argmax(-1)) if s]


@alignment.misconception(caught_by=test_alignment_leaves_out_a_query_that_looked_nowhere)
def renumbers_the_queries(weights):
    """The rows without weight were thrown out *before* the rows were counted. Every query behind such a row then has a
    number that is too small. Count first, leave out afterwards."""
    kept = weights[(weights > 0).any(-1)]
    return [(t, int(s)) for t, s in enumerate(kept.argmax(-1))]


@alignment.misconception(caught_by=test_alignment_leaves_out_a_query_that_looked_nowhere)
def answers_minus_one_for_nobody(weights):
    """A query that looked nowhere is linked to key −1. Python takes −1 for the *last* key, so whoever reads this link
    finds a word. A query without any weight has no pair at all."""
    return [(t, int(row.argmax()) if row.any() else -1) for t, row in enumerate(weights)]


@alignment.misconception(caught_by=test_alignment_leaves_out_a_query_that_looked_nowhere)
def wants_weight_on_every_key(weights):
    """Here a query with a single weight of 0 has no link. `all` asks whether *every* weight is above 0; a masked key
    has none, and the query looked at the others. `any` asks whether there is one."""
    return [(t, s) for t, s in reference.alignment(weights) if (weights[t] > 0).all()]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def wants_a_sum_of_exactly_one(weights):
    """Rows were left out because their weights do not sum to 1 *exactly*. In floating point they hardly ever do: 0.2 +
    0.7 + 0.1 gives 0.9999999999999999. Ask whether any weight of the row is above 0."""
    return [(t, s) for t, s in reference.alignment(weights) if weights[t].sum() == 1]


@alignment.misconception(caught_by=test_alignment_breaks_ties_by_the_first)
def wants_more_than_an_even_look(weights):
    """A query has its link only if its largest weight is above 1/S. A query that looks evenly at all keys looks, too;
    of equal weights the first wins. Only a row of zeros has no link."""
    return [(t, s) for t, s in reference.alignment(weights) if weights[t, s] > 1 / weights.shape[-1] + 1e-12]


@alignment.misconception(caught_by=test_alignment_breaks_ties_by_the_first)
def takes_the_last_of_equals(weights):
    """Of equal weights this takes the last: `>=` in a loop, or a sort read from its end. The first of them wins, as
    with `argmax`."""
    S = weights.shape[-1]
    return [(t, S - 1 - int(row[::-1].argmax())) for t, row in enumerate(weights) if row.any()]


@alignment.misconception(caught_by=test_alignment_breaks_ties_by_the_first)
def links_all_of_equals(weights):
    """This links every key whose weight equals the row's maximum. With two equal weights, the query has two links. One
    link a query: the first."""
    best = weights == weights.max(-1, keepdims=True)
    return [(int(t), int(s)) for t, s in np.argwhere(best & (weights > 0))]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def returns_the_keys_alone(weights):
    """These are the positions of the keys, without their queries. As soon as one query is left out, nobody can tell
    which position belongs to which. Return pairs (t, s)."""
    return [s for _, s in reference.alignment(weights)]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def pairs_with_the_weight(weights):
    """Each query is paired with its largest *weight*. The question is where that weight stands: `argmax` gives the
    position, `max` the size."""
    return [(t, float(row.max())) for t, row in enumerate(weights) if row.any()]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def counts_from_one(weights):
    """The positions are counted from 1. Everything in this course counts from 0, as Python does; mixed with links that
    count from 0, every one of these is wrong."""
    return [(t + 1, s + 1) for t, s in reference.alignment(weights)]


@alignment.misconception(caught_by=test_alignment_of_known_weights)
def takes_the_smallest(weights):
    """This links each query with the key that it looked at *least*. `argsort` sorts upwards: its first entry is the
    smallest, its last the largest."""
    return [(t, int(row.argsort(kind="stable")[0])) for t, row in enumerate(weights) if row.any()]


@alignment.misconception(caught_by=test_alignment_gives_every_query_one_link)
def uses_each_key_once(weights):
    """Here a key that has been linked is not free any more, and the next query must take another. Nothing says that
    words translate one to one: several queries may look at the same key."""
    links, free = [], np.ones(weights.shape[-1], bool)
    for t, row in enumerate(weights):
        if row.any() and free.any():
            s = int(np.where(free, row, -1).argmax())
            links.append((t, s))
            free[s] = False
    return links


@alignment.misconception(caught_by=test_alignment_gives_every_query_one_link)
def asks_both_sides(weights):
    """This keeps a link only where the key, too, has its largest weight there. It is a good way to join *two*
    alignments, one in each direction. From one table of weights, every query gets its link."""
    best = weights.argmax(0)
    return [(t, s) for t, s in reference.alignment(weights) if best[s] == t]


@alignment.misconception(caught_by=test_alignment_gives_every_query_one_link)
def reads_the_diagonal(weights):
    """This links the word at position t with the word at position t. No weight was looked at. Languages order their
    words differently; that is why there is something to read."""
    return [(t, t) for t in range(len(weights))]


@alignment.misconception(caught_by=test_alignment_breaks_ties_by_the_first)
def takes_nearly_equal_for_equal(weights):
    """Two weights that are only *nearly* equal were taken for equal, as `isclose` does, and the first of them won. The
    greatest wins, by however little; only of exactly equal ones the first."""
    close = [np.isclose(row, row.max()) for row in weights]
    return [(t, int(near.argmax())) for t, near in enumerate(close) if weights[t].any()]


@alignment.misconception(caught_by=test_alignment_leaves_out_a_query_that_looked_nowhere)
def takes_little_weight_for_none(weights):
    """A query with little weight in all was left out, as if it had looked nowhere. Weights need not sum to one (local
    attention's do not). Only a row of zeros has no link."""
    return [(t, s) for t, s in reference.alignment(weights) if weights[t].max() > 1e-3]


@alignment.misconception(caught_by=test_alignment_leaves_out_a_query_that_looked_nowhere)
def stops_at_the_first_empty_row(weights):
    """The links end at the first query that looked nowhere: `break` leaves the loop, and `return` the function. The
    queries behind it have links. `continue` goes on with the next."""
    empty = [t for t, row in enumerate(weights) if not row.any()]
    return [(t, s) for t, s in reference.alignment(weights) if not empty or t < empty[0]]


@alignment.alternative
def alignment_in_a_loop(weights):
    links = []
    for t in range(weights.shape[0]):
        best = 0
        for s in range(weights.shape[1]):
            if weights[t, s] > weights[t, best]:
                best = s
        if weights[t, best] > 0:
            links.append((t, best))
    return links


@alignment.alternative
def alignment_as_a_set(weights):
    return {(t, max(range(len(row)), key=row.__getitem__)) for t, row in enumerate(weights.tolist()) if sum(row)}


@alignment.alternative
def alignment_as_an_array(weights, dtype=np.int64):
    queries = np.flatnonzero(np.sum(weights, axis=1) != 0)
    return np.stack([queries, np.argsort(-weights[queries], axis=1, kind="stable")[:, 0]], axis=1).astype(dtype)


# --------------------------------------------------------------------------------------------- alignment_error_rate

alignment_error_rate = Exercise(
    "alignment_error_rate", chapter=7, reference=reference.alignment_error_rate, minutes=15, difficulty=2
)

# The example of the chapter, by hand: |A| = 4, |S| = 3, |A∩S| = 2, |A∩P| = 3, so 1 − 5/7.
PREDICTED = [(0, 0), (1, 1), (2, 3), (3, 2)]
SURE = {(0, 0), (1, 1), (3, 3)}
POSSIBLE = SURE | {(2, 3), (2, 2)}


def _some_links(rng, count, T=7, S=11):
    chosen = rng.choice(T * S, size=count, replace=False)
    return {(int(i) // S, int(i) % S) for i in chosen}


def _case(rng, guessed=5):
    """Links that overlap in every way: some right, some only possible, some wrong, some missed."""
    links = sorted(_some_links(rng, 19))
    order = [links[i] for i in rng.permutation(19)]
    sure, only_possible, neither = order[:5], order[5:8], order[8:]
    predicted = [*sure[:3], *only_possible[:2], *neither[:guessed]]
    return predicted, set(sure), set(sure) | set(only_possible)


def _is_rate(got, want, cause):
    """``got`` is the error rate ``want``; a number that can be no rate is told apart from a wrong one."""
    number = np.asarray(got)
    expect.true(
        number.shape == () and number.dtype.kind in "fiu",
        f"Your function returned {expect.named(got)}; one number from 0 to 1 was expected.",
        "Is a `return` missing?" if got is None else "Is the last step a division of two counts?",
    )
    if not -1e-6 <= number <= 1 + 1e-6:
        cause = "A rate lies between 0 and 1. Are there brackets round the whole numerator, and round |A| + |S|?"
    expect.close(got, want, cause)


@alignment_error_rate.check(points=1)
def test_error_rate_of_known_links(student, rng):
    """The example worked by hand above gives `1 − 5/7`; other links give what the formula says."""
    for predicted in (set(PREDICTED), PREDICTED):
        _is_rate(
            student.alignment_error_rate(predicted, SURE, POSSIBLE),
            1 - 5 / 7,
            "Which of the four counts is off: |A|, |S|, |A ∩ S| or |A ∩ P|?",
        )
    for guessed in (1, 5):
        predicted, sure, possible = _case(rng, guessed)
        want = reference.alignment_error_rate(predicted, sure, possible)
        _is_rate(
            student.alignment_error_rate(predicted, sure, possible),
            want,
            "Are precision and recall put together as in the formula?",
        )


@alignment_error_rate.check(points=1)
def test_error_rate_from_perfect_to_useless(student, rng):
    """All sure links and any of the possible ones give 0; links that nobody drew give 1."""
    _, sure, possible = _case(rng)
    cause = "Is anything punished that is no mistake: to leave a possible link out, or to put it in?"
    for predicted in (sure, possible, sorted(sure) + sorted(possible - sure)[:1]):
        _is_rate(student.alignment_error_rate(list(predicted), sure, possible), 0.0, cause)
    useless = sorted({(t, s) for t in range(7) for s in range(11)} - possible)[:5]
    _is_rate(student.alignment_error_rate(useless, sure, possible), 1.0, "What is left when nothing is shared?")


@alignment_error_rate.check(points=1)
def test_error_rate_takes_every_sure_link_for_possible(student, rng):
    """Whether the sure links are listed among the possible ones or apart from them, the rate is the same."""
    predicted, sure, possible = _case(rng)
    want = reference.alignment_error_rate(predicted, sure, possible)
    cause = "Some corpora list a sure link under `sure` only. Is it possible none the less?"
    _is_rate(student.alignment_error_rate(predicted, sure, possible), want, "Is |A ∩ P| counted with all of P?")
    _is_rate(student.alignment_error_rate(predicted, sure, possible - sure), want, cause)
    _is_rate(
        student.alignment_error_rate(predicted, sure, set()),
        reference.alignment_error_rate(predicted, sure, sure),
        cause,
    )


@alignment_error_rate.check(points=1)
def test_error_rate_takes_lists_and_counts_a_link_once(student, rng):
    """Lists, tuples and sets give the same, twice the same link is one, and all arguments are the same afterwards."""
    predicted, sure, possible = _case(rng)
    want = reference.alignment_error_rate(predicted, sure, possible)
    kinds = [
        (set(predicted), sure, possible),
        (sorted(predicted), sorted(sure), sorted(possible)),
        (tuple(predicted), sure, sorted(possible)),
        (set(predicted), sure, possible - sure),
        (predicted + predicted[::2], sorted(sure) + sorted(sure)[:2], sorted(possible) + sorted(possible)[:3]),
    ]
    for links in kinds:
        cause = "Is every argument turned into a set before it is counted?"
        _is_rate(student.alignment_error_rate(*links), want, cause)
    expect.unchanged(
        student, "Does `P |= S` or `P.update(S)` write into the caller's set? `P = set(possible) | S` does not."
    )


@alignment_error_rate.check(points=1)
def test_error_rate_of_nothing(student, rng):
    """Nothing predicted where something is sure gives 1; nothing predicted where nothing is sure gives 0."""
    _, sure, possible = _case(rng)
    _is_rate(student.alignment_error_rate([], sure, possible), 1.0, "Does who says nothing get away with it?")
    _is_rate(student.alignment_error_rate([], set(), set()), 0.0, "What is 0/0 here? Nothing was missed.")
    _is_rate(student.alignment_error_rate([], set(), possible), 0.0, "Must a possible link be found?")
    only = sorted(possible - sure)
    _is_rate(student.alignment_error_rate(only, set(), only), 0.0, "Is there a division by |S| = 0?")


@alignment_error_rate.inputs
def _three_sets_of_links(rng):
    for i in range(20):
        predicted = sorted(_some_links(rng, int(rng.integers(1, 9)), 3, 5))
        sure = _some_links(rng, int(rng.integers(1, 7)), 3, 5)
        possible = _some_links(rng, int(rng.integers(0, 7)), 3, 5)
        yield (predicted, sure, possible | sure if i % 2 else possible), {}


def _counts(predicted, sure, possible):
    A, S = set(predicted), set(sure)
    return A, S, set(possible) | S


def _share(part, whole):
    return part / whole if whole else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def counts_sure_twice(predicted, sure, possible):
    """The sure links that were hit are counted once too often. They are among the possible links already, so |A ∩ P|
    holds them; |A ∩ S| adds them a second time, and that is all the weight they get. Nothing more is added."""
    A, S, P = _counts(predicted, sure, possible)
    if not A and not S:
        return 0.0
    return 1 - (2 * len(A & S) + len(A & P)) / (len(A) + len(S))


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def ignores_the_possible_links(predicted, sure, possible):
    """This is 1 − F1 against the sure links alone: the possible ones play no part. Then a link that people call
    defensible is punished like nonsense. A predicted link is right if it is *possible*."""
    A, S, _ = _counts(predicted, sure, possible)
    return 1 - 2 * len(A & S) / (len(A) + len(S)) if A or S else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_from_perfect_to_useless)
def takes_possible_for_sure(predicted, sure, possible):
    """This is 1 − F1 against the possible links. Then who leaves out a possible link is punished, and the point of
    "possible" is that one may leave it out. What must be found is S."""
    A, _, P = _counts(predicted, sure, possible)
    return 1 - 2 * len(A & P) / (len(A) + len(P)) if A or P else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_from_perfect_to_useless)
def divides_by_the_possible_links(predicted, sure, possible):
    """The denominator is |A| + |P|. That punishes who leaves out a possible link; even a perfect alignment then has an
    error. The denominator is |A| + |S|: what you said, and what you had to say."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - (len(A & S) + len(A & P)) / (len(A) + len(P)) if A or P else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def divides_by_the_union(predicted, sure, possible):
    """The denominator is |A ∪ S|, which counts a sure link that was found once. The numerator counts it twice, in |A ∩
    S| and in |A ∩ P|, so the denominator does, too: |A| + |S|."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - (len(A & S) + len(A & P)) / len(A | S) if A or S else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def divides_whole_numbers(predicted, sure, possible):
    """`//` divides and rounds down, so what is taken from 1 is 0 or 1 and the rate is never anything between. `/`
    keeps the fraction."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - (len(A & S) + len(A & P)) // (len(A) + len(S)) if A or S else 0


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def joins_where_links_are_shared(predicted, sure, possible):
    """The numerator counts what is in *either* set: `|` for `&`. A ∩ S is what the two share, and it cannot be larger
    than one of them."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - (len(A | S) + len(A | P)) / (len(A) + len(S)) if A or S else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def forgets_the_brackets(predicted, sure, possible):
    """`1 - a + b / c` takes a from 1 and adds b/c to it: a division binds before a sum does. Put the numerator into
    brackets, and the denominator."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - len(A & S) + len(A & P) / (len(A) + len(S)) if A or S else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_from_perfect_to_useless)
def divides_by_all_three(predicted, sure, possible):
    """The denominator is |A| + |S| + |P|. The numerator has two counts, so the denominator has two: |A|, the most that
    |A ∩ P| can be, and |S|, the most that |A ∩ S| can be."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - (len(A & S) + len(A & P)) / (len(A) + len(S) + len(P)) if A or P else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def is_one_minus_precision(predicted, sure, possible):
    """This is 1 − precision, the share of your links that are not even possible. Who predicts a single safe link scores
    perfectly. The sure links that were missed must count, too."""
    A, _, P = _counts(predicted, sure, possible)
    return 1 - _share(len(A & P), len(A))


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def is_one_minus_precision_against_sure(predicted, sure, possible):
    """This is the share of your links that are not sure. It forgets the possible links, and it forgets what you
    missed."""
    A, S, _ = _counts(predicted, sure, possible)
    return 1 - _share(len(A & S), len(A))


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def is_one_minus_recall(predicted, sure, possible):
    """This is 1 − recall, the share of the sure links that you missed. Who predicts *all* pairs then scores perfectly.
    The links that you should not have predicted must count, too."""
    A, S, _ = _counts(predicted, sure, possible)
    return 1 - _share(len(A & S), len(S))


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def averages_precision_and_recall(predicted, sure, possible):
    """This is 1 minus the mean of precision and recall. AER adds the *counts* before it divides, so the longer of the
    two lists has the greater say."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - (_share(len(A & P), len(A)) + _share(len(A & S), len(S))) / 2


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def takes_the_harmonic_mean(predicted, sure, possible):
    """This is 1 minus the harmonic mean of precision |A∩P|/|A| and recall |A∩S|/|S|. With sure links only it is the
    same as AER; with possible ones it is not, because the two fractions have different numerators."""
    A, S, P = _counts(predicted, sure, possible)
    precision, recall = _share(len(A & P), len(A)), _share(len(A & S), len(S))
    return 1 - _share(2 * precision * recall, precision + recall)


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def compares_by_intersection_over_union(predicted, sure, possible):
    """This is one minus intersection over union with the possible links. It punishes who leaves out a possible link,
    and does not know which ones are sure."""
    A, _, P = _counts(predicted, sure, possible)
    return 1 - len(A & P) / len(A | P) if A | P else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def returns_the_agreement(predicted, sure, possible):
    """This is how much the links agree: 1 for a perfect alignment. An error *rate* is 0 there. Subtract it from 1."""
    return 1 - reference.alignment_error_rate(predicted, sure, possible)


@alignment_error_rate.misconception(caught_by=test_error_rate_takes_every_sure_link_for_possible)
def takes_possible_as_it_is_listed(predicted, sure, possible):
    """The possible links were taken as they are listed. Some corpora list the sure links under `sure` only; then a
    sure link that you hit counts as impossible in |A ∩ P|. What is sure is possible: P is `possible` and `sure`
    together."""
    A, S, P = set(predicted), set(sure), set(possible)
    return 1 - (len(A & S) + len(A & P)) / (len(A) + len(S)) if A or S else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def takes_sure_out_of_possible(predicted, sure, possible):
    """Here the sure links were taken *out* of the possible ones, as if a link were either the one or the other. Then a
    perfect alignment has an error of about one half. In the formula P contains S."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - (len(A & S) + len(A & (P - S))) / (len(A) + len(S)) if A or S else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_takes_lists_and_counts_a_link_once)
def counts_repeated_links(predicted, sure, possible):
    """A link that is listed twice was counted twice. A link is there or it is not: make sets of the arguments first,
    then count."""
    A, S, P = list(predicted), list(sure), set(possible) | set(sure)
    if not A and not S:
        return 0.0
    return 1 - (sum(a in set(S) for a in A) + sum(a in P for a in A)) / (len(A) + len(S))


@alignment_error_rate.misconception(caught_by=test_error_rate_takes_lists_and_counts_a_link_once)
def takes_the_sizes_before_the_sets(predicted, sure, possible):
    """The numerator was counted with sets, but |A| and |S| with `len` of the arguments as they came. Where a link is
    listed twice, the two do not fit together. Take all four counts from the same sets."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - (len(A & S) + len(A & P)) / (len(predicted) + len(sure)) if A or S else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def expects_sets(predicted, sure, possible):
    """`&` was asked of a list. Lists know no intersection, and `alignment` returns a list. Write `A = set(predicted)`
    first, and the same for the others."""
    if not isinstance(predicted, set | frozenset):
        raise TypeError(f"unsupported operand type(s) for &: '{type(predicted).__name__}' and 'set'")
    return reference.alignment_error_rate(predicted, sure, possible)


@alignment_error_rate.misconception(caught_by=test_error_rate_takes_lists_and_counts_a_link_once)
def joins_in_place(predicted, sure, possible):
    """`possible |= sure` writes into the caller's set, and where `possible` is a list it is no operation at all. Make a
    new set of the two: `set(possible) | set(sure)`."""
    if not isinstance(possible, set):
        raise TypeError(f"unsupported operand type(s) for |=: '{type(possible).__name__}' and 'set'")
    return adds_to_the_callers_set(predicted, sure, possible)


@alignment_error_rate.misconception(caught_by=test_error_rate_takes_lists_and_counts_a_link_once)
def updates_what_may_be_a_list(predicted, sure, possible):
    """`possible.update(sure)` writes into the caller's set, and a list has no `update`. Make a new set of the two:
    `set(possible) | set(sure)`."""
    possible.update(sure)
    return reference.alignment_error_rate(predicted, sure, possible)


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def joins_with_plus(predicted, sure, possible):
    """`possible + sure` joins two lists, and sets know no `+`. The caller may hand in either. `set(possible) |
    set(sure)` is right for both."""
    return reference.alignment_error_rate(predicted, sure, set(possible + sure))


@alignment_error_rate.misconception(caught_by=test_error_rate_of_nothing)
def waits_until_nothing_is_possible(predicted, sure, possible):
    """The case of 0/0 is asked for, but only where nothing is *possible* either. The denominator is |A| + |S|: with
    nothing predicted and nothing sure it is 0, whatever is possible."""
    if not len(predicted) and not len(sure) and not len(possible):
        return 0.0
    return divides_nothing_by_nothing(predicted, sure, possible)


@alignment_error_rate.misconception(caught_by=test_error_rate_of_nothing)
def divides_nothing_by_nothing(predicted, sure, possible):
    """Where nothing is predicted and nothing is sure, this divides 0 by 0. Nothing was missed and nothing was wrong, so
    the error is 0. Ask for that case first."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - (len(A & S) + len(A & P)) / (len(A) + len(S))


@alignment_error_rate.misconception(caught_by=test_error_rate_of_nothing)
def calls_nothing_an_error(predicted, sure, possible):
    """Where nothing is predicted and nothing is sure, this answers 1. But nothing was missed and nothing was wrong: the
    error is 0. A guard like `max(|A| + |S|, 1)` in the denominator does this."""
    A, S, P = _counts(predicted, sure, possible)
    return 1 - (len(A & S) + len(A & P)) / max(len(A) + len(S), 1)


@alignment_error_rate.misconception(caught_by=test_error_rate_of_nothing)
def forgives_silence(predicted, sure, possible):
    """Where nothing is predicted, this answers 0, whatever there was to be found. Then saying nothing is the best
    policy. The error is 0 only if there are no sure links either."""
    return reference.alignment_error_rate(predicted, sure, possible) if len(predicted) else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_of_nothing)
def needs_something_sure(predicted, sure, possible):
    """Where nothing is sure, this does not apply the formula: it calls every link an error. A link that is possible is
    right none the less. Only |A| + |S| = 0 needs a rule of its own."""
    if not len(sure):
        return 1.0 if len(predicted) else 0.0
    return reference.alignment_error_rate(predicted, sure, possible)


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def returns_per_cent(predicted, sure, possible):
    """This is the rate in per cent. Papers print it so; the function returns a number from 0 to 1."""
    return 100 * reference.alignment_error_rate(predicted, sure, possible)


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def turns_the_predicted_links_round(predicted, sure, possible):
    """The predicted links were read as (source, target), the others as (target, source). Both are (t, s) here: the
    target position first. Many files of gold links have it the other way; the two must be brought into line once, when
    a file is read."""
    return reference.alignment_error_rate([(s, t) for t, s in predicted], sure, possible)


@alignment_error_rate.misconception(caught_by=test_error_rate_of_known_links)
def compares_in_order(predicted, sure, possible):
    """The links were compared one by one, the first with the first, the second with the second. Sets have no order: a
    link is right if it is *somewhere* among the others."""
    A, S, P = sorted(set(predicted)), sorted(set(sure)), sorted(set(possible) | set(sure))
    hits = sum(a == b for a, b in zip(A, S, strict=False)) + sum(a == b for a, b in zip(A, P, strict=False))
    return 1 - hits / (len(A) + len(S)) if A or S else 0.0


@alignment_error_rate.misconception(caught_by=test_error_rate_takes_lists_and_counts_a_link_once)
def adds_to_the_callers_set(predicted, sure, possible):
    """The rate is right, but the caller's `possible` now holds the sure links too. `P = possible` gives the same set a
    second name, and `P.update(…)`, `P.add(…)` and `P |= …` write into it; `set(possible) | set(sure)` is a new one."""
    if isinstance(possible, set):
        possible.update(sure)
    return reference.alignment_error_rate(predicted, sure, possible)


@alignment_error_rate.misconception(caught_by=test_error_rate_takes_lists_and_counts_a_link_once)
def strikes_out_what_was_found(predicted, sure, possible):
    """The rate is right, but links have been struck out of the caller's own collections: `remove`, `discard` and `pop`
    write into what was passed in. Count with `&`, or strike out of a copy, `set(sure)`."""
    rate = reference.alignment_error_rate(predicted, sure, possible)
    for link in set(predicted):
        for links in (sure, possible):
            if link in links and not isinstance(links, tuple):
                links.remove(link)
    return rate


@alignment_error_rate.alternative
def error_rate_by_membership(predicted, sure, possible):
    A, S, P = dict.fromkeys(predicted), dict.fromkeys(sure), dict.fromkeys([*possible, *sure])
    missing = len(A) + len(S) - sum(a in S for a in A) - sum(a in P for a in A)
    return missing / (len(A) + len(S)) if missing else 0


@alignment_error_rate.alternative
def error_rate_on_a_grid(predicted, sure, possible):
    size = 1 + max((i for links in (predicted, sure, possible) for pair in links for i in pair), default=0)
    A, S, P = (np.zeros((size, size), bool) for _ in range(3))
    for grid, links in ((A, predicted), (S, sure), (P, possible), (P, sure)):
        for t, s in links:
            grid[t, s] = True
    whole = A.sum() + S.sum()
    return 1 - ((A & S).sum() + (A & P).sum()) / whole if whole else np.float64(0)


@alignment_error_rate.alternative
def error_rate_by_weighted_precision_and_recall(predicted, sure, possible, *, empty=0.0):
    A, S, P = _counts(predicted, sure, possible)
    if not A | S:
        return empty
    a = len(A) / (len(A) + len(S))
    return 1 - a * _share(len(A & P), len(A)) - (1 - a) * _share(len(A & S), len(S))


# ------------------------------------------------------------------------------------------------ attention_entropy

attention_entropy = Exercise(
    "attention_entropy",
    chapter=7,
    reference=reference.attention_entropy,
    minutes=10,
    difficulty=2,
    forbidden=LIBRARY_ENTROPY,
)


def _entropy(weights):
    """The reference, whose −0 is written as 0: that is what a message shows."""
    return reference.attention_entropy(weights) + 0.0


@attention_entropy.check(points=1)
def test_entropy_of_known_weights(student, rng):
    """An even look at four keys has entropy `ln 4`; `[½, ¼, ¼]` has `1.5 · ln 2`. The unit is the nat."""
    expect.close(
        student.attention_entropy(np.full((3, 4), 0.25)), np.full(3, np.log(4)), "Is it the natural logarithm?"
    )
    expect.close(student.attention_entropy(np.array([[0.5, 0.25, 0.25]])), np.array([1.5 * np.log(2)]))
    weights = _weights(rng, 5, 7)
    expect.close(
        student.attention_entropy(weights),
        _entropy(weights),
        "Is each logarithm weighed by its weight, and the sum turned positive?",
    )


@attention_entropy.check(points=1)
def test_entropy_is_one_number_a_query(student, rng):
    """The sum runs over the keys. In front of the two axes (T, S) there may be others."""
    for shape in ((7, 3), (3, 7), (2, 5, 3), (2, 3, 5, 7)):
        weights = _weights(rng, *shape)
        expect.close(
            student.attention_entropy(weights),
            _entropy(weights),
            "Over which axis do the weights of one query stand?",
        )


@attention_entropy.check(points=1)
def test_entropy_takes_zero_times_log_zero_for_zero(student, rng):
    """A weight of exactly 0 adds nothing: `[0, ½, ½, 0]` has entropy `ln 2`, and `[0, 1, 0]` has 0, exactly."""
    expect.close(
        student.attention_entropy(np.array([[0.0, 0.5, 0.5, 0.0]])),
        np.log([2.0]),
        "What is 0 · log 0? Does anything stand in for the zeros that adds to the sum?",
    )
    weights = _weights(rng, 7, 13)
    weights[rng.random((7, 13)) < 0.5] = 0
    weights[:, 0] += 0.01
    weights /= weights.sum(-1, keepdims=True)
    weights[3] = np.eye(13)[5]
    expect.close(
        student.attention_entropy(weights),
        _entropy(weights),
        "Was a small number added under the logarithm? It moves the other terms, too.",
        tolerance=1e-7,
    )
    one_key = student.attention_entropy(np.eye(5, 3))[0]
    expect.true(
        one_key >= -1e-15,
        f"A look at one key alone has entropy {one_key:.1g} with you; no entropy is below 0.",
        "Was a small number added under the logarithm? It moves the other terms, too.",
    )
    expect.true(
        one_key <= 1e-15,
        f"A look at one key alone has entropy {one_key:.1g} with you; it is 0, exactly.",
        "Was a small number put in place of the zeros? It weighs, then. A 1 under the logarithm does not.",
    )


@attention_entropy.check(points=1)
def test_entropy_of_a_query_that_looked_nowhere(student, rng):
    """A fully masked query, all of whose weights are 0, has entropy 0; its neighbours keep theirs."""
    weights = _weights(rng, 5, 3)
    weights[2] = 0
    expect.close(
        student.attention_entropy(weights),
        _entropy(weights),
        "Is there a division by a sum of 0, or does something stand in for the zeros that has weight?",
    )


@attention_entropy.check(points=1)
def test_entropy_takes_every_kind_of_array(student, rng):
    """It is right for float32, tiny weights and views, and the array that was passed in is the same afterwards."""
    single = _weights(rng, 7, 3).astype(np.float32)
    expect.close(student.attention_entropy(single), _entropy(single), tolerance=1e-5)
    tiny = np.array([[1 - 1e-5, 1e-5, 0.0], [1.0, 1e-300, 0.0]])
    expect.close(student.attention_entropy(tiny), _entropy(tiny), "Is a tiny weight a zero?")
    view = _weights(rng, 7, 10)[::2, ::3]
    view[1] = [1.0, 0.0, 0.0, 0.0]
    expect.close(student.attention_entropy(view), _entropy(view))
    expect.unchanged(student, "Does it write something in place of the zeros?")


@attention_entropy.inputs
def _some_weights(rng):
    for i in range(20):
        weights = _weights(rng, int(rng.integers(2, 6)), int(rng.integers(2, 6)))
        if i % 3 == 1:
            weights[0] = 0
        if i % 3 == 2:
            weights[:, 0], weights[:, 1] = 0, weights[:, 0] + weights[:, 1]
        yield (weights,), {}


def _terms(weights, logarithm=np.log):
    return weights * logarithm(np.where(weights > 0, weights, 1))


@attention_entropy.misconception(caught_by=test_entropy_takes_zero_times_log_zero_for_zero)
def takes_the_log_of_zero(weights):
    """This is −Σ w log w as it is printed. log 0 is −∞, and 0 · ∞ is no number. The limit of w log w, as w goes to 0,
    is 0: put a 1 under the logarithm wherever the weight is 0."""
    return -np.sum(weights * np.log(weights), axis=-1)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def measures_in_bits(weights):
    """This is the entropy in bits, with the logarithm to base 2. Chapter 1 counted so; here the unit is the nat, with
    the natural logarithm. They differ by the factor ln 2."""
    return -np.sum(_terms(weights, np.log2), axis=-1)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def sums_over_the_queries(weights):
    """The sum runs over the queries. The weights of one query, which sum to one, stand along the *last* axis; in a
    column stand weights of many queries, and they are no distribution."""
    return -np.sum(_terms(weights), axis=-2)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def sums_over_everything(weights):
    """This is one number for the whole table. Each query has an entropy of its own: give `sum` the axis. Picking out
    the positive weights first, `w[w > 0]`, loses the rows as well."""
    return -np.sum(_terms(weights))


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def averages_over_the_keys(weights):
    """This is the mean over the keys, not the sum. The weights themselves are the shares of the average: −log w is
    averaged with them, and nothing is left to be divided by S."""
    return -np.mean(_terms(weights), axis=-1)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def averages_over_the_queries(weights):
    """This is the mean entropy of all queries, one number. Return the entropy of each; who wants their mean can take
    it."""
    return -np.sum(_terms(weights), axis=-1).mean(-1)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def forgets_the_minus(weights):
    """This is the entropy with its sign turned. The logarithm of a weight below 1 is negative; the minus in the formula
    makes the result positive."""
    return np.sum(_terms(weights), axis=-1)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def divides_by_the_greatest(weights):
    """This is the entropy as a share of the greatest possible, log S. It allows comparing looks at sentences of
    different length, but it is not what was asked for: ln 4 for an even look at four keys."""
    return -np.sum(_terms(weights), axis=-1) / np.log(weights.shape[-1])


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def counts_the_keys(weights):
    """This is exp(H), the number of keys it would be as hard to choose from. The exercise asks for H itself."""
    return np.exp(-np.sum(_terms(weights), axis=-1))


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def forgets_to_weigh(weights):
    """This is −Σ log w. A key with hardly any weight has a very negative logarithm and then counts most of all. Each
    logarithm is multiplied by its weight."""
    return -np.sum(np.log(np.where(weights > 0, weights, 1)), axis=-1)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def squares_the_weights(weights):
    """This is 1 − Σ w², the chance that two draws differ. It too is 0 for a look at one key, but for an even look at
    four it is ¾, not ln 4."""
    return 1 - np.sum(weights**2, axis=-1)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def looks_only_at_the_largest(weights):
    """This is −log of the largest weight. It does not see how the rest is spread: one rival or twenty are all the same
    to it. Sum over all keys."""
    top = np.max(weights, axis=-1)
    return -np.log(np.where(top > 0, top, 1))


@attention_entropy.misconception(caught_by=test_entropy_of_a_query_that_looked_nowhere)
def divides_by_the_sum(weights):
    """The weights were divided by their sum first. They sum to one already; and for a query that may look at nothing
    the sum is 0, and 0/0 is no number."""
    return -np.sum(_terms(weights / weights.sum(-1, keepdims=True)), axis=-1) + 0 * weights.sum(-1) / weights.sum(-1)


@attention_entropy.misconception(caught_by=test_entropy_takes_zero_times_log_zero_for_zero)
def calls_a_row_with_a_zero_nothing(weights):
    """A row with a single weight of 0 has entropy 0 here, whatever else is in it. One term that is no number spoils
    the whole sum, and `nan_to_num` then wipes out all of it. Mend the *term*, before the sum."""
    return np.nan_to_num(takes_the_log_of_zero(weights))


@attention_entropy.misconception(caught_by=test_entropy_takes_zero_times_log_zero_for_zero)
def weighs_with_the_repaired(weights):
    """The 1 was put in place of the weight *before* the logarithm, where it weighs, and not under it: 1 · log 0 is −∞.
    The repaired weights belong under the logarithm."""
    return -np.sum(np.where(weights > 0, weights, 1) * np.log(weights), axis=-1)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def adds_one_under_the_logarithm(weights):
    """This is −Σ w log(1 + w). The 1 does keep log 0 away, but it changes every other term, even its sign. Put a 1 in
    the place of the zeros, and of the zeros only."""
    return -np.sum(weights * np.log1p(weights), axis=-1)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def counts_in_tens(weights):
    """This is the entropy with the logarithm to base 10. The unit here is the nat: `np.log`, the natural logarithm."""
    return -np.sum(_terms(weights, np.log10), axis=-1)


@attention_entropy.misconception(caught_by=test_entropy_takes_zero_times_log_zero_for_zero)
def adds_a_small_number(weights):
    """A small number was added under the logarithm. It keeps log 0 away, but it moves every other term too: a look at
    one key then has an entropy below 0. Put a 1 in the place of the zeros, and of the zeros only."""
    return -np.sum(weights * np.log(weights + 1e-6), axis=-1)


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def takes_softmax_again(weights):
    """The weights went through softmax once more. They *are* shares already; a second softmax makes every look nearly
    even."""
    return reference.attention_entropy(softmax(weights))


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def keeps_the_axis(weights):
    """The numbers are right, but the summed axis is still there with length 1. One number a query has shape (…, T).
    `keepdims=True` is for what goes on to be divided; here nothing does."""
    return -np.sum(_terms(weights), axis=-1, keepdims=True)


@attention_entropy.misconception(caught_by=test_entropy_is_one_number_a_query)
def always_sums_the_second_axis(weights):
    """This sums over axis 1, which is right for a table (T, S) and wrong as soon as a batch or heads stand before it.
    The keys are always the *last* axis: −1."""
    return -np.sum(_terms(weights), axis=1)


@attention_entropy.misconception(caught_by=test_entropy_takes_every_kind_of_array)
def edits_its_input(weights):
    """The entropies are right, but the caller's zeros are now ones: `weights[weights == 0] = 1` writes into the array
    that was passed in. `np.where(weights > 0, weights, 1)` makes a new one."""
    entropy = reference.attention_entropy(weights)
    weights[weights == 0] = 1
    return entropy


@attention_entropy.misconception(caught_by=test_entropy_takes_every_kind_of_array)
def drops_small_weights(weights):
    """Weights below some limit were taken for zero. A tiny weight has a large logarithm, and what it adds is small but
    not nothing. Only a weight of exactly 0 needs care."""
    return reference.attention_entropy(np.where(weights > 1e-4, weights, 0.0))


@attention_entropy.misconception(caught_by=test_entropy_of_a_query_that_looked_nowhere)
def spreads_an_empty_look(weights):
    """A query that may look at nothing was given an even look at all keys, and so the greatest entropy of all, ln S. It
    looked nowhere: there is no term to add, and the sum of nothing is 0."""
    even = np.where(weights.any(-1, keepdims=True), weights, 1 / weights.shape[-1])
    return reference.attention_entropy(even)


@attention_entropy.misconception(caught_by=test_entropy_is_one_number_a_query)
def expects_two_axes(weights):
    """This works for a table (T, S), and for nothing larger: `T, S = weights.shape` finds more than two numbers. There
    may be axes for batch and heads in front; `axis=-1` is the last, however many there are."""
    T, _ = weights.shape
    return np.array([reference.attention_entropy(weights[t]) for t in range(T)])


@attention_entropy.misconception(caught_by=test_entropy_of_known_weights)
def asks_each_key_yes_or_no(weights):
    """This is −Σ [w ln w + (1 − w) ln(1 − w)], the entropy of a yes or no for every key, as in a binary cross-entropy.
    A query looks at *one* distribution over the keys: −Σ w ln w."""
    return -np.sum(_terms(weights) + _terms(1 - weights), axis=-1)


@attention_entropy.alternative
def entropy_row_by_row(weights):
    def one(row):
        return 0.0 - sum(w * np.log(w) for w in row if w > 0)

    return np.apply_along_axis(one, -1, np.asarray(weights, dtype=float))


@attention_entropy.alternative
def entropy_with_the_zeros_cleared(weights):
    with np.errstate(all="ignore"):
        return -np.nansum(weights * np.log(weights), axis=-1)


@attention_entropy.alternative
def entropy_with_a_floor(weights, dtype=np.float64):
    w = np.asarray(weights, dtype=dtype)
    return np.einsum("...s,...s->...", w, -np.log(np.maximum(w, np.finfo(dtype).tiny)))
