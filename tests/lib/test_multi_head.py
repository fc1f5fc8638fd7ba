"""The laws of multi-head attention; its oracle is nn.MultiheadAttention."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attnlab.dot_product import scaled_dot_product_attention
from attnlab.masks import causal_mask, combine, padding_mask
from attnlab.multi_head import (
    FusedMultiHeadAttention,
    MultiHeadAttention,
    is_causal,
    merge_heads,
    multi_head_attention,
    parameter_count,
    split_heads,
)

B, H, T, S, D_K = 2, 3, 5, 7, 11
D_MODEL = H * D_K
BOTH = pytest.mark.parametrize("kind", [MultiHeadAttention, FusedMultiHeadAttention])
few = settings(max_examples=20, deadline=None, derandomize=True)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def theirs(bias=True, dropout=0.0):
    module = nn.MultiheadAttention(D_MODEL, H, dropout, bias=bias, batch_first=True)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def test_split_heads_by_hand():
    x = torch.arange(8).float().view(1, 2, 4)  # two positions, four columns
    assert split_heads(x, 2).tolist() == [[[[0, 1], [4, 5]], [[2, 3], [6, 7]]]]


@few
@given(*[st.integers(0, 5)] * 2, *[st.integers(1, 5)] * 2)
def test_merge_heads_is_the_inverse_of_split_heads(B, T, H, d_k):
    x = torch.randn(B, T, H * d_k)
    heads = split_heads(x, H)
    assert heads.shape == (B, H, T, d_k)
    assert torch.equal(merge_heads(heads), x)


def test_a_head_sees_its_own_columns_of_every_position():
    x = torch.randn(B, T, D_MODEL)
    for h, head in enumerate(split_heads(x, H).unbind(1)):
        assert torch.equal(head, x[:, :, h * D_K : (h + 1) * D_K])


def test_one_head_is_one_attention_and_an_output_matrix():
    x = torch.randn(B, T, D_MODEL)
    W_q, W_k, W_v, W_o = torch.randn(4, D_MODEL, D_MODEL) / 5
    expected = scaled_dot_product_attention(x @ W_q, x @ W_k, x @ W_v) @ W_o
    torch.testing.assert_close(multi_head_attention(x, x, x, W_q, W_k, W_v, W_o, 1), expected)


def test_heads_are_independent():
    query, memory = torch.randn(B, T, D_MODEL), torch.randn(B, S, D_MODEL)
    W_q, W_k, W_v = torch.randn(3, D_MODEL, D_MODEL)
    eye = torch.eye(D_MODEL)
    out = multi_head_attention(query, memory, memory, W_q, W_k, W_v, eye, H)
    changed = W_q.clone()
    changed[:, :D_K] += 1
    other = multi_head_attention(query, memory, memory, changed, W_k, W_v, eye, H)
    torch.testing.assert_close(other[..., D_K:], out[..., D_K:])
    assert (other[..., :D_K] - out[..., :D_K]).abs().max() > 0.1


@pytest.mark.parametrize("num_heads", [1, 3, 11, 33])
@pytest.mark.parametrize("bias", [False, True])
def test_parameter_count_does_not_grow_with_heads(num_heads, bias):
    module = MultiHeadAttention(D_MODEL, num_heads, bias=bias)
    assert parameter_count(D_MODEL, num_heads, bias) == sum(p.numel() for p in module.parameters())
    assert parameter_count(D_MODEL, num_heads, bias) == 4 * D_MODEL**2 + bias * 4 * D_MODEL


@BOTH
@pytest.mark.parametrize("bias", [False, True])
def test_equal_to_torch(kind, bias):
    module = theirs(bias)
    ours = kind.from_torch(module)
    query, key, value = torch.randn(B, T, D_MODEL), torch.randn(B, S, D_MODEL), torch.randn(B, S, D_MODEL)
    lengths = torch.tensor([4, 7])
    sees = padding_mask(lengths, S)
    band = torch.ones(T, S).tril(diagonal=2).bool()
    for q, k, v, mask, options in (
        (query, key, value, None, {}),
        (query, key, key, sees, {"key_padding_mask": ~sees[:, 0, 0]}),
        (query, key, value, band, {"attn_mask": ~band}),
        (query, key, value, combine(sees, band), {"attn_mask": ~band, "key_padding_mask": ~sees[:, 0, 0]}),
        (query, query, query, causal_mask(T, like=query), {"attn_mask": ~causal_mask(T, like=query)}),
    ):
        expected, weights = module(q, k, v, average_attn_weights=False, **options)
        torch.testing.assert_close(ours(q, k, v, mask), expected)
        torch.testing.assert_close(ours.weights(q, k, mask), weights)


@BOTH
def test_gradients_equal_torch(kind):
    module = theirs().double()
    ours = kind.from_torch(module)
    x = torch.randn(B, T, D_MODEL, dtype=torch.float64)
    mask = causal_mask(T, like=x)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours(a, a, a, mask).square().sum().backward()
    module(b, b, b, attn_mask=~mask)[0].square().sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    packed = torch.cat([W.weight.grad for W in (ours.W_q, ours.W_k, ours.W_v)])
    torch.testing.assert_close(packed, module.in_proj_weight.grad)
    torch.testing.assert_close(ours.W_o.bias.grad, module.out_proj.bias.grad)


def test_the_function_equals_the_module():
    ours = MultiHeadAttention(D_MODEL, H, bias=False)
    query, memory = torch.randn(B, T, D_MODEL), torch.randn(B, S, D_MODEL)
    mask = padding_mask(torch.tensor([3, 6]), S)
    weights = [W.weight.T for W in (ours.W_q, ours.W_k, ours.W_v, ours.W_o)]
    torch.testing.assert_close(
        multi_head_attention(query, memory, memory, *weights, H, mask), ours(query, memory, memory, mask)
    )


@pytest.mark.parametrize("train", [False, True])
def test_the_fused_module_gives_the_same_numbers(train):
    readable, fused = MultiHeadAttention(D_MODEL, H, 0.3), FusedMultiHeadAttention(D_MODEL, H, 0.3)
    fused.load_state_dict(readable.state_dict())
    readable.train(train), fused.train(train)
    x, memory = torch.randn(B, T, D_MODEL), torch.randn(B, S, D_MODEL)
    for args in ((x, x, x), (x, x, x, causal_mask(T, like=x)), (x, memory, memory), (x, memory, memory + 1)):
        torch.manual_seed(1)
        expected = readable(*args)
        torch.manual_seed(1)
        torch.testing.assert_close(fused(*args), expected)


@BOTH
def test_a_fully_masked_query_gets_the_bias_of_the_output_only(kind):
    ours = kind.from_torch(theirs()).eval()
    x = torch.randn(B, T, D_MODEL, requires_grad=True)
    mask = padding_mask(torch.tensor([0, 3]), T)
    out = ours(x, x, x, mask)
    torch.testing.assert_close(out[0], ours.W_o.bias.expand(T, D_MODEL))
    out.sum().backward()
    assert x.grad.isfinite().all()


@BOTH
def test_a_mask_of_each_head_is_its_own(kind):
    ours = kind(D_MODEL, H)
    x = torch.randn(B, T, D_MODEL)
    mask = torch.ones(1, H, 1, T, dtype=torch.bool)
    mask[0, 1, 0, 2:] = False
    nn.init.eye_(ours.W_o.weight)
    masked, free = ours(x, x, x, mask), ours(x, x, x)
    torch.testing.assert_close(masked[..., :D_K], free[..., :D_K])
    torch.testing.assert_close(masked[..., 2 * D_K :], free[..., 2 * D_K :])
    assert (masked - free)[..., D_K : 2 * D_K].abs().max() > 1e-3


@BOTH
def test_awkward_inputs(kind):
    ours = kind(D_MODEL, H).eval()
    x = torch.randn(B, T, D_MODEL)
    before = x.clone()
    expected = ours(x, x, x)
    assert torch.equal(x, before)
    y = x.mT.contiguous().mT
    torch.testing.assert_close(ours(y, y, y), expected)
    one = x[:, :1]
    torch.testing.assert_close(ours(one, one, one), ours.W_o(ours.W_v(one)))
    assert ours(x[:0], x[:0], x[:0]).shape == (0, T, D_MODEL)
    half = ours.bfloat16()(*[x.bfloat16()] * 3)
    torch.testing.assert_close(half.float(), expected, atol=2e-2, rtol=5e-2)


@BOTH
def test_gradcheck(kind):
    ours = kind(6, 2).double()
    x, memory = (torch.randn(2, n, 6, dtype=torch.float64, requires_grad=True) for n in (3, 5))
    mask = padding_mask(torch.tensor([5, 2]), 5)
    assert torch.autograd.gradcheck(lambda x, memory: ours(x, memory, memory, mask), (x, memory))


def test_only_the_causal_square_counts_as_causal():
    mask = causal_mask(T, like=torch.zeros(1))
    assert is_causal(mask, T, T)
    assert not is_causal(None, T, T)
    assert not is_causal(causal_mask(T, S, like=mask), T, S)
    assert not is_causal(mask.roll(1), T, T)
    assert not is_causal(mask.T.contiguous(), T, T)


@BOTH
def test_errors_name_the_shapes(kind):
    with pytest.raises(ValueError, match="d_model = 33 and num_heads = 2"):
        kind(D_MODEL, 2)
    with pytest.raises(ValueError, match="d_model = 33 and num_heads = 2"):
        split_heads(torch.zeros(B, T, D_MODEL), 2)
    x = torch.zeros(B, T, D_MODEL)
    with pytest.raises(TypeError, match=r"a mask is boolean, True = may attend; got dtype torch\.float32"):
        kind(D_MODEL, H)(x, x, x, torch.zeros(T, T))
