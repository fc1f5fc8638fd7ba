"""Chapter 5, Masks: who may look at whom."""

import functools
import operator

import numpy as np

from attnlab import masks as reference
from attnlab.softmax import softmax
from autograder import expect
from autograder.exercise import Exercise

BOOLEAN = "Is it a boolean mask, True = may look, as a comparison gives it?"

# ----------------------------------------------------------------------------------------------------- padding_mask

padding_mask = Exercise("padding_mask", chapter=5, reference=reference.padding_mask, minutes=10, difficulty=1)


@padding_mask.check(points=1)
def test_padding_mask_of_known_lengths(student, rng):
    """For lengths `[2, 3]` and `S = 3` the masks are `[True, True, False]` and three times True."""
    known = np.array([[True, True, False], [True, True, True]])[:, None, None, :]
    expect.close(student.padding_mask(np.array([2, 3]), 3), known, f"{BOOLEAN} The words are the places `s < length`.")
    known = known[::-1]
    expect.close(student.padding_mask(np.array([3, 2]), 3), known, "Is an answer for other lengths kept from before?")
    lengths = rng.permutation(np.array([1, 2, 4, 5]))
    expect.close(
        student.padding_mask(lengths, 7),
        reference.padding_mask(lengths, 7),
        "The first place is 0: which is the last place that sequence b fills?",
    )


@padding_mask.check(points=1)
def test_padding_mask_fits_the_scores(student, rng):
    """Its shape is `(B, 1, 1, S)`: it lines up with scores of `(B, H, T, S)`, and hides keys from every query."""
    lengths = rng.integers(1, 11, size=5)
    scores = rng.normal(size=(5, 2, 3, 11))
    mask = student.padding_mask(lengths, 11)
    expect.close(mask, reference.padding_mask(lengths, 11), "Which of the four axes tells the keys apart?")
    hidden = np.where(np.asarray(mask), scores, 0.0)
    expect.close(hidden, np.where(reference.padding_mask(lengths, 11), scores, 0.0), "Does it line up with the scores?")


@padding_mask.check(points=1)
def test_padding_mask_of_empty_and_full_sequences(student, rng):
    """A sequence of length 0 has no key to look at, one of length `S` has them all; one sequence is a batch too."""
    ends = rng.permutation(np.array([0, 5, 3]))
    expect.close(student.padding_mask(ends, 5), reference.padding_mask(ends, 5), "Are lengths 0 and S right?")
    expect.close(
        student.padding_mask(np.array([0]), 2), np.zeros((1, 1, 1, 2), bool), "Is an empty sequence all False?"
    )
    expect.close(student.padding_mask(np.array([1]), 1), np.ones((1, 1, 1, 1), bool), "Is a full sequence all True?")


@padding_mask.check(points=1)
def test_padding_mask_has_the_width_it_is_given(student, rng):
    """Its last axis has `S` places, also where the longest sequence is shorter; `lengths` is the same afterwards."""
    lengths = rng.integers(0, 8, size=10).astype(np.int32)[::2]
    expect.close(student.padding_mask(lengths, 13), reference.padding_mask(lengths, 13), "Does S set the width?")
    expect.unchanged(student)


@padding_mask.inputs
def _lengths(rng):
    for _ in range(20):
        S = int(rng.integers(2, 8))
        yield (rng.integers(0, S + 1, size=int(rng.integers(2, 6))), S), {}


def _keys_of(lengths, S):
    """lengths as a column, places as a row."""
    return np.asarray(lengths)[:, None], np.arange(S)[None, :]


def _four_axes(mask):
    return mask[:, None, None, :]


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def marks_the_padding(lengths, S):
    """This mask is inverted: it is True on the padding. Some libraries mean it so ("True = ignore"); in this course
    True always means: may look. The words are at `s < length`."""
    n, s = _keys_of(lengths, S)
    return _four_axes(s >= n)


@padding_mask.misconception(caught_by=test_padding_mask_fits_the_scores)
def masks_queries(lengths, S):
    """This mask has shape (B, 1, S, 1): it silences the queries that are padding, and lets every word look at the
    padding. It is the keys, the last axis, that must be hidden."""
    return np.swapaxes(reference.padding_mask(lengths, S), -1, -2)


@padding_mask.misconception(caught_by=test_padding_mask_fits_the_scores)
def masks_queries_and_keys(lengths, S):
    """This hides padded queries as well as padded keys, in shape (B, 1, S, S). It ties the mask to as many queries as
    keys, and gives rows that may look at nothing. What a padded query computes is read by no one: hide keys alone."""
    keys = reference.padding_mask(lengths, S)
    return keys & np.swapaxes(keys, -1, -2)


@padding_mask.misconception(caught_by=test_padding_mask_fits_the_scores)
def forgets_the_axes(lengths, S):
    """This has shape (B, S). NumPy lines axes up from the right, so beside scores of (B, H, T, S) its B stands under T:
    an error if you are lucky, another sentence's mask if B = T. Put two axes of length 1 in between."""
    n, s = _keys_of(lengths, S)
    return s < n


@padding_mask.misconception(caught_by=test_padding_mask_fits_the_scores)
def forgets_the_heads(lengths, S):
    """This has shape (B, 1, S): one axis is missing. Beside scores of (B, H, T, S) its B stands under H, the heads. The
    shape is (B, 1, 1, S)."""
    n, s = _keys_of(lengths, S)
    return (s < n)[:, None, :]


@padding_mask.misconception(caught_by=test_padding_mask_fits_the_scores)
def puts_the_ones_behind(lengths, S):
    """This has shape (B, S, 1, 1): the places stand on the axis of the heads. The keys are the last axis of the scores:
    the two axes of length 1 belong between B and S."""
    n, s = _keys_of(lengths, S)
    return (s < n)[:, :, None, None]


@padding_mask.misconception(caught_by=test_padding_mask_fits_the_scores)
def puts_the_ones_in_front(lengths, S):
    """This has shape (1, 1, B, S): the sequences stand on the axis of the queries. B is the first axis of the scores,
    and the two axes of length 1 belong between B and S."""
    n, s = _keys_of(lengths, S)
    return (s < n)[None, None]


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def compares_two_rows(lengths, S):
    """Places and lengths are both rows here, so NumPy pairs them one by one: an error where B and S differ. Each place
    must meet each length: make `lengths` a column, `lengths[:, None]`."""
    return np.arange(S) < lengths


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def one_place_too_many(lengths, S):
    """This lets one place of padding through: it compares with `s <= length`. Places count from 0, so a sequence of
    length 2 fills the places 0 and 1: `s < length`."""
    n, s = _keys_of(lengths, S)
    return _four_axes(s <= n)


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def one_place_too_few(lengths, S):
    """This hides the last word of every sequence. Places count from 0: a sequence of length 2 fills the places 0 and 1,
    and both are `< length`."""
    n, s = _keys_of(lengths, S)
    return _four_axes(s < n - 1)


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def pads_on_the_left(lengths, S):
    """This takes the padding to be on the left: it permits the last `length` places. Here the words come first and the
    padding after them."""
    n, s = _keys_of(lengths, S)
    return _four_axes(s >= S - n)


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def only_the_last_word(lengths, S):
    """This permits one place a sequence, its last word. Every word before it may be looked at too: compare with `<`,
    not with `==`."""
    n, s = _keys_of(lengths, S)
    return _four_axes(s == n - 1)


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def one_length_for_all(lengths, S):
    """This gives every sequence the mask of the longest one, so the shorter ones look at their padding. Each has its
    own length: make `lengths` a column, `lengths[:, None]`, before you compare."""
    n, s = _keys_of(lengths, S)
    return _four_axes(s < np.full_like(n, n.max()))


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def reshapes_where_it_should_transpose(lengths, S):
    """This compares places as a column with lengths as a row, shape (S, B), and then reshapes to (B, 1, 1, S). That
    keeps the order of the numbers, so the sequences are shuffled into one another. Make `lengths` the column."""
    n, s = _keys_of(lengths, S)
    return (s < n).T.reshape(len(n), 1, 1, S)


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def padding_as_numbers_to_add(lengths, S):
    """This is 0 where a query may look and −∞ where it may not: a mask to be added to scores. A mask in this course
    is boolean; the −∞ comes in masked_softmax, and only there."""
    return np.where(reference.padding_mask(lengths, S), 0.0, -np.inf)


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def padding_as_ones_and_zeros(lengths, S):
    """The right places, as numbers 1 and 0. Then `~mask` is not its opposite, and `x[mask]` picks by number. A mask is
    boolean: a comparison already is, or ask for `dtype=bool`."""
    return reference.padding_mask(lengths, S).astype(int)


