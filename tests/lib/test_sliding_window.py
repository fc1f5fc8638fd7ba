"""A sliding window is exact attention under the local mask, without the far scores ever computed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnlab.dot_product import scaled_dot_product_attention
from attnlab.masks import causal_mask, combine, local_mask
from attnlab.sliding_window import sliding_window_attention
from tests.lib.efficient_cases import LAWS, LargestTensor, close, qkv


@pytest.mark.parametrize("causal", [False, True])
@LAWS
@given(T=st.integers(1, 19), extra=st.integers(0, 7), radius=st.integers(0, 9), block=st.integers(1, 11))
def test_a_sliding_window_is_attention_under_the_local_mask(causal, T, extra, radius, block):
    q, k, v = qkv(T, T + extra)
    mask = local_mask(T, T + extra, radius, like=q)
    if causal:
        mask = combine(mask, causal_mask(T, T + extra, like=q))
    ours = sliding_window_attention(q, k, v, radius, causal=causal, block=block)
    close(ours, scaled_dot_product_attention(q, k, v, mask))


def test_a_window_of_radius_zero_returns_the_values():
    q, k, v = qkv(5, 5)
    close(sliding_window_attention(q, k, v, 0), v)


def test_a_sliding_window_never_meets_the_far_keys():
    q, k, v = qkv(409, 409, 4, 4, batch=(1,))
    with LargestTensor() as seen:
        sliding_window_attention(q, k, v, 8, block=16)
    assert seen.numel <= 409 * 4


def test_a_sliding_window_of_no_query_is_empty_and_wrong_sizes_are_named():
    q, k, v = qkv(0, 5)
    assert sliding_window_attention(q, k, v, 1).shape == (2, 3, 0, 7)
    with pytest.raises(ValueError, match="T = 7 > S = 5"):
        sliding_window_attention(qkv(7, 5)[0], k, v, 1)
    with pytest.raises(ValueError, match="radius of 0 or more, got -1"):
        sliding_window_attention(q, k, v, -1)
