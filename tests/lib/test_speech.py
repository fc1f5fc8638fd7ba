"""Subsampling, location-aware scores, the chunk mask; and where attention and CTC part ways."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attnlab.masks import causal_mask, combine, local_mask
from attnlab.speech import (
    AttentionSpeller,
    CTCRecogniser,
    LocationAwareAttention,
    chunk_mask,
    ctc_collapse,
    ctc_frames_needed,
    location_aware_scores,
    subsample,
)

B, S, D_Q, D_K, D_A, N, WIDTH = 2, 11, 3, 5, 7, 13, 3


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_subsample_by_hand():
    x = torch.tensor([[[1.0], [2.0], [3.0], [4.0], [5.0]], [[6.0], [7.0], [8.0], [-1.0], [-1.0]]])
    stacks, lengths = subsample(x, torch.tensor([5, 3]), 2)
    assert stacks.tolist() == [[[1, 2], [3, 4], [5, 0]], [[6, 7], [8, 0], [0, 0]]]
    assert lengths.tolist() == [3, 2]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 13), st.integers(1, 5), st.data())
def test_subsample_loses_no_real_frame_and_keeps_no_padding(T, factor, data):
    length = data.draw(st.integers(0, T))
    x = random(1, T, 3)
    stacks, lengths = subsample(x, torch.tensor([length]), factor)
    assert stacks.shape == (1, math.ceil(T / factor), 3 * factor)
    assert lengths.item() == math.ceil(length / factor)
    frames = stacks.reshape(-1, 3)
    assert torch.equal(frames[:length], x[0, :length])
    assert (frames[length:] == 0).all()


def test_subsample_refuses_a_factor_of_zero_and_edits_nothing():
    x = random(5, 2, 3).transpose(0, 1)
    before = x.clone()
    subsample(x, torch.tensor([5, 2]), 2)
    assert torch.equal(x, before)
    with pytest.raises(ValueError, match="factor of at least 1"):
        subsample(x, torch.tensor([5, 2]), 0)


def parameters(dtype=torch.float64):
    shapes = [(B, D_Q), (B, S, D_K), (B, S), (D_Q, D_A), (D_K, D_A), (N, D_A), (N, WIDTH), (D_A,)]
    return [random(*shape, seed=i, dtype=dtype) for i, shape in enumerate(shapes)]


def test_location_aware_scores_by_hand():
    """One filter that looks one frame back: a frame scores tanh(weight of the frame before it)."""
    previous = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    scores = location_aware_scores(
        zero, torch.zeros(1, 4, 1), previous, one, one, one, torch.tensor([[1.0, 0.0, 0.0]]), torch.ones(1)
    )
    assert scores[0].tolist() == pytest.approx([0, 0, math.tanh(1), 0])


def test_location_aware_scores_equal_the_formula_in_loops():
    query, keys, previous, W_q, W_k, W_f, filters, v = parameters()
    expected = torch.zeros(B, S, dtype=torch.float64)
    for b in range(B):
        for s in range(S):
            f = torch.zeros(N, dtype=torch.float64)
            for i in range(WIDTH):
                place = s + i - WIDTH // 2
                if 0 <= place < S:
                    f += filters[:, i] * previous[b, place]
            expected[b, s] = v @ torch.tanh(W_q.T @ query[b] + W_k.T @ keys[b, s] + W_f.T @ f)
    actual = location_aware_scores(query, keys, previous, W_q, W_k, W_f, filters, v)
    torch.testing.assert_close(actual, expected)


def test_equal_sounds_are_told_apart_by_the_last_glance_only():
    query, keys, previous, *rest = parameters()
    keys = keys[:, :1].expand(B, S, D_K)  # the same sound at every frame; not contiguous either
    blind = location_aware_scores(query, keys, torch.zeros_like(previous), *rest)
    torch.testing.assert_close(blind, blind[:, :1].expand_as(blind))
    assert location_aware_scores(query, keys, previous, *rest).std(dim=1).min() > 0.1


def test_gradients_of_location_aware_scores():
    inputs = [p.requires_grad_() for p in parameters()]
    assert torch.autograd.gradcheck(location_aware_scores, inputs)


def test_an_even_filter_is_explained():
    query, keys, previous, W_q, W_k, W_f, _, v = parameters()
    with pytest.raises(ValueError, match="odd width, got 4"):
        location_aware_scores(query, keys, previous, W_q, W_k, W_f, random(N, 4), v)


def test_chunk_mask_by_hand():
    expected = [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 0, 1, 1, 1]]
    assert chunk_mask(5, chunk=2, left=1).int().tolist() == expected


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 13), st.integers(1, 7), st.integers(0, 5))
def test_chunk_mask_is_what_its_formula_says(T, chunk, left):
    mask = chunk_mask(T, chunk, left)
    assert mask.shape == (T, T) and mask.dtype == torch.bool
    assert mask.tolist() == [[0 <= t // chunk - s // chunk <= left for s in range(T)] for t in range(T)]


def test_chunk_mask_of_one_frame_is_the_sliding_window_and_of_all_frames_no_mask():
    like = torch.empty(0)
    window = combine(causal_mask(7, like=like), local_mask(7, 7, 2, like=like))
    assert torch.equal(chunk_mask(7, chunk=1, left=2), window)
    assert chunk_mask(7, chunk=7, left=0).all()
    with pytest.raises(ValueError, match="at least 1 frame"):
        chunk_mask(7, chunk=0, left=2)


def test_ctc_collapse_by_hand():
    assert ctc_collapse([0, 3, 3, 0, 3, 5, 5, 0]) == [3, 3, 5]
    assert ctc_collapse([]) == []
    assert ctc_frames_needed([3, 3, 5]) == 4


def test_ctc_cannot_write_more_than_it_has_frames():
    log_p = torch.zeros(4, 1, 7).log_softmax(-1)
    for text in ([3, 3, 5], [3, 3, 5, 2]):
        loss = nn.functional.ctc_loss(log_p, torch.tensor([text]), torch.tensor([4]), torch.tensor([len(text)]))
        assert loss.isfinite() == (ctc_frames_needed(text) <= 4)


@pytest.mark.parametrize("Model", [AttentionSpeller, CTCRecogniser])
def test_padding_never_matters(Model):
    torch.manual_seed(0)
    model = Model(3, 7, 16, factor=2)
    x, lengths = random(2, 11, 3, dtype=torch.float32), torch.tensor([11, 5])
    spoiled = x.clone()
    spoiled[1, 5:] = 1e3
    texts = (torch.tensor([[0, 2, 3], [0, 4, 5]]),) if Model is AttentionSpeller else ()
    clean, dirty = model(x, lengths, *texts), model(spoiled, lengths, *texts)
    alone = model(x[1:, :5], lengths[1:], *(t[1:] for t in texts))
    if Model is CTCRecogniser:
        clean, dirty, alone = clean[0], dirty[0], alone[0]
    assert torch.equal(clean, dirty)
    torch.testing.assert_close(clean[1:, : alone.shape[1]], alone)


def test_weights_are_a_distribution_over_real_frames():
    torch.manual_seed(0)
    attention = LocationAwareAttention(D_Q, D_K, D_A, N, WIDTH)
    mask = torch.arange(S) < torch.tensor([[S], [4]])
    weights = attention(*(p.float() for p in parameters()[:3]), mask)
    torch.testing.assert_close(weights.sum(1), torch.ones(B))
    assert (weights[1, 4:] == 0).all()


def test_transcribing_follows_what_training_computes():
    torch.manual_seed(0)
    model = AttentionSpeller(3, 7, 16, factor=2)
    x, lengths = random(2, 11, 3, dtype=torch.float32), torch.tensor([11, 5])
    texts, alignment = model.transcribe(x, lengths, max_length=5)
    L = alignment.shape[1]
    for b, text in enumerate(texts):
        given_text = torch.tensor([[model.BEGIN, *text][:L]])
        logits = model(x[b : b + 1], lengths[b : b + 1], given_text)
        assert logits.argmax(-1)[0, : len(text)].tolist() == text
    torch.testing.assert_close(alignment.sum(-1), torch.ones(2, L))


def test_an_odd_width_is_explained():
    with pytest.raises(ValueError, match="d_model is even, got 7"):
        CTCRecogniser(3, 5, 7)


def utterances(n, seed, reverse):
    """Each symbol sounds for three to five noisy frames; the text is what was said, or that from its end."""
    g = torch.Generator().manual_seed(seed)
    voices = torch.randn(8, 5, generator=torch.Generator().manual_seed(7))
    L = 4
    symbols = torch.randint(2, 8, (n, L), generator=g)
    durations = torch.randint(3, 6, (n, L), generator=g)
    lengths = durations.sum(1)
    x = torch.zeros(n, int(lengths.max()), 5)
    for b in range(n):
        x[b, : lengths[b]] = voices[symbols[b].repeat_interleave(durations[b])]
    x += 0.1 * torch.randn(x.shape, generator=g)
    return x, lengths, symbols.flip(1) if reverse else symbols


def train(model, loss_of, steps, reverse):
    x, lengths, symbols = utterances(2048, seed=0, reverse=reverse)
    optimizer = torch.optim.Adam(model.parameters(), 0.008)
    g = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = torch.randint(2048, (64,), generator=g)
        loss = loss_of(model, x[batch], lengths[batch], symbols[batch])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def spelling_loss(model, x, lengths, symbols):
    begin, end = torch.full_like(symbols[:, :1], model.BEGIN), torch.full_like(symbols[:, :1], model.END)
    logits = model(x, lengths, torch.cat([begin, symbols], 1))
    return nn.functional.cross_entropy(logits.transpose(1, 2), torch.cat([symbols, end], 1))


def ctc_loss(model, x, lengths, symbols):
    log_p, frames = model(x, lengths)
    sizes = torch.full((len(x),), symbols.shape[1])
    return nn.functional.ctc_loss(log_p.transpose(0, 1), symbols, frames, sizes, zero_infinity=True)


def accuracy(texts, symbols):
    return sum(text == row for text, row in zip(texts, symbols.tolist(), strict=True)) / len(texts)


@pytest.mark.slow
def test_attention_writes_in_any_order_ctc_only_in_the_order_of_the_sound():
    x, lengths, forward = utterances(128, seed=1, reverse=False)
    torch.manual_seed(0)
    ctc, backward_ctc = (CTCRecogniser(5, 8, 32, factor=2) for _ in range(2))
    speller, backward_speller = (AttentionSpeller(5, 8, 32, factor=2) for _ in range(2))
    for model, loss, reverse in [
        (ctc, ctc_loss, False),
        (backward_ctc, ctc_loss, True),
        (speller, spelling_loss, False),
        (backward_speller, spelling_loss, True),
    ]:
        train(model, loss, 250, reverse)
    said = {
        "ctc": accuracy(ctc.transcribe(x, lengths), forward),
        "ctc, reversed": accuracy(backward_ctc.transcribe(x, lengths), forward.flip(1)),
        "attention": accuracy(speller.transcribe(x, lengths, 9)[0], forward),
        "attention, reversed": accuracy(backward_speller.transcribe(x, lengths, 9)[0], forward.flip(1)),
    }
    assert min(said["ctc"], said["attention"], said["attention, reversed"]) > 0.9
    assert said["ctc, reversed"] < said["attention, reversed"] - 0.4
