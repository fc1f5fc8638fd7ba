"""Dates as people write them, in many languages, and the ISO 8601 date that each means.

    "Freitag, 9. Juli 2004"  →  "2004-07-09"        "9 lip 2004"  →  "2004-07-09"

The patterns and the names of months and weekdays are the ones that Unicode's CLDR collects from speakers; the dates are
drawn. Every text has one reading: patterns with a two-digit year are left out, and so is the numeric month-first
order ("7/9/2004"), which most of the world reads day-first.
"""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from attnlab.data.corpus import Dataset, Vocabulary, check_size, cut, missing, pick

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "pl", "cs", "tr", "fi", "hu", "ru", "el", "zh")
FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)


class DatePair(NamedTuple):
    text: str
    iso: str
    language: str


def patterns(language: str) -> list[str]:
    """CLDR's patterns for a whole date in ``language`` that can be read in one way only, sorted."""
    babel = _babel()
    try:
        locale = babel.Locale.parse(language)
    except (babel.UnknownLocaleError, ValueError):
        raise ValueError(f"Babel knows no language {language!r}; codes look like 'de' or 'pt_BR'") from None
    found = [p.pattern for p in locale.date_formats.values()]
    found += [p.pattern for name, p in locale.datetime_skeletons.items() if set(name) <= set("yMdE")]
    return sorted({pattern for pattern in found if _has_one_reading(pattern)})


def write(day: date, pattern: str, language: str) -> str:
    """``day`` written by ``pattern``, with plain spaces and without invisible marks."""
    text = _babel().dates.format_date(day, format=pattern, locale=language)
    return " ".join(text.translate({0x200E: None, 0x200F: None}).split())


def load(size: int = 10_000, seed: int = 0, languages: Sequence[str] = LANGUAGES) -> Dataset[list[DatePair]]:
    """``size`` dates between 1900 and 2099, all different, so that no date of one split occurs in another."""
    days = (LAST - FIRST).days + 1
    check_size(size, at_most=days)
    known = {language: patterns(language) for language in languages}
    _check_agreement(known)
    rng = np.random.default_rng(seed)
    pairs = []
    for offset in rng.permutation(days)[:size]:
        day, language = FIRST + timedelta(days=int(offset)), pick(languages, rng)
        pairs.append(DatePair(write(day, pick(known[language], rng), language), day.isoformat(), language))
    train, valid, test = cut(pairs)
    return Dataset(
        name="dates",
        kind="synthetic",
        source=f"dates drawn, written by the real patterns of Unicode CLDR for {len(languages)} languages "
        f"in Babel {_babel().__version__}",
        licence="Babel: BSD-3-Clause; CLDR: Unicode License v3",
        train=train,
        valid=valid,
        test=test,
        example=f"{train[0].text} → {train[0].iso} ({train[0].language})",
        baseline="the most frequent character at each place: 0% of dates right, about 46% of characters",
        vocabularies={
            "source": Vocabulary.of(pair.text for pair in train),
            "target": Vocabulary.of(pair.iso for pair in train),
        },
        notes="every date occurs once, in one split only; characters are the tokens",
    )


def _has_one_reading(pattern: str) -> bool:
    fields = re.findall(r"y+|[ML]+|d+", re.sub(r"'[^']*'", "", pattern))
    order = "".join("M" if f[0] == "L" else f[0] for f in fields)
    month = next((f for f in fields if f[0] in "ML"), "")
    return sorted(order) == ["M", "d", "y"] and "yy" not in fields and (len(month) > 2 or order in ("dMy", "yMd"))


def _check_agreement(known: dict[str, list[str]]) -> None:
    """No two languages may mean different dates by one text ("21 Kas": November in Turkish, May in Taita)."""
    read: dict[str, tuple[date, str]] = {}
    for language, forms in known.items():
        for month in range(1, 13):
            for form in forms:
                day = date(2003, month, 21)
                text = write(day, form, language)
                other, first = read.setdefault(text, (day, language))
                if other != day:
                    raise ValueError(f"{text!r} means {other} in {first!r} and {day} in {language!r}: leave one out")


def _babel():
    try:
        import babel
        import babel.dates
    except ImportError:
        raise missing("babel", "the patterns of dates") from None
    return babel
