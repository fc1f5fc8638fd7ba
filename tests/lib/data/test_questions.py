"""Questions and messages: answers found again by reading the passage, names that no vocabulary holds."""

import re
from collections import Counter

import pytest

from attnlab.data import UNK, questions


@pytest.fixture(scope="module")
def data():
    return questions.load()


@pytest.fixture(scope="module")
def messages():
    return questions.load_messages()


# What a reader of the passage answers: a pattern for each question, with the person asked about filled in.
READINGS = {
    r"where did (\w+) move \?": r"\b{} moved to (.+?) in \d+ \.",
    r"when did (\w+) move \?": r"\b{} moved to [^.]+? in (\d+) \.",
    r"what did (\w+) sell \?": r"\b{} sold (.+?) to \w+ \.",
    r"who bought something from (\w+) \?": r"\b{} sold [^.]+? to (\w+) \.",
    r"where was (\w+) born \?": r"in \d+ , {} was born in (.+?) \.",
    r"when was (\w+) born \?": r"in (\d+) , {} was born",
    r"who met (\w+) \?": r"\b(\w+) met {} near",
    r"where was (\w+) met \?": r"\w+ met {} near (.+?) \.",
}


def test_every_answer_is_what_a_reader_finds(data):
    asked = Counter()
    for passage, question, start, end in data.train + data.valid + data.test:
        text = " ".join(question)
        (kind,) = (kind for kind in READINGS if re.fullmatch(kind, text))
        who = re.fullmatch(kind, text)[1]
        (answer,) = re.findall(READINGS[kind].format(who), " ".join(passage))
        assert answer.split() == list(passage[start : end + 1])
        asked[kind] += 1
    assert set(asked) == set(READINGS)


def test_answers_have_one_to_three_words_anywhere_in_the_passage(data):
    lengths = Counter(q.end - q.start + 1 for q in data.train)
    assert set(lengths) == {1, 2, 3}
    assert len({q.start for q in data.train}) > 25


def test_target_of_a_message_is_made_of_words_of_its_source(messages):
    for source, target in messages.train:
        assert set(target) <= {*source, "to"} and len(target) == 5
        sender, verb, code, to, receiver = target
        text = " ".join(source)
        assert re.fullmatch(
            rf"\w+ {code} was {verb} by {sender} {to} {receiver}|to {receiver} : {sender} {verb} \w+ {code}", text
        )


def test_names_are_new_in_every_message_and_unknown_to_the_vocabulary(messages):
    vocabulary = messages.vocabularies["word"]
    names = [word for m in messages.train + messages.valid + messages.test for word in m.target[::2] if word != "to"]
    assert len(names) == len(set(names)) == 3 * 2_000
    assert {vocabulary[name] for name in names} == {UNK}
    assert all(vocabulary[word] != UNK for m in messages.test for word in (m.target[1], m.target[3]))


def test_errors_are_one_sentence():
    with pytest.raises(ValueError, match="a passage holds 1 to 7 facts, got 8"):
        questions.load(facts=8)


def test_baselines_are_as_described(data, messages):
    place = Counter((q.start, q.end) for q in data.train).most_common(1)[0][0]
    share = sum((q.start, q.end) == place for q in data.test) / len(data.test)
    assert f"about {share:.0%} of spans" in data.baseline
    known = [word in messages.vocabularies["word"] for m in messages.test for word in m.target]
    assert f"at most {sum(known) / len(known):.0%} of words" in messages.baseline
