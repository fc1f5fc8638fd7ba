"""Reading attention as an alignment: which source word stands behind each target word, and how sure is it?"""

from collections.abc import Collection, Sequence

from attnlab.arrays import namespace
from attnlab.shapes import AnyArray, Float

Pair = tuple[int, int]


def alignment(weights: Float[AnyArray, "T S"]) -> list[Pair]:
    """The hard alignment: each query with the key that it weighs most, as pairs (t, s).

        {(t, argmax_s weights[t, s])}

    Of equal weights the first wins; a query without any weight, fully masked, is aligned with nothing.
    """
    best = weights.argmax(-1).tolist()
    attends = namespace(weights).any(weights > 0, -1).tolist()
    return [(t, s) for t, s in enumerate(best) if attends[t]]


def alignment_error_rate(predicted: Collection[Pair], sure: Collection[Pair], possible: Collection[Pair]) -> float:
    """How far predicted links are from what people drew: 0 is perfect, 1 shares nothing.

        AER = 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|)

    A: predicted. S: links that people call sure. P: links that they call possible; every sure link is possible too,
    so P is taken to contain S even where the caller lists it apart. Nothing predicted where nothing is sure: 0.

    Reference: Och, Ney, "A Systematic Comparison of Various Statistical Alignment Models", 2003.
    """
    A, S = set(predicted), set(sure)
    P = set(possible) | S
    if not A and not S:
        return 0.0
    return 1 - (len(A & S) + len(A & P)) / (len(A) + len(S))


def attention_entropy(weights: Float[AnyArray, "*batch T S"]) -> Float[AnyArray, "*batch T"]:
    """How widely a query looks, in nats: 0 for one key alone, log S for all alike.

        H_t = −Σ_s w_ts log w_ts,    with 0 · log 0 = 0

    exp(H) reads as the number of keys that it looks at.
    """
    xp = namespace(weights)
    some = weights > 0
    # log 1 = 0 stands in where the weight is 0: no NaN, in the gradient either.
    return -xp.sum(weights * xp.log(xp.where(some, weights, 1.0)), -1)


def rollout(weights_per_layer: Sequence[Float[AnyArray, "*batch T T"]]) -> Float[AnyArray, "*batch T T"]:
    """How much of each input arrives at each output through all layers, first layer first.

        A_l = ½ (W_l + I)    rollout = A_L … A_2 A_1

    The identity is the residual connection: half of what a layer passes on is what it was given. Weights with heads
    are averaged over them by the caller. A description of where information could flow, not of what was used.

    Reference: Abnar, Zuidema, "Quantifying Attention Flow in Transformers", 2020.
    """
    if not weights_per_layer:
        raise ValueError("rollout expects the weights of at least one layer, got none")
    xp = namespace(weights_per_layer[0])
    *_, T, S = weights_per_layer[0].shape
    if T != S:
        raise ValueError(
            f"rollout expects self-attention, square weights, got {tuple(weights_per_layer[0].shape)}: "
            "cross-attention has no residual from its keys to its queries"
        )
    identity = xp.eye(T, dtype=weights_per_layer[0].dtype, device=weights_per_layer[0].device)
    flow = identity
    for weights in weights_per_layer:
        flow = (weights + identity) / 2 @ flow
    return flow
