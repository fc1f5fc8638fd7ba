"""Luong's attention: three ways to compare a decoder state with the encoder's, and a window that moves along.

    dot      e_s = h · h̄_s
    general  e_s = hᵀ W h̄_s
    concat   e_s = vᵀ tanh(W [h; h̄_s])

Reference: Luong, Pham, Manning, "Effective Approaches to Attention-based Neural Machine Translation", 2015, section 3.
"""

import torch
from torch import nn

from attnlab.masks import combine, masked_softmax, window_mask
from attnlab.shapes import Float, Int, Tensor


def dot_score(h: Float[Tensor, "*batch d"], memory: Float[Tensor, "*batch S d"]) -> Float[Tensor, "*batch S"]:
    """e_s = h · h̄_s: nothing to learn, but both must have the same width."""
    return (memory @ h[..., None])[..., 0]


def general_score(
    h: Float[Tensor, "*batch d_h"], memory: Float[Tensor, "*batch S d_m"], W: Float[Tensor, "d_h d_m"]
) -> Float[Tensor, "*batch S"]:
    """e_s = hᵀ W h̄_s: h is first turned into the space of the memory."""
    return dot_score(h @ W, memory)


def concat_score(
    h: Float[Tensor, "*batch d_h"],
    memory: Float[Tensor, "*batch S d_m"],
    W: Float[Tensor, "d_h+d_m d_hidden"],
    v: Float[Tensor, " d_hidden"],
) -> Float[Tensor, "*batch S"]:
    """e_s = vᵀ tanh(W [h; h̄_s]): Bahdanau's score, with W_q and W_k stacked to one W (vectors are rows here)."""
    S = memory.shape[-2]
    pairs = torch.cat([h[..., None, :].expand(*h.shape[:-1], S, -1), memory], -1)
    return torch.tanh(pairs @ W) @ v


def luong_score(
    h: Float[Tensor, "*batch d_h"],
    memory: Float[Tensor, "*batch S d_m"],
    kind: str,
    W: Tensor | None = None,
    v: Tensor | None = None,
) -> Float[Tensor, "*batch S"]:
    """The paper's one name for three functions: ``kind`` is "dot", "general" (with W) or "concat" (with W and v)."""
    match kind:
        case "dot" if W is None and v is None:
            return dot_score(h, memory)
        case "general" if W is not None and v is None:
            return general_score(h, memory, W)
        case "concat" if W is not None and v is not None:
            return concat_score(h, memory, W, v)
    given = " and ".join(name for name, value in (("W", W), ("v", v)) if value is not None) or "no parameters"
    raise ValueError(
        f"luong_score takes 'dot' alone, 'general' with W, or 'concat' with W and v; got {kind!r} with {given}"
    )


class DotScore(nn.Module):
    """``dot_score``, for a decoder to hold."""

    def forward(self, h: Float[Tensor, "B d"], memory: Float[Tensor, "B S d"]) -> Float[Tensor, "B S"]:
        return dot_score(h, memory)


class GeneralScore(nn.Module):
    """``general_score`` with a learned W."""

    def __init__(self, d_h: int, d_m: int):
        super().__init__()
        self.W = nn.Parameter(nn.init.xavier_uniform_(torch.empty(d_h, d_m)))

    def forward(self, h: Float[Tensor, "B d_h"], memory: Float[Tensor, "B S d_m"]) -> Float[Tensor, "B S"]:
        return general_score(h, memory, self.W)


class ConcatScore(nn.Module):
    """``concat_score`` with a learned W and v."""

    def __init__(self, d_h: int, d_m: int, d_hidden: int):
        super().__init__()
        self.W = nn.Parameter(nn.init.xavier_uniform_(torch.empty(d_h + d_m, d_hidden)))
        self.v = nn.Parameter(nn.init.xavier_uniform_(torch.empty(d_hidden, 1))[:, 0])

    def forward(self, h: Float[Tensor, "B d_h"], memory: Float[Tensor, "B S d_m"]) -> Float[Tensor, "B S"]:
        return concat_score(h, memory, self.W, self.v)


def predicted_centre(
    h: Float[Tensor, "*batch d_h"],
    lengths: Int[Tensor, "*batch"],
    W_p: Float[Tensor, "d_h d_hidden"],
    v_p: Float[Tensor, " d_hidden"],
) -> Float[Tensor, "*batch"]:
    """Local-p: where to look, read off the decoder's state. p = S · sigmoid(v_pᵀ tanh(W_p h)), S the source's length.

    Local-m looks at the same place of the source as it writes in the target, and needs no function: p_t = t.
    """
    return lengths * torch.sigmoid(torch.tanh(h @ W_p) @ v_p)


def local_attention(
    scores: Float[Tensor, "*batch S"],
    centre: Float[Tensor, "*batch"],
    radius: int | float,
    sigma: int | float,
    mask: Tensor | None = None,
) -> Float[Tensor, "*batch S"]:
    """Weights over the window |s − p| ≤ radius, each lowered by how far it lies from the centre p.

        α_s = softmax_window(e)_s · exp(−(s − p)² / 2σ²)

    The bell comes after the softmax and is *not* normalised again, so the weights may sum to less than one. Through
    the bell p gets its gradient; the edge of the window gives none. The paper sets σ = radius / 2. Positions count
    from 0; a window that holds no key gives zeros.
    """
    S = scores.shape[-1]
    s = torch.arange(S, device=scores.device)
    bell = torch.exp(-((s - centre[..., None]) ** 2) / (2 * sigma**2))
    window = combine(window_mask(centre, S, radius), mask)
    return masked_softmax(scores, window) * bell
