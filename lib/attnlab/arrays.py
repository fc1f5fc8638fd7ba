"""One text for NumPy and PyTorch: the two libraries agree on the few names that Part I needs."""

from types import ModuleType

import numpy as np
import torch


def namespace(x: object) -> ModuleType:
    """The module whose functions understand ``x``: ``torch`` for a tensor, ``numpy`` for everything else."""
    return torch if isinstance(x, torch.Tensor) else np
