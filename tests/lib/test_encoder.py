"""The laws of the encoder; its oracle is nn.TransformerEncoder."""

import pytest
import torch
from torch import nn

from attnlab.encoder import Encoder, EncoderLayer, padding_leak
from attnlab.masks import padding_mask
from attnlab.multi_head import FusedMultiHeadAttention, MultiHeadAttention
from attnlab.self_attention import permutation_gap
from attnlab.torch_weights import load_torch
from tests.lib.shaken import shaken

B, T, D_MODEL, H, D_FF, LAYERS = 3, 7, 10, 2, 13, 2
ORDERS = pytest.mark.parametrize("order", ["pre", "post"])
KINDS = pytest.mark.parametrize("kind", [MultiHeadAttention, FusedMultiHeadAttention])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@KINDS
@ORDERS
def test_equal_to_torch(order, kind):
    layer = nn.TransformerEncoderLayer(D_MODEL, H, D_FF, batch_first=True, norm_first=order == "pre")
    theirs = shaken(nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(D_MODEL), enable_nested_tensor=False))
    ours = load_torch(Encoder(LAYERS, D_MODEL, H, D_FF, order=order, attention=kind), theirs).eval()
    x, mask = torch.randn(B, T, D_MODEL), padding_mask(torch.tensor([7, 4, 1]), T)
    theirs.train()  # torch's shortcut for evaluation zeroes padded rows; without dropout training is the same formula
    for module in theirs.modules():
        if isinstance(module, nn.Dropout | nn.MultiheadAttention):
            module.eval()
    expected = theirs(x, src_key_padding_mask=~mask[:, 0, 0])
    torch.testing.assert_close(ours(x, mask), expected)
    torch.testing.assert_close(ours(x), theirs(x))


@ORDERS
def test_the_encoder_ends_in_a_norm(order):
    out = Encoder(LAYERS, D_MODEL, H, D_FF, order=order).eval()(torch.randn(B, T, D_MODEL))
    torch.testing.assert_close(out.mean(-1), torch.zeros(B, T), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(-1, correction=0), torch.ones(B, T), atol=1e-3, rtol=0)


def test_without_layers_only_the_norm_is_left():
    x = torch.randn(B, T, D_MODEL)
    torch.testing.assert_close(Encoder(0, D_MODEL, H, D_FF)(x), nn.functional.layer_norm(x, (D_MODEL,)))


@ORDERS
@KINDS
def test_padding_never_matters(order, kind):
    encoder = shaken(Encoder(LAYERS, D_MODEL, H, D_FF, order=order, attention=kind))
    for pad in (0.0, 1e3):
        assert padding_leak(encoder, torch.randn(B, T, D_MODEL), pad) < 1e-5


def test_padding_leak_finds_an_encoder_that_ignores_the_mask():
    encoder = shaken(Encoder(LAYERS, D_MODEL, H, D_FF))
    assert padding_leak(lambda x, mask: encoder(x), torch.randn(B, T, D_MODEL)) > 1e-2
    assert padding_leak(lambda x, mask: encoder(x, ~mask), torch.randn(B, T, D_MODEL)) > 1e-2


def test_padding_leak_by_hand():
    def counts_the_batch(tokens, mask):
        return tokens + tokens.shape[1]

    tokens = torch.zeros(B, T, dtype=torch.long)
    assert padding_leak(counts_the_batch, tokens, extra=5) == 5.0
    assert padding_leak(lambda tokens, mask: tokens * mask[:, 0, 0], tokens) == 0


def test_the_encoder_is_permutation_equivariant():
    assert permutation_gap(shaken(Encoder(LAYERS, D_MODEL, H, D_FF)), torch.randn(B, T, D_MODEL)) < 1e-5


def test_dropout_falls_in_three_places():
    layer = EncoderLayer(D_MODEL, H, D_FF, dropout=0.3)
    for place in (layer.self_attention, layer.feed_forward, layer):
        layer.eval()
        place.dropout.train()
        x = torch.randn(B, T, D_MODEL)
        if place is layer.self_attention:
            place.training = True
        assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@ORDERS
def test_awkward_inputs(order):
    layer = shaken(EncoderLayer(D_MODEL, H, D_FF, order=order))
    x = torch.randn(B, T, D_MODEL)
    before = x.clone()
    expected = layer(x)
    assert torch.equal(x, before)
    torch.testing.assert_close(layer(x.mT.contiguous().mT), expected)
    assert layer(x[:, :1]).shape == (B, 1, D_MODEL)
    assert layer(x, padding_mask(torch.tensor([0, 0, 7]), T)).isfinite().all()