@padding_mask.misconception(caught_by=test_padding_mask_fits_the_scores)
def padding_repeated_for_every_query(lengths, S):
    """The right keys, but repeated for S queries, in shape (B, 1, S, S). It ties the mask to as many queries as keys.
    Leave the axis of the queries at length 1: NumPy repeats it by itself, for any number of queries."""
    return np.repeat(reference.padding_mask(lengths, S), S, axis=2)


@padding_mask.misconception(caught_by=test_padding_mask_of_known_lengths)
def slices_from_minus_zero(lengths, S):
    """A sequence that fills all S places is hidden altogether: `mask[b, ..., -(S - n):] = False` begins at −0 there,
    which is 0, the very first place. Count from the front, `mask[b, ..., n:] = False`, or compare."""
    n, s = _keys_of(lengths, S)
    return _four_axes((s < n) & (n < S))


@padding_mask.misconception(caught_by=test_padding_mask_has_the_width_it_is_given)
def as_wide_as_the_longest(lengths, S):
    """This mask is as wide as the longest sequence, not S wide. The scores have S keys, also where a batch was padded
    further than it needs."""
    return reference.padding_mask(lengths, S)[..., : np.max(lengths)]


@padding_mask.misconception(caught_by=test_padding_mask_of_empty_and_full_sequences)
def an_empty_sequence_sees_all(lengths, S):
    """A sequence of length 0 may look everywhere here. There is no word to look at: its mask is all False, and
    masked_softmax answers with zeros."""
    n, s = _keys_of(lengths, S)
    return _four_axes((s < n) | (n == 0))


@padding_mask.misconception(caught_by=test_padding_mask_of_empty_and_full_sequences)
def an_empty_sequence_sees_one(lengths, S):
    """A sequence of length 0 may look at its first place here, which is padding. Was its length raised to 1, so that no
    row is empty? An empty row is masked_softmax's business; the mask of an empty sequence is all False."""
    n, s = _keys_of(lengths, S)
    return _four_axes(s < np.maximum(n, 1))


@padding_mask.alternative
def padding_one_sequence_at_a_time(lengths, S):
    mask = np.zeros((len(lengths), 1, 1, S), dtype=bool)
    for b, n in enumerate(lengths):
        mask[b, 0, 0, :n] = True
    return mask


@padding_mask.alternative
def padding_by_counting_down(lengths, S):
    mask = np.repeat(np.arange(S)[None], len(lengths), axis=0) - lengths.reshape(-1, 1) < 0
    return np.expand_dims(mask, (1, 2))


# ------------------------------------------------------------------------------------------------------ causal_mask

causal_mask = Exercise("causal_mask", chapter=5, reference=reference.causal_mask, minutes=15, difficulty=2)


@causal_mask.check(points=1)
def test_causal_mask_of_three_words(student, rng):
    """With as many queries as keys, word t sees the words 0 to t, itself included."""
    known = np.array([[True, False, False], [True, True, False], [True, True, True]])
    expect.close(student.causal_mask(3, 3), known, BOOLEAN)
    n = int(rng.choice([5, 7, 11]))
    expect.close(student.causal_mask(n, n), np.tril(np.ones((n, n), bool)), "May word t look at s = t? At s = t + 1?")


@causal_mask.check(points=2)
def test_causal_mask_is_aligned_at_the_end(student, rng):
    """With more keys than queries, the queries are the last T of the S words."""
    known = np.array([[True, True, True, False], [True, True, True, True]])
    cause = "Which place in the text does row 0 have, if the last row is the last word?"
    expect.close(student.causal_mask(2, 4), known, cause)
    T, S = int(rng.choice([3, 5])), int(rng.choice([7, 11, 13]))
    expect.close(student.causal_mask(T, S), reference.causal_mask(T, S), cause)


@causal_mask.check(points=1)
def test_causal_mask_of_one_new_word(student, rng):
    """A single query is the newest word: it sees all keys, however many there are."""
    for S in (1, int(rng.integers(2, 9)), 101, 8209):
        expect.close(student.causal_mask(1, S), np.ones((1, S), bool), "Does the newest word see all that came before?")


@causal_mask.check(points=1)
def test_causal_rows_are_the_last_rows_of_the_whole(student, rng):
    """Read at once, or the last T words later: each word sees the same. The mask is the end of the whole one."""
    S = int(rng.choice([11, 13]))
    whole = student.causal_mask(S, S)
    expect.close(whole, reference.causal_mask(S, S), "Is the square mask right?")
    for T in (2, 7):
        expect.close(
            student.causal_mask(T, S), np.asarray(whole)[S - T :], "Is it the last T rows of your own square mask?"
        )


@causal_mask.inputs
def _queries_and_keys(rng):
    for _ in range(20):
        T = int(rng.integers(1, 6))
        yield (T, T + int(rng.integers(0, 6))), {}


def _places(T, S):
    """Queries, aligned at the end, as a column; keys as a row."""
    return np.arange(T)[:, None] + S - T, np.arange(S)[None, :]


@causal_mask.misconception(caught_by=test_causal_mask_is_aligned_at_the_end)
def aligned_at_the_start(T, S):
    """This mask is aligned at the start: it is `s <= t`, whatever S is. With cached keys the query of row 0 is not the
    first word of the text but word S − T, and here it loses everything that came between. Shift t by S − T."""
    t, s = _places(T, S)
    return s <= t - (S - T)


@causal_mask.misconception(caught_by=test_causal_mask_of_three_words)
def strict_triangle(T, S):
    """This triangle is strict: no word may look at itself, and the first may look at nothing at all. The word being
    read is known; only the next one is not. Use `<=`, not `<`."""
    t, s = _places(T, S)
    return s < t


@causal_mask.misconception(caught_by=test_causal_mask_of_three_words)
def shows_the_next_word(T, S):
    """This mask is one place too generous: each word sees the one after it. That is the very word it is to predict, so
    training would look perfect and teach nothing."""
    t, s = _places(T, S)
    return s <= t + 1


@causal_mask.misconception(caught_by=test_causal_mask_of_three_words)
def marks_the_future(T, S):
    """This mask is inverted: it is True on the future, which is what must be hidden. Some libraries mean it so ("True =
    ignore"); in this course True always means: may look."""
    t, s = _places(T, S)
    return s > t


@causal_mask.misconception(caught_by=test_causal_mask_of_three_words)
def upper_triangle(T, S):
    """This is the other triangle: each word sees itself and the future. Rows are queries, columns are keys, and a key s
    may be seen if it is not later than the query: `s <= t`, the lower triangle."""
    t, s = _places(T, S)
    return s >= t


@causal_mask.misconception(caught_by=test_causal_mask_of_three_words)
def only_itself(T, S):
    """This lets each word look at itself alone. The words before it are known too: compare with `<=`, not with `==`."""
    t, s = _places(T, S)
    return s == t


