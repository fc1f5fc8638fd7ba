"""What do heads do, and what may be read off their weights?

attention_maps       the weights of every layer, from any model built of ``MultiHeadAttention``
induction_score      how far a head looks up what followed last time
ablate_head          the output without one head: does anything change?
same_output_weights  other weights, same output: weights alone explain nothing
"""

import copy
from collections.abc import Callable

import torch
from torch import nn

from attnlab.dot_product import attention_weights
from attnlab.masks import causal_mask
from attnlab.multi_head import MultiHeadAttention, merge_heads
from attnlab.shapes import Float, Int, Tensor


@torch.no_grad()
def attention_maps(model: nn.Module, *inputs: Tensor) -> list[Float[Tensor, "B H T S"]]:
    """The weights of every ``MultiHeadAttention`` in ``model`` during ``model(*inputs)``, in the order they ran."""
    maps = []

    def recording(attend):
        def attend_and_record(q, k, v, mask=None):
            maps.append(attention_weights(q, k, mask))
            return attend(q, k, v, mask)

        return attend_and_record

    attentions = _attentions(model)
    for attention in attentions:
        vars(attention)["attend"] = recording(attention.attend)
    try:
        model(*inputs)
    finally:
        for attention in attentions:
            del vars(attention)["attend"]  # the class's own method shows again
    return maps


def induction_score(weights: Float[Tensor, "B H T T"], tokens: Int[Tensor, "B T"]) -> Float[Tensor, "H"]:
    """How much of its attention each head pays to what followed earlier occurrences of the token it stands on.

        score_h = mean over t of Σ_s weights[h, t, s]   with s ≤ t and tokens[s - 1] = tokens[t]

    The mean goes over the positions whose token has occurred before (if none has, the score is 0). In "A B … A" an
    induction head looks at B, and so can predict it.

    Two warnings. Where every text repeats at one distance, a head that always looks back so far scores 1: vary the
    distance. And a model may copy without any such head, by reading B off a state further on: a low score proves
    little.

    Olsson et al., 2022, "In-context learning and induction heads" (their *prefix matching* score).
    """
    T = tokens.shape[1]
    earlier = causal_mask(T, like=tokens).tril(-1)  # s < t
    occurred = (tokens[:, :, None] == tokens[:, None, :]) & earlier  # B T T
    followed = occurred.roll(1, dims=-1)  # from s to s + 1; nothing wraps round, as nothing is earlier than itself
    attended = (weights * followed[:, None]).sum(dim=-1)  # B H T
    repeats = occurred.any(dim=-1)
    return attended.sum(dim=(0, 2)) / repeats.sum().clamp(min=1)


def ablate_head(
    heads: Float[Tensor, "B H T d_v"], head: int, W_o: Float[Tensor, "H_times_d_v d_model"]
) -> Float[Tensor, "B T d_model"]:
    """The output of multi-head attention with one head silent: Concat(head_1 … 0 … head_H) W_o.

    The output is the sum over the heads of head_h W_o[rows of h], so this takes one term away. (Mean ablation, the
    other custom, puts the head's mean over a data set in its place.)

    Michel, Levy, Neubig, 2019, "Are sixteen heads really better than one?".
    """
    H = heads.shape[1]
    if not 0 <= head < H:
        raise ValueError(
            f"There is no head {head} among {H} heads {tuple(heads.shape)}: heads count from 0 to {H - 1}."
        )
    silent = torch.arange(H, device=heads.device)[:, None, None] == head
    return merge_heads(heads.masked_fill(silent, 0)) @ W_o


def without_head(model: nn.Module, layer: int, head: int) -> nn.Module:
    """A copy of ``model`` in which ``head`` of its ``layer``-th ``MultiHeadAttention`` is silent."""
    model = copy.deepcopy(model)
    attention = _attentions(model)[layer]
    if not 0 <= head < attention.num_heads:
        raise ValueError(f"There is no head {head} in layer {layer}, which has {attention.num_heads}.")
    d_k = attention.W_o.in_features // attention.num_heads
    with torch.no_grad():
        attention.W_o.weight[:, head * d_k : (head + 1) * d_k] = 0  # nn.Linear keeps W_o transposed: rows are columns
    return model


def head_effects(model: nn.Module, score: Callable[[nn.Module], float]) -> list[list[float]]:
    """score(model without the head) - score(model), for each layer and head: which heads does the score need?"""
    whole = score(model)
    return [
        [score(without_head(model, layer, head)) - whole for head in range(attention.num_heads)]
        for layer, attention in enumerate(_attentions(model))
    ]


def same_output_weights(weights: Float[Tensor, "S"], values: Float[Tensor, "S d_v"]) -> Float[Tensor, "S"]:
    """Other attention weights with which the same values give the same output.

        α' = α + c n   with   nᵀ [V 1] = 0   and   α' ≥ 0

    S weights meet d_v + 1 conditions (the output, and a sum of 1), so with S > d_v + 1 keys some direction n is free.
    Among the basis of these directions, this goes furthest: until one weight is 0. One query, one head.

    Brunner et al., 2020, "On identifiability in transformers".
    """
    S, d_v = values.shape
    conditions = torch.cat([values, torch.ones_like(values[:, :1])], dim=1)  # S, d_v + 1
    U, sizes, _ = torch.linalg.svd(conditions)
    rank = int((sizes > sizes.max() * S * torch.finfo(values.dtype).eps).sum())
    if rank == S:
        raise ValueError(
            f"No other weights of these {S} keys have this output: S must exceed the rank of [V 1], which is {rank} "
            f"(d_v = {d_v}); take more keys or narrower values."
        )
    free = U[:, rank:].T
    directions = torch.cat([free, -free])  # the way there, and the way back
    room = torch.where(directions < 0, weights / -directions, torch.inf).amin(dim=1)  # until a weight is 0
    moved = room[:, None] * directions
    return (weights + moved[moved.abs().sum(dim=1).argmax()]).clamp(min=0)


def _attentions(model: nn.Module) -> list[MultiHeadAttention]:
    return [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
