"""Classifying a text: many tokens in, one label out, so they have to be pooled, and padding must not take part.

Two ways to pool: every token alike (``masked_mean``), or each as much as a learned question finds it worth
(attention with a single query). The second can ignore the forty words that say nothing. An encoder below lets the words
look at one another first.

``mask`` is (B, T), True where a token is real: ``padding_mask(lengths, T)[:, 0, 0]``.
"""

import torch
from torch import nn

from attnlab.masks import masked_softmax
from attnlab.shapes import Bool, Float, Int, Tensor
from attnlab.text_encoders import TextEncoder


def masked_mean(x: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B d"]:
    """Σ_t mask_t x_t / Σ_t mask_t: the mean of the real tokens; zeros for a text without any."""
    kept = torch.where(mask[:, :, None], x, 0)  # not x * mask: 0 times an inf or NaN on padding would be NaN
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def pooling_weights(
    x: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], w: Float[Tensor, "d"]
) -> Float[Tensor, "B T"]:
    """softmax_t(x_t · w) over the real tokens: how much each of them counts."""
    return masked_softmax(x @ w, mask)


def attention_pool_classifier(
    x: Float[Tensor, "B T d"],
    mask: Bool[Tensor, "B T"],
    w: Float[Tensor, "d"],
    W_out: Float[Tensor, "d C"],
    b_out: Float[Tensor, "C"],
) -> Float[Tensor, "B C"]:
    """The class scores of a text from its tokens' states, pooled by attention.

        logits = ( Σ_t α_t x_t ) W_out + b_out,   α = softmax_t(x_t · w) over real tokens

    ``w`` is the one query, learned and the same for every text: "what decides here?"

    Yang et al., 2016, "Hierarchical attention networks for document classification" (they score tanh(x_t W + b) · w).
    """
    x = torch.where(mask[:, :, None], x, 0)  # whatever stands on padding, even NaN, is gone
    weights = pooling_weights(x, mask, w)
    pooled = torch.einsum("bt,btd->bd", weights, x)
    return pooled @ W_out + b_out


class MeanPoolClassifier(nn.Module):
    """The baseline without attention: the mean of the word vectors, and a linear layer on it."""

    def __init__(self, vocab: int, num_classes: int, d_model: int):
        super().__init__()
        self.embed = nn.Embedding(vocab, d_model)
        self.out = nn.Linear(d_model, num_classes)

    def forward(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        return self.out(masked_mean(self.embed(tokens), mask))


class AttentionPoolClassifier(nn.Module):
    """Word vectors, pooled by attention, and a linear layer: ``MeanPoolClassifier`` and ``d_model`` parameters more.

    The query starts at zero, so that the model starts as the mean.
    """

    def __init__(self, vocab: int, num_classes: int, d_model: int):
        super().__init__()
        self.embed = nn.Embedding(vocab, d_model)
        self.w = nn.Parameter(torch.zeros(d_model))
        self.out = nn.Linear(d_model, num_classes)

    def forward(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        return attention_pool_classifier(self.embed(tokens), mask, self.w, self.out.weight.T, self.out.bias)

    def weights(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """How much each token counts, to draw under the text."""
        return pooling_weights(self.embed(tokens), mask, self.w)


class EncoderClassifier(nn.Module):
    """Attention twice: the tokens look at one another, then a query pools them. For texts where word order decides."""

    def __init__(self, encoder: TextEncoder, num_classes: int):
        super().__init__()
        self.encoder = encoder
        self.w = nn.Parameter(torch.zeros(encoder.d_model))
        self.out = nn.Linear(encoder.d_model, num_classes)

    def forward(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        x = self.encoder(tokens, mask[:, None, None, :])
        return attention_pool_classifier(x, mask, self.w, self.out.weight.T, self.out.bias)

    def weights(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """How much each token's *state* counts; what went into a state is another question (``alignment.rollout``)."""
        return pooling_weights(self.encoder(tokens, mask[:, None, None, :]), mask, self.w)