@causal_mask.misconception(caught_by=test_causal_mask_of_three_words)
def everything_is_permitted(T, S):
    """Here every query sees every key. Nothing is hidden from it, the answer to its own question included."""
    return np.ones((T, S), bool)


@causal_mask.misconception(caught_by=test_causal_mask_of_three_words)
def causal_as_numbers_to_add(T, S):
    """This is 0 where a query may look and −∞ where it may not: a mask to be added to scores. A mask in this course
    is boolean; the −∞ comes in masked_softmax, and only there."""
    return np.where(reference.causal_mask(T, S), 0.0, -np.inf)


@causal_mask.misconception(caught_by=test_causal_mask_of_three_words)
def makes_room_for_batch_and_heads(T, S):
    """The table is right, but it has two axes too many, (1, 1, T, S). A causal mask is the same for every sequence and
    head, so it has shape (T, S); broadcasting does the rest."""
    return reference.causal_mask(T, S)[None, None]


@causal_mask.misconception(caught_by=test_causal_mask_of_three_words)
def causal_as_ones_and_zeros(T, S):
    """The triangle is right, but it is made of the numbers 1.0 and 0.0. A mask is boolean: `np.ones` and `np.tri` take
    `dtype=bool`. With numbers, `~mask` and `scores[mask]` would not do what you mean."""
    return reference.causal_mask(T, S).astype(float)


@causal_mask.misconception(caught_by=test_causal_mask_is_aligned_at_the_end)
def shifts_the_wrong_way(T, S):
    """The shift has the wrong sign: this is `s <= t + T − S`. More keys than queries means more to see, not less: the
    query of row t is word t + S − T."""
    t, s = _places(T, S)
    return s <= t - 2 * (S - T)


@causal_mask.misconception(caught_by=test_causal_mask_is_aligned_at_the_end)
def forgets_the_rest_of_the_keys(T, S):
    """This has shape (T, T): the keys that were there before are missing. Rows are the T queries, columns all keys."""
    return reference.causal_mask(T, T)


@causal_mask.misconception(caught_by=test_causal_mask_is_aligned_at_the_end)
def a_row_for_every_key(T, S):
    """This has shape (S, S): a row for each key. Rows are queries, and there are only T of them: the last T rows of
    this mask."""
    return reference.causal_mask(S, S)


@causal_mask.misconception(caught_by=test_causal_mask_is_aligned_at_the_end)
def queries_as_columns(T, S):
    """This has shape (S, T): queries and keys have changed places. Rows are the T queries, columns the S keys."""
    return reference.causal_mask(T, S).T


@causal_mask.misconception(caught_by=test_causal_mask_of_one_new_word)
def cut_out_of_a_finished_triangle(T, S):
    """The mask is cut out of a triangle of a fixed size, made beforehand, as in some published models. A longer text
    does not fit into it. Make it from T and S."""
    size = 1024
    return np.tri(size, dtype=bool)[S - T : S, :S]


@causal_mask.misconception(caught_by=test_causal_mask_is_aligned_at_the_end)
def everything_once_there_is_a_cache(T, S):
    """With more keys than queries this permits everything. That is right for one new word; of several, the first still
    may not see the second."""
    return reference.causal_mask(T, S) if S == T else np.ones((T, S), bool)


@causal_mask.misconception(caught_by=test_causal_mask_is_aligned_at_the_end)
def shifts_one_place_short(T, S):
    """The shift is one place short: it is S − T, not S − T − 1. The last query is the last word, t = T − 1, and must
    reach s = S − 1."""
    t, s = _places(T, S)
    return s <= t - (1 if S > T else 0)


@causal_mask.misconception(caught_by=test_causal_mask_is_aligned_at_the_end)
def the_old_keys_are_hidden(T, S):
    """This hides the earlier keys and puts the triangle over the last T. The earlier words are the past: everyone may
    look at them."""
    t, s = _places(T, S)
    return (s <= t) & (s >= S - T)


@causal_mask.alternative
def causal_as_a_triangle(T, S):
    return np.tril(np.ones((T, S), dtype=bool), k=S - T)


@causal_mask.alternative
def causal_one_row_at_a_time(T, S):
    mask = np.zeros((T, S), bool)
    for t in range(T):
        mask[t, : S - T + t + 1] = True
    return mask


@causal_mask.alternative
def causal_as_the_end_of_the_whole(T, S=None):
    S = T if S is None else S
    return ~np.triu(np.ones((S, S), bool), 1)[S - T :]


# ------------------------------------------------------------------------------------------------------- local_mask

local_mask = Exercise("local_mask", chapter=5, reference=reference.local_mask, minutes=10, difficulty=1)


@local_mask.check(points=1)
def test_local_mask_of_known_numbers(student, rng):
    """With radius 1 each of five words sees itself and its neighbours."""
    known = np.tri(5, k=1, dtype=bool) & np.tri(5, k=1, dtype=bool).T
    expect.close(student.local_mask(5, 5, 1), known, f"{BOOLEAN} How far is each key, to either side?")
    expect.close(
        student.local_mask(11, 11, 3), reference.local_mask(11, 11, 3), "Away from the ends, are there 2 · 3 + 1 keys?"
    )


@local_mask.check(points=1)
def test_local_mask_of_extreme_radius(student, rng):
    """With radius 0 a word sees itself alone; with a radius as long as the text, everything."""
    n = int(rng.choice([5, 7]))
    expect.close(student.local_mask(n, n, 0), np.eye(n, dtype=bool), "Is a word at distance 0 from itself permitted?")
    expect.close(student.local_mask(n, n, n), np.ones((n, n), bool), "Is the last word near enough to the first?")
    expect.close(student.local_mask(n, n, n - 1), np.ones((n, n), bool), "Is a distance equal to the radius near?")


@local_mask.check(points=1)
def test_local_mask_is_aligned_at_the_end(student, rng):
    """With more keys than queries, the queries are the last T of the S words, as in causal_mask."""
    known = np.array([[False, True, True, True], [False, False, True, True]])
    expect.close(student.local_mask(2, 4, 1), known, "Which word of the text is row 0?")
    expect.close(student.local_mask(3, 13, 2), reference.local_mask(3, 13, 2), "Which word of the text is row 0?")


@local_mask.check(points=1)
def test_local_mask_of_any_radius(student, rng):
    """A key is seen if it lies at most `radius` places away, to either side."""
    for radius in (2, 1, 5):
        T, S = int(rng.choice([3, 5])), int(rng.choice([7, 11]))
        expect.close(
            student.local_mask(T, S, radius),
            reference.local_mask(T, S, radius),
            "How far is key s from query t? Does the sign of the distance matter?",
        )


@local_mask.inputs
def _queries_keys_and_radius(rng):
    for _ in range(20):
        T = int(rng.integers(1, 7))
        yield (T, T + int(rng.integers(0, 6)), int(rng.integers(0, 5))), {}


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def leaves_out_the_rim(T, S, radius):
    """This is one off: it compares with `<`, so a key exactly `radius` places away is hidden, and radius 0 hides even
    the word itself. At most `radius` means `<=`."""
    t, s = _places(T, S)
    return abs(s - t) < radius


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def one_step_too_far(T, S, radius):
    """This is one off: it sees keys up to radius + 1 places away. With radius 0 a word sees itself alone."""
    t, s = _places(T, S)
    return abs(s - t) <= radius + 1


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def takes_the_radius_for_the_width(T, S, radius):
    """This takes `radius` for the whole width of the window: it sees only half as far. A radius counts to either side,
    so the window has 2 · radius + 1 places."""
    t, s = _places(T, S)
    return abs(s - t) <= radius // 2


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def takes_the_width_for_the_radius(T, S, radius):
    """This reaches 2 · radius + 1 places to *each* side. That many keys are in the whole window; to each side it has
    `radius` of them."""
    return reference.local_mask(T, S, 2 * radius + 1)


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def only_the_past(T, S, radius):
    """This window looks backwards only. A local mask looks to both sides; combined with a causal mask it becomes what
    you have here."""
    t, s = _places(T, S)
    return (s <= t) & (t - s <= radius)


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def forgets_the_past(T, S, radius):
    """The distance was taken without its absolute value, `s − t <= radius`. That holds for every key in the past,
    however far away."""
    t, s = _places(T, S)
    return s - t <= radius


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def forgets_the_future(T, S, radius):
    """The distance was taken without its absolute value, `t − s <= radius`. That holds for every key in the future,
    however far away."""
    t, s = _places(T, S)
    return t - s <= radius


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def only_the_future(T, S, radius):
    """This window looks forwards only, from the word itself to `radius` places after it. A local mask looks to both
    sides."""
    t, s = _places(T, S)
    return (s >= t) & (s - t <= radius)


