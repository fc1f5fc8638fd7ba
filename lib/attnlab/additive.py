"""Additive attention: a small network looks at query and key together and says how well they fit.

    e_ts = vᵀ tanh(W_q q_t + W_k k_s)    α = softmax_s(e)    c_t = Σ_s α_ts v_s

Before it comes attention without any query, where each value is scored by itself.

Reference: Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", 2015.
"""

import torch
from torch import nn

from attnlab.arrays import namespace
from attnlab.masks import masked_softmax
from attnlab.shapes import AnyArray, Array, Float, Tensor


def value_attention(
    values: Float[AnyArray, "*batch S d"],
    w: Float[AnyArray, " d"],
    b: Float[AnyArray, ""] | int | float,
    mask: Array | Tensor | None = None,
) -> Float[AnyArray, "*batch d"]:
    """Attention that nobody asked for: each position is scored by its own value, and the average is returned.

        e_s = w · v_s + b    α = softmax_s(e)    out = Σ_s α_s v_s

    ``mask`` broadcasts to (…, S). The bias b moves all scores alike, so softmax undoes it: it is here because papers
    and libraries carry it, and its gradient is zero.
    """
    alpha = masked_softmax(values @ w + b, mask)
    return (alpha[..., None, :] @ values)[..., 0, :]


def additive_scores(
    queries: Float[AnyArray, "*#batch T d_q"],
    keys: Float[AnyArray, "*#batch S d_k"],
    W_q: Float[AnyArray, "d_q d_hidden"],
    W_k: Float[AnyArray, "d_k d_hidden"],
    v: Float[AnyArray, " d_hidden"],
) -> Float[AnyArray, "*#batch T S"]:
    """Every query against every key: e_ts = vᵀ tanh(W_q q_t + W_k k_s).

    Queries and keys may have different widths; both are projected to d_hidden. The sum over all pairs has shape
    (…, T, S, d_hidden): the T and S axes are set beside each other by broadcasting. Vectors are rows here, so W_q q
    of the paper reads ``queries @ W_q``.
    """
    hidden = (queries @ W_q)[..., :, None, :] + (keys @ W_k)[..., None, :, :]
    return namespace(hidden).tanh(hidden) @ v


def additive_attention(
    queries: Float[AnyArray, "*#batch T d_q"],
    keys: Float[AnyArray, "*#batch S d_k"],
    values: Float[AnyArray, "*#batch S d_v"],
    W_q: Float[AnyArray, "d_q d_hidden"],
    W_k: Float[AnyArray, "d_k d_hidden"],
    v: Float[AnyArray, " d_hidden"],
    mask: Array | Tensor | None = None,
) -> Float[AnyArray, "*#batch T d_v"]:
    """Each query's average of the values: c_t = Σ_s α_ts values_s, with α = softmax of the additive scores over s.

    ``mask`` broadcasts to (…, T, S); a query that may attend to nothing gets zeros. The paper uses its annotations as
    keys and values at once; here they are two arguments.
    """
    alpha = masked_softmax(additive_scores(queries, keys, W_q, W_k, v), mask)
    return alpha @ values


class AdditiveAttention(nn.Module):
    """Additive attention with learned W_q, W_k and v.

    ``forward`` returns the context, ``weights`` the α that it is averaged with. No biases, as in the paper's formula.
    """

    def __init__(self, d_q: int, d_k: int, d_hidden: int):
        super().__init__()
        self.W_q = nn.Linear(d_q, d_hidden, bias=False)
        self.W_k = nn.Linear(d_k, d_hidden, bias=False)
        self.v = nn.Linear(d_hidden, 1, bias=False)

    def forward(
        self,
        queries: Float[Tensor, "B T d_q"],
        keys: Float[Tensor, "B S d_k"],
        values: Float[Tensor, "B S d_v"],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "B T d_v"]:
        return self.weights(queries, keys, mask) @ values

    def weights(
        self, queries: Float[Tensor, "B T d_q"], keys: Float[Tensor, "B S d_k"], mask: Tensor | None = None
    ) -> Float[Tensor, "B T S"]:
        """How much each query takes of each key; ``mask`` broadcasts to (B, T, S)."""
        return self.weights_over(self.W_k(keys), queries, mask)

    def weights_over(
        self,
        projected_keys: Float[Tensor, "B S d_hidden"],
        queries: Float[Tensor, "B T d_q"],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "B T S"]:
        """``weights`` for keys that went through ``W_k`` already: a decoder asks the same keys at every step."""
        hidden = self.W_q(queries)[:, :, None] + projected_keys[:, None]
        return masked_softmax(self.v(torch.tanh(hidden))[..., 0], mask)
