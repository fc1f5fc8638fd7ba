"""The laws of dropout, and that its cheap coins are fair."""

import pytest
import torch

from attnlab.dropout import Dropout, dropout


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    n = 400_000
    out = dropout(torch.ones(n), p)
    dropped = (out == 0).float().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / n) ** 0.5 + 2**-16
    assert torch.unique(out).tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-3)
    # One draw makes four coins: each of the four must be as fair as the others.
    for coin in range(4):
        assert abs((out[coin::4] == 0).float().mean().item() - p) < 10 * (p * (1 - p) / n) ** 0.5


def test_coins_of_one_draw_are_independent():
    torch.manual_seed(0)
    zero = (dropout(torch.ones(400_000), 0.3) == 0).float().view(-1, 4)
    correlation = torch.corrcoef(zero.T) - torch.eye(4)
    assert correlation.abs().max() < 0.02


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (2, 3, 7), ()])
def test_dropout_keeps_shape_and_dtype(shape):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = torch.ones(shape, dtype=dtype)
        out = dropout(x, 0.5)
        assert out.shape == x.shape
        assert out.dtype == dtype
        assert ((out == 0) | (out == 2)).all()
        assert x.eq(1).all()


def test_dropout_of_a_view_that_is_not_contiguous():
    x = torch.arange(1.0, 36.0).view(5, 7).T
    out = dropout(x, 0.5)
    assert torch.equal(out, torch.where(out == 0, 0.0, 2 * x))


def test_the_gradient_takes_the_same_path():
    x = torch.randn(5, 7, requires_grad=True)
    out = dropout(x, 0.5)
    out.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), out.detach())


def test_dropout_follows_the_seed():
    x = torch.ones(101)
    torch.manual_seed(3)
    first = dropout(x, 0.5)
    assert not torch.equal(dropout(x, 0.5), first)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5), first)


def test_all_and_nothing():
    x = torch.randn(7)
    assert torch.equal(dropout(x, 0.0), x)
    assert not dropout(x, 1.0).any()


def test_the_module_drops_only_in_training():
    x, module = torch.ones(1000), Dropout(0.5)
    assert (module(x) == 0).any()
    assert module.eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_a_probability_lies_between_zero_and_one():
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        Dropout(1.5)
