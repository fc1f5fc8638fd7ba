"""What is compared with what. Each function builds one comparison; ``quick`` shrinks it to a few milliseconds."""

import functools
import warnings
from collections.abc import Callable

import torch
from torch import nn

from attnlab.blocked import blocked_attention
from attnlab.decoder import shift_right
from attnlab.decoding import CachedStep, FullStep, greedy_decode
from attnlab.dot_product import scaled_dot_product_attention
from attnlab.flash import flash_attention
from attnlab.gpt import GPT
from attnlab.gpu_kernels import triton_attention, why_not
from attnlab.masks import causal_mask
from attnlab.multi_head import FusedMultiHeadAttention, MultiHeadAttention
from attnlab.shapes import Tensor
from attnlab.torch_weights import load_torch
from attnlab.training import label_smoothed_loss
from attnlab.transformer import Transformer
from benchmarks.harness import Comparison, Job, NotHereError, Target
from benchmarks.peers import SplitProjections, TorchTransformer, x_transformers_gpt
from benchmarks.textbook import TEXTBOOKS

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
sdpa = nn.functional.scaled_dot_product_attention


def attention_forward(quick: bool) -> Comparison:
    """Exact attention, causal, in plain PyTorch against the fused kernel: forward."""
    return Comparison(
        "attention-forward",
        f"causal attention, {_size(quick)}, forward",
        {name: functools.partial(_forward, attention, _size(quick)) for name, attention in _causal().items()},
        baseline="F.scaled_dot_product_attention",
        targets=(
            Target(("blocked", "tiled, linear memory"), "F.scaled_dot_product_attention", 1.25),
            Target(("tiled, linear memory",), "F.scaled_dot_product_attention", 1.60),
        ),
        check_equal=True,
    )


def attention_training(quick: bool) -> Comparison:
    """The same, forward and backward."""
    return Comparison(
        "attention-training",
        f"causal attention, {_size(quick)}, forward + backward",
        {name: functools.partial(_training, attention, _size(quick)) for name, attention in _causal().items()},
        baseline="F.scaled_dot_product_attention",
        targets=(
            Target(("blocked", "tiled, linear memory"), "F.scaled_dot_product_attention", 1.00),
            Target(("tiled, linear memory",), "F.scaled_dot_product_attention", 1.30),
        ),
        check_equal=True,
    )


def attention_memory(quick: bool) -> Comparison:
    """Peak memory of attention over a long sequence."""
    size = (1, 2, 1024, 32) if quick else (1, 4, 8192, 64)
    return Comparison(
        "attention-memory",
        f"causal attention, {size}, forward + backward, peak memory above the inputs",
        {name: functools.partial(_training, attention, size, warm_up=True) for name, attention in _causal().items()},
        baseline="F.scaled_dot_product_attention",
        targets=() if quick else (Target(("tiled, linear memory",), None, 40),),
        measures="memory",
    )


def _causal() -> dict[str, Attention]:
    return {
        "F.scaled_dot_product_attention": lambda q, k, v: sdpa(q, k, v, is_causal=True),
        "readable": lambda q, k, v: scaled_dot_product_attention(q, k, v, causal_mask(q.shape[-2], like=q)),
        "blocked": lambda q, k, v: blocked_attention(q, k, v, causal=True),
        "tiled, linear memory": lambda q, k, v: flash_attention(q, k, v, causal=True),
    }


def _size(quick: bool) -> tuple[int, ...]:
    return (1, 2, 256, 32) if quick else (1, 8, 2048, 64)


def _textbook(T: int, backward: bool, quick: bool) -> Comparison:
    """The readable attention against textbook versions of it, with a causal mask."""
    size = (2, 2, 16, 8) if quick else (8, 4, T, 32) if T <= 256 else (1, 8, T, 64)
    mask = causal_mask(size[2], like=torch.empty(0))
    make = _training if backward else _forward
    versions: dict[str, Callable[..., Tensor]] = {"readable": scaled_dot_product_attention, **TEXTBOOKS}
    contenders = {
        name: functools.partial(make, functools.partial(attention, mask=mask), size)
        for name, attention in versions.items()
    }
    return Comparison(
        f"textbook-{T}-{'training' if backward else 'forward'}",
        f"readable attention and textbook versions, causal, {size}, forward{' + backward' if backward else ''}",
        contenders,
        baseline="readable",
        targets=tuple(Target(("readable",), name, 1.00) for name in TEXTBOOKS),
        check_equal=True,
    )


