"""Sentence pairs from a small grammar, English → German, with the true word alignment.

    today the small dogs do not see the old house   →   heute sehen die kleinen hunde das alte haus nicht
    i know that the dog sees the house              →   ich weiß , dass der hund das haus sieht

What has to be learned: the article and the adjective agree with gender, number and case; the verb comes second
in a main clause, whatever stands first, and last after "dass"; "does not" becomes a "nicht" behind the object. Each
English sentence has one German one and back. The sentences are correct; their meaning is as it comes.
"""

from typing import NamedTuple

import numpy as np

from attnlab.data.corpus import Dataset, Vocabulary, check_size, cut, pick

# English singular and plural, German singular and plural, gender
NOUNS = (
    ("dog", "dogs", "hund", "hunde", "m"),
    ("man", "men", "mann", "männer", "m"),
    ("friend", "friends", "freund", "freunde", "m"),
    ("guest", "guests", "gast", "gäste", "m"),
    ("king", "kings", "könig", "könige", "m"),
    ("brother", "brothers", "bruder", "brüder", "m"),
    ("doctor", "doctors", "arzt", "ärzte", "m"),
    ("cook", "cooks", "koch", "köche", "m"),
    ("tree", "trees", "baum", "bäume", "m"),
    ("cat", "cats", "katze", "katzen", "f"),
    ("woman", "women", "frau", "frauen", "f"),
    ("sister", "sisters", "schwester", "schwestern", "f"),
    ("queen", "queens", "königin", "königinnen", "f"),
    ("aunt", "aunts", "tante", "tanten", "f"),
    ("duck", "ducks", "ente", "enten", "f"),
    ("mouse", "mice", "maus", "mäuse", "f"),
    ("cow", "cows", "kuh", "kühe", "f"),
    ("flower", "flowers", "blume", "blumen", "f"),
    ("child", "children", "kind", "kinder", "n"),
    ("horse", "horses", "pferd", "pferde", "n"),
    ("animal", "animals", "tier", "tiere", "n"),
    ("house", "houses", "haus", "häuser", "n"),
    ("book", "books", "buch", "bücher", "n"),
    ("picture", "pictures", "bild", "bilder", "n"),
    ("ship", "ships", "schiff", "schiffe", "n"),
)
# English plural and singular, German singular and plural
VERBS = (
    ("see", "sees", "sieht", "sehen"),
    ("hear", "hears", "hört", "hören"),
    ("love", "loves", "liebt", "lieben"),
    ("find", "finds", "findet", "finden"),
    ("know", "knows", "kennt", "kennen"),
    ("paint", "paints", "malt", "malen"),
    ("carry", "carries", "trägt", "tragen"),
    ("call", "calls", "ruft", "rufen"),
    ("ask", "asks", "fragt", "fragen"),
    ("visit", "visits", "besucht", "besuchen"),
    ("understand", "understands", "versteht", "verstehen"),
)
ADJECTIVES = (
    ("small", "klein"),
    ("old", "alt"),
    ("young", "jung"),
    ("big", "groß"),
    ("black", "schwarz"),
    ("white", "weiß"),
    ("beautiful", "schön"),
    ("strange", "seltsam"),
    ("new", "neu"),
    ("thin", "dünn"),
    ("quiet", "still"),
)
ADVERBS = (("today", "heute"), ("now", "jetzt"), ("often", "oft"), ("sometimes", "manchmal"), ("here", "hier"))
OPENERS = (("i know", "ich weiß"), ("we hope", "wir hoffen"), ("she says", "sie sagt"), ("they think", "sie glauben"))

ARTICLES = {
    ("m", "nominative"): "der",
    ("m", "accusative"): "den",
    ("f", "nominative"): "die",
    ("f", "accusative"): "die",
    ("n", "nominative"): "das",
    ("n", "accusative"): "das",
}


class Phrase(NamedTuple):
    noun: int
    plural: bool
    adjective: int | None


class Sentence(NamedTuple):
    """``start`` is an adverb (0 to 4), an opener with "that" (5 to 8) or nothing (None)."""

    start: int | None
    subject: Phrase
    verb: int
    negated: bool
    object: Phrase


