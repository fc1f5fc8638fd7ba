"""BLEU, span F1, perplexity and NDCG against hand-solved values, laws, and sacreBLEU, seqeval and scikit-learn."""

import math
import warnings

import pytest
import sacrebleu
import seqeval.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from attnlab import metrics

THE = ["the"] * 7
CAT = ["the", "cat", "is", "on", "the", "mat"]
MAT = ["there", "is", "a", "cat", "on", "the", "mat"]

sentence = st.lists(st.sampled_from("abcd"), max_size=9)
corpus = st.lists(st.tuples(sentence, st.lists(sentence, min_size=2, max_size=2)), min_size=1, max_size=5)


def test_a_repeated_word_counts_as_often_as_one_reference_has_it():
    assert metrics.clipped_matches(THE, [CAT], 1) == 2
    assert metrics.clipped_matches(THE, [CAT, MAT], 1) == 2
    assert metrics.clipped_matches(THE, [CAT], 2) == 0


def test_bleu_by_hand():
    parts = metrics.bleu_parts([list("abcde")], [[list("abcdfg")]])
    assert parts.matches == [4, 3, 2, 1]
    assert parts.totals == [5, 4, 3, 2]
    assert parts.precisions == pytest.approx([80, 75, 200 / 3, 50])
    assert parts.brevity_penalty == pytest.approx(math.exp(1 - 6 / 5))
    assert parts.score == pytest.approx(100 * math.exp(-0.2) * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)


def test_the_first_order_without_a_match_counts_half_the_second_a_quarter():
    assert metrics.smoothed_precisions([3, 1, 0, 0], [4, 3, 2, 1]) == pytest.approx([75, 100 / 3, 25, 25])


def test_a_perfect_corpus_scores_100_and_nothing_in_common_0():
    assert metrics.corpus_bleu([CAT, MAT], [[CAT], [MAT]]) == pytest.approx(100)
    assert metrics.corpus_bleu([["x"] * 5], [[CAT]]) == 0
    assert metrics.corpus_bleu([[]], [[CAT]]) == 0
    assert metrics.corpus_bleu([["the"]], [[["the"]]]) == 0  # no sentence has four tokens
    assert metrics.sentence_bleu(["the"], [["the"]]) == pytest.approx(100)


def test_corpus_bleu_is_not_the_mean_of_sentence_scores():
    hypotheses, references = [CAT, ["the", "dog"]], [[CAT], [["a", "dog", "runs"]]]
    mean = sum(metrics.sentence_bleu(h, r) for h, r in zip(hypotheses, references, strict=True)) / 2
    assert abs(metrics.corpus_bleu(hypotheses, references) - mean) > 5


