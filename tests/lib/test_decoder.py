"""The laws of the decoder; its oracle is nn.TransformerDecoder."""

import pytest
import torch
from torch import nn

from attnlab.cache import KVCache
from attnlab.decoder import Decoder, cross_attention, future_leak, shift_right
from attnlab.masks import causal_mask, padding_mask
from attnlab.multi_head import FusedMultiHeadAttention, MultiHeadAttention
from attnlab.torch_weights import load_torch
from tests.lib.shaken import shaken

B, T, S, D_MODEL, H, D_FF, LAYERS = 3, 5, 7, 10, 2, 13, 2
ORDERS = pytest.mark.parametrize("order", ["pre", "post"])
KINDS = pytest.mark.parametrize("kind", [MultiHeadAttention, FusedMultiHeadAttention])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def inputs():
    mask, memory_mask = causal_mask(T, like=torch.zeros(1)), padding_mask(torch.tensor([7, 4, 1]), S)
    return torch.randn(B, T, D_MODEL), torch.randn(B, S, D_MODEL), mask, memory_mask


def test_shift_right_by_hand():
    tokens = torch.tensor([[5, 6, 7], [8, 9, 0]])
    assert shift_right(tokens, bos=1).tolist() == [[1, 5, 6], [1, 8, 9]]
    assert tokens.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert shift_right(tokens[:, :1], bos=1).tolist() == [[1], [1]]


def test_cross_attention_by_hand():
    # The query 1 meets the keys 0 and ln 3: weights 1/4 and 3/4 of the memory's values 4 and 8.
    memory = torch.tensor([[0.0, 4.0], [3.0, 8.0]]).log()
    memory[:, 1] = torch.tensor([4.0, 8.0])
    memory[0, 0] = 0.0
    x = torch.tensor([[1.0, 0.0]])
    first, second = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    torch.testing.assert_close(cross_attention(x, memory, first, first, second), torch.tensor([[7.0]]))


def test_cross_attention_takes_keys_and_values_from_the_memory():
    x, memory = torch.randn(B, T, 5), torch.randn(B, S, 5)
    W_q, W_k, W_v = torch.randn(5, 3), torch.randn(5, 3), torch.randn(5, 11)
    mask = padding_mask(torch.tensor([7, 4, 1]), S)[:, 0]
    expected = nn.functional.scaled_dot_product_attention(x @ W_q, memory @ W_k, memory @ W_v, mask)
    torch.testing.assert_close(cross_attention(x, memory, W_q, W_k, W_v, mask), expected)


@KINDS
@ORDERS
def test_equal_to_torch(order, kind, inputs):
    layer = nn.TransformerDecoderLayer(D_MODEL, H, D_FF, batch_first=True, norm_first=order == "pre")
    theirs = shaken(nn.TransformerDecoder(layer, LAYERS, nn.LayerNorm(D_MODEL)))
    ours = load_torch(Decoder(LAYERS, D_MODEL, H, D_FF, order=order, attention=kind), theirs).eval()
    x, memory, mask, memory_mask = inputs
    expected = theirs(x, memory, tgt_mask=~mask, memory_key_padding_mask=~memory_mask[:, 0, 0])
    torch.testing.assert_close(ours(x, memory, mask, memory_mask), expected)


@KINDS
@ORDERS
def test_stepping_equals_the_full_pass(order, kind, inputs):
    decoder = shaken(Decoder(LAYERS, D_MODEL, H, D_FF, order=order, attention=kind))
    x, memory, mask, memory_mask = inputs
    caches = [(KVCache(), KVCache()) for _ in range(LAYERS)]
    steps = [decoder.step(x[:, t : t + 1], memory, caches, None, memory_mask) for t in range(T)]
    torch.testing.assert_close(torch.cat(steps, dim=1), decoder(x, memory, mask, memory_mask))
    assert caches[0][0].length == T
    assert caches[0][1].length == S


def test_the_causal_mask_stops_the_future(inputs):
    decoder = shaken(Decoder(LAYERS, D_MODEL, H, D_FF))
    x, memory, mask, memory_mask = inputs
    assert future_leak(lambda x: decoder(x, memory, mask, memory_mask), x) == 0
    assert future_leak(lambda x: decoder(x, memory), x) > 1e-2


def test_the_gradient_says_the_same(inputs):
    decoder = shaken(Decoder(LAYERS, D_MODEL, H, D_FF, order="pre"))
    x, memory, mask, memory_mask = inputs
    x.requires_grad_()
    decoder(x, memory, mask, memory_mask)[:, 2].square().sum().backward()
    assert x.grad[:, 3:].eq(0).all()
    assert x.grad[:, :3].abs().amax(dim=(0, 2)).min() > 0


def test_padding_of_the_memory_never_matters(inputs):
    decoder = shaken(Decoder(LAYERS, D_MODEL, H, D_FF))
    x, memory, mask, memory_mask = inputs
    other = torch.where(memory_mask[:, 0, 0, :, None], memory, torch.tensor(1e3))
    torch.testing.assert_close(decoder(x, other, mask, memory_mask), decoder(x, memory, mask, memory_mask))


def test_future_leak_by_hand():
    tokens = torch.tensor([[1, 2, 1, 4]])
    assert future_leak(lambda x: x.cumsum(dim=1), tokens) == 0
    # 1 becomes 4, 2 becomes 4, 4 becomes 1: the sum from t = 0 on changes most after t = 1, by 3 + 2 - 3 or 3 - 3.
    assert future_leak(lambda x: x.flip(1).cumsum(dim=1).flip(1), tokens) == 3
    assert future_leak(lambda x: x.roll(-1, dims=1), torch.tensor([[1, 3]])) == 2
    assert future_leak(lambda x: x.roll(-1, dims=1), torch.randn(2, 5, 3)) > 0


def test_future_leak_wants_two_different_tokens():
    with pytest.raises(ValueError, match="needs two different ones"):
        future_leak(lambda x: x, torch.ones(2, 3))
