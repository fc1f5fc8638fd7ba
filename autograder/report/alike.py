"""Answers that are nearly the same: a hint for a conversation, never a proof.

copydetect compares what students wrote, with names, comments and layout taken away. What the course gives (the released
cells, its solution, the reference, the other right and the known wrong answers) is not counted, and neither is what
many in the class have: a short exercise has few ways to be written.
"""

import inspect
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from copydetect import CodeFingerprint, compare_files
from copydetect.utils import get_token_coverage

from autograder.exercise import Exercise
from autograder.report.model import Pair

K = 25  # signs that must agree in a row, once names are one sign each
PHRASE = 14  # signs that make a phrase: an answer made of the course's phrases is nobody's own
KNOWN = 0.8  # of a run of K that such phrases cover, for it to be left out
LEAST = 120  # signs that two answers must share beyond what is expected
SHARE = 0.7  # of what one of them wrote beyond what is expected
COMMON = 0.2  # what this share of the class has is an idiom …
CROWD = 30  # … and so is what that many have, however large the class is
MOST = 50_000  # signs of a submission that are looked at
PAIRS = 40  # shown at most


@dataclass(frozen=True)
class Written:
    """What a student wrote for an assignment: cells that are not as the course gave them."""

    student: str
    text: str


def own_text(cells: Iterable[str], given: Iterable[str]) -> str:
    """The cells that a student wrote or changed, one below the other."""
    there = {_bare(source) for source in given}
    return "\n\n".join(source.strip() for source in cells if source.strip() and _bare(source) not in there)


def _bare(source: str) -> str:
    return "".join(source.split())


def expected(given: Iterable[str], exercises: Iterable[Exercise]) -> list[str]:
    """The code that nobody is suspected for."""
    found = list(given)
    for exercise in exercises:
        functions = [exercise.reference, *exercise.alternatives, *(m.function for m in exercise.misconceptions)]
        for function in functions:
            try:
                found.append(inspect.getsource(function))
            except (OSError, TypeError):  # a callable object, or made without a file
                continue
    return found


def pairs(assignment: str, written: Sequence[Written], known: Iterable[str]) -> list[Pair]:
    """The pairs of students whose own code is nearly the same, the most alike first."""
    phrases = {phrase for text in known for phrase in _phrases(fingerprint(text).filtered_code)}
    prints = {one.student: fingerprint(one.text) for one in written if len(one.text) >= LEAST}
    for one in prints.values():
        _forget(one, _reference_like(one, phrases))
    holders = Counter(h for one in prints.values() for h in one.hashes)
    many = min(CROWD, max(3, math.ceil(COMMON * len(prints))))
    idioms = {h for h, count in holders.items() if count > many}
    for one in prints.values():
        _forget(one, idioms)
    texts = {one.student: one.text for one in written}
    found = []
    for first, second in _candidates(prints):
        shared, shares, slices = compare_files(prints[first], prints[second])
        if shared >= LEAST and max(shares) >= SHARE:
            both = (float(min(1.0, shares[0])), float(min(1.0, shares[1])))
            marked = (_marked(texts[first], slices[0]), _marked(texts[second], slices[1]))
            found.append(Pair(assignment, (first, second), both, marked))
    return sorted(found, key=lambda pair: (-max(pair.shares), -min(pair.shares), pair.students))[:PAIRS]


def fingerprint(text: str) -> CodeFingerprint:
    """Every run of K signs: nothing is sampled, so the same class gives the same pairs whenever it is looked at."""
    return CodeFingerprint("answer.py", K, 1, fp=io.StringIO(text[:MOST] + "\n"), language="python")


def _phrases(code: str) -> set[str]:
    return {code[at : at + PHRASE] for at in range(len(code) - PHRASE + 1)}


def _reference_like(one: CodeFingerprint, phrases: set[str]) -> set[int]:
    """The runs that are put together of what the course gives, even if in another order."""
    code = one.filtered_code
    known = np.zeros(len(code) + 1, dtype=int)
    for at in range(len(code) - PHRASE + 1):
        if code[at : at + PHRASE] in phrases:
            known[at : at + PHRASE] = 1
    so_far = np.concatenate([[0], np.cumsum(known)])
    return {h for h, places in one.hash_idx.items() if all(so_far[p + K] - so_far[p] >= KNOWN * K for p in places)}


def _forget(one: CodeFingerprint, common: set[int]) -> None:
    one.hashes = one.hashes - common
    one.hash_idx = {h: places for h, places in one.hash_idx.items() if h not in common}
    one.token_coverage = get_token_coverage(one.hash_idx, K, len(one.filtered_code))


def _candidates(prints: Mapping[str, CodeFingerprint]) -> list[tuple[str, str]]:
    """The pairs that share enough to be worth a comparison, without comparing everybody with everybody."""
    holders: dict[int, list[str]] = {}
    for student, one in sorted(prints.items()):
        for h in one.hashes:
            holders.setdefault(h, []).append(student)
    shared = Counter(pair for those in holders.values() if len(those) > 1 for pair in combinations(those, 2))
    least = LEAST - K
    return sorted(pair for pair, count in shared.items() if count >= least / 4)


def _marked(text: str, slices: np.ndarray) -> tuple[tuple[str, bool], ...]:
    """The lines of a text, each with whether it stands in the other one as well, but for names and comments."""
    covered = np.zeros(len(text) + 2, dtype=bool)
    for start, end in np.asarray(slices, dtype=int).T.reshape(-1, 2):
        covered[start:end] = True
    lines, at = [], 0
    for line in text.split("\n"):
        lines.append((line, bool(line.strip()) and bool(covered[at : at + len(line)].mean() > 0.5)))
        at += len(line) + 1
    return tuple(lines)