def _inputs(size: tuple[int, ...], number: int = 3) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=rng) for _ in range(number)]


def _forward(attention: Attention, size: tuple[int, ...]) -> Job:
    q, k, v = _inputs(size)

    @torch.no_grad()
    def job():
        return attention(q, k, v)

    return job


def _training(attention: Attention, size: tuple[int, ...], warm_up: bool = False) -> Job:
    q, k, v, g = _inputs(size, 4)
    for x in (q, k, v):
        x.requires_grad_()

    def job():
        return torch.autograd.grad(attention(q, k, v), (q, k, v), g)

    if warm_up:  # code pages and work spaces of the library are not what is measured
        small = [x.detach()[..., :128, :].clone().requires_grad_() for x in (q, k, v)]
        torch.autograd.grad(attention(*small), small, g[..., :128, :])
    return job


def multi_head(quick: bool) -> Comparison:
    """Multi-head self-attention, causal, forward and backward, d_model 256."""
    B, T, d_model, H = (2, 32, 64, 4) if quick else (8, 256, 256, 8)
    theirs = "nn.MultiheadAttention"

    def make(build: Callable[[nn.MultiheadAttention], nn.Module]) -> Job:
        torch.manual_seed(0)
        attend = build(nn.MultiheadAttention(d_model, H, batch_first=True))
        x, g = _inputs((B, T, d_model), 2)
        x.requires_grad_()
        parameters = [x, *attend.parameters()]

        def job():
            out = attend(x)
            return out.detach(), torch.autograd.grad(out, parameters, g)[0]

        return job

    return Comparison(
        "multi-head",
        f"causal multi-head self-attention, (B, T, d_model) = ({B}, {T}, {d_model}), {H} heads, forward + backward",
        {
            theirs: functools.partial(make, lambda module: _TorchHeads(module, T)),
            "split projections + F.scaled_dot_product_attention": functools.partial(make, SplitProjections),
            "readable": functools.partial(make, lambda module: _OurHeads(MultiHeadAttention.from_torch(module), T)),
            "fused": functools.partial(make, lambda module: _OurHeads(FusedMultiHeadAttention.from_torch(module), T)),
        },
        baseline=theirs,
        targets=(
            Target(("fused",), "split projections + F.scaled_dot_product_attention", 0.98),
            Target(("fused",), theirs, 0.87),
        ),
        check_equal=True,
    )


class _TorchHeads(nn.Module):
    def __init__(self, attention: nn.MultiheadAttention, T: int):
        super().__init__()
        self.attention, self.mask = attention, nn.Transformer.generate_square_subsequent_mask(T)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, attn_mask=self.mask, is_causal=True, need_weights=False)[0]


class _OurHeads(nn.Module):
    def __init__(self, attention: MultiHeadAttention, T: int):
        super().__init__()
        self.attention, self.mask = attention, causal_mask(T, like=torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, self.mask)


