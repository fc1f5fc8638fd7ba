"""The peers: torch's own modules and x-transformers, set up to compute what ours compute."""

import math

import torch
from torch import nn

from attnlab.shapes import Tensor
from attnlab.transformer import Embedding
from benchmarks.harness import Job, NotHereError


class SplitProjections(nn.Module):
    """The usual hand-written fast module: four Linear layers around torch's fused attention."""

    def __init__(self, weights_of: nn.MultiheadAttention):
        super().__init__()
        d_model = weights_of.embed_dim
        self.num_heads = weights_of.num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(d_model, d_model) for _ in range(4))
        with torch.no_grad():
            packed = zip(weights_of.in_proj_weight.chunk(3), weights_of.in_proj_bias.chunk(3), strict=True)
            for linear, (weight, bias) in zip((self.q, self.k, self.v), packed, strict=True):
                linear.weight.copy_(weight)
                linear.bias.copy_(bias)
            self.o.load_state_dict(weights_of.out_proj.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        B, T, d_model = x.shape
        q, k, v = (
            linear(x).view(B, T, self.num_heads, d_model // self.num_heads).transpose(1, 2)
            for linear in (self.q, self.k, self.v)
        )
        out = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(out.transpose(1, 2).contiguous().view(B, T, d_model))


class TorchTransformer(nn.Module):
    """nn.Transformer with embeddings and output like ours, the same masks, and torch's dropout throughout."""

    def __init__(self, vocab: int, d_model: int, num_heads: int, layers: int, d_ff: int, dropout: float, pad: int):
        super().__init__()
        self.pad = pad
        self.src_embedding = Embedding(vocab, d_model, dropout, pad)
        self.tgt_embedding = Embedding(vocab, d_model, dropout, pad)
        self.src_embedding.dropout = nn.Dropout(dropout)  # type: ignore[assignment]  # ours draws faster
        self.tgt_embedding.dropout = nn.Dropout(dropout)  # type: ignore[assignment]
        self.transformer = nn.Transformer(d_model, num_heads, layers, layers, d_ff, dropout, batch_first=True)
        self.W_out = nn.Linear(d_model, vocab)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        padding = src == self.pad
        future = torch.ones(tgt.shape[1], tgt.shape[1], dtype=torch.bool).triu(1)
        out = self.transformer(
            self.src_embedding(src),
            self.tgt_embedding(tgt),
            tgt_mask=future,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        return self.W_out(out)


def x_transformers_gpt(vocab: int, d_model: int, num_heads: int, layers: int, length: int) -> Job:
    """x-transformers' decoder of the same size, writing greedily with its KV cache."""
    try:
        from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper
    except ImportError as error:
        raise NotHereError(
            "x-transformers is not installed: `pip install --no-deps x-transformers einops einx loguru frozendict "
            f"torch-einops-utils` adds it as a peer ({error})"
        ) from error
    torch.manual_seed(0)
    decoder = Decoder(dim=d_model, depth=layers, heads=num_heads, attn_dim_head=d_model // num_heads, attn_flash=True)
    model = AutoregressiveWrapper(TransformerWrapper(num_tokens=vocab, max_seq_len=length + 1, attn_layers=decoder))
    model.eval()
    prompt = torch.tensor([[1]])

    def job():
        written = model.generate(prompt, length, temperature=0.0, cache_kv=True)
        assert math.prod(written.shape) == length

    return job
