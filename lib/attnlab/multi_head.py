"""Multi-head attention: several small attentions side by side, each in a subspace of its own.

    head_h = Attention(Q W_q^h, K W_k^h, V W_v^h)        MultiHead(Q, K, V) = Concat(head_1 … head_H) W_o

Head h owns the columns h·d_k … (h+1)·d_k of W_q, W_k and W_v, with d_k = d_model / H: the heads are made by *splitting*
one projection, so more heads cost no more parameters. Reference: Vaswani et al. 2017, section 3.2.2.
"""

import torch
from torch import nn

from attnlab.causal_attention import causal_attention
from attnlab.dot_product import attention_weights, scaled_dot_product_attention
from attnlab.dropout import Dropout
from attnlab.masks import causal_mask, require_boolean
from attnlab.shapes import Float, Tensor
from attnlab.torch_weights import load_torch


def split_heads(x: Float[Tensor, "B T d_model"], num_heads: int) -> Float[Tensor, "B H T d_k"]:
    """Cut the columns into heads, and move the heads in front of the positions.

    A reshape alone, straight to (B, H, T, d_k), would cut the *positions*: a head would see T/H of them.
    """
    B, T, d_model = x.shape
    d_k = _width_of_a_head(d_model, num_heads)
    return x.reshape(B, T, num_heads, d_k).transpose(1, 2)


def merge_heads(x: Float[Tensor, "B H T d_k"]) -> Float[Tensor, "B T d_model"]:
    """The inverse of split_heads: the heads' columns side by side again."""
    B, H, T, d_k = x.shape
    return x.transpose(1, 2).reshape(B, T, H * d_k)


def multi_head_attention(
    query: Float[Tensor, "B T d_model"],
    key: Float[Tensor, "B S d_model"],
    value: Float[Tensor, "B S d_model"],
    W_q: Float[Tensor, "d_model d_model"],
    W_k: Float[Tensor, "d_model d_model"],
    W_v: Float[Tensor, "d_model d_model"],
    W_o: Float[Tensor, "d_model d_model"],
    num_heads: int,
    mask: Tensor | None = None,
) -> Float[Tensor, "B T d_model"]:
    """MultiHead(Q, K, V) = Concat(head_1 … head_H) W_o, as in the paper, without biases.

    ``mask`` broadcasts to (B, H, T, S): a mask of shape (B, T, S) needs an axis for the heads, ``mask[:, None]``.
    """
    q = split_heads(query @ W_q, num_heads)
    k = split_heads(key @ W_k, num_heads)
    v = split_heads(value @ W_v, num_heads)
    heads = scaled_dot_product_attention(q, k, v, mask)
    return merge_heads(heads) @ W_o


def parameter_count(d_model: int, num_heads: int, bias: bool = False) -> int:
    """How many numbers W_q, W_k, W_v and W_o hold (and their biases): H cancels, since H · d_k = d_model."""
    d_k = _width_of_a_head(d_model, num_heads)
    into_heads = 3 * num_heads * d_model * d_k
    out_of_heads = num_heads * d_k * d_model
    return into_heads + out_of_heads + (4 * d_model if bias else 0)


