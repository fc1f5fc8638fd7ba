import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attnlab.alignment import alignment, alignment_error_rate, attention_entropy, rollout
from attnlab.softmax import softmax

both = pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
laws = settings(derandomize=True, max_examples=40, deadline=None)
pairs = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=12)


@both
def test_alignment_takes_the_heaviest_key(kind):
    weights = np.array([[0.2, 0.7, 0.1], [0.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert alignment(kind(weights)) == [(0, 1), (2, 0)]


@both
def test_no_queries_align_with_nothing(kind):
    assert alignment(kind(np.zeros((0, 3)))) == []


def test_error_rate_by_hand():
    predicted = {(0, 0), (1, 1), (2, 2), (3, 0)}
    sure, possible = {(0, 0), (1, 2)}, {(1, 1), (2, 2)}
    # |A∩S| = 1, |A∩P| = 3 with the sure links possible too, |A| + |S| = 6.
    assert alignment_error_rate(predicted, sure, possible) == pytest.approx(1 - 4 / 6)
    assert alignment_error_rate(sorted(predicted), sorted(sure), sorted(possible | sure)) == pytest.approx(1 - 4 / 6)


@laws
@given(pairs, pairs, pairs)
def test_error_rate_lies_between_zero_and_one(predicted, sure, possible):
    assert 0 <= alignment_error_rate(predicted, sure, possible) <= 1
    assert alignment_error_rate(sure, sure, possible) == 0


@laws
@given(pairs, pairs)
def test_without_possible_links_it_is_one_minus_f1(predicted, sure):
    hits = len(predicted & sure)
    total = len(predicted) + len(sure)
    assert alignment_error_rate(predicted, sure, set()) == pytest.approx(1 - 2 * hits / total if total else 0)


def test_predicting_only_possible_links_is_not_punished_but_missing_sure_ones_is():
    assert alignment_error_rate({(0, 1)}, set(), {(0, 1)}) == 0
    assert alignment_error_rate(set(), {(0, 1)}, set()) == 1


@both
def test_entropy_by_hand(kind):
    weights = np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.0] * 4])
    np.testing.assert_allclose(attention_entropy(kind(weights)), [0, np.log(4), np.log(2), 0], atol=1e-15)


@laws
@given(arrays(np.float64, (2, 5, 7), elements=st.floats(-20, 20)))
def test_entropy_is_that_of_torch_and_at_most_log_s(scores):
    weights = softmax(scores)
    expected = torch.distributions.Categorical(probs=torch.as_tensor(weights)).entropy()
    entropy = attention_entropy(weights)
    np.testing.assert_allclose(entropy, expected, atol=1e-9)
    assert (entropy <= np.log(7) + 1e-9).all()


def test_entropy_has_no_nan_gradient_at_zero_weights():
    weights = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    attention_entropy(weights).sum().backward()
    assert weights.grad.isfinite().all()


@both
def test_rollout_by_hand(kind):
    first, second = np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    # ½(W₂ + I) ½(W₁ + I) = [[1, 0], [½, ½]] · [[½, ½], [0, 1]]
    np.testing.assert_allclose(rollout([kind(first), kind(second)]), [[0.5, 0.5], [0.25, 0.75]])


@both
def test_rollout_rows_stay_distributions(kind):
    layers = softmax(np.random.default_rng(0).standard_normal((3, 2, 5, 5)))
    flow = rollout([kind(layer) for layer in layers])
    assert tuple(flow.shape) == (2, 5, 5)
    np.testing.assert_allclose(np.asarray(flow).sum(-1), 1, rtol=1e-12)


def test_rollout_through_attention_to_oneself_changes_nothing():
    np.testing.assert_array_equal(rollout([np.eye(3)] * 4), np.eye(3))


def test_rollout_keeps_causality_and_leaves_its_input_alone():
    weights = np.tril(np.random.default_rng(1).random((5, 5)))
    before = weights.copy()
    assert (np.triu(rollout([weights] * 3), 1) == 0).all()
    np.testing.assert_array_equal(weights, before)


def test_rollout_says_what_it_needs():
    with pytest.raises(ValueError, match="at least one layer, got none"):
        rollout([])


def test_rollout_refuses_cross_attention(monkeypatch):
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"square weights, got \(3, 5\)"):
        rollout([np.ones((3, 5))])
