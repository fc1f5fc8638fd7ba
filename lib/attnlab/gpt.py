"""GPT: the decoder alone, pre-norm, that learns to continue a text (Radford et al. 2019).

x = embed(tokens) + positions
x = x + Attention(norm(x));  x = x + FeedForward(norm(x))      for every block
logits = norm(x) W_out
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from attnlab.block import FeedForward, residual
from attnlab.cache import KVCache
from attnlab.dropout import Dropout
from attnlab.masks import causal_mask
from attnlab.multi_head import MultiHeadAttention
from attnlab.norms import LayerNorm
from attnlab.positions import LearnedPositions, rotation, turn
from attnlab.shapes import Float, Int, Tensor


def next_token_pairs(
    tokens: Int[Tensor, "N"], length: int, stride: int | None = None
) -> tuple[Int[Tensor, "B length"], Int[Tensor, "B length"]]:
    """Cut one long text into inputs and targets; the target at each place is the token that follows there.

    A new window begins every ``stride`` tokens (by default ``length``, so that each token is a target once); what does
    not fill a window is left out.
    """
    if len(tokens) <= length:
        raise ValueError(f"a window of {length} tokens and the one that follows need {length + 1}, got {len(tokens)}")
    stride = stride or length
    return tokens[:-1].unfold(0, length, stride), tokens[1:].unfold(0, length, stride)


class GPTBlock(nn.Module):
    """x + Attention(norm(x)), then x + FeedForward(norm(x)).

    ``angles`` (of attnlab.positions.rotation) turn queries and keys; None leaves them. ``cache`` holds the past, whose
    keys have been turned already.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        attention: Callable[..., MultiHeadAttention] = MultiHeadAttention,
    ):
        super().__init__()
        self.attention = attention(d_model, num_heads, dropout)
        self.feed_forward = FeedForward(d_model, d_ff, dropout, activation=nn.functional.gelu)
        self.norm_1 = LayerNorm(d_model)
        self.norm_2 = LayerNorm(d_model)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "B T d_model"],
        mask: Tensor | None = None,
        angles: tuple[Tensor, Tensor] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "B T d_model"]:
        def attend(x):
            q, k, v = self.attention.project(x, x, x)
            if angles is not None:
                q, k = turn(q, *angles), turn(k, *angles)
            if cache is not None:
                k, v = cache.append(k, v)
            return self.dropout(self.attention.attend(q, k, v, mask))

        def think(x):
            return self.dropout(self.feed_forward(x))

        x = residual(x, attend, self.norm_1, "pre")
        return residual(x, think, self.norm_2, "pre")


class GPTState:
    """What a GPT remembers while it writes: the keys and values of every block."""

    def __init__(self, caches: list[KVCache]):
        self.caches = caches

    @property
    def length(self) -> int:
        return self.caches[0].length

    def select(self, rows: Int[Tensor, "N"]) -> None:
        """Keep these rows of the batch, in this order."""
        for cache in self.caches:
            cache.select(rows)


class GPT(nn.Module):
    """Logits for the next token behind each token.

    Training: ``model(tokens)``. Writing: ``state = model.start()``, then ``model.step(tokens, state)`` for the newest
    tokens, as often as needed. Positions are learned, up to ``max_length``, or rotary, without a limit.
    """

    def __init__(
        self,
        vocab: int,
        d_model: int = 128,
        num_heads: int = 4,
        num_layers: int = 4,
        d_ff: int | None = None,
        max_length: int = 256,
        dropout: float = 0.0,
        positions: Literal["learned", "rotary"] = "learned",
        attention: Callable[..., MultiHeadAttention] = MultiHeadAttention,
    ):
        super().__init__()
        self.d_k = d_model // num_heads
        self.tokens = nn.Embedding(vocab, d_model)
        self.positions = LearnedPositions(max_length, d_model) if positions == "learned" else None
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            GPTBlock(d_model, num_heads, d_ff or 4 * d_model, dropout, attention) for _ in range(num_layers)
        )
        self.norm = LayerNorm(d_model)
        self.W_out = nn.Linear(d_model, vocab, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        return self._run(tokens, 0, [None] * len(self.blocks))

    def start(self) -> GPTState:
        """An empty cache for every block."""
        return GPTState([KVCache() for _ in self.blocks])

    def step(self, tokens: Int[Tensor, "B T"], state: GPTState) -> Float[Tensor, "B T V"]:
        """The logits behind each of the T newest tokens, equal to the last T of forward; the state takes them in."""
        return self._run(tokens, state.length, state.caches)

    def _run(self, tokens, start, caches):
        T = tokens.shape[1]
        x = self.tokens(tokens)
        angles = None
        if self.positions is None:
            angles = rotation(torch.arange(start, start + T, device=tokens.device), self.d_k)
        else:
            x = self.positions(x, start)
        x = self.dropout(x)
        mask = None if T == 1 else causal_mask(T, start + T, like=tokens)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, mask, angles, cache)
        return self.W_out(self.norm(x))
