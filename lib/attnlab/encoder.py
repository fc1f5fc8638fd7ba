"""The encoder: layers of self-attention and feed-forward, in which every position may look at every other."""

from collections.abc import Callable

import torch
from torch import nn

from attnlab.block import FeedForward, Order, residual
from attnlab.dropout import Dropout
from attnlab.masks import padding_mask
from attnlab.multi_head import MultiHeadAttention
from attnlab.norms import LayerNorm
from attnlab.shapes import Float, Tensor


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network, each in a residual connection with a norm.

    Dropout falls on the attention weights, inside the feed-forward network, and on what each sublayer adds.
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
        self.feed_forward = FeedForward(d_model, d_ff, dropout)
        self.norm_1 = LayerNorm(d_model)
        self.norm_2 = LayerNorm(d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T d_model"], mask: Tensor | None = None) -> Float[Tensor, "B T d_model"]:
        def attend(x):
            return self.dropout(self.self_attention(x, x, x, mask))

        def think(x):
            return self.dropout(self.feed_forward(x))

        x = residual(x, attend, self.norm_1, self.order)
        return residual(x, think, self.norm_2, self.order)


class Encoder(nn.Module):
    """num_layers encoder layers and a final norm; the arguments are those of EncoderLayer.

    With order="pre" nothing else norms the sum of the layers. With order="post" the paper has no final norm; ours has,
    as that of nn.Transformer has.
    """

    def __init__(self, num_layers: int, d_model: int, *layer, **options):
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(d_model, *layer, **options) for _ in range(num_layers))
        self.norm = LayerNorm(d_model)

    def forward(self, x: Float[Tensor, "B T d_model"], mask: Tensor | None = None) -> Float[Tensor, "B T d_model"]:
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


@torch.no_grad()
def padding_leak(
    model: Callable[[Tensor, Tensor], Tensor], tokens: Tensor, pad: float | int = 0, extra: int = 3
) -> float:
    """How much the answer to ``tokens`` changes when ``extra`` positions of padding come behind: 0 where all is well.

    ``tokens`` is (B, T) of ids, or (B, T, d_model) of vectors, without padding. ``model(tokens, mask)`` gives one
    answer a position, (B, T, …), and must be free of dropout (``model.eval()``).
    """
    B, T = tokens.shape[:2]
    lengths = torch.full((B,), T, device=tokens.device)
    padding = tokens.new_full((B, extra, *tokens.shape[2:]), pad)
    alone = model(tokens, padding_mask(lengths, T))
    padded = model(torch.cat((tokens, padding), dim=1), padding_mask(lengths, T + extra))
    return float((padded[:, :T] - alone).abs().max())
