"""The Triton kernel equals exact attention (where it can run), and the FlexAttention masks equal ours (anywhere)."""

import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

from attnlab import gpu_kernels
from attnlab.dot_product import scaled_dot_product_attention
from attnlab.gpu_kernels import flex_attention, flex_causal, flex_combine, flex_local, flex_padding, triton_attention
from attnlab.masks import causal_mask, combine, local_mask, padding_mask
from tests.lib.efficient_cases import close, draw, qkv

REASON = gpu_kernels.why_not()
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
needs_triton = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@needs_triton
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("T", "S"), [(1, 1), (67, 67), (131, 197), (150, 70)])
def test_triton_equals_exact_attention_forward_and_backward(causal, T, S):
    inputs = [x.to(DEVICE).requires_grad_() for x in qkv(T, S, 16, 16, batch=(2,), dtype=torch.float32)]
    g = draw(2, T, 16, seed=4, dtype=torch.float32).to(DEVICE)
    mask = causal_mask(T, S, like=g) if causal else None
    ours, exact = triton_attention(*inputs, causal=causal), scaled_dot_product_attention(*inputs, mask)
    close(ours, exact, 1e-4)
    for a, b in zip(torch.autograd.grad(ours, inputs, g), torch.autograd.grad(exact, inputs, g), strict=True):
        close(a, b, 1e-4)


@needs_triton
def test_triton_in_half_precision_stays_near_the_exact_result():
    half = torch.bfloat16 if DEVICE == "cuda" else torch.float16  # Triton's interpreter has no bfloat16 products
    inputs = [x.to(DEVICE) for x in qkv(97, 97, 32, 32, batch=(2, 3), dtype=half)]
    exact = scaled_dot_product_attention(*(x.float() for x in inputs), causal_mask(97, like=inputs[0]))
    assert (triton_attention(*inputs, causal=True).float() - exact).abs().max() < 3e-2


@needs_triton
def test_triton_names_a_width_it_cannot_take():
    q, k, v = qkv(5, 7, 16, 24, dtype=torch.float32)
    with pytest.raises(ValueError, match="16, 32, 64 or 128, got 16 and 24"):
        triton_attention.__wrapped__(q, k, v)


@pytest.mark.skipif(REASON is None, reason="Triton runs here")
def test_without_a_gpu_the_reason_is_one_sentence():
    q, k, v = qkv(5, 7, 16, 16, dtype=torch.float32)
    with pytest.raises(RuntimeError, match=r"cannot run: (Triton is not installed|there is no CUDA GPU)"):
        triton_attention(q, k, v)


@pytest.mark.parametrize(("T", "S"), [(7, 7), (5, 11)])
def test_flex_masks_are_our_masks(T, S):
    lengths = torch.tensor([S, 3])
    ours = combine(causal_mask(T, S, like=lengths), local_mask(T, S, 2, like=lengths), padding_mask(lengths, S))
    theirs = flex_combine(flex_causal(T, S), flex_local(T, S, 2), flex_padding(lengths))
    assert (create_mask(theirs, 2, 1, T, S, device="cpu") == ours).all()
    assert (create_mask(flex_causal(T, S), 1, 1, T, S, device="cpu") == causal_mask(T, S, like=lengths)).all()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_flex_attention_under_a_mask_of_ours_equals_exact_attention():
    q, k, v = qkv(13, 13, 16, 16, dtype=torch.float32)
    ours = flex_attention(q, k, v, flex_combine(flex_causal(13), flex_local(13, 13, 3)))
    mask = combine(causal_mask(13, like=q), local_mask(13, 13, 3, like=q))
    close(ours, scaled_dot_product_attention(q, k, v, mask), 1e-5)
