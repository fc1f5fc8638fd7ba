import numpy as np
import pytest
import torch

from attnlab.additive import AdditiveAttention, additive_attention, additive_scores, value_attention

both = pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
B, T, S, D_Q, D_K, D_HIDDEN, D_V = 2, 3, 5, 7, 11, 13, 17


def draw():
    rng = np.random.default_rng(0)
    shapes = [(B, T, D_Q), (B, S, D_K), (B, S, D_V), (D_Q, D_HIDDEN), (D_K, D_HIDDEN), (D_HIDDEN,)]
    return [rng.standard_normal(shape) for shape in shapes]


@both
def test_value_attention_by_hand(kind):
    # Scores 0 and log 3, so weights 1/4 and 3/4.
    values = kind(np.array([[0.0, 4.0], [np.log(3), 8.0]]))
    out = value_attention(values, kind(np.array([1.0, 0.0])), 5.0)
    np.testing.assert_allclose(out, [0.75 * np.log(3), 7.0], rtol=1e-12)


@both
def test_value_attention_weighs_positions_of_each_sequence(kind):
    rng = np.random.default_rng(1)
    values, w = rng.standard_normal((B, S, D_V)), rng.standard_normal(D_V)
    out = value_attention(kind(values), kind(w), kind(np.array(0.3)))
    for b in range(B):
        alpha = np.exp(values[b] @ w)
        np.testing.assert_allclose(out[b], alpha / alpha.sum() @ values[b], rtol=1e-10)


@both
def test_value_attention_ignores_padding_and_an_empty_sequence_gives_zeros(kind):
    rng = np.random.default_rng(2)
    values, w = rng.standard_normal((B, S, D_V)), rng.standard_normal(D_V)
    mask = np.array([[True, True, False, False, False], [False] * 5])
    out = value_attention(kind(values), kind(w), 0.0, kind(mask))
    np.testing.assert_allclose(out[0], value_attention(values[0, :2], w, 0.0), rtol=1e-10)
    assert out[1].tolist() == [0.0] * D_V


@both
def test_additive_scores_by_hand(kind):
    one = kind(np.array([[1.0]]))
    scores = additive_scores(one, kind(np.array([[0.0], [-1.0]])), one, one, kind(np.array([2.0])))
    np.testing.assert_allclose(scores, [[2 * np.tanh(1), 0.0]], rtol=1e-12)


@both
def test_additive_scores_compare_all_pairs(kind):
    q, k, _, W_q, W_k, v = draw()
    scores = additive_scores(*map(kind, (q, k, W_q, W_k, v)))
    for b, t, s in np.ndindex(B, T, S):
        expected = sum(v[h] * np.tanh(q[b, t] @ W_q[:, h] + k[b, s] @ W_k[:, h]) for h in range(D_HIDDEN))
        np.testing.assert_allclose(scores[b, t, s], expected, rtol=1e-10)


@both
def test_attention_averages_the_values_over_permitted_keys(kind):
    q, k, values, W_q, W_k, v = draw()
    mask = np.random.default_rng(3).random((B, T, S)) < 0.5
    mask[0, 1], mask[1, 2] = False, [False, False, True, False, False]
    out = additive_attention(*map(kind, (q, k, values, W_q, W_k, v, mask)))
    alpha = np.exp(additive_scores(q, k, W_q, W_k, v)) * mask
    alpha /= np.maximum(alpha.sum(-1, keepdims=True), 1e-300)
    np.testing.assert_allclose(out, np.einsum("bts,bsd->btd", alpha, values), rtol=1e-10)
    assert out[0, 1].tolist() == [0.0] * D_V
    np.testing.assert_allclose(out[1, 2], values[1, 2], rtol=1e-12)


@both
def test_attention_does_not_care_for_the_order_of_keys(kind):
    q, k, values, W_q, W_k, v = draw()
    order = np.array([3, 0, 4, 1, 2])
    shuffled = additive_attention(*map(kind, (q, k[:, order], values[:, order], W_q, W_k, v)))
    np.testing.assert_allclose(shuffled, additive_attention(q, k, values, W_q, W_k, v), rtol=1e-10)


def test_module_equals_the_function_with_its_weights():
    q, k, values, *_ = (torch.as_tensor(x, dtype=torch.float32) for x in draw())
    torch.manual_seed(4)
    module = AdditiveAttention(D_Q, D_K, D_HIDDEN)
    mask = torch.rand(B, 1, S) < 0.7
    parameters = module.W_q.weight.T, module.W_k.weight.T, module.v.weight[0]
    expected = additive_attention(q, k, values, *parameters, mask)
    torch.testing.assert_close(module(q, k, values, mask), expected)
    torch.testing.assert_close(module.weights(q, k, mask) @ values, expected)
    assert sum(p.numel() for p in module.parameters()) == (D_Q + D_K + 1) * D_HIDDEN


def test_gradcheck():
    q, k, values, W_q, W_k, v = (torch.as_tensor(x[..., :3]).requires_grad_() for x in draw())
    mask = torch.tensor([[True, False, True, True, False], [False] * 5, [True] * 5])
    W_q, W_k = (torch.as_tensor(W[:3, :3]).requires_grad_() for W in (draw()[3], draw()[4]))
    assert torch.autograd.gradcheck(additive_attention, (q, k, values, W_q, W_k, v, mask))


def test_nothing_passed_in_is_edited():
    arguments, before = draw(), draw()
    additive_attention(*arguments, np.zeros((B, T, S), bool))
    for x, y in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(x, y)
