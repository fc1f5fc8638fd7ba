"""The laws of GPT."""

import pytest
import torch
from torch import nn

from attnlab.cache import KVCache
from attnlab.decoder import future_leak
from attnlab.gpt import GPT, GPTBlock, next_token_pairs
from attnlab.masks import causal_mask
from attnlab.multi_head import FusedMultiHeadAttention, MultiHeadAttention
from attnlab.positions import rotation
from attnlab.torch_weights import our_names
from tests.lib.shaken import shaken

B, T, V, D_MODEL, H, LAYERS = 3, 7, 17, 20, 2, 3
POSITIONS = pytest.mark.parametrize("positions", ["learned", "rotary"])
KINDS = pytest.mark.parametrize("kind", [MultiHeadAttention, FusedMultiHeadAttention])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def tokens():
    return torch.randint(0, V, (B, T))


def gpt(**options):
    return shaken(GPT(V, D_MODEL, H, LAYERS, d_ff=23, max_length=T, **options))


def test_next_token_pairs_by_hand():
    inputs, targets = next_token_pairs(torch.arange(8), length=3)
    assert inputs.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert targets.tolist() == [[1, 2, 3], [4, 5, 6]]
    inputs, targets = next_token_pairs(torch.arange(5), length=3, stride=1)
    assert inputs.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert targets.tolist() == [[1, 2, 3], [2, 3, 4]]


@pytest.mark.parametrize("n", [8, 9, 10, 23])
def test_each_token_is_a_target_at_most_once(n):
    inputs, targets = next_token_pairs(torch.arange(n), length=7)
    assert torch.equal(targets, inputs + 1)
    assert targets.unique().numel() == targets.numel()
    assert inputs.shape == ((n - 1) // 7, 7)


def test_next_token_pairs_need_one_token_more_than_the_window():
    assert next_token_pairs(torch.arange(4), length=3)[1].tolist() == [[1, 2, 3]]
    with pytest.raises(ValueError, match="need 4, got 3"):
        next_token_pairs(torch.arange(3), length=3)


@KINDS
def test_the_block_equals_torch(kind):
    theirs = nn.TransformerEncoderLayer(D_MODEL, H, 23, 0.0, activation="gelu", batch_first=True, norm_first=True)
    theirs = shaken(theirs).train()
    block = GPTBlock(D_MODEL, H, 23, attention=kind)
    state = our_names(theirs.state_dict())
    block.load_state_dict({name.replace("self_attention.", "attention."): W for name, W in state.items()})
    x = torch.randn(B, T, D_MODEL)
    mask = causal_mask(T, like=x)
    torch.testing.assert_close(block(x, mask), theirs(x, src_mask=~mask))


@POSITIONS
@KINDS
@pytest.mark.parametrize("sizes", [[1] * T, [3, 1, 3], [T]])
def test_steps_equal_the_full_pass(positions, kind, sizes, tokens):
    model = gpt(positions=positions, attention=kind)
    state = model.start()
    logits = [model.step(new, state) for new in tokens.split(sizes, dim=1)]
    torch.testing.assert_close(torch.cat(logits, dim=1), model(tokens))
    assert state.length == T


@POSITIONS
@KINDS
def test_the_future_never_matters(positions, kind, tokens):
    assert future_leak(gpt(positions=positions, attention=kind), tokens) == 0


@POSITIONS
def test_the_order_of_the_past_matters(positions, tokens):
    model = gpt(positions=positions)
    shuffled = tokens.clone()
    shuffled[:, :2] = tokens[:, :2].flip(1)
    assert (tokens[:, 0] != tokens[:, 1]).any()
    assert (model(shuffled) - model(tokens))[:, -1].abs().max() > 1e-3


def test_select_keeps_rows_of_the_batch(tokens):
    model = gpt()
    state = model.start()
    model.step(tokens[:, :4], state)
    rows = torch.tensor([2, 0, 2, 1])
    state.select(rows)
    torch.testing.assert_close(model.step(tokens[rows, 4:], state), model(tokens)[rows, 4:])


def test_learned_positions_end_and_rotary_ones_do_not():
    long = torch.randint(0, V, (1, T + 1))
    with pytest.raises(ValueError, match=f"exist for {T} positions"):
        gpt()(long)
    assert gpt(positions="rotary")(long).shape == (1, T + 1, V)


def test_dropout_only_in_training(tokens):
    model = gpt(dropout=0.5)
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


def test_it_learns_a_cycle():
    model = GPT(5, 20, 2, 1, max_length=11)
    inputs, targets = next_token_pairs(torch.arange(111) % 5, length=11)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_a_rotary_cache_holds_keys_that_were_turned(tokens):
    block, x = shaken(GPTBlock(D_MODEL, H, 23)), torch.randn(B, T, D_MODEL)
    angles = rotation(torch.arange(T), D_MODEL // H)
    cache = KVCache()
    block(x, causal_mask(T, like=x), angles, cache)
    _, k, _ = block.attention.project(*[block.norm_1(x)] * 3)
    assert not torch.allclose(cache.keys, k)
    torch.testing.assert_close(cache.keys[:, :, 0], k[:, :, 0])
    torch.testing.assert_close(cache.keys.norm(dim=-1), k.norm(dim=-1))
