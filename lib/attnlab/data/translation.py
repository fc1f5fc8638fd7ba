"""Real sentence pairs that are already on this machine: the translated strings of installed packages.

A program keeps its translations in gettext catalogues. What translators wrote for JupyterLab, Sphinx or Django makes
a small parallel corpus: short, real, and under the package's own licence. A pair is kept when its English side has
3 to 20 words and neither side holds a placeholder or markup; of two pairs whose English agrees but for case and
punctuation, the first is kept. Such strings come in families ("close all tabs", "close all other tabs"): a training
pair that shares more than three quarters of its words with a validation or test sentence is left out.

Tokens are lower-case words, single punctuation marks and, in Chinese and Japanese, single characters.
"""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attnlab.data.corpus import Dataset, Vocabulary, check_size, cut, missing, shuffled

MIN_WORDS, MAX_WORDS = 3, 20
TOO_MUCH_ALIKE = 0.75
# Which packages carry catalogues: the importable name, the name to install, the licence.
CATALOGUES = {
    "jupyterlab": ("jupyterlab_language_pack_{locale}", "jupyterlab-language-pack-{locale}", "BSD-3-Clause"),
    "sphinx": ("sphinx", "sphinx", "BSD-2-Clause"),
    "django": ("django", "django", "BSD-3-Clause"),
    "wagtail": ("wagtail", "wagtail", "BSD-3-Clause"),
    "spyder": ("spyder", "spyder", "MIT"),
    "indico": ("indico", "indico", "MIT"),
}

_LETTERLIKE = r"\u3040-\u30ff\u3400-\u9fff"  # kana and Han: one character, one token
_TOKEN = re.compile(rf"[{_LETTERLIKE}]|[^\W{_LETTERLIKE}]+(?:['’.-][^\W{_LETTERLIKE}]+)*|[^\w\s]")
# %s, %(name)d, {name}, <b>, &amp; and &File, `code`, **bold**, :role:, addresses, options, escapes
_MARKUP = re.compile(r"%[\w(%]|[{}<>`\\|$]|&\w|\*\*|:\w+:|https?:|(?:^|\s)--?\w|__")


class Pair(NamedTuple):
    source: tuple[str, ...]
    target: tuple[str, ...]


def tokenise(text: str) -> tuple[str, ...]:
    """Lower-case words, punctuation marks one by one, Chinese and Japanese characters one by one."""
    return tuple(_TOKEN.findall(text.lower()))


def read_mo(path: str | Path) -> Iterator[tuple[str, str]]:
    """The (English, translated) strings of a compiled gettext catalogue; of a plural its singular form.

    Layout: a magic number, then the count N of strings and the places of two tables of N (length, offset), one of
    originals and one of translations (GNU gettext manual, "The Format of GNU MO Files").
    """
    content = Path(path).read_bytes()
    try:
        order = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}[content[:4]]
        count, originals, translations = struct.unpack_from(order + "8x3I", content)
        for i in range(count):
            sides = []
            for table in (originals, translations):
                length, start = struct.unpack_from(order + "2I", content, table + 8 * i)
                sides.append(content[start : start + length].decode().split("\0")[0])
            english = sides[0].split("\x04")[-1]  # what precedes \x04 is the context, not the text
            if english:
                yield english, sides[1]
    except (KeyError, struct.error, UnicodeDecodeError):
        raise ValueError(f"{path} is not a compiled gettext catalogue in UTF-8, or it was cut short") from None


def clean(strings: Iterable[tuple[str, str]], language: str) -> list[Pair]:
    """The pairs fit to learn from, in their order, no two with the same English words."""
    kept: dict[tuple[str, ...], Pair] = {}
    for english, translated in strings:
        if _MARKUP.search(english) or _MARKUP.search(translated):
            continue
        pair = Pair(tokenise(english), tokenise(translated))
        words = _words(pair)
        if not MIN_WORDS <= len(words) <= MAX_WORDS or not 0 < len(pair.target) <= 3 * len(pair.source):
            continue
        foreign = any("\u3400" <= token <= "\u9fff" for token in pair.target) if language == "zh" else True
        if foreign and pair.source != pair.target:
            kept.setdefault(words, pair)
    return list(kept.values())


