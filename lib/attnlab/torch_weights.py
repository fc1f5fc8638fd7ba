"""The border with torch.nn: the same numbers under our names. (Its boolean masks mean the opposite: True = hidden.)"""

from typing import TypeVar

import torch
from torch import nn

from attnlab.shapes import Tensor

M = TypeVar("M", bound=nn.Module)

NAMES = {
    "self_attn": "self_attention",
    "multihead_attn": "cross_attention",
    "out_proj": "W_o",
    "linear1": "feed_forward.W_1",
    "linear2": "feed_forward.W_2",
    "norm1": "norm_1",
    "norm2": "norm_2",
    "norm3": "norm_3",
}


def load_torch(ours: M, theirs: nn.Module) -> M:
    """Copy the weights of nn.MultiheadAttention, of a layer of nn.Transformer, or of its encoder or decoder."""
    ours.load_state_dict(our_names(theirs.state_dict()))
    return ours


def our_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of torch's under our names; torch stacks W_q, W_k and W_v in one matrix, ours are three."""
    renamed = {}
    for name, tensor in state.items():
        path = ".".join(NAMES.get(part, part) for part in name.split("."))
        if "in_proj_" in path:
            for W, part in zip(("W_q", "W_k", "W_v"), torch.chunk(tensor, 3), strict=True):
                renamed[path.replace("in_proj_", f"{W}.")] = part
        else:
            renamed[path] = tensor
    return renamed
