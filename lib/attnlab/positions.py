"""Positions: attention sees a set; these four ways tell it the order.

sinusoidal   added to x      a fixed wave for each column            (Vaswani et al. 2017)
learned      added to x      a trained row for each position         (Gehring et al. 2017)
rotary       turns q and k   q·k depends on the distance only        (Su et al. 2021)
ALiBi        added to scores a penalty that grows with the distance  (Press et al. 2022)
"""

import torch
from torch import nn

from attnlab.shapes import Float, Tensor


def sinusoidal_positions(T: int, d_model: int, base: float = 10000.0) -> Float[Tensor, "T d_model"]:
    """One row of waves for each position, sines in the even columns and cosines in the odd ones.

        P[t, 2i] = sin(t / base^(2i/d_model))    P[t, 2i+1] = cos(t / base^(2i/d_model))

    Both columns of a pair share one frequency, so moving by a fixed distance is a rotation of each pair: a linear map.
    An odd d_model has a last sine without its cosine.
    """
    even = torch.arange(0, d_model, 2, dtype=torch.float64)
    angles = torch.arange(T, dtype=torch.float64)[:, None] / base ** (even / d_model)
    waves = torch.empty(T, d_model)
    waves[:, 0::2] = angles.sin()
    waves[:, 1::2] = angles.cos()[:, : d_model // 2]
    return waves


def learned_positions(
    x: Float[Tensor, "*batch T d_model"], table: Float[Tensor, "T_max d_model"], start: int = 0
) -> Float[Tensor, "*batch T d_model"]:
    """x + table[start : start + T]: row t of the table is what position t feels like, learned like a word."""
    T, T_max = x.shape[-2], table.shape[0]
    if start + T > T_max:
        raise ValueError(
            f"learned positions exist for {T_max} positions, but positions {start} to {start + T - 1} were asked for; "
            "shorten the sequence or build the model with a larger max_length"
        )
    return x + table[start : start + T]


class LearnedPositions(nn.Module):
    """Adds a trained row for each position; ``start`` is the position of the first row of x (not 0 with a cache)."""

    def __init__(self, max_length: int, d_model: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_length, d_model))
        nn.init.normal_(self.table, std=0.02)

    def forward(self, x: Float[Tensor, "*batch T d_model"], start: int = 0) -> Float[Tensor, "*batch T d_model"]:
        return learned_positions(x, self.table, start)


class SinusoidalPositions(nn.Module):
    """Adds sinusoidal_positions, computed once; the table is not saved and grows when a longer sequence comes."""

    table: Tensor

    def __init__(self, d_model: int, max_length: int = 512):
        super().__init__()
        self.register_buffer("table", sinusoidal_positions(max_length, d_model), persistent=False)

    def forward(self, x: Float[Tensor, "*batch T d_model"], start: int = 0) -> Float[Tensor, "*batch T d_model"]:
        end = start + x.shape[-2]
        if end > len(self.table):
            self.table = sinusoidal_positions(2 * end, x.shape[-1]).to(self.table)
        return x + self.table[start:end]


def rotate(x: Float[Tensor, "*batch T d_k"], positions: Tensor, base: float = 10000.0) -> Float[Tensor, "*batch T d_k"]:
    """Turn each pair of neighbouring columns by an angle that grows with the position (RoPE).

        (a, b)  →  (a cos θ − b sin θ,  a sin θ + b cos θ)
        with (a, b) = (x[2i], x[2i+1]) and θ = position / base^(2i/d_k)

    Applied to queries and keys, never to values: rotate(q, t) · rotate(k, s) depends on t − s only. ``positions`` is
    (T,), or any shape that broadcasts to (*batch, T). Pairs are neighbours as in the paper; some libraries pair column
    i with column i + d_k/2 instead, which is the same map after a permutation of columns.
    """
    return turn(x, *rotation(positions, x.shape[-1], base))


def rotation(
    positions: Tensor, d_k: int, base: float = 10000.0
) -> tuple[Float[Tensor, "*positions half"], Float[Tensor, "*positions half"]]:
    """The cosines and sines of rotate: the same for every layer, so a model computes them once."""
    if d_k % 2:
        raise ValueError(f"rotary positions turn pairs of columns, so d_k must be even, got d_k = {d_k}")
    even = torch.arange(0, d_k, 2, dtype=torch.float32, device=positions.device)
    angles = positions[..., None] / base ** (even / d_k)
    return angles.cos(), angles.sin()


def turn(x: Float[Tensor, "*batch T d_k"], cos: Tensor, sin: Tensor) -> Float[Tensor, "*batch T d_k"]:
    """Turn each pair of neighbouring columns by its angle."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


def alibi_slopes(num_heads: int) -> Float[Tensor, "H"]:
    """How steeply each head forgets: 2^(-8/H), 2^(-16/H), … 2^(-8) for H a power of two.

    For another H, the slopes of the power of two below, then every other slope of the power of two above.
    """
    below = 2 ** (num_heads.bit_length() - 1)
    exponents = torch.arange(1, below + 1) * 8 / below
    between = torch.arange(1, 2 * below + 1, 2) * 4 / below
    return 2.0 ** -torch.cat((exponents, between))[:num_heads]


def alibi_bias(num_heads: int, T: int, S: int) -> Float[Tensor, "H T S"]:
    """Minus slope times distance, to be added to the scores before the softmax (ALiBi).

        bias[h, t, s] = −slope_h · |t + S − T − s|

    Queries are aligned at the end of the keys, as in causal_mask. The paper is causal; on the side of the future,
    where it leaves the bias undefined, ours mirrors the past.
    """
    queries = torch.arange(S - T, S)
    keys = torch.arange(S)
    distance = (queries[:, None] - keys).abs()
    return -alibi_slopes(num_heads)[:, None, None] * distance
