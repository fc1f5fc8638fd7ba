"""Dropout: in training, each entry is zero with probability p, and the others grow by 1/(1 - p) to keep the mean.

The same law as nn.Dropout at a third of its time on a CPU, where drawing the random numbers is all the work: torch
draws one number for every entry, ours cuts one draw of 64 bits into four coins of 16. So p counts in steps of 1/65536.
Reference: Srivastava et al. 2014.
"""

import torch
from torch import nn

from attnlab.shapes import Float, Tensor


def dropout(x: Float[Tensor, "..."], p: float) -> Float[Tensor, "..."]:
    """x · keep / (1 - p), with keep = 0 in about p of the entries and 1 in the rest."""
    steps = round(p * 2**16)
    if not 0 < steps < 2**16:
        return nn.functional.dropout(x, p)
    coins = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    coins = coins.view(torch.int16)[: x.numel()].view(x.shape)
    keep = coins.ge_(steps - 2**15)  # written over the coins, as 0 and 1: a new boolean tensor takes six times as long
    return x * keep.to(x.dtype).mul_(1 / (1 - steps / 2**16))


class Dropout(nn.Module):
    """dropout in training, nothing in evaluation."""

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout takes a probability from 0 to 1, got {p}")
        self.p = p

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return dropout(x, self.p) if self.training and self.p else x