def test_tokens_may_be_ids():
    assert metrics.corpus_bleu([[5, 7, 2, 3, 11]], [[[5, 7, 2, 3, 13]]]) == metrics.corpus_bleu(
        [list("abcde")], [[list("abcdf")]]
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(corpus)
def test_corpus_bleu_and_its_parts_equal_sacrebleu(pairs):
    hypotheses, references = [h for h, _ in pairs], [r for _, r in pairs]
    streams = [[" ".join(r[i]) for r in references] for i in range(2)]
    theirs = sacrebleu.corpus_bleu([" ".join(h) for h in hypotheses], streams, tokenize="none", force=True)
    ours = metrics.bleu_parts(hypotheses, references)
    assert ours.score == pytest.approx(theirs.score)
    assert ours.score == metrics.corpus_bleu(hypotheses, references)
    assert ours.precisions == pytest.approx(theirs.precisions)
    assert ours.brevity_penalty == pytest.approx(theirs.bp)
    assert (ours.matches, ours.totals) == (theirs.counts, theirs.totals)
    assert (ours.hypothesis_length, ours.reference_length) == (theirs.sys_len, theirs.ref_len)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(sentence, st.lists(sentence, min_size=1, max_size=3))
def test_sentence_bleu_equals_sacrebleu(hypothesis, references):
    theirs = sacrebleu.sentence_bleu(" ".join(hypothesis), [" ".join(r) for r in references], tokenize="none")
    assert metrics.sentence_bleu(hypothesis, references) == pytest.approx(theirs.score)


@pytest.mark.parametrize(
    ("hypotheses", "references", "error", "sentence"),
    [
        ([CAT, MAT], [[CAT]], ValueError, "got 2 hypotheses and 1 lists"),
        (["the cat"], [[CAT]], TypeError, r"hypotheses\[0\] is a string"),
        ([CAT], [CAT], TypeError, r"write \[reference\] where there is only one"),
        ([CAT], [[]], TypeError, r"must be a list of references"),
    ],
)
def test_wrong_texts_are_explained(hypotheses, references, error, sentence):
    with pytest.raises(error, match=sentence):
        metrics.corpus_bleu(hypotheses, references)


GOLD = [["O", "B-PER", "I-PER", "O", "B-LOC"], ["B-MISC", "I-MISC", "I-MISC", "O"]]
SAID = [["O", "B-PER", "I-PER", "O", "B-ORG"], ["B-MISC", "I-MISC", "O", "O"]]

tags = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
tagged = st.lists(st.lists(st.tuples(tags, tags), min_size=1, max_size=9), min_size=1, max_size=4)


def test_spans_by_hand():
    assert metrics.spans(["B-PER", "I-PER", "B-PER", "O", "I-LOC"]) == {("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 5)}
    assert metrics.spans(["B-PER", "I-LOC", "I-LOC"]) == {("PER", 0, 1), ("LOC", 1, 3)}
    assert metrics.spans([]) == set()


def test_a_class_may_have_a_hyphen():
    assert metrics.spans(["B-work-of-art", "I-work-of-art"]) == {("work-of-art", 0, 2)}


def test_a_span_found_in_part_earns_nothing():
    report = metrics.span_report(SAID, GOLD)
    assert report["PER"] == (1, 1, 1, 1)
    assert report["MISC"] == report["LOC"] == (0, 0, 0, 1)
    assert report["ORG"] == (0, 0, 0, 0)
    assert report["micro avg"] == pytest.approx((1 / 3, 1 / 3, 1 / 3, 3))
    assert metrics.span_f1(SAID, GOLD) == pytest.approx(1 / 3)


def test_a_tagger_that_says_o_has_high_token_accuracy_and_no_f1():
    gold = [["O"] * 30 + ["B-PER"]]
    assert metrics.span_f1([["O"] * 31], gold) == 0


def test_nothing_to_find_and_nothing_found():
    assert metrics.span_f1([["O", "O"]], [["O", "O"]]) == 0
    assert metrics.span_report([], [])["macro avg"] == (0, 0, 0, 0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(tagged)
def test_span_report_equals_seqeval(sentences):
    predicted = [[p for p, _ in pairs] for pairs in sentences]
    gold = [[g for _, g in pairs] for pairs in sentences]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns of classes that nobody predicted
        theirs = seqeval.metrics.classification_report(gold, predicted, output_dict=True, zero_division=0)
        f1 = seqeval.metrics.f1_score(gold, predicted, zero_division=0)
    ours = metrics.span_report(predicted, gold)
    assert ours.keys() == theirs.keys()
    assert metrics.span_f1(predicted, gold) == pytest.approx(f1)
    if not any(metrics.spans(t) for t in predicted + gold):  # seqeval divides zero by zero there
        assert set(ours.values()) == {(0, 0, 0, 0)}
        return
    for name, row in theirs.items():
        assert ours[name] == pytest.approx(tuple(float(x) for x in row.values())), name


def test_the_table_is_printed_as_seqeval_prints_it():
    theirs = seqeval.metrics.classification_report(GOLD, SAID, zero_division=0)
    assert metrics.span_table(SAID, GOLD).split("\n") == theirs.rstrip("\n").split("\n")


def test_wrong_tags_are_explained():
    with pytest.raises(ValueError, match=r"same sentences and lengths, got \[2\] and \[3\]"):
        metrics.span_f1([["O", "O"]], [["O", "O", "O"]])
    with pytest.raises(ValueError, match=r"Tag 1 must be 'O', 'B-…' or 'I-…' \(IOB2\), got 'PER'"):
        metrics.spans(["O", "PER"])


def test_perplexity_of_a_model_that_hesitates_evenly_is_the_size_of_the_alphabet():
    assert metrics.perplexity(torch.zeros(2, 3, 7), torch.ones(2, 3, dtype=torch.long)) == pytest.approx(7)


def test_perplexity_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).log()
    assert metrics.perplexity(logits, torch.tensor([0, 1])) == pytest.approx((1 / 0.5 * 1 / 0.1) ** 0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ignored_targets_do_not_count(dtype):
    logits = torch.randn(5, 11, generator=torch.Generator().manual_seed(0)).to(dtype)
    targets = torch.tensor([3, -100, 7, -100, 0])
    kept = targets != -100
    assert metrics.perplexity(logits, targets) == pytest.approx(metrics.perplexity(logits[kept], targets[kept]))
    assert metrics.total_nll(logits, targets)[1] == 3


def test_batches_of_unequal_size_add_up():
    logits = torch.randn(5, 11, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([3, 1, 7, 4, 0])
    nll, count = (
        sum(x)
        for x in zip(*(metrics.total_nll(logits[s], targets[s]) for s in (slice(0, 3), slice(3, 5))), strict=True)
    )
    assert math.exp(nll / count) == pytest.approx(metrics.perplexity(logits, targets))


def test_bits_per_character_is_log2_of_the_perplexity_of_a_character_model():
    logits = torch.randn(5, 11, generator=torch.Generator().manual_seed(2))
    targets = torch.tensor([3, 1, 7, 4, 0])
    bits = metrics.bits_per_character(*metrics.total_nll(logits, targets))
    assert bits == pytest.approx(math.log2(metrics.perplexity(logits, targets)))
    assert metrics.bits_per_character(math.log(8), 1) == pytest.approx(3)


def test_no_target_is_explained():
    with pytest.raises(ValueError, match="at least one target"):
        metrics.perplexity(torch.zeros(3, 5), torch.full((3,), -100))
    with pytest.raises(ValueError, match="at least one character"):
        metrics.bits_per_character(1.0, 0)


SCORES = torch.tensor([[0.1, 0.9, 0.5, 0.3], [0.9, 0.1, 0.5, 0.3]])


def test_ndcg_by_hand():
    targets = torch.tensor([2, 1])
    assert metrics.ranks(SCORES, targets).tolist() == [2, 4]
    assert metrics.ndcg_at_k(SCORES, targets, 4) == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / 2)
    assert metrics.ndcg_at_k(SCORES, targets, 3) == pytest.approx(1 / math.log2(3) / 2)
    assert metrics.hit_rate_at_k(SCORES, targets, 2) == 0.5
    assert metrics.hit_rate_at_k(SCORES, targets, 1) == 0


def test_a_model_that_scores_all_items_alike_is_not_perfect():
    assert metrics.ranks(torch.zeros(1, 7), torch.tensor([3])).tolist() == [7]


def test_an_item_that_is_ruled_out_is_never_recommended():
    scores = SCORES.clone()
    scores[:, 1] = -torch.inf
    assert metrics.ranks(scores, torch.tensor([1, 0])).tolist() == [4, 1]


@pytest.mark.parametrize("k", [1, 3, 10, 23])
def test_ndcg_equals_scikit_learn(k):
    generator = torch.Generator().manual_seed(k)
    scores = torch.randn(13, 23, generator=generator)
    targets = torch.randint(23, (13,), generator=generator)
    relevant = torch.nn.functional.one_hot(targets, 23)
    assert metrics.ndcg_at_k(scores, targets, k) == pytest.approx(ndcg_score(relevant, scores, k=k))


def test_nan_is_not_a_rank():
    with pytest.raises(ValueError, match="has the training diverged"):
        metrics.ranks(torch.full((1, 3), torch.nan), torch.tensor([0]))
