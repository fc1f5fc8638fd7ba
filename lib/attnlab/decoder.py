"""The decoder: writes one token after the other, looking at what it wrote and at the encoder's memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from attnlab.block import FeedForward, Order, residual
from attnlab.cache import KVCache, cached_cross_attention, cached_self_attention
from attnlab.dot_product import scaled_dot_product_attention
from attnlab.dropout import Dropout
from attnlab.multi_head import MultiHeadAttention
from attnlab.norms import LayerNorm
from attnlab.shapes import Float, Int, Tensor


def shift_right(tokens: Int[Tensor, "B T"], bos: int) -> Int[Tensor, "B T"]:
    """What the decoder reads while it learns to write ``tokens``: bos first, then all but the last.

    Position t reads tokens[t - 1] and is asked for tokens[t]. Fed with ``tokens`` itself, it would copy the answer.
    """
    first = tokens.new_full((tokens.shape[0], 1), bos)
    return torch.cat((first, tokens[:, :-1]), dim=1)


def cross_attention(
    x: Float[Tensor, "*batch T d_model"],
    memory: Float[Tensor, "*batch S d_model"],
    W_q: Float[Tensor, "d_model d_k"],
    W_k: Float[Tensor, "d_model d_k"],
    W_v: Float[Tensor, "d_model d_v"],
    mask: Tensor | None = None,
) -> Float[Tensor, "*batch T d_v"]:
    """The decoder asks, the encoder answers: Attention(x W_q, memory W_k, memory W_v), one head.

    ``memory`` is the encoder's *output*; the mask hides the padding of the source.
    """
    return scaled_dot_product_attention(x @ W_q, memory @ W_k, memory @ W_v, mask)


class DecoderLayer(nn.Module):
    """Masked self-attention, cross-attention to the memory, feed-forward; each in a residual connection with a norm.

    ``attention`` is the class to build; FusedMultiHeadAttention computes the same, faster.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        dropout: float = 0.1,
        order: Order = "post",
        attention: Callable[..., MultiHeadAttention] = MultiHeadAttention,
    ):
        super().__init__()
        self.order = order
        self.self_attention = attention(d_model, num_heads, dropout)
        self.cross_attention = attention(d_model, num_heads, dropout)
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.norm_1 = LayerNorm(d_model)
        self.norm_2 = LayerNorm(d_model)
        self.norm_3 = LayerNorm(d_model)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "B T d_model"],
        memory: Float[Tensor, "B S d_model"],
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Float[Tensor, "B T d_model"]:
        def look_back(x):
            return self.self_attention(x, x, x, mask)

        def look_across(x):
            return self.cross_attention(x, memory, memory, memory_mask)

        return self._stack(x, look_back, look_across)

    def step(
        self,
        x: Float[Tensor, "B T d_model"],
        memory: Float[Tensor, "B S d_model"],
        caches: tuple[KVCache, KVCache],
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Float[Tensor, "B T d_model"]:
        """forward for the T newest positions alone; the caches hold the past of both attentions."""

        def look_back(x):
            return cached_self_attention(self.self_attention, x, caches[0], mask)

        def look_across(x):
            return cached_cross_attention(self.cross_attention, x, memory, caches[1], memory_mask)

        return self._stack(x, look_back, look_across)

    def _stack(self, x, look_back, look_across):
        x = residual(x, lambda x: self.dropout(look_back(x)), self.norm_1, self.order)
        x = residual(x, lambda x: self.dropout(look_across(x)), self.norm_2, self.order)
        return residual(x, lambda x: self.dropout(self.feed_forward(x)), self.norm_3, self.order)


class Decoder(nn.Module):
    """num_layers decoder layers and a final norm; the arguments are those of DecoderLayer."""

    layers: Any  # of DecoderLayer; a ModuleList would say Module, which has no step

    def __init__(self, num_layers: int, d_model: int, *layer, **options):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(d_model, *layer, **options) for _ in range(num_layers))
        self.norm = LayerNorm(d_model)

    def forward(
        self,
        x: Float[Tensor, "B T d_model"],
        memory: Float[Tensor, "B S d_model"],
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Float[Tensor, "B T d_model"]:
        for layer in self.layers:
            x = layer(x, memory, mask, memory_mask)
        return self.norm(x)

    def step(
        self,
        x: Float[Tensor, "B T d_model"],
        memory: Float[Tensor, "B S d_model"],
        caches: list[tuple[KVCache, KVCache]],
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Float[Tensor, "B T d_model"]:
        """forward for the T newest positions alone, with the caches of every layer."""
        for layer, layer_caches in zip(self.layers, caches, strict=True):
            x = layer.step(x, memory, layer_caches, mask, memory_mask)
        return self.norm(x)


@torch.no_grad()
def future_leak(model: Callable[[Tensor], Tensor], tokens: Tensor) -> float:
    """How much the answer at a position changes with the tokens behind it: 0 for a causal model.

    For every t, the tokens after t are exchanged and the answers up to t compared. ``tokens`` is (B, T) of ids, or
    (B, T, d_model) of vectors; ``model(tokens)`` gives one answer a position and must be free of dropout.
    """
    lowest, highest = tokens.min(), tokens.max()
    if lowest == highest:
        raise ValueError("future_leak exchanges tokens for others of the same input, which needs two different ones")
    other = torch.where(tokens == highest, lowest, highest)
    out = model(tokens)
    leak = 0.0
    for t in range(tokens.shape[1] - 1):
        changed = torch.cat((tokens[:, : t + 1], other[:, t + 1 :]), dim=1)
        leak = max(leak, float((model(changed)[:, : t + 1] - out[:, : t + 1]).abs().max()))
    return leak
