"""The KV cache: in decoding, keys and values of the past never change, so each is computed once and kept.

A step then costs one row of queries against S keys, where the full pass computes all rows again. The price is memory,
which multi-query and grouped-query attention cut down by sharing keys and values among heads.
"""

import torch
from torch import nn

from attnlab.dot_product import attention_weights
from attnlab.multi_head import MultiHeadAttention, split_heads
from attnlab.shapes import Float, Tensor


class KVCache:
    """The keys and values of one attention so far, (B, H, length, d_k) each."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def append(
        self, k: Float[Tensor, "B H T d_k"], v: Float[Tensor, "B H T d_v"]
    ) -> tuple[Float[Tensor, "B H S d_k"], Float[Tensor, "B H S d_v"]]:
        """Put T new keys and values behind the old ones; returns all of them."""
        if self.keys is not None and self.values is not None:
            k = torch.cat((self.keys, k), dim=2)
            v = torch.cat((self.values, v), dim=2)
        self.keys, self.values = k, v
        return k, v

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order: a beam that branches appears twice."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


def cached_self_attention(
    attention: MultiHeadAttention, x: Float[Tensor, "B T d_model"], cache: KVCache, mask: Tensor | None = None
) -> Float[Tensor, "B T d_model"]:
    """Self-attention of the T newest positions over all S so far; the cache takes in their keys and values.

    Equal to the last T rows of the full causal pass. For T = 1 no mask is needed: the newest sees everything. For
    T > 1 pass causal_mask(T, S).
    """
    q, k, v = attention.project(x, x, x)
    k, v = cache.append(k, v)
    return attention.attend(q, k, v, mask)


def cached_cross_attention(
    attention: MultiHeadAttention,
    x: Float[Tensor, "B T d_model"],
    memory: Float[Tensor, "B S d_model"],
    cache: KVCache,
    mask: Tensor | None = None,
) -> Float[Tensor, "B T d_model"]:
    """Cross-attention to a memory that stays as it is: its keys and values are computed at the first call only."""
    if cache.keys is None or cache.values is None:
        q, k, v = attention.project(x, memory, memory)
        cache.append(k, v)
    else:
        q, k, v = split_heads(attention.W_q(x), attention.num_heads), cache.keys, cache.values
    return attention.attend(q, k, v, mask)


def repeat_kv(x: Float[Tensor, "B H_kv S d_k"], groups: int) -> Float[Tensor, "B H S d_k"]:
    """Give each of H_kv heads to ``groups`` neighbouring query heads: a b → a a b b (not a b a b)."""
    return x.repeat_interleave(groups, dim=1)


class GroupedQueryAttention(MultiHeadAttention):
    """Attention whose H query heads share H_kv heads of keys and values, H / H_kv each (Ainslie et al. 2023).

    H_kv = H is multi-head attention; H_kv = 1 is multi-query attention (Shazeer 2019). The cache shrinks by H / H_kv.
    """

    def __init__(self, d_model: int, num_heads: int, num_kv_heads: int, dropout: float = 0.0, bias: bool = True):
        super().__init__(d_model, num_heads, dropout, bias)
        if num_heads % num_kv_heads:
            raise ValueError(
                f"each head of keys serves num_heads / num_kv_heads heads of queries, a whole number; "
                f"got num_heads = {num_heads} and num_kv_heads = {num_kv_heads}"
            )
        self.num_kv_heads = num_kv_heads
        d_kv = num_kv_heads * (d_model // num_heads)
        self.W_k = nn.Linear(d_model, d_kv, bias)
        self.W_v = nn.Linear(d_model, d_kv, bias)

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q = split_heads(self.W_q(query), self.num_heads)
        k = split_heads(self.W_k(key), self.num_kv_heads)
        v = split_heads(self.W_v(value), self.num_kv_heads)
        return q, k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Float[Tensor, "B T d_model"]:
        groups = self.num_heads // self.num_kv_heads
        return super().attend(q, repeat_kv(k, groups), repeat_kv(v, groups), mask)

    def weights(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Float[Tensor, "B H T S"]:
        q, k, _ = self.project(query, key, key)
        return attention_weights(q, repeat_kv(k, self.num_heads // self.num_kv_heads), mask)


class MultiQueryAttention(GroupedQueryAttention):
    """All query heads share one head of keys and values: the smallest cache."""

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0, bias: bool = True):
        super().__init__(d_model, num_heads, 1, dropout, bias)


def kv_cache_bytes(
    batch: int, length: int, num_layers: int, num_kv_heads: int, d_k: int, bytes_per_number: int = 4
) -> int:
    """What the caches of a whole model hold: keys and values, for each sequence, position, layer and head."""
    keys_and_values = 2
    return keys_and_values * batch * length * num_layers * num_kv_heads * d_k * bytes_per_number


def attention_flops(T: int, S: int, d_model: int) -> int:
    """Multiplications and additions of one multi-head attention, one sequence: T queries, S keys; H cancels.

        projections   2 · d_model² · (2 T + 2 S)      q and the output have T rows, k and v have S
        attention     2 · d_model · 2 T S             q kᵀ, then the weighted sum of v

    The second term wins as soon as the sequence is longer than about 2 · d_model. The softmax is left out.
    """
    projections = 2 * d_model**2 * (2 * T + 2 * S)
    attention = 2 * d_model * 2 * T * S
    return projections + attention
