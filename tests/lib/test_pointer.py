"""Spans and copies by hand and by law; answers that depend on the question, and words that no vocabulary has."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.masks import padding_mask
from attnlab.pointer import (
    Generator,
    PointerGenerator,
    SpanExtractor,
    best_span,
    copy_distribution,
    extended_ids,
    span_loss,
    span_scores,
)
from attnlab.text_encoders import TextEncoder, WindowEncoder

B, T, D = 2, 7, 3


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_span_scores_by_hand():
    """Beginnings score 1, 5, 2 and ends 9, 3, 4: the greedy choice would end before it begins."""
    states = torch.tensor([[[1.0, 9.0], [5.0, 3.0], [2.0, 4.0]]])
    scores = span_scores(states, torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.ones(1, 3).bool())
    inf = math.inf
    assert scores[0].tolist() == [[10, 4, 5], [-inf, 8, 9], [-inf, -inf, 6]]
    assert best_span(scores).tolist() == [[0, 1]]
    assert best_span(scores - torch.tensor([[7.0, 0.0, 0.0]])).tolist() == [[1, 3]]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, 7), st.lists(st.booleans(), min_size=T, max_size=T), st.integers(0, 99))
def test_spans_are_those_that_the_loops_find(max_length, allowed, seed):
    states, w_start, w_end = random(1, T, D, seed=seed), random(D, seed=1), random(D, seed=2)
    scores = span_scores(states, w_start, w_end, torch.tensor([allowed]), max_length)
    found = {}
    for i, j in itertools.product(range(T), repeat=2):
        if i <= j < i + max_length and allowed[i] and allowed[j]:
            found[i, j + 1] = (states[0, i] @ w_start + states[0, j] @ w_end).item()
            assert scores[0, i, j].item() == pytest.approx(found[i, j + 1])
        else:
            assert scores[0, i, j] == -math.inf
    if found:
        assert tuple(best_span(scores)[0].tolist()) == max(found, key=found.get)
    else:
        with pytest.raises(ValueError, match="without any permitted span"):
            best_span(scores)


def test_span_loss_is_a_softmax_over_permitted_spans():
    mask = torch.tensor([[True] * 3 + [False] * 4, [True] * 7])
    scores = span_scores(torch.zeros(B, T, D), torch.zeros(D), torch.zeros(D), mask, max_length=2)
    loss = span_loss(scores, torch.tensor([[0, 2], [6, 7]]))
    assert loss.item() == pytest.approx((math.log(3 + 2) + math.log(7 + 6)) / 2)
    with pytest.raises(ValueError, match="longer than max_length, or outside"):
        span_loss(scores, torch.tensor([[0, 3], [6, 7]]))


def test_gradients_of_spans():
    inputs = [random(*shape, seed=i).requires_grad_() for i, shape in enumerate([(B, T, D), (D,), (D,)])]
    mask, spans = torch.ones(B, T, dtype=torch.bool), torch.tensor([[1, 3], [0, 7]])
    assert torch.autograd.gradcheck(lambda *a: span_loss(span_scores(*a, mask), spans), inputs)


def test_copy_distribution_by_hand():
    """Source "2 5 2" with a vocabulary of 4: word 2 gets both its weights, and 5 is only to be had by copying."""
    P = copy_distribution(
        torch.tensor(0.5),
        torch.tensor([0.1, 0.2, 0.3, 0.4]),
        torch.tensor([0.2, 0.5, 0.3]),
        torch.tensor([2, 5, 2]),
        extended_size=6,
    )
    assert P.tolist() == pytest.approx([0.05, 0.1, 0.15 + 0.25, 0.2, 0, 0.25])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 99))
def test_a_copy_distribution_sums_to_one_and_its_ends_are_pure(seed):
    V, S, L = 11, 5, 3
    vocab_dist, attention = random(B, L, V, seed=seed).softmax(-1), random(B, L, S, seed=seed).softmax(-1)
    source = torch.randint(13, (B, 1, S), generator=torch.Generator().manual_seed(seed))
    p_gen = random(B, L, seed=seed + 1).sigmoid()
    before = vocab_dist.clone()
    P = copy_distribution(p_gen, vocab_dist, attention, source, 13)
    torch.testing.assert_close(P.sum(-1), torch.ones(B, L, dtype=P.dtype))
    one = torch.ones_like(p_gen)
    assert torch.equal(copy_distribution(one, vocab_dist, attention, source, 13)[..., :V], vocab_dist)
    one_hot = torch.nn.functional.one_hot(source[:, 0], 13).to(P.dtype)
    torch.testing.assert_close(copy_distribution(one - 1, vocab_dist, attention, source, 13), attention @ one_hot)
    assert torch.equal(vocab_dist, before)


def test_gradients_of_copying():
    p_gen, vocab_dist, attention = (random(*s, seed=i).requires_grad_() for i, s in enumerate([(B,), (B, 5), (B, 3)]))
    source = torch.tensor([[1, 6, 1], [0, 4, 6]])
    assert torch.autograd.gradcheck(
        lambda p, v, a: copy_distribution(p.sigmoid(), v.softmax(-1), a.softmax(-1), source, 7),
        (p_gen, vocab_dist, attention),
    )


def test_an_extended_size_without_the_sources_words_is_explained():
    with pytest.raises(ValueError, match="cover the vocabulary of 4 words and the ids of the source, got 5"):
        copy_distribution(torch.ones(()), torch.ones(4), torch.ones(1), torch.tensor([5]), 5)


def test_extended_ids_by_hand():
    ids, unknown = extended_ids(["the", "Zog", "and", "Qux", "Zog"], {"the": 0, "and": 1})
    assert (ids, unknown) == ([0, 2, 1, 3, 2], ["Zog", "Qux"])


@pytest.mark.parametrize("model", [Generator(7, 8), PointerGenerator(7, 8)], ids=["writes", "copies"])
def test_every_step_is_a_distribution_that_padding_does_not_change(model):
    source, targets = torch.tensor([[2, 8, 3, 9], [4, 9, 0, 0]]), torch.tensor([[0, 2, 8], [0, 9, 3]])
    P = model(source, torch.tensor([4, 2]), targets, 10)
    torch.testing.assert_close(P.sum(-1), torch.ones(2, 3))
    torch.testing.assert_close(P[1:], model(source[1:, :2], torch.tensor([2]), targets[1:], 10))
    written = model.write(source, torch.tensor([4, 2]), 0, 3, 10)
    read_back = torch.cat([torch.zeros(2, 1, dtype=torch.long), written[:, :-1]], 1)
    assert torch.equal(model(source, torch.tensor([4, 2]), read_back, 10).argmax(-1), written)


def test_an_odd_width_is_explained():
    with pytest.raises(ValueError, match="d_model is even, got 7"):
        PointerGenerator(5, 7)


def questions(n, seed):
    """Token 0 asks for one of four kinds; in the passage stands one name of each kind, of a first and a second word."""
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(20, 30, (n, 17), generator=g)
    starts = torch.stack([torch.randperm(5, generator=g)[:4] * 3 + 1 for _ in range(n)])
    names = torch.arange(4) + 8 * torch.randint(2, (n, 4), generator=g)  # two of each kind
    tokens.scatter_(1, starts, 4 + names).scatter_(1, starts + 1, 8 + names)
    asked = torch.randint(4, (n,), generator=g)
    tokens[:, 0] = 30 + asked
    start = starts[torch.arange(n), asked]
    return tokens, torch.stack([start, start + 2], dim=1)


def exact_match_after_training(model, steps):
    tokens, spans = questions(1024, seed=0)
    mask, passage = padding_mask(torch.full((1024,), 17), 17), torch.arange(17).expand(1024, -1) > 0
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    for step in range(steps):
        batch = slice(step % 16 * 64, step % 16 * 64 + 64)
        loss = span_loss(model(tokens[batch], mask[batch], passage[batch]), spans[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens, spans = questions(256, seed=1)
    return (best_span(model.eval()(tokens, mask[:256], passage[:256])) == spans).all(1).double().mean().item()


@pytest.mark.slow
def test_only_attention_brings_the_question_to_the_answer():
    torch.manual_seed(0)
    attended = exact_match_after_training(SpanExtractor(TextEncoder(34, 32, 2, 2, 64, dropout=0.0), 4), 300)
    windowed = exact_match_after_training(SpanExtractor(WindowEncoder(34, 32), 4), 300)
    assert attended > 0.95
    assert windowed < 0.6


def reports(n, seed):
    """Nine words, of which one, behind word 4, is a name that no vocabulary has; the summary is "5 name 6"."""
    g = torch.Generator().manual_seed(seed)
    source = torch.randint(7, 20, (n, 9), generator=g)
    place = torch.randint(1, 9, (n,), generator=g)
    rows = torch.arange(n)
    name = torch.randint(20, 25, (n,), generator=g)
    other = torch.randint(20, 25, (n,), generator=g)
    source[rows, (place + 4) % 9] = other  # another unknown word, which is not asked for
    source[rows, place], source[rows, place - 1] = name, 4
    five, six = torch.full((n,), 5), torch.full((n,), 6)
    return source, torch.full((n,), 9), torch.stack([five, name, six], dim=1)


def summaries_right_after_training(model, steps):
    source, lengths, summary = reports(512, seed=0)
    begin = torch.zeros(512, 1, dtype=torch.long)
    targets_in = torch.cat([begin, summary[:, :-1]], 1)
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    for step in range(steps):
        batch = slice(step % 8 * 64, step % 8 * 64 + 64)
        P = model(source[batch], lengths[batch], targets_in[batch], 25)
        loss = -P.gather(2, summary[batch][:, :, None]).clamp(min=1e-9).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    source, lengths, summary = reports(256, seed=1)
    return (model.write(source, lengths, 0, 3, 25) == summary).all(1).double().mean().item()


@pytest.mark.slow
def test_only_a_pointer_writes_words_that_the_vocabulary_lacks():
    torch.manual_seed(0)
    copied = summaries_right_after_training(PointerGenerator(20, 24), 200)
    written = summaries_right_after_training(Generator(20, 24), 50)
    assert copied > 0.9
    assert written == 0
