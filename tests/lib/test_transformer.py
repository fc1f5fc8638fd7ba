"""The laws of the full Transformer; its oracle is nn.Transformer."""

import math

import pytest
import torch
from torch import nn

from attnlab.decoder import future_leak, shift_right
from attnlab.masks import causal_mask
from attnlab.multi_head import FusedMultiHeadAttention, MultiHeadAttention
from attnlab.positions import sinusoidal_positions
from attnlab.torch_weights import load_torch
from attnlab.transformer import Embedding, Transformer
from tests.lib.shaken import shaken

B, S, T, D_MODEL, H, LAYERS, D_FF, SRC, TGT = 3, 7, 5, 10, 2, 2, 13, 17, 19
ORDERS = pytest.mark.parametrize("order", ["pre", "post"])
KINDS = pytest.mark.parametrize("kind", [MultiHeadAttention, FusedMultiHeadAttention])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def transformer(**options):
    return shaken(Transformer(SRC, TGT, D_MODEL, H, LAYERS, D_FF, **options))


@pytest.fixture
def src():
    src = torch.randint(1, SRC, (B, S))
    src[1, 4:] = 0
    src[2, 1:] = 0
    return src


@pytest.fixture
def tgt():
    return torch.randint(1, TGT, (B, T))


@KINDS
@ORDERS
@pytest.mark.filterwarnings(
    "ignore:enable_nested_tensor:UserWarning"
)  # torch tells of a shortcut that it does not take
def test_equal_to_torch(order, kind, src, tgt):
    theirs = nn.Transformer(D_MODEL, H, LAYERS, LAYERS, D_FF, 0.0, batch_first=True, norm_first=order == "pre")
    theirs = shaken(theirs).train()
    ours = transformer(order=order, attention=kind)
    load_torch(ours.encoder, theirs.encoder)
    load_torch(ours.decoder, theirs.decoder)
    hidden = theirs(
        ours.src_embedding(src),
        ours.tgt_embedding(tgt),
        tgt_mask=~causal_mask(T, like=tgt),
        src_key_padding_mask=src == 0,
        memory_key_padding_mask=src == 0,
    )
    torch.testing.assert_close(ours(src, tgt), ours.W_out(hidden))


def test_embeddings_are_scaled_and_positions_added():
    embedding = Embedding(SRC, D_MODEL, dropout=0.0, pad=0)
    tokens = torch.tensor([[4, 0, 4]])
    rows = embedding.tokens.weight[tokens] * math.sqrt(D_MODEL)
    torch.testing.assert_close(embedding(tokens), rows + sinusoidal_positions(3, D_MODEL))
    torch.testing.assert_close(embedding(tokens, start=2), rows + sinusoidal_positions(5, D_MODEL)[2:])
    assert 0.8 < (Embedding(1009, 101, 0.0, 0).tokens.weight[1:] * math.sqrt(101)).std() < 1.2


def test_the_row_of_padding_is_zero_and_stays_so(src, tgt):
    model = transformer(pad=3)
    src = src.masked_fill(src == 0, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(src, tgt).flatten(0, 1), tgt.flatten()).backward()
    optimizer.step()
    assert model.src_embedding.tokens.weight[3].eq(0).all()
    assert model.tgt_embedding.tokens.weight[3].eq(0).all()
    assert model.src_embedding.tokens.weight[5].ne(0).all()


def test_padding_of_the_source_never_matters(src, tgt):
    model = transformer()
    longer = torch.cat((src, torch.zeros(B, 3, dtype=torch.long)), dim=1)
    torch.testing.assert_close(model(longer, tgt), model(src, tgt))
    torch.testing.assert_close(model(src[1:2, :4], tgt[1:2]), model(src, tgt)[1:2])


def test_padding_of_the_target_never_matters(src, tgt):
    model = transformer()
    longer = torch.cat((tgt, torch.zeros(B, 3, dtype=torch.long)), dim=1)
    torch.testing.assert_close(model(src, longer)[:, :T], model(src, tgt))


def test_the_future_of_the_target_never_matters(src, tgt):
    model = transformer()
    assert future_leak(lambda tgt: model(src, tgt), tgt) == 0


def test_the_order_of_the_source_matters(src, tgt):
    model = transformer()
    assert (model(src.flip(1)[:1], tgt[:1]) - model(src[:1], tgt[:1])).abs().max() > 1e-3


@KINDS
@ORDERS
@pytest.mark.parametrize("sizes", [[1] * T, [2, 1, 2], [T], [1, 4]])
def test_steps_equal_the_full_pass(order, kind, sizes, src, tgt):
    model = transformer(order=order, attention=kind)
    state = model.start(src)
    logits = [model.step(tokens, state) for tokens in tgt.split(sizes, dim=1)]
    torch.testing.assert_close(torch.cat(logits, dim=1), model(src, tgt))
    assert state.length == T


def test_select_keeps_rows_of_the_batch(src, tgt):
    model = transformer()
    state = model.start(src)
    model.step(tgt[:, :2], state)
    rows = torch.tensor([2, 0, 2, 1])
    state.select(rows)
    torch.testing.assert_close(model.step(tgt[rows, 2:], state), model(src, tgt)[rows, 2:])


def test_select_before_the_first_step(src, tgt):
    model = transformer()
    state = model.start(src)
    rows = torch.tensor([1, 1])
    state.select(rows)
    torch.testing.assert_close(model.step(tgt[rows], state), model(src, tgt)[rows])


def test_the_two_kinds_of_attention_share_their_weights(src, tgt):
    readable, fused = transformer(), transformer(attention=FusedMultiHeadAttention)
    fused.load_state_dict(readable.state_dict())
    torch.testing.assert_close(fused(src, tgt), readable(src, tgt))


def test_it_learns_to_copy():
    model = Transformer(11, 11, 20, 2, 1, 37, dropout=0.0, order="pre")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    tokens = torch.randint(2, 11, (31, 5))
    losses = []
    for _ in range(60):
        logits = model(tokens, shift_right(tokens, bos=1))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2
    assert losses[-1] < 0.5


def test_a_source_of_padding_alone_gives_numbers(tgt):
    model = transformer()
    assert model(torch.zeros(B, S, dtype=torch.long), tgt).isfinite().all()
