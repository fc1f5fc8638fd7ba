"""Pooling: hand-solved values, padding, gradients; and attention against the mean on texts of mostly idle words."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attnlab import classification
from attnlab.classification import (
    AttentionPoolClassifier,
    EncoderClassifier,
    MeanPoolClassifier,
    attention_pool_classifier,
    masked_mean,
)
from attnlab.masks import padding_mask
from attnlab.text_encoders import TextEncoder

B, T, D, C = 3, 7, 5, 2
LENGTHS = torch.tensor([7, 2, 0])
MASK = padding_mask(LENGTHS, T)[:, 0, 0]


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_masked_mean_by_hand():
    x = torch.tensor([[[1.0, 10.0], [3.0, 30.0], [99.0, 99.0]]])
    assert masked_mean(x, torch.tensor([[True, True, False]])).tolist() == [[2, 20]]


def test_attention_pool_by_hand():
    """Scores 0 and 1 make weights 1/(1+e) and e/(1+e)."""
    x = torch.tensor([[[0.0, 2.0], [1.0, 4.0], [9.0, 9.0]]])
    mask, w = torch.tensor([[True, True, False]]), torch.tensor([1.0, 0.0])
    weights = classification.pooling_weights(x, mask, w)
    assert weights[0].tolist() == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e), 0])
    logits = attention_pool_classifier(x, mask, w, torch.eye(2), torch.tensor([100.0, 0.0]))
    assert logits[0].tolist() == pytest.approx([100 + math.e / (1 + math.e), (2 + 4 * math.e) / (1 + math.e)])


def test_the_mean_equals_the_loop_and_a_text_without_tokens_is_zero():
    x = random(B, T, D)
    pooled = masked_mean(x, MASK)
    torch.testing.assert_close(pooled[0], x[0].mean(0))
    torch.testing.assert_close(pooled[1], x[1, :2].mean(0))
    assert (pooled[2] == 0).all()


def test_a_query_of_zero_is_the_mean():
    x, W, b = random(B, T, D), random(D, C, seed=1), random(C, seed=2)
    torch.testing.assert_close(
        attention_pool_classifier(x, MASK, torch.zeros(D, dtype=x.dtype), W, b), masked_mean(x, MASK) @ W + b
    )


@pytest.mark.parametrize("junk", [1e6, math.inf, math.nan])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_stands_on_padding_never_matters(junk, dtype):
    x = random(B, T, D, dtype=dtype)
    spoiled = torch.where(MASK[:, :, None], x, junk)
    w, W, b = (random(*shape, seed=3, dtype=dtype) for shape in [(D,), (D, C), (C,)])
    assert torch.equal(masked_mean(x, MASK), masked_mean(spoiled, MASK))
    assert torch.equal(attention_pool_classifier(x, MASK, w, W, b), attention_pool_classifier(spoiled, MASK, w, W, b))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.permutations(range(T)))
def test_order_does_not_matter(order):
    x, w, W, b = random(B, T, D), random(D, seed=1), random(D, C, seed=2), random(C, seed=3)
    torch.testing.assert_close(
        attention_pool_classifier(x[:, order], MASK[:, order], w, W, b), attention_pool_classifier(x, MASK, w, W, b)
    )


def test_gradients():
    x, w, W, b = (random(*s, seed=i).requires_grad_() for i, s in enumerate([(B, T, D), (D,), (D, C), (C,)]))
    assert torch.autograd.gradcheck(lambda *a: attention_pool_classifier(a[0], MASK, *a[1:]), (x, w, W, b))
    assert torch.autograd.gradcheck(lambda x: masked_mean(x, MASK), x)


def test_inputs_stay_as_they_were_and_need_not_be_contiguous():
    x = random(T, B, D).transpose(0, 1)
    before, mask = x.clone(), MASK.clone()
    torch.testing.assert_close(masked_mean(x, mask), masked_mean(x.contiguous(), mask))
    attention_pool_classifier(x, mask, random(D), random(D, C), random(C))
    assert torch.equal(x, before) and torch.equal(mask, MASK)


def texts(n, seed):
    """40 idle words out of 50, and one of two words that decide; half the texts are cut short by padding."""
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(2, 52, (n, 40), generator=g)
    labels = torch.randint(2, (n,), generator=g)
    lengths = torch.randint(20, 41, (n,), generator=g)
    place = (torch.rand(n, generator=g) * lengths).long()
    tokens[torch.arange(n), place] = labels
    mask = padding_mask(lengths, 40)[:, 0, 0]
    return torch.where(mask, tokens, 1 - labels[:, None]), mask, labels, place  # the padding is misleading


def train(model, steps, make=texts):
    tokens, mask, labels, *_ = make(512, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(tokens, mask), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens, mask, labels, *_ = make(512, seed=1)
    return (model.eval()(tokens, mask).argmax(1) == labels).double().mean().item()


@pytest.mark.slow
def test_attention_finds_the_word_that_decides_and_beats_the_mean():
    torch.manual_seed(0)
    attention, mean = AttentionPoolClassifier(52, 2, 17), MeanPoolClassifier(52, 2, 17)
    by_attention, by_mean = train(attention, 60), train(mean, 60)
    tokens, mask, _, place = texts(512, seed=2)
    weights = attention.weights(tokens, mask)
    assert (weights.argmax(1) == place).double().mean() > 0.95
    assert by_attention > 0.97
    assert by_attention > by_mean + 0.1


def negations(n, seed):
    """Word 0, and word 1 in some other place: what counts is which comes first."""
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(2, 13, (n, 11), generator=g)
    places = torch.rand(n, 11, generator=g).argsort(1)[:, :2]
    tokens.scatter_(1, places, torch.tensor([0, 1]).expand(n, 2))
    return tokens, torch.ones(n, 11, dtype=torch.bool), (places[:, 0] < places[:, 1]).long()


@pytest.mark.slow
def test_where_order_decides_only_the_encoder_learns():
    torch.manual_seed(0)
    encoder = EncoderClassifier(TextEncoder(13, 16, 2, 1, 32, dropout=0.0), 2)
    pooled = AttentionPoolClassifier(13, 2, 16)
    assert train(encoder, 80, negations) > 0.9
    assert train(pooled, 80, negations) < 0.65


def test_padding_never_matters_to_the_encoder_either():
    torch.manual_seed(0)
    model = EncoderClassifier(TextEncoder(13, 16, 2, 1, 32), 2).eval()
    nn.init.normal_(model.w)
    tokens = torch.randint(13, (1, 7), generator=torch.Generator().manual_seed(0))
    real = torch.arange(7)[None] < 5
    torch.testing.assert_close(model(tokens, real), model(tokens[:, :5], real[:, :5]))
    weights = model.weights(tokens, real)
    assert (weights[:, 5:] == 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(1))
