"""Merged partial attention is exact attention."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnlab.dot_product import scaled_dot_product_attention
from attnlab.online_softmax import Partial, finish, merge_online_softmax, partial_attention
from tests.lib.efficient_cases import LAWS, close, qkv


def test_merge_of_two_keys_by_hand():
    one = Partial(torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([[3.0]]))
    other = Partial(torch.tensor([math.log(2)]), torch.tensor([1.0]), torch.tensor([[6.0]]))
    m, l, out = merge_online_softmax(one, other)
    assert m.item() == pytest.approx(math.log(2))
    assert l.item() == pytest.approx(1.5)  # weights 1 and 2, relative to the larger
    assert finish((m, l, out)).item() == pytest.approx(5.0)  # (1 · 3 + 2 · 6) / 3
    assert out.item() == pytest.approx(7.5)  # 3 / 2 + 6


@LAWS
@given(S=st.integers(1, 13), cut=st.integers(0, 13), scale=st.sampled_from([1.0, 300.0]))
def test_merging_any_split_of_the_keys_gives_exact_attention(S, cut, scale):
    q, k, v = qkv(3, S, scale=scale)
    cut = min(cut, S)
    a = partial_attention(q, k[..., :cut, :], v[..., :cut, :])
    b = partial_attention(q, k[..., cut:, :], v[..., cut:, :])
    close(finish(merge_online_softmax(a, b)), scaled_dot_product_attention(q, k, v))


def test_merge_is_commutative_and_associative():
    q, k, v = qkv(3, 11, scale=10.0)
    a, b, c = (partial_attention(q, k[..., s, :], v[..., s, :]) for s in (slice(0, 2), slice(2, 7), slice(7, 11)))
    left = merge_online_softmax(merge_online_softmax(a, b), c)
    right = merge_online_softmax(a, merge_online_softmax(b, c))
    for x, y in zip(left, right, strict=True):
        close(x, y)
    for x, y in zip(merge_online_softmax(a, b), merge_online_softmax(b, a), strict=True):
        close(x, y)


def test_a_part_without_keys_changes_nothing_and_alone_gives_zeros():
    q, k, v = qkv(3, 5)
    nothing = partial_attention(q, k[..., :0, :], v[..., :0, :])
    hidden = partial_attention(q, k, v, torch.zeros(3, 5, dtype=torch.bool))
    some = partial_attention(q, k, v)
    for empty in (nothing, hidden):
        assert (empty.m == -math.inf).all()
        close(finish(merge_online_softmax(some, empty)), finish(some))
        assert (finish(merge_online_softmax(empty, nothing)) == 0).all()


def test_the_gradient_passes_through_a_merge():
    q, k, v = (x.requires_grad_() for x in qkv(3, 7))
    parts = [partial_attention(q, k[..., s, :], v[..., s, :]) for s in (slice(0, 2), slice(2, 7))]
    ours = torch.autograd.grad(finish(merge_online_softmax(*parts)).square().sum(), (q, k, v))
    exact = torch.autograd.grad(scaled_dot_product_attention(q, k, v).square().sum(), (q, k, v))
    for a, b in zip(ours, exact, strict=True):
        close(a, b)
