"""Toy tasks: each target follows from its source, and induction from nothing but the source."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.data import tasks


@pytest.mark.parametrize(
    ("task", "answer"),
    [(tasks.copy, list), (tasks.reversal, lambda s: list(reversed(s))), (tasks.sort, sorted)],
)
def test_target_follows_from_source(task, answer):
    data = task(size=500, symbols=7, lengths=(2, 11))
    pairs = data.train + data.valid + data.test
    assert all(list(target) == answer(source) for source, target in pairs)
    assert {len(source) for source, _ in pairs} == set(range(2, 12))
    assert {symbol for source, _ in pairs for symbol in source} == set(range(4, 11))


@settings(derandomize=True, max_examples=25)
@given(st.integers(4, 13), st.integers(5, 11), st.integers(0, 99))
def test_induction_has_one_cue_and_one_answer(length, symbols, seed):
    data = tasks.induction(size=10, length=length, symbols=symbols, seed=seed)
    for source, (answer,) in data.train + data.valid + data.test:
        places = [i for i, symbol in enumerate(source) if symbol == source[-1]]
        assert len(source) == length and len(places) == 2 and places[1] == length - 1
        assert source[places[0] + 1] == answer != source[-1]
        assert min(source) >= 4 and max(source) < 4 + symbols


def test_induction_places_the_cue_everywhere():
    data = tasks.induction(length=7)
    places = Counter(source.index(source[-1]) for source, _ in data.train)
    assert set(places) == set(range(5)) and max(places.values()) < 1.3 * min(places.values())


def test_repeated_halves_are_equal_and_without_repetition():
    ids = tasks.repeated(size=17, length=11, symbols=13)
    assert ids.shape == (17, 22) and (ids[:, :11] == ids[:, 11:]).all()
    assert all(len(set(row)) == 11 for row in ids[:, :11].tolist())
    assert ids.min() >= 4 and ids.max() < 17
    assert len(np.unique(ids, axis=0)) == 17


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tasks.copy(lengths=(5, 3)), r"1 <= shortest <= longest, got \(5, 3\)"),
        (lambda: tasks.copy(size=100, symbols=2, lengths=(1, 3)), "size must be at most 7"),
        (lambda: tasks.induction(length=2), "a length of 3 and 2 symbols at least, got length 2"),
        (
            lambda: tasks.induction(size=100, symbols=2, length=3),
            "induction found only 2 different sequences of the 100",
        ),
        (lambda: tasks.repeated(size=2, length=5, symbols=3), "a half of 5 different symbols .* got 3"),
    ],
)
def test_errors_are_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("task", "said"), [(tasks.copy, "of symbols"), (tasks.induction, "a guess: 5%")])
def test_baseline_is_as_described(task, said):
    data = task()
    guess = Counter(symbol for pair in data.train for symbol in pair.target).most_common(1)[0][0]
    right = [symbol == guess for pair in data.test for symbol in pair.target]
    assert abs(sum(right) / len(right) - 0.05) < 0.03
    assert "5%" in data.baseline and said in data.baseline