@local_mask.misconception(caught_by=test_local_mask_is_aligned_at_the_end)
def window_aligned_at_the_start(T, S, radius):
    """This window is aligned at the start: `|s − t|` takes row 0 for the first word of the text. With cached keys it is
    word S − T, and its neighbours are there: shift t by S − T, as in causal_mask."""
    t, s = _places(T, S)
    return abs(s - (t - (S - T))) <= radius


@local_mask.misconception(caught_by=test_local_mask_is_aligned_at_the_end)
def window_shifted_the_wrong_way(T, S, radius):
    """The shift has the wrong sign: row t is word t + S − T of the text, not t + T − S."""
    t, s = _places(T, S)
    return abs(s - (t - 2 * (S - T))) <= radius


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def hides_the_neighbours(T, S, radius):
    """This mask is inverted: it hides what is near and shows what is far. True means: may look."""
    return ~reference.local_mask(T, S, radius)


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def hides_the_word_itself(T, S, radius):
    """This hides each word from itself. Its distance to itself is 0, which is at most the radius."""
    t, s = _places(T, S)
    return (abs(s - t) <= radius) & (s != t)


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def only_the_two_rims(T, S, radius):
    """This permits the keys exactly `radius` places away and nothing between. Compare with `<=`, not with `==`."""
    t, s = _places(T, S)
    return abs(s - t) == radius


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def ends_the_slice_one_place_early(T, S, radius):
    """This window ends one place early: it has `radius` keys before the word, but only radius − 1 after it. A slice
    leaves out its end: `mask[t, a : b + 1]` reaches b."""
    t, s = _places(T, S)
    return (t - s <= radius) & (s - t < radius)


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def begins_the_slice_below_zero(T, S, radius):
    """The first words see too little, or nothing. A slice that begins at a negative place counts from the end of the
    array, and is mostly empty. The text begins at 0: `max(place - radius, 0)`."""
    mask = np.zeros((T, S), bool)
    for t in range(T):
        place = t + S - T
        mask[t, place - radius : place + radius + 1] = True
    return mask


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def goes_round_in_a_circle(T, S, radius):
    """This window goes round: the first word sees the last. That happens when single keys are set at negative
    indices, or with a remainder. A text has ends; the window is cut off there."""
    t, s = _places(T, S)
    return ((s - t + radius) % S <= 2 * radius) | (2 * radius >= S)


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def cuts_the_text_into_blocks(T, S, radius):
    """This cuts the text into blocks, and each word sees its own block: words at a border cannot see their neighbour.
    The window moves along with the word."""
    t, s = _places(T, S)
    return s // (radius + 1) == t // (radius + 1)


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def as_many_keys_as_the_radius(T, S, radius):
    """This is a window of `radius` keys that ends with the word itself: the near past, one place too short. Here the
    radius is a distance, it counts to both sides, and what lies exactly so far away belongs to it."""
    t, s = _places(T, S)
    return (s <= t) & (t - s < radius)


@local_mask.misconception(caught_by=test_local_mask_is_aligned_at_the_end)
def local_with_a_row_for_every_key(T, S, radius):
    """This has shape (S, S): a row for every word of the text. Only the last T of them are queries; keep their rows."""
    return reference.local_mask(S, S, radius)


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def local_as_ones_and_zeros(T, S, radius):
    """The right places, as numbers 1 and 0. Then `~mask` is not its opposite, and `x[mask]` picks by number. A mask is
    boolean: a comparison already is, or ask for `dtype=bool`."""
    return reference.local_mask(T, S, radius).astype(float)


@local_mask.misconception(caught_by=test_local_mask_is_aligned_at_the_end)
def local_for_the_queries_alone(T, S, radius):
    """This has shape (T, T): the keys that were there before are missing. Rows are the T queries, columns all keys."""
    return reference.local_mask(T, T, radius)


@local_mask.misconception(caught_by=test_local_mask_is_aligned_at_the_end)
def local_with_queries_as_columns(T, S, radius):
    """This has shape (S, T): queries and keys have changed places. Rows are the T queries, columns the S keys."""
    return reference.local_mask(T, S, radius).T


@local_mask.misconception(caught_by=test_local_mask_of_known_numbers)
def window_as_numbers_to_add(T, S, radius):
    """This is 0 where a query may look and −∞ where it may not: a mask to be added to scores. A mask in this course
    is boolean; the −∞ comes in masked_softmax, and only there."""
    return np.where(reference.local_mask(T, S, radius), 0.0, -np.inf)


@local_mask.alternative
def local_as_two_triangles(T, S, radius):
    everything = np.ones((T, S), bool)
    return np.tril(everything, S - T + radius) & np.triu(everything, S - T - radius)


@local_mask.alternative
def local_one_query_at_a_time(T, S, radius):
    mask = np.zeros((T, S), bool)
    for t in range(T):
        centre = t + S - T
        mask[t, max(centre - radius, 0) : centre + radius + 1] = True
    return mask


# ---------------------------------------------------------------------------------------------------------- combine

combine = Exercise("combine", chapter=5, reference=reference.combine, minutes=10, difficulty=1)


def _masks(rng, *shapes):
    return [rng.random(shape) < 0.6 for shape in shapes]


@combine.check(points=1)
def test_combine_of_two_masks(student, rng):
    """A look is permitted if both masks permit it."""
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    expect.close(student.combine(a, b), np.array([True, False, False, False]), "Does every mask have a veto?")
    a, b = _masks(rng, (5, 7), (5, 7))
    expect.close(student.combine(a, b), a & b, "Does every mask have a veto?")


@combine.check(points=1)
def test_combine_of_any_number_of_masks(student, rng):
    """Three masks have a veto each, in any order; one mask alone stays what it is."""
    a, b, c, d = _masks(rng, (3, 5), (3, 5), (3, 5), (3, 5))
    for order in ((a, b, c), (c, a, b), (b, c, a)):
        expect.close(student.combine(*order), a & b & c, "Is each of them asked, the last one too?")
    expect.close(student.combine(a, b, c, d), a & b & c & d, "Is each of them asked, the last one too?")
    expect.close(student.combine(b), b, "What does one mask alone permit?")


@combine.check(points=1)
def test_combine_lets_shapes_broadcast(student, rng):
    """A padding mask `(B, 1, 1, S)` and a causal one `(T, S)` make one of `(B, 1, T, S)`, whichever comes first."""
    padding, causal, heads = _masks(rng, (2, 1, 1, 7), (5, 7), (1, 3, 1, 1))
    cause = "Do the shapes broadcast, as they do in `a & b`?"
    expect.close(student.combine(padding, causal), padding & causal, cause)
    expect.close(student.combine(causal, padding), padding & causal, cause)
    expect.close(student.combine(causal, heads, padding), padding & causal & heads, cause)