class AlignedPair(NamedTuple):
    """``sure`` and ``possible`` links are (target position, source position); every sure link is possible too."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    sure: frozenset[tuple[int, int]]
    possible: frozenset[tuple[int, int]]


def write(sentence: Sentence) -> AlignedPair:
    """The English sentence, the German one, and which word came from which."""
    start, subject, verb, negated, thing = sentence
    plural = subject.plural
    english, places = _english(sentence)
    german: list[tuple[str, str]] = []  # each word with the name of the part that it comes from
    clause_verb = [(VERBS[verb][3 if plural else 2], "verb")]
    subject_words = _german_phrase(subject, "nominative", "subject")
    object_words = _german_phrase(thing, "accusative", "object")
    denial = [("nicht", "not")] * negated
    if start is None:
        german = subject_words + clause_verb + object_words + denial
    elif start < len(ADVERBS):
        german = [(ADVERBS[start][1], "start0"), *clause_verb, *subject_words, *object_words, *denial]
    else:
        first, second = OPENERS[start - len(ADVERBS)][1].split()
        opener = [(first, "start0"), (second, "start1"), (",", "that?"), ("dass", "that")]
        german = opener + subject_words + object_words + denial + clause_verb

    sure: set[tuple[int, int]] = set()
    possible: set[tuple[int, int]] = set()
    for t, (_, part) in enumerate(german):
        (possible if part.endswith("?") else sure).add((t, places[part.rstrip("?")]))
        if part == "verb" and negated:
            possible.add((t, places["do"]))
    return AlignedPair(tuple(english), tuple(w for w, _ in german), frozenset(sure), frozenset(sure | possible))


def load(size: int = 10_000, seed: int = 0) -> Dataset[list[AlignedPair]]:
    """``size`` different sentence pairs, drawn evenly from about 100 million."""
    check_size(size, at_most=1_000_000)
    rng = np.random.default_rng(seed)
    sentences: dict[Sentence, None] = {}
    while len(sentences) < size:
        sentences[_draw(rng)] = None
    train, valid, test = cut([write(sentence) for sentence in sentences])
    return Dataset(
        name="grammar en → de",
        kind="synthetic",
        source="generated by attnlab.data.grammar: correct German, sentences without much sense",
        licence="none needed; the generator is under this project's licence",
        train=train,
        valid=valid,
        test=test,
        example=f"{' '.join(train[0].source)} → {' '.join(train[0].target)}",
        baseline="each word by its most frequent partner, in the English order: 1% of sentences right",
        vocabularies={
            "source": Vocabulary.of(pair.source for pair in train),
            "target": Vocabulary.of(pair.target for pair in train),
        },
        notes="all sentences differ; words are lower case; sure and possible alignment links come with each pair",
    )


def _draw(rng: np.random.Generator) -> Sentence:
    start = pick((None, *range(len(ADVERBS) + len(OPENERS))), rng)
    subject, thing = _draw_phrase(rng), _draw_phrase(rng)
    return Sentence(start, subject, int(rng.integers(len(VERBS))), bool(rng.integers(2)), thing)


def _draw_phrase(rng: np.random.Generator) -> Phrase:
    adjective = pick((None, *range(len(ADJECTIVES))), rng)
    return Phrase(int(rng.integers(len(NOUNS))), bool(rng.integers(2)), adjective)


def _english(sentence: Sentence) -> tuple[list[str], dict[str, int]]:
    """The words, and at which position each named part stands."""
    start, subject, verb, negated, thing = sentence
    words: list[tuple[str, str]] = []
    if start is not None and start < len(ADVERBS):
        words = [(ADVERBS[start][0], "start0")]
    elif start is not None:
        first, second = OPENERS[start - len(ADVERBS)][0].split()
        words = [(first, "start0"), (second, "start1"), ("that", "that")]
    words += _english_phrase(subject, "subject")
    if negated:
        words += [("do" if subject.plural else "does", "do"), ("not", "not"), (VERBS[verb][0], "verb")]
    else:
        words += [(VERBS[verb][0 if subject.plural else 1], "verb")]
    words += _english_phrase(thing, "object")
    return [word for word, _ in words], {part: s for s, (_, part) in enumerate(words)}


def _english_phrase(phrase: Phrase, part: str) -> list[tuple[str, str]]:
    adjective = [] if phrase.adjective is None else [(ADJECTIVES[phrase.adjective][0], part + "_adjective")]
    return [("the", part + "_article"), *adjective, (NOUNS[phrase.noun][phrase.plural], part + "_noun")]


def _german_phrase(phrase: Phrase, case: str, part: str) -> list[tuple[str, str]]:
    gender = NOUNS[phrase.noun][4]
    article = "die" if phrase.plural else ARTICLES[gender, case]
    ending = "en" if phrase.plural or article == "den" else "e"
    adjective = [] if phrase.adjective is None else [(ADJECTIVES[phrase.adjective][1] + ending, part + "_adjective")]
    return [(article, part + "_article"), *adjective, (NOUNS[phrase.noun][2 + phrase.plural], part + "_noun")]
