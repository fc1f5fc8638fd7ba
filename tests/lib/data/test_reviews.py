"""Reviews: the label read back by the rule of negation, lengths that vary, and a bag of words at chance."""

import math
from collections import Counter

import pytest

from attnlab.data import pad_batch, reviews
from attnlab.data.reviews import OPINIONS, SENTIMENTS, THINGS, TOPICS


@pytest.fixture(scope="module")
def data():
    return reviews.load()


def read(words):
    """(sentiment, topic) from the one sentence that holds an opinion."""
    sentences = " ".join(words).split(" . ")
    (opinion,) = (s.split() for s in sentences if any(w in s.split() for pair in OPINIONS for w in pair))
    positive = any(good in opinion for _, good in OPINIONS)
    denied = any(word in opinion for word in ("not", "nobody", "never"))
    (topic,) = (
        t for t, topic in enumerate(TOPICS) if any(f"the {thing} " in " ".join(opinion) for thing in THINGS[topic])
    )
    return int(positive != denied), topic


def test_every_label_follows_from_the_words(data):
    for review in data.train + data.valid + data.test:
        assert read(review.words) == (review.sentiment, review.topic)


def test_classes_are_even():
    data = reviews.load(seed=3)
    assert SENTIMENTS == ("negative", "positive")
    assert all(abs(n / len(data.train) - 1 / 2) < 0.05 for n in Counter(r.sentiment for r in data.train).values())
    assert all(abs(n / len(data.train) - 1 / 4) < 0.05 for n in Counter(r.topic for r in data.train).values())


def test_lengths_vary_tenfold(data):
    lengths = [len(review.words) for review in data.train]
    assert min(lengths) <= 6 and max(lengths) >= 60
    ids, n = pad_batch([data.vocabularies["word"].encode(review.words) for review in data.test])
    assert (ids != 0).sum(1).tolist() == n.tolist()


def test_denying_words_alone_tell_nothing(data):
    for word in ("not", "nobody", "never"):
        labels = [review.sentiment for review in data.train if word in review.words]
        assert abs(sum(labels) / len(labels) - 0.5) < 0.05


def test_errors_are_one_sentence():
    with pytest.raises(ValueError, match="longest counts neutral sentences and must be at least 1, got 0"):
        reviews.load(longest=0)


def naive_bayes(train, test, label):
    counts, totals = {}, Counter(map(label, train))
    for review in train:
        counts.setdefault(label(review), Counter()).update(review.words)
    size = len({word for review in train for word in review.words})

    def score(words, kind):
        n = counts[kind].total() + size
        return math.log(totals[kind]) + sum(math.log((counts[kind][word] + 1) / n) for word in words)

    return sum(max(totals, key=lambda kind: score(r.words, kind)) == label(r) for r in test) / len(test)


def test_baseline_is_as_described(data):
    for label, said in ((lambda r: r.sentiment, "(sentiment)"), (lambda r: r.topic, "(topic)")):
        most = Counter(map(label, data.train)).most_common(1)[0][0]
        share = sum(label(review) == most for review in data.test) / len(data.test)
        assert f"{share:.0%} {said}" in data.baseline
    bayes = [naive_bayes(data.train, data.test, label) for label in (lambda r: r.sentiment, lambda r: r.topic)]
    assert f"naive Bayes on words: {bayes[0]:.0%} and {bayes[1]:.0%}" in data.baseline