@combine.check(points=1)
def test_combine_takes_none_for_no_mask(student, rng):
    """`None` stands for no mask: it forbids nothing. With nothing but `None`, the answer is `None`."""
    a, b = _masks(rng, (3, 5), (3, 5))
    for masks, want in (((None, a), a), ((a, None, b), a & b), ((a, b, None), a & b)):
        expect.close(student.combine(*masks), want, "Is `None` passed over?")
    nothing = student.combine(None, None)
    expect.true(nothing is None, "With two times `None`, `None` was expected.", "Is there a mask left to return?")


@combine.check(points=1)
def test_combine_leaves_its_masks_alone(student, rng):
    """It is right for views, and the masks are the same afterwards: someone else uses them too."""
    a, b = rng.random((7, 5)).T < 0.6, (rng.random((5, 14)) < 0.6)[:, ::2]
    expect.close(student.combine(a, b), a & b)
    expect.unchanged(student, "Does `&=` change a mask in place? `a = a & b` does not.")


@combine.inputs
def _several_masks(rng):
    shapes = [(2, 3), (3,), (2, 1), (2, 3)]
    for _ in range(30):
        chosen = rng.permutation(4)[: int(rng.integers(1, 5))]
        yield tuple(None if rng.random() < 0.1 else _masks(rng, shapes[i])[0] for i in chosen), {}


def _fold(function, masks):
    given = [mask for mask in masks if mask is not None]
    return functools.reduce(function, given) if given else None


@combine.misconception(caught_by=test_combine_of_two_masks)
def takes_or_for_and(*masks):
    """This is the logical "or": a look is permitted as soon as one mask permits it. Then a causal mask lets the padding
    in, and a padding mask the future. Every mask is a veto: it takes "and", `&`. Between masks `+` is "or"."""
    return _fold(np.logical_or, masks)


@combine.misconception(caught_by=test_combine_of_two_masks)
def takes_exclusive_or(*masks):
    """This is the exclusive "or": a look is permitted if the masks disagree about it. It must be permitted by all."""
    return _fold(np.logical_xor, masks)


@combine.misconception(caught_by=test_combine_of_two_masks)
def takes_not_and(*masks):
    """This is "and", negated: True where some mask forbids. In this course True means: may look."""
    together = _fold(np.logical_and, masks)
    return None if together is None else ~together


@combine.misconception(caught_by=test_combine_of_two_masks)
def adds_up_permissions(*masks):
    """This adds the masks up as numbers, so it counts how many permit a look. A look is permitted if all do."""
    return _fold(lambda a, b: a.astype(int) + b.astype(int), masks)


@combine.misconception(caught_by=test_combine_of_two_masks)
def takes_the_first_alone(*masks):
    """This is the first mask; the others are ignored. Each of them has a veto."""
    return _fold(lambda a, b: a, masks)


@combine.misconception(caught_by=test_combine_of_two_masks)
def takes_the_last_alone(*masks):
    """This is the last mask; the others are ignored. Does the loop assign where it should combine? Each mask has a
    veto."""
    return _fold(lambda a, b: b, masks)


@combine.misconception(caught_by=test_combine_of_two_masks)
def takes_where_they_agree(*masks):
    """This is True where the masks are equal, so also where both forbid. A look is permitted if all permit it."""
    return _fold(np.equal, masks)


@combine.misconception(caught_by=test_combine_of_two_masks)
def uses_pythons_and(*masks):
    """Python's `and`, `all` and `if mask` ask whether an array as a whole is true, and NumPy refuses to answer. Between
    arrays, entry by entry, "and" is written `&`; whether there is a mask at all is asked with `mask is not None`."""
    return _fold(lambda a, b: a and b, masks)


@combine.misconception(caught_by=test_combine_of_any_number_of_masks)
def takes_exactly_two(*masks):
    """This takes two masks, no more and no fewer. There may be one, or four: loop over `masks`, and keep what was
    combined so far."""
    first, second = masks
    return _fold(np.logical_and, [first, second])


@combine.misconception(caught_by=test_combine_of_two_masks)
def combines_as_ones_and_zeros(*masks):
    """The right looks, as numbers 1 and 0. Then `~mask` is not its opposite, and `x[mask]` picks by number. Between
    boolean arrays `&` gives a boolean array again."""
    return _fold(operator.mul, [None if mask is None else mask.astype(int) for mask in masks])


@combine.misconception(caught_by=test_combine_of_any_number_of_masks)
def combines_only_two(*masks):
    """This combines the first two masks and forgets the rest. There may be any number: loop over all of them."""
    return _fold(np.logical_and, [mask for mask in masks if mask is not None][:2])


@combine.misconception(caught_by=test_combine_of_any_number_of_masks)
def takes_the_first_and_the_last(*masks):
    """This combines the first mask with the last; those between are ignored. Does the loop start anew with the first
    one each time? Keep what was combined so far."""
    given = [mask for mask in masks if mask is not None]
    return given[0] & given[-1] if given else None


@combine.misconception(caught_by=test_combine_of_any_number_of_masks)
def takes_the_majority(*masks):
    """Here the majority decides. A single mask that forbids is enough: padding stays padding, however many others would
    let it through."""
    given = [mask for mask in masks if mask is not None]
    return sum(mask.astype(int) for mask in given) * 2 > len(given) if given else None


@combine.misconception(caught_by=test_combine_of_any_number_of_masks)
def hands_all_masks_to_logical_and(*masks):
    """`np.logical_and(*masks)` takes two masks and no more. A third argument is not a third mask but the place to
    write the answer to: it is overwritten without having been asked. Combine two at a time."""
    given = [mask for mask in masks if mask is not None]
    return np.logical_and(*given) if given else None


@combine.misconception(caught_by=test_combine_lets_shapes_broadcast)
def stacks_without_broadcasting(*masks):
    """The masks were stacked, or written into an array of the first one's shape, and that needs equal shapes. A padding
    mask is (B, 1, 1, S), a causal one (T, S): `a & b` broadcasts them, `np.stack` does not."""
    given = [mask for mask in masks if mask is not None]
    return np.all(np.stack(given), axis=0) if given else None


@combine.misconception(caught_by=test_combine_takes_none_for_no_mask)
def stumbles_over_none(*masks):
    """`None` went into the `&` like a mask. It stands for "no mask here": pass it over."""
    return functools.reduce(lambda a, b: a & b, masks)


@combine.misconception(caught_by=test_combine_takes_none_for_no_mask)
def none_forbids_everything(*masks):
    """Here `None` forbids everything. It stands for "no mask here", and what is not there has no veto."""
    return functools.reduce(np.logical_and, [np.array(False) if mask is None else mask for mask in masks])


@combine.misconception(caught_by=test_combine_takes_none_for_no_mask)
def gives_up_at_none(*masks):
    """One `None` among the masks, and this returns `None`: the other masks are lost. Only where nothing but `None`
    came is there no mask to return."""
    return None if any(mask is None for mask in masks) else functools.reduce(np.logical_and, masks)


@combine.misconception(caught_by=test_combine_of_two_masks)
def starts_with_false(*masks):
    """This starts from False, and False stays False whatever comes: nobody may look at anything. A sum starts from 0,
    an *and* from True. Better still, start from the first mask that is there."""
    return _fold(operator.and_, (False, *masks))


@combine.misconception(caught_by=test_combine_takes_none_for_no_mask)
def starts_with_true(*masks):
    """The looks are right, but where nothing but `None` came this answers True, not `None`. Who calls asks
    `mask is None` to learn that nothing is to be hidden. Start with `None`, and take the first mask as it is."""
    return functools.reduce(lambda a, b: a & b, [mask for mask in masks if mask is not None], True)


@combine.misconception(caught_by=test_combine_leaves_its_masks_alone)
def writes_into_the_first_mask(*masks):
    """`&=` writes into the array on its left, and that is the caller's first mask: it is changed for everyone who uses
    it. And an array keeps its shape, so a second mask that broadcasts to more does not fit in. Write
    `together = together & mask`."""
    together = None
    for mask in masks:
        if mask is not None and together is None:
            together = mask
        elif mask is not None:
            together &= mask
    return together


