"""The laws of causal attention with its own backward."""

import pytest
import torch

from attnlab.causal_attention import causal_attention
from attnlab.dot_product import scaled_dot_product_attention
from attnlab.masks import causal_mask

B, H, D_K, D_V = 2, 3, 5, 7


def draw(T, dtype=torch.float32, grad=False):
    rng = torch.Generator().manual_seed(T)
    return [torch.randn(B, H, T, d, generator=rng, dtype=dtype).requires_grad_(grad) for d in (D_K, D_K, D_V)]


@pytest.mark.parametrize("T", [0, 1, 11, 13, 22, 29])
def test_equal_to_the_formula_in_ragged_blocks(T):
    q, k, v = draw(T, torch.float64, grad=True)
    out = causal_attention(q, k, v, block=11)
    expected = scaled_dot_product_attention(q, k, v, causal_mask(T, like=q))
    torch.testing.assert_close(out, expected)
    g = torch.randn(B, H, T, D_V, dtype=torch.float64)
    ours, theirs = torch.autograd.grad(out, (q, k, v), g), torch.autograd.grad(expected, (q, k, v), g)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("block", [1, 2, 3, 32])
def test_gradcheck(block):
    assert torch.autograd.gradcheck(lambda *qkv: causal_attention(*qkv, block), draw(5, torch.float64, grad=True))


def test_heads_that_are_views_of_one_projection():
    x = torch.randn(B, 13, 3 * H * D_K, requires_grad=True)
    q, k, v = (part.view(B, 13, H, D_K).transpose(1, 2) for part in x.chunk(3, dim=-1))
    out = causal_attention(q, k, v, block=11)
    expected = scaled_dot_product_attention(q, k, v, causal_mask(13, like=x))
    torch.testing.assert_close(out, expected)
    g = torch.randn_like(out)
    torch.testing.assert_close(
        torch.autograd.grad(out, x, g, retain_graph=True), torch.autograd.grad(expected, x, g), atol=1e-5, rtol=1e-4
    )
    assert out.transpose(1, 2).is_contiguous()  # merging the heads is a view


def test_nothing_is_edited():
    q, k, v = draw(13)
    before = [x.clone() for x in (q, k, v)]
    causal_attention(q, k, v, block=5)
    for x, was in zip((q, k, v), before, strict=True):
        assert torch.equal(x, was)


def test_in_half_precision():
    q, k, v = draw(13)
    half = causal_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), block=5)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), causal_attention(q, k, v), atol=3e-2, rtol=3e-2)


def test_the_backward_can_be_asked_twice():
    q, k, v = draw(13, grad=True)
    out = causal_attention(q, k, v, block=5).square().sum()
    first = torch.autograd.grad(out, (q, k, v), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(out, (q, k, v)), first, rtol=0, atol=0)
