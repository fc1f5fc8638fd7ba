"""Scaled dot-product attention: a query takes the values of the keys that point its way.

    Attention(Q, K, V) = softmax(Q Kᵀ / √d_k) V

Reference: Vaswani et al., "Attention Is All You Need", 2017, equation 1.
"""

import numpy as np

from attnlab.masks import masked_softmax
from attnlab.shapes import AnyArray, Array, Float, Tensor
from attnlab.softmax import softmax_vjp


def dot_scores(
    q: Float[AnyArray, "*#batch T d_k"], k: Float[AnyArray, "*#batch S d_k"]
) -> Float[AnyArray, "*#batch T S"]:
    """Every query against every key: scores[…, t, s] = q_t · k_s, that is q kᵀ, not yet scaled."""
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(
            f"queries and keys are compared entry by entry, so their last axes must agree; got q {tuple(q.shape)} and "
            f"k {tuple(k.shape)}: was one of them projected to another width, or passed already transposed?"
        )
    return q @ k.swapaxes(-1, -2)


def score_variance(d_k: int, rng: np.random.Generator, pairs: int = 4096) -> tuple[float, float]:
    """Measure why the scores are divided by √d_k: the variance of q · k, and that of q · k / √d_k.

    For independent standard normal entries, q · k is a sum of d_k products of variance 1: its variance is d_k, and
    after the division 1, whatever d_k is. Returns both as measured over ``pairs`` random pairs (raw, scaled).
    """
    q, k = rng.standard_normal((2, pairs, d_k))
    scores = (q * k).sum(-1)
    return float(scores.var()), float((scores / np.sqrt(d_k)).var())


def attention_weights(
    q: Float[AnyArray, "*#batch T d_k"], k: Float[AnyArray, "*#batch S d_k"], mask: Array | Tensor | None = None
) -> Float[AnyArray, "*#batch T S"]:
    """How much each query takes of each key: softmax(q kᵀ / √d_k) over the keys that the mask permits.

    The scale is put on q, which has T · d_k entries, where the scores have T · S; in half precision it also keeps the
    products from overflowing.
    """
    d_k = q.shape[-1]
    return masked_softmax(dot_scores(q * d_k**-0.5, k), mask)


def scaled_dot_product_attention(
    q: Float[AnyArray, "*#batch T d_k"],
    k: Float[AnyArray, "*#batch S d_k"],
    v: Float[AnyArray, "*#batch S d_v"],
    mask: Array | Tensor | None = None,
) -> Float[AnyArray, "*#batch T d_v"]:
    """Attention(Q, K, V) = softmax(Q Kᵀ / √d_k) V.

    ``mask`` is boolean, True = may attend, and broadcasts to (…, T, S). A query that may attend to nothing gets
    zeros, where the formula has no answer.
    """
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"every key has its value, so both need the same number of positions; got k {tuple(k.shape)} and "
            f"v {tuple(v.shape)}: do they come from two different sequences?"
        )
    return attention_weights(q, k, mask) @ v


def attention_vjp(
    q: Float[AnyArray, "*batch T d_k"],
    k: Float[AnyArray, "*batch S d_k"],
    v: Float[AnyArray, "*batch S d_v"],
    g: Float[AnyArray, "*batch T d_v"],
    mask: Array | Tensor | None = None,
) -> tuple[Float[AnyArray, "*batch T d_k"], Float[AnyArray, "*batch S d_k"], Float[AnyArray, "*batch S d_v"]]:
    """The gradients (dq, dk, dv) of attention by hand; g is the gradient with respect to its output.

        P = softmax(Q Kᵀ / √d_k)    O = P V
        dV = Pᵀ G    dP = G Vᵀ    dS = P ∘ (dP − rowsum(P ∘ dP))    dQ = dS K / √d_k    dK = dSᵀ Q / √d_k

    A forbidden pair has weight 0, hence no gradient: the mask needs no line of its own.
    """
    scale = q.shape[-1] ** -0.5
    p = attention_weights(q, k, mask)
    dv = p.swapaxes(-1, -2) @ g
    dp = g @ v.swapaxes(-1, -2)
    ds = softmax_vjp(p, dp) * scale
    return ds @ k, ds.swapaxes(-1, -2) @ q, dv
