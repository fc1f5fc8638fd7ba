"""Weights for tests: far from a module's start, where biases of 0 and gains of 1 would hide a swap."""

import torch
from torch import nn


def shaken(module):
    """Every parameter drawn anew, in evaluation mode; sizes are such that attention is neither flat nor one-hot."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            fresh = torch.randn(parameter.shape, generator=rng)
            is_gain = name.endswith("weight") and parameter.ndim == 1
            parameter.copy_(1 + 0.3 * fresh if is_gain else fresh * 0.5)
    for part in module.modules():
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            part.weight.data[part.padding_idx] = 0
    return module.eval()
