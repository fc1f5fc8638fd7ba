"""Four scores, each taken apart: BLEU for texts, span F1 for tags, perplexity for models, NDCG for rankings.

    translation      corpus_bleu, sentence_bleu            equal to sacreBLEU
    tagging          spans, span_f1, span_report           equal to seqeval
    language models  perplexity, bits_per_character
    recommendation   ranks, ndcg_at_k, hit_rate_at_k       over *all* items

Everywhere the prediction is the first argument and the truth the second.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy

from attnlab.shapes import Float, Int, Tensor

Tokens = Sequence[Hashable]
Tags = Sequence[str]


# --- BLEU ---------------------------------------------------------------------------------------------------------


class Bleu(NamedTuple):
    """BLEU and what it is made of; ``score`` and ``precisions`` run from 0 to 100."""

    score: float
    precisions: list[float]
    brevity_penalty: float
    matches: list[int]
    totals: list[int]
    hypothesis_length: int
    reference_length: int


def ngrams(tokens: Tokens, n: int) -> Counter:
    """How often each run of ``n`` tokens occurs."""
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def clipped_matches(hypothesis: Tokens, references: Sequence[Tokens], n: int) -> int:
    """The n-grams of the hypothesis that some reference has, each counted at most as often as that reference has it."""
    allowed: Counter = Counter()
    for reference in references:
        allowed |= ngrams(reference, n)
    return (ngrams(hypothesis, n) & allowed).total()


def brevity_penalty(hypothesis_length: int, reference_length: int) -> float:
    """1 for a text that is long enough, exp(1 - r/c) for one of c tokens where r are expected."""
    if hypothesis_length >= reference_length:
        return 1.0
    return math.exp(1 - reference_length / hypothesis_length) if hypothesis_length else 0.0


def smoothed_precisions(matches: Sequence[int], totals: Sequence[int]) -> list[float]:
    """matches / totals in percent; the i-th order without a match counts as 1 / 2^i of one match ("exp")."""
    precisions, empty_orders = [], 0
    for matched, total in zip(matches, totals, strict=True):
        empty_orders += total > 0 and matched == 0
        precisions.append(100 * (matched or 0.5**empty_orders) / total if total else 0.0)
    return precisions


def bleu_parts(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]], *, max_order: int = 4) -> Bleu:
    """BLEU of a whole corpus, with its parts.

        BLEU = BP · exp( (1/4) Σ_n log p_n ),   p_n = Σ_sentences clipped matches / Σ_sentences n-grams

    The counts are added up over the corpus *before* the division: the mean of sentence scores is another number.
    ``hypotheses`` are lists of tokens; ``references[i]`` is the *list* of references of ``hypotheses[i]``.

    BLEU depends on how text is cut into tokens, so nothing is cut here: give the tokens. The result equals
    ``sacrebleu.corpus_bleu(…, tokenize="none")`` on the tokens joined by spaces, including its smoothing ("exp", for
    orders without a match), which the paper does not have; to equal sacreBLEU's default, cut as its "13a" does.

    Papineni, Roukos, Ward, Zhu, 2002, "BLEU: a method for automatic evaluation of machine translation".
    Post, 2018, "A call for clarity in reporting BLEU scores".
    """
    _check_texts(hypotheses, references)
    orders = range(1, max_order + 1)
    pairs = list(zip(hypotheses, references, strict=True))

    matches = [sum(clipped_matches(h, rs, n) for h, rs in pairs) for n in orders]
    totals = [sum(max(len(h) - n + 1, 0) for h in hypotheses) for n in orders]
    c = sum(len(h) for h in hypotheses)
    r = sum(min((abs(len(ref) - len(h)), len(ref)) for ref in rs)[1] for h, rs in pairs)  # the closest, else shortest

    BP = brevity_penalty(c, r)
    if not any(matches):  # nothing in common: no smoothing can help
        return Bleu(0.0, [0.0] * max_order, BP, matches, totals, c, r)
    precisions = smoothed_precisions(matches, totals)
    if 0.0 in precisions:  # the corpus has no n-gram of some order at all
        return Bleu(0.0, precisions, BP, matches, totals, c, r)
    score = BP * math.exp(sum(math.log(p) for p in precisions) / max_order)
    return Bleu(score, precisions, BP, matches, totals, c, r)


def corpus_bleu(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> float:
    """BLEU of a corpus from 0 to 100: ``bleu_parts(hypotheses, references).score``."""
    return bleu_parts(hypotheses, references).score


def sentence_bleu(hypothesis: Tokens, references: Sequence[Tokens]) -> float:
    """BLEU of one sentence, over the orders that it is long enough for, as sacreBLEU's ``sentence_bleu``."""
    return bleu_parts([hypothesis], [references], max_order=max(1, min(4, len(hypothesis)))).score


