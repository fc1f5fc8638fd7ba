"""Labels for pieces of words, the loss over labelled positions; a tagger that needs the whole sentence."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attnlab.encoder import padding_leak
from attnlab.masks import padding_mask
from attnlab.metrics import span_f1
from attnlab.tagging import IGNORE, Tagger, align_labels, tag_loss
from attnlab.text_encoders import TextEncoder, WindowEncoder

B, T, C = 2, 5, 3


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_align_labels_by_hand():
    assert align_labels([5, 7, 3], [None, 0, 1, 1, 2, None]) == [-100, 5, 7, -100, 3, -100]
    assert align_labels([], [None, None]) == [-100, -100]
    assert align_labels([4], [0, 0], ignore=-1) == [4, -1]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4)), max_size=9))
def test_every_word_is_labelled_exactly_once(words):
    labels = [label for label, _ in words]
    word_ids = [None, *(i for i, (_, pieces) in enumerate(words) for _ in range(pieces)), None]
    aligned = align_labels(labels, word_ids)
    assert len(aligned) == len(word_ids)
    assert [label for label in aligned if label != IGNORE] == labels


def test_word_ids_of_another_sentence_are_explained():
    with pytest.raises(ValueError, match=r"belongs to word 2, but only 2 words have labels"):
        align_labels([5, 7], [0, 1, 2])


def test_tag_loss_by_hand():
    logits = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1.0, 1.0, 1.0]]]).log()
    loss = tag_loss(logits, torch.tensor([[0, 1, -100]]))
    assert loss.item() == pytest.approx(-(torch.tensor(0.5).log() + torch.tensor(0.1).log()).item() / 2)


def test_tag_loss_is_that_of_torch_where_there_are_labels():
    logits, labels = random(B, T, C), torch.tensor([[0, 1, 2, -100, 1], [-100, 2, -100, -100, -100]])
    expected = nn.functional.cross_entropy(logits.transpose(1, 2), labels)
    torch.testing.assert_close(tag_loss(logits, labels), expected)


def test_a_batch_without_labels_has_no_loss_and_no_gradient():
    logits = random(B, T, C).requires_grad_()
    loss = tag_loss(logits, torch.full((B, T), -100))
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


def test_more_padding_does_not_change_the_loss():
    logits, labels = random(B, T, C), torch.randint(C, (B, T))
    padded = torch.cat([labels, torch.full((B, 7), -100)], 1)
    torch.testing.assert_close(tag_loss(torch.cat([logits, random(B, 7, C)], 1), padded), tag_loss(logits, labels))


@pytest.mark.parametrize("encoder", [TextEncoder(11, 8, 2), WindowEncoder(11, 8)], ids=["text", "window"])
def test_padding_never_matters(encoder):
    model = Tagger(encoder, C)
    tokens = torch.randint(1, 11, (B, T), generator=torch.Generator().manual_seed(0))
    assert padding_leak(model.eval(), tokens) < 1e-5


TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
PAD, PERSON, PLACE, NAME, SURNAME = range(5)


def sentences(n, seed):
    """The same two-word name is a person or a place; the word that tells stands at the end, far from most names."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(12, 20, (n,), generator=g)
    tokens = torch.randint(5, 40, (n, 19), generator=g)
    labels = torch.zeros(n, 19, dtype=torch.long)
    kinds = torch.randint(2, (n,), generator=g)
    for b in range(n):
        start = int(torch.randint(0, 6, (), generator=g))
        tokens[b, start : start + 2] = torch.tensor([NAME, SURNAME])
        labels[b, start : start + 2] = torch.tensor([1, 2]) + 2 * kinds[b]
        tokens[b, lengths[b] - 1] = PERSON + kinds[b]
    real = padding_mask(lengths, 19)[:, 0, 0]
    return tokens.where(real, PAD), labels.where(real, IGNORE), lengths


def f1_after_training(model, steps):
    tokens, labels, lengths = sentences(512, seed=0)
    mask = padding_mask(lengths, 19)
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    for step in range(steps):
        batch = slice(step % 8 * 64, step % 8 * 64 + 64)
        loss = tag_loss(model(tokens[batch], mask[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens, labels, lengths = sentences(256, seed=1)
    predicted = model.eval()(tokens, padding_mask(lengths, 19)).argmax(-1)
    cut = [(p[:n].tolist(), g[:n].tolist()) for p, g, n in zip(predicted, labels, lengths, strict=True)]
    said, true = ([[TAGS[t] for t in pair[i]] for pair in cut] for i in (0, 1))
    return span_f1(said, true)


@pytest.mark.slow
def test_attention_reads_the_whole_sentence_and_beats_the_window():
    torch.manual_seed(0)
    by_attention = f1_after_training(Tagger(TextEncoder(40, 32, 2, 2, 64, dropout=0.0), 5), 120)
    by_window = f1_after_training(Tagger(WindowEncoder(40, 32), 5), 120)
    assert by_attention > 0.95
    assert by_attention > by_window + 0.25
