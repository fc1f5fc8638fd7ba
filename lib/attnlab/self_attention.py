"""Self-attention: one sequence asks, answers and delivers; each row of x is query, key and value at once."""

from collections.abc import Callable

import torch
from torch import nn

from attnlab.dot_product import scaled_dot_product_attention
from attnlab.shapes import Float, Tensor


def project_qkv(
    x: Float[Tensor, "*batch T d_model"],
    W_q: Float[Tensor, "d_model d_k"],
    W_k: Float[Tensor, "d_model d_k"],
    W_v: Float[Tensor, "d_model d_v"],
) -> tuple[Float[Tensor, "*batch T d_k"], Float[Tensor, "*batch T d_k"], Float[Tensor, "*batch T d_v"]]:
    """Three views of the same rows, each by a matrix of its own: q = x W_q, k = x W_k, v = x W_v.

    With W_q = W_k the scores would be symmetric: t could not look at s without s looking back as much.
    """
    return x @ W_q, x @ W_k, x @ W_v


def self_attention(
    x: Float[Tensor, "*batch T d_model"],
    W_q: Float[Tensor, "d_model d_k"],
    W_k: Float[Tensor, "d_model d_k"],
    W_v: Float[Tensor, "d_model d_v"],
    mask: Tensor | None = None,
) -> Float[Tensor, "*batch T d_v"]:
    """Each position takes from all positions of its own sequence what its query asks for.

        SelfAttention(x) = Attention(x W_q, x W_k, x W_v)

    Values are averaged, not inputs: W_v decides what a position tells the others. One head of Vaswani et al. 2017.
    """
    q, k, v = project_qkv(x, W_q, W_k, W_v)
    return scaled_dot_product_attention(q, k, v, mask)


class SelfAttention(nn.Module):
    """self_attention with its three matrices as layers, without biases. A layer keeps its matrix turned over: W_qᵀ."""

    def __init__(self, d_model: int, d_k: int, d_v: int):
        super().__init__()
        self.W_q = nn.Linear(d_model, d_k, bias=False)
        self.W_k = nn.Linear(d_model, d_k, bias=False)
        self.W_v = nn.Linear(d_model, d_v, bias=False)

    def forward(
        self, x: Float[Tensor, "*batch T d_model"], mask: Tensor | None = None
    ) -> Float[Tensor, "*batch T d_v"]:
        return scaled_dot_product_attention(self.W_q(x), self.W_k(x), self.W_v(x), mask)


@torch.no_grad()
def permutation_gap(f: Callable[[Tensor], Tensor], x: Float[Tensor, "*batch T d_model"], trials: int = 8) -> float:
    """How much f knows of the order of its rows: 0 where shuffling the input merely shuffles the output.

        max over permutations π of |f(π x) − π f(x)|

    Self-attention without a mask and without positions gives 0, up to rounding: it sees a set. ``trials`` random
    permutations are drawn, always the same ones.
    """
    T = x.shape[-2]
    rng = torch.Generator().manual_seed(0)
    out = f(x)
    gap = 0.0
    for _ in range(trials):
        shuffle = torch.randperm(T, generator=rng).to(x.device)
        gap = max(gap, float((f(x[..., shuffle, :]) - out[..., shuffle, :]).abs().max()))
    return gap
