"""Linear attention: the order of the products does not matter, and the causal form is a recurrent network."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from attnlab.linear_attention import (
    causal_linear_attention,
    empty_state,
    feature_map,
    linear_attention,
    linear_attention_step,
)
from attnlab.masks import causal_mask, padding_mask
from tests.lib.efficient_cases import LAWS, LargestTensor, close, qkv


def by_definition(q, k, v, mask):
    """The T × S weights written out."""
    weights = feature_map(q) @ feature_map(k).mT * mask
    return weights / weights.sum(-1, keepdim=True) @ v


def test_linear_attention_of_two_keys_by_hand():
    q, k = torch.zeros(1, 1), torch.tensor([[0.0], [2.0]])  # φ(0) = 1, φ(2) = 3
    v = torch.tensor([[4.0], [8.0]])
    assert linear_attention(q, k, v).item() == pytest.approx((1 * 4 + 3 * 8) / 4)


def test_the_order_of_the_products_does_not_matter():
    q, k, v = qkv(11, 13)
    close(linear_attention(q, k, v), by_definition(q, k, v, torch.ones(11, 13)))


@LAWS
@given(T=st.integers(1, 17), chunk=st.integers(1, 19))
def test_causal_linear_attention_is_the_same_in_chunks_of_any_size(T, chunk):
    q, k, v = qkv(T, T)
    close(causal_linear_attention(q, k, v, chunk), by_definition(q, k, v, causal_mask(T, like=q)))


def test_causal_linear_attention_is_a_recurrent_network():
    q, k, v = qkv(11, 11)
    state, out = empty_state(k, v), []
    for t in range(11):
        state, out_t = linear_attention_step(state, q[..., t, :], k[..., t, :], v[..., t, :])
        out.append(out_t)
    close(torch.stack(out, -2), causal_linear_attention(q, k, v, 4))


def test_causal_linear_attention_passes_gradcheck():
    q, k, v = (x.requires_grad_() for x in qkv(5, 5, 2, 3, batch=(2,)))
    assert gradcheck(lambda q, k, v: causal_linear_attention(q, k, v, 2), (q, k, v))


def test_linear_attention_never_looks_through_the_padding_mask():
    q, k, v = qkv(5, 7)
    out = linear_attention(q, k, v, padding_mask(torch.tensor([7, 4]), 7))
    close(out[1], linear_attention(q[1], k[1, :, :4], v[1, :, :4]))
    assert (linear_attention(q, k, v, padding_mask(torch.tensor([7, 0]), 7))[1] == 0).all()


def test_linear_attention_says_which_arguments_it_cannot_take():
    q, k, v = qkv(5, 5)
    with pytest.raises(ValueError, match=r"expects a mask \(…, 1, S\), got \(5, 5\)"):
        linear_attention(q, k, v, causal_mask(5, like=q))
    with pytest.raises(ValueError, match="expected chunk ≥ 1, got 0"):
        causal_linear_attention(q, k, v, 0)


def test_linear_attention_never_holds_a_matrix_of_queries_by_keys():
    q, k, v = qkv(409, 409, 4, 4, batch=(1,))
    with LargestTensor() as seen:
        linear_attention(q, k, v)
        causal_linear_attention(q, k, v, 16)
    assert seen.numel <= 409 * 4
