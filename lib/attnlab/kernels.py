"""Averaging with weights: attention before it had the name.

    f(x) = Σ_i w_i(x) y_i,    w_i(x) = K(x − x_i) / Σ_j K(x − x_j)

To predict at a new point, average the known values, the near ones more. With a Gaussian K the weights are a softmax
of −(x − x_i)² / 2 width²: the new point is a query, the known points are keys, their y are values.

Reference: Nadaraya, "On Estimating Regression", 1964; Watson, "Smooth Regression Analysis", 1964.
"""

import numpy as np

from attnlab.arrays import namespace
from attnlab.shapes import AnyArray, Float, Real, Tensor
from attnlab.softmax import softmax


def gaussian_weights(
    queries: Real[AnyArray, " T"], keys: Real[AnyArray, " S"], width: int | float | Tensor
) -> Float[AnyArray, "T S"]:
    """The share that each key has in the answer to each query; every row sums to one.

        weights[t, s] = exp(−(x_t − x_s)² / 2 width²) / Σ_s′ exp(−(x_t − x_s′)² / 2 width²)

    ``width`` is the standard deviation of the bell, not its variance. As a softmax the weights stay right however far
    the query is from every key, where the quotient as written above is 0/0.
    """
    return softmax(_gaussian_scores(queries, keys, width))


def attention_pool(weights: Float[AnyArray, "*batch T S"], values: Real[AnyArray, "S *d_v"]) -> AnyArray:
    """Each query's average of the values: out[…, t] = Σ_s weights[…, t, s] values[s].

    Values may be numbers, shape (S,), or vectors, shape (S, d_v).
    """
    if weights.shape[-1] != values.shape[0]:
        raise ValueError(
            f"expected one weight a value along the last axis of the weights; got weights {tuple(weights.shape)} for "
            f"values {tuple(values.shape)}: are the weights transposed, queries last?"
        )
    return weights @ values


def leave_one_out_loss(
    x: Real[AnyArray, " N"], y: Real[AnyArray, " N"], width: int | float | Tensor
) -> AnyArray | np.floating:
    """How well each point is predicted from all the others: the mean of (y_i − f_{−i}(x_i))², a number to choose
    ``width`` by.

    A point that may use itself is predicted perfectly by width → 0, which says nothing about new points: its own
    score is −∞ here, so its weight is 0 and the rest still sum to one.
    """
    xp = namespace(x)
    N = len(x)
    if N < 2:
        raise ValueError(f"leave_one_out_loss expects at least two points, got {N}: none would be left to predict from")
    itself = xp.eye(N, dtype=xp.bool, device=x.device)
    scores = xp.where(itself, -xp.inf, _gaussian_scores(x, x, width))
    predicted = attention_pool(softmax(scores), y)
    return ((y - predicted) ** 2).mean()


def _gaussian_scores(queries, keys, width):
    """The exponent of the bell, −(x_t − x_s)² / 2 width², for all pairs."""
    if not width > 0:
        raise ValueError(f"expected width > 0, the standard deviation of the bell, got {width}")
    distance = queries[:, None] - keys[None, :]
    return -((distance / width) ** 2) / 2
