"""Normalisation: each position is brought to one scale, without a look at the others or at the batch."""

import torch
from torch import nn

from attnlab.shapes import Float, Tensor


def layer_norm(
    x: Float[Tensor, "*batch d_model"],
    gain: Float[Tensor, "d_model"],
    bias: Float[Tensor, "d_model"],
    eps: float = 1e-5,
) -> Float[Tensor, "*batch d_model"]:
    """Mean 0 and variance 1 over the last axis, then a learned gain and bias (Ba et al. 2016).

        gain · (x − mean) / √(variance + eps) + bias

    The variance divides by d_model, not by d_model − 1, and eps stands inside the root.
    """
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return gain * (x - mean) / torch.sqrt(variance + eps) + bias


def rms_norm(
    x: Float[Tensor, "*batch d_model"], gain: Float[Tensor, "d_model"], eps: float = 1e-6
) -> Float[Tensor, "*batch d_model"]:
    """Root mean square 1 over the last axis, then a learned gain: no mean is subtracted (Zhang & Sennrich 2019).

    gain · x / √(mean(x²) + eps)
    """
    mean_square = (x**2).mean(dim=-1, keepdim=True)
    return gain * x / torch.sqrt(mean_square + eps)


class LayerNorm(nn.Module):
    """layer_norm with its parameters. The forward calls torch's kernel: the same formula in one pass over memory."""

    def __init__(self, d_model: int, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """rms_norm with its parameter. The forward calls torch's kernel: the same formula in one pass over memory."""

    def __init__(self, d_model: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return nn.functional.rms_norm(x, self.weight.shape, self.weight, self.eps)
