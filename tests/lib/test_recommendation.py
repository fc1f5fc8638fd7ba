"""The split that keeps the future out, the loss, and SASRec against popularity on histories that follow a rule."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab import recommendation
from attnlab.metrics import ndcg_at_k
from attnlab.recommendation import (
    SASRec,
    leave_one_out,
    pad_histories,
    popularity,
    rule_out,
    sample_negatives,
    sasrec_loss,
)

histories = st.lists(st.lists(st.integers(1, 13), max_size=9), max_size=7)


def test_leave_one_out_by_hand():
    split = leave_one_out([[3, 1, 4, 1, 5], [9, 2], (2, 6, 5)])
    assert split.train == [[3, 1, 4], [9, 2], [2]]
    assert split.validation == [([3, 1, 4], 1), ([2], 6)]
    assert split.test == [([3, 1, 4, 1], 5), ([2, 6], 5)]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(histories)
def test_no_answer_is_in_what_the_model_may_see(given_histories):
    split = leave_one_out(given_histories)
    long = [h for h in given_histories if len(h) >= 3]
    assert [[*h, a] for h, a in split.test] == long
    assert [[*h, a] for h, a in split.validation] == [h[:-1] for h in long]
    assert sum(map(len, split.train)) == sum(map(len, given_histories)) - 2 * len(long)


def test_pad_histories_keeps_the_latest():
    items, lengths = pad_histories([[1, 2, 3, 4], [5]], max_length=3)
    assert items.tolist() == [[2, 3, 4], [5, 0, 0]]
    assert lengths.tolist() == [3, 1]
    assert pad_histories([], 3)[0].shape == (0, 0)


def test_negatives_are_new_to_the_user_and_never_padding():
    items = torch.tensor([[1, 2, 3, 4, 5], [7, 7, 0, 0, 0]])
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        negatives = sample_negatives(items, 7, generator)
        assert set(negatives[0].tolist()) <= {6, 7}
        assert set(negatives[1].tolist()) <= {1, 2, 3, 4, 5, 6}
    with pytest.raises(ValueError, match="has seen all 5 items"):
        sample_negatives(items[:1], 5)


def test_sasrec_loss_by_hand():
    mask = torch.tensor([[True, True, False]])
    positive, negative = torch.tensor([[0.0, math.log(3), 99.0]]), torch.tensor([[0.0, math.log(3), 99.0]])
    expected = -(math.log(0.5) + math.log(0.5) + math.log(0.75) + math.log(0.25)) / 2
    assert sasrec_loss(positive, negative, mask).item() == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_scores_and_no_places(dtype):
    far = torch.tensor([[1e4]], dtype=dtype)
    assert sasrec_loss(far, -far, torch.tensor([[True]])).item() == 0
    assert sasrec_loss(-far, far, torch.tensor([[True]])).item() == pytest.approx(2e4)
    assert sasrec_loss(far, far, torch.tensor([[False]])).item() == 0


def test_gradient_of_the_loss():
    g = torch.Generator().manual_seed(0)
    scores = [torch.randn(2, 5, dtype=torch.float64, generator=g).requires_grad_() for _ in range(2)]
    mask = torch.rand(2, 5, generator=g) < 0.7
    assert torch.autograd.gradcheck(lambda p, n: sasrec_loss(p, n, mask), scores)


def test_popularity_counts_and_ruling_out_copies():
    scores = popularity([[1, 2, 2], [2, 4]], num_items=5)
    assert scores.tolist() == [-math.inf, 1, 3, 0, 1, 0]
    both = scores.expand(2, -1)
    assert rule_out(both, [[2], []])[:, 2].tolist() == [-math.inf, 3]
    assert scores[2] == 3


def test_the_future_and_padding_never_matter():
    torch.manual_seed(0)
    model = SASRec(13, 7, 8, 2, 2).eval()
    items, lengths = pad_histories([[1, 2, 3, 4, 5], [6, 7]], 7)
    states = model(items, recommendation.history_mask(lengths, 5))
    changed = torch.tensor([[1, 2, 3, 9, 10], [6, 7, 11, 12, 13]])
    others = model(changed, recommendation.history_mask(lengths, 5))
    torch.testing.assert_close(states[0, :3], others[0, :3])
    torch.testing.assert_close(states[1, :2], others[1, :2])
    assert not torch.allclose(states[0, 3:], others[0, 3:])


def test_scores_of_all_items_are_those_of_the_last_real_place():
    torch.manual_seed(0)
    model = SASRec(13, 7, 8, 2, 2).eval()
    together = model.score_all([[1, 2, 3, 4, 5], [6, 7]])
    torch.testing.assert_close(together[1:], model.score_all([[6, 7]]))
    assert together.shape == (2, 14) and (together[:, 0] == -math.inf).all()
    items, lengths = pad_histories([[6, 7]], 7)
    states = model(items, recommendation.history_mask(lengths, 2))
    torch.testing.assert_close(together[1, 9], model.score(states, torch.tensor([[9, 9]]))[0, 1])


def users(n, seed):
    """Each user walks along one of three circles of thirteen items, and once takes something that everybody likes."""
    g = torch.Generator().manual_seed(seed)
    circle = torch.randint(3, (n,), generator=g).tolist()
    start = torch.randint(13, (n,), generator=g).tolist()
    length = torch.randint(6, 13, (n,), generator=g).tolist()
    liked = torch.randint(40, 43, (n,), generator=g).tolist()
    walks = [[1 + 13 * c + (s + t) % 13 for t in range(k)] for c, s, k in zip(circle, start, length, strict=True)]
    places = [int(torch.randint(k - 2, (), generator=g)) for k in length]
    return [[*walk[:p], item, *walk[p:]] for walk, p, item in zip(walks, places, liked, strict=True)]


@pytest.mark.slow
def test_sasrec_learns_the_walk_and_beats_popularity():
    torch.manual_seed(0)
    split = leave_one_out(users(512, seed=0))
    model = SASRec(42, 12, 32, 2, 2, dropout=0.0)
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    items, lengths = pad_histories(split.train, 13)
    inputs, targets = items[:, :-1], items[:, 1:]
    mask = recommendation.history_mask((lengths - 1), inputs.shape[1])
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        batch = torch.randint(512, (128,), generator=generator)
        states = model(inputs[batch], mask[batch])
        negatives = sample_negatives(items[batch], 42, generator)[:, 1:]
        positive, negative = model.score(states, targets[batch]), model.score(states, negatives)
        loss = sasrec_loss(positive, negative, targets[batch] != 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    seen, answers = [h for h, _ in split.test], torch.tensor([a for _, a in split.test])
    by_attention = ndcg_at_k(rule_out(model.eval().score_all(seen), seen), answers, 5)
    by_popularity = ndcg_at_k(rule_out(popularity(split.train, 42).expand(len(seen), -1), seen), answers, 5)
    assert by_attention > 0.9
    assert by_attention > by_popularity + 0.4