@combine.misconception(caught_by=test_combine_leaves_its_masks_alone)
def edits_the_first_mask(*masks):
    """The mask is right, but the caller's first mask is changed: `&=` writes into it. Every layer uses the same causal
    mask, so from then on all of them have this batch's padding in it. Write `mask = mask & other`."""
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    together = functools.reduce(np.logical_and, given)
    if together.shape == given[0].shape:
        given[0][...] = together
    return together


@combine.alternative
def combine_by_folding(*masks):
    given = [mask for mask in masks if mask is not None]
    return functools.reduce(np.logical_and, given) if given else None


@combine.alternative
def combine_by_broadcasting_first(*masks):
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    return np.stack(np.broadcast_arrays(*given)).all(axis=0)


@combine.alternative
def combine_by_multiplying(*masks):
    product = None
    for mask in masks:
        if mask is not None:
            product = mask.copy() if product is None else product * mask
    return product


# --------------------------------------------------------------------------------------------------- masked_softmax

masked_softmax = Exercise("masked_softmax", chapter=5, reference=reference.masked_softmax, minutes=20, difficulty=3)


def _some_mask(rng, shape):
    """A mask that hides some keys of every row, and never all."""
    mask = rng.random(shape) < 0.6
    mask[..., 0], mask[..., 1] = True, False
    return rng.permuted(mask, axis=-1)


def _compacted(scores, mask):
    """What the definition says, row by row: the softmax of the permitted scores alone, zeros elsewhere."""
    out = np.zeros_like(scores)
    mask = np.broadcast_to(mask, scores.shape)
    for row in np.ndindex(scores.shape[:-1]):
        if mask[row].any():
            out[row][mask[row]] = softmax(scores[row][mask[row]])
    return out


@masked_softmax.check(points=1)
def test_masked_softmax_of_known_numbers(student, rng):
    """For scores `[0, ln 3, 5]` of which the last is hidden, the weights are `[¼, ¾, 0]`."""
    scores = np.array([[0.0, np.log(3), 5.0], [0.0, np.log(3), np.log(4)]])
    mask = np.array([[True, True, False], [True, True, True]])
    want = np.array([[0.25, 0.75, 0.0], [0.125, 0.375, 0.5]])
    expect.close(student.masked_softmax(scores, mask), want, "Do the permitted weights sum to one, the others to zero?")


@masked_softmax.check(points=2)
def test_a_hidden_key_is_as_good_as_absent(student, rng):
    """The permitted weights are those of a softmax from which the hidden keys were left out."""
    scores, mask = rng.normal(size=(2, 3, 5, 7)) * 2, _some_mask(rng, (2, 3, 5, 7))
    want = _compacted(scores, mask)
    weights = student.masked_softmax(scores.copy(), mask)
    expect.close(weights, want, "Does a hidden key still count in the sum under the fraction?")


@masked_softmax.check(points=1)
def test_masks_broadcast_to_the_scores(student, rng):
    """Masks of `(B, 1, 1, S)`, of `(T, S)` and of `(B, 1, T, S)` all fit scores of `(B, H, T, S)`."""
    scores = rng.normal(size=(2, 3, 5, 7))
    for shape in ((2, 1, 1, 7), (5, 7), (2, 1, 5, 7)):
        mask = _some_mask(rng, shape)
        want = _compacted(scores, mask)
        expect.close(student.masked_softmax(scores.copy(), mask), want, f"Does a mask of {shape} fit?")


@masked_softmax.check(points=1)
def test_hidden_scores_may_be_anything(student, rng):
    """Only differences between permitted scores of a row count: hidden ones may lie far above them, or far below."""
    scores, mask = rng.normal(size=(3, 5)), _some_mask(rng, (3, 5))
    want, hidden = _compacted(scores, mask), 0.0
    for low in (0.0, -50.0, -30000.0, -1e10):
        lowered = scores + low  # so far down, the scores themselves are rounded
        weights = student.masked_softmax(lowered.copy(), mask)
        cause = "Is what you filled in low enough for all scores, and the maximum of the row subtracted before exp?"
        expect.close(weights, _compacted(lowered, mask), cause, 1e-7)
        hidden = max(hidden, np.abs(np.where(mask, 0.0, weights)).max())
    for high in (100.0, 30000.0, 1e10):
        expect.close(
            student.masked_softmax(np.where(mask, scores, high), mask),
            want,
            "Can a hidden score still win the maximum, or outweigh the others?",
        )
    expect.close(student.masked_softmax(scores + 1000, mask), want, "What is exp(1000)?", 1e-7)
    apart = scores + np.array([[0.0], [-5000.0], [5000.0]])
    cause = "Has each row a maximum of its own? One for the whole array lets the low rows vanish."
    expect.close(student.masked_softmax(apart, mask), want, cause, 1e-7)
    wide = np.array([[-1500.0, 1500.0, 0.0, 9000.0, 1500.0]])
    expect.close(
        student.masked_softmax(wide, wide < 9000),
        np.array([[0.0, 0.5, 0.0, 0.0, 0.5]]),
        "Permitted scores may lie 3000 apart. Which of them, once subtracted, leaves no exponent above 0?",
    )
    nearly = f"A hidden key has a weight of {hidden:.1e}, which is nearly 0; expected is 0."
    expect.true(hidden == 0, nearly, "Did you fill in −∞, or a number a little below the others?")


@masked_softmax.check(points=2)
def test_a_row_that_permits_nothing_gives_zeros(student, rng):
    """A query that may look at nothing gets weights of zero; the other rows do not notice."""
    scores, mask = rng.normal(size=(2, 3, 5)), _some_mask(rng, (2, 3, 5))
    mask[0, 1] = False
    mask[1, 2] = False
    want = _compacted(scores, mask)
    expect.close(student.masked_softmax(scores.copy(), mask), want, "What does softmax make of a row of −∞ alone?")
    expect.close(student.masked_softmax(scores[0], np.zeros((3, 5), bool)), np.zeros((3, 5)), "And if all rows are so?")


@masked_softmax.check(points=1)
def test_masked_softmax_leaves_its_inputs_alone(student, rng):
    """It is right for float32 and for views, and scores and mask are the same afterwards."""
    scores = rng.normal(size=(7, 5)).astype(np.float32).T
    mask = _some_mask(rng, (5, 14))[:, ::2]
    mask[:, 3] = True
    expect.close(student.masked_softmax(scores, mask), _compacted(scores, mask))
    expect.unchanged(student, "Does `scores[~mask] = …` write into it?")


@masked_softmax.inputs
def _scores_and_mask(rng):
    for _ in range(30):
        shape = (2, int(rng.integers(2, 5)))
        scores = rng.normal(size=shape) * rng.choice([1, 10, 100]) + rng.choice([0, -30, -3000])
        yield (scores, rng.random(shape) < 0.6), {}


def _rows_with_a_key(mask, weights):
    """Zeros for the rows that permit nothing: what the wrong answers below have right, unless it is their mistake."""
    return np.where(np.any(mask, axis=-1, keepdims=True), weights, 0.0)


