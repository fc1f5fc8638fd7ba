"""The grammar: sentences checked by hand, German read back to English by another route, agreement, true alignments."""

from collections import Counter, defaultdict

import pytest

from attnlab.data import grammar
from attnlab.data.grammar import ADJECTIVES, ADVERBS, NOUNS, OPENERS, VERBS, Phrase, Sentence

DOG, CAT, HOUSE = (next(i for i, noun in enumerate(NOUNS) if noun[0] == word) for word in ("dog", "cat", "house"))
SMALL, OLD = 0, 1
SEE = 0


@pytest.fixture(scope="module")
def data():
    return grammar.load()


@pytest.mark.parametrize(
    ("sentence", "english", "german"),
    [
        (
            Sentence(None, Phrase(DOG, False, None), SEE, False, Phrase(CAT, False, None)),
            "the dog sees the cat",
            "der hund sieht die katze",
        ),
        (
            Sentence(None, Phrase(CAT, False, OLD), SEE, True, Phrase(DOG, False, SMALL)),
            "the old cat does not see the small dog",
            "die alte katze sieht den kleinen hund nicht",
        ),
        (
            Sentence(0, Phrase(DOG, True, SMALL), SEE, True, Phrase(HOUSE, False, OLD)),
            "today the small dogs do not see the old house",
            "heute sehen die kleinen hunde das alte haus nicht",
        ),
        (
            Sentence(5, Phrase(HOUSE, False, None), SEE, True, Phrase(DOG, True, None)),
            "i know that the house does not see the dogs",
            "ich weiß , dass das haus die hunde nicht sieht",
        ),
    ],
)
def test_sentences_are_as_a_german_writes_them(sentence, english, german):
    pair = grammar.write(sentence)
    assert " ".join(pair.source) == english
    assert " ".join(pair.target) == german


def test_alignment_by_hand():
    pair = grammar.write(Sentence(5, Phrase(DOG, False, None), SEE, True, Phrase(CAT, False, None)))
    #         0 i  1 know 2 that 3 the 4 dog 5 does 6 not 7 see 8 the 9 cat
    # 0 ich 1 weiß 2 , 3 dass 4 der 5 hund 6 die 7 katze 8 nicht 9 sieht
    assert pair.sure == {(0, 0), (1, 1), (3, 2), (4, 3), (5, 4), (6, 8), (7, 9), (8, 6), (9, 7)}
    assert pair.possible == pair.sure | {(2, 2), (9, 5)}


def english_of(german: tuple[str, ...]) -> str:
    """German → English by reading word after word; stops at anything that breaks the grammar's rules."""
    words = list(german)
    verbs = {form: (row, plural) for row in VERBS for plural, form in enumerate(row[2:])}
    start, embedded = "", False
    if words[0] in dict(map(reversed, ADVERBS)):
        start = dict(map(reversed, ADVERBS))[words.pop(0)]
    elif " ".join(words[:2]) in dict(map(reversed, OPENERS)):
        start, embedded = dict(map(reversed, OPENERS))[" ".join(words[:2])] + " that", True
        assert words[2:4] == [",", "dass"]
        words = words[4:]
    verb = None
    if start:  # verb second behind an adverb, last behind "dass"
        verb = words.pop(-1 if embedded else 0)
    subject, plural, words = phrase(words, {"m": "der", "f": "die", "n": "das"})
    verb = verb or words.pop(0)
    thing, _, words = phrase(words, {"m": "den", "f": "die", "n": "das"})
    assert words in ([], ["nicht"])
    row, verb_plural = verbs[verb]
    assert verb_plural == plural, "verb and subject agree in number"
    said = (("do" if plural else "does") + " not " + row[0]) if words else row[0 if plural else 1]
    return f"{start} {subject} {said} {thing}".strip()


def phrase(words, articles):
    article, *rest = words
    adjectives = dict(map(reversed, ADJECTIVES))
    stem = next((s for s in adjectives if rest[0] in (s + "e", s + "en")), None)
    ending = rest.pop(0)[len(stem) :] if stem else None
    noun = rest.pop(0)
    row = next(row for row in NOUNS if noun in row[2:4])
    plural = row[3] == noun
    assert article == ("die" if plural else articles[row[4]]), "article agrees with gender, number and case"
    assert ending in (None, "en" if plural or article == "den" else "e"), "so does the adjective"
    return " ".join(filter(None, ("the", adjectives.get(stem), row[1 if plural else 0]))), plural, rest


def test_german_reads_back_to_the_english_it_came_from(data):
    for pair in data.train + data.valid + data.test:
        assert english_of(pair.target) == " ".join(pair.source)


def test_both_sides_determine_each_other(data):
    pairs = data.train + data.valid + data.test
    assert len({p.source for p in pairs}) == len({p.target for p in pairs}) == len(pairs)


def test_no_word_form_means_two_things():
    assert len({form for noun in NOUNS for form in noun[2:4]}) == 2 * len(NOUNS)
    assert len({form for noun in NOUNS for form in noun[:2]}) == 2 * len(NOUNS)
    assert len({form for verb in VERBS for form in verb[2:]}) == 2 * len(VERBS)


def test_every_target_word_has_a_link_within_the_sentence(data):
    for pair in data.valid:
        assert pair.sure <= pair.possible
        assert {t for t, _ in pair.possible} == set(range(len(pair.target)))
        assert {s for _, s in pair.possible} == set(range(len(pair.source)))


def test_word_order_differs_in_most_sentences(data):
    crossed = [any(t1 < t2 and s1 > s2 for t1, s1 in p.sure for t2, s2 in p.sure) for p in data.test]
    assert sum(crossed) / len(crossed) > 0.7


def test_baseline_is_as_described(data):
    partners = defaultdict(Counter)
    for pair in data.train:
        for t, s in pair.sure:
            partners[pair.source[s]][pair.target[t]] += 1
    best = {word: counts.most_common(1)[0][0] for word, counts in partners.items()}
    right = [tuple(best[w] for w in p.source if w in best) == p.target for p in data.test]
    assert f"order: {sum(right) / len(right):.0%} of sentences right" in data.baseline
