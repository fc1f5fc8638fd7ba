"""Tiled and blocked attention are exact attention in another order of work; the tiled one in linear memory."""

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from attnlab.blocked import blocked_attention
from attnlab.dot_product import scaled_dot_product_attention
from attnlab.flash import flash_attention
from attnlab.masks import causal_mask
from tests.lib.efficient_cases import LAWS, LargestTensor, close, draw, qkv

both = pytest.mark.parametrize("attention", [blocked_attention, flash_attention])


@both
@pytest.mark.parametrize("causal", [False, True])
@LAWS
@given(T=st.integers(1, 23), extra=st.integers(0, 11), block=st.integers(1, 13))
def test_tiles_of_any_size_give_exact_attention(attention, causal, T, extra, block):
    q, k, v = qkv(T, T + extra)
    mask = causal_mask(T, T + extra, like=q) if causal else None
    close(attention(q, k, v, block, causal=causal), scaled_dot_product_attention(q, k, v, mask))


@LAWS
@given(
    T=st.integers(1, 17),
    S=st.integers(1, 17),
    block=st.integers(1, 7),
    causal=st.booleans(),
    scale=st.sampled_from([1.0, 20.0]),  # small scores, which need no running maximum, and large ones
)
def test_flash_gradients_equal_those_of_exact_attention(T, S, block, causal, scale):
    exact, tiled = qkv(T, S, scale=scale), qkv(T, S, scale=scale)
    g = draw(2, 3, T, 7, seed=4)
    mask = causal_mask(T, S, like=g) if causal else None
    for x in (*exact, *tiled):
        x.requires_grad_()
    out = scaled_dot_product_attention(*exact, mask)
    ours = flash_attention(*tiled, block, causal=causal)
    close(ours, out)
    for a, b in zip(torch.autograd.grad(ours, tiled, g), torch.autograd.grad(out, exact, g), strict=True):
        close(a, b)


@both
def test_it_equals_torch_at_the_size_of_real_tiles(attention):
    q, k, v = (x.requires_grad_() for x in qkv(331, 331, 16, 16, dtype=torch.float32))
    ours = attention(q, k, v, 64, causal=True)
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    close(ours, theirs, 1e-5)
    for a, b in zip(*(torch.autograd.grad(x.square().sum(), (q, k, v)) for x in (ours, theirs)), strict=True):
        close(a, b, 1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_flash_passes_gradcheck(causal):
    q, k, v = (x.requires_grad_() for x in qkv(5, 7, 2, 3, batch=(2,)))
    assert gradcheck(lambda q, k, v: flash_attention(q, k, v, 2, causal=causal), (q, k, v))


def test_flash_gives_zeros_and_no_gradient_to_queries_before_every_key():
    q, k, v = (x.requires_grad_() for x in qkv(7, 5))
    out = flash_attention(q, k, v, 3, causal=True)
    assert (out[..., :2, :] == 0).all()
    assert (out[..., 2:, :] != 0).all()
    dq, dk, dv = torch.autograd.grad(out.sum(), (q, k, v))
    assert (dq[..., :2, :] == 0).all()
    assert dk.isfinite().all()
    assert dv.isfinite().all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_flash_in_half_precision_sums_in_single(dtype, tolerance):
    q, k, v = (x.requires_grad_() for x in qkv(53, 53, 16, 16, dtype=dtype))
    wide = [x.detach().float().requires_grad_() for x in (q, k, v)]
    out, exact = flash_attention(q, k, v, 8, causal=True), flash_attention(*wide, 8, causal=True)
    assert out.dtype == dtype
    assert (out.float() - exact).abs().max() < tolerance
    for a, b in zip(torch.autograd.grad(out.sum(), (q, k, v)), torch.autograd.grad(exact.sum(), wide), strict=True):
        assert a.dtype == dtype
        assert ((a.float() - b).abs() / (1 + b.abs())).max() < tolerance


@pytest.mark.parametrize("scale", [1e-4, 4.0, 60.0])
def test_flash_is_stable_for_tiny_and_for_huge_scores(scale):
    q, k, v = qkv(19, 19, 16, 16, dtype=torch.float32, scale=scale)
    close(flash_attention(q, k, v, 4), scaled_dot_product_attention(*(x.double() for x in (q, k, v))).float(), 1e-3)


@both
def test_inputs_may_be_non_contiguous_and_are_left_alone(attention):
    q, k, v = (x.mT.contiguous().mT for x in qkv(11, 11))
    before = [x.clone() for x in (q, k, v)]
    close(attention(q, k, v, 4, causal=True), scaled_dot_product_attention(q, k, v, causal_mask(11, like=q)))
    assert all((x == y).all() for x, y in zip((q, k, v), before, strict=True))


def test_flash_backward_leaves_the_incoming_gradient_alone():
    q, k, v = (x.requires_grad_() for x in qkv(11, 11))
    g = draw(2, 3, 11, 7, seed=5)
    before = g.clone()
    flash_attention(q, k, v, 4).backward(g)
    assert (g == before).all()


@both
def test_causal_stops_the_future_by_gradient(attention):
    q, k, v = (x.requires_grad_() for x in qkv(13, 13))
    attention(q, k, v, 4, causal=True)[..., 5, :].sum().backward()
    assert (k.grad[..., 6:, :] == 0).all()
    assert (v.grad[..., 6:, :] == 0).all()
    assert (v.grad[..., :6, :] != 0).all()


def test_flash_never_holds_a_matrix_of_queries_by_keys():
    T, block = 409, 16
    q, k, v = (x.requires_grad_() for x in qkv(T, T, 4, 4, batch=(1,)))
    with LargestTensor() as seen:
        flash_attention(q, k, v, block).sum().backward()
    assert seen.numel <= max(T * 4, 4 * block * block) < T * T / 10


def test_wrong_shapes_are_named():
    q, k, v = qkv(5, 7)
    with pytest.raises(ValueError, match=r"expected q .* got \(2, 3, 5, 5\), \(2, 3, 7, 5\), \(2, 3, 5, 7\)"):
        inspect.unwrap(flash_attention)(q, k, v[..., :5, :])  # as without jaxtyping: the sentence is ours
    with pytest.raises(ValueError, match="expected block ≥ 1, got 0"):
        flash_attention(q, k, v, 0)
    with pytest.raises(ValueError, match="expected block ≥ 1, got 0"):
        blocked_attention(q, k, v, 0)
    with pytest.raises(ValueError, match="T = 5 > S = 3"):
        blocked_attention(q, k[..., :3, :], v[..., :3, :], causal=True)