def _filled(scores, mask, value):
    return softmax(np.where(mask, np.asarray(scores, float), value), -1)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def multiplies_without_renormalising(scores, mask):
    """The mask was applied after the softmax. The hidden weights are 0, but the rest no longer sum to one: the hidden
    keys still count in the sum under the fraction. Mask the scores before the softmax."""
    return softmax(scores, -1) * mask


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def fills_after_the_softmax(scores, mask):
    """The −∞ was filled in after the softmax, among the weights. It belongs among the scores: there exp turns it into a
    weight of 0."""
    return np.where(mask, softmax(scores, -1), -np.inf)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def takes_softmax_a_second_time(scores, mask):
    """The weights of a finished softmax were masked and sent through softmax again. They lie between 0 and 1, so what
    comes out is nearly flat. Mask the scores, then take one softmax."""
    return _rows_with_a_key(mask, _filled(softmax(scores, -1), mask, -1e300))


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def fills_with_zero(scores, mask):
    """The hidden scores were set to 0 (or multiplied by the mask, or filled with a tiny positive number such as
    `finfo.tiny`). A score of 0 is no score of "none": e⁰ = 1, an ordinary weight. The score that means "never" is
    −∞."""
    return _filled(scores, mask, 0.0)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def fills_with_zero_and_hides_it(scores, mask):
    """The hidden scores were set to 0, and their weights to 0 afterwards. In between they took their share, for exp(0)
    is 1: the rest do not sum to one. Write −∞, and nothing has to be hidden afterwards."""
    return _filled(scores, mask, 0.0) * mask


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def returns_the_masked_scores(scores, mask):
    """These are the scores with −∞ filled in, not yet the weights. The softmax is missing."""
    return np.where(mask, scores, -np.inf)


@masked_softmax.misconception(caught_by=test_a_row_that_permits_nothing_gives_zeros)
def gives_up_on_all_rows(scores, mask):
    """One row has nothing to look at, and *all* rows became zeros. `np.isnan(p).any()` asks about the whole array; ask
    each row, `mask.any(axis=-1, keepdims=True)`."""
    weights = reference.masked_softmax(scores, mask)
    return weights if np.broadcast_to(mask, scores.shape).any(-1).all() else np.zeros_like(weights)


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def takes_one_maximum_for_all(scores, mask):
    """The maximum of the *whole array* was subtracted. Where one row lies far above another, all that is left of the
    low one is exp(−5000), which is 0. Each row has a maximum of its own, `keepdims=True`."""
    x = np.where(mask, scores, -np.inf)
    top = x.max()
    e = np.exp(x - (top if np.isfinite(top) else 0.0))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total > 0, total, 1.0)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def adds_the_mask(scores, mask):
    """The mask was added to the scores as it is, as 0 and 1. That lifts the permitted scores by one and hides nothing.
    Use the mask as a condition: `np.where(mask, scores, …)`."""
    return softmax(scores + np.asarray(mask, float), -1)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def ignores_the_mask(scores, mask):
    """This is the softmax of all scores: the mask has no effect. `np.where` gives a new array:
    thrown away, it changes nothing."""
    return softmax(scores, -1)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def hides_what_is_permitted(scores, mask):
    """The mask is used the wrong way round: the permitted keys were hidden. True means: may look. In
    `np.where(mask, a, b)` the scores are `a`."""
    return _rows_with_a_key(~mask, _filled(scores, ~mask, -1e300))


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def shares_equally(scores, mask):
    """This gives every permitted key the same weight: the scores have no say. It is the mask divided by its sum."""
    mask = np.broadcast_to(mask, np.shape(scores))
    return mask / np.maximum(np.sum(mask, axis=-1, keepdims=True), 1)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def normalises_over_the_queries(scores, mask):
    """This softmax runs over the queries, axis −2: the columns sum to one. Each row is one query's look to give away,
    so it must run over the keys, the last axis."""
    mask = np.broadcast_to(mask, np.shape(scores))
    weights = softmax(np.where(mask, scores, -1e300), -2)
    return np.where(mask.any(-2, keepdims=True), weights, 0.0)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def normalises_everything_together(scores, mask):
    """All rows together sum to one here. Each row has one look of its own to give away: give `max` and `sum`
    `axis=-1, keepdims=True`."""
    e = np.where(mask, np.exp(scores - np.max(np.where(mask, scores, -1e300))), 0.0)
    return e / e.sum() if e.any() else e


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def forgets_to_normalise(scores, mask):
    """These are the exponentials of the permitted scores below their maximum, never divided by their sum."""
    below = np.where(mask, scores, -1e300)
    return np.where(mask, np.exp(below - below.max(-1, keepdims=True)), 0.0)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def returns_only_the_permitted(scores, mask):
    """Picking with `scores[mask]` gives one flat list of what is permitted: rows and places are lost. Keep the shape
    and hide the rest: `np.where(mask, scores, …)`."""
    return softmax(scores[mask], -1)


@masked_softmax.misconception(caught_by=test_a_row_that_permits_nothing_gives_zeros)
def nan_on_an_empty_row(scores, mask):
    """A row that permits nothing comes out as NaN: its maximum is −∞ too, and −∞ − (−∞) is not a number; or its
    exponentials sum to 0, and 0/0 is not a number either. NaN spoils whatever it touches. Find such rows with
    `mask.any(axis=-1, keepdims=True)` and give them zeros."""
    return _filled(scores, mask, -np.inf)


@masked_softmax.misconception(caught_by=test_a_row_that_permits_nothing_gives_zeros)
def spreads_an_empty_row_evenly(scores, mask):
    """All keys of an empty row were filled with the same large negative number. Only differences count, so its softmax
    is uniform: the query that may look at nothing looks at all the padding alike. Such a row must be set to zeros
    afterwards."""
    return _filled(scores, mask, -1e9)


@masked_softmax.misconception(caught_by=test_a_row_that_permits_nothing_gives_zeros)
def adds_minus_a_billion(scores, mask):
    """A row in which all is hidden comes out as if there were no mask at all. A large negative number that is added to
    all of it shifts all alike, and only differences count. Such a row must be set to zeros."""
    return softmax(np.asarray(scores, float) + np.where(mask, 0.0, -1e9), -1)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def multiplies_by_minus_infinity(scores, mask):
    """The mask was multiplied by −∞, so that the permitted keys get 0 · (−∞), which is NaN: it is the permitted ones
    that die. Use the mask as a condition, never as a factor: `np.where(mask, scores, −∞)`."""
    with np.errstate(invalid="ignore"):
        return softmax(scores + (1 - np.asarray(mask, float)) * -np.inf, -1)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def forgets_to_keep_the_axis(scores, mask):
    """`mask.any(axis=-1)` has one axis less than the scores, so it no longer lines up with them. With `keepdims=True`
    it keeps an axis of length 1, and each row meets its own answer."""
    return np.where(mask.any(axis=-1), reference.masked_softmax(scores, mask), 0.0)


