"""The full Transformer: an encoder that reads the source, a decoder that writes the target.

    memory = Encoder(√d_model · embed(src) + positions)
    logits = Decoder(√d_model · embed(tgt) + positions, memory) W_out

Reference: Vaswani et al. 2017. What differs: the output matrix is not tied to the embeddings, and the stacks end in a
norm, as torch's do. Padding stands at the end of a sequence.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from attnlab.block import Order
from attnlab.cache import KVCache
from attnlab.decoder import Decoder
from attnlab.dropout import Dropout
from attnlab.encoder import Encoder
from attnlab.masks import causal_mask, padding_mask
from attnlab.multi_head import MultiHeadAttention
from attnlab.positions import SinusoidalPositions
from attnlab.shapes import Bool, Float, Int, Tensor


class Embedding(nn.Module):
    """Token ids to vectors, √d_model · W[id] + position, then dropout. The row of ``pad`` is zero and is not trained.

    The rows start small, variance 1/d_model, so that after the scaling they are as large as the positions.
    """

    def __init__(self, vocab: int, d_model: int, dropout: float, pad: int):
        super().__init__()
        self.tokens = nn.Embedding(vocab, d_model, padding_idx=pad)
        nn.init.normal_(self.tokens.weight, std=d_model**-0.5)
        with torch.no_grad():
            self.tokens.weight[pad].zero_()
        self.positions = SinusoidalPositions(d_model)
        self.dropout = Dropout(dropout)
        self.scale = math.sqrt(d_model)

    def forward(self, tokens: Int[Tensor, "B T"], start: int = 0) -> Float[Tensor, "B T d_model"]:
        return self.dropout(self.positions(self.scale * self.tokens(tokens), start))


@dataclass
class DecodingState:
    """What a Transformer remembers while it writes: the memory it reads, and the caches of every decoder layer."""

    memory: Tensor
    memory_mask: Tensor
    caches: list[tuple[KVCache, KVCache]] = field(default_factory=list)

    @property
    def length(self) -> int:
        return self.caches[0][0].length

    def select(self, rows: Int[Tensor, "N"]) -> None:
        """Keep these rows of the batch, in this order: beams that branch appear twice, finished ones not at all."""
        self.memory, self.memory_mask = self.memory[rows], self.memory_mask[rows]
        for own, cross in self.caches:
            own.select(rows)
            cross.select(rows)


class Transformer(nn.Module):
    """Logits for every next target token, from the source and the target so far.

    Training: ``model(src, shift_right(tgt, bos))``. Writing: ``state = model.start(src)``, then
    ``model.step(tokens, state)`` for the newest tokens, as often as needed.
    """

    def __init__(
        self,
        src_vocab: int,
        tgt_vocab: int,
        d_model: int = 512,
        num_heads: int = 8,
        num_layers: int = 6,
        d_ff: int = 2048,
        dropout: float = 0.1,
        pad: int = 0,
        order: Order = "post",
        attention: Callable[..., MultiHeadAttention] = MultiHeadAttention,
    ):
        super().__init__()
        self.pad = pad
        self.src_embedding = Embedding(src_vocab, d_model, dropout, pad)
        self.tgt_embedding = Embedding(tgt_vocab, d_model, dropout, pad)
        self.encoder = Encoder(num_layers, d_model, num_heads, d_ff, dropout, order, attention)
        self.decoder = Decoder(num_layers, d_model, num_heads, d_ff, dropout, order, attention)
        self.W_out = nn.Linear(d_model, tgt_vocab)

    def forward(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        src_mask = self.src_mask(src)
        return self.decode(tgt, self.encode(src, src_mask), src_mask)

    def src_mask(self, src: Int[Tensor, "B S"]) -> Bool[Tensor, "B 1 1 S"]:
        """The source without its padding."""
        return padding_mask((src != self.pad).sum(dim=1), src.shape[1])

    def encode(
        self, src: Int[Tensor, "B S"], src_mask: Bool[Tensor, "B 1 1 S"] | None = None
    ) -> Float[Tensor, "B S d_model"]:
        return self.encoder(self.src_embedding(src), src_mask)

    def decode(
        self,
        tgt: Int[Tensor, "B T"],
        memory: Float[Tensor, "B S d_model"],
        src_mask: Bool[Tensor, "B 1 1 S"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """All positions at once. The target's padding comes last, so the causal mask hides it from every token."""
        mask = causal_mask(tgt.shape[1], like=tgt)
        return self.W_out(self.decoder(self.tgt_embedding(tgt), memory, mask, src_mask))

    def start(self, src: Int[Tensor, "B S"]) -> DecodingState:
        """Read the source, once; nothing is written yet."""
        src_mask = self.src_mask(src)
        caches = [(KVCache(), KVCache()) for _ in self.decoder.layers]
        return DecodingState(self.encode(src, src_mask), src_mask, caches)

    def step(self, tokens: Int[Tensor, "B T"], state: DecodingState) -> Float[Tensor, "B T V"]:
        """The logits behind each of the T newest tokens, equal to the last T of decode; the state takes them in."""
        T = tokens.shape[1]
        x = self.tgt_embedding(tokens, start=state.length)
        mask = None if T == 1 else causal_mask(T, state.length + T, like=tokens)
        return self.W_out(self.decoder.step(x, state.memory, state.caches, mask, state.memory_mask))