def load(
    size: int | None = None, seed: int = 0, language: str = "zh", packages: Sequence[str] = ("jupyterlab",)
) -> Dataset[list[Pair]]:
    """English → ``language`` from the catalogues of ``packages``; all pairs unless ``size`` says how many."""
    strings: list[tuple[str, str]] = []
    for package in packages:
        for path in catalogues(package, language):
            strings += read_mo(path)
    licences = ", ".join(f"{package} {CATALOGUES[package][2]}" for package in packages)
    source = f"gettext catalogues of {' and '.join(packages)}, as installed, written by their translators"
    baseline = "the translation of the training sentence that shares most words: BLEU about 26"
    measured = (language, tuple(packages)) == ("zh", ("jupyterlab",))
    return _dataset(strings, language, size, seed, source, licences, baseline if measured else "")


def load_file(path: str | Path, size: int | None = None, seed: int = 0, language: str = "zh") -> Dataset[list[Pair]]:
    """Your own pairs, one a line: English, a tab, the translation (more columns are ignored), in UTF-8.

    Tatoeba's exports in the form that flashcard collections use look so (CC BY 2.0 FR: name its authors).
    """
    strings = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        try:
            columns = line.decode("utf-8-sig").split("\t")
        except UnicodeDecodeError:
            raise ValueError(f"{path}, line {number}: not UTF-8; save the file in that encoding") from None
        if not line.strip():
            continue
        if len(columns) < 2:
            raise ValueError(f"{path}, line {number}: expected English, a tab and the translation, got {columns[0]!r}")
        strings.append((columns[0], columns[1]))
    return _dataset(strings, language, size, seed, f"your file {path}", "as you say", baseline="")


def catalogues(package: str, language: str) -> list[Path]:
    """The compiled catalogues of an installed ``package`` for ``language``, sorted by path."""
    if package not in CATALOGUES:
        raise ValueError(f"no catalogues are known in {package!r}; known are {', '.join(CATALOGUES)}")
    module, project, _ = CATALOGUES[package]
    locales = ("zh_CN", "zh_Hans", "zh_Hans_CN") if language == "zh" else (f"{language}_{language.upper()}", language)
    found: list[Path] = []
    for locale in locales:
        spec = find_spec(module.format(locale=locale))
        for root in (spec.submodule_search_locations or []) if spec else []:
            found += sorted(Path(root).glob(f"**/{locale}/LC_MESSAGES/*.mo"), key=lambda path: path.as_posix())
    if found:
        return found
    raise missing(project.format(locale=locales[0].replace("_", "-")), f"sentence pairs for {language!r}")


def _words(pair: Pair) -> tuple[str, ...]:
    return tuple(token for token in pair.source if token[0].isalnum())


def _unlike(train: list[Pair], held_out: list[Pair]) -> list[Pair]:
    """The training pairs whose English shares at most three quarters of its words with any held-out sentence.

    Of two sets of words a and b the share is 2 |a ∩ b| / (|a| + |b|), Dice's coefficient.
    """
    bags = [set(_words(pair)) for pair in train]
    sizes = np.array([len(bag) for bag in bags])
    holders: dict[str, list[int]] = {}
    for i, bag in enumerate(bags):
        for word in bag:
            holders.setdefault(word, []).append(i)
    alike = np.zeros(len(train), dtype=bool)
    for pair in held_out:
        bag = set(_words(pair))
        shared = np.bincount([i for word in bag for i in holders.get(word, ())], minlength=len(train))
        alike |= 2 * shared > TOO_MUCH_ALIKE * (len(bag) + sizes)
    return [pair for pair, out in zip(train, alike, strict=True) if not out]


def _dataset(
    strings: list[tuple[str, str]],
    language: str,
    size: int | None,
    seed: int,
    source: str,
    licence: str,
    baseline: str,
) -> Dataset[list[Pair]]:
    pairs = clean(strings, language)
    if len(pairs) < 10:
        raise ValueError(
            f"{source}: only {len(pairs)} of {len(strings):,} pairs are fit to learn from, and 10 are the least"
        )
    check_size(len(pairs) if size is None else size, at_most=len(pairs))
    train, valid, test = cut(shuffled(pairs, np.random.default_rng(seed))[:size])
    train = _unlike(train, valid + test)
    return Dataset(
        name=f"translation en → {language}",
        kind="real",
        source=source,
        licence=licence,
        train=train,
        valid=valid,
        test=test,
        example=f"{' '.join(train[0].source)} → {' '.join(train[0].target)}",
        baseline=baseline,
        vocabularies={
            "source": Vocabulary.of(pair.source for pair in train),
            "target": Vocabulary.of(pair.target for pair in train),
        },
        notes="software strings, short and alike; no test sentence has a near copy in training",
    )
