"""Running text: Python's own, no paragraph twice, nothing of the test text in training."""

import math
import re
import sys
from collections import Counter
from pydoc_data.topics import topics

import pytest

from attnlab.data import characters


@pytest.fixture(scope="module")
def data():
    return characters.load()


def test_text_is_that_of_python(data):
    whole = "\n\n".join(topics.values())
    for split in (data.train, data.valid, data.test):
        for paragraph in split.text.split("\n\n")[:50]:
            assert paragraph.strip("\n") in whole


def test_no_paragraph_occurs_twice(data):
    paragraphs = [
        " ".join(p.split()) for s in (data.train, data.valid, data.test) for p in s.text.split("\n\n") if p.strip()
    ]
    assert len(paragraphs) == len(set(paragraphs))


def test_hardly_a_long_stretch_of_the_test_text_is_in_the_training_text(data):
    stretches = [data.test.text[i : i + 80] for i in range(0, len(data.test) - 80, 80)]
    assert sum(stretch in data.train.text for stretch in stretches) / len(stretches) < 0.02


def test_splits_are_about_eight_to_one_to_one(data):
    total = len(data.train) + len(data.valid) + len(data.test)
    assert total > 250_000
    assert 0.78 < len(data.train) / total < 0.82
    assert 0.09 < len(data.valid) / total < 0.11 and 0.09 < len(data.test) / total < 0.11


def test_size_is_what_was_asked_for():
    data = characters.load(size=50_000)
    assert abs(len(data.train) + len(data.valid) + len(data.test) - 50_000) < 1_000
    vocabulary = data.vocabularies["character"]
    assert "".join(vocabulary.decode(vocabulary.encode(data.train.text[:999]))) == data.train.text[:999]


def test_errors_are_one_sentence(monkeypatch):
    with pytest.raises(ValueError, match=r"size must lie between 1,000 and \d{3},\d{3} characters.*got 10$"):
        characters.load(size=10)
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ImportError, match="pydoc_data, which this Python lacks"):
        characters.load()


def test_baseline_is_as_described(data):
    counts = Counter(data.train.text)
    total = counts.total() + len(counts)
    bits = -sum(math.log2((counts[c] + 1) / total) for c in data.test.text) / len(data.test)
    said = float(re.search(r"about (\d\.\d) bits a character", data.baseline)[1])
    assert abs(bits - said) < 0.15  # another Python has another edition of the text