def _check_texts(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> None:
    if len(hypotheses) != len(references):
        raise ValueError(
            f"BLEU needs one list of references for each hypothesis, got {len(hypotheses)} hypotheses and "
            f"{len(references)} lists of references."
        )
    for i, (hypothesis, several) in enumerate(zip(hypotheses, references, strict=True)):
        if isinstance(hypothesis, str):
            raise TypeError(f"hypotheses[{i}] is a string: BLEU counts tokens, so cut it first, e.g. with .split().")
        if not several or any(isinstance(reference, str | int) for reference in several):
            raise TypeError(
                f"references[{i}] must be a list of references, each a list of tokens, got {several!r}: "
                "write [reference] where there is only one."
            )


# --- Spans --------------------------------------------------------------------------------------------------------


class SpanScores(NamedTuple):
    """What one line of the report says; ``support`` counts the true spans."""

    precision: float
    recall: float
    f1: float
    support: int


def spans(tags: Tags) -> set[tuple[str, int, int]]:
    """The named spans of one tagged sentence, as (class, start, end) with ``end`` not included.

    A span opens at ``B-X``, and also at an ``I-X`` that continues nothing: after ``O``, or after another class. That is
    how CoNLL's own script and seqeval by default read IOB2 (seqeval's *strict* mode drops such spans).
    """
    found, label, start = set(), None, 0
    for t, tag in enumerate([*tags, "O"]):
        prefix, _, new_label = tag.partition("-")
        if not (tag == "O" or (prefix in ("B", "I") and new_label)):
            raise ValueError(f"Tag {t} must be 'O', 'B-…' or 'I-…' (IOB2), got {tag!r}.")
        if label is not None and (prefix != "I" or new_label != label):
            found.add((label, start, t))
            label = None
        if label is None and tag != "O":
            label, start = new_label, t
    return found


def span_report(predicted: Sequence[Tags], gold: Sequence[Tags]) -> dict[str, SpanScores]:
    """Precision, recall and F1 by class, then "micro avg", "macro avg" and "weighted avg", as seqeval has them.

    A predicted span is right when its class, its start and its end are; nothing is given for a part of it. Where
    nothing was predicted (or nothing is there to find) the score is 0.

    Tjong Kim Sang and De Meulder, 2003, "Introduction to the CoNLL-2003 shared task".
    """
    _check_tags(predicted, gold)
    predicted_spans = {(i, *span) for i, tags in enumerate(predicted) for span in spans(tags)}
    gold_spans = {(i, *span) for i, tags in enumerate(gold) for span in spans(tags)}
    right, said, true = (
        Counter(label for _, label, _, _ in group)
        for group in (predicted_spans & gold_spans, predicted_spans, gold_spans)
    )
    classes = sorted(said | true)
    report = {label: _scores(right[label], said[label], true[label]) for label in classes}

    by_class, support = list(report.values()), true.total()
    report["micro avg"] = _scores(right.total(), said.total(), support)
    report["macro avg"] = _average(by_class, [1 / len(classes) for _ in classes], support)
    report["weighted avg"] = _average(by_class, [s.support / max(support, 1) for s in by_class], support)
    return report


def span_f1(predicted: Sequence[Tags], gold: Sequence[Tags]) -> float:
    """F1 over the spans of all classes together (micro average), from 0 to 1: the number to report for tagging."""
    return span_report(predicted, gold)["micro avg"].f1


def span_table(predicted: Sequence[Tags], gold: Sequence[Tags], digits: int = 2) -> str:
    """``span_report`` as text, line by line as seqeval's ``classification_report`` prints it."""
    report = span_report(predicted, gold)
    width = max(len("weighted avg"), digits, *map(len, report))
    head = f"{'':>{width}s}  {'precision':>9} {'recall':>9} {'f1-score':>9} {'support':>9}\n"
    lines = [
        f"{name:>{width}s}  {p:>9.{digits}f} {r:>9.{digits}f} {f1:>9.{digits}f} {support:>9}"
        for name, (p, r, f1, support) in report.items()
    ]
    return "\n".join([head, *lines[:-3], "", *lines[-3:]])


def _scores(right: int, said: int, true: int) -> SpanScores:
    return SpanScores(
        precision=right / said if said else 0.0,
        recall=right / true if true else 0.0,
        f1=2 * right / (said + true) if right else 0.0,
        support=true,
    )


def _average(by_class: list[SpanScores], shares: list[float], support: int) -> SpanScores:
    pairs = list(zip(shares, by_class, strict=True))
    return SpanScores(
        precision=sum(share * s.precision for share, s in pairs),
        recall=sum(share * s.recall for share, s in pairs),
        f1=sum(share * s.f1 for share, s in pairs),
        support=support,
    )


def _check_tags(predicted: Sequence[Tags], gold: Sequence[Tags]) -> None:
    lengths = [len(tags) for tags in predicted], [len(tags) for tags in gold]
    if lengths[0] != lengths[1]:
        raise ValueError(
            f"Predicted and gold tags must have the same sentences and lengths, got {lengths[0]} and {lengths[1]} tags."
        )


# --- Language models ----------------------------------------------------------------------------------------------


def total_nll(
    logits: Float[Tensor, "*batch V"], targets: Int[Tensor, "*batch"], ignore_index: int = -100
) -> tuple[float, int]:
    """-Σ log p(target) in nats and the number of targets; positions whose target is ``ignore_index`` are left out.

    Over several batches add up both and divide at the end: the mean of the batches' means is another number.
    """
    flat = targets.flatten()
    nll = cross_entropy(logits.flatten(0, -2).double(), flat, ignore_index=ignore_index, reduction="sum")
    return nll.item(), int((flat != ignore_index).sum())


def perplexity(logits: Float[Tensor, "*batch V"], targets: Int[Tensor, "*batch"], ignore_index: int = -100) -> float:
    """exp( -(1/N) Σ log p(target) ): between how many equally likely symbols the model hesitates.

    1 for a model that knows, V for one that spreads its bets evenly. N counts the targets that are not ignored.
    """
    nll, count = total_nll(logits, targets, ignore_index)
    if count == 0:
        raise ValueError(f"Perplexity needs at least one target, got {tuple(targets.shape)} with all of them ignored.")
    return math.exp(nll / count)


def bits_per_character(nll: float, characters: int) -> float:
    """nll / (ln 2 · characters), with ``nll`` in nats over the whole text: comparable between any two models of a text.

    Models that cut the text differently have different perplexities for the same knowledge; this has no such trap.
    """
    if characters < 1:
        raise ValueError(f"bits_per_character needs a text of at least one character, got {characters}.")
    return nll / (math.log(2) * characters)


# --- Ranking ------------------------------------------------------------------------------------------------------


def ranks(scores: Float[Tensor, "B items"], targets: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
    """The place of each target among *all* items, 1 the best; among equal scores the target comes last.

    (With ties to the target's favour, a model that gives every item the same score would be perfect.)
    """
    if scores.isnan().any():
        raise ValueError("Scores must be numbers to rank by, got NaN: has the training diverged?")
    target_scores = scores.gather(1, targets[:, None])
    return (scores >= target_scores).sum(dim=1)


def ndcg_at_k(scores: Float[Tensor, "B items"], targets: Int[Tensor, "B"], k: int) -> float:
    """Mean of 1 / log2(1 + rank), 0 where rank > k: with one relevant item the best possible gain is 1.

    ``scores`` cover the whole catalogue. Ranking the target among 100 sampled items instead, as was the custom, can
    reverse the order of two models. Give -inf to items that must not be recommended again.

    Järvelin and Kekäläinen, 2002, "Cumulated gain-based evaluation of IR techniques".
    Krichene and Rendle, 2020, "On sampled metrics for item recommendation".
    """
    place = ranks(scores, targets)
    gain = 1 / torch.log2(1 + place.double())
    return torch.where(place <= k, gain, 0).mean().item()


def hit_rate_at_k(scores: Float[Tensor, "B items"], targets: Int[Tensor, "B"], k: int) -> float:
    """The share of targets among the k best of all items."""
    return (ranks(scores, targets) <= k).double().mean().item()
