"""Attention on a GPU: our own Triton kernel, and the course's masks for PyTorch's FlexAttention.

Triton is imported when ``triton_attention`` is called, not before: without a GPU, or without Triton, everything else
of the library works, and ``why_not`` says in a sentence what is missing.

FlexAttention compiles a mask that is given as a *predicate*, ``mask(b, h, t, s)``, and skips the tiles it empties. The
predicates here are those of ``attnlab.masks``, True = may attend, ends aligned.
"""

import functools
import importlib.util
import math
import os
from collections.abc import Callable

import torch
from torch.autograd.function import once_differentiable

from attnlab.shapes import Float, Int, Tensor

Predicate = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def why_not() -> str | None:
    """Why ``triton_attention`` cannot run here; None where it can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (`pip install triton`; it comes with PyTorch's CUDA builds)"
    if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
        return "there is no CUDA GPU here (TRITON_INTERPRET=1 runs the kernel on a CPU, slowly, to check its numbers)"
    return None


def triton_attention(
    q: Float[Tensor, "*batch T d_k"],
    k: Float[Tensor, "*batch S d_k"],
    v: Float[Tensor, "*batch S d_k"],
    *,
    causal: bool = False,
) -> Float[Tensor, "*batch T d_k"]:
    """softmax(q kᵀ / √d_k) v by our Triton kernel, forward and backward, in memory linear in the length.

    d_k = d_v is 16, 32, 64 or 128. ``causal`` aligns the ends; a query that sees nothing gets zeros.
    """
    reason = why_not()
    if reason is not None:
        raise RuntimeError(f"triton_attention cannot run: {reason}")
    *batch, T, d_k = q.shape
    if d_k not in (16, 32, 64, 128) or v.shape[-1] != d_k:
        raise ValueError(f"expected d_k = d_v of 16, 32, 64 or 128, got {d_k} and {v.shape[-1]}: pad with zeros")
    q, k, v = (x.reshape(math.prod(batch), *x.shape[-2:]).contiguous() for x in (q, k, v))
    return _TritonAttention.apply(q, k, v, causal).view(*batch, T, d_k)


class _TritonAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        from attnlab import triton_kernels

        out = torch.empty_like(q)
        L = torch.empty(q.shape[:2], dtype=torch.float32, device=q.device)
        triton_kernels.forward(q, k, v, out, L, causal)
        ctx.save_for_backward(q, k, v, out, L)
        ctx.causal = causal
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, dout: Tensor):
        from attnlab import triton_kernels

        q, k, v, out, L = ctx.saved_tensors
        dout = dout.contiguous()
        delta = (dout.float() * out.float()).sum(-1)
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        triton_kernels.backward(q, k, v, dout, L, delta, dq, dk, dv, ctx.causal)
        return dq, dk, dv, None


def flex_causal(T: int, S: int | None = None) -> Predicate:
    """masks.causal_mask: s ≤ t + S − T."""
    offset = 0 if S is None else S - T
    return lambda b, h, t, s: s <= t + offset


def flex_local(T: int, S: int, radius: int) -> Predicate:
    """masks.local_mask: |s − (t + S − T)| ≤ radius."""
    offset = S - T
    return lambda b, h, t, s: (s - t - offset).abs() <= radius


def flex_padding(lengths: Int[Tensor, "B"]) -> Predicate:
    """masks.padding_mask: s < lengths[b]."""
    return lambda b, h, t, s: s < lengths[b]


def flex_combine(*masks: Predicate) -> Predicate:
    """masks.combine: what every mask permits."""
    return lambda b, h, t, s: functools.reduce(torch.logical_and, (mask(b, h, t, s) for mask in masks))


def flex_attention(
    q: Float[Tensor, "B H T d_k"], k: Float[Tensor, "B H S d_k"], v: Float[Tensor, "B H S d_v"], mask: Predicate
) -> Float[Tensor, "B H T d_v"]:
    """Attention under a predicate, by torch's FlexAttention: compiled on a GPU, as written (and slow) on a CPU."""
    from torch.nn.attention import flex_attention as flex

    B, _, T, _ = q.shape
    blocks = flex.create_block_mask(mask, B, None, T, k.shape[2], device=str(q.device))
    attend = torch.compile(flex.flex_attention) if q.is_cuda else flex.flex_attention
    return attend(q, k, v, block_mask=blocks)
