"""The vocabulary, the padded batch and the three splits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.data import BOS, EOS, PAD, UNK, Vocabulary, pad_batch, pad_frames
from attnlab.data.corpus import cut, missing, shuffled, split_sizes

WORDS = st.lists(st.text(max_size=3).filter(lambda w: not w.startswith("<")), max_size=7)


def test_special_tokens_have_the_first_four_ids():
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert Vocabulary(["a"]).tokens == ("<pad>", "<bos>", "<eos>", "<unk>", "a")


def test_vocabulary_ranks_by_count_then_by_code_point():
    vocabulary = Vocabulary.of([["b", "c", "a"], ["c", "é", "b"], ["c"]])
    assert vocabulary.tokens[4:] == ("c", "b", "a", "é")
    assert Vocabulary.of([["b", "c", "a"], ["c", "b"], ["c"]], min_count=2).tokens[4:] == ("c", "b")
    assert Vocabulary.of([["b", "c", "a"], ["c", "b"], ["c"]], max_size=5).tokens[4:] == ("c",)


def test_encode_and_decode_by_hand():
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary.encode("bax") == [5, 4, UNK]
    assert vocabulary.encode("ab", bos=True, eos=True) == [BOS, 4, 5, EOS]
    assert vocabulary.decode([BOS, 4, 5, EOS, 5, PAD]) == ["a", "b"]
    assert vocabulary.decode(torch.tensor([PAD, UNK, 5])) == ["<unk>", "b"]
    assert "a" in vocabulary and "x" not in vocabulary and len(vocabulary) == 6


@settings(derandomize=True, max_examples=50)
@given(WORDS)
def test_decode_undoes_encode(words):
    vocabulary = Vocabulary.of([words])
    assert vocabulary.decode(vocabulary.encode(words, bos=True, eos=True)) == words


def test_vocabulary_refuses_a_token_twice_and_an_id_it_lacks():
    with pytest.raises(ValueError, match="lists each token once, but 'a' came twice"):
        Vocabulary(["a", "b", "a"])
    with pytest.raises(ValueError, match="id 7 lies outside a vocabulary of 5 tokens"):
        Vocabulary(["a"]).decode([4, 7])
    with pytest.raises(ValueError, match="id -1 lies outside"):
        Vocabulary(["a"]).decode([-1])


def test_batch_is_padded_at_the_end_with_zeros():
    ids, lengths = pad_batch([[5, 6, 7], [], [8]])
    assert ids.tolist() == [[5, 6, 7], [0, 0, 0], [8, 0, 0]]
    assert lengths.tolist() == [3, 0, 1]
    assert ids.dtype == lengths.dtype == torch.int64
    empty, none = pad_batch([])
    assert empty.shape == (0, 0) and none.shape == (0,)


def test_frames_are_padded_at_the_end_with_zeros():
    first, second = np.full((2, 3), 1.0), np.full((1, 3), 2.0)
    batch, lengths = pad_frames([first, second])
    assert batch.tolist() == [[[1, 1, 1], [1, 1, 1]], [[2, 2, 2], [0, 0, 0]]]
    assert lengths.tolist() == [2, 1] and batch.dtype == torch.float32
    with pytest.raises(ValueError, match=r"one width F, got \[\(2, 3\), \(1, 5\)\]"):
        pad_frames([first, np.zeros((1, 5))])
    with pytest.raises(ValueError, match="one width F"):
        pad_frames([])


@settings(derandomize=True, max_examples=50)
@given(st.integers(10, 500))
def test_splits_are_all_of_it_once(n):
    items = list(range(n))
    train, valid, test = cut(items)
    assert train + valid + test == items
    assert (len(train), len(valid), len(test)) == split_sizes(n)
    assert len(valid) == len(test) == n // 10


def test_shuffled_leaves_its_argument_alone():
    items = list(range(20))
    mixed = shuffled(items, np.random.default_rng(0))
    assert items == list(range(20)) != mixed and sorted(mixed) == items


def test_a_missing_package_is_named_in_one_sentence():
    assert str(missing("babel", "the patterns of dates")) == (
        "the patterns of dates come from the package babel, which is not installed: pip install babel"
    )