@masked_softmax.misconception(caught_by=test_a_row_that_permits_nothing_gives_zeros)
def empties_every_row_with_a_hidden_key(scores, mask):
    """Here a row gets zeros as soon as one of its keys is hidden. Only a row in which all are hidden has nothing to
    look at: `any`, where you have `all`."""
    return np.where(np.all(mask, axis=-1, keepdims=True), reference.masked_softmax(scores, mask), 0.0)


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def fills_with_minus_20(scores, mask):
    """The hidden scores were set to −20. That is low only as long as the others are high: scores around −20 share with
    the hidden keys, and scores around −50 lose everything to them. Softmax depends on differences; only −∞ is lower
    than every score."""
    return _rows_with_a_key(mask, _filled(scores, mask, -20.0))


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def fills_with_minus_10000(scores, mask):
    """The hidden scores were set to a finite number, such as −100 or −10,000. That is low only as long as the others
    are higher. −∞ is lower than every score."""
    return _rows_with_a_key(mask, _filled(scores, mask, -10000.0))


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def fills_with_minus_a_billion(scores, mask):
    """The hidden scores were set to a large negative number, such as −1e9. It is a bet on where the scores are: below
    it, the hidden keys take everything. You will seldom lose this bet in float32, and float16 has no such number. −∞ is
    lower than every score, in every format."""
    return _rows_with_a_key(mask, _filled(scores, mask, -1e9))


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def fills_with_minus_a_billion_and_hides_it(scores, mask):
    """The hidden scores were set to a large negative number, such as −1e9, and their weights to 0 afterwards. Where the
    permitted scores lie lower still, the hidden keys take everything, and after they were struck out nothing is left.
    −∞ is lower than every score."""
    return _filled(scores, mask, -1e9) * mask


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def fills_with_minus_10000_and_hides_it(scores, mask):
    """The hidden scores were set to a finite number, such as −10,000, and their weights to 0 afterwards. Where the
    permitted scores lie lower still, the hidden keys take everything, and after they were struck out nothing is left.
    −∞ is lower than every score."""
    return _filled(scores, mask, -10000.0) * mask


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def adds_minus_a_billion_and_hides_it(scores, mask):
    """A large number was subtracted from the hidden scores, and their weights were set to 0 afterwards. A hidden score
    that stood as far above the others still takes its share, and after it was struck out the rest do not sum to one.
    Replace the score by −∞, whatever it was."""
    return softmax(np.asarray(scores, float) + np.where(mask, 0.0, -1e9), -1) * mask


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def adds_minus_20(scores, mask):
    """Here 20 was subtracted from the hidden scores. A hidden score that stood 20 above the others is then level with
    them. Only −∞ takes every score out of the race, whatever it was."""
    return _rows_with_a_key(mask, softmax(np.asarray(scores, float) + np.where(mask, 0.0, -20.0), -1))


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def adds_minus_10000(scores, mask):
    """Here 10,000 or some such number was subtracted from the hidden scores. A hidden score that stood as far above
    the others is then level with them. Only −∞ takes every score out of the race, whatever it was."""
    return _rows_with_a_key(mask, softmax(np.asarray(scores, float) + np.where(mask, 0.0, -10000.0), -1))


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def lets_hidden_keys_set_the_maximum(scores, mask):
    """The maximum was taken over all scores, hidden ones too (or a finished softmax was masked and divided by its new
    sum). Where a hidden score stands far above, every permitted exponential is rounded to 0, and 0/0 is NaN. Hide
    first, then take the maximum."""
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True)) * mask
    return _rows_with_a_key(mask, e / e.sum(-1, keepdims=True))


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def renormalises_after_the_softmax(scores, mask):
    """A finished softmax was masked and divided by its new sum. On paper that is right, but for an empty row; in a
    computer, where a hidden score stands far above, the permitted weights are all rounded to 0, and 0/0 is NaN. Hide
    first, then one softmax."""
    weights = softmax(scores, -1) * mask
    with np.errstate(invalid="ignore"):
        return weights / weights.sum(-1, keepdims=True)


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def renormalises_and_hides_the_nan(scores, mask):
    """A finished softmax was masked and divided by its new sum, and NaN was replaced by 0. Where a hidden score stands
    far above, the permitted weights are all rounded to 0, and the row comes out as if it permitted nothing. Hide first,
    then one softmax."""
    weights = softmax(scores, -1) * mask
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(weights / weights.sum(-1, keepdims=True))


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def divides_by_a_little_more(scores, mask):
    """The masked weights were divided by their sum plus a small number, to keep 0/0 away. Where hidden scores take
    nearly all of the first softmax, what is left is no greater than that small number, and the weights no longer sum
    to one. Hide first, then one softmax."""
    weights = softmax(scores, -1) * mask
    return weights / (weights.sum(-1, keepdims=True) + 1e-9)


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def exponentials_overflow(scores, mask):
    """This is exp of the permitted scores divided by their sum, as the formula is written: exp(1000) is infinite, and
    ∞/∞ is NaN; exp(−30000) is 0, and so is 0/0. Subtract the maximum of the permitted scores first."""
    e = np.where(mask, np.exp(scores), 0.0)
    return _rows_with_a_key(mask, e / e.sum(-1, keepdims=True))


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def subtracts_the_least_permitted(scores, mask):
    """The smallest of the permitted scores was subtracted. Then all exponents are 0 or more, and where permitted scores
    lie far apart the greatest overflows. Subtract the greatest of them: no exponent is then above 0."""
    low = np.min(np.where(mask, scores, np.inf), axis=-1, keepdims=True)
    e = np.where(mask, np.exp(np.where(mask, scores, -np.inf) - np.where(np.isfinite(low), low, 0.0)), 0.0)
    total = e.sum(-1, keepdims=True)
    return e / np.where(total > 0, total, 1.0)


@masked_softmax.misconception(caught_by=test_hidden_scores_may_be_anything)
def exponentials_vanish(scores, mask):
    """This is exp of the permitted scores divided by their sum, and 0 where that sum is 0. But exp(−30000) is 0 in a
    computer, so a row whose scores lie that low comes out as if it permitted nothing; and exp(1000) is infinite.
    Subtract the maximum of the permitted scores first."""
    with np.errstate(all="ignore"):
        e = np.where(mask, np.exp(scores), 0.0)
        total = e.sum(-1, keepdims=True)
        return np.where(total > 0, e / total, 0.0)


@masked_softmax.misconception(caught_by=test_masked_softmax_of_known_numbers)
def adds_a_little_below(scores, mask):
    """A small number was added to the sum, so that an empty row is 0/ε and not 0/0. Then all other rows sum to a little
    less than one. Divide by the sum itself, and find the empty rows by their mask."""
    x = np.where(mask, scores, -np.inf)
    top = np.where(np.any(mask, axis=-1, keepdims=True), x.max(-1, keepdims=True), 0.0)
    e = np.exp(x - top)
    return e / (e.sum(-1, keepdims=True) + 1e-6)


@masked_softmax.misconception(caught_by=test_masked_softmax_leaves_its_inputs_alone)
def edits_the_scores(scores, mask):
    """The weights are right, but the caller's scores are changed: `scores[~mask] = −∞` writes into them. Another head,
    or the way back, still needs them. `np.where(mask, scores, −∞)` makes a new array."""
    weights = reference.masked_softmax(scores.copy(), mask)
    np.copyto(scores, -np.inf, where=~np.asarray(mask))
    return weights


@masked_softmax.misconception(caught_by=test_masks_broadcast_to_the_scores)
def picks_with_a_mask_that_does_not_fit(scores, mask):
    """Picking with `x[~mask] = …` needs a mask of the very shape of x: it does not broadcast. `np.where(mask, x, …)`
    does; or stretch the mask first with `np.broadcast_to`."""
    hidden = np.array(scores, float)
    hidden[~mask] = -1e300
    return _rows_with_a_key(mask, softmax(hidden, -1))


@masked_softmax.alternative
def masked_softmax_row_by_row(scores, mask):
    return _compacted(scores, mask)


@masked_softmax.alternative
def masked_softmax_with_the_nan_replaced(scores, mask):
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(_filled(scores, mask, -np.inf), nan=0.0)


@masked_softmax.alternative
def masked_softmax_with_the_least_number_there_is(scores, mask, axis=-1):
    filled = np.where(mask, scores, np.finfo(np.float64).min)
    e = np.exp(filled - filled.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True) * mask.any(axis=axis, keepdims=True)


@masked_softmax.alternative
def masked_softmax_with_a_little_under_the_fraction(scores, mask):
    permitted = np.where(mask, scores, -np.inf)
    peak = permitted.max(-1, keepdims=True)
    permitted = np.where(np.isneginf(peak), 0.0, permitted)
    e = np.exp(permitted - permitted.max(-1, keepdims=True)) * mask
    return e / (e.sum(-1, keepdims=True) + 1e-9)


@masked_softmax.alternative
def masked_softmax_by_products(scores, mask):
    peak = np.max(np.where(mask, scores, -np.inf), axis=-1, keepdims=True)
    e = mask * np.exp(np.where(mask, scores - np.where(np.isfinite(peak), peak, 0), -np.inf))
    total = e.sum(-1, keepdims=True)
    return np.divide(e, total, out=np.zeros_like(e), where=total > 0)
