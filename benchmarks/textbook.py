"""How textbooks write attention, so that ours has something to be measured against. All three are exact and ours."""

import math

import torch

from attnlab.shapes import Tensor


def divide_then_fill(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The commonest: divide the scores, fill what is forbidden with a large negative number, softmax, multiply."""
    scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    return torch.matmul(torch.softmax(scores, dim=-1), v)


def einsum(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """With the indices written out, and −∞ as the fill."""
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.einsum("bhts,bhsd->bhtd", scores.softmax(-1), v)


def softmax_by_hand(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """With the softmax spelled out, as it is derived."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf)
    weights = torch.exp(scores - scores.max(-1, keepdim=True).values)
    return weights / weights.sum(-1, keepdim=True) @ v


TEXTBOOKS = {"divide, then fill": divide_then_fill, "einsum": einsum, "softmax by hand": softmax_by_hand}
