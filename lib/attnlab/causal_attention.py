"""Causal attention for training on a CPU: exact, with its own backward, which keeps the weights instead of recomputing.

    forward    P = softmax(Q Kᵀ / √d_k), row by row over the past        O = P V
    backward   dV = Pᵀ G    dS = P ∘ (G Vᵀ − rowsum(O ∘ G)) / √d_k       dQ = dS K    dK = dSᵀ Q

The rows are taken in blocks: a block of queries meets the keys up to its own end, so about half of the T × T pairs are
never computed. Beside autograd over the same lines it spares copies (heads are laid out once, gradients are summed in
place); beside torch's kernel, a second computation of P. The price is memory: B · H · T²/2 numbers until the backward.
"""

import torch

from attnlab.shapes import Float, Tensor


def causal_attention(
    q: Float[Tensor, "B H T d_k"], k: Float[Tensor, "B H T d_k"], v: Float[Tensor, "B H T d_v"], block: int = 32
) -> Float[Tensor, "B H T d_v"]:
    """scaled_dot_product_attention(q, k, v, causal_mask(T)), for sequences whose weights fit in memory."""
    return _CausalAttention.apply(q, k, v, block)


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, block):
        B, H, T, d_k = q.shape
        ctx.block, ctx.scale = block, d_k**-0.5
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
        # Written in the order (B, T, H, d_v), so that merging the heads afterwards is a view.
        out = v.new_empty(B, T, H, v.shape[-1]).transpose(1, 2)
        future = q.new_full((block, block), -torch.inf).triu_(diagonal=1)
        q = q * ctx.scale
        kept = []
        for start, end in _blocks(T, block):
            scores = torch.bmm(q[:, start:end], k[:, :end].mT)
            scores[..., start:] += future[: end - start, : end - start]
            weights = torch.softmax(scores, dim=-1)
            out[:, :, start:end] = torch.bmm(weights, v[:, :end]).unflatten(0, (B, H))
            kept.append(weights)
        ctx.save_for_backward(q, k, v, out, *kept)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        q, k, v, out, *kept = ctx.saved_tensors
        B, H, T, _ = grad.shape
        shared = (grad * out).sum(dim=-1).view(B * H, T, 1)  # rowsum(O ∘ G) = rowsum(P ∘ dP)
        grad = grad.flatten(0, 1)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for weights, (start, end) in zip(kept, _blocks(T, ctx.block), strict=True):
            g = grad[:, start:end]
            dv[:, :end].baddbmm_(weights.mT, g)
            dscores = torch.bmm(g, v[:, :end].mT).sub_(shared[:, start:end]).mul_(weights)
            dq[:, start:end] = torch.bmm(dscores, k[:, :end])
            dk[:, :end].baddbmm_(dscores.mT, q[:, start:end])  # q carries the scale already
        return *(x.unflatten(0, (B, H)) for x in (dq.mul_(ctx.scale), dk, dv)), None


def _blocks(T, block):
    return [(start, min(start + block, T)) for start in range(0, T, block)]
