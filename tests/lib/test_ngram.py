"""The Witten–Bell model against a hand-solved text and a second implementation with dictionaries; gzip."""

import gzip
import math
import time
from collections import Counter, defaultdict
from pydoc_data import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.metrics import bits_per_character
from attnlab.ngram import WittenBell, gzip_bits_per_character


def test_by_hand():
    """abaa: N(a) = 3, N(b) = 1, D() = 2, alphabet {a, b, unknown}; after a came b and a, once each."""
    model = WittenBell(order=2).fit("abaa")
    p_a, p_b = (3 + 2 / 3) / 6, (1 + 2 / 3) / 6
    assert model.next_distribution("") == pytest.approx([p_a, p_b, 2 / 3 / 6])
    assert model.next_distribution("a") == pytest.approx([(1 + 2 * p_a) / 4, (1 + 2 * p_b) / 4, 2 * (2 / 3 / 6) / 4])
    assert model.probabilities("ab") == pytest.approx([p_a, (1 + 2 * p_b) / 4])
    assert model.nll("ab") == pytest.approx(-math.log(p_a) - math.log((1 + 2 * p_b) / 4))


def probability_by_dictionaries(train, context, character, order):
    """The recursion as it is written, one character at a time: slow, and none of the code under test."""
    after = defaultdict(Counter)
    for n in range(order):
        for t in range(n, len(train)):
            after[train[t - n : t]][train[t]] += 1

    def p(c, h):
        shorter = p(c, h[1:]) if h else 1 / (len(set(train)) + 1)
        counts = after[h]
        N, D = counts.total(), len(counts)
        return (counts[c] + D * shorter) / (N + D) if N else shorter

    return p(character, context[max(0, len(context) - order + 1) :])


texts = st.text(alphabet="abc d", min_size=1, max_size=40)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(texts, st.text(alphabet="abc dx", max_size=20), st.integers(1, 5))
def test_equals_the_recursion_written_out(train, text, order):
    model = WittenBell(order).fit(train)
    expected = [probability_by_dictionaries(train, text[:t], c, order) for t, c in enumerate(text)]
    assert model.probabilities(text) == pytest.approx(expected)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(texts, st.text(alphabet="abc dx", max_size=9), st.integers(1, 5))
def test_every_distribution_sums_to_one_and_leaves_room_for_the_unknown(train, context, order):
    p = WittenBell(order).fit(train).next_distribution(context)
    assert p.sum() == pytest.approx(1)
    assert p.min() > 0


def test_the_two_ways_to_a_probability_agree():
    train = "the cat sat on the mat"
    model = WittenBell(4).fit(train)
    text = "the mad cat"
    expected = [model.next_distribution(text[:t])[model.encode(c)[0]] for t, c in enumerate(text)]
    assert model.probabilities(text) == pytest.approx(expected)


def test_characters_beyond_the_basic_plane():
    model = WittenBell(3).fit("注意力🙂注意")
    assert model.encode("注🙂x").tolist() == [2, 3, 4]
    assert model.nll("注意力") < model.nll("力意注")


def test_samples_repeat_with_the_seed_and_stay_in_the_alphabet():
    model = WittenBell(5).fit("abcabcabcabd")
    sample = model.sample(50, np.random.default_rng(3), prompt="ab")
    assert sample.startswith("ab") and len(sample) == 52 and set(sample) <= set("abcd")
    assert sample == model.sample(50, np.random.default_rng(3), prompt="ab")


def test_more_context_helps_and_it_is_fast():
    text = "".join(topics.topics.values())
    train, held_out = text[:-40_000], text[-40_000:]
    start = time.process_time()
    bits = {n: bits_per_character(WittenBell(n).fit(train).nll(held_out), len(held_out)) for n in (1, 2, 5)}
    assert bits[5] < 0.6 * bits[1]
    assert bits[5] < bits[2] < bits[1]
    assert bits[5] < gzip_bits_per_character(held_out, known=train)
    assert time.process_time() - start < 5


def test_gzip_knows_what_it_has_read():
    rng = np.random.default_rng(0)
    noise = "".join(chr(97 + i) for i in rng.integers(26, size=5000))
    assert gzip_bits_per_character("abc") == 8 * len(gzip.compress(b"abc", 9)) / 3
    assert gzip_bits_per_character("a" * 5000) < 0.1
    assert math.log2(26) < gzip_bits_per_character(noise) < 1.1 * math.log2(26)
    assert gzip_bits_per_character(noise, known=noise) < 0.2


def test_wrong_arguments_are_explained():
    with pytest.raises(ValueError, match="order of at least 1"):
        WittenBell(0)
    with pytest.raises(ValueError, match="do not fit into 64 bits"):
        WittenBell(20).fit("abcdefghij")
    with pytest.raises(ValueError, match="at least one character, got none"):
        gzip_bits_per_character("")
