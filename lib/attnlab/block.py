"""What stands around attention in a Transformer: a network for each position, and residual connections with a norm."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from attnlab.dropout import Dropout
from attnlab.shapes import Float, Tensor

Order = Literal["pre", "post"]


def feed_forward(
    x: Float[Tensor, "*batch d_model"],
    W_1: Float[Tensor, "d_model d_ff"],
    b_1: Float[Tensor, "d_ff"],
    W_2: Float[Tensor, "d_ff d_model"],
    b_2: Float[Tensor, "d_model"],
) -> Float[Tensor, "*batch d_model"]:
    """A network of two layers, the same at each position: max(0, x W_1 + b_1) W_2 + b_2 (Vaswani et al. 2017, §3.3)."""
    hidden = torch.clamp(x @ W_1 + b_1, min=0)
    return hidden @ W_2 + b_2


class FeedForward(nn.Module):
    """feed_forward with its parameters; dropout after the activation. GPT takes ``activation=nn.functional.gelu``."""

    def __init__(
        self, d_model: int, d_ff: int, dropout: float = 0.0, activation: Callable[[Tensor], Tensor] = nn.functional.relu
    ):
        super().__init__()
        self.W_1 = nn.Linear(d_model, d_ff)
        self.W_2 = nn.Linear(d_ff, d_model)
        self.dropout = Dropout(dropout)
        self.activation = activation

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return self.W_2(self.dropout(self.activation(self.W_1(x))))


def residual(x: Tensor, sublayer: Callable[[Tensor], Tensor], norm: Callable[[Tensor], Tensor], order: Order) -> Tensor:
    """x plus what the sublayer makes of it, with the norm after the sum (post) or before the sublayer (pre).

    post   norm(x + sublayer(x))     the paper of 2017: the path from end to start passes through every norm
    pre    x + sublayer(norm(x))     GPT-2 and later: an open path, which deep stacks need (Xiong et al. 2020)
    """
    if order == "post":
        return norm(x + sublayer(x))
    if order == "pre":
        return x + sublayer(norm(x))
    raise ValueError(f'order must be "pre" or "post", got {order!r}')
