"""What the tests of efficient attention share: inputs with a distinct prime a dimension, and an eye on memory."""

import torch
from hypothesis import settings
from torch.utils._python_dispatch import TorchDispatchMode

LAWS = settings(max_examples=25, deadline=None, derandomize=True)


def draw(*shape, seed=0, dtype=torch.float64, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(scale).to(dtype)


def qkv(T, S, d_k=5, d_v=7, batch=(2, 3), dtype=torch.float64, scale=1.0):
    return (
        draw(*batch, T, d_k, seed=1, dtype=dtype, scale=scale),
        draw(*batch, S, d_k, seed=2, dtype=dtype, scale=scale),
        draw(*batch, S, d_v, seed=3, dtype=dtype),
    )


def close(a, b, atol=1e-10):
    assert a.shape == b.shape
    torch.testing.assert_close(a, b, atol=atol, rtol=1e-7 if atol < 1e-8 else 1e-4)


class LargestTensor(TorchDispatchMode):
    """Remembers the size of the largest result of any operation under it: a T × S matrix would show."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numel = max(self.numel, result.numel())
        return result