class MultiHeadAttention(nn.Module):
    """multi_head_attention with its parameters; equal to nn.MultiheadAttention (``from_torch``).

    Like it, and unlike the paper, each projection has a bias; dropout falls on the attention weights. The forward is
    in two steps, ``project`` and ``attend``, because a cache (attnlab.cache) and rotary positions go between them.
    """

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0, bias: bool = True):
        super().__init__()
        _width_of_a_head(d_model, num_heads)
        self.num_heads = num_heads
        self.W_q = nn.Linear(d_model, d_model, bias)
        self.W_k = nn.Linear(d_model, d_model, bias)
        self.W_v = nn.Linear(d_model, d_model, bias)
        self.W_o = nn.Linear(d_model, d_model, bias)
        self.dropout = Dropout(dropout)
        for W in (self.W_q, self.W_k, self.W_v, self.W_o):
            nn.init.xavier_uniform_(W.weight)
            if bias:
                nn.init.zeros_(W.bias)

    def forward(
        self,
        query: Float[Tensor, "B T d_model"],
        key: Float[Tensor, "B S d_model"],
        value: Float[Tensor, "B S d_model"],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "B T d_model"]:
        q, k, v = self.project(query, key, value)
        return self.attend(q, k, v, mask)

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of all heads, each (B, H, length, d_k)."""
        q = split_heads(self.W_q(query), self.num_heads)
        k = split_heads(self.W_k(key), self.num_heads)
        v = split_heads(self.W_v(value), self.num_heads)
        return q, k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Float[Tensor, "B T d_model"]:
        """What the heads found, put together: (B, T, d_model)."""
        weights = self.dropout(attention_weights(q, k, mask))
        return self.W_o(merge_heads(weights @ v))

    def weights(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Float[Tensor, "B H T S"]:
        """The attention weights of each head, without dropout, for a look at them."""
        q, k, _ = self.project(query, key, key)
        return attention_weights(q, k, mask)

    @classmethod
    def from_torch(cls, theirs: nn.MultiheadAttention) -> "MultiHeadAttention":
        """The same attention as torch's module. Mind its boolean masks: there, True = hidden."""
        ours = cls(theirs.embed_dim, theirs.num_heads, theirs.dropout, bias=theirs.in_proj_bias is not None)
        return load_torch(ours.to(theirs.in_proj_weight), theirs)


class FusedMultiHeadAttention(MultiHeadAttention):
    """The same numbers and the same parameters, faster: the projections in one product, the heads in torch's kernel.

    - One product with [W_q; W_k; W_v] reads x once and, backward, sums the three gradients of x inside the product.
      (With few rows, as when a cache is at work, to put the three together would cost more than that saves.)
    - torch's scaled_dot_product_attention never writes the weights to memory; a causal mask lets it skip the future.
      Where a gradient is wanted on a CPU, attnlab.causal_attention keeps them, and is faster still.
    - Every split and merge is a view: the kernel reads and writes the projection's own layout.
    """

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        few_rows = query.shape[0] * query.shape[1] < query.shape[2]
        if few_rows:
            return super().project(query, key, value)
        if query is key is value:
            q, k, v = _project_together(query, self.W_q, self.W_k, self.W_v)
        elif key is value:
            (q,) = _project_together(query, self.W_q)
            k, v = _project_together(key, self.W_k, self.W_v)
        else:
            q, k, v = self.W_q(query), self.W_k(key), self.W_v(value)
        return split_heads(q, self.num_heads), split_heads(k, self.num_heads), split_heads(v, self.num_heads)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Float[Tensor, "B T d_model"]:
        if self.training and self.dropout.p:  # weights that are dropped must be written out first
            return super().attend(q, k, v, mask)
        T, S = q.shape[-2], k.shape[-2]
        if is_causal(mask, T, S):
            if q.requires_grad and q.is_cpu and T <= 1024:  # keeping the weights spares the backward, while they fit
                heads = causal_attention(q, k, v)
            else:
                heads = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            heads = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.W_o(merge_heads(heads))


def is_causal(mask: Tensor | None, T: int, S: int) -> bool:
    """Is this exactly the causal mask of a square? To look is cheap beside what a kernel saves that knows it."""
    if mask is None:
        return False
    require_boolean(mask)
    return mask.shape == (T, S) and T == S and torch.equal(mask, causal_mask(T, S, like=mask))


def _project_together(x: Tensor, *projections: nn.Linear) -> tuple[Tensor, ...]:
    """x W + b for several W in one product."""
    weight = torch.cat([W.weight for W in projections])
    bias = None if projections[0].bias is None else torch.cat([W.bias for W in projections])
    return nn.functional.linear(x, weight, bias).chunk(len(projections), dim=-1)


def _width_of_a_head(d_model: int, num_heads: int) -> int:
    if d_model % num_heads:
        raise ValueError(
            f"each head gets d_model / num_heads columns, so num_heads must divide d_model; "
            f"got d_model = {d_model} and num_heads = {num_heads}"
        )
    return d_model // num_heads
