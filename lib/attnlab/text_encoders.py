"""From token ids to one state a token, for tagging, classification and span extraction: with attention, and without."""

import torch
from torch import nn

from attnlab.encoder import Encoder
from attnlab.positions import SinusoidalPositions
from attnlab.shapes import Bool, Float, Int, Tensor


class TextEncoder(nn.Module):
    """Embedding, positions and a pre-norm ``Encoder``: every state may depend on the whole text.

    ``mask`` as made by ``padding_mask(lengths, T)``.
    """

    def __init__(
        self,
        vocab: int,
        d_model: int,
        num_heads: int = 4,
        num_layers: int = 2,
        d_ff: int | None = None,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.d_model = d_model
        self.tokens = nn.Embedding(vocab, d_model)
        self.positions = SinusoidalPositions(d_model)
        self.dropout = nn.Dropout(dropout)
        self.encoder = Encoder(num_layers, d_model, num_heads, d_ff or 4 * d_model, dropout, order="pre")

    def forward(
        self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "B T d_model"]:
        return self.encoder(self.dropout(self.positions(self.tokens(tokens))), mask)


class WindowEncoder(nn.Module):
    """The baseline without attention: each state from the token and ``radius`` neighbours on either side.

    Embeddings side by side, through one layer. What stands further away does not exist for it. Padding is a zero
    vector.

    Collobert et al., 2011, "Natural language processing (almost) from scratch", the window approach.
    """

    def __init__(self, vocab: int, d_model: int, radius: int = 2):
        super().__init__()
        self.d_model = d_model
        self.tokens = nn.Embedding(vocab, d_model)
        self.window = nn.Conv1d(d_model, d_model, 2 * radius + 1, padding=radius)

    def forward(
        self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B 1 1 T"] | None = None
    ) -> Float[Tensor, "B T d_model"]:
        x = self.tokens(tokens)
        if mask is not None:
            x = torch.where(mask[:, 0, 0, :, None], x, 0)
        return self.window(x.transpose(1, 2)).relu().transpose(1, 2)
