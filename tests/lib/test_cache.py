"""The laws of the KV cache, and of attention whose heads share keys and values."""

import pytest
import torch

from attnlab.cache import (
    GroupedQueryAttention,
    KVCache,
    MultiQueryAttention,
    attention_flops,
    cached_cross_attention,
    cached_self_attention,
    kv_cache_bytes,
    repeat_kv,
)
from attnlab.masks import causal_mask, padding_mask
from attnlab.multi_head import FusedMultiHeadAttention, MultiHeadAttention

B, T, S, H, D_K = 3, 5, 7, 4, 11
D_MODEL = H * D_K
KINDS = {
    "readable": lambda: MultiHeadAttention(D_MODEL, H),
    "fused": lambda: FusedMultiHeadAttention(D_MODEL, H),
    "grouped": lambda: GroupedQueryAttention(D_MODEL, H, 2),
    "multi-query": lambda: MultiQueryAttention(D_MODEL, H),
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=KINDS)
def attention(request):
    return KINDS[request.param]().eval()


def test_the_cache_appends_in_order():
    cache, k, v = KVCache(), torch.randn(B, H, T, D_K), torch.randn(B, H, T, D_K)
    before = k.clone()
    assert cache.length == 0
    cache.append(k[:, :, :2], v[:, :, :2])
    keys, values = cache.append(k[:, :, 2:], v[:, :, 2:])
    assert torch.equal(keys, k)
    assert torch.equal(values, v)
    assert cache.length == T
    assert torch.equal(k, before)


def test_what_was_returned_does_not_change_later():
    cache, k = KVCache(), torch.randn(B, H, T, D_K)
    keys, _ = cache.append(k[:, :, :3], k[:, :, :3])
    cache.append(k[:, :, 3:], k[:, :, 3:])
    assert torch.equal(keys, k[:, :, :3])


def test_select_keeps_rows():
    cache, k = KVCache(), torch.randn(B, H, T, D_K)
    cache.select(torch.tensor([0]))
    cache.append(k, 2 * k)
    cache.select(torch.tensor([2, 0, 2, 2]))
    assert torch.equal(cache.keys, k[[2, 0, 2, 2]])
    assert torch.equal(cache.values, 2 * k[[2, 0, 2, 2]])


@pytest.mark.parametrize("sizes", [[1] * T, [3, 2], [T]])
def test_cached_self_attention_equals_the_full_pass(attention, sizes):
    x, cache = torch.randn(B, T, D_MODEL), KVCache()
    steps = []
    for new in x.split(sizes, dim=1):
        mask = causal_mask(new.shape[1], cache.length + new.shape[1], like=x)
        steps.append(cached_self_attention(attention, new, cache, mask))
    torch.testing.assert_close(torch.cat(steps, dim=1), attention(x, x, x, causal_mask(T, like=x)))


def test_one_new_position_needs_no_mask(attention):
    x, cache = torch.randn(B, T, D_MODEL), KVCache()
    steps = [cached_self_attention(attention, x[:, t : t + 1], cache) for t in range(T)]
    torch.testing.assert_close(torch.cat(steps, dim=1), attention(x, x, x, causal_mask(T, like=x)))


def test_cached_cross_attention_equals_the_full_pass(attention):
    x, memory, cache = torch.randn(B, T, D_MODEL), torch.randn(B, S, D_MODEL), KVCache()
    mask = padding_mask(torch.tensor([7, 2, 4]), S)
    steps = [cached_cross_attention(attention, x[:, t : t + 1], memory, cache, mask) for t in range(T)]
    torch.testing.assert_close(torch.cat(steps, dim=1), attention(x, memory, memory, mask))
    assert cache.length == S


def test_repeat_kv_gives_each_head_to_its_neighbours():
    x = torch.tensor([10.0, 20.0]).view(1, 2, 1, 1)
    assert repeat_kv(x, 3).flatten().tolist() == [10, 10, 10, 20, 20, 20]
    x = torch.randn(B, 2, S, D_K)
    assert torch.equal(repeat_kv(x, 1), x)
    assert repeat_kv(x, 3).shape == (B, 6, S, D_K)


def test_as_many_groups_as_heads_is_multi_head_attention():
    full, grouped = MultiHeadAttention(D_MODEL, H), GroupedQueryAttention(D_MODEL, H, H)
    grouped.load_state_dict(full.state_dict())
    x = torch.randn(B, T, D_MODEL)
    torch.testing.assert_close(grouped(x, x, x), full(x, x, x))
    torch.testing.assert_close(grouped.weights(x, x), full.weights(x, x))


@pytest.mark.parametrize("num_kv_heads", [1, 2])
def test_shared_heads_are_multi_head_attention_with_repeated_weights(num_kv_heads):
    grouped, full = GroupedQueryAttention(D_MODEL, H, num_kv_heads), MultiHeadAttention(D_MODEL, H)
    state = grouped.state_dict()
    for name in ("W_k.weight", "W_k.bias", "W_v.weight", "W_v.bias"):
        heads = state[name].unflatten(0, (num_kv_heads, D_K))
        state[name] = torch.cat([heads[h * num_kv_heads // H] for h in range(H)])
    full.load_state_dict(state)
    x, memory = torch.randn(B, T, D_MODEL), torch.randn(B, S, D_MODEL)
    mask = padding_mask(torch.tensor([7, 2, 4]), S)
    torch.testing.assert_close(grouped(x, memory, memory, mask), full(x, memory, memory, mask))
    torch.testing.assert_close(grouped.weights(x, memory, mask), full.weights(x, memory, mask))


def test_fewer_heads_of_keys_fill_less_cache():
    x = torch.randn(B, T, D_MODEL)
    for attention, num_kv_heads in ((KINDS["readable"](), H), (KINDS["grouped"](), 2), (KINDS["multi-query"](), 1)):
        cache = KVCache()
        cached_self_attention(attention, x, cache)
        held = cache.keys.nbytes + cache.values.nbytes
        assert held == kv_cache_bytes(B, T, 1, num_kv_heads, D_K)


def test_kv_cache_bytes_by_hand():
    # Llama 2 7B: 32 layers, 32 heads of 128, half precision: half a MiB a token.
    assert kv_cache_bytes(1, 1, 32, 32, 128, 2) == 2**19
    assert kv_cache_bytes(2, 3, 5, 7, 11) == 2 * 2 * 3 * 5 * 7 * 11 * 4


def test_attention_flops_by_hand():
    assert attention_flops(1, 1, 1) == 8 + 4
    assert attention_flops(3, 5, 7) == 2 * 49 * 16 + 4 * 7 * 15


def test_attention_flops_equal_what_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    x, memory = torch.randn(1, T, D_MODEL), torch.randn(1, S, D_MODEL)
    with FlopCounterMode(display=False) as counter:
        MultiHeadAttention(D_MODEL, H)(x, memory, memory)
    assert counter.get_total_flops() == attention_flops(T, S, D_MODEL)


def test_the_quadratic_term_wins_beyond_twice_d_model():
    def share(T):
        return 4 * T * T * D_MODEL / attention_flops(T, T, D_MODEL)

    assert share(2 * D_MODEL) == 0.5


def test_groups_divide_the_heads():
    with pytest.raises(ValueError, match="num_heads = 4 and num_kv_heads = 3"):
        GroupedQueryAttention(D_MODEL, H, 3)
