"""Linear attention: a kernel that factors, so that the products can be taken in the other order.

Softmax attention weighs by exp(q · k), which ties every query to every key. Weigh by φ(q) · φ(k) instead, with φ > 0::

    (φ(Q) φ(K)ᵀ) V  =  φ(Q) (φ(K)ᵀ V)
    T × S, then T × d_v        d × d_v, then T × d_v

The same numbers, but the right side never forms the T × S matrix: work and memory grow with the length, not with its
square. It is *another* function than softmax attention: its weights are flatter, and it pays in quality for recall.

Causal, the bracket is a running sum over the past: a state of fixed size, updated a token at a time. A Transformer
with this attention is a recurrent network.

Reference: Katharopoulos et al., "Transformers are RNNs", 2020. As there, φ(x) = elu(x) + 1.
"""

from typing import NamedTuple

import torch

from attnlab.masks import require_boolean
from attnlab.shapes import Bool, Float, Tensor


class State(NamedTuple):
    """All that causal linear attention remembers of the past: Σ φ(k) vᵀ (…, d_k, d_v) and Σ φ(k) (…, d_k)."""

    kv: Tensor
    k: Tensor


def feature_map(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """φ(x) = elu(x) + 1: positive, so that the weights are; exp(x) below zero, x + 1 above."""
    return torch.nn.functional.elu(x) + 1


def linear_attention(
    q: Float[Tensor, "*batch T d_k"],
    k: Float[Tensor, "*batch S d_k"],
    v: Float[Tensor, "*batch S d_v"],
    mask: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch T d_v"]:
    """out_t = φ(q_t) (Σ_s φ(k_s) v_sᵀ) / φ(q_t) · Σ_s φ(k_s).

    ``mask`` hides keys, (…, 1, S), as ``padding_mask`` makes it: it may not depend on the query, for the sum over the
    keys is taken once, for all queries. Where it hides every key, the output is zero.
    """
    q, k = feature_map(q), feature_map(k)
    if mask is not None:
        require_boolean(mask)
        if mask.shape[-2] != 1:
            raise ValueError(
                f"linear attention sums the keys once for all queries, so it expects a mask (…, 1, S), got "
                f"{tuple(mask.shape)}: for the causal mask take causal_linear_attention"
            )
        k = k * mask.mT
    return _divide(q @ (k.mT @ v), q @ k.sum(-2)[..., None])


def causal_linear_attention(
    q: Float[Tensor, "*batch T d_k"],
    k: Float[Tensor, "*batch T d_k"],
    v: Float[Tensor, "*batch T d_v"],
    chunk: int = 64,
) -> Float[Tensor, "*batch T d_v"]:
    """The same with the sums over s ≤ t only.

    A chunk at a time: the past of the chunk enters through the state, the chunk itself through a small triangle of
    weights. A chunk of 1 is the recurrent form, one of T the quadratic form; between them lies the fast one.
    """
    if chunk < 1:
        raise ValueError(f"expected chunk ≥ 1, got {chunk}: a chunk needs at least one position")
    state = empty_state(k, v)
    out = []
    for q_c, k_c, v_c in zip(*(x.split(chunk, -2) for x in (q, k, v)), strict=True):
        q_c, k_c = feature_map(q_c), feature_map(k_c)
        weights = (q_c @ k_c.mT).tril()
        numerator = q_c @ state.kv + weights @ v_c
        denominator = q_c @ state.k[..., None] + weights.sum(-1, keepdim=True)
        out.append(_divide(numerator, denominator))
        state = State(state.kv + k_c.mT @ v_c, state.k + k_c.sum(-2))
    return torch.cat(out, -2)


def empty_state(k: Float[Tensor, "*batch S d_k"], v: Float[Tensor, "*batch S d_v"]) -> State:
    """The state before the first token, for keys and values like these."""
    return State(k.new_zeros(*k.shape[:-2], k.shape[-1], v.shape[-1]), k.new_zeros(*k.shape[:-2], k.shape[-1]))


def linear_attention_step(
    state: State, q: Float[Tensor, "*batch d_k"], k: Float[Tensor, "*batch d_k"], v: Float[Tensor, "*batch d_v"]
) -> tuple[State, Float[Tensor, "*batch d_v"]]:
    """One token: add it to the state, ask the state. The cost does not depend on how much came before."""
    q, k = feature_map(q), feature_map(k)
    state = State(state.kv + k[..., :, None] * v[..., None, :], state.k + k)
    numerator = (q[..., None, :] @ state.kv)[..., 0, :]
    return state, _divide(numerator, (q * state.k).sum(-1, keepdim=True))


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, and 0 where no key was seen: there both are 0."""
    return numerator / torch.where(denominator > 0, denominator, 1.0)
