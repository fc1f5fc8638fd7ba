"""Tagged sentences: IOB2 throughout, names that need context, files in four columns read and written."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

from attnlab.data import tagged
from attnlab.data.tagged import LABELS, TaggedSentence, read_conll, to_iob2, write_conll


@pytest.fixture(scope="module")
def data():
    return tagged.load()


def test_labels_are_those_of_conll():
    assert LABELS == ("O", "B-LOC", "I-LOC", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER")


def test_columns_are_aligned_and_all_four_types_occur_in_every_split(data):
    for split in (data.train, data.valid, data.test):
        for sentence in split:
            assert len({len(column) for column in sentence}) == 1
        assert {tag for sentence in split for tag in sentence.tags} == set(LABELS)


def test_tags_and_chunks_are_iob2(data):
    for sentence in data.train:
        for column in (sentence.tags, sentence.chunks):
            assert to_iob2(column) == column
            for previous, tag in zip(("O", *column), column, strict=False):
                assert tag == "O" or tag[0] == "B" or previous[2:] == tag[2:]


def test_many_words_have_several_types_and_context_tells_which(data):
    kinds = defaultdict(set)
    for sentence in data.train:
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            if tag != "O":
                kinds[word].add(tag[2:])
    bases = [found for word, found in kinds.items() if not word.endswith("ian")]
    assert sum(len(found) >= 3 for found in bases) / len(bases) > 0.7
    contexts = defaultdict(set)  # the same words around a name never mean two types
    for sentence in data.train:
        blanked = tuple("_" if tag != "O" else w for w, tag in zip(sentence.words, sentence.tags, strict=True))
        contexts[blanked].add(tuple(tag[2:] for tag in sentence.tags))
    assert all(len(found) == 1 for found in contexts.values())


def test_half_of_the_test_names_are_new(data):
    def names(split):
        return [s.words[start : end + 1] for s in split for _, start, end in get_entities(list(s.tags))]

    known = {word for name in names(data.train + data.valid) for word in name}
    new = [any(word not in known for word in name) for name in names(data.test)]
    assert 0.4 < sum(new) / len(new) < 0.65
    assert not any(word not in known for name in names(data.valid) for word in name)


def test_file_survives_writing_and_reading(data, tmp_path):
    write_conll(data.test, tmp_path / "test.conll")
    assert read_conll(tmp_path / "test.conll") == data.test


def test_file_by_hand_in_the_original_dialect(tmp_path):
    path = tmp_path / "eng.testa"
    path.write_bytes(
        b"\xef\xbb\xbf-DOCSTART- -X- O O\r\n\r\n"
        b"Kelmar NNP I-NP I-PER\r\nsaw VBD I-VP O\r\nOslo NNP I-NP I-LOC\r\nLima NNP I-NP B-LOC\r\n\r\n"
        b"Rain NN I-NP O\r\n"
    )
    assert read_conll(path) == [
        TaggedSentence(
            ("Kelmar", "saw", "Oslo", "Lima"),
            ("NNP", "VBD", "NNP", "NNP"),
            ("I-NP", "I-VP", "I-NP", "I-NP"),
            ("B-PER", "O", "B-LOC", "B-LOC"),
        ),
        TaggedSentence(("Rain",), ("NN",), ("I-NP",), ("O",)),
    ]


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=7))
def test_iob2_keeps_the_spans_that_seqeval_sees_in_iob1(tags):
    converted = to_iob2(tags)
    assert to_iob2(converted) == converted
    assert get_entities(list(converted)) == get_entities(tags)
    assert all(t[0] != "I" or before[2:] == t[2:] for before, t in zip(("O", *converted), converted, strict=False))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Oslo NNP B-NP B-LOC\nRain NN O\n", r"bad\.conll, line 2: expected 4 columns \(word, .*\), got 3"),
        (b"Oslo NNP B-NP LOC\n", r"bad\.conll, line 1: a tag is O, B-TYPE or I-TYPE, got 'LOC'"),
        (b"Oslo NNP B-NP B-\n", r"bad\.conll, line 1: a tag is O, B-TYPE or I-TYPE, got 'B-'"),
        (b"\n\nOsl\xff NNP B-NP B-LOC\n", r"bad\.conll, line 3: not UTF-8"),
        (b"\n-DOCSTART- -X- O O\n\n", r"bad\.conll holds no sentence"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / "bad.conll"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_conll(path)


def test_errors_are_one_sentence():
    with pytest.raises(ValueError, match="names must lie between 20 and 1,000, got 5"):
        tagged.load(names=5)


def test_baseline_is_as_described(data):
    counts = defaultdict(Counter)
    for sentence in data.train:
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            counts[word][tag] += 1
    guesses = [[counts[w].most_common(1)[0][0] if w in counts else "O" for w in s.words] for s in data.test]
    truth = [list(s.tags) for s in data.test]
    right = [a == b for guess, tags in zip(guesses, truth, strict=True) for a, b in zip(guess, tags, strict=True)]
    assert f"about {sum(right) / len(right):.0%} of words" in data.baseline
    assert f"span F1 about {f1_score(truth, guesses):.2f}" in data.baseline
