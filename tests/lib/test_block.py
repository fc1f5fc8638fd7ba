"""The laws of the feed-forward network and of the residual connection."""

import pytest
import torch

from attnlab.block import FeedForward, feed_forward, residual


def test_feed_forward_by_hand():
    x = torch.tensor([[1.0, -2.0]])
    W_1 = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    b_1 = torch.tensor([0.5, 0.0, 3.0])
    W_2 = torch.tensor([[2.0, 0.0], [100.0, 100.0], [1.0, -1.0]])
    # hidden = max(0, [1.5, -2, 2]) = [1.5, 0, 2]
    b_2 = torch.tensor([10.0, 0.0])
    torch.testing.assert_close(feed_forward(x, W_1, b_1, W_2, b_2), torch.tensor([[15.0, -2.0]]))


def test_feed_forward_is_the_same_network_at_each_position():
    x = torch.randn(2, 5, 7)
    weights = torch.randn(7, 11), torch.randn(11), torch.randn(11, 7), torch.randn(7)
    out = feed_forward(x, *weights)
    for t in range(5):
        torch.testing.assert_close(out[:, t], feed_forward(x[:, t], *weights))
    assert feed_forward(x[:, :0], *weights).shape == (2, 0, 7)


def test_the_module_equals_the_function():
    x, module = torch.randn(2, 5, 7), FeedForward(7, 11)
    W_1, W_2 = module.W_1, module.W_2
    torch.testing.assert_close(module(x), feed_forward(x, W_1.weight.T, W_1.bias, W_2.weight.T, W_2.bias))


def test_the_module_takes_an_activation_and_drops_only_in_training():
    x = torch.randn(2, 5, 7)
    module = FeedForward(7, 11, dropout=0.5, activation=torch.tanh)
    torch.manual_seed(0)
    assert not torch.equal(module(x), module(x))
    module.eval()
    torch.testing.assert_close(module(x), module.W_2(torch.tanh(module.W_1(x))))


def test_gradient_of_feed_forward():
    shapes = ((3, 5), (5, 7), (7,), (7, 5), (5,))
    assert torch.autograd.gradcheck(
        feed_forward, [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    )


def test_residual_by_hand():
    x = torch.tensor([1.0, 2.0])

    def triple(x):
        return 3 * x

    def add_ten(x):
        return x + 10

    assert residual(x, triple, add_ten, "post").tolist() == [14, 18]
    assert residual(x, triple, add_ten, "pre").tolist() == [34, 38]
    assert x.tolist() == [1, 2]


def test_a_silent_sublayer_leaves_the_pre_norm_path_open():
    x = torch.randn(5, 7)
    assert torch.equal(residual(x, torch.zeros_like, torch.tanh, "pre"), x)
    assert torch.equal(residual(x, torch.zeros_like, torch.tanh, "post"), torch.tanh(x))


def test_residual_knows_two_orders():
    with pytest.raises(ValueError, match='order must be "pre" or "post", got \'middle\''):
        residual.__wrapped__(torch.zeros(3), torch.tanh, torch.tanh, "middle")
