"""The laws of layer norm and RMS norm."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.norms import LayerNorm, RMSNorm, layer_norm, rms_norm

few = settings(max_examples=20, deadline=None, derandomize=True)


def test_layer_norm_by_hand():
    x = torch.tensor([1.0, 3.0])  # mean 2, variance 1 (dividing by 2, not by 1)
    gain, bias = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 10.0])
    torch.testing.assert_close(layer_norm(x, gain, bias, eps=0.0), torch.tensor([-1.0, 12.0]))
    torch.testing.assert_close(layer_norm(x, gain, bias, eps=3.0), torch.tensor([-0.5, 11.0]))


def test_rms_norm_by_hand():
    x = torch.tensor([1.0, 7.0])  # mean square 25
    torch.testing.assert_close(rms_norm(x, torch.tensor([1.0, 2.0]), eps=0.0), torch.tensor([0.2, 2.8]))
    torch.testing.assert_close(rms_norm(x, torch.ones(2), eps=75.0), torch.tensor([0.1, 0.7]))


@few
@given(st.floats(0.1, 10), st.floats(-10, 10))
def test_layer_norm_ignores_scale_and_shift(scale, shift):
    x = torch.randn(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain, bias = torch.randn(2, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(layer_norm(scale * x + shift, gain, bias, 0.0), layer_norm(x, gain, bias, 0.0))


@few
@given(st.floats(0.1, 10))
def test_rms_norm_ignores_scale_and_not_shift(scale):
    x = torch.randn(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain = torch.linspace(0.5, 2, 7, dtype=torch.float64)
    torch.testing.assert_close(rms_norm(scale * x, gain, 0.0), rms_norm(x, gain, 0.0))
    assert (rms_norm(x + scale, gain, 0.0) - rms_norm(x, gain, 0.0)).abs().max() > 1e-2


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 5, 7), (0, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_equal_torch(shape, dtype):
    x = 3 * torch.randn(shape, dtype=dtype) + 2
    gain, bias = torch.randn(2, 7, dtype=dtype)
    before = x.clone()
    torch.testing.assert_close(layer_norm(x, gain, bias), torch.nn.functional.layer_norm(x, (7,), gain, bias))
    torch.testing.assert_close(rms_norm(x, gain), torch.nn.functional.rms_norm(x, (7,), gain, 1e-6))
    assert torch.equal(x, before)


def test_modules_equal_their_formulas():
    x = torch.randn(2, 5, 7).transpose(0, 1)  # not contiguous
    layer, rms = LayerNorm(7, eps=0.3), RMSNorm(7, eps=0.3)
    for parameter in (*layer.parameters(), *rms.parameters()):
        torch.nn.init.normal_(parameter)
    torch.testing.assert_close(layer(x), layer_norm(x, layer.weight, layer.bias, 0.3))
    torch.testing.assert_close(rms(x), rms_norm(x, rms.weight, 0.3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norms_in_half_precision(dtype):
    x, gain, bias = torch.randn(5, 7), torch.randn(7), torch.randn(7)
    half = layer_norm(x.to(dtype), gain.to(dtype), bias.to(dtype))
    torch.testing.assert_close(half.float(), layer_norm(x, gain, bias), atol=5e-2, rtol=5e-2)
    assert half.dtype == dtype
    torch.testing.assert_close(rms_norm(x.to(dtype), gain.to(dtype)).float(), rms_norm(x, gain), atol=5e-2, rtol=5e-2)


def test_gradients_of_the_norms():
    x, gain, bias = (torch.randn(n, dtype=torch.float64, requires_grad=True) for n in ((3, 7), (7,), (7,)))
    assert torch.autograd.gradcheck(layer_norm, (x, gain, bias))
    assert torch.autograd.gradcheck(rms_norm, (x, gain))


def test_each_position_is_normed_by_itself():
    x = torch.randn(3, 5, 7)
    changed = x.clone()
    changed[1, 2] += torch.randn(7)
    same = torch.ones(3, 5, dtype=torch.bool)
    same[1, 2] = False
    for norm in (LayerNorm(7), RMSNorm(7)):
        assert torch.equal(norm(changed)[same], norm(x)[same])
        assert not torch.equal(norm(changed)[1, 2], norm(x)[1, 2])
