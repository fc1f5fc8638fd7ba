"""The online softmax: attention over some of the keys, merged with attention over the others, is attention over all.

A partial result holds three things a query, over the keys seen so far::

    m    = max s_j                   the largest score
    l    = Σ exp(s_j − m)            the softmax's denominator, relative to m
    out  = Σ exp(s_j − m) v_j        its numerator, relative to m

To merge two, bring both to the larger maximum, and add. Merging is associative and commutative, so keys may be seen
in any order and in any grouping: one tile after another (``flash``), or on different machines (ring attention).

References: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Rabe and Staats, "Self-attention
does not need O(n²) memory", 2021.
"""

from typing import NamedTuple

import torch

from attnlab.dot_product import dot_scores
from attnlab.masks import require_boolean
from attnlab.shapes import Bool, Float, Tensor


class Partial(NamedTuple):
    """Attention over some of the keys: ``m`` and ``l`` (…, T), ``out`` (…, T, d_v), not yet divided by ``l``."""

    m: Tensor
    l: Tensor
    out: Tensor


def partial_attention(
    q: Float[Tensor, "*#batch T d_k"],
    k: Float[Tensor, "*#batch S d_k"],
    v: Float[Tensor, "*#batch S d_v"],
    mask: Bool[Tensor, "..."] | None = None,
) -> Partial:
    """What the softmax needs to know of these keys. Of no key at all: m = −∞, l = 0, out = 0."""
    scores = dot_scores(q * q.shape[-1] ** -0.5, k)
    if mask is not None:
        require_boolean(mask)
        scores = scores.masked_fill(~mask, -torch.inf)
    no_key = scores.new_full((*scores.shape[:-1], 1), -torch.inf)
    m = torch.cat([scores, no_key], -1).amax(-1)
    weights = torch.exp(scores - _finite(m)[..., None])
    return Partial(m, weights.sum(-1), weights @ v)


def merge_online_softmax(
    a: tuple[Float[Tensor, "*batch T"], Float[Tensor, "*batch T"], Float[Tensor, "*batch T d_v"]],
    b: tuple[Float[Tensor, "*batch T"], Float[Tensor, "*batch T"], Float[Tensor, "*batch T d_v"]],
) -> Partial:
    """The partial result over the keys of ``a`` and of ``b`` together.

    m = max(m_a, m_b)    l = e^(m_a − m) l_a + e^(m_b − m) l_b    out = e^(m_a − m) out_a + e^(m_b − m) out_b
    """
    (m_a, l_a, out_a), (m_b, l_b, out_b) = a, b
    m = torch.maximum(m_a, m_b)
    scale_a = torch.exp(m_a - _finite(m))
    scale_b = torch.exp(m_b - _finite(m))
    l = scale_a * l_a + scale_b * l_b
    out = scale_a[..., None] * out_a + scale_b[..., None] * out_b
    return Partial(m, l, out)


def finish(
    partial: tuple[Float[Tensor, "*batch T"], Float[Tensor, "*batch T"], Float[Tensor, "*batch T d_v"]],
) -> Tensor:
    """The attention output, out / l; zeros for a query that saw no key."""
    _, l, out = partial
    return out / torch.where(l > 0, l, 1.0)[..., None]


def _finite(m: Tensor) -> Tensor:
    """m, with 0 where no key was seen: −∞ − (−∞) has no value, −∞ − 0 has the right one."""
    return torch.where(m == -torch.inf, 0.0, m)