def _training_step(name: str, d_model: int, layers: int, length: int, vocab: int, batch: int) -> Comparison:
    """One step of training an encoder–decoder: forward, smoothed loss, backward, Adam."""
    H, d_ff, pad, bos = d_model // 32, 4 * d_model, 0, 1

    def make(build: Callable[[], nn.Module]) -> Job:
        torch.manual_seed(0)
        model = build().train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9)
        rng = torch.Generator().manual_seed(1)
        src, tgt = torch.randint(2, vocab, (2, batch, length), generator=rng)
        for row, n in enumerate(torch.randint(length // 2, length + 1, (batch,), generator=rng).tolist()):
            src[row, n:] = pad
            tgt[row, n:] = pad
        read = shift_right(tgt, bos)

        def job():
            optimizer.zero_grad(set_to_none=True)
            label_smoothed_loss(model(src, read), tgt, 0.1, pad).backward()
            optimizer.step()

        return job

    def ours(attention: type[MultiHeadAttention]) -> Callable[[], Transformer]:
        return lambda: Transformer(vocab, vocab, d_model, H, layers, d_ff, 0.1, pad, attention=attention)

    def theirs() -> TorchTransformer:
        return TorchTransformer(vocab, d_model, H, layers, d_ff, 0.1, pad)

    _require_same_model(ours(FusedMultiHeadAttention)(), theirs())
    return Comparison(
        name,
        f"training step of the encoder–decoder: d_model {d_model}, {layers}+{layers} layers, length {length}, "
        f"vocabulary {vocab:,}, batch {batch}, dropout 0.1",
        {
            "nn.Transformer": functools.partial(make, theirs),
            "readable": functools.partial(make, ours(MultiHeadAttention)),
            "fused": functools.partial(make, ours(FusedMultiHeadAttention)),
        },
        baseline="nn.Transformer",
        targets=(Target(("fused",), "nn.Transformer", 0.90),),
    )


def _require_same_model(ours: Transformer, theirs: TorchTransformer) -> None:
    """With their weights, ours must give their logits: same parameters, same function."""
    load_torch(ours.encoder, theirs.transformer.encoder)
    load_torch(ours.decoder, theirs.transformer.decoder)
    for part in ("src_embedding", "tgt_embedding", "W_out"):
        getattr(ours, part).load_state_dict(getattr(theirs, part).state_dict())
    src, tgt = torch.tensor([[3, 5, 2, 0], [4, 2, 6, 7]]), torch.tensor([[1, 5, 2], [1, 4, 3]])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that its fast path may change
        torch.testing.assert_close(ours.eval()(src, tgt), theirs.eval()(src, tgt), atol=1e-4, rtol=1e-4)


def decoding(quick: bool) -> Comparison:
    """Greedy decoding of a GPT, token by token: with a KV cache, without, and x-transformers with its cache."""
    V, length, d_model, layers, H = (64, 24, 32, 2, 2) if quick else (256, 256, 128, 4, 4)
    torch.manual_seed(0)
    model = GPT(V, d_model, H, layers, 4 * d_model, max_length=length + 1, attention=FusedMultiHeadAttention).eval()
    first = torch.tensor([1])
    return Comparison(
        "decoding",
        f"greedy decoding of {length} tokens, one row: {layers} layers, d_model {d_model}, {H} heads",
        {
            "cached": lambda: lambda: greedy_decode(CachedStep(model, model.start()), first, length),
            "uncached": lambda: lambda: greedy_decode(FullStep(model), first, length),
            "x-transformers, cached": lambda: x_transformers_gpt(V, d_model, H, layers, length),
        },
        baseline="uncached",
        targets=(Target(("cached",), "uncached", 1 / 5), Target(("cached",), "x-transformers, cached", 1 / 2.4)),
        rounds=5,
        most_rounds=25,
    )


def _gpu(T: int, backward: bool, quick: bool) -> Comparison:
    """Our Triton kernel against torch's fused attention, bf16, causal."""
    reason = why_not() if torch.cuda.is_available() else "there is no CUDA GPU here"
    if reason is not None:
        raise NotHereError(reason)
    size = (1, 2, 256, 64) if quick else (max(1, 16384 // T), 16, T, 64)
    q, k, v, g = (x.to("cuda", torch.bfloat16) for x in _inputs(size, 4))
    for x in (q, k, v):
        x.requires_grad_(backward)

    def make(attention: Attention) -> Job:
        if backward:
            return lambda: torch.autograd.grad(attention(q, k, v), (q, k, v), g)
        return lambda: attention(q, k, v)

    peer = "F.scaled_dot_product_attention"
    return Comparison(
        f"gpu-{T}-{'training' if backward else 'forward'}",
        f"causal attention on a GPU, {size}, bfloat16, forward{' + backward' if backward else ''}",
        {
            peer: lambda: make(lambda q, k, v: sdpa(q, k, v, is_causal=True)),
            "Triton": lambda: make(lambda q, k, v: triton_attention(q, k, v, causal=True)),
        },
        baseline=peer,
        targets=(Target(("Triton",), peer, 1 / 0.7),),
    )


def _step_size(quick: bool, *full: int) -> tuple[int, ...]:
    return (64, 1, 8, 50, 2) if quick else full


ALL: dict[str, Callable[[bool], Comparison]] = {
    "attention-forward": attention_forward,
    "attention-training": attention_training,
    "attention-memory": attention_memory,
    **{
        f"textbook-{T}-{'training' if backward else 'forward'}": functools.partial(_textbook, T, backward)
        for T in (64, 256, 1024, 2048)
        for backward in (False, True)
    },
    "multi-head": multi_head,
    "step-128": lambda quick: _training_step("step-128", *_step_size(quick, 128, 2, 16, 1000, 32)),
    "step-256": lambda quick: _training_step("step-256", *_step_size(quick, 256, 3, 32, 8000, 16)),
    "decoding": decoding,
    **{
        f"gpu-{T}-{'training' if backward else 'forward'}": functools.partial(_gpu, T, backward)
        for T in (2048, 8192, 32768)
        for backward in (False, True)
    },
}
