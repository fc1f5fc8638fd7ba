"""Sliding-window attention: each query sees its neighbours only, so the work is T · (2 · radius + 1), not T².

Information still crosses the sequence, ``radius`` places a layer: after n layers a position has heard of everything
within n · radius. The result is that of exact attention under ``masks.local_mask``; only the order of work differs.

Reference: Beltagy et al., Longformer (2020); causal, in Mistral 7B (2023).
"""

import torch

from attnlab.dot_product import scaled_dot_product_attention
from attnlab.masks import causal_mask, combine, local_mask
from attnlab.shapes import Float, Tensor


def sliding_window_attention(
    q: Float[Tensor, "*batch T d_k"],
    k: Float[Tensor, "*batch S d_k"],
    v: Float[Tensor, "*batch S d_v"],
    radius: int,
    *,
    causal: bool = False,
    block: int | None = None,
) -> Float[Tensor, "*batch T d_v"]:
    """Attention of each query to the keys at most ``radius`` places away (``causal``: and not after it).

    A block of queries meets only the keys that some query of it can see: block + 2 · radius of them. A block as long
    as the radius (the default, at least 64) wastes at most a half. Queries are the last T of the S positions.
    """
    T, S = q.shape[-2], k.shape[-2]
    if T > S:
        raise ValueError(f"queries are the last T of S positions, got T = {T} > S = {S}: are q and k swapped?")
    if radius < 0:
        raise ValueError(f"expected a radius of 0 or more, got {radius}")
    block = block or max(radius, 64)
    out = []
    for i in range(S - T, S, block):  # places of the queries among the keys
        R = min(block, S - i)
        first, end = max(i - radius, 0), min(i + R + (0 if causal else radius), S)
        # The places i … end − 1 are the last end − i of these keys; the first R of them are our queries.
        window = local_mask(end - i, end - first, radius, like=q)[:R]
        past = causal_mask(R, end - first, like=q) if causal else None
        q_block = q[..., i - (S - T) : i - (S - T) + R, :]
        out.append(
            scaled_dot_product_attention(q_block, k[..., first:end, :], v[..., first:end, :], combine(window, past))
        )
    return torch.cat(out, -2) if out else q @ k.mT @ v
