"""The laws of self-attention."""

import pytest
import torch

from attnlab.masks import causal_mask, padding_mask
from attnlab.self_attention import SelfAttention, permutation_gap, project_qkv, self_attention

B, T, D_MODEL, D_K, D_V = 2, 5, 7, 3, 11


@pytest.fixture
def weights():
    rng = torch.Generator().manual_seed(0)
    return tuple(torch.randn(D_MODEL, d, generator=rng) for d in (D_K, D_K, D_V))


@pytest.fixture
def x():
    return torch.randn(B, T, D_MODEL, generator=torch.Generator().manual_seed(1))


def test_project_qkv_by_hand():
    x = torch.tensor([[1.0, 2.0]])
    W_q, W_k, W_v = torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[1.0], [1.0]])
    q, k, v = project_qkv(x, W_q, W_k, W_v)
    assert (q.tolist(), k.tolist(), v.tolist()) == ([[1, 2]], [[2, 1]], [[3]])


def test_self_attention_by_hand():
    # Scores are 0 and ln 3 · 1 for the second query: weights 1/4 and 3/4 of the values 8 and 16.
    x = torch.tensor([[0.0, 1.0], [1.0, 2.0]])
    W_q = W_k = torch.tensor([[1.0], [0.0]])
    W_v = torch.tensor([[0.0], [8.0]])
    ln3 = torch.log(torch.tensor(3.0))
    torch.testing.assert_close(self_attention(x, W_q * ln3, W_k, W_v), torch.tensor([[12.0], [14.0]]))


def test_equal_rows_take_the_mean_of_the_values(weights):
    x = torch.randn(D_MODEL).expand(B, T, D_MODEL)
    torch.testing.assert_close(self_attention(x, *weights), x @ weights[2])


def test_self_attention_equals_torch(x, weights):
    q, k, v = (x @ W for W in weights)
    for mask in (None, causal_mask(T, like=x), padding_mask(torch.tensor([3, 5]), T)[:, 0]):
        expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        torch.testing.assert_close(self_attention(x, *weights, mask), expected)


def test_the_module_is_the_function_with_its_matrices_turned_over(x, weights):
    module = SelfAttention(D_MODEL, D_K, D_V)
    module.load_state_dict({f"W_{name}.weight": W.mT for name, W in zip("qkv", weights, strict=True)})
    for mask in (None, causal_mask(T, like=x)):
        torch.testing.assert_close(module(x, mask), self_attention(x, *weights, mask))
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_self_attention_is_permutation_equivariant(x, weights):
    assert permutation_gap(lambda x: self_attention(x, *weights), x) < 1e-5


def test_a_causal_mask_or_positions_give_order_away(x, weights):
    assert permutation_gap(lambda x: self_attention(x, *weights, causal_mask(T, like=x)), x) > 0.1
    places = torch.randn(T, D_MODEL)
    assert permutation_gap(lambda x: self_attention(x + places, *weights), x) > 0.1


def test_permutation_gap_by_hand():
    x = torch.tensor([[0.0], [1.0]])
    assert permutation_gap(lambda x: 3 * x, x) == 0
    assert permutation_gap(lambda x: x.cumsum(dim=-2), x) == 1
    assert permutation_gap(torch.exp, torch.zeros(1, 7)) == 0


def test_permutation_gap_sees_what_a_mere_reversal_hides():
    symmetric = torch.nn.Conv1d(D_MODEL, D_MODEL, 3, padding=1)
    with torch.no_grad():
        symmetric.weight.copy_(symmetric.weight + symmetric.weight.flip(-1))
    x = torch.randn(B, T, D_MODEL)
    assert permutation_gap(lambda x: symmetric(x.mT).mT, x) > 0.1


def test_gradient_of_self_attention():
    x, *weights = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((4, 5), (5, 3), (5, 3), (5, 2)))
    assert torch.autograd.gradcheck(lambda *a: self_attention(*a, causal_mask(4, like=x)), (x, *weights))


def test_awkward_inputs(x, weights):
    before = x.clone()
    expected = self_attention(x, *weights)
    assert torch.equal(x, before)
    torch.testing.assert_close(self_attention(x.mT.contiguous().mT, *weights), expected)
    torch.testing.assert_close(self_attention(x[:, :1], *weights), x[:, :1] @ weights[2])
    assert self_attention(x[:0], *weights).shape == (0, T, D_V)
    nobody = torch.zeros(T, T, dtype=torch.bool)
    assert not self_attention(x, *weights, nobody).any()
    half = self_attention(x.bfloat16(), *(W.bfloat16() for W in weights))
    assert (half.float() - expected).abs().max() < 0.1 * expected.abs().max()
