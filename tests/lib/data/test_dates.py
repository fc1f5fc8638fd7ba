"""Dates: each text is read back by a reader that knows nothing of Babel, from month names written down here by hand."""

import re
import sys
from collections import Counter

import pytest

from attnlab.data import dates

# The beginnings of the month names, as short as tells them apart, from January on.
MONTHS = {
    "en": "jan feb mar apr may jun jul aug sep oct nov dec",
    "de": "jan feb mär apr mai jun jul aug sep okt nov dez",
    "fr": "janv févr mars avr mai juin juil août sept oct nov déc",
    "es": "ene feb mar abr may jun jul ago sep oct nov dic",
    "it": "gen feb mar apr mag giu lug ago set ott nov dic",
    "pt": "jan fev mar abr mai jun jul ago set out nov dez",
    "nl": "jan feb mrt|maart apr mei jun jul aug sep okt nov dec",
    "sv": "jan feb mar apr maj jun jul aug sep okt nov dec",
    "pl": "sty lut mar kwi maj cze lip sie wrz paź lis gru",
    "cs": "led úno bře dub kvě června červen(ce|ec) srp zář říj lis pro",
    "tr": "oca şub mar nis may haz tem ağu eyl eki kas ara",
    "fi": "tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu",
    "hu": "jan feb márc ápr máj jún júl aug szept okt nov dec",
    "ru": "янв фев мар апр мая июн июл авг сен окт ноя дек",
    "el": "ιαν φεβ μαρ απρ μα[ΐιϊ] ιουν ιουλ αυγ σεπ οκτ νοε δεκ",
}


def read(text: str, language: str) -> str:
    """The ISO date, from the numbers in the text and, where there are but two, from the name of the month."""
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    if len(numbers) == 3:
        year, month, day = numbers if numbers[0] > 31 else reversed(numbers)
    else:
        year, day = numbers if numbers[0] > 31 else reversed(numbers)
        # Before or behind the numbers may stand a weekday: the month is what touches the day.
        words = re.findall(r"[^\W\d]+", text.lower().replace("i̇", "i"))
        found = [
            m for m, stem in enumerate(MONTHS[language].split(), 1) if any(re.match(f"(?:{stem})", w) for w in words)
        ]
        if len(found) > 1:  # "mar." is Tuesday too: French mardi, Spanish and Italian martes, martedì
            words = words[1:]
            found = [
                m
                for m, stem in enumerate(MONTHS[language].split(), 1)
                if any(re.match(f"(?:{stem})", w) for w in words)
            ]
        (month,) = found
    return f"{year:04}-{month:02}-{day:02}"


@pytest.fixture(scope="module")
def data():
    return dates.load()


def test_hand_written_dates_are_read_as_meant():
    assert read("Freitag, 9. Juli 2004", "de") == "2004-07-09"
    assert read("mar. 2 janv. 2001", "fr") == "2001-01-02"
    assert read("2004年7月9日星期五", "zh") == "2004-07-09"
    assert read("9/7/2004", "es") == "2004-07-09"


def test_every_date_reads_back_to_its_iso_date(data):
    for text, iso, language in data.train + data.valid + data.test:
        assert read(text, language) == iso, (text, language)


def test_all_sixteen_languages_are_there_in_even_shares(data):
    counts = Counter(pair.language for pair in data.train)
    assert len(dates.LANGUAGES) == 16 and set(counts) == set(dates.LANGUAGES)
    assert min(counts.values()) > len(data.train) / 16 * 0.8


def test_text_is_plain(data):
    assert not any(re.search(r"[\u00a0\u202f\u200e\u200f]|  ", pair.text) for pair in data.train)


def test_no_date_of_one_split_is_in_another(data):
    train, valid, test = ({pair.iso for pair in split} for split in (data.train, data.valid, data.test))
    assert not train & valid and not train & test and not valid & test


def test_no_text_means_two_dates(data):
    meanings: dict[str, set[str]] = {}
    for text, iso, _ in data.train + data.valid + data.test:
        meanings.setdefault(text, set()).add(iso)
    assert all(len(isos) == 1 for isos in meanings.values())


def test_patterns_have_a_full_year_and_no_numeric_month_first():
    assert dates.patterns("en") == ["E, MMM d, y", "EEEE, MMMM d, y", "MMM d, y", "MMMM d, y"]
    assert "dd.MM.y" in dates.patterns("de") and "dd.MM.yy" not in dates.patterns("de")
    assert "y-MM-dd" in dates.patterns("sv")


def test_languages_that_contradict_each_other_are_refused():
    with pytest.raises(
        ValueError, match="'21 Kas 2003' means 2003-11-21 in 'tr' and 2003-05-21 in 'dav': leave one out"
    ):
        dates.load(size=10, languages=("tr", "dav"))


def test_errors_are_one_sentence(monkeypatch):
    with pytest.raises(ValueError, match="Babel knows no language 'klingon'"):
        dates.load(size=10, languages=("klingon",))
    with pytest.raises(ValueError, match="at most 73,049"):
        dates.load(size=80_000)
    monkeypatch.setitem(sys.modules, "babel", None)
    with pytest.raises(ImportError, match="the package babel, which is not installed: pip install babel"):
        dates.load(size=10)


def test_baseline_is_as_described(data):
    guess = "".join(Counter(column).most_common(1)[0][0] for column in zip(*(p.iso for p in data.train), strict=True))
    right = [[a == b for a, b in zip(guess, pair.iso, strict=True)] for pair in data.test]
    assert sum(map(all, right)) == 0
    assert f"about {sum(map(sum, right)) / len(right) / 10:.0%} of characters" in data.baseline
