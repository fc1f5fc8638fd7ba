"""Exact attention, one block of queries after another: ten lines that never hold the whole T × S matrix.

A row of the softmax needs all scores of *one* query, not of all of them. So a block of queries at a time suffices,
and nothing is approximated. With a causal mask a block also skips the keys after its last query, half of the work.
When training, autograd keeps every block's weights until the backward pass: ``flash`` is what gets rid of those too.

Reference: Rabe and Staats, "Self-attention does not need O(n²) memory", 2021 (there in both directions).
"""

import torch

from attnlab.masks import causal_mask
from attnlab.shapes import Float, Tensor
from attnlab.softmax import fused_softmax


def blocked_attention(
    q: Float[Tensor, "*batch T d_k"],
    k: Float[Tensor, "*batch S d_k"],
    v: Float[Tensor, "*batch S d_v"],
    block: int = 128,
    *,
    causal: bool = False,
) -> Float[Tensor, "*batch T d_v"]:
    """softmax(q kᵀ / √d_k) v in blocks of ``block`` queries; the last block may be ragged.

    ``causal`` aligns the ends, as ``masks.causal_mask`` does; there must be at least as many keys as queries then.
    """
    T, d_k = q.shape[-2:]
    S = k.shape[-2]
    if block < 1:
        raise ValueError(f"expected block ≥ 1, got {block}: a block needs at least one query")
    if causal and T > S:
        raise ValueError(f"causal queries are the last T of S positions, got T = {T} > S = {S}: are q and k swapped?")
    q = q * d_k**-0.5
    out: list[Tensor] = []
    for i in range(0, T, block):
        q_block = q[..., i : i + block, :]
        R = q_block.shape[-2]
        seen = i + R + S - T if causal else S
        scores = q_block @ k[..., :seen, :].mT
        if causal:  # the last R keys seen are the queries' own places: the only ones with a future to hide
            scores[..., seen - R :] += causal_mask(R, like=q).to(q.dtype).log()
        out.append(fused_softmax(scores) @ v[..., :seen, :])
    return torch.cat(out, -2)
